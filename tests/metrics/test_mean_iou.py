"""Data-set mean IoU: VOC's definition, on batches, scores and several processes."""

import math

import pytest
import torch

from dpn.errors import InputError
from dpn.metrics import MeanIoU


def test_worked_by_hand() -> None:
    target = torch.tensor([[[0, 0, 0], [1, 1, 255]], [[1, 1, 1], [1, 2, 255]]])
    prediction = torch.tensor([[[0, 0, 1], [1, 1, 2]], [[1, 1, 0], [1, 2, 0]]])
    metric = MeanIoU(labels=4)
    metric.update(prediction, target)
    # label 0: 2 of 4; label 1: 5 of 7; label 2: 1 of 1; label 3 never occurs
    assert metric.per_label()[:3].tolist() == pytest.approx([2 / 4, 5 / 7, 1])
    assert math.isnan(metric.per_label()[3])
    assert metric.compute().item() == pytest.approx((2 / 4 + 5 / 7 + 1) / 3)


def test_pixels_are_pooled_over_images_before_they_are_divided() -> None:
    wrong_small = torch.tensor([[1]]), torch.tensor([[0]])
    right_large = torch.zeros(1, 99, dtype=torch.int64), torch.zeros(1, 99, dtype=torch.int64)
    metric = MeanIoU(labels=2)
    metric.update(*wrong_small)
    metric.update(*right_large)
    assert metric.per_label().tolist() == pytest.approx([0.99, 0.0])  # the mean over images would give label 0 .5


def test_batches_add_up_to_the_data_set() -> None:
    prediction, target = torch.randint(0, 5, (6, 7, 9)), torch.randint(0, 5, (6, 7, 9))
    whole, parts = MeanIoU(labels=5), MeanIoU(labels=5)
    whole.update(prediction, target)
    for start, stop in [(0, 1), (1, 4), (4, 6)]:
        parts.update(prediction[start:stop], target[start:stop])
    assert torch.equal(whole.compute(), parts.compute())


@pytest.mark.parametrize("images", [None, 2])
def test_scores_count_as_their_best_label(images: int | None) -> None:
    shape = (3, 4, 5) if images is None else (images, 3, 4, 5)
    scores, target = torch.randn(shape), torch.randint(0, 3, (4, 5) if images is None else (images, 4, 5))
    from_scores, from_labels = MeanIoU(labels=3), MeanIoU(labels=3)
    from_scores.update(scores, target)
    from_labels.update(scores.argmax(-3), target)
    assert torch.equal(from_scores.confusion, from_labels.confusion)


def test_two_processes_give_what_one_would() -> None:
    prediction, target = torch.randint(0, 3, (2, 8, 8)), torch.randint(0, 3, (2, 8, 8))
    other, alone = MeanIoU(labels=3), MeanIoU(labels=3)
    other.update(prediction[1], target[1])
    alone.update(prediction, target)
    here = MeanIoU(
        labels=3,
        dist_sync_fn=lambda state, group: [state, other.confusion],  # what gathering over two processes returns
        distributed_available_fn=lambda: True,
    )
    here.update(prediction[0], target[0])
    assert torch.equal(here.compute(), alone.compute())
    assert torch.equal(here.per_label(), alone.per_label())
    assert here.confusion.sum() == target[0].numel()  # the gathered counts are not kept: they would be added again


def test_reset_forgets() -> None:
    metric = MeanIoU(labels=2)
    metric.update(torch.tensor([[0, 0]]), torch.tensor([[1, 1]]))
    metric.reset()
    metric.update(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
    assert metric.compute() == 1


def test_a_data_set_of_void_has_no_mean_iou() -> None:
    metric = MeanIoU(labels=2)
    metric.update(torch.tensor([[0, 1]]), torch.tensor([[255, 255]]))
    assert math.isnan(metric.compute())


def test_a_refused_batch_leaves_the_count_as_it_was() -> None:
    metric = MeanIoU(labels=2)
    with pytest.raises(InputError, match="scores 3, not 2 labels"):
        metric.update(torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="differ in size"):
        metric.update(torch.randn(1, 2, 4, 4), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="holds 9"):
        metric.update(torch.tensor([[9, 0]]), torch.tensor([[0, 0]]))
    assert metric.confusion.sum() == 0
