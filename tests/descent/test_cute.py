"""The collection that the bench minimises: values, gradients and what is said of the minima."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

pytestmark = pytest.mark.once

_spec = importlib.util.spec_from_file_location("cute", Path(__file__).parents[2] / "bench" / "cute.py")
cute = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cute)

# From their starts a descent ends in a local minimum.
LOCAL = {"Extended Freudenstein & Roth", "Extended Trigonometric", "EG2"}


def differences(f, x, h=1e-3):
    """The gradient by central differences of fourth order."""
    g = np.empty(x.size)
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = h * max(1.0, abs(x[i]))
        g[i] = (8.0 * (f(x + e) - f(x - e)) - (f(x + 2 * e) - f(x - 2 * e))) / (12.0 * e[i])
    return g


def test_there_are_59_of_different_names():
    assert len(cute.PROBLEMS) == 59
    assert len({problem.name for problem in cute.PROBLEMS}) == 59


def test_gradients_are_those_of_the_values():
    rng = np.random.default_rng(0)
    for problem in cute.PROBLEMS:
        for n in {problem.smallest, problem.nearest(13), problem.nearest()}:
            x0 = problem.x0(n)
            for x in (x0, x0 + 0.1 * rng.standard_normal(n)):
                f, g = problem.value_and_gradient(x)
                noise = 1e-15 * abs(f) / 1e-3 * 10.0  # what rounding of the values leaves of a difference
                atol = 1e-7 * np.abs(g).max() + noise + 1e-12
                approximate = differences(lambda x, of=problem: of.value_and_gradient(x)[0], x)
                np.testing.assert_allclose(g, approximate, rtol=1e-7, atol=atol, err_msg=f"{problem.name}, n = {n}")


def test_minima_are_attained_and_nothing_is_below_them():
    known = [problem for problem in cute.PROBLEMS if problem.minimum() is not None]
    assert len(known) == 55
    options = {"gtol": 1e-9, "ftol": 0.0, "maxiter": 3000, "maxfun": 3000}
    for problem in known:
        least = problem.minimum()
        result = optimize.minimize(
            problem.value_and_gradient, problem.x0(), jac=True, method="L-BFGS-B", options=options
        )
        assert result.fun >= least - 1e-12 * (1.0 + abs(least)), problem.name
        if problem.name not in LOCAL:
            assert result.fun <= least + 1e-6 * (1.0 + abs(least)), problem.name


def test_evaluations_leave_the_point_alone_and_return_a_float_and_a_new_array():
    for problem in cute.PROBLEMS:
        x = problem.x0()
        f, g = problem.value_and_gradient(x)
        assert isinstance(f, float), problem.name
        assert g.shape == x.shape, problem.name
        assert not np.shares_memory(g, problem.value_and_gradient(x)[1]), problem.name
        np.testing.assert_array_equal(x, problem.x0())
        problem.value_and_gradient(x + 1e200)  # overflows in silence


def test_numbers_of_variables():
    for problem in cute.PROBLEMS:
        assert problem.nearest() == (99 if problem.multiple == 3 else 100)
        for n in range(13):
            if problem.allows(n):
                assert problem.x0(n).shape == (n,)
                assert np.isfinite(problem.value_and_gradient(problem.x0(n))[1]).all()
            else:
                for call in (problem.x0, problem.minimum, lambda n, of=problem: of.value_and_gradient(np.ones(n))):
                    with pytest.raises(ValueError, match="n must be a multiple of"):
                        call(n)
