"""Volumes of which some voxels are left out: what is cut off by them, and whether what is known tells all else."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray


class LeftOut:
    """What is left of a volume beside the voxels to ignore: all that the masks tell of it.

    Parameters
    ----------
    free : ndarray of uint8, shape (masks, planes, rows, cols)
        1 where a voxel is corrupt.
    ignored : ndarray of bool, shape (planes, rows, cols)
        True where a voxel is ignored.

    Attributes
    ----------
    present : ndarray of uint8, shape (planes, rows, cols)
        1 where a voxel is not ignored.
    free : ndarray of uint8, shape (masks, planes, rows, cols)
        The corrupt voxels but for those that are cut off: from which no way leads, from neighbour to neighbour, to a
        known voxel. These stay as they start.
    cut_off : bool
        Whether there are such voxels.
    determined : dict of int to bool
        Of masks, whether squared second differences have one minimiser: what has been found so far.
    """

    def __init__(self, free: NDArray[np.uint8], ignored: NDArray[np.bool_]) -> None:
        from scipy import ndimage  # which few volumes need

        self.present = np.ascontiguousarray(~ignored).view(np.uint8)
        labels, count = ndimage.label(self.present)
        self.free = free.copy()
        self.cut_off = False
        self.determined: dict[int, bool] = {}
        for free in self.free:
            told = np.zeros(count + 1, bool)
            told[labels[(free == 0) & (labels > 0)]] = True
            alone = (free == 1) & ~told[labels]
            free[alone] = 0
            self.cut_off |= bool(alone.any())

    def known_share(self, free: NDArray[np.uint8]) -> float:
        """The share of the known voxels in the 7 x 7 x 7 around the free ones, on the average."""
        from scipy import ndimage

        shares = ndimage.uniform_filter((self.present & (1 - free)).astype(float), 7, mode="constant")
        return float(shares[free == 1].mean()) if free.any() else 0.0

    def probes(self, free: NDArray[np.uint8], count: int) -> Iterator[NDArray[np.float64]]:
        """Some starts between -1 and 1 that have a part of all that costs nothing, but by chance.

        What costs nothing is affine on what hangs together, mostly: so are these, some other way on each, and uneven.
        """
        from scipy import ndimage

        labels, pieces = ndimage.label(self.present)
        rng = np.random.default_rng(0)
        boxes = [(slice(0, 1),) * 3, *ndimage.find_objects(labels)]
        along = []  # each axis, from -1 to 1 on each piece
        for axis, side in enumerate(free.shape):
            least = np.array([box[axis].start for box in boxes])
            length = np.array([max(box[axis].stop - box[axis].start - 1, 1) for box in boxes])
            place = np.arange(side).reshape([-1 if k == axis else 1 for k in range(3)])
            along.append(2 * (place - least[labels]) / length[labels] - 1)
        for _ in range(count):
            terms = rng.uniform(-1, 1, (4, pieces + 1))
            terms /= np.abs(terms).sum(axis=0)
            x = terms[0][labels] + sum(term[labels] * place for term, place in zip(terms[1:], along, strict=True))
            yield free * (0.75 * x + 0.25 * rng.uniform(-1, 1, free.shape))

    def surely_determined(self, free: NDArray[np.uint8]) -> Generator[None, None, bool]:
        """Whether squared second differences have one minimiser, as far as that is seen without solving; in parts.

        Cubes of 2 x 2 x 2 voxels that are present hold together with those beside them: an affine function on one of
        them costs nothing only if it goes on in the next. So each free voxel must lie in such a cube, and the known
        voxels of what hangs together must not lie in one plane.
        """
        from scipy import ndimage

        sides = tuple(min(side, 2) for side in free.shape)
        cubes = np.lib.stride_tricks.sliding_window_view(self.present, sides).min(axis=(-3, -2, -1))
        labels, count = ndimage.label(cubes)
        pieces = np.zeros((count + 1, 10))  # of each piece the number of its known voxels and the sums of moments
        covered = np.zeros(free.shape, bool)
        asked = np.zeros(count + 1, bool)
        middle = [(side - 1) / 2 for side in free.shape]
        for corner in np.ndindex(*sides):
            yield
            box = tuple(slice(k, k + n) for k, n in zip(corner, labels.shape, strict=True))
            inside = labels > 0
            covered[box] |= inside
            unknown = free[box] == 1
            asked[labels[inside & unknown]] = True
            known = inside & ~unknown
            places = np.array(np.nonzero(known), float)
            places += np.reshape(corner, (3, 1)) - np.reshape(middle, (3, 1))
            terms = [np.ones(places.shape[1]), *places, *(places[a] * places[b] for a, b in _PAIRS)]
            for number, term in enumerate(terms):
                pieces[:, number] += np.bincount(labels[known], term, count + 1)
        if (covered < free).any():
            return False
        asked[0] = False
        for piece in pieces[asked]:
            if piece[0] == 0:
                return False
            mean, moments = piece[1:4] / piece[0], np.empty((3, 3))
            for (a, b), moment in zip(_PAIRS, piece[4:] / piece[0], strict=True):
                moments[a, b] = moments[b, a] = moment - mean[a] * mean[b]
            if np.linalg.matrix_rank(moments, tol=1e-6, hermitian=True) < sum(side > 1 for side in free.shape):
                return False
        return True


_PAIRS = (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)
