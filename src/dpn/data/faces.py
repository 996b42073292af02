"""Made-up faces, aligned: what the aligned b12 of footnote 1 is for."""

import numpy as np
import torch
from torch import Tensor

FACE_LABELS = ("background", "hair", "skin", "eye", "mouth")


def faces(count: int, *, size: int = 48, seed: int = 0, shift: int = 0) -> tuple[Tensor, Tensor]:
    """Draws faces that lie alike, but whose colours hardly tell their parts apart.

    Hair may have the background's colour and the mouth the skin's; a shadow falls across each face.

    Args:
        count: how many, N.
        size: side of the square images, in pixels, at least 16.
        seed: of everything drawn.
        shift: each face is moved by up to so many pixels either way, round the border; 0 leaves them aligned.

    Returns:
        Images (N,3,size,size) float32, RGB in [0,1], and labels (N,size,size) int64 of FACE_LABELS.

    Example:
        >>> images, labels = faces(2, size=32)
        >>> images.shape, labels.unique().tolist()
        (torch.Size([2, 3, 32, 32]), [0, 1, 2, 3, 4])
    """
    draw = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    images, labels = np.empty((count, size, size, 3)), np.zeros((count, size, size), dtype=np.int64)

    def oval(top: float, left: float, height: float, width: float) -> np.ndarray:
        varied = draw.normal(1, 0.04, 4)
        down, across = (y - top * varied[0]) / (height * varied[1]), (x - left * varied[2]) / (width * varied[3])
        inside: np.ndarray = down**2 + across**2 < 1
        return inside

    for image, label in zip(images, labels, strict=True):
        label[oval(0.45, 0.5, 0.38, 0.32)] = 1
        label[oval(0.55, 0.5, 0.33, 0.24)] = 2
        for part, place in ((3, (0.48, 0.4, 0.035, 0.06)), (3, (0.48, 0.6, 0.035, 0.06)), (4, (0.72, 0.5, 0.04, 0.11))):
            label[oval(*place)] = part
        colours = np.array([[0.45, 0.4, 0.4], [0.4, 0.33, 0.3], [0.75, 0.6, 0.5], [0.6, 0.5, 0.5], [0.72, 0.5, 0.45]])
        colours = colours + draw.normal(0, 0.08, colours.shape)
        angle, edge = draw.uniform(0, 2 * np.pi), draw.normal(0, 0.1)
        shadow = np.where((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) > edge, 0.6, 1.0)
        image[:] = colours[label] * shadow[..., None] + draw.normal(0, 0.03, image.shape)
        moved = tuple(draw.integers(-shift, shift + 1, 2))
        image[:], label[:] = np.roll(image, moved, (0, 1)), np.roll(label, moved, (0, 1))
    return torch.from_numpy(images.clip(0, 1)).permute(0, 3, 1, 2).float().contiguous(), torch.from_numpy(labels)
