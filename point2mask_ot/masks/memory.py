"""What labelling an image takes, and whether this machine has it: told before the work begins, not after hours."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from ..checks import fail
from .crowd import is_crowded, needs_all_maps
from .scene import Scene

_BASE = 240
"""Bytes a pixel for the maps of an image, its edges, labels and what they are made from."""
_BASE_OF_CROWDS = 150
"""The same where no supplier has a map of its own."""
_MAPS = 2.4
"""Maps of costs for each supplier that are alive at once, where each has one."""
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def bytes_needed(scene: Scene, with_all_maps: bool = False) -> int:
    """About what labelling takes at its peak, the image itself left out; within a third on pictures of cells."""
    pixels, suppliers = scene.raster.height * scene.raster.width, len(scene.chosen)
    if with_all_maps or not is_crowded(scene):
        return int(pixels * (_BASE + _MAPS * suppliers * scene.edges.element_size()))
    if scene.walks:
        from ..walks.solvers import walk_bytes

        return pixels * _BASE_OF_CROWDS + walk_bytes(scene.raster.height, scene.raster.width, suppliers)
    rivals = 2 + 0.45 * math.sqrt(suppliers)  # a block has that many near it; beside these, the first and a sample
    return int(pixels * (_BASE_OF_CROWDS + 2 * 4 * rivals))


def refuse_what_does_not_fit(scenes: list[Scene], *, with_all_maps: bool = False) -> None:
    """Refuse images whose costs would not fit, with a map for each supplier also where there are many.

    Raises:
        ArgumentError: naming the largest image, the estimate and the memory of the machine.
    """
    if not scenes:
        return
    needed = sum(bytes_needed(scene, with_all_maps) for scene in scenes)
    there = total_memory(scenes[0].edges.device)
    if needed <= there:
        return
    largest = max(scenes, key=bytes_needed)
    got = (
        f"{len(largest.chosen):,} suppliers on {largest.raster.height:,} x {largest.raster.width:,} pixels"
        + (f" in a batch of {len(scenes)}" if len(scenes) > 1 else "")
        + f", which take about {needed / 1e9:.2g} GB"
    )
    setting = "walks to targets as unevenly spread as these" if with_all_maps else needs_all_maps(largest)
    remedy = "parts of the picture, a smaller one, or fewer targets"
    if setting:
        remedy += f"; with {setting} every supplier has a map of the whole picture"
    fail("PseudoMasker", "targets", got, f"what fits into the {there / 1e9:.2g} GB of this machine: {remedy}")


def total_memory(device: torch.device) -> float:
    """Bytes of a device, of the host within the limit of its control group; inf where nobody says."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    known = [math.inf]
    if device.type == "cpu" and hasattr(os, "sysconf"):
        known.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
        known += [float(text) for path in map(Path, _CGROUPS) if (text := _read(path)).isdigit()]
    return min(known)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
