"""Noisy volumes: what was measured on each grid, and the balance between the energy and the distance to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import volume
from graddesc.losses.differences import Differences
from graddesc.losses.grids import halved
from graddesc.losses.volumes import block_shape, gaussian, means_over, rows_of
from graddesc.restoration.problem import Problem
from graddesc.restoration.windows import OUTERMOST

BALANCES = 6  # renewals of a grid that find the balance, before it settles; later ones keep it
_SPREAD = 1.0  # of the least distance: of the blur of energies and of precisions
_FLOOR = 0.02  # of the mean energy, which every voxel has beside its own
_LEAST_TRUST = 0.05  # of the mean root of precision
_EXACT = 1e6  # the greatest precision that counts beside others in means: of a thousandth of the unit
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
        roots = np.sqrt(np.minimum(measured.precision, _TRUSTED)).mean(axis=0)
        self._trusted = float(np.sum(roots, dtype=np.float64))
        self._trust = np.maximum(self._blurred(roots) * (roots.size / self._trusted), _LEAST_TRUST)
        self._factors = np.full(self._blocks, math.sqrt(self._least * self._most), roots.dtype)
        self.found = 0

    def _blurred(self, values: NDArray[Any]) -> NDArray[Any]:
        means, spans = means_over(values, self._blocks)[np.newaxis], rows_of(self._blocks)
        for axis, taps in enumerate(self._taps):
            blurred = np.empty_like(means)
            volume.blur(means, taps, axis, spans, self._threads, blurred)
            means = blurred
        out: NDArray[Any] = means[0]
        return out

    def find(self, densities: NDArray[Any]) -> None:
        """Find it, by the energy of each voxel, the mean over the channels."""
        energy = float(np.sum(densities, dtype=np.float64))
        mean = energy / densities.size
        floor = _FLOOR * mean + 1e-30  # a volume may be flat
        factor = min(max(self._factor * math.sqrt(self._trusted / (energy + 1e-30)), self._least), self._most)
        ratio = (mean + floor) / (self._blurred(densities) + floor) * self._trust
        # The power of 5/8 by roots, which round everywhere alike.
        root = np.sqrt(ratio)
        self._factors = np.clip(factor * (root * np.sqrt(np.sqrt(root))), self._least, self._most)
        self._factors = self._factors.astype(densities.dtype)
        self.found += 1

    def weights(self, x: NDArray[Any]) -> NDArray[Any]:
        """What half the squared distances of x to what was measured weigh, of the shape of the precision."""
        precision, data = self._measured.precision, self._measured.data
        factors = np.empty((1, *self._shape), precision.dtype)
        volume.spread(self._factors[np.newaxis].astype(precision.dtype), rows_of(self._shape), self._threads, factors)
        out = precision / factors
        if self._huber < math.inf:
            masks = len(precision)
            for mask in range(masks):
                squares = sum((x[c] - data[c]) ** 2 for c in range(mask, len(x), masks)) / (len(x) // masks)
                out[mask] /= np.maximum(np.sqrt(squares * precision[mask]) / self._huber, 1)
        return out

    def data_term(self, x: NDArray[Any], free: NDArray[np.uint8]) -> float:
        """What the distance to what was measured adds to the energy, of the voxels that may change."""
        precision, data = self._measured.precision, self._measured.data
        factors = np.empty((1, *self._shape), precision.dtype)
        volume.spread(self._factors[np.newaxis].astype(precision.dtype), rows_of(self._shape), self._threads, factors)
        masks, total = len(precision), 0.0
        for mask in range(masks):
            channels = range(mask, len(x), masks)
            # In the precision of x: what is next to exact differs from the data by the rounding of x alone.
            apart = [np.subtract(x[c], data[c].astype(x.dtype), dtype=np.float64) for c in channels]
            squares = sum(difference**2 for difference in apart) / len(apart) * precision[mask]
            if self._huber < math.inf:
                far = squares > self._huber**2
                squares = np.where(far, self._huber * (2 * np.sqrt(squares) - self._huber), squares)
            total += float(np.sum(squares / factors[0] * free[mask])) * len(apart) / 2
        return total
