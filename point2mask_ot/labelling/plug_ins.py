"""Maps from a callable: ``module:function`` or ``module:Class:argument``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..checks import ArgumentError, fail, fail_type
from ..panoptic import Category, LabelledPoints
from .settings import MapFunction

_NAME = "label_dataset"
_PLUG_IN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(:.+)?")


def is_plug_in(maps: str) -> bool:
    """``module:function`` or ``module:Class:argument``, as opposed to a folder or a file."""
    return bool(_PLUG_IN.fullmatch(maps)) and not os.path.exists(maps)


def plug_in_parts(name: str) -> tuple[str, str, str | None]:
    """Module, attribute and argument."""
    module, attribute, *argument = name.split(":", 2)
    return module, attribute, argument[0] if argument else None


def load_plug_in(name: str, *, function: str = _NAME) -> MapFunction:
    """The callable that ``module:function`` names; a class is called once, with its argument if any.

    Args:
        name: of the plug-in.
        function: public function named in errors.

    Raises:
        ArgumentError: no such module or name, nothing that can be called, an argument for what is no class, or
            whatever the module or the class raises.
    """
    module_name, attributes, argument = plug_in_parts(name)
    here = os.getcwd()
    sys.path.insert(0, here)  # as with `python -m`, a plug-in may lie in the folder that one works in
    try:
        with refusing(function, name, "module:function that can be imported, or a folder"):
            found: Any = importlib.import_module(module_name)
            for attribute in attributes.split("."):
                found = getattr(found, attribute)
    finally:
        sys.path.remove(here)
    if argument is not None and not isinstance(found, type):
        fail(function, "maps", repr(name), "a class where an argument follows it")
    plug_in = found
    if isinstance(found, type):  # there may be no file of weights, or half of one
        with refusing(function, name, "a class that can be made" + ("" if argument is None else " from its argument")):
            plug_in = found() if argument is None else found(argument)
    if not callable(plug_in):
        fail_type(function, "maps", plug_in, f"a callable under the name {name!r}")
    return plug_in


def takes_points(maps: MapFunction) -> Literal["second", "by name"] | None:
    """How it takes the points: as its second parameter, if that is called ``points``, or as one by name alone."""
    try:
        parameters = list(inspect.signature(maps).parameters.values())
    except (TypeError, ValueError):  # a builtin that does not tell
        return None
    if isinstance(maps, partial) and "points" in maps.keywords:  # it has its own
        return None
    named = [each.kind for each in parameters if each.name == "points"]
    if named == [inspect.Parameter.KEYWORD_ONLY]:
        return "by name"
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [each.name for each in parameters[1:2] if each.kind in by_position]
    return "second" if second == ["points"] else None


def call_plug_in(maps: MapFunction, picture: np.ndarray, points: LabelledPoints) -> Mapping[str, Any]:
    """Its maps of a picture, of which it may change its own copy."""
    match takes_points(maps):
        case "second":
            return maps(picture.copy(), points)
        case "by name":
            return maps(picture.copy(), points=points)
    return maps(picture.copy())


def check_channels(maps: Any, categories: Sequence[Category], *, function: str = _NAME) -> None:
    """Refuse a plug-in whose attribute ``categories``, if it has one, is not what the points are of, in their order."""
    said, wanted = ([(c.id, c.name, c.is_thing) for c in of] for of in (getattr(maps, "categories", ()), categories))
    if said and said != wanted:
        got = f"maps whose channels are the (id, name, is_thing) {said}"
        fail(function, "maps", got, f"those of the points: {wanted}")


@contextmanager
def refusing(function: str, name: str, expected: str) -> Iterator[None]:
    """Whatever a plug-in's own code raises is a refusal of it.

    Raises:
        ArgumentError: of the argument ``maps`` of ``function``, in place of the error.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        told = f"{name!r}: {type(error).__name__}: {' '.join(str(error).split()):.1000}"
        raise ArgumentError(function, "maps", told, expected) from error


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
