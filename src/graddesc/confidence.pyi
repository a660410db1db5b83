from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimate"]

def estimate(
    x: NDArray[np.floating[Any]],
    free: NDArray[np.uint8],
    solve: Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]],
    rng: np.random.Generator,
) -> NDArray[np.float32]: ...
