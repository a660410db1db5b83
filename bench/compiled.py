"""The problems of cute.py, compiled: what graddesc takes for them beside SciPy's L-BFGS-B, which calls Python's.

    python bench/compiled.py [--rounds 5] [--every] [--output FILE]

numba compiles the very functions of cute.py, once, which takes a minute and is not timed. `graddesc.minimize` gets the
addresses, SciPy the functions as they are, by NumPy. Both start at the usual start and stop at a gradient whose largest
component is below 1e-5, or after 10000 iterations; with bounds it is the projected gradient. The bounds are those of
Byrd, Lu, Nocedal and Zhu [1]_ in kind: every third variable must stay above a tenth more than it has at the minimum
found without them. Solvers take turns; a time is the processor's, and a ratio the median over the rounds.

References
----------
.. [1] R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM
   Journal on Scientific Computing 16 (1995) 1190-1208, :doi:`10.1137/0916069`
"""

import types
import warnings

import cute
import numba
import numpy as np
from compare import command, number, publish, row
from minimise import MAXITER, TOL, seconds_of
from numba import carray, literal_unroll
from numba import types as kinds
from scipy import LowLevelCallable, optimize

import graddesc

BOTH = kinds.double(kinds.intc, kinds.CPointer(kinds.double), kinds.CPointer(kinds.double), kinds.voidptr)


# ---- the two helpers of cute.py that take any number of arrays, as numba wants them ----


@numba.njit
def woven(*parts):
    g, first = np.empty(len(parts) * parts[0].size), 0
    for part in literal_unroll(parts):
        g[first :: len(parts)] = part
        first += 1  # noqa: SIM113 - numba cannot enumerate them
    return g


@numba.njit
def chained(*parts):
    g, shift = np.zeros(parts[0].size + len(parts) - 1), 0
    for part in literal_unroll(parts):
        g[shift : shift + part.size] += part
        shift += 1  # noqa: SIM113
    return g


def jitted(thing, done):
    """A function compiled on its first call, with all functions of cute.py that it calls; anything else as it is."""
    if not isinstance(thing, types.FunctionType) or thing.__module__ != cute.__name__:
        return thing
    if thing not in done:
        called = {name: jitted(vars(cute)[name], done) for name in thing.__code__.co_names if name in vars(cute)}
        cells = tuple(types.CellType(jitted(cell.cell_contents, done)) for cell in thing.__closure__ or ())
        own = types.FunctionType(thing.__code__, called, thing.__name__, thing.__defaults__, cells)
        done[thing] = numba.njit(own)
    return done[thing]


def compiled(problem, done):
    """The value and the gradient as `graddesc.minimize` takes a compiled function that tells both."""
    function = jitted(problem.function, done)

    @numba.cfunc(BOTH)
    def both(n, x, gradient, data):
        value, carray(gradient, (n,))[:] = function(carray(x, (n,)))
        return value

    return both


# ---- the race ----


def solvers(problem, function, bounds):
    start, limits = problem.x0(), {"gtol": TOL, "ftol": 0, "maxiter": MAXITER, "maxfun": 10**6}
    fun = LowLevelCallable(function.ctypes)

    def ours():
        return graddesc.minimize(fun, start, jac=True, bounds=bounds, tol=TOL, maxiter=MAXITER)

    def theirs():
        return optimize.minimize(
            problem.value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=limits
        )

    return ours, theirs


def lower_bounds(x):
    """Every third variable at least a tenth above x."""
    return [(value + 0.1 if i % 3 == 0 else None, None) for i, value in enumerate(x.tolist())]


def solved(results):
    """Whether all of them converged and are as low as the lowest."""
    values = np.array([result.fun for result in results])
    least = values.min()
    return all(result.success for result in results) and bool((values <= least + 1e-6 * (1 + abs(least))).all())


def tables(options):
    warnings.simplefilter("ignore")  # of overflows on the way
    done, told = {}, {"free": {}, "with bounds": {}}
    for problem in cute.PROBLEMS:
        function = compiled(problem, done)
        bounds = None
        for ratios in told.values():
            jobs = solvers(problem, function, bounds)
            results = [job() for job in jobs]
            if solved(results):
                seconds = np.array([[seconds_of(job) for job in jobs] for _ in range(options.rounds)])
                ratios[problem.name] = np.median(seconds[:, 0]), np.median(seconds[:, 1] / seconds[:, 0])
            bounds = lower_bounds(results[0].x)
    yield f"**The {len(cute.PROBLEMS)} problems of cute.py, compiled by numba, beside SciPy's L-BFGS-B from Python**"
    yield ""
    yield row("", "solved by both", "microseconds", "times faster", "least", "most")
    yield row("---", *["---:"] * 5)
    for kind, ratios in told.items():
        seconds, faster = np.array(list(ratios.values())).T
        yield row(kind, len(ratios), number(1e6 * seconds), number(faster), number(faster.min()), number(faster.max()))
    yield ""
    if options.every:
        yield row("times faster", *told)
        yield row("---", *["---:"] * len(told))
        for problem in cute.PROBLEMS:
            yield row(
                problem.name,
                *(number(ratios[problem.name][1]) if problem.name in ratios else "-" for ratios in told.values()),
            )
        yield ""


def main():
    parser = command(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--every", action="store_true", help="tell every problem's ratio, too")
    options = parser.parse_args()
    publish(tables(options), options.output)


if __name__ == "__main__":
    main()
