"""What holds an image: masked arrays, labelled arrays, data frames; opened at the start and closed again.

Nothing of xarray, pandas, dask or astropy is imported: what holds an image is known by its attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graddesc.arguments import as_array, as_image, is_masked_array

__all__ = ["Held", "open_image", "open_pixels"]


class Held(NamedTuple):
    """An image that was in something.

    Attributes
    ----------
    pixels : ndarray
        The image as a plain array; no copy where it can be helped.
    masked : ndarray of bool, or None
        What a masked array masks, or what a table says is missing, of the image's shape; None for all else.
    close : callable
        Makes of a plain array of the image's shape and dtype what the image was: with its class, labels and attributes.
    """

    pixels: NDArray[Any]
    masked: NDArray[np.bool_] | None
    close: Callable[[NDArray[Any]], Any]


def open_image(image: Any) -> Held:
    """Take an image out of what holds it.

    Raises
    ------
    TypeError
        If it is lazy (a dask array), or not of real numbers.
    ValueError
        If it is empty.
    """
    if type(image) is np.ndarray:
        return Held(as_image(image), None, _as_it_is)
    _refuse_lazy("image", image)
    if is_masked_array(image):
        return Held(as_image(image.data), np.ma.getmaskarray(image), lambda pixels: _as_masked(pixels, image))
    if _is_table(image) and (numbers := _numbers(image)) is not None:
        missing: NDArray[np.bool_] = image.isna().to_numpy(bool)
        pixels = as_image(image.fillna(0).to_numpy(numbers))
        same = len({*image.dtypes}) == 1  # else all columns get the dtype that holds them all, as in any table
        kind = image.dtypes.iloc[0] if same else numbers
        return Held(
            pixels, missing if missing.any() else None, lambda restored: _as_table(restored, image).astype(kind)
        )
    pixels = as_image(image)
    if _is_labelled(image):
        return Held(pixels, None, lambda restored: image.copy(data=restored))
    if _is_table(image):
        return Held(pixels, None, lambda restored: _as_table(restored, image))
    if isinstance(image, np.ndarray) and type(image) not in (np.ndarray, np.memmap):
        return Held(pixels.view(np.ndarray), None, lambda restored: _as_subclass(restored, image))
    return Held(pixels.view(np.ndarray), None, _as_it_is)


def open_pixels(name: str, given: Any, image: Any) -> Any:
    """Take what is told of each pixel out of what holds it, in the order of an image's own axes and labels.

    Raises
    ------
    TypeError
        If it is lazy (a dask array).
    ValueError
        If its labels are not the image's.
    """
    _refuse_lazy(name, given)
    if _is_labelled(given) and _is_labelled(image):
        if not set(given.dims) <= set(image.dims):
            raise ValueError(f"{name} must have dimensions of image, {image.dims}, got {given.dims}")
        given = given.transpose(*(dim for dim in image.dims if dim in given.dims))
        for dim in given.dims:
            if dim in given.coords and dim in image.coords:
                _require_same(name, dim, given.coords[dim], image.coords[dim])
        return np.asarray(given)
    if _is_table(given) and _is_table(image):
        for axis in ("index", "columns"):
            _require_same(name, axis, getattr(given, axis), getattr(image, axis))
    return as_array(name, given) if isinstance(given, list | tuple) else given


def _refuse_lazy(name: str, given: Any) -> None:
    graph = getattr(given, "__dask_graph__", None)
    if graph is not None and not isinstance(given, type) and graph() is not None:
        raise TypeError(
            f"{name} must be in memory, got a dask array: graddesc.dask.restore keeps it lazy, its compute() loads it"
        )


def _is_labelled(given: Any) -> bool:
    """Whether this is like an xarray.DataArray."""
    return all(hasattr(given, name) for name in ("dims", "coords", "values", "transpose", "copy"))


def _is_table(given: Any) -> bool:
    """Whether this is like a pandas.DataFrame."""
    return all(hasattr(given, name) for name in ("index", "columns", "iloc", "attrs"))


def _numbers(table: Any) -> np.dtype[Any] | None:
    """The dtype of the numbers of a table of which some may be missing, as pandas' Int64 says; None for any other."""
    kinds = [getattr(dtype, "numpy_dtype", dtype) for dtype in table.dtypes]
    nullable = any(hasattr(dtype, "numpy_dtype") for dtype in table.dtypes)
    if not nullable or not all(isinstance(kind, np.dtype) and kind.kind in "iuf" for kind in kinds):
        return None
    return np.result_type(*kinds)


def _require_same(name: str, axis: Any, given: Any, wanted: Any) -> None:
    if not np.array_equal(np.asarray(given), np.asarray(wanted)):
        raise ValueError(f"{name} must have the labels that image has along {axis}, got others")


def _as_it_is(restored: NDArray[Any]) -> NDArray[Any]:
    return restored


def _as_masked(restored: NDArray[Any], image: Any) -> Any:
    closed = image.copy()
    closed.soften_mask()
    closed[...] = restored
    closed.mask = np.ma.nomask
    return closed


def _as_table(restored: NDArray[Any], image: Any) -> Any:
    closed = type(image)(restored, index=image.index, columns=image.columns)
    closed.attrs.update(image.attrs)
    return closed


def _as_subclass(restored: NDArray[Any], image: NDArray[Any]) -> Any:
    closed = image.copy()
    closed.view(np.ndarray)[...] = restored  # past what the class makes of an assignment, such as that of a unit
    return closed
