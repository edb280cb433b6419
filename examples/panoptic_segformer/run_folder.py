"""The folder of a run: its settings, its checkpoint, and what may begin or go on in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_model
from torch import nn

from point2mask_ot import Category

from .config import Config, Data, Network, PseudoLabels

FREE = {"optimiser.epochs", "optimiser.max_steps", "data.workers", "out", "resume", "overwrite"}
"""Settings that a resumed run may change: they have no part in what a step does."""


def check_start(config: Config) -> None:
    """Refuse to begin over a checkpoint unless told to, and to go on without one or with other settings.

    Raises:
        ValueError: naming the folder, or the settings that differ.
    """
    found = checkpoint_in(config.out)
    if config.resume and config.overwrite:
        raise ValueError("resume and overwrite: got both, expected one of them")
    if config.resume and found is None:
        raise ValueError(f"resume: {config.out} holds no checkpoint to go on from")
    if found is not None and not (config.resume or config.overwrite):
        raise ValueError(f"out: {config.out} holds a checkpoint; expected another folder, --resume or --overwrite")
    if config.resume:
        default, given = (_flat(json.loads(_text(asdict(settings)))) for settings in (Config(), config))
        saved = default | _flat(_document(config.out)["config"])  # what is younger than the run had its default
        other = [name for name in sorted(saved | given) if name not in FREE and saved.get(name) != given.get(name)]
        if other:
            changes = ", ".join(f"{name} was {saved.get(name)!r}, got {given.get(name)!r}" for name in other)
            raise ValueError(f"resume: settings differ from those of {config.out / 'config.json'}: {changes}")


def checkpoint_in(out: Path) -> Path | None:
    """The last whole checkpoint, or None; the one before if the process died while the two changed places."""
    return next((path for path in (out / "checkpoint", out / "checkpoint.old") if path.exists()), None)


def begin(config: Config, categories: Sequence[Category]) -> None:
    """Make the folder ready for the main process to write to: what is left of another run goes."""
    if not config.resume:
        for path in (config.out / "checkpoint", config.out / "checkpoint.old", config.out / "checkpoint.new"):
            shutil.rmtree(path, ignore_errors=True)
        (config.out / "network.safetensors").unlink(missing_ok=True)
    write_config(config, categories)


def keep(out: Path, network: nn.Module) -> None:
    """Put ``checkpoint.new`` in the place of the checkpoint, and save the network alone to predict with."""
    kept, old = out / "checkpoint", out / "checkpoint.old"
    if kept.exists():
        shutil.rmtree(old, ignore_errors=True)
        kept.rename(old)
    (out / "checkpoint.new").rename(kept)
    shutil.rmtree(old, ignore_errors=True)
    partial = out / "network.safetensors.new"
    save_model(network, str(partial))
    partial.replace(out / "network.safetensors")


def write_config(config: Config, categories: Sequence[Category]) -> None:
    """What a prediction needs to know beside the weights."""
    config.out.mkdir(parents=True, exist_ok=True)
    document = {"config": asdict(config), "categories": [asdict(category) for category in categories]}
    (config.out / "config.json").write_text(_text(document))


def read_config(run: Path) -> tuple[Config, tuple[Category, ...]]:
    """What :func:`write_config` wrote: the parts that a prediction needs."""
    document = _document(run)
    given = document["config"]
    data = {key: Path(value) if isinstance(value, str) else value for key, value in _tuples(given["data"]).items()}
    parts = Network(**given["network"]), Data(**data), PseudoLabels(**given["labels"])
    config = Config(*parts, seed=given["seed"], score_threshold=given["score_threshold"])
    return config, tuple(Category(**_tuples(category)) for category in document["categories"])


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _document(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, default=str) + "\n"


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their names on the command line, ``optimiser.lr`` and the like (with underscores)."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
