"""Numbers that are none, or that no float holds, in all public functions: an error in the package's own words."""

import decimal
import inspect
import warnings
from fractions import Fraction

import numpy as np
import pytest

import graddesc
from graddesc import losses, masks, plots, problems, samples

HUGE = 10**400
STRANGE = [HUGE, -HUGE, Fraction(HUGE, 3), np.nan, np.inf, "1", None, True, 1j, [1], decimal.Decimal(1), object()]
IMAGE, MASK = np.arange(30.0).reshape(5, 6), np.eye(5, 6, dtype=bool)
NOT_OURS = ("could not convert", "float() argument", "too large to convert", "inhomogeneous", "cannot be interpreted")


def square(x):
    return float(np.dot(x, x))


def gradient(x):
    return 2 * np.asarray(x)


def restoring(name):
    return lambda value: graddesc.restore(IMAGE, MASK, **{name: value})


def minimising(name):
    return lambda value: graddesc.minimize(square, [1.0, 2.0], jac=gradient, **{name: value})


CALLS = {
    **{
        name: restoring(name)
        for name in ("max_iter", "tol", "max_time", "threads", "channel_axis", "frame_axis", "bounds", "init", "step")
    },
    "a bound": lambda value: graddesc.restore(IMAGE, MASK, bounds=(value, value)),
    "a bound of integers": lambda value: graddesc.restore(IMAGE.astype(int), MASK, bounds=(0, value)),
    "image": lambda value: graddesc.restore(value, MASK),
    "mask": lambda value: graddesc.restore(IMAGE, value),
    "ignore": lambda value: graddesc.restore(IMAGE, MASK, ignore=value),
    "shape": lambda value: graddesc.Plan(MASK, value),
    "a side": lambda value: graddesc.Plan(MASK, (value, value)),
    "nodata": lambda value: masks.detect(IMAGE, nodata=value),
    "nodata of integers": lambda value: masks.detect(IMAGE.astype("u1"), nodata=value),
    "missing": lambda value: masks.corrupt(IMAGE, value),
    "rng": lambda value: masks.corrupt(IMAGE, rng=value),
    "size": samples.ginkgo,
    **{f"minimize {name}": minimising(name) for name in ("tol", "maxiter", "max_time", "target", "threads")},
    "x0": lambda value: graddesc.minimize(square, [value, 1.0], jac=gradient),
    "bounds of minimize": lambda value: graddesc.minimize(
        square, [1.0, 2.0], jac=gradient, bounds=[(0, value), (value, 3)]
    ),
    "gradient_descent": lambda value: graddesc.gradient_descent(square, gradient, [value, 1.0]),
    "a point": lambda value: problems.Rosenbrock()([value, 1.0]),
}
CLASSES = [
    *(graddesc.Constant, graddesc.InverseTime, graddesc.InverseSqrt, graddesc.Exponential, graddesc.StepDecay),
    *(graddesc.Polynomial, graddesc.Cosine, graddesc.Backtracking, graddesc.StrongWolfe, graddesc.HagerZhang),
    *(graddesc.BarzilaiBorwein, graddesc.Polyak, graddesc.ExactLineSearch, graddesc.HeavyBall, graddesc.Nesterov),
    *(graddesc.Adam, graddesc.LBFGS, graddesc.ConjugateGradient, graddesc.WarmUp, plots.Live, problems.Quadratic),
    *(losses.TotalVariation, losses.HessianTotalVariation, losses.EdgeAligned, losses.TextureAdaptive),
]
GIVEN = {problems.Quadratic: {"A": np.eye(2)}, graddesc.WarmUp: {"schedule": graddesc.Constant(0.1), "steps": 3}}


def settings():
    for cls in CLASSES:
        for name, parameter in inspect.signature(cls).parameters.items():
            others = {
                other: GIVEN.get(cls, {}).get(other, 1.0)
                for other, its in inspect.signature(cls).parameters.items()
                if its.default is parameter.empty and other != name
            }
            yield pytest.param(lambda value, c=cls, n=name, o=others: c(**{n: value}, **o), id=f"{cls.__name__}.{name}")


@pytest.mark.parametrize("call", [*(pytest.param(call, id=name) for name, call in CALLS.items()), *settings()])
def test_what_is_no_number(call):
    for value in STRANGE:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                call(value)
            except (TypeError, ValueError) as error:
                told = str(error)
            else:
                continue
        assert told
        assert not any(words in told for words in NOT_OURS), (value, told)
