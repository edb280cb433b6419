"""numba's compiler with an on-disk cache that never fails, imported only when a kernel is first needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(**options: Any) -> Callable[[Function], Function]:
    """Compile without the GIL and cache on disk; where no folder can be written, only in memory.

    Kernels never use numba's ``parallel=True``: its thread layers abort on concurrent use or die after a fork.
    """

    def decorate(function: Function) -> Function:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # "no locator available": the install and the user's cache are both read-only
            return numba.njit(nogil=True, **options)(function)

    return decorate
