"""What every experiment shares: images, a trained network, its cached unary outputs, predictions and their scores."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import Subset

from dpn import terminal
from dpn.data import DATA_SETS, Sample, SegmentationData, open_data
from dpn.data.dataset import spread
from dpn.errors import InputError
from dpn.experiments.scale import Scale
from dpn.files import written_whole
from dpn.metrics import Scores
from dpn.metrics.evaluation import Evaluation
from dpn.model import DPN, STAGES, TITLES
from dpn.mrf import MRF, MRFConfig
from dpn.storage import load_stages
from dpn.terminal import progress_bar
from dpn.training import Recipe, train_recipe
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe
from dpn.unary import UnaryNetwork

Refine = Callable[[Tensor, Tensor], Tensor]
"""(log p (1,L,H,W), image (1,3,H,W)) -> log q (1,L,H,W)."""

Predictions = dict[str, dict[str, Tensor]]
"""{system: {image's name: labels (H,W) uint8}}."""


@dataclass(frozen=True)
class Outputs:
    """Images, read when they are asked for, and the unary network's raw scores (L,h,w) of them, by the images' names.

    Images are cut to their middle of at most `crop` pixels a side; None leaves them whole.
    """

    images: Subset[Sample]
    scores: dict[str, Tensor]
    crop: int | None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Sample, Tensor]:
        sample = self.image(index)
        return sample, self.scores[sample.name]

    def image(self, index: int) -> Sample:
        """The image alone, cut."""
        sample = self.images[index]
        side = self.crop or max(sample.labels.shape)
        top, left = (max(0, extent - side) // 2 for extent in sample.labels.shape)
        inside = (..., slice(top, top + side), slice(left, left + side))
        return Sample(sample.image[inside].contiguous(), sample.labels[inside].contiguous(), sample.name)


class Study:
    """Images, a trained network and its cached unary outputs, made when they are first asked for and kept in the folder `out`.

    One folder holds one setting: another raises an InputError, as do real data without a network.
    """

    def __init__(self, out: Path, scale: Scale, *, console: Console | None = None) -> None:
        self.out, self.scale, self.console = out, scale, console or terminal.console(stderr=True)
        if scale.data != "scenes" and scale.model is None:
            raise InputError(f"experiments on {scale.data} need a network trained on it: --model NAME_OR_FOLDER")
        out.mkdir(parents=True, exist_ok=True)
        described = json.dumps({name: str(value) for name, value in vars(scale).items()}, indent=2)
        path = out / "setting.json"
        if path.is_file() and path.read_text(encoding="utf-8") != described:
            raise InputError(f"{out}: holds experiments of another setting (see setting.json): choose another --out")
        with written_whole(path) as temporary:
            temporary.write_text(described, encoding="utf-8")

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
    def recipe(self) -> Recipe:
        """How the network of the scenes is trained."""
        if not self.scale.quick:
            return Recipe(mrf=MRFConfig(components=5), data=DataRecipe(workers=2))
        mrf = MRFConfig(components=5, window_stride=2, context_dilation=2, context_stride=2)
        data = DataRecipe(train_images=200, val_images=20, workers=2)
        stages = vars(StagesRecipe())
        stages = {name: replace(stage, batch=8, validate_every=max(1, stage.steps // 2)) for name, stage in stages.items()}
        return Recipe(mrf=mrf, data=data, stages=StagesRecipe(**stages))

    def recipe_of(self, **stages: StageRecipe) -> Recipe:
        """The same, with none but these stages."""
        none = {name: replace(stage, steps=0) for name, stage in vars(self.recipe.stages).items()}
        return replace(self.recipe, stages=StagesRecipe(**none | stages))

    @cached_property
    def network(self) -> str:
        """The trained network: a name, file or folder; that of the scenes is trained here if it was not yet."""
        if self.scale.model is not None:
            return self.scale.model
        folder = self.out / "network"
        ended = folder / "stages.json"
        if not ended.is_file() or len(json.loads(ended.read_text(encoding="utf-8"))) < len(STAGES):
            train_recipe(self.recipe, folder, console=self.console)
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
        return self.outputs("scored", self.images, None)

    def training(self, crop: int | None = None) -> Outputs:
        """The images that MRFs are trained on, cut to `crop` pixels (None: the scale's), with the unary's scores."""
        return self.outputs(f"trained_on_{crop}" if crop else "trained_on", self.training_images, crop or self.scale.crop)

    def outputs(self, name: str, images: Subset[Sample], crop: int | None) -> Outputs:
        """The images with the unary's scores, which are read from a file of the folder, or computed and written there."""
        path = self.out / f"scores_{name}.pt"
        outputs = Outputs(images, torch.load(path, weights_only=True) if path.is_file() else {}, crop)
        if len(outputs.scores) < len(images):
            with progress_bar(self.console) as progress, torch.inference_mode():
                for i in progress.track(range(len(images)), description=f"unary outputs, {path.stem}"):
                    sample = outputs.image(i)
                    outputs.scores[sample.name] = self.unary.scores(sample.image[None])[0].clone()
            with written_whole(path) as temporary:
                torch.save(outputs.scores, temporary)
        return outputs

    def mrf(self, *, seed: int = 0, **arguments: Any) -> MRF:
        """A new MRF, as the network's but for these arguments, so that it differs in what the experiment is about.

        What it begins with at random depends on the seed alone.
        """
        config = self.stages["joint"].mrf.config
        torch.manual_seed(seed)  # after the network is there, whose making draws too
        return MRF(len(self.labels), config, **{"penalty": MRFConfig().penalty} | arguments)

    def predict(self, systems: Mapping[str, Refine | None], chosen: Sequence[int] | None = None) -> Predictions:
        """What systems make of the unary's cached outputs, on all images or the chosen ones; None is the unary itself."""
        predictions: Predictions = {name: {} for name in systems}
        with progress_bar(self.console) as progress, torch.inference_mode():
            for i in progress.track(chosen or range(len(self.images)), description="segment"):
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

    def score(self, predictions: Predictions, chosen: Sequence[int] | None = None) -> dict[str, Scores]:
        """The scores of label maps of all images, or the chosen ones, in the order of the systems."""
        evaluation = Evaluation(self.labels)
        for i in chosen or range(len(self.images)):
            sample = self.images[i]
            for name, labels in predictions.items():
                evaluation.add(name, labels[sample.name], sample.labels, sample.name)
        return evaluation.scores

    def output(self, index: int) -> tuple[Sample, Tensor]:
        """One of the images that are scored, and the unary's log p (1,L,H,W)."""
        sample, scores = self.validation[index]
        return sample, self.log_p(sample, scores)

    def window(self) -> dict[str, int]:
        """The window of the network's b12 and its stride, for systems that are to see as far."""
        config = self.stages["joint"].mrf.config
        return {"window": config.side, "window_stride": config.window_stride}

    def log_p(self, sample: Sample, scores: Tensor | None) -> Tensor:
        """The unary's log p (1,L,H,W) of a sample, without gradients: from its scores (L,h,w), or from the image if None."""
        height, width = sample.labels.shape
        with torch.no_grad():
            scores = self.unary.scores(sample.image[None]) if scores is None else scores[None]
            return self.unary.finish(scores, (height, width))


def of_image(network: nn.Module) -> Refine:
    """A network that sees the image itself, beside those that refine the cached outputs of the unary."""
    return lambda log_p, image: network(image)
