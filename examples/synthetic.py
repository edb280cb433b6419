"""Pictures of touching, textured shapes with their true masks, drawn from a seed: data that need no download."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import draw

from point2mask_ot import Category, PanopticImage

CATEGORIES = (
    Category(1, "disc", True, (230, 159, 0)),
    Category(2, "box", True, (86, 180, 233)),
    Category(3, "wedge", True, (0, 158, 115)),
    Category(4, "ground", False, (150, 150, 150)),
)
"""Three things, told apart by colour and shape, and the ground that they lie on."""

# Middle of each category's colours, sRGB in [0, 1]; each shape has a colour of its own around it.
_COLOURS = np.array([[0.85, 0.55, 0.25], [0.35, 0.55, 0.85], [0.35, 0.7, 0.4], [0.55, 0.5, 0.5]])


def draw_scene(seed: int, index: int, size: int = 96) -> tuple[np.ndarray, PanopticImage]:
    """Picture number ``index`` of the set ``seed``.

    Args:
        seed: names the set.
        index: of the picture.
        size: side in pixels.

    Returns:
        (size, size, 3) uint8 sRGB, and the masks of its shapes and of the ground.
    """
    rng = np.random.default_rng((seed, index))
    owner = np.zeros((size, size), np.int64)
    kinds: list[int] = []
    # A cluster, so that most shapes touch another one.
    centre = rng.uniform(0.3, 0.7, 2) * size
    for _ in range(rng.integers(3, 7)):
        kind = int(rng.integers(3))
        place = np.clip(centre + rng.normal(0, 0.22 * size, 2), 0.1 * size, 0.9 * size)
        inside = _shape(rng, kind, place, rng.uniform(0.12, 0.22) * size, owner.shape)
        kinds.append(kind)
        owner[inside] = len(kinds)
    picture = _paint(rng, owner, kinds)
    masks = owner == np.arange(1, len(kinds) + 1)[:, None, None]
    visible = masks.sum((1, 2)) >= 30  # a sliver that others left is ground
    masks, kinds = masks[visible], [kind for kind, seen in zip(kinds, visible, strict=True) if seen]
    masks = np.concatenate([masks, ~masks.any(0)[None]])
    categories = [CATEGORIES[kind].id for kind in (*kinds, 3)]
    is_thing = [True] * len(kinds) + [False]
    return picture, PanopticImage.from_masks(masks, categories, is_thing, index, f"{index:06d}.png")


def _shape(rng: np.random.Generator, kind: int, centre: np.ndarray, radius: float, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: an ellipse, a rectangle or a triangle, turned at random."""
    turn = rng.uniform(0, 2 * np.pi)
    stretch = rng.uniform(0.7, 1.0)
    corners = {0: 40, 1: 4, 2: 3}[kind]
    angles = np.arange(corners) * 2 * np.pi / corners
    across = np.stack([np.cos(angles) * stretch, np.sin(angles)], 1) * radius * (1.25 if corners < 40 else 1)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    rows, columns = (across @ rotation.T + centre).T
    return draw.polygon2mask(size, np.stack([rows, columns], 1))


def _paint(rng: np.random.Generator, owner: np.ndarray, kinds: list[int]) -> np.ndarray:
    """Colours of the owners, shaded, with grain and a little blur."""
    colours = _COLOURS[[3, *kinds]] + rng.normal(0, 0.09, (len(kinds) + 1, 3))
    picture = colours[owner]
    shade = gaussian_filter(rng.normal(0, 1, owner.shape), owner.shape[0] / 8, mode="reflect")
    grain = gaussian_filter(rng.normal(0, 1, (*owner.shape, 3)), (0.7, 0.7, 0))
    picture = picture + 0.08 * shade[..., None] / max(np.abs(shade).max(), 1e-6) + 0.05 * grain
    return np.clip(255 * gaussian_filter(picture, (0.5, 0.5, 0)), 0, 255).astype(np.uint8)
