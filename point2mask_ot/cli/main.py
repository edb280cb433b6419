"""The ``point2mask`` command: which command was meant, and what its end says."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .. import __version__
from ..checks import ArgumentError, BackgroundWarning, ConvergenceWarning, InputWarning
from ..labelling.stopping import JobInterrupted, JobStopped
from .annotate import Annotate
from .dataset import LabelDataset
from .demo import Demo
from .label import Label
from .options import Commands, choose, parse
from .prepare import PREPARE
from .words import complaint, in_words

COMMANDS = Commands(
    "From one point per target to panoptic pseudo-masks",
    {"demo": Demo, "label": Label, "label-dataset": LabelDataset, "annotate": Annotate, "prepare": PREPARE},
    __version__,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; default ``sys.argv[1:]``.

    Returns:
        Exit status: 0; 1 where ``label-dataset`` set pictures aside or ``prepare check`` found problems; 2 with a
        message on standard error when an input is refused or the results cannot be written; 130 or 143 after SIGINT
        or SIGTERM.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names, and the frames of the help, that a locale has no letters for
    words = list(sys.argv[1:] if arguments is None else arguments)
    record, prog, words = choose(COMMANDS, "point2mask", words)
    command = parse(record, prog, words)
    try:
        with _warnings_in_words(command, prog):
            status = command.run(prog) or 0
        sys.stdout.flush()
    except (ArgumentError, JobStopped) as error:
        return _complain(complaint(error, command, prog))
    except JobInterrupted as error:
        return _complain(complaint(error, command, prog), 128 + error.signal)
    except OSError as error:  # nobody takes what is printed: a full disk, a closed pipe
        with open(os.devnull, "w") as nowhere, contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or Python complains again when it exits
        return _complain(complaint(error, command, prog))
    return status


@contextlib.contextmanager
def _warnings_in_words(command: Any, prog: str) -> Iterator[None]:
    """Our own warnings as people read them: what to do, in options, and no line of a program."""
    with warnings.catch_warnings():
        as_python = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, (BackgroundWarning, ConvergenceWarning, InputWarning)):
                _complain(f"{prog}: warning: {in_words(str(message), command)}")
            else:
                as_python(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _complain(text: str, status: int = 2) -> int:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)
    return status
