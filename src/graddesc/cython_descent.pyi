"""The loop of minimize() in C, for cimport: see cython_descent.pxd. What Python sees of it serves graddesc.descent."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

BY_VALUES: int
STEPS: dict[str, int]
DIRECTIONS: dict[str, int]
ENDINGS: dict[str, int]
FORMULAS: dict[str, int]
CONJUGATE: dict[str, int]
ASKED_AT: dict[str, int]

@final
class Settings:
    def __init__(self, fields: dict[str, Any]) -> None: ...

def defaults() -> dict[str, Any]: ...
def constants() -> dict[str, float]: ...
def data_address(capsule: object) -> int: ...
def signature(capsule: object) -> bytes: ...
def run_one(
    functions: Any,
    settings: Settings,
    stops: Sequence[float],
    low: NDArray[np.float64] | None,
    high: NDArray[np.float64] | None,
    schedule: Callable[[int], float],
    arrive: Callable[..., Any] | None,
    empty: Callable[[int], NDArray[np.float64]],
    x: NDArray[np.float64],
    g_out: NDArray[np.float64],
) -> tuple[int, tuple[float, float, int, int, int], tuple[NDArray[np.float64], NDArray[np.float64]] | None]: ...
def run_many(
    capsules: tuple[object, ...],
    settings: Settings,
    stops: Sequence[float],
    low: NDArray[np.float64] | None,
    high: NDArray[np.float64] | None,
    steps: NDArray[np.float64] | None,
    threads: int,
    x: NDArray[np.float64],
    g_out: NDArray[np.float64],
    reports_out: NDArray[np.void],
    endings_out: NDArray[np.intc],
) -> None: ...
