"""Which method descends a loss: found by the type of the loss, here alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from graddesc.losses.differences import Differences, EdgeAligned, Reweighted, SumOfSquares
from graddesc.losses.line import LineSmoothness
from graddesc.losses.sweeps import Descent, Piece
from graddesc.losses.texture import TextureAdaptive
from graddesc.restoration import solver
from graddesc.restoration.left_out import LeftOut
from graddesc.restoration.outliers import edge_steps
from graddesc.restoration.points import edge_places
from graddesc.restoration.problem import Problem, is_narrow
from graddesc.restoration.quadratics import QuadraticSteps, Regions, RenewalSteps
from graddesc.restoration.windows import Windows, WindowSteps

NOISY = Differences | TextureAdaptive  # the losses that are weighed against noisy data
COMPILED = LineSmoothness | Differences | TextureAdaptive  # the losses that are not a caller's own

Run: TypeAlias = Callable[[solver.Report | None], solver.Outcome]


def require_noisy(loss: Any, ignored: Any) -> None:
    """Raise if a loss is not weighed against noisy data, or what solves it beside ignored pixels is not."""
    if not isinstance(loss, NOISY):
        what = f"{loss!r}" if isinstance(loss, COMPILED) else "a callable loss"
        raise ValueError(
            f"noise must not be given with {what}: the losses of local differences and 'texture' alone are weighed"
            " against it"
        )
    if ignored is not None:
        raise ValueError("noise must not be given with ignore, whose solver keeps the known pixels as they are")


class Steps(Protocol):
    """A restoration under way."""

    def pieces(self) -> Iterator[Piece]:
        """What is restored, as it stands."""

    def loss(self) -> float:
        """The loss of the image as it stands."""


def prepare(loss: Any, free: NDArray[Any], threads: int) -> Any:
    """What can be told of masks before an image is known: None for losses that need the image."""
    if len(free) > 1 and isinstance(loss, Differences):
        from graddesc.restoration.bands import Prepared  # which few images need

        return Prepared(functools.partial(_prepare, loss, threads), free, isinstance(loss, SumOfSquares))
    return _prepare(loss, threads, free)


def _prepare(loss: Any, threads: int, free: NDArray[Any]) -> Any:
    """The same, of channels that are descended together."""
    if isinstance(loss, SumOfSquares):
        return [Regions(loss.operator.kind, plane, threads) for plane in free]
    if isinstance(loss, EdgeAligned):
        return edge_places(free)
    return None


def begin(
    loss: Any,
    problem: Problem,
    step: solver.Schedule | None,
    limits: solver.Limits,
    channel_axis: int | None = 0,
    prepared: Any = None,
) -> tuple[Steps, Run]:
    """Return a descent at its start, and what runs it to its end and returns the status and its message.

    The second is called with a report of iterations, or with None.
    """
    if problem.spacing and isinstance(loss, Differences) and step is None:
        steps: Any = _volume_descent(loss, problem, prepared)
        return steps, functools.partial(solver.descend, steps, limits)
    if step is None and len(problem.free) > 1 and isinstance(loss, Differences) and problem.noise is None:
        from graddesc.restoration.bands import BandSteps

        bands = BandSteps(
            loss, problem, functools.partial(_descent, loss), prepared or prepare(loss, problem.free, problem.threads)
        )
        return bands, functools.partial(solver.descend, bands, limits)
    if problem.ignored is not None and isinstance(loss, LineSmoothness | Differences):
        from graddesc.restoration.domains import DomainSteps  # with sparse matrices, which the others do not need

        steps = DomainSteps(loss, problem)
        if step is not None:
            return steps, functools.partial(solver.follow, steps, step, limits, problem.units.loss_unit)
        return steps, functools.partial(solver.descend, steps, limits)
    if problem.noise is not None and isinstance(loss, Differences):
        steps = WindowSteps(loss, problem, Windows(problem.free))
        return steps, functools.partial(solver.descend, steps, limits)
    if step is not None:
        if isinstance(loss, LineSmoothness):
            steps = loss.sweeps(problem.filled(), problem.free, *problem.units.bounds(), problem.threads)
        else:
            from graddesc.restoration.callables import CallableSteps, by_planes  # which few need

            if isinstance(loss, COMPILED):
                loss, channel_axis = by_planes(loss, problem.spacing), 0
            steps = CallableSteps(loss, problem, channel_axis)
        return steps, functools.partial(solver.follow, steps, step, limits, problem.units.loss_unit)
    if isinstance(loss, TextureAdaptive):
        from graddesc.restoration.texture import TextureSteps  # with its kernels, which the others do not need

        steps = TextureSteps(loss, problem)
        return steps, functools.partial(steps.run, limits)
    if isinstance(loss, LineSmoothness):
        _, rows, cols = problem.planes.shape
        turned = is_narrow(rows, cols)
        descent: Descent = loss.sweeps(problem.filled(), problem.free, *problem.units.bounds(), problem.threads, turned)
    elif isinstance(loss, Differences):
        descent = _descent(loss, problem, prepared)
    else:
        from graddesc.restoration.callables import CallableSteps

        steps = CallableSteps(loss, problem, channel_axis)
        return steps, functools.partial(steps.minimize, limits)
    return descent, functools.partial(solver.descend, descent, limits)


def _volume_descent(loss: Differences, problem: Problem, left: LeftOut | None) -> Descent:
    """The descent of a volume, whose planes have the shape (channels, planes, rows, cols), at its start.

    The distances of its neighbours are those of `Problem.spacing`. An image whose pixels are not squares is a volume of
    one plane.
    """
    # With their kernels, which images do not need.
    if isinstance(loss, EdgeAligned):
        from graddesc.restoration.volumes import VolumeSteps

        return VolumeSteps(loss, problem, left)
    from graddesc.restoration.volume_quadratics import NoisyVolumeSteps, VolumeQuadraticSteps, VolumeRenewalSteps

    assert isinstance(loss, SumOfSquares | Reweighted)
    if problem.noise is not None:
        return NoisyVolumeSteps(loss, problem)
    if isinstance(loss, SumOfSquares):
        return VolumeQuadraticSteps(loss, problem, left)
    return VolumeRenewalSteps(loss, problem, left)


def _descent(loss: Differences, problem: Problem, prepared: Any) -> Descent:
    """The solver of a loss of local differences at its start."""
    if problem.ignored is not None:
        from graddesc.restoration.domains import DomainSteps

        return DomainSteps(loss, problem)
    if isinstance(loss, SumOfSquares):
        return QuadraticSteps(loss, problem, prepared or prepare(loss, problem.free, problem.threads))
    if isinstance(loss, Reweighted):
        return RenewalSteps(loss, problem)
    assert isinstance(loss, EdgeAligned)
    if len(problem.free) > 1:
        from graddesc.restoration.bands import CoupledSteps

        return edge_steps(loss, problem, prepared or prepare(loss, problem.free, problem.threads), CoupledSteps)
    return edge_steps(loss, problem, prepared or prepare(loss, problem.free, problem.threads))


def solve(loss: Any, problem: Problem, step: solver.Schedule | None, limits: solver.Limits) -> NDArray[Any]:
    """Restore a problem without a word to anybody; return its planes in units of the run, known pixels as they were."""
    steps, run = begin(loss, problem, step, limits)
    if problem.moves:
        run(None)
    return problem.restored(steps.pieces())
