import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from cases import each
from hypothesis import given
from hypothesis import strategies as st
from loops import minimize_compiled as minimize

from graddesc import (
    LBFGS,
    Adam,
    ConjugateGradient,
    Constant,
    ExactLineSearch,
    Exponential,
    HeavyBall,
    InverseTime,
    Nesterov,
    Steepest,
    StrongWolfe,
)
from graddesc.problems import Quadratic, Rosenbrock, StyblinskiTang

pytestmark = pytest.mark.usefixtures("loop")  # every test runs over both

FORMULAS = ["hager-zhang", "polak-ribiere", "hestenes-stiefel", "fletcher-reeves", "dai-yuan"]
DIRECTIONS = [Steepest(), HeavyBall(0.7), Nesterov(), Nesterov(0.5), ConjugateGradient(), LBFGS(3), Adam()]


def path(problem, step, direction, maxiter):
    """The iterates, start included."""
    result = minimize(
        problem,
        problem.start,
        jac=problem.gradient,
        step=step,
        direction=direction,
        tol=0.0,
        maxiter=maxiter,
        history=True,
    )
    assert result.nit == maxiter
    return result.history.x


def test_steepest_is_the_plain_recipe():
    problem = Rosenbrock(3)
    x = problem.start
    for k, row in enumerate(path(problem, InverseTime(1e-3), Steepest(), 20)):
        np.testing.assert_array_equal(row, x)
        x = x - 1e-3 / (k + 1) * problem.gradient(x)


@pytest.mark.parametrize("problem", [Quadratic(np.diag([1.0, 9.0])), StyblinskiTang(3)], ids=lambda p: type(p).__name__)
def test_heavy_ball_by_the_book(problem):
    step, momentum = 0.01, 0.7
    x = before = problem.start
    expected = [x]
    for _ in range(40):
        x, before = x - step * problem.gradient(x) + momentum * (x - before), x
        expected.append(x)
    np.testing.assert_allclose(path(problem, Constant(step), HeavyBall(momentum), 40), expected, rtol=1e-9, atol=1e-12)


@each("problem, iterations", [(Quadratic(np.diag([1.0, 9.0])), 120), (StyblinskiTang(3), 50)])
@each("momentum", [None, 0.6])
@each("restart", [False, True])
def test_nesterov_by_its_two_sequences(problem, iterations, momentum, restart):
    step, t = 0.01, 1.0
    x = y = problem.start
    expected = [y]
    restarts = 0
    for _ in range(iterations):
        g = problem.gradient(y)
        x_next = y - step * g
        if restart and g.dot(x_next - x) > 0.0:
            # The momentum starts anew: as in the first iteration, the last displacement is the gradient step.
            t, x, restarts = 1.0, y, restarts + 1
        t_next = (1.0 + math.sqrt(1.0 + 4.0 * t * t)) / 2.0
        beta = (t - 1.0) / t_next if momentum is None else momentum
        y = x_next + beta * (x_next - x)
        x, t = x_next, t_next
        expected.append(y)
    assert restarts > 0 or not restart or momentum is not None
    actual = path(problem, Constant(step), Nesterov(momentum, restart=restart), iterations)
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-10)


def test_adam_by_the_book():
    problem = StyblinskiTang(3)
    x = problem.start
    m = v = np.zeros(3)
    expected = [x]
    for k in range(1, 51):
        g = problem.gradient(x)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        x = x - 0.02 * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        expected.append(x)
    np.testing.assert_allclose(path(problem, Constant(0.02), Adam(), 50), expected, rtol=1e-10)


@each("formula", FORMULAS)
@each("n", [2, 5])
def test_conjugate_gradients_end_on_a_quadratic_after_n_iterations(formula, n):
    rng = np.random.default_rng(n)
    root = rng.standard_normal((n, n))
    problem = Quadratic(root @ root.T + np.eye(n), rng.standard_normal(n))
    result = minimize(
        problem, problem.start, jac=problem.gradient, direction=ConjugateGradient(formula), step=ExactLineSearch()
    )
    assert result.success
    assert result.nit <= n + 1  # One more, as the search is exact to eight digits.
    steepest = minimize(problem, problem.start, jac=problem.gradient, step=ExactLineSearch())
    assert steepest.nit > 2 * n


@pytest.mark.parametrize(
    ("formula", "beta"),
    [
        ("polak-ribiere", lambda g, h, d, y: max(g @ y / (h @ h), 0.0)),
        ("hestenes-stiefel", lambda g, h, d, y: max(g @ y / (d @ y), 0.0)),
        ("fletcher-reeves", lambda g, h, d, y: g @ g / (h @ h)),
        ("dai-yuan", lambda g, h, d, y: g @ g / (d @ y)),
        (
            "hager-zhang",
            lambda g, h, d, y: max((y - 2 * d * (y @ y) / (d @ y)) @ g / (d @ y), 0.4 * (d @ h) / (d @ d)),
        ),
    ],
)
@given(seed=st.integers(0, 2**31), step=st.floats(1e-3, 1e3))
def test_conjugate_gradient_by_its_formula(formula, beta, seed, step):
    rng = np.random.default_rng(seed)
    g, h, d = rng.standard_normal((3, 4))
    turn = ConjugateGradient(formula).begin()
    np.testing.assert_array_equal(turn(h, None, None, 0.0), -h)
    expected = beta(g, h, d, g - h) * d - g
    scale = np.abs(expected).max()
    np.testing.assert_allclose(turn(g, step * d, g - h, step), expected, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("memory", [1, 3, 10])
def test_lbfgs_is_bfgs_on_the_pairs_it_remembers(memory):
    rng = np.random.default_rng(memory)
    n = 6
    root = rng.standard_normal((n, n))
    A = root @ root.T + np.eye(n)
    turn = LBFGS(memory).begin()
    g = rng.standard_normal(n)
    np.testing.assert_allclose(turn(g, None, None, 0.0), -g / max(1.0, np.linalg.norm(g)), rtol=1e-15)
    pairs = []
    for _ in range(8):
        s, g = rng.standard_normal((2, n))
        y = A @ s
        pairs = [*pairs, (s, y)][-memory:]
        H = np.eye(n) * (s @ y) / (y @ y)
        for s_, y_ in pairs:
            V = np.eye(n) - np.outer(y_, s_) / (s_ @ y_)
            H = V.T @ H @ V + np.outer(s_, s_) / (s_ @ y_)
        np.testing.assert_allclose(turn(g, s, y, 1.0), -H @ g, rtol=1e-9)


def test_lbfgs_does_not_remember_negative_curvature():
    turn = LBFGS().begin()
    g, s = np.array([1.0, 2.0]), np.array([0.5, 0.25])
    turn(g, None, None, 0.0)
    np.testing.assert_allclose(turn(g, s, -s, 1.0), -g / math.sqrt(5.0))


@each("direction", DIRECTIONS)
def test_a_forgotten_past_leaves_a_descent(direction):
    rng = np.random.default_rng(3)
    turn = direction.begin()
    turn(rng.standard_normal(4), None, None, 0.0)
    for _ in range(5):
        g, s, y = rng.standard_normal((3, 4))
        turn(g, s, y, 0.1)
        d = turn(g, None, None, 0.0)
        assert g.dot(d) < 0.0
        assert not np.shares_memory(g, d)


@each("direction", DIRECTIONS)
def test_after_a_restart_nothing_is_left_of_the_past(direction):
    rng = np.random.default_rng(4)
    turn, fresh = direction.begin(), direction.begin()
    turn(rng.standard_normal(4), None, None, 0.0)
    for _ in range(4):
        g, s = rng.standard_normal((2, 4))
        turn(g, s, 2.0 * s, 0.1)
    g = rng.standard_normal(4)
    np.testing.assert_array_equal(turn(g, None, None, 0.0), fresh(g, None, None, 0.0))
    for _ in range(4):
        g, s = rng.standard_normal((2, 4))
        np.testing.assert_array_equal(turn(g, s, 3.0 * s, 0.1), fresh(g, s, 3.0 * s, 0.1))


@each("direction", DIRECTIONS)
def test_settings_are_frozen_compare_and_hold_no_state(direction):
    assert direction == type(direction)(**vars(direction))
    first = path(Rosenbrock(), Constant(1e-4), direction, 20)
    second = path(Rosenbrock(), Constant(1e-4), direction, 20)
    np.testing.assert_array_equal(first, second)
    with pytest.raises(FrozenInstanceError):
        direction.new = 1


def test_momentum_and_memory_pay_on_an_ill_conditioned_quadratic():
    problem = Quadratic(np.diag([1.0, 30.0, 1000.0]))
    runs = {
        direction: minimize(
            problem, problem.start, jac=problem.gradient, step=Constant(1e-3), direction=direction, maxiter=20_000
        )
        for direction in (Steepest(), HeavyBall(0.9), Nesterov())
    }
    assert all(result.success for result in runs.values())
    assert runs[Nesterov()].nit < runs[HeavyBall(0.9)].nit < runs[Steepest()].nit / 5
    fast = minimize(problem, problem.start, jac=problem.gradient, step=StrongWolfe(), direction=LBFGS())
    assert fast.nit < 20


def test_adam_reaches_the_minimum_with_a_falling_step():
    problem = Rosenbrock()
    result = minimize(
        problem, problem.start, jac=problem.gradient, step=Exponential(0.05, factor=0.9995), direction=Adam()
    )
    assert result.success


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: HeavyBall(1.0), ValueError, r"momentum must be a number in \[0, 1\), got 1.0"),
        (lambda: Nesterov(-0.1), ValueError, r"momentum must be a number in \[0, 1\), got -0.1"),
        (lambda: ConjugateGradient("pr"), ValueError, "formula must be one of hager-zhang, .*, got 'pr'"),
        (lambda: LBFGS(0), ValueError, "memory must be a positive integer, got 0"),
        (lambda: LBFGS(2.5), TypeError, "memory must be a positive integer, got 2.5"),
        (lambda: Adam(mean_decay=1.0), ValueError, r"mean_decay must be a number in \[0, 1\), got 1.0"),
        (lambda: Adam(epsilon=0.0), ValueError, "epsilon must be a positive finite number, got 0.0"),
    ],
)
def test_wrong_settings_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()
