"""The command line as a person uses it: what it writes, what it says, and the one line for each mistake."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from hashlib import sha256
from inspect import getdoc
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dpn import DPN, MRF, __version__, cli, save, segment
from dpn.cli import COMMANDS, main
from dpn.data import voc_palette
from dpn.experiments import Scale
from dpn.metrics import Evaluation
from dpn.model_files import shipped_models
from dpn.mrf import MRFConfig
from dpn.plots.legend import percent
from dpn.storage import load_stages
from dpn.training import Recipe
from dpn.unary import MobileNetV2, made_by

NAMES = ("sky", "sea", "sun")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network saved at all four stages, its bias such that all labels are found."""
    torch.manual_seed(0)
    network = DPN(MobileNetV2(labels=3), MRF(3, components=2, window=5, context=3), labels=NAMES)
    torch.nn.init.normal_(network.unary.score.weight, std=3.0)
    earlier = {stage: network.state_dict() for stage in ("unary", "triple_penalty", "label_contexts")}
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(network, path, earlier=earlier)
    return path


@pytest.fixture
def run(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command with `MODEL` and `OUT` put in; its exit code, what it printed, and what it complained of."""

    def run(*words: object) -> tuple[int, str, str]:
        places = {"MODEL": str(model), "OUT": str(tmp_path / "out")}
        code = main([places.get(str(word), str(word)) for word in words])
        return code, *capsys.readouterr()

    return run


Run = Callable[..., tuple[int, str, str]]


def photograph(path: Path, seed: int = 0, height: int = 40, width: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


def mask(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def files(folder: Path) -> list[str]:
    """The names of all files in a folder, but for a run's manifest."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != "manifest.jsonl")


def is_one_line(error: str, *words: str) -> bool:
    return error.startswith("dpn: ") and error.count("\n") == 1 and all(word in error for word in words)


def test_segment_writes_labels_and_overlays_and_prints_names_and_shares(run: Run, model: Path, tmp_path: Path) -> None:
    photographs = [photograph(tmp_path / "one.png", 1), photograph(tmp_path / "folder" / "two.jpg", 2, 30, 50)]
    code, printed, error = run("segment", tmp_path / "one.png", tmp_path / "folder", "--model", "MODEL", "--out", "OUT")
    assert (code, error) == (0, "")
    assert files(tmp_path / "out") == ["one_labels.png", "one_overlay.png", "two_labels.png", "two_overlay.png"]
    for path in photographs:
        found = segment(path, model)
        with Image.open(tmp_path / "out" / f"{path.stem}_labels.png") as image:
            assert np.array_equal(np.asarray(image), found.labels)
            assert image.getpalette() == voc_palette().ravel().tolist()
        label, share = next(iter(found.shares.items()))
        assert f"{label} {percent(share)}" in printed
    assert "2 of 2 photographs" in printed and str(tmp_path / "out") in printed


def test_stages_draws_a_strip_of_five_panels(run: Run, tmp_path: Path) -> None:
    photograph(tmp_path / "large.png", height=480, width=960)
    code, _, error = run("segment", tmp_path / "large.png", "--model", "MODEL", "--out", "OUT", "--stages", "--size", 60)
    assert (code, error) == (0, "")
    assert files(tmp_path / "out") == ["large_labels.png", "large_overlay.png", "large_stages.png"]
    with Image.open(tmp_path / "out" / "large_stages.png") as strip:
        assert 5 * 640 <= strip.width <= 4000 and strip.height < 480
    with Image.open(tmp_path / "out" / "large_labels.png") as labels:
        assert labels.size == (960, 480)


def test_the_photograph_itself_is_never_written_over(run: Run, tmp_path: Path) -> None:
    before = photograph(tmp_path / "photo.png").read_bytes()
    assert run("segment", tmp_path / "photo.png", "--model", "MODEL", "--out", tmp_path)[0] == 0
    assert (tmp_path / "photo.png").read_bytes() == before


def test_a_photograph_that_would_be_written_over_is_refused(run: Run, tmp_path: Path) -> None:
    photograph(tmp_path / "photo.png")
    before = photograph(tmp_path / "photo_labels.png", 1).read_bytes()
    code, _, error = run("segment", tmp_path, "--model", "MODEL", "--out", tmp_path)
    assert code == 2 and is_one_line(error, "photo_labels.png: a photograph that would be written over", "--out")
    assert (tmp_path / "photo_labels.png").read_bytes() == before
    assert files(tmp_path) == ["photo.png", "photo_labels.png"]


def test_a_photograph_named_twice_is_segmented_once(run: Run, tmp_path: Path) -> None:
    photograph(tmp_path / "in" / "a.png")
    code, printed, _ = run("segment", tmp_path / "in", tmp_path / "in" / "a.png", "--model", "MODEL", "--out", "OUT")
    assert code == 0 and "1 of 1 photographs" in printed
    assert files(tmp_path / "out") == ["a_labels.png", "a_overlay.png"]


def test_only_what_is_asked_for_is_written(run: Run, tmp_path: Path) -> None:
    photograph(tmp_path / "a.png")
    words = ["segment", tmp_path / "a.png", "--model", "MODEL", "--out", "OUT", "--write"]
    assert run(*words, "labels")[0] == 0
    assert files(tmp_path / "out") == ["a_labels.png"]
    assert run(*words, "probabilities", "json", "geojson", "coco")[0] == 0
    made = ["coco.json", "labels.png", "polygons.geojson", "probabilities.npz", "summary.json"]
    assert files(tmp_path / "out") == [f"a_{each}" for each in made]
    code, printed, error = run(*words, "video")
    assert (code, printed) == (2, "") and is_one_line(error, "'video'", "'geojson'")


def test_json_tells_of_each_photograph_and_of_all(run: Run, model: Path, tmp_path: Path) -> None:
    photographs = [photograph(tmp_path / "one.png", 1), photograph(tmp_path / "two.jpg", 2, 30, 50)]
    code, printed, error = run("segment", *photographs, "nowhere.jpg", "--model", "MODEL", "--out", "OUT", "--json")
    told = json.loads(printed)
    assert code == 2 and is_one_line(error, "nowhere.jpg")
    assert (told["model"], told["stage"], told["size"]) == (str(model), "joint", 513)
    assert [each["image"] for each in told["failed"]] == ["nowhere.jpg"]
    for path, of_image in zip(photographs, told["images"], strict=True):
        found = segment(path, model)
        assert (of_image["image"], of_image["height"], of_image["width"]) == (str(path), *found.labels.shape)
        assert {each["name"]: each["share"] for each in of_image["labels"]} == found.shares
        assert all(Path(file).is_file() for file in of_image["files"].values())
    assert sum(each["pixels"] for each in told["labels"]) == 40 * 60 + 30 * 50
    assert sum(each["share"] for each in told["labels"]) == pytest.approx(1)
    assert told["seconds"] >= sum(each["seconds"] for each in told["images"]) > 0


@pytest.mark.parametrize("word", ["segment", "evaluate"])
def test_a_device_that_is_not_there(run: Run, tmp_path: Path, word: str) -> None:
    given = {"segment": [photograph(tmp_path / "a.png"), "--model"], "evaluate": ["--data", "scenes"]}[word]
    code, printed, error = run(word, *given, "MODEL", "--out", "OUT", "--device", "cuda:99")
    assert (code, printed) == (2, "") and is_one_line(error, "device 'cuda:99' does not serve")


def test_photographs_of_one_name_are_told_apart(run: Run, tmp_path: Path) -> None:
    for n, name in enumerate(("a.png", "b/a.png", "a.jpg", "a_2.png")):
        photograph(tmp_path / "in" / name, n)
    inside = [tmp_path / "in" / "b", tmp_path / "in"]
    assert run("segment", *inside, "--model", "MODEL", "--out", "OUT")[0] == 0
    assert len(files(tmp_path / "out")) == 8


def test_in_a_folder_the_rest_goes_on(run: Run, tmp_path: Path) -> None:
    photograph(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:2000])
    (tmp_path / "in" / "c.jpg").write_text("not an image")
    photograph(tmp_path / "in" / "d.png", 1)
    code, printed, error = run("segment", tmp_path / "in", "--model", "MODEL", "--out", "OUT")
    assert code == 2 and "2 of 4 photographs" in printed
    assert files(tmp_path / "out") == ["a_labels.png", "a_overlay.png", "d_labels.png", "d_overlay.png"]
    first, second = error.splitlines(keepends=True)
    assert is_one_line(first, "b.png", "broken") and is_one_line(second, "c.jpg", "not an image")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "I;16"])
def test_every_kind_of_photograph(run: Run, tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60)).save(tmp_path / "photo.png")
    else:
        Image.open(photograph(tmp_path / "photo.png")).convert(mode).save(tmp_path / "photo.png")
    assert run("segment", tmp_path / "photo.png", "--model", "MODEL", "--out", "OUT")[::2] == (0, "")


def test_a_photograph_of_one_pixel(run: Run, tmp_path: Path) -> None:
    photograph(tmp_path / "dot.png", height=1, width=1)
    assert run("segment", tmp_path / "dot.png", "--model", "MODEL", "--out", "OUT", "--stages")[::2] == (0, "")
    with Image.open(tmp_path / "out" / "dot_labels.png") as image:
        assert image.size == (1, 1)


def test_a_rotated_photograph_is_labelled_upright(run: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photograph(tmp_path / "turned.jpg")).save(tmp_path / "turned.jpg", exif=exif)
    assert run("segment", tmp_path / "turned.jpg", "--model", "MODEL", "--out", "OUT")[0] == 0
    with Image.open(tmp_path / "out" / "turned_labels.png") as image:
        assert image.size == (40, 60)


def wrong_model(path: Path, kind: str) -> Path:
    if kind == "pickle":
        torch.save({"weight": torch.zeros(2)}, path)
    elif kind == "cut off":
        save(DPN(MobileNetV2(labels=3), MRF(3, window=5)), path)
        path.write_bytes(path.read_bytes()[:5000])
    else:
        save_file({"weight": torch.zeros(2)}, path)
    return path


@pytest.mark.parametrize("kind", ["pickle", "cut off", "foreign"])
def test_a_file_that_is_no_model(run: Run, tmp_path: Path, kind: str) -> None:
    photo, path = photograph(tmp_path / "photo.png"), wrong_model(tmp_path / "wrong.safetensors", kind)
    code, printed, error = run("segment", photo, "--model", path, "--out", "OUT")
    assert (code, printed) == (2, "") and is_one_line(error, "wrong.safetensors")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["segment", "nowhere.jpg", "--model", "MODEL", "--out", "OUT"], ["nowhere.jpg: no such file"]),
        (["segment", "EMPTY", "--model", "MODEL", "--out", "OUT"], ["empty: no image in this folder"]),
        (["segment", "PHOTO", "--model", "no-such-model", "--out", "OUT"], ["no-such-model: no such file", "shipped"]),
        (["segment", "PHOTO", "--model", "EMPTY", "--out", "OUT"], ["empty: the folder holds no model.safetensors"]),
        (["segment", "PHOTO", "--model", "MODEL", "--out", "PHOTO"], ["photo.png: cannot be made a folder"]),
        (["segment", "PHOTO", "--model", "MODEL", "--out", "PHOTO/below"], ["below: cannot be made a folder"]),
        (["segment", "PHOTO", "--model", "MODEL", "--out", "OUT", "--size", "0"], ["size must be at least 1, got 0"]),
        (
            ["segment", "PHOTO", "--model", "MODEL", "--out", "OUT", "--size", "big"],
            ['"size": Expected a int. Got value: big', "segment --help"],
        ),
        (["segment", "--out", "OUT"], ["images", "segment --help"]),
        (["segment", "PHOTO", "--sizes", "3"], ["--sizes"]),
        (["evaluate", "MODEL", "--data", "scenes", "--stages", "final"], ["'final'", "it has unary, triple_penalty"]),
        (["evaluate", "MODEL", "--data", "scenes"], ["unary: labels (sky, sea, sun: 3)", "(sky, water, grass, tree, ...: 10)"]),
        (["evaluate", "MODEL", "--data", "kitti"], ["'kitti'", "ade20k, camvid, cityscapes, coco, folder, scenes, voc"]),
        (["evaluate", "MODEL", "--data", "folder"], ["--data-root"]),
        (["evaluate", "MODEL", "--data", "folder", "--data-root", "EMPTY"], ["empty: no images and masks here"]),
        (["evaluate", "MODEL"], ["data", "evaluate --help"]),
        (["train", "--out", "PHOTO"], ["photo.png: is a file; name a folder"]),
        (["train", "nowhere.yaml", "--out", "OUT"], ["nowhere.yaml"]),
        (["evaluate", "MODEL", "--data", "scenes", "--flip", "--scales", "0"], ["scales must be positive", "0.0"]),
        (["evaluate", "MODEL", "--data", "scenes", "--flip", "--stages", "unary", "joint"], ["one stage at most is averaged"]),
        (["experiment", "table9", "--out", "OUT"], ["'table9'", "table2a"]),
        (["experiment", "fig5", "--data", "coco", "--data-root", "EMPTY", "--out", "OUT"], ["trained on it: --model"]),
        (["data", "get", "cityscapes", "--root", "EMPTY"], ["'cityscapes'", "voc2012, sbd, coco, camvid, vgg16"]),
        (["data", "get", "camvid", "--root", "EMPTY", "--archive", "PHOTO"], ["photo.png", "not an archive"]),
        (["paint", "PHOTO"], ["paint", "'segment'"]),
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_in_one_line(run: Run, tmp_path: Path, words: list[str], said: list[str]) -> None:
    photo = str(photograph(tmp_path / "photo.png"))
    (tmp_path / "empty").mkdir()
    places = {"PHOTO": photo, "EMPTY": str(tmp_path / "empty"), "PHOTO/below": f"{photo}/below"}
    code, printed, error = run(*(places.get(word, word) for word in words))
    assert (code, printed) == (2, "")
    assert is_one_line(error, *said), error
    assert files(tmp_path) == ["photo.png"]


def data(root: Path) -> None:
    for n, name in enumerate(("a", "b", "c")):
        photograph(root / "val" / "images" / f"{name}.png", n)
        mask(root / "val" / "masks" / f"{name}.png", np.arange(2400).reshape(40, 60) // 800 * (n > 0))


def evaluated(*rows: str) -> list[str]:
    """The files that `dpn evaluate` writes of these rows."""
    of_rows = [f"{row}{end}" for row in rows for end in (".npz", "_confusion.csv", "_confusion.png")]
    return sorted([*of_rows, "labels.csv", "results.json", "table.csv", "table.md", "worst.png"])


def test_evaluate_prints_and_saves_the_table(run: Run, model: Path, tmp_path: Path) -> None:
    data(tmp_path / "mine")
    words = ["evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--out", "OUT"]
    code, printed, error = run(*words)
    assert (code, error) == (0, "")
    assert "3 images" in printed and all(name in printed for name in NAMES)
    assert files(tmp_path / "out") == evaluated("joint", "label_contexts", "triple_penalty", "unary")
    with (tmp_path / "out" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == ["unary", "triple_penalty", "label_contexts", "joint"]
    pixels = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "mine" / "val" / "masks").iterdir())]
    found = [segment(path, model).labels for path in sorted((tmp_path / "mine" / "val" / "images").iterdir())]
    truth, found = np.stack(pixels), np.stack(found)
    ious = [((truth == u) & (found == u)).sum() / ((truth == u) | (found == u)).sum() for u in range(3)]
    assert float(rows[-1]["miou"]) == pytest.approx(np.mean(ious), abs=1e-6)


def test_evaluate_writes_predictions_and_prints_json(run: Run, model: Path, tmp_path: Path) -> None:
    data(tmp_path / "mine")
    words = ["evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--out", "OUT", "--stages", "joint"]
    code, printed, error = run(*words, "--predictions", "--json")
    assert (code, error) == (0, "")
    assert json.loads(printed) == json.loads((tmp_path / "out" / "results.json").read_text())
    for path in sorted((tmp_path / "mine" / "val" / "images").iterdir()):
        with Image.open(tmp_path / "out" / "predictions" / path.name) as image:
            assert np.array_equal(np.asarray(image), segment(path, model).labels)


def test_evaluate_lays_other_scores_beside(run: Run, tmp_path: Path) -> None:
    data(tmp_path / "mine")
    words = ["evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--stages"]
    assert run(*words, "unary", "--out", "OUT")[0] == 0
    code, printed, _ = run(*words, "joint", "--beside", tmp_path / "out" / "unary.npz")
    assert code == 0
    assert printed.index("joint") < printed.index("unary")
    code, printed, error = run(*words, "unary", "--beside", tmp_path / "out" / "unary.npz")
    assert (code, printed) == (2, "") and is_one_line(error, "--beside", "unary")


@pytest.mark.parametrize(
    ("values", "said"),
    [(np.full((40, 60), 3), ["b.png: mask values 3 are no labels", "0 to 2"]), (np.zeros((60, 40)), ["60 x 40", "40 x 60"])],
)
def test_a_wrong_mask_is_named_and_the_table_is_of_the_others(
    run: Run, tmp_path: Path, values: np.ndarray, said: list[str]
) -> None:
    data(tmp_path / "mine")
    mask(tmp_path / "mine" / "val" / "masks" / "b.png", values)
    words = ["evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--out", "OUT"]
    code, printed, error = run(*words)
    named, left = error.splitlines(keepends=True)
    assert code == 2 and "2 images" in printed and is_one_line(named, "masks/b.png", *said)
    assert is_one_line(left, "2 of 3 images are measured, and the table is of these")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [*results["failed"]] == ["1"] and "masks/b.png" in results["failed"]["1"]


def test_an_evaluation_that_is_stopped_prints_what_it_has_and_writes_no_table(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data(tmp_path / "mine")
    add, added = Evaluation.add, []

    def stopped(self: Evaluation, system: str, *rest: Any) -> None:
        added.append(system)
        if len(added) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        add(self, system, *rest)

    monkeypatch.setattr(Evaluation, "add", stopped)
    words = ["evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--out", "OUT", "--stages", "joint"]
    code, printed, error = run(*words)
    assert code == 143 and "2 images" in printed and is_one_line(error, "stopped by SIGTERM: 2 of 3 images are measured")
    assert files(tmp_path / "out") == []


def test_an_evaluation_of_no_image_says_so(run: Run, tmp_path: Path) -> None:
    data(tmp_path / "mine")
    for name in "abc":
        mask(tmp_path / "mine" / "val" / "masks" / f"{name}.png", np.zeros((1, 1)))
    code, printed, error = run("evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--out", "OUT")
    assert (code, printed) == (2, "") and "none of its 3 images can be measured" in error


def test_evaluate_averages_models_scales_and_mirrors_into_one_row(run: Run, model: Path, tmp_path: Path) -> None:
    data(tmp_path / "mine")
    words = ["evaluate", "MODEL", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--out", "OUT"]
    assert run(*words, "--scales", "0.5", "1", "--flip")[0] == 0
    assert files(tmp_path / "out") == evaluated("average")
    alone = run("evaluate", "MODEL", "--stages", "joint", *words[3:7])[1]
    twice = run(*words[:7])[1]
    figure = [next(line for line in text.splitlines() if name in line) for text, name in ((alone, "joint"), (twice, "average"))]
    assert figure[0].split("joint")[1].split() == figure[1].split("average")[1].split()


def test_a_submission_holds_every_label_map(run: Run, tmp_path: Path) -> None:
    data(tmp_path / "mine")
    words = ["evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--submission", tmp_path / "out.tar.gz"]
    assert "3 label maps" in run(*words)[1]
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        assert archive.getnames() == [f"results/VOC2012/Segmentation/comp6_val_cls/{name}.png" for name in "abc"]


def test_out_of_evaluate_is_tried_before_the_work(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data(tmp_path / "mine")
    monkeypatch.setattr("dpn.inference.evaluate.measured", lambda *arguments: pytest.fail("measured first"))
    out = tmp_path / "mine" / "val" / "masks" / "a.png"
    code, _, error = run("evaluate", "MODEL", "--data", "folder", "--data-root", tmp_path / "mine", "--out", out)
    assert code == 2 and is_one_line(error, "a.png", "File exists")


def test_a_network_of_one_s_own_is_segmented_and_measured_with(run: Run, tmp_path: Path) -> None:
    """Under a new head, and under one that was saved with it."""
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\nfrom dpn.unary import Wrap\n"
        "def net():\n    torch.manual_seed(0)\n    return Wrap(nn.Conv2d(3, 2, 3, padding=1), 2)\n"
    )
    name, saved = f"{tmp_path}/mine.py:net", tmp_path / "mine.safetensors"
    one = photograph(tmp_path / "val" / "images" / "one.png", 1)
    mask(tmp_path / "val" / "masks" / "one.png", np.arange(40 * 60).reshape(40, 60) % 2)
    code, printed, error = run("segment", one, "--unary", name, "--out", "OUT", "--stages")
    assert (code, error) == (0, "") and files(tmp_path / "out") == ["one_labels.png", "one_overlay.png", "one_stages.png"]
    save(DPN(made_by(name), MRF(2, window=5)), saved)
    for model, rows in (("new", ["unary", "triple_penalty"]), (saved, ["joint"])):
        words = ["--unary", name, "--data", "folder", "--data-root", tmp_path, "--out", tmp_path / "found"]
        code, printed, error = run("evaluate", model, *words)
        assert code == 0, error
        assert all(row in printed for row in rows)
    code, _, error = run("segment", one, "--model", saved)
    assert code == 2 and f"give unary='{name}'" in error


def test_demo_shows_three_photographs(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpn.runs.command.photograph", lambda name: np.zeros((40, 60, 3), np.uint8))
    monkeypatch.setattr("dpn.runs.order.load_stages", lambda name, **given: load_stages(model))
    code, printed, error = run("demo", "--out", "OUT")
    assert (code, error) == (0, "") and str(tmp_path / "out") in printed
    made = [f"{name}_{kind}.png" for name in ("cat", "astronaut", "motorcycle") for kind in ("labels", "overlay", "stages")]
    assert files(tmp_path / "out") == sorted([*made, "cat.png", "astronaut.png", "motorcycle.png"])


def test_the_printed_config_is_a_recipe_and_options_after_it_win(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = []
    monkeypatch.setattr("dpn.training.run.train_recipe", lambda recipe, out, seconds, device: recipes.append(recipe))
    monkeypatch.setattr("dpn.training.run.unfinished", lambda out: [])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main(["train", "--print_config"])
    (tmp_path / "mine.yaml").write_text(printed.getvalue())
    assert run("train", tmp_path / "mine.yaml", "--mrf.window", 7, "--out", "OUT")[0] == 0
    assert recipes == [Recipe(mrf=MRFConfig(window=7))]


def test_options_of_an_experiment_are_its_setting_and_quick_is_where_it_begins(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("dpn.experiments.command.run", lambda *given, **more: asked.append((*given, more)) or {})
    words = ["--quick", "--data", "voc", "--data-root", tmp_path, "--images", 3, "--seeds", 4, 5, "--jobs", 2, "--out", "OUT"]
    assert run("experiment", "fig5", "test-time", *words)[0] == 0
    setting = Scale.fast(data="voc", root=tmp_path, model="voc", images=3, seeds=(4, 5))
    assert asked == [(["fig5", "test-time"], tmp_path / "out", setting, {"jobs": 2, "report": None})]


def test_ctrl_c_ends_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dpn.runs.command.items_of", interrupted)
    code, _, error = run("segment", "photo.jpg", "--model", "MODEL")
    assert code == 130 and is_one_line(error, "stopped")


def test_links_that_lead_nowhere_are_told_as_what_they_are(run: Run, tmp_path: Path) -> None:
    loop, gone = tmp_path / "loop", tmp_path / "gone.jpg"
    loop.symlink_to("loop"), gone.symlink_to("nowhere.jpg")
    photograph(tmp_path / "photo.png")
    back = f"{loop}: a link that leads back to itself"
    assert is_one_line(run("segment", loop, "--model", "MODEL", "--out", "OUT")[2], back)
    assert is_one_line(run("segment", tmp_path / "photo.png", "--model", "MODEL", "--out", loop)[2], back)
    assert is_one_line(
        run("tile", gone, "--model", "MODEL", "--out", "OUT")[2], f"{gone}: a link to nowhere.jpg, which is not there"
    )


@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, "stopped"), (signal.SIGTERM, "stopped by SIGTERM")])
def test_stopped_amid_its_imports_it_says_so_in_one_line(number: signal.Signals, told: str) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "dpn", "segment", "photo.jpg"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        while "rich" not in process.stderr.readline():
            pass
        process.send_signal(number)
        *imports, last = process.stderr.read().splitlines()
    assert process.returncode == 128 + number and last.endswith(f"dpn: {told}")
    assert all(line.startswith("import time:") for line in imports)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_teaches_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"] if command else [])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"\nexamples:\n  dpn {command}" in text
    assert "default: null" not in text and "<class" not in text
    assert text.count("\n") < 225


def test_any_name_of_a_label_is_printed_and_drawn_where_only_ascii_can_be_printed(tmp_path: Path) -> None:
    labels = ("[bold]road[/]", "\u9053\u8def", "a$b$c", "\N{CAT FACE}")
    network = DPN(MobileNetV2(labels=4), MRF(4, window=5, context=3), labels=labels)
    torch.nn.init.normal_(network.unary.score.weight, std=3.0)
    model, photo = tmp_path / "model.safetensors", photograph(tmp_path / "photo.png")
    save(network, model)
    words = [sys.executable, "-m", "dpn", "segment", photo, "--model", model, "--out", tmp_path / "out"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "COLUMNS": "200"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    found = segment(photo, model).shares
    assert len(found) > 1 and all(name.encode("ascii", "backslashreplace").decode() in done.stdout for name in found)


def test_info_tells_what_a_model_is(run: Run, model: Path) -> None:
    code, printed, error = run("info", "MODEL")
    told = " ".join(printed.split())
    assert (code, error) == (0, "")
    assert sha256(model.read_bytes()).hexdigest() in printed
    assert "labels 3: sky, sea, sun" in told and "stages unary, triple_penalty, label_contexts, joint" in told
    assert "head components 2, window 5, context 3" in told and "unary network mobilenet_v2" in told
    network = load_stages(model)["joint"]
    parts = [f"{sum(value.numel() for value in part.state_dict().values()):,}" for part in (network.unary, network.mrf)]
    assert f"{parts[0]} in the unary network, {parts[1]} in the head" in told


@pytest.mark.parametrize("name", shipped_models())
def test_info_tells_the_licence_and_the_data_of_shipped_models(run: Run, name: str) -> None:
    code, printed, _ = run("info", name)
    assert code == 0 and all(word in printed for word in ("Apache-2.0", "Data", "none is contained"))


def test_info_of_a_head_by_itself(run: Run, tmp_path: Path) -> None:
    save(MRF(4), tmp_path / "head.safetensors")
    code, printed, _ = run("info", tmp_path / "head.safetensors")
    told = " ".join(printed.split())
    assert code == 0 and "labels 4 unary network none: a head by itself head as dpn.MRF has it" in told


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    line = " ".join(map(shlex.quote, ["dpn", *words]))
    program = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_dpn; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_words_options_and_values(run: Run, tmp_path: Path) -> None:
    script = photograph(tmp_path / "photo.jpg").with_name("dpn.bash")
    script.write_text(run("completion", "bash")[1])
    assert completed(script, "") == list(COMMANDS)
    assert completed(script, "segment", "--st") == ["--stages"]
    assert completed(script, "evaluate", "voc", "--data", "c") == ["camvid", "cityscapes", "coco"]
    assert completed(script, "refine", "masks", "images", "--head", "c") == ["clip-es", "camvid"]
    assert completed(script, "segment", str(tmp_path / "pho")) == [str(tmp_path / "photo.jpg")]
    assert completed(script, "train", "--mrf.win") == ["--mrf.window", "--mrf.window_stride"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_shows_nothing_internal(run: Run, shell: str) -> None:
    code, script, _ = run("completion", shell)
    assert code == 0 and "stages.unary.steps" in script
    assert not re.search(r"print_shtab|stages\.joint|(--|-l )mrf[ ')\[]", script)


def test_python_m_dpn_is_the_command() -> None:
    words = [sys.executable, "-m", "dpn", "--version"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == f"dpn {__version__}"


@pytest.mark.parametrize("words", [["--help"], ["segment", "--help"]])
def test_help_waits_for_nothing_that_it_does_not_need(words: list[str]) -> None:
    heavy = {"matplotlib", "torchmetrics", "lightning_fabric"}
    code = f"import sys\nfrom dpn.cli import main\ntry: main({words})\nexcept SystemExit: print({heavy} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "set()"


@pytest.mark.parametrize("word", COMMANDS)
def test_the_list_of_commands_says_what_the_function_says(word: str) -> None:
    where, summary = COMMANDS[word]
    assert (getdoc(resolve_name(where)) or "").splitlines()[0] == summary


def test_the_command_line_holds_no_options_and_no_default() -> None:
    text = Path(cli.__file__).read_text()
    assert "add_argument" not in text and "default" not in text


@pytest.mark.parametrize("words", [["refine", "a.png", "a.png"], ["data", "check", "scenes"]])
def test_a_file_in_the_place_of_the_outputs_folder_is_told_with_what_to_do(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("a.png")
    Path("file").touch()
    for out, said in (("file", "File exists"), ("file/in", "Not a directory")):
        assert main([*words, "--out", out]) == 2
        assert capsys.readouterr().err == f"dpn: {out}: {said}; a folder is needed there, choose another place\n"
