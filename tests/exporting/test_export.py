"""Exported files: standard operators alone, any number and size of images, the network's numbers; whole or not there."""

import json

import pytest
import torch

import dpn
from dpn import DPN, MRF, InputError
from dpn.exporting import compare, write
from dpn.exporting.compare import opened
from dpn.exporting.program import inputs_of, program_of
from dpn.unary import FCN, MobileNetV2Pyramid, Wrap

FORMS = {
    "gaussian": {},
    "euclidean": {"kernel": "euclidean", "normalize": False, "penalty": 0.1},
    "table": {"kernel": "euclidean_table", "window_stride": 2},
    "blurred cells": {"blur": 1, "context_dilation": 4, "context_stride": 2, "iterations": 2, "window_stride": 3},
    "smooth": {"smoothness": 0.5, "include_center": False, "triple": True},
    "low rank": {"context_rank": 2},
}


def head(**form) -> MRF:
    torch.manual_seed(0)
    return MRF(3, **{"components": 2, "window": 5, "context": 3, "sigma_color": 0.4, "absent_below": 0.0} | form).eval()


@pytest.fixture
def small(monkeypatch):
    """A file is compared at a quarter of the usual sizes; one of them is no multiple of any stride."""
    monkeypatch.setattr(compare, "SIZES", ((128, 128), (53, 79)))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_program_is_the_head_at_every_size_in_standard_operators(form):
    mrf = head(**form)
    program = program_of(mrf, "head.pt2")
    assert not [node for node in program.graph.nodes if "dpn" in str(node.target)]
    for count, *size in ((1, 33, 20), (3, 17, 16), (1, 1, 5)):
        given = inputs_of(mrf, torch.rand(count, 3, *size))
        with torch.no_grad():
            torch.testing.assert_close(program.module()(*given.values()), mrf(*given.values()), rtol=1e-4, atol=1e-4)


def test_onnx_holds_standard_operators_and_its_labels(tmp_path, small):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model = DPN(FCN(labels=3, width=4), head(), labels=["sky", "sea", "sun"]).eval()
    dpn.export(model, tmp_path / "small.onnx")
    network = onnx.load(tmp_path / "small.onnx")
    assert {each.domain for each in network.opset_import} == {""}
    assert not network.functions
    assert json.loads({each.key: each.value for each in network.metadata_props}["labels"]) == ["sky", "sea", "sun"]
    image = torch.rand(2, 3, 45, 31)
    with torch.no_grad():
        torch.testing.assert_close(opened(tmp_path / "small.onnx")({"image": image}), model(image), rtol=1e-4, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]


def test_the_pyramid_s_sizes_are_the_same_in_onnx(tmp_path, small):
    """Whose division of integers rounds towards 0."""
    pytest.importorskip("onnxscript")
    model = DPN(MobileNetV2Pyramid(labels=3, width=8), head(context=1), stage="triple_penalty").eval()
    assert all(each.labels > 0.999 for each in dpn.export(model, tmp_path / "pyramid.onnx"))


@pytest.mark.parametrize("options", [{}, {"multiple": 8}, {"mean": (0.5,) * 3, "std": (0.2,) * 3}, {"size": (24, 32)}])
def test_another_s_network_is_exported_with_its_head(options):
    model = DPN(Wrap(torch.nn.Conv2d(3, 3, 3, stride=4, padding=1), labels=3, **options), head()).eval()
    program = program_of(model, "mine.pt2")
    for count, *size in ((1, 33, 20), (3, 17, 48)):
        image = torch.rand(count, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(image), model(image), rtol=1e-4, atol=1e-4)


def test_an_aligned_head_is_written_for_its_size(tmp_path):
    mrf = head(aligned=(20, 24))
    (agreement,) = dpn.export(mrf, tmp_path / "faces.pt2")
    assert agreement.size == (20, 24)
    assert agreement.labels > 0.99


def test_what_is_not_the_network_is_not_written(tmp_path, monkeypatch):
    other = program_of(head(penalty=-3.0), "other")
    monkeypatch.setattr(write, "program_of", lambda *_: other)
    with pytest.raises(InputError, match="not written, since at 512 x 512 pixels its probabilities are off by"):
        dpn.export(head(), tmp_path / "wrong.pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_named(tmp_path):
    for model, name, what in ((head(), "a.tflite", "NAME.onnx or NAME.pt2"), (torch.nn.ReLU(), "a.pt2", "got a ReLU"),
                              (head(), "nowhere/a.pt2", "no folder"),
                              (head(frames=3), "a.pt2", "takes images, not clips")):  # fmt: skip
        with pytest.raises(InputError, match=what):
            dpn.export(model, tmp_path / name)
