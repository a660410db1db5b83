"""Steps that flatten the slope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from graddesc.arguments import require, require_count
from graddesc.endings import Ending
from graddesc.line_search.ray import (
    INFINITY,
    RETREAT,
    Ray,
    Trial,
    _Look,
    blurred,
    exhausted,
    first_step,
    lowers,
    no_step,
)

# How much further than the last interval a search looks at most where the slope does not flatten, the first times.
REACH = 9.0
# Interpolation stays this share of the interval away from its ends.
INSET = 0.1625
# Hager and Zhang's rho and gamma, and the share of a slope by which it changes along a straight line.
EXPANSION = 5.0
STRAIGHT = 1e-3
BISECT_UNLESS_SHRUNK = 0.66


def _require_wolfe(search: StrongWolfe | HagerZhang, highest_decrease: float) -> None:
    require(
        "sufficient_decrease",
        search.sufficient_decrease,
        f"a number in (0, {highest_decrease:g})",
        lambda v: 0 < v < highest_decrease,
    )
    require(
        "curvature",
        search.curvature,
        "a number in [sufficient_decrease, 1)",
        lambda v: search.sufficient_decrease <= v < 1,
    )
    require_count("max_trials", search.max_trials)


def _interpolate(low: Trial, slope_low: float, high: Trial, slope_high: float | None, rounding: float) -> float:
    """Return the minimum of the cubic, or parabola, between two trials; their middle if it has none inside."""
    width = high.alpha - low.alpha
    if high.f == INFINITY:
        # The first time, nothing tells how far away from the start the function is finite.
        return low.alpha + (RETREAT if low.alpha == 0.0 else 0.5) * width
    if slope_high is None:
        curvature = high.f - low.f - slope_low * width
        share = -0.5 * slope_low * width / curvature if curvature > 0.0 else 0.5
    else:
        # Nocedal and Wright, equation 3.59, with the interval mapped to [0, 1].
        p, q = slope_low * width, slope_high * width
        change = high.f - low.f
        if abs(change) <= rounding * abs(low.f):
            # The slopes alone tell, by their trapezium: the cubic is then the parabola through them.
            change = 0.5 * (p + q)
        theta = p + q - 3.0 * change
        square = theta * theta - p * q
        share = 0.5
        if square >= 0.0:
            root = math.sqrt(square)
            denominator = q - p + 2.0 * root
            if denominator != 0.0:
                share = 1.0 - (q + root - theta) / denominator
    if not INSET <= share <= 1.0 - INSET:
        share = INSET if share < INSET else 1.0 - INSET if share > 0.5 else 0.5
    return low.alpha + share * width


@dataclass(frozen=True)
class StrongWolfe:
    """A step that lowers the function sufficiently and flattens the slope: the strong conditions of Wolfe.

    Parameters
    ----------
    sufficient_decrease : float, default 1e-4
        The share of the predicted decrease that is wanted, in (0, 1).
    curvature : float, default 0.9
        The share of the first slope that may remain, in [``sufficient_decrease``, 1). Conjugate gradients want 0.4 or
        less.
    max_trials : int, default 40
        The most trials for one ray, positive.

    Notes
    -----
    Accepts ``alpha`` if ``f(x + alpha d) <= f(x) + sufficient_decrease * alpha * g.d`` and
    ``|g(x + alpha d).d| <= curvature * |g.d|``. The bracket grows until it holds such a step, then cubic interpolation
    with safeguards closes in on it ([1]_, algorithms 3.5 and 3.6). If rounding, noise or bounds leave only the first
    condition within reach, a step that fulfils it is taken.

    On a projected ray, ``g(x + alpha d).d`` is the slope along the path, and ``g.d`` that of its chord. Where the slope
    jumps across zero at a bound [2]_, the search ends as soon as little is left to gain. Where values are blurred by
    rounding, slopes take their place, as in `Backtracking`.

    References
    ----------
    .. [1] J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, section 3.5,
       :doi:`10.1007/978-0-387-40065-5`
    .. [2] M. W. Ferry, "Projected-Search Methods for Box-Constrained Optimization", Ph.D. thesis, University of
       California, San Diego 2011

    Examples
    --------
    >>> from graddesc import LBFGS, StrongWolfe, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> result = minimize(problem, problem.start, jac=problem.gradient, step=StrongWolfe(), direction=LBFGS())
    >>> result.success
    True
    """

    sufficient_decrease: float = 1e-4
    curvature: float = 0.9
    max_trials: int = 40

    def __post_init__(self) -> None:
        _require_wolfe(self, 1.0)

    def begin(self) -> _Look:
        """Start a run."""
        return self._look

    def _look(self, ray: Ray) -> Trial:
        low, slope_low = Trial(0.0, ray.x, ray.f, ray.g, 0.0), ray.slope
        high: Trial | None = None
        slope_high: float | None = None
        alpha, reach, straight = first_step(ray), REACH, False
        for _ in range(self.max_trials):
            trial = ray.at(alpha)
            blur = blurred(ray, trial, ray.f)
            if not lowers(ray, trial, ray.f, self.sufficient_decrease) or (
                trial.f >= low.f and low.alpha > 0.0 and not blur
            ):
                high, slope_high = trial, ray.slope_at(trial) if blur else None
            else:
                slope = ray.slope_at(trial)
                if slope == INFINITY:
                    high, slope_high = trial, None
                elif abs(slope) <= self.curvature * abs(trial.linear / trial.alpha):
                    return trial
                elif slope * (trial.alpha - low.alpha) >= 0.0:
                    high, slope_high = low, slope_low
                    low, slope_low = trial, slope
                elif high is None and trial.alpha < ray.longest:
                    # Where the slope would vanish, two to ten times as far ahead; ever further along a straight line.
                    width = trial.alpha - low.alpha
                    if slope > slope_low:
                        ahead = -slope * width / (slope - slope_low)
                        alpha = trial.alpha + min(max(ahead, width), REACH * width)
                    else:
                        reach = reach * reach if straight else reach
                        straight = True
                        alpha = trial.alpha + reach * width
                    low, slope_low = trial, slope
                    continue
                else:
                    low, slope_low = trial, slope
            if high is None or exhausted(ray, low, slope_low, high):
                break
            alpha = _interpolate(low, slope_low, high, slope_high, ray.rounding)
        if low.alpha > 0.0:
            return low
        raise no_step(Ending.NO_DECREASE)


class _Accepted(Exception):
    """Carries a trial out of the nested steps of `HagerZhang`."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.trial = trial


@dataclass(frozen=True)
class HagerZhang:
    """A step under the conditions of Wolfe, which are replaced near the minimum by ones that rounding does not blur.

    Parameters
    ----------
    sufficient_decrease : float, default 0.1
        The share of the predicted decrease that is wanted, in (0, 0.5).
    curvature : float, default 0.9
        The share of the first slope that may remain, in [``sufficient_decrease``, 1).
    blur : float, default 1e-6
        How far the value may rise, relative to itself, where the slopes speak for a step; not negative.
    max_trials : int, default 50
        The most trials for one ray, positive.

    Notes
    -----
    With ``phi(alpha) = f(x + alpha d)``, accepts ``alpha`` if ``phi(alpha) <= phi(0) + delta alpha phi'(0)`` and
    ``phi'(alpha) >= sigma phi'(0)`` (Wolfe), or if ``(2 delta - 1) phi'(0) >= phi'(alpha) >= sigma phi'(0)`` and
    ``phi(alpha) <= phi(0) + blur |phi(0)|`` (approximate Wolfe). The interval shrinks by the double secant step of
    [1]_, with a bisection whenever that does not take a third of it. Every trial costs a value and a gradient.

    References
    ----------
    .. [1] W. W. Hager and H. Zhang, "Algorithm 851: CG_DESCENT, a conjugate gradient method with guaranteed descent",
       ACM Transactions on Mathematical Software 32 (2006) 113-137, :doi:`10.1145/1132973.1132979`

    Examples
    --------
    >>> from graddesc import ConjugateGradient, HagerZhang, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> result = minimize(
    ...     problem, problem.start, jac=problem.gradient, step=HagerZhang(), direction=ConjugateGradient(), tol=1e-8
    ... )
    >>> result.success
    True
    """

    sufficient_decrease: float = 0.1
    curvature: float = 0.9
    blur: float = 1e-6
    max_trials: int = 50

    def __post_init__(self) -> None:
        _require_wolfe(self, 0.5)
        require("blur", self.blur, "a non-negative finite number", lambda v: v >= 0)

    def begin(self) -> _Look:
        """Start a run."""
        return self._look

    def _look(self, ray: Ray) -> Trial:
        interval = _HagerZhangInterval(self, ray)
        try:
            interval.close_in()
        except _Accepted as accepted:
            return accepted.trial
        if interval.lowest is not None:
            return interval.lowest
        raise no_step(Ending.NO_DECREASE)


_Point: TypeAlias = tuple[Trial, float]


class _HagerZhangInterval:
    """One ray's search. A point is a pair (trial, slope); names of steps are those of the paper."""

    def __init__(self, search: HagerZhang, ray: Ray) -> None:
        self.search = search
        self.ray = ray
        self.highest = ray.f + search.blur * abs(ray.f)
        self.lowest: Trial | None = None
        self.left = search.max_trials

    def probe(self, alpha: float) -> _Point:
        if self.left == 0:
            raise _Accepted(self.lowest) if self.lowest is not None else no_step(Ending.NO_DECREASE)
        self.left -= 1
        trial = self.ray.at(alpha)
        slope = self.ray.slope_at(trial)
        if trial.f < INFINITY and trial.linear < 0.0:
            first_slope = trial.linear / trial.alpha
            delta = self.search.sufficient_decrease
            decreases = trial.f <= self.ray.f + delta * trial.linear
            flattens = slope >= self.search.curvature * first_slope
            if flattens and (decreases or (slope <= (2.0 * delta - 1.0) * first_slope and trial.f <= self.highest)):
                raise _Accepted(trial)
            if decreases and (self.lowest is None or trial.f < self.lowest.f):
                self.lowest = trial
        return trial, slope

    def close_in(self) -> None:
        a, b = self.bracket()
        while self.wide(a, b):
            width = b[0].alpha - a[0].alpha
            a, b = self.secant2(a, b)
            if b[0].alpha - a[0].alpha > BISECT_UNLESS_SHRUNK * width:
                a, b = self.update(a, b, self.probe(0.5 * (a[0].alpha + b[0].alpha)))

    @staticmethod
    def wide(a: _Point, b: _Point) -> bool:
        return b[0].alpha - a[0].alpha > 1e-15 * b[0].alpha

    def bracket(self) -> tuple[_Point, _Point]:
        """B0 to B3: grow until the slope turns or the value rises."""
        start = a = Trial(0.0, self.ray.x, self.ray.f, self.ray.g, 0.0), self.ray.slope
        alpha, expansion = first_step(self.ray), EXPANSION
        while True:
            c = self.probe(alpha)
            if c[0].f == INFINITY:
                return self.bisect(a, c)
            if c[1] >= 0.0:
                return a, c
            if c[0].f > self.highest:
                return self.bisect(start, c)
            if c[0].alpha >= self.ray.longest:
                return c, c
            # The paper's, but ever further along a straight line.
            expansion = expansion * EXPANSION if abs(c[1] - a[1]) <= STRAIGHT * abs(a[1]) else EXPANSION
            a = c
            alpha = expansion * c[0].alpha

    def update(self, a: _Point, b: _Point, c: _Point) -> tuple[_Point, _Point]:
        """U1 to U3: the part of the interval on c's side of the minimum, for c inside."""
        if c[0].f == INFINITY or (c[1] < 0.0 and c[0].f > self.highest):
            return self.bisect(a, c)
        return (a, c) if c[1] >= 0.0 else (c, b)

    def bisect(self, a: _Point, b: _Point) -> tuple[_Point, _Point]:
        """U3: a slopes down from low enough, b is too high."""
        while self.wide(a, b):
            share = 0.5 if b[0].f < INFINITY else RETREAT
            d = self.probe(a[0].alpha + share * (b[0].alpha - a[0].alpha))
            if d[0].f == INFINITY:
                b = d
            elif d[1] >= 0.0:
                return a, d
            elif d[0].f <= self.highest:
                a = d
            else:
                b = d
        return a, b

    def secant2(self, a: _Point, b: _Point) -> tuple[_Point, _Point]:
        """S1 to S4: two secant steps, of which the second starts from the end that the first has moved."""
        c = self.secant(a, b, within=(a, b))
        if c is None:
            return a, b
        low, high = self.update(a, b, c)
        second = None
        if high is c:
            second = self.secant(b, c, within=(low, high))
        elif low is c:
            second = self.secant(a, c, within=(low, high))
        return self.update(low, high, second) if second is not None else (low, high)

    def secant(self, a: _Point, b: _Point, within: tuple[_Point, _Point]) -> _Point | None:
        """Probe where the line through two slopes vanishes, unless that is outside of the interval (U0)."""
        change = b[1] - a[1]
        if not (math.isfinite(change) and change != 0.0):
            return None
        alpha = (a[0].alpha * b[1] - b[0].alpha * a[1]) / change
        low, high = within
        return self.probe(alpha) if low[0].alpha < alpha < high[0].alpha else None
