from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
from _typeshed import StrPath
from numpy.typing import NDArray

__all__ = [
    "MAX_PIXELS",
    "ImageFileError",
    "Picture",
    "check_format",
    "encode",
    "is_lossy",
    "left_out",
    "read",
    "write",
]

MAX_PIXELS: int

class ImageFileError(OSError): ...

class _Metadata(TypedDict, total=False):
    icc_profile: bytes
    exif: bytes
    dpi: tuple[float, float]

@dataclass(frozen=True, eq=False)
class Picture:
    pixels: NDArray[np.uint8 | np.uint16 | np.float32]
    alpha: NDArray[np.uint8] | None = None
    metadata: _Metadata = ...
    lossy: bool = False
    @property
    def channel_axis(self) -> Literal[-1] | None: ...
    @property
    def mode(self) -> Literal["L", "LA", "RGB", "RGBA", "I;16", "F"]: ...

def read(source: StrPath) -> Picture: ...
def is_lossy(target: StrPath) -> bool: ...
def left_out(target: StrPath, picture: Picture) -> tuple[str, ...]: ...
def check_format(target: StrPath, picture: Picture) -> None: ...
def encode(target: StrPath, picture: Picture) -> memoryview: ...
def write(target: StrPath, picture: Picture, *, overwrite: bool = False) -> None: ...
