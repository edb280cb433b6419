"""Small charts as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _FOOT = 360, 130, 20


def histogram(counts: Sequence[int], *, label: str) -> str:
    """Columns of counts over equal bins of 0..1, with the largest count and the ends of the axis written out.

    Example:
        >>> histogram([0, 2], label="confidence").count("<rect")
        1
    """
    top = max(counts, default=0) or 1
    step = _WIDTH / max(len(counts), 1)
    bars = "".join(
        f'<rect x="{index * step + 1:.1f}" y="{16 + (_HEIGHT - 16) * (1 - count / top):.1f}" '
        f'width="{step - 2:.1f}" height="{(_HEIGHT - 16) * count / top:.1f}">'
        f"<title>{index / len(counts):.2f} to {(index + 1) / len(counts):.2f}: {count}</title></rect>"
        for index, count in enumerate(counts)
        if count
    )
    ticks = "".join(
        f'<text x="{share * _WIDTH:.0f}" y="{_HEIGHT + 15}" text-anchor="{anchor}">{share:g}</text>'
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="Histogram: {escape(label)}">'
        f'<text x="0" y="10">{max(counts, default=0):,}</text>{bars}'
        f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>{ticks}</svg>'
    )
