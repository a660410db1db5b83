"""Step sizes that depend on the iteration alone: any callable ``k -> float``, with k = 0, 1, ... the iteration.

Each schedule is a small frozen dataclass; it holds its settings and nothing that changes during a run.
"""

import math
from dataclasses import dataclass

__all__ = ["Constant", "InverseTime"]


def _require(name, value, wanted, accepted):
    """Raise unless value is a finite real number for which accepted(value) holds."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from None
    if not (math.isfinite(number) and accepted(number)):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def _require_positive(name, value):
    _require(name, value, "a positive finite number", lambda v: v > 0)


def _require_nonnegative(name, value):
    _require(name, value, "a non-negative finite number", lambda v: v >= 0)


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

    def __post_init__(self):
        _require_positive("step", self.step)

    def __call__(self, k):
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

    def __post_init__(self):
        _require_positive("initial", self.initial)
        _require_nonnegative("floor", self.floor)

    def __call__(self, k):
        return max(self.initial / (k + 1), self.floor)
