"""Figs. 8 and 9: results beside FCN and DeepLab."""

from dataclasses import replace
from typing import Literal

from torch import nn

from dpn.experiments.compare import COLUMNS, compared, pictures
from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Refine, Study, of_image
from dpn.model import TITLES
from dpn.mrf import deeplab
from dpn.storage import load
from dpn.training import train_recipe
from dpn.training.recipe import StageRecipe, UnaryRecipe

IMAGES = 4
WIDTH = 256  # channels of fc6 and fc7 where they are trained here
PAPER = {"FCN": 62.2, "DeepLab": 71.6, "DPN": 74.1}


@experiment("fig8", help="beside FCN and DeepLab")
def run(study: Study) -> Result:
    """Puts DPN beside FCN-8s and DeepLab-LargeFOV with its CRF.

    On the scenes both are trained here. On real data their runs are read from the folders `fcn` and `deeplab_large_fov` beside
    the results, where `dpn train RECIPE --unary.network fcn --out ...` has put them; without those, DeepLab's CRF over our
    unary stands in for DeepLab, and FCN is left out.
    """
    fcn, large_fov = _neighbour(study, "fcn"), _neighbour(study, "deeplab_large_fov")
    crf = deeplab(len(study.labels), **study.window()).eval()
    systems: dict[str, Refine | None] = {"unary of DPN": None}
    if fcn:
        systems["FCN"] = of_image(fcn)
    if large_fov:
        systems["DeepLab"] = lambda log_p, image: crf(large_fov(image), image)
    else:
        systems["DeepLab's CRF over the unary of DPN"] = crf
    predictions = study.predict(systems) | {"DPN": study.predictions[TITLES["joint"]]}
    return Result(
        "Figs. 8 and 9: beside FCN and DeepLab",
        f"FCN-8s and DeepLab-LargeFOV (fc6 and fc7 of {WIDTH} channels) with DeepLab's CRF; the pictures are of images spread "
        "over the data.",
        COLUMNS,
        compared(study.score(predictions), PAPER),
        pictures(study, predictions, IMAGES),
        remark="The paper's figures are on VOC12 test, from VGG16's ImageNet weights. On the scenes "
        "all three begin at random. FCN sees stride 8 and two finer layers there, DPN's unary stride 16, which misses thin "
        "parts; DeepLab-LargeFOV, without batch normalisation, has hardly begun to learn them.",
    )


def _neighbour(study: Study, network: Literal["fcn", "deeplab_large_fov"]) -> nn.Module | None:
    folder = study.out / network
    if study.scale.model is None:
        steps = study.recipe.stages.unary.steps // (2 if study.scale.quick else 1)
        stage = StageRecipe(steps, batch=4, optimizer="adam", lr=1e-4, validate_every=steps, crop=96)
        recipe = replace(study.recipe_of(unary=stage), unary=UnaryRecipe(network=network, width=WIDTH))
        train_recipe(recipe, folder, console=study.console)
    if not (folder / "model.safetensors").is_file():
        return None
    return load(folder, stage="unary").eval()
