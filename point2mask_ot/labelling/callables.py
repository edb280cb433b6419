"""By what a callable is known to a job that goes on in another process: its name, and what it holds beside that."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

import torch


def name_of(value: Callable[..., Any]) -> str:
    """``module:name``, of an object that has no name that of its class."""
    of = value if hasattr(value, "__qualname__") else type(value)
    return f"{of.__module__}:{of.__qualname__}"


def state_of(value: Callable[..., Any]) -> str | None:
    """SHA-256 of what tells a callable from others of its name; None where its module has but one of that name.

    Raises:
        Exception: whatever pickle says of an object that it cannot take.
    """
    if _is_found_by_name(value):
        return None
    return _digest(_parts(value) if isinstance(value, FunctionType) else value)


def _is_found_by_name(value: Any) -> bool:
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    for attribute in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, attribute, None)
    return found is value


def _parts(function: FunctionType) -> tuple[Any, ...]:
    """Of a lambda or an inner function, which pickle does not take: where it stands, and what it closes over."""
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return code.co_firstlineno, code.co_code, cells, function.__defaults__, function.__kwdefaults__


def _digest(value: Any) -> str:
    digest = hashlib.sha256()
    _Pickler(SimpleNamespace(write=digest.update), protocol=4).dump(value)
    return digest.hexdigest()


class _Pickler(pickle.Pickler):
    """Takes tensors by their values: torch's own pickles of them differ from process to process."""

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return None
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return str(value.dtype), tuple(value.shape), hashlib.sha256(content.data).hexdigest()
