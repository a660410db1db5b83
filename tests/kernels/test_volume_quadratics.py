"""Sums of squares of volumes: energies, gradients, the cycle, and that "settled" is a promise."""

import functools
import importlib

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import splu

from graddesc import _kernels, isa

SHAPES = [(1, 1, 1), (1, 1, 7), (7, 1, 1), (1, 5, 6), (2, 2, 2), (3, 3, 3), (4, 5, 37), (3, 4, 300), (5, 9, 20)]
SPACINGS = [(1, 1, 1), (3, 1, 1.5)]


def kernels(level=isa.LEVEL):
    return importlib.import_module(f"graddesc._kernels.volume_quadratics_{level}")


def prepare(kind, spacing, free, weights=False, threads=1, level=isa.LEVEL, present=None, noisy=False):
    module = kernels(level)
    size = module.workspace_size(kind, spacing, free.shape, weights, present is not None, noisy)
    free = np.ascontiguousarray(free, np.uint8)
    return module.prepare(kind, spacing, free, weights, np.zeros(size, np.uint8), threads, present, noisy)


def incomplete(shape, missing, seed=0):
    rng = np.random.default_rng(seed)
    x, free = rng.random((2, *shape)), rng.random(shape) < missing
    free.flat[0] = False
    return x, free


def solve(run, x, tol, iterations=300, work=1e18):
    run.begin(x)
    while run.iterations < iterations and not (run.settled or run.stalled):
        run.advance(iterations - run.iterations, tol, 1e-12, work)


# ---- what is minimised ----


@pytest.mark.once
def test_energies_weights_and_gradients_are_those_of_the_definition():
    for shape in SHAPES:
        x, _ = incomplete(shape, 0.5)
        for spacing in SPACINGS:
            for kind in (0, 1):
                case = f"{shape}, {spacing}, {kind}"
                for epsilon in (0.0, 0.1):
                    energy = kernels().energy(kind, spacing, x, epsilon, 1)
                    expected = reference.volume_difference_energy(kind, x, spacing, epsilon)
                    assert_allclose(energy, expected, rtol=1e-12, err_msg=case)
                omega, gradient = np.empty(shape), np.empty(x.shape)
                kernels().weigh(kind, spacing, x, 0.1, 1, omega)
                square = np.mean([reference.volume_square(kind, volume, spacing) for volume in x], axis=0)
                assert_allclose(omega, 1 / np.sqrt(0.01 + square), rtol=1e-12, err_msg=case)
                for weights in (None, omega):
                    kernels().gradient(kind, spacing, x, weights, 1, gradient)
                    matrix = reference.volume_hessian(kind, shape, spacing, weights)
                    for out, volume in zip(gradient, x, strict=True):
                        assert_allclose(out.ravel(), matrix @ volume.ravel(), atol=1e-10, err_msg=case)


@pytest.mark.once
def test_a_difference_counts_nothing_if_a_voxel_of_it_is_left_out():
    for shape in SHAPES:
        x, free = incomplete(shape, 0.5)
        present = (np.random.default_rng(8).random(shape) < 0.85).astype(np.uint8)
        free &= present == 1
        for spacing in SPACINGS:
            for kind in (0, 1):
                case = f"{shape}, {spacing}, {kind}"
                for epsilon in (0.0, 0.1):
                    densities = np.empty(shape)
                    energy = kernels().energy(kind, spacing, x, epsilon, 1, present, densities)
                    expected = reference.volume_difference_energy(kind, x, spacing, epsilon, present)
                    assert_allclose(energy, expected, rtol=1e-12, err_msg=case)
                    assert_allclose(densities.sum(), expected, rtol=1e-12, err_msg=case)
                for weights in (False, True):
                    run, omega, out = prepare(kind, spacing, free, weights, present=present), None, np.empty(shape)
                    if weights:
                        run.weigh(x, 0.1)
                        squares = [reference.volume_square(kind, volume, spacing, present) for volume in x]
                        omega = 1 / np.sqrt(0.01 + np.mean(squares, axis=0))
                    run.begin(x[0])
                    run.gradient(out)
                    matrix = reference.volume_hessian(kind, shape, spacing, omega, present)
                    expected = (matrix @ x[0].ravel()).reshape(shape)
                    assert_allclose(
                        out,
                        np.where(free, expected, 0),
                        rtol=1e-5,
                        atol=1e-6 * abs(expected).max() + 1e-30,
                        err_msg=case,
                    )


@pytest.mark.once
def test_noisy_data_weigh_beside_the_energy():
    for shape in [(1, 5, 6), (4, 5, 37), (9, 12, 40)]:
        rng = np.random.default_rng(9)
        data, mass = rng.random((2, *shape))
        free = rng.random(shape) < 0.9
        mass[rng.random(shape) < 0.3] = 0
        for kind in (0, 1):
            for weights in (False, True):
                run, omega, x = prepare(kind, SPACINGS[1], free, weights, noisy=True), None, data.copy()
                if weights:
                    run.weigh(data[np.newaxis], 0.1)
                    omega = 1 / np.sqrt(0.01 + reference.volume_square(kind, data, SPACINGS[1]))
                run.trust(mass.astype(np.float32))
                run.begin(x, data)
                while not (run.settled or run.stalled):
                    run.advance(300, 1e-6, 1e-12, 1e18)
                matrix = reference.volume_hessian(kind, shape, SPACINGS[1], omega)
                unknown, own = free.ravel(), np.where(free, mass.astype(np.float32), 0).ravel()
                system = (matrix + sparse.diags_array(own)).tocsc()[unknown][:, unknown]
                right = (own * data.ravel())[unknown] - (matrix[:, ~unknown] @ data.ravel()[~unknown])[unknown]
                assert_allclose(x[free], splu(system).solve(right), atol=1e-4)
                assert_array_equal(x[~free], data[~free])


@pytest.mark.once
def test_a_volume_of_one_plane_is_an_image():
    x, _ = incomplete((1, 9, 40), 0.5)
    for kind in (0, 1):
        for epsilon in (0.0, 0.1):
            square = np.mean([reference.stencil_square(kind, volume[0], 0, 0, 0) for volume in x], axis=0)
            expected = 2 * np.sum(np.sqrt(epsilon**2 + square) - epsilon if epsilon else square)
            assert_allclose(kernels().energy(kind, (5.0, 1, 1), x, epsilon, 1), expected, rtol=1e-12)


@pytest.mark.once
def test_residual_is_that_of_the_definition():
    for shape in [(1, 1, 7), (7, 1, 1), (1, 5, 6), (2, 2, 2), (4, 5, 37), (3, 6, 300), (9, 12, 40)]:
        x, free = incomplete(shape, 0.8)
        for spacing in SPACINGS:
            for kind in (0, 1):
                for weights in (False, True):
                    run, omega, out = prepare(kind, spacing, free, weights), None, np.empty(shape)
                    if weights:
                        run.weigh(x, 0.1)
                        omega = np.empty(shape)
                        kernels().weigh(kind, spacing, x, 0.1, 1, omega)
                    run.begin(x[0])
                    run.gradient(out)
                    expected = (reference.volume_hessian(kind, shape, spacing, omega) @ x[0].ravel()).reshape(shape)
                    # The residual, and weights, are kept in float32.
                    assert_allclose(out, np.where(free, expected, 0), rtol=1e-5, atol=1e-6 * abs(expected).max())


# ---- the cycle ----


@pytest.mark.once
def test_cycle_is_symmetric_and_positive():
    for shape in [(3, 3, 3), (1, 9, 13), (5, 6, 7), (4, 5, 33)]:
        x, free = incomplete(shape, 0.7)
        free[:, :2, :2] = False
        free[:, 0] = False
        for spacing in SPACINGS:
            for kind in (0, 1):
                for weights in (False, True):
                    run, omega = prepare(kind, spacing, free, weights), None
                    if weights:
                        run.weigh(x, 0.1)
                        omega = np.empty(shape)
                        kernels().weigh(kind, spacing, x, 0.1, 1, omega)
                    run.begin(x[0].copy())
                    assert run.unique
                    cycle, places = reference.cycle_matrix(run, free), np.flatnonzero(free)
                    case = f"{shape}, {spacing}, {kind}, {weights}"
                    assert_allclose(cycle, cycle.T, atol=2e-6 * abs(cycle).max(), err_msg=case)
                    matrix = reference.volume_hessian(kind, shape, spacing, omega)[places][:, places].toarray()
                    factor = np.linalg.cholesky(matrix)
                    eigenvalues = np.linalg.eigvalsh(factor.T @ (cycle + cycle.T) / 2 @ factor)
                    assert eigenvalues[0] > 0.1, case
                    assert eigenvalues[-1] < 6, case


# ---- the promise ----


def volumes(side):
    rng = np.random.default_rng(5)
    for name, blur in (("smooth", 3), ("rough", 0.8)):
        x = gaussian_filter(rng.standard_normal((side,) * 3), blur)
        yield name, (x - x.min()) / (x.max() - x.min())


def masks(side):
    rng = np.random.default_rng(7)
    k, i, j = np.mgrid[:side, :side, :side]
    for missing in (0.5, 0.8, 0.9, 0.95, 0.99):
        yield f"{missing}", rng.random((side,) * 3) < missing
    yield "every other slice", k % 2 > 0
    yield "three slices of four", k % 4 > 0
    yield "block", (abs(np.stack([k, i, j]) - side / 2) < side / 3).all(axis=0)
    yield "half", k >= side // 2
    yield "all but a corner", (k > 2) | (i > 2) | (j > 2)
    yield "grid", (k % 6 > 0) | (i % 6 > 0) | (j % 6 > 0)
    yield "four voxels", (abs(k - 5) + abs(i - 5) + abs(j - 5) > 1) | (k < 5) | (i < 5) | (j < 5)
    yield "one voxel", (k == 3) & (i == 4) & (j == 5)


@functools.cache
def solution(kind, spacing, volume, mask):
    """The minimiser, and the rms difference of neighbours of which one is free."""
    side = 12
    x, free = dict(volumes(side))[volume], dict(masks(side))[mask]
    matrix, unknown = reference.volume_hessian(kind, x.shape, spacing), np.flatnonzero(free)
    known = np.flatnonzero(~free)
    out = x.copy()
    rows = matrix[unknown]
    out.flat[unknown] = splu(rows[:, unknown].tocsc()).solve(-(rows[:, known] @ x.flat[known]))
    squares = [np.diff(out, axis=a)[np.delete(free, 0, a) | np.delete(free, -1, a)] ** 2 for a in range(3)]
    return out, free, np.sqrt(np.mean(np.concatenate([one.ravel() for one in squares])))


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.once
def test_settled_is_a_promise(kind):
    for volume, _ in volumes(12):
        for mask, _ in masks(12):
            for spacing in SPACINGS:
                truth, free, contrast = solution(kind, spacing, volume, mask)
                for tol in (0.02 if kind else 0.25, 1e-3):
                    x = np.where(free, truth[~free].mean(), truth)
                    run = prepare(kind, spacing, free)
                    solve(run, x, tol, 60)
                    case = f"{volume}, {mask}, {spacing}, {tol}: {run.iterations} iterations"
                    assert run.settled, case
                    assert_array_equal(x[~free], truth[~free])
                    assert np.sqrt(np.mean((x - truth)[free] ** 2)) <= tol * contrast, case
    solution.cache_clear()


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.once
def test_what_is_not_unique_stalls_at_a_minimum(kind):
    x, free = incomplete((9, 10, 11), 1.0)
    free[:] = True
    if kind == 1:
        free[4] = False
    run = prepare(kind, (1, 1, 1), free)
    assert run.unique is False
    solve(run, x[0], 1e-3)
    assert run.stalled
    assert not run.settled
    gradient = np.empty(free.shape)
    run.gradient(gradient)
    assert abs(gradient).max() < 1e-3


@pytest.mark.once
def test_what_makes_a_minimum_unique():
    for shape, known, unique in [
        ((5, 6, 7), [(0, 0, 0), (4, 5, 6), (4, 0, 6)], False),
        ((5, 6, 7), [(0, 0, 0), (4, 5, 6), (4, 0, 6), (0, 0, 1)], True),
        ((5, 6, 7), [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3), (0, 0, 6), (1, 1, 5)], False),
        ((1, 6, 7), [(0, 0, 0), (0, 1, 2), (0, 2, 4)], False),
        ((1, 6, 7), [(0, 0, 0), (0, 1, 2), (0, 2, 3)], True),
        ((5, 1, 1), [(0, 0, 0)], False),
        ((5, 1, 1), [(0, 0, 0), (2, 0, 0)], True),
    ]:
        free = np.ones(shape, bool)
        for place in known:
            free[place] = False
        assert prepare(1, (1, 1, 1), free).unique is unique
        assert prepare(0, (1, 1, 1), free).unique is True


# ---- the same bits ----


@pytest.mark.once
def test_threads_levels_and_parts_of_an_iteration_change_no_bit():
    x, free = incomplete((24, 40, 300), 0.9)
    for kind in (0, 1):
        for weights in (False, True):
            results = []
            cases = [(1, level, 1e18) for level in _kernels.AVAILABLE] + [(3, isa.LEVEL, 1e18), (1, isa.LEVEL, 1.0)]
            for threads, level, work in cases:
                run, start = prepare(kind, (1, 1, 1), free, weights, threads, level), x[0].copy()
                if weights:
                    run.weigh(x, 0.1)
                solve(run, start, 0.0, 3, work)
                out, omega, gradient = [start], np.empty(free.shape, np.float32), np.empty(x.shape, np.float32)
                single = x.astype(np.float32)
                kernels(level).weigh(kind, (1, 2, 1), single, 0.1, threads, omega)
                kernels(level).gradient(kind, (1, 2, 1), single, omega, threads, gradient)
                results.append([*out, omega, gradient, kernels(level).energy(kind, (1, 2, 1), single, 0.1, threads)])
            for result in results[1:]:
                for one, expected in zip(result, results[0], strict=True):
                    assert_array_equal(one, expected)


@pytest.mark.once
def test_a_run_does_not_depend_on_what_was_solved_before():
    x, free = incomplete((7, 20, 40), 0.8)
    run, other = (prepare(1, (1, 1, 1), free, True) for _ in range(2))
    run.weigh(x, 0.3)
    solve(run, x[1].copy(), 1e-2)
    first, second = x[0].copy(), x[0].copy()
    for one, out in ((run, first), (other, second)):
        one.weigh(x, 0.1)
        solve(one, out, 1e-2)
    assert_array_equal(first, second)


# ---- what else Python calls ----


@pytest.mark.once
def test_changes_are_told():
    x, free = incomplete((5, 6, 70), 0.5)
    run, before = prepare(0, (1, 1, 1), free), np.full(free.shape, np.nan)
    run.remember(x[0], before)
    assert_array_equal(before[free], x[0][free])
    expected = np.sum(np.clip((x[1] - x[0])[free], -0.4, 0.4) ** 2)
    assert_allclose(run.changed(x[1], before, 0.4), expected, rtol=1e-12)


@pytest.mark.once
def test_some_rows_tell_the_contrast_of_large_volumes():
    x, free = incomplete((60, 120, 512), 0.7)
    x = x[0]
    told = []
    for threads in (1, 2):
        run = prepare(0, (1, 1, 1), free, threads=threads)
        run.begin(x.copy())
        told.append(run.contrast)
    squares, pairs = 0.0, 0
    for axis in range(3):
        counts = np.delete(free, -1, axis) | np.delete(free, 0, axis)
        squares += np.sum(np.diff(x, axis=axis)[counts.astype(bool)] ** 2)
        pairs += np.count_nonzero(counts)
    assert told[0] == told[1]
    assert told[0] == pytest.approx(np.sqrt(squares / pairs), rel=2e-3)
    assert told[0] != pytest.approx(np.sqrt(squares / pairs), rel=1e-9)


@pytest.mark.once
def test_numbers_that_are_not_finite_stall_and_are_forgotten():
    x, free = incomplete((6, 7, 40), 0.6)
    bad, run = x[0].copy(), prepare(1, (1, 1, 1), free)
    bad[tuple(np.argwhere(~free)[3])] = np.nan
    solve(run, bad, 0.1)
    assert run.stalled
    first, second = x[0].copy(), x[0].copy()
    solve(run, first, 0.1)
    solve(prepare(1, (1, 1, 1), free), second, 0.1)
    assert_array_equal(first, second)


@pytest.mark.once
def test_nothing_free_has_settled():
    x, free = incomplete((3, 4, 5), 0.0)
    run = prepare(1, (1, 1, 1), free)
    solve(run, x[0], 0.0)
    assert run.settled
    assert run.unknown == run.contrast == 0


@pytest.mark.once
def test_bad_calls():
    x, free = incomplete((3, 4, 5), 0.5)
    module, small = kernels(), np.zeros(10, np.uint8)
    mask = free.astype(np.uint8)
    with pytest.raises(ValueError, match="kind must be 0 or 1"):
        module.energy(2, (1, 1, 1), x, 0.0, 1)
    with pytest.raises(ValueError, match="spacing must be positive"):
        module.energy(0, (1, 0, 1), x, 0.0, 1)
    with pytest.raises(ValueError, match="spacing must have three numbers"):
        module.energy(0, (1, 1), x, 0.0, 1)
    with pytest.raises(ValueError, match="x must not be empty"):
        module.energy(0, (1, 1, 1), x[:0], 0.0, 1)
    with pytest.raises(ValueError, match="out must have the shape of a channel"):
        module.weigh(0, (1, 1, 1), x, 0.1, 1, np.empty((3, 4, 4)))
    with pytest.raises(ValueError, match="epsilon must be positive"):
        module.weigh(0, (1, 1, 1), x, 0.0, 1, np.empty((3, 4, 5)))
    with pytest.raises(ValueError, match="omega must have the shape of a channel"):
        module.gradient(0, (1, 1, 1), x, np.empty((3, 4, 4)), 1, np.empty(x.shape))
    with pytest.raises(ValueError, match="out must have the shape of x"):
        module.gradient(0, (1, 1, 1), x, None, 1, np.empty((1, 3, 4, 5)))
    with pytest.raises(ValueError, match="workspace must be as large as workspace_size says"):
        module.prepare(0, (1, 1, 1), mask, False, small, 1)
    with pytest.raises(ValueError, match="shape must have three numbers, all positive"):
        module.workspace_size(0, (1, 1, 1), (0, 3, 4), False)
    plain, weighted = prepare(0, (1, 1, 1), free), prepare(0, (1, 1, 1), free, True)
    with pytest.raises(ValueError, match="the run must have weights"):
        plain.weigh(x, 0.1)
    with pytest.raises(ValueError, match="weigh or trust must come first"):
        weighted.begin(x[0])
    with pytest.raises(ValueError, match="begin must come first"):
        plain.advance(1, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="x must have the shape of free"):
        plain.begin(np.empty((3, 4, 4)))
    plain.finish()
    with pytest.raises(ValueError, match="the run must not be finished"):
        plain.begin(x[0])
