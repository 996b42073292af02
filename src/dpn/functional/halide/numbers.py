"""Numbers of float32 by their bits, for Halide's pipelines: powers of two, and what is not a number."""

import math
from typing import Any

import halide as hl

EXP2 = (1.0, 0.69312411, 0.24024104, 0.055906877, 0.0095827006)  # of t^0 .. t^4: 2^t for |t| <= 1/2, to 3e-6 of it
ROUNDS = 1.5 * 2**23  # added to a number rounds it: the last bits of the sum are those of the whole number
BITS_OF_E = 1 / math.log(2)  # log2 e
FAR = -200.0  # 2^FAR is 0 in float32


def exp2(bits: Any) -> Any:
    """2^bits for bits <= 0, to 3e-6 of it, 0 from 2^-127 down: 2^n 2^t, n whole, |t| <= 1/2; n joins the exponent's bits."""
    bits = hl.max(bits, hl.f32(-127))
    rounded = hl.strict_float(bits + hl.f32(ROUNDS))
    t, power = hl.strict_float(bits - hl.strict_float(rounded - hl.f32(ROUNDS))), hl.f32(EXP2[-1])
    for coefficient in EXP2[-2::-1]:
        power = power * t + hl.f32(coefficient)
    return hl.reinterpret(hl.Float(32), hl.reinterpret(hl.Int(32), power) + (hl.reinterpret(hl.Int(32), rounded) << 23))


def magnitude_bits(value: Any) -> Any:
    """The bits of |value|, as an integer: ordered as the magnitudes are, NaN above infinity."""
    return hl.reinterpret(hl.Int(32), value) & 0x7FFFFFFF


def is_nan(value: Any) -> Any:
    """Whether a value is NaN, by its bits: a compiler may take no float for one."""
    return magnitude_bits(value) > hl.reinterpret(hl.Int(32), hl.f32(math.inf))
