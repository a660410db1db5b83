"""Noisy volumes: what was measured on each grid, and the balance between the energy and the distance to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import volume
from graddesc.losses.differences import Differences
from graddesc.losses.grids import halved
from graddesc.losses.volumes import block_shape, gaussian, in_parts, means_over, rows_of
from graddesc.restoration.problem import Problem
from graddesc.restoration.windows import OUTERMOST

BALANCES = 6  # renewals of a grid that find the balance, before it settles; later ones keep it
_SPREAD = 1.0  # of the least distance: of the blur of energies and of precisions
_FLOOR = 0.02  # of the mean energy, which every voxel has beside its own
_LEAST_TRUST = 0.05  # of the mean root of precision
_EXACT = 1e6  # the greatest precision that counts beside others in means: of a thousandth of the unit
_AT_ONCE = 2**20  # voxels, about, that are worked on before anybody looks up
_TRUSTED = 1e4  # and in what the balance is found by: of a hundredth, which no loss tells a volume to


class Measured:
    """What was measured on a grid: data, shape (channels, planes, rows, cols), and one over its variance.

    `precision` has as many masks as the problem. It is 0 where nothing was measured, and data there as well.
    """

    def __init__(self, data: NDArray[Any], precision: NDArray[Any]) -> None:
        self.data, self.precision = data, precision
        self.missing = (precision == 0).view(np.uint8)

    @classmethod
    def of(cls, problem: Problem, dtype: Any = None) -> Measured:
        """What was measured of a volume, in units of the run."""
        noise = problem.noise
        assert noise is not None
        data = problem.converted(dtype)
        if noise.huber < math.inf:
            # What lies further out pulls no more; the first start would be full of it.
            np.clip(data, *OUTERMOST, out=data, where=problem.free.view(bool))
        missing = noise.missing.view(bool)
        np.copyto(data, 0, where=missing)
        precision = noise.precision().astype(data.dtype)
        precision[missing] = 0
        return cls(data, precision)

    def coarser(self, spacing: tuple[float, ...]) -> Measured:
        """What was measured on the next coarser grid: means weighted by precision."""
        shape = halved(self.data.shape[1:], spacing)
        precision = np.minimum(self.precision, _EXACT)
        masks = len(precision)
        sums = np.stack([_sums_over(values * precision[c % masks], shape) for c, values in enumerate(self.data)])
        totals = np.stack([_sums_over(values, shape) for values in precision])
        with np.errstate(all="ignore"):
            for c, values in enumerate(sums):
                np.copyto(values, np.where(totals[c % masks] > 0, values / totals[c % masks], 0))
        return Measured(sums, totals)


def _sums_over(x: NDArray[Any], blocks: tuple[int, ...]) -> NDArray[Any]:
    """The sums over blocks, each axis of which is as long as the volume's, or half of it, rounded up."""
    for axis, (side, few) in enumerate(zip(x.shape, blocks, strict=True)):
        if few != side:
            x = np.add.reduceat(x, np.arange(0, side, 2), axis=axis)
    return x


class Balance:
    """How many times the energy counts at each voxel beside what was measured, which the volume tells.

    What goes over the whole volume yields the work that was done, some planes at a time.

    It is ``c sqrt(sum(1 / sigma) / E)``, and locally, to the power of 5/8, the more the less energy there is and the
    more was measured around. `found` tells how often it was found.
    """

    def __init__(
        self, loss: Differences, measured: Measured, spacing: tuple[float, ...], huber: float, threads: int
    ) -> None:
        self._factor, self._least, self._most = loss.volume_balance
        self._measured, self._huber, self._threads = measured, huber, threads
        shape = measured.data.shape[1:]
        self._shape, self._blocks = shape, block_shape(shape, spacing)
        self._taps = [
            gaussian(_SPREAD / h / (1 if few == side else 2))
            for side, few, h in zip(shape, self._blocks, spacing, strict=True)
        ]
        self._trusted, self._trust = 0.0, np.empty(0)  # found with the first balance
        self._factors = np.full(self._blocks, math.sqrt(self._least * self._most), measured.precision.dtype)
        self.found = 0

    def _slabs(self) -> Iterator[slice]:
        """Some planes at a time, each of them an even number before the last."""
        planes, rows, cols = self._shape
        count = max(_AT_ONCE // (2 * rows * cols), 1) * 2
        for first in range(0, planes, count):
            yield slice(first, min(first + count, planes))

    def _size(self, some: slice) -> int:
        size: int = (some.stop - some.start) * self._shape[1] * self._shape[2]
        return size

    def _blurred(self, values: NDArray[Any]) -> Generator[int, None, NDArray[Any]]:
        planes, *sides = self._blocks
        means, halves = np.empty((1, *self._blocks), values.dtype), planes != self._shape[0]
        for some in self._slabs():
            few = slice(some.start // 2, (some.stop + 1) // 2) if halves else some
            means[0, few] = means_over(values[some], (few.stop - few.start, *sides))
            yield 2 * self._size(some)
        for axis, taps in enumerate(self._taps):
            blurred = np.empty_like(means)
            for spans in in_parts(rows_of(self._blocks)):
                volume.blur(means, taps, axis, spans, self._threads, blurred)
                yield 2 * len(spans) * sides[-1]
            means = blurred
        out: NDArray[Any] = means[0]
        return out

    def _measure_trust(self) -> Iterator[int]:
        """Find what was measured around each voxel."""
        precision = self._measured.precision
        roots = np.empty(self._shape, precision.dtype)
        for some in self._slabs():
            roots[some] = np.sqrt(np.minimum(precision[:, some], _TRUSTED)).mean(axis=0)
            yield 2 * self._size(some)
        self._trusted = float(np.sum(roots, dtype=np.float64))
        blurred = yield from self._blurred(roots)
        self._trust = np.maximum(blurred * (roots.size / self._trusted), _LEAST_TRUST)

    def find(self, densities: NDArray[Any]) -> Iterator[int]:
        """Find it, by the energy of each voxel, the mean over the channels."""
        if self.found == 0:
            yield from self._measure_trust()
        energy = float(np.sum(densities, dtype=np.float64))
        mean = energy / densities.size
        floor = _FLOOR * mean + 1e-30  # a volume may be flat
        factor = min(max(self._factor * math.sqrt(self._trusted / (energy + 1e-30)), self._least), self._most)
        blurred = yield from self._blurred(densities)
        ratio = (mean + floor) / (blurred + floor) * self._trust
        # The power of 5/8 by roots, which round everywhere alike.
        root = np.sqrt(ratio)
        self._factors = np.clip(factor * (root * np.sqrt(np.sqrt(root))), self._least, self._most)
        self._factors = self._factors.astype(densities.dtype)
        self.found += 1

    def _spread(self) -> Generator[int, None, NDArray[Any]]:
        """How many times the energy counts, at each voxel."""
        dtype = self._measured.precision.dtype
        factors, out = self._factors[np.newaxis].astype(dtype), np.empty((1, *self._shape), dtype)
        for spans in in_parts(rows_of(self._shape)):
            volume.spread(factors, spans, self._threads, out)
            yield len(spans) * self._shape[-1]
        spread: NDArray[Any] = out[0]
        return spread

    def weights(self, x: NDArray[Any]) -> Generator[int, None, NDArray[Any]]:
        """What half the squared distances of x to what was measured weigh, of the shape of the precision."""
        precision, data = self._measured.precision, self._measured.data
        masks, out = len(precision), np.empty_like(precision)
        factors = yield from self._spread()
        for some in self._slabs():
            out[:, some] = precision[:, some] / factors[some]
            if self._huber < math.inf:
                for mask in range(masks):
                    squares = sum((x[c, some] - data[c, some]) ** 2 for c in range(mask, len(x), masks))
                    squares = squares / (len(x) // masks)
                    out[mask, some] /= np.maximum(np.sqrt(squares * precision[mask, some]) / self._huber, 1)
            yield 4 * self._size(some) * masks
        return out

    def data_term(self, x: NDArray[Any], free: NDArray[np.uint8]) -> float:
        """What the distance to what was measured adds to the energy, of the voxels that may change."""
        precision, data = self._measured.precision, self._measured.data
        factors = np.empty((1, *self._shape), precision.dtype)
        volume.spread(self._factors[np.newaxis].astype(precision.dtype), rows_of(self._shape), self._threads, factors)
        masks, terms = len(precision), []
        for mask, some in itertools.product(range(masks), self._slabs()):
            channels = range(mask, len(x), masks)
            # In the precision of x: what is next to exact differs from the data by the rounding of x alone.
            apart = [np.subtract(x[c, some], data[c, some].astype(x.dtype), dtype=np.float64) for c in channels]
            squares = sum(difference**2 for difference in apart) / len(apart) * precision[mask, some]
            if self._huber < math.inf:
                far = squares > self._huber**2
                squares = np.where(far, self._huber * (2 * np.sqrt(squares) - self._huber), squares)
            terms.append(float(np.sum(squares / factors[0, some] * free[mask, some])) * len(apart) / 2)
        return math.fsum(terms)
