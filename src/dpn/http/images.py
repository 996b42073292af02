"""Which images a stranger may send: formats whose decoders start nothing, and so many pixels."""

from io import BytesIO

from PIL import Image, TiffImagePlugin

from dpn.data.png import PNG
from dpn.http.passage import Refusal

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""Pillow's names of the formats that are taken, MPO as a JPEG; others start programs, or are seldom photographs."""

TILE = TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH


def take_no_others() -> None:
    """Has this process know no other formats, whatever opens an image: what `checked_pixels` measured is what is decoded."""
    Image.init()
    Image.ID[:] = FORMATS


def checked_pixels(content: bytes, max_megapixels: float, name: str = "the body") -> int:
    """How many pixels an image has, by its head alone: nothing is decoded. `name` is what to call it in errors.

    Raises:
        Refusal: 400, it is no image of `FORMATS`; 413, it has too many pixels.

    Example:
        >>> checked_pixels(b"a letter", 50)
        Traceback (most recent call last):
        dpn.http.passage.Refusal: (400, 'the body is not an image; send one of PNG, JPEG, WEBP, BMP, GIF, PPM, TIFF')
    """
    try:
        width, height = _size(content)
    except Image.DecompressionBombError:
        raise Refusal(413, f"the image has more than {max_megapixels:g} megapixels; scale it down") from None
    except Exception:  # Pillow raises what its parsers stumble over: SyntaxError, struct.error, ...
        told = "is not an image" if content else "is empty"
        raise Refusal(400, f"{name} {told}; send one of {', '.join(FORMATS)}") from None
    if width * height > 1e6 * max_megapixels:
        most = f"{max_megapixels:g} megapixels"
        raise Refusal(413, f"the image has {width} x {height} pixels, more than {most}; scale it down")
    return width * height


def _size(content: bytes) -> tuple[int, int]:
    Image.init()
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            tags = getattr(picture, "tag_v2", {})  # of a TIFF, which is decoded by whole tiles, however large
            return max(picture.width, tags.get(TILE[0], 0)), max(picture.height, tags.get(TILE[1], 0))
    except Image.DecompressionBombError:
        raise
    except Exception:  # of a PNG, say, that `read_image` mends; it has one size
        heads = content.count(b"IHDR", 0, content.find(b"IDAT"))
        if not content.startswith(PNG) or content[12:16] != b"IHDR" or heads != 1:
            raise
        return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
