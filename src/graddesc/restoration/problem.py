"""What is to be restored: the planes of an image, what may change of them, their units and range, and a start."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.isa import kernels

_pyramid = kernels("pyramid")

# Float images whose greatest absolute value lies outside are scaled by a power of two: their squares might overflow.
_SAFE = 1e-6, 1e6

Levels: TypeAlias = list[tuple[NDArray[Any], NDArray[np.uint8]]]
"""An image and its unknown pixels on ever coarser grids."""

ROWS_AT_ONCE = 64  # of which NumPy's temporary arrays are made


def as_planes(image: NDArray[Any], channel_axis: int | None) -> NDArray[Any]:
    """Return a view of shape (channels, rows, cols)."""
    return image[np.newaxis] if channel_axis is None else np.moveaxis(image, channel_axis, 0)


@dataclass
class Problem:
    """A restoration to be made: x, of shape (channels, rows, cols), in the units in which its loss is descended.

    Attributes
    ----------
    x : ndarray of float32 or float64, shape (channels, rows, cols)
        The image; its free pixels hold anything until a start is written to them.
    free : ndarray of uint8, shape (channels or 1, rows, cols)
        1 where a pixel is corrupt.
    units : Units
        Those of x.
    start : str or ndarray of shape (channels, rows, cols)
        The name of a fill, or values in the units of the image.
    threads : int
        How many threads may work on it.
    """

    x: NDArray[Any]
    free: NDArray[np.uint8]
    units: Units
    start: str | NDArray[Any]
    threads: int

    @classmethod
    def of(
        cls, planes: NDArray[Any], free: NDArray[np.uint8], units: Units, start: str | NDArray[Any], threads: int
    ) -> Problem:
        """Convert an image."""
        x = np.empty(planes.shape, units.dtype)
        units.to_run(planes, x)
        return cls(x, free, units, start, threads)

    @property
    def corrupt(self) -> int:
        """The number of values that are corrupt."""
        return int(np.count_nonzero(self.free)) * (len(self.x) // len(self.free))

    @property
    def begins_with_pyramid(self) -> bool:
        """Whether the start is the default one."""
        return isinstance(self.start, str) and self.start == "pyramid"

    def fill(self) -> None:
        """Write the start to the free pixels."""
        for channel, x in enumerate(self.x):
            free = self.mask(channel)
            if isinstance(self.start, str):
                fill = {"pyramid": _fill_pyramid, "nearest": _fill_nearest}[self.start]
                fill(x, free, self.threads)
            else:
                begin = np.empty_like(x)
                self.units.to_run(self.start[channel], begin)
                np.copyto(x, begin, where=free.view(bool))
            np.clip(x, *self.units.bounds(), out=x, where=free.view(bool))

    def mask(self, channel: int) -> NDArray[np.uint8]:
        """The corrupt pixels of a channel, as uint8."""
        mask: NDArray[np.uint8] = self.free[channel if len(self.free) > 1 else 0]
        return mask

    def alike(self, x: NDArray[Any], free: NDArray[np.uint8]) -> Problem:
        """A problem in the same units and range, of another image and mask, with the default start."""
        return Problem(x, free, self.units, "pyramid", self.threads)

    def assembled(self, planes: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """Clamped planes at the free pixels, and x at the others."""
        return np.stack(
            [
                np.where(self.mask(c), np.clip(plane, *self.units.bounds()), x[c]).astype(x.dtype, copy=False)
                for c, plane in enumerate(planes)
            ]
        )


class Units:
    """Between the units of the image and those in which its loss is descended.

    Integers are divided by the greatest value of their dtype. Floats are taken as they are unless their squares might
    overflow or vanish (and a loss of the caller's always sees them so). With `contrasts`, for losses whose parameters
    are contrasts, floats that do not lie in [0, 1] are shifted and scaled so that the known ones do, unless the range
    of these is beyond their dtype's.
    """

    def __init__(
        self,
        integer: bool,
        contrasts: bool,
        dtype: np.dtype[Any],
        offset: float,
        factor: float,
        low: float,
        high: float,
        given: bool,
    ) -> None:
        self.integer, self.contrasts, self.dtype, self.offset, self.factor = integer, contrasts, dtype, offset, factor
        self.low, self.high, self.given = low, high, given

    @classmethod
    def of(
        cls,
        planes: NDArray[Any],
        free: NDArray[np.uint8],
        bounds: tuple[float, float] | None,
        *,
        as_is: bool,
        contrasts: bool,
    ) -> Units:
        """Measure the known pixels."""
        integer = planes.dtype.kind == "u"
        dtype: np.dtype[Any] = np.dtype(np.float64 if as_is or planes.dtype.type is np.float64 else np.float32)
        least: float
        greatest: float
        factor: float
        offset = 0.0
        if integer:
            least, greatest = 0, int(np.iinfo(planes.dtype).max)
            factor = greatest
        else:
            values = planes[np.broadcast_to(free, planes.shape) == 0]
            least, greatest = float(values.min()), float(values.max())
            if not (math.isfinite(least) and math.isfinite(greatest)):
                _refuse_nonfinite(planes, free)
            top = max(abs(least), abs(greatest))
            half = greatest / 2 - least / 2
            if contrasts and not 0 <= least <= greatest <= 1 and 0 < half <= np.finfo(dtype).max / 2:
                offset, factor = least, 2 * half
            else:
                safe = as_is or top == 0 or _SAFE[0] <= top <= _SAFE[1]
                factor = 1.0 if safe else 2.0 ** (math.frexp(top)[1] - 1)
        low, high = _check_bounds(bounds, integer, least, greatest)
        with np.errstate(over="ignore"):  # a bound beyond the dtype's range is none
            low, high = float(dtype.type(low)), float(dtype.type(high))
        return cls(integer, contrasts, dtype, offset, factor, low, high, bounds is not None)

    @property
    def loss_unit(self) -> float:
        """The image's loss, or step, for one of the run's: 1 for integers, which are thought of as scaled to [0, 1]."""
        return 1 if self.integer or self.contrasts else self.factor

    def to_run(self, values: NDArray[Any], out: NDArray[Any]) -> None:
        """Write values, in units of the image, to out in those of the run."""
        with np.errstate(all="ignore"):  # a corrupt value may be anything
            if self.offset:
                values = np.subtract(values, self.offset, dtype=np.float64)
            np.divide(values, self.factor, out=out, dtype=self.dtype, casting="unsafe")

    def bounds(self) -> tuple[float, float]:
        """The bounds in units of the run."""
        with np.errstate(over="ignore"):  # a bound beyond the dtype's range is none
            low, high = (self.dtype.type((bound - self.offset) / self.factor) for bound in (self.low, self.high))
        return float(low), float(high)

    def to_image(self, x: NDArray[Any]) -> NDArray[Any]:
        """A copy of x, in units of the run, in those of the image and inside the bounds; still a float array."""
        with np.errstate(all="ignore"):  # what overflows is clipped, or told by status 3
            x = x * self.dtype.type(self.factor)
            x += self.dtype.type(self.offset)
        if self.integer:
            np.rint(x, out=x)
            return np.clip(x, math.ceil(self.low), math.floor(self.high), out=x)
        return np.clip(x, self.low, self.high, out=x)


def _refuse_nonfinite(planes: NDArray[Any], free: NDArray[np.uint8]) -> NoReturn:
    bad = ~np.isfinite(planes) & (free == 0)
    channel, row, col = (int(i) for i in np.argwhere(bad)[0])
    where = f"row {row}, column {col}" + (f", channel {channel}" if len(planes) > 1 else "")
    raise ValueError(
        f"image must be finite where it is known, got {planes[channel, row, col]} at {where}"
        f" ({np.count_nonzero(bad)} in all)"
    )


def _check_bounds(bounds: Any, integer: bool, least: float, greatest: float) -> tuple[float, float]:
    """The bounds in units of the image; least and greatest are the dtype's, or the known pixels' for floats."""
    if bounds is None:
        return (0.0, 1.0) if not integer and least >= 0 and greatest <= 1 else (least, greatest)
    pair = tuple(bounds) if np.iterable(bounds) else ()
    if len(pair) != 2 or not all(isinstance(bound, numbers.Real) for bound in pair):
        raise TypeError(f"bounds must be a pair of numbers, got {bounds!r}")
    low, high = map(float, pair)
    if not (low <= high and low < math.inf and high > -math.inf):
        raise ValueError(f"bounds must be a pair (low, high) with low <= high, got {bounds!r}")
    if integer and not (low >= least and high <= greatest):
        raise ValueError(f"bounds must lie in the range of the image's dtype, {least} to {greatest}, got {bounds!r}")
    if integer and math.ceil(low) > math.floor(high):
        raise ValueError(f"bounds must have an integer between them for an integer image, got {bounds!r}")
    return low, high


# ---- starts ----


def pull(x: NDArray[Any], free: NDArray[np.uint8], threads: int, least: int = 0) -> Levels:
    """The image and its unknown pixels on ever coarser grids, at least so many, until nothing is unknown."""
    levels = [(x, free)]
    unknown = int(np.count_nonzero(free))
    while unknown or len(levels) <= least:
        fine, fine_free = levels[-1]
        shape = tuple((side + 1) // 2 for side in fine.shape)
        coarse, coarse_free = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
        unknown = _pyramid.pull(fine, fine_free, threads, coarse, coarse_free)
        levels.append((coarse, coarse_free))
    return levels


def push(levels: Levels, threads: int) -> None:
    """Interpolate what is unknown on each of the levels from the next coarser one, coarsest first."""
    for (fine, fine_free), (coarse, _) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        _pyramid.push(coarse, fine_free, threads, fine)


def _fill_pyramid(x: NDArray[Any], free: NDArray[np.uint8], threads: int) -> None:
    """Fill the free pixels of x by pull-push interpolation."""
    push(pull(x, free, threads), threads)


def _fill_nearest(x: NDArray[Any], free: NDArray[np.uint8], threads: int) -> None:
    """Give each free pixel of x the value of the known pixel nearest to it."""
    from scipy.ndimage import distance_transform_edt

    rows, cols = distance_transform_edt(free, return_distances=False, return_indices=True)
    x[...] = x[rows, cols]
