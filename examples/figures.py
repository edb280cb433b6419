"""Figures 5, A1 and A2 of the paper, of a run of ``train_voc.py``, on its own training pictures.

python examples/figures.py costs --run runs/voc --out fig5.png          # Fig. 5: from nearest points, from centroids
python examples/figures.py boundary --run runs/voc --out figA1.png      # Fig. A1: the learnt boundary
python examples/figures.py masks --run runs/psps --other runs/voc --out figA2.png   # Fig. A2: two runs' pseudo-masks
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import tyro
from panoptic_segformer.data import Sample, batch_of
from panoptic_segformer.evaluation import as_panoptic
from panoptic_segformer.network import Outputs
from panoptic_segformer.targets import Batch, Labeller
from pictures import overlay
from PIL import Image
from predict import load_network
from train_voc import make_samples

from point2mask_ot import Category, PseudoMasks, geodesic_distances
from point2mask_ot.viz import draw_points, fit, heat_map

Panels = list[np.ndarray]
Draw = Callable[[Sample, Batch, Outputs, PseudoMasks, Sequence[Category]], Panels]


def costs(run: Path, out: Path, pictures: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    """Each picture, and the cost of its pixels to the cheapest thing: from the points, and from the centroids."""

    def draw(sample: Sample, batch: Batch, outputs: Outputs, masks: PseudoMasks, _: object) -> Panels:
        steps, points = masks.diagnostics, batch.points[0]
        grid = tuple(steps.edges.shape[1:])
        things = points.select(points.is_thing)
        sources = things.resize(batch.sizes[0], grid).points_yx
        from_points = geodesic_distances(steps.edges, sources, things.target, backend="torch")
        owner = from_points.argmin(0).numpy()  # Eq. 4: centroids of what is nearest
        own = [np.argwhere(owner == k) for k in range(things.num_targets)]
        centres = [pixels.mean(0) if len(pixels) else sources[k] for k, pixels in enumerate(own)]
        from_centres = geodesic_distances(steps.edges, np.array(centres), backend="torch")
        maps = [costs.amin(0).numpy() for costs in (from_points, from_centres)]
        most = max(float(values.max()) for values in maps)
        return [draw_points(sample.picture, sample.points), *(heat_map(values, maximum=most) for values in maps)]

    _sheet(run, pictures, draw).save(out)


def boundary(run: Path, out: Path, pictures: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    """Each picture, its learnt boundary and, where the run has one, its low-level boundary."""

    def draw(sample: Sample, batch: Batch, outputs: Outputs, *_: object) -> Panels:
        height, width = batch.sizes[0]
        high = outputs.maps(batch.pictures.shape[-2:])[1][0, 0, :height, :width]
        low = [] if batch.low is None else [batch.low[0, 0, :height, :width]]
        return [sample.picture, *(heat_map(values.numpy(), maximum=1.0) for values in (high, *low))]

    _sheet(run, pictures, draw).save(out)


def masks(run: Path, other: Path, out: Path, pictures: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    """Each picture with its points, and the pseudo-masks of two runs, such as the baseline's and Point2Mask's."""

    def draw(sample: Sample, batch: Batch, _: Outputs, made: PseudoMasks, categories: Sequence[Category]) -> Panels:
        found = as_panoptic(made, sample, batch, categories)
        return [draw_points(sample.picture, sample.points), overlay(sample.picture, found, categories)]

    first, second = (_sheet(folder, pictures, draw) for folder in (run, other))
    right = second.crop((second.width // 2, 0, second.width, second.height))
    sheet = Image.new("RGB", (first.width + right.width, first.height), "white")
    sheet.paste(first)
    sheet.paste(right, (first.width, 0))
    sheet.save(out)


@torch.no_grad()
def _sheet(run: Path, pictures: Sequence[int], draw: Draw, side: int = 256) -> Image.Image:
    """A row of panels for each picture of a run."""
    network, config, categories = load_network(run, "cpu")
    labeller = Labeller(config.labels, sum(category.is_thing for category in categories))
    samples, rows = make_samples(config)[0], []
    for index in pictures:
        if not 0 <= index < len(samples):
            raise ValueError(f"--pictures: got {index}, expected 0 to {len(samples) - 1}")
        sample = samples[index]
        batch = batch_of(sample, config.data)
        outputs = network(batch.pictures, batch.inside)
        made = labeller.pseudo_masks(outputs, batch, np.inf)[0]
        panels = [fit(panel, side) for panel in draw(sample, batch, outputs, made, categories)]
        rows.append([np.pad(p, ((0, side - p.shape[0]), (0, side - p.shape[1]), (0, 0))) for p in panels])
    return Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in rows]))


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"costs": costs, "boundary": boundary, "masks": masks}, description=__doc__
        )
    except (ValueError, OSError) as error:
        raise SystemExit(f"figures: {error}") from error
