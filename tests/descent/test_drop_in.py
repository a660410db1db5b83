"""What people ask of a minimiser in SciPy's place: defaults that solve, scale, endings that name their cause."""

import copy
import itertools
import math
import pickle
import warnings
import zlib

import numpy as np
import pytest
import scipy.optimize
from cases import each
from loops import LOOPS
from scipy.optimize import OptimizeWarning, rosen, rosen_der

import graddesc
from graddesc import (
    LBFGS,
    Backtracking,
    BarzilaiBorwein,
    ConjugateGradient,
    Constant,
    ExactLineSearch,
    HagerZhang,
    Polyak,
    Steepest,
    StrongWolfe,
    cython_descent,
    directions,
    gradient_descent,
)
from graddesc.descent import loop as python_loop
from graddesc.descent import objective, region
from graddesc.descent.differences import Differences
from graddesc.endings import Ending
from graddesc.line_search import exact, ray, wolfe
from graddesc.problems import Rosenbrock

SEARCHES = [
    ExactLineSearch(),
    ExactLineSearch(slopes=True),
    Backtracking(),
    StrongWolfe(),
    HagerZhang(),
    BarzilaiBorwein(),
]
DIRECTIONS = [Steepest(), ConjugateGradient(), LBFGS()]


@pytest.fixture(params=LOOPS)
def minimize(request):
    return LOOPS[request.param]


# Both loops share numbers and endings


def test_both_loops_know_the_same_numbers():
    known = cython_descent.constants()
    modules = [python_loop, objective, region, ray, exact, wolfe, directions]
    for name, value in known.items():
        if name == "ROUNDING":
            assert value == objective.ROUNDING_UNITS * math.ulp(1.0)
            continue
        homes = [module for module in modules if name in vars(module)]
        assert homes, name
        assert {getattr(module, name) for module in homes} == {value}, name


def test_both_loops_end_for_the_same_reasons():
    assert {ending.name: int(ending) for ending in Ending} == cython_descent.ENDINGS
    sentences = [ending.sentence for ending in Ending]
    assert len(set(sentences)) == len(sentences)
    assert {ending.status for ending in Ending} == {0, 1, 2, 3, 4, 5, 6, 7, 99}
    asked_at = objective.LAST_POINT, objective.BEST_POINT, objective.OTHER_POINT
    assert tuple(cython_descent.ASKED_AT.values()) == asked_at
    assert str(python_loop.PATIENCE) in Ending.IDLE.sentence
    assert str(ray.LOST_STEPS) in Ending.LOST.sentence


# Defaults


def test_as_a_method_of_scipys_it_solves():
    by_values = scipy.optimize.minimize(rosen, [-1.2, 1.0], method=graddesc.minimize)
    assert by_values.success
    assert by_values.nfev <= 160  # 114, which the last bits of the machine's sums may change
    np.testing.assert_allclose(by_values.x, 1.0, atol=1e-4)
    result = scipy.optimize.minimize(rosen, [-1.2, 1.0], jac=rosen_der, method=graddesc.minimize)
    assert result.success
    assert result.nfev <= 55  # 37
    inverse = result.hess_inv @ np.eye(2)
    np.testing.assert_allclose(inverse, np.linalg.inv(scipy.optimize.rosen_hess(result.x)), rtol=0.1)


def test_the_direction_is_that_of_the_step():
    problem = Rosenbrock(4)
    for step, direction in [
        (None, LBFGS()),
        (HagerZhang(), LBFGS()),
        (Backtracking(), LBFGS()),
        (BarzilaiBorwein(), Steepest()),
        (ExactLineSearch(), Steepest()),
        (Constant(1e-4), Steepest()),
        (lambda k: 1e-4, Steepest()),
    ]:
        settings = {"jac": problem.gradient, "step": step, "maxiter": 20}
        result = graddesc.minimize(problem, problem.start, **settings)
        expected = graddesc.minimize(problem, problem.start, direction=direction, **settings)
        np.testing.assert_array_equal(result.x, expected.x)


@pytest.mark.parametrize("start", [[2.0], [-2.0], [2.0, 2.0], [3.0, 1.0], [2.0, 1.5, -2.0], [1e-3, 30.0]])
def test_no_first_step_ends_where_symmetry_makes_a_function_stationary(minimize, start):
    # Two wells for each variable: a zero is a hill between them, and its gradient vanishes.
    for search, direction in itertools.product((StrongWolfe(), HagerZhang()), (LBFGS(), ConjugateGradient())):
        for jac in (lambda v: v**3 - v, None):
            settings = {"jac": jac, "step": search, "direction": direction}
            result = minimize(lambda v: float((v**4 / 4 - v**2 / 2).sum()), start, **settings)
            assert result.success
            np.testing.assert_allclose(np.abs(result.x), 1.0, atol=1e-4)


def test_gradient_descent_says_that_it_has_not_converged():
    problem = Rosenbrock(10)
    with pytest.warns(OptimizeWarning, match="not converged after 100 iterations: The iterations are used up"):
        gradient_descent(problem, problem.gradient, problem.start)


@pytest.mark.parametrize("n", [2, 10, 100])
def test_iterates_results_and_pairs_are_kept_as_scipy_keeps_them(n):
    problem = Rosenbrock(n)
    result = graddesc.minimize(problem, problem.start, jac=problem.gradient, return_all=True)
    assert len(result.allvecs) == result.nit + 1
    np.testing.assert_array_equal(result.allvecs[0], problem.start)
    np.testing.assert_array_equal(result.allvecs[-1], result.x)
    direction = -(result.hess_inv @ result.jac)
    assert direction @ result.jac < 0.0


def test_lbfgs_always_leaves_its_matrix(minimize):
    settings = {"jac": lambda v: 8.0 * v, "step": StrongWolfe(), "direction": LBFGS()}
    assert minimize(lambda v: float(4 * v @ v), [0.0, 0.0], **settings).hess_inv.todense().tolist() == [[1, 0], [0, 1]]
    assert minimize(lambda v: np.nan, [0.0, 0.0], **settings).hess_inv.shape == (2, 2)
    # The last step counts.
    for most in (1, 2, 3, 10):
        result = minimize(lambda v: float(4 * v @ v), [3.0], **settings, maxiter=most)
        np.testing.assert_allclose(result.hess_inv.todense(), [[1 / 8]], rtol=1e-7)
    assert len(minimize(rosen, [-1.2, 1.0], maxiter=9, **{**settings, "jac": rosen_der}).hess_inv.sk) == 9
    few = minimize(rosen, [-1.2, 1.0], maxiter=9, **{**settings, "jac": rosen_der, "direction": LBFGS(memory=4)})
    assert len(few.hess_inv.sk) == 4
    # It is made when it is looked at, by whatever looks first.
    theirs = scipy.optimize.LbfgsInvHessProduct(few.hess_inv.sk, few.hess_inv.yk)
    for look in (lambda h: h @ np.eye(2), lambda h: (2 * h) @ np.eye(2) / 2, lambda h: h.todense()):
        for kept in (lambda h: h, lambda h: pickle.loads(pickle.dumps(h)), copy.copy):
            again = minimize(rosen, [-1.2, 1.0], maxiter=9, **{**settings, "jac": rosen_der, "direction": LBFGS(4)})
            np.testing.assert_allclose(look(kept(again.hess_inv)), theirs.todense(), rtol=1e-12)
    assert isinstance(few.hess_inv, scipy.optimize.LbfgsInvHessProduct)
    assert not hasattr(few.hess_inv, "nothing_of_the_kind")


def test_lbfgs_keeps_the_last_pair_where_the_best_point_was_another_one():
    settings = {"jac": rosen_der, "step": Constant(1.0), "direction": LBFGS(), "tol": 0.0}
    gone_back = 0
    for most in range(1, 12):
        results = [run(rosen, [-1.2, 1.0], maxiter=most, return_all=True, **settings) for run in LOOPS.values()]
        gone_back += (results[0].x != results[0].allvecs[-1]).any()
        python, compiled = (result.hess_inv for result in results)
        np.testing.assert_allclose(compiled.sk, python.sk, rtol=1e-6)
        np.testing.assert_allclose(compiled.yk, python.yk, rtol=1e-6)
    assert gone_back


def test_bounds_may_be_rows_of_an_array():
    rows = np.array([[-5.0, 0.9], [0.0, np.inf]])
    expected = graddesc.minimize(rosen, [-1.2, 1.0], jac=rosen_der, bounds=[(-5.0, 0.9), (0.0, None)])
    for given in (rows, np.asfortranarray(rows), rows.astype(np.float32).astype(object)):
        result = graddesc.minimize(rosen, [-1.2, 1.0], jac=rosen_der, bounds=given)
        np.testing.assert_allclose(result.x, expected.x, rtol=1e-6)
    np.testing.assert_array_equal(rows, [[-5.0, 0.9], [0.0, np.inf]])
    with pytest.raises(ValueError, match=r"bounds must leave a number between them, got \(1.0, -1.0\) for variable 1"):
        graddesc.minimize(rosen, [-1.2, 1.0], bounds=np.array([[-1.0, 1.0], [1.0, -1.0]]))


def test_values_tell_no_curvature_of_displacements_that_a_bound_ends(minimize):
    # The second variable meets its bound: what values tell of the displacement is about both.
    def gradient(x):
        return 4.0 * x**3

    settings = {"step": StrongWolfe(), "direction": LBFGS(), "maxiter": 2, "return_all": True}
    result = minimize(
        lambda x: float((x**4).sum()), [2.0, 2.0], jac=gradient, bounds=[(None, None), (1.9, None)], **settings
    )
    start, second = result.allvecs[:2]
    assert second[1] == 1.9
    s, y = result.hess_inv.sk[0], result.hess_inv.yk[0]
    np.testing.assert_array_equal(s, [second[0] - start[0], 0.0])
    np.testing.assert_array_equal(y, [gradient(second)[0] - gradient(start)[0], 0.0])


def test_the_gradient_of_the_best_point_is_its_own_where_a_lower_one_was_given_up():
    def fun(x):
        return float(x @ x), 2.0 * x if x @ x > 1.0 else np.full(1, np.nan)

    told = objective.Objective(fun, True, (), None, tol=1e-5, deadline=np.inf, maxfun=np.inf)
    values = [told.value(np.array([x])) for x in (3.0, 0.5, 2.0, 2.5)]
    np.testing.assert_array_equal(told.gradient(np.array([2.0]), values[2], objective.BEST_POINT), [4.0])
    assert told.nfev == told.njev == 5


def test_pairs_of_lbfgs_learn_curvature_from_values(minimize):
    settings = {"step": Constant(0.1), "direction": LBFGS(), "maxiter": 1, "tol": 0.0}

    def learnt(cubic, offset=0.0, bounds=None, wobble=0.0):
        # One step of the cubic polynomial with these coefficients: what the pair tells of its curvature at the end, as
        # a share of the way from that of the gradients to the true one.
        p = np.polynomial.Polynomial(cubic)
        result = minimize(
            lambda v: float(p(v[0])) + offset + wobble * (v[0] != 1.0),
            [1.0, 5.0],
            jac=lambda v: np.array([p.deriv()(v[0]), 0.0]),
            bounds=bounds,
            **settings,
        )
        s, y = result.hess_inv.sk[0][0], result.hess_inv.yk[0][0]
        by_gradients = (p.deriv()(1.0 + s) - p.deriv()(1.0)) / s
        return (y / s - by_gradients) / (p.deriv(2)(1.0 + s) - by_gradients), y / s / by_gradients

    # Half of the way, for steps in either direction, also in another unit and between bounds.
    for unit in (1.0, 1e-8, 1e8):
        for cubic in ([0, 0.3, 1, 1 / 6], [0, -3, 1, 1 / 6]):
            for bounds in (None, [(-10.0, 10.0)] * 2, [(None, None), (5.0, 5.0)]):
                settings["step"] = Constant(0.1 / min(unit, 1.0))
                share, _ = learnt(unit * np.array(cubic), bounds=bounds)
                assert share == pytest.approx(0.5, rel=1e-3)
    # No more than as much again, and no less than half.
    settings["step"] = Constant(0.1)
    assert learnt([0, 0.3, 1, 1 / 6], wobble=-10.0)[1] == pytest.approx(2.0)
    assert learnt([0, 5, -2.8, 1])[1] == pytest.approx(0.5)
    # Values of which rounding leaves nothing tell nothing.
    assert learnt([0, 0.3, 1, 1 / 6], offset=1e15)[1] == pytest.approx(1.0)


# Differences


def test_the_likelihood_of_small_data_is_maximised():
    for size in (1e-6, 1e-3, 1.0, 1e5):
        data = np.random.default_rng(0).weibull(2.0, 300) * size

        def nll(q, data=data):
            with np.errstate(all="ignore"):
                ratio = data / q[0]
                return -float(np.sum(np.log(q[1] / q[0]) + (q[1] - 1) * np.log(ratio) - ratio ** q[1]))

        bounds = [(1e-6 * size, None), (1e-3, None)]
        result = scipy.optimize.minimize(nll, [data.mean(), 1.0], bounds=bounds, method=graddesc.minimize)
        assert result.x[0] == pytest.approx(1.08154 * size, rel=2e-4)
        assert result.x[1] == pytest.approx(2.0485, rel=2e-4)
        assert result.nfev < 5000  # up to 1841 for small data


def test_differences_of_rounding_are_no_convergence(minimize):
    for offset in (1e12, 1e13, 1e14):
        result = minimize(lambda v, offset=offset: offset + float(((v - 3) ** 2).sum()), [0.0, 0.0], direction=LBFGS())
        assert result.status == 2
        np.testing.assert_allclose(result.x, 3.0, atol=40 * math.sqrt(offset * 1e-16))


def rastrigin(v):
    return float(np.sum(v**2 - 10.0 * np.cos(2.0 * np.pi * v)) + 10.0 * v.size)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_differences_hear_the_rounding_of_terms_that_cancel(minimize, n):
    # The value at the minimum is 0, and the rounding of its terms is not.
    for size in (1e-3, 1e-2, 0.1, 0.3):
        for bounds in (None, [(-5.12, 5.12)] * n):
            start = size * np.linspace(0.5, 1.0, n)
            result = minimize(rastrigin, start, bounds=bounds, step=StrongWolfe(), direction=LBFGS())
            assert result.success
            assert np.abs(400.0 * result.x).max() < 1e-4  # what the gradient is
            assert result.nfev <= 40 * (n + 1)


@pytest.mark.parametrize("amplitude", [1e-9, 1e-6])
def test_differences_hear_noise(minimize, amplitude):
    def f(v):
        return rosen(v) + amplitude * (zlib.crc32(v.tobytes()) % 10_000 / 1e4 - 0.5)

    for start in ([-1.2, 1.0], [2.0, 2.0], [-3.0, -4.0], [0.5] * 5):
        result = minimize(f, start, step=StrongWolfe(), direction=LBFGS())
        np.testing.assert_allclose(result.x, 1.0, atol=10 * math.sqrt(amplitude))
        assert result.nfev <= 1000


def test_differences_of_single_precision_end(minimize):
    for start in ([-1.2, 1.0], [2.0, 2.0], [-3.0, -4.0], [0.5] * 5):
        result = minimize(lambda v: np.float32(rosen(v)), start, step=StrongWolfe(), direction=LBFGS())
        np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
        assert result.nfev <= 1500


@pytest.mark.parametrize("kind", ["float32", "int", "decimals"])
def test_a_plateau_of_rounding_is_no_convergence(minimize, kind):
    def f(v):
        value = rosen(v)
        return float({"float32": np.float32, "int": int, "decimals": lambda value: round(value, 4)}[kind](value))

    for start in ([-1.2, 1.0], [2.0, 2.0], [0.0, 0.0]):
        result = minimize(f, start, step=StrongWolfe(), direction=LBFGS())
        assert result.status == 2 or np.abs(rosen_der(result.x)).max() < 1e-3
        assert result.nfev <= 10_000
    # That of a variable which nothing depends on is one.
    assert minimize(lambda v: float(v[0] ** 2), [1.0, 1.0], step=StrongWolfe(), direction=LBFGS()).success


def test_a_variable_whose_curvature_was_nothing_once_may_count_later():
    # Straight, then level as far as differences reach, then bent.
    def f(v):
        return float(v[0]) if v[0] > 0.5 else 0.5 if v[0] > 0.3 else 0.5 + (0.3 - float(v[0])) ** 2

    differences = Differences(f, None, 1e-5)
    unit = math.ulp(1.0)
    assert differences.gradient(np.array([0.75]), 0.75, unit)[0] == pytest.approx(1.0)
    assert differences.gradient(np.array([0.4]), 0.5, unit)[0] != 0.0


def test_differences_keep_to_where_the_function_is_finite(minimize):
    # The start lies on the edge, the minimum near it.
    def f(v):
        return float(v[0] - 1e-3 * np.log(v[0]) + (v[1] - 2) ** 2) if v[0] > 0 else math.nan

    result = minimize(f, [1e-9, 0.0], direction=LBFGS(), step=StrongWolfe())
    np.testing.assert_allclose(result.x, [1e-3, 2.0], atol=1e-5)


def test_differences_cost_one_value_for_each_variable_far_from_the_minimum():
    n = 50
    result = graddesc.minimize(Rosenbrock(n), np.zeros(n), maxiter=60)
    assert result.nfev < 1.15 * n * result.njev + 2 * n


def test_a_box_with_one_side_is_left_open_without_a_warning(minimize):
    # Far out one variable is lost in the rounding of the other.
    bounds = [(0.0, None), (None, 1.0)]
    result = minimize(lambda v: float(v.sum()), [0.5, 0.5], bounds=bounds, step=StrongWolfe(), direction=LBFGS())
    assert result.status == 4


# Endings


@each("search, direction", [*itertools.product(SEARCHES, DIRECTIONS)])
def test_what_falls_for_ever_is_unbounded(minimize, search, direction):
    for scale in (1e-6, 1.0, 1e6):
        result = minimize(
            lambda v, scale=scale: scale * float(v.sum()),
            [1.0, 2.0],
            jac=lambda v, scale=scale: scale * np.ones(2),
            step=search,
            direction=direction,
            tol=0.0,
        )
        assert (result.status, result.success) == (4, False)
        # Backtracking doubles its step once for each iteration; the others grow faster.
        assert result.nfev <= (100 if isinstance(search, Backtracking) else 30)


def test_a_wrong_gradient_is_named(minimize):
    for jac in (lambda v: -rosen_der(v), lambda v: rosen_der(v) * [1, -1], lambda v: rosen_der(v) + 50.0):
        result = minimize(rosen, [-1.2, 1.0], jac=jac, step=StrongWolfe(), direction=LBFGS())
        assert result.status == 7, result.message
    # A multiple of the gradient leads down as well as the gradient.
    assert minimize(rosen, [-1.2, 1.0], jac=lambda v: 3.0 * rosen_der(v), step=StrongWolfe(), direction=LBFGS()).success


def test_a_gradient_of_the_wrong_sign_in_one_component_is_named_early(minimize):
    for n in (2, 3):
        for k in range(n):
            signs = np.where(np.arange(n) == k, -1.0, 1.0)
            start = [-1.2, 1.0, 1.0][:n]
            result = minimize(
                rosen, start, jac=lambda v, signs=signs: signs * rosen_der(v), step=StrongWolfe(), direction=LBFGS()
            )
            assert result.status == 7, result.message
            assert result.nfev <= 400  # where nothing else ends it, patience takes 1800 to 4000


def test_one_of_the_gradients_at_a_kink_is_not_called_wrong(minimize):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((9, 3)), rng.standard_normal(9)
        result = minimize(
            lambda v, a=a, b=b: float(np.abs(a @ v - b).sum()),
            rng.uniform(-2.0, 2.0, 3),
            jac=lambda v, a=a, b=b: a.T @ np.sign(a @ v - b),
            step=StrongWolfe(),
            direction=LBFGS(),
            maxiter=120,
        )
        assert result.status in (1, 2)


def test_a_gradient_wrong_in_one_component_is_named(minimize):
    rng = np.random.default_rng(0)
    named = 0
    for n, factor in itertools.product((2, 3), (0.1, 2.0)):
        for k in range(n):
            weights = np.ones(n)
            weights[k] = factor
            result = minimize(
                rosen,
                rng.uniform(-2.0, 2.0, n),
                jac=lambda v, weights=weights: weights * rosen_der(v),
                step=StrongWolfe(),
                direction=LBFGS(),
                maxiter=250,
            )
            # Where the search comes through all the same, the point is right.
            assert result.status in (0, 1, 7), result.message
            assert result.status != 0 or np.abs(rosen_der(result.x)).max() < 1e-3
            named += result.status == 7
    assert named >= 1  # how often is decided by the last bits of the machine's sums


def test_a_search_in_the_noise_ends_after_few_gradients(minimize):
    for seed in range(10):
        start = np.random.default_rng(seed).uniform(-3.0, 3.0, 4)
        result = minimize(
            lambda v: float(np.float32(rosen(v.astype(np.float32)))),
            start,
            jac=rosen_der,
            tol=1e-9,
            step=StrongWolfe(),
            direction=LBFGS(),
        )
        assert result.status in (0, 2)
        assert result.njev <= 800


def test_beside_a_barrier_both_conditions_are_met(minimize):
    def f(a):
        return float(-a[0] - 1e-3 * math.log(1 - a[0])) if a[0] < 1 else math.inf

    for start in (0.0, 0.3, 0.9, -5.0):
        slope = -1 + 1e-3 / (1 - start)
        result = minimize(
            f,
            [start],
            jac=lambda a: np.array([-1 + 1e-3 / (1 - a[0])]),
            step=StrongWolfe(),
            direction=LBFGS(),
            maxiter=1,
        )
        assert result.nfev + result.njev <= 30
        assert result.fun <= f([start]) + 1e-4 * slope * (result.x[0] - start)
        assert abs(result.jac[0]) <= 0.9 * abs(slope)


@pytest.mark.parametrize("target", [-1.0, -1e10])
def test_polyak_that_diverges_ends(minimize, target):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = minimize(lambda v: float(v @ v), [1.0], jac=lambda v: np.cos(v), step=Polyak(target), maxiter=60)
    assert result.status in (1, 3)
    assert result.nit <= 60


@pytest.mark.parametrize("step", [1e308, 1e200, 5e307])
def test_no_step_goes_beyond_what_a_double_holds(minimize, step):
    result = minimize(lambda v: float(v[0] ** 2), [3.0], jac=lambda v: 2 * v, step=Constant(step), maxiter=1)
    assert result.fun <= 9.0


def test_a_gradient_that_is_not_finite_at_the_start_is_an_ending(minimize):
    for value in (math.nan, math.inf):
        result = minimize(rosen, [-1.2, 1.0], jac=lambda v, value=value: v * value)
        assert (result.status, result.nit, result.message) == (3, 0, "The gradient is not finite at x0.")
        assert result.fun == rosen([-1.2, 1.0])


@pytest.mark.parametrize("kind", ["noise", "hidden single precision"])
@pytest.mark.once
def test_a_right_gradient_of_noisy_values_is_not_called_wrong(minimize, kind):
    for k, (search, direction) in enumerate(itertools.product(SEARCHES, DIRECTIONS)):
        amplitude = 10.0 ** -(3 + k % 3 * 3)

        def f(v, amplitude=amplitude):
            if kind == "noise":
                return rosen(v) + amplitude * (zlib.crc32(v.tobytes()) % 10_000 / 1e4 - 0.5)
            return float(np.float32(rosen(v.astype(np.float32))))

        settings = {"step": search, "direction": direction, "tol": 1e-12, "maxiter": 500}
        assert minimize(f, [-1.2, 1.0], jac=rosen_der, **settings).status != 7


def test_a_small_unit_is_doubted(minimize):
    result = minimize(lambda v: 1e-8 * rosen(v), [-1.2, 1.0], jac=lambda v: 1e-8 * rosen_der(v))
    assert result.nit > 0 or "if x0 is no minimum, tol is too large" in result.message
    assert "too large" not in minimize(rosen, [1.0, 1.0], jac=rosen_der).message


# What SciPy hands over


def test_evaluations_are_counted_as_they_happen(minimize):
    calls = [0]

    def both(v):
        calls[0] += 1
        return rosen(v), rosen_der(v)

    for search, direction in itertools.product(SEARCHES, DIRECTIONS):
        calls[0] = 0
        settings = {"step": search, "direction": direction, "maxiter": 40}
        result = scipy.optimize.minimize(both, [-1.2, 1.0], jac=True, method=minimize, options=settings)
        assert calls[0] == result.nfev == result.njev
        calls[0] = 0
        assert minimize(both, [-1.2, 1.0], jac=True, **settings).nfev == calls[0]


def test_a_gradient_that_came_with_the_value_is_not_asked_for_again():
    # Of a search without slopes that lets the value rise: one call for each trial.
    problem = Rosenbrock(10)
    settings = {"jac": True, "step": BarzilaiBorwein(), "direction": Steepest(), "maxiter": 60}
    together = graddesc.minimize(lambda v: (problem(v), problem.gradient(v)), problem.start, **settings)
    apart = graddesc.minimize(problem, problem.start, **{**settings, "jac": problem.gradient})
    assert together.nfev == apart.nfev > together.nit
    np.testing.assert_array_equal(together.x, apart.x)


def test_evaluations_may_be_limited(minimize):
    for jac, most in itertools.product((rosen_der, None), (1, 2, 5, 17, 30)):
        points = []

        def f(v, points=points):
            points.append(v)
            return rosen(v)

        result = minimize(f, [-1.2, 1.0], jac=jac, maxfun=most, step=StrongWolfe(), direction=LBFGS())
        assert len(points) == result.nfev <= most
        assert (result.status, result.message) == (1, "The evaluations are used up.")
        assert result.fun == rosen(result.x) <= rosen([-1.2, 1.0])


def test_options_of_scipys_are_understood_or_named():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({"disp": False}, {"gtol": 1e-3}, {"maxls": 30, "maxcor": 5}, {"iprint": -1}, {"maxiter": 1e3}):
            result = scipy.optimize.minimize(
                rosen, [-1.2, 1.0], jac=rosen_der, method=graddesc.minimize, options=options
            )
            assert result.success
    loose = graddesc.minimize(rosen, [-1.2, 1.0], jac=rosen_der, gtol=1.0)
    assert loose.nit < graddesc.minimize(rosen, [-1.2, 1.0], jac=rosen_der, gtol=1e-8).nit
    assert len(graddesc.minimize(Rosenbrock(5), np.zeros(5), maxcor=3).hess_inv.sk) == 3
    for options, told in [
        ({"c2": 0.4}, r"c2 is not an option here: step=StrongWolfe\(curvature=...\)"),
        ({"eps": 1e-8}, "eps is not an option here: differences choose their own steps"),
        ({"disp": True}, "disp is not an option here: minimize does not print"),
        ({"maxfev": 9}, "maxfev is not an option here: maxfun"),
        ({"learning_rate": 1}, "unknown option: learning_rate"),
    ]:
        with pytest.warns(OptimizeWarning, match=told):
            graddesc.minimize(rosen, [-1.2, 1.0], jac=rosen_der, **options)


def test_infinity_is_no_limit():
    for limits in (
        {"maxfun": math.inf},
        {"maxiter": np.inf},
        {"maxfun": np.float32(np.inf).item(), "maxiter": math.inf},
    ):
        assert graddesc.minimize(rosen, [-1.2, 1.0], jac=rosen_der, **limits).success


def test_the_gradient_of_one_variable_may_be_a_number(minimize):
    for jac in (lambda v: 2.0 * v[0], lambda v: [2.0 * v[0]], lambda v: np.array(2.0 * v[0]), lambda v: int(2 * v[0])):
        assert minimize(lambda v: v[0] ** 2, 3.0, jac=jac).success
        assert minimize(lambda v, jac=jac: (v[0] ** 2, jac(v)), 3.0, jac=True).success
    with pytest.raises(ValueError, match=r"jac must return an array of shape \(2,\), got \(\)"):
        minimize(rosen, [1.0, 2.0], jac=lambda v: 1.0)


def test_what_numpy_would_turn_into_numbers_with_a_loss_is_refused(minimize):
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    for lossy in (masked, np.array([1 + 0j, 2]), ["1", "2"], np.array(["1", "2"]), [[1.0], [1.0, 2.0]]):
        with pytest.raises(TypeError, match="x0 must be an array of numbers, got "):
            minimize(rosen, lossy, jac=rosen_der)
        with pytest.raises(TypeError, match="jac must return an array of numbers, got "):
            minimize(rosen, [1.0, 2.0], jac=lambda v, lossy=lossy: lossy)
        with pytest.raises(TypeError, match="projection must return an array of numbers, got "):
            minimize(rosen, [1.0, 2.0], jac=rosen_der, projection=lambda v, lossy=lossy: lossy)
    with pytest.raises(TypeError, match="fun must return a number, got masked"):
        minimize(lambda v: np.ma.masked, [1.0, 2.0], jac=rosen_der)
    assert minimize(rosen, np.ma.array([1.0, 2.0]), jac=rosen_der, step=StrongWolfe(), direction=LBFGS()).success


def test_what_is_meant_is_asked_back():
    for name, value in {"gtol": None, "maxls": 0, "maxcor": 0}.items():
        with pytest.raises((TypeError, ValueError), match=f"{name} must be a "):
            graddesc.minimize(rosen, [0.0, 0.0], **{name: value})
    with pytest.raises(TypeError, match=r"fun must return a number, got a pair \(value, gradient\): jac=True\?"):
        graddesc.minimize(lambda v: (float(v @ v), 2 * v), [1.0, 2.0])
    with pytest.raises(TypeError, match=r"maxiter must be a non-negative integer, got 1\.5"):
        graddesc.minimize(rosen, [0.0, 0.0], maxiter=1.5)
    with pytest.raises(TypeError, match=r"maxfun must be a positive integer, got 1\.5"):
        graddesc.minimize(rosen, [0.0, 0.0], maxfun=1.5)
    with pytest.raises(ValueError, match="maxfun must be a positive integer, got 0"):
        graddesc.minimize(rosen, [0.0, 0.0], maxfun=0)


# Units and precision


@each("unit", [1e-12, 1e-8, 1.0, 1e6, 1e12])
def test_units_of_values_and_variables_change_nothing(minimize, unit):
    settings = {"step": StrongWolfe(), "direction": LBFGS()}
    expected = minimize(rosen, [-1.2, 1.0], jac=rosen_der, **settings)
    values = minimize(
        lambda v: unit * rosen(v), [-1.2, 1.0], jac=lambda v: unit * rosen_der(v), tol=1e-5 * unit, **settings
    )
    assert values.success
    np.testing.assert_allclose(values.x, expected.x, atol=1e-3)
    variables = minimize(rosen_in(unit), [-1.2 * unit, unit], tol=1e-5 / unit, **settings)
    np.testing.assert_allclose(variables.x / unit, 1.0, atol=1e-3)


def rosen_in(unit):
    return lambda v: rosen(v / unit)


def test_single_precision_is_recognised(minimize):
    def f(v):
        return np.float32(rosen(v.astype(np.float32)))

    def g(v):
        return rosen_der(v.astype(np.float32))

    for start in ([-1.2, 1.0], [2.0, 2.0], [-3.0, -4.0]):
        result = minimize(f, start, jac=g, step=StrongWolfe(), direction=LBFGS())
        assert result.status in (0, 2)
        np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


# Many starts, in C


def test_many_starts_keep_to_bounds_and_fixed_variables():
    problem = Rosenbrock(2)
    fun, jac = problem.compiled
    starts = np.random.default_rng(0).uniform(-2.0, 2.0, (40, 2))
    for settings in ({"bounds": [(-0.5, 0.5), (None, 3.0)]}, {"fixed": np.array([True, False])}):
        together = graddesc.minimize(fun, starts, jac=jac, threads=2, **settings)
        for k, start in enumerate(starts):
            alone = graddesc.minimize(fun, start, jac=jac, **settings)
            np.testing.assert_array_equal(together.x[k], alone.x)
            assert (together.nfev[k], together.status[k]) == (alone.nfev, alone.status)
            slow = graddesc.minimize(problem, start, jac=problem.gradient, **settings)
            np.testing.assert_allclose(alone.x, slow.x, atol=1e-6)
        assert together.success.all()


def test_a_row_of_starts_has_one_deadline():
    fun, jac = Rosenbrock(2).compiled
    starts = np.full((1000, 2), -2.0)
    endless = {"step": Constant(1e-9), "tol": 0.0, "maxiter": 2**31 - 1}
    result = graddesc.minimize(fun, starts, jac=jac, max_time=0.05, **endless)
    assert (result.status == 5).all()
