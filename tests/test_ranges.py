"""No public class or function takes NaN, infinity, a fraction or a negative number where it has no meaning."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import dpn
from dpn import DPN, MRF, InputError
from dpn.functional import local_filter
from dpn.inference.average import Average
from dpn.metrics import BoundaryBand, MeanIoU, paired_bootstrap
from dpn.mrf import MRFConfig
from dpn.plots.overlay import tint
from dpn.unary import FCN, MobileNetV2, Wrap

NO_NUMBER, WHOLE = (math.nan, -math.inf, -1), (math.nan, math.inf, 0, -1, 2.5, True, "5")
P, IMAGE, PIXELS = torch.full((1, 2, 4, 4), 0.5), torch.rand(1, 3, 4, 4), np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        "components",
        "window",
        "window_stride",
        "frames",
        "context",
        "context_dilation",
        "context_stride",
        "context_rank",
        "iterations",
    ],
)
def test_whole_numbers_of_a_configuration(name: str) -> None:
    for value in (*WHOLE, 10**12) if name != "context_rank" else WHOLE:
        with pytest.raises(InputError, match=name):
            MRFConfig(**{name: value})
    assert getattr(MRFConfig(**{name: np.int64(1)}), name) == 1


@pytest.mark.parametrize("name", ["sigma_color", "sigma_space", "sigma_smooth", "sigma_time", "smoothness", "absent_below"])
def test_other_numbers_of_a_configuration(name: str) -> None:
    for value in (*NO_NUMBER, "5", True):
        with pytest.raises(InputError, match=name):
            MRFConfig(**{name: value})


@pytest.mark.parametrize("options", [{"blur": -1}, {"blur": 0.5}, {"penalty": math.nan}, {"penalty": math.inf}, {"triple": 2}])
def test_the_rest_of_a_configuration(options: dict) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        MRFConfig(**options)
    with pytest.raises(InputError, match=r"aligned must be \(a whole number, a whole number\) or none, got \(nan, 5\)"):
        MRFConfig(aligned=(math.nan, 5))


def network() -> DPN:
    return DPN(Wrap(nn.Conv2d(3, 2, 1), 2), MRF(2, window=3, context=1)).eval()


@pytest.mark.parametrize("value", [math.nan, -1, 2.5, math.inf])
def test_numbers_of_labels_and_of_pixels(value: float) -> None:
    for make in (MRF, FCN, MobileNetV2, MeanIoU, lambda labels: Wrap(nn.Identity(), labels)):
        with pytest.raises(InputError, match="labels"):
            make(value)
    for options in ({"stride": value}, {"multiple": value}, {"size": (value, 4)}):
        with pytest.raises(InputError, match=f"{next(iter(options))}.* must be"):
            Wrap(nn.Identity(), 2, **options)


@pytest.mark.parametrize("value", NO_NUMBER)
def test_widths_weights_and_scales(value: float) -> None:
    for refused in (
        lambda: Wrap(nn.Identity(), 2, mean=(0, 0, 0), std=(1, value, 1)),
        lambda: Average([network()], scales=[1, value]),
        lambda: local_filter(P, IMAGE, window=3, weights=(value, 1.0), kernel="gaussian"),
        lambda: local_filter(P, IMAGE, window=3, weights=(1.0, 1.0), kernel="gaussian", absent_below=value),
        lambda: dpn.segment(PIXELS, network(), size=value),
        lambda: tint(PIXELS, np.zeros((4, 4), int), np.zeros((1, 3), np.uint8), alpha=value),
        lambda: BoundaryBand(radius=value).update(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)),
        lambda: paired_bootstrap(torch.ones(1, 2, 2), torch.ones(1, 2, 2), level=value),
    ):
        with pytest.raises(InputError):
            refused()
