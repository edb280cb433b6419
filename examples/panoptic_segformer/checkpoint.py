"""The folder of a run: its settings, its last checkpoint, and what may begin or go on in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from point2mask_ot import Category

from .config import Config

FREE = {
    "optimiser.epochs", "optimiser.max_steps", "optimiser.save_every", "data.workers", "out", "resume", "overwrite",
    "network.weights", "init_from",
}  # fmt: skip
"""Settings that a resumed run may change: they have no part in what its steps do."""


def check_start(config: Config) -> None:
    """Refuse to begin over a checkpoint unless told to, and to go on without one or with other settings.

    Raises:
        ValueError: naming the folder, or the settings that differ.
    """
    found = last_checkpoint(config.out)
    if config.resume and config.overwrite:
        raise ValueError("resume and overwrite: got both, expected one of them")
    if config.resume and found is None:
        raise ValueError(f"resume: {config.out} holds no checkpoint to go on from")
    if found is not None and not (config.resume or config.overwrite):
        raise ValueError(f"out: {config.out} holds a checkpoint; expected another folder, --resume or --overwrite")
    if config.resume:
        saved, given = (_flat(asdict(settings)) for settings in (read_config(config.out)[0], config))
        other = [name for name in sorted(saved | given) if name not in FREE and saved.get(name) != given.get(name)]
        if other:
            changes = ", ".join(f"{name} was {saved.get(name)!r}, got {given.get(name)!r}" for name in other)
            raise ValueError(f"resume: settings differ from those of {config.out / 'config.json'}: {changes}")


def last_checkpoint(out: Path) -> Path | None:
    """The last that was written whole, or None."""
    return max(out.glob("checkpoint-" + "[0-9]" * 8), default=None)


def begin(config: Config, categories: Sequence[Category], step: int = 0) -> None:
    """Make the folder ready to go on at a step: what is left of another run, or was logged after the step, goes."""
    log = config.out / "log.jsonl"
    if not config.resume:
        _remove(config.out.glob("checkpoint-*"))
        for path in (log, config.out / "network.safetensors"):
            path.unlink(missing_ok=True)
    elif log.exists():  # its last line may have been cut off
        whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        log.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))
    write_config(config, categories)


def write_config(config: Config, categories: Sequence[Category]) -> None:
    """What a prediction needs to know beside the weights."""
    config.out.mkdir(parents=True, exist_ok=True)
    document = {"config": asdict(config), "categories": [asdict(category) for category in categories]}
    (config.out / "config.json").write_text(json.dumps(document, indent=1, default=str) + "\n")


def keep(written: Path, step: int) -> None:
    """Name a checkpoint that is whole, and remove the others."""
    kept = written.with_name(f"checkpoint-{step:08d}")
    written.rename(kept)
    _remove(set(written.parent.glob("checkpoint-*")) - {kept})


def read_config(run: Path) -> tuple[Config, tuple[Category, ...]]:
    """The settings and categories of a run; what is younger than the run has its default."""
    document = json.loads((run / "config.json").read_text())
    return _read(Config, document["config"]), tuple(_read(Category, category) for category in document["categories"])


def _read(kind: Any, value: Any) -> Any:
    """What JSON made of a value of some kind."""
    if is_dataclass(kind):
        kinds = get_type_hints(kind)
        return kind(**{name: _read(kinds[name], given) for name, given in value.items() if name in kinds})
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if isinstance(value, str) and Path in (kind, *getattr(kind, "__args__", ())) else value


def _remove(folders: Iterable[Path]) -> None:
    for folder in list(folders):
        shutil.rmtree(folder, ignore_errors=True)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their names on the command line, ``optimiser.lr`` and the like (with underscores)."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
