"""What the loop in C runs: which steps and directions it knows, how it is called, and what it reports."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import LowLevelCallable

from graddesc import cython_descent
from graddesc.descent.loop import Stops
from graddesc.descent.objective import Objective
from graddesc.directions import memory_for
from graddesc.endings import Ending
from graddesc.isa import team_size
from graddesc.schedules import Constant, step_at

_Vector: TypeAlias = NDArray[np.float64]

VALUE = "double(int,double*,void*)"
GRADIENT = "void(int,double*,double*,void*)"
BOTH = "double(int,double*,double*,void*)"

_MOST = 2**31 - 1  # what an int of C holds
# A schedule is asked for all its steps before many starts: a minute and 80 MB for as many as these.
_LONGEST_TABLE = 10_000_000
# report_t of cython_descent.pxd.
REPORT = np.dtype(
    [("fun", "d"), ("optimality", "d"), ("status", "i"), ("nit", "q"), ("nfev", "q"), ("njev", "q")], align=True
)


@functools.lru_cache(1000)
def _types(signature: bytes) -> str:
    """A signature without names of parameters, spaces and const, which make no difference."""
    return "".join(re.findall(r"\b(?:int|double|void|long|float|char)\b|[*(),]", signature.decode()))


def _capsule(name: str, function: Any, wanted: str) -> Any:
    """Return the capsule of a LowLevelCallable after a look at its signature."""
    if not isinstance(function, LowLevelCallable):
        raise TypeError(f"{name} must be a scipy.LowLevelCallable of {wanted}, got {function!r}")
    capsule = tuple.__getitem__(function, 0)
    if _types(cython_descent.signature(capsule)) != wanted:
        raise ValueError(f"{name} must have the signature {wanted}, got {function.signature}")
    return capsule


def capsules_of(fun: Any, jac: Any) -> tuple[Any, ...]:
    """Return the capsules of a compiled function and its gradient, which must share their user data.

    Where jac is True the function tells both, and there is one capsule.
    """
    if jac is True:
        return (_capsule("fun", fun, BOTH),)
    value, gradient = _capsule("fun", fun, VALUE), _capsule("jac", jac, GRADIENT)
    if cython_descent.data_address(value) != cython_descent.data_address(gradient):
        raise ValueError("fun and jac must have the same user_data")
    return value, gradient


def as_python(fun: Any, jac: Any) -> tuple[Callable[[_Vector], Any], Callable[[_Vector], _Vector] | Literal[True]]:
    """Return Python's ``fun(x)`` and ``jac(x)`` that call a compiled objective; jac is True if fun tells both."""
    capsules = capsules_of(fun, jac)
    data = cython_descent.data_address(capsules[0])
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    addresses = [get_pointer(capsule, get_name(capsule)) for capsule in capsules]
    pointer = ctypes.c_void_p
    told = ctypes.c_double if jac is True else None
    gradient = ctypes.CFUNCTYPE(told, ctypes.c_int, pointer, pointer, pointer)(addresses[-1])
    value = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, pointer, pointer)(addresses[0])

    class _Kept:
        """Functions that keep what their addresses point into."""

        keep = fun, jac

        def value(self, x: _Vector) -> float:
            return float(value(x.size, x.ctypes.data, data))

        def gradient(self, x: _Vector) -> _Vector:
            return self.both(x)[1]

        def both(self, x: _Vector) -> tuple[float, _Vector]:
            g = np.empty_like(x)
            return gradient(x.size, x.ctypes.data, g.ctypes.data, data), g

    kept = _Kept()
    return (kept.both, True) if jac is True else (kept.value, kept.gradient)


def knows(step: Any, direction: Any) -> bool:
    """Whether the loop in C knows a step rule and a direction: its own, but for what derives from them."""
    own = type(step).__name__ in cython_descent.STEPS and type(step).__module__.startswith("graddesc.line_search.")
    known = own or not hasattr(step, "begin")
    return known and type(direction).__module__ == "graddesc.directions"


def _step_settings(step: Any) -> dict[str, Any]:
    own = {"step": cython_descent.STEPS[type(step).__name__], **vars(step)}
    if "slopes" in own:
        by_slopes = own.pop("slopes")
        own["step"] = cython_descent.STEPS["ExactLineSearch"] if by_slopes else cython_descent.BY_VALUES
    if "initial" in own:
        own["has_initial"] = own["initial"] is not None
        own["initial"] = own["initial"] or 1.0
    for name in {"max_trials", "memory"} & set(own):
        own[name] = min(int(own[name]), _MOST)
    if "formula" in own:
        own["formula"] = cython_descent.FORMULAS[own["formula"]]
    if "target" in own:
        own["least"] = own.pop("target")
    return own


def _direction_settings(direction: Any, n: int) -> dict[str, Any]:
    own = {"direction": cython_descent.DIRECTIONS[type(direction).__name__], **vars(direction)}
    if "momentum" in own:
        own["growing_momentum"] = own["momentum"] is None
        own["momentum"] = own["momentum"] or 0.0
    if "formula" in own:
        own["conjugate"] = cython_descent.CONJUGATE[own.pop("formula")]
    if "memory" in own:
        memory = own.pop("memory")
        own["lbfgs_memory"] = memory_for(n) if memory is None else min(int(memory), _MOST)
    return own


@functools.lru_cache(100)
def _settings(step: Any, direction: Any, n: int) -> Any:
    """Return the settings of a search, or None for a schedule, and a direction, for so many variables."""
    own = {"step": cython_descent.STEPS["schedule"]} if step is None else _step_settings(step)
    return cython_descent.Settings(cython_descent.defaults() | own | _direction_settings(direction, n))


def settings_of(step: Any, direction: Any, n: int) -> Any:
    """Return what the loop in C calls a step rule and a direction, for so many variables."""
    return _settings(step if hasattr(step, "begin") else None, direction, n)


def run_one(
    functions: Objective | tuple[Any, ...],
    step: Any,
    direction: Any,
    stops: Stops,
    bounds: tuple[_Vector, _Vector] | None,
    x: _Vector,
    arrive: Callable[..., bool] | None,
) -> tuple[Ending, _Vector, tuple[float, float, int, int, int], tuple[_Vector, _Vector] | None]:
    """Run the loop in C from x, which becomes the best point.

    Parameters
    ----------
    functions : Objective or tuple of capsules
        What is minimised.
    step, direction, stops, bounds
        As for `graddesc.minimize`.
    x : ndarray of shape (n,)
        The start, within the bounds; overwritten.
    arrive : callable or None
        As for `graddesc.descent.loop.Run`.

    Returns
    -------
    ending : Ending
        Why it ended.
    g : ndarray of shape (n,)
        The gradient at the best point.
    report : tuple
        The value, the largest component of the projected gradient, the iterations and the evaluations of both kinds.
    pairs : pair of ndarray of shape (k, n), or None
        The displacements and changes of the gradient that L-BFGS remembers, the oldest first.
    """
    g = np.empty_like(x)
    low, high = (None, None) if bounds is None else bounds
    ending, report, pairs = cython_descent.run_one(
        functions,
        settings_of(step, direction, x.size),
        stops,
        low,
        high,
        functools.partial(step_at, step),
        arrive,
        np.empty,
        x,
        g,
    )
    if pairs is not None:
        displacements, changes = (part.reshape(-1, x.size) for part in pairs)
        pairs = displacements, changes
    return Ending(ending), g, report, pairs


def run_many(
    capsules: tuple[Any, ...],
    step: Any,
    direction: Any,
    stops: Stops,
    bounds: tuple[_Vector, _Vector] | None,
    x: _Vector,
    threads: int,
) -> tuple[_Vector, NDArray[Any]]:
    """Run the loop in C from each row of x, which becomes the best point; return the gradients there and reports."""
    table = None if hasattr(step, "begin") else _table(step, stops.maxiter)
    g, reports, endings = np.empty_like(x), np.empty(len(x), REPORT), np.empty(len(x), np.intc)
    low, high = (None, None) if bounds is None else map(np.atleast_2d, bounds)
    cython_descent.run_many(
        capsules,
        settings_of(step, direction, x.shape[1]),
        stops,
        low,
        high,
        table,
        team_size(threads),
        x,
        g,
        reports,
        endings,
    )
    return g, reports


def _table(step: Any, maxiter: int) -> _Vector:
    """Return the steps of a schedule, one for each iteration; the last one stays."""
    count = 1 if isinstance(step, Constant) else max(maxiter, 1)
    if count > _LONGEST_TABLE:
        raise ValueError(f"maxiter must be at most {_LONGEST_TABLE} to tabulate a schedule, got {maxiter}")
    return np.array([step_at(step, k) for k in range(count)])
