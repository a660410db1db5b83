"""Step sizes that depend on the iteration alone: any callable ``k -> float``, with k = 0, 1, ... the iteration.

Each schedule is a small frozen dataclass; it holds its settings and nothing that changes during a run.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from graddesc.arguments import require_count, require_nonnegative, require_positive, require_share

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseSqrt",
    "InverseTime",
    "Polynomial",
    "StepDecay",
    "WarmUp",
]


_MANY = 2**1000  # iterations: what a float holds, and nobody waits for

_Schedule: TypeAlias = Callable[[int], float]


def step_at(schedule: _Schedule, iteration: int) -> float:
    """Return the step of a schedule for an iteration, a non-negative finite number."""
    step: Any = schedule(iteration)
    # float() would take the text of a number as well.
    if not hasattr(step, "__float__") or getattr(step, "ndim", 0) != 0:
        raise TypeError(f"step must return a number, got {step!r} in iteration {iteration}")
    try:
        step = float(step)
    except OverflowError:
        step = math.inf
    if not 0.0 <= step < math.inf:
        raise ValueError(f"step must return a non-negative finite number, got {step!r} in iteration {iteration}")
    return float(step)


@dataclass(frozen=True)
class Constant:
    """The same step in every iteration.

    Parameters
    ----------
    step : float
        The step, positive.

    Examples
    --------
    >>> from graddesc.schedules import Constant
    >>> Constant(0.1)(7)
    0.1
    """

    step: float

    def __post_init__(self) -> None:
        require_positive("step", self.step)

    def __call__(self, k: int) -> float:
        return self.step


@dataclass(frozen=True)
class InverseTime:
    """A step that falls as one over the iteration, never below a floor.

    Parameters
    ----------
    initial : float
        The step of the first iteration, positive.
    floor : float, default 0.0
        The least step, not negative.

    Notes
    -----
    ``step(k) = max(initial / (k + 1), floor)``. The classic recipe of image restoration is
    ``InverseTime(1.5, floor=0.015)``: from the hundredth iteration on the step is 0.015.

    Examples
    --------
    >>> from graddesc.schedules import InverseTime
    >>> step = InverseTime(1.5, floor=0.015)
    >>> step(0), step(1), step(1000)
    (1.5, 0.75, 0.015)
    """

    initial: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        require_positive("initial", self.initial)
        require_nonnegative("floor", self.floor)

    def __call__(self, k: int) -> float:
        return max(self.initial / (k + 1), self.floor)


@dataclass(frozen=True)
class InverseSqrt:
    """A step that falls as one over the square root of the iteration, never below a floor.

    Parameters
    ----------
    initial : float
        The step of the first iteration, positive.
    floor : float, default 0.0
        The least step, not negative.

    Notes
    -----
    ``step(k) = max(initial / sqrt(k + 1), floor)``: the rate at which the subgradient method converges on convex
    functions [1]_.

    References
    ----------
    .. [1] Yu. Nesterov, "Lectures on Convex Optimization", 2nd ed., Springer 2018, section 3.2.3,
       :doi:`10.1007/978-3-319-91578-4`

    Examples
    --------
    >>> from graddesc.schedules import InverseSqrt
    >>> step = InverseSqrt(1.0)
    >>> step(0), step(3), step(99)
    (1.0, 0.5, 0.1)
    """

    initial: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        require_positive("initial", self.initial)
        require_nonnegative("floor", self.floor)

    def __call__(self, k: int) -> float:
        return max(self.initial / math.sqrt(k + 1), self.floor)


@dataclass(frozen=True)
class Exponential:
    """A step that falls by the same factor in every iteration, never below a floor.

    Parameters
    ----------
    initial : float
        The step of the first iteration, positive.
    factor : float
        What each step is multiplied by to give the next, in (0, 1].
    floor : float, default 0.0
        The least step, not negative.

    Notes
    -----
    ``step(k) = max(initial * factor**k, floor)``.

    Examples
    --------
    >>> from graddesc.schedules import Exponential
    >>> step = Exponential(1.0, factor=0.5, floor=0.1)
    >>> step(0), step(2), step(10)
    (1.0, 0.25, 0.1)
    """

    initial: float
    factor: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        require_positive("initial", self.initial)
        require_share("factor", self.factor)
        require_nonnegative("floor", self.floor)

    def __call__(self, k: int) -> float:
        return max(self.initial * self.factor**k, self.floor)


@dataclass(frozen=True)
class StepDecay:
    """A step that stays for some iterations and then falls by a factor, never below a floor.

    Parameters
    ----------
    initial : float
        The step of the first iterations, positive.
    factor : float
        What the step is multiplied by each time, in (0, 1].
    every : int
        The number of iterations between two falls, positive.
    floor : float, default 0.0
        The least step, not negative.

    Notes
    -----
    ``step(k) = max(initial * factor**(k // every), floor)``.

    Examples
    --------
    >>> from graddesc.schedules import StepDecay
    >>> step = StepDecay(1.0, factor=0.5, every=10)
    >>> step(9), step(10), step(25)
    (1.0, 0.5, 0.25)
    """

    initial: float
    factor: float
    every: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        require_positive("initial", self.initial)
        require_share("factor", self.factor)
        require_count("every", self.every)
        require_nonnegative("floor", self.floor)

    def __call__(self, k: int) -> float:
        return max(self.initial * self.factor ** (k // self.every), self.floor)


@dataclass(frozen=True)
class Polynomial:
    """A step that goes from one value to another along a power of the remaining iterations, and stays there.

    Parameters
    ----------
    initial : float
        The step of the first iteration, positive.
    iterations : int
        The iteration from which on the step is ``final``, positive.
    final : float, default 0.0
        The last step, not negative.
    power : float, default 1.0
        The exponent, positive; 1 is a straight line.

    Notes
    -----
    ``step(k) = final + (initial - final) * (1 - min(k, iterations) / iterations)**power``.

    Examples
    --------
    >>> from graddesc.schedules import Polynomial
    >>> step = Polynomial(1.0, iterations=4, power=2)
    >>> step(0), step(2), step(4), step(5)
    (1.0, 0.25, 0.0, 0.0)
    """

    initial: float
    iterations: int
    final: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        require_positive("initial", self.initial)
        require_count("iterations", self.iterations)
        require_nonnegative("final", self.final)
        require_positive("power", self.power)

    def __call__(self, k: int) -> float:
        remaining = 1 - min(k, self.iterations) / self.iterations
        return self.final + (self.initial - self.final) * math.pow(remaining, self.power)


@dataclass(frozen=True)
class Cosine:
    """A step that goes from one value to another along half a cosine, and stays there.

    Parameters
    ----------
    initial : float
        The step of the first iteration, positive.
    iterations : int
        The iteration from which on the step is ``final``, positive.
    final : float, default 0.0
        The last step, not negative.

    Notes
    -----
    ``step(k) = final + (initial - final) * (1 + cos(pi * min(k, iterations) / iterations)) / 2`` [1]_, without the
    restarts of its source.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
       :doi:`10.48550/arXiv.1608.03983`

    Examples
    --------
    >>> from graddesc.schedules import Cosine
    >>> step = Cosine(1.0, iterations=100)
    >>> step(0), round(step(50), 12), step(100), step(101)
    (1.0, 0.5, 0.0, 0.0)
    """

    initial: float
    iterations: int
    final: float = 0.0

    def __post_init__(self) -> None:
        require_positive("initial", self.initial)
        require_count("iterations", self.iterations)
        require_nonnegative("final", self.final)

    def __call__(self, k: int) -> float:
        iterations = min(self.iterations, _MANY)
        phase = math.pi * min(k, iterations) / iterations
        return self.final + (self.initial - self.final) * (1 + math.cos(phase)) / 2


@dataclass(frozen=True)
class WarmUp:
    """Another schedule, preceded by a rise to its first step along a straight line.

    Parameters
    ----------
    schedule : callable
        Any ``k -> float``; it starts, with its k = 0, when the rise ends.
    iterations : int
        The length of the rise, positive.

    Notes
    -----
    ``step(k) = schedule(0) * (k + 1) / (iterations + 1)`` for ``k < iterations``, then ``schedule(k - iterations)``.
    The first step is not zero, so that no iteration is lost [1]_.

    References
    ----------
    .. [1] P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
       :doi:`10.48550/arXiv.1706.02677`

    Examples
    --------
    >>> from graddesc.schedules import InverseTime, WarmUp
    >>> step = WarmUp(InverseTime(1.0), iterations=3)
    >>> [step(k) for k in range(5)]
    [0.25, 0.5, 0.75, 1.0, 0.5]
    """

    schedule: Callable[[int], float]
    iterations: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise TypeError(f"schedule must be a callable k -> float, got {self.schedule!r}")
        require_count("iterations", self.iterations)

    def __call__(self, k: int) -> float:
        if k < self.iterations:
            return self.schedule(0) * (k + 1) / (min(self.iterations, _MANY) + 1)
        return self.schedule(k - self.iterations)
