"""A few threads for kernels that release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_parallel(function: Callable[[Item], Result], items: Iterable[Item], *, serial: bool = False) -> list[Result]:
    """Map ``function`` over ``items`` on at most ``torch.get_num_threads()`` threads, results in order.

    The calling thread is one of them: each further one takes a tenth of a millisecond to start, more where its
    processor sleeps. Threads end with the call, so a fork between calls finds no dead ones. After an error no further
    item is begun; the error is raised when the other threads are done.

    Args:
        function: releases the GIL for most of its time.
        items: one call each.
        serial: stay on the calling thread (for work under about a millisecond threads cost more than they give).
    """
    tasks = list(items)
    workers = min(torch.get_num_threads(), len(tasks))
    if serial or workers <= 1:
        return [function(task) for task in tasks]
    waiting = deque(enumerate(tasks))
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while waiting:
                try:
                    index, task = waiting.popleft()
                except IndexError:  # another thread took the last one
                    return
                results[index] = function(task)
        except BaseException as error:
            waiting.clear()
            errors.append(error)

    helpers: list[Thread] = []
    try:
        for _ in range(workers - 1):
            helper = Thread(target=work)
            with suppress(RuntimeError):  # no further thread is to be had: the others do its share
                helper.start()
                helpers.append(helper)
        work()
    finally:  # nor may an interrupt leave threads behind that write into the caller's arrays
        waiting.clear()
        for helper in helpers:
            helper.join()
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # its traceback holds this frame, and with it the arrays of the tasks
    return [results[index] for index in range(len(tasks))]
