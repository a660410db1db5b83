from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from graddesc.masks import _HasArray

__all__ = ["LineSmoothness", "by_name"]

_Name: TypeAlias = Literal["line"]
_Loss: TypeAlias = LineSmoothness  # all classes of losses
_Float = TypeVar("_Float", bound=np.floating[Any], default=Any)
_Plane: TypeAlias = _HasArray[_Float] | Sequence[Sequence[float]]

class LineSweeps:
    value: float
    change: float
    slope: float
    def __init__(
        self, x: NDArray[np.floating[Any]], free: NDArray[np.uint8], low: float, high: float, threads: int = 1
    ) -> None: ...
    @property
    def contrast(self) -> float: ...
    def descend(self, step: float, track_change: bool = False) -> None: ...
    def accelerate(self, momentum: float) -> None: ...
    @property
    def iterate(self) -> NDArray[np.floating[Any]]: ...
    def loss(self) -> float: ...

@dataclass(frozen=True)
class LineSmoothness:
    def value(self, x: _Plane[_Float]) -> float: ...
    def gradient(self, x: _Plane[_Float], out: NDArray[_Float] | None = None) -> NDArray[_Float]: ...
    def value_and_gradient(
        self, x: _Plane[_Float], out: NDArray[_Float] | None = None
    ) -> tuple[float, NDArray[_Float]]: ...
    def sweeps(
        self, x: NDArray[np.floating[Any]], free: NDArray[np.uint8], low: float, high: float, threads: int = 1
    ) -> LineSweeps: ...

def by_name(name: _Name) -> _Loss: ...
