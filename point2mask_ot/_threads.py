"""A small pool of threads for kernels that release the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_parallel(function: Callable[[Item], Result], items: Iterable[Item], *, serial: bool = False) -> list[Result]:
    """Map ``function`` over ``items`` on at most ``torch.get_num_threads()`` threads, results in order.

    Args:
        function: releases the GIL for most of its time.
        items: one call each.
        serial: stay on the calling thread (for work under about a millisecond a pool costs more than it gives).
    """
    tasks = list(items)
    workers = min(torch.get_num_threads(), len(tasks))
    if serial or workers <= 1:
        return [function(task) for task in tasks]
    # A pool per call: nothing outlives the call, so a fork between calls finds no dead threads.
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, tasks))
