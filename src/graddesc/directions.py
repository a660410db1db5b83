"""Where to go from an iterate, given its gradient and how the last iteration went.

Each direction is a small frozen dataclass of settings. ``begin()`` starts a run and returns a function
``turn(g, s, y, step)``, which holds whatever evolves during that run and returns the direction ``d``, a new array of
double: ``g`` is the gradient, ``s`` the last displacement, ``y`` the last change of the gradient and ``step`` the last
step. ``s`` is the displacement that happened, after any projection. If it is None, in the first iteration and after a
restart, the past is forgotten and the direction is one of descent. The attribute ``scaled`` says whether a step of 1 is
natural along the direction; so does that of ``turn``, if it has one, of the direction that it has returned last.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import require, require_count, require_positive

__all__ = ["LBFGS", "Adam", "ConjugateGradient", "HeavyBall", "Nesterov", "Steepest"]

_Vector: TypeAlias = NDArray[np.float64]
# What share of the curvature that values tell beyond gradients a pair of L-BFGS takes over; the least and the most that
# may be, as shares of its own.
EXCESS_SHARE = 0.5
LEAST_EXCESS = -0.5
MOST_EXCESS = 1.0
_Turn: TypeAlias = Callable[[_Vector, _Vector | None, _Vector | None, float], _Vector]


class _Direction(Protocol):
    @property
    def scaled(self) -> bool: ...

    def begin(self) -> _Turn: ...


def _require_fraction(name: str, value: float) -> None:
    require(name, value, "a number in [0, 1)", lambda v: 0 <= v < 1)


@dataclass(frozen=True)
class Steepest:
    """Down the gradient.

    Notes
    -----
    ``d = -g``.

    Examples
    --------
    >>> from graddesc import Constant, Steepest, minimize
    >>> result = minimize(lambda x: x @ x, [1.0], jac=lambda x: 2 * x, step=Constant(0.5), direction=Steepest())
    >>> result.nit
    1
    """

    scaled: ClassVar[bool] = False

    def begin(self) -> _Turn:
        """Start a run."""
        return self._turn

    @staticmethod
    def _turn(g: _Vector, s: _Vector | None, y: _Vector | None, step: float) -> _Vector:
        return -g


@dataclass(frozen=True)
class HeavyBall:
    """Down the gradient, with a share of the last displacement added.

    Parameters
    ----------
    momentum : float, default 0.9
        The share, in [0, 1).

    Notes
    -----
    ``d = -g + momentum * s / step``, so that ``x + step * d = x - step * g + momentum * (x_k - x_{k-1})`` [1]_.

    References
    ----------
    .. [1] B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Computational
       Mathematics and Mathematical Physics 4 (1964) 1-17, :doi:`10.1016/0041-5553(64)90137-5`

    Examples
    --------
    >>> from graddesc import Constant, HeavyBall, minimize
    >>> result = minimize(lambda x: x @ x, [1.0], jac=lambda x: 2 * x, step=Constant(0.1), direction=HeavyBall(0.5))
    >>> result.success
    True
    """

    momentum: float = 0.9
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require_fraction("momentum", self.momentum)

    def begin(self) -> _Turn:
        """Start a run."""
        return self._turn

    def _turn(self, g: _Vector, s: _Vector | None, y: _Vector | None, step: float) -> _Vector:
        if s is None:
            return -g
        return (self.momentum / step) * s - g


@dataclass(frozen=True)
class Nesterov:
    """Down the gradient at an extrapolated point, with the momentum dropped whenever it points uphill.

    Parameters
    ----------
    momentum : float or None, default None
        The share of the last displacement, in [0, 1); None lets it grow towards 1 with the iterations.
    restart : bool, default True
        Whether the momentum starts anew when it makes an acute angle with the gradient.

    Notes
    -----
    The method has two sequences, ``x_{k+1} = y_k - step * g(y_k)`` and ``y_{k+1} = x_{k+1} + beta_k (x_{k+1} - x_k)``
    [1]_; the iterates here are the ``y_k``, where values and gradients are evaluated. With
    ``v_k = (x_{k+1} - x_k) / step`` the direction is ``d_k = beta_k v_k - g_k``. By default
    ``beta_k = (t_k - 1) / t_{k+1}`` and ``t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2`` from ``t_0 = 1``; the momentum starts
    anew where ``g_k.v_k > 0`` [2]_.

    References
    ----------
    .. [1] Yu. Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)", Soviet
       Mathematics Doklady 27 (1983) 372-376
    .. [2] B. O'Donoghue and E. Candes, "Adaptive restart for accelerated gradient schemes", Foundations of
       Computational Mathematics 15 (2015) 715-732, :doi:`10.1007/s10208-013-9150-3`

    Examples
    --------
    >>> from graddesc import Constant, Nesterov, minimize
    >>> result = minimize(lambda x: x @ x, [1.0], jac=lambda x: 2 * x, step=Constant(0.1), direction=Nesterov())
    >>> result.success
    True
    """

    momentum: float | None = None
    restart: bool = True
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.momentum is not None:
            _require_fraction("momentum", self.momentum)

    def begin(self) -> _Turn:
        """Start a run."""
        t = 1.0

        def turn(g: _Vector, s: _Vector | None, y: _Vector | None, step: float) -> _Vector:
            nonlocal t
            # s / step = beta v - g of the last iteration, hence v = s / step - (change of the gradient).
            v = None if s is None or y is None else s / step - y
            if v is None or (self.restart and g.dot(v) > 0.0):
                t = 1.0
                v = -g
            t_next = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
            beta = (t - 1.0) / t_next if self.momentum is None else float(self.momentum)
            t = t_next
            return beta * v - g

        return turn


@dataclass(frozen=True)
class ConjugateGradient:
    """Nonlinear conjugate gradients.

    Parameters
    ----------
    formula : {"hager-zhang", "polak-ribiere", "hestenes-stiefel", "fletcher-reeves", "dai-yuan"}, default "hager-zhang"
        How much of the last direction is kept. The first three start anew by themselves where they make no progress.

    Notes
    -----
    ``d = -g + beta d'``, where ``d'`` is the last direction, ``g'`` the last gradient and ``y = g - g'`` [1]_:

    ==================  ==========================================================
    hager-zhang         ``(y - 2 d' ||y||^2 / d'.y).g / d'.y``, at least
                        ``0.4 d'.g' / ||d'||^2``
    polak-ribiere       ``g.y / ||g'||^2``, at least 0
    hestenes-stiefel    ``g.y / d'.y``, at least 0
    fletcher-reeves     ``||g||^2 / ||g'||^2``
    dai-yuan            ``||g||^2 / d'.y``
    ==================  ==========================================================

    References
    ----------
    .. [1] W. W. Hager and H. Zhang, "A survey of nonlinear conjugate gradient methods", Pacific Journal of
       Optimization 2 (2006) 35-58
    .. [2] W. W. Hager and H. Zhang, "The limited memory conjugate gradient method", SIAM Journal on Optimization 23
       (2013) 2150-2168, :doi:`10.1137/120898097`

    Examples
    --------
    >>> from graddesc import ConjugateGradient, StrongWolfe, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> result = minimize(
    ...     problem, problem.start, jac=problem.gradient, step=StrongWolfe(curvature=0.4), direction=ConjugateGradient()
    ... )
    >>> result.success
    True
    """

    formula: Literal["hager-zhang", "polak-ribiere", "hestenes-stiefel", "fletcher-reeves", "dai-yuan"] = "hager-zhang"
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.formula not in _CONJUGATE:
            raise ValueError(f"formula must be one of {', '.join(_CONJUGATE)}, got {self.formula!r}")

    def begin(self) -> _Turn:
        """Start a run."""
        beta = _CONJUGATE[self.formula]

        def turn(g: _Vector, s: _Vector | None, y: _Vector | None, step: float) -> _Vector:
            if s is None or y is None:
                return -g
            d = s / step
            share = beta(g, d, y)
            return share * d - g if math.isfinite(share) else -g

        return turn


def _quotient(numerator: float, denominator: float) -> float:
    return float(numerator) / float(denominator) if denominator != 0.0 else math.inf


def _hager_zhang(g: _Vector, d: _Vector, y: _Vector) -> float:
    dy = float(d.dot(y))
    if dy == 0.0:
        return math.inf
    beta = float(y.dot(g) - 2.0 * y.dot(y) / dy * d.dot(g)) / dy
    return max(beta, 0.4 * _quotient(d.dot(g - y), d.dot(d)))


def _polak_ribiere(g: _Vector, d: _Vector, y: _Vector) -> float:
    before = g - y
    return max(_quotient(g.dot(y), before.dot(before)), 0.0)


def _hestenes_stiefel(g: _Vector, d: _Vector, y: _Vector) -> float:
    return max(_quotient(g.dot(y), d.dot(y)), 0.0)


def _fletcher_reeves(g: _Vector, d: _Vector, y: _Vector) -> float:
    before = g - y
    return _quotient(g.dot(g), before.dot(before))


def _dai_yuan(g: _Vector, d: _Vector, y: _Vector) -> float:
    return _quotient(g.dot(g), d.dot(y))


_CONJUGATE = {
    "hager-zhang": _hager_zhang,
    "polak-ribiere": _polak_ribiere,
    "hestenes-stiefel": _hestenes_stiefel,
    "fletcher-reeves": _fletcher_reeves,
    "dai-yuan": _dai_yuan,
}


@dataclass(frozen=True)
class LBFGS:
    """The quasi-Newton direction of the last few iterations, in limited memory.

    Parameters
    ----------
    memory : int or None, default None
        The number of iterations that are remembered, positive. None: 20 for up to 1000 variables, else 10.

    Notes
    -----
    The two-loop recursion of [1]_ from the initial matrix ``(s.y / y.y) I``; the first direction is the negative
    gradient, no longer than 1. A pair with ``s.y <= 1e-10 ||s|| ||y||`` is not remembered, so that the direction
    always descends. 4 ``memory`` n operations for each iteration.

    The values at both ends of a displacement tell of its curvature, too. What the pair remembers of the change of the
    gradient is ``y + (theta / (2 s.s)) s``, where ``theta = 6 (f_k - f_{k+1}) + 3 (g_k + g_{k+1}).s`` makes the
    curvature that of a cubic at its end [2]_; half of it needs the fewest evaluations, between the third of [3]_ and
    the whole. ``theta / 2`` is kept within ``[-s.y / 2, s.y]``, and left out where it could be of rounding or noise.

    References
    ----------
    .. [1] D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical
       Programming 45 (1989) 503-528, :doi:`10.1007/BF01589116`
    .. [2] J. Z. Zhang, N. Y. Deng and L. H. Chen, "New quasi-Newton equation and related methods for unconstrained
       optimization", Journal of Optimization Theory and Applications 102 (1999) 147-167,
       :doi:`10.1023/A:1021898630001`
    .. [3] Z. Wei, G. Li and L. Qi, "New quasi-Newton methods for unconstrained optimization problems", Applied
       Mathematics and Computation 175 (2006) 1156-1188, :doi:`10.1016/j.amc.2005.08.027`

    Examples
    --------
    >>> from graddesc import LBFGS, StrongWolfe, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock(100)
    >>> result = minimize(problem, problem.start, jac=problem.gradient, step=StrongWolfe(), direction=LBFGS())
    >>> result.success
    True
    """

    memory: int | None = None
    scaled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.memory is not None:
            require_count("memory", self.memory)

    def begin(self) -> _Turn:
        """Start a run."""
        return TwoLoops(self.memory)


def memory_for(n: int) -> int:
    """Return how many iterations are remembered where nothing else is said: more help, but cost time."""
    return 20 if n <= 1000 else 10


class TwoLoops:
    """One run's recursion."""

    def __init__(self, memory: int | None) -> None:
        self._memory = memory
        self._pairs: deque[tuple[_Vector, _Vector, float]] = deque()
        self.scaled = True
        # Of the next pair, set by the loop: the curvature that values tell beyond gradients, times s.s.
        self.excess = 0.0

    def __call__(self, g: _Vector, s: _Vector | None, y: _Vector | None, step: float) -> _Vector:
        """Return the direction; a step of 1 is natural along it unless nothing is known of the curvature."""
        pairs = self._pairs
        if s is None or y is None:
            pairs.clear()
        else:
            self._remember(s, y)
        self.scaled = s is None or bool(pairs)
        if not pairs:
            norm = math.sqrt(g.dot(g))
            return g / -norm if norm > 1.0 else -g
        d = -g
        shares = []
        for s, y, sy in reversed(pairs):
            share = float(s.dot(d)) / sy
            shares.append(share)
            d -= share * y
        s, y, sy = pairs[-1]
        d *= sy / float(y.dot(y))
        for (s, y, sy), share in zip(pairs, reversed(shares), strict=True):
            d += (share - float(y.dot(d)) / sy) * s
        return d

    def _remember(self, s: _Vector, y: _Vector) -> None:
        """Remember a pair that tells of a curvature."""
        sy, yy = float(s.dot(y)), float(y.dot(y))
        ss = float(s.dot(s))
        if 0.0 < yy < math.inf and sy > 1e-10 * math.sqrt(ss) * math.sqrt(yy):
            excess = min(max(EXCESS_SHARE * self.excess, LEAST_EXCESS * sy), MOST_EXCESS * sy)
            if excess != 0.0 and ss > 0.0:
                y = y + excess / ss * s
                sy = float(s.dot(y))
            self._pairs.append((s, y, sy))
            memory = memory_for(s.size) if self._memory is None else self._memory
            if len(self._pairs) > memory:
                self._pairs.popleft()

    def matrix(self, n: int, last: tuple[_Vector, _Vector] | None) -> tuple[_Vector, _Vector]:
        """Return the pairs, of shape (k, n) each, and among them the last one even if no direction has asked for it."""
        if last is not None and not (self._pairs and self._pairs[-1][0] is last[0]):
            self._remember(*last)
        s, y = np.empty((2, len(self._pairs), n))
        for k, pair in enumerate(self._pairs):
            s[k], y[k] = pair[:2]
        return s, y


@dataclass(frozen=True)
class Adam:
    """Down the gradient's running mean, each coordinate scaled by its own running magnitude.

    Parameters
    ----------
    mean_decay : float, default 0.9
        The share of the running mean that is kept, in [0, 1).
    square_decay : float, default 0.999
        The share of the running mean square that is kept, in [0, 1).
    epsilon : float, default 1e-8
        Added to the magnitude, positive.

    Notes
    -----
    ``m = mean_decay * m + (1 - mean_decay) * g``, ``v = square_decay * v + (1 - square_decay) * g**2`` and
    ``d = -m^ / (sqrt(v^) + epsilon)`` with ``m^ = m / (1 - mean_decay**k)`` and ``v^ = v / (1 - square_decay**k)``
    [1]_. Meant for schedules: the direction need not descend.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
       :doi:`10.48550/arXiv.1412.6980`

    Examples
    --------
    >>> from graddesc import Adam, Exponential, minimize
    >>> result = minimize(
    ...     lambda x: x @ x, [1.0], jac=lambda x: 2 * x, step=Exponential(0.1, factor=0.98), direction=Adam()
    ... )
    >>> result.success
    True
    """

    mean_decay: float = 0.9
    square_decay: float = 0.999
    epsilon: float = 1e-8
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require_fraction("mean_decay", self.mean_decay)
        _require_fraction("square_decay", self.square_decay)
        require_positive("epsilon", self.epsilon)

    def begin(self) -> _Turn:
        """Start a run."""
        mean: _Vector | float = 0.0
        square: _Vector | float = 0.0
        k = 0
        mean_decay, square_decay, epsilon = map(float, (self.mean_decay, self.square_decay, self.epsilon))

        def turn(g: _Vector, s: _Vector | None, y: _Vector | None, step: float) -> _Vector:
            nonlocal mean, square, k
            if s is None:
                mean = square = 0.0
                k = 0
            k += 1
            mean = mean_decay * mean + (1.0 - mean_decay) * g
            square = square_decay * square + (1.0 - square_decay) * (g * g)
            magnitude = np.sqrt(square / (1.0 - square_decay**k))
            d: _Vector = mean / (-(1.0 - mean_decay**k) * (magnitude + epsilon))
            return d

        return turn
