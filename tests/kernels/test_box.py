import math
from operator import itemgetter

import numpy as np
import pytest
from cases import each
from graddesc._kernels import box

# Twins of the kernel in NumPy.


def largest(x, g, low, high):
    return np.abs(np.minimum(np.maximum(g, x - high), x - low)).max()


def step(x, alpha, d, g, low, high):
    end = np.minimum(np.maximum(x + alpha * d, low), high)
    return end, math.fsum(g * (end - x))


def admit(x, d, low, high):
    return np.where(((d < 0.0) & (x <= low)) | ((d > 0.0) & (x >= high)), 0.0, d)


def sample(n, seed):
    """A point in a box, some of it on the bounds, some of these infinite; a direction and a gradient."""
    rng = np.random.default_rng(seed)
    low, high = -rng.random(n), rng.random(n)
    low[rng.random(n) < 0.2], high[rng.random(n) < 0.2] = -np.inf, np.inf
    x = np.clip(2.0 * rng.standard_normal(n), low, high)
    d, g = rng.standard_normal((2, n))
    d[rng.random(n) < 0.1] = 0.0
    for array in (x, d, g, low, high):
        array.flags.writeable = False
    return x, d, g, low, high


def test_by_hand():
    bounds = box.Box(np.array([0.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0]))
    x, d = np.array([0.0, 0.5, 1.0]), np.array([-1.0, 2.0, -3.0])
    out = np.empty(3)
    assert bounds.step(x, 0.5, d, np.array([7.0, -4.0, 1.0]), out) == -2.0 - 1.0
    np.testing.assert_array_equal(out, [0.0, 1.0, 0.0])
    bounds.admit(x, d, out)
    np.testing.assert_array_equal(out, [0.0, 2.0, -3.0])
    assert bounds.largest(x, np.array([5.0, 0.25, -6.0]), 1e3) == 0.25
    assert bounds.largest(x, np.array([5.0, 0.25, -6.0]), 6.0) == math.inf
    assert box.largest(np.array([5.0, 0.25, -6.0])) == 6.0


@each("n", [1, 2, 3, 16, 101])
@each("seed", range(5))
def test_as_the_twins(n, seed):
    x, d, g, low, high = sample(n, seed)
    bounds, out = box.Box(low, high), np.empty(n)
    assert bounds.largest(x, g, 1e3) == largest(x, g, low, high)
    assert box.largest(g) == np.abs(g).max()
    end, change = step(x, 0.7, d, g, low, high)
    assert bounds.step(x, 0.7, d, g, out) == pytest.approx(change, rel=1e-12, abs=1e-14)
    np.testing.assert_array_equal(out, end)
    bounds.admit(x, d, out)
    np.testing.assert_array_equal(out, admit(x, d, low, high))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_is_not_finite_is_seen(wrong, at):
    bounds = box.Box(np.full(3, -1.0), np.full(3, 1.0))
    g, zero, out = np.zeros(3), np.zeros(3), np.empty(3)
    g[at] = wrong
    assert box.largest(g) == math.inf
    assert bounds.largest(zero, g, 1e145) == math.inf
    bounds.step(zero, 1.0, g, zero, out)
    np.testing.assert_array_equal(out[at], np.clip(wrong, -1.0, 1.0))


def test_the_wrong_arrays_are_refused_and_let_go():
    bounds = box.Box(np.zeros(3), np.ones(3))
    x, out = np.zeros(3), np.empty(3)
    for wrong in (np.zeros(2), np.zeros((3, 1)), np.zeros(3, np.float32), np.zeros(3, int), np.zeros(3, ">f8")):
        for arguments in ((wrong, 1.0, x, x, out), (x, 1.0, x, wrong, out), (x, 1.0, x, x, wrong)):
            with pytest.raises(ValueError, match="vectors of double"):
                bounds.step(*arguments)
    with pytest.raises((ValueError, BufferError)):
        bounds.step(np.zeros(6)[::2], 1.0, x, x, out)
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        bounds.admit(x, x, fixed)
    with pytest.raises(TypeError):
        box.largest([1.0])
    with pytest.raises(ValueError, match="the same length"):
        box.Box(np.zeros(3), np.ones(2))
    out.resize(5)  # refused while anybody borrows the array


def test_pairs_are_read_as_they_mostly_are():
    low, high = np.empty((2, 4))
    assert box.read_pairs([(None, 1), [2.5, None], (np.float64(-1.0), 3.0), (-np.inf, np.inf)], low, high)
    np.testing.assert_array_equal(low, [-np.inf, 2.5, -1.0, -np.inf])
    np.testing.assert_array_equal(high, [1.0, np.inf, 3.0, np.inf])
    for odd in [(1.0,), (1.0, 2.0, 3.0), 5, "12", (True, 2.0), (0.0, "1"), (0.0, 10**400), (0.0, np.float32(1.0))]:
        assert not box.read_pairs([odd], np.empty(1), np.empty(1))
    with pytest.raises(ValueError, match="vectors of double"):
        box.read_pairs([(0.0, 1.0)], np.empty(1), np.empty(2))


@each("n", [1, 2, 7, 8, 100])
def test_points_are_moved_into_the_box(n):
    x, low, high = (array.copy() for array in itemgetter(0, 3, 4)(sample(n, n)))
    x = 3.0 * x + 0.1
    out = np.empty(n)
    assert box.clip(x, low, high, out)
    np.testing.assert_array_equal(out, np.clip(x, low, high))
    for wrong in [(1.0, 0.0), (np.nan, 0.0), (0.0, np.nan), (np.inf, np.inf), (-np.inf, -np.inf)]:
        low[-1], high[-1] = wrong
        assert not box.clip(x, low, high, out)
