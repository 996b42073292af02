"""The model inside the package: what it is made of, and what it does to real photographs."""

import numpy as np
import pytest
import torch
from skimage import data

import dpn
from dpn.data import open_data
from dpn.inference.evaluate import evaluate
from dpn.model import STAGES
from dpn.storage import SHIPPED, load_stages
from dpn.unary import MobileNetV2
from dpn.weights import read_weights


@pytest.fixture(scope="module")
def stages() -> dict[str, dpn.DPN]:
    return load_stages("voc")


def test_it_holds_all_four_stages_in_under_8_megabytes_with_a_card(stages):
    assert tuple(stages) == STAGES
    assert (SHIPPED / "voc.safetensors").stat().st_size < 8e6
    card = (SHIPPED / "voc.md").read_text()
    for word in ("Data", "Licence", "mIoU", "dpn evaluate voc"):
        assert word in card


@pytest.mark.parametrize(
    ("name", "photograph", "left", "top", "right", "bottom"),
    [
        ("cat", data.cat, 0.05, 0.0, 0.95, 1.0),
        ("person", data.astronaut, 0.1, 0.0, 0.9, 1.0),
        ("motorbike", lambda: data.stereo_motorcycle()[0], 0.1, 0.1, 0.95, 1.0),
    ],
)
def test_it_finds_the_cat_the_person_and_the_motorbike(stages, name, photograph, left, top, right, bottom):
    found = dpn.segment(photograph(), stages["joint"])
    assert max((share, label) for label, share in found.shares.items() if label != "background")[1] == name
    mask = found.labels == found.names.index(name)
    height, width = mask.shape
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    assert 0.15 < mask.mean() < 0.6
    assert left * width <= columns.mean() <= right * width and top * height <= rows.mean() <= bottom * height


def test_leaving_absent_labels_out_changes_next_to_nothing(stages):
    image = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    model = stages["joint"]
    with torch.inference_mode():
        fast = model(image).exp()
        kept, model.mrf.absent_below = model.mrf.absent_below, 0.0
        full = model(image).exp()
        model.mrf.absent_below = kept
    assert (fast.argmax(1) == full.argmax(1)).float().mean() > 0.999
    assert (fast - full).abs().max() < 0.02


def test_its_first_stage_is_the_published_unary(stages, shared_data):
    unary = MobileNetV2(21)
    unary.load_deeplab(read_weights(shared_data / "weights" / "deeplabv3_mobilenet_v2_voc.safetensors"))
    image = torch.from_numpy(data.cat()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        published, shipped = unary.eval()(image), stages["unary"](image)
    assert (published.exp() - shipped.exp()).abs().max() < 0.02


def test_each_stage_is_sharper_at_boundaries_than_the_unary_on_real_images(stages, shared_data):
    images = open_data("voc", root=shared_data, split="val")
    images.pairs = images.pairs[::24]
    scores = evaluate(stages, images).scores
    for stage in STAGES[1:]:
        assert scores[stage].band_accuracy > scores["unary"].band_accuracy + 0.01
