"""The loop for steps, directions and projections that users write; `graddesc.cython_descent` is its twin in C.

A direction (`graddesc.directions`) turns gradients into a ray, a step rule (`graddesc.schedules`,
`graddesc.line_search`) the ray into the next point; both are told the displacement that happened, after any projection.
The loop watches for the stops and keeps the best point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import box
from graddesc.descent.objective import OTHER_POINT, ROUNDING_UNITS, Objective
from graddesc.descent.region import Region
from graddesc.directions import Steepest, TwoLoops, _Direction
from graddesc.endings import Ending
from graddesc.line_search.exact import ExactLineSearch
from graddesc.line_search.ray import RETREAT, Move, NoStep, Ray, Trial, finite_trial, follow, no_step

_Vector: TypeAlias = NDArray[np.float64]

# After so many iterations in which neither the value nor the gradient has reached a new low, a search is at the level
# of rounding or noise. Non-monotone rules need less than that to come down again.
PATIENCE = 100
# The same where gradients are differences, which noise reaches first.
PATIENCE_BY_VALUES = 30
# And after so many times as many gradients, where a search takes many trials.
GRADIENTS_EACH = 5
# Whether the gradient contradicts the values is looked at after an inexact search of so many values. The run ends after
# so many in a row in which it does.
LABORIOUS = 40
# Values contradict a slope that they are further from than this share of it.
CONTRADICTED_SHARE = 0.25
CONTRADICTIONS = 3
# A gradient is at a new low when it is smaller than this share of the last one that was.
LOWER_SHARE = 0.99
# Values tell of curvature where their rounding, so many times, is less than what the gradients tell.
EXCESS_CLEARANCE = 30.0
# A value this many times as far below zero as the value, or gradient and variables, are large at the start is without
# bound.
UNBOUNDED_FALL = 1e20


class Stops(NamedTuple):
    """When a run ends; as the parameters of `graddesc.minimize`, each with a value."""

    tol: float
    xtol: float
    ftol: float
    target: float
    max_time: float
    maxiter: int
    maxfun: int


class _Ended(Exception):
    """An evaluation has ended the run: at a trial that becomes the iterate, or at none."""

    def __init__(self, ending: Ending, trial: Trial | None = None) -> None:
        super().__init__()
        self.ending = ending
        self.trial = trial


class Evaluations:
    """The trials of a run: evaluated, watched, and the best one kept."""

    def __init__(self, objective: Objective, region: Region, stops: Stops) -> None:
        self.region = region
        self.best: Trial | None = None
        self.floor = -math.inf
        # The value at the start, if that is not finite.
        self.not_finite = math.nan
        self._objective = objective
        self._stops = stops

    @property
    def rounding(self) -> float:
        """How far values may differ by rounding, relative to themselves."""
        return self._objective.rounding

    def trial(self, alpha: float, x: _Vector, linear: float) -> Trial:
        """Evaluate a point as a candidate; raise what has ended the run."""
        objective = self._objective
        if objective.nfev >= self._stops.maxfun:
            raise _Ended(Ending.EVALUATIONS)
        f = objective.value(x.copy())
        if self.best is None:
            self.not_finite = f
        trial = Trial(alpha, x, f if -math.inf < f < math.inf else math.inf, objective.came_along(), linear)
        if trial.f < math.inf and (self.best is None or f < self.best.f):
            self.best = trial
            if f <= self._stops.target:
                raise _Ended(Ending.TARGET, trial)
            if f < self.floor:
                raise _Ended(Ending.UNBOUNDED, trial)
        if objective.ended is not None:
            raise _Ended(objective.ended)
        return trial

    def gradient(self, trial: Trial) -> _Vector:
        """Return the gradient at a trial, evaluated unless it is known; NaN where nothing is left for differences."""
        if trial.g is None:
            g = self._objective.gradient(trial.x.copy(), trial.f, OTHER_POINT)
            trial.g = np.full_like(trial.x, math.nan) if g is None else g
        return trial.g

    def measure(self, trial: Trial) -> float:
        """Return the largest component of the projected gradient at a trial, infinity where it is not finite."""
        if trial.scale is None:
            trial.scale = self.region.measure(trial.x, self.gradient(trial))
        return trial.scale

    def value_beside(self, x: _Vector) -> float:
        """Evaluate a point that is no candidate; NaN if no evaluation is left."""
        return math.nan if self._objective.nfev >= self._stops.maxfun else self._objective.value(x, candidate=False)


class Run:
    """One descent.

    Parameters
    ----------
    objective, region, step, direction, stops : as of `graddesc.minimize`
        What is minimised, where, how, and until when.
    arrive : callable or None
        ``arrive(x, f, g, scale, alpha, nit, nfev, njev)`` is told of every iterate, the start first, and returns
        whether that is the end.
    """

    def __init__(
        self,
        objective: Objective,
        region: Region,
        step: Any,
        direction: _Direction,
        stops: Stops,
        arrive: Callable[..., bool] | None,
    ) -> None:
        self.evaluations = Evaluations(objective, region, stops)
        self.nit = 0
        self._objective = objective
        self._region = region
        self._stops = stops
        self._arrive = arrive
        self._searches = hasattr(step, "begin")
        self._look = step.begin() if self._searches else follow(step)
        self._turn = direction.begin()
        self._scaled = direction.scaled
        self._steepest = isinstance(direction, Steepest)
        # Whether anyone asks how the gradient has changed: the steepest direction and a schedule do not.
        self._learns = self._searches or not self._steepest
        self._current: Trial | None = None
        self._lowest: Trial | None = None
        # The value and the gradient that count as improved upon, and for how many iterations neither has been.
        self._low = self._flattest = math.inf
        self._idle = self._njev_then = 0
        self._nfev_then = self._contradictions = 0
        self._may_contradict = self._searches and objective.comparable and not isinstance(step, ExactLineSearch)
        self._patience = PATIENCE if objective.comparable else PATIENCE_BY_VALUES
        # What the iteration before was, unless the past is forgotten; and the trial that it led to.
        self._last: Move | None = None

    def descend(self, x0: _Vector) -> Ending | NoStep:
        """Run from a start; return why it ended."""
        try:
            current = self._evaluate_start(x0)
        except _Ended as ended:
            if ended.trial is None:
                return ended.ending
            current = ended.trial
        if current.f == math.inf:
            return Ending.VALUE_AT_START
        if self.evaluations.measure(current) == math.inf:
            return self._objective.ended or Ending.GRADIENT_AT_START
        self.evaluations.floor = -UNBOUNDED_FALL * max(
            abs(current.f), box.largest(self._gradient(current)) * max(1.0, box.largest(current.x))
        )
        arrived = True
        while True:
            ending = self._watch(current, arrived)
            if ending is not None:
                return ending
            best = self.best()
            if best is not current and self._is_stationary(current):
                # A stationary point, but a lower one has been seen: go on from there.
                current, self._last, arrived = best, None, False
                continue
            try:
                current, arrived = self._step(current), True
            except NoStep as no_step:
                # The direction may be to blame: forget the past and look down the gradient.
                if self._last is None:
                    return self._told_by(no_step, current)
                self._last, arrived = None, False
            except _Ended as ended:
                return ended.ending

    def outcome(self, x0: _Vector) -> tuple[_Vector, float, _Vector, float]:
        """Return the best point, value, gradient and the largest component of the projected gradient there."""
        if self.evaluations.best is None:
            return x0.copy(), self.evaluations.not_finite, np.full_like(x0, math.nan), math.nan
        best = self.best()
        optimality = self.evaluations.measure(best)
        return best.x.copy(), best.f, self._gradient(best).copy(), optimality

    def matrix(self, n: int) -> tuple[_Vector, _Vector] | None:
        """Return the pairs of n components that L-BFGS remembers; None after other directions."""
        if not isinstance(self._turn, TwoLoops):
            return None
        if self._current is not None:
            self._turn.excess = self._excess(self._current)
        return self._turn.matrix(n, None if self._last is None else (self._last.s, self._last.y))

    def best(self) -> Trial:
        """Return the lowest point with a gradient: the iterate, unless another is lower by more than rounding."""
        current, best = self._current, self.evaluations.best
        assert best is not None
        if current is None:
            return best
        rounding = self._objective.rounding
        for candidate in (best, self._lowest):
            if candidate is None or current.f - candidate.f <= rounding * abs(candidate.f):
                return current
            if self.evaluations.measure(candidate) < math.inf or self._objective.ended is not None:
                return candidate
        return current

    def _gradient(self, trial: Trial) -> _Vector:
        return self.evaluations.gradient(trial)

    def _evaluate_start(self, x0: _Vector) -> Trial:
        return self.evaluations.trial(0.0, x0, 0.0)

    def _is_stationary(self, current: Trial) -> bool:
        scale = self.evaluations.measure(current)
        return scale < self._stops.tol or scale == 0.0 or self._objective.drowned

    def _watch(self, current: Trial, arrived: bool) -> Ending | None:
        """Look at an iterate, at which the run has just arrived or not; return the ending if that is one."""
        stops, f, scale = self._stops, current.f, self.evaluations.measure(current)
        self._current = current
        lower = self._lowest is None or f < self._lowest.f
        improved = f < self._low - self._objective.noise or scale < LOWER_SHARE * self._flattest
        self._low = f if improved and f < self._low else self._low
        self._lowest = current if lower else self._lowest
        self._flattest = min(self._flattest, scale) if improved else self._flattest
        if arrived:
            if self._arrive is not None and self._tell(current):
                return Ending.CALLBACK
            if self._last is not None:
                self._idle = 0 if improved else self._idle + 1
        if improved:
            self._njev_then = self._objective.njev
        many = self._idle and self._objective.njev - self._njev_then >= GRADIENTS_EACH * self._patience
        weary = self._searches and (self._idle >= self._patience or bool(many))
        if f <= stops.target:
            return Ending.TARGET
        if f < self.evaluations.floor:
            return Ending.UNBOUNDED
        if self._is_stationary(current):
            if self.best() is current:
                return Ending.UNRESOLVED if self._objective.unresolved else Ending.GRADIENT
            return Ending.IDLE if weary else None
        if weary:
            d = self._region.admit(current.x, self._direction(current))
            return Ending.DISAGREE if self._disagree(current, d) or self._disagree(current) else Ending.IDLE
        if arrived and self._last is not None:
            if self._contradicted(current):
                return Ending.DISAGREE
            if stops.xtol and box.largest(self._last.s) <= stops.xtol * max(1.0, box.largest(current.x)):
                return Ending.XTOL
            if stops.ftol and abs(self._last.f - f) <= stops.ftol * max(1.0, abs(self._last.f)):
                return Ending.FTOL
        if self.nit >= stops.maxiter:
            return Ending.ITERATIONS
        return self._objective.ended

    def _tell(self, current: Trial) -> bool:
        assert self._arrive is not None
        g, objective = self._gradient(current), self._objective
        return self._arrive(
            current.x.copy(),
            current.f,
            g.copy(),
            current.scale,
            current.alpha,
            self.nit,
            objective.nfev,
            objective.njev,
        )

    def _step(self, current: Trial) -> Trial:
        """Take one step; return the next iterate, or raise that there is none."""
        x, g = current.x, self._gradient(current)
        d = self._direction(current)
        if self._searches:
            d = self._region.admit(x, d)
        slope = float(g.dot(d))
        down = slope < 0.0 and (self._steepest or self._last is None or self._region.descends(x, g, d))
        if not (math.isfinite(slope) and (down or not self._searches)):
            raise no_step(Ending.NO_DESCENT)
        scaled = getattr(self._turn, "scaled", self._scaled)
        ray = Ray(self.evaluations, current, d, slope, self.nit, scaled, self._last)
        try:
            trial = self._settle(ray)
        except _Ended as ended:
            if ended.trial is None:
                raise
            trial = ended.trial
            self.evaluations.measure(trial)
        s = trial.x - x
        y = s
        if self._learns:
            y = self._gradient(trial) - g
            if self._region.bends:
                # What a bound holds back tells nothing about curvature.
                y[s == 0.0] = 0.0
        # A step of zero, which schedules may take, leaves no past to learn from.
        self._last = Move(trial.alpha, slope, current.f, s, y) if trial.alpha != 0.0 else None
        self.nit += 1
        return trial

    def _direction(self, current: Trial) -> _Vector:
        g = self._gradient(current)
        step, _, _, s, y = self._last or (0.0, 0.0, 0.0, None, None)
        if isinstance(self._turn, TwoLoops):
            self._turn.excess = self._excess(current)
        binding = None
        if not self._steepest:
            assert current.scale is not None
            binding = self._region.binding(current.x, g, current.scale)
        if binding is None:
            return self._turn(g, s, y, step)
        # Bertsekas: the direction acts among the free variables; the others go straight to their bounds.
        free = ~binding
        if self._last is not None:
            if isinstance(self._turn, TwoLoops) and self._last.s[binding].any():
                # Values do not tell the curvature of the free ones apart.
                self._turn.excess = 0.0
            s, y = self._last.s * free, self._last.y * free
            self._last = self._last._replace(s=s, y=y)
        d = self._turn(g * free, s, y, step)
        d[binding] = -g[binding]
        return d

    def _excess(self, current: Trial) -> float:
        """Return the curvature along the last displacement that values tell beyond gradients, times s.s.

        It is 6 times what is left of the rule of the trapezium, and zero where that could be of rounding or noise.
        """
        if self._last is None:
            return 0.0
        _, _, f, s, y = self._last
        sy = float(s.dot(y))
        rounding = max(self._objective.rounding * max(abs(f), abs(current.f)), self._objective.noise)
        if not EXCESS_CLEARANCE * rounding < sy:
            return 0.0
        excess = 3.0 * (2.0 * float(self._gradient(current).dot(s)) - sy) - 6.0 * (current.f - f)
        return excess if math.isfinite(excess) else 0.0

    def _settle(self, ray: Ray) -> Trial:
        """Look along a ray; return a trial with a finite gradient, which a step that found none is shortened to."""
        trial = self._look(ray)
        while self.evaluations.measure(trial) == math.inf:
            if self._objective.ended is not None:
                raise _Ended(self._objective.ended)
            if not ray.moves(trial):
                raise no_step(Ending.GRADIENT_NOT_FINITE)
            trial = finite_trial(ray, RETREAT * trial.alpha)
        if self._searches and not ray.moves(trial):
            raise no_step(Ending.TOO_SHORT)
        return trial

    def _told_by(self, failure: NoStep, current: Trial) -> Ending | NoStep:
        """Return the ending of a run that has found no step down the gradient."""
        found_no_step = failure.sentence in (Ending.NO_DECREASE.sentence, Ending.TOO_SHORT.sentence)
        return Ending.DISAGREE if found_no_step and self._disagree(current) else failure

    def _contradicted(self, current: Trial) -> bool:
        """Whether values have contradicted the gradient after each of the last iterations, which have cost many."""
        objective = self._objective
        laborious = self._may_contradict and objective.nfev - self._nfev_then >= LABORIOUS
        contradicted = laborious and (
            self._disagree(current, resolved=True)
            or self._disagree(current, self._steepest_axis(current), resolved=True)
        )
        self._contradictions = self._contradictions + 1 if contradicted else 0
        self._nfev_then = objective.nfev
        return self._contradictions >= CONTRADICTIONS

    def _steepest_axis(self, current: Trial) -> _Vector:
        """Return the direction down the largest component of the gradient that leads into the bounds."""
        down = self._region.admit(current.x, -self._gradient(current))
        d = np.zeros_like(down)
        k = np.abs(down).argmax()
        d[k] = down[k]
        return d

    def _disagree(self, current: Trial, d: _Vector | None = None, resolved: bool = False) -> bool:
        """Whether values contradict the gradient where it finds no way down: on both sides, at three distances.

        The direction is the steepest unless told otherwise. Equal values contradict it as well, unless they have to be
        ``resolved``. The points beside the iterate are no candidates.
        """
        x, f, g = current.x, current.f, self._gradient(current)
        d = self._region.admit(x, -g) if d is None else d
        slope, most, size = float(g.dot(d)), box.largest(d), max(1.0, box.largest(x))
        if not (self._objective.comparable and most > 0.0 and -math.inf < slope < 0.0):
            return False
        rounding, wrong = self._objective.rounding, -CONTRADICTED_SHARE * slope
        unit = rounding / ROUNDING_UNITS
        h = max(40.0 * rounding * abs(f) / -slope, math.sqrt(unit) * size / most)
        told: list[float] = []
        for _ in range(3):
            ends = [x + h * d, x - h * d]
            if not h * most <= 0.1 * size or not all(self._region.holds(end) for end in ends):
                return False
            above, below = map(self.evaluations.value_beside, ends)
            if resolved and above == f == below:
                return False
            ahead, behind = (above - f) / h, (f - below) / h
            if not told and abs(ahead - behind) > wrong:
                # A kink, where every gradient is right on one side at most; or noise.
                return False
            told.append(0.5 * (ahead + behind))
            # Not (a <= b): NaN, where there is no value, contradicts nothing.
            if not all(abs(slope_told - slope) > wrong for slope_told in (ahead, behind, told[-1])):
                return False
            # As many steps lead from the square root of the rounding unit to a hundredth or so, in any precision.
            h *= unit**-0.125
        # Noise does not even agree with itself.
        return max(told) - min(told) <= wrong
