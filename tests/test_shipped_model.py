"""The models inside the package: what they are made of, and what they do to real photographs."""

import pytest
import torch
from skimage import data

import dpn
from dpn.data import open_data
from dpn.inference.evaluate import measured
from dpn.model import STAGES
from dpn.model_files import SHIPPED
from dpn.storage import load_stages
from dpn.unary import MobileNetV2
from dpn.weights import read_weights


@pytest.fixture(scope="module")
def stages() -> dict[str, dpn.DPN]:
    return load_stages("voc")


@pytest.mark.parametrize("name", ["voc", "camvid"])
def test_each_holds_all_four_stages_in_under_8_megabytes_with_a_card(name):
    assert tuple(load_stages(name)) == STAGES
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < 8e6
    card = (SHIPPED / f"{name}.md").read_text()
    for word in ("Data", "Licence", "mIoU", f"dpn evaluate {name}"):
        assert word in card


@pytest.mark.parametrize(
    ("name", "photograph", "on_it", "behind_it"),
    [
        ("cat", data.cat, [(150, 110), (270, 240), (60, 200)], [(430, 80), (400, 130)]),
        ("person", data.astronaut, [(220, 110), (200, 350), (120, 430)], [(60, 60), (400, 30), (480, 150)]),
        ("motorbike", lambda: data.stereo_motorcycle()[0], [(380, 210), (190, 330), (620, 380)], [(60, 450), (600, 60)]),
    ],
)
def test_it_finds_the_cat_the_person_and_the_motorbike(stages, name, photograph, on_it, behind_it):
    found = dpn.segment(photograph(), stages["joint"])
    assert [found.names[found.labels[y, x]] for x, y in on_it] == [name] * len(on_it)
    assert [found.names[found.labels[y, x]] for x, y in behind_it] == ["background"] * len(behind_it)


def test_leaving_absent_labels_out_changes_next_to_nothing(stages):
    image = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    model = stages["joint"]
    with torch.inference_mode():
        fast = model(image).exp()
        kept, model.mrf.absent_below = model.mrf.absent_below, 0.0
        full = model(image).exp()
        model.mrf.absent_below = kept
    assert (fast.argmax(1) == full.argmax(1)).float().mean() > 0.999
    assert (fast - full).abs().max() < 1e-3


def test_its_first_stage_is_the_published_unary(stages, shared_data):
    unary = MobileNetV2(21, stride=8)
    unary.load_deeplab(read_weights(shared_data / "weights" / "deeplabv3_mobilenet_v2_voc.safetensors"))
    image = torch.from_numpy(data.cat()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        published, shipped = unary.eval()(image), stages["unary"](image)
    assert (published.exp() - shipped.exp()).abs().max() < 0.02


def test_each_stage_is_sharper_at_boundaries_than_the_unary_on_real_images(stages, shared_data):
    images = open_data("voc", root=shared_data, split="val")
    images.pairs = images.pairs[::48]
    scores = measured(stages, images).scores
    for stage in STAGES[1:]:
        assert scores[stage].band_accuracy > scores["unary"].band_accuracy + 0.005


def test_on_camvid_each_stage_finds_more_than_the_one_before(shared_data):
    images = open_data("camvid", root=shared_data, split="val")
    images.pairs = images.pairs[::10]
    scores = measured(load_stages("camvid"), images).scores
    assert scores["joint"].miou > scores["unary"].miou + 0.01
    bands = [its.band_accuracy for its in scores.values()]
    assert bands == sorted(bands)
