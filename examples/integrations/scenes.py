"""Made pictures for the integrations: discs and squares on uneven ground, a point on each and a few on the ground."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from point2mask_ot import Category, PanopticImage, PointTargets, sample_points

CATEGORIES = (Category(1, "disc", True), Category(2, "square", True), Category(3, "ground", False))
"""A target's ``category`` is its index here."""

_COLORS = np.array([[200, 90, 40], [40, 90, 190], [120, 150, 110]])
_GROUND_POINTS = 16


class Scene(NamedTuple):
    """(H, W, 3) uint8 picture, its points, and the true masks, which only score the pseudo-masks."""

    picture: np.ndarray
    targets: PointTargets
    truth: PanopticImage


def make_scene(seed: int, height: int = 96, width: int = 128, objects: int = 4) -> Scene:
    """Objects keep apart from each other; the points are random pixels of their targets."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))
    owner = np.full((height, width), objects)
    category = np.full(objects + 1, 2)
    placed = 0
    while placed < objects:
        y, x, half = rng.uniform(14, height - 14), rng.uniform(14, width - 14), rng.uniform(9, 13)
        kind = placed % 2
        apart = np.abs([rows - y, columns - x])
        reach = np.hypot(*apart) if kind == 0 else apart.max(axis=0)
        if (owner[reach < half + 4] == objects).all():
            owner[reach < half], category[placed] = placed, kind
            placed += 1
    light = 1 + 0.25 * (rows / height - columns / width)
    picture = _COLORS[category[owner]] * light[..., None] + rng.normal(0, 6, (height, width, 3))
    masks = owner == np.arange(objects + 1)[:, None, None]
    ids, is_thing = ([getattr(CATEGORIES[c], field) for c in category] for field in ("id", "is_thing"))
    truth = PanopticImage.from_masks(masks, ids, is_thing, image_id=seed, file_name=f"scene{seed}.png")
    one_each, many = (sample_points(truth, CATEGORIES, n=n, seed=seed, stuff=True).targets for n in (1, _GROUND_POINTS))
    ground = many.points_yx[many.target == objects]
    things = one_each.points_yx[one_each.target < objects]
    targets = PointTargets(
        np.concatenate([things, ground]),
        np.repeat(np.arange(objects + 1), [1] * objects + [len(ground)]),
        category,
        is_thing,
    )
    return Scene(picture.clip(0, 255).astype(np.uint8), targets, truth)
