"""Which pixels are corrupt: found in an image by their values, or drawn at random for trials; how noisy the others are.

A mask is a bool array, True where a pixel is corrupt, as in scikit-image and OpenCV.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import as_flags, as_image, is_masked_array, looks_coloured, require, require_axis
from graddesc.containers import open_image, open_pixels

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from graddesc.restoration.plan import _Mask

    _Pixel = TypeVar("_Pixel", bound=np.integer[Any] | np.floating[Any], default=Any)
    _Scalar_co = TypeVar("_Scalar_co", bound=np.generic, covariant=True)

    class _HasArray(Protocol[_Scalar_co]):
        def __array__(self) -> np.ndarray[Any, np.dtype[_Scalar_co]]: ...

    # ArrayLike of NumPy, except that the dtype of an array is known.
    _Rows: TypeAlias = Sequence[Sequence[float]] | Sequence[Sequence[Sequence[float]]]
    _Image: TypeAlias = _HasArray[_Pixel] | _Rows

__all__ = ["corrupt", "detect", "estimate_noise"]

_LOOKED_AT = 6000  # known pixels of each channel, at most
_AMONG = 2**20  # known pixels, about: of more, those in some squares or cubes of so many pixels
_TILE = 4096
_GOLDEN = (math.sqrt(5) - 1) / 2
_NEIGHBOURS = {2: 12, 3: 20}  # by the axes of space: twice the terms of a quadratic
_QUARTILE = 0.318639363964375  # of the absolute value of a standard normal variable
_REPRODUCED = 1e-6  # how well a quadratic must be, at a pixel that its neighbours tell of


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


def estimate_noise(
    image: _Image[Any],
    mask: _Mask | None = None,
    *,
    known: _Mask | None = None,
    channel_axis: int | None = None,
) -> float:
    """Estimate the standard deviation of the known pixels' noise, to give as ``noise=`` to `graddesc.restore`.

    Texture and contrast are taken for noise: the estimate is too large where noise is small, the more so the sparser
    the known pixels are. See Notes for how much.

    Parameters
    ----------
    image : array_like, shape (rows, cols), or (planes, rows, cols), or with channels
        Of integers or of floats of at most 64 bits. Not changed. What a masked array masks is not looked at.
    mask : array_like of bool or numbers, shape of the axes of space, or of the image, optional
        True (not zero) where a pixel is corrupt, and not looked at. By default NaN is corrupt, and nothing of integers.
    known : array_like of bool or numbers, optional
        The complement, to give instead of `mask`.
    channel_axis : int, optional
        The axis of the channels, whose noise is taken to be the same.

    Returns
    -------
    float
        The standard deviation, in units of the image; 0 where a quarter of the known pixels or more is told by their
        neighbours exactly, as in an image that is constant, or largely saturated.

    Raises
    ------
    TypeError
        If the image has another dtype, a mask is of the wrong kind or ``channel_axis`` is not an integer.
    ValueError
        If shapes do not fit, a volume looks like an image with channels, a known pixel is not finite, or fewer than 13
        pixels of an image (21 of a volume) are known and have known ones around.

    Notes
    -----
    A quadratic is fitted by least squares to the 12 known pixels (20 in a volume) that are nearest to a known pixel.
    What the pixel differs from it, divided by the root of one and the sum of the fit's squared weights, has the noise's
    standard deviation if the image is a quadratic there. The lower quartile of its absolute values, over that of a
    standard normal variable, is the estimate: what has most contrast is left out. At most 6000 pixels of each channel
    are looked at, the same ones in every call.

    The ratio of the estimate to the truth over eleven photographs of 256 x 256 pixels in [0, 1], the median and the
    extremes (``python bench/noise.py --only estimate``):

    ========= ================ ================ ================
    true      2 % known        10 % known       all known
    ========= ================ ================ ================
    0.2       1.01 (0.96-1.18) 1.01 (0.95-1.14) 1.03 (1.00-1.04)
    0.1       1.16 (0.96-1.66) 1.06 (0.97-1.38) 1.04 (0.99-1.13)
    0.05      1.46 (1.03-2.56) 1.21 (0.99-2.02) 1.09 (1.00-1.45)
    0.03      1.90 (1.10-3.89) 1.42 (1.03-2.97) 1.20 (1.04-1.83)
    0.01      4.99 (1.34-11.4) 2.36 (1.15-8.09) 1.61 (1.18-4.34)
    ========= ================ ================ ================

    Noise that is off by a fifth costs up to 0.5 dB, by a factor of two up to 5 dB. So the estimate is of use where the
    noise is a tenth of the image's range, or a twentieth of a range of which all is known. `restore` never makes it
    unasked.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc import masks
    >>> ramp = np.add.outer(np.arange(100.0), np.arange(100.0))
    >>> noisy = ramp + 3 * np.random.default_rng(0).standard_normal(ramp.shape)
    >>> 2.9 < masks.estimate_noise(noisy) < 3.2
    True
    """
    held = open_image(image)
    pixels = held.pixels if channel_axis is None else _channels_first(held.pixels, channel_axis)
    planes = pixels if channel_axis is not None else pixels[np.newaxis]
    if planes.ndim - 1 not in _NEIGHBOURS:
        beside = "" if channel_axis is None else " beside channel_axis"
        raise ValueError(f"image must have two or three axes of space{beside}, got shape {held.pixels.shape}")
    if channel_axis is None and planes.ndim == 4 and looks_coloured(held.pixels.shape):
        raise ValueError(
            f"image must be told from one with channels, got shape {held.pixels.shape}: give channel_axis=-1"
        )
    there = _known_pixels(image, mask, known, held.pixels, channel_axis)
    if held.masked is not None:
        there &= ~(held.masked if channel_axis is None else _channels_first(held.masked, channel_axis))
    bad = there & ~np.isfinite(planes)
    if bad.any():
        raise ValueError(
            f"image must be finite where it is known, got {planes[bad][0]} ({np.count_nonzero(bad)} in all)"
        )
    shared = bool((there == there[0]).all())
    found = []
    for some in [np.s_[:]] if shared else [np.s_[c : c + 1] for c in range(len(planes))]:
        near = _thinned(there[some][0])
        found.append(_residuals(np.argwhere(near), planes[some][:, near].astype(np.float64)))
    residuals = np.concatenate(found, axis=None)
    least = 1 + _NEIGHBOURS[planes.ndim - 1]
    if len(residuals) < least:
        raise ValueError(
            f"image must have {least} known pixels or more that have others around, got {len(residuals)} of"
            f" {np.count_nonzero(there)}"
        )
    return float(np.quantile(np.abs(residuals), 0.25) / _QUARTILE)


def _channels_first(pixels: NDArray[Any], channel_axis: int) -> NDArray[Any]:
    return np.moveaxis(pixels, require_axis("channel_axis", channel_axis, pixels.ndim), 0)


def _known_pixels(
    image: Any, mask: Any, known: Any, pixels: NDArray[Any], channel_axis: int | None
) -> NDArray[np.bool_]:
    """A copy of the known pixels, shape (channels, *axes of space)."""
    if mask is not None and known is not None:
        raise ValueError("mask and known must not both be given")
    planes = pixels[np.newaxis] if channel_axis is None else _channels_first(pixels, channel_axis)
    if mask is None and known is None:
        there: NDArray[np.bool_] = ~np.isnan(planes)
        return there
    name, given = ("known", known) if mask is None else ("mask", mask)
    flags = as_flags(name, open_pixels(name, given, image))
    space = planes.shape[1:]
    if flags.shape == (*space, 1) and flags.shape != pixels.shape:
        flags = flags[..., 0]
    if flags.shape == pixels.shape and channel_axis is not None:
        flags = _channels_first(flags, channel_axis)
    elif flags.shape != space:
        wanted = f"{space}" if channel_axis is None else f"{space} or {pixels.shape}"
        raise ValueError(f"{name} must have shape {wanted}, got {flags.shape}")
    return np.array(np.broadcast_to(flags if mask is None else ~flags, planes.shape))


def _thinned(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The known pixels, or of very many those in some tiles that lie evenly over the image."""
    count = np.count_nonzero(known)
    if count <= _AMONG:
        return known
    side = round(_TILE ** (1 / known.ndim))
    numbers = np.arange(math.prod(-(-extent // side) for extent in known.shape))
    kept = (numbers * _GOLDEN % 1 < _AMONG / count).reshape([-(-extent // side) for extent in known.shape])
    for axis, extent in enumerate(known.shape):
        kept = kept.repeat(side, axis).take(range(extent), axis)
    return known & kept


def _residuals(places: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What values, shape (channels, pixels), differ by from quadratics in their neighbours, over what weighs noise."""
    from scipy.spatial import KDTree

    count, axes = places.shape
    neighbours = _NEIGHBOURS[axes]
    if count <= neighbours:
        return np.empty(0)
    chosen = np.arange(count)
    if count > _LOOKED_AT:
        # Multiples of the golden ratio lie evenly, but in step with no row of the image.
        chosen = np.unique((np.arange(_LOOKED_AT) * _GOLDEN % 1 * count).astype(np.intp))
    tree = KDTree(places, balanced_tree=False, compact_nodes=False)
    near = np.asarray(tree.query(places[chosen], neighbours + 1)[1])
    others = near != chosen[:, np.newaxis]
    near = near[others].reshape(len(chosen), neighbours)
    offsets = (places[near] - places[chosen][:, np.newaxis]).astype(np.float64)
    offsets /= np.abs(offsets).max(axis=(1, 2), keepdims=True)
    pairs = [(a, b) for a in range(axes) for b in range(a, axes)]
    terms = [np.ones(near.shape), *np.moveaxis(offsets, -1, 0), *(offsets[..., a] * offsets[..., b] for a, b in pairs)]
    basis = np.stack(terms, axis=-1)
    weights = np.linalg.pinv(basis, rcond=1e-10)[:, 0]
    # Where neighbours lie so that not all quadratics are told apart, the pixel may yet be told: along a line, say.
    reproduced = np.einsum("pn,pnt->pt", weights, basis)
    reproduced[:, 0] -= 1
    told = np.abs(reproduced).max(axis=1) < _REPRODUCED
    near, weights, chosen = near[told], weights[told], chosen[told]
    spread = np.sqrt(1 + np.sum(weights**2, axis=1))
    low, high = values.min(), values.max()
    exponent = math.frexp(max(abs(low), abs(high)))[1]  # of what becomes 1, so that nothing overflows
    values = np.ldexp(values, -exponent)
    values -= np.median(values, axis=1, keepdims=True)  # an offset costs digits
    differences = values[:, chosen] - np.einsum("pn,cpn->cp", weights, values[:, near])
    residuals: NDArray[np.float64] = np.ldexp(differences / spread, exponent)
    return residuals
