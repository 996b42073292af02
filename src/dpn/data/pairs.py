"""Images and their masks, matched by the names of the files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dpn.data.listing import list_images
from dpn.errors import InputError

IMAGE_SUFFIXES = ("_leftImg8bit", "_image", "_img")
MASK_SUFFIXES = (
    "_gtFine_labelTrainIds", "_gtFine_labelIds", "_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt", "_L",
)  # fmt: skip
"""What the names of images and masks usually end with, before .png; where a mask could be several, the first is taken."""


class Matched(NamedTuple):
    """Images and masks of the same name.

    Attributes:
        pairs: (image, mask), in the order of the images' names.
        images: those without a mask.
        masks: those without an image.
        folder: where masks were looked for.
        bare: images that annotations leave out, though they lie beside others; nobody reads them.
    """

    pairs: list[tuple[Path, Path]]
    images: list[Path]
    masks: list[Path]
    folder: Path
    bare: Sequence[Path] = ()

    def check(self) -> None:
        """Raises InputError where an image has no mask."""
        if self.images:
            count = f"{len(self.images)} of {len(self.images) + len(self.pairs)} images have none"
            hint = f"; there is {self.masks[0].name}: name its ending as mask_suffix in labels.yaml" if self.masks else ""
            raise InputError(f"{self.images[0]}: no mask of this stem in {self.folder} ({count}){hint}")


def match(images: Path, masks: Path, image_suffix: str | None = None, mask_suffix: str | None = None) -> Matched:
    """The images and masks of two folders, of the folders in them too; both may lie in one folder.

    They match where their paths are the same but for the files' suffixes, and for what names end with: the suffix that is
    given, or none, or one of those above.

    Raises:
        InputError: a folder holds no image, or none of the given suffix; or two masks differ in the file's suffix alone.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a.jpg", "a_mask.png", "b.jpg"):
        ...         Path(folder, name).touch()
        ...     found = match(Path(folder), Path(folder))
        >>> [(image.name, mask.name) for image, mask in found.pairs], [image.name for image in found.images]
        ([('a.jpg', 'a_mask.png')], ['b.jpg'])
    """
    together = images == masks
    of_images = (image_suffix,) if image_suffix is not None else ("", *IMAGE_SUFFIXES)
    of_masks: tuple[str, ...] = (mask_suffix,) if mask_suffix is not None else ("", *MASK_SUFFIXES)
    if together:
        of_masks = tuple(filter(None, of_masks))
    mask_of: dict[str, Path] = {}
    for mask in list_images(masks, nested=True):
        stem = _stem(mask, masks)
        if together and not stem.endswith(of_masks):
            continue
        if stem in mask_of:
            raise InputError(f"{mask}: another mask has the same stem, {mask_of[stem].name}; keep one of them")
        mask_of[stem] = mask
    pairs, alone = [], []
    for image in list_images(images, nested=True):
        stem = _stem(image, images)
        if (together and stem in mask_of) or not stem.endswith(of_images):
            continue
        named = (stem.removesuffix(ending) + other for ending in of_images if stem.endswith(ending) for other in of_masks)
        found = next((mask_of[name] for name in named if name in mask_of), None)
        if found is None:
            alone.append(image)
        else:
            pairs.append((image, found))
    if not pairs and not alone:
        ending = f"no image's name ends with {image_suffix!r}, the image_suffix" if image_suffix else "masks, but no image"
        raise InputError(f"{images}: {ending}")
    used = {mask for _, mask in pairs}
    return Matched(pairs, alone, [mask for mask in mask_of.values() if mask not in used], masks)


def pairs_by_stem(
    images: Path, masks: Path, image_suffix: str | None = None, mask_suffix: str | None = None
) -> list[tuple[Path, Path]]:
    """The same, where every image has a mask; masks of no image are left out.

    Raises:
        InputError: as from `match`; or an image has no mask.
    """
    found = match(images, masks, image_suffix, mask_suffix)
    found.check()
    return found.pairs


def _stem(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()
