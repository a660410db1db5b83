"""Pull-push interpolation, the start of a restoration."""

import importlib

import numpy as np
import pytest
import reference
from cases import each
from graddesc._kernels import pyramid
from numpy.testing import assert_allclose, assert_array_equal
from shapes import SHAPES

from graddesc import _kernels
from graddesc.restoration.problem import fill_pyramid, fill_pyramid_volume


def incomplete(shape, dtype, missing, seed=0):
    rng = np.random.default_rng(seed)
    x, free = rng.random(shape).astype(dtype), rng.random(shape) < missing
    free.flat[rng.integers(free.size)] = False
    return np.where(free, np.nan, x).astype(dtype), free


@each("missing", [0.0, 0.5, 0.9, 1.0])
@each("shape", [*SHAPES, (40, 61)])
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_slow_twin_agrees(shape, missing, dtype, level):
    x, free = incomplete(shape, dtype, missing)
    expected = reference.pyramid(x.astype(np.float64), free)
    given = x.copy()
    fill_pyramid(x, free.view(np.uint8), 1)
    assert_allclose(x, expected, rtol=1e-5 if dtype == np.float32 else 1e-14)
    assert_array_equal(x[~free], given[~free])


@each("missing", [0.5, 0.95])
@pytest.mark.once
def test_every_level_and_thread_count_gives_the_same_bits(missing, dtype):
    results = set()
    for level in _kernels.AVAILABLE:
        kernel = importlib.import_module(f"graddesc._kernels.pyramid_{level}")
        for threads in (1, 2, 5):
            x, free = incomplete((501, 203), dtype, missing)
            coarse, coarse_free = np.empty((251, 102), dtype), np.empty((251, 102), np.uint8)
            unknown = kernel.pull(x, free.view(np.uint8), threads, coarse, coarse_free)
            assert unknown == coarse_free.sum()
            kernel.push(coarse, free.view(np.uint8), threads, x)
            results.add((coarse.tobytes(), coarse_free.tobytes(), x.tobytes()))
    assert len(results) == 1


def test_constant_stays_constant_and_range_is_kept(dtype):
    x, free = incomplete((37, 50), dtype, 0.97)
    low, high = np.nanmin(x), np.nanmax(x)
    fill_pyramid(x, free.view(np.uint8), 1)
    assert x.min() >= low
    assert x.max() <= high
    x[:] = 0.75
    fill_pyramid(x, free.view(np.uint8), 1)
    assert_array_equal(x, np.full_like(x, 0.75))


def test_kernels_refuse_wrong_shapes():
    kernel = pyramid
    fine, free = np.zeros((5, 6)), np.zeros((5, 6), np.uint8)
    coarse, coarse_free = np.zeros((3, 3)), np.zeros((3, 3), np.uint8)
    for part in (free[:4], free[:, :5]):
        with pytest.raises(ValueError, match="free must have the shape of the fine level"):
            kernel.pull(fine, part.copy(), 1, coarse, coarse_free)
    with pytest.raises(ValueError, match="half the rows"):
        kernel.pull(fine, free, 1, coarse[:2].copy(), coarse_free)
    with pytest.raises(ValueError, match="free_out must have the shape of coarse_out"):
        kernel.pull(fine, free, 1, coarse, coarse_free[:2].copy())
    with pytest.raises(ValueError, match="half the rows"):
        kernel.push(coarse[:, :2].copy(), free, 1, fine)
    with pytest.raises(ValueError, match="must not be empty"):
        kernel.push(np.zeros((3, 0)), np.zeros((5, 0), np.uint8), 1, np.zeros((5, 0)))


VOLUMES = [(1, 1, 1), (2, 2, 2), (1, 7, 40), (9, 1, 1), (5, 6, 7), (12, 17, 33)]


@each("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.2), (1.0, 1.4, 8.0)])
@each("missing", [0.0, 0.5, 0.9, 1.0])
@each("shape", VOLUMES)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_slow_twin_of_volumes_agrees(shape, missing, spacing, dtype, level):
    x, free = incomplete(shape, dtype, missing)
    expected = reference.volume_pyramid(x.astype(np.float64), free, spacing)
    given = x.copy()
    fill_pyramid_volume(x, free.view(np.uint8), spacing, 1)
    assert_allclose(x, expected, rtol=1e-5 if dtype == np.float32 else 1e-14)
    assert_array_equal(x[~free], given[~free])


@pytest.mark.once
def test_every_level_and_thread_count_gives_the_same_bits_of_volumes(dtype):
    results = set()
    for level in _kernels.AVAILABLE:
        kernel = importlib.import_module(f"graddesc._kernels.pyramid_{level}")
        for threads in (1, 2, 5):
            x, free = incomplete((50, 41, 43), dtype, 0.9)
            coarse, coarse_free = np.empty((50, 21, 22), dtype), np.empty((50, 21, 22), np.uint8)
            unknown = kernel.pull_volume(x, free.view(np.uint8), threads, coarse, coarse_free)
            assert unknown == coarse_free.sum()
            kernel.push_volume(coarse, free.view(np.uint8), threads, x)
            results.add((coarse.tobytes(), coarse_free.tobytes(), x.tobytes()))
    assert len(results) == 1


def test_kernels_refuse_wrong_shapes_of_volumes():
    fine, free = np.zeros((4, 5, 6)), np.zeros((4, 5, 6), np.uint8)
    coarse, coarse_free = np.zeros((4, 3, 3)), np.zeros((4, 3, 3), np.uint8)
    with pytest.raises(ValueError, match="free must have the shape of the fine level"):
        pyramid.pull_volume(fine, free[:3].copy(), 1, coarse, coarse_free)
    with pytest.raises(ValueError, match="that of the fine one, or half of it"):
        pyramid.pull_volume(fine, free, 1, coarse[:3].copy(), coarse_free)
    with pytest.raises(ValueError, match="free_out must have the shape of coarse_out"):
        pyramid.pull_volume(fine, free, 1, coarse, coarse_free[:2].copy())
    with pytest.raises(ValueError, match="must not be empty"):
        pyramid.push_volume(coarse[:0].copy(), free[:0].copy(), 1, fine[:0].copy())
