"""Two processes train as one does at the same batch, and a run goes on with another number of them."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as mp
import yaml
from torch import nn

from dpn import storage
from dpn.cli import main
from dpn.errors import InputError
from dpn.mrf import MRFConfig
from dpn.processes import Group, _free_port, _told, require_started, started
from dpn.together import OnCPU, fabric_on, synchronised
from dpn.training import Recipe, train_recipe
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe, UnaryRecipe, as_plain
from dpn.training.sampler import Draws

NET = """
import os
import signal
import time

from torch import nn

from dpn.unary import Wrap


class Net(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, labels, 1))
        self.unused = nn.Linear(2, 2)
        self.seen = 0

    def forward(self, image):
        self.seen += self.training
        if os.environ.get("DIES") == f"{os.environ.get('RANK')}:{self.seen}":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("TERMINATES") == f"{os.environ.get('RANK')}:{self.seen}":
            os.kill(os.getppid(), getattr(signal, os.environ.get("BY", "SIGTERM")))
            time.sleep(1)
        time.sleep(float(os.environ.get("SLOW", 0)))
        broken = os.environ.get("BREAKS", "none") == os.environ.get("RANK") and self.training and self.seen in (3, 4)
        return self.layers(image) * (float("nan") if broken else 1.0)


def net(labels):
    unary = Wrap(Net(labels), labels)
    unary.freeze_batchnorm = False
    return unary
"""
OTHERS = ("triple_penalty", "label_contexts", "joint")
STEPS = StageRecipe(3, batch=4, optimizer="adam", lr=0.01, validate_every=2)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "net.py").write_text(NET)
    return Recipe(
        unary=UnaryRecipe(network=f"{tmp_path}/net.py:net"),
        mrf=MRFConfig(components=2, window=5, context=3),
        data=DataRecipe(crop=33, train_images=6, val_images=3, workers=0, cache=True),
        stages=StagesRecipe(
            unary=replace(STEPS, optimizer="sgd", weight_decay=0.1),
            triple_penalty=replace(STEPS, batch=3),
            label_contexts=STEPS,
            joint=replace(STEPS, batch=2, accumulate=2, balance=0.5),
        ),
        checkpoint_every=1,
    )


def command(recipe: Recipe, out: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`dpn train` in processes of its own."""
    file = out.parent / f"{out.name}.yaml"
    file.write_text(yaml.safe_dump(as_plain(recipe)))
    call = [sys.executable, "-m", "dpn", "train", str(file), "--out", str(out), "--device", "cpu", *words]
    return subprocess.run(call, env=os.environ | environment, capture_output=True, text=True, timeout=600)


def curve(out: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Loss and mIoU by stage and step, -1 where there is none."""
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(row["stage"], row["step"]): (float(row["loss"] or -1), float(row["miou"] or -1)) for row in rows}


def require_equal(one: Path, other: Path) -> None:
    assert curve(one).keys() == curve(other).keys()
    for at, values in curve(one).items():
        (loss, miou), (other_loss, other_miou) = values, curve(other)[at]
        assert other_loss == pytest.approx(loss, abs=1e-5), at
        assert other_miou == pytest.approx(miou, abs=1e-3), at  # a pixel between two labels may take the other one
    ours, theirs = storage.states(one), storage.states(other)
    for stage, state in ours.items():
        for name, value in state.items():
            torch.testing.assert_close(theirs[stage][name], value, rtol=1e-4, atol=1e-5, msg=f"{stage}: {name}")


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path, recipe: Recipe) -> None:
    train_recipe(recipe, tmp_path / "one", device="cpu")
    done = command(recipe, tmp_path / "two", "--devices", "2")
    assert done.returncode == 0, done.stderr
    require_equal(tmp_path / "one", tmp_path / "two")
    assert sum("joint: mIoU" in line for line in done.stdout.splitlines()) == 1  # one of them speaks
    assert done.stdout.splitlines()[-1].startswith(f"{tmp_path}/two: model.safetensors")
    assert done.stderr == ""


@pytest.mark.slow
def test_a_process_that_is_killed_stops_the_run_which_goes_on_with_any_number(tmp_path: Path, recipe: Recipe) -> None:
    stages = replace(recipe.stages, triple_penalty=StageRecipe(), label_contexts=StageRecipe(), joint=replace(STEPS, steps=2))
    recipe = replace(recipe, stages=replace(stages, unary=replace(stages.unary, steps=5)))
    train_recipe(recipe, tmp_path / "whole", device="cpu")
    train_recipe(recipe, tmp_path / "run", device="cpu", seconds=0)
    assert curve(tmp_path / "run").keys() == {("unary", "0"), ("unary", "1")}
    done = command(recipe, tmp_path / "run", "--devices", "2", DIES="1:3")  # in the fourth step of the stage
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("dpn: process 1 of 2 was ended by SIGKILL, so the others were stopped too; start it again")
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["step"] == 3
    train_recipe(recipe, tmp_path / "run", device="cpu")
    require_equal(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("validate_every", [9, 1])
def test_sigterm_stops_all_processes_after_one_step_with_a_checkpoint(
    tmp_path: Path, recipe: Recipe, validate_every: int
) -> None:
    stages = StagesRecipe(unary=replace(STEPS, steps=9, validate_every=validate_every), **dict.fromkeys(OTHERS, StageRecipe()))
    recipe = replace(recipe, stages=stages, checkpoint_every=9)
    done = command(recipe, tmp_path / "run", "--devices", "2", TERMINATES="1:3")
    assert done.returncode == 143 and done.stderr == ""
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    told = state["step"] - ("due" in state)
    assert 3 <= state["step"] < 9 and ("due" in state) == (validate_every == 1)
    assert f"stopped by SIGTERM, with a checkpoint; left are unary from step {told} of 9" in done.stdout
    train_recipe(recipe, tmp_path / "run", device="cpu")
    assert [step for _, step in curve(tmp_path / "run")] == [str(step) for step in range(10)]


@pytest.mark.slow
def test_ctrl_c_that_reaches_the_first_process_alone_stops_all_of_them_before_it_ends(tmp_path: Path, recipe: Recipe) -> None:
    stages = StagesRecipe(unary=replace(STEPS, steps=60, validate_every=60), **dict.fromkeys(OTHERS, StageRecipe()))
    recipe = replace(recipe, stages=stages)
    done = command(recipe, tmp_path / "run", "--devices", "2", TERMINATES="1:3", BY="SIGINT", SLOW="0.2")
    assert done.returncode == 130 and done.stderr == ""
    assert not (tmp_path / "run" / ".lock").exists() and (tmp_path / "run" / "last.ckpt").is_file()
    assert ", with a checkpoint; left are unary from step " in done.stdout


@pytest.mark.slow
def test_all_processes_back_off_where_one_diverges_and_say_once_where(tmp_path: Path, recipe: Recipe) -> None:
    stages = StagesRecipe(unary=replace(STEPS, validate_every=9), **dict.fromkeys(OTHERS, StageRecipe()))
    recipe = replace(recipe, stages=stages, checkpoint_every=1)
    done = command(recipe, tmp_path / "run", "--devices", "2", BREAKS="1")
    assert (done.returncode, done.stderr) == (0, "")
    said = " ".join(done.stdout.split())
    where = (
        "stage unary, step 2: the loss is nan: layer unary.module gives what is not finite; goes on from its last checkpoint"
    )
    assert said.count(where) == 1 and "unary: goes on from step 2 of 3" in said
    assert json.loads((tmp_path / "run" / "stages.json").read_text())[0]["backed_off"] == 1


def test_gradients_of_several_batches_are_those_of_one(tmp_path: Path, recipe: Recipe) -> None:
    recipe = replace(recipe, stages=StagesRecipe(**dict.fromkeys(vars(StagesRecipe()), replace(STEPS, balance=0.5))))
    (tmp_path / "net.py").write_text(NET.replace("freeze_batchnorm = False", "freeze_batchnorm = True"))
    train_recipe(recipe, tmp_path / "one", device="cpu")
    parts = StagesRecipe(**{name: replace(stage, batch=1, accumulate=4) for name, stage in vars(recipe.stages).items()})
    train_recipe(replace(recipe, stages=parts), tmp_path / "parts", device="cpu")
    require_equal(tmp_path / "one", tmp_path / "parts")


def test_a_stage_of_a_billion_steps_begins_at_once():
    draws = Draws(range(7), lambda item, seed: (torch.tensor([item, seed]),), seed=0)
    assert next(draws.batches(5, 0, 1_000_000_000, 0))[0].shape == (5, 2)


def test_the_parts_of_a_batch_are_the_batch() -> None:
    draws = Draws(range(7), lambda item, seed: (torch.tensor([item, seed]),), seed=0)
    for size in (2, 3):
        parts = [list(draws.batches(5, 2, 4, 0, Group(rank, size))) for rank in range(size)]
        for whole, *given in zip(draws.batches(5, 2, 4, 0), *parts, strict=True):
            assert torch.equal(torch.cat([part for (part,) in given]), whole[0])


def normalised(rank: int, port: int, folder: str) -> None:
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "GROUP_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
    fabric_on(torch.device("cpu"))
    given = torch.load(f"{folder}/given.pt")
    layer, maps = nn.BatchNorm2d(3), given["maps"][[slice(0, 3), slice(3, 5)][rank]].requires_grad_()
    layer.__class__ = OnCPU
    layer.load_state_dict(given["layer"])
    for _ in range(2):
        found = layer(maps)
        (found * given["slope"][[slice(0, 3), slice(3, 5)][rank]]).sum().backward()
    torch.save({"found": found, "maps": maps.grad, "state": layer.state_dict()}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_batch_normalisation_sees_the_batch_of_all_processes(tmp_path: Path) -> None:
    layer, maps, slope = nn.BatchNorm2d(3), 5 + 2 * torch.randn(5, 3, 4, 6), torch.randn(5, 3, 4, 6)
    nn.init.normal_(layer.weight)
    torch.save({"maps": maps, "slope": slope, "layer": layer.state_dict()}, tmp_path / "given.pt")
    mp.spawn(normalised, (_free_port(), str(tmp_path)), nprocs=2)
    maps.requires_grad_()
    for _ in range(2):
        expected = layer(maps)
        (expected * slope).sum().backward()
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(torch.cat([part["found"] for part in parts]), expected)
    torch.testing.assert_close(torch.cat([part["maps"] for part in parts]), maps.grad)
    for part in parts:
        torch.testing.assert_close(part["state"], layer.state_dict())


def test_what_started_the_processes_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started() == (0, 1, 1)
    for name, value in {"STEP_NUM_TASKS": 8, "STEP_NUM_NODES": 2, "PROCID": 5}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert started() == (5, 8, 2)
    require_started(4, 2)
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "RANK": 1, "WORLD_SIZE": 6, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    assert started() == (1, 6, 3)
    with pytest.raises(InputError, match="--devices 2 --nodes 2: there are 6 processes on 3 machines; leave both out"):
        require_started(2, 2)


@pytest.mark.parametrize(
    ("codes", "ended", "told", "exit_code"),
    [
        ((3, 2), [], "process 1 met this", 2),
        ((2, 2), [], "", 2),
        ((-15, 1), [0], "process 1 met this", 1),
        ((3, -11), [], "process 1 of 2 was ended by SIGSEGV, so the others", 2),
        ((3, 3), [], "the processes have lost each other", 2),
    ],
)
def test_what_went_wrong_is_told_once(
    tmp_path: Path,
    codes: tuple[int, int],
    ended: list[int],
    told: str,
    exit_code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [tmp_path / "0", tmp_path / "1"]
    files[1].write_text("process 1 met this\n")
    there = [SimpleNamespace(returncode=code) for code in codes]
    assert _told(there, ended, files) == exit_code  # type: ignore[arg-type]
    found = capsys.readouterr().err
    assert (told in found) if told else found == ""
    assert found.count("\n") <= 1


def test_a_layer_is_as_before_once_it_was_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpn.together.connected", lambda: True)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.SyncBatchNorm(4))
    before = [set(vars(layer)) for layer in network]
    with synchronised(network):
        assert type(network[1]) is OnCPU
    assert [type(layer) for layer in network] == [nn.Conv2d, nn.BatchNorm2d, nn.SyncBatchNorm]
    assert [set(vars(layer)) for layer in network] == before


def test_what_cannot_be_is_refused(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["--nodes", "2", "--devices", "4"], "torchrun --nnodes 2 --nproc-per-node 4"),
        (["--devices", "0"], "--devices and --nodes must be at least 1, got 0 and 1"),
        (["--strategy", "fsdp"], "--strategy fsdp: take ddp; no network here is so large that sharing out its parameters pays"),
    ):
        assert main(["train", "--out", str(tmp_path / "run"), *words]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(InputError, match=r"stages.triple_penalty.batch is 3, but 4 processes need an image each"):
        train_recipe(recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path: Path, recipe: Recipe) -> None:
    stages = StagesRecipe(STEPS, STEPS, StageRecipe(), StageRecipe())
    train_recipe(replace(recipe, stages=stages), tmp_path / "run", device="cpu")
    words = ["evaluate", str(tmp_path / "run"), "--unary", recipe.unary.network, "--data", "scenes", "--split", "test"]
    words += ["--device", "cpu", "--predictions", "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    call = [sys.executable, "-m", "dpn", *words, str(tmp_path / "two"), "--devices", "2"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("triple_penalty") == 1
    written = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.suffix != ".npz"}
    assert len(written) > 30
    for path in written:
        if (tmp_path / "one" / path).is_file():
            assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path
