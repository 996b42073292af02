"""Whether log p and image are what an MRF is to be given, and weights what they are to be: all else computes, wrongly."""

import math

import torch
from torch import Tensor, nn

from dpn.errors import InputError, warn

SLACK = 0.01
"""By how much a probability, their sum or a colour may be off without a word."""

FAR_FROM_ONE = 3.0
"""Where no pixel's probabilities sum to exp(-3), .05, they are none, nor those of a sigmoid."""

LARGEST = 1e30
"""The largest weight of which sums are sure to be finite in float32."""

BOUNDS = {"log_sigma": (-40.0, LARGEST), "log_weight": (-LARGEST, 40.0)}
"""What logarithms may be, by what their names have in them: a width may be as large as can be, not as small."""


class UnsoundError(InputError):
    """Log p or a weight is no number, or too large: whatever gives it is damaged, or diverges."""


def require_shapes(labels: int, log_p: Tensor, image: Tensor) -> None:
    """log_p (N,L,H,W) float, image (N,3,H,W) or (N,1,H,W) float, or an InputError that says what to do."""
    if log_p.ndim != 4 or log_p.shape[1] != labels or 0 in log_p.shape[2:]:
        raise InputError(f"log_p must be (N,{labels},H,W), of a pixel at least, got {tuple(log_p.shape)}")
    if not log_p.is_floating_point():
        raise InputError(f"log_p must be log-probabilities, float, got {log_p.dtype}")
    require_image(image, log_p.shape[0])
    if image.shape[2:] != log_p.shape[2:]:
        (height, width), (rows, columns) = image.shape[2:], log_p.shape[2:]
        raise InputError(
            f"log_p is of {rows} x {columns} pixels, the image of {height} x {width}: give the scores at the image's size, "
            "F.interpolate(scores, image.shape[2:], mode='bilinear').log_softmax(1), or let dpn.DPN(dpn.unary.Wrap(network, "
            "labels), mrf) do so"
        )


def require_image(image: Tensor, images: int) -> None:
    """image (N,3,H,W) or (N,1,H,W) float for N images, or an InputError that says what to do."""
    if not image.is_floating_point():
        raise InputError(f"the image must be float, RGB in [0,1], got {image.dtype}: image.float() / 255")
    if image.ndim != 4 or image.shape[0] != images or image.shape[1] not in (1, 3) or 0 in image.shape[2:]:
        raise InputError(f"the image must be ({images},3,H,W), or grey with one channel, got {tuple(image.shape)}")


def require_sound(layer: nn.Module, called: str) -> None:
    """Raises InputError where a weight on the CPU is NaN, infinite, or so large that sums are: kernels would hide it."""
    for name, weight in layer.named_parameters():
        if weight.device.type != "cpu" or weight.numel() == 0:
            continue
        values = weight.detach().float().numpy()  # numpy wakes no threads of torch's
        least, most = next((bounds for part, bounds in BOUNDS.items() if part in name), (-LARGEST, LARGEST))
        if not (values.min() >= least and values.max() <= most):  # NaN is neither
            raise UnsoundError(
                f"{called}.{name} has values of {values.min():.3g} to {values.max():.3g}, beyond {least:g} to {most:g}: "
                "is the model damaged, or did its training diverge?"
            )


def at_most_one(log_p: Tensor) -> Tensor:
    """log p (N,L,H,W) less its largest value at each pixel, where that is above 0: of raw scores p is finite so."""
    return log_p - torch.relu(log_p.amax(1, keepdim=True))


def require_finite(largest: float) -> None:
    """Raises InputError if the largest value of log p is none."""
    if not largest < math.inf:  # NaN is not <
        what = "NaN" if math.isnan(largest) else "infinite"
        raise UnsoundError(f"log_p has values that are {what}: the fault is before b12, in the unary network that gives it")


def look_at(log_p: Tensor, image: Tensor) -> None:
    """Warns of values that look like something else: probabilities, raw scores, an image in 0..255 or a normalised one.

    NaN, infinity, and pixels that no label may have raise an InputError. This waits for the device, and is for a layer's first
    call.
    """
    log_p = log_p.detach()
    lowest, highest = (float(value) for value in log_p.aminmax())
    require_finite(highest)
    if lowest == -math.inf and bool((log_p.amax(1) == -math.inf).any()):
        raise InputError("log_p has pixels where it is -inf for every label: leave one of them possible")
    look_at_image(image)
    if highest <= SLACK:
        if bool((log_p.logsumexp(1) < -FAR_FROM_ONE).all()):
            warn("log_p is nowhere near log-probabilities: raw scores? give scores.log_softmax(1)")
        return
    if lowest >= -SLACK and highest <= 1 + SLACK and bool(((log_p.sum(1) - 1).abs() < SLACK).all()):
        warn("log_p looks like probabilities: give their logarithms, p.log()")
    else:
        warn(f"log_p has values up to {highest:.3g}: raw scores? give scores.log_softmax(1)")


def look_at_image(image: Tensor) -> None:
    """Warns of an image in 0..255, or a normalised one. NaN and what is infinite raise an InputError."""
    image = image.detach()
    if image.isnan().any():
        raise InputError("the image has values that are NaN")
    if image.isinf().any():
        raise InputError("the image has values that are infinite")
    lowest, highest = (float(value) for value in image.aminmax())
    if lowest < -SLACK or highest > 1 + SLACK:
        what = "in 0..255? divide it by 255" if highest > 10 else "normalised? give the image as it was before"
        warn(f"the image's values are {lowest:.3g} to {highest:.3g}, not in [0,1]: {what}")


def look_at_sums(p: Tensor) -> None:
    """Warns of p (N,L,H,W) that is no probabilities: below 0, NaN, or whose sum over the labels is not 1."""
    p = p.detach()
    if not bool((p >= 0).all()) or (p.shape[1] > 1 and not bool(((p.sum(1) - 1).abs() <= SLACK).all())):
        warn("p does not look like probabilities: give scores.softmax(1)")
