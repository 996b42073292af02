"""The published classifier that the VGG16s begin from, made up."""

import pytest
import torch
from torch import nn

PLAN = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool"]


class Classifier(nn.Module):
    """VGG16 as torchvision builds it, with fc6 and fc7 of 32 channels."""

    def __init__(self) -> None:
        super().__init__()
        layers, inputs = [], 3
        for outputs in PLAN:
            if outputs == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        fc6, fc7, fc8 = nn.Linear(25088, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.classifier = nn.Sequential(fc6, nn.ReLU(), nn.Dropout(), fc7, nn.ReLU(), nn.Dropout(), fc8)


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    torch.manual_seed(1)
    return Classifier().eval()
