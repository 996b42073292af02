"""What holds for every request of a stranger: a connection's patience, a body's bound, an image's pixels."""
