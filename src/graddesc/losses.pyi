from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from graddesc.masks import _HasArray

__all__ = [
    "Biharmonic",
    "EdgeAligned",
    "Harmonic",
    "HessianTotalVariation",
    "LineSmoothness",
    "TextureAdaptive",
    "TotalVariation",
    "by_name",
]

_Name: TypeAlias = Literal["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture"]
_Loss: TypeAlias = LineSmoothness | _Stencil | TextureAdaptive  # all classes of losses
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

class _Momentum(Protocol):
    def restart(self) -> None: ...
    def next(self) -> float: ...

class StencilSweeps:
    iterates: NDArray[np.floating[Any]]
    changes: list[float]
    contrast: float
    def __init__(
        self,
        operator: Any,
        x: NDArray[np.floating[Any]],
        free: NDArray[np.uint8],
        low: float,
        high: float,
        threads: int = 1,
    ) -> None: ...
    @property
    def change(self) -> float: ...
    def refresh(self) -> None: ...
    def measure_contrast(self) -> None: ...
    def accelerate(self, momentum: _Momentum) -> bool: ...
    def keep(self, channels: int) -> None: ...
    def descend(self, step: float) -> None: ...
    def loss(self, x: NDArray[np.floating[Any]]) -> float: ...

class _Stencil:
    default_tol: ClassVar[float] = 0.25
    momentum: ClassVar[tuple[float, float]] = ...
    @property
    def operator(self) -> Any: ...
    def value(self, x: _Plane[_Float]) -> float: ...
    def gradient(self, x: _Plane[_Float], out: NDArray[_Float] | None = None) -> NDArray[_Float]: ...
    def value_and_gradient(
        self, x: _Plane[_Float], out: NDArray[_Float] | None = None
    ) -> tuple[float, NDArray[_Float]]: ...
    def sweeps_of(
        self, x: NDArray[np.floating[Any]], free: NDArray[np.uint8], low: float, high: float, threads: int = 1
    ) -> StencilSweeps: ...

class _SumOfSquares(_Stencil):
    momentum: ClassVar[tuple[float, float]] = ...

@dataclass(frozen=True)
class Harmonic(_SumOfSquares): ...

@dataclass(frozen=True)
class Biharmonic(_SumOfSquares):
    default_tol: ClassVar[float] = 0.15

@dataclass(frozen=True)
class TotalVariation(_Stencil):
    epsilon: float = 0.003
    def __post_init__(self) -> None: ...

@dataclass(frozen=True)
class HessianTotalVariation(_Stencil):
    epsilon: float = 0.003
    default_tol: ClassVar[float] = 0.15
    def __post_init__(self) -> None: ...

@dataclass(frozen=True)
class EdgeAligned(_Stencil):
    edge_strength: float = 0.002
    contrast: float = 0.02
    epsilon: float = 0.015
    first_order: float = 0.5
    mixed: float = 2.0
    def __post_init__(self) -> None: ...

@dataclass(frozen=True)
class TextureAdaptive:
    noise: float = 0.01
    edge: EdgeAligned = EdgeAligned()
    seed: int = 0
    def __post_init__(self) -> None: ...
    def value(self, x: _Plane[_Float]) -> float: ...
    def gradient(self, x: _Plane[_Float], out: NDArray[_Float] | None = None) -> NDArray[_Float]: ...
    def value_and_gradient(
        self, x: _Plane[_Float], out: NDArray[_Float] | None = None
    ) -> tuple[float, NDArray[_Float]]: ...
    def stages(
        self,
        x: NDArray[np.floating[Any]],
        free: NDArray[np.uint8],
        solve: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
        low: float,
        high: float,
        threads: int,
        pause: Callable[[], None],
    ) -> Iterator[NDArray[np.float32]]: ...

def by_name(name: _Name) -> _Loss: ...
