"""The losses of local differences on volumes: grids, the weights of "edge", values and gradients."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graddesc._kernels import volume
from graddesc.losses.grids import halved

SPREAD = 2.2  # distances, the standard deviation of the tensor's Gaussian where a tenth of the voxels is known
# Bounds the greatest eigenvalue of the operator over its diagonal: 2.5 was measured, and 144 / 42 it is where all cells
# count and nothing is left out.
SAFETY, SAFETY_OF_CELLS = 2.4, 3.45
FLOOR = 0.02  # of the diagonal
# Whether a volume is smooth all over: the squared mean length of the differences of neighbours over their mean square
# is 2 / pi = .64 if they are normal, as was measured of a smooth random field whatever was missing, and .47 at most
# where there are edges. In between the share of the cells goes from none to all.
UNEVEN, EVEN = 0.52, 0.6
# Noise is as even, but rough: the mean square of how much a difference differs from the next one, over the mean square
# of differences, is 3 of noise alone and .63 at most of the smooth field. In between the share goes from all to none.
SMOOTH, ROUGH = 0.65, 0.8
SLACK = 0.1  # by how much less the weights are where all cells count
STRENGTH_OF_SHEETS = 0.35  # of `edge_strength`: by this much less stands out what is an edge in a volume


def block_shape(shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[int, ...]:
    """The shape of the grid that the tensor of a volume stands on."""
    return halved(shape, spacing) if max(shape) > 1 else shape


def rows_of(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The spans of all rows of a volume."""
    planes, rows, cols = shape
    spans = np.empty((planes * rows, 4), np.int32)
    spans[:, 0], spans[:, 1] = np.divmod(np.arange(planes * rows), rows)
    spans[:, 2:] = 0, cols
    return spans


@dataclass
class Stages:
    """Where the stages of a renewal are wanted, as spans: of blocks, but for `weights`, which are of voxels."""

    raw: NDArray[np.int32]
    blurred_once: NDArray[np.int32]
    blurred_twice: NDArray[np.int32]
    blurred: NDArray[np.int32]
    weights: NDArray[np.int32]

    @classmethod
    def everywhere(cls, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Stages:
        """All of a volume."""
        blocks = rows_of(block_shape(shape, spacing))
        return cls(blocks, blocks, blocks, blocks, rows_of(shape))


class EdgeWeights:
    """The weights of "edge" at a volume, of all channels together: see `graddesc._kernels.volume`.

    `spread` is the standard deviation of the tensor's Gaussian, in units of the least distance. The weights are those
    of the voxels in `sectors` and of those beside them; by default of all.
    """

    def __init__(
        self,
        contrast: float,
        strength: float,
        shape: tuple[int, ...],
        spacing: tuple[float, ...],
        spread: float,
        dtype: DTypeLike,
        threads: int,
        sectors: NDArray[np.uint8] | None = None,
        present: NDArray[np.uint8] | None = None,
    ) -> None:
        self._present = present
        self._contrast, self._strength = contrast, STRENGTH_OF_SHEETS * strength
        self._spacing, self._threads = np.array(spacing), threads
        blocks = block_shape(shape, spacing)
        self._taps = [
            gaussian(spread / h / (1 if few == side else 2))
            for side, few, h in zip(shape, blocks, spacing, strict=True)
        ]
        radii = [len(taps) - 1 for taps in self._taps]
        self._stages = (
            Stages.everywhere(shape, spacing) if sectors is None else stages_of(sectors, shape, spacing, radii)
        )
        self._shares = None if present is None else self._blurred_shares(present, blocks, dtype)
        self.cells = 0.0  # their share in the energy
        shape = 6, *blocks
        self._raw, self._tensor = (array_for(shape, dtype, sectors) for _ in range(2))

    def _blurred_shares(self, present: NDArray[np.uint8], blocks: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """How much of what the tensor's Gaussian reaches from each block is present."""
        shares, spans = means_over(present.astype(dtype), blocks)[np.newaxis], rows_of(blocks)
        for axis, taps in enumerate(self._taps):
            blurred = np.empty_like(shares)
            volume.blur(shares, taps, axis, spans, self._threads, blurred)
            shares = blurred
        least: NDArray[Any] = np.maximum(shares, _LEAST_SHARE)
        return least

    def orient(self, x: NDArray[Any], cells: float) -> Iterator[int]:
        """Find the weights of blocks of x, shape (channels, planes, rows, cols); yield the work that was done.

        `cells` is their share in the energy.
        """
        self.cells = cells
        raw, tensor, stages, threads = self._raw, self._tensor, self._stages, self._threads
        for some in in_parts(stages.raw):
            volume.tensor(x, self._contrast, self._spacing, some, threads, raw, self._present)
            yield 8 * _size(some)
        passes = (raw, tensor, stages.blurred_once), (tensor, raw, stages.blurred_twice), (raw, tensor, stages.blurred)
        for axis, (source, target, spans) in enumerate(passes):
            for some in in_parts(spans):
                volume.blur(source, self._taps[axis], axis, some, threads, target)
                yield 2 * _size(some)
        if self._shares is not None:
            tensor /= self._shares
        for some in in_parts(stages.blurred):
            volume.orient(self._strength, 1 - SLACK * self.cells, some, threads, tensor)
            yield 8 * _size(some)

    def spread(self, out: NDArray[Any]) -> Iterator[int]:
        """Write the weights of voxels to out, shape (6, planes, rows, cols); yield the work that was done."""
        for some in in_parts(self._stages.weights):
            volume.spread(self._tensor, some, self._threads, out)
            yield _size(some)

    def energy(self, x: NDArray[Any]) -> float:
        """The energy of x with the weights of blocks as they stand."""
        spans = rows_of(x.shape[1:])
        fits = None if self._present is None else fits_of(self._present)
        sums, _ = scratch_of(spans)
        return float(volume.energy(x, self._tensor, self.cells, self._spacing, spans, self._threads, sums, fits))

    def densities(self, x: NDArray[Any], out: NDArray[Any]) -> Iterator[int]:
        """Write the energy of each voxel, the mean over the channels, to out; yield the work that was done."""
        for some in in_parts(rows_of(x.shape[1:])):
            sums, _ = scratch_of(some)
            volume.energy(x, self._tensor, self.cells, self._spacing, some, self._threads, sums, None, out)
            yield 6 * _size(some)


_SPANS_AT_ONCE = 2**20  # voxels, about, that are worked on before anybody looks up


def in_parts(spans: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Spans, some at a time."""
    longest = int((spans[:, 3] - spans[:, 2]).max(initial=1))
    count = max(_SPANS_AT_ONCE // longest, 1)
    for start in range(0, len(spans), count):
        yield spans[start : start + count]


def _size(spans: NDArray[np.int32]) -> int:
    return int((spans[:, 3] - spans[:, 2]).sum())


def scratch_of(spans: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """What kernels that sum, or count, over spans work in."""
    count = max(len(spans), 1)
    return np.empty(count), np.empty(count, np.intp)


class NeighbourDifferences:
    """Sums over the differences of neighbours, along each axis."""

    def __init__(self) -> None:
        self._lengths, self._squares, self._pairs, self._bends, self._triples = self._sums = np.zeros((5, 3))

    def add(
        self,
        x: NDArray[Any],
        free: NDArray[np.uint8],
        most: float,
        spans: NDArray[np.int32],
        threads: int,
        present: NDArray[np.uint8] | None = None,
    ) -> None:
        """Look at the voxels of some spans: those pairs of which one is free, none left out; see `volume.differences`.

        free has one mask, or one for each channel of x, shape (channels, planes, rows, cols).
        """
        scratch = np.empty((max(len(spans), 1), 15))
        self._sums += np.reshape(volume.differences(x, free, most, spans, threads, scratch, present), (5, 3))

    @property
    def contrast(self) -> float:
        """Their root mean square."""
        return math.sqrt(self._squares.sum() / max(self._pairs.sum(), 1))

    @property
    def evenness(self) -> float:
        """The square of their mean length over the mean of their squares, axis by axis; 0 if all are 0."""
        square = float(self._squares.sum())
        return float((self._lengths**2 / np.maximum(self._pairs, 1)).sum()) / square if square > 0 else 0.0

    @property
    def roughness(self) -> float:
        """The mean square of how much a difference differs from the next one, over that of differences."""
        bends = float(self._bends.sum()) / max(float(self._triples.sum()), 1.0)
        return bends / self.contrast**2 if self.contrast > 0 else 0.0

    @property
    def share_of_cells(self) -> float:
        """How smooth all of them are, from 0 to 1."""
        even = (self.evenness - UNEVEN) / (EVEN - UNEVEN)
        smooth = (ROUGH - self.roughness) / (ROUGH - SMOOTH)
        return min(max(even, 0.0), 1.0) * min(max(smooth, 0.0), 1.0)


_FEW = 0.1  # of the sectors of a grid
_LARGE = 2**22  # bytes, from which on NumPy asks for such pages


def array_for(shape: tuple[int, ...], dtype: DTypeLike, sectors: NDArray[np.uint8] | None) -> NDArray[Any]:
    """An array that holds anything, of which memory is taken where it is written to if few sectors are worked on.

    NumPy asks for pages of 2 megabytes, each of which is cleared as a whole when a byte of it is.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if sectors is None or size < _LARGE or np.count_nonzero(sectors) > _FEW * sectors.size:
        return np.empty(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)


def gaussian(sigma: float) -> NDArray[np.float64]:
    """The taps of a Gaussian from its centre on; with those on the other side their sum is 1."""
    # The C library's exp: NumPy's own rounds otherwise on some processors.
    radius = int(3 * sigma + 0.5)
    taps = np.array([math.exp(-0.5 * (k / sigma) * (k / sigma)) if k else 1.0 for k in range(radius + 1)])
    taps /= 2 * taps.sum() - taps[0]
    return taps


def _edge_weights(
    loss: Any,
    x: NDArray[Any],
    spacing: tuple[float, ...],
    threads: int,
    present: NDArray[np.uint8] | None = None,
    smooth: bool = True,
) -> EdgeWeights:
    weights = EdgeWeights(
        loss.contrast, loss.edge_strength, x.shape[1:], spacing, SPREAD, x.dtype, threads, present=present
    )
    differences = NeighbourDifferences()
    if smooth and present is None:
        differences.add(x, np.ones((1, *x.shape[1:]), np.uint8), 1.0, rows_of(x.shape[1:]), threads)
    for _ in weights.orient(x, differences.share_of_cells):
        pass
    return weights


def edge_energy(
    loss: Any,
    x: NDArray[Any],
    spacing: tuple[float, ...],
    threads: int,
    present: NDArray[np.uint8] | None = None,
    smooth: bool = True,
) -> float:
    """The energy of a volume, shape (channels, planes, rows, cols), by the loss `EdgeAligned`.

    Of what is present (1) alone, if that is given. Unless `smooth` is set cells have no share in it, whatever x is.
    """
    return _edge_weights(loss, x, spacing, threads, present, smooth).energy(x)


def edge_gradient(loss: Any, x: NDArray[Any], spacing: tuple[float, ...], threads: int, out: NDArray[Any]) -> None:
    """Write the gradient of that energy, its weights taken as fixed, to out."""
    m = np.empty((6, *x.shape[1:]), x.dtype)
    weights = _edge_weights(loss, x, spacing, threads)
    for _ in weights.spread(m):
        pass
    room = np.empty(volume.workspace(x.dtype == np.float32, threads), np.uint8)
    tiles = tiles_of(occupied(np.ones((1, *x.shape[1:]), np.uint8)), x.shape[3])
    volume.gradient(x, m, weights.cells, np.array(spacing), tiles, threads, room, out)


# ---- where voxels are left out ----

_LEAST_SHARE = 1e-6  # of what the tensor's Gaussian reaches, that is present


def fits_of(present: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Which second differences are left at each voxel, as the bits that `volume.step_sizes` tells.

    Those of unlike axes are left where nine voxels are, so that none reaches around a voxel that is left out.
    """
    three = [_three(present, axis) for axis in range(3)]
    fits = np.zeros(present.shape, np.uint8)
    for bit, left in enumerate(
        [*three, _three(three[0], 1), _three(three[0], 2), _three(three[1], 2)]  # in the order of the numbers of M
    ):
        fits |= left << bit
    return fits


def _three(flags: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    """1 where a voxel and both of its neighbours along an axis are 1; 0 at the border."""
    out = np.zeros_like(flags)
    inner, before, behind = ([slice(None)] * 3 for _ in range(3))
    inner[axis], before[axis], behind[axis] = slice(1, -1), slice(None, -2), slice(2, None)
    out[tuple(inner)] = flags[tuple(before)] & flags[tuple(inner)] & flags[tuple(behind)]
    return out


def means_over(x: NDArray[Any], blocks: tuple[int, ...]) -> NDArray[Any]:
    """The means of a volume over blocks, each axis of which is as long as the volume's, or half of it, rounded up."""
    for axis, (side, few) in enumerate(zip(x.shape, blocks, strict=True)):
        if few != side:
            sums = np.add.reduceat(x, np.arange(0, side, 2), axis=axis)
            counts = np.full(few, 2, x.dtype)
            counts[-1] = 2 - side % 2
            x = sums / counts.reshape([-1 if k == axis else 1 for k in range(3)])
    return x


# ---- where there is work ----

_CELL, _SECTOR = 8, 16  # planes and rows, and columns, of a cell of volume.pyx


def occupied(free: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Whether anything is free in each sector of a row, shape (planes, rows, sectors); free has any number of masks."""
    planes, rows, cols = free.shape[1:]
    sectors = -(-cols // _SECTOR)
    sectors -= cols % _SECTOR == 1 and sectors > 1
    out = np.empty((planes, rows, sectors), np.uint8)
    volume.occupied(free, out)
    return out


def tiles_of(sectors: NDArray[np.uint8], cols: int) -> NDArray[np.int32]:
    """The tiles in which something is free, shape (tiles, 6)."""
    planes, rows, count = sectors.shape
    strips = -(-rows // _CELL)
    out = np.empty((-(-planes // _CELL) * strips * count, 6), np.int32)
    scratch = np.empty((strips + 1) * count, np.int32)
    return out[: volume.tiles(sectors, cols, scratch, out)].copy()


def spans_of(sectors: NDArray[np.uint8], cols: int, width: int = _SECTOR) -> NDArray[np.int32]:
    """The runs of sectors, of so many columns each, as spans."""
    edges = np.diff(sectors.astype(np.int8), axis=2, prepend=0, append=0)
    planes, rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[2]
    spans = np.stack([planes, rows, width * starts, np.where(stops == sectors.shape[2], cols, width * stops)], -1)
    return spans.astype(np.int32)


def widened(sectors: NDArray[np.uint8], planes: int, rows: int, cols: int) -> NDArray[np.uint8]:
    """The sectors within so many planes, rows and sectors of those that are given."""
    for axis, reach in enumerate((planes, rows, cols)):
        side = sectors.shape[axis]
        moved, done = sectors, 0
        while done < reach:  # twice as far each time
            step = min(done + 1, reach - done, side)
            out = moved.copy()
            ahead = [slice(None)] * 3
            behind = [slice(None)] * 3
            ahead[axis], behind[axis] = slice(step, None), slice(None, side - step)
            out[tuple(ahead)] |= moved[tuple(behind)]
            out[tuple(behind)] |= moved[tuple(ahead)]
            moved, done = out, done + step
        sectors = moved
    return sectors


def stages_of(
    sectors: NDArray[np.uint8], shape: tuple[int, ...], spacing: tuple[float, ...], radii: list[int]
) -> Stages:
    """Where a renewal must work for the weights of what is in the sectors and around it."""
    if sectors.all():
        return Stages.everywhere(shape, spacing)
    blocks = block_shape(shape, spacing)
    wanted = widened(sectors, 1, 1, 1)
    joined = wanted
    for axis in (0, 1):
        if blocks[axis] != shape[axis]:
            joined = np.maximum.reduceat(joined, np.arange(0, shape[axis], 2), axis=axis)
    width = _SECTOR // 2 if blocks[2] != shape[2] else _SECTOR
    blurred = widened(joined, 1, 1, 1)
    twice = widened(blurred, 0, 0, -(-radii[2] // width))
    once = widened(twice, 0, radii[1], 0)
    raw = widened(once, radii[0], 0, 0)
    return Stages(
        raw=spans_of(raw, blocks[2], width),
        blurred_once=spans_of(once, blocks[2], width),
        blurred_twice=spans_of(twice, blocks[2], width),
        blurred=spans_of(blurred, blocks[2], width),
        weights=spans_of(wanted, shape[2]),
    )
