"""Drives the kernel of :mod:`.kernel`: all maps of all images of a call in one set of launches.

The number of launches follows from the sizes alone and nothing is read back, so the host never waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton

from ..arguments import PointedGraph
from .kernel import settle

INTERPRETED = not isinstance(settle, triton.JITFunction)
"""The kernel runs in Triton's interpreter, on CPU tensors."""
SIDE = 32
"""Pixels along a side of a window; a tile has two less."""
REGION_SIDE = 4
"""Tiles along a side of a region, in all launches but the last."""
ENOUGH_MAPS = 256
"""As many maps fill a GPU by themselves: one program for each from the start makes the fewest visits."""
_WHOLE = 1 << 24
"""More tiles along a side than any map has."""
_BITS = {torch.float32: (torch.int32, 0x7F800000), torch.float64: (torch.int64, 0x7FF0000000000000)}
"""Integers as wide as the values, and the bits of +inf."""


def distances(images: Sequence[PointedGraph]) -> list[torch.Tensor]:
    """(K, H, W) shortest-path costs from each target of each image; all values are already checked."""
    field = Field(images, [image.num_targets for image in images], [image.target for image in images])
    shapes = [(image.num_targets, *image.edges.shape[1:]) for image in images]
    return _cut(field.distances(), shapes)


def partition(images: Sequence[PointedGraph]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(H, W) int64 nearest target of each image, -1 where there is none, and (H, W) the cost from it."""
    field = Field(images, [1] * len(images), [np.zeros_like(image.target) for image in images])
    distance = field.distances()
    shapes = [tuple(image.edges.shape[1:]) for image in images]
    return _cut(field.labels(distance), shapes), _cut(distance, shapes)


def constants(tight: bool) -> dict[str, Any]:
    """What the kernel is compiled for, and the warps of a program: as many as keep all costs in registers."""
    return {"TIGHT": tight, "SIDE": SIDE, "num_warps": 8 if tight else 16, "enable_fp_fusion": False}


class Field:
    """The maps of some images, where they start, and the tables by which programs find their way.

    Args:
        images: with all values checked.
        counts: number of maps of each image.
        index: (N,) for each image the map that each of its points belongs to.
    """

    def __init__(self, images: Sequence[PointedGraph], counts: Sequence[int], index: Sequence[np.ndarray]) -> None:
        inner = SIDE - 2
        sizes = np.array([image.edges.shape[1:] for image in images])
        height, width = np.repeat(sizes, counts, axis=0).T
        down, across = -(-height // inner), -(-width // inner)
        pixel, tile = _offsets(height * width), _offsets(down * across)
        edge = np.repeat(4 * _offsets(sizes.prod(1))[:-1], counts)
        self.edges = torch.cat([image.edges.reshape(-1) for image in images])
        self.num_pixels, self.num_tiles = int(pixel[-1]), int(tile[-1])

        which = np.concatenate([first + own for first, own in zip(_offsets(np.array(counts))[:-1], index, strict=True)])
        y, x = np.concatenate([image.pixels for image in images]).T
        # A path may cross every row and every column of regions twice; the last launch takes what is left.
        spread = len(height) < ENOUGH_MAPS and int(np.maximum(down, across).max(initial=0)) > REGION_SIDE
        self.rounds = 2 * int((-(-down // REGION_SIDE) - (-across // REGION_SIDE)).max()) if spread else 0
        tables = [
            np.stack([height, width, across, pixel[:-1], edge, tile[:-1]], axis=1),
            _regions(down, across, REGION_SIDE) if spread else np.zeros((0, 5), np.int64),
            _regions(down, across, _WHOLE),
            pixel[which] + y * width[which] + x,
            tile[which] + y // inner * across[which] + x // inner,
            np.concatenate([image.target for image in images]),
        ]
        self.maps, self.regions, self.wholes, self.source, self.source_tile, self.source_label = _upload(
            tables, self.edges.device
        )

    def distances(self) -> torch.Tensor:
        """Costs of the cheapest paths, all maps behind one another."""
        values = self.edges.new_full((self.num_pixels,), torch.inf).index_fill_(0, self.source, 0.0)
        return self._settle(values, values, tight=False)

    def labels(self, distance: torch.Tensor) -> torch.Tensor:
        """The smallest label of a source that tight edges lead from, -1 where there is none; int64."""
        values = self.edges.new_full((self.num_pixels,), torch.inf)
        # Labels are whole numbers far below 2^24: exact as floats.
        values.scatter_reduce_(0, self.source, self.source_label.to(values.dtype), "amin")
        self._settle(values, distance, tight=True)
        return torch.where(torch.isinf(values), -1, values).to(torch.int64)

    def _settle(self, values: torch.Tensor, distance: torch.Tensor, tight: bool) -> torch.Tensor:
        if self.num_pixels == 0:
            return values
        options = constants(tight)
        bits, nothing = _BITS[values.dtype]
        pending = torch.full((2, self.num_tiles), nothing, dtype=bits, device=values.device)
        pending[0].index_fill_(0, self.source_tile, 0)
        programs = max(len(self.regions), len(self.wholes))
        scratch = values.new_full((programs, SIDE + 2, SIDE + 2), torch.inf)
        for number, regions in enumerate([self.regions] * self.rounds + [self.wholes]):
            now, later = pending[number % 2], pending[1 - number % 2]
            settle[(len(regions),)](values, self.edges, distance, now, later, scratch, self.maps, regions, **options)
        return values


def _regions(down: np.ndarray, across: np.ndarray, side: int) -> np.ndarray:
    """(programs, 5) int64: map, first row and column of tiles, and those behind the last, of all maps' regions."""
    rows, columns = -(-down // side), -(-across // side)
    which = np.repeat(np.arange(len(down)), rows * columns)
    place = np.arange(len(which)) - _offsets(rows * columns)[which]
    top, left = place // columns[which] * side, place % columns[which] * side
    bottom, right = np.minimum(top + side, down[which]), np.minimum(left + side, across[which])
    return np.stack([which, top, left, bottom, right], axis=1)


def _cut(values: torch.Tensor, shapes: Sequence[tuple[int, ...]]) -> list[torch.Tensor]:
    """The part of each image, in memory of its own: outputs of an operator must not overlap."""
    parts = (
        torch.ops.aten.split_with_sizes_copy(values, [math.prod(shape) for shape in shapes])
        if len(shapes) > 1
        else [values]
    )
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """Where each part begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _upload(tables: Sequence[np.ndarray], device: torch.device) -> list[torch.Tensor]:
    """The tables on the device, by one copy that the host does not wait for."""
    joined = torch.from_numpy(np.concatenate([table.ravel() for table in tables], dtype=np.int64))
    if device.type == "cuda":
        joined = joined.pin_memory()
    parts = joined.to(device, non_blocking=True).split([table.size for table in tables])
    return [part.view(table.shape) for part, table in zip(parts, tables, strict=True)]
