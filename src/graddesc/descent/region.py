"""Where iterates may be: everywhere, between bounds, or in whatever set the caller's projection maps to.

A region tells where a step along a ray leads and how fast, how large the projected gradient is, and what of a direction
it lets through.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import box
from graddesc.arguments import as_floats

if TYPE_CHECKING:
    from graddesc.line_search import Ray, Trial

_Vector: TypeAlias = NDArray[np.float64]

# Gradients from here on count as not finite: the square of their length would overflow.
HUGE = 1e145
# How close to a bound a variable may be that is counted as held by it, at most.
BINDING = 1e-3
# How much further a step goes to see where a projection leads: far enough for the differences to outlive rounding.
AHEAD = 2.0**-10


class Region(Protocol):
    """What the loop asks of a region."""

    name: str
    bends: bool

    def move(self, ray: Ray, alpha: float) -> tuple[_Vector, float]:
        """Return the point one step along a ray, and what the slope there promises for it."""

    def velocity(self, ray: Ray, trial: Trial) -> _Vector:
        """Return how fast the path moves at a trial, for each unit of the step."""

    def measure(self, x: _Vector, g: _Vector) -> float:
        """Return the largest component of the projected gradient; infinity if the gradient is not finite."""

    def admit(self, x: _Vector, d: _Vector) -> _Vector:
        """Return a direction without the components that point out of the region at a point."""

    def binding(self, x: _Vector, g: _Vector, scale: float) -> NDArray[np.bool_] | None:
        """Tell which variables the gradient holds at a bound; None if that is none of them."""

    def descends(self, x: _Vector, g: _Vector, d: _Vector) -> bool:
        """Whether the projected path goes down at its start; the direction's slope does not always tell."""

    def holds(self, x: _Vector) -> bool:
        """Whether a point is in the region."""


class Everywhere:
    """No bounds at all."""

    name = "space"
    bends = False

    def move(self, ray: Ray, alpha: float) -> tuple[_Vector, float]:
        """As `Region`."""
        return ray.x + alpha * ray.d, alpha * ray.slope

    def velocity(self, ray: Ray, trial: Trial) -> _Vector:
        """As `Region`."""
        return ray.d

    def measure(self, x: _Vector, g: _Vector) -> float:
        """As `Region`."""
        size = float(box.largest(g))
        return size if size < HUGE else math.inf

    def admit(self, x: _Vector, d: _Vector) -> _Vector:
        """As `Region`."""
        return d

    def binding(self, x: _Vector, g: _Vector, scale: float) -> None:
        """As `Region`."""
        return

    def descends(self, x: _Vector, g: _Vector, d: _Vector) -> bool:
        """As `Region`."""
        return True

    def holds(self, x: _Vector) -> bool:
        """As `Region`."""
        return True


class Box:
    """Bounds on each variable; a fixed one has its value for both."""

    name = "bounds"
    bends = True

    def __init__(self, low: _Vector, high: _Vector) -> None:
        self.low = low
        self.high = high

    @functools.cached_property
    def _box(self) -> Any:
        # The loop in C needs none. Each of many starts may have bounds of its own, which it alone knows.
        return box.Box(self.low, self.high)

    def move(self, ray: Ray, alpha: float) -> tuple[_Vector, float]:
        """As `Region`."""
        x = np.empty_like(ray.x)
        return x, self._box.step(ray.x, alpha, ray.d, ray.g, x)

    def velocity(self, ray: Ray, trial: Trial) -> _Vector:
        """As `Region`."""
        return self.admit(trial.x, ray.d)

    def measure(self, x: _Vector, g: _Vector) -> float:
        """As `Region`."""
        return float(self._box.largest(x, g, HUGE))

    def admit(self, x: _Vector, d: _Vector) -> _Vector:
        """As `Region`."""
        admitted = np.empty_like(d)
        self._box.admit(x, d, admitted)
        return admitted

    def binding(self, x: _Vector, g: _Vector, scale: float) -> NDArray[np.bool_] | None:
        """As `Region`: close to a bound and pushed against it, as Bertsekas defines them."""
        near = min(scale, BINDING)
        binding: NDArray[np.bool_] = ((g > 0.0) & (x <= self.low + near)) | ((g < 0.0) & (x >= self.high - near))
        return binding if binding.any() else None

    def descends(self, x: _Vector, g: _Vector, d: _Vector) -> bool:
        """As `Region`."""
        return True

    def holds(self, x: _Vector) -> bool:
        """As `Region`."""
        return bool(((self.low <= x) & (x <= self.high)).all())


class ConvexSet:
    """Whatever the caller's projection maps to."""

    name = "set that projection maps to"
    bends = True

    def __init__(self, projection: Callable[[_Vector], Any]) -> None:
        self._projection = projection

    def project(self, x: _Vector) -> _Vector:
        """Return the nearest point."""
        nearest = as_floats("projection", self._projection(x.copy()), "return")
        if nearest.shape != x.shape:
            raise ValueError(f"projection must return an array of shape {x.shape}, got {nearest.shape}")
        return nearest

    def move(self, ray: Ray, alpha: float) -> tuple[_Vector, float]:
        """As `Region`."""
        x = self.project(ray.x + alpha * ray.d)
        return x, float(ray.g.dot(x - ray.x))

    def velocity(self, ray: Ray, trial: Trial) -> _Vector:
        """As `Region`."""
        ahead = AHEAD * trial.alpha
        return (self.project(ray.x + (trial.alpha + ahead) * ray.d) - trial.x) / ahead

    def measure(self, x: _Vector, g: _Vector) -> float:
        """As `Region`."""
        return float(box.largest(x - self.project(x - g))) if box.largest(g) < HUGE else math.inf

    def admit(self, x: _Vector, d: _Vector) -> _Vector:
        """As `Region`."""
        return d

    def binding(self, x: _Vector, g: _Vector, scale: float) -> None:
        """As `Region`."""
        return

    def descends(self, x: _Vector, g: _Vector, d: _Vector) -> bool:
        """As `Region`."""
        ahead = AHEAD**2 * max(1.0, box.largest(x)) / box.largest(d)
        return bool(g.dot(self.project(x + ahead * d) - x) < 0.0)

    def holds(self, x: _Vector) -> bool:
        """As `Region`."""
        return bool((self.project(x) == x).all())


def region_of(x0: _Vector, bounds: Any, fixed: Any, projection: Any) -> tuple[Everywhere | Box | ConvexSet, _Vector]:
    """Return where the iterates may be, and the start, or the rows of starts, moved there."""
    if projection is not None:
        if not callable(projection):
            raise TypeError(f"projection must be callable, got {projection!r}")
        if bounds is not None or fixed is not None:
            raise ValueError("projection must come alone: give either projection, or bounds and fixed")
        region = ConvexSet(projection)
        return region, region.project(x0)
    if bounds is None and fixed is None:
        return Everywhere(), x0
    low, high = _bounds(bounds, x0.shape[-1])
    start = _moved_inside(x0, low, high)
    if fixed is not None:
        fixed = np.asarray(fixed)
        if fixed.dtype != bool or fixed.shape != x0.shape[-1:]:
            wanted = x0.shape[-1:]
            raise ValueError(f"fixed must be an array of bool of shape {wanted}, got {fixed.dtype} of {fixed.shape}")
        outside = np.argwhere(fixed & (start != x0))
        if outside.size:
            i = outside[0][-1]
            raise ValueError(f"fixed variables must start within their bounds, got x0[{i}] = {x0[tuple(outside[0])]}")
        low, high = np.where(fixed, x0, low), np.where(fixed, x0, high)
    return Box(low, high), start


def _one_for_each(side: Any, n: int) -> _Vector:
    # Much faster than to broadcast what is long enough.
    whole = isinstance(side, np.ndarray) and side.shape == (n,)
    return as_floats("bounds", side if whole else np.broadcast_to(side, n))


def _bounds(bounds: Any, n: int) -> tuple[_Vector, _Vector]:
    if bounds is None:
        return np.full(n, -np.inf), np.full(n, np.inf)
    if hasattr(bounds, "lb"):
        try:
            low, high = (_one_for_each(side, n) for side in (bounds.lb, bounds.ub))
        except ValueError:
            raise ValueError(
                f"bounds must have one value for each of the {n} variables, got shapes {np.shape(bounds.lb)} and "
                f"{np.shape(bounds.ub)}"
            ) from None
        return low, high
    if type(bounds) is np.ndarray and bounds.dtype == np.float64 and bounds.shape == (n, 2):
        low, high = bounds.T.copy()
        return low, high
    try:
        pairs = list(bounds)
    except TypeError:
        raise TypeError(f"bounds must be pairs (low, high) or scipy.optimize.Bounds, got {bounds!r}") from None
    low, high = np.empty((2, n))
    if len(pairs) == n and box.read_pairs(pairs, low, high):
        return low, high
    try:
        sides: tuple[tuple[Any, ...], ...] = tuple(zip(*pairs, strict=True))
        sound = len(pairs) == n and len(sides) == 2
        sound = sound and all(side is None or np.ndim(side) == 0 for each in sides for side in each)
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError(f"bounds must be {n} pairs (low, high), got {bounds!r}")
    low, high = (
        as_floats("bounds", [open_end if side is None else side for side in each])
        for each, open_end in zip(sides, (-math.inf, math.inf), strict=True)
    )
    return low, high


def _moved_inside(x0: _Vector, low: _Vector, high: _Vector) -> _Vector:
    """Return a start, or rows of them, moved between bounds, which must leave a number between them."""
    start = np.empty_like(x0)
    rows = zip(x0, start, strict=True) if x0.ndim > 1 else [(x0, start)]
    if not all(box.clip(row, low, high, out) for row, out in rows):
        i = np.flatnonzero(~((low <= high) & (low < np.inf) & (high > -np.inf)))[0]
        raise ValueError(f"bounds must leave a number between them, got ({low[i]}, {high[i]}) for variable {i}")
    return start
