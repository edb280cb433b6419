"""Run by `make wheel` with the interpreter of an empty environment: the installed package works on its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

start = time.perf_counter()
import point2mask_ot  # noqa: E402

seconds = time.perf_counter() - start
checkout = Path(sys.argv[1])
home = Path(point2mask_ot.__file__)
assert checkout / "point2mask_ot" not in home.parents, f"imported from the checkout: {home}"
assert "torch" not in sys.modules, "import point2mask_ot pulled torch"
assert (home.parent / "py.typed").is_file(), "py.typed is missing from the wheel"
assert not (home.parent.parent / "tests").exists(), "tests are in the wheel"
for name in point2mask_ot.__all__:
    getattr(point2mask_ot, name)

import numpy as np  # noqa: E402

boundary = np.zeros((1, 12, 20), np.float32)
boundary[0, :, 10] = 1
targets = point2mask_ot.PointTargets([(6, 3), (6, 16)])
masks = point2mask_ot.PseudoMasker("best", stuff="supply")(None, boundary, targets)
assert masks.masks[0, 6, 3]
assert masks.masks[1, 6, 16]
print(f"point2mask-ot {point2mask_ot.__version__} works from {home.parent} (imported in {seconds:.3f} s)")
