"""Names under which other libraries' users find what they call."""
