"""What every experiment shares: images, a trained network, its cached unary outputs, and MRFs trained on them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import Subset

from dpn.data import Sample, SegmentationData, camvid_palette, open_data, scenes, voc_palette
from dpn.data.dataset import spread
from dpn.errors import InputError
from dpn.experiments.outputs import Outputs, unary_outputs
from dpn.experiments.setting import Setting
from dpn.files import written_whole
from dpn.inference.stages import TITLES
from dpn.metrics import Scores
from dpn.metrics.evaluation import Evaluation
from dpn.model import DPN, STAGES
from dpn.mrf import MRF, MRFConfig
from dpn.storage import load_stages
from dpn.terminal import progress_bar
from dpn.training import Recipe, train
from dpn.training.draws import mix
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe
from dpn.training.stages import begin, label_weights, phase_in, softmax_loss

Refine = Callable[[Tensor, Tensor], Tensor]
"""(log p (1,L,H,W), image (1,3,H,W)) -> log q (1,L,H,W)."""

Predictions = dict[str, dict[str, Tensor]]
"""{system: {image's name: labels (H,W) uint8}}."""

BATCH = 4  # images a step where an experiment trains

TUNED_FROM = {"MobileNetV2": "features.16", "MobileNetV2Pyramid": "features.14"}
"""The part from which an experiment tunes a unary network of this class in stage 4; others are tuned whole."""


class Workbench:
    """Images, a trained network and its cached unary outputs, made when they are first asked for and kept in a folder.

    Args:
        out: the folder; work that it already holds is not done again.
        setting: at what scale; one folder holds one setting.
        console: where to say what is going on.

    Raises:
        InputError: if the folder holds experiments of another setting, or real data comes without a network.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bench = Workbench(Path(folder), Setting.fast(images=2))
        ...     bench.labels[0], len(bench.images)
        ('sky', 2)
    """

    def __init__(self, out: Path, setting: Setting, *, console: Console | None = None) -> None:
        self.out, self.setting, self.console = out, setting, console or Console(stderr=True)
        if setting.data != "scenes" and setting.model is None:
            raise InputError(f"experiments on {setting.data} need a network trained on it: --model NAME_OR_FOLDER")
        out.mkdir(parents=True, exist_ok=True)
        described = json.dumps({name: str(value) for name, value in vars(setting).items()}, indent=2)
        path = out / "setting.json"
        if path.is_file() and path.read_text() != described:
            raise InputError(f"{out}: holds experiments of another setting (see setting.json): choose another --out")
        with written_whole(path) as temporary:
            temporary.write_text(described)

    @cached_property
    def images(self) -> Subset[Sample]:
        """The images that are scored."""
        return spread(self._open(self.setting.split), self.setting.images)

    @cached_property
    def training_images(self) -> Subset[Sample]:
        """The images that MRFs are trained on."""
        split = "train_aug" if self.setting.data == "voc" else "train"
        return spread(self._open(split), self.setting.train_images)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names."""
        data: Any = self.images.dataset
        return data.labels

    @property
    def recipe(self) -> Recipe:
        """How the network of the scenes is trained."""
        quick, apart = self.setting.quick, 2 if self.setting.quick else 1
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
    def stages(self) -> dict[str, DPN]:
        """The network as it is after each stage of its training."""
        if self.setting.model is not None:
            stages = load_stages(self.setting.model)
            if missing := [stage for stage in STAGES if stage not in stages]:
                raise InputError(f"{self.setting.model}: was not saved with the stage {missing[0]}: train all four")
        else:
            folder = self.out / "network"
            if not (folder / "stages.json").is_file() or len(json.loads((folder / "stages.json").read_text())) < len(STAGES):
                train(self.recipe, folder, console=self.console)
            stages = load_stages(str(folder))
        return {name: model.eval() for name, model in stages.items()}

    @property
    def unary(self) -> DPN:
        """The network after stage 1, on whose outputs MRFs are trained and compared."""
        return self.stages["unary"]

    @cached_property
    def validation(self) -> Outputs:
        """The images that are scored, with the unary's scores."""
        return self._outputs("scored", self.images, None)

    @cached_property
    def training(self) -> Outputs:
        """The images that MRFs are trained on, cut to the crop's size, with the unary's scores."""
        return self._outputs("trained_on", self.training_images, self.setting.crop)

    @property
    def validation_cut(self) -> Outputs:
        """The images that are scored, cut as those that are trained on."""
        return self._outputs("scored_cut", self.images, self.setting.crop)

    def mrf(self, **arguments: Any) -> MRF:
        """A new MRF for these labels, as the network's, with some of its arguments changed.

        b12's window and strides come from the network, so that variants differ in what the experiment is about.
        """
        return MRF(len(self.labels), self.stages["joint"].mrf.config, **{"penalty": MRFConfig().penalty} | arguments)

    @property
    def stage_2(self) -> StageRecipe:
        """How b12 is trained where an experiment trains it."""
        return StageRecipe(self.setting.steps[0], batch=BATCH, lr=0.1)

    @property
    def stage_3(self) -> StageRecipe:
        """How b13 is trained where an experiment trains it."""
        return StageRecipe(self.setting.steps[1], batch=BATCH, lr=3e-3)

    @property
    def stage_4(self) -> StageRecipe:
        """How everything, or the unary alone, is tuned where an experiment tunes it."""
        train_from = TUNED_FROM.get(type(self.unary.unary).__name__)
        return StageRecipe(self.setting.steps[1], batch=BATCH, lr=2e-4, unary_lr=5e-5, train_from=train_from)

    def fit(self, mrf: MRF, stages: Mapping[str, StageRecipe] | None = None, *, seed: int = 0) -> MRF:
        """Trains an MRF on the cached outputs of the unary network, which stays as it is.

        Args:
            mrf: as it begins.
            stages: {"triple_penalty": how} or that and {"label_contexts": how}; None is stages 2 and 3 as above. All learn by
                Adam, on the middles of the images.
            seed: of the order of the images.

        Returns:
            the same MRF, in evaluation mode; what it learned is kept in the folder, and read from there the next time.
        """
        model = DPN(self.unary.unary, mrf, labels=self.labels)
        stages = {"triple_penalty": self.stage_2, "label_contexts": self.stage_3} if stages is None else stages

        def train_stages() -> None:
            torch.manual_seed(seed)
            for stage, recipe in stages.items():
                self._train(model, stage, recipe, seed, self._refined)

        self._once([asdict(mrf.config), {name: vars(recipe) for name, recipe in stages.items()}, seed], mrf, train_stages)
        mrf.label_contexts.potts_only = "label_contexts" not in stages
        return mrf.requires_grad_(True).eval()

    def tune(self, mrf: MRF, stage: str, *, seed: int = 0) -> DPN:
        """Stage 4 from an MRF that `fit` has trained, with copies of it and of the unary network: "joint" trains both, "unary"
        the latter alone.

        Returns:
            the network, in evaluation mode; what it learned is kept in the folder, and read from there the next time.
        """
        recipe = self.stage_4
        model = DPN(deepcopy(self.unary.unary), deepcopy(mrf), labels=self.labels, stage=stage)

        def train_stage() -> None:
            self._train(model, stage, recipe, seed, lambda network, sample, _: network(sample.image[None]))

        self._once([asdict(mrf.config), stage, vars(recipe), seed], model, train_stage)
        return model.requires_grad_(True).eval()

    def _once(self, described: object, module: nn.Module, train: Callable[[], None]) -> None:
        """Loads what the module has learned, by the description of how; trains it where that was not done before."""
        name = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        path = self.out / "fits" / f"{name}.pt"
        if not path.is_file():
            train()
            path.parent.mkdir(exist_ok=True)
            with written_whole(path) as temporary:
                torch.save(module.state_dict(), temporary)
        module.load_state_dict(torch.load(path, weights_only=True))

    def _refined(self, model: DPN, sample: Sample, scores: Tensor) -> Tensor:
        return model.mrf(self.log_p(scores, sample), sample.image[None])

    def _train(
        self, model: DPN, stage: str, recipe: StageRecipe, seed: int, output: Callable[[DPN, Sample, Tensor], Tensor]
    ) -> None:
        """One stage on the training images; `output` is log q (1,L,H,W) of one, given the cached scores too."""
        crop = recipe.crop
        images = self._outputs(f"trained_on_{crop}", self.training_images, crop) if crop else self.training
        weights = label_weights(self.training_images, len(self.labels), recipe.balance)
        penalty = float(model.mrf.label_contexts.penalty.detach())
        optimizer = torch.optim.AdamW(begin(model, stage, recipe))
        rates = [group["lr"] for group in optimizer.param_groups]
        draw = torch.Generator().manual_seed(mix(seed, STAGES.index(stage)))
        model.train().unary.eval()
        with progress_bar(self.console) as progress:
            for step in progress.track(range(recipe.steps), description=f"{stage}, seed {seed}"):
                for group, lr in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = lr * (1 - step / recipe.steps) ** 0.9
                if stage == "triple_penalty":
                    phase_in(model, penalty, done=(step + 1) / recipe.steps)
                optimizer.zero_grad()
                for i in torch.randint(len(images), (recipe.batch,), generator=draw).tolist():
                    sample, scores = images[i]
                    loss = softmax_loss(output(model, sample, scores), sample.labels[None], weights)
                    (loss / recipe.batch).backward()
                optimizer.step()

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
        return sample, self.log_p(scores, sample)

    def window(self) -> dict[str, int]:
        """The window of the network's b12 and its stride, for systems that are to see as far."""
        config = self.stages["joint"].mrf.config
        return {"window": config.window, "window_stride": config.window_stride}

    @property
    def palette(self) -> np.ndarray:
        """(256,3) uint8: the colours that the labels, and void, are drawn in."""
        palette = voc_palette()
        if self.setting.data == "camvid":
            palette[: len(self.labels)] = camvid_palette()
        return palette

    def log_p(self, scores: Tensor, sample: Sample) -> Tensor:
        """The unary's log p (1,L,H,W), from its scores of the sample."""
        height, width = sample.labels.shape
        with torch.no_grad():
            return self.unary.unary.finish(scores[None], (height, width))

    def _open(self, split: str) -> SegmentationData:
        if self.setting.data == "scenes":
            return scenes(split=split)
        return open_data(self.setting.data, root=self.setting.root, split=split)

    def _outputs(self, name: str, images: Subset[Sample], crop: int | None) -> Outputs:
        return unary_outputs(self.out / f"scores_{name}.pt", self.unary.unary, images, crop=crop, console=self.console)


def of_image(network: nn.Module) -> Refine:
    """A network that sees the image itself, beside those that refine the cached outputs of the unary."""
    return lambda log_p, image: network(image)
