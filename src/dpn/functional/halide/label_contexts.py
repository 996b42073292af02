"""The label contexts of b13 and b14 on the CPU, compiled by Halide: for every pixel j and label u

    o_j^u = min_k sum_v sum_off mu[u,k,v,off] s_{j + dilation off}^v,   off in [-(n//2) .. n-1-n//2]^2,  s = 0 outside.

A run of neighbouring pixels keeps the maps of all components of a label (of a few labels where the components are few)
in registers, and the minimum is taken there: the maps never reach memory.

The gradients flow to the chosen component only. With g_j^{uk} = g_j^u where k was chosen at j, and 0 elsewhere,

    ds_z^v = sum_u sum_k sum_off mu[u,k,v,off] g_{z - dilation off}^{uk},
    dmu[u,k,v,off] = sum_j g_j^{uk} s_{j + dilation off}^v.

Halide computes them too: torch's convolution gradients of the scattered g were slower by 1.4, with a dilation by far.

Images are taken one by one. Halide's axes run from the fastest, (x, y, u); HL_NUM_THREADS sets its threads.
"""

from typing import Any

import halide as hl
import torch
from torch import Tensor

from dpn.functional.halide.compiling import LANES, Formula, Tile, compiled
from dpn.functional.halide.expressions import functions, integers, variables

REGISTERS = 24 if LANES == 16 else 12  # vectors of sums that a core holds beside the operands
MAPS, MAPS_OF_S, MAPS_OF_MU = 6, 24, 18  # held at most: of labels x components; of labels; of labels x components x sources
ROWS = 4  # of a task
TILE = Tile(rows=8, columns=128)  # over which the gradient to mu is summed before it leaves the registers

x, y, u, v, k, ox, oy, lane, tx, ty = variables("x y u v k ox oy lane tx ty")
xo, xi, yo, yi, uo, ui, vo, vi, task = variables("xo xi yo yi uo ui vo vi task")


def contexts(s: Tensor, mu: Tensor, *, dilation: int) -> tuple[Tensor, Tensor]:
    """See dpn.functional.backend.LabelContexts."""
    labels, components = mu.shape[:2]
    o, component = torch.empty(s.shape, dtype=s.dtype), torch.empty(s.shape, dtype=torch.uint8)
    pipeline = _contexts(components, _held(labels, components))
    for i in range(len(s)):
        pipeline(s[i], mu, dilation, o[i], component[i])
    return o, component


def contexts_gradients(
    g: Tensor, component: Tensor, s: Tensor, mu: Tensor, *, dilation: int, need_s: bool, need_mu: bool
) -> tuple[Tensor | None, Tensor | None]:
    """See dpn.functional.backend.LabelContexts."""
    labels, components = mu.shape[:2]
    ds, dmu = None, None
    if need_s:
        ds = torch.empty(s.shape, dtype=s.dtype)
        pipeline = _gradient_to_s(components, _block(labels, MAPS_OF_S))
        for i in range(len(s)):
            pipeline(g[i], component[i], mu, dilation, ds[i])
    if need_mu:
        dmu = torch.zeros(mu.shape, dtype=mu.dtype)
        few = _block(labels, MAPS // components)
        pipeline = _gradient_to_mu(components, few, _block(labels, MAPS_OF_MU // (few * components)))
        for i in range(len(s)):
            each = torch.empty(mu.shape, dtype=mu.dtype)
            pipeline(g[i], component[i], s[i], dilation, mu.shape[-1], each)
            dmu += each
    return ds, dmu


def _held(labels: int, components: int) -> int:
    """How many labels' maps a run of pixels holds: of few values, so that few pipelines serve any number of labels."""
    most = max(1, MAPS // components)
    return most if labels >= most else min(labels, max(1, most // 2))


def _block(labels: int, most: int) -> int:
    """Labels in each of the fewest equal blocks of at most so many (the last may overlap the one before it)."""
    blocks = -(-labels // max(1, most))
    return -(-labels // blocks)


def _padded(name: str, kind: Any) -> tuple[Any, Any]:
    """An input of (x, y, label), and the same with zeros all around it."""
    given, padded = hl.ImageParam(kind, 3, name), hl.Func(name.upper())
    padded[x, y, u] = hl.BoundaryConditions.constant_exterior(given, hl.cast(kind, 0))[x, y, u]
    return given, padded


def _contexts_formula(components: int) -> Formula:
    """maps_uk = sum_v sum_off mu[u,k,v,off] s_{j + dilation off}^v; out is their minimum over k, and where it lies."""
    (s, S), mu, (dilation,) = _padded("s", hl.Float(32)), hl.ImageParam(hl.Float(32), 5, "mu"), integers("d")
    M, maps, out = functions("M maps out")
    M[k, ox, oy, v, u] = mu[ox, oy, v, k, u]
    size = mu.width()
    r = hl.RDom([(0, size), (0, size), (0, s.channels())])  # ox, oy, v
    at = x + dilation * (r.x - size // 2), y + dilation * (r.y - size // 2)
    maps[x, y, u, k] = hl.f32(0)
    maps[x, y, u, k] += M[k, r.x, r.y, r.z, u] * S[at[0], at[1], r.z]
    least, component = maps[x, y, u, 0], hl.u8(0)
    for i in range(1, components):
        component = hl.select(maps[x, y, u, i] < least, hl.u8(i), component)
        least = hl.min(least, maps[x, y, u, i])
    out[x, y, u] = (least, component)
    return Formula(out=out, maps=maps, M=M, S=S, r=r, inputs=[s, mu, dilation])


def _gradient_to_s_formula(components: int) -> Formula:
    """ds_z^v = sum_u sum_k sum_off mu[u,k,v,off] g_j^{uk}, j = z - dilation off."""
    (g, G), (component, C) = _padded("g", hl.Float(32)), _padded("component", hl.UInt(8))
    mu, (dilation,), (M, ds, out) = hl.ImageParam(hl.Float(32), 5, "mu"), integers("dilation"), functions("M ds out")
    M[v, ox, k, oy, u] = mu[ox, oy, v, k, u]
    size = mu.width()
    r = hl.RDom([(0, size), (0, components), (0, size), (0, g.channels())])  # ox, k, oy, and the label u of g
    j = x - dilation * (r.x - size // 2), y - dilation * (r.z - size // 2)
    guk = hl.select(C[j[0], j[1], r.w] == r.y, G[j[0], j[1], r.w], hl.f32(0))
    ds[x, y, u] = hl.f32(0)  # here the variable u is the label v of s
    ds[x, y, u] += M[u, r.x, r.y, r.z, r.w] * guk
    out[x, y, u] = ds[x, y, u]
    return Formula(out=out, ds=ds, M=M, G=G, C=C, r=r, inputs=[g, component, mu, dilation])


def _gradient_to_mu_formula() -> Formula:
    """dmu[u,k,v,off] = sum_j g_j^{uk} s_{j + dilation off}^v: over a tile's pixels, by lanes; the tiles; and the lanes."""
    (g, G), (component, C), (s, S) = _padded("g", hl.Float(32)), _padded("component", hl.UInt(8)), _padded("s", hl.Float(32))
    (dilation, size), (guk, tile, lanes, out) = integers("dilation size"), functions("guk tile lanes out")
    guk[x, y, k, u] = hl.select(C[x, y, u] == k, G[x, y, u], hl.f32(0))
    r, each = hl.RDom([(0, TILE.columns // LANES), (0, TILE.rows)]), hl.RDom([(0, LANES)])
    t = hl.RDom([(0, -(-g.width() // TILE.columns)), (0, -(-g.height() // TILE.rows))])
    j = tx * TILE.columns + r.x * LANES + lane, ty * TILE.rows + r.y
    sv = S[j[0] + dilation * (ox - size // 2), j[1] + dilation * (oy - size // 2), v]
    tile[lane, k, v, ox, oy, u, tx, ty] = hl.f32(0)
    tile[lane, k, v, ox, oy, u, tx, ty] += guk[j[0], j[1], k, u] * sv
    lanes[lane, k, v, ox, oy, u] = hl.f32(0)
    lanes[lane, k, v, ox, oy, u] += tile[lane, k, v, ox, oy, u, t.x, t.y]
    out[ox, oy, v, k, u] = hl.sum(lanes[each.x, k, v, ox, oy, u])
    inputs = [g, component, s, dilation, size]
    return Formula(out=out, guk=guk, tile=tile, lanes=lanes, G=G, C=C, S=S, r=r, t=t, inputs=inputs)


@compiled
def _contexts(components: int, labels: int) -> Formula:
    """The maps of all components of so many labels are held; fewer of them by longer runs of pixels."""
    f = _contexts_formula(components)
    width = LANES * max(1, REGISTERS // (labels * components))
    _pad(f.S)
    _hold(f.maps, f.out, labels, width)
    f.maps.bound_extent(k, components).unroll(k)
    f.maps.update().reorder(x, k, u, f.r.x, f.r.y, f.r.z, y).vectorize(x, width).unroll(k).unroll(u)
    f.M.compute_root()  # mu in the order in which it is read
    return f


@compiled
def _gradient_to_s(components: int, labels: int) -> Formula:
    """The gradients to so many labels v are held, since what is read of g serves them all."""
    f = _gradient_to_s_formula(components)
    _pad(f.G, f.C)
    _hold(f.ds, f.out, labels, LANES)
    f.ds.update().reorder(x, u, f.r.x, f.r.y, f.r.z, f.r.w, y).vectorize(x, LANES).unroll(u)
    f.M.compute_root()
    return f


@compiled
def _gradient_to_mu(components: int, labels: int, sources: int) -> Formula:
    """A task is a block of labels u by one of sources v. An offset at a time, their sums over a tile lie in registers."""
    f = _gradient_to_mu_formula()
    _pad(f.G, f.C, f.S)
    f.out.bound(k, 0, components).split(v, vo, vi, sources).split(u, uo, ui, labels)
    f.out.reorder(k, ox, oy, vi, ui, vo, uo).fuse(vo, uo, task).parallel(task)
    f.lanes.compute_at(f.out, task).vectorize(lane, LANES)
    f.lanes.update().reorder(lane, k, v, u, ox, oy, f.t.x, f.t.y)
    f.tile.compute_at(f.lanes, ox).store_in(hl.MemoryType.Register).vectorize(lane, LANES).unroll(k).unroll(v).unroll(u)
    f.tile.update().reorder(lane, k, v, u, f.r.x, f.r.y)
    for sums in (f.lanes, f.tile):
        sums.bound_extent(k, components).bound_extent(v, sources).bound_extent(u, labels)
        sums.update().vectorize(lane, LANES).unroll(k).unroll(v).unroll(u)
    f.guk.compute_at(f.lanes, f.t.x).vectorize(x, LANES)  # once a tile, for all offsets
    return f


def _pad(*maps: hl.Func) -> None:
    """In memory, zeros included, so that the innermost loop asks of no pixel where it lies."""
    for padded in maps:
        padded.never_partition_all().reorder_storage(x, u, y).compute_root().vectorize(x, LANES).parallel(y)


def _hold(sums: hl.Func, out: hl.Func, labels: int, width: int) -> None:
    """Computes out in vectors of that many pixels, and blocks of labels whose sums stay in registers; tasks are a few rows."""
    out.never_partition_all().split(x, xo, xi, width, hl.TailStrategy.PredicateStores).vectorize(xi)
    out.split(y, yo, yi, ROWS, hl.TailStrategy.GuardWithIf).split(u, uo, ui, labels).unroll(ui)
    out.reorder(xi, ui, yi, uo, xo, yo).parallel(yo)
    sums.compute_at(out, yi).store_in(hl.MemoryType.Register).vectorize(x, width).unroll(u)
    sums.bound_extent(x, width).bound_extent(y, 1).bound_extent(u, labels)
