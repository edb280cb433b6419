"""Affinity along the tree of a picture: spanning tree, tree filter, and the loss made of them (Eq. 14-15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..arrays import Array, as_optional_tensors, as_tensors, check_floating, compute_dtype
from ..checks import check_choice, check_number, fail, fail_type
from . import _tree_ops
from ._inputs import check_labels, check_picture, picture_like, read_batch

Backend = Literal["auto", "numba", "torch"]

# Standard deviation of the colours of ImageNet. The mean is of no account: only differences enter the tree.
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class SpanningTree:
    """A minimum spanning tree of a picture's 4-connected pixel graph (:func:`~point2mask_ot.minimum_spanning_tree`).

    Nodes are listed in depth-first preorder from the first pixel: a parent comes before its children. Pixels are
    numbered in raster order. It carries no gradient; :meth:`to` moves it to another device.

    Attributes:
        order: (B, N) or (N,) int32, the pixel of each node; N = H * W.
        parent: (B, N) or (N,) int32, the pixel of its parent; the root is its own.
        distance: (B, N) or (N,) float32 or float64, squared L2 distance of the colours of node and parent; 0 at the
            root, +inf where one of the two is not valid: no affinity crosses such an edge.
        size: (H, W).
    """

    order: Array
    parent: Array
    distance: Array
    size: tuple[int, int]

    def __post_init__(self) -> None:
        shapes = {tuple(field.shape) for field in (self.order, self.parent, self.distance)}
        pixels = self.size[0] * self.size[1]
        if len(shapes) != 1 or self.order.shape[-1] != pixels:
            fail("SpanningTree", "size", f"{self.size} with arrays of {sorted(shapes)}", f"three arrays of {pixels}")

    @property
    def total_weight(self) -> Any:
        """The sum of the finite distances in float64, (B,) or a scalar."""
        (distance,), restore = as_tensors("SpanningTree", distance=self.distance)
        return restore(distance.double().masked_fill(distance == torch.inf, 0).sum(-1))

    def to(self, device: torch.device | str) -> SpanningTree:
        """The tree in torch on another device: built by a data loader on the CPU, used on a GPU."""
        order, parent, distance = (
            torch.as_tensor(field).to(device) for field in (self.order, self.parent, self.distance)
        )
        return SpanningTree(order, parent, distance, self.size)


class _Nodes(NamedTuple):
    """The arrays of a :class:`SpanningTree` as (B, N) tensors."""

    order: Tensor
    parent: Tensor
    distance: Tensor


def minimum_spanning_tree(image: Array, *, valid: Array | None = None, backend: Backend = "auto") -> SpanningTree:
    """The minimum spanning tree of the 4-connected pixel graph, weighted by squared colour distance.

    Of equally light edges the one with the smaller number (2 * pixel to the right, 2 * pixel + 1 down) is taken
    first, so the tree is unique and the same on every backend.

    Args:
        image: (B, D, H, W) or (D, H, W) picture or feature map, uint8 or floating point.
        valid: (B, H, W) or (H, W) bool; False is padding, whose values never matter. The pixels around it form
            trees of their own: no affinity leads through it. Default: all.
        backend: ``"numba"`` (CPU), ``"torch"`` (any device, nothing waits for it), or ``"auto"``: numba on the CPU.

    Returns:
        :class:`~point2mask_ot.losses.SpanningTree`; its distances are float64 for a float64 image, else float32.

    Raises:
        ArgumentTypeError: another dtype, NumPy beside torch, a mask that is not bool.
        ArgumentError: another shape; NaN or infinity at a valid pixel (CPU only: other devices are not waited for);
            ``"numba"`` for a tensor that is not on the CPU.

    Example:
        >>> import numpy as np
        >>> picture = np.array([[[0, 1, 9], [0, 2, 9]]], np.uint8)
        >>> tree = minimum_spanning_tree(picture)
        >>> tree.order.tolist(), tree.parent.tolist(), tree.distance.tolist()
        ([0, 1, 4, 5, 2, 3], [0, 0, 1, 4, 5, 0], [0.0, 1.0, 1.0, 49.0, 0.0, 0.0])
    """
    name = "minimum_spanning_tree"
    (picture, mask), restore = as_optional_tensors(name, image=image, valid=valid)
    if picture is None or not (picture.dtype == torch.uint8 or picture.is_floating_point()):
        fail_type(name, "image", image, "a uint8 or floating-point picture")
    if picture.ndim not in (3, 4) or 0 in picture.shape:
        fail(name, "image", f"shape {tuple(picture.shape)}", "a non-empty (D, H, W) or (B, D, H, W)")
    if mask is not None:
        if mask.dtype != torch.bool:
            fail_type(name, "valid", mask.dtype, "a bool mask")
        if mask.shape != (*picture.shape[:-3], *picture.shape[-2:]):
            fail(name, "valid", f"shape {tuple(mask.shape)}", f"the batch and size of 'image', {tuple(picture.shape)}")
    single = picture.ndim == 3
    if single:
        picture, mask = picture[None], None if mask is None else mask[None]
    nodes = _build_tree(picture, mask, _choose_backend(name, backend, picture))
    order, parent, distance = (restore(field[0] if single else field) for field in nodes)
    return SpanningTree(order, parent, distance, (picture.shape[-2], picture.shape[-1]))


def tree_filter(
    values: Array,
    tree: SpanningTree,
    *,
    theta: float,
    features: Array | None = None,
    normalize: bool = True,
    backend: Backend = "auto",
) -> Any:
    """Average over the whole image, weighted by the affinity along the tree (Eq. 14)::

        A_ij = product of exp(-d_e / theta) over the edges e of the tree's path from i to j
        T(x)_i = sum_j A_ij x_j / sum_j A_ij

    in two passes over the tree, for all channels. Gradients are exact: to ``values`` the same filter again, and to
    ``features``.

    Args:
        values: (B, C, H, W) or (C, H, W) what to filter: probabilities, features.
        tree: of a picture of that batch and size.
        theta: squared colour distance at which the affinity of an edge is 1/e, > 0, in the units of the picture.
        features: (B, D, H, W) or (D, H, W): their squared distances replace the picture's on the edges of the tree
            (whose shape stays the picture's) and receive gradients. Default: the picture's distances.
        normalize: divide by the sum of the affinities; False gives the plain sum.
        backend: as in :func:`minimum_spanning_tree`.

    Returns:
        Like ``values``; float64 for float64 values, else float32. A NaN anywhere makes its whole channel NaN.

    Raises:
        ArgumentTypeError: integer values or features, NumPy beside torch, something that is no SpanningTree.
        ArgumentError: shapes or devices that differ, theta out of range.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import minimum_spanning_tree
        >>> picture = np.array([[[0.0, 0.0, 1.0, 1.0]]])
        >>> scores = np.array([[[1.0, 0.0, 0.0, 0.0]]])
        >>> tree_filter(scores, minimum_spanning_tree(picture), theta=0.1).round(3).tolist()
        [[[0.5, 0.5, 0.0, 0.0]]]
    """
    name = "tree_filter"
    if not isinstance(tree, SpanningTree):
        fail_type(name, "tree", tree, "a SpanningTree, from minimum_spanning_tree(image)")
    arrays = {"values": values, "features": features, **_arrays("tree", tree)}
    (x, guide, *fields), restore = as_optional_tensors(name, **arrays)
    nodes = _Nodes(*fields)  # type: ignore[arg-type]  # none of them was None
    if x is None:
        fail_type(name, "values", values, "a floating-point map")
    for argument, value in (("values", x), ("features", guide)):
        if value is None:
            continue
        check_floating(name, argument, value)
        if (
            value.ndim not in (3, 4)
            or value.shape[:-3] != nodes.order.shape[:-1]
            or tuple(value.shape[-2:]) != tree.size
        ):
            batch = "".join(f"{count}, " for count in nodes.order.shape[:-1])
            expected = f"({batch}channels, {tree.size[0]}, {tree.size[1]}), the batch and size of 'tree'"
            fail(name, argument, f"shape {tuple(value.shape)}", expected)
    theta = check_number(name, "theta", theta, minimum=torch.finfo(torch.float32).tiny)
    backend = _choose_backend(name, backend, x)

    single = x.ndim == 3
    if single:
        x, nodes = x[None], _Nodes(*(field[None] for field in nodes))
        guide = None if guide is None else guide[None]
    if guide is not None:
        nodes = _Nodes(nodes.order, nodes.parent, _feature_distances(guide.to(compute_dtype(guide)), nodes))
    filtered = _filter(x.to(compute_dtype(x)), nodes, theta, normalize, backend)
    return restore(filtered[0] if single else filtered)


def tree_affinity_loss(
    logits: Array,
    image: Array | SpanningTree,
    *,
    theta: float = 0.02,
    imagenet: bool = True,
    region: Literal["all", "unlabelled"] = "all",
    norm: Literal["pixels", "unlabelled"] = "pixels",
    labels: Array | None = None,
    ignore_index: int = 255,
    valid: Array | None = None,
    backend: Backend = "auto",
) -> Any:
    """Pixels that are alike along the picture's tree should agree on their class (Eq. 14-15)::

        L = mean over images of  1/n sum over pixels and classes of |P - T(P)|,  P = softmax(logits)

    with T the :func:`tree_filter` of the picture's minimum spanning tree. The gradient flows through P and T(P).
    (The paper's minus sign in Eq. 15 would maximise the difference.)

    Decoder layers that share a picture can share its tree: pass
    ``minimum_spanning_tree(picture / std, valid=valid)`` for ``image``, with ``std`` the (3, 1, 1) deviations
    0.229, 0.224, 0.225 of ImageNet.

    Args:
        logits: (B, C, H, W) or (C, H, W) class scores.
        image: (B, 3, h, w) or (3, h, w) sRGB in [0, 1], resized bilinearly where its size is not that of the logits
            (colours then mix across the border of padding: mark such pixels invalid, or crop before). It gets no
            gradient. Or a tree that was built before, used as it is.
        theta: theta_2 of Eq. 14, > 0: squared colour distance at which the affinity of an edge is 1/e.
        imagenet: divide the picture by ImageNet's standard deviations first, as the released code's theta = 0.02
            supposes; that is about theta = 0.001 in plain [0, 1] units, which ``False`` measures in.
        region: sum over ``"all"`` pixels or over the ``"unlabelled"`` ones.
        norm: n counts all ``"pixels"`` (the paper) or the ``"unlabelled"`` ones (the released code, which still sums
            over all).
        labels: (B, H, W) or (H, W) integer classes that tell the unlabelled pixels, needed for those two options.
        ignore_index: the label of unlabelled pixels.
        valid: (B, H, W) or (H, W) bool at the size of the logits; False is padding, which neither counts nor joins
            the tree. An image without a valid pixel adds zero. Default: all.
        backend: as in :func:`minimum_spanning_tree`.

    Returns:
        Scalar >= 0, float64 for float64 logits, else float32.

    Raises:
        ArgumentTypeError: NumPy beside torch, integer maps, a mask that is not bool.
        ArgumentError: sizes that differ, a picture outside [0, 1] or wrong labels (NaN instead of an error on a GPU
            or in a compiled graph: nothing waits for the device), missing labels, unknown options.

    Example:
        >>> import torch
        >>> image = torch.zeros(3, 1, 2)
        >>> certain = torch.tensor([[[9.0, -9.0]], [[-9.0, 9.0]]])
        >>> f"{tree_affinity_loss(certain, image).item():.4f}"  # one colour, two classes
        '1.0000'
    """
    name = "tree_affinity_loss"
    theta = check_number(name, "theta", theta, minimum=torch.finfo(torch.float32).tiny)
    check_choice(name, "region", region, ("all", "unlabelled"))
    check_choice(name, "norm", norm, ("pixels", "unlabelled"))
    if "unlabelled" in (region, norm) and labels is None:
        fail(name, "labels", "None", f"a label map, for region={region!r} and norm={norm!r}")
    label_maps = {} if labels is None else {"labels": labels}
    pictures = _arrays("image", image) if isinstance(image, SpanningTree) else {"image": image}
    maps, others, restore = read_batch(name, {"logits": logits}, label_maps, {"valid": valid}, pictures)
    scores, mask = maps["logits"], others.pop("valid")
    backend = _choose_backend(name, backend, scores)
    if isinstance(image, SpanningTree):
        nodes, verdict = _given_nodes(name, others, image.size, scores), scores.new_zeros(())
    else:
        nodes, verdict = _picture_nodes(name, others["image"], scores, mask, imagenet, backend)

    inside = torch.ones_like(scores[:, 0], dtype=torch.bool) if mask is None else mask
    areas = {"all": inside, "pixels": inside}
    if labels is not None:
        labelled, wrong = check_labels(name, "labels", maps["labels"], scores.shape[1], ignore_index, mask)
        areas["unlabelled"] = inside & ~labelled
        verdict = verdict + wrong
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], 0)
    P = scores.softmax(1, dtype=compute_dtype(scores))
    # Plain form of Eq. 15: 1/n sum over pixels and classes of |P - T(P)|.
    difference = _filter(P, nodes, theta, True, backend).sub_(P).abs().sum(1)
    per_image = torch.where(areas[region], difference, 0).sum((1, 2)) / areas[norm].sum((1, 2)).clamp_min(1)
    return restore(per_image.mean() + verdict.to(P.dtype))


def _choose_backend(function: str, backend: str, tensor: Tensor) -> Literal["numba", "torch"]:
    check_choice(function, "backend", backend, ("auto", "numba", "torch"))
    on_cpu = tensor.device.type == "cpu"
    if backend == "numba" and not on_cpu:
        fail(function, "backend", f"'numba' for a tensor on {tensor.device}", "'torch' or 'auto' there")
    return "numba" if on_cpu and backend != "torch" else "torch"


def _arrays(argument: str, tree: SpanningTree) -> dict[str, Array]:
    return {argument: tree.order, f"{argument}.parent": tree.parent, f"{argument}.distance": tree.distance}


def _build_tree(picture: Tensor, valid: Tensor | None, backend: str) -> _Nodes:
    return _Nodes(*_tree_ops.minimum_spanning_tree(picture.detach(), valid, backend))


def _filter(values: Tensor, nodes: _Nodes, theta: float, normalize: bool, backend: str) -> Tensor:
    """Plain form of Eq. 14: T(x)_i = sum_j A_ij x_j / sum_j A_ij, A_ij = product of exp(-d_e / theta) on the way."""
    affinity = torch.exp(-nodes.distance.to(values.dtype) / theta)
    flat = values.flatten(2)
    total: Tensor = _tree_ops.tree_filter(flat, affinity, nodes.order, nodes.parent, backend)
    if normalize:
        ones = torch.ones_like(flat[:, :1])
        mass = _tree_ops.tree_filter(ones, affinity, nodes.order, nodes.parent, backend)
        # The quotient's gradient by the mass needs the dividend; without it the map is ours to overwrite.
        total = total / mass if mass.requires_grad else total.div_(mass)
    return total.view(values.shape)


def _feature_distances(features: Tensor, nodes: _Nodes) -> Tensor:
    """(B, N) squared distance of the features of each node and its parent; +inf where the tree is cut."""
    flat, channels = features.flatten(2), features.shape[1]
    node, parent = (
        flat.gather(2, pixels.long()[:, None].expand(-1, channels, -1)) for pixels in (nodes.order, nodes.parent)
    )
    cut = torch.isinf(nodes.distance)
    difference = (node - parent).masked_fill(cut[:, None], 0)  # a NaN in the padding must not reach a gradient
    return difference.square().sum(1).masked_fill(cut, torch.inf)


def _given_nodes(function: str, fields: dict[str, Tensor | None], size: tuple[int, int], scores: Tensor) -> _Nodes:
    nodes = _Nodes(*fields.values())  # type: ignore[arg-type]  # none of them was None
    if nodes.order.ndim != 2 or len(nodes.order) != len(scores) or size != tuple(scores.shape[-2:]):
        got = f"a tree of {size[0]} x {size[1]} pixels, order {tuple(nodes.order.shape)}"
        fail(function, "image", got, f"the batch and size of 'logits', {tuple(scores.shape)}")
    return nodes


def _picture_nodes(
    function: str, picture: Tensor | None, scores: Tensor, valid: Tensor | None, imagenet: bool, backend: str
) -> tuple[_Nodes, Tensor]:
    """The tree of an sRGB picture at the size of the scores, and the verdict on its values."""
    picture = picture_like(function, "image", picture, scores)
    verdict = check_picture(function, "image", picture, valid)
    if imagenet:
        channels = zip(picture.unbind(1), _IMAGENET_STD, strict=True)
        picture = torch.stack([channel / deviation for channel, deviation in channels], 1)
    return _build_tree(picture, valid, backend), verdict
