"""Gradients from differences of values that know the scale of the variables, their domain and the values' rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Vector: TypeAlias = NDArray[np.float64]

# A variable as small as this share of its start counts so large.
LEAST_SHARE = 1e-3
# How much of the largest component the error of a difference to one side may be.
FORWARD_ERROR = 1e-2
# A difference of fewer units of rounding is taken anew: so many times as far apart, or as the curvature tells, which is
# known from so many units on.
TELLING = 1e6
CURVED = 1e3
FURTHER = 32.0
# Two gradients and two values that differ by more than this share of the largest of them from the rule of the trapezium
# may be of noise.
UNLIKE = 0.75
# Noise of so many units of rounding, or of what was heard before, makes a gradient be taken anew.
HEARD = 2.0
# Noise that may be in a gradient is no matter below this share of the tolerance.
HUSHED = 0.1
# The differences of this order, of so many values in a row beside the one at the point, tell the noise; and what share
# of all values that may cost.
ORDER = 3
ROW = 4
LISTENING = 0.05


class Differences:
    """The gradient of a function of which there are only values.

    Central differences, two values for each variable, tell the curvature as well. As long as the error that this
    predicts for a difference to one side is small beside the gradient and the tolerance, one value has to do. At a
    bound, and where a side is not finite, the parabola through the point and two on the other side takes their place.

    Parameters
    ----------
    value : callable
        ``value(x) -> float``; it may keep or change its point.
    bounds : pair of ndarray or None
        What the points keep to; a variable between equal bounds is fixed.
    tol : float
        The gradient that is to be told from zero.

    Attributes
    ----------
    unresolved : bool
        Whether rounding of the values may leave an error above ``tol`` in the last gradient.
    drowned : bool
        Whether, besides, no component of it is larger than its error or ``tol``.
    noise : float
        What has been heard of noise in the values; 0 unless they gave a reason to listen.

    References
    ----------
    .. [1] J. J. More and S. M. Wild, "Estimating computational noise", SIAM Journal on Scientific Computing 33 (2011)
       1292-1314, :doi:`10.1137/100786125`
    """

    def __init__(self, value: Callable[[_Vector], float], bounds: tuple[_Vector, _Vector] | None, tol: float) -> None:
        self._value = value
        self._bounds = bounds
        self._tol = tol
        self._usual: _Vector | None = None
        self.noise = 0.0
        # The point, value and gradient before.
        self._last: tuple[_Vector, float, _Vector] | None = None
        self._calls = self._heard = 0
        # What noise the last gradient shows by itself, at most: how far its differences to one side are off from those
        # to both, beyond curvature and rounding; and how much curvatures have changed since they were known before,
        # times the step, infinity where they are not known.
        self._off = self._unsure = 0.0
        # Variables that no value has been found to depend on.
        self._inert: NDArray[np.bool_] | None = None
        self._curvature: _Vector | None = None
        self._largest = 0.0
        self._unit = math.nan
        self.unresolved = self.drowned = False

    def gradient(self, x: _Vector, f: float, unit: float) -> _Vector:
        """Return the gradient at x, where the value is f and values are rounded to a share of ``unit``."""
        if self._usual is None:
            self._usual = self._usual_size(x)
            self._curvature = np.full(x.size, math.nan)
            self._inert = np.zeros(x.size, bool)
        self._unit = unit
        # Written down before it is known, lest a gradient that is given up leaves that of another point.
        self.unresolved = self.drowned = False
        g, noise = self._slopes(x, f)
        if self._is_doubtful(x, f, g):
            heard = self._listen(x, f)
            if heard > HEARD * self.rounding(f):
                self.noise = heard
                self._curvature = np.full(x.size, math.nan)
                g, noise = self._slopes(x, f)
        self._last = x, f, g
        self._largest = float(np.abs(g).max())
        self.unresolved = bool((noise > self._tol).any())
        self.drowned = self.unresolved and bool((np.abs(g) <= np.maximum(noise, self._tol)).all())
        return g

    def rounding(self, f: float) -> float:
        """Return how far values near f may differ by rounding, or by what noise has been heard in them."""
        return max(self._unit * abs(f), self.noise)

    def _slopes(self, x: _Vector, f: float) -> tuple[_Vector, _Vector]:
        """Return the gradient, and what rounding may be in its components."""
        assert self._curvature is not None
        assert self._inert is not None
        rounding = self.rounding(f)
        noise = np.zeros_like(x)
        self._off = self._unsure = 0.0
        g = np.zeros_like(x)
        one_sided = []
        for i in range(x.size):
            step, error = self._forward_step(i, x[i], rounding)
            if error <= FORWARD_ERROR * self._largest and self._fits(i, x[i], step):
                g[i] = self._slope(x, i, f, step)
                noise[i] = 2.0 * rounding / step
                # Values that are equal are suspect, except of a variable that is known to make no difference.
                if math.isfinite(g[i]) and (g[i] != 0.0 or self._inert[i]):
                    one_sided.append((i, step, error))
                    continue
                g[i], noise[i] = self._compared(x, i, f, rounding, step, g[i])
            else:
                g[i], noise[i] = self._central(x, i, f, rounding)
            self._inert[i] = g[i] == 0.0 and self._curvature[i] == 0.0
        largest = float(np.abs(g).max())
        for i, step, error in one_sided:
            # Closer to the minimum than was expected: the error would be taken for the gradient.
            if error > FORWARD_ERROR * max(largest, self._tol):
                g[i], noise[i] = self._compared(x, i, f, rounding, step, g[i])
            else:
                self._unsure = math.inf
        return g, noise

    def _compared(
        self, x: _Vector, i: int, f: float, rounding: float, step: float, one_sided: float
    ) -> tuple[float, float]:
        """Do as `_central`, and note what that tells of noise in the difference to one side."""
        assert self._curvature is not None
        slope, noise = self._central(x, i, f, rounding)
        off = abs(one_sided - slope - 0.5 * step * float(self._curvature[i]))
        if off * step > 2.0 * HEARD * rounding:
            self._off = max(self._off, off)
        return slope, noise

    def _is_doubtful(self, x: _Vector, f: float, g: _Vector) -> bool:
        """Whether noise may be in a gradient.

        That is where differences of several distances do not agree, where the value has not changed as gradients tell,
        and where the run is to end by the gradient, unless curvatures known twice show that there is none.
        """
        ends = float(np.abs(g).max()) < self._tol
        if self._last is None:
            return ends
        if ends and self.noise == 0.0:
            return not self._unsure <= HUSHED * self._tol
        may_listen = self._heard <= LISTENING * self._calls
        if self._off > HUSHED * self._tol and may_listen:
            return True
        last_x, last_f, last_g = self._last
        change, s = f - last_f, x - last_x
        before, after = 0.5 * float(last_g.dot(s)), 0.5 * float(g.dot(s))
        most = max(abs(change), abs(before), abs(after))
        if abs(change - (before + after)) <= UNLIKE * most + 4.0 * self.rounding(f):
            return False
        return ends or may_listen

    def _listen(self, x: _Vector, f: float) -> float:
        """Return a bound on the noise in values close by, from the third differences of a row of them [1]_."""
        rounding = self._unit * abs(f)
        apart = np.array([self._central_step(i, self._size(i, xi), rounding) / ROW for i, xi in enumerate(x)])
        if self._bounds is not None:
            low, high = self._bounds
            apart = np.where(x + ROW * apart <= high, apart, -apart)
            apart = np.where((x + ROW * apart <= high) & (x + ROW * apart >= low), apart, 0.0)
        if not apart.any():
            return 0.0
        row = [f, *(self._call(x + k * apart) for k in range(1, ROW + 1))]
        self._heard += ROW
        if not all(map(math.isfinite, row)):
            return 0.0
        share = math.factorial(ORDER) ** 2 / math.factorial(2 * ORDER)
        with np.errstate(over="ignore", invalid="ignore"):
            differences = np.diff(row, ORDER)
            variance = share * float(differences.dot(differences)) / differences.size
        return 3.0 * math.sqrt(variance) if variance < math.inf else 0.0

    def _call(self, x: _Vector) -> float:
        self._calls += 1
        return self._value(x)

    def _usual_size(self, x: _Vector) -> _Vector:
        """Tell how large each variable is: as its start, or what its bounds allow."""
        usual = np.abs(x)
        allowed = np.ones_like(x)
        if self._bounds is not None:
            width = self._bounds[1] - self._bounds[0]
            allowed = np.where(np.isfinite(width), width, 1.0)
        return np.where(usual > 0.0, usual, allowed)

    def _size(self, i: int, xi: float) -> float:
        assert self._usual is not None
        return max(abs(xi), LEAST_SHARE * float(self._usual[i]))

    def _fits(self, i: int, xi: float, step: float) -> bool:
        return xi + step != xi and (self._bounds is None or xi + step <= self._bounds[1][i])

    def _forward_step(self, i: int, xi: float, rounding: float) -> tuple[float, float]:
        """Return the best step to one side, and the error to be expected, infinity where the curvature is not known."""
        assert self._curvature is not None
        curvature = abs(float(self._curvature[i]))
        size = self._size(i, xi)
        step = size * math.sqrt(self._unit)
        if not curvature < math.inf:
            return step, math.inf
        if curvature > 0.0:
            furthest = size if self.noise > 0.0 else size * self._unit ** (1 / 3)
            step = min(max(step, 2.0 * math.sqrt(rounding / curvature)), furthest)
        return step, 0.5 * step * curvature + 2.0 * rounding / step

    def _central_step(self, i: int, size: float, rounding: float) -> float:
        """Return the best step to both sides."""
        assert self._curvature is not None
        assert self._usual is not None
        step = size * math.cbrt(self._unit)
        curvature = abs(float(self._curvature[i]))
        if not 0.0 < curvature < math.inf:
            return step
        best = min(math.cbrt(6.0 * rounding * size / curvature), max(size, float(self._usual[i])))
        if curvature * step**2 <= CURVED * rounding:
            return best
        # Small values are rounded by less than their precision lets fear.
        return min(step, max(best, size * math.cbrt(math.ulp(1.0))))

    def _slope(self, x: _Vector, i: int, f: float, step: float) -> float:
        beside = x.copy()
        beside[i] += step
        step = float(beside[i] - x[i])  # as the value's change is of what the sum was rounded to
        return (self._call(beside) - f) / step

    def _central(self, x: _Vector, i: int, f: float, rounding: float) -> tuple[float, float]:
        """Return a component by differences to both sides, or two to one side, and what rounding may be in it."""
        assert self._curvature is not None
        assert self._usual is not None
        xi = float(x[i])
        low, high = (-math.inf, math.inf) if self._bounds is None else (self._bounds[0][i], self._bounds[1][i])
        room = 0.25 * (high - low)
        size = self._size(i, xi)
        step = self._central_step(i, size, rounding)
        furthest = min(max(size, float(self._usual[i])), room)
        step = min(step, furthest)
        while True:
            if xi - step == xi or xi + step == xi:
                if step >= furthest:
                    # The variable is fixed, or its bounds are too close for a difference.
                    self._curvature[i] = 0.0
                    return 0.0, 0.0
                step = min(FURTHER * step, furthest)
                continue
            change, curvature, width = self._differences(x, i, f, step, low, high)
            if change == curvature == 0.0 and step < furthest:
                # All values are equal: a plateau, which may be one of rounding.
                step = min(FURTHER * step, furthest)
                continue
            bent = abs(curvature - float(self._curvature[i])) * step
            self._unsure = max(self._unsure, bent) if bent < math.inf and curvature != 0.0 else math.inf
            self._curvature[i] = curvature
            noise = 2.0 * rounding / width + abs(curvature) * step**2 / (6.0 * max(size, step))
            if abs(change) * width > TELLING * rounding or noise <= 0.1 * self._tol or not math.isfinite(change):
                return change, noise
            # Too close for the rounding of the values. Where the curvature is known, it tells how far the difference
            # may go until its third derivative, which is taken to be the curvature by the variable's size, weighs more.
            if abs(curvature) * step**2 > CURVED * rounding:
                best = min((6.0 * rounding * size / abs(curvature)) ** (1 / 3), furthest)
                if best > 2.0 * step:
                    change, _, width = self._differences(x, i, f, best, low, high)
                return change, 2.0 * rounding / width
            if step >= furthest:
                # Between close bounds nothing can be gained that rounding would not hide.
                idle = high - low < math.inf and abs(change) * (high - low) <= TELLING * rounding
                return (0.0, 0.0) if idle else (change, noise)
            step = min(FURTHER * step, furthest)

    def _differences(
        self, x: _Vector, i: int, f: float, step: float, low: float, high: float
    ) -> tuple[float, float, float]:
        """Return slope, curvature, and the distance between the points that the slope is taken from."""
        above, below = math.nan, math.nan
        up = down = step
        if x[i] + step <= high:
            point = x.copy()
            point[i] += step
            up = float(point[i] - x[i])
            above = self._call(point)
        if x[i] - step >= low:
            point = x.copy()
            point[i] -= step
            down = float(x[i] - point[i])
            below = self._call(point)
        if math.isfinite(above) and math.isfinite(below):
            return (above - below) / (up + down), (above - 2.0 * f + below) / (up * down), up + down
        # The parabola through the point and two on the side that is left.
        near, far, width = (above, math.nan, up) if math.isfinite(above) else (below, math.nan, -down)
        if not math.isfinite(near):
            return math.nan, math.nan, abs(width)
        point = x.copy()
        point[i] += 2.0 * width
        if low <= point[i] <= high:
            far = self._call(point)
        if not math.isfinite(far):
            return (near - f) / width, math.nan, abs(width)
        return (4.0 * near - far - 3.0 * f) / (2.0 * width), (far - 2.0 * near + f) / width**2, 0.5 * abs(width)
