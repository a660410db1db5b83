"""The compiled descent of windows: against a slow twin, window by window and whole; where windows stand."""

import importlib

import numpy as np
import pytest
import reference
from cases import each
from graddesc._kernels import regions, stencil
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

import graddesc
from graddesc import _kernels, losses
from graddesc.restoration import windows
from graddesc.restoration.problem import Problem, Units
from graddesc.restoration.windows import Windows, WindowSteps

MOST_MOMENTUM, LEAST_CONTRAST = 0.97, 1e-13
SHAPES = [(1, 1), (1, 30), (33, 2), (19, 64), (70, 17), (96, 90), (130, 260)]


def image(shape, channels=1):
    i, j = np.mgrid[: shape[0], : shape[1]]
    plane = 0.5 + 0.25 * np.sin(0.37 * i + 0.1 * j) + 0.2 * (i + 1.3 * j > 45)
    return np.stack([plane, 1 - 0.7 * plane, plane**2][:channels])


def holes(shape, missing, masks=1, seed=0):
    """At random, or a hole and a lone pixel."""
    if missing != "hole":
        return (np.random.default_rng(seed).random((masks, *shape)) < missing).astype(np.uint8)
    free = np.zeros((masks, *shape), np.uint8)
    free[:, shape[0] // 5 : 3 * shape[0] // 5, shape[1] // 4 : 3 * shape[1] // 4] = 1
    free[0, -5, 2] = 1
    return free


def spots(shape, masks=1):
    """A few pixels of each mask, some beside each other."""
    free, rng = np.zeros((masks, *shape), np.uint8), np.random.default_rng(0)
    for plane in free:
        for _ in range(12 // masks):
            i, j = rng.integers(shape[0] - 2), rng.integers(shape[1] - 2)
            plane[i : i + rng.integers(1, 3), j : j + rng.integers(1, 3)] = 1
    return free


class Run:
    """Windows descended by the kernels: lists of masks of shape (masks, rows, cols) and of images."""

    def __init__(
        self,
        name,
        x,
        free,
        filled=None,
        coarse=True,
        low=0.0,
        high=1.0,
        threads=1,
        level=_kernels.LEVEL,
        precision=None,
        huber=None,
    ):
        kernels = importlib.import_module(f"graddesc._kernels.stencil_{level}")
        own = losses.by_name(name).operator
        names = "epsilon", "scale", "mu", "kappa", "floor", "contrast", "strength", "spread"
        names += "balance", "least_balance", "most_balance"
        operator = kernels.Operator(own.kind, own.safety, **{name: getattr(own, name) for name in names})
        self.shapes = [plane.shape for plane in x]
        self.flat = np.concatenate([plane.ravel() for plane in x])
        mask = np.concatenate([plane.ravel() for plane in free])
        self.descent = kernels.prepare(
            operator, np.array([plane.shape[1:] for plane in x], np.intp), mask, len(x[0]),
            len(free[0]), self.flat.dtype == np.float32, MOST_MOMENTUM, LEAST_CONTRAST, threads, huber, self.allocate,
        )  # fmt: skip
        if precision is not None:
            precision = np.concatenate([plane.ravel() for plane in precision]).astype(self.flat.dtype)
        self.descent.begin(self.flat, low, high, coarse, np.array(filled or [0] * len(x), np.uint8), precision)

    @staticmethod
    def allocate(size):
        return np.full(size, 0xFF, np.uint8)  # NaN, whatever is read of it before it is written

    def to(self, until, tol, work=1e12):
        while self.descent.advance(until, tol, work):
            pass
        self.descent.finish()
        ends = np.cumsum([np.prod(shape) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(self.flat.copy(), ends), self.shapes, strict=True)]


def check_twin(name, x, free, coarse=True, filled=0, until=40, tol=0.05, low=0.0, high=1.0):
    """Compare a run with that of the slow twin; return the latter."""
    operator = losses.by_name(name).operator
    slow = reference.Descent(operator, x, free, MOST_MOMENTUM, LEAST_CONTRAST, low, high, coarse, filled == 1)
    expected = slow.run(until, tol)
    run = Run(name, [x], [free], [filled], coarse, low, high)
    (found,) = run.to(until, tol)
    assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert (run.descent.iterations, run.descent.settled) == (slow.iterations, slow.settled)
    assert_array_equal(found[np.broadcast_to(free, x.shape) == 0], x[np.broadcast_to(free, x.shape) == 0])
    return slow


# ---- the descent of a window ----


PLANES = [(1, 1), (3, 1), (3, 3)]  # channels and masks


# Every two of loss, planes and mask go together once at least.
@pytest.mark.parametrize(
    ("name", "planes", "missing"),
    [
        (name, PLANES[(i + j) % 3], missing)
        for i, name in enumerate(["tv", "hessian-tv", "edge"])
        for j, missing in enumerate([0.02, 0.7, 0.95, "hole"])
    ],
)
@pytest.mark.once
def test_descent_is_that_of_the_slow_twin(name, planes, missing):
    shape, (channels, masks) = (27, 34), planes
    x, free = image(shape, channels), holes(shape, missing, masks)
    check_twin(name, x, free)
    begun = np.where(free, np.random.default_rng(1).random(x.shape), x)
    check_twin(name, begun, free, filled=1, until=12)
    check_twin(name, begun, free, coarse=False, until=25, low=0.3, high=0.6)


@pytest.mark.parametrize("name", ["tv", "edge"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (1, 40), (40, 1), (5, 60), (3, 3)], ids=str)
@pytest.mark.once
def test_small_and_thin_windows_are_those_of_the_slow_twin(name, shape):
    x, free = image(shape, 2), holes(shape, 0.6)
    free.flat[0] = 0
    check_twin(name, x, free)
    check_twin(name, x, free, coarse=False, tol=0.5)


@pytest.mark.parametrize("name", ["tv", "hessian-tv", "edge"])
@pytest.mark.parametrize(("channels", "masks"), [(2, 1), (2, 2)])
@pytest.mark.once
def test_work_goes_where_something_is_free_and_far_enough_around(name, channels, masks):
    # Cells and tiles hold little of the image; what they leave out holds NaN where it is not the image.
    free = np.zeros((masks, 70, 150), np.uint8)
    free[:, 20:25, 40:47] = free[0, 33, 31] = free[-1, 16, 64] = 1
    free[:, [0, 69, 69, 35], [149, 0, 148, 110]] = free[0, 48:50, 95:97] = 1
    slow = check_twin(name, image((70, 150), channels), free, tol=0.1, until=5)
    assert max(level for level, _ in slow.trace) > 0


@pytest.mark.parametrize("name", ["tv", "hessian-tv", "edge"])
@pytest.mark.parametrize("missing", [0.05, 0.95])
@pytest.mark.once
def test_tiles_of_wide_windows_leave_no_seam(name, missing):
    shape = 19, 929  # more than two tiles of 432 columns, and a column by itself beside the last sector
    check_twin(name, image(shape), holes(shape, missing), coarse=False, tol=0.0, until=4)


@pytest.mark.parametrize("tol", [0.0, 1e-4, 0.02, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("filled", [0, 1])
@pytest.mark.once
def test_coarse_grids_are_run_to_tolerances_above_that_of_the_finest(tol, filled):
    # Of the two finest grids and of those above: the counts of iterations tell.
    x, free = image((64, 70)), holes((64, 70), "hole")
    slow = check_twin("tv", np.where(free, 0.4, x), free, filled=filled, tol=tol, until=30)
    assert max(level for level, _ in slow.trace) == 4
    assert min(level for level, _ in slow.trace) == 0


@pytest.mark.once
def test_weights_are_renewed_less_and_less_often():
    # Every twelfth iteration, or once a quarter of all are done, unless the quadratic is solved before.
    x, free = image((20, 23)), holes((20, 23), 0.9)
    slow = check_twin("edge", np.where(free, 0.4, x), free, coarse=False, tol=0.0, until=130)
    periods = np.diff([iteration for _, iteration in slow.trace])
    assert min(periods) >= 2
    assert max(periods) > 12
    assert (periods <= np.maximum(12, 0.25 * np.cumsum(periods))).all()


@pytest.mark.parametrize(("missing", "start"), [(0.1, 1.0), (0.9, 20.0)])
def test_momentum_starts_high_where_most_is_missing(missing, start):
    assert check_twin("edge", image((24, 24)), holes((24, 24), missing)).start == start


def test_weights_of_pixels_far_apart_are_renewed_in_each_iteration():
    free = np.zeros((1, 30, 40), np.uint8)
    free[0, 4::9, 5::10] = 1
    slow = check_twin("edge", image((30, 40)), free, tol=0.0, until=9)
    assert [iteration for level, iteration in slow.trace if level == 0] == list(range(9))


@pytest.mark.once
def test_channels_that_have_settled_are_left_alone():
    # The last channels, as differences of channels are, have little to change.
    x, free = image((30, 32), 3) * np.array([1.0, 0.05, 0.01])[:, np.newaxis, np.newaxis], holes((30, 32), 0.8)
    counts = [check_twin("tv", x, free, low=-1.0, tol=0.3, until=until).active for until in range(1, 40)]
    assert counts[0] == 3
    assert set(counts) - {3}
    assert counts == sorted(counts, reverse=True)


@pytest.mark.once
def test_what_has_settled_has_by_the_contrast_as_it_is():
    # From black and white the contrast falls much; by that of the last renewal it would have settled 18 iterations ago.
    x, free = image((14, 16)), holes((14, 16), 0.9)
    begun = np.where(free, np.random.default_rng(1).integers(0, 2, x.shape), x)
    check_twin("hessian-tv", begun, free, coarse=False, until=60, tol=1.5)


@pytest.mark.parametrize("size", [3.0, 300.0])
def test_what_stands_out_does_not_decide_when_all_has_settled(size):
    x, free = image((26, 30)), holes((26, 30), 0.5)
    x[0, 3, 4], free[0, 3, 4] = size, 0
    free[0, 4, 4] = 1
    check_twin("tv", x, free, high=1000.0)


def test_density_of_the_known_pixels_sets_the_spread():
    assert_allclose(
        reference.tensor_spread(holes((40, 40), 0.0) + np.eye(40, dtype=np.uint8), 4.0), 4 * 0.11**0.4, rtol=0.1
    )
    lone = np.ones((1, 40, 40), np.uint8)
    lone[0, 20, 20] = 0
    assert reference.tensor_spread(lone, 4.0) == 10
    # Two masks of other densities, of which all pixels have their say, and a spread of the caller's.
    free = np.concatenate([holes((26, 30), 0.3), holes((26, 30), 0.95, seed=1)])
    assert not np.isclose(reference.tensor_spread(free, 4.0), reference.tensor_spread(free[1:], 4.0))
    check_twin("edge", image((26, 30), 2), free)


@pytest.mark.parametrize("name", ["tv", "edge"])
@pytest.mark.once
def test_levels_threads_and_slices_of_work_give_the_same_bits(name, dtype):
    x, free = image((150, 900), 3).astype(dtype), holes((150, 900), 0.3)
    free[:, 30:70, 200:800] = 0
    results = [
        Run(name, [x], [free], threads=threads, level=level).to(9, 0.01, work)[0]
        for level in _kernels.AVAILABLE
        for threads, work in ((1, 1e12), (2, 1e12), (3, 1.0), (7, 1e5))
    ]
    assert (results[0] != x).any()
    for result in results[1:]:
        assert_array_equal(result, results[0])


@pytest.mark.parametrize("name", ["tv", "edge"])
def test_windows_are_descended_each_by_itself(name, dtype):
    shapes = [(31, 44), (1, 7), (20, 18), (64, 5)]
    x = [image(shape, 2).astype(dtype) for shape in shapes]
    free = [holes(shape, 0.6, 2, seed) for seed, shape in enumerate(shapes)]
    free[2][...] = 0  # nothing to do
    filled = [0, 0, 0, 1]
    together = Run(name, x, free, filled)
    found = together.to(30, 0.1)
    apart = [Run(name, [plane], [mask], [fill]) for plane, mask, fill in zip(x, free, filled, strict=True)]
    for run, plane in zip(apart, found, strict=True):
        assert_array_equal(run.to(30, 0.1)[0], plane)
    assert together.descent.settled == all(run.descent.settled for run in apart)
    going = [run.descent.iterations for run in apart if not run.descent.settled]
    assert together.descent.iterations == (min(going) if going else max(run.descent.iterations for run in apart))
    assert not together.descent.failed


def test_work_at_once_is_bounded():
    x, free = image((64, 70)), holes((64, 70), 0.9)
    run = Run("edge", [x], [free])
    slices = 0
    while run.descent.iterations == 0:
        assert run.descent.advance(3, 0.0, 1.0)  # one sweep, of the coarsest grids at first
        slices += 1
    assert slices > 3
    assert run.descent.advance(2, 0.0, 1e12) is False
    assert run.descent.iterations == 2


def test_a_look_in_between_changes_nothing():
    x, free = image((40, 50)), holes((40, 50), 0.8)
    seen = Run("edge", [x], [free])
    for until in range(1, 30):
        looked = seen.to(until, 0.0)[0]
    assert_array_equal(looked, Run("edge", [x], [free]).to(29, 0.0)[0])


def test_numbers_that_overflow_are_told():
    x, free = image((9, 12)), holes((9, 12), 0.5)
    run = Run("tv", [np.where(free, np.inf, x)], [free], coarse=False, low=-np.inf, high=np.inf)
    run.to(5, 0.1)
    assert run.descent.failed
    assert not run.descent.settled


def test_compact_windows_are_those_of_large_holes():
    shape = (40, 48)
    lone, hole = holes(shape, 0.05), holes(shape, "hole")
    run = Run("edge", [image(shape)] * 3, [lone, hole, 0 * lone])
    assert run.descent.compact() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shapes": [[4, 5, 6]]}, r"shapes must have shape \(windows, 2\)"),
        ({"shapes": [[4, 0]]}, "windows must not be empty"),
        ({"free": np.zeros(19, np.uint8)}, "free must hold all masks of all windows"),
        ({"channels": 0}, "there must be one mask, or one for each channel"),
        ({"masks": 2}, "there must be one mask, or one for each channel"),
        ({"allocate": lambda size: np.empty(size - 1, np.uint8)}, "allocate must return as many bytes"),
        ({"x": np.zeros(59)}, "x must hold all channels of all windows"),
        ({"x": np.zeros(60, np.float32)}, "x must have the precision that was prepared for"),
        ({"filled": np.zeros(2, np.uint8)}, "filled must have a number for each window"),
        ({"huber": 0.0}, "huber must be None or positive"),
        ({"huber": np.inf}, "precision must be given for noisy windows, and for no others"),
        ({"precision": np.ones(20)}, "precision must be given for noisy windows, and for no others"),
        ({"huber": np.inf, "precision": np.ones(21)}, "precision must hold all masks of all windows"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {
        "shapes": [[4, 5]], "free": np.arange(20, dtype=np.uint8) % 2, "channels": 3, "masks": 1,
        "allocate": Run.allocate, "x": np.zeros(60), "filled": np.zeros(1, np.uint8), "huber": None, "precision": None,
    } | change  # fmt: skip
    operator = losses.TotalVariation().operator
    with pytest.raises(ValueError, match=message):
        stencil.prepare(
            operator, np.array(given["shapes"], np.intp), given["free"], given["channels"], given["masks"], False,
            MOST_MOMENTUM, LEAST_CONTRAST, 1, given["huber"], given["allocate"],
        ).begin(given["x"], 0.0, 1.0, True, given["filled"], given["precision"])  # fmt: skip


# ---- noise ----


def precisions(shape, masks=1, missing=0.4, seed=0):
    """What may move, and one over the variance of what is known: small, large, exact in some rows, 0 where missing."""
    rng = np.random.default_rng(seed)
    precision = rng.choice([25.0, 100.0, 1e5], (masks, *shape))
    free = np.ones(precision.shape, np.uint8)
    free[:, 2::5], precision[:, 2::5] = 0, 1e6
    lost = rng.random(precision.shape) < missing
    free[lost], precision[lost] = 1, 0
    free[:, 0, 0], precision[:, 0, 0] = 1, 50.0
    return free, precision


@each("name", ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"])
@pytest.mark.once
def test_noisy_windows_are_descended_as_by_the_slow_twin(name):
    for shape, channels, masks, huber in [
        ((33, 40), 1, 1, np.inf), ((37, 31), 3, 1, 2.0), ((26, 41), 2, 2, 1.5), ((1, 19), 1, 1, np.inf),
        ((2, 2), 1, 1, np.inf), ((1, 1), 1, 1, 2.0),
    ]:  # fmt: skip
        free, precision = precisions(shape, masks)
        x = image(shape, channels) + 0.1 * np.random.default_rng(1).standard_normal((channels, *shape))
        for coarse, until, tol in ((True, 40, 0.3), (False, 12, 0.0)):
            begun = x if coarse else np.where(precision > 0, x, 0.5)
            operator = losses.by_name(name).operator
            slow = reference.NoisyDescent(
                operator, begun, free, precision, huber, MOST_MOMENTUM, LEAST_CONTRAST, -0.1, 1.2, coarse
            )
            expected = slow.run(until, tol)
            run = Run(name, [begun], [free], None, coarse, -0.1, 1.2, precision=[precision], huber=huber)
            (found,) = run.to(until, tol)
            assert_allclose(found, expected, rtol=0, atol=1e-9)
            assert (run.descent.iterations, run.descent.settled) == (slow.iterations, slow.settled)
            assert_allclose(run.descent.data_term(), slow.data_term(), rtol=1e-8)
            fixed = np.broadcast_to(free, x.shape) == 0
            assert_array_equal(found[fixed], begun[fixed])


@each("name", ["harmonic", "tv", "edge"])
@pytest.mark.once
def test_noisy_windows_have_the_same_bits_at_every_level_and_for_all_threads(name):
    free, precision = precisions((70, 90), 1)
    x = image((70, 90), 2).astype(np.float32)
    runs = [
        Run(name, [x], [free], threads=threads, level=level, precision=[precision], huber=2.0).to(20, 0.0)[0]
        for level in _kernels.AVAILABLE
        for threads in (1, 2)
    ]
    for other in runs[1:]:
        assert_array_equal(other, runs[0])


# ---- where windows stand ----


def some_masks(shape):
    rng = np.random.default_rng(0)
    rows, cols = np.indices(shape)
    yield from (rng.random(shape) < share for share in (0.0, 0.002, 0.02, 0.2))
    yield np.hypot(rows - shape[0] // 3, cols - shape[1] // 2) < 9
    yield (rows == 5) | (cols == shape[1] - 1)
    yield (rows + cols) % 97 == 0


@each("shape", SHAPES)
@each("margin", [0, 4, 7])
@pytest.mark.once
def test_windows_hold_what_is_free_and_a_margin_and_do_not_meet(shape, margin):
    for mask in some_masks(shape):
        boxes = regions.windows(mask.view(np.uint8), margin, 1.0)
        assert boxes is not None
        held = np.zeros(shape, int)
        for top, bottom, left, right in boxes:
            held[top:bottom, left:right] += 1
            assert 0 <= top < bottom <= shape[0]
            assert 0 <= left < right <= shape[1]
            assert top % 2 == left % 2 == 0  # as the blocks of the structure tensor do
            assert mask[top:bottom, left:right].any()
        assert held.max(initial=0) <= 1  # no window holds a pixel of another
        around = ndimage.binary_dilation(mask, np.ones((2 * margin + 1,) * 2)) if mask.any() else mask
        assert held[around].all()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 1.0])
def test_windows_cover_no_more_than_their_share(share):
    shape = 130, 260
    for mask in some_masks(shape):
        everything = regions.windows(mask.view(np.uint8), 4, 1.0)
        covered = sum((bottom - top) * (right - left) for top, bottom, left, right in everything)
        boxes = regions.windows(mask.view(np.uint8), 4, share)
        if boxes is None:
            assert covered > share * mask.size
        else:
            assert covered <= share * mask.size
            assert boxes == everything


def test_windows_that_touch_stay_two():
    mask = np.zeros((40, 60), np.uint8)
    mask[9, 9] = mask[18, 9] = mask[9, 18] = 1
    assert regions.windows(mask, 4, 1.0) == [(4, 14, 4, 14), (4, 14, 14, 23), (14, 23, 4, 14)]


def test_windows_of_what_is_large_see_further_and_begin_with_coarse_cells():
    mask = np.zeros((400, 400), np.uint8)
    mask[200:240, 100:150] = mask[20, 21] = 1
    small, large = regions.windows(mask, 6, 1.0)
    assert small == (14, 27, 14, 28)
    top, bottom, left, right = large
    assert top % 16 == left % 16 == 0
    assert (top, bottom, left, right) == (128, 306, 32, 216)  # wider by 6 + 3/2 of the smaller side


def test_places_are_the_pixels_of_the_windows():
    boxes = np.array([[1, 3, 0, 2], [0, 1, 4, 7]], np.intp)
    out = np.empty(7, np.intp)
    regions.places(boxes, 10, out)
    assert_array_equal(out, [10, 11, 20, 21, 4, 5, 6])
    with pytest.raises(ValueError, match="room for their pixels"):
        regions.places(boxes, 10, out[:6].copy())


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 1000])
def test_places_of_the_free_pixels(size):
    for share in (0.0, 0.01, 0.5, 1.0):
        free = (np.random.default_rng(0).random(size) < share).astype(np.uint8)
        out = np.empty(np.count_nonzero(free), np.intp)
        regions.free_pixels(free, out)
        assert_array_equal(out, np.flatnonzero(free))
        with pytest.raises(ValueError, match="out must have room for the free pixels"):
            regions.free_pixels(free, np.empty(out.size + 1, np.intp))


def test_known_places_among_some():
    free, places = np.arange(12, dtype=np.uint8) % 3, np.array([3, 5, 0, 3, 9, 1, 11], np.intp)
    out = np.empty(7, np.intp)
    assert regions.known_among(free, places, out) == 4
    assert_array_equal(out[:4], [3, 0, 3, 9])
    assert regions.known_among(free, places[:0], out) == 0
    with pytest.raises(ValueError, match="room for all places"):
        regions.known_among(free, places, out[:6])
    for outside in (-1, 12):
        with pytest.raises(ValueError, match="must be those of pixels"):
            regions.known_among(free, np.array([2, outside], np.intp), out)


# ---- Windows ----


@pytest.mark.parametrize("masks", [1, 3])
def test_masks_are_kept_window_by_window(masks):
    free = spots((120, 140), masks)
    found = Windows(free)
    assert len(found.shapes) > 1
    assert np.unique(found.index).size == found.index.size == found.shapes.prod(axis=1).sum()
    ids = np.arange(free[0].size).reshape(free[0].shape)
    boxes = regions.windows(np.bitwise_or.reduce(free), 6, 0.4)
    at = 0
    for (top, bottom, left, right), shape in zip(boxes, found.shapes, strict=True):
        assert (bottom - top, right - left) == tuple(shape)
        size = shape[0] * shape[1]
        assert_array_equal(found.index[at : at + size], ids[top:bottom, left:right].ravel())
        # All masks of a window stand one after the other.
        window = found.free[masks * at : masks * (at + size)]
        assert_array_equal(window.reshape(masks, *shape), free[:, top:bottom, left:right])
        at += size
    for plane, pixels, places in zip(free, found.pixels, found.places, strict=True):
        assert_array_equal(np.sort(pixels), np.flatnonzero(plane))
        assert_array_equal(found.index[places], pixels)


def test_order_goes_channel_by_channel_within_a_window():
    free = np.zeros((1, 100, 120), np.uint8)
    free[0, [3, 90], [4, 110]] = 1
    found = Windows(free)
    assert len(found.shapes) == 2
    planes = np.random.default_rng(0).random((3, len(found.index)))
    order, scattered = found.order(3), found.scattered(planes)
    assert_array_equal(np.sort(order, axis=None), np.arange(planes.size))
    assert_array_equal(scattered[order], planes)
    first = found.shapes[0].prod()
    for window, part in zip(found.split(scattered, 3), np.split(planes, [first], axis=1), strict=True):
        assert_array_equal(window.reshape(3, -1), part)


def problem_of(x, free, threads=1):
    planes = x.astype(np.float32)
    units = Units.of(planes, free, None, as_is=False, contrasts=True)
    return Problem(planes, free, units, "pyramid", threads)


@pytest.mark.parametrize("turn", [False, True], ids=["as it is", "transposed view"])
def test_gathered_pixels_are_those_of_the_image_in_units_of_the_run(turn):
    x, free = image((220, 240), 3), spots((220, 240))
    problem = problem_of(x, free)
    if turn:
        problem.planes = np.ascontiguousarray(problem.planes.swapaxes(1, 2)).swapaxes(1, 2)
    found = Windows(free)
    assert len(found.shapes) > 1
    assert_array_equal(found.gathered(problem), problem.converted().reshape(3, -1)[:, found.index])


@pytest.mark.parametrize(
    ("shape", "missing", "turned", "listed"),
    [
        ((60, 70), 0.6, False, False),
        ((60, 70), 0.1, False, True),
        ((60, 20), 0.6, True, False),
        ((20, 60), 0.6, False, False),
    ],
)
def test_an_image_that_is_one_window(shape, missing, turned, listed):
    free = holes(shape, missing, 2)
    found = Windows(free)
    assert found.index is None
    assert found.turned == turned
    assert_array_equal(found.shapes, [shape[::-1] if turned else shape])
    assert_array_equal(found.free, (free.swapaxes(1, 2) if turned else free).ravel())
    if listed:
        for plane, pixels, places in zip(free, found.pixels, found.places, strict=True):
            assert_array_equal(pixels, np.flatnonzero(plane))
            assert_array_equal(places, pixels)
    else:
        assert found.pixels is found.places is None
    problem = problem_of(image(shape, 2), free)
    expected = problem.converted()
    assert_array_equal(found.gathered(problem), (expected.swapaxes(1, 2) if turned else expected).reshape(2, -1))


def by_one_window(monkeypatch, *arguments, **settings):
    with monkeypatch.context() as patched:
        patched.setattr(windows.regions, "windows", lambda *_: None)
        return graddesc.restore(*arguments, **settings)


@pytest.mark.parametrize("masks", [1, 3])
def test_windows_restore_what_the_whole_image_does(masks, monkeypatch):
    x = image((260, 300), 3)
    x += 0.02 * np.random.default_rng(2).standard_normal(x.shape)
    free = spots(x.shape[1:], masks)
    free[:, 60:68, 80:89] = 1
    mask = (free if masks > 1 else free[0]) == 1
    settings = {"channel_axis": 0, "tol": 1e-3}
    assert Windows(free).index is not None
    found = graddesc.restore(x, mask, **settings)
    whole = by_one_window(monkeypatch, x, mask, **settings)
    moved = (found - whole)[np.broadcast_to(free, x.shape) == 1]
    assert moved.any()  # it has been asked of windows
    # The margin leaves so little, and the spread of the tensor is that of each window.
    assert np.sqrt(np.mean(moved**2)) < 5e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_steps_tell_what_is_restored_in_pieces(channels):
    x, free = image((220, 240), channels), spots((220, 240))
    problem = problem_of(x, free)
    steps = WindowSteps(losses.EdgeAligned(), problem, Windows(free))
    while not steps.settled:
        steps.advance(100, 0.25)
    restored = problem.restored(steps.pieces())
    assert_array_equal(restored[:, free[0] == 0], problem.converted()[:, free[0] == 0])
    for channel, pixels, values in steps.pieces():
        assert_array_equal(pixels, np.flatnonzero(free))
        low, high = problem.units.bounds()
        assert_array_equal(np.clip(values, low, high), restored[channel][free[0] == 1])
    operator = losses.EdgeAligned()
    assert_allclose(steps.loss(), sum(operator.value(plane) for plane in restored), rtol=1e-4 if channels == 1 else 1)


def test_workspaces_are_used_again(monkeypatch):
    kept = []
    monkeypatch.setattr(windows, "_workspaces", kept)
    x, mask = image((60, 70))[0], holes((60, 70), 0.5)[0] == 1
    first = graddesc.restore(x, mask)
    assert len(kept) == 1
    kept[0][...] = 0xFF
    workspace = kept[0]
    assert_array_equal(graddesc.restore(x, mask), first)
    assert kept[0] is workspace
    monkeypatch.setattr(windows, "_KEPT", 10)
    kept.clear()
    graddesc.restore(x, mask)
    assert not kept
