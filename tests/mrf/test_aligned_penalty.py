"""The aligned b12 of footnote 1: its definition written out, and aligned data on which it wins."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from dpn import DPN, MRF, storage
from dpn.errors import InputError
from dpn.mrf import AlignedPenalty
from dpn.unary import MobileNetV2

SCRIPT = Path(__file__).parents[2] / "scripts" / "aligned_penalty.py"
spec = importlib.util.spec_from_file_location("aligned_penalty", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
FACE_LABELS, faces = script.FACE_LABELS, script.faces


@pytest.mark.parametrize("window", [1, 4, 5])
def test_every_position_has_its_own_filter(window):
    height, width = 5, 6
    layer = AlignedPenalty((height, width), window=window).double()
    torch.nn.init.normal_(layer.logits)
    q = torch.rand(2, 3, height, width).double()
    expected = torch.zeros_like(q)
    first = -(window // 2)
    for y in range(height):
        for x in range(width):
            offsets = [(dy, dx) for dy in range(first, first + window) for dx in range(first, first + window)]
            inside = [0 <= y + dy < height and 0 <= x + dx < width for dy, dx in offsets]
            logits = layer.logits[:, y * width + x]
            total = sum(logit.exp() for logit, i in zip(logits, inside, strict=True) if i)
            for (dy, dx), logit, i in zip(offsets, logits, inside, strict=True):
                if i:
                    expected[:, :, y, x] += logit.exp() / total * q[:, :, y + dy, x + dx]
    image = torch.rand(2, 3, height, width)
    torch.testing.assert_close(layer(q, image), expected)
    assert torch.autograd.gradcheck(lambda q: layer(q, image), q.requires_grad_())


def test_it_begins_as_the_average_over_the_window():
    q = torch.rand(1, 2, 6, 7)
    expected = F.avg_pool2d(q, 3, stride=1, padding=1, count_include_pad=False)
    torch.testing.assert_close(AlignedPenalty((6, 7), window=3)(q, torch.rand(1, 3, 6, 7)), expected)


def test_an_mrf_has_it_by_configuration_and_is_stored_with_it(tmp_path):
    mrf = MRF(3, aligned=(20, 24), window=5, context=3)
    torch.nn.init.normal_(mrf.triple_penalty.logits)
    model = DPN(MobileNetV2(3), mrf).eval()
    storage.save(model, tmp_path / "model.safetensors")
    image = torch.rand(1, 3, 20, 24)
    torch.testing.assert_close(storage.load(tmp_path / "model.safetensors")(image), model(image), rtol=0, atol=0)
    with pytest.raises(InputError, match=r"an aligned b12 of \(20, 24\) pixels got an image of \(24, 20\)"):
        model(torch.rand(1, 3, 24, 20))
    with pytest.raises(InputError, match="at least 1 pixel"):
        AlignedPenalty((20, 0))


def test_on_aligned_faces_it_beats_filters_made_from_the_image():
    """By 2 points of pixel accuracy and more; scripts/aligned_penalty.py has the whole comparison."""
    size = 24

    def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        images, labels = faces(96, size=size, seed=seed)
        shown = F.one_hot(labels, len(FACE_LABELS)).permute(0, 3, 1, 2).float()
        noise = F.avg_pool2d(torch.randn(shown.shape, generator=torch.Generator().manual_seed(seed)), 3, 1, 1)
        return images, labels, (2 * shown + 6 * noise).log_softmax(1)

    images, labels, log_p = drawn(0)
    assert images.shape == (96, 3, size, size) and labels.unique().tolist() == [0, 1, 2, 3, 4]
    new_images, new_labels, new_log_p = drawn(1)
    accuracy = {}
    for name, arguments in {
        "by image": {"sigma_color": 0.1, "sigma_space": 4.0},
        "by position": {"aligned": (size, size)},
    }.items():
        mrf = MRF(len(FACE_LABELS), components=1, context=1, window=7, absent_below=0.0, **arguments)
        optimizer = torch.optim.Adam(mrf.triple_penalty.parameters(), lr=0.2)
        for _ in range(40):
            optimizer.zero_grad()
            F.nll_loss(mrf(log_p, images), labels).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy[name] = (mrf.eval()(new_log_p, new_images).argmax(1) == new_labels).float().mean().item()
    unary = (new_log_p.argmax(1) == new_labels).float().mean().item()
    assert accuracy["by position"] > accuracy["by image"] + 0.02 > unary + 0.02
