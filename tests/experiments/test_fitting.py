"""MRFs trained over cached outputs: by the whole recipe, in the loop that trains networks."""

import math

import pytest
import torch
from rich.console import Console
from torch.utils.data import Subset

from dpn import DPN, MRF, load
from dpn.data import SCENE_LABELS, scenes
from dpn.experiments import Scale
from dpn.experiments.fitting import fit, stage_2, stage_3, stage_4
from dpn.experiments.study import Study
from dpn.model import STAGES
from dpn.mrf import MRFConfig
from dpn.storage import save
from dpn.training import Recipe, train_recipe
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe
from dpn.unary import MobileNetV2

CONFIG = MRFConfig(components=1, window=5, context=3)
SIZE = 48


def study(folder, model, **scale):
    return Study(
        folder, Scale.fast(model=str(model), images=1, train_images=3, crop=SIZE, **scale), console=Console(quiet=True)
    )


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """All four stages, untrained, in a file."""
    torch.manual_seed(0)
    model = DPN(MobileNetV2(labels=10), MRF(10, CONFIG), labels=SCENE_LABELS)
    path = tmp_path_factory.mktemp("network") / "model.safetensors"
    save(model, path, earlier={stage: model.state_dict() for stage in STAGES[:-1]})
    return path


@pytest.fixture
def fitted(tmp_path, network):
    """recipe of stage 3 -> how far its parameters moved, (10,1,10,3,3)."""
    fresh = study(tmp_path, network)

    def moved(**recipe):
        mrf = MRF(10, CONFIG)
        return fit(fresh, mrf, {"label_contexts": StageRecipe(batch=1, **recipe)}).label_contexts.deviation.detach()

    return moved


def test_clipping_bounds_a_step(fitted):
    """One step of SGD is the learning rate times the gradient."""
    whole = fitted(steps=1, optimizer="sgd", lr=1.0, clip=math.inf).norm()
    clipped = fitted(steps=1, optimizer="sgd", lr=1.0, clip=float(whole) / 4).norm()
    torch.testing.assert_close(clipped, whole / 4, rtol=1e-4, atol=0)


def test_the_optimizer_is_the_recipe_s(fitted):
    """Adam's first step is as large as the learning rate wherever there is a gradient; SGD's is not."""
    adam, sgd = (fitted(steps=1, optimizer=name, lr=0.01) for name in ("adam", "sgd"))
    assert adam.abs().max() == pytest.approx(0.01, rel=1e-3)
    assert sgd.abs().max() < 0.005


def test_the_schedule_is_the_recipe_s(fitted):
    """Where the gradient hardly changes, Adam moves by the sum of the learning rates."""
    step, poly = (fitted(steps=3, optimizer="adam", lr=1e-3, schedule=name).abs().max() for name in ("step", "poly"))
    assert step == pytest.approx(1.11e-3, rel=0.02)
    assert poly == pytest.approx(1e-3 * sum((1 - t / 3) ** 0.9 for t in range(3)), rel=0.02)


@pytest.mark.parametrize("augmentation", [{"colour": 0.5}, {"scale": (0.5, 2.0)}, {}], ids=["colour", "scale", "neither"])
def test_the_unary_runs_on_images_that_are_augmented(tmp_path, network, monkeypatch, augmentation):
    fresh, seen, scores = study(tmp_path, network), [], MobileNetV2.scores

    def watched(self, image):
        seen.append(image)
        return scores(self, image)

    monkeypatch.setattr(MobileNetV2, "scores", watched)
    fit(fresh, MRF(10, CONFIG), {"label_contexts": StageRecipe(2, batch=4, optimizer="adam", crop=32, **augmentation)})
    assert len(seen) == (8 if augmentation else 3)  # each draw, or each image once
    assert {image.shape for image in seen} == {(1, 3, 32, 32)}
    assert len({image.sum().item() for image in seen}) == len(seen)


@pytest.mark.parametrize(
    ("stage", "penalty", "recipe"),
    [
        ("triple_penalty", CONFIG.penalty, StageRecipe(3, batch=1, optimizer="adam", lr=0.1, schedule="step", clip=0.01)),
        ("label_contexts", 0.0, StageRecipe(4, batch=1, lr=0.5, clip=0.1, weight_decay=0.1, balance=0.5)),
    ],
)
def test_a_run_and_an_experiment_take_the_same_steps(tmp_path, monkeypatch, stage, penalty, recipe):
    """From the same network, one image and the same recipe, to the same parameters."""
    image = scenes(1, size=SIZE)
    monkeypatch.setattr("dpn.training.run.open_data", lambda name, root, split, labels=None: scenes(1, size=SIZE, split=split))
    stages = {name: StageRecipe(steps=0) for name in STAGES} | {
        "unary": StageRecipe(1, batch=2, optimizer="adam"),
        stage: recipe,
    }
    as_it_is = DataRecipe(crop=SIZE, scale=(1.0, 1.0), flip=False, colour=0.0, workers=0)
    run = tmp_path / "run"
    train_recipe(Recipe(mrf=CONFIG, data=as_it_is, stages=StagesRecipe(**stages)), run, console=Console(quiet=True))
    last = torch.load(run / "last.ckpt", weights_only=True)["model"]

    fresh = study(tmp_path / "study", run)
    fresh.stages, fresh.images = {"unary": load(run, stage="unary")}, Subset(image, [0])
    fresh.training_images = fresh.images
    mrf = MRF(10, CONFIG, penalty=penalty)
    began = {name: value.clone() for name, value in mrf.state_dict().items()}
    for name, value in fit(fresh, mrf, {stage: recipe}).state_dict().items():
        torch.testing.assert_close(value, last[f"mrf.{name}"], rtol=1e-5, atol=1e-6, msg=name)
    assert any(not torch.equal(value, began[name]) for name, value in mrf.state_dict().items())


def test_the_experiments_recipes_say_all_that_they_do(tmp_path, network):
    fresh = study(tmp_path, network, steps=(2, 3))
    recipes = stage_2(fresh.scale), stage_3(fresh.scale), stage_4(fresh)
    assert [recipe.steps for recipe in recipes] == [2, 3, 3]
    assert {(recipe.optimizer, recipe.schedule, recipe.clip) for recipe in recipes} == {("adam", "poly", math.inf)}
    assert recipes[2].train_from == "features.16"
