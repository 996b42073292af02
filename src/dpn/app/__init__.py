"""`dpn app`: a page in the browser on which a photograph, or a photograph and a coarse mask, is looked at."""
