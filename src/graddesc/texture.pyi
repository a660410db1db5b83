from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Images = NDArray[np.float32]

def loss(x: NDArray[np.floating[Any]], noise: float, gradient: NDArray[np.float64] | None = None) -> float: ...
def restore_texture(
    x: _Images,
    free: NDArray[np.uint8],
    solve: Callable[[NDArray[np.uint8]], _Images],
    low: float,
    high: float,
    noise: float,
    rng: np.random.Generator,
    threads: int,
    pause: Callable[[], None],
) -> Iterator[_Images]: ...

class Windows:
    order: NDArray[np.int32]
    textured: NDArray[np.bool_]
    def __init__(
        self, side: int, free: NDArray[np.uint8], channels: int, noise: float, threads: int, pause: Callable[[], None]
    ) -> None: ...
    def know(self, x: _Images, known: NDArray[np.bool_]) -> None: ...
    def begin(self, pilot: _Images) -> None: ...
    def estimates(self) -> NDArray[np.float32]: ...
    def learn(
        self, order: NDArray[np.int32], steps: int, ties: Iterable[int], estimates: NDArray[np.float32]
    ) -> Iterator[None]: ...
    def merge(self, estimates: NDArray[np.float32], sums: _Images, weights: NDArray[np.float32]) -> None: ...

class Merged:
    def __init__(self, otherwise: _Images) -> None: ...
    def add(self, windows: Windows, estimates: NDArray[np.float32]) -> None: ...
    def mean(self, x: _Images, known: NDArray[np.bool_]) -> _Images: ...

class Gate:
    def __init__(
        self,
        first: _Images,
        second: _Images,
        x: _Images,
        held: NDArray[np.bool_],
        expected: Sequence[float],
        spread: Sequence[float],
        pause: Callable[[], None],
    ) -> None: ...
    def __call__(self, first: _Images, second: _Images) -> _Images: ...
    def own(self) -> _Images: ...
