"""numba's compiler with an on-disk cache that never fails and never goes stale."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numba
import numba.extending

from .once import compile_once

_PACKAGE = Path(__file__).parents[1]

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(**options: Any) -> Callable[[Function], Function]:
    """Compile without the GIL and cache on disk; where no folder can be written, only in memory.

    Kernels never use numba's ``parallel=True``: its thread layers abort on concurrent use or die after a fork.
    """

    if getattr(numba.config, "DISABLE_JIT", False):
        raise RuntimeError(
            "point2mask_ot: NUMBA_DISABLE_JIT is set, but kernels for the CPU run compiled only: unset it"
        )

    def decorate(function: Function) -> Function:
        try:
            compiled = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # "no locator available": the install and the user's cache are both read-only
            return numba.njit(nogil=True, **options)(function)
        index: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
        if hasattr(index, "_source_stamp"):
            _stamp(index)
            compile_once(compiled, index._cache_path)
        return compiled

    return decorate


def helper(**options: Any) -> Callable[[Function], Function]:
    """Compile a function that only kernels call, without the entry from Python, which is a third of its compile time.

    The caches of the kernels include it.
    """
    decorate: Any = numba.njit  # whose stub does not know all of its options
    return decorate(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **options)  # type: ignore[no-any-return]


def intrinsic(write: Callable[..., Any]) -> Any:
    """numba's ``intrinsic``, whose result takes other arguments than the function that it decorates."""
    return numba.extending.intrinsic(write)


def _stamp(index: Any) -> None:
    """Make the cached kernels of an index depend on all sources of the package.

    numba looks only at the file that a kernel lies in. A kernel that calls one of another file, or shares its memory
    layout, would survive a change there, be it by an upgrade in place, and work on memory that is laid out otherwise.
    """
    index._source_stamp = (index._source_stamp, sources_stamp(_PACKAGE))
    index.save = partial(_save, index)


def _save(index: Any, key: Any, data: Any) -> None:
    """Save a compiled kernel in a file named after its signature, then enter that into the index.

    numba counts its files instead: of two processes that compile two signatures of a kernel at once, both may write
    the same one, and a third would find code for one signature under the other.
    """
    name = f"{Path(index._index_name).stem}.{sha256(repr(key).encode()).hexdigest()[:16]}.nbc"
    index._save_data(name, data)
    index._save_index({**index._load_index(), key: name})


@cache
def sources_stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """(file, modification time in ns, size) of every Python file below ``folder``."""
    found = ((str(path.relative_to(folder)), path.stat()) for path in sorted(folder.rglob("*.py")))
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in found)
