from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

__all__ = ["corrupt", "detect"]

_Pixel = TypeVar("_Pixel", bound=np.integer[Any] | np.floating[Any], default=Any)
_Scalar_co = TypeVar("_Scalar_co", bound=np.generic, covariant=True)

class _HasArray(Protocol[_Scalar_co]):
    def __array__(self) -> np.ndarray[Any, np.dtype[_Scalar_co]]: ...

# ArrayLike of NumPy, except that the dtype of an array is known.
_Rows: TypeAlias = Sequence[Sequence[float]] | Sequence[Sequence[Sequence[float]]]
_Image: TypeAlias = _HasArray[_Pixel] | _Rows

def detect(
    image: _Image[_Pixel],
    channel_axis: int | None = None,
    *,
    extremes: bool | None = None,
    nodata: float | Sequence[float] | None = None,
) -> NDArray[np.bool_]: ...
def corrupt(
    image: _Image[_Pixel],
    missing: float = 0.9,
    *,
    rng: np.random.Generator | int | None = None,
    channel_axis: int | None = None,
) -> tuple[NDArray[_Pixel], NDArray[np.bool_]]: ...
