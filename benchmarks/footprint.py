"""What a process pays once: the time of first calls, with nothing compiled and from the cache, and peak memory.

    python benchmarks/footprint.py [--quick] [--json results.json]

Every figure comes from a fresh process. Compile time is the first call less a later one, after torch, numba and scipy
were imported; "empty" starts from an empty cache folder, "filled" from the one that the run before left. Peak
memory is that of ``solve(...).labels`` beyond the process as it was without M, in units of M. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import in_process, memory, reset_peak_memory, write_json

SUPPLIERS, PIXELS = 50, 262_144


def geodesic() -> None:
    """What a first user calls: distances and partition of a small map."""
    from point2mask_ot import geodesic_distances, nearest_partition

    edges = np.ones((4, 48, 64), np.float32)
    points = np.array([(5, 5), (10, 30), (20, 20), (30, 50), (40, 8), (44, 60)])
    geodesic_distances(edges, points)
    nearest_partition(edges, points)


def transport() -> None:
    """Converged and fixed rounds."""
    from point2mask_ot import sinkhorn, solve

    M = np.random.default_rng(0).random((6, 600), np.float32)
    a, b = np.full(6, 100.0), np.ones(600)
    solve(a, b, M, reg=0.1)
    sinkhorn(a, b, M, 0.1)


def exact() -> None:
    """Without regularisation."""
    from point2mask_ot import solve

    solve(np.full(6, 100.0), np.ones(600), np.random.default_rng(0).random((6, 600), np.float32))


def both() -> None:
    """Distances, partition and transport."""
    geodesic()
    transport()


CALLS: dict[str, Callable[[], None]] = {"geodesic": geodesic, "transport": transport, "both": both, "exact": exact}


def first_calls(name: str) -> dict[str, float]:
    """Seconds of the imports, of the first call and of a later one."""
    start = time.perf_counter()
    import numba  # noqa: F401
    import scipy.sparse.csgraph  # noqa: F401

    seconds = {"imports": time.perf_counter() - start}
    for turn in ("first", "second"):
        start = time.perf_counter()
        CALLS[name]()
        seconds[turn] = time.perf_counter() - start
    return seconds


def compile_row(name: str, cache: str, **variables: str) -> dict[str, Any]:
    """One start of a process."""
    seconds = in_process(first_calls, name, **variables)
    return {"task": "compile", "what": name, "cache": cache, "seconds": seconds} | {
        "compile_seconds": max(seconds["first"] - seconds["second"], 1e-9)
    }


def peak_of_labels(suppliers: int, pixels: int, reg: float, threads: int) -> dict[str, float]:
    """Peak of the resident set over that before M was there, as a multiple of M."""
    from point2mask_ot import solve

    torch.set_num_threads(threads)
    transport()  # loads and compiles everything
    exact()
    rng = np.random.default_rng(0)
    centres, places = rng.random((suppliers, 2), np.float32), rng.random((pixels, 2), np.float32)
    M = np.empty((suppliers, pixels), np.float32)
    for row, centre in zip(M, centres, strict=True):
        row[:] = np.abs(places - centre).sum(1)
    demand = np.ones(pixels)
    capacity = rng.multinomial(pixels, rng.dirichlet(np.ones(suppliers))).astype(float)
    reset_peak_memory()
    before = memory("VmRSS")
    labels = solve(capacity, demand, M, reg=reg).labels
    peak = memory("VmHWM") - before + M.nbytes
    assert labels.shape == (pixels,)
    return {"peak_mib": peak / 2**20, "m_mib": M.nbytes / 2**20, "ratio": peak / M.nbytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="starts from the filled cache; the median counts")
    parser.add_argument("--quick", action="store_true", help="a few seconds: no compilation, a small M")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    rows = []
    for name in () if options.quick else CALLS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(compile_row(name, "empty", NUMBA_CACHE_DIR=folder))
            filled = [compile_row(name, "filled", NUMBA_CACHE_DIR=folder) for _ in range(options.repeats)]
            rows.append(sorted(filled, key=lambda row: row["compile_seconds"])[len(filled) // 2])
    if options.quick:
        rows.append(compile_row("geodesic", "filled"))
    for row in rows:
        parts = ", ".join(f"{turn} {seconds:.3f} s" for turn, seconds in row["seconds"].items())
        print(f"{row['what']:10} {row['cache']:7} cache: {row['compile_seconds']:.3f} s ({parts})", flush=True)
    suppliers, pixels = (5, 10_000) if options.quick else (SUPPLIERS, PIXELS)
    for reg in (0.1,) if options.quick else (1e-3, 0.1, 0.0):
        for threads in (1,) if options.quick else (1, 2):
            found = in_process(peak_of_labels, suppliers, pixels, reg, threads, threads=threads)
            row = {"task": "memory", "suppliers": suppliers, "pixels": pixels, "reg": reg, "threads": threads} | found
            print(
                f"labels {suppliers} x {pixels:,} reg {reg:g} {threads} threads: {found['ratio']:.2f} of M", flush=True
            )
            rows.append(row)
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
