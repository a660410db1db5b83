"""The solver of "edge": windows around what is corrupt, descended from coarse grids to fine ones in compiled code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graddesc._kernels import multigrid, regions, stencil
from graddesc.losses.differences import Differences, energy
from graddesc.losses.sweeps import STALLED, Piece
from graddesc.restoration.problem import ROWS_AT_ONCE, Problem, fill_pyramid, is_narrow
from graddesc.restoration.solver import WORK_AT_ONCE

_MARGIN = 6  # pixels around a corrupt one that have a say in its weights; the others move it by .02 grey levels of 255
MOST_COVERED = 0.4  # of the image: where windows would cover more, it is one window
_SPARSE = 0.25  # of the pixels are corrupt: of fewer, they alone are taken out
# Where momentum is bounded: with 1, 52 iterations of "edge" reach what 36 do.
_MOST_MOMENTUM = 0.97
LEAST_ULPS = 400  # units in the last place of 1: a smaller contrast never settles, but moves by rounding
OUTERMOST = -0.5, 1.5  # units that an outlier among noisy pixels counts as: a range of the image beyond either end
LEAST_NOISY = 1e-4  # of the unit: the same where there is noise, after which next to nothing may be left
# How near to a thin plate's minimum large holes are filled at first.
_FILL_TOL, _FILL_ITERATIONS = 0.1, 20

SETTLED_NOISE = (
    "The pixels have settled: what renewals of the weights and of the noise's balance change, carried on as they fall,"
    " is within tol."
)

_workspaces: list[NDArray[np.uint8]] = []  # those that are not used at the moment
_KEPT = 2**25  # bytes of one that is kept for the next restoration
_MOST_KEPT = 4


class Workspace:
    """The memory of a compiled descent: an earlier one's if it is large enough, as new memory has to be cleared."""

    def __init__(self) -> None:
        try:
            self._held = _workspaces.pop()
        except IndexError:
            self._held = np.empty(0, np.uint8)

    def of_size(self, size: int) -> NDArray[np.uint8]:
        """At least so many bytes, that may hold anything."""
        if len(self._held) < size:
            self._held = np.empty(size, np.uint8)
        return self._held

    def __del__(self) -> None:
        if len(self._held) <= _KEPT and len(_workspaces) < _MOST_KEPT:
            _workspaces.append(self._held)


class Windows:
    """Where the windows of a mask stand, whose pixels are kept one window after the other.

    Attributes
    ----------
    boxes : list of tuple of int, or None
        Their first rows, the rows after their last ones, and the same of their columns; None if there is one window,
        the image.
    shapes : ndarray of intp, shape (windows, 2)
        Their rows and columns.
    free : ndarray of uint8, shape (pixels masks,)
        The masks of the windows, one after the other.
    index : ndarray of intp, shape (pixels,), or None
        The flat indices of their pixels in the image; None where `boxes` is.
    pixels : list of ndarray, or None
        For each mask the flat indices of the corrupt pixels in the image; None where most are.
    places : list of ndarray
        For each mask, where these pixels stand among those of the windows; None without `pixels`.
    turned : bool
        Whether the one window, a narrow image, is held transposed.
    """

    def __init__(self, free: NDArray[np.uint8]) -> None:
        masks, rows, cols = free.shape
        union = free[0] if masks == 1 else np.bitwise_or.reduce(free)
        boxes = regions.windows(union, _MARGIN, MOST_COVERED)
        self.turned = boxes is None and is_narrow(rows, cols)
        self.boxes: list[tuple[int, int, int, int]] | None = boxes
        if boxes is None:
            self.index = None
            self.pixels = self.places = None
            if np.count_nonzero(union.view(bool)) < _SPARSE * union.size and not self.turned:
                self.places = self.pixels = [places_of(plane.reshape(-1)) for plane in free]
            self.shapes = np.array([(cols, rows) if self.turned else (rows, cols)], np.intp)
            self.free = self.arranged(free)
            return
        bounds = np.array(boxes, np.intp).reshape(-1, 4)
        self.shapes = np.ascontiguousarray(np.stack([bounds[:, 1] - bounds[:, 0], bounds[:, 3] - bounds[:, 2]], axis=1))
        self.index = np.empty(int(self.shapes.prod(axis=1).sum()), np.intp)
        regions.places(bounds, cols, self.index)
        self.free = self.arranged(free)
        masked = self.free[np.newaxis] if masks == 1 else self.free[self.order(masks)]
        self.places = [places_of(plane) for plane in masked]
        self.pixels = [self.index[places] for places in self.places]

    def arranged(self, planes: NDArray[Any]) -> NDArray[Any]:
        """What planes of the image's size hold, in the order of `free`."""
        if self.index is None:
            return np.ascontiguousarray(planes.swapaxes(1, 2) if self.turned else planes).reshape(-1)
        held = np.stack([plane.reshape(-1)[self.index] for plane in planes])
        return held[0] if len(held) == 1 else self.scattered(held)

    def order(self, channels: int) -> NDArray[np.intp]:
        """Where the pixels of each channel stand when those of a window follow each other channel by channel."""
        sizes = self.shapes.prod(axis=1)
        starts = np.cumsum(sizes) - sizes
        shift = np.repeat(starts, sizes) * (channels - 1)
        order: NDArray[np.intp] = (
            np.arange(len(shift)) + shift + np.arange(channels)[:, np.newaxis] * np.repeat(sizes, sizes)
        )
        return order

    def scattered(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Pixels of shape (channels, pixels) in that order."""
        out = np.empty(planes.size, planes.dtype)
        out[self.order(len(planes))] = planes
        return out

    def split(self, x: NDArray[Any], channels: int) -> Iterator[NDArray[Any]]:
        """Views of shape (channels, rows, cols) of the windows in x."""
        sizes = channels * self.shapes.prod(axis=1)
        for start, size, shape in zip(np.cumsum(sizes) - sizes, sizes, self.shapes, strict=True):
            yield x[start : start + size].reshape(channels, *shape)

    def gathered(self, problem: Problem) -> NDArray[Any]:
        """The pixels of the windows of all channels, in units of the run, shape (channels, pixels)."""
        if self.index is None:
            x = problem.converted()
            return np.ascontiguousarray(x.swapaxes(1, 2) if self.turned else x).reshape(len(x), -1)
        x = np.empty((len(problem.planes), len(self.index)), problem.units.dtype)
        for channel, (plane, out) in enumerate(zip(problem.planes, x, strict=True)):
            problem.units_of(channel).to_run(taken(plane, self.index), out)
        return x


def places_of(free: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The places of the free pixels."""
    places = np.empty(np.count_nonzero(free.view(bool)), np.intp)
    regions.free_pixels(free, places)
    return places


def taken(plane: NDArray[Any], index: NDArray[np.intp]) -> NDArray[Any]:
    """The pixels of a plane of any strides at flat indices."""
    if plane.flags.c_contiguous:
        return plane.reshape(-1).take(index)
    return plane[np.unravel_index(index, plane.shape)]


class CompiledSteps:
    """What descents of `stencil` have in common: see `graddesc.losses.sweeps.Descent`."""

    stalled, stalled_message = False, STALLED
    settled_message = (
        "The corrupt pixels have settled: what renewals of the weights change, carried on as they fall, is within tol."
    )
    _descent: Any  # of compiled code

    @property
    def iterations(self) -> int:
        """How many iterations of the finest grid are done."""
        return int(self._descent.iterations)

    @property
    def settled(self) -> bool:
        """Whether all pixels have settled."""
        return bool(self._descent.settled)

    @property
    def failed(self) -> bool:
        """Whether a pixel is no longer finite, when all others have settled."""
        return bool(self._descent.failed)

    def advance(self, until: int, tol: float) -> None:
        """Go on for some hundredths of a second."""
        self._descent.advance(until, tol, WORK_AT_ONCE)


class WindowSteps(CompiledSteps):
    """The compiled descent of a loss of local differences, in windows."""

    def __init__(self, loss: Differences, problem: Problem, windows: Windows) -> None:
        units, channels = problem.units, len(problem.planes)
        self._loss, self._problem, self._windows = loss, problem, windows
        # Channels that share a mask are descended as their sum and their differences: these settle soon. Bounds of the
        # caller's would not be bounds of those.
        self._mixing: NDArray[Any] | None = None
        if channels > 1 and len(problem.free) == 1 and not units.given:
            self._mixing = _cosines(channels, units.dtype)
        noise = problem.noise
        coarse = problem.begins_with_pyramid
        x = windows.gathered(problem if coarse else problem.alike(problem.filled(), problem.free))
        if noise is not None:
            self.settled_message = SETTLED_NOISE
            if noise.huber < math.inf:
                masks = len(problem.free)
                free = windows.free if windows.index is None or masks == 1 else windows.free[windows.order(masks)]
                # What lies further out pulls no more; the first start would be full of it.
                np.clip(x, *OUTERMOST, out=x, where=free.reshape(masks, -1).view(bool))
        if self._mixing is not None:
            _mix(x, self._mixing)
        self._x = x.reshape(-1) if windows.index is None or channels == 1 else windows.scattered(x)
        least = LEAST_ULPS * float(np.finfo(units.dtype).eps)
        if noise is not None:
            least = max(least, LEAST_NOISY)
        self._workspace = Workspace()
        self._descent = stencil.prepare(
            loss.operator, windows.shapes, windows.free, channels, len(problem.free), units.dtype == np.float32,
            _MOST_MOMENTUM, least, problem.threads, None if noise is None else noise.huber,
            self._workspace.of_size,
        )  # fmt: skip
        low, high = problem.bounds() if self._mixing is None else (-math.inf, math.inf)
        compact = np.zeros(len(windows.shapes), np.uint8)
        if coarse and noise is None:
            compact = np.array(self._descent.compact(), np.uint8)
        if compact.any():
            self._fill(compact, low, high)
        precision = None if noise is None else windows.arranged(noise.precision())
        self._descent.begin(self._x, low, high, coarse, compact, precision)

    def _fill(self, compact: NDArray[np.uint8], low: float, high: float) -> None:
        """Fill the windows of which most is in large holes with the minimum of the squared second differences."""
        channels, masks = len(self._problem.planes), len(self._problem.free)
        pairs = zip(self._windows.split(self._x, channels), self._windows.split(self._windows.free, masks), strict=True)
        for large, (x, free) in zip(compact, pairs, strict=True):
            if not large:
                continue
            for channel, plane in enumerate(x):
                mask = np.ascontiguousarray(free[channel % masks])
                _plate(plane, mask, low, high, self._problem.threads)

    def pieces(self) -> Iterator[Piece]:
        """The channels as they stand, or the corrupt pixels of the windows."""
        windows, channels = self._windows, len(self._problem.planes)
        pixels, places = windows.pixels, windows.places
        self._descent.finish()
        if pixels is None or places is None:
            x = self._x.reshape(channels, *windows.shapes[0])
            if self._mixing is not None:
                x = x.copy()
                _mix(x, self._mixing.T)
            for channel, plane in enumerate(x):
                yield channel, None, plane.T if windows.turned else plane
            return
        if self._mixing is not None:
            x = self._x[windows.order(channels)[:, places[0]]]
            _mix(x, self._mixing.T)
            for channel, values in enumerate(x):
                yield channel, pixels[0], values
            return
        order = None if channels == 1 else windows.order(channels)
        for channel in range(channels):
            mask = channel % len(pixels)
            own = places[mask]
            yield channel, pixels[mask], self._x[own if order is None else order[channel, own]]

    def loss(self) -> float:
        """The loss of the image as it stands, clamped, as the loss sees it; with noise also that of the data."""
        windows = self._windows
        if windows.index is None and not windows.turned and self._mixing is None and self.iterations > 0:
            # A sweep has clamped what is free; what is known stands in its own units.
            self._descent.finish()
            x = self._x.reshape(self._problem.planes.shape)
        else:
            x = self._problem.restored(self.pieces())
        value = energy(self._loss.operator, x, self._problem.threads)
        return value if self._problem.noise is None else value + float(self._descent.data_term())


def _plate(plane: NDArray[Any], free: NDArray[np.uint8], low: float, high: float, threads: int) -> None:
    """Fill the free pixels of a plane with about the minimum of its squared second differences."""
    fill_pyramid(plane, free, threads)
    x = plane.astype(np.float64)
    run = multigrid.prepare(1, free, threads)
    run.begin(x, None, False)
    run.advance(_FILL_ITERATIONS, _FILL_TOL, 1e-6)
    if np.isfinite(x).all():
        np.copyto(plane, np.clip(x, low, high), where=free.view(bool), casting="unsafe")


# ---- channels ----


def _cosines(n: int, dtype: DTypeLike) -> NDArray[Any]:
    """The orthonormal cosine transform of n numbers, as a matrix."""
    matrix = np.cos(np.pi / n * np.outer(np.arange(n), np.arange(n) + 0.5)) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    return matrix.astype(dtype)


def _mix(x: NDArray[Any], matrix: NDArray[Any]) -> None:
    """Replace the channels of x by sums of them, weighted as the rows of the matrix tell."""
    flat = x.reshape(len(x), -1)
    for start in range(0, flat.shape[1], ROWS_AT_ONCE * 1024):
        block = flat[:, start : start + ROWS_AT_ONCE * 1024]
        sums = np.zeros_like(block)
        with np.errstate(all="ignore"):  # a corrupt value may be anything
            for weights, out in zip(matrix, sums, strict=True):  # not by BLAS, whose order of summation is its own
                for weight, plane in zip(weights, block, strict=True):
                    out += weight * plane
        block[...] = sums
