"""The loop: one process or many, checkpoints that resume exactly, scores after each epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from pictures import comparison
from safetensors.torch import save_model
from torch import Tensor, nn
from tqdm import tqdm
from weights import load_imagenet, load_run

from point2mask_ot import PanopticImage
from point2mask_ot.panoptic import PanopticEvaluator

from .checkpoint import begin, check_start, keep, last_checkpoint
from .config import Config
from .criterion import Criterion
from .data import PreparedSamples, Sample, Samples, batch_of, grouped_batches, loader
from .evaluation import as_panoptic, predict, semantic_classes, summary
from .network import PanopticSegformer
from .targets import Batch, Labeller

SHOWN = 4
"""Pictures of each kind in ``pictures.png``."""
SLOW = ("backbone", "sampling_offsets", "reference_points")


class TrainingStep(nn.Module):
    """Network, pseudo-masks and losses of one step, as one module: what is distributed over processes."""

    def __init__(self, network: PanopticSegformer, labeller: Labeller, criterion: Criterion) -> None:
        super().__init__()
        self.network = network
        self.labeller, self.criterion = labeller, criterion

    def forward(self, batch: Batch, epoch: float, totals: Tensor) -> dict[str, Tensor]:
        """The weighted losses."""
        outputs = self.network(batch.pictures, batch.inside)
        with torch.autocast(batch.pictures.device.type, enabled=False):  # all that follows is in float32
            return self.criterion(outputs, batch, self.labeller(outputs, batch, epoch), epoch, totals)


class Trainer:
    """A run of training from ``samples``, whose predictions are scored on ``val``.

    Raises:
        ValueError: settings that cannot be, weights that do not fit, or a folder that holds another run.
    """

    def __init__(self, config: Config, samples: Samples, val: Samples) -> None:
        config.check()
        check_start(config)
        self.config, self.samples, self.val, self.categories = config, samples, val, samples.categories
        self.accelerator = Accelerator(
            cpu=config.device == "cpu" or not torch.cuda.is_available(), mixed_precision=config.precision,
            step_scheduler_with_optimizer=False,
        )  # fmt: skip
        self.rank, self.processes = self.accelerator.process_index, self.accelerator.num_processes
        share = self.processes * config.optimiser.accumulate
        if config.optimiser.batch_size % share:
            got = f"got {config.optimiser.batch_size}, expected a multiple of {share}, processes times accumulate"
            raise ValueError(f"optimiser.batch_size: {got}")
        set_seed(config.seed)
        things = sum(category.is_thing for category in self.categories)
        stuff, fusion = len(self.categories) - things, config.recipe.positive_fusion
        self.network = PanopticSegformer(config.network, things, stuff, positive_fusion=fusion)
        if not config.resume:  # else a checkpoint is loaded in any case
            self.say(load_imagenet(self.network.detr.backbone.model, config.network))
            if config.init_from is not None:
                self.say(load_run(self.network, config.init_from))
        data = config.data
        self.prepared = PreparedSamples(samples, data.min_side, data.max_side, config.seed, config.labels.supervision)
        self.is_wide = [size[1] >= size[0] for size in map(samples.size, range(len(samples)))]
        self.batches_per_epoch = len(self.batches(0))
        self.labeller, self.criterion = Labeller(config.labels, things), Criterion(self.network, config)
        optimiser = make_optimiser(self.network, config)
        milestones = [round(epoch * self.batches_per_epoch) for epoch in config.optimiser.milestones]
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones)
        module = TrainingStep(self.network, self.labeller, self.criterion)
        self.module, self.optimiser = self.accelerator.prepare(module, optimiser)
        # A prepared schedule would step once for each process.
        self.accelerator.register_for_checkpointing(self.schedule)
        set_seed(config.seed, device_specific=True)  # dropout differs between processes
        self.saved = 0  # at which step
        if config.resume:
            found = last_checkpoint(config.out)
            try:
                self.accelerator.load_state(str(found))
            except Exception as error:  # each of its files has its own
                raise ValueError(
                    f"resume: {found} is damaged ({error}); expected a whole one, or --overwrite"
                ) from error

    @property
    def steps(self) -> int:
        """Steps so far; the schedule counts them, and is saved with the weights."""
        return self.schedule.last_epoch

    @property
    def epoch(self) -> float:
        """How often all pictures have been seen."""
        return self.steps / self.batches_per_epoch

    def batches(self, epoch: int) -> list[list[int]]:
        """Pictures of each batch of an epoch, the same however many processes share them."""
        return grouped_batches(self.is_wide, self.config.optimiser.batch_size, self.config.seed, epoch)

    def run(self) -> dict[str, Any]:
        """Train to the end; the scores of the last epoch."""
        settings = self.config.optimiser
        if self.accelerator.is_main_process:
            begin(self.config, self.categories, self.steps)
        end = min(settings.epochs * self.batches_per_epoch, settings.max_steps or math.inf)
        scores = self.evaluate() if self.steps == 0 else {}
        while self.steps < end:
            self.train_epoch(end)
            scores = self.evaluate()
            self.save()
        return scores

    def train_epoch(self, end: float = math.inf) -> None:
        """What is left of an epoch, at most to step ``end``."""
        epoch, start = divmod(self.steps, self.batches_per_epoch)
        size = self.config.optimiser.batch_size // self.processes
        own = slice(self.rank * size, (self.rank + 1) * size)
        shares = [batch[own] for batch in self.batches(epoch)[start:]]
        shares = shares[: int(min(len(shares), end - self.steps))]
        self.prepared.epoch = epoch
        self.module.train()
        batches, hidden = loader(self.prepared, shares, self.config.data.workers), not self.accelerator.is_main_process
        for batch in (bar := tqdm(batches, f"epoch {epoch + 1}", leave=False, disable=hidden or None)):
            bar.set_postfix(loss=f"{sum(self.step(batch).values()):.2f}")
            if self.config.optimiser.save_every and self.steps % self.config.optimiser.save_every == 0:
                self.save()

    def step(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser; the losses of the whole batch, over all parts and processes."""
        start, settings = time.perf_counter(), self.config.optimiser
        batch = batch.to(self.accelerator.device)
        totals = self.accelerator.reduce(self.criterion.totals(batch), "sum")
        size = -(-len(batch.points) // settings.accumulate)
        parts = [batch[first : first + size] for first in range(0, len(batch.points), size)]
        values: Any = 0
        for part in parts:
            # Only the last of the parts waits for the other processes.
            with nullcontext() if part is parts[-1] else self.accelerator.no_sync(self.module):
                losses = self.module(part, self.epoch, totals)
                self.accelerator.backward(sum(losses.values()) * self.processes)  # gradients are averaged over them
            values = values + torch.stack(list(losses.values())).detach()
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), settings.clip_norm)
        values = self.accelerator.reduce(values, "sum").tolist()
        named = dict(zip(losses, values, strict=True))
        if not all(map(math.isfinite, (*values, norm))):
            what = f"step {self.steps}: loss or gradient is not finite: norm {norm:g}, losses {named}"
            raise FloatingPointError(f"{what}; stopped before the weights are lost")
        self.optimiser.step()
        self.optimiser.zero_grad()
        rate = self.schedule.get_last_lr()[0]
        self.schedule.step()
        self.log(kind="step", loss=sum(values), losses=named, lr=rate, seconds=time.perf_counter() - start)
        return named

    @torch.no_grad()
    def evaluate(self) -> dict[str, Any]:
        """Scores of pseudo-masks, predictions and semantic map, and pictures of the first two."""
        self.module.eval()
        network, kinds, data, epoch = self.network, self.categories, self.config.data, self.epoch

        def pseudo_masks(sample: Sample, batch: Batch) -> PanopticImage:
            masks = self.labeller.pseudo_masks(network(batch.pictures, batch.inside), batch, epoch)[0]
            return as_panoptic(masks, sample, batch, kinds)

        def prediction(sample: Sample, batch: Batch) -> PanopticImage:
            return predict(network, batch, kinds, [sample.picture.shape[:2]], self.config.score_threshold)[0]

        def semantic(sample: Sample, batch: Batch) -> PanopticImage:
            return semantic_classes(network(batch.pictures, batch.inside), sample, batch, kinds)

        found = {
            "pseudo_masks": self._score(self.samples, data.scored, pseudo_masks),
            "predictions": self._score(self.val, data.val_scored, prediction),
            "semantic": self._score(self.val, data.val_scored, semantic),
        }
        scores = {name: summary(evaluator) for name, (evaluator, _) in found.items() if evaluator.counts.any()}
        if "semantic" in scores:  # its segments are no objects
            scores["semantic"] = {"miou": scores["semantic"]["miou"]}
        if self.accelerator.is_main_process:
            self.log(kind="score", **scores)
            text = ", ".join(f"{key} {100 * v['pq']:.1f}" for key, v in scores.items() if "pq" in v).replace("_", " ")
            tqdm.write(f"epoch {int(epoch):3d}  step {self.steps:6d}  PQ of {text}")
            shown = {name: found[name][1] for name in ("pseudo_masks", "predictions")}
            comparison(shown, kinds).save(self.config.out / "pictures.png")
        return scores

    def _score(
        self, samples: Samples, count: int, segment: Callable[[Sample, Batch], PanopticImage]
    ) -> tuple[PanopticEvaluator, list[tuple[np.ndarray, PanopticImage]]]:
        """Counts of the first pictures, shared out to the processes, and the very first with their segments."""
        evaluator, first = PanopticEvaluator(self.categories), []
        for index in range(self.rank, min(count, len(samples)), self.processes):
            truth = samples.truth(index)
            if truth is None and index >= SHOWN:
                continue
            sample = samples[index]
            found = segment(sample, batch_of(sample, self.config.data).to(self.accelerator.device))
            if truth is not None:
                evaluator.add(found, truth)
            if index < SHOWN:
                first.append((index, sample.picture, found))
        evaluator.counts = sum(gather_object([evaluator.counts]))
        return evaluator, [shown[1:] for shown in sorted(gather_object(first), key=lambda shown: shown[0])]

    def save(self) -> None:
        """A checkpoint to go on from, and the network alone to predict with; each appears whole or not at all."""
        if self.saved == self.steps:
            return
        self.saved = self.steps
        written = self.config.out / "checkpoint-new"
        self.accelerator.save_state(str(written))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            partial = self.config.out / "network.safetensors.new"
            save_model(self.network, str(partial))
            partial.replace(self.config.out / "network.safetensors")
            keep(written, self.steps)
        self.accelerator.wait_for_everyone()  # or another would write into it, or miss it

    def log(self, **entry: Any) -> None:
        """Append a line to ``log.jsonl``."""
        if self.accelerator.is_main_process:
            line = {"epoch": int(self.epoch), "step": self.steps, **entry}
            with open(self.config.out / "log.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")

    def say(self, text: str) -> None:
        """Print in one of the processes."""
        if self.accelerator.is_main_process:
            print(text)


def make_optimiser(network: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW with slower rates for what the paper trains slower; frozen parameters are left out."""
    settings = config.optimiser
    slow, fast = [], []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (slow if any(part in name for part in SLOW) else fast).append(parameter)
    groups = [{"params": fast, "lr": settings.lr}, {"params": slow, "lr": settings.lr * settings.slow_factor}]
    return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
