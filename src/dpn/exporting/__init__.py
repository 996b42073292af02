"""Networks in files that run without dpn: ONNX, and torch.export's own."""

from dpn.exporting.compare import Agreement
from dpn.exporting.write import export

__all__ = ["Agreement", "export"]
