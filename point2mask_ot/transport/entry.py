"""The public solvers: checked arguments in, a :class:`TransportResult` out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import torch

from ..arrays import Array, Restore
from ..checks import ConvergenceWarning, check_choice, check_integer, check_number, fail
from ..nearest import NearestCosts
from ..types import TransportResult
from .checks import as_batch, as_batches, as_pairs, listed_problems
from .operator import transport
from .problem import Batch, Options, Solution
from .sinkhorn import entropic_plan, log_shares

_BACKENDS = ("auto", "numba", "torch", "triton")
_METHODS = ("auto", "sinkhorn", "newton", "exact")
_MAX_ITER = {"sinkhorn": 10_000, "newton": 500, "exact": 10_000_000}


@overload
def sinkhorn(
    a: Array, b: Array, M: Array | NearestCosts, reg: float, *, max_iter: int = ..., tol: float | None = ...,
    tau: float | None = ..., marginal_floor: float = ..., normalize: bool = ..., backend: str = ...,
) -> TransportResult: ...  # fmt: skip
@overload
def sinkhorn(
    a: Sequence[Array], b: Sequence[Array], M: Sequence[Array | NearestCosts], reg: float, *, max_iter: int = ...,
    tol: float | None = ..., tau: float | None = ..., marginal_floor: float = ..., normalize: bool = ...,
    backend: str = ...,
) -> list[TransportResult]: ...  # fmt: skip


def sinkhorn(
    a: Any,
    b: Any,
    M: Any,
    reg: float,
    *,
    max_iter: int = 80,
    tol: float | None = None,
    tau: float | None = None,
    marginal_floor: float = 0.0,
    normalize: bool = False,
    backend: str = "auto",
) -> Any:
    """Sinkhorn's algorithm in the log domain (Eq. 9-11): a number of rounds, or until a tolerance.

    Potentials start equal. A round updates the pixels first and the suppliers last, as the paper's code does, so
    the suppliers' marginals of the result are exact and the pixels' are not. At a small ``reg`` 80 rounds are far
    from convergence (:func:`solve` converges); this function is for parity with the paper and for comparison.

    Args:
        a: (K,) capacities of the suppliers, or (B, K), or a list of such where K or N differ. Any real dtype.
        b: (N,) demand of the pixels, or (B, N), or a list.
        M: (K, N) costs, or (B, K, N), or a list. +inf forbids a pair. float64 and integers are computed in float64,
            other floats in float32 with float64 totals. Or :class:`~point2mask_ot.NearestCosts` on the CPU: potentials
            then start at the prices at which its entries were chosen, and where there is a tolerance they are chosen
            anew, as in :func:`solve`.
        reg: weight of the entropy, in units of M; positive.
        max_iter: rounds to make; with a tolerance, at most.
        tol: stop when the L1 error of the marginals over the mass is at most this; None makes exactly
            ``max_iter`` rounds.
        tau: softness of the capacities, as in :func:`solve`; None or inf for hard ones. Each round first shifts f to
            where the capacities in force sum to the demand.
        marginal_floor: added to every entry of both marginals, once ``a`` has the total of ``b``; 1e-8 copies the
            paper's released code, in which suppliers without capacity and pixels without demand take part with that
            mass.
        normalize: scale ``a`` to the total of ``b``. Otherwise totals that differ by more than 1e-4 are refused;
            smaller differences are always scaled away.
        backend: "auto" takes "numba" on the CPU and on CUDA "triton" where it is installed (up to 512 suppliers), else
            "torch", which works on any device with float64. On a device a batch or a list, of whatever shapes, is one
            set of launches; the host waits for it only to look at a tolerance, every 16 rounds. Bad values are then
            device-side assertions, as those of PyTorch's own index checks: the error comes at the next call that
            waits. "triton" works on CPU tensors, too, where TRITON_INTERPRET=1 was set before it was imported; slowly.

    Returns:
        A result in the family of the inputs (a list for lists), on their device. Potentials, cost and error are
        float64 whatever M is; ``iterations`` is the largest of a batch and ``converged`` holds for all of it (0-d
        tensors while ``torch.compile`` traces, and no warning then). The plan is computed when it is first read, from
        the potentials and M: leave M unchanged until then.

        Of tensors f, g, plan, cost and :meth:`~point2mask_ot.TransportResult.log_share` have a gradient by a, b and M,
        through each round where there is no tolerance, else as in :func:`solve`. Nothing is kept for it but the
        arguments, the result and, on the CPU, the potentials of each round; elsewhere rounds are made once more. Take
        M in float64 where costs exceed some 1,000 ``reg``: after few rounds float32 may lose a good part of it.

    Raises:
        ArgumentError: shapes that do not fit, NaN or -inf in M, a pixel with demand or a supplier with capacity whose
            costs are all +inf, negative or non-finite marginals, totals of 0 or that differ, numbers out of
            range.
        ArgumentTypeError: strings for numbers, NumPy beside torch, complex numbers.

    Warns:
        ConvergenceWarning: ``tol`` was given and not reached. Forbidden pairs that make the marginals impossible show
            in no other way.

    Example:
        >>> import numpy as np
        >>> M = np.array([[0.0, 1.0, 4.0], [4.0, 1.0, 0.0]])
        >>> result = sinkhorn(np.array([2, 1]), np.ones(3), M, reg=0.5)
        >>> result.labels.tolist(), result.plan.round(2).tolist()
        ([0, 0, 1], [[1.0, 0.98, 0.02], [0.0, 0.02, 0.98]])
    """
    name = "sinkhorn"
    reg = check_number(name, "reg", reg, above=0.0)
    max_iter = check_integer(name, "max_iter", max_iter, minimum=1)
    tolerance = -1.0 if tol is None else check_number(name, "tol", tol, above=0.0)
    floor = check_number(name, "marginal_floor", marginal_floor, minimum=0.0)
    softness = _check_tau(name, tau)
    return _run(
        name, a, b, M, Options("sinkhorn", reg, softness, tolerance, max_iter, floor, normalize, backend, tolerance)
    )


@overload
def solve(
    a: Array, b: Array, M: Array | NearestCosts, *, reg: float = ..., method: str = ..., tau: float | None = ...,
    tol: float = ..., bound: float | None = ..., max_iter: int | None = ..., normalize: bool = ..., backend: str = ...,
) -> TransportResult: ...  # fmt: skip
@overload
def solve(
    a: Sequence[Array], b: Sequence[Array], M: Sequence[Array | NearestCosts], *, reg: float = ..., method: str = ...,
    tau: float | None = ..., tol: float = ..., bound: float | None = ..., max_iter: int | None = ...,
    normalize: bool = ..., backend: str = ...,
) -> list[TransportResult]: ...  # fmt: skip


def solve(
    a: Any,
    b: Any,
    M: Any,
    *,
    reg: float = 0.0,
    method: str = "auto",
    tau: float | None = None,
    tol: float = 1e-7,
    bound: float | None = None,
    max_iter: int | None = None,
    normalize: bool = False,
    backend: str = "auto",
) -> Any:
    """Optimal transport from suppliers to pixels, converged.

    Minimises ``<P, M> + reg sum P (ln P - 1)`` over plans with marginals a and b (Eq. 1, 9). With ``tau`` the
    capacities are soft, in POT's sense: the suppliers' marginal is free at the price of
    ``tau KL(P 1 | a)``, and the pixels' marginal stays exact.

    Methods:

    - "exact" (``reg=0``): unit pixels and whole capacities by shortest augmenting paths from entropic prices;
      other marginals by ``ot.emd``, which takes time and memory of its own. CPU only.
    - "newton" (``reg>0``): damped Newton on the K potentials of the semi-dual, 5-50 passes over M.
    - "sinkhorn" (``reg>0``): rounds as in :func:`sinkhorn`; thousands of them at a small ``reg``.
    - "auto": "exact" for ``reg=0``, else "newton".

    Args:
        a: (K,) capacities of the suppliers, or (B, K), or a list of such where K or N differ. Any real dtype.
        b: (N,) demand of the pixels, or (B, N), or a list.
        M: (K, N) costs, or (B, K, N), or a list. K is meant to be far below N, as targets are below pixels: where both
            are hundreds, POT is faster. +inf forbids a pair. float64 and integers are computed in float64; other floats
            in float32 with float64 totals, and in float64 where the tolerance needs it. Or, for thousands of suppliers
            of which a pixel has a handful within reach, :class:`~point2mask_ot.NearestCosts`, on the CPU: entries are
            chosen anew until those left out have at most ``tol`` of the mass, which the result's ``bound`` tells; where
            nobody can choose, that is how far the result may be trusted. Needs ``reg > 0``; "newton" then uses sparse
            factors of a K x K matrix.
        reg: weight of the entropy, in units of M. To learn it, divide M by what is learned instead.
        method: see above.
        tau: softness of the capacities, in units of M; None or inf for hard ones. Needs ``reg > 0``.
        tol: goal for the L1 error of the marginals over the mass; 1e-10 is within reach.
        bound: of :class:`~point2mask_ot.NearestCosts`, the goal for the bound on the mass of pairs left out; default:
            ``tol``. It reckons with all suppliers at every pixel, just beyond the entries, so that what is really
            left out is far less.
        max_iter: rounds ("sinkhorn", default 10,000), passes over M ("newton", 500) or pivots of ``ot.emd``
            ("exact", 10,000,000) to make at most.
        normalize: scale ``a`` to the total of ``b``. Otherwise totals that differ by more than 1e-4 are refused;
            smaller differences are always scaled away.
        backend: as for :func:`sinkhorn`. On a device "newton" takes the problems one by one and works on the host
            between passes, where a pass uploads K potentials and downloads K masses and K x K links; its values are
            checked by the host.

    Returns:
        A result as from :func:`sinkhorn`. The plan of "exact" has at most K + N - 1 entries and its labels are
        those of the plan; f and g are then optimal dual prices.

        Of tensors f, g, plan, cost and :meth:`~point2mask_ot.TransportResult.log_share` have a gradient by a, b and M,
        by the implicit function theorem: two passes over M and one K x K system, whatever led to the optimum. It is
        as exact as ``tol`` lets the result be, and refused (RuntimeError) where that was not reached. f and g are
        defined up to a constant with hard capacities: a loss that depends on it is refused, too. Pairs at +inf,
        suppliers without capacity and pixels without demand get zero. That a is scaled to the total of b is part of
        it. With ``reg=0`` the cost alone has one, which is a subgradient: by M it is the plan. Of
        :class:`~point2mask_ot.NearestCosts` the plan has none, and M is the tensor that they were made from. A second
        derivative is refused. Forbid pairs last, say, by ``masked_fill``: torch's gradient of a number that scales M is
        NaN where M is +inf.

    Raises:
        ArgumentError: as :func:`sinkhorn`; also a method that does not fit ``reg``, or ``tau`` without ``reg``.
        ArgumentTypeError: as :func:`sinkhorn`.
        RuntimeError: on the way back, see above.

    Warns:
        ConvergenceWarning: ``tol`` was not reached: too few iterations, a ``reg`` so small that rounding
            prevails, or forbidden pairs that make the marginals impossible. Of :class:`~point2mask_ot.NearestCosts`
            also: what was left out may have more than that of the mass.

    Example:
        >>> import numpy as np
        >>> M = np.array([[0.0, 1.0, 2.0, 4.0], [4.0, 1.5, 1.0, 0.0]])
        >>> capacities, demand = np.array([3, 1]), np.ones(4)
        >>> exact = solve(capacities, demand, M)
        >>> exact.labels.tolist(), float(exact.cost)
        ([0, 0, 0, 1], 3.0)
        >>> smooth = solve(capacities, demand, M, reg=0.5)
        >>> smooth.plan.sum(axis=1).round(6).tolist(), smooth.converged
        ([3.0, 1.0], True)
    """
    name = "solve"
    reg = check_number(name, "reg", reg, minimum=0.0)
    check_choice(name, "method", method, _METHODS)
    softness = _check_tau(name, tau)
    tol = check_number(name, "tol", tol, above=0.0)
    if method == "auto":
        method = "newton" if reg > 0 else "exact"
    if method == "exact" and reg > 0:
        fail(name, "reg", f"{reg:g} with method 'exact'", "0, or another method")
    if method != "exact" and reg == 0:
        fail(name, "reg", f"0 with method {method!r}", "a number > 0, or method 'exact'")
    if method == "exact" and softness < math.inf:
        fail(name, "tau", f"{softness:g} with reg=0", "None: soft capacities need reg > 0")
    if method == "exact" and backend in ("torch", "triton"):
        fail(name, "backend", f"{backend!r} with method 'exact'", "'auto' or 'numba'")
    limit = _MAX_ITER[method] if max_iter is None else check_integer(name, "max_iter", max_iter, minimum=1)
    left_out = tol if bound is None else check_number(name, "bound", bound, above=0.0)
    options = Options(method, reg, softness, tol, limit, 0.0, normalize, backend, left_out)  # type: ignore[arg-type]
    return _run(name, a, b, M, options)


def _check_tau(name: str, tau: float | None) -> float:
    return math.inf if tau is None else check_number(name, "tau", tau, above=0.0, infinite=True)


def _run(name: str, a: Any, b: Any, M: Any, options: Options) -> Any:
    check_choice(name, "backend", options.backend, _BACKENDS)
    if not isinstance(options.normalize, bool):
        fail(name, "normalize", repr(options.normalize), "True or False")
    listed = isinstance(M, (list, tuple))
    near = any(isinstance(costs, NearestCosts) for costs in (M if listed else [M]))
    results = (_over_near_pairs if near else _over_all_pairs)(name, a, b, M, options)
    if options.tol > 0 and not torch.compiler.is_compiling():
        for result in results:
            if not result.converged:
                _warn(name, options, result)
    return results if listed else results[0]


def _over_all_pairs(name: str, a: Any, b: Any, M: Any, options: Options) -> list[TransportResult]:
    batches = as_batches(name, a, b, M) if isinstance(M, (list, tuple)) else [as_batch(name, a, b, M)]
    outputs = transport(
        [batch.a for batch in batches], [batch.b for batch in batches], [batch.M for batch in batches], name, *options
    ) if batches else ()  # fmt: skip
    return [_result(batch, options, Solution(*parts)) for batch, *parts in zip(batches, *outputs, strict=True)]


def _over_near_pairs(name: str, a: Any, b: Any, M: Any, options: Options) -> list[TransportResult]:
    from .nearest import solve_nearest  # imports numba

    problems = listed_problems(name, a, b, M) if isinstance(M, (list, tuple)) else [(a, b, M)]
    return [solve_nearest(name, *problem, options) for problem in problems]


def _warn(name: str, options: Options, result: TransportResult) -> None:
    error = float(result.marginal_error.max())
    if result.bound > 0 and error <= options.tol:
        far = f"leaves out pairs that may have {result.bound:.2g} of the mass; bound is {options.bound:g}"
        advice = "Costs of more targets for each pixel may help."
    else:
        far = f"stopped short of the optimum, at a marginal error of {error:.2g}; tol is {options.tol:g}"
        advice = "A larger max_iter or reg may help; forbidden pairs (+inf) can make the marginals impossible."
    warnings.warn(
        f"{name}: method {options.method!r} {far}, after {result.iterations} iterations. {advice}",
        ConvergenceWarning,
        stacklevel=4,
    )


def _result(batch: Batch, options: Options, found: Solution) -> TransportResult:
    def shaped(tensor: torch.Tensor) -> Any:
        return batch.restore(tensor if batch.batched else tensor[0])

    made: Any
    reached: Any
    if torch.compiler.is_compiling():  # a number that depends on data would end the graph
        made, reached = found.iterations.amax(), found.converged.all()
    elif options.tol < 0:  # known without asking a device
        made, reached = options.max_iter, False
    else:
        made, reached = max(found.iterations.tolist()), all(found.converged.tolist())
    return TransportResult(
        f=shaped(found.f),
        g=shaped(found.g),
        labels=shaped(found.labels),
        cost=shaped(found.cost),
        marginal_error=shaped(found.error.detach()),
        iterations=made,
        converged=reached,
        make_plan=PlanRecipe(batch, found, options.reg),
    )


@dataclass(frozen=True, eq=False)
class PlanRecipe:
    """What a plan is made from when it is first read; crosses processes and files, as a local function would not.

    Attributes:
        batch: the problems.
        found: their solution.
        reg: entropy weight.
    """

    batch: Batch
    found: Solution
    reg: float

    def __call__(self) -> Any:
        """(K, N) in the family of the inputs, with their batch axis if they had one."""
        M, found = self._costs(), self.found
        if self.reg > 0:
            plan = entropic_plan(found.f, found.g, M, self.reg)
        else:  # which jumps
            plan = _listed_plan(found.entries, found.moved.detach(), M.detach())
        return self.batch.restore(plan if self.batch.batched else plan[0])

    def is_cut_off(self) -> bool:
        """Whether a plan that is made now lacks the gradient that one made later may have."""
        return self.found.f.requires_grad and not torch.is_grad_enabled()

    def _costs(self) -> torch.Tensor:
        """Without a gradient where the potentials have none: it would be half of it."""
        return self.batch.M if self.found.f.requires_grad else self.batch.M.detach()

    def log_share(self, pixels: Any, suppliers: Any) -> Any:
        """See :meth:`~point2mask_ot.TransportResult.log_share`."""
        batch, f = self.batch, self.found.f
        if self.reg == 0:
            fail("log_share", "reg", "a result of reg=0", "one of reg > 0: without entropy a share is 0 or 1")
        M = self._costs()
        pairs = as_pairs("log_share", pixels, suppliers, M.shape[1:], len(M) if batch.batched else None)
        at, who = (index.to(M.device) for index in pairs)
        costs = M.gather(2, at[:, None].expand(-1, M.shape[1], -1)).double()
        logs = log_shares((f[..., None] - costs) / self.reg).gather(1, who[:, None])[:, 0]
        return batch.restore(logs if batch.batched else logs[0])

    def restored(self, restore: Restore) -> PlanRecipe:
        """The same for a caller of another family."""
        return replace(self, batch=replace(self.batch, restore=restore))


def _listed_plan(entries: torch.Tensor, masses: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
    plan = torch.zeros_like(M).flatten(1)
    return plan.scatter_add_(1, entries, masses.to(M.dtype)).view_as(M)
