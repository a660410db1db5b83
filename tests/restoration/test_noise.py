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
