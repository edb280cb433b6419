"""NumPy in, NumPy out; torch in, torch out, on the device of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from .checks import ArgumentTypeError, fail, fail_type, refuse_masked, refuse_sparse

Array: TypeAlias = torch.Tensor | np.ndarray
"""What public functions take and return."""

Restore: TypeAlias = Callable[[torch.Tensor], Any]
"""Turns a tensor back into the family of the inputs."""


def as_tensors(function: str, **arguments: Array) -> tuple[list[torch.Tensor], Restore]:
    """View the array arguments of one call as tensors on one device.

    Args:
        function: public function named in error messages.
        arguments: its array arguments by name.

    Returns:
        The tensors in order of the arguments (sharing memory with the inputs where that is possible: treat
        them as read-only), and a function that turns a result tensor into the inputs' family.

    Raises:
        ArgumentTypeError: NumPy beside torch, something that is neither, a masked array, or a dtype without a torch
            twin.
        ArgumentError: tensors on different devices, sparse ones, or those of the meta device.
    """
    numpy_names = []
    for name, value in arguments.items():
        if isinstance(value, np.ndarray):
            refuse_masked(function, name, value)
            numpy_names.append(name)
        elif isinstance(value, torch.Tensor):
            _refuse_valueless(function, name, value)
        else:
            fail_type(function, name, value, "a NumPy array or a torch tensor")
    if numpy_names and len(numpy_names) < len(arguments):
        torch_name = next(name for name in arguments if name not in numpy_names)
        expected = f"a torch tensor, as '{torch_name}' is: no mixing"
        fail_type(function, numpy_names[0], arguments[numpy_names[0]], expected)
    devices = {value.device for value in arguments.values() if isinstance(value, torch.Tensor)}
    if len(devices) > 1:
        got = f"devices {sorted(map(str, devices))}"
        fail(function, next(iter(arguments)), got, "all arguments on one device")
    tensors = [
        _from_numpy(function, name, value) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    ]
    return tensors, (_to_numpy if numpy_names else _identity)


def as_optional_tensors(function: str, **arguments: Array | None) -> tuple[list[torch.Tensor | None], Restore]:
    """As :func:`as_tensors`; an argument that is None stays None."""
    given = {name: value for name, value in arguments.items() if value is not None}
    tensors, restore = as_tensors(function, **given)
    by_name = dict(zip(given, tensors, strict=True))
    return [by_name.get(name) for name in arguments], restore


def check_floating(function: str, argument: str, tensor: torch.Tensor) -> None:
    """Refuse integer, bool and complex maps."""
    if not tensor.is_floating_point():
        got = f"dtype {str(tensor.dtype).removeprefix('torch.')}"
        raise ArgumentTypeError(function, argument, got, "a floating-point array")


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy of a small host array on ``device``, without waiting for a GPU: it goes through pinned memory."""
    tensor = torch.from_numpy(array.copy())
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _refuse_valueless(function: str, name: str, tensor: torch.Tensor) -> None:
    refuse_sparse(function, name, tensor)
    if tensor.device.type == "meta":
        fail(function, name, "a tensor on the meta device", "a tensor that holds values")


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
