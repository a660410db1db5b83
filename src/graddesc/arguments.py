"""What an argument must be: one check for each kind, which raises an error that names argument, wish and value."""

from __future__ import annotations

import math
import numbers
import operator
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from graddesc.masks import _HasArray

    _Float = TypeVar("_Float", bound=np.floating[Any], default=Any)
    _Plane: TypeAlias = _HasArray[_Float] | Sequence[Sequence[float]]
    _Space: TypeAlias = _Plane[_Float] | Sequence[Sequence[Sequence[float]]]


def require(name: str, value: Any, wanted: str, accepted: Callable[[float], bool]) -> float:
    """Return a finite real number for which accepted(number) holds as a float."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and accepted(number)):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return number


def require_count(name: str, value: Any, least: int = 1) -> int:
    """Return an integer that is at least so much as an int."""
    wanted = {0: "a non-negative integer", 1: "a positive integer"}.get(least, f"an integer of at least {least}")
    count = _as_integer(name, value, wanted)
    if count < least:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return count


def require_axis(name: str, value: Any, ndim: int) -> int:
    """Return an axis of an image of so many dimensions, counted from 0."""
    axis = _as_integer(name, value, "an integer")
    if not -ndim <= axis < ndim:
        raise ValueError(f"{name} must be an axis of image, from {-ndim} to {ndim - 1}, got {value!r}")
    return axis % ndim


def looks_coloured(shape: tuple[int, ...]) -> bool:
    """Whether the last of three axes is as short as one of colours is, beside axes that are long."""
    return shape[-1] in (3, 4) and min(shape[:2]) > 4 * shape[-1]


def require_spacing(value: Any, ndim: int) -> tuple[float, ...]:
    """Return the distances of neighbours along each of so many axes of space."""
    wanted = f"a positive finite number, or {ndim} of them, one for each axis of space"
    if isinstance(value, numbers.Real):
        return (require("spacing", value, wanted, lambda v: v > 0),) * ndim
    if isinstance(value, str) or not np.iterable(value):
        raise TypeError(f"spacing must be {wanted}, got {value!r}")
    distances = tuple(value)
    if len(distances) != ndim:
        raise ValueError(f"spacing must be {wanted}, got {value!r}")
    return tuple(require("spacing", distance, wanted, lambda v: v > 0) for distance in distances)


def is_masked_array(given: Any) -> bool:
    """Whether this is a masked array of NumPy, whose module is left unloaded if nobody can have made one."""
    module = sys.modules.get("numpy.ma.core")
    kind = getattr(module, "MaskedArray", None)
    return kind is not None and isinstance(given, kind)


def are_distances_along(spacing: Any, ndim: int) -> bool:
    """Whether a spacing tells of as many axes of space, a number for each."""
    sized = isinstance(spacing, Sequence | np.ndarray) and not isinstance(spacing, str)
    return sized and np.iterable(spacing) and len([*spacing]) == ndim


def as_array(name: str, given: Any) -> NDArray[Any]:
    """Return what is given as an array."""
    try:
        return np.asarray(given)
    except ValueError:  # rows that differ in length
        raise TypeError(f"{name} must be an array, got rows that differ in length") from None


def as_image(image: Any) -> NDArray[Any]:
    """Return an image as an array of real numbers, which is not empty."""
    array = as_array("image", image)
    wanted = "image must be of integers or of floats of at most 64 bits"
    if array.dtype.kind == "b":
        raise TypeError(f"{wanted}, got bool: image.astype(np.uint8) makes it 0 and 1")
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{wanted}, got {array.dtype}")
    if array.size == 0:
        raise ValueError(f"image must not be empty, got shape {array.shape}")
    return array


def as_flags(name: str, given: Any) -> NDArray[np.bool_]:
    """Return flags, such as those of a mask, as an array of bool: what is not zero is True."""
    if is_masked_array(given):
        if np.ma.is_masked(given):
            raise TypeError(f"{name} must say of each pixel whether it is, got an array of which some are masked")
        given = given.data
    flags = as_array(name, given)
    if flags.dtype.kind not in "buif":
        raise TypeError(f"{name} must be of bool or of numbers that are zero or not, got {flags.dtype}")
    if flags.dtype.kind == "f" and np.isnan(flags).any():
        raise ValueError(f"{name} must be of bool or of numbers that are zero or not, got NaN")
    return flags if flags.dtype == np.bool_ else flags != 0


def _as_integer(name: str, value: Any, wanted: str) -> int:
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from None


def require_share(name: str, value: Any) -> float:
    """Return a number in (0, 1] as a float."""
    return require(name, value, "a number in (0, 1]", lambda v: 0 < v <= 1)


def require_positive(name: str, value: Any) -> float:
    """Return a positive finite number as a float."""
    return require(name, value, "a positive finite number", lambda v: v > 0)


def require_nonnegative(name: str, value: Any) -> float:
    """Return a non-negative finite number as a float."""
    if type(value) is float and 0.0 <= value < math.inf:
        return value  # as it mostly is: the question whether it is a number takes a microsecond
    return require(name, value, "a non-negative finite number", lambda v: v >= 0)


def require_callable(name: str, value: Any, wanted: str = "callable") -> None:
    """Raise unless value is None or can be called, and is no class."""
    if value is not None and (isinstance(value, type) or not callable(value)):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")


def _require_real(name: str, values: Any, verb: str) -> None:
    """Refuse what NumPy would turn into floats with a loss: complex numbers, text, what a mask hides."""
    if is_masked_array(values) and np.ma.is_masked(values):
        raise TypeError(f"{name} must {verb} an array of numbers, got one of which some are masked")
    try:
        real = np.asarray(values).dtype.kind in "biufO"
    except ValueError:  # rows that differ in length
        real = False
    if not real:
        raise TypeError(f"{name} must {verb} an array of numbers, got {values!r}")


def as_floats(name: str, values: Any, verb: str = "be", **options: Any) -> NDArray[np.float64]:
    """Return a new array of float64; options are those of np.array."""
    if not (type(values) is np.ndarray and values.dtype.kind == "f"):
        _require_real(name, values, verb)
    try:
        return np.array(values, dtype=np.float64, **options)
    except OverflowError:
        raise ValueError(f"{name} must {verb} numbers that a float holds, got {values!r}") from None


def as_plane(x: _Plane[_Float]) -> NDArray[_Float]:
    """Return x as the kernels take it: C-contiguous, 2-D, float32 or float64, copied only if it is not."""
    plane: NDArray[_Float] = np.asarray(x)
    if plane.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, got {plane.dtype}")
    if plane.ndim != 2 or plane.size == 0:
        raise ValueError(f"x must be 2-D and not empty, got shape {plane.shape}")
    return np.ascontiguousarray(plane)


def as_space(x: Any, spacing: Any) -> tuple[NDArray[Any], tuple[float, ...]]:
    """Return x as the kernels take it, and the distances of neighbours along three axes if it is a volume.

    x is 2-D or 3-D, of float32 or float64; it is a volume of one plane if it is 2-D and its distances differ.
    """
    x = np.asarray(x)
    if x.ndim != 3:
        x = as_plane(x)
    elif x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, got {x.dtype}")
    elif x.size == 0:
        raise ValueError(f"x must be 2-D or 3-D and not empty, got shape {x.shape}")
    distances = require_spacing(1 if spacing is None else spacing, x.ndim)
    if x.ndim == 2 and (spacing is None or distances == (1, 1)):
        return x, ()
    return np.ascontiguousarray(x), (1.0,) * (3 - x.ndim) + distances


def require_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise unless out is a writeable plain array of this shape and dtype."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.matrix) or is_masked_array(out):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")


def as_out(out: NDArray[_Float] | None, x: NDArray[_Float]) -> tuple[NDArray[_Float], NDArray[_Float]]:
    """Return the array that receives a gradient at x, and a contiguous one for the kernel, the same if it can be."""
    if out is None:
        out = np.empty_like(x)
        return out, out
    require_out(out, x.shape, x.dtype)
    if out.flags.c_contiguous and not np.shares_memory(out, x):
        return out, out
    return out, np.empty_like(x)
