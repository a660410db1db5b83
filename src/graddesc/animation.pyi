import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from graddesc.result import Result

__all__ = ["Recorder"]

class Recorder:
    frames: list[Image.Image]
    def __init__(self, image: ArrayLike) -> None: ...
    def __call__(self, intermediate_result: Result) -> None: ...
    def encode(self, restored: NDArray[np.generic]) -> memoryview: ...
