"""Which method descends a loss: found by the type of the loss, here alone."""

import functools

from graddesc.losses import TextureAdaptive
from graddesc.losses.differences import Differences
from graddesc.losses.line import LineSmoothness
from graddesc.restoration import solver
from graddesc.restoration.callables import CallableSteps, by_planes
from graddesc.restoration.texture import TextureSteps

COMPILED = LineSmoothness | Differences | TextureAdaptive  # the losses that are not a caller's own


def begin(loss, problem, step, limits, channel_axis=0):
    """Return a descent at its start, and what runs it to its end.

    The descent tells ``planes()``, the image as it stands, and ``loss()``; the other is called with a report, and
    returns the status and its message.
    """
    if isinstance(loss, LineSmoothness | Differences):
        steps = solver.begin(loss, problem, limits, accelerated=step is None)
        run = functools.partial(solver.descend, steps, step, limits, loss_unit=problem.units.loss_unit)
    elif isinstance(loss, TextureAdaptive) and step is None:
        steps = TextureSteps(loss, problem)
        run = functools.partial(steps.run, limits)
    else:
        function = by_planes(loss, channel_axis) if isinstance(loss, TextureAdaptive) else loss
        steps = CallableSteps(function, problem, channel_axis)
        run = (
            functools.partial(steps.minimize, limits)
            if step is None
            else functools.partial(solver.descend, steps, step, limits)
        )
    return steps, run


def solve(loss, problem, step, limits):
    """Restore a problem without a word to anybody; return its planes, the known pixels as they were."""
    known = problem.x.copy()
    steps, run = begin(loss, problem, step, limits)
    if problem.corrupt:
        run(solver.silent)
    return problem.assembled(steps.planes(), known)
