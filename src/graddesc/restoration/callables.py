"""Restorations by a loss of the caller's, which sees the whole image at once, pixels to ignore as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.losses.sweeps import SETTLED, Piece, Trend
from graddesc.restoration.problem import Problem, as_planes
from graddesc.restoration.solver import CALLBACK, Limits, Outcome, Report

ValueAndGradient: TypeAlias = Callable[[NDArray[Any]], tuple[Any, Any]]


def by_planes(loss: Any, spacing: tuple[float, ...]) -> ValueAndGradient:
    """Return a callable that adds up a loss of images, or of volumes so spaced, over the channels, the first axis."""
    options = {"spacing": spacing} if spacing else {}

    def value_and_gradient(x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        gradient = np.empty_like(x)
        total = 0.0
        for plane, out in zip(x, gradient, strict=True):
            total += loss.value_and_gradient(plane, out, **options)[0]
        return total, gradient

    return value_and_gradient


class CallableSteps:
    """Plain steps down the gradient that a callable returns: for `graddesc.restoration.solver.follow`."""

    def __init__(self, function: ValueAndGradient, problem: Problem, channel_axis: int | None) -> None:
        self._function, self._problem, self._channel_axis = function, problem, channel_axis
        self._x = problem.filled()
        if problem.ignored is not None:  # as they are, which the start is not
            np.copyto(self._x, problem.converted(), where=problem.ignored)
        self._where = np.broadcast_to(problem.free.view(bool), self._x.shape)
        self._pairs = max(sum(self._x.size // side * (side - 1) for side in self._x.shape[1:]), 1)
        self.change = 0.0
        self.value, self._gradient = self._evaluate()

    @property
    def _values(self) -> NDArray[Any]:
        """The corrupt pixels, in one dimension."""
        values: NDArray[Any] = self._x[self._where]
        return values

    def _move(self, values: NDArray[Any]) -> None:
        """Give the corrupt pixels new values, and measure there."""
        self._x[self._where] = values
        self.value, self._gradient = self._evaluate()

    def _note(self, change: NDArray[Any]) -> None:
        """Take note of the change of the corrupt pixels."""
        self.change = float(np.linalg.norm(change)) / math.sqrt(self._problem.corrupt)

    def _evaluate(self) -> tuple[float, NDArray[np.float64]]:
        image = self._x[0] if self._channel_axis is None else np.moveaxis(self._x, 0, self._channel_axis)
        result = self._function(image.copy(order="C"))
        try:
            value, gradient = result
        except (TypeError, ValueError):
            raise TypeError(f"loss must return a pair (value, gradient), got {result!r}") from None
        gradient = np.asarray(gradient, dtype=np.float64)
        if gradient.shape != image.shape:
            raise ValueError(f"loss must return a gradient of shape {image.shape}, got {gradient.shape}")
        return float(value), as_planes(gradient, self._channel_axis)

    def descend(self, step: float, track_change: bool = False) -> None:
        """Take a plain step."""
        with np.errstate(all="ignore"):  # a step may be as long as it likes: the range ends it
            new = np.clip((self._x - step * self._gradient)[self._where], *self._problem.units.bounds())
            self._note(new - self._values)
        self._move(new)

    def contrast(self) -> float:
        """The root mean square difference between neighbouring pixels, none of them to be ignored."""
        x = self._x
        if self._problem.ignored is not None:
            found = [
                np.diff(np.where(self._problem.ignored, np.nan, x), axis=axis).ravel() for axis in range(1, x.ndim)
            ]
            differences = np.concatenate(found)
            differences = differences[~np.isnan(differences)]
            return math.sqrt(float(np.mean(differences**2))) if len(differences) else 0.0
        return math.sqrt(sum(float(np.sum(np.diff(x, axis=axis) ** 2)) for axis in range(1, x.ndim)) / self._pairs)

    def loss(self) -> float:
        """The loss of the image as it stands."""
        return self.value

    def pieces(self) -> Iterator[Piece]:
        """The channels as they stand."""
        for channel, plane in enumerate(self._x):
            yield channel, None, plane

    def minimize(self, limits: Limits, report: Report | None) -> Outcome:
        """Descend by spectral projected gradients; return the status and its message."""
        from scipy.optimize import Bounds

        from graddesc import descent, line_search

        low, high = self._problem.units.bounds()
        values = self._values
        reason: Outcome | None = None
        trend = Trend()

        def fun(values: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
            self._move(values)
            return self.value, self._gradient[self._where]

        def callback(intermediate_result: Any) -> None:
            nonlocal values, reason
            new = intermediate_result.x
            self._note(new - values)
            values = self._x[self._where] = new
            self.value = intermediate_result.fun
            reason = CALLBACK
            if report is not None:
                report(intermediate_result.nit, None)
            settled = limits.tol is not None and trend.expected(self.change, False) <= limits.tol * self.contrast()
            reason = (0, SETTLED) if settled else None
            if reason is not None:
                raise StopIteration

        result = descent.minimize(
            fun,
            values,
            jac=True,
            step=line_search.BarzilaiBorwein(),
            bounds=Bounds(low, high),
            tol=0.0,
            maxiter=limits.max_iter,
            max_time=limits.remaining(),
            callback=callback,
        )
        self._x[self._where] = result.x
        self.value = float(result.fun)
        return reason if reason is not None else (result.status, result.message)
