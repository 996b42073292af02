"""The configuration of b12 to b15: every parameter of the MRF, its default, its unit and where it comes from."""

import math
import re
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from dpn.errors import InputError
from dpn.functional.kernels import kernel_named
from dpn.plain import require_kinds

LEAST = {
    "components": 1, "window": 1, "window_stride": 1, "context": 1, "context_dilation": 1, "context_stride": 1,
    "context_rank": 1, "iterations": 1, "blur": 0, "frames": 1,
}  # fmt: skip
MOST = {
    "components": 255, "window": 65_536, "window_stride": 65_536, "context": 63, "context_dilation": 4096,
    "context_stride": 4096, "context_rank": 65_536, "iterations": 1000, "blur": 1000, "frames": 999,
}  # fmt: skip
MOST_ALIGNED = 1_000_000_000
"""What bounds the time and the memory that a file from elsewhere can ask for; nothing of use is beyond it."""


def named_in_recipe(error: InputError) -> InputError:
    """What is wrong with a recipe, of which a parameter of the section mrf has the name that it has there.

    Example:
        >>> named_in_recipe(InputError("components must be at most 255, got 300"))
        InputError('mrf.components must be at most 255, got 300')
    """
    parameters = "|".join(field.name for field in fields(MRFConfig))
    return InputError(re.sub(rf"^({parameters})\b(?!\.)", r"mrf.\1", str(error)))


@dataclass(frozen=True)
class MRFConfig:
    """What an MRF is made with. Recipes, model files, the layers and the float64 truth take their parameters from here.

    Attributes:
        components: K, the patterns mixed for each label (b13, b14). The paper's 5.
        window: side of b12's window in pixels. The paper's 50 (Table 2a). None is all pixels of the image, as in the dense CRF,
            on a lattice (dpn.functional.fully_connected).
        window_stride: pixels between the neighbours in b12's window, along each side; 2 takes every fourth pixel. 1 takes all.
        frames: how many frames of a clip b12's window spans, odd, see dpn.mrf.frames. 1 keeps images apart.
        sigma_time: b12's width in time, in frames. None: all alike.
        blur: how often b12's maps are blurred by (1 2 1) / 4 along both sides, so that outlines are smooth. 0 as in the paper.
        context: n, the side of b13's neighbourhood in taps. The paper's 9 (Table 2b).
        context_dilation: pixels between neighbouring taps of b13. 1 as in the paper; 8 did best over a unary of stride 16.
        context_stride: b13 sees s averaged over cells of so many pixels square, and what it gives is interpolated. It divides
            context_dilation. 1 is exact.
        context_rank: the rank of b13's filters (Section 3.3, see dpn.compress). None is the full rank.
        kernel: b12's k(d): gaussian, exp(-d), is a similarity; euclidean, d itself, is the paper's literal reading;
            euclidean_table is the same on colours of 8 bits, as by Appendix A's lookup table.
        iterations: mean-field updates; all share the same parameters. The paper's 1.
        triple: multiply b12 by q_j, as Eqn. 7 prints it and Table 1 does not.
        normalize: divide b12 by the sum of its weights; or "symmetric", where every pixel is a neighbour: by the roots of both
            pixels' sums, as pydensecrf does.
        include_center: whether a pixel is its own neighbour in b12. Eqn. 10 leaves it out, pydensecrf does not.
        sigma_color: b12's width in colour, in units of RGB in [0,1]; w1 = 1 / (2 sigma^2). Tuned on VOC val.
            math.inf is a kernel of positions alone, with no such width to learn.
        sigma_space: b12's width in space, in pixels; w2 = 1 / (2 sigma^2). Tuned on VOC val.
        smoothness: weight of b12's second kernel, of distance alone, as the dense CRF has it. 0 is none.
        sigma_smooth: the width of that kernel in pixels.
        aligned: (height, width) of images that lie alike: b12 then learns a filter for each position (footnote 1), and only the
            window applies to it. None makes b12's filters from the image.
        penalty: strength of the Potts model that mu begins as. 0 makes a new MRF the identity. Stage 2 phases it in, from 0.
        absent_below: labels whose probability is nowhere above this may be left out of inference, see dpn.mrf.absent_labels.
            0 keeps all.

    Raises:
        InputError: if a value is out of range.

    Example:
        >>> MRFConfig(window=30).components
        5
        >>> MRFConfig(context_dilation=8, context_stride=3)
        Traceback (most recent call last):
        dpn.errors.InputError: context_stride must divide context_dilation (8), got 3
    """

    components: int = 5
    window: int | None = 50
    window_stride: int = 1
    frames: int = 1
    sigma_time: float | None = None
    blur: int = 0
    context: int = 9
    context_dilation: int = 1
    context_stride: int = 1
    context_rank: int | None = None
    kernel: str = "gaussian"
    iterations: int = 1
    triple: bool = False
    normalize: bool | Literal["symmetric"] = True
    include_center: bool = True
    sigma_color: float = 0.03
    sigma_space: float = 40.0
    smoothness: float = 0.0
    sigma_smooth: float = 3.0
    aligned: tuple[int, int] | None = None
    penalty: float = 4.0
    absent_below: float = 2e-4

    def __post_init__(self) -> None:
        require_kinds(self)
        kernel_named(self.kernel)
        for name, most in MOST.items():
            value, least = getattr(self, name), LEAST.get(name, -math.inf)
            if value is not None and not least <= value <= most:
                bound = f"least {least}" if value < least else f"most {most}"
                raise InputError(f"{name} must be at {bound}, got {value}")
        if self.window is None:
            needed = {"kernel": "gaussian", "window_stride": 1, "include_center": True, "aligned": None}
            for name, value in needed.items():
                if getattr(self, name) != value:
                    raise InputError(
                        f"where window is None, {name} must be {value}, got {getattr(self, name)}; or give a window"
                    )
        elif self.normalize == "symmetric":
            raise InputError("normalize='symmetric' needs window=None: every pixel is a neighbour")
        if self.frames % 2 == 0:
            raise InputError(f"frames must be odd, as many after this one as before, got {self.frames}")
        if self.frames > 1 and (self.window is None or self.aligned is not None):
            kind = "window=None" if self.window is None else "aligned"
            raise InputError(f"frames={self.frames} needs filters in a window, made of the images, not {kind}; take frames=1")
        if self.sigma_time is not None and not self.sigma_time > 0:
            raise InputError(f"sigma_time must be positive, got {self.sigma_time}")
        if self.context_dilation % self.context_stride:
            raise InputError(
                f"context_stride must divide context_dilation ({self.context_dilation}), got {self.context_stride}"
            )
        if not self.sigma_color > 0:
            raise InputError(f"sigma_color must be positive, got {self.sigma_color}")
        for name in ("sigma_space", "sigma_smooth"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not 0 <= self.smoothness < math.inf:
            raise InputError(f"smoothness must be finite and not negative, got {self.smoothness}")
        if not 0 <= self.absent_below <= 1:
            raise InputError(f"absent_below must be in [0,1], got {self.absent_below}")
        if not math.isfinite(self.penalty):
            raise InputError(f"penalty must be finite, got {self.penalty}")
        if self.aligned is not None:
            object.__setattr__(self, "aligned", tuple(self.aligned))  # a file or a recipe may hold a list
            if min(self.aligned) < 1:
                raise InputError(f"aligned must be a height and a width of at least 1 pixel, got {self.aligned}")
            if (weights := math.prod(self.aligned) * self.side**2) > MOST_ALIGNED:
                raise InputError(
                    f"aligned {self.aligned} with window {self.window} makes {weights:,} weights; take them smaller"
                )

    @property
    def side(self) -> int:
        """The window, where there must be one; InputError where every pixel is a neighbour."""
        if self.window is None:
            raise InputError("this needs a head with a window; in this one every pixel is a neighbour (window=None)")
        return self.window

    def changed(self, **options: Any) -> "MRFConfig":
        """The same with some parameters changed. One that is out of range, or that there is not, raises InputError.

        Example:
            >>> MRFConfig().changed(windows=30)
            Traceback (most recent call last):
            dpn.errors.InputError: an MRF has no parameter 'windows'; it has components, window, window_stride, ...
        """
        known = [field.name for field in fields(self)]
        if unknown := [name for name in options if name not in known]:
            raise InputError(f"an MRF has no parameter {unknown[0]!r}; it has {', '.join(known[:3])}, ...")
        return replace(self, **options)
