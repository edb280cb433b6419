"""What the operators of distances and transport ask of torch and Triton."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from importlib.util import find_spec

import torch

OLDEST_TRITON = (3, 2)

# Their tables are uploaded from memory of the host, which a replayed CUDA graph would read when others use it.
OUTSIDE_CUDA_GRAPHS = tuple(getattr(torch.Tag, name) for name in ("cudagraph_unsafe",) if hasattr(torch.Tag, name))


@cache
def has_triton() -> bool:
    """Whether a Triton that can run the kernels is installed."""
    if find_spec("triton") is None:
        return False
    try:
        version = metadata.version("triton")
    except metadata.PackageNotFoundError:  # torch's nightly builds bring one under another name
        return True
    return tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_TRITON
