"""What the layers cost, and what people would use instead: `dpn bench`. On the CPU."""

from dpn.bench.run import Plan, bench

__all__ = ["Plan", "bench"]
