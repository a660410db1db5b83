"""The solvers of volumes, and of images whose pixels are not squares, for sums of squares and total variations.

A volume is one problem, however many voxels of it are corrupt: the compiled solver goes where some are. Where these are
few, only what lies around them is converted, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import volume_quadratics as compiled
from graddesc.losses.differences import Reweighted, SumOfSquares
from graddesc.losses.sweeps import SETTLED, STALLED, Piece
from graddesc.restoration.problem import Problem
from graddesc.restoration.quadratics import (
    ITERATIONS_BY_WEIGHTS,
    LEAST_CONTRAST,
    MORE_ITERATIONS,
    MOST_BROUGHT,
    to_come,
)
from graddesc.restoration.solver import WORK_AT_ONCE
from graddesc.restoration.windows import taken

_NOT_UNIQUE = "The corrupt pixels are at one of many minima: all that is known lies in one plane."
_REACH = 2  # voxels beyond which no weighted difference looks
_FEW = 1e-3  # of the voxels: where no more are corrupt, only those around are converted
_PASS_WORK = 3.0  # passes of the solver over a voxel, which a sweep of a pixel takes as long as
_MIDDLE = 0.5  # of the units that contrasts are measured in


class _Volume:
    """The channels of a volume under way, in units of the run, and which voxels of them are corrupt."""

    def __init__(self, problem: Problem, kind: int, weights: bool) -> None:
        self.problem, self._kind, self._weights = problem, kind, weights
        self.free = np.ascontiguousarray(problem.free)
        self.few = problem.begins_with_pyramid and np.count_nonzero(self.free.view(bool)) <= _FEW * self.free.size
        self._places = [np.flatnonzero(free.view(bool)) if self.few else None for free in self.free]
        self.x = self._around_places() if self.few else problem.filled(np.float64)

    def _around_places(self) -> NDArray[np.float64]:
        """What is known around the corrupt voxels, and there what is known beside; elsewhere 0, in memory not yet used.

        Weights depend on all channels around.
        """
        problem, shape = self.problem, self.free.shape[1:]
        x = np.zeros(problem.planes.shape)
        corrupt = np.flatnonzero(np.bitwise_or.reduce(self.free).view(bool))
        offsets = np.arange(-_REACH, _REACH + 1)[:, np.newaxis]
        planes, rows, cols = (
            np.clip(offsets + places, 0, side - 1)
            for places, side in zip(np.unravel_index(corrupt, shape), shape, strict=True)
        )
        around = np.ravel_multi_index((planes[:, np.newaxis, np.newaxis], rows[:, np.newaxis], cols), shape)
        around = around.reshape(-1, len(corrupt))
        for channel, volume in enumerate(x):
            values = np.empty(around.shape)
            problem.units.to_run(taken(problem.planes[channel], around), values)
            known = self.mask(channel).reshape(-1)[around] == 0
            means = np.sum(values, axis=0, where=known) / np.maximum(known.sum(axis=0), 1)
            flat = volume.reshape(-1)
            flat[around] = values
            mine = self.mask(channel).reshape(-1)[corrupt] == 1
            flat[corrupt[mine]] = np.where(known.any(axis=0), means, _MIDDLE)[mine]
        return x

    def mask(self, channel: int) -> NDArray[np.uint8]:
        """The corrupt voxels of a channel, as uint8."""
        free: NDArray[np.uint8] = self.free[channel % len(self.free)]
        return free

    def run(self, mask: int) -> Any:
        """A run of the compiled solver for a mask."""
        free, spacing = self.free[mask], self.problem.spacing
        size = compiled.workspace_size(self._kind, spacing, free.shape, self._weights)
        if self.few:
            workspace = np.zeros(size, np.uint8)  # memory that is there where it is used
        else:
            workspace = np.empty(size, np.uint8)  # of large pages
            workspace.fill(0)
        return compiled.prepare(self._kind, spacing, free, self._weights, workspace, self.problem.threads)

    def pieces(self) -> Iterator[Piece]:
        """The corrupt voxels as they stand."""
        for channel, volume in enumerate(self.x):
            places = self._places[channel % len(self._places)]
            yield channel, places, volume if places is None else volume.reshape(-1)[places]


class VolumeQuadraticSteps:
    """The solution of a sum of squares: see `graddesc.losses.sweeps.Descent`."""

    failed = False
    settled_message = SETTLED

    def __init__(self, loss: SumOfSquares, problem: Problem) -> None:
        self._loss, self._problem = loss, problem
        self._volume: _Volume | None = None
        self._runs: list[Any] = []
        self.settled = self.stalled = False
        self.iterations = 0

    @property
    def stalled_message(self) -> str:
        """Why the corrupt voxels come no nearer."""
        return STALLED if all(run.unique for run in self._runs) else _NOT_UNIQUE

    def advance(self, until: int, tol: float) -> None:
        """Go on for some tenths of a second."""
        if self._volume is None:
            self._volume = _Volume(self._problem, self._loss.operator.kind, weights=False)
            return
        if len(self._runs) < len(self._volume.x):
            channel = len(self._runs)
            run = self._volume.run(channel % len(self._volume.free))
            run.begin(self._volume.x[channel])
            self._runs.append(run)
            return
        work = WORK_AT_ONCE * _PASS_WORK
        for run in self._going():
            if run.iterations < until:
                work -= run.advance(until - run.iterations, tol, LEAST_CONTRAST, work)
            if run.settled or run.stalled:
                run.finish()  # its levels take as much memory as three of x
            if work <= 0:
                break
        going = self._going()
        done = [run.iterations for run in going or self._runs]
        self.iterations = min(done) if going else max(max(done), 1)
        if not going:
            self.settled = all(run.settled for run in self._runs)
            self.stalled = not self.settled

    def _going(self) -> list[Any]:
        return [run for run in self._runs if not (run.settled or run.stalled)]

    def pieces(self) -> Iterator[Piece]:
        """The corrupt voxels as they stand."""
        return self._problem.start_pieces(np.float64) if self._volume is None else self._volume.pieces()

    def loss(self) -> float:
        """The loss of the volume as it stands, clamped, as the loss sees it."""
        return _measured(self._loss, self._problem, self.pieces())


class VolumeRenewalSteps:
    """Sums of squares whose weights are renewed, which an iteration does once: see `graddesc.losses.sweeps.Descent`."""

    failed = False
    settled_message, stalled_message = SETTLED, _NOT_UNIQUE

    def __init__(self, loss: Reweighted, problem: Problem) -> None:
        self._loss, self._problem = loss, problem
        self._volume: _Volume | None = None
        self._runs: list[Any] = []  # one for each mask
        self._renewal: Iterator[None] | None = None  # what is left of an iteration
        self._brought: list[float] = []
        self._contrast, self._within = 0.0, 0
        self.settled = self.stalled = False
        self.iterations = 0

    def advance(self, until: int, tol: float) -> None:
        """Renew the weights and solve for them, for some tenths of a second."""
        if self._volume is None:
            self._volume = _Volume(self._problem, self._loss.operator.kind, weights=True)
            x = self._volume.x
            self._before = np.zeros(x.shape) if self._volume.few else np.empty(x.shape)
            return
        if len(self._runs) < len(self._volume.free):
            self._runs.append(self._volume.run(len(self._runs)))
            return
        if self._renewal is None:
            self._renewal = self._renew(self._volume, tol)
        for _ in self._renewal:
            return
        self._renewal = None
        self.iterations += 1
        # Twice in a row: three renewals alone may fall by chance as if no more were to come.
        self._within = self._within + 1 if to_come(self._brought) <= tol * self._contrast else 0
        if self._within > 1:
            self.settled = all(run.unique for run in self._runs)
            self.stalled = not self.settled

    def _renew(self, volume: _Volume, tol: float) -> Iterator[None]:
        """Renew the weights and solve for them, in parts."""
        epsilon = self._loss.operator.epsilon
        contrast = 0.0
        x = volume.x
        for mask, run in enumerate(self._runs):
            for channel in range(mask, len(x), len(self._runs)):
                run.remember(x[channel], self._before[channel])
        # All weights are those of the volume as it was, though a channel's come when those before it have moved.
        for run in self._runs:
            run.weigh(x, epsilon)
            yield
        for mask, run in enumerate(self._runs):
            for channel in range(mask, len(x), len(self._runs)):
                run.begin(x[channel])
                yield from _advanced(run, ITERATIONS_BY_WEIGHTS, 0.0)
                if not run.estimate <= self._contrast:
                    # The solution is still far, as beside what stands out by much more than the volume's range.
                    yield from _advanced(run, MORE_ITERATIONS, tol)
                contrast += run.contrast**2
        self._contrast = contrast = max(math.sqrt(contrast / len(x)), LEAST_CONTRAST)
        # What stands out by many contrasts must not decide when all else has settled.
        total = math.fsum(
            run.changed(x[channel], self._before[channel], MOST_BROUGHT * contrast)
            for mask, run in enumerate(self._runs)
            for channel in range(mask, len(x), len(self._runs))
        )
        self._brought.append(math.sqrt(total / max(self._problem.corrupt, 1)))

    def pieces(self) -> Iterator[Piece]:
        """The corrupt voxels as they stand."""
        return self._problem.start_pieces(np.float64) if self._volume is None else self._volume.pieces()

    def loss(self) -> float:
        """The loss of the volume as it stands, clamped, as the loss sees it."""
        return _measured(self._loss, self._problem, self.pieces())


def _advanced(run: Any, iterations: int, tol: float) -> Iterator[None]:
    """Let conjugate gradients go on, in parts."""
    until = run.iterations + iterations
    while run.iterations < until and not (run.settled or run.stalled):
        run.advance(until - run.iterations, tol, LEAST_CONTRAST, WORK_AT_ONCE * _PASS_WORK)
        yield


def _measured(loss: SumOfSquares | Reweighted, problem: Problem, pieces: Iterator[Piece]) -> float:
    return loss.volume_energy(problem.restored(pieces), problem.spacing, problem.threads)
