"""What an image file is, by its first bytes, and which ones Pillow opens: all that it decodes by itself."""

import errno
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dpn.files import is_pipe

STARTED = frozenset({"EPS", "IPTC", "WMF"})
"""Pillow's names of what it has others draw: a PostScript file may be called photo.jpg, and starts Ghostscript."""

POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""What a PostScript file begins with."""


def head(source: str | Path | BytesIO) -> bytes:
    """The first eight bytes of a file, which tell what it holds.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, for which one would wait.

    Example:
        >>> head(BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0"))
        b'%!PS-Ado'
    """
    if isinstance(source, BytesIO):
        return bytes(source.getbuffer()[:8])
    _require_no_pipe(source)
    with Path(source).open("rb") as file:
        return file.read(8)


def opened_picture(source: str | Path | BytesIO) -> Image.Image:
    """An image file, not yet decoded, as Pillow opens it; no other program is started for it, now or when it is decoded.

    Raises:
        UnidentifiedImageError: it is no image, or one that another program would draw; and as `Image.open`.
        OSError: it is a pipe or a device, for which one would wait.

    Example:
        >>> opened_picture(BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\\n%%BoundingBox: 0 0 9 9\\n%%EndComments\\n"))
        Traceback (most recent call last):
        PIL.UnidentifiedImageError: EPS, which another program draws
    """
    _require_no_pipe(source)
    picture = Image.open(source)
    if picture.format in STARTED:
        picture.close()
        raise UnidentifiedImageError(f"{picture.format}, which another program draws")
    return picture


def _require_no_pipe(source: str | Path | BytesIO) -> None:
    if not isinstance(source, BytesIO) and is_pipe(source):
        raise OSError(errno.ESPIPE, "a pipe or a device", str(source))
