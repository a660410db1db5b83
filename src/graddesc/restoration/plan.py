"""A restoration's plan: all that depends on the mask alone, made once for any number of images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    SupportsFloat,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graddesc import arguments
from graddesc.containers import open_image, open_pixels
from graddesc.isa import team_size
from graddesc.losses import _Loss, _Name, by_name
from graddesc.losses.differences import Differences, EdgeAligned, Reweighted, SumOfSquares
from graddesc.losses.grids import in_least
from graddesc.losses.line import LineSmoothness
from graddesc.losses.texture import TextureAdaptive
from graddesc.restoration import methods, solver
from graddesc.restoration.left_out import LeftOut
from graddesc.restoration.noise import as_deviations, as_huber, typical, with_infinite
from graddesc.restoration.problem import Problem, Units, as_planes, noisy, require_bounds
from graddesc.restoration.solver import Schedule
from graddesc.restoration.stacks import Stack
from graddesc.result import Result

if TYPE_CHECKING:
    from graddesc.masks import _HasArray, _Image, _Pixel, _Rows

    _Mask: TypeAlias = (
        _HasArray[np.bool_ | np.integer[Any] | np.floating[Any]]
        | Sequence[Sequence[float]]
        | Sequence[Sequence[Sequence[float]]]
    )
    # Not ArrayLike, which takes any str.
    _Init: TypeAlias = (
        Literal["pyramid", "nearest", "image"] | _HasArray[np.bool_ | np.integer[Any] | np.floating[Any]] | _Rows
    )
    _Deviation: TypeAlias = float | _HasArray[np.integer[Any] | np.floating[Any]] | _Rows
    _ValueAndGradient: TypeAlias = Callable[[NDArray[np.float64]], tuple[SupportsFloat, ArrayLike]]

    class _DataArray(Protocol):
        """What xarray's DataArray has, which `containers` knows it by."""

        @property
        def dims(self) -> Any: ...
        @property
        def coords(self) -> Any: ...
        @property
        def values(self) -> Any: ...
        def transpose(self, *dims: Any) -> Any: ...

    class _DataFrame(Protocol):
        """What pandas' DataFrame has."""

        @property
        def index(self) -> Any: ...
        @property
        def columns(self) -> Any: ...
        @property
        def iloc(self) -> Any: ...

    # What comes back as the type that it is; all other images come back as arrays.
    _Holder = TypeVar("_Holder", bound=np.ma.MaskedArray[Any, Any] | _DataArray | _DataFrame)

    class _PlanSettings(TypedDict, total=False):
        """The keywords that every overload takes."""

        noise: _Deviation
        huber: bool | float
        step: Schedule | None
        init: _Init
        max_iter: int | None
        tol: float | None
        max_time: float | None
        bounds: tuple[float | None, float | None] | None
        callback: Callable[[Result], object] | None


__all__ = ["Plan"]

_TOL = 0.1  # of "line", which is within 0.1 % of its minimum then, and of callables


class Plan:
    """How images whose corrupt pixels are at the same places are restored; ``plan(image)`` restores one.

    Parameters
    ----------
    mask : array_like of bool or numbers, shape (rows, cols), (planes, rows, cols) or that of the images
        True (not zero) where a pixel is corrupt.
    shape : tuple of int, optional
        The shape of the images; by default any whose axes of space are the mask's. With `channel_axis` a 3-D mask is
        one of images whose channels have masks of their own, unless `shape` or three numbers of `spacing` tell that it
        is one of volumes.
    known : array_like of bool or numbers, optional
        The complement, to give instead of `mask`.
    ignore, loss, channel_axis, spacing, threads : optional
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
        ignore: _Mask | None = None,
        loss: _Name | _Loss | _ValueAndGradient = "edge",
        channel_axis: int | None = None,
        spacing: float | Sequence[float] | None = None,
        threads: int = 1,
    ) -> None:
        if mask is not None and known is not None:
            raise ValueError("mask and known must not both be given")
        if mask is None and known is None:
            raise TypeError("mask must be given, or known in its place, got None for both")
        name, given = ("mask", mask) if known is None else ("known", known)
        flags = arguments.as_flags(name, given)
        shape = None if shape is None else _as_shape(shape, channel_axis)
        told = arguments.are_distances_along(spacing, 3)
        if shape is not None and channel_axis is None and shape[2:] == (1,) and not told:
            channel_axis = 2  # as `restore` takes a last axis of length 1
        space = _axes_of_space(name, flags, shape, channel_axis, spacing)
        if channel_axis is not None:
            channel_axis = arguments.require_axis("channel_axis", channel_axis, space + 1)
        distances = arguments.require_spacing(1 if spacing is None else spacing, space)
        if shape is None and flags.ndim == space + 1 and channel_axis is None:
            flags = flags[..., 0]
        self._free = _corrupt_pixels(name, flags, known is not None, shape, space, channel_axis)
        self._ignored = None if ignore is None else _ignored_pixels(ignore, self._free)
        _require_known(name, self._free, self._ignored)
        self._channels = len(self._free) if len(self._free) > 1 else None  # as many as have a mask of their own
        if self._channels and (self._free == self._free[0]).all():
            self._free = self._free[:1]
        self._loss = _as_loss(loss)
        if self._ignored is not None and isinstance(self._loss, TextureAdaptive):
            raise ValueError("ignore must not be given with 'texture', whose windows reach across what is left out")
        self._shape, self._channel_axis = shape, channel_axis
        # An image whose pixels are not squares is a volume of one plane.
        self._flat = space == 2
        uneven = min(distances) < max(distances)
        self._spacing = (
            in_least((1.0,) * (3 - space) + distances, _as_volume(self._free)) if space == 3 or uneven else ()
        )
        if self._spacing:
            _require_volumes(self._loss, uneven)
        pixels = None if isinstance(self._loss, TextureAdaptive) else self._free[0].size  # that is much work for each
        self._threads = team_size(arguments.require_count("threads", threads), pixels)
        self._given = ("mask", mask), ("known", known), ("ignore", ignore)
        self._prepared: Any = None
        self._stack: Stack | None = None
        if not self._waits:
            self._prepare()

    _waits = False  # until what is costly is needed

    def _prepare(self) -> None:
        """Make what can be told of the mask before an image is known."""
        if self._ignored is not None:
            if isinstance(self._loss, Differences if self._spacing else SumOfSquares | Reweighted):
                free, ignored = self._free, self._ignored
                self._prepared = (
                    LeftOut(free[:, np.newaxis], ignored[np.newaxis]) if self._flat else LeftOut(free, ignored)
                )
        elif not self._spacing:
            self._prepared = methods.prepare(self._loss, self._free, self._threads)
        if self._is_stackable:
            self._stack = Stack.of(self._free, self._prepared)

    @property
    def _is_stackable(self) -> bool:
        """Whether what it takes are images of sums of squares, of one channel, of which all else is known."""
        plain = self._channel_axis is None and self._ignored is None and not self._spacing
        return plain and isinstance(self._loss, SumOfSquares)

    @property
    def _is_line(self) -> bool:
        """Whether images have one row or column, and all channels one mask."""
        return self._flat and 1 in self._free.shape[1:] and len(self._free) == 1 and self._ignored is None

    @overload
    def __call__(
        self,
        image: _Holder,
        *,
        out: None = None,
        full_output: Literal[False] = False,
        confidence: Literal[False] = False,
        **options: Unpack[_PlanSettings],
    ) -> _Holder: ...

    @overload
    def __call__(
        self,
        image: _Holder,
        *,
        out: None = None,
        full_output: Literal[True],
        confidence: bool = False,
        **options: Unpack[_PlanSettings],
    ) -> tuple[_Holder, Result]: ...

    @overload
    def __call__(
        self,
        image: _Holder,
        *,
        out: None = None,
        full_output: bool,
        confidence: bool = False,
        **options: Unpack[_PlanSettings],
    ) -> _Holder | tuple[_Holder, Result]: ...

    @overload
    def __call__(
        self,
        image: _Image[_Pixel],
        *,
        out: NDArray[_Pixel] | None = None,
        full_output: Literal[False] = False,
        confidence: Literal[False] = False,
        **options: Unpack[_PlanSettings],
    ) -> NDArray[_Pixel]: ...

    @overload
    def __call__(
        self,
        image: _Image[_Pixel],
        *,
        out: NDArray[_Pixel] | None = None,
        full_output: Literal[True],
        confidence: bool = False,
        **options: Unpack[_PlanSettings],
    ) -> tuple[NDArray[_Pixel], Result]: ...

    @overload
    def __call__(
        self,
        image: _Image[_Pixel],
        *,
        out: NDArray[_Pixel] | None = None,
        full_output: bool,
        confidence: bool = False,
        **options: Unpack[_PlanSettings],
    ) -> NDArray[_Pixel] | tuple[NDArray[_Pixel], Result]: ...

    def __call__(
        self,
        image: Any,
        *,
        noise: _Deviation = 0.0,
        huber: bool | float = False,
        step: Schedule | None = None,
        init: _Init = "pyramid",
        max_iter: int | None = None,
        tol: float | None = None,
        max_time: float | None = None,
        bounds: tuple[float | None, float | None] | None = None,
        callback: Callable[[Result], object] | None = None,
        out: NDArray[Any] | None = None,
        full_output: bool = False,
        confidence: bool = False,
    ) -> Any:
        """Restore an image; parameters, results and errors as for `restore`."""
        held = open_image(image)
        if held.masked is not None:
            self.require_within(held.masked)
        restored, info = self.restore_array(
            held.pixels,
            noise=open_pixels("noise", noise, image),
            huber=huber,
            step=step,
            init=init if isinstance(init, str) else open_pixels("init", init, image),
            max_iter=max_iter,
            tol=tol,
            max_time=max_time,
            bounds=bounds,
            callback=callback,
            out=out,
            full_output=full_output,
            confidence=confidence,
        )
        if out is None:
            restored = held.close(restored)
        if info is None:
            return restored
        info.x = restored
        return restored, info

    def restore_array(
        self,
        image: NDArray[Any],
        *,
        noise: _Deviation,
        huber: bool | float,
        step: Schedule | None,
        init: _Init,
        max_iter: int | None,
        tol: float | None,
        max_time: float | None,
        bounds: tuple[float | None, float | None] | None,
        callback: Callable[[Result], object] | None,
        out: NDArray[Any] | None,
        full_output: bool,
        confidence: bool,
        history: bool = True,
    ) -> tuple[NDArray[Any], Result | None]:
        """Restore an image that is a plain array; the info is None without full_output, its history may be left out."""
        started = time.perf_counter()
        loss, channel_axis = self._loss, self._channel_axis
        planes = self._planes(image)
        arguments.require_callable("step", step, "None or a schedule k -> float, such as Constant(0.1)")
        outlying = as_huber(huber)
        missing, deviations = self._with_noise(as_deviations(noise, image.shape, channel_axis))
        default_tol = getattr(loss, "default_tol", _TOL) if deviations is None else solver.NOISY_TOL
        limits = solver.Limits.of(max_iter, tol, max_time, step, started, default_tol)
        arguments.require_callable("callback", callback)
        self._require_apart(out, image)
        own = not isinstance(loss, methods.COMPILED)
        if confidence and not full_output:
            raise ValueError("confidence must come with full_output, which holds it")
        if confidence and own:
            raise ValueError("confidence must not be asked of a callable loss")
        if deviations is not None:
            self._require_noise_fits(step)
        if step is not None and self._spacing and self._ignored is not None and isinstance(loss, Differences):
            what = "an image whose spacing differs from axis to axis" if self._flat else "a volume"
            raise ValueError(f"step must not be given with ignore for {what}, whose recipe leaves nothing out")
        start = _as_start(init, image, missing, channel_axis)
        exact = deviations is None and missing is self._free
        plain = exact and not full_output and self._is_at_once(step, init, limits.max_iter, callback)
        # Floats that are not finite are refused when `out` has been written.
        if plain and self._is_stackable and self._threads == 1 and (out is None or image.dtype.kind in "iu"):
            require_bounds(bounds, image.dtype)
            if self._prepared is None:
                self._prepare()
        prepared = self._prepared if missing is self._free else None
        if plain and self._stack is not None and self._stack.takes(image, out):
            restored = np.empty(image.shape, image.dtype) if out is None else out
            if not self._stack.restore(image[np.newaxis], bounds, restored[np.newaxis]):
                return restored, None

        contrasts = isinstance(loss, Differences | TextureAdaptive)
        unknown = missing if self._ignored is None else missing | self._ignored
        deviation = 0.0 if deviations is None else typical(deviations)
        outliers = deviations is not None and outlying < math.inf
        units = Units.of(
            planes, unknown, bounds, as_is=own, contrasts=contrasts, deviation=deviation, outliers=outliers
        )
        spacing = self._spacing
        if not spacing and self._ignored is not None and step is None and isinstance(loss, SumOfSquares | Reweighted):
            spacing = (1.0, 1.0, 1.0)  # a volume of one plane, whose kernels leave pixels out; "edge" weighs otherwise
        if not spacing and step is None and isinstance(loss, EdgeAligned) and self._is_line:
            spacing = (1.0, 1.0, 1.0)  # what "edge" is of an image are sums over pixels that a line has none of

        def in_space(planes: NDArray[Any]) -> NDArray[Any]:
            """A view with the axes of the problem: an image whose pixels are not squares is a volume of one plane."""
            return planes[:, np.newaxis] if self._flat and spacing else planes

        problem = Problem(
            in_space(planes), in_space(missing), units,
            start if isinstance(start, str) else in_space(start), self._threads,
            None if self._ignored is None else in_space(self._ignored[np.newaxis])[0],
            spacing=spacing,
        )  # fmt: skip
        if deviations is not None:
            problem = noisy(problem, in_space(deviations) if deviations.size > 1 else deviations, outlying)
        steps, run = methods.begin(loss, problem, step, limits, channel_axis, prepared)
        report = _Report(steps, problem, image, channel_axis, callback, full_output and history)
        watched = full_output or callback is not None
        status, message = run(report.iteration if watched else None) if problem.moves else solver.NOTHING
        restored = report.assemble(out)
        if not full_output:
            return restored, None
        info = report.info(restored, status, message)
        if confidence:
            x = problem.restored(steps.pieces())
            del steps, run, report  # what is held out is descended as well: the memory of one descent is enough
            from graddesc.restoration import confidence as trust  # which few ask for

            shares, variances = trust.estimate(loss, problem, x, limits, step)
            errors = np.sqrt(shares)
            for channel, (plane, variance) in enumerate(zip(errors, variances, strict=True)):
                deviation = math.sqrt(variance) * problem.units_of(channel).unit
                np.multiply(plane, deviation, out=plane, dtype=np.float64, casting="same_kind")
            shares += 1
            shape = (-1, *planes.shape[1:])
            info.confidence = _shaped(np.reciprocal(shares, out=shares).reshape(shape), image, channel_axis)
            info.error = _shaped(errors.reshape(shape), image, channel_axis)
        return restored, info

    @staticmethod
    def _is_at_once(step: Any, init: Any, max_iter: int | None, callback: Any) -> bool:
        """Whether nobody looks at the way to a minimum, and no start is given, so that it may be solved for."""
        return step is None and callback is None and isinstance(init, str) and init == "pyramid" and max_iter != 0

    def restore_stack(
        self,
        images: NDArray[Any],
        out: NDArray[Any],
        *,
        noise: Any,
        step: Any,
        init: Any,
        max_iter: Any,
        bounds: Any,
        **_: Any,
    ) -> list[int] | None:
        """Restore images, shape (n, rows, cols), at once; return the numbers of those that must be restored alone.

        None if all must be. The settings are those of `restore`, and have been checked.
        """
        shape = self._shape or self._free.shape[1:]
        if self._stack is None or images.shape[1:] != shape or not self._stack.takes(images, out):
            return None
        exact = isinstance(noise, int | float) and noise == 0
        if not (exact and self._is_at_once(step, init, max_iter, None)):
            return None
        return self._stack.restore(images, bounds, out)

    def _with_noise(
        self, deviations: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64] | None]:
        """The corrupt pixels, as those of infinite deviation are, and the deviations; None if all others are exact."""
        if deviations is None:
            return self._free, None
        missing = with_infinite(self._free, deviations, self._ignored)
        if missing is not self._free:
            _require_known("noise", missing, self._ignored)
        if deviations.size > 1:
            deviations = np.where(missing.view(bool), np.inf, deviations)
        return missing, deviations if typical(deviations) > 0 else None

    def _require_noise_fits(self, step: Schedule | None) -> None:
        """Raise if known pixels cannot be noisy here."""
        methods.require_noisy(self._loss, self._ignored)
        if step is not None:
            raise ValueError("noise must not be given with step, whose recipe keeps the known pixels as they are")

    def _planes(self, image: NDArray[Any]) -> NDArray[Any]:
        """The planes of an image, which must have the plan's shape."""
        ndim = self._free.ndim - (self._channel_axis is None)
        if image.ndim != ndim:
            wanted = {2: "2-D, or 3-D with channel_axis or frame_axis", 3: "3-D with channel_axis", 4: "4-D"}[ndim]
            if not self._flat and self._channel_axis is None:
                wanted = "a volume, which is 3-D"
            raise ValueError(f"image must be {wanted}, got shape {image.shape}")
        planes = as_planes(image, self._channel_axis)
        self._require_shape(image, planes)
        return planes

    def require_within(self, masked: NDArray[np.bool_]) -> None:
        """Raise if a masked array masks pixels that the plan takes for known."""
        planes = self._planes(masked)
        told = self._free.view(bool) if self._ignored is None else self._free.view(bool) | self._ignored
        if (planes & ~told).any():
            raise ValueError("image must mask no pixel that mask calls known, got a masked array that does")

    def _require_shape(self, image: NDArray[Any], planes: NDArray[Any]) -> None:
        if self._shape is not None and image.shape != self._shape:
            raise ValueError(f"image must have shape {self._shape}, got {image.shape}")
        wanted = (self._channels or len(planes), *self._free.shape[1:])
        if planes.shape[1:] == wanted[1:] and len(planes) != wanted[0]:
            raise ValueError(f"image must have {wanted[0]} channels, as the mask has, got shape {image.shape}")
        if planes.shape != wanted:
            sides = "rows and columns" if self._flat else "planes, rows and columns"
            raise ValueError(f"image must have {sides} {self._free.shape[1:]}, got shape {image.shape}")

    def _require_apart(self, out: Any, image: NDArray[Any]) -> None:
        """Raise unless out is none, or an array for the result that overlaps nothing that is given."""
        if out is None:
            return
        arguments.require_out(out, image.shape, image.dtype)
        for name, other in (("image", image), *self._given):
            if isinstance(other, np.ndarray) and np.shares_memory(out, other):
                raise ValueError(f"out must not overlap {name}")


class SinglePlan(Plan):
    """The plan of one restoration: what is costly waits until all arguments are checked, and is made if needed."""

    _waits = True


class _Report:
    """What the caller is told: images, losses, and the result."""

    def __init__(
        self,
        steps: methods.Steps,
        problem: Problem,
        image: NDArray[Any],
        channel_axis: int | None,
        callback: Callable[[Result], object] | None,
        keeps_history: bool,
    ) -> None:
        self._steps, self._problem, self._image, self._channel_axis = steps, problem, image, channel_axis
        self._callback, self._keeps_history = callback, keeps_history
        self._history: list[float] = []
        self._nit = 0

    def _loss(self) -> float:
        return self._steps.loss() * self._problem.units.loss_unit

    def iteration(self, nit: int, step: float | None) -> None:
        """Note an iteration and call back; raises what the callback raises."""
        self._nit += 1
        called = self._callback is not None and nit >= getattr(self._callback, "next_iteration", 0)
        if self._keeps_history or called:
            loss = self._loss()
            if self._keeps_history:
                self._history.append(loss)
            if self._callback is not None and called:
                self._callback(Result(x=self.assemble(), fun=loss, nit=nit, step=step))

    def assemble(self, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Write the known pixels of the image, and the others as they stand, to out, by default a new array."""
        if out is None:
            out = np.empty(self._image.shape, self._image.dtype)
        out[...] = self._image
        planes = as_planes(out, self._channel_axis)
        if planes.ndim < self._problem.planes.ndim:
            planes = planes[:, np.newaxis]
        self._problem.write(self._steps.pieces(), planes)
        return out

    def info(self, restored: NDArray[Any], status: int, message: str) -> Result:
        """The second result of restore()."""
        return Result(
            x=restored,
            fun=self._loss(),
            nit=self._nit,
            success=status == 0,
            status=status,
            message=message,
            history=np.array(self._history, dtype=np.float64),
        )


def _shaped(planes: NDArray[np.float32], image: NDArray[Any], channel_axis: int | None) -> NDArray[np.float32]:
    """Planes in the shape of an image, or of its rows and columns where there is but one."""
    if len(planes) == 1:
        plane: NDArray[np.float32] = planes[0]
        return plane
    out = np.empty(image.shape, np.float32)
    as_planes(out, channel_axis)[...] = planes
    return out


# ---- checks ----


def _as_shape(shape: Any, channel_axis: int | None) -> tuple[int, ...]:
    """The shape of images as a tuple of int."""
    ndim = 2 if channel_axis is None else 3
    wanted = "2 or 3 positive integers" if ndim == 2 else "3 or 4 positive integers with channel_axis"
    try:
        sides = tuple(arguments.require_count("shape", side, least=0) for side in shape)
    except TypeError:
        raise TypeError(f"shape must be {wanted}, got {shape!r}") from None
    except ValueError:
        sides = ()
    if len(sides) not in (ndim, ndim + 1) or 0 in sides:
        raise ValueError(f"shape must be {wanted}, got {shape!r}")
    return sides


def _axes_of_space(
    name: str, flags: NDArray[np.bool_], shape: tuple[int, ...] | None, channel_axis: int | None, spacing: Any
) -> int:
    """How many axes of space there are: 2, or 3 of volumes."""
    if shape is not None:
        return len(shape) - (channel_axis is not None)
    volumes = arguments.are_distances_along(spacing, 3)
    least = 3 if volumes else 2
    if channel_axis is not None and least <= flags.ndim <= 4:
        return max(flags.ndim - 1, least)
    if channel_axis is None and flags.ndim == least + 1 and flags.shape[-1] == 1:
        return least
    if channel_axis is None and least <= flags.ndim <= 3:
        return flags.ndim
    wanted = " or ".join(f"{ndim}-D" for ndim in range(least, 4 + (channel_axis is not None)))
    wanted += " with channel_axis" if channel_axis is not None else ""
    raise ValueError(f"{name} must be {wanted}, got shape {flags.shape}")


def _as_volume(free: NDArray[np.uint8]) -> tuple[int, ...]:
    """The shape of a mask's axes of space, an image being a volume of one plane."""
    return (1, *free.shape[1:])[-3:]


def _require_volumes(loss: Any, uneven: bool) -> None:
    """Raise unless a loss restores volumes, or images and volumes whose spacing differs from axis to axis."""
    differences = isinstance(loss, Differences)
    if uneven and not differences:
        what = "a callable loss" if not isinstance(loss, methods.COMPILED) else f"{loss!r}"
        raise ValueError(f"spacing must be the same along all axes with {what}, which does not know of it")
    if isinstance(loss, LineSmoothness | TextureAdaptive):
        raise ValueError(f"loss must be one of local differences, or a callable, for a volume, got {loss!r}")


def _corrupt_pixels(
    name: str,
    flags: NDArray[np.bool_],
    complement: bool,
    shape: tuple[int, ...] | None,
    space: int,
    channel_axis: int | None,
) -> NDArray[np.uint8]:
    """The corrupt pixels as uint8, C-contiguous, 1 where corrupt, the masks of channels along the first axis."""
    if shape is None:
        shape = flags.shape
        if flags.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {shape}")
        channel_axis = channel_axis if flags.ndim == space + 1 else None
    plane = shape if channel_axis is None else tuple(n for axis, n in enumerate(shape) if axis != channel_axis)
    if flags.shape == (*plane, 1) and flags.shape != shape:
        flags = flags[..., 0]
    if flags.ndim == 0:  # one for all, as np.ma.nomask is
        flags = np.broadcast_to(flags, plane)
    if flags.shape == plane:
        flags = flags[np.newaxis]
    elif flags.shape == shape:
        flags = as_planes(flags, channel_axis)
    else:
        wanted = f"{plane}" if channel_axis is None else f"{plane} or {shape}"
        raise ValueError(f"{name} must have shape {wanted}, got {flags.shape}")
    # A copy: whoever gave it may change it while the plan lasts.
    return np.array(~flags if complement else flags, order="C").view(np.uint8)


def _ignored_pixels(ignore: Any, free: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """The pixels to ignore, of the shape of the axes of space, which the corrupt ones then leave out; None without."""
    flags = arguments.as_flags("ignore", ignore)
    plane = free.shape[1:]
    if flags.shape == (*plane, 1):
        flags = flags[..., 0]
    if flags.ndim == 0:
        flags = np.broadcast_to(flags, plane)
    if flags.shape != plane:
        raise ValueError(f"ignore must have shape {plane}, got {flags.shape}")
    free[:, flags] = 0
    return np.array(flags) if flags.any() else None


def _require_known(name: str, free: NDArray[np.uint8], ignored: NDArray[np.bool_] | None) -> None:
    """Raise unless there is something to restore from in each channel."""
    for channel, pixels in enumerate(free):
        unknown = pixels.view(bool) if ignored is None else pixels.view(bool) | ignored
        if unknown.all():
            where = f" in channel {channel}" if len(free) > 1 else ""
            beside = "" if ignored is None else ", beside those of ignore"
            raise ValueError(f"{name} must leave at least one pixel known{beside}, got none{where}")


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
        values = arguments.as_array("init", init)
        if values.dtype.kind not in "buif":
            raise TypeError(f"init must be an array of real numbers, got {values.dtype}")
        if values.shape != image.shape:
            raise ValueError(f"init must have shape {image.shape}, got {values.shape}")
    values = as_planes(values, channel_axis)
    if values.dtype.kind == "f" and not np.isfinite(values[np.broadcast_to(free, values.shape) == 1]).all():
        raise ValueError("init must be finite where the image is corrupt, got NaN or infinity")
    return values
