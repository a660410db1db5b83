"""Bands with masks of their own: the coupled descent against a slow twin, groups, what is alone, units and limits."""

import importlib
import itertools
import time

import numpy as np
import pytest
import reference
from cases import each
from graddesc._kernels import stencil
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal

import graddesc
from graddesc import _kernels, losses
from graddesc.restoration import bands
from graddesc.restoration.problem import Problem, Units

LOSSES = "edge", "tv", "hessian-tv", "harmonic", "biharmonic"
MOST_MOMENTUM, LEAST_CONTRAST = 0.97, 1e-13
COUPLING = 0.1, 1e-6, 0.5, 5.0


def scene(count, shape=(48, 56), seed=0, grain=0.004):
    """Bands of one scene, (bands, rows, cols), float64: three layers of edges and waves in shares of their own."""
    rng = np.random.default_rng(seed)
    i, j = np.mgrid[: shape[0], : shape[1]]
    layers = np.stack([
        (np.hypot(i - 20, j - 25) < 13).astype(float),
        0.5 + 0.5 * np.sin(0.3 * i + 0.15 * j),
        ((0.6 * i + j) % 23 < 9).astype(float),
    ])  # fmt: skip
    shares = 0.4 + 0.3 * np.cos(np.arange(count)[:, np.newaxis] / 3 + np.array([0, 2, 4]))
    return 0.1 + 0.25 * np.tensordot(shares, layers, 1) + rng.normal(0, grain, (count, *shape))


def other(shape=(48, 56)):
    """A picture that has nothing to do with the scene."""
    i, j = np.mgrid[: shape[0], : shape[1]]
    return 0.5 + 0.2 * np.sin(0.021 * i * j) + 0.2 * (((i // 7) * 5 + (j // 9) * 3) % 4 > 1)


def at_random(shape, missing=0.6, seed=1):
    return np.random.default_rng(seed).random(shape) < missing


def mosaic(rows, cols):
    mask = np.ones((3, rows, cols), bool)
    mask[0, 0::2, 0::2] = mask[1, 0::2, 1::2] = mask[1, 1::2, 0::2] = mask[2, 1::2, 1::2] = False
    return mask


def rms(a, b, where=...):
    return float(np.sqrt(np.mean((np.asarray(a, float) - b)[where] ** 2)))


# ---- the compiled descent ----


class Run:
    """One window, descended by the kernels."""

    def __init__(self, x, free, bounds, coarse=True, threads=1, level=_kernels.LEVEL, coupling=COUPLING):
        kernels = importlib.import_module(f"graddesc._kernels.stencil_{level}")
        own = losses.EdgeAligned().operator
        names = "epsilon", "scale", "mu", "kappa", "floor", "contrast", "strength", "spread"
        operator = kernels.Operator(own.kind, own.safety, **{name: getattr(own, name) for name in names})
        self.shape, self.x = x.shape, x.ravel().copy()
        self.descent = kernels.prepare(
            operator, np.array([x.shape[1:]], np.intp), free.ravel(), len(x), len(x), x.dtype == np.float32,
            MOST_MOMENTUM, LEAST_CONTRAST, threads, None, self.allocate,
        )  # fmt: skip
        self.descent.begin(self.x, bounds[:, 0].min(), bounds[:, 1].max(), coarse, np.zeros(1, np.uint8))
        self.bands = kernels.couple(self.descent, bounds, *coupling, self.allocate)

    @staticmethod
    def allocate(size):
        return np.full(size, 0xFF, np.uint8)  # NaN, whatever is read of it before it is written

    def to(self, until, tol, work=1e12):
        while not (self.descent.settled or self.descent.failed or self.descent.iterations >= until):
            self.bands.advance(until, tol, work)
        self.descent.finish()
        return self.x.reshape(self.shape).copy()


def check_twin(x, free, bounds=None, coarse=True, until=30, tol=0.05):
    bounds = np.array([[0.1 - 0.01 * k, 0.8 + 0.02 * k] for k in range(len(x))]) if bounds is None else bounds
    slow = reference.CoupledDescent(
        losses.EdgeAligned().operator, x, free, MOST_MOMENTUM, LEAST_CONTRAST, bounds[:, 0].min(), bounds[:, 1].max(),
        coarse, bounds=bounds, **dict(zip(("ridge", "least", "pull", "slopes"), COUPLING, strict=True)),
    )  # fmt: skip
    expected = slow.run(until, tol)
    run = Run(x, free, bounds, coarse)
    found = run.to(until, tol)
    assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert (run.descent.iterations, run.descent.settled) == (slow.iterations, slow.settled)
    assert_array_equal(found[free == 0], x[free == 0])
    return slow


@each("count, missing", [(2, 0.6), (3, "mosaic"), (3, 0.9), (4, 0.5), (5, 0.7), (8, 0.5), (12, 0.6)])
@pytest.mark.once
def test_descent_is_that_of_the_slow_twin(count, missing):
    x = scene(count, (26, 33), grain=0.01)
    free = mosaic(26, 33) if missing == "mosaic" else at_random(x.shape, missing)
    check_twin(x, free.astype(np.uint8))
    begun = np.where(free, np.random.default_rng(2).random(x.shape), x)
    check_twin(begun, free.astype(np.uint8), coarse=False, until=14)


@each("shape", [(1, 2), (2, 2), (1, 40), (40, 1), (3, 3), (5, 60)])
def test_small_and_thin_windows_are_those_of_the_slow_twin(shape):
    for count in (2, 4, 6):
        x, free = scene(count, shape, grain=0.02), at_random((count, *shape)).astype(np.uint8)
        free[:, 0, 0], free[0, -1, -1] = 0, 1
        check_twin(x, free, tol=0.01)


@pytest.mark.once
def test_work_goes_where_something_is_free_and_far_enough_around():
    # Weights and covariances are made in cells around what is free; what they leave out of the workspace holds NaN.
    for count in (3, 6):
        x, free = scene(count, (70, 150)), np.zeros((count, 70, 150), np.uint8)
        free[0, 20:25, 40:47] = free[1, 33, 31] = free[-1, 16, 64] = 1
        free[1, [0, 69, 69, 35], [149, 0, 148, 110]] = 1
        check_twin(x, free, until=8)
        check_twin(x, free & (np.arange(150) > 100), until=8)


def test_covariances_are_renewed_ten_times():
    x = scene(3, (20, 24))
    slow = check_twin(x, at_random(x.shape).astype(np.uint8), until=160, tol=-1.0)
    assert slow.renewals > slow.COVARIANCES


@each("count, dtype", [(3, np.float32), (7, np.float32), (4, np.float64), (11, np.float64)])
def test_levels_threads_and_slices_of_work_give_the_same_bits(count, dtype):
    x = scene(count, (70, 470)).astype(dtype)  # of two tiles at least
    free, bounds = at_random(x.shape, 0.7).astype(np.uint8), np.array([[0.0, 1.0]] * count)
    first = Run(x, free, bounds).to(15, 0.01)
    assert np.isfinite(first).all()
    assert (first[free == 0] == x[free == 0]).all()
    for level, threads, work in ((_kernels.AVAILABLE[0], 1, 1e12), (_kernels.LEVEL, 2, 1e12), (_kernels.LEVEL, 1, 1.0)):
        assert_array_equal(Run(x, free, bounds, threads=threads, level=level).to(15, 0.01, work), first)


def test_what_cannot_be_coupled_is_refused():
    x, free = scene(2, (9, 9)), at_random((2, 9, 9)).astype(np.uint8)
    run = Run(x, free, np.array([[0.0, 1.0]] * 2))
    with pytest.raises(ValueError, match=r"bounds must have shape \(bands, 2\)"):
        stencil.couple(run.descent, np.zeros((3, 2)), *COUPLING, Run.allocate)
    one = stencil.prepare(
        losses.EdgeAligned().operator, np.array([[9, 9]], np.intp), free[0].ravel(), 2, 1, False, 0.9, 1e-9, 1, None,
        Run.allocate,
    )  # fmt: skip
    with pytest.raises(ValueError, match="bands with masks of their own"):
        stencil.couple(one, np.zeros((2, 2)), *COUPLING, Run.allocate)


# ---- groups ----


def groups_of(planes, mask):
    free = mask.astype(np.uint8)
    units = Units.of(planes, free, None, as_is=False, contrasts=True)
    problem = Problem(planes, free, units, "pyramid", 1)
    problem.measure_apart()
    return bands.related(problem)


def test_groups_are_found_in_any_order_and_unit():
    related, alone = scene(3), other()
    planes = np.stack([related[0], alone, related[1], 1 - related[2]])
    mask = at_random(planes.shape, 0.8)
    assert groups_of(planes, mask) == [(0, 2, 3), (1,)]
    scaled = planes * np.array([1e4, 1, 1e-3, -7])[:, np.newaxis, np.newaxis] + 3
    assert groups_of(scaled, mask) == [(0, 2, 3), (1,)]
    order = [1, 3, 0, 2]
    assert groups_of(planes[order], mask[order]) == [(0,), (1, 2, 3)]


def test_bands_are_related_by_way_of_others():
    first, last = scene(3)[0], other()
    planes = np.stack([first, last, first - first.mean() + last - last.mean()])
    mask = at_random(planes.shape, 0.3)
    assert groups_of(planes[:2], mask[:2]) == [(0,), (1,)]
    assert groups_of(planes, mask) == [(0, 1, 2)]


def test_noise_is_related_to_nothing_and_few_pixels_are_no_sign():
    rng = np.random.default_rng(0)
    for shape in ((40, 40), (6, 7), (1, 30), (2, 2)):
        noise = rng.random((12, *shape))
        mask = at_random(noise.shape, 0.5)
        mask[:, 0, 0] = False
        assert groups_of(noise, mask) == [(k,) for k in range(12)]


def test_a_hot_pixel_relates_nothing():
    planes = np.stack([scene(1)[0], other()])
    mask = at_random(planes.shape, 0.5)
    mask[:, 30, 30], planes[:, 30, 30] = False, 50.0
    assert groups_of(planes, mask) == [(0,), (1,)]


def test_large_images_are_looked_at_in_blocks():
    related, alone = scene(2, (600, 700)), other((600, 700))
    planes = np.stack([*related, alone])
    assert groups_of(planes, at_random(planes.shape, 0.5)) == [(0, 1), (2,)]
    blocks = list(bands._blocks((600, 700)))
    assert len(blocks) == 64
    assert all(0 <= rows.start < rows.stop <= 600 and 0 <= cols.start < cols.stop <= 700 for rows, cols in blocks)


# ---- what is related to nothing ----


def test_unrelated_bands_come_out_as_if_each_were_alone():
    planes = np.stack([scene(1)[0], 7 * other() - 3, 1000 * np.random.default_rng(3).random((48, 56))])
    mask = at_random(planes.shape, 0.7)
    for dtype, loss in itertools.product((np.float32, np.uint8, np.float64), LOSSES):
        image = np.rint(planes % 200).astype(dtype) if dtype == np.uint8 else planes.astype(dtype)
        restored = graddesc.restore(image, mask, channel_axis=0, loss=loss)
        alone = [graddesc.restore(plane, free, loss=loss) for plane, free in zip(image, mask, strict=True)]
        assert_array_equal(restored, np.stack(alone))
    texture = graddesc.restore(planes[:2, :32, :32], mask[:2, :32, :32], channel_axis=0, loss="texture")
    assert_array_equal(texture[1], graddesc.restore(planes[1, :32, :32], mask[1, :32, :32], loss="texture"))


def test_a_group_comes_out_as_if_it_were_an_image_by_itself():
    planes = np.stack([*scene(3), other()])
    mask = at_random(planes.shape)
    for loss in ("edge", "tv"):
        whole, info = graddesc.restore(planes, mask, channel_axis=0, loss=loss, full_output=True)
        group = graddesc.restore(planes[:3], mask[:3], channel_axis=0, loss=loss)
        assert_array_equal(whole[:3], group)
        assert info.status == 0
    shared = mask.copy()
    shared[1:3] = mask[0]
    whole = graddesc.restore(planes, shared, channel_axis=0)
    assert_array_equal(whole[:3], graddesc.restore(planes[:3], shared[0], channel_axis=0))


def test_bounds_and_starts_are_those_of_each_band():
    planes = np.stack([scene(1)[0], 100 * other()])
    mask = at_random(planes.shape)
    for settings in ({"bounds": (0.3, 40.0)}, {"init": "nearest"}, {"init": 0 * planes + 0.5}, {"max_iter": 3}):
        restored = graddesc.restore(planes, mask, channel_axis=0, **settings)
        for k in range(2):
            own = settings | ({"init": settings["init"][k]} if isinstance(settings.get("init"), np.ndarray) else {})
            assert_array_equal(restored[k], graddesc.restore(planes[k], mask[k], **own))


# ---- what related bands tell each other ----


def test_related_bands_are_restored_better_together():
    for count, missing, gain in ((3, "mosaic", 1.5), (3, 0.8, 1.2), (12, 0.8, 1.8)):
        truth = scene(count, (64, 64))
        mask = mosaic(64, 64) if missing == "mosaic" else at_random(truth.shape, missing)
        together, info = graddesc.restore(truth, mask, channel_axis=0, full_output=True)
        apart = np.stack([graddesc.restore(band, free) for band, free in zip(truth, mask, strict=True)])
        assert rms(apart, truth, mask) > gain * rms(together, truth, mask)
        assert (info.status, info.message) == (0, bands.CoupledSteps.settled_message)
        assert_array_equal(together[~mask], truth[~mask])


def test_stripes_of_one_band_are_told_by_the_others():
    truth, mask = scene(3, (60, 80)), np.zeros((3, 60, 80), bool)
    mask[1, :, 10:13] = mask[1, :, 40:44] = mask[1, 20, 20] = True
    together = graddesc.restore(truth, mask, channel_axis=0)
    apart = graddesc.restore(truth[1], mask[1])
    assert rms(apart, truth[1], mask[1]) > 3 * rms(together, truth, mask)
    few = np.zeros((3, 400, 400), bool)
    few[1, 200, 200] = few[2, 10:12, 390:] = True
    image = scene(3, (400, 400))
    assert rms(graddesc.restore(image, few, channel_axis=0), image, few) < 0.02


def test_each_band_may_have_units_of_its_own():
    truth = 2 + scene(3)  # outside of [0, 1], whose images are continued within it
    for count, image in ((3, truth), (6, np.concatenate([truth, truth[::-1] ** 2]))):
        mask = at_random(image.shape, 0.7)
        restored = graddesc.restore(image, mask, channel_axis=0)
        factor = np.array([1000, 1, 7, 5, 1, 2])[:count, np.newaxis, np.newaxis]
        offset = np.array([-7, 3, 1e2, 0, 5, 0])[:count, np.newaxis, np.newaxis]
        scaled = graddesc.restore(factor * image + offset, mask, channel_axis=0)
        assert_allclose((scaled - offset) / factor, restored, rtol=0, atol=1e-7)


def test_order_axes_and_orientation_change_nothing():
    for count in (3, 6):
        image = scene(count)
        mask = at_random(image.shape, 0.7)
        restored = graddesc.restore(image, mask, channel_axis=0)
        order = np.random.default_rng(0).permutation(count)
        assert_allclose(graddesc.restore(image[order], mask[order], channel_axis=0), restored[order], rtol=0, atol=1e-8)
        last = graddesc.restore(np.moveaxis(image, 0, -1), np.moveaxis(mask, 0, -1), channel_axis=-1)
        assert_array_equal(np.moveaxis(last, -1, 0), restored)


@each("count", [3, 6])
def test_threads_levels_and_ways_of_asking_give_the_same_bits(count):
    image = scene(count, (90, 120)).astype(np.float32)
    mask = at_random(image.shape, 0.6)
    restored = graddesc.restore(image, mask, channel_axis=0)
    assert_array_equal(graddesc.restore(image, mask, channel_axis=0, threads=2), restored)
    watched, info = graddesc.restore(image, mask, channel_axis=0, full_output=True, callback=lambda _: None)
    assert_array_equal(watched, restored)
    assert len(info.history) == info.nit
    assert info.fun == pytest.approx(info.history[-1])
    plan = graddesc.Plan(mask, channel_axis=0)
    assert_array_equal(plan(image), restored)
    assert_array_equal(plan(image), restored)
    frames = graddesc.restore(np.stack([image, image[:, ::-1]]), mask, frame_axis=0, channel_axis=1)
    assert_array_equal(frames[0], restored)
    with pytest.MonkeyPatch.context() as patch:
        use_level(_kernels.AVAILABLE[0], patch)
        assert_array_equal(graddesc.restore(image, mask, channel_axis=0), restored)


# ---- limits and bad input ----


def test_one_band_known_whole_one_band_hardly_and_many_bands():
    truth, mask = scene(3), np.zeros((3, 48, 56), bool)
    mask[0] = True
    mask[0, ::4, ::4], mask[1] = False, at_random((48, 56), 0.5)
    restored = graddesc.restore(truth, mask, channel_axis=0)
    assert_array_equal(restored[2], truth[2])
    apart = np.stack([graddesc.restore(band, free) for band, free in zip(truth, mask, strict=True)])
    assert rms(apart, truth, mask) > 1.3 * rms(restored, truth, mask)
    mask[0] = True
    with pytest.raises(ValueError, match="mask must leave at least one pixel known, got none in channel 0"):
        graddesc.restore(truth, mask, channel_axis=0)
    many = scene(200, (12, 16))
    mask = at_random(many.shape, 0.5)
    assert rms(graddesc.restore(many, mask, channel_axis=0), many, mask) < 0.05


def test_flat_bands_and_outliers():
    image = scene(3)
    image[1] = 0.25
    mask = at_random(image.shape)
    assert_array_equal(graddesc.restore(image, mask, channel_axis=0)[1], image[1])
    image = scene(3)
    plain = graddesc.restore(image, mask, channel_axis=0)
    mask[1, 5, 5], image[1, 5, 5] = False, 1e4
    hot = graddesc.restore(image, mask, channel_axis=0)
    far = np.s_[:, 24:, 30:]
    assert rms(hot[far], plain[far]) < 0.005


def test_time_and_callbacks_end_a_run():
    image = scene(3, (500, 500))
    mask = at_random(image.shape, 0.8)
    started = time.perf_counter()
    _, info = graddesc.restore(image, mask, channel_axis=0, full_output=True, max_time=0.0)
    assert info.status == 5
    assert time.perf_counter() - started < 30

    def stop(intermediate_result):
        if intermediate_result.nit == 2:
            raise StopIteration

    _, info = graddesc.restore(image[:, :50], mask[:, :50], channel_axis=0, full_output=True, callback=stop)
    assert (info.status, info.nit) == (99, 2)


def test_ignored_pixels_keep_their_values():
    image, ignore = scene(2), np.zeros((48, 56), bool)
    ignore[:, 28] = True
    mask = at_random(image.shape, 0.3)
    image[:, ignore] = np.nan
    restored = graddesc.restore(image, mask, ignore=ignore, channel_axis=0)
    assert np.isnan(restored[:, ignore]).all()
    assert np.isfinite(restored[:, ~ignore]).all()


def test_confidence_knows_what_bands_tell_each_other():
    truth = 2 + scene(3, (90, 90), grain=0.01)
    mask = at_random(truth.shape, 0.6)
    restored, info = graddesc.restore(truth, mask, channel_axis=0, full_output=True, confidence=True)
    found, expected = rms(restored, truth, mask), float(np.sqrt(np.mean(info.error[mask] ** 2)))
    assert 0.6 < expected / found < 1.7
    assert (info.confidence[~mask] == 1).all()
    assert (info.error[~mask] == 0).all()
    scaled = truth * np.array([1, 1000, 1])[:, np.newaxis, np.newaxis]
    _, large = graddesc.restore(scaled, mask, channel_axis=0, full_output=True, confidence=True)
    assert_allclose(large.error[1], 1000 * info.error[1], rtol=1e-3, atol=1e-9)


def test_tiles_know_the_groups_and_units_of_the_whole():
    truth = np.stack([*scene(3, (160, 200)), 30 * other((160, 200))])
    mask = at_random(truth.shape, 0.6)
    whole = graddesc.restore(truth, mask, channel_axis=0)
    tiles = graddesc.tiling.restore(truth, mask, channel_axis=0, tile=64)
    assert rms(tiles[:3], whole[:3], mask[:3]) < 0.3 * rms(whole[:3], truth[:3], mask[:3])
    alone = graddesc.tiling.restore(truth[3], mask[3], tile=64)
    assert_array_equal(tiles[3], alone)
