"""The loss "texture" as a function of an image."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from graddesc import losses


@pytest.mark.parametrize("shape", [(40, 37), (24, 24), (9, 30), (1, 5), (1, 1)], ids=str)
def test_gradient_is_the_difference_quotient_of_the_value(shape):
    x, loss, h = np.random.default_rng(0).random(shape), losses.TextureAdaptive(noise=0.1), 1e-4
    gradient = loss.gradient(x)
    for i, j in [(0, 0), (shape[0] - 1, shape[1] // 2), (shape[0] // 2, shape[1] - 1)]:
        quotient = 0.0
        for offset, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            moved = x.copy()
            moved[i, j] += offset * h
            quotient += weight * loss.value(moved) / (12 * h)
        assert_allclose(gradient[i, j], quotient, rtol=1e-6, atol=1e-6)


def test_values_by_hand():
    loss = losses.TextureAdaptive(noise=0.5)
    assert loss.value(np.full((30, 30), 0.4)) == pytest.approx(0, abs=1e-20)
    # Two pixels, of one window: 1 and -1 about their mean, with the taper 1/2 at each.
    x = np.array([[0.0, 2.0], [0.0, 2.0]])
    k = 2 * np.pi * np.arange(32) / 32
    power = 0.5 * np.outer(np.abs(1 + np.exp(-1j * k)) ** 2, np.abs(1 - np.exp(-1j * k)) ** 2) / 2
    assert_allclose(loss.value(x), np.log1p(power / 0.25).sum() / 2)


def test_out_and_dtypes(dtype):
    loss, x = losses.TextureAdaptive(), np.random.default_rng(0).random((30, 31)).astype(dtype)
    out = np.full((31, 30), np.nan, dtype).T
    value, gradient = loss.value_and_gradient(x, out)
    assert gradient is out
    assert value == loss.value(x)
    assert_array_equal(out, loss.gradient(x))


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="noise must be a finite number of at least 1e-15, got 0"):
        losses.TextureAdaptive(noise=0)
    with pytest.raises(TypeError, match="edge must be an EdgeAligned, got 'edge'"):
        losses.TextureAdaptive(edge="edge")
    with pytest.raises(TypeError, match=r"seed must be an integer, got 0\.5"):
        losses.TextureAdaptive(seed=0.5)
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        losses.TextureAdaptive(seed=-1)
