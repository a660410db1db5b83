"""The classic loss: its value, its gradient and the sweeps that descend it."""

import concurrent.futures

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import reference
from cases import each
from graddesc._kernels import line
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal
from shapes import SHAPES, WIDE_SHAPES

from graddesc import losses
from graddesc.losses.sweeps import Momentum

LINE = losses.LineSmoothness()
# Differences, squares and sums in lanes of the image's dtype: a few roundings for each pixel, averaged by the sums.
RTOL = {np.float32: 2e-6, np.float64: 1e-13}
# Of sums of squared small differences of such values.
SQUARES = {np.float32: {"rtol": 1e-3, "atol": 1e-6}, np.float64: {"rtol": 1e-9, "atol": 1e-13}}


def random_image(shape, dtype=np.float64, seed=1):
    return np.random.default_rng(seed).random(shape).astype(dtype)


def random_mask(shape, seed=2, missing=0.7):
    return (np.random.default_rng(seed).random(shape) < missing).astype(np.uint8)


# ---- values known beforehand ----


def test_value_by_hand():
    # Rows: |3 - 0| and 0; columns: |4 - 0| and |4 - 3|.
    assert LINE.value(np.array([[0.0, 3.0], [4.0, 4.0]])) == 8.0
    # One row: sqrt(1 + 4 + 9), the even pixels 3, the odd ones 5; each column is a single pixel.
    assert_allclose(LINE.value(np.array([[0.0, 1.0, 3.0, 6.0]])), np.sqrt(14) + 3 + 5, rtol=1e-15)


def test_gradient_by_hand():
    value, gradient = LINE.value_and_gradient(np.array([[0.0, 3.0], [4.0, 4.0]]))
    assert value == 8.0
    assert_array_equal(gradient, [[-2.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("shape", "value", "first_row", "square"),
    [
        (
            (5, 6),
            19.576712515432597,
            [
                0.543100335348364,
                2.397624875792733,
                -3.638706587423313,
                3.876668520764945,
                0.370605184886859,
                -1.073630267356769,
            ],
            186.75485351390776,
        ),
        (
            (4, 7),
            15.847024129683593,
            [
                1.943679584615591,
                2.838083068605989,
                -0.800804655922237,
                3.281804775760344,
                -0.394445918245556,
                0.106596374953766,
                2.150612544420849,
            ],
            149.2305205704932,
        ),
    ],
)
def test_values_of_automatic_differentiation(shape, value, first_row, square):
    got, gradient = LINE.value_and_gradient(random_image(shape))
    assert_allclose(got, value, rtol=1e-13)
    assert_allclose(gradient[0], first_row, rtol=1e-12)
    assert_allclose(np.sum(gradient**2), square, rtol=1e-12)


def autograd_value(x):
    lines = [x[i, :] for i in range(x.shape[0])] + [x[:, j] for j in range(x.shape[1])]
    return sum(
        anp.sqrt(anp.sum((part[1:] - part[:-1]) ** 2))
        for line in lines
        for part in (line, line[0::2], line[1::2])
        if len(part) > 1
    )


@pytest.mark.parametrize("shape", [(2, 3), (5, 6), (12, 9), (9, 31)])
def test_autograd_agrees(shape):
    x = random_image(shape, seed=5)
    value, gradient = LINE.value_and_gradient(x)
    assert_allclose(value, autograd_value(x), rtol=1e-13)
    assert_allclose(gradient, autograd.grad(autograd_value)(x), rtol=1e-11, atol=1e-13)


# ---- the slow twin ----


@each("shape", SHAPES + WIDE_SHAPES)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_slow_twin_agrees(shape, dtype, level):
    x = random_image(shape, dtype)
    value, gradient = LINE.value_and_gradient(x)
    assert_allclose(value, reference.line_value(x), rtol=RTOL[dtype])
    assert gradient.dtype == dtype
    assert_allclose(gradient, reference.line_gradient(x), rtol=0, atol=30 * RTOL[dtype])
    assert LINE.value(x) == value


@settings(max_examples=40)
@given(
    x=hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.floats(-1, 1).map(lambda v: round(v, 3)),  # no squares that underflow
    )
)
@pytest.mark.once
def test_slow_twin_agrees_on_any_image(x):
    value, gradient = LINE.value_and_gradient(x)
    assert_allclose(value, reference.line_value(x), rtol=1e-12, atol=1e-300)
    assert_allclose(gradient, reference.line_gradient(x), rtol=1e-9, atol=1e-12)


def test_gradient_is_the_slope_of_the_value(dtype):
    # Fourth-order central differences. Of float32 the value is taken in float64: only the gradient is under test.
    x = random_image((7, 9), dtype)
    gradient = LINE.gradient(x)
    wide, h = x.astype(np.float64), 1e-3
    for i, j in np.ndindex(x.shape):

        def at(t, i=i, j=j):
            moved = wide.copy()
            moved[i, j] += t
            return LINE.value(moved)

        slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        assert_allclose(gradient[i, j], slope, rtol=0, atol=1e-8 if dtype == np.float64 else 2e-6)


# ---- inputs and outputs ----


@each("layout", ["fortran", "strided", "reversed", "read-only"])
def test_strides_and_read_only(layout, dtype):
    x = random_image((9, 14), dtype)
    given = {
        "fortran": np.asfortranarray(x),
        "strided": np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
        "reversed": x[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": x.copy(),
    }[layout]
    given.flags.writeable = False
    kept = given.copy()
    value, gradient = LINE.value_and_gradient(given)
    assert value == LINE.value(x)
    assert_array_equal(gradient, LINE.gradient(x))
    assert_array_equal(given, kept)


def test_out_is_written_and_returned(dtype):
    x = random_image((9, 14), dtype)
    expected = LINE.gradient(x)
    out = np.full_like(x, np.nan)
    assert LINE.gradient(x, out=out) is out
    assert_array_equal(out, expected)
    wide = np.full((18, 28), np.nan, dtype)
    view = wide[::2, 1::2]
    assert LINE.value_and_gradient(x, out=view)[1] is view
    assert_array_equal(wide[::2, 1::2], expected)
    assert np.isnan(wide[1::2]).all()
    assert LINE.gradient(x, out=x) is x
    assert_array_equal(x, expected)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((3, 3), int), TypeError, "x must be float32 or float64, got int64"),
        (np.zeros(3), ValueError, r"x must be 2-D and not empty, got shape \(3,\)"),
        (np.zeros((0, 3)), ValueError, r"x must be 2-D and not empty, got shape \(0, 3\)"),
    ],
)
def test_bad_image(x, error, message):
    with pytest.raises(error, match=message):
        LINE.value(x)
    with pytest.raises(error, match=message):
        LINE.value_and_gradient(x)


def test_bad_out():
    x = random_image((3, 4))
    read_only = np.zeros((3, 4))
    read_only.flags.writeable = False
    for out, error, message in [
        (np.zeros((4, 3)), ValueError, r"out must have shape \(3, 4\) and dtype float64, got \(4, 3\) and float64"),
        (np.zeros((3, 4), np.float32), ValueError, "got .* and float32"),
        ([[0.0] * 4] * 3, TypeError, "out must be a numpy array, got list"),
        (read_only, ValueError, "read-only"),
    ]:
        with pytest.raises(error, match=message):
            LINE.gradient(x, out=out)


# ---- invariants ----


def test_constant_lines_have_no_gradient(dtype):
    value, gradient = LINE.value_and_gradient(np.full((6, 7), 0.3, dtype))
    assert value == 0
    assert_array_equal(gradient, np.zeros((6, 7)))
    x = random_image((6, 7), dtype)
    x[2] = x[0]
    x[:, 3] = 0.5
    x[4] = 0.5
    assert_allclose(LINE.gradient(x), reference.line_gradient(x), rtol=0, atol=50 * RTOL[dtype])


def test_flips_and_transposition_move_the_gradient_along(dtype):
    x = random_image((11, 14), dtype)
    value, gradient = LINE.value_and_gradient(x)
    for move in (np.flipud, np.fliplr, np.transpose):
        moved_value, moved_gradient = LINE.value_and_gradient(move(x))
        assert_allclose(moved_value, value, rtol=RTOL[dtype])
        assert_allclose(moved_gradient, move(gradient), rtol=0, atol=30 * RTOL[dtype])


def test_value_scales_and_gradient_does_not():
    x = random_image((8, 9))
    value, gradient = LINE.value_and_gradient(x)
    scaled_value, scaled_gradient = LINE.value_and_gradient(4 * x)
    assert scaled_value == 4 * value
    assert_array_equal(scaled_gradient, gradient)
    # Euler's theorem for homogeneous functions.
    assert_allclose(np.sum(gradient * x), value, rtol=1e-13)


# ---- sweeps ----


class Weights:
    """Momentum of given weights, whether or not the sweeps want it to start afresh."""

    def __init__(self, *weights):
        self._weights = iter(weights)

    def restart(self):
        pass

    def next(self):
        return next(self._weights)


MOMENTA = 0.0, 0.28, 0.43


def start(shape, dtype, seed=3):
    x = random_image(shape, dtype, seed)
    return x, random_mask(shape, seed + 1)


def sweeps_of(x, free, threads=1):
    """The sweeps of a single channel, with momenta that are known."""
    sweeps = LINE.sweeps(x[np.newaxis], free[np.newaxis], 0.1, 0.9, threads)
    sweeps._momentum = Weights(*MOMENTA)
    return sweeps


def planes_of(sweeps):
    """The channels as they stand, each a piece."""
    pieces = list(sweeps.pieces())
    assert [(channel, pixels) for channel, pixels, _ in pieces] == [(channel, None) for channel in range(len(pieces))]
    return np.stack([plane for _, _, plane in pieces])


def squared_change(sweeps, free):
    """The sum of squares of which the change is the root mean."""
    return sweeps.change**2 * max(np.count_nonzero(free), 1)


@each("shape", SHAPES + WIDE_SHAPES)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_plain_sweeps_follow_the_slow_twin(shape, dtype, level):
    x, free = start(shape, dtype)
    slow, known = x.astype(np.float64), x[free == 0]
    sweeps = sweeps_of(x, free)
    assert_allclose(sweeps.value, reference.line_value(slow), rtol=RTOL[dtype])
    for step in (0.3, 0.05, 0.2):
        before = slow
        slow = reference.descend(slow, free, step, 0.1, 0.9)
        sweeps.descend(step, track_change=True)
        assert_allclose(x, slow, rtol=0, atol=100 * RTOL[dtype])
        assert_allclose(sweeps.value, reference.line_value(slow), rtol=100 * RTOL[dtype], atol=1e-6)
        assert_allclose(squared_change(sweeps, free), np.sum((slow - before) ** 2), **SQUARES[dtype])
    assert sweeps.loss() == sweeps.value == LINE.value(x)
    differences = np.concatenate([np.diff(x.astype(np.float64), axis=axis).ravel() for axis in (0, 1)])
    contrast = np.sum(differences**2) / max(differences.size, 1)
    assert_allclose(sweeps.contrast() ** 2, contrast, rtol=10 * RTOL[dtype])
    assert_array_equal(x[free == 0], known)
    ((channel, pixels, plane),) = sweeps.pieces()
    assert (channel, pixels) == (0, None)
    assert np.shares_memory(plane, x)
    assert_array_equal(plane, x)


@each("shape", SHAPES + WIDE_SHAPES)
@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_accelerated_sweeps_follow_the_slow_twin(shape, dtype, level):
    x, free = start(shape, dtype)
    known = x[free == 0]
    v, u = x.astype(np.float64), x.astype(np.float64)
    sweeps = sweeps_of(x, free)
    for momentum in MOMENTA:
        before = u
        v, u, slope = reference.accelerate(v, u, free, momentum, 0.1, 0.9)
        sweeps.accelerate()
        assert_allclose(x, v, rtol=0, atol=100 * RTOL[dtype])
        assert_allclose(planes_of(sweeps)[0], u, rtol=0, atol=100 * RTOL[dtype])
        assert_allclose(squared_change(sweeps, free), np.sum((u - before) ** 2), **SQUARES[dtype])
        assert_allclose(sweeps._slope, slope, **SQUARES[dtype])
    assert_allclose(sweeps.loss(), reference.line_value(u), rtol=100 * RTOL[dtype], atol=1e-6)
    assert_array_equal(planes_of(sweeps)[0][free == 0], known)


@pytest.mark.parametrize("masks", [1, 3])
def test_channels_are_swept_each_by_itself(masks, dtype):
    shape = (19, 64)
    x = np.stack([random_image(shape, dtype, seed) for seed in range(3)])
    free = np.stack([random_mask(shape, 7 + seed) for seed in range(masks)])
    apart = [sweeps_of(plane.copy(), free[c % masks]) for c, plane in enumerate(x)]
    together = LINE.sweeps(x, free, 0.1, 0.9)
    together._momentum = Weights(*MOMENTA)
    for sweeps in (together, *apart):
        sweeps.descend(0.1, track_change=True)
        for _ in MOMENTA:
            sweeps.accelerate()
    assert_array_equal(planes_of(together), np.concatenate([planes_of(sweeps) for sweeps in apart]))
    assert_allclose(together.value, sum(sweeps.value for sweeps in apart), rtol=1e-14)
    assert_allclose(together.loss(), sum(sweeps.loss() for sweeps in apart), rtol=1e-14)
    assert_allclose(together._slope, sum(sweeps._slope for sweeps in apart), rtol=1e-12)
    moving = np.array([np.count_nonzero(free[c % masks]) for c in range(3)])
    changes, contrasts = np.array([(sweeps.change, sweeps.contrast()) for sweeps in apart]).T
    assert_allclose(together.change, np.sqrt(np.sum(changes**2 * moving) / moving.sum()), rtol=1e-12)
    assert_allclose(together.contrast(), np.sqrt(np.mean(contrasts**2)), rtol=1e-12)


def test_momentum_that_points_uphill_starts_afresh():
    sweeps = sweeps_of(*start((19, 64), np.float64))
    sweeps._momentum = Momentum()
    restarts, weights = [], []
    next_weight = sweeps._momentum.next
    sweeps._momentum.next = lambda: weights.append(next_weight()) or weights[-1]
    for _ in range(200):
        uphill = sweeps._slope > 0
        sweeps.accelerate()
        assert sweeps.restarted == uphill
        restarts.append(uphill)
    assert any(restarts)
    assert [weight == 0 for weight in weights] == [True, *restarts[1:]]


def run(shape, dtype, threads):
    x, free = start(shape, dtype)
    sweeps = sweeps_of(x, free, threads)
    sweeps.descend(0.1, track_change=True)
    change = sweeps.change
    for _ in MOMENTA:
        sweeps.accelerate()
    return x.tobytes(), planes_of(sweeps).tobytes(), change, sweeps.change, sweeps._slope, sweeps.value, sweeps.loss()


@pytest.mark.parametrize("shape", [(5, 7), (70, 530), (131, 1301), (66, 4000)], ids=str)
@pytest.mark.once
def test_every_level_and_thread_count_gives_the_same_bits(shape, dtype, level, monkeypatch):
    got = [run(shape, dtype, threads) for threads in (1, 2, 3, 7)]
    use_level("baseline", monkeypatch)
    expected = run(shape, dtype, 1)
    assert all(result == expected for result in got)


def test_many_callers_at_once(dtype):
    expected = run((70, 530), dtype, 1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: run((70, 530), dtype, 1), range(64)):
            assert result == expected


def test_kernels_refuse_wrong_shapes():
    x, free = start((6, 9), np.float64)
    right = {
        "x": x,
        "v": x,
        "u": x.copy(),
        "out": x.copy(),
        "free": free,
        "step": 0.1,
        "momentum": 0.1,
        "low": 0.0,
        "high": 1.0,
        "track_change": False,
        "threads": 1,
        "row_weights": np.ones((6, 3)),
        "column_weights": np.ones((3, 9)),
        "halo": np.zeros((1, 6, 4)),
        "halo_out": np.zeros((1, 6, 4)),
        "row_sums": np.zeros((1, 6, 3)),
        "column_sums": np.zeros((3, 9)),
        "totals": np.zeros((1, 2)),
    }
    calls = {
        "measure": ["x", "threads", "row_weights", "column_weights", "halo", "row_sums", "column_sums"],
        "gradient": ["x", "threads", "row_weights", "column_weights", "halo", "out"],
        "descend": [name for name in right if name not in ("u", "out", "momentum", "v")],
        "accelerate": [name for name in right if name not in ("x", "out", "step", "track_change")],
    }
    for name, parameters in calls.items():
        call, arguments = getattr(line, name)["double"], {p: right[p] for p in parameters}
        call(**arguments)
        for parameter in set(parameters) - {"x", "v", "threads", "step", "momentum", "low", "high", "track_change"}:
            short = np.ascontiguousarray(right[parameter][..., :-1])
            with pytest.raises(ValueError, match=parameter.removesuffix("_out")):
                call(**arguments | {parameter: short})
            with pytest.raises(TypeError):
                call(**arguments | {parameter: None})
    with pytest.raises(ValueError, match="step must not be negative"):
        line.descend["double"](**{p: right[p] for p in calls["descend"]} | {"step": -0.1})


def test_tall_images_lose_no_digits():
    # Column sums run in the image's dtype over blocks of rows only.
    x = random_image((3000, 3), np.float32)
    assert_allclose(LINE.value(x), reference.line_value(x), rtol=1e-7)
