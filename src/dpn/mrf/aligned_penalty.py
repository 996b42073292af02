"""b12 for aligned images (footnote 1): a filter of its own for every position, learned instead of made from the image."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpn.errors import InputError


class AlignedPenalty(nn.Module):
    """q (N,L,H,W) -> s_j^v = sum_{z in N_j} k_j(z) q_z^v, (N,L,H,W), for images whose objects lie alike, such as faces.

    The filter of a position has no negative weight and sums to 1 over the pixels inside the image; all labels share it. It
    begins as the plain average over the window, and learns which neighbours tell a position's label.

    Args:
        size: (H,W) of every image, in pixels.
        window: side of N_j in pixels, as TriplePenalty's.

    Raises:
        InputError: if the size or the window is below 1, or an image is of another size.

    Example:
        >>> layer = AlignedPenalty((6, 8), window=3)
        >>> layer(torch.full((1, 4, 6, 8), 0.25), torch.rand(1, 3, 6, 8)).unique().tolist()
        [0.25]
    """

    def __init__(self, size: tuple[int, int], *, window: int = 9) -> None:
        super().__init__()
        if min(*size, window) < 1:
            raise InputError(f"an aligned b12 needs a size and a window of at least 1 pixel, got {tuple(size)} and {window}")
        self.size, self.window = tuple(size), window
        self.logits = nn.Parameter(torch.zeros(window * window, size[0] * size[1]))

    @property
    def filters(self) -> Tensor:
        """k: (n^2, H W), the weights of each position's neighbours, in reading order; 0 outside the image."""
        outside = self._neighbours(torch.ones(1, 1, *self.size).to(self.logits))[0] == 0
        return self.logits.masked_fill(outside, -torch.inf).softmax(0)

    def forward(self, q: Tensor, image: Tensor) -> Tensor:
        """q (N,L,H,W) probabilities, image (N,3,H,W) -> (N,L,H,W). The image is given as to any b12, and not looked at."""
        if q.shape[-2:] != self.size:
            raise InputError(f"an aligned b12 of {self.size} pixels got an image of {tuple(q.shape[-2:])}: resize it")
        alone = q.reshape(-1, 1, *self.size)
        return (self._neighbours(alone) * self.filters.to(q.dtype)).sum(1).view_as(q)

    def over(self, image: Tensor) -> Callable[..., Tensor]:
        """As TriplePenalty's."""
        return lambda q, absent_below=0.0: self(q, image)

    def _neighbours(self, maps: Tensor) -> Tensor:
        """(M,1,H,W) -> (M,n^2,H W): each position's window."""
        before, after = self.window // 2, self.window - 1 - self.window // 2
        return F.unfold(F.pad(maps, (before, after, before, after)), self.window)

    def extra_repr(self) -> str:
        return f"size={self.size}, window={self.window}"
