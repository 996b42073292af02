"""The paper's running times: b12, b12 to b15, and one iteration of the same mean field by fast Gaussian filtering."""

import torch

from dpn.bench.measure import cost
from dpn.bench.workloads import Workload, case
from dpn.experiments.result import Cell, Result, experiment
from dpn.experiments.study import Study

PAPER = {"b12 gaussian": 30, "b12-b15": 75}  # ms, batch of ten, on their GPU
DENSE_CRF = 12_000  # ms, one iteration of Eqn. 7 on ten images on their CPU


@experiment("runtime", help="the layers' running times")
def run(study: Study) -> Result:
    """Measures the layers on photographs of 512x512; `dpn bench` measures them beside their peers."""
    model, batch = study.stages["joint"], 1 if study.scale.quick else 10
    labels, window, stride = model.mrf.labels, model.mrf.config.side, model.mrf.config.window_stride
    parts = case(model, Workload(window=window, labels=labels, size=512, batch=batch)).parts
    rows: list[tuple[Cell, ...]] = []
    for name in ("unary, b1-b11", "b12 euclidean", "b12 gaussian", "b13 + b14", "b15", "b12-b15"):
        of_part = cost(parts[name, "inference"], runs=3, budget=60)
        each = 1000 / batch
        rows.append((name, PAPER.get(name, 0) / 10 or None, each * of_part.wall.median, each * of_part.cpu.median))
    rows.append(("one iteration of Eqn. 7 by fast Gaussian filtering", DENSE_CRF / 10, None, None))
    return Result(
        "Running time",
        f"Milliseconds an image of 512x512, {labels} labels, batch of {batch}, window {window}, stride {stride}; "
        f"here on a CPU with {torch.get_num_threads()} threads.",
        ("layer", "paper, ms an image", "ms an image", "CPU ms an image"),
        rows,
        remark="The paper's 30 and 75 ms are for ten images on a GPU of 2015, its 12 s for ten images on its CPU.",
    )
