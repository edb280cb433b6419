"""Settings of sizes that change nothing: somebody expects something of them that does not come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..checks import fail
from ..masks.config import PseudoMaskConfig
from ..masks.masker import PseudoMasker
from ..types import PointTargets
from ..typical import Typical, fill_sizes

_OF_SIZES = ("reach", "compactness")
"""Settings that touch things of known size, beside stuff that takes the rest."""


def refuse_idle_sizes(
    function: str,
    config: PseudoMaskConfig | str,
    changes: Mapping[str, Any],
    sizes: Any,
    typical: Mapping[int, Typical],
    pictures: Callable[[], Iterable[PointTargets]],
) -> None:
    """Refuse typical sizes where every thing has its own, and changes to a configuration that only sizes give a sense.

    Args:
        function: public function named in errors.
        config: what is changed.
        changes: values by field.
        sizes: as they were given.
        typical: size and spread by category that came of them.
        pictures: the targets of all pictures, with the sizes that the points tell.

    Raises:
        ArgumentError: naming the argument or the field.
    """
    if sizes and not any(_lack_sizes(targets, typical) for targets in pictures()):
        expected = "things whose size the points do not tell, or `sizes` left out"
        fail(function, "sizes", f"{sizes!r}, which has no effect", expected)
    before = PseudoMasker(config).config
    changed = [name for name in _OF_SIZES if name in changes and changes[name] != getattr(before, name)]
    if changed and not any(_bound_things(fill_sizes(targets, typical)) for targets in pictures()):
        expected = f"things with a size (in the points, or by `sizes`) beside stuff without, or `{changed[0]}` left out"
        fail(function, changed[0], f"{changes[changed[0]]!r}, which has no effect", expected)


def _lack_sizes(targets: PointTargets, typical: Mapping[int, Typical]) -> bool:
    lacking = targets.category[targets.is_thing & np.isnan(targets.size)]
    return bool(np.isin(lacking, list(typical)).any())


def _bound_things(targets: PointTargets) -> bool:
    return bool(np.isfinite(targets.size[targets.is_thing]).any() and targets.takes_rest.any())
