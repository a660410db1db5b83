"""restore(ignore=...): pixels that are neither corrupt nor known, across which nothing is smoothed."""

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_allclose, assert_array_equal
from reference import stencil_energy

import graddesc
from graddesc import losses, restore
from graddesc.restoration.domains import _Edge, _gradients, _Grouped

LOSSES = ["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge"]
RNG = np.random.default_rng(3)
SCHEDULE = graddesc.Constant(1e-3)


def left_side(rows=30, cols=41):
    row, col = np.mgrid[:rows, :cols]
    return col < 20 + (row > 12)


def two_sides(rows=30, cols=41):
    """A wall between two planes, one far above the other; a third of the pixels beside it is corrupt."""
    row, col = np.mgrid[:rows, :cols]
    image = np.where(left_side(rows, cols), 10 + 0.1 * row, 500 - 0.3 * row + 0.2 * col)
    wall = col == 20 + (row > 12)
    wall |= (col == 21) & (row == 12)  # no gap at the corner, not even a slanted one
    return image, (np.random.default_rng(0).random(image.shape) < 0.35) & ~wall, wall


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_leaks_through_a_wall_of_one_pixel(loss):
    image, mask, wall = two_sides()
    damaged = np.where(mask | wall, 250.0, image)
    restored, info = restore(damaged, mask, ignore=wall, loss=loss, full_output=True)
    assert info.status == 0
    assert np.abs(restored - image)[mask].max() < 1
    assert_array_equal(restored[~mask], damaged[~mask])
    leaked = restore(damaged, mask | wall, loss=loss)
    assert np.abs(leaked - image)[mask].max() > 5


@each("loss", LOSSES)
@each("settings", [{}, {"step": SCHEDULE, "max_iter": 5}, {"max_iter": 0}, {"init": "nearest"}])
def test_what_the_ignored_pixels_hold_does_not_matter(loss, settings):
    image, mask, wall = two_sides()
    expected = restore(np.where(wall, 300.0, image), mask, ignore=wall, loss=loss, **settings)
    for value in (np.nan, np.inf, -1e12):
        restored = restore(np.where(wall, value, image), mask, ignore=wall, loss=loss, **settings)
        assert_array_equal(restored[~wall], expected[~wall])
        assert_array_equal(restored[wall], np.full(wall.sum(), value))
    integers = np.rint(image).astype(np.uint16)
    restored = restore(np.where(wall, 65535, integers).astype(np.uint16), mask, ignore=wall, loss=loss, **settings)
    assert_array_equal(restored[~wall], restore(integers, mask, ignore=wall, loss=loss, **settings)[~wall])


@pytest.mark.parametrize("loss", LOSSES)
def test_an_ignored_corner_far_away_changes_little(loss):
    photograph = graddesc.samples.ginkgo(96)[..., 1].astype(float)
    mask = RNG.random(photograph.shape) < 0.4
    mask[:12, :12] = False
    far = np.zeros_like(mask)
    far[:2, :2] = True
    tol = 1e-3 if loss != "edge" else 0.05
    beside = restore(photograph, mask, ignore=far, loss=loss, tol=tol)
    alone = restore(photograph, mask, loss=loss, tol=tol)
    neighbours = np.sqrt(np.mean(np.diff(photograph, axis=0) ** 2))
    distance = np.sqrt(np.mean((beside - alone)[mask] ** 2))
    assert distance < (0.01 if loss != "edge" else 0.15) * neighbours


def grid(present):
    index = np.full(present.shape, -1, np.intp)
    index[present] = np.arange(np.count_nonzero(present))
    return index


@each("shape", [(7, 9), (1, 6), (5, 1), (2, 2), (1, 1), (3, 3)])
@each("loss", ["line", "harmonic", "biharmonic", "tv", "hessian-tv"])
def test_with_nothing_ignored_the_loss_is_the_loss(loss, shape):
    loss = losses.by_name(loss)
    x = RNG.random(shape)
    left = _Grouped(grid(np.ones(shape, bool)), loss)
    assert_allclose(left.value(x.reshape(1, -1)), loss.value(x), rtol=1e-12)
    gradient = left.matrix(x.reshape(1, -1)) @ x.ravel()
    assert_allclose(gradient.reshape(shape), loss.gradient(x), rtol=1e-9, atol=1e-12)


def test_the_edge_loss_before_it_is_oriented():
    loss, x = losses.EdgeAligned(), RNG.random((2, 8, 9))
    left = _Edge(grid(np.ones((8, 9), bool)), loss, np.ones((8, 9), bool), 4.0)
    one, nothing = np.ones((8, 9)), np.zeros((8, 9))
    wanted = stencil_energy(2, x, one, nothing, nothing, loss.epsilon, loss.epsilon, loss.first_order, loss.mixed)
    assert_allclose(left.value(x.reshape(2, -1)), wanted, rtol=1e-12)


def test_gradients_of_the_tensor_are_of_what_is_left():
    present = np.random.default_rng(0).random((9, 10)) < 0.6
    i, j = np.mgrid[:9, :10]
    ramp = np.where(present, 3.0 * i + 2.0 * j, 0.0)[np.newaxis]
    for axis, slope in ((1, 3.0), (2, 2.0)):
        beside = np.zeros(present.shape, bool)
        for step in (-1, 1):
            padded = np.pad(present, 1)
            beside |= np.roll(padded, step, axis - 1)[1:-1, 1:-1]
        expected = np.where(present & beside, slope, 0.0)
        assert_allclose(_gradients(ramp, present, axis)[0][present], expected[present], rtol=1e-13)
        assert np.count_nonzero(present & ~beside) > 0


@pytest.mark.parametrize("loss", ["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge"])
def test_the_gradient_is_that_of_the_value(loss):
    present = RNG.random((9, 10)) < 0.8
    x = RNG.random((1, np.count_nonzero(present)))
    if loss == "edge":
        left = _Edge(grid(present), losses.EdgeAligned(), present, 2.0)
        planes = np.zeros((1, 9, 10))
        planes[:, present] = x
        left.orient(planes)
    else:
        left = _Grouped(grid(present), losses.by_name(loss))
    gradient = left.matrix(x) @ x[0]
    h = 1e-3
    for k in RNG.choice(x.size, 20, replace=False):
        e = np.zeros_like(x)
        e[0, k] = h
        differences = (8 * (left.value(x + e) - left.value(x - e)) - left.value(x + 2 * e) + left.value(x - 2 * e)) / (
            12 * h
        )
        assert_allclose(gradient[k], differences, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["harmonic", "biharmonic", "tv", "hessian-tv", "line"])
def test_settled_is_a_minimum(loss):
    image, mask, wall = two_sides()
    image = image / 100 + 0.2 * RNG.random(image.shape)
    restored, info = restore(image, mask, ignore=wall, loss=loss, tol=1e-6, full_output=True)
    assert info.status == 0
    tried = graddesc.Plan(mask, ignore=wall, loss=loss)
    _, told = tried(restored, init="image", max_iter=0, full_output=True)
    for seed in range(5):
        noise = 1e-2 * np.random.default_rng(seed).standard_normal(image.shape)
        _, other = tried(restored + np.where(mask, noise, 0), init="image", max_iter=0, full_output=True)
        assert other.fun > told.fun


def test_pixels_that_are_cut_off_are_told():
    image = np.arange(100.0).reshape(10, 10)
    ring = np.zeros((10, 10), bool)
    ring[2:7, 2:7] = True
    inside = np.zeros_like(ring)
    inside[3:6, 3:6] = True
    ring &= ~inside
    mask = inside.copy()
    mask[9, 4] = True
    for loss in LOSSES:
        restored, info = restore(image, mask, ignore=ring, loss=loss, full_output=True)
        assert (info.success, info.status) == (False, 1)
        assert "cut off from all known ones" in info.message
        assert np.isfinite(restored).all()
        assert abs(restored[9, 4] - 94) < 6
        assert_array_equal(restored[inside], restore(image, mask, ignore=ring, loss=loss, max_iter=0)[inside])


def test_too_little_known_on_one_side_is_told():
    image, mask, wall = two_sides()
    mask = left_side() & ~wall
    mask[3, 4] = mask[3, 9] = False  # two points do not fix a plane
    restored, info = restore(np.where(mask, 0, image), mask, ignore=wall, loss="biharmonic", full_output=True)
    assert info.status == 1
    assert "one of many minima" in info.message
    assert np.isfinite(restored).all()


def test_whether_there_is_one_minimum_is_told_for_few_known_pixels():
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(4, 10, 2))
        wall = rng.random(shape) < (0.0 if seed % 2 else 0.1)
        wall[:, -1] = True
        known = np.zeros(shape, bool)
        known.reshape(-1)[rng.permutation(np.flatnonzero(~wall))[: rng.integers(2, 6)]] = True
        if seed % 5 == 0:
            known[:] = False
            known[shape[0] // 2, :-1:2] = True  # on a line
            known &= ~wall
        if seed == 0:
            # What is affine between these two is as much above zero as below.
            known, wall = np.zeros((2, 9, 5), bool)
            known[5, 1] = known[6, 3] = wall[:, 4] = True
        mask, shape = ~known & ~wall, known.shape
        if not known.any():
            continue
        # Second differences of what is left, as a matrix.
        rows = []
        for offsets, weights in (
            (((0, -1), (0, 0), (0, 1)), (1, -2, 1)),
            (((-1, 0), (0, 0), (1, 0)), (1, -2, 1)),
            (((0, 0), (0, 1), (1, 0), (1, 1)), (1, -1, -1, 1)),
        ):
            for at in np.ndindex(shape):
                places = [(at[0] + dy, at[1] + dx) for dy, dx in offsets]
                if all(0 <= y < shape[0] and 0 <= x < shape[1] and not wall[y, x] for y, x in places):
                    row = np.zeros(shape)
                    for place, weight in zip(places, weights, strict=True):
                        row[place] = weight
                    rows.append(row[mask])
        unique = bool(rows) and np.linalg.matrix_rank(np.array(rows)) == mask.sum()
        image = rng.random(shape)
        _, info = restore(image, mask, ignore=wall, loss="biharmonic", full_output=True)
        assert info.status == (0 if unique else 1), (seed, info.message)
        found.append(unique)
    assert 10 < sum(found) < len(found) - 10


def test_channels_and_frames_and_confidence():
    image, mask, wall = two_sides()
    colour = np.dstack([image, image / 2 + 20, 100 + image / 3])
    restored = restore(colour, mask, ignore=wall, channel_axis=-1)
    assert np.abs(restored - colour)[mask].max() < 1
    each = np.dstack([mask, np.roll(mask, 2, axis=0) & ~wall, mask[::-1] & ~wall])
    restored = restore(colour, each, ignore=wall, channel_axis=-1, loss="hessian-tv")
    assert np.abs(restored - colour)[each].max() < 1
    frames = np.stack([image, image + 7])
    expected = [restore(frame, mask, ignore=wall) for frame in frames]
    assert_array_equal(restore(frames, mask, ignore=wall, frame_axis=0), expected)
    assert_array_equal(restore(frames, mask, ignore=np.stack([wall, wall]), frame_axis=0, threads=2), expected)
    noisy = np.where(wall, np.nan, image + 20 * RNG.standard_normal(image.shape))
    _, info = restore(noisy, mask, ignore=wall, loss="harmonic", full_output=True, confidence=True)
    assert_array_equal(info.confidence < 1, mask)
    assert_array_equal(info.error > 0, mask)
    assert 10 < info.error[mask].mean() < 60


def test_masks_that_are_found_leave_out_what_is_ignored():
    image, mask, wall = two_sides()
    gaps = np.where(mask | wall, np.nan, image)
    restored = restore(gaps, ignore=wall)
    assert np.isnan(restored[wall]).all()
    assert_array_equal(restored[~wall], restore(image, mask, ignore=wall)[~wall])
    masked = np.ma.masked_array(np.where(mask | wall, np.nan, image), mask | wall)
    assert_array_equal(restore(masked, ignore=wall).data, restored)


def test_nothing_to_ignore():
    image, mask, _ = two_sides()
    for nothing in (np.zeros(image.shape, bool), np.ma.nomask, np.zeros((*image.shape, 1))):
        assert_array_equal(restore(image, mask, ignore=nothing), restore(image, mask))
    everything, info = restore(image, mask, ignore=mask, full_output=True)
    assert_array_equal(everything, image)
    assert info.message == "No pixel is corrupt: the image is returned as it is."


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"ignore": np.ones((3, 4))}, ValueError, r"ignore must have shape \(30, 41\), got \(3, 4\)"),
        ({"ignore": np.full((30, 41), "land")}, TypeError, "ignore must be of bool or of numbers"),
        ({"loss": "texture"}, ValueError, "ignore must not be given with 'texture', whose windows reach across"),
    ],
)
def test_bad_input(settings, error, message):
    image, mask, wall = two_sides()
    with pytest.raises(error, match=message):
        restore(image, mask, **{"ignore": wall} | settings)


@pytest.mark.parametrize("value", [250.0, np.nan])
@pytest.mark.parametrize("settings", [{}, {"step": graddesc.Constant(0.1), "max_iter": 3000, "tol": 1e-7}])
def test_a_callable_sees_what_is_ignored_and_leaves_it_out(value, settings):
    image, mask, wall = two_sides()
    damaged = np.where(wall, value, np.where(mask, 250.0, image))
    seen = []

    def loss(x):
        seen.append(x)
        gradient, total = np.full(x.shape, np.nan), 0.0  # which nobody asks for where there is the wall
        gradient[~wall] = 0
        for lines, g, out in ((x, gradient, wall), (x.T, gradient.T, wall.T)):
            difference = np.where(out[:, 1:] | out[:, :-1], 0, np.diff(lines, axis=1))
            total += np.sum(difference**2)
            g[:, 1:] += 2 * difference
            g[:, :-1] -= 2 * difference
        return total, gradient

    restored, info = restore(damaged, mask, ignore=wall, loss=loss, full_output=True, **settings)
    assert info.status == 0
    for x in seen[:: len(seen) // 5]:
        assert_array_equal(x[~mask], damaged[~mask])
    assert_array_equal(restored[~mask], damaged[~mask])
    assert_allclose(restored, restore(damaged, mask, ignore=wall, loss="harmonic"), atol=0.05)


def test_all_that_is_not_corrupt_is_ignored():
    image, mask, _ = two_sides()
    with pytest.raises(ValueError, match="mask must leave at least one pixel known, beside those of ignore, got none"):
        restore(image, mask, ignore=~mask)
