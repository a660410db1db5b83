"""The ray ``x + alpha d`` as a search sees it, and what searches share.

Every trial is projected, ``P(x + alpha d)``, and a test of sufficient decrease uses the displacement that remains:
``g.(P(x + alpha d) - x)`` in place of ``alpha g.d``. Without bounds the two are the same. A trial whose value is not
finite counts as infinitely high, so that every search shortens its step away from it. Where a trial promises no more
than the rounding of the value, slopes decide in the value's place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import box
from graddesc.endings import Ending
from graddesc.schedules import step_at

if TYPE_CHECKING:
    from graddesc.descent.loop import Evaluations
    from graddesc.schedules import _Schedule

_Vector: TypeAlias = NDArray[np.float64]

INFINITY = math.inf
# Longer steps overflow before they are added: no trial goes further than this in any coordinate.
LONGEST_MOVE = 1e150
# Where there is nothing finite, every trial is this much shorter than the last.
RETREAT = 0.1
# The first trial goes so far, as a share of the largest variable: not to zero, where functions that are symmetric are
# stationary without a minimum.
FIRST_SHARE = 0.95
# The share of the decrease so far that is not worth another trial where a projected path bends.
NEGLIGIBLE = 0.1
# The most steps, one after the other, that may be shortened because the function is not finite.
LOST_STEPS = 20


class NoStep(Exception):
    """No acceptable step was found along a ray.

    Parameters
    ----------
    message : str
        One sentence that says why.
    status : int, default 2
        The status of a run that ends here: 2, lost precision, or 3, nothing finite.
    """

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.sentence = message
        self.status = status


def no_step(ending: Ending) -> NoStep:
    """Return what a search raises that ends in one of the ways that the loop knows."""
    return NoStep(ending.sentence, ending.status)


class Move(NamedTuple):
    """What an iteration was.

    Attributes
    ----------
    step : float
        The step along the ray.
    slope : float
        The slope at its start.
    f : float
        The value at its start.
    s, y : ndarray of shape (n,)
        The displacement, after any projection, and the change of the gradient.
    """

    step: float
    slope: float
    f: float
    s: _Vector
    y: _Vector


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

    def __init__(self, alpha: float, x: _Vector, f: float, g: _Vector | None, linear: float) -> None:
        self.alpha = alpha
        self.x = x
        self.f = f
        self.g = g
        self.linear = linear
        self.scale: float | None = None


class _Search(Protocol):
    def begin(self) -> _Look: ...


class Ray:
    """The function along ``P(x + alpha d)``, as a search sees it; made by the loop for each iteration.

    Parameters
    ----------
    evaluations : graddesc.descent.loop.Evaluations
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
    last : Move or None
        What the last iteration was; None in the first iteration and after a restart.
    longest : float
        The longest step: trials beyond are as far away as doubles allow.
    rounding : float
        How far values may differ by rounding, relative to themselves.
    """

    __slots__ = (
        "_evaluations",
        "_region",
        "bends",
        "d",
        "f",
        "g",
        "iteration",
        "last",
        "longest",
        "rounding",
        "scale",
        "scaled",
        "slope",
        "x",
    )

    def __init__(
        self,
        evaluations: Evaluations,
        start: Trial,
        d: _Vector,
        slope: float,
        iteration: int,
        scaled: bool,
        last: Move | None,
    ) -> None:
        assert start.g is not None
        assert start.scale is not None
        self._evaluations = evaluations
        self._region = evaluations.region
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
        self.longest = LONGEST_MOVE / max(float(box.largest(d)), 1e-150)
        self.rounding = evaluations.rounding

    def at(self, alpha: float) -> Trial:
        """Evaluate the function one step along the ray, no longer than ``longest``: a `Trial`."""
        alpha = min(max(alpha, -self.longest), self.longest)
        x, linear = self._region.move(self, alpha)
        return self._evaluations.trial(alpha, x, linear)

    def slope_at(self, trial: Trial) -> float:
        """Tell how fast the function changes at a trial, for each unit of alpha; infinity where it is not finite.

        On a projected ray that is the slope along the path, ahead of the trial where the path bends.
        """
        if trial.f == INFINITY:
            return INFINITY
        if self._evaluations.measure(trial) == INFINITY:
            trial.f = INFINITY
            return INFINITY
        assert trial.g is not None
        return float(trial.g.dot(self._region.velocity(self, trial)))

    def moves(self, trial: Trial) -> bool:
        """Whether a trial differs from the start at all."""
        # A projection that makes NaN of its point differs even where the step has become zero.
        return trial.alpha != 0.0 and bool((trial.x != self.x).any())


_Look: TypeAlias = Callable[[Ray], Trial]


def unit_step(ray: Ray) -> float:
    """Return the step that moves by one; the square of a short direction may be below all numbers."""
    return 1.0 / (math.sqrt(ray.d.dot(ray.d)) or float(box.largest(ray.d)))


def first_step(ray: Ray) -> float:
    """Return the length of the first trial: what the variables' size, or the last iteration, suggests."""
    if ray.last is None:
        # Nearly as far as the variables are large, whatever their unit.
        size = float(box.largest(ray.x))
        if size > 0.0:
            return min(FIRST_SHARE * size / float(box.largest(ray.d)), ray.longest)
        return 1.0 if ray.scaled else unit_step(ray)
    if ray.scaled:
        return 1.0
    step, slope, _, s, y = ray.last
    sy, dd = float(s.dot(y)), float(ray.d.dot(ray.d))
    if sy > 0.0 and dd > 0.0:
        # Where the curvature along the last displacement would put the minimum.
        return min(float(s.dot(s)) / sy * (-ray.slope / dd), ray.longest)
    return min(step * (slope / ray.slope), ray.longest)


def exhausted(ray: Ray, low: Trial, slope_low: float, high: Trial) -> bool:
    """Whether no step between two trials lowers the function much further than the lower one has done.

    If the function is convex along the ray, the slope at the lower trial bounds what there is. Where a projected path
    bends at a bound, the slope may jump across zero, so that no step flattens it.
    """
    width = abs(high.alpha - low.alpha)
    if not ray.bends:
        return width <= 1e-15 * max(low.alpha, high.alpha)
    gain = abs(slope_low) * width
    return low.alpha > 0.0 and (low.f - gain == low.f or (high.f < INFINITY and gain <= NEGLIGIBLE * (ray.f - low.f)))


def finite_trial(ray: Ray, alpha: float) -> Trial:
    """Return the trial at ``alpha``, shortened until its value is finite."""
    trial = ray.at(alpha)
    while trial.f == INFINITY:
        if not ray.moves(trial):
            raise no_step(Ending.VALUE_NOT_FINITE)
        trial = ray.at(RETREAT * trial.alpha)
    return trial


def blurred(ray: Ray, trial: Trial, reference: float) -> bool:
    """Whether a trial promises no more than the rounding of the value, nor differs from the reference by more."""
    rounding = ray.rounding * abs(ray.f)
    return -rounding <= trial.linear < 0.0 and abs(trial.f - reference) <= rounding


def lowers(ray: Ray, trial: Trial, reference: float, sufficient_decrease: float) -> bool:
    """Whether a trial passes the test of Armijo against a reference value, the approximate one where that is blurred.

    The approximate test (Hager and Zhang 2005, equation 4.1) is the same for a parabola, but it looks at slopes.
    """
    if blurred(ray, trial, reference):
        return ray.slope_at(trial) <= (2.0 * sufficient_decrease - 1.0) * (trial.linear / trial.alpha)
    return trial.linear < 0.0 and trial.f <= reference + sufficient_decrease * trial.linear


class Follower:
    """Takes steps as they are, or as much of each as leads to where the function is finite."""

    def __init__(self) -> None:
        self._lost = 0

    def follow(self, ray: Ray, alpha: float) -> Trial:
        """Return the trial at a step; raise `NoStep` after too many that were shortened."""
        trial = finite_trial(ray, alpha)
        self._lost = self._lost + 1 if trial.alpha < min(alpha, ray.longest) else 0
        if self._lost >= LOST_STEPS:
            raise no_step(Ending.LOST)
        return trial


def follow(schedule: _Schedule) -> _Look:
    """Wrap a schedule ``k -> float`` so that it looks along rays as a search does."""
    follower = Follower()
    return lambda ray: follower.follow(ray, step_at(schedule, ray.iteration))
