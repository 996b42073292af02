"""Images and masks as arrays, whatever way they were stored, and one clear line for what is neither."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dpn.data.palette import voc_palette
from dpn.errors import InputError

VOID = 255
"""The mask value of pixels that are neither trained on nor counted."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""What counts as an image when a folder is listed; a file named by itself may have any suffix."""

PHOTOGRAPHS = ("astronaut", "cat", "motorcycle")
"""The photographs that come with scikit-image, for demonstrations and measurements."""


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file, of any format and mode that Pillow reads, as (H, W, 3) uint8 RGB.

    EXIF rotation is applied, transparency is composited on white, grey becomes three equal channels, 16-bit grey is
    scaled (not clipped) to 8 bits, and of an animation the first frame is read.

    Raises:
        InputError: the file is missing, a folder, not an image, truncated, of size zero or beyond Pillow's limit
            against decompression bombs; or as `rgb`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (3, 2), 200).save(f"{folder}/grey.png")
        ...     image = read_image(f"{folder}/grey.png")
        >>> image.shape, image[0, 0].tolist()
        ((2, 3, 3), [200, 200, 200])
    """
    return rgb(_open(path), str(path))


def rgb(picture: Image.Image, name: str = "the image") -> np.ndarray:
    """A Pillow image, upright already, as (H, W, 3) uint8 RGB: what `read_image` does with a file once it is open.

    The image may have any mode; `name` is what to call it in errors.

    Raises:
        InputError: pixels that are no colours: beyond 16 bits, floating-point, LAB.

    Example:
        >>> rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0)))[0, 0].tolist()  # nothing, on white
        [255, 255, 255]
    """
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        grey = np.asarray(picture).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise InputError(f"{name}: 32-bit values {grey.min()} to {grey.max()}; save it with 8 or 16 bits a channel")
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode in ("F", "LAB"):
        raise InputError(f"{name}: pixels of Pillow's mode {picture.mode}; save it as 8-bit RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def read_mask(path: str | Path, labels: int, *, void: int = VOID) -> np.ndarray:
    """Reads a label map: a palette image's indices, a grey image's values, or VOC's colours turned back to labels.

    Args:
        path: a palette, 1, 8 or 16-bit grey image, or an RGB image that holds only colours of `voc_palette`.
        labels: how many labels there are, 1 to 255: values 0 to labels - 1 are allowed, and 255 is void.
        void: the file's own value for void, where it is not 255 (CamVid: 11).

    Returns:
        (H, W) uint8, each value below `labels` or 255.

    Raises:
        InputError: as `read_image`; or a JPEG (lossy: its values are not labels), other colours than VOC's, or values
            that are no label, which the line names.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 2, 255]], dtype=np.uint8)).save(f"{folder}/mask.png")
        ...     read_mask(f"{folder}/mask.png", labels=3)
        array([[  0,   2, 255]], dtype=uint8)
    """
    picture = _open(path)
    if picture.format == "JPEG":
        raise InputError(f"{path}: a mask stored as JPEG has lost its labels; store masks as PNG")
    if picture.mode in ("LA", "RGBA"):
        if picture.getextrema()[-1] != (255, 255):
            raise InputError(f"{path}: a mask with transparent pixels; store it as a palette or grey PNG")
        picture = picture.convert(picture.mode.removesuffix("A"))
    if picture.mode == "RGB":
        values = _labels_of_colours(np.asarray(picture), path)
    elif picture.mode in ("1", "L", "P", "I") or picture.mode.startswith("I;16"):
        values = np.array(picture, dtype=np.int32)
    else:
        raise InputError(f"{path}: a mask of Pillow's mode {picture.mode}; store it as a palette or grey PNG")
    if void != VOID:
        values[values == void] = VOID
    wrong = np.unique(values[((values < 0) | (values >= labels)) & (values != VOID)]).tolist()
    if wrong:
        named = ", ".join(map(str, wrong[:8])) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise InputError(f"{path}: mask values {named} are no labels; allowed are 0 to {labels - 1}, and {void} (void)")
    return values.astype(np.uint8)


def list_images(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Expands folders to the images that lie directly in them, in the order of their names; files are kept as they are.

    Hidden files and suffixes other than `IMAGE_SUFFIXES` are left out of a folder.

    Raises:
        InputError: a path does not exist, or a folder holds no image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.JPG", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [path.name for path in list_images(folder)]
        ['a.JPG', 'b.png']
    """
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if path.is_dir():
            shown = (file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith("."))
            inside = [file for file in shown if file.suffix.lower() in IMAGE_SUFFIXES]
            if not inside:
                raise InputError(f"{path}: no image in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: no such file or folder")
    return found


def to_tensor(image: np.ndarray) -> Tensor:
    """RGB (H, W, 3) uint8 as the tensor that networks take: (3, H, W) float32 in [0, 1].

    Example:
        >>> to_tensor(np.full((2, 4, 3), 51, dtype=np.uint8))[:, 0, 0]
        tensor([0.2000, 0.2000, 0.2000])
    """
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


@cache
def photograph(name: str) -> np.ndarray:
    """One of PHOTOGRAPHS, (H,W,3) uint8 RGB: "astronaut" (512x512), "cat" (300x451), "motorcycle" (500x741).

    Raises:
        InputError: if it is none of them.

    Example:
        >>> photograph("cat").shape
        (300, 451, 3)
    """
    from skimage import data

    if name not in PHOTOGRAPHS:
        raise InputError(f"photograph must be one of {', '.join(PHOTOGRAPHS)}, got {name!r}")
    pixels: np.ndarray = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    return pixels


def _open(path: str | Path) -> Image.Image:
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder where an image file is needed")
    try:
        with Image.open(path) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            upright.format = picture.format
            return upright
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it") from None
    except UnidentifiedImageError:
        what = "an image" if path.stat().st_size else "an image: the file is empty"
        raise InputError(f"{path}: not {what}") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too large to be read safely ({error}); scale it down") from None
    except Exception as error:  # the decoders raise OSError, SyntaxError, ValueError, struct.error, ... on bad bytes
        raise InputError(f"{path}: a broken image ({error}); was it written to its end?") from error


def _labels_of_colours(colours: np.ndarray, path: str | Path) -> np.ndarray:
    place = np.array([1 << 16, 1 << 8, 1])
    palette, codes = voc_palette() @ place, colours @ place
    order = np.argsort(palette)
    position = np.searchsorted(palette[order], codes).clip(max=len(palette) - 1)
    values: np.ndarray = order[position]
    unknown = palette[values] != codes
    if unknown.any():
        first = tuple(colours[unknown][0].tolist())
        raise InputError(f"{path}: colour {first} is not in PASCAL VOC's palette; store labels as a palette or grey PNG")
    return values
