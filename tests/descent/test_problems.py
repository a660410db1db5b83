import numpy as np
import pytest
from cases import each
from hypothesis import given
from hypothesis import strategies as st

from graddesc import problems
from graddesc.problems import PROBLEMS, Quadratic, Rosenbrock


def differences(f, x, h):
    """Fourth-order central differences."""
    g = np.empty_like(x)
    for i in range(x.size):
        e = np.zeros_like(x)
        e[i] = h * max(1.0, abs(x[i]))
        g[i] = (8.0 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12.0 * e[i])
    return g


@each("problem", PROBLEMS)
@each("seed", range(3))
def test_gradient_is_that_of_the_value(problem, seed):
    x = problem.start + 0.1 * np.random.default_rng(seed).standard_normal(problem.n)
    g = problem.gradient(x)
    # Differences of fourth order lose about a quarter of the digits of the value.
    noise = 1e-11 * abs(problem(x)) + 1e-12
    np.testing.assert_allclose(differences(problem, x, 1e-3), g, rtol=2e-6, atol=1e-8 * np.abs(g).max() + 1e3 * noise)


@each("problem", PROBLEMS)
def test_minimum_is_where_it_is_said_to_be(problem):
    for x in problem.minimizers:
        scale = np.abs(problem.gradient(problem.start)).max()
        assert problem(x) == pytest.approx(problem.minimum, rel=1e-8, abs=1e-13)
        assert np.abs(problem.gradient(x)).max() <= 1e-7 * max(scale, 1.0)
        rng = np.random.default_rng(5)
        for _ in range(20):
            assert problem(x + 1e-2 * rng.standard_normal(problem.n)) >= problem.minimum


@each("problem", PROBLEMS)
def test_arrays_are_new_and_have_the_shape_of_the_problem(problem):
    assert problem.start.shape == (problem.n,)
    assert problem.minimizers.shape[1:] == (problem.n,)
    x = problem.start.copy()
    g = problem.gradient(x)
    assert g.shape == (problem.n,)
    assert not np.shares_memory(g, problem.gradient(x))
    np.testing.assert_array_equal(x, problem.start)
    assert isinstance(problem(x), float)
    assert problem(x) > problem.minimum


@each("problem", PROBLEMS)
def test_points_of_the_wrong_shape_are_refused(problem):
    for f in (problem, problem.gradient):
        with pytest.raises(ValueError, match=rf"x must have shape \({problem.n},\), got"):
            f(np.zeros(problem.n + 1))


@each(
    "problem, value",
    [
        # The values at the start that Moré, Garbow and Hillstrom's definitions give.
        (problems.Rosenbrock(2), 24.2),
        (problems.FreudensteinRoth(2), 400.5),
        (problems.PowellBadlyScaled(), 1.13526171734838),
        (problems.BrownBadlyScaled(), 999998000003.0),
        (problems.Beale(), 14.203125),
        (problems.JennrichSampson(), 4171.306161961),
        (problems.HelicalValley(), 2500.0),
        (problems.Gaussian(), 3.88810699116688e-06),
        (problems.Box3D(), 1031.15381060940),
        (problems.PowellSingular(4), 215.0),
        (problems.Wood(), 19192.0),
        (problems.KowalikOsborne(), 5.3131723e-03),
        (problems.BrownDennis(), 7926693.336997432),
        (problems.PenaltyI(4), 885.06264),
        (problems.VariablyDimensioned(10), 2198551.1625),
        (problems.Trigonometric(10), 7.0757595e-03),
        (problems.BroydenTridiagonal(10), 21.0),
    ],
)
def test_value_at_the_start(problem, value):
    assert problem(problem.start) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(("y", "theta"), [(1.0, 0.125), (-1.0, -0.125)])
def test_the_helix_is_cut_below_and_not_at_the_positive_axis(y, theta):
    expected = (100.0 * theta) ** 2 + (10.0 * (np.sqrt(2.0) - 1.0)) ** 2
    assert problems.HelicalValley()([1.0, y, 0.0]) == pytest.approx(expected, rel=1e-14)
    left = (100.0 * (0.5 - theta)) ** 2 + (10.0 * (np.sqrt(2.0) - 1.0)) ** 2
    assert problems.HelicalValley()([-1.0, y, 0.0]) == pytest.approx(left, rel=1e-14)


def test_far_away_they_overflow_in_silence():
    assert Rosenbrock()([1e200, 1.0]) == np.inf
    assert Rosenbrock().gradient([1e200, 1.0])[0] == np.inf


def test_classic_quadratic():
    # f(x) = x1^2 + 7 x2^2 + 2 x1 + x2 + 2
    problem = PROBLEMS[0]
    assert problem([0.0, 1.0]) == 10.0
    np.testing.assert_array_equal(problem.gradient([0.0, 1.0]), [2.0, 15.0])
    np.testing.assert_allclose(problem.minimizers, [[-1.0, -1.0 / 14.0]], rtol=1e-15)
    assert problem.minimum == pytest.approx(27.0 / 28.0, rel=1e-15)


@given(n=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_quadratic_is_least_at_its_minimizer(n, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n, n))
    problem = Quadratic(root @ root.T + np.eye(n), rng.standard_normal(n), rng.standard_normal())
    x = problem.minimizers[0]
    assert np.abs(problem.gradient(x)).max() < 1e-10 * (1.0 + np.abs(problem.A).max())
    assert problem(x + rng.standard_normal(n)) > problem.minimum


def test_quadratic_keeps_copies():
    A, b = np.eye(2), np.ones(2)
    problem = Quadratic(A, b)
    A[0, 0] = b[0] = 9.0
    assert problem([1.0, 0.0]) == 1.5
    with pytest.raises(ValueError, match="read-only"):
        problem.start[0] = 3.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Quadratic(np.ones((2, 3))), r"A must have shape \(n, n\), got \(2, 3\)"),
        (lambda: Quadratic([[1.0, 2.0], [0.0, 1.0]]), "A must be symmetric"),
        (lambda: Quadratic(-np.eye(2)), "A must be positive definite"),
        (lambda: Quadratic(np.eye(2), np.ones(3)), r"b must have shape \(2,\), got \(3,\)"),
        (lambda: Quadratic(np.eye(2), start=np.ones(3)), r"start must have shape \(2,\), got \(3,\)"),
        (lambda: Quadratic([[1.0, np.nan], [np.nan, 1.0]]), r"A must be finite, got \[\[1.0, nan\]"),
        (lambda: Quadratic(np.diag([1.0, np.inf])), "A must be finite, got array"),
        (lambda: Quadratic(np.eye(2), [0.0, np.nan]), r"b must be finite, got \[0.0, nan\]"),
        (lambda: Quadratic(np.eye(2), c=np.inf), "c must be a finite number, got inf"),
        (lambda: Quadratic(np.eye(2), start=[np.nan, 0.0]), r"start must be finite, got \[nan, 0.0\]"),
        (lambda: Rosenbrock(1), "n must be at least 2, got 1"),
        (lambda: Rosenbrock(0), "n must be a positive integer, got 0"),
        (lambda: problems.ExtendedRosenbrock(3), "n must be a multiple of 2, got 3"),
        (lambda: problems.PowellSingular(6), "n must be a multiple of 4, got 6"),
    ],
)
def test_wrong_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
