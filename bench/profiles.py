"""Minimisers side by side over a collection of problems: who solves what, in how many evaluations.

This is what cute.py and cutest.py share. An evaluation is one call of the function that returns the value and the
gradient together, whether for a trial, an iterate or a finite difference; each is counted as it happens, and a run that
wants more than its share has failed. Everyone's tolerance is 1e-5, for the largest component of the gradient. SciPy's
Newton-CG and TNC have no such test: they end at the first point evaluated that passes it.

A run is judged by the point that it returns. This is stationary if no component of the gradient is larger than
1e-5 (1 + |f|), and solves the problem if its value is besides within 1e-6 (1 + |l|) of l, the least at any solver's
stationary point. Where it is higher, the run has ended in another minimum, at a saddle, or early in a flat valley. That
is told apart from a failure, but does not count as solved: which minimum a descent falls into is luck, and no merit.

Performance profiles are those of Dolan and Moré [1]_: at a factor, the share of all problems that a solver has solved
with at most that many times the evaluations of the best on that problem.

References
----------
.. [1] E. D. Dolan and J. J. Moré, "Benchmarking optimization software with performance profiles", Mathematical
   Programming 91 (2002) 201-213, :doi:`10.1007/s101070100263`
"""

# ruff: noqa: E402 - before the imports that read the number of threads, or keep to one processor as compare.py does

import collections
import itertools
import multiprocessing
import os
import warnings
from pathlib import Path
from typing import NamedTuple

ALL = os.sched_getaffinity(0)
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}

import numpy as np
from compare import command, number, publish, row
from scipy import optimize

import graddesc
from graddesc import LBFGS, BarzilaiBorwein, ConjugateGradient, HagerZhang, Steepest, StrongWolfe

TOL = 1e-5
CLOSE = 1e-6
ABYSS = 1e10  # times 1 + |f| at the start: who is deeper has found the function unbounded
UNLIMITED = 10**9
FACTORS = (1, 1.5, 2, 4, 8)
CONJUGATE = ("graddesc, conjugate gradients, strong Wolfe", "SciPy, CG")


class Case(NamedTuple):
    """A problem as the solvers see it: ``function(x)`` returns the value and the gradient."""

    name: str
    start: np.ndarray
    function: collections.abc.Callable


class Run(NamedTuple):
    """How a run ended: the evaluations it took, and the value and the largest slope where it ended."""

    evaluations: int
    value: float
    slope: float

    @property
    def stationary(self):
        return np.isfinite(self.value) and self.slope <= TOL * (1 + abs(self.value))


# ---- the solvers: each takes a function and a start and returns a point ----


class Spent(Exception):
    """The evaluations are used up."""


class Found(Exception):
    """The gradient is small at a point evaluated."""


class Counted:
    """A function that counts its calls; they end after so many, or, if it watches, where the gradient is small."""

    def __init__(self, function, limit):
        self.function, self.limit, self.calls, self.watches = function, limit, 0, False

    def __call__(self, x):
        if self.calls == self.limit:
            raise Spent
        self.calls += 1
        f, g = self.function(x)
        if self.watches and np.abs(g).max() <= TOL:
            raise Found(x.copy())
        return f, g


def ours(**settings):
    def solver(function, start):
        return graddesc.minimize(function, start, jac=True, tol=TOL, maxiter=UNLIMITED, **settings).x

    return solver


def scipys(method, **options):
    def solver(function, start):
        return optimize.minimize(function, start, jac=True, method=method, options=options).x

    return solver


def watched(solver):
    def watching(function, start):
        function.watches = True
        try:
            return solver(function, start)
        except Found as found:
            return found.args[0]

    return watching


REFERENCE = "SciPy, L-BFGS-B"
SOLVERS = {
    "graddesc, default": ours(),
    "graddesc, L-BFGS": ours(direction=LBFGS(), step=StrongWolfe()),
    "graddesc, conjugate gradients, strong Wolfe": ours(direction=ConjugateGradient()),
    "graddesc, conjugate gradients, Hager-Zhang": ours(direction=ConjugateGradient(), step=HagerZhang()),
    "graddesc, Barzilai-Borwein": ours(direction=Steepest(), step=BarzilaiBorwein()),
    REFERENCE: scipys("L-BFGS-B", gtol=TOL, ftol=0.0, maxfun=UNLIMITED, maxiter=UNLIMITED),
    "SciPy, CG": scipys("CG", gtol=TOL, maxiter=UNLIMITED),
    "SciPy, BFGS": scipys("BFGS", gtol=TOL, maxiter=UNLIMITED),
    "SciPy, Newton-CG": watched(scipys("Newton-CG", xtol=0.0, maxiter=UNLIMITED)),
    "SciPy, TNC": watched(scipys("TNC", ftol=0.0, xtol=0.0, gtol=0.0, maxfun=UNLIMITED)),
}


def run(solver, case, limit):
    """Let a solver loose on a problem; what raises, or ends at no number or in an abyss, has failed.

    In an abyss 1e-5 (1 + |f|) would let any gradient pass for a small one.
    """
    counted = Counted(case.function, limit)
    try:
        f, g = case.function(solver(counted, case.start.copy()))
    except Exception:
        return Run(counted.calls, np.inf, np.inf)
    slope = np.abs(g).max()
    if not (np.isfinite(f) and np.isfinite(slope)) or f < -ABYSS * (1 + abs(case.function(case.start)[0])):
        return Run(counted.calls, np.inf, np.inf)
    return Run(counted.calls, f, slope)


def compete(case, names, limit):
    return [run(SOLVERS[name], case, limit) for name in names]


# Counting needs no processor to itself. The problems reach the processes as these are forked, and need no pickling.
_shared = []


def _keep(*shared):
    os.sched_setaffinity(0, ALL)
    _shared[:] = shared


def _compete(k):
    cases, names, limit = _shared
    return compete(cases[k], names, limit)


def everyone(cases, names, limit, processes):
    """The runs of the solvers of these names, problem by problem, shared out among so many processes."""
    if processes == 1:
        return [compete(case, names, limit) for case in cases]
    with multiprocessing.get_context("fork").Pool(processes, _keep, (cases, names, limit)) as pool:
        return pool.map(_compete, range(len(cases)), chunksize=1)


# ---- the judgement ----


def judged(runs):
    """Which of the runs on one problem have solved it, and which have ended at another stationary point."""
    stationary = np.array([run.stationary for run in runs])
    values = np.array([run.value for run in runs])
    least = values[stationary].min(initial=np.inf)
    solved = stationary & (values <= least + CLOSE * (1 + abs(least)))
    return solved, stationary & ~solved


def ratios(evaluations):
    """Evaluations over the fewest on the same problem, infinite where not solved: solvers by problems."""
    fewest = evaluations.min(axis=0)
    return np.where(np.isfinite(evaluations), evaluations / np.where(np.isfinite(fewest), fewest, 1), np.inf)


# ---- what is told ----


def tables(cases, options):
    warnings.simplefilter("ignore")  # of overflows on the way, and of searches that end
    names = [name for name in SOLVERS if name not in options.without]
    runs = everyone(cases, names, options.evaluations, options.processes)
    solved, elsewhere = np.moveaxis([judged(each) for each in runs], 0, -1)
    counts = np.array([[run.evaluations for run in each] for each in runs]).T
    evaluations = np.where(solved, counts, np.inf)
    yield from summary(cases, names, solved, elsewhere, evaluations)
    if options.every:
        yield from every(cases, names, solved, elsewhere, counts)
    if options.picture:
        draw(names, evaluations, options.picture)


def summary(cases, names, solved, elsewhere, evaluations):
    factors = ratios(evaluations)
    reference = evaluations[names.index(REFERENCE)]
    yield f"**{len(cases)} problems of {span([case.start.size for case in cases])} variables**"
    yield ""
    yield (
        "Higher: ended with a small gradient where others got lower. Evaluations: the median of their ratio to those "
        "of SciPy's L-BFGS-B, over what both solved. Wins: problems solved with the fewest, ties for all. The rest is "
        "the performance profile: % of the problems solved within so many times the fewest."
    )
    yield ""
    yield row("", "solved", "higher", "failed", "evaluations", "wins", *(f"{factor}x" for factor in FACTORS))
    yield row("---", *["---:"] * (5 + len(FACTORS)))
    for k, name in enumerate(names):
        both = np.isfinite(evaluations[k]) & np.isfinite(reference)
        yield row(
            name,
            solved[k].sum(),
            elsewhere[k].sum(),
            (~solved[k] & ~elsewhere[k]).sum(),
            number(evaluations[k, both] / reference[both]) if both.any() else "-",
            (factors[k] == 1).sum(),
            *(f"{100 * (factors[k] <= factor).mean():.0f}" for factor in FACTORS),
        )
    yield ""
    if all(name in names for name in CONJUGATE):
        own, theirs = (evaluations[names.index(name)] for name in CONJUGATE)
        both = np.isfinite(own) & np.isfinite(theirs)
        shares = own[both] / theirs[both]
        yield (
            f"Conjugate gradients beside SciPy's, both with strong Wolfe: {number(shares)} of the evaluations, the "
            f"median over the {shares.size} problems that both solved; fewer on {(shares < 1).sum()}, more on "
            f"{(shares > 1).sum()}."
        )
        yield ""
    divided = [f"{cases[p].name} ({solved[:, p].sum()})" for p in np.flatnonzero(elsewhere.any(axis=0))]
    if divided:
        yield f"Not everyone got as low on (and so many did): {', '.join(divided)}."
        yield ""
    if not solved.any(axis=0).all():
        yield f"Solved by nobody: {', '.join(cases[p].name for p in np.flatnonzero(~solved.any(axis=0)))}."
        yield ""


def span(sizes):
    return f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"


def every(cases, names, solved, elsewhere, counts):
    yield "**Evaluations on every problem** (in brackets: higher; -: failed)"
    yield ""
    yield row("", *names)
    yield row("---", *["---:"] * len(names))
    for p, case in enumerate(cases):
        told = np.where(elsewhere[:, p], [f"({count})" for count in counts[:, p]], "-")
        yield row(case.name, *np.where(solved[:, p], counts[:, p].astype(str), told))
    yield ""


def draw(names, evaluations, path):
    """The performance profiles as steps over the factors, those of graddesc drawn thicker."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    factors = ratios(evaluations)
    last = 2.0 ** np.ceil(np.log2(max(FACTORS[-1], factors[np.isfinite(factors)].max(initial=1)) * 1.01))
    last = min(last, 64.0)
    figure, axes = plt.subplots(figsize=(8, 6), layout="constrained")
    for k, name in enumerate(names):
        steps = np.sort(factors[k][factors[k] <= last])
        shares = np.arange(1, steps.size + 1) / factors.shape[1]
        at = np.concatenate([[1.0], steps, [last]])
        heights = np.concatenate([[0.0], shares, shares[-1:] if shares.size else [0.0]])
        own = name.startswith("graddesc")
        axes.step(at, heights, where="post", label=name, linewidth=2.2 if own else 1.3, linestyle="-" if own else "--")
    axes.set_xscale("log", base=2)
    axes.set(xlim=(1, last), ylim=(0, 1), xlabel="times the fewest evaluations", ylabel="share of the problems, solved")
    axes.xaxis.set_major_formatter(lambda factor, _: f"{factor:g}")
    axes.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def parser(doc, evaluations=20_000):
    """The options that the commands share."""
    arguments = command(doc)
    arguments.add_argument("--every", action="store_true", help="tell the evaluations on every problem, too")
    arguments.add_argument("--evaluations", type=int, default=evaluations, help=f"the most of a run ({evaluations})")
    arguments.add_argument("--processes", type=int, default=1, help="how many run side by side (1)")
    others = [name for name in SOLVERS if name != REFERENCE]
    arguments.add_argument("--without", nargs="+", default=[], choices=others, metavar="SOLVER", help="leave out these")
    arguments.add_argument("--picture", type=Path, help="a file for the performance profiles, as a picture")
    return arguments


def tell(cases, options, left_out=()):
    """Print the tables, after the names of what is left out."""
    notes = [f"Left out: {', '.join(left_out)}.", ""] if left_out else []
    publish(itertools.chain(notes, tables(cases, options)), options.output)
