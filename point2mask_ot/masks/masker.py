"""Algorithm 1: maps and points in, panoptic pseudo-masks out."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack, overload

import torch

from ..arrays import Array, Restore, as_optional_tensors
from ..checks import BackgroundWarning, check_integer, fail, fail_type
from ..compiled.graphs import outside_graphs
from ..graph.edges import MapTerm, check_maps, check_terms
from ..nearest import NearestCosts
from ..types import PointTargets, PseudoMasks, TransportResult, targets_by_image
from .config import PseudoMaskConfig
from .inputs import Maps
from .overrides import ConfigOverrides
from .stages import label_images

NO_BACKGROUND = (
    "all targets are things and nothing limits them, so that one of them has to own every pixel: a mask ends only "
    "where another begins, and of sizes only the proportions count"
)
"""What :class:`~point2mask_ot.BackgroundWarning` says first; then, in the words of the caller, what to do."""


class PseudoMasker:
    """Turns semantic, boundary and feature maps and one or more points per target into panoptic pseudo-masks.

    The stages of Algorithm 1: edge costs (Eq. 2-3), geodesic costs from the points, capacities (Eq. 4), optimal
    transport (Eq. 9-11), masks; each is a public function of its own.

    Args:
        config: a :class:`PseudoMaskConfig` or the name of a preset: ``"best"``, ``"paper"``, ``"official"``.
        overrides: fields of the configuration to change.

    Raises:
        ArgumentError: an unknown preset or field (the message suggests the nearest), or a value out of range.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import PointTargets
        >>> boundary = np.zeros((1, 20, 40), np.float32); boundary[0, :, 25] = 1
        >>> targets = PointTargets([(10, 10), (10, 35)], is_thing=[True, False])
        >>> result = PseudoMasker("best", stuff="supply", capacity="nearest")(None, boundary, targets)
        >>> result.masks.shape
        (2, 20, 40)
    """

    def __init__(self, config: PseudoMaskConfig | str = "best", **overrides: Unpack[ConfigOverrides]) -> None:
        if isinstance(config, str):
            config = PseudoMaskConfig.preset(config, **overrides)
        elif isinstance(config, PseudoMaskConfig):
            config = config.changed(**overrides)
        else:
            fail_type("PseudoMasker", "config", config, "a PseudoMaskConfig or the name of a preset")
        self.config = config

    def __repr__(self) -> str:
        return f"PseudoMasker({self.config})"

    @overload
    def __call__(
        self, semantic: Array | None, boundary: Array | None, targets: PointTargets, features: Array | None = ..., *,
        terms: Sequence[MapTerm] = ..., sizes: Sequence[tuple[int, int]] | None = ...,
    ) -> PseudoMasks: ...  # fmt: skip
    @overload
    def __call__(
        self, semantic: Array | None, boundary: Array | None, targets: Sequence[PointTargets],
        features: Array | None = ..., *, terms: Sequence[MapTerm] = ...,
        sizes: Sequence[tuple[int, int]] | None = ...,
    ) -> list[PseudoMasks]: ...  # fmt: skip

    @outside_graphs
    def __call__(
        self,
        semantic: Array | None,
        boundary: Array | None,
        targets: PointTargets | Sequence[PointTargets],
        features: Array | None = None,
        *,
        terms: Sequence[MapTerm] = (),
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Any:
        """Label one image or a batch, stage by stage for all of its images at once.

        On a GPU the host waits for the device a few times a batch, not an image: for the centroids of each round,
        before the transport, in a solver that runs until it has converged, and for the boxes of components.

        Args:
            semantic: (C, H, W) or (B, C, H, W) class probabilities in [0, 1], or None (then ``stuff="supply"``).
            boundary: (1, H, W) or (B, 1, H, W) boundary probability in [0, 1], or None.
            targets: the K point-labelled targets; a sequence of B of them for a batch. An image may have none.
            features: (D, H, W) or (B, D, H, W) unit vectors, or None.
            terms: further :class:`MapTerm` at the size of the picture; on a coarse grid, terms of kind ``"max"`` keep
                the largest value of each cell.
            sizes: (height, width) of each image of a padded batch, at its top left; the padding is void and
                influences nothing. Default: all of H x W.

        Returns:
            :class:`PseudoMasks`, or a list of B of them.

        Raises:
            ArgumentError: what :func:`edge_costs` refuses; points outside the image or two targets on one pixel;
                a category outside the channels; stuff to be excluded without a semantic map; a stride larger than
                the image; sizes that do not fit.

        Warns:
            BackgroundWarning: all targets of an image are things and nothing limits them, see
                :attr:`~point2mask_ot.Diagnostics.no_background`.
            ConvergenceWarning: see :func:`~point2mask_ot.solve`.
        """
        found = label_maps(self.config, semantic, boundary, targets, features, terms=terms, sizes=sizes)
        warn_of_no_background("PseudoMasker", found)
        return found


def warn_of_no_background(function: str, found: PseudoMasks | Sequence[PseudoMasks]) -> None:
    """Warn whoever called the library, in Python's words."""
    if any(masks.diagnostics.no_background for masks in ([found] if isinstance(found, PseudoMasks) else found)):
        warnings.warn(
            f"{function}: {NO_BACKGROUND}. Give points of the background as a target with is_thing=False, or a "
            "semantic map with stuff='exclude'.",
            BackgroundWarning,
            stacklevel=_callers_level(),
        )


def _callers_level() -> int:
    """The stack level, for :func:`warn_of_no_background`, of who called the library: decorators add some, torch's too
    once its compiler is loaded."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] in ("point2mask_ot", "torch"):
        frame, level = frame.f_back, level + 1
    return level


def label_maps(
    config: PseudoMaskConfig,
    semantic: Array | None,
    boundary: Array | None,
    targets: PointTargets | Sequence[PointTargets],
    features: Array | None = None,
    *,
    terms: Sequence[MapTerm] = (),
    sizes: Sequence[tuple[int, int]] | None = None,
) -> Any:
    """What :class:`PseudoMasker` returns, without its :class:`~point2mask_ot.BackgroundWarning`."""
    given: dict[str, Array | None] = {"semantic": semantic, "boundary": boundary, "features": features}
    given |= {f"terms[{i}]": term.map for i, term in enumerate(check_terms("PseudoMasker", terms))}
    tensors, restore = as_optional_tensors("PseudoMasker", **given)
    # Labels carry no gradient: from here on nothing knows what the maps were made of.
    tensors = [None if tensor is None else tensor.detach() for tensor in tensors]
    maps = {name: tensor for name, tensor in zip(given, tensors, strict=True) if tensor is not None}
    check_maps("PseudoMasker", maps)
    first = next(iter(maps.values()))
    batch = len(first) if first.ndim == 4 else None
    labelled = targets_by_image("PseudoMasker", targets, batch)
    full = (first.shape[-2], first.shape[-1])
    crops = _check_sizes(sizes, batch, full)
    images = []
    for b, (height, width) in enumerate(crops):
        planes = [None if t is None else (t if batch is None else t[b])[..., :height, :width] for t in tensors]
        images.append(Maps(planes[0], planes[1], planes[2], _with_maps(terms, planes[3:])))
    with torch.no_grad():
        labels = [_pad(masks, full) for masks in label_images(config, images, labelled)]
    results = [_restore(masks, restore) for masks in labels]
    return results[0] if batch is None else results


def _check_sizes(
    sizes: Sequence[tuple[int, int]] | None, batch: int | None, full: tuple[int, int]
) -> list[tuple[int, int]]:
    count = 1 if batch is None else batch
    if sizes is None:
        return [full] * count
    if len(sizes) != count or any(not isinstance(size, Sequence) or len(size) != 2 for size in sizes):
        fail("PseudoMasker", "sizes", f"{sizes!r:.80}", f"{count} pairs (height, width)")
    pairs = []
    for size in sizes:
        height, width = (check_integer("PseudoMasker", "sizes", side, minimum=1) for side in size)
        if height > full[0] or width > full[1]:
            fail("PseudoMasker", "sizes", f"{height}x{width}", f"within the maps' {full[0]}x{full[1]}")
        pairs.append((height, width))
    return pairs


def _with_maps(terms: Sequence[MapTerm], planes: Sequence[torch.Tensor | None]) -> tuple[MapTerm, ...]:
    return tuple(replace(term, map=plane) for term, plane in zip(terms, planes, strict=True))  # type: ignore[arg-type]


def _pad(result: PseudoMasks, full: tuple[int, int]) -> PseudoMasks:
    """Back to the padded size: nobody's, void, of no confidence. The diagnostics stay on the valid region."""
    height, width = result.void.shape
    if (height, width) == full:
        return result

    def grow(values: Any, fill: float) -> torch.Tensor:
        grown = values.new_full((*values.shape[:-2], *full), fill)
        grown[..., :height, :width] = values
        return grown

    return replace(
        result,
        instance=grow(result.instance, -1),
        semantic=grow(result.semantic, 0),
        void=grow(result.void, True),
        confidence=grow(result.confidence, 0),
    )


def _restore(value: Any, restore: Restore) -> Any:
    """Every tensor of a result dataclass in the family of the inputs."""
    if isinstance(value, torch.Tensor):
        return restore(value)
    if not dataclasses.is_dataclass(value) or isinstance(value, (type, NearestCosts)):
        return value
    parts = {f.name: _restore(getattr(value, f.name), restore) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, TransportResult):
        parts["make_plan"] = value.make_plan.restored(restore)
    return replace(value, **parts)
