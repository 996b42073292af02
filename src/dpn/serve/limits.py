"""What a request may cost, and how one that costs more is refused: a status and one line."""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from dpn.data.png import PNG

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""Pillow's names of the formats that are taken; others start programs, or are seldom photographs."""

LARGEST = 2049
"""The longer side, in pixels, at which a request may have the network see its image: memory grows with its square."""


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    Attributes:
        max_mb: of the body, in 10^6 bytes.
        max_megapixels: of the image, in 10^6 pixels, as its head tells them.
        queue: requests that are waited for or computed at one time.
        timeout: seconds from a request's first byte to its answer.
    """

    max_mb: float = 32
    max_megapixels: float = 50
    queue: int = 64
    timeout: float = 60


class Refusal(Exception):  # noqa: N818
    """A request is not served: the HTTP status, and one line that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


def checked_pixels(content: bytes, limits: Limits) -> int:
    """How many pixels an image has, by its head alone: nothing is decoded.

    Raises:
        Refusal: 400, it is no image of `FORMATS`; 413, it has too many pixels.

    Example:
        >>> checked_pixels(b"a letter", Limits())
        Traceback (most recent call last):
        dpn.serve.limits.Refusal: (400, 'the body is not an image; send one of PNG, JPEG, MPO, WEBP, BMP, GIF, PPM, TIFF')
    """
    try:
        width, height = _size(content)
    except Image.DecompressionBombError:
        raise Refusal(413, f"the image has more than {limits.max_megapixels:g} megapixels; scale it down") from None
    except Exception:  # Pillow raises what its parsers stumble over: SyntaxError, struct.error, ...
        told = "is not an image" if content else "is empty"
        raise Refusal(400, f"the body {told}; send one of {', '.join(FORMATS)}") from None
    if width * height > 1e6 * limits.max_megapixels:
        most = f"{limits.max_megapixels:g} megapixels"
        raise Refusal(413, f"the image has {width} x {height} pixels, more than {most}; scale it down")
    return width * height


def _size(content: bytes) -> tuple[int, int]:
    if content.startswith(PNG) and len(content) >= 24:  # also where Pillow does not open what `read_image` does
        return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    with Image.open(BytesIO(content), formats=FORMATS) as picture:
        return picture.size
