"""From one choice of entries to the next, until what is left out cannot matter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ..nearest.costs import Search
from .nearest_choice import Choice
from .newton import ROUGH, Semidual, ascend, ascend_to, maximise, polish, rough_sample
from .problem import ReadOut

_SEARCHES = 12
"""Choices of entries near the top."""
_STEPS = 40
"""The same on the way there."""
_TRIES = 12
"""Of those, after which the way is too long for steps of this reg."""
_PATIENCE = 40
"""Passes over samples, or while prices are rough."""
_NEAR = 3e-4
"""Marginal error at which prices move by less than a margin yet, as slow as they are over many suppliers."""
_FIT = 0.1
"""Bound above which entries are so far from the right ones that an exact solution is not worth the passes."""
_MARGIN = 0.5
"""Times reg: by how much prices are expected to move yet from near the top."""
_STRIDE = 8.0
"""The same from afar."""
_REACH = 16.0
"""Times reg: how far from the prices at which entries were chosen these are trusted. Beyond, what was left out would
have its say: a supplier that must give up all it holds finds no rival among the entries, and its price runs away."""
_NEIGHBOURS = 64
"""Suppliers that compete for a pixel, of those left out, when prices are rough; all may in the end."""


def _moves(choice: Choice, origin: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Of each price against most of the others: all may move alike."""
    moves = f - origin
    return moves - np.median(moves[choice.rows])  # type: ignore[no-any-return]


def _covers_most(passes: Any, f: np.ndarray, reg: float) -> bool:
    return passes.nearly_left_out(f, reg) <= _FIT * passes.demand.sum()


@dataclass
class Climb:
    """Where the solver stands: with which entries, at which potentials, after how many passes."""

    choice: Choice
    f: np.ndarray
    before: np.ndarray
    origin: np.ndarray
    """Potentials at which the entries were chosen."""
    passes: int = 0
    links: Any = None
    way: Any = 0.0
    """Of each price, when they were last held: 1 up, -1 down, 0 where it had not come to the limit."""
    times: Any = 1.0
    """How many times as far as at first each may go."""
    spent: int = 0
    """Passes that led nowhere, before it began anew with all pairs."""

    @classmethod
    def of(cls, choice: Choice) -> Climb:
        """At the prices at which the entries were chosen."""
        start = np.where(choice.a > 0, choice.costs.price, 0.0)
        return cls(choice, start, start, start)

    @property
    def left(self) -> int:
        """Passes that may be made yet."""
        return max(self.choice.options.max_iter - (self.passes - self.spent), 1)

    @property
    def patience(self) -> int:
        """Passes after which prices, where entries can be chosen anew, more likely run away than that they arrive."""
        return min(_PATIENCE, self.left)

    @property
    def dual(self) -> Semidual:
        """What Newton climbs, as far as the entries tell what it is."""
        choice = self.choice
        if choice.costs.search is None:
            return choice.dual

        def covers(passes: Any, f: np.ndarray, reg: float) -> bool:
            near = np.abs(_moves(choice, self.origin, f)) <= _REACH * reg
            return bool(near[choice.rows].all()) or _covers_most(passes, f, reg)

        return replace(choice.dual, covers=covers)

    def climb_roughly(self, reg: float) -> bool:
        """Prices that are good enough to search from, by Newton on a sample; whether the entries tell them."""
        choice = self.choice
        if choice.stranded == choice.total:
            return False
        if choice.options.method == "sinkhorn":
            _, self.f, made = choice.rounds(self.f, reg, ROUGH, self.patience)
            self.passes += made
            return not choice.absent.size and _covers_most(choice.passes, self.f, reg)
        dual = replace(self.dual, reg=reg)
        sample = rough_sample(dual)
        self.f, made = ascend(sample, self.f, ROUGH, _PATIENCE)
        self.passes += made if sample is dual else 0
        return not choice.absent.size and sample.covers(sample.passes, self.f, reg)

    def climb_to(self, tol: float, limit: int) -> bool:
        """Solve to a tolerance with the entries at hand, in ``limit`` passes; whether it got there, or none is left."""
        choice = self.choice
        if choice.stranded == choice.total:
            return False
        if choice.options.method == "sinkhorn":
            self.before, self.f, made = choice.rounds(self.f, choice.options.reg, tol, self.left)
            self.passes += made
            return True
        return self._climb(choice, 0.9 * tol, limit) or self.left <= 1  # the read-out rounds differently

    def _climb(self, choice: Choice, tol: float, limit: int) -> bool:
        done = False
        if self.links is not None:
            self.f, made, done = polish(self.dual, self.f, self.links, tol, limit)
            self.passes += made
        if not done and choice.costs.search is None and np.ptp(self.f[choice.rows]) == 0:
            self.f, made = maximise(choice.dual, tol, limit)
            self.passes += made
        elif not done:
            top, made = ascend_to(self.dual, self.f, tol, limit)
            self.f, self.links, done = top.f, top.links, top.error <= tol
            self.passes += made
        self.before = self.f
        return done

    def read_out(self) -> tuple[ReadOut, float]:
        """What the potentials mean, and the mass that pairs left out have at most."""
        choice = self.choice
        if choice.stranded == choice.total:
            K, N = len(choice.a), len(choice.b)
            plan = ReadOut(np.full(N, -math.inf), np.zeros(N, np.int64), 0.0, np.zeros(K), 0.0)
            return plan, float(choice.costs.floor.min() < math.inf)
        plan, left_out = choice.passes.certified(self.before, self.f, choice.options.reg, choice.demand)
        return plan, left_out / choice.total

    def choose(self, reg: float, left_out: float, margin: float, held: bool) -> None:
        """Choose entries anew, for the prices at hand and those a little away.

        Args:
            reg: entropy weight to solve with.
            left_out: mass that may be left out of them.
            margin: by how much prices may move yet, times reg.
            held: prices go no farther than the entries that they were found with are trusted.
        """
        choice = self.choice
        rivals = len(choice.rows) if left_out < _FIT else min(len(choice.rows), _NEIGHBOURS)
        window = reg * (math.log(2 * rivals / left_out) + margin)
        self.f = self._held(reg) if held else self.f.copy()
        self.f[choice.absent] += window
        price = choice.asking_price(self.f, window)
        del choice
        self._search(price, window)
        self.origin = self.f

    def _search(self, price: np.ndarray, window: float, *, again: bool = True) -> None:
        """Other entries, in the place of those at hand: both would take twice the memory. The first the caller holds.

        ``again`` says whether others may follow these.
        """
        search, problem = cast(Search, self.choice.costs.search), (self.choice.a, self.choice.b, self.choice.options)
        del self.choice
        found = search(price, window)
        self.choice = Choice(found if again else replace(found, search=None), *problem)

    def _held(self, reg: float) -> np.ndarray:
        """The prices, none farther from where entries were chosen than it may go, unless these cover it all the same.

        Who comes to the limit on the same way again may go twice as far each time. What is covered is most of the
        mass: a supplier may still fall without end where his entries know no rival.
        """
        choice = self.choice
        moves = _moves(choice, self.origin, self.f)
        if not choice.absent.size and _covers_most(choice.passes, self.f, reg):
            fallen = moves < -_REACH * reg
            if not fallen.any():
                return self.f.copy()
            least = choice.least_prices() + np.median((self.f - self.origin)[choice.rows])
            return np.where(fallen, np.maximum(self.f, least), self.f)
        limit = _REACH * reg * self.times
        way = np.where(np.abs(moves) >= 0.9 * _REACH * reg, np.sign(moves), 0.0)
        self.times = np.where((way != 0) & (way == self.way), 2.0 * self.times, 1.0)
        self.way = way
        return self.origin + np.clip(moves, -limit, limit)  # type: ignore[no-any-return]

    def take_all(self) -> None:
        """Begin anew with all pairs, where prices did not arrive with some: as a dense problem is solved."""
        self._search(np.zeros(len(self.f)), math.inf, again=False)
        self.f, self.links, self.spent = np.zeros(len(self.f)), None, self.passes


def refine(climb: Climb) -> tuple[ReadOut, float]:
    """Solve over the entries that are there, and choose anew until what is left out cannot matter.

    Returns:
        The plan where that ended, and the mass, over all of it, that pairs left out have at most.
    """
    options, can_search = climb.choice.options, climb.choice.costs.search is not None
    searches = _SEARCHES if can_search and options.tol > 0 else 0
    if searches:
        _approach(climb)
        if climb.choice.costs.floor.min() < math.inf:
            climb.choose(options.reg, options.bound, _MARGIN, held=False)
    while True:
        reached = climb.climb_to(options.tol, climb.patience if searches else climb.left)
        plan, bound = climb.read_out()
        done = bound <= options.bound and not climb.choice.absent.size
        if done or not searches or climb.passes >= options.max_iter:
            break
        # Prices that arrived moved by more than was expected, and will stay near; others ran out of the entries.
        climb.choose(options.reg, options.bound, _MARGIN if reached else _STRIDE, held=not reached)
        searches -= 1
    if not (done and reached) and can_search and options.method == "newton" and climb.choice.is_small:
        climb.take_all()
        climb.climb_to(options.tol, climb.left)
        plan, bound = climb.read_out()
    return plan, bound


def _approach(climb: Climb) -> None:
    """Prices near the top, and entries that matter at those: from one choice to the next, as far as it is trusted.

    Prices that do not arrive have far to go: a larger reg takes them there, with a window to match, and comes down
    again.
    """
    options = climb.choice.options
    own = reg = options.reg
    failed, rough = 0, True
    for _ in range(_STEPS):
        arrived = not rough or climb.climb_roughly(reg)
        if arrived and reg > own:
            reg, failed = max(reg / 4, own), 0
            continue
        rough = not arrived  # once is enough: a sample knows small suppliers badly
        if arrived and climb.climb_to(max(_NEAR, options.tol), climb.patience):
            return
        failed += 1
        if failed > _TRIES:
            reg, rough = 3 * reg, True
        climb.choose(reg, _FIT, _STRIDE, held=True)
