"""restore(noise=...): known pixels that are noisy, and change."""

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_allclose, assert_array_equal

import graddesc
from graddesc import Plan, restore

LOSSES = ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"]
SHAPE = 48, 61


def truth():
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 0.5 + 0.3 * np.sin(rows / 9) * np.cos(cols / 11) + 0.15 * (3 * rows + cols > 100)


def noisy(sigma, known=0.5, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random(SHAPE) >= known
    return truth() + sigma * rng.standard_normal(SHAPE), mask


def rms(image):
    return float(np.sqrt(np.mean((image - truth()) ** 2)))


@each("loss", LOSSES)
@pytest.mark.once
def test_noise_goes_from_known_and_from_missing_pixels(loss):
    for known, share in ((1.0, 0.5), (0.4, 0.65)):
        image, mask = noisy(0.1, known)
        kept = restore(image, mask, loss=loss)
        restored, info = restore(image, mask, loss=loss, noise=0.1, full_output=True)
        assert rms(restored) < share * rms(kept)
        assert info.success
        assert "balance" in info.message
        assert info.fun == info.history[-1] > 0


@each("loss", LOSSES)
@pytest.mark.once
def test_no_noise_is_none(loss):
    image, mask = noisy(0.1)
    for dtype in (np.float32, np.uint8):
        given = np.rint(200 * image).astype(dtype) if dtype == np.uint8 else image.astype(dtype)
        expected, told = restore(given, mask, loss=loss, full_output=True)
        for noise in (0, 0.0, np.float32(0), np.zeros(SHAPE), np.where(mask, np.inf, 0), np.where(mask, 3.0, 0)):
            restored, info = restore(given, mask, loss=loss, noise=noise, huber=True, full_output=True)
            assert_array_equal(restored, expected)
            assert_array_equal(info.history, told.history)
            assert info.message == told.message


@each("loss", LOSSES)
@pytest.mark.once
def test_exact_pixels_stay_to_the_bit_and_infinite_ones_are_corrupt(loss):
    image, mask = noisy(0.1)
    noise = np.full(SHAPE, 0.1)
    noise[::3] = 0
    noise[:, 40:] = np.inf
    restored = restore(image, mask, loss=loss, noise=noise)
    exact = ~mask & (noise == 0)
    assert_array_equal(restored[exact], image[exact])
    assert (restored[~exact] != image[~exact]).all()
    assert_array_equal(restore(image, noise=np.where(mask, np.inf, noise), loss=loss), restored)
    told = np.where(mask | np.isinf(noise), np.nan, image)
    assert_array_equal(restore(told, loss=loss, noise=np.where(np.isinf(noise), 0.1, noise)), restored)


@each("loss", LOSSES)
@pytest.mark.once
def test_a_map_that_is_one_number_is_that_number(loss):
    image, mask = noisy(0.1)
    expected = restore(image, mask, loss=loss, noise=0.1)
    for noise in (np.full(SHAPE, 0.1), np.full((*SHAPE, 1), 0.1)):
        assert_array_equal(restore(image, mask, loss=loss, noise=noise), expected)
    assert_array_equal(Plan(mask, loss=loss)(image, noise=0.1), expected)


@each("loss", LOSSES)
@pytest.mark.once
def test_units_do_not_matter(loss):
    image, mask = noisy(0.1)
    expected = restore(image, mask, loss=loss, noise=0.1, bounds=(None, None))
    for scale, offset in ((1e-4, 0), (250.0, 40.0), (-3.0, 1.0), (1e200, 0.0)):
        restored = restore(scale * image + offset, mask, loss=loss, noise=abs(scale) * 0.1, bounds=(None, None))
        assert_allclose((restored - offset) / scale, expected, atol=1e-7)


@each("loss", LOSSES)
@pytest.mark.once
def test_turning_and_the_dtype_do_not_matter(loss):
    image, mask = noisy(0.1)
    expected = restore(image, mask, loss=loss, noise=0.1)
    assert_allclose(restore(image.T, mask.T, loss=loss, noise=0.1).T, expected, atol=1e-12)
    single = restore(image.astype(np.float32), mask, loss=loss, noise=0.1)
    assert_allclose(single, expected, atol=1e-4)
    integers = np.rint(1e4 * image).astype(">i4")
    restored = restore(integers, mask, loss=loss, noise=1e3)
    assert restored.dtype == integers.dtype
    assert_allclose(restored / 1e4, expected, atol=1e-3)
    for threads in (2, 3):
        assert_array_equal(restore(image, mask, loss=loss, noise=0.1, threads=threads), expected)


@each("loss", LOSSES)
@pytest.mark.once
def test_little_noise_is_nearly_none_and_much_leaves_something_smooth(loss):
    image, mask = noisy(0.05)
    exact = restore(image, mask, loss=loss)
    for dtype in (np.float32, np.float64):
        given = image.astype(dtype)
        for noise in (1e-30, 1e-8, 1e-5):
            restored = restore(given, mask, loss=loss, noise=noise)
            assert_allclose(restored[~mask], given[~mask], rtol=0, atol=max(noise, 1e-6))
            assert np.sqrt(np.mean((restored - exact)[mask] ** 2)) < 0.01
        for noise in (3.0, 1e3, 1e30):
            restored, info = restore(given, mask, loss=loss, noise=noise, full_output=True)
            assert np.isfinite(restored).all()
            assert info.success
            assert np.abs(np.diff(restored, axis=0)).max() < 0.05


@each("loss", LOSSES)
@pytest.mark.once
def test_small_images_and_few_known_pixels(loss):
    rng = np.random.default_rng(7)
    for shape in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (1, 40), (40, 1), (5, 200)]:
        image = rng.random(shape)
        assert np.isfinite(restore(image, noise=0.1, loss=loss)).all()
        mask = np.arange(image.size).reshape(shape) > 0
        if mask.any():
            restored = restore(np.where(mask, np.nan, image), noise=0.1, loss=loss)
            assert_allclose(restored, np.full(shape, image[0, 0]), atol=1e-9)
    flat = np.full((30, 31), 0.25)
    assert_allclose(restore(flat, noise=0.1, loss=loss), flat, atol=1e-12)
    grains = restore(0.5 + 0.1 * rng.standard_normal((80, 80)), noise=0.1, loss=loss)
    assert np.std(grains) < 0.015


@each("loss", ["biharmonic", "edge"])
@pytest.mark.once
def test_outliers_pull_less_with_huber(loss):
    image, mask = noisy(0.05, 0.8)
    hit = np.random.default_rng(8).random(SHAPE) < 0.01
    clean = rms(restore(image, mask, loss=loss, noise=0.05, huber=True))
    for far in (1.5, 50.0, -1e6):
        image[hit] = far
        squares, robust, same = (rms(restore(image, mask, loss=loss, noise=0.05, huber=h)) for h in (False, True, 2))
        assert robust == same
        assert robust < min(1.8 * clean, 0.7 * squares)


def test_the_run_can_be_watched_and_stopped():
    image, mask = noisy(0.1)
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 7:
            raise StopIteration

    restored, info = restore(image, mask, noise=0.1, callback=callback, full_output=True)
    assert (info.status, info.nit, len(info.history)) == (99, 7, 7)
    assert_array_equal(seen[-1].x, restored)
    assert info.history[-1] == info.fun == seen[-1].fun
    assert restore(image, mask, noise=0.1, max_iter=3, full_output=True)[1].status == 1
    assert restore(image, mask, noise=0.1, max_time=0.0, full_output=True)[1].status == 5
    out = np.empty_like(image)
    assert restore(image, mask, noise=0.1, out=out) is out
    assert_array_equal(out, restore(image, mask, noise=0.1))
    # The start of missing pixels may be given; known ones start from what was measured.
    for init in ("nearest", "image", np.zeros(SHAPE)):
        assert rms(restore(image, mask, noise=0.1, init=init, tol=0.05)) < 0.05


def test_bounds_hold_for_all_that_moves():
    image, mask = noisy(0.1)
    noise = np.full(SHAPE, 0.1)
    noise[:, :5] = 0
    restored = restore(image, mask, noise=noise, bounds=(0.4, 0.6))
    moved = mask | (noise > 0)
    assert restored[moved].min() >= 0.4
    assert restored[moved].max() <= 0.6
    assert_array_equal(restored[~moved], image[~moved])


def test_integers_without_a_mask_are_noisy_and_not_corrupt():
    image = np.clip(np.rint(255 * noisy(0.1)[0]), 0, 255).astype(np.uint8)
    image[3, 4:9] = 0, 255, 0, 255, 0
    restored = restore(image, noise=25.5)  # without a warning
    assert rms(restored / 255) < 0.05


@pytest.mark.parametrize(
    ("noise", "error", "message"),
    [
        (-0.1, ValueError, "noise must be a number, or an array of numbers, that are not negative, got -0.1"),
        (np.nan, ValueError, "not negative, got nan"),
        (np.inf, ValueError, "finite where it is one number, got inf"),
        (np.full(SHAPE, -1.0), ValueError, "not negative, got -1.0"),
        (np.full((3, 4), 0.1), ValueError, r"noise must be a number or have shape \(48, 61\), got shape \(3, 4\)"),
        (0.1j, TypeError, "not negative, got 0.1j"),
        (np.full(SHAPE, 1j), TypeError, "not negative, got an array of complex128"),
        ("auto", TypeError, "not negative, got 'auto'"),
        (None, TypeError, "not negative, got None"),
        (True, TypeError, "not negative, got True"),
        (np.full(SHAPE, np.inf), ValueError, "noise must leave at least one pixel known, got none"),
        (np.ma.masked_equal(np.eye(*SHAPE), 0), TypeError, "got an array of which some are masked"),
    ],
)
def test_what_noise_must_be(noise, error, message):
    with pytest.raises(error, match=message):
        restore(*noisy(0.1), noise=noise)


@pytest.mark.parametrize(
    ("huber", "error"), [(0, ValueError), (-1.0, ValueError), (np.nan, ValueError), ("yes", TypeError)]
)
def test_what_huber_must_be(huber, error):
    with pytest.raises(error, match="huber must be True, False or a positive number, got"):
        restore(*noisy(0.1), noise=0.1, huber=huber)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "line"}, r"noise must not be given with LineSmoothness\(\)"),
        ({"loss": lambda x: (0.0, 0 * x)}, "noise must not be given with a callable loss"),
        ({"step": graddesc.Constant(0.1)}, "noise must not be given with step"),
        ({"ignore": np.eye(*SHAPE)}, "noise must not be given with ignore"),
    ],
)
def test_noise_is_refused_where_known_pixels_cannot_move(settings, message):
    with pytest.raises(ValueError, match=message):
        restore(*noisy(0.1), noise=0.1, **settings)


# ---- frames, tiles, lazy arrays ----


def video():
    """Three frames with noise of their own, and their masks."""
    frames, masks = zip(*(noisy(0.05 * k, seed=k) for k in (1, 2, 3)), strict=True)
    return np.stack(frames), np.stack(masks)


def test_frames_have_noise_in_common_or_of_their_own():
    frames, masks = video()
    own = np.array([0.05, 0.1, 0.15])[:, np.newaxis, np.newaxis] * np.ones(SHAPE)
    for noise, of_frame in ((0.1, lambda k: 0.1), (own[1], lambda k: own[1]), (own, lambda k: own[k])):
        for mask, mask_of in ((masks, lambda k: masks[k]), (masks[0], lambda k: masks[0])):
            together = restore(frames, mask, noise=noise, frame_axis=0, threads=2)
            for k, frame in enumerate(frames):
                assert_array_equal(together[k], restore(frame, mask_of(k), noise=of_frame(k)))
    last = restore(np.moveaxis(frames, 0, -1), np.moveaxis(masks, 0, -1), noise=np.moveaxis(own, 0, -1), frame_axis=-1)
    assert_array_equal(np.moveaxis(last, -1, 0), restore(frames, masks, noise=own, frame_axis=0))
    with pytest.raises(ValueError, match="frame 1: noise must be a number, or an array of numbers, that are not neg"):
        restore(frames, masks, noise=own * np.array([1, -1, 1])[:, np.newaxis, np.newaxis], frame_axis=0)


def test_channels_share_their_noise_or_have_their_own():
    frames, masks = video()
    image = np.moveaxis(frames, 0, -1)
    own = np.broadcast_to([0.05, 0.1, 0.15], image.shape)
    restored = restore(image, masks[0], noise=own, channel_axis=-1)
    for k, share in enumerate((0.9, 0.7, 0.6)):
        assert rms(restored[..., k]) < share * rms(restore(image[..., k], masks[0]))
    restored = restore(image, np.moveaxis(masks, 0, -1), noise=own, channel_axis=-1)
    for k, share in enumerate((0.9, 0.7, 0.6)):
        assert rms(restored[..., k]) < share * rms(restore(image[..., k], masks[k]))
    # Three times the same is as once.
    grey, mask = noisy(0.1)
    once = restore(grey, mask, noise=0.1)
    thrice = restore(np.stack([grey] * 3), mask, noise=0.1, channel_axis=0)
    assert_allclose(thrice, np.stack([once] * 3), atol=2e-3)


def large():
    rng = np.random.default_rng(5)
    rows, cols = np.mgrid[:200, :170]
    image = 0.5 + 0.3 * np.sin(rows / 19) * np.cos(cols / 23)
    return image, image + 0.1 * rng.standard_normal(image.shape), rng.random(image.shape) < 0.5


def test_tiles_know_of_noise():
    clean, image, mask = large()
    noise = np.where(np.arange(170) < 60, 0.1, 0.1000001) * np.ones(image.shape)
    whole = restore(image, mask, noise=0.1)
    error = np.sqrt(np.mean((whole - clean) ** 2))
    for given in (0.1, noise):
        tiled, info = graddesc.tiling.restore(image, mask, noise=given, tile=64, full_output=True)
        assert info.success
        assert np.sqrt(np.mean((tiled - clean) ** 2)) < 1.1 * error
        assert np.sqrt(np.mean((tiled - whole) ** 2)) < 0.2 * error
    exact = graddesc.tiling.restore(image, mask, noise=np.zeros(image.shape), tile=64)
    assert_array_equal(exact, graddesc.tiling.restore(image, mask, tile=64))
    lost = graddesc.tiling.restore(image, noise=np.where(mask, np.inf, 0.1), tile=64)
    assert_array_equal(lost, graddesc.tiling.restore(image, mask, noise=0.1, tile=64))
    integers = np.rint(1000 * image).astype(np.int16)
    assert (graddesc.tiling.restore(integers, noise=100.0, tile=64) != integers).mean() > 0.9
    for wrong, message in ((np.ones((3, 3)), "noise must be a number or have shape"), (-1, "not negative, got -1")):
        with pytest.raises(ValueError, match=message):
            graddesc.tiling.restore(image, mask, noise=wrong)
    with pytest.raises(ValueError, match="noise must not be given with ignore"):
        graddesc.tiling.restore(image, mask, noise=0.1, ignore=np.eye(200, 170))


def test_lazy_arrays_know_of_noise():
    da = pytest.importorskip("dask.array")
    import graddesc.dask

    _, image, mask = large()
    lazy = da.from_array(image, chunks=(200, 100))
    noise = 0.1 * np.ones(image.shape)
    expected = graddesc.dask.restore(lazy, mask, noise=0.1).compute()
    for given in (noise, da.from_array(noise, chunks=50)):
        assert_array_equal(graddesc.dask.restore(lazy, mask, noise=given).compute(), expected)
    for nothing in (0, np.zeros(noise.shape)):
        exact = graddesc.dask.restore(lazy, mask, noise=nothing).compute()
        assert_array_equal(exact, graddesc.dask.restore(lazy, mask).compute())
    assert np.sqrt(np.mean((expected - restore(image, mask, noise=0.1)) ** 2)) < 0.01
    frames, masks = video()
    stack = da.from_array(frames, chunks=(1, *SHAPE))
    own = np.array([0.05, 0.1, 0.15])[:, np.newaxis, np.newaxis] * np.ones(SHAPE)
    for given in (0.1, own, own[0]):
        found = graddesc.dask.restore(stack, masks, noise=given, huber=True).compute()
        assert_array_equal(found, restore(frames, masks, noise=given, huber=True, frame_axis=0))
    with pytest.raises(ValueError, match="noise must not be given with ignore"):
        graddesc.dask.restore(lazy, mask, noise=0.1, ignore=mask)
    with pytest.raises(TypeError, match="noise must be of numbers, got complex128"):
        graddesc.dask.restore(lazy, mask, noise=1j * noise)
