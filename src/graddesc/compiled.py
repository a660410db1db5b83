"""Compiled objectives: translates the arguments of `graddesc.minimize` for the compiled loop, and its reports back."""

import ctypes
import functools
import math
import re

import numpy as np
from scipy import LowLevelCallable
from scipy.optimize import OptimizeResult

from graddesc import cython_descent
from graddesc.isa import team_size
from graddesc.schedules import Constant, step_at

__all__ = ["as_python", "descend"]

_VALUE = "double(int,double*,void*)"
_GRADIENT = "void(int,double*,double*,void*)"

# A schedule is asked for all its steps before the run: a minute and 80 MB for as many as these.
_LONGEST_TABLE = 10_000_000

# The compiled loop numbers what Python names.
_CONJUGATE = ("hager-zhang", "polak-ribiere", "hestenes-stiefel", "fletcher-reeves", "dai-yuan")
_BARZILAI_BORWEIN = ("alternating", "adaptive", "long", "short")

_MESSAGES = {
    0: "The projected gradient is below the tolerance.",
    1: "The iterations are used up.",
    2: "No step along the direction lowers the function beyond rounding.",
    3: "The function or its gradient is not finite.",
    5: "The time is used up.",
    6: "The target is reached.",
}
_BAD_START = 101


# report_t of cython_descent.pxd.
_REPORT = np.dtype(
    [("fun", "d"), ("optimality", "d"), ("status", "i"), ("nit", "q"), ("nfev", "q"), ("njev", "q")], align=True
)


@functools.lru_cache(1000)
def _types(signature):
    """A signature without names of parameters, spaces and const, which make no difference."""
    return "".join(re.findall(r"\b(?:int|double|void|long|float|char)\b|[*(),]", signature.decode()))


def _capsule(name, function, wanted):
    """Return the capsule of a LowLevelCallable after a look at its signature."""
    if not isinstance(function, LowLevelCallable):
        raise TypeError(f"{name} must be a scipy.LowLevelCallable of {wanted}, got {function!r}")
    capsule = tuple.__getitem__(function, 0)
    if _types(cython_descent.signature(capsule)) != wanted:
        raise ValueError(f"{name} must have the signature {wanted}, got {function.signature}")
    return capsule


def _table(step, maxiter):
    """Return the steps of a schedule, one for each iteration; the last one stays."""
    count = 1 if isinstance(step, Constant) else max(maxiter, 1)
    if count > _LONGEST_TABLE:
        raise ValueError(f"maxiter must be at most {_LONGEST_TABLE} to tabulate a schedule, got {maxiter}")
    return np.array([step_at(step, k) for k in range(count)])


def as_python(fun, jac):
    """Return Python functions of an array that call a compiled objective and its gradient.

    Parameters
    ----------
    fun, jac : scipy.LowLevelCallable
        As for `descend`.

    Returns
    -------
    fun, jac : callable
        ``fun(x) -> float`` and ``jac(x) -> ndarray``.
    """
    capsules = _capsules(fun, jac)
    data = cython_descent.data_address(capsules[0])
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    addresses = [get_pointer(capsule, get_name(capsule)) for capsule in capsules]
    pointer = ctypes.c_void_p
    value = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, pointer, pointer)(addresses[0])
    gradient = ctypes.CFUNCTYPE(None, ctypes.c_int, pointer, pointer, pointer)(addresses[1])

    def value_at(x):
        return value(x.size, x.ctypes.data, data)

    def gradient_at(x):
        g = np.empty_like(x)
        gradient(x.size, x.ctypes.data, g.ctypes.data, data)
        return g

    value_at.keep = gradient_at.keep = fun, jac  # what the addresses point into
    return value_at, gradient_at


def _capsules(fun, jac):
    capsules = _capsule("fun", fun, _VALUE), _capsule("jac", jac, _GRADIENT)
    if cython_descent.data_address(capsules[0]) != cython_descent.data_address(capsules[1]):
        raise ValueError("fun and jac must have the same user_data")
    return capsules


def _require_kind(name, value, kinds):
    if type(value).__name__ not in kinds:
        raise ValueError(f"{name} must be one of {', '.join(kinds)} for compiled objectives, got {value!r}")


def _step_settings(step):
    own = {"step": cython_descent.STEPS[type(step).__name__], **vars(step)}
    if "slopes" in own and own.pop("slopes") is False:
        own["step"] = cython_descent.BY_VALUES
    if "initial" in own:
        own["has_initial"] = own["initial"] is not None
        own["initial"] = own["initial"] or 1.0
    if "formula" in own:
        own["formula"] = _BARZILAI_BORWEIN.index(own["formula"])
    if "target" in own:
        own["least"] = own.pop("target")
    return own


def _direction_settings(direction):
    own = {"direction": cython_descent.DIRECTIONS[type(direction).__name__], **vars(direction)}
    if "momentum" in own:
        own["growing_momentum"] = own["momentum"] is None
        own["momentum"] = own["momentum"] or 0.0
    if "formula" in own:
        own["conjugate"] = _CONJUGATE.index(own.pop("formula"))
    if "memory" in own:
        own["lbfgs_memory"] = own.pop("memory")
    return own


@functools.lru_cache(100)
def _settings(step, direction):
    """Return the settings of a search, or None for a schedule, and a direction."""
    own = {"step": cython_descent.STEPS["schedule"]} if step is None else _step_settings(step)
    return cython_descent.Settings(cython_descent.defaults() | own | _direction_settings(direction))


def descend(fun, x0, jac, step, direction, *, threads, tol, xtol, ftol, target, maxiter, max_time):
    """Run the compiled loop from x0 of shape (n,) or from each row of x0 of shape (m, n).

    Parameters
    ----------
    fun, jac : scipy.LowLevelCallable
        ``double (int n, double *x, void *data)`` and ``void (int n, double *x, double *gradient, void *data)``, with
        the same user data.
    x0 : ndarray of shape (n,) or (m, n)
        Finite and C-contiguous; overwritten, as the result's ``x``.
    step, direction, threads, tol, xtol, ftol, target, maxiter, max_time
        As for `graddesc.minimize`.

    Returns
    -------
    scipy.optimize.OptimizeResult
        As of `graddesc.minimize`; for several starts every entry but ``message`` has one element for each, and ``best``
        is the index of the lowest value.
    """
    capsules = _capsules(fun, jac)
    _require_kind("direction", direction, cython_descent.DIRECTIONS)
    if hasattr(step, "begin"):
        _require_kind("step", step, cython_descent.STEPS)
        settings, table = _settings(step, direction), None
    else:
        settings, table = _settings(None, direction), _table(step, maxiter)
    max_time = math.inf if max_time is None else max_time
    x = x0 if x0.ndim == 2 else x0[np.newaxis]
    g = np.empty_like(x)
    reports = np.empty(len(x), _REPORT)
    cython_descent.run(
        *capsules,
        settings,
        tol,
        xtol,
        ftol,
        target,
        max_time,
        min(maxiter, 2**31 - 1),
        table,
        team_size(threads),
        x,
        g,
        reports,
    )
    if x0.ndim == 1:
        return _single(reports, x[0], g[0])
    columns = {name: reports[name].copy() for name in _REPORT.names}
    status = columns["status"] = columns["status"].astype(int)
    status[status == _BAD_START] = 3
    success = (status == 0) | (status == 6)
    best = int(np.argmin(np.where(np.isfinite(columns["fun"]), columns["fun"], np.inf)))
    message = f"{success.sum()} of {success.size} starts have converged."
    return OptimizeResult(x=x, jac=g, **columns, success=success, best=best, message=message)


def _single(reports, x, g):
    fun, optimality, status, nit, nfev, njev = reports.item()
    if status == _BAD_START:
        i = np.flatnonzero(~np.isfinite(g))
        i = i[0] if i.size else np.argmax(np.abs(g))
        raise ValueError(f"jac must be finite at x0, got {g[i]} for variable {i}")
    return OptimizeResult(
        x=x,
        jac=g,
        fun=fun,
        optimality=optimality,
        status=status,
        nit=nit,
        nfev=nfev,
        njev=njev,
        success=status in (0, 6),
        message=_MESSAGES[status],
    )
