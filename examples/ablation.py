"""Which choices of Algorithm 1 matter: pseudo-masks of one trained network, made with each, against the true ones.

    python examples/ablation.py --run runs/voc

The network's maps are found once for each training picture, and every setting gets the same maps and the same points.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from panoptic_segformer.data import collate, resized
from panoptic_segformer.inference import Tally, as_panoptic
from panoptic_segformer.targets import Labeller
from predict import load_network
from tqdm import tqdm
from train_voc import make_samples

from point2mask_ot import Category, ConvergenceWarning, sample_points

CHANGES = {
    "centroid capacities": {},
    "nearest capacities": {"capacity": "nearest"},
    "equal capacities": {"capacity": "equal"},
    "minimum cost": {"method": "minimum"},
    "no boundary map": {"boundary": False},
    "minimum cost, no boundary map": {"method": "minimum", "boundary": False},
}
"""Tables 5, 7 and 3 of the paper; the first is what the others are compared with."""


@dataclass(frozen=True)
class Options:
    """What to compare."""

    run: Path
    """Folder of a training run whose pictures have true masks."""
    presets: tuple[str, ...] = ("best", "paper")
    """The paper's stride is scaled from a shorter side of 600 to that of the run."""
    seeds: int = 3
    """How often points are drawn from the true masks; the network learnt from other ones."""
    pictures: int | None = None
    """Only this many training pictures."""


Setting = tuple[str, str]
"""A preset, and what is changed in it."""


def picture_counts(options: Options) -> tuple[dict[Setting, np.ndarray], tuple[Category, ...]]:
    """(pictures, classes, 4) counts of each setting, see :class:`Tally`, and the classes."""
    network, config, categories = load_network(options.run, "cpu")
    side = config.data.min_side[-1]
    strides = dict.fromkeys(("paper", "official"), max(1, round(16 * side / 600)))
    labellers = {
        (preset, name): Labeller(
            replace(
                config.labels,
                **{"preset": preset, "stride": strides.get(preset, config.labels.stride), "capacity": "centroid"}
                | change,
            ),
            sum(category.is_thing for category in categories),
        )
        for preset in options.presets
        for name, change in CHANGES.items()
    }
    samples = make_samples(config)[0]
    counts: dict[Setting, list[np.ndarray]] = {key: [] for key in labellers}
    asked, scored = min(len(samples), options.pictures or len(samples)), 0
    for index in tqdm(range(asked)):
        sample, truth = samples[index], samples.truth(index)
        if truth is None:
            continue
        scored += 1
        tallies = {key: Tally(categories) for key in labellers}
        outputs = None
        for seed in range(options.seeds):
            points = sample_points(truth, categories, seed=1000 + seed, stuff=True).targets
            batch = collate([resized(replace(sample, points=points), side, config.data.max_side)])
            if outputs is None:
                with torch.no_grad():
                    outputs = network(batch.pictures, batch.inside)
            for key, labeller in labellers.items():
                masks = labeller.pseudo_masks(outputs, batch, labeller.settings.centroid_start)[0]
                tallies[key].add(as_panoptic(masks, categories, batch, 0, truth.size), truth)
        for key, tally in tallies.items():
            counts[key].append(tally.counts)
    if not scored:
        raise SystemExit(f"ablation: --run: none of the {asked} pictures of {options.run} has true masks (data.truth)")
    print(f"scored on {scored} of {asked} pictures: those with true masks")
    return {key: np.array(rows) for key, rows in counts.items()}, categories


def redrawn(counts: np.ndarray, categories: Sequence[Category], draws: int = 2000) -> np.ndarray:
    """PQ when all pictures count once, and when they are drawn anew, each draw the same for every setting."""
    pictures = len(counts)
    often = np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures), draws)
    sums = np.einsum("dp,pcn->dcn", np.vstack([np.ones(pictures, int), often]), counts)
    return np.array([Tally(categories, of_draw).scores()["all"]["pq"] for of_draw in sums])


def main(arguments: list[str] | None = None) -> None:
    """Score every setting, print a table and write ``ablation.json`` into the run."""
    options = tyro.cli(Options, args=arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the paper's 80 rounds end before they converge
        counts, categories = picture_counts(options)
    quality = {setting: redrawn(of_setting, categories) for setting, of_setting in counts.items()}
    rows = []
    for (preset, change), pq in quality.items():
        gain = pq - quality[preset, next(iter(CHANGES))]
        interval = np.quantile(gain[1:], (0.025, 0.975)).tolist()  # 95 % of the draws
        rows.append({"preset": preset, "change": change, "pq": pq[0], "difference": gain[0], "interval": interval})
        low, high = interval
        print(
            f"{preset:6s} {change:30s} PQ {100 * pq[0]:5.1f}   {100 * gain[0]:+5.1f} "
            f"[{100 * low:+.1f}, {100 * high:+.1f}]"
        )
    (options.run / "ablation.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
