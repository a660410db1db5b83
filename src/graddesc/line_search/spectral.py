"""Steps that need no search of their own: spectral ones, with a safeguard, and Polyak's."""

from __future__ import annotations

import math
import sys
from collections import deque
from dataclasses import dataclass
from typing import Literal

from graddesc.arguments import require, require_count
from graddesc.line_search.backtracking import parabola, shorten
from graddesc.line_search.ray import INFINITY, RETREAT, Follower, Ray, Trial, _Look


@dataclass(frozen=True)
class BarzilaiBorwein:
    """The step that the last displacement and change of the gradient suggest, with a non-monotone safeguard.

    With bounds or another projection this is the spectral projected gradient method.

    Parameters
    ----------
    formula : {"alternating", "adaptive", "long", "short"}, default "alternating"
        ``s.s / s.y`` is the long step, ``s.y / y.y`` the short one. "alternating" takes turns, "adaptive" takes the
        short one where it is less than half of the long one.
    memory : int, default 10
        The number of past values of which the highest may not be exceeded; 1 makes the method monotone.
    sufficient_decrease : float, default 1e-4
        The share of the predicted decrease that is wanted, in (0, 1).

    Notes
    -----
    With ``s = x_k - x_{k-1}`` and ``y = g_k - g_{k-1}`` [1]_, a trial is accepted if
    ``f(x + alpha d) <= max_{j < memory} f_{k-j} + sufficient_decrease * alpha * g.d`` [2]_; otherwise it is shortened
    by interpolation. On a projected ray ``P(x + alpha d)`` that is the first of the two methods of [3]_. "adaptive" is
    due to [4]_, "alternating" to [5]_. The first step is one over the largest component of the projected gradient. Most
    iterations take one value and one gradient. Where values are blurred by rounding, slopes take their place, as in
    `Backtracking`.

    References
    ----------
    .. [1] J. Barzilai and J. M. Borwein, "Two-point step size gradient methods", IMA Journal of Numerical Analysis 8
       (1988) 141-148, :doi:`10.1093/imanum/8.1.141`
    .. [2] M. Raydan, "The Barzilai and Borwein gradient method for the large scale unconstrained minimization
       problem", SIAM Journal on Optimization 7 (1997) 26-33, :doi:`10.1137/S1052623494266365`
    .. [3] E. G. Birgin, J. M. Martinez and M. Raydan, "Nonmonotone spectral projected gradient methods on convex
       sets", SIAM Journal on Optimization 10 (2000) 1196-1211, :doi:`10.1137/S1052623497330963`
    .. [4] B. Zhou, L. Gao and Y.-H. Dai, "Gradient methods with adaptive step-sizes", Computational Optimization and
       Applications 35 (2006) 69-86, :doi:`10.1007/s10589-006-6446-0`
    .. [5] Y.-H. Dai and R. Fletcher, "Projected Barzilai-Borwein methods for large-scale box-constrained quadratic
       programming", Numerische Mathematik 100 (2005) 21-47, :doi:`10.1007/s00211-004-0569-y`

    Examples
    --------
    >>> from graddesc import BarzilaiBorwein, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> result = minimize(problem, problem.start, jac=problem.gradient, step=BarzilaiBorwein())
    >>> result.success
    True
    """

    formula: Literal["alternating", "adaptive", "long", "short"] = "alternating"
    memory: int = 10
    sufficient_decrease: float = 1e-4

    def __post_init__(self) -> None:
        formulas = ("alternating", "adaptive", "long", "short")
        if self.formula not in formulas:
            raise ValueError(f"formula must be one of {', '.join(formulas)}, got {self.formula!r}")
        require_count("memory", self.memory)
        require("sufficient_decrease", self.sufficient_decrease, "a number in (0, 1)", lambda v: 0 < v < 1)

    def begin(self) -> _Look:
        """Start a run."""
        recent: deque[float] = deque(maxlen=min(int(self.memory), sys.maxsize))

        def look(ray: Ray) -> Trial:
            recent.append(ray.f)
            return shorten(
                ray, self._first(ray), max(recent), self.sufficient_decrease, lambda trial: parabola(ray, trial)
            )

        return look

    def _first(self, ray: Ray) -> float:
        if ray.scaled:
            return 1.0
        if ray.last is None:
            return 1.0 / ray.scale
        step, _, _, s, y = ray.last
        ss, sy, yy = float(s.dot(s)), float(s.dot(y)), float(y.dot(y))
        if sy > 0.0 and yy > 0.0:
            alpha = self._choose(ss / sy, sy / yy, ray.iteration)
        elif yy > 0.0:
            # No curvature to go by: the geometric mean of the two formulas, without their sign.
            alpha = math.sqrt(ss / yy)
        else:
            alpha = step / RETREAT
        # Along another direction than the gradient's: where the same curvature would put the minimum.
        dd = float(ray.d.dot(ray.d))
        alpha *= -ray.slope / dd if dd > 0.0 else INFINITY
        return min(alpha, ray.longest) if 0.0 < alpha < INFINITY else 1.0 / ray.scale

    def _choose(self, long: float, short: float, iteration: int) -> float:
        if self.formula == "adaptive":
            return short if short < 0.5 * long else long
        if self.formula == "alternating":
            return short if iteration % 2 else long
        return short if self.formula == "short" else long


@dataclass(frozen=True)
class Polyak:
    """The step that would reach a known least value if the function were linear.

    Parameters
    ----------
    target : float
        The least value of the function, finite. The run ends where it is reached.
    relaxation : float, default 1.0
        What the step is multiplied by, in (0, 2).

    Notes
    -----
    ``alpha = relaxation * (f(x) - target) / |g.d|``, along the negative gradient ``(f(x) - target) / ||g||^2`` [1]_.
    No test of decrease: on a convex function each step brings the iterate closer to every minimum.

    References
    ----------
    .. [1] B. T. Polyak, "Minimization of unsmooth functionals", USSR Computational Mathematics and Mathematical
       Physics 9 (1969) 14-29, :doi:`10.1016/0041-5553(69)90061-5`

    Examples
    --------
    >>> from graddesc import Polyak, minimize
    >>> result = minimize(lambda x: x @ x, [3.0, 4.0], jac=lambda x: 2 * x, step=Polyak(0.0))
    >>> result.success
    True
    """

    target: float
    relaxation: float = 1.0

    def __post_init__(self) -> None:
        require("target", self.target, "a finite number", lambda v: True)
        require("relaxation", self.relaxation, "a number in (0, 2)", lambda v: 0 < v < 2)

    def begin(self) -> _Look:
        """Start a run."""
        follower = Follower()
        return lambda ray: follower.follow(ray, self.relaxation * (ray.f - self.target) / -ray.slope)
