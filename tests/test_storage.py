"""A saved network comes back as it was, at every stage, or not at all."""

import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dpn import DPN, MRF, InputError, load, model_files, save
from dpn.inference.info import info
from dpn.model import STAGES
from dpn.model_files import opened, shipped_models
from dpn.storage import load_mrf, load_stages, states
from dpn.unary import VGG16, MobileNetV2, UnaryNetwork, Wrap, made_by

IMAGE = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> DPN:
    return DPN(MobileNetV2(labels=3), MRF(3, window=5, context=3), labels=["sky", "sea", "sun"]).eval()


def trained(model: DPN) -> dict[str, dict[str, Tensor]]:
    """Changes the network as the four stages do; the state dict that each of them left."""
    learned = {
        "unary": lambda name: name.startswith("unary."),
        "triple_penalty": lambda name: "sigma" in name or "penalty" in name.rsplit(".", 1)[1],
        "label_contexts": lambda name: name.endswith("deviation"),
        "joint": lambda name: name.startswith(("unary.score.", "mrf.")),
    }
    states = {}
    for stage in STAGES:
        for name, parameter in model.named_parameters():
            if learned[stage](name):
                parameter.data += 0.05 * torch.rand_like(parameter)
        states[stage] = {key: value.clone() for key, value in model.state_dict().items()}
    return states


def output(model: DPN) -> Tensor:
    with torch.inference_mode():
        return model(IMAGE)


def stored(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return sorted(file.keys())


def rewrite(path: Path, about: object) -> None:
    """Replaces what a file says about its network."""
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {"dpn": json.dumps(about)})


def said(path: Path) -> dict:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["dpn"])


@pytest.mark.parametrize("unary", [MobileNetV2(3, activation="sigmoid"), VGG16(3, width=8)], ids=["mobilenet_v2", "vgg16"])
def test_the_function_and_its_names_come_back(tmp_path: Path, unary: UnaryNetwork) -> None:
    mrf = MRF(3, components=2, window=4, context=3, context_dilation=2, kernel="euclidean", triple=True, iterations=2)
    model = DPN(unary, mrf, labels=["sky", "sea", "sun"], stage="label_contexts").eval()
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.labels == ("sky", "sea", "sun") and loaded.stage == "label_contexts" and not loaded.training
    assert torch.equal(output(loaded), output(model))


def test_every_stage_comes_back(tmp_path: Path, model: DPN) -> None:
    states = trained(model)
    final = states.pop("joint")
    save(model, tmp_path / "model.safetensors", earlier=states)
    networks = load_stages(tmp_path)
    assert list(networks) == list(STAGES)
    for stage, state in (states | {"joint": final}).items():
        model.stage = stage
        model.load_state_dict(state)
        assert networks[stage].stage == stage
        assert torch.equal(output(networks[stage]), output(model)), stage
        assert torch.equal(output(load(tmp_path, stage=stage)), output(model)), stage


def test_only_what_the_next_stage_changed_is_stored_again(tmp_path: Path, model: DPN) -> None:
    states = trained(model)
    del states["joint"]
    save(model, tmp_path / "model.safetensors", earlier=states)
    again = [key for key in stored(tmp_path / "model.safetensors") if "/" in key]
    changed_by_joint = [
        "mrf.label_contexts.deviation",
        "mrf.label_contexts.penalty",
        "mrf.triple_penalty.log_sigma_color",
        "mrf.triple_penalty.log_sigma_space",
        "unary.score.bias",
        "unary.score.weight",
    ]
    assert again == [f"label_contexts/{key}" for key in changed_by_joint]


def test_half_precision_halves_the_file_and_loads_in_full(tmp_path: Path, model: DPN) -> None:
    save(model, tmp_path / "full.safetensors")
    save(model, tmp_path / "half.safetensors", dtype=torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half")]
    assert 0.5 < sizes[1] / sizes[0] < 0.53
    loaded = load(tmp_path / "half.safetensors")
    for key, value in model.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(loaded.state_dict()[key], expected), key


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path: Path, model: DPN, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    before = path.read_bytes()

    def disk_is_full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_is_full)
    with pytest.raises(InputError, match=r"model\.safetensors: cannot be written \(No space left"):
        save(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, model: DPN) -> None:
    with pytest.raises(InputError, match=r"nowhere/model\.safetensors: cannot be written"):
        save(model, tmp_path / "nowhere" / "model.safetensors")


class Net(nn.Sequential):
    """Someone's network."""

    def __init__(self, labels: int = 3) -> None:
        super().__init__(nn.Conv2d(3, labels, 3, padding=1), nn.BatchNorm2d(labels))


def test_a_network_around_another_s_comes_back_where_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = DPN(Wrap(Net(), 3, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), multiple=8), MRF(3, window=5, context=3)).eval()
    save(model, path)
    with pytest.raises(InputError, match=r"model\.safetensors: its unary, .*Net, is no part of dpn: give unary, that network;"):
        load(path)
    fresh = Net()
    before = fresh[0].weight.clone()
    assert torch.equal(output(load(path, unary=fresh)), output(model))
    assert torch.equal(output(load_stages(path, unary=fresh)["joint"]), output(model))
    assert torch.equal(fresh[0].weight, before)  # what was given is copied
    with pytest.raises(InputError, match=r"unary\.module\.0\.weight has shape"):
        load(path, unary=nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))


def test_code_that_a_file_names_runs_only_where_the_caller_names_it_too(tmp_path: Path) -> None:
    path, ran = tmp_path / "model.safetensors", tmp_path / "ran"
    lines = ["import pathlib", "from torch import nn", f"pathlib.Path({str(ran)!r}).touch()", "def net(labels):"]
    (tmp_path / "mine.py").write_text("\n".join([*lines, "    return nn.Conv2d(3, labels, 1)"]))
    name = f"{tmp_path}/mine.py:net"
    save(DPN(made_by(name, labels=3), MRF(3, window=5)).eval(), path)
    ran.unlink()
    with pytest.raises(InputError, match=rf"give unary='{name}' \(--unary {name}\); code that it names is imported and run"):
        load(path)
    assert not ran.exists()
    assert load(path, unary=name).unary.made_by == name and ran.exists()


@pytest.mark.parametrize(
    ("unary", "told"),
    [(Net, "got a type; call Net"), (lambda labels: Net(), "got a function; call <lambda>"), (5, "got a int")],
)
def test_what_is_no_network_is_told_where_a_file_needs_one(tmp_path: Path, unary: object, told: str) -> None:
    save(DPN(Wrap(Net(), 3), MRF(3, window=5, context=3)), tmp_path / "model.safetensors")
    for source in (tmp_path, None):
        with pytest.raises(InputError, match=rf"unary must be a network, or a text that names what makes one, {told}$"):
            load(source, unary=unary)


def test_a_unary_of_dpn_s_own_needs_none(tmp_path: Path, model: DPN) -> None:
    save(model, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="its unary is mobilenet_v2, a part of dpn: leave unary out"):
        load(tmp_path, unary=nn.Identity())


@pytest.mark.parametrize(
    "around",
    [
        lambda model: torch.compile(model),
        nn.DataParallel,
        AveragedModel,
        lambda model: nn.DataParallel(torch.compile(model)),
    ],
    ids=["compiled", "parallel", "averaged", "parallel compiled"],
)
def test_what_is_around_a_network_is_left_out(tmp_path: Path, model: DPN, around: Callable[[nn.Module], nn.Module]) -> None:
    save(around(model), tmp_path / "model.safetensors")
    assert torch.equal(output(load(tmp_path)), output(model))


def test_parts_that_are_compiled_are_stored_by_their_own_names(tmp_path: Path, model: DPN) -> None:
    expected = output(model)
    model.unary.features = torch.compile(model.unary.features)
    save(model, tmp_path / "model.safetensors", earlier={"unary": model.state_dict()})
    assert torch.equal(output(load(tmp_path)), expected)


@pytest.mark.parametrize("around", [torch.compile, nn.DataParallel, lambda part: AveragedModel(nn.DataParallel(part))])
def test_what_is_around_a_unary_is_left_out(tmp_path: Path, model: DPN, around: Callable[[nn.Module], nn.Module]) -> None:
    expected, before = output(model), model.state_dict()
    model.unary = around(model.unary)
    save(model, tmp_path / "model.safetensors", earlier={"unary": before, "triple_penalty": model.state_dict()})
    assert not [key for key in stored(tmp_path / "model.safetensors") if "/" in key or "n_averaged" in key]
    assert torch.equal(output(load(tmp_path)), expected)


@pytest.mark.parametrize("around", [torch.compile, nn.DataParallel, AveragedModel])
def test_what_is_around_another_s_network_is_left_out(tmp_path: Path, around: Callable[[nn.Module], nn.Module]) -> None:
    net = Net()
    model = DPN(Wrap(around(net), 3), MRF(3, window=5, context=3)).eval()
    save(model, tmp_path / "model.safetensors")
    assert said(tmp_path / "model.safetensors")["unary"]["foreign"].endswith(".Net")
    expected = output(DPN(Wrap(net, 3), model.mrf).eval())
    for given in (Net(), around(Net())):
        loaded = load(tmp_path, unary=given)
        loaded.unary.module = getattr(loaded.unary.module, "_orig_mod", loaded.unary.module)
        assert torch.equal(output(loaded), expected)


def test_weights_that_were_stored_around_a_network_load_into_it(model: DPN) -> None:
    expected, around = output(model), nn.DataParallel(torch.compile(model.unary))
    fresh = MobileNetV2(labels=3)
    fresh.load_dpn(around.state_dict())
    assert torch.equal(output(DPN(fresh, model.mrf).eval()), expected)


def test_only_networks_of_dpn_are_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only a DPN or an MRF can be saved, got a Conv2d"):
        save(nn.Conv2d(3, 3, 1), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_live_values_are_stored(tmp_path: Path, model: DPN) -> None:
    model.mrf.iterations, model.mrf.absent_below = 3, 0.0
    model.mrf.config = model.mrf.config.changed(window=9, kernel="euclidean", context_dilation=2)
    save(model, tmp_path / "model.safetensors")
    found = load(tmp_path)
    assert found.mrf.config == model.mrf.config and found.mrf.triple_penalty.config.window == 9
    assert torch.equal(output(found), output(model))


def test_live_values_of_a_unary_are_stored(tmp_path: Path, model: DPN) -> None:
    model.unary.activation = "sigmoid"
    save(model, tmp_path / "model.safetensors")
    assert torch.equal(output(load(tmp_path)), output(model))
    wrap = Wrap(Net(), 3, multiple=8)
    model = DPN(wrap, MRF(3, window=5, context=3)).eval()
    wrap.activation, wrap.multiple, wrap.output_key = "sigmoid", 16, "semantic"
    save(model, tmp_path / "model.safetensors")
    found = load(tmp_path, unary=Net()).unary
    assert (found.activation, found.multiple, found.output_key) == ("sigmoid", 16, "semantic")
    assert load(tmp_path, unary=Wrap(Net(), 3)).unary.activation == "sigmoid"


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("", "labels", ("sky", "sky", "sun"), "two labels are called 'sky'"),
        ("", "labels", ("sky", "sea"), "same number of labels, got unary 3, mrf 3, names 2"),
        ("unary", "labels", 4, "same number of labels, got unary 4, mrf 3, names 3"),
        ("unary", "activation", "relu", "activation must be softmax or sigmoid, got 'relu'"),
        ("mrf.label_contexts", "dilation", 2, "b13 has another dilation or cell than the MRF; set mrf.config"),
        ("mrf.label_contexts", "cell", 2, "b13 has another dilation or cell than the MRF; set mrf.config"),
    ],
)
def test_a_value_that_would_be_refused_or_lost_is_not_stored(
    tmp_path: Path, model: DPN, part: str, name: str, value: object, message: str
) -> None:
    setattr(model.get_submodule(part), name, value)
    with pytest.raises(InputError, match=rf"model\.safetensors: .*{message}"):
        save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_what_a_wrap_could_not_be_made_with_is_not_stored(tmp_path: Path) -> None:
    model = DPN(Wrap(Net(), 3), MRF(3, window=5, context=3))
    model.unary.multiple = 0
    with pytest.raises(InputError, match=r"model\.safetensors: multiple must be at least 1 pixel"):
        save(model, tmp_path / "model.safetensors")


def test_what_could_not_be_read_again_is_not_stored(tmp_path: Path, model: DPN) -> None:
    model.unary.score = nn.Conv2d(256, 3, 1, bias=False)
    with pytest.raises(InputError, match=r"unary\.score\.bias is not as the network was made with"):
        save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_head_by_itself_comes_back(tmp_path: Path, model: DPN) -> None:
    save(model.mrf, tmp_path / "head.safetensors")
    log_p = torch.randn(1, 3, 40, 60).log_softmax(1)
    assert torch.equal(load_mrf(tmp_path / "head.safetensors")(log_p, IMAGE), model.mrf(log_p, IMAGE))
    with pytest.raises(InputError, match=r"holds a head alone; dpn\.load_mrf opens it"):
        load(tmp_path / "head.safetensors")


def test_the_head_of_a_stage_is_that_stage_s(tmp_path: Path, model: DPN) -> None:
    earlier = trained(model)
    earlier.pop("joint")
    save(model, tmp_path / "model.safetensors", earlier=earlier)
    log_p = torch.randn(1, 3, 40, 60).log_softmax(1)
    for stage in STAGES[1:]:
        expected = load(tmp_path, stage=stage)
        assert torch.equal(load_mrf(tmp_path, stage=stage)(log_p, IMAGE), expected.mrf(log_p, IMAGE)), stage
        assert all(torch.equal(states(tmp_path)[stage][key], value) for key, value in expected.state_dict().items())
    save(load_mrf(tmp_path, stage="triple_penalty"), tmp_path / "head.safetensors")
    assert load_mrf(tmp_path / "head.safetensors").label_contexts.potts_only
    with pytest.raises(InputError, match="no head at stage 'unary'"):
        load_mrf(tmp_path, stage="unary")


def test_statistics_of_a_loaded_network_stay_in_training(tmp_path: Path, model: DPN) -> None:
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path).train()
    before = {key: value.clone() for key, value in loaded.state_dict().items()}
    loaded(IMAGE)
    assert all(torch.equal(value, before[key]) for key, value in loaded.state_dict().items())


def test_stages_out_of_order_are_not_saved(tmp_path: Path, model: DPN) -> None:
    state = model.state_dict()
    with pytest.raises(InputError, match="got label_contexts, unary, joint"):
        save(model, tmp_path / "model.safetensors", earlier={"label_contexts": state, "unary": state})
    assert not list(tmp_path.iterdir())


def test_a_stage_that_was_not_saved_is_refused(tmp_path: Path, model: DPN) -> None:
    save(model, tmp_path / "model.safetensors", earlier={"unary": model.state_dict()})
    for stage in ("triple_penalty", "nonsense"):
        with pytest.raises(InputError, match=rf"model\.safetensors: .*stage '{stage}'; it has unary, joint"):
            load(tmp_path, stage=stage)


class Harmful:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_under_another_name_is_refused_and_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.safetensors", tmp_path / "was_run"
    path.write_bytes(pickle.dumps(Harmful(trace)))
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load(path)
    torch.save({"weight": Harmful(trace)}, path)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load(path)
    assert not trace.exists()


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_cut_off_file_is_refused(tmp_path: Path, model: DPN, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file"):
        load(path)


def test_a_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "photo.jpg")
    with pytest.raises(InputError, match=r"photo\.jpg: not a whole safetensors file"):
        load(tmp_path / "photo.jpg")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"dpn": "no json"}, {"dpn": "[]"}, {"dpn": '{"format": 1}'}])
def test_weights_of_something_else_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors", metadata)
    with pytest.raises(InputError, match=r"other\.safetensors: a safetensors file, but not of a DPN"):
        load(tmp_path / "other.safetensors")


CROOKED = [-1, 0, 0.5, 10**12, 10**30, True, None, "abc", "", [], [1, 2], {}, {"a": 1}, [[[]]], float("nan"), ["sky"] * 3]


@pytest.mark.parametrize("part", ["", "mrf", "unary"])
def test_what_a_file_says_of_itself_may_be_anything_and_is_refused_in_one_line(tmp_path: Path, model: DPN, part: str) -> None:
    whole, path = tmp_path / "whole.safetensors", tmp_path / "model.safetensors"
    save(model.mrf if part == "mrf" else model, whole)
    about = said(whole)
    with safe_open(whole, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for key in about[part] if part else about:
        for value in CROOKED:
            crooked = about | {part: about[part] | {key: value}} if part else about | {key: value}
            save_file(tensors, path, {"dpn": json.dumps(crooked)})
            try:
                load_mrf(path) if part == "mrf" else load(path)
                info(str(path))
            except InputError as error:
                assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 1000


def test_a_file_says_of_itself_no_more_than_it_holds(tmp_path: Path, model: DPN) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    about = said(path)
    for part, options, words in (
        ("mrf", {"components": 255, "context": 63}, r"its head has 9,108,855 numbers, and the file"),
        ("mrf", {"labels": 10**9}, "its head has [0-9,]* numbers, and the file"),
        ("mrf", {"aligned": [4000, 4000]}, "its head has [0-9,]* numbers, and the file"),
        ("mrf", {"iterations": 10**12}, "iterations must be at most 1000, got 1000000000000"),
        ("unary", {"network": "vgg16", "width": 16000}, "its unary has width 16,000, and no tensor of the file"),
        ("unary", {"labels": 10**9}, "its unary has labels 1,000,000,000, and no tensor of the file"),
    ):
        rewrite(path, about | {part: about[part] | options})
        with pytest.raises(InputError, match=rf"describes no network of this version of dpn \({words}"):
            load(path)
    rewrite(path, {})
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {"dpn": "[" * 100_000})
    with pytest.raises(InputError, match="a safetensors file, but not of a DPN"):
        load(path)


def test_a_file_of_another_version_is_refused(tmp_path: Path, model: DPN) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    rewrite(path, said(path) | {"format": 2})
    with pytest.raises(InputError, match="of format 2, but this version of dpn reads format 1"):
        load(path)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"unary": {"network": "resnet", "labels": 3}}, "describes no network"),
        ({"unary": {"network": "mobilenet_v2", "labels": 3, "depth": 101}}, "describes no network .*depth"),
        ({"mrf": {"labels": 3, "window": 5, "iterations": 0}}, "describes no network .*iterations must be at least 1"),
        ({"labels": ["sky", "sea"]}, "describes no network .*same number of labels"),
        ({"stages": ["first"]}, "describes no network .*stage must be one of"),
        ({"mrf": {"labels": 3, "window": 5, "context": 9}}, r"mrf\.label_contexts\.deviation has shape"),
        ({"unary": {"network": "vgg16", "labels": 3, "width": 8}}, "of another architecture"),
    ],
)
def test_a_file_of_another_architecture_is_refused(tmp_path: Path, model: DPN, part: dict, words: str) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    rewrite(path, said(path) | part)
    with pytest.raises(InputError, match=rf"model\.safetensors: .*{words}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("unary.score.bias", lambda v: v.index_fill(0, torch.tensor([0]), torch.nan), "has values that are NaN"),
        ("unary.score.bias", lambda v: v + torch.inf, "has values that are infinite"),
        ("mrf.triple_penalty.log_sigma_color", lambda v: v + torch.nan, "has values that are NaN"),
        ("unary.features.0.1.running_var", lambda v: v - 9, "has values that are negative, of a variance"),
        ("mrf.label_contexts.deviation", lambda v: v.to(torch.int32), "is torch.int32, where the network has floats"),
        ("mrf.label_contexts.penalty", lambda v: v > 0, "is torch.bool, where the network has floats"),
        ("unary.score.bias", lambda v: v.double() + 1e300, "has values that are infinite"),
    ],
    ids=["NaN", "infinite", "width", "variance", "int", "bool", "overflow"],
)
def test_weights_that_are_no_numbers_are_refused_by_their_names(
    tmp_path: Path, model: DPN, name: str, change: Callable[[Tensor], Tensor], words: str
) -> None:
    path = tmp_path / "model.safetensors"
    save(model, path)
    tensors, about = opened(path)[2], said(path)
    assert name in tensors
    save_file(tensors | {name: change(tensors[name])}, path, {"dpn": json.dumps(about)})
    with pytest.raises(InputError, match=rf"model\.safetensors: weights: {name} {words}"):
        load(path)
    if name.startswith("mrf"):
        with pytest.raises(InputError, match=rf"{name.removeprefix('mrf.')} {words}"):
            load_mrf(path)


def test_a_network_with_weights_that_are_no_numbers_is_neither_stored_nor_taken(tmp_path: Path, model: DPN) -> None:
    model.unary.score.bias.data[1] = torch.nan
    with pytest.raises(InputError, match=r"model\.safetensors: unary\.score\.bias has values that are NaN"):
        save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"MobileNetV2: score\.bias has values that are NaN"):
        load(None, unary=model.unary)


def test_what_is_infinite_in_the_network_itself_may_be_so_in_its_file(tmp_path: Path) -> None:
    net = Net()
    net.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    save(DPN(Wrap(net, 3), MRF(3, window=5, context=3)), tmp_path / "model.safetensors")
    assert torch.equal(load(tmp_path, unary=net).unary.module.mask, net.mask)


def test_a_shipped_model_by_its_name(tmp_path: Path, model: DPN, monkeypatch: pytest.MonkeyPatch) -> None:
    save(model, tmp_path / "voc.safetensors")
    monkeypatch.setattr(model_files, "SHIPPED", tmp_path)
    assert shipped_models() == ["voc"]
    assert torch.equal(output(load()), output(model))
    with pytest.raises(InputError, match=r"vox: no such file or folder, nor a shipped model \(voc\)"):
        load("vox")


def test_files_of_the_name_of_a_shipped_model_do_not_hide_it(
    tmp_path: Path, model: DPN, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, here = tmp_path / "shipped", tmp_path / "here"
    for folder in (shipped, here, here / "voc"):
        folder.mkdir()
    save(model, shipped / "voc.safetensors")
    model.mrf.iterations = 2
    save(model, here / "voc" / "model.safetensors")
    monkeypatch.setattr(model_files, "SHIPPED", shipped)
    monkeypatch.chdir(here)
    assert load().mrf.iterations == load("voc").mrf.iterations == 1
    assert load("./voc").mrf.iterations == load(Path("voc")).mrf.iterations == 2


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        load(tmp_path)


def test_a_hub_id_is_fetched(tmp_path: Path, model: DPN, monkeypatch: pytest.MonkeyPatch) -> None:
    save(model, tmp_path / "cached.safetensors")
    asked = []

    def download(repo_id: str, filename: str, **_: bool) -> str:
        asked.append((repo_id, filename))
        return str(tmp_path / "cached.safetensors")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("dpn.model_files._is_reached", lambda *_: True)
    assert torch.equal(output(load("someone/dpn-v1.5")), output(model))
    assert asked == [("someone/dpn-v1.5", "model.safetensors")]


@pytest.mark.parametrize("error", [OSError("Repository Not Found\nfor url: ..."), ConnectionError()])
def test_what_the_hub_does_not_give_is_told_in_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo_id: str, filename: str, **_: bool) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("dpn.model_files._is_reached", lambda *_: True)
    with pytest.raises(InputError, match=r"^someone/none: no file or folder here, and .* \((Repository Not Found|Conn\w+)\)$"):
        load("someone/none")


def test_where_the_hub_is_not_reached_its_cache_is_looked_into_once(
    tmp_path: Path, model: DPN, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.create_connection", refused)
    monkeypatch.setattr("dpn.model_files.getproxies", dict)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"no model\.safetensors from the hub \(huggingface\.co cannot be reached\)"):
        load("someone/none-of-these")
    assert time.monotonic() - began < 5
    save(model, tmp_path / "cached.safetensors")
    asked = []
    cached = lambda *given, **how: (asked.append(how), str(tmp_path / "cached.safetensors"))[1]  # noqa: E731
    monkeypatch.setattr("huggingface_hub.hf_hub_download", cached)
    assert torch.equal(output(load("someone/mine")), output(model))
    assert asked == [{"local_files_only": True}]


@pytest.mark.parametrize("source", ["runs/mine/model.safetensors", "mine/model.safetensors", "/mine/model", "../model"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *arguments: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match="no such file or folder"):
        load(source)


def test_a_new_head_on_a_network_is_two_stages_that_share_it() -> None:
    net = Net()
    net.config = SimpleNamespace(num_labels=3, id2label={0: "sky", 1: "sea", 2: "sun"})
    networks = load_stages(None, unary=net)
    assert list(networks) == ["unary", "triple_penalty"] and networks["unary"].labels == ("sky", "sea", "sun")
    assert networks["unary"].unary is networks["triple_penalty"].unary
    with torch.inference_mode():
        refined = MRF(3).eval()(output(networks["unary"]), IMAGE)
    torch.testing.assert_close(output(networks["triple_penalty"]), refined)
    assert torch.equal(output(load(None, unary=net)), output(networks["triple_penalty"]))
    with pytest.raises(InputError, match="a new head needs a network: give unary"):
        load(None)


@pytest.mark.parametrize(
    ("hub", "address"),
    [
        ("https://huggingface.co", ("huggingface.co", 443)),
        ("http://mirror", ("mirror", 80)),
        ("http://here:8123/hf", ("here", 8123)),
    ],
)
def test_a_hub_of_one_s_own_is_looked_for_where_its_address_says(
    hub: str, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refused(where: tuple[str, int], timeout: float) -> None:
        asked.append(where)
        raise OSError("Connection refused")

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub)
    monkeypatch.setattr("socket.create_connection", refused)
    monkeypatch.setattr("dpn.model_files.getproxies", dict)
    with pytest.raises(InputError, match=f"{address[0]} cannot be reached"):
        load("someone/none-of-these")
    assert asked == [address]
