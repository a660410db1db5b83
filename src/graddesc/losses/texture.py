"""The complexity of local spectra, which "texture" is to lower."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import as_out, as_plane
from graddesc.losses.differences import EdgeAligned, require_parameters

if TYPE_CHECKING:
    from graddesc.arguments import _Float, _Plane

__all__ = ["TextureAdaptive"]

_SIDE, _SIZE, _STRIDE = 32, 24, 8  # torus and windows
_ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class TextureAdaptive:
    """The complexity of local spectra: what restores stripes, weaves and bricks from a tenth of their pixels.

    Parameters
    ----------
    noise : float, default 0.01
        The standard deviation of what no spectrum explains; positive. In units of the image; in `restore`, of the
        image's own range.
    edge : EdgeAligned, default EdgeAligned()
        The loss whose restoration this one starts from, and keeps wherever held-out pixels tell that it is better.
    seed : int, default 0
        Of the random numbers that choose the held-out pixels and the grids of patches; not negative.

    Notes
    -----
    ``E(x) = 1/2 sum_w sum_k log(1 + P_w(k) / noise^2)``, where P_w is the power spectrum of a window of 24 x 24 pixels,
    each 8 pixels from the next, less its mean, under a taper ``h = sin sin``, on a torus of 32 x 32:
    ``P_w(k) = |DFT(sqrt(h) (x_w - mean))(k)|^2 / sum h``. But for a constant it is minus the logarithm of the
    likelihood of the windows as stationary Gaussian processes whose spectra are their own, and low where few
    frequencies say all.

    `restore` does not descend it from one image to the next, which would end in the nearest of its many minima, but
    learns each window's spectrum from its known pixels alone, by expectation-maximisation [1]_ of the likelihood that
    these have under it, and takes the conditional mean of the others (kriging). The windows shrink as the known pixels
    become dense, so that each has about 60, and two smaller sizes are tried beside. A fifth of the known pixels is held
    out first, and a ridge regression on them decides where small windows are better than large ones, and where either
    is to be preferred to "edge". Then groups of similar patches are shrunk [2]_, and what they give is taken where it
    is better still. It is the work of a few seconds for 512 x 512 pixels.

    Known pixels that `restore` is told to be noisy have the variance of their noise on the diagonal of the windows'
    covariances, beside that of what no spectrum explains. They take what is kriged, and before each shrinkage half of
    what is seen of a typical one is put back, less of noisier ones. What it is worth (`value`) is that of the image
    alone, without the distance to what is seen.

    Transforms, logarithms and factorisations are NumPy's and SciPy's: the last bits differ between processors or builds
    for which these round otherwise. The number of threads and the instruction set of our kernels change none.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin, "Maximum likelihood from incomplete data via the EM algorithm",
       Journal of the Royal Statistical Society B 39, 1-38, 1977. :doi:`10.1111/j.2517-6161.1977.tb01600.x`
    .. [2] K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain collaborative
       filtering", IEEE Transactions on Image Processing 16, 2080-2095, 2007. :doi:`10.1109/TIP.2007.901238`
    """

    noise: float = 0.01
    edge: EdgeAligned = EdgeAligned()  # noqa: RUF009 - frozen
    seed: int = 0

    def __post_init__(self) -> None:
        require_parameters(noise=self.noise)
        if not isinstance(self.edge, EdgeAligned):
            raise TypeError(f"edge must be an EdgeAligned, got {self.edge!r}")
        if not isinstance(self.seed, numbers.Integral):
            raise TypeError(f"seed must be an integer, got {self.seed!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")

    def value(self, x: _Plane[_Float]) -> float:
        """Return the loss of an image; parameters and errors as in `LineSmoothness.value`."""
        return complexity(as_plane(x), self.noise)

    def gradient(self, x: _Plane[_Float], out: NDArray[_Float] | None = None) -> NDArray[_Float]:
        """Return the gradient of the loss at an image; parameters and errors as in `LineSmoothness.gradient`."""
        return self.value_and_gradient(x, out)[1]

    def value_and_gradient(
        self, x: _Plane[_Float], out: NDArray[_Float] | None = None
    ) -> tuple[float, NDArray[_Float]]:
        """Return the loss of an image and its gradient there; parameters and errors as in `gradient`."""
        x = as_plane(x)
        out, _ = as_out(out, x)
        gradient = np.zeros(x.shape)
        value = complexity(x, self.noise, gradient)
        out[...] = gradient
        return value, out


def complexity(
    x: NDArray[Any],
    noise: float,
    gradient: NDArray[np.float64] | None = None,
    pause: Callable[[], object] = lambda: None,
) -> float:
    """The complexity of the spectra of x; adds its gradient to an array of zeros, shape (rows, cols), float64.

    `pause` is called several times a second; ends the work by an exception.
    """
    size = min(_SIZE, *x.shape)
    window = taper(size)
    root, total = np.sqrt(window), window.sum()
    tops, lefts = (window_places(extent, size, _STRIDE) for extent in x.shape)
    frequencies = np.full(_SIDE // 2 + 1, 2.0)
    frequencies[[0, -1]] = 1
    value = 0.0
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size))
    for start in range(0, len(tops), _ROWS_AT_ONCE):
        pause()
        some = tops[start : start + _ROWS_AT_ONCE]
        pixels = windows[np.ix_(some, lefts)].astype(np.float64)
        pixels -= pixels.mean(axis=(2, 3), keepdims=True)
        transform = np.fft.rfft2(root * pixels, s=(_SIDE, _SIDE))
        power = np.abs(transform) ** 2 / total
        value += float(np.sum(np.log1p(power / noise**2) * frequencies)) / 2
        if gradient is not None:
            back = np.fft.irfft2(transform / (noise**2 + power), s=(_SIDE, _SIDE))[..., :size, :size]
            back *= root * (_SIDE**2 / total)
            back -= back.mean(axis=(2, 3), keepdims=True)
            for i, top in enumerate(some):
                for j, left in enumerate(lefts):
                    gradient[top : top + size, left : left + size] += back[i, j]
    return value


def taper(size: int) -> NDArray[np.float64]:
    """The window function."""
    profile = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    return np.outer(profile, profile)


def window_places(extent: int, size: int, stride: int) -> NDArray[np.int32]:
    """The places of windows along an axis, the last flush with its end."""
    places = [*range(0, extent - size, stride), extent - size]
    return np.array(places, np.int32)
