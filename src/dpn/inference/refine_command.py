"""`dpn refine`: masks or scores from anywhere, and their images, in; refined masks out."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Annotated
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.lib.npyio import NpzFile

from dpn.data import list_images, read_image, read_mask, voc_palette
from dpn.data.formats import head, opened_picture
from dpn.data.limits import OPTION, most_pixels
from dpn.devices import device_named
from dpn.errors import InputError, is_full, of_one
from dpn.files import is_pipe, sweep, written_whole
from dpn.inference.refine import opened_head, probabilities, refined
from dpn.model_files import shipped_models
from dpn.mrf import MRF, PRESETS
from dpn.stopping import code_of, told
from dpn.terminal import complain, console, progress_bar

SCORES = (".npy", ".npz")

BYTES = 32
"""Of an array, for each of the most pixels that an image may have (dpn.data.limits): 3.8 GB unless told otherwise."""

PICKLE = b"\x80"
"""What a pickle begins with."""


def heads() -> dict[str, str]:
    """{name: what it is} of what refines."""
    presets = {name: preset.whose for name, preset in PRESETS.items()}
    return presets | dict.fromkeys(shipped_models(), "the trained head of this shipped model")


def refine_masks(
    masks: Path,
    images: Path,
    *,
    out: Path = Path("results/refine"),
    head: Annotated[str, heads] = "pydensecrf",
    labels: int | None = None,
    confidence: float | None = None,
    logits: bool = False,
    labels_last: bool = False,
    key: str | None = None,
    scores: bool = False,
    anew: bool = False,
    device: str = "auto",
) -> int:
    """Refine masks or scores from anywhere by their images.

    A mask is a palette or grey PNG of labels, 255 where nothing is known, of its image's size; or an .npy or .npz of
    probabilities (L,h,w), or with --logits of raw scores, of its size or smaller: they are upsampled bilinearly. Its image is
    the one that has its name, suffixes aside. For each it writes
      NAME.png    the labels, in the colours of the given palette, or of VOC's; 255 where a preset is not sure enough
      NAME.npy    with --scores: the refined probabilities, float16, as dpn.refine returns them
    What is there and newer than its mask and image is left, so that a run goes on where it was stopped. A mask that cannot be
    refined is told on stderr; the others are made, and the exit code is 2 then.

    examples:
      dpn refine masks JPEGImages --head irn --labels 21
      dpn refine scores JPEGImages --head clip-es --out pseudo_masks
      dpn refine logits JPEGImages --logits --head voc --scores
      dpn refine mask.png photo.jpg --confidence .9

    Args:
        masks (MASKS): a mask, or a folder of them
        images (IMAGES): an image, or a folder of them
        out (FOLDER): where to write
        head (HEAD): what refines: a preset, which needs no training, or the head of a model: its name, the folder of a training
            run, a file or a hub id
        labels (L): how many labels a mask may have (default: the head's; of a preset one more than the mask's greatest)
        confidence (P): the probability that a mask's label is right (default: the preset's, or .7)
        logits: the files have raw scores, which a softmax makes probabilities
        labels_last: the files have (h,w,L)
        key (NAME): which array of an .npz (default: the only one)
        scores: also write the refined probabilities
        anew: also make what is there already
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one

    Raises:
        InputError: if an option does not serve, no mask has an image, two have one name, or an input would be written over.
    """
    where = device_named(device)
    refiner = opened_head(head, where)
    if labels is not None and not 2 <= labels <= 255:
        raise InputError(f"--labels must be 2 to 255, got {labels}")
    if isinstance(refiner, MRF) and labels not in (None, refiner.labels):
        raise InputError(f"--labels {labels}: the head {head} is of {refiner.labels}; leave --labels out")
    if confidence is not None and not 0 < confidence < 1:
        raise InputError(f"--confidence must be above 0 and below 1, got {confidence}")
    given, seen = _listed(masks, SCORES + (".png",)), _listed(images)
    if masks.is_file() and images.is_file():
        seen = {masks.stem: images}  # a pair, whatever their names are
    if not given.keys() & seen.keys():
        raise InputError(f"{masks}: no mask has the name of an image in {images}, such as {next(iter(seen.values())).name}")
    kinds = [".png"] + [".npy"] * scores
    _refuse_to_write_over([*given.values(), *seen.values()], [out / f"{name}{kind}" for name in given for kind in kinds])
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    made = left = failed = code = 0

    def refine(name: str, mask: Path, files: Sequence[Path]) -> None:
        array = _read(mask, labels or (refiner.labels if isinstance(refiner, MRF) else None), key)
        if labels_last and array.ndim == 3:
            array = np.moveaxis(array, -1, 0)
        pixels = read_image(seen[name])
        with _naming(mask):
            p = probabilities(array, pixels.shape[:2], refiner, labels=labels, confidence=confidence, logits=logits)
            q = refined(p, pixels, refiner, where)
        _write(q, files, q.argmax(0) if isinstance(refiner, MRF) else refiner.labels(q), mask, labels_last)

    try:
        with progress_bar() as progress:
            for name, mask in progress.track(given.items(), description="refine"):
                files = [out / f"{name}{kind}" for kind in kinds]
                try:
                    if name not in seen:
                        raise InputError(f"{mask}: no image in {images} has this name")
                    if not anew and _are_newer(files, (mask, seen[name])):
                        left += 1
                        continue
                    refine(name, mask, files)
                    made += 1
                except Exception as error:
                    complain(str(of_one(str(mask), error, "fewer labels or a smaller image take")))
                    failed += 1
                    if is_full(error):
                        break
    except KeyboardInterrupt as stop:
        complain(f"{told(stop)}: {made + left} of {len(given)} masks are made; the same command goes on from there")
        code = code_of(stop)
    terminal = console()
    terminal.print(f"{made} of {len(given)} masks, in {out}: {', '.join(f'NAME{kind}' for kind in kinds)}", soft_wrap=True)
    if left:
        terminal.print(f"{left} were there, newer than mask and image, and are left; --anew makes them again")
    if alone := [file.name for name, file in seen.items() if name not in given]:
        terminal.print(f"{len(alone)} of {len(seen)} images have no mask, such as {alone[0]}", soft_wrap=True)
    return code or (2 if failed else 0)


def _listed(path: Path, suffixes: Sequence[str] = ()) -> dict[str, Path]:
    """Files by their name without suffix, in order: the one that is named, those in a folder, images if of no suffixes."""
    if suffixes and path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in suffixes and not file.name.startswith(".")]
        if not files:
            raise InputError(f"{path}: no mask in this folder (looked for {', '.join(suffixes)})")
    else:
        files = list_images(path)
    found: dict[str, Path] = {}
    for file in files:
        if other := found.get(file.stem):
            raise InputError(f"{file}: has the name of {other.name}; leave one of them in the folder")
        found[file.stem] = file
    return found


def _refuse_to_write_over(inputs: Sequence[Path], files: Sequence[Path]) -> None:
    if lost := {path.resolve() for path in inputs} & {file.resolve() for file in files}:
        raise InputError(f"{min(lost)}: an input that would be written over; choose another --out")


def _are_newer(files: Sequence[Path], inputs: Sequence[Path]) -> bool:
    """Whether all files are there, and newer than the inputs."""
    if not all(file.exists() for file in (*files, *inputs)):
        return False
    return min(file.stat().st_mtime_ns for file in files) > max(file.stat().st_mtime_ns for file in inputs)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Says which file it is that does not fit."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read(path: Path, labels: int | None, key: str | None) -> np.ndarray:
    """A mask (H,W), or an array of scores."""
    if path.suffix.lower() not in SCORES:
        return read_mask(path, labels or 255)
    return _loaded(path, key)


def _loaded(path: Path, key: str | None) -> np.ndarray:
    """An .npy's array; the one of this name, or the only one, of an .npz."""
    if is_pipe(path):
        raise InputError(f"{path}: a pipe or a device where a file of numpy's is needed")
    try:
        if path.is_file() and not is_zipfile(path):
            with path.open("rb") as file:
                _require_size(path, file)
        held: np.ndarray | NpzFile = np.load(path, allow_pickle=False)
        if not isinstance(held, NpzFile):
            return held
        with held:
            name = held.files[0] if key is None and len(held.files) == 1 else key
            if name in held.files:
                assert held.zip
                with held.zip.open(f"{name}.npy") as member:
                    _require_size(path, member)
                array: np.ndarray = held[name]
                return array
            names = ", ".join(held.files)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:  # by how it is damaged
        if "Object arrays" in str(error) or (isinstance(error, ValueError) and head(path).startswith(PICKLE)):
            raise InputError(
                f"{path}: holds pickled objects, such as IRN's dictionaries, which are not read, since they could run code; "
                "save the array (L,h,w) of all labels alone, with np.save"
            ) from error
        raise InputError(f"{path}: not a whole file of numpy's, or it cannot be read; write it again") from error
    raise InputError(f"{path}: holds the arrays {names}; name one of them by --key" if names else f"{path}: holds no array")


def _require_size(path: Path, file: IO[bytes]) -> None:
    """Refuses an array that takes more memory than its head should claim: a short file can unpack to any size."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    if prod(shape) * kind.itemsize > BYTES * most_pixels():
        raise InputError(f"{path}: too large to be read safely, an array {shape} of {kind}; make it smaller, or raise {OPTION}")


def _write(q: np.ndarray, files: Sequence[Path], labels: np.ndarray, mask: Path, labels_last: bool) -> None:
    """Each file whole; the PNG last, in the mask's colours."""
    from dpn.plots.colours import save_mask

    png, *npy = files
    for path in npy:
        with written_whole(path) as temporary:
            np.save(temporary, (np.moveaxis(q, 0, -1) if labels_last else q).astype(np.float16))
    palette = voc_palette(max(256, len(q)))
    if mask.suffix.lower() not in SCORES:
        with opened_picture(mask) as picture:
            own = np.array(picture.getpalette() or [], np.uint8).reshape(-1, 3)
        palette[: len(own)] = own
    save_mask(png, labels, palette)
