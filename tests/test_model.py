"""The network as a whole, and the public names that others rely on."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import dpn
from dpn import DPN, MRF, InputError
from dpn.model import STAGES
from dpn.unary import MobileNetV2, Wrap

PUBLIC = {
    "DPN": "unary mrf * labels=None stage='joint'",
    "MRF": "labels=21 * components=5 window=50 window_stride=1 context=9 context_dilation=1 context_stride=1 "
    "context_rank=None kernel='gaussian' iterations=1 triple=False "
    "normalize=True include_center=True sigma_color=0.03 sigma_space=40.0 smoothness=0.0 sigma_smooth=3.0 "
    "aligned=None penalty=4.0 absent_below=0.0002",
    "InputError": None,
    "Segmentation": "image seen names",
    "compress": "mrf * rank=None error=None",
    "data": None,
    "functional": None,
    "load": "source='voc' * stage=None device='cpu'",
    "metrics": None,
    "save": "model path * earlier=None dtype=None",
    "segment": "image model=None * size=513",
    "unary": None,
}
OPERATORS = {
    "local_filter": "p image * window weights kernel stride=1 normalize=False include_center=True absent_below=0.0 "
    "backend=None",
    "label_contexts": "s mu * dilation=1 backend=None",
}


def written(function: Callable) -> str:
    """A signature without its types: names, `*` before keyword-only ones, defaults."""
    words, keyword_only = [], False
    for parameter in inspect.signature(function).parameters.values():
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


def test_the_public_names_and_their_arguments() -> None:
    assert sorted(dpn.__all__) == sorted(PUBLIC)
    for name, arguments in PUBLIC.items():
        assert arguments is None or written(getattr(dpn, name)) == arguments, name
    assert sorted(dpn.functional.__all__) == sorted(OPERATORS)
    for name, arguments in OPERATORS.items():
        assert written(getattr(dpn.functional, name)) == arguments, name
    assert {"MeanIoU"} <= set(dpn.metrics.__all__)
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


def test_importing_the_package_imports_no_heavy_library() -> None:
    heavy = ("halide", "huggingface_hub", "lightning_fabric", "matplotlib", "scipy.signal", "tensorboard", "torchmetrics")
    program = f"import sys, dpn; print(*[name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
