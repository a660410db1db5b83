"""masks.detect, masks.corrupt and masks.estimate_noise."""

from fractions import Fraction

import numpy as np
import pytest
from cases import each
from scenes import photograph

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
        mask = masks.detect(image, extremes=True)
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, expected)
        integer = np.dtype(dtype).kind == "u"
        np.testing.assert_array_equal(masks.detect(image), expected if integer else np.zeros((3, 4), bool))
        assert not masks.detect(image, extremes=False).any()

    @pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u4", "u8", ">i2"])
    def test_extremes_of_other_integers(self, dtype):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        image = np.array([[low, low + 1, high - 1, high]], dtype)
        np.testing.assert_array_equal(masks.detect(image), [[True, False, False, True]])

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_nan(self, dtype):
        image = np.array([[0, np.nan, 1], [0.5, 0.2, 0.3]], dtype)
        nan = np.array([[False, True, False], [False, False, False]])
        np.testing.assert_array_equal(masks.detect(image), nan)
        np.testing.assert_array_equal(masks.detect(image, extremes=False), nan)
        np.testing.assert_array_equal(masks.detect(image, extremes=True), nan | (image == 0) | (image == 1))

    @pytest.mark.parametrize(
        ("values", "dtype", "nodata", "expected"),
        [
            ([0, 7, -9999], "i2", -9999, [0, 0, 1]),
            ([0, 7, 255], "u1", 255, [0, 0, 1]),
            ([0, 7, 255], "u1", [0, np.uint8(7)], [1, 1, 0]),
            ([0, np.nan, -9999], "f4", -9999, [0, 1, 1]),
            ([1, 2, -3.4028234663852886e38], "f4", -3.4028234663852886e38, [0, 0, 1]),
            ([0.1, 2, 3], "f4", 0.1, [1, 0, 0]),  # as float32 has it
            ([1, np.inf, -np.inf], "f8", (np.inf, -np.inf), [0, 1, 1]),
            ([1, np.nan, 3], "f8", np.nan, [0, 1, 0]),
            ([1, 2**63 - 1, 2**63 - 2], "i8", 2**63 - 1, [0, 1, 0]),
        ],
    )
    def test_nodata(self, values, dtype, nodata, expected):
        image = np.array([values], dtype)
        np.testing.assert_array_equal(masks.detect(image, nodata=nodata), np.array([expected], bool))

    def test_nodata_and_extremes(self):
        image = np.array([[0, 7, 9, 255]], np.uint8)
        found = masks.detect(image, nodata=9, extremes=True)
        np.testing.assert_array_equal(found, [[True, False, True, True]])

    @pytest.mark.parametrize("nodata", [-1, 256, 1.5, np.nan, np.inf, 10**400, Fraction(1, 3)])
    def test_nodata_that_the_dtype_cannot_hold(self, nodata):
        with pytest.raises(ValueError, match="nodata must be a value that uint8 can hold, got "):
            masks.detect(sound(np.uint8), nodata=nodata)

    @pytest.mark.parametrize("nodata", ["9", True, [1, None], 1j])
    def test_nodata_of_the_wrong_kind(self, nodata):
        with pytest.raises(TypeError, match="nodata must be a number, or several, got "):
            masks.detect(sound(np.uint8), nodata=nodata)

    def test_a_masked_array_is_corrupt_where_it_is_masked(self):
        image = sound(np.float32)
        image[3, 4] = np.nan
        masked = np.ma.masked_array(image, mask=image < 0.5)
        np.testing.assert_array_equal(masks.detect(masked), (image < 0.5) | np.isnan(image))

    def test_floats_beyond_the_unit_interval_are_sound(self):
        image = np.array([[-1.0, 2.0, 255.0, np.nextafter(1, 2), np.nextafter(0, 1)]])
        assert not masks.detect(image, extremes=True).any()

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

    @pytest.mark.parametrize("dtype", [bool, complex, object, "U1", np.longdouble, "M8[s]"])
    def test_refuses_other_dtypes(self, dtype):
        with pytest.raises(TypeError, match="image must be of integers or of floats of at most 64 bits, got "):
            masks.detect(np.zeros((2, 2), dtype))

    @pytest.mark.parametrize("shape", [(4,), ()])
    def test_refuses_other_dimensions(self, shape):
        with pytest.raises(ValueError, match="image must have two dimensions or more, got shape "):
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
        with pytest.raises(ValueError, match=r"image must have three dimensions or more with channel_axis, got shape"):
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
        with pytest.raises(ValueError, match=r"image must be told from one with channels, got shape \(20, 20, 3\)"):
            masks.corrupt(np.zeros((20, 20, 3)))
        with pytest.raises(ValueError, match=r"image must be 2-D, or 3-D of a volume, got shape \(4,\)"):
            masks.corrupt(np.zeros(4))

    @pytest.mark.parametrize("channel_axis", [None, 0])
    def test_volumes(self, channel_axis):
        volume = sound(np.uint8, (5, 6, 7) if channel_axis is None else (2, 5, 6, 7))
        corrupted, mask = masks.corrupt(volume, 0.7, rng=4, channel_axis=channel_axis)
        rng = np.random.default_rng(4)
        known, noise = rng.random((5, 6, 7)) < 1 - 0.7, rng.integers(0, 2, (5, 6, 7))
        np.testing.assert_array_equal(mask, ~known)
        np.testing.assert_array_equal(corrupted, np.where(known, volume, 255 * noise.astype(np.uint8)))


def noisy(deviation=10.0, side=128):
    """A photograph of 0 to 255 with noise, float64."""
    return photograph(side) + deviation * np.random.default_rng(4).standard_normal((side, side))


class TestEstimateNoise:
    # The ginkgo is full of texture: more of it is taken for noise than in most photographs.
    @each(
        "deviation, missing, most",
        [(50, 0.9, 1.2), (50, 0, 1.05), (25, 0.9, 1.6), (25, 0, 1.15), (10, 0, 1.5), (3, 0, 3.5), (3, 0.9, 7)],
    )
    @pytest.mark.once
    def test_of_photographs(self, deviation, missing, most):
        image = noisy(deviation)
        mask = masks.corrupt(image, missing, rng=1)[1]
        assert 0.93 < masks.estimate_noise(image, mask) / deviation < most

    def test_of_noise_alone(self):
        rng = np.random.default_rng(2)
        for shape in ((1, 2000), (2000, 1), (60, 50), (16, 17, 18)):
            image = rng.standard_normal(shape)
            for missing in (0, 0.5):
                known = rng.random(shape) >= missing
                np.testing.assert_allclose(masks.estimate_noise(image, known=known), 1, rtol=0.12)

    def test_a_quadratic_has_none(self):
        i, j, k = np.mgrid[:12, :11, :10]
        known = np.random.default_rng(3).random(i.shape) < 0.7
        plane = i[..., 0] ** 2 - 3.0 * i[..., 0] * j[..., 0] + j[..., 0]
        for offset in (0, 1e6):
            assert masks.estimate_noise(plane + offset, known=known[..., 0]) < 1e-9
            assert masks.estimate_noise(i * k - 2.0 * j**2 + offset, known=known) < 1e-9
        assert masks.estimate_noise(plane**2) > 1
        assert masks.estimate_noise(np.full((20, 20), 7, np.uint8)) == 0

    def test_units_dtype_and_layout(self):
        image = noisy()
        mask = masks.corrupt(image, 0.7, rng=1)[1]
        estimate = masks.estimate_noise(image, mask)
        assert estimate == masks.estimate_noise(image, mask)
        for unit, offset in ((1e-3, 0), (-7, 1000), (1e300, 0), (1e-300, 0)):
            changed = masks.estimate_noise(unit * image + offset, mask)
            np.testing.assert_allclose(changed, abs(unit) * estimate, rtol=1e-9)
        rounded = np.rint(image)
        expected = masks.estimate_noise(rounded, mask)
        for dtype in ("i2", ">i4", "i8", "f2", "f4", ">f8"):
            np.testing.assert_allclose(masks.estimate_noise(rounded.astype(dtype), mask), expected, rtol=1e-12)
        np.testing.assert_allclose(masks.estimate_noise(image.T, mask.T), estimate, rtol=0.1)  # other pixels first
        assert masks.estimate_noise(np.asfortranarray(image), mask[..., np.newaxis]) == estimate
        assert masks.estimate_noise(np.where(mask, np.inf, image), known=~mask) == estimate
        assert masks.estimate_noise(np.where(mask, np.nan, image)) == estimate
        assert masks.estimate_noise(np.ma.array(image, mask=mask)) == estimate

    def test_channels(self):
        image = np.stack([noisy(10), noisy(10)[::-1]])
        mask = np.stack([masks.corrupt(image[0], 0.7, rng=seed)[1] for seed in (1, 2)])
        apart = [masks.estimate_noise(*pair) for pair in zip(image, mask, strict=True)]
        for first, second in ((mask, apart), (mask[0], apart[:1])):
            together = masks.estimate_noise(image, first, channel_axis=0)
            assert 0.9 * min(second) < together < 1.1 * max(second)
            assert together == masks.estimate_noise(
                np.moveaxis(image, 0, -1), first if first.ndim == 2 else np.moveaxis(first, 0, -1), channel_axis=-1
            )

    def test_of_many_pixels_some_are_looked_at(self):
        image = np.random.default_rng(5).standard_normal((1500, 1400)).astype(np.float32)
        np.testing.assert_allclose(masks.estimate_noise(image), 1, rtol=0.05)

    @each(
        "shape, known, error",
        [
            ((4, 3), None, "image must have 13 known pixels or more that have others around, got 0 of 12"),
            ((3, 3, 2), None, "image must have 21 known pixels or more that have others around, got 0 of 18"),
            ((9, 9), np.zeros((9, 9), bool), "got 0 of 0"),
            ((9, 9), np.ones((9, 8), bool), r"known must have shape \(9, 9\), got \(9, 8\)"),
            ((9,), None, r"image must have two or three axes of space, got shape \(9,\)"),
            ((20, 20, 3), None, r"image must be told from one with channels, got shape \(20, 20, 3\)"),
            ((9, 9, 9), np.ones((9, 9), bool), r"known must have shape \(9, 9, 9\), got \(9, 9\)"),
        ],
    )
    def test_refuses_what_it_cannot_judge(self, shape, known, error):
        with pytest.raises(ValueError, match=error):
            masks.estimate_noise(np.ones(shape), known=known)

    def test_refuses_what_is_wrong(self):
        image = noisy(side=32)
        with pytest.raises(ValueError, match="mask and known must not both be given"):
            masks.estimate_noise(image, image > 0, known=image > 0)
        image[3, 4] = np.inf
        with pytest.raises(ValueError, match=r"image must be finite where it is known, got inf \(1 in all\)"):
            masks.estimate_noise(image)
        with pytest.raises(TypeError, match="image must be of integers or of floats"):
            masks.estimate_noise(image > 0)
        with pytest.raises(ValueError, match="channel_axis must be an axis of image"):
            masks.estimate_noise(image, channel_axis=2)
