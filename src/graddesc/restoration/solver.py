"""The loop that descends a loss, the same for all of them: until the image settles or a limit is met."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from graddesc.arguments import require_count, require_nonnegative
from graddesc.losses.sweeps import SETTLED, Descent

Schedule: TypeAlias = Callable[[int], float]
Outcome: TypeAlias = tuple[int, str]  # the status and its message
Report: TypeAlias = Callable[[int, float | None], None]  # of an iteration and its step; StopIteration ends the run

MAX_ITER = 3000  # of a solver
SCHEDULE_MAX_ITER = 500
NOISY_TOL = 1.0  # with noise: what is left is smooth, and its neighbours differ little
_MOST_ITERATIONS = 2**31 - 1  # compiled descents count no further
WORK_AT_ONCE = 1e7  # pixels that a compiled descent sweeps before it looks up: some hundredths of a second

DONE = 0, "All steps were taken."
NOTHING = 0, "No pixel is corrupt: the image is returned as it is."
ITERATIONS = 1, "The greatest number of iterations was reached."
NOT_FINITE = 3, "The loss is not finite: the bounds allow values whose squares overflow."
TIME = 5, "The greatest time was reached."
CUT_OFF = "Some corrupt pixels are cut off from all known ones by those to ignore: they are as they started."
TOO_LITTLE_BESIDE = (
    "The corrupt pixels are at one of many minima: too little is known on their side of what is ignored."
)
CALLBACK = 99, "The callback stopped the run."


class Limits:
    """When to stop: the iterations, the tolerance (None: never for its sake) and the time."""

    def __init__(self, max_iter: int, tol: float | None, deadline: float) -> None:
        self.max_iter, self.tol, self._deadline = max_iter, tol, deadline

    @classmethod
    def of(
        cls,
        max_iter: int | None,
        tol: float | None,
        max_time: float | None,
        step: Schedule | None,
        started: float,
        default_tol: float | None,
    ) -> Limits:
        """Check what the caller gave; a schedule has no tolerance by default."""
        default = MAX_ITER if step is None else SCHEDULE_MAX_ITER
        max_iter = default if max_iter is None else min(require_count("max_iter", max_iter, least=0), _MOST_ITERATIONS)
        if tol is not None:
            tol = require_nonnegative("tol", tol)
        elif step is None:
            tol = default_tol
        deadline = math.inf if max_time is None else started + require_nonnegative("max_time", max_time)
        return cls(max_iter, tol, deadline)

    def of_solver(self, tol: float) -> Limits:
        """Those of another run within the same time."""
        return Limits(MAX_ITER, tol, self._deadline)

    def remaining(self) -> float | None:
        """The seconds that are left, or None."""
        return None if self._deadline == math.inf else max(self._deadline - time.perf_counter(), 0.0)

    def expired(self) -> bool:
        """Whether the time is over."""
        return self._deadline < math.inf and time.perf_counter() >= self._deadline


def descend(steps: Descent, limits: Limits, report: Report | None) -> Outcome:
    """Let a solver iterate until it has settled or a limit is met; return the status and its message."""
    tol = 0.0 if limits.tol is None else limits.tol
    while steps.iterations < limits.max_iter:
        done = steps.iterations
        steps.advance(limits.max_iter if report is None else done + 1, tol)
        if report is not None and steps.iterations > done:
            try:
                report(steps.iterations, None)
            except StopIteration:
                return CALLBACK
        if steps.failed:
            return NOT_FINITE
        if steps.settled:
            return 0, steps.settled_message
        if steps.stalled:
            return 1, steps.stalled_message
        if limits.expired():
            return TIME
    return ITERATIONS


def follow(steps: Any, schedule: Schedule, limits: Limits, unit: float, report: Report | None) -> Outcome:
    """Take the plain steps of a schedule, whose unit is given; return the status and its message."""
    from graddesc.schedules import step_at  # with all schedules, which a solver needs not

    for k in range(limits.max_iter):
        size = step_at(schedule, k)
        steps.descend(size / unit, track_change=limits.tol is not None)
        if report is not None:
            try:
                report(k + 1, size)
            except StopIteration:
                return CALLBACK
        if not math.isfinite(steps.value):
            return NOT_FINITE
        if limits.tol is not None and size > 0 and steps.change <= limits.tol * steps.contrast():
            return 0, SETTLED
        if limits.expired():
            return TIME
    return ITERATIONS
