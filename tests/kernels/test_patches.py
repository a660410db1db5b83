"""Similar patches, which polish what "texture" restores: against slow twins."""

import numpy as np
import pytest
import reference
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal

from graddesc import _kernels
from graddesc.restoration import texture

pytestmark = pytest.mark.once


def grid(rows, cols):
    return np.array([0, 3, rows - 12], np.int32), np.array([0, 5, 9, cols - 12], np.int32)


@pytest.mark.parametrize("shape", [(1, 40, 50), (3, 30, 33), (1, 15, 21)])
def test_match_finds_the_nearest(shape):
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    image[:, :, 1:] += image[:, :, :-1]
    tops, lefts = grid(*shape[1:])
    distances = np.empty((3, 4, 8), np.float32)
    places = np.empty((3, 4, 8), np.int32)
    texture._patches.match(image, tops, lefts, 10, 1, np.empty((1, 2 * shape[2]), np.float32), distances, places)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            assert_allclose(
                distances[i, j], reference.similar_patches(image, top, left, 12, 8, 10), rtol=1e-4, atol=1e-5
            )
            assert places[i, j, 0] == top * shape[2] + left
            assert len(set(places[i, j])) == 8


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5])
def test_shrink_is_that_of_the_slow_twin(threshold):
    image = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    places = np.random.default_rng(1).integers(0, 28, (5, 7, 8)) * 50 + 13
    side, _, floats = texture._patches.layout()
    outputs = np.zeros((2, *image.shape), np.float32)
    texture._patches.shrink(
        image, places.astype(np.int32), 5, threshold, 1, np.empty((1, floats), np.float32), *outputs
    )
    assert_allclose(outputs, reference.shrink(image, places, side, threshold), atol=1e-4)


def test_levels_and_threads_give_the_same_bits(monkeypatch):
    image = np.random.default_rng(0).random((1, 300, 90)).astype(np.float32)
    thresholds, results = np.geomspace(0.085, 0.005, 12), []
    for level in _kernels.AVAILABLE:
        use_level(level, monkeypatch)
        for threads in (1, 2, 5):
            rng = np.random.default_rng(0)
            results.append(
                list(texture._polish(image, *[lambda x: x] * 2, thresholds, 4, rng, threads, lambda: None))[-1]
            )
    for result in results[1:]:
        assert_array_equal(result, results[0])
