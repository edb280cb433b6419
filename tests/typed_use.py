"""What users write, for `make types`: a type checker must take it, and know what comes back (FAULTS C14)."""

from __future__ import annotations

from typing import assert_type

import numpy as np

from point2mask_ot import PointTargets

assert_type(PointTargets([(1, 2)]).points_yx, np.ndarray)
targets = PointTargets([(1, 2), (3, 4)], target=[0, 1], category=(3, 4), is_thing=[True, False])
assert_type(targets.flip((20, 30)).category, np.ndarray)
