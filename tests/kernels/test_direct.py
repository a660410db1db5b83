"""Sums of squares solved directly: against sparse solutions, over masks of every kind; what is left; the same bits."""

import gc
import importlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from cases import each
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageDraw, ImageFont
from scipy.sparse.csgraph import connected_components
from shapes import SHAPES

from graddesc import isa

FIRST, SECOND = 0, 1
ANY_SIZE = 1e12


def kernels(level=isa.LEVEL):
    return importlib.import_module(f"graddesc._kernels.direct_{level}")


@pytest.fixture(params=[FIRST, SECOND], ids=["first", "second"])
def kind(request):
    return request.param


class Solved:
    """One mask factorised, and random images restored by it."""

    def __init__(self, kind, free, most=ANY_SIZE, channels=2, threads=1, level=isa.LEVEL):
        self.free = np.ascontiguousarray(free, np.uint8)
        self.factors = kernels(level).factorise(kind, self.free, most, threads)
        names = ("pixels", "sources", "left", "left_starts", "windows")
        self.pixels, self.sources, self.left, self.left_starts, self.windows = (
            np.asarray(getattr(self.factors, name)) for name in names
        )
        self.x = np.random.default_rng(1).random((channels, *self.free.shape))
        flat = self.x.reshape(channels, -1)
        self.values = np.full((channels, self.pixels.size), np.nan)
        self.factors.solve(np.ascontiguousarray(flat[:, self.sources]), self.values, threads)
        self.restored = self.x.copy()
        self.restored.reshape(channels, -1)[:, self.pixels] = self.values

    def check_partition(self):
        """Each unknown pixel is solved or left, once; sources are known pixels, each once."""
        assert_array_equal(np.sort(np.concatenate([self.pixels, self.left])), np.flatnonzero(self.free))
        assert np.unique(self.sources).size == self.sources.size
        assert not self.free.ravel()[self.sources].any()
        assert self.left_starts[0] == 0
        assert self.left_starts[-1] == self.left.size
        assert self.windows.shape == (self.left_starts.size - 1, 4)
        for start, stop, window in zip(self.left_starts, self.left_starts[1:], self.windows, strict=False):
            rows, cols = np.divmod(self.left[start:stop], self.free.shape[1])
            assert_array_equal(window, [rows.min(), rows.max() + 1, cols.min(), cols.max() + 1])

    def bits(self):
        arrays = self.pixels, self.sources, self.left, self.left_starts, self.windows, self.values, self.variances()
        return tuple(array.tobytes() for array in arrays)

    def variances(self):
        out = np.full(self.pixels.size, np.nan)
        self.factors.variances(out)
        return out


def text(shape):
    canvas = Image.new("L", shape[::-1])
    for top in range(0, shape[0], 16):
        ImageDraw.Draw(canvas).text((1, top), "five dozen", fill=255, font=ImageFont.load_default(size=14))
    return np.asarray(canvas) > 127


def mask_of(name, shape=(46, 61)):
    rng, free = np.random.default_rng(0), np.zeros(shape, bool)
    rows, cols = np.indices(shape)
    return {
        "lines": (rows == 20) | (cols == 33),
        "scratches": (abs(rows - cols) < 2) | (abs(2 * rows + cols - 90) < 2),
        "text": text(shape),
        "hole": (rows - 20) ** 2 + (cols - 30) ** 2 < 150,
        "ring": abs(np.hypot(rows - 20, cols - 30) - 15) < 2,
        "borders": (rows < 2) | (rows > 43) | (cols < 3) | (cols == 60),
        "corner": (rows < 12) & (cols < 9),
        "comb": (rows == 3) | ((cols % 3 == 0) & (rows > 3)),
        "half": cols < 30,
        "grid of samples": (rows % 5 != 0) | (cols % 5 != 0),
        "pairs": (cols % 7 < 2) & (rows % 5 == 0),
        "0.5 %": rng.random(shape) < 0.005,
        "5 %": rng.random(shape) < 0.05,
        "30 %": rng.random(shape) < 0.3,
        "60 %": rng.random(shape) < 0.6,
        "none": free,
    }[name]


MASKS = ["lines", "scratches", "text", "hole", "ring", "borders", "corner", "comb", "half", "grid of samples", "pairs"]
MASKS += ["0.5 %", "5 %", "30 %", "60 %", "none"]


def test_a_lone_pixel_is_its_stencil():
    free = np.zeros((5, 6), np.uint8)
    free[2, 3] = 1
    for kind, taps in [
        (FIRST, {(-1, 0): 1 / 4, (0, -1): 1 / 4, (0, 1): 1 / 4, (1, 0): 1 / 4}),
        (SECOND, {(-1, 0): 0.4, (0, -1): 0.4, (0, 1): 0.4, (1, 0): 0.4}),
    ]:
        if kind == SECOND:
            taps |= {(i, j): -0.1 for i in (-1, 1) for j in (-1, 1)}
            taps |= dict.fromkeys([(-2, 0), (2, 0), (0, -2), (0, 2)], -0.05)
        solved = Solved(kind, free, channels=1)
        expected = sum(weight * solved.x[0, 2 + i, 3 + j] for (i, j), weight in taps.items())
        assert_allclose(solved.values[0, 0], expected, rtol=1e-14)
        assert_allclose(solved.variances(), [1 / 20 if kind == SECOND else 1 / 4])


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.once
def test_solutions_are_those_of_sparse_matrices(kind, name):
    free = mask_of(name)
    for case in (free, free.T, np.pad(free, 2), free[:, ::-1]):
        solved = Solved(kind, case)
        assert {Solved(kind, case, level=level).bits() for level in isa.AVAILABLE} == {solved.bits()}
        solved.check_partition()
        assert solved.left.size == 0
        for x, restored in zip(solved.x, solved.restored, strict=True):
            # Extrapolation over 30 pixels magnifies rounding.
            assert_allclose(restored, reference.direct(kind, x, case), rtol=0, atol=1e-8 if name == "half" else 1e-11)


@each("shape", SHAPES)
@pytest.mark.once
def test_every_size_and_border(kind, shape):
    rng = np.random.default_rng(0)
    for missing in (0.0, 0.02, 0.1, 0.3, 0.5, 0.6, 0.8):
        for _ in range(8):
            free = rng.random(shape) < missing
            solved = Solved(kind, free)
            solved.check_partition()
            assert np.isfinite(solved.values).all()
            # What is left is singular; the rest is a problem of its own, for nothing couples them.
            solvable = np.zeros(free.size, bool)
            solvable[solved.pixels] = True
            if solved.pixels.size:
                expected = reference.direct(kind, solved.x[0], solvable.reshape(shape))
                assert_allclose(solved.restored[0], expected, rtol=0, atol=1e-9)
            operator = reference.difference_operator(kind, *shape)[:, solved.left].toarray()
            if solved.left.size:
                rank = np.linalg.matrix_rank(operator) if operator.size else 0  # NumPy 1 asks for an element
                assert rank < solved.left.size


def test_regions_are_those_that_taps_couple(kind):
    free = np.random.default_rng(0).random((40, 50)) < (0.4 if kind == FIRST else 0.15)
    unknown = np.flatnonzero(free)
    operator = reference.difference_operator(kind, *free.shape)[:, unknown]
    count, labels = connected_components(operator.T @ operator)
    expected = {tuple(unknown[labels == k]) for k in range(count)}
    solved = Solved(kind, free, most=0)
    solved.check_partition()
    regions = np.split(solved.left, solved.left_starts[1:-1])
    assert {tuple(region) for region in regions} == {region for region in expected if len(region) > 8}
    assert all(set(region) <= set(solved.pixels) for region in expected if len(region) <= 8)


def test_large_regions_are_left_and_small_ones_solved(kind):
    free = mask_of("hole", (90, 100)) | (np.random.default_rng(0).random((90, 100)) < 0.02)
    solved = Solved(kind, free, most=20)
    solved.check_partition()
    assert solved.left_starts.size == 2
    assert solved.left.size > 400
    # The known pixels around the hole make the rest a problem of its own.
    rest = free.copy()
    rest.flat[solved.left] = False
    assert_array_equal(np.sort(solved.pixels), np.flatnonzero(rest))
    assert_allclose(solved.restored[0], reference.direct(kind, solved.x[0], rest), atol=1e-12)


def test_masks_denser_than_asked_for_are_not_solved(kind):
    free = np.zeros((20, 30), np.uint8)
    free.flat[::5] = 1
    for make in (kernels().factorise, kernels().renewals):
        assert make(kind, free, ANY_SIZE, 1, 0.19) is None
        assert make(kind, free, ANY_SIZE, 1, 0.21) is not None
        assert make(kind, np.zeros_like(free), ANY_SIZE, 1, 0.0) is not None


def test_the_smaller_envelope_of_rows_and_columns_is_taken(kind):
    # By rows, all other teeth of the comb lie between a pixel and the one below it.
    comb = mask_of("comb")
    upright, turned = Solved(kind, comb, most=50), Solved(kind, comb.T, most=50)
    assert upright.left.size == turned.left.size == 0
    assert 0.9 < upright.factors.nbytes / turned.factors.nbytes < 1.1


@pytest.mark.parametrize("known", ["none", "one row", "one column", "diagonal", "two pixels", "steep line"])
def test_what_no_known_pixel_fixes_is_left(known):
    free = np.ones((24, 31), bool)
    diagonal = np.arange(24)
    if known != "none":
        free[
            {
                "one row": np.s_[11],
                "one column": np.s_[:, 7],
                "diagonal": (diagonal, diagonal),
                "two pixels": ([3, 20], [4, 17]),
                "steep line": (2 * diagonal[:12], diagonal[:12]),
            }[known]
        ] = False
    solved = Solved(SECOND, free)
    solved.check_partition()
    assert solved.pixels.size == 0
    # One pixel beside the line fixes its slope; by first differences one pixel fixes all.
    if known != "none":
        assert Solved(FIRST, free).left.size == 0
        free[2, 20] = False
        solved = Solved(SECOND, free)
        assert solved.left.size == 0
        assert_allclose(solved.restored[0], reference.direct(SECOND, solved.x[0], free), rtol=1e-6)
    else:
        assert Solved(FIRST, free).pixels.size == 0


def test_a_region_that_is_left_changes_nothing_for_the_others():
    free = np.zeros((30, 60), bool)
    free[:, :20] = free[3, 30] = free[4:9, 40:45] = True
    expected, solved = Solved(SECOND, free & (np.arange(60) > 20)), Solved(SECOND, free, most=0.1)
    solved.check_partition()
    assert solved.left.size == 600 + 25
    assert_array_equal(solved.pixels, [3 * 60 + 30])
    assert solved.values[0, 0] == expected.values[0, 0]


def test_what_is_extrapolated_too_far_is_left():
    # A ramp goes on for ever, but the rounding of what goes on from two pixels grows as the square of their distance.
    for length in (10, 100, 400, 5000):
        free = np.ones((1, length), np.uint8)
        free[0, :2] = 0
        solved = Solved(SECOND, free)
        ramp = np.linspace(0.3, 7, length)
        if length <= 400:
            out = np.empty((1, length - 2))
            solved.factors.solve(ramp[solved.sources][np.newaxis], out, 1)
            assert_allclose(out[0], ramp[solved.pixels], rtol=1e-4)
    assert solved.left.size == length - 2


def test_affine_images_are_reproduced(kind):
    free = mask_of("scratches") | mask_of("5 %")
    solved = Solved(kind, free, channels=1)
    rows, cols = np.indices(free.shape)
    image = 3.0 + (0.5 * rows - 0.25 * cols if kind == SECOND else 0)
    image = np.broadcast_to(image, free.shape)
    out = np.empty((1, solved.pixels.size))
    solved.factors.solve(image.ravel()[solved.sources][np.newaxis], out, 1)
    assert_allclose(out[0], image.ravel()[solved.pixels], rtol=1e-12)


@pytest.mark.parametrize("name", ["hole", "text", "5 %", "lines", "borders", "none"])
@pytest.mark.once
def test_variances_are_the_diagonal_of_the_inverse(kind, name):
    for free in (mask_of(name), mask_of(name).T):
        solved = Solved(kind, free)  # of every level: the bits of all are compared above
        operator = reference.difference_operator(kind, *free.shape)[:, solved.pixels]
        expected = np.diag(np.linalg.inv((operator.T @ operator).toarray()))
        assert_allclose(solved.variances(), expected, rtol=1e-9)


@pytest.mark.once
def test_variances_of_what_is_extrapolated_are_bounded():
    free = np.ones((36, 36), bool)
    free[:3, :3] = False
    solved = Solved(SECOND, free)
    operator = reference.difference_operator(SECOND, *free.shape)[:, solved.pixels]
    expected = np.diag(np.linalg.inv((operator.T @ operator).toarray()))
    assert_allclose(solved.variances(), expected, rtol=1e-6)  # the condition is 4e7


@pytest.mark.once
def test_every_level_and_thread_count_gives_the_same_bits(kind):
    for free in (mask_of("text", (200, 150)), mask_of("5 %", (300, 310)), mask_of("hole"), mask_of("30 %", (90, 120))):
        for most in (30, ANY_SIZE):
            results = {
                Solved(kind, free, most, 3, threads, level).bits() for level in isa.AVAILABLE for threads in (1, 2, 7)
            }
            assert len(results) == 1


def test_a_channel_does_not_depend_on_the_others(kind):
    solved = Solved(kind, mask_of("text"), channels=3)
    flat = solved.x.reshape(3, -1)
    for values, channel in zip(solved.values, flat, strict=True):
        out = np.empty((1, solved.pixels.size))
        solved.factors.solve(channel[solved.sources][np.newaxis], out, 1)
        assert_array_equal(out[0], values)


@each("dtype", "bBhHiIqQfd")
def test_images_of_any_dtype_are_restored_as_by_solve(kind, dtype):
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(3)
    for free in (mask_of("5 %"), mask_of("text"), np.zeros((46, 61), bool)):
        solved = Solved(kind, free)
        images = (rng.random((7, free.size)) * 100).astype(dtype)
        units = np.column_stack([rng.random(7) * 9, 1 + rng.random(7) * 30, np.full(7, 20.0), np.full(7, 60.0)])
        offset, factor = units[:, :1], units[:, 1:2]
        values = np.empty((7, solved.pixels.size))
        solved.factors.solve(np.ascontiguousarray((images[:, solved.sources] - offset) / factor), values, 1)
        values = values * factor + offset
        expected = images.copy()
        expected[:, solved.pixels] = np.clip(np.rint(values) if dtype.kind in "iu" else values, 20, 60)
        images.flags.writeable = False
        for level in isa.AVAILABLE:
            out = images.copy()
            out[:, solved.pixels] = 0
            Solved(kind, free, level=level).factors.restore(images, units, out)
            assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="as many pixels as the mask"):
        solved.factors.restore(images[:, 1:].copy(), units, out)
    with pytest.raises(ValueError, match="out must have the shape"):
        solved.factors.restore(images, units, out[1:])
    with pytest.raises(ValueError, match="units must have shape"):
        solved.factors.restore(images, units[:, :3].copy(), out)


def test_arrays_outlive_their_factors(kind):
    solved = Solved(kind, mask_of("30 %"), most=10)
    kept = [array.copy() for array in (solved.pixels, solved.sources, solved.left, solved.windows)]
    del solved.factors
    gc.collect()
    Solved(kind, mask_of("60 %"))
    for array, copy in zip((solved.pixels, solved.sources, solved.left, solved.windows), kept, strict=True):
        assert array.dtype == np.int64
        assert_array_equal(array, copy)


def test_one_set_of_factors_serves_many_threads(kind):
    solved = Solved(kind, mask_of("text"))
    known = np.random.default_rng(2).random((40, 1, solved.sources.size))

    def solve(values):
        out = np.empty((1, solved.pixels.size))
        solved.factors.solve(values, out, 2)
        return out

    with ThreadPoolExecutor(4) as executor:
        for values, found in zip(known, executor.map(solve, known), strict=True):
            assert_array_equal(found, solve(values))


def test_any_value_but_zero_is_unknown_and_arrays_may_be_read_only(kind):
    free = mask_of("5 %").astype(np.uint8)
    expected = Solved(kind, free)
    free *= 255
    free.flags.writeable = False
    factors = kernels().factorise(kind, free, ANY_SIZE, 1)
    assert_array_equal(factors.pixels, expected.pixels)
    known = expected.x.reshape(2, -1)[:, expected.sources].copy()
    known.flags.writeable = False
    out = np.empty_like(expected.values)
    factors.solve(known, out, 1)
    assert_array_equal(out, expected.values)
    assert factors.nbytes > 0


def test_what_is_left_can_be_let_go(kind):
    free = mask_of("5 %").astype(np.uint8)
    free[3:33, 4:44] = 1
    solved = Solved(kind, free, most=100)
    assert solved.left.size
    before = solved.factors.nbytes
    for _ in range(2):
        solved.factors.forget_left()
        assert solved.factors.left is solved.factors.left_starts is solved.factors.windows is None
        assert solved.factors.nbytes == before - 8 * (solved.left.size + 5 * len(solved.windows))
    values = np.empty_like(solved.values)
    solved.factors.solve(np.ascontiguousarray(solved.x.reshape(2, -1)[:, solved.sources]), values, 1)
    assert_array_equal(values, solved.values)


def test_wrong_arguments_are_refused():
    direct = kernels()
    with pytest.raises(ValueError, match="kind must be 0 or 1"):
        direct.factorise(2, np.zeros((3, 3), np.uint8), 100, 1)
    with pytest.raises(ValueError, match="free must not be empty"):
        direct.factorise(0, np.zeros((0, 3), np.uint8), 100, 1)
    with pytest.raises(TypeError, match="made by factorise"):
        direct.Factors()
    solved = Solved(FIRST, mask_of("5 %"))
    n, m = solved.pixels.size, solved.sources.size
    for channels, sources, pixels, what in [(1, m, n, "channels"), (2, m + 1, n, "sources"), (2, m, n - 1, "pixels")]:
        with pytest.raises(ValueError, match=what):
            solved.factors.solve(np.zeros((channels, sources)), np.zeros((2, pixels)), 1)
    with pytest.raises(ValueError, match="pixels"):
        solved.factors.variances(np.zeros(n + 1))
