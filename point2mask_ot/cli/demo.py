"""``point2mask demo``: a first picture, without any file of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, get_args

from ..checks import check_choice
from ..masks.settings import ColorSettings
from .label import show
from .masks import MaskOptions
from .options import Option

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
    mask: MaskOptions
    color: DemoColors

    def run(self, prog: str) -> None:
        """Label the photograph, say what the masks are like, and write them."""
        check_choice(prog, "picture", self.picture, get_args(Picture))
        import skimage.data

        from ..files.results import PictureResults, digest
        from ..masks.picture import ColorMasker, refuse_likelihood
        from ..panoptic import read_points

        image = getattr(skimage.data, self.picture)()
        if image.ndim == 2:
            image = image[:, :, None].repeat(3, axis=2)
        place = resources.files("point2mask_ot.cli") / "assets" / f"{self.picture}_points.json"
        with resources.as_file(place) as path:
            points = read_points(path, shape=image.shape[:2])
        masker = ColorMasker(self.mask.config, self.color, **self.mask.changes)
        refuse_likelihood(prog, masker.config, instead="another preset")
        masker(masker.terms(image), points.targets)  # compiles the kernels, which says nothing of a stage's time
        results = PictureResults(self.out, f"{self.picture}.png", digest(image.tobytes()))
        results.check_masks(prog, (), strip=True)
        show(image, points, masker(masker.terms(image), points.targets), results)
