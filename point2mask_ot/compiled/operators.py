"""One way to register an operator of torch: opaque to ``torch.compile``, so that its code may look at values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def operator(
    schema: str,
    shapes: Callable[..., Any],
    *,
    tags: Sequence[torch.Tag] = (),
    backward: Callable[..., Any] | None = None,
    remember: Callable[..., None] | None = None,
) -> Callable[[Function], Function]:
    """Make an operator ``point2mask::name`` of the function below, for every device; it takes the function's place.

    Not custom_op: its first call imports torch._dynamo, which takes more than a second.

    Args:
        schema: ``name(Tensor image, SymInt[] sizes, ...) -> Tensor``, the function's signature as torch writes it.
            Results share no memory with arguments, nor with one another.
        shapes: from the function's arguments to empty results of its shapes and dtypes, without a look at values.
        tags: what else torch should know.
        backward: ``backward(ctx, *gradients)`` -> the gradient by each argument, None where there is none. Without it
            callers detach what they pass.
        remember: ``remember(ctx, inputs, output)`` keeps what ``backward`` needs.
    """
    name, parameters, result = schema.partition("(")
    qualified = f"point2mask::{name}"

    def register(function: Function) -> Function:
        torch.library.define(qualified, parameters + result, tags=tags)
        torch.library.impl(qualified, "CompositeExplicitAutograd", function)
        torch.library.register_fake(qualified, shapes)
        if backward is not None:
            torch.library.register_autograd(qualified, backward, setup_context=remember)
        return getattr(torch.ops.point2mask, name).default  # type: ignore[no-any-return]

    return register


def refuse_gradient(ctx: Any, *gradients: Any) -> Any:
    """The ``backward`` of an operator that is itself a gradient and has none."""
    raise RuntimeError("point2mask: this gradient cannot be differentiated once more")
