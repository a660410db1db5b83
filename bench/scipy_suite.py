"""SciPy's own tests of minimize, with graddesc in the place of three of its methods.

    python bench/scipy_suite.py [-v] [PYTEST_ARGUMENT ...]

The tests are those of the SciPy that is installed. Where one of them asks `scipy.optimize.minimize` for "CG", "BFGS" or
"L-BFGS-B", or for no method and no constraints, it gets `method=graddesc.minimize`: `ConjugateGradient` for "CG",
`LBFGS` for the others. Options are handed on as they are. What counts is every test that asked for one of them at least
once. EXCEPTIONS has those that cannot pass, with the reason of each. The command fails if any other test fails, or if
one of those passes.
"""

import argparse
import functools
import os
import re
import sys

import pytest
import scipy.optimize

import graddesc

DIRECTIONS = {"cg": graddesc.ConjugateGradient(), "bfgs": graddesc.LBFGS(), "l-bfgs-b": graddesc.LBFGS()}
MODULES = """
    test_optimize test_lbfgsb_hessinv test_lbfgsb_setulb test_minimize_constrained test_constraint_conversion
    test__basinhopping test__dual_annealing test__shgo test__differential_evolution
"""

NAMED = "the option has no equivalent or another name here, of which a warning tells"
TEXT = "it compares the text of a message; all else in it holds"
EXACT = "it asks for the exact evaluations and points of SciPy's method"
EXCEPTIONS = {
    r"test_optimize::TestOptimizeWrapper.*::test_(cg|bfgs)": EXACT,
    r"test_optimize::TestOptimizeSimple::test_initial_step_scaling": EXACT + ": a first step of 1.01",
    r"test_optimize::.*::test_bfgs_(c1|c2|hess_inv0_neg|hess_inv0_semipos)": NAMED,
    r"test_optimize::.*::test_invalid_c1_c2.*": NAMED,
    r"test_optimize::TestOptimizeWrapper.*::test_bfgs_infinite": (
        "a function that falls for ever ends as unbounded before its values overflow"
    ),
    r"test_optimize::TestOptimizeSimple::test_bfgs_nan_return": (
        "the result is the best point, not the one at which the function is NaN"
    ),
    r"test_optimize::TestOptimizeSimple::test_callback_stopiteration.*": TEXT,
    r"test_optimize::TestOptimizeSimple::test_l_bfgs_b_maxiter": TEXT,
    r"test_optimize::TestOptimizeSimple::test_minimize_invalid_bounds.*": TEXT,
    r"test_optimize::TestOptimizeSimple::test_minimize_warnings_gh1953.*": TEXT,
    r"test_optimize::test_all_bounds_equal.*": TEXT,
    r"test_optimize::test_obj_func_returns_scalar": TEXT,
    r"test_optimize::test_equal_bounds.*kwds0.*": "the gradient of a fixed variable is 0, not NaN",
    r"test_optimize::test_minimize_maxiter_noninteger.*": "maxiter=100.1 is refused",
    r"test_lbfgsb_hessinv::test_2": "hess_inv of BFGS is a matrix, that of LBFGS a linear operator",
    r"test__dual_annealing::.*_bounds": "bounds go with every method, so none warns that it cannot handle them",
}


class Substitution:
    """A plugin of pytest: replaces the methods, and notes what tests have asked for them."""

    def __init__(self):
        self.asked = False
        self.outcomes = {}
        self.failures = {}
        self._original = scipy.optimize.minimize

    def minimize(self):
        """Return what stands in for `scipy.optimize.minimize`."""

        @functools.wraps(self._original)
        def substitute(fun, x0, args=(), method=None, *rest, **options):
            constrained = options.get("constraints", rest[4] if len(rest) > 4 else ()) != ()
            name = method.lower() if isinstance(method, str) else "l-bfgs-b" if method is None else ""
            if name in DIRECTIONS and not (method is None and constrained):
                self.asked = True
                method = functools.partial(graddesc.minimize, direction=DIRECTIONS[name])
            return self._original(fun, x0, args, method, *rest, **options)

        return substitute

    def install(self):
        """Put it wherever a module of SciPy's has the name."""
        substitute = self.minimize()
        for name, module in list(sys.modules.items()):
            if name.startswith("scipy.") and getattr(module, "minimize", None) is self._original:
                module.minimize = substitute

    def pytest_runtest_setup(self, item):
        self.asked = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if call.when == "call" and self.asked:
            name = f"{item.path.stem}::{report.nodeid.partition('::')[2]}"
            self.outcomes[name] = report.outcome
            if report.failed:
                self.failures[name] = str(call.excinfo.value).strip().partition("\n")[0]
        return report


def reason_of(name):
    """Return why a test cannot pass, or None."""
    reasons = [reason for pattern, reason in EXCEPTIONS.items() if re.fullmatch(pattern, name)]
    return reasons[0] if reasons else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="show what pytest tells")
    options, arguments = parser.parse_known_args()
    substitution = Substitution()
    substitution.install()
    tests = [f"scipy.optimize.tests.{module}" for module in MODULES.split()]
    quiet = [] if options.verbose else ["-qq", "--no-header", "--no-summary", "--show-capture=no", "--tb=no"]
    always = ["-c", os.devnull, "-p", "no:cacheprovider", "--pyargs"]
    pytest.main([*always, *quiet, *arguments, *tests], plugins=[substitution])
    failed = {name for name, outcome in substitution.outcomes.items() if outcome == "failed"}
    passed = {name for name, outcome in substitution.outcomes.items() if outcome == "passed"}
    print(f"\nSciPy {scipy.__version__}: {len(passed)} passed, {len(failed)} failed")
    print("\n| test | why it fails |\n| --- | --- |")
    for name in sorted(failed, key=lambda name: (reason_of(name) is None, name)):
        print(f"| {name} | {reason_of(name) or '**unknown**: ' + substitution.failures[name]} |")
    unknown = [name for name in failed if reason_of(name) is None]
    healed = [name for name in passed if reason_of(name) is not None]
    for name in healed:
        print(f"{name} passes: EXCEPTIONS names it")
    return 1 if unknown or healed else 0


if __name__ == "__main__":
    sys.exit(main())
