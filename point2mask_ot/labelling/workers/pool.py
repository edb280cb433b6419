"""Workers that may die: each has one picture at a time, and a picture that two died of is set aside."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..labeller import Outcome, Task
from ..stopping import JobStopped

_TICK = 0.25
_TRIES = 2
_FAILED_STARTS = 3

Message = tuple[str, Any]
"""What a worker says: ``("ready", None)``, ``("outcome", Outcome)`` or ``("stopped", reason)``."""


class WorkerDiedError(Exception):
    """Says how, in words."""


class Worker:
    """Labels pictures somewhere else.

    Attributes:
        ready: it has said so.
        task: the picture that it has.
    """

    def __init__(self) -> None:
        self.ready = False
        self.task: Task | None = None

    def send(self, task: Task) -> None:
        """Hand over a picture, or raise :class:`WorkerDiedError`."""
        raise NotImplementedError

    def receive(self) -> Message:
        """What it has to say, or raise :class:`WorkerDiedError`."""
        raise NotImplementedError

    def end(self) -> None:
        """Kill it, if it is not dead."""
        raise NotImplementedError


class Crew(Protocol):
    """Where workers come from."""

    def start(self) -> Any:
        """A new worker, which will say that it is ready."""

    def wait(self, workers: Sequence[Any], seconds: float) -> Sequence[Any]:
        """The workers that have something to say, once there is one or the time is over."""


@dataclass
class Pool:
    """Labels pictures on several workers.

    Attributes:
        crew: of processes, or of Ray's actors.
        workers: how many.
        stopping: asked before each picture; once it says True, none is begun any more.
        hint: what else to say of workers that end before they begin.
        set_aside: given (task, reason) of a picture that workers died of; gives its outcome.
    """

    crew: Crew
    workers: int
    stopping: Callable[[], bool]
    set_aside: Callable[[Task, str], Outcome]
    hint: str = ""
    _alive: list[Worker] = field(default_factory=list)
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
                self._alive.append(self.crew.start())
            while True:
                self._hand_out(tasks)
                busy = any(worker.task for worker in self._alive)
                if not busy and (self.stopping() or (self._exhausted and not self._again)):
                    return
                for worker in self.crew.wait(self._alive, _TICK):
                    yield self._receive(worker)
                yield None
        finally:
            for worker in self._alive:
                worker.end()  # idle or, after an error, in the middle of a picture: nothing is half-written

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
                worker.send(task)
                worker.task = task
            except WorkerDiedError:  # while it was idle, as it will say when asked
                self._again.append(task)

    def _receive(self, worker: Worker) -> Outcome | None:
        try:
            kind, value = worker.receive()
        except WorkerDiedError as error:
            return self._bury(worker, f"{error}")
        if kind == "stopped":
            raise JobStopped(value)
        if kind == "ready":
            worker.ready, self._failed_starts = True, 0
            return None
        worker.task = None
        outcome: Outcome = value
        return outcome

    def _bury(self, worker: Worker, how: str) -> Outcome | None:
        """Put a new worker in the place of a dead one, and see to its picture."""
        worker.end()
        self._alive.remove(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise JobStopped(f"workers end before they begin: {how}{self.hint}")
        self._alive.append(self.crew.start())
        task = worker.task
        if task is None:
            return None
        self._deaths[task.row.position] += 1
        if self._deaths[task.row.position] < _TRIES:
            self._again.append(task)
            return None
        return self.set_aside(task, f"{_TRIES} workers died of it: {how}")
