"""Any DPN is trained by a call: another's network too, and its head alone on scores that are computed once."""

import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import save as to_bytes
from torch import nn
from torch.utils.data import Dataset

from dpn import DPN, MRF, load, storage, train
from dpn.cli import main
from dpn.data import Sample, SegmentationData, scenes
from dpn.errors import InputError
from dpn.plain import read_rows
from dpn.training import Recipe, head_recipe, read_recipe
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe
from dpn.training.run_folder import Outcome, RunFolder, unfinished
from dpn.unary import Wrap

DATA = scenes(4, size=48), scenes(2, size=48, split="val")
LABELS = DATA[0].labels
STEPS = StageRecipe(2, batch=2, optimizer="adam", lr=0.01, validate_every=1)
IMAGE = DATA[1][0].image[None]
QUIET = Console(quiet=True)
CONFIGS = Path(__file__).parents[2] / "configs"


class Net(nn.Module):
    """Someone's network; counts the images that it saw."""

    def __init__(self, labels: int = len(LABELS)) -> None:
        super().__init__()
        self.scores, self.seen = nn.Conv2d(3, labels, 3, stride=2, padding=1), 0

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen += len(image)
        return {"logits": self.scores(image)}


def network() -> DPN:
    torch.manual_seed(0)
    head = MRF(len(LABELS), components=2, window=5, context=3, penalty=2.0)
    return DPN(Wrap(Net(), len(LABELS)), head, labels=LABELS)


def of_clips() -> DPN:
    model = network()
    model.mrf.config = model.mrf.config.changed(frames=3)
    return model


def recipe(*, cache: bool = False, **stages: StageRecipe) -> Recipe:
    none = {name: StageRecipe() for name in vars(StagesRecipe())}
    data = DataRecipe(crop=33, workers=0, cache=cache, flip=False)
    return Recipe(data=data, stages=StagesRecipe(**none | stages), checkpoint_every=1)


def test_all_stages_of_another_s_network_are_trained_and_come_back(tmp_path: Path) -> None:
    model = network()
    begun = {key: value.clone() for key, value in model.state_dict().items()}
    found = train(model, DATA, recipe(**dict.fromkeys(vars(StagesRecipe()), STEPS)), out=tmp_path, console=QUIET)
    assert found is model and model.stage == "joint" and not model.training
    assert not torch.equal(begun["unary.module.scores.weight"], model.unary.module.scores.weight)
    image = DATA[1][0].image[None]
    assert torch.equal(load(tmp_path, unary=Net())(image), model(image))
    assert list(storage.states(tmp_path)) == list(vars(StagesRecipe()))
    assert (tmp_path / "pictures" / f"{DATA[1][0].name}.png").is_file() and not (tmp_path / "scores").exists()


def test_the_potts_strength_is_phased_in_to_the_model_s_own(tmp_path: Path) -> None:
    model = train(network(), DATA, recipe(triple_penalty=STEPS), out=tmp_path, console=QUIET)
    learned = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert learned["model"]["mrf.label_contexts.penalty"] == 2.0
    assert model.mrf.label_contexts.penalty.item() in (0.0, 1.0, 2.0)  # of the best validation


def test_a_head_on_cached_scores_is_the_head_on_images_that_are_only_cut(tmp_path: Path) -> None:
    stages = {"triple_penalty": replace(STEPS, crop=48), "label_contexts": replace(STEPS, crop=48)}
    plain = recipe(**stages)
    plain = replace(plain, data=replace(plain.data, scale=(1.0, 1.0), colour=0.0))
    on_images = train(network(), DATA, plain, out=tmp_path / "images", console=QUIET)
    model = network()
    on_scores = train(model, DATA, recipe(cache=True, **stages), out=tmp_path / "scores", console=QUIET)
    assert torch.equal(on_images.unary.module.scores.weight, on_scores.unary.module.scores.weight)
    for one, other in zip(on_images.mrf.parameters(), on_scores.mrf.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-4)  # scores are kept in half precision
    # six images once; the unary's stage measures two again, and three pictures are drawn of three stages
    assert model.unary.module.seen == 6 + 2 + 2 * 3


def test_a_crop_of_cached_scores_lies_where_the_image_does(tmp_path: Path) -> None:
    from dpn.data.dataset import spread
    from dpn.terminal import progress_bar
    from dpn.training.cached import Cached

    unary = Wrap(nn.Conv2d(3, 3, 1, bias=False), labels=3, activation="sigmoid")
    nn.init.dirac_(unary.module.weight)
    with progress_bar(QUIET) as progress:
        cached = Cached(spread(DATA[0], None), unary, tmp_path, progress)
    for seed in range(8):
        image, labels, log_p = cached.cut(0, seed, crop=60, flip=True)
        there = labels != 255
        assert there.sum() == 48 * 48 and image.shape == log_p.shape == (3, 60, 60)
        torch.testing.assert_close(log_p[:, there], nn.functional.logsigmoid(image[:, there]), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(log_p[:, ~there].exp(), torch.full_like(log_p[:, ~there], 1 / 3))


def test_a_run_goes_on_where_the_data_has_moved_and_the_machine_is_another(tmp_path: Path) -> None:
    first = recipe(triple_penalty=STEPS)
    train(network(), DATA, first, out=tmp_path, seconds=0, console=QUIET)
    moved = replace(first, data=replace(first.data, root=Path("elsewhere"), workers=1))
    assert train(network(), DATA, moved, out=tmp_path, console=QUIET).stage == "triple_penalty"
    with pytest.raises(InputError, match=r"another recipe \(seed differ\)"):
        train(network(), DATA, replace(first, seed=1), out=tmp_path, console=QUIET)


class Called(Dataset[Sample]):
    """Some of a data set's images, under other names of its labels."""

    def __init__(self, data: SegmentationData, labels: tuple[str, ...], images: int) -> None:
        self.data, self.labels, self.images = data, labels, images

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Sample:
        return self.data[index]


def test_a_run_does_not_go_on_with_labels_in_another_order_and_warns_of_other_images(tmp_path: Path) -> None:
    how, others = recipe(unary=STEPS), (*LABELS[1:], LABELS[0])
    train(network(), DATA, how, out=tmp_path, seconds=0, console=QUIET)
    turned = DPN(Wrap(Net(), len(LABELS)), MRF(len(LABELS), components=2, window=5, context=3, penalty=2.0), labels=others)
    told = f"holds a run of the labels {', '.join(LABELS)}, and the data have {', '.join(others)}: choose another --out"
    with pytest.raises(InputError, match=re.escape(told)):
        train(turned, (Called(DATA[0], others, 4), Called(DATA[1], others, 2)), how, out=tmp_path, console=QUIET)
    with pytest.warns(match="the run began with images 2 for validation, and now has 1 for validation: what it measured is"):
        train(network(), (DATA[0], Called(DATA[1], LABELS, 1)), how, out=tmp_path, console=QUIET)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    other = DPN(Wrap(Net(2), 2), MRF(2), labels=["no", "yes"])
    with pytest.raises(InputError, match="the model's labels are no, yes; those of the data are sky, water"):
        train(other, DATA, recipe(joint=STEPS), out=tmp_path / "run", console=QUIET)
    (tmp_path / "bad.yaml").write_text("data: {crops: 3}")
    with pytest.raises(InputError, match=r"bad\.yaml: .*crops"):
        train(network(), DATA, tmp_path / "bad.yaml", out=tmp_path / "run", console=QUIET)
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        train(network(), DATA, "nowhere.yaml", out=tmp_path / "run", console=QUIET)
    for model, data, message in (
        (network(), DATA[0], "data must be two data sets, .*, got a Scenes"),
        (network(), (*DATA, DATA[0]), "data must be two data sets, .*, got 3 of them"),
        (network(), (DATA[0], [1, 2]), "a data set needs the attribute labels, .*; a list has none"),
        (network(), (Named(DATA[0], ["a"]),) * 2, "the same images for training and validation"),
        (nn.DataParallel(network()), DATA, "only a dpn.DPN is trained, got a DataParallel: give the DPN inside"),
        (network().mrf, DATA, r"only a dpn.DPN is trained, got a MRF: DPN\(unary, mrf\) makes one"),
        (of_clips(), DATA, "images of a batch are no clip; train with frames=1, and set 3 afterwards"),
    ):
        with pytest.raises(InputError, match=message):
            train(model, data, recipe(joint=STEPS), out=tmp_path / "run", console=QUIET)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a recipe must be a .*Recipe or the file of one, got a dict"):
        train(network(), DATA, {"seed": 1}, out=tmp_path / "run", console=QUIET)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_the_recipe_of_the_head_is_the_file_s() -> None:
    ours, file = head_recipe(), read_recipe(CONFIGS / "head.yaml")
    assert ours.data == file.data and ours.checkpoint_every == file.checkpoint_every
    assert [(name, stage) for name, stage in ours.stages.planned() if stage.steps] == file.stages.planned()[1:]
    assert file.stages.unary.steps == 0


def test_the_command_trains_the_head_of_a_network_that_it_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\ndef net(labels):\n    return nn.Conv2d(3, labels, 3, padding=1)\n")
    name, out = f"{tmp_path}/mine.py:net", tmp_path / "run"
    words = ["train", str(CONFIGS / "head.yaml"), "--unary.network", name, "--data.train_images", "3", "--data.val_images", "2"]
    few = ["--stages.triple_penalty.steps", "1", "--stages.label_contexts.steps", "0", "--mrf.window", "5"]
    assert main([*words, *few, "--data.crop", "32", "--out", str(out)]) == 0
    assert yaml.safe_load((out / "config.yaml").read_text())["unary"]["network"] == name
    with pytest.raises(InputError, match=rf"give unary='{name}'"):
        load(out)
    assert load(out, unary=name).stage == "triple_penalty"


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device 'abacus' does not serve"):
        train(network(), DATA, recipe(triple_penalty=STEPS), out=tmp_path / "run", device="abacus", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_data_without_labels_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    void = scenes(2, size=48, split="val")
    void.label_map = lambda index: np.full((48, 48), 255, np.uint8)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="every image for validation is void everywhere"):
        train(network(), (DATA[0], void), recipe(triple_penalty=STEPS), out=tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("around", [torch.compile, nn.DataParallel])
def test_a_run_over_a_network_in_a_wrapper_goes_on(tmp_path: Path, around: Callable[[nn.Module], nn.Module]) -> None:
    how = recipe(triple_penalty=STEPS, joint=replace(STEPS, lr=0.0))
    whole = train(network(), DATA, how, out=tmp_path / "whole", console=QUIET)
    for inner in (nn.Identity(), *[around(nn.Identity())] * 6):  # begun on the network itself, gone on with in the wrapper
        model = network()
        if not isinstance(inner, nn.Identity):
            model.unary.module.scores = around(model.unary.module.scores)
        train(model, DATA, how, out=tmp_path / "run", seconds=0, console=QUIET)
    assert not unfinished(tmp_path / "run")
    for one, other in zip(whole.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


class Named(Dataset[Sample]):
    """Scenes whose names are of another's choosing."""

    def __init__(self, data: SegmentationData, names: list[str]) -> None:
        self.data, self.labels, self.names = data, data.labels, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self.data[index]._replace(name=self.names[index])


def test_an_image_of_any_name_has_a_picture_of_its_own(tmp_path: Path) -> None:
    data = DATA[0], Named(DATA[1], ["city/a0", "curves"])
    train(network(), data, recipe(joint=STEPS), out=tmp_path, console=QUIET)
    pictures = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert pictures == {"city_a0.png", "curves_2.png", "curves.png", "compatibility.png"}


def test_pictures_that_cannot_be_drawn_do_not_hide_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no typeface")

    for name in ("panels", "training_curves", "compatibility"):
        monkeypatch.setattr(f"dpn.training.run_folder.{name}", broken)
    model = train(network(), DATA, recipe(unary=STEPS, joint=STEPS), out=tmp_path, console=QUIET)
    assert model.stage == "joint" and torch.equal(load(tmp_path, unary=Net())(IMAGE), model(IMAGE))
    assert f"{tmp_path}/pictures/curves.png: not drawn, but the model is stored: no typeface" in capsys.readouterr().err
    monkeypatch.setattr(sys.modules["dpn.training.train"], "_labelled", broken)
    again = train(network(), DATA, recipe(unary=STEPS, joint=STEPS), out=tmp_path, console=QUIET)
    assert again.stage == "joint" and torch.equal(again(IMAGE), model(IMAGE))


def test_lines_in_a_pipe_are_whole(tmp_path: Path) -> None:
    told = io.StringIO()
    how = recipe(label_contexts=replace(STEPS, steps=60, validate_every=60))
    train(network(), DATA, replace(how, checkpoint_every=60), out=tmp_path, console=Console(file=told, width=40))
    lines = told.getvalue().splitlines()
    assert all(line.startswith(("unary", "label_contexts")) for line in lines) and max(map(len, lines)) > 40


def test_scores_of_other_images_are_not_taken(tmp_path: Path) -> None:
    how = recipe(cache=True, triple_penalty=STEPS)
    model = train(network(), DATA, how, out=tmp_path / "a", seconds=0, console=QUIET)
    assert model.stage == "unary" and (tmp_path / "a" / "stages.json").is_file()
    train(model, DATA, how, out=tmp_path / "a", seconds=0, console=QUIET)
    others = scenes(4, size=48, seed=9), scenes(2, size=48, split="val", seed=9)
    from_first = train(network(), others, how, out=tmp_path / "a", console=QUIET)
    alone = train(network(), others, how, out=tmp_path / "b", console=QUIET)
    log = [(tmp_path / each / "log.csv").read_text().splitlines()[-1].split(",")[-1] for each in "ab"]
    assert log[0] == log[1] and from_first.stage == alone.stage  # both are measured on the others' scores


def test_scores_that_were_damaged_are_computed_anew(tmp_path: Path) -> None:
    how = recipe(cache=True, triple_penalty=STEPS)
    whole = train(network(), DATA, how, out=tmp_path / "whole", console=QUIET)
    for _ in range(2):
        train(network(), DATA, how, out=tmp_path / "run", seconds=0, console=QUIET)
    files = sorted((tmp_path / "run" / "scores").rglob("*.safetensors"))
    content, other = files[0].read_bytes(), to_bytes({"scores": torch.zeros(3, 2, 2)})
    for file, damaged in zip(files, (b"", b"no file", content[:-9], other, content, b"\0" * 200), strict=True):
        file.write_bytes(damaged)
    resumed = train(network(), DATA, how, out=tmp_path / "run", console=QUIET)
    assert torch.equal(whole(IMAGE), resumed(IMAGE))


def test_a_refused_call_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = network()
    (tmp_path / "note.txt").write_text("mine")
    for how, out in (
        (recipe(triple_penalty=STEPS), tmp_path),
        (recipe(joint=replace(STEPS, train_from="no")), tmp_path / "new"),
    ):
        with pytest.raises(InputError, match=r"holds other files|has no part 'no'"):
            train(model, DATA, how, out=out, console=QUIET)
    assert model.stage == "joint" and model.mrf.label_contexts.penalty == 2.0
    assert all(parameter.requires_grad for parameter in model.parameters())


class Spoilt(Dataset[Sample]):
    """Scenes of which the second is not as the others."""

    labels = LABELS

    def __init__(self, data: SegmentationData, image: float | None = None, label: int | None = None) -> None:
        self.data, self.image, self.label = data, image, label

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        image, labels, name = self.data[index]
        if index == 1 and self.image is not None:
            image[0, 2, 3] = self.image
        if index == 1 and self.label is not None:
            labels[20, 20] = self.label
        return Sample(image, labels, name)


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize(
    ("spoilt", "split", "told"),
    [
        ({"image": torch.nan}, 0, "image {} has values that are NaN or infinite: mend it, or leave it out"),
        ({"image": torch.inf}, 1, "image {} has values that are NaN or infinite: mend it, or leave it out"),
        ({"label": -3}, 0, "image {} has the label -3; there are 0 to 9, and 255 for void"),
        ({"label": 77}, 1, "image {} has the label 77; there are 0 to 9, and 255 for void"),
    ],
)
def test_an_image_that_is_no_numbers_or_has_labels_that_there_are_not_is_named(
    tmp_path: Path, spoilt: dict[str, float], split: int, told: str, cache: bool
) -> None:
    data: list[Any] = list(DATA)
    data[split] = Spoilt(DATA[split], **spoilt)
    with pytest.raises(InputError, match=f"^{told.format(DATA[split][1].name)}$"):
        train(network(), tuple(data), recipe(triple_penalty=STEPS, cache=cache), out=tmp_path, console=QUIET)


class Turned(Dataset[Sample]):
    """Scenes, each of which is made into something else."""

    labels = LABELS

    def __init__(self, data: SegmentationData, turn: Callable[[Any, Any, Any], Any]) -> None:
        self.data, self.turn = data, turn

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.turn(*self.data[index])


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (lambda image, labels, name: (image, labels[:-1], name), r"image \w+ and its labels are \(3, 48, 48\) and \(47, 48\)"),
        (lambda image, labels, name: (image, labels[None], name), r"image \w+ and its labels are \(3, 48, 48\) and \(1, 48"),
        (lambda image, labels, name: (255 * image, labels, name), r"image \w+ has values of .* and RGB is in \[0,1\]"),
        (lambda image, labels, name: ((255 * image).byte(), labels, name), r"image \w+ is torch.uint8: give float in \[0,1\]"),
        (lambda image, labels, name: (image.numpy(), labels, name), r"image \w+: must be a tensor, got a ndarray"),
        (lambda image, labels, name: (image, labels.numpy(), name), r"labels of image \w+: must be a tensor, got a ndarray"),
        (lambda image, labels, name: (image, labels), r"a data set gives Sample\(image, labels, name\) .* got 2 parts"),
        (lambda image, labels, name: (image, labels + 90, name), r"image \w+ has the label 9\d; there are 0 to 9"),
    ],
)
def test_a_sample_that_is_not_as_it_should_be_is_named(
    tmp_path: Path, split: int, turn: Callable[[Any, Any, Any], Any], told: str
) -> None:
    data: list[Any] = list(DATA)
    data[split] = Turned(DATA[split], turn)
    with pytest.raises(InputError, match=f"^{told}"):
        train(network(), tuple(data), recipe(unary=STEPS), out=tmp_path, console=QUIET)


def test_numbers_of_other_widths_are_the_same_run(tmp_path: Path) -> None:
    def wide(image: torch.Tensor, labels: torch.Tensor, name: str) -> Any:
        return image.double(), labels.byte(), 7

    other = Turned(DATA[0], wide), Turned(DATA[1], wide)
    one = train(network(), DATA, recipe(unary=STEPS), out=tmp_path / "0", console=QUIET)
    two = train(network(), other, recipe(unary=STEPS), out=tmp_path / "1", console=QUIET)
    assert torch.equal(one(IMAGE), two(IMAGE)) and (tmp_path / "1" / "pictures" / "7.png").is_file()


def test_a_validation_image_that_the_network_gives_no_numbers_of_is_named(tmp_path: Path) -> None:
    def lost(net: nn.Module, given: tuple[torch.Tensor], gives: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"logits": gives["logits"] * (torch.nan if (given[0][:, 0, 2, 3] == 0.125).any() else 1.0)}

    model = network()
    model.unary.module.register_forward_hook(lost)
    told = f"before its first step: what the network gives for validation is not finite .images: {DATA[1][1].name}."
    with pytest.raises(InputError, match=told):
        train(model, (DATA[0], Spoilt(DATA[1], image=0.125)), recipe(unary=STEPS), out=tmp_path, console=QUIET)


@pytest.mark.parametrize("lost", [5, 6, 7, 8, 9])
def test_a_stage_under_the_head_backs_off_where_the_network_gives_no_numbers(tmp_path: Path, lost: int) -> None:
    """The head refuses them in its own words, in a step or in a validation."""
    calls = []

    def spoil(net: nn.Module, given: tuple[torch.Tensor], gives: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        calls.append(net)
        return {"logits": gives["logits"] * (torch.nan if len(calls) == lost else 1.0)}

    model = network()
    model.unary.module.register_forward_hook(spoil)
    train(model, DATA, recipe(joint=STEPS), out=tmp_path, console=QUIET)
    assert model.stage == "joint" and read_rows(tmp_path / "stages.json", Outcome)[-1].backed_off == 1


def test_a_stage_backs_off_where_a_width_leaves_what_the_head_can_compute(tmp_path: Path) -> None:
    model = network()
    model.mrf.triple_penalty.log_sigma_color.register_hook(lambda gradient: torch.full_like(gradient, 1e6))
    how = recipe(triple_penalty=replace(STEPS, optimizer="sgd", lr=100.0, steps=3))
    train(model, DATA, how, out=tmp_path, console=QUIET)
    assert read_rows(tmp_path / "stages.json", Outcome)[-1].backed_off >= 1


def test_scores_that_half_precision_cannot_hold_are_told_with_their_image(tmp_path: Path) -> None:
    model = network()
    torch.nn.init.constant_(model.unary.module.scores.bias, 1e5)
    told = f"image {DATA[0][0].name}: the unary's scores are NaN or beyond 65,504"
    with pytest.raises(InputError, match=told):
        train(model, DATA, recipe(triple_penalty=STEPS, cache=True), out=tmp_path, console=QUIET)


def test_weights_that_are_no_numbers_are_named_before_the_first_step(tmp_path: Path) -> None:
    model = network()
    torch.nn.init.constant_(model.unary.module.scores.bias, torch.nan)
    with pytest.raises(
        InputError, match=r"^stage unary, before its first step: unary\.module\.scores\.bias is not finite: look at"
    ):
        train(model, DATA, recipe(unary=STEPS), out=tmp_path, console=QUIET)


class Odd(Net):
    """Someone's network, with something in it that few have."""

    def __init__(self, make: Callable[[nn.Module], None]) -> None:
        super().__init__()
        make(self)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": getattr(self, "more", nn.Identity())(super().forward(image)["logits"])}


def tied(net: nn.Module) -> None:
    net.more, net.again = nn.Conv2d(len(LABELS), len(LABELS), 1), nn.Conv2d(len(LABELS), len(LABELS), 1)
    net.again.weight, net.other = net.more.weight, net.more


def masked(net: nn.Module) -> None:
    net.register_buffer("mask", torch.tensor([0.0, -torch.inf]))


@pytest.mark.parametrize("make", [tied, masked], ids=["layers share weights", "a mask is infinite"])
def test_a_network_with_something_of_its_own_is_trained_and_comes_back(
    tmp_path: Path, make: Callable[[nn.Module], None]
) -> None:
    unary = Wrap(Odd(make), len(LABELS))
    model = DPN(unary, MRF(len(LABELS), components=2, window=5, context=3), labels=LABELS)
    train(model, DATA, recipe(unary=STEPS, joint=STEPS), out=tmp_path, console=QUIET)
    assert torch.equal(load(tmp_path, unary=Odd(make))(IMAGE), model(IMAGE))
    assert train(model, DATA, recipe(unary=STEPS, joint=STEPS), out=tmp_path, console=QUIET).stage == "joint"


class Few(Dataset[Sample]):
    """Scenes with three labels, as many as an image has colours."""

    labels = LABELS[:3]

    def __init__(self, data: SegmentationData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        image, labels, name = self.data[index]
        return Sample(image, labels.clamp(max=2), name)


@pytest.mark.parametrize("cache", [False, True])
def test_the_head_is_trained_over_a_network_without_parameters(tmp_path: Path, cache: bool) -> None:
    model = DPN(Wrap(nn.Identity(), 3), MRF(3, window=5, context=3), labels=LABELS[:3])
    how = recipe(cache=cache, triple_penalty=STEPS, joint=STEPS)
    assert train(model, (Few(DATA[0]), Few(DATA[1])), how, out=tmp_path, console=QUIET).stage == "joint"


class Extra(Net):
    """Someone's network, with a state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


def spread_out(net: nn.Module) -> None:
    net.register_buffer("mean", torch.zeros(1).expand(3))


def lazy(net: nn.Module) -> None:
    net.more = nn.LazyConv2d(len(LABELS), 1)


@pytest.mark.parametrize(
    ("net", "told"),
    [
        (Extra(), r"unary\.module\._extra_state is a dict, which no checkpoint holds"),
        (Odd(spread_out), r"unary\.module\.mean has values that share one place in memory"),
        (Odd(lazy), r"unary\.module\.more\.weight has no shape yet: let the network see an image"),
    ],
)
def test_a_network_that_no_checkpoint_could_hold_is_refused_before_anything_is_written(
    tmp_path: Path, net: nn.Module, told: str
) -> None:
    model = DPN(Wrap(net, len(LABELS)), MRF(len(LABELS), window=5, context=3), labels=LABELS)
    with pytest.raises(InputError, match=f"^{told}"):
        train(model, DATA, recipe(unary=STEPS), out=tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (lambda model: model.half(), r"mrf\.\w+\.\w+ is torch.float16: train in float32, as model.float\(\) makes it"),
        (lambda model: model.to("meta"), r"unary\.module\.scores\.weight was made on no device, and cannot learn"),
    ],
)
def test_a_model_that_cannot_learn_as_it_is_is_refused(tmp_path: Path, turn: Callable[[DPN], DPN], told: str) -> None:
    with pytest.raises(InputError, match=f"^{told}"):
        train(turn(network()), DATA, recipe(unary=STEPS), out=tmp_path / "run", console=QUIET)
    with torch.inference_mode():
        made = network()
    with pytest.raises(InputError, match=r"was made under torch.inference_mode, and cannot learn: make the network"):
        train(made, DATA, recipe(unary=STEPS), out=tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_rare_label_s_weight_is_a_number_at_the_greatest_balance(tmp_path: Path) -> None:
    how = recipe(unary=replace(STEPS, balance=5.0))
    train(network(), DATA, how, out=tmp_path / "run", console=QUIET)
    assert '"backed_off": 0' in (tmp_path / "run" / "stages.json").read_text()
    with pytest.raises(InputError, match=r"stages\.unary\.balance must be at most 5, got 6"):
        train(network(), DATA, recipe(unary=replace(STEPS, balance=6.0)), out=tmp_path / "more", console=QUIET)


def test_a_network_that_gives_no_gradients_is_told(tmp_path: Path) -> None:
    model = network()
    model.unary.module.register_forward_hook(lambda net, given, gives: {"logits": gives["logits"].detach()})
    with pytest.raises(InputError, match=r"^stage unary: the network gives scores without gradients, so that nothing is learn"):
        train(model, DATA, recipe(unary=STEPS), out=tmp_path, console=QUIET)


def test_a_stage_that_was_stored_but_not_recorded_ends_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = recipe(triple_penalty=STEPS, label_contexts=STEPS)
    whole = train(network(), DATA, how, out=tmp_path / "whole", console=QUIET)
    ended = RunFolder.ended

    def killed(self: RunFolder, outcome: Outcome) -> None:
        if outcome.stage == "triple_penalty":
            raise KeyboardInterrupt
        ended(self, outcome)

    monkeypatch.setattr(RunFolder, "ended", killed)
    with pytest.raises(KeyboardInterrupt):
        train(network(), DATA, how, out=tmp_path / "run", console=QUIET)
    monkeypatch.setattr(RunFolder, "ended", ended)
    again = train(network(), DATA, how, out=tmp_path / "run", console=QUIET)
    assert not unfinished(tmp_path / "run")
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))
