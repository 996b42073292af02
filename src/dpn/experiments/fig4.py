"""Fig. 4: what the label contexts have learned: the compatibilities of labels, and where around one another is at home."""

import torch

from dpn.experiments.result import Result, experiment
from dpn.experiments.study import Study
from dpn.plots import compatibility, context_patterns

PAIRS = 6  # patterns that are drawn


@experiment("fig4", help="compatibilities and contexts")
def run(study: Study) -> Result:
    """Draws the compatibility matrix and the strongest patterns of the trained network."""
    contexts = study.stages["joint"].mrf.label_contexts
    mu, labels = contexts.mu.detach(), study.labels
    chosen = torch.zeros(mu.shape[:2])
    with torch.inference_mode():
        for i in range(len(study.validation)):
            sample, log_p = study.output(i)
            component = contexts.chosen(study.stages["joint"].mrf.triple_penalty(log_p.exp(), sample.image[None]))
            for k in range(mu.shape[1]):
                chosen[:, k] += (component == k).sum((0, 2, 3))
    share = chosen / chosen.sum(1, keepdim=True)
    sums = torch.einsum("uk,ukvyx->uv", share, mu.cpu())
    off = ~torch.eye(len(labels), dtype=torch.bool)
    pairs = off.nonzero()[sums[off].argsort()].tolist()
    shown = [("favoured", pair) for pair in pairs[:5]] + [("penalised", pair) for pair in pairs[::-1][:5]]
    rows = [(f"{labels[u]} : {labels[v]}", kind, float(sums[u, v])) for kind, (u, v) in shown]
    spread = mu.cpu().flatten(3).std(-1).mul(share[:, :, None]).sum(1).masked_fill(~off, 0)
    strongest = spread.flatten().argsort(descending=True)[:PAIRS].tolist()
    names = [(labels[i // len(labels)], labels[i % len(labels)]) for i in strongest]
    often = ", ".join(f"{100 * part:.0f} %" for part in share.mean(0).tolist())
    return Result(
        "Fig. 4: label compatibilities and contexts",
        "b13 of the jointly tuned network, its components weighted by how often b14 chooses each: summed over the "
        "neighbourhood (a), and the patterns of the pairs that vary most in space (b). Blue is favoured, red penalised.",
        ("u : v", "", "sum of mu(u, v)"),
        rows,
        {
            "compatibility": compatibility(mu, labels, chosen + 1e-9),
            "patterns": context_patterns(mu, labels, names, chosen + 1e-9, contexts.dilation),
        },
        remark=f"b14 chooses the components of a label, from the first on, at {often} of the pixels, averaged over the labels.",
    )
