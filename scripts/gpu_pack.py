"""VOC's images and masks and the ImageNet weights in a few small parts, for a machine that nothing can be downloaded to.

    python scripts/gpu_pack.py DATA --out results/gpu_pack

DATA holds VOCdevkit/ and weights/. The training images are scaled down and compressed once more, their masks scaled alike, by
nearest neighbours; the validation images stay as they are. Each part is a .tar.gz: all of them unpacked into one folder
(`tar -xzf PART -C FOLDER`) are a DATA folder again. scripts/README.md says what the loss costs.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from jsonargparse import auto_cli
from PIL import Image

from dpn.data import open_data
from dpn.terminal import progress_bar

VOC = "VOCdevkit/VOC2012"
WEIGHTS = "weights/mobilenet_v2_imagenet.safetensors"
ROOM = 1 << 17  # bytes of a part that may still be in gzip's hands, and its end

File = tuple[str, bytes]  # its place below DATA, and what is in it


def smaller(path: Path, side: int | None, quality: int | None) -> bytes:
    """An image, as JPEG of that quality, or a mask, its longer side `side` pixels at most; None leaves either as it is."""
    with Image.open(path) as picture:
        is_mask, factor = picture.format == "PNG", min(1.0, side / max(picture.size)) if side else 1.0
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        if size == picture.size and (is_mask or quality is None):
            return path.read_bytes()
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling.NEAREST if is_mask else Image.Resampling.LANCZOS)
        file = io.BytesIO()
        if is_mask:
            picture.save(file, "PNG", optimize=True)  # a palette stays one
        else:
            picture.convert("RGB").save(file, "JPEG", quality=quality or 90, optimize=True, progressive=True)
    return file.getvalue()


def of_split(data: Path, split: str, images: int | None, side: int | None, quality: int | None) -> Iterator[File]:
    """The list of a split, its images and its masks."""
    pairs = open_data("voc", root=data, split=split).pairs[:images]
    yield f"{VOC}/ImageSets/Segmentation/{split}.txt", "".join(f"{image.stem}\n" for image, _ in pairs).encode()
    with progress_bar() as progress:
        for pair in progress.track(pairs, description=split):
            for path in filter(None, pair):
                yield f"{VOC}/{path.parent.name}/{path.name}", smaller(path, side, quality)


def write(files: Iterator[File], out: Path, name: str, limit: int) -> Iterator[Path]:
    """Fills OUT/NAME.tar.gz and, where that would pass the limit in bytes, OUT/NAME_2.tar.gz and so on; yields each."""
    count, file = 0, next(files, None)
    while file:
        count += 1
        part = out / (f"{name}_{count}.tar.gz" if count > 1 else f"{name}.tar.gz")
        with part.open("wb") as raw, tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6) as tar:
            begun = False
            while file and not (begun and raw.tell() + len(file[1]) + ROOM > limit):
                entry, begun = tarfile.TarInfo(file[0]), True
                entry.size = len(file[1])
                tar.addfile(entry, io.BytesIO(file[1]))
                file = next(files, None)
        yield part


def main(
    data: Path,
    out: Path = Path("results/gpu_pack"),
    side: int | None = 375,
    quality: int | None = 60,
    val_side: int | None = None,
    val_quality: int | None = None,
    images: int | None = None,
    limit: float = 45.0,
) -> None:
    """Writes the parts and prints their sizes.

    Args:
        data: folder of VOCdevkit/ and weights/.
        out: folder for the parts.
        side: the longer side that training images and masks are scaled down to, in pixels; null keeps their size.
        quality: of the training images as JPEG, 1 to 95; null keeps their files.
        val_side: side of the validation images.
        val_quality: quality of the validation images.
        images: so many of each split alone, to try it.
        limit: of a part, in megabytes (10^6 bytes).
    """

    def rest() -> Iterator[File]:
        yield from of_split(data, "val", images, val_side, val_quality)
        if (data / WEIGHTS).is_file():
            yield WEIGHTS, (data / WEIGHTS).read_bytes()
        else:
            print(f"{data / WEIGHTS}: not there, and so in no part")

    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.tar.gz"):
        old.unlink()  # of another packing
    for name, files in {"train": of_split(data, "train_aug", images, side, quality), "val": rest()}.items():
        for part in write(files, out, name, round(limit * 1e6)):
            print(f"{part}: {part.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    auto_cli(main)
