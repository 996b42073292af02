"""A backend on trial is used where it answers right, and only there."""

import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from dpn.functional import choice, local_filter
from dpn.functional.backend import BACKENDS, Parts
from dpn.functional.reference import label_contexts as contexts_of_reference
from dpn.functional.reference import local_filter as filter_of_reference
from dpn.functional.trial import passed

CPU = torch.device("cpu")


class OnTrial(type(BACKENDS["reference"])):
    """The reference, said to be the fastest and to need a trial, some of whose functions are replaced."""

    order, on_trial = -1, True

    def __init__(self, **functions) -> None:
        self.functions = functions

    def parts(self) -> Parts:
        of_reference = super().parts()
        filters, contexts = (SimpleNamespace(**vars(part) | self.functions) for part in of_reference[:2])
        return Parts(filters, contexts, of_reference.mean_field)


@pytest.fixture
def registered(monkeypatch):
    """Registers a backend "new" that is on trial."""

    def register(**functions) -> None:
        passed.cache_clear()
        monkeypatch.setitem(BACKENDS.load(), "new", OnTrial(**functions))

    yield register
    passed.cache_clear()


def doubled(function):
    def wrong(*arguments, **options):
        found = function(*arguments, **options)
        return tuple(2 * each for each in found) if isinstance(found, tuple) else 2 * found

    return wrong


def raises(*arguments, **options):
    raise RuntimeError("no kernel image\nis available")


def choose(kernel):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return choice.choose(None, CPU, torch.float32, kernel=kernel)


@pytest.mark.parametrize("kernel", ["gaussian", "euclidean", None])
def test_a_backend_that_answers_right_is_used_without_a_word(registered, kernel):
    registered()
    assert choose(kernel) == "new"


@pytest.mark.parametrize(
    ("kernel", "function", "what"),
    [
        ("gaussian", "filter_window", "its values are wrong by"),
        ("gaussian", "weight_gradients", "its gradients to its parameters are wrong by 1 of"),
        (None, "contexts_gradients", "its gradients to its input are wrong by 1 of"),
    ],
)
def test_one_that_answers_wrong_is_not_used_and_one_warning_says_so(registered, kernel, function, what):
    right = getattr(filter_of_reference if kernel else contexts_of_reference, function)
    registered(**{function: doubled(right)})
    with pytest.warns(UserWarning, match=f"backend 'new' .*{what}") as told:
        names = {choice.choose(None, CPU, torch.float32, kernel=kernel) for _ in range(3)}
    assert names == {"halide" if BACKENDS["halide"].why_not() is None else "reference"}
    assert len(told) == 1


def test_one_that_does_not_compile_is_not_used_and_its_error_is_told_in_a_line(registered):
    registered(filter_window=raises)
    with pytest.warns(UserWarning, match=r"RuntimeError: no kernel image\. The reference"):
        assert choice.choose(None, CPU, torch.float32, kernel="gaussian") != "new"
    assert choose(None) == "new"  # its other operator is right


def test_one_that_is_asked_for_is_used_all_the_same(registered, monkeypatch):
    registered(filter_window=doubled(filter_of_reference.filter_window))
    p, image, options = (
        torch.rand(1, 2, 3, 4),
        torch.rand(1, 3, 3, 4),
        {"window": 3, "weights": (5.0, 0.1), "kernel": "gaussian"},
    )
    true = local_filter(p, image, backend="reference", **options)
    torch.testing.assert_close(local_filter(p, image, backend="new", **options), 2 * true)
    monkeypatch.setattr(choice, "PREFERRED", "new")
    torch.testing.assert_close(local_filter(p, image, **options), 2 * true)


def test_the_environment_chooses_where_its_choice_serves(monkeypatch):
    monkeypatch.setattr(choice, "PREFERRED", "halide")
    assert choice.choose(None, CPU, torch.float64) == "reference"
    assert choice.choose("reference", CPU, torch.float32) == "reference"
    program = "import torch; from dpn.functional.choice import choose; print(choose(None, torch.device('cpu'), torch.float32))"
    for name in ("reference", "nonsense"):
        answer = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {"DPN_BACKEND": name}
        )
        assert answer.stdout == "reference\n" if name == "reference" else "got 'nonsense'" in answer.stderr


def test_every_backend_here_passes(backend, device):
    for kernel in (*(kernel for kernel in ("gaussian", "euclidean") if kernel in BACKENDS[backend].kernels), None):
        assert passed(backend, device, kernel)
