"""The kernels of "edge" on volumes: each beside its slow twin, and the same bits whatever does the work."""

import importlib

import numpy as np
import pytest
import reference
from cases import each
from graddesc._kernels import volume
from numpy.testing import assert_allclose, assert_array_equal

from graddesc import _kernels
from graddesc.losses import EdgeAligned, volumes

SHAPES = [(1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 9, 40), (7, 1, 5), (4, 5, 6), (3, 37, 33), (9, 8, 17), (3, 4, 270)]
SPACINGS = [(1.0, 1.0, 1.0), (2.5, 1.0, 1.2)]
NUMBERS = (0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)  # of a symmetric matrix, as the kernels have them


def everything(shape):
    return volumes.tiles_of(volumes.occupied(np.ones((1, *shape), np.uint8)), shape[2])


def room(dtype, threads=1):
    return np.empty(volume.workspace(dtype == np.float32, threads), np.uint8)


def weights(shape, rng):
    """Symmetric matrices with eigenvalues between 0 and 1, shape (3, 3, planes, rows, cols)."""
    axes = np.linalg.qr(rng.standard_normal((*shape, 3, 3)))[0]
    return np.einsum("zyxai,zyxi,zyxbi->abzyx", axes, rng.random((*shape, 3)), axes)


def six(m, dtype):
    return np.array([m[a, b] for a, b in NUMBERS]).astype(dtype)


def differences(x):
    found = volumes.NeighbourDifferences()
    found.add(x, np.ones((1, *x.shape[1:]), np.uint8), 1.0, volumes.rows_of(x.shape[1:]), 1)
    return found


def tolerance(dtype):
    return 2e-5 if dtype == np.float32 else 1e-12


@each("shape", SHAPES)
@each("spacing", SPACINGS)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_slow_twin_of_the_gradient_agrees(shape, spacing, dtype, level):
    rng = np.random.default_rng(1)
    x, m = rng.random((2, *shape)).astype(dtype), weights(shape, rng)
    for cells in (0.0, 0.3, 1.0):
        out = np.empty_like(x)
        volume.gradient(x, six(m, dtype), cells, np.array(spacing), everything(shape), 1, room(dtype), out)
        for channel, gradient in zip(x, out, strict=True):
            expected = reference.volume_gradient(channel.astype(float), m, spacing, cells=cells)
            assert_allclose(gradient, expected, atol=tolerance(dtype) * 10)


@each("shape", [(1, 1, 4), (4, 5, 6), (1, 5, 4), (3, 3, 3)])
@each("spacing", SPACINGS)
@pytest.mark.once
def test_steps_are_those_of_the_diagonal(shape, spacing, level):
    rng = np.random.default_rng(2)
    m = weights(shape, rng)
    free = (rng.random((2, *shape)) < 0.6).view(np.uint8)
    for cells in (0.0, 0.4):
        diagonal = np.empty(shape)
        for place in np.ndindex(*shape):
            unit = np.zeros(shape)
            unit[place] = 1
            diagonal[place] = reference.volume_gradient(unit, m, spacing, cells=cells)[place]
        steps = np.full(free.shape, np.nan)
        tiles = everything(shape)
        volume.step_sizes(free, six(m, float), cells, np.array(spacing), 2.4, 0.02, tiles, 1, room(float), steps)
        assert_allclose(steps, free / (2.4 * np.maximum(diagonal, 0.02)), rtol=1e-12)


@each("shape", SHAPES)
@each("spacing", SPACINGS)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_slow_twin_of_a_step_agrees(shape, spacing, dtype, level):
    rng = np.random.default_rng(3)
    x, previous = rng.random((2, 2, *shape)).astype(dtype)
    m, steps = weights(shape, rng), (rng.random((1, *shape)) * 0.3).astype(dtype)
    steps[steps < 0.1] = 0
    out, tiles = np.empty_like(x), everything(shape)
    totals = np.empty((len(tiles), 2, 2))
    volume.accelerate(
        x, previous, steps, 0.6, 0.1, 0.8, 0.25, six(m, dtype), 0.7, np.array(spacing), tiles, 1, room(dtype), totals,
        out,
    )  # fmt: skip
    v = x + 0.6 * (x.astype(float) - previous)
    gradient = np.array([reference.volume_gradient(channel, m, spacing, cells=0.7) for channel in v])
    expected = np.where(steps > 0, np.clip(v - steps * gradient, 0.1, 0.8), x)
    assert_allclose(out, expected, atol=tolerance(dtype) * 10)
    move, back = (np.clip(difference, -0.25, 0.25) for difference in (expected - x, v - expected))
    assert_allclose(totals.sum(axis=(0, 1)), [np.sum(move**2), np.sum(back * move)], rtol=1e-3, atol=1e-5)
    assert_array_equal(out[:, steps[0] == 0], x[:, steps[0] == 0])


@each("shape", SHAPES)
@each("spacing", SPACINGS)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_slow_twin_of_the_weights_agrees(shape, spacing, dtype, level):
    rng = np.random.default_rng(4)
    x = rng.random((2, *shape)).astype(dtype).cumsum(axis=3).astype(dtype) / 8
    least = min((h for side, h in zip(shape, spacing, strict=True) if side > 1), default=1.0)
    spacing = tuple(h / least for h in spacing)
    found = volumes.EdgeWeights(0.02, 0.02, shape, spacing, 1.7, dtype, 1)
    list(found.orient(x, differences(x).share_of_cells))
    m = np.empty((6, *shape), dtype)
    list(found.spread(m))
    even, rough = reference.volume_evenness(x.astype(float)), reference.volume_roughness(x.astype(float))
    cells = np.clip((even - volumes.UNEVEN) / (volumes.EVEN - volumes.UNEVEN), 0, 1)
    cells *= np.clip((volumes.ROUGH - rough) / (volumes.ROUGH - volumes.SMOOTH), 0, 1)
    assert_allclose(found.cells, cells, atol=1e-4 if dtype == np.float32 else 1e-12)
    expected = reference.volume_weights(x.astype(float), spacing, 0.02, 0.35 * 0.02, 1.7, 1 - volumes.SLACK * cells)
    assert_allclose(m, six(expected, float), atol=2e-3 if dtype == np.float32 else 1e-9)
    energy = sum(reference.volume_energy(channel.astype(float), expected, spacing, cells=cells) for channel in x)
    assert_allclose(found.energy(x), energy, rtol=2e-3 if dtype == np.float32 else 1e-9, atol=1e-12)


def test_equal_eigenvalues_and_none_at_all_are_no_trouble(dtype):
    tensor = np.zeros((6, 1, 1, 5), dtype)
    tensor[:3, 0, 0, 1] = 0.3  # a ball
    tensor[:2, 0, 0, 2] = 0.3  # a tube along the columns
    tensor[0, 0, 0, 3] = 1e-30
    tensor[:, 0, 0, 4] = 1e30 if dtype == np.float64 else 1e12
    volume.orient(1e-6, 1.0, volumes.rows_of((1, 1, 5)), 1, tensor)
    assert np.isfinite(tensor).all()
    assert_array_equal(tensor[:, 0, 0, :2], 0)
    assert_allclose(tensor[:, 0, 0, 2], [1, 1, 0, 0, 0, 0], atol=1e-6)


@each("shape", [(1, 1, 1), (5, 6, 7), (20, 33, 49), (9, 17, 257), (3, 70, 16), (130, 9, 33)])
@each("share", [0.0, 0.001, 0.02, 0.3, 1.0])
def test_tiles_hold_all_that_is_free_and_no_two_overlap(shape, share):
    free = (np.random.default_rng(5).random((2, *shape)) < share).view(np.uint8)
    tiles = volumes.tiles_of(volumes.occupied(free), shape[2])
    covered = np.zeros(shape, int)
    for front, back, top, bottom, start, stop in tiles:
        assert free[:, front:back, top:bottom, start:stop].any()
        assert back - front <= 64
        assert bottom - top <= 32
        assert stop - start <= 256
        assert stop in (shape[2], *range(shape[2] - 1))
        covered[front:back, top:bottom, start:stop] += 1
    assert covered.max(initial=0) <= 1
    assert covered[free.any(axis=0)].all()


def test_a_lone_voxel_has_a_small_tile():
    free = np.zeros((1, 20, 30, 40), np.uint8)
    free[0, 9, 21, 17] = 1
    assert_array_equal(volumes.tiles_of(volumes.occupied(free), 40), [[9, 10, 21, 22, 16, 32]])


@each("shape", [(1, 1, 1), (4, 9, 40), (20, 17, 70)])
def test_spans_of_renewals_hold_what_they_read(shape):
    free = (np.random.default_rng(6).random((1, *shape)) < 0.002).view(np.uint8)
    free[0, -1, -1, -1] = 1
    x = np.random.default_rng(7).random((1, *shape)).astype(np.float32)
    everywhere = volumes.EdgeWeights(0.02, 0.002, shape, (1.0, 1.0, 1.0), 2.0, x.dtype, 1)
    some = volumes.EdgeWeights(0.02, 0.002, shape, (1.0, 1.0, 1.0), 2.0, x.dtype, 1, volumes.occupied(free))
    m = np.full((2, 6, *shape), np.nan, np.float32)
    some._raw.fill(np.nan)
    some._tensor.fill(np.nan)
    for found, out in zip((everywhere, some), m, strict=True):
        list(found.orient(x, differences(x).share_of_cells))
        list(found.spread(out))
    for place in np.argwhere(free[0]):
        near = tuple(slice(max(i - 1, 0), i + 2) for i in place)
        assert_array_equal(m[1][:, *near], m[0][:, *near])


@each("shape", [(1, 1, 1), (2, 3, 5), (9, 10, 20), (8, 8, 300)])
def test_slow_twins_of_what_is_known_around_and_of_the_contrast_agree(shape):
    rng = np.random.default_rng(8)
    x, free = rng.random((2, *shape)), (rng.random((2, *shape)) < 0.5).view(np.uint8)
    spans = volumes.rows_of(shape)
    total, count = 0.0, 0
    for place in np.argwhere(free[0]):
        near = free[0][tuple(slice(max(i - 3, 0), i + 4) for i in place)]
        total += np.sum(near == 0) / max(near.size - 1, 1)
        count += 1
    found = volume.known_around(free[0], spans, 1, *volumes.scratch_of(spans))
    assert_allclose(found[0], total, rtol=1e-12)
    assert found[1] == count
    expected = np.zeros((5, 3))
    for axis in range(3):
        windows = np.lib.stride_tricks.sliding_window_view(free, min(3, shape[axis]), axis=axis + 1)
        any_of = windows.any(axis=-1) if shape[axis] > 2 else np.zeros((2, 0))
        clipped = np.clip(np.diff(x, axis=axis + 1), -0.5, 0.5)
        bends = np.diff(clipped, axis=axis + 1).ravel()[any_of.ravel() == 1]
        expected[3:, axis] = np.sum(bends**2), bends.size
        either = np.delete(free, 0, axis + 1) | np.delete(free, -1, axis + 1)
        lengths = np.abs(np.clip(np.diff(x, axis=axis + 1), -0.5, 0.5)[either == 1])
        expected[:3, axis] = lengths.sum(), np.sum(lengths**2), lengths.size
    found = volume.differences(x, free, 0.5, spans, 1, np.empty((len(spans), 15)))
    assert_allclose(np.reshape(found, (5, 3)), expected, rtol=1e-12)
    together = volumes.NeighbourDifferences()
    for some in np.array_split(spans, 2):
        together.add(x, free, 0.5, some, 1)
    lengths, squares, pairs = expected[:3]
    assert_allclose(together.contrast, np.sqrt(squares.sum() / max(pairs.sum(), 1)), rtol=1e-12)
    even = np.sum(lengths**2 / np.maximum(pairs, 1)) / max(squares.sum(), 1e-300)
    assert_allclose(together.evenness, even, rtol=1e-12)


@pytest.mark.once
def test_every_level_and_thread_count_gives_the_same_bits(dtype):
    rng = np.random.default_rng(9)
    shape = (21, 35, 83)
    x = rng.random((2, *shape)).astype(dtype)
    free = (rng.random((1, *shape)) < 0.7).view(np.uint8)
    spacing, everywhere = np.array([2.0, 1.0, 1.0]), volumes.rows_of(shape)
    blocks = volumes.block_shape(shape, tuple(spacing))
    spans, tiles = volumes.rows_of(blocks), everything(shape)
    taps = np.array([0.4, 0.2, 0.1])
    results = set()
    for level in _kernels.AVAILABLE:
        kernel = importlib.import_module(f"graddesc._kernels.volume_{level}")
        for threads in (1, 2, 5):
            tensor, other = np.empty((2, 6, *blocks), dtype)
            m, steps = np.empty((6, *shape), dtype), np.empty(free.shape, dtype)
            out, gradient, totals = np.empty_like(x), np.empty_like(x), np.empty((len(tiles), 2, 2))
            own = room(dtype, threads)
            kernel.tensor(x, 0.02, spacing, spans, threads, tensor)
            for axis in range(3):
                kernel.blur(tensor, taps, axis, spans, threads, other)
                tensor, other = other, tensor
            kernel.orient(0.001, 0.9, spans, threads, tensor)
            kernel.spread(tensor, everywhere, threads, m)
            kernel.step_sizes(free, m, 0.3, spacing, 2.4, 0.02, tiles, threads, own, steps)
            kernel.gradient(x, m, 0.3, spacing, tiles, threads, own, gradient)
            kernel.accelerate(
                x, x[:, ::-1].copy(), steps, 0.5, 0.0, 1.0, 0.3, m, 0.3, spacing, tiles, threads, own, totals, out
            )
            sums = (
                *kernel.differences(x, free, 0.5, everywhere, threads, np.empty((len(everywhere), 15))),
                kernel.known_around(free[0], everywhere, threads, *volumes.scratch_of(everywhere)),
                kernel.energy(x, tensor, 0.3, spacing, everywhere, threads, volumes.scratch_of(everywhere)[0]),
            )
            results.add((*(a.tobytes() for a in (tensor, m, steps, gradient, out, totals)), sums))
    assert len(results) == 1


def test_a_voxel_has_the_same_bits_in_every_tile(dtype):
    rng = np.random.default_rng(10)
    shape = (12, 20, 70)
    x, m = rng.random((1, *shape)).astype(dtype), six(weights(shape, rng), dtype)
    whole, parts = np.empty_like(x), np.empty_like(x)
    spacing = np.ones(3)
    volume.gradient(x, m, 0.5, spacing, everything(shape), 1, room(dtype), whole)
    tiles = [
        (k, k + 4, i, min(i + 7, 20), start, stop)
        for k in range(0, 12, 4)
        for i in range(0, 20, 7)
        for start, stop in ((0, 16), (16, 48), (48, 70))
    ]
    volume.gradient(x, m, 0.5, spacing, np.array(tiles, np.int32), 1, room(dtype), parts)
    assert_array_equal(parts, whole)


def test_bad_arguments():
    shape = (4, 5, 20)
    x, m, free = np.zeros((1, *shape)), np.zeros((6, *shape)), np.zeros((1, *shape), np.uint8)
    tiles, spacing, out = everything(shape), np.ones(3), np.zeros((1, *shape))
    for given, message in [
        ((x, m, 0.0, spacing, tiles, 1, room(float), out[:, :3].copy()), "out must have the shape of x"),
        ((x, m[:5].copy(), 0.0, spacing, tiles, 1, room(float), out), "weights must have six numbers for each voxel"),
        (
            (x, m[:, :3].copy(), 0.0, spacing, tiles, 1, room(float), out),
            "weights must have the planes, rows and columns",
        ),
        ((x, m, 1.1, spacing, tiles, 1, room(float), out), "cells must be from 0 to 1"),
        ((x, m, 0.0, -spacing, tiles, 1, room(float), out), "spacing must be positive"),
        ((x, m, 0.0, spacing[:2].copy(), tiles, 1, room(float), out), "spacing must have three numbers"),
        ((x, m, 0.0, spacing, tiles + np.int32(1), 1, room(float), out), "tiles must lie within the volume"),
        (
            (x, m, 0.0, spacing, np.array([[0, 1, 0, 1, 1, 20]], np.int32), 1, room(float), out),
            "leave none or more than one",
        ),
        ((x, m, 0.0, spacing, tiles, 2, room(float), out), "room must have as many bytes"),
        ((x[:0].copy(), m, 0.0, spacing, tiles, 1, room(float), out[:0].copy()), "x must not be empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            volume.gradient(*given)
    with pytest.raises(ValueError, match="spans must lie within the volume, and start at even columns"):
        volume.known_around(free[0], np.array([[0, 0, 1, 20]], np.int32), 1, *volumes.scratch_of(tiles))
    whole, fits = volumes.rows_of(shape), np.zeros(shape, np.uint8)
    part = whole.copy()
    part[2, 3] -= 1
    for cells, spans, flags, message in (
        (0.0, part, None, "spans must be whole rows"),
        (0.5, whole, fits, "cells must be 0 where fits is given"),
        (1.5, whole, None, "cells must be from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            volume.energy(x, m, cells, spacing, spans, 1, volumes.scratch_of(spans)[0], flags)
    with pytest.raises(ValueError, match="sums must have a number for each part"):
        volume.energy(x, m, 0.0, spacing, whole, 1, np.empty(0))
    with pytest.raises(ValueError, match="each axis of the tensor must be as long as that of x, or half of it"):
        volume.spread(np.zeros((6, 3, 5, 10)), volumes.rows_of(shape), 1, m)
    with pytest.raises(ValueError, match=r"out must have shape \(planes, rows, sectors\)"):
        volume.occupied(free, np.zeros((4, 5, 1), np.uint8))


# ---- voxels that are left out, and noisy ones ----


def some_present(shape, rng):
    return (rng.random(shape) < 0.93).astype(np.uint8)


@each("shape", [(1, 9, 40), (4, 5, 6), (3, 37, 33), (9, 8, 17), (3, 4, 270), (2, 2, 2)])
@each("spacing", SPACINGS)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_slow_twins_beside_what_is_left_out_agree(shape, spacing, dtype, level):
    rng = np.random.default_rng(21)
    x, m, present = rng.random((1, *shape)).astype(dtype), weights(shape, rng), some_present(shape, rng)
    fits, tiles, distances = volumes.fits_of(present), everything(shape), np.array(spacing)
    out, steps = np.empty_like(x), np.empty_like(x)
    hidden = np.where(present, x, 1e3).astype(dtype)
    volume.gradient(hidden, six(m, dtype), 0.0, distances, tiles, 1, room(dtype), out, fits)
    expected = reference.volume_gradient(x[0].astype(float), m, spacing, present)
    assert_allclose(out[0], expected, atol=tolerance(dtype) * 10)
    assert not out[0][present == 0].any()
    free = np.ones((1, *shape), np.uint8)
    volume.step_sizes(free, six(m, dtype), 0.0, distances, 2.4, 0.02, tiles, 1, room(dtype), steps, fits)
    for place in rng.integers(0, shape, (8, 3)):
        unit = np.zeros(shape)
        unit[tuple(place)] = 1
        diagonal = reference.volume_gradient(unit, m, spacing, present)[tuple(place)]
        assert_allclose(steps[0][tuple(place)], 1 / (2.4 * max(diagonal, 0.02)), rtol=tolerance(dtype) * 10)


@each("shape", [(1, 9, 40), (4, 5, 6), (9, 8, 17), (1, 1, 1)])
@each("spacing", SPACINGS)
@pytest.mark.once
def test_energies_and_weights_beside_what_is_left_out(shape, spacing):
    rng = np.random.default_rng(22)
    x, present = 0.1 * (rng.random((2, *shape)) < 0.2), some_present(shape, rng)  # uneven: no share for the cells
    present.flat[0] = 1
    loss = EdgeAligned()
    found = volumes.EdgeWeights(0.02, 0.002, shape, spacing, 1.5, x.dtype, 1, present=present)
    list(found.orient(np.where(present, x, 1e3), 0.0))
    m = np.empty((6, *shape))
    list(found.spread(m))
    square = np.empty((3, 3, *shape))
    for number, (a, b) in enumerate(NUMBERS):
        square[a, b] = square[b, a] = m[number]
    expected = sum(reference.volume_energy(channel, square, spacing, present) for channel in x)
    assert_allclose(found.energy(np.where(present, x, 1e3)), expected, rtol=1e-10, atol=1e-20)
    # With nothing left out the tensor is that of the whole volume.
    all_of = volumes.EdgeWeights(0.02, 0.002, shape, spacing, 1.5, x.dtype, 1, present=np.ones(shape, np.uint8))
    list(all_of.orient(x, 0.0))
    whole = volumes.EdgeWeights(0.02, 0.002, shape, spacing, 1.5, x.dtype, 1)
    list(whole.orient(x, 0.0))
    assert_allclose(all_of.energy(x), whole.energy(x), rtol=1e-9, atol=1e-20)
    densities = np.empty(shape)
    list(whole.densities(x, densities))
    assert_allclose(2 * densities.sum(), whole.energy(x), rtol=1e-12, atol=1e-20)
    assert loss.volume_energy(x, spacing, 1, np.ones(shape, np.uint8)) == pytest.approx(
        loss.volume_energy(x, spacing, 1), rel=1e-9, abs=1e-20
    )


def test_what_is_on_the_other_side_of_a_wall_turns_no_tensor():
    shape = (6, 8, 21)
    z, y, x = np.mgrid[:6, :8, :21]
    wall = x == 10
    sides = np.where(x < 10, 0.2, 0.9) + 0 * (z + y)
    weights_of = volumes.EdgeWeights(
        0.02, 0.002, shape, (1.0, 1.0, 1.0), 2.2, float, 1, present=(~wall).astype(np.uint8)
    )
    list(weights_of.orient(np.where(wall, 0.0, sides)[np.newaxis], 0.0))
    m = np.empty((6, *shape))
    list(weights_of.spread(m))
    assert np.abs(m).max() < 1e-12


@each("shape", [(1, 9, 40), (4, 5, 6), (3, 37, 33), (3, 4, 270)])
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_a_step_is_pulled_to_what_was_measured(shape, dtype, level):
    rng = np.random.default_rng(23)
    x, previous, data = rng.random((3, 2, *shape)).astype(dtype)
    m, steps, pull = weights(shape, rng), *(rng.random((2, 1, *shape)) * 0.3).astype(dtype)
    out, tiles, spacing = np.empty_like(x), everything(shape), SPACINGS[1]
    totals = np.empty((len(tiles), 2, 2))
    volume.accelerate(
        x, previous, steps, 0.6, 0.1, 0.8, 0.25, six(m, dtype), 0.0, np.array(spacing), tiles, 1, room(dtype), totals,
        out, None, data, pull,
    )  # fmt: skip
    v = x + 0.6 * (x.astype(float) - previous)
    gradient = np.array([reference.volume_gradient(channel, m, spacing) for channel in v])
    expected = np.where(steps > 0, np.clip(v - steps * gradient - pull * (v - data), 0.1, 0.8), x)
    assert_allclose(out, expected, atol=tolerance(dtype) * 10)


# ---- the loss ----


@each("shape, spacing", [((5, 6, 7), None), ((1, 5, 8), 2.0), ((6, 5), (1, 3)), ((4, 9, 5), (2, 1, 1.7))])
def test_gradient_is_that_of_the_energy_with_its_weights_fixed(shape, spacing):
    rng = np.random.default_rng(11)
    loss = EdgeAligned()
    x, direction = rng.random(shape) * 0.1, rng.standard_normal(shape)
    gradient = loss.gradient(x, spacing=spacing)
    distances = np.broadcast_to(1.0 if spacing is None else spacing, len(shape))
    distances = (1.0,) * (3 - len(shape)) + tuple(float(h) for h in distances)
    whole = (1, *((1,) * (3 - len(shape))), *shape)
    fixed = volumes.EdgeWeights(loss.contrast, loss.edge_strength, whole[1:], distances, volumes.SPREAD, x.dtype, 1)
    list(fixed.orient(x.reshape(whole), differences(x.reshape(whole)).share_of_cells))
    assert_allclose(loss.value(x, spacing=spacing), fixed.energy(x.reshape(whole)), rtol=1e-12)
    h = 1e-3
    along = [fixed.energy((x + k * h * direction).reshape(whole)) for k in (-2, -1, 1, 2)]
    slope = (along[0] - 8 * along[1] + 8 * along[2] - along[3]) / (12 * h)
    assert_allclose(np.sum(gradient * direction), slope, rtol=1e-8)
    out = np.empty_like(x)
    value, same = loss.value_and_gradient(x, out, spacing=spacing)
    assert same is out
    assert_array_equal(out, gradient)
    assert value == loss.value(x, spacing=spacing)
    assert_allclose(loss.value(x.astype(np.float32), spacing=spacing), value, rtol=1e-3)


def test_a_plane_costs_nothing():
    z, y, x = np.mgrid[:6, :7, :8].astype(float)
    plane = 0.1 * z + 0.02 * y - 0.03 * x
    assert EdgeAligned().value(plane) < 1e-25
    assert np.abs(EdgeAligned().gradient(plane)).max() < 1e-12
