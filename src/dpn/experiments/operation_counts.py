"""Section 3.3's count of operations, by the paper's formulas and by the shapes of the layers."""

from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Study


@experiment("operation_counts", help="Section 3.3's operation counts")
def run(study: Study) -> Result:
    """Counts multiply-adds of b12 to b15 for the paper's sizes and for the network's, on 512x512 pixels."""
    mrf = study.stages["joint"].mrf
    b13 = mrf.label_contexts
    components, n = mrf.config.components, mrf.config.context
    reach = -(-mrf.config.side // mrf.config.window_stride)
    theirs, ours = counts(21, 5, 50, 9), counts(mrf.labels, components, reach, n, b13.cell)
    return Result(
        "Operation counts",
        "Multiply-adds an image of 512x512: the paper's sizes (21 labels, 5 components, a window of 50, contexts of 9), and "
        f"this network's ({mrf.labels} labels, {components} components, {reach} neighbours a side in b12, contexts of {n} on "
        f"cells of {b13.cell}).",
        ("layer", "paper's sizes", "this network's"),
        [(layer, f"{theirs[layer]:.2e}", f"{ours[layer]:.2e}") for layer in theirs],
        remark="Section 3.3 gives 1.3e11 for b12 and a batch of ten by f N^2 s^2 M, and calls it the costliest layer; its own "
        "formula for b13 gives 3.4 times more a pixel: each of the 105 filters sees 21 channels.",
    )


def counts(labels: int, components: int, window: int, context: int, stride: int = 1) -> dict[str, float]:
    """Multiply-adds of each layer on 512x512 pixels, f N^2 s^2 for b12 and f f' N^2 s^2 for b13 as Section 3.3 has them."""
    pixels = 512 * 512
    return {
        "b12": float(labels * pixels * window**2),
        "b13": float(labels * components * labels * pixels * context**2) / stride**2,
        "b14": float(labels * components * pixels) / stride**2,
        "b15": float(labels * pixels),
    }
