import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graddesc.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    Polynomial,
    StepDecay,
    WarmUp,
)

SCHEDULES = [
    Constant(0.1),
    InverseTime(1.5, floor=0.015),
    InverseSqrt(2.0, floor=0.1),
    Exponential(1.0, factor=0.9, floor=1e-3),
    StepDecay(1.0, factor=0.5, every=7, floor=1e-3),
    Polynomial(1.0, iterations=50, final=0.1, power=2.0),
    Cosine(1.0, iterations=50, final=0.1),
    WarmUp(Constant(0.5), iterations=5),
]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(0.1), {0: 0.1, 10**6: 0.1}),
        (InverseTime(1.5, floor=0.015), {0: 1.5, 1: 0.75, 98: 1.5 / 99, 99: 0.015, 100: 0.015}),
        (InverseSqrt(3.0, floor=0.5), {0: 3.0, 8: 1.0, 35: 0.5, 36: 0.5}),
        (Exponential(2.0, factor=0.5), {0: 2.0, 3: 0.25, 5000: 0.0}),
        (Exponential(2.0, factor=0.5, floor=0.5), {1: 1.0, 2: 0.5, 3: 0.5}),
        (StepDecay(2.0, factor=0.1, every=3), {0: 2.0, 2: 2.0, 3: 0.2, 6: 0.02}),
        (StepDecay(2.0, factor=0.1, every=1, floor=0.1), {1: 0.2, 2: 0.1}),
        (Polynomial(1.0, iterations=10, final=0.5), {0: 1.0, 5: 0.75, 10: 0.5, 11: 0.5}),
        (Polynomial(1.0, iterations=10, power=3), {5: 0.125, 10: 0.0}),
        (Cosine(2.0, iterations=6, final=1.0), {0: 2.0, 2: 1.75, 3: 1.5, 6: 1.0, 7: 1.0}),
        (WarmUp(InverseTime(1.0), iterations=1), {0: 0.5, 1: 1.0, 2: 0.5}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_by_hand(schedule, expected):
    for k, step in expected.items():
        assert schedule(k) == pytest.approx(step, rel=1e-14, abs=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@given(k=st.integers(0, 10**9))
def test_steps_are_finite_and_never_negative(schedule, k):
    step = schedule(k)
    assert isinstance(step, float)
    assert math.isfinite(step)
    assert step >= 0.0


@pytest.mark.parametrize("schedule", SCHEDULES[:-1], ids=lambda schedule: type(schedule).__name__)
@given(k=st.integers(0, 10**6))
def test_steps_never_rise(schedule, k):
    assert schedule(k + 1) <= schedule(k)


def test_warm_up_rises_along_a_line_to_the_schedule():
    steps = [WarmUp(Exponential(1.0, factor=0.5), iterations=4)(k) for k in range(7)]
    assert steps == [0.2, 0.4, 0.6, 0.8, 1.0, 0.5, 0.25]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_settings_are_frozen_and_compare(schedule):
    assert schedule == type(schedule)(**vars(schedule))
    assert hash(schedule) == hash(type(schedule)(**vars(schedule)))
    with pytest.raises(FrozenInstanceError):
        schedule.initial = 2.0


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Constant(0.0), ValueError, "step must be a positive finite number, got 0.0"),
        (lambda: Constant("fast"), TypeError, "step must be a positive finite number, got 'fast'"),
        (lambda: Constant("0.1"), TypeError, "step must be a positive finite number, got '0.1'"),
        (lambda: InverseTime(math.nan), ValueError, "initial must be a positive finite number, got nan"),
        (lambda: InverseTime(1.0, floor=-0.1), ValueError, "floor must be a non-negative finite number, got -0.1"),
        (lambda: InverseSqrt(-1.0), ValueError, "initial must be a positive finite number, got -1.0"),
        (lambda: Exponential(1.0, factor=1.1), ValueError, r"factor must be a number in \(0, 1\], got 1.1"),
        (lambda: Exponential(1.0, factor=0.0), ValueError, r"factor must be a number in \(0, 1\], got 0.0"),
        (lambda: StepDecay(1.0, 0.5, every=0), ValueError, "every must be a positive integer, got 0"),
        (lambda: StepDecay(1.0, 0.5, every=1.5), TypeError, "every must be a positive integer, got 1.5"),
        (lambda: StepDecay(1.0, 0.5, every=True), TypeError, "every must be a positive integer, got True"),
        (lambda: Polynomial(1.0, 10, power=0), ValueError, "power must be a positive finite number, got 0"),
        (
            lambda: Polynomial(1.0, 10, final=math.inf),
            ValueError,
            "final must be a non-negative finite number, got inf",
        ),
        (lambda: Cosine(1.0, iterations=-1), ValueError, "iterations must be a positive integer, got -1"),
        (lambda: WarmUp(0.1, 10), TypeError, "schedule must be a callable k -> float, got 0.1"),
        (lambda: WarmUp(Constant(0.1), 0), ValueError, "iterations must be a positive integer, got 0"),
    ],
)
def test_wrong_settings_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()
