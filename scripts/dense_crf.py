"""Ten iterations of the dense CRF (pydensecrf) over a network's unary, with three usual sets of parameters.

    pip install -c constraints.txt -e '.[peers]'
    python scripts/dense_crf.py voc --data_root DIR --out results/dense_crf

Writes a file of scores for each set, which `dpn evaluate voc --data voc --beside results/dense_crf/*.npz` puts beside the
network's own stages. Labels whose probability is nowhere above 1e-4 take no part: pydensecrf's cost too follows the labels.
"""

import sys
from pathlib import Path

import torch
from jsonargparse import auto_cli

from dpn import load
from dpn.bench.peers import DENSE_CRF, DenseCRF, find_peers
from dpn.data import open_data
from dpn.metrics import Evaluation
from dpn.mrf.absent_labels import present
from dpn.terminal import progress_bar

ABSENT_BELOW = 1e-4
SETS = {
    "dense_crf_readme": DENSE_CRF["pydensecrf as in its example"],
    "dense_crf_deeplab": DENSE_CRF["pydensecrf"],
    "dense_crf_crf_rnn": ((3, 3), (160, 3, 5)),  # CRF-RNN's starting values
}


def main(
    model: str,
    data_root: Path | None = None,
    data: str = "voc",
    split: str = "val",
    iterations: int = 10,
    out: Path = Path("results/dense_crf"),
) -> None:
    """Scores the three sets over a model's first stage.

    Args:
        model: a shipped name, a run's folder or a safetensors file that was saved with the stage "unary".
        data_root: where the data lies.
        data: voc, camvid or folder.
        split: which part of it.
        iterations: of mean field.
        out: folder for the scores.
    """
    peers = find_peers()
    if peers.dense_crf is None:
        sys.exit(peers.missing["pydensecrf"])
    network = load(model, stage="unary")
    images = open_data(data, root=data_root, split=split)
    evaluation = Evaluation(images.labels)
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(len(images)), description=f"dense CRF, {iterations} iterations, {len(SETS)} sets"):
            sample = images[i]
            log_p = network(sample.image[None])
            pixels = (sample.image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            which = present(log_p, ABSENT_BELOW).labels.numpy()
            for name, parameters in SETS.items():
                q = DenseCRF(peers.dense_crf, log_p[0].numpy()[which], pixels, parameters).whole(iterations)()
                labels = which[q.argmax(0).reshape(pixels.shape[:2])]
                evaluation.add(name, labels, sample.labels, sample.name)
    for name, scores in evaluation.scores.items():
        scores.save(out / f"{name}.npz")
    evaluation.table().print()


if __name__ == "__main__":
    auto_cli(main)
