"""Random walks on any device, and in double precision; the host waits for none."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arrays import to_device
from ..checks import surely_all
from .multigrid import LEAST_CONDUCTANCE, Grid, hierarchy, solve
from .walk import LEAST_PROBABILITY, Walk

_ITERATIONS = 8
"""Conjugate gradients that do as much as a cycle of the compiled kernels."""


def probabilities(walk: Walk, cycles: int) -> Tensor:
    """(K, H, W) probability that a walk meets each target first; harmonic but at the seeds."""
    if not walk.count:
        return walk.edges.new_empty(0, *walk.reached.shape)
    grids, inflow, seeds = _system(walk)
    return seeds + solve(grids, inflow, _ITERATIONS * cycles)


def unlikeliness(walk: Walk, cycles: int) -> Tensor:
    """(K, H, W) 1 / such a probability, 1e6 at most; +inf where a walk meets none."""
    found = probabilities(walk, cycles).clamp_(LEAST_PROBABILITY, 1).reciprocal_()
    return found.masked_fill_(~walk.reached, torch.inf)


def edge_flows(walk: Walk, cost: Tensor, gradient: Tensor, cycles: int) -> Tensor:
    """By how much a loss falls as conductances grow, by the adjoint system, which has the same matrix.

    The loss grows with a probability x by -gradient / x, and with the conductance between u and v by
    -(r_u - r_v) (x_u - x_v), where r is the solution for that as right-hand side. What is added to the right-hand sides
    of all targets alike changes nothing but the errors, since the probabilities of a pixel sum to 1: added is the sum
    of the gradients, after which nothing is left of a loss that depends on that sum of probabilities alone.

    Args:
        walk: whose probabilities these are.
        cost: (K, H, W) what was found for it: -log x, x cut off at LEAST_PROBABILITY; anything where no walk leads.
        gradient: (K, H, W) of the loss by that; ignored where x was cut off or given, or no walk leads.
        cycles: as for the probabilities.

    Returns:
        (2, H, W) sums over the targets of (r_u - r_v) (x_u - x_v), to the right and downwards; 0 at the end.
    """
    grids, inflow, seeds = _system(walk)
    free = walk.reached & (seeds.sum(0) == 0)
    x = torch.where(free, torch.exp(-cost), seeds)
    certain = LEAST_PROBABILITY * (1 + 100 * torch.finfo(x.dtype).eps)
    if not surely_all((x > certain) | ~free):  # what was cut off tells no differences
        x = seeds + solve(grids, inflow, _ITERATIONS * cycles)
    gradient = torch.where(free & (x > certain), gradient, 0)
    source = torch.where(free, gradient.sum(0) - gradient / x.clamp(min=LEAST_PROBABILITY), 0)
    response = solve(grids, source, _ITERATIONS * cycles)
    flow = walk.edges.new_zeros(2, *walk.reached.shape)
    flow[0, :, :-1] = ((response[..., :-1] - response[..., 1:]) * (x[..., :-1] - x[..., 1:])).sum(0)
    flow[1, :-1] = ((response[..., :-1, :] - response[..., 1:, :]) * (x[..., :-1, :] - x[..., 1:, :])).sum(0)
    return flow


def most_probable(walk: Walk) -> Tensor:
    """(H, W) int64 target of the largest such probability, the first of equals."""
    if not walk.count:
        return torch.full_like(walk.reached, -1, dtype=torch.int64)
    return probabilities(walk, 1).argmax(0)


def _system(walk: Walk) -> tuple[list[Grid], Tensor, Tensor]:
    """The matrix on all grids, (K, H, W) the right-hand sides, and (K, H, W) the seeds."""
    edges, reached, step = walk.edges, walk.reached, walk.step
    height, width = reached.shape
    right, down = edges[0, :, :-1], edges[2, :-1]
    right = torch.where(torch.isfinite(right) & reached[:, :-1], conductance(right, step), 0)
    down = torch.where(torch.isfinite(down) & reached[:-1], conductance(down, step), 0)
    seeds = edges.new_zeros(walk.count, height * width)
    pixels = to_device(walk.seeds[:, 0] * width + walk.seeds[:, 1], edges.device)
    seeds[to_device(walk.target, edges.device), pixels] = to_device(walk.share, edges.device).to(edges.dtype)
    seeds = seeds.view(walk.count, height, width)
    free = seeds.sum(0) == 0
    whole = Grid(right, down, torch.zeros_like(seeds[0]))
    inner_right = right * (free[:, :-1] & free[:, 1:])
    inner_down = down * (free[:-1] & free[1:])
    ground = torch.where(free, whole.diagonal - Grid(inner_right, inner_down, whole.ground).diagonal, 0).clamp(min=0)
    return hierarchy(Grid(inner_right, inner_down, ground)), torch.where(free, -whole.times(seeds), 0), seeds


def conductance(cost: Tensor, step: Tensor) -> Tensor:
    """Of edges, 1 where they cost nothing."""
    return (step / (cost + step)).clamp(min=LEAST_CONDUCTANCE)


def conductance_slope(cost: Tensor, step: Tensor) -> Tensor:
    """Its derivative by the cost: 0 of walls, and where it is the least."""
    conducts = step / (cost + step)
    return torch.where(conducts > LEAST_CONDUCTANCE, -conducts.square() / step, 0)
