"""``point2mask label``: one picture from one's own points."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from ..checks import BackgroundWarning, fail
from ..files.pictures import PictureSettings, explaining_turns
from ..labelling.settings import LabelSettings
from ..masks.settings import ColorSettings
from .masks import MaskOptions
from .options import Option

if TYPE_CHECKING:
    import numpy as np

    from ..files.results import PictureResults
    from ..panoptic import LabelledPoints
    from ..types import PointTargets, PseudoMasks

    Panels: TypeAlias = Sequence[tuple[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Label:
    """Label your own picture from your own points"""

    photo: Annotated[Path, Option(positional=True)]
    """A PNG, JPEG, WebP, BMP or TIFF picture."""
    points: Annotated[Path, Option(says=("read_points", "PseudoMasker.targets"))]
    """JSON, or CSV with the columns [image,] x, y, category[, target][, size]; or of labelme, Label Studio, CVAT, COCO,
    QuPath or napari, see docs/formats.md."""
    out: Annotated[Path, Option(says=("write_coco_panoptic", "atomic_write"))]
    """Folder for the results."""
    maps: str | None = None
    """NAME.npy of class probabilities, .npz or .safetensors of maps by name; or a plug-in, as of label-dataset,
    which gets the points, too, if it has a parameter points. Channels are the categories of the points, all things
    before all stuff."""
    add_colors: Annotated[bool, Option(of=(LabelSettings, "add_colors"))]
    sizes: Annotated[tuple[str, ...], Option("size", of=(LabelSettings, "sizes"), many=True)]
    mask: MaskOptions
    color: ColorSettings
    picture: PictureSettings

    def run(self, prog: str) -> None:
        """Label the picture, say what the masks are like, and write them."""
        from ..files.io import origin_of
        from ..files.names import whole_path
        from ..files.pictures import picture_of
        from ..files.results import PictureResults, digest
        from ..formats.direct import points_on
        from ..labelling.plug_ins import is_plug_in
        from ..labelling.settings import BACKGROUND_HINT
        from ..masks.masker import NO_BACKGROUND
        from ..masks.paint import mend

        image = picture_of(origin_of(prog, "photo", self.photo), **self.picture.reading())
        results = PictureResults(self.out, self.photo.name, digest(self.photo.read_bytes()))
        inputs = [self.photo, self.points, *([] if self.maps is None or is_plug_in(self.maps) else [Path(self.maps)])]
        results.check_masks(prog, inputs, strip=True)
        with explaining_turns(self.photo, self.picture.reading()["exif"]):
            points = points_on(self.points, image=whole_path(self.photo), shape=(image.shape[0], image.shape[1]))
        if points.picture_sha256 not in (None, results.sha256):
            got = f"{self.points}: points that were clicked on another file than this {self.photo.name}"
            fail(prog, "points", got, "points on this picture, or points without `picture_sha256`")
        points = replace(points, targets=self._sized(prog, points))
        masks = self._masks(prog, image, points)
        if points.paint is not None:
            masks = mend(masks, points.targets, points.paint.marks)
        if masks.diagnostics.no_background:
            warnings.warn(f"{NO_BACKGROUND}. {BACKGROUND_HINT}", BackgroundWarning, stacklevel=2)
        results.check_masks(prog, inputs, strip=True)  # others may have come meanwhile
        show(image, points, masks, results)

    def _sized(self, prog: str, points: LabelledPoints) -> PointTargets:
        """The targets, with typical sizes where these are asked for, and learned from all pictures of the file."""
        from ..formats.direct import all_targets
        from ..labelling.idle import refuse_idle_sizes
        from ..labelling.sizes import typical_of
        from ..typical import fill_sizes

        typical = typical_of(prog, self.sizes, points.categories, lambda: all_targets(self.points))
        refuse_idle_sizes(prog, self.mask.config, self.mask.changes, self.sizes, typical, lambda: [points.targets])
        return fill_sizes(points.targets, typical)

    def _masks(self, prog: str, image: np.ndarray, points: LabelledPoints) -> PseudoMasks:
        from ..labelling.maps import masks_from_maps
        from ..masks.picture import ColorMasker, refuse_likelihood

        masker = ColorMasker(self.mask.config, self.color, **self.mask.changes)
        if self.maps is not None:
            config, how = masker.config, {"colors": self.color, "add_colors": self.add_colors}
            return masks_from_maps(prog, self.maps, image, points, config, **how)  # type: ignore[arg-type]
        refuse_likelihood(prog, masker.config, instead="`maps` of classes, or another preset")
        if self.add_colors:
            fail(prog, "add_colors", "True, which has no effect", "`maps` with a semantic map, which colours join")
        return masker(masker.terms(image), points.targets)


def show(
    image: np.ndarray, points: LabelledPoints, masks: PseudoMasks, results: PictureResults, more: Panels = ()
) -> None:
    """Print what the masks are like, and write them and the strip of pictures, with ``more`` below."""
    _write(image, points, masks, results, more)
    print(summary(points, masks))
    for path in (results.strip, results.json, results.png):
        print(f"wrote {path}")


def summary(points: LabelledPoints, result: PseudoMasks) -> str:
    """What the masks are like, as a table: a line for each target, then the transport and the time per stage.

    A target that supplies no labels, stuff that is told by its class, has no capacity.
    """
    import numpy as np

    notes, owner = result.diagnostics, np.asarray(result.instance)
    pixels = np.bincount(owner[owner >= 0], minlength=points.targets.num_targets)
    capacity = {int(k): f"{float(own):.0f}" for k, own in zip(notes.suppliers, notes.capacities, strict=True)}
    told = points.targets.size
    header = f"{'target':>6}  {'category':<14}{'pixels':>9}{'capacity':>10}{'confidence':>12}"
    lines = [header + f"{'size told':>11}" * bool(np.isfinite(told).any())]
    for k, category in enumerate(points.targets.category):
        confidence = float(result.target_confidence[k])
        name = points.categories[category].name
        line = f"{k:>6}  {name:<14}{pixels[k]:>9}{capacity.get(k, '-'):>10}{confidence:>12.2f}"
        lines.append(line + f"{told[k]:>11.0f}" * bool(np.isfinite(told[k])))
    if notes.transport is not None:
        plan = notes.transport
        state = "converged" if plan.converged else "stopped"
        lines.append(
            f"transport {state} after {plan.iterations} passes, marginal error {float(plan.marginal_error):.1e}"
        )
    lines.append("seconds: " + ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in notes.seconds.items()))
    return "\n".join(lines)


def _write(
    image: np.ndarray, points: LabelledPoints, masks: PseudoMasks, results: PictureResults, more: Panels
) -> None:
    """COCO panoptic JSON and PNG, and the strip of pictures."""
    from ..files.pictures import encode_png
    from ..panoptic import PanopticImage, atomic_write, write_coco_panoptic
    from ..viz import stage_strip, stages

    targets, categories = points.targets, points.categories
    instance: Any = masks.instance
    panoptic = PanopticImage.from_targets(instance, targets, categories, image_id=1, file_name=results.name)
    strip = encode_png(stage_strip([*stages(image, targets, masks), *more], columns=3))  # before anything is written
    write_coco_panoptic([panoptic], results.json, results.png.parent, categories, info=results.info)
    atomic_write(results.strip, strip)
