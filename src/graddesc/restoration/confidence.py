"""How far each restored pixel can be trusted, learned from known pixels that are held out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.restoration import methods
from graddesc.restoration.noise import Noise
from graddesc.restoration.problem import Problem, bands, fill_pyramid, fill_pyramid_volume
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
_LEAST_SHARE = 0.05  # of the mean square, which more than noise may be at the start
_OUTLYING = 3.0  # times `huber`, from which on a pixel is an outlier
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
        The expected squared error v over the variance s of the known pixels; 0 where a pixel is exact. Channels that
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

    Where known pixels are noisy, those that are held out differ from what is restored by v and by the variance n of
    their noise. What their neighbours tell of a noisy pixel, by v at its distance to the nearest other known one, and
    what is seen of it are independent: its expected square is 1 / (1 / v + 1 / n). Of outliers, which the image is
    farther from than three times as far as `huber` says, nothing is learned.
    """
    rng = np.random.default_rng(_SEED)

    def solve(x: NDArray[Any], missing: NDArray[np.uint8], sigma: NDArray[Any] | None) -> NDArray[Any]:
        if sigma is None:
            return methods.solve(loss, problem.alike(x, missing[np.newaxis]), step, limits)
        assert problem.noise is not None
        noise = Noise(np.where(missing, np.inf, sigma)[np.newaxis].astype(sigma.dtype), problem.noise.huber)
        free = (noise.sigma > 0).view(np.uint8)
        return methods.solve(loss, problem.alike(x, free, noise), step, limits)

    ignored = problem.ignored
    seen = x if problem.noise is None else problem.converted()
    if ignored is not None:
        for plane in x:
            # The contrast is looked at beside them.
            if problem.spacing:
                fill_pyramid_volume(plane, ignored.view(np.uint8), problem.spacing, problem.threads)
            else:
                fill_pyramid(plane, ignored.view(np.uint8), problem.threads)
    masks = len(problem.free)
    parts = [np.s_[:]] if masks == 1 else [np.s_[c : c + 1] for c in range(masks)]
    noises = (
        [None] * masks
        if problem.noise is None
        else [_SharedNoise(plane, problem.noise.huber) for plane in problem.noise.sigma]
    )
    shares = np.empty(problem.free.shape, np.float32)
    runs = [
        _estimate_shares(x[part], seen[part], missing, ignored, problem.spacing, noise, rng, out)
        for part, missing, noise, out in zip(parts, problem.missing, noises, shares, strict=True)
    ]
    variances, asked = [0.0] * masks, {}
    for k, run in enumerate(runs):
        try:
            asked[k] = next(run)
        except StopIteration as end:
            variances[k] = end.value
    others: dict[int, NDArray[Any]] = {}
    if masks > 1 and problem.noise is None and asked:
        # At once: bands tell of each other.
        all_missing = problem.missing.copy()
        for k, fewer in asked.items():
            all_missing[k] = fewer
        other = methods.solve(loss, problem.alike(x, all_missing), step, limits)
        others = {k: other[k : k + 1] for k in asked}
    for k, fewer in asked.items():
        noise = noises[k]
        try:
            runs[k].send(others[k] if others else solve(seen[parts[k]], fewer, None if noise is None else noise.sigma))
        except StopIteration as end:
            variances[k] = end.value
    return shares, variances


@dataclass
class _SharedNoise:
    """The noise of the known pixels of channels that share a mask: standard deviations."""

    sigma: NDArray[Any]
    huber: float

    def squares(self, x: NDArray[Any], seen: NDArray[Any], where: Mask) -> NDArray[np.float64]:
        """The variances of the noise of some pixels, larger where what is seen is far from the image x."""
        sigma = self.sigma[where].astype(np.float64)
        if self.huber == math.inf:
            return sigma**2
        return np.maximum(sigma**2, sigma / self.huber * _distances(x, seen, where))

    def outliers(self, x: NDArray[Any], seen: NDArray[Any], where: Mask) -> NDArray[np.bool_]:
        """Which of some pixels nothing is to be learned from."""
        if self.huber == math.inf:
            return np.zeros(np.count_nonzero(where), bool)
        return _distances(x, seen, where) > _OUTLYING * self.huber * self.sigma[where]


def _distances(x: NDArray[Any], seen: NDArray[Any], where: Mask) -> NDArray[np.float64]:
    """The root mean square difference of some pixels of two images over the channels."""
    squares = [(first[where].astype(np.float64) - second[where]) ** 2 for first, second in zip(x, seen, strict=True)]
    distances: NDArray[np.float64] = np.sqrt(np.mean(squares, axis=0))
    return distances


def _estimate_shares(
    x: NDArray[Any],
    seen: NDArray[Any],
    missing: NDArray[np.uint8],
    ignored: Mask | None,
    spacing: Spacing,
    noise: _SharedNoise | None,
    rng: np.random.Generator,
    out: NDArray[np.float32],
) -> Generator[NDArray[np.uint8], NDArray[Any], float]:
    """Write what is expected of channels that share a mask to out; return the variance of their known pixels.

    x is restored from `seen`; the two differ where known pixels are noisy. Yields a mask of more missing pixels, and is
    to be sent what is restored of the others.
    """

    def is_known(missing: NDArray[np.uint8]) -> Mask:
        known: Mask = missing == 0
        if ignored is not None:
            known &= ~ignored
        return known

    known = is_known(missing)
    noisy = np.zeros_like(known) if noise is None else known & (noise.sigma > 0)
    variance = float(np.mean([plane[known].var(dtype=np.float64) for plane in seen]))
    if variance == 0 and noise is not None and noisy.any():
        variance = float(np.mean(noise.sigma[noisy].astype(np.float64) ** 2))
    if not (missing.any() or noisy.any()) or variance == 0:
        out.fill(0)
        return variance
    unknown = missing.view(bool) | noisy
    count = np.count_nonzero(known)
    if count < _LEAST:
        np.multiply(_distance(known, spacing, noisy), unknown, out=out)
        if count == 1:
            out[noisy] = np.inf  # there is no other that could tell of it
    else:
        held = _held_out(known, rng, spacing)
        del known  # while the memory is short
        fewer = missing | held
        other = yield fewer
        squares = np.zeros(np.count_nonzero(held))
        for restored, plane in zip(other, seen, strict=True):
            squares += (restored[held].astype(np.float64) - plane[held]) ** 2
        squares /= len(x) * variance
        features = np.concatenate(list(_Features(other, is_known(fewer), variance, spacing).by_bands(held)), axis=1)
        noises = np.zeros(len(squares))
        if noise is not None:
            sound = ~noise.outliers(x, seen, held)
            noises = noise.sigma[held].astype(np.float64) ** 2 / variance
            if sound.any():
                features, squares, noises = features[:, sound], squares[sound], noises[sound]
        fitted = _fit(features, squares, noises)
        del other, fewer, held, squares, noises
        known = is_known(missing)
        out.fill(0)  # not before: memory that nothing was written to is not there yet
        features_of_unknown = _Features(x, known, variance, spacing, noisy).by_bands(unknown)
        for some, features in zip(bands(known.shape), features_of_unknown, strict=True):
            out[some][unknown[some]] = fitted(features)
    if noise is not None:
        told, itself = out[noisy].astype(np.float64), noise.squares(x, seen, noisy) / variance
        with np.errstate(divide="ignore"):
            out[noisy] = 1 / (1 / told + 1 / itself)
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


def _nearest(known: Mask, spacing: Spacing = (), noisy: Mask | None = None) -> NDArray[np.int32]:
    """The place of the known pixel that is nearest to each, of noisy ones another than themselves, along each axis."""
    from scipy.ndimage import distance_transform_edt

    places: NDArray[np.int32] = distance_transform_edt(
        ~known, sampling=spacing or None, return_distances=False, return_indices=True
    )
    if noisy is not None and np.count_nonzero(known) > 1:
        _look_beside(places, known, spacing, noisy)
    return places


def _look_beside(places: NDArray[np.int32], known: Mask, spacing: Spacing, noisy: Mask) -> None:
    """Write the place of the nearest other known pixel to those of noisy ones."""
    from scipy.spatial import KDTree

    lone = noisy.copy()
    # Most have a neighbour along an axis of which there is no nearer one: these need no tree.
    for axis in np.flatnonzero(np.array(spacing or (1.0,) * known.ndim) == min(spacing, default=1.0)):
        for step in (1, -1):
            here, there = ([slice(None)] * known.ndim for _ in range(2))
            here[axis], there[axis] = (slice(None, -1), slice(1, None))[::step]
            beside = lone[tuple(here)] & known[tuple(there)]
            places[axis][tuple(here)][beside] += step
            lone[tuple(here)][beside] = False
    if lone.any():
        units = np.array(spacing or 1.0)
        points = np.argwhere(known)
        tree = KDTree(points * units, balanced_tree=False, compact_nodes=False)
        found = np.asarray(tree.query(np.argwhere(lone) * units, 2)[1])[:, 1]
        places[:, lone] = points[found].T


def _length(differences: Iterable[NDArray[Any]], spacing: Spacing) -> NDArray[np.float64]:
    """The lengths of vectors whose components are told in pixels."""
    if spacing:
        differences = (h * along for h, along in zip(spacing, differences, strict=True))
    return functools.reduce(np.hypot, differences)


def _distance(known: Mask, spacing: Spacing = (), noisy: Mask | None = None) -> NDArray[np.float32]:
    """The distance of each pixel to the nearest known one, of noisy ones to the nearest other."""
    nearest, distance = _nearest(known, spacing, noisy), np.empty(known.shape, np.float32)
    for some in bands(known.shape):
        own = np.ogrid[some, *(slice(side) for side in known.shape[1:])]
        distance[some] = _length((there[some] - here for there, here in zip(nearest, own, strict=True)), spacing)
    return distance


class _Features:
    """What the error of a pixel is told by: 1, and the logarithms of its distance and of two contrasts.

    These are the contrasts at the nearest known pixel: the middle of a hole is smooth because nothing is known there.
    """

    def __init__(
        self, x: NDArray[Any], known: Mask, variance: float, spacing: Spacing = (), noisy: Mask | None = None
    ) -> None:
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
        self._nearest, self._spacing = _nearest(known, spacing, noisy), spacing

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


def _fit(
    features: NDArray[Any], squares: NDArray[np.float64], noises: NDArray[np.float64]
) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """Return the expected square, less that of noise, as a function of features, the likeliest for normal errors.

    Its logarithm is linear in the features, so that without noise the likelihood has one maximum, which a few steps of
    Newton's find.
    """
    means = features.mean(axis=1, keepdims=True, dtype=np.float64)
    means[0] = 0
    centred = features - means
    squares = np.maximum(squares, _LEAST_SQUARE)
    ridge = _RIDGE * np.diag(np.append(0.0, np.ones(len(features) - 1)))

    def logarithms(theta: NDArray[np.float64], centred: NDArray[np.float64]) -> NDArray[np.float64]:
        clipped: NDArray[np.float64] = np.clip(theta @ centred, -_MOST_LOGARITHM, _MOST_LOGARITHM)
        return clipped

    def evaluate(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        expected = logarithms(theta, centred)
        shares = 1 / (1 + noises * np.exp(-expected))  # of what is expected beside the noise in all that is expected
        ratios = squares * np.exp(-expected) * shares
        return float(np.mean(expected - np.log(shares) + ratios) + theta @ ridge @ theta), ratios, shares

    theta = np.zeros(len(features))
    mean = squares.mean()
    theta[0] = np.log(max(mean - noises.mean(), _LEAST_SHARE * mean))
    value, ratios, shares = evaluate(theta)
    for _ in range(_NEWTON_STEPS):
        gradient = centred @ ((1 - ratios) * shares) / len(squares) + 2 * ridge @ theta
        hessian = (centred * (ratios * shares**2)) @ centred.T / len(squares) + 2 * ridge  # about, where noise is
        direction = -np.linalg.solve(hessian, gradient)
        slope = float(gradient @ direction)
        if slope > -_DECREASE:
            break
        for size in 0.5 ** np.arange(_HALVINGS):
            trial = theta + size * direction
            new, new_ratios, new_shares = evaluate(trial)
            if new <= value + 1e-4 * size * slope:
                break
        else:
            break  # rounding hides what is left
        theta, value, ratios, shares = trial, new, new_ratios, new_shares
    return lambda features: np.exp(logarithms(theta, features - means))
