"""Which choices of Algorithm 1 matter: pseudo-masks of trained networks, made with each, against the true ones.

    python examples/ablation.py --runs runs/voc --tables 3 5 6 7 A2 A3
    python examples/ablation.py --runs runs/partial runs/lab runs/tree runs/both --tables 4

A network's maps are found once for each training picture, and every setting gets the same maps and the same points.
Table 4 is of losses: its rows are runs, and its number the mean IoU of their semantic maps.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from panoptic_segformer.config import Config, PseudoLabels
from panoptic_segformer.data import batch_of
from panoptic_segformer.evaluation import as_panoptic, semantic_classes, summary
from panoptic_segformer.targets import Labeller
from predict import DEVICE, load_network
from tqdm import tqdm
from train_voc import make_samples

from point2mask_ot import Category, ConvergenceWarning, sample_points
from point2mask_ot.panoptic import PanopticEvaluator

TABLES: dict[str, dict[str, dict[str, Any]]] = {
    "3": {f"boundary: {kind}": {"boundary": kind} for kind in ("none", "high", "low", "both")},
    "4": {},
    "5": {f"capacities: {rule}": {"capacity": rule} for rule in ("equal", "nearest", "centroid")},
    "6": {f"centroid rounds: {count}": {"centroid_rounds": count} for count in (1, 2, 4, 8)},
    "7": {
        "minimum cost": {"method": "minimum"},
        "minimum cost, no boundary": {"method": "minimum", "boundary": "none"},
        "all targets supply": {"stuff": "supply"},
    },
    "A2": {f"Sinkhorn rounds: {n}": {"method": "sinkhorn", "max_iter": n, "tol": None} for n in (20, 40, 80, 160, 320)},
    "A3": {f"beta: {beta}": {"beta": beta} for beta in (0.0, 0.05, 0.1, 0.2, 0.5)},
}
"""Of the paper, as changes of the settings that a run has been trained with."""
Setting = tuple[str, str]
"""A preset, and what is changed in it."""
AS_IT_IS, SEMANTIC = "as it is", ("", "semantic map")


@dataclass(frozen=True)
class Options:
    """What to compare."""

    runs: tuple[Path, ...]
    """Folders of training runs whose pictures have true masks."""
    tables: tuple[str, ...] = ("3", "5", "7")
    """Of the paper: 3, 4, 5, 6, 7, A2, A3."""
    presets: tuple[str, ...] = ("best", "paper")
    """The paper's stride is scaled from a shorter side of 600 to that of the run."""
    seeds: int = 3
    """How often points are drawn from the true masks; the network learnt from other ones."""
    pictures: int | None = None
    """Only this many training pictures."""
    device: str = DEVICE


def settings_of(options: Options, config: Config) -> Iterator[tuple[Setting, PseudoLabels]]:
    """Every setting to compare, the presets as they are first."""
    changes = {AS_IT_IS: {}} | {name: change for table in options.tables for name, change in TABLES[table].items()}
    for preset in options.presets:
        stride = {} if preset == "best" else {"stride": max(1, round(16 * config.data.min_side[-1] / 600))}
        for name, change in changes.items():
            boundary = change.get("boundary", config.labels.boundary)
            fields = {key: value for key, value in change.items() if key != "boundary"}
            if boundary in ("low", "both") and config.data.low_boundary is None:
                continue  # there are no such maps
            overrides = {**config.labels.overrides, **stride, **fields}
            yield (preset, name), replace(config.labels, preset=preset, boundary=boundary, overrides=overrides)


def picture_counts(options: Options, run: Path) -> tuple[dict[Setting, np.ndarray], tuple[Category, ...]]:
    """(pictures, 7, classes) counts of each setting, see :class:`PanopticEvaluator`, and the classes."""
    network, config, categories = load_network(run, options.device)
    things = sum(category.is_thing for category in categories)
    labellers = {setting: Labeller(labels, things) for setting, labels in settings_of(options, config)}
    samples = make_samples(config)[0]
    asked = range(min(len(samples), options.pictures or len(samples)))
    counts: dict[Setting, list[np.ndarray]] = {setting: [] for setting in (*labellers, SEMANTIC)}
    for index in tqdm(asked):
        truth = samples.truth(index)
        if truth is None:
            continue
        evaluators, outputs = {setting: PanopticEvaluator(categories) for setting in counts}, None
        for seed in range(options.seeds):
            points = sample_points(truth, categories, seed=1000 + seed, stuff=True).targets
            sample = replace(samples[index], points=points)
            batch = batch_of(sample, config.data).to(options.device)
            if outputs is None:
                with torch.no_grad():
                    outputs = network(batch.pictures, batch.inside)
                evaluators[SEMANTIC].add(semantic_classes(outputs, sample, batch, categories), truth)
            for setting, labeller in labellers.items():
                masks = labeller.pseudo_masks(outputs, batch, np.inf)[0]
                evaluators[setting].add(as_panoptic(masks, sample, batch, categories), truth)
        for setting, evaluator in evaluators.items():
            counts[setting].append(evaluator.counts)
    scored = len(counts[SEMANTIC])
    if not scored:
        raise ValueError(f"--runs: none of the {len(asked)} pictures of {run} has true masks (data.truth)")
    print(f"{run}: scored on {scored} of {len(asked)} pictures: those with true masks")
    return {setting: np.array(rows) for setting, rows in counts.items()}, categories


def redrawn(counts: np.ndarray, draws: int = 2000) -> np.ndarray:
    """PQ when all pictures count once, and when they are drawn anew, each draw the same for every setting."""
    pictures = len(counts)
    often = np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures), draws)
    tp, fp, fn, iou = np.einsum("dp,pkc->kdc", np.vstack([np.ones(pictures, int), often]), counts[:, :4])
    occurs = tp + fp + fn > 0
    return (iou / np.maximum(tp + (fp + fn) / 2, 0.5)).sum(1) / np.maximum(occurs.sum(1), 1)


def rows_of(options: Options, run: Path) -> Iterator[dict[str, Any]]:
    """A row of the table for each setting: scores, and the difference to the preset as it is with its interval."""
    counts, categories = picture_counts(options, run)
    for (preset, change), of_setting in counts.items():
        evaluator = PanopticEvaluator(categories)
        evaluator.counts = of_setting.sum(0)
        row = {"preset": preset, "change": change} | summary(evaluator)
        if preset:
            gain = redrawn(of_setting) - redrawn(counts[preset, AS_IT_IS])
            low, high = np.quantile(gain[1:], (0.025, 0.975)).tolist()  # 95 % of the draws
            row |= {"difference": gain[0], "interval": [low, high]}
        yield row


def line_of(row: dict[str, Any]) -> str:
    """A row for people, in %."""
    text = f"{row['preset']:8s} {row['change']:28s} mIoU {100 * row['miou']:5.1f}"
    if not row["preset"]:
        return text
    parts = (100 * value for value in (row["pq"], row["things"], row["stuff"], row["difference"], *row["interval"]))
    return text + "  PQ {:5.1f}  things {:5.1f}  stuff {:5.1f}  {:+5.1f} [{:+.1f}, {:+.1f}]".format(*parts)


def main(arguments: list[str] | None = None) -> None:
    """Score every setting, print a table and write ``ablation.json`` into each run."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    if unknown := set(options.tables) - TABLES.keys():
        raise SystemExit(f"ablation: --tables: got {sorted(unknown)}, expected some of {', '.join(TABLES)}")
    for run in options.runs:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the paper's 80 rounds end before they converge
                rows = list(rows_of(options, run))
        except (ValueError, OSError) as error:
            raise SystemExit(f"ablation: {error}") from error
        print(*map(line_of, rows), sep="\n")
        (run / "ablation.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
