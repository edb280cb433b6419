"""Compiles the Triton kernels of the transport for a GPU that need not be there; prints the stack that each uses.

A stack means registers that did not suffice. Run by tests/test_transport_gpu.py, outside Triton's interpreter.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from point2mask_ot.transport.gpu import checks, kernels, launch, newton, small

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
INTEGERS = {"tables", "labels", "wanted"}
COUNTS = {"limit"}


def stack(kernel, capability, launch, types):
    """Bytes of stack of a thread of the compiled kernel."""
    launch = {"num_warps": 4, "enable_fp_fusion": False, **launch}
    options = {name: launch.pop(name) for name in ("num_warps", "enable_fp_fusion")}
    signature = {}
    for name in kernel.arg_names:
        integer = "i32" if name in COUNTS else "*i64" if name in INTEGERS else "*fp64"
        signature[name] = "constexpr" if name in launch else types.get(name, integer)
    source = ASTSource(fn=kernel, signature=signature, constexprs=launch)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        report = subprocess.run([CUOBJDUMP, "--dump-resource-usage", file.name], capture_output=True, text=True)
    return int(re.search(r"STACK:(\d+)", report.stdout)[1])


def main(capability):
    single, double = torch.float32, torch.float64
    tile, M = launch.Tile.of(50), {"M": "*fp32"}
    inspected = {**M, "reached": "*i32"}
    rows = {"ROWS": tile.rows}
    compiled = [
        (kernels.weigh, {**tile.launch(single), "STOPS": True}, {**M, "partials": "*fp32"}),
        (kernels.weigh, {**tile.launch(double), "STOPS": False}, {}),
        (kernels.update, {**rows, "CHUNK": 256, "SOFT": True, "STOPS": True}, {**M, "partials": "*fp32"}),
        (kernels.update, {**rows, "CHUNK": 256, "SOFT": False, "STOPS": False}, {}),
        (small.all_rounds, {**tile.alone(single), "SOFT": True, "real": tl.float32}, M),
        (kernels.read_out, tile.launch(double), M),
        (kernels.finish, {**rows, "CHUNK": 32, "SOFT": True, "num_warps": 8}, {}),
        (checks.inspect, tile.launch(single), inspected),
        (checks.balance, {**rows, "CHUNK": 256}, inspected),
        (newton.links, {"ROWS": 64, "BLOCK": 32, "ROW_TILES": 2, "num_warps": 8}, {**M, "out": "*fp32"}),
        (newton.log_masses, {"CHUNK": 256}, M),
    ]
    for kernel, options, types in compiled:
        print(kernel.__name__, options, stack(kernel, capability, options, types))


if __name__ == "__main__":
    main(int(sys.argv[1]))
