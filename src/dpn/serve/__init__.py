"""`dpn serve`: a photograph comes by HTTP, its labels go back."""
