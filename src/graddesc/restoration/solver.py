"""The loop that descends a loss by its sweeps: the same for all of them, until they settle or a limit is met."""

from __future__ import annotations

import collections
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graddesc.arguments import require_count, require_nonnegative
from graddesc.isa import kernels
from graddesc.losses.differences import EDGE, LEAST_CONTRAST, SPREAD, Differences, Weights
from graddesc.losses.line import LineSmoothness
from graddesc.losses.sweeps import Momentum, Sweeps
from graddesc.restoration.problem import ROWS_AT_ONCE, Problem, pull, push
from graddesc.schedules import step_at

_pyramid, _stencil = kernels("pyramid"), kernels("stencil")

Outcome: TypeAlias = tuple[int, str]
"""A status and its message."""

Schedule: TypeAlias = Callable[[int], float]
"""The step of each iteration, from 0."""

Report: TypeAlias = Callable[[int, float | None], object]
"""What is told of an iteration: its number, from 1, and the step if a schedule gave it."""

# The compiled solver: iterations at most, and the change yet to come at which it stops. On photographs with 90 % of the
# pixels missing this is after 20 to 40 iterations, within 0.1 % of the least loss.
SOLVER_MAX_ITER = 3000
SOLVER_TOL = 0.1
SCHEDULE_MAX_ITER = 500
# What is yet to come is judged by how the change has fallen over so many iterations. So shortly after a restart the
# momentum is still small, and so is the change of an image that is far from settled: it is taken to last for 50 more.
_TREND_WINDOW = 8
_ITERATIONS_TO_COME = 50
# The losses of local differences: coarse levels, how much more may be yet to come where a run of them ends than where
# one on the finest level does, and iterations between renewals of the weights, or the part of all so far if that is
# more: in large gaps, which take hundreds, renewals would keep the image from settling.
_LEVELS = 4
_COARSER = 1.4
_COARSE_LEAST_TOL = 0.1
_COARSE_MAX_ITER = 500
_PERIOD = 12, 1 / 4
_SHORT = 32  # pixels in a row: fewer are worth turning the image

MESSAGES = {
    "settled": (0, "The corrupt pixels have settled: what they have yet to change is within tol."),
    "done": (0, "All steps were taken."),
    "nothing": (0, "No pixel is corrupt: the image is returned as it is."),
    "iterations": (1, "The greatest number of iterations was reached."),
    "not finite": (3, "The loss is not finite: the bounds allow values whose squares overflow."),
    "time": (5, "The greatest time was reached."),
    "callback": (99, "The callback stopped the run."),
}


class Limits:
    """When to stop: the iterations, the change (as a fraction of the contrast) and the time."""

    def __init__(self, max_iter: int, tol: float | None, deadline: float, schedule: bool) -> None:
        self.max_iter, self.tol, self._deadline, self._schedule = max_iter, tol, deadline, schedule
        self._courses: dict[int, _Course] = collections.defaultdict(
            _Course
        )  # of the parts of the image that settle by themselves

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
        default = SOLVER_MAX_ITER if step is None else SCHEDULE_MAX_ITER
        max_iter = default if max_iter is None else require_count("max_iter", max_iter, least=0)
        if tol is not None:
            tol = require_nonnegative("tol", tol)
        elif step is None:
            tol = default_tol
        deadline = math.inf if max_time is None else started + require_nonnegative("max_time", max_time)
        return cls(max_iter, tol, deadline, step is not None)

    def afresh(self) -> Limits:
        """The same for another run, from its start."""
        return Limits(self.max_iter, self.tol, self._deadline, self._schedule)

    def of_solver(self, tol: float) -> Limits:
        """Those of a run of the compiled solver within the same time."""
        return Limits(SOLVER_MAX_ITER, tol, self._deadline, False)

    def settled(self, sweeps: Any, size: float | None) -> bool:
        """Whether the image has settled after an iteration, whose step size is None unless a schedule gave it."""
        if self.tol is None or size == 0:
            return False
        if self._schedule:
            return bool(sweeps.change <= self.tol * sweeps.contrast())
        changes = getattr(sweeps, "changes", None) or [sweeps.change]
        expected = [self._courses[i].expected(change, sweeps.restarted) for i, change in enumerate(changes)]
        moving = _last_above(expected, self.tol * sweeps.contrast())
        if moving < len(expected) and isinstance(sweeps, DifferenceSweeps):
            sweeps.measure_contrast()
            moving = _last_above(expected, self.tol * sweeps.contrast())
        if 0 < moving < len(expected):
            sweeps.keep(moving)
        return moving == 0

    def remaining(self) -> float | None:
        """The seconds that are left, or None."""
        return None if self._deadline == math.inf else max(self._deadline - time.perf_counter(), 0.0)

    def expired(self) -> bool:
        """Whether the time is over."""
        return time.perf_counter() >= self._deadline


def _last_above(values: Sequence[float], limit: float) -> int:
    """The number of values up to the last one that is above a limit, or is NaN."""
    return max((i + 1 for i, value in enumerate(values) if not value <= limit), default=0)


class _Course:
    """How the changes of an image, or of a part of it, have fallen since its momentum last started afresh."""

    def __init__(self) -> None:
        self._changes: collections.deque[float] = collections.deque(maxlen=_TREND_WINDOW + 1)

    def expected(self, change: float, restarted: bool) -> float:
        """The change that is yet to come, after this one."""
        if restarted:
            self._changes.clear()
        self._changes.append(change)
        if len(self._changes) > _TREND_WINDOW and self._changes[0] > change:
            # As if the changes to come fell in a geometric series.
            ratio: float = (change / self._changes[0]) ** (1 / _TREND_WINDOW)
            if ratio < 1:
                return change * ratio / (1 - ratio)
        return change * _ITERATIONS_TO_COME


def begin(loss: LineSmoothness | Differences, problem: Problem, limits: Limits, accelerated: bool) -> Sweeps:
    """Return the sweeps that descend a loss on a problem, from its start."""
    if isinstance(loss, Differences):
        return DifferenceSweeps(loss, problem, limits, accelerated)
    problem.fill()
    return loss.sweeps(problem.x, problem.free, *problem.units.bounds(), problem.threads)


def descend(sweeps: Sweeps, step: Schedule | None, limits: Limits, report: Report, loss_unit: float = 1.0) -> Outcome:
    """Iterate until a limit is met; return the status and its message.

    Each iteration is told by ``report(nit, step)``, whose StopIteration ends the run. Steps of a schedule are of the
    given unit.
    """
    for k in range(limits.max_iter):
        size = None
        if step is None:
            sweeps.accelerate()
        else:
            size = step_at(step, k)
            sweeps.descend(size / loss_unit, track_change=limits.tol is not None)
        try:
            report(k + 1, size)
        except StopIteration:
            return MESSAGES["callback"]
        if not math.isfinite(sweeps.value):
            return MESSAGES["not finite"]
        if limits.settled(sweeps, size):
            return MESSAGES["settled"]
        if limits.expired():
            return MESSAGES["time"]
    return MESSAGES["iterations"]


def silent(nit: int, step: float | None) -> None:
    """A report to nobody."""


class DifferenceSweeps:
    """The compiled descent of a loss of local differences, coarse levels first: see `graddesc.losses.sweeps.Sweeps`."""

    def __init__(self, loss: Differences, problem: Problem, limits: Limits, accelerated: bool) -> None:
        coarse = accelerated and limits.max_iter > 0 and problem.begins_with_pyramid
        if not coarse:
            problem.fill()
        x, free, threads, units = problem.x, problem.free, problem.threads, problem.units
        self._loss, self._units, self.restarted = loss, units, False
        # Kernels go along rows: short ones are turned.
        self._turned = x.shape[2] < min(x.shape[1], _SHORT)
        if self._turned:
            x, free = (np.ascontiguousarray(array.swapaxes(1, 2)) for array in (x, free))
        # Channels that share a mask are descended as their sum and their differences: these settle soon. Bounds of the
        # caller's would not be bounds of those.
        self._mixing = None
        if accelerated and len(x) > 1 and len(free) == 1 and not units.given:
            self._mixing = _cosines(len(x), x.dtype)
            _mix(x, self._mixing)
        self._bounds = units.bounds() if self._mixing is None else (-math.inf, math.inf)
        if coarse and problem.corrupt:
            self._descend_levels(x, free, threads, limits)
        self._level = _Level(loss, x, free, *self._bounds, threads)

    def _descend_levels(self, x: NDArray[Any], free: NDArray[np.uint8], threads: int, limits: Limits) -> None:
        """Run the energy on ever finer grids; what it finds is where the next finer one starts."""
        pyramids = [pull(plane, free[c % len(free)], threads, _LEVELS) for c, plane in enumerate(x)]
        for pyramid in pyramids:
            push(pyramid[_LEVELS:], threads)
        for level in range(_LEVELS, 0, -1):
            if max(x.shape[1:]) >> level >= 3:
                coarse = np.stack([pyramid[level][0] for pyramid in pyramids])
                coarse_free = np.stack([pyramid[level][1] for pyramid in pyramids[: len(free)]])
                if coarse_free.any():
                    sweeps = _Level(self._loss, coarse, coarse_free, *self._bounds, threads)
                    self._settle(sweeps, limits)
                    for pyramid, iterate in zip(pyramids, sweeps.iterates, strict=True):
                        pyramid[level][0][...] = iterate
            for pyramid in pyramids:
                push(pyramid[level - 1 : level + 1], threads)

    @staticmethod
    def _settle(sweeps: _Level, limits: Limits) -> None:
        """Run the energy on a coarse grid."""
        course = _Course()
        assert limits.tol is not None  # as of every run of the compiled solver
        tol = _COARSER * max(limits.tol, _COARSE_LEAST_TOL)
        for _ in range(_COARSE_MAX_ITER):
            restarted = sweeps.accelerate()
            if course.expected(sweeps.change, restarted) <= tol * sweeps.contrast or limits.expired():
                break

    def descend(self, step: float, track_change: bool = False) -> None:
        """Take a plain step."""
        self._level.refresh()
        self._level.descend(step)

    def accelerate(self) -> None:
        """Take an accelerated step, with the weights renewed from time to time."""
        self.restarted = self._level.accelerate()

    @property
    def change(self) -> float:
        """The root mean square change of the corrupt pixels in the last iteration."""
        return self._level.change

    value = change  # finite as long as the image is

    @property
    def changes(self) -> list[float]:
        """What each of the channels that are still descended adds to the change."""
        return [self.change] if self._mixing is None else self._level.changes

    def keep(self, parts: int) -> None:
        """Leave all channels but so many as they are, the first ones: the others have settled."""
        if self._mixing is not None:
            self._level.keep(parts)

    def contrast(self) -> float:
        """The root mean square difference between neighbours, when it was last measured."""
        return self._level.contrast

    def measure_contrast(self) -> None:
        """Renew the contrast."""
        self._level.measure_contrast()

    def loss(self) -> float:
        """The loss of the image as it stands, clamped and scaled as the loss sees it."""
        x = self._channels()
        return self._level.loss(x if self._mixing is None else np.clip(x, *self._units.bounds(), out=x))

    def planes(self) -> NDArray[Any]:
        """The channels as they stand."""
        x = self._channels()
        return x.swapaxes(1, 2) if self._turned else x

    def _channels(self) -> NDArray[Any]:
        x = self._level.iterates
        if self._mixing is not None:
            x = x.copy()
            _mix(x, self._mixing.T)
        return x


class _Level:
    """The sweeps over one grid."""

    def __init__(
        self,
        loss: Differences,
        x: NDArray[Any],
        free: NDArray[np.uint8],
        low: float,
        high: float,
        threads: int = 1,
    ) -> None:
        operator = loss.operator
        self._free, self._range, self._threads = free, (low, high), threads
        self.iterates, self._previous, self._next = x, x.copy(), x.copy()
        self._weights = Weights(operator, x.shape, x.dtype, threads)
        self._measuring: Weights | None = None
        self._steps = np.empty(free.shape, x.dtype)
        self._tiles = _tiles(free)
        self._totals, self._sums = np.empty((len(self._tiles) * len(x), 2)), np.empty((len(x), 2))
        self._accelerate = _stencil.accelerate["float" if x.dtype == np.float32 else "double"]
        self._spread = _tensor_spread(free, threads) if operator.kind == EDGE else None
        shared = len(x) // len(free)
        self._moving = max(int(np.count_nonzero(free)) * shared, 1)
        moves = free.view(bool)
        pairs = moves[:, :, 1:] | moves[:, :, :-1], moves[:, 1:] | moves[:, :-1]
        self._pairs = max(sum(map(np.count_nonzero, pairs)) * shared, 1)
        self._fresh = False
        self._slope = self.contrast = 0.0
        self.changes = [0.0] * len(x)
        self._momentum, self._iterations, self._due = Momentum(*loss.momentum), 0, 0

    def refresh(self) -> None:
        """Renew the weights, and with them each pixel's step, at the image as it stands."""
        self.measure_contrast()
        if self._fresh and self._weights.operator.epsilon == 0:
            return  # a sum of squares has always the same
        if self._spread is not None:
            self._weights.orient(self.iterates, self._spread)
        self._weights.weigh(self.iterates)
        self._weights.step_sizes(self._free, self._steps)
        self._fresh = True

    def measure_contrast(self) -> None:
        """Renew `contrast`."""
        contrast = math.sqrt(self._weights.contrast(self.iterates, self._free) / self._pairs)
        self.contrast = max(contrast, LEAST_CONTRAST * np.finfo(self.iterates.dtype).eps)

    def accelerate(self) -> bool:
        """Take an accelerated step; return whether its momentum started afresh, as the last one pointed uphill."""
        if self._iterations == self._due:
            self.refresh()
            period, share = _PERIOD
            self._due += max(period, int(self._iterations * share))
        self._iterations += 1
        restarted = self._slope > 0
        if restarted:
            self._momentum.restart()
        operator = self._weights.operator
        n = len(self.changes)
        self._accelerate(
            operator.kind, self.iterates[:n], self._previous[:n], self._steps, self._momentum.next(), *self._range,
            self._weights.planes, operator.mu, operator.kappa, self._tiles, self._threads,
            self._totals[: len(self._tiles) * n], self._next[:n], self._sums[:n],
        )  # fmt: skip
        self._advance()
        squares, slopes = self._sums[:n].T.tolist()
        self._note(squares)
        self._slope = sum(slopes)
        return restarted

    def keep(self, channels: int) -> None:
        """Let only so many channels, the first ones, take part in further steps."""
        rest = np.s_[channels : len(self.changes)]
        self._previous[rest] = self._next[rest] = self.iterates[rest]
        del self.changes[channels:]

    def descend(self, step: float) -> None:
        """Take a plain step x <- clip(x - step * gradient)."""
        x, new = self.iterates, self._next
        self._weights.gradient(x, new)
        np.multiply(new, -x.dtype.type(step), out=new)
        new += x
        np.clip(new, *self._range, out=new)
        np.copyto(new, x, where=self._free == 0)
        squares: NDArray[np.float64] = np.sum((new - x) ** 2, axis=(1, 2), dtype=np.float64)
        self._note(squares.tolist())
        self._advance()

    def _note(self, squares: Sequence[float]) -> None:
        self.changes = [math.sqrt(square / self._moving) for square in squares]

    @property
    def change(self) -> float:
        """The root mean square change of the free pixels in the last sweep."""
        return math.hypot(*self.changes)

    def _advance(self) -> None:
        self.iterates, self._previous, self._next = self._next, self.iterates, self._previous

    def loss(self, x: NDArray[Any]) -> float:
        """The loss of an image of the shape and dtype of this one."""
        weights = self._weights
        if self._spread is not None:
            if self._measuring is None:
                self._measuring = Weights(weights.operator, x.shape, x.dtype, self._threads)
            weights = self._measuring
            weights.orient(x, SPREAD)
        return weights.energy(x)


_CELL = 32, 256  # rows and columns
_CELLS = 4, 8  # of a tile, at most: the kernel has room for rows of 2048


def _tiles(free: NDArray[np.uint8]) -> NDArray[np.intc]:
    """The tiles of an image in which something is free, made of cells: first row, end, first column, end."""
    _, rows, cols = free.shape
    # A last cell of a single column is a part of the one before it.
    tops, starts = (np.arange(0, max(side - 1, 1), cell) for side, cell in zip((rows, cols), _CELL, strict=True))
    bottoms, stops = np.append(tops[1:], rows), np.append(starts[1:], cols)
    bands = np.split(np.bitwise_or.reduce(free), tops[1:])
    cells = np.bitwise_or.reduceat(np.stack([np.bitwise_or.reduce(band) for band in bands]), starts, axis=1)
    tiles = []
    # Rows of cells that are free at the same places are joined, and so are cells beside one another.
    for _, alike in itertools.groupby(range(len(cells)), lambda i: (i // _CELLS[0], cells[i].tobytes())):
        first, *_, last = [*alike] * 2
        places = np.flatnonzero(cells[first])
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            for k in range(0, len(run), _CELLS[1]):
                part = run[k : k + _CELLS[1]]
                tiles.append((tops[first], bottoms[last], starts[part[0]], stops[part[-1]]))
    return np.array(tiles, np.intc).reshape(-1, 4)


def _tensor_spread(free: NDArray[np.uint8], threads: int) -> float:
    """The standard deviation of the tensor's Gaussian, from the density of the known pixels around the unknown ones."""
    sums, scratch = np.empty(free.shape[1]), np.empty(free.shape[1:], np.uint8)
    known = math.fsum(_stencil.known_around(plane, threads, sums, scratch) for plane in free)
    density: float = max(known / max(int(np.count_nonzero(free)), 1), 0.005)
    spread: float = SPREAD * (0.1 / density) ** 0.4
    return min(spread, 10.0)


# ---- channels ----


def _cosines(n: int, dtype: DTypeLike) -> NDArray[Any]:
    """The orthonormal cosine transform of n numbers, as a matrix."""
    matrix = np.cos(np.pi / n * np.outer(np.arange(n), np.arange(n) + 0.5)) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    return matrix.astype(dtype)


def _mix(x: NDArray[Any], matrix: NDArray[Any]) -> None:
    """Replace the channels of x by sums of them, weighted as the rows of the matrix tell."""
    for start in range(0, x.shape[1], ROWS_AT_ONCE):
        block = x[:, start : start + ROWS_AT_ONCE]
        sums = np.zeros_like(block)
        with np.errstate(all="ignore"):  # a corrupt value may be anything
            for weights, out in zip(matrix, sums, strict=True):  # not by BLAS, whose order of summation is its own
                for weight, plane in zip(weights, block, strict=True):
                    out += weight * plane
        block[...] = sums
