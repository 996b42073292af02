"""What the layers cost, and what people would use instead: `dpn bench`. On the CPU."""
