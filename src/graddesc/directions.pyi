from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LBFGS", "Adam", "ConjugateGradient", "HeavyBall", "Nesterov", "Steepest"]

_Vector: TypeAlias = NDArray[np.float64]
_Turn: TypeAlias = Callable[[_Vector, _Vector | None, _Vector | None, float], _Vector]

class _Direction(Protocol):
    @property
    def scaled(self) -> bool: ...
    def begin(self) -> _Turn: ...

@dataclass(frozen=True)
class Steepest:
    scaled: ClassVar[bool] = False
    def begin(self) -> _Turn: ...

@dataclass(frozen=True)
class HeavyBall:
    momentum: float = 0.9
    scaled: ClassVar[bool] = False
    def begin(self) -> _Turn: ...

@dataclass(frozen=True)
class Nesterov:
    momentum: float | None = None
    restart: bool = True
    scaled: ClassVar[bool] = False
    def begin(self) -> _Turn: ...

@dataclass(frozen=True)
class ConjugateGradient:
    formula: Literal["hager-zhang", "polak-ribiere", "hestenes-stiefel", "fletcher-reeves", "dai-yuan"] = "hager-zhang"
    scaled: ClassVar[bool] = False
    def begin(self) -> _Turn: ...

@dataclass(frozen=True)
class LBFGS:
    memory: int = 10
    scaled: ClassVar[bool] = True
    def begin(self) -> _Turn: ...

@dataclass(frozen=True)
class Adam:
    mean_decay: float = 0.9
    square_decay: float = 0.999
    epsilon: float = 1e-8
    scaled: ClassVar[bool] = False
    def begin(self) -> _Turn: ...
