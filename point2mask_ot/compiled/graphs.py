"""What ``torch.compile`` leaves alone. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def outside_graphs(function: Function) -> Function:
    """``torch.compiler.disable`` for a function that runs on the host, such as compiled kernels between operators: a
    compiled step calls it as it is, and goes on compiled behind it.

    Decided at each call, since torch's decorator imports torch._dynamo, which who compiles nothing does without.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        import torch

        return torch.compiler.disable(function)(*args, **kwargs)

    return call  # type: ignore[return-value]
