"""Workers that are Ray's actors: on this machine, or on all machines of a cluster that see the same folders."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...checks import ArgumentError, fail
from ..folder import JobFolder
from ..job_settings import JobSettings
from ..labeller import Labeller, Task
from ..stopping import JobStopped
from .pool import Message, Worker, WorkerDiedError

_OBJECT_STORE = 2**27
_USAGE = "RAY_USAGE_STATS_ENABLED"


class RemoteLabeller:
    """What runs in the process of an actor: the same labeller as in any other worker."""

    def begin(self, settings: JobSettings, folder: str) -> Message:
        """Get ready; the job's working folder is where plug-ins may lie."""
        import torch

        try:
            self.at_work = JobFolder(settings.out).at_work()
            self.at_work.__enter__()  # until the process ends
            torch.set_num_threads(1)
            sys.path.append(folder)
            self.labeller = Labeller(settings)
        except FileNotFoundError:
            return "stopped", f"{settings.out}: not to be seen from {os.uname().nodename}, where a worker is"
        except (JobStopped, ArgumentError) as error:
            return "stopped", f"{error}"
        return "ready", None

    def label(self, task: Task) -> Message:
        """Label one picture."""
        try:
            return "outcome", self.labeller(task)
        except JobStopped as error:
            return "stopped", f"{error}"
        except MemoryError:
            return "died", "out of memory"


class Actor(Worker):
    """An actor with one core, and what it was asked last."""

    def __init__(self, ray: Any, kind: Any, settings: Any) -> None:
        super().__init__()
        self.ray = ray
        self.actor = kind.remote()
        self.answer = self.actor.begin.remote(settings, os.getcwd())

    def send(self, task: Task) -> None:
        self.answer = self.actor.label.remote(task)

    def receive(self) -> Message:
        answer, self.answer = self.answer, None
        try:
            kind, value = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            raise WorkerDiedError(" ".join(f"{error}".split())[:300]) from error
        if kind == "died":
            raise WorkerDiedError(value)
        return kind, value

    def end(self) -> None:
        self.ray.kill(self.actor)


class Actors:
    """How the pool deals with actors."""

    def __init__(self, ray: Any, settings: JobSettings) -> None:
        self.ray, self.settings = ray, ray.put(settings)
        self.kind = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(RemoteLabeller)

    def start(self) -> Actor:
        """A new worker, as soon as the cluster has a core for it."""
        return Actor(self.ray, self.kind, self.settings)

    def wait(self, workers: Sequence[Actor], seconds: float) -> list[Actor]:
        """The workers that have something to say."""
        asked = {worker.answer: worker for worker in workers if worker.answer is not None}
        if not asked:
            time.sleep(seconds)
            return []
        ended, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=0)
        if not ended:
            ended, _ = self.ray.wait(list(asked), timeout=seconds)
        return [asked[answer] for answer in ended]


def import_ray() -> Any:
    """The package, or an error that says how to get it."""
    try:
        import ray
    except ImportError:
        fail("label_dataset", "engine", "'ray', and no package ray", "pip install 'point2mask-ot[ray]', or 'local'")
    return ray


@contextmanager
def connected(ray: Any) -> Iterator[int]:
    """Be connected to the caller's Ray; else to a cluster that runs, or to one begun for as long as this lasts.

    Gives the number of its cores.
    """
    ours = not ray.is_initialized()
    if ours:
        with _same_sigterm():
            _connect(ray)
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any) -> None:
    """To the cluster at ``RAY_ADDRESS``, or to that of ``ray start`` on this machine; else begin one.

    Never to one that another program has begun for itself, as ``address="auto"`` would: that ends with its program.
    """
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    address = os.environ.get("RAY_ADDRESS", "local")
    if address not in ("", "local"):
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError) as error:
            got = f"'ray', and RAY_ADDRESS={address}: {error}"
            fail("label_dataset", "engine", got, "the address of a cluster that runs, or no RAY_ADDRESS")
        return
    # What goes through the store is small: the settings, and a row for each picture.
    own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    with _no_usage_statistics():
        try:
            ray.init(**own, **quiet)
        except ValueError:  # a store cannot be asked for where there is a cluster
            try:
                ray.init(**quiet)
            except ConnectionError:  # it has died, and Ray still has its address
                ray.init(address="local", **own, **quiet)


@contextmanager
def _no_usage_statistics() -> Iterator[None]:
    """What this package begins sends nothing anywhere."""
    before = os.environ.get(_USAGE)
    os.environ.setdefault(_USAGE, "0")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_USAGE, None)


@contextmanager
def _same_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own in the place of the job's."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
