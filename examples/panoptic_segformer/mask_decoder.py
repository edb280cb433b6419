"""Masks from attention: queries look at the encoder's memory, and where they look is what they segment.

Shapes: B pictures, Q queries, L layers, S tokens of the three finest levels, h x w the finest of them, D = ``dim``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import Network

LEVELS = 3
"""Levels of the memory that the mask decoders attend to; the encoder has one more, coarser."""


@dataclass(frozen=True)
class Memory:
    """What the encoder made of a batch."""

    tokens: Tensor  # (B, S, D)
    position: Tensor  # (B, S, D) sine position plus level embedding
    inside: Tensor  # (B, S) bool, False in the padding
    shapes: Sequence[tuple[int, int]]  # (height, width) of each level

    def maps(self, values: Tensor) -> list[Tensor]:
        """(N, S, C) per token as a (N, C, h_l, w_l) map per level."""
        parts = values.split([height * width for height, width in self.shapes], dim=1)
        return [part.mT.unflatten(2, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def sum_of_levels(self, values: Tensor) -> Tensor:
        """(B, C, h, w): every level resized to the finest, and added."""
        finest, *others = self.maps(values)
        return finest + sum(resize(other, self.shapes[0]) for other in others)


class MaskAttention(nn.Module):
    """Attention of queries to tokens whose scores, before the softmax, also become masks."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.levels = nn.ModuleList(nn.Conv2d(heads, heads, 1) for _ in range(LEVELS))
        self.fuse = nn.Conv2d(LEVELS * heads, 1, 1)

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """(B, Q, D) what was attended to, and (B, Q, h, w) masks."""
        query, key, value = (
            layer(given).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, given in ((self.query, queries), (self.key, memory.tokens), (self.value, memory.tokens))
        )
        scores = query @ key.mT / math.sqrt(key.shape[-1])  # (B, heads, Q, S)
        padding = ~memory.inside[:, None, None]
        attended = scores.masked_fill(padding, -math.inf).softmax(-1) @ value
        return self.out(attended.transpose(1, 2).flatten(2)), self._masks(scores.masked_fill(padding, 0), memory)

    def _masks(self, scores: Tensor, memory: Memory) -> Tensor:
        per_query = scores.permute(0, 2, 3, 1).flatten(0, 1)  # (B Q, S, heads)
        levels = zip(self.levels, memory.maps(per_query), strict=True)
        maps = [resize(layer(level).relu(), memory.shapes[0]) for layer, level in levels]
        masks = self.fuse(torch.cat(maps, 1)).relu().view(len(scores), scores.shape[2], *memory.shapes[0])
        return masks * memory.maps(memory.inside[..., None].to(masks.dtype))[0]


class MaskLayer(nn.Module):
    """One layer of a mask decoder."""

    def __init__(self, settings: Network, self_attention: bool) -> None:
        super().__init__()
        dim = settings.dim
        self.self_attn = nn.MultiheadAttention(dim, settings.heads, batch_first=True) if self_attention else None
        self.norm_self = nn.LayerNorm(dim) if self_attention else None
        self.cross_attn, self.norm_cross = MaskAttention(dim, settings.heads), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, settings.ffn_dim), nn.GELU(), nn.Linear(settings.ffn_dim, dim))
        self.norm_mlp = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """(B, Q, D) queries and (B, Q, h, w) masks."""
        if self.self_attn is not None:
            queries = self.norm_self(queries + self.self_attn(queries, queries, queries, need_weights=False)[0])
        attended, masks = self.cross_attn(queries, memory)
        queries = self.norm_cross(queries + attended)
        return self.norm_mlp(queries + self.mlp(queries)), masks


class ClassMasks(nn.Module):
    """A learned query for each class, its masks and whether the class is present (stuff and semantic heads)."""

    def __init__(self, settings: Network, classes: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.empty(classes, settings.dim))
        self.position = nn.Parameter(torch.empty(classes, settings.dim))
        self.layers = nn.ModuleList(MaskLayer(settings, self_attention=True) for _ in range(settings.mask_layers))
        self.class_embed = nn.ModuleList(nn.Linear(settings.dim, 1) for _ in range(settings.mask_layers))

    def forward(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """(L, B, classes) presence logits and (L, B, classes, h, w) masks."""
        queries, logits, masks = self.content.expand(len(memory.tokens), -1, -1), [], []
        for layer, classify in zip(self.layers, self.class_embed, strict=True):
            queries, mask = layer(queries + self.position, memory)
            logits.append(classify(queries)[..., 0])
            masks.append(mask)
        return torch.stack(logits), torch.stack(masks)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, h, w) maps at (height, width), bilinear."""
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def nearest(labels: Tensor, size: Sequence[int]) -> Tensor:
    """(N, H, W) integers or booleans at (height, width), each from the pixel at the centre of its cell."""
    # Torch's "nearest" takes the corner of a cell, and what it resizes lies half a cell off the maps beside it.
    pixels = functional.interpolate(labels[:, None].double(), tuple(size), mode="nearest-exact")
    return pixels[:, 0].to(labels.dtype)
