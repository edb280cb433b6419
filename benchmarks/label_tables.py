"""Tables of what a data-set job survives."""

from __future__ import annotations

from collections.abc import Callable

from tables import load, table


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


BENCHMARKS: dict[str, Callable[[], str]] = {"faults": faults}
