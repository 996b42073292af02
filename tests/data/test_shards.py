"""Training data in TAR shards: what a folder of the same files gives, in the same order."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpn.cli import main
from dpn.data import SegmentationData, folder, scenes
from dpn.data.folder import splits
from dpn.data.shards import Shards
from dpn.errors import InputError
from dpn.plots.panels import pixels


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def tar(path: Path, files: dict[str, bytes], how: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, how) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def pair(label: int = 1, size: tuple[int, int] = (2, 3)) -> tuple[bytes, bytes]:
    """An image of one value, and its mask of labels 0 and another."""
    mask = np.full(size, label, np.uint8)
    mask[0] = 0
    return encoded(np.full((*size, 3), 40 * label, np.uint8), "JPEG"), encoded(mask)


def scene_files(split: str, count: int) -> dict[str, tuple[bytes, bytes]]:
    data = scenes(count, size=40, split=split)
    samples = [data[i] for i in range(count)]
    return {f"{i:03}": (encoded(pixels(each.image)), encoded(each.labels.byte().numpy())) for i, each in enumerate(samples)}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same scenes in a folder, and in shards of three, the last ones first."""
    files, shards = (tmp_path_factory.mktemp(name) for name in ("files", "shards"))
    for split, count in (("train", 8), ("val", 3)):
        found = scene_files(split, count)
        for kind in ("images", "masks"):
            (files / split / kind).mkdir(parents=True)
        for key, contents in found.items():
            for kind, content in zip(("images", "masks"), contents, strict=True):
                (files / split / kind / f"{key}.png").write_bytes(content)
        keys = list(found)[::-1]
        for number in range(0, count, 3):
            members = {}
            for key in keys[number : number + 3]:
                members |= {f"{key}.image.png": found[key][0], f"{key}.json": b"{}", f"{key}.mask.png": found[key][1]}
            tar(shards / f"{split}-{number:06}.tar", members)
    for root in (files, shards):
        (root / "labels.txt").write_text("\n".join(scenes(1).labels))
    return files, shards


def test_shards_hold_the_samples_of_the_folder_in_its_order(both: tuple[Path, Path]) -> None:
    ones, others = (folder(root, split="train") for root in both)
    assert isinstance(others, Shards) and len(ones) == len(others) == 8
    assert ones.names == others.names
    for i in (5, 0, 7):
        assert torch.equal(ones[i].image, others[i].image) and torch.equal(ones[i].labels, others[i].labels)
    again = pickle.loads(pickle.dumps(others))  # as it goes to processes that read
    assert torch.equal(again[3].image, ones[3].image)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_shards_is_the_run_on_the_folder_bit_by_bit(both: tuple[Path, Path], tmp_path: Path, workers: int) -> None:
    words = ["--mrf.window=5", "--mrf.context=3", "--data.crop=33", f"--data.workers={workers}", "--data.name=folder"]
    stages = ("triple_penalty", "label_contexts", "joint")
    words += [f"--stages.{stage}.steps=0" for stage in stages] + ["--stages.unary.steps=3", "--stages.unary.batch=3"]
    for root, name in zip(both, ("files", "shards"), strict=True):
        assert main(["train", f"--data.root={root}", *words, f"--out={tmp_path / name}", "--device=cpu"]) == 0
    for file in ("log.csv", "model.safetensors"):
        assert (tmp_path / "files" / file).read_bytes() == (tmp_path / "shards" / file).read_bytes()


def test_shards_are_checked_as_folders_are(both: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for root in both:
        assert main(["data", "check", str(root), "--out", str(tmp_path)]) == 0
        said.append([line for line in capsys.readouterr().out.splitlines() if "same in both" not in line])
    assert said[0] == said[1] and "val: 3 images, 40 x 40 pixels" in said[1]


@pytest.mark.parametrize(
    ("files", "split"),
    [
        (("train.tar", "val.tar"), "train"),
        (("train-000000.tar", "train-000001.tar", "val-000000.tar"), "train"),
        (("train-00000-of-00002.tar", "train-00001-of-00002.tar", "val-00000-of-00001.tar"), "train"),
        (("train/0.tar", "train/1.tar", "val/0.tar"), "train"),
        (("part-0.tar", "part-1.tar"), None),
    ],
)
def test_splits_are_named_by_shards_or_their_folders(tmp_path: Path, files: tuple[str, ...], split: str | None) -> None:
    for number, file in enumerate(files):
        image, mask = pair()
        tar(tmp_path / file, {f"{number}.jpg": image, f"{number}.png": mask})
    assert splits(tmp_path) == (["train", "val"] if split else [None])
    ours = [number for number, file in enumerate(files) if not split or file.startswith(split)]
    assert [sample.name for sample in folder(tmp_path, split=split)] == [str(number) for number in ours]
    assert len(folder(tmp_path / files[0])) == 1


def test_the_mask_of_a_key_is_its_png_or_what_is_called_so(tmp_path: Path) -> None:
    image, mask = pair()
    files = {}
    for key, ending in enumerate(("png", "mask.png", "seg.png", "label.PNG", "gt.tif")):
        files |= {f"{key}.{ending}": mask, f"{key}.jpg": image, f"{key}.txt": b"", f"._{key}.png": b"no image"}
    data = folder(tar(tmp_path / "any.tar", files))
    assert data.names == ["0", "1", "2", "3", "4"] and {int(sample.labels.max()) for sample in data} == {1}


def test_the_order_is_that_of_a_folder(tmp_path: Path) -> None:
    image, mask = pair()
    names = ("b", "a b", "a", "10", "9", "a-b", "in/x", "in/a", "in-x")
    for name in names:
        for kind, ending, content in (("images", "jpg", image), ("masks", "png", mask)):
            file = tmp_path / kind / f"{name}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    tar(tmp_path / "all.tar", {f"{name}.{end}": each for name in names for end, each in (("jpg", image), ("png", mask))})
    assert folder(tmp_path / "all.tar").names == folder(tmp_path).names


def test_other_endings_are_named_in_labels_yaml(tmp_path: Path) -> None:
    image, mask = pair()
    tar(tmp_path / "train.tar", {"a.left.jpg": image, "a.right.jpg": image, "a.sem.png": mask, "a.png": image})
    with pytest.raises(InputError, match=r"a: several images \(a\.left\.jpg, a\.right\.jpg, a\.sem\.png\); name the ending"):
        folder(tmp_path, split="train")
    (tmp_path / "labels.yaml").write_text("mask_suffix: .sem\nimage_suffix: .left\nlabels: [ground, road]")
    assert [path.name for path in folder(tmp_path, split="train").pairs[0] if path] == ["a.left.jpg", "a.sem.png"]


def test_what_is_wrong_with_shards_is_named(tmp_path: Path) -> None:
    image, mask = pair()
    good = {"a.jpg": image, "a.png": mask}
    with tarfile.open(tar(tmp_path / "twice.tar", good), "a") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    with tarfile.open(tar(tmp_path / "link.tar", good), "a") as archive:
        (link := tarfile.TarInfo("b.jpg")).type, link.linkname = tarfile.LNKTYPE, "a.jpg"
        archive.addfile(link)
    tar(tmp_path / "zipped.tar.gz", good, "w:gz")
    tar(tmp_path / "zipped.tar", good, "w:gz")
    whole = tar(tmp_path / "whole.tar", good)
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[: len(image) + 700])
    (tmp_path / "text.tar").write_text("no archive")
    tar(tmp_path / "alone.tar", good | {"b.jpg": image})
    tar(tmp_path / "none.tar", {"a.jpg": image, "b.png": mask})
    tar(tmp_path / "sizes.tar", {"a.jpg": pair(size=(4, 4))[0], "a.png": mask})
    for name, said in (
        ("twice.tar", r"twice\.tar: holds a\.jpg twice; write it anew"),
        ("link.tar", r"link\.tar: holds b\.jpg as a link or a sparse file; write it anew with tar --dereference"),
        ("zipped.tar.gz", r"zipped\.tar\.gz: not a whole TAR archive .*compressed shards have to be unpacked"),
        ("zipped.tar", r"zipped\.tar: not a whole TAR archive .*compressed shards have to be unpacked"),
        ("cut.tar", r"cut\.tar: not a whole TAR archive"),
        ("text.tar", r"text\.tar: not a whole TAR archive"),
        ("alone.tar", r"alone\.tar/b\.jpg: no mask of this stem .*\(1 of 2 images have none\)"),
        ("none.tar", r"none\.tar: no image with its mask in these shards; a pair is KEY\.jpg and KEY\.png"),
        ("sizes.tar", r"sizes\.tar/a\.jpg is 4 x 4 pixels but its mask .*sizes\.tar/a\.png is 3 x 2"),
    ):
        with pytest.raises(InputError, match=said):
            folder(tmp_path / name, ["ground", "road"])[0]
    data = folder(whole)
    whole.write_bytes(whole.read_bytes()[:600])
    with pytest.raises(InputError, match=r"whole\.tar: it is shorter than when it was opened; start again"):
        data[0]


def test_a_shard_of_which_a_part_cannot_be_found_is_refused_and_trains_on_no_less(tmp_path: Path) -> None:
    image, mask = pair()
    archive = tar(tmp_path / "train.tar", {"a.jpg": image, "a.png": mask, "b.jpg": image, "b.png": mask})
    whole = archive.read_bytes()
    with tarfile.open(archive) as opened:
        third = opened.getmembers()[2].offset
    for content, said in (
        (whole[:third], f"it breaks off after byte {third}"),
        (whole[:third] + b"x" + whole[third + 1 :], f"a damaged header at byte {third}"),
        (whole + whole, "another archive behind its end"),
    ):
        archive.write_bytes(content)
        with pytest.raises(InputError, match=said):
            folder(archive, ["ground", "road"])


def test_files_that_are_no_shards_are_left_alone(tmp_path: Path) -> None:
    """A folder of images and masks with the archive that it was unpacked from beside it."""
    image, mask = pair()
    for kind, name, content in (("images", "a.jpg", image), ("masks", "a.png", mask)):
        (tmp_path / "train" / kind).mkdir(parents=True)
        (tmp_path / "train" / kind / name).write_bytes(content)
    tar(tmp_path / "train.tar", {"train/images/a.jpg": image})
    assert type(folder(tmp_path, split="train")) is SegmentationData and splits(tmp_path) == ["train"]
