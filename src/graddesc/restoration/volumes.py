"""The solver of "edge" on volumes: from coarse grids to fine ones, where something is corrupt."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import pyramid, volume, volume_quadratics
from graddesc.losses.differences import SECOND, EdgeAligned
from graddesc.losses.grids import coarse_spacing, halved
from graddesc.losses.sweeps import STALLED, Momentum, Piece
from graddesc.losses.volumes import (
    FLOOR,
    SAFETY,
    SAFETY_OF_CELLS,
    SPREAD,
    EdgeWeights,
    NeighbourDifferences,
    array_for,
    edge_energy,
    fits_of,
    in_parts,
    occupied,
    scratch_of,
    spans_of,
    tiles_of,
    widened,
)
from graddesc.restoration.left_out import LeftOut
from graddesc.restoration.problem import Problem
from graddesc.restoration.solver import CUT_OFF, WORK_AT_ONCE
from graddesc.restoration.volume_noise import BALANCES, Balance, Measured
from graddesc.restoration.windows import LEAST_NOISY, SETTLED_NOISE

_COARSE_GRIDS = 4  # that are descended; those above are averaged only
_LEAST_SIDE = 3  # of a grid that is descended
_COARSE_RENEWALS, _COARSE_PERIOD = 4, 8  # of the weights on coarse grids, and the sweeps after each
_LOOKED_AT = 2**20  # voxels, about, that tell the contrast and how much is known
_PERIOD = 12  # sweeps after a renewal on the finest grid, at most
_LEAST_PERIOD = 2
_FREE_RENEWALS = 12  # of a grid; then weights are means of what renewals find, or they may go to and fro for ever
_SHARES = 4  # renewals of a grid that tell the share of the cells: they make smooth what tells it, so it might go on
_SOLVED = 0.15  # of the greatest change since a renewal: a sweep that changes less ends its period
_MOST_SPREAD, _LEAST_SPREAD = 10.0, 1.0  # voxels, of the tensor's Gaussian
_LEAST_DENSITY = 0.005  # known voxels around a corrupt one
_MOST_MOMENTUM = 0.97
_MOST_MOVE = 4.0  # contrasts that a voxel's move counts as, at most
_OUTSTANDING = 8.0  # contrasts, beyond which a difference counts no more
_LEAST_ULPS = 400  # units in the last place of 1: a smaller contrast never settles, but moves by rounding
_SLOWEST = 0.97  # the greatest ratio of a geometric series of renewals
_DOUBT = 10.0  # how much more a series of two renewals may hold than it shows
_DENSE_START = 20.0  # of the momentum's sequence where most voxels around a corrupt one are corrupt
_FILL_TOL, _FILL_ITERATIONS = 0.1, 30  # of the start where voxels are left out
_HOLES = 0.3  # of the free voxels in large holes: then these are filled from another start, too
_MOST_SWEEPS = 300  # from there
_SPARSE = 0.25  # of the voxels are corrupt: of fewer, they alone are taken out


class _Grid:
    """A grid of the pyramid: its voxels, shape (channels, planes, rows, cols), its masks and distances."""

    def __init__(
        self,
        x: NDArray[Any],
        free: NDArray[np.uint8],
        spacing: tuple[float, ...],
        measured: Measured | None = None,
    ) -> None:
        self.x, self.free, self.spacing, self.measured = x, free, spacing, measured
        self.missing = free if measured is None else measured.missing
        self.unknown = int(np.count_nonzero(self.missing))

    def coarser(self, threads: int) -> _Grid:
        """The next grid, of averages of what is known; of what is noisy, on which all voxels are free."""
        if self.measured is not None:
            measured = self.measured.coarser(self.spacing)
            shape, masks = measured.data.shape[1:], len(self.free)
            spacing = coarse_spacing(self.x.shape[1:], shape, self.spacing)
            return _Grid(measured.data.copy(), np.ones((masks, *shape), np.uint8), spacing, measured)
        shape = halved(self.x.shape[1:], self.spacing)
        x, free = np.empty((len(self.x), *shape), self.x.dtype), np.empty((len(self.free), *shape), np.uint8)
        for channel, plane in enumerate(self.x):
            mask = channel % len(self.free)
            pyramid.pull_volume(plane, self.free[mask], threads, x[channel], free[mask])
        return _Grid(x, free, coarse_spacing(self.x.shape[1:], shape, self.spacing))

    def fill_from(self, coarse: NDArray[Any], where: NDArray[np.uint8], threads: int) -> None:
        """Interpolate some voxels from the next coarser grid."""
        for channel, plane in enumerate(self.x):
            pyramid.push_volume(coarse[channel], where[channel % len(where)], threads, plane)


class _Run:
    """The descent of a grid: its weights, its sweeps, its momentum."""

    def __init__(
        self,
        loss: EdgeAligned,
        grid: _Grid,
        bounds: tuple[float, float],
        threads: int,
        left: LeftOut | None = None,
        huber: float = math.inf,
    ) -> None:
        self._grid, self._bounds, self._threads = grid, bounds, threads
        self._present = present = None if left is None else left.present
        self._fits = None if present is None else fits_of(present)
        shape, dtype = grid.x.shape[1:], grid.x.dtype
        sectors = occupied(grid.free)
        self._tiles = tiles_of(sectors, shape[2])
        self._around = spans_of(widened(sectors, 1, 1, 1), shape[2])
        rows = max(int(np.sum(self._around[:, 3] - self._around[:, 2], dtype=np.int64) // _LOOKED_AT), 1)
        # An odd step is in step with no pattern of rows or planes that is likely.
        self._looked_at = self._around[:: rows | 1].copy() if rows > 1 else self._around
        known = self._known_around() if left is None else np.mean([left.known_share(free) for free in grid.free])
        density = max(float(known), _LEAST_DENSITY)
        spread = min(max(SPREAD * (0.1 / density) ** 0.4, _LEAST_SPREAD), _MOST_SPREAD)
        self._weights = EdgeWeights(
            loss.contrast, loss.edge_strength, shape, grid.spacing, spread, dtype, threads,
            sectors if present is None else None, present,
        )  # fmt: skip
        self._spacing = np.array(grid.spacing)
        self._m = array_for((6, *shape), dtype, sectors)
        self._steps = array_for(grid.free.shape, dtype, sectors)
        self._room = np.empty(volume.workspace(dtype == np.float32, threads), np.uint8)
        self.x, self._previous, self._next = grid.x, grid.x.copy(), grid.x.copy()
        self._least = _LEAST_ULPS * float(np.finfo(dtype).eps)
        self._momentum = Momentum()
        self._slope, self.contrast, self._differences = 0.0, 1.0, NeighbourDifferences()
        self._cells, self._renewals = 0.0, 0
        self._moving = int(np.count_nonzero(grid.free)) * (len(grid.x) // len(grid.free))
        self.change = 0.0
        self.balance: Balance | None = None
        self._data: NDArray[Any] | None = None
        self._pull: NDArray[Any] | None = None
        if grid.measured is not None:
            self.balance = Balance(loss, grid.measured, grid.spacing, huber, threads)
            self._least = max(self._least, LEAST_NOISY)
            self._data = grid.measured.data

    def _known_around(self) -> float:
        """The share of the known voxels among those around the free ones."""
        total, count = 0.0, 0
        if not self._grid.unknown:
            return 1.0
        for free in self._grid.missing:
            for some in in_parts(self._looked_at):
                sums, found = volume.known_around(free, some, self._threads, *scratch_of(some))
                total, count = total + sums, count + found
        return total / max(count, 1)

    def measure_contrast(self) -> Iterator[int]:
        """Find the root mean square difference of neighbours of which one is free; in large volumes, of some rows'."""
        most = min(1.0, _OUTSTANDING * self.contrast)
        for _ in range(2 if self.contrast == 1 else 1):
            self._differences = NeighbourDifferences()
            for some in in_parts(self._looked_at):
                self._differences.add(self.x, self._grid.free, most, some, self._threads, self._present)
                yield int(np.sum(some[:, 3] - some[:, 2]))
            self.contrast = max(self._differences.contrast, self._least)
            # What stands out by many times that does not count in full either.
            most = min(1.0, _OUTSTANDING * self.contrast)

    def renew(self) -> Iterator[int]:
        """Find the weights, the steps and the contrast, at the volume as it stands; yield the work that was done."""
        yield from self.measure_contrast()
        # Noise has the differences of what is smooth; and cells would reach around what is left out.
        if self._renewals < _SHARES and self.balance is None and self._present is None:
            self._cells = self._differences.share_of_cells
        self._renewals += 1
        yield from self._weights.orient(self.x, self._cells)
        before = self._m.copy() if self._renewals > _FREE_RENEWALS else None
        yield from self._weights.spread(self._m)
        if before is not None:
            with np.errstate(all="ignore"):  # beside the tiles they hold anything
                before -= self._m
                before *= 1 - 1 / (self._renewals - _FREE_RENEWALS + 1)
                self._m += before
        safety = SAFETY + self._cells * (SAFETY_OF_CELLS - SAFETY)
        for some in _tiles_in_parts(self._tiles):
            volume.step_sizes(
                self._grid.free, self._m, self._cells, self._spacing, safety, FLOOR, some, self._threads, self._room,
                self._steps, self._fits,
            )  # fmt: skip
            yield 2 * _size(some)
        if self.balance is not None:
            yield from self._weigh_data(self.balance)

    def _weigh_data(self, balance: Balance) -> Iterator[int]:
        """Find how much what was measured weighs, and the steps by it."""
        if balance.found < BALANCES:
            densities = np.empty(self.x.shape[1:], self.x.dtype)
            yield from self._weights.densities(self.x, densities)
            yield from balance.find(densities)
        weights = yield from balance.weights(self.x)
        with np.errstate(all="ignore"):  # beside the tiles steps hold anything
            for steps, own in zip(self._steps, weights, strict=True):
                steps /= 1 + steps * own
                own *= steps
        self._pull = weights
        yield 4 * weights.size

    def sweep(self) -> Iterator[int]:
        """Take a step; yield the work that was done."""
        if self._slope > 0:
            self._momentum.restart()
        momentum = min(self._momentum.next(), _MOST_MOMENTUM)
        change = slope = 0.0
        for some in _tiles_in_parts(self._tiles):
            totals = np.empty((len(some), len(self.x), 2))
            volume.accelerate(
                self.x, self._previous, self._steps, momentum, *self._bounds, _MOST_MOVE * self.contrast, self._m,
                self._cells, self._spacing, some, self._threads, self._room, totals, self._next, self._fits,
                self._data, self._pull,
            )  # fmt: skip
            for of_change, of_slope in totals.reshape(-1, 2).tolist():
                change, slope = change + of_change, slope + of_slope
            yield _size(some) * len(self.x)
        self.x, self._previous, self._next = self._next, self.x, self._previous
        self._slope, self.change = slope, math.sqrt(change / self._moving)


def _size(tiles: NDArray[np.int32]) -> int:
    sides = tiles[:, 1::2].astype(np.int64) - tiles[:, ::2]
    return int(sides.prod(axis=1).sum())


_TILES_AT_ONCE = 4e6  # voxels, about, that are swept before anybody looks up


def _tiles_in_parts(tiles: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    count = max(int(len(tiles) * _TILES_AT_ONCE / max(_size(tiles), 1)), 1)
    for start in range(0, len(tiles), count):
        yield tiles[start : start + count]


class VolumeSteps:
    """The descent of "edge" on a volume: see `graddesc.losses.sweeps.Descent`."""

    settled_message = (
        "The corrupt pixels have settled: what renewals of the weights change, carried on as they fall, is within tol."
    )

    def __init__(self, loss: EdgeAligned, problem: Problem, left: LeftOut | None = None) -> None:
        self._loss, self._problem = loss, problem
        self.iterations, self.settled, self.failed = 0, False, False
        self._tol = 0.0
        self._balance: Balance | None = None
        self._left = None if problem.ignored is None else left or LeftOut(problem.free, problem.ignored)
        self.stalled, self.stalled_message = False, STALLED if self._left is None else CUT_OFF
        if self._left is not None:
            self._x = problem.filled()
            self._x[:, self._left.present == 0] = 0  # whatever it was
            self._work = self._descend_beside(self._left)
            return
        coarse, measured = problem.begins_with_pyramid, None
        x = problem.converted() if coarse else problem.filled()
        if problem.noise is not None:
            self.settled_message = SETTLED_NOISE
            measured = Measured.of(problem)
            np.copyto(x, measured.data, where=(measured.missing == 0) & (problem.free == 1))
        grids = [_Grid(x, problem.free, problem.spacing, measured)]
        if coarse:
            while grids[-1].unknown or (measured and len(grids) <= _COARSE_GRIDS and max(grids[-1].x.shape[1:]) > 1):
                grids.append(grids[-1].coarser(problem.threads))
            for fine, above in zip(grids[-2::-1], grids[:0:-1], strict=True):
                fine.fill_from(above.x, fine.missing, problem.threads)
        self._x = grids[0].x
        self._work = self._descend(grids)

    def _descend(self, grids: list[_Grid]) -> Iterator[int]:
        """Go down from grid to grid; yield the work that was done, and 0 after each iteration of the finest grid."""
        bounds, threads = self._problem.units.bounds(), self._problem.threads
        noise = self._problem.noise
        huber = math.inf if noise is None else noise.huber
        level = 0
        while (
            level + 1 < min(len(grids), _COARSE_GRIDS + 1)
            and (grids[level + 1].unknown or noise is not None)
            and (max(grids[level + 1].x.shape[1:]) >= _LEAST_SIDE)
        ):
            level += 1
        other = (yield from self._from_smooth(grids[0])) if noise is None and _has_large_holes(grids) else None
        del grids[level + 1 :]
        while len(grids) > 1:
            run = _Run(self._loss, grids.pop(), bounds, threads, huber=huber)
            for _ in range(_COARSE_RENEWALS):
                yield from run.renew()
                for _ in range(_COARSE_PERIOD):
                    yield from run.sweep()
            grids[-1].fill_from(run.x, grids[-1].free, threads)
        yield from self._settle(_Run(self._loss, grids.pop(), bounds, threads, huber=huber))
        if self.settled and other is not None:
            found, of_found = self._x, self.loss()
            self._x = other
            if self.loss() < of_found:
                self.iterations += 1
            else:
                self._x = found

    def _from_smooth(self, grid: _Grid) -> Generator[int, None, NDArray[Any] | None]:
        """Descend the finest grid from a minimum of the squared second differences; None if that takes too long.

        In large holes the energy has many minima, and coarse grids do not always lead to a low one.
        """
        problem = self._problem
        x = grid.x.copy()
        yield from _fill_smoothly(x, grid.free, None, problem)
        run = _Run(self._loss, _Grid(x, grid.free, grid.spacing), problem.units.bounds(), problem.threads)
        settled = yield from self._settled(run, _MOST_SWEEPS)
        return run.x if settled else None

    def _descend_beside(self, left: LeftOut) -> Iterator[int]:
        """The same where some voxels are left out: from a minimum of the squared second differences, on one grid.

        Coarse voxels would hold what is on either side of a thin wall.
        """
        problem = self._problem
        grid = _Grid(self._x, left.free, problem.spacing)
        if problem.begins_with_pyramid:
            yield from _fill_smoothly(grid.x, left.free, left.present, problem)
        if grid.unknown:
            run = _Run(self._loss, grid, problem.units.bounds(), problem.threads, left)
            yield from self._settle(run)
        if self.failed:
            return
        self.stalled, self.settled = left.cut_off, not left.cut_off

    def _settle(self, run: _Run) -> Iterator[int]:
        """Descend the finest grid, iteration by iteration."""
        self._balance = run.balance
        self.settled = yield from self._settled(run, None)

    def _settled(self, run: _Run, most: int | None) -> Generator[int, None, bool]:
        """Descend until what renewals bring is within the tolerance, or for `most` sweeps; if None they are iterations.

        Yield the work that was done, and 0 after each sweep; return whether it has settled.
        """
        brought: list[float] = []
        sweeps = 0
        while most is None or sweeps < most:
            yield from run.renew()
            greatest = total = 0.0
            for count in range(1, _PERIOD + 1):
                yield from run.sweep()
                sweeps += 1
                if most is None:
                    self._x = run.x
                    self.iterations += 1
                if not math.isfinite(run.change):
                    self.failed = most is None
                    return False
                greatest, total = max(greatest, run.change), total + run.change
                yield 0
                if count >= _LEAST_PERIOD and run.change <= _SOLVED * greatest:
                    break
            brought.append(total)
            if run.balance is not None and run.balance.found < BALANCES:
                continue
            if _to_come(brought) <= self._tol * run.contrast:
                yield from run.measure_contrast()
                if _to_come(brought) <= self._tol * run.contrast:
                    return True
        return False

    def advance(self, until: int, tol: float) -> None:
        """Go on for some hundredths of a second, until so many iterations are done or the volume has settled."""
        self._tol = tol
        left = WORK_AT_ONCE
        while left > 0 and self.iterations < until:
            work = next(self._work, None)
            if work is None:
                return
            left -= work

    def pieces(self) -> Iterator[Piece]:
        """The channels as they stand, or their corrupt voxels."""
        free = self._problem.free
        if np.count_nonzero(free) > _SPARSE * free.size:
            for channel, plane in enumerate(self._x):
                yield channel, None, plane
            return
        places = [np.flatnonzero(mask) for mask in free]
        for channel, plane in enumerate(self._x):
            own = places[channel % len(places)]
            yield channel, own, plane.reshape(-1)[own]

    def loss(self) -> float:
        """The loss of the volume as it stands, clamped, as the loss sees it."""
        x, present = self._problem.restored(self.pieces()), None
        if self._left is not None:
            present = self._left.present
            x[:, present == 0] = 0
        noisy = self._problem.noise is not None
        value = edge_energy(self._loss, x, self._problem.spacing, self._problem.threads, present, smooth=not noisy)
        return value if self._balance is None else value + self._balance.data_term(x, self._problem.free)


def _fill_smoothly(
    x: NDArray[Any], masks: NDArray[np.uint8], present: NDArray[np.uint8] | None, problem: Problem
) -> Iterator[int]:
    """Fill what is free of x with about the minimum of its squared second differences; yield the work that was done."""
    spacing, shape = problem.spacing, x.shape[1:]
    low, high = problem.units.bounds()
    for channel, plane in enumerate(x):
        free = masks[channel % len(masks)]
        workspace = np.zeros(
            volume_quadratics.workspace_size(SECOND, spacing, shape, False, present is not None), np.uint8
        )
        run = volume_quadratics.prepare(SECOND, spacing, free, False, workspace, problem.threads, present)
        found = plane.astype(np.float64)
        run.begin(found)
        while run.iterations < _FILL_ITERATIONS and not (run.settled or run.stalled):
            work = run.advance(_FILL_ITERATIONS - run.iterations, _FILL_TOL, 1e-6, WORK_AT_ONCE)
            yield int(work)
        if np.isfinite(found).all():
            np.copyto(plane, np.clip(found, low, high), where=free.view(bool), casting="unsafe")


def _has_large_holes(grids: list[_Grid]) -> bool:
    """Whether much of what is free is in holes of at least 4 x 4 x 4 voxels."""
    if len(grids) < 3:
        return False
    fine, coarse = grids[0], grids[2]
    return coarse.unknown * fine.free.size > _HOLES * fine.unknown * coarse.free.size


def _to_come(brought: list[float]) -> float:
    """What the renewals to come will change, by what the last ones have."""
    if len(brought) < 2:
        return math.inf
    ratio = brought[-1] / max(brought[-2], 1e-300)
    if len(brought) > 2:
        ratio = max(ratio, math.sqrt(brought[-1] / max(brought[-3], 1e-300)))
    ratio = min(ratio, _SLOWEST)
    return brought[-1] * ratio / (1 - ratio) * (_DOUBT if len(brought) == 2 else 1)
