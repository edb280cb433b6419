"""Workers that are processes of this machine, with one thread each."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from ...checks import ArgumentError, fail
from ..folder import JobFolder
from ..job_settings import JobSettings
from ..labeller import Labeller, Task
from ..stopping import JobStopped
from .pool import Message, Worker, WorkerDiedError

_OUT_OF_MEMORY = 75
_PATIENCE = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CONTEXT: Any = multiprocessing.get_context("spawn")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


GUARD = 'below `if __name__ == "__main__":`, since each worker runs the script, or workers=0'


def refuse_no_children(workers: int | None) -> None:
    """Refuse to be called where no process can be started.

    Raises:
        ArgumentError: while a worker runs the script that started it; in a daemonic process.
    """
    here: Any = multiprocessing.current_process()
    if getattr(here, "_inheriting", False):  # as spawn itself asks
        fail("label_dataset", "workers", "a call in a worker that is just starting", f"the call {GUARD}")
    if here.daemon and workers != 0:
        got = f"{workers} in a daemonic process, which may have no children"
        fail("label_dataset", "workers", got, "workers=0 there")


class Process(Worker):
    """A spawned process, and this end of its pipe, which closes when it dies."""

    def __init__(self, settings: JobSettings) -> None:
        super().__init__()
        self.pipe, theirs = _CONTEXT.Pipe()
        # The job alone answers to signals: a worker is born deaf to them. The tracker's start would undo the mask.
        resource_tracker.ensure_running()
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.process: Any = _CONTEXT.Process(target=work, args=(theirs, settings), daemon=True)
            with _single_threaded():
                self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        theirs.close()

    def send(self, task: Task) -> None:
        try:
            self.pipe.send(task)
        except OSError as error:
            raise WorkerDiedError from error

    def receive(self) -> Message:
        try:
            return self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.process.join(_PATIENCE)
            raise WorkerDiedError(_how_it_ended(self.process.exitcode)) from error

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Processes:
    """How the pool deals with processes."""

    def __init__(self, settings: JobSettings) -> None:
        self.settings = settings

    def start(self) -> Process:
        """A new worker."""
        return Process(self.settings)

    def wait(self, workers: Sequence[Process], seconds: float) -> list[Process]:
        """The workers that have something to say."""
        arrived = wait([worker.pipe for worker in workers], seconds)
        return [worker for worker in workers if worker.pipe in arrived]


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


def work(pipe: Connection, settings: JobSettings) -> None:
    """A worker's life: tasks in, outcomes out, until the pipe closes."""
    import torch

    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    torch.set_num_threads(1)
    with JobFolder(settings.out).at_work():
        try:
            labeller = Labeller(settings)
            pipe.send(("ready", None))
            while True:
                pipe.send(("outcome", labeller(pipe.recv())))
        except (JobStopped, ArgumentError) as error:
            pipe.send(("stopped", f"{error}"))
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
