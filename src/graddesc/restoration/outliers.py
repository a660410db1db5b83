"""Known pixels that are far out of the range of all others, such as stars and hot pixels: what is near alone sees them.

A loss that is soft across edges lets a line run through what is unknown at little cost. Where a pixel stands out by
many ranges, a line of its height costs less than a peak, however far it runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc.losses.differences import EdgeAligned, energy
from graddesc.losses.sweeps import STALLED, Piece
from graddesc.restoration.points import Apart, ApartSteps, Points, PointSteps
from graddesc.restoration.problem import Problem
from graddesc.restoration.windows import Windows, WindowSteps

_OUTLYING = 32.0  # units, which are one and a half ranges, from those that nearly all known pixels lie in
_NEAR = 16.0  # pixels


def edge_steps(
    loss: EdgeAligned, problem: Problem, places: Points | Apart | Windows, descend: type[WindowSteps] = WindowSteps
) -> PointSteps | ApartSteps | WindowSteps | OutlierSteps:
    """The descent of "edge": of all corrupt pixels together, unless there are outliers.

    Where few pixels are corrupt no line runs far, and what is around them is all that there is to see.
    """
    if isinstance(places, Points):
        return PointSteps(loss, problem, places)
    if isinstance(places, Apart):
        return ApartSteps(loss, problem, places)
    outliers = _outlying(problem) if places.index is None else None
    return descend(loss, problem, places) if outliers is None else OutlierSteps(loss, problem, outliers, descend)


def _outlying(problem: Problem) -> NDArray[np.bool_] | None:
    """The known pixels that are far from all others, shape of the masks; None if there are none."""
    if max(problem.units_of(channel).farthest for channel in range(len(problem.planes))) <= _OUTLYING:
        return None
    x = problem.converted()
    far = np.zeros(problem.free.shape, bool)
    for channel, plane in enumerate(x):
        far[channel % len(far)] |= (np.abs(plane) > _OUTLYING) & (problem.mask(channel) == 0)
    return far if far.any() else None


def _near(outliers: NDArray[np.bool_], free: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The corrupt pixels that are near an outlier, or nearer to one than to any other known pixel."""
    from scipy.ndimage import distance_transform_edt

    near = np.zeros_like(free)
    for some, outlier, corrupt in zip(near, outliers, free.view(bool), strict=True):
        if outlier.any():
            away = distance_transform_edt(~outlier)
            others = distance_transform_edt(corrupt | outlier)
            some[corrupt & ((away <= _NEAR) | (away <= others))] = 1
    return near


class OutlierSteps:
    """The descent of an image as if its outliers were unknown, then of what is near them.

    See `graddesc.losses.sweeps.Descent`.
    """

    stalled, stalled_message = False, STALLED
    settled_message = WindowSteps.settled_message

    def __init__(
        self, loss: EdgeAligned, problem: Problem, outliers: NDArray[np.bool_], descend: type[WindowSteps]
    ) -> None:
        self._loss, self._problem, self._outliers, self._descend = loss, problem, outliers, descend
        free = problem.free | outliers
        self._steps = descend(loss, dataclasses.replace(problem, free=free), Windows(free))
        self._whole: NDArray[Any] | None = None  # what has settled, where what is near the outliers is descended
        self._done = 0  # iterations of that

    @property
    def iterations(self) -> int:
        """How many are done."""
        return self._done + self._steps.iterations

    @property
    def settled(self) -> bool:
        """Whether all has, near the outliers and elsewhere."""
        return self._whole is not None and self._steps.settled

    @property
    def failed(self) -> bool:
        """Whether the image is no longer finite."""
        return self._steps.failed

    def advance(self, until: int, tol: float) -> None:
        """Go on for some hundredths of a second."""
        self._steps.advance(until - self._done, tol)
        if self._whole is None and self._steps.settled:
            self._done = self._steps.iterations
            self._whole = self._restored()
            problem = self._problem
            free = _near(self._outliers, problem.free)
            near = problem.alike(self._whole, free)
            if not problem.begins_with_pyramid:
                near.start = problem.filled()
            self._steps = self._descend(self._loss, near, Windows(free))

    def _restored(self) -> NDArray[Any]:
        """The image as it stands, in units of the run."""
        if self._whole is not None:
            x = self._whole.copy()
            self._problem.alike(x, self._problem.free).write(self._steps.pieces(), x)
            return x
        x = self._problem.restored(self._steps.pieces())
        known = self._problem.converted()  # outliers among them
        np.copyto(x, known, where=np.broadcast_to(self._outliers, x.shape))
        return x

    def pieces(self) -> Iterator[Piece]:
        """The channels as they stand."""
        for channel, plane in enumerate(self._restored()):
            yield channel, None, plane

    def loss(self) -> float:
        """The loss of the image as it stands, clamped, as the loss sees it."""
        return energy(self._loss.operator, self._restored(), self._problem.threads)
