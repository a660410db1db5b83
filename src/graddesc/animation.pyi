from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from graddesc.result import Result

__all__ = ["Recorder"]

class Recorder:
    frames: list[Image.Image]
    next_iteration: int
    def __init__(self, image: ArrayLike, mask: ArrayLike | None = None) -> None: ...
    def __call__(self, intermediate_result: Result) -> None: ...
    def encode(self, restored: NDArray[np.generic], kind: Literal["gif", "webp", "png"] = "gif") -> bytes: ...
