"""Ever shorter steps, until the function is lowered enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graddesc.arguments import require, require_positive
from graddesc.endings import Ending
from graddesc.line_search.ray import INFINITY, RETREAT, Ray, Trial, _Look, lowers, no_step, unit_step


def shorten(
    ray: Ray, alpha: float, reference: float, sufficient_decrease: float, shorter: Callable[[Trial], float]
) -> Trial:
    """Return the first trial that lowers the function sufficiently against a reference value.

    ``shorter(trial)`` gives the next step.
    """
    while True:
        trial = ray.at(alpha)
        if lowers(ray, trial, reference, sufficient_decrease):
            return trial
        if not ray.moves(trial):
            raise no_step(Ending.NO_DECREASE)
        alpha = shorter(trial) if trial.f < INFINITY else RETREAT * trial.alpha


def parabola(ray: Ray, trial: Trial) -> float:
    """Return the minimum of the parabola through value and slope at the start and the trial, within [0.1, 0.5]."""
    curvature = trial.f - ray.f - trial.linear
    share = -0.5 * trial.linear / curvature if curvature > 0.0 else 0.5
    return trial.alpha * min(max(share, 0.1), 0.5)


@dataclass(frozen=True)
class Backtracking:
    """The first of ever shorter steps that lowers the function sufficiently (Armijo).

    Parameters
    ----------
    initial : float or None, default None
        The first trial of every iteration, positive. None starts one step above the last one, or from 1 where that is
        natural along the direction.
    factor : float, default 0.5
        What a step that fails is multiplied by, in (0, 1).
    sufficient_decrease : float, default 1e-4
        The share of the predicted decrease that is wanted, in (0, 1).

    Notes
    -----
    Accepts the first ``alpha = initial * factor**i`` with
    ``f(x + alpha d) <= f(x) + sufficient_decrease * alpha * g.d`` [1]_. Where ``alpha * g.d`` and the change of the
    value are within its rounding, eight units in the last place, the test is the one that [2]_ approximate this by,
    ``g(x + alpha d).d <= (2 sufficient_decrease - 1) * g.d``, and the value may rise by its rounding.

    References
    ----------
    .. [1] L. Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", Pacific
       Journal of Mathematics 16 (1966) 1-3, :doi:`10.2140/pjm.1966.16.1`
    .. [2] W. W. Hager and H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line
       search", SIAM Journal on Optimization 16 (2005) 170-192, :doi:`10.1137/030601880`

    Examples
    --------
    >>> from graddesc import Backtracking, Steepest, minimize
    >>> search = Backtracking(initial=1.0)
    >>> result = minimize(lambda x: x @ x, [3.0, 4.0], jac=lambda x: 2 * x, step=search, direction=Steepest())
    >>> result.nit, result.nfev
    (1, 3)
    """

    initial: float | None = None
    factor: float = 0.5
    sufficient_decrease: float = 1e-4

    def __post_init__(self) -> None:
        if self.initial is not None:
            require_positive("initial", self.initial)
        require("factor", self.factor, "a number in (0, 1)", lambda v: 0 < v < 1)
        require("sufficient_decrease", self.sufficient_decrease, "a number in (0, 1)", lambda v: 0 < v < 1)

    def begin(self) -> _Look:
        """Start a run."""
        return self._look

    def _look(self, ray: Ray) -> Trial:
        if self.initial is not None:
            alpha = self.initial
        elif ray.scaled:
            alpha = 1.0
        elif ray.last is None:
            alpha = unit_step(ray)
        else:
            # One step longer than the last, as nothing else would let steps grow again.
            alpha = ray.last.step / self.factor
        return shorten(ray, alpha, ray.f, self.sufficient_decrease, lambda trial: self.factor * trial.alpha)
