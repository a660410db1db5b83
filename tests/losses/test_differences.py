"""The losses of local differences: their values and gradients, and what restore() makes of them."""

import tracemalloc

import numpy as np
import pytest
import reference
from cases import each
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal

import graddesc
from graddesc import _kernels, losses

NAMES = ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"]


def scaled(x, mask):
    """An image, channels apart, in the unit in which its losses are descended: that of the known pixels."""
    offset, factor = reference.contrast_unit(x[~mask])
    return (x - offset) / factor


def image(rows=70, cols=90):
    i, j = np.mgrid[:rows, :cols]
    return 0.5 + 0.25 * np.sin(0.17 * i + 0.1 * j) + 0.2 * (i + j > 80)


@pytest.mark.parametrize("name", NAMES)
class TestLosses:
    def test_is_zero_on_a_constant_and_nowhere_negative(self, name):
        loss = losses.by_name(name)
        assert loss.value(np.full((5, 6), 0.3)) == 0
        assert_allclose(loss.gradient(np.full((5, 6), 0.3)), 0, atol=1e-16)
        assert loss.value(np.random.default_rng(0).random((5, 6))) > 0

    def test_out_and_dtypes(self, name, dtype):
        loss, x = losses.by_name(name), image(9, 11).astype(dtype)
        x.flags.writeable = False
        out = np.full((11, 9), np.nan, dtype).T
        value, gradient = loss.value_and_gradient(x, out)
        assert gradient is out
        assert_array_equal(out, loss.gradient(x))
        assert value == loss.value(np.asfortranarray(x))
        expected = loss.gradient(x.astype(np.float64))
        # Differences of numbers near 1 are right to 1e-7 in float32, whatever is left of them.
        assert_allclose(out, expected, atol=1e-4 * np.abs(expected).max() + 1e-6)

    @pytest.mark.usefixtures("every_thread")
    def test_levels_and_threads_give_the_same_bits(self, name):
        x = np.random.default_rng(0).random((70, 1300)).astype(np.float32)
        mask = np.random.default_rng(1).random(x.shape) < 0.9
        expected = graddesc.restore(x, mask, loss=name, max_iter=15)
        assert not np.array_equal(expected, x)
        for threads in (2, 7):
            assert_array_equal(graddesc.restore(x, mask, loss=name, max_iter=15, threads=threads), expected)

    @each("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (2, 9), (3, 3), (5, 4)])
    def test_small_images_with_one_known_pixel_take_its_value(self, name, shape):
        mask = np.ones(shape, bool)
        mask[shape[0] // 2, shape[1] // 2] = False
        x = np.where(mask, 1.0, 0.25)
        assert_allclose(graddesc.restore(x, mask, loss=name), 0.25, atol=1e-6)

    @each("shape", [(1, 200), (5, 60), (31, 40)])
    def test_tall_images_are_turned(self, name, shape):
        x = np.random.default_rng(0).random((2, *shape))
        mask = np.random.default_rng(1).random(x.shape) < 0.7
        turned = [a.swapaxes(1, 2) for a in (x, mask)]
        expected, info = graddesc.restore(x, mask, loss=name, channel_axis=0, full_output=True)
        restored, other = graddesc.restore(*turned, loss=name, channel_axis=0, full_output=True)
        # Turned before they are filled and swept, images of few columns give the same bits; the others round otherwise.
        assert_allclose(restored, expected.swapaxes(1, 2), rtol=0, atol=0 if name == "edge" else 1e-6)
        assert other.nit == info.nit

    @each("init", ["image", "nearest"])
    def test_ends_at_the_same_picture_from_other_starts(self, name, init):
        x = image(80, 90)
        rng = np.random.default_rng(1)
        mask = rng.random(x.shape) < 0.9
        noisy = np.where(mask, rng.integers(0, 2, x.shape), x)
        best = graddesc.restore(noisy, mask, loss=name, tol=1e-3)
        restored, info = graddesc.restore(noisy, mask, loss=name, init=init, full_output=True)
        assert info.success

        def error(found):
            return np.sqrt(np.mean((found - x)[mask] ** 2))

        assert error(restored) < 1.3 * error(best)  # it was ten times that when it settled in noise

    def test_undercuts_its_start(self, name):
        x, loss = image(), losses.by_name(name)
        mask = np.random.default_rng(1).random(x.shape) < 0.9
        start = graddesc.restore(np.where(mask, np.nan, x), mask, loss=name, max_iter=0)
        restored = graddesc.restore(x, mask, loss=name)
        assert_array_equal(restored[~mask], x[~mask])
        assert loss.value(scaled(restored, mask)) < loss.value(scaled(start, mask))
        assert np.sqrt(np.mean((restored - x)[mask] ** 2)) < 1.1 * np.sqrt(np.mean((start - x)[mask] ** 2))

    def test_history_is_the_value_of_the_image(self, name):
        x, loss = image(33, 40), losses.by_name(name)
        mask = np.random.default_rng(1).random(x.shape) < 0.8
        seen = []
        _, info = graddesc.restore(x, mask, loss=loss, full_output=True, callback=seen.append)
        assert len(seen) == info.nit
        for state in (*seen, info):
            assert_allclose(state.fun, loss.value(scaled(state.x, mask)), rtol=1e-9)

    def test_plain_steps_and_channels(self, name):
        x = np.stack([image(20, 24), 1 - image(20, 24)], axis=-1)
        mask = np.random.default_rng(1).random(x.shape) < 0.6
        step = graddesc.Constant(1e-4)
        seen = []
        restored, info = graddesc.restore(
            x, mask, loss=name, step=step, max_iter=5, channel_axis=-1, full_output=True, callback=seen.append
        )
        assert info.nit == len(seen) == 5
        assert (np.diff(info.history) < 0).all()
        assert_array_equal(restored[~mask], x[~mask])

    @each("size", [1e-30, 255.0, 1e5])
    def test_unit_of_floats_does_not_matter(self, name, size):
        x = 0.1 + 0.8 * image(30, 40)
        mask = np.random.default_rng(1).random(x.shape) < 0.8
        big = graddesc.restore((3 * x - 1) * size, mask, loss=name, tol=1e-3)
        low, high = x[~mask].min(), x[~mask].max()
        unit = graddesc.restore((x - low) / (high - low), mask, loss=name, tol=1e-3)
        assert_allclose((big / size + 1) / 3, low + (high - low) * unit, atol=1e-6)


@each("name", [name for name in NAMES if name != "edge"])  # its tensor's Gaussian follows how many pixels are known
def test_gradient_vanishes_where_a_restoration_ends(name):
    x, loss = image(), losses.by_name(name)
    mask = np.random.default_rng(1).random(x.shape) < 0.7
    best, info = graddesc.restore(np.where(mask, 0, x), mask, loss=loss, tol=1e-9, full_output=True)
    assert info.success
    inside = mask & (best > 1e-6) & (best < 1 - 1e-6)
    start = np.abs(loss.gradient(scaled(np.where(mask, 0, x), mask))).max()
    assert np.abs(loss.gradient(scaled(best, mask))[inside]).max() < 1e-3 * start


def test_values_by_hand():
    x = np.array([[0.0, 3.0], [4.0, 4.0]])
    assert losses.Harmonic().value(x) == 9 + 16 + 1
    assert losses.Biharmonic().value(x) == 2 * 3**2
    assert losses.Biharmonic().value(np.array([[0.0, 1.0, 4.0]])) == 4
    quarter = np.array([[0.0, 0.4]])
    assert_allclose(losses.TotalVariation(0.1).value(quarter), 2 * (np.sqrt(0.01 + 0.08) - 0.1))
    assert_allclose(losses.HessianTotalVariation(0.1).value(np.array([[0.0, 0.1, 0.4]])), np.sqrt(0.05) - 0.1)


@pytest.mark.parametrize("name", ["harmonic", "biharmonic", "tv", "hessian-tv"])
def test_turning_and_flipping_change_nothing(name):
    loss, x = losses.by_name(name), np.random.default_rng(0).random((6, 9))
    for other in (x.T, x[::-1], x[:, ::-1]):
        assert_allclose(loss.value(other), loss.value(x), rtol=1e-13)


def test_edge_continues_an_edge():
    # A slanted edge from a tenth of its pixels: the mean of what is known nearby blurs it, the tensor finds it.
    x = image(120, 140)
    mask = np.random.default_rng(2).random(x.shape) < 0.9
    errors = {
        name: np.sqrt(np.mean((graddesc.restore(x, mask, loss=name) - x)[mask] ** 2))
        for name in ("line", "harmonic", "biharmonic", "edge")
    }
    assert errors["edge"] < 0.8 * min(errors["line"], errors["harmonic"], errors["biharmonic"])


@pytest.mark.parametrize("cls", [losses.TotalVariation, losses.HessianTotalVariation, losses.EdgeAligned])
def test_parameters_are_checked(cls):
    with pytest.raises(ValueError, match="epsilon must be a finite number of at least 1e-15, got 0"):
        cls(epsilon=0)
    with pytest.raises(TypeError, match="epsilon must be a finite number of at least 1e-15, got 'x'"):
        cls(epsilon="x")
    with pytest.raises(ValueError, match="epsilon must be a finite number of at least 1e-15, got 1e-16"):
        cls(epsilon=1e-16)


@each("value", [1e-15, 1e15])
@each("name", ["edge_strength", "contrast", "epsilon", "first_order", "mixed"])
def test_extreme_parameters_restore_numbers(name, value):
    x = np.full((12, 20), 0.5, np.float32)
    mask = np.random.default_rng(1).random(x.shape) < 0.6
    for truth in (x, np.random.default_rng(0).random(x.shape, np.float32)):
        loss = losses.EdgeAligned(**{name: value})
        restored, info = graddesc.restore(truth, mask, loss=loss, max_iter=20, full_output=True)
        assert np.isfinite(restored).all()
        assert np.isfinite(info.history).all()


@pytest.mark.once
def test_every_level_sweeps_alike(monkeypatch):
    x = np.random.default_rng(0).random((40, 1100)).astype(np.float32)
    mask = np.random.default_rng(1).random(x.shape) < 0.9
    results = []
    for level in _kernels.AVAILABLE:
        use_level(level, monkeypatch)
        results.append(graddesc.restore(x, mask, max_iter=15))
    for result in results[1:]:
        assert_array_equal(result, results[0])


def test_memory_is_bounded():
    x = np.random.default_rng(0).random((600, 700)).astype(np.float32)
    mask = np.random.default_rng(1).random(x.shape) < 0.9
    graddesc.restore(x[:50, :50], mask[:50, :50])
    tracemalloc.start()
    try:
        graddesc.restore(x, mask)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 12 * x.nbytes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.once
def test_every_level_measures_alike(name, monkeypatch):
    x = np.random.default_rng(0).random((9, 300)).astype(np.float32)
    values = []
    for level in _kernels.AVAILABLE:
        use_level(level, monkeypatch)
        values.append(losses.by_name(name).value(x))
    assert len(set(values)) == 1


@pytest.mark.once
def test_edge_is_made_of_a_tensor_and_its_orientation():
    from scipy.ndimage import gaussian_filter

    x, loss = image(30, 41), losses.EdgeAligned(0.02, 0.3, 0.1, 0.7, 1.5)
    tensor = [gaussian_filter(plane, 4 / 2, truncate=3) for plane in reference.structure_tensor(x[np.newaxis], 0.3)]
    orientation = reference.orientation(tensor, x.shape, 0.02)
    expected = reference.stencil_energy(2, x[np.newaxis], *orientation, epsilon=0.1, scale=0.1, mu=0.7, kappa=1.5)
    assert_allclose(loss.value(x), expected, rtol=1e-10)
