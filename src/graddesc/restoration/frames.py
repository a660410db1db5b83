"""Independent images along an axis: each is restored as if it were alone, by one plan where they share a mask."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import as_array, as_flags, require_count, require_nonnegative, require_out
from graddesc.isa import team_size
from graddesc.restoration.plan import Plan, SinglePlan
from graddesc.result import Result

__all__ = ["restore_frames"]

_AT_ONCE = 2**21  # bytes of frames that a thread restores at once, where the plan can: some stay in a processor's cache


def restore_frames(
    image: NDArray[Any],
    masked: NDArray[np.bool_] | None,
    given: dict[str, Any],
    frame_axis: int,
    channel_axis: int | None,
    *,
    loss: Any,
    spacing: Any,
    threads: int,
    noise: Any,
    max_time: float | None,
    init: Any,
    callback: Any,
    out: NDArray[Any] | None,
    full_output: bool,
    **settings: Any,
) -> tuple[NDArray[Any], Result | None]:
    """Restore each frame of an image; the settings are those of `restore`.

    Parameters
    ----------
    image : ndarray
        With frames along `frame_axis`.
    masked : ndarray of bool, the image's shape, or None
        What a masked array masks, which must not count as known.
    given : dict
        ``mask``, ``known`` and ``ignore``, as `restore` takes them: for all frames, or with frames of their own.
    """
    started = time.perf_counter()
    max_time = None if max_time is None else require_nonnegative("max_time", max_time)
    threads = require_count("threads", threads)
    shape = image.shape[:frame_axis] + image.shape[frame_axis + 1 :]
    inner = channel_axis if channel_axis is None or channel_axis < frame_axis else channel_axis - 1
    if out is None:
        out = np.empty(image.shape, image.dtype)
    else:
        require_out(out, image.shape, image.dtype)
        for name, other in (("image", image), *given.items()):
            if isinstance(other, np.ndarray) and np.shares_memory(out, other):
                raise ValueError(f"out must not overlap {name}")
    frames, restored = np.moveaxis(image, frame_axis, 0), np.moveaxis(out, frame_axis, 0)
    hidden = None if masked is None else np.moveaxis(masked, frame_axis, 0)
    starts = _starts(init, image, frame_axis)
    told = {
        name: None if flags is None else _by_frame(as_flags(name, flags), image.shape, frame_axis, channel_axis)
        for name, flags in given.items()
    }
    noises: Any = [noise]
    if np.ndim(noise) > 0:
        deviations = np.asarray(noise)
        deviations = deviations.copy() if np.may_share_memory(deviations, out) else deviations  # one may be that of all
        noises = _by_frame(deviations, image.shape, frame_axis, channel_axis)
    team = min(team_size(threads, None), len(frames)) if callback is None else 1
    own = {"loss": loss, "channel_axis": inner, "spacing": spacing, "threads": max(threads // team, 1)}
    shared = all(flags is None or len(flags) == 1 for flags in told.values())
    plan = Plan(shape=shape, **_of_frame(told, 0), **own) if shared else None
    called = None if callback is None else _FrameCallback(callback)

    def restore_frame(k: int) -> Result | None:
        try:
            its = plan or SinglePlan(shape=shape, **_of_frame(told, k), **own)
            if hidden is not None:
                its.require_within(hidden[k])
            _, info = its.restore_array(
                frames[k],
                noise=noises[k if len(noises) > 1 else 0],
                init=starts(k),
                max_time=None if max_time is None else max(max_time - (time.perf_counter() - started), 0.0),
                callback=None if called is None else called.of_frame(k),
                out=restored[k],
                full_output=full_output,
                **settings,
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"frame {k}: {error}") from None
        return info

    at_once = max(_AT_ONCE // max(frames[0].nbytes, 1), 1)
    firsts = [0, *range(1, len(frames), at_once)]  # the first frame by itself: that checks the settings
    watched = hidden is not None or callback is not None or full_output

    def restore_some(number: int) -> list[Result | None]:
        first = firsts[number]
        some = range(first, min(first + at_once, len(frames)) if number else 1)
        alone = None
        if number and plan is not None and not watched:
            here = slice(some.start, some.stop)
            alone = plan.restore_stack(frames[here], restored[here], noise=noise, init=init, **settings)
        return [restore_frame(k) for k in (some if alone is None else [first + k for k in alone])]

    infos = list(itertools.chain.from_iterable(_in_parallel(restore_some, len(firsts), team)))
    if not full_output:
        return out, None
    return out, _together([info for info in infos if info is not None], out, frame_axis, channel_axis)


class _FrameCallback:
    """A caller's callback, which is told the frame; once it has ended the run, it ends each frame that follows."""

    def __init__(self, callback: Callable[[Result], object]) -> None:
        self._callback, self._frame, self._stopped = callback, 0, False

    def of_frame(self, frame: int) -> _FrameCallback:
        """Return the callback of a frame: the same, which now tells it."""
        self._frame = frame
        return self

    @property
    def next_iteration(self) -> int:
        """The iteration before which it need not be called."""
        wanted: int = 0 if self._stopped else getattr(self._callback, "next_iteration", 0)
        return wanted

    def __call__(self, intermediate_result: Result) -> None:
        """Call the caller's own; raise StopIteration if that did, now or before."""
        intermediate_result.frame = self._frame
        if not self._stopped:
            try:
                self._callback(intermediate_result)
            except StopIteration:
                self._stopped = True
        if self._stopped:
            raise StopIteration


def _in_parallel(function: Any, count: int, team: int) -> Iterator[Any]:
    """What a function returns for 0, 1, ..., worked out by so many threads."""
    if team == 1:
        yield from map(function, range(count))
        return
    from concurrent.futures import ThreadPoolExecutor  # which takes as long to import as an image to restore

    executor = ThreadPoolExecutor(team)
    try:
        yield from executor.map(function, range(count))
    finally:
        executor.shutdown(cancel_futures=True)


def _starts(init: Any, image: NDArray[Any], frame_axis: int) -> Callable[[int], Any]:
    """What tells each frame's start: the name of a fill, or values."""
    if isinstance(init, str):
        return lambda k: init
    values = as_array("init", init)
    if values.shape != image.shape:
        raise ValueError(f"init must have shape {image.shape}, got {values.shape}")
    return np.moveaxis(values, frame_axis, 0).__getitem__


def _by_frame(
    given: NDArray[Any], shape: tuple[int, ...], frame_axis: int, channel_axis: int | None
) -> NDArray[Any] | list[NDArray[Any]]:
    """What is given for each frame, along the first axis; one for all where it is the same."""
    axis = frame_axis
    plane = shape
    if channel_axis is not None:
        plane = shape[:channel_axis] + shape[channel_axis + 1 :]
    if given.shape == (*plane, 1) and given.shape != shape:
        given = given[..., 0]
    if given.shape != shape:
        if given.shape != plane:
            return [given]
        axis -= channel_axis is not None and channel_axis < frame_axis
    given = np.moveaxis(given, axis, 0)
    return given[:1] if (given == given[0]).all() else given


def _of_frame(told: dict[str, Any], k: int) -> dict[str, Any]:
    return {name: None if flags is None else flags[k if len(flags) > 1 else 0] for name, flags in told.items()}


def _together(infos: list[Result], out: NDArray[Any], frame_axis: int, channel_axis: int | None) -> Result:
    """One result for all frames: the sum of their losses, the worst of their statuses."""
    worst = next((k for k, info in enumerate(infos) if not info.success), 0)
    message = infos[worst].message if infos[worst].success else f"frame {worst}: {infos[worst].message}"
    longest = max(len(info.history) for info in infos)
    history = np.zeros(longest)
    for info in infos:
        history += np.append(info.history, np.full(longest - len(info.history), info.fun))  # the loss stays at the end
    result = Result(
        x=out,
        fun=float(sum(info.fun for info in infos)),
        nit=max(info.nit for info in infos),
        success=infos[worst].success,
        status=infos[worst].status,
        message=message,
        history=history,
        frames=infos,
    )
    for name in ("confidence", "error"):
        if name in infos[0]:
            axis, planes = frame_axis, [info[name] for info in infos]
            if channel_axis is not None and len({plane.ndim for plane in planes}) > 1:
                # Of some frames all channels share a mask.
                inner = channel_axis if channel_axis < frame_axis else channel_axis - 1
                shape = out.shape[:frame_axis] + out.shape[frame_axis + 1 :]
                planes = [
                    plane if plane.ndim == len(shape) else np.broadcast_to(np.expand_dims(plane, inner), shape)
                    for plane in planes
                ]
            if planes[0].ndim < out.ndim - 1 and channel_axis is not None and channel_axis < frame_axis:
                axis -= 1
            result[name] = np.stack(planes, axis)
    return result
