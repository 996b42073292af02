"""The picture on the page says what is in it, whatever the labels are called."""

import base64
import html
import json
import re

import numpy as np

from dpn.app.viewer import viewer
from dpn.data import voc_palette
from dpn.inference import Segmentation

NAMES = ("ground", '<cat> & "dog"', "sea")


def two() -> tuple[Segmentation, Segmentation]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), np.uint8)
    q = np.moveaxis(rng.dirichlet((0.3, 1.0, 0.1), (40, 60)).astype(np.float32), 2, 0)
    return Segmentation(image, q.copy(), NAMES), Segmentation(image, q[::-1].copy(), NAMES)


def test_the_pointer_is_told_the_probabilities_of_each_cell() -> None:
    both = two()
    page = viewer(*both, ("unary", "joint"), voc_palette(), 0.5)
    told = json.loads(html.unescape(re.search(r'data-told="([^"]*)"', page)[1]))
    assert told["names"] == list(NAMES) and told["size"] == [40, 60] and told["titles"] == ["unary", "joint"]
    for one, text in zip(both, told["likeliest"], strict=True):
        grid = np.frombuffer(base64.b64decode(text), np.uint8).reshape(40, 60, 2, 3).transpose(2, 3, 0, 1)
        assert np.array_equal(grid[0, 0], one.seen.argmax(0))
        np.testing.assert_allclose(grid[1] / 255, np.take_along_axis(one.seen, grid[0].astype(int), 0), atol=0.5 / 255 + 1e-6)


def test_names_are_text_and_never_markup() -> None:
    page = viewer(*two(), ("<b>", "joint"), voc_palette(), 0.5)
    assert "<cat>" not in page and ">&lt;b&gt;<" in page and "&lt;cat&gt; &amp; &quot;dog&quot;" in page


def test_the_legend_has_each_label_with_its_share_and_by_how_much_it_changed() -> None:
    before, after = two()
    page = viewer(before, after, ("unary", "joint"), voc_palette(), 0.5)
    for name, share in after.shares.items():
        change = 100 * (share - before.shares[name])
        told = f"<small>{change:+.1f}</small>" if abs(change) >= 0.05 else "</span>"
        assert f"{html.escape(name)}<b>{100 * share:.1f} %</b>{told}" in page
