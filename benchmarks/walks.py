"""Random walks against scikit-image's ``random_walker``, on the same graph: time, and what is missed of a probability.

    python benchmarks/walks.py [--quick] [--json results.json]

The pictures are smooth random terrain with noise; scikit-image makes conductances of it, and edges are what has the
same ones here. The error is against SciPy's direct solution of the same system. ``cg_j`` is scikit-image's default at
its default tolerance; ``cg_mg`` preconditions by pyamg's multigrid, where that is installed. One thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from typing import Any

import numpy as np
import torch
from harness import interleaved, isolated, write_json
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import splu

from point2mask_ot import random_walk_costs

SCENES, QUICK = [((400, 600), 5), ((400, 600), 10), ((400, 600), 20)], [((24, 32), 3)]
BETA = 130.0
"""scikit-image's default."""
SPACING_COST = 0.3


def picture(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(H, W) float64 of standard deviation 1: hills, and noise that walks see as boundaries."""
    rng = np.random.default_rng(seed)
    hills = gaussian_filter(rng.standard_normal(shape), max(shape) / 25)
    terrain = hills / hills.std() + 0.05 * rng.standard_normal(shape)
    return np.asarray(terrain / terrain.std())


def conductances(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W - 1) and (H - 1, W): what scikit-image makes of a grey picture, to the right and downwards."""
    scale = BETA / (10 * data.std())
    right, down = (np.exp(-scale * np.diff(data, axis=axis) ** 2) for axis in (1, 0))
    return right, down


def edges_of(data: np.ndarray, count: int) -> np.ndarray:
    """(4, H, W) costs whose walks have these conductances, up to a factor."""
    step = SPACING_COST * np.sqrt(count / data.size)
    edges = np.full((4, *data.shape), np.inf, np.float32)
    right, down = conductances(data)
    edges[0, :, :-1], edges[2, :-1] = step * (1 / right - 1), step * (1 / down - 1)
    return edges


def exact(data: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(K, H, W) probabilities by a direct solver."""
    from scipy.sparse import coo_array, diags_array

    index = np.arange(data.size).reshape(data.shape)
    right, down = conductances(data)
    here = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    there = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    weight = np.concatenate([right.ravel(), down.ravel()])
    both = (np.concatenate([here, there]), np.concatenate([there, here]))
    graph = coo_array((np.tile(weight, 2), both), shape=(data.size, data.size)).tocsr()
    laplacian = (diags_array(graph.sum(1)) - graph).tocsc()
    seeds = points @ (data.shape[1], 1)
    free = np.setdiff1d(np.arange(data.size), seeds)
    found = np.zeros((len(points), data.size))
    found[np.arange(len(points)), seeds] = 1
    found[:, free] = splu(laplacian[free][:, free]).solve(graph[free][:, seeds].toarray()).T
    return found.reshape(-1, *data.shape)


def measure(shape: tuple[int, int], count: int, repeats: int, budget: float) -> dict[str, Any]:
    """Seconds and errors of each solver on one picture."""
    from skimage.segmentation import random_walker

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    data = picture(shape)
    places = np.random.default_rng(1).choice(data.size, count, replace=False)
    points = np.stack([places // shape[1], places % shape[1]], 1)
    seeds = np.zeros(shape, int)
    seeds[tuple(points.T)] = np.arange(1, count + 1)
    edges = edges_of(data, count)
    truth = exact(data, points)

    def theirs(mode: str) -> np.ndarray:
        return np.asarray(random_walker(data, seeds, beta=BETA, mode=mode, return_full_prob=True))

    def ours() -> np.ndarray:
        return np.exp(-random_walk_costs(edges, points, spacing_cost=SPACING_COST))

    solvers = {"ours": ours, "skimage cg_j": lambda: theirs("cg_j")}
    if importlib.util.find_spec("pyamg"):
        solvers["skimage cg_mg (pyamg)"] = lambda: theirs("cg_mg")
    timings = interleaved(solvers, repeats, budget)
    errors = {name: np.abs(solve() - truth) for name, solve in solvers.items()}
    return {
        "size": list(shape),
        "points": count,
        "seconds": {name: vars(timing) for name, timing in timings.items()},
        "mean_error": {name: float(error.mean()) for name, error in errors.items()},
        "largest_error": {name: float(error.max()) for name, error in errors.items()},
        "theirs_over_ours": {
            name: timing.median / timings["ours"].median for name, timing in timings.items() if name != "ours"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a few seconds: one small picture")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    rows = []
    for shape, count in QUICK if options.quick else SCENES:
        rows.append(isolated(options.quick)(measure, shape, count, 2 if options.quick else options.repeats, 20.0))
        row = rows[-1]
        for name, timing in row["seconds"].items():
            ratio = f" {row['theirs_over_ours'][name]:6.1f} times ours" if name != "ours" else ""
            print(
                f"{shape[0]} x {shape[1]}, {count:2} points, {name:22} {1e3 * timing['median']:8.1f} ms{ratio}, "
                f"error {row['mean_error'][name]:.1e} mean, {row['largest_error'][name]:.1e} at most",
                flush=True,
            )
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
