"""The minimum along the ray."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graddesc.arguments import require_count, require_positive
from graddesc.line_search.backtracking import shorten
from graddesc.line_search.ray import INFINITY, RETREAT, Ray, Trial, _Look

GOLDEN_RATIO = 1.618034
GOLDEN_SECTION = 0.3819660
GROW_LIMIT = 110.0
MOST_BRACKETS = 1000
LEAST_TOLERANCE = 1e-11
LEAST_DENOMINATOR = 1e-21
# Trials by slopes before values must do, and the share of the first slope from which on rounding may keep it up.
SLOPES = 12
NEARLY = 1e-3
# The share of the first slope from which on a trial is far away from the root.
STEEP = 10.0
# The most iterations by values after slopes have failed.
MOST_SKIPPED = 100


@dataclass(frozen=True)
class ExactLineSearch:
    """The minimum along the ray, by Brent's method or by the root of the slope.

    Parameters
    ----------
    initial : float, default 1.0
        The first trial step by values, positive.
    tolerance : float, default 1.48e-8
        The relative error of the step, positive.
    max_trials : int, default 500
        The most steps of Brent's method for one ray, positive.
    slopes : bool or None, default None
        Whether gradients at the trials help to find the minimum. None: where the function is compiled, whose gradient
        costs about as much as a value.

    Notes
    -----
    By values: a bracket grows downhill from (0, ``initial``) by the golden ratio and parabolic extrapolation; within
    it, golden sections and parabolic interpolation close in on ``argmin f(x + alpha d)`` [1]_. The arithmetic is that
    of `scipy.optimize.minimize_scalar` with its default bracket, so that the iterates are the same to the last bit.
    Without bounds, each direction of steepest descent is then at a right angle to the one before. The search goes
    uphill first if the bracket leads there, and a step may be negative. Ten to forty values for each ray, no gradient.
    If none is lower than at the start, ever shorter steps are tried, by the test of `Backtracking` with a wanted
    decrease of zero.

    By slopes: from the last step on, or from 1 where that is natural along the direction, trials approach the root of
    the slope ``f'(x + alpha d).d`` that lies downhill: first by the cubic through two values and slopes, then by the
    parabola through the last three slopes, bisecting where these lead out of the interval that has a minimum in it.
    Rounding disturbs a slope less than the values around a minimum, where these are flat: the value at the root may be
    higher than at the start, by rounding. Two or three values and gradients for each ray of a smooth function. The
    first ray of a run is searched by values, and so are rays along which a trial is not finite or twelve trials do not
    suffice, as where the function has kinks or noise; the next rays are then searched by values as well, each time more
    of them, before slopes are tried again. So are all rays where bounds or another projection bend them. Where a ray
    has several minima, the two ways may find different ones.

    References
    ----------
    .. [1] R. P. Brent, "Algorithms for Minimization without Derivatives", Prentice-Hall 1973, chapters 4 and 5

    Examples
    --------
    >>> from graddesc import ExactLineSearch, minimize
    >>> result = minimize(lambda x: x @ x, [3.0, 4.0], jac=lambda x: 2 * x, step=ExactLineSearch())
    >>> result.nit
    1
    """

    initial: float = 1.0
    tolerance: float = 1.48e-8
    max_trials: int = 500
    slopes: bool | None = None

    def __post_init__(self) -> None:
        require_positive("initial", self.initial)
        require_positive("tolerance", self.tolerance)
        require_count("max_trials", self.max_trials)
        if self.slopes not in (None, True, False):
            raise TypeError(f"slopes must be a bool or None, got {self.slopes!r}")

    def begin(self) -> _Look:
        """Start a run."""
        return self._alternate() if self.slopes else self._by_values

    def _alternate(self) -> _Look:
        resume = skipped = 0

        def look(ray: Ray) -> Trial:
            nonlocal resume, skipped
            if ray.last is None or ray.bends or ray.iteration < resume:
                return self._by_values(ray)
            trial = _root_of_slope(ray, self.tolerance, min(self.max_trials, SLOPES))
            if trial is not None:
                skipped = 0
                return trial
            # Where this fails it is likely to fail again: it is left out for one iteration, for three, for seven...
            skipped = min(2 * skipped + 1, MOST_SKIPPED)
            resume = ray.iteration + 1 + skipped
            return self._by_values(ray)

        return look

    def _by_values(self, ray: Ray) -> Trial:
        start = Trial(0.0, ray.x, ray.f, ray.g, 0.0)
        low, trial, high = _bracket(ray, start, float(self.initial))
        if low is not None and high is not None:
            trial = _brent(ray, low, trial, high, self.tolerance, self.max_trials)
        if trial.f < ray.f or (trial.f == ray.f and ray.moves(trial)):
            return trial
        # The bracket looked too far away: where the function is flat at that scale, there may be a descent nearby.
        return shorten(ray, RETREAT * self.initial, ray.f, 0.0, lambda trial: RETREAT * trial.alpha)


def _bracket(ray: Ray, start: Trial, initial: float) -> tuple[Trial | None, Trial, Trial | None]:
    """Return three trials of which the middle one is the lowest, or (None, the lowest found, None)."""
    a, b = start, ray.at(initial)
    if a.f < b.f:
        a, b = b, a
    c = ray.at(b.alpha + GOLDEN_RATIO * (b.alpha - a.alpha))
    for _ in range(MOST_BRACKETS):
        if not c.f < b.f or abs(c.alpha) >= ray.longest:
            break
        # The minimum of the parabola through the three, but not further than the limit.
        to_a = (b.alpha - a.alpha) * (b.f - c.f)
        to_c = (b.alpha - c.alpha) * (b.f - a.f)
        difference = to_c - to_a
        denominator = 2.0 * (LEAST_DENOMINATOR if abs(difference) < LEAST_DENOMINATOR else difference)
        alpha = b.alpha - ((b.alpha - c.alpha) * to_c - (b.alpha - a.alpha) * to_a) / denominator
        limit = b.alpha + GROW_LIMIT * (c.alpha - b.alpha)
        if (alpha - c.alpha) * (b.alpha - alpha) > 0.0:
            trial = ray.at(alpha)
            if trial.f < c.f:
                a, b = b, trial
                break
            if trial.f > b.f:
                c = trial
                break
            trial = ray.at(c.alpha + GOLDEN_RATIO * (c.alpha - b.alpha))
        elif (alpha - limit) * (limit - c.alpha) >= 0.0:
            trial = ray.at(limit)
        elif (alpha - limit) * (c.alpha - alpha) > 0.0:
            trial = ray.at(alpha)
            if trial.f < c.f:
                b, c = c, trial
                trial = ray.at(c.alpha + GOLDEN_RATIO * (c.alpha - b.alpha))
        else:
            trial = ray.at(c.alpha + GOLDEN_RATIO * (c.alpha - b.alpha))
        a, b, c = b, c, trial
    lower = (b.f < c.f and b.f <= a.f) or (b.f < a.f and b.f <= c.f)
    ordered = a.alpha < b.alpha < c.alpha or c.alpha < b.alpha < a.alpha
    if lower and ordered:
        return a, b, c
    return None, min(a, b, c, key=lambda trial: trial.f), None


def _brent(ray: Ray, low: Trial, middle: Trial, high: Trial, tolerance: float, max_trials: int) -> Trial:
    """Return the lowest trial within a bracket."""
    best = middle
    x = w = v = middle.alpha
    fx = fw = fv = middle.f
    a, b = sorted((low.alpha, high.alpha))
    last_move = move = 0.0
    for _ in range(max_trials):
        near = tolerance * abs(x) + LEAST_TOLERANCE
        center = 0.5 * (a + b)
        if abs(x - center) < 2.0 * near - 0.5 * (b - a):
            break
        parabolic = False
        if abs(last_move) > near:
            p = (x - w) * (fx - fv)
            q = (x - v) * (fx - fw)
            p, q = (x - v) * q - (x - w) * p, 2.0 * (q - p)
            if q > 0.0:
                p = -p
            q = abs(q)
            before, last_move = last_move, move
            parabolic = q * (a - x) < p < q * (b - x) and abs(p) < abs(0.5 * q * before)
        if parabolic:
            move = p / q
            u = x + move
            if u - a < 2.0 * near or b - u < 2.0 * near:
                move = near if center - x >= 0.0 else -near
        else:
            last_move = (a if x >= center else b) - x
            move = GOLDEN_SECTION * last_move
        u = x + (move if abs(move) >= near else near if move >= 0.0 else -near)
        trial = ray.at(u)
        fu = trial.f
        if fu > fx:
            if u < x:
                a = u
            else:
                b = u
            if fu <= fw or w == x:
                v, fv = w, fw
                w, fw = u, fu
            elif fu <= fv or v in (x, w):
                v, fv = u, fu
        else:
            if u >= x:
                a = x
            else:
                b = x
            v, fv = w, fw
            w, fw = x, fx
            x, fx = u, fu
            best = trial
    return best


def _root_of_slope(ray: Ray, tolerance: float, max_trials: int) -> Trial | None:
    """Return the trial where the slope vanishes near the last step; None if it is not found soon."""
    last_step = 1.0 if ray.scaled or ray.last is None else ray.last.step
    if not 0.0 < last_step < ray.longest:
        return None
    slack = ray.rounding * abs(ray.f)
    # u is the trial, a the one before and c the one before that; low and high have a minimum between them.
    u, a, sa, c = last_step, 0.0, ray.slope, 0.0
    low, f_low, high = 0.0, ray.f, INFINITY
    curvature = 0.0
    for k in range(max_trials):
        trial = ray.at(u)
        su = ray.slope_at(trial)
        if su == INFINITY:
            return None
        fu = trial.f
        before, curvature = curvature, (su - sa) / (u - a)
        if fu <= ray.f + slack and (
            su == 0.0
            or (k > 0 and abs(su) <= (tolerance * u + LEAST_TOLERANCE) * curvature)
            or (k > 1 and 0.5 * abs(sa) <= abs(su) <= -NEARLY * ray.slope)
        ):
            return trial
        if su >= 0.0 or fu > f_low + slack:
            high = u
        else:
            low, f_low = u, fu
        if k == 0:
            v = _cubic(u, ray.f, ray.slope, fu, su)
        else:
            # The root of the parabola through the last three slopes that is near the last.
            bend = (curvature - before) / (u - c)
            ahead = curvature + bend * (u - a)
            square = ahead * ahead - 4.0 * su * bend
            if square >= 0.0 and ahead > 0.0:
                v = u - 2.0 * su / (ahead + math.sqrt(square))
            else:
                v = u - su / curvature if curvature != 0.0 else math.nan
        if low == 0.0 and su > -STEEP * ray.slope:
            # The function grows faster than a cubic, which would come back by a third or a quarter only.
            v = min(v, RETREAT * u)
        if high == INFINITY:
            v = min(v, 10.0 * u) if v > u else 4.0 * u
            if not v < ray.longest:
                return None
        elif not low < v < high:
            v = math.sqrt(low * high) if low > 0.0 else 0.5 * high
        if v in (u, a):
            return None
        c, a, sa, u = a, u, su, v
    return None


def _cubic(b: float, fa: float, sa: float, fb: float, sb: float) -> float:
    """Return the minimum of the cubic through values and slopes at 0 and b; NaN if it has none."""
    p, q = sa * b, sb * b
    theta = p + q - 3.0 * (fb - fa)
    square = theta * theta - p * q
    root = math.sqrt(square) if square >= 0.0 else math.nan
    denominator = q - p + 2.0 * root
    return b - b * ((q + root - theta) / denominator) if denominator != 0.0 else math.nan
