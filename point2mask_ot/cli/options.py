"""From a dataclass to the options of a command."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, is_dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, Union, get_args, get_origin, get_type_hints

import tyro

from ..checks import suggestion

_MARKERS = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.DisallowNone,
)
_METAVARS: Mapping[Any, str] = {int: "INT", float: "FLOAT", tuple[float, float]: "LOW HIGH"}


@dataclass(frozen=True)
class Option:
    """Stands in the annotation of a field that is not just an option of its own name, or in its ``metadata``.

    Attributes:
        name: of the option.
        says: what else it is called below: ``"function"`` or ``"function.argument"``.
        of: record and field whose help and default it has.
        either: a group of options (:func:`tyro.conf.create_mutex_group`) of which one is given.
        positional: without a name on the command line.
        many: may be given again, for another value each time.
        hidden: no option at all; the field keeps its default.
    """

    name: str | None = None
    says: tuple[str, ...] = ()
    of: tuple[type, str] | None = None
    either: object = None
    positional: bool = False
    many: bool = False
    hidden: bool = False


class Commands(NamedTuple):
    """Commands by name: records with a method ``run``, or commands again; and what ``--version`` says, if anything."""

    purpose: str
    named: Mapping[str, Any]
    version: str = ""


def choose(commands: Commands, prog: str, words: list[str]) -> tuple[Any, str, list[str]]:
    """The record of the command that a command line names, the command's whole name, and the words that follow it.

    Raises:
        SystemExit: after ``--help`` or ``--version``, or a message on standard error.
    """
    if not words or words[0] not in commands.named:
        near = suggestion(words[0], commands.named) if words else ""
        if near:
            _refuse(f"{prog}: no command {words[0]!r}{near}")
        if commands.version and words[:1] == ["--version"]:
            print(commands.version)
            raise SystemExit
        tyro.cli(_listing(commands), prog=prog, description=commands.purpose, args=words, config=_MARKERS)
    name, *rest = words
    found, prog = commands.named[name], f"{prog} {name}"
    return choose(found, prog, rest) if isinstance(found, Commands) else (found, prog, rest)


def _listing(commands: Commands) -> Any:
    """What tyro needs to list the commands, and to say that there is no such one."""
    kinds = []
    for name, found in commands.named.items():
        purpose = found.purpose if isinstance(found, Commands) else str(inspect.getdoc(found)).partition("\n")[0]
        kinds.append(
            Annotated[dataclasses.make_dataclass("Command", ()), tyro.conf.subcommand(name, description=purpose)]
        )
    listed: list[Any] = [("command", Union[tuple(kinds)])]  # noqa: UP007  # made of a list
    if commands.version:
        flag = tyro.conf.arg(help="Show the version and exit", help_behavior_hint="")
        listed.append(("version", Annotated[bool, flag], False))
    return dataclasses.make_dataclass("Listed", listed)


def parse(record: Any, prog: str, words: list[str]) -> Any:
    """The record that a command line stands for.

    A field is an option, the string below it the help, a field that is a record a group of options. Choices are shown,
    and left to be refused by the functions below, which suggest the nearest.

    Raises:
        SystemExit: after ``--help``, or a message on standard error.
    """
    _check_names(record, prog, words)
    purpose, *more = (inspect.getdoc(record) or "").split("\n\n")
    # Indented, or tyro would join the lines and leave them so.
    details = (textwrap.indent(textwrap.fill(" ".join(text.split()), 78), "  ") for text in more)
    description = "\n".join([purpose, *details])
    return _made(record, tyro.cli(_mirror(record), prog=prog, description=description, args=words, config=_MARKERS))


def _check_names(record: Any, prog: str, words: list[str]) -> None:
    """Refuse an option given twice, of which tyro takes the last, and one that is nearly another one.

    tyro suggests as well, but not what it misses at the same time.
    """
    known = {"--help": False, **dict(_names(record))}
    given = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    for name in () if "--help" in given else given:
        near = "" if name in known else suggestion(name, known)
        if near:
            _refuse(f"{prog}: no option {name!r}{near}")
        if given.count(name) > 1 and not known.get(name):
            _refuse(f"{prog}: {name}: given {given.count(name)} times; expected once")


def _names(record: Any) -> Iterator[tuple[str, bool]]:
    """The options of a record as a person types them, and whether one may be given again."""
    for name, kind, option, _ in fields_of(record):
        if is_dataclass(kind):
            yield from _names(kind)
        elif not (option.hidden or option.positional):
            yield "--" + (option.name or name).replace("_", "-"), option.many


def _refuse(text: str) -> NoReturn:
    """Say what is wrong with a command line, and end."""
    print(text, file=sys.stderr)
    raise SystemExit(2)


def _mirror(record: Any) -> Any:
    """The dataclass that tyro is given: of the same fields, with all that it cannot find out by itself."""
    docs, mirrored = _docs(record), []
    for name, kind, option, default in fields_of(record):
        if option.hidden:
            continue
        if is_dataclass(kind):
            group: Any = _mirror(kind)
            mirrored.append((name, group, dataclasses.field(default=group())))
        else:
            help = docs[name] if option.of is None else _docs(option.of[0])[option.of[1]]
            mirrored.append((name, _annotated(name, kind, option, default, help), dataclasses.field(default=default)))
    return dataclasses.make_dataclass(
        record.__name__, mirrored, frozen=True, kw_only=True, namespace={"__doc__": inspect.getdoc(record)}
    )


def fields_of(record: Any) -> Iterator[tuple[str, Any, Option, Any]]:
    """Name, type, option and default of each field."""
    hints = get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        hint, default = hints[field.name], field.default
        kind, option = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, Option(**field.metadata))
        if option.of is not None and default is MISSING:
            default = next(other for name, _, _, other in fields_of(option.of[0]) if name == option.of[1])
        yield field.name, kind, option, default


def _annotated(name: str, kind: Any, option: Option, default: Any, help: str) -> Any:
    """The type of an option, with its name, its help, and what stands for its value there."""
    is_union = get_origin(kind) in (Union, UnionType)
    kinds = [one for one in (get_args(kind) if is_union else [kind]) if one is not NoneType]
    one = kinds[0]  # what else the field takes has no form on a command line
    if get_origin(one) is Literal:
        one, metavar = str, "{" + ",".join(get_args(one)) + "}"
    else:
        is_path = any(of is Path or get_origin(of) is os.PathLike for of in kinds)
        metavar = "PATH" if is_path else _METAVARS.get(one, (option.name or name).upper())
    argument = tyro.conf.arg(
        name=option.name,
        help=help.removesuffix("."),
        metavar=name.upper() if option.positional else None if kind is bool else metavar,
        help_behavior_hint=""
        if default in (MISSING, None, "", ()) or default is False
        else lambda shown: f"(default: {shown})",
    )
    marks = [argument, option.either]
    marks += [tyro.conf.Positional] * option.positional + [tyro.conf.UseAppendAction] * option.many
    annotated: Any = Union[one, None] if default is None else one  # noqa: UP007  # known at run time only
    for mark in marks:
        annotated = annotated if mark is None else Annotated[annotated, mark]
    return annotated


def _docs(record: Any) -> dict[str, str]:
    """The first paragraph of the string below each field."""
    docs: dict[str, str] = {}
    bases: list[Any] = [base for base in reversed(record.__mro__) if is_dataclass(base)]
    for base in bases:
        definition: Any = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        for field, below in pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return docs


def _made(record: Any, mirror: Any) -> Any:
    """The record with the values of its mirror."""
    kinds = {name: kind for name, kind, option, _ in fields_of(record) if not option.hidden}
    values = {name: getattr(mirror, name) for name in kinds}
    return record(**{n: _made(kinds[n], value) if is_dataclass(kinds[n]) else value for n, value in values.items()})
