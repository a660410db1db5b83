"""Smoothness losses: what restore() descends.

Each loss is a small frozen dataclass with ``value(x)``, ``gradient(x, out=None)`` and ``value_and_gradient(x,
out=None)`` on 2-D arrays of float32 or float64. A loss that also has compiled sweeps offers them by ``sweeps(x, free,
...)``.
"""

from dataclasses import dataclass

import numpy as np

from graddesc.isa import kernels

__all__ = ["LineSmoothness", "by_name"]

_line = kernels("line")


def _as_image(x):
    """The image as the kernels take it: C-contiguous, 2-D, float32 or float64, copied only if it is not."""
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, got {x.dtype}")
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"x must be 2-D and not empty, got shape {x.shape}")
    return np.ascontiguousarray(x)


def _as_out(out, x):
    """The array that receives the gradient at x, and a contiguous one for the kernel to fill: the same if it can be."""
    if out is None:
        out = np.empty_like(x)
        return out, out
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    if out.shape != x.shape or out.dtype != x.dtype:
        raise ValueError(f"out must have shape {x.shape} and dtype {x.dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    if out.flags.c_contiguous and not np.shares_memory(out, x):
        return out, out
    return out, np.empty_like(x)


class LineSweeps:
    """The compiled descent of one image's line smoothness; the image is updated in place.

    Holds the workspace and, from one sweep to the next, the norms of the image as it stands.

    Parameters
    ----------
    x : ndarray, shape (rows, cols), float32 or float64, C-contiguous
        The image; every sweep changes it.
    free : ndarray of uint8, shape (rows, cols)
        1 where a pixel may change, 0 where it is known.
    low, high : float
        The range to which free pixels are clamped.
    threads : int
        Number of threads.

    Attributes
    ----------
    value : float
        The loss of x as it stands.
    change : float
        The sum of squared changes of the last sweep.
    contrast : float
        The sum of squared differences between neighbours, as x stands.
    slope : float
        Of the last accelerated sweep: positive when its momentum pointed uphill.
    """

    def __init__(self, x, free, low, high, threads=1):
        rows, cols = x.shape
        strips = _line.count_strips(cols)
        self._x, self._free, self._range, self._threads = x, free, (low, high), threads
        self._weights = np.empty((rows, 3), x.dtype), np.empty((3, cols), x.dtype)
        self._halos = [np.empty((strips, rows, 4), x.dtype) for _ in range(2)]
        self._sums = np.empty((strips, rows, 3)), np.empty((3, cols))
        self._totals = np.zeros((strips, 2))
        self._previous = None
        dtype = "float" if x.dtype == np.float32 else "double"
        self._descend, self._accelerate = _line.descend[dtype], _line.accelerate[dtype]
        self.value = _line.measure(x, threads, *self._weights, self._halos[0], *self._sums)
        self.change = self.slope = 0.0

    def _finish(self, value):
        self._halos.reverse()
        self.value = value
        self.change, self.slope = self._totals.sum(axis=0).tolist()

    @property
    def contrast(self):
        rows, columns = self._sums[0][0, :, 0], self._sums[1][0]  # norms, of stride 1
        return float(rows @ rows + columns @ columns)

    def descend(self, step, track_change=False):
        """Take a plain step x <- clip(x - step * gradient); `change` is known if tracked."""
        workspace = *self._weights, *self._halos, *self._sums, self._totals
        self._finish(self._descend(self._x, self._free, step, *self._range, track_change, self._threads, *workspace))

    def accelerate(self, momentum):
        """Take a step with each pixel's own step size, then extrapolate x beyond it; see `iterate`."""
        if self._previous is None:
            self._previous = self._x.copy()
        workspace = *self._weights, *self._halos, *self._sums, self._totals
        self._finish(
            self._accelerate(self._x, self._previous, self._free, momentum, *self._range, self._threads, *workspace)
        )

    @property
    def iterate(self):
        """The image after the last step, before its extrapolation."""
        return self._x if self._previous is None else self._previous

    def loss(self):
        """The loss of the iterate; costs a pass over the image after an accelerated step, nothing after a plain one."""
        return self.value if self._previous is None else LineSmoothness().value(self._previous)


@dataclass(frozen=True)
class LineSmoothness:
    """The norms of the differences along every row and every column, of neighbours and of pixels two apart.

    Notes
    -----
    With r running over all rows and all columns of the image,

        E(x) = sum_r ||diff(r)|| + ||diff(r[0::2])|| + ||diff(r[1::2])||

    where the norms are L2 norms, not squared: E is convex and E(a x) = |a| E(x). A line too short for a difference adds
    nothing; a constant line has norm 0, and the gradient of its term is taken as 0.

    `value` and `gradient` each read the image once or twice and allocate less than one image beside the result. In
    float32 the value is right to a relative error of about 1e-6, and overflows where a difference exceeds 1e19.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc.losses import LineSmoothness
    >>> LineSmoothness().value(np.array([[0.0, 3.0], [4.0, 4.0]]))
    8.0
    """

    def value(self, x):
        """Return the loss of an image.

        Parameters
        ----------
        x : array_like, shape (rows, cols), float32 or float64
            The image; not changed, copied only if it is not C-contiguous.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        TypeError
            If x has another dtype.
        ValueError
            If x is not 2-D or is empty.
        """
        return self._measure(_as_image(x))[0]

    def gradient(self, x, out=None):
        """Return the gradient of the loss at an image.

        Parameters
        ----------
        x : array_like, shape (rows, cols), float32 or float64
            The image; not changed, copied only if it is not C-contiguous.
        out : ndarray, shape (rows, cols), the dtype of x, optional
            Where to write the gradient; any strides.

        Returns
        -------
        ndarray, shape (rows, cols), the dtype of x
            The gradient; `out` itself if it was given.

        Raises
        ------
        TypeError
            If x has another dtype, or out is no array.
        ValueError
            If x is not 2-D or is empty; if out has another shape or dtype, or is read-only.
        """
        return self.value_and_gradient(x, out)[1]

    def value_and_gradient(self, x, out=None):
        """Return the loss of an image and its gradient there; parameters and errors as in `gradient`.

        Returns
        -------
        value : float
            The loss.
        gradient : ndarray, shape (rows, cols), the dtype of x
            The gradient; `out` itself if it was given.
        """
        x = _as_image(x)
        out, target = _as_out(out, x)
        value, weights, halo = self._measure(x)
        _line.gradient(x, 1, *weights, halo, target)
        if target is not out:
            out[...] = target
        return value, out

    def sweeps(self, x, free, low, high, threads=1):
        """Return the compiled sweeps that descend this loss on x in place: `LineSweeps`, whose parameters these are."""
        return LineSweeps(x, free, low, high, threads)

    @staticmethod
    def _measure(x):
        rows, cols = x.shape
        strips = _line.count_strips(cols)
        weights = np.empty((rows, 3), x.dtype), np.empty((3, cols), x.dtype)
        halo = np.empty((strips, rows, 4), x.dtype)
        value = _line.measure(x, 1, *weights, halo, np.empty((strips, rows, 3)), np.empty((3, cols)))
        return value, weights, halo


_NAMES = {"line": LineSmoothness}


def by_name(name):
    """Return the loss of a name, with its defaults.

    Parameters
    ----------
    name : str
        The name: "line".

    Returns
    -------
    LineSmoothness
        The loss.

    Raises
    ------
    ValueError
        If no loss has this name.
    """
    if name not in _NAMES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, _NAMES))}, got {name!r}")
    return _NAMES[name]()
