import ctypes
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from cases import each
from loops import minimize_compiled as minimize
from loops import minimize_in_python
from numba import carray
from scipy import LowLevelCallable

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
    _kernels,
    cython_descent,
)
from graddesc.descent import compiled
from graddesc.problems import (
    PROBLEMS,
    BroydenTridiagonal,
    ExtendedRosenbrock,
    Quadratic,
    Rosenbrock,
    StyblinskiTang,
    Wood,
)

STEPS = [
    ExactLineSearch(slopes=True),
    ExactLineSearch(slopes=True, initial=0.1, tolerance=1e-3),
    ExactLineSearch(slopes=False),
    ExactLineSearch(slopes=False, initial=0.1, tolerance=1e-3),
    Backtracking(),
    Backtracking(initial=1.0, factor=0.3),
    StrongWolfe(),
    StrongWolfe(curvature=0.1),
    BarzilaiBorwein(),
    BarzilaiBorwein("long", memory=1),
    BarzilaiBorwein("short"),
    BarzilaiBorwein("adaptive", memory=3),
    Polyak(-1.0, relaxation=0.5),
    Constant(1e-4),
    InverseTime(1e-3, floor=1e-5),
]
FORMULAS = ["hager-zhang", "polak-ribiere", "hestenes-stiefel", "fletcher-reeves", "dai-yuan"]
DIRECTIONS = [
    Steepest(),
    HeavyBall(0.7),
    Nesterov(),
    Nesterov(0.5, restart=False),
    *(ConjugateGradient(formula) for formula in FORMULAS),
    LBFGS(),
    LBFGS(2),
    Adam(),
]


def name(value):
    return f"{type(value).__name__}-{value.n}" if hasattr(value, "n") else repr(value)


VALUE = numba.types.float64(numba.types.intc, numba.types.CPointer(numba.types.float64), numba.types.voidptr)
BOTH = numba.types.float64(
    numba.types.intc,
    numba.types.CPointer(numba.types.float64),
    numba.types.CPointer(numba.types.float64),
    numba.types.voidptr,
)
GRADIENT = numba.types.void(
    numba.types.intc,
    numba.types.CPointer(numba.types.float64),
    numba.types.CPointer(numba.types.float64),
    numba.types.voidptr,
)


@numba.cfunc(VALUE)
def rosenbrock(n, x, data):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@numba.cfunc(GRADIENT)
def rosenbrock_gradient(n, x, out, data):
    out[0] = -2 * (1 - x[0]) + 100 * 2 * (x[1] - x[0] ** 2) * (-2 * x[0])
    out[1] = 100 * 2 * (x[1] - x[0] ** 2)


@numba.cfunc(BOTH)
def rosenbrock_both(n, x, out, data):
    """What it costs is counted in the data."""
    carray(data, (1,), np.int64)[0] += 1
    out[0] = -2 * (1 - x[0]) + 100 * 2 * (x[1] - x[0] ** 2) * (-2 * x[0])
    out[1] = 100 * 2 * (x[1] - x[0] ** 2)
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def counted_both():
    """Return a function that tells both, and the array in which it counts its calls."""
    calls = np.zeros(1, np.int64)
    return LowLevelCallable(rosenbrock_both.ctypes, user_data=ctypes.c_void_p(calls.ctypes.data)), calls


@numba.cfunc(VALUE)
def notch(n, x, data):
    """The squared distance from the origin, not a number within 1 of it."""
    return x[0] * x[0] if abs(x[0]) > 1.0 else np.nan


@numba.cfunc(GRADIENT)
def notch_gradient(n, x, out, data):
    out[0] = 2.0 * x[0]


@numba.cfunc(VALUE)
def kinks(n, x, data):
    return abs(x[0]) + 3.0 * abs(x[1] - x[0])


@numba.cfunc(GRADIENT)
def kinks_gradient(n, x, out, data):
    side = 3.0 if x[1] > x[0] else -3.0
    out[0] = (1.0 if x[0] > 0.0 else -1.0) - side
    out[1] = side


@numba.cfunc(VALUE)
def noise(n, x, data):
    """A bowl whose values, but not its gradient, are off by 1e-6."""
    return x[0] ** 2 + 10.0 * x[1] ** 2 + 1e-6 * np.sin(1e9 * (x[0] + 2.0 * x[1]))


@numba.cfunc(GRADIENT)
def noise_gradient(n, x, out, data):
    out[0] = 2.0 * x[0]
    out[1] = 20.0 * x[1]


@numba.cfunc(VALUE)
def last_bits(n, x, data):
    """A bowl so high that a gradient of 1e-5 does not move its values, whose last bits are noise."""
    return 1e5 + x[0] ** 2 + 10.0 * x[1] ** 2 + 8e-11 * np.sin(1e12 * (x[0] + 2.0 * x[1]))


@numba.cfunc(VALUE)
def lucky(n, x, data):
    return 0.9 if x[0] == 2.0 else 1.0 + 1e-3 * x[0] ** 2


@numba.cfunc(GRADIENT)
def lucky_gradient(n, x, out, data):
    out[0] = 2e-3 * x[0]


NUMBA = LowLevelCallable(rosenbrock.ctypes), LowLevelCallable(rosenbrock_gradient.ctypes)
NOTCH = LowLevelCallable(notch.ctypes), LowLevelCallable(notch_gradient.ctypes)
KINKS = LowLevelCallable(kinks.ctypes), LowLevelCallable(kinks_gradient.ctypes)
NOISE = LowLevelCallable(noise.ctypes), LowLevelCallable(noise_gradient.ctypes)

LAST_BITS = LowLevelCallable(last_bits.ctypes), NOISE[1]
LUCKY = LowLevelCallable(lucky.ctypes), LowLevelCallable(lucky_gradient.ctypes)

# Descends with steps of 1e-9 for as long as it is let.
ENDLESS = {"step": Constant(1e-9), "tol": 0.0, "maxiter": 2**31 - 1}


# The faces of the problems


@each("problem", PROBLEMS)
def test_compiled_faces_are_the_problems(problem):
    fun, jac = problem.compiled
    for seed in range(3):
        x = problem.start + 0.1 * np.random.default_rng(seed).standard_normal(problem.n)
        result = minimize(fun, x, jac=jac, maxiter=0)
        assert result.fun == pytest.approx(problem(x), rel=1e-12)
        g = problem.gradient(x)
        np.testing.assert_allclose(result.jac, g, rtol=1e-10, atol=1e-12 * np.abs(g).max())


def test_the_face_of_a_quadratic_outlives_it():
    fun, jac = Quadratic(np.diag([1.0, 3.0]), [1.0, 2.0], 5.0).compiled
    junk = [np.full(7, float(k)) for k in range(1000)]
    assert minimize(fun, [1.0, 1.0], jac=jac).fun == pytest.approx(5.0 - 0.5 - 2.0 / 3.0)
    assert len(junk) == 1000


# The compiled loop is the loop in Python

# Of three variables: in two, a conjugate direction may be at a right angle to the gradient up to rounding, and what a
# search does then depends on the order of sums.
BOWL = Quadratic(np.array([[2, 0.5, 0], [0.5, 5, 1], [0, 1, 14]]), [2.0, 1.0, -1.0], start=[0.0, 1.0, 2.0])


@each("direction", DIRECTIONS)
@each("step", STEPS)
@each("problem", [StyblinskiTang(3), ExtendedRosenbrock(4), BOWL])
def test_the_same_iterations_as_in_python(problem, step, direction):
    # Sums are in another order, and chaos is near: a few iterations must agree.
    fun, jac = problem.compiled
    start = problem.start + np.linspace(0.0, 0.3, problem.n)
    arguments = {"step": step, "direction": direction, "maxiter": 6}
    result = minimize(fun, start, jac=jac, **arguments)
    slow = minimize_in_python(problem, start, jac=problem.gradient, **arguments)
    np.testing.assert_allclose(result.x, slow.x, rtol=1e-5, atol=1e-5)
    assert (result.status, result.nit, result.success) == (slow.status, slow.nit, slow.success)
    if not isinstance(step, ExactLineSearch):  # Its last trials are at the level of rounding.
        assert abs(result.nfev - slow.nfev) <= 1
        assert abs(result.njev - slow.njev) <= 1
    assert result.fun == pytest.approx(problem(result.x), rel=1e-12)


@each("maxiter", [1, 2, 7])
def test_each_iteration_has_the_step_of_its_schedule(maxiter):
    fun, jac = BOWL.compiled
    x, settings = BOWL.start, {"step": Exponential(0.1, factor=0.5), "direction": Steepest(), "maxiter": maxiter}
    for k in range(maxiter):
        x = x - 0.1 * 0.5**k * BOWL.gradient(x)
    one = minimize(fun, BOWL.start, jac=jac, **settings)
    many = minimize(fun, [BOWL.start] * 2, jac=jac, **settings)  # of which each looks into a table
    np.testing.assert_allclose([one.x, *many.x], [x] * 3, rtol=1e-13)


@pytest.mark.parametrize(("slopes", "least", "most"), [(None, 4.0, 4.2), (True, 4.0, 4.2), (False, 18.0, 24.0)])
def test_rosenbrock_with_exact_search_takes_as_many_iterations(slopes, least, most):
    result = minimize(NUMBA[0], [-2, -2], jac=NUMBA[1], step=ExactLineSearch(slopes=slopes), maxiter=20_000)
    assert result.success
    assert result.nit + 1 == pytest.approx(11990, rel=0.04)
    np.testing.assert_allclose(result.x, [0.9999912, 0.99998234], atol=1e-6)
    assert least <= (result.nfev + result.njev) / result.nit <= most


@pytest.mark.parametrize("problem", [Rosenbrock(), Wood(), BroydenTridiagonal(10)], ids=name)
def test_the_exact_minimum_of_a_ray_is_at_a_right_angle(problem):
    fun, jac = problem.compiled
    gradients = [minimize(fun, problem.start, jac=jac, maxiter=k).jac for k in range(1, 30)]
    for before, after in itertools.pairwise(gradients):
        assert abs(before @ after) <= 1e-4 * np.linalg.norm(before) * np.linalg.norm(after)


@pytest.mark.parametrize(("pair", "accuracy"), [(KINKS, 1e-6), (NOISE, 4e-6)], ids=["kinks", "noise"])
def test_where_slopes_have_no_root_values_decide(pair, accuracy):
    fun, jac = pair
    by_values, by_slopes = (
        minimize(fun, [3.0, -4.0], jac=jac, step=ExactLineSearch(slopes=slopes), maxiter=100)
        for slopes in (False, True)
    )
    assert by_slopes.fun <= by_values.fun + accuracy


@pytest.mark.parametrize("step", [StrongWolfe(curvature=0.2), Backtracking(), BarzilaiBorwein(memory=1)], ids=name)
@pytest.mark.parametrize("direction", [LBFGS(), ConjugateGradient()], ids=name)
def test_slopes_lead_where_the_last_bits_of_values_are_noise(step, direction):
    fun, jac = compiled.as_python(*LAST_BITS)
    for start in np.random.default_rng(0).standard_normal((20, 2)):
        arguments = {"step": step, "direction": direction, "tol": 1e-6}
        result = minimize(LAST_BITS[0], start, jac=LAST_BITS[1], **arguments)
        slow = minimize_in_python(fun, start, jac=jac, **arguments)
        assert (result.status, slow.status) == (0, 0)
        assert result.nfev <= 3 * result.nit + 5
        assert slow.nfev <= 3 * slow.nit + 5


def test_a_run_that_converges_above_its_best_point_again_and_again_ends():
    arguments = {"step": BarzilaiBorwein("long", memory=10_000), "maxiter": 9000}
    result = minimize(LUCKY[0], [3.0], jac=LUCKY[1], **arguments)
    fun, jac = compiled.as_python(*LUCKY)
    slow = minimize_in_python(fun, [3.0], jac=jac, **arguments)
    assert (result.status, result.fun) == (slow.status, slow.fun)
    assert (result.nit, result.nfev) == (slow.nit, slow.nfev)
    assert result.nit < 300


def test_searches_by_slopes_that_fail_become_rare():
    arguments = {"step": ExactLineSearch(slopes=True), "direction": Nesterov(0.9, restart=False), "maxiter": 12}
    result = minimize(KINKS[0], [3.0, -4.0], jac=KINKS[1], **arguments)
    fun, jac = compiled.as_python(*KINKS)
    slow = minimize_in_python(fun, [3.0, -4.0], jac=jac, **arguments)
    assert (result.nit, result.nfev, result.njev) == (slow.nit, slow.nfev, slow.njev)
    # Twelve for each iteration if slopes were always tried.
    assert result.njev < 6 * result.nit


@each("problem", PROBLEMS)
@each("step", [StrongWolfe(), Backtracking(), ExactLineSearch()])
def test_the_fast_ones_solve_every_problem(problem, step):
    fun, jac = problem.compiled
    result = minimize(fun, problem.start, jac=jac, step=step, direction=LBFGS(), maxiter=3000)
    assert result.status == 0
    assert np.abs(problem.gradient(result.x)).max() < 1.001e-5
    assert result.optimality == np.abs(result.jac).max()


# Callables of every origin


C_SOURCE = """
static int calls[2];
int *counters(void) { return calls; }
double value(int n, double *x, void *data) {
    double a = *(double *)data, f = 0.0;
    calls[0]++;
    for (int i = 0; i < n; i++) f += (x[i] - a) * (x[i] - a);
    return f;
}
void gradient(int n, double *x, double *out, void *data) {
    double a = *(double *)data;
    calls[1]++;
    for (int i = 0; i < n; i++) out[i] = 2.0 * (x[i] - a);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    (folder / "shift.c").write_text(C_SOURCE)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "shift.c", "-o", "shift.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "shift.so"))
    doubles = ctypes.POINTER(ctypes.c_double)
    library.value.restype = ctypes.c_double
    library.value.argtypes = [ctypes.c_int, doubles, ctypes.c_void_p]
    library.gradient.restype = None
    library.gradient.argtypes = [ctypes.c_int, doubles, doubles, ctypes.c_void_p]
    library.counters.restype = ctypes.POINTER(ctypes.c_int)
    return library


def shifted(library, shift):
    data = ctypes.cast(ctypes.pointer(ctypes.c_double(shift)), ctypes.c_void_p)
    return LowLevelCallable(library.value, data), LowLevelCallable(library.gradient, data)


@pytest.mark.posix
@each("step", STEPS)
@each("direction", DIRECTIONS[:3] + DIRECTIONS[-3:])
def test_ctypes_callables_with_data_are_counted_exactly(library, step, direction):
    fun, jac = shifted(library, 2.5)
    calls = library.counters()
    calls[0] = calls[1] = 0
    result = minimize(fun, [1.0, 7.0, -3.0], jac=jac, step=step, direction=direction, maxiter=50)
    assert (result.nfev, result.njev) == (calls[0], calls[1])
    assert result.fun == pytest.approx(((result.x - 2.5) ** 2).sum(), rel=1e-14)
    assert result.fun < 52.75


@each("step", [*STEPS, Constant(2e-3)])
@each("direction", [Steepest(), HeavyBall(0.9), Nesterov(), LBFGS(), Adam()])
def test_the_result_is_the_best_point_evaluated(step, direction):
    doubles = ctypes.POINTER(ctypes.c_double)
    seen = []

    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, doubles, ctypes.c_void_p)
    def value(n, x, data):
        seen.append(Rosenbrock()(np.array([x[0], x[1]])))
        return seen[-1]

    @ctypes.CFUNCTYPE(None, ctypes.c_int, doubles, doubles, ctypes.c_void_p)
    def gradient(n, x, out, data):
        out[0], out[1] = Rosenbrock().gradient(np.array([x[0], x[1]]))

    fun, jac = LowLevelCallable(value), LowLevelCallable(gradient)
    for maxiter in (1, 2, 7, 40):
        seen.clear()
        result = minimize(fun, [-1.2, 1.0], jac=jac, step=step, direction=direction, maxiter=maxiter)
        finite = min(f for f in seen if np.isfinite(f))
        # Values that differ by rounding count as equal.
        assert finite <= result.fun <= finite + 2e-15 * finite
        assert result.fun == Rosenbrock()(result.x)
        np.testing.assert_array_equal(result.jac, Rosenbrock().gradient(result.x))


CYTHON_SOURCE = """
from graddesc.cython_descent cimport BACKTRACKING, LBFGS, default_settings, minimize, report_t, settings_t


cdef double value(int n, double *x, void *data) noexcept nogil:
    return (x[0] - 1.0) ** 4 + (x[1] + 2.0) ** 2


cdef void gradient(int n, double *x, double *out, void *data) noexcept nogil:
    out[0] = 4.0 * (x[0] - 1.0) ** 3
    out[1] = 2.0 * (x[1] + 2.0)


def solve(double[::1] x):
    cdef settings_t settings = default_settings()
    cdef report_t report
    settings.step = BACKTRACKING
    settings.direction = LBFGS
    settings.tol = 1e-8
    with nogil:
        status = minimize(value, gradient, NULL, 2, &x[0], NULL, NULL, &settings, NULL, 0, &report)
    return status, report


cdef api double public_value(int n, double *x, void *data) noexcept nogil:
    return value(n, x, data)


cdef api void public_gradient(int n, double *x, double *out, void *data) noexcept nogil:
    gradient(n, x, out, data)
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A Cython module of a user's, compiled against the installed package."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "user_descent.pyx").write_text(CYTHON_SOURCE)
    subprocess.run([sys.executable, "-m", "cython", "-3", "user_descent.pyx"], cwd=folder, check=True)
    target = folder / ("user_descent" + sysconfig.get_config_var("EXT_SUFFIX"))
    include = sysconfig.get_paths()["include"]
    subprocess.run(
        ["cc", "-O1", "-w", "-shared", "-fPIC", f"-I{include}", "user_descent.c", "-o", str(target)],
        cwd=folder,
        check=True,
    )
    spec = importlib.util.spec_from_file_location("user_descent", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.posix
def test_cython_users_run_the_loop_without_python(user):
    x = np.array([3.0, 4.0])
    status, report = user.solve(x)
    assert status == report["status"] == 0
    np.testing.assert_allclose(x, [1.0, -2.0], atol=2e-3)
    fun, jac = (LowLevelCallable.from_cython(user, f"public_{part}") for part in ("value", "gradient"))
    result = minimize(fun, [3.0, 4.0], jac=jac, step=Backtracking(), direction=LBFGS(10), tol=1e-8)
    np.testing.assert_array_equal(result.x, x)
    assert all(report[entry] == result[entry] for entry in ("fun", "nit", "nfev", "njev", "optimality"))


def test_the_c_interface_is_the_one_that_users_were_compiled_against():
    capsule_name = ctypes.pythonapi.PyCapsule_GetName
    capsule_name.restype, capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    interface = {key: capsule_name(capsule).decode() for key, capsule in cython_descent.__pyx_capi__.items()}
    prefix = "__pyx_t_8graddesc_14cython_descent_"
    assert {key: text.replace(prefix, "") for key, text in interface.items()} == {
        "default_settings": "settings_t (void)",
        "minimize": (
            "int (value_t, gradient_t, void *, int, double *, double const *, double const *, settings_t const *, "
            "double const *, int, report_t *)"
        ),
    }
    assert list(cython_descent.defaults()) == [
        "step",
        "has_initial",
        "initial",
        "tolerance",
        "max_trials",
        "factor",
        "sufficient_decrease",
        "curvature",
        "blur",
        "formula",
        "memory",
        "least",
        "relaxation",
        "direction",
        "momentum",
        "growing_momentum",
        "restart",
        "conjugate",
        "lbfgs_memory",
        "mean_decay",
        "square_decay",
        "epsilon",
        "tol",
        "xtol",
        "ftol",
        "target",
        "max_time",
        "maxiter",
        "maxfun",
    ]


def test_defaults_are_those_of_the_classes():
    defaults = cython_descent.defaults()
    for settings in (ExactLineSearch(), StrongWolfe(), BarzilaiBorwein(), HeavyBall(), Adam()):
        own = {key: value for key, value in vars(settings).items() if key not in ("formula", "max_trials", "slopes")}
        assert own == {key: defaults[key] for key in own}
    assert defaults["max_trials"] == ExactLineSearch().max_trials
    assert (defaults["lbfgs_memory"], LBFGS().memory) == (10, None)
    assert (defaults["factor"], defaults["restart"]) == (Backtracking().factor, Nesterov().restart)


# Many starts


@each("threads", [1, 2, 3, 50])
@each("step, direction", [(StrongWolfe(), LBFGS()), (ExactLineSearch(), Steepest()), (Constant(1e-3), Adam())])
def test_many_starts_are_as_each_alone(threads, step, direction):
    starts = np.random.default_rng(1).uniform(-2.0, 2.0, (23, 2))
    before = starts.copy()
    arguments = {"jac": NUMBA[1], "step": step, "direction": direction, "maxiter": 200}
    together = minimize(NUMBA[0], starts, threads=threads, **arguments)
    np.testing.assert_array_equal(starts, before)
    for i, start in enumerate(starts):
        alone = minimize(NUMBA[0], start, **arguments)
        for entry in ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "optimality"):
            np.testing.assert_array_equal(together[entry][i], alone[entry])
    assert together.best == np.argmin(together.fun)
    assert together.message == f"{together.success.sum()} of 23 starts have converged."


@each("step", [*STEPS, HagerZhang()])
@each("direction", [Steepest(), LBFGS()])
def test_one_function_may_tell_value_and_gradient(step, direction):
    both, calls = counted_both()
    settings = {"step": step, "direction": direction, "maxiter": 60}
    result = minimize(both, [-1.2, 1.0], jac=True, **settings)
    assert result.nfev == result.njev == calls[0]
    apart = minimize(NUMBA[0], [-1.2, 1.0], jac=NUMBA[1], **settings)
    again = minimize(compiled.as_python(both, True)[0], [-1.2, 1.0], jac=True, **settings)
    assert result.status == apart.status
    assert (result.nit, result.nfev, result.njev) == (again.nit, again.nfev, again.njev)
    for entry in ("x", "fun", "jac", "nit", "optimality"):
        np.testing.assert_array_equal(result[entry], apart[entry])
    # What is asked again where it is not kept.
    assert apart.nfev <= result.nfev <= apart.nfev + apart.njev
    starts = [[-1.2, 1.0], [2.0, 2.0]]
    many = minimize(both, starts, jac=True, threads=2, **settings)
    calls[0] = 0
    for k, start in enumerate(starts):
        alone = minimize(both, start, jac=True, **settings)
        for entry in ("x", "fun", "jac", "nit", "nfev", "njev"):
            np.testing.assert_array_equal(many[entry][k], alone[entry])
    assert calls[0] == many.nfev.sum()


def test_a_function_that_tells_both_serves_the_loop_of_python_and_callbacks():
    both, calls = counted_both()
    seen = []
    settings = {"step": StrongWolfe(), "direction": LBFGS(), "bounds": [(-2.0, 0.5), (-2.0, 2.0)]}
    result = minimize_in_python(both, [-1.2, 1.0], jac=True, **settings)
    compiled_result = minimize(both, [-1.2, 1.0], jac=True, callback=seen.append, **settings)
    np.testing.assert_allclose(result.x, [0.5, 0.25], atol=1e-6)
    np.testing.assert_allclose(compiled_result.x, [0.5, 0.25], atol=1e-6)
    assert result.nfev == result.njev
    assert calls[0] == result.nfev + compiled_result.nfev
    assert len(seen) == compiled_result.nit
    with pytest.raises(ValueError, match=r"fun must have the signature double.*, got double"):
        minimize(NUMBA[0], [-1.2, 1.0], jac=True)
    with pytest.raises(ValueError, match=r"fun must have the signature double.*, got double"):
        minimize(both, [-1.2, 1.0], jac=NUMBA[1])


@numba.cfunc(VALUE)
def narrow(n, x, data):
    return 0.5e10 * (carray(x, (n,)) ** 2).sum()


@numba.cfunc(GRADIENT)
def narrow_gradient(n, x, out, data):
    carray(out, (n,))[:] = 1e10 * carray(x, (n,))


@each("step", [Constant(1e-11), StrongWolfe()])
@each("n", [7, 9])
def test_a_direction_that_is_not_finite_leaves_nothing_behind(step, n):
    # So near the minimum the product of the first pair has no reciprocal that doubles hold.
    fun, jac = (LowLevelCallable(function.ctypes) for function in (narrow, narrow_gradient))
    settings = {"jac": jac, "step": step, "direction": LBFGS(), "tol": 0.0, "maxiter": 9}
    starts = np.array([np.full(n, 1e-160), np.linspace(1.0, 2.0, n)])
    many = minimize(fun, starts, threads=1, **settings)
    for k, start in enumerate(starts):
        alone = minimize(fun, start, **settings)
        assert alone.nit == 9
        for entry in ("x", "status", "nit", "nfev"):
            np.testing.assert_array_equal(many[entry][k], alone[entry])


def test_calls_from_many_threads_do_not_meet():
    expected = minimize(NUMBA[0], [-1.2, 1.0], jac=NUMBA[1], step=StrongWolfe(), direction=LBFGS())
    with ThreadPoolExecutor(4) as pool:
        futures = [
            pool.submit(minimize, NUMBA[0], [-1.2, 1.0], jac=NUMBA[1], step=StrongWolfe(), direction=LBFGS())
            for _ in range(100)
        ]
        for future in futures:
            np.testing.assert_array_equal(future.result().x, expected.x)


# Stops


def test_iterations_target_and_small_changes_end_the_run():
    assert minimize(NUMBA[0], [-2, -2], jac=NUMBA[1], maxiter=7).nit == 7
    reached = minimize(NUMBA[0], [-2, -2], jac=NUMBA[1], target=10.0)
    assert (reached.status, reached.success, reached.message) == (6, True, "The target is reached.")
    assert reached.fun <= 10.0
    for change in ({"xtol": 1e-3}, {"ftol": 1e-3}):
        for slopes in (True, False):
            small = change | {"step": ExactLineSearch(slopes=slopes)}
            fast = minimize(NUMBA[0], [-2, -2], jac=NUMBA[1], **small)
            slow = minimize_in_python(Rosenbrock(), [-2, -2], jac=Rosenbrock().gradient, **small)
            assert (fast.status, fast.nit) == (slow.status, slow.nit)


def test_a_target_that_is_reached_by_rounding_is_reached():
    value = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)
    seen = []

    def noting(n, x, data):
        seen.append(last_bits.ctypes(n, x, data))
        return seen[-1]

    fun, jac = LowLevelCallable(value(noting)), NOISE[1]
    for start in np.random.default_rng(0).standard_normal((20, 2)):
        arguments = {"jac": jac, "step": ExactLineSearch(), "maxiter": 30}
        seen.clear()
        minimize(fun, start, **arguments)
        for target in np.unique(seen)[:10]:
            result = minimize(LAST_BITS[0], start, **arguments, target=target)
            assert result.status == 6
            assert result.fun <= target


def test_polyak_keeps_its_own_target():
    problem = StyblinskiTang(2)
    fun, jac = problem.compiled
    arguments = {"step": Polyak(-80.0), "target": -70.0}
    slow = minimize_in_python(problem, [-1.0, -1.2], jac=problem.gradient, **arguments)
    fast = minimize(fun, [-1.0, -1.2], jac=jac, **arguments)
    assert slow.status == fast.status == 6
    np.testing.assert_allclose(fast.x, slow.x, rtol=1e-12)


def test_time_ends_the_run():
    begin = time.perf_counter()
    result = minimize(NUMBA[0], [-2, -2], jac=NUMBA[1], max_time=0.05, **ENDLESS)
    assert result.status == 5
    assert time.perf_counter() - begin >= 0.05


@pytest.mark.parametrize(("m", "threads"), [(1, 1), (3, 1), (3, 2)])
@pytest.mark.posix
def test_signals_end_the_run(m, threads):
    class Signalled(Exception):
        pass

    def handler(number, frame):
        raise Signalled

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Signalled):
            minimize(NUMBA[0], [[-2.0, -2.0]] * m, jac=NUMBA[1], threads=threads, **ENDLESS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_the_interpreter_runs_on_meanwhile():
    seen, during_a_run = [], [0]

    def keep_on():
        # However busy the machine is, this thread comes to its turn within one of the runs.
        while max(during_a_run) <= 10 and len(during_a_run) < 100:
            before = len(seen)
            minimize(NUMBA[0], [-2.0, -2.0], jac=NUMBA[1], max_time=0.1, **ENDLESS)
            during_a_run.append(len(seen) - before)

    thread = threading.Thread(target=keep_on)
    thread.start()
    while thread.is_alive():
        seen.append(1)
        time.sleep(0.001)
    assert max(during_a_run) > 10


@each("step", [step for step in STEPS if not isinstance(step, (Constant, InverseTime))])
@each("direction", [Steepest(), LBFGS(), ConjugateGradient()])
def test_what_is_not_finite_is_never_accepted(step, direction):
    result = minimize(NOTCH[0], [5.0], jac=NOTCH[1], step=step, direction=direction, maxiter=500)
    assert result.status in (1, 2, 3)
    assert result.fun == result.x[0] ** 2
    assert 1.0 < abs(result.x[0]) <= 5.0


def test_a_start_that_is_not_finite():
    alone = minimize(NOTCH[0], [0.5], jac=NOTCH[1])
    assert (alone.status, alone.success, alone.nit) == (3, False, 0)
    np.testing.assert_array_equal(alone.x, [0.5])
    assert np.isnan(alone.fun)
    together = minimize(NOTCH[0], [[0.5], [5.0]], jac=NOTCH[1], maxiter=50)
    assert together.status[0] == 3
    assert together.best == 1


# Bad input


class Own(Backtracking):
    """A step rule that is not the package's."""


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"jac": None},
            TypeError,
            r"jac must be a scipy.LowLevelCallable of void\(int,double\*,double\*,void\*\), got None",
        ),
        ({"jac": NUMBA[0]}, ValueError, "jac must have the signature void.*, got double"),
        ({"fun": NUMBA[1]}, ValueError, "fun must have the signature double.*, got void"),
        ({"x0": np.ones((2, 2, 2))}, ValueError, r"x0 must have shape \(n,\) or \(m, n\) with n >= 1, got \(2, 2, 2\)"),
        ({"x0": np.ones((0, 2))}, ValueError, r"x0 must have shape .*, got \(0, 2\)"),
        ({"x0": [1.0, np.nan]}, ValueError, "x0 must be finite, got nan"),
        ({"step": lambda k: -1.0, "maxiter": 3}, ValueError, "step must return a non-negative finite number, got -1.0"),
        (
            {"step": lambda k: np.nan, "maxiter": 3},
            ValueError,
            "step must return a non-negative finite number, got nan",
        ),
        ({"step": lambda k: "0.1" if k else 0.1, "maxiter": 3}, TypeError, "return a number, got '0.1' in iteration 1"),
        ({"step": lambda k: np.ones(1), "maxiter": 3}, TypeError, r"step must return a number, got array\(\[1.\]\)"),
        (
            {"step": InverseTime(1.0), "maxiter": 10**9, "x0": np.ones((2, 2))},
            ValueError,
            "maxiter must be at most 10000000 to tabulate",
        ),
        (
            {"x0": [[1.0, 2.0]], "projection": np.abs},
            ValueError,
            r"x0 must have shape \(n,\) with projection, got \(1, 2\)",
        ),
        ({"x0": [[1.0, 2.0]], "history": True}, ValueError, r"x0 must have shape \(n,\) with history, got"),
        ({"x0": [[1.0, 2.0]], "callback": print}, ValueError, r"x0 must have shape \(n,\) with callback, got"),
        ({"x0": [[1.0, 2.0]], "step": Own()}, ValueError, r"x0 must have shape \(n,\) with Own, got"),
        ({"args": (1,)}, ValueError, r"args must not be given with compiled objectives, got \(1,\)"),
        ({"threads": 0}, ValueError, "threads must be a positive integer, got 0"),
        ({"threads": 1.5}, TypeError, "threads must be a positive integer, got 1.5"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = {"fun": NUMBA[0], "x0": [-2.0, -2.0], "jac": NUMBA[1]} | change
    with pytest.raises(error, match=message):
        minimize(**arguments)


@pytest.mark.parametrize(
    "settings",
    [
        {"bounds": [(-2.0, 0.5), (-2.0, 2.0)], "step": BarzilaiBorwein()},
        {"bounds": [(-2.0, 0.5), (-2.0, 2.0)], "direction": LBFGS(), "step": StrongWolfe()},
        {"fixed": np.array([True, False]), "step": Backtracking()},
        {"projection": lambda x: np.minimum(x, 0.5), "step": Backtracking()},
        {"step": HagerZhang(), "direction": ConjugateGradient()},
        {"history": True, "step": StrongWolfe(), "direction": LBFGS()},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_what_the_compiled_loop_lacks_the_other_does(settings):
    problem = Rosenbrock(2)
    fun, jac = problem.compiled
    seen = []
    result = minimize(fun, [-2.0, -2.0], jac=jac, callback=seen.append, **settings)
    expected = minimize(problem, [-2.0, -2.0], jac=problem.gradient, **settings)
    np.testing.assert_allclose(result.x, expected.x, atol=1e-5)  # both end at a gradient of 1e-5
    assert result.status == expected.status == 0
    assert len(seen) == result.nit
    assert result.nfev > 0


@pytest.mark.posix
def test_compiled_functions_in_python_agree_with_the_problem(library):
    problem = Rosenbrock(2)
    fun, jac = compiled.as_python(*problem.compiled)
    x = np.array([0.3, -0.7])
    np.testing.assert_allclose(fun(x), problem(x), rtol=1e-14)
    np.testing.assert_allclose(jac(x), problem.gradient(x), rtol=1e-14)
    with pytest.raises(ValueError, match="fun and jac must have the same user_data"):
        compiled.as_python(shifted(library, 1.0)[0], shifted(library, 2.0)[1])


@pytest.mark.posix
def test_user_data_must_be_shared(library):
    with pytest.raises(ValueError, match="fun and jac must have the same user_data"):
        minimize(shifted(library, 1.0)[0], [0.0], jac=shifted(library, 2.0)[1])


def test_the_kernel_does_not_crash_on_the_wrong_shapes():
    capsules = tuple(tuple.__getitem__(part, 0) for part in NUMBA)
    settings = cython_descent.Settings(cython_descent.defaults() | {"step": cython_descent.STEPS["schedule"]})
    stops = (1e-5, 0.0, 0.0, -np.inf, np.inf, 10, 100)
    for *shapes, bounds, count in [
        ((1, 2), (2, 2), 1, None, 1),
        ((0, 2), (0, 2), 1, None, 0),
        ((1, 2), (1, 2), 0, None, 1),
        ((2, 2), (2, 2), 1, None, 1),
        ((2, 2), (2, 2), 1, (1, 3), 2),
        ((3, 2), (3, 2), 1, (2, 2), 3),
    ]:
        x, g, steps = (np.zeros(shape) for shape in shapes)
        reports, endings = np.zeros(count, compiled.REPORT), np.zeros(count, np.intc)
        low, high = (None, None) if bounds is None else (np.zeros(bounds), np.ones(bounds))
        with pytest.raises(ValueError, match=r"must have (the same shape|one row|one step|one bound)|a schedule must"):
            cython_descent.run_many(capsules, settings, stops, low, high, steps, 1, x, g, reports, endings)
    for x, g, low in [(2, 3, None), ((2, 2), 2, None), (0, 0, None), (2, 2, 3)]:
        x, g, bound = np.zeros(x), np.zeros(g), low and np.zeros(low)
        with pytest.raises(ValueError, match=r"arrays must be vectors of double|x must have one component"):
            cython_descent.run_one(capsules, settings, stops, bound, bound, None, None, np.empty, x, g)


# One line for each number of variables, of which sums in lanes leave none over, some, or all.
DIGESTS = """
import hashlib
import graddesc
for n in (2, 7, 8, 13, 100):
    problem = graddesc.problems.Rosenbrock(n)
    fun, jac = problem.compiled
    for bounds in (None, [(-5.0, 0.9)] * n):
        result = graddesc.minimize(fun, problem.start, jac=jac, bounds=bounds)
        parts = result.x, result.jac, result.hess_inv.sk, result.hess_inv.yk
        print(n, result.nit, hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


@pytest.mark.once
def test_every_instruction_set_makes_the_same_bits():
    told = []
    for level in _kernels.AVAILABLE:
        environment = {**os.environ, "GRADDESC_ISA": level}
        run = subprocess.run(
            [sys.executable, "-c", DIGESTS], env=environment, capture_output=True, text=True, check=True
        )
        told.append(run.stdout.splitlines())
    assert len(set(told[0])) == len(told[0]) == 10
    assert all(lines == told[0] for lines in told)


def test_schedules_are_followed_to_the_bit():
    schedule = Exponential(1e-3, factor=0.999)
    x = np.array([-1.2, 1.0])
    for k in range(100):
        x = x - schedule(k) * Rosenbrock().gradient(x)
    fun, jac = Rosenbrock().compiled
    np.testing.assert_array_equal(minimize(fun, [-1.2, 1.0], jac=jac, step=schedule, maxiter=100).x, x)
