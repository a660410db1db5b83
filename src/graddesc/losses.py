"""Smoothness losses: what restore() descends.

Each loss is a small frozen dataclass with ``value(x)``, ``gradient(x, out=None)`` and ``value_and_gradient(x,
out=None)`` on 2-D arrays of float32 or float64. A loss that also has compiled sweeps offers them by ``sweeps(x, free,
...)``.
"""

import itertools
import math
import numbers
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from graddesc.isa import kernels

__all__ = [
    "Biharmonic",
    "EdgeAligned",
    "Harmonic",
    "HessianTotalVariation",
    "LineSmoothness",
    "TextureAdaptive",
    "TotalVariation",
    "by_name",
]

_line = kernels("line")
_stencil = kernels("stencil")


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


_FIRST, _SECOND, _EDGE = range(3)  # the kinds of stencil.pyx
_LEAST_CONTRAST = 400  # in units in the last place of 1: what is smaller never settles, but moves by rounding
_SPREAD = 4.0  # pixels, the standard deviation of the tensor's Gaussian where a tenth of the pixels is known


@dataclass(frozen=True)
class _Operator:
    """What the kernels of local differences must know of a loss.

    `safety` bounds the greatest eigenvalue of the operator over its diagonal: 2 for first differences, of which each
    has two taps; at most 4 for second differences with any weights, 3.2 with equal ones.
    """

    kind: int
    safety: float
    epsilon: float = 0.0
    scale: float = 1.0
    mu: float = 0.0
    kappa: float = 0.0
    floor: float = 1e-6
    contrast: float = 0.0
    strength: float = 0.0


class _Weights:
    """The frozen weights of an image's operator, which its channels share, and what the kernels make with them."""

    def __init__(self, operator, shape, dtype, threads):
        self.operator, self._threads = operator, threads
        rows, cols = shape[1:]
        edge = operator.kind == _EDGE
        self.planes = np.empty((4 if edge else 1, rows, cols), dtype)
        if operator.epsilon == 0:
            self.planes.fill(2)  # omega as a sum of squares has it
        self._row_sums = np.empty(shape[0] * rows)
        if edge:
            self._tensor = np.empty((3, (rows + 1) // 2, (cols + 1) // 2), dtype)

    def orient(self, x, spread):
        """Renew the structure tensor, blurred by a Gaussian of standard deviation `spread`, in pixels."""
        operator, threads = self.operator, self._threads
        _stencil.tensor(x, operator.contrast, threads, self._tensor)
        sigma = spread / 2  # the tensor is one of blocks of 2 x 2 pixels
        taps = np.exp(-0.5 * (np.arange(int(3 * sigma + 0.5) + 1) / sigma) ** 2)
        taps /= 2 * taps.sum() - taps[0]
        rows, cols = self._tensor.shape[1:]
        scratch = np.empty((rows, cols + 2 * (len(taps) - 1)), x.dtype)
        for plane in self._tensor:
            _stencil.blur(plane, taps, threads, scratch)
        _stencil.orient(self._tensor, operator.strength, threads, self.planes)

    def weigh(self, x):
        """Renew the weights of the pixels."""
        operator = self.operator
        if operator.epsilon > 0:
            _stencil.weigh(operator.kind, x, operator.epsilon, operator.scale, self._threads, self.planes)

    def step_sizes(self, free, out):
        operator = self.operator
        _stencil.step_sizes(
            operator.kind, free, self.planes, operator.mu, operator.kappa, operator.safety, operator.floor,
            self._threads, out,
        )  # fmt: skip

    def gradient(self, x, out):
        operator = self.operator
        _stencil.gradient(operator.kind, x, self.planes, operator.mu, operator.kappa, self._threads, out)

    def energy(self, x):
        operator = self.operator
        return _stencil.energy(
            operator.kind, x, self.planes, operator.epsilon, operator.scale, operator.mu, operator.kappa,
            self._threads, self._row_sums[: x.shape[1]],
        )  # fmt: skip

    def contrast(self, x, free):
        """The sum of squared differences between neighbours of which one at least is free."""
        return _stencil.contrast(x, free, self._threads, self._row_sums)


class StencilSweeps:
    """The compiled descent of a loss of local differences, all channels together.

    Parameters
    ----------
    operator : object
        What the loss tells the kernels.
    x : ndarray, shape (channels, rows, cols), float32 or float64, C-contiguous
        The image; it becomes a part of the workspace.
    free : ndarray of uint8, shape (channels or 1, rows, cols)
        1 where a pixel may change, 0 where it is known.
    low, high : float
        The range to which free pixels are clamped.
    threads : int
        Number of threads.

    Attributes
    ----------
    iterates : ndarray, the shape of x
        The image as it stands.
    changes : list of float
        What each channel that takes part adds to the root mean square change of the free pixels in the last sweep.
    contrast : float
        The root mean square difference between free pixels and their neighbours, at least 400 units in the last place
        of 1, when it was last measured, as it is with the weights.
    """

    def __init__(self, operator, x, free, low, high, threads=1):
        self._free, self._range, self._threads = free, (low, high), threads
        self.iterates, self._previous, self._next = x, x.copy(), x.copy()
        self._weights, self._measuring = _Weights(operator, x.shape, x.dtype, threads), None
        self._steps = np.empty(free.shape, x.dtype)
        self._tiles = _tiles(free)
        self._totals, self._sums = np.empty((len(self._tiles) * len(x), 2)), np.empty((len(x), 2))
        self._accelerate = _stencil.accelerate["float" if x.dtype == np.float32 else "double"]
        self._spread = _tensor_spread(free, threads) if operator.kind == _EDGE else None
        shared = len(x) // len(free)
        self._moving = max(np.count_nonzero(free) * shared, 1)
        moves = free.view(bool)
        pairs = moves[:, :, 1:] | moves[:, :, :-1], moves[:, 1:] | moves[:, :-1]
        self._pairs = max(sum(map(np.count_nonzero, pairs)) * shared, 1)
        self._fresh = False
        self._slope = self.contrast = 0.0
        self.changes = [0.0] * len(x)

    def refresh(self):
        """Renew the weights, and with them each pixel's step, at the image as it stands."""
        self.measure_contrast()
        if self._fresh and self._weights.operator.epsilon == 0:
            return  # a sum of squares has always the same
        if self._spread is not None:
            self._weights.orient(self.iterates, self._spread)
        self._weights.weigh(self.iterates)
        self._weights.step_sizes(self._free, self._steps)
        self._fresh = True

    def measure_contrast(self):
        """Renew `contrast`."""
        contrast = math.sqrt(self._weights.contrast(self.iterates, self._free) / self._pairs)
        self.contrast = max(contrast, _LEAST_CONTRAST * np.finfo(self.iterates.dtype).eps)

    def accelerate(self, momentum):
        """Take an accelerated step; return whether its momentum started afresh, as the last one pointed uphill."""
        restarted = self._slope > 0
        if restarted:
            momentum.restart()
        operator = self._weights.operator
        n = len(self.changes)
        self._accelerate(
            operator.kind, self.iterates[:n], self._previous[:n], self._steps, momentum.next(), *self._range,
            self._weights.planes, operator.mu, operator.kappa, self._tiles, self._threads,
            self._totals[: len(self._tiles) * n], self._next[:n], self._sums[:n],
        )  # fmt: skip
        self._advance()
        squares, slopes = self._sums[:n].T.tolist()
        self._note(squares)
        self._slope = sum(slopes)
        return restarted

    def keep(self, channels):
        """Let only so many channels, the first ones, take part in further steps."""
        rest = np.s_[channels : len(self.changes)]
        self._previous[rest] = self._next[rest] = self.iterates[rest]
        del self.changes[channels:]

    def descend(self, step):
        """Take a plain step x <- clip(x - step * gradient)."""
        x, new = self.iterates, self._next
        self._weights.gradient(x, new)
        np.multiply(new, -x.dtype.type(step), out=new)
        new += x
        np.clip(new, *self._range, out=new)
        np.copyto(new, x, where=self._free == 0)
        self._note(np.sum((new - x) ** 2, axis=(1, 2), dtype=np.float64).tolist())
        self._advance()

    def _note(self, squares):
        self.changes = [math.sqrt(square / self._moving) for square in squares]

    @property
    def change(self):
        """The root mean square change of the free pixels in the last sweep."""
        return math.hypot(*self.changes)

    def _advance(self):
        self.iterates, self._previous, self._next = self._next, self.iterates, self._previous

    def loss(self, x):
        """The loss of an image of the shape and dtype of this one."""
        weights = self._weights
        if self._spread is not None:
            if self._measuring is None:
                self._measuring = _Weights(weights.operator, x.shape, x.dtype, self._threads)
            weights = self._measuring
            weights.orient(x, _SPREAD)
        return weights.energy(x)


_CELL = 32, 256  # rows and columns
_CELLS = 4, 8  # of a tile, at most: the kernel has room for rows of 2048


def _tiles(free):
    """The tiles of an image in which something is free, made of cells: first row, end, first column, end."""
    _, rows, cols = free.shape
    # A last cell of a single column is a part of the one before it.
    tops, starts = (np.arange(0, max(side - 1, 1), cell) for side, cell in zip((rows, cols), _CELL, strict=True))
    bottoms, stops = np.append(tops[1:], rows), np.append(starts[1:], cols)
    bands = np.split(np.bitwise_or.reduce(free), tops[1:])
    cells = np.bitwise_or.reduceat(np.stack([np.bitwise_or.reduce(band) for band in bands]), starts, axis=1)
    tiles = []
    # Rows of cells that are free at the same places are joined, and so are cells beside one another.
    for _, alike in itertools.groupby(range(len(cells)), lambda i: (i // _CELLS[0], cells[i].tobytes())):
        first, *_, last = [*alike] * 2
        places = np.flatnonzero(cells[first])
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            for k in range(0, len(run), _CELLS[1]):
                part = run[k : k + _CELLS[1]]
                tiles.append((tops[first], bottoms[last], starts[part[0]], stops[part[-1]]))
    return np.array(tiles, np.intc).reshape(-1, 4)


def _tensor_spread(free, threads):
    """The standard deviation of the tensor's Gaussian, from the density of the known pixels around the unknown ones."""
    sums, scratch = np.empty(free.shape[1]), np.empty(free.shape[1:], np.uint8)
    known = math.fsum(_stencil.known_around(plane, threads, sums, scratch) for plane in free)
    density = max(known / max(np.count_nonzero(free), 1), 0.005)
    return min(_SPREAD * (0.1 / density) ** 0.4, 10.0)


class _Stencil:
    """The methods of the losses of local differences, which tell their `operator`."""

    # Where restore() stops: within 0.1 dB of what 0.02 gives, in the mean, after half of the iterations of 0.1.
    default_tol: ClassVar[float] = 0.25
    # Where in Nesterov's sequence the momentum starts, and its greatest weight: with 1 and 1, 52 iterations of "edge"
    # reach what 36 do.
    momentum: ClassVar[tuple[float, float]] = 20.0, 0.97

    @property
    def operator(self):
        """What the kernels must know."""
        raise NotImplementedError

    def value(self, x):
        """Return the loss of an image; parameters and errors as in `LineSmoothness.value`."""
        x = _as_image(x)
        return self._weights(x).energy(x[np.newaxis])

    def gradient(self, x, out=None):
        """Return the gradient of the loss at an image; parameters and errors as in `LineSmoothness.gradient`."""
        x = _as_image(x)
        out, target = _as_out(out, x)
        weights = self._weights(x)
        weights.weigh(x[np.newaxis])
        weights.gradient(x[np.newaxis], target[np.newaxis])
        if target is not out:
            out[...] = target
        return out

    def value_and_gradient(self, x, out=None):
        """Return the loss of an image and its gradient there; parameters and errors as in `gradient`."""
        return self.value(x), self.gradient(x, out)

    def sweeps_of(self, x, free, low, high, threads=1):
        """Return the compiled sweeps that descend this loss in place: `StencilSweeps`, whose parameters these are."""
        return StencilSweeps(self.operator, x, free, low, high, threads)

    def _weights(self, x):
        return _Weights(self.operator, (1, *x.shape), x.dtype, 1)


class _SumOfSquares(_Stencil):
    # Half of the iterations of the above, a photograph as near to the minimum: 46 to 56 dB.
    momentum: ClassVar[tuple[float, float]] = 10.0, 0.94


_LEAST = 1e-15  # of a parameter: the square of a much smaller one, or its inverse, does not fit into float32


def _require_positive(**parameters):
    for name, value in parameters.items():
        if not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive finite number, got {value!r}")
        if value < _LEAST:
            raise ValueError(f"{name} must be at least {_LEAST}, got {value!r}")


@dataclass(frozen=True)
class Harmonic(_SumOfSquares):
    """The sum of squared first differences: its minimum is the harmonic interpolation, as if heat had spread.

    Notes
    -----
    E(x) = sum (x[i, j + 1] - x[i, j])^2 + sum (x[i + 1, j] - x[i, j])^2. Lone known pixels stand out as spikes.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc.losses import Harmonic
    >>> Harmonic().value(np.array([[0.0, 3.0], [4.0, 4.0]]))
    26.0
    """

    @property
    def operator(self):
        """What the kernels must know."""
        return _Operator(_FIRST, safety=2.0)


@dataclass(frozen=True)
class Biharmonic(_SumOfSquares):
    """The sum of squared second differences: a thin plate bent through the known pixels.

    Notes
    -----
    E(x) = sum dxx^2 + sum dyy^2 + 2 sum dxy^2, where dxx and dyy have the taps 1, -2, 1, dxy is the mixed difference of
    2 x 2 pixels, and each sum runs over every place at which the difference fits into the image.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc.losses import Biharmonic
    >>> Biharmonic().value(np.array([[0.0, 3.0], [4.0, 4.0]]))
    18.0
    """

    default_tol: ClassVar[float] = 0.15  # smooth images gain 3 dB by it

    @property
    def operator(self):
        """What the kernels must know."""
        return _Operator(_SECOND, safety=3.2)


@dataclass(frozen=True)
class TotalVariation(_Stencil):
    """Isotropic total variation of the first differences, smoothed [1]_.

    Parameters
    ----------
    epsilon : float, default 0.003
        The difference, for an image in [0, 1], below which the loss is nearly quadratic; positive.

    Notes
    -----
    E(x) = sum sqrt(epsilon^2 + Q) - epsilon over all pixels, where Q is half the sum of the squared differences to the
    four neighbours, so that E does not change when the image is turned or flipped. It leaves plateaus around lone
    known pixels.

    References
    ----------
    .. [1] L. I. Rudin, S. Osher, E. Fatemi, "Nonlinear total variation based noise removal algorithms", Physica D 60,
       259-268, 1992. :doi:`10.1016/0167-2789(92)90242-F`
    """

    epsilon: float = 0.003

    def __post_init__(self):
        _require_positive(epsilon=self.epsilon)

    @property
    def operator(self):
        """What the kernels must know."""
        return _Operator(_FIRST, safety=2.0, epsilon=self.epsilon)


@dataclass(frozen=True)
class HessianTotalVariation(_Stencil):
    """Isotropic total variation of the second differences, smoothed [1]_.

    Parameters
    ----------
    epsilon : float, default 0.003
        The second difference, for an image in [0, 1], below which the loss is nearly quadratic; positive.

    Notes
    -----
    E(x) = sum sqrt(epsilon^2 + Q) - epsilon over all pixels, where Q = dxx^2 + dyy^2 + half the sum of the squared
    mixed differences of the four 2 x 2 cells around the pixel; what does not fit into the image counts nothing.

    References
    ----------
    .. [1] S. Lefkimmiatis, J. P. Ward, M. Unser, "Hessian Schatten-norm regularization for linear inverse problems",
       IEEE Transactions on Image Processing 22, 1873-1888, 2013. :doi:`10.1109/TIP.2013.2237919`
    """

    epsilon: float = 0.003
    default_tol: ClassVar[float] = 0.15  # it creeps

    def __post_init__(self):
        _require_positive(epsilon=self.epsilon)

    @property
    def operator(self):
        """What the kernels must know."""
        return _Operator(_SECOND, safety=4.0, epsilon=self.epsilon)


@dataclass(frozen=True)
class EdgeAligned(_Stencil):
    """Second differences, weighted by a structure tensor [1]_ so that they are stiff along edges and soft across.

    Parameters
    ----------
    edge_strength : float, default 0.002
        With `contrast`, what counts as an edge; for images in [0, 1], as all of these, and positive.
    contrast : float, default 0.02
        The gradient above which the tensor no longer grows with its square, but in proportion.
    epsilon : float, default 0.015
        The second difference below which the loss is nearly quadratic.
    first_order : float, default 0.5
        The weight mu of the first differences.
    mixed : float, default 2.0
        The weight kappa of a cell's mixed difference.

    Notes
    -----
    E(x) = sum epsilon^2 (sqrt(1 + Q / epsilon^2) - 1) over the interior pixels, with
    Q = uxx^2 + uyy^2 + 2 uxy^2 - z Hnn^2, plus the sum of mu/2 (|g|^2 - z (n.g)^2 + kappa/4 (2 - z) h^2) over the
    cells of 2 x 2 pixels, of their mean differences g and mixed difference h. n is the tensor's normal, Hnn the second
    derivative along it; z = s / (1 + s) with s = tr (d / tr)^4 / edge_strength^2 is near 1 on edges of one direction
    and 0 where the image is flat or has no direction (tr is the tensor's trace, d the difference of its eigenvalues).

    The tensor is that of x itself, blurred by 4 pixels in `value` and `gradient`, and by more or less where fewer or
    more pixels are known in a restoration. `gradient` takes it as fixed: it does not descend through n and z.

    References
    ----------
    .. [1] J. Weickert, "Coherence-enhancing diffusion filtering", International Journal of Computer Vision 31, 111-127,
       1999. :doi:`10.1023/A:1008009714131`
    """

    edge_strength: float = 0.002
    contrast: float = 0.02
    epsilon: float = 0.015
    first_order: float = 0.5
    mixed: float = 2.0

    def __post_init__(self):
        _require_positive(**{field.name: getattr(self, field.name) for field in fields(self)})

    @property
    def operator(self):
        """What the kernels must know."""
        return _Operator(
            _EDGE,
            safety=2.2,
            epsilon=self.epsilon,
            scale=self.epsilon,
            mu=self.first_order,
            kappa=self.mixed,
            floor=0.02,
            contrast=self.contrast,
            strength=self.edge_strength,
        )

    def _weights(self, x):
        weights = super()._weights(x)
        weights.orient(x[np.newaxis], _SPREAD)
        return weights


@dataclass(frozen=True)
class TextureAdaptive:
    """The complexity of local spectra: what restores stripes, weaves and bricks from a tenth of their pixels.

    Parameters
    ----------
    noise : float, default 0.01
        The standard deviation, for an image in [0, 1], of what no spectrum explains; positive.
    edge : EdgeAligned, default EdgeAligned()
        The loss whose restoration this one starts from, and keeps wherever held-out pixels tell that it is better.
    seed : int, default 0
        Of the random numbers that choose the held-out pixels and the grids of patches; not negative.

    Notes
    -----
    E(x) = 1/2 sum_w sum_k log(1 + P_w(k) / noise^2), where P_w is the power spectrum of a window of 24 x 24 pixels,
    each 8 pixels from the next, less its mean, under a taper h = sin sin, on a torus of 32 x 32:
    P_w(k) = |DFT(sqrt(h) (x_w - mean))(k)|^2 / sum h. But for a constant it is minus the logarithm of the likelihood of
    the windows as stationary Gaussian processes whose spectra are their own, and low where few frequencies say all.

    `restore` does not descend it from one image to the next, which would end in the nearest of its many minima, but
    learns each window's spectrum from its known pixels alone, by expectation-maximisation [1]_ of the likelihood that
    these have under it, and takes the conditional mean of the others (kriging). The windows shrink as the known pixels
    become dense, so that each has about 60, and two smaller sizes are tried beside. A fifth of the known pixels is held
    out first, and a ridge regression on them decides where small windows are better than large ones, and where either
    is to be preferred to "edge". Then groups of similar patches are shrunk [2]_, and what they give is taken where it
    is better still. It is the work of a few seconds for 512 x 512 pixels.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird, D. B. Rubin, "Maximum likelihood from incomplete data via the EM algorithm",
       Journal of the Royal Statistical Society B 39, 1-38, 1977. :doi:`10.1111/j.2517-6161.1977.tb01600.x`
    .. [2] K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain collaborative
       filtering", IEEE Transactions on Image Processing 16, 2080-2095, 2007. :doi:`10.1109/TIP.2007.901238`
    """

    noise: float = 0.01
    edge: EdgeAligned = EdgeAligned()
    seed: int = 0

    def __post_init__(self):
        _require_positive(noise=self.noise)
        if not isinstance(self.edge, EdgeAligned):
            raise TypeError(f"edge must be an EdgeAligned, got {self.edge!r}")
        if not isinstance(self.seed, numbers.Integral):
            raise TypeError(f"seed must be an integer, got {self.seed!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")

    def value(self, x):
        """Return the loss of an image; parameters and errors as in `LineSmoothness.value`."""
        return _spectra().loss(_as_image(x), self.noise)

    def gradient(self, x, out=None):
        """Return the gradient of the loss at an image; parameters and errors as in `LineSmoothness.gradient`."""
        return self.value_and_gradient(x, out)[1]

    def value_and_gradient(self, x, out=None):
        """Return the loss of an image and its gradient there; parameters and errors as in `gradient`."""
        x = _as_image(x)
        out, _ = _as_out(out, x)
        gradient = np.zeros(x.shape)
        value = _spectra().loss(x, self.noise, gradient)
        out[...] = gradient
        return value, out

    def stages(self, x, free, solve, low, high, threads, pause):
        """Return a generator of ever better restorations: `graddesc.texture.restore_texture`."""
        rng = np.random.default_rng(self.seed)
        return _spectra().restore_texture(
            np.ascontiguousarray(x, np.float32), free, solve, low, high, self.noise, rng, threads, pause
        )


def _spectra():
    from graddesc import texture

    return texture


_NAMES = {
    "line": LineSmoothness,
    "harmonic": Harmonic,
    "biharmonic": Biharmonic,
    "tv": TotalVariation,
    "hessian-tv": HessianTotalVariation,
    "edge": EdgeAligned,
    "texture": TextureAdaptive,
}


def by_name(name):
    """Return the loss of a name, with its defaults.

    Parameters
    ----------
    name : str
        The name: "line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge" or
        "texture".

    Returns
    -------
    object
        The loss.

    Raises
    ------
    ValueError
        If no loss has this name.
    """
    if name not in _NAMES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, _NAMES))}, got {name!r}")
    return _NAMES[name]()
