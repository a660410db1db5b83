"""How far each restored pixel can be trusted, learned from known pixels that are held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.restoration import methods
from graddesc.restoration.problem import Problem
from graddesc.restoration.solver import Limits, Schedule

__all__ = ["estimate"]

Mask: TypeAlias = NDArray[np.bool_]

_SEED = 0x5EED  # of the held-out pixels
_HELD_OUT = 0.2  # of the known pixels, one by one, and of the image's area in discs where there are
_LARGE = 8.0  # holes with pixels further than this from the nearest known one
_LEAST = 100  # known pixels: with fewer there is nothing to learn from
_SPREADS = 1.5, 6.0  # in pixels, over which the contrast is looked at
_RIDGE = 0.05  # of the mean log-likelihood: keeps what is told of distances from being carried too far


def estimate(
    loss: Any, problem: Problem, x: NDArray[Any], limits: Limits, step: Schedule | None = None
) -> tuple[NDArray[np.float64], list[float]]:
    """Estimate the expected squared error of each value of a restored image.

    Parameters
    ----------
    loss : loss of `graddesc.losses`
        What restored it.
    problem : Problem
        What was restored: its masks, units and threads.
    x : ndarray, shape (channels, rows, cols), float
        The restored image, in units of the problem.
    limits : Limits
        Those of the restorations without held-out pixels.
    step : callable ``k -> float``, optional
        The schedule, if one restored it.

    Returns
    -------
    expected : ndarray of float64, shape (channels or 1, rows, cols)
        The expected squared error v, in squared units of the problem; 0 where a pixel is known. Channels that share a
        mask share it.
    variances : list of float
        The variance s of the known pixels, for each of the planes of `expected`.

    Notes
    -----
    A fifth of the known pixels is held out and restored from the others; where there are large holes also those in
    discs of their size, because what lone pixels tell does not reach that far. The logarithm of v is taken as linear in
    those of the distance to the nearest known pixel and of the squared gradient of the image around it, narrowly and
    widely, and fitted by maximum likelihood: the errors are taken as normal with variance v. With fewer than 100 known
    pixels v is s times the distance, in pixels.
    """
    rng = np.random.default_rng(_SEED)

    def solve(x: NDArray[Any], free: Mask) -> NDArray[Any]:
        held_out = problem.alike(x.copy(), np.ascontiguousarray(free, np.uint8)[np.newaxis])
        return methods.solve(loss, held_out, step, limits)

    together = len(problem.free) == 1
    parts = [x] if together else [x[c : c + 1] for c in range(len(x))]
    planes = [_expected(part, free, solve, rng) for part, free in zip(parts, problem.free, strict=True)]
    return np.stack([expected for expected, _ in planes]), [variance for _, variance in planes]


def _expected(
    x: NDArray[Any],
    free: NDArray[np.uint8],
    solve: Callable[[NDArray[Any], Mask], NDArray[Any]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float]:
    """The expected squared errors of channels that share a mask, and the variance of their known pixels."""
    known = free == 0
    expected = np.zeros(free.shape)
    variance = float(np.mean([plane[known].var(dtype=np.float64) for plane in x]))
    if known.all() or variance == 0:
        return expected, variance
    places = np.flatnonzero(known)
    if len(places) < _LEAST:
        expected[~known] = (variance * _distance(known))[~known]
    else:
        held = _held_out(known, rng)
        rest = known & ~held
        other = solve(x, ~rest)
        squares: NDArray[np.float64] = np.mean((other - x) ** 2, axis=0, dtype=np.float64)
        shares = squares[held] / variance
        fitted = _fit(_features(other, rest, variance)[:, held], shares)
        expected[~known] = variance * fitted(_features(x, known, variance)[:, ~known])
    return expected, variance


def _held_out(known: Mask, rng: np.random.Generator) -> Mask:
    places = np.flatnonzero(known)
    held = np.zeros_like(known)
    held.flat[rng.permutation(places)[: round(_HELD_OUT * len(places))]] = True
    radius = min(_distance(known).max(), min(known.shape) / 4)
    if radius > _LARGE:
        centres = np.zeros_like(known)
        centres.flat[rng.choice(places, max(round(_HELD_OUT * known.size / (np.pi * radius**2)), 1))] = True
        held |= known & (_distance(centres) < radius)
    return held


def _distance(known: Mask) -> NDArray[np.float64]:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~known)


def _features(x: NDArray[Any], known: Mask, variance: float) -> NDArray[np.float64]:
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    square = np.zeros(x.shape[1:])
    for axis in (1, 2):
        if x.shape[axis] > 1:
            square += np.mean(np.gradient(x, axis=axis) ** 2, axis=0)
    # The contrast at the nearest known pixel: the middle of a hole is smooth because nothing is known there.
    distance, nearest = distance_transform_edt(~known, return_indices=True)
    blurred = (gaussian_filter(square / variance, spread)[tuple(nearest)] for spread in _SPREADS)
    contrasts = (np.log(np.maximum(plane, 0) + 1e-6) for plane in blurred)
    return np.stack([np.ones(known.shape), np.log(np.maximum(distance, 0.5)), *contrasts])


def _fit(
    features: NDArray[np.float64], squares: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the expected square as a function of features, the likeliest for normal errors."""
    from graddesc.descent import minimize
    from graddesc.directions import LBFGS
    from graddesc.line_search import StrongWolfe

    means = features.mean(axis=1, keepdims=True)
    means[0] = 0
    centred = features - means

    def fun(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logarithms = np.clip(theta @ centred, -40, 40)
        ratios = squares * np.exp(-logarithms)
        value = np.mean(logarithms + ratios) + _RIDGE * theta[1:] @ theta[1:]
        gradient = centred @ (1 - ratios) / len(squares) + 2 * _RIDGE * np.append(0, theta[1:])
        return value, gradient

    start = np.zeros(len(features))
    start[0] = np.log(squares.mean() + 1e-12)
    theta = minimize(fun, start, jac=True, direction=LBFGS(), step=StrongWolfe(), maxiter=200).x
    return lambda features: np.exp(np.clip(theta @ (features - means), -40, 40))
