"""The gradient steps of a stage, the only training loop: `train` runs it on images, experiments on cached unary outputs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from math import isfinite
from typing import Any, TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dpn.errors import InputError
from dpn.model import DPN, STAGES
from dpn.mrf import MRF
from dpn.mrf.inputs import UnsoundError
from dpn.together import gathered, summed, synchronised
from dpn.training.diverged import DivergedError, Fault, found, unsound
from dpn.training.recipe import StageRecipe
from dpn.training.sampler import mix
from dpn.training.stages import begin, phase_in
from dpn.unary.base import unwrapped

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Stage:
    """A stage, and how it is trained.

    Attributes:
        name: one of dpn.model.STAGES.
        recipe: its steps, optimizer, learning rates, schedule and clipping apply here; the batches bring the rest.
        penalty: the Potts strength that "triple_penalty" phases in.
        seed: of all that a step draws at random.
        frozen_statistics: whether the unary's batch normalisation stays as in evaluation in the stage "unary" as well.
    """

    name: str
    recipe: StageRecipe
    penalty: float
    seed: int = 0
    frozen_statistics: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """A gradient step that the device was given to do.

    Attributes:
        stage: the stage's name.
        done: how many there have been in the stage, with this one.
        lr: the learning rate.
        told: the batch's loss and the norm of its gradient, (2,); on the CPU once `ready`, where that is given.
        ready: what says that the device has done the step.
    """

    stage: str
    done: int
    lr: float
    told: Tensor
    ready: torch.cuda.Event | None = None

    @cached_property
    def loss(self) -> float:
        """The batch's loss, which waits until the step is done.

        Raises:
            DivergedError: if the loss or its gradient is no longer finite; the network is lost then.
        """
        if self.ready:
            self.ready.synchronize()
        loss, norm = self.told.tolist()
        if not (isfinite(loss) and isfinite(norm)):
            what = f"the norm of the gradient is {norm}" if isfinite(loss) else f"the loss is {loss}"
            raise DivergedError(self.stage, self.done - 1, what)
        return float(loss)


class Learner:
    """A network in a stage of its training: its trainable parameters, and the optimizer that moves them.

    From the second stage on the unary is in evaluation mode, so that a stage begins as exactly the function that the last one
    ended as. A step depends on the network, the optimizer, its batch, the seed and its number alone, so that a stage which is
    taken up from a checkpoint goes the same way as one that was never stopped.

    Fabric brings device and precision; without it they are the CPU and float32. `network` is the model as Fabric runs it, and
    `optimizer` is Fabric's. Where there are several processes, a step's loss is the mean of theirs.

    Args:
        watches: whether each step's loss and gradient are looked at before the network moves, so that what is lost is told with
            the layer, the parameter or the images where that arose. A GPU is waited for then; None is on the CPU alone.
        named: the names of images: of these places in a part of a step's batch.

    Example:
        >>> from dpn import MRF
        >>> from dpn.unary import Wrap
        >>> model = DPN(Wrap(torch.nn.Conv2d(3, 4, 1), labels=4), MRF(4, penalty=0.0))
        >>> learner = Learner(model, Stage("triple_penalty", StageRecipe(2, schedule="step", lr=0.1), penalty=4.0))
        >>> images = torch.rand(2, 1, 3, 8, 9)
        >>> [step.lr for step in learner.steps(images, lambda image: [-model(image).mean()])]
        [0.1, 0.010000000000000002]
        >>> model.mrf.label_contexts.penalty.item()
        4.0
    """

    def __init__(
        self,
        model: DPN,
        stage: Stage,
        fabric: Fabric | None = None,
        *,
        watches: bool | None = None,
        named: Callable[[int, int, Iterable[int]], list[str]] | None = None,
    ) -> None:
        self.model, self.stage, self._named = model, stage, named
        self.fabric = fabric or Fabric(accelerator="cpu", devices=1)
        self.watches = self.fabric.device.type == "cpu" if watches is None else watches
        groups = begin(model, stage.name, stage.recipe)
        self._rates = [group["lr"] for group in groups]
        optimizer = torch.optim.SGD(groups, momentum=0.9) if stage.recipe.optimizer == "sgd" else torch.optim.AdamW(groups)
        self.network, self.optimizer = self.fabric.setup(model, optimizer)
        self.network.mark_forward_method("refine")

    def steps(self, batches: Iterable[Batch], loss: Callable[[Batch], Iterable[Tensor]], *, first: int = 0) -> Iterator[Step]:
        """Does the steps of the recipe from the `first` on, and yields each once the device has been given all of it.

        Unless it `watches`, it waits for the device one step late, so that this always has work: a lost network is told when
        the next step has been given. Who keeps or measures the network looks at the step's own `loss` before.

        Args:
            batches: one for each of these steps, or more.
            loss: of a batch, in parts that are summed; a part is differentiated before the next is computed, so that an
                iterator keeps only one part's activations in memory.

        Raises:
            DivergedError: if the loss or its gradient is no longer finite.
        """
        with synchronised(self.model.unary), cast(MRF, unwrapped(self.model.mrf)).passing_on():
            yield from self._steps(batches, loss, first)

    def _steps(self, batches: Iterable[Batch], loss: Callable[[Batch], Iterable[Tensor]], first: int) -> Iterator[Step]:
        recipe, last = self.stage.recipe, None
        for step, batch in zip(range(first, recipe.steps), batches, strict=False):
            self._prepare(step)
            of_all, norm = self._gradient(step, partial(loss, batch))
            self.optimizer.step()
            self.optimizer.zero_grad()
            told = _sent(torch.stack([of_all, norm]))
            this = Step(self.stage.name, step + 1, self._rates[0] * _factor(recipe.schedule, step / recipe.steps), *told)
            if last:
                _ = last.loss
            yield this
            last = this
        if last:
            _ = last.loss

    def _gradient(self, step: int, losses: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
        """A step's loss, of all processes, and its gradient's norm before that is clipped; it moves nothing.

        Raises:
            DivergedError: if it `watches`, and one of both is not finite; or if a weight is not, which a layer refuses.
        """
        parts = []
        try:
            for part in losses():
                if not part.requires_grad:
                    raise InputError(
                        f"stage {self.stage.name}: the network gives scores without gradients, so that nothing is learned; "
                        "have it compute without no_grad, detach and numpy"
                    )
                self.fabric.backward(part)
                parts.append(part.detach())
        except InputError as error:
            if name := unsound(self.model):
                raise self.diverged(step, f"{name} is not finite") from error
            if isinstance(error, UnsoundError):  # a weight of the MRF, finite, of which sums are not
                raise self.diverged(step, str(error).partition(":")[0]) from error
            raise
        of_all = summed(torch.stack(parts).sum()) / self.fabric.world_size
        if self.watches and not isfinite(value := of_all.item()):
            self.optimizer.zero_grad()  # which tells nothing of where
            raise self._arose(step, f"the loss is {value}", losses)
        try:
            norm = self.fabric.clip_gradients(
                self.network, self.optimizer, max_norm=self.stage.recipe.clip, error_if_nonfinite=self.watches
            )
        except RuntimeError as error:
            if "non-finite" not in str(error):
                raise
            raise self._arose(step, "the gradient is not finite", losses) from None
        return of_all, torch.as_tensor(norm)

    def state(self, done: int) -> dict[str, Any]:
        """What a stage is taken up from after so many steps: the state dicts of "model" and "optimizer".

        Raises:
            DivergedError: if a value of the network is no longer finite.
        """
        if name := unsound(self.model):
            raise self.diverged(done - 1, f"{name} is not finite")
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def diverged(self, step: int, what: str, images: Iterable[str] = ()) -> DivergedError:
        """The error that says what a step came to."""
        return DivergedError(self.stage.name, step, what, tuple(images))

    def _arose(self, step: int, what: str, losses: Callable[[], Iterable[Tensor]]) -> DivergedError:
        """The same, which looks where that arose; of several processes all do."""
        self._prepare(step)
        met = found(self.model, losses)
        named = self._named(step, met.part, met.images) if met and met.images and self._named else []
        faults: list[tuple[Fault | None, list[str]]] = gathered((met, named))
        met, named = next((each for each in faults if each[0]), (None, []))
        return self.diverged(step, f"{what}: {met.where}" if met else what, named)

    def _prepare(self, step: int) -> None:
        """Seed, learning rates, Potts strength and modes of a step."""
        name, recipe = self.stage.name, self.stage.recipe
        rank = self.fabric.global_rank
        torch.manual_seed(mix(self.stage.seed, STAGES.index(name), step, *[rank] * (rank > 0)))
        for group, lr in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = lr * _factor(recipe.schedule, step / recipe.steps)
        if name == "triple_penalty":
            phase_in(self.model, self.stage.penalty, done=(step + 1) / recipe.steps)
        self.model.train()
        self.model.unary.train(name == "unary" and not self.stage.frozen_statistics)


def _sent(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Values on their way from a GPU, and what says that they came: a copy asked for later waits for the steps given since."""
    if not values.is_cuda:
        return values, None
    came = torch.cuda.Event()
    values = values.to("cpu", non_blocking=True)
    came.record()
    return values, came


def _factor(schedule: str, t: float) -> float:
    """What the learning rates are multiplied by at t in [0,1) of a stage."""
    return (1 - t) ** 0.9 if schedule == "poly" else 0.1 ** int(3 * t)
