"""NumPy in, NumPy out; torch in, torch out, on the device of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from .checks import fail, fail_type

Array: TypeAlias = torch.Tensor | np.ndarray
"""What public functions take and return."""

Restore: TypeAlias = Callable[[torch.Tensor], Any]
"""Turns a tensor back into the family of the inputs."""


def as_tensors(function: str, **arguments: Array | None) -> tuple[list[torch.Tensor | None], Restore]:
    """View the array arguments of one call as tensors on one device.

    Args:
        function: public function named in error messages.
        arguments: its array arguments by name; ``None`` stays ``None``.

    Returns:
        The tensors in order of the arguments (sharing memory with the inputs where that is possible: treat
        them as read-only), and a function that turns a result tensor into the inputs' family.

    Raises:
        ArgumentTypeError: NumPy beside torch, something that is neither, or a dtype without a torch twin.
        ArgumentError: tensors on different devices.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, (np.ndarray, torch.Tensor)):
            fail_type(function, name, value, "a NumPy array or a torch tensor")
    numpy_names = [name for name, value in given.items() if isinstance(value, np.ndarray)]
    if numpy_names and len(numpy_names) < len(given):
        torch_name = next(name for name in given if name not in numpy_names)
        fail_type(
            function,
            numpy_names[0],
            given[numpy_names[0]],
            f"a torch tensor, as '{torch_name}' is: no mixing",
        )
    devices = {value.device for value in given.values() if isinstance(value, torch.Tensor)}
    if len(devices) > 1:
        fail(function, next(iter(given)), f"devices {sorted(map(str, devices))}", "all arguments on one device")
    tensors = [
        _from_numpy(function, name, value) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    ]
    return tensors, (_to_numpy if numpy_names else _identity)


def _from_numpy(function: str, name: str, array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 16 or array.dtype == np.longdouble:
        fail_type(function, name, array, "a numeric array of at most 64 bits")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    # torch warns about read-only memory although nothing here writes to it; a copy keeps the promise visible. It
    # refuses negative strides, which NumPy calls contiguous where the axis has a single entry.
    plain = np.ascontiguousarray(native)
    usable = plain.flags.writeable and min(plain.strides, default=0) >= 0
    return torch.from_numpy(plain if usable else plain.copy())


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def _identity(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def compute_dtype(tensor: torch.Tensor) -> torch.dtype:
    """float64 stays float64; half, bfloat16, float32 and integers are computed in float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
