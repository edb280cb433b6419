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
        rows.append([row["data"], f"{row['pictures']:,}", f"{row['set_aside']}", stops, same, *scores])
    header = ["data", "pictures", "set aside", "done at kill -9, at SIGTERM", "identical to one run", "PQ", "mIoU"]
    return table(header, rows)


def label_rates() -> str:
    """Pictures a second, where the time goes, and what that means for COCO."""
    rows = []
    for row in load("labelling_throughput"):
        stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in row["milliseconds_by_stage"].items() if ms >= 1)
        rate, hours = f"{row['pictures_a_second']:.2f}", f"{row['hours_for_coco_train']:.1f}"
        rows.append([row["data"], row["preset"], f"{row['workers']}", rate, hours, stages])
    header = ["data", "preset", "workers", "pictures a second", "hours for COCO's 118,287", "ms a picture, by stage"]
    return table(header, rows)


def label_memory() -> str:
    """Peak memory by number of pictures."""
    rows = [
        [f"{row['pictures']}", row["preset"], *(f"{row['peak_mib'][who]:.0f} MiB" for who in ("job", "largest_worker"))]
        for row in chosen("labelling", task="memory")
    ]
    return table(["pictures", "preset", "the job", "its worker"], rows)


BENCHMARKS: dict[str, Callable[[], str]] = {
    "faults": faults,
    "label sets": label_sets,
    "label rates": label_rates,
    "label memory": label_memory,
}
