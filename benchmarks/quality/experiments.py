"""Named sets of methods: the comparison with peers, and the paper's ablations, each next to the paper's numbers.

The paper's figures are PQ of a trained network on VOC; here they are the masks' own IoU, without any network. What
can be compared is the order of the rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from unittest import mock

import torch
from hints import told, typical
from methods import BASELINE, METHODS, Answer, Method, point2mask, true_capacities
from protocols import Problem

from point2mask_ot import PointTargets
from point2mask_ot.masks import ownership, stages
from point2mask_ot.types import SIZE_ERROR

_PAPER = {"preset": "paper", "stride": 1}
_CONVERGED = {**_PAPER, "method": "newton", "reg": 1e-2, "tol": 1e-7, "max_iter": None, "typical_cost": 10.0}
_full = partial(point2mask, **_PAPER)
_converged = partial(point2mask, **_CONVERGED)
_minimum = METHODS[BASELINE]


def _without(maps: tuple[str, ...], method: Method) -> Method:
    def changed(problem: Problem, targets: PointTargets) -> Answer:
        return method(replace(problem, **{name: getattr(problem, name) * 0 for name in maps}), targets)

    return changed


def _hinted(problem: Problem, targets: PointTargets, off: float, error: float, **overrides: object) -> Answer:
    return point2mask(problem, told(problem, targets, off, error), **overrides)


def _of_class(problem: Problem, targets: PointTargets, **overrides: object) -> Answer:
    return point2mask(problem, typical(problem, targets), **overrides)


def _bordered(problem: Problem, targets: PointTargets, off: float | None = None, error: float = SIZE_ERROR) -> Answer:
    """With the rim as background, where there is a background at all."""
    border = "free" if targets.is_thing.all() else "background"
    if off is None:
        return point2mask(problem, targets, border=border)
    return _hinted(problem, targets, off, error, border=border)


def _unasked(problem: Problem, targets: PointTargets) -> Answer:
    """The same masks by the same steps, without how sure they are: for its time."""
    with (
        mock.patch.object(stages, "_if_border_is_background", lambda scenes: [None] * len(scenes)),
        mock.patch.object(ownership, "agreement", lambda found, *_: torch.zeros(len(found.suppliers)).double()),
    ):
        answer = point2mask(problem, targets)
    return Answer(answer.labels)


_OFF = {"exact": 1.0, "x/ 1.35": 1.35, "x/ 2": 2.0}

TABLES: dict[str, dict[str, Method]] = {
    "peers": METHODS,
    # Table 3: which maps make the cost. Colours stand for the semantic map, the gradient for the boundary.
    "maps": {
        BASELINE: _minimum,
        "colours alone": _without(("gradient",), _converged),
        "gradient alone": _without(("lab",), _converged),
        "colours and gradient": _converged,
        "neither: steps alone": _without(("lab", "gradient"), _converged),
    },
    # Table 5: the rule for the capacities, with the solver of the paper and with a converged one.
    "capacity": {
        BASELINE: _minimum,
        **{f"{rule}, 80 rounds": partial(_full, capacity=rule) for rule in ("equal", "nearest", "centroid")},
        **{f"{rule}, converged": partial(_converged, capacity=rule) for rule in ("equal", "nearest", "centroid")},
        "true, 80 rounds": partial(true_capacities, **_PAPER),
        "true, converged": partial(true_capacities, **_CONVERGED),
    },
    # Table 6: centroid rounds.
    "centroid-rounds": {
        BASELINE: _minimum,
        **{f"{rounds} rounds": partial(_converged, centroid_rounds=rounds) for rounds in (1, 2, 3, 4, 8)},
    },
    # Table 7: minimum cost against transport.
    "transport": {
        BASELINE: _minimum,
        "transport, stride 16, 80 rounds": METHODS["paper, stride 16"],
        "transport, 80 rounds": _full,
        "transport, converged": _converged,
        "transport, exact": partial(_converged, method="exact"),
    },
    # Table A2: Sinkhorn rounds.
    "sinkhorn-rounds": {
        BASELINE: _minimum,
        **{f"{rounds} rounds": partial(_full, max_iter=rounds) for rounds in (20, 50, 80, 100, 1000)},
        "converged": _converged,
    },
    # Hints of size, off by a factor; "told" says that the method knows by how much, else it takes SIZE_ERROR.
    "sizes": {
        BASELINE: _minimum,
        "best": point2mask,
        **{f"sizes {name}": partial(_hinted, off=off, error=SIZE_ERROR) for name, off in _OFF.items()},
        "sizes x/ 2, told": partial(_hinted, off=2.0, error=2.0),
        **{f"sizes {name}, obeyed": partial(_hinted, off=off, error=1.0) for name, off in _OFF.items()},
        "sizes x/ 1.35, not compact": partial(_hinted, off=1.35, error=SIZE_ERROR, compactness=0.0),
        "sizes x/ 1.35, not compact, reach 2": partial(_hinted, off=1.35, error=SIZE_ERROR, compactness=0.0, reach=2.0),
        "typical size of the class": _of_class,
        "border": _bordered,
        **{f"border, sizes {name}": partial(_bordered, off=off) for name, off in _OFF.items()},
        "border, sizes x/ 2, told": partial(_bordered, off=2.0, error=2.0),
    },
    # How sure each mask is, against its IoU; and what it costs to know that.
    "confidence": {
        "best, nobody asks": _unasked,
        "best": point2mask,
        "sizes x/ 1.35": partial(_hinted, off=1.35, error=SIZE_ERROR),
    },
    # Table A3: beta, the weight of the boundary in Eq. 3.
    "beta": {
        BASELINE: _minimum,
        **{f"beta {beta:g}": partial(_converged, beta=beta) for beta in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)},
    },
}
BASELINES = {"sizes": "best", "confidence": "best, nobody asks"}
"""What the rows of a table are compared with, where that is not the minimum cost."""
