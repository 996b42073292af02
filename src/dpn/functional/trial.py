"""The question that a backend on trial answers at its first use on a device, before anything is computed by it.

Its kernels are compiled for whatever device there is, by whatever compiler is installed there. A kernel that does not compile
would stop its user; one that is compiled wrongly would give wrong pictures. So each operator is first asked for the values and
both gradients of a small input, whose true answer is the reference backend's in float64, on the CPU. The image is small; the
labels are so many that a program is as wide as it ever gets, and needs as much memory.
"""

from functools import cache

import torch
from torch import Tensor

from dpn.errors import warn
from dpn.functional.backend import BACKENDS, Present
from dpn.functional.kernels import Window
from dpn.packages import versions

LARGEST_ERROR = 5e-3
"""Of the largest value, in float32: ten times what products in tf32 cost."""

ANSWERS = (
    "its values",
    "its gradients to its input",
    "its gradients to its parameters",
    "its b15",
    "its b13 to b15 at once",
    "its b13 to b15 of some labels",
)
LABELS, COMPONENTS = 40, 3
CPU = torch.device("cpu")


@cache
def passed(name: str, device: torch.device, kernel: str | None) -> bool:
    """Whether a backend answers right on a device, asked once a process; if not, a warning says what is wrong.

    Args:
        name: of the backend.
        device: one that it serves.
        kernel: of b12, which is then what is asked for; None asks for b13 to b15.

    Example:
        >>> passed("reference", CPU, "gaussian"), passed("reference", CPU, None)
        (True, True)
    """
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        try:
            wrong = _wrong(name, device, kernel)
        except Exception as error:  # whatever a compiler may raise
            wrong = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if wrong:
        what = "b13 to b15" if kernel is None else f"b12, {kernel},"
        there = "the CPU" if device == CPU else torch.get_device_module(device).get_device_name(device)
        installed = ", ".join(" ".join(each) for each in versions(["deep-parsing-network", "torch", name]).items())
        warn(
            f"backend {name!r} does not compute {what} on {there} ({installed}): {wrong}. The reference backend does, slowly. "
            f"Please report this line. DPN_BACKEND={name} or backend={name!r} uses it all the same."
        )
    return not wrong


def _wrong(name: str, device: torch.device, kernel: str | None) -> str:
    """What is wrong with a backend's answers; nothing is an empty string."""
    found, true = _of_contexts(name, device) if kernel is None else _of_filter(name, device, kernel)
    for what, one, other in zip(ANSWERS, found, true, strict=False):
        error = ((one.cpu() - other).abs().max() / other.abs().max()).item()
        if not error <= LARGEST_ERROR:  # NaN is not <=
            return f"{what} are wrong by {error:.2g} of the largest"
    return ""


def _of_filter(name: str, device: torch.device, kernel: str) -> tuple[list[Tensor], list[Tensor]]:
    """The backend's answers about b12, and the true ones."""
    p, g, image, weights = _random((1, LABELS, 11, 9), (1, LABELS, 11, 9), (1, 3, 11, 9), (2,))

    def answers(name: str, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        of, window = BACKENDS[name].parts().local_filter, Window(kernel, 3, 2)
        p_there, g_there, image_there, weights_there = (each.to(device, dtype) for each in (p, g, image, weights))
        values = of.filter_window(p_there, image_there, weights_there, window, normalize=True)
        to_p = of.filter_window(g_there, image_there, weights_there, Window(kernel, 2, 3))
        return [values, to_p, of.weight_gradients(p_there, g_there, image_there, weights_there, window)]

    return answers(name, device, torch.float32), answers("reference", CPU, torch.float64)


def _of_contexts(name: str, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """Those about b13 to b15. Gradients flow through the components that the backend chose: near ties go either way."""
    s, g, mu = _random((1, LABELS, 11, 17), (1, LABELS, 11, 17), (LABELS, COMPONENTS, LABELS, 3, 3))
    taking_part = torch.randperm(LABELS, generator=torch.Generator().manual_seed(0))
    chosen = BACKENDS[name].parts().label_contexts.contexts(s.to(device).float(), mu.to(device).float(), dilation=2)[1]

    def answers(name: str, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        parts, component = BACKENDS[name].parts(), chosen.to(device)
        of, step, fused = parts.label_contexts, parts.mean_field, parts.fused
        s_there, g_there, mu_there = (each.to(device, dtype) for each in (s, g, mu))
        values, _ = of.contexts(s_there, mu_there, dilation=2)
        gradients = of.contexts_gradients(g_there, component, s_there, mu_there, dilation=2, need_s=True, need_mu=True)
        penalty = torch.tensor(4.0, device=device)
        by_cells = step.update(g_there, s_there, step.cell_means(s_there, 2), None, penalty=penalty, cell=2)
        which = Present(taking_part[:9].to(device))
        among = mu_there[which.labels][:, :, which.labels]
        few, _ = of.contexts(s_there[:, :9], among, dilation=2)
        log_q = step.update(g_there, s_there, values, None, penalty=penalty, cell=1)
        log_few = step.update(g_there, s_there[:, :9], few, which, penalty=penalty, cell=1)
        if fused is not None:
            maps, counted = (g_there, s_there, mu_there), torch.full((), 9, dtype=torch.int32, device=device)
            which = Present(taking_part.to(device), counted)
            log_q = fused.update(*maps, penalty=penalty, dilation=2)
            log_few = fused.update(*maps, penalty=penalty, dilation=2, present=which)
        return [values, *(each for each in gradients if each is not None), by_cells, log_q, log_few]

    return answers(name, device, torch.float32), answers("reference", CPU, torch.float64)


def _random(*shapes: tuple[int, ...]) -> list[Tensor]:
    """The same numbers in [0,1] every time, in float64 on the CPU."""
    random = torch.Generator("cpu").manual_seed(0)
    return [torch.rand(shape, generator=random, device=CPU, dtype=torch.float64) for shape in shapes]
