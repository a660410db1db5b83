from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Backtracking",
    "BarzilaiBorwein",
    "ExactLineSearch",
    "HagerZhang",
    "NoStep",
    "Polyak",
    "Ray",
    "StrongWolfe",
    "Trial",
]

_Vector: TypeAlias = NDArray[np.float64]
_Look: TypeAlias = Callable[[Ray], Trial]

class _Search(Protocol):
    def begin(self) -> _Look: ...

class NoStep(Exception):
    status: int
    def __init__(self, message: str, status: int = 2) -> None: ...

class Trial:
    __slots__ = ("alpha", "f", "g", "linear", "scale", "x")
    alpha: float
    x: _Vector
    f: float
    g: _Vector | None
    linear: float
    scale: float | None
    def __init__(self, alpha: float, x: _Vector, f: float, g: _Vector | None, linear: float) -> None: ...

class Ray:
    __slots__ = ("_objective", "_region", "bends", "d", "f", "g", "iteration", "last", "scale", "scaled", "slope", "x")
    x: _Vector
    f: float
    g: _Vector
    d: _Vector
    slope: float
    bends: bool
    iteration: int
    scaled: bool
    scale: float
    last: tuple[float, float, float, _Vector, _Vector] | None
    def __init__(
        self,
        objective: object,
        start: Trial,
        d: _Vector,
        slope: float,
        iteration: int,
        scaled: bool,
        last: tuple[float, float, float, _Vector, _Vector] | None,
    ) -> None: ...
    def at(self, alpha: float) -> Trial: ...
    def slope_at(self, trial: Trial) -> float: ...
    def moves(self, trial: Trial) -> bool: ...
    def longest(self) -> float: ...

@dataclass(frozen=True)
class ExactLineSearch:
    initial: float = 1.0
    tolerance: float = 1.48e-8
    max_trials: int = 500
    slopes: bool | None = None
    def begin(self) -> _Look: ...

@dataclass(frozen=True)
class Backtracking:
    initial: float | None = None
    factor: float = 0.5
    sufficient_decrease: float = 1e-4
    def begin(self) -> _Look: ...

@dataclass(frozen=True)
class StrongWolfe:
    sufficient_decrease: float = 1e-4
    curvature: float = 0.9
    max_trials: int = 40
    def begin(self) -> _Look: ...

@dataclass(frozen=True)
class HagerZhang:
    sufficient_decrease: float = 0.1
    curvature: float = 0.9
    blur: float = 1e-6
    max_trials: int = 50
    def begin(self) -> _Look: ...

@dataclass(frozen=True)
class BarzilaiBorwein:
    formula: Literal["alternating", "adaptive", "long", "short"] = "alternating"
    memory: int = 10
    sufficient_decrease: float = 1e-4
    def begin(self) -> _Look: ...

@dataclass(frozen=True)
class Polyak:
    target: float
    relaxation: float = 1.0
    def begin(self) -> _Look: ...
