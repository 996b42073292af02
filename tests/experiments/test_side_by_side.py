"""Seeds trained side by side come to what they come to one after another; one that is killed is named, and goes on."""

import multiprocessing
import signal
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
import torch
from rich.console import Console

from dpn import DPN, MRF
from dpn.data import SCENE_LABELS
from dpn.errors import InputError
from dpn.experiments import EXPERIMENTS, Scale, run
from dpn.experiments.side_by_side import _train, _why
from dpn.experiments.study import Study
from dpn.model import STAGES, TITLES
from dpn.mrf import MRFConfig
from dpn.storage import save
from dpn.unary import MobileNetV2

NAMES = ["table2b", "operation_counts"]


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Scale:
    torch.manual_seed(0)
    config = MRFConfig(components=2, window=5, context=3, context_dilation=2, context_stride=2)
    model = DPN(MobileNetV2(labels=10), MRF(10, config), labels=SCENE_LABELS)
    path = tmp_path_factory.mktemp("network") / "model.safetensors"
    save(model, path, earlier={stage: model.state_dict() for stage in STAGES[:-1]})
    return Scale.fast(model=str(path), images=1, train_images=2, steps=(1, 2), crop=48, seeds=(0, 1))


def fits(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.name: torch.load(path, weights_only=True) for path in (out / "fits").glob("*.pt")}


def test_seeds_side_by_side_are_seeds_one_after_another(
    scale: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(NAMES, one, scale, console=Console(quiet=True))
    starts, start = [], SpawnProcess.start

    def killed_second(process: SpawnProcess) -> None:
        start(process)
        starts.append(process)
        if len(starts) == 2:
            process.kill()

    monkeypatch.setattr(SpawnProcess, "start", killed_second)
    with pytest.raises(InputError, match=r"seed 1: ended by SIGKILL; what has been trained is kept in .*two: start it again"):
        run(NAMES, two, scale, jobs=2)
    assert "2 seeds, 2 at once, of table2b" in (said := capsys.readouterr().out) and "seed 0: trained" in said
    assert (two / "operation_counts.csv").is_file() and not (two / "table2b.csv").exists()
    alone, others = fits(one), fits(two)
    assert (len(alone), len(others)) == (8, 4)  # four contexts of each seed
    monkeypatch.undo()
    run(["table2b"], two, scale, jobs=1)
    assert (one / "table2b.csv").read_bytes() == (two / "table2b.csv").read_bytes()
    for name, state in fits(two).items():
        assert all(torch.equal(value, alone[name][key]) for key, value in state.items()), name
        assert name not in others or all(torch.equal(value, others[name][key]) for key, value in state.items())


class EnoughError(Exception):
    pass


def enough(*_: object) -> None:
    raise EnoughError


@pytest.mark.parametrize("name", [name for name, each in EXPERIMENTS.items() if each.train])
def test_a_seeds_training_is_all_that_an_experiment_trains(
    scale: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is trained is only written down here; then running finds each of it."""
    trained: list[object] = []
    monkeypatch.setattr("dpn.experiments.fitting._once", lambda study, described, *_: trained.append(described))
    monkeypatch.setattr("dpn.experiments.fitting._train", lambda *_: None)
    study = Study(tmp_path, scale, console=Console(quiet=True))
    for seed in scale.seeds:
        EXPERIMENTS[name].train(study, seed)  # type: ignore[misc]
    before = list(map(str, trained))
    trained.clear()
    monkeypatch.setattr(Study, "predict", enough)
    monkeypatch.setattr(Study, "predictions", {TITLES["joint"]: {}})
    with pytest.raises(EnoughError):
        EXPERIMENTS[name].run(study)
    assert trained and set(map(str, trained)) <= set(before)


def test_what_an_mrf_begins_with_depends_on_the_seed_alone(scale: Scale, tmp_path: Path) -> None:
    study = Study(tmp_path, scale, console=Console(quiet=True))
    first, _, again, other = (study.mrf(seed=seed).label_contexts.deviation for seed in (0, 1, 0, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_stops_a_process_is_told(scale: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HL_NUM_THREADS", "1")
    (tmp_path / "setting.json").write_text("another")
    told, tell = multiprocessing.Pipe(duplex=False)
    with pytest.raises(SystemExit):
        _train(["table2b"], tmp_path, scale, 0, 1, tell)
    assert "holds experiments of another setting" in _why(2, told)
    tell.close()
    assert _why(1, told) == "failed; its traceback is above"
    assert _why(-9, told) == "ended by SIGKILL"


def test_no_jobs_are_refused(scale: Scale, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--jobs must be at least 1, got 0"):
        run(NAMES, tmp_path / "out", scale, jobs=0)
