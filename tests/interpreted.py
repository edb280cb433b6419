"""Triton's interpreter without what it does again at every launch, half of the time of small ones.

It replaces the built-in functions of its language by those that work on arrays, and looks for them among all members of
its modules each time. Which they are is the same each time.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from triton.language import core
from triton.runtime import interpreter


@cache
def _builtins(module: Any) -> list[str]:
    return [name for name, member in inspect.getmembers(module) if core.is_builtin(member)]


def _patch_builtins(module: Any, *how: Any) -> None:
    for name in _builtins(module):
        if core.is_builtin(member := getattr(module, name)):
            interpreter._patch_attr(module, name, member, *how)


def remember_builtins() -> None:
    """Make all launches of this process quicker, where this version has what is replaced."""
    if hasattr(interpreter, "_patch_builtin") and hasattr(interpreter, "_patch_attr"):
        interpreter._patch_builtin = _patch_builtins
