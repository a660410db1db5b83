"""Images that stay lazy: `restore` for arrays of Dask. It needs the extra ``dask``."""

from __future__ import annotations

import functools
import itertools
import mmap
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

try:
    import dask as _dask
    import dask.array as _array
    from dask._task_spec import Alias, DataNode, Task, TaskRef, convert_legacy_graph
    from dask.highlevelgraph import HighLevelGraph
except ImportError as error:
    raise ImportError("graddesc.dask needs dask: pip install 'graddesc[dask]'") from error

from graddesc.arguments import are_distances_along, as_array, as_flags, require_axis, require_count, require_spacing
from graddesc.losses import _Loss, _Name
from graddesc.losses.differences import EdgeAligned
from graddesc.restoration.api import restore as restore_array
from graddesc.restoration.methods import require_noisy
from graddesc.restoration.noise import as_deviations
from graddesc.restoration.problem import as_planes
from graddesc.restoration.tiling import (
    TILE,
    VOLUME_TILE,
    Journal,
    Overview,
    Settings,
    Survey,
    as_relative,
    cuts,
    depth_for,
    part_of,
    require_cell,
    restore_tile,
    settings_of,
    survey,
    tile_at,
    together,
    widest_hole,
)

__all__ = ["restore", "store"]

dask: Any = _dask  # hardly typed
da: Any = _array

_LAZY_DEPTH = 64  # where the mask is not in memory, so that its widest hole is not known


class _Told(NamedTuple):
    """Flags as a dask array of bool, or deviations as one of float64, and the axes of the image that they have."""

    array: Any
    axes: tuple[int, ...]

    def of_frame(self, k: tuple[int, ...]) -> Any:
        """The flags of a frame, which may be those of all."""
        return self.array[k] if k and self.axes[0] == 0 else self.array


_Flags = dict[str, _Told]  # mask, known, ignore and an array of noise, those of them that are given


def restore(
    image: Any,
    mask: Any = None,
    *,
    known: Any = None,
    ignore: Any = None,
    loss: _Name | _Loss = "edge",
    noise: Any = 0.0,
    huber: bool | float = False,
    depth: int | Literal["auto"] = "auto",
    coarse: int = 16,
    exact: bool = False,
    max_iter: int | None = None,
    tol: float | None = None,
    bounds: tuple[float | None, float | None] | None = None,
    channel_axis: int | None = None,
    spacing: float | Sequence[float] | None = None,
    threads: int = 1,
) -> Any:
    """Restore a Dask array without computing it: tiles with halos, or frames.

    Parameters
    ----------
    image : dask array, or DataArray that holds one, shape (..., rows, cols), with channels or not
        Of integers or floats of at most 64 bits. Leading axes are frames, each restored as if it were alone. With
        three numbers of `spacing` it is a volume, shape (..., planes, rows, cols). A DataArray comes back as one.
    mask, known, ignore : array_like or dask array of bool or numbers, optional
        As for `graddesc.restore`: of the image's shape, or of its last axes. Without `mask` and `known`, NaN is corrupt
        in floats; integers need one of them.
    loss : str or loss of `graddesc.losses`, default "edge"
        Any for frames that are one chunk each; for tiles any but "line" and a callable, which join all pixels of a row.
    noise : float, or array_like or dask array of float, default 0
        As for `graddesc.restore`: a number, or of the image's shape, or of its last axes.
    huber : bool or float, default False
        As for `graddesc.restore`.
    depth : int or "auto", default "auto"
        The pixels that tiles overlap on each side. "auto" takes 16 more than the widest hole of a mask that is in
        memory, at least 32 and no more than a quarter of a chunk or 64, and 64 where the mask is lazy; of a volume it
        takes 8 more, at least 16, and 32 where the mask is lazy.
    coarse : int, default 16
        The side of the cells, from 2 to 64, whose means tell what stands at the rim of a halo in wide voids.
    exact : bool, default False
        Whether the result has the same bits for all chunks, for one `depth`: "auto" is another where the mask is lazy.
        Tiles then stand where the image's shape alone says.
    max_iter, tol, bounds, channel_axis, threads : optional
        As for `graddesc.restore`; `channel_axis` counts all axes of `image`, and `threads` work on each task.
    spacing : float or sequence of float, optional
        The distance of neighbours along each axis of space: three numbers tell that the last three axes (beside that
        of channels) are those of a volume. Those of images must be equal where they are restored in tiles.

    Returns
    -------
    dask array, or DataArray
        The restored image, lazy, in the chunks of `image`.

    Raises
    ------
    TypeError
        If `image` is not lazy.
    ValueError
        If shapes do not fit, or a number is out of its range. What the pixels themselves bring up, such as that none is
        known, is raised when the result is computed.

    See Also
    --------
    graddesc.tiling.restore : The same for one process, on anything that takes slices.
    store : Writes a lazy array so that a run that was killed goes on where it was.

    Notes
    -----
    The image is read, and what it is made of computed, twice: for a survey of all of it, and then for its tiles. So a
    worker holds a few rows of chunks, however large the image is. What is dear to compute is best stored before.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import graddesc.dask
    >>> image = np.add.outer(np.arange(300.0), np.arange(200.0)) / 500
    >>> corrupted, mask = graddesc.masks.corrupt(image, missing=0.5, rng=0)
    >>> lazy = graddesc.dask.restore(da.from_array(corrupted, chunks=128), mask)
    >>> bool(np.abs(lazy.compute() - image).max() < 0.02)
    True
    """
    data, close = _opened(image)
    if mask is not None and known is not None:
        raise ValueError("mask and known must not both be given")
    if data.dtype.kind not in "iuf" or data.dtype.itemsize > 8:
        raise TypeError(f"image must be of integers or of floats of at most 64 bits, got {data.dtype}")
    noise = as_array("noise", noise) if isinstance(noise, list | tuple) else noise
    many = np.ndim(noise) > 0
    number = 0.0 if many else noise
    if isinstance(noise, np.ndarray):
        is_noisy = bool(noise.any())
    else:
        is_noisy = many or as_deviations(number, (1, 1), None) is not None
    if is_noisy and ignore is not None:
        require_noisy(EdgeAligned(), ignore)
    if mask is None and known is None and data.dtype.kind != "f" and not is_noisy:
        raise ValueError(f"mask must be given, or known in its place, for an image of {data.dtype}, got None for both")
    axis = None if channel_axis is None else require_axis("channel_axis", channel_axis, data.ndim)
    space = 3 if are_distances_along(spacing, 3) else 2
    distances = require_spacing(1 if spacing is None else spacing, space)
    planar = space + (axis is not None)
    if data.ndim < planar or 0 in data.shape or any(np.isnan(side) for side in data.shape):
        wanted = f"{space}-D, or {space + 1}-D with channel_axis, behind any axes of frames, of known sides"
        raise ValueError(f"image must be {wanted}, got shape {data.shape}")
    frames = data.shape[: data.ndim - planar]
    if axis is not None:
        axis -= len(frames)
        if axis < 0:
            last = "three" if space == 2 else "four"
            raise ValueError(f"channel_axis must be one of the last {last} axes of image, got {channel_axis}")
    cell = require_cell(coarse)
    if not isinstance(depth, str) or depth != "auto":
        depth = require_count("depth", depth, least=2)
    given = {"mask": mask, "known": known, "ignore": ignore, "noise": noise if many else None}
    flags = {
        name: _as_lazy_flags(name, told, image, data, len(frames), axis)
        for name, told in given.items()
        if told is not None
    }
    require_count("threads", threads)
    if frames and not exact and all(data.numblocks[k] == 1 for k in range(len(frames), data.ndim)):
        options: dict[str, Any] = {"loss": loss, "max_iter": max_iter, "tol": tol, "bounds": bounds, "threads": threads}
        options |= {"huber": huber} if many else {"huber": huber, "noise": number}
        options["spacing"] = distances
        return close(_of_dtype(_frame_by_frame(data, flags, len(frames), axis, options), data.dtype))
    settings = settings_of(loss, axis, max_iter, tol, threads, is_noisy, huber)
    # An array of noise may yet be 0 wherever something is known.
    of_exact = settings_of(loss, axis, max_iter, tol, threads, False, huber)
    plane = tuple(side for k, side in enumerate(data.shape[len(frames) :]) if k != axis)
    relative = as_relative(distances, plane)
    if isinstance(depth, str):
        longest = max(max(sizes) for k, sizes in enumerate(data.chunks) if k != channel_axis)
        sides = _tile_of(relative) if exact else longest
        depth = _depth_for(mask if known is None else known, known is not None, sides, flags, len(frames), axis, space)
    restored = np.empty(frames, object)
    for k in np.ndindex(frames):
        own = {name: told.of_frame(k) for name, told in flags.items()}
        restored[k] = _in_tiles(data[k], own, number, (settings, of_exact), cell, depth, exact, bounds, relative)
    return close(_of_dtype(_stacked(restored).rechunk(data.chunks), data.dtype))


def store(restored: Any, target: Any, journal: str | os.PathLike[str]) -> None:
    """Compute a lazy array chunk by chunk into a target, so that a run that was killed goes on where it was.

    Parameters
    ----------
    restored : dask array
        What `restore` returned, or any other.
    target : array_like, the shape of `restored`
        An array of zarr, whose chunks must lie within those of `restored`, as two tasks must not write to one; a
        writeable memmap; or anything else that takes slices and that all workers reach.
    journal : path
        A directory that all workers reach, made if need be, where each chunk that has been written leaves a mark.
        Chunks that have one are not computed again: of another run, shape, dtype and chunks alone are told apart.
        Delete it after.

    Raises
    ------
    ValueError
        If target and chunks do not fit, or `journal` is of another run.

    Examples
    --------
    >>> import tempfile
    >>> import dask.array as da
    >>> import numpy as np
    >>> import graddesc.dask
    >>> target = np.empty((4, 4))
    >>> with tempfile.TemporaryDirectory() as journal:
    ...     graddesc.dask.store(da.ones((4, 4), chunks=2), target, journal)
    >>> float(target.sum())
    16.0
    """
    if not isinstance(restored, da.Array):
        raise TypeError(f"restored must be a dask array, got {type(restored).__name__}")
    if tuple(target.shape) != restored.shape:
        raise ValueError(f"target must have shape {restored.shape}, got {tuple(target.shape)}")
    ends = [np.cumsum(sizes) for sizes in restored.chunks]
    chunks = getattr(target, "shards", None) or getattr(target, "chunks", None)
    if chunks is not None:
        for axis, (own, side) in enumerate(zip(ends, chunks, strict=True)):
            if (own[:-1] % side).any():
                raise ValueError(
                    f"target must have chunks that lie within those of restored, got {side} beside "
                    f"{restored.chunks[axis]} along axis {axis}: restored.rechunk({tuple(chunks)}) is one way"
                )
    # A memmap that is pickled would become a copy.
    written: Any = _Memmap(target) if isinstance(target, np.memmap) else target
    marks = Journal(journal, f"{restored.shape} {restored.dtype} {restored.chunks}")
    tasks = []
    for place, block in np.ndenumerate(restored.to_delayed()):
        mark = "-".join(map(str, place))
        if not marks.has(mark):
            where = tuple(
                slice(int(end[k] - sizes[k]), int(end[k]))
                for k, end, sizes in zip(place, ends, restored.chunks, strict=True)
            )
            tasks.append(dask.delayed(_write)(block, written, where, os.fspath(journal), mark))
    dask.compute(*tasks)


class _Memmap:
    """A memmap as it is opened anew where it is written."""

    def __init__(self, target: Any) -> None:
        if not (target.flags.writeable and target.mode in ("r+", "w+") and isinstance(target.base, mmap.mmap)):
            raise ValueError(
                f"target must be a whole memmap of mode 'r+' or 'w+', got a part, or one of mode {target.mode!r}"
            )
        self._options = {
            "filename": target.filename, "dtype": target.dtype, "shape": target.shape, "offset": target.offset,
            "order": "C" if target.flags.c_contiguous else "F",
        }  # fmt: skip

    def __setitem__(self, where: Any, values: Any) -> None:
        opened = np.memmap(mode="r+", **self._options)
        opened[where] = values
        opened.flush()


def _write(block: Any, target: Any, where: tuple[slice, ...], journal: str, mark: str) -> None:
    target[where] = block
    Journal.mark(journal, mark)


# ---- what is given ----


def _opened(image: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The dask array that holds an image, and what makes of another one what the image was."""
    data = getattr(image, "data", None)
    if isinstance(data, da.Array) and hasattr(image, "dims") and hasattr(image, "copy"):
        return data, lambda restored: image.copy(data=restored)
    if not isinstance(image, da.Array):
        raise TypeError(f"image must be a dask array, got {type(image).__name__}: graddesc.restore takes it")
    return image, lambda restored: restored


def _as_lazy_flags(name: str, given: Any, image: Any, data: Any, n_frames: int, axis: int | None) -> _Told:
    """Flags in chunks of the image's, of its shape, or without frames, or without channels, or both."""
    if hasattr(given, "dims") and hasattr(given, "data"):
        if hasattr(image, "dims"):
            given = given.transpose(*(dim for dim in image.dims if dim in given.dims))
        given = given.data
    lazy = isinstance(given, da.Array)
    dtype = np.dtype(np.float64 if name == "noise" else bool)
    convert = _as_float64 if name == "noise" else functools.partial(as_flags, name)
    flags: Any = given if lazy else convert(given)
    if flags.dtype.kind not in ("uif" if name == "noise" else "buif"):
        wanted = "of numbers" if name == "noise" else "of bool or of numbers that are zero or not"
        raise TypeError(f"{name} must be {wanted}, got {flags.dtype}")
    channels: set[int] = set() if axis is None else {n_frames + axis}
    kinds = [set(), set(range(n_frames)), channels, set(range(n_frames)) | channels]
    for left_out in kinds[2:] if name == "ignore" else kinds:  # a pixel is ignored in all channels
        axes = [k for k in range(data.ndim) if k not in left_out]
        if flags.shape == tuple(data.shape[k] for k in axes):
            chunks = tuple(data.chunks[k] for k in axes)
            flags = flags if lazy else da.from_array(flags, chunks=chunks)
            if flags.dtype != dtype:
                flags = flags.map_blocks(convert, dtype=dtype, meta=np.empty(0, dtype))
            return _Told(flags.rechunk(chunks), tuple(axes))
    raise ValueError(f"{name} must have shape {data.shape}, or that of its last axes, got {flags.shape}")


def _as_float64(values: Any) -> NDArray[np.float64]:
    """Numbers as float64; others as they are, to be refused."""
    array = np.asarray(values)
    return array.astype(np.float64) if array.dtype.kind in "uif" else array


# ---- frames that are one chunk each ----


def _frame_by_frame(data: Any, flags: _Flags, n_frames: int, axis: int | None, options: dict[str, Any]) -> Any:
    every = tuple(range(data.ndim))
    given = itertools.chain.from_iterable(flags.values())
    kinds = [(name, told.axes[0] == 0) for name, told in flags.items()]
    return da.blockwise(
        _restore_frames, every, data, every, *given, kinds=kinds, n_frames=n_frames, axis=axis, options=options,
        dtype=data.dtype, meta=np.empty((0,) * data.ndim, data.dtype), concatenate=True, align_arrays=False,
    )  # fmt: skip


def _restore_frames(
    pixels: NDArray[Any],
    *told: NDArray[np.bool_],
    kinds: list[tuple[str, bool]],
    n_frames: int,
    axis: int | None,
    options: dict[str, Any],
) -> NDArray[Any]:
    """Restore the frames of a chunk; of each kind of flags it is said whether they have frames, too."""
    shape = pixels.shape
    pixels = pixels.reshape(-1, *shape[n_frames:])
    given: dict[str, Any] = {
        name: flags.reshape(-1, *flags.shape[n_frames:]) if own else flags
        for (name, own), flags in zip(kinds, told, strict=True)
    }
    if "mask" not in given and "known" not in given:
        given["mask"] = np.isnan(pixels)
    own_axis = None if axis is None else axis + 1
    restored: NDArray[Any] = restore_array(pixels, frame_axis=0, channel_axis=own_axis, **given, **options)
    return restored.reshape(shape)


# ---- tiles ----


def _depth_for(
    given: Any, complement: bool, chunk: int, flags: _Flags, n_frames: int, axis: int | None, dims: int
) -> int:
    """The overlap where none is told: by the widest hole, if the flags are in memory."""
    if given is None or isinstance(getattr(given, "data", given), da.Array) or isinstance(given, da.Array):
        return _LAZY_DEPTH // (dims - 1)
    axes = flags["known" if complement else "mask"].axes
    space = [axes.index(k) for k in axes if k >= n_frames and k - n_frames != axis]
    corrupt = as_flags("mask", given) != complement
    planes = np.moveaxis(corrupt, space, range(-len(space), 0)).reshape(-1, *(corrupt.shape[k] for k in space))
    return depth_for(max(map(widest_hole, planes)), max(chunk, 4 * _LAZY_DEPTH), len(space) == 3)


def _tile_of(spacing: tuple[float, ...]) -> int:
    """The side of the tiles whose places do not depend on chunks."""
    return VOLUME_TILE if spacing else TILE


def _in_tiles(
    data: Any,
    flags: dict[str, Any],
    noise: Any,
    either: tuple[Settings, Settings],
    cell: int,
    depth: int,
    exact: bool,
    bounds: Any,
    spacing: tuple[float, ...],
) -> Any:
    """Restore an image without frames in tiles, which are its chunks unless these are too small.

    The settings are those where known pixels are noisy as told, and those where they turn out to be exact.
    """
    settings, _ = either
    axis = settings.channel_axis
    dims = 3 if spacing else 2
    space = _space_of(data, axis, dims)
    shape = tuple(data.shape[k] for k in space)
    # Chunks that begin in the middle of a cell, or are smaller than a halo, are joined.
    least = max(4 * cell, 2 * depth)
    ends = [
        cuts(side, -(-_tile_of(spacing) // cell) * cell) if exact else _joined(data.chunks[k], cell, least)
        for side, k in zip(shape, space, strict=True)
    ]
    spans = [list(itertools.pairwise(own)) for own in ends]
    counts = [len(own) for own in spans]
    cut = [span for own in spans if len(own) > 1 for span in own]
    depth = min([depth, *(end - start for start, end in cut)])
    names = list(flags)
    arrays = [_in_chunks(told, ends, axis) for told in (data, *flags.values())]
    blocks = [_blocks_of(array, axis, dims) for array in arrays]
    surveys = np.empty(counts, object)
    for at in np.ndindex(*counts):
        corner = tuple(own[k][0] for own, k in zip(spans, at, strict=True))
        read = (own[at] for own in blocks)
        surveys[at] = dask.delayed(_survey, pure=True)(*read, names, noise, axis, cell, corner)
    overview = dask.delayed(_overview, pure=True)(surveys.tolist(), cell, settings, bounds, spacing)
    if len(surveys.flat) > 1:
        arrays = [_read_again(array, overview) for array in arrays]
    with_halos = [_blocks_of(_with_halos(array, axis, dims, depth), axis, dims) for array in arrays]

    def restored(at: tuple[int, ...]) -> Any:
        tile = tile_at([own[k] for own, k in zip(spans, at, strict=True)], shape, depth)
        read = (own[at] for own in with_halos)
        task = dask.delayed(_restore_tile, pure=True)(*read, names, noise, tile, shape, overview, either)
        sides = [side.stop - side.start for side in tile.inner]
        if axis is not None:
            sides.insert(axis, data.shape[axis])
        return da.from_delayed(task, tuple(sides), meta=np.empty((0,) * data.ndim, data.dtype))

    def joined(at: tuple[int, ...]) -> Any:
        """The tiles whose first places are these, joined along the axes that follow."""
        if len(at) == dims:
            return restored(at)
        return da.concatenate([joined((*at, k)) for k in range(counts[len(at)])], space[len(at)])

    return joined(())


def _space_of(array: Any, axis: int | None, dims: int) -> list[int]:
    """The axes of space, so many, of an image, or of flags that may be without channels."""
    return [k for k in range(array.ndim) if array.ndim == dims or k != axis]


def _in_chunks(array: Any, ends: list[list[int]], axis: int | None) -> Any:
    """An array of which one axis is one chunk, and the axes of space end where they are told to."""
    sizes = (tuple(np.diff(own).tolist()) for own in ends)
    chunks: dict[int, Any] = dict.fromkeys(range(array.ndim), -1)
    return array.rechunk(chunks | dict(zip(_space_of(array, axis, len(ends)), sizes, strict=True)))


def _read_again(array: Any, told: Any) -> Any:
    """The array, to be computed anew once something has been told: until then nothing of it is kept for that.

    What is in memory already is not copied. Dask's own `clone` and `bind` fail on arrays whose chunks were changed.
    """
    graph = convert_legacy_graph(dict(array.__dask_graph__()))
    at_hand = {key for key, node in graph.items() if isinstance(node, DataNode)}
    prefix = f"again-{dask.base.tokenize(told.key)[:8]}-"
    names = {key: (prefix + key[0], *key[1:]) if isinstance(key, tuple) else f"{prefix}{key}" for key in graph}
    layer = {key: graph[key] for key in at_hand}
    for key, name in names.items():
        node = Alias(name, key) if key in at_hand else graph[key].substitute(names, key=name)
        if isinstance(node, Task) and graph[key].dependencies <= at_hand:
            node = Task(name, _once_told, TaskRef(told.key), node.func, *node.args, **node.kwargs)
        layer[name] = node
    anew = HighLevelGraph.from_collections(prefix + array.name, layer, dependencies=[told])
    return da.Array(anew, prefix + array.name, array.chunks, meta=array._meta)


def _once_told(_: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _with_halos(array: Any, axis: int | None, dims: int, depth: int) -> Any:
    reach = {k: depth if array.numblocks[k] > 1 else 0 for k in _space_of(array, axis, dims)}
    return da.overlap.overlap(array, depth=reach, boundary="none", allow_rechunk=False)


def _blocks_of(array: Any, axis: int | None, dims: int) -> NDArray[Any]:
    """The chunks by the axes of space, as delayed arrays."""
    counts = [array.numblocks[k] for k in _space_of(array, axis, dims)]
    return array.to_delayed().reshape(counts)  # type: ignore[no-any-return]


def _joined(sizes: tuple[int, ...], cell: int, least: int) -> list[int]:
    """Where chunks of these sizes end, without the ends that are no multiple of a cell or too near to another."""
    side, ends = sum(sizes), [0]
    for end in itertools.accumulate(sizes[:-1]):
        end -= end % cell
        if end - ends[-1] >= least and side - end >= least:
            ends.append(end)
    return [*ends, side]


def _of_dtype(array: Any, dtype: np.dtype[Any]) -> Any:
    """The array in the byte order that is wanted: dask turns it into the machine's where it joins chunks."""
    return array if array.dtype == dtype else array.astype(dtype)


def _stacked(restored: NDArray[Any]) -> Any:
    """The images of an array of them, as one."""
    if restored.ndim == 0:
        return restored[()]
    return da.stack([_stacked(part) if isinstance(part, np.ndarray) else part for part in restored])


# ---- what the tasks do ----


def _parts(
    pixels: NDArray[Any], told: tuple[NDArray[Any], ...], names: list[str], noise: Any, axis: int | None
) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_] | None, NDArray[np.float64] | None]:
    given = dict(zip(names, told, strict=True))
    corrupt = given.get("mask")
    if corrupt is None:
        corrupt = ~given["known"] if "known" in given else np.isnan(pixels)
    deviations = as_deviations(given.get("noise", noise), pixels.shape, axis)
    return part_of(as_planes(pixels, axis), corrupt, given.get("ignore"), axis, deviations)


def _survey(pixels: NDArray[Any], *rest: Any) -> Survey:
    *told, names, noise, axis, cell, corner = rest
    planes, free, unknown, _, deviations = _parts(pixels, tuple(told), names, noise, axis)
    return survey(planes, free, unknown, cell, corner, deviations)


def _overview(surveys: Any, cell: int, settings: Settings, bounds: Any, spacing: tuple[float, ...]) -> Overview:
    return Overview(together(surveys), cell, settings.loss, bounds, settings.threads, settings.huber, spacing)


def _restore_tile(pixels: NDArray[Any], *rest: Any) -> NDArray[Any]:
    *told, names, noise, tile, shape, overview, (of_noisy, of_exact) = rest
    settings = of_noisy if overview.is_noisy else of_exact
    planes, free, _, ignored, deviations = _parts(pixels, tuple(told), names, noise, settings.channel_axis)
    return restore_tile(planes, free, ignored, tile, shape, overview, settings, deviations=deviations).pixels
