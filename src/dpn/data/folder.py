"""Anybody's own data: two folders of images and masks, or a list file of pairs; no class to write."""

from collections.abc import Sequence
from pathlib import Path

from dpn.data.dataset import SegmentationData, read_lines
from dpn.data.images import VOID, list_images, read_mask
from dpn.data.registry import DATA_SETS, GIVE_ROOT, DataSet, Labels
from dpn.errors import InputError


def folder(root: str | Path, labels: Sequence[str] | str | Path | None = None, split: str | None = None) -> SegmentationData:
    """Images and masks that lie in folders or are named by a list file; see `read_mask` for what a mask may be.

    The first of these that exists is read:

    ==========================================  ==================================================================
    ``root`` is a file                          a list: ``image mask`` on each line, relative to the list file, with
                                                a tab or spaces between them; it is one split, ``split`` is not used
    ``root/<split>.txt``                        the same
    ``root/<split>/images``, ``.../masks``      files that share a stem are a pair
    ``root/images/<split>``, ``masks/<split>``  the same
    ``root/images``, ``root/masks``             the same, where no split is asked for
    ==========================================  ==================================================================

    Args:
        root: a folder or a list file.
        labels: the names, or a text file with one name a line. None: ``labels.txt`` in ``root`` (beside the list
            file), else ``label_0``, ``label_1``, ... up to the largest value in this split's masks. Where splits may
            hold different labels, name them.
        split: any name, None where there are none.

    Raises:
        InputError: nothing of the above is there, a list's line is wrong, an image has no mask, or no label is found.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name, mode in (("images", "RGB"), ("masks", "L")):
        ...         Path(root, name).mkdir()
        ...         Image.new(mode, (4, 3), 1).save(Path(root, name, "a.png"))
        ...     data = folder(root)
        >>> len(data), data.labels
        (1, ('label_0', 'label_1'))
    """
    root = Path(root)
    pairs = _find_pairs(root, split)
    home = root.parent if root.is_file() else root
    if labels is None and (home / "labels.txt").is_file():
        labels = home / "labels.txt"
    if labels is None:
        labels = _labels_found([mask for _, mask in pairs], root)
    elif isinstance(labels, str | Path):
        labels = tuple(read_lines(Path(labels)).values())
    return SegmentationData(pairs, labels)


def _opened(root: str | Path | None, split: str | None, labels: Labels) -> SegmentationData:
    if root is None:
        raise InputError(f"folder needs a folder or a list file; {GIVE_ROOT}")
    return folder(root, labels, split)


DATA_SETS.register("folder")(DataSet(_opened, (), "Your own images and masks, in folders or named by a list file."))


def pairs_by_stem(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """(image, mask) of the same stem, in the order of the images' names; masks of no image are left out."""
    mask_of: dict[str, Path] = {}
    for mask in list_images(masks):
        if mask.stem in mask_of:
            raise InputError(f"{mask}: another mask has the same stem, {mask_of[mask.stem].name}; keep one of them")
        mask_of[mask.stem] = mask
    found = list_images(images)
    alone = [image for image in found if image.stem not in mask_of]
    if alone:
        raise InputError(f"{alone[0]}: no mask of this stem in {masks} ({len(alone)} of {len(found)} images have none)")
    return [(image, mask_of[image.stem]) for image in found]


def _find_pairs(root: Path, split: str | None) -> list[tuple[Path, Path]]:
    if root.is_file():
        return _read_pairs(root)
    layouts = [(root / "images", root / "masks")]
    if split is not None:
        if (root / f"{split}.txt").is_file():
            return _read_pairs(root / f"{split}.txt")
        layouts = [(root / split / "images", root / split / "masks"), (root / "images" / split, root / "masks" / split)]
    for images, masks in layouts:
        if images.is_dir() and masks.is_dir():
            return pairs_by_stem(images, masks)
    tried = [f"{images} and {masks}" for images, masks in layouts] + ([f"{root / split}.txt"] if split else [])
    raise InputError(f"{root}: no images and masks here; looked for {', or '.join(tried)}")


def _read_pairs(file: Path) -> list[tuple[Path, Path]]:
    pairs = []
    for number, line in read_lines(file).items():
        names = line.split("\t") if "\t" in line else line.split()
        if len(names) != 2:
            raise InputError(f"{file}, line {number}: {line!r} is not an image and a mask with a tab or a space between")
        image, mask = (file.parent / name.strip() for name in names)
        for path in (image, mask):
            if not path.is_file():
                raise InputError(f"{file}, line {number}: no such file: {path}")
        pairs.append((image, mask))
    return pairs


def _labels_found(masks: Sequence[Path], root: Path) -> tuple[str, ...]:
    largest = -1
    for mask in masks:
        values = read_mask(mask, VOID).astype(int)
        largest = max(largest, values.max(initial=-1, where=values != VOID))
    if largest < 0:
        raise InputError(f"{root}: every mask is void everywhere, so no label can be found; name the labels")
    return tuple(f"label_{label}" for label in range(largest + 1))
