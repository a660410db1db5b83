"""Sums of squares and total variations of volumes, through restore(): promises, and what must change nothing."""

import numpy as np
import pytest
import reference
from cases import each
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import splu

import graddesc
from graddesc import _kernels, losses
from graddesc.losses.sweeps import SETTLED
from graddesc.restoration import problem, volume_quadratics
from graddesc.restoration.quadratics import NOT_UNIQUE

NAMES = ["harmonic", "biharmonic", "tv", "hessian-tv"]
KINDS = {"harmonic": 0, "biharmonic": 1, "tv": 0, "hessian-tv": 1}
NO_BOUNDS = {"bounds": (None, None)}


def volume(shape=(12, 13, 14), seed=0, blur=1.5):
    x = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), blur)
    return (x - x.min()) / np.ptp(x)


def masks(shape=(12, 13, 14)):
    k, i, j = np.indices(shape)
    random = np.random.default_rng(1).random(shape)
    yield "half at random", random < 0.5
    yield "nine of ten at random", random < 0.9
    yield "three slices of four", k % 4 > 0
    yield "block", (abs(k - 6) < 4) & (abs(i - 6) < 4) & (abs(j - 7) < 4)
    yield "dead voxels", random < 5e-4
    yield "end", k > 7


def distance(found, truth, mask):
    """The rms distance of the corrupt voxels over the rms difference of neighbours of which one is corrupt."""
    pairs = [np.diff(truth, axis=a)[np.delete(mask, 0, a) | np.delete(mask, -1, a)] for a in range(3)]
    contrast = np.sqrt(np.mean(np.concatenate([one.ravel() for one in pairs]) ** 2))
    return np.sqrt(np.mean((found - truth)[mask] ** 2)) / contrast


def minimum(name, x, mask, spacing=(1, 1, 1), epsilon=None, rounds=300):
    """The minimum, by direct solutions; of total variations by renewals of the weights until nothing moves."""
    unknown, known, out = np.flatnonzero(mask), np.flatnonzero(~mask), np.where(mask, x[~mask].mean(), x)
    omega = None
    for _ in range(rounds if epsilon else 1):
        if epsilon:
            omega = 1 / np.sqrt(epsilon**2 + reference.volume_square(KINDS[name], out, spacing))
        rows = reference.volume_hessian(KINDS[name], x.shape, spacing, omega)[unknown]
        before = out.flat[unknown]
        out.flat[unknown] = splu(rows[:, unknown].tocsc()).solve(-(rows[:, known] @ out.flat[known]))
        if np.abs(out.flat[unknown] - before).max() < 1e-9:
            break
    return out


# ---- the promise ----


@pytest.mark.parametrize("name", ["harmonic", "biharmonic"])
@pytest.mark.once
def test_settled_is_a_promise_of_sums_of_squares(name):
    x = volume()
    for case, mask in masks():
        for spacing in ((1, 1, 1), (2, 1, 1.2)):
            truth = minimum(name, x, mask, spacing)
            for tol in (None, 1e-3):
                restored, info = graddesc.restore(
                    x, mask, loss=name, spacing=spacing, tol=tol, full_output=True, **NO_BOUNDS
                )
                assert (info.status, info.message) == (0, SETTLED), case
                promised = losses.by_name(name).default_tol if tol is None else tol
                assert distance(restored, truth, mask) <= promised, f"{case}, {spacing}, {tol}"
                assert_array_equal(restored[~mask], x[~mask])


@pytest.mark.parametrize("name", ["tv", "hessian-tv"])
@pytest.mark.once
def test_settled_is_a_promise_of_total_variations(name):
    shape = 8, 9, 10
    x, tol = volume(shape), losses.by_name(name).default_tol
    epsilon = 0.01
    loss = type(losses.by_name(name))(epsilon)
    for case, mask in (("random", np.random.default_rng(1).random(shape) < 0.8), ("end", np.indices(shape)[0] > 4)):
        unit = reference.contrast_unit(x[~mask])[1]
        truth = minimum(name, x, mask, epsilon=epsilon * unit)
        restored, info = graddesc.restore(x, mask, loss=loss, full_output=True, **NO_BOUNDS)
        assert info.status == 0, case
        assert distance(restored, truth, mask) <= tol, case


@each("name", NAMES)
def test_what_is_not_unique_is_told(name):
    x = volume((5, 6, 7))
    mask = np.ones(x.shape, bool)
    mask[2, 3, 4] = mask[2, 1, 1] = mask[2, 5, 3] = False
    restored, info = graddesc.restore(x, mask, loss=name, tol=1e-3, full_output=True)
    if KINDS[name] == 0:
        assert info.status == 0
        return
    assert info.status == 1
    assert info.message == "The corrupt pixels are at one of many minima: all that is known lies in one plane."
    assert np.isfinite(restored).all()
    # An image that is restored as a volume says what images say.
    mask[2] = True
    mask[2, 2] = False
    _, info = graddesc.restore(x[2], mask[2], loss=name, spacing=(2, 1), tol=1e-3, full_output=True)
    assert info.message == NOT_UNIQUE


@each("name", NAMES)
def test_one_known_voxel_gives_its_value(name):
    for shape in ((1, 1, 1), (1, 1, 9), (9, 1, 1), (2, 2, 2), (3, 5, 4)):
        mask = np.ones(shape, bool)
        mask[shape[0] // 2, shape[1] // 2, shape[2] // 2] = False
        x = np.where(mask, 1.0, 0.25)
        assert_allclose(graddesc.restore(x, mask, loss=name), 0.25, atol=1e-6)


# ---- what must change nothing, or what it must ----


@each("name", NAMES)
def test_units_dtypes_and_axes(name):
    x = volume()
    mask = np.random.default_rng(1).random(x.shape) < 0.8
    settings = {"loss": name, "tol": 1e-5, "max_iter": 200, **NO_BOUNDS}
    expected = graddesc.restore(x, mask, **settings)
    assert_allclose(graddesc.restore(3 - 40 * x, mask, **settings), 3 - 40 * expected, atol=1e-3)
    single = graddesc.restore(x.astype(np.float32), mask, **settings)
    assert single.dtype == np.float32
    assert_allclose(single, expected, atol=1e-4)
    for axes in ((1, 2, 0), (2, 1, 0)):
        turned = graddesc.restore(x.transpose(axes), mask.transpose(axes), **settings)
        assert_allclose(turned, expected.transpose(axes), atol=1e-4)
    flipped = graddesc.restore(x[::-1, :, ::-1], mask[::-1, :, ::-1], **settings)
    assert_allclose(flipped[::-1, :, ::-1], expected, atol=1e-4)
    integers = np.rint(250 * x).astype(np.uint8)
    restored = graddesc.restore(integers, mask, loss=name)
    assert restored.dtype == np.uint8
    assert_allclose(restored, graddesc.restore(integers.astype(float), mask, loss=name, bounds=(0, 255)), atol=0.6)


@each("name", NAMES)
def test_spacing_is_relative_and_tells_how_far_a_neighbour_is(name):
    x = volume()
    mask = np.random.default_rng(1).random(x.shape) < 0.7
    expected = graddesc.restore(x, mask, loss=name, spacing=(2, 1, 1))
    assert_array_equal(graddesc.restore(x, mask, loss=name, spacing=(1, 0.5, 0.5)), expected)
    assert np.abs(graddesc.restore(x, mask, loss=name) - expected).max() > 1e-3
    # Axes far apart are as good as alone: planes that are restored as images.
    apart = graddesc.restore(x, mask, loss=name, spacing=(1e4, 1, 1), tol=1e-4, **NO_BOUNDS)
    if name in ("harmonic", "biharmonic"):
        for plane, one, where in zip(apart, x, mask, strict=True):
            alone = graddesc.restore(one, where, loss=name, tol=1e-4, **NO_BOUNDS)
            assert_allclose(plane, alone, atol=2e-3)


@each("name", NAMES)
def test_an_image_whose_pixels_are_no_squares_is_a_volume_of_one_plane(name):
    x = volume((1, 30, 40))
    mask = np.random.default_rng(1).random(x.shape) < 0.7
    expected = graddesc.restore(x, mask, loss=name, spacing=(7, 2, 1), tol=1e-4)
    assert_allclose(graddesc.restore(x[0], mask[0], loss=name, spacing=(2, 1), tol=1e-4), expected[0], atol=1e-12)
    even = graddesc.restore(x[0], mask[0], loss=name, tol=1e-4, **NO_BOUNDS)
    assert_allclose(graddesc.restore(x, mask, loss=name, tol=1e-4, **NO_BOUNDS)[0], even, atol=1e-3)


@each("name", NAMES)
@each("shape", [(20, 21, 24), (1, 90, 110), (50, 2, 100), (95, 105, 1), (10000, 1, 1)])
def test_few_corrupt_voxels_are_restored_as_many_are(name, shape):
    # Of few, lone ones are packed, and of the others only what lies around is converted; with another start all is.
    if name == "hessian-tv" and shape[1:] == (1, 1):
        return  # on a line renewals go on for long
    rng = np.random.default_rng(1)
    x = volume(shape)
    mask = np.zeros(shape, bool)
    at = [rng.integers(0, side, 4) for side in shape]
    mask[tuple(at)] = True
    mask[tuple(side // 2 for side in shape)] = mask[tuple((side - 1) // 2 for side in shape)] = True
    mask[0, 0, 0] = mask[-1, -1, -1] = mask[0, 0, -1] = True
    settings = {"loss": name, "tol": 1e-3, "max_iter": 500, **NO_BOUNDS}
    few, info = graddesc.restore(x, mask, full_output=True, **settings)
    assert info.success
    whole = graddesc.restore(x, mask, init="nearest", **settings)
    assert_array_equal(few[~mask], x[~mask])
    assert_allclose(few, whole, atol=2e-3)
    colours = graddesc.restore(np.asfortranarray(np.stack([x, x])), mask, channel_axis=0, **settings)
    assert_allclose(colours, np.stack([few, few]), atol=2e-3)


def test_lone_voxels_are_packed():
    mask = np.zeros((1, 30, 40, 50), np.uint8)
    for place in ((0, 0, 0), (9, 9, 9), (9, 9, 20), (15, 20, 30), (15, 22, 31), (29, 5, 5), (29, 30, 5)):
        mask[0][place] = 1
    boxes = list(volume_quadratics._boxes_of_lone_voxels(mask[0]))
    assert sorted(box.shape for box in boxes) == [(3, 3, 3), (3, 5, 10), (5, 5, 10)]
    lone = np.concatenate([box[mask[0].reshape(-1)[box] == 1] for box in boxes])
    together = np.ravel_multi_index(([15, 15], [20, 22], [30, 31]), mask.shape[1:])
    assert sorted([*lone, *together]) == np.flatnonzero(mask).tolist()


@each("name", NAMES)
def test_channels_with_one_mask_and_with_masks_of_their_own(name):
    x = np.stack([volume(seed=0), volume(seed=1)], axis=-1)
    mask = np.random.default_rng(1).random(x.shape) < 0.6
    tight = {"loss": name, "channel_axis": -1, "tol": 1e-4, "max_iter": 300, **NO_BOUNDS}
    shared, info = graddesc.restore(x, mask[..., 0], full_output=True, **tight)
    assert info.success
    own, info = graddesc.restore(x, mask, full_output=True, **tight)
    assert info.success
    assert_array_equal(own[~mask], x[~mask])
    if name in ("harmonic", "biharmonic"):
        for c in range(2):
            truth = minimum(name, x[..., c], mask[..., c])
            assert distance(own[..., c], truth, mask[..., c]) < 1e-3
            truth = minimum(name, x[..., c], mask[..., 0])
            assert distance(shared[..., c], truth, mask[..., 0]) < 1e-3
    same = np.repeat(mask[..., :1], 2, axis=-1)
    assert_allclose(graddesc.restore(x, same, **tight), shared, atol=1e-4)


@pytest.mark.usefixtures("every_thread")
@each("name", NAMES)
def test_threads_change_no_bit(name):
    x = volume((20, 64, 70)).astype(np.float32)
    mask = np.random.default_rng(1).random(x.shape) < 0.9
    expected = graddesc.restore(x, mask, loss=name, max_iter=3)
    assert_array_equal(graddesc.restore(x, mask, loss=name, max_iter=3, threads=3), expected)


@pytest.mark.once
def test_every_level_gives_the_same_bits(monkeypatch):
    x = volume((9, 30, 70)).astype(np.float32)
    mask = np.random.default_rng(1).random(x.shape) < 0.9
    results = []
    for level in _kernels.AVAILABLE:
        use_level(level, monkeypatch)
        results.append([graddesc.restore(x, mask, loss=name, max_iter=4) for name in NAMES])
    for result in results[1:]:
        assert_array_equal(result, results[0])


# ---- limits, callbacks, histories ----


@each("name", NAMES)
def test_callbacks_see_every_iteration_and_history_is_the_value(name):
    x, loss, seen = volume(), losses.by_name(name), []
    mask = np.random.default_rng(1).random(x.shape) < 0.8
    offset, factor = reference.contrast_unit(x[~mask])
    _, info = graddesc.restore(x, mask, loss=name, spacing=(2, 1, 1), full_output=True, callback=seen.append)
    assert info.success
    assert len(seen) == info.nit
    for state in (*seen, info):
        assert_allclose(state.fun, loss.value((state.x - offset) / factor, spacing=(2, 1, 1)), rtol=1e-9)
    one, info = graddesc.restore(x, mask, loss=name, max_iter=1, full_output=True)
    assert (info.status, info.nit) == (1, 1)
    assert np.abs(one - x).max() > 0
    start, info = graddesc.restore(x, mask, loss=name, max_iter=0, full_output=True)
    assert info.nit == 0
    assert np.isfinite(start).all()


@each("name", NAMES)
def test_time_is_limited(name):
    x = volume()
    mask = np.random.default_rng(1).random(x.shape) < 0.8
    restored, info = graddesc.restore(x, mask, loss=name, tol=0, max_time=0, full_output=True)
    assert info.status == 5
    assert np.isfinite(restored).all()
    assert_array_equal(restored[~mask], x[~mask])


@pytest.mark.once
def test_an_iteration_is_done_in_parts(monkeypatch):
    # So that time and interrupts are looked at within it.
    x = volume((20, 30, 40))
    mask = np.random.default_rng(1).random(x.shape) < 0.8
    for name in NAMES:
        expected = graddesc.restore(x, mask, loss=name)
        with monkeypatch.context() as patched:
            patched.setattr(volume_quadratics, "WORK_AT_ONCE", 1.0)
            assert_array_equal(graddesc.restore(x, mask, loss=name), expected)


def test_the_range_of_what_is_known_is_found_in_bands(monkeypatch):
    rng = np.random.default_rng(0)
    for shape in ((1, 5, 6), (3, 200, 70), (2, 9, 80, 90), (1, 700, 1)):
        for missing in (0.01, 0.5, 0.99):
            for masks_of in {1, shape[0]}:
                free = (rng.random((masks_of, *shape[1:])) < missing).astype(np.uint8)
                free.reshape(-1)[0], free.reshape(-1)[1] = 0, 1
                everywhere = np.broadcast_to(free, shape)
                planes = np.where(everywhere, np.nan, rng.standard_normal(shape)).astype(">f4")
                known = planes[everywhere == 0]
                with monkeypatch.context() as patched:
                    patched.setattr(problem, "_IN_BANDS", 0)
                    assert problem._known_range(planes, free) == (known.min(), known.max())
