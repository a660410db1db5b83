"""Larger than memory: an image or a volume restored tile by tile, each with a halo, so that hardly a seam is left.

What a tile needs to know of the whole is found in a first pass, the survey: the unit and the range of the image, and
the means of its known pixels over cells of 16 along each axis. The image of these means, restored, tells what stands at
the outer rim of a halo where the void is wider than the halo; at all other places, the halo alone is enough.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import (
    as_array,
    as_flags,
    is_masked_array,
    looks_coloured,
    require_axis,
    require_callable,
    require_count,
    require_nonnegative,
    require_spacing,
)
from graddesc.losses import _Loss, _Name, by_name
from graddesc.losses.differences import Differences, EdgeAligned
from graddesc.losses.grids import in_least
from graddesc.losses.texture import TextureAdaptive
from graddesc.restoration import methods, solver
from graddesc.restoration.noise import as_deviations, as_huber, with_infinite
from graddesc.restoration.problem import Problem, Units, as_planes, fill_pyramid, fill_pyramid_volume, noisy
from graddesc.result import Result

if TYPE_CHECKING:
    Mask: TypeAlias = Any | Callable[[NDArray[Any]], NDArray[np.bool_]]

__all__ = ["restore"]

TILE, VOLUME_TILE = 1024, 128  # pixels along each side of an image's tile, and of a volume's
_LEAST_TILE, _LEAST_VOLUME_TILE = 64, 32
_RIM = 2  # pixels that a second difference reaches
_LEAST_DEPTH = 32
_BESIDE_HOLE = 16  # pixels of overlap that are enough where the mask is random
_SAMPLE = 2**16  # known pixels, about, that tell the unit
_SAMPLE_OF_PART = 2**12  # of them that a part of the image gives
_NEAR = 2.0  # pixels: nearer to a known pixel than so, the cells are too coarse to tell anything


# ---- where tiles stand ----


class Tile(NamedTuple):
    """What a tile restores, as slices along the axes of space, and what it reads."""

    inner: tuple[slice, ...]
    outer: tuple[slice, ...]

    @property
    def within(self) -> tuple[slice, ...]:
        """The inner pixels among the outer ones."""
        return tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(self.inner, self.outer, strict=True))


def cuts(side: int, tile: int) -> list[int]:
    """Where a side is cut into tiles, from 0 to its length: all of one size, but for the last, which is no smaller."""
    count = max(side // tile, 1)
    return [*range(0, count * tile, tile), side][: count + 1] if count > 1 else [0, side]


def tile_at(spans: Sequence[tuple[int, int]], shape: tuple[int, ...], depth: int) -> Tile:
    """The tile from these places to those, along each axis, with a halo of so many pixels inside the image."""
    inner = tuple(slice(*span) for span in spans)
    outer = tuple(
        slice(max(side.start - depth, 0), min(side.stop + depth, length))
        for side, length in zip(inner, shape, strict=True)
    )
    return Tile(inner, outer)


def tiles_of(shape: tuple[int, ...], tile: int, depth: int) -> list[Tile]:
    """The tiles of an image of this shape, row by row."""
    spans = (list(itertools.pairwise(cuts(side, tile))) for side in shape)
    return [tile_at(own, shape, depth) for own in itertools.product(*spans)]


def widest_hole(free: NDArray[np.bool_]) -> int:
    """How many pixels wide the widest hole of a mask is, about."""
    from scipy.ndimage import distance_transform_cdt

    if not free.any():
        return 0
    if free.all():
        return int(max(free.shape))
    distances: NDArray[np.int32] = distance_transform_cdt(free, "chessboard")
    return 2 * int(distances.max()) - 1


def depth_for(hole: int, tile: int, volume: bool = False) -> int:
    """The pixels of overlap where the widest hole is so wide: no more than a quarter of a tile.

    In volumes half of that is enough: known voxels are nearer.
    """
    halves = 2 if volume else 1
    return max(min(_BESIDE_HOLE // halves + hole, tile // 4), _LEAST_DEPTH // halves)


# ---- the survey ----


class Survey(NamedTuple):
    """What a part of an image tells of the whole.

    Attributes
    ----------
    sums, counts : ndarray of float64, shape (channels, rows, cols) of the cells, of a volume (channels, planes, ...)
        The sum of the known pixels of each cell, and how many there are.
    walls : ndarray of bool, shape (rows, cols) of the cells
        True where a cell has an ignored pixel: its mean may be of two sides of a wall.
    ends : list of ndarray of the image's dtype, shape (2,)
        The least and the greatest known pixel; empty if none is known: of all channels, and of each if there is a
        mask for each.
    samples : list of ndarray of the image's dtype, shape (n,)
        Some thousands of the known pixels, of the same channels.
    apart : bool
        Whether the masks of channels differ.
    corrupt : int
        The number of corrupt pixels of all channels.
    widest : int
        How wide the widest hole is, in pixels.
    variance : float
        The variances of the known pixels' noise, summed.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    walls: NDArray[np.bool_]
    ends: list[NDArray[Any]]
    samples: list[NDArray[Any]]
    apart: bool
    corrupt: int
    widest: int
    variance: float

    def digest(self) -> str:
        """What tells two images apart."""
        import hashlib  # which journals alone need

        values = (self.sums, self.counts, *self.ends, *self.samples, np.array(self.variance))
        return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in values)).hexdigest()[:16]


def survey(
    planes: NDArray[Any],
    free: NDArray[np.uint8],
    unknown: NDArray[np.bool_],
    cell: int,
    corner: tuple[int, ...],
    deviations: NDArray[np.float64] | None = None,
) -> Survey:
    """Look at a part of an image whose first row and column, at the corner, begin a cell.

    Parameters
    ----------
    planes : ndarray, shape (channels, rows, cols), of a volume (channels, planes, rows, cols)
    free : ndarray of uint8, shape (channels or 1, rows, cols)
        1 where a pixel is corrupt.
    unknown : ndarray of bool, shape (channels or 1, rows, cols)
        True where a pixel is corrupt or ignored.
    cell : int
        The side of a cell.
    corner : tuple of int
        Where the part begins in the image, which errors tell.
    deviations : ndarray of float64, shape (channels or 1, rows, cols) or (1, 1, 1), or None
        The standard deviations of the known pixels' noise.
    """
    known = np.broadcast_to(~unknown, planes.shape)
    if planes.dtype.kind == "f":
        bad = known & ~np.isfinite(planes)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            axes = ("plane", "row", "column")[-len(corner) :]
            where = ", ".join(f"{axis} {a + b}" for axis, a, b in zip(axes, corner, place[1:], strict=True))
            raise ValueError(f"image must be finite where it is known, got {planes[place]} at {where}")
    channels, *sides = planes.shape
    shape = channels, *(-(-side // cell) for side in sides)
    sums, counts, walls = np.zeros(shape), np.zeros(shape), np.zeros(shape[1:], bool)
    ignored = (unknown & (free == 0)).any(axis=0)
    for first in itertools.product(*(range(min(cell, side)) for side in sides)):  # in an order that no part changes
        some = np.s_[:, *(slice(start, None, cell) for start in first)]
        values, there = planes[some], known[some]
        at = np.s_[:, *(slice(side) for side in values.shape[1:])]
        np.add(sums[at], values, out=sums[at], where=there)
        counts[at] += there
        walls[at[1:]] |= ignored[some[1:]]
    told = [planes[known]]
    if len(free) > 1:
        told += [plane[there] for plane, there in zip(planes, known, strict=True)]
    ends = [_ends(values) for values in told]
    samples = [values[:: len(values) // _SAMPLE_OF_PART | 1] for values in told]  # odd, in step with few patterns
    corrupt = int(np.count_nonzero(free)) * (channels // len(free))
    variance = 0.0 if deviations is None else float(np.sum(np.square(np.broadcast_to(deviations, known.shape)[known])))
    widest = max(widest_hole(plane.view(bool)) for plane in free)
    apart = bool((free != free[0]).any())
    return Survey(sums, counts, walls, ends, samples, apart, corrupt, widest, variance)


def _ends(values: NDArray[Any]) -> NDArray[Any]:
    return np.array([values.min(), values.max()], values.dtype) if len(values) else values


def together(parts: Any) -> Survey:
    """The survey of a whole from those of its parts, in lists of lists of rows."""
    flat = list(_flat(parts))
    return Survey(
        np.block(_each(parts, lambda part: part.sums)),
        np.block(_each(parts, lambda part: part.counts)),
        np.block(_each(parts, lambda part: part.walls)),
        [_ends(np.concatenate(ends)) for ends in zip(*(part.ends for part in flat), strict=True)],
        [np.sort(np.concatenate(samples)) for samples in zip(*(part.samples for part in flat), strict=True)],
        any(part.apart for part in flat),
        sum(part.corrupt for part in flat),
        max(part.widest for part in flat),
        sum(part.variance for part in flat),
    )


def _flat(parts: Any) -> Iterator[Survey]:
    if isinstance(parts, Survey):
        yield parts
    else:
        for part in parts:
            yield from _flat(part)


def _each(parts: Any, get: Callable[[Survey], NDArray[Any]]) -> Any:
    """Lists of lists, of something of each part."""
    return get(parts) if isinstance(parts, Survey) else [_each(part, get) for part in parts]


class Overview:
    """What every tile knows of the whole image: its units, which bands are related, and what it looks like from afar.

    Parameters
    ----------
    found : Survey
        The survey of the whole.
    cell : int
        The side of a cell.
    loss : Differences or TextureAdaptive
        What is descended.
    bounds : pair of float or None
        As for `restore`.
    threads : int
        How many threads may restore the image of the cells.
    huber : float
        Standard deviations of the noise beyond which a pixel is an outlier; infinite where none is.
    spacing : tuple of float
        Of a volume, as a `Problem` has it; empty for an image.
    """

    def __init__(
        self,
        found: Survey,
        cell: int,
        loss: Any,
        bounds: Any,
        threads: int,
        huber: float,
        spacing: tuple[float, ...] = (),
    ) -> None:
        self._spacing = spacing
        if not found.counts.reshape(len(found.counts), -1).any(axis=1).all():
            channel = int(np.flatnonzero(~found.counts.reshape(len(found.counts), -1).any(axis=1))[0])
            where = f" in channel {channel}" if len(found.counts) > 1 else ""
            raise ValueError(f"mask must leave at least one pixel known, got none{where}")
        self.corrupt, self.widest = found.corrupt, found.widest
        deviation = math.sqrt(found.variance / found.counts.sum())
        self.is_noisy = deviation > 0
        # Channels with masks of their own are measured apart, unless there is noise.
        some = slice(1, None) if found.apart and deviation == 0 and not spacing else slice(1)
        told = list(zip(found.samples, found.ends, strict=True))[some]
        outliers = deviation > 0 and huber < math.inf
        self._each = [_units(sample, ends, bounds, deviation, outliers) for sample, ends in told]
        self._cell, self._walls = cell, found.walls
        self._near_wall = _beside(found.walls)
        unknown = found.counts == 0
        self._means: NDArray[Any] = np.divide(found.sums, found.counts, out=np.zeros_like(found.sums), where=~unknown)
        if unknown.any():
            self._restore_means(unknown, loss, threads)
        self._groups = self._related(unknown) if len(self._each) > 1 and not spacing else None

    def problem(
        self, planes: NDArray[Any], free: NDArray[np.uint8], ignored: NDArray[np.bool_] | None, threads: int
    ) -> Problem:
        """That of a tile: the units of bands and which of them are related are those of the whole image."""
        problem = Problem(planes, free, self._each[0], "pyramid", threads, ignored, spacing=self._spacing)
        if len(free) > 1 and not self._spacing:
            problem.each = [self.units_of(channel) for channel in range(len(free))]
            problem.groups = self._groups or [tuple(range(len(free)))]
        return problem

    def units_of(self, channel: int) -> Units:
        """The units of a channel."""
        return self._each[channel if len(self._each) > 1 else 0]

    def _related(self, unknown: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        """The groups of bands whose known cells go up and down together."""
        from graddesc.restoration.bands import groups_of  # which few images need

        x = np.empty(self._means.shape)
        for units, plane, out in zip(self._each, self._means, x, strict=True):
            units.to_run(plane, out)
        differences, known = [], np.count_nonzero(~unknown, axis=(1, 2)).astype(np.float64)
        for axis in (1, 2):
            d = np.diff(x, axis=axis)
            d[np.diff(unknown, axis=axis) | np.delete(unknown, 0, axis)] = 0
            differences.append(d.reshape(len(x), -1))
        return groups_of([(np.concatenate(differences, axis=1), known)])

    def _restore_means(self, unknown: NDArray[np.bool_], loss: Any, threads: int) -> None:
        """Restore the image of the cells, across no wall unless nothing would be known then."""
        space = tuple(range(1, unknown.ndim))
        walls = self._walls if (~unknown & ~self._walls).any(axis=space).all() else np.zeros_like(self._walls)
        own = loss if isinstance(loss, Differences) else EdgeAligned()
        units = Units.of(self._means, unknown.view(np.uint8), None, as_is=False, contrasts=True)
        free = unknown[:1] if (unknown == unknown[0]).all() else unknown
        free_cells: NDArray[np.uint8] = np.ascontiguousarray(free & ~walls).view(np.uint8)
        walled = walls if walls.any() else None
        problem = Problem(self._means, free_cells, units, "pyramid", threads, walled, spacing=self._spacing)
        steps, run = methods.begin(own, problem, None, solver.Limits(solver.MAX_ITER, own.default_tol, np.inf))
        run(None)
        problem.write(steps.pieces(), self._means)
        for plane, lost in zip(self._means, unknown & walls, strict=True):
            if lost.any():  # told only where nothing better is
                if self._spacing:
                    fill_pyramid_volume(plane, lost.view(np.uint8), self._spacing, threads)
                else:
                    fill_pyramid(plane, lost.view(np.uint8), threads)

    def tells(self, *places: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether no wall is near the cells that tell of pixels of the image, by their places along each axis."""
        return ~self._near_wall[tuple(along // self._cell for along in places)]

    def at(self, *places: NDArray[np.intp]) -> NDArray[Any]:
        """What the cells tell of pixels of the image, by linear interpolation, shape (channels, pixels)."""
        shares, sides = [], []
        for along, count in zip(places, self._means.shape[1:], strict=True):
            at = np.clip((along + 0.5) / self._cell - 0.5, 0, count - 1)
            first = np.minimum(at.astype(np.intp), max(count - 2, 0))
            shares.append(at - first)
            sides.append((first, np.minimum(first + 1, count - 1)))

        def between(plane: NDArray[Any], corner: tuple[NDArray[np.intp], ...]) -> NDArray[Any]:
            """The value among the cells that differ from a corner along the axes behind it."""
            axis = len(corner)
            if axis == len(shares):
                value: NDArray[Any] = plane[corner]
                return value
            near, far = (between(plane, (*corner, side)) for side in sides[axis])
            return near * (1 - shares[axis]) + far * shares[axis]

        return np.stack([between(plane, ()) for plane in self._means])


def _units(sample: NDArray[Any], ends: NDArray[Any], bounds: Any, deviation: float, outliers: bool) -> Units:
    """The units of an image of which a sorted sample is known, and the least and the greatest pixel."""
    sample = sample[:: max(len(sample) // _SAMPLE, 1)]  # every so many are a sample again
    sample = np.concatenate([ends[:1], sample, ends[1:]])[np.newaxis, np.newaxis]
    nothing = np.zeros(sample.shape, np.uint8)
    return Units.of(sample, nothing, bounds, as_is=False, contrasts=True, deviation=deviation, outliers=outliers)


def _beside(walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells that are walls, and those that touch one."""
    if not walls.any():
        return walls
    from scipy.ndimage import binary_dilation

    near: NDArray[np.bool_] = binary_dilation(walls, np.ones((3,) * walls.ndim, bool))
    return near


# ---- one tile ----


class Settings(NamedTuple):
    """How each tile is restored."""

    loss: Any
    channel_axis: int | None
    max_iter: int
    tol: float
    threads: int
    huber: float


class Restored(NamedTuple):
    """The inner pixels of a tile, in a new array, and how its run ended."""

    pixels: NDArray[Any]
    status: int
    message: str


_MOST_THREADS = 2**15  # that kernels are told of


def settings_of(
    loss: Any, channel_axis: int | None, max_iter: Any, tol: Any, threads: Any, is_noisy: bool, huber: Any
) -> Settings:
    """Check what a caller gave."""
    if isinstance(loss, str):
        loss = by_name(loss)  # type: ignore[arg-type]
    if isinstance(loss, type) or not isinstance(loss, Differences | TextureAdaptive):
        raise ValueError(
            "loss must be one of short reach, so that tiles can be restored apart: 'harmonic', 'biharmonic', 'tv', "
            f"'hessian-tv', 'edge' or 'texture', got {loss!r}"
        )
    default_tol = getattr(loss, "default_tol", 0.0)
    if is_noisy:
        methods.require_noisy(loss, None)
        default_tol = solver.NOISY_TOL
    limits = solver.Limits.of(max_iter, tol, None, None, 0.0, default_tol)
    count = min(require_count("threads", threads), _MOST_THREADS)
    return Settings(loss, channel_axis, limits.max_iter, limits.tol or 0.0, count, as_huber(huber))


def restore_tile(
    planes: NDArray[Any],
    free: NDArray[np.uint8],
    ignored: NDArray[np.bool_] | None,
    tile: Tile,
    shape: tuple[int, ...],
    overview: Overview,
    settings: Settings,
    deadline: float = np.inf,
    deviations: NDArray[np.float64] | None = None,
) -> Restored:
    """Restore the inner pixels of a tile.

    Parameters
    ----------
    planes : ndarray, shape (channels, rows, cols), of a volume (channels, planes, rows, cols)
        The outer pixels; not changed.
    free : ndarray of uint8, shape (channels or 1, rows, cols)
        1 where an outer pixel is corrupt; not changed.
    ignored : ndarray of bool, shape (rows, cols), or None
        True where an outer pixel is ignored.
    tile : Tile
        Where it stands.
    shape : tuple of int
        The image's along the axes of space.
    overview : Overview
        What is known of the whole.
    deviations : ndarray of float64, shape (channels or 1, rows, cols) or (1, 1, 1), or None
        The standard deviations of the outer pixels' noise; not changed.

    Returns
    -------
    Restored
    """
    axis = settings.channel_axis
    inner = (slice(None), *tile.within)
    if not free[inner].any() and deviations is None:
        return Restored(as_image_axes(planes[inner].copy(), axis), *solver.NOTHING)
    corrupt = free.view(bool)
    planes, free = planes.copy(), free.copy()
    if time.perf_counter() >= deadline:
        _pin(planes, free, free.view(bool).copy(), tile, overview)
        return Restored(as_image_axes(planes[inner], axis), *solver.TIME)
    _pin_rim(planes, free, tile, shape, overview)
    unknown = free.view(bool) if ignored is None else free.view(bool) | ignored
    blind = unknown.all(axis=tuple(range(1, unknown.ndim)), keepdims=True)
    if blind.any():
        # Only ignored pixels are at the rim, or the image is one tile: nothing of these channels is known.
        _pin(planes, free, free.view(bool) & blind, tile, overview)
    problem = overview.problem(planes, free, ignored, settings.threads)
    outcome = solver.NOTHING
    if deviations is not None:
        pinned = corrupt & ~free.view(bool)
        problem = noisy(problem, np.where(pinned, 0, deviations), settings.huber)
    if problem.free[inner].any():
        limits = solver.Limits(settings.max_iter, settings.tol, deadline)
        steps, run = methods.begin(settings.loss, problem, None, limits)
        outcome = run(None)
        problem.write(steps.pieces(), planes)
    return Restored(as_image_axes(planes[inner], axis), *outcome)


def as_image_axes(planes: NDArray[Any], channel_axis: int | None) -> NDArray[Any]:
    """Planes as the image that they are of."""
    return np.ascontiguousarray(planes[0] if channel_axis is None else np.moveaxis(planes, 0, channel_axis))


def _pin_rim(
    planes: NDArray[Any], free: NDArray[np.uint8], tile: Tile, shape: tuple[int, ...], overview: Overview
) -> None:
    """Give the corrupt pixels at the outer rim, but not at the image's, what the overview tells, and make them known.

    Those near a known pixel stay corrupt: the tile knows better.
    """
    rim = np.zeros(free.shape[1:], bool)
    for axis, (side, length) in enumerate(zip(tile.outer, shape, strict=True)):
        ends = np.moveaxis(rim, axis, 0)
        ends[:_RIM] |= side.start > 0
        ends[-_RIM:] |= side.stop < length
    pinned = rim & free.view(bool)
    if pinned.any():
        from scipy.ndimage import distance_transform_edt

        for plane, pins in zip(free, pinned, strict=True):
            if not plane.all():
                pins &= distance_transform_edt(plane) > _NEAR
        at_rim = np.nonzero(rim)
        told = overview.tells(*(at + side.start for at, side in zip(at_rim, tile.outer, strict=True)))
        pinned[:, *at_rim] &= told
        _pin(planes, free, pinned, tile, overview)


def _pin(
    planes: NDArray[Any], free: NDArray[np.uint8], pinned: NDArray[np.bool_], tile: Tile, overview: Overview
) -> None:
    """Give pixels what the overview tells, and make them known."""
    for channel, plane in enumerate(planes):
        mask = channel if len(free) > 1 else 0
        places = np.nonzero(pinned[mask])
        values = overview.at(*(at + side.start for at, side in zip(places, tile.outer, strict=True)))[channel]
        plane[places] = overview.units_of(channel).within(values)
    free[pinned] = 0


# ---- the whole ----


def restore(
    image: Any,
    mask: Mask | None = None,
    *,
    known: Mask | None = None,
    ignore: Mask | None = None,
    loss: _Name | _Loss = "edge",
    noise: Any = 0.0,
    huber: bool | float = False,
    tile: int | None = None,
    depth: int | Literal["auto"] = "auto",
    coarse: int = 16,
    max_iter: int | None = None,
    tol: float | None = None,
    max_time: float | None = None,
    bounds: tuple[float | None, float | None] | None = None,
    channel_axis: int | None = None,
    spacing: float | Sequence[float] | None = None,
    threads: int = 1,
    out: Any = None,
    journal: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
    full_output: bool = False,
) -> Any:
    """Restore an image tile by tile, in the memory that a few tiles take.

    The image is read twice, a tile at a time: first for its unit and range and the means of small cells, then to
    restore it. Each tile is restored with a halo; where a void is wider than that, the restored image of the cells
    tells what stands at the halo's rim. Known pixels stay as they are, to the bit.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or (planes, rows, cols), or with channels
        Anything with ``shape``, ``dtype`` and slices that NumPy can read: an ndarray, a memmap, an array of zarr or
        h5py. Integers or floats of at most 64 bits. Not changed, unless it is `out`, too.
    mask, known, ignore : array_like of bool or numbers, or callable, optional
        As for `graddesc.restore`, of the image's shape or of its axes of space; read a tile at a time. A callable
        gets the pixels of a tile and returns its flags: ``functools.partial(masks.detect, nodata=-9999)``. Without
        `mask` and `known`, NaN is corrupt in floats; integers need one of them.
    loss : str or loss of `graddesc.losses`, default "edge"
        Any but "line" and a callable, which join all pixels of a row.
    noise : float or array_like of float, default 0
        As for `graddesc.restore`; an array is read a tile at a time.
    huber : bool or float, default False
        As for `graddesc.restore`.
    tile : int, optional
        The side of a tile, by default 1024 and at least 64, of a volume's 128 and 32; those at the ends are larger, up
        to twice as long.
    depth : int or "auto", default "auto"
        The pixels of the halo on each side. "auto" takes 16 more than the widest hole of the mask, at least 32 and no
        more than a quarter of a tile; of a volume 8 more, at least 16.
    coarse : int, default 16
        The side of the cells, from 2 to 64.
    max_iter, tol, bounds, channel_axis, spacing : optional
        As for `graddesc.restore`; the first two are those of each tile. A volume in which channels have masks of their
        own is restored with the units of all of them together.
    max_time : float, optional
        Seconds at most; when they are over, the tiles that are left are filled from the cells, and status is 5.
    threads : int, default 1
        How many threads work on a tile.
    out : array_like, the image's shape and dtype, optional
        Where to write the result: anything that takes slices. By default a new ndarray. It may be `image` itself if
        an array tells what is corrupt.
    journal : path, optional
        A directory, made if need be, where each tile that has been written leaves a mark. A run that finds marks there
        leaves these tiles as they are in `out`, so that a run that was killed goes on where it was. Delete it after.
    progress : callable, optional
        Called as ``progress(done, tiles)`` before the first tile and after each.
    full_output : bool, default False
        Whether to return the second result as well.

    Returns
    -------
    restored : ndarray or `out`
        The restored image.
    info : graddesc.result.Result
        Only with `full_output`: ``x`` (the restored image), ``tiles`` (how many there are), and ``success``, ``status``
        and ``message`` as of `graddesc.restore`: those of the first tile that has not settled, if one has not.

    Raises
    ------
    TypeError, ValueError
        As `graddesc.restore` does, and if `journal` is of another run.

    Notes
    -----
    Pixels whose values depend on what is further away than the halo differ from those of one solve of the whole: with
    a random mask by less than the tolerance of a solve. The result depends on where the tiles stand, not on `threads`.
    With `noise` each tile finds its own balance, which depends on what is far away by the eighth root of an energy.

    Examples
    --------
    >>> import numpy as np
    >>> import graddesc
    >>> image = np.add.outer(np.arange(300.0), np.arange(200.0)) / 500
    >>> corrupted, mask = graddesc.masks.corrupt(image, missing=0.5, rng=0)
    >>> restored = graddesc.tiling.restore(corrupted, mask, tile=128)
    >>> bool(np.abs(restored - image).max() < 0.02)
    True
    """
    source = _Source(image, mask, known, ignore, channel_axis, noise, spacing)
    if tile is None:
        tile = VOLUME_TILE if source.spacing else TILE
    least = _LEAST_VOLUME_TILE if source.spacing else _LEAST_TILE
    settings = settings_of(loss, source.channel_axis, max_iter, tol, threads, source.is_noisy, huber)
    tile, cell = require_count("tile", tile, least=least), require_cell(coarse)
    tile = -(-tile // cell) * cell
    require_callable("progress", progress)
    started = time.perf_counter()
    deadline = np.inf if max_time is None else started + require_nonnegative("max_time", max_time)
    if out is None:
        if journal is not None:
            raise ValueError("out must be given with journal: it holds what an earlier run has written")
        out = np.empty(source.shape, source.dtype)
    elif not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        raise TypeError(f"out must be an array that takes slices, got {type(out).__name__}")
    elif tuple(out.shape) != source.shape or np.dtype(out.dtype) != source.dtype:
        raise ValueError(
            f"out must have shape {source.shape} and dtype {source.dtype}, got {out.shape} and {out.dtype}"
        )
    elif source.tells_by_values and (out is image or _overlap(out, image)):
        raise ValueError("out must be another array than image, whose corrupt pixels are found by their values")
    found = source.survey_of_all([cuts(side, tile) for side in source.plane], cell)
    if not found.variance:
        settings = settings_of(loss, source.channel_axis, max_iter, tol, threads, False, huber)
    overview = Overview(found, cell, settings.loss, bounds, settings.threads, settings.huber, source.spacing)
    if mask is None and known is None and not (overview.corrupt or source.is_noisy):
        raise ValueError("no pixel is NaN: give mask=...")
    reach = (
        depth_for(overview.widest, tile, bool(source.spacing))
        if isinstance(depth, str) and depth == "auto"
        else require_count("depth", depth, least=_RIM)
    )
    tiles = tiles_of(source.plane, tile, reach)
    done = Journal(journal, f"{source.shape} {source.dtype} {tile} {reach} {settings} {bounds} {found.digest()}")
    status, message = solver.NOTHING
    for k, each in enumerate(tiles):
        if progress is not None:
            progress(k, len(tiles))
        if done.has(k):
            earlier = done.told(k)
            status, message = earlier if status == 0 and earlier != solver.NOTHING else (status, message)
            continue
        planes, free, _, ignored, deviations = source.read(each.outer)
        restored = restore_tile(planes, free, ignored, each, source.plane, overview, settings, deadline, deviations)
        source.write(out, each.inner, restored.pixels)
        outcome = restored.status, restored.message
        if restored.status != solver.TIME[0]:
            if journal is not None and hasattr(out, "flush"):
                out.flush()
            done.note(k, outcome)
        if status == 0 and outcome != solver.NOTHING:
            status, message = outcome
    if progress is not None:
        progress(len(tiles), len(tiles))
    if not full_output:
        return out
    return out, Result(x=out, success=status == 0, status=status, message=message, tiles=len(tiles))


_BYTES, _VOLUME_BYTES = 64, 96  # that a solver takes for each pixel, or voxel, of single precision, at most


def tile_within(
    shape: tuple[int, ...], dtype: np.dtype[Any], channel_axis: int | None, memory: float, volume: bool = False
) -> int | None:
    """The side of the tiles of which one is solved within so many bytes; None if the whole image is.

    Raises
    ------
    ValueError
        If no tile is small enough.
    """
    single = dtype.itemsize <= (2 if dtype.kind in "iu" else 4)
    bytes_of = _VOLUME_BYTES if volume else _BYTES
    of_pixel = bytes_of * (1 if single else 2) * (1 if channel_axis is None else shape[channel_axis])
    if of_pixel * np.prod([float(n) for axis, n in enumerate(shape) if axis != channel_axis]) <= memory:
        return None
    # The last tile is up to twice as long, and a halo up to half of the least tile.
    axes, least = (3, _LEAST_VOLUME_TILE) if volume else (2, _LEAST_TILE)
    side = int((memory / of_pixel) ** (1 / axes) / 3) // least * least
    if side < least:
        tile = " by ".join([str(least)] * axes) + (" voxels" if volume else " pixels")
        raise ValueError(f"a tile of {tile} takes more than {memory:.0f} bytes of memory")
    return min(side, TILE)


def _overlap(a: Any, b: Any) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)


def require_cell(coarse: Any) -> int:
    """Return the side of a cell."""
    cell = require_count("coarse", coarse, least=2)
    if cell > 64:
        raise ValueError(f"coarse must be an integer from 2 to 64, got {coarse!r}")
    return cell


def as_relative(spacing: float | Sequence[float] | None, shape: tuple[int, ...]) -> tuple[float, ...]:
    """The spacing of an image or volume as a `Problem` has it.

    Images in tiles have pixels that are squares.
    """
    distances = require_spacing(1 if spacing is None else spacing, len(shape))
    if len(shape) == 2:
        if min(distances) < max(distances):
            raise ValueError(f"spacing must be the same along both axes of an image in tiles, got {spacing!r}")
        return ()
    return in_least(distances, shape)


class _Source:
    """An image with its flags, of which parts are read."""

    def __init__(
        self,
        image: Any,
        mask: Any,
        known: Any,
        ignore: Any,
        channel_axis: int | None,
        noise: Any = 0.0,
        spacing: float | Sequence[float] | None = None,
    ) -> None:
        if mask is not None and known is not None:
            raise ValueError("mask and known must not both be given")
        if is_masked_array(image):
            raise TypeError("image must not be a masked array: give image.data, and image.mask as mask")
        if not all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__")):
            image = as_array("image", image)
        self.shape, self.dtype = tuple(int(side) for side in image.shape), np.dtype(image.dtype)
        wanted = "image must be of integers or of floats of at most 64 bits"
        if self.dtype.kind not in "iuf" or self.dtype.itemsize > 8:
            raise TypeError(f"{wanted}, got {self.dtype}")
        ndim = len(self.shape) - (channel_axis is not None)
        if ndim not in (2, 3) or 0 in self.shape:
            wanted = "2-D or 3-D" if channel_axis is None else "3-D or 4-D with channel_axis"
            raise ValueError(f"image must be {wanted}, got shape {self.shape}")
        if channel_axis is None and looks_coloured(self.shape) and spacing is None:
            raise ValueError(
                f"image of shape {self.shape} looks like one with channels: give channel_axis=-1, or"
                " spacing=(1, 1, 1) if it is a volume"
            )
        self.channel_axis = (
            None if channel_axis is None else require_axis("channel_axis", channel_axis, len(self.shape))
        )
        self.plane = tuple(side for axis, side in enumerate(self.shape) if axis != self.channel_axis)
        self.spacing = as_relative(spacing, self.plane)
        noise = as_array("noise", noise) if isinstance(noise, list | tuple) else noise
        self._noise = noise if np.ndim(noise) > 0 else as_deviations(noise, self.shape, self.channel_axis)
        self.is_noisy = self._noise is not None
        if np.ndim(noise) > 0:
            if not hasattr(noise, "shape"):
                self._noise = noise = np.asarray(noise)
            if tuple(noise.shape) not in {self.plane, self.shape}:
                wanted = f"{self.plane}" + (f" or {self.shape}" if self.plane != self.shape else "")
                raise ValueError(f"noise must be a number or have shape {wanted}, got shape {tuple(noise.shape)}")
        if self.is_noisy and ignore is not None:
            methods.require_noisy(EdgeAligned(), ignore)
        if mask is None and known is None and self.dtype.kind != "f" and not self.is_noisy:
            raise ValueError(
                f"mask must be given, or known in its place, for an image of {self.dtype}, got None for both"
            )
        self._image = image
        self.tells_by_values = (mask is None and known is None) or callable(mask) or callable(known)
        self._flags = {"mask": mask, "known": known, "ignore": ignore}
        for name, flags in self._flags.items():
            if flags is None or callable(flags):
                continue
            if not hasattr(flags, "shape"):
                self._flags[name] = flags = as_array(name, flags)
            if tuple(flags.shape) not in {self.plane, self.shape if name != "ignore" else self.plane}:
                more = self.plane != self.shape and name != "ignore"
                wanted = f"{self.plane}" + (f" or {self.shape}" if more else "")
                raise ValueError(f"{name} must have shape {wanted}, got {tuple(flags.shape)}")

    def _part(self, array: Any, ndim: int, where: tuple[slice, ...]) -> NDArray[Any]:
        """The part of something that is of the image's shape, or of its axes of space."""
        some: list[slice] = list(where)
        if self.channel_axis is not None and ndim == len(self.shape):
            some.insert(self.channel_axis, slice(None))
        return np.asarray(array[tuple(some)])

    def read(
        self, where: tuple[slice, ...]
    ) -> tuple[
        NDArray[Any],
        NDArray[np.uint8],
        NDArray[np.bool_],
        NDArray[np.bool_] | None,
        NDArray[np.float64] | None,
    ]:
        """The planes of a part, its corrupt pixels, those that are corrupt or ignored, those ignored, and the noise."""
        pixels = self._part(self._image, len(self.shape), where)
        told = {name: self._flags_of(name, flags, pixels, where) for name, flags in self._flags.items()}
        corrupt = told["mask"]
        if corrupt is None:
            corrupt = np.isnan(pixels) if told["known"] is None else ~told["known"]
        elif pixels.dtype.kind == "f" and callable(self._flags["mask"]):
            missing = np.isnan(pixels)
            if missing.any():
                if corrupt.ndim < missing.ndim:
                    corrupt = np.expand_dims(corrupt, self.channel_axis or 0)
                corrupt = corrupt | missing
        deviations = self._noise
        if deviations is not None and tuple(deviations.shape) != (1, 1, 1):
            some = self._part(deviations, len(deviations.shape), where)
            deviations = as_deviations(some, pixels.shape, self.channel_axis)
        return part_of(as_planes(pixels, self.channel_axis), corrupt, told["ignore"], self.channel_axis, deviations)

    def survey_of_all(self, ends: list[list[int]], cell: int) -> Survey:
        """The survey of the whole, part by part, which end so along each axis."""

        def surveys(where: tuple[slice, ...]) -> Any:
            if len(where) == len(ends):
                planes, free, unknown, _, deviations = self.read(where)
                return survey(planes, free, unknown, cell, tuple(side.start for side in where), deviations)
            return [surveys((*where, slice(*span))) for span in itertools.pairwise(ends[len(where)])]

        return together(surveys(()))

    def _flags_of(self, name: str, flags: Any, pixels: NDArray[Any], where: tuple[slice, ...]) -> Any:
        if flags is None:
            return None
        if callable(flags):
            given = as_flags(name, flags(pixels))
            plane = pixels.shape if self.channel_axis is None else as_planes(pixels, self.channel_axis).shape[1:]
            if given.shape not in (plane, pixels.shape):
                raise ValueError(f"{name} must return flags of shape {pixels.shape}, got {given.shape}")
            return given
        return as_flags(name, self._part(flags, len(flags.shape), where))

    def write(self, out: Any, where: tuple[slice, ...], restored: NDArray[Any]) -> None:
        """Write a part of the result."""
        some: list[slice] = list(where)
        if self.channel_axis is not None:
            some.insert(self.channel_axis, slice(None))
        out[tuple(some)] = restored


def part_of(
    planes: NDArray[Any],
    corrupt: NDArray[np.bool_],
    ignore: NDArray[np.bool_] | None,
    channel_axis: int | None,
    deviations: NDArray[np.float64] | None,
) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_] | None, NDArray[np.float64] | None]:
    """A part of an image as `survey` and `restore_tile` take it, with what is ignored, or None where nothing is."""
    corrupt = as_planes(corrupt, None if corrupt.ndim < planes.ndim else channel_axis)
    free = np.array(corrupt, order="C")
    if deviations is not None:
        free = with_infinite(free.view(np.uint8), deviations, ignore).view(bool)
    if ignore is not None and ignore.any():
        free[:, ignore] = False
        return planes, free.view(np.uint8), free | ignore, ignore, deviations
    return planes, free.view(np.uint8), free, None, deviations


class Journal:
    """Which tiles have been written, and how they ended: files in a directory, or nothing where there is none."""

    def __init__(self, directory: str | os.PathLike[str] | None, run: str) -> None:
        self._directory = None if directory is None else os.fspath(directory)
        self._done: set[str] = set()
        if self._directory is None:
            return
        os.makedirs(self._directory, exist_ok=True)
        self._done = {name for name in os.listdir(self._directory) if name.endswith(".done")}
        told = os.path.join(self._directory, "run.txt")
        if os.path.exists(told):
            if (before := _text(told)) != run:
                raise ValueError(f"journal must be of this run ({run}), got one of another ({before})")
        elif self._done:
            raise ValueError(f"journal must be of this run ({run}), got one of an unknown run")
        else:
            _write_whole(told, run)

    def has(self, tile: object) -> bool:
        """Whether this tile has been written before."""
        return f"{tile}.done" in self._done

    def told(self, tile: object) -> solver.Outcome:
        """How a tile ended that has been written before."""
        assert self._directory is not None
        status, message = _text(os.path.join(self._directory, f"{tile}.done")).split("\n", 1)
        return int(status), message

    def note(self, tile: object, outcome: solver.Outcome) -> None:
        """Say that a tile has been written."""
        if self._directory is not None:
            self.mark(self._directory, tile, outcome)

    @staticmethod
    def mark(directory: str | os.PathLike[str], tile: object, outcome: solver.Outcome = solver.NOTHING) -> None:
        """Leave the mark of a tile."""
        _write_whole(os.path.join(directory, f"{tile}.done"), "\n".join(map(str, outcome)))


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _write_whole(path: str, text: str) -> None:
    """Write a file that is there whole or not at all."""
    beside = os.path.splitext(path)[0] + ".tmp"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(beside, path)
