"""Label names and the colours that label maps are drawn with."""

import numpy as np

VOC_LABELS: tuple[str, ...] = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""PASCAL VOC's background and 20 objects, in the order of its masks."""

CAMVID_LABELS: tuple[str, ...] = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
"""CamVid's 11 labels, in the order of SegNet's masks (where 11 is void)."""


def voc_palette(n: int = 256) -> np.ndarray:
    """The first n of PASCAL VOC's 256 colours, (n, 3) uint8 RGB; row 0 is black, row 255 (void) is cream.

    Bits 0, 3, 6 of a label become the high bits of red, 1, 4, 7 green's, 2, 5 blue's.

    Example:
        >>> voc_palette(4).tolist()
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    labels = np.arange(n)[:, None]
    colours = np.zeros((n, 3), dtype=np.int64)
    for bit in range(8):
        colours |= ((labels >> (3 * bit + np.arange(3))) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def camvid_palette() -> np.ndarray:
    """SegNet's colours for the 11 CamVid labels, (11, 3) uint8 RGB.

    Example:
        >>> dict(zip(CAMVID_LABELS, camvid_palette().tolist()))["road"]
        [128, 64, 128]
    """
    return np.array(
        [
            [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
            [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192],
        ],
        dtype=np.uint8,
    )  # fmt: skip
