"""The pictures that the package draws itself."""

import numpy as np
import pytest

from graddesc import masks, samples


@pytest.mark.parametrize("size", [2, 3, 17, 64, 101])
def test_every_size_is_drawn(size):
    picture = samples.ginkgo(size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_the_same_bytes_in_every_call():
    np.testing.assert_array_equal(samples.ginkgo(40), samples.ginkgo(40))


def test_the_same_picture_at_every_size():
    large = samples.ginkgo(256).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    small = samples.ginkgo(64).astype(float)
    assert np.abs(large - small).mean() < 12  # of 255; another picture of these colours differs by 40 and more
    assert np.abs(large - small[:, ::-1]).mean() > 30


def test_a_golden_leaf_lies_on_grey_slate():
    picture = samples.ginkgo(128).astype(float)
    red, green, blue = picture[50, 58]  # on the blade
    assert red > green > 2 * blue
    red, green, blue = picture[:20, :20].mean(axis=(0, 1))  # a corner of the ground
    assert red < green < blue < 128


def test_no_value_is_taken_for_noise():
    assert not masks.detect(samples.ginkgo(128)).any()


@pytest.mark.parametrize("size", [1, 0, -5])
def test_refuses_a_size_too_small(size):
    with pytest.raises(ValueError, match=f"size must be an integer of at least 2, got {size}"):
        samples.ginkgo(size)


@pytest.mark.parametrize("size", [2.5, "64", None])
def test_refuses_a_size_of_the_wrong_kind(size):
    with pytest.raises(TypeError, match="size must be an integer of at least 2, got "):
        samples.ginkgo(size)
