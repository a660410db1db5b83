"""Why a descent ends: one status and one sentence for each reason, for the loops of Python and in C alike."""

import enum


class Ending(enum.IntEnum):
    """A reason to end; the tens of its number are the status."""

    GRADIENT = 0
    XTOL = 1
    FTOL = 2
    ITERATIONS = 10
    EVALUATIONS = 11
    NO_DECREASE = 20
    NO_DESCENT = 21
    TOO_SHORT = 22
    IDLE = 23
    UNRESOLVED = 24
    VALUE_AT_START = 30
    GRADIENT_AT_START = 31
    VALUE_NOT_FINITE = 32
    GRADIENT_NOT_FINITE = 33
    LOST = 34
    UNBOUNDED = 40
    TIME = 50
    TARGET = 60
    DISAGREE = 70
    CALLBACK = 990

    @property
    def status(self) -> int:
        """The status of a run that ends so."""
        return self.value // 10

    @property
    def sentence(self) -> str:
        """What the caller is told."""
        return _SENTENCES[self]


_SENTENCES = {
    Ending.GRADIENT: "The projected gradient is below the tolerance.",
    Ending.XTOL: "The displacement is below xtol.",
    Ending.FTOL: "The change of the value is below ftol.",
    Ending.ITERATIONS: "The iterations are used up.",
    Ending.EVALUATIONS: "The evaluations are used up.",
    Ending.NO_DECREASE: "No step along the direction lowers the function beyond rounding.",
    Ending.NO_DESCENT: "The function does not descend along the direction beyond rounding.",
    Ending.TOO_SHORT: "The step is too small to move x.",
    Ending.IDLE: (
        "Neither value nor gradient has become smaller in 100 iterations or 500 gradients, 30 or 150 by differences."
    ),
    Ending.UNRESOLVED: (
        "The gradient is smaller than the error that rounding leaves in the differences: give jac, or a larger tol."
    ),
    Ending.VALUE_AT_START: "The function is not finite at x0.",
    Ending.GRADIENT_AT_START: "The gradient is not finite at x0.",
    Ending.VALUE_NOT_FINITE: "The function is not finite anywhere near the last point along the direction.",
    Ending.GRADIENT_NOT_FINITE: "The gradient is not finite anywhere near the last point along the direction.",
    Ending.LOST: "The steps have led to where the function is not finite 20 times in a row.",
    Ending.UNBOUNDED: "The function is unbounded below: it has fallen 1e20 times as far as it is large at x0.",
    Ending.TIME: "The time is used up.",
    Ending.TARGET: "The target is reached.",
    Ending.DISAGREE: "fun and jac disagree: values beside the last point contradict the slope that the gradient tells.",
    Ending.CALLBACK: "The callback asked for the end.",
}
