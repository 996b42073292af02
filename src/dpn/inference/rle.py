"""COCO's run-length encoding of masks, as pycocotools writes and reads it."""

import numpy as np
from numpy.typing import NDArray


def rle(region: NDArray[np.bool_]) -> dict[str, object]:
    """A region (H,W) as {"size": [H, W], "counts": text}: runs of pixels outside and inside in turn, column by column.

    Each run, from the fourth on less the one two before it, is written in groups of 5 bits, the lowest first: a character is
    48 plus the group, plus 32 where more follow.

    Example:
        >>> rle(np.array([[0, 1], [0, 1]], bool))
        {'size': [2, 2], 'counts': '22'}
    """
    flat = region.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff(changes, prepend=0, append=flat.size)
    runs[3:] -= runs[1:-2].copy()
    counts = []
    for run in runs.tolist():
        more = True
        while more:
            group, run = run & 31, run >> 5
            more = run != (-1 if group & 16 else 0)
            counts.append(chr(48 + group + 32 * more))
    return {"size": list(region.shape), "counts": "".join(counts)}
