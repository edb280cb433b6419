"""The checks of ``gpu_check.py``: every result on the device against the compiled CPU kernels.

Geodesics are compared bit by bit, labels up to ties, potentials and marginals within rounding. Where Triton interprets
(``TRITON_INTERPRET=1``) the device is the CPU and the sizes are tiny.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from maps import ADVERSARIAL, TYPICAL, blobs, make_edges, random_points
from peers import Problem

from point2mask_ot import (
    PointTargets,
    PseudoMasker,
    edge_costs,
    geodesic_distances,
    nearest_partition,
    semantic_loss,
    sinkhorn,
    solve,
)

INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRET else "cuda")
BACKENDS = ("triton", "torch")
SIZES = [(9, 14), (17, 11)] if INTERPRET else [(38, 50), (128, 128), (200, 301)]
COUNT = 3 if INTERPRET else 20
REPEATS = 2 if INTERPRET else 5


class Image(NamedTuple):
    """A pixel graph with its points, on the CPU."""

    edges: torch.Tensor
    points: np.ndarray


def image(family: str, size: tuple[int, int], count: int = COUNT) -> Image:
    edges = make_edges(family, *size)
    return Image(torch.from_numpy(edges), random_points(edges, count))


def images() -> list[Image]:
    """Of different sizes and numbers of points."""
    return [image("blobs", size, COUNT - place) for place, size in enumerate(SIZES)]


def problem(size: tuple[int, int], count: int = COUNT) -> Problem:
    """Transport of geodesic costs, with whole capacities, pixels without demand and a supplier without capacity."""
    rng = np.random.default_rng(3)
    edges, points = image("blobs", size, count)
    M = geodesic_distances(edges, points).flatten(1)
    b = (rng.random(M.shape[1]) < 0.7).astype(np.float64)
    shares = rng.dirichlet(np.ones(count))
    shares[-1] = 0
    a = rng.multinomial(int(b.sum()), shares / shares.sum()).astype(np.float64)
    return Problem(torch.from_numpy(a), torch.from_numpy(b), M)


def moved(given: Problem) -> Problem:
    return Problem(*(tensor.to(DEVICE) for tensor in given))


def same_bits(a: torch.Tensor, b: torch.Tensor, what: str) -> None:
    a, b = a.cpu(), b.cpu()
    different = int((a != b).sum())
    assert different == 0, f"{what}: {different} of {a.numel()} values differ"


def same_labels(found: torch.Tensor, expected: torch.Tensor, score: torch.Tensor, tolerance: float) -> None:
    """Equal, but where the scores (K, N) of both choices tie within ``tolerance``."""
    found, expected = found.cpu().flatten(), expected.cpu().flatten()
    assert torch.equal(found < 0, expected < 0), "not the same pixels have a label"
    score = score.double()
    gap = (score.gather(0, found.clamp_min(0)[None]) - score.gather(0, expected.clamp_min(0)[None])).abs()
    worst = gap[0][found != expected].max().item() if bool((found != expected).any()) else 0.0
    assert worst <= tolerance, f"labels differ by {worst:.1e} in score, more than a tie of {tolerance:.1e}"


def geodesics_equal_the_cpu(backend: str) -> None:
    for size in SIZES:
        for family in (*TYPICAL, *ADVERSARIAL):
            edges, points = image(family, size)
            expected = geodesic_distances(edges, points)
            found = geodesic_distances(edges.to(DEVICE), points, backend=backend)
            same_bits(found, expected, f"{family} {size}")


def float64_geodesics_equal_the_cpu(backend: str) -> None:
    edges, points = image("blobs", SIZES[0])
    found = geodesic_distances(edges.double().to(DEVICE), points, backend=backend)
    same_bits(found, geodesic_distances(edges.double(), points, backend="heap"), "float64")


def partition_equals_the_cpu(backend: str) -> None:
    for size in SIZES:
        for family in ("blobs", "zero", "corridors"):
            edges, points = image(family, size)
            expected = nearest_partition(edges, points)
            found = nearest_partition(edges.to(DEVICE), points, backend=backend)
            same_bits(found.distance, expected.distance, f"{family} {size}")
            all_maps = geodesic_distances(edges, points).flatten(1).nan_to_num(posinf=0)
            same_labels(found.labels, expected.labels, all_maps, 0)


def ragged_geodesics_equal_single_ones(backend: str) -> None:
    several = images()
    found = geodesic_distances([i.edges.to(DEVICE) for i in several], [i.points for i in several], backend=backend)
    for one, maps in zip(several, found, strict=True):
        same_bits(maps, geodesic_distances(one.edges, one.points), str(tuple(one.edges.shape)))


def edges_equal_the_cpu(_: str) -> None:
    semantic, boundary = (torch.from_numpy(x) for x in blobs(np.random.default_rng(0), *SIZES[-1]))
    found = edge_costs(semantic.to(DEVICE), boundary[None].to(DEVICE)).cpu()
    torch.testing.assert_close(found, edge_costs(semantic, boundary[None]), rtol=1e-5, atol=1e-6)


def rounds_equal_the_cpu(backend: str) -> None:
    for size in SIZES:
        given = problem(size)
        scale = float(given.M.max())
        for reg in (1e-2 * scale, 1e-1 * scale):
            expected, found = sinkhorn(*given, reg), sinkhorn(*moved(given), reg, backend=backend)
            compare(found, expected, given, 1e-3 * reg)


def newton_equals_the_cpu(backend: str) -> None:
    for size in SIZES:
        given = problem(size)
        scale = float(given.M.max())
        for reg in (1e-3 * scale, 1e-1 * scale):
            expected, found = solve(*given, reg=reg), solve(*moved(given), reg=reg, backend=backend)
            assert float(found.marginal_error) <= 1e-7, f"marginal error {float(found.marginal_error):.1e}"
            compare(found, expected, given, 1e-3 * reg)


def compare(found: Any, expected: Any, given: Problem, tolerance: float) -> None:
    """Potentials up to the constant that they are free in, labels, errors."""
    alive, owned = given.a > 0, given.b > 0
    f, g = found.f.cpu()[alive], found.g.cpu()[owned]
    shift = (f - expected.f[alive]).mean()
    torch.testing.assert_close(f - shift, expected.f[alive], rtol=0, atol=tolerance)
    torch.testing.assert_close(g + shift, expected.g[owned], rtol=0, atol=tolerance)
    score = torch.where(alive[:, None], expected.f[:, None] - given.M, -1e30)
    same_labels(found.labels, expected.labels, score, 4 * tolerance)
    error, reference = float(found.marginal_error), float(expected.marginal_error)
    assert abs(error - reference) <= 1e-5 + 1e-2 * reference, f"marginal error {error:.2e}, on the CPU {reference:.2e}"


def ragged_transport_equals_single_ones(backend: str) -> None:
    several = [problem(size, COUNT - place) for place, size in enumerate(SIZES)]
    reg = 0.05 * float(several[0].M.max())
    a, b, M = (list(parts) for parts in zip(*(moved(given) for given in several), strict=True))
    for solver in (lambda *p, **more: sinkhorn(*p, reg, **more), lambda *p, **more: solve(*p, reg=reg, **more)):
        for given, found in zip(several, solver(a, b, M, backend=backend), strict=True):
            compare(found, solver(*given), given, 1e-3 * reg)


def repeats_give_the_same_bits(backend: str) -> None:
    edges, points = image("blobs", SIZES[-1])
    given = moved(problem(SIZES[-1]))
    reg = 0.02 * float(given.M.max())
    calls: list[Callable[[], torch.Tensor]] = [
        lambda: geodesic_distances(edges.to(DEVICE), points, backend=backend),
        lambda: sinkhorn(*given, reg, backend=backend).f,
        lambda: solve(*given, reg=reg, backend=backend).f,
    ]
    for call in calls:
        first = call()
        for _ in range(REPEATS):
            same_bits(call(), first, "a repeat")


def nothing_waits_for_the_gpu(backend: str) -> None:
    """The functional path never synchronises: what would is an error inside."""
    semantic, boundary = (torch.from_numpy(x).to(DEVICE) for x in blobs(np.random.default_rng(0), *SIZES[0]))
    points = random_points(np.zeros((1, *SIZES[0])), COUNT)
    given = moved(problem(SIZES[0]))

    def path() -> None:
        edges = edge_costs(semantic, boundary[None])
        geodesic_distances(edges, points, backend=backend)
        nearest_partition([edges, edges], [points, points[:2]], backend=backend)
        _ = sinkhorn(*given, 0.1, backend=backend).labels

    path()  # compiles, fills the allocator
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        path()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def labelling_equals_the_cpu(_: str) -> None:
    """Algorithm 1 on a padded batch of images of different size."""
    full = (max(h for h, _ in SIZES), max(w for _, w in SIZES))
    semantic, boundary = torch.zeros(len(SIZES), 21, *full), torch.zeros(len(SIZES), 1, *full)
    targets = []
    for place, (height, width) in enumerate(SIZES):
        maps = blobs(np.random.default_rng(place), height, width)
        semantic[place, :, :height, :width], boundary[place, 0, :height, :width] = map(torch.from_numpy, maps)
        points = np.unique(random_points(np.zeros((1, height, width)), COUNT), axis=0)
        targets.append(PointTargets(points, category=maps[0].argmax(0)[tuple(points.T)]))
    for preset in ("best", "paper"):
        masker = PseudoMasker(preset, **({"stride": 2} if preset == "paper" and INTERPRET else {}))
        expected = masker(semantic, boundary, targets, sizes=SIZES)
        for found, own in zip(
            masker(semantic.to(DEVICE), boundary.to(DEVICE), targets, sizes=SIZES), expected, strict=True
        ):
            for field in ("instance", "semantic", "void"):
                same = float((getattr(found, field).cpu() == getattr(own, field)).float().mean())
                assert same >= 0.999, f"{preset}: {field} agrees on {100 * same:.2f} % of the pixels"


def losses_equal_the_cpu(_: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5, *SIZES[0], generator=generator)
    labels = torch.randint(0, 5, (1, *SIZES[0]), generator=generator)
    picture = torch.rand(1, 3, *SIZES[0], generator=generator)
    gradients = []
    for device in (torch.device("cpu"), DEVICE):
        x = logits.to(device).requires_grad_()
        semantic_loss(x, labels.to(device), picture.to(device)).backward()
        gradients.append(x.grad.cpu())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)


CHECKS = {
    "geodesics, bit by bit": (geodesics_equal_the_cpu, BACKENDS),
    "geodesics in float64, bit by bit": (float64_geodesics_equal_the_cpu, ("auto",)),
    "partition": (partition_equals_the_cpu, BACKENDS),
    "geodesics of images of different sizes": (ragged_geodesics_equal_single_ones, BACKENDS),
    "edges": (edges_equal_the_cpu, ("auto",)),
    "80 rounds": (rounds_equal_the_cpu, BACKENDS),
    "Newton": (newton_equals_the_cpu, BACKENDS),
    "transport of images of different sizes": (ragged_transport_equals_single_ones, BACKENDS),
    "repeats": (repeats_give_the_same_bits, BACKENDS),
    "no waiting for the GPU": (nothing_waits_for_the_gpu, () if INTERPRET else BACKENDS),
    "Algorithm 1 in a batch": (labelling_equals_the_cpu, ("auto",)),
    "losses": (losses_equal_the_cpu, ("auto",)),
}
