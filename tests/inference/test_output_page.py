"""docs/output.md: its snippets run, on files as the commands write them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dpn.data import Sample
from dpn.inference import Segmentation
from dpn.inference.outputs import WRITERS
from dpn.inference.results import Worst, write_results
from dpn.metrics import Evaluation

PAGE = (Path(__file__).parents[2] / "docs" / "output.md").read_text(encoding="utf-8")
NAMES = ("ground", "cat")


def test_snippets_read_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
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

    read: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(snippets) == 6
    for snippet in snippets:
        exec(snippet, read)
    assert np.array_equal(read["labels"], found.labels)
    np.testing.assert_allclose(read["probabilities"], found.probabilities, atol=1e-3)
    assert read["summary"]["labels"] == found.summary()["labels"]
    assert sum(region["properties"]["pixels"] for region in read["collection"]["features"]) == 2400
    assert read["worst"] == "one"
    assert np.array_equal(read["confusion"], evaluation.scores["joint"].confusions[0])


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_is_on_the_page(kind: str) -> None:
    assert f"| `{kind}` | `cat{WRITERS[kind][0]}` |" in PAGE
