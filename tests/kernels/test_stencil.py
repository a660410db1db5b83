"""The kernels of local differences, and of the structure tensor, against slow twins."""

import numpy as np
import pytest
import reference
from cases import each
from graddesc._kernels import stencil
from numpy.testing import assert_allclose, assert_array_equal
from shapes import SHAPES

FIRST, SECOND, EDGE = range(3)
ALL_SHAPES = [*SHAPES, (13, 1200), (6, 800), (9, 8), (4, 7), (5, 2300), (400, 9)]
WIDEST = 447  # columns of a tile
PARAMETERS = {"epsilon": 0.1, "scale": 0.3, "mu": 0.5, "kappa": 2.0}


def operator(kind, **parameters):
    return stencil.Operator(kind, 2.0, **PARAMETERS | parameters)


class Case:
    """Random weights and the kernels at work on them."""

    def __init__(self, kind, shape, dtype=np.float64, channels=1):
        self.rng = np.random.default_rng(0)
        self.kind, self.operator = kind, operator(kind)
        self.x = self.rng.random((channels, *shape)).astype(dtype)
        angle = 6 * self.rng.random(shape)
        self.tensor = [a.astype(dtype) for a in (np.cos(angle), np.sin(angle), self.rng.random(shape))]
        self.weights = np.stack([np.full(shape, np.nan, dtype), *self.tensor])[: 4 if kind == EDGE else 1].copy()
        stencil.weigh(self.operator, self.x, 1, self.weights)

    def slow_energy(self, x):
        return reference.stencil_energy(self.kind, x, *self.tensor, **PARAMETERS)

    def gradient(self, x, threads=1):
        out = np.full_like(x, np.nan)
        stencil.gradient(self.operator, x, self.weights, threads, out)
        return out

    def steps(self, shares, floor=1e-9):
        out = np.full(shares.shape, np.nan, self.x.dtype)
        stencil.step_sizes(operator(self.kind, floor=floor), shares, self.weights, 1, out)
        return out

    def hessian(self):
        """The slow twin of the quadratic that the weights make."""
        if self.kind == EDGE:
            return reference.edge_hessian(self.weights, PARAMETERS["mu"], PARAMETERS["kappa"])
        return reference.stencil_hessian(self.kind, self.x.shape[1:], self.weights[0])

    def places(self):
        rows, cols = self.x.shape[1:]
        corners = [(i, j) for i in (0, rows - 1) for j in (0, cols - 1)]
        return corners + [(self.rng.integers(rows), self.rng.integers(cols)) for _ in range(12)]


def random_tensor(shape):
    """The means of products of random gradients, of blocks of 2 x 2 pixels."""
    gx, gy = np.random.default_rng(0).standard_normal((2, 3, *((side + 1) // 2 for side in shape)))
    return np.stack([(a * b).mean(0) for a, b in ((gx, gx), (gx, gy), (gy, gy))])


def test_rounding_makes_no_square_negative(dtype):
    # Bent across straight edges and nowhere else: the square is 0 but for rounding, whose root must not be NaN.
    i, j = np.mgrid[:9, :9].astype(dtype)
    for angle in np.linspace(0, 3, 40):
        x = ((np.cos(angle) * j + np.sin(angle) * i) ** 2)[np.newaxis].astype(dtype)
        planes = np.nan, np.cos(2 * angle), np.sin(2 * angle), 1.0
        weights = np.stack([np.full(x.shape[1:], plane, dtype) for plane in planes])
        stencil.weigh(operator(EDGE, epsilon=1e-12, scale=1.0), x, 1, weights)
        assert np.isfinite(weights[0]).all()


@pytest.mark.parametrize("kind", [FIRST, SECOND, EDGE])
def test_gradient_is_the_slow_hessian_times_the_image(kind):
    for shape in SHAPES:
        case = Case(kind, shape)
        hessian = case.hessian()
        assert_allclose(case.gradient(case.x).ravel(), hessian @ case.x.ravel(), rtol=1e-11, atol=1e-11)
        case.weights[0] = 2
        case.weights[0, [0, -1]] = case.weights[0][:, [0, -1]] = 0 if kind == EDGE else 2
        hessian = case.hessian() if kind == EDGE else reference.stencil_hessian(kind, shape)
        assert_allclose(case.gradient(case.x).ravel(), hessian @ case.x.ravel(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", [FIRST, SECOND])
def test_gradient_vanishes_at_the_slow_minimiser(kind):
    for shape in SHAPES:
        case = Case(kind, shape)
        case.weights.fill(2)
        for missing in (0.5, 0.9):
            mask = case.rng.random(shape) < missing
            mask.flat[0] = False
            case.x[0] = reference.minimiser(kind, case.x[0], mask)
            assert_allclose(case.gradient(case.x)[0][mask], 0, atol=1e-11)


@pytest.mark.parametrize("kind", [FIRST, SECOND, EDGE])
@pytest.mark.once
class TestKernels:
    @each("channels", [1, 3])
    @each("shape", ALL_SHAPES)
    def test_energy_is_that_of_the_slow_twin(self, kind, shape, channels):
        case, strength, tensor = Case(kind, shape, channels=channels), 0.2, None
        if kind == EDGE:
            tensor = random_tensor(shape)
            case.tensor = reference.orientation(tensor, shape, strength)
        found = stencil.energy(operator(kind, strength=strength), case.x, tensor, 1, np.empty(shape[0]))
        assert_allclose(found, case.slow_energy(case.x), rtol=1e-10)

    @each("channels", [1, 2])
    @each("shape", ALL_SHAPES)
    def test_gradient_is_the_difference_quotient_of_the_slow_twin(self, kind, shape, channels):
        # The weights are those at x, so that the gradient of the frozen quadratic is that of the energy there.
        case, h = Case(kind, shape, channels=channels), 1e-3
        gradient = case.gradient(case.x)
        for place in case.places():
            quotient = 0.0
            for offset, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
                x = case.x.copy()
                x[-1][place] += offset * h
                quotient += weight * case.slow_energy(x) / (12 * h)
            # The error of the quotient is h^4 times a fifth derivative.
            assert_allclose(gradient[-1][place], quotient, atol=1e-6)

    @each("channels", [1, 3])
    @each("shape", ALL_SHAPES)
    def test_weights_are_one_over_the_root_of_the_square(self, kind, shape, channels):
        case = Case(kind, shape, channels=channels)
        square = np.mean([reference.stencil_square(kind, plane, *case.tensor) for plane in case.x], axis=0)
        expected = PARAMETERS["scale"] / np.sqrt(PARAMETERS["epsilon"] ** 2 + square)
        if kind == EDGE:
            expected[[0, -1]] = expected[:, [0, -1]] = 0
        assert_allclose(case.weights[0], expected, rtol=1e-12)

    def test_tiles_leave_no_seam(self, kind):
        # The part lies across the corner where four tiles meet, and is a tile of its own.
        case, part = Case(kind, (300, 800)), np.s_[:, 100:200, 300:500]
        whole = case.gradient(case.x), case.steps(np.full(case.x.shape, 128, np.uint8))
        case.x, case.weights = case.x[part].copy(), case.weights[part].copy()
        alone = case.gradient(case.x), case.steps(np.full(case.x.shape, 128, np.uint8))
        for expected, found in zip(alone, whole, strict=True):
            assert_array_equal(found[part][:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2])

    @each("shape", ALL_SHAPES)
    def test_steps_are_one_over_the_diagonal(self, kind, shape):
        case = Case(kind, shape)
        steps = case.steps(np.full((1, *shape), 128, np.uint8))
        for place in case.places():
            unit = np.zeros((1, *shape))
            unit[0][place] = 1
            assert_allclose(1 / steps[0][place], max(case.gradient(unit)[0][place], 1e-9), rtol=1e-12)

    @each("shape", ALL_SHAPES)
    def test_steps_of_channels_have_shares_of_their_own(self, kind, shape):
        case = Case(kind, shape, channels=3)
        shares = case.rng.integers(0, 129, (3, *shape)).astype(np.uint8)
        shares[case.rng.random(shares.shape) < 0.4] = 0
        everywhere = case.steps(np.full((1, *shape), 128, np.uint8), 0.5)
        assert_allclose(case.steps(shares, 0.5), shares / 128 * everywhere, rtol=1e-15)
        assert everywhere.max() <= 1 / 0.5

    @each("threads", [1, 3])
    @each("shared", [True, False])
    @each("shape", ALL_SHAPES)
    def test_sweep_is_a_projected_step_from_beyond_the_image(self, kind, shape, threads, shared):
        case = Case(kind, shape, channels=2)
        free = (case.rng.random((1 if shared else 2, *shape)) < 0.8).astype(np.uint8)
        steps, x = case.steps(58 * free, 0.02), case.x
        previous = np.where(free, case.rng.random(x.shape), x)
        v = x + 0.5 * (x - previous)
        expected = np.where(free, np.clip(v - steps * case.gradient(v), 0.1, 0.9), x)
        sums = [np.sum(product, axis=(1, 2)) for product in ((expected - x) ** 2, (v - expected) * (expected - x))]
        for tiles in few_tiles(*shape), strips_of_three(*shape):
            out, totals, found = np.where(free, np.nan, x), np.empty((len(tiles) * 2, 2)), np.empty((2, 2))
            stencil.accelerate(
                case.operator, x, previous, steps, 0.5, 0.1, 0.9, case.weights, tiles, threads, totals, out, found
            )
            assert_allclose(out, expected, atol=1e-13)
            assert_array_equal(np.where(free, 0, out), np.where(free, 0, x))
            assert_allclose(found, np.transpose(sums), atol=1e-12 * v.size)


def few_tiles(rows, cols):
    """Tiles of the image, as wide as they may be."""
    starts = [0, *range(WIDEST - 1, cols - 1, WIDEST - 1)]
    return np.array([(0, rows, *strip) for strip in zip(starts, [*starts[1:], cols], strict=True)], np.intc)


def strips_of_three(rows, cols):
    """Tiles of the first row, the rest of the upper half and the lower half, each of three columns or a few more."""
    ends = sorted({1, (rows + 1) // 2, rows})
    starts = [0, *range(3, cols - 4, 3)]
    return np.array(
        [
            (*band, *strip)
            for band in zip([0, *ends[:-1]], ends, strict=True)
            for strip in zip(starts, [*starts[1:], cols], strict=True)
        ],
        np.intc,
    )


@pytest.mark.parametrize("tile", [(0, 9, 0, 8), (0, 0, 0, 8), (-1, 8, 0, 8), (0, 8, 1, 8), (0, 8, 0, 7), (0, 8, 0, 9)])
def test_tiles_outside_of_the_image_are_refused(tile):
    case = Case(FIRST, (8, 8))
    x, tiles, sums = case.x, np.array([tile], np.intc), np.empty((1, 2))
    with pytest.raises(ValueError, match="tiles must have"):
        stencil.accelerate(case.operator, x, x, x, 0.5, 0.1, 0.9, case.weights, tiles, 1, sums.copy(), x.copy(), sums)


@pytest.mark.parametrize(("start", "fits"), [(0, True), (1, False)])
def test_tiles_are_of_447_columns_at_most(start, fits):
    case = Case(FIRST, (4, 900))
    x, sums = case.x, np.empty((1, 2))
    tiles = np.array([(0, 4, 2, 2 + WIDEST + start)], np.intc)
    arguments = x, x, np.zeros_like(x), 0.5, 0.1, 0.9, case.weights, tiles, 1, sums.copy(), x.copy(), sums
    if fits:
        stencil.accelerate(case.operator, *arguments)
        assert_array_equal(sums, 0)
    else:
        with pytest.raises(ValueError, match="447 at most"):
            stencil.accelerate(case.operator, *arguments)


@each("masks", [1, 3])
@each("shape", ALL_SHAPES)
def test_contrast_is_the_sum_of_squared_differences_to_free_pixels(shape, masks):
    rng = np.random.default_rng(0)
    x, free = rng.random((3, *shape)), (rng.random((masks, *shape)) < 0.3).astype(np.uint8)
    for size in (1.0, 1.7):  # a difference beyond 1 counts as 1
        expected = np.sum(np.clip(reference.differences_to(free, size * x), -1, 1) ** 2)
        assert_allclose(stencil.contrast(size * x, free, 1, np.empty(3 * shape[0])), expected, rtol=1e-12)


def test_known_around_a_pixel_with_one_neighbour():
    for shape in ((1, 2), (2, 1)):
        free = np.reshape(np.array([0, 1], np.uint8), shape)
        assert stencil.known_around(free, 1, np.empty(shape[0]), np.empty(shape, np.uint8)) == 1


@each("shape", ALL_SHAPES)
def test_known_around_is_the_mean_of_windows(shape):
    free = (np.random.default_rng(0).random(shape) < 0.7).astype(np.uint8)
    expected = 0.0
    for i, j in np.argwhere(free):
        window = free[max(i - 3, 0) : i + 4, max(j - 3, 0) : j + 4]
        expected += (window == 0).sum() / max(window.size - 1, 1)
    found = stencil.known_around(free, 1, np.empty(shape[0]), np.empty(shape, np.uint8))
    assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.once
class TestTensor:
    """The structure tensor, its Gaussian and what is read off it, each against a slow twin."""

    @each("shape", ALL_SHAPES)
    def test_tensor_is_the_damped_product_of_the_gradients(self, shape):
        x, contrast = np.random.default_rng(0).random((2, *shape)), 0.3
        expected = reference.structure_tensor(x, contrast)
        out = np.empty((3, *((side + 1) // 2 for side in shape)))
        stencil.tensor(operator(EDGE, contrast=contrast), x, 1, out)
        assert_allclose(out, expected, atol=1e-14)

    @each("radius", [0, 1, 5, 12])
    @each("shape", ALL_SHAPES)
    def test_blur_reflects_the_borders(self, shape, radius):
        from scipy.ndimage import correlate1d

        plane = np.random.default_rng(0).random(shape)
        taps = np.exp(-0.1 * np.arange(radius + 1.0) ** 2)
        expected = plane
        for axis in (0, 1):
            expected = correlate1d(expected, np.append(taps[:0:-1], taps), axis=axis, mode="reflect")
        stencil.blur(plane, taps, 1, np.empty((shape[0], shape[1] + 2 * radius)))
        assert_allclose(plane, expected, rtol=1e-12)

    @each("shape", ALL_SHAPES)
    def test_orient_reads_angle_and_strength_off_the_tensor(self, shape):
        strength, tensor = 0.2, random_tensor(shape)
        weights = np.zeros((4, *shape))
        stencil.orient(operator(EDGE, strength=strength), tensor, 1, weights)
        assert_array_equal(weights[0], 0)
        assert_allclose(weights[1:], reference.orientation(tensor, shape, strength), atol=1e-10)
