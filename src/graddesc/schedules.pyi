from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseSqrt",
    "InverseTime",
    "Polynomial",
    "StepDecay",
    "WarmUp",
]

_Schedule: TypeAlias = Callable[[int], float]

def step_at(schedule: _Schedule, iteration: int) -> float: ...

@dataclass(frozen=True)
class Constant:
    step: float
    def __call__(self, k: int) -> float: ...

@dataclass(frozen=True)
class InverseTime:
    initial: float
    floor: float = 0.0
    def __call__(self, k: int) -> float: ...

@dataclass(frozen=True)
class InverseSqrt:
    initial: float
    floor: float = 0.0
    def __call__(self, k: int) -> float: ...

@dataclass(frozen=True)
class Exponential:
    initial: float
    factor: float
    floor: float = 0.0
    def __call__(self, k: int) -> float: ...

@dataclass(frozen=True)
class StepDecay:
    initial: float
    factor: float
    every: int
    floor: float = 0.0
    def __call__(self, k: int) -> float: ...

@dataclass(frozen=True)
class Polynomial:
    initial: float
    iterations: int
    final: float = 0.0
    power: float = 1.0
    def __call__(self, k: int) -> float: ...

@dataclass(frozen=True)
class Cosine:
    initial: float
    iterations: int
    final: float = 0.0
    def __call__(self, k: int) -> float: ...

@dataclass(frozen=True)
class WarmUp:
    schedule: _Schedule
    iterations: int
    def __call__(self, k: int) -> float: ...
