"""The solver of "edge" where few pixels are missing: each is restored from a patch of its own, in compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import regions, stencil
from graddesc.losses.differences import SPREAD, EdgeAligned, energy
from graddesc.losses.sweeps import STALLED, Piece
from graddesc.restoration.problem import Problem
from graddesc.restoration.windows import LEAST_ULPS, CompiledSteps, Windows, WindowSteps, Workspace, places_of

_REACH, _MOST_AROUND = 3, 13  # pixels; and how many of the 7 x 7 around a corrupt one may be, itself one of them
# Pixels, within which points are linked, and how many these may be: a long line is descended in its window, as it takes
# many sweeps that end before all has settled, to its good.
_LINK, _MOST_LINKED = 2, 64
MOST_POINTS = 0.02  # of the pixels: the patches of more would take more memory than one window does
_SIDE = 16  # of a patch
_AT_ONCE = 256  # patches that are converted


class Points:
    """The corrupt pixels of a mask, where there are few of them, none of which has many others around it.

    Attributes
    ----------
    pixels : ndarray of intp
        Their flat indices in the image.
    map : Points of the kernels
        Where they stand to each other.
    """

    def __init__(self, pixels: NDArray[np.intp], found: stencil.Points) -> None:
        self.pixels, self.map = pixels, found

    @classmethod
    def of(cls, free: NDArray[np.uint8]) -> Points | None:
        """Those of masks, if there is one, and its corrupt pixels are few."""
        if len(free) > 1 or min(free.shape[1:]) < 2:
            return None  # along a line the loss knows no second differences
        count = np.count_nonzero(free.view(bool))
        if count > max(MOST_POINTS * free.size, 1):
            return None
        pixels = places_of(free.reshape(-1))
        found = stencil.map_pixels(pixels, *free.shape[1:], _MOST_AROUND, _MOST_LINKED, SPREAD)
        return None if found is None else cls(pixels, found)


class Apart:
    """The corrupt pixels of a mask, some of which are points, the others in windows that hold none of these."""

    def __init__(self, points: Points, windows: Windows) -> None:
        self.points, self.windows = points, windows


def edge_places(free: NDArray[np.uint8]) -> Points | Windows | Apart:
    """Where masks ask for work: what `edge_steps` takes."""
    points = Points.of(free)
    if points is not None:
        return points
    windows = Windows(free)
    if windows.boxes is None or len(free) > 1:
        return windows
    few = np.zeros_like(free)
    crowded = regions.crowded(free[0], windows.boxes, _REACH, _MOST_AROUND, _LINK, _MOST_LINKED)
    for held, (top, bottom, left, right) in zip(crowded, windows.boxes, strict=True):
        if not held:
            few[0, top:bottom, left:right] = free[0, top:bottom, left:right]
    points = Points.of(few) if few.any() else None
    return windows if points is None else Apart(points, Windows(free - few))


class PointSteps(CompiledSteps):
    """The compiled descent of points."""

    def __init__(self, loss: EdgeAligned, problem: Problem, points: Points) -> None:
        self._loss, self._problem, self._points = loss, problem, points
        units, channels = problem.units, len(problem.planes)
        self._workspace = Workspace()
        self._descent = stencil.prepare_points(
            loss.operator, points.map, channels, units.dtype == np.float32,
            LEAST_ULPS * float(np.finfo(units.dtype).eps), problem.threads, self._workspace.of_size,
        )  # fmt: skip
        for channel, plane in enumerate(problem.planes):
            self._load(channel, plane)
        start = None
        if not problem.begins_with_pyramid:
            start = problem.filled().reshape(channels, -1)[:, points.pixels].astype(np.float64)
        self._descent.begin(*problem.bounds(), start)

    def _load(self, channel: int, plane: NDArray[Any]) -> None:
        """Hand over the patches of a channel, some at a time: many do not fit into the cache."""
        points, units, count = self._points.map, self._problem.units_of(channel), len(self._points.pixels)
        bits = plane.view(f"u{plane.itemsize}")
        patches = np.empty((min(_AT_ONCE, count), _SIDE * _SIDE), plane.dtype)
        x = np.empty(patches.shape, units.dtype)
        for first in range(0, count, _AT_ONCE):
            some = slice(count - first)
            points.gather(bits, first, patches[some].view(bits.dtype))
            units.to_run(patches[some], x[some])
            self._descent.load(channel, first, x[some])

    def pieces(self) -> Iterator[Piece]:
        """The points as they stand."""
        values = np.empty((len(self._problem.planes), len(self._points.pixels)), self._problem.units.dtype)
        self._descent.values(values)
        for channel, some in enumerate(values):
            yield channel, self._points.pixels, some

    def loss(self) -> float:
        """The loss of the image as it stands."""
        return energy(self._loss.operator, self._problem.restored(self.pieces()), self._problem.threads)


class ApartSteps:
    """The descents of points and of windows, which know nothing of each other: see `graddesc.losses.sweeps.Descent`."""

    stalled, stalled_message = False, STALLED
    settled_message = CompiledSteps.settled_message

    def __init__(self, loss: EdgeAligned, problem: Problem, places: Apart) -> None:
        self._loss, self._problem = loss, problem
        self._parts = PointSteps(loss, problem, places.points), WindowSteps(loss, problem, places.windows)

    def _going(self) -> list[PointSteps | WindowSteps]:
        return [part for part in self._parts if not (part.settled or part.failed)]

    @property
    def iterations(self) -> int:
        """How many both have done that go on, or the most if none does."""
        going = [part.iterations for part in self._going()]
        return min(going) if going else max(part.iterations for part in self._parts)

    @property
    def settled(self) -> bool:
        """Whether all has."""
        return all(part.settled for part in self._parts)

    @property
    def failed(self) -> bool:
        """Whether a part has, and none goes on."""
        return not self._going() and not self.settled

    def advance(self, until: int, tol: float) -> None:
        """Let the part go on that has done the fewest iterations."""
        min(self._going(), key=lambda part: part.iterations).advance(until, tol)

    def pieces(self) -> Iterator[Piece]:
        """The corrupt pixels as they stand."""
        for part in self._parts:
            yield from part.pieces()

    def loss(self) -> float:
        """The loss of the image as it stands."""
        return energy(self._loss.operator, self._problem.restored(self.pieces()), self._problem.threads)
