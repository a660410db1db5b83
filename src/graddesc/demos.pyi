from dataclasses import dataclass

import numpy as np
from _typeshed import StrPath
from numpy.typing import ArrayLike, NDArray

__all__ = ["Report", "TwoLayerNetwork", "network", "quadratic", "restore", "rosenbrock"]

@dataclass(frozen=True)
class Report:
    lines: tuple[str, ...]
    files: tuple[str, ...]

def restore(
    directory: StrPath = ".",
    *,
    size: int = 512,
    missing: float = 0.9,
    seed: int = 0,
    threads: int = 1,
    show: bool = False,
    overwrite: bool = False,
) -> Report: ...
def quadratic(directory: StrPath = ".", *, overwrite: bool = False) -> Report: ...
def rosenbrock(directory: StrPath = ".", *, maxiter: int = 20_000, overwrite: bool = False) -> Report: ...

@dataclass(frozen=True, eq=False)
class TwoLayerNetwork:
    points: NDArray[np.float64]
    labels: NDArray[np.float64]
    hidden: int = ...
    decay: float = ...
    def start(self, seed: int = 0) -> NDArray[np.float64]: ...
    def score(self, parameters: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]: ...
    def __call__(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]: ...

def network(directory: StrPath = ".", *, seed: int = 0, overwrite: bool = False) -> Report: ...
