"""The strip of Fig. 5."""

import numpy as np

from dpn.data import VOC_LABELS, voc_palette
from dpn.model import STAGES
from dpn.plots.colours import told_apart
from dpn.runs.work import stages_strip


def test_each_stage_has_its_panel_in_order() -> None:
    black = np.zeros((60, 100, 3), np.uint8)
    strip = stages_strip(black, {stage: np.full((60, 100), label) for label, stage in enumerate(STAGES, start=1)}, VOC_LABELS)
    middle = strip[strip.shape[0] - 40].astype(int)
    panels = [run[len(run) // 2] for run in np.split(middle, np.nonzero(np.diff(middle, axis=0).any(1))[0] + 1)]
    inside = [pixel for pixel in panels if (pixel < 255).any()]
    assert [(pixel > 0).tolist() for pixel in inside] == [(told_apart(voc_palette())[label] > 0).tolist() for label in range(5)]


def test_panels_of_a_large_photograph_are_small() -> None:
    large = np.zeros((600, 1500, 3), np.uint8)
    strip = stages_strip(large, {stage: np.zeros((600, 1500), int) for stage in STAGES}, VOC_LABELS)
    assert strip.shape[1] < 4000 and 256 <= strip.shape[0] < 400
