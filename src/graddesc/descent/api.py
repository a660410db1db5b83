"""`minimize` and `gradient_descent`: what they take, which loop runs, and what they report."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Concatenate, Literal, Protocol, SupportsFloat, TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import LowLevelCallable
from scipy.optimize import Bounds, LbfgsInvHessProduct, OptimizeResult, OptimizeWarning

from graddesc._kernels.box import largest
from graddesc.arguments import as_floats, require_count, require_nonnegative
from graddesc.descent import compiled
from graddesc.descent.loop import Run, Stops
from graddesc.descent.objective import Objective
from graddesc.descent.region import Box, region_of
from graddesc.directions import LBFGS, ConjugateGradient, Steepest, _Direction
from graddesc.endings import Ending
from graddesc.line_search import Backtracking, ExactLineSearch, HagerZhang, NoStep, StrongWolfe
from graddesc.line_search.ray import _Search
from graddesc.schedules import _Schedule

__all__ = ["gradient_descent", "minimize"]

_Vector: TypeAlias = NDArray[np.float64]
_Value: TypeAlias = Callable[Concatenate[_Vector, ...], SupportsFloat]
_Gradient: TypeAlias = Callable[Concatenate[_Vector, ...], ArrayLike]
_ValueAndGradient: TypeAlias = Callable[Concatenate[_Vector, ...], tuple[SupportsFloat, ArrayLike]]

_DEFAULT_MAXITER = 10_000
_MOST = 2**31 - 1  # iterations, in C
_UNLIMITED = 2**63 - 1
_SUCCESS = (Ending.GRADIENT.status, Ending.TARGET.status)
# The defaults, made once: to check their settings takes as long as a few iterations. What is left of the slope decides
# how well conjugate directions fit together.
_SEARCH = StrongWolfe()
_CONJUGATE_SEARCH = StrongWolfe(curvature=0.45)
_QUASI_NEWTON = LBFGS()
# What options of SciPy's methods are called here.
_EQUIVALENTS = {
    "norm": "the largest component is compared with tol",
    "eps": "differences choose their own steps",
    "finite_diff_rel_step": "differences choose their own steps",
    "workers": "minimize calls fun from one thread",
    "c1": "step=StrongWolfe(sufficient_decrease=...)",
    "c2": "step=StrongWolfe(curvature=...)",
    "xrtol": "xtol",
    "xatol": "xtol",
    "fatol": "ftol",
    "maxfev": "maxfun",
    "hess_inv0": "LBFGS scales its first matrix itself",
    "disp": "minimize does not print: the result's message, or callback=...",
    "iprint": "minimize does not print: the result's message, or callback=...",
}


# The name of the parameter tells minimize() what to hand over.
class _ResultCallback(Protocol):
    def __call__(self, *, intermediate_result: OptimizeResult) -> object: ...


class _SciPysOptions(TypedDict, total=False):
    gtol: float
    maxls: int
    maxcor: int
    disp: bool | None
    iprint: int


def gradient_descent(
    f: Callable[[_Vector], SupportsFloat],
    Df: Callable[[_Vector], ArrayLike],
    x0: ArrayLike,
    maxiter: int | None = 100,
    tol: float = 1e-5,
) -> tuple[_Vector, float, int]:
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

    Warns
    -----
    scipy.optimize.OptimizeWarning
        If it ends unconverged.

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
    maxiter = _count("maxiter", 100 if maxiter is None else maxiter)
    result = minimize(f, x0, jac=Df, step=ExactLineSearch(), direction=Steepest(), maxiter=maxiter, tol=tol)
    if not result.success:
        warnings.warn(f"not converged after {result.nit} iterations: {result.message}", OptimizeWarning, stacklevel=2)
    return result.x, result.fun, min(result.nit + (result.status == 0), maxiter)


def minimize(
    fun: _Value | _ValueAndGradient | LowLevelCallable,
    x0: ArrayLike,
    args: tuple[object, ...] = (),
    jac: _Gradient | LowLevelCallable | bool | Literal["2-point", "3-point", "cs"] | None = None,
    *,
    step: _Schedule | _Search | None = None,
    direction: _Direction | None = None,
    bounds: Sequence[Sequence[float | None]] | Bounds | None = None,
    fixed: Sequence[bool] | NDArray[np.bool_] | None = None,
    projection: Callable[[_Vector], ArrayLike] | None = None,
    tol: float = 1e-5,
    xtol: float = 0.0,
    ftol: float = 0.0,
    maxiter: float | None = None,
    maxfun: float | None = None,
    max_time: float | None = None,
    target: float | None = None,
    callback: _ResultCallback | Callable[[_Vector], object] | None = None,
    history: bool = False,
    threads: int = 1,
    return_all: bool = False,
    hess: object = None,
    hessp: object = None,
    constraints: object = (),
    **options: Unpack[_SciPysOptions],
) -> OptimizeResult:
    """Minimise a function of several variables by going downhill.

    Parameters
    ----------
    fun : callable or scipy.LowLevelCallable
        The function, ``fun(x, *args) -> float``. It gets a copy of its point, which it may keep or change. If it is
        compiled, ``double (int n, double *x, void *data)``, the whole run is, and the GIL is released.
    x0 : array_like of shape (n,) or, for compiled functions, (m, n)
        Where to start, finite; not changed. A start outside the bounds is moved onto them, and the message says so.
        Each of m rows is a start of its own.
    args : tuple, optional
        Further arguments of ``fun`` and ``jac``.
    jac : callable, bool or None, optional
        The gradient, ``jac(x, *args) -> array of shape (n,)``, a number if n is 1. True: ``fun`` returns the pair
        (value, gradient). None (or False, or one of SciPy's names for finite differences): differences, n or 2 n values
        for each gradient.
        If ``fun`` is compiled, ``void (int n, double *x, double *gradient, void *data)`` with the same user data; or
        True if ``fun`` is ``double (int n, double *x, double *gradient, void *data)``, which tells both.
    step : step rule, optional
        How far to go: a schedule of `graddesc.schedules` or any ``k -> float`` of the iteration k = 0, 1, ..., or a
        search of `graddesc.line_search`. Default: ``StrongWolfe()``, with
        a ``curvature`` of 0.45 for `ConjugateGradient`.
    direction : direction, optional
        Where to go: one of `graddesc.directions`. Default: ``LBFGS()`` with `StrongWolfe`, `HagerZhang` and
        `Backtracking`; ``Steepest()`` with other steps, which belong to the gradient.
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
        The most iterations; infinity is no limit.
    maxfun : int, optional
        The most evaluations of ``fun``, positive, those for differences among them; infinity is no limit.
    max_time : float, optional
        The most seconds; looked at after every evaluation of ``fun``.
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
    return_all : bool, default False
        Whether to keep the iterates, as ``allvecs``.
    hess, hessp : optional
        Ignored; here because SciPy hands them to every method.
    constraints : optional
        Refused unless empty; here because SciPy hands it to every method.
    **options
        SciPy's names: ``gtol`` is ``tol``, ``maxls`` the ``max_trials`` of the step and ``maxcor`` the ``memory`` of
        `LBFGS`. A warning names the equivalent of others, and those that are unknown.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``x``, ``fun``: the best point tried and the value there, exactly ``fun(x)``, where the points beside it that
        serve finite differences do not count; ``jac``: the gradient there, NaN if the time ended a run without it;
        ``nit``: completed iterations, that is, steps taken; ``nfev``, ``njev``: evaluations of the value and of the
        gradient; ``optimality``: the largest component of the projected gradient; ``success``, ``status`` and
        ``message``; after `LBFGS` also ``hess_inv``, its inverse Hessian as a linear operator. With ``history``, also
        ``history``, an OptimizeResult with ``x`` of shape (nit + 1, n), ``fun``, ``gradient_norm`` (of the projected
        gradient) and ``nfev`` (so far) of shape (nit + 1,), and ``step`` of shape (nit,).

        =======  =====================================================================
        status   why the run ended
        =======  =====================================================================
        0        converged
        1        the iterations or the evaluations are used up
        2        precision is lost: no step lowers the function beyond rounding
        3        the function or its gradient is not finite
        4        the function is unbounded below
        5        the time is used up
        6        the target is reached
        7        ``fun`` and ``jac`` disagree
        99       the callback asked for it
        =======  =====================================================================

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or ``fun``, ``jac`` or ``step`` return no numbers.
    ValueError
        If ``x0`` is empty, not finite or not one-dimensional; if the gradient has the wrong shape; if bounds cross or
        exclude a fixed variable; if ``projection`` comes with bounds or ``fixed``, or returns an array of another
        shape; if constraints are given; if ``step`` returns a negative or not finite number.

    Warns
    -----
    scipy.optimize.OptimizeWarning
        If an option has another name here, or is unknown.

    Notes
    -----
    ``x_{k+1} = P(x_k + alpha_k d_k)``, where P is the projection onto the bounds or the convex set. On variables that
    the gradient holds at a bound the direction is the negative gradient; the others follow ``direction`` [1]_. A
    direction along which the function does not descend, or along which a search finds no step, is replaced by the
    steepest one, except that a schedule follows any direction. A trial that is not finite is shortened, never accepted.

    Values that differ by rounding alone count as equal in the choice of the best point. If a run converges where the
    value is higher than one seen before, it goes on from the best point. What ``fun`` and ``jac`` raise passes through.

    Differences are relative to the size of a variable, or of its start, or to what its bounds allow. They go to both
    sides near a minimum and where the curvature is not known, else to one; to the inner side at a bound, and to the
    other where one is not finite; further apart where values differ by rounding or noise alone. Four values more tell
    the noise where gradient and values contradict each other, or differences of several distances, and before a run
    ends for its small gradient, unless curvatures that are known twice show that there is none. If that leaves more
    than ``tol`` in doubt, a small gradient has status 2.

    The function counts as unbounded 1e20 times as far below zero as value or gradient are large at ``x0``. Where no
    step down the gradient is found, and after searches of many trials, a few more values tell whether the gradient is
    wrong. Values and gradients of single precision are recognised as such.

    The loop is compiled, but for steps, directions and projections of the caller's own. If ``fun`` is compiled, no
    Python runs at all, unless there is a ``callback`` or ``history``, and `ExactLineSearch` looks for the root of the
    slope unless told otherwise. For m starts every entry of the result but ``message`` has m elements, and ``best`` is
    the index of the lowest value. Cython users find the loop in ``graddesc.cython_descent``.

    It is a method of SciPy's as it stands: ``scipy.optimize.minimize(..., method=graddesc.minimize, options={...})``.

    References
    ----------
    .. [1] D. P. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM Journal
       on Control and Optimization 20 (1982) 221-246, :doi:`10.1137/0320018`

    Examples
    --------
    >>> from graddesc import minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> result = minimize(problem, problem.start, jac=problem.gradient)
    >>> result.x.round(6)
    array([1., 1.])
    >>> result.message
    'The projected gradient is below the tolerance.'
    """
    tol, step, direction = _understand(dict(options), tol, step, direction)
    if constraints != () and np.any(constraints):  # type: ignore[call-overload]
        raise ValueError("constraints are not supported: use bounds, fixed or projection")
    require_count("threads", threads)
    in_c = isinstance(fun, LowLevelCallable)
    start = _start(x0, in_c)
    if isinstance(step, type) or not (hasattr(step, "begin") or callable(step)):
        raise TypeError(f"step must be a schedule k -> float or a line search, got {step!r}")
    if isinstance(direction, type) or not hasattr(direction, "begin"):
        raise TypeError(f"direction must be one of graddesc.directions, got {direction!r}")
    if in_c and (not isinstance(args, tuple) or args):
        raise ValueError(f"args must not be given with compiled objectives, got {args!r}")
    if in_c and isinstance(step, ExactLineSearch) and step.slopes is None:
        step = dataclasses.replace(step, slopes=True)
    stops = _stops(tol, xtol, ftol, target, step, maxiter, maxfun, max_time)
    runs_in_c = compiled.knows(step, direction) and projection is None
    if start.ndim == 2:
        _refuse_for_many(
            start,
            {
                "projection": projection is not None,
                "callback": callback is not None,
                "history": history,
                "return_all": return_all,
                type(step).__name__: not compiled.knows(step, LBFGS()),
                type(direction).__name__: not compiled.knows(StrongWolfe(), direction),
            },
        )
    region, inside = region_of(start, bounds, fixed, projection)
    box = (region.low, region.high) if isinstance(region, Box) else None
    if in_c and runs_in_c:
        functions: Any = compiled.capsules_of(fun, jac)
        if start.ndim == 2:
            return _many(functions, step, direction, stops, box, np.array(inside), threads)
    else:
        deadline = perf_counter() + stops.max_time
        fun, jac = compiled.as_python(fun, jac) if in_c else (fun, jac)
        functions = Objective(fun, jac, args, box, tol=stops.tol, deadline=deadline, maxfun=stops.maxfun)
    log = _Log(_callback(callback), keep=bool(history), keep_points=bool(history or return_all))
    pairs = None
    ending: Ending | NoStep
    if runs_in_c:
        x = np.array(inside)
        ending, g, report, pairs = compiled.run_one(
            functions, step, direction, stops, box, x, log.arrive if log.listens else None
        )
        fun_value, optimality, nit, nfev, njev = report
    else:
        run = Run(functions, region, step, direction, stops, log.arrive if log.listens else None)
        ending = run.descend(inside)
        x, fun_value, g, optimality = run.outcome(inside)
        nit, nfev, njev = run.nit, functions.nfev, functions.njev
        pairs = run.matrix(x.size)
    message = ending.sentence
    if ending == Ending.GRADIENT and nit == 0 and optimality > 0.0:
        message += f" That is {optimality:.3g} at x0, before any step: if x0 is no minimum, tol is too large."
    if inside is not start and (inside != start).any():
        message += f" x0 was outside the {region.name}, and the run started from the nearest point inside."
    result = _result(
        x=x,
        fun=fun_value,
        jac=g,
        optimality=optimality,
        nit=nit,
        nfev=nfev,
        njev=njev,
        status=ending.status,
        success=ending.status in _SUCCESS,
        message=message,
    )
    if pairs is not None:
        result["hess_inv"] = InverseHessian(*pairs)
    if history:
        result["history"] = log.history(result)
    if return_all:
        result["allvecs"] = log.points or [result.x.copy()]
    return result


def _result(**entries: Any) -> OptimizeResult:
    return OptimizeResult(entries)  # type: ignore[call-arg]


class InverseHessian(LbfgsInvHessProduct):
    """The inverse Hessian of L-BFGS, made when it is first looked at: that takes as long as ten iterations."""

    def __init__(self, sk: _Vector, yk: _Vector) -> None:
        self._pairs = sk, yk

    def __getattr__(self, name: str) -> Any:
        if "_pairs" not in vars(self):
            raise AttributeError(name)
        super().__init__(*self._pairs)
        return object.__getattribute__(self, name)

    def __reduce__(self) -> tuple[type[InverseHessian], tuple[_Vector, _Vector]]:
        # SciPy's own state may not be there yet, and differs from version to version.
        return InverseHessian, self._pairs


def _start(x0: Any, compiled: bool) -> _Vector:
    start = as_floats("x0", x0, order="C", ndmin=1)
    if start.size == 0 or start.ndim > (2 if compiled else 1):
        wanted = "(n,) or (m, n)" if compiled else "(n,)"
        raise ValueError(f"x0 must have shape {wanted} with n >= 1, got {start.shape}")
    if not largest(start.reshape(-1)) < math.inf:
        finite = np.isfinite(start)
        raise ValueError(f"x0 must be finite, got {start[~finite][0]} at index {np.flatnonzero(~finite)[0]}")
    return start


def _number(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return number


def _count(name: str, value: Any, least: int = 0) -> int:
    """Return an integer, which floats such as 1e3 are as well."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return require_count(name, value, least)


def _limit(name: str, value: Any, default: int, most: int, least: int = 0) -> int:
    """Return the most of something that may be counted: infinity is as much as can be."""
    if value is None:
        return default
    if type(value) is int and value >= least:
        return min(value, most)
    return most if isinstance(value, float) and value == math.inf else min(_count(name, value, least), most)


def _stops(tol: Any, xtol: Any, ftol: Any, target: Any, step: Any, maxiter: Any, maxfun: Any, max_time: Any) -> Stops:
    for name, value in {"tol": tol, "xtol": xtol, "ftol": ftol}.items():
        require_nonnegative(name, value)
    if max_time is not None:
        require_nonnegative("max_time", max_time)
    least = -math.inf if target is None else _number("target", target)
    return Stops(
        float(tol),
        float(xtol),
        float(ftol),
        # Beyond the value that it aims at, a step of Polyak's would climb.
        max(least, float(getattr(step, "target", -math.inf))),
        math.inf if max_time is None else float(max_time),
        _limit("maxiter", maxiter, _DEFAULT_MAXITER, _MOST),
        _limit("maxfun", maxfun, _UNLIMITED, _UNLIMITED, least=1),
    )


def _understand(options: dict[str, Any], tol: Any, step: Any, direction: Any) -> tuple[Any, Any, Any]:
    """Return tolerance, step and direction, by SciPy's names as well; warn of options that are not understood."""
    if "gtol" in options:
        tol = options.pop("gtol")
        require_nonnegative("gtol", tol)
    if step is None:
        step = _CONJUGATE_SEARCH if isinstance(direction, ConjugateGradient) else _SEARCH
    if direction is None:
        direction = _QUASI_NEWTON if isinstance(step, StrongWolfe | HagerZhang | Backtracking) else Steepest()
    if "maxls" in options and hasattr(step, "max_trials"):
        step = dataclasses.replace(step, max_trials=_count("maxls", options.pop("maxls"), least=1))
    if "maxcor" in options and isinstance(direction, LBFGS):
        direction = dataclasses.replace(direction, memory=_count("maxcor", options.pop("maxcor"), least=1))
    for name, value in options.items():
        if name in ("disp", "iprint") and (value is None or value <= 0):
            continue
        equivalent = f" {_EQUIVALENTS[name]}" if name in _EQUIVALENTS else ""
        text = f"{name} is not an option here:{equivalent}" if equivalent else f"unknown option: {name}"
        warnings.warn(text, OptimizeWarning, stacklevel=3)
    return tol, step, direction


def _refuse_for_many(starts: _Vector, asked: dict[str, bool]) -> None:
    for name, is_asked in asked.items():
        if is_asked:
            raise ValueError(f"x0 must have shape (n,) with {name}, got {starts.shape}")


def _callback(callback: Any) -> Callable[[OptimizeResult], object] | None:
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


class _Log:
    """What is kept of the iterates, and who is told."""

    def __init__(self, callback: Callable[[OptimizeResult], object] | None, keep: bool, keep_points: bool) -> None:
        self._callback = callback
        self._keep = keep
        self._keep_points = keep_points
        self.listens = keep_points or callback is not None
        self.points: list[_Vector] = []
        self._values: list[float] = []
        self._scales: list[float] = []
        self._steps: list[float] = []
        self._evaluations: list[int] = []

    def arrive(
        self, x: _Vector, f: float, g: _Vector, scale: float, alpha: float, nit: int, nfev: int, njev: int
    ) -> bool:
        """Note an iterate, the start first; return whether the callback asks for the end."""
        if self._keep_points:
            self.points.append(x)
        if self._keep:
            self._values.append(f)
            self._scales.append(scale)
            self._evaluations.append(nfev)
            if nit:
                self._steps.append(alpha)
        if self._callback is None or nit == 0:
            return False
        if self._keep_points:
            x = x.copy()
        try:
            self._callback(_result(x=x, fun=f, jac=g, nit=nit, step=alpha, nfev=nfev, njev=njev))
        except StopIteration:
            return True
        return False

    def history(self, result: OptimizeResult) -> OptimizeResult:
        """Return what the iterates were; where none was reached, the result is the only one."""
        if not self.points:
            return _result(
                x=result.x[np.newaxis].copy(),
                fun=np.array([result.fun]),
                gradient_norm=np.array([result.optimality]),
                nfev=np.array([result.nfev]),
                step=np.empty(0),
            )
        x, fun, gradient_norm, nfev, step = map(
            np.array, (self.points, self._values, self._scales, self._evaluations, self._steps)
        )
        return _result(x=x, fun=fun, gradient_norm=gradient_norm, nfev=nfev, step=step)


def _many(
    capsules: tuple[Any, ...],
    step: Any,
    direction: Any,
    stops: Stops,
    bounds: tuple[_Vector, _Vector] | None,
    x: _Vector,
    threads: int,
) -> OptimizeResult:
    g, reports = compiled.run_many(capsules, step, direction, stops, bounds, x, threads)
    columns = {name: reports[name].copy() for name in compiled.REPORT.names or ()}
    columns["status"] = columns["status"].astype(int)
    success = np.isin(columns["status"], _SUCCESS)
    best = int(np.argmin(np.where(np.isfinite(columns["fun"]), columns["fun"], np.inf)))
    message = f"{success.sum()} of {success.size} starts have converged."
    return _result(x=x, jac=g, **columns, success=success, best=best, message=message)
