from collections.abc import Callable, Sequence
from typing import Any, Literal, SupportsFloat, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult

from graddesc.losses import _Loss, _Name
from graddesc.masks import _HasArray, _Image, _Pixel, _Rows
from graddesc.schedules import _Schedule

__all__ = ["restore"]

_Mask: TypeAlias = _HasArray[np.bool_ | np.integer[Any]] | Sequence[Sequence[int]] | Sequence[Sequence[Sequence[int]]]
# Not ArrayLike, which takes any str.
_Init: TypeAlias = (
    Literal["pyramid", "nearest", "image"] | _HasArray[np.bool_ | np.integer[Any] | np.floating[Any]] | _Rows
)
_ValueAndGradient: TypeAlias = Callable[[NDArray[np.float64]], tuple[SupportsFloat, ArrayLike]]

@overload
def restore(
    image: _Image[_Pixel],
    mask: _Mask | None = None,
    *,
    known: _Mask | None = None,
    loss: _Name | _Loss | _ValueAndGradient = "edge",
    step: _Schedule | None = None,
    init: _Init = "pyramid",
    max_iter: int | None = None,
    tol: float | None = None,
    max_time: float | None = None,
    bounds: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    threads: int = 1,
    callback: Callable[[OptimizeResult], object] | None = None,
    out: NDArray[_Pixel] | None = None,
    full_output: Literal[False] = False,
    confidence: Literal[False] = False,
) -> NDArray[_Pixel]: ...
@overload
def restore(
    image: _Image[_Pixel],
    mask: _Mask | None = None,
    *,
    known: _Mask | None = None,
    loss: _Name | _Loss | _ValueAndGradient = "edge",
    step: _Schedule | None = None,
    init: _Init = "pyramid",
    max_iter: int | None = None,
    tol: float | None = None,
    max_time: float | None = None,
    bounds: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    threads: int = 1,
    callback: Callable[[OptimizeResult], object] | None = None,
    out: NDArray[_Pixel] | None = None,
    full_output: Literal[True],
    confidence: bool = False,
) -> tuple[NDArray[_Pixel], OptimizeResult]: ...
@overload
def restore(
    image: _Image[_Pixel],
    mask: _Mask | None = None,
    *,
    known: _Mask | None = None,
    loss: _Name | _Loss | _ValueAndGradient = "edge",
    step: _Schedule | None = None,
    init: _Init = "pyramid",
    max_iter: int | None = None,
    tol: float | None = None,
    max_time: float | None = None,
    bounds: tuple[float, float] | None = None,
    channel_axis: int | None = None,
    threads: int = 1,
    callback: Callable[[OptimizeResult], object] | None = None,
    out: NDArray[_Pixel] | None = None,
    full_output: bool,
    confidence: bool = False,
) -> NDArray[_Pixel] | tuple[NDArray[_Pixel], OptimizeResult]: ...
