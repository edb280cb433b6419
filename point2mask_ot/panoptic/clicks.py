"""Clicks as they stand in a file, whatever file, to targets and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checks import fail, suggestion
from ..files.io import Origin
from ..types import PointTargets
from .images import Category, category_channels
from .paint import Paint
from .point_sizes import decimal_hint, number_of, size_entries, told_sizes

_FAR = 2**31


@dataclass(frozen=True)
class Click:
    """One point as it stands in the file; ``where`` is its line or position, ``sizes`` what it says of its target's."""

    where: str
    x: Any
    y: Any
    category: Any
    target: Any = None
    sizes: Mapping[str, Any] = field(default_factory=dict)


class Clicks(list[Click]):
    """The points of one picture, with what their file says of it, if anything; targets are numbered as they appear.

    Attributes:
        paint: what is painted on it.
        size: (H, W) of it.
        sha256: of its file.
    """

    paint: Paint | None = None
    size: tuple[int, int] | None = None
    sha256: str | None = None


def paint_of(clicks: Sequence[Click]) -> Paint | None:
    """What is painted on the picture of these points."""
    return clicks.paint if isinstance(clicks, Clicks) else None


def in_channel_order(categories: Sequence[Category]) -> tuple[Category, ...]:
    """All things, then all stuff."""
    channels = category_channels(categories)
    return tuple(sorted(categories, key=lambda category: channels[category.id]))


def clicked_targets(
    origin: Origin, clicks: Sequence[Click], categories: Sequence[Category], shape: tuple[int, int] | None = None
) -> PointTargets:
    """The targets of one picture's clicks; their category is an index into ``categories``."""
    points_yx = np.array([_coordinates(origin, click, shape) for click in clicks]).reshape(-1, 2)
    if (points_yx == np.rint(points_yx)).all():
        points_yx = points_yx.astype(np.int64)
    target, channel = _targets(origin, clicks, categories)
    is_thing = [categories[c].is_thing for c in channel]
    told = ((k, click.where, click.sizes) for k, click in zip(target, clicks, strict=True))
    of_targets = np.array(channel, np.int64), np.array(is_thing, bool), *told_sizes(origin, told, len(channel), shape)
    return PointTargets(points_yx, np.array(target, np.int64), *of_targets)


def _targets(origin: Origin, clicks: Sequence[Click], categories: Sequence[Category]) -> tuple[list[int], list[int]]:
    """The target of each click, and the category of each target as an index."""
    number: dict[Any, int] = {}
    target_channel: list[int] = []
    targets = []
    for position, click in enumerate(clicks):
        channel = _channel(origin, click, categories)
        key: Any = ("target", str(click.target))
        if click.target is None:
            key = ("point", position) if categories[channel].is_thing else ("stuff", channel)
        target = number.setdefault(key, len(number))
        if target == len(target_channel):
            target_channel.append(channel)
        elif target_channel[target] != channel:
            names = sorted((categories[channel].name, categories[target_channel[target]].name))
            origin.fail(f"{click.where}: target {click.target!r} in {names}", "one category for each target")
        targets.append(target)
    return targets, target_channel


def _coordinates(origin: Origin, click: Click, shape: tuple[int, int] | None) -> tuple[float, float]:
    """(row, column)."""
    x, y = (number_of(value) for value in (click.x, click.y))
    if not (abs(x) < _FAR and abs(y) < _FAR):
        origin.fail(
            f"{click.where}: x={click.x!r:.40}, y={click.y!r:.40}",
            f"two numbers below {_FAR} in size{decimal_hint(click.x, click.y)}",
        )
    if shape is not None and not _inside(y, x, shape):
        hint = " (x and y swapped?)" if _inside(x, y, shape) else ""
        origin.fail(f"{click.where}: x={x:g}, y={y:g}", f"a point inside HxW = {shape[0]}x{shape[1]}{hint}")
    return y, x


def _inside(row: float, column: float, shape: tuple[int, int]) -> bool:
    """The nearest pixel centre lies in the picture."""
    return -0.5 <= row < shape[0] - 0.5 and -0.5 <= column < shape[1] - 0.5


def _channel(origin: Origin, click: Click, categories: Sequence[Category]) -> int:
    for channel, category in enumerate(categories):
        if click.category == (category.id if type(click.category) is int else category.name):
            return channel
    known = [category.name for category in categories]
    hint = suggestion(click.category, known)
    origin.fail(f"{click.where}: category {click.category!r:.80}", f"one of {known}{hint}")


def point_entries(
    function: str, argument: str, targets: PointTargets, categories: Sequence[Category]
) -> list[dict[str, Any]]:
    """The points as they stand in a file, those of a target side by side."""
    for category, thing in zip(targets.category.tolist(), targets.is_thing.tolist(), strict=True):
        if category >= len(categories) or categories[category].is_thing != thing:
            got = f"a {'thing' if thing else 'stuff'} target of category {category}"
            fail(function, argument, got, "indices into categories, things and stuff as they say")
    told = size_entries(targets)
    order = np.argsort(targets.target, kind="stable")
    clicked = zip(targets.points_yx[order].tolist(), targets.target[order].tolist(), strict=True)
    return [
        {"x": x, "y": y, "category": categories[targets.category[target]].name, "target": target} | told[target]
        for (y, x), target in clicked
    ]
