"""The images in folders."""

from collections.abc import Iterable, Set
from pathlib import Path

from dpn.errors import InputError
from dpn.files import absent

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""What counts as an image when a folder is listed; a file named by itself may have any suffix."""


def list_images(
    paths: str | Path | Iterable[str | Path], *, nested: bool = False, suffixes: Set[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """Expands folders to the images in them, in the order of their names; files are kept as they are.

    Hidden files and other suffixes are left out of a folder.

    Args:
        paths: a file or a folder, or several.
        nested: also take images from folders in the folders, but not from hidden ones.
        suffixes: those of images, in small letters.

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
            inside = [
                file
                for file in sorted(path.rglob("*") if nested else path.iterdir())
                if file.suffix.lower() in suffixes
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            ]
            if not inside:
                raise InputError(f"{path}: no image in this folder (looked for {', '.join(sorted(suffixes))})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: {absent(path)}")
    return found
