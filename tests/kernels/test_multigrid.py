"""Conjugate gradients with a multigrid cycle: the operator, the cycle, and that "settled" is a promise."""

import functools
import importlib

import numpy as np
import pytest
import reference
from graddesc._kernels import pyramid, stencil
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse.linalg import splu
from shapes import SHAPES

from graddesc import isa

TOLERANCES = [0.3, 0.1, 1e-2, 1e-3, 1e-4]


def prepare(kind, free, threads=1, level=isa.LEVEL):
    return importlib.import_module(f"graddesc._kernels.multigrid_{level}").prepare(
        kind, np.ascontiguousarray(free, np.uint8), threads
    )


def incomplete(shape, missing, seed=0):
    rng = np.random.default_rng(seed)
    x, free = rng.random(shape), rng.random(shape) < missing
    free.flat[0] = False
    return x, free, np.exp(rng.normal(size=shape)).astype(np.float32)


def contrast_of(x, free):
    across = np.diff(x, axis=1)[free[:, 1:] | free[:, :-1]]
    down = np.diff(x, axis=0)[free[1:] | free[:-1]]
    differences = np.clip(np.concatenate([across, down]), -1, 1)
    most = 8 * np.sqrt(np.mean(differences**2))
    return np.sqrt(np.mean(np.clip(differences, -most, most) ** 2))


# ---- the operator and the cycle ----


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.once
def test_gradient_is_that_of_the_stencil_kernels_and_of_the_definition(kind):
    for shape in [*SHAPES, (5, 300), (300, 5), (9, 530)]:
        x, free, omega = incomplete(shape, 0.7)
        run = prepare(kind, free)
        for weights in (None, omega):
            run.begin(x, weights, False)
            gradient, expected = np.empty(shape), np.empty((1, *shape))
            run.gradient(gradient)
            given = np.full(shape, 2.0) if weights is None else weights.astype(np.float64)
            stencil.gradient(stencil.Operator(kind, 2.0), x[np.newaxis], given[np.newaxis], 1, expected)
            # The residual is kept in float32.
            assert_allclose(gradient, np.where(free, expected[0], 0), rtol=1e-6, atol=1e-6, err_msg=str(shape))
            matrix = reference.stencil_hessian(kind, shape, weights)
            assert_allclose((matrix @ x.ravel()).reshape(shape), expected[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.once
def test_cycle_is_symmetric_and_positive_and_overshoots_nowhere(kind):
    for shape in [(2, 2), (3, 3), (5, 4), (2, 9), (9, 2), (7, 40), (40, 7), (16, 17), (13, 34), (11, 66)]:
        x, free, omega = incomplete(shape, 0.75)
        if kind == 1:
            free[0, 0] = free[0, 1] = free[1, 0] = False
        for weights in (None, omega):
            run = prepare(kind, free)
            run.begin(x, weights, False)
            assert run.unique
            cycle = reference.cycle_matrix(run, free)
            if not cycle.size:
                continue
            assert_allclose(cycle, cycle.T, atol=2e-6 * abs(cycle).max(), err_msg=str(shape))
            places = np.flatnonzero(free)
            matrix = reference.stencil_hessian(kind, shape, weights)[places][:, places].toarray()
            factor = np.linalg.cholesky(matrix)
            eigenvalues = np.linalg.eigvalsh(factor.T @ (cycle + cycle.T) / 2 @ factor)
            assert eigenvalues[0] > 0.02
            # Weights are rounded to eight bits for coarse levels.
            assert eigenvalues[-1] < (1.0001 if weights is None else 1.004)


@pytest.mark.parametrize("kind", [0, 1])
def test_cycle_does_not_depend_on_what_was_solved_before(kind):
    x, free, omega = incomplete((40, 61), 0.8)
    residual, first, second = np.random.default_rng(1).random((3, *x.shape))
    run = prepare(kind, free)
    run.begin(x, omega, False)
    run.precondition(residual, first)
    run.begin(x.copy(), None, False)
    run.advance(3, 0.0, 0.0)
    run.begin(x, omega, False)
    run.precondition(residual, second)
    assert_array_equal(first, second)
    run.begin(x, omega, True)
    run.precondition(residual, second)
    assert_array_equal(first, second)


# ---- the promise ----


def images(rows, cols):
    i, j = np.mgrid[:rows, :cols]
    rng = np.random.default_rng(5)
    waves = sum(
        np.sin(rng.normal(size=2) @ [i.ravel(), j.ravel()] * scale + rng.random() * 6).reshape(rows, cols) / k
        for k, scale in enumerate([0.02, 0.05, 0.1, 0.3, 0.6, 1.0], 1)
    )
    yield "photograph", 0.5 + 0.2 * waves + 0.2 * (np.hypot(i - rows / 2, j - cols / 3) < rows / 4)
    yield "smooth", 0.5 + 0.25 * np.sin(i / 17) * np.cos(j / 23)
    yield "ramp", (i + 0.5 * j) / (rows + cols)
    yield "noise", rng.random((rows, cols))


def masks(rows, cols):
    i, j = np.mgrid[:rows, :cols]
    rng = np.random.default_rng(7)
    away = np.hypot(i - rows // 2, j - cols // 2)
    for radius in (0, 4, 16, 30):
        yield f"disc of {radius}", away <= radius
    yield "right half", j >= cols // 2
    yield "left half", j < cols // 2
    yield "all but a corner", (i >= rows // 3) | (j >= cols // 3)
    yield "grid of 8", (i % 8 > 0) | (j % 8 > 0)
    yield "grid of 16", (i % 16 > 0) | (j % 16 > 0)
    yield "90 %", rng.random((rows, cols)) < 0.9
    yield "99 %", rng.random((rows, cols)) < 0.99
    yield "10 %", rng.random((rows, cols)) < 0.1
    yield "lone known pixels", (away < 30) & ((i % 13 != 3) | (j % 11 != 5))
    yield "one row and one column", (i != rows // 2) & (j != cols // 3)
    yield "one row and a pixel", (i != rows // 2) & ((i != rows // 4) | (j != cols // 4))
    yield "three pixels", ~(((i == 20) & (j == 20)) | ((i == 22) & (j == 20)) | ((i == 20) & (j == 23)))
    yield "text", (i % 12 < 9) & ((j * 5 + i * 3) % 17 < 3)


def start(x, free):
    """Fill by pull-push."""
    kernel = pyramid
    levels = [(np.where(free, np.nan, x), np.ascontiguousarray(free, np.uint8))]
    while levels[-1][1].any():
        half = tuple((side + 1) // 2 for side in levels[-1][1].shape)
        coarse = np.empty(half), np.empty(half, np.uint8)
        kernel.pull(*levels[-1], 1, *coarse)
        levels.append(coarse)
    for (fine, fine_free), (coarse, _) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        kernel.push(coarse, fine_free, 1, fine)
    return levels[0][0]


def factorise(kind, free, omega):
    places = np.flatnonzero(free)
    matrix = reference.stencil_hessian(kind, free.shape, omega)
    return places, matrix, splu(matrix[places][:, places].tocsc())


@functools.lru_cache(maxsize=1)
def factorise_without_weights(kind, shape, free):
    return factorise(kind, np.frombuffer(free, bool).reshape(shape), None)


def solve(kind, x, free, omega=None):
    """Directly, with the residual's own correction."""
    if omega is None:
        places, matrix, factor = factorise_without_weights(kind, x.shape, (free != 0).tobytes())
    else:
        places, matrix, factor = factorise(kind, free, omega)
    out = x.copy()
    for _ in range(3):
        out.flat[places] -= factor.solve((matrix @ out.ravel())[places])
    return out


def assert_promise(kind, x, free, omega, name):
    exact = solve(kind, x, free, omega)
    contrast = contrast_of(exact, free)
    run = prepare(kind, free)
    spent = []
    for tol in TOLERANCES:
        y = x.copy()
        run.begin(y, omega, True)
        done = run.advance(100, tol, 1e-6)
        assert run.settled, (name, tol)
        assert not run.stalled
        assert done == run.iterations
        assert run.estimate <= tol * max(run.contrast, 1e-6)
        assert_array_equal(y[~free], x[~free])
        distance = np.sqrt(np.mean((y - exact)[free] ** 2))
        assert distance <= tol * max(contrast, 1e-6), (name, tol, distance / contrast, done)
        assert_allclose(run.contrast, contrast_of(y, free), rtol=1e-9)
        spent.append(done)
    assert spent == sorted(spent)
    return spent[-1]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.once
def test_settled_is_a_promise(kind):
    shape = (75, 90)
    for mask, free in masks(*shape):
        for name, image in images(*shape):
            most = assert_promise(kind, start(image, free), free, None, (mask, name))
            assert most <= (9 if kind == 0 else 22), (mask, name)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.once
def test_settled_is_a_promise_with_weights(kind):
    shape = (66, 71)
    rng = np.random.default_rng(3)
    for mask, free in masks(*shape):
        _, image = next(images(*shape))
        steep = np.hypot(*np.gradient(image))
        for name, omega in (("edges", 1 / np.hypot(0.01, steep)), ("rough", np.exp(rng.normal(size=shape)))):
            assert_promise(kind, start(image, free), free, omega.astype(np.float32), (mask, name))


@pytest.mark.once
def test_where_rounding_hides_what_an_image_costs_nothing_is_promised():
    # Weights that grow away from few known pixels: affine images cost less than the rounding of the coarse operators.
    free = np.ones((100, 100), bool)
    free[1:6, 2:5] = False
    i, j = np.mgrid[:100, :100]
    ways = {
        "constant": np.full((100, 100), 87.287155),
        "steps": np.where((i // 7 + j // 9) % 2, 1.0, 1e3),
        "falling": 10 ** (-(i + j) / 50.0),
        "growing": 10 ** ((i + j) / 50.0),
        "growing faster": 10 ** ((i + j) / 40.0),
    }
    _, image = next(images(100, 100))
    x = start(image, free)
    for name, omega in ways.items():
        omega = omega.astype(np.float32)
        exact = solve(1, x, free, omega)
        run = prepare(1, free)
        for tol in (0.3, 0.1, 1e-3):
            y = x.copy()
            run.begin(y, omega, True)
            run.advance(200, tol, 0.0)
            assert run.stalled is not run.settled, name
            assert np.isfinite(y).all()
            if run.settled:
                assert np.sqrt(np.mean((y - exact)[free] ** 2)) <= tol * contrast_of(exact, free), name


@pytest.mark.once
def test_large_disc_of_second_differences_reaches_any_tolerance():
    i, j = np.mgrid[:210, :210]
    free = np.hypot(i - 105, j - 105) < 100
    _, image = next(images(210, 210))
    x = start(image, free)
    exact = solve(1, x, free)
    run = prepare(1, free)
    for tol, most in ((0.15, 7), (1e-3, 11), (1e-6, 16)):
        y = x.copy()
        run.begin(y, None, False)
        run.advance(60, tol, 0.0)
        assert run.settled
        assert run.iterations <= most
        assert np.sqrt(np.mean((y - exact)[free] ** 2)) <= tol * contrast_of(exact, free)


def test_never_before_the_second_iteration_nor_without_a_minimiser():
    _, free, _ = incomplete((30, 30), 0.5)
    x = np.random.default_rng(2).random((30, 30))
    run = prepare(0, free)
    run.begin(x, None, False)
    assert run.advance(1, 1e3, 0.0) == 1
    assert not run.settled
    assert run.estimate == np.inf
    assert run.advance(1, 1e3, 0.0) == 1
    assert run.settled
    assert run.advance(5, 1e3, 0.0) == 0


@pytest.mark.parametrize(
    ("kind", "known", "unique"),
    [
        (0, [], False),
        (0, [(3, 4)], True),
        (1, [], False),
        (1, [(3, 4), (9, 4)], False),
        (1, [(3, 4), (5, 6), (10, 11)], False),
        (1, [(3, j) for j in range(24)], False),
        (1, [(3, 4), (5, 6), (10, 12)], True),
    ],
)
def test_without_one_minimiser_it_ends_and_says_so(kind, known, unique):
    free = np.ones((20, 24), bool)
    for place in known:
        free[place] = False
    x = np.random.default_rng(0).random(free.shape)
    run = prepare(kind, free)
    run.begin(x, None, False)
    assert run.advance(500, 1e-4, 0.01) < 500
    assert run.unique is unique
    assert run.settled is unique
    assert run.stalled is not unique
    assert np.isfinite(x).all()
    assert abs(x).max() < 100


def test_on_a_line_two_known_pixels_are_enough():
    for shape in ((1, 12), (12, 1)):
        free = np.ones(12, bool)
        free[[2, 5]] = False
        x = np.where(free, 0, np.arange(12.0) * 0.1)
        free, x = free.reshape(shape), x.reshape(shape)
        run = prepare(1, free)
        run.begin(x, None, False)
        run.advance(100, 1e-6, 0.0)
        assert run.settled
        assert_allclose(x.ravel(), np.arange(12) * 0.1, atol=1e-6)


def test_rounding_stalls_it():
    x, free, _ = incomplete((64, 64), 0.9)
    run = prepare(1, free)
    run.begin(x, None, False)
    assert run.advance(1000, 1e-30, 0.0) < 200
    assert run.stalled
    assert not run.settled
    assert_allclose(x, solve(1, x, free), atol=1e-9)


@pytest.mark.once
def test_going_on_beyond_rounding_keeps_x_where_it_is():
    rng = np.random.default_rng(0)
    for trial in range(60):
        shape = tuple(rng.integers(5, 40, 2))
        free = np.zeros(shape, bool)
        free[rng.integers(0, shape[0], 2), rng.integers(0, shape[1], 2)] = True
        x, omega = rng.random(shape), np.exp(3 * rng.normal(size=shape)).astype(np.float32)
        exact = solve(trial % 2, x, free, omega)
        run = prepare(trial % 2, free)
        run.begin(x, omega, False)
        run.advance(300, 1e-30, 0.0)
        assert run.stalled or run.estimate == 0
        assert_allclose(x, exact, atol=1e-9, err_msg=str(trial))


def test_values_that_are_not_finite_stall_it_and_change_nothing():
    for bad in (np.nan, np.inf):
        x, free, _ = incomplete((20, 20), 0.5)
        x[~free] = bad
        given = x.copy()
        run = prepare(1, free)
        run.begin(x, None, False)
        assert run.advance(10, 1e-2, 0.0) == 0
        assert run.stalled
        assert_array_equal(x, given)
        # Nothing of them is left for the next image.
        y, z = np.random.default_rng(9).random((2, 20, 20))
        z[:] = y
        fresh = prepare(1, free)
        for each, target in ((run, y), (fresh, z)):
            each.begin(target, None, False)
            each.advance(5, 0.0, 0.0)
        assert_array_equal(y, z)


def test_what_is_solved_already_settles_at_once():
    free = np.ones((12, 40), bool)
    free[::5, ::7] = False
    for kind, x in ((0, np.full((12, 40), 0.5)), (1, np.add.outer(np.arange(12.0), np.arange(40.0)))):
        given = x.copy()
        run = prepare(kind, free)
        run.begin(x, None, False)
        assert run.advance(10, 1e-3, 0.0) == 0
        assert run.settled
        assert run.estimate == 0
        assert_array_equal(x, given)
    run = prepare(0, np.zeros((4, 4), bool))
    run.begin(x[:4, :4].copy(), None, False)
    assert run.advance(10, 1e-3, 0.0) == 0
    assert run.settled


def test_thin_and_tiny_windows():
    for kind in (0, 1):
        for shape in SHAPES:
            x, free, omega = incomplete(shape, 0.6, seed=3)
            run = prepare(kind, free)
            if not run.unique or not free.any():
                continue
            for weights in (None, omega):
                y = x.copy()
                run.begin(y, weights, False)
                run.advance(200, 1e-6, 1e-3)
                assert run.settled, (kind, shape)
                assert_allclose(y, solve(kind, x, free, weights), atol=1e-6)


def test_an_outlier_does_not_set_the_contrast():
    free = np.zeros((40, 40), bool)
    free[10:30, 10:30] = True
    _, x = next(images(40, 40))
    run = prepare(0, free)
    run.begin(x, None, False)
    usual = run.contrast
    assert_allclose(usual, contrast_of(x, free), rtol=1e-12)
    x[9, 9:31] = 1e6
    run.begin(x, None, False)
    pairs = 2 * 20 * 21
    assert_allclose(run.contrast**2, contrast_of(x, free) ** 2, rtol=1e-12)
    assert run.contrast**2 <= usual**2 + 20 / pairs


# ---- renewals, levels, threads, the boundary ----


@pytest.mark.parametrize("kind", [0, 1])
def test_renewed_weights_go_on_from_x(kind):
    _, free, _ = incomplete((50, 50), 0.8)
    _, image = next(images(50, 50))
    x = start(image, free)
    run = prepare(kind, free)
    for renewal in range(3):
        steep = np.hypot(*np.gradient(x))
        omega = (1 / np.hypot(0.05, steep)).astype(np.float32)
        exact = solve(kind, x, free, omega)
        before = np.sqrt(np.mean((x - exact)[free] ** 2))
        run.begin(x, omega, False)
        assert run.iterations == 0
        assert run.advance(4, 0.0, 0.0) == 4
        assert np.sqrt(np.mean((x - exact)[free] ** 2)) < 0.3 * before, renewal


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.once
def test_every_level_and_thread_count_gives_the_same_bits(kind):
    x, free, omega = incomplete((190, 820), 0.9)
    free[40:90, 100:160] = False
    for weights in (None, omega):
        results = set()
        for level in isa.AVAILABLE:
            for threads in (1, 2, 5):
                y = x.copy()
                run = prepare(kind, free, threads, level)
                run.begin(y, weights, False)
                run.advance(4, 0.0, 0.0)
                results.add((y.tobytes(), run.estimate, run.contrast))
        assert len(results) == 1


def test_a_finished_run_keeps_its_result_and_does_nothing_more():
    x, free, omega = incomplete((40, 50), 0.8)
    run = prepare(0, free)
    run.begin(x, omega, False)
    run.advance(100, 0.1, 1e-6)
    names = ("unique", "settled", "stalled", "estimate", "contrast", "iterations")
    before = [getattr(run, name) for name in names]
    for _ in range(2):
        run.finish()
        assert [getattr(run, name) for name in names] == before
        with pytest.raises(ValueError, match="begin must come first"):
            run.advance(1, 0.1, 0.0)
        with pytest.raises(ValueError, match="the run must not be finished"):
            run.begin(x, omega, False)


def test_kernel_refuses_wrong_shapes():
    free = np.ones((4, 5), np.uint8)
    with pytest.raises(ValueError, match="kind must be 0 or 1"):
        prepare(2, free)
    with pytest.raises(ValueError, match="free must not be empty"):
        prepare(0, free[:0])
    run = prepare(0, free)
    x = np.zeros((4, 5))
    with pytest.raises(ValueError, match="begin must come first"):
        run.advance(1, 0.1, 0.0)
    with pytest.raises(ValueError, match="x must have the shape of free"):
        run.begin(np.zeros((5, 4)), None, False)
    with pytest.raises(ValueError, match="omega must have the shape of free"):
        run.begin(x, np.ones((5, 4), np.float32), False)
    run.begin(x, None, False)
    with pytest.raises(ValueError, match="out must have the shape of x"):
        run.gradient(np.zeros((5, 4)))
    with pytest.raises(ValueError, match="residual and out must have the shape of x"):
        run.precondition(x, np.zeros((5, 4)))
