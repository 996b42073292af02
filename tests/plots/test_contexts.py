"""The pictures of Fig. 4."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dpn.errors import InputError
from dpn.functional import label_contexts
from dpn.plots import compatibility, context_patterns

NAMES = ["sky", "sea", "ship"]


def shown(figure: Figure, panel: int = 0) -> np.ndarray:
    return np.asarray(figure.axes[panel].images[0].get_array())


def test_compatibility_is_mu_summed_over_the_window_and_averaged_over_components() -> None:
    mu = torch.randn(3, 2, 3, 5, 5)
    expected = [[sum(mu[u, k, v].sum().item() for k in range(2)) / 2 for v in range(3)] for u in range(3)]
    np.testing.assert_allclose(shown(compatibility(mu, NAMES)), expected, atol=1e-5)


def test_components_weigh_as_often_as_they_are_chosen() -> None:
    mu = torch.randn(3, 2, 3, 5, 5)
    chosen = torch.tensor([[30, 10], [0, 7], [5, 0]])
    expected = torch.stack([0.75 * mu[0, 0] + 0.25 * mu[0, 1], mu[1, 1], mu[2, 0]])
    np.testing.assert_allclose(shown(compatibility(mu, NAMES, chosen)), expected.sum((-2, -1)), atol=1e-5)
    patterns = context_patterns(mu, NAMES, [("sea", "ship")], chosen)
    np.testing.assert_allclose(shown(patterns), expected[1, 2], atol=1e-6)


def test_the_colours_resolve_the_pairs_of_different_labels_not_the_diagonal() -> None:
    mu = 4 * (1 - torch.eye(3))[:, None, :, None, None]
    mu[0, 0, 1] -= 0.2
    norm = compatibility(mu, NAMES).axes[0].images[0].norm
    assert (norm.vmin, norm.vmax) == pytest.approx((3.8, 4.2))


def test_potts_alone_can_be_drawn(tmp_path: Path) -> None:
    mu = 4 * (1 - torch.eye(3))[:, None, :, None, None]
    compatibility(mu, NAMES).savefig(tmp_path / "compatibility.png")
    context_patterns(mu, NAMES, [("sky", "sea"), ("sky", "sky")]).savefig(tmp_path / "patterns.png")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("n", [4, 5])
def test_a_pattern_lies_where_the_layer_looks(n: int) -> None:
    """A sea two pixels below the pixel costs sky what the pattern sky : sea shows two pixels down."""
    mu = torch.zeros(3, 1, 3, n, n)
    mu[0, 0, 1] = torch.arange(n * n).view(n, n)
    figure = context_patterns(mu, NAMES, [("sky", "sea")])
    left, _, _, top = figure.axes[0].images[0].get_extent()
    s = torch.zeros(1, 3, 9, 9)
    for y in range(-(n // 2), n - n // 2):
        s.zero_()[0, 1, 4 + y, 4] = 1
        row, column = int(y - top), int(0 - left)
        assert label_contexts(s, mu, backend="reference")[0, 0, 4, 4] == shown(figure)[row, column]


def test_axes_count_pixels_of_a_dilated_window() -> None:
    figure = context_patterns(torch.randn(3, 1, 3, 9, 9), NAMES, [("sky", "sea")], dilation=8)
    assert figure.axes[0].get_xticks().tolist() == [-32, 0, 32]


def test_there_is_a_panel_for_each_pair() -> None:
    pairs = [(u, v) for u in NAMES for v in NAMES]
    figure = context_patterns(torch.randn(3, 1, 3, 3, 3), NAMES, pairs)
    assert [axes.get_title() for axes in figure.axes if axes.images] == [f"{u} : {v}" for u, v in pairs]


def test_what_does_not_fit_together_is_refused() -> None:
    mu = torch.randn(3, 2, 3, 5, 5)
    with pytest.raises(InputError, match=r"mu \(3, 2, 3, 5, 5\) with 2 names"):
        compatibility(mu, NAMES[:2])
    with pytest.raises(InputError, match=r"chosen \(3, 5\)"):
        compatibility(mu, NAMES, torch.ones(3, 5))
    with pytest.raises(InputError, match="two labels or more"):
        compatibility(torch.randn(1, 1, 1, 3, 3), ["sky"])
    with pytest.raises(InputError, match="names among sky, sea, ship"):
        context_patterns(mu, NAMES, [("sky", "moon")])
    with pytest.raises(InputError, match="at least one pair"):
        context_patterns(mu, NAMES, [])
