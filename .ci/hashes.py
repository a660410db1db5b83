"""Print a hash for each of many restorations: what must have the same bits on every processor.

"texture" and confidences are not among them: NumPy, SciPy and BLAS compute them in part.

Usage: python .ci/hashes.py [LOSS ...], with graddesc installed. A line has a name and a hash; two machines agree when
their lines do. The images are made of integers and of sums and products, which IEEE 754 fixes to the last bit.
"""

import hashlib
import itertools
import sys

import numpy as np

import graddesc

LOSSES = ("line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge")
ROWS, COLS = 61, 83


def picture(dtype, channels):
    """Two smooth halves with an edge, stripes and noise; of integers, or between 0 and 1."""
    rng = np.random.default_rng(5)
    rows, cols = np.mgrid[:ROWS, :COLS]
    grey = (
        40.0 + 90.0 * (3 * rows + cols > 130) + 0.3 * cols - 0.01 * rows * cols + 12.0 * ((rows // 4 + cols // 7) % 2)
    )
    image = np.stack([grey * (1 - 0.2 * k) + rng.integers(-6, 7, grey.shape) for k in range(channels)], axis=-1)
    image = np.clip(image, 1, 254)
    image = np.rint(image * (257 if dtype.itemsize == 2 else 1)) if dtype.kind == "u" else image / 256
    return (image if channels > 1 else image[..., 0]).astype(dtype)


def volume():
    """Two halves with a slanted sheet between them, in float32, and which voxels are missing."""
    rng = np.random.default_rng(7)
    planes, rows, cols = np.mgrid[:17, :23, :41]
    grey = 40.0 + 90.0 * (5 * planes + 3 * rows + cols > 100) + 0.3 * cols - 0.01 * rows * planes
    return ((grey + rng.integers(-6, 7, grey.shape)) / 256).astype(np.float32), rng.random(grey.shape) < 0.8


def masks():
    """Scattered pixels, most of them missing, a hole with scratches, windows that touch the border, and few pixels."""
    rng = np.random.default_rng(6)
    hole = np.zeros((ROWS, COLS), bool)
    hole[20:33, 30:47] = hole[:, 60] = hole[40, :] = True
    border = np.zeros_like(hole)
    border[:5, :9] = border[-1, 50:] = border[30:34, -3:] = True
    return {
        "scattered": rng.random(hole.shape) < 0.1,
        "most": rng.random(hole.shape) < 0.8,
        "hole": hole,
        "border": border,
        "few": rng.random(hole.shape) < 0.015,
    }


def told(name, *arrays):
    """Print the hash of arrays under a name."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    print(name, digest.hexdigest()[:24], flush=True)


def main(losses):
    """Print all hashes."""
    every = masks()
    for loss, dtype, channels in itertools.product(losses, ("uint8", "uint16", "float32", "float64"), (1, 3)):
        image = picture(np.dtype(dtype), channels)
        axis = -1 if channels > 1 else None
        for name, mask in every.items():
            restored, info = graddesc.restore(image, mask, loss=loss, channel_axis=axis, full_output=True)
            told(f"{loss} {dtype} {channels} {name}", restored, np.float64([info.fun, info.nit]))
    for loss, bands in itertools.product(losses, (3, 6)):
        image = picture(np.dtype("float32"), bands)
        mask = np.random.default_rng(bands).random(image.shape) < 0.6
        restored, info = graddesc.restore(image, mask, loss=loss, channel_axis=-1, full_output=True)
        told(f"{loss} {bands} bands", restored, np.float64([info.fun, info.nit]))
    image, mask = picture(np.dtype("float32"), 1), every["most"]
    for loss in losses:
        recipe = {"step": graddesc.InverseTime(1.5, floor=0.015), "init": "image", "max_iter": 60}
        told(f"{loss} recipe", graddesc.restore(image, mask, loss=loss, **recipe))
        larger = np.tile(image, (4, 4)), np.tile(mask, (4, 4))
        told(f"{loss} threads", graddesc.restore(*larger, loss=loss, threads=2))
    for loss, spacing in itertools.product([loss for loss in losses if loss != "line"], ((1, 1, 1), (3, 1, 1))):
        told(f"{loss} volume {spacing[0]}", graddesc.restore(*volume(), loss=loss, spacing=spacing))


if __name__ == "__main__":
    main(sys.argv[1:] or LOSSES)
