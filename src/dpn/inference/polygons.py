"""Label maps as polygons: the outline of every connected region, along the sides of its pixels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

Ring = list[tuple[int, int]]
"""Corners (x, y), the first again as the last; x counts pixels to the right, y down, from the image's upper left corner."""


def polygons(region: NDArray[np.bool_]) -> Iterator[list[Ring]]:
    """The polygons of a region (H,W), one for each part that hangs together by pixels' sides: its outer ring, then its holes.

    The pixel in row r and column c is the square from (c, r) to (c+1, r+1), and rings run along such squares' sides, so that
    filling them gives the very pixels again, and neighbouring regions share their border. Rings are simple: a ring passes a
    corner once. Holes turn the other way round than outer rings.

    Example:
        >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
        >>> for part in polygons(ring):
        ...     part
        [[(0, 0), (3, 0), (3, 3), (0, 3), (0, 0)], [(1, 1), (1, 2), (2, 2), (2, 1), (1, 1)]]
    """
    parts, count = label(region)
    of_part: list[list[Ring]] = [[] for _ in range(count)]
    for ring, part, hole in _rings(np.pad(parts, 1)):
        if hole:
            of_part[part - 1].append(ring[::-1])
        else:
            of_part[part - 1].insert(0, ring)
    yield from of_part


def _rings(parts: NDArray[np.integer]) -> Iterator[tuple[Ring, int, bool]]:
    """(ring, which part it bounds, whether as a hole) of numbered parts (H+2,W+2), 0 around them."""
    above_left, above_right = parts[:-1, :-1], parts[:-1, 1:]
    below_left, below_right = parts[1:, :-1], parts[1:, 1:]
    left, right = (above_left > 0) != (below_left > 0), (above_right > 0) != (below_right > 0)
    up, down = (above_left > 0) != (above_right > 0), (below_left > 0) != (below_right > 0)
    one_corner = (left != right) & (up != down)
    two_corners = left & right & up & down
    # Where two pixels touch by their corners alone, two rings pass. They go round the two pixels, unless these are of one part:
    # then round the two gaps.
    falling = (above_left > 0) & two_corners
    gaps = np.where(falling, above_left == below_right, above_right == below_left)
    left_up = falling != gaps
    y, x = np.nonzero(one_corner)
    v, u = np.nonzero(two_corners)
    rows, columns = np.concatenate([y, v, v]), np.concatenate([x, u, u])
    to_right = np.concatenate([right[y, x], np.zeros_like(v, bool), np.ones_like(v, bool)])
    to_below = np.concatenate([down[y, x], ~left_up[v, u], left_up[v, u]])
    order = np.lexsort((to_right, columns, rows))
    rows, columns, to_below = rows[order], columns[order], to_below[order]
    # Along a row, corners are joined two by two, and along a column too.
    across = np.arange(len(rows)) ^ 1
    by_column = np.lexsort((to_below, rows, columns))
    along = np.empty_like(across)
    along[by_column] = by_column[across]
    across, along, at = across.tolist(), along.tolist(), list(zip(columns.tolist(), rows.tolist(), strict=True))
    seen = [False] * len(at)
    for first, (x, y) in enumerate(at):
        if seen[first]:
            continue
        corners, corner = [], first  # the upper left one of its ring: the ring goes right and down from here
        while not seen[corner]:
            other = across[corner]
            seen[corner] = seen[other] = True
            corners += [at[corner], at[other]]
            corner = along[other]
        part = int(below_right[y, x])
        yield [*corners, at[first]], part or int(above_right[y, x]), part == 0


def objects(labels: NDArray[np.integer]) -> Iterator[tuple[int, list[Ring]]]:
    """(label, polygon) of every connected region of a label map (H,W), label by label.

    Example:
        >>> [each for each, _ in objects(np.array([[0, 2, 0]]))]
        [0, 0, 2]
    """
    for value, box in enumerate(find_objects(labels.astype(np.intp) + 1)):
        if box is not None:
            y, x = box[0].start, box[1].start
            for part in polygons(labels[box] == value):
                yield value, [[(u + x, v + y) for u, v in ring] for ring in part]
