"""Restorations beside pixels to ignore: those are cut out of the image, and no difference reaches across them.

Of each loss what is left are the differences that fit into the rest of the image. Once its weights are known it is
x' A x / 2 with a sparse matrix A, whose equations SuperLU solves; weights are renewed until that changes little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from graddesc.losses.differences import FIRST, Differences, EdgeAligned, SumOfSquares
from graddesc.losses.line import LineSmoothness
from graddesc.losses.sweeps import SETTLED, Piece
from graddesc.restoration.problem import Problem
from graddesc.restoration.solver import CUT_OFF, TOO_LITTLE_BESIDE
from graddesc.restoration.windows import WindowSteps

Values: TypeAlias = NDArray[np.float64]
Taps: TypeAlias = Sequence[tuple[int, int, float]]  # rows down, columns to the right, factor

_NEAR = 5  # pixels around the corrupt ones whose differences have a say in their weights
_BLURRED = 36  # pixels around them that their edges are found in
_SLOWEST = 0.97  # the greatest ratio of the series of what renewals bring
_DOUBT = 2.0  # how much more that series may hold than it shows
_SINGULAR = 1e-13  # the least pivot over the greatest, below which a minimum is one of many
_RIDGE = 1e-9  # of the mean of the diagonal: what then holds the corrupt pixels where they are
_LEAST_NORM = 1e-12  # of a line, as the weight is its inverse


class Loss(Protocol):
    """A loss on what is left of an image, as a function of its pixels, shape (channels, pixels)."""

    def matrix(self, x: Values) -> Any:
        """The sparse matrix A of which A x is the gradient at x, channel by channel."""

    def value(self, x: Values) -> float:
        """The loss at x."""


def _places(index: NDArray[np.intp], taps: Taps) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where a difference fits: its pixels, shape (differences, taps), and its first pixel's flat index in the plane."""
    rows, cols = index.shape
    down, right = max(tap[0] for tap in taps), max(tap[1] for tap in taps)
    if rows <= down or cols <= right:
        return np.empty((0, len(taps)), np.intp), np.empty(0, np.intp)
    pixels = np.stack([index[i : rows - down + i, j : cols - right + j] for i, j, _ in taps], -1)
    fits = (pixels >= 0).all(axis=-1)
    i, j = np.nonzero(fits)
    return pixels[fits], i * cols + j


def _operator(pixels: NDArray[np.intp], taps: Taps, count: int) -> Any:
    """The sparse matrix of differences, shape (differences, count)."""
    factors = np.tile([tap[2] for tap in taps], len(pixels))
    starts = np.arange(0, pixels.size + 1, len(taps))
    return sparse.csr_array((factors, pixels.ravel(), starts), shape=(len(pixels), count))


class _Grouped:
    """A sum over groups of differences of a function of their squares, each with a share: phi(S (D x)^2).

    The groups of "line" are lines, those of all else pixels.
    """

    def __init__(self, index: NDArray[np.intp], loss: LineSmoothness | Differences) -> None:
        self._loss = loss
        count = int(index.max()) + 1
        parts = _line_parts(index) if isinstance(loss, LineSmoothness) else _pixel_parts(index, loss.operator.kind)
        operators, groups, members, shares, terms = [], [], [], [], 0
        for pixels, taps, its_groups, share in parts:
            operators.append(_operator(pixels, taps, count))
            groups.append(its_groups.ravel())
            members.append(np.repeat(np.arange(terms, terms + len(pixels)), its_groups.shape[1]))
            shares.append(np.full(its_groups.size, share))
            terms += len(pixels)
        group, member = np.concatenate(groups), np.concatenate(members)
        self._differences = sparse.vstack(operators, format="csr")
        self._shares = sparse.csr_array(
            (np.concatenate(shares), (group, member)), shape=(group.max(initial=0) + 1, terms)
        )

    def _squares(self, x: Values) -> Values:
        squares: Values = self._shares @ np.mean((self._differences @ x.T) ** 2, axis=1)
        return squares

    def matrix(self, x: Values) -> Any:
        """See `Loss`."""
        if isinstance(self._loss, SumOfSquares):
            omega = np.full(self._shares.shape[0], 2.0)
        elif isinstance(self._loss, LineSmoothness):
            omega = 1 / np.maximum(np.sqrt(self._squares(x)), _LEAST_NORM)
        else:
            omega = 1 / np.sqrt(self._loss.operator.epsilon**2 + self._squares(x))
        weights = self._shares.T @ omega
        return (self._differences.T @ self._differences.multiply(weights[:, np.newaxis])).tocsr()

    def value(self, x: Values) -> float:
        """See `Loss`."""
        squares = self._squares(x)
        if isinstance(self._loss, LineSmoothness):
            return float(np.sqrt(squares).sum())
        if isinstance(self._loss, SumOfSquares):
            return float(squares.sum()) * len(x)
        epsilon = self._loss.operator.epsilon
        return float((squares / (np.sqrt(epsilon**2 + squares) + epsilon)).sum()) * len(x)


Part: TypeAlias = tuple[NDArray[np.intp], Taps, NDArray[np.intp], float]  # pixels, taps, groups of each, their share


def _pixel_parts(index: NDArray[np.intp], kind: int) -> Iterator[Part]:
    """The differences of neighbours, of which the pixels they belong to share the squares."""
    if kind == FIRST:
        for taps in (((0, 0, -1), (0, 1, 1)), ((0, 0, -1), (1, 0, 1))):
            pixels, _ = _places(index, taps)
            yield pixels, taps, pixels, 0.5
        return
    for second in (((0, 0, 1), (0, 1, -2), (0, 2, 1)), ((0, 0, 1), (1, 0, -2), (2, 0, 1))):
        pixels, _ = _places(index, second)
        yield pixels, second, pixels[:, 1:2], 1.0
    mixed = ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1))
    pixels, _ = _places(index, mixed)
    yield pixels, mixed, pixels, 0.5


def _line_parts(index: NDArray[np.intp]) -> Iterator[Part]:
    """The differences along rows and columns, each line with those of neighbours, of even and of odd pixels."""
    lines = 0
    for plane in (index, index.T):
        for taps in (((0, 0, -1), (0, 1, 1)), ((0, 0, -1), (0, 1, 0), (0, 2, 1))):
            pixels, first = _places(plane, taps)
            line, place = divmod(first, plane.shape[1])
            kind = 0 if len(taps) == 2 else 1 + place % 2
            yield pixels, taps, (3 * (lines + line) + kind)[:, np.newaxis], 1.0
        lines += len(plane)


class _Edge:
    """The loss "edge" where nine pixels, or the four of a cell, are left: see `EdgeAligned`."""

    _SECOND: Sequence[Taps] = (
        ((1, 0, 1), (1, 1, -2), (1, 2, 1)),
        ((0, 1, 1), (1, 1, -2), (2, 1, 1)),
        ((0, 0, 0.5), (0, 2, -0.5), (2, 0, -0.5), (2, 2, 0.5)),
    )
    _CELL: Sequence[Taps] = (
        ((0, 0, -1), (0, 1, 1), (1, 0, -1), (1, 1, 1)),
        ((0, 0, -1), (0, 1, -1), (1, 0, 1), (1, 1, 1)),
        ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1)),
    )

    def __init__(self, index: NDArray[np.intp], loss: EdgeAligned, present: NDArray[np.bool_], spread: float) -> None:
        self._loss, self._present, self._spread = loss.operator, present, spread
        count = int(index.max()) + 1
        nine = [(i, j, 0.0) for i in range(3) for j in range(3)]
        pixels, first = _places(index, nine)
        self._seconds = [_spread_taps(pixels, nine, taps, count) for taps in self._SECOND]
        self._at = first + index.shape[1] + 1  # the middle one's place
        four = [(i, j, 0.0) for i in range(2) for j in range(2)]
        pixels, self._cells_at = _places(index, four)
        self._cells = [_spread_taps(pixels, four, taps, count) for taps in self._CELL]
        self._isotropic = True

    def orient(self, planes: Values) -> None:
        """Find the edges of planes, shape (channels, rows, cols), of which only what is left is looked at."""
        present, contrast = self._present, self._loss.contrast
        gx, gy = (_gradients(planes, present, axis) for axis in (2, 1))
        products = [np.mean(a * b, axis=0) for a, b in ((gx, gx), (gx, gy), (gy, gy))]
        damping = present / np.sqrt(1 + (products[0] + products[2]) / contrast**2)

        def blurred(plane: Values) -> Values:
            out: Values = ndimage.gaussian_filter(plane, self._spread, truncate=3)
            return out

        weight = np.maximum(blurred(present.astype(float)), 1e-6)
        jxx, jxy, jyy = (blurred(damping * product) / weight for product in products)
        length, trace, tiny = np.hypot(jxx - jyy, 2 * jxy), jxx + jyy, 1e-20
        strength = trace * (length / (trace + tiny)) ** 4 / self._loss.strength**2
        fields = (jxx - jyy) / (length + tiny), 2 * jxy / (length + tiny), strength / (1 + strength)
        self._cosine, self._sine, self._z = (field.ravel() for field in fields)
        self._isotropic = False

    def _fields(self, at: NDArray[np.intp]) -> tuple[Values, Values, Values]:
        if self._isotropic:
            return np.zeros(len(at)), np.zeros(len(at)), np.zeros(len(at))
        return self._cosine[at], self._sine[at], self._z[at]

    def _forms(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """The quadratic forms of second differences, but for omega, and of cells, as factors of each two of them."""
        c, s, z = self._fields(self._at)
        normal = (1 + c) / 2, (1 - c) / 2, s / 2
        seconds = [[(a == b) * (1.0, 1.0, 0.5)[a] - z * normal[a] * normal[b] for b in range(3)] for a in range(3)]
        c, s, z = self._fields(self._cells_at)
        mu, kappa = self._loss.mu, self._loss.kappa
        cells = [
            [1 - z * (1 + c) / 2, -z * s / 2, 0 * z],
            [-z * s / 2, 1 - z * (1 - c) / 2, 0 * z],
            [0 * z, 0 * z, kappa * (2 - z)],
        ]
        return seconds, [[mu / 8 * entry for entry in row] for row in cells]

    @staticmethod
    def _form(operators: list[Any], factors: list[list[Any]], x: Values) -> Values:
        """The value of a quadratic form at each place, shape (channels, places)."""
        parts = [(operator @ x.T).T for operator in operators]
        total: Values = sum(factors[a][b] * parts[a] * parts[b] for a in range(3) for b in range(3))
        return total

    def matrix(self, x: Values) -> Any:
        """See `Loss`."""
        seconds, cells = self._forms()
        epsilon, scale = self._loss.epsilon, self._loss.scale
        squares = np.maximum(np.mean(self._form(self._seconds, seconds, x), axis=0), 0)
        omega = scale / np.sqrt(epsilon**2 + squares)
        total: Any = 0
        for operators, factors, weights in ((self._seconds, seconds, omega), (self._cells, cells, 2.0)):
            for a in range(3):
                row = sum(operators[b].multiply((weights * factors[a][b])[:, np.newaxis]) for b in range(3))
                total = total + operators[a].T @ row
        return total.tocsr()

    def value(self, x: Values) -> float:
        """See `Loss`."""
        seconds, cells = self._forms()
        epsilon, scale = self._loss.epsilon, self._loss.scale
        squares = np.maximum(np.mean(self._form(self._seconds, seconds, x), axis=0), 0)
        bent = scale * squares / (np.sqrt(epsilon**2 + squares) + epsilon)
        return float(bent.sum()) * len(x) + float(self._form(self._cells, cells, x).sum())


def _spread_taps(pixels: NDArray[np.intp], all_taps: Any, taps: Taps, count: int) -> Any:
    """The matrix of a difference whose taps are some of those that must fit."""
    columns = [next(k for k, tap in enumerate(all_taps) if tap[:2] == (i, j)) for i, j, _ in taps]
    return _operator(np.ascontiguousarray(pixels[:, columns]), taps, count)


def _gradients(planes: Values, present: NDArray[np.bool_], axis: int) -> Values:
    """The means of the differences to the neighbours that are left, on either side along an axis."""
    differences = np.diff(planes, axis=axis)
    both = np.delete(present, 0, axis - 1) & np.delete(present, -1, axis - 1)
    differences = np.where(both, differences, 0.0)
    before, after = [(0, 0)] * 3, [(0, 0)] * 3
    before[axis], after[axis] = (1, 0), (0, 1)
    total = np.pad(differences, before) + np.pad(differences, after)
    count = np.pad(both, before[1:]).astype(int) + np.pad(both, after[1:])
    gradients: Values = total / np.maximum(count, 1)
    return gradients


class _Domain:
    """What is left of an image around the corrupt pixels of some channels, whose weights are those of all together."""

    def __init__(self, loss: Any, problem: Problem, start: Values, channels: list[int]) -> None:
        assert problem.ignored is not None
        self.channels = channels
        free = np.stack([problem.mask(channel).view(bool) for channel in channels])
        union: NDArray[np.bool_] = np.logical_or.reduce(free)
        self._edge = isinstance(loss, EdgeAligned)
        whole = isinstance(loss, LineSmoothness)
        self._box = (slice(None), slice(None)) if whole else _box(union, _BLURRED if self._edge else _NEAR)
        present, union = ~problem.ignored[self._box], union[self._box]
        near = present if whole else present & ndimage.maximum_filter(union, 2 * _NEAR + 1)
        index = np.full(present.shape, -1, np.intp)
        index[near] = np.arange(np.count_nonzero(near))
        self._planes = start[channels][(slice(None), *self._box)].copy()
        self._planes[:, ~present] = 0  # whatever it was
        self._near, self._shape = near, problem.planes.shape[1:]
        self.loss: Loss
        if isinstance(loss, EdgeAligned):
            known = present & ~union
            around = 2 * 3 + 1
            share = ndimage.uniform_filter(known.astype(float), around, mode="reflect")[union].mean()
            spread = min(loss.operator.spread * (0.1 / max(float(share), 0.005)) ** 0.4, 10.0)
            self._edges = _Edge(index, loss, present, spread)
            self.loss = self._edges
        else:
            self.loss = _Grouped(index, loss)
        self.x = self._planes[:, near]
        pairs = [_places(index, taps)[0] for taps in (((0, 0, -1), (0, 1, 1)), ((0, 0, -1), (1, 0, 1)))]
        self._pairs = np.concatenate(pairs)
        structure = self.loss.matrix(self.x)
        self.cut_off = False
        self._unknown = []
        for plane in free[(slice(None), *self._box)]:
            unknown = np.flatnonzero(plane[near])
            alone = _cut_off(structure, unknown)
            self.cut_off |= bool(alone.any())
            self._unknown.append((unknown[~alone], unknown))
        self.unique, self._begun = True, False
        self.moving = max(sum(len(all_of) for _, all_of in self._unknown), 1)

    def renew(self, bounds: tuple[float, float]) -> float:
        """Renew the weights and solve for them; return the squares of what that changed, added up."""
        if self._edge and self._begun:
            self._planes[:, self._near] = self.x
            self._edges.orient(self._planes)
        self._begun = True
        matrix = self.loss.matrix(self.x)
        total, factors = 0.0, None
        for x, (unknown, _) in zip(self.x, self._unknown, strict=True):
            if not len(unknown):
                continue
            if factors is None or not np.array_equal(unknown, factors.unknown):
                factors = _Factors(matrix, unknown)
            old = x[unknown]
            new = np.clip(factors.solve(x), *bounds)
            self.unique &= factors.unique
            x[unknown] = new
            total += float(np.sum((new - old) ** 2))
        return total

    def step(self, size: float, bounds: tuple[float, float]) -> float:
        """Take a plain step down the gradient; return the squares of what that changed, added up."""
        if self._edge:
            self._planes[:, self._near] = self.x
            self._edges.orient(self._planes)
        gradient = (self.loss.matrix(self.x) @ self.x.T).T
        total = 0.0
        for x, slope, (_, unknown) in zip(self.x, gradient, self._unknown, strict=True):
            new = np.clip(x[unknown] - size * slope[unknown], *bounds)
            total += float(np.sum((new - x[unknown]) ** 2))
            x[unknown] = new
        return total

    def differences(self) -> Values:
        """The differences between neighbours of which one at least is corrupt, of all channels."""
        found = []
        for x, (_, unknown) in zip(self.x, self._unknown, strict=True):
            moving = np.zeros(len(x), bool)
            moving[unknown] = True
            pairs = self._pairs[moving[self._pairs].any(axis=1)]
            found.append(np.diff(x[pairs], axis=1).ravel())
        return np.concatenate(found)

    def pieces(self) -> Iterator[Piece]:
        """The corrupt pixels as they stand."""
        rows, cols = np.nonzero(self._near)
        places = (rows + (self._box[0].start or 0)) * self._shape[1] + cols + (self._box[1].start or 0)
        for channel, x, (_, unknown) in zip(self.channels, self.x, self._unknown, strict=True):
            yield channel, places[unknown], x[unknown]


class _Factors:
    """The equations of the unknown pixels, A_uu x_u = -A_uk x_k, factorised."""

    def __init__(self, matrix: Any, unknown: NDArray[np.intp]) -> None:
        from scipy.sparse.linalg import splu

        self.unknown = unknown
        self._rows = matrix[unknown]
        system = self._rows[:, unknown].tocsc()
        self._ridge = 0.0
        try:
            self._factors = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
            pivots = np.abs(self._factors.U.diagonal())
            self.unique = bool(pivots.min() > _SINGULAR * pivots.max())
        except RuntimeError:  # exactly singular
            self.unique = False
        if not self.unique:
            self._ridge = _RIDGE * float(system.diagonal().mean()) or 1.0
            self._factors = splu((system + self._ridge * sparse.eye_array(len(unknown))).tocsc())

    def solve(self, x: Values) -> Values:
        """The unknown pixels, from those of x that are known."""
        now = x[self.unknown]
        solution: Values = now - self._factors.solve(self._rows @ x)
        return solution


def _cut_off(matrix: Any, unknown: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which unknown pixels have no known one that they are coupled with, over others or at once."""
    if not len(unknown):
        return np.zeros(0, bool)
    rows = matrix[unknown]
    system = rows[:, unknown]
    system.eliminate_zeros()
    links = np.asarray(abs(rows).sum(axis=1)).ravel() - np.asarray(abs(system).sum(axis=1)).ravel()
    count, labels = sparse.csgraph.connected_components(system, directed=False)
    told = np.zeros(count, bool)
    told[labels[links > 1e-9 * np.asarray(abs(rows).sum(axis=1)).ravel()]] = True
    return ~told[labels]


def _box(pixels: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """The rows and columns that hold pixels, and a margin."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(pixels.any(axis=axis))
        first, last = (places[0], places[-1]) if len(places) else (0, 0)
        spans.append(slice(max(int(first) - margin, 0), int(last) + margin + 1))
    return spans[0], spans[1]


class DomainSteps:
    """A restoration beside pixels to ignore: see `graddesc.losses.sweeps.Descent`, and `solver.follow`."""

    def __init__(self, loss: LineSmoothness | Differences, problem: Problem) -> None:
        self._loss, self._problem = loss, problem
        channels = list(range(len(problem.planes)))
        groups = [[channel] for channel in channels] if isinstance(loss, LineSmoothness) else [channels]
        self._domains = []
        if problem.corrupt:
            start = problem.filled(np.float64)
            self._domains = [_Domain(loss, problem, start, group) for group in groups]
        self._direct = isinstance(loss, SumOfSquares)
        clamped = isinstance(loss, LineSmoothness | EdgeAligned)
        self._bounds = problem.bounds() if clamped else (-math.inf, math.inf)
        self._brought: list[float] = []
        self.iterations = 0
        self.settled = self.stalled = self.failed = False
        self.change = 0.0

    @property
    def settled_message(self) -> str:
        """What it means to have settled."""
        return WindowSteps.settled_message if isinstance(self._loss, EdgeAligned) else SETTLED

    @property
    def stalled_message(self) -> str:
        """Why the corrupt pixels come no nearer."""
        return CUT_OFF if any(domain.cut_off for domain in self._domains) else TOO_LITTLE_BESIDE

    def advance(self, until: int, tol: float) -> None:
        """Renew the weights once, and solve for them."""
        total = sum(domain.renew(self._bounds) for domain in self._domains)
        self._note(total)
        self._brought.append(self.change)
        if self._direct or self.change == 0:
            self._end()
        elif len(self._brought) > 2:
            last, second, third = self._brought[:-4:-1]
            ratio = min(max(last / second, math.sqrt(last / third)) if second and third else 1.0, _SLOWEST)
            if _DOUBT * last * ratio / (1 - ratio) <= tol * self.contrast():
                self._end()

    def _note(self, total: float) -> None:
        self.iterations += 1
        self.change = math.sqrt(total / max(sum(domain.moving for domain in self._domains), 1))
        self.failed = not math.isfinite(self.change)

    def _end(self) -> None:
        self.stalled = any(domain.cut_off or not domain.unique for domain in self._domains)
        self.settled = not self.stalled

    def contrast(self) -> float:
        """The root mean square difference between neighbouring pixels of which one at least is corrupt."""
        differences = np.concatenate([domain.differences() for domain in self._domains])
        return math.sqrt(float(np.mean(differences**2))) if len(differences) else 0.0

    def descend(self, step: float, track_change: bool = False) -> None:
        """Take a plain step of a schedule."""
        with np.errstate(all="ignore"):  # a step may be as long as it likes: the range ends it
            self._note(sum(domain.step(step, self._problem.units.bounds()) for domain in self._domains))

    @property
    def value(self) -> float:
        """The loss, for a schedule."""
        return self.loss()

    def pieces(self) -> Iterator[Piece]:
        """The corrupt pixels as they stand."""
        for domain in self._domains:
            yield from domain.pieces()

    def loss(self) -> float:
        """The loss of what is left of the image, around the corrupt pixels."""
        return sum(domain.loss.value(domain.x) for domain in self._domains)
