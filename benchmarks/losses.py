"""Time and peak memory of each loss, forward and backward, and of the LAB loss made of unfolded maps as the peer.

The picture is a photograph, the scores are those of a half-trained network in kind: random, smooth, correlated with
nothing. Times are medians of interleaved calls; peak memory is what the resident set of a fresh process grows by
during one call, on a GPU what torch allocates beyond its inputs.

    python benchmarks/losses.py --json benchmarks/results/losses.json
    python benchmarks/losses.py --quick
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import interleaved, write_json
from skimage import data
from torch import Tensor
from torch.nn import functional

import point2mask_ot as p2m
from point2mask_ot.losses import srgb_to_lab
from point2mask_ot.losses.color import DEFAULT_KERNELS

OURS = ("partial", "lab", "tree", "semantic", "boundary", "manifold")
PEER = "lab, unfolded"
PEER_OF = {PEER: "lab"}


def unfolded_lab_loss(logits: Tensor, image: Tensor) -> Tensor:
    """The LAB loss as the literature's code writes it, less its border: K x K-fold copies of all class maps."""
    p, lab = logits.softmax(1), srgb_to_lab(image)
    loss = logits.new_zeros(())
    for kernel, dilation, weight in DEFAULT_KERNELS:
        near = partial(_unfold, kernel=kernel, dilation=dilation)
        distance = (near(lab) - lab[:, :, None]).norm(dim=1)
        similar = (torch.exp(-distance / 2) >= 0.3) & (near(torch.ones_like(lab[:, :1]))[:, 0] > 0)
        cost = -torch.where(similar, (near(p) * p[:, :, None]).sum(1), 1.0).log()
        loss = loss + weight * (cost.sum((1, 2, 3)) / similar.sum((1, 2, 3)).clamp_min(1)).mean()
    return loss


def _unfold(x: Tensor, kernel: int, dilation: int) -> Tensor:
    """(B, C, K * K - 1, H, W): the neighbours of each pixel."""
    batch, channels, height, width = x.shape
    columns = functional.unfold(x, kernel, dilation=dilation, padding=dilation * (kernel // 2))
    columns = columns.view(batch, channels, kernel * kernel, height, width)
    middle = kernel * kernel // 2
    return torch.cat((columns[:, :, :middle], columns[:, :, middle + 1 :]), 2)


def problem(classes: int, size: int, device: str) -> dict[str, tuple[Tensor, Callable[[], Tensor]]]:
    """For each loss the map that learns, and the loss as a call."""
    generator = torch.Generator().manual_seed(0)
    coarse = 2 * torch.randn(1, classes, size // 8, size // 8, generator=generator)
    logits = functional.interpolate(coarse, (size, size), mode="bilinear")
    photograph = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    image = functional.interpolate(photograph, (size, size), mode="bilinear", antialias=True).clamp(0, 1)
    labels = torch.where(torch.rand(1, size, size, generator=generator) < 0.01, logits.argmax(1), 255)
    segments = torch.arange(size).div(16, rounding_mode="floor")
    segments = (segments[:, None] * (size // 16) + segments)[None] % classes
    embeddings = functional.normalize(torch.randn(1, 128, size, size, generator=generator), dim=1)
    boundary = torch.randn(1, 1, size, size, generator=generator)
    points = torch.randint(size, (1, 50, 2), generator=generator)
    owners = segments[0, points[0, :, 0], points[0, :, 1]][None]
    things = torch.arange(classes) < classes // 2

    given = (logits, embeddings, boundary, image, labels, segments, points, owners, things)
    logits, embeddings, boundary, image, labels, segments, points, owners, things = (t.to(device) for t in given)
    for learnt in (logits, embeddings, boundary):
        learnt.requires_grad_()
    contrast = partial(p2m.manifold_contrastive_loss, num_targets=classes)
    return {
        "partial": (logits, partial(p2m.partial_cross_entropy, logits, labels, dilation=17)),
        "lab": (logits, partial(p2m.lab_affinity_loss, logits, image)),
        PEER: (logits, partial(unfolded_lab_loss, logits, image)),
        "tree": (logits, partial(p2m.tree_affinity_loss, logits, image)),
        "semantic": (logits, partial(p2m.semantic_loss, logits, labels, image)),
        "boundary": (boundary, partial(p2m.boundary_affinity_loss, boundary, segments, segments, things)),
        "manifold": (embeddings, partial(contrast, embeddings, segments, points, owners)),
    }


def forward_backward(learnt: Tensor, loss: Callable[[], Tensor]) -> None:
    """One training step's share of a loss."""
    torch.autograd.grad(loss(), learnt)
    if learnt.is_cuda:
        torch.cuda.synchronize()


def forward(loss: Callable[[], Tensor]) -> None:
    """The loss alone, its graph kept for a backward pass that never comes."""
    if loss().is_cuda:
        torch.cuda.synchronize()


def peak_memory(name: str, classes: int, size: int, device: str) -> int:
    """Bytes by which one forward and backward pass of a loss raises the peak, in the process that calls this."""
    forward_backward(*problem(classes, 16, device)[name])  # code, threads and kernels are loaded
    learnt, loss = problem(classes, size, device)[name]
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        forward_backward(learnt, loss)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that making the problem left
    before = _status("VmRSS")
    forward_backward(learnt, loss)
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure(classes: int, size: int, repeats: int, device: str, processes: Any) -> list[dict[str, Any]]:
    """One row for each loss at one size."""
    runs = problem(classes, size, device)
    _check_same(runs)
    calls: dict[str, Callable[[], None]] = {}
    for name, (learnt, loss) in runs.items():
        calls[f"{name}/forward"] = partial(forward, loss)
        calls[f"{name}/both"] = partial(forward_backward, learnt, loss)
    timings = interleaved(calls, repeats)
    rows = []
    for name in runs:
        both, alone = timings[f"{name}/both"], timings[f"{name}/forward"]
        peaks = [processes.apply(peak_memory, (name, classes, size, device)) for _ in range(min(3, repeats))]
        rows.append(
            {
                "loss": name,
                "classes": classes,
                "size": size,
                "forward_ms": 1e3 * alone.median,
                "forward_backward_ms": 1e3 * both.median,
                "quartiles_ms": [1e3 * both.low, 1e3 * both.high],
                "runs": both.runs,
                "peak_mib": statistics.median(peaks) / 2**20,
                "maps": statistics.median(peaks) / (4 * classes * size * size),
            }
        )
    for row in rows:
        ours = next((other for other in rows if other["loss"] == PEER_OF.get(row["loss"])), None)
        if ours is not None:
            row["time_over_ours"] = row["forward_backward_ms"] / ours["forward_backward_ms"]
            row["memory_over_ours"] = row["peak_mib"] / ours["peak_mib"]
    return rows


def _check_same(runs: dict[str, tuple[Tensor, Callable[[], Tensor]]]) -> None:
    """A peer counts only where it computes the same."""
    for peer, ours in PEER_OF.items():
        torch.testing.assert_close(runs[peer][1](), runs[ours][1](), rtol=1e-4, atol=1e-5)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| loss | C | size | forward ms | both ms | quartiles of both | peak MiB | class maps | peer / ours |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        low, high = row["quartiles_ms"]
        ratio = f"time {row['time_over_ours']:.1f}, memory {row['memory_over_ours']:.1f}" if len(row) > 9 else ""
        lines.append(
            f"| {row['loss']} | {row['classes']} | {row['size']} | {row['forward_ms']:.2f} "
            f"| {row['forward_backward_ms']:.2f} | {low:.2f}-{high:.2f} | {row['peak_mib']:.1f} | {row['maps']:.1f} "
            f"| {ratio} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64x64 and C = 21 alone, once")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes, classes = ((64,), (21,)) if options.quick else ((64, 128, 256), (21, 133))
    repeats = 1 if options.quick else options.repeats

    # A server that has imported everything and run nothing forks a fresh process for each measurement.
    context = multiprocessing.get_context("spawn" if options.device == "cuda" else "forkserver")
    if options.device == "cpu":
        context.set_forkserver_preload(["torch._dynamo", "point2mask_ot.losses", "numba", "skimage.data"])
        # Every tensor gets pages of its own and gives them back when it goes: the resident set is what lives.
        os.environ["MALLOC_MMAP_THRESHOLD_"] = "32768"
    rows = []
    with context.Pool(1, maxtasksperchild=1) as processes:
        for count in classes:
            for size in sizes:
                rows += measure(count, size, repeats, options.device, processes)
                print(table(rows) if len(rows) == len(OURS) + 1 else table(rows[-len(OURS) - 1 :]).split("\n", 2)[2])
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
