"""restore(noise=...) of volumes: known voxels that are noisy, and change."""

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_allclose, assert_array_equal

import graddesc
from graddesc import Plan, losses, restore
from graddesc.restoration import volume_noise

LOSSES = ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"]
SHAPE = 12, 14, 17


def truth():
    planes, rows, cols = np.mgrid[tuple(slice(side) for side in SHAPE)]
    return 0.5 + 0.3 * np.sin(rows / 6) * np.cos(cols / 8 + planes / 9) + 0.15 * (2 * planes + rows + cols > 27)


def noisy(sigma, known=0.5, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random(SHAPE) >= known
    return truth() + sigma * rng.standard_normal(SHAPE), mask


def rms(volume):
    return float(np.sqrt(np.mean((volume - truth()) ** 2)))


@each("loss", LOSSES)
@pytest.mark.once
def test_noise_goes_from_known_and_from_missing_voxels(loss):
    for known, share in ((1.0, 0.6), (0.4, 0.75)):
        volume, mask = noisy(0.1, known)
        kept = restore(volume, mask, loss=loss)
        restored, info = restore(volume, mask, loss=loss, noise=0.1, full_output=True)
        assert rms(restored) < share * rms(kept)
        assert info.success
        assert "balance" in info.message
        assert info.fun == info.history[-1] > 0


@each("loss", LOSSES)
@pytest.mark.once
def test_no_noise_is_none(loss):
    volume, mask = noisy(0.1)
    expected, told = restore(volume, mask, loss=loss, full_output=True)
    for noise in (0, np.zeros(SHAPE), np.where(mask, np.inf, 0), np.where(mask, 3.0, 0)):
        restored, info = restore(volume, mask, loss=loss, noise=noise, huber=True, full_output=True)
        assert_array_equal(restored, expected)
        assert info.message == told.message


@each("loss", LOSSES)
@pytest.mark.once
def test_exact_voxels_stay_to_the_bit_and_infinite_ones_are_corrupt(loss):
    volume, mask = noisy(0.1)
    noise = np.full(SHAPE, 0.1)
    noise[:, ::3] = 0
    noise[..., 13:] = np.inf
    restored = restore(volume, mask, loss=loss, noise=noise)
    exact = ~mask & (noise == 0)
    assert_array_equal(restored[exact], volume[exact])
    assert (restored[~exact] != volume[~exact]).all()
    assert_array_equal(restore(volume, noise=np.where(mask, np.inf, noise), loss=loss), restored)
    told = np.where(mask | np.isinf(noise), np.nan, volume)
    assert_array_equal(restore(told, loss=loss, noise=np.where(np.isinf(noise), 0.1, noise)), restored)


@each("loss", LOSSES)
@pytest.mark.once
def test_units_maps_plans_threads_and_turning_do_not_matter(loss):
    volume, mask = noisy(0.1)
    expected = restore(volume, mask, loss=loss, noise=0.1)
    assert_array_equal(Plan(mask, loss=loss)(volume, noise=np.full(SHAPE, 0.1)), expected)
    assert_array_equal(restore(volume, mask, loss=loss, noise=0.1, threads=2), expected)
    frames = restore(np.stack([volume, volume]), mask, loss=loss, noise=0.1, frame_axis=0, spacing=(1, 1, 1))
    assert_array_equal(frames[1], expected)
    turned = restore(volume.transpose(2, 0, 1), mask.transpose(2, 0, 1), loss=loss, noise=0.1).transpose(1, 2, 0)
    assert_allclose(turned, expected, atol=1e-3)
    single = restore(volume.astype(np.float32), mask, loss=loss, noise=0.1)
    assert_allclose(single, expected, atol=2e-3)
    free = {"bounds": (None, None), "loss": loss}
    expected = restore(volume, mask, noise=0.1, **free)
    for scale, offset in ((250.0, 40.0), (1e200, 0.0)):
        restored = restore(scale * volume + offset, mask, noise=scale * 0.1, **free)
        assert_allclose((restored - offset) / scale, expected, atol=1e-6)


@each("loss", LOSSES)
@pytest.mark.once
def test_little_noise_is_nearly_none_and_much_leaves_something_smooth(loss):
    volume, mask = noisy(0.05)
    exact = restore(volume, mask, loss=loss)
    for noise in (1e-30, 1e-6):
        restored = restore(volume, mask, loss=loss, noise=noise)
        assert_allclose(restored[~mask], volume[~mask], rtol=0, atol=1e-5)
        assert np.sqrt(np.mean((restored - exact)[mask] ** 2)) < 0.02
    for noise in (3.0, 1e30):
        restored, info = restore(volume, mask, loss=loss, noise=noise, full_output=True)
        assert np.isfinite(restored).all()
        assert info.success
        assert np.abs(np.diff(restored, axis=0)).max() < 0.05


@each("loss", LOSSES)
@pytest.mark.once
def test_small_volumes_and_few_known_voxels(loss):
    rng = np.random.default_rng(7)
    for shape in [(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 3, 3), (1, 1, 40), (40, 1, 1), (2, 5, 200)]:
        volume = rng.random(shape)
        assert np.isfinite(restore(volume, noise=0.1, loss=loss)).all()
        mask = np.arange(volume.size).reshape(shape) > 0
        if mask.any():
            restored = restore(np.where(mask, np.nan, volume), noise=0.1, loss=loss)
            assert_allclose(restored, np.full(shape, volume.flat[0]), atol=1e-6)
    flat = np.full((10, 11, 12), 0.25)
    assert_allclose(restore(flat, noise=0.1, loss=loss), flat, atol=1e-9)
    # A picture whose pixels are no squares is a volume of one plane, of channels as well.
    image = 0.5 + 0.1 * rng.standard_normal((2, 30, 31))
    deviations = np.stack([np.full((30, 31), 0.1), np.full((30, 31), 0.2)])
    restored = restore(image, noise=deviations, loss=loss, spacing=(1, 2), channel_axis=0)
    assert np.std(restored) < 0.06


@each("loss", LOSSES)
@pytest.mark.once
def test_channels_with_masks_and_deviations_of_their_own(loss):
    volume, mask = noisy(0.1)
    other, second = noisy(0.05, seed=3)
    volumes, masks = np.stack([volume, other]), np.stack([mask, second])
    deviations = np.stack([np.full(SHAPE, 0.1), np.full(SHAPE, 0.05)])
    for given, noise in ((masks, deviations), (mask, 0.1)):
        restored = restore(volumes, given, noise=noise, loss=loss, channel_axis=0, spacing=(1, 1, 1))
        kept = restore(volumes, given, loss=loss, channel_axis=0, spacing=(1, 1, 1))
        assert rms(restored[0]) < 0.85 * rms(kept[0])


@each("loss", LOSSES)
@pytest.mark.once
def test_deviations_of_channels_have_any_axis(loss):
    volumes, masks = np.stack([noisy(0.1)[0], noisy(0.1, seed=3)[0]]), noisy(0.1)[1]
    deviations = 0.1 + 0.05 * np.random.default_rng(6).random(volumes.shape)
    settings = {"loss": loss, "spacing": (1, 1, 1), "max_iter": 3}
    expected = restore(volumes, masks, noise=deviations, channel_axis=0, **settings)
    for axis in (1, 2, 3):
        given, noise = np.moveaxis(volumes, 0, axis), np.moveaxis(deviations, 0, axis)
        for some in (noise, np.ascontiguousarray(noise)):
            restored = restore(given, masks, noise=some, channel_axis=axis, **settings)
            assert_array_equal(np.moveaxis(restored, axis, 0), expected)


@each("loss", ["biharmonic", "edge"])
@pytest.mark.once
def test_outliers_pull_less_with_huber(loss):
    volume, mask = noisy(0.05, 0.8)
    hit = np.random.default_rng(8).random(SHAPE) < 0.01
    clean = rms(restore(volume, mask, loss=loss, noise=0.05, huber=True))
    for far in (1.5, -1e6):
        volume[hit] = far
        squares, robust, same = (rms(restore(volume, mask, loss=loss, noise=0.05, huber=h)) for h in (False, True, 2))
        assert robust == same
        assert robust < min(2 * clean, 0.8 * squares)


@each("loss", ["tv", "edge"])
def test_the_run_can_be_watched_and_stopped(loss):
    volume, mask = noisy(0.1)
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 4:
            raise StopIteration

    restored, info = restore(volume, mask, noise=0.1, loss=loss, callback=callback, full_output=True)
    assert (info.status, info.nit, len(info.history)) == (99, 4, 4)
    assert_array_equal(seen[-1].x, restored)
    assert info.history[-1] == info.fun == seen[-1].fun
    assert restore(volume, mask, noise=0.1, loss=loss, max_iter=3, full_output=True)[1].status == 1
    assert restore(volume, mask, noise=0.1, loss=loss, max_time=0.0, full_output=True)[1].status == 5
    for init in ("nearest", "image", np.zeros(SHAPE)):
        assert rms(restore(volume, mask, noise=0.1, loss=loss, init=init, tol=0.05)) < 0.08
    bounded = restore(volume, mask, noise=0.1, loss=loss, bounds=(0.4, 0.6))
    assert bounded.min() >= 0.4
    assert bounded.max() <= 0.6


@each("loss", ["biharmonic", "edge"])
def test_the_expected_error_is_about_what_it_is(loss):
    volume, mask = noisy(0.1)
    restored, info = restore(volume, mask, noise=0.1, loss=loss, full_output=True, confidence=True)
    assert info.error.shape == info.confidence.shape == SHAPE
    for where in (mask, ~mask):
        told = np.sqrt(np.mean(info.error[where] ** 2))
        assert 0.6 < np.sqrt(np.mean((restored - truth())[where] ** 2)) / told < 1.7


def test_finding_the_balance_looks_up_between_planes(monkeypatch):
    rng, bits, terms = np.random.default_rng(4), set(), []
    shape, spacing = (13, 14, 18), (1.0, 1.0, 1.0)
    data, densities = rng.random((2, *shape)), rng.random(shape)
    x, free = rng.random((2, *shape)), np.ones((2, *shape), np.uint8)
    measured = volume_noise.Measured(data, 100 * rng.random((2, *shape)) * (rng.random((2, *shape)) < 0.6))
    for at_once in (10**9, 600):  # all planes, or two
        monkeypatch.setattr(volume_noise, "_AT_ONCE", at_once)
        monkeypatch.setattr(losses.volumes, "_SPANS_AT_ONCE", at_once)
        balance = volume_noise.Balance(losses.by_name("edge"), measured, spacing, 2.0, 1)
        works = []
        for _ in range(2):
            works += balance.find(densities)
            parts = balance.weights(x)
            while True:
                try:
                    works.append(next(parts))
                except StopIteration as end:
                    weights = end.value
                    break
        assert min(works) > 0
        assert max(works) <= 8 * at_once
        assert (len(works) > 30) == (at_once == 600)
        terms.append(balance.data_term(x, free))
        bits.add(weights.tobytes())
    assert len(bits) == 1
    assert terms[0] == pytest.approx(terms[1], rel=1e-12)


def test_bad_noise():
    volume, mask = noisy(0.1)
    for settings, message in (
        ({"noise": -1}, "noise must be a number, or an array of numbers, that are not negative, got -1"),
        ({"noise": np.ones((3, 4, 5))}, r"noise must be a number or have shape \(12, 14, 17\), got shape \(3, 4, 5\)"),
        ({"noise": 0.1, "step": graddesc.Constant(0.1)}, "noise must not be given with step"),
        ({"noise": 0.1, "ignore": np.arange(SHAPE[2]) + 0 * volume > 14}, "noise must not be given with ignore"),
    ):
        with pytest.raises(ValueError, match=message):
            restore(volume, mask, **settings)
