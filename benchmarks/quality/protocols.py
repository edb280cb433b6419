"""What a method is given beside the picture and the points: three degrees of knowledge.

- ``union``: each group of touching instances of one class, cropped, with the union of their masks.
- ``classes``: the whole picture and the true class of every pixel.
- ``points``: the whole picture and nothing else; one point lies on the background.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from scenes import SMALLEST, Scene
from scipy import ndimage

from point2mask_ot import PointTargets
from point2mask_ot.panoptic import Category, PanopticImage, Segment, sample_points

PROTOCOLS = ("union", "classes", "points")


@dataclass(frozen=True, eq=False)
class Problem:
    """One call of a method.

    Attributes:
        name, picture_name: problems of one picture are not independent.
        picture, lab, gradient: (H, W, 3), (3, H, W), (1, H, W).
        known: (H, W) what is known of each pixel: pixels of different numbers cannot share an instance; -1 belongs
            to no instance.
        truth: (H, W) target of each pixel, -1 for none.
        category: (K,) class of each target, counted from 0 within the picture; the background comes last.
        is_thing: (K,) whether the target is an instance, which is scored.
        touching: (K,) whether a pixel of another instance of its class is next to it.
        kind: (K,) class of each target in its data set, -1 for the background.
        typical: size and spread of classes by ``kind``, for the methods that may know them.
    """

    name: str
    picture_name: str
    picture: np.ndarray
    lab: np.ndarray
    gradient: np.ndarray
    known: np.ndarray
    truth: np.ndarray
    category: np.ndarray
    is_thing: np.ndarray
    touching: np.ndarray
    kind: np.ndarray
    typical: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def targets(self, seed: int, points: int = 1, sampler: str = "uniform") -> PointTargets:
        """Random pixels of each target."""
        kinds_of = zip(self.category.tolist(), self.is_thing.tolist(), strict=True)
        segments = [Segment(k, *kind) for k, kind in enumerate(kinds_of, start=1)]
        kinds = {s.category_id: Category(s.category_id, str(s.category_id), s.is_thing) for s in segments}
        image = PanopticImage(self.truth + 1, tuple(segments), image_id=self.name)
        channels = {c: c for c in kinds}
        drawn = sample_points(
            image, kinds.values(), n=points, seed=seed, sampler=sampler, stuff=True, channels=channels
        )
        return drawn.targets


def problems(scene: Scene, protocol: str) -> Iterator[Problem]:
    """All problems that a picture poses."""
    if not len(scene.category):
        return
    category = np.unique(scene.category, return_inverse=True)[1]
    classes = np.append(category, -1)[scene.truth]  # -1 picks the last entry
    things, touching = np.ones(len(category), bool), touches(scene.truth, category)
    maps = (scene.picture, scene.lab, scene.gradient)
    if protocol == "union":
        yield from _groups(scene, category, classes)
    elif protocol == "classes":
        yield Problem(scene.name, scene.name, *maps, classes, scene.truth, category, things, touching, scene.category)
    else:
        truth, last, kind = scene.truth.copy(), len(category), scene.category
        if (truth < 0).any():
            truth[truth < 0] = last
            category, things = np.append(category, category.max() + 1), np.append(things, False)
            touching, kind = np.append(touching, False), np.append(kind, -1)
        yield Problem(scene.name, scene.name, *maps, np.zeros_like(truth), truth, category, things, touching, kind)


def _groups(scene: Scene, category: np.ndarray, classes: np.ndarray) -> Iterator[Problem]:
    for wanted in np.unique(category):
        parts, number = ndimage.label(classes == wanted, structure=np.ones((3, 3)))
        for part in range(1, number + 1):
            sizes = np.bincount(scene.truth[parts == part], minlength=len(category))
            members = np.flatnonzero(sizes >= SMALLEST)
            if len(members) < 2:
                continue
            names = np.full(len(category) + 1, -1)
            names[members] = np.arange(len(members))
            truth = np.where(parts == part, names[scene.truth], -1)
            box = ndimage.find_objects((truth >= 0).astype(int))[0]
            truth = truth[box]
            zeros, ones = np.zeros(len(members), int), np.ones(len(members), bool)
            maps = (scene.picture[box], scene.lab[:, *box], scene.gradient[:, *box])
            known = np.where(truth >= 0, 0, -1)
            name = f"{scene.name}/{wanted}/{part}"
            yield Problem(name, scene.name, *maps, known, truth, zeros, ones, ones, scene.category[members])


def touches(truth: np.ndarray, category: np.ndarray) -> np.ndarray:
    """(K,) whether an instance has a neighbour of its class among the 8 around any of its pixels."""
    found = np.zeros(len(category), bool)
    padded = np.pad(truth, 1, constant_values=-1)
    height, width = truth.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = padded[1 : 1 + height, 1 : 1 + width]
        there = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        pairs = (here >= 0) & (there >= 0) & (here != there)
        a, b = here[pairs], there[pairs]
        same = category[a] == category[b]
        found[a[same]] = found[b[same]] = True
    return found
