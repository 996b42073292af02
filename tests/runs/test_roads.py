"""Clips among photographs: each takes its own road, and is noted, resumed and complained of as any other item."""

import json
import os
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

from dpn import load, segment_video
from dpn.cli import main
from dpn.errors import InputError
from dpn.inference import large
from dpn.inference.rasters import Size
from dpn.runs.destination import destination
from dpn.runs.items import Item
from dpn.runs.manifest import Manifest
from dpn.runs.roads import road_of
from dpn.runs.work import Work


def clip(path: Path, count: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(count).integers(0, 256, (count, 20, 30, 3), dtype=np.uint8)
    first, *more = map(Image.fromarray, pixels)
    first.save(path, save_all=True, append_images=more, **({} if path.suffix == ".tif" else {"lossless": True}))
    return path


def pages(path: Path) -> list[np.ndarray]:
    found = []
    with Image.open(path) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            found.append(np.asarray(picture))
    return found


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif", ".png"])
def test_an_animation_among_photographs_gets_the_labels_of_dpn_video(
    kit: type, run: Callable, model: Path, tmp_path: Path, suffix: str
) -> None:
    kit.photograph(tmp_path / "in" / "a.png")
    moving = clip(tmp_path / "in" / f"b{suffix}")
    code, printed, complaint = run(tmp_path / "in", "--out", tmp_path / "out", "--write", "labels", "overlay", "json", "coco")
    assert (code, complaint) == (0, "") and "2 of 2 photographs and clips" in printed and "NAME_labels.tif" in printed
    photograph, line = kit.manifest(tmp_path / "out")
    assert "road" not in photograph and (line["road"], line["frames"], line["width"]) == ("clip", 3, 30)
    names = {"labels": "b_labels.tif", "overlay": f"b_overlay{suffix}", "json": "b_summary.json", "coco": "b_coco.jsonl"}
    assert line["outputs"] == names and sum(each["pixels"] for each in line["labels"]) == 3 * 20 * 30
    segment_video(moving, tmp_path / "labels", load(model), write="labels")
    expected = [np.asarray(Image.open(tmp_path / "labels" / f"{n:06}.png")) for n in range(3)]
    np.testing.assert_array_equal(pages(tmp_path / "out" / "b_labels.tif"), expected)
    assert len(pages(tmp_path / "out" / f"b_overlay{suffix}")) == 3
    assert json.loads((tmp_path / "out" / "b_summary.json").read_text())["frames"] == 3
    assert len((tmp_path / "out" / "b_coco.jsonl").read_text().splitlines()) == 3


def test_a_video_is_an_item_of_the_run(kit: type, run: Callable, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    kit.photograph(tmp_path / "in" / "a.png")
    with av.open(str(tmp_path / "in" / "b.mp4"), "w") as out:
        stream = out.add_stream(out.default_video_codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for level in (0, 100, 200):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")))
        out.mux(stream.encode(None))
    assert run(tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert kit.manifest(tmp_path / "out")[1]["outputs"] == {"labels": "b_labels.tif", "overlay": "b_overlay.mp4"}
    with av.open(str(tmp_path / "out" / "b_overlay.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 3
    assert run(tmp_path / "in" / "b.mp4", "--out", tmp_path / "masks.mp4")[0] == 0
    with av.open(str(tmp_path / "masks.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 3


def test_a_clip_that_is_made_is_left_and_one_that_changed_made_again(kit: type, run: Callable, tmp_path: Path) -> None:
    moving = clip(tmp_path / "b.gif")
    words = moving, "--out", tmp_path / "out"
    assert "already" not in run(*words)[1] and "1 of them were there already" in run(*words)[1]
    assert "already" not in run(*words, "--write", "labels", "coco")[1]
    clip(moving, 2)
    assert "already" not in run(*words)[1] and kit.manifest(tmp_path / "out")[0]["frames"] == 2
    (tmp_path / "out" / "b_labels.tif").unlink()
    assert "already" not in run(*words)[1]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif", ".png"])
def test_half_a_clip_and_one_without_pyav_stop_no_other(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    kit.photograph(tmp_path / "in" / "d.png")
    clip(tmp_path / "in" / "a.gif")
    whole = clip(tmp_path / "in" / f"b{suffix}", 9).read_bytes()
    (tmp_path / "in" / f"b{suffix}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in" / "c.mp4").write_bytes(b"a video")
    code, printed, complaint = run(tmp_path / "in", "--out", tmp_path / "out")
    broken, without = complaint.splitlines()
    assert code == 2 and "2 of 4" in printed and broken.startswith(f"dpn: {tmp_path}/in/b{suffix}: ")
    assert without == f"dpn: {tmp_path}/in/c.mp4: needs PyAV: pip install -c constraints.txt -e '.[video]'"
    assert sum("error" in line for line in kit.manifest(tmp_path / "out")) == 2


def test_what_is_not_written_of_a_clip_is_told(kit: type, run: Callable, tmp_path: Path) -> None:
    kit.photograph(tmp_path / "in" / "a.png"), clip(tmp_path / "in" / "b.gif")
    code, _, complaint = run(tmp_path / "in", "--out", tmp_path / "out", "--write", "labels", "geojson", "--stages")
    assert code == 0 and re.search(r"b\.gif: a clip, of which .* no geojson and no stages\n$", complaint)
    assert kit.manifest(tmp_path / "out")[1]["outputs"] == {"labels": "b_labels.tif"}
    code, printed, complaint = run(tmp_path / "in", "--out", tmp_path / "more", "--write", "geojson")
    assert code == 2 and "1 of 2" in printed and "b.gif: a clip" in complaint and "add one of them to --write" in complaint


def test_after_ctrl_c_a_clip_is_left_where_it_is(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(tmp_path / "in" / "a.webp", 500), kit.photograph(tmp_path / "in" / "b.png")
    began, whole = Event(), Work._go_on

    def go_on(work: Work, done: int, count: int | None) -> None:
        assert done < 400, "the clip was made to its end"
        began.set()
        whole(work, done, count)

    def interrupted(*_: object) -> int:
        assert began.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(Work, "_go_on", go_on)
    monkeypatch.setattr(Manifest, "add", interrupted)
    kit.photograph(tmp_path / "in" / "0.png")
    code, _, complaint = run(tmp_path / "in", "--out", tmp_path / "out")
    assert code == 130 and "the same command goes on from there" in complaint
    assert not [path for path in (tmp_path / "out").iterdir() if "a_" in path.name]


def test_a_clip_in_an_archive_gives_what_its_file_gives(kit: type, run: Callable, tmp_path: Path) -> None:
    moving = clip(tmp_path / "b.webp")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(moving, "b.webp")
    assert run(moving, "--out", tmp_path / "one")[0] == run(tmp_path / "shard.tar", "--out", tmp_path / "two")[0] == 0
    assert kit.outputs(tmp_path / "one") == kit.outputs(tmp_path / "two")


def test_a_clip_in_a_store_is_labelled_into_a_store(kit: type, run: Callable, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory, moving = fsspec.filesystem("memory"), clip(tmp_path / "b.gif")
    memory.pipe_file("/clips/in/b.gif", moving.read_bytes())
    try:
        assert run(moving, "--out", tmp_path / "out")[0] == 0
        assert run("memory://clips/in", "--out", "memory://clips/out")[0] == 0
        assert "1 of them were there already" in run("memory://clips/in", "--out", "memory://clips/out")[1]
        for name, content in kit.outputs(tmp_path / "out").items():
            assert memory.cat_file(f"/clips/out/{name}") == content
    finally:
        memory.rm("/clips", recursive=True)


def test_one_clip_may_become_a_file(kit: type, run: Callable, tmp_path: Path) -> None:
    moving = clip(tmp_path / "b.gif")
    code, printed, _ = run(moving, "--out", tmp_path / "masks.gif")
    assert code == 0 and "3 frames" in printed and "masks.gif" in printed and len(np.unique(pages(tmp_path / "masks.gif"))) <= 3
    assert run(moving, "--out", tmp_path / "overlay.gif", "--write", "overlay")[0] == 0
    assert len(pages(tmp_path / "overlay.gif")) == 3
    photograph = kit.photograph(tmp_path / "a.png")
    for words in (
        (photograph,),
        (moving, photograph),
        (moving, "--write", "coco"),
        (moving, "--stages"),
        (moving, "--shard", "0/2"),
    ):
        code, _, complaint = run(*words, "--out", tmp_path / "not.gif")
        assert code == 2 and "choose a folder" in complaint and not (tmp_path / "not.gif").exists()


@pytest.mark.parametrize(
    "kind", ["single.gif", "single.tif", "pyramid.tif", "channels.tif", "mask.tif", "moving.jpg", "broken.tif"]
)
def test_what_is_no_clip_is_a_photograph(tmp_path: Path, kind: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    path, pixels = tmp_path / kind, np.zeros((3, 64, 48), np.uint8)
    if kind.startswith("single"):
        Image.fromarray(pixels[0]).save(path)
    elif kind == "moving.jpg":
        clip(tmp_path / "moving.gif").rename(path)
    elif kind == "broken.tif":
        path.write_bytes(b"II*\0\1")
    elif kind == "channels.tif":
        tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "CYX"})
    else:
        with tifffile.TiffWriter(path) as writer:
            writer.write(pixels[0])
            writer.write(pixels[1, ::2, ::2] if kind == "pyramid.tif" else pixels[1] > 0, subfiletype=1)
    assert road_of(Item(str(path), "", "", str(path)), None) == "photograph"


def test_a_stack_in_an_archive_is_a_clip_and_a_pyramid_is_none(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stack, pixels = clip(tmp_path / "stack.tif"), np.zeros((64, 48), np.uint8)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:
        writer.write(pixels), writer.write(pixels[::2, ::2], subfiletype=1)
    for path, road in ((stack, "clip"), (tmp_path / "pyramid.tif", "photograph")):
        assert road_of(Item(f"a.tar/{path.name}", "", "", "a.tar"), path.read_bytes()) == road


@pytest.fixture
def colours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `dpn segment` with a network whose labels are the strongest of red, green and blue."""
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom dpn.unary import Wrap\n"
        "def net():\n    sharp = torch.nn.Conv2d(3, 3, 1, bias=False)\n"
        "    sharp.weight.data = 20 * torch.eye(3)[:, :, None, None]\n    return Wrap(sharp, 3)\n"
    )

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["segment", *map(str, words), "--unary", f"{tmp_path}/mine.py:net"])
        return code, *capsys.readouterr()

    return run


def blots() -> Image.Image:
    """Blots of all colours, 600 x 451."""
    few = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(few).resize((451, 600), Image.Resampling.BICUBIC)


@pytest.fixture
def huge(monkeypatch: pytest.MonkeyPatch) -> int:
    """Photographs of more than a tenth of a megapixel count as huge."""
    monkeypatch.setattr(large, "LARGEST", 100_000)
    monkeypatch.setattr(large, "LOOK", 200)
    return 100_000


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_a_huge_photograph_gets_the_labels_that_a_smaller_one_gets(
    kit: type, colours: Callable, tmp_path: Path, huge: int, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    blots().save(path)
    words = path, "--size", 65, "--write", "labels", "overlay", "probabilities", "json", "--stages"
    code, printed, complaint = colours(*words, "--out", tmp_path / "bands")
    assert (code, complaint) == (0, "") and "NAME_labels.tif" in printed
    (line,) = kit.manifest(tmp_path / "bands")
    assert (line["road"], line["width"], line["height"]) == ("huge", 451, 600)
    assert Image.open(tmp_path / "bands" / "a_overlay.png").width == 150
    monkeypatch.setattr(large, "LARGEST", 1_000_000)
    assert colours(*words, "--out", tmp_path / "whole")[0] == 0
    bands, whole = (np.asarray(Image.open(tmp_path / name)) for name in ("bands/a_labels.tif", "whole/a_labels.png"))
    assert len(np.unique(whole)) == 3 and (bands == whole).mean() > (0.98 if suffix == ".jpg" else 0.999)
    counts = np.bincount(bands.ravel(), minlength=3)
    assert {each["label"]: each["pixels"] for each in line["labels"]} == dict(enumerate(counts.tolist()))
    for name in ("bands", "whole"):
        with np.load(tmp_path / name / "a_probabilities.npz") as file:
            assert file["size"].tolist() == [600, 451] and file["probabilities"].shape == (3, 65, 49)
        summary = json.loads((tmp_path / name / "a_summary.json").read_text())
        assert (summary["width"], summary["height"]) == (451, 600)


@pytest.mark.parametrize("size", [(451, 600), (45, 60)], ids=["huge", "small"])
def test_labels_lie_where_the_image_does_on_earth(
    kit: type, colours: Callable, tmp_path: Path, huge: int, size: tuple[int, int]
) -> None:
    tifffile = pytest.importorskip("tifffile")
    place = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 400.0, 900.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(blots().resize(size)), photometric="rgb", extratags=place)
    assert colours(tmp_path / "a.tif", "--size", 60, "--out", tmp_path / "out")[0] == 0
    assert kit.manifest(tmp_path / "out")[0]["road"] == ("huge" if size[0] > 100 else "map")
    with tifffile.TiffFile(tmp_path / "out" / "a_labels.tif") as file:
        tags = file.pages[0].tags
        assert (tags[33550].value, tags[33922].value) == (place[0][3], place[1][3])
        assert file.pages[0].shape == size[::-1]


def test_outlines_of_a_small_map_are_written_and_those_of_a_huge_photograph_are_told_to_be_none(
    kit: type, colours: Callable, tmp_path: Path, huge: int
) -> None:
    blots().save(tmp_path / "a.png")
    words = "--size", 65, "--out", tmp_path / "out", "--write", "labels", "geojson"
    code, _, complaint = colours(tmp_path / "a.png", *words)
    assert code == 0 and re.search(r"a\.png: above 50 megapixels, of which .* no geojson\n$", complaint)
    assert "1 of them were there already" in colours(tmp_path / "a.png", *words)[1]
    code, _, complaint = colours(tmp_path / "a.png", *words[:-2], "coco")
    assert code == 2 and "a.png: above 50 megapixels" in complaint and "add one of them to --write" in complaint
    tifffile = pytest.importorskip("tifffile")
    place = [(33550, 12, 3, (0.5, 0.5, 0.0), True)]
    tifffile.imwrite(tmp_path / "b.tif", np.asarray(blots().resize((45, 60))), photometric="rgb", extratags=place)
    assert colours(tmp_path / "b.tif", *words, "coco")[0] == 0
    outlines = json.loads((tmp_path / "out" / "b_polygons.geojson").read_text())["features"]
    assert sum(each["properties"]["pixels"] for each in outlines) == 45 * 60


def test_a_huge_photograph_in_an_archive_gives_what_its_file_gives(
    kit: type, colours: Callable, tmp_path: Path, huge: int
) -> None:
    blots().save(tmp_path / "a.tif")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(tmp_path / "a.tif", "a.tif")
    for source, out in (("a.tif", "one"), ("shard.tar", "two")):
        assert colours(tmp_path / source, "--size", 65, "--out", tmp_path / out)[0] == 0
    assert kit.outputs(tmp_path / "one") == kit.outputs(tmp_path / "two")


def test_networks_do_not_see_a_huge_photograph_of_which_nothing_is_written(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    photograph = large.Large("huge", pixels, pixels, Size(2, 3), {}, None)
    work = Work({}, ["geojson"], False, 65, destination(tmp_path))
    with pytest.raises(InputError, match=r"a\.png: above 50 megapixels, .* add one of them to --write"):
        work.work_on(Item("a.png", "/a.png", "", "/a.png", name="a"), photograph)


def test_a_clip_s_copy_that_a_kill_left_is_removed_by_the_next_run(
    kit: type, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    with Item("shard.tar/a.gif", "", "", "", part=(0, 1)).file(b"clip") as file:
        (copies / file.parent.name.replace(str(os.getpid()), "0", 1)).mkdir()
    assert len(list(copies.iterdir())) == 1
    kit.photograph(tmp_path / "in" / "a.png")
    assert run(tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert list(copies.iterdir()) == []
