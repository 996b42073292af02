"""What the layers cost, and what people would use instead: `dpn bench`. On the CPU."""

from dpn.bench.plan import Plan
from dpn.bench.run import bench

__all__ = ["Plan", "bench"]
