"""Each point belongs to its own pseudo-mask: the contrastive loss that shapes the manifold features (section 4.2)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..arrays import Array, compute_dtype
from ..checks import check_choice, check_integer, check_number, fail, fail_type
from ._inputs import check_labels, read_batch, refuse

_NOT_A_TARGET = -100


def manifold_contrastive_loss(
    embeddings: Array,
    instance: Array,
    points_yx: Array,
    target: Array,
    *,
    num_targets: int,
    temperature: float = 0.07,
    empty: Literal["zero", "skip"] = "zero",
    columns: Array | None = None,
    valid: Array | None = None,
) -> Any:
    """Classify the embedding of each point among the mean embeddings of all pseudo-masks::

        R_n = mean of f over pseudo-mask n
        L = mean over images of  mean over points k of  cross-entropy(<f_k, R_1..S> / temperature, target of k)

    The paper names the features and leaves their loss to the released code, which this follows. Gradients flow
    through the points and through the means. An image without points adds zero.

    Args:
        embeddings: (B, D, H, W) or (D, H, W) unit vectors f.
        instance: (B, H, W) or (H, W) integers: the target 0..S-1 whose pseudo-mask holds the pixel, -1 where none
            does (:attr:`PseudoMasks.instance`; to follow the released code, one target for each stuff class, present
            or not).
        points_yx: (B, P, 2) or (P, 2) row and column of the points at the size of the embeddings; a float belongs
            to the nearest pixel.
        target: (B, P) or (P,) integers: the target 0..S-1 of each point, -1 for an entry that only fills the batch.
        num_targets: S.
        temperature: > 0.
        empty: a pseudo-mask without a pixel: ``"zero"`` has the mean zero, as in the released code; ``"skip"`` takes
            no part, nor do its points.
        columns: (B, S) or (S,) bool: the targets that an image has, where batched images have different numbers.
            Default: all.
        valid: (B, H, W) or (H, W) bool; False is padding, whose values never matter. Default: all.

    Returns:
        Scalar >= 0, float64 for float64 embeddings, else float32.

    Raises:
        ArgumentTypeError: NumPy beside torch, targets that are not integers, masks that are not bool.
        ArgumentError: sizes that differ, options out of range, a target id out of range, a point outside the image
            or in the padding (NaN instead of an error on a GPU or in a compiled graph: nothing waits for the device).

    Example:
        >>> import torch
        >>> f = torch.eye(2)[:, None]  # two pixels with orthogonal embeddings, each a mask of its own
        >>> ids, points = torch.tensor([[0, 1]]), torch.tensor([[0, 0], [0, 1]])
        >>> loss = manifold_contrastive_loss(f, ids, points, ids[0], num_targets=2, temperature=1)
        >>> f"{loss.item():.4f}"  # log(1 + 1/e)
        '0.3133'
    """
    name = "manifold_contrastive_loss"
    extra = {"points_yx": points_yx, "target": target, "columns": columns}
    maps, others, restore = read_batch(
        name, {"embeddings": embeddings}, {"instance": instance}, {"valid": valid}, extra
    )
    count = check_integer(name, "num_targets", num_targets, minimum=1)
    temperature = check_number(name, "temperature", temperature, above=0)
    check_choice(name, "empty", empty, ("zero", "skip"))
    f = maps["embeddings"].to(compute_dtype(maps["embeddings"]))
    inside = others["valid"]
    points, owner, present = _check_points(others, len(f), count)
    if inside is not None:
        f = f.masked_fill(~inside[:, None], 0)

    pixel, misplaced = _pixel_index(points, owner >= 0, inside, f.shape[-2:])
    masked, bad_mask = check_labels(name, "instance", maps["instance"], count, -1, inside)
    given, bad_target = check_labels(name, "target", owner, count, -1, None)
    with torch.autocast(f.device.type, enabled=False):
        means, size = _mask_means(f, torch.where(masked, maps["instance"], -1), count)
        at_points = f.flatten(2).gather(2, pixel[:, None].expand(-1, f.shape[1], -1))
        similarity = torch.bmm(means, at_points) / temperature
    present = present if empty == "zero" else present & (size > 0)
    loss = _cross_entropy(similarity, torch.where(given, owner, 0), given, present)
    return restore(loss + (misplaced + bad_mask + bad_target).to(loss.dtype))


def _check_points(others: dict[str, Tensor | None], batch: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    name = "manifold_contrastive_loss"
    points, target, columns = others["points_yx"], others["target"], others["columns"]
    if points is None or target is None:
        fail_type(name, "points_yx" if points is None else "target", None, "an array")
    if points.ndim != 3 or len(points) != batch or points.shape[2] != 2:
        fail(name, "points_yx", f"shape {tuple(points.shape)}", f"({batch}, P, 2), or (P, 2) for a single image")
    if points.is_complex() or points.dtype == torch.bool:
        fail_type(name, "points_yx", points.dtype, "integer or float coordinates")
    if target.shape != points.shape[:2]:
        fail(name, "target", f"shape {tuple(target.shape)}", f"{tuple(points.shape[:2])}: one for each point")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        fail_type(name, "target", target.dtype, "integer target ids")
    if columns is None:
        columns = torch.ones(batch, count, dtype=torch.bool, device=points.device)
    if columns.dtype != torch.bool:
        fail_type(name, "columns", columns.dtype, "a bool mask")
    if columns.shape != (batch, count):
        fail(name, "columns", f"shape {tuple(columns.shape)}", f"({batch}, {count}): images by targets")
    return points, target.long(), columns


def _pixel_index(points: Tensor, used: Tensor, valid: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
    """(B, P) raster index of each point's pixel, 0 for entries not used; and :func:`refuse`'s scalar."""
    height, width = size
    at = (points + 0.5).floor() if points.is_floating_point() else points
    y, x = at.unbind(2)
    placed = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    pixel = torch.where(placed, y * width + x, 0).long()
    if valid is not None:
        placed = placed & valid.flatten(1).gather(1, pixel)
    expected = f"pixels of the {height}x{width} image, row then column"
    verdict = refuse("manifold_contrastive_loss", "points_yx", used & ~placed, "a point outside", expected)
    return torch.where(used, pixel, 0), verdict


def _mask_means(f: Tensor, instance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(B, S, D) mean of f over each mask, 0 for an empty one; and (B, S) its pixels."""
    # A product with the masks adds in the same order on every run; scattering on a GPU does not.
    masks = instance.flatten(1)[:, None] == torch.arange(count, device=f.device)[:, None]
    size = masks.sum(2)
    return torch.bmm(masks.to(f.dtype), f.flatten(2).mT) / size.clamp_min(1)[:, :, None], size


def _cross_entropy(similarity: Tensor, owner: Tensor, given: Tensor, present: Tensor) -> Tensor:
    """Mean over images of the mean over their points; (B, S, P) similarities, (B, P) owners, (B, S) columns."""
    counted = given & present.gather(1, owner)
    similarity = similarity.masked_fill(~present[:, :, None], -torch.inf)
    # Points that do not count must not see a column of -inf alone: its gradient is NaN.
    similarity = torch.where(counted[:, None], similarity, 0.0)
    owner = torch.where(counted, owner, _NOT_A_TARGET)
    surprise = functional.cross_entropy(similarity, owner, ignore_index=_NOT_A_TARGET, reduction="none")
    return (surprise.sum(1) / counted.sum(1).clamp_min(1)).mean()
