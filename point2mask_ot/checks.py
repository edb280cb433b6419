"""What a public function refuses, and how it says so.

Every message names the function, the argument, what it got and what it expected.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import torch

Record = TypeVar("Record")


class ArgumentError(ValueError):
    """An argument that a public function refuses.

    Attributes:
        function: name of the public function.
        argument: name of the argument.
    """

    def __init__(self, function: str, argument: str, got: object, expected: str) -> None:
        super().__init__(f"{function}: argument '{argument}': got {got}; expected {expected}")
        self.function = function
        self.argument = argument

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...]]:
        return _again, (type(self), self.args, {"function": self.function, "argument": self.argument})


def _again(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """An error out of a pickle: by default it would be made from its message, which is not what it is made from."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument of the wrong kind: a string for a number, NumPy beside torch, an integer probability map."""


class FileError(ArgumentError):
    """A file that is missing, damaged, or at odds with another file."""


class ConvergenceWarning(RuntimeWarning):
    """A solver stopped before it reached its tolerance; its result says ``converged=False``."""


class BackgroundWarning(UserWarning):
    """Things alone share a whole picture, so that one of them has to own every pixel."""


class InputWarning(UserWarning):
    """Something in files or folders was left out, or taken otherwise than it stands there."""


@contextmanager
def in_the_name_of(function: str, *others: str) -> Iterator[None]:
    """What ``others`` refuse, as ``function`` refuses it, whose arguments have the same names."""
    try:
        yield
    except ArgumentError as error:
        if error.function in others:
            error.args = (function + str(error).removeprefix(error.function),)
            error.function = function
        raise


def fail(function: str, argument: str, got: object, expected: str) -> NoReturn:
    """Raise :class:`ArgumentError`."""
    raise ArgumentError(function, argument, got, expected)


def fail_type(function: str, argument: str, got: object, expected: str) -> NoReturn:
    """Raise :class:`ArgumentTypeError`; ``got`` is the offending value, shown by its type."""
    raise ArgumentTypeError(function, argument, f"{type(got).__name__} ({got!r:.80})", expected)


def require_all(
    function: str, argument: str, condition: torch.Tensor, got: str | Callable[[], str], expected: str
) -> None:
    """Refuse values unless every entry of ``condition`` is True, without making a device wait.

    On the CPU an :class:`ArgumentError`. Elsewhere, and in a compiled graph, nothing looks at the values: the work is
    queued with an assertion that the device makes, as PyTorch's own index checks are. If it fails, CUDA reports a
    device-side assert at the next call that waits, and the process can do no more work there.

    Args:
        function: public function named in the message.
        argument: its argument.
        condition: bool tensor of any shape.
        got: what the argument held instead, or a function that says so, called on the CPU only.
        expected: what it should hold.
    """
    import torch

    if not values_at_hand(condition):
        torch._assert_async(condition.all(), f"{function}: argument '{argument}': expected {expected}")
    elif not bool(condition.all()):
        fail(function, argument, got() if callable(got) else got, expected)


def values_at_hand(tensor: torch.Tensor) -> bool:
    """Whether looking at values makes nobody wait: on the CPU, outside a compiled graph."""
    import torch

    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def surely_all(condition: torch.Tensor) -> bool:
    """Whether every entry is True, where looking makes nobody wait; elsewhere nothing is sure."""
    return values_at_hand(condition) and bool(condition.all())


def refuse_masked(function: str, argument: str, value: object) -> None:
    """Refuse NumPy's masked arrays: their data would be taken and their mask forgotten."""
    import numpy as np  # the command line needs these checks before anything heavy

    if isinstance(value, np.ma.MaskedArray):
        got = f"a masked array with {int(np.ma.count_masked(value))} masked entries"
        raise ArgumentTypeError(function, argument, got, "a plain array (see its .filled())")


def refuse_sparse(function: str, argument: str, value: object) -> None:
    """Refuse tensors of another layout than the plain one; needs no torch, since what is no tensor has no layout."""
    layout = str(getattr(value, "layout", "torch.strided"))
    if layout != "torch.strided":
        fail(function, argument, f"a tensor of layout {layout}", "a dense tensor (.to_dense())")


def check_choice(function: str, argument: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value outside ``choices`` and suggest the nearest one."""
    names = list(choices)
    if isinstance(value, str) and value in names:
        return
    listed = "one of " + ", ".join(repr(name) for name in names)
    fail(function, argument, repr(value), listed + suggestion(value, names))


def suggestion(value: object, names: Iterable[str], likeness: float = 0.6) -> str:
    """``" (did you mean 'x'?)"`` for a near miss, else the empty string."""
    near = difflib.get_close_matches(value, list(names), n=1, cutoff=likeness) if isinstance(value, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def suggesting(record: type[Record]) -> type[Record]:
    """A dataclass that refuses an argument it does not have by suggesting the nearest; its signature stays."""
    init: Any = record.__init__
    known = [name for name in signature(init).parameters if name != "self"]

    @wraps(init)
    def made(self: Any, *values: Any, **named: Any) -> None:
        for name in named:
            if name not in known:
                expected = f"one of {', '.join(known)}{suggestion(name, known)}"
                raise ArgumentTypeError(record.__name__, name, "an unknown argument", expected)
        init(self, *values, **named)

    record.__init__ = made  # type: ignore[method-assign]
    return record


def check_number(
    function: str,
    argument: str,
    value: object,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
    maximum: float = math.inf,
    infinite: bool = False,
) -> float:
    """Return ``value`` as a float; refuse other types, NaN, infinity (unless allowed) and values out of range.

    Args:
        function: public function named in the message.
        argument: its argument.
        value: an int, float or anything with ``__float__`` that is not a string, bool or array.
        minimum: smallest value allowed.
        above: the value must be larger than this.
        maximum: largest value allowed.
        infinite: accept ``+inf``.
    """
    # What torch.compile(dynamic=True) traces passes for Python's own numbers, and has no attributes to ask for.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _check_foreign(function, argument, value)
    number = float(value)  # type: ignore[arg-type]
    is_allowed = -math.inf < number < math.inf or (infinite and number == math.inf)
    if not (is_allowed and number >= minimum and number > above and number <= maximum):
        bounds = [
            f">= {minimum:g}" if minimum > -math.inf else "",
            f"> {above:g}" if above > -math.inf else "",
            f"<= {maximum:g}" if maximum < math.inf else "",
        ]
        wanted = " and ".join(["a number" if infinite else "a finite number", *filter(None, bounds)])
        fail(function, argument, f"{number:g}", wanted)
    return number


def _check_foreign(function: str, argument: str, value: object) -> None:
    """Refuse what is no number of any kind, and what is to be learned: nothing would tell that it never moves."""
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__") or getattr(value, "ndim", None):
        fail_type(function, argument, value, "a number")
    if getattr(value, "requires_grad", False):
        import torch

        if torch.is_grad_enabled():
            fail(function, argument, "a tensor that requires a gradient", "a number, to which none goes: value.item()")


def check_integer(function: str, argument: str, value: object, *, minimum: int) -> int:
    """Return ``value`` as an int; refuse other types and values below ``minimum``."""
    if isinstance(value, bool) or not (isinstance(value, int) or hasattr(value, "__index__")):
        fail_type(function, argument, value, "an integer")
    number = int(value.__index__())
    if number < minimum:
        fail(function, argument, number, f"an integer >= {minimum}")
    return number
