"""How far each restored pixel can be trusted, learned from known pixels that are held out."""

import numpy as np

__all__ = ["estimate"]

_HELD_OUT = 0.2  # of the known pixels, one by one, and of the image's area in discs where there are
_LARGE = 8.0  # holes with pixels further than this from the nearest known one
_LEAST = 100  # known pixels: with fewer there is nothing to learn from
_SPREADS = 1.5, 6.0  # in pixels, over which the contrast is looked at
_RIDGE = 0.05  # of the mean log-likelihood: keeps what is told of distances from being carried too far


def estimate(x, free, solve, rng):
    """Estimate the confidence of each pixel of a restored image.

    Parameters
    ----------
    x : ndarray, shape (channels, rows, cols), float
        The restored image.
    free : ndarray of uint8, shape (rows, cols)
        1 where a pixel was restored, 0 where it was known.
    solve : callable
        ``solve(free)`` restores x where another mask tells, and returns a new array.
    rng : numpy.random.Generator
        What chooses the held-out pixels.

    Returns
    -------
    ndarray of float32, shape (rows, cols)
        ``s / (s + v)``, where s is the variance of the known pixels and v the expected squared error: 1 where a pixel
        is known, 1/2 where it is no better than the mean of the known ones.

    Notes
    -----
    A fifth of the known pixels is held out and restored from the others; where there are large holes also those in
    discs of their size, because what lone pixels tell does not reach that far. The logarithm of v is taken as linear in
    those of the distance to the nearest known pixel and of the squared gradient of the image around it, narrowly and
    widely, and fitted by maximum likelihood: the errors are taken as normal with variance v. With fewer than 100 known
    pixels v is s times the distance, in pixels.
    """
    known = free == 0
    result = np.ones(free.shape, np.float32)
    variance = float(np.mean([plane[known].var(dtype=np.float64) for plane in x]))
    if known.all() or variance == 0:
        return result
    places = np.flatnonzero(known)
    if len(places) < _LEAST:
        expected = variance * _distance(known)
    else:
        held = _held_out(known, rng)
        rest = known & ~held
        other = solve((~rest).astype(np.uint8))
        squares = np.mean((other - x) ** 2, axis=0, dtype=np.float64)[held] / variance
        expected = variance * _fit(_features(other, rest, variance)[:, held], squares)(_features(x, known, variance))
    result[~known] = (variance / (variance + expected))[~known]
    return result


def _held_out(known, rng):
    places = np.flatnonzero(known)
    held = np.zeros_like(known)
    held.flat[rng.permutation(places)[: round(_HELD_OUT * len(places))]] = True
    radius = min(_distance(known).max(), min(known.shape) / 4)
    if radius > _LARGE:
        centres = np.zeros_like(known)
        centres.flat[rng.choice(places, max(round(_HELD_OUT * known.size / (np.pi * radius**2)), 1))] = True
        held |= known & (_distance(centres) < radius)
    return held


def _distance(known):
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~known)


def _features(x, known, variance):
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


def _fit(features, squares):
    """Return the expected square as a function of features, the likeliest for normal errors."""
    from graddesc.descent import minimize
    from graddesc.directions import LBFGS
    from graddesc.line_search import StrongWolfe

    means = features.mean(axis=1, keepdims=True)
    means[0] = 0
    centred = features - means

    def fun(theta):
        logarithms = np.clip(theta @ centred, -40, 40)
        ratios = squares * np.exp(-logarithms)
        value = np.mean(logarithms + ratios) + _RIDGE * theta[1:] @ theta[1:]
        gradient = centred @ (1 - ratios) / len(squares) + 2 * _RIDGE * np.append(0, theta[1:])
        return value, gradient

    start = np.zeros(len(features))
    start[0] = np.log(squares.mean() + 1e-12)
    theta = minimize(fun, start, jac=True, direction=LBFGS(), step=StrongWolfe(), maxiter=200).x
    return lambda features: np.exp(np.clip(np.tensordot(theta, features - means[:, :, np.newaxis], 1), -40, 40))
