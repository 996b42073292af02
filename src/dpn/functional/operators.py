"""Operators of torch's own registry, which compilers and autocast see through.

As torch.library.custom_op registers them, but without its guard around each call, which imports the whole of torch's compiler
at the first, for a second.
"""

from collections.abc import Callable
from typing import Any

import torch


def operator(function: Callable[..., Any]) -> Any:
    """Registers a function that computes on any device as dpn::NAME, by its own name without underscores before it.

    It is annotated, and makes of tensors and plain values new tensors, none of which shares memory with another. The operator
    is called like it, and torch.library.register_fake and register_autograd take it.
    """
    name = function.__name__.lstrip("_")
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(f"dpn::{name}", schema, tags=[torch.Tag.pt2_compliant_tag])
    torch.library.impl(f"dpn::{name}", "default", function)
    return getattr(torch.ops.dpn, name).default


def differentiable_once(ctx: Any, *gradients: Any) -> Any:
    """The backward rule of an operator that computes gradients; without one, torch would take second derivatives to be 0."""
    raise NotImplementedError("dpn's operators are differentiable once: no second derivatives (create_graph=True) through them")
