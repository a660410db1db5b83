"""The line smoothness of the classic recipe, and the compiled sweeps that descend it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import line
from graddesc.arguments import as_out, as_plane
from graddesc.losses.sweeps import SETTLED, STALLED, Momentum, Piece, Trend

if TYPE_CHECKING:
    from graddesc.arguments import _Float, _Plane

__all__ = ["LineSmoothness", "LineSweeps"]


@dataclass(frozen=True)
class LineSmoothness:
    """The norms of the differences along every row and every column, of neighbours and of pixels two apart.

    Notes
    -----
    With r running over all rows and all columns of the image::

        E(x) = sum_r ||diff(r)|| + ||diff(r[0::2])|| + ||diff(r[1::2])||

    The norms are L2 norms, not squared: E is convex and ``E(a x) = |a| E(x)``. A line too short for a difference adds
    nothing; a constant line has norm 0, and the gradient of its term is taken as 0.

    `value` and `gradient` each read the image once or twice and allocate less than one image beside the result. In
    float32 the value is right to a relative error of about 1e-6, and overflows where a difference exceeds 1e19.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc.losses import LineSmoothness
    >>> LineSmoothness().value(np.array([[0.0, 3.0], [4.0, 4.0]]))
    8.0
    """

    def value(self, x: _Plane[_Float]) -> float:
        """Return the loss of an image.

        Parameters
        ----------
        x : array_like, shape (rows, cols), float32 or float64
            The image; not changed, copied only if it is not C-contiguous.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        TypeError
            If x has another dtype.
        ValueError
            If x is not 2-D or is empty.
        """
        return self._measure(as_plane(x))[0]

    def gradient(self, x: _Plane[_Float], out: NDArray[_Float] | None = None) -> NDArray[_Float]:
        """Return the gradient of the loss at an image.

        Parameters
        ----------
        x : array_like, shape (rows, cols), float32 or float64
            The image; not changed, copied only if it is not C-contiguous.
        out : ndarray, shape (rows, cols), the dtype of x, optional
            Where to write the gradient; any strides.

        Returns
        -------
        ndarray, shape (rows, cols), the dtype of x
            The gradient; `out` itself if it was given.

        Raises
        ------
        TypeError
            If x has another dtype, or out is no array.
        ValueError
            If x is not 2-D or is empty; if out has another shape or dtype, or is read-only.
        """
        return self.value_and_gradient(x, out)[1]

    def value_and_gradient(
        self, x: _Plane[_Float], out: NDArray[_Float] | None = None
    ) -> tuple[float, NDArray[_Float]]:
        """Return the loss of an image and its gradient there; parameters and errors as in `gradient`.

        Returns
        -------
        value : float
            The loss.
        gradient : ndarray, shape (rows, cols), the dtype of x
            The gradient; `out` itself if it was given.
        """
        x = as_plane(x)
        out, target = as_out(out, x)
        value, weights, halo = self._measure(x)
        line.gradient(x, 1, *weights, halo, target)
        if target is not out:
            out[...] = target
        return value, out

    def sweeps(
        self, x: NDArray[Any], free: NDArray[np.uint8], low: float, high: float, threads: int = 1, turned: bool = False
    ) -> LineSweeps:
        """Return the compiled sweeps that descend this loss: `LineSweeps`, of all channels, along columns if turned."""
        return LineSweeps(x, free, low, high, threads, turned)

    @staticmethod
    def _measure(x: NDArray[Any]) -> tuple[float, tuple[NDArray[Any], NDArray[Any]], NDArray[Any]]:
        rows, cols = x.shape
        strips = line.count_strips(cols)
        weights = np.empty((rows, 3), x.dtype), np.empty((3, cols), x.dtype)
        halo = np.empty((strips, rows, 4), x.dtype)
        value = line.measure(x, 1, *weights, halo, np.empty((strips, rows, 3)), np.empty((3, cols)))
        return value, weights, halo


class LineSweeps:
    """The compiled descent of the line smoothness of an image's channels, each by itself, in place: see
    `graddesc.losses.sweeps.Descent`.

    Holds the workspaces and, from one sweep to the next, the norms of the channels as they stand.
    """

    stalled, stalled_message = False, STALLED
    settled_message = SETTLED

    def __init__(
        self, x: NDArray[Any], free: NDArray[np.uint8], low: float, high: float, threads: int = 1, turned: bool = False
    ) -> None:
        self._turned = turned
        if turned:
            x, free = (np.ascontiguousarray(array.swapaxes(1, 2)) for array in (x, free))
        channels, rows, cols = x.shape
        strips = line.count_strips(cols)
        self._x, self._free, self._range, self._threads = x, free, (low, high), threads
        self._previous: NDArray[Any] | None = None
        self._weights = [(np.empty((rows, 3), x.dtype), np.empty((3, cols), x.dtype)) for _ in x]
        self._halos = np.empty((2, channels, strips, rows, 4), x.dtype)
        self._sums = [(np.empty((strips, rows, 3)), np.empty((3, cols))) for _ in x]
        self._totals = np.zeros((channels, strips, 2))
        self._moving = max(int(np.count_nonzero(free)) * (channels // len(free)), 1)
        self._pairs = max(channels * (rows * (cols - 1) + cols * (rows - 1)), 1)
        dtype = "float" if x.dtype == np.float32 else "double"
        self._descend, self._accelerate = line.descend[dtype], line.accelerate[dtype]
        self._momentum, self._trend = Momentum(), Trend()
        self._slope = self.change = 0.0
        self.restarted = self.settled = False
        self.iterations = 0
        # How much more is yet to come than the trend of the changes shows, by what lies far from what is known: the
        # slowest changes are small, and hidden by others that fall.
        far = sum(np.count_nonzero(_four_by_four(plane)) for plane in free)
        self._doubt = 1 + 3 * max(16 * far / max(int(np.count_nonzero(free)), 1) - 0.3, 0.0)
        self.value = math.fsum(
            line.measure(plane, threads, *weights, halo, *sums)
            for plane, weights, halo, sums in zip(x, self._weights, self._halos[0], self._sums, strict=True)
        )

    def _channels(self) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8], tuple[NDArray[Any], ...]]]:
        """The arguments that the kernels have in common, channel by channel."""
        for c, x in enumerate(self._x):
            workspace = *self._weights[c], self._halos[0, c], self._halos[1, c], *self._sums[c], self._totals[c]
            yield x, self._free[c % len(self._free)], workspace

    def _finish(self, values: Iterable[float]) -> None:
        self._halos = self._halos[::-1]
        self.value = math.fsum(values)
        changes, slopes = self._totals.sum(axis=1).T.tolist()
        self.change, self._slope = math.sqrt(math.fsum(changes) / self._moving), math.fsum(slopes)

    def contrast(self) -> float:
        """The root mean square difference between neighbours, from the norms of stride 1."""
        # Not by BLAS, whose threads would spin.
        squares = [float(np.square(rows[0, :, 0]).sum() + np.square(columns[0]).sum()) for rows, columns in self._sums]
        return math.sqrt(math.fsum(squares) / self._pairs)

    def descend(self, step: float, track_change: bool = False) -> None:
        """Take a plain step x <- clip(x - step * gradient); `change` is known if tracked."""
        self._finish(
            [
                self._descend(x, free, step, *self._range, track_change, self._threads, *workspace)
                for x, free, workspace in self._channels()
            ]
        )

    def accelerate(self) -> None:
        """Take a step with each pixel's own step size, then extrapolate x beyond it."""
        if self._previous is None:
            self._previous = self._x.copy()
        self.restarted = self._slope > 0
        if self.restarted:
            self._momentum.restart()
        weight = self._momentum.next()
        self._finish(
            [
                self._accelerate(x, previous, free, weight, *self._range, self._threads, *workspace)
                for previous, (x, free, workspace) in zip(self._previous, self._channels(), strict=True)
            ]
        )

    @property
    def failed(self) -> bool:
        """Whether the loss is no longer finite."""
        return not math.isfinite(self.value)

    def advance(self, until: int, tol: float) -> None:
        """Take one accelerated step."""
        self.accelerate()
        self.iterations += 1
        expected = self._doubt * self._trend.expected(self.change, self.restarted)
        self.settled = expected <= tol * self.contrast()

    def pieces(self) -> Iterator[Piece]:
        """The channels after the last step, before their extrapolation."""
        for channel, plane in enumerate(self._x if self._previous is None else self._previous):
            yield channel, None, plane.T if self._turned else plane

    def loss(self) -> float:
        """The loss of the planes; costs a pass over them after an accelerated step, nothing after a plain one."""
        if self._previous is None:
            return self.value
        return math.fsum(LineSmoothness().value(plane) for plane in self._previous)


def _four_by_four(free: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The blocks of four by four pixels, cut at the border, of which all are free."""
    for axis in (0, 1):
        free = np.bitwise_and.reduceat(free, np.arange(0, free.shape[axis], 4), axis=axis)
    return free
