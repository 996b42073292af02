"""Any data set by hyper-parameters alone: 2 to 150 labels, from a folder or a list file."""

import numpy as np
import pytest
from PIL import Image

from dpn import load
from dpn.cli import main

SIZE = 40


def write(root, labels, as_list):
    """Two splits of two images each, in which every label occurs; label names beside them."""
    rng = np.random.default_rng(labels)
    (root / "labels.txt").write_text("".join(f"thing {u}\n" for u in range(labels)))
    for split in ("train", "val"):
        lines = []
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for i in range(2):
            mask = (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) * labels // (SIZE * SIZE) + i) % labels
            Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(root / split / "images" / f"{i}.png")
            Image.fromarray(mask.astype(np.uint8)).save(root / split / "masks" / f"{i}.png")
            lines.append(f"{split}/images/{i}.png\t{split}/masks/{i}.png\n")
        if as_list:
            (root / f"{split}.txt").write_text("".join(lines))


def test_binary_masks_are_trained_once_labels_yaml_names_255_and_refused_before(tmp_path, capsys):
    write(tmp_path, 2, as_list=False)
    for path in tmp_path.glob("*/masks/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * 255).save(path)
    stages = [f"--stages.{stage}.steps=0" for stage in ("triple_penalty", "label_contexts", "joint")]
    words = ["train", "--data.name=folder", f"--data.root={tmp_path}", "--data.crop=33", "--data.workers=0", *stages]
    words += [
        "--stages.unary.steps=1",
        "--stages.unary.batch=2",
        "--mrf.window=5",
        "--mrf.context=3",
        f"--out={tmp_path / 'run'}",
    ]
    assert main(words) == 2
    assert "labels.yaml" in capsys.readouterr().err and not (tmp_path / "run").exists()
    (tmp_path / "labels.yaml").write_text("labels: {ground: 0, road: 255}")
    assert main(words) == 0
    assert load(tmp_path / "run").labels == ("ground", "road")
    arguments = [
        "evaluate",
        str(tmp_path / "run"),
        "--data",
        "folder",
        "--data-root",
        str(tmp_path),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(arguments) == 0


@pytest.mark.parametrize("as_list", [False, True], ids=["folder", "list"])
@pytest.mark.parametrize("labels", [2, 21, 150])
def test_a_network_is_trained_and_evaluated_on_any_number_of_labels(tmp_path, labels, as_list, capsys):
    write(tmp_path, labels, as_list)
    out, one = tmp_path / "run", ["--steps=1", "--batch=2", "--validate_every=1", "--optimizer=adam"]
    stages = [
        f"--stages.{stage}.{option[2:]}" for stage in ("unary", "triple_penalty", "label_contexts", "joint") for option in one
    ]
    mrf = ["--mrf.window=5", "--mrf.context=3", "--mrf.components=2"]
    data = ["--data.name=folder", f"--data.root={tmp_path}", "--data.crop=33", "--data.workers=0"]
    assert main(["train", *data, *mrf, *stages, f"--out={out}"]) == 0
    assert load(out).labels == tuple(f"thing {u}" for u in range(labels))
    arguments = ["evaluate", str(out), "--data", "folder", "--data-root", str(tmp_path), "--out", str(tmp_path / "table")]
    assert main(arguments) == 0
    assert len((tmp_path / "table" / "table.csv").read_text().splitlines()) == 5
