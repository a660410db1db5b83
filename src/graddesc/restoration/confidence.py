"""How far each restored pixel can be trusted, learned from known pixels that are held out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.restoration import methods
from graddesc.restoration.problem import Problem, bands, fill_pyramid
from graddesc.restoration.solver import Limits, Schedule

__all__ = ["estimate"]

Mask: TypeAlias = NDArray[np.bool_]
Spacing: TypeAlias = tuple[float, ...]  # as of a Problem

_SEED = 0x5EED  # of the held-out pixels
_HELD_OUT = 0.2  # of the known pixels, one by one, and of the image's area in discs where there are
_LARGE = 8.0  # holes with pixels further than this from the nearest known one
_LEAST = 100  # known pixels: with fewer there is nothing to learn from
_SPREADS = 1.5, 6.0  # in pixels, over which the contrast is looked at
_RIDGE = 0.05  # of the mean log-likelihood: keeps what is told of distances from being carried too far
_MOST_LOGARITHM = 40.0  # of an expected square, by its amount
_LEAST_SQUARE = 1e-12  # beside the variance: errors of 0 would be infinitely likely
_NEWTON_STEPS, _HALVINGS = 50, 30  # at most; five to eight steps, mostly without halving, are the rule
_DECREASE = 1e-12  # of the mean log-likelihood, which a further step must promise


def estimate(
    loss: Any, problem: Problem, x: NDArray[Any], limits: Limits, step: Schedule | None = None
) -> tuple[NDArray[np.float32], list[float]]:
    """Estimate the expected squared error of each value of a restored image.

    Parameters
    ----------
    loss : loss of `graddesc.losses`
        What restored it.
    problem : Problem
        What was restored: its masks, units and threads.
    x : ndarray, shape (channels, rows, cols), of a volume (channels, planes, rows, cols), float
        The restored image, in units of the problem.
    limits : Limits
        Those of the restorations without held-out pixels.
    step : callable ``k -> float``, optional
        The schedule, if one restored it.

    Returns
    -------
    shares : ndarray of float32, the shape of the problem's masks
        The expected squared error v over the variance s of the known pixels; 0 where a pixel is known. Channels that
        share a mask share it.
    variances : list of float
        The variance s, in squared units of the problem, for each of the planes of `shares`.

    Notes
    -----
    A fifth of the known pixels is held out and restored from the others; where there are large holes also those in
    discs of their size, because what lone pixels tell does not reach that far. The logarithm of v is taken as linear in
    those of the distance to the nearest known pixel and of the squared gradient of the image around it, narrowly and
    widely, and fitted by maximum likelihood: the errors are taken as normal with variance v. With fewer than 100 known
    pixels v is s times the distance, in pixels; distances in volumes are in units of the least between neighbours.
    """
    rng = np.random.default_rng(_SEED)

    def solve(x: NDArray[Any], free: NDArray[np.uint8]) -> NDArray[Any]:
        return methods.solve(loss, problem.alike(x, free[np.newaxis]), step, limits)

    ignored = problem.ignored
    if ignored is not None:
        for plane in x:
            fill_pyramid(plane, ignored.view(np.uint8), problem.threads)  # the contrast is looked at beside them
    together = len(problem.free) == 1
    parts = [x] if together else [x[c : c + 1] for c in range(len(x))]
    shares = np.empty(problem.free.shape, np.float32)
    variances = [
        _estimate_shares(part, free, ignored, problem.spacing, solve, rng, out)
        for part, free, out in zip(parts, problem.free, shares, strict=True)
    ]
    return shares, variances


def _estimate_shares(
    x: NDArray[Any],
    free: NDArray[np.uint8],
    ignored: Mask | None,
    spacing: Spacing,
    solve: Callable[[NDArray[Any], NDArray[np.uint8]], NDArray[Any]],
    rng: np.random.Generator,
    out: NDArray[np.float32],
) -> float:
    """Write what is expected of channels that share a mask to out; return the variance of their known pixels."""

    def is_known(free: NDArray[np.uint8]) -> Mask:
        known: Mask = free == 0
        if ignored is not None:
            known &= ~ignored
        return known

    known = is_known(free)
    variance = float(np.mean([plane[known].var(dtype=np.float64) for plane in x]))
    if not free.any() or variance == 0:
        out.fill(0)
        return variance
    if np.count_nonzero(known) < _LEAST:
        np.multiply(_distance(known, spacing), free, out=out)
        return variance
    held = _held_out(known, rng, spacing)
    del known  # while the memory is short
    fewer = free | held
    other = solve(x, fewer)
    squares = np.zeros(np.count_nonzero(held))
    for restored, plane in zip(other, x, strict=True):
        squares += (restored[held].astype(np.float64) - plane[held]) ** 2
    squares /= len(x) * variance
    features_of_held = _Features(other, is_known(fewer), variance, spacing).by_bands(held)
    fitted = _fit(np.concatenate(list(features_of_held), axis=1), squares)
    del other, fewer, held, squares
    known = is_known(free)
    out.fill(0)  # not before: memory that nothing was written to is not there yet
    unknown = free.view(bool)
    features_of_unknown = _Features(x, known, variance, spacing).by_bands(unknown)
    for some, features in zip(bands(known.shape), features_of_unknown, strict=True):
        out[some][unknown[some]] = fitted(features)
    return variance


def _held_out(known: Mask, rng: np.random.Generator, spacing: Spacing = ()) -> Mask:
    places = np.flatnonzero(known)
    held = np.zeros_like(known)
    held.flat[rng.permutation(places)[: round(_HELD_OUT * len(places))]] = True
    spaced = spacing or (1.0,) * known.ndim
    sides = [side * h for side, h in zip(known.shape, spaced, strict=True) if side > 1 or known.ndim == 2]
    radius = min(float(_distance(known, spacing).max()), min(sides, default=0.0) / 4)
    if radius > _LARGE:
        # The pixels in a disc or a ball; a volume of one plane has discs.
        pixels = (np.pi * radius**2 if len(sides) == 2 else 4 / 3 * np.pi * radius**3) / np.prod(spaced)
        centres = np.zeros_like(known)
        centres.flat[rng.choice(places, max(round(_HELD_OUT * known.size / pixels), 1))] = True
        held |= known & (_distance(centres, spacing) < radius)
    return held


def _nearest(known: Mask, spacing: Spacing = ()) -> NDArray[np.int32]:
    """The place of the known pixel that is nearest to each, along each axis."""
    from scipy.ndimage import distance_transform_edt

    places: NDArray[np.int32] = distance_transform_edt(
        ~known, sampling=spacing or None, return_distances=False, return_indices=True
    )
    return places


def _length(differences: Iterable[NDArray[Any]], spacing: Spacing) -> NDArray[np.float64]:
    """The lengths of vectors whose components are told in pixels."""
    if spacing:
        differences = (h * along for h, along in zip(spacing, differences, strict=True))
    return functools.reduce(np.hypot, differences)


def _distance(known: Mask, spacing: Spacing = ()) -> NDArray[np.float32]:
    """The distance of each pixel to the nearest known one."""
    nearest, distance = _nearest(known, spacing), np.empty(known.shape, np.float32)
    for some in bands(known.shape):
        own = np.ogrid[some, *(slice(side) for side in known.shape[1:])]
        distance[some] = _length((there[some] - here for there, here in zip(nearest, own, strict=True)), spacing)
    return distance


class _Features:
    """What the error of a pixel is told by: 1, and the logarithms of its distance and of two contrasts.

    These are the contrasts at the nearest known pixel: the middle of a hole is smooth because nothing is known there.
    """

    def __init__(self, x: NDArray[Any], known: Mask, variance: float, spacing: Spacing = ()) -> None:
        from scipy.ndimage import gaussian_filter

        square = np.zeros(known.shape, np.float32)
        spaced = spacing or (1.0,) * known.ndim
        for some in bands(known.shape):
            above = max(some.start - 1, 0)
            around = x[:, above : some.stop + 1]
            for axis, h in enumerate(spaced, 1):
                if x.shape[axis] > 1:
                    gradients = np.gradient(around, h, axis=axis)[:, some.start - above :][:, : some.stop - some.start]
                    square[some] += np.mean(gradients**2, axis=0) / variance
        self._contrasts = [gaussian_filter(square, [spread / h for h in spaced]) for spread in _SPREADS]
        del square
        self._nearest, self._spacing = _nearest(known, spacing), spacing

    def by_bands(self, wanted: Mask) -> Iterator[NDArray[np.float32]]:
        """The features of the pixels that are wanted, shape (4, pixels), for each band of rows."""
        for some in bands(wanted.shape):
            places = tuple(index[some][wanted[some]] for index in self._nearest)
            own = list(np.nonzero(wanted[some]))
            own[0] = own[0] + some.start
            distance = _length((here - there for here, there in zip(own, places, strict=True)), self._spacing)
            contrasts = (np.log(np.maximum(plane[places], 0) + np.float32(1e-6)) for plane in self._contrasts)
            logarithms = np.log(np.maximum(distance, 0.5)), *contrasts
            yield np.stack([np.ones(len(distance)), *logarithms]).astype(np.float32)


def _fit(features: NDArray[Any], squares: NDArray[np.float64]) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return the expected square as a function of features, the likeliest for normal errors.

    Its logarithm is linear in the features, so that the likelihood has one maximum, which a few steps of Newton's find.
    """
    means = features.mean(axis=1, keepdims=True, dtype=np.float64)
    means[0] = 0
    centred = features - means
    squares = np.maximum(squares, _LEAST_SQUARE)
    ridge = _RIDGE * np.diag(np.append(0.0, np.ones(len(features) - 1)))

    def logarithms(theta: NDArray[np.float64], centred: NDArray[np.float64]) -> NDArray[np.float64]:
        clipped: NDArray[np.float64] = np.clip(theta @ centred, -_MOST_LOGARITHM, _MOST_LOGARITHM)
        return clipped

    def evaluate(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        expected = logarithms(theta, centred)
        ratios = squares * np.exp(-expected)
        return float(np.mean(expected + ratios) + theta @ ridge @ theta), ratios

    theta = np.zeros(len(features))
    theta[0] = np.log(squares.mean())
    value, ratios = evaluate(theta)
    for _ in range(_NEWTON_STEPS):
        gradient = centred @ (1 - ratios) / len(squares) + 2 * ridge @ theta
        hessian = (centred * ratios) @ centred.T / len(squares) + 2 * ridge
        direction = -np.linalg.solve(hessian, gradient)
        slope = float(gradient @ direction)
        if slope > -_DECREASE:
            break
        for size in 0.5 ** np.arange(_HALVINGS):
            trial = theta + size * direction
            new, new_ratios = evaluate(trial)
            if new <= value + 1e-4 * size * slope:
                break
        else:
            break  # rounding hides what is left
        theta, value, ratios = trial, new, new_ratios
    return lambda features: np.exp(logarithms(theta, features - means))
