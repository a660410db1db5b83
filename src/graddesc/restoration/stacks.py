"""Images of one mask whose corrupt pixels are all solved directly: many of them at once, in compiled code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graddesc.restoration.problem import KnownRange, TellingPixels, Units
from graddesc.restoration.quadratics import Regions

_COMPILED = frozenset(np.typecodes["AllInteger"] + "fd")  # the dtypes that kernels read and write


class Stack:
    """A mask of images of one channel, factorised, and the pixels that tell the range of an image.

    Parameters
    ----------
    free : ndarray of uint8, shape (1, rows, cols)
        1 where a pixel is corrupt.
    regions : Regions
        Its regions, none of which is left to an iterative solver, and one at least is solved.
    """

    def __init__(self, free: NDArray[np.uint8], regions: Regions) -> None:
        self._free, self._factors = free, regions.factors
        self._pixels, self._source = regions.pixels, int(regions.sources[0])
        self._telling = TellingPixels(free, len(self._pixels))

    @classmethod
    def of(cls, free: NDArray[np.uint8], prepared: Sequence[Regions]) -> Stack | None:
        """The stack of masks, one for each channel, and their regions; None if images need more than it does."""
        solved = len(free) == 1 and len(prepared[0].pixels) > 0 and not prepared[0].windows
        return cls(free, prepared[0]) if solved else None

    @staticmethod
    def takes(image: NDArray[Any], out: NDArray[Any] | None) -> bool:
        """Whether images of such a dtype and order, and so written ones, can be read and written."""
        dtype = image.dtype
        if dtype.char not in _COMPILED or not (dtype.isnative and image.flags.c_contiguous):
            return False
        return out is None or (out.flags.c_contiguous and out.dtype.isnative)

    def restore(self, images: NDArray[Any], bounds: Any, out: NDArray[Any]) -> list[int]:
        """Restore images, shape (n, rows, cols), to out; return the numbers of those that must be restored alone.

        These are images whose known pixels are nearly all alike, or that hold very large or very small numbers or some
        that are not finite.
        """
        out[...] = images
        flat, flat_out = images.reshape(len(images), -1), out.reshape(len(out), -1)
        lows, highs = self._telling.range_of(flat)
        least, greatest = lows, highs  # which integers need not
        if images.dtype.kind == "f":
            flat_out[:, self._pixels] = flat_out[:, self._source, np.newaxis]
            least, greatest = flat_out.min(axis=1), flat_out.max(axis=1)
        told = np.zeros((len(images), 4))
        alone = []
        for k, known in enumerate(zip(least.tolist(), greatest.tolist(), lows.tolist(), highs.tolist(), strict=True)):
            linear = None
            if math.isfinite(known[0]) and math.isfinite(known[1]) and known[3] > known[2]:
                units = Units.of(
                    images[k : k + 1], self._free, bounds, as_is=False, contrasts=True, known=KnownRange(*known)
                )
                linear = units.linear
            if linear is None:
                alone.append(k)
                linear = 0.0, 1.0, 0.0, 0.0
            told[k] = linear
        self._factors.restore(flat, told, flat_out)
        return alone
