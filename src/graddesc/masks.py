"""Which pixels are corrupt: found in an image by their values, or drawn at random for trials.

A mask is a bool array, True where a pixel is corrupt, as in scikit-image and OpenCV.
"""

import numbers

import numpy as np

from graddesc.arguments import require_channel_axis

__all__ = ["corrupt", "detect"]

_DTYPES = (np.uint8, np.uint16, np.float32, np.float64)


def _as_image(image, channel_axis, *, elementwise=False):
    """Return image as an array and channel_axis counted from 0, or raise.

    With elementwise the array may have channels although channel_axis is None.
    """
    if isinstance(image, np.ma.MaskedArray):
        raise TypeError("image must be a plain array, got a masked one: give its data as image and its mask as mask")
    image = np.asarray(image)
    if image.dtype.type not in _DTYPES:
        raise TypeError(f"image must be uint8, uint16, float32 or float64, got {image.dtype}")
    if channel_axis is None:
        if image.ndim != 2 and not (elementwise and image.ndim == 3):
            wanted = "2-D or 3-D" if elementwise else "2-D, or 3-D with channel_axis"
            hint = "; give channel_axis for an image with channels" if image.ndim == 3 else ""
            raise ValueError(f"image must be {wanted}, got shape {image.shape}{hint}")
    else:
        if image.ndim != 3:
            raise ValueError(f"image must be 3-D when channel_axis is given, got shape {image.shape}")
        channel_axis = require_channel_axis(channel_axis)
    if image.size == 0:
        raise ValueError(f"image must not be empty, got shape {image.shape}")
    return image, channel_axis


def _extremes(dtype):
    """The least and the greatest value of a pixel: pepper and salt."""
    if dtype.kind == "f":
        return 0, 1
    return 0, np.iinfo(dtype).max


def detect(image, channel_axis=None):
    """Find the corrupt pixels of an image by their values.

    NaN is corrupt in floating-point images that have any. In all other images it is the two extremes that are: 0 and
    255 of uint8, 0 and 65535 of uint16, exactly 0 and 1 of floats.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or with channels
        uint8, uint16, float32 or float64. Not changed.
    channel_axis : int, optional
        None judges each value by itself, which finds noise of any kind; where a colour is saturated it also takes
        sound values for noise. Give the axis of the channels when noise has hit whole pixels: then a pixel is corrupt
        where all its channels are extreme. NaN is judged value by value in both cases.

    Returns
    -------
    numpy.ndarray of bool
        The mask, of the image's shape, True = corrupt.

    Raises
    ------
    TypeError
        If the image has another dtype or is a masked array, or ``channel_axis`` is not an integer.
    ValueError
        If the image has no pixels or another number of dimensions, or ``channel_axis`` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc import masks
    >>> masks.detect(np.array([[0, 7, 255]], dtype=np.uint8))
    array([[ True, False,  True]])
    >>> masks.detect(np.array([[0.0, np.nan, 1.0]]))
    array([[False,  True, False]])
    """
    image, channel_axis = _as_image(image, channel_axis, elementwise=True)
    if image.dtype.kind == "f":
        mask = np.isnan(image)
        if mask.any():
            return mask
    low, high = _extremes(image.dtype)
    mask = (image == low) | (image == high)
    if channel_axis is not None:
        mask = np.broadcast_to(mask.all(axis=channel_axis, keepdims=True), image.shape).copy()
    return mask


def corrupt(image, missing=0.9, *, rng=None, channel_axis=None):
    """Cover an image with salt and pepper at random places.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or with channels
        uint8, uint16, float32 or float64. Not changed.
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
        A copy of the image in which the corrupt pixels are black or white: 0 or 255 for uint8, 0 or 65535 for uint16,
        0 or 1 for floats. All channels of a pixel go together, so that salt is white and pepper black in colour too.
    mask : numpy.ndarray of bool, shape (rows, cols)
        True = corrupt.

    Raises
    ------
    TypeError
        If the image has another dtype or is a masked array, or an argument is of the wrong kind.
    ValueError
        If the image has no pixels or another number of dimensions, ``missing`` is not in [0, 1], ``rng`` is negative or
        ``channel_axis`` is out of range.

    Notes
    -----
    Two draws are made, in this order, for grey and for colour alike:
    ``known = rng.random((rows, cols)) < 1 - missing`` and ``noise = rng.integers(0, 2, (rows, cols))``.

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
    image, channel_axis = _as_image(image, channel_axis)
    if not isinstance(missing, numbers.Real):
        raise TypeError(f"missing must be a number between 0 and 1, got {missing!r}")
    probability = float(missing)
    if not 0 <= probability <= 1:
        raise ValueError(f"missing must be a number between 0 and 1, got {missing!r}")
    try:
        rng = np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a numpy Generator, a non-negative integer or None, got {rng!r}") from None

    corrupted = image.copy()
    pixels = corrupted if channel_axis is None else np.moveaxis(corrupted, channel_axis, -1)  # a view
    shape = pixels.shape[:2]
    mask = ~(rng.random(shape) < 1 - probability)
    noise = rng.integers(0, 2, shape)
    low, high = _extremes(image.dtype)
    pixels[mask & (noise == 0)] = low
    pixels[mask & (noise == 1)] = high
    return corrupted, mask
