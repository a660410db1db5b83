"""restore(ignore=...) of volumes: voxels that are neither corrupt nor known, across which nothing is smoothed."""

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_array_equal

import graddesc
from graddesc import restore
from graddesc.restoration.left_out import LeftOut

LOSSES = ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"]
SHAPE = 12, 20, 33


def sides(shape=SHAPE):
    """Which voxels are on the left side, and the wall of a voxel or two that follows."""
    plane, row, col = np.mgrid[tuple(slice(side) for side in shape)]
    at = shape[2] // 2 + (row > shape[1] // 2) + (plane > shape[0] // 2)
    left = col < at
    beside = np.pad(left, 1, mode="edge")
    wall = col == at
    for axis in range(3):
        for step in (-1, 1):
            wall |= np.roll(beside, step, axis)[1:-1, 1:-1, 1:-1] & ~left
    return left, wall


def two_sides(missing=0.35, seed=0):
    """A wall between two linear functions, one far above the other, and corrupt voxels beside it."""
    plane, row, col = np.mgrid[tuple(slice(side) for side in SHAPE)]
    left, wall = sides()
    volume = np.where(left, 10 + 0.1 * row + 0.2 * plane, 500 - 0.3 * row + 0.2 * col)
    return volume, (np.random.default_rng(seed).random(SHAPE) < missing) & ~wall, wall


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_leaks_through_a_wall(loss):
    left, _ = sides()
    for missing in (0.35, 0.9):
        volume, mask, wall = two_sides(missing)
        damaged = np.where(wall, np.nan, np.where(mask, 250.0, volume))
        restored, info = restore(damaged, mask, ignore=wall, loss=loss, full_output=True)
        assert info.status == 0, info.message
        assert np.abs(restored - volume)[mask].max() < 1.5
        assert_array_equal(restored[~mask], damaged[~mask])
        assert np.isfinite(info.fun)
        # Each side is as if the other were not there, within what tol leaves.
        for side in (left, ~left):
            alone = restore(np.where(side, damaged, np.nan), mask, ignore=wall | ~side, loss=loss)
            assert np.abs(restored - alone)[mask & side].max() < 1
        constants = np.where(left, 10.0, 500.0)
        restored = restore(np.where(mask, 250.0, constants), mask, ignore=wall, loss=loss, tol=0.01)
        assert np.abs(restored - constants).max() < 0.1
        leaked = restore(np.where(wall, 250.0, damaged), mask | wall, loss=loss)
        assert np.abs(leaked - volume)[mask].max() > 5


@each("loss", LOSSES)
@each("settings", [{}, {"max_iter": 0}, {"init": "nearest"}, {"spacing": (2, 1, 1)}, {"init": np.full(SHAPE, 9.0)}])
def test_what_the_ignored_voxels_hold_does_not_matter(loss, settings):
    volume, mask, wall = two_sides()
    expected = restore(np.where(wall, 300.0, volume), mask, ignore=wall, loss=loss, **settings)
    for value in (np.nan, -1e12):
        restored = restore(np.where(wall, value, volume), mask, ignore=wall, loss=loss, **settings)
        assert_array_equal(restored[~wall], expected[~wall])
        assert_array_equal(restored[wall], np.full(wall.sum(), value))


@pytest.mark.parametrize("loss", LOSSES)
def test_an_ignored_corner_far_away_changes_little(loss):
    plane, row, col = np.mgrid[:16, :20, :24]
    volume = np.sin(plane / 3) + np.cos(row / 4) + 0.1 * col + (plane + row > 18)
    mask = np.random.default_rng(1).random(volume.shape) < 0.6
    mask[:3, :3, :3] = False
    far = np.zeros_like(mask)
    far[0, :2, :2] = True
    tol = 1e-3 if loss != "edge" else 0.02
    beside, alone = restore(volume, mask, ignore=far, loss=loss, tol=tol), restore(volume, mask, loss=loss, tol=tol)
    neighbours = np.sqrt(np.mean(np.diff(volume, axis=0) ** 2))
    distance = np.sqrt(np.mean((beside - alone)[mask] ** 2))
    assert distance < (0.01 if loss != "edge" else 0.15) * neighbours


@each("loss", LOSSES)
def test_threads_channels_frames_and_confidence(loss):
    volume, mask, wall = two_sides()
    colour = np.stack([volume, volume / 2 + 20])
    each_its_own = np.stack([mask, np.roll(mask, 2, axis=1) & ~wall])
    for given in (mask, each_its_own):
        one, two = (
            restore(colour, given, ignore=wall, channel_axis=0, spacing=(1, 1, 1), loss=loss, threads=k) for k in (1, 2)
        )
        assert np.abs(one - colour)[np.broadcast_to(given, colour.shape)].max() < 1
        assert_array_equal(one, two)
    frames = restore(colour, mask, ignore=wall, frame_axis=0, spacing=(1, 1, 1), loss=loss)
    assert_array_equal(frames[1], restore(colour[1], mask, ignore=wall, loss=loss))
    rough = np.where(wall, np.nan, volume + 20 * np.random.default_rng(2).standard_normal(SHAPE))
    _, info = restore(rough, mask, ignore=wall, loss=loss, full_output=True, confidence=True)
    assert_array_equal(info.confidence < 1, mask)
    assert 10 < info.error[mask].mean() < 60


def test_an_image_whose_pixels_are_not_squares():
    row, col = np.mgrid[:30, :41]
    image = np.where(col < 20, 10 + 0.1 * row, 500 - 0.3 * row + 0.2 * col)
    wall = col == 20
    mask = (np.random.default_rng(0).random(image.shape) < 0.35) & ~wall
    for loss in LOSSES:
        restored, info = restore(
            np.where(wall, np.nan, image), mask, ignore=wall, loss=loss, spacing=(1, 2), full_output=True
        )
        assert info.status == 0
        assert np.abs(restored - image)[mask].max() < 1


def test_voxels_that_are_cut_off_are_told():
    volume = np.arange(1000.0).reshape(10, 10, 10)
    shell = np.zeros((10, 10, 10), bool)
    shell[2:7, 2:7, 2:7] = True
    inside = np.zeros_like(shell)
    inside[3:6, 3:6, 3:6] = True
    shell &= ~inside
    mask = inside.copy()
    mask[9, 9, 4] = True
    for loss in LOSSES:
        restored, info = restore(volume, mask, ignore=shell, loss=loss, full_output=True)
        assert (info.success, info.status) == (False, 1)
        assert "cut off from all known ones" in info.message
        assert abs(restored[9, 9, 4] - 994) < 40
        assert_array_equal(restored[inside], restore(volume, mask, ignore=shell, loss=loss, max_iter=0)[inside])


def value_of(parts):
    """How many parts something was done in, and what came of it."""
    count = 0
    while True:
        try:
            next(parts)
        except StopIteration as end:
            return count, end.value
        count += 1


def test_too_little_known_on_one_side_is_told():
    volume, _, wall = two_sides()
    left, _ = sides()
    mask = left & ~wall
    three = [(3, 4, 5), (3, 9, 5), (8, 4, 5)]
    for known, enough in ((three, False), ([*three, (3, 4, 9)], True)):
        free = mask.copy()
        for place in known:
            free[place] = False
        left_out = LeftOut(free[np.newaxis].view(np.uint8), wall)
        parts, determined = value_of(left_out.surely_determined(left_out.free[0]))
        assert determined == enough
        assert parts == 8  # time that is up is heeded between them
        _, info = restore(np.where(free, 0, volume), free, ignore=wall, loss="biharmonic", full_output=True)
        assert info.status == (0 if enough else 1)
        assert enough or "one of many minima: too little is known on their side" in info.message


def test_a_corridor_of_one_voxel_is_probed():
    # What is known at one end of it goes on around no corner.
    present = np.zeros((6, 7, 8), bool)
    present[:3, :3, :3] = present[1, 1, 3:6] = True
    corner = present.copy()
    corner[1, 2:5, 5] = True
    for left, enough in ((present, True), (corner, False)):
        free = np.zeros(left.shape, bool)
        free[1, 1:, 3:] = left[1, 1:, 3:]
        volume = np.add.outer(np.add.outer(np.arange(6.0), np.arange(7.0)), np.arange(8.0))
        settings = {"loss": "biharmonic", "tol": 1e-4, "bounds": (None, None)}
        restored, info = restore(volume, free, ignore=~left, full_output=True, **settings)
        assert info.status == (0 if enough else 1)
        assert np.abs(restored - volume)[1, 1, 3:6].max() < 1e-2


def test_a_plan_looks_once_for_what_is_cut_off(monkeypatch):
    made, make = [], LeftOut.__init__
    monkeypatch.setattr(LeftOut, "__init__", lambda self, *given: made.append(given) or make(self, *given))
    volume, mask, wall = two_sides()
    for image, corrupt, ignored, losses in (
        (volume, mask, wall, LOSSES),
        (volume[4], mask[4], wall[4], LOSSES[:-1]),  # "edge" leaves pixels out by another solver
    ):
        for loss in losses:
            plan = graddesc.Plan(corrupt, ignore=ignored, loss=loss)
            made.clear()
            found = [plan(image + k) for k in range(2)]
            assert not made
            for k, restored in enumerate(found):
                assert_array_equal(restored, restore(image + k, corrupt, ignore=ignored, loss=loss))


def test_masks_that_are_found_leave_out_what_is_ignored():
    volume, mask, wall = two_sides()
    gaps = np.where(mask | wall, np.nan, volume)
    restored = restore(gaps, ignore=wall)
    assert np.isnan(restored[wall]).all()
    assert_array_equal(restored[~wall], restore(volume, mask, ignore=wall)[~wall])
    for nothing in (np.zeros(SHAPE, bool), np.ma.nomask):
        assert_array_equal(restore(volume, mask, ignore=nothing), restore(volume, mask))
    plan = graddesc.Plan(mask, ignore=wall, loss="tv")
    assert_array_equal(plan(volume), restore(volume, mask, ignore=wall, loss="tv"))
