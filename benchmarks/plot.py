"""Time against pixels, one line for each solver, geodesics and transport side by side, from the JSON in ``results``.

python benchmarks/plot.py docs/benchmarks.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from tables import ONE, SCIPY, TWO, Row, chosen, load

# Okabe and Ito's colours, told apart by all kinds of colour vision; ours in black, markers differ besides.
BLACK, ORANGE, SKY, GREEN, BLUE, RED = "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00"

GEODESIC = {
    "skimage MCP (another model)": ("scikit-image MCP (node costs)", SKY, "v", "-"),
    SCIPY: ("SciPy Dijkstra", ORANGE, "s", "-"),
    "ours, radix heap, 1 thread": ("ours, radix heap", GREEN, "^", "-"),
    ONE: ("ours, 1 thread", BLACK, "o", "-"),
    TWO: ("ours, 2 threads", BLACK, "o", ":"),
}
ENTROPIC = {
    "geomloss.ot.solve, torch float32": ("geomloss", GREEN, "v", "-"),
    "ot.sinkhorn log, numpy float64": ("POT log, NumPy", ORANGE, "s", "-"),
    "ot.sinkhorn log, torch float32": ("POT log, torch", RED, "D", "-"),
    "paper's rounds, torch float32": ("paper's rounds, torch", BLUE, "^", "-"),
    "ot.sinkhorn stabilized, numpy float64": ("POT stabilised", SKY, "P", "-"),
    "solve, float32": ("ours: solve", BLACK, "o", "-"),
}
EXACT = {"ot.emd": ("POT emd, exact", ORANGE, "s", "--"), "solve, exact": ("ours: solve, exact", BLACK, "o", "--")}

MIDDLE = 1024
"""Side of the pictures that stand in the legend; smaller ones are hollow."""

Point = tuple[int, float, bool]


def line(axes: Axes, points: list[Point], style: tuple[str, str, str, str]) -> None:
    """One solver; hollow where it was stopped before it was there."""
    label, colour, marker, dashes = style
    points = sorted(points)
    if not points:
        return
    x, y = [point[0] for point in points], [point[1] for point in points]
    axes.plot(x, y, dashes, color=colour, marker=marker, markersize=5, linewidth=1.6, label=label)
    stopped = [point for point in points if not point[2]]
    axes.plot(
        [point[0] for point in stopped], [point[1] for point in stopped], linestyle="none", marker=marker,
        markersize=5, markerfacecolor="white", markeredgecolor=colour,
    )  # fmt: skip


def geodesics(axes: Axes) -> None:
    rows = chosen("geodesic", task="distances", family="blobs", seeds=20)
    for name, style in GEODESIC.items():
        found = [
            (row["size"][0] * row["size"][1], 1e3 * row["seconds"][name]["median"], True)
            for row in rows
            if name in row["seconds"]
        ]
        line(axes, found, style)
    axes.set_title("Geodesic distances from 20 points\nmaps like a network's", fontsize=9)


def transport(axes: Axes) -> None:
    rows = chosen("transport", threads=1, suppliers=20)
    entropic = [row for row in rows if row["task"] == "to 1e-04" and row["reg"] == 0.1]
    for name, style in ENTROPIC.items():
        line(axes, [point(row) for row in entropic if row["solver"] == name and row["status"] != "failed"], style)
    for name, style in EXACT.items():
        line(axes, [point(row) for row in rows if row["task"] == "exact" and row["solver"] == name], style)
    note = "reg 0.1, to an error of 1e-4; hollow: stopped before that"
    axes.set_title(f"Transport from 20 suppliers, one thread\n{note}", fontsize=9)


def point(row: Row) -> Point:
    return row["pixels"], 1e3 * row["seconds"]["median"], row["status"] == "reached"


CROWDS = {
    (True, True): ("paths", BLACK, "o", "-"),
    (False, True): ("walks", BLUE, "D", "-"),
    (True, False): ("paths, a map for each target", ORANGE, "s", "--"),
    (False, False): ("walks, a map for each target", RED, "^", "--"),
}
"""By whether there is a ground, and whether maps are left out."""


def draw_crowds(path: Path) -> None:
    """Time and peak memory per pixel against the number of targets, pictures of all sizes."""
    plt.rcParams.update({"svg.hashsalt": "crowds", "font.family": "DejaVu Sans", "font.size": 9})
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 4.6), layout="constrained")
    rows = load("dense_scenes")
    fields = {"microseconds_per_pixel": "microseconds a pixel", "bytes_per_pixel": "bytes a pixel, at the peak"}
    for axes, (field, label) in zip(panels, fields.items(), strict=True):
        for (ground, sparse), style in CROWDS.items():
            own = [row for row in rows if (row["ground"], row["sparse"]) == (ground, sparse)]
            own += [] if sparse else [r for r in rows if r["ground"] == ground and r["sparse"] and r["targets"] <= 20]
            for side in sorted({row["side"] for row in own}):
                points = [(row["targets"], row[field], side >= MIDDLE) for row in own if row["side"] == side]
                line(axes, points, style if side == MIDDLE else ("", *style[1:]))
        axes.set(xscale="log", yscale="log", xlabel="targets in the picture", title=label)
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)


def draw(path: Path) -> None:
    """Write the plot; the same results give the same bytes."""
    plt.rcParams.update({"svg.hashsalt": "benchmarks", "font.family": "DejaVu Sans", "font.size": 9})
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 5.2), layout="constrained")
    for axes, fill in zip(panels, (geodesics, transport), strict=True):
        fill(axes)
        axes.set(xscale="log", yscale="log", xlabel="pixels", ylabel="milliseconds")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(
            fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, handlelength=3.2
        )
    figure.savefig(path, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="of the plot, .svg or .png")
    draw(parser.parse_args().path)
