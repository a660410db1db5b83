"""graddesc.skimage: scikit-image's signatures, scales and ranges, and nearly its values."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skimage import restoration, util

from graddesc import samples
from graddesc.skimage import inpaint_biharmonic, inpaint_harmonic

LEAF = samples.ginkgo(128)[..., 1].copy()
RNG = np.random.default_rng(0)
SCATTERED = RNG.random(LEAF.shape) < 0.3
INNER = np.zeros(LEAF.shape, bool)
INNER[40:52, 60:70] = INNER[20:24, 10:100] = True


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float16, np.float32, np.float64, bool])
def test_scale_and_dtype(dtype):
    image = (LEAF > 99) if dtype is bool else LEAF.astype(dtype)
    if np.dtype(dtype).kind == "f":
        image = (LEAF / 300 - 0.4).astype(dtype)
    expected = restoration.inpaint_biharmonic(image, INNER)
    for function in (inpaint_biharmonic, inpaint_harmonic):
        kept = image.copy()
        result = function(image, INNER)
        assert result.dtype == expected.dtype
        assert_array_equal(result[~INNER], expected[~INNER])
        assert_array_equal(image, kept)
        known = expected[~INNER]
        assert known.min() <= result.min()
        assert result.max() <= known.max()


@pytest.mark.parametrize("mask", [SCATTERED, INNER], ids=["scattered", "inner"])
def test_nearly_its_values(mask):
    image = LEAF / 255
    expected = restoration.inpaint_biharmonic(image, mask)
    difference = (inpaint_biharmonic(image, mask) - expected)[2:-2, 2:-2]
    assert np.sqrt(np.mean(difference[mask[2:-2, 2:-2]] ** 2)) < 2e-4
    assert np.abs(difference).max() < 0.01


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels(axis):
    colour = np.moveaxis(np.stack([LEAF, LEAF[::-1] // 2, LEAF // 3 + 100]), 0, axis)
    expected = restoration.inpaint_biharmonic(colour, INNER, channel_axis=axis)
    result = inpaint_biharmonic(colour, INNER, channel_axis=axis)
    assert result.shape == expected.shape
    assert_allclose(result, expected, atol=2e-3)
    for plane, own in zip(np.moveaxis(result, axis, 0), np.moveaxis(colour, axis, 0), strict=True):
        assert_array_equal(plane, inpaint_biharmonic(own, INNER))


def test_one_dimension_and_other_masks():
    line = np.sin(np.arange(50) / 8)
    mask = np.zeros(50, np.uint8)
    mask[20:24] = 255
    assert_allclose(inpaint_biharmonic(line, mask), restoration.inpaint_biharmonic(line, mask), atol=1e-3)
    expected = inpaint_biharmonic(LEAF, INNER)
    assert_array_equal(inpaint_biharmonic(LEAF, INNER * 1.0, split_into_regions=True), expected)
    assert_array_equal(inpaint_biharmonic(LEAF, INNER & False), util.img_as_float(LEAF))


def test_the_same_signature():
    assert str(inspect.signature(restoration.inpaint_biharmonic)).split(" -> ")[0] == (
        "(image, mask, *, split_into_regions=False, channel_axis=None)"
    )
    parameters = inspect.signature(inpaint_biharmonic).parameters
    assert list(parameters) == ["image", "mask", "split_into_regions", "channel_axis"]
    assert [parameters[name].default for name in ("split_into_regions", "channel_axis")] == [False, None]


@pytest.mark.parametrize(
    ("image", "mask", "settings", "error", "message"),
    [
        (np.ma.masked_array(LEAF), INNER, {}, TypeError, "image must be a plain array, got a masked array"),
        (LEAF, INNER[1:], {}, ValueError, r"mask must have the image's shape \(128, 128\), got \(127, 128\)"),
        (LEAF.astype(complex), INNER, {}, TypeError, "image must be of bool, integers or floats, got complex128"),
        (np.zeros((2, 2, 2, 2)), np.zeros((2, 2, 2, 2)), {}, ValueError, "one to three axes of space, got 4"),
        (LEAF, INNER | True, {}, ValueError, "mask must leave at least one pixel known"),
        (np.where(INNER[::-1], np.nan, 1.0), INNER, {}, ValueError, "image must be finite where it is known"),
        (LEAF, INNER, {"channel_axis": 2}, ValueError, "channel_axis must be an axis of image"),
    ],
)
def test_bad_input(image, mask, settings, error, message):
    with pytest.raises(error, match=message):
        inpaint_biharmonic(image, mask, **settings)


def test_volumes():
    rng = np.random.default_rng(1)
    z, y, x = np.mgrid[:9, :10, :11] / 10
    volume = np.sin(2 * z + y) * np.cos(3 * x)
    mask = rng.random(volume.shape) < 0.3
    for channels, axis in ((volume, None), (np.stack([volume, 1 - volume], axis=-1), -1)):
        restored = inpaint_biharmonic(channels, mask, channel_axis=axis)
        np.testing.assert_array_equal(restored[~mask], channels[~mask])
        assert np.abs(restored - channels)[mask].mean() < 0.003


def test_scikit_image_is_not_imported():
    code = "import sys, numpy, graddesc.skimage as s; s.inpaint_biharmonic(numpy.eye(9), numpy.eye(9) > 0);"
    code += "print('skimage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
