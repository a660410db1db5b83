from collections.abc import Callable, Sequence
from typing import Concatenate, Literal, Never, Protocol, SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import LowLevelCallable
from scipy.optimize import Bounds, OptimizeResult

from graddesc.directions import _Direction
from graddesc.line_search import _Search
from graddesc.schedules import _Schedule

__all__ = ["gradient_descent", "minimize"]

_Value: TypeAlias = Callable[Concatenate[NDArray[np.float64], ...], SupportsFloat]
_Gradient: TypeAlias = Callable[Concatenate[NDArray[np.float64], ...], ArrayLike]
_ValueAndGradient: TypeAlias = Callable[Concatenate[NDArray[np.float64], ...], tuple[SupportsFloat, ArrayLike]]

# The name of the parameter tells minimize() what to hand over.
class _ResultCallback(Protocol):
    def __call__(self, *, intermediate_result: OptimizeResult) -> object: ...

def gradient_descent(
    f: Callable[[NDArray[np.float64]], SupportsFloat],
    Df: Callable[[NDArray[np.float64]], ArrayLike],
    x0: ArrayLike,
    maxiter: int | None = 100,
    tol: float = 1e-5,
) -> tuple[NDArray[np.float64], float, int]: ...
def minimize(
    fun: _Value | _ValueAndGradient | LowLevelCallable,
    x0: ArrayLike,
    args: tuple[object, ...] = (),
    jac: _Gradient | LowLevelCallable | bool | Literal["2-point", "3-point", "cs"] | None = None,
    *,
    step: _Schedule | _Search | None = None,
    direction: _Direction | None = None,
    bounds: Sequence[Sequence[float | None]] | Bounds | None = None,
    fixed: Sequence[bool] | NDArray[np.bool_] | None = None,
    projection: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
    tol: float = 1e-5,
    xtol: float = 0.0,
    ftol: float = 0.0,
    maxiter: int | None = None,
    max_time: float | None = None,
    target: float | None = None,
    callback: _ResultCallback | Callable[[NDArray[np.float64]], object] | None = None,
    history: bool = False,
    threads: int = 1,
    hess: object = None,
    hessp: object = None,
    constraints: object = (),
    **unknown_options: Never,  # they only warn, because SciPy may hand over any; a checker can refuse them
) -> OptimizeResult: ...
