"""The solvers of volumes, and of images whose pixels are not squares, for sums of squares and total variations.

A volume is one problem, however many voxels of it are corrupt: the compiled solver goes where some are. Where these are
few, those that are alone are taken out, packed, and restored as a smaller volume; and only what lies around the others
is converted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import stencil
from graddesc._kernels import volume_quadratics as compiled
from graddesc.losses.differences import FIRST, SECOND, Reweighted, SumOfSquares
from graddesc.losses.sweeps import SETTLED, STALLED, Piece
from graddesc.restoration.left_out import LeftOut
from graddesc.restoration.problem import Problem
from graddesc.restoration.quadratics import (
    ITERATIONS_BY_WEIGHTS,
    LEAST_CONTRAST,
    MORE_ITERATIONS,
    MOST_BROUGHT,
    NOT_UNIQUE,
    to_come,
)
from graddesc.restoration.solver import CUT_OFF, TOO_LITTLE_BESIDE, WORK_AT_ONCE
from graddesc.restoration.volume_noise import BALANCES, Balance, Measured
from graddesc.restoration.windows import LEAST_NOISY, SETTLED_NOISE, taken

_NOT_UNIQUE_IN_SPACE = "The corrupt pixels are at one of many minima: all that is known lies in one plane."
_REACH = 2  # voxels beyond which no weighted difference looks
_FEW = 1e-3  # of the voxels: where no more are corrupt, only those around are converted
_PASS_WORK = 3.0  # passes of the solver over a voxel, which a sweep of a pixel takes as long as
_PROBES = 3
_PROBE_ITERATIONS, _PROBE_TOL = 200, 1e-4  # of a probe that starts from numbers between -1 and 1
_PROBE_REST = 0.02  # what may be left of these where there is one minimiser
_MIDDLE = 0.5  # of the units that contrasts are measured in


class _Part:
    """A part of a volume that is solved by itself: its channels under way, in units of the run, and what is corrupt.

    `places` are the flat indices of its corrupt voxels in the volume, for each of its masks, or None for a volume as a
    whole.
    """

    def __init__(
        self,
        x: NDArray[np.float64],
        free: NDArray[np.uint8],
        places: list[NDArray[np.intp]] | None,
        sparse: bool,
        left: LeftOut | None = None,
        noisy: bool = False,
    ) -> None:
        self.x, self.free, self._places, self._sparse, self._left, self._noisy = x, free, places, sparse, left, noisy
        self.runs: list[Any] = []

    def copy_room(self) -> NDArray[np.float64]:
        """An array of the shape of x, of which little will be used where little is corrupt."""
        return np.zeros(self.x.shape) if self._sparse else np.empty(self.x.shape)

    def prepare(self, kind: int, weights: bool, mask: int, problem: Problem) -> Any:
        """A run of the compiled solver for a mask."""
        free, left = self.free[mask], self._left
        size = compiled.workspace_size(kind, problem.spacing, free.shape, weights, left is not None, self._noisy)
        if self._sparse:
            workspace = np.zeros(size, np.uint8)  # memory that is there where it is used
        else:
            workspace = np.empty(size, np.uint8)  # of large pages
            workspace.fill(0)
        present = None if left is None else left.present
        return compiled.prepare(kind, problem.spacing, free, weights, workspace, problem.threads, present, self._noisy)

    def pieces(self) -> Iterator[Piece]:
        """The corrupt voxels as they stand."""
        for channel, volume in enumerate(self.x):
            if self._places is None:
                yield channel, None, volume
            else:
                mask = channel % len(self.free)
                yield channel, self._places[mask], volume[self.free[mask].view(bool)]


def _determine(problem: Problem, left: LeftOut, mask: int) -> Iterator[None]:
    """Find whether squared second differences have one minimiser, in parts.

    Where that is not seen: then the one beside zeros is 0, wherever one starts. From one start it may be 0 by chance.
    """
    free = left.free[mask]
    if (yield from left.surely_determined(free)):
        left.determined[mask] = True
        return
    workspace = np.zeros(compiled.workspace_size(SECOND, problem.spacing, free.shape, False, True), np.uint8)
    left.determined[mask] = False
    for x in left.probes(free, _PROBES):
        workspace.fill(0)
        run = compiled.prepare(SECOND, problem.spacing, free, False, workspace, problem.threads, left.present)
        run.unique = True
        run.begin(x)
        yield from _advanced(run, _PROBE_ITERATIONS, _PROBE_TOL, 1.0)
        if np.abs(x).max() > _PROBE_REST:
            return
    left.determined[mask] = True


def _parts_of(problem: Problem, left: LeftOut | None) -> Iterator[_Part]:
    """The parts of a volume: it as a whole, or where few of its voxels are corrupt the lone ones and the rest."""
    if left is not None:
        x = problem.filled(np.float64)
        x[:, left.present == 0] = 0  # whatever it was
        yield _Part(x, left.free, None, sparse=False, left=left)
        return
    free = np.ascontiguousarray(problem.free)
    corrupt = np.count_nonzero(free.view(bool))
    if not problem.begins_with_pyramid or corrupt > _FEW * free.size:
        yield _Part(problem.filled(np.float64), free, None, sparse=False)
        return
    rest = free
    if len(free) == 1:
        rest = free.copy()
        for sources in _boxes_of_lone_voxels(free[0]):
            packed = free[0].reshape(-1)[sources]
            places = sources[packed.view(bool)]
            rest.reshape(-1)[places] = 0
            x = np.empty((len(problem.planes), *sources.shape))
            lone = np.flatnonzero(packed.view(bool))
            first_of_row = lone % sources.shape[2] == 0 if sources.shape[2] > 1 else lone == 0
            beside = np.where(first_of_row, lone + 1, lone - 1)
            for channel, volume in enumerate(x):
                problem.units.to_run(taken(problem.planes[channel], sources), volume)
                volume[packed.view(bool)] = volume.reshape(-1)[beside]
            yield _Part(x, packed[np.newaxis], [places], sparse=False)
    if rest.any():
        places_of_rest = [np.flatnonzero(mask.view(bool)) for mask in rest]
        yield _Part(_around_corrupt(problem, free, rest), rest, places_of_rest, sparse=True)


def _boxes_of_lone_voxels(free: NDArray[np.uint8]) -> Iterator[NDArray[np.intp]]:
    """The flat indices of boxes around free voxels that have no other near them, packed into volumes.

    A box reaches as far as differences look, or to the volume's border. No difference that a lone voxel has a part in
    goes beyond, so boxes that are cut alike stand side by side along an axis along which they are not.
    """
    corrupt = np.flatnonzero(free.view(bool))
    places = np.stack(np.unravel_index(corrupt, free.shape))
    sides = np.array(free.shape)[:, np.newaxis]
    steps = np.arange(-_REACH, _REACH + 1)
    around = places[:, :, np.newaxis] + steps  # along each axis
    within = (around >= 0) & (around < sides[:, :, np.newaxis])
    around = np.clip(around, 0, sides[:, :, np.newaxis] - 1)
    planes, rows, cols = around
    inside = within[0][:, :, None, None] & within[1][:, None, :, None] & within[2][:, None, None, :]
    near = free[planes[:, :, None, None], rows[:, None, :, None], cols[:, None, None, :]] * inside
    lone = near.reshape(len(corrupt), -1).sum(axis=1) == 1
    starts, stops = np.maximum(places - _REACH, 0), np.minimum(places + _REACH + 1, sides)
    cuts = np.concatenate([places - starts, stops - starts])[:, lone]
    kinds, kind_of = np.unique(cuts, axis=1, return_inverse=True)
    for number, kind in enumerate(kinds.T):
        first = starts[:, lone][:, kind_of.reshape(-1) == number]
        planes, rows, cols = (
            begin[:, np.newaxis] + np.arange(side) for begin, side in zip(first, kind[3:], strict=True)
        )
        at = planes[:, :, None, None], rows[:, None, :, None], cols[:, None, None]
        boxes = np.ravel_multi_index(at, free.shape)
        whole = [axis for axis in range(3) if kind[axis] == _REACH and kind[3 + axis] == 2 * _REACH + 1]
        if whole:
            shape = boxes.shape[1:]
            packed = [len(boxes) * side if axis == whole[-1] else side for axis, side in enumerate(shape)]
            yield np.moveaxis(boxes, 0, whole[-1]).reshape(packed)
        else:
            yield from boxes


def _around_corrupt(problem: Problem, free: NDArray[np.uint8], some: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What is known around some corrupt voxels, and there the mean of that; elsewhere 0, in memory not used yet.

    Weights depend on all channels around.
    """
    shape = free.shape[1:]
    x = np.zeros(problem.planes.shape)
    corrupt = np.flatnonzero(np.bitwise_or.reduce(some).view(bool))
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
        unknown = free[channel % len(free)].reshape(-1)
        known = unknown[around] == 0
        means = np.sum(values, axis=0, where=known) / np.maximum(known.sum(axis=0), 1)
        flat = volume.reshape(-1)
        flat[around] = values
        mine = unknown[corrupt] == 1
        flat[corrupt[mine]] = np.where(known.any(axis=0), means, _MIDDLE)[mine]
    return x


class _VolumeSteps:
    """What the two descents have in common."""

    failed = False
    settled_message = SETTLED

    def __init__(self, loss: SumOfSquares | Reweighted, problem: Problem, left: LeftOut | None = None) -> None:
        self._loss, self._problem = loss, problem
        self._left = None if problem.ignored is None else left or LeftOut(problem.free, problem.ignored)
        self._parts: list[_Part] = []
        self._coming: Iterator[None] | None = self._begin()  # what is left to do before the first iteration
        self._not_unique = NOT_UNIQUE if 1 in problem.free.shape[1:] else _NOT_UNIQUE_IN_SPACE
        self._cut_off = self._left is not None and self._left.cut_off
        if self._left is not None:
            self._not_unique = CUT_OFF if self._cut_off else TOO_LITTLE_BESIDE
        self.settled = self.stalled = False
        self.iterations = 0

    def _begin(self) -> Iterator[None]:
        """Make the parts and what they need, in parts."""
        raise NotImplementedError

    def _tell_uniqueness(self, run: Any, mask: int) -> Iterator[None]:
        """Tell a run whether there is one minimiser, if it cannot find out by itself; in parts."""
        left = self._left
        if left is None:
            return
        if self._loss.operator.kind != FIRST and mask not in left.determined:
            yield from _determine(self._problem, left, mask)
        run.unique = left.determined.get(mask, True)

    def _has_begun(self) -> bool:
        """Whether all is there; if not, a part of it is made now."""
        if self._coming is None:
            return True
        for _ in self._coming:
            return False
        self._coming = None
        return True

    def pieces(self) -> Iterator[Piece]:
        """The corrupt voxels as they stand."""
        if self._coming is not None:
            yield from self._problem.start_pieces(np.float64)
            return
        for part in self._parts:
            yield from part.pieces()

    def loss(self) -> float:
        """The loss of the volume as it stands, clamped, as the loss sees it."""
        problem = self._problem
        x, present = problem.restored(self.pieces()), None
        if self._left is not None:
            present = self._left.present
            x[:, present == 0] = 0
        return self._loss.volume_energy(x, problem.spacing, problem.threads, present)


class VolumeQuadraticSteps(_VolumeSteps):
    """The solution of a sum of squares: see `graddesc.losses.sweeps.Descent`."""

    @property
    def stalled_message(self) -> str:
        """Why the corrupt voxels come no nearer."""
        unique = all(run.unique for part in self._parts for run in part.runs)
        return STALLED if unique and not self._cut_off else self._not_unique

    def _begin(self) -> Iterator[None]:
        for part in _parts_of(self._problem, self._left):
            for channel, volume in enumerate(part.x):
                yield
                mask = channel % len(part.free)
                run = part.prepare(self._loss.operator.kind, False, mask, self._problem)
                yield from self._tell_uniqueness(run, mask)
                run.begin(volume)
                part.runs.append(run)
            self._parts.append(part)

    def advance(self, until: int, tol: float) -> None:
        """Go on for some tenths of a second."""
        if not self._has_begun():
            return
        runs = [run for part in self._parts for run in part.runs]
        work = WORK_AT_ONCE * _PASS_WORK
        for run in runs:
            if run.settled or run.stalled:
                continue
            if run.iterations < until:
                work -= run.advance(until - run.iterations, tol, LEAST_CONTRAST, work)
            if run.settled or run.stalled:
                run.finish()  # its levels take as much memory as three of x
            if work <= 0:
                break
        going = [run for run in runs if not (run.settled or run.stalled)]
        done = [run.iterations for run in going or runs]
        self.iterations = min(done) if going else max(max(done), 1)
        if not going:
            self.settled = all(run.settled for run in runs) and not self._cut_off
            self.stalled = not self.settled


class VolumeRenewalSteps(_VolumeSteps):
    """Sums of squares whose weights are renewed, which an iteration does once: see `graddesc.losses.sweeps.Descent`."""

    @property
    def stalled_message(self) -> str:
        """Why the corrupt voxels come no nearer."""
        return self._not_unique

    def _begin(self) -> Iterator[None]:
        self._renewals: list[_Renewals] = []
        self._renewal: Iterator[Any] | None = None  # what is left of an iteration
        for part in _parts_of(self._problem, self._left):
            for mask in range(len(part.free)):
                yield
                run = part.prepare(self._loss.operator.kind, True, mask, self._problem)
                yield from self._tell_uniqueness(run, mask)
                part.runs.append(run)
            self._parts.append(part)
            self._renewals.append(_Renewals(part, self._loss.operator.epsilon))

    def advance(self, until: int, tol: float) -> None:
        """Renew the weights and solve for them, for some tenths of a second."""
        if not self._has_begun():
            return
        if self._renewal is None:
            going = [renewals for renewals in self._renewals if not renewals.settled]
            self._renewal = itertools.chain.from_iterable(renewals.renew(tol) for renewals in going)
        for _ in self._renewal:
            return
        self._renewal = None
        self.iterations += 1
        if all(renewals.settled for renewals in self._renewals):
            self.settled = all(run.unique for part in self._parts for run in part.runs) and not self._cut_off
            self.stalled = not self.settled


class NoisyVolumeSteps(_VolumeSteps):
    """Either of the two where what is known is noisy: weights and the data's are renewed, which an iteration does once.

    See `graddesc.losses.sweeps.Descent`.
    """

    settled_message, stalled_message = SETTLED_NOISE, STALLED

    def _begin(self) -> Iterator[None]:
        problem, operator = self._problem, self._loss.operator
        measured = Measured.of(problem, np.float64)
        x = problem.filled(np.float64)
        np.copyto(x, measured.data, where=(measured.missing == 0) & (problem.free == 1))
        part = _Part(x, problem.free, None, sparse=False, noisy=True)
        for mask in range(len(part.free)):
            yield
            part.runs.append(part.prepare(operator.kind, operator.epsilon > 0, mask, problem))
            part.runs[-1].unique = True  # what next to nothing is known of stays as it starts
        self._parts.append(part)
        assert problem.noise is not None
        balance = Balance(self._loss, measured, problem.spacing, problem.noise.huber, problem.threads)
        self._data = _Data(measured, balance, operator, problem)
        self._renewals = _Renewals(part, operator.epsilon, self._data)
        self._renewal: Iterator[Any] | None = None  # what is left of an iteration

    def advance(self, until: int, tol: float) -> None:
        """Renew the weights and solve for them, for some tenths of a second."""
        if not self._has_begun():
            return
        if self._renewal is None:
            self._renewal = self._renewals.renew(tol)
        for _ in self._renewal:
            return
        self._renewal = None
        self.iterations += 1
        self.settled = self._renewals.settled

    def loss(self) -> float:
        """The loss of the volume as it stands, clamped, as the loss sees it, and that of the data."""
        value = super().loss()
        if self._coming is not None:
            return value
        x = self._problem.restored(self.pieces())
        return value + self._data.balance.data_term(x, self._problem.free)


class _Data:
    """What was measured of a part, and how much it weighs."""

    def __init__(self, measured: Measured, balance: Balance, operator: stencil.Operator, problem: Problem) -> None:
        self.measured, self.balance, self._operator, self._problem = measured, balance, operator, problem

    def weigh(self, x: NDArray[np.float64], runs: list[Any]) -> Iterator[Any]:
        """Tell each run how much what was measured weighs, in parts."""
        if self.balance.found < BALANCES:
            densities = np.empty(x.shape[1:])
            operator, problem = self._operator, self._problem
            compiled.energy(operator.kind, problem.spacing, x, operator.epsilon, problem.threads, None, densities)
            densities /= len(x)
            yield
            yield from self.balance.find(densities)
        found = yield from self.balance.weights(x)
        for run, weights in zip(runs, found, strict=True):
            yield
            run.trust(weights.astype(np.float32))


class _Renewals:
    """The renewals of the weights of a part, which has a run for each mask."""

    def __init__(self, part: _Part, epsilon: float, data: _Data | None = None) -> None:
        self._part, self._epsilon, self._data = part, epsilon, data
        self._before = part.copy_room()
        self._brought: list[float] = []
        self._contrast, self._within = 0.0, 0
        self.settled = False

    def _channels(self) -> Iterator[tuple[Any, int]]:
        """Each channel, after the run of its mask."""
        part = self._part
        for mask, run in enumerate(part.runs):
            for channel in range(mask, len(part.x), len(part.runs)):
                yield run, channel

    def renew(self, tol: float) -> Iterator[Any]:
        """Renew the weights and solve for them, in parts."""
        x, contrast, corrupt = self._part.x, 0.0, 0
        for run, channel in self._channels():
            run.remember(x[channel], self._before[channel])
        # All weights are those of the volume as it was, though a channel's come when those before it have moved.
        for run in self._part.runs if self._epsilon > 0 else ():
            run.weigh(x, self._epsilon)
            yield
        if self._data is not None:
            yield from self._data.weigh(x, self._part.runs)
        for run, channel in self._channels():
            run.begin(x[channel], None if self._data is None else self._data.measured.data[channel])
            yield from _advanced(run, ITERATIONS_BY_WEIGHTS, 0.0)
            if not run.estimate <= self._contrast:
                # The solution is still far, as beside what stands out by much more than the volume's range.
                yield from _advanced(run, MORE_ITERATIONS, tol)
            contrast += run.contrast**2
            corrupt += run.unknown
        least = LEAST_CONTRAST if self._data is None else LEAST_NOISY
        self._contrast = contrast = max(math.sqrt(contrast / len(x)), least)
        # What stands out by many contrasts must not decide when all else has settled.
        total = math.fsum(
            run.changed(x[channel], self._before[channel], MOST_BROUGHT * contrast) for run, channel in self._channels()
        )
        self._brought.append(math.sqrt(total / max(corrupt, 1)))
        # Twice in a row: three renewals alone may fall by chance as if no more were to come.
        self._within = self._within + 1 if to_come(self._brought) <= tol * contrast else 0
        self.settled = self._within > 1 and (self._data is None or self._data.balance.found >= BALANCES)


def _advanced(run: Any, iterations: int, tol: float, least_contrast: float = LEAST_CONTRAST) -> Iterator[None]:
    """Let conjugate gradients go on, in parts."""
    until = run.iterations + iterations
    while run.iterations < until and not (run.settled or run.stalled):
        run.advance(until - run.iterations, tol, least_contrast, WORK_AT_ONCE * _PASS_WORK)
        yield
