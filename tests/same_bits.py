"""Fixed inputs to every stage, and the digests of what comes out: did a change of form change a single bit?

``python tests/same_bits.py`` records them in ``same_bits.json``, with the machines that got them; a change that is
meant to change results records them anew and says so.
"""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import binding

import point2mask_ot as p2m

RECORD = Path(__file__).with_name("same_bits.json")


def machine() -> dict[str, str]:
    """What bits may depend on beside the code."""
    cpu = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    versions = {name: metadata.version(name) for name in ("numpy", "torch", "numba", "scipy", "pillow")}
    return {"processor": f"{platform.machine()} {cpu[0]} {digest(cpu[1].encode())}"} | versions


def digest(values: Any) -> str:
    """Of arrays, tensors, numbers, bytes, or lists of these."""
    found = hashlib.sha256()
    for value in values if isinstance(values, (list, tuple)) else [values]:
        if isinstance(value, bytes):
            found.update(value)
            continue
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def maps(height: int, width: int, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A semantic and a boundary map with smooth regions and noise."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / (7 + c) + c) + np.cos(y / (9 - c) + 2 * c) for c in range(classes)])
    scores = np.exp(2 * waves + 0.3 * rng.normal(size=waves.shape))
    semantic = (scores / scores.sum(0)).astype(np.float32)
    return semantic, (np.abs(np.sin(x / 11) * np.cos(y / 13)) ** 8)[None].astype(np.float32)


def points(height: int, width: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    return np.stack(np.divmod(rng.choice(height * width, count, replace=False), width), 1)


def edges(height: int, width: int, power: float = 1.0) -> np.ndarray:
    return p2m.edge_costs(*maps(height, width), power=power)


def walled(height: int, width: int) -> np.ndarray:
    """Edges with a wall across the picture that has a door."""
    found = edges(height, width)
    found[[0, 1, 3], : height // 2 - 2, width // 2] = np.inf
    found[1, : height // 2 - 2, width // 2 + 1] = np.inf
    return found


def graph() -> Iterator[tuple[str, Any]]:
    semantic, boundary = maps(37, 53)
    features = semantic / np.linalg.norm(semantic, axis=0)
    yield "edges", p2m.edge_costs(semantic, boundary)
    yield "edges, power 2, float64", p2m.edge_costs(semantic.astype(np.float64), power=2.0, step_cost=1e-3)
    terms = [p2m.MapTerm(semantic, 0.5), p2m.MapTerm(boundary, 2.0, "max"), p2m.MapTerm(boundary, 1.0, _squared)]
    yield "edges, terms", p2m.edge_costs(features=features, terms=terms)


def _squared(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    return (here - there).square().sum(1)


def geodesics() -> Iterator[tuple[str, Any]]:
    for name, costs in {
        "small": edges(38, 50), "large": edges(150, 170), "double": edges(40, 41).astype(np.float64),
        "walls": walled(90, 80), "narrow": edges(3, 200),
    }.items():  # fmt: skip
        places = points(*costs.shape[1:], 10)
        target = np.array([0, 1, 2, 3, 4, 5, 6, 6, 7, 7])
        distances = p2m.geodesic_distances(costs, places, target)
        part = p2m.nearest_partition(costs, places, target)
        yield f"distances, {name}", distances
        yield f"partition, {name}", (part.labels, part.distance)
        yield f"path, {name}", p2m.shortest_path(costs, distances[3], (costs.shape[1] - 1, costs.shape[2] - 1))
    costs = edges(38, 50)
    yield "distances, torch", p2m.geodesic_distances(costs, points(38, 50, 4), backend="torch")
    yield "distances, list", p2m.geodesic_distances([costs, edges(20, 90)], [points(38, 50, 4), points(20, 90, 3)])


def walks() -> Iterator[tuple[str, Any]]:
    for name, costs in {
        "squared": edges(120, 131, 2.0), "walls": walled(90, 80), "double": edges(40, 41).astype(np.float64),
        "tiny": edges(2, 5),
    }.items():  # fmt: skip
        yield f"walk, {name}", p2m.random_walk_costs(costs, points(*costs.shape[1:], 9), spacing_cost=0.3)


def counts() -> Iterator[tuple[str, Any]]:
    costs = edges(90, 80)
    things = np.array([True, True, True, False])
    targets = p2m.PointTargets(points(90, 80, 7), [0, 0, 1, 1, 2, 3, 3], [1, 1, 2, 3], things)
    for method in ("centroid", "nearest", "equal"):
        yield f"capacities, {method}", p2m.capacities(costs, targets, method=method)
    options = {"iterations": 3, "centroid_of": "target", "keep_points": True}
    weights = np.random.default_rng(3).random((90, 80))
    yield "capacities, rounds", p2m.capacities(costs, targets, demand=weights, **options)


def problem(suppliers: int, pixels: int, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(suppliers * pixels)
    M = rng.random((suppliers, pixels)).astype(dtype)
    M[rng.random(M.shape) < 0.1] = np.inf
    M[pixels % suppliers] = 0.5
    share = rng.dirichlet(np.ones(suppliers)) * pixels
    capacity = np.floor(share)
    capacity[0] += pixels - capacity.sum()
    return capacity, np.ones(pixels), M


def transports() -> Iterator[tuple[str, Any]]:
    def parts(result: Any) -> list[Any]:
        fields = [result.f, result.g, result.labels, result.cost, result.marginal_error, result.plan]
        return [*fields, result.iterations, result.converged]

    for size in ((7, 900), (20, 40_000)):
        a, b, M = problem(*size)
        name = f"{size[0]} x {size[1]}"
        yield f"rounds, {name}", parts(p2m.sinkhorn(a, b, M, 0.02))
        yield f"rounds, tolerance, {name}", parts(p2m.sinkhorn(a, b, M, 0.2, max_iter=500, tol=1e-5))
        yield f"rounds, soft, {name}", parts(p2m.sinkhorn(a, b, M, 0.1, tau=0.5, marginal_floor=1e-8))
        yield f"newton, {name}", parts(p2m.solve(a, b, M, reg=0.01))
        yield f"newton, soft, {name}", parts(p2m.solve(a, b, M, reg=0.1, tau=0.5))
        yield f"exact, {name}", parts(p2m.solve(a, b, M))
    a, b, M = problem(6, 300, np.float64)
    yield "rounds, double", parts(p2m.sinkhorn(a, b, M, 1e-3))
    yield "rounds, torch", parts(p2m.sinkhorn(a, b, M, 0.05, tau=0.5, backend="torch"))
    yield "newton, double", parts(p2m.solve(a, b, M, reg=1e-3, tol=1e-10))
    yield "newton, torch", parts(p2m.solve(a, b, M, reg=0.05, backend="torch"))
    demand = np.random.default_rng(1).random(300)
    yield "simplex", parts(p2m.solve(a, demand, M, normalize=True))


def masks() -> Iterator[tuple[str, Any]]:
    def parts(result: Any) -> list[Any]:
        fields = ("instance", "masks", "boxes", "semantic", "void", "confidence")
        maps = ("suppliers", "edges", "distances", "cost", "nearest", "demand", "capacities")
        return [getattr(result, name) for name in fields] + [getattr(result.diagnostics, name) for name in maps]

    semantic, boundary = maps(96, 112)
    features = semantic / np.linalg.norm(semantic, axis=0)
    things = np.array([True, True, True, True, False])
    labelled = p2m.PointTargets(points(96, 112, 6), [0, 1, 2, 3, 3, 4], [1, 1, 2, 2, 3], things)
    for preset in ("best", "paper", "official"):
        yield f"masks, {preset}", parts(p2m.PseudoMasker(preset)(semantic, boundary, labelled, features))
    known = p2m.PseudoMasker(within_class=True, point_radius=0, method="exact", box_from="component")
    yield "masks, classes known", parts(known(semantic, boundary, labelled))
    coarse = p2m.PseudoMasker("paper", stride=4, centroid_rounds=3, empty_box="point")
    for name, result in zip("ab", coarse(np.stack([semantic, semantic[:, ::-1]]), None, [labelled] * 2), strict=True):
        yield f"masks, batch {name}", parts(result)
    picture = (255 * np.stack([semantic[0], semantic[1], boundary[0]], -1)).astype(np.uint8)
    yield "masks, picture", parts(p2m.label_picture(picture, labelled, sigma=2.0))
    yield "masks, picture, things", parts(p2m.label_picture(picture, labelled.select([0, 1, 2, 3])))
    yield "colours", (p2m.smooth_lab(picture, 1.5), p2m.lab_gradient(picture))


def losses() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(8)
    image = torch.tensor(rng.random((2, 3, 24, 30)), dtype=torch.float32)
    labels = torch.tensor(np.where(rng.random((2, 24, 30)) < 0.2, rng.integers(0, 4, (2, 24, 30)), 255))
    instance, semantic = torch.tensor(rng.integers(-1, 3, (2, 24, 30))), torch.tensor(rng.integers(0, 4, (2, 24, 30)))
    at, target = torch.tensor(rng.integers(0, 24, (2, 5, 2))), torch.tensor(rng.integers(-1, 3, (2, 5)))
    things = torch.tensor([True, True, False, False])
    cases: dict[str, tuple[int, Callable[[torch.Tensor], torch.Tensor]]] = {
        "partial": (4, lambda x: p2m.partial_cross_entropy(x, labels, dilation=3)),
        "lab": (4, lambda x: p2m.lab_affinity_loss(x, image)),
        "tree": (4, lambda x: p2m.tree_affinity_loss(x, image)),
        "semantic": (4, lambda x: p2m.semantic_loss(x, labels, image)),
        "boundary": (1, lambda x: p2m.boundary_affinity_loss(x, instance, semantic, things)),
        "manifold": (6, lambda x: p2m.manifold_contrastive_loss(x, instance, at, target, num_targets=3)),
    }
    for name, (channels, loss) in cases.items():
        learned = torch.tensor(rng.normal(size=(2, channels, 24, 30)), dtype=torch.float32, requires_grad=True)
        value = loss(learned)
        value.backward()
        yield f"loss, {name}", (value, learned.grad)


def files() -> Iterator[tuple[str, Any]]:
    from labelling_jobs import make_set, results

    with tempfile.TemporaryDirectory() as folder:
        images, given = make_set(Path(folder), 3)
        p2m.label_dataset(images, given, Path(folder) / "out", workers=1)
        for name, content in results(Path(folder) / "out").items():
            if name.endswith(".png") or name == "panoptic.json":
                yield f"file, {name}", content


def digests() -> dict[str, str]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch sums in other orders on more
    try:
        stages = (graph, geodesics, walks, counts, transports, masks, losses, files)
        return {name: digest(values) for stage in stages for name, values in stage()}
    finally:
        torch.set_num_threads(threads)


def record() -> None:
    """A machine that gets the recorded bits joins those that did; other bits begin a new record."""
    found, recorded = digests(), json.loads(RECORD.read_text())
    others = recorded["machines"] if found == recorded["digests"] else []
    machines = [*(other for other in others if other != machine()), machine()]
    RECORD.write_text(json.dumps({"machines": machines, "digests": found}, indent=1) + "\n")
    print(f"{RECORD}: {'the recorded bits' if others else 'a new record'}")


if __name__ == "__main__":
    record()
