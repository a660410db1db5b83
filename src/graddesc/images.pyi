from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from _typeshed import StrPath
from numpy.typing import NDArray

from graddesc.tiff import Directory

__all__ = [
    "MAX_PIXELS",
    "ImageFileError",
    "Picture",
    "check_format",
    "encode",
    "is_lossy",
    "left_out",
    "read",
    "without_places",
    "write",
]

MAX_PIXELS: int

class ImageFileError(OSError): ...

class _Metadata(TypedDict, total=False):
    icc_profile: bytes
    exif: bytes
    dpi: tuple[float, float]
    tiff: list[Directory]
    lost: tuple[str, ...]

@dataclass(frozen=True, eq=False)
class Picture:
    pixels: NDArray[np.integer[Any] | np.floating[Any]]
    alpha: NDArray[np.uint8 | np.uint16] | None = None
    metadata: _Metadata = ...
    lossy: bool = False
    nodata: float | None = None
    frames: bool = False
    stored_shape: tuple[int, int] | None = None
    @property
    def channel_axis(self) -> Literal[-1] | None: ...
    @property
    def frame_axis(self) -> Literal[0] | None: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def kind(self) -> str: ...

def read(source: StrPath) -> Picture: ...
def without_places(picture: Picture) -> Picture: ...
def is_lossy(target: StrPath) -> bool: ...
def left_out(target: StrPath, picture: Picture) -> tuple[str, ...]: ...
def check_format(target: StrPath, picture: Picture) -> None: ...
def encode(target: StrPath, picture: Picture) -> memoryview: ...
def write(target: StrPath, picture: Picture, *, overwrite: bool = False) -> None: ...
