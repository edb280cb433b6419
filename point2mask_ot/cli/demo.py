"""``point2mask demo``: a first picture, without any file of one's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from ..checks import check_choice
from ..masks.settings import ColorSettings
from .label import show
from .masks import MaskOptions
from .options import Option

if TYPE_CHECKING:
    import numpy as np

    from ..types import PointTargets, PseudoMasks
    from .label import Panels

Picture = Literal["coins", "coffee"]


@dataclass(frozen=True)
class DemoColors(ColorSettings):
    """How colours stand in for a network's maps"""

    sigma: float = 2.0  # the reliefs on the coins are finer than their outlines


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Label a photograph that scikit-image ships"""

    picture: Picture = "coins"
    """Which photograph."""
    out: Annotated[Path, Option(says=("write_coco_panoptic", "atomic_write"))] = Path("demo")
    """Folder for the results."""
    sizes: bool = False
    """One point for each object, and a rough size beside it; three pictures more show what the sizes change."""
    mask: MaskOptions
    color: DemoColors

    def run(self, prog: str) -> None:
        """Label the photograph, say what the masks are like, and write them."""
        check_choice(prog, "picture", self.picture, get_args(Picture))
        import skimage.data

        from ..files.results import PictureResults, digest
        from ..labelling.idle import refuse_idle_sizes
        from ..masks.picture import ColorMasker, refuse_likelihood
        from ..panoptic import read_points

        image = getattr(skimage.data, self.picture)()
        if image.ndim == 2:
            image = image[:, :, None].repeat(3, axis=2)
        place = resources.files("point2mask_ot.cli") / "assets" / f"{self.picture}_points.json"
        with resources.as_file(place) as path:
            points = read_points(path, shape=image.shape[:2])
        targets = _first_points(points.targets) if self.sizes else _without_sizes(points.targets)
        points = replace(points, targets=targets)
        masker = ColorMasker(self.mask.config, self.color, **self.mask.changes)
        refuse_likelihood(prog, masker.config, instead="another preset")
        refuse_idle_sizes(prog, self.mask.config, self.mask.changes, (), {}, lambda: [targets])
        terms = masker.terms(image)
        before = masker(terms, _without_sizes(targets))  # compiles the kernels, which says nothing of a stage's time
        results = PictureResults(self.out, f"{self.picture}.png", digest(image.tobytes()))
        results.check_masks(prog, (), strip=True)
        masks = masker(terms, targets)
        show(image, points, masks, results, _compared(image, targets, before, masks) if self.sizes else ())


def _without_sizes(targets: PointTargets) -> PointTargets:
    import numpy as np

    return replace(targets, size=np.full(targets.num_targets, np.nan))


def _first_points(targets: PointTargets) -> PointTargets:
    import numpy as np

    target, first = np.unique(targets.target, return_index=True)
    return replace(targets, points_yx=targets.points_yx[first], target=target)


def _compared(image: np.ndarray, targets: PointTargets, before: PseudoMasks, after: PseudoMasks) -> Panels:
    """The sizes that were told, as discs around the points, and the masks without and with them."""
    import numpy as np

    from ..viz import draw_paths, draw_points, fit, partition_map
    from ..viz.canvas import enlarge
    from ..viz.colors import target_colors

    photo, angle = fit(image, 520), np.linspace(0, 2 * np.pi, 60)[:, None]
    ring = np.concatenate([np.sin(angle), np.cos(angle)], 1)
    told = np.isfinite(targets.size)
    radii = np.sqrt(targets.size[told] / np.pi)
    discs = [point + radius * ring for point, radius in zip(targets.points_yx[told], radii, strict=True)]
    panels = [("7  Rough sizes, as discs", draw_paths(photo, discs, grid=image.shape[:2]))]
    for title, masks in (("8  Masks without sizes", before), ("9  Masks with sizes", after)):
        labels = enlarge(np.where(masks.void, -1, masks.instance), photo.shape[:2])
        panels.append((title, partition_map(photo, labels, colors=target_colors(targets))))
    return [(title, draw_points(panel, targets, grid=image.shape[:2])) for title, panel in panels]
