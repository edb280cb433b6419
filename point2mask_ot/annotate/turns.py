"""Who works when: one labelling at a time, and of a page's requests only the newest."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Superseded(Exception):  # noqa: N818  # nothing is wrong
    """A newer state is there to be labelled."""


class Turns:
    """One piece of work at a time; of those of a page that wait for the same answer, only the newest is done."""

    def __init__(self) -> None:
        self._work, self._count = threading.Lock(), threading.Lock()
        self._newest: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    @contextmanager
    def any(self) -> Iterator[None]:
        """Wait for a turn."""
        with self._work:
            yield

    @contextmanager
    def newest(self, page: str = "") -> Iterator[None]:
        """Wait for a turn, and give it up to a later request of the same page.

        Raises:
            Superseded: there was one.
        """
        with self._count:
            ticket = self._newest[page] = self._newest.get(page, 0) + 1
            self._waiting[page] = self._waiting.get(page, 0) + 1
        try:
            with self._work:
                if ticket < self._newest[page]:
                    raise Superseded
                yield
        finally:
            self._leave(page)

    def _leave(self, page: str) -> None:
        """Forget a page of which nothing waits any more: there may be many in a day."""
        with self._count:
            self._waiting[page] -= 1
            if not self._waiting[page]:
                del self._waiting[page], self._newest[page]
