from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat, TypeAlias

import numpy as np
from _typeshed import ReadableBuffer, StrPath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from graddesc.result import Result

__all__ = ["Live", "contour_path", "encode", "loss_history", "ray", "require_matplotlib", "surface"]

class Live:
    figure: Figure | None
    next_iteration: int
    @property
    def shows(self) -> bool: ...
    def __init__(self, pause: float = 0.01, growth: float = 1.15) -> None: ...
    def __call__(self, intermediate_result: Result) -> None: ...

_Value: TypeAlias = Callable[[NDArray[np.float64]], SupportsFloat]
_Gradient: TypeAlias = Callable[[NDArray[np.float64]], ArrayLike]
_History: TypeAlias = ArrayLike | OptimizeResult | Result | Mapping[str, ArrayLike | OptimizeResult | Result]
_Window: TypeAlias = tuple[tuple[float, float], tuple[float, float]]

def require_matplotlib() -> None: ...
def encode(path: StrPath, figure: Figure) -> ReadableBuffer: ...
def loss_history(history: _History, *, minimum: float | None = None, axes: Axes | None = None) -> Figure: ...
def contour_path(
    problem: _Value,
    history: _History,
    *,
    window: _Window | None = None,
    levels: ArrayLike | None = None,
    filled: bool = True,
    resolution: int = 200,
    axes: Axes | None = None,
) -> Figure: ...
def ray(
    f: _Value,
    Df: _Gradient,
    x: ArrayLike,
    *,
    window: tuple[float, float] | None = None,
    axes: Axes | None = None,
) -> Figure: ...
def surface(
    f: _Value,
    Df: _Gradient,
    x: ArrayLike,
    *,
    window: _Window | None = None,
    elevation: float = 20,
    azimuth: float = 45,
    resolution: int = 80,
    axes: Any = None,
) -> Figure: ...
