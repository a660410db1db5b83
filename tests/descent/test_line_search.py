import itertools
import math
import zlib
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar

import numpy as np
import pytest
from cases import each
from loops import minimize_compiled as minimize
from loops import minimize_in_python
from scipy.optimize import Bounds, minimize_scalar

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
)
from graddesc.line_search import exact
from graddesc.problems import (
    PROBLEMS,
    Beale,
    BrownBadlyScaled,
    BrownDennis,
    BroydenTridiagonal,
    DixonPrice,
    Himmelblau,
    PowellSingular,
    Quadratic,
    Rosenbrock,
    StyblinskiTang,
    Wood,
)

pytestmark = pytest.mark.usefixtures("loop")  # every test runs over both

SMOOTH = [Rosenbrock(2), Rosenbrock(10), Beale(), Himmelblau(), Wood(), PowellSingular(), DixonPrice(5)]
SEARCHES = [
    ExactLineSearch(),
    ExactLineSearch(slopes=True),
    Backtracking(),
    Backtracking(initial=1.0, factor=0.3),
    StrongWolfe(),
    StrongWolfe(curvature=0.1),
    HagerZhang(),
    BarzilaiBorwein(),
    BarzilaiBorwein("long", memory=1),
    BarzilaiBorwein("short"),
    BarzilaiBorwein("adaptive"),
    Polyak(-1.0),
]
DIRECTIONS = [Steepest(), ConjugateGradient(), LBFGS()]


def name(value):
    return f"{type(value).__name__}-{value.n}" if hasattr(value, "n") else repr(value)


class Watched:
    """A search whose accepted steps are kept: (x, f, g, d) at the start of the ray, and the trial."""

    def __init__(self, search):
        self.search = search
        self.steps = []

    def begin(self):
        look = self.search.begin()

        def watch(ray):
            trial = look(ray)
            self.steps.append((ray.x, ray.f, ray.g, ray.d, trial))
            return trial

        return watch


def run(problem, search, direction=None, maxiter=60):
    watched = Watched(search)
    result = minimize(
        problem,
        problem.start,
        jac=problem.gradient,
        step=watched,
        direction=direction or Steepest(),
        maxiter=maxiter,
    )
    assert len(watched.steps) >= min(3, result.nit)
    return watched.steps, result


def start_of(problem, x, f, g):
    """What the search was told about the start of its ray must be true."""
    assert f == problem(x)
    np.testing.assert_array_equal(g, problem.gradient(x))


@each("direction", DIRECTIONS)
@each("problem", SMOOTH)
@each("search", [Backtracking(), Backtracking(initial=1.0, factor=0.3, sufficient_decrease=0.3)])
def test_backtracking_fulfils_the_condition_of_armijo(problem, search, direction):
    steps, _ = run(problem, search, direction)
    for x, f, g, d, trial in steps:
        start_of(problem, x, f, g)
        assert trial.alpha > 0.0
        assert problem(x + trial.alpha * d) <= f + search.sufficient_decrease * trial.alpha * g.dot(d)


@each("problem", SMOOTH)
def test_backtracking_takes_the_first_power_that_will_do(problem):
    search = Backtracking(initial=2.0, factor=0.5)
    for x, f, g, d, trial in run(problem, search)[0]:
        alpha = 2.0
        while problem(x + alpha * d) > f + 1e-4 * alpha * g.dot(d):
            alpha *= 0.5
        assert trial.alpha == alpha


@each("direction", DIRECTIONS)
@each("problem", SMOOTH)
@each("curvature", [0.1, 0.9])
def test_strong_wolfe_fulfils_both_conditions(problem, direction, curvature):
    search = StrongWolfe(curvature=curvature)
    steps, _ = run(problem, search, direction)
    for x, f, g, d, trial in steps:
        start_of(problem, x, f, g)
        slope = g.dot(d)
        end = x + trial.alpha * d
        assert problem(end) <= f + search.sufficient_decrease * trial.alpha * slope
        assert abs(problem.gradient(end).dot(d)) <= curvature * abs(slope) * (1.0 + 1e-12)


@each("direction", DIRECTIONS)
@each("problem", SMOOTH)
def test_hager_zhang_fulfils_the_conditions_of_wolfe_or_the_approximate_ones(problem, direction):
    search = HagerZhang()
    steps, _ = run(problem, search, direction)
    for x, f, g, d, trial in steps:
        start_of(problem, x, f, g)
        first, value = g.dot(d), problem(x + trial.alpha * d)
        last = problem.gradient(x + trial.alpha * d).dot(d)
        wolfe = value <= f + 0.1 * trial.alpha * first
        approximate = value <= f + 1e-6 * abs(f) and last <= (2 * 0.1 - 1) * first * (1.0 - 1e-12)
        assert wolfe or approximate
        assert last >= 0.9 * first * (1.0 + 1e-12)


@each("problem", SMOOTH)
@each("formula", ["alternating", "adaptive", "long", "short"])
@each("memory", [1, 4])
def test_barzilai_borwein_stays_below_the_highest_recent_value(problem, formula, memory):
    steps, _ = run(problem, BarzilaiBorwein(formula, memory=memory))
    values = [f for _, f, _, _, _ in steps]
    for k, (x, f, g, d, trial) in enumerate(steps):
        start_of(problem, x, f, g)
        reference = max(values[max(0, k - memory + 1) : k + 1])
        assert problem(x + trial.alpha * d) <= reference + 1e-4 * trial.alpha * g.dot(d)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("long", lambda ss, sy, yy, k: ss / sy),
        ("short", lambda ss, sy, yy, k: sy / yy),
        ("alternating", lambda ss, sy, yy, k: sy / yy if k % 2 else ss / sy),
        ("adaptive", lambda ss, sy, yy, k: sy / yy if sy / yy < 0.5 * ss / sy else ss / sy),
    ],
)
def test_barzilai_borwein_steps_by_the_formula(formula, expected):
    # On a convex quadratic, with a memory that never runs out, hardly any step is shortened.
    cosines = []
    for start in np.random.default_rng(0).standard_normal((30, 3)):
        problem = Quadratic(np.diag([1.0, 3.0, 10.0]), start=start)
        steps, _ = run(problem, BarzilaiBorwein(formula, memory=1000), maxiter=12)
        for k in range(1, len(steps)):
            s = steps[k][0] - steps[k - 1][0]
            y = steps[k][2] - steps[k - 1][2]
            ss, sy, yy = s.dot(s), s.dot(y), y.dot(y)
            assert steps[k][4].alpha == pytest.approx(expected(ss, sy, yy, k), rel=1e-9)
            cosines.append(sy**2 / (ss * yy))
    if formula == "adaptive":  # on both sides of where it turns from one to the other
        assert any(0.45 < cosine < 0.5 for cosine in cosines)
        assert any(0.5 < cosine < 0.55 for cosine in cosines)


@pytest.mark.parametrize("formula", ["long", "short", "alternating", "adaptive"])
def test_barzilai_borwein_where_the_gradient_turns_by_a_right_angle(formula):
    # From (0, 2) the product of two variables has no curvature along its gradient: s.y = 0, and s.s = y.y.
    class Saddle:
        start = np.array([0.0, 2.0])

        def __call__(self, x):
            return float(x[0] * x[1])

        def gradient(self, x):
            return x[::-1].copy()

    _, (_, _, _, _, alphas, _) = looks(Saddle(), BarzilaiBorwein(formula), 2)
    assert alphas[0] == pytest.approx(1.0, rel=1e-14)


def test_barzilai_borwein_does_not_look_at_what_a_bound_holds():
    problem = Quadratic(np.array([[1.0, 0.9, 0.0], [0.9, 3.0, 0.0], [0.0, 0.0, 10.0]]), start=[1.0, 1.0, 1.0])
    watched = Watched(BarzilaiBorwein("short", memory=1000))
    minimize(
        problem, problem.start, jac=problem.gradient, step=watched, bounds=[(0.5, 2), (-2, 2), (-2, 2)], maxiter=12
    )
    held = 0
    for (x_before, _, g_before, _, _), (x, _, g, _, trial) in itertools.pairwise(watched.steps):
        s = x - x_before
        y = np.where(s == 0.0, 0.0, g - g_before)
        held += s[0] == 0.0 != (g - g_before)[0]
        assert trial.alpha == pytest.approx(s.dot(y) / y.dot(y), rel=1e-9)
    assert held > 3


@each("problem", SMOOTH)
def test_exact_search_takes_the_steps_of_scipy_to_the_last_bit(problem):
    for x, f, g, d, trial in run(problem, ExactLineSearch(), maxiter=30)[0]:
        start_of(problem, x, f, g)
        expected = minimize_scalar(lambda alpha, x=x, d=d: problem(x + alpha * d))
        assert trial.alpha == expected.x
        assert trial.f == expected.fun


@pytest.mark.parametrize(
    ("setting", "option"), [({"max_trials": 12}, {"maxiter": 12}), ({"tolerance": 0.1}, {"xtol": 0.1})]
)
def test_the_settings_of_exact_search_are_those_of_scipy(setting, option):
    problem = Rosenbrock()
    compared = 0
    for x, f, _, d, trial in run(problem, ExactLineSearch(**setting), maxiter=20)[0]:
        expected = minimize_scalar(lambda alpha, x=x, d=d: problem(x + alpha * d), options=option)
        if expected.fun < f:  # Where that finds nothing, ours looks nearby.
            compared += 1
            assert trial.alpha == expected.x
    assert compared > 5


def test_exact_search_makes_successive_directions_orthogonal():
    steps, _ = run(Rosenbrock(), ExactLineSearch())
    for (_, _, _, d, _), (_, _, g, _, _) in itertools.pairwise(steps):
        assert abs(g.dot(d)) <= 1e-5 * math.sqrt(g.dot(g) * d.dot(d)) + 1e-7 * d.dot(d)


def looks(problem, search, maxiter, direction=None):
    """What was known at the start of each ray, (x, f, g, d), the steps that were tried along it, the trial taken."""
    points, firsts = [], []

    def f(x):
        points.append(x.copy())
        return problem(x)

    class Noting(Watched):
        def begin(self):
            watch = super().begin()
            return lambda ray: (firsts.append(len(points)), watch(ray))[1]

    noting = Noting(search)
    minimize(f, problem.start, jac=problem.gradient, step=noting, direction=direction, maxiter=maxiter)
    assert len(noting.steps) == len(firsts) == maxiter
    trials = [points[start:end] for start, end in itertools.pairwise([*firsts, len(points)])]
    return [
        (x, f0, g, d, [(point - x).dot(d) / d.dot(d) for point in points], trial)
        for (x, f0, g, d, trial), points in zip(noting.steps, trials, strict=True)
    ]


def test_the_first_trial_of_backtracking_moves_by_one():
    ((_, _, _, d, alphas, _),) = looks(Rosenbrock(), Backtracking(), 1)
    assert alphas[0] * np.linalg.norm(d) == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize("search", [StrongWolfe(), HagerZhang()], ids=name)
def test_the_first_trial_moves_nearly_as_far_as_the_variables_are_large(search):
    for direction in (Steepest(), LBFGS()):
        ((x, _, _, d, alphas, _),) = looks(Rosenbrock(), search, 1, direction)
        assert alphas[0] * np.abs(d).max() == pytest.approx(0.95 * np.abs(x).max(), rel=1e-13) == 1.14


def test_from_zero_the_first_trial_moves_by_one():
    shifted = Quadratic(np.diag([1.0, 3.0]), [30.0, 40.0], start=[0.0, 0.0])
    ((_, _, _, d, alphas, _),) = looks(shifted, StrongWolfe(), 1)
    assert alphas[0] * np.linalg.norm(d) == pytest.approx(1.0, rel=1e-13)


@each("search", [StrongWolfe(), HagerZhang()])
@each("problem", [Rosenbrock(), Wood(), Beale()])
def test_later_first_trials_expect_the_curvature_of_the_last_iteration(problem, search):
    curved = []
    for (x_before, _, g_before, d_before, before, _), (x, _, g, d, alphas, _) in itertools.pairwise(
        looks(problem, search, 6)
    ):
        s, y = x - x_before, g - g_before
        curved.append(s.dot(y) > 0.0)
        along = s.dot(s) / s.dot(y) / d.dot(d)
        expected = -g.dot(d) * along if curved[-1] else before[-1] * g_before.dot(d_before) / g.dot(d)
        assert alphas[0] == pytest.approx(expected, rel=1e-7)
    assert any(curved)


def test_barzilai_borwein_along_other_directions_and_without_curvature():
    curved = []
    for problem, direction in itertools.product([StyblinskiTang(3), Beale(), Himmelblau()], DIRECTIONS[:2]):
        rays = looks(problem, BarzilaiBorwein("long"), 5, direction)
        for (x_before, _, g_before, *_), (x, _, g, d, alphas, _) in itertools.pairwise(rays):
            s, y = x - x_before, g - g_before
            curved.append(s.dot(y) > 0.0)
            alpha = s.dot(s) / s.dot(y) if curved[-1] else math.sqrt(s.dot(s) / y.dot(y))
            assert alphas[0] == pytest.approx(-alpha * g.dot(d) / d.dot(d), rel=1e-8)
    assert 0 < sum(curved) < len(curved)


def test_barzilai_borwein_knows_no_unit():
    # With values and gradients of 1e60 the steps are of 1e-60.
    told = []
    for scale in (1.0, 1e60):
        problem = Quadratic(scale * np.diag([2.0, 20.0]), np.zeros(2))
        settings = {"jac": problem.gradient, "step": BarzilaiBorwein(), "tol": 1e-5 * scale}
        told.append(minimize(problem, [3.0, 1.0], **settings))
    assert told[0].status == told[1].status == 0
    assert told[0].nfev == told[1].nfev < 40


@each("search", [StrongWolfe(), HagerZhang(), Backtracking()])
def test_a_direction_whose_square_is_below_all_numbers_is_searched(search):
    class Whisper(Steepest):
        """The steepest direction in a unit of its own."""

        def begin(self):
            return lambda g, s, y, step: -1e-170 * g

    problem = Quadratic(np.diag([2.0, 4.0]), np.zeros(2))
    result = minimize(problem, [3.0, 1.0], jac=problem.gradient, step=search, direction=Whisper(), maxiter=50)
    assert result.status in (0, 1)
    assert result.fun < problem([3.0, 1.0])


def test_steps_beyond_what_doubles_hold_are_not_lost():
    # Far out the function is a plane: the longest step is taken as it is, again and again.
    result = minimize(
        lambda x: -1e-290 * float(x[0]),
        [1.0],
        jac=lambda x: np.array([-1e-290]),
        step=Constant(1e305),
        direction=Steepest(),
        tol=0.0,
        maxiter=30,
    )
    assert (result.status, result.nit) == (1, 30)


@pytest.mark.parametrize("problem", [Rosenbrock(), Wood(), Beale()], ids=name)
def test_barzilai_borwein_shortens_by_parabolas(problem):
    shares = []
    for x, f, g, d, alphas, _ in looks(problem, BarzilaiBorwein("long", memory=1), 60):
        for alpha, shorter in itertools.pairwise(alphas):
            linear = alpha * g.dot(d)
            curvature = problem(x + alpha * d) - f - linear
            shares.append(-0.5 * linear / curvature)
            assert shorter == pytest.approx(alpha * np.clip(shares[-1], 0.1, 0.5), rel=1e-6)
    assert min(shares) < 0.1
    assert any(0.1 < share < 0.5 for share in shares)


@pytest.mark.parametrize(
    "search",
    [StrongWolfe(curvature=2e-4, max_trials=4), HagerZhang(sufficient_decrease=1e-4, curvature=2e-4, max_trials=4)],
    ids=name,
)
def test_a_search_that_runs_out_of_trials_takes_a_sufficient_one(search):
    problem = Rosenbrock()
    exhausted = 0
    for x, f, g, d, alphas, trial in looks(problem, search, 10):
        assert len(alphas) <= search.max_trials
        assert trial.f <= f + 1e-4 * trial.alpha * g.dot(d)
        values = [problem(x + a * d) for a in alphas]
        if len(alphas) == search.max_trials and abs(trial.g.dot(d)) > 2e-4 * abs(g.dot(d)):
            exhausted += 1
            assert trial.f <= min(values) * (1.0 + 1e-12)
    assert exhausted > 1


@each("problem", SMOOTH)
def test_exact_search_by_slopes_ends_where_the_slope_does(problem):
    for k, (x, f, g, d, trial) in enumerate(run(problem, ExactLineSearch(slopes=True), maxiter=30)[0]):
        start_of(problem, x, f, g)
        assert trial.f <= f
        # Within twice the tolerance there is a change of sign; the first ray is searched by values.
        below, above = (problem.gradient(x + share * trial.alpha * d).dot(d) for share in (1.0 - 3e-8, 1.0 + 3e-8))
        assert k == 0 or below < 0.0 < above


def test_exact_search_by_slopes_needs_few_evaluations():
    problem = Rosenbrock()
    by_values, by_slopes = (
        minimize(problem, [-2.0, -2.0], jac=problem.gradient, step=ExactLineSearch(slopes=slopes), maxiter=500)
        for slopes in (False, True)
    )
    assert by_slopes.nit == by_values.nit == 500
    assert by_slopes.nfev + by_slopes.njev < 0.35 * (by_values.nfev + by_values.njev)
    assert by_slopes.fun == pytest.approx(by_values.fun, rel=0.1)


def test_exact_search_tries_slopes_more_rarely_where_they_fail(monkeypatch):
    tried = []
    monkeypatch.setattr(exact, "_root_of_slope", lambda ray, *_: tried.append(ray.iteration))
    problem = Rosenbrock()
    settings = {"jac": problem.gradient, "maxiter": 300}
    result = minimize_in_python(problem, [-2.0, -2.0], step=ExactLineSearch(slopes=True), **settings)
    expected = minimize(problem, [-2.0, -2.0], step=ExactLineSearch(), **settings)
    np.testing.assert_array_equal(result.x, expected.x)
    assert tried == [1, 3, 7, 15, 31, 63, 127, 228]


def test_exact_search_goes_by_values_where_bounds_bend_the_ray():
    problem = Rosenbrock()
    settings = {"jac": problem.gradient, "bounds": [(-2.0, 0.5), (-2.0, 2.0)], "maxiter": 50}
    expected = minimize(problem, [-2.0, -2.0], step=ExactLineSearch(), **settings)
    result = minimize(problem, [-2.0, -2.0], step=ExactLineSearch(slopes=True), **settings)
    np.testing.assert_array_equal(result.x, expected.x)
    assert (result.nfev, result.njev) == (expected.nfev, expected.njev)


def test_polyak_steps_by_the_formula():
    problem = Quadratic(np.diag([1.0, 3.0]), c=5.0)
    for relaxation in (0.5, 1.0, 1.5):
        for x, f, g, _, trial in run(problem, Polyak(5.0, relaxation=relaxation), maxiter=10)[0]:
            start_of(problem, x, f, g)
            assert trial.alpha == pytest.approx(relaxation * (f - 5.0) / g.dot(g), rel=1e-14)


def test_polyak_ends_where_the_target_is_reached():
    result = minimize(lambda x: float(x @ x), [3.0], jac=lambda x: 2.0 * x, step=Polyak(1e-4))
    assert result.status == 6
    assert result.fun <= 1e-4


@pytest.mark.parametrize("target", [-1.0, 1e-4, 2.0])
def test_polyak_ends_at_the_higher_of_two_targets(target):
    # Below its own it would climb.
    problem = Quadratic(np.diag([2.0, 6.0]))
    result = minimize(problem, [3.0, 4.0], jac=problem.gradient, step=Polyak(1.0), target=target, history=True)
    assert result.status == 6
    assert result.fun <= max(target, 1.0) < result.history.fun[-2]
    assert (result.history.step > 0.0).all()


@each("search", SEARCHES)
@each("direction", DIRECTIONS)
def test_evaluations_are_counted_exactly(search, direction):
    problem = BroydenTridiagonal(6)
    calls = {"f": 0, "g": 0}

    def f(x):
        calls["f"] += 1
        return problem(x)

    def g(x):
        calls["g"] += 1
        return problem.gradient(x)

    result = minimize(f, problem.start, jac=g, step=search, direction=direction, maxiter=50)
    assert (result.nfev, result.njev) == (calls["f"], calls["g"])


# Projected rays


@dataclass(frozen=True)
class Uphill:
    scaled: ClassVar[bool] = False

    def begin(self):
        return lambda g, s, y, step: g.copy()


def onto_ball(x):
    return x / max(1.0, math.sqrt(x.dot(x)))


def onto_halfspace(x):
    return x - max(x.sum() - 1.0, 0.0) / x.size


class Box(Bounds):
    def __call__(self, x):
        return np.clip(x, self.lb, self.ub)


@each("project", [Box(-0.5, [0.7, 2.0, 0.1, 0.3]), onto_ball, onto_halfspace])
@each("direction", [Steepest(), ConjugateGradient(), LBFGS()])
def test_slopes_are_those_of_the_projected_path(project, direction):
    problem, rng, h = Wood(), np.random.default_rng(0), 1e-7
    kinds = set()

    class Probing:
        def begin(self):
            return self.look

        def look(self, ray):
            for alpha in 10.0 ** rng.uniform(-4, 1, 20) / np.abs(ray.d).max():
                trial = ray.at(alpha)
                ends = [problem(project(ray.x + (alpha + sign * h * alpha) * ray.d)) for sign in (1, -1)]
                expected = (ends[0] - ends[1]) / (2.0 * h * alpha)
                assert ray.slope_at(trial) == pytest.approx(expected, rel=2e-3, abs=1e-6 * abs(ray.slope))
                kinds.add(bool((trial.x != ray.x + alpha * ray.d).any()))
            return ray.at(1e-2 / np.abs(ray.d).max())

    region = {"bounds": project} if isinstance(project, Box) else {"projection": project}
    start = project(np.array([0.4, -0.3, 0.1, 0.2]))
    minimize(problem, start, jac=problem.gradient, step=Probing(), direction=direction, maxiter=8, **region)
    assert kinds == {False, True}


@each("search", [StrongWolfe(), StrongWolfe(curvature=0.1), HagerZhang()])
@each("direction", DIRECTIONS)
def test_a_corner_is_found_at_once(search, direction):
    # Beyond the last bound the path stands still: its slope is zero, though that of the chord is not.
    slopes = np.array([1.0, -3.0, 0.1])
    result = minimize(
        lambda x: float(slopes @ x),
        np.zeros(3),
        jac=lambda x: slopes,
        step=search,
        direction=direction,
        bounds=[(-1, 2)] * 3,
    )
    assert result.status == 0
    np.testing.assert_array_equal(result.x, [-1.0, 2.0, -1.0])
    assert result.nfev <= 12


def test_a_kink_of_the_path_ends_the_search():
    # Down to the bound of the first variable, up beyond it: no step flattens the slope.
    def f(x):
        return float(-10.0 * x[0] - x[1])

    def g(x):
        return np.array([-10.0, -1.0])

    @dataclass(frozen=True)
    class Along(Uphill):
        def begin(self):
            return lambda g, s, y, step: np.array([1.0, -2.0])

    search = Watched(StrongWolfe(curvature=0.1))
    minimize(f, [0.0, 0.0], jac=g, step=search, direction=Along(), bounds=[(0, 0.3), (-5, 5)], maxiter=1)
    ((_, _, _, _, trial),) = search.steps
    assert trial.f <= 0.9 * -2.4


def cutting(problem):
    """A box around the minimum that cuts off every other variable of it, seen from the start."""
    minimum = minimize(
        problem, problem.start, jac=problem.gradient, step=StrongWolfe(), direction=LBFGS(), maxiter=3000, tol=1e-9
    ).x
    width = np.maximum(np.abs(minimum - problem.start), 0.5)
    low, high = minimum - 3.0 * width, minimum + 3.0 * width
    cut, above = np.arange(problem.n) % 2 == 0, problem.start >= minimum
    return Bounds(
        np.where(cut & above, minimum + 0.2 * width, low), np.where(cut & ~above, minimum - 0.2 * width, high)
    )


@pytest.mark.parametrize(
    ("search", "direction", "most"),
    [
        (StrongWolfe(curvature=0.2), ConjugateGradient(), 4.0),
        (HagerZhang(), ConjugateGradient(), 2.5),
        (StrongWolfe(), LBFGS(), 1.5),
        (HagerZhang(), LBFGS(), 1.5),
    ],
    ids=name,
)
def test_bounds_cost_few_trials_and_the_certificate_ends_the_run(search, direction, most):
    trials = []
    for problem in PROBLEMS:
        bounds = cutting(problem)
        result = minimize(
            problem, problem.start, jac=problem.gradient, step=search, direction=direction, bounds=bounds, maxiter=1000
        )
        x, g = result.x, problem.gradient(result.x)
        size = np.abs(x - np.clip(x - g, bounds.lb, bounds.ub)).max()
        # The rounding of values as large as 2e5 and 2e11 hides what gradients of 1e-4 have left to give.
        assert result.status == 0 or isinstance(problem, (BrownDennis, BrownBadlyScaled))
        assert size < (1e-5 if result.status == 0 else 1e-3)
        trials.append(result.nfev / result.nit)
    assert np.median(trials) <= most
    assert max(trials) <= 10.0


def onto_simplex(x):
    u = np.sort(x)[::-1]
    excess = (np.cumsum(u) - 1.0) / np.arange(1, x.size + 1)
    return np.maximum(x - excess[np.flatnonzero(u > excess)[-1]], 0.0)


@pytest.mark.parametrize("search", [StrongWolfe(), HagerZhang()], ids=name)
@pytest.mark.parametrize("projection", [onto_simplex, onto_ball])
def test_directions_that_a_projection_turns_uphill_cost_no_trials(search, projection):
    for problem in (Rosenbrock(6), StyblinskiTang(8), DixonPrice(5)):
        start = projection(problem.start + np.linspace(0.0, 0.3, problem.n))
        result = minimize(
            problem, start, jac=problem.gradient, step=search, direction=LBFGS(), projection=projection, maxiter=500
        )
        assert result.status == 0
        x, g = result.x, problem.gradient(result.x)
        assert np.abs(x - projection(x - g)).max() < 1e-5
        assert result.nfev <= 12 * result.nit


def test_slopes_lead_strong_wolfe_where_values_do_not_tell():
    # At a gradient of 1e-3 the steps of conjugate gradients change the value, 85822, by less than its rounding.
    problem = BrownDennis()
    result = minimize(
        problem,
        problem.start,
        jac=problem.gradient,
        step=StrongWolfe(curvature=0.2),
        direction=ConjugateGradient(),
        bounds=Bounds(-100, 100),
    )
    assert result.status == 0
    assert result.nfev < 5 * result.nit


@pytest.mark.parametrize("rise", [1.0, 100.0])
def test_strong_wolfe_takes_no_step_that_rises_beyond_rounding(rise):
    # The gradient promises less than the rounding of the value; what happens is a little more, or a lot.
    def f(x):
        return 1.0 + rise * 1e-15 * float(x[0] != 0.0)

    result = minimize(
        f, [0.0], jac=lambda x: np.where(x == 0.0, 1e-9, 0.0), step=StrongWolfe(), bounds=Bounds(-1e-7, 1), tol=1e-12
    )
    assert result.status == (0 if rise == 1.0 else 2)


@pytest.mark.parametrize("search", [Backtracking(), StrongWolfe(), HagerZhang(), BarzilaiBorwein()], ids=name)
def test_a_step_that_a_projection_turns_against_the_gradient_is_not_accepted(search):
    # Down to -alpha it would go, and is sent to alpha, uphill by the gradient; the value, which falls, is not asked.
    result = minimize(lambda x: float(-10.0 * x[0]), [0.0], jac=lambda x: np.ones(1), step=search, projection=np.abs)
    assert (result.status, result.nit) == (2, 0)


# The interval steps of W. W. Hager and H. Zhang, SIAM Journal on Optimization 16 (2005) 170-192,
# doi:10.1137/030601880, section 4, recomputed from scratch


def more_thuente():
    """The six functions of More and Thuente, ACM Transactions on Mathematical Software 20 (1994) 286-307."""

    def rational(a):
        return -a / (a * a + 2.0)

    def power(a):
        return (a + 0.004) ** 5 - 2.0 * (a + 0.004) ** 4

    def wavy(a, beta=0.01, pieces=39):
        if a <= 1.0 - beta:
            bend = 1.0 - a
        elif a >= 1.0 + beta:
            bend = a - 1.0
        else:
            bend = ((a - 1.0) ** 2 / beta + beta) / 2.0
        return bend + 2.0 * (1.0 - beta) / (pieces * math.pi) * math.sin(pieces * math.pi * a / 2.0)

    def yanai(first, second):
        one, two = (math.sqrt(1.0 + b * b) - b for b in (first, second))
        return lambda a: one * math.hypot(1.0 - a, second) + two * math.hypot(a, first)

    return {
        "rational": rational,
        "power": power,
        "wavy": wavy,
        "yanai 1e-3 1e-3": yanai(1e-3, 1e-3),
        "yanai 1e-2 1e-3": yanai(1e-2, 1e-3),
        "yanai 1e-3 1e-2": yanai(1e-3, 1e-2),
    }


def walled(phi, wall):
    return lambda a: phi(a) if a < wall else math.nan


ONE_DIMENSIONAL = more_thuente() | {
    "flat": lambda a: 1.0 - 1e-3 * math.tanh(a),
    "shelf": lambda a: -a if a < 0.1 else -0.1 + 1e-4 * (a - 0.1),
    "bump": lambda a: (a - 4.0) ** 2 - 6.0 * math.sin(3.0 * a),
    "steep": walled(lambda a: math.exp(3.0 * a) - 9.0 * a, 200.0),
    "noisy": lambda a: 1e3 + (a - 1.3) ** 2 + 1e-7 * math.sin(1e5 * a),
    "rising waves": lambda a: 2.0 * a - 3.0 * math.sin(3.0 * a),
    "rising ripples": lambda a: 1.5 * a - math.sin(7.0 * a),
    "waves below the blur": lambda a: 1e3 + 1e-5 * (2.0 * a - 3.0 * math.sin(3.0 * a)),
    "ripples below the blur": lambda a: 1e3 + 1e-5 * (0.5 * a - math.sin(7.0 * a)),
    "NaN around 1": lambda a: math.nan if abs(a - 1.0) < 0.1 else (a - 1.0) ** 2,
    "NaN beyond 0.4": walled(lambda a: (a - 3.0) ** 2, 0.4),
    "NaN beyond 1.2": walled(lambda a: math.cosh(3.0 * (a - 1.0)), 1.2),
    "barrier": lambda a: -math.log(1.0 - a) - 5.0 * a if a < 1.0 else math.nan,
}


def derivative(phi):
    def slope(a):
        h = 1e-6 * max(1.0, abs(a))
        return (phi(a + h) - phi(a - h)) / (2.0 * h)

    return slope


def by_the_paper(phi, slope, first, search, theta=0.5, gamma=0.66, rho=5.0, retreat=0.1):
    """The trials of one search, as the paper writes its steps, and whether the last one is accepted."""
    delta, sigma = search.sufficient_decrease, search.curvature
    f0, s0 = phi(0.0), slope(0.0)
    epsilon = search.blur * abs(f0)
    trials = []

    class Accept(Exception):
        pass

    def evaluate(a):
        if len(trials) == search.max_trials:
            raise Accept
        trials.append(a)
        f = phi(a)
        s = slope(a) if math.isfinite(f) else math.inf
        if not (math.isfinite(f) and math.isfinite(s)):
            return math.inf, math.inf
        wolfe = f - f0 <= delta * a * s0 and s >= sigma * s0
        approximate = (2.0 * delta - 1.0) * s0 >= s >= sigma * s0 and f <= f0 + epsilon
        if wolfe or approximate:
            raise Accept
        return f, s

    def u3(a, b, known):
        while True:
            f, _ = known[b]
            d = (1.0 - theta) * a + theta * b if f < math.inf else a + retreat * (b - a)
            known[d] = f, s = evaluate(d)
            if f == math.inf:
                b = d
            elif s >= 0.0:
                return a, d
            elif f <= f0 + epsilon:
                a = d
            else:
                b = d

    def update(a, b, c, known):
        if not a < c < b:  # U0
            return a, b
        f, s = known[c]
        if f < math.inf and s >= 0.0:  # U1
            return a, c
        if f <= f0 + epsilon:  # U2
            return c, b
        return u3(a, c, known)  # U3

    def secant(a, b, known):
        change = known[b][1] - known[a][1]
        return (a * known[b][1] - b * known[a][1]) / change if math.isfinite(change) and change else math.nan

    def secant2(a, b, known):
        c = secant(a, b, known)  # S1
        if not a < c < b:
            return a, b
        known[c] = evaluate(c)
        low, high = update(a, b, c, known)
        second = math.nan
        if c == high:  # S2
            second = secant(b, high, known)
        elif c == low:  # S3
            second = secant(a, low, known)
        if not low < second < high:  # S4, U0: no reason to evaluate it
            return low, high
        known[second] = evaluate(second)
        return update(low, high, second, known)

    known = {0.0: (f0, s0)}
    try:
        a, c, growth = 0.0, first, rho  # B0
        while True:
            known[c] = f, s = evaluate(c)
            if f == math.inf:
                a, b = u3(a, c, known)
            elif s >= 0.0:  # B1
                b = c
            elif f > f0 + epsilon:  # B2
                a, b = u3(0.0, c, known)
            else:  # B3
                # Not in the paper: along a straight line ever further.
                straight = abs(s - known[a][1]) <= 1e-3 * abs(known[a][1])
                growth = rho * growth if straight else rho
                a, c = c, growth * c
                continue
            break
        while True:
            low, high = secant2(a, b, known)  # L1
            if high - low > gamma * (b - a):  # L2
                c = 0.5 * (low + high)
                known[c] = evaluate(c)
                low, high = update(low, high, c, known)
            assert known[low][1] < 0.0  # the opposite slope condition
            assert known[low][0] <= f0 + epsilon
            assert known[high][1] >= 0.0
            assert a <= low < high <= b
            a, b = low, high
    except Accept:
        return trials


@each("first", 2.0 ** np.array([-10, -6, -4, -3, -2, -1, 0, 1, 2, 3, 5, 10]))  # they scale exactly
@each(
    "search",
    [
        HagerZhang(),
        HagerZhang(sufficient_decrease=0.01, curvature=0.02),
        HagerZhang(sufficient_decrease=1e-4, curvature=1e-4, max_trials=14),
        HagerZhang(sufficient_decrease=0.4, curvature=0.5),
    ],
)
@each("function", ONE_DIMENSIONAL)
@pytest.mark.once
def test_hager_zhang_tries_the_steps_of_the_paper(function, search, first):
    phi = ONE_DIMENSIONAL[function]
    slope = derivative(phi)
    expected = by_the_paper(phi, slope, first, search)
    tried = []

    @dataclass(frozen=True)
    class Along(Uphill):
        def begin(self):
            return lambda g, s, y, step: np.full(1, 1.0 / first)  # the first trial moves by one

    def f(x):
        tried.append(first * x[0])
        return phi(first * x[0])

    result = minimize(
        f,
        [0.0],
        jac=lambda x: first * np.full(1, slope(first * x[0])),
        step=search,
        direction=Along(),
        tol=0.0,
        maxiter=1,
    )
    np.testing.assert_allclose(tried[1 : 1 + len(expected)], expected, rtol=1e-9)
    assert result.nfev == len(tried)


# Survival


@dataclass(frozen=True)
class Sideways:
    scaled: ClassVar[bool] = False

    def begin(self):
        return lambda g, s, y, step: np.array([-g[1], g[0]])


def check(f, result):
    assert math.isfinite(result.fun)
    assert result.fun == f(result.x)
    assert result.message.endswith(".")


def barrier(x):
    """Not defined for x <= 0, flat and low at 1."""
    with np.errstate(all="ignore"):
        return float(x[0] - np.log(x[0]) + x[1] ** 2)


def barrier_gradient(x):
    return np.array([1.0 - 1.0 / x[0], 2.0 * x[1]])


@each("search", SEARCHES)
@each("direction", DIRECTIONS)
def test_trials_that_are_nan_are_shortened(search, direction):
    result = minimize(barrier, [1e-3, 3.0], jac=barrier_gradient, step=search, direction=direction, maxiter=2000)
    check(barrier, result)
    if isinstance(search, Polyak):  # Its target is below the minimum: it comes near, and goes round.
        assert result.fun < barrier(np.array([1e-3, 3.0]))
    elif not (isinstance(search, BarzilaiBorwein) and direction != Steepest()):
        assert result.success
        np.testing.assert_allclose(result.x, [1.0, 0.0], atol=2e-5)


@each("low", [math.nan, math.inf, -math.inf])
@each("search", SEARCHES)
@pytest.mark.once
def test_what_is_not_finite_is_never_accepted(search, low):
    def f(x):
        return float(x @ x) if np.abs(x).max() > 1.0 else low

    def g(x):
        assert np.abs(x).max() > 1.0
        return 2.0 * x

    result = minimize(f, [3.0, 4.0], jac=g, step=search, maxiter=300)
    check(f, result)
    assert result.fun < 25.0
    assert result.status in (1, 2, 3)


@each("search", SEARCHES)
def test_gradients_that_are_not_finite_are_never_accepted(search):
    def f(x):
        return float(x @ x)

    def g(x):
        return 2.0 * x if np.abs(x).max() > 1.0 else np.full(2, math.nan)

    watched = Watched(search)
    result = minimize(f, [3.0, 4.0], jac=g, step=watched, maxiter=100, history=True)
    if isinstance(search, (StrongWolfe, HagerZhang)):  # The others look at values alone; the loop shortens their steps.
        assert all(np.isfinite(trial.g).all() for _, _, _, _, trial in watched.steps)
    assert np.isfinite(result.jac).all()
    assert np.isfinite(result.history.gradient_norm).all()
    assert np.isfinite(result.history.fun).all()
    assert result.status in (1, 2, 3)


@each("step", [*SEARCHES, Constant(0.1)])
def test_a_projection_that_makes_nan_ends_the_run(step):
    calls = itertools.count()

    def projection(x):
        return x if next(calls) < 2 else np.full(2, math.nan)

    problem = Quadratic(np.eye(2))
    result = minimize(problem, [3.0, 4.0], jac=problem.gradient, step=step, projection=projection)
    assert result.status in (2, 3)
    np.testing.assert_array_equal(result.x, [3.0, 4.0])


@each("search", SEARCHES)
@each("direction", DIRECTIONS)
def test_flat_functions_end_with_lost_precision(search, direction):
    # The gradient is a lie, there is nothing to gain anywhere.
    result = minimize(
        lambda x: 7.0, [3.0, 4.0], jac=lambda x: np.ones(2), step=search, direction=direction, maxiter=100_000
    )
    assert result.status == 7
    assert result.fun == 7.0


@each("search", [s for s in SEARCHES if not isinstance(s, Polyak)])
@each("direction", DIRECTIONS)
def test_noise_is_survived(search, direction):
    def f(x):
        # Noise of 1e-6 that depends on the bits of x alone.
        return float(x @ x) + 1e-6 * (zlib.crc32(x.tobytes()) % 1000 / 1000.0)

    result = minimize(f, [3.0, 4.0], jac=lambda x: 2.0 * x, step=search, direction=direction, tol=1e-12, maxiter=20_000)
    check(f, result)
    assert result.status in (0, 2)
    assert result.fun < 1e-4


def test_slopes_lead_hager_zhang_through_noise():
    scales = np.array([1.0, 7.3, 20.0, 33.0])

    def f(x):
        return 1e3 + float(scales @ x**2) + 1e-5 * (zlib.crc32(x.tobytes()) % 1000 / 1000.0)

    sharp, blurred = (
        minimize(f, [3.0, 4.0, 5.0, 6.0], jac=lambda x: 2.0 * scales * x, step=step, tol=1e-9, history=True)
        for step in (HagerZhang(blur=0.0), HagerZhang())
    )
    assert blurred.history.gradient_norm.min() < 1e-9 < 1e-4 < sharp.history.gradient_norm.min()


@each(
    "search, direction, most",
    [
        (StrongWolfe(), LBFGS(), 2.0),
        (Backtracking(), LBFGS(), 2.0),
        (BarzilaiBorwein(memory=1), LBFGS(), 2.0),
        (BarzilaiBorwein(memory=1), Steepest(), 2.0),
        (StrongWolfe(curvature=0.2), ConjugateGradient(), 6.0),
        (Backtracking(), ConjugateGradient(), 3.0),
    ],
)
@each("bounded", [False, True])
@each("seed", range(4))
@pytest.mark.once
def test_slopes_lead_where_the_last_bits_of_values_are_noise(search, direction, most, bounded, seed):
    for problem in (Rosenbrock(6), Wood(), StyblinskiTang(8), Himmelblau()):

        def f(x, problem=problem):
            # Up to six units in the last place of 1e5, which a gradient of 1e-5 does not move.
            value = problem(x) + 1e5
            return float(value + (zlib.crc32(x.tobytes(), seed) % 13 - 6) * np.spacing(value))

        bounds = Bounds(-5.0, np.where(np.arange(problem.n) % 2, problem.minimizers[0] - 0.1, 5.0)) if bounded else None
        result = minimize(
            f, problem.start, jac=problem.gradient, step=search, direction=direction, bounds=bounds, maxiter=3000
        )
        assert result.success, result.message
        assert result.nfev <= most * result.nit + 5


@each("search", [Backtracking(1.0, sufficient_decrease=0.3), StrongWolfe(0.3)])
@each("share, status", [(0.39, 1), (0.41, 2)])
def test_slopes_decide_where_values_are_blurred(search, share, status):
    # No more than 1 - 2 * 0.3 of the first slope may remain, upwards; values rise by less than their rounding.
    def g(x):
        return np.where(x == 1.0, 1e-9, -share * 1e-9)

    result = minimize(lambda x: 1.0 + 1e-15 * (x[0] != 1.0), [1.0], jac=g, step=search, maxiter=1, tol=0.0)
    assert (result.status, result.nit) == (status, status == 1)


def test_where_values_are_blurred_strong_wolfe_follows_the_line_through_two_slopes():
    search = StrongWolfe(curvature=0.01)
    result = minimize(lambda x: 1.0, [0.0], jac=lambda x: 1e-16 * (x - 0.3), step=search, maxiter=1, tol=0.0)
    assert (result.status, result.nit, result.nfev) == (1, 1, 3)


def test_values_decide_where_they_change_more_than_slopes_promise():
    # From near the top of a hill the value falls much further than the slope there tells; beyond, it rises.
    watched = Watched(Backtracking(initial=3.3e16))
    minimize(
        lambda x: 2.0 + 1e-13 * math.cos(x[0]),
        [1e-3],
        jac=lambda x: -1e-13 * np.sin(x),
        step=watched,
        maxiter=1,
        tol=0.0,
    )
    ((_, _, _, _, trial),) = watched.steps
    assert trial.alpha == 3.3e16


def test_a_run_that_converges_above_its_best_point_again_and_again_ends():
    # The start is low by chance; the search allows for that, and comes to the stationary point each time.
    def f(x):
        return 0.9 if x[0] == 3.0 else 1.0 + 1e-3 * x[0] ** 2

    result = minimize(f, [3.0], jac=lambda x: 2e-3 * x, step=HagerZhang(blur=1.0))
    assert (result.status, result.fun) == (2, 0.9)
    assert result.nit < 300


@each("search", SEARCHES)
@each("direction", [Uphill(), Sideways()])
def test_directions_that_do_not_descend_are_replaced(search, direction):
    problem = Quadratic(np.diag([1.0, 3.0]))
    result = minimize(problem, [3.0, 4.0], jac=problem.gradient, step=search, direction=direction, maxiter=200)
    check(problem, result)
    assert result.status == 2
    assert result.fun <= problem(np.array([3.0, 4.0]))


@each("d", [math.nan, -math.inf])
@each("step", [*SEARCHES, Constant(0.1)])
def test_a_direction_that_is_not_finite_is_not_followed(step, d):
    @dataclass(frozen=True)
    class Off(Uphill):
        def begin(self):
            return lambda g, s, y, step: np.full(2, d)

    problem = Quadratic(np.diag([1.0, 3.0]))
    result = minimize(problem, [3.0, 4.0], jac=problem.gradient, step=step, direction=Off())
    assert (result.status, result.nfev) == (2, 1)
    np.testing.assert_array_equal(result.x, [3.0, 4.0])


@each("search", SEARCHES)
def test_a_wrong_gradient_ends_with_a_sentence(search):
    problem = Quadratic(np.diag([1.0, 3.0]))
    result = minimize(problem, [3.0, 4.0], jac=lambda x: -problem.gradient(x), step=search, maxiter=100)
    check(problem, result)
    assert not result.success or isinstance(search, ExactLineSearch)


@each("search", [s for s in SEARCHES if not isinstance(s, Polyak)])
@each("direction", DIRECTIONS)
def test_a_tolerance_below_rounding_ends_with_lost_precision_near_the_minimum(search, direction):
    problem = Quadratic(np.array([[2.0, 0.3], [0.3, 14.0]]), [2.0, 1.1], 1e3, start=[0.0, 1.0])
    result = minimize(
        problem, problem.start, jac=problem.gradient, step=search, direction=direction, tol=0.0, maxiter=100_000
    )
    check(problem, result)
    assert result.status in (0, 2)
    assert result.fun <= problem.minimum + 1e-9


@each("search", SEARCHES)
@each("direction", DIRECTIONS)
def test_a_function_without_minimum_is_followed_down(search, direction):
    def f(x):
        return float(x[0])

    result = minimize(f, [0.0], jac=lambda x: np.ones(1), step=search, direction=direction, maxiter=50)
    check(f, result)
    assert result.fun < -0.5
    assert np.isfinite(result.x).all()


@each("search", SEARCHES)
@each("scale", [1e-200, 1e-140, 1e-8, 1e8, 1e140])
@each("direction", DIRECTIONS)
def test_huge_and_tiny_scales(search, direction, scale):
    def f(x):
        return scale * float(x @ x)

    def g(x):
        return 2.0 * scale * x

    result = minimize(f, [3.0, 4.0], jac=g, step=search, direction=direction, tol=1e-6 * scale, maxiter=100)
    check(f, result)
    assert result.fun <= 25.0 * scale


# Settings


@each("search", SEARCHES)
def test_settings_are_frozen_compare_and_hold_no_state(search):
    assert search == type(search)(**vars(search))
    before = repr(search)
    first = minimize(Rosenbrock(), [-1.2, 1.0], jac=Rosenbrock().gradient, step=search, maxiter=30)
    second = minimize(Rosenbrock(), [-1.2, 1.0], jac=Rosenbrock().gradient, step=search, maxiter=30)
    np.testing.assert_array_equal(first.x, second.x)
    assert first.nfev == second.nfev
    assert repr(search) == before
    with pytest.raises(FrozenInstanceError):
        search.new = 1


@each(
    "build, error, message",
    [
        (lambda: ExactLineSearch(initial=0.0), ValueError, "initial must be a positive finite number, got 0.0"),
        (lambda: ExactLineSearch(tolerance=-1), ValueError, "tolerance must be a positive finite number, got -1"),
        (lambda: ExactLineSearch(max_trials=0), ValueError, "max_trials must be a positive integer, got 0"),
        (lambda: ExactLineSearch(slopes="yes"), TypeError, "slopes must be a bool or None, got 'yes'"),
        (lambda: Backtracking(initial=-1.0), ValueError, "initial must be a positive finite number, got -1.0"),
        (lambda: Backtracking(factor=1.0), ValueError, r"factor must be a number in \(0, 1\), got 1.0"),
        (lambda: Backtracking(sufficient_decrease=0), ValueError, r"sufficient_decrease must be .* got 0"),
        (lambda: StrongWolfe(curvature=1e-5), ValueError, r"curvature must be .*sufficient_decrease, 1\), got 1e-05"),
        (lambda: StrongWolfe(curvature=1.0), ValueError, "curvature must be"),
        (lambda: HagerZhang(sufficient_decrease=0.5), ValueError, r"sufficient_decrease must be .*\(0, 0.5\), got 0.5"),
        (lambda: HagerZhang(blur=-1e-6), ValueError, "blur must be a non-negative finite number, got -1e-06"),
        (lambda: BarzilaiBorwein("middle"), ValueError, "formula must be one of alternating, .*, got 'middle'"),
        (lambda: BarzilaiBorwein(memory=0), ValueError, "memory must be a positive integer, got 0"),
        (lambda: Polyak(math.inf), ValueError, "target must be a finite number, got inf"),
        (lambda: Polyak(0.0, relaxation=2.0), ValueError, r"relaxation must be a number in \(0, 2\), got 2.0"),
        (lambda: Polyak(None), TypeError, "target must be a finite number, got None"),
    ],
)
def test_wrong_settings_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()
