"""Sums of squares whose weights are renewed in small regions: against sparse solutions; what is left; the same bits."""

import importlib

import numpy as np
import pytest
import reference
from cases import each
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve
from shapes import SHAPES

from graddesc import isa

FIRST, SECOND = 0, 1
ANY_SIZE = 1e12
EPSILON = 0.05


@pytest.fixture(params=[FIRST, SECOND], ids=["first", "second"])
def kind(request):
    return request.param


class Renewed:
    """One mask, and random images in whose regions weights are renewed."""

    def __init__(self, kind, free, most=ANY_SIZE, channels=1, threads=1, level=isa.LEVEL):
        self.kind, self.free, self.threads = kind, np.ascontiguousarray(free, np.uint8), threads
        kernels = importlib.import_module(f"graddesc._kernels.direct_{level}")
        self.renewals = kernels.renewals(kind, self.free, most, threads)
        self.index = np.asarray(self.renewals.index)
        self.x = np.random.default_rng(1).random((channels, *self.free.shape))
        self.values = np.ascontiguousarray(self.x.reshape(channels, -1)[:, self.index])
        self.values[:, self.free.ravel()[self.index] > 0] = 1e9  # whatever it was
        self.renewals.begin(self.values, threads)
        self.places, self.left = np.asarray(self.renewals.places), np.asarray(self.renewals.left)
        self.pixels = self.index[self.places]

    @property
    def restored(self):
        out = self.x.copy()
        out.reshape(len(out), -1)[:, self.pixels] = self.values[:, self.places]
        return out

    @property
    def solved(self):
        free = np.zeros(self.free.shape, bool)
        free.flat[self.pixels] = True
        return free

    def renew(self, count=1, tol=0.0, epsilon=EPSILON):
        for _ in range(count):
            self.renewals.renew(epsilon, tol, 1e-12, 4.0, self.threads)

    def check_partition(self):
        """Each unknown pixel is solved or left, once."""
        assert_array_equal(np.sort(np.concatenate([self.pixels, self.left])), np.flatnonzero(self.free))

    def bits(self):
        return self.index.tobytes(), self.places.tobytes(), self.left.tobytes(), self.values.tobytes()


def renewed(kind, x, free, epsilon):
    """What a renewal of the weights of all channels leads to, solved by a sparse matrix."""
    unknown, out = np.flatnonzero(free), x.copy()
    square = np.mean([reference.stencil_square(kind, plane, 0.0, 0.0, 0.0) for plane in x], axis=0)
    hessian = reference.stencil_hessian(kind, x.shape[1:], 1 / np.sqrt(epsilon**2 + square)).tocsr()[unknown]
    for plane in out:
        plane.flat[unknown] = 0
        plane.flat[unknown] = spsolve(hessian[:, unknown].tocsc(), -(hessian @ plane.ravel()))
    return out


def mask_of(name, shape=(26, 31)):
    rng, free = np.random.default_rng(0), np.zeros(shape, bool)
    rows, cols = np.indices(shape)
    return {
        "lines": (rows == 10) | (cols == 13),
        "scratches": (abs(rows - cols) < 2) | (abs(2 * rows + cols - 50) < 2),
        "hole": (rows - 12) ** 2 + (cols - 15) ** 2 < 50,
        "ring": abs(np.hypot(rows - 12, cols - 15) - 8) < 2,
        "borders": (rows < 2) | (rows > 23) | (cols < 3) | (cols == 30),
        "corner": (rows < 7) & (cols < 5),
        "pairs": (cols % 7 < 2) & (rows % 5 == 0),
        "2 %": rng.random(shape) < 0.02,
        "10 %": rng.random(shape) < 0.1,
        "30 %": rng.random(shape) < 0.3,
        "none": free,
    }[name]


@each("name", ["lines", "scratches", "hole", "ring", "borders", "corner", "pairs", "2 %", "10 %", "30 %", "none"])
@pytest.mark.once
def test_renewals_are_those_of_sparse_matrices(kind, name):
    for free, channels in ((mask_of(name), 1), (mask_of(name).T, 3)):
        case = Renewed(kind, free, channels=channels)
        case.check_partition()
        assert case.left.size == 0
        if not free.any():
            continue
        # From the minimum of the sum of squares.
        for x, begun in zip(case.x, case.restored, strict=True):
            assert_allclose(begun, reference.direct(kind, x, free), rtol=0, atol=1e-10)
        for _ in range(3):
            expected = renewed(kind, case.restored, free, EPSILON)
            case.renew()
            assert_allclose(case.restored, expected, rtol=0, atol=1e-10)


@each("shape", SHAPES)
@pytest.mark.once
def test_every_size_and_border(kind, shape):
    rng = np.random.default_rng(0)
    for missing in (0.0, 0.02, 0.1, 0.3, 0.6):
        case = Renewed(kind, rng.random(shape) < missing)
        case.check_partition()
        if case.pixels.size:
            expected = renewed(kind, case.restored, case.solved, EPSILON)
            case.renew()
            assert_allclose(case.restored, expected, rtol=0, atol=1e-9)
        # What is left is singular.
        operator = reference.difference_operator(kind, *shape)[:, case.left].toarray()
        if case.left.size:
            rank = np.linalg.matrix_rank(operator) if operator.size else 0  # NumPy 1 asks for an element
            assert rank < case.left.size


def test_regions_are_those_whose_squares_have_pixels_in_common(kind):
    # Each region by itself is as it is beside the others, to the bit; a part of one is not.
    free = np.random.default_rng(0).random((40, 50)) < (0.05 if kind == FIRST else 0.03)
    case, unknown = Renewed(kind, free), np.flatnonzero(free)
    case.renew(2)
    reach = np.abs(np.stack(np.divmod(unknown[:, np.newaxis], 50)) - np.stack(np.divmod(unknown, 50))[:, np.newaxis])
    near = reach.sum(axis=0) <= 2 if kind == FIRST else reach.max(axis=0) <= 2
    count, labels = connected_components(near)
    assert 1 < count < len(unknown)
    for k in range(count):
        own = np.zeros_like(free)
        own.flat[unknown[labels == k]] = True
        alone = Renewed(kind, own)
        # The values of others are known here, and none is near enough to be read.
        assert not free.ravel()[alone.index[~np.isin(alone.index, alone.pixels)]].any()
        alone.renew(2)
        assert_array_equal(alone.restored[0, own], case.restored[0, own])


def test_large_regions_and_those_without_a_minimum_are_left(kind):
    free = np.random.default_rng(0).random((90, 100)) < 0.02
    free[20:60, 20:60] = True
    case = Renewed(kind, free, most=20)
    case.check_partition()
    assert set(case.left) >= set(np.flatnonzero(np.pad(np.ones((40, 40), bool), ((20, 30), (20, 40)))))
    assert case.pixels.size > 50
    far = np.ones((24, 31), bool)
    far[11] = False  # one line leaves the slope across it to choose, by second differences
    case = Renewed(kind, far)
    case.check_partition()
    assert case.left.size == (0 if kind == FIRST else far.sum())


def test_thin_regions_of_any_length_are_solved(kind):
    free = np.eye(700, dtype=bool)
    for mask in (free, free[::-1], free | np.eye(700, k=1, dtype=bool)):
        case = Renewed(kind, mask)
        case.check_partition()
        assert case.left.size == 0
        kernels = importlib.import_module(f"graddesc._kernels.direct_{isa.LEVEL}")
        factors = kernels.factorise(kind, case.free, ANY_SIZE, 1)
        begun = np.empty((1, mask.sum()))
        factors.solve(np.ascontiguousarray(case.x.reshape(1, -1)[:, np.asarray(factors.sources)]), begun, 1)
        assert_allclose(case.restored.reshape(-1)[np.asarray(factors.pixels)], begun[0], rtol=0, atol=1e-10)


def test_regions_rest_when_they_have_settled(kind):
    free = mask_of("10 %", (60, 70))
    case, exact = Renewed(kind, free), Renewed(kind, free)
    exact.renew(300)
    counts = []
    while case.renewals.going:
        case.renew(tol=0.01)
        counts.append(case.renewals.going)
    assert case.renewals.stuck == 0
    assert counts[0] == counts[1] > counts[2] > 0  # two renewals tell nothing of a series
    best = exact.restored[0]
    apart = np.sqrt(np.mean((case.restored[0] - best)[free] ** 2))
    assert 0 < apart < 0.01 * reference.neighbour_difference(best, free)
    before = case.values.copy()
    case.renew(tol=0.0)
    assert_array_equal(case.values, before)


def test_alike_pixels_settle_where_nothing_changes(kind):
    case = Renewed(kind, mask_of("10 %"))
    case.values[...] = 0.5
    case.renewals.begin(case.values, 1)
    for _ in range(3):
        case.renew(tol=1e-6)
    assert (case.renewals.going, case.renewals.stuck) == (0, 0)
    assert_allclose(case.values[:, case.places], 0.5, rtol=1e-14)


@pytest.mark.once
def test_every_level_and_thread_count_gives_the_same_bits(kind):
    for free in (mask_of("10 %", (150, 160)), mask_of("30 %", (60, 70)), mask_of("scratches")):
        results = set()
        for level in isa.AVAILABLE:
            for threads in (1, 2, 5):
                case = Renewed(kind, free, channels=3, threads=threads, level=level)
                case.renew(4, tol=0.1)
                results.add(case.bits())
        assert len(results) == 1


def test_what_does_not_fit_is_refused(kind):
    case = Renewed(kind, mask_of("2 %"))
    with pytest.raises(ValueError, match="a column for each index"):
        case.renewals.begin(np.ascontiguousarray(case.values[:, 1:]), 1)
    fresh = importlib.import_module(f"graddesc._kernels.direct_{isa.LEVEL}").renewals(kind, case.free, ANY_SIZE, 1)
    with pytest.raises(ValueError, match="begin must come first"):
        fresh.renew(EPSILON, 0.1, 1e-12, 4.0, 1)
    with pytest.raises(TypeError, match="made by"):
        type(fresh)()
