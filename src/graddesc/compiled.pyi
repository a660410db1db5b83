from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import LowLevelCallable
from scipy.optimize import OptimizeResult

from graddesc.directions import _Direction
from graddesc.line_search import _Search
from graddesc.schedules import _Schedule

__all__ = ["as_python", "descend"]

def as_python(
    fun: LowLevelCallable, jac: LowLevelCallable
) -> tuple[Callable[[NDArray[np.float64]], float], Callable[[NDArray[np.float64]], NDArray[np.float64]]]: ...
def descend(
    fun: LowLevelCallable,
    x0: NDArray[np.float64],
    jac: LowLevelCallable,
    step: _Schedule | _Search,
    direction: _Direction,
    *,
    threads: int,
    tol: float,
    xtol: float,
    ftol: float,
    target: float,
    maxiter: int,
    max_time: float | None,
) -> OptimizeResult: ...
