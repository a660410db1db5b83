"""The caller's function and gradient: called, checked and counted, for the loops of Python and in C alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import as_floats, is_masked_array
from graddesc.descent.differences import Differences
from graddesc.endings import Ending

_Vector: TypeAlias = NDArray[np.float64]

# Values that differ by no more than so many units in the last place, relative to themselves, differ by rounding.
ROUNDING_UNITS = 8
# SciPy's names for schemes of finite differences.
SCHEMES = ("2-point", "3-point", "cs")
# Where a gradient is asked for: at the point last evaluated, the best one, or another; as in the compiled loop.
LAST_POINT, BEST_POINT, OTHER_POINT = range(3)


class OutOfBudget(Exception):
    """Neither time nor evaluations are left for all the values of a gradient by differences."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending


class Objective:
    """A function and its gradient.

    Attributes
    ----------
    nfev, njev : int
        The calls of the function, those for differences among them, and the gradients.
    rounding : float
        How far values may differ by rounding, relative to themselves: single precision is recognised.
    noise : float
        How much lower a value must be to count as lower: what differences have been found to be uncertain by.
    unresolved : bool
        Whether the last gradient is of differences whose error by rounding is above the tolerance.
    drowned : bool
        Whether, besides, it is no larger than that error.
    comparable : bool
        Whether the gradient comes from the caller, so that it could contradict the values.
    ended : Ending or None
        Why no more is to be evaluated: that the time has run out, or that there was too little left for a gradient.
    """

    def __init__(
        self,
        fun: Any,
        jac: Any,
        args: Any,
        bounds: tuple[_Vector, _Vector] | None,
        *,
        tol: float,
        deadline: float,
        maxfun: float,
    ) -> None:
        if not callable(fun):
            raise TypeError(f"fun must be callable, got {fun!r}")
        if not (callable(jac) or jac is None or isinstance(jac, bool) or (isinstance(jac, str) and jac in SCHEMES)):
            raise TypeError(f"jac must be callable, bool or None, got {jac!r}")
        memoized = getattr(jac, "__self__", None)
        if memoized is fun and type(fun).__name__ == "MemoizeJac":
            # SciPy's way to hand over a function that returns both, which hides how often it is called.
            fun, jac = memoized.fun, True
        self._args = args if isinstance(args, tuple) else (args,)
        self._fun = fun
        self._both = jac is True
        self._jac: Callable[..., Any] | None = jac if callable(jac) else None
        pinned = None if bounds is None else bounds[0] == bounds[1]
        self._pinned = pinned if pinned is not None and pinned.any() else None
        self._deadline = deadline
        self._maxfun = maxfun
        self.comparable = self._both or self._jac is not None
        self._differences = None if self.comparable else Differences(self._beside, bounds, tol)
        self.nfev = self.njev = 0
        self._unit = math.ulp(1.0)
        self.rounding = ROUNDING_UNITS * self._unit
        self.unresolved = self.drowned = False
        self.noise = 0.0
        self.ended: Ending | None = None
        # Gradients that came with values: that of the last call, and that of the lowest value.
        self._last: _Vector | None = None
        self._best: _Vector | None = None
        self._lowest = math.inf

    def value(self, x: _Vector, candidate: bool = True) -> float:
        """Return the value at a point, of which the caller gives away the array; a candidate may be the best one."""
        self.nfev += 1
        n = x.size
        f = self._fun(x, *self._args)
        if self._both:
            self.njev += 1
            try:
                f, g = f
            except (TypeError, ValueError):
                raise TypeError(f"fun must return a pair (value, gradient) if jac is True, got {f!r}") from None
            self._last = self._check(g, n)
        if type(f) is not float:
            f = float(f) if isinstance(f, float) else self._number(f)  # NumPy's doubles are floats
        if self._both and candidate and f < self._lowest:
            self._lowest, self._best = f, self._last
        if candidate:
            self.look_at_the_clock()
        return f

    def look_at_the_clock(self) -> None:
        """Note that the time has run out."""
        if self._deadline < math.inf and perf_counter() >= self._deadline:
            self.ended = Ending.TIME

    def gradient(self, x: _Vector, f: float, asked_at: int) -> _Vector | None:
        """Return the gradient where the value is f; None where neither time nor evaluations are left for it."""
        g = self._gradient(x, f, asked_at)
        self.look_at_the_clock()
        return g

    def _gradient(self, x: _Vector, f: float, asked_at: int) -> _Vector | None:
        if self._jac is not None:
            self.njev += 1
            return self._check(self._jac(x, *self._args), x.size)
        if self._both:
            # The lowest value may be of a point that has been given up, as its gradient is not finite.
            if asked_at == BEST_POINT and f == self._lowest:
                return self._best
            if asked_at != LAST_POINT:
                self.value(x, candidate=False)
            return self._last
        assert self._differences is not None
        try:
            g = self._differences.gradient(x, f, self._unit)
        except OutOfBudget as out:
            self.ended = out.ending
            return None
        self.njev += 1
        self.unresolved, self.drowned = self._differences.unresolved, self._differences.drowned
        self.noise = self._differences.rounding(f)
        return g

    def came_along(self) -> _Vector | None:
        """Return the gradient that came with the last value; None if gradients come apart."""
        return self._last if self._both else None

    def _beside(self, x: _Vector) -> float:
        """Evaluate a point for a difference."""
        if perf_counter() >= self._deadline:
            raise OutOfBudget(Ending.TIME)
        if self.nfev >= self._maxfun:
            raise OutOfBudget(Ending.EVALUATIONS)
        return self.value(x, candidate=False)

    def _check(self, g: Any, n: int) -> _Vector:
        if type(g) is not np.ndarray or g.dtype != np.float64:
            self._learn_precision(g)
        gradient = as_floats("jac", g, "return")
        if gradient.ndim == 0 and n == 1:
            gradient = gradient.reshape(1)
        if gradient.shape != (n,):
            raise ValueError(f"jac must return an array of shape {(n,)}, got {gradient.shape}")
        if self._pinned is not None:
            gradient[self._pinned] = 0.0
        return gradient

    def _number(self, f: Any) -> float:
        """Return what the function returned as a float; arrays of one element will do."""
        self._learn_precision(f)
        if isinstance(f, tuple | list) and len(f) == 2 and np.ndim(f[0]) == 0 and np.ndim(f[1]) == 1:
            raise TypeError(f"fun must return a number, got a pair (value, gradient): jac=True?; it was {f!r}")
        if is_masked_array(f) and np.ma.is_masked(f):
            raise TypeError(f"fun must return a number, got {f!r}")
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

    def _learn_precision(self, value: Any) -> None:
        """Note that values or gradients are rounded to fewer digits than those of a double."""
        dtype = getattr(value, "dtype", None)
        if isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize < 8:
            self._unit = max(self._unit, float(np.finfo(dtype).eps))
            self.rounding = max(self.rounding, ROUNDING_UNITS * self._unit)
