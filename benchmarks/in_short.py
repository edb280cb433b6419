"""The two tables of the README: what the pages of quality and speed say, a few rows each."""

from __future__ import annotations

from collections.abc import Callable
from statistics import geometric_mean

from tables import GIVEN, HINTED, ONE, PEERS, SIZES, THINGS, TYPICAL, Row, chosen, load, milliseconds, table, times

METHODS = (
    "nearest point (Euclidean)",
    "watershed (scikit-image)",
    "random walker, beta 100 (scikit-image)",
    "random walker, beta 1000 (scikit-image)",
    "best",
)
SIZED = "sizes x/ 1.35"


def quality() -> str:
    """Mean IoU from one point each, without classes, and of ``best`` with a rough size beside it."""
    scored = [row for name in ("quality", "quality_points", "quality_points_nuclei") for row in load(name)]
    rows = [row for row in scored if row["method"] in METHODS]
    rows += [row | {"method": HINTED[SIZED]} for name in SIZES for row in load(name) if row["method"] == SIZED]
    found = {(row["method"], row["protocol"], row["data"]): row for row in rows}
    columns = [(protocol, data) for protocol in ("union", "points") for data in ("nuclei", "photographs")]
    header = [f"{found['best', *at]['instances']} {THINGS[at[1]]}, {GIVEN[at[0]]}" for at in columns]
    methods = [*METHODS, HINTED[SIZED]]
    return table(["", *header], [[method, *(_score(found[method, *at]) for at in columns)] for method in methods])


def _score(row: Row) -> str:
    return f"{row['mean_iou']:.3f} ± {row['std_over_seeds']:.3f}"


def speed() -> str:
    """A row of each table of speed, ours beside the peer that comes nearest."""
    best = next(row for row in load("pipeline") if (row["preset"], row["threads"]) == ("best", 1))
    maps = chosen("geodesic", task="distances", size=[600, 800], seeds=20)
    paths = [row for row in maps if row["family"] in TYPICAL]
    ours = {key: geometric_mean(row["seconds"][ONE][key] for row in paths) for key in ("median", "low", "high")}
    over = geometric_mean(row["scipy_over_ours"][ONE] for row in paths)
    (walks,) = chosen("walks", size=[400, 600], points=10)
    peer = min(walks["theirs_over_ours"], key=walks["theirs_over_ours"].__getitem__)
    problem = {"threads": 1, "suppliers": 50, "pixels": 65_536}
    exact = {row["solver"]: row for row in chosen("transport", task="exact", **problem)}
    lines = [
        ["Algorithm 1, preset `best`, 600 x 800, 21 channels, 10 targets", milliseconds(best["seconds"]), "", ""],
        _beside("distances, 600 x 800, 20 targets", ours, "SciPy, Dijkstra", over),
        _beside("walks, 400 x 600, 10 points", walks["seconds"]["ours"], peer, walks["theirs_over_ours"][peer]),
        _smooth(20, 1_900),
        _smooth(50, 65_536),
        _beside(
            "transport, 50 x 65,536, exact", exact["solve, exact"]["seconds"], "`ot.emd`", exact["ot.emd"]["ratio"]
        ),
    ]
    return table(["", "ours, ms", "nearest peer", "which takes"], lines)


def _smooth(suppliers: int, pixels: int) -> list[str]:
    """Transport at the largest reg, where every supplier counts in every pixel."""
    rows = chosen("transport", task="to 1e-04", reg=0.1, threads=1, suppliers=suppliers, pixels=pixels)
    found = {row["solver"]: row for row in rows}
    reached = [row for name, row in found.items() if name in PEERS and row["status"] == "reached"]
    nearest = min(reached, key=lambda row: row["ratio"])
    what = f"transport, {suppliers} x {pixels:,}, reg 0.1, to an error of 1e-4"
    return _beside(what, found["solve, float32"]["seconds"], PEERS[nearest["solver"]], nearest["ratio"])


def _beside(what: str, ours: Row, peer: str, ratio: float) -> list[str]:
    return [what, milliseconds(ours), peer, times(ratio)]


TABLES: dict[str, Callable[[], str]] = {"quality in short": quality, "speed in short": speed}
