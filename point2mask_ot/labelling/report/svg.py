"""Small charts as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _HEAD, _FOOT = 360, 130, 16, 20
_FEWEST = 10


def histogram(counts: Sequence[int], *, label: str, axis: str, unit: str) -> str:
    """Columns of counts over equal bins of 0..1, cut to where there is something to see.

    The largest count, in its ``unit``, and the ends and the name of the ``axis`` are written out.

    Example:
        >>> histogram([0] * 50 + [2] + [0] * 49, label="Confidence", axis="confidence", unit="pictures").count("<rect")
        1
    """
    first, last = _window(counts)
    shown = counts[first:last]
    top, step = max(shown, default=0), _WIDTH / len(shown)
    bars = "".join(
        f'<rect x="{index * step + 1:.1f}" y="{_HEIGHT - (_HEIGHT - _HEAD) * count / top:.1f}" '
        f'width="{step - 2:.1f}" height="{(_HEIGHT - _HEAD) * count / top:.1f}">'
        f"<title>from {(first + index) / len(counts):.2f}: {count:,}</title></rect>"
        for index, count in enumerate(shown)
        if count
    )
    words = (
        (0, "start", f"{first / len(counts):g}"),
        (_WIDTH // 2, "middle", escape(axis)),
        (_WIDTH, "end", f"{last / len(counts):g}"),
    )
    ticks = "".join(
        f'<text x="{x}" y="{_HEIGHT + 15}" text-anchor="{anchor}">{word}</text>' for x, anchor, word in words
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="Histogram: {escape(label)}">'
        f'<text x="0" y="10">{top:,} {escape(unit)}</text>{bars}'
        f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>{ticks}</svg>'
    )


def _window(counts: Sequence[int]) -> tuple[int, int]:
    """The bins to show: those that are not empty, and at least ten."""
    filled = [index for index, count in enumerate(counts) if count]
    if not filled:
        return 0, len(counts)
    first, last = filled[0], filled[-1] + 1
    spare = max(0, _FEWEST - (last - first))
    first = max(0, min(first - spare // 2, len(counts) - _FEWEST))
    return first, min(len(counts), max(last, first + _FEWEST))
