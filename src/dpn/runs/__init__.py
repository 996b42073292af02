"""Many photographs in one run: where they come from, what is done of them, and what goes on where it was stopped."""
