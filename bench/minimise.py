"""Minimise the problems of graddesc.problems by graddesc, SciPy, jaxopt and optimistix, and print tables in Markdown.

    python bench/minimise.py [--rounds 5] [--quick] [--output FILE]

Everyone starts at the usual start and stops at a gradient whose largest component is below 1e-5, or after 10000
iterations. A problem is solved if the value is within 1e-6 (1 + |minimum|) of the minimum, or the gradient below 1e-5.
An evaluation is one of the function or one of its gradient. Solvers take turns, round after round; a time is that of
the processor, the median over the rounds, and a ratio the median over the problems that both solved. One thread, but
for the last table. For JAX the problems' own formulas are traced, three of them written anew, in double precision;
compiling is not timed.
"""

# ruff: noqa: E402 - the number of threads must be set before the imports that read it

import itertools
import os
import time
import warnings
from unittest import mock

os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "NUMBA")}
os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}

ALL = os.sched_getaffinity(0)

import numpy as np
from compare import command, number, publish, row
from scipy import optimize

import graddesc
from graddesc import (
    LBFGS,
    BarzilaiBorwein,
    ConjugateGradient,
    Constant,
    ExactLineSearch,
    Steepest,
    StrongWolfe,
    problems,
)

TOL, MAXITER = 1e-5, 10_000
LEAST = 2e-3  # seconds that one measurement should last
ROUNDS_OF_MOMENTS = 5  # instead of one, where all take less than a second
SLOWEST = 1.0  # seconds after which a solver is not measured again


def main():
    options = arguments()
    sections = {
        "problems": problem_set,
        "rosenbrock": rosenbrock,
        "step": overhead,
        "iteration": beside_evaluations,
        "starts": many_starts,
    }
    tables = (section(options) for name, section in sections.items() if name in (options.only or sections))
    publish(itertools.chain.from_iterable(tables), options.output)


def arguments():
    parser = command(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--quick", action="store_true", help="one round, without the peers that compile")
    sections = ("problems", "rosenbrock", "step", "iteration", "starts")
    parser.add_argument("--only", nargs="+", choices=sections, help="these sections alone")
    options = parser.parse_args()
    options.rounds = 1 if options.quick else options.rounds
    return options


def seconds_of(job):
    """Seconds of the processor for one call, of as many as are needed to measure it."""
    calls, started = 0, time.process_time()
    while True:
        job()
        calls += 1
        elapsed = time.process_time() - started
        if elapsed >= LEAST:
            return elapsed / calls


# ---- the problem set: each solver makes a job of a problem; it returns x, iterations and evaluations ----


def ours(direction, step, compiled):
    def solver(problem):
        fun, jac = problem.compiled if compiled else (problem, problem.gradient)

        def job():
            result = graddesc.minimize(
                fun, problem.start, jac=jac, direction=direction, step=step, tol=TOL, maxiter=MAXITER
            )
            return result.x, result.nit, result.nfev + result.njev

        return job

    return solver


def scipys(method):
    options = {"gtol": TOL, "maxiter": MAXITER} | ({"ftol": 0, "maxfun": 10**6} if method == "L-BFGS-B" else {})

    def solver(problem):
        def job():
            result = optimize.minimize(problem, problem.start, jac=problem.gradient, method=method, options=options)
            return result.x, result.nit, result.nfev + result.njev

        return job

    return solver


def helical_valley(problem, x, jnp):
    theta = jnp.arctan2(x[1], x[0]) / (2 * jnp.pi)
    theta = jnp.where(theta < -0.25, theta + 1, theta)
    return 100 * (x[2] - 10 * theta) ** 2 + 100 * (jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 1) ** 2 + x[2] ** 2


def broyden_tridiagonal(problem, x, jnp):
    padded = jnp.pad(x, 1)
    return jnp.sum(((3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1) ** 2)


def quadratic(problem, x, jnp):
    return 0.5 * x @ jnp.asarray(problem.A) @ x + problem.b @ x + problem.c


# Those whose own formulas, written for NumPy and math, JAX cannot trace.
REWRITTEN = {"HelicalValley": helical_valley, "BroydenTridiagonal": broyden_tridiagonal, "Quadratic": quadratic}


def traced(problem):
    """The problem's own formula, for JAX, or the same written for it."""
    import jax.numpy as jnp

    rewritten = REWRITTEN.get(type(problem).__name__)

    def fun(x, args=None):
        if rewritten is not None:
            return rewritten(problem, x, jnp)
        with mock.patch.object(problems, "np", jnp):
            return problem._value(x)

    if not np.isclose(fun(jnp.asarray(problem.start)), problem(problem.start), rtol=1e-12):
        raise AssertionError(f"JAX is given another function than {problem}")
    return fun


def jaxopts(name):
    import jax
    import jaxopt

    def solver(problem):
        run = jax.jit(getattr(jaxopt, name)(traced(problem), tol=TOL, maxiter=MAXITER).run)
        start = np.array(problem.start)
        run(start)

        def job():
            x, state = jax.block_until_ready(run(start))
            return np.asarray(x), int(state.iter_num), np.nan

        return job

    return solver


def optimistixs(name):
    import jax
    import optimistix

    def solver(problem):
        fun = traced(problem)
        settings = {"rtol": 1e-9, "atol": TOL}
        method = getattr(optimistix, name)(**settings | ({"learning_rate": 1e-3} if name == "GradientDescent" else {}))

        def solve(start):
            return optimistix.minimise(fun, method, start, max_steps=MAXITER, throw=False)

        run = jax.jit(lambda start: (lambda s: (s.value, s.stats["num_steps"]))(solve(start)))
        start = np.array(problem.start)
        run(start)

        def job():
            x, steps = jax.block_until_ready(run(start))
            return np.asarray(x), int(steps), np.nan

        return job

    return solver


REFERENCE = "SciPy, L-BFGS-B"
PLAIN = {
    "graddesc, L-BFGS": ours(LBFGS(), StrongWolfe(), False),
    "graddesc, L-BFGS, compiled": ours(LBFGS(), StrongWolfe(), True),
    "graddesc, conjugate gradients": ours(ConjugateGradient(), StrongWolfe(curvature=0.2), False),
    "graddesc, conjugate gradients, compiled": ours(ConjugateGradient(), StrongWolfe(curvature=0.2), True),
    "graddesc, Barzilai-Borwein": ours(None, BarzilaiBorwein(), False),
    "graddesc, Barzilai-Borwein, compiled": ours(None, BarzilaiBorwein(), True),
    "graddesc, steepest descent, compiled": ours(None, ExactLineSearch(), True),
    "SciPy, CG": scipys("CG"),
    "SciPy, BFGS": scipys("BFGS"),
    REFERENCE: scipys("L-BFGS-B"),
}
TRACED = {
    **{f"jaxopt, {name}": (jaxopts, name) for name in ("GradientDescent", "NonlinearCG", "LBFGS")},
    **{f"optimistix, {name}": (optimistixs, name) for name in ("GradientDescent", "NonlinearCG", "LBFGS")},
}


def solved(problem, x):
    value, gradient = problem(x), problem.gradient(x)
    return value - problem.minimum <= 1e-6 * (1 + abs(problem.minimum)) or np.abs(gradient).max() <= TOL


def problem_set(options):
    warnings.simplefilter("ignore")  # of overflows on the way, and of a peer's that is no longer maintained
    solvers, missing = dict(PLAIN), []
    for name, (make, method) in {}.items() if options.quick else TRACED.items():
        try:
            solvers[name] = make(method)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name} ({error})")
    results, failures = {}, {}
    for name, solver in solvers.items():
        for problem in problems.PROBLEMS:
            try:
                job = solver(problem)
                x, iterations, evaluations = job()
            except Exception as error:
                failures.setdefault(type(problem).__name__, {})[name] = type(error).__name__
                continue
            results[name, problem] = job, solved(problem, x), iterations, evaluations
    seconds = {key: [] for key in results}
    for _ in range(options.rounds):
        for key, (job, ok, _, _) in results.items():
            if ok and (not seconds[key] or seconds[key][0] < SLOWEST):
                seconds[key].append(seconds_of(job))
    if missing:
        yield f"Left out: {'; '.join(missing)}."
        yield ""
    yield f"**The {len(problems.PROBLEMS)} problems**"
    yield ""
    yield row("", "solved", "iterations", "evaluations, ratio", "microseconds", "times faster than SciPy's L-BFGS-B")
    yield row("---", *["---:"] * 5)
    for name in solvers:
        good = [p for p in problems.PROBLEMS if (name, p) in results and results[name, p][1]]
        both = [p for p in good if results[REFERENCE, p][1]]
        if not both:
            yield row(name, 0, "-", "-", "-", "-")
            continue
        counts = [results[name, p][3] / results[REFERENCE, p][3] for p in both]
        times = {key: np.median(seconds[key]) for key in seconds if seconds[key]}
        yield row(
            name,
            len(good),
            f"{np.median([results[name, p][2] for p in good]):g}",
            "-" if np.isnan(counts).any() else number(counts),
            number([1e6 * times[name, p] for p in good]),
            number([times[REFERENCE, p] / times[name, p] for p in both]),
        )
    yield ""
    name, other = "graddesc, conjugate gradients", "SciPy, CG"
    both = [p for p in problems.PROBLEMS if results[name, p][1] and results[other, p][1]]
    counts = [results[name, p][3] / results[other, p][3] for p in both]
    yield f"Conjugate gradients need {number(counts)} times the evaluations of SciPy's CG, in the median."
    yield ""
    if failures:
        told = (f"{problem} ({', '.join(by_name)})" for problem, by_name in failures.items())
        yield f"Could not be traced or failed outright, and counts as not solved: {'; '.join(told)}."
        yield ""


# ---- the valley of Rosenbrock by steepest descent and exact search ----


def notebook(f, gradient, x, maxiter, tol):
    """Steepest descent with exact line search as one writes it down."""
    x = np.array(x, dtype=float)
    for k in range(1, maxiter + 1):
        g = gradient(x)
        if np.abs(g).max() < tol:
            return x, f(x), k
        x = x - optimize.minimize_scalar(lambda alpha: f(x - alpha * g)).x * g  # noqa: B023
    return x, f(x), maxiter


def rosenbrock(options):
    problem, start = problems.Rosenbrock(2), (-2.0, -2.0)
    fun, jac = problem.compiled

    def f(x):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    def gradient(x):
        return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])

    jobs = {
        "written down, SciPy's Brent": lambda: notebook(f, gradient, start, 20_000, 1e-5)[2],
        "graddesc.gradient_descent, the same functions": lambda: graddesc.gradient_descent(
            f, gradient, start, maxiter=20_000
        )[2],
        "graddesc.minimize, compiled": lambda: (
            graddesc.minimize(fun, start, jac=jac, step=ExactLineSearch(), direction=Steepest(), maxiter=20_000).nit
        ),
        "graddesc.minimize, compiled, by values alone": lambda: (
            graddesc.minimize(
                fun, start, jac=jac, step=ExactLineSearch(slopes=False), direction=Steepest(), maxiter=20_000
            ).nit
        ),
    }
    seconds = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name, job in jobs.items():
            seconds[name].append(seconds_of(job))
    first = np.array(seconds[next(iter(jobs))])
    yield "**Rosenbrock's function from (-2, -2), steepest descent with exact line search**"
    yield ""
    yield row("", "iterations", "seconds", "times faster")
    yield row("---", "---:", "---:", "---:")
    for name, job in jobs.items():
        yield row(name, job(), number(seconds[name]), number(first / np.array(seconds[name])))
    yield ""


# ---- what an iteration costs beside its evaluations ----


def overhead(options):
    yield "**What an iteration of a fixed step costs beside its evaluations, Python functions of two variables**"
    yield ""
    yield row("", "microseconds")
    yield row("---", "---:")
    count, cases = 2000, {"free": {}, "with bounds": {"bounds": [(-5, 5), (-5, 5)]}}

    def fun(x):
        return float(x @ x)

    def jac(x):
        return 2 * x

    def evaluate():
        x = np.array([3.0, -4.0])
        for _ in range(count):
            fun(x)
            jac(x)

    each = {name: [] for name in cases}
    for _ in range(ROUNDS_OF_MOMENTS * max(options.rounds, 3)):
        for name, settings in cases.items():
            started = time.process_time()
            evaluate()
            between = time.process_time()
            graddesc.minimize(fun, [3.0, -4.0], jac=jac, step=Constant(1e-4), tol=0.0, maxiter=count, **settings)
            each[name].append((time.process_time() - between - (between - started)) / count)
    for name, seconds in each.items():
        yield row(name, number(1e6 * np.array(seconds)))
    yield ""


def beside_evaluations(options):
    """A convex quartic, so that no solver is done early; everyone takes 30 iterations."""
    yield "**What an iteration costs beside its evaluations, Python functions, by the clock**"
    yield ""
    yield row("variables", "graddesc, default: microseconds", "SciPy, L-BFGS-B: microseconds", "ratio")
    yield row("---:", "---:", "---:", "---:")
    for n, rounds in {2: 200, 100: 100, 10_000: 20, 1_000_000: 3}.items():
        weights, spent = np.linspace(1.0, 10.0, n), [0.0]

        def fun(x, weights=weights, spent=spent):
            started = time.perf_counter()
            weighted = weights * (x - 1.0)
            result = weighted @ (x - 1.0) + 0.25 * float(((x - 1.0) ** 4).sum()), 2.0 * weighted + (x - 1.0) ** 3
            spent[0] += time.perf_counter() - started
            return result

        solvers = {
            "graddesc": lambda x, fun=fun: graddesc.minimize(fun, x, jac=True, tol=0.0, maxiter=30),
            "SciPy": lambda x, fun=fun: optimize.minimize(
                fun, x, jac=True, method="L-BFGS-B", options={"gtol": 0.0, "ftol": 0.0, "maxiter": 30}
            ),
        }
        each = {name: [] for name in solvers}
        for _ in range(max(rounds * options.rounds // 5, 3)):
            for name, solver in solvers.items():
                spent[0], started = 0.0, time.perf_counter()
                result = solver(np.full(n, -2.0))
                each[name].append((time.perf_counter() - started - spent[0]) / result.nit)
        ours, theirs = (1e6 * np.array(seconds) for seconds in each.values())
        yield row(f"{n:,}", number(ours), number(theirs), number(ours / theirs))
    yield ""


# ---- many starts ----


def many_starts(options):
    problem = problems.Rosenbrock(2)
    fun, jac = problem.compiled
    starts = np.random.default_rng(0).uniform(-2, 2, (10_000, 2))
    sample = starts[:200]

    def wall(job):
        started = time.perf_counter()
        job()
        return time.perf_counter() - started

    def ours_on(threads):
        return graddesc.minimize(fun, starts, jac=jac, direction=LBFGS(), step=StrongWolfe(), threads=threads)

    jobs = {
        "SciPy, L-BFGS-B, a loop in Python": lambda: [
            optimize.minimize(problem, x, jac=problem.gradient, method="L-BFGS-B") for x in sample
        ],
        "graddesc, L-BFGS, compiled, one thread": lambda: ours_on(1),
        "graddesc, L-BFGS, compiled, two threads": lambda: ours_on(2),
    }
    seconds = {name: [] for name in jobs}
    os.sched_setaffinity(0, ALL)  # compare.py keeps to one processor
    for _ in range(ROUNDS_OF_MOMENTS * max(options.rounds, 3)):
        for name, job in jobs.items():
            seconds[name].append(wall(job) * (len(starts) / len(sample) if name.startswith("SciPy") else 1))
    first = np.array(seconds[next(iter(jobs))])
    yield "**10 000 starts of Rosenbrock's function** (SciPy: 200 of them, times 50; by the clock)"
    yield ""
    yield row("", "seconds", "times faster")
    yield row("---", "---:", "---:")
    for name in jobs:
        yield row(name, number(seconds[name]), number(first / np.array(seconds[name])))
    yield ""
    _, one, two = (np.array(each) for each in seconds.values())
    yield f"Two threads are {number(one / two)} times as fast as one, in the median of the rounds."
    yield ""


if __name__ == "__main__":
    main()
