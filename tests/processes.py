"""Python programs in processes of their own, forked from one that has imported what they all need.

A new interpreter spends two seconds of a core on importing torch, numba and OpenCV; a fork spends none. Who tests what
is imported, environment variables that are read then, or Python's own flags, starts an interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
"""What starts such processes."""
FORKS.set_forkserver_preload(["torch", "numba", "cv2", "point2mask_ot.labelling", "point2mask_ot.cli"])


class Program:
    """A script, or the command ``point2mask``, much as :class:`subprocess.Popen` has it, with pipes for what it prints.

    Args:
        words: the path of a script, "-c" and a program's text, or "point2mask"; and its arguments.
        cwd, env: as of Popen.
        before: what the new process does first.
    """

    def __init__(
        self,
        *words: object,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        before: Callable[[], Any] | None = None,
    ) -> None:
        self.args = [str(word) for word in words]
        pipes = [os.pipe(), os.pipe()]
        ends = [Connection(end, readable=False) for _, end in pipes]
        place = str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        self._process = FORKS.Process(target=_main, args=(self.args, *place, ends, before))
        self._process.start()
        for end in ends:
            end.close()
        self._printed = [os.fdopen(end, encoding="utf-8") for end, _ in pipes]
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of Popen: None while it runs, minus the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 300) -> list[str]:
        """What it has printed, once it has ended."""
        with ThreadPoolExecutor(2) as pool:
            printed = [pool.submit(stream.read) for stream in self._printed]
            self._process.join(timeout)
            if self._process.exitcode is None:
                self.kill()
                raise subprocess.TimeoutExpired(self.args, timeout)
        for stream in self._printed:
            stream.close()
        return [text.result() for text in printed]


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; arguments as of :class:`Program`."""
    program = Program(*words, **options)
    printed, complaints = program.communicate()
    return subprocess.CompletedProcess(program.args, program.returncode, printed, complaints)


def _main(
    words: list[str], cwd: str, env: dict[str, str], pipes: list[Connection], before: Callable[[], Any] | None
) -> None:
    for descriptor, pipe in enumerate(pipes, start=1):
        os.dup2(pipe.fileno(), descriptor)
        pipe.close()
    # The server may have been begun while a job held its signals back.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", closefd=False) for descriptor in (1, 2))
    if before:
        before()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = words
    if words[0] == "point2mask":
        words[:1] = ["-c", "from point2mask_ot.cli import main; raise SystemExit(main())"]
    if words[0] == "-c":
        sys.path.insert(0, "")
        exec(words.pop(1), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
