"""The page in a process of its own, as a person has it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def page_process(command: Sequence[object], *words: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page's address, and what serves it; killed at the end, as a power cut would, if it is still there.

    Args:
        command: what starts ``point2mask``.
        words: of ``annotate``.
    """
    words = [*command, "annotate", *words, "--no-browser"]
    with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found
            yield found[0], process
        finally:
            process.kill()
