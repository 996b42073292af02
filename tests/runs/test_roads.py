"""Clips among photographs: each takes its own road, and is noted, resumed and complained of as any other item."""

import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn import load, segment_video
from dpn.runs.items import Item
from dpn.runs.roads import road_of


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
    with pytest.warns(UserWarning, match="b.gif: a clip, of which .* no geojson and no stages"):
        assert run(tmp_path / "in", "--out", tmp_path / "out", "--write", "labels", "geojson", "--stages")[0] == 0
    assert kit.manifest(tmp_path / "out")[1]["outputs"] == {"labels": "b_labels.tif"}
    code, printed, complaint = run(tmp_path / "in", "--out", tmp_path / "more", "--write", "geojson")
    assert code == 2 and "1 of 2" in printed and "b.gif: a clip" in complaint and "add one of them to --write" in complaint


def test_a_clip_in_an_archive_gives_what_its_file_gives(kit: type, run: Callable, tmp_path: Path) -> None:
    moving = clip(tmp_path / "b.webp")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(moving, "b.webp")
    assert run(moving, "--out", tmp_path / "one")[0] == run(tmp_path / "shard.tar", "--out", tmp_path / "two")[0] == 0
    assert kit.outputs(tmp_path / "one") == kit.outputs(tmp_path / "two")


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
