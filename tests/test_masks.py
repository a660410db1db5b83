"""masks.detect and masks.corrupt."""

from fractions import Fraction

import numpy as np
import pytest

from graddesc import masks

DTYPES = [np.uint8, np.uint16, np.float32, np.float64]
HIGH = {np.uint8: 255, np.uint16: 65535, np.float32: 1, np.float64: 1}


def sound(dtype, shape=(40, 50)):
    """An image without extremes."""
    values = np.random.default_rng(3).uniform(0.1, 0.9, shape)
    return (values * HIGH[dtype]).astype(dtype)


class TestDetect:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_extremes_are_corrupt(self, dtype):
        image = sound(dtype, (3, 4))
        image[0, 1], image[2, 3] = 0, HIGH[dtype]
        expected = np.zeros((3, 4), bool)
        expected[0, 1] = expected[2, 3] = True
        mask = masks.detect(image)
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, expected)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_one_nan_makes_nan_the_only_mark(self, dtype):
        image = np.array([[0, np.nan, 1], [0.5, 0.2, 0.3]], dtype)
        np.testing.assert_array_equal(masks.detect(image), [[False, True, False], [False, False, False]])

    def test_floats_beyond_the_unit_interval_are_sound(self):
        image = np.array([[-1.0, 2.0, 255.0, np.nextafter(1, 2), np.nextafter(0, 1)]])
        assert not masks.detect(image).any()

    def test_byte_order_does_not_matter(self):
        image = np.array([[0, 1, 256, 65535]], dtype=">u2")
        np.testing.assert_array_equal(masks.detect(image), [[True, False, False, True]])

    def test_channels_are_judged_by_themselves_or_together(self):
        image = np.array([[[255, 30, 0], [255, 0, 255], [4, 5, 6]]], np.uint8)
        expected = np.array([[[True, False, True], [True, True, True], [False, False, False]]])
        np.testing.assert_array_equal(masks.detect(image), expected)
        together = expected.all(axis=-1, keepdims=True) & np.ones(3, bool)
        np.testing.assert_array_equal(masks.detect(image, channel_axis=-1), together)
        planes = np.moveaxis(image, -1, 0)
        np.testing.assert_array_equal(masks.detect(planes, channel_axis=0), np.moveaxis(together, -1, 0))
        assert masks.detect(image, channel_axis=-1).flags.writeable

    def test_nan_is_judged_by_itself_with_channels_too(self):
        image = np.array([[[0.1, np.nan, 0.2], [1.0, 1.0, 1.0]]])
        np.testing.assert_array_equal(masks.detect(image, channel_axis=-1), np.isnan(image))

    @pytest.mark.parametrize("dtype", [bool, np.int64, np.float16, complex, object, "U1"])
    def test_refuses_other_dtypes(self, dtype):
        with pytest.raises(TypeError, match="image must be uint8, uint16, float32 or float64, got "):
            masks.detect(np.zeros((2, 2), dtype))

    def test_refuses_a_masked_array(self):
        with pytest.raises(TypeError, match="image must be a plain array, got a masked one"):
            masks.detect(np.ma.masked_less(sound(np.uint8), 100))

    @pytest.mark.parametrize("shape", [(4,), (2, 2, 2, 2), ()])
    def test_refuses_other_dimensions(self, shape):
        with pytest.raises(ValueError, match="image must be 2-D or 3-D, got shape "):
            masks.detect(np.zeros(shape))

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3, 3, 0)])
    def test_refuses_an_empty_image(self, shape):
        with pytest.raises(ValueError, match="image must not be empty, got shape "):
            masks.detect(np.zeros(shape))

    @pytest.mark.parametrize("axis", [3, -4])
    def test_refuses_an_axis_out_of_range(self, axis):
        with pytest.raises(ValueError, match=f"channel_axis must be an axis of image, from -3 to 2, got {axis}"):
            masks.detect(np.zeros((2, 2, 3)), channel_axis=axis)

    def test_refuses_an_axis_of_the_wrong_kind(self):
        with pytest.raises(TypeError, match=r"channel_axis must be an integer, got 1\.5"):
            masks.detect(np.zeros((2, 2, 3)), channel_axis=1.5)

    def test_refuses_an_axis_for_a_grey_image(self):
        with pytest.raises(ValueError, match=r"image must be 3-D when channel_axis is given, got shape \(2, 2\)"):
            masks.detect(np.zeros((2, 2)), channel_axis=-1)


class TestCorrupt:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_draws_as_documented(self, dtype):
        image = sound(dtype)
        image.flags.writeable = False
        corrupted, mask = masks.corrupt(image, missing=0.7, rng=5)
        rng = np.random.default_rng(5)
        known = rng.random(image.shape) < 1 - 0.7
        noise = rng.integers(0, 2, image.shape)
        np.testing.assert_array_equal(mask, ~known)
        np.testing.assert_array_equal(corrupted, np.where(known, image, noise * HIGH[dtype]))
        assert corrupted.dtype == image.dtype
        assert mask.dtype == bool

    @pytest.mark.parametrize("axis", [0, 1, 2, -1])
    def test_channels_of_a_pixel_go_together(self, axis):
        grey = sound(np.uint8)
        colour = np.stack([grey, grey // 2 + 1, grey // 3 + 1], axis=axis)
        before = colour.copy()
        corrupted, mask = masks.corrupt(colour, rng=1, channel_axis=axis)
        grey_corrupted, grey_mask = masks.corrupt(grey, rng=1)
        np.testing.assert_array_equal(mask, grey_mask)
        channels = np.moveaxis(corrupted, axis, -1)
        np.testing.assert_array_equal(channels[mask], np.repeat(grey_corrupted[mask][:, None], 3, axis=1))
        np.testing.assert_array_equal(channels[~mask], np.moveaxis(before, axis, -1)[~mask])
        np.testing.assert_array_equal(colour, before)

    def test_detect_finds_what_corrupt_did(self):
        corrupted, mask = masks.corrupt(sound(np.uint16), rng=2)
        np.testing.assert_array_equal(masks.detect(corrupted), mask)

    @pytest.mark.parametrize(("missing", "share"), [(0, 0.0), (1, 1.0)])
    def test_none_and_all(self, missing, share):
        assert masks.corrupt(sound(np.uint8), missing, rng=0)[1].mean() == share

    def test_a_generator_is_used_as_it_stands(self):
        rng = np.random.default_rng(8)
        first, second = masks.corrupt(sound(np.uint8), rng=rng)[1], masks.corrupt(sound(np.uint8), rng=rng)[1]
        assert (first != second).any()
        np.testing.assert_array_equal(first, masks.corrupt(sound(np.uint8), rng=8)[1])

    def test_without_a_seed_every_call_differs(self):
        assert (masks.corrupt(sound(np.uint8))[1] != masks.corrupt(sound(np.uint8))[1]).any()

    @pytest.mark.parametrize("missing", [-0.1, 1.1, float("nan"), float("inf")])
    def test_refuses_a_share_that_is_none(self, missing):
        with pytest.raises(ValueError, match=f"missing must be a number between 0 and 1, got {missing}"):
            masks.corrupt(sound(np.uint8), missing)

    @pytest.mark.parametrize("missing", ["most", "0.5", None])
    def test_refuses_a_share_of_the_wrong_kind(self, missing):
        with pytest.raises(TypeError, match=f"missing must be a number between 0 and 1, got {missing!r}"):
            masks.corrupt(sound(np.uint8), missing)

    @pytest.mark.parametrize("missing", [1, np.float32(1), np.int64(1), Fraction(1)])
    def test_takes_numbers_of_any_kind(self, missing):
        assert masks.corrupt(sound(np.uint8), missing)[1].all()

    @pytest.mark.parametrize(("rng", "error"), [(-1, ValueError), ("a", TypeError), (1.5, TypeError)])
    def test_refuses_another_source_of_randomness(self, rng, error):
        with pytest.raises(error, match=f"rng must be a numpy Generator, a non-negative integer or None, got {rng!r}"):
            masks.corrupt(sound(np.uint8), rng=rng)

    def test_refuses_channels_without_their_axis(self):
        with pytest.raises(
            ValueError, match=r"image must be 2-D, or 3-D with channel_axis, got shape \(4, 4, 3\); give channel_axis"
        ):
            masks.corrupt(np.zeros((4, 4, 3)))
