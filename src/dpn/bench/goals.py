"""One step beside what people would use instead: ratios with their goals, and the peers' own costs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from dpn.bench.inputs import at_size, images, log_probabilities, with_labels
from dpn.bench.measure import Part, Spread, inferred, peak_memory, ratios, trained
from dpn.bench.peers import CONV_CRF_ITERATIONS, DENSE_CRF, DenseCRF, Peers, conv_crf, crf_rnn
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
    """Two parts to compare: a over b.

    Attributes:
        what: "a / b".
        goal: of the ratio; None where there is none.
        a: the numerator.
        b: the denominator; a peer's name where it is not there; None to take a's peak of memory in MB instead.
    """

    what: str
    goal: float | None
    a: Part
    b: Part | str | None


def pairs(model: DPN, name: str, size: int, peers: Peers) -> list[Pair]:
    """All comparisons on one photograph.

    Args:
        model: in evaluation mode.
        name: of the photograph.
        size: its side in pixels.
        peers: what there is.

    Example:
        >>> from dpn import MRF
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=3), MRF(3, window=5, context=3)).eval()
        >>> pairs(model, "cat", 32, Peers(None, None, None))[0].what
        'b12 euclidean, all labels / one bare update of pydensecrf'
    """
    image = images(size, names=[name])
    log_p = log_probabilities(model, image)
    q, labels = log_p.exp(), model.mrf.labels
    head = inferred(model.mrf, log_p, image)
    head_trained = trained(model.mrf, log_p, image)
    gaussian, euclidean = (_b12(model, q, image, kernel=kernel) for kernel in ("gaussian", "euclidean"))
    narrow, wide = (_b12(model, q, image, kernel="euclidean", window=window) for window in (NARROW, WIDE))
    unary = inferred(model.unary, image)
    many = inferred(changed(model.mrf, labels=MANY), with_labels(log_p, MANY), image)
    which = present(log_p, model.mrf.absent_below).tolist()
    absent = [u for u in range(labels) if u not in which]
    fewer = with_labels(log_p[:, which + absent], min(labels, len(which) + 1))  # the absent as one
    found = []
    ten = _dense_crfs(peers, fewer, name, size)
    for of, crf in _dense_crfs(peers, log_p, name, size).items():
        first = of == next(iter(DENSE_CRF))
        step = crf.step() if crf else "pydensecrf"
        found.append(Pair(f"b12 euclidean, all labels / one bare update of {of}", 0.15 if first else None, euclidean, step))
        found.append(Pair(f"b12 gaussian, all labels / one bare update of {of}", 3 if first else None, gaussian, step))
        for count in ITERATIONS:
            theirs = crf.whole(count) if crf else "pydensecrf"
            goal = {1: 0.4, 10: 0.1}.get(count) if first else None
            found.append(Pair(f"b12-b15 / {of}, {_iterations(count)} with setup", goal, head, theirs))
        fewest = ten[of]
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


def comparisons(
    model: DPN,
    peers: Peers,
    *,
    size: int,
    photographs: Iterable[str],
    rounds: int,
    progress: Callable[[list[Pair]], Iterable[Pair]] = iter,
) -> list[Comparison]:
    """Measures all pairs on each photograph, and pools the photographs.

    Args:
        model: in evaluation mode.
        peers: what there is.
        size: side of the photographs in pixels.
        photographs: their names.
        rounds: pairs of runs on each.
        progress: is told of each pair as it comes.

    Example:
        >>> from dpn import MRF
        >>> from dpn.unary import MobileNetV2
        >>> model = DPN(MobileNetV2(labels=3), MRF(3, window=5, window_stride=2, context=3)).eval()
        >>> found = comparisons(model, Peers(None, None, None), size=32, photographs=["cat"], rounds=1)
        >>> [row.what for row in found if "stride" in row.what]
        ["b12 gaussian, all labels, the model's stride / stride 1", 'b12-b15, strides 1 / b12-b15']
    """
    pooled: dict[str, tuple[Pair, list[float], list[float]]] = {}
    for turn, name in enumerate(photographs):
        warm: list[Part] = []
        for pair in progress(pairs(model, name, size, peers)):
            _, wall, cpu = pooled.setdefault(pair.what, (pair, [], []))
            if isinstance(pair.b, str):
                continue
            for part in (pair.a, pair.b):
                if part is not None and not any(part is other for other in warm):
                    part()  # compiles
                    warm.append(part)
            if pair.b is None:
                wall += [peak_memory(pair.a) / MB for _ in range(rounds)]
            else:
                more = ratios(pair.a, pair.b, rounds=rounds, begin=turn * rounds)
                wall += more[0]
                cpu += more[1]
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
    theirs = crf_rnn(peers.crf_rnn, log_p, image) if peers.crf_rnn else "CRF-RNN"
    found[f"CRF-RNN, {_iterations(1)}", TRAINING] = theirs
    theirs = conv_crf(peers.conv_crf, log_p, image) if peers.conv_crf else "ConvCRF"
    found[f"ConvCRF, {_iterations(CONV_CRF_ITERATIONS)}", INFERENCE] = theirs
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
        return Comparison(pair.what, pair.goal, None, note=peers.missing.get(pair.b, f"{pair.b} is not there"))
    known = Spread.of(wall)
    if pair.b is None and known.median != known.median:
        return Comparison(pair.what, pair.goal, None, unit="MB", note="this system does not say")
    return Comparison(pair.what, pair.goal, known, Spread.of(cpu) if cpu else None, "MB" if pair.b is None else "")
