"""Numbers of every kind, for every argument that is a number: taken, or refused by an error that names the argument."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import graddesc
from graddesc import demos, directions, line_search, losses, masks, plots, problems, samples, schedules
from graddesc.restoration.plan import Plan

HUGE = 10**400  # beyond any float
NOT_NUMBERS = ["1", b"1", 1j, Decimal(1), True, np.True_, [1.0], np.ones(2), object()]
NO_VALUES = [math.nan, -math.inf, -HUGE, np.float32("nan"), -Fraction(HUGE)]  # that no argument here can have
BEYOND = [math.inf, HUGE, Fraction(HUGE)]

IMAGE = np.random.default_rng(0).random((6, 7))
MASK = np.random.default_rng(1).random((6, 7)) < 0.5


def minimize(**options):
    return graddesc.minimize(lambda x: float(x @ x), [3.0, 4.0], jac=lambda x: 2 * x, **{"maxiter": 3, **options})


def restore(**options):
    return graddesc.restore(IMAGE, MASK, **options)


def plan(**options):
    return Plan(MASK, **options)(IMAGE)


def stay(**options):
    return Plan(MASK)(IMAGE, **options)


def descend(**options):
    return graddesc.gradient_descent(lambda x: float(x @ x), lambda x: 2 * x, [3.0, 4.0], **options)


def used(schedule):
    return lambda **options: schedule(**options)(3)


def searched(search, **fixed):
    return lambda **options: minimize(step=search(**{**fixed, **options}))


def directed(direction):
    return lambda **options: minimize(direction=direction(**options), maxiter=20)


def valued(loss):
    return lambda **options: loss(**options).value(IMAGE)


# Of each function: what takes its options, those that are numbers, and the others that it needs.
NUMBERS = {
    "Constant": (used(schedules.Constant), ["step"], {}),
    "InverseTime": (used(schedules.InverseTime), ["initial", "floor"], {"initial": 1.0}),
    "InverseSqrt": (used(schedules.InverseSqrt), ["initial", "floor"], {"initial": 1.0}),
    "Exponential": (used(schedules.Exponential), ["initial", "factor", "floor"], {"initial": 1.0, "factor": 0.5}),
    "StepDecay": (
        used(schedules.StepDecay),
        ["initial", "factor", "floor"],
        {"initial": 1.0, "factor": 0.5, "every": 2},
    ),
    "Polynomial": (used(schedules.Polynomial), ["initial", "final", "power"], {"initial": 1.0, "iterations": 9}),
    "Cosine": (used(schedules.Cosine), ["initial", "final"], {"initial": 1.0, "iterations": 9}),
    "ExactLineSearch": (searched(line_search.ExactLineSearch), ["initial", "tolerance"], {}),
    "Backtracking": (searched(line_search.Backtracking), ["initial", "factor", "sufficient_decrease"], {}),
    "StrongWolfe": (searched(line_search.StrongWolfe), ["sufficient_decrease", "curvature"], {}),
    "HagerZhang": (searched(line_search.HagerZhang), ["sufficient_decrease", "curvature", "blur"], {}),
    "BarzilaiBorwein": (searched(line_search.BarzilaiBorwein), ["sufficient_decrease"], {}),
    "Polyak": (searched(line_search.Polyak, target=0.0), ["target", "relaxation"], {}),
    "HeavyBall": (directed(directions.HeavyBall), ["momentum"], {}),
    "Nesterov": (directed(directions.Nesterov), ["momentum"], {}),
    "Adam": (directed(directions.Adam), ["mean_decay", "square_decay", "epsilon"], {}),
    "TotalVariation": (valued(losses.TotalVariation), ["epsilon"], {}),
    "HessianTotalVariation": (valued(losses.HessianTotalVariation), ["epsilon"], {}),
    "EdgeAligned": (
        valued(losses.EdgeAligned),
        ["edge_strength", "contrast", "epsilon", "first_order", "mixed"],
        {},
    ),
    "minimize": (minimize, ["tol", "xtol", "ftol", "max_time", "target"], {}),
    "gradient_descent": (descend, ["tol"], {}),
    "restore": (restore, ["tol", "max_time"], {}),
    "Plan.call": (stay, ["tol", "max_time"], {}),
    "corrupt": (lambda **options: masks.corrupt(IMAGE, **options), ["missing"], {}),
    "TwoLayerNetwork": (
        lambda **options: demos.TwoLayerNetwork(np.zeros((2, 2)), np.ones(2), **options),
        ["decay"],
        {},
    ),
}
COUNTS = {
    "StepDecay": (used(schedules.StepDecay), ["every"], {"initial": 1.0, "factor": 0.5}),
    "Polynomial": (used(schedules.Polynomial), ["iterations"], {"initial": 1.0}),
    "Cosine": (used(schedules.Cosine), ["iterations"], {"initial": 1.0}),
    "WarmUp": (used(schedules.WarmUp), ["iterations"], {"schedule": schedules.Constant(1.0)}),
    "ExactLineSearch": (searched(line_search.ExactLineSearch), ["max_trials"], {}),
    "StrongWolfe": (searched(line_search.StrongWolfe), ["max_trials"], {}),
    "HagerZhang": (searched(line_search.HagerZhang), ["max_trials"], {}),
    "BarzilaiBorwein": (searched(line_search.BarzilaiBorwein), ["memory"], {}),
    "LBFGS": (directed(directions.LBFGS), ["memory"], {}),
    "minimize": (minimize, ["maxiter", "threads"], {}),
    "gradient_descent": (descend, ["maxiter"], {}),
    "restore": (restore, ["max_iter", "threads"], {}),
    "Plan": (plan, ["threads"], {}),
    "Plan.call": (stay, ["max_iter"], {}),
    "DixonPrice": (lambda n: problems.DixonPrice(n).start, ["n"], {}),
    "PenaltyI": (lambda n: problems.PenaltyI(n).start, ["n"], {}),
    "ginkgo": (samples.ginkgo, ["size"], {}),
    "contour_path": (
        lambda **options: plots.contour_path(lambda x: float(x @ x), np.zeros((2, 2)), **options),
        ["resolution"],
        {},
    ),
}
TABLE = [
    pytest.param(call, name, fixed, counts, id=f"{label}-{name}")
    for counts, table in ((False, NUMBERS), (True, COUNTS))
    for label, (call, names, fixed) in table.items()
    for name in names
]


@pytest.mark.parametrize(("call", "name", "fixed", "counts"), TABLE)
class TestNumbers:
    def test_others_are_refused_by_name(self, call, name, fixed, counts):
        for value in [*NOT_NUMBERS, *NO_VALUES, *([math.inf, 0.5, Fraction(4)] if counts else BEYOND)]:
            if call is minimize and name in ("target", "maxiter") and type(value) is float and math.isinf(value):
                continue  # what every value reaches, and no limit
            with pytest.raises((TypeError, ValueError)) as caught:
                call(**{**fixed, name: value})
            assert type(caught.value) in (TypeError, ValueError)
            assert str(caught.value).startswith(f"{name} must be "), repr(value)
            assert "got " in str(caught.value)

    def test_every_kind_of_number_is_taken(self, call, name, fixed, counts):
        fractions = [kind(0.25) for kind in (np.float32, np.float64, np.longdouble, Fraction)]
        for value in [np.int8(2), np.uint64(2), HUGE] if counts else fractions:
            try:
                call(**{**fixed, name: value})
            except ValueError as error:  # where it is out of range
                assert str(error).startswith(f"{name} must be"), repr(value)  # noqa: PT017 - or no error at all


def value(x):
    return float(x @ x)


def gradient(x):
    return 2 * x


# What takes several numbers, or a function that returns them, given one that no float holds.
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graddesc.minimize(value, [HUGE, 1.0], jac=gradient), "x0 must be numbers that a float holds, got "),
        (lambda: minimize(bounds=[(0, HUGE), (0, 1)]), "bounds must be numbers that a float holds, got "),
        (lambda: minimize(bounds=[(-HUGE, 1), (0, 1)]), "bounds must be numbers that a float holds, got "),
        (lambda: minimize(projection=lambda x: [HUGE, 1.0]), "projection must return numbers that a float holds, got "),
        (
            lambda: minimize(step=lambda k: HUGE),
            "step must return a non-negative finite number, got inf in iteration 0",
        ),
        (
            lambda: graddesc.minimize(value, [1.0], jac=lambda x: [HUGE]),
            "jac must return numbers that a float holds, got ",
        ),
        (lambda: problems.Beale()([HUGE, 1.0]), "x must be numbers that a float holds, got "),
        (lambda: problems.Quadratic([[HUGE]]), "A must be numbers that a float holds, got "),
        (lambda: problems.Quadratic([[1.0]], [HUGE]), "b must be numbers that a float holds, got "),
        (lambda: problems.Quadratic([[1.0]], c=HUGE), "c must be a finite number, got "),
        (lambda: demos.TwoLayerNetwork([[HUGE, 1.0]], [1.0]), "points must be numbers that a float holds, got "),
        (lambda: graddesc.restore(IMAGE, MASK, bounds=(0, HUGE)), "bounds must be "),
        (lambda: masks.corrupt(IMAGE, rng=-HUGE), "rng must be "),
        (lambda: plots.ray(value, gradient, [1.0, 1.0], window=(0, HUGE)), "window must be "),
        (
            lambda: plots.contour_path(value, np.zeros((2, 2)), window=((0, HUGE), (0, 1))),
            "each axis of window must be ",
        ),
        (
            lambda: plots.contour_path(value, np.zeros((2, 2)), levels=[0, HUGE]),
            "levels must be numbers that a float holds, got ",
        ),
        (lambda: plots.loss_history([2.0, 1.0], minimum=HUGE), "minimum must be a finite number, got "),
    ],
)
def test_numbers_beyond_any_float_among_others(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its beginning is compared
        call()
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(message)


def test_values_beyond_any_float_are_not_finite():
    result = graddesc.minimize(lambda x: HUGE, [1.0], jac=gradient)
    assert (result.success, result.fun) == (False, math.inf)
