"""What every experiment shares: images, a trained network, its cached unary outputs, predictions and their scores."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import Subset

from dpn.data import DATA_SETS, Sample, SegmentationData, open_data
from dpn.data.dataset import spread
from dpn.errors import InputError
from dpn.experiments.outputs import Outputs, unary_outputs
from dpn.experiments.scale import Scale
from dpn.files import written_whole
from dpn.metrics import Scores
from dpn.metrics.evaluation import Evaluation
from dpn.model import DPN, STAGES, TITLES
from dpn.mrf import MRF, MRFConfig
from dpn.storage import load_stages
from dpn.terminal import progress_bar
from dpn.training import Recipe, train
from dpn.training.recipe import DataRecipe, StagesRecipe
from dpn.unary import UnaryNetwork

Refine = Callable[[Tensor, Tensor], Tensor]
"""(log p (1,L,H,W), image (1,3,H,W)) -> log q (1,L,H,W)."""

Predictions = dict[str, dict[str, Tensor]]
"""{system: {image's name: labels (H,W) uint8}}."""


class Study:
    """Images, a trained network and its cached unary outputs, made when they are first asked for and kept in a folder.

    Args:
        out: the folder; work that it already holds is not done again.
        scale: what on, and how much; one folder holds one setting.
        console: where to say what is going on.

    Raises:
        InputError: if the folder holds experiments of another setting, or real data comes without a network.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = Study(Path(folder), Scale.fast(images=2))
        ...     study.labels[0], len(study.images)
        ('sky', 2)
    """

    def __init__(self, out: Path, scale: Scale, *, console: Console | None = None) -> None:
        self.out, self.scale, self.console = out, scale, console or Console(stderr=True)
        if scale.data != "scenes" and scale.model is None:
            raise InputError(f"experiments on {scale.data} need a network trained on it: --model NAME_OR_FOLDER")
        out.mkdir(parents=True, exist_ok=True)
        described = json.dumps({name: str(value) for name, value in vars(scale).items()}, indent=2)
        path = out / "setting.json"
        if path.is_file() and path.read_text() != described:
            raise InputError(f"{out}: holds experiments of another setting (see setting.json): choose another --out")
        with written_whole(path) as temporary:
            temporary.write_text(described)

    @cached_property
    def data(self) -> SegmentationData:
        """The split whose images are scored."""
        return open_data(self.scale.data, root=self.scale.root, split=self.scale.split)

    @cached_property
    def images(self) -> Subset[Sample]:
        """The images that are scored."""
        return spread(self.data, self.scale.images)

    @cached_property
    def training_images(self) -> Subset[Sample]:
        """The images that MRFs are trained on."""
        split = DATA_SETS[self.scale.data].train
        return spread(open_data(self.scale.data, root=self.scale.root, split=split), self.scale.train_images)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names."""
        return self.data.labels

    @property
    def palette(self) -> np.ndarray:
        """(256,3) uint8: the colours that the labels, and void, are drawn in."""
        return self.data.palette

    @property
    def recipe(self) -> Recipe:
        """How the network of the scenes is trained."""
        quick, apart = self.scale.quick, 2 if self.scale.quick else 1
        return Recipe(
            data=DataRecipe(train_images=200 if quick else None, val_images=20 if quick else None, workers=2),
            mrf=MRFConfig(components=5, window_stride=apart, context_dilation=apart, context_stride=apart),
            stages=StagesRecipe(
                **{
                    name: replace(stage, batch=8, validate_every=max(1, stage.steps // 2)) if quick else stage
                    for name, stage in vars(StagesRecipe()).items()
                }
            ),
        )

    @cached_property
    def network(self) -> str:
        """The trained network: a name, file or folder; that of the scenes is trained here if it was not yet."""
        if self.scale.model is not None:
            return self.scale.model
        folder = self.out / "network"
        ended = folder / "stages.json"
        if not ended.is_file() or len(json.loads(ended.read_text())) < len(STAGES):
            train(self.recipe, folder, console=self.console)
        return str(folder)

    @cached_property
    def stages(self) -> dict[str, DPN]:
        """The network as it is after each stage of its training."""
        stages = load_stages(self.network)
        if missing := [stage for stage in STAGES if stage not in stages]:
            raise InputError(f"{self.network}: was not saved with the stage {missing[0]}: train all four")
        return {name: model.eval() for name, model in stages.items()}

    @property
    def unary(self) -> UnaryNetwork:
        """The unary network after stage 1, on whose outputs MRFs are trained and compared."""
        return self.stages["unary"].unary

    @cached_property
    def validation(self) -> Outputs:
        """The images that are scored, with the unary's scores."""
        return self._outputs("scored", self.images, None)

    def training(self, crop: int | None = None) -> Outputs:
        """The images that MRFs are trained on, cut to `crop` pixels (None: the scale's), with the unary's scores."""
        return self._outputs(f"trained_on_{crop}" if crop else "trained_on", self.training_images, crop or self.scale.crop)

    @property
    def validation_cut(self) -> Outputs:
        """The images that are scored, cut as those that are trained on."""
        return self._outputs("scored_cut", self.images, self.scale.crop)

    def mrf(self, **arguments: Any) -> MRF:
        """A new MRF for these labels, as the network's, with some of its arguments changed.

        b12's window and strides come from the network, so that variants differ in what the experiment is about.
        """
        return MRF(len(self.labels), self.stages["joint"].mrf.config, **{"penalty": MRFConfig().penalty} | arguments)

    def predict(self, systems: Mapping[str, Refine | None], chosen: Iterable[int] | None = None) -> Predictions:
        """What systems that refine the cached unary outputs make of the images that are scored; None is the unary itself.

        Args:
            systems: by name.
            chosen: which of the images; None is all.
        """
        predictions: Predictions = {name: {} for name in systems}
        with progress_bar(self.console) as progress, torch.inference_mode():
            for i in progress.track(self._chosen(chosen), description="segment"):
                sample, log_p = self.output(i)
                for name, refine in systems.items():
                    log_q = log_p if refine is None else refine(log_p, sample.image[None])
                    predictions[name][sample.name] = log_q[0].argmax(0).byte()
        return predictions

    @cached_property
    def predictions(self) -> Predictions:
        """The labels after each stage; the first three stages share the cached unary outputs."""
        systems: dict[str, Refine | None] = {TITLES[stage]: self.stages[stage].refine for stage in STAGES[:-1]}
        return self.predict(systems | {TITLES["joint"]: of_image(self.stages["joint"])})

    def score(self, predictions: Predictions, chosen: Iterable[int] | None = None) -> dict[str, Scores]:
        """Scores label maps of all images, or the chosen ones, in the order of the systems."""
        evaluation = Evaluation(self.labels)
        for i in self._chosen(chosen):
            sample = self.validation.image(i)
            for name, labels in predictions.items():
                evaluation.add(name, labels[sample.name], sample.labels, sample.name)
        return evaluation.scores

    def _chosen(self, chosen: Iterable[int] | None) -> list[int]:
        return list(range(len(self.validation)) if chosen is None else chosen)

    def output(self, index: int) -> tuple[Sample, Tensor]:
        """One of the images that are scored, and the unary's log p (1,L,H,W)."""
        sample, scores = self.validation[index]
        return sample, self.log_p(sample, scores)

    def window(self) -> dict[str, int]:
        """The window of the network's b12 and its stride, for systems that are to see as far."""
        config = self.stages["joint"].mrf.config
        return {"window": config.window, "window_stride": config.window_stride}

    def log_p(self, sample: Sample, scores: Tensor | None) -> Tensor:
        """The unary's log p (1,L,H,W) of a sample, without gradients: from its scores (L,h,w), or from the image if None."""
        height, width = sample.labels.shape
        with torch.no_grad():
            scores = self.unary.scores(sample.image[None]) if scores is None else scores[None]
            return self.unary.finish(scores, (height, width))

    def _outputs(self, name: str, images: Subset[Sample], crop: int | None) -> Outputs:
        return unary_outputs(self.out / f"scores_{name}.pt", self.unary, images, crop=crop, console=self.console)


def of_image(network: nn.Module) -> Refine:
    """A network that sees the image itself, beside those that refine the cached outputs of the unary."""
    return lambda log_p, image: network(image)
