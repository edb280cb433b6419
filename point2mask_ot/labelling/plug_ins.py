"""Maps from a callable: ``module:function`` or ``module:Class:argument``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checks import ArgumentError, fail, fail_type
from ..panoptic import Category
from .settings import MapFunction

_NAME = "label_dataset"
_PLUG_IN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(:.+)?")


def is_plug_in(maps: str) -> bool:
    """``module:function`` or ``module:Class:argument``, as opposed to a folder."""
    return bool(_PLUG_IN.fullmatch(maps)) and not os.path.isdir(maps)


def plug_in_parts(name: str) -> tuple[str, str, str | None]:
    """Module, attribute and argument."""
    module, attribute, *argument = name.split(":", 2)
    return module, attribute, argument[0] if argument else None


def load_plug_in(name: str) -> MapFunction:
    """The callable that ``module:function`` names; a class is called once, with its argument if any.

    Raises:
        ArgumentError: no such module or name, nothing that can be called, an argument for what is no class, or
            whatever the module or the class raises.
    """
    module_name, attributes, argument = plug_in_parts(name)
    here = os.getcwd()
    sys.path.insert(0, here)  # as with `python -m`, a plug-in may lie in the folder that one works in
    try:
        found: Any = importlib.import_module(module_name)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except MemoryError:
        raise
    except Exception as error:  # its own code runs
        expected = "module:function that can be imported, or a folder"
        raise ArgumentError(_NAME, "maps", _told(name, error), expected) from error
    finally:
        sys.path.remove(here)
    if argument is not None and not isinstance(found, type):
        fail(_NAME, "maps", repr(name), "a class where an argument follows it")
    function = _made(name, found, argument) if isinstance(found, type) else found
    if not callable(function):
        fail_type(_NAME, "maps", function, f"a callable under the name {name!r}")
    return function


def check_channels(maps: Any, categories: Sequence[Category]) -> None:
    """Refuse a plug-in whose attribute ``categories``, if it has one, is not what the points are of, in their order."""
    said, wanted = ([(c.id, c.name, c.is_thing) for c in of] for of in (getattr(maps, "categories", ()), categories))
    if said and said != wanted:
        fail(
            _NAME, "maps", f"maps whose channels are the (id, name, is_thing) {said}", f"those of the points: {wanted}"
        )


def _made(name: str, kind: type, argument: str | None) -> Any:
    try:
        return kind() if argument is None else kind(argument)
    except MemoryError:
        raise
    except Exception as error:  # no file of weights, or half of one
        expected = "a class that can be made" + (" from its argument" if argument is not None else "")
        raise ArgumentError(_NAME, "maps", _told(name, error), expected) from error


def _told(name: str, error: Exception) -> str:
    return f"{name!r}: {type(error).__name__}: {' '.join(str(error).split()):.1000}"


def plug_in_source(module: str) -> Path | None:
    """The file of a plug-in's module, without importing it (its package is imported)."""
    sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    finally:
        sys.path.pop(0)
    return Path(spec.origin) if spec and spec.origin and os.path.isfile(spec.origin) else None
