from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["loss_history", "require_matplotlib"]

def require_matplotlib() -> None: ...
def loss_history(history: Sequence[float] | NDArray[np.integer[Any] | np.floating[Any]]) -> Figure: ...
