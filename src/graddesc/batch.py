"""What ``graddesc restore`` does: files restored, one or many in one process, and what is told of each."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import math
import os
import sys
import time
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import graddesc
from graddesc import images, masks, outputs
from graddesc.images import Picture
from graddesc.result import Result
from graddesc.shades import percent

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from graddesc.animation import Recorder

__all__ = ["Request", "UsageError", "restore_files"]

_CLASSIC_ITERATIONS = 500
_DONE, _FAILED, _NOT_CONVERGED = 0, 1, 3
_ITERATIONS = 1  # the status of a run that has done as many as it may
_MOST_PAINTS = 64  # values of what was painted on a transparent layer
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))  # of a path's parts: Windows has two
_SHOWN = ("animate", "report")  # those that show the image
_EXTRAS = ("animate", "history", "report", "confidence")  # files that go with one restoration

_Told: TypeAlias = dict[str, Any]  # as --json tells it
_Callback: TypeAlias = Callable[[Result], object]
_Place: TypeAlias = str | tuple[str, bool]  # a file; of "-" whether it is the input
_Taken: TypeAlias = dict[_Place, tuple[str, str]]  # what files are used for, and for which source


# What `Plan` takes and the command does not tell.
_DEFAULTS: dict[str, Any] = {
    "noise": 0.0,
    "huber": False,
    "step": None,
    "init": "pyramid",
    "max_iter": None,
    "tol": None,
    "max_time": None,
    "bounds": None,
    "out": None,
}


class UsageError(Exception):
    """Arguments that do not go together."""


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """What the command line asks for.

    Parameters
    ----------
    inputs : list of str
        Image files; "-" is standard input.
    output : str
        A file, or a directory where there are several inputs; "-" is standard output.
    options : argparse.Namespace
        The other arguments, as `graddesc restore --help` tells them.
    note : callable
        Called with what is to be told on standard error.
    say : callable
        Called with what is to be told on standard output.
    read : callable, default `images.read`
        Reads an image file, with the arguments of that.
    """

    inputs: list[str]
    output: str
    options: argparse.Namespace
    note: Callable[[str], object]
    say: Callable[[str], object]
    read: Callable[..., Picture] = images.read


@dataclasses.dataclass(frozen=True, eq=False)
class _Job:
    """One restoration: its files."""

    source: str
    target: str
    mask: str | None


@dataclasses.dataclass(eq=False)
class _Plans:
    """What is kept from one file to the next: the last mask file, and the last plan."""

    mask_key: tuple[str, bool, tuple[int, ...] | None, int] | None = None
    mask: Picture | None = None
    key: tuple[tuple[int, ...], int | None] | None = None
    flags: NDArray[np.bool_] | None = None
    plan: graddesc.Plan | None = None


def restore_files(request: Request) -> int:
    """Restore files; return the exit code of the command.

    One fault in a batch is told in one line, and the other files are done.

    Raises
    ------
    UsageError
        If the arguments do not go together; nothing is done then.
    OSError, ValueError, ImportError, MemoryError
        What keeps a single file from being restored.
    """
    jobs, batch = _jobs(request)
    plans, codes = _Plans(), set[int]()
    for job in jobs:
        try:
            code, told = _restore_file(job, request, plans)
        except BrokenPipeError:
            raise
        except (OSError, ValueError, MemoryError) as error:
            if not batch and not request.options.json:
                raise
            message = str(error) or "not enough memory"
            if job.source not in message:
                message = f"{job.source}: {message}"
            request.note(f"error: {message}")
            code, told = _FAILED, {"input": job.source, "output": job.target, "error": message}
        codes.add(code)
        if request.options.json:
            import json

            request.say(json.dumps(told))
        elif "error" not in told and job.target != "-":
            request.say(_line(told))
    return next((code for code in (_FAILED, _NOT_CONVERGED) if code in codes), _DONE)


def _jobs(request: Request) -> tuple[list[_Job], bool]:
    """The restorations that are asked for, and whether they are a batch."""
    options, output = request.options, request.output
    into_directory = output != "-" and (output.endswith(_SEPARATORS) or os.path.isdir(output))
    batch = len(request.inputs) > 1
    if options.json and output == "-":
        raise UsageError("--json and OUT - both want standard output")
    if not batch and not into_directory:
        job = _Job(request.inputs[0], output, _mask_of(request.inputs[0], options.mask))
        _check_paths([job], options)
        return [job], False
    if "-" in request.inputs:
        raise UsageError("IN - has no name to write it by: OUT must be a file")
    is_file = os.path.exists(output.rstrip("".join(_SEPARATORS))) and not os.path.isdir(output)
    if output == "-" or is_file or (not into_directory and outputs.extension(output)):
        number = len(request.inputs)
        raise UsageError(f"OUT must be a directory (end it with {os.sep}) for {number} inputs, got {output}")
    for name in _EXTRAS:
        if batch and getattr(options, name) is not None:
            raise UsageError(f"--{name} goes with one input, got {len(request.inputs)}")
    jobs: list[_Job] = []
    sources: dict[str, str] = {}
    for source in request.inputs:
        name = os.path.basename(source)
        file = os.path.normcase(name)
        if file in sources:
            raise UsageError(f"{sources[file]} and {source} would be the same file in {output}")
        sources[file] = source
        jobs.append(_Job(source, os.path.join(output, name), _mask_of(source, options.mask)))
    _check_paths(jobs, options)
    os.makedirs(output, exist_ok=True)
    return jobs, batch


def _mask_of(source: str, mask: str | None) -> str | None:
    """The mask file of an image: that which is given, or one of the same name in a directory that is given."""
    if mask is None or mask == "-" or not os.path.isdir(mask):
        return mask
    return os.path.join(mask, os.path.basename(source))


def _check_paths(jobs: list[_Job], options: argparse.Namespace) -> None:
    """Refuse outputs that would replace one another, a mask, or an input but their own."""
    extras = {f"--{name}": getattr(options, name) for name in _EXTRAS}
    taken: _Taken = {}
    for job in jobs:
        _take(taken, "IN", job.source, job.source)
    for job in jobs:
        if job.mask is not None:
            _take(taken, "--mask", job.mask, job.source, others=() if job.mask == "-" else ("IN", "--mask"))
    for job in jobs:
        own = taken.get(_place("OUT", job.target), ("", ""))
        if own != ("IN", job.source):
            _take(taken, "OUT", job.target, job.source)
    for name, path in extras.items():
        if path is not None:
            _take(taken, name, path, jobs[0].source)


def _place(name: str, path: str) -> _Place:
    return (path, name in ("IN", "--mask")) if path == "-" else outputs.place(path)


def _take(taken: _Taken, name: str, path: str, source: str, others: Container[str] = ()) -> None:
    """Note that a file is used, or raise if it is already, for anything but the others."""
    other, _ = taken.setdefault(_place(name, path), (name, source))
    if (other, source) != (name, taken[_place(name, path)][1]) and other not in others:
        raise UsageError(f"{other} and {name} are the same file: {path}")


def _restore_file(job: _Job, request: Request, plans: _Plans) -> tuple[int, _Told]:
    """Restore one file; return its exit code and what is to be told of it."""
    options = request.options
    for path in (job.target, *(getattr(options, name) for name in _EXTRAS)):
        if path is not None:
            outputs.check(path, overwrite=options.overwrite)
    lossy = images.is_lossy(job.target)
    picture = request.read(
        job.source, channel_axis=options.channel_axis, frame_axis=options.frame_axis, stack=options.volume
    )
    if picture.nodata is not None and not _holds(picture.pixels.dtype, picture.nodata):
        picture = dataclasses.replace(picture, nodata=None)  # as in many files: it marks no pixel
    images.check_format(job.target, picture)
    deep_png = ("confidence",) if outputs.extension(options.confidence or "") == ".png" else ()
    for name in ("animate", "report", *deep_png):
        if picture.frames and getattr(options, name) is not None:
            raise ValueError(f"{job.source} is a stack of frames: --{name} goes with one image")
        if picture.is_cube and name in _SHOWN and getattr(options, name) is not None:
            raise ValueError(f"{job.source} has {picture.channels} bands: --{name} goes with grey or RGB")
    if options.volume and not picture.frames:
        raise ValueError(f"{job.source} is one image: --volume goes with a stack")
    if job.mask is not None:
        key = job.mask, picture.frames, picture.axes, picture.pixels.ndim
        if plans.mask_key != key:
            plans.mask_key, plans.mask = key, request.read(job.mask, like=picture)
    nodata = options.nodata if options.nodata is not None else picture.nodata
    mask, alpha, notes, extremes = _corrupt_pixels(job, picture, plans.mask, options.nodata, options.noise)
    if picture.stored_as is not None:
        request.note(f"{job.source} holds {picture.stored_as}, which is written as {picture.kind}")
    if options.volume and mask.ndim < 3:
        raise ValueError(f"{job.mask}: the mask of a volume must have its {len(picture.pixels)} planes, got one")
    for line in notes:
        request.note(line)
    if lossy:
        request.note(f"{job.target} is a JPEG file, which changes the known pixels: PNG keeps them")
    if names := images.left_out(job.target, picture):
        request.note(f"{job.target} leaves out what its format cannot hold: {', '.join(names)}")

    if picture.frames and options.max_memory is not None and not options.volume:
        raise ValueError(f"{job.source} is a stack of frames: --max-memory goes with one image, or with --volume")
    tile = None if picture.frames and not options.volume else _tile_within(picture, options)
    recorder = None
    if options.animate is not None:
        from graddesc import animation

        recorder = animation.Recorder(picture.pixels, mask)
    settings = {name: getattr(options, name) for name in ("max_iter", "max_time", "tol")}
    settings = {name: value for name, value in settings.items() if value is not None}
    settings |= {"noise": options.noise, "huber": options.huber}
    if options.classic:
        classic_step = graddesc.InverseTime(1.5, floor=0.015)
        settings = {"step": classic_step, "init": _as_seen(picture, mask), "max_iter": _CLASSIC_ITERATIONS, **settings}
    # The solver starts from a better image than the corrupt one, "texture" from one that is restored already: what is
    # shown of the others is a run of its own, from the corrupt image itself.
    apart = recorder is not None and not options.classic and options.loss != "texture"
    start = time.perf_counter()
    with _progress(settings.get("max_iter"), "iterations" if tile is None else "tiles") as bar:
        progress = None if bar is None else _iterations_on(bar)
        callback = progress if apart else _both(recorder, progress)
        settings |= {"full_output": True, "confidence": options.confidence is not None or options.report is not None}
        if tile is not None:
            restored, info = _in_tiles(picture, mask, tile, options, bar)
        elif picture.frames:
            restored, info = graddesc.restore(
                picture.pixels,
                mask,
                loss=options.loss,
                threads=options.threads,
                callback=callback,
                channel_axis=picture.channel_axis,
                frame_axis=None if options.volume else picture.frame_axis,
                spacing=options.spacing or ((1, 1, 1) if options.volume else None),
                **settings,
            )
        else:
            plan = _plan(plans, mask, picture, options)
            shown = options.history is not None or options.report is not None  # of the loss after each iteration
            restored, info = plan.restore_array(
                picture.pixels, callback=callback, history=shown, **_DEFAULTS | settings
            )
        seconds = time.perf_counter() - start
        if apart:
            told_again = ("noise", "huber", "max_iter", "max_time", "tol")
            again = {name: value for name, value in settings.items() if name in told_again}
            plan(picture.pixels, callback=recorder, init=_as_seen(picture, mask), **again)

    result = dataclasses.replace(picture, pixels=restored, alpha=alpha)
    contents: dict[str, ReadableBuffer] = {job.target: images.encode(job.target, result)}
    contents |= _extras(job, options, picture, restored, mask, info, seconds, recorder)
    for path, data in contents.items():
        outputs.write(path, data, overwrite=options.overwrite)
    told = _told(job, options, picture, mask, extremes, info, seconds)
    if nodata is not None and picture.nodata is not None and (same := _count(restored == nodata, mask, picture)):
        request.note(f"{same} filled values of {job.target} equal the nodata value {nodata}")
    if info.success or (options.classic and info.status == _ITERATIONS):  # which is where the recipe ends
        return _DONE, told
    which = f"{job.target}: " if len(request.inputs) > 1 else ""
    request.note(f"{which}not converged: {info.message}")
    return _NOT_CONVERGED, told


def _as_seen(picture: Picture, mask: NDArray[np.bool_]) -> Any:
    """The image to start from: itself, with the least known value, which is shown black, where it is not finite."""
    pixels = picture.pixels
    finite = np.isfinite(pixels)
    if finite.all():
        return "image"
    known: NDArray[Any] = pixels[finite & ~_of_values(mask, picture)]
    return np.where(finite, pixels, known.min() if known.size else 0)


def _tile_within(picture: Picture, options: argparse.Namespace) -> int | None:
    """The side of the tiles that the memory has room for; None where it has for the whole image."""
    memory = options.max_memory
    if memory is None:
        memory = _memory() / 2
    from graddesc.restoration.tiling import tile_within

    tile = tile_within(picture.pixels.shape, picture.pixels.dtype, picture.channel_axis, memory, options.volume)
    if tile is not None:
        whole = (*_EXTRAS, "classic") if options.volume else (*_EXTRAS, "classic", "spacing")
        wants = [f"--{name}" for name in whole if getattr(options, name)]
        wants += ["--loss line"] if options.loss == "line" else []
        if wants:
            raise ValueError(f"{wants[0]} wants the whole image solved at once, which takes more than --max-memory")
    return tile


def _memory() -> float:
    """The bytes of memory that the machine has; infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _in_tiles(
    picture: Picture, mask: NDArray[np.bool_], tile: int, options: argparse.Namespace, bar: Any
) -> tuple[NDArray[Any], Any]:
    """Restore a picture tile by tile; the result has no loss."""
    from graddesc import tiling

    def advance(done: int, tiles: int) -> None:
        bar.total = tiles
        bar.update(done - bar.n)

    restored, info = tiling.restore(
        picture.pixels,
        mask,
        loss=options.loss,
        noise=options.noise,
        huber=options.huber,
        tile=tile,
        max_iter=options.max_iter,
        tol=options.tol,
        max_time=options.max_time,
        channel_axis=picture.channel_axis,
        spacing=options.spacing or ((1, 1, 1) if options.volume else None),
        threads=options.threads,
        progress=None if bar is None else advance,
        full_output=True,
    )
    info.fun, info.nit = math.nan, None
    return restored, info


def _plan(plans: _Plans, mask: NDArray[np.bool_], picture: Picture, options: argparse.Namespace) -> graddesc.Plan:
    """The plan of a mask, that of the last file if it serves."""
    key = picture.pixels.shape, picture.channel_axis
    if plans.plan is not None and plans.flags is not None and plans.key == key and np.array_equal(plans.flags, mask):
        return plans.plan
    plans.plan = graddesc.Plan(
        mask,
        picture.pixels.shape,
        loss=options.loss,
        channel_axis=picture.channel_axis,
        spacing=options.spacing,
        threads=options.threads,
    )
    plans.key, plans.flags = key, mask
    return plans.plan


def _extras(
    job: _Job,
    options: argparse.Namespace,
    picture: Picture,
    restored: NDArray[Any],
    mask: NDArray[np.bool_],
    info: Result,
    seconds: float,
    recorder: Recorder | None,
) -> dict[str, ReadableBuffer]:
    """The contents of the files that go with a restoration, by their paths."""
    contents: dict[str, ReadableBuffer] = {}
    if recorder is not None:
        kind: Any = outputs.extension(options.animate)[1:]
        contents[options.animate] = recorder.encode(restored, kind)
    if options.history is not None:
        from graddesc import plots

        contents[options.history] = plots.encode(options.history, plots.loss_history(info.history))
    if options.confidence is not None:
        shares = info.confidence
        if outputs.extension(options.confidence) == ".png":
            shares = np.rint(shares * 65535).astype(np.uint16)
        axes = picture.axes
        if axes is None and picture.is_cube:
            axes = tuple(range(shares.ndim))  # whoever reads IN knows that it has bands
        trust = images.Picture(shares, frames=picture.frames, axes=axes if shares.ndim == picture.pixels.ndim else None)
        contents[options.confidence] = images.encode(options.confidence, trust)
    if options.report is not None:
        from graddesc import report

        contents[options.report] = report.page(
            picture.pixels,
            restored,
            mask,
            info=info,
            seconds=seconds,
            loss=options.loss,
            command=_command([*options.argv, *["--overwrite"] * (not options.overwrite)]),
            title=job.source,
            confidence=info.confidence,
        )
    return contents


def _command(argv: list[str]) -> str:
    """The command as the system's shell takes it."""
    if os.name == "nt":
        import subprocess

        return subprocess.list2cmdline(["graddesc", *argv])
    import shlex

    return shlex.join(["graddesc", *argv])


def _count(flags: NDArray[np.bool_], mask: NDArray[np.bool_], picture: Picture) -> int:
    """How many values are marked where a mask is true."""
    return int(np.count_nonzero(flags & _of_values(mask, picture)))


def _told(
    job: _Job,
    options: argparse.Namespace,
    picture: Picture,
    mask: NDArray[np.bool_],
    extremes: list[int] | None,
    info: Result,
    seconds: float,
) -> _Told:
    """What is told of a restoration."""
    shape = picture.pixels.shape
    pixels = _of_pixels(mask, picture)
    flags = np.broadcast_to(pixels, shape[: len(shape) - (picture.channel_axis is not None)])
    return {
        "input": job.source,
        "output": job.target,
        "shape": [shape[k] for k in np.argsort(picture.axes or range(len(shape)))],
        "dtype": str(picture.pixels.dtype),
        "pixels": flags.size,
        "corrupt": int(np.count_nonzero(flags)),
        "extremes": extremes,
        "loss": options.loss,
        "noise": options.noise,
        "fun": info.fun if math.isfinite(info.fun) else None,
        "nit": info.nit,
        "status": info.status,
        "success": info.success,
        "message": info.message,
        "tiles": info.get("tiles"),
        "seconds": seconds,
        "with_confidence": "confidence" in info,
    }


def _line(told: _Told) -> str:
    """What is told of a restoration, in a line."""
    count, total, extremes = told["corrupt"], told["pixels"], told["extremes"]
    work = f"{told['nit']} iterations" if told["tiles"] is None else f"{told['tiles']} tiles"
    marked = f" that were {extremes[0]} or {extremes[1]}" if extremes else ""
    marked += f", noise of {told['noise']:g} off the others" if told["noise"] else ""
    return (
        f"{told['output']}: filled {count} of {total} pixels ({percent(count, total)}){marked},"
        f" {work}, {told['seconds']:.2f} s{' with the confidence' * told['with_confidence']}"
    )


# ---- what is corrupt ----


def _corrupt_pixels(
    job: _Job, picture: Picture, mask_picture: Picture | None, nodata: float | None, noise: float
) -> tuple[NDArray[np.bool_], NDArray[Any] | None, list[str], list[int] | None]:
    """The mask of a picture, its alpha once that is filled, what is to be told of them, and the extremes that told."""
    pixels: NDArray[Any] = picture.pixels
    alpha: NDArray[Any] | None = picture.alpha
    told: list[str] = []
    extremes = None
    missing = _missing(picture, nodata)
    if mask_picture is not None:
        mask = _as_mask(job.mask, mask_picture, picture)
        if mask_picture.lossy:
            told.append(f"{job.mask} is a lossy file, whose blur is taken for corrupt: PNG keeps a mask")
        wide = _of_values(mask, picture)
        if missing.any() and (more := int(np.count_nonzero(missing & ~wide))):
            told.append(f"{more} values of {job.source} beside {job.mask} are nodata or NaN, and corrupt too")
            mask = missing | wide
        if picture.stored_shape is not None:
            told.append(f"{job.source} is turned as its EXIF says; {job.mask} is taken as it lies")
        beside = alpha is not None and int(np.count_nonzero((alpha == 0) & ~_of_pixels(mask, picture)))
        if beside:
            told.append(f"{beside} transparent pixels of {job.source} beside {job.mask} count as known")
        if alpha is not None and (hidden := int(np.count_nonzero((alpha == 0) & _of_pixels(mask, picture)))):
            told.append(f"{hidden} of the filled pixels of {job.source} stay transparent")
    elif nodata is not None or picture.nodata is not None or missing.any():
        mask = missing
    elif alpha is not None and not alpha.all():
        mask = alpha == 0
        if mask.all():
            raise ValueError(f"{job.source}: all pixels are transparent: --mask must tell which are corrupt")
        alpha = np.where(mask, np.iinfo(alpha.dtype).max, alpha)
        told.append(f"{int(mask.sum())} transparent pixels of {job.source} are filled, and become opaque")
    elif noise > 0:
        mask = missing
    elif pixels.dtype.kind == "f":
        raise ValueError(f"{job.source}: no pixel is NaN: --mask or --nodata must tell what is corrupt")
    else:
        mask = masks.detect(pixels)
        if picture.lossy:
            told.append(f"{job.source} is a lossy file, which blurs the extremes: --mask can tell the corrupt pixels")
        if mask.any():
            extremes = [int(np.iinfo(pixels.dtype).min), int(np.iinfo(pixels.dtype).max)]
    if not mask.any() and noise == 0:
        told.append(f"no pixel of {job.source} is corrupt")
    return mask, alpha, told, extremes


def _of_values(mask: NDArray[np.bool_], picture: Picture) -> NDArray[np.bool_]:
    """A mask as one that goes with the values of a picture."""
    if picture.channel_axis is None or mask.ndim == picture.pixels.ndim:
        return mask
    return mask[..., np.newaxis]


def _of_pixels(mask: NDArray[np.bool_], picture: Picture) -> NDArray[np.bool_]:
    """A mask of the values of a picture as one of its pixels."""
    if picture.channel_axis is None or mask.ndim < picture.pixels.ndim:
        return mask
    return np.asarray(mask.any(axis=-1))


def _holds(dtype: np.dtype[Any], nodata: float) -> bool:
    """Whether a pixel can have the value for nodata."""
    try:
        masks.detect(np.zeros((1, 1), dtype), extremes=False, nodata=nodata)
    except ValueError:
        return False
    return True


def _missing(picture: Picture, nodata: float | None) -> NDArray[np.bool_]:
    """What is NaN, or has a value for nodata, that of the file or the one that is given: a colour in all its channels.

    Bands miss what is missing each by itself.
    """
    apart = picture.is_cube or picture.axes is not None
    find = functools.partial(masks.detect, picture.pixels, None if apart else picture.channel_axis, extremes=False)
    missing = find(nodata=nodata)
    return missing if picture.nodata is None else missing | find(nodata=picture.nodata)


def _as_mask(path: str | None, mask: Picture, picture: Picture) -> NDArray[np.bool_]:
    """A picture as a mask: what is not zero, or, where it has holes, what is transparent.

    Of colours a pixel is corrupt if it is in any of them; bands are each by itself.
    """
    if mask.size != picture.size:
        found, wanted = (" x ".join(map(str, size)) for size in (mask.size, picture.size))
        turned = ""
        if mask.size == picture.stored_shape:
            turned = ", which the image has before its EXIF rotation: turn the mask as the image is shown"
        raise ValueError(f"{path}: the mask must have the image's {wanted} rows and columns, got {found}{turned}")
    flags: NDArray[np.bool_] = mask.pixels != 0
    if mask.pixels.ndim == picture.pixels.ndim and (mask.is_cube or mask.axes is not None) and mask.channel_axis:
        if mask.channels != picture.channels:
            raise ValueError(f"{path}: the mask must have the image's {picture.channels} bands, got {mask.channels}")
    elif mask.channel_axis is not None:
        flags = np.asarray(flags.any(axis=-1))
    if mask.alpha is not None and not (mask.alpha == np.iinfo(mask.alpha.dtype).max).all():
        clear = mask.alpha == 0
        if not clear.any():
            raise ValueError(
                f"{path}: its alpha is half transparent: make what is corrupt clear, or save without alpha"
            )
        if flags.any() and not (flags & clear).any() and len(np.unique(mask.pixels[~clear])) <= _MOST_PAINTS:
            raise ValueError(f"{path}: its colours are one mask and its alpha another: save it without one of them")
        flags = clear
    if not mask.frames or (picture.frames and len(flags) == len(picture.pixels)):
        return flags
    if len(flags) > 1:
        count = f"one frame or {len(picture.pixels)}, as the image has" if picture.frames else "one frame"
        raise ValueError(f"{path}: the mask must have {count}, got {len(flags)}")
    first: NDArray[np.bool_] = flags[0]
    return first


# ---- progress ----


@contextlib.contextmanager
def _progress(total: int | None, unit: str) -> Iterator[Any]:
    """Give a bar on the terminal; None without a terminal or without tqdm."""
    with contextlib.ExitStack() as stack:
        bar = None
        if sys.stderr is not None and sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                from tqdm import tqdm

                bar = stack.enter_context(tqdm(total=total, unit=f" {unit}", leave=False))
        yield bar


def _iterations_on(bar: Any) -> _Callback:
    """A callback that moves the bar by iterations."""

    def advance(intermediate_result: Result) -> None:
        bar.set_postfix(loss=f"{intermediate_result.fun:.6g}", refresh=False)
        bar.update(intermediate_result.nit - bar.n)

    return advance


def _both(*callbacks: _Callback | None) -> _Callback | None:
    """One callback for all that are not None; None for none, which spares the solver its copies."""
    given = [callback for callback in callbacks if callback is not None]
    if not given:
        return None

    def call(intermediate_result: Result) -> None:
        for callback in given:
            callback(intermediate_result)

    return call
