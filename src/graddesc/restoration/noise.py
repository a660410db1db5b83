"""What the caller knows of the noise of what is known: what `noise` and `huber` may be, and what they mean."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import is_masked_array, require

_WANTED = "noise must be a number, or an array of numbers, that are not negative"
_HUBER_WANTED = "huber must be True, False or a positive number"
_HUBER = 2.0  # standard deviations, where huber is True
# Standard deviations in units of the run beyond which they make no difference.
_LEAST, _MOST = 1e-12, 1e12
# What is exact counts beside noisy pixels as if its deviation were a thousandth of the unit.
_EXACT = 1e-3


@dataclass
class Noise:
    """The noise of the known pixels, in units of the run.

    Attributes
    ----------
    sigma : ndarray of float, shape (channels or 1, rows, cols)
        Its standard deviation: 0 where a pixel is exact, infinite where it is missing.
    huber : float
        The number of standard deviations beyond which a pixel's distance counts less; infinite where none does.
    """

    sigma: NDArray[Any]
    huber: float

    @property
    def missing(self) -> NDArray[np.uint8]:
        """1 where nothing is known, of the shape of sigma."""
        missing: NDArray[np.uint8] = np.isinf(self.sigma).view(np.uint8)
        return missing

    def precision(self) -> NDArray[Any]:
        """One over the variance, 0 where a pixel is missing."""
        sigma = np.where(self.sigma == 0, self.sigma.dtype.type(_EXACT), self.sigma)
        np.multiply(sigma, sigma, out=sigma)
        return np.reciprocal(sigma, out=sigma)


def as_deviations(noise: Any, shape: tuple[int, ...], channel_axis: int | None) -> NDArray[np.float64] | None:
    """Return standard deviations in units of the image, shape (channels or 1, rows, cols), or (1, 1, 1) for a number.

    The number 0 is None. shape is the image's.
    """
    if type(noise) is float and noise == 0:
        return None
    if is_masked_array(noise) and np.ma.is_masked(noise):
        raise TypeError(f"{_WANTED}, got an array of which some are masked")
    try:
        given = np.asarray(noise)
    except ValueError:  # rows that differ in length
        raise TypeError(f"{_WANTED}, got {noise!r}") from None
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{_WANTED}, got {noise!r}" if given.ndim == 0 else f"{_WANTED}, got an array of {given.dtype}")
    deviations = given.astype(np.float64)
    wrong = ~(deviations >= 0)
    if wrong.any():
        raise ValueError(f"{_WANTED}, got {deviations[wrong][0]}")
    plane = shape if channel_axis is None else shape[:channel_axis] + shape[channel_axis + 1 :]
    if deviations.ndim == 0:
        if math.isinf(deviations):
            raise ValueError(f"{_WANTED}, and finite where it is one number, got {noise!r}")
        return deviations.reshape(1, 1, 1) if deviations > 0 else None
    if deviations.shape == (*plane, 1) and deviations.shape != shape:
        deviations = deviations[..., 0]
    deviations = np.ascontiguousarray(deviations)  # as the masks are that are made of them
    if deviations.shape == plane:
        return deviations[np.newaxis]
    if deviations.shape != shape or channel_axis is None:
        wanted = f"{plane}" if channel_axis is None else f"{plane} or {shape}"
        raise ValueError(f"noise must be a number or have shape {wanted}, got shape {given.shape}")
    planes = np.ascontiguousarray(np.moveaxis(deviations, channel_axis, 0))
    return planes[:1] if (planes == planes[0]).all() else planes


def as_huber(huber: Any) -> float:
    """Return the number of standard deviations beyond which a distance counts less; infinite for False."""
    if isinstance(huber, bool | np.bool_):
        return _HUBER if huber else math.inf
    if not isinstance(huber, numbers.Real):
        raise TypeError(f"{_HUBER_WANTED}, got {huber!r}")
    return require("huber", huber, "True, False or a positive number", lambda v: v > 0)


def typical(deviations: NDArray[Any]) -> float:
    """The root mean square of those that are finite; 0 where none is."""
    finite = deviations[np.isfinite(deviations)]
    most = float(finite.max(initial=0.0))
    return most * math.sqrt(float(np.mean((finite / most) ** 2))) if most > 0 else 0.0


def with_infinite(
    free: NDArray[np.uint8], deviations: NDArray[np.float64], ignored: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """The corrupt pixels, of which those are whose deviation is infinite; free itself if these add none."""
    infinite = np.isinf(deviations)
    if ignored is not None:
        infinite = infinite & ~ignored
    if not infinite.any() or not (infinite & ~free.view(bool)).any():
        return free
    return free | infinite.view(np.uint8)


def of_run(
    deviations: NDArray[np.float64], missing: NDArray[np.uint8], unit: float, dtype: np.dtype[Any], huber: float
) -> Noise:
    """The noise of a problem, of deviations in units of the image."""
    with np.errstate(over="ignore"):  # as if infinite
        sigma = np.clip(deviations / unit, _LEAST, _MOST).astype(dtype)
    sigma[deviations == 0] = 0
    return Noise(np.where(missing.view(bool), dtype.type(np.inf), sigma), huber)
