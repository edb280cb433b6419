"""One way to register an operator of torch: opaque to ``torch.compile``, so that its code may look at values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
        overload = getattr(torch.ops.point2mask, name).default
        return overload if backward is None else _guarded(overload)  # type: ignore[return-value]

    return register


def _guarded(overload: Callable[..., Any]) -> Callable[..., Any]:
    """The operator, refusing the derivatives that it has not, which torch would take for zero.

    Without a gradient it spares the 20 us in which torch's Python finds out that none is asked for.
    """

    def call(*arguments: Any) -> Any:
        if torch.compiler.is_compiling():
            return overload(*arguments)
        tensors = list(_tensors(arguments))
        _refuse_transforms(tensors)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return overload(*arguments)
        with torch._C._AutoDispatchBelowAutograd():
            return overload(*arguments)

    return call


def _refuse_transforms(tensors: Sequence[torch.Tensor]) -> None:
    interpreter = torch._C._functorch.peek_interpreter_stack()
    transformed = interpreter is not None and interpreter.key().name != "Functionalize"
    if transformed or (
        torch.autograd.forward_ad._current_level >= 0
        and any(torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)
    ):
        raise NotImplementedError(
            "point2mask_ot: no forward-mode derivatives, and no transforms of torch.func (grad, jvp, vmap): gradients "
            "are those of backward() and torch.autograd.grad; most functions take a batch or a list"
        )


def _tensors(arguments: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Those among the arguments, and in lists of them."""
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from (value for value in argument if isinstance(value, torch.Tensor))


def keep_lists(ctx: Any, *lists: Sequence[torch.Tensor]) -> None:
    """Keep lists of tensors, all of one length, for a ``backward`` that may be handed None."""
    ctx.set_materialize_grads(False)  # results that nobody looked at have none
    ctx.save_for_backward(*(tensor for tensors in lists for tensor in tensors))


def kept_lists(ctx: Any, count: int) -> list[list[torch.Tensor]]:
    """Those lists, of which there are ``count``."""
    kept = ctx.saved_tensors
    length = len(kept) // count
    return [list(kept[n * length : (n + 1) * length]) for n in range(count)]


def where_wanted(
    ctx: Any,
    gradient_of: Callable[..., list[torch.Tensor]],
    incoming: Sequence[Any],
    lists: Sequence[Sequence[Any]],
    *numbers: Any,
) -> list[torch.Tensor | None]:
    """The gradient by each entry of an operator's first list; None where none comes in, or none is asked for.

    Args:
        ctx: of the ``backward``.
        gradient_of: from some entries of each list, and the numbers, to the gradients of these.
        incoming: for each entry, None where nothing depends on it.
        lists: what ``gradient_of`` needs of each entry.
        numbers: what else it needs.
    """
    needed = ctx.needs_input_grad[0]
    wanted = [n for n, given in enumerate(incoming) if given is not None and needed[n]]
    found = gradient_of(*([values[n] for n in wanted] for values in lists), *numbers) if wanted else []
    placed: list[torch.Tensor | None] = [None] * len(incoming)
    for n, own in zip(wanted, found, strict=True):
        placed[n] = own
    return placed


def refuse_gradient(ctx: Any, *gradients: Any) -> Any:
    """The ``backward`` of an operator that is itself a gradient and has none."""
    raise RuntimeError("point2mask: this gradient cannot be differentiated once more")
