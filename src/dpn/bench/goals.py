"""One step beside what people would use instead: ratios with their goals, and the peers' own costs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import Progress
from torch import Tensor

from dpn.bench.inputs import at_size, images, log_probabilities, with_labels
from dpn.bench.measure import Part, Spread, cost, inferred, ratios, trained
from dpn.bench.peers import CONV_CRF_ITERATIONS, DENSE_CRF, DenseCRF, Peers, conv_crf, crf_rnn
from dpn.bench.plan import Plan
from dpn.bench.report import MB, Comparison
from dpn.bench.workloads import INFERENCE, TRAINING
from dpn.data import photograph
from dpn.model import DPN
from dpn.mrf import changed, exact
from dpn.mrf.absent_labels import present

ITERATIONS = (1, 5, 10)
NARROW, WIDE = 10, 100  # windows
MANY = 150  # labels


@dataclass(frozen=True)
class Pair:
    """Two parts to compare, a over b, and the goal of their ratio, if there is one."""

    what: str
    goal: float | None
    a: Part
    b: Part | str | None  # the name of a peer that is not there; None takes a's peak of memory in MB instead


def pairs(model: DPN, name: str, size: int, peers: Peers) -> list[Pair]:
    """All comparisons of a model in evaluation mode on one photograph, `size` pixels a side."""
    image = images(size, names=[name])
    log_p = log_probabilities(model, image)
    q, labels = log_p.exp(), model.mrf.labels
    head = inferred(model.mrf, log_p, image)
    head_trained = trained(model.mrf, log_p, image)
    gaussian, euclidean = (_b12(model, q, image, kernel=kernel) for kernel in ("gaussian", "euclidean"))
    narrow, wide = (_b12(model, q, image, kernel="euclidean", window=window) for window in (NARROW, WIDE))
    unary = inferred(model.unary, image)
    many = inferred(changed(model.mrf, labels=MANY), with_labels(log_p, MANY), image)
    which = present(log_p, model.mrf.absent_below).labels.tolist()
    absent = [u for u in range(labels) if u not in which]
    fewer = with_labels(log_p[:, which + absent], min(labels, len(which) + 1))  # the absent as one
    found = []
    on_present = _dense_crfs(peers, fewer, name, size)
    for of, crf in _dense_crfs(peers, log_p, name, size).items():
        first = of == next(iter(DENSE_CRF))
        step = crf.step() if crf else "pydensecrf"
        found.append(Pair(f"b12 euclidean, all labels / one bare update of {of}", 0.15 if first else None, euclidean, step))
        found.append(Pair(f"b12 gaussian, all labels / one bare update of {of}", 3 if first else None, gaussian, step))
        for count in ITERATIONS:
            theirs = crf.whole(count) if crf else "pydensecrf"
            goal = {1: 0.4, 10: 0.1}.get(count) if first else None
            found.append(Pair(f"b12-b15 / {of}, {_iterations(count)} with setup", goal, head, theirs))
        fewest = on_present[of]
        theirs = fewest.whole(10) if fewest else "pydensecrf"
        found.append(Pair(f"b12-b15 / {of}, {_iterations(10)} with setup, only the labels present", None, head, theirs))
    theirs = crf_rnn(peers.crf_rnn, log_p, image) if peers.crf_rnn else "CRF-RNN"
    found.append(Pair(f"b12-b15 / CRF-RNN, {_iterations(1)}; both forwards and backwards", 0.5, head_trained, theirs))
    theirs = conv_crf(peers.conv_crf, log_p, image) if peers.conv_crf else "ConvCRF"
    found.append(Pair(f"b12-b15 / ConvCRF, {_iterations(CONV_CRF_ITERATIONS)}", None, head, theirs))
    found.append(Pair(f"b12 euclidean, window {WIDE} / window {NARROW}", 1.2, wide, narrow))
    found.append(Pair(f"b12-b15, {MANY} labels / {labels} labels, the same present", 1.5, many, head))
    found.append(Pair("b12-b15 / the unary network", 0.5, head, unary))
    every = exact(model.mrf)
    if every.config != model.mrf.config:
        strided = inferred(changed(model.mrf, kernel="gaussian").triple_penalty, q, image)
        found.append(Pair("b12 gaussian, all labels, the model's stride / stride 1", None, strided, gaussian))
        found.append(Pair("b12-b15, strides 1 / b12-b15", None, inferred(every, log_p, image), head))
    found.append(Pair("b12-b15, peak memory above inputs and output", 150, head, None))
    return found


def comparisons(model: DPN, peers: Peers, plan: Plan, progress: Progress) -> list[Comparison]:
    """Measures all pairs on each photograph of the plan, and pools the photographs.

    Example:
        >>> from dpn import MRF
        >>> from dpn.bench.peers import find_peers
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=3), MRF(3, window=5, window_stride=2, context=3)).eval()
        >>> found = comparisons(model, find_peers(), Plan(size=32, photographs=["cat"], rounds=1), Progress())
        >>> [row.what for row in found if "stride" in row.what]
        ["b12 gaussian, all labels, the model's stride / stride 1", 'b12-b15, strides 1 / b12-b15']
    """
    pooled: dict[str, tuple[Pair, list[float], list[float]]] = {}
    task = progress.add_task("side by side", total=None)
    for turn, name in enumerate(plan.photographs):
        warm: set[Part] = set()
        of_photograph = pairs(model, name, plan.size, peers)
        progress.update(task, total=len(of_photograph) * len(plan.photographs))
        for pair in of_photograph:
            _, wall, cpu = pooled.setdefault(pair.what, (pair, [], []))
            if not isinstance(pair.b, str):
                for part in (pair.a, pair.b):
                    if part and part not in warm:
                        part()  # compiles
                        warm.add(part)
                if pair.b:
                    more = ratios(pair.a, pair.b, rounds=plan.rounds, begin=turn * plan.rounds)
                    wall += more[0]
                    cpu += more[1]
                else:
                    wall += [cost(pair.a, runs=0).peak / MB for _ in range(plan.rounds)]
            progress.advance(task)
    return [_compared(pair, wall, cpu, peers) for pair, wall, cpu in pooled.values()]


def peer_parts(model: DPN, name: str, size: int, peers: Peers) -> dict[tuple[str, str], Part | str]:
    """What the peers cost by themselves: {(what, direction): a part, or the name of a peer that is not there}.

    pydensecrf's setup (features and lattices) stands apart from its iterations.

    Example:
        >>> from dpn import MRF
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=3), MRF(3, window=5, context=3)).eval()
        >>> set(peer_parts(model, "cat", 32, Peers(None, None, None)).values()) == {"pydensecrf", "CRF-RNN", "ConvCRF"}
        True
    """
    image = images(size, names=[name])
    log_p = log_probabilities(model, image)
    found: dict[tuple[str, str], Part | str] = {}
    for of, crf in _dense_crfs(peers, log_p, name, size).items():
        found[f"{of}, setup", INFERENCE] = crf.setup() if crf else "pydensecrf"
        found[f"{of}, one bare update", INFERENCE] = crf.step() if crf else "pydensecrf"
        for count in ITERATIONS:
            found[f"{of}, {_iterations(count)} without setup", INFERENCE] = crf.iterations(count) if crf else "pydensecrf"
    recurrent, convolutional = f"CRF-RNN, {_iterations(1)}", f"ConvCRF, {_iterations(CONV_CRF_ITERATIONS)}"
    found[recurrent, TRAINING] = crf_rnn(peers.crf_rnn, log_p, image) if peers.crf_rnn else "CRF-RNN"
    found[convolutional, INFERENCE] = conv_crf(peers.conv_crf, log_p, image) if peers.conv_crf else "ConvCRF"
    return found


def _b12(model: DPN, q: Tensor, image: Tensor, **arguments: Any) -> Part:
    return inferred(exact(model.mrf, **arguments).triple_penalty, q, image)


def _dense_crfs(peers: Peers, log_p: Tensor, name: str, size: int) -> dict[str, DenseCRF | None]:
    """{one of DENSE_CRF: it upon the photograph, or None where it is not there}."""
    if peers.dense_crf is None:
        return dict.fromkeys(DENSE_CRF)
    unary, pixels = np.ascontiguousarray(log_p[0].numpy()), at_size(photograph(name), size)
    return {of: DenseCRF(peers.dense_crf, unary, pixels, parameters) for of, parameters in DENSE_CRF.items()}


def _iterations(count: int) -> str:
    return f"{count} iteration{'s' * (count > 1)}"


def _compared(pair: Pair, wall: list[float], cpu: list[float], peers: Peers) -> Comparison:
    if isinstance(pair.b, str):
        return Comparison(pair.what, pair.goal, None, note=peers.missing[pair.b])
    known = Spread.of(wall)
    if pair.b is None and known.median != known.median:
        return Comparison(pair.what, pair.goal, None, unit="MB", note="this system does not say")
    return Comparison(pair.what, pair.goal, known, Spread.of(cpu) if cpu else None, "MB" if pair.b is None else "")
