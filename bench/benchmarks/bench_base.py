"""The data of every benchmark: fixed, and the same for everyone who is compared."""

import numpy as np
from skimage import data, transform

MISSING = 0.9
TWELVE_MEGAPIXELS = 3000, 4000


def photograph(rows, cols):
    """The cameraman, float64 in [0, 1]: resized where 512 x 512 is too large, mirrored on and on where too small."""
    image = data.camera() / 255
    rows_given, cols_given = image.shape
    if rows <= rows_given and cols <= cols_given:
        return transform.resize(image, (rows, cols), anti_aliasing=True)
    return np.pad(image, ((0, rows - rows_given), (0, cols - cols_given)), mode="symmetric")


def colour_photograph():
    """The astronaut, 512 x 512 x 3, float64 in [0, 1]."""
    return data.astronaut() / 255


def known_pixels(shape):
    """True where a pixel is known."""
    return np.random.default_rng(0).random(shape) >= MISSING


def corrupted(image, known):
    """The image with 0 or 1 where a pixel is not known."""
    noise = np.random.default_rng(1).integers(0, 2, known.shape)
    if image.ndim == 3:
        known, noise = known[..., np.newaxis], noise[..., np.newaxis]
    return np.where(known, image, noise)
