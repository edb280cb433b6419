"""What a gradient costs: forward alone against forward and backward, time and peak memory; and the peers' gradients.

    python benchmarks/gradients.py [--quick] [--json results.json]

"ours": every differentiable step at 512 x 512 with 20 targets, float32, one thread, each in a fresh process; the loss
is -log share of 200 pixels where there is a transport; else a gradient by the result is given. Memory is the peak
beyond what the process held with its inputs. "peers": the gradient of that loss by M of one transport problem (as in
transport.py), after the paper's 80 rounds or to a marginal error of 1e-4; errors of gradients are those against
``solve`` to 1e-12 in float64, relative, in the 2-norm. A peer that is not installed has no row (``pip install
ott-jax``); POT keeps every round for its way back, so the problem has 16,384 pixels.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import in_process, interleaved, isolated, memory, reset_peak_memory, version, write_json
from peers import Problem, as_torch, geodesic_problem, ot, paper_rounds, without_empty

import point2mask_ot as p2m

try:
    import jax
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn
except ImportError:
    jax = None

REG = 0.1
SIDE, QUICK_SIDE = 512, 24
PEER_SIDE, QUICK_PEER_SIDE = 128, 12
TARGETS = 20
LABELLED = 200
GOAL = 1e-4


class Scene:
    """Maps and points, as a network and an annotator would give them."""

    def __init__(self, side: int) -> None:
        random = torch.Generator().manual_seed(0)

        def smooth(channels: int) -> torch.Tensor:
            coarse = torch.rand(1, channels, 33, 33, generator=random)
            return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)[0]

        self.semantic, self.boundary = smooth(21), smooth(1)
        self.points = torch.randint(side, (TARGETS, 2), generator=random)
        self.edges = p2m.edge_costs(boundary=self.boundary, step_cost=0.01)
        distances = p2m.geodesic_distances(self.edges, self.points).flatten(1)
        self.unit = float(distances.amin(0).mean())
        self.M = distances / self.unit
        self.b = torch.ones(side * side)
        self.a = torch.bincount(self.M.argmin(0), minlength=TARGETS) + float(side * side) / TARGETS
        self.a *= self.b.sum() / self.a.sum()
        self.pixels = torch.randint(side * side, (LABELLED,), generator=random)
        self.suppliers = torch.randint(TARGETS, (LABELLED,), generator=random)

    def loss(self, result: p2m.TransportResult) -> torch.Tensor:
        """Cross-entropy of known pixels."""
        return -result.log_share(self.pixels, self.suppliers).mean()

    def whole(self, boundary: torch.Tensor) -> torch.Tensor:
        """From a map to the loss."""
        edges = p2m.edge_costs(boundary=boundary, step_cost=0.01)
        M = p2m.geodesic_distances(edges, self.points).flatten(1) / self.unit
        return self.loss(p2m.solve(self.a, self.b, M, reg=REG))


def steps(scene: Scene) -> dict[str, tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]]:
    """Name -> what has the gradient, and what is made of it."""
    edges, points, M = scene.edges, scene.points, scene.M
    return {
        "edge_costs, 21 channels": (scene.semantic, p2m.edge_costs),
        "geodesic_distances": (edges, lambda edges: p2m.geodesic_distances(edges, points)),
        "nearest_partition": (edges, lambda edges: p2m.nearest_partition(edges, points).distance),
        "nearest_targets, k=8": (edges, lambda edges: p2m.nearest_targets(edges, points, k=8).distances),
        "random_walk_costs": (edges, lambda edges: p2m.random_walk_costs(edges, points)),
        "solve": (M, lambda M: scene.loss(p2m.solve(scene.a, scene.b, M, reg=REG))),
        "sinkhorn, 80 rounds": (M, lambda M: scene.loss(p2m.sinkhorn(scene.a, scene.b, M, REG))),
        "boundary map to loss": (scene.boundary, scene.whole),
    }


def ways(name: str, side: int) -> dict[str, Callable[[], Any]]:
    """The forward alone, and with the way back."""
    torch.set_num_threads(1)
    start, make = steps(Scene(side))[name]
    leaf = start.clone().requires_grad_()
    with torch.no_grad():
        made = make(start)
    incoming = torch.rand(made.shape, generator=torch.Generator().manual_seed(0), dtype=made.dtype)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return make(start)

    return {"forward": forward, "both": lambda: torch.autograd.grad(make(leaf), leaf, incoming)[0]}


def seconds_of(name: str, side: int, repeats: int) -> dict[str, Any]:
    return {way: vars(timing) for way, timing in interleaved(ways(name, side), repeats, budget=30).items()}


def peak_of(name: str, way: str, side: int) -> float:
    """MiB beyond what a process holds with its inputs and compiled code."""
    ways(name, QUICK_SIDE)[way]()
    call = ways(name, side)[way]
    reset_peak_memory()
    before = memory("VmRSS")
    call()
    return max(memory("VmHWM") - before, 2**12) / 2**20


def measure_ours(name: str, side: int, repeats: int, quick: bool) -> dict[str, Any]:
    """One row; memory that is free goes back to the system at once, so that peaks are seen."""
    row = {"task": "ours", "what": name, "side": side, "targets": TARGETS, "threads": 1}
    seconds = row["seconds"] = isolated(quick)(seconds_of, name, side, repeats)
    row["ratio"] = seconds["both"]["median"] / seconds["forward"]["median"]
    if not quick:
        trim = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        peaks = row["peak_mib"] = {way: in_process(peak_of, name, way, side, **trim) for way in seconds}
        row["memory_ratio"] = peaks["both"] / peaks["forward"]
    return row


def peer_losses(problem: Problem, pixels: torch.Tensor, suppliers: torch.Tensor) -> dict[str, tuple[str, Callable]]:
    """Name -> what is asked of it, and the gradient of the loss by M as a function without arguments."""
    a, b, M = as_torch(problem)

    def gradient_of(loss: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], np.ndarray]:
        def gradient() -> np.ndarray:
            leaf = M.clone().requires_grad_()
            return torch.autograd.grad(loss(leaf), leaf)[0].numpy()

        return gradient

    def of_plan(plan: torch.Tensor) -> torch.Tensor:
        return -(plan[suppliers, pixels] / b[pixels]).log().mean()

    def ours(result: p2m.TransportResult) -> torch.Tensor:
        return -result.log_share(pixels, suppliers).mean()

    def unrolled(M: torch.Tensor) -> torch.Tensor:
        f, _ = paper_rounds(Problem(a, b, M), REG, 80)
        return -torch.log_softmax((f[:, None] - M[:, pixels]) / REG, 0)[suppliers, torch.arange(len(pixels))].mean()

    rounds, converged = "80 rounds", f"to {GOAL:.0e}"
    found: dict[str, tuple[str, Callable]] = {
        "ours, solve, float32": (converged, gradient_of(lambda M: ours(p2m.solve(a, b, M, reg=REG, tol=GOAL)))),
        "ours, sinkhorn, float32": (rounds, gradient_of(lambda M: ours(p2m.sinkhorn(a, b, M, REG)))),
        "paper's rounds, unrolled by torch, float32": (rounds, gradient_of(unrolled)),
    }
    if ot is not None:
        options = {"method": "sinkhorn_log", "numItermax": 80, "stopThr": 0, "warn": False}
        found["ot.sinkhorn log, unrolled by torch, float32"] = (
            rounds, gradient_of(lambda M: of_plan(ot.sinkhorn(a, b, M, REG, **options)))
        )  # fmt: skip
    if jax is not None:
        found["ott-jax, through its rounds, float32"] = converged, ott_gradient(problem, pixels, suppliers)
    return found


def ott_gradient(problem: Problem, pixels: torch.Tensor, suppliers: torch.Tensor) -> Callable[[], np.ndarray]:
    """Through its rounds, compiled; masses sum to 1, as it expects. The linear solver of its implicit differentiation,
    the default, gives up on this problem."""
    a, b, M = (jax.numpy.asarray(each, dtype="float32") for each in problem)
    at, who = pixels.numpy(), suppliers.numpy()
    solver = Sinkhorn(threshold=GOAL, max_iterations=2000, implicit_diff=None)

    @jax.jit
    @jax.grad
    def gradient(M: Any) -> Any:
        result = solver(LinearProblem(Geometry(cost_matrix=M, epsilon=REG), a=a / a.sum(), b=b / b.sum()))
        shares = jax.nn.log_softmax((result.f[:, None] - M[:, at]) / REG, axis=0)
        return -shares[who, np.arange(len(at))].mean()

    return lambda: np.asarray(gradient(M))


def measure_peers(side: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds and errors of each gradient."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # 80 rounds do not converge
    problem = without_empty(geodesic_problem((side, side), TARGETS))
    random = torch.Generator().manual_seed(0)
    suppliers = torch.from_numpy(problem.M).topk(2, 0, largest=False).indices
    pixels = torch.randint(problem.M.shape[1], (LABELLED,), generator=random)
    suppliers = suppliers[torch.randint(2, (LABELLED,), generator=random), pixels]
    a, b, M = (torch.from_numpy(each) for each in problem)
    M.requires_grad_()
    result = p2m.solve(a, b, M, reg=REG, tol=1e-12)
    truth = torch.autograd.grad(-result.log_share(pixels, suppliers).mean(), M)[0].numpy()
    losses = peer_losses(problem, pixels, suppliers)
    timings = interleaved({name: call for name, (_, call) in losses.items()}, repeats, budget=20)
    own = {task: timings[name] for name, (task, _) in losses.items() if name.startswith("ours")}
    return [
        {
            "task": task,
            "what": name,
            "suppliers": problem.M.shape[0],
            "pixels": problem.M.shape[1],
            "reg": REG,
            "threads": 1,
            "seconds": vars(timings[name]),
            "ratio": timings[name].median / own[task].median,
            "gradient_error": float(np.linalg.norm(call() - truth) / np.linalg.norm(truth)),
        }
        for name, (task, call) in losses.items()
    ]


def show(row: dict[str, Any]) -> None:
    if row["task"] == "ours":
        forward, both = (1e3 * row["seconds"][way]["median"] for way in ("forward", "both"))
        peaks = ", {forward:.0f} and {both:.0f} MiB".format(**row["peak_mib"]) if "peak_mib" in row else ""
        text = f"forward {forward:8.1f} ms, with backward {both:8.1f} ms, {row['ratio']:.2f} times{peaks}"
    else:
        seconds, error = 1e3 * row["seconds"]["median"], row["gradient_error"]
        text = f"{row['task']}: {seconds:8.1f} ms, {row['ratio']:6.1f} times ours, gradient off by {error:.1e}"
    print(f"{row['what']:44} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a few seconds: small maps, no memory")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    quick, rows = options.quick, []
    side, peer_side = (QUICK_SIDE, QUICK_PEER_SIDE) if quick else (SIDE, PEER_SIDE)
    repeats = 1 if quick else options.repeats
    for name in steps(Scene(QUICK_SIDE)):
        rows.append(measure_ours(name, side, repeats, quick))
        show(rows[-1])
    for row in isolated(quick)(measure_peers, peer_side, repeats):
        rows.append(row)
        show(row)
    if options.json:
        write_json(options.json, rows, **{"ott-jax": version("ott-jax")})


if __name__ == "__main__":
    main()
