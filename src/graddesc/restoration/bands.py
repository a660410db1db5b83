"""Bands that have masks of their own: which are related, and what descends each group of them.

A group comes out as if it were an image by itself, in units of its own, to the bit; so does a band that is related to
no other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import stencil
from graddesc.losses.differences import Differences, EdgeAligned, SumOfSquares
from graddesc.losses.sweeps import Descent, Piece
from graddesc.restoration.problem import Problem, fill_pyramid, some_of
from graddesc.restoration.problem import bands as strips  # of rows
from graddesc.restoration.solver import WORK_AT_ONCE
from graddesc.restoration.windows import Windows, WindowSteps

__all__ = ["BandSteps", "CoupledSteps", "Prepared", "groups_of", "related"]

Group: TypeAlias = tuple[int, ...]

# Blocks of the image that tell which bands are related: the whole image, if it is no larger than all of them.
_BLOCK, _BLOCKS_ALONG = 64, 8
# Between unrelated pictures of 192 x 192 pixels correlations of .09 were seen, if 3 % were known; between a band of a
# photograph and the one that it is nearest to .16 at least.
_LEAST_CORRELATION = 0.12
_DEVIATIONS = 3.0  # of the correlation of unrelated numbers, which is no sign either
_OUTLYING = 0.05  # units: what a difference counts as at most
_AT_ONCE = 2**13  # differences of each band that are multiplied


def related(problem: Problem) -> list[Group]:
    """Find the groups of bands whose differences of neighbours are correlated, directly or by way of others.

    Each band is interpolated from its own known pixels alone.
    """
    return groups_of(_differences(problem))


def _differences(problem: Problem) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
    """What tells of groups: see `groups_of`."""
    for rows, cols in _blocks(problem.planes.shape[1:]):
        planes = [_interpolated(problem, channel, rows, cols) for channel in range(len(problem.planes))]
        x = np.stack([plane for plane, _ in planes])
        known = np.array([known for _, known in planes], np.float64)
        del planes
        yield np.diff(x, axis=1).reshape(len(x), -1), known
        yield np.diff(x, axis=2).reshape(len(x), -1), 0 * known


def groups_of(found: Iterable[tuple[NDArray[Any], NDArray[np.float64]]]) -> list[Group]:
    """The groups that are told by differences, shape (channels, differences), and by how many pixels they come from.

    A difference d counts as d / sqrt(1 + d^2 / .0025), in units of the band, so that a few edges or hot pixels do not
    decide.
    """
    products: Any = 0.0
    known: Any = 0.0
    for differences, count in found:
        known = known + count
        products = products + np.zeros((len(differences), len(differences)))
        for start in range(0, differences.shape[1], _AT_ONCE):
            d = differences[:, start : start + _AT_ONCE].astype(np.float64)
            d /= np.sqrt(1 + (d / _OUTLYING) ** 2)
            products += d @ d.T
    variances = np.diag(products)
    scale = np.sqrt(np.outer(variances, variances))
    correlation = np.divide(np.abs(products), scale, out=np.zeros_like(products), where=scale > 0)
    fewest = np.sqrt(np.maximum(np.minimum.outer(known, known), 1))
    return _components(correlation > np.maximum(_LEAST_CORRELATION, _DEVIATIONS / fewest))


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Some blocks, evenly over the image, or all of it."""
    most = _BLOCK * _BLOCKS_ALONG
    if math.prod(shape) <= most * most:
        yield slice(0, shape[0]), slice(0, shape[1])
        return
    starts = [
        sorted({(side - _BLOCK) * k // (_BLOCKS_ALONG - 1) for k in range(_BLOCKS_ALONG)}) if side > most else [0]
        for side in shape
    ]
    sides = [_BLOCK if side > most else side for side in shape]
    for top in starts[0]:
        for left in starts[1]:
            yield slice(top, top + sides[0]), slice(left, left + sides[1])


def _interpolated(problem: Problem, channel: int, rows: slice, cols: slice) -> tuple[NDArray[Any], int]:
    """A block of a band, filled, and how many of its pixels are known; zeros if none is."""
    free = np.ascontiguousarray(problem.mask(channel)[rows, cols])
    if problem.ignored is not None:
        free = free | problem.ignored[rows, cols]
    known = free.size - int(np.count_nonzero(free))
    x = np.zeros(free.shape, problem.units.dtype)
    if known:
        problem.units_of(channel).to_run(problem.planes[channel, rows, cols], x)
        fill_pyramid(x, free, problem.threads)
    return x, known


def _components(linked: NDArray[np.bool_]) -> list[Group]:
    """The connected components of a symmetric relation, in the order of their first members."""
    left, groups = set(range(len(linked))), []
    while left:
        found, new = set[int](), {min(left)}
        while new:
            found |= new
            new = {int(k) for member in new for k in np.flatnonzero(linked[member])} - found
        left -= found
        groups.append(tuple(sorted(found)))
    return groups


class Prepared:
    """What can be told of the masks of groups before an image is known, each made when it is first asked for."""

    def __init__(self, prepare: Callable[[NDArray[np.uint8]], Any], free: NDArray[np.uint8], apart: bool) -> None:
        self._prepare, self._free = prepare, free
        self._made: dict[Group, Any] = {}
        if apart:
            for channel in range(len(free)):
                self.of((channel,))

    def of(self, group: Group) -> Any:
        """That of a group."""
        if group not in self._made:
            self._made[group] = self._prepare(masks_of(self._free, group))
        return self._made[group]


def masks_of(free: NDArray[np.uint8], group: Sequence[int]) -> NDArray[np.uint8]:
    """The masks of a group, one if they are all alike."""
    masks = some_of(free, group)
    pairs = ((mask[some], masks[0][some]) for some in strips(free.shape[1:]) for mask in masks[1:])
    return masks[:1] if all(np.array_equal(one, other) for one, other in pairs) else masks


class _Part(NamedTuple):
    """A group under way."""

    channels: Group
    steps: Descent
    corrupt: bool  # whether anything is

    @property
    def ended(self) -> bool:
        """Whether it goes no further."""
        return not self.corrupt or self.steps.settled or self.steps.stalled or self.steps.failed


class BandSteps:
    """Groups of bands, each descended by itself: see `graddesc.losses.sweeps.Descent`."""

    def __init__(
        self, loss: Differences, problem: Problem, begin: Callable[[Problem, Any], Descent], prepared: Prepared
    ) -> None:
        problem.measure_apart()
        alone: list[Group] = [(channel,) for channel in range(len(problem.planes))]
        measured = problem.groups is not None  # what is known of the groups comes with their units
        if isinstance(loss, SumOfSquares):
            problem.groups = alone
        elif problem.groups is None:
            problem.groups = related(problem)
        self._parts = []
        for group in problem.groups:
            masks = masks_of(problem.free, group)
            part = problem.part(group, masks, together=len(masks) < len(group) and not measured)
            self._parts.append(_Part(group, begin(part, prepared.of(group)), part.corrupt > 0))

    @property
    def iterations(self) -> int:
        """How many all groups have done that go on, or the most if none does."""
        done = [part.steps.iterations for part in self._parts if not part.ended]
        return min(done) if done else max(part.steps.iterations for part in self._parts)

    @property
    def settled(self) -> bool:
        """Whether all groups have."""
        return all(part.steps.settled or not part.corrupt for part in self._parts)

    @property
    def settled_message(self) -> str:
        """What that means."""
        return self._parts[0].steps.settled_message

    @property
    def stalled(self) -> bool:
        """Whether a group has, and no group goes on or has failed."""
        return not self.settled and not self.failed and all(part.ended for part in self._parts)

    @property
    def stalled_message(self) -> str:
        """What that means."""
        return next(part.steps.stalled_message for part in self._parts if part.corrupt and part.steps.stalled)

    @property
    def failed(self) -> bool:
        """Whether a group has, and no group goes on."""
        return all(part.ended for part in self._parts) and any(part.steps.failed for part in self._parts)

    def advance(self, until: int, tol: float) -> None:
        """Let the group go on that has done the fewest iterations."""
        going = [part.steps for part in self._parts if not part.ended]
        min(going, key=lambda steps: steps.iterations).advance(until, tol)

    def pieces(self) -> Iterator[Piece]:
        """The corrupt pixels as they stand."""
        for part in self._parts:
            if part.corrupt:
                for channel, pixels, values in part.steps.pieces():
                    yield part.channels[channel], pixels, values

    def loss(self) -> float:
        """The sum of the groups' losses."""
        return math.fsum(part.steps.loss() for part in self._parts)


# ---- related bands, "edge" ----

# What is added to the variances of bands' derivatives, times their mean and alone; the weight of the mean covariance
# beside local ones; that of first derivatives beside second ones. Of up to four bands, whose covariances are local, and
# of more: see bands.pxi.
_LOCAL = 0.07, 1e-6, 0.5, 5.0
_GLOBAL = 0.01, 1e-6, 0.0, 0.5
_FEW = 4
# Of the tolerance: what bands tell each other comes slowly.
_LOCAL_SHARE, _GLOBAL_SHARE = 0.5, 0.1


class CoupledSteps(WindowSteps):
    """The compiled descent of related bands by "edge", from coarse grids on: see bands.pxi."""

    def __init__(self, loss: EdgeAligned, problem: Problem, windows: Windows) -> None:
        super().__init__(loss, problem, windows)
        bounds = np.array([problem.units_of(channel).bounds() for channel in range(len(problem.planes))])
        self._share = _LOCAL_SHARE if len(bounds) <= _FEW else _GLOBAL_SHARE
        self._bands = stencil.couple(
            self._descent, bounds, *(_LOCAL if len(bounds) <= _FEW else _GLOBAL), lambda size: np.empty(size, np.uint8)
        )

    def advance(self, until: int, tol: float) -> None:
        """Go on for some hundredths of a second."""
        self._bands.advance(until, self._share * tol, WORK_AT_ONCE)
