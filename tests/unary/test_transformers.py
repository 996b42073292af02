"""Networks of transformers, small and untrained, as they are built: each is a unary network by `Wrap` alone.

They are made without being downloaded. The tests are skipped where transformers is not installed.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dpn import DPN, MRF, load, save
from dpn.unary import Wrap

transformers = pytest.importorskip("transformers")
LABELS = 4
IMAGE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def segformer() -> nn.Module:
    sizes = {
        "hidden_sizes": [8, 16, 16, 16],
        "depths": [1, 1, 1, 1],
        "decoder_hidden_size": 16,
        "num_attention_heads": [1, 1, 1, 1],
    }
    return transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(num_labels=LABELS, **sizes))


def upernet() -> nn.Module:
    backbone = transformers.ConvNextConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=[f"stage{i}" for i in (1, 2, 3, 4)]
    )
    sizes = {"hidden_size": 16, "auxiliary_channels": 8, "auxiliary_in_channels": 16}
    config = transformers.UperNetConfig(backbone_config=backbone, num_labels=LABELS, **sizes)
    return transformers.UperNetForSemanticSegmentation(config)


def mobilevit() -> nn.Module:
    config = transformers.MobileViTConfig(
        num_labels=LABELS, hidden_sizes=[16, 16, 16], neck_hidden_sizes=[4, 8, 8, 8, 8, 8, 16]
    )
    return transformers.MobileViTForSemanticSegmentation(config)


def dpt() -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 96}
    neck = {"backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [4, 8, 8, 8], "fusion_hidden_size": 8, "patch_size": 16}
    network = transformers.DPTForSemanticSegmentation(transformers.DPTConfig(num_labels=LABELS, **sizes, **neck))
    return Wrap(network, LABELS, size=(96, 96))  # it takes squares alone


def swin() -> object:
    """The configuration of a backbone."""
    stages = {"depths": [1] * 4, "num_heads": [1] * 4, "out_features": [f"stage{i}" for i in (1, 2, 3, 4)]}
    return transformers.SwinConfig(embed_dim=8, window_size=4, **stages)


def mask2former() -> nn.Module:
    sizes = {"hidden_dim": 32, "feature_size": 32, "mask_feature_size": 32, "num_queries": 5, "num_attention_heads": 2}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_feedforward_dim": 16, "dim_feedforward": 16}
    config = transformers.Mask2FormerConfig(backbone_config=swin(), num_labels=LABELS, **sizes, **layers)
    return transformers.Mask2FormerForUniversalSegmentation(config)


class SemanticOneFormer(nn.Module):
    """OneFormer is also told its task, as tokens."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_dim": 32, "mask_dim": 32, "conv_dim": 32, "num_queries": 5, "num_attention_heads": 2}
        layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_feedforward_dim": 16, "dim_feedforward": 16}
        config = transformers.OneFormerConfig(backbone_config=swin(), num_labels=LABELS, is_training=False, **sizes, **layers)
        self.network = transformers.OneFormerForUniversalSegmentation(config)
        self.register_buffer("task", torch.arange(config.task_seq_len)[None])

    def forward(self, image: torch.Tensor) -> object:
        return self.network(image, task_inputs=self.task.expand(len(image), -1))


@pytest.mark.parametrize("make", [segformer, upernet, mobilevit, dpt, mask2former, SemanticOneFormer])
def test_a_head_refines_it_and_both_come_back_from_a_file(make, tmp_path):
    torch.manual_seed(0)
    network = make().eval()
    model = DPN(network if isinstance(network, Wrap) else Wrap(network, LABELS), MRF(LABELS, window=5, context=3)).eval()
    with torch.inference_mode():
        log_q = model(IMAGE)
    assert log_q.shape == (2, LABELS, 64, 96) and log_q.isfinite().all()
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(2, 64, 96))
    save(model, tmp_path / "model.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(load(tmp_path, unary=make())(IMAGE), log_q)


def test_mask2former_s_labels_are_those_of_its_own_post_processing():
    torch.manual_seed(0)
    network = mask2former().eval()
    with torch.inference_mode():
        output = network(IMAGE)
        labels = Wrap(network, LABELS).scores(IMAGE).argmax(1)
    masks = F.interpolate(output.masks_queries_logits, labels.shape[1:], mode="bilinear")
    scores = torch.einsum("nql,nqhw->nlhw", output.class_queries_logits.softmax(-1)[..., :-1], masks.sigmoid())
    assert torch.equal(labels, scores.argmax(1))
