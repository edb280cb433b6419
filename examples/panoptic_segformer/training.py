"""The loop: one process or many, checkpoints that resume exactly, scores after each epoch."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from torch import Tensor, nn
from tqdm import tqdm

from point2mask_ot import PanopticImage

from .backbone import load_imagenet
from .config import Config
from .criterion import Criterion
from .data import GroupedBatches, PreparedSamples, Samples, collate, loader
from .inference import Tally, as_panoptic, predict
from .network import PanopticSegformer
from .pictures import comparison
from .run_folder import begin, check_start, checkpoint_in, keep
from .targets import Batch, Labeller

SHOWN = 4
"""Pictures of each kind in ``pictures.png``."""
SLOW = ("backbone", "sampling_offsets", "reference_points")


class Lesson(nn.Module):
    """Network, pseudo-masks and losses of one step, as one module: what is distributed over processes.

    Attributes:
        seconds: what each part of the last step took.
    """

    def __init__(self, network: PanopticSegformer, labeller: Labeller, criterion: Criterion) -> None:
        super().__init__()
        self.network = network
        self.labeller, self.criterion = labeller, criterion
        self.seconds: dict[str, float] = {}

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted losses."""
        start = _now()
        outputs = self.network(batch.pictures, batch.inside)
        seen = _now()
        with torch.autocast(batch.pictures.device.type, enabled=False):  # all that follows is in float32
            targets = self.labeller(outputs, batch, step)
            labelled = _now()
            losses = self.criterion(outputs, batch, targets, step)
        done = _now()
        self.seconds = {"network": seen - start, "pseudo_masks": labelled - seen, "losses": done - labelled}
        return losses


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # a GPU is given work faster than it does it
    return time.perf_counter()


class Progress:
    """Where a run is; saved with it."""

    def __init__(self) -> None:
        self.epoch = self.batch = self.step = 0

    def state_dict(self) -> dict[str, int]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, int]) -> None:
        vars(self).update(state)


class Trainer:
    """A run of training.

    Args:
        config: every setting.
        samples: pictures to learn from.
        val: pictures to score the predictions on.

    Raises:
        ValueError: the folder holds another run (see :func:`.run_folder.check_start`).
    """

    def __init__(self, config: Config, samples: Samples, val: Samples) -> None:
        check_start(config)
        self.config, self.samples, self.val = config, samples, val
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), mixed_precision=config.precision, step_scheduler_with_optimizer=False
        )
        set_seed(config.seed)
        things = sum(category.is_thing for category in samples.categories)
        stuff, official = len(samples.categories) - things, config.labels.preset == "official"
        self.network = network = PanopticSegformer(config.network, things, stuff, official=official)
        load_imagenet(network.detr.backbone.model, config.network)
        self.prepared = PreparedSamples(
            samples, config.data.min_side, config.data.max_side, config.seed, config.labels.supervision
        )
        wide = [size[1] >= size[0] for size in map(samples.size, range(len(samples)))]
        share = self.accelerator.process_index, self.accelerator.num_processes
        self.batches = GroupedBatches(wide, config.optimiser.batch_size, config.seed, *share)
        in_steps = config.in_steps(len(self.batches))
        self.labeller = Labeller(in_steps.labels, things)
        criterion = Criterion(
            network,
            in_steps,
            total=lambda counts: self.accelerator.reduce(counts, "sum"),
            processes=self.accelerator.num_processes,
        )
        optimiser = make_optimiser(network, config)
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(config.optimiser.milestones))
        self.lesson, self.optimiser = self.accelerator.prepare(Lesson(network, self.labeller, criterion), optimiser)
        self.progress = Progress()
        # A prepared schedule would step once for each process.
        self.accelerator.register_for_checkpointing(self.schedule, self.progress)
        set_seed(config.seed, device_specific=True)  # dropout differs between processes

    def run(self) -> dict[str, Any]:
        """Train to the end; the scores of the last epoch."""
        if self.config.resume:
            self.accelerator.load_state(str(checkpoint_in(self.config.out)))
        if self.accelerator.is_main_process:
            begin(self.config, self.samples.categories)
            self._start_log()
        scores = self.score() if self.progress.step == 0 else {}
        while self.progress.epoch < self.config.optimiser.epochs and not self._out_of_steps():
            self._epoch()
            scores = self.score()
            self.save()
        return scores

    def _epoch(self) -> None:
        progress = self.progress
        self.batches.epoch = self.prepared.epoch = progress.epoch
        self.batches.start = progress.batch
        self.lesson.train()
        bar = tqdm(
            loader(self.prepared, self.batches, self.config.data.workers), f"epoch {progress.epoch + 1}",
            len(self.batches), initial=progress.batch, leave=False, disable=not self.accelerator.is_main_process,
        )  # fmt: skip
        for batch in bar:
            losses = self.step(batch)
            bar.set_postfix(loss=f"{sum(losses.values()):.2f}")
            if self._out_of_steps():
                break
        if progress.batch == len(self.batches):
            self.schedule.step()
            progress.epoch, progress.batch = progress.epoch + 1, 0

    def step(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser; the losses, averaged over the processes."""
        start = _now()
        losses = self.lesson(batch.to(self.accelerator.device), self.progress.step)
        total = sum(losses.values())
        self.accelerator.backward(total)
        norm = self.accelerator.clip_grad_norm_(self.lesson.parameters(), self.config.optimiser.clip_norm)
        values = self.accelerator.reduce(torch.stack(list(losses.values())).detach(), "mean").tolist()
        named = dict(zip(losses, values, strict=True))
        if not all(map(math.isfinite, (*values, norm))):
            raise FloatingPointError(
                f"step {self.progress.step}: loss or gradient is not finite: norm {norm:g}, losses {named}; "
                "stopped before the weights are lost"
            )
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.progress.step += 1
        self.progress.batch += 1
        seconds = self.accelerator.unwrap_model(self.lesson).seconds | {"step": _now() - start}
        self.log(kind="step", loss=sum(values), losses=named, lr=self.schedule.get_last_lr()[0], seconds=seconds)
        return named

    def score(self) -> dict[str, Any]:
        """Panoptic quality of pseudo-masks and of predictions, and pictures of both."""
        self.lesson.eval()
        scores, shown = {}, {}
        for name, samples, count, segment in (
            ("pseudo_masks", self.samples, min(self.config.data.scored, len(self.samples)), self._pseudo),
            ("predictions", self.val, len(self.val), self._predicted),
        ):
            prepared = PreparedSamples(samples, self.config.data.min_side, self.config.data.max_side, None)
            tally = Tally(self.samples.categories)
            first = []
            for index in range(self.accelerator.process_index, count, self.accelerator.num_processes):
                found, truth = segment(prepared, index), samples.truth(index)
                if truth is not None:
                    tally.add(found, truth)
                if index < SHOWN:
                    first.append((index, found))
            tally.counts = sum(gather_object([tally.counts]))
            if tally.counts.any():
                means = tally.scores()
                scores[name] = {
                    "pq": means["all"]["pq"], "sq": means["all"]["sq"], "rq": means["all"]["rq"],
                    "things": means["things"]["pq"], "stuff": means["stuff"]["pq"],
                }  # fmt: skip
            shown[name] = [(samples[index].picture, found) for index, found in sorted(gather_object(first))]
        if self.accelerator.is_main_process:
            self.log(kind="score", **scores)
            text = ", ".join(f"{name.replace('_', ' ')} PQ {100 * values['pq']:.1f}" for name, values in scores.items())
            tqdm.write(f"epoch {self.progress.epoch:3d}  step {self.progress.step:6d}  {text}")
            comparison(shown, self.samples.categories).save(self.config.out / "pictures.png")
        return scores

    def _predicted(self, prepared: PreparedSamples, index: int) -> PanopticImage:
        batch = collate([prepared[index]]).to(self.accelerator.device)
        sizes = [prepared.samples.size(index)]
        return predict(self.network, batch, self.samples.categories, sizes, self.config.score_threshold)[0]

    @torch.no_grad()
    def _pseudo(self, prepared: PreparedSamples, index: int) -> PanopticImage:
        batch = collate([prepared[index]]).to(self.accelerator.device)
        masks = self.labeller.pseudo_masks(self.network(batch.pictures, batch.inside), batch, self.progress.step)[0]
        return as_panoptic(masks, self.samples.categories, batch, 0, prepared.samples.size(index))

    def save(self) -> None:
        """A checkpoint to go on from, replaced once the new one is whole, and the network alone to predict with."""
        self.accelerator.save_state(str(self.config.out / "checkpoint.new"))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            keep(self.config.out, self.network)

    def _start_log(self) -> None:
        """An empty log, or the one to go on with: without what the checkpoint does not know of."""
        path, kept = self.config.out / "log.jsonl", []
        if self.config.resume and path.exists():
            whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            kept = [line for line in whole if json.loads(line)["step"] <= self.progress.step]
        path.write_text("".join(kept))

    def log(self, **entry: Any) -> None:
        """Append a line to ``log.jsonl``."""
        if self.accelerator.is_main_process:
            line = {"epoch": self.progress.epoch, "step": self.progress.step, **entry}
            with open(self.config.out / "log.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")

    def _out_of_steps(self) -> bool:
        limit = self.config.optimiser.max_steps
        return limit is not None and self.progress.step >= limit


def make_optimiser(network: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW with slower rates for what the paper trains slower; frozen parameters are left out."""
    settings = config.optimiser
    slow, fast = [], []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (slow if any(part in name for part in SLOW) else fast).append(parameter)
    groups = [{"params": fast, "lr": settings.lr}, {"params": slow, "lr": settings.lr * settings.slow_factor}]
    return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
