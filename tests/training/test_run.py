"""A run: it can be stopped anywhere, explains itself, and says what is wrong with its recipe."""

import json
import multiprocessing
import os
import platform
import re
import resource
import shutil
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dpn import load
from dpn.cli import main
from dpn.data import scenes
from dpn.errors import InputError
from dpn.metrics import MeanIoU
from dpn.mrf import MRFConfig
from dpn.stopping import raised
from dpn.training import Recipe, train_recipe
from dpn.training.loop import Learner
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe, UnaryRecipe, as_plain
from dpn.training.run import run_recipe
from dpn.training.run_folder import RunFolder, unfinished
from dpn.training.sampler import Draws, readers_told
from dpn.unary import MobileNetV2

NET = """
from torch import nn

def net(labels):
    return nn.Conv2d(3, labels, 3, padding=1)

other = net
"""
TINY = {"batch": 2, "validate_every": 2, "optimizer": "adam", "lr": 0.01}


def tiny(**stages: StageRecipe) -> Recipe:
    return Recipe(
        data=DataRecipe(crop=33, val_images=2, workers=0),
        mrf=MRFConfig(components=2, window=5, context=3, context_dilation=4, context_stride=2, window_stride=2),
        stages=StagesRecipe(**{name: StageRecipe(steps=0) for name in vars(StagesRecipe())} | stages),
        checkpoint_every=2,
    )


@pytest.fixture
def small_data(monkeypatch):
    """Four scenes instead of the whole made-up set."""
    monkeypatch.setattr("dpn.training.run.open_data", lambda name, root, split, labels=None: scenes(4, size=48, split=split))


def test_a_run_that_was_killed_goes_on_to_the_same_end(tmp_path, small_data, monkeypatch):
    recipe = tiny(
        unary=StageRecipe(steps=3, **TINY),
        triple_penalty=StageRecipe(steps=2, **TINY),
        label_contexts=StageRecipe(steps=5, **TINY),
        joint=StageRecipe(steps=2, **TINY),
    )
    whole = train_recipe(recipe, tmp_path / "whole")
    log = RunFolder.log
    for stage, step in (("unary", 3), ("label_contexts", 3), ("joint", 1)):

        def killed(self, at_stage, at_step, *rest, stage=stage, step=step):
            log(self, at_stage, at_step, *rest)
            if (at_stage, at_step) == (stage, step):
                raise KeyboardInterrupt

        monkeypatch.setattr(RunFolder, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            train_recipe(recipe, tmp_path / "killed")
    monkeypatch.setattr(RunFolder, "log", log)
    resumed = train_recipe(recipe, tmp_path / "killed")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert (tmp_path / "killed" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


@pytest.mark.parametrize("file", ["config.yaml", "about.json"])
def test_a_run_that_was_killed_as_it_began_goes_on_and_says_how_it_was_made(tmp_path, small_data, monkeypatch, file):
    recipe, replace_file = tiny(unary=StageRecipe(steps=1, **TINY)), Path.replace

    def killed(self, target):
        if Path(target).name == file:
            (tmp_path / "killed" / ".lock").write_text(f"process {2**30} on {platform.node()}\n")
            temporary = self.rename(self.with_name(self.name.replace(str(os.getpid()), str(2**30))))
            raise KeyboardInterrupt(temporary)
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe, tmp_path / "killed")
    assert list((tmp_path / "killed").glob(f".{2**30}@*-{file}"))
    monkeypatch.setattr(Path, "replace", replace_file)
    train_recipe(recipe, tmp_path / "killed")
    assert {"config.yaml", "about.json", "model.safetensors"} <= {each.name for each in (tmp_path / "killed").iterdir()}
    assert not list((tmp_path / "killed").rglob(".*"))


def test_a_second_run_in_one_folder_is_refused_and_told_which_process_has_it(tmp_path, small_data):
    recipe = tiny(unary=StageRecipe(steps=1, **TINY))
    known = as_plain(replace(recipe, unary=replace(recipe.unary, network="mobilenet_v2")))
    first = RunFolder(tmp_path / "run", known)
    for of in (recipe, replace(recipe, seed=1)):
        with pytest.raises(InputError, match=f"run: another run is at work here \\(process {os.getpid()} on"):
            train_recipe(of, tmp_path / "run")
    first.close()
    train_recipe(recipe, tmp_path / "run")


def test_a_run_that_stops_by_itself_goes_on_to_the_same_end(tmp_path, small_data, capsys):
    recipe = tiny(
        unary=StageRecipe(steps=3, **TINY), triple_penalty=StageRecipe(steps=2, **TINY), joint=StageRecipe(steps=2, **TINY)
    )
    whole = train_recipe(recipe, tmp_path / "whole")
    run_recipe(recipe, out=tmp_path / "parts", seconds=0)
    told = "the time is over; left are unary from step 1 of 3, triple_penalty, joint; start it again"
    assert told in capsys.readouterr().out
    parts = 1
    while unfinished(tmp_path / "parts"):
        run_recipe(recipe, out=tmp_path / "parts", seconds=0)
        parts += 1
    assert parts == 7  # a step each
    resumed = load(tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert (tmp_path / "parts" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


@pytest.mark.parametrize(
    ("signals", "code", "said"),
    [([signal.SIGTERM] * 2, 143, "stopped by SIGTERM"), ([signal.SIGINT], 130, "stopped"), ([signal.SIGINT] * 2, 130, None)],
)
def test_a_signal_leaves_a_checkpoint_after_the_step_and_the_run_goes_on_to_the_same_end(
    tmp_path, small_data, monkeypatch, capsys, signals, code, said
):
    (tmp_path / "net.py").write_text(NET)
    net = UnaryRecipe(network=f"{tmp_path}/net.py:net")
    stages = {"unary": StageRecipe(steps=5, **TINY), "joint": StageRecipe(steps=1, **TINY)}
    recipe = replace(tiny(**stages), checkpoint_every=100, unary=net)
    whole, steps = train_recipe(recipe, tmp_path / "whole"), Learner.steps

    def terminated(self, *given, **named):
        for step in steps(self, *given, **named):
            if step.done == 3:
                for number in signals:  # a cluster sends SIGTERM to all processes, and the first of them to the others
                    os.kill(os.getpid(), number)
            yield step

    monkeypatch.setattr(Learner, "steps", terminated)
    with raised(), nullcontext() if said else pytest.raises(KeyboardInterrupt):
        assert run_recipe(recipe, out=tmp_path / "parts") == code
    told = f"parts: {said}, with a checkpoint; left are unary from step 3 of 5, joint; start it again to go on"
    assert (told in capsys.readouterr().out) == bool(said)
    monkeypatch.setattr(Learner, "steps", steps)
    assert run_recipe(recipe, out=tmp_path / "parts") == 0
    for name, value in load(tmp_path / "parts", unary=net.network).state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    assert (tmp_path / "parts" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


@pytest.mark.parametrize(
    ("image", "left"),
    [
        (3, "unary from step 1 of 3, joint"),
        (4, "unary from step 2 of 3, joint"),
        (5, "unary from step 2 of 3, joint"),
        (6, "joint"),
        (9, "joint from step 0 of 1"),
    ],
)
def test_a_signal_in_a_validation_stops_it_and_it_is_made_when_the_run_goes_on(
    tmp_path, small_data, monkeypatch, capsys, image, left
):
    """Of two images each, at the steps 0, 2 and 3, and 0 and 1; at the last image of one there is nothing to stop."""
    (tmp_path / "net.py").write_text(NET)
    net = UnaryRecipe(network=f"{tmp_path}/net.py:net")
    stages = {"unary": StageRecipe(steps=3, **TINY), "joint": StageRecipe(steps=1, **TINY)}
    recipe, update, measured = replace(tiny(**stages), checkpoint_every=100, unary=net), MeanIoU.update, []
    whole = train_recipe(recipe, tmp_path / "whole")

    def terminated(self, *given):
        update(self, *given)
        measured.append(given)
        if len(measured) == image:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MeanIoU, "update", terminated)
    with raised():
        assert run_recipe(recipe, out=tmp_path / "parts") == 143
    assert f"stopped by SIGTERM, with a checkpoint; left are {left};" in capsys.readouterr().out
    assert len(measured) == image
    monkeypatch.setattr(MeanIoU, "update", update)
    assert run_recipe(recipe, out=tmp_path / "parts") == 0
    ends = [torch.load(tmp_path / folder / "last.ckpt", weights_only=True) for folder in ("whole", "parts")]
    assert ends[0].keys() == ends[1].keys() and ends[0]["miou"] == ends[1]["miou"]
    for name, value in load(tmp_path / "parts", unary=net.network).state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    assert (tmp_path / "parts" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


def test_signals_to_workers_end_none_of_them():
    draws = Draws(range(8), lambda item, seed: (torch.tensor(item),), 0)
    batches = draws.batches(1, 0, 8, workers=1)
    found = [next(batches)]
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    assert len([*found, *batches]) == 8


def test_a_worker_that_the_system_ends_is_told_in_one_line():
    batches = Draws(range(64), lambda item, seed: (torch.tensor(item),), 0).batches(1, 0, 64, workers=1)
    told = r"^data\.workers: a process that reads images was ended \(.+\), as .*; lower data\.workers.*$"
    with pytest.raises(InputError, match=told), readers_told(1):
        next(batches)
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        list(batches)


def test_a_run_whose_images_are_on_the_device_is_the_same_run(tmp_path, small_data):
    recipe = tiny(unary=StageRecipe(steps=3, balance=0.5, **TINY), joint=StageRecipe(steps=1, **TINY))
    read = train_recipe(recipe, tmp_path / "read").state_dict()
    held = train_recipe(replace(recipe, data=replace(recipe.data, on_device=True)), tmp_path / "held").state_dict()
    assert all(torch.equal(value, held[name]) for name, value in read.items())
    assert (tmp_path / "held" / "log.csv").read_text() == (tmp_path / "read" / "log.csv").read_text()
    with pytest.raises(InputError, match=r"data.workers must be 0 where data.on_device is true, got 2"):
        train_recipe(replace(recipe, data=DataRecipe(on_device=True)), tmp_path / "refused")


def test_one_image_a_batch_is_refused_at_once_where_a_batchnorm_layer_cannot_learn_of_it(tmp_path, small_data):
    alone = StageRecipe(steps=1, batch=1)
    with pytest.raises(InputError, match=r"^stages.unary.batch is 1, but a BatchNorm layer of the unary needs two"):
        train_recipe(tiny(unary=alone), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "net.py").write_text(NET)
    unary = UnaryRecipe(network=f"{tmp_path}/net.py:net")
    train_recipe(replace(tiny(unary=alone), unary=unary), tmp_path / "run")


def test_what_the_networks_and_the_data_cannot_do_is_refused_before_the_folder_is_made(tmp_path, small_data):
    (tmp_path / "net.py").write_text("from torch.nn import Identity as net")
    learns, still = StageRecipe(steps=1, batch=2), replace(tiny(), unary=UnaryRecipe(network=f"{tmp_path}/net.py:net"))
    for recipe, message in (
        (
            tiny(joint=replace(learns, train_from="nose"), unary=learns),
            "stages.joint.train_from: the unary network has no part",
        ),
        (
            replace(still, stages=StagesRecipe(unary=learns)),
            "stages.unary.steps must be 0: this unary network has no parameters",
        ),
        (replace(tiny(), unary=UnaryRecipe(weights="")), "unary.weights: a file or URL is needed"),
        (replace(tiny(), unary=UnaryRecipe(width=5)), "unary.width: mobilenet_v2 has none to choose"),
        (replace(tiny(unary=learns), mrf=MRFConfig(frames=3)), "images of a batch are no clip"),
    ):
        with pytest.raises(InputError, match=f"^{message}"):
            train_recipe(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped in its second stage, with the recipe that goes on with it."""
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "net.py").write_text(NET)
    recipe = tiny(unary=StageRecipe(steps=1, **TINY), triple_penalty=StageRecipe(steps=4, **TINY))
    recipe = replace(recipe, unary=UnaryRecipe(network=f"{folder}/net.py:net"), checkpoint_every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpn.training.run.open_data", lambda name, root, split, labels=None: scenes(4, size=48, split=split))
        for _ in range(2):
            train_recipe(recipe, folder / "run", seconds=0)
    return folder / "run", recipe


DAMAGED = {
    "config.yaml": [b"", b"stages:", b"- 1", b"a: [", b"\xff\xfe", b"stages: {unary: {steps: x}}", b"a: &a [*a]", b"{" * 2000],
    "stages.json": [b"", b"[{", b"5", b"[5]", b"{}", b'[{"stage": "unary"}]', b'[{"a": 1}]', b"[" * 100_000, b"null"],
    "model.safetensors": [b"", b"\0" * 100],
}


@pytest.mark.parametrize(("name", "content"), [(name, content) for name, all_of in DAMAGED.items() for content in all_of])
def test_a_damaged_folder_is_told_in_one_line_that_names_the_file(tmp_path, small_data, stopped, name, content):
    folder, recipe = stopped
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(content)
    with pytest.raises(InputError) as told:
        train_recipe(recipe, tmp_path / "run")
    assert str(told.value).startswith(str(tmp_path / "run" / name)) and "\n" not in str(told.value)
    assert len(str(told.value)) < 500


def test_a_checkpoint_that_lacks_or_holds_something_else_is_told_in_one_line(tmp_path, small_data, stopped):
    folder, recipe = stopped
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "last.ckpt"
    whole = torch.load(path, weights_only=True)
    moments = whole["optimizer"]["state"] | {0: whole["optimizer"]["state"][0] | {"exp_avg": torch.zeros(3)}}
    for damaged, words in (
        ({}, "not a whole checkpoint (without stage, step, "),
        ([1], "not a whole checkpoint (without stage, step, "),
        ({key: value for key, value in whole.items() if key != "best"}, "not a whole checkpoint (without best)"),
        (whole | {"step": "2"}, "not a whole checkpoint (without step)"),
        (whole | {"due": [1.0]}, "not a whole checkpoint (without due)"),
        (whole | {"due": 1}, "not a whole checkpoint (without due)"),
        (whole | {"step": 5}, "not a checkpoint of this run (it is at step 5 of 4)"),
        (whole | {"best": {}}, "not a checkpoint of this run (weights: "),
        (whole | {"model": {"a": torch.zeros(1)}}, "not a checkpoint of this run (weights: "),
        (whole | {"optimizer": {"state": {}, "param_groups": []}}, "not a checkpoint of this run ("),
        (
            whole | {"optimizer": whole["optimizer"] | {"state": moments}},
            "not a checkpoint of this run (its optimizer has moved",
        ),
    ):
        torch.save(damaged, path)
        with pytest.raises(InputError, match=re.escape(f"{path}: {words}")):
            train_recipe(recipe, tmp_path / "run")
    path.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"not a whole checkpoint \(.*\): delete it to begin the stage anew$"):
        train_recipe(recipe, tmp_path / "run")
    path.unlink()
    assert train_recipe(recipe, tmp_path / "run").stage == "triple_penalty"


def test_a_model_that_is_gone_is_told_with_the_stages_that_it_held(tmp_path, small_data):
    recipe = tiny(unary=StageRecipe(steps=1, **TINY), joint=StageRecipe(steps=1, **TINY))
    train_recipe(recipe, tmp_path / "run", seconds=0)
    (tmp_path / "run" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: is gone, though unary ended; bring it back, or choose another"):
        train_recipe(recipe, tmp_path / "run")


def test_lines_of_a_log_that_were_cut_are_left_out(tmp_path, small_data, stopped):
    folder, recipe = stopped
    shutil.copytree(folder, tmp_path / "run")
    log = tmp_path / "run" / "log.csv"
    log.write_bytes(log.read_bytes() + b"triple_penalty,x,1,1,1\n\xff\0,,,,\ntriple_pen")
    train_recipe(recipe, tmp_path / "run")
    steps = [line.split(",")[:2] for line in log.read_text().splitlines()[1:]]
    assert steps == [["unary", "0"], ["unary", "1"], *(["triple_penalty", str(step)] for step in range(5))]


def test_a_full_disk_is_told_with_the_file_that_it_kept_from_being_written(tmp_path, small_data, stopped, monkeypatch):
    folder, recipe = stopped
    shutil.copytree(folder, tmp_path / "run")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = torch.save

    def into_a_small_disk(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            save(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(torch, "save", into_a_small_disk)
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    with pytest.raises(InputError, match=r"last\.ckpt: cannot be written \(File too large\); choose another place"):
        train_recipe(recipe, tmp_path / "run")
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*last*"))


def test_a_lost_run_is_told_and_keeps_no_lost_network(tmp_path, small_data):
    lost = StageRecipe(steps=40, batch=2, optimizer="sgd", lr=1e9, clip=1e30, validate_every=40)
    with pytest.raises(InputError, match=r"stage unary, step \d+: .* finite: lower stages.unary.lr, which .* 0.01 of it"):
        train_recipe(replace(tiny(unary=lost), checkpoint_every=1), tmp_path / "run")
    kept = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert kept["step"] < 40 and all(value.isfinite().all() for value in kept["model"].values())


def diverging(monkeypatch, *, above):
    """Has the fourth step of a stage lose the network at learning rates above this."""
    gradient = Learner._gradient

    def lost(self, step, losses):
        if step == 3 and self.stage.recipe.lr > above:
            raise self.diverged(step, "the loss is nan")
        return gradient(self, step, losses)

    monkeypatch.setattr(Learner, "_gradient", lost)


@pytest.mark.parametrize(("above", "times"), [(0.002, 1), (0.0002, 2)])
def test_a_diverging_stage_goes_on_at_lower_rates_also_when_it_was_killed_then(
    tmp_path, small_data, monkeypatch, capsys, above, times
):
    (tmp_path / "net.py").write_text(NET)
    stage = StageRecipe(steps=5, **TINY | {"validate_every": 5}, schedule="step")
    recipe = replace(tiny(unary=stage), unary=UnaryRecipe(network=f"{tmp_path}/net.py:net"))
    diverging(monkeypatch, above=above)
    whole = train_recipe(recipe, tmp_path / "whole")
    said = " ".join(capsys.readouterr().out.split())
    lost = "stage unary, step 3: the loss is nan; goes on from"
    assert f"{lost} its last checkpoint with 0.1 of the learning rates (1 of 2 times)" in said
    assert (f"{lost} its best model with 0.01 of the learning rates (2 of 2 times)" in said) == (times == 2)
    (row,) = json.loads((tmp_path / "whole" / "stages.json").read_text())
    assert row["backed_off"] == times
    log = [line.split(",") for line in (tmp_path / "whole" / "log.csv").read_text().splitlines()[1:]]
    assert [step for _, step, *_ in log] == list("012345")
    checkpoint = RunFolder.checkpoint
    for at in range(1, times + 1):

        def killed(self, at_stage, state, at=at):
            checkpoint(self, at_stage, state)
            if state.get("backed_off") == at:
                raise KeyboardInterrupt

        monkeypatch.setattr(RunFolder, "checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train_recipe(recipe, tmp_path / "killed")
    monkeypatch.setattr(RunFolder, "checkpoint", checkpoint)
    resumed = train_recipe(recipe, tmp_path / "killed")
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert (tmp_path / "killed" / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()


def test_a_stage_that_diverges_once_more_stops_with_a_line(tmp_path, small_data, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    recipe = replace(tiny(unary=StageRecipe(steps=5, **TINY)), unary=UnaryRecipe(network=f"{tmp_path}/net.py:net"))
    diverging(monkeypatch, above=0)
    told = "stage unary, step 3: the loss is nan: lower stages.unary.lr, which failed at 0.01 of it too"
    with pytest.raises(InputError, match=f"^{told}$"):
        train_recipe(recipe, tmp_path / "run")


def test_a_run_leaves_a_folder_that_explains_itself(tmp_path, small_data):
    recipe = tiny(
        unary=StageRecipe(steps=2, **TINY),
        triple_penalty=StageRecipe(steps=2, **TINY),
        label_contexts=StageRecipe(steps=2, **TINY),
    )
    train_recipe(recipe, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["mrf"]["window"] == 5
    about = json.loads((tmp_path / "run" / "about.json").read_text())
    assert about["seed"] == 0 and about["versions"]["torch"] == torch.__version__
    table = (tmp_path / "run" / "stages.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["unary", "triple_penalty", "label_contexts"]
    pictures = {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    assert {"curves.png", "compatibility.png"} < pictures and len(pictures) == 4
    assert any((tmp_path / "run" / "tensorboard").iterdir())
    assert load(tmp_path / "run", stage="triple_penalty").stage == "triple_penalty"


def test_the_best_model_is_kept_and_is_never_worse_than_the_beginning(tmp_path, small_data):
    ruinous = StageRecipe(steps=4, batch=2, optimizer="sgd", lr=50.0, clip=1e6, validate_every=1)
    train_recipe(tiny(unary=StageRecipe(steps=2, **TINY), triple_penalty=ruinous), tmp_path / "run")
    rows = json.loads((tmp_path / "run" / "stages.json").read_text())
    assert rows[1]["miou"] >= rows[1]["before"] == pytest.approx(rows[0]["miou"])


def test_a_folder_with_another_run_is_left_alone(tmp_path, small_data):
    train_recipe(tiny(unary=StageRecipe(steps=1, **TINY)), tmp_path / "run")
    with pytest.raises(InputError, match=r"another recipe \(stages.unary.steps differ\)"):
        train_recipe(tiny(unary=StageRecipe(steps=2, **TINY)), tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose")
    with pytest.raises(InputError, match="holds other files"):
        train_recipe(tiny(unary=StageRecipe(steps=1, **TINY)), tmp_path / "mine")


def test_a_run_of_an_earlier_version_goes_on(tmp_path, small_data):
    """Its config.yaml lacks what the MRF has come to have; that was at its default."""
    recipe = tiny(unary=StageRecipe(steps=1, **TINY))
    train_recipe(recipe, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    said = yaml.safe_load(config.read_text())
    for name in ("context_rank", "aligned", "absent_below"):
        del said["mrf"][name]
    config.write_text(yaml.safe_dump(said))
    assert train_recipe(recipe, tmp_path / "run").stage == "unary"
    with pytest.raises(InputError, match=r"another recipe \(mrf.absent_below differ\)"):
        train_recipe(replace(recipe, mrf=recipe.mrf.changed(absent_below=0.1)), tmp_path / "run")


def test_a_run_goes_on_where_its_files_have_moved_or_are_gone(tmp_path, small_data):
    """The network's file is elsewhere, the weights that it began with are nowhere."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(NET)
    torch.save(torch.nn.Conv2d(3, 10, 3).state_dict(), tmp_path / "a" / "begun.pth")
    recipe = tiny(unary=StageRecipe(steps=3, **TINY), triple_penalty=StageRecipe(steps=1, **TINY))
    first = replace(recipe, unary=UnaryRecipe(network=f"{tmp_path}/a/mine.py:net", weights=f"{tmp_path}/a/begun.pth"))
    whole = train_recipe(first, tmp_path / "whole")
    train_recipe(first, tmp_path / "run", seconds=0)
    (tmp_path / "a" / "begun.pth").unlink()
    with pytest.raises(InputError, match=r"begun\.pth: no such file"):
        train_recipe(first, tmp_path / "new")
    moved = replace(recipe, unary=UnaryRecipe(network=f"{tmp_path}/b/mine.py:net", weights="begun.pth"))
    for _ in range(4):
        resumed = train_recipe(moved, tmp_path / "run", seconds=0)
    assert not unfinished(tmp_path / "run") and resumed.stage == "triple_penalty"
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for other in (replace(moved.unary, weights="others.pth"), replace(moved.unary, network=f"{tmp_path}/b/mine.py:other")):
        with pytest.raises(InputError, match=r"another recipe \(unary.(weights|network) differ\)"):
            train_recipe(replace(moved, unary=other), tmp_path / "run")


def test_batchnorm_that_loaded_weights_froze_stays_so_without_them(tmp_path, small_data):
    torch.save(MobileNetV2(10).state_dict(), tmp_path / "begun.pth")
    recipe = tiny(unary=StageRecipe(steps=2, **TINY))
    recipe = replace(recipe, unary=UnaryRecipe(weights=f"{tmp_path}/begun.pth", layout="deeplab"))
    train_recipe(recipe, tmp_path / "run", seconds=0)
    (tmp_path / "begun.pth").unlink()
    assert train_recipe(recipe, tmp_path / "run").unary.freeze_batchnorm


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mrf: {windw: 50}", "windw"),
        ("mrf: {window: wide}", "mrf.window"),
        ("stages: {unary: {optimizer: lion}}", "optimizer"),
        ("mrf: [", "is no YAML"),
    ],
)
def test_a_wrong_recipe_is_named_in_one_line(tmp_path, capsys, text, words):
    config = tmp_path / "mine.yaml"
    config.write_text(text)
    assert main(["train", str(config), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert words in error and "mine.yaml" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
