"""Tables of what a data-set job survives, how fast it is and how much memory it takes."""

from __future__ import annotations

from collections.abc import Callable

from tables import chosen, load, table


def faults() -> str:
    """Each fault with its counts."""
    rows = [
        [
            row["fault"],
            *(f"{row[key]:,}" for key in ("rounds", "struck", "damaged")),
            f"{row['identical']} of {row['jobs']}",
        ]
        for row in load("faults")
    ]
    return table(["fault", "rounds", "struck at work", "label files damaged or lost", "results identical"], rows)


def label_sets() -> str:
    """Whole data sets, killed and terminated on the way."""
    rows = []
    for row in chosen("labelling", task="whole set"):
        stops = ", ".join(f"{end['pictures_done']}" for end in row["ended_by"])
        same = "yes" if row["identical"] else "no"
        scores = (f"{100 * row[key]:.1f}" for key in ("pq", "miou"))
        counts = f"{row['pictures']:,}", f"{row['set_aside']}"
        rows.append([row["data"], f"`{row['settings']}`", *counts, stops, same, *scores])
    header = ["data", "settings", "pictures", "set aside", "done at kill -9, at SIGTERM", "identical", "PQ", "mIoU"]
    return table(header, rows)


def label_rates() -> str:
    """Pictures a second, what that means for COCO, and where the time goes."""
    rows = []
    for row in load("labelling_throughput"):
        stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in row["milliseconds_by_stage"].items() if ms >= 1)
        rate, hours = f"{row['pictures_a_second']:.1f}", f"{row['hours_for_coco_train']:.1f}"
        rows.append([row["data"], f"`{row['settings']}`", f"{row['workers']}", rate, hours, stages])
    header = ["data", "settings", "workers", "pictures a second", "hours for 118,287 such pictures"]
    return table([*header, "ms of a picture, by stage"], rows)


def label_memory() -> str:
    """Peak memory by number of pictures."""
    rows = [
        [f"{row['pictures']}", f"`{row['settings']}`", f"{peak['job']:,.0f} MiB", f"{peak['largest_worker']:,.0f} MiB"]
        for row in chosen("labelling", task="memory")
        for peak in [row["peak_mib"]]
    ]
    return table(["pictures", "settings", "the job", "its worker"], rows)


BENCHMARKS: dict[str, Callable[[], str]] = {
    "faults": faults,
    "label sets": label_sets,
    "label rates": label_rates,
    "label memory": label_memory,
}
