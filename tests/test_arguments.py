"""What an argument must be, by kind."""

import functools
import math
from fractions import Fraction

import numpy as np
import pytest

from graddesc import arguments

HUGE = 10**400  # beyond any float
COUNTS = {least: functools.partial(arguments.require_count, least=least) for least in (0, 1, 3)}


@pytest.mark.parametrize(
    ("check", "good", "bad", "wanted"),
    [
        (arguments.require_share, [1, 0.5, 1e-300, np.float32(0.25), np.int8(1)], [0, 1.5, -1], "a number in (0, 1]"),
        (
            arguments.require_positive,
            [1, 5e-324, np.float64(2), np.uint64(7), Fraction(1, 3)],
            [0, -0.0, -1],
            "a positive finite number",
        ),
        (
            arguments.require_nonnegative,
            [0, 0.0, 2.5, np.float32(0), np.int64(3), Fraction(1, 3)],
            [-1, -5e-324, np.float32(-1)],
            "a non-negative finite number",
        ),
    ],
)
class TestNumbers:
    def test_good_ones_come_back_as_floats(self, check, good, bad, wanted):
        for value in good:
            found = check("size", value)
            assert type(found) is float
            assert found == float(value)

    def test_bad_ones_are_named(self, check, good, bad, wanted):
        for value in (*bad, math.nan, math.inf, -math.inf, np.float32("nan"), HUGE, -HUGE):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
                check("size", value)
            assert str(caught.value) == f"size must be {wanted}, got {value!r}"

    def test_other_kinds_are_named(self, check, good, bad, wanted):
        for value in (None, True, False, np.True_, "1", 1j, [1.0], np.ones(1), np.array(0.5)):
            with pytest.raises(TypeError) as caught:
                check("size", value)
            assert str(caught.value) == f"size must be {wanted}, got {value!r}"


@pytest.mark.parametrize(
    ("least", "wanted"),
    [(0, "a non-negative integer"), (1, "a positive integer"), (3, "an integer of at least 3")],
)
def test_counts(least, wanted):
    check = COUNTS[least]
    for value in (least, 7, HUGE, np.int8(5), np.uint64(2**63), np.array(4)):
        found = check("n", value)
        assert type(found) is int
        assert found == value
    for value, error in [
        *((value, ValueError) for value in (least - 1, -HUGE, np.int64(-1))),
        *((value, TypeError) for value in (None, True, False, np.True_, 7.0, math.nan, "7", np.float32(7), [7])),
        *((value, TypeError) for value in (np.array(1.5), np.array([7, 8]), np.array(True))),
    ]:
        with pytest.raises(error) as caught:
            check("n", value)
        assert str(caught.value) == f"n must be {wanted}, got {value!r}"


def test_axes():
    for value, axis in [(0, 0), (2, 2), (-1, 2), (-3, 0), (np.int8(1), 1)]:
        found = arguments.require_axis("channel_axis", value, 3)
        assert type(found) is int
        assert found == axis
    for value in (None, True, np.True_, 1.0, "1", [1]):
        with pytest.raises(TypeError) as caught:
            arguments.require_axis("channel_axis", value, 3)
        assert str(caught.value) == f"channel_axis must be an integer, got {value!r}"
    for value in (3, -4, HUGE):
        with pytest.raises(ValueError, match=f"^channel_axis must be an axis of image, from -3 to 2, got {value}$"):
            arguments.require_axis("channel_axis", value, 3)


def test_numbers_of_other_ranges():
    assert arguments.require("angle", -2, "a number below 3", lambda v: v < 3) == -2.0
    with pytest.raises(ValueError, match="angle must be a number below 3, got 4"):
        arguments.require("angle", 4, "a number below 3", lambda v: v < 3)


def test_callables():
    for value in (None, print, lambda: 0, functools.partial(print)):
        arguments.require_callable("callback", value)
    for value in (3, "print", int):  # a class can be called, but is a slip for one of its objects
        with pytest.raises(TypeError) as caught:
            arguments.require_callable("callback", value)
        assert str(caught.value) == f"callback must be callable, got {value!r}"
    with pytest.raises(TypeError, match="step must be a schedule, got 3"):
        arguments.require_callable("step", 3, "a schedule")


def test_floats():
    given = np.ones((2, 3))
    found = arguments.as_floats("x", given)
    assert found is not given
    assert (found == given).all()
    for dtype in (np.int8, np.float32):
        assert arguments.as_floats("x", given.astype(dtype), ndmin=3).shape == (1, 2, 3)
    with pytest.raises(ValueError, match=r"^jac must return numbers that a float holds, got \[1, 1000*\]$"):
        arguments.as_floats("jac", [1, HUGE], "return")


def test_planes(dtype):
    x = np.ones((3, 4), dtype)
    assert arguments.as_plane(x) is x
    strided = np.ones((3, 8), dtype)[:, ::2]
    found = arguments.as_plane(strided)
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, strided)
    assert arguments.as_plane([[1.0, 2.0]]).dtype == np.float64
    for bad in (np.ones((2, 2), np.float16), np.ones((2, 2), int), [[1, 2]]):
        with pytest.raises(TypeError, match="x must be float32 or float64, got "):
            arguments.as_plane(bad)
    for bad in (np.ones(3), np.ones((2, 2, 2)), np.ones((0, 3))):
        with pytest.raises(ValueError, match="x must be 2-D and not empty, got shape "):
            arguments.as_plane(bad)


def test_out(dtype):
    x = np.ones((3, 4), dtype)
    for out, same in [(None, True), (np.empty_like(x), True), (x, False), (np.empty((3, 8), dtype)[:, ::2], False)]:
        received, filled = arguments.as_out(out, x)
        assert received is out or out is None
        assert (filled is received) == same
        assert filled.flags.c_contiguous
        assert not np.shares_memory(filled, x)
    frozen = np.empty_like(x)
    frozen.flags.writeable = False
    for bad, error, message in [
        ([[0.0] * 4] * 3, TypeError, "out must be a numpy array, got list"),
        (np.ma.array(x), TypeError, "out must be a numpy array, got MaskedArray"),
        (np.ones((4, 3), dtype), ValueError, r"out must have shape \(3, 4\) and dtype float.., got \(4, 3\) and"),
        (np.ones((3, 4), int), ValueError, r"out must have shape .* got \(3, 4\) and int64"),
        (frozen, ValueError, "out must be writeable, got a read-only array"),
    ]:
        with pytest.raises(error, match=message):
            arguments.as_out(bad, x)
