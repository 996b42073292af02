"""Object files that Halide has written, linked into this process by LLVM: no compiler or linker of the system's is needed.

The structures are those of Halide's HalideRuntime.h. All pipelines share one runtime, so one pool of threads.
"""

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import halide as hl
import numpy as np
from numpy.typing import NDArray

TRIED = sys.platform == "linux" and platform.machine() == "x86_64"
AVAILABLE = TRIED and find_spec("llvmlite") is not None and os.environ.get("DPN_KERNEL_CACHE") != "0"
"""Whether code is linked; else every process compiles its own."""

RUNTIME = "halide_runtime"
"""The library that all pipelines share."""

CODES = {"i": 0, "u": 1, "f": 2}
"""Halide's number for each of numpy's kinds of numbers."""


class _Dimension(ctypes.Structure):
    _fields_ = [("min", ctypes.c_int32), ("extent", ctypes.c_int32), ("stride", ctypes.c_int32), ("flags", ctypes.c_uint32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("device", ctypes.c_uint64),
        ("device_interface", ctypes.c_void_p),
        ("host", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("type", _Type),
        ("dimensions", ctypes.c_int32),
        ("dim", ctypes.POINTER(_Dimension)),
        ("padding", ctypes.c_void_p),
    ]


class _Argument(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("dimensions", ctypes.c_int32),
        ("type", _Type),
        *((name, ctypes.c_void_p) for name in ("default", "min", "max", "estimate", "buffer_estimates")),
    ]


class _Metadata(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int32),
        ("num_arguments", ctypes.c_int32),
        ("arguments", ctypes.POINTER(_Argument)),
        ("target", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
    ]


INPUT = 1  # an argument's kind: 0 is a number, 1 and 2 are buffers to read and to write
SCALARS: dict[tuple[int, int], Any] = {(0, 32): ctypes.c_int32, (1, 1): ctypes.c_bool, (2, 32): ctypes.c_float}
"""{(a type's code, its bits): the number that is passed}."""

ErrorHandler = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)


class Linker:
    """What is linked stays until the process ends, since the runtime's threads may be anywhere in it.

    JITLink lays an object out in one piece. LLVM's older linker tears it apart where memory is fragmented, and aborts.
    """

    def __init__(self, runtime: bytes) -> None:
        from llvmlite import binding

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = binding.Target.from_default_triple().create_target_machine(reloc="pic")
        self._engine = binding.create_lljit_compiler(machine, use_jit_link=True)
        self._library = binding.JITLibraryBuilder
        self._lock, self._linked, self._error = threading.Lock(), dict[str, Any](), threading.local()
        self._handler = ErrorHandler(self._failed)
        setter = self._link(RUNTIME, runtime, "halide_set_error_handler")
        ctypes.CFUNCTYPE(ctypes.c_void_p, ErrorHandler)(setter["halide_set_error_handler"])(self._handler)

    def pipeline(self, name: str, code: bytes) -> Callable[..., None]:
        """The function of that name in an object file: it takes arrays, (..., y, x), and numbers.

        Inputs may lie in memory in any order. Raises halide.HalideError in Halide's words where it refuses what it is given.
        """
        found = self._link(name, code, name, f"{name}_metadata")
        metadata = ctypes.CFUNCTYPE(ctypes.POINTER(_Metadata))(found[f"{name}_metadata"])().contents
        arguments = metadata.arguments[: metadata.num_arguments]
        kinds = [each.kind for each in arguments]
        types = [ctypes.POINTER(_Buffer) if each.kind else SCALARS[each.type.code, each.type.bits] for each in arguments]
        call = ctypes.CFUNCTYPE(ctypes.c_int, *types)(found[name])

        def run(*given: Any) -> None:
            lying = [np.ascontiguousarray(each) if kind == INPUT else each for kind, each in zip(kinds, given, strict=True)]
            if error := call(*(_buffer(each) if kind else each for kind, each in zip(kinds, lying, strict=True))):
                raise hl.HalideError(vars(self._error).pop("message", f"error {error}"))

        return run

    def _link(self, library: str, code: bytes, *names: str) -> Any:
        """{name: its address} of an object file, which may call the runtime and the C library."""
        builder = self._library().add_object_img(code).add_current_process()
        if library != RUNTIME:
            builder.add_jit_library(RUNTIME)
        for name in names:
            builder.export_symbol(name)
        with self._lock:
            if library not in self._linked:
                self._linked[library] = builder.link(self._engine, library)
            return self._linked[library]

    def _failed(self, _: int | None, message: bytes) -> None:
        self._error.message = message.decode(errors="replace")


def _buffer(array: NDArray[Any]) -> _Buffer:
    """An array as Halide sees it: its last axis is the first dimension, whose stride is 1.

    numpy holds an array for contiguous whatever the strides of axes of one element are.
    """
    dimensions, inner = list[_Dimension](), 1
    for extent, stride in zip(array.shape[::-1], array.strides[::-1], strict=True):
        dimensions.append(_Dimension(0, extent, stride // array.itemsize if extent > 1 else inner))
        inner *= extent
    return _Buffer(
        host=array.ctypes.data,
        type=_Type(CODES[array.dtype.kind], 8 * array.itemsize, 1),
        dimensions=array.ndim,
        dim=(_Dimension * array.ndim)(*dimensions),
    )
