"""Small charts: which bins of a histogram to show, and how high. A template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FEWEST = 10


@dataclass(frozen=True)
class Bar:
    """One column; ``left``, ``width`` and ``height`` are shares of the chart, ``start`` is where its bin begins."""

    left: float
    width: float
    height: float
    start: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """Columns of counts over a part of 0..1.

    Attributes:
        title: of the chart.
        axis, unit: what is counted along the axis, and in what.
        first, last: the ends of the axis.
        top: the largest count.
        bars: of the bins that are not empty.
    """

    title: str
    axis: str
    unit: str
    first: float
    last: float
    top: int
    bars: tuple[Bar, ...]


def histogram(counts: Sequence[int], title: str, axis: str, unit: str) -> Histogram:
    """Counts over equal bins of 0..1, cut to where there is something to see.

    Example:
        >>> chart = histogram([0] * 50 + [2] + [0] * 49, "Confidence", "confidence", "pictures")
        >>> chart.first, chart.last, [(bar.start, bar.count) for bar in chart.bars]
        (0.46, 0.56, [(0.5, 2)])
    """
    first, last = _window(counts)
    shown = counts[first:last]
    top, step = max(shown, default=0), 1 / len(shown)
    bars = tuple(
        Bar(index * step, step, count / top, (first + index) / len(counts), count)
        for index, count in enumerate(shown)
        if count
    )
    return Histogram(title, axis, unit, first / len(counts), last / len(counts), top, bars)


def _window(counts: Sequence[int]) -> tuple[int, int]:
    """The bins to show: those that are not empty, and at least ten."""
    filled = [index for index, count in enumerate(counts) if count]
    if not filled:
        return 0, len(counts)
    first, last = filled[0], filled[-1] + 1
    spare = max(0, _FEWEST - (last - first))
    first = max(0, min(first - spare // 2, len(counts) - _FEWEST))
    return first, min(len(counts), max(last, first + _FEWEST))
