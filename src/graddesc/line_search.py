"""Step sizes found by looking along the ray ``x + alpha d``.

Each search is a small frozen dataclass of settings. ``begin()`` starts a run and returns a function ``look(ray)``,
which holds whatever evolves during that run; it returns the accepted `Trial` or raises `NoStep` with a sentence that
says why there is none. Anything with such a ``begin`` is a step rule.

Every trial is projected, ``P(x + alpha d)``, and a test of sufficient decrease uses the displacement that remains:
``g.(P(x + alpha d) - x)`` in place of ``alpha g.d``. Without bounds the two are the same. A trial whose value is not
finite counts as infinitely high, so that every search shortens its step away from it. Where a trial promises no more
than the rounding of the value, slopes decide in the value's place.
"""

import math
import sys
from collections import deque
from dataclasses import dataclass

from graddesc.arguments import require, require_count, require_positive
from graddesc.schedules import step_at

__all__ = [
    "Backtracking",
    "BarzilaiBorwein",
    "ExactLineSearch",
    "HagerZhang",
    "NoStep",
    "Polyak",
    "Ray",
    "StrongWolfe",
    "Trial",
]

_INFINITY = math.inf
# Longer steps overflow before they are added: no trial goes further than this in any coordinate.
_LONGEST_MOVE = 1e150
# Values that differ by no more than this, relative to themselves, differ by rounding.
_ROUNDING = 8 * math.ulp(1.0)
# Where there is nothing finite, every trial is this much shorter than the last.
_RETREAT = 0.1
# The share of the decrease so far that is not worth another trial where a projected path bends.
_NEGLIGIBLE = 0.1
# The most steps of a schedule, one after the other, that may be shortened because the function is not finite.
_LOST = 20


class NoStep(Exception):
    """No acceptable step was found along a ray.

    Parameters
    ----------
    message : str
        One sentence that says why.
    status : int, default 2
        The status of a run that ends here: 2, lost precision, or 3, nothing finite.
    """

    def __init__(self, message, status=2):
        super().__init__(message)
        self.status = status


class Trial:
    """A point that has been evaluated.

    Attributes
    ----------
    alpha : float
        The step that led here.
    x : ndarray of shape (n,)
        The point.
    f : float
        The value there; infinity where it is not finite.
    g : ndarray of shape (n,) or None
        The gradient there, once it is known.
    linear : float
        The change of the value that the gradient at the start of the ray predicts for the displacement.
    scale : float or None
        The largest component of the projected gradient, once it is known; infinity where the gradient is not finite.
    """

    __slots__ = ("alpha", "f", "g", "linear", "scale", "x")

    def __init__(self, alpha, x, f, g, linear):
        self.alpha = alpha
        self.x = x
        self.f = f
        self.g = g
        self.linear = linear
        self.scale = None


class Ray:
    """The function along ``P(x + alpha d)``, as a search sees it; made by the loop for each iteration.

    Parameters
    ----------
    objective : object
        The function as the loop evaluates it, counting.
    start : Trial
        The iterate where the ray starts.
    d, slope, iteration, scaled, last : as below
        What the attributes hold.

    Attributes
    ----------
    x, f, g : ndarray, float, ndarray
        The iterate where the ray starts, the value and the gradient there.
    d : ndarray
        The direction; zero where it points out of the bounds.
    slope : float
        ``g.d``, negative for every search.
    bends : bool
        Whether trials are projected.
    iteration : int
        The number of completed iterations.
    scaled : bool
        Whether a step of 1 is natural along the direction, as in quasi-Newton methods.
    scale : float
        The largest component of the projected gradient.
    last : tuple or None
        What the last iteration was: (step, slope, value at its start, displacement, change of the gradient); None in
        the first iteration and after a restart.
    """

    __slots__ = ("_objective", "_region", "bends", "d", "f", "g", "iteration", "last", "scale", "scaled", "slope", "x")

    def __init__(self, objective, start, d, slope, iteration, scaled, last):
        self._objective = objective
        self._region = objective.region
        self.bends = self._region.bends
        self.x = start.x
        self.f = start.f
        self.g = start.g
        self.d = d
        self.slope = slope
        self.iteration = iteration
        self.scaled = scaled
        self.scale = start.scale
        self.last = last

    def at(self, alpha):
        """Evaluate the function one step along the ray: a `Trial`."""
        x, linear = self._region.move(self, alpha)
        return self._objective.trial(alpha, x, linear)

    def slope_at(self, trial):
        """Tell how fast the function changes at a trial, for each unit of alpha; infinity where it is not finite.

        On a projected ray that is the slope along the path, ahead of the trial where the path bends.
        """
        if trial.f == _INFINITY:
            return _INFINITY
        if self._objective.measure(trial) == _INFINITY:
            trial.f = _INFINITY
            return _INFINITY
        return float(trial.g.dot(self._region.velocity(self, trial)))

    def moves(self, trial):
        """Whether a trial differs from the start at all."""
        # A projection that makes NaN of its point differs even where the step has become zero.
        return trial.alpha != 0.0 and bool((trial.x != self.x).any())

    def longest(self):
        """Return the largest step that is tried."""
        return _LONGEST_MOVE / max(float(abs(self.d).max()), 1e-150)


def _first_trial(ray):
    """Return the length that the last iteration suggests for this one."""
    if ray.scaled:
        return 1.0
    if ray.last is None:
        return 1.0 / math.sqrt(ray.d.dot(ray.d))
    step, slope, f, _, _ = ray.last
    # Nocedal and Wright, section 3.5: the first-order change, or the change, is that of the last iteration. The first
    # is always positive; the second is better where it is of the same order.
    same_slope = step * slope / ray.slope
    same_change = 2.0 * (ray.f - f) / ray.slope
    return min(max(same_change, 0.1 * same_slope), 10.0 * same_slope)


def _exhausted(ray, low, slope_low, high):
    """Whether no step between two trials lowers the function much further than the lower one has done.

    If the function is convex along the ray, the slope at the lower trial bounds what there is. Where a projected path
    bends at a bound, the slope may jump across zero, so that no step flattens it.
    """
    width = abs(high.alpha - low.alpha)
    if not ray.bends:
        return width <= 1e-15 * max(low.alpha, high.alpha)
    gain = abs(slope_low) * width
    return low.alpha > 0.0 and (low.f - gain == low.f or (high.f < _INFINITY and gain <= _NEGLIGIBLE * (ray.f - low.f)))


def _cannot_move(ray):
    return NoStep("No step along the direction lowers the function beyond rounding.")


def finite_trial(ray, alpha):
    """Return the trial at ``alpha``, shortened until its value is finite."""
    trial = ray.at(alpha)
    while trial.f == _INFINITY:
        if not ray.moves(trial):
            raise NoStep("The function is not finite anywhere near the last point along the direction.", status=3)
        alpha *= _RETREAT
        trial = ray.at(alpha)
    return trial


def _blurred(ray, trial, reference):
    """Whether a trial promises no more than the rounding of the value, nor differs from the reference by more."""
    rounding = _ROUNDING * abs(ray.f)
    return -rounding <= trial.linear < 0.0 and abs(trial.f - reference) <= rounding


def _lowers(ray, trial, reference, sufficient_decrease):
    """Whether a trial passes the test of Armijo against a reference value, the approximate one where that is blurred.

    The approximate test (Hager and Zhang 2005, equation 4.1) is the same for a parabola, but it looks at slopes.
    """
    if _blurred(ray, trial, reference):
        return ray.slope_at(trial) <= (2.0 * sufficient_decrease - 1.0) * (trial.linear / trial.alpha)
    return trial.linear < 0.0 and trial.f <= reference + sufficient_decrease * trial.linear


def _backtrack(ray, alpha, reference, sufficient_decrease, shorten):
    """Return the first trial that lowers the function sufficiently against a reference value.

    ``shorten(trial)`` gives the next step.
    """
    while True:
        trial = ray.at(alpha)
        if _lowers(ray, trial, reference, sufficient_decrease):
            return trial
        if not ray.moves(trial):
            raise _cannot_move(ray)
        alpha = shorten(trial) if trial.f < _INFINITY else _RETREAT * alpha


def _parabola(ray, trial):
    """Return the minimum of the parabola through value and slope at the start and the trial, within [0.1, 0.5]."""
    curvature = trial.f - ray.f - trial.linear
    share = -0.5 * trial.linear / curvature if curvature > 0.0 else 0.5
    return trial.alpha * min(max(share, 0.1), 0.5)


def follow(schedule):
    """Wrap a schedule ``k -> float`` so that it looks along rays as a search does."""
    lost = 0

    def look(ray):
        nonlocal lost
        alpha = step_at(schedule, ray.iteration)
        trial = finite_trial(ray, alpha)
        lost = lost + 1 if trial.alpha < alpha else 0
        if lost >= _LOST:
            raise NoStep(f"The steps have led to where the function is not finite {_LOST} times in a row.", status=3)
        return trial

    return look


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

    def __post_init__(self):
        require_positive("initial", self.initial)
        require_positive("tolerance", self.tolerance)
        require_count("max_trials", self.max_trials)
        if self.slopes not in (None, True, False):
            raise TypeError(f"slopes must be a bool or None, got {self.slopes!r}")

    def begin(self):
        """Start a run."""
        return self._alternate() if self.slopes else self._by_values

    def _alternate(self):
        resume = skipped = 0

        def look(ray):
            nonlocal resume, skipped
            if ray.last is None or ray.bends or ray.iteration < resume:
                return self._by_values(ray)
            trial = _root_of_slope(ray, self.tolerance, min(self.max_trials, _SLOPES))
            if trial is not None:
                skipped = 0
                return trial
            # Where this fails it is likely to fail again: it is left out for one iteration, for three, for seven...
            skipped = min(2 * skipped + 1, _MOST_SKIPPED)
            resume = ray.iteration + 1 + skipped
            return self._by_values(ray)

        return look

    def _by_values(self, ray):
        start = Trial(0.0, ray.x, ray.f, ray.g, 0.0)
        low, trial, high = _bracket(ray, start, float(self.initial))
        if low is not None:
            trial = _brent(ray, low, trial, high, self.tolerance, self.max_trials)
        if trial.f < ray.f or (trial.f == ray.f and ray.moves(trial)):
            return trial
        # The bracket looked too far away: where the function is flat at that scale, there may be a descent nearby.
        return _backtrack(ray, _RETREAT * self.initial, ray.f, 0.0, lambda trial: _RETREAT * trial.alpha)


_GOLDEN_RATIO = 1.618034
_GOLDEN_SECTION = 0.3819660
_GROW_LIMIT = 110.0
_MOST_BRACKETS = 1000
_LEAST_TOLERANCE = 1e-11
_LEAST_DENOMINATOR = 1e-21


def _bracket(ray, start, initial):
    """Return three trials of which the middle one is the lowest, or (None, the lowest found, None)."""
    a, b = start, ray.at(initial)
    if a.f < b.f:
        a, b = b, a
    longest = ray.longest()
    c = ray.at(b.alpha + _GOLDEN_RATIO * (b.alpha - a.alpha))
    for _ in range(_MOST_BRACKETS):
        if not c.f < b.f or abs(c.alpha) > longest:
            break
        # The minimum of the parabola through the three, but not further than the limit.
        to_a = (b.alpha - a.alpha) * (b.f - c.f)
        to_c = (b.alpha - c.alpha) * (b.f - a.f)
        difference = to_c - to_a
        denominator = 2.0 * (_LEAST_DENOMINATOR if abs(difference) < _LEAST_DENOMINATOR else difference)
        alpha = b.alpha - ((b.alpha - c.alpha) * to_c - (b.alpha - a.alpha) * to_a) / denominator
        limit = b.alpha + _GROW_LIMIT * (c.alpha - b.alpha)
        if (alpha - c.alpha) * (b.alpha - alpha) > 0.0:
            trial = ray.at(alpha)
            if trial.f < c.f:
                a, b = b, trial
                break
            if trial.f > b.f:
                c = trial
                break
            trial = ray.at(c.alpha + _GOLDEN_RATIO * (c.alpha - b.alpha))
        elif (alpha - limit) * (limit - c.alpha) >= 0.0:
            trial = ray.at(limit)
        elif (alpha - limit) * (c.alpha - alpha) > 0.0:
            trial = ray.at(alpha)
            if trial.f < c.f:
                b, c = c, trial
                trial = ray.at(c.alpha + _GOLDEN_RATIO * (c.alpha - b.alpha))
        else:
            trial = ray.at(c.alpha + _GOLDEN_RATIO * (c.alpha - b.alpha))
        a, b, c = b, c, trial
    lower = (b.f < c.f and b.f <= a.f) or (b.f < a.f and b.f <= c.f)
    ordered = a.alpha < b.alpha < c.alpha or c.alpha < b.alpha < a.alpha
    if lower and ordered:
        return a, b, c
    return None, min(a, b, c, key=lambda trial: trial.f), None


def _brent(ray, low, middle, high, tolerance, max_trials):
    """Return the lowest trial within a bracket."""
    best = middle
    x = w = v = middle.alpha
    fx = fw = fv = middle.f
    a, b = sorted((low.alpha, high.alpha))
    last_move = move = 0.0
    for _ in range(max_trials):
        near = tolerance * abs(x) + _LEAST_TOLERANCE
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
            move = _GOLDEN_SECTION * last_move
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


# Trials by slopes before values must do, and the share of the first slope from which on rounding may keep it up.
_SLOPES = 12
_NEARLY = 1e-3
# The share of the first slope from which on a trial is far away from the root.
_STEEP = 10.0
# The most iterations by values after slopes have failed.
_MOST_SKIPPED = 100


def _root_of_slope(ray, tolerance, max_trials):
    """Return the trial where the slope vanishes near the last step; None if it is not found soon."""
    last_step = 1.0 if ray.scaled else ray.last[0]
    longest = ray.longest()
    if not 0.0 < last_step < longest:
        return None
    slack = _ROUNDING * abs(ray.f)
    # u is the trial, a the one before and c the one before that; low and high have a minimum between them.
    u, a, sa, c = last_step, 0.0, ray.slope, 0.0
    low, f_low, high = 0.0, ray.f, _INFINITY
    curvature = 0.0
    for k in range(max_trials):
        trial = ray.at(u)
        su = ray.slope_at(trial)
        if su == _INFINITY:
            return None
        fu = trial.f
        before, curvature = curvature, (su - sa) / (u - a)
        if fu <= ray.f + slack and (
            su == 0.0
            or (k > 0 and abs(su) <= (tolerance * u + _LEAST_TOLERANCE) * curvature)
            or (k > 1 and 0.5 * abs(sa) <= abs(su) <= -_NEARLY * ray.slope)
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
        if low == 0.0 and su > -_STEEP * ray.slope:
            # The function grows faster than a cubic, which would come back by a third or a quarter only.
            v = min(v, _RETREAT * u)
        if high == _INFINITY:
            v = min(v, 10.0 * u) if v > u else 4.0 * u
            if not v < longest:
                return None
        elif not low < v < high:
            v = math.sqrt(low * high) if low > 0.0 else 0.5 * high
        if v in (u, a):
            return None
        c, a, sa, u = a, u, su, v
    return None


def _cubic(b, fa, sa, fb, sb):
    """Return the minimum of the cubic through values and slopes at 0 and b; NaN if it has none."""
    p, q = sa * b, sb * b
    theta = p + q - 3.0 * (fb - fa)
    square = theta * theta - p * q
    root = math.sqrt(square) if square >= 0.0 else math.nan
    denominator = q - p + 2.0 * root
    return b - b * ((q + root - theta) / denominator) if denominator != 0.0 else math.nan


@dataclass(frozen=True)
class Backtracking:
    """The first of ever shorter steps that lowers the function sufficiently (Armijo).

    Parameters
    ----------
    initial : float or None, default None
        The first trial of every iteration, positive. None starts one step above the last one, or from 1 where that is
        natural along the direction.
    factor : float, default 0.5
        What a step that fails is multiplied by, in (0, 1).
    sufficient_decrease : float, default 1e-4
        The share of the predicted decrease that is wanted, in (0, 1).

    Notes
    -----
    Accepts the first ``alpha = initial * factor**i`` with
    ``f(x + alpha d) <= f(x) + sufficient_decrease * alpha * g.d`` [1]_. Where ``alpha * g.d`` and the change of the
    value are within its rounding, eight units in the last place, the test is the one that [2]_ approximate this by,
    ``g(x + alpha d).d <= (2 sufficient_decrease - 1) * g.d``, and the value may rise by its rounding.

    References
    ----------
    .. [1] L. Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", Pacific
       Journal of Mathematics 16 (1966) 1-3, :doi:`10.2140/pjm.1966.16.1`
    .. [2] W. W. Hager and H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line
       search", SIAM Journal on Optimization 16 (2005) 170-192, :doi:`10.1137/030601880`

    Examples
    --------
    >>> from graddesc import Backtracking, minimize
    >>> result = minimize(lambda x: x @ x, [3.0, 4.0], jac=lambda x: 2 * x, step=Backtracking(initial=1.0))
    >>> result.nit, result.nfev
    (1, 3)
    """

    initial: float | None = None
    factor: float = 0.5
    sufficient_decrease: float = 1e-4

    def __post_init__(self):
        if self.initial is not None:
            require_positive("initial", self.initial)
        require("factor", self.factor, "a number in (0, 1)", lambda v: 0 < v < 1)
        require("sufficient_decrease", self.sufficient_decrease, "a number in (0, 1)", lambda v: 0 < v < 1)

    def begin(self):
        """Start a run."""
        return self._look

    def _look(self, ray):
        if self.initial is not None:
            alpha = self.initial
        elif ray.scaled or ray.last is None:
            alpha = _first_trial(ray)
        else:
            # One step longer than the last, as nothing else would let steps grow again.
            alpha = ray.last[0] / self.factor
        return _backtrack(ray, alpha, ray.f, self.sufficient_decrease, lambda trial: self.factor * trial.alpha)


def _require_wolfe(search, highest_decrease):
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


def _interpolate(low, slope_low, high, slope_high):
    """Return the minimum of the cubic, or parabola, between two trials; their middle if it has none inside."""
    width = high.alpha - low.alpha
    if high.f == _INFINITY:
        return low.alpha + _RETREAT * width
    if slope_high is None:
        curvature = high.f - low.f - slope_low * width
        share = -0.5 * slope_low * width / curvature if curvature > 0.0 else 0.5
    else:
        # Nocedal and Wright, equation 3.59, with the interval mapped to [0, 1].
        p, q = slope_low * width, slope_high * width
        change = high.f - low.f
        if abs(change) <= _ROUNDING * abs(low.f):
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
    if not 0.1 <= share <= 0.9:
        share = 0.1 if share < 0.1 else 0.9 if share > 0.9 else 0.5
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

    def __post_init__(self):
        _require_wolfe(self, 1.0)

    def begin(self):
        """Start a run."""
        return self._look

    def _look(self, ray):
        low, slope_low = Trial(0.0, ray.x, ray.f, ray.g, 0.0), ray.slope
        high = slope_high = None
        alpha, longest = _first_trial(ray), ray.longest()
        for _ in range(self.max_trials):
            trial = ray.at(alpha)
            blurred = _blurred(ray, trial, ray.f)
            lowers = _lowers(ray, trial, ray.f, self.sufficient_decrease)
            if not lowers or (trial.f >= low.f and low.alpha > 0.0 and not blurred):
                high, slope_high = trial, ray.slope_at(trial) if blurred else None
            else:
                slope = ray.slope_at(trial)
                if slope == _INFINITY:
                    high, slope_high = trial, slope
                elif abs(slope) <= self.curvature * abs(trial.linear / alpha):
                    return trial
                elif slope * (alpha - low.alpha) >= 0.0:
                    high, slope_high = low, slope_low
                    low, slope_low = trial, slope
                elif high is None and alpha < longest:
                    low, slope_low, previous, slope_previous = trial, slope, low, slope_low
                    alpha = self._extrapolate(previous, slope_previous, low, slope_low)
                    continue
                else:
                    low, slope_low = trial, slope
            if high is None or _exhausted(ray, low, slope_low, high):
                break
            alpha = _interpolate(low, slope_low, high, slope_high)
        if low.alpha > 0.0:
            return low
        raise _cannot_move(ray)

    @staticmethod
    def _extrapolate(before, slope_before, trial, slope):
        """Return the next, longer trial: where the slope would vanish, two to ten times as far ahead."""
        width = trial.alpha - before.alpha
        change = slope - slope_before
        ahead = -slope * width / change if change > 0.0 else _INFINITY
        return trial.alpha + min(max(ahead, width), 9.0 * width)


class _Accepted(Exception):
    """Carries a trial out of the nested steps of `HagerZhang`."""


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

    def __post_init__(self):
        _require_wolfe(self, 0.5)
        require("blur", self.blur, "a non-negative finite number", lambda v: v >= 0)

    def begin(self):
        """Start a run."""
        return self._look

    def _look(self, ray):
        interval = _HagerZhangInterval(self, ray)
        try:
            interval.close_in()
        except _Accepted as accepted:
            return accepted.args[0]
        if interval.lowest is not None:
            return interval.lowest
        raise _cannot_move(ray)


class _HagerZhangInterval:
    """One ray's search. A point is a pair (trial, slope); names of steps are those of the paper."""

    expansion = 5.0
    bisect_unless_shrunk = 0.66

    def __init__(self, search, ray):
        self.search = search
        self.ray = ray
        self.highest = ray.f + search.blur * abs(ray.f)
        self.lowest = None
        self.left = search.max_trials

    def probe(self, alpha):
        if self.left == 0:
            raise _Accepted(self.lowest) if self.lowest is not None else _cannot_move(self.ray)
        self.left -= 1
        trial = self.ray.at(alpha)
        slope = self.ray.slope_at(trial)
        if trial.f < _INFINITY and trial.linear < 0.0:
            first_slope = trial.linear / alpha
            delta = self.search.sufficient_decrease
            decreases = trial.f <= self.ray.f + delta * trial.linear
            flattens = slope >= self.search.curvature * first_slope
            if flattens and (decreases or (slope <= (2.0 * delta - 1.0) * first_slope and trial.f <= self.highest)):
                raise _Accepted(trial)
            if decreases and (self.lowest is None or trial.f < self.lowest.f):
                self.lowest = trial
        return trial, slope

    def close_in(self):
        a, b = self.bracket()
        while self.wide(a, b):
            width = b[0].alpha - a[0].alpha
            a, b = self.secant2(a, b)
            if b[0].alpha - a[0].alpha > self.bisect_unless_shrunk * width:
                a, b = self.update(a, b, self.probe(0.5 * (a[0].alpha + b[0].alpha)))

    @staticmethod
    def wide(a, b):
        return b[0].alpha - a[0].alpha > 1e-15 * b[0].alpha

    def bracket(self):
        """B0 to B3: grow until the slope turns or the value rises."""
        start = a = Trial(0.0, self.ray.x, self.ray.f, self.ray.g, 0.0), self.ray.slope
        alpha, longest = _first_trial(self.ray), self.ray.longest()
        while True:
            c = self.probe(alpha)
            if c[0].f == _INFINITY:
                return self.bisect(a, c)
            if c[1] >= 0.0:
                return a, c
            if c[0].f > self.highest:
                return self.bisect(start, c)
            if alpha > longest:
                return c, c
            a = c
            alpha *= self.expansion

    def update(self, a, b, c):
        """U1 to U3: the part of the interval on c's side of the minimum, for c inside."""
        if c[0].f == _INFINITY or (c[1] < 0.0 and c[0].f > self.highest):
            return self.bisect(a, c)
        return (a, c) if c[1] >= 0.0 else (c, b)

    def bisect(self, a, b):
        """U3: a slopes down from low enough, b is too high."""
        while self.wide(a, b):
            share = 0.5 if b[0].f < _INFINITY else _RETREAT
            d = self.probe(a[0].alpha + share * (b[0].alpha - a[0].alpha))
            if d[0].f == _INFINITY:
                b = d
            elif d[1] >= 0.0:
                return a, d
            elif d[0].f <= self.highest:
                a = d
            else:
                b = d
        return a, b

    def secant2(self, a, b):
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

    def secant(self, a, b, within):
        """Probe where the line through two slopes vanishes, unless that is outside of the interval (U0)."""
        change = b[1] - a[1]
        if not (math.isfinite(change) and change != 0.0):
            return None
        alpha = (a[0].alpha * b[1] - b[0].alpha * a[1]) / change
        low, high = within
        return self.probe(alpha) if low[0].alpha < alpha < high[0].alpha else None


@dataclass(frozen=True)
class BarzilaiBorwein:
    """The step that the last displacement and change of the gradient suggest, with a non-monotone safeguard.

    With bounds or another projection this is the spectral projected gradient method.

    Parameters
    ----------
    formula : {"alternating", "adaptive", "long", "short"}, default "alternating"
        ``s.s / s.y`` is the long step, ``s.y / y.y`` the short one. "alternating" takes turns, "adaptive" takes the
        short one where it is less than half of the long one.
    memory : int, default 10
        The number of past values of which the highest may not be exceeded; 1 makes the method monotone.
    sufficient_decrease : float, default 1e-4
        The share of the predicted decrease that is wanted, in (0, 1).

    Notes
    -----
    With ``s = x_k - x_{k-1}`` and ``y = g_k - g_{k-1}`` [1]_, a trial is accepted if
    ``f(x + alpha d) <= max_{j < memory} f_{k-j} + sufficient_decrease * alpha * g.d`` [2]_; otherwise it is shortened
    by interpolation. On a projected ray ``P(x + alpha d)`` that is the first of the two methods of [3]_. "adaptive" is
    due to [4]_, "alternating" to [5]_. The first step is one over the largest component of the projected gradient. Most
    iterations take one value and one gradient. Where values are blurred by rounding, slopes take their place, as in
    `Backtracking`.

    References
    ----------
    .. [1] J. Barzilai and J. M. Borwein, "Two-point step size gradient methods", IMA Journal of Numerical Analysis 8
       (1988) 141-148, :doi:`10.1093/imanum/8.1.141`
    .. [2] M. Raydan, "The Barzilai and Borwein gradient method for the large scale unconstrained minimization
       problem", SIAM Journal on Optimization 7 (1997) 26-33, :doi:`10.1137/S1052623494266365`
    .. [3] E. G. Birgin, J. M. Martinez and M. Raydan, "Nonmonotone spectral projected gradient methods on convex
       sets", SIAM Journal on Optimization 10 (2000) 1196-1211, :doi:`10.1137/S1052623497330963`
    .. [4] B. Zhou, L. Gao and Y.-H. Dai, "Gradient methods with adaptive step-sizes", Computational Optimization and
       Applications 35 (2006) 69-86, :doi:`10.1007/s10589-006-6446-0`
    .. [5] Y.-H. Dai and R. Fletcher, "Projected Barzilai-Borwein methods for large-scale box-constrained quadratic
       programming", Numerische Mathematik 100 (2005) 21-47, :doi:`10.1007/s00211-004-0569-y`

    Examples
    --------
    >>> from graddesc import BarzilaiBorwein, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> result = minimize(problem, problem.start, jac=problem.gradient, step=BarzilaiBorwein())
    >>> result.success
    True
    """

    formula: str = "alternating"
    memory: int = 10
    sufficient_decrease: float = 1e-4

    def __post_init__(self):
        formulas = ("alternating", "adaptive", "long", "short")
        if self.formula not in formulas:
            raise ValueError(f"formula must be one of {', '.join(formulas)}, got {self.formula!r}")
        require_count("memory", self.memory)
        require("sufficient_decrease", self.sufficient_decrease, "a number in (0, 1)", lambda v: 0 < v < 1)

    def begin(self):
        """Start a run."""
        recent = deque(maxlen=min(int(self.memory), sys.maxsize))

        def look(ray):
            recent.append(ray.f)
            return _backtrack(
                ray, self._first(ray), max(recent), self.sufficient_decrease, lambda trial: _parabola(ray, trial)
            )

        return look

    def _first(self, ray):
        if ray.scaled:
            return 1.0
        if ray.last is None:
            return 1.0 / ray.scale
        step, _, _, s, y = ray.last
        ss, sy, yy = float(s.dot(s)), float(s.dot(y)), float(y.dot(y))
        if sy > 0.0 and yy > 0.0:
            alpha = self._choose(ss / sy, sy / yy, ray.iteration)
        elif yy > 0.0:
            # No curvature to go by: the geometric mean of the two formulas, without their sign.
            alpha = math.sqrt(ss / yy)
        else:
            alpha = step / _RETREAT
        # Along another direction than the gradient's: where the same curvature would put the minimum.
        alpha *= -ray.slope / float(ray.d.dot(ray.d))
        return min(max(alpha, 1e-30), ray.longest()) if math.isfinite(alpha) else 1.0 / ray.scale

    def _choose(self, long, short, iteration):
        if self.formula == "adaptive":
            return short if short < 0.5 * long else long
        if self.formula == "alternating":
            return short if iteration % 2 else long
        return short if self.formula == "short" else long


@dataclass(frozen=True)
class Polyak:
    """The step that would reach a known least value if the function were linear.

    Parameters
    ----------
    target : float
        The least value of the function, finite. The run ends where it is reached.
    relaxation : float, default 1.0
        What the step is multiplied by, in (0, 2).

    Notes
    -----
    ``alpha = relaxation * (f(x) - target) / |g.d|``, along the negative gradient ``(f(x) - target) / ||g||^2`` [1]_.
    No test of decrease: on a convex function each step brings the iterate closer to every minimum.

    References
    ----------
    .. [1] B. T. Polyak, "Minimization of unsmooth functionals", USSR Computational Mathematics and Mathematical
       Physics 9 (1969) 14-29, :doi:`10.1016/0041-5553(69)90061-5`

    Examples
    --------
    >>> from graddesc import Polyak, minimize
    >>> result = minimize(lambda x: x @ x, [3.0, 4.0], jac=lambda x: 2 * x, step=Polyak(0.0))
    >>> result.success
    True
    """

    target: float
    relaxation: float = 1.0

    def __post_init__(self):
        require("target", self.target, "a finite number", lambda v: True)
        require("relaxation", self.relaxation, "a number in (0, 2)", lambda v: 0 < v < 2)

    def begin(self):
        """Start a run."""
        return self._look

    def _look(self, ray):
        return finite_trial(ray, self.relaxation * (ray.f - self.target) / -ray.slope)
