"""Linear systems on the 4-connected pixel graph: conjugate gradients, preconditioned by multigrid.

The matrix is a weighted graph Laplacian plus a non-negative diagonal. Blocks of 2 x 2 pixels make the next grid: their
diagonals add up, and the conductance between two blocks is half the sum of the two edges between them, as for a path
twice as long and twice as wide. Every step is an elementwise operation or a sum of neighbours, for all right-hand sides
at once, on any device, and the host waits for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

DAMPING = 0.8
COARSEST = 8
"""Side of the grid that is not coarsened further."""
COARSEST_SWEEPS = 16
LEAST_CONDUCTANCE = 1e-20
"""Of a finite edge: the inverse of a smaller one could overflow in single precision."""


@dataclass(frozen=True, eq=False)
class Grid:
    """One level: (H, W-1) and (H-1, W) conductances to the right and downwards, and the (H, W) extra diagonal."""

    right: Tensor
    down: Tensor
    ground: Tensor

    @cached_property
    def diagonal(self) -> Tensor:
        return self.ground + _sum_at_ends(self.right, self.down)

    @cached_property
    def damped_inverse(self) -> Tensor:
        """Of the diagonal; 0 at pixels that are joined to nothing."""
        return torch.where(self.diagonal > 0, DAMPING / self.diagonal, 0)

    def times(self, x: Tensor) -> Tensor:
        """The matrix times (K, H, W)."""
        y = self.diagonal * x
        y[..., :-1].addcmul_(self.right, x[..., 1:], value=-1)
        y[..., 1:].addcmul_(self.right, x[..., :-1], value=-1)
        y[..., :-1, :].addcmul_(self.down, x[..., 1:, :], value=-1)
        y[..., 1:, :].addcmul_(self.down, x[..., :-1, :], value=-1)
        return y

    def coarser(self) -> Grid:
        across, below = self.right[:, 1::2], self.down[1::2]  # the edges that leave a block
        right = _sum_pairs(across, 0) / 2
        down = _sum_pairs(below, 1) / 2
        return Grid(right, down, coarser(self.ground[None])[0])


def hierarchy(finest: Grid) -> list[Grid]:
    """The grid and its coarser ones."""
    grids = [finest]
    while max(grids[-1].ground.shape) > COARSEST:
        grids.append(grids[-1].coarser())
    return grids


def solve(grids: list[Grid], right_side: Tensor, iterations: int) -> Tensor:
    """(K, H, W) x with matrix x = right side, after a number of iterations on each grid, the coarsest first."""
    finest = grids[0]
    x = torch.zeros_like(right_side)
    if len(grids) > 1:
        x = _finer(solve(grids[1:], coarser(right_side), iterations), finest)
    residual = right_side - finest.times(x)
    direction = correction = _cycle(grids, residual)
    energy = _dot(residual, correction)
    for remaining in reversed(range(iterations)):
        image = finest.times(direction)
        step = _divide(energy, _dot(direction, image))
        x = x + step * direction
        if not remaining:
            break
        residual = residual - step * image
        correction = _cycle(grids, residual)
        previous, energy = energy, _dot(residual, correction)
        direction = correction + _divide(energy, previous) * direction
    return x


def _cycle(grids: list[Grid], residual: Tensor) -> Tensor:
    """One V-cycle from zero, symmetric: damped Jacobi before and after the coarser grid's correction."""
    grid = grids[0]
    x = grid.damped_inverse * residual
    if len(grids) == 1:
        for _ in range(COARSEST_SWEEPS):
            x = x + grid.damped_inverse * (residual - grid.times(x))
        return x
    x = x + _finer(_cycle(grids[1:], coarser(residual - grid.times(x))), grid)
    return x + grid.damped_inverse * (residual - grid.times(x))


def _sum_at_ends(right: Tensor, down: Tensor) -> Tensor:
    """(H, W) sum of the conductances of each pixel's edges."""
    return pad(right, (0, 1)) + pad(right, (1, 0)) + pad(down, (0, 0, 0, 1)) + pad(down, (0, 0, 1, 0))


def coarser(x: Tensor) -> Tensor:
    """(K, H, W) -> (K, H/2, W/2) sums over blocks."""
    height, width = x.shape[-2:]
    return avg_pool2d(pad(x, (0, width % 2, 0, height % 2)), 2, divisor_override=1)


def _finer(x: Tensor, grid: Grid) -> Tensor:
    """Each block's value at all its pixels that are joined to something."""
    height, width = grid.ground.shape
    copies = x.repeat_interleave(2, -2)[..., :height, :].repeat_interleave(2, -1)[..., :width]
    return torch.where(grid.diagonal > 0, copies, 0)


def _sum_pairs(x: Tensor, axis: int) -> Tensor:
    """Sums of entries 0 and 1, 2 and 3, ... along an axis; a last one stays alone."""
    length = x.shape[axis]
    if length % 2:
        x = torch.cat([x, torch.zeros_like(x.narrow(axis, 0, 1))], axis)
    even, odd = (x[0::2], x[1::2]) if axis == 0 else (x[:, 0::2], x[:, 1::2])
    return even + odd


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b > 0, a / b, 0)
