"""What is to be restored: the planes of an image, what may change of them, their units and range, and a start."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graddesc._kernels import pyramid, regions
from graddesc.losses.grids import coarse_spacing, halved
from graddesc.losses.sweeps import Piece
from graddesc.restoration.noise import Noise, of_run

# Float images whose greatest absolute value lies outside are scaled by a power of two: their squares might overflow.
_SAFE = 1e-6, 1e6

_MOST_START = 1e15  # units: a start further away leaves no digits for the image
ROWS_AT_ONCE = 64  # of which NumPy's temporary arrays are made
_IN_BANDS = 1 << 17  # pixels: what is made of fewer fits into the cache as a whole
_SHORT = 32  # pixels in a row


def as_planes(image: NDArray[Any], channel_axis: int | None) -> NDArray[Any]:
    """Return a view of shape (channels, rows, cols), of a volume (channels, planes, rows, cols)."""
    return image[np.newaxis] if channel_axis is None else np.moveaxis(image, channel_axis, 0)


def is_narrow(rows: int, cols: int) -> bool:
    """Whether rows are so short, and shorter than columns, that kernels had better go along the columns."""
    return cols < min(rows, _SHORT)


def bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis, of a few rows each: what is made of them is small beside the image."""
    rows = max(ROWS_AT_ONCE // math.prod(shape[1:-1]), 1)
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))


@dataclass
class Problem:
    """A restoration to be made.

    Attributes
    ----------
    planes : ndarray, shape (channels, rows, cols), of a volume (channels, planes, rows, cols)
        The image, a view; what its free pixels hold matters only to ``init="image"``.
    free : ndarray of uint8, shape (channels or 1, rows, cols), of a volume (channels or 1, planes, rows, cols)
        1 where a pixel may change: where it is corrupt, or noisy.
    units : Units
        Those in which the loss is descended.
    start : str or ndarray of shape (channels, rows, cols)
        The name of a fill, or values in the units of the image.
    threads : int
        How many threads may work on it.
    ignored : ndarray of bool, shape (rows, cols), or None
        True where a pixel is neither corrupt nor known: nothing is smoothed across it.
    noise : Noise or None
        That of the known pixels, which then change as well; None where they are exact.
    spacing : tuple of float
        Of a volume the distances of neighbours along its axes, the least of them 1; empty for an image.
    each : list of Units, or None
        Those of each channel, where they differ: of bands that have masks of their own.
    groups : list of tuple of int, or None
        Which channels are related, where that is known.
    """

    planes: NDArray[Any]
    free: NDArray[np.uint8]
    units: Units
    start: str | NDArray[Any]
    threads: int
    ignored: NDArray[np.bool_] | None = None
    noise: Noise | None = None
    spacing: tuple[float, ...] = ()
    each: list[Units] | None = None
    groups: list[tuple[int, ...]] | None = None

    def units_of(self, channel: int) -> Units:
        """The units in which a channel is descended."""
        return self.units if self.each is None else self.each[channel]

    def bounds(self) -> tuple[float, float]:
        """The range of all channels in units of the run."""
        lows, highs = zip(*(self.units_of(channel).bounds() for channel in range(len(self.planes))), strict=True)
        return min(lows), max(highs)

    def measure_apart(self) -> None:
        """Give each channel the units that it has by itself, unless all have theirs."""
        if self.each is None:
            self.each = [
                self._measured([channel], self.free[channel : channel + 1]) for channel in range(len(self.free))
            ]

    def _measured(self, channels: Sequence[int], free: NDArray[np.uint8]) -> Units:
        unknown = free if self.ignored is None else free | self.ignored
        return Units.of(some_of(self.planes, channels), unknown, self.units.asked, as_is=False, contrasts=True)

    def part(self, channels: Sequence[int], free: NDArray[np.uint8], together: bool = False) -> Problem:
        """The problem of some channels, whose masks are given again; together they are measured as one image."""
        assert self.each is not None
        if together:
            units = self._measured(channels, free)
            for channel in channels:
                self.each[channel] = units
        each = [self.each[channel] for channel in channels]
        start = self.start if isinstance(self.start, str) else some_of(self.start, channels)
        own = None if len({*map(id, each)}) == 1 else each
        return Problem(some_of(self.planes, channels), free, each[0], start, self.threads, self.ignored, each=own)

    @property
    def missing(self) -> NDArray[np.uint8]:
        """1 where a pixel is corrupt, of the shape of `free`."""
        return self.free if self.noise is None else self.noise.missing

    @property
    def corrupt(self) -> int:
        """The number of values that may change."""
        return int(np.count_nonzero(self.free.view(bool))) * (len(self.planes) // len(self.free))

    @property
    def moves(self) -> bool:
        """Whether any value may change."""
        return bool(self.free.view(bool).any())

    @property
    def begins_with_pyramid(self) -> bool:
        """Whether the start is the default one."""
        return isinstance(self.start, str) and self.start == "pyramid"

    def mask(self, channel: int) -> NDArray[np.uint8]:
        """The pixels of a channel that may change, as uint8."""
        free: NDArray[np.uint8] = self.free[channel if len(self.free) > 1 else 0]
        return free

    def converted(self, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """A copy of the planes in units of the run; free pixels hold anything."""
        x = np.empty(self.planes.shape, self.units.dtype if dtype is None else dtype)
        if self.each is None:
            self.units.to_run(self.planes, x)
        else:
            for units, plane, out in zip(self.each, self.planes, x, strict=True):
                units.to_run(plane, out)
        return x

    def filled(self, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """A copy of the planes in units of the run, the start at the corrupt pixels."""
        x = self.converted(dtype)
        missing = self.missing
        for channel, plane in enumerate(x):
            free = missing[channel if len(missing) > 1 else 0]
            if isinstance(self.start, str):
                unknown = free if self.ignored is None else free | self.ignored
                if self.start == "nearest":
                    _fill_nearest(plane, unknown, self.spacing)
                elif self.spacing:
                    fill_pyramid_volume(plane, unknown, self.spacing, self.threads)
                else:
                    fill_pyramid(plane, unknown, self.threads)
            else:
                begin = np.empty_like(plane)
                self.units_of(channel).to_run(self.start[channel], begin)
                np.copyto(plane, begin, where=free.view(bool))
            low, high = self.units_of(channel).bounds()
            np.clip(plane, max(low, -_MOST_START), min(high, _MOST_START), out=plane, where=free.view(bool))
        return x

    def start_pieces(self, dtype: DTypeLike) -> Iterator[Piece]:
        """The start, as what is restored is told."""
        for channel, plane in enumerate(self.filled(dtype)):
            yield channel, None, plane

    def alike(self, x: NDArray[Any], free: NDArray[np.uint8], noise: Noise | None = None) -> Problem:
        """The problem of another image, given in units of the run, and another mask, with the default start."""
        each = None if self.each is None else [units.own() for units in self.each]
        own = self.units.own()
        return Problem(
            x, free, own, "pyramid", self.threads, self.ignored, noise, self.spacing, each=each, groups=self.groups
        )

    def write(self, pieces: Iterable[Piece], out: NDArray[Any]) -> None:
        """Write what is restored to planes in units of the image.

        Each piece is the number of a channel, the flat indices of its pixels, or None where it is the whole channel,
        and their values in units of the run.
        """
        for channel, pixels, values in pieces:
            plane, units = out[channel], self.units_of(channel)
            if pixels is not None:
                restored = units.to_image(values)
                if plane.flags.c_contiguous:
                    plane.reshape(-1)[pixels] = restored
                else:
                    plane[np.unravel_index(pixels, plane.shape)] = restored
                continue
            corrupt = self.mask(channel).view(bool)
            for some in bands(plane.shape):
                np.copyto(plane[some], units.to_image(values[some]), where=corrupt[some], casting="unsafe")

    def restored(self, pieces: Iterable[Piece]) -> NDArray[Any]:
        """The restored planes in units of the run, the known pixels as they are converted."""
        x = self.converted()
        self.alike(x, self.free).write(pieces, x)
        return x


def noisy(problem: Problem, deviations: NDArray[np.float64], huber: float) -> Problem:
    """The same problem with noise of such deviations, in units of the image: what is known and not exact is free.

    The problem itself where all that is known is exact.
    """
    noise = of_run(deviations, problem.free, problem.units.unit, problem.units.dtype, huber)
    free = (noise.sigma > 0).view(np.uint8)
    return problem if np.array_equal(free, problem.free) else replace(problem, free=free, noise=noise)


_QUANTILE = 0.005  # of the known pixels, on either side, that may be anything
# The same where outliers are told of, and how much wider the range of all but one in two hundred is, about.
_OUTLYING_QUANTILE, _WIDER = 0.05, 1.25
_WITHIN = 1.5  # of the range between these quantiles is the unit, so that they lie at a sixth and five sixths of it
_SAMPLE = 4096  # known pixels, about, that tell the range


def some_of(planes: NDArray[Any], channels: Sequence[int]) -> NDArray[Any]:
    """Some of the planes, a view where they follow each other."""
    first, last = channels[0], channels[-1]
    return planes[first : last + 1] if last - first + 1 == len(channels) else planes[list(channels)]


_MOST_KNOWN = 1e15  # units that a known pixel may be from all others: one that is farther counts as so far


class Units:
    """Between the units of the image and those of the run, in which its loss is descended.

    They are x = (image / 2^exponent - offset) / factor.

    Of the losses whose parameters are contrasts, the unit is measured from the known pixels: one and a half times the
    range that all but one in two hundred on either side lie in, less what noise that is told of adds to it. So neither
    the image's own unit nor its dtype matters, nor a few pixels that are far from all others. "line" and callables take
    floats as they are, unless their squares might overflow or vanish, and integers divided by the greatest value of
    their dtype.

    The power of two is 1 but for numbers so large or small that others would overflow or vanish beside them.
    """

    def __init__(
        self,
        integer: bool,
        contrasts: bool,
        dtype: np.dtype[Any],
        exponent: int,
        offset: float,
        factor: float,
        low: float,
        high: float,
        given: bool,
    ) -> None:
        self.integer, self.contrasts, self.dtype, self.given = integer, contrasts, dtype, given
        self._exponent, self._offset, self._factor = exponent, offset, factor
        self.low, self.high = low, high
        self.asked: Any = None  # the bounds that a caller gave
        self._clipped = False  # whether a known pixel is farther than any may be
        self.farthest = 0.0  # units from 0, of the known pixels, or of integers of the dtype
        # The least and the greatest integer that a pixel may become; where floats are coarse, the one below.
        self._integers = (math.ceil(low), _float_below(math.floor(high))) if integer else (0, 0.0)
        # Whether single precision holds what is reckoned with.
        self._plain = exponent == 0 and 1e-30 < factor < 1e30 and abs(offset) < 1e30

    @classmethod
    def of(
        cls,
        planes: NDArray[Any],
        free: NDArray[np.uint8],
        bounds: Any,
        *,
        as_is: bool,
        contrasts: bool,
        deviation: float = 0.0,
        outliers: bool = False,
        known: KnownRange | None = None,
    ) -> Units:
        """Measure the known pixels, of which it is told how noisy they are, and whether many may be anything.

        If there is none, it may be known already what `KnownRange` tells.
        """
        integer = planes.dtype.kind in "iu"
        dtype = np.dtype(np.float64 if as_is or planes.dtype.itemsize > (2 if integer else 4) else np.float32)
        exponent, offset = 0, 0.0
        least: float
        greatest: float
        if integer:
            least, greatest = (int(end) for end in (np.iinfo(planes.dtype).min, np.iinfo(planes.dtype).max))
            factor = float(greatest)
        else:
            least, greatest = _known_range(planes, free) if known is None else (known.least, known.greatest)
            top = max(abs(least), abs(greatest))
            safe = as_is or top == 0 or _SAFE[0] <= top <= _SAFE[1]
            factor = 1.0 if safe else 2.0 ** (math.frexp(top)[1] - 1)
            if contrasts and top > 0 and not 1e-100 < top < 1e100:
                exponent = math.frexp(top)[1]
        if contrasts and (known is None or exponent):
            offset, factor = _contrast_range(planes, free, exponent, math.ldexp(deviation, -exponent), outliers)
        elif contrasts and known is not None:
            offset, factor = _unit_between(known.low, known.high)
        low, high = _check_bounds(bounds, planes.dtype, least, greatest)
        given = bounds is not None and (low, high) != _check_bounds(None, planes.dtype, least, greatest)
        units = cls(integer, contrasts, dtype, exponent, offset, factor, low, high, given)
        farthest = max(abs(math.ldexp(end, -exponent) - offset) for end in (least, greatest))
        units._clipped = contrasts and farthest > _MOST_KNOWN * factor
        units.farthest = farthest / factor
        units.asked = bounds
        return units

    def own(self) -> Units:
        """The units of an image that is given in units of the run already."""
        units = Units(False, self.contrasts, self.dtype, 0, 0.0, 1.0, *self.bounds(), self.given)
        units.farthest = self.farthest
        return units

    @property
    def linear(self) -> tuple[float, float, float, float] | None:
        """What is 0, how much is 1, and the range of what is restored, if these tell all of the units; in double."""
        if self._exponent or self._clipped or not self._offset:
            return None
        low, high = self._integers if self.integer else (self.low, self.high)
        return self._offset, self._factor, float(low), float(high)

    @property
    def unit(self) -> float:
        """The image's difference for one of the run's."""
        return float(np.ldexp(self._factor, self._exponent))

    @property
    def loss_unit(self) -> float:
        """The image's loss, or step, for one of the run's: 1 for integers, which are thought of as scaled to [0, 1]."""
        return 1 if self.integer or self.contrasts else self._factor

    def to_run(self, values: NDArray[Any], out: NDArray[Any]) -> None:
        """Write values, in units of the image, to out in those of the run."""
        dtype = out.dtype if self._plain else np.dtype(np.float64)
        with np.errstate(all="ignore"):  # a corrupt value may be anything
            if self._exponent:
                values = np.ldexp(np.asarray(values, np.float64), -self._exponent)
            if self._offset:
                values = np.subtract(
                    values, self._offset, out=out if dtype == out.dtype else None, dtype=dtype, casting="unsafe"
                )
            np.divide(values, self._factor, out=out, dtype=dtype, casting="unsafe")
        if self._clipped:
            np.clip(out, -_MOST_KNOWN, _MOST_KNOWN, out=out)

    def bounds(self) -> tuple[float, float]:
        """The bounds in units of the run."""
        with np.errstate(over="ignore"):  # a bound beyond the dtype's range is none
            low, high = (
                float(self.dtype.type((float(np.ldexp(bound, -self._exponent)) - self._offset) / self._factor))
                for bound in (self.low, self.high)
            )
        return low, high

    def to_image(self, x: NDArray[Any]) -> NDArray[Any]:
        """A copy of x, in units of the run, in those of the image and inside the bounds; still a float array."""
        dtype = self.dtype if self._plain and not self._offset else np.float64
        with np.errstate(all="ignore"):  # what overflows is clipped, or told by status 3
            x = np.multiply(x, self._factor, dtype=dtype)
            if self._offset:
                x += self._offset
            if self._exponent:
                x = np.ldexp(x, self._exponent)
        return self.within(x)

    def within(self, x: NDArray[Any]) -> NDArray[Any]:
        """Bring x, in units of the image, inside the bounds, where those of integers are integers, in place."""
        if self.integer:
            np.rint(x, out=x)
            return np.clip(x, *self._integers, out=x)
        return np.clip(x, self.low, self.high, out=x)


def _float_below(integer: int) -> float:
    """The greatest double that is no greater."""
    number = float(integer)
    return number if number <= integer else math.nextafter(number, -math.inf)


def _known_range(planes: NDArray[Any], free: NDArray[np.uint8]) -> tuple[float, float]:
    """The least and the greatest known value of a float image."""
    if planes.size < _IN_BANDS or not free.any():
        values = planes[np.broadcast_to(free, planes.shape) == 0] if free.any() else planes
        least, greatest = float(values.min()), float(values.max())
    else:
        ends = [
            end
            for channel, plane in enumerate(planes)
            for some in bands(plane.shape)
            for end in _ends_of_known(plane[some], free[channel % len(free)][some].view(bool))
        ]
        least, greatest = float(np.min(ends)), float(np.max(ends))
    if not (math.isfinite(least) and math.isfinite(greatest)):
        _refuse_nonfinite(planes, free)
    return least, greatest


def _ends_of_known(values: NDArray[Any], corrupt: NDArray[np.bool_]) -> tuple[Any, ...]:
    """The least and the greatest known value, if there is one; NaN where one is."""
    if corrupt.any():
        first = np.unravel_index(int(np.argmin(corrupt)), corrupt.shape)
        if corrupt[first]:
            return ()
        # Not what is left of them: to copy what is known one by one takes ten times as long.
        values = np.where(corrupt, values[first], values)
    return values.min(), values.max()


class KnownRange(NamedTuple):
    """What the known pixels of an image range over: the least and the greatest of them, and their order statistics."""

    least: float
    greatest: float
    low: float
    high: float


def _contrast_range(
    planes: NDArray[Any], free: NDArray[np.uint8], exponent: int, deviation: float, outliers: bool
) -> tuple[float, float]:
    """What is to be 0 and how much is to be 1, by the order statistics of the known pixels, or of some of them."""
    quantile = _OUTLYING_QUANTILE if outliers else _QUANTILE
    places = _sample_size(free.size, int(np.count_nonzero(free.view(bool))))
    # If a sample is nearly all alike, all known pixels may yet differ; if these are nearly all alike, the others count.
    for sample, share in [(places, quantile)] * (places is not None) + [(None, quantile), (None, 0.0)]:
        values = _known_values(planes, free, sample)
        if exponent:
            values = np.ldexp(values.astype(np.float64), -exponent)
        if not len(values):
            continue
        ends = _ends(len(values), share)
        _order(values, ends)
        low, high = (float(values[end]) for end in ends)
        if deviation > 0:
            low, high = _without_noise(low, high, deviation, (ends[0] + 0.5) / len(values))
        if outliers and share:
            more = (_WIDER - 1) / 2 * (high - low)
            low, high = low - more, high + more
        if high > low:
            return _unit_between(low, high)
    # All are alike: so will be what is restored, whatever counts as a contrast.
    return low, max(abs(low), 1e-20)


def _without_noise(low: float, high: float, deviation: float, share: float) -> tuple[float, float]:
    """The range that values would have without normal noise, if a share of the noisy ones lies on either side of it.

    Where the values are normal themselves the squares of the ranges add up. Where they are not the rest is too large,
    by a fifth for uniform ones. At least a quarter is left: noise may be told to be more than it is.
    """
    t = math.sqrt(-2 * math.log(share))
    # The normal quantile: M. Abramowitz, I. Stegun, "Handbook of mathematical functions", 26.2.22.
    quantile = t - (2.30753 + 0.27061 * t) / (1 + 0.99229 * t + 0.04481 * t * t)
    ratio = 2 * max(quantile, 0.0) * deviation / (high - low) if high > low else 0.0
    rest = math.sqrt(max(1 - ratio * ratio, 1 / 16))
    trimmed = (1 - rest) / 2 * (high - low)
    return low + trimmed, high - trimmed


def _known_values(planes: NDArray[Any], free: NDArray[np.uint8], sample: int | None) -> NDArray[Any]:
    """The known pixels of all channels, or those of them that are among so many places."""
    if sample is None:
        values: NDArray[Any] = planes[np.broadcast_to(free == 0, planes.shape)]
        return values
    shape = free.shape[1:]
    index = _scattered_pixels(sample, shape)
    known = [plane.take(index) == 0 for plane in free]
    flat = planes.flags.c_contiguous
    places = index if flat else np.unravel_index(index, shape)
    return np.concatenate(
        [
            (plane.take(index) if flat else plane[places])[known[channel % len(known)]]
            for channel, plane in enumerate(planes)
        ]
    )


def _sample_size(pixels: int, unknown: int) -> int | None:
    """How many pixels to look at so that about `_SAMPLE` are known; None if that would be a quarter or more of all."""
    places = _SAMPLE * pixels // max(pixels - unknown, 1)
    return places if places < pixels // 4 else None


def _ends(count: int, share: float) -> tuple[int, int]:
    """The ranks of the least and the greatest of so many values when a share of them on either side is left out."""
    # One at least may be anything, if there are enough to tell.
    left_out = max(int(share * count), 1) if share and count > 8 else 0
    return left_out, count - 1 - left_out


def _order(values: NDArray[Any], ranks: tuple[int, int]) -> None:
    """Put values along the last axis so that those of such ranks stand where they belong."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        values.sort(kind="stable")  # by radix: half the time, and the same for all images
    else:
        values.partition(ranks)


def _unit_between(low: float, high: float) -> tuple[float, float]:
    """What is to be 0 and how much is to be 1 where these are a sixth and five sixths."""
    return low - (_WITHIN - 1) / 2 * (high - low), _WITHIN * (high - low)


class TellingPixels:
    """The known pixels of a mask, of so many unknown ones, that tell the range of images first."""

    def __init__(self, free: NDArray[np.uint8], unknown: int) -> None:
        places = _sample_size(free.size, unknown)
        if places is None:
            self._places = np.flatnonzero(free == 0)
        else:
            scattered = _scattered_pixels(places, free.shape[1:])
            self._places = np.empty(len(scattered), np.intp)
            self._places = self._places[: regions.known_among(free.reshape(-1), scattered, self._places)]
        self._ends = _ends(len(self._places), _QUANTILE)

    def range_of(self, images: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ends of the ranges, shape (images,), of images of one channel, shape (images, pixels).

        Where they are equal, or not finite, these pixels are not enough to tell.
        """
        values = images.take(self._places, axis=1)
        _order(values, self._ends)
        low, high = (values[:, end].astype(np.float64) for end in self._ends)
        return low, high


# Powers of the root of x^3 = x + 1, and of that of x^4 = x + 1: parts of them lie evenly in a square and in a cube.
_EVENLY_IN_SQUARE = 0.7548776662466927, 0.5698402909980532
_EVENLY_IN_CUBE = 0.8191725133961645, 0.6710436067037893, 0.5497004779019703


_MOST_KEPT = 2**16  # places that are kept for the next image of the shape


def _scattered_pixels(count: int, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The flat indices of places that `_scattered` tells."""
    return _kept_pixels(count, shape) if count <= _MOST_KEPT else _kept_pixels.__wrapped__(count, shape)


@functools.lru_cache(maxsize=8)
def _kept_pixels(count: int, shape: tuple[int, ...]) -> NDArray[np.intp]:
    index = np.ravel_multi_index(_scattered(count, shape), shape)
    index.flags.writeable = False
    return index


def _scattered(count: int, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    """The places of about so many pixels that lie evenly but in step with no pattern.

    They are the same in an image that is turned or mirrored, and in a volume whose axes are turned in a circle or
    mirrored.
    """
    if len(shape) == 3:
        return _scattered_in_volume(count, shape)
    k = np.arange(-(-count // 8))
    first, second = (k * part % 1 for part in _EVENLY_IN_SQUARE)
    rows, cols = (np.concatenate([(side * first).astype(np.intp), (side * second).astype(np.intp)]) for side in shape)
    cols = np.roll(cols, len(k))
    (last_row, last_col) = (side - 1 for side in shape)
    return (
        np.concatenate([rows, last_row - rows, rows, last_row - rows]),
        np.concatenate([cols, cols, last_col - cols, last_col - cols]),
    )


def _scattered_in_volume(count: int, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    k = np.arange(-(-count // 24))
    shares = [k * part % 1 for part in _EVENLY_IN_CUBE]
    turns = [np.concatenate([shares[(axis + turn) % 3] for turn in range(3)]) for axis in range(3)]
    inner = [(side * share).astype(np.intp) for side, share in zip(shape, turns, strict=True)]
    return tuple(
        np.concatenate([side - 1 - places if corner >> axis & 1 else places for corner in range(8)])
        for axis, (side, places) in enumerate(zip(shape, inner, strict=True))
    )


def _refuse_nonfinite(planes: NDArray[Any], free: NDArray[np.uint8]) -> NoReturn:
    bad = ~np.isfinite(planes) & (free == 0)
    channel, *place = (int(i) for i in np.argwhere(bad)[0])
    axes = ("plane", "row", "column")[3 - len(place) :]
    where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, place, strict=True))
    where += f", channel {channel}" if len(planes) > 1 else ""
    raise ValueError(
        f"image must be finite where it is known, got {planes[channel, *place]} at {where}"
        f" ({np.count_nonzero(bad)} in all)"
    )


def require_bounds(bounds: Any, dtype: np.dtype[Any]) -> None:
    """Raise unless bounds are a pair for images of a dtype, before these are looked at."""
    if bounds is not None:
        info = np.iinfo(dtype) if dtype.kind in "iu" else None
        _check_bounds(bounds, dtype, int(info.min) if info else 0.0, int(info.max) if info else 0.0)


def _check_bounds(bounds: Any, dtype: np.dtype[Any], least: float, greatest: float) -> tuple[float, float]:
    """The bounds in units of the image; least and greatest are the dtype's, or the known pixels' for floats."""
    integer = dtype.kind in "iu"
    if bounds is None:
        return (0.0, 1.0) if not integer and least >= 0 and greatest <= 1 else (least, greatest)
    pair = tuple(bounds) if np.iterable(bounds) else ()
    numeric = (isinstance(bound, numbers.Real) and not isinstance(bound, bool) for bound in pair if bound is not None)
    if len(pair) != 2 or not all(numeric):
        raise TypeError(f"bounds must be a pair of numbers, or of None where there is none, got {bounds!r}")
    unbounded = (least, greatest) if integer else (-math.inf, math.inf)
    try:
        low, high = (
            none if bound is None else int(bound) if integer and isinstance(bound, numbers.Integral) else float(bound)
            for bound, none in zip(pair, unbounded, strict=True)
        )
    except OverflowError:
        raise ValueError(f"bounds must be numbers that {dtype} can hold, got {bounds!r}") from None
    if not (low <= high and low < math.inf and high > -math.inf):
        raise ValueError(f"bounds must be a pair (low, high) with low <= high, got {bounds!r}")
    if integer:
        if not (low >= least and high <= greatest):
            raise ValueError(
                f"bounds must lie in the range of the image's dtype, {least} to {greatest}, got {bounds!r}"
            )
        if math.ceil(low) > math.floor(high):
            raise ValueError(f"bounds must have an integer between them for an integer image, got {bounds!r}")
        return low, high
    with np.errstate(over="ignore"):
        held = float(dtype.type(low)), float(dtype.type(high))
    if any(math.isinf(there) and not math.isinf(bound) for there, bound in zip(held, (low, high), strict=True)):
        raise ValueError(f"bounds must be numbers that {dtype} can hold, got {bounds!r}")
    greatest = float(np.finfo(dtype).max)
    return max(held[0], -greatest), min(held[1], greatest)


# ---- starts ----


def fill_pyramid(x: NDArray[Any], free: NDArray[np.uint8], threads: int) -> None:
    """Fill the free pixels of x by pull-push interpolation."""
    levels, unknown = [(x, free)], np.count_nonzero(free)
    while unknown:
        fine, fine_free = levels[-1]
        shape = tuple((side + 1) // 2 for side in fine.shape)
        coarse, coarse_free = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
        unknown = pyramid.pull(fine, fine_free, threads, coarse, coarse_free)
        levels.append((coarse, coarse_free))
    for (fine, fine_free), (coarse, _) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        pyramid.push(coarse, fine_free, threads, fine)


def fill_pyramid_volume(x: NDArray[Any], free: NDArray[np.uint8], spacing: tuple[float, ...], threads: int) -> None:
    """Fill the free voxels of x, shape (planes, rows, cols), by pull-push interpolation."""
    levels, unknown = [(x, free)], np.count_nonzero(free)
    while unknown:
        fine, fine_free = levels[-1]
        shape = halved(fine.shape, spacing)
        spacing = coarse_spacing(fine.shape, shape, spacing)
        coarse, coarse_free = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
        unknown = pyramid.pull_volume(fine, fine_free, threads, coarse, coarse_free)
        levels.append((coarse, coarse_free))
    for (fine, fine_free), (coarse, _) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        pyramid.push_volume(coarse, fine_free, threads, fine)


def _fill_nearest(x: NDArray[Any], free: NDArray[np.uint8], spacing: tuple[float, ...]) -> None:
    """Give each free pixel of x the value of the known pixel nearest to it."""
    from scipy.ndimage import distance_transform_edt

    places = distance_transform_edt(free, sampling=spacing or None, return_distances=False, return_indices=True)
    x[...] = x[tuple(places)]
