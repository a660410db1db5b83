"""Which method descends a loss: found by the type of the loss, here alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from graddesc.losses import TextureAdaptive
from graddesc.losses.differences import Differences
from graddesc.losses.line import LineSmoothness
from graddesc.restoration import solver
from graddesc.restoration.callables import CallableSteps, by_planes
from graddesc.restoration.problem import Problem
from graddesc.restoration.texture import TextureSteps

Run: TypeAlias = Callable[[solver.Report], solver.Outcome]


class Steps(Protocol):
    """A restoration under way."""

    def planes(self) -> NDArray[Any]:
        """The channels as they stand."""

    def loss(self) -> float:
        """The loss of the channels as they stand."""


COMPILED = LineSmoothness | Differences | TextureAdaptive  # the losses that are not a caller's own


def begin(
    loss: Any, problem: Problem, step: solver.Schedule | None, limits: solver.Limits, channel_axis: int | None = 0
) -> tuple[Steps, Run]:
    """Return a descent at its start, and what runs it to its end.

    The descent tells ``planes()``, the image as it stands, and ``loss()``; the other is called with a report, and
    returns the status and its message.
    """
    if isinstance(loss, LineSmoothness | Differences):
        sweeps = solver.begin(loss, problem, limits, accelerated=step is None)
        return sweeps, functools.partial(solver.descend, sweeps, step, limits, loss_unit=problem.units.loss_unit)
    if isinstance(loss, TextureAdaptive) and step is None:
        texture = TextureSteps(loss, problem)
        return texture, functools.partial(texture.run, limits)
    function = by_planes(loss, channel_axis) if isinstance(loss, TextureAdaptive) else loss
    own: Any = CallableSteps(function, problem, channel_axis)  # whose accelerate() nobody calls: it has none
    if step is None:
        return own, functools.partial(own.minimize, limits)
    return own, functools.partial(solver.descend, own, step, limits)


def solve(loss: Any, problem: Problem, step: solver.Schedule | None, limits: solver.Limits) -> NDArray[Any]:
    """Restore a problem without a word to anybody; return its planes, the known pixels as they were."""
    known = problem.x.copy()
    steps, run = begin(loss, problem, step, limits)
    if problem.corrupt:
        run(solver.silent)
    return problem.assembled(steps.planes(), known)
