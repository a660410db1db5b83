"""Few missing pixels, each restored from a patch of its own: against a slow twin; what they depend on and what not."""

import importlib

import numpy as np
import pytest
import reference
from cases import each
from graddesc._kernels import regions, stencil
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal

import graddesc
from graddesc import _kernels, losses
from graddesc.restoration import points
from graddesc.restoration.points import Apart, Points, PointSteps, edge_places
from graddesc.restoration.problem import Problem, Units
from graddesc.restoration.windows import Windows, WindowSteps

LEAST_CONTRAST = 1e-13


def image(shape, channels=1):
    i, j = np.mgrid[: shape[0], : shape[1]]
    plane = 0.5 + 0.2 * np.sin(0.37 * i + 0.1 * j) + 0.2 * (i + 1.3 * j > 24)
    plane += 0.03 * np.random.default_rng(7).standard_normal(shape)
    return np.stack([plane, 1 - 0.7 * plane, plane**2][:channels])


def mask_of(shape, *places):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


def begun(x, mask, low=-np.inf, high=np.inf, start=None, threads=1, level=_kernels.LEVEL):
    """A descent of the kernels at its start."""
    kernels = importlib.import_module(f"graddesc._kernels.stencil_{level}")
    own = losses.EdgeAligned().operator
    names = "epsilon", "scale", "mu", "kappa", "floor", "contrast", "strength", "spread"
    operator = kernels.Operator(own.kind, own.safety, **{name: getattr(own, name) for name in names})
    found = kernels.map_pixels(np.flatnonzero(mask), *mask.shape, 13, 10**6, own.spread)
    descent = kernels.prepare_points(
        operator, found, len(x), x.dtype == np.float32, LEAST_CONTRAST, threads,
        lambda size: np.full(size, 0xFF, np.uint8),  # NaN, whatever is read of it before it is written
    )  # fmt: skip
    for channel, plane in enumerate(np.where(mask, np.nan, x)):
        patches = np.empty((len(found), 256), x.dtype)
        bits = f"u{x.dtype.itemsize}"
        found.gather(np.ascontiguousarray(plane).view(bits), 0, patches.view(bits))
        descent.load(channel, 0, patches)
    descent.begin(low, high, start)
    return descent


def values(descent, x, mask):
    out = np.empty((len(x), np.count_nonzero(mask)), x.dtype)
    descent.values(out)
    return out


# ---- the slow twin ----

SHAPES_AND_PLACES = [
    ((24, 29), [(11, 12)]),
    ((24, 29), [(11, 12), (11, 13), (4, 20), (6, 21), (15, 3), (16, 3), (17, 4)]),
    ((23, 26), [(0, 0), (22, 25), (0, 9), (22, 4), (9, 0), (8, 25), (21, 15), (14, 24), (1, 20)]),
    ((20, 22), [(10, slice(None)), (4, 7)]),
    ((9, 7), [(4, 3), (8, 6)]),
    ((2, 9), [(0, 4)]),
    ((5, 2), [(4, 1), (0, 0)]),
    ((3, 3), [(1, 1)]),
]


@each("shape, places", SHAPES_AND_PLACES)
@pytest.mark.once
def test_points_are_those_of_the_slow_twin(shape, places):
    operator = losses.EdgeAligned().operator
    mask = mask_of(shape, *places)
    for channels, low, high, given, until, tol in ((1, -1.0, 2.0, False, 0, 0.1), (3, -1.0, 2.0, False, 6, 1e-2),
                                                   (2, 0.4, 0.5, True, 3, 1e-9)):  # fmt: skip
        x = image(shape, channels)
        start = np.random.default_rng(1).random((channels, np.count_nonzero(mask))) if given else None
        slow = reference.PointDescent(operator, x, mask, LEAST_CONTRAST, low, high, start)
        expected = slow.run(until, tol)[:, mask]
        descent = begun(x, mask, low, high, start)
        descent.advance(until, tol, 1e12)
        assert_allclose(values(descent, x, mask), expected, rtol=0, atol=1e-9)
        assert (descent.iterations, descent.settled) == (slow.iterations, slow.settled)


@pytest.mark.once
def test_what_goes_to_and_fro_takes_smaller_steps():
    # Beside an edge that turns the tensor each time: the twin tells that it has been asked for.
    mask = np.random.default_rng(3).random((16, 17)) < 0.05
    x = np.round(image((16, 17)) * 3) / 3
    operator = losses.EdgeAligned().operator
    slow = reference.PointDescent(operator, x, mask, LEAST_CONTRAST)
    expected = slow.run(11, 0.0)[:, mask]
    assert slow.iterations > slow.LONG
    descent = begun(x, mask)
    descent.advance(11, 0.0, 1e12)
    assert_allclose(values(descent, x, mask), expected, rtol=0, atol=1e-6)


@pytest.mark.once
def test_work_at_once_is_bounded_and_a_look_in_between_changes_nothing():
    x, mask = image((40, 50)), np.random.default_rng(0).random((40, 50)) < 0.02
    looked, whole = begun(x, mask), begun(x, mask)
    for k in range(5):
        looked.advance(100, 0.0, 1.0)
        assert looked.iterations == k + 1
        values(looked, x, mask)
    whole.advance(5, 0.0, 1e12)
    assert_array_equal(values(looked, x, mask), values(whole, x, mask))


@each("dtype", [np.float32, np.float64])
@pytest.mark.once
def test_points_have_the_same_bits_at_every_level_and_for_all_threads(dtype):
    x, mask = image((64, 70), 2).astype(dtype), np.random.default_rng(0).random((64, 70)) < 0.02
    mask[-1, 0] = mask[33] = True
    results = []
    for level in _kernels.AVAILABLE:
        for threads in (1, 3):
            descent = begun(x, mask, threads=threads, level=level)
            descent.advance(12, 0.0, 1e12)
            results.append(values(descent, x, mask))
    for other in results[1:]:
        assert_array_equal(other, results[0])


# ---- what a point depends on ----


@each("channels", [1, 3])
@pytest.mark.once
def test_points_do_not_depend_on_those_far_away(channels):
    x = image((90, 110), channels).astype(np.float32)
    some = mask_of((90, 110), (20, 30), (20, 31), (25, 33), (0, 0))
    others = mask_of((90, 110), (60, 80), (61, 82), (70, slice(20, 100)), (89, 109), (45, 5))
    found = []
    for mask in (some, others, some | others):
        descent = begun(x, mask)
        descent.advance(100, 1e-3, 1e12)
        found.append(np.where(mask, 0, x))
        found[-1][:, mask] = values(descent, x, mask)
    alone, beside, both = found
    assert_array_equal(both[:, some], alone[:, some])
    assert_array_equal(both[:, others], beside[:, others])


def test_points_and_windows_do_not_depend_on_each_other():
    x = image((130, 140)).astype(np.float32)[0]
    few, hole = mask_of(x.shape, (20, 100), (21, 100), (90, 120)), mask_of(x.shape, (slice(60, 68), slice(30, 38)))
    places = edge_places((few | hole)[np.newaxis].view(np.uint8))
    assert isinstance(places, Apart)
    assert_array_equal(places.points.pixels, np.flatnonzero(few))
    both, info = graddesc.restore(x, few | hole, full_output=True)
    alone, with_points = graddesc.restore(x, few, full_output=True)
    windows, with_windows = graddesc.restore(x, hole, full_output=True)
    assert_array_equal(both[few], alone[few])
    assert_array_equal(both[hole], windows[hole])
    assert info.status == 0
    assert info.nit >= max(with_points.nit, with_windows.nit)
    problem, run = problem_of(x[np.newaxis], few | hole), np.empty_like(both)
    problem.units.to_run(both, run)
    assert_allclose(info.fun, losses.EdgeAligned().value(run), rtol=1e-4)
    limited, told = graddesc.restore(x, few | hole, max_iter=1, tol=0, full_output=True)
    assert told.status == 1
    assert_array_equal(limited[few], graddesc.restore(x, few, max_iter=1, tol=0)[few])
    assert_array_equal(limited[hole], graddesc.restore(x, hole, max_iter=1, tol=0)[hole])


def test_patches_restore_what_windows_do():
    x = image((90, 100))[0]
    mask = np.random.default_rng(4).random(x.shape) < 0.005
    found = graddesc.restore(x, mask, tol=1e-4)
    problem = problem_of(x[np.newaxis], mask)
    steps = WindowSteps(losses.EdgeAligned(), problem, Windows(problem.free))
    while not steps.settled:
        steps.advance(1000, 1e-4)
    for _, pixels, restored in steps.pieces():
        by_windows = problem.units.to_image(restored)
        assert_array_equal(pixels, np.flatnonzero(mask))
    # The windows hold more around each pixel, and one spread of the tensor for all of theirs.
    assert np.sqrt(np.mean((found[mask] - by_windows) ** 2)) < 2e-3
    assert np.sqrt(np.mean((x[mask] - by_windows) ** 2)) > 2e-2


def problem_of(x, mask):
    free = mask[np.newaxis].view(np.uint8)
    return Problem(x, free, Units.of(x, free, None, as_is=False, contrasts=True), "pyramid", 1)


# ---- which pixels are points ----


def test_points_are_few_and_have_few_around_them():
    mask = mask_of((60, 80), (5, 9), (30, slice(0, 64)), (45, 60), (46, 61))
    found = Points.of(mask[np.newaxis].view(np.uint8))
    assert_array_equal(found.pixels, np.flatnonzero(mask))
    assert len(found.map) == mask.sum()
    mask[28, 65] = True
    assert Points.of(mask[np.newaxis].view(np.uint8)) is None  # 65 that are linked
    mask[28, 65] = False
    mask[20:24, 40:44] = True
    assert Points.of(mask[np.newaxis].view(np.uint8)) is None  # sixteen of 7 x 7
    scattered = np.zeros((60, 80), bool)
    scattered[::5, ::5] = True  # four in a hundred
    assert Points.of(scattered[np.newaxis].view(np.uint8)) is None
    two = np.zeros((2, 60, 80), np.uint8)
    two[0, 4, 4] = two[1, 9, 9] = 1
    assert Points.of(two) is None
    assert Points.of(mask_of((1, 80), (0, 9))[np.newaxis].view(np.uint8)) is None


def test_windows_that_hold_points_alone_are_told_from_others():
    free = mask_of((70, 90), (10, 12), (slice(50, 52), slice(40, 44)), (52, slice(40, 45)), (54, 46)).view(np.uint8)
    boxes = regions.windows(free, 6, 1.0)
    assert regions.crowded(free, boxes, 3, 13, 2, 99) == [False, True]
    assert regions.crowded(free, boxes, 3, 14, 2, 14) == [False, False]
    assert regions.crowded(free, boxes, 3, 14, 2, 13) == [False, True]
    assert regions.crowded(free, boxes, 3, 14, 1, 13) == [False, False]  # the last row holds one by itself
    assert regions.crowded(free, [], 3, 13, 2, 1) == []
    with pytest.raises(ValueError, match="windows must lie in the image"):
        regions.crowded(free, [(0, 71, 0, 5)], 3, 13, 2, 99)
    with pytest.raises(ValueError, match="most_linked must be positive"):
        regions.crowded(free, boxes, 3, 13, 2, 0)


def test_patches_are_taken_from_planes_of_any_strides():
    rng = np.random.default_rng(0)
    mask = mask_of((21, 26), (0, 0), (10, 12), (11, 13), (20, 25), (7, 4))
    found = stencil.map_pixels(np.flatnonzero(mask), 21, 26, 13, 99, 4.0)
    for bits in ("u1", "u2", "u4", "u8"):
        plane = rng.integers(0, 200, (21, 26)).astype(bits)
        wanted = np.empty((5, 256), bits)
        found.gather(plane, 0, wanted)
        around = np.pad(plane, 8)  # with zeros
        corners = np.argwhere(mask) // 2 * 2 + 1
        patches = [around[i : i + 16, j : j + 16].ravel().tolist() for i, j in corners]
        assert sorted(wanted.tolist()) == sorted(patches)
        for view in (np.asfortranarray(plane), plane[::-1].copy()[::-1], np.repeat(plane, 2, axis=1)[:, ::2]):
            out = np.empty((3, 256), bits)
            found.gather(view, 1, out)
            assert_array_equal(out, wanted[1:4])


# ---- restore() ----


@each("dtype", ["u1", "<i2", ">u4", "i8", "f2", ">f4", "f8"])
def test_every_dtype_and_layout_is_restored(dtype):
    x = np.rint(200 * image((40, 44), 3)).clip(0, 255)
    mask = np.random.default_rng(2).random((40, 44)) < 0.015
    x = x.astype(dtype) if np.dtype(dtype).kind in "ui" else (x / 256).astype(dtype)
    expected = graddesc.restore(x, mask, channel_axis=0)
    assert expected.dtype == x.dtype
    assert_array_equal(expected[:, ~mask], x[:, ~mask])
    last = np.ascontiguousarray(np.moveaxis(x, 0, -1))
    last.flags.writeable = False
    assert_array_equal(np.moveaxis(graddesc.restore(last, mask, channel_axis=-1), -1, 0), expected)
    out = np.empty_like(x)
    plan = graddesc.Plan(mask, shape=x.shape, channel_axis=0, threads=2)
    assert_array_equal(plan(x, out=out), expected)
    assert_array_equal(plan(x), expected)


def test_what_the_mask_hides_has_no_say():
    x, mask = image((30, 31))[0], mask_of((30, 31), (0, 3), (1, 3), (14, 14), (29, 30), (12, 16))
    expected = graddesc.restore(x, mask)
    for hidden in (np.nan, np.inf, -1e300):
        assert_array_equal(graddesc.restore(np.where(mask, hidden, x), mask), expected)


@each("scale, offset", [(1.0, 0.0), (0.0, 3.0), (1e-200, 0.0), (1e200, 0.0), (1e-9, 1e3)])
def test_images_of_any_scale_are_restored(scale, offset):
    x, mask = scale * image((30, 31))[0] + offset, mask_of((30, 31), (0, 3), (14, 14), (14, 15), (29, 30))
    restored, info = graddesc.restore(np.where(mask, np.nan, x), mask, full_output=True)
    assert info.status == 0
    assert np.abs(restored - x)[mask].max() <= 0.25 * scale + 1e-12 * offset


def test_bounds_starts_and_callbacks_are_heeded():
    x, mask = image((40, 41))[0], np.random.default_rng(5).random((40, 41)) < 0.015
    restored = graddesc.restore(x, mask, bounds=(0.4, 0.6))
    assert (restored[mask] >= 0.4).all()
    assert (restored[mask] <= 0.6).all()
    assert_array_equal(restored[mask] == 0.6, restored[mask] >= 0.6)
    start = np.full(x.shape, 0.55)
    assert_array_equal(graddesc.restore(x, mask, init=start, max_iter=0)[mask], 0.55)
    seen = []
    _, info = graddesc.restore(x, mask, init=start, tol=1e-6, full_output=True, callback=lambda step: seen.append(step))
    assert [step.nit for step in seen] == list(range(1, info.nit + 1))
    assert_allclose([step.fun for step in seen], info.history)
    assert info.status == 0
    assert info.history[-1] < info.history[0]
    assert_array_equal(seen[-1].x, info.x)


def test_numbers_that_overflow_are_told():
    x, mask = image((20, 20)), mask_of((20, 20), (9, 9))
    descent = begun(x.astype(np.float32) * np.float32(1e30), mask)
    descent.advance(5, 0.1, 1e12)
    assert descent.failed
    assert not descent.settled


@pytest.mark.parametrize("level", _kernels.AVAILABLE)
def test_restored_points_have_the_same_bits_at_every_level(level, monkeypatch):
    x = np.rint(255 * image((60, 64))[0]).clip(0, 255).astype(np.uint8)
    mask = np.random.default_rng(6).random(x.shape) < 0.015
    expected = graddesc.restore(x, mask)
    use_level(level, monkeypatch)
    assert_array_equal(graddesc.restore(x, mask, threads=2), expected)


def test_many_points_are_loaded_some_at_a_time(monkeypatch):
    x, mask = image((80, 90))[0], np.random.default_rng(8).random((80, 90)) < 0.015
    expected = graddesc.restore(x, mask)
    monkeypatch.setattr(points, "_AT_ONCE", 7)
    assert_array_equal(graddesc.restore(x, mask), expected)


def test_steps_tell_what_is_restored_in_pieces():
    x, mask = image((50, 60), 2), mask_of((50, 60), (20, 30), (40, 2))
    problem = problem_of(x, mask)
    steps = PointSteps(losses.EdgeAligned(), problem, Points.of(problem.free))
    while not steps.settled:
        steps.advance(100, 0.1)
    for channel, pixels, restored in steps.pieces():
        assert_array_equal(pixels, np.flatnonzero(mask))
        assert_array_equal(restored, problem.restored(steps.pieces())[channel][mask])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": [5, 5]}, "pixels must rise, and lie in the image"),
        ({"pixels": [-1]}, "pixels must rise, and lie in the image"),
        ({"pixels": [30]}, "pixels must rise, and lie in the image"),
        ({"rows": 0}, "the image must not be empty, nor huge"),
        ({"channels": 0}, "there must be a channel"),
        ({"operator": losses.TotalVariation().operator}, "operator must be that of an edge"),
        ({"allocate": lambda size: np.empty(size - 1, np.uint8)}, "allocate must return as many bytes"),
        ({"plane": np.zeros((5, 7), np.uint8)}, "plane must have the map's shape"),
        ({"out": np.zeros((3, 256), np.uint8)}, "out must have rows for points alone"),
        ({"out": np.zeros((2, 255), np.uint8)}, r"out must have shape \(n, 256\)"),
        ({"patches": np.zeros((2, 256), np.float32)}, "patches must have the precision that was prepared for"),
        ({"patches": np.zeros((2, 255))}, r"patches must have shape \(n, 256\)"),
        ({"patches": np.zeros((3, 256))}, "patches must be those of points"),
        ({"channel": 1}, "channel must be one of those prepared for"),
        ({"start": np.zeros((1, 3))}, r"start must have shape \(channels, points\)"),
        ({"values": np.zeros((2, 2))}, r"out must have shape \(channels, points\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {
        "pixels": [3, 20], "rows": 5, "channels": 1, "operator": losses.EdgeAligned().operator,
        "allocate": lambda size: np.empty(size, np.uint8), "plane": np.zeros((5, 6), np.uint8),
        "out": np.zeros((2, 256), np.uint8), "patches": np.zeros((2, 256)), "channel": 0, "start": np.zeros((1, 2)),
        "values": np.zeros((1, 2)),
    } | change  # fmt: skip

    def run():
        found = stencil.map_pixels(np.array(given["pixels"], np.intp), given["rows"], 6, 13, 99, 4.0)
        found.gather(given["plane"], 0, given["out"])
        descent = stencil.prepare_points(
            given["operator"], found, given["channels"], False, LEAST_CONTRAST, 1, given["allocate"]
        )
        descent.load(given["channel"], 0, given["patches"])
        descent.begin(0.0, 1.0, given["start"])
        descent.values(given["values"])

    with pytest.raises(ValueError, match=message):
        run()
