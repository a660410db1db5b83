"""Volumes: the arguments of restore() and Plan that tell them, and what becomes of them."""

import numpy as np
import pytest
import reference
from cases import each
from numpy.testing import assert_array_equal

import graddesc
from graddesc.restoration import volumes
from graddesc.restoration.problem import Units

RNG = np.random.default_rng(16)
VOLUME = RNG.random((5, 6, 7))
MASK = RNG.random(VOLUME.shape) < 0.5


def first_differences(x):
    """The sum of squared first differences of an array of any number of dimensions, and its gradient."""
    value, gradient = 0.0, np.zeros_like(x)
    for axis in range(x.ndim):
        ends = [slice(None)] * axis
        steps = np.diff(x, axis=axis)
        value += float(np.sum(steps**2))
        gradient[(*ends, slice(1, None))] += 2 * steps
        gradient[(*ends, slice(None, -1))] -= 2 * steps
    return value, gradient


def minimum_of_first_differences(x, mask):
    """The minimum over the voxels of the mask, by a dense solution."""
    places = np.flatnonzero(mask)
    unit = np.zeros((len(places), x.size))
    unit[np.arange(len(places)), places] = 1
    columns = np.array([first_differences(row.reshape(x.shape))[1].ravel() for row in unit])
    known = np.where(mask, 0.0, x)
    rest = first_differences(known)[1].ravel()[places]
    known.flat[places] = np.linalg.solve(columns[:, places], -rest)
    return known


@each("init", ["pyramid", "nearest", "image", np.ones(VOLUME.shape)])
def test_callables_see_the_volume_as_it_is(init):
    seen = set()

    def loss(x):
        seen.add(x.shape)
        return first_differences(x)

    restored = graddesc.restore(VOLUME, MASK, loss=loss, init=init, tol=1e-6)
    np.testing.assert_allclose(restored, minimum_of_first_differences(VOLUME, MASK), atol=1e-5)
    assert_array_equal(restored[~MASK], VOLUME[~MASK])
    assert seen == {VOLUME.shape}


@each(
    "shape, mask, options, message",
    [
        (
            (5, 6, 7),
            (6, 7),
            {},
            r"^image must be 2-D, or 3-D with channel_axis or frame_axis where mask is 2-D, .*7\)$",
        ),
        (
            (5, 6, 7, 3),
            (6, 7),
            {"channel_axis": -1},
            "^image must be 3-D with channel_axis where mask is 2-D, got shape",
        ),
        ((5, 6, 7, 3, 2), (5, 6, 7), {}, "^image must be 2-D or 3-D, got shape"),
        ((40, 50, 3), (40, 50, 3), {}, r"give channel_axis=-1, or spacing=\(1, 1, 1\) if it is a volume$"),
        ((5, 6, 7), (5, 7, 6), {}, r"^mask must have shape \(5, 6, 7\), got \(5, 7, 6\)$"),
        ((5, 6, 7), (5, 6, 7), {"loss": "line"}, r"^loss must be one of local differences, .* got LineSmoothness\(\)$"),
        ((5, 6, 7), (5, 6, 7), {"loss": "texture"}, "^loss must be one of local differences, .* got TextureAdaptive"),
        ((5, 6, 7), (5, 6, 7), {"ignore": np.zeros((5, 6, 7), bool)}, None),
        ((5, 6, 7), (5, 6, 7), {"ignore": np.ones((5, 6, 7), bool)}, "^mask must leave at least one pixel known"),
        (
            (5, 6, 7),
            (5, 6, 7),
            {"ignore": ~MASK & (VOLUME < 0.5), "step": graddesc.Constant(0.1), "loss": "tv"},
            "^step must not be given with ignore for a volume",
        ),
        (
            (5, 6),
            (5, 6),
            {"ignore": VOLUME[0, :5, :6] < 0.5, "spacing": (1, 2), "step": graddesc.Constant(0.1), "loss": "tv"},
            "^step must not be given with ignore for an image whose spacing",
        ),
        (
            (5, 6, 7),
            (5, 6, 7),
            {"spacing": (1, 2)},
            r"^spacing must be a positive finite number, or 3 of them,.*\(1, 2\)$",
        ),
        ((5, 6), (5, 6), {"spacing": (1, 2, 3)}, r"^spacing must be a positive finite number, or 2 of them"),
        (
            (5, 6, 7),
            (5, 6, 7),
            {"spacing": (1, 0, 1)},
            "^spacing must be a positive finite number, or 3 of them,.*got 0$",
        ),
        (
            (5, 6, 7),
            (5, 6, 7),
            {"spacing": np.inf},
            "^spacing must be a positive finite number, or 3 of them,.*got inf$",
        ),
        ((5, 6, 7), (5, 6, 7), {"spacing": [1, np.nan, 1]}, "^spacing must be a positive finite number.*got nan$"),
        (
            (5, 6),
            (5, 6),
            {"spacing": (1, 2), "loss": "line"},
            r"^spacing must be the same along all axes with LineSmooth",
        ),
        ((5, 6), (5, 6), {"spacing": (1, 2), "loss": first_differences}, "^spacing must be .* with a callable loss"),
    ],
)
def test_bad_volumes(shape, mask, options, message):
    options = {"loss": first_differences, **options}
    image, mask = np.random.default_rng(0).random(shape), np.random.default_rng(1).random(mask) < 0.3
    if message is None:
        graddesc.restore(image, mask, **options)
        return
    with pytest.raises(ValueError, match=message):
        graddesc.restore(image, mask, **options)


@each("spacing", ["1", None.__class__, {1: 2}.keys, 1j, (1, "2", 3), (1, True, 1)])
def test_spacing_is_of_numbers(spacing):
    with pytest.raises(TypeError, match=r"^spacing must be a positive finite number, or 3 of them"):
        graddesc.restore(VOLUME, MASK, loss=first_differences, spacing=spacing)


def test_an_even_spacing_changes_nothing():
    image, mask = VOLUME[0], MASK[0]
    for loss in ("edge", "harmonic", "line"):
        assert_array_equal(
            graddesc.restore(image, mask, loss=loss, spacing=(0.3, 0.3)), graddesc.restore(image, mask, loss=loss)
        )


def test_where_a_known_voxel_is_not_finite_is_told():
    bad = VOLUME.copy()
    bad[1, 2, 3] = np.inf
    with pytest.raises(ValueError, match=r"got inf at plane 1, row 2, column 3 \(1 in all\)$"):
        graddesc.restore(bad, np.zeros(bad.shape, bool), loss=first_differences)


def test_a_plan_tells_volumes_from_channels():
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 3, 4] = True
    volume = graddesc.Plan(mask, loss=first_differences)
    assert volume(VOLUME).shape == (5, 6, 7)
    with pytest.raises(ValueError, match=r"^image must be a volume, which is 3-D, got shape \(6, 7\)$"):
        volume(VOLUME[0])
    with pytest.raises(
        ValueError, match=r"^image must have planes, rows and columns \(5, 6, 7\), got shape \(4, 6, 7\)$"
    ):
        volume(VOLUME[:4])
    apart = graddesc.Plan(mask, channel_axis=0, loss=first_differences)
    assert apart(VOLUME).shape == (5, 6, 7)
    for told in ({"shape": (2, 5, 6, 7)}, {"spacing": (1, 1, 1)}):
        coloured = graddesc.Plan(mask, channel_axis=0, loss=first_differences, **told)
        assert coloured(np.stack([VOLUME, VOLUME])).shape == (2, 5, 6, 7)


def test_contrast_is_that_of_a_volume_that_is_turned_or_mirrored():
    volume = np.random.default_rng(2).random((60, 61, 70), np.float32)
    free = np.zeros((1, *volume.shape), np.uint8)
    units = {
        Units.of(given[np.newaxis], free.reshape(1, *given.shape), None, as_is=False, contrasts=True).unit
        for given in (volume, volume[::-1], volume[:, ::-1, ::-1], volume.transpose(1, 2, 0))
    }
    assert len(units) == 1


# ---- "edge" ----


def shapes(side=24):
    """A ball and a bent sheet, with borders two voxels wide."""
    z, y, x = np.mgrid[:side, :side, :side] / side
    distance = np.sqrt((z - 0.4) ** 2 + (y - 0.5) ** 2 + (x - 0.45) ** 2)
    height = z + 0.15 * np.sin(5 * x) - 0.6
    return 0.2 + 0.5 / (1 + np.exp(2 * side * (distance - 0.3))) + 0.3 / (1 + np.exp(-2 * side * height))


SCENE = shapes().astype(np.float32)
GONE = np.random.default_rng(3).random(SCENE.shape) < 0.8
STIFF = graddesc.losses.EdgeAligned(edge_strength=1e6)  # nothing is an edge: the sum of squared second differences


def error(restored, mask=GONE, truth=SCENE):
    return float(np.sqrt(np.mean((restored - truth)[mask] ** 2)))


def test_what_is_known_stays_and_edges_come_out_better_than_without_their_weights():
    corrupted = np.where(GONE, 7, SCENE)
    restored, info = graddesc.restore(corrupted, GONE, full_output=True)
    assert_array_equal(restored[~GONE], SCENE[~GONE])
    assert info.status == 0
    assert "what renewals of the weights change" in info.message
    assert 12 < info.nit < 100
    assert len(info.history) == info.nit
    assert info.history[-1] < info.history[0]
    assert error(restored) < 0.6 * error(graddesc.restore(corrupted, GONE, loss=STIFF))
    planes = graddesc.restore(corrupted, GONE, frame_axis=0)
    assert error(restored) < 0.5 * error(planes)


def test_without_edges_it_is_the_minimum_of_squared_second_differences():
    volume, mask = SCENE[:6, :7, :8].astype(float), GONE[:6, :7, :8]
    places = np.flatnonzero(mask)
    unit = np.zeros((len(places), volume.size))
    unit[np.arange(len(places)), places] = 1
    no_edges = np.zeros((3, 3, *volume.shape))
    rows = [reference.volume_gradient(row.reshape(volume.shape), no_edges, (1, 1, 1)).ravel()[places] for row in unit]
    known = np.where(mask, 0.0, volume)
    rest = reference.volume_gradient(known, no_edges, (1, 1, 1)).ravel()[places]
    known.flat[places] = np.linalg.solve(np.array(rows), -rest)
    restored = graddesc.restore(volume, mask, loss=STIFF, tol=1e-7, bounds=(None, None))
    np.testing.assert_allclose(restored, known, atol=2e-5)


def test_missing_slices():
    for axis in range(3):
        mask = np.zeros(SCENE.shape, bool)
        np.moveaxis(mask, axis, 0)[1::2] = True
        restored = graddesc.restore(np.where(mask, 0, SCENE), mask)
        between = np.moveaxis(SCENE, axis, 0)
        linear = (between[:-2:2] + between[2::2]) / 2
        assert np.sqrt(np.mean((np.moveaxis(restored, axis, 0) - between)[1:-1:2] ** 2)) < 0.5 * np.sqrt(
            np.mean((linear - between[1:-1:2]) ** 2)
        )


@each("factor, offset", [(-3.0, 5.0), (1e-12, 0.0), (1e100, 0.0), (1e-200, 0.0)])
def test_units_do_not_matter(factor, offset):
    volume = SCENE[:12, :13, :14].astype(float)
    mask = GONE[:12, :13, :14]
    expected = graddesc.restore(volume, mask, bounds=(None, None))
    restored = graddesc.restore(factor * volume + offset, mask, bounds=(None, None))
    np.testing.assert_allclose((restored - offset) / factor, expected, atol=1e-9)


@each("dtype", ["u1", ">i2", "u4", "i8", "f2", ">f4", "f8"])
def test_every_dtype_comes_back(dtype):
    scale = 1 if np.dtype(dtype).kind == "f" else 100
    volume = (scale * SCENE[:9, :10, :11]).astype(dtype)
    mask = GONE[:9, :10, :11]
    restored = graddesc.restore(volume, mask, bounds=(0, scale))
    assert restored.dtype == np.dtype(dtype)
    expected = graddesc.restore(volume.astype(float), mask, bounds=(0, scale))
    step = 0.51 if scale > 1 else 2e-3
    np.testing.assert_allclose(restored.astype(float), expected, atol=step)


def test_turned_and_mirrored_volumes():
    volume, mask = SCENE[:10, :14, :17].astype(float), GONE[:10, :14, :17]
    expected = graddesc.restore(volume, mask, bounds=(0, 2))
    turned = graddesc.restore(volume.transpose(2, 0, 1), mask.transpose(2, 0, 1), bounds=(0, 2))
    np.testing.assert_allclose(turned.transpose(1, 2, 0), expected, atol=1e-7)
    mirrored = graddesc.restore(volume[:, ::-1, ::-1], mask[:, ::-1, ::-1], bounds=(0, 2))
    np.testing.assert_allclose(mirrored[:, ::-1, ::-1], expected, atol=2e-2)  # blocks of two begin elsewhere


@each("threads", [2, 5])
def test_threads_and_levels_give_the_same_bits(threads, every_thread, level):
    expected = SAME.setdefault("bits", graddesc.restore(SCENE, GONE))
    assert_array_equal(graddesc.restore(SCENE, GONE, threads=threads), expected)


SAME = {}


def test_channels_and_their_masks():
    volume = np.stack([SCENE, 0.5 + SCENE / 2, 1 - SCENE], axis=-1)[:12]
    mask = GONE[:12]
    together = graddesc.restore(volume, mask, channel_axis=-1)
    same = graddesc.restore(volume, np.repeat(mask[..., np.newaxis], 3, axis=-1), channel_axis=-1)
    assert_array_equal(together, same)
    own = np.random.default_rng(4).random(volume.shape) < 0.8
    restored = graddesc.restore(volume, own, channel_axis=-1)
    assert_array_equal(restored[~own], volume[~own])
    alone = [graddesc.restore(volume[..., c], own[..., c]) for c in range(3)]
    assert error(restored, own, volume) < error(np.stack(alone, -1), own, volume)  # an edge of one is one of all


def test_frames_plans_and_out():
    frames, mask = np.stack([SCENE[:10], 2 * SCENE[10:20]]), GONE[:10]
    plan = graddesc.Plan(mask)
    expected = np.stack([graddesc.restore(frame, mask) for frame in frames])
    assert_array_equal(graddesc.restore(frames, mask, frame_axis=0, threads=2), expected)
    out = np.empty_like(expected[1])
    assert plan(frames[1], out=out) is out
    assert_array_equal(out, expected[1])
    masked = graddesc.restore(np.ma.array(frames[0], mask=mask))
    assert isinstance(masked, np.ma.MaskedArray)
    assert_array_equal(masked, expected[0])


def test_spacing_of_planes_that_are_far_apart():
    truth = shapes(36)[::3].astype(np.float32)
    mask = np.random.default_rng(5).random(truth.shape) < 0.8
    told, not_told = (graddesc.restore(truth, mask, spacing=s) for s in ((3, 1, 1), (1, 1, 1)))
    assert error(told, mask, truth) < error(not_told, mask, truth)
    for many in (2.0, (6, 2, 2), (0.3, 0.1, 0.1)):
        restored = graddesc.restore(truth, mask, spacing=many)
        assert_array_equal(restored, not_told if many == 2.0 else restored)
    np.testing.assert_allclose(graddesc.restore(truth, mask, spacing=(6, 2, 2)), told, atol=1e-6)


def test_an_image_whose_pixels_are_not_squares():
    truth = shapes(48)[::3, 20].astype(np.float32)
    mask = np.random.default_rng(6).random(truth.shape) < 0.6
    told = graddesc.restore(truth, mask, spacing=(3, 1))
    assert_array_equal(told[~mask], truth[~mask])
    assert_array_equal(told, graddesc.restore(truth[np.newaxis], mask[np.newaxis], spacing=(1, 3, 1))[0])
    restored, info = graddesc.restore(truth, mask, spacing=(3, 1), full_output=True, confidence=True)
    assert_array_equal(restored, told)
    assert info.confidence.shape == info.error.shape == truth.shape


def test_confidence():
    restored, info = graddesc.restore(SCENE, GONE, full_output=True, confidence=True)
    assert info.confidence.shape == info.error.shape == SCENE.shape
    assert (info.error[~GONE] == 0).all()
    assert 0.5 < np.sqrt(np.mean(info.error[GONE] ** 2)) / error(restored) < 2
    order = np.argsort(info.error[GONE])
    off = np.abs(restored - SCENE)[GONE][order]
    assert off[: len(off) // 4].mean() < 0.3 * off[-len(off) // 4 :].mean()


def test_callbacks_limits_and_starts():
    seen = []
    graddesc.restore(SCENE, GONE, callback=lambda result: seen.append((result.nit, result.x.shape)))
    assert seen[:3] == [(k, SCENE.shape) for k in (1, 2, 3)]

    def stop(intermediate_result):
        raise StopIteration

    for options, status in (
        ({"callback": stop}, 99),
        ({"max_iter": 3}, 1),
        ({"max_iter": 0}, 1),
        ({"max_time": 0}, 5),
        ({"init": "nearest"}, 0),
        ({"init": np.where(GONE, 0.5, SCENE)}, 0),
    ):
        restored, info = graddesc.restore(SCENE, GONE, full_output=True, **options)
        assert info.status == status
        assert np.isfinite(restored).all()
        assert_array_equal(restored[~GONE], SCENE[~GONE])
    bounded = graddesc.restore(SCENE, GONE, bounds=(0.3, 0.6))[GONE]
    assert bounded.min() >= np.float32(0.3)
    assert bounded.max() <= np.float32(0.6)


def test_few_voxels_are_as_in_a_crop_around_them():
    volume = shapes(40).astype(np.float32)
    mask = np.zeros(volume.shape, bool)
    mask[20, 11:13, 30] = mask[35, 6, 7] = True
    restored, info = graddesc.restore(np.where(mask, 0, volume), mask, full_output=True)
    assert info.status == 0
    crop = np.s_[4:36, :28, 12:40]
    inside = graddesc.restore(np.where(mask, 0, volume)[crop], mask[crop])
    np.testing.assert_allclose(restored[20, 11:13, 30], inside[16, 11:13, 18], atol=2e-3)
    assert error(restored, mask, volume) < 0.02


@each("shape", [(1, 1, 2), (1, 5, 1), (2, 2, 2), (1, 6, 7), (3, 1, 9)])
def test_small_volumes_of_which_one_voxel_is_known(shape):
    volume = np.random.default_rng(7).random(shape)
    mask = np.ones(shape, bool)
    mask.flat[-1] = False
    restored = graddesc.restore(volume, mask, spacing=(1, 1, 1))
    np.testing.assert_allclose(restored, np.full(shape, volume.flat[-1]))


def test_large_holes_end_in_the_lower_of_two_minima(monkeypatch):
    truth, mask = shapes(36), np.zeros((36, 36, 36), bool)
    mask[12:22, 12:22, 12:22] = True
    seen = []
    restored, info = graddesc.restore(truth, mask, full_output=True, callback=seen.append)
    monkeypatch.setattr(volumes, "_HOLES", np.inf)
    from_coarse_grids, other = graddesc.restore(truth, mask, full_output=True)
    assert info.fun < other.fun - 1e-3
    assert error(restored, mask, truth) < 0.8 * error(from_coarse_grids, mask, truth)
    assert info.fun == info.history[-1] == seen[-1].fun
    assert len(info.history) == len(seen) == info.nit
    assert_array_equal(seen[-1].x, restored)
    smaller = np.zeros_like(mask)
    smaller[12:14, 12:22, 12:22] = True  # no large hole
    expected = graddesc.restore(truth, smaller)
    monkeypatch.undo()
    assert_array_equal(graddesc.restore(truth, smaller), expected)


@each("shape, axis", [((1, 5, 6), 0), ((5, 1, 6), 1), ((5, 6, 1), 2)])
def test_distances_along_an_axis_of_one_voxel_are_of_no_neighbours(shape, axis):
    volume = np.random.default_rng(8).random(shape)
    mask = np.random.default_rng(9).random(shape) < 0.5
    for distance in (0.1, 7.0):
        spacing = [1.0, 1.0, 1.0]
        spacing[axis] = distance
        for loss in ("edge", "biharmonic"):
            restored = graddesc.restore(volume, mask, loss=loss, spacing=spacing)
            assert_array_equal(restored, graddesc.restore(volume, mask, loss=loss, spacing=(1, 1, 1)))
            told = graddesc.tiling.restore(volume, mask, loss=loss, spacing=spacing)
            assert_array_equal(told, graddesc.tiling.restore(volume, mask, loss=loss, spacing=(1, 1, 1)))


@each("shape, seed, spacing", [((1, 5, 6), 3, 1), ((1, 5, 6), 36, 1), ((5, 1, 6), 12, (2, 1, 1)), ((5, 1, 6), 76, 1)])
def test_weights_that_would_go_to_and_fro_for_ever_settle(shape, seed, spacing):
    rng = np.random.default_rng(seed)
    volume, mask = rng.random(shape), rng.random(shape) < 0.5
    _, info = graddesc.restore(volume, mask, spacing=spacing, full_output=True)
    assert info.status == 0
    assert info.nit < 400


def test_plain_steps_of_a_schedule_descend_the_loss_of_volumes():
    options = {"step": graddesc.Constant(0.02), "init": "image", "max_iter": 15, "full_output": True}
    _, info = graddesc.restore(SCENE[:9], GONE[:9], bounds=(0, 1), **options)
    assert info.fun < info.history[0]
    assert info.nit == 15
