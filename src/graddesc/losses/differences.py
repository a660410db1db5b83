"""The losses of local differences: what each of them is, and the weights that their kernels take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from graddesc._kernels import stencil
from graddesc.arguments import as_out, as_space, require

if TYPE_CHECKING:
    from graddesc.arguments import _Float, _Space

    _Spacing: TypeAlias = float | Sequence[float] | None

__all__ = ["Biharmonic", "EdgeAligned", "Harmonic", "HessianTotalVariation", "TotalVariation"]


FIRST, SECOND, EDGE = range(3)  # the kinds of stencil.pyx
SPREAD = 4.0  # pixels, the standard deviation of the tensor's Gaussian where a tenth of the pixels is known


def _blurred_tensor(operator: stencil.Operator, x: NDArray[Any], threads: int) -> NDArray[Any]:
    """The structure tensor of x, blurred by a Gaussian."""
    rows, cols = ((side + 1) // 2 for side in x.shape[1:])
    tensor = np.empty((3, rows, cols), x.dtype)
    stencil.tensor(operator, x, threads, tensor)
    sigma = SPREAD / 2  # the tensor is one of blocks of 2 x 2 pixels
    # The C library's exp, as the solver's: NumPy's own rounds otherwise on some processors.
    taps = np.array([math.exp(-0.5 * (k / sigma) * (k / sigma)) for k in range(int(3 * sigma + 0.5) + 1)])
    taps /= 2 * taps.sum() - taps[0]
    scratch = np.empty((rows, cols + 2 * (len(taps) - 1)), x.dtype)
    for plane in tensor:
        stencil.blur(plane, taps, threads, scratch)
    return tensor


def energy(operator: stencil.Operator, x: NDArray[Any], threads: int) -> float:
    """Return the loss of an image of shape (channels, rows, cols), of all channels together."""
    tensor = _blurred_tensor(operator, x, threads) if operator.kind == EDGE else None
    return float(stencil.energy(operator, x, tensor, threads, np.empty(x.shape[1])))


class Weights:
    """The weights of a loss at an image, of all channels together, and what the kernels make with them."""

    def __init__(self, operator: stencil.Operator, shape: tuple[int, ...], dtype: DTypeLike, threads: int) -> None:
        self.operator, self._threads = operator, threads
        rows, cols = shape[1:]
        edge = operator.kind == EDGE
        self.planes = np.empty((4 if edge else 1, rows, cols), dtype)
        if operator.epsilon == 0:
            self.planes.fill(2)  # omega as a sum of squares has it

    def orient(self, x: NDArray[Any]) -> None:
        """Find the edges of x by its structure tensor."""
        tensor = _blurred_tensor(self.operator, x, self._threads)
        stencil.orient(self.operator, tensor, self._threads, self.planes)

    def weigh(self, x: NDArray[Any]) -> None:
        """Find the weights of the pixels of x."""
        if self.operator.epsilon > 0:
            stencil.weigh(self.operator, x, self._threads, self.planes)

    def gradient(self, x: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the gradient at x, with the weights as they stand."""
        stencil.gradient(self.operator, x, self.planes, self._threads, out)


class Differences:
    """The methods of the losses of local differences, which tell their `operator`."""

    default_tol: ClassVar[float] = 0.25
    volume_balance: ClassVar[tuple[float, float, float]]  # of noisy volumes, as `balance` and its limits of images

    @property
    def operator(self) -> stencil.Operator:
        """What the kernels must know."""
        raise NotImplementedError

    def value(self, x: _Space[_Float], *, spacing: _Spacing = None) -> float:
        """Return the loss of an image or of a volume.

        Parameters
        ----------
        x : array_like of float32 or float64, shape (rows, cols) or (planes, rows, cols)
            The image or the volume. Not changed.
        spacing : float or sequence of float, optional
            The distance of neighbours along each axis, positive; by default 1 along all of them.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        TypeError
            If x has another dtype.
        ValueError
            If x has another number of dimensions or is empty, or a distance is not positive.
        """
        x, distances = as_space(x, spacing)
        if distances:
            return self.volume_energy(x.reshape(1, *(1, *x.shape)[-3:]), distances, 1)
        return energy(self.operator, x[np.newaxis], 1)

    def gradient(
        self, x: _Space[_Float], out: NDArray[_Float] | None = None, *, spacing: _Spacing = None
    ) -> NDArray[_Float]:
        """Return the gradient of the loss at an image or a volume.

        Parameters
        ----------
        x, spacing
            As for `value`.
        out : ndarray, optional
            Where to write the gradient, of the shape and dtype of x.

        Returns
        -------
        ndarray
            The gradient, `out` itself if it was given.

        Raises
        ------
        TypeError, ValueError
            As `value` does, and if `out` is another array than that.
        """
        x, distances = as_space(x, spacing)
        out, target = as_out(out, x)
        if distances:
            shape = 1, *(1, *x.shape)[-3:]
            self.volume_gradient(x.reshape(shape), distances, 1, target.reshape(shape))
            if target is not out:
                out[...] = target
            return out
        weights = self._weights(x)
        weights.weigh(x[np.newaxis])
        weights.gradient(x[np.newaxis], target[np.newaxis])
        if target is not out:
            out[...] = target
        return out

    def value_and_gradient(
        self, x: _Space[_Float], out: NDArray[_Float] | None = None, *, spacing: _Spacing = None
    ) -> tuple[float, NDArray[_Float]]:
        """Return the loss and its gradient; parameters and errors as in `gradient`."""
        return self.value(x, spacing=spacing), self.gradient(x, out, spacing=spacing)

    def volume_energy(
        self, x: NDArray[Any], spacing: tuple[float, ...], threads: int, present: NDArray[np.uint8] | None = None
    ) -> float:
        """Return the loss of a volume of shape (channels, planes, rows, cols), of all channels together.

        Differences that have a voxel that is not present (0) count nothing; none may hold NaN.
        """
        raise ValueError(f"x must be 2-D for {self!r}, got shape {x.shape[1:]}")

    def volume_gradient(self, x: NDArray[Any], spacing: tuple[float, ...], threads: int, out: NDArray[Any]) -> None:
        """Write the gradient of that loss to out, of the shape of x."""
        raise ValueError(f"x must be 2-D for {self!r}, got shape {x.shape[1:]}")

    def _weights(self, x: NDArray[Any]) -> Weights:
        return Weights(self.operator, (1, *x.shape), x.dtype, 1)


class Quadratics(Differences):
    """The losses that are sums of squares, or are so once the weights of their pixels are known."""

    def volume_energy(
        self, x: NDArray[Any], spacing: tuple[float, ...], threads: int, present: NDArray[np.uint8] | None = None
    ) -> float:
        """Return the loss of a volume of shape (channels, planes, rows, cols), of all channels together.

        Differences that have a voxel that is not present (0) count nothing; none may hold NaN.
        """
        from graddesc._kernels import volume_quadratics  # which images do not need

        operator = self.operator
        return float(volume_quadratics.energy(operator.kind, spacing, x, operator.epsilon, threads, present))

    def volume_gradient(self, x: NDArray[Any], spacing: tuple[float, ...], threads: int, out: NDArray[Any]) -> None:
        """Write the gradient of that loss to out, of the shape of x."""
        from graddesc._kernels import volume_quadratics

        operator, omega = self.operator, None
        if operator.epsilon > 0:
            omega = np.empty(x.shape[1:], x.dtype)
            volume_quadratics.weigh(operator.kind, spacing, x, operator.epsilon, threads, omega)
        volume_quadratics.gradient(operator.kind, spacing, x, omega, threads, out)


class SumOfSquares(Quadratics):
    """The losses whose minimum is the solution of one linear system."""


class Reweighted(Quadratics):
    """The losses that are sums of squares once the weights of their pixels are known."""


_LEAST = 1e-15  # of a parameter: the square of a much smaller one, or its inverse, does not fit into float32


def require_parameters(**parameters: float) -> None:
    """Raise unless all are positive, and not so small that they would vanish."""
    for name, value in parameters.items():
        require(name, value, f"a finite number of at least {_LEAST}", lambda v: v >= _LEAST)


@dataclass(frozen=True)
class Harmonic(SumOfSquares):
    """The sum of squared first differences: its minimum is the harmonic interpolation, as if heat had spread.

    Notes
    -----
    ``E(x) = sum (x[i, j + 1] - x[i, j])^2 + sum (x[i + 1, j] - x[i, j])^2``. Lone known pixels stand out as spikes.

    Of a volume the squares of the differences along all three axes are added up, each divided by the square of its
    axis's spacing: ``sum (dx / hx)^2 + sum (dy / hy)^2 + sum (dz / hz)^2``.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc.losses import Harmonic
    >>> Harmonic().value(np.array([[0.0, 3.0], [4.0, 4.0]]))
    26.0
    """

    volume_balance: ClassVar[tuple[float, float, float]] = (0.9, 10, 2000)

    @property
    def operator(self) -> stencil.Operator:
        """What the kernels must know."""
        return stencil.Operator(FIRST, safety=2.0, balance=0.9, least_balance=10, most_balance=2000)


@dataclass(frozen=True)
class Biharmonic(SumOfSquares):
    """The sum of squared second differences: a thin plate bent through the known pixels.

    Notes
    -----
    ``E(x) = sum dxx^2 + sum dyy^2 + 2 sum dxy^2``, where dxx and dyy have the taps 1, -2, 1, dxy is the mixed
    difference of 2 x 2 pixels, and each sum runs over every place at which the difference fits into the image.

    Of a volume ``E(x) = sum (dxx / hx^2)^2 + ... + 2 sum (dxy / (hx hy))^2 + ...``, of the three axes and their three
    pairs, where h is the spacing along an axis.

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc.losses import Biharmonic
    >>> Biharmonic().value(np.array([[0.0, 3.0], [4.0, 4.0]]))
    18.0
    """

    default_tol: ClassVar[float] = 0.02  # of smooth images less would be seen
    volume_balance: ClassVar[tuple[float, float, float]] = (0.5, 5, 3000)

    @property
    def operator(self) -> stencil.Operator:
        """What the kernels must know."""
        return stencil.Operator(SECOND, safety=3.2, balance=0.8, least_balance=5, most_balance=3000)


@dataclass(frozen=True)
class TotalVariation(Reweighted):
    """Isotropic total variation of the first differences, smoothed [1]_.

    Parameters
    ----------
    epsilon : float, default 0.003
        The difference below which the loss is nearly quadratic; positive. In units of the image; in `restore`, of the
        image's own range.

    Notes
    -----
    ``E(x) = sum sqrt(epsilon^2 + Q) - epsilon`` over all pixels, where Q is half the sum of the squared differences to
    the four neighbours, so that E does not change when the image is turned or flipped. It leaves plateaus around lone
    known pixels. Of a volume there are six neighbours, and differences are divided by the spacing of their axis.

    References
    ----------
    .. [1] L. I. Rudin, S. Osher, E. Fatemi, "Nonlinear total variation based noise removal algorithms", Physica D 60,
       259-268, 1992. :doi:`10.1016/0167-2789(92)90242-F`
    """

    epsilon: float = 0.003
    volume_balance: ClassVar[tuple[float, float, float]] = (0.5, 0.3, 1000)

    def __post_init__(self) -> None:
        require_parameters(epsilon=self.epsilon)

    @property
    def operator(self) -> stencil.Operator:
        """What the kernels must know."""
        return stencil.Operator(FIRST, safety=2.0, epsilon=self.epsilon, balance=0.4, least_balance=1, most_balance=100)


@dataclass(frozen=True)
class HessianTotalVariation(Reweighted):
    """Isotropic total variation of the second differences, smoothed [1]_.

    Parameters
    ----------
    epsilon : float, default 0.003
        The second difference below which the loss is nearly quadratic; positive. In units of the image; in `restore`,
        of the image's own range.

    Notes
    -----
    ``E(x) = sum sqrt(epsilon^2 + Q) - epsilon`` over all pixels, where Q is ``dxx^2 + dyy^2`` and half the sum of the
    squared mixed differences of the four 2 x 2 cells around the pixel; what does not fit into the image counts nothing.
    Of a volume Q is ``(dxx / hx^2)^2 + (dyy / hy^2)^2 + (dzz / hz^2)^2`` and for each pair of axes half the sum of the
    squares of ``dxy / (hx hy)`` and its like, of the four cells around the voxel; h is the spacing along an axis.

    References
    ----------
    .. [1] S. Lefkimmiatis, J. P. Ward, M. Unser, "Hessian Schatten-norm regularization for linear inverse problems",
       IEEE Transactions on Image Processing 22, 1873-1888, 2013. :doi:`10.1109/TIP.2013.2237919`
    """

    epsilon: float = 0.003
    default_tol: ClassVar[float] = 0.05  # of smooth images less would be seen
    volume_balance: ClassVar[tuple[float, float, float]] = (0.3, 0.5, 1000)

    def __post_init__(self) -> None:
        require_parameters(epsilon=self.epsilon)

    @property
    def operator(self) -> stencil.Operator:
        """What the kernels must know."""
        return stencil.Operator(
            SECOND, safety=4.0, epsilon=self.epsilon, balance=0.25, least_balance=1, most_balance=100
        )


@dataclass(frozen=True)
class EdgeAligned(Differences):
    """Second differences, weighted by a structure tensor [1]_ so that they are stiff along edges and soft across.

    Parameters
    ----------
    edge_strength : float, default 0.002
        With ``contrast``, what counts as an edge. This one, ``contrast`` and ``epsilon`` are in units of the image; in
        `restore`, of the image's own range. All parameters are positive.
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
    E(x) is the sum of ``epsilon^2 (sqrt(1 + Q / epsilon^2) - 1)`` over the interior pixels, with
    ``Q = uxx^2 + uyy^2 + 2 uxy^2 - z Hnn^2``, plus the sum of ``mu/2 (|g|^2 - z (n.g)^2 + kappa/4 (2 - z) h^2)`` over
    the cells of 2 x 2 pixels, of their mean differences g and mixed difference h. n is the tensor's normal, Hnn the
    second derivative along it; ``z = s / (1 + s)`` with ``s = tr (d / tr)^4 / edge_strength^2`` is near 1 on edges of
    one direction and 0 where the image is flat or has no direction (tr is the tensor's trace, d the difference of its
    eigenvalues).

    In a volume E(x) is the sum of ``(|H|^2 - tr(M H M H)) / 2`` over all voxels, H being the 3 x 3 second differences
    over the distances of neighbours, of which those that do not fit are 0. ``M = m1 e1 e1' + m2 e2 e2'`` has the
    eigenvectors of the tensor, ``m^2 = s / (1 + s)``, ``s = tr ((l - l3) / tr)^4 / (0.35 edge_strength)^2`` for its
    eigenvalues l1 >= l2 >= l3: across a sheet m1 is near 1, and of a tube both are, so that it is stiff along its axis
    alone. ``epsilon``, ``first_order`` and ``mixed`` do not apply: there the weights of edges are enough. The tensor is
    blurred by 2.2 of the least distances in `value` and `gradient`. With distances that differ an image is a volume of
    one plane. The mixed differences in H reach from corner to corner of 3 x 3 voxels. If the volume is smooth all over,
    as its neighbours' differences tell, those of the cells of 2 x 2 voxels take their place in ``|H|^2``, and M is .9
    of itself: then nothing alternates from voxel to voxel.

    An image of one row or column has no cells and no interior pixels: E(x) is 0. `restore` takes it as a volume of one
    plane.

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
    volume_balance: ClassVar[tuple[float, float, float]] = (1.2, 20, 6000)

    def __post_init__(self) -> None:
        require_parameters(**{field.name: getattr(self, field.name) for field in fields(self)})

    @property
    def operator(self) -> stencil.Operator:
        """What the kernels must know."""
        return stencil.Operator(
            EDGE,
            safety=2.2,
            epsilon=self.epsilon,
            scale=self.epsilon,
            mu=self.first_order,
            kappa=self.mixed,
            floor=0.02,
            contrast=self.contrast,
            strength=self.edge_strength,
            spread=SPREAD,
            balance=2.1,
            least_balance=40,
            most_balance=4000,
        )

    def volume_energy(
        self, x: NDArray[Any], spacing: tuple[float, ...], threads: int, present: NDArray[np.uint8] | None = None
    ) -> float:
        """Return the loss of a volume of shape (channels, planes, rows, cols), of all channels together.

        Differences that have a voxel that is not present (0) count nothing; none may hold NaN.
        """
        from graddesc.losses.volumes import edge_energy  # with its kernels, which images do not need

        return edge_energy(self, x, spacing, threads, present)

    def volume_gradient(self, x: NDArray[Any], spacing: tuple[float, ...], threads: int, out: NDArray[Any]) -> None:
        """Write the gradient of that loss to out, of the shape of x."""
        from graddesc.losses.volumes import edge_gradient

        edge_gradient(self, x, spacing, threads, out)

    def _weights(self, x: NDArray[Any]) -> Weights:
        weights = super()._weights(x)
        weights.orient(x[np.newaxis])
        return weights
