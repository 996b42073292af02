"""A network in an ONNX file as a torch module: it is run by onnxruntime, and learns nothing."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpn.errors import InputError, first_line


class ONNXNetwork(nn.Module):
    """Image (N,3,H,W) -> the file's first output, as (N,L,h,w). `dpn.unary.Wrap` makes a unary network of it.

    Files of either order of axes serve: (N,3,H,W), or (N,H,W,3) as TensorFlow's have it. Where the file fixes the image's size,
    the image is resized to it, bilinearly; where it takes one image at a time, a batch is taken apart. It runs on the CPU.

    Args:
        path: the file.

    Attributes:
        labels: L, or None where the file does not say it.

    Raises:
        InputError: if onnxruntime is not installed, the file cannot be read, or it does not take one image of three channels.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(f"{path}: needs onnxruntime: pip install -c constraints.txt -e '.[onnx]'") from error
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own, which share no other class
            raise InputError(f"{path}: no network that onnxruntime reads ({first_line(error)})") from error
        self.path, (image, *others) = str(path), self._session.get_inputs()
        if others or len(image.shape) != 4 or 3 not in (image.shape[1], image.shape[3]):
            takes = ", ".join(f"{each.name} {each.shape}" for each in (image, *others))
            raise InputError(f"{path}: must take one image, (N,3,H,W) or (N,H,W,3), but takes {takes}")
        self._image, self._channels_last = image, image.shape[1] != 3
        shape = self._session.get_outputs()[0].shape or []
        found = shape[-1 if self._channels_last else 1] if len(shape) == 4 else None
        self.labels = found if isinstance(found, int) else None

    def forward(self, image: Tensor) -> Tensor:
        """Image (N,3,H,W), normalised as the file wants it -> its first output (N,L,h,w)."""
        batch, *size = (each if isinstance(each, int) and each > 0 else None for each in self._image.shape)
        height, width = size[:2] if self._channels_last else size[1:]
        wanted = height or image.shape[2], width or image.shape[3]
        if wanted != image.shape[2:]:
            image = F.interpolate(image, wanted, mode="bilinear", antialias=True)
        if self._channels_last:
            image = image.permute(0, 2, 3, 1)
        numbers = np.float16 if self._image.type == "tensor(float16)" else np.float32
        pixels = image.detach().cpu().numpy().astype(numbers)
        parts = [pixels[i : i + 1] for i in range(len(pixels))] if batch == 1 else [pixels]
        found = [self._session.run(None, {self._image.name: np.ascontiguousarray(part)})[0] for part in parts]
        scores = torch.from_numpy(np.concatenate(found)).to(image)
        return scores.permute(0, 3, 1, 2) if self._channels_last and scores.ndim == 4 else scores

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.path,)

    def extra_repr(self) -> str:
        return self.path
