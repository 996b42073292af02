"""The pages of docs/ and the README: every block of Python on them runs, and so does every cell of the notebook."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from dpn.data import Sample, photograph
from dpn.inference import Segmentation
from dpn.inference.outputs import WRITERS
from dpn.inference.results import Worst, write_results
from dpn.metrics import Evaluation

HOME = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMES = ("ground", "cat")

spec = importlib.util.spec_from_file_location("notebook", HOME / "scripts" / "notebook.py")
notebook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebook)
PAPER = HOME / "docs" / "paper.ipynb"


def blocks(page: Path) -> list[str]:
    """The blocks of Python on a page that are to be run, each at its own line of the page."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text[: found.start(2)].count("\n") + found[2] for found in BLOCK.finditer(text) if not found[1]]


PAGES = [page for page in (HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))) if blocks(page)]


def read(page: Path, names: dict[str, Any]) -> dict[str, Any]:
    """The names that a page's blocks make, run in order."""
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader works: a folder that holds a photograph."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photograph("cat")).save("photo.jpg")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "output.md"], ids=lambda page: page.stem)
def test_the_python_on_a_page_runs(page: Path, folder: Path) -> None:
    of_the_reader = {"your_network": torch.nn.Conv2d(3, 21, 3, stride=8, padding=1), "image": torch.rand(1, 3, 40, 60)}
    read(page, of_the_reader if page.name == "README.md" else {})


def test_what_the_page_on_output_reads_back_is_what_was_written(folder: Path) -> None:
    seen = np.random.default_rng(0).dirichlet([1, 1], (20, 30)).transpose(2, 0, 1).astype(np.float32)
    found = Segmentation(np.zeros((40, 60, 3), np.uint8), seen, NAMES, "cat.png")
    found.save("results", "cat", list(WRITERS))
    sample, palette = Sample(torch.rand(3, 40, 60), torch.zeros(40, 60, dtype=torch.int64), "one"), np.eye(2, 3, dtype=np.uint8)
    labels = torch.from_numpy(found.labels).long()
    evaluation, worst = Evaluation(NAMES), Worst(NAMES, palette)
    evaluation.add("joint", labels, sample.labels, "one")
    worst.add(sample, labels)
    Path("results/camvid").mkdir()
    write_results(Path("results/camvid"), {}, evaluation.table(resamples=10), evaluation.scores, worst)

    page = HOME / "docs" / "output.md"
    assert len(blocks(page)) == 6
    names = read(page, {})
    assert np.array_equal(names["labels"], found.labels)
    np.testing.assert_allclose(names["probabilities"], found.probabilities, atol=1e-3)
    assert names["summary"]["labels"] == found.summary()["labels"]
    assert sum(region["properties"]["pixels"] for region in names["collection"]["features"]) == 2400
    assert names["worst"] == "one"
    assert np.array_equal(names["confusion"], evaluation.scores["joint"].confusions[0])


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_output_is_on_its_page(kind: str) -> None:
    assert f"| `{kind}` | `cat{WRITERS[kind][0]}` |" in (HOME / "docs" / "output.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (HOME / "docs" / "security.md").read_text(encoding="utf-8")))
    files = (path.read_text(encoding="utf-8") for path in (HOME / "tests").rglob("test_*.py"))
    assert len(named) > 20 and named <= {name for text in files for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}


def test_a_block_that_says_why_it_is_not_run_is_left_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\n<!-- not run: no GPU -->\n```python\nb = 2\n```\n\n```text\nc = 3\n```\n")
    assert read(page, {}).keys() >= {"a"} and len(blocks(page)) == 1


def test_the_cells_of_the_paper_run_and_show_what_is_kept_but_for_numbers(folder: Path) -> None:
    matplotlib.use("Agg")
    kept, now = notebook.read(PAPER), notebook.read(PAPER)
    notebook.run(now)
    assert shown(kept) == shown(now), "python scripts/notebook.py docs/paper.ipynb shows it anew"


def shown(paper: dict[str, Any]) -> list[list[str]]:
    """What each cell shows, in words: without the numbers, which training gives otherwise on another machine."""
    cells = [cell.get("outputs", []) for cell in paper["cells"]]
    texts = ["".join("".join(output.get("text", "picture")) for output in outputs) for outputs in cells]
    return [re.sub(r"-?\d[\d.e+-]*", "#", text).split() for text in texts]


def test_the_paper_is_small_and_its_page_has_all_of_it() -> None:
    paper = notebook.read(PAPER)
    page, pictures = notebook.page(paper), []
    for cell in paper["cells"]:
        assert "".join(cell["source"]) in page
        for output in cell.get("outputs", []):
            pictures += [output["data"]["image/png"]] if "image/png" in output.get("data", {}) else []
            assert "".join(output.get("text", "")).rstrip("\n") in page
    assert len(pictures) > 5 and all(picture in page and len(picture) < 80_000 for picture in pictures)  # 60 KB in base64
    assert PAPER.stat().st_size < 700_000
