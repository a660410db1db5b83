"""Functions to try minimisers on, each with its gradient, the usual start and what is known of its minimum.

Every problem is called as a function of an array of shape (n,), and has

``gradient(x)``
    The gradient, a new array of shape (n,).
``n``
    The number of variables.
``start``
    The usual start, an array of shape (n,): a new one each time, but for `Quadratic`, whose own is read-only.
``minimum``
    The least value.
``minimizers``
    The points where it is reached, an array of shape (count, n); empty where no closed form or number is known.
``compiled``
    The function and its gradient as a pair of `scipy.LowLevelCallable`, for the compiled loop of `graddesc.minimize`.

Those from the collection of Moré, Garbow and Hillstrom [1]_ have their numbers there in their docstrings.

References
----------
.. [1] J. J. Moré, B. S. Garbow and K. E. Hillstrom, "Testing unconstrained optimization software", ACM Transactions on
   Mathematical Software 7 (1981) 17-41, :doi:`10.1145/355934.355936`
"""

# mypy: disable-error-code="no-any-return"
# NumPy's types do not know what its dot() and its powers return.

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import LowLevelCallable

from graddesc._kernels import objectives
from graddesc.arguments import as_floats, require, require_count

__all__ = [
    "PROBLEMS",
    "Beale",
    "Booth",
    "Box3D",
    "BrownBadlyScaled",
    "BrownDennis",
    "BroydenTridiagonal",
    "DixonPrice",
    "ExtendedRosenbrock",
    "FreudensteinRoth",
    "Gaussian",
    "HelicalValley",
    "Himmelblau",
    "JennrichSampson",
    "KowalikOsborne",
    "PenaltyI",
    "PowellBadlyScaled",
    "PowellSingular",
    "Quadratic",
    "Rosenbrock",
    "StyblinskiTang",
    "ThreeHumpCamel",
    "Trigonometric",
    "VariablyDimensioned",
    "Wood",
]


_Vector: TypeAlias = NDArray[np.float64]

_MOST = 2**40  # variables, more than fit in the memory of any machine


class _Problem:
    """What the problems share: they check the shape of their point, and far away they overflow in silence."""

    if TYPE_CHECKING:

        @property
        def n(self) -> int: ...
        @property
        def start(self) -> _Vector: ...
        @property
        def minimum(self) -> float: ...
        @property
        def minimizers(self) -> _Vector: ...
        def _value(self, x: _Vector) -> float: ...
        def _gradient(self, x: _Vector) -> _Vector: ...

    def _point(self, x: ArrayLike) -> _Vector:
        point = x if isinstance(x, np.ndarray) and x.dtype == np.float64 else as_floats("x", x)
        if point.shape != (self.n,):
            raise ValueError(f"x must have shape ({self.n},), got {point.shape}")
        return point

    def __call__(self, x: ArrayLike) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self._value(self._point(x)))

    @property
    def compiled(self) -> tuple[LowLevelCallable, LowLevelCallable]:
        """The function and its gradient as a pair of scipy.LowLevelCallable."""
        value, gradient, data = objectives.listed(type(self).__name__)
        return LowLevelCallable(value, data), LowLevelCallable(gradient, data)

    def gradient(self, x: ArrayLike) -> _Vector:
        """Return the gradient at x."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._gradient(self._point(x))


class _Listed(_Problem):
    """A problem of fixed size, its data in class attributes."""

    _start: ClassVar[tuple[float, ...]]
    _minimizers: ClassVar[tuple[tuple[float, ...], ...]]

    @property
    def start(self) -> _Vector:
        """The usual start."""
        return np.array(self._start, dtype=float)

    @property
    def minimizers(self) -> _Vector:
        """The points of the least value."""
        return np.array(self._minimizers, dtype=float).reshape(-1, self.n)


class _Sized(_Problem):
    """A problem of any size."""

    _least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if require_count("n", self.n) > _MOST:
            raise ValueError(f"n must be at most {_MOST}, got {self.n}")
        if self.n < self._least:
            raise ValueError(f"n must be at least {self._least}, got {self.n}")


class _Tiled(_Sized):
    """A problem of any size whose start and minimizer repeat one block."""

    _start: ClassVar[tuple[float, ...]]
    _minimizer: ClassVar[tuple[float, ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        block = len(self._start)
        if self.n % block:
            raise ValueError(f"n must be a multiple of {block}, got {self.n}")

    @property
    def start(self) -> _Vector:
        """The usual start."""
        return np.tile(np.array(self._start, dtype=float), self.n // len(self._start))

    @property
    def minimizers(self) -> _Vector:
        """The points of the least value."""
        return np.tile(np.array(self._minimizer, dtype=float), (1, self.n // len(self._minimizer)))


class _SumOfSquares:
    """A problem given by its residuals and their Jacobian: the value is the sum of the squares, without a half."""

    if TYPE_CHECKING:

        def _residuals(self, x: _Vector) -> _Vector: ...
        def _jacobian(self, x: _Vector) -> _Vector: ...

    def _value(self, x: _Vector) -> float:
        r = self._residuals(x)
        return r.dot(r)

    def _gradient(self, x: _Vector) -> _Vector:
        return 2.0 * self._jacobian(x).T.dot(self._residuals(x))


@dataclass(frozen=True, eq=False)
class Quadratic(_Problem):
    """A convex quadratic function.

    Parameters
    ----------
    A : array_like of shape (n, n)
        The Hessian, symmetric and positive definite.
    b : array_like of shape (n,), optional
        The gradient at the origin; default 0.
    c : float, default 0.0
        The value at the origin.
    start : array_like of shape (n,), optional
        Where to start; default all 1.

    Notes
    -----
    ``f(x) = x.A x / 2 + b.x + c``; its minimizer solves ``A x = -b``.

    Examples
    --------
    >>> from graddesc.problems import Quadratic
    >>> problem = Quadratic([[2, 0], [0, 14]], [2, 1], 2, start=[0, 1])
    >>> problem(problem.start), problem.gradient(problem.start), round(problem.minimum, 6)
    (10.0, array([ 2., 15.]), 0.964286)
    """

    A: _Vector
    b: _Vector
    c: float
    start: _Vector

    def __init__(
        self, A: ArrayLike, b: ArrayLike | None = None, c: float = 0.0, start: ArrayLike | None = None
    ) -> None:
        given = {"A": A, "b": b, "c": c, "start": start}
        A = as_floats("A", A)
        if A.ndim != 2 or A.shape[0] != A.shape[1] or A.size == 0:
            raise ValueError(f"A must have shape (n, n), got {A.shape}")
        n = A.shape[0]
        b = np.zeros(n) if b is None else as_floats("b", b)
        start = np.ones(n) if start is None else as_floats("start", start)
        for name, vector in {"b": b, "start": start}.items():
            if vector.shape != (n,):
                raise ValueError(f"{name} must have shape ({n},), got {vector.shape}")
        c = require("c", c, "a finite number", lambda c: True)
        for name, values in {"A": A, "b": b, "start": start}.items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite, got {given[name]!r}")
        if not np.array_equal(A, A.T):
            raise ValueError("A must be symmetric")
        try:
            np.linalg.cholesky(A)
        except np.linalg.LinAlgError:
            raise ValueError("A must be positive definite") from None
        for array in (A, b, start):
            array.flags.writeable = False  # all of a frozen problem; `start` is to be copied before it is changed
        for name, value in {"A": A, "b": b, "c": c, "start": start}.items():
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """The number of variables."""
        return self.b.size

    @property
    def minimizers(self) -> _Vector:
        """The point of the least value."""
        return np.asarray(np.linalg.solve(self.A, -self.b)[np.newaxis], np.float64)

    @property
    def minimum(self) -> float:
        """The least value."""
        return float(0.5 * self.b.dot(self.minimizers[0]) + self.c)

    @property
    def compiled(self) -> tuple[LowLevelCallable, LowLevelCallable]:
        """The function and its gradient as a pair of scipy.LowLevelCallable."""
        value, gradient = objectives.quadratic()
        data: Any = np.concatenate([[self.c], self.b, self.A.ravel()]).ctypes.data_as(ctypes.c_void_p)
        return LowLevelCallable(value, data), LowLevelCallable(gradient, data)

    def _value(self, x: _Vector) -> float:
        return 0.5 * x.dot(self.A.dot(x)) + self.b.dot(x) + self.c

    def _gradient(self, x: _Vector) -> _Vector:
        return self.A.dot(x) + self.b


@dataclass(frozen=True)
class Rosenbrock(_Sized):
    """Rosenbrock's banana-shaped valley, as a chain of n variables.

    Parameters
    ----------
    n : int, default 2
        The number of variables, at least 2.

    Notes
    -----
    ``f(x) = sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2`` [1]_. The minimum is 0 at (1, ..., 1); from n = 4 on there is
    a local minimum near (-1, 1, ..., 1).

    References
    ----------
    .. [1] H. H. Rosenbrock, "An automatic method for finding the greatest or least value of a function", The Computer
       Journal 3 (1960) 175-184, :doi:`10.1093/comjnl/3.3.175`

    Examples
    --------
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock(2)
    >>> problem([1.0, 1.0]), problem.gradient([-2.0, -2.0])
    (0.0, array([-4806., -1200.]))
    """

    n: int = 2
    minimum: ClassVar[float] = 0.0
    _least = 2

    @property
    def start(self) -> _Vector:
        """The usual start, -1.2 and 1 by turns."""
        return np.where(np.arange(self.n) % 2, 1.0, -1.2)

    @property
    def minimizers(self) -> _Vector:
        """The point of the least value."""
        return np.ones((1, self.n))

    def _value(self, x: _Vector) -> float:
        head = x[:-1]
        valley = x[1:] - head * head
        slope = 1.0 - head
        return 100.0 * valley.dot(valley) + slope.dot(slope)

    def _gradient(self, x: _Vector) -> _Vector:
        head = x[:-1]
        valley = x[1:] - head * head
        g = np.zeros(self.n)
        g[:-1] = -400.0 * head * valley - 2.0 * (1.0 - head)
        g[1:] += 200.0 * valley
        return g


@dataclass(frozen=True)
class ExtendedRosenbrock(_Tiled):
    """Independent pairs of Rosenbrock's function (number 21).

    Parameters
    ----------
    n : int, default 10
        The number of variables, even.

    Notes
    -----
    ``f(x) = sum_i 100 (x_{2i} - x_{2i-1}^2)^2 + (1 - x_{2i-1})^2``.

    Examples
    --------
    >>> from graddesc.problems import ExtendedRosenbrock
    >>> round(ExtendedRosenbrock(4)(ExtendedRosenbrock(4).start), 6)
    48.4
    """

    n: int = 10
    minimum: ClassVar[float] = 0.0
    _start = (-1.2, 1.0)
    _minimizer = (1.0, 1.0)

    def _value(self, x: _Vector) -> float:
        odd, even = x[::2], x[1::2]
        valley, slope = even - odd * odd, 1.0 - odd
        return 100.0 * valley.dot(valley) + slope.dot(slope)

    def _gradient(self, x: _Vector) -> _Vector:
        odd, even = x[::2], x[1::2]
        valley = even - odd * odd
        g = np.empty(self.n)
        g[::2] = -400.0 * odd * valley - 2.0 * (1.0 - odd)
        g[1::2] = 200.0 * valley
        return g


@dataclass(frozen=True)
class Beale(_SumOfSquares, _Listed):
    """Beale's function (number 5).

    Notes
    -----
    ``f(x, y) = sum_i (c_i - x (1 - y^i))^2`` for i = 1, 2, 3 with c = 1.5, 2.25, 2.625.

    Examples
    --------
    >>> from graddesc.problems import Beale
    >>> Beale()([3.0, 0.5])
    0.0
    """

    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0
    _start = (1.0, 1.0)
    _minimizers = ((3.0, 0.5),)

    def _residuals(self, x: _Vector) -> _Vector:
        powers = x[1] ** np.arange(1, 4)
        return np.array([1.5, 2.25, 2.625]) - x[0] * (1.0 - powers)

    def _jacobian(self, x: _Vector) -> _Vector:
        i = np.arange(1, 4)
        return np.stack([x[1] ** i - 1.0, x[0] * i * x[1] ** (i - 1)], axis=1)


@dataclass(frozen=True)
class Booth(_SumOfSquares, _Listed):
    """Booth's function, a well-conditioned quadratic.

    Notes
    -----
    ``f(x, y) = (x + 2 y - 7)^2 + (2 x + y - 5)^2``.

    Examples
    --------
    >>> from graddesc.problems import Booth
    >>> Booth()([1.0, 3.0])
    0.0
    """

    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0
    _start = (-5.0, -5.0)
    _minimizers = ((1.0, 3.0),)

    def _residuals(self, x: _Vector) -> _Vector:
        return np.array([x[0] + 2.0 * x[1] - 7.0, 2.0 * x[0] + x[1] - 5.0])

    def _jacobian(self, x: _Vector) -> _Vector:
        return np.array([[1.0, 2.0], [2.0, 1.0]])


@dataclass(frozen=True)
class Himmelblau(_SumOfSquares, _Listed):
    """Himmelblau's function, with four minima of the same depth.

    Notes
    -----
    ``f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2``.

    Examples
    --------
    >>> from graddesc.problems import Himmelblau
    >>> Himmelblau()([3.0, 2.0])
    0.0
    """

    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0
    _start = (1.0, 1.0)
    _minimizers = (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170),
        (3.584428340330492, -1.848126526964404),
    )

    def _residuals(self, x: _Vector) -> _Vector:
        return np.array([x[0] * x[0] + x[1] - 11.0, x[0] + x[1] * x[1] - 7.0])

    def _jacobian(self, x: _Vector) -> _Vector:
        return np.array([[2.0 * x[0], 1.0], [1.0, 2.0 * x[1]]])


@dataclass(frozen=True)
class ThreeHumpCamel(_Listed):
    """The three-hump camel: a minimum at the origin and two shallower ones.

    Notes
    -----
    ``f(x, y) = 2 x^2 - 1.05 x^4 + x^6 / 6 + x y + y^2``.

    Examples
    --------
    >>> from graddesc.problems import ThreeHumpCamel
    >>> ThreeHumpCamel()([0.0, 0.0])
    0.0
    """

    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0
    _start = (0.5, 1.5)
    _minimizers = ((0.0, 0.0),)

    def _value(self, x: _Vector) -> float:
        square = x[0] * x[0]
        return square * (2.0 + square * (square / 6.0 - 1.05)) + x[1] * (x[0] + x[1])

    def _gradient(self, x: _Vector) -> _Vector:
        square = x[0] * x[0]
        return np.array([x[0] * (4.0 + square * (square - 4.2)) + x[1], x[0] + 2.0 * x[1]])


@dataclass(frozen=True)
class StyblinskiTang(_Tiled):
    """The function of Styblinski and Tang: in each variable two minima, of which one is lower.

    Parameters
    ----------
    n : int, default 4
        The number of variables, positive.

    Notes
    -----
    ``f(x) = sum_i (x_i^4 - 16 x_i^2 + 5 x_i) / 2``.

    Examples
    --------
    >>> from graddesc.problems import StyblinskiTang
    >>> round(StyblinskiTang(2).minimum, 6)
    -78.332331
    """

    n: int = 4
    _start = (-1.0,)
    _minimizer = (-2.9035340277711770,)

    @property
    def minimum(self) -> float:
        """The least value."""
        return -39.166165703771415 * self.n

    def _value(self, x: _Vector) -> float:
        square = x * x
        return 0.5 * (square.dot(square) - 16.0 * square.sum() + 5.0 * x.sum())

    def _gradient(self, x: _Vector) -> _Vector:
        return 2.0 * x * x * x - 16.0 * x + 2.5


@dataclass(frozen=True)
class DixonPrice(_Sized):
    """The function of Dixon and Price, a chain that weighs its later links more.

    Parameters
    ----------
    n : int, default 10
        The number of variables, at least 2.

    Notes
    -----
    ``f(x) = (x_1 - 1)^2 + sum_{i=2}^n i (2 x_i^2 - x_{i-1})^2``; the minimum is 0 at ``x_i = 2^(2^(1-i) - 1)`` and at
    the same point with the other sign of ``x_n``. There is a local minimum of value 1/3 near the origin.

    Examples
    --------
    >>> from graddesc.problems import DixonPrice
    >>> DixonPrice(3).minimizers[0].round(4)
    array([1.    , 0.7071, 0.5946])
    """

    n: int = 10
    minimum: ClassVar[float] = 0.0
    _least = 2

    @property
    def start(self) -> _Vector:
        """A usual start, all 1."""
        return np.ones(self.n)

    @property
    def minimizers(self) -> _Vector:
        """The two points of the least value."""
        x = 2.0 ** (2.0 ** -np.arange(self.n) - 1.0)
        mirrored = x.copy()
        mirrored[-1] = -x[-1]
        return np.stack([x, mirrored])

    def _value(self, x: _Vector) -> float:
        link = 2.0 * x[1:] * x[1:] - x[:-1]
        return (x[0] - 1.0) ** 2 + np.arange(2, self.n + 1).dot(link * link)

    def _gradient(self, x: _Vector) -> _Vector:
        weighted = np.arange(2, self.n + 1) * (2.0 * x[1:] * x[1:] - x[:-1])
        g = np.zeros(self.n)
        g[0] = 2.0 * (x[0] - 1.0)
        g[1:] = 8.0 * weighted * x[1:]
        g[:-1] -= 2.0 * weighted
        return g


@dataclass(frozen=True)
class FreudensteinRoth(_Tiled):
    """The function of Freudenstein and Roth (number 2), in independent pairs.

    Parameters
    ----------
    n : int, default 2
        The number of variables, even.

    Notes
    -----
    ``r_1 = -13 + x + ((5 - y) y - 2) y`` and ``r_2 = -29 + x + ((y + 1) y - 14) y``; the value is the sum of their
    squares. The minimum is 0 at (5, 4); most methods end in the local one of 48.9842 at (11.4128, -0.8968).

    Examples
    --------
    >>> from graddesc.problems import FreudensteinRoth
    >>> FreudensteinRoth()([5.0, 4.0]), FreudensteinRoth()([0.5, -2.0])
    (0.0, 400.5)
    """

    n: int = 2
    minimum: ClassVar[float] = 0.0
    _start = (0.5, -2.0)
    _minimizer = (5.0, 4.0)

    def _value(self, x: _Vector) -> float:
        x, y = x[::2], x[1::2]
        r, q = -13.0 + x + ((5.0 - y) * y - 2.0) * y, -29.0 + x + ((y + 1.0) * y - 14.0) * y
        return r.dot(r) + q.dot(q)

    def _gradient(self, x: _Vector) -> _Vector:
        g = np.empty(self.n)
        x, y = x[::2], x[1::2]
        r, q = -13.0 + x + ((5.0 - y) * y - 2.0) * y, -29.0 + x + ((y + 1.0) * y - 14.0) * y
        g[::2] = 2.0 * (r + q)
        g[1::2] = 2.0 * (r * ((10.0 - 3.0 * y) * y - 2.0) + q * ((3.0 * y + 2.0) * y - 14.0))
        return g


@dataclass(frozen=True)
class BrownBadlyScaled(_SumOfSquares, _Listed):
    """Brown's badly scaled function (number 4).

    Notes
    -----
    Residuals ``x - 1e6``, ``y - 2e-6`` and ``x y - 2``.

    Examples
    --------
    >>> from graddesc.problems import BrownBadlyScaled
    >>> BrownBadlyScaled()([1e6, 2e-6])
    0.0
    """

    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0
    _start = (1.0, 1.0)
    _minimizers = ((1e6, 2e-6),)

    def _residuals(self, x: _Vector) -> _Vector:
        return np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2.0])

    def _jacobian(self, x: _Vector) -> _Vector:
        return np.array([[1.0, 0.0], [0.0, 1.0], [x[1], x[0]]])


@dataclass(frozen=True)
class PowellBadlyScaled(_SumOfSquares, _Listed):
    """Powell's badly scaled function (number 3).

    Notes
    -----
    Residuals ``1e4 x y - 1`` and ``exp(-x) + exp(-y) - 1.0001``.

    Examples
    --------
    >>> from graddesc.problems import PowellBadlyScaled
    >>> PowellBadlyScaled()(PowellBadlyScaled().minimizers[0]) < 1e-20
    True
    """

    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0
    _start = (0.0, 1.0)
    _minimizers = ((1.0981593296998e-05, 9.106146739867), (9.106146739867, 1.0981593296998e-05))

    def _residuals(self, x: _Vector) -> _Vector:
        return np.array([1e4 * x[0] * x[1] - 1.0, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001])

    def _jacobian(self, x: _Vector) -> _Vector:
        return np.array([[1e4 * x[1], 1e4 * x[0]], -np.exp(-x)])


@dataclass(frozen=True)
class PowellSingular(_Tiled):
    """Powell's singular function (numbers 13 and 22): its Hessian is singular at the minimum.

    Parameters
    ----------
    n : int, default 4
        The number of variables, a multiple of 4.

    Notes
    -----
    For each block, ``(x_1 + 10 x_2)^2 + 5 (x_3 - x_4)^2 + (x_2 - 2 x_3)^4 + 10 (x_1 - x_4)^4``.

    Examples
    --------
    >>> from graddesc.problems import PowellSingular
    >>> PowellSingular()(PowellSingular().start)
    215.0
    """

    n: int = 4
    minimum: ClassVar[float] = 0.0
    _start = (3.0, -1.0, 0.0, 1.0)
    _minimizer = (0.0, 0.0, 0.0, 0.0)

    def _value(self, x: _Vector) -> float:
        a, b, c, d = x.reshape(-1, 4).T
        return ((a + 10.0 * b) ** 2 + 5.0 * (c - d) ** 2 + (b - 2.0 * c) ** 4 + 10.0 * (a - d) ** 4).sum()

    def _gradient(self, x: _Vector) -> _Vector:
        a, b, c, d = x.reshape(-1, 4).T
        first, second = 2.0 * (a + 10.0 * b), 10.0 * (c - d)
        third, fourth = 4.0 * (b - 2.0 * c) ** 3, 40.0 * (a - d) ** 3
        return np.stack([first + fourth, 10.0 * first + third, second - 2.0 * third, -second - fourth], 1).ravel()


@dataclass(frozen=True)
class Wood(_SumOfSquares, _Listed):
    """Wood's function (number 14): two valleys of Rosenbrock's, tied together.

    Notes
    -----
    ``100 (b - a^2)^2 + (1 - a)^2 + 90 (d - c^2)^2 + (1 - c)^2 + 10 (b + d - 2)^2 + (b - d)^2 / 10``.

    Examples
    --------
    >>> from graddesc.problems import Wood
    >>> Wood()([1.0, 1.0, 1.0, 1.0]), round(Wood()(Wood().start), 6)
    (0.0, 19192.0)
    """

    n: ClassVar[int] = 4
    minimum: ClassVar[float] = 0.0
    _start = (-3.0, -1.0, -3.0, -1.0)
    _minimizers = ((1.0, 1.0, 1.0, 1.0),)
    _weights = np.sqrt([100.0, 1.0, 90.0, 1.0, 10.0, 0.1])

    def _residuals(self, x: _Vector) -> _Vector:
        a, b, c, d = x
        return self._weights * np.array([b - a * a, 1.0 - a, d - c * c, 1.0 - c, b + d - 2.0, b - d])

    def _jacobian(self, x: _Vector) -> _Vector:
        a, _, c, _ = x
        rows = [
            [-2.0 * a, 1.0, 0.0, 0.0],
            [-1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, -2.0 * c, 1.0],
            [0.0, 0.0, -1.0, 0.0],
            [0.0, 1.0, 0.0, 1.0],
            [0.0, 1.0, 0.0, -1.0],
        ]
        return self._weights[:, np.newaxis] * np.array(rows)


@dataclass(frozen=True)
class HelicalValley(_SumOfSquares, _Listed):
    """The helical valley (number 7).

    Notes
    -----
    Residuals ``10 (z - 10 theta)``, ``10 (r - 1)`` and ``z``, where ``r`` is the distance of (x, y) from the origin and
    ``2 pi theta`` its angle, between -1/4 and 3/4 of a turn.

    Examples
    --------
    >>> from graddesc.problems import HelicalValley
    >>> HelicalValley()([1.0, 0.0, 0.0])
    0.0
    """

    n: ClassVar[int] = 3
    minimum: ClassVar[float] = 0.0
    _start = (-1.0, 0.0, 0.0)
    _minimizers = ((1.0, 0.0, 0.0),)

    def _residuals(self, x: _Vector) -> _Vector:
        theta = math.atan2(x[1], x[0]) / (2.0 * math.pi)
        if theta < -0.25:
            theta += 1.0
        return np.array([10.0 * (x[2] - 10.0 * theta), 10.0 * (math.hypot(x[0], x[1]) - 1.0), x[2]])

    def _jacobian(self, x: _Vector) -> _Vector:
        r = math.hypot(x[0], x[1])
        turn = 100.0 / (2.0 * math.pi * r * r)
        return np.array([[turn * x[1], -turn * x[0], 10.0], [10.0 * x[0] / r, 10.0 * x[1] / r, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class JennrichSampson(_SumOfSquares, _Listed):
    """The function of Jennrich and Sampson (number 6), with 10 residuals.

    Notes
    -----
    Residuals ``2 + 2 i - exp(i x) - exp(i y)`` for i = 1, ..., 10.

    Examples
    --------
    >>> from graddesc.problems import JennrichSampson
    >>> round(JennrichSampson().minimum, 3)
    124.362
    """

    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 124.36218235561473
    _start = (0.3, 0.4)
    _minimizers = ((0.25782521365, 0.25782521365),)
    _i = np.arange(1.0, 11.0)

    def _residuals(self, x: _Vector) -> _Vector:
        return 2.0 + 2.0 * self._i - np.exp(self._i * x[0]) - np.exp(self._i * x[1])

    def _jacobian(self, x: _Vector) -> _Vector:
        return -self._i[:, np.newaxis] * np.exp(np.multiply.outer(self._i, x))


@dataclass(frozen=True)
class Gaussian(_SumOfSquares, _Listed):
    """The Gaussian function (number 9): a bell curve fitted to 15 numbers.

    Notes
    -----
    Residuals ``x exp(-y (t_i - z)^2 / 2) - y_i`` with ``t_i = (8 - i) / 2``.

    Examples
    --------
    >>> from graddesc.problems import Gaussian
    >>> Gaussian().minimum
    1.1279327696e-08
    """

    n: ClassVar[int] = 3
    minimum: ClassVar[float] = 1.1279327696e-08
    _start = (0.4, 1.0, 0.0)
    _minimizers = ((0.39895613784, 1.0000190845, 0.0),)
    _t = np.arange(7, -8, -1) / 2.0
    _y = np.array([9, 44, 175, 540, 1295, 2420, 3521, 3989, 3521, 2420, 1295, 540, 175, 44, 9]) / 1e4

    def _residuals(self, x: _Vector) -> _Vector:
        return x[0] * np.exp(-0.5 * x[1] * (self._t - x[2]) ** 2) - self._y

    def _jacobian(self, x: _Vector) -> _Vector:
        away = self._t - x[2]
        bell = np.exp(-0.5 * x[1] * away**2)
        return np.stack([bell, -0.5 * x[0] * away**2 * bell, x[0] * x[1] * away * bell], axis=1)


@dataclass(frozen=True)
class Box3D(_SumOfSquares, _Listed):
    """Box's function of three variables (number 12), with 10 residuals.

    Notes
    -----
    Residuals ``exp(-t x) - exp(-t y) - z (exp(-t) - exp(-10 t))`` for t = 0.1, ..., 1. The minimum 0 is also reached
    wherever x = y and z = 0.

    Examples
    --------
    >>> from graddesc.problems import Box3D
    >>> Box3D()([1.0, 10.0, 1.0])
    0.0
    """

    n: ClassVar[int] = 3
    minimum: ClassVar[float] = 0.0
    _start = (0.0, 10.0, 20.0)
    _minimizers = ((1.0, 10.0, 1.0), (10.0, 1.0, -1.0))
    _t = np.arange(1, 11) / 10.0

    def _residuals(self, x: _Vector) -> _Vector:
        t = self._t
        return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10.0 * t))

    def _jacobian(self, x: _Vector) -> _Vector:
        t = self._t
        return np.stack([-t * np.exp(-t * x[0]), t * np.exp(-t * x[1]), np.exp(-10.0 * t) - np.exp(-t)], axis=1)


@dataclass(frozen=True)
class KowalikOsborne(_SumOfSquares, _Listed):
    """The function of Kowalik and Osborne (number 15): a rational curve fitted to 11 numbers.

    Notes
    -----
    Residuals ``y_i - a (u_i^2 + u_i b) / (u_i^2 + u_i c + d)``.

    Examples
    --------
    >>> from graddesc.problems import KowalikOsborne
    >>> round(KowalikOsborne().minimum, 9)
    0.000307506
    """

    n: ClassVar[int] = 4
    minimum: ClassVar[float] = 3.0750560385e-04
    _start = (0.25, 0.39, 0.415, 0.39)
    _minimizers = ((0.192806934575, 0.191282328733, 0.123056506820, 0.136062330797),)
    _u = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    _y = np.array([0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])

    def _residuals(self, x: _Vector) -> _Vector:
        u = self._u
        return self._y - x[0] * (u * u + u * x[1]) / (u * u + u * x[2] + x[3])

    def _jacobian(self, x: _Vector) -> _Vector:
        u = self._u
        top, bottom = u * u + u * x[1], u * u + u * x[2] + x[3]
        pull = x[0] * top / bottom**2
        return np.stack([-top / bottom, -x[0] * u / bottom, pull * u, pull], axis=1)


@dataclass(frozen=True)
class BrownDennis(_SumOfSquares, _Listed):
    """The function of Brown and Dennis (number 16), with 20 residuals.

    Notes
    -----
    Residuals ``(a + t b - exp(t))^2 + (c + d sin(t) - cos(t))^2`` for t = 0.2, ..., 4.

    Examples
    --------
    >>> from graddesc.problems import BrownDennis
    >>> round(BrownDennis().minimum, 1)
    85822.2
    """

    n: ClassVar[int] = 4
    minimum: ClassVar[float] = 85822.20162635
    _start = (25.0, 5.0, -5.0, -1.0)
    _minimizers = ((-11.594439905, 13.203630051, -0.403439488, 0.236778774),)
    _t = np.arange(1, 21) / 5.0

    def _parts(self, x: _Vector) -> tuple[_Vector, _Vector]:
        t = self._t
        return x[0] + t * x[1] - np.exp(t), x[2] + np.sin(t) * x[3] - np.cos(t)

    def _residuals(self, x: _Vector) -> _Vector:
        first, second = self._parts(x)
        return first * first + second * second

    def _jacobian(self, x: _Vector) -> _Vector:
        t = self._t
        first, second = self._parts(x)
        return 2.0 * np.stack([first, t * first, second, np.sin(t) * second], axis=1)


@dataclass(frozen=True)
class PenaltyI(_Sized):
    """The first penalty function (number 23).

    Parameters
    ----------
    n : int, default 10
        The number of variables, positive.

    Notes
    -----
    ``f(x) = 1e-5 sum_i (x_i - 1)^2 + (sum_i x_i^2 - 1/4)^2``. All variables are the same at the minimum: the real root
    of ``1e-5 (t - 1) + 2 t (n t^2 - 1/4) = 0``.

    Examples
    --------
    >>> from graddesc.problems import PenaltyI
    >>> round(PenaltyI(10).minimum, 10)
    7.08765e-05
    """

    n: int = 10

    @property
    def start(self) -> _Vector:
        """The usual start, (1, 2, ..., n)."""
        return np.arange(1.0, self.n + 1.0)

    @property
    def minimizers(self) -> _Vector:
        """The point of the least value."""
        roots = np.roots([2.0 * self.n, 0.0, 1e-5 - 0.5, -1e-5])
        return np.full((1, self.n), roots.real.max())

    @property
    def minimum(self) -> float:
        """The least value."""
        return self(self.minimizers[0])

    def _value(self, x: _Vector) -> float:
        away = x - 1.0
        return 1e-5 * away.dot(away) + (x.dot(x) - 0.25) ** 2

    def _gradient(self, x: _Vector) -> _Vector:
        return 2e-5 * (x - 1.0) + 4.0 * (x.dot(x) - 0.25) * x


@dataclass(frozen=True)
class VariablyDimensioned(_Sized):
    """The variably dimensioned function (number 25).

    Parameters
    ----------
    n : int, default 10
        The number of variables, positive.

    Notes
    -----
    ``f(x) = sum_i (x_i - 1)^2 + t^2 + t^4`` with ``t = sum_i i (x_i - 1)``.

    Examples
    --------
    >>> from graddesc.problems import VariablyDimensioned
    >>> VariablyDimensioned(4)([1, 1, 1, 1])
    0.0
    """

    n: int = 10
    minimum: ClassVar[float] = 0.0

    @property
    def start(self) -> _Vector:
        """The usual start, 1 - i / n."""
        return 1.0 - np.arange(1, self.n + 1) / self.n

    @property
    def minimizers(self) -> _Vector:
        """The point of the least value."""
        return np.ones((1, self.n))

    def _value(self, x: _Vector) -> float:
        away = x - 1.0
        t = np.arange(1, self.n + 1).dot(away)
        return away.dot(away) + t**2 + t**4

    def _gradient(self, x: _Vector) -> _Vector:
        i = np.arange(1, self.n + 1)
        t = i.dot(x - 1.0)
        return 2.0 * (x - 1.0) + (2.0 * t + 4.0 * t**3) * i


@dataclass(frozen=True)
class Trigonometric(_SumOfSquares, _Sized):
    """The trigonometric function (number 26).

    Parameters
    ----------
    n : int, default 10
        The number of variables, positive.

    Notes
    -----
    Residuals ``n - sum_j cos(x_j) + i (1 - cos(x_i)) - sin(x_i)`` for i = 1, ..., n. The minimum is 0, at the origin
    among others; there are many local minima.

    Examples
    --------
    >>> from graddesc.problems import Trigonometric
    >>> Trigonometric(5)([0, 0, 0, 0, 0])
    0.0
    """

    n: int = 10
    minimum: ClassVar[float] = 0.0

    @property
    def start(self) -> _Vector:
        """The usual start, all 1 / n."""
        return np.full(self.n, 1.0 / self.n)

    @property
    def minimizers(self) -> _Vector:
        """One point of the least value."""
        return np.zeros((1, self.n))

    def _residuals(self, x: _Vector) -> _Vector:
        cos = np.cos(x)
        return self.n - cos.sum() + np.arange(1, self.n + 1) * (1.0 - cos) - np.sin(x)

    def _gradient(self, x: _Vector) -> _Vector:
        r = self._residuals(x)
        sin = np.sin(x)
        return 2.0 * (sin * r.sum() + r * (np.arange(1, self.n + 1) * sin - np.cos(x)))


@dataclass(frozen=True)
class BroydenTridiagonal(_SumOfSquares, _Sized):
    """Broyden's tridiagonal function (number 30).

    Parameters
    ----------
    n : int, default 10
        The number of variables, positive.

    Notes
    -----
    Residuals ``(3 - 2 x_i) x_i - x_{i-1} - 2 x_{i+1} + 1`` with ``x_0 = x_{n+1} = 0``. The minimum is 0, at a root
    without closed form.

    Examples
    --------
    >>> from graddesc.problems import BroydenTridiagonal
    >>> BroydenTridiagonal(10)(BroydenTridiagonal(10).start)
    21.0
    """

    n: int = 10
    minimum: ClassVar[float] = 0.0

    @property
    def start(self) -> _Vector:
        """The usual start, all -1."""
        return np.full(self.n, -1.0)

    @property
    def minimizers(self) -> _Vector:
        """No point of the least value is known."""
        return np.empty((0, self.n))

    def _residuals(self, x: _Vector) -> _Vector:
        r = (3.0 - 2.0 * x) * x + 1.0
        r[1:] -= x[:-1]
        r[:-1] -= 2.0 * x[1:]
        return r

    def _gradient(self, x: _Vector) -> _Vector:
        r = self._residuals(x)
        g = (3.0 - 4.0 * x) * r
        g[:-1] -= r[1:]
        g[1:] -= 2.0 * r[:-1]
        return 2.0 * g


PROBLEMS: tuple[_Problem, ...] = (
    Quadratic([[2.0, 0.0], [0.0, 14.0]], [2.0, 1.0], 2.0, start=[0.0, 1.0]),
    Rosenbrock(2),
    Rosenbrock(20),
    ExtendedRosenbrock(100),
    Beale(),
    Booth(),
    Himmelblau(),
    ThreeHumpCamel(),
    StyblinskiTang(4),
    DixonPrice(10),
    FreudensteinRoth(2),
    FreudensteinRoth(20),
    BrownBadlyScaled(),
    PowellBadlyScaled(),
    PowellSingular(4),
    PowellSingular(60),
    Wood(),
    HelicalValley(),
    JennrichSampson(),
    Gaussian(),
    Box3D(),
    KowalikOsborne(),
    BrownDennis(),
    PenaltyI(10),
    VariablyDimensioned(10),
    Trigonometric(10),
    BroydenTridiagonal(50),
)
"""The set that the tests and the benchmarks go through."""
