"""Timings on a CUDA GPU: our kernels against plain torch on the same card and the CPU kernels of the same machine.

CUDA events, warm, medians; several calls a run where one is short. Inputs are on the device before the clock starts,
for the CPU kernels in memory. ``gpu_check.py`` runs this.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from harness import Timing, interleaved
from maps import blobs, make_edges, random_points
from peers import Problem, as_torch, marginal_error, ot, paper_plan

from point2mask_ot import (
    PointTargets,
    PseudoMasker,
    edge_costs,
    geodesic_distances,
    nearest_partition,
    sinkhorn,
    solve,
)

Row = dict[str, Any]
GEODESIC = [((38, 50), 10), ((128, 128), 20), ((256, 256), 20), ((512, 512), 20), ((600, 800), 20), ((512, 512), 50)]
TRANSPORT = [(20, 1_900), (50, 16_384), (20, 65_536), (50, 65_536), (20, 262_144), (50, 262_144)]
REG = 0.01
BATCH = 16


def on_device(function: Callable[[], Any], repeats: int = 9, budget: float = 3.0) -> Timing:
    """Seconds by CUDA events, after two calls that are not timed."""
    function()
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    once = time.perf_counter() - start
    calls, seconds = max(1, min(100, int(0.005 / once))), []
    for _ in range(max(1, min(repeats, int(budget / once)))):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        for _ in range(calls):
            function()
        events[1].record()
        torch.cuda.synchronize()
        seconds.append(1e-3 * events[0].elapsed_time(events[1]) / calls)
    return Timing.of(seconds)


def on_host(function: Callable[[], Any], threads: int) -> Timing:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        function()  # compiles
        return interleaved({"": function}, 5, budget=3)[""]
    finally:
        torch.set_num_threads(before)


class Rows:
    """Timings of one problem; what fails is a row too."""

    def __init__(self, **keys: Any) -> None:
        self.keys, self.rows = keys, list[Row]()

    def add(self, solver: str, timed: Callable[[], Timing], error: Callable[[], float] | None = None) -> None:
        row: Row = {"task": "timing", **self.keys, "solver": solver, "problem": ""}
        try:
            row["seconds"] = vars(timed())
            if error is not None:
                row["marginal_error"] = error()
        except Exception as problem:
            row |= {"seconds": None, "problem": f"{type(problem).__name__}: {str(problem).strip()[:300]}"}
            traceback.print_exc()
        self.rows.append(row)
        median = f"{1e3 * row['seconds']['median']:10.3f} ms" if row["seconds"] else row["problem"][:80]
        accuracy = f"  error {row['marginal_error']:.1e}" if "marginal_error" in row else ""
        print(f"{'  '.join(str(value) for value in self.keys.values()):40} {solver:32} {median}{accuracy}", flush=True)


def geodesics(size: tuple[int, int], count: int) -> list[Row]:
    edges = torch.from_numpy(make_edges("blobs", *size))
    points, there = random_points(edges.numpy(), count), edges.cuda()
    rows = Rows(what="geodesic", size=list(size), seeds=count)
    for backend in ("triton", "torch"):
        rows.add(
            f"ours, {backend}",
            lambda backend=backend: on_device(lambda: geodesic_distances(there, points, backend=backend)),
        )
    rows.add("ours, partition", lambda: on_device(lambda: nearest_partition(there, points)))
    for threads in (1, torch.get_num_threads()):
        rows.add(
            f"ours, CPU, {threads} threads",
            lambda threads=threads: on_host(lambda: geodesic_distances(edges, points), threads),
        )
    return rows.rows


def smooth_problem(suppliers: int, pixels: int) -> Problem:
    """City-block costs between random places, random capacities; float32 costs."""
    rng = np.random.default_rng(0)
    centres, places = rng.random((suppliers, 1, 2), np.float32), rng.random((1, pixels, 2), np.float32)
    M = torch.from_numpy(np.abs(centres - places).sum(-1))
    a = rng.multinomial(pixels, rng.dirichlet(np.full(suppliers, 2.0))).clip(1).astype(np.float64)
    b = np.full(pixels, a.sum() / pixels)
    return Problem(torch.from_numpy(a), torch.from_numpy(b), M)


def transport(suppliers: int, pixels: int) -> list[Row]:
    given = smooth_problem(suppliers, pixels)
    there = Problem(*(tensor.cuda() for tensor in given))
    single = as_torch(given, "cuda")
    rows = Rows(what="transport", suppliers=suppliers, pixels=pixels, reg=REG)

    def ours(
        name: str, solver: Callable[..., Any], problem: Problem, time_it: Callable[..., Timing], **more: Any
    ) -> None:
        rows.add(
            name, lambda: time_it(lambda: solver(*problem, reg=REG, **more).labels),
            lambda: float(solver(*problem, reg=REG, **more).marginal_error),
        )  # fmt: skip

    for backend in ("triton", "torch"):
        ours(f"80 rounds, {backend}", sinkhorn, there, on_device, backend=backend)
        ours(f"solve to 1e-7, {backend}", solve, there, on_device, backend=backend)
    threads = torch.get_num_threads()
    ours(f"80 rounds, CPU, {threads} threads", sinkhorn, given, lambda call: on_host(call, threads))
    ours(f"solve to 1e-7, CPU, {threads} threads", solve, given, lambda call: on_host(call, threads))
    rows.add(
        "80 rounds, paper's, eager torch", lambda: on_device(lambda: paper_plan(single, REG, 80)),
        lambda: marginal_error(paper_plan(single, REG, 80), single),
    )  # fmt: skip
    if ot is not None:

        def pot() -> Any:
            return ot.sinkhorn(*single, REG, method="sinkhorn_log", numItermax=80, stopThr=0, warn=False)

        rows.add("80 rounds, POT log, torch", lambda: on_device(pot), lambda: marginal_error(pot(), single))
    return rows.rows


def batch() -> list[Row]:
    """Sixteen images of different size at once, and one after the other."""
    rng = np.random.default_rng(0)
    sizes = [(int(rng.integers(90, 129)), int(rng.integers(90, 129))) for _ in range(BATCH)]
    edges = [torch.from_numpy(make_edges("blobs", *size)) for size in sizes]
    points = [random_points(one.numpy(), 10) for one in edges]
    there = [one.cuda() for one in edges]
    rows = Rows(what="batch", images=BATCH, seeds=10)
    rows.add("geodesic, one list", lambda: on_device(lambda: geodesic_distances(there, points)))
    rows.add(
        "geodesic, one by one",
        lambda: on_device(lambda: [geodesic_distances(e, p) for e, p in zip(there, points, strict=True)]),
    )
    rows.add("geodesic, CPU", lambda: on_host(lambda: geodesic_distances(edges, points), torch.get_num_threads()))
    problems = [smooth_problem(10, height * width) for height, width in sizes]
    parts = [[tensor.cuda() for tensor in each] for each in zip(*problems, strict=True)]
    rows.add("80 rounds, one list", lambda: on_device(lambda: sinkhorn(*parts, REG)))
    rows.add(
        "80 rounds, one by one",
        lambda: on_device(lambda: [sinkhorn(*each, REG) for each in zip(*parts, strict=True)]),
    )
    return rows.rows


def pipeline() -> list[Row]:
    """Algorithm 1 on four pictures of 600 x 800 with 21 channels and 10 targets."""
    semantic, boundary = (torch.from_numpy(x) for x in blobs(np.random.default_rng(0), 600, 800))
    points = random_points(np.zeros((1, 600, 800)), 10)
    targets = PointTargets(points, category=semantic.argmax(0).numpy()[tuple(points.T)])
    given = semantic.expand(4, -1, -1, -1).contiguous(), boundary.expand(4, 1, -1, -1).contiguous(), [targets] * 4
    there = given[0].cuda(), given[1].cuda(), given[2]
    rows = Rows(what="Algorithm 1", images=4, size=[600, 800])
    for preset in ("best", "paper"):
        masker = PseudoMasker(preset)
        rows.add(f"{preset}, GPU", lambda masker=masker: on_device(lambda: masker(*there), 5))
        rows.add(f"{preset}, CPU", lambda masker=masker: on_host(lambda: masker(*given), torch.get_num_threads()))
    maps = there[0][:1], there[1][:1]
    rows.add("edges of one, GPU", lambda: on_device(lambda: edge_costs(*maps)))
    return rows.rows


def run(limit: float) -> list[Row]:
    """All timings that can begin within ``limit`` seconds."""
    start, rows = time.perf_counter(), list[Row]()
    todo: Sequence[Callable[[], list[Row]]] = [
        *(lambda each=each: geodesics(*each) for each in GEODESIC),
        batch,
        *(lambda each=each: transport(*each) for each in TRANSPORT),
        pipeline,
    ]
    for measure in todo:
        if time.perf_counter() - start < limit:
            rows += measure()
    return rows
