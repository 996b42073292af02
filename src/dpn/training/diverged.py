"""A stage that diverges: where a value was first no number, and from where the stage goes on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dpn.errors import InputError
from dpn.training.recipe import StageRecipe

BACK_OFFS = 2
"""How often a stage goes on at lower learning rates before it stops."""

LOWER = 0.1
"""What the learning rates are multiplied by each time."""


@dataclass(frozen=True)
class Fault:
    """Where a value is no number.

    Attributes:
        where: in words; a layer or a parameter by its name.
        part: which part of the batch it was met in.
        images: the places of these images in it, where they alone are to blame.
    """

    where: str
    part: int = 0
    images: tuple[int, ...] = ()


class DivergedError(InputError):
    """A loss, a gradient or a weight is no longer finite: the network is lost, and an earlier one has to go on.

    Attributes:
        stage: the stage's name.
        step: the step's number; -1 is before the first.
        what: what was met, with stage and step.
        images: the names of the images where it arose, where those are not all.
    """

    def __init__(self, stage: str, step: int, what: str, images: tuple[str, ...] = ()) -> None:
        when = f"step {step}" if step >= 0 else "before its first step"
        shown = f" (images: {', '.join(images[:3])}{', ...' * (len(images) > 3)})" if images else ""
        mend = f"lower stages.{stage}.lr" if step >= 0 else "look at the weights that it begins with"
        self.stage, self.step, self.images = stage, step, images
        self.what = f"stage {stage}, {when}: {what}{shown}"
        super().__init__(f"{self.what}: {'look at the images, or ' if images else ''}{mend}")

    def at(self, rates: float) -> InputError:
        """The same of a stage that stops, at so much of the recipe's learning rates."""
        return InputError(f"{self}, which failed at {rates:.2g} of it too")


@torch.no_grad()
def unsound(model: nn.Module) -> str | None:
    """The first of a network's weights and statistics that is not finite, by its name; a device is waited for once."""
    state = model.state_dict(keep_vars=True)
    finite = torch.stack([_is_sound(name, value).all() for name, value in state.items()]).tolist()
    return next((name for name, whole in zip(state, finite, strict=True) if not whole), None)


def _is_sound(name: str, value: Tensor) -> Tensor:
    """Which values of a tensor are such as it may have: one that is no weight and no statistic, as a mask, may be infinite."""
    return value.isfinite() if isinstance(value, nn.Parameter) or "running_" in name else ~value.isnan()


@torch.no_grad()
def found(model: nn.Module, losses: Callable[[], Iterable[Tensor]]) -> Fault | None:
    """Where a step's values are first no numbers: in a weight, in what a layer is given or gives, or in a gradient.

    Args:
        model: the network, as it was before the step; the gradients that it holds are the step's.
        losses: computes the step's loss again, in parts.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
        >>> images = torch.zeros(4, 3, 5, 5)
        >>> images[2] = torch.inf
        >>> found(net, lambda: [net(images).sum()])
        Fault(where='layer 0 is given what is not finite', part=0, images=(2,))
    """
    if name := unsound(model):
        return Fault(f"{name} is not finite")
    met: list[Fault] = []
    part = 0

    def looked(name: str) -> Callable[..., None]:
        def look(_: nn.Module, given: tuple[Any, ...], gives: Any) -> None:
            for how, values in (("is given", given), ("gives", (gives,))):
                for value in values:
                    if not met and isinstance(value, Tensor) and (images := _not_finite(value)) is not None:
                        met.append(Fault(f"layer {name} {how} what is not finite", part, images))

        return look

    hooks = [module.register_forward_hook(looked(name)) for name, module in model.named_modules() if name]
    try:
        with torch.compiler.set_stance("force_eager"):  # where hooks are called plainly
            for part, _ in enumerate(losses(), 1):  # noqa: B007
                pass
    except InputError as error:  # a layer looks at what it is given itself
        met.append(Fault(str(error), part))
    finally:
        for hook in hooks:
            hook.remove()
    if met:
        return met[0]
    lost = [name for name, each in model.named_parameters() if each.grad is not None and not bool(each.grad.isfinite().all())]
    return Fault(f"the gradient of {lost[-1]} is not finite") if lost else None  # backwards the last one comes first


def _not_finite(value: Tensor) -> tuple[int, ...] | None:
    """Which images of a batch have values that are not finite, none where all have; None where no value is."""
    if not value.is_floating_point() or bool(value.isfinite().all()):
        return None
    if value.ndim < 4:
        return ()
    images = (~value.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    return tuple(images) if len(images) < len(value) else ()


def slower(recipe: StageRecipe, backed_off: int) -> StageRecipe:
    """A stage's recipe at the learning rates that it has after so many times.

    Example:
        >>> slower(StageRecipe(lr=1.0), 2).lr
        0.010000000000000002
    """
    factor = LOWER**backed_off
    unary = None if recipe.unary_lr is None else recipe.unary_lr * factor
    return replace(recipe, lr=recipe.lr * factor, unary_lr=unary)


def backed_off(state: dict[str, Any]) -> dict[str, Any]:
    """What a stage goes on from when the network is lost: its last checkpoint; the last time the best model, a step anew.

    A validation that is due is made no more, for it may be where the network was lost.

    Example:
        >>> backed_off({"step": 3, "best_step": 2, "due": [0.5, 0.01]})
        {'step': 3, 'best_step': 2, 'backed_off': 1}
    """
    times = state.get("backed_off", 0) + 1
    state = {key: value for key, value in state.items() if key != "due"} | {"backed_off": times}
    if times == BACK_OFFS:
        state |= {"step": state["best_step"], "model": state["best"], "optimizer": state["optimizer"] | {"state": {}}}
    return state
