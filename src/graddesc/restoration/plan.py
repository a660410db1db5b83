"""A restoration's plan: all that depends on the mask alone, made once for any number of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, TypeAlias, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graddesc import arguments, masks
from graddesc.isa import team_size
from graddesc.losses import _Loss, _Name, by_name
from graddesc.losses.differences import Differences
from graddesc.losses.texture import TextureAdaptive
from graddesc.restoration import confidence as trust
from graddesc.restoration import methods, solver
from graddesc.restoration.problem import ROWS_AT_ONCE, Problem, Units, as_planes
from graddesc.restoration.solver import Schedule
from graddesc.result import Result

if TYPE_CHECKING:
    from graddesc.masks import _HasArray, _Image, _Pixel, _Rows

    _Mask: TypeAlias = (
        _HasArray[np.bool_ | np.integer[Any]] | Sequence[Sequence[int]] | Sequence[Sequence[Sequence[int]]]
    )
    # Not ArrayLike, which takes any str.
    _Init: TypeAlias = (
        Literal["pyramid", "nearest", "image"] | _HasArray[np.bool_ | np.integer[Any] | np.floating[Any]] | _Rows
    )
    _ValueAndGradient: TypeAlias = Callable[[NDArray[np.float64]], tuple[SupportsFloat, ArrayLike]]

__all__ = ["Plan"]


class Plan:
    """How images whose corrupt pixels are at the same places are restored; ``plan(image)`` restores one.

    Parameters
    ----------
    mask : array_like of bool or int, shape (rows, cols) or that of the images
        True (not zero) where a pixel is corrupt.
    shape : tuple of int, optional
        The shape of the images; by default any whose rows and columns are the mask's.
    known : array_like of bool or int, optional
        The complement, to give instead of `mask`.
    loss, channel_axis, threads : optional
        As for `restore`.

    Raises
    ------
    TypeError, ValueError
        As `restore` does.

    Examples
    --------
    >>> import numpy as np
    >>> import graddesc
    >>> mask = np.eye(8, dtype=bool)[::-1]
    >>> plan = graddesc.Plan(mask, loss="biharmonic")
    >>> frames = [np.add.outer(np.arange(8.0), k * np.arange(8.0)) for k in range(3)]
    >>> all(np.allclose(plan(frame), frame, atol=0.05) for frame in frames)
    True
    """

    def __init__(
        self,
        mask: _Mask | None = None,
        shape: Sequence[int] | None = None,
        *,
        known: _Mask | None = None,
        loss: _Name | _Loss | _ValueAndGradient = "edge",
        channel_axis: int | None = None,
        threads: int = 1,
    ) -> None:
        if mask is not None and known is not None:
            raise ValueError("mask and known must not both be given")
        name, given = ("mask", mask) if known is None else ("known", known)
        shape = None if shape is None else tuple(shape)
        self._free = _corrupt_pixels(name, given, known is not None, shape, channel_axis)
        self._loss = _as_loss(loss)
        self._shape, self._channel_axis = shape, channel_axis
        self._threads = team_size(arguments.require_count("threads", threads))
        self._given = ("mask", mask), ("known", known)

    @classmethod
    def detected(cls, image: NDArray[Any], **settings: Any) -> Plan:
        """Make the plan for the pixels of an image that `masks.detect` finds."""
        mask = masks.detect(image)
        if mask.all():
            raise ValueError("image, whose corrupt pixels were detected, must leave at least one pixel known, got none")
        return cls(mask, image.shape, **settings)

    @overload
    def __call__(
        self,
        image: _Image[_Pixel],
        *,
        step: Schedule | None = None,
        init: _Init = "pyramid",
        max_iter: int | None = None,
        tol: float | None = None,
        max_time: float | None = None,
        bounds: tuple[float, float] | None = None,
        callback: Callable[[Result], object] | None = None,
        out: NDArray[_Pixel] | None = None,
        full_output: Literal[False] = False,
        confidence: Literal[False] = False,
    ) -> NDArray[_Pixel]: ...

    @overload
    def __call__(
        self,
        image: _Image[_Pixel],
        *,
        step: Schedule | None = None,
        init: _Init = "pyramid",
        max_iter: int | None = None,
        tol: float | None = None,
        max_time: float | None = None,
        bounds: tuple[float, float] | None = None,
        callback: Callable[[Result], object] | None = None,
        out: NDArray[_Pixel] | None = None,
        full_output: Literal[True],
        confidence: bool = False,
    ) -> tuple[NDArray[_Pixel], Result]: ...

    @overload
    def __call__(
        self,
        image: _Image[_Pixel],
        *,
        step: Schedule | None = None,
        init: _Init = "pyramid",
        max_iter: int | None = None,
        tol: float | None = None,
        max_time: float | None = None,
        bounds: tuple[float, float] | None = None,
        callback: Callable[[Result], object] | None = None,
        out: NDArray[_Pixel] | None = None,
        full_output: bool,
        confidence: bool = False,
    ) -> NDArray[_Pixel] | tuple[NDArray[_Pixel], Result]: ...

    def __call__(
        self,
        image: _Image[_Pixel],
        *,
        step: Schedule | None = None,
        init: _Init = "pyramid",
        max_iter: int | None = None,
        tol: float | None = None,
        max_time: float | None = None,
        bounds: tuple[float, float] | None = None,
        callback: Callable[[Result], object] | None = None,
        out: NDArray[_Pixel] | None = None,
        full_output: bool = False,
        confidence: bool = False,
    ) -> NDArray[_Pixel] | tuple[NDArray[_Pixel], Result]:
        """Restore an image; parameters, results and errors as for `restore`."""
        started = time.perf_counter()
        loss, channel_axis = self._loss, self._channel_axis
        array, channel_axis = masks._as_image(image, channel_axis)
        planes = as_planes(array, channel_axis)
        self._require_shape(array, planes)
        arguments.require_callable("step", step, "None or a schedule k -> float, such as Constant(0.1)")
        default_tol = getattr(loss, "default_tol", solver.SOLVER_TOL)
        limits = solver.Limits.of(max_iter, tol, max_time, step, started, default_tol)
        arguments.require_callable("callback", callback)
        self._require_apart(out, array)
        own = not isinstance(loss, methods.COMPILED)
        if confidence and not full_output:
            raise ValueError("confidence must come with full_output, which holds it")
        start = _as_start(init, array, self._free, channel_axis)
        if confidence and own:
            raise ValueError("confidence must not be asked of a callable loss")

        contrasts = isinstance(loss, Differences | TextureAdaptive)
        units = Units.of(planes, self._free, bounds, as_is=own, contrasts=contrasts)
        problem = Problem.of(planes, self._free, units, start, self._threads)
        steps, run = methods.begin(loss, problem, step, limits, channel_axis)
        report = _Report(steps, problem, array, channel_axis, callback, measured=full_output or callback is not None)
        status, message = run(report.iteration) if problem.corrupt else solver.MESSAGES["nothing"]
        restored = report.assemble(out)
        if not full_output:
            return restored
        info = report.info(restored, status, message)
        if confidence:
            x = np.stack(list(steps.planes()))
            expected, variances = trust.estimate(loss, problem, x, limits.afresh(), step)
            shares = [v / (v + e) if v else np.ones_like(e) for e, v in zip(expected, variances, strict=True)]
            info.confidence = _shaped(shares, array, channel_axis)
            info.error = _shaped([np.sqrt(e) * units.factor for e in expected], array, channel_axis)
        return restored, info

    def _require_shape(self, image: NDArray[Any], planes: NDArray[Any]) -> None:
        if self._shape is not None and image.shape != self._shape:
            raise ValueError(f"image must have shape {self._shape}, got {image.shape}")
        wanted = self._free.shape if len(self._free) > 1 else (len(planes), *self._free.shape[1:])
        if planes.shape[1:] == wanted[1:] and len(planes) != wanted[0]:
            raise ValueError(f"image must have {wanted[0]} channels, as the mask has, got shape {image.shape}")
        if planes.shape != wanted:
            raise ValueError(f"image must have rows and columns {self._free.shape[1:]}, got shape {image.shape}")

    def _require_apart(self, out: Any, image: NDArray[Any]) -> None:
        """Raise unless out is none, or an array for the result that overlaps nothing that is given."""
        if out is None:
            return
        arguments.require_out(out, image.shape, image.dtype)
        for name, other in (("image", image), *self._given):
            if isinstance(other, np.ndarray) and np.shares_memory(out, other):
                raise ValueError(f"out must not overlap {name}")


class _Report:
    """What the caller is told: images, losses, and the result."""

    def __init__(
        self,
        steps: methods.Steps,
        problem: Problem,
        image: NDArray[Any],
        channel_axis: int | None,
        callback: Callable[[Result], object] | None,
        measured: bool,
    ) -> None:
        self._steps, self._problem, self._image, self._channel_axis = steps, problem, image, channel_axis
        self._callback = callback
        self._measured = measured
        self._history: list[float] = []

    def _loss(self) -> float:
        return self._steps.loss() * self._problem.units.loss_unit

    def iteration(self, nit: int, step: float | None) -> None:
        """Note an iteration and call back; raises what the callback raises."""
        if self._measured:
            self._history.append(self._loss())
        if self._callback is not None:
            self._callback(Result(x=self.assemble(), fun=self._history[-1], nit=nit, step=step))

    def assemble(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Write the known pixels of the image, and the others as they stand, to out, by default a new array."""
        if out is None:
            out = np.empty(self._image.shape, self._image.dtype)
        out[...] = self._image
        planes = as_planes(out, self._channel_axis)
        for channel, (plane, x) in enumerate(zip(planes, self._steps.planes(), strict=True)):
            corrupt = self._problem.mask(channel).view(bool)
            for start in range(0, len(x), ROWS_AT_ONCE):
                some = np.s_[start : start + ROWS_AT_ONCE]
                restored = self._problem.units.to_image(x[some])
                np.copyto(plane[some], restored, where=corrupt[some], casting="unsafe")
        return out

    def info(self, restored: NDArray[Any], status: int, message: str) -> Result:
        """The second result of restore()."""
        return Result(
            x=restored,
            fun=self._loss(),
            nit=len(self._history),
            success=status == 0,
            status=status,
            message=message,
            history=np.array(self._history, dtype=np.float64),
        )


def _shaped(planes: Sequence[NDArray[Any]], image: NDArray[Any], channel_axis: int | None) -> NDArray[np.float32]:
    """Planes as float32 of the shape of an image, or of its rows and columns where there is but one."""
    if len(planes) == 1:
        return planes[0].astype(np.float32)
    out = np.empty(image.shape, np.float32)
    for plane, values in zip(as_planes(out, channel_axis), planes, strict=True):
        plane[...] = values
    return out


# ---- checks ----


def _corrupt_pixels(
    name: str, given: Any, complement: bool, shape: tuple[int, ...] | None, channel_axis: int | None
) -> NDArray[np.uint8]:
    """The corrupt pixels as uint8, shape (channels or 1, rows, cols), C-contiguous, 1 where corrupt."""
    given = np.asarray(given)
    if given.dtype.kind not in "bui":
        raise TypeError(f"{name} must be of bool or integers, got {given.dtype}")
    if shape is None:
        if given.ndim != 2 and (given.ndim, channel_axis is None) != (3, False):
            raise ValueError(f"{name} must be 2-D, or 3-D with channel_axis, got shape {given.shape}")
        shape = given.shape
        channel_axis = channel_axis if given.ndim == 3 else None
    plane = shape if channel_axis is None else tuple(n for axis, n in enumerate(shape) if axis != channel_axis % 3)
    if given.shape == plane:
        given = given[np.newaxis]
    elif given.shape == shape:
        given = as_planes(given, channel_axis)
    else:
        wanted = f"{plane}" if channel_axis is None else f"{plane} or {shape}"
        raise ValueError(f"{name} must have shape {wanted}, got {given.shape}")
    free = np.ascontiguousarray((given == 0) if complement else (given != 0)).view(np.uint8)
    for channel, pixels in enumerate(free):
        if pixels.all():
            where = f" in channel {channel}" if len(free) > 1 else ""
            raise ValueError(f"{name} must leave at least one pixel known, got none{where}")
    return free


def _as_loss(loss: Any) -> Any:
    if isinstance(loss, str):
        return by_name(cast(_Name, loss))
    if isinstance(loss, type) or not (isinstance(loss, methods.COMPILED) or callable(loss)):
        raise TypeError(f"loss must be a name, a loss of graddesc.losses or a callable, got {loss!r}")
    return loss


def _as_start(init: Any, image: NDArray[Any], free: NDArray[np.uint8], channel_axis: int | None) -> str | NDArray[Any]:
    """The name of a fill, or the starting values as planes."""
    if isinstance(init, str):
        if init not in ("pyramid", "nearest", "image"):
            raise ValueError(f"init must be 'pyramid', 'nearest', 'image' or an array, got {init!r}")
        if init != "image":
            return init
        values = image
    else:
        values = np.asarray(init)
        if values.dtype.kind not in "buif":
            raise TypeError(f"init must be an array of real numbers, got {values.dtype}")
        if values.shape != image.shape:
            raise ValueError(f"init must have shape {image.shape}, got {values.shape}")
    values = as_planes(values, channel_axis)
    if values.dtype.kind == "f" and not np.isfinite(values[np.broadcast_to(free, values.shape) == 1]).all():
        raise ValueError("init must be finite where the image is corrupt, got NaN or infinity")
    return values
