from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import LowLevelCallable

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

# What every problem has; some have n and minimum as fields, others as properties or of the class.
class _AnyProblem(Protocol):
    @property
    def n(self) -> int: ...
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimum(self) -> float: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...
    def __call__(self, x: ArrayLike) -> float: ...
    def gradient(self, x: ArrayLike) -> NDArray[np.float64]: ...

class _Problem:
    @property
    def compiled(self) -> tuple[LowLevelCallable, LowLevelCallable]: ...
    def __call__(self, x: ArrayLike) -> float: ...
    def gradient(self, x: ArrayLike) -> NDArray[np.float64]: ...

class _Listed(_Problem):
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...

class _Tiled(_Problem):
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...

@dataclass(frozen=True, eq=False)
class Quadratic(_Problem):
    A: NDArray[np.float64]
    b: NDArray[np.float64]
    c: float
    start: NDArray[np.float64]
    def __init__(
        self, A: ArrayLike, b: ArrayLike | None = None, c: float = 0.0, start: ArrayLike | None = None
    ) -> None: ...
    @property
    def n(self) -> int: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...
    @property
    def minimum(self) -> float: ...
    @property
    def compiled(self) -> tuple[LowLevelCallable, LowLevelCallable]: ...

@dataclass(frozen=True)
class Rosenbrock(_Problem):
    n: int = 2
    minimum: ClassVar[float] = 0.0
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...

@dataclass(frozen=True)
class ExtendedRosenbrock(_Tiled):
    n: int = 10
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class Beale(_Listed):
    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class Booth(_Listed):
    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class Himmelblau(_Listed):
    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class ThreeHumpCamel(_Listed):
    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class StyblinskiTang(_Tiled):
    n: int = 4
    @property
    def minimum(self) -> float: ...

@dataclass(frozen=True)
class DixonPrice(_Problem):
    n: int = 10
    minimum: ClassVar[float] = 0.0
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...

@dataclass(frozen=True)
class FreudensteinRoth(_Tiled):
    n: int = 2
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class BrownBadlyScaled(_Listed):
    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class PowellBadlyScaled(_Listed):
    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class PowellSingular(_Tiled):
    n: int = 4
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class Wood(_Listed):
    n: ClassVar[int] = 4
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class HelicalValley(_Listed):
    n: ClassVar[int] = 3
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class JennrichSampson(_Listed):
    n: ClassVar[int] = 2
    minimum: ClassVar[float] = 124.36218235561473

@dataclass(frozen=True)
class Gaussian(_Listed):
    n: ClassVar[int] = 3
    minimum: ClassVar[float] = 1.1279327696e-08

@dataclass(frozen=True)
class Box3D(_Listed):
    n: ClassVar[int] = 3
    minimum: ClassVar[float] = 0.0

@dataclass(frozen=True)
class KowalikOsborne(_Listed):
    n: ClassVar[int] = 4
    minimum: ClassVar[float] = 0.00030750560385

@dataclass(frozen=True)
class BrownDennis(_Listed):
    n: ClassVar[int] = 4
    minimum: ClassVar[float] = 85822.20162635

@dataclass(frozen=True)
class PenaltyI(_Problem):
    n: int = 10
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...
    @property
    def minimum(self) -> float: ...

@dataclass(frozen=True)
class VariablyDimensioned(_Problem):
    n: int = 10
    minimum: ClassVar[float] = 0.0
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...

@dataclass(frozen=True)
class Trigonometric(_Problem):
    n: int = 10
    minimum: ClassVar[float] = 0.0
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...

@dataclass(frozen=True)
class BroydenTridiagonal(_Problem):
    n: int = 10
    minimum: ClassVar[float] = 0.0
    @property
    def start(self) -> NDArray[np.float64]: ...
    @property
    def minimizers(self) -> NDArray[np.float64]: ...

PROBLEMS: tuple[_AnyProblem, ...]
