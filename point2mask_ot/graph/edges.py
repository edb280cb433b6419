"""Map terms to edge costs of the 8-connected pixel graph (Eq. 2-3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from ..arrays import Array, as_optional_tensors, check_floating, compute_dtype
from ..checks import check_choice, check_number, fail, fail_type, require_all
from ..compiled.operators import operator, refuse_gradient
from .grid import FORWARD_OFFSETS, pair_slices
from .pairs import pair_costs, pair_gradient

_KINDS = ("l1", "max", "cosine")
_TOLERANCE = 1e-3
"""How far interpolation may carry a probability out of [0, 1]."""
_LENGTH_TOLERANCE = 1e-2
"""How far half precision may carry a unit vector from length 1."""
LARGEST_POWER = 16.0
"""Of edge costs: what single precision holds of costs between 0.01 and 100."""

PairCost = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(B, C, h, w) values at both ends of the pairs -> (B, h, w) non-negative cost."""


@dataclass(frozen=True, eq=False)
class MapTerm:
    """One more map that shapes the edge costs: CIELAB, depth, another network's output, a low-level boundary.

    Args:
        map: (C, H, W) or (B, C, H, W), any finite values.
        weight: factor on the term, >= 0.
        kind: how both ends k, l of an edge are compared: ``"l1"`` is ``sum_c |m_c(k) - m_c(l)|``, ``"max"`` is
            sum_c max(m_c(k), m_c(l)) for non-negative maps, ``"cosine"`` is max(0, 1 - <m(k), m(l)>) for unit
            vectors, or a callable from the (B, C, h, w) values at both ends to a (B, h, w) cost.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import edge_costs
        >>> lab = np.zeros((3, 4, 5), np.float32)
        >>> edge_costs(terms=[MapTerm(lab, weight=0.5)]).shape
        (4, 4, 5)
    """

    map: Array
    weight: float = 1.0
    kind: Literal["l1", "max", "cosine"] | PairCost = "l1"


def edge_costs(
    semantic: Array | None = None,
    boundary: Array | None = None,
    *,
    beta: float = 0.1,
    features: Array | None = None,
    feature_weight: float = 0.1,
    terms: Sequence[MapTerm] = (),
    step_cost: float = 0.0,
    power: float = 1.0,
) -> Array:
    """Cost of each edge between neighbouring pixels k, l (Eq. 2-3), with ``power=1``::

        sum_c |P_c(k) - P_c(l)| + beta max(B(k), B(l)) + feature_weight max(0, 1 - <F(k), F(l)>) + terms + step_cost

    and this to the given power otherwise.

    Diagonal edges carry no factor sqrt(2), as in the paper.

    Torch maps get gradients, in their own dtype; weights are numbers and get none. At a kink of the cost, where it has
    no derivative, the gradient is a subgradient: ``"l1"`` gives none to values that are equal, ``"max"`` half to each
    of two that are and none to those below zero, ``"cosine"`` none where the product exceeds 1. A callable is
    differentiated by autograd, also by what else it holds. A power above 1 gives no gradient where the cost is 0, nor
    to walls. Pairs that leave the image take none. The gradients of the built-in kinds cannot be differentiated again.

    Args:
        semantic: (C, H, W) or (B, C, H, W) class probabilities P in [0, 1].
        boundary: (1, H, W) or (B, 1, H, W) boundary probability B in [0, 1].
        beta: weight of the boundary, >= 0.
        features: (D, H, W) or (B, D, H, W) unit vectors F.
        feature_weight: weight of the features' cosine distance, >= 0.
        terms: further maps, each a :class:`MapTerm`.
        step_cost: cost of every step, >= 0; a small one keeps paths short where the maps are flat.
        power: what the sum is raised to, from 1 to 16. Above 1 the few large steps of a path, where it crosses
            an outline, outweigh the many small ones of noise and shading; as it grows, the cheapest path comes to be
            the one whose largest step is least, which is what a watershed floods along.

    Returns:
        (4, H, W) or (B, 4, H, W) float32 (float64 if any map is), the forward half of the 8 neighbours in the
        order of :data:`point2mask_ot.graph.FORWARD_OFFSETS`; +inf where the neighbour is outside the image.

    On a GPU nothing waits for the device; a bad value is a device-side assert there.

    Raises:
        ArgumentError: no map at all, maps of different size or batch, NaN or infinity, probabilities outside
            [0, 1] by more than 1e-3, features longer than unit vectors, an empty image, negative weights, a custom
            cost that is negative or NaN.
        ArgumentTypeError: NumPy beside torch; integer, bool or complex maps.

    Example:
        >>> import numpy as np
        >>> P = np.zeros((2, 3, 4), np.float32); P[0, :, :2] = 1; P[1, :, 2:] = 1
        >>> edge_costs(P)[0, 0].tolist()  # steps to the right: only the one across the class border costs
        [0.0, 2.0, 0.0, inf]
    """
    name = "edge_costs"
    given = {"semantic": semantic, "boundary": boundary, "features": features}
    given.update({f"terms[{i}]": term.map for i, term in enumerate(check_terms(name, terms))})
    tensors, restore = as_optional_tensors(name, **given)
    maps = {key: value for key, value in zip(given, tensors, strict=True) if value is not None}
    single = check_maps(name, maps)
    step = check_number(name, "step_cost", step_cost, minimum=0)
    power = check_number(name, "power", power, minimum=1, maximum=LARGEST_POWER)

    kinds: list[str | PairCost] = ["l1", "max", "cosine", *(term.kind for term in terms)]
    weights = [1.0, check_number(name, "beta", beta, minimum=0)]
    weights.append(check_number(name, "feature_weight", feature_weight, minimum=0))
    weights += [term.weight for term in terms]
    summands = [
        Summand(key, maps[key][None] if single else maps[key], kind, weight)
        for key, kind, weight in zip(given, kinds, weights, strict=True)
        if key in maps
    ]
    total = sum_costs(summands, step, power)
    return restore(total[0] if single else total)


class Summand(NamedTuple):
    """One map's part in the cost of an edge."""

    name: str
    """The argument that it came in."""
    image: torch.Tensor
    """(B, C, H, W)."""
    kind: str | PairCost
    weight: float


def sum_costs(summands: Sequence[Summand], step_cost: float, power: float = 1.0, *, check: bool = True) -> torch.Tensor:
    """(B, 4, H, W) edge costs of maps whose shapes fit, with a gradient where they are checked.

    Args:
        summands: at least one.
        step_cost: cost of every step.
        power: of the sum.
        check: refuse bad values in the name of :func:`edge_costs`; False where :func:`check_values` has been called.
    """
    wide = any(summand.image.dtype == torch.float64 for summand in summands)
    total = _empty_edges(summands[0].image, torch.float64 if wide else torch.float32, step_cost)
    for name, given, kind, weight in summands:
        image = given.to(compute_dtype(given))
        if callable(kind):
            cost = _custom_cost(name, image, kind)
        else:
            cost = _checked_pair_costs(image, kind, name) if check else pair_costs(image, kind)
        if weight:  # a wall of no weight is no wall, but 0 * inf is NaN
            total += cost.mul_(weight)
    return total if power == 1 else _raised(total, power)


def _raised(total: torch.Tensor, power: float) -> torch.Tensor:
    """Costs to the power; they may be changed. Walls stay walls, but without the gradient inf * 0 of a power."""
    if not total.requires_grad:
        return total.pow_(power)
    wall = total.detach() == torch.inf
    return total.masked_fill_(wall, 0).pow(power).masked_fill_(wall, torch.inf)


def check_terms(function: str, terms: object) -> Sequence[MapTerm]:
    """Refuse what is not a sequence of :class:`MapTerm`, kinds that do not exist and negative weights."""
    if not isinstance(terms, Sequence):
        fail_type(function, "terms", terms, "a list of MapTerm")
    for index, term in enumerate(terms):
        if not isinstance(term, MapTerm):
            fail_type(function, f"terms[{index}]", term, "a MapTerm")
        if not callable(term.kind):
            check_choice(function, f"terms[{index}].kind", term.kind, _KINDS)
        check_number(function, f"terms[{index}].weight", term.weight, minimum=0)
    return terms


def check_maps(function: str, maps: dict[str, torch.Tensor]) -> bool:
    """Refuse shapes and dtypes that do not belong together; say whether the maps lack the batch axis."""
    if not maps:
        fail(function, "semantic", "no map at all", "at least one of semantic, boundary, features, terms")
    first_name, first = next(iter(maps.items()))
    for name, value in maps.items():
        check_floating(function, name, value)
        if value.ndim not in (3, 4) or 0 in value.shape:
            fail(function, name, f"shape {tuple(value.shape)}", "a non-empty (C, H, W) or (B, C, H, W)")
        if value.shape[-2:] != first.shape[-2:] or value.shape[:-3] != first.shape[:-3]:
            expected = f"the batch and size of '{first_name}', {tuple(first.shape)}"
            fail(function, name, f"shape {tuple(value.shape)}", expected)
    if "boundary" in maps and maps["boundary"].shape[-3] != 1:
        fail(function, "boundary", f"shape {tuple(maps['boundary'].shape)}", "one channel")
    return first.ndim == 3


def check_values(function: str, name: str, image: torch.Tensor, kind: str) -> None:
    """Refuse values that cannot be what the (B, C, H, W) map called ``name`` should hold."""
    low, high = torch.aminmax(image)
    require_all(function, name, (low > -torch.inf) & (high < torch.inf), "NaN or infinity", "finite values")
    if name in ("semantic", "boundary"):
        within = (low >= -_TOLERANCE) & (high <= 1 + _TOLERANCE)
        expected = "probabilities in [0, 1] (these look like logits: apply softmax or sigmoid first)"
        require_all(function, name, within, lambda: f"values from {float(low):.4g} to {float(high):.4g}", expected)
    if kind == "max":
        expected = "a non-negative map for kind 'max'"
        require_all(function, name, low >= -_TOLERANCE, lambda: f"values from {float(low):.4g}", expected)
    if kind == "cosine":
        longest = _longest(image)  # shorter ones come of resizing
        expected = "unit vectors along the channels (torch.nn.functional.normalize makes them)"
        within = longest <= 1 + _LENGTH_TOLERANCE
        require_all(function, name, within, lambda: f"vectors of length up to {float(longest):.4g}", expected)


def _empty_edges(like: torch.Tensor, dtype: torch.dtype, step_cost: float) -> torch.Tensor:
    """(B, 4, H, W): the step cost inside the image, +inf at the pairs that leave it."""
    edges = torch.full((like.shape[0], 4, *like.shape[-2:]), torch.inf, dtype=dtype, device=like.device)
    for index, offset in enumerate(FORWARD_OFFSETS):
        here, _ = pair_slices(offset)
        edges[:, index, *here] = step_cost
    return edges


def _custom_cost(name: str, image: torch.Tensor, kind: PairCost) -> torch.Tensor:
    cost = image.new_zeros((image.shape[0], 4, *image.shape[-2:]))
    for index, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        pair = kind(image[:, :, *here], image[:, :, *there])
        expected = cost[:, index, *here].shape
        if not isinstance(pair, torch.Tensor) or pair.shape != expected:
            fail("edge_costs", f"{name}.kind", f"a result of {_shape(pair)}", f"a tensor of {tuple(expected)}")
        cost[:, index, *here] = pair
    require_all("edge_costs", f"{name}.kind", cost >= 0, "a negative or NaN cost", "costs >= 0")
    return cost


def _shape(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def _pair_costs_shape(image: torch.Tensor, kind: str, name: str) -> torch.Tensor:
    return image.new_empty((image.shape[0], 4, *image.shape[-2:]))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    image, ctx.kind, _ = inputs
    ctx.save_for_backward(image)


def _backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    (image,) = ctx.saved_tensors
    return _pair_cost_gradient(gradient, image, ctx.kind), None, None


@operator(
    "pair_cost(Tensor image, str kind, str name) -> Tensor", _pair_costs_shape, backward=_backward, remember=_remember
)
def _checked_pair_costs(image: torch.Tensor, kind: str, name: str) -> torch.Tensor:
    image = image.detach()
    check_values("edge_costs", name, image, kind)
    return pair_costs(image, kind)


def _pair_cost_gradient_shape(gradient: torch.Tensor, image: torch.Tensor, kind: str) -> torch.Tensor:
    return image.new_empty(image.shape)


@operator(
    "pair_cost_gradient(Tensor gradient, Tensor image, str kind) -> Tensor",
    _pair_cost_gradient_shape,
    backward=refuse_gradient,
)
def _pair_cost_gradient(gradient: torch.Tensor, image: torch.Tensor, kind: str) -> torch.Tensor:
    return pair_gradient(gradient.detach(), image.detach(), kind)


def _longest(image: torch.Tensor) -> torch.Tensor:
    """Length of the longest vector along the channels of a (B, C, H, W) map."""
    if image.device.type != "cpu":
        return torch.linalg.vector_norm(image, dim=1).amax()
    from .edge_kernels import add_squares

    squares = image.new_zeros((image.shape[0], image[0, 0].numel()))
    for features, total in zip(image.contiguous().flatten(2).numpy(), squares.numpy(), strict=True):
        add_squares(features, total)
    return squares.amax().sqrt()
