"""What the page computes is what the network and the head say; a coarse mask is read as it is meant, or refused."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dpn import DPN, MRF, segment
from dpn.app.look import CONFIDENCE, Knobs, photograph, refined, small, with_mask
from dpn.errors import InputError
from dpn.unary import Wrap


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    pixels[:, 45:] //= 4
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def network() -> DPN:
    torch.manual_seed(0)
    return DPN(Wrap(nn.Conv2d(3, 3, 3, padding=1), 3), MRF(3, window=5, context=3), labels=["red", "green", "blue"]).eval()


def mask_file(folder: Path, mask: np.ndarray) -> Path:
    Image.fromarray(mask).save(folder / "mask.png")
    return folder / "mask.png"


def test_with_the_knobs_as_trained_it_is_the_network(photo: Path) -> None:
    model = network()
    look = photograph(photo, {"joint": model})
    found = refined(look, Knobs.of("joint", model.mrf))
    np.testing.assert_allclose(found.seen, segment(photo, model).seen, atol=1e-4)
    model.stage = "unary"
    np.testing.assert_allclose(refined(look, None).seen, segment(photo, model).seen, atol=1e-6)


def test_knobs_change_the_head_and_leave_the_model_alone(photo: Path) -> None:
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    look = photograph(photo, {"joint": model})
    with torch.inference_mode():
        other = MRF(3, window=9, context=3, sigma_color=0.1, sigma_space=10.0, penalty=2.0).eval()
        other.label_contexts.deviation.copy_(model.mrf.label_contexts.deviation)
        expected = other(look.log_p, torch.from_numpy(look.seen.copy()).permute(2, 0, 1)[None] / 255).exp()
    found = refined(look, Knobs("joint", 0.1, 10.0, 9, 2.0))
    np.testing.assert_allclose(found.seen, expected[0].numpy(), atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_head_that_sees_no_colours_has_no_knobs() -> None:
    with pytest.raises(InputError, match="this one's sigma_color is infinite"):
        Knobs.of("near", MRF(3, sigma_color=math.inf))


def test_a_large_photograph_is_labelled_small_and_written_large(tmp_path: Path) -> None:
    Image.new("RGB", (1200, 900), (200, 30, 30)).save(tmp_path / "large.jpg")
    look = photograph(tmp_path / "large.jpg", {"joint": network()})
    found = refined(look, None)
    assert found.labels.shape == (900, 1200) and small(look, found).labels.shape == (385, 513)


@pytest.mark.parametrize("kind", ["binary", "ids", "palette", "colours"])
def test_a_coarse_mask_is_read_by_its_values_or_colours(photo: Path, tmp_path: Path, kind: str) -> None:
    labels = np.zeros((6, 9), np.uint8)
    labels[2:, 4:] = 1
    if kind == "palette":
        picture = Image.fromarray(labels, "P")
        picture.putpalette([9, 9, 9, 200, 10, 10])
        picture.save(tmp_path / "mask.png")
        path = tmp_path / "mask.png"
    else:
        values = {"binary": [0, 255], "ids": [3, 40], "colours": [[0, 0, 0], [200, 10, 10]]}[kind]
        path = mask_file(tmp_path, np.array(values, np.uint8)[labels])
    look = with_mask(photo, path)
    assert look.names == ("label 0", "label 1") and look.log_p.shape == (1, 2, 60, 90)
    large = np.kron(labels, np.ones((10, 10), np.uint8))
    assert np.array_equal(refined(look, None).labels, large)
    torch.testing.assert_close(look.log_p.exp().amax(), torch.tensor(CONFIDENCE))
    assert (look.palette[1] == [200, 10, 10]).all() or kind != "colours"


def test_what_is_no_mask_is_refused(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mask\.png: a mask has 2 to 255 values or colours, not 1$"):
        with_mask(photo, mask_file(tmp_path, np.zeros((6, 9), np.uint8)))
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    with pytest.raises(InputError, match="colours, not 5"):
        with_mask(photo, mask_file(tmp_path, noise))
    (tmp_path / "mask.png").write_text("no picture")
    with pytest.raises(InputError, match=r"mask\.png: not a picture that can be read"):
        with_mask(photo, tmp_path / "mask.png")


def test_a_network_that_gives_no_number_is_not_shown(photo: Path) -> None:
    model = network()
    model.unary.module.bias.data[0] = torch.nan
    with pytest.raises(InputError, match="NaN arises in the unary network"):
        photograph(photo, {"unary": model})


def test_a_large_mask_is_looked_at_where_the_photograph_is(photo: Path, tmp_path: Path) -> None:
    mask = np.zeros((2000, 3000), np.uint8)
    mask[:, 1500:] = 7
    tracemalloc.start()
    look = with_mask(photo, mask_file(tmp_path, mask))
    assert tracemalloc.get_traced_memory()[1] < 4 * mask.nbytes  # numbers of 8 bytes were 17 times as much
    tracemalloc.stop()
    assert look.log_p.argmax(1)[0].float().mean().item() == 0.5
