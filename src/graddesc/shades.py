"""How images of any dtype are shown: the range of values from black to white, 8 bits of each; and how shares are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["eight_bits", "percent", "shown_range"]

_SHOWN = 0.5, 99.5  # percentiles of the known pixels that are black and white, but for 8 bits


def shown_range(image: NDArray[Any], corrupt: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Return the values that are shown black and white, by the known pixels; (0, 255) for uint8."""
    if image.dtype == np.uint8:
        return 0.0, 255.0
    known = image if corrupt is None else image[~corrupt]
    known = known[np.isfinite(known)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(known.astype(np.float64) / 2, _SHOWN))
    low, high = 2 * low, 2 * high  # halves, as the difference of the greatest floats is none
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def eight_bits(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return an image as uint8, low black and high white; NaN is black."""
    if image.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return image
    with np.errstate(all="ignore"):
        halves = np.clip(image.astype(np.float64), low, high) / 2
        shown = np.nan_to_num((halves - low / 2) / (high / 2 - low / 2))
    return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def percent(count: int, total: int) -> str:
    """Return a share in words, which are 0 and 100 only for nothing and all."""
    text = f"{count / total:.1%}"
    if 0 < count < total:
        return {"0.0%": "<0.1%", "100.0%": ">99.9%"}.get(text, text)
    return text
