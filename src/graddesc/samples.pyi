import numpy as np
from numpy.typing import NDArray

__all__ = ["ginkgo"]

def ginkgo(size: int = 512) -> NDArray[np.uint8]: ...
