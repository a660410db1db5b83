"""Which pixels are corrupt: found in an image by their values, or drawn at random for trials.

A mask is a bool array, True where a pixel is corrupt, as in scikit-image and OpenCV.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import as_image, is_masked_array, looks_coloured, require, require_axis

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    _Pixel = TypeVar("_Pixel", bound=np.integer[Any] | np.floating[Any], default=Any)
    _Scalar_co = TypeVar("_Scalar_co", bound=np.generic, covariant=True)

    class _HasArray(Protocol[_Scalar_co]):
        def __array__(self) -> np.ndarray[Any, np.dtype[_Scalar_co]]: ...

    # ArrayLike of NumPy, except that the dtype of an array is known.
    _Rows: TypeAlias = Sequence[Sequence[float]] | Sequence[Sequence[Sequence[float]]]
    _Image: TypeAlias = _HasArray[_Pixel] | _Rows

__all__ = ["corrupt", "detect"]


def _extremes(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the greatest value of a pixel: pepper and salt."""
    if dtype.kind == "f":
        return 0, 1
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _marks(nodata: float | Sequence[float], dtype: np.dtype[Any]) -> list[Any]:
    """The values that mark a corrupt pixel, as scalars of the image's dtype."""
    marks = []
    for value in np.ravel(np.asarray(nodata, object)):
        if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_):
            raise TypeError(f"nodata must be a number, or several, got {nodata!r}")
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                mark = dtype.type(value)
            held = value == mark if dtype.kind != "f" else np.isfinite(mark) or not math.isfinite(value)
        except (OverflowError, ValueError):
            held = False
        if not held:
            raise ValueError(f"nodata must be a value that {dtype} can hold, got {value!r}")
        marks.append(mark)
    return marks


def detect(
    image: _Image[_Pixel],
    channel_axis: int | None = None,
    *,
    extremes: bool | None = None,
    nodata: float | Sequence[float] | None = None,
) -> NDArray[np.bool_]:
    """Find the corrupt pixels of an image by their values.

    NaN is corrupt, and so are the masked values of a masked array; beside them what the arguments say.

    Parameters
    ----------
    image : array_like, shape (rows, cols), with channels, or with frames
        Of integers or of floats of at most 64 bits. Not changed.
    channel_axis : int, optional
        None judges each value by itself, which finds noise of any kind; where a colour is saturated it also takes
        sound values for noise. Give the axis of the channels when noise has hit whole pixels: then a pixel is corrupt
        where all its channels are extreme, or nodata. NaN is judged value by value in both cases.
    extremes : bool, optional
        Whether the two extremes are corrupt, as salt and pepper: the least and the greatest value of an integer dtype,
        exactly 0 and 1 of floats. By default that is so for integers, unless `nodata` is given.
    nodata : number or sequence of numbers, optional
        Values that mark what is missing, such as -9999; compared in the image's dtype.

    Returns
    -------
    numpy.ndarray of bool
        The mask, of the image's shape, True = corrupt.

    Raises
    ------
    TypeError
        If the image has another dtype, `nodata` is no number or ``channel_axis`` is not an integer.
    ValueError
        If the image has no pixels or fewer than two dimensions, its dtype cannot hold `nodata`, or ``channel_axis`` is
        out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc import masks
    >>> masks.detect(np.array([[0, 7, 255]], dtype=np.uint8))
    array([[ True, False,  True]])
    >>> masks.detect(np.array([[0.0, np.nan, 1.0]]))
    array([[False,  True, False]])
    >>> masks.detect(np.array([[0.0, np.nan, -9999.0]]), nodata=-9999)
    array([[False,  True,  True]])
    """
    masked = np.ma.getmaskarray(cast(NDArray[Any], image)) if is_masked_array(image) else None
    image = as_image(image)
    if image.ndim < 2:
        raise ValueError(f"image must have two dimensions or more, got shape {image.shape}")
    if channel_axis is not None:
        if image.ndim < 3:
            raise ValueError(f"image must have three dimensions or more with channel_axis, got shape {image.shape}")
        channel_axis = require_axis("channel_axis", channel_axis, image.ndim)
    if extremes is None:
        extremes = image.dtype.kind != "f" and nodata is None
    marks = [] if nodata is None else _marks(nodata, image.dtype)
    if extremes:
        marks += _extremes(image.dtype)
    mask = np.zeros(image.shape, bool)
    for mark in marks:
        mask |= image == mark
    if channel_axis is not None:
        mask = np.broadcast_to(mask.all(axis=channel_axis, keepdims=True), image.shape).copy()
    if image.dtype.kind == "f":
        mask |= np.isnan(image)
    if masked is not None:
        mask |= masked
    return mask


def corrupt(
    image: _Image[_Pixel],
    missing: float = 0.9,
    *,
    rng: np.random.Generator | int | None = None,
    channel_axis: int | None = None,
) -> tuple[NDArray[_Pixel], NDArray[np.bool_]]:
    """Cover an image with salt and pepper at random places.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or (planes, rows, cols), or with channels
        Of integers or of floats of at most 64 bits. Not changed.
    missing : float, default 0.9
        The probability that a pixel becomes corrupt, between 0 and 1.
    rng : numpy.random.Generator, int or None, optional
        The source of randomness: a generator is used as it stands, an integer seeds a new one, None draws anew in
        every call.
    channel_axis : int, optional
        The axis of the channels, None for an image without.

    Returns
    -------
    corrupted : numpy.ndarray
        A copy of the image in which the corrupt pixels are black or white: the least or the greatest value of an
        integer dtype, 0 or 1 of floats. All channels of a pixel go together, so that salt is white and pepper black in
        colour too.
    mask : numpy.ndarray of bool, shape (rows, cols) or (planes, rows, cols)
        True = corrupt.

    Raises
    ------
    TypeError
        If the image has another dtype, or an argument is of the wrong kind.
    ValueError
        If the image has no pixels or another number of dimensions, ``missing`` is not in [0, 1], ``rng`` is negative or
        ``channel_axis`` is out of range.

    Notes
    -----
    Two draws are made, in this order, for grey and for colour alike:
    ``known = rng.random((rows, cols)) < 1 - missing`` and ``noise = rng.integers(0, 2, (rows, cols))``; for a volume of
    that of (planes, rows, cols).

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc import masks
    >>> image = np.full((100, 100), 7, dtype=np.uint8)
    >>> corrupted, mask = masks.corrupt(image, missing=0.9, rng=1)
    >>> round(float(mask.mean()), 1)
    0.9
    >>> np.unique(corrupted[mask]), np.unique(corrupted[~mask])
    (array([  0, 255], dtype=uint8), array([7], dtype=uint8))
    """
    image = as_image(image)
    if image.ndim not in ((2, 3) if channel_axis is None else (3, 4)):
        wanted = "2-D, or 3-D of a volume" if channel_axis is None else "3-D, or 4-D of a volume, with channel_axis"
        raise ValueError(f"image must be {wanted}, got shape {image.shape}")
    if channel_axis is None and image.ndim == 3 and looks_coloured(image.shape):
        raise ValueError(f"image must be told from one with channels, got shape {image.shape}: give channel_axis=-1")
    if channel_axis is not None:
        channel_axis = require_axis("channel_axis", channel_axis, image.ndim)
    probability = require("missing", missing, "a number between 0 and 1", lambda share: 0 <= share <= 1)
    try:
        rng = np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a numpy Generator, a non-negative integer or None, got {rng!r}") from None

    corrupted = image.copy()
    pixels = corrupted if channel_axis is None else np.moveaxis(corrupted, channel_axis, -1)  # a view
    shape = pixels.shape if channel_axis is None else pixels.shape[:-1]
    mask = ~(rng.random(shape) < 1 - probability)
    noise = rng.integers(0, 2, shape)
    low, high = _extremes(image.dtype)
    pixels[mask & (noise == 0)] = low
    pixels[mask & (noise == 1)] = high
    return corrupted, mask
