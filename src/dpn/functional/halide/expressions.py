"""What the formulas of Halide's pipelines are written with: their names, and float32 numbers by their bits.

Halide's axes run from the fastest: maps (C,H,W) are read as (x, y, c).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import halide as hl

EXP2 = (1.0, 0.69312411, 0.24024104, 0.055906877, 0.0095827006)  # of t^0 .. t^4: 2^t for |t| <= 1/2, to 3e-6 of it
ROUNDS = 1.5 * 2**23  # added to a number rounds it: the last bits of the sum are those of the whole number
BITS_OF_E = 1 / math.log(2)  # log2 e
FAR = -200.0  # 2^FAR is 0 in float32


def _named(create: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Makes `w1, w2 = floats("w1 w2")` of what makes one."""
    return lambda names: [create(name) for name in names.split()]


variables = _named(hl.Var)
functions = _named(hl.Func)
arrays = _named(lambda name: hl.ImageParam(hl.Float(32), 3, name))  # inputs, as the three below
floats = _named(lambda name: hl.Param(hl.Float(32), name))
integers = _named(lambda name: hl.Param(hl.Int(32), name))
flags = _named(lambda name: hl.Param(hl.Bool(), name))


def select(number: Any, values: Sequence[Any]) -> Any:
    """values[number]; unrolled over `number`, each of them alone."""
    return functools.reduce(lambda others, i: hl.select(number == i, values[i], others), range(len(values) - 1), values[-1])


def exp2(bits: Any) -> Any:
    """2^bits for bits <= 0, to 3e-6 of it, 0 from 2^-127 down: 2^n 2^t, n whole, |t| <= 1/2; n joins the exponent's bits."""
    bits = hl.max(bits, hl.f32(-127))
    rounded = hl.strict_float(bits + hl.f32(ROUNDS))
    t, power = hl.strict_float(bits - hl.strict_float(rounded - hl.f32(ROUNDS))), hl.f32(EXP2[-1])
    for coefficient in EXP2[-2::-1]:
        power = power * t + hl.f32(coefficient)
    return hl.reinterpret(hl.Float(32), hl.reinterpret(hl.Int(32), power) + (hl.reinterpret(hl.Int(32), rounded) << 23))


def is_nan(value: Any) -> Any:
    """Whether a value is NaN, by its bits: a compiler may assume that no float is."""
    return _magnitude(value) > hl.reinterpret(hl.Int(32), hl.f32(math.inf))


def to_order(value: Any) -> Any:
    """An integer for a float: as integers they are ordered as the floats are, NaN above all."""
    return hl.select(is_nan(value), _magnitude(value), _flipped(hl.reinterpret(hl.Int(32), value)))


def from_order(integer: Any) -> Any:
    """The float that `to_order` gave an integer for."""
    return hl.reinterpret(hl.Float(32), _flipped(integer))


def _magnitude(value: Any) -> Any:
    return hl.reinterpret(hl.Int(32), value) & 0x7FFFFFFF


def _flipped(bits: Any) -> Any:
    """A negative float's magnitude grows as it falls: all bits but the sign are turned over. Its own inverse."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
