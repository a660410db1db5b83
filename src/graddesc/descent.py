"""Minimise a function by going downhill: `minimize` and, for the simplest case, `gradient_descent`.

One loop serves every step rule and direction. A direction (`graddesc.directions`) turns gradients into a ray, a step
rule (`graddesc.schedules`, `graddesc.line_search`) the ray into the next point; both are told the displacement that
happened, after any projection. This module counts, watches for the stops, keeps the best point and talks to the
caller.
"""

import inspect
import math
import numbers
import warnings
from time import perf_counter

import numpy as np
from scipy import LowLevelCallable
from scipy.optimize import OptimizeResult, OptimizeWarning

from graddesc import compiled as compiled_loop
from graddesc._kernels import box
from graddesc.arguments import as_floats, require_count, require_nonnegative
from graddesc.directions import Steepest
from graddesc.line_search import (
    _RETREAT,
    _ROUNDING,
    ExactLineSearch,
    HagerZhang,
    NoStep,
    Ray,
    Trial,
    finite_trial,
    follow,
)

__all__ = ["gradient_descent", "minimize"]

_DEFAULT_MAXITER = 10_000
# After so many iterations in which neither the value nor the gradient has reached a new low, a search is at the level
# of rounding or noise. Non-monotone rules need less than that to come down again.
_PATIENCE = 100
# Gradients from here on count as not finite: the square of their length would overflow.
_HUGE = 1e145
# How much further a step goes to see where a projection leads: far enough for the differences to outlive rounding.
_AHEAD = 2.0**-10
# SciPy's names for schemes of finite differences.
_SCHEMES = ("2-point", "3-point", "cs")

CONVERGED, ITERATIONS, PRECISION, NOT_FINITE, TIME, TARGET, CALLBACK = 0, 1, 2, 3, 5, 6, 99


class _OutOfTime(Exception):
    """The deadline passed at an evaluation."""


class _TargetReached(Exception):
    """An evaluation reached the target."""

    def __init__(self, trial):
        super().__init__()
        self.trial = trial


def gradient_descent(f, Df, x0, maxiter=100, tol=1e-5):
    """Minimise a function by steepest descent with exact line search.

    Parameters
    ----------
    f : callable
        The function, ``f(x) -> float``.
    Df : callable
        Its gradient, ``Df(x) -> array of shape (n,)``.
    x0 : array_like of shape (n,)
        Where to start; not changed.
    maxiter : int, default 100
        The most iterations; None is the default.
    tol : float, default 1e-5
        The run ends when no component of the gradient is as large.

    Returns
    -------
    x : ndarray of shape (n,)
        The best point.
    fx : float
        The value there.
    k : int
        The number of iterations. Unlike the ``nit`` of `minimize`, which counts the steps taken, it counts the one that
        finds the gradient small as well: where the run converges, ``k = nit + 1``, but never more than ``maxiter``.

    Raises
    ------
    TypeError, ValueError
        As `minimize`.

    See Also
    --------
    minimize : The same with a choice of steps and directions, and a full report.

    Notes
    -----
    ``x <- x - alpha Df(x)`` with ``alpha = argmin f(x - alpha Df(x))`` [1]_, found by `ExactLineSearch`.

    References
    ----------
    .. [1] A.-L. Cauchy, "Methode generale pour la resolution des systemes d'equations simultanees", Comptes rendus
       hebdomadaires des seances de l'Academie des sciences 25 (1847) 536-538

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc import gradient_descent
    >>> f = lambda x: x[0] ** 2 + 7 * x[1] ** 2 + 2 * x[0] + x[1] + 2
    >>> Df = lambda x: np.array([2 * x[0] + 2, 14 * x[1] + 1])
    >>> x, fx, k = gradient_descent(f, Df, [0.0, 1.0])
    >>> x.round(5), round(fx, 9), k
    (array([-1.     , -0.07143]), 0.964285714, 12)
    """
    maxiter = _iterations(100 if maxiter is None else maxiter)
    result = minimize(f, x0, jac=Df, maxiter=maxiter, tol=tol)
    return result.x, result.fun, min(result.nit + (result.status == CONVERGED), maxiter)


def minimize(
    fun,
    x0,
    args=(),
    jac=None,
    *,
    step=None,
    direction=None,
    bounds=None,
    fixed=None,
    projection=None,
    tol=1e-5,
    xtol=0.0,
    ftol=0.0,
    maxiter=None,
    max_time=None,
    target=None,
    callback=None,
    history=False,
    threads=1,
    hess=None,
    hessp=None,
    constraints=(),
    **unknown_options,
):
    """Minimise a function of several variables by going downhill.

    Parameters
    ----------
    fun : callable or scipy.LowLevelCallable
        The function, ``fun(x, *args) -> float``. It gets a copy of its point, which it may keep or change. If it is
        compiled, ``double (int n, double *x, void *data)``, the whole run is, and the GIL is released; but with
        ``bounds``, ``fixed``, ``projection``, ``callback``, ``history`` or `HagerZhang` it is Python's loop that calls
        the compiled functions.
    x0 : array_like of shape (n,) or, for compiled functions, (m, n)
        Where to start, finite; not changed. A start outside the bounds is moved onto them, and the message says so.
        Each of m rows is a start of its own.
    args : tuple, optional
        Further arguments of ``fun`` and ``jac``.
    jac : callable, bool or None, optional
        The gradient, ``jac(x, *args) -> array of shape (n,)``. True: ``fun`` returns the pair (value, gradient). None
        (or False, or one of SciPy's names for finite differences): central differences, 2 n values for each gradient.
        If ``fun`` is compiled, ``void (int n, double *x, double *gradient, void *data)`` with the same user data.
    step : step rule, optional
        How far to go: a schedule of `graddesc.schedules` or any ``k -> float`` of the iteration k = 0, 1, ..., or a
        search of `graddesc.line_search`. Default: ``ExactLineSearch()``.
    direction : direction, optional
        Where to go: one of `graddesc.directions`. Default: ``Steepest()``.
    bounds : sequence of (low, high) or scipy.optimize.Bounds, optional
        One pair for each variable; None is no bound. No trial leaves them.
    fixed : array_like of bool, shape (n,), optional
        True where a variable keeps its start. The gradient counts as zero there.
    projection : callable, optional
        ``projection(x) -> x``: the nearest point of a convex set, in place of ``bounds`` and ``fixed``. Finite
        differences may leave the set.
    tol : float, default 1e-5
        The run converges when the largest component of the projected gradient ``x - P(x - g)`` is below this, not
        negative.
    xtol, ftol : float, default 0.0
        It converges as well when the largest component of a displacement is at most ``xtol * max(1, max |x|)``, or
        when a change of the value is at most ``ftol * max(1, |f|)``; 0 switches these off.
    maxiter : int, default 10 000
        The most iterations.
    max_time : float, optional
        The most seconds; looked at after every trial, and for every variable of a gradient by finite differences.
    target : float, optional
        The run ends when a value is at most this, or at most the target of `Polyak`.
    callback : callable, optional
        Called after each iteration: ``callback(intermediate_result)``, if that is its parameter's name, with an
        OptimizeResult of ``x``, ``fun``, ``jac``, ``nit``, ``step``, ``nfev``, ``njev``; otherwise ``callback(x)``. The
        arrays are copies. It ends the run by raising StopIteration.
    history : bool, default False
        Whether to keep what happened in each iteration.
    threads : int, default 1
        How many starts of a compiled objective run side by side, positive.
    hess, hessp : optional
        Ignored; here because SciPy hands them to every method.
    constraints : optional
        Refused unless empty; here because SciPy hands it to every method.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``x``, ``fun``: the best point tried and the value there, exactly ``fun(x)``, where the points beside it that
        serve finite differences do not count; ``jac``: the gradient there, NaN if the time ended a run without it;
        ``nit``: completed iterations, that is, steps taken; ``nfev``, ``njev``: evaluations of the value and of the
        gradient; ``optimality``: the largest component of the projected gradient; ``success``, ``status`` and
        ``message``. With ``history``, also ``history``, an OptimizeResult with ``x`` of shape (nit + 1, n), ``fun`` and
        ``gradient_norm`` (of the projected gradient) of shape (nit + 1,), and ``step`` of shape (nit,).

        =======  =====================================================================
        status   why the run ended
        =======  =====================================================================
        0        converged
        1        the iterations are used up
        2        precision is lost: no step lowers the function beyond rounding
        3        the function or its gradient is not finite
        5        the time is used up
        6        the target is reached
        99       the callback asked for it
        =======  =====================================================================

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or ``fun``, ``jac`` or ``step`` return no numbers.
    ValueError
        If ``x0`` is empty, not finite or not one-dimensional; if the gradient has the wrong shape, or is not finite at
        ``x0``; if bounds cross or exclude a fixed variable; if ``projection`` comes with bounds or ``fixed``, or
        returns an array of another shape; if constraints are given; if ``step`` returns a negative or not finite
        number.

    Warns
    -----
    scipy.optimize.OptimizeWarning
        If an option is unknown.

    Notes
    -----
    ``x_{k+1} = P(x_k + alpha_k d_k)``, where P is the projection onto the bounds or the convex set. On variables that
    the gradient holds at a bound the direction is the negative gradient; the others follow ``direction`` [1]_. A
    direction along which the function does not descend, or along which a search finds no step, is replaced by the
    steepest one, except that a schedule follows any direction. A trial that is not finite is shortened, never accepted.

    Values that differ by rounding alone count as equal in the choice of the best point. If a run converges where the
    value is higher than one seen before, it goes on from the best point. What ``fun`` and ``jac`` raise passes through.

    A compiled ``fun`` runs by the same rules in a compiled loop, where `ExactLineSearch` looks for the root of the
    slope unless told otherwise. It takes no ``args``, ``bounds``, ``fixed``, ``projection``, ``callback`` or
    ``history`` and no `HagerZhang`; it looks at the time after every iteration. For m starts every entry of the result
    but ``message`` has m elements, and ``best`` is the index of the lowest value. Cython users find the loop in
    ``graddesc.cython_descent``.

    It is a method of SciPy's as it stands: ``scipy.optimize.minimize(..., method=graddesc.minimize, options={...})``.

    References
    ----------
    .. [1] D. P. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM Journal
       on Control and Optimization 20 (1982) 221-246, :doi:`10.1137/0320018`

    Examples
    --------
    >>> from graddesc import LBFGS, StrongWolfe, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> result = minimize(problem, problem.start, jac=problem.gradient, step=StrongWolfe(), direction=LBFGS())
    >>> result.x.round(6)
    array([1., 1.])
    >>> result.message
    'The projected gradient is below the tolerance.'
    """
    for name in unknown_options:
        warnings.warn(f"unknown option: {name}", OptimizeWarning, stacklevel=2)
    if constraints != () and np.any(constraints):
        raise ValueError("constraints are not supported: use bounds, fixed or projection")
    require_count("threads", threads)
    compiled = isinstance(fun, LowLevelCallable)
    x0 = _start(x0, compiled)
    step = ExactLineSearch() if step is None else step
    if isinstance(step, type) or not (hasattr(step, "begin") or callable(step)):
        raise TypeError(f"step must be a schedule k -> float or a line search, got {step!r}")
    direction = Steepest() if direction is None else direction
    if isinstance(direction, type) or not hasattr(direction, "begin"):
        raise TypeError(f"direction must be one of graddesc.directions, got {direction!r}")
    for name, value in {"tol": tol, "xtol": xtol, "ftol": ftol}.items():
        require_nonnegative(name, value)
    if max_time is not None:
        require_nonnegative("max_time", max_time)
    target = -math.inf if target is None else _number("target", target)
    # Beyond the value that it aims at, a step of Polyak's would climb.
    target = max(target, getattr(step, "target", -math.inf))
    maxiter = _iterations(maxiter)
    if compiled:
        if not isinstance(args, tuple) or args:
            raise ValueError(f"args must not be given with compiled objectives, got {args!r}")
        given = {"bounds": bounds, "fixed": fixed, "projection": projection, "callback": callback}
        asked = [name for name, value in (given | {"history": history or None}).items() if value is not None]
        if isinstance(step, HagerZhang):
            asked.append("HagerZhang")
        if asked and x0.ndim == 2:
            raise ValueError(f"x0 must have shape (n,) with {asked[0]}, got {x0.shape}")
    if compiled and asked:
        fun, jac = compiled_loop.as_python(fun, jac)
    elif compiled:
        return compiled_loop.descend(
            fun,
            x0,
            jac,
            step,
            direction,
            threads=threads,
            maxiter=maxiter,
            max_time=max_time,
            tol=tol,
            xtol=xtol,
            ftol=ftol,
            target=target,
        )
    region, start = _region(x0, bounds, fixed, projection)
    run = _Run(
        _Objective(fun, jac, args, region, target, max_time),
        region,
        step,
        direction,
        tol=tol,
        xtol=xtol,
        ftol=ftol,
        maxiter=maxiter,
        callback=_callback(callback),
        history=history,
    )
    status, message = run.descend(start)
    if (start != x0).any():
        message += f" x0 was outside the {region.name}, and the run started from the nearest point inside."
    return run.result(start, status, message)


def _start(x0, compiled):
    try:
        x0 = np.array(x0, dtype=float, order="C", ndmin=1)
    except (TypeError, ValueError):
        raise TypeError(f"x0 must be an array of numbers, got {x0!r}") from None
    except OverflowError:
        raise ValueError(f"x0 must be finite, got {x0!r}") from None
    if x0.size == 0 or x0.ndim > (2 if compiled else 1):
        wanted = "(n,) or (m, n)" if compiled else "(n,)"
        raise ValueError(f"x0 must have shape {wanted} with n >= 1, got {x0.shape}")
    if not np.logical_and.reduce(np.isfinite(x0), axis=None):
        raise ValueError(
            f"x0 must be finite, got {x0[~np.isfinite(x0)][0]} at index {np.flatnonzero(~np.isfinite(x0))[0]}"
        )
    return x0


def _number(name, value):
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return number


def _iterations(maxiter):
    if maxiter is None:
        return _DEFAULT_MAXITER
    return require_count("maxiter", maxiter, least=0)


def _callback(callback):
    """Return a function of an OptimizeResult, whichever of SciPy's two conventions the callback follows."""
    if callback is None:
        return None
    if not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")
    try:
        names = set(inspect.signature(callback).parameters)
    except (TypeError, ValueError):  # Some callables written in C do not tell.
        names = set()
    if names == {"intermediate_result"}:
        return lambda result: callback(intermediate_result=result)
    return lambda result: callback(result.x)


def _region(x0, bounds, fixed, projection):
    """Return where the iterates may be, and the start moved there."""
    if projection is not None:
        if not callable(projection):
            raise TypeError(f"projection must be callable, got {projection!r}")
        if bounds is not None or fixed is not None:
            raise ValueError("projection must come alone: give either projection, or bounds and fixed")
        region = _ConvexSet(projection)
        return region, region.project(x0)
    if bounds is None and fixed is None:
        return _Everywhere(), x0
    low, high = _bounds(bounds, x0.size)
    start = np.clip(x0, low, high)
    if fixed is not None:
        fixed = np.asarray(fixed)
        if fixed.dtype != bool or fixed.shape != x0.shape:
            raise ValueError(f"fixed must be an array of bool of shape {x0.shape}, got {fixed.dtype} of {fixed.shape}")
        outside = np.flatnonzero(fixed & (start != x0))
        if outside.size:
            raise ValueError(f"fixed variables must start within their bounds, got x0[{outside[0]}] = {x0[outside[0]]}")
        low, high = np.where(fixed, x0, low), np.where(fixed, x0, high)
    return _Box(low, high), start


def _is_pair(pair):
    try:
        return len(pair) == 2 and all(side is None or np.ndim(side) == 0 for side in pair)
    except (TypeError, ValueError):
        return False


def _bounds(bounds, n):
    if bounds is None:
        return np.full(n, -np.inf), np.full(n, np.inf)
    if hasattr(bounds, "lb"):
        try:
            low, high = (as_floats("bounds", np.broadcast_to(side, n)) for side in (bounds.lb, bounds.ub))
        except ValueError:
            raise ValueError(
                f"bounds must have one value for each of the {n} variables, got shapes {np.shape(bounds.lb)} and "
                f"{np.shape(bounds.ub)}"
            ) from None
    else:
        try:
            pairs = list(bounds)
        except TypeError:
            raise TypeError(f"bounds must be pairs (low, high) or scipy.optimize.Bounds, got {bounds!r}") from None
        if len(pairs) != n or any(not _is_pair(pair) for pair in pairs):
            raise ValueError(f"bounds must be {n} pairs (low, high), got {bounds!r}")
        low = as_floats("bounds", [-np.inf if low is None else low for low, _ in pairs])
        high = as_floats("bounds", [np.inf if high is None else high for _, high in pairs])
    empty = np.flatnonzero(~((low <= high) & (low < np.inf) & (high > -np.inf)))
    if empty.size:
        i = empty[0]
        raise ValueError(f"bounds must leave a number between them, got ({low[i]}, {high[i]}) for variable {i}")
    return low, high


class _Everywhere:
    """No bounds at all."""

    bends = False
    pinned = None

    @staticmethod
    def move(ray, alpha):
        """Return the point one step along a ray, and what the slope there promises for it."""
        return ray.x + alpha * ray.d, alpha * ray.slope

    @staticmethod
    def velocity(ray, trial):
        """Return how fast the path moves at a trial, for each unit of the step."""
        return ray.d

    @staticmethod
    def measure(x, g):
        """Return the largest component of the projected gradient; infinity if the gradient is not finite."""
        size = box.largest(g)
        return size if size < _HUGE else math.inf


class _Box:
    """Bounds on each variable; a fixed one has its value for both."""

    name = "bounds"
    bends = True

    def __init__(self, low, high):
        self.low = low
        self.high = high
        self._box = box.Box(low, high)
        pinned = low == high
        self.pinned = pinned if pinned.any() else None

    def move(self, ray, alpha):
        x = np.empty_like(ray.x)
        return x, self._box.step(ray.x, alpha, ray.d, ray.g, x)

    def velocity(self, ray, trial):
        return self.admit(trial.x, ray.d)

    def measure(self, x, g):
        return self._box.largest(x, g, _HUGE)

    def admit(self, x, d):
        """Return a direction without the components that point out of the box at a point."""
        admitted = np.empty_like(d)
        self._box.admit(x, d, admitted)
        return admitted

    def binding(self, x, g, scale):
        """Tell which variables are close to a bound and pushed against it, as Bertsekas defines them."""
        near = min(scale, 1e-3)
        return ((g > 0.0) & (x <= self.low + near)) | ((g < 0.0) & (x >= self.high - near))


class _ConvexSet:
    """Whatever the caller's projection maps to."""

    name = "set that projection maps to"
    bends = True
    pinned = None

    def __init__(self, projection):
        self._projection = projection

    def project(self, x):
        nearest = as_floats("projection", self._projection(x.copy()), "return")
        if nearest.shape != x.shape:
            raise ValueError(f"projection must return an array of shape {x.shape}, got {nearest.shape}")
        return nearest

    def move(self, ray, alpha):
        x = self.project(ray.x + alpha * ray.d)
        return x, float(ray.g.dot(x - ray.x))

    def velocity(self, ray, trial):
        ahead = _AHEAD * trial.alpha
        return (self.project(ray.x + (trial.alpha + ahead) * ray.d) - trial.x) / ahead

    def descends(self, x, g, d):
        """Whether the projected path goes down at its start; the direction's slope does not tell."""
        ahead = _AHEAD**2 * max(1.0, box.largest(x)) / box.largest(d)
        return g.dot(self.project(x + ahead * d) - x) < 0.0

    def measure(self, x, g):
        return box.largest(x - self.project(x - g)) if box.largest(g) < _HUGE else math.inf


class _Objective:
    """The caller's function and gradient: called, checked, counted; the best point is kept."""

    def __init__(self, fun, jac, args, region, target, max_time):
        if not callable(fun):
            raise TypeError(f"fun must be callable, got {fun!r}")
        self._args = args if isinstance(args, tuple) else (args,)
        self._fun = fun
        self._both = jac is True
        self._jac = jac if callable(jac) else None
        if not (callable(jac) or jac is None or isinstance(jac, bool) or (isinstance(jac, str) and jac in _SCHEMES)):
            raise TypeError(f"jac must be callable, bool or None, got {jac!r}")
        self.region = region
        self.target = target
        self._deadline = math.inf if max_time is None else perf_counter() + max_time
        self._untimed = max_time is None
        # Whether the time ended before a gradient that would have taken 2 n values.
        self.late = False
        self.nfev = self.njev = 0
        self.best = None
        self.not_finite = math.nan

    def value(self, x):
        """Return value and gradient at a point; the gradient is None unless it comes with the value."""
        self.nfev += 1
        f = self._fun(x.copy(), *self._args)
        g = None
        if self._both:
            self.njev += 1
            try:
                f, g = f
            except (TypeError, ValueError):
                raise TypeError(f"fun must return a pair (value, gradient) if jac is True, got {f!r}") from None
            g = self._check(g, x)
        return f if type(f) is float else _scalar(f), g

    def trial(self, alpha, x, linear):
        """Evaluate a point as a candidate."""
        f, g = self.value(x)
        if not -math.inf < f < math.inf:
            self.not_finite = f
            f = math.inf
        trial = Trial(alpha, x, f, g, linear)
        if f < math.inf and (self.best is None or f < self.best.f):
            self.best = trial
            if f <= self.target:
                raise _TargetReached(trial)
        if not self._untimed:
            self._watch()
        return trial

    def _watch(self):
        if perf_counter() >= self._deadline:
            self.late = self._jac is None and not self._both
            raise _OutOfTime

    def gradient(self, trial):
        """Return the gradient at a trial, evaluated unless it is known; NaN where no time is left for differences."""
        if trial.g is None:
            if self._jac is not None:
                self.njev += 1
                trial.g = self._check(self._jac(trial.x.copy(), *self._args), trial.x)
            elif self.late:
                trial.g = np.full_like(trial.x, math.nan)
            else:
                trial.g = self._differences(trial)
                self.njev += 1
        return trial.g

    def measure(self, trial):
        """Return the largest component of the projected gradient at a trial, infinity where it is not finite."""
        if trial.scale is None:
            trial.scale = self.region.measure(trial.x, self.gradient(trial))
        return trial.scale

    def _check(self, g, x):
        g = as_floats("jac", g, "return")
        if g.shape != x.shape:
            raise ValueError(f"jac must return an array of shape {x.shape}, got {g.shape}")
        if self.region.pinned is not None:
            g[self.region.pinned] = 0.0
        return g

    def _differences(self, trial):
        """Central differences; at a bound, those of the parabola through the point and two on its inner side.

        Their points are no candidates: they lie closer to the trial than the gradient can tell, and one that is lower
        by that little would keep a run that has converged from its end.
        """
        x, f = trial.x, trial.f
        g = np.zeros_like(x)
        bounds = self.region if isinstance(self.region, _Box) else None
        for i, xi in enumerate(x):
            self._watch()
            h = np.finfo(float).eps ** (1 / 3) * max(1.0, abs(xi))
            low, high = (-math.inf, math.inf) if bounds is None else (bounds.low[i], bounds.high[i])
            h = min(h, 0.25 * (high - low))
            if xi - h == xi or xi + h == xi:
                # The variable is fixed, or its bounds are too close for a difference.
                continue
            if xi - h < low or xi + h > high:
                h = -h if xi + h > high else h
                h, near, far = self._inner(x, i, h)
                g[i] = (4.0 * near - far - 3.0 * f) / (2.0 * h)
            else:
                above, below = x.copy(), x.copy()
                above[i] += h
                below[i] -= h
                g[i] = (self.value(above)[0] - self.value(below)[0]) / (above[i] - below[i])
        return g

    def _inner(self, x, i, h):
        near, far = x.copy(), x.copy()
        near[i] += h
        far[i] += 2.0 * h
        return near[i] - x[i], self.value(near)[0], self.value(far)[0]


def _scalar(f):
    """Return what the function returned as a float; arrays of one element will do."""
    array = np.asarray(f)
    if array.size != 1:
        raise ValueError(f"fun must return a number, got an array of shape {array.shape}")
    number = array.item()  # not float(f), which takes the text of a number as well
    if not hasattr(number, "__float__"):
        raise TypeError(f"fun must return a number, got {f!r}")
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


class _Run:
    """One descent: the loop and what it reports."""

    def __init__(self, objective, region, step, direction, *, tol, xtol, ftol, maxiter, callback, history):
        self.objective = objective
        self.region = region
        self.searches = hasattr(step, "begin")
        self.look = step.begin() if self.searches else follow(step)
        self.turn = direction.begin()
        self.scaled = direction.scaled
        # Where the region has bounds, directions other than the steepest must know which of them hold; in any other
        # set, whether they lead down at all.
        steepest = isinstance(direction, Steepest)
        self.boxed = isinstance(region, _Box)
        self.two_metrics = self.boxed and not steepest
        self.curved = isinstance(region, _ConvexSet) and not steepest
        # Whether anyone asks how the gradient has changed: the steepest direction and a schedule do not.
        self.learns = self.searches or not steepest
        self.tol = tol
        self.xtol = xtol
        self.ftol = ftol
        self.maxiter = maxiter
        self.callback = callback
        self.points = [] if history else None
        self.steps = []
        self.nit = 0
        self.current = self.lowest = None

    def descend(self, x0):
        """Run the loop; return status and message."""
        try:
            return self._descend(x0)
        except _OutOfTime:
            best = self.objective.best
            if best is not None and best.f <= self.objective.target:
                # The time ended in a gradient by differences, after the value that had reached the target.
                return TARGET, "The target is reached."
            return TIME, "The time is used up."

    def _descend(self, x0):
        objective = self.objective
        current = self._start(x0)
        if current.f == math.inf:
            return NOT_FINITE, "The function is not finite at x0."
        last = None
        arrived = True
        flattest = math.inf
        idle = 0
        while True:
            self.current = current
            x, f, g = current.x, current.f, current.g
            lower = self.lowest is None or f < self.lowest.f
            improved = lower or current.scale < flattest
            self.lowest = current if lower else self.lowest
            flattest = min(flattest, current.scale)
            if arrived:
                if self.points is not None:
                    self.points.append(current)
                if self.nit and self.callback is not None and self._report(current):
                    return CALLBACK, "The callback asked for the end."
            if arrived and last is not None:
                idle = 0 if improved else idle + 1
            weary = idle >= _PATIENCE and self.searches
            if f <= objective.target:
                return TARGET, "The target is reached."
            if current.scale < self.tol or current.scale == 0.0:
                best = self._best()
                if best is current:
                    return CONVERGED, "The projected gradient is below the tolerance."
                if not weary:
                    # A stationary point, but a lower one has been seen: go on from there.
                    current, last, arrived = best, None, False
                    continue
            if weary:
                return PRECISION, f"Neither value nor gradient has become smaller in {_PATIENCE} iterations."
            if arrived and last is not None:
                stop = self._small_change(last, current)
                if stop is not None:
                    return CONVERGED, stop
            if self.nit >= self.maxiter:
                return ITERATIONS, "The iterations are used up."

            d = self._direction(current, last)
            if self.boxed and self.searches:
                d = self.region.admit(x, d)
            slope = float(g.dot(d))
            if math.isfinite(slope) and (not self.searches or (slope < 0.0 and self._descends(x, g, d, last))):
                try:
                    trial = self._settle(Ray(objective, current, d, slope, self.nit, self.scaled, last))
                except _TargetReached as reached:
                    trial = reached.trial
                    objective.measure(trial)
                except NoStep as no_step:
                    trial = None
                    status, message = no_step.status, str(no_step)
            else:
                trial = None
                status, message = PRECISION, "The function does not descend along the direction beyond rounding."
            if trial is None:
                if last is None:
                    return status, message
                # The direction may be to blame: forget the past and look down the gradient.
                last, arrived = None, False
                continue

            s = trial.x - x
            y = None
            if self.learns:
                y = trial.g - g
                if self.region.bends:
                    # What a bound holds back tells nothing about curvature.
                    y[s == 0.0] = 0.0
            # A step of zero, which schedules may take, leaves no past to learn from.
            last = (trial.alpha, slope, f, s, y) if trial.alpha != 0.0 else None
            self.nit += 1
            if self.points is not None:
                self.steps.append(trial.alpha)
            current, arrived = trial, True

    def _best(self):
        """Return the lowest point with a gradient: the iterate, unless another is lower by more than rounding."""
        if self.current is None:
            return self.objective.best
        for best in (self.objective.best, self.lowest):
            if self.current.f - best.f <= _ROUNDING * abs(best.f):
                return self.current
            if self.objective.measure(best) < math.inf or self.objective.late:
                return best
        return self.current

    def _start(self, x0):
        try:
            start = self.objective.trial(0.0, x0, 0.0)
        except _TargetReached as reached:
            start = reached.trial
        if start.f < math.inf and self.objective.measure(start) == math.inf:
            i = np.flatnonzero(~(np.abs(start.g) < _HUGE))[0]
            raise ValueError(f"jac must be finite and below {_HUGE:g} at x0, got {start.g[i]} for variable {i}")
        return start

    def _direction(self, current, last):
        g = current.g
        step, _, _, s, y = last or (0.0, None, None, None, None)
        if not self.two_metrics:
            return self.turn(g, s, y, step)
        binding = self.region.binding(current.x, g, current.scale)
        if not binding.any():
            return self.turn(g, s, y, step)
        # Bertsekas: the direction acts among the free variables; the others go straight to their bounds.
        free = ~binding
        d = self.turn(g * free, *((s, y) if s is None else (s * free, y * free)), step)
        d[binding] = -g[binding]
        return d

    def _descends(self, x, g, d, last):
        # The steepest direction, which starts a run and follows every failure, always does.
        return last is None or not self.curved or self.region.descends(x, g, d)

    def _settle(self, ray):
        """Look along a ray; return a trial with a finite gradient, which a step that found none is shortened to."""
        trial = self.look(ray)
        while self.objective.measure(trial) == math.inf:
            if not ray.moves(trial):
                raise NoStep("The gradient is not finite anywhere near the last point along the direction.", NOT_FINITE)
            trial = finite_trial(ray, _RETREAT * trial.alpha)
        if self.searches and not ray.moves(trial):
            raise NoStep("The step is too small to move x.")
        return trial

    def _small_change(self, last, current):
        _, _, f, s, _ = last
        if self.xtol and box.largest(s) <= self.xtol * max(1.0, box.largest(current.x)):
            return "The displacement is below xtol."
        if self.ftol and abs(f - current.f) <= self.ftol * max(1.0, abs(f)):
            return "The change of the value is below ftol."
        return None

    def _report(self, current):
        """Tell the callback; return whether it asked for the end."""
        try:
            self.callback(
                OptimizeResult(
                    x=current.x.copy(),
                    fun=current.f,
                    jac=current.g.copy(),
                    nit=self.nit,
                    step=current.alpha,
                    nfev=self.objective.nfev,
                    njev=self.objective.njev,
                )
            )
        except StopIteration:
            return True
        return False

    def result(self, x0, status, message):
        """Return what the caller gets."""
        objective = self.objective
        if objective.best is None:
            report = {"x": x0, "fun": objective.not_finite, "jac": np.full_like(x0, np.nan), "optimality": math.nan}
        else:
            point = self._best()
            optimality = objective.measure(point)
            report = {"x": point.x.copy(), "fun": point.f, "jac": point.g.copy(), "optimality": optimality}
        result = OptimizeResult(
            **report,
            nit=self.nit,
            nfev=objective.nfev,
            njev=objective.njev,
            status=status,
            success=status in (CONVERGED, TARGET),
            message=message,
        )
        if self.points is not None:
            # A run that ended at its start, for want of time or of a finite value, has arrived nowhere.
            rows = [(point.x, point.f, point.scale) for point in self.points] or [
                (result.x, result.fun, result.optimality)
            ]
            x, fun, gradient_norm = map(np.array, zip(*rows, strict=True))
            result.history = OptimizeResult(x=x, fun=fun, gradient_norm=gradient_norm, step=np.array(self.steps))
        return result
