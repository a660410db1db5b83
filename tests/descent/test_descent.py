import contextlib
import functools
import inspect
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
from cases import each
from hypothesis import given
from hypothesis import strategies as st
from loops import minimize_compiled as minimize
from scipy.optimize import Bounds, OptimizeResult, OptimizeWarning, minimize_scalar

import graddesc
from graddesc import (
    LBFGS,
    Adam,
    Backtracking,
    BarzilaiBorwein,
    ConjugateGradient,
    Constant,
    ExactLineSearch,
    Exponential,
    HagerZhang,
    HeavyBall,
    InverseTime,
    Nesterov,
    Polyak,
    Steepest,
    StrongWolfe,
    gradient_descent,
)
from graddesc.problems import PROBLEMS, Beale, BroydenTridiagonal, Himmelblau, Quadratic, Rosenbrock, Wood

pytestmark = pytest.mark.usefixtures("loop")  # every test runs over both

SEARCHES = [
    ExactLineSearch(),
    ExactLineSearch(slopes=True),
    Backtracking(),
    StrongWolfe(),
    HagerZhang(),
    BarzilaiBorwein(),
]
STEPS = [*SEARCHES, Polyak(-1e-3), Constant(1e-4), Exponential(1e-2, factor=0.99)]
DIRECTIONS = [Steepest(), HeavyBall(), Nesterov(), ConjugateGradient(), LBFGS(), Adam()]


def name(value):
    return f"{type(value).__name__}-{value.n}" if hasattr(value, "n") else type(value).__name__


class Counted:
    """A problem whose calls are counted and whose points are kept."""

    def __init__(self, problem):
        self.problem = problem
        self.points = []
        self.gradients = 0

    def __call__(self, x):
        self.points.append(x.copy())
        return self.problem(x)

    def gradient(self, x):
        self.gradients += 1
        return self.problem.gradient(x)


def f_quadratic(x):
    return x[0] ** 2 + 7 * x[1] ** 2 + 2 * x[0] + x[1] + 2


def df_quadratic(x):
    return np.array([2 * x[0] + 2, 14 * x[1] + 1])


def f_rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def df_rosenbrock(x):
    return np.array([-2 * (1 - x[0]) + 100 * 2 * (x[1] - x[0] ** 2) * (-2 * x[0]), 100 * 2 * (x[1] - x[0] ** 2)])


def by_the_book(f, Df, x0, maxiter=100, tol=1e-5):
    """Steepest descent with exact line search, as a textbook writes it."""
    x = np.array(x0, dtype=float)
    for k in range(1, maxiter + 1):  # noqa: B007
        g = Df(x)
        if np.abs(g).max() < tol:
            break
        x = x - minimize_scalar(lambda alpha, x=x, g=g: f(x - alpha * g)).x * g
    return x, f(x), k


def unconverged(is_so):
    """Expect the warning of gradient_descent() or, warnings being errors, none."""
    return pytest.warns(OptimizeWarning, match="not converged after") if is_so else contextlib.nullcontext()


# gradient_descent


def test_quadratic_takes_12_iterations():
    x, fx, k = gradient_descent(f_quadratic, df_quadratic, (0, 1))
    np.testing.assert_allclose(x, [-0.99999701, -0.07142863], atol=5e-9)
    assert fx == pytest.approx(0.964285714295, abs=5e-13)
    assert k == 12


def test_rosenbrock_takes_11990_iterations():
    x, fx, k = gradient_descent(f_rosenbrock, df_rosenbrock, (-2, -2), maxiter=20_000)
    np.testing.assert_allclose(x, [0.9999912, 0.99998234], atol=5e-8)
    assert fx == pytest.approx(7.776e-11, rel=2e-3)
    assert k == 11990


@each("maxiter", [1, 2, 5, 11, 12, 13, 100])
def test_quadratic_is_descended_as_by_the_book_to_the_last_bit(maxiter):
    with unconverged(maxiter < 11):
        x, fx, k = gradient_descent(f_quadratic, df_quadratic, (0, 1), maxiter=maxiter)
    expected = by_the_book(f_quadratic, df_quadratic, (0, 1), maxiter=maxiter)
    np.testing.assert_array_equal(x, expected[0])
    assert (fx, k) == expected[1:]


@pytest.mark.parametrize("problem", [Rosenbrock(), Beale(), Himmelblau(), Wood()], ids=name)
def test_others_are_descended_as_by_the_book_to_the_last_bit(problem):
    with unconverged(not isinstance(problem, Beale | Himmelblau)):
        x, fx, k = gradient_descent(problem, problem.gradient, problem.start, maxiter=300)
    expected = by_the_book(problem, problem.gradient, problem.start, maxiter=300)
    np.testing.assert_array_equal(x, expected[0])
    assert (fx, k) == expected[1:]


def test_k_counts_one_more_than_the_steps_only_where_the_gradient_is_small():
    flat = {"x0": [3.0, 4.0], "maxiter": 1000}
    result = minimize(lambda x: 7.0, jac=lambda x: np.ones(2), **flat)
    assert result.status == 7
    with unconverged(True):
        assert gradient_descent(lambda x: 7.0, lambda x: np.ones(2), **flat)[2] == result.nit
    assert gradient_descent(f_quadratic, df_quadratic, [-1, -1 / 14], maxiter=0)[2] == 0


# Every problem, every step rule, every direction


@each("direction", DIRECTIONS)
@each("step", STEPS)
@each("problem", PROBLEMS)
@pytest.mark.once
def test_promises_hold_whatever_happens(problem, step, direction):
    counted = Counted(problem)
    start = problem.start
    result = minimize(counted, start, jac=counted.gradient, step=step, direction=direction, maxiter=15, history=True)
    np.testing.assert_array_equal(start, problem.start)
    assert result.nfev == len(counted.points)
    assert result.njev == counted.gradients
    assert result.fun == problem(result.x)
    values = np.array([problem(x) for x in counted.points])
    best = np.min(values[np.isfinite(values)])
    assert result.fun <= best + 1e-14 * abs(best)
    assert any(np.array_equal(result.x, x) for x in counted.points)
    np.testing.assert_array_equal(result.jac, problem.gradient(result.x))
    assert result.optimality == np.abs(result.jac).max()
    assert result.success == (result.status in (0, 6))
    if result.status == 0:
        assert result.optimality < 1e-5
    if result.status == 1:
        assert result.nit == 15
    history = result.history
    assert history.x.shape == (result.nit + 1, problem.n)
    assert history.step.shape == (result.nit,)
    for x, f, size, nfev in zip(history.x, history.fun, history.gradient_norm, history.nfev, strict=True):
        assert f == problem(x)
        assert size == np.abs(problem.gradient(x)).max()
        assert any(np.array_equal(x, tried) for tried in counted.points[:nfev])
    assert history.nfev[0] == 1
    assert history.nfev[-1] <= result.nfev
    if isinstance(step, (ExactLineSearch, Backtracking, StrongWolfe)):
        # Where a step promises less than the rounding of the value, that may rise by as much.
        assert (np.diff(history.fun) <= 2e-15 * np.abs(history.fun[:-1])).all()


FAST = [
    (StrongWolfe(), LBFGS()),
    (HagerZhang(), LBFGS()),
    (Backtracking(), LBFGS()),
    (ExactLineSearch(), LBFGS()),
    (HagerZhang(), ConjugateGradient()),
]


@each("step, direction", FAST)
@each("problem", PROBLEMS)
def test_the_fast_ones_solve_every_problem(problem, step, direction):
    result = minimize(problem, problem.start, jac=problem.gradient, step=step, direction=direction, maxiter=3000)
    assert result.fun >= problem.minimum - 1e-9 * abs(problem.minimum)
    if result.status == 2 and isinstance(step, (ExactLineSearch, Backtracking)):
        # These compare values alone. Where the minimum is large (Brown and Dennis: 85822) a gradient of 1e-4 changes
        # them by less than their rounding, and whether 1e-5 is met depends on the last bits of the machine's sums.
        finer = minimize(problem, result.x, jac=problem.gradient, step=StrongWolfe(), direction=direction)
        assert result.fun - finer.fun <= 16 * np.finfo(float).eps * abs(result.fun)
        return
    assert result.status == 0
    assert np.abs(problem.gradient(result.x)).max() < 1e-5


@pytest.mark.parametrize("method", ["L-BFGS-B", "CG"])
def test_no_fewer_are_solved_than_by_scipy(method):
    step, direction = (
        (StrongWolfe(), LBFGS()) if method == "L-BFGS-B" else (StrongWolfe(curvature=0.4), ConjugateGradient())
    )
    ours, theirs, ratios = 0, 0, []
    for problem in PROBLEMS:
        options = {"gtol": 1e-5, "maxiter": 3000} | ({"ftol": 0.0} if method == "L-BFGS-B" else {})
        peer = scipy.optimize.minimize(problem, problem.start, jac=problem.gradient, method=method, options=options)
        result = minimize(problem, problem.start, jac=problem.gradient, step=step, direction=direction, maxiter=3000)
        ours += result.success
        theirs += np.abs(problem.gradient(peer.x)).max() < 1e-5
        ratios.append((result.nfev + result.njev) / (peer.nfev + peer.njev))
    assert ours >= theirs
    # The last bits of the machine's sums move single counts.
    assert np.median(ratios) <= (1.0 if method == "L-BFGS-B" else 1.1)


# Bounds, fixed variables, projections


def projected(x, g, low, high):
    return np.abs(x - np.clip(x - g, low, high)).max()


@each("direction", DIRECTIONS)
@each("step", STEPS)
@each("problem", [Rosenbrock(4), Wood(), BroydenTridiagonal(8), Beale()])
def test_every_trial_respects_the_bounds(problem, step, direction):
    rng = np.random.default_rng(problem.n)
    low = problem.start - rng.random(problem.n)
    high = problem.start + rng.random(problem.n)
    counted = Counted(problem)
    result = minimize(
        counted,
        problem.start,
        jac=counted.gradient,
        step=step,
        direction=direction,
        bounds=Bounds(low, high),
        maxiter=40,
    )
    points = np.array(counted.points)
    assert (points >= low).all()
    assert (points <= high).all()
    assert result.fun == problem(result.x)
    assert result.fun <= problem(problem.start)
    assert result.optimality == pytest.approx(projected(result.x, result.jac, low, high), rel=1e-9, abs=1e-12)
    if result.status == 0:
        assert projected(result.x, problem.gradient(result.x), low, high) < 1e-5


@each(
    "step, direction",
    [
        (BarzilaiBorwein(), Steepest()),
        (StrongWolfe(), LBFGS()),
        (HagerZhang(), LBFGS()),
        (Backtracking(), LBFGS()),
        (StrongWolfe(curvature=0.4), ConjugateGradient()),
        (Backtracking(), Nesterov()),
    ],
)
@given(seed=st.integers(0, 2**31))
@pytest.mark.once
def test_bounded_quadratics_are_solved_as_by_an_active_set_method(step, direction, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    root = rng.standard_normal((n, n))
    problem = Quadratic(root @ root.T + 0.1 * np.eye(n), 3.0 * rng.standard_normal(n), start=rng.standard_normal(n))
    low = np.where(rng.random(n) < 0.2, -np.inf, -rng.random(n))
    high = np.where(rng.random(n) < 0.2, np.inf, rng.random(n))
    result = minimize(
        problem,
        problem.start,
        jac=problem.gradient,
        step=step,
        direction=direction,
        bounds=list(zip(low, high, strict=True)),
        tol=1e-6,
        maxiter=20_000,
    )
    # A non-monotone rule may end where the values no longer tell points apart, the gradient just above the tolerance.
    assert result.success or (result.status == 2 and result.optimality < 1e-5), result.message
    # f(x) = ||L'x + b'||^2 / 2 + const with A = L L' and L b' = b: bounded least squares, solved by an active set.
    L = np.linalg.cholesky(problem.A)
    peer = scipy.optimize.lsq_linear(L.T, -np.linalg.solve(L, problem.b), (low, high), "bvls", 1e-14, max_iter=1000)
    np.testing.assert_allclose(result.x, peer.x, atol=3e-5)


@each("step", [StrongWolfe(), Backtracking()])
@each("seed", range(4))
def test_bounds_do_not_spoil_the_quasi_newton_direction(step, seed):
    # Without the two metrics most directions point out of the box, and 3 to 100 times as many trials are needed.
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    A = Q @ np.diag(np.geomspace(1.0, 1e4, 20)) @ Q.T
    problem = Quadratic((A + A.T) / 2, A @ (2.0 * rng.standard_normal(20)), start=rng.random(20))
    result = minimize(
        problem, problem.start, jac=problem.gradient, step=step, direction=LBFGS(), bounds=Bounds(-1.0, 1.0)
    )
    assert result.success
    assert (np.abs(result.x) == 1.0).sum() >= 8
    assert result.nfev <= 1.5 * result.nit + 5


@pytest.mark.parametrize("direction", [LBFGS(), ConjugateGradient(), HeavyBall()], ids=name)
def test_a_variable_close_to_its_bound_goes_onto_it(direction):
    problem = Quadratic(np.eye(2))
    result = minimize(
        problem, [1.0005, 3.0], jac=problem.gradient, step=StrongWolfe(), direction=direction, bounds=Bounds([1, -9], 9)
    )
    assert result.success
    assert result.x[0] == 1.0


def test_fixed_variables_stay_to_the_bit():
    problem = Rosenbrock(4)
    fixed = np.array([True, False, False, True])
    start = np.array([0.1, 0.2, 0.3, 1.0 / 3.0])
    for direction, step in itertools.product(DIRECTIONS, STEPS):
        counted = Counted(problem)
        result = minimize(
            counted, start, jac=counted.gradient, fixed=fixed, direction=direction, step=step, maxiter=30, history=True
        )
        assert all(np.array_equal(x[fixed], start[fixed]) for x in counted.points)
        assert all(np.array_equal(x[fixed], start[fixed]) for x in result.history.x)
        assert not result.jac[fixed].any()
    inner = scipy.optimize.minimize(
        lambda z: problem(np.array([0.1, *z, 1.0 / 3.0])), [0.2, 0.3], method="BFGS", options={"gtol": 1e-8}
    )
    result = minimize(problem, start, jac=problem.gradient, fixed=fixed, step=StrongWolfe(), direction=LBFGS())
    np.testing.assert_allclose(result.x[1:3], inner.x, atol=1e-5)


def onto_simplex(x):
    u = np.sort(x)[::-1]
    excess = (np.cumsum(u) - 1.0) / np.arange(1, x.size + 1)
    return np.maximum(x - excess[np.flatnonzero(u > excess)[-1]], 0.0)


@each("step", SEARCHES)
@each("direction", [Steepest(), LBFGS(), ConjugateGradient(), Nesterov()])
def test_any_projection(step, direction):
    target = np.array([0.9, 0.4, -0.3, 0.1])
    problem = Quadratic(np.eye(4), -target, start=np.full(4, 0.25))
    counted = Counted(problem)
    result = minimize(
        counted,
        problem.start,
        jac=counted.gradient,
        projection=onto_simplex,
        step=step,
        direction=direction,
        tol=1e-7,  # Below, steps change values by less than their rounding.
        maxiter=500,
    )
    for x in counted.points:
        # Steps of up to 1e7, where the curvature is lost to rounding, are projected with a rounding of their size.
        assert x.sum() == pytest.approx(1.0, abs=1e-9)
        assert (x >= 0.0).all()
    assert result.success, result.message
    np.testing.assert_allclose(result.x, onto_simplex(target), atol=1e-6)
    assert result.optimality == np.abs(result.x - onto_simplex(result.x - result.jac)).max()


def test_a_start_outside_the_bounds_is_moved_and_said_so():
    problem = Quadratic(np.eye(2))
    result = minimize(problem, [5.0, -5.0], jac=problem.gradient, bounds=[(1.0, 2.0), (None, 3.0)], history=True)
    np.testing.assert_array_equal(result.history.x[0], [2.0, -5.0])
    assert result.message.endswith(" x0 was outside the bounds, and the run started from the nearest point inside.")
    np.testing.assert_allclose(result.x, [1.0, 0.0], atol=1e-6)
    inside = minimize(problem, [1.5, 2.0], jac=problem.gradient, bounds=[(1.0, 2.0), (None, 3.0)])
    assert inside.message == "The projected gradient is below the tolerance."


def test_a_start_outside_a_set_is_moved_and_said_so():
    problem = Quadratic(np.eye(2))
    result = minimize(problem, [5.0, -5.0], jac=problem.gradient, projection=lambda x: np.clip(x, 1, 2), history=True)
    np.testing.assert_array_equal(result.history.x[0], [2.0, 1.0])
    assert "x0 was outside the set that projection maps to" in result.message


@each("ulps", [1, 2, 3, 4, 8])
@each("at", ["low", "high"])
def test_bounds_too_close_for_differences(ulps, at):
    low = 1.0
    high = low + ulps * np.finfo(float).eps
    counted = Counted(Quadratic(np.eye(2)))
    start = [low if at == "low" else high, 3.0]
    result = minimize(counted, start, bounds=[(low, high), (None, None)])
    assert result.success
    assert low <= result.x[0] <= high
    assert all(low <= x[0] <= high for x in counted.points)
    assert abs(result.x[1]) < 1e-5


@pytest.mark.parametrize("bounds", [Bounds(0.5, 2.0), Bounds([0.5, 0.5], [2.0, 2.0]), [(0.5, 2.0), (0.5, 2.0)]])
def test_bounds_in_both_forms_of_scipy(bounds):
    problem = Quadratic(np.eye(2))
    np.testing.assert_array_equal(minimize(problem, problem.start, jac=problem.gradient, bounds=bounds).x, [0.5, 0.5])


def test_masked_restoration_runs_in_the_same_loop():
    # Known pixels are fixed, the others move in [0, 1] down the squared differences of neighbours.
    rng = np.random.default_rng(2)
    image = np.add.outer(np.linspace(0.0, 0.5, 9), np.linspace(0.0, 0.5, 7))
    known = rng.random(image.shape) < 0.3
    start = np.where(known, image, rng.random(image.shape))

    def value_and_gradient(x):
        x = x.reshape(image.shape)
        down, right = np.diff(x, axis=0), np.diff(x, axis=1)
        g = np.zeros_like(x)
        g[1:] += 2 * down
        g[:-1] -= 2 * down
        g[:, 1:] += 2 * right
        g[:, :-1] -= 2 * right
        return (down**2).sum() + (right**2).sum(), g.ravel()

    result = minimize(
        value_and_gradient,
        start.ravel(),
        jac=True,
        fixed=known.ravel(),
        bounds=[(0.0, 1.0)] * image.size,
        step=BarzilaiBorwein(),
        tol=1e-8,
    )
    assert result.success
    restored = result.x.reshape(image.shape)
    np.testing.assert_array_equal(restored[known], image[known])
    assert np.abs(value_and_gradient(result.x)[1].reshape(image.shape)[~known]).max() < 1e-8


# Gradients


def test_differences_are_counted_and_close():
    counted = Counted(Rosenbrock(3))
    result = minimize(counted, counted.problem.start, step=StrongWolfe(), direction=LBFGS(), tol=1e-4, maxiter=500)
    assert result.success
    assert result.nfev == len(counted.points)
    assert result.nfev >= 4 * result.njev
    np.testing.assert_allclose(result.jac, counted.problem.gradient(result.x), atol=1e-6)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


def test_differences_respect_bounds_and_skip_fixed_variables():
    counted = Counted(Rosenbrock(4))
    low, high = np.array([-2.0, 0.5, -2.0, 0.0]), np.array([0.5, 0.5 + 1e-7, 2.0, 3.0])
    fixed = np.array([False, False, True, False])
    start = np.array([0.5, 0.5, 0.2, 0.0])
    result = minimize(
        counted, start, bounds=Bounds(low, high), fixed=fixed, step=BarzilaiBorwein(), tol=1e-4, maxiter=300
    )
    points = np.array(counted.points)
    assert (points >= low).all()
    assert (points <= high).all()
    assert (points[:, 2] == 0.2).all()
    assert result.success
    exact = np.where(fixed, 0.0, counted.problem.gradient(result.x))
    np.testing.assert_allclose(result.jac, exact, atol=1e-5)


@pytest.mark.parametrize("scheme", [None, False, "2-point", "3-point", "cs"])
def test_names_of_schemes_mean_differences(scheme):
    problem = Beale()
    result = minimize(problem, problem.start, jac=scheme, step=BarzilaiBorwein())
    assert result.success
    assert result.nfev >= 3 * result.njev


def test_value_and_gradient_from_one_call():
    calls = []

    def both(x):
        calls.append(1)
        return f_rosenbrock(x), df_rosenbrock(x)

    result = minimize(both, [-1.2, 1.0], jac=True, step=StrongWolfe(), direction=LBFGS())
    apart = minimize(f_rosenbrock, [-1.2, 1.0], jac=df_rosenbrock, step=StrongWolfe(), direction=LBFGS())
    assert result.nfev == result.njev == len(calls) == apart.nfev
    np.testing.assert_array_equal(result.x, apart.x)


def test_args_reach_both_functions():
    result = minimize(lambda x, a, b: float(a * x @ x) + b, [1.0], (3.0, 2.0), jac=lambda x, a, b: 2 * a * x)
    assert result.fun == 2.0
    assert minimize(lambda x, a: float(a * x @ x), [1.0], 3.0, jac=lambda x, a: 2 * a * x).success


def test_differences_are_relative_to_the_variable():
    x = np.array([1e9, 1.0, -3e-9])
    scale = np.array([1e9, 1.0, 1.0])
    result = minimize(lambda x: float(np.sin(x / scale).sum()), x, maxiter=0)
    np.testing.assert_allclose(result.jac, np.cos(x / scale) / scale, rtol=3e-6)


# Arrays are never shared


def test_the_start_is_the_caller_s_to_change():
    x0 = np.array([-1.2, 1.0])

    def f(x):
        x0[:] = 7.0
        return f_rosenbrock(x)

    result = minimize(f, x0, jac=df_rosenbrock, maxiter=3, history=True)
    np.testing.assert_array_equal(result.history.x[0], [-1.2, 1.0])
    np.testing.assert_array_equal(result.x, minimize(f_rosenbrock, [-1.2, 1.0], jac=df_rosenbrock, maxiter=3).x)
    nowhere = minimize(lambda x: math.nan, x0, jac=df_rosenbrock)
    assert not np.shares_memory(nowhere.x, x0)


def test_what_the_caller_does_to_arrays_has_no_effect():
    plain = minimize(f_rosenbrock, [-1.2, 1.0], jac=df_rosenbrock, step=BarzilaiBorwein(), history=True)
    buffer = np.empty(2)
    seen = []

    def f(x):
        value = f_rosenbrock(x)
        x[:] = np.nan
        return value

    def g(x):
        buffer[:] = df_rosenbrock(x)
        x[:] = np.nan
        return buffer

    def callback(intermediate_result):
        seen.append(intermediate_result.x.copy())
        intermediate_result.x[:] = np.nan
        intermediate_result.jac[:] = np.nan

    x0 = np.array([-1.2, 1.0])
    result = minimize(f, x0, jac=g, step=BarzilaiBorwein(), callback=callback, history=True)
    np.testing.assert_array_equal(x0, [-1.2, 1.0])
    np.testing.assert_array_equal(result.x, plain.x)
    np.testing.assert_array_equal(result.history.x, plain.history.x)
    np.testing.assert_array_equal(seen, plain.history.x[1:])
    assert not np.shares_memory(result.x, result.history.x)
    assert not np.shares_memory(result.x, x0)


def test_a_start_that_converges_at_once_is_not_shared():
    x0 = np.zeros(2)
    result = minimize(lambda x: float(x @ x), x0, jac=lambda x: 2 * x)
    assert result.nit == 0
    assert result.success
    assert not np.shares_memory(result.x, x0)


# Callbacks and stops


def test_callback_by_keyword_gets_a_result():
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)

    result = minimize(f_quadratic, [0, 1], jac=df_quadratic, callback=callback, history=True)
    assert [r.nit for r in seen] == list(range(1, result.nit + 1))
    for k, r in enumerate(seen, start=1):
        assert isinstance(r, OptimizeResult)
        np.testing.assert_array_equal(r.x, result.history.x[k])
        assert r.fun == f_quadratic(r.x)
        assert r.step == result.history.step[k - 1]
    assert (seen[-1].nfev, seen[-1].njev) == (result.nfev, result.njev)


@pytest.mark.parametrize("wrap", [lambda f: f, functools.partial, lambda f: lambda xk: f(xk)])
def test_callback_by_position_gets_the_point(wrap):
    seen = []
    result = minimize(f_quadratic, [0, 1], jac=df_quadratic, callback=wrap(seen.append), history=True)
    np.testing.assert_array_equal(seen, result.history.x[1:])


def test_callback_with_more_parameters_gets_the_point():
    # As in SciPy: the keyword must be alone.
    seen = []

    def callback(intermediate_result, more=None):
        seen.append(intermediate_result)

    minimize(f_quadratic, [0, 1], jac=df_quadratic, callback=callback)
    assert all(isinstance(x, np.ndarray) for x in seen)


def test_stop_iteration_in_the_callback_ends_the_run():
    def callback(intermediate_result):
        if intermediate_result.nit == 3:
            raise StopIteration

    result = minimize(f_rosenbrock, [-2, -2], jac=df_rosenbrock, callback=callback)
    assert (result.status, result.nit, result.success) == (99, 3, False)
    assert result.fun == f_rosenbrock(result.x)


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopIteration, ZeroDivisionError, SystemExit])
def test_exceptions_in_the_functions_pass_through(error):
    calls = itertools.count()

    def f(x):
        if next(calls) == 20:
            raise error
        return f_rosenbrock(x)

    with pytest.raises(error):
        minimize(f, [-2, -2], jac=df_rosenbrock)
    with pytest.raises(error):
        minimize(f_rosenbrock, [-2, -2], jac=raising(error))


def raising(error):
    def g(x):
        raise error

    return g


def test_target_ends_the_run_as_soon_as_it_is_reached():
    counted = Counted(Rosenbrock())
    result = minimize(counted, [-2, -2], jac=counted.gradient, target=10.0, history=True)
    assert result.status == 6
    assert result.success
    values = [counted.problem(x) for x in counted.points]
    assert values[-1] <= 10.0
    assert min(values[:-1]) > 10.0
    assert result.fun == values[-1] == result.history.fun[-1]
    at_once = minimize(counted, [1.0, 1.0], jac=counted.gradient, target=10.0)
    assert (at_once.status, at_once.nit, at_once.nfev) == (6, 0, 1)


def test_a_target_that_is_just_reached_ends_the_run_at_that_evaluation():
    counted = Counted(Rosenbrock())
    minimize(counted, [-2, -2], jac=counted.gradient, maxiter=5)
    values = [counted.problem(x) for x in counted.points]
    records = [k for k in range(1, len(values)) if values[k] < min(values[:k])]
    assert len(records) > 10
    for k in records:
        result = minimize(counted.problem, [-2, -2], jac=counted.problem.gradient, target=values[k])
        assert (result.status, result.nfev, result.fun) == (6, k + 1, values[k])


def test_time_ends_the_run(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("graddesc.descent.objective.perf_counter", lambda: now[0])
    monkeypatch.setattr("graddesc.descent.api.perf_counter", lambda: now[0])

    def f(x):
        now[0] += 1.0
        return f_rosenbrock(x)

    result = minimize(f, [-2, -2], jac=df_rosenbrock, max_time=100.5)
    assert (result.status, result.success) == (5, False)
    assert result.nfev == 101
    assert result.fun == f_rosenbrock(result.x)
    assert result.fun < 3609.0
    assert minimize(f, [-2, -2], jac=df_rosenbrock, max_time=20).nfev == 20
    none = minimize(f, [-2, -2], jac=df_rosenbrock, max_time=0)
    assert (none.status, none.nfev) == (5, 1)


def test_a_gradient_as_large_as_the_tolerance_is_too_large():
    for size, status in ((0.5, 1), (0.499, 0)):
        result = minimize(lambda x: float(x[0]), [1.0], jac=lambda x, size=size: [size], tol=0.5, maxiter=0)
        assert result.status == status


def test_a_gradient_that_shrinks_is_progress_where_values_do_not_change():
    class Short:
        """A search, in name."""

        def begin(self):
            return lambda ray: ray.at(0.05)

    result = minimize(lambda x: 1e13, [1.0], jac=lambda x: x, step=Short(), tol=1e-6)
    assert result.success
    assert result.nit > 200


def test_iterations_end_the_run():
    for maxiter in (0, 1, 7):
        result = minimize(f_rosenbrock, [-2, -2], jac=df_rosenbrock, maxiter=maxiter)
        assert (result.status, result.nit) == (1, maxiter)


def test_small_displacements_and_changes_end_the_run_on_request():
    by_x = minimize(f_rosenbrock, [-2, -2], jac=df_rosenbrock, xtol=1e-3, history=True)
    assert by_x.status == 0
    assert "displacement" in by_x.message
    assert np.abs(np.diff(by_x.history.x[-2:], axis=0)).max() <= 1e-3 * max(1.0, np.abs(by_x.x).max())
    near_zero = minimize(lambda x: float(x @ x), [3.0], jac=lambda x: 2.0 * x, step=Constant(0.1), xtol=1e-3, tol=0.0)
    assert "displacement" in near_zero.message
    assert near_zero.nit < 50  # It is a quarter of x each time, but below 1e-3 in the end.
    by_f = minimize(f_rosenbrock, [-2, -2], jac=df_rosenbrock, ftol=1e-3, history=True)
    assert by_f.status == 0
    assert "change" in by_f.message
    assert abs(np.diff(by_f.history.fun[-2:])[0]) <= 1e-3 * max(1.0, by_f.history.fun[-2])


def test_values_that_are_not_finite_at_the_start():
    for value in (math.nan, math.inf, -math.inf):
        result = minimize(lambda x, value=value: value, [1.0], jac=lambda x: np.ones(1))
        assert (result.status, result.success, result.nit) == (3, False, 0)
        np.testing.assert_equal(result.fun, value)
        np.testing.assert_array_equal(result.x, [1.0])


@pytest.mark.parametrize("bounds", [None, [(0.0, 1.0)] * 40])
def test_time_is_looked_at_within_a_gradient_by_differences(monkeypatch, bounds):
    now = [0.0]
    monkeypatch.setattr("graddesc.descent.objective.perf_counter", lambda: now[0])
    monkeypatch.setattr("graddesc.descent.api.perf_counter", lambda: now[0])

    def f(x):
        now[0] += 1.0
        return float((x - 0.5) @ (x - 0.5))

    for seconds in (10, 90, 115):
        now[0] = 0.0
        result = minimize(f, np.zeros(40), step=StrongWolfe(), bounds=bounds, max_time=seconds)
        assert result.status == 5
        assert seconds <= result.nfev <= seconds + 1
        assert result.njev <= (result.nfev - 1) // 40
        assert result.fun == f(result.x)
        assert np.isnan(result.jac).all()
    # The trial of the second gradient is the best point, though it has none.
    assert 0 < result.x[0] < 1


def test_a_target_that_is_reached_at_the_last_moment_is_reached(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("graddesc.descent.objective.perf_counter", lambda: now[0])
    monkeypatch.setattr("graddesc.descent.api.perf_counter", lambda: now[0])

    def f(x):
        now[0] += 1.0
        return float(x @ x)

    # The second value ends the search, the time ends within the differences that follow.
    for seconds, status in ((1, 5), (4, 5), (5.5, 6), (6.5, 6), (20, 6)):
        now[0] = 0.0
        result = minimize(f, [3.0, 4.0], step=Constant(0.5), target=1e-3, max_time=seconds)
        assert result.status == status
        assert (result.fun <= 1e-3) == result.success == (status == 6)


def test_points_of_differences_are_no_candidates():
    spikes = []

    def f(x):
        spikes.append(abs(x[0] - 1.0) not in (0.0, 1.0))
        return -9.0 if spikes[-1] else float(x[0] ** 2)

    result = minimize(f, [1.0], step=Constant(0.5), maxiter=0, target=-5.0)
    assert sum(spikes) >= 2
    assert (result.x[0], result.fun, result.status) == (1.0, 1.0, 2)  # the spikes are heard as noise


@pytest.mark.parametrize(("value", "max_time", "status"), [(math.nan, None, 3), (math.nan, 0, 5), (2.0, 0, 5)])
def test_the_history_of_a_run_that_ends_at_its_start_holds_the_start(value, max_time, status):
    x0 = [1.0, 4.0]
    result = minimize(lambda x: value, x0, jac=lambda x: 3 * np.ones(2), max_time=max_time, history=True)
    assert result.status == status
    np.testing.assert_array_equal(result.history.x, [x0])
    np.testing.assert_array_equal(result.history.fun, [value])
    np.testing.assert_array_equal(result.history.gradient_norm, [result.optimality])
    np.testing.assert_array_equal(result.history.nfev, [result.nfev])
    assert result.history.step.shape == (0,)


def test_the_best_point_is_kept_when_the_run_climbs():
    # A constant step beyond 2 / curvature diverges.
    problem = Quadratic(np.diag([1.0, 10.0]), start=[1.0, 1e-3])
    result = minimize(problem, problem.start, jac=problem.gradient, step=Constant(0.25), maxiter=60, history=True)
    assert result.history.fun[-1] > result.fun
    assert result.fun == result.history.fun.min()


def test_a_run_that_converges_above_a_point_seen_before_goes_on_from_there():
    # Momentum carries the iterate out of the deep well at 0 into the shallow one at 3.
    def f(x):
        return float(-2.0 * np.exp(-((x[0] / 0.1) ** 2)) - np.exp(-((x[0] - 3.0) ** 2)))

    def g(x):
        deep = 400.0 * x * np.exp(-((x / 0.1) ** 2))
        return deep + 2.0 * (x - 3.0) * np.exp(-((x - 3.0) ** 2))

    direction = HeavyBall(0.95)
    # Its steps must be small enough to stay in the deep well, once it is sent back without momentum.
    result = minimize(f, [-0.2], jac=g, step=Constant(4e-3), direction=direction, maxiter=50_000, history=True)
    assert result.success
    assert result.fun <= result.history.fun.min() + 1e-15
    # The jump is no iteration, and the momentum stays behind.
    assert result.history.x.shape == (result.nit + 1, 1)
    last = np.flatnonzero(result.history.gradient_norm < 1e-5)[0]
    assert result.history.x[last] == pytest.approx(3.0, abs=1e-3)
    best = result.history.x[np.argmin(result.history.fun[: last + 1])]
    np.testing.assert_array_equal(result.history.x[last + 1], best - 4e-3 * g(best))


def test_patience_is_for_searches():
    arguments = {"fun": lambda x: 7.0, "x0": [3.0, 4.0], "jac": lambda x: np.ones(2), "maxiter": 300}
    assert minimize(**arguments, step=Constant(1e-3)).status == 1
    assert minimize(**arguments, step=ExactLineSearch()).status == 7


@each("direction", DIRECTIONS)
def test_a_schedule_of_zero_stays_where_it_is(direction):
    arguments = {"fun": f_quadratic, "x0": [0, 1], "jac": df_quadratic, "direction": direction, "history": True}
    late = minimize(**arguments, step=lambda k: 0.0 if k < 3 else 0.1, maxiter=33)
    np.testing.assert_array_equal(late.history.x[:4], [[0.0, 1.0]] * 4)
    np.testing.assert_array_equal(late.history.x[3:], minimize(**arguments, step=Constant(0.1), maxiter=30).history.x)


def test_only_points_with_a_gradient_are_returned():
    # The first trial, at 0.3, is the lowest point of all, but it has no gradient; then the run climbs.
    def g(x):
        return 2.0 * x if abs(x[0]) > 1.0 else np.full(1, math.nan)

    result = minimize(
        lambda x: float(x @ x), [3.0], jac=g, step=lambda k: 1.05 if k else 0.45, maxiter=20, history=True
    )
    assert result.x == pytest.approx(3.0 - 0.045 * 6.0)
    assert result.fun == result.history.fun.min() < result.history.fun[-1]


def test_schedules_may_be_shortened_now_and_then():
    result = minimize(
        lambda x: math.cos(x[0]) if abs(x[0]) < 10.0 else math.nan,
        [1.0],
        jac=lambda x: -np.sin(x),
        step=lambda k: 1e-3 if k % 2 else 1e4,
        tol=0.0,
        maxiter=100,
        history=True,
    )
    assert result.status == 1
    assert (result.history.step[::2] < 1e4).all()


def test_twenty_steps_in_a_row_that_are_shortened_end_the_run():
    def f(x):
        return float(x[0] ** 2) if abs(x[0]) < 5.0 else math.nan

    for whole, nit in ((None, 19), (18, 38), (19, 39), (20, 19)):  # the twentieth is not taken
        result = minimize(f, [1.0], jac=lambda x: 2.0 * x, step=lambda k, at=whole: 1e-3 if k == at else 1e4, tol=0.0)
        assert (result.status, result.nit) == (3, nit)
        assert "not finite 20 times in a row" in result.message


def test_schedules_follow_the_plain_recipe_with_clipping():
    step = InverseTime(0.05, floor=0.01)
    x = np.array([0.0, 1.0])
    rows = [x]
    for k in range(50):
        x = np.clip(x - step(k) * df_quadratic(x), -0.5, 1.0)
        rows.append(x)
    result = minimize(
        f_quadratic, [0, 1], jac=df_quadratic, step=step, bounds=[(-0.5, 1.0)] * 2, maxiter=50, tol=0, history=True
    )
    np.testing.assert_array_equal(result.history.x, rows[: result.nit + 1])
    assert result.nit > 20


# As a method of scipy.optimize.minimize


@pytest.mark.parametrize("jac", [df_rosenbrock, True, "2-point", None])
def test_as_a_method_of_scipy(jac):
    fun = (lambda x: (f_rosenbrock(x), df_rosenbrock(x))) if jac is True else f_rosenbrock
    seen = []
    result = scipy.optimize.minimize(
        fun,
        [-1.2, 1.0],
        jac=jac,
        method=minimize,
        tol=1e-4,
        callback=lambda intermediate_result: seen.append(intermediate_result.fun),
        options={"step": StrongWolfe(), "direction": LBFGS(), "maxiter": 500},
    )
    assert result.success
    assert result.optimality < 1e-4
    assert seen[-1] == result.fun
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


@pytest.mark.parametrize("bounds", [[(None, 0.5), (0.0, None)], Bounds([-np.inf, 0.0], [0.5, np.inf])])
def test_as_a_method_of_scipy_with_bounds(bounds):
    result = scipy.optimize.minimize(
        f_rosenbrock,
        [-1.2, 1.0],
        jac=df_rosenbrock,
        method=minimize,
        bounds=bounds,
        options={"step": BarzilaiBorwein()},
    )
    assert result.success
    np.testing.assert_allclose(result.x, [0.5, 0.25], atol=1e-4)


def test_as_a_method_of_scipy_what_it_cannot_use():
    options = {"method": minimize, "jac": df_quadratic}
    with_hessian = scipy.optimize.minimize(
        f_quadratic, [0, 1], hess=lambda x: np.eye(2), hessp=lambda x, p: p, callback=lambda xk: None, **options
    )
    assert with_hessian.nit == 11
    with pytest.raises(ValueError, match="constraints are not supported"):
        scipy.optimize.minimize(f_quadratic, [0, 1], constraints={"type": "eq", "fun": lambda x: x[0]}, **options)
    with pytest.warns(OptimizeWarning, match="unknown option: learning_rate"):
        scipy.optimize.minimize(f_quadratic, [0, 1], options={"learning_rate": 1e-3}, **options)


# Bad input


@each(
    "change, error, message",
    [
        ({"x0": []}, ValueError, r"x0 must have shape \(n,\) with n >= 1, got \(0,\)"),
        ({"x0": np.ones((2, 2, 2))}, ValueError, r"x0 must have shape \(n,\) with n >= 1, got \(2, 2, 2\)"),
        ({"x0": [0.0, math.nan]}, ValueError, "x0 must be finite, got nan at index 1"),
        ({"x0": ["a", 1.0]}, TypeError, r"x0 must be an array of numbers, got \['a', 1.0\]"),
        ({"x0": [1j, 1.0]}, TypeError, "x0 must be an array of numbers, got"),
        ({"x0": [math.inf, 1.0]}, ValueError, "x0 must be finite, got inf at index 0"),
        ({"fun": 3}, TypeError, "fun must be callable, got 3"),
        ({"fun": lambda x: "high"}, TypeError, "fun must return a number, got 'high'"),
        ({"fun": lambda x: "3"}, TypeError, "fun must return a number, got '3'"),
        ({"fun": lambda x: None}, TypeError, "fun must return a number, got None"),
        ({"fun": lambda x: np.complex128(1j)}, TypeError, "fun must return a number, got"),
        ({"jac": True}, TypeError, r"fun must return a pair \(value, gradient\) if jac is True, got .*10.0"),
        ({"fun": lambda x: x}, ValueError, r"fun must return a number, got an array of shape \(2,\)"),
        ({"jac": 3}, TypeError, "jac must be callable, bool or None, got 3"),
        ({"jac": lambda x: np.ones(3)}, ValueError, r"jac must return an array of shape \(2,\), got \(3,\)"),
        ({"jac": lambda x: np.ones((2, 1))}, ValueError, r"jac must return an array of shape \(2,\), got \(2, 1\)"),
        ({"bounds": [(0, 1)]}, ValueError, r"bounds must be 2 pairs \(low, high\)"),
        ({"bounds": [(0, 1), (2, 1)]}, ValueError, r"bounds must leave a number .*, got \(2.0, 1.0\) for variable 1"),
        ({"bounds": [(0, 1), (math.nan, 1)]}, ValueError, "bounds must leave a number between them, got"),
        ({"bounds": [(0, 1), (math.inf, None)]}, ValueError, r"bounds must leave a number .*, got \(inf, inf\)"),
        ({"bounds": [(None, -math.inf), (0, 1)]}, ValueError, r"bounds must leave a number .* for variable 0"),
        ({"bounds": 3}, TypeError, r"bounds must be pairs \(low, high\) or scipy.optimize.Bounds, got 3"),
        (
            {"bounds": Bounds([0, 0, 0], [1, 1, 1])},
            ValueError,
            "bounds must have one value for each of the 2 variables",
        ),
        ({"fixed": [0, 1]}, ValueError, "fixed must be an array of bool"),
        ({"fixed": [True]}, ValueError, r"fixed must be an array of bool of shape \(2,\), got bool of \(1,\)"),
        (
            {"fixed": [True, False], "bounds": [(1, 2), (None, None)]},
            ValueError,
            r"fixed variables must start within their bounds, got x0\[0\] = 0.0",
        ),
        ({"projection": 3}, TypeError, "projection must be callable, got 3"),
        ({"projection": lambda x: x[:1]}, ValueError, r"projection must return an array of shape \(2,\), got \(1,\)"),
        (
            {"projection": lambda x: x if x[1] == 1 else x[:1]},
            ValueError,
            r"projection must return an array of shape \(2,\), got \(1,\)",
        ),
        ({"projection": lambda x: x, "bounds": [(0, 1)] * 2}, ValueError, "projection must come alone"),
        ({"step": "fast"}, TypeError, "step must be a schedule k -> float or a line search, got 'fast'"),
        ({"step": StrongWolfe}, TypeError, "step must be a schedule k -> float or a line search, got <class"),
        (
            {"step": lambda k: -0.1},
            ValueError,
            "step must return a non-negative finite number, got -0.1 in iteration 0",
        ),
        ({"step": lambda k: math.nan}, ValueError, "step must return a non-negative finite number, got nan"),
        ({"step": lambda k: [1, 2]}, TypeError, r"step must return a number, got \[1, 2\] in iteration 0"),
        ({"step": lambda k: np.ones(1)}, TypeError, r"step must return a number, got array\(\[1.\]\) in iteration 0"),
        ({"step": lambda k: "0.1"}, TypeError, "step must return a number, got '0.1' in iteration 0"),
        ({"step": lambda k: 0.01 if k < 5 else None}, TypeError, "step must return a number, got None in iteration 5"),
        ({"direction": "down"}, TypeError, "direction must be one of graddesc.directions, got 'down'"),
        ({"direction": LBFGS}, TypeError, "direction must be one of graddesc.directions, got <class"),
        ({"tol": -1.0}, ValueError, "tol must be a non-negative finite number, got -1.0"),
        ({"tol": None}, TypeError, "tol must be a non-negative finite number, got None"),
        ({"xtol": math.nan}, ValueError, "xtol must be a non-negative finite number, got nan"),
        ({"ftol": -1}, ValueError, "ftol must be a non-negative finite number, got -1"),
        ({"maxiter": -1}, ValueError, "maxiter must be a non-negative integer, got -1"),
        ({"maxiter": 1.5}, TypeError, "maxiter must be a non-negative integer, got 1.5"),
        ({"max_time": -1}, ValueError, "max_time must be a non-negative finite number, got -1"),
        ({"target": "3"}, TypeError, "target must be a number, got '3'"),
        ({"threads": 1.0}, TypeError, "threads must be a positive integer, got 1.0"),
        ({"threads": 0}, ValueError, "threads must be a positive integer, got 0"),
        ({"target": math.nan}, ValueError, "target must be a number, got nan"),
        ({"callback": 3}, TypeError, "callback must be callable, got 3"),
        ({"constraints": [{"type": "eq"}]}, ValueError, "constraints are not supported: use bounds"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = {"fun": f_quadratic, "x0": [0.0, 1.0], "jac": df_quadratic} | change
    with pytest.raises(error, match=message):
        minimize(**arguments)


def test_numbers_come_as_they_may():
    for fun in (
        lambda x: np.float32(x @ x),
        lambda x: np.array([x @ x]),
        lambda x: int(x @ x) + 0,
        lambda x: (x @ x)[()],
        lambda x: [[Fraction(x @ x)]],
    ):
        assert isinstance(minimize(fun, 2, jac=lambda x: 2 * x, maxiter=3).fun, float)
    assert minimize(lambda x: float(x @ x), np.int64(2), jac=lambda x: [float(2 * x[0])]).x.shape == (1,)


def test_callables_without_signature_are_called_by_position():
    calls = []

    class Odd:
        __signature__ = "none"

        def __call__(self, xk):
            calls.append(xk)

    with pytest.raises((TypeError, ValueError), match="signature"):
        inspect.signature(Odd())
    minimize(f_quadratic, [0, 1], jac=df_quadratic, callback=Odd())
    assert len(calls) == 11


def test_the_first_four_arguments_alone_go_by_position():
    parameters = inspect.signature(graddesc.minimize).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == ["fun", "x0", "args", "jac"]


def test_the_package_offers_it():
    assert {"minimize", "gradient_descent"} <= set(graddesc.__all__)
    assert graddesc.gradient_descent is gradient_descent


# Combinations

MOMENTA = [HeavyBall(), Nesterov(), Adam(), ConjugateGradient(), LBFGS()]


@pytest.mark.parametrize("direction", [Steepest(), HeavyBall(), Nesterov()], ids=lambda d: type(d).__name__)
def test_a_schedule_that_diverges_ends_soon(direction):
    problem = Rosenbrock(2)
    result = minimize(problem, problem.start, jac=problem.gradient, step=Constant(0.1), direction=direction)
    assert result.status == 3
    assert "not finite 20 times in a row" in result.message
    assert result.nit < 100
    assert result.fun == problem(result.x) <= problem(problem.start)


@each("step", [ExactLineSearch(), Backtracking(), StrongWolfe(), HagerZhang()])
@each("direction", MOMENTA)
def test_every_direction_goes_with_every_search(direction, step):
    problem = Rosenbrock(2)
    result = minimize(problem, problem.start, jac=problem.gradient, step=step, direction=direction)
    assert result.status == 0
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


@pytest.mark.parametrize("maxiter", [None, 100])
def test_gradient_descent_takes_none_for_its_default(maxiter):
    problem = Rosenbrock(2)
    with unconverged(True):
        x, fx, k = gradient_descent(problem, problem.gradient, problem.start, maxiter=maxiter)
    assert k == 100
    assert fx == problem(x)


# Restoration as a problem


class Restoration:
    """The line smoothness of an image as a function of its pixels in one vector."""

    def __init__(self, rows=17, cols=23, missing=0.8, seed=3):
        rng = np.random.default_rng(seed)
        self.shape = rows, cols
        self.mask = rng.random(self.shape) < missing
        self.start = np.where(self.mask, rng.random(self.shape), rng.random(self.shape) * 0.8 + 0.1)

    def fun(self, x):
        value, gradient = graddesc.losses.LineSmoothness().value_and_gradient(x.reshape(self.shape))
        return value, gradient.ravel()

    def settings(self):
        return {"jac": True, "bounds": Bounds(0.0, 1.0), "fixed": ~self.mask.ravel()}


@pytest.mark.parametrize("projected", [False, True])
def test_the_generic_loop_agrees_with_the_restoration_kernel(projected):
    problem = Restoration()
    step = InverseTime(1.5, floor=0.015)
    images = []
    graddesc.restore(
        problem.start, problem.mask, loss="line", step=step, init="image", max_iter=60, bounds=(0, 1),
        callback=lambda intermediate_result: images.append(intermediate_result.x),
    )  # fmt: skip
    settings = problem.settings()
    if projected:
        known = problem.start.ravel()[~problem.mask.ravel()]

        def projection(x):
            x = np.clip(x, 0.0, 1.0)
            x[~problem.mask.ravel()] = known
            return x

        settings = {"jac": True, "projection": projection}
    result = minimize(problem.fun, problem.start.ravel(), step=step, maxiter=60, tol=0.0, history=True, **settings)
    assert len(images) == result.nit == 60
    for image, x in zip(images, result.history.x[1:], strict=True):
        np.testing.assert_allclose(x, image.ravel(), rtol=0, atol=1e-12)


@pytest.mark.once
def test_searches_restore_what_the_solver_does():
    problem = Restoration()
    best = graddesc.restore(
        problem.start, problem.mask, loss="line", tol=1e-9, max_iter=5000, bounds=(0, 1), full_output=True
    )[1].fun
    # At the minimum some norms vanish, where the loss has no gradient: no search may converge, but all must come near.
    for step, direction, near in ((BarzilaiBorwein(), None, 1.01), (StrongWolfe(), LBFGS(), 1.0001)):
        result = minimize(
            problem.fun, problem.start.ravel(), step=step, direction=direction, maxiter=3000, **problem.settings()
        )
        assert best * (1 - 1e-5) <= result.fun <= best * near
        x = result.x.reshape(problem.shape)
        np.testing.assert_array_equal(x[~problem.mask], problem.start[~problem.mask])
        assert ((x >= 0) & (x <= 1)).all()
