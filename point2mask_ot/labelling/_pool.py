"""Worker processes that may die: each has one picture at a time, and a picture that two died of is set aside."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from ..checks import ArgumentError
from ._folder import JobFolder
from ._labeller import Labeller, Outcome, Task
from ._settings import JobStopped, Settings

_TICK = 0.25
_TRIES = 2
_FAILED_STARTS = 3
_OUT_OF_MEMORY = 75
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(eq=False)
class _Worker:
    """A process, the parent's end of its pipe (which closes when it dies), and the picture that it has."""

    process: Any
    connection: Connection
    ready: bool = False
    task: Task | None = None


@dataclass
class Pool:
    """Labels pictures on several processes.

    Attributes:
        settings: of the job.
        workers: number of processes.
        stopping: asked before each picture; once it says True, none is begun any more.
        set_aside: given (task, reason) of a picture that workers died of; gives its outcome.
    """

    settings: Settings
    workers: int
    stopping: Callable[[], bool]
    set_aside: Callable[[Task, str], Outcome]
    _alive: list[_Worker] = field(default_factory=list)
    _again: deque[Task] = field(default_factory=deque)
    _deaths: Counter[int] = field(default_factory=Counter)
    _failed_starts: int = 0
    _exhausted: bool = False

    def run(self, tasks: Iterator[Task]) -> Iterator[Outcome | None]:
        """The outcome of each task as it ends; None at times, so that the caller can look around.

        Raises:
            JobStopped: the results cannot be written, or workers cannot begin.
        """
        try:
            for _ in range(self.workers):
                self._start()
            while True:
                self._hand_out(tasks)
                busy = any(worker.task for worker in self._alive)
                if not busy and (self.stopping() or (self._exhausted and not self._again)):
                    return
                arrived = wait([worker.connection for worker in self._alive], timeout=_TICK)
                for worker in [worker for worker in self._alive if worker.connection in arrived]:
                    yield self._receive(worker)
                yield None
        finally:
            for worker in self._alive:
                worker.process.kill()  # idle or, after an error, in the middle of a picture: nothing is half-written
                worker.process.join()
                worker.connection.close()

    def _hand_out(self, tasks: Iterator[Task]) -> None:
        for worker in self._alive:
            if not worker.ready or worker.task:
                continue
            if self.stopping():
                return
            task = self._again.popleft() if self._again else next(tasks, None)
            if task is None:
                self._exhausted = True
                return
            try:
                worker.connection.send(task)
                worker.task = task
            except OSError:  # it died while idle, which its pipe will say
                self._again.append(task)

    def _receive(self, worker: _Worker) -> Outcome | None:
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._bury(worker)
        if kind == "stopped":
            raise JobStopped(value)
        if kind == "ready":
            worker.ready, self._failed_starts = True, 0
            return None
        worker.task = None
        outcome: Outcome = value
        return outcome

    def _bury(self, worker: _Worker) -> Outcome | None:
        """Put a new worker in the place of a dead one, and see to its picture."""
        worker.process.join()
        worker.connection.close()
        self._alive.remove(worker)
        end = _how_it_ended(worker.process.exitcode)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise JobStopped(f"workers end before they begin: {end}")
        self._start()
        task = worker.task
        if task is None:
            return None
        self._deaths[task.row.position] += 1
        if self._deaths[task.row.position] < _TRIES:
            self._again.append(task)
            return None
        return self.set_aside(task, f"{_TRIES} workers died of it: {end}")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # The job alone answers to signals: a worker is born deaf to them. The tracker's start would undo the mask.
        resource_tracker.ensure_running()
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process = context.Process(target=work, args=(theirs, self.settings), daemon=True)
            with _single_threaded():
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        theirs.close()
        self._alive.append(_Worker(process, ours))


@contextmanager
def _single_threaded() -> Iterator[None]:
    """One thread for the linear algebra of processes that start now: it asks before a worker could say so."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def work(connection: Connection, settings: Settings) -> None:
    """A worker's life: tasks in, outcomes out, until the pipe closes."""
    import torch

    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    torch.set_num_threads(1)
    with JobFolder(settings.out).at_work():
        try:
            labeller = Labeller(settings)
            connection.send(("ready", None))
            while True:
                connection.send(("outcome", labeller(connection.recv())))
        except (JobStopped, ArgumentError) as error:
            connection.send(("stopped", f"{error}"))
        except MemoryError:
            os._exit(_OUT_OF_MEMORY)  # what is left of the memory may not be enough for anything else
        except (EOFError, BrokenPipeError, ConnectionResetError):  # the job is gone
            return


def _how_it_ended(code: int | None) -> str:
    if code == _OUT_OF_MEMORY:
        return "out of memory"
    if code == -signal.SIGKILL:
        return "killed, perhaps for lack of memory"
    return f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
