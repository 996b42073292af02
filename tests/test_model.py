"""The network as a whole, and the public names that others rely on."""

import importlib
import inspect
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import dpn
from dpn import DPN, MRF, InputError
from dpn.model import STAGES
from dpn.unary import MobileNetV2, Wrap

SURFACE = json.loads((Path(__file__).parent / "api_surface.json").read_text())
"""{module: {public name: its arguments, null for what has none}}. A change here is one for users: CHANGELOG says so."""


def written(function: object) -> str | None:
    """A signature without its types: names, `*` before keyword-only ones, defaults; None where there is none."""
    words, keyword_only = [], False
    try:
        parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            words.append("*")
            keyword_only = True
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        words.append(f"{parameter.name}{default}")
    return " ".join(words)


@pytest.fixture
def model() -> DPN:
    return DPN(MobileNetV2(labels=3), MRF(3, components=2, window=5, context=3), labels=["sky", "sea", "sun"]).eval()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 40, 60)


@pytest.mark.parametrize("module", SURFACE)
def test_the_public_names_and_their_arguments_are_the_frozen_ones(module: str) -> None:
    home = importlib.import_module(module)
    found = {name: getattr(home, name) for name in home.__all__}
    assert {name: written(thing) for name, thing in found.items()} == SURFACE[module]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'metric'"):
        _ = dpn.metric


def test_the_network_is_the_mrf_over_the_unary(model: DPN, image: torch.Tensor) -> None:
    with torch.inference_mode():
        assert torch.equal(model(image), model.mrf(model.unary(image), image))
    assert model(image).shape == (2, 3, 40, 60)


def test_which_parameters_a_stage_depends_on(model: DPN, image: torch.Tensor) -> None:
    """b12 begins with the second stage, the mixture's deviations from Potts with the third."""
    depends = {}
    parts = {"b12": model.mrf.triple_penalty.log_sigma_color, "b13": model.mrf.label_contexts.deviation}
    for stage in STAGES:
        model.stage = stage
        for part, parameter in parts.items():
            with torch.no_grad():
                before = model(image)
                kept = parameter.clone()
                parameter += torch.rand_like(parameter)
                depends[stage, part] = not torch.equal(model(image), before)
                parameter.copy_(kept)
    assert [depends[stage, "b12"] for stage in STAGES] == [False, True, True, True]
    assert [depends[stage, "b13"] for stage in STAGES] == [False, False, True, True]


@pytest.mark.parametrize("channels", [1, 4, 12])
def test_images_of_other_channels_serve_a_network_that_takes_them(channels: int) -> None:
    mean = tuple(0.1 * c for c in range(channels))
    unary = Wrap(nn.Conv2d(channels, 3, 3, padding=1), labels=3, mean=mean, std=(0.5,) * channels)
    model, image = DPN(unary, MRF(3, window=5, context=3)).eval(), torch.rand(2, channels, 12, 14)
    with torch.inference_mode():
        colours = image.repeat(1, 3, 1, 1) if channels == 1 else image[:, :3]
        torch.testing.assert_close(model(image), model.mrf(unary(image), colours.contiguous()))


def test_the_names_are_numbers_unless_given() -> None:
    assert DPN(Wrap(nn.Identity(), labels=3), MRF(3)).labels == ("0", "1", "2")


@pytest.mark.parametrize(("unary", "mrf", "names"), [(3, 4, None), (3, 3, ["a", "b"]), (4, 3, ["a", "b", "c"])])
def test_parts_with_different_labels_are_refused(unary: int, mrf: int, names: list[str] | None) -> None:
    with pytest.raises(InputError, match=f"got unary {unary}, mrf {mrf}, names {len(names or range(mrf))}"):
        DPN(Wrap(nn.Identity(), labels=unary), MRF(mrf), labels=names)


def test_an_unknown_stage_is_refused(model: DPN) -> None:
    with pytest.raises(InputError, match="stage must be one of unary, triple_penalty, label_contexts, joint, got 'b12'"):
        model.stage = "b12"
    assert model.stage == "joint"


def test_save_pretrained_and_back(tmp_path: Path, model: DPN, image: torch.Tensor) -> None:
    model.save_pretrained(tmp_path / "new" / "folder")
    loaded = DPN.from_pretrained(tmp_path / "new" / "folder")
    with torch.inference_mode():
        assert torch.equal(loaded(image), model(image))


def test_push_to_hub_uploads_what_load_opens(model: DPN, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Hub:
        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            calls.append(("create", repo_id, private, exist_ok))

        def upload_folder(self, *, repo_id: str, folder_path: str) -> str:
            calls.append(("upload", repo_id, dpn.load(folder_path)))
            return "https://hub/commit"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert model.push_to_hub("someone/mine", private=True) == "https://hub/commit"
    create, (_, repo_id, uploaded) = calls
    assert create == ("create", "someone/mine", True, True) and repo_id == "someone/mine"
    with torch.inference_mode():
        assert torch.equal(uploaded(image), model(image))
