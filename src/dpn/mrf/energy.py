"""Eqns. 1 to 7 by definition, in float64, with every pair of pixels written out: the truth that the layers are held to.

Small images only: the tensors here have a row and a column for each pixel, P = H W, or of a clip P = T H W. Q and log p are
(P,L), the image is (P,3), positions are row-major, frame after frame. `Model` holds what defines one energy; each function is
one equation.
"""

from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from dpn.functional.kernels import kernel_named
from dpn.mrf.config import MRFConfig

SMALLEST_SUM = 1e-6


@dataclass(frozen=True)
class Model:
    """What one energy consists of.

    Attributes:
        log_p: (P,L), ln p_i^u from the unary network.
        image: (P,3), RGB in [0,1].
        size: (H,W), P = H W; or (T,H,W), P = T H W, of a clip of T frames.
        w1, w2: weights of squared colour distance and of squared distance in pixels.
        mu: (L,K,L,n,n), penalty of (u under component k, v) at each offset of j from i.
        config: the rest: window, kernel, ... Its widths, penalty and sizes of mu are not looked at: w1, w2 and mu say them.
    """

    log_p: Tensor
    image: Tensor
    size: tuple[int, ...]
    w1: float
    w2: float
    mu: Tensor
    config: MRFConfig = field(default_factory=MRFConfig)
    position: Tensor = field(init=False)
    frame: Tensor = field(init=False)

    def __post_init__(self) -> None:
        grid = torch.meshgrid(*(torch.arange(n) for n in (1, *self.size)[-3:]), indexing="ij")
        frame, *position = (each.flatten() for each in grid)
        object.__setattr__(self, "position", torch.stack(position, -1))
        object.__setattr__(self, "frame", frame)


def neighbours(model: Model) -> Tensor:
    """N_j as a (P,P) mask: row j, column z, offsets in y and in x the multiples of the stride in -(n//2) .. n-1-n//2.

    Without a window it is all pixels. z lies at most (frames - 1) / 2 frames away.
    """
    offset, near = model.position[None] - model.position[:, None], frames_between(model) <= model.config.frames // 2
    if model.config.window is None:
        return near
    n, stride = model.config.window, model.config.window_stride
    return ((offset >= -(n // 2)) & (offset <= n - 1 - n // 2) & (offset % stride == 0)).all(-1) & near


def frames_between(model: Model) -> Tensor:
    """How many frames j and z are apart, (P,P)."""
    return (model.frame[:, None] - model.frame[None]).abs()


def distance(model: Model) -> Tensor:
    """d(j,z) = w1 |I_j - I_z|^2 + w2 |[x_j y_j] - [x_z y_z]|^2, (P,P)."""
    image = kernel_named(model.config.kernel).seen(model.image)
    colour = (image[:, None] - image[None]).double().square().sum(-1)
    return model.w1 * colour + model.w2 * square_distance_in_pixels(model)


def square_distance_in_pixels(model: Model) -> Tensor:
    """|[x_j y_j] - [x_z y_z]|^2, (P,P)."""
    return (model.position[:, None] - model.position[None]).double().square().sum(-1)


def blurring(model: Model) -> Tensor:
    """The weights of the pixels around each, (P,P): (1 2 1) / 4 along y and x, of the border's beyond it, `blur` times."""
    (height, width), pixels = model.size[-2:], torch.arange(len(model.position))
    once = torch.zeros(len(pixels), len(pixels), dtype=torch.float64)
    for dy, dx in product((-1, 0, 1), repeat=2):
        y, x = (model.position[:, 0] + dy).clamp(0, height - 1), (model.position[:, 1] + dx).clamp(0, width - 1)
        once[pixels, (model.frame * height + y) * width + x] += (2 - abs(dy)) * (2 - abs(dx)) / 16
    weights: Tensor = torch.linalg.matrix_power(once, model.config.blur)
    return weights


def kernel(model: Model) -> Tensor:
    """k(j,z) over N_j, 0 elsewhere, blurred over j, (P,P), and the second kernel added to it, `smoothness` times.

    Over time k is multiplied by exp(-t^2 / (2 sigma_time^2)), where there is one; the second kernel and blur stay in a frame.
    Each is divided by the sums of its rows (at least 1e-6), before, where `normalize` is set; symmetric, by the roots of both
    pixels' sums.
    """
    config, d = model.config, distance(model)
    inside = neighbours(model) & (~torch.eye(len(d), dtype=torch.bool) | config.include_center)
    apart = frames_between(model).double()
    k = kernel_named(config.kernel).weight(d) * inside
    if config.sigma_time is not None:
        k = k * torch.exp(-((apart / config.sigma_time) ** 2) / 2)
    near = torch.exp(-square_distance_in_pixels(model) / (2 * config.sigma_smooth**2)) * (inside & (apart == 0))
    if config.normalize == "symmetric":
        k, near = (each / torch.outer(each.sum(1), each.sum(1)).sqrt() for each in (k, near))
    elif config.normalize:
        k, near = (each / each.sum(1, keepdim=True).clamp_min(SMALLEST_SUM) for each in (k, near))
    return blurring(model) @ k + config.smoothness * near


def compatibility(model: Model) -> Tensor:
    """mu_k(i,u,j,v) for every pair of pixels: (K,P,L,P,L), 0 where j lies outside i's context."""
    labels, components, _, n, _ = model.mu.shape
    pixels, dilation = len(model.position), model.config.context_dilation
    pairs = torch.zeros(components, pixels, labels, pixels, labels, dtype=torch.float64)
    for i in range(pixels):
        for j in range(pixels):
            dy, dx = (model.position[j] - model.position[i]).tolist()
            on_lattice = dy % dilation == 0 and dx % dilation == 0 and model.frame[i] == model.frame[j]
            row, column = dy // dilation + n // 2, dx // dilation + n // 2
            if on_lattice and 0 <= row < n and 0 <= column < n:
                pairs[:, i, :, j, :] = model.mu[..., row, column].transpose(0, 1)
    return pairs


def unary(model: Model) -> Tensor:
    """Eqn. 2: Phi_i^u = -ln p_i^u, (P,L)."""
    return -model.log_p.double()


def triple_penalty(model: Model, q: Tensor) -> Tensor:
    """The inner sum of Eqns. 4 and 7, (P,L): sum_z k(j,z) q_z^v, times q_j^v where `triple` is set."""
    s = kernel(model) @ q.double()
    return q * s if model.config.triple else s


def label_contexts(model: Model, s: Tensor) -> Tensor:
    """The outer sums of Eqn. 7, (P,L): min_k sum_v sum_j mu_k(i,u,j,v) s_j^v; the minimum over k is lambda_k."""
    return torch.einsum("kiujv,jv->kiu", compatibility(model), s.double()).amin(0)


def mean_field_step(model: Model, q: Tensor) -> Tensor:
    """Eqn. 7: q_i^u ~ exp{ -Phi_i^u - min_k sum_v sum_j mu_k(i,u,j,v) s_j^v }, (P,L)."""
    return torch.softmax(-unary(model) - label_contexts(model, triple_penalty(model, q)), dim=1)


def mean_field(model: Model, iterations: int = 1) -> Tensor:
    """`iterations` updates of Eqn. 7 with q initialised by p, (P,L)."""
    q = model.log_p.double().exp()
    for _ in range(iterations):
        q = mean_field_step(model, q)
    return q


def classic_pairwise(model: Model) -> Tensor:
    """Eqn. 3: Psi(y_i^u, y_j^v) = mu(u,v) k(i,j), (P,L,P,L); mu is K = 1 and 1x1."""
    return torch.einsum("uv,ij->iujv", model.mu[:, 0, :, 0, 0].double(), kernel(model))


def classic_step(model: Model, q: Tensor) -> Tensor:
    """Eqn. 6 with Eqn. 3: q_i^u ~ exp{ -(Phi_i^u + sum_j sum_v q_j^v Psi_ij^uv) }, all pixels at once, (P,L)."""
    return torch.softmax(-unary(model) - torch.einsum("iujv,jv->iu", classic_pairwise(model), q.double()), dim=1)


def energy(model: Model, labels: Tensor) -> Tensor:
    """Eqn. 1 with Eqns. 2 and 3: E(y) of one labelling, labels (P,) int64; each pair of pixels counts once."""
    i = torch.arange(len(labels))
    pairwise = classic_pairwise(model)[i[:, None], labels[:, None], i[None], labels[None]]
    return unary(model)[i, labels].sum() + pairwise.sum() / 2


def free_energy(model: Model, q: Tensor) -> Tensor:
    """Eqn. 5 with Eqn. 3: F(Q) = sum q Phi + sum q q Psi + sum q ln q; each pair of pixels counts once."""
    pairwise = torch.einsum("iu,iujv,jv->", q, classic_pairwise(model), q) / 2
    return (q * unary(model)).sum() + pairwise + _q_ln_q(q)


def triple_free_energy(model: Model, q: Tensor) -> Tensor:
    """Eqn. 5 with Eqn. 4: the pairwise term is sum_i sum_u q_i^u min_k sum_v sum_j mu_k(i,u,j,v) s_j^v."""
    pairwise = (q * label_contexts(model, triple_penalty(model, q))).sum()
    return (q * unary(model)).sum() + pairwise + _q_ln_q(q)


def _q_ln_q(q: Tensor) -> Tensor:
    """The sum of q ln q, where 0 ln 0 = 0."""
    total: Tensor = torch.special.xlogy(q, q).sum()
    return total
