"""The solvers of the losses that are sums of squares, or are so once their weights are known.

Small regions of sums of squares are solved directly; all else is descended by conjugate gradients with a multigrid
cycle as preconditioner, which estimate how far from the minimum they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import direct, multigrid, regions
from graddesc.losses.differences import Reweighted, SumOfSquares, Weights, energy
from graddesc.losses.sweeps import SETTLED, STALLED, Piece
from graddesc.restoration.problem import ROWS_AT_ONCE, Problem, fill_pyramid, is_narrow
from graddesc.restoration.solver import WORK_AT_ONCE
from graddesc.restoration.windows import MOST_COVERED, places_of, taken

# A region is solved directly if the squares of its envelope's widths add up to so many times its window's pixels.
_DIRECT = 250.0, 1500.0  # first, second differences: where conjugate gradients take as long
_REACH = 1, 2  # pixels beyond which a difference does not look
_DENSE = 0.6  # of the pixels: where more are unknown, most of them are one region
LEAST_CONTRAST = 1e-12  # of the unit: below it only rounding moves
_ITERATION_WORK = 10.0  # sweeps, which an iteration of conjugate gradients takes as long as
_SETUP_WORK = 20.0  # sweeps, which the coarse grids of new weights take as long as

# Of sums of squares whose weights are renewed:
ITERATIONS_BY_WEIGHTS, MORE_ITERATIONS = 4, 16  # of conjugate gradients, by one set of weights
MOST_BROUGHT = 4.0  # contrasts that what a renewal brings to a pixel counts as, at most

NOT_UNIQUE = "The corrupt pixels are at one of many minima: all that is known lies on one line."


class Window:
    """A part of the image that is solved by itself: where it stands, and which of its pixels are unknown."""

    def __init__(self, box: tuple[slice, slice], free: NDArray[np.uint8], shape: tuple[int, int]) -> None:
        self.box, self.free = box, free
        self._whole = free.shape == shape
        self._places: NDArray[np.intp] | None = None
        self._cols = shape[1]

    def piece(self, channel: int, plane: NDArray[Any]) -> Piece:
        """What a plane of the window's shape holds where it is unknown."""
        if self._whole:
            return channel, None, plane
        if self._places is None:
            self._places = places_of(self.free.reshape(-1))
        cols = self.free.shape[1]
        pixels = (self._places // cols + self.box[0].start) * self._cols + self._places % cols + self.box[1].start
        return channel, pixels, plane.reshape(-1)[self._places]


class Regions:
    """What can be told of a mask before the image is known: the regions that are solved directly, and the windows."""

    def __init__(self, kind: int, free: NDArray[np.uint8], threads: int) -> None:
        self.kind, self._shape = kind, free.shape
        self.factors: Any = direct.factorise(kind, free, _DIRECT[kind], threads, _DENSE)
        if self.factors is None:
            self.pixels = self.sources = np.empty(0, np.intp)
            self.windows = [self._everything(free)]
            return
        self.pixels = np.asarray(self.factors.pixels)
        self.sources = np.asarray(self.factors.sources)
        self.windows = list(self._windows())
        self.factors.forget_left()

    def _everything(self, free: NDArray[np.uint8]) -> Window:
        rows, cols = self._shape
        return Window((slice(0, rows), slice(0, cols)), free, (rows, cols))

    def _windows(self) -> Iterator[Window]:
        boxes = np.asarray(self.factors.windows)
        if not len(boxes):
            return
        rows, cols = self._shape
        reach = _REACH[self.kind]
        boxes = np.clip(boxes + np.array([-reach, reach, -reach, reach]), 0, [rows, rows, cols, cols])
        left, starts = np.asarray(self.factors.left), np.asarray(self.factors.left_starts)
        if ((boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])).sum() > MOST_COVERED * rows * cols:
            free = np.zeros(self._shape, np.uint8)
            free.reshape(-1)[left] = 1
            yield self._everything(free)
            return
        for (top, bottom, first, last), start, stop in zip(boxes.tolist(), starts[:-1], starts[1:], strict=True):
            free = np.zeros((bottom - top, last - first), np.uint8)
            at = left[start:stop]
            free[at // cols - top, at % cols - first] = 1
            yield Window((slice(top, bottom), slice(first, last)), free, self._shape)


class _Run(NamedTuple):
    """A window of a channel under way."""

    channel: int
    window: Window
    x: NDArray[np.float64]
    run: Any


class QuadraticSteps:
    """The solution of a sum of squares: see `graddesc.losses.sweeps.Descent`."""

    failed = False
    settled_message = SETTLED

    def __init__(self, loss: SumOfSquares, problem: Problem, masks: list[Regions]) -> None:
        self._loss, self._problem, self._masks = loss, problem, masks
        self._direct: list[NDArray[np.float64]] = []  # the values of each channel that were solved directly
        self._runs: list[_Run] = []
        self._begun = self.settled = self.stalled = False
        self.iterations = 0

    @property
    def stalled_message(self) -> str:
        """Why the corrupt pixels come no nearer."""
        return STALLED if all(one.run.unique for one in self._runs) else NOT_UNIQUE

    def _regions(self, channel: int) -> Regions:
        return self._masks[channel if len(self._masks) > 1 else 0]

    def _begin(self) -> None:
        """Solve what is solved directly, and begin with the rest."""
        problem = self._problem
        filled = None if problem.begins_with_pyramid else problem.filled(np.float64)
        for channel, plane in enumerate(problem.planes):
            parts = self._regions(channel)
            values = np.empty((1, len(parts.pixels)))
            if len(parts.pixels):
                known = np.empty((1, len(parts.sources)))
                problem.units.to_run(taken(plane, parts.sources), known[0])
                parts.factors.solve(known, values, problem.threads)
            self._direct.append(values[0])
            for window in parts.windows:
                if filled is None:
                    x = np.empty(window.free.shape)
                    problem.units.to_run(plane[window.box], x)
                    mask = np.ascontiguousarray(problem.mask(channel)[window.box])
                    fill_pyramid(x, mask, problem.threads)
                else:
                    x = filled[channel][window.box].copy()
                run = multigrid.prepare(parts.kind, window.free, problem.threads)
                run.begin(x, None, False)
                self._runs.append(_Run(channel, window, x, run))
        self._begun = True

    def advance(self, until: int, tol: float) -> None:
        """Go on for some hundredths of a second."""
        if not self._begun:
            self._begin()
            self.iterations = 0 if self._runs else 1
        work = WORK_AT_ONCE / _ITERATION_WORK
        going = [one for one in self._runs if not (one.run.settled or one.run.stalled)]
        for one in going:
            iterations = min(until - one.run.iterations, max(int(work / one.x.size), 1))
            if iterations > 0:
                work -= one.run.advance(iterations, tol, LEAST_CONTRAST) * one.x.size
            if one.run.settled or one.run.stalled:
                one.run.finish()  # its levels take five times the memory of x
            if work <= 0:
                break
        going = [one for one in going if not (one.run.settled or one.run.stalled)]
        if self._runs:
            counted = going or self._runs
            done = [one.run.iterations for one in counted]
            self.iterations = min(done) if going else max(max(done), 1)
        if not going:
            self.settled = all(one.run.settled for one in self._runs)
            self.stalled = not self.settled

    def pieces(self) -> Iterator[Piece]:
        """The corrupt pixels as they stand."""
        if not self._begun:
            yield from self._problem.start_pieces(np.float64)
            return
        for one in self._runs:
            yield one.window.piece(one.channel, one.x)
        for channel, values in enumerate(self._direct):
            yield channel, self._regions(channel).pixels, values

    def loss(self) -> float:
        """The loss of the image as it stands, clamped, as the loss sees it."""
        return _measured(self._loss, self._problem, self.pieces())


class RenewalSteps:
    """Sums of squares whose weights are renewed, which an iteration does once: see `graddesc.losses.sweeps.Descent`."""

    settled_message = SETTLED
    failed = False

    def __init__(self, loss: Reweighted, problem: Problem) -> None:
        self._loss, self._problem = loss, problem
        self._begun = self.settled = self.stalled = False
        self.iterations = 0
        self._windows: list[_Reweighted] = []
        self._renewals: Iterator[float] | None = None  # what is left of an iteration
        self._small: Any = None  # the regions that are solved directly
        self._values = np.empty((len(problem.planes), 0))
        self._places = self._pixels = np.empty(0, np.intp)

    @property
    def stalled_message(self) -> str:
        """Why the corrupt pixels come no nearer."""
        return NOT_UNIQUE if any(not window.unique for window in self._windows) else STALLED

    def _begin(self) -> None:
        problem = self._problem
        filled = None if problem.begins_with_pyramid else problem.filled(np.float64)
        free = problem.free
        if len(free) == 1:
            kind = self._loss.operator.kind
            self._small = direct.renewals(kind, free[0], _DIRECT[kind], problem.threads, _DENSE)
        if self._small is not None:
            left = self._begin_small(filled)
            free = np.zeros_like(free) if len(left) else free[:0]
            free.reshape(-1)[left] = 1
        if len(free):
            self._begin_windows(free, filled)
        self._begun = True

    def _begin_small(self, filled: NDArray[np.float64] | None) -> NDArray[np.intp]:
        """Begin with the small regions of all channels; return the unknown pixels that are left to windows.

        They begin with the minimum of the sum of squares, whose weights are all alike, unless a start is given.
        """
        problem = self._problem
        index = np.asarray(self._small.index)
        self._values = np.empty((len(problem.planes), len(index)))
        for channel, (plane, out) in enumerate(zip(problem.planes, self._values, strict=True)):
            problem.units_of(channel).to_run(taken(plane, index), out)
        self._small.begin(self._values, problem.threads)
        self._places = np.asarray(self._small.places)
        self._pixels = index[self._places]
        if filled is not None:
            self._values[:, self._places] = filled.reshape(len(filled), -1)[:, self._pixels]
        return np.asarray(self._small.left)

    def _begin_windows(self, free: NDArray[np.uint8], filled: NDArray[np.float64] | None) -> None:
        """Begin with what is free in windows around it."""
        problem = self._problem
        union = free[0] if len(free) == 1 else np.bitwise_or.reduce(free)
        rows, cols = union.shape
        margin = _REACH[self._loss.operator.kind] + 3
        for top, bottom, left, right in regions.windows(union, margin, MOST_COVERED) or [(0, rows, 0, cols)]:
            box = slice(top, bottom), slice(left, right)
            own = np.ascontiguousarray(free[:, box[0], box[1]])
            x = np.empty((len(problem.planes), bottom - top, right - left))
            if filled is None:
                for channel, plane in enumerate(x):
                    problem.units_of(channel).to_run(problem.planes[channel, *box], plane)
                    fill_pyramid(plane, np.ascontiguousarray(problem.mask(channel)[box]), problem.threads)
            else:
                x[...] = filled[:, box[0], box[1]]
            parts = [Window(box, plane, (rows, cols)) for plane in own]
            self._windows.append(_Reweighted(self._loss, parts, own, x, problem.threads))

    def advance(self, until: int, tol: float) -> None:
        """Renew the weights of the windows that go on, and solve for them, for some hundredths of a second."""
        if not self._begun:
            self._begin()
        work = WORK_AT_ONCE
        if self._renewals is None:
            self._renewals = itertools.chain(
                self._renew_small(tol), *(window.renew(tol) for window in self._windows if not window.settled)
            )
        for done in self._renewals:
            work -= done
            if work <= 0:
                return
        self._renewals = None
        self.iterations += 1
        small = self._small
        if all(window.settled for window in self._windows) and not (small and small.going):
            self.settled = all(window.unique for window in self._windows) and not (small and small.stuck)
            self.stalled = not self.settled

    def _renew_small(self, tol: float) -> Iterator[float]:
        """Renew the weights of the small regions; yield how many sweeps of a pixel that took."""
        if self._small is not None and self._small.going:
            epsilon = self._loss.operator.epsilon
            self._small.renew(epsilon, tol, LEAST_CONTRAST, MOST_BROUGHT, self._problem.threads)
            yield _SETUP_WORK * len(self._pixels)

    def pieces(self) -> Iterator[Piece]:
        """The corrupt pixels as they stand."""
        if not self._begun:
            yield from self._problem.start_pieces(np.float64)
            return
        for window in self._windows:
            for channel, plane in enumerate(window.x):
                yield window.parts[channel % len(window.parts)].piece(channel, plane)
        for channel, values in enumerate(self._values):
            yield channel, self._pixels, values[self._places]

    def loss(self) -> float:
        """The loss of the image as it stands, clamped, as the loss sees it."""
        return _measured(self._loss, self._problem, self.pieces())


class _Reweighted:
    """A window whose weights are renewed. Kernels go along rows: a narrow window is turned."""

    def __init__(
        self, loss: Reweighted, parts: list[Window], free: NDArray[np.uint8], x: NDArray[np.float64], threads: int
    ) -> None:
        self.parts, self.settled = parts, False
        _, rows, cols = x.shape
        self._turned = is_narrow(rows, cols)
        if self._turned:
            x, free = np.ascontiguousarray(x.swapaxes(1, 2)), np.ascontiguousarray(free.swapaxes(1, 2))
        self._x = x
        self._weights = Weights(loss.operator, x.shape, np.float32, threads)
        self._runs = [
            multigrid.prepare(loss.operator.kind, free[channel % len(free)], threads) for channel in range(len(x))
        ]
        self._moving = max(int(np.count_nonzero(free)) * (len(x) // len(free)), 1)
        self._brought: list[float] = []
        self._contrast = 0.0

    @property
    def x(self) -> NDArray[np.float64]:
        """The channels as they stand."""
        return self._x.swapaxes(1, 2) if self._turned else self._x

    @property
    def unique(self) -> bool:
        """Whether there is one minimum."""
        return all(run.unique for run in self._runs)

    def renew(self, tol: float) -> Iterator[float]:
        """Renew the weights and solve for them; yield from time to time how many sweeps of a pixel that took."""
        before = self._x.copy()
        self._weights.weigh(self._x.astype(np.float32))
        contrast = 0.0
        for plane, run in zip(self._x, self._runs, strict=True):
            run.begin(plane, self._weights.planes[0], False)
            yield _SETUP_WORK * plane.size
            yield from _advanced(run, plane.size, ITERATIONS_BY_WEIGHTS, 0.0)
            if not run.estimate <= self._contrast:
                # The solution is still far, as beside what stands out by much more than the image's range.
                yield from _advanced(run, plane.size, MORE_ITERATIONS, tol)
            contrast += run.contrast**2
        self._contrast = contrast = max(math.sqrt(contrast / len(self._x)), LEAST_CONTRAST)
        # What stands out by many contrasts must not decide when all else has settled.
        most, total = MOST_BROUGHT * contrast, 0.0
        for plane, old in zip(self._x, before, strict=True):
            for start in range(0, len(plane), ROWS_AT_ONCE):
                some = np.s_[start : start + ROWS_AT_ONCE]
                total += float(np.sum(np.clip(plane[some] - old[some], -most, most) ** 2))
        self._brought.append(math.sqrt(total / self._moving))
        self.settled = to_come(self._brought) <= tol * contrast


def to_come(brought: list[float]) -> float:
    """What renewals have yet to bring, by what each of them has brought: NaN before the third."""
    return float(direct.to_come(*brought[:-4:-1])) if len(brought) > 2 else math.nan


def _advanced(run: Any, size: int, iterations: int, tol: float) -> Iterator[float]:
    """Let conjugate gradients go on, and yield from time to time how many sweeps of a pixel that took."""
    at_once = max(int(WORK_AT_ONCE / _ITERATION_WORK / size), 1)
    until = run.iterations + iterations
    while run.iterations < until:
        done = run.advance(min(at_once, until - run.iterations), tol, LEAST_CONTRAST)
        if not done:
            return
        yield _ITERATION_WORK * size * done


def _measured(loss: SumOfSquares | Reweighted, problem: Problem, pieces: Iterator[Piece]) -> float:
    """The loss of an image as it stands."""
    return energy(loss.operator, problem.restored(pieces), problem.threads)
