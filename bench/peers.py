"""The same work as others do it: one iteration of the classic recipe, and whole restorations.

An iteration is x <- clip(x - step * gradient, 0, 1) where the image is not known. Each function below takes the start
and what is known, and returns ``advance(steps) -> image``, which takes one iteration for each of the steps; imports and
compilation happen before it returns. Images are float32.
"""

import functools

import numpy as np

# ---- one iteration ----


def graddesc_sweep(start, known):
    from graddesc.losses import LineSmoothness

    x = start.copy()
    sweeps = LineSmoothness().sweeps(x[np.newaxis], (~known).view(np.uint8)[np.newaxis], 0.0, 1.0)

    def advance(steps):
        for step in steps:
            sweeps.descend(step)
        return x

    return advance


def autograd_lines(start, known):
    import autograd.numpy as anp
    from autograd import grad

    def loss(x):
        total = 0.0
        for line in [*x, *x.T]:
            for part in (line, line[0::2], line[1::2]):
                total = total + anp.linalg.norm(anp.diff(part))
        return total

    gradient = grad(loss)
    x = start

    def advance(steps):
        nonlocal x
        for step in steps:
            x = np.where(known, x, np.clip(x - np.float32(step) * gradient(x), 0, 1))
        return x

    return advance


def _loss_of_arrays(x, sqrt):
    """The loss in whole-array operations, for libraries whose arrays share NumPy's indexing and methods."""
    total = 0.0
    for lines in (x, x.T):
        d1, d2 = lines[:, 1:] - lines[:, :-1], lines[:, 2:] - lines[:, :-2]
        for d in (d1, d2[:, 0::2], d2[:, 1::2]):
            total = total + sqrt((d * d).sum(1)).sum()
    return total


def jax_jit(start, known):
    import jax
    import jax.numpy as jnp

    gradient = jax.grad(lambda x: _loss_of_arrays(x, jnp.sqrt))
    iterate = jax.jit(lambda x, known, step: jnp.where(known, x, jnp.clip(x - step * gradient(x), 0, 1)))
    x, known = jnp.asarray(start), jnp.asarray(known)
    iterate(x, known, 0.0).block_until_ready()

    def advance(steps):
        nonlocal x
        for step in steps:
            x = iterate(x, known, step)
        return np.asarray(x.block_until_ready())

    return advance


def torch_autograd(start, known):
    import torch

    known = torch.from_numpy(known)
    x = torch.from_numpy(start.copy()).requires_grad_()

    def advance(steps):
        for step in steps:
            (gradient,) = torch.autograd.grad(_loss_of_arrays(x, torch.sqrt), x)
            with torch.no_grad():
                x.copy_(torch.where(known, x, (x - step * gradient).clamp_(0, 1)))
        return x.detach().numpy()

    return advance


def torch_by_hand(start, known):
    import torch

    free = torch.from_numpy((~known).astype(np.float32))
    x = torch.from_numpy(start.copy())
    gradient = torch.empty_like(x)

    def add_lines(x, gradient):
        d = x[:, 1:] - x[:, :-1]
        d /= torch.linalg.vector_norm(d, dim=1, keepdim=True)
        gradient[:, 1:] += d
        gradient[:, :-1] -= d
        d = x[:, 2:] - x[:, :-2]
        for parity in (0, 1):
            d[:, parity::2] /= torch.linalg.vector_norm(d[:, parity::2], dim=1, keepdim=True)
        gradient[:, 2:] += d
        gradient[:, :-2] -= d

    def advance(steps):
        for step in steps:
            gradient.zero_()
            add_lines(x, gradient)
            add_lines(x.T, gradient.T)
            x.addcmul_(gradient, free, value=-step).clamp_(0, 1)
        return x.numpy()

    return advance


def numba_loop(start, known):
    import numba

    jit = numba.njit(fastmath=True)

    @jit
    def measure(x, row_weights, column_weights):
        rows, cols = x.shape
        column_weights[:] = 0
        for i in range(rows):
            stride1 = even = odd = np.float32(0)
            for j in range(cols - 1):
                stride1 += (x[i, j + 1] - x[i, j]) ** 2
            for j in range(0, cols - 2, 2):
                even += (x[i, j + 2] - x[i, j]) ** 2
            for j in range(1, cols - 2, 2):
                odd += (x[i, j + 2] - x[i, j]) ** 2
            row_weights[i] = stride1, even, odd
            for j in range(cols if i + 1 < rows else 0):
                column_weights[0, j] += (x[i + 1, j] - x[i, j]) ** 2
            for j in range(cols if i + 2 < rows else 0):
                column_weights[1 + i % 2, j] += (x[i + 2, j] - x[i, j]) ** 2
        row_weights[:] = 1 / np.sqrt(row_weights)
        column_weights[:] = 1 / np.sqrt(column_weights)

    @jit
    def border_gradient(x, i, j, row_weights, column_weights):
        rows, cols = x.shape
        g = np.float32(0)
        for offset, a, b in (
            (1, row_weights[i, 0], column_weights[0, j]),
            (2, row_weights[i, 1 + j % 2], column_weights[1 + i % 2, j]),
        ):
            if j >= offset:
                g += a * (x[i, j] - x[i, j - offset])
            if j + offset < cols:
                g += a * (x[i, j] - x[i, j + offset])
            if i >= offset:
                g += b * (x[i, j] - x[i - offset, j])
            if i + offset < rows:
                g += b * (x[i, j] - x[i + offset, j])
        return g

    @jit
    def update(x, free, i, j, step, g):
        return min(max(x[i, j] - step * g, np.float32(0)), np.float32(1)) if free[i, j] else x[i, j]

    @jit
    def descend(x, free, step, row_weights, column_weights, out):
        rows, cols = x.shape
        a2 = np.empty(cols, np.float32)
        for i in range(rows):
            a1, a2[0::2], a2[1::2] = row_weights[i]
            inner = 2 <= i < rows - 2
            for j in range(2, cols - 2 if inner else 0):
                twice = x[i, j] + x[i, j]
                g = a1 * (twice - x[i, j - 1] - x[i, j + 1]) + a2[j] * (twice - x[i, j - 2] - x[i, j + 2])
                g += column_weights[0, j] * (twice - x[i - 1, j] - x[i + 1, j])
                g += column_weights[1 + i % 2, j] * (twice - x[i - 2, j] - x[i + 2, j])
                out[i, j] = update(x, free, i, j, step, g)
            for j in range(cols):
                if not inner or j < 2 or j >= cols - 2:
                    out[i, j] = update(x, free, i, j, step, border_gradient(x, i, j, row_weights, column_weights))

    x, out, free = start.copy(), np.empty_like(start), ~known
    rows, cols = x.shape
    weights = np.empty((rows, 3), np.float32), np.empty((3, cols), np.float32)

    def advance(steps):
        nonlocal x, out
        for step in steps:
            measure(x, *weights)
            descend(x, free, np.float32(step), *weights, out)
            x, out = out, x
        return x

    advance([0.0])
    return advance


ITERATIONS = {
    "graddesc": graddesc_sweep,
    "numba, loops by hand": numba_loop,
    "PyTorch, gradient by hand": torch_by_hand,
    "PyTorch, autograd": torch_autograd,
    "JAX, jit of the whole step": jax_jit,
    "autograd, line by line": autograd_lines,
}


# ---- the yardstick: what memory allows. The image that these return means nothing. ----


def numba_triad(start, known):
    import numba

    @numba.njit
    def triad(a, b):
        for i in range(a.size):
            a[i] = np.float32(0.5) * a[i] + b[i]

    a, b = start.ravel().copy(), start.ravel().copy()
    triad(a, b)

    def advance(steps):
        for _ in steps:
            triad(a, b)

    return advance


def numpy_triad(start, known):
    a, b = start.copy(), start.copy()

    def advance(steps):
        for _ in steps:
            np.multiply(a, np.float32(0.5), out=a)
            np.add(a, b, out=a)

    return advance


YARDSTICKS = {
    "triad `a = a / 2 + b` in place, numba": numba_triad,
    "triad `a *= 0.5; a += b`, NumPy": numpy_triad,
}


# ---- whole restorations: each takes a uint8 image and its mask, and returns the restored image in [0, 1] ----


def by_loss(loss, image, mask):
    import graddesc

    return graddesc.restore(image, mask, loss=loss) / np.float32(255)


def opencv_telea(image, mask):
    import cv2

    return cv2.inpaint(image, mask.view(np.uint8), 3, cv2.INPAINT_TELEA) / np.float32(255)


def opencv_navier_stokes(image, mask):
    import cv2

    return cv2.inpaint(image, mask.view(np.uint8), 3, cv2.INPAINT_NS) / np.float32(255)


def scipy_griddata(image, mask):
    from scipy.interpolate import griddata

    restored = image / np.float32(255)
    points = np.argwhere(~mask)
    holes = np.argwhere(mask)
    restored[mask] = griddata(points, restored[~mask], holes, method="linear", fill_value=restored[~mask].mean())
    return restored


def skimage_biharmonic(image, mask):
    from skimage.restoration import inpaint_biharmonic

    return inpaint_biharmonic(image, mask).astype(np.float32)


RESTORATIONS = {
    **{f"graddesc, {loss}": functools.partial(by_loss, loss) for loss in ("edge", "biharmonic", "harmonic", "line")},
    "OpenCV, Telea": opencv_telea,
    "OpenCV, Navier-Stokes": opencv_navier_stokes,
    "SciPy, griddata linear": scipy_griddata,
    "scikit-image, biharmonic": skimage_biharmonic,
}


# ---- noisy samples: what fills, and what is then denoised; images in [0, 1], of which the known pixels are noisy ----


def fill_edge(image, known):
    import graddesc

    return graddesc.restore(image.astype(np.float32), ~known, bounds=(None, None)) if not known.all() else image


def fill_telea(image, known):
    grey = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return opencv_telea(grey, ~known) if not known.all() else grey / np.float32(255)


def non_local_means(image, sigma, strength):
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(image, 5, 6, h=strength * sigma, sigma=sigma)


def chambolle(image, sigma, strength):
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(image, strength * sigma, max_num_iter=500)


def fast_non_local_means(image, sigma, strength):
    import cv2

    grey = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return cv2.fastNlMeansDenoising(grey, None, 255 * strength * sigma) / np.float32(255)


def block_matching(image, sigma, strength):
    import bm3d

    return bm3d.bm3d(image, strength * sigma)


def rbf_interpolator(image, known, smoothing):
    from scipy.interpolate import RBFInterpolator

    places = np.argwhere(known).astype(float)
    plate = RBFInterpolator(places, image[known], neighbors=50, smoothing=smoothing, kernel="thin_plate_spline")
    return plate(np.argwhere(np.ones(image.shape, bool))).reshape(image.shape)


# By name: what fills, what denoises, and what it is tried with, in standard deviations of the noise.
DENOISERS = {
    "edge, then scikit-image non-local means": (fill_edge, non_local_means, (0.4, 0.6, 0.8, 1.0)),
    "edge, then scikit-image TV-Chambolle": (fill_edge, chambolle, (0.3, 0.5, 0.8, 1.2, 1.7, 2.2)),
    "OpenCV Telea, then fastNlMeans": (fill_telea, fast_non_local_means, (0.5, 0.8, 1.1, 1.6)),
    "edge, then BM3D": (fill_edge, block_matching, (1.0,)),
}
