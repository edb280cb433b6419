"""How far a job is, on one line."""

from __future__ import annotations

import time
from typing import TextIO

_BAR = 24
_REFRESH = 0.2


class Progress:
    """Counts outcomes, and writes a bar to a terminal or a plain line every now and then elsewhere.

    Args:
        total: number of pictures.
        stream: where to write; None for nowhere.
        every: seconds between lines where the stream is no terminal.
    """

    def __init__(self, total: int, stream: TextIO | None, every: float = 30.0) -> None:
        self.total, self.stream = total, stream
        self.counts = {"labelled": 0, "kept": 0, "set aside": 0}
        self.first: float | None = None
        self.live = stream is not None and stream.isatty()
        self._every = _REFRESH if self.live else every
        self._next = time.monotonic() + (0 if self.live else every)

    @property
    def done(self) -> int:
        """Pictures seen so far."""
        return sum(self.counts.values())

    @property
    def rate(self) -> float | None:
        """Pictures a second since the first, which waits for compilers; those kept from an earlier run aside."""
        later = self.done - self.counts["kept"] - 1
        if self.first is None or later < 1:
            return None
        return later / max(time.monotonic() - self.first, 1e-9)

    def add(self, kind: str) -> None:
        """Count an outcome."""
        self.counts[kind] += 1
        if self.first is None and kind != "kept":
            self.first = time.monotonic()

    def show(self, *, final: bool = False) -> None:
        """Write the line if it is time to."""
        now = time.monotonic()
        if self.stream is None or (now < self._next and not final):
            return
        self._next = now + self._every
        line = self.line()
        if self.live:
            share = self.done / max(self.total, 1)
            line = f"\r[{'#' * int(_BAR * share):<{_BAR}}] {line}\x1b[K" + ("\n" if final else "")
        else:
            line += "\n"
        self._write(line)

    def say(self, text: str) -> None:
        """A line of its own, before the numbers."""
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        if self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads it any more, which is no reason to stop
            self.stream = None

    def line(self) -> str:
        """The numbers in words.

        Example:
            >>> progress = Progress(200, None)
            >>> progress.add("kept")
            >>> progress.line()
            '1/200 pictures (1 from before)'
        """
        notes = [f"{self.counts['kept']} from before"] if self.counts["kept"] else []
        notes += [f"{self.counts['set aside']} set aside"] if self.counts["set aside"] else []
        text = f"{self.done}/{self.total} pictures" + (f" ({', '.join(notes)})" if notes else "")
        if self.rate:
            text += f", {self.rate:.1f} a second"
            if self.done < self.total:
                text += f", {_clock((self.total - self.done) / self.rate)} to go"
        return text


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
