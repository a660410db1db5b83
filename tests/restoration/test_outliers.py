"""Known pixels far out of the range of all others: what is near them alone sees them."""

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_array_equal
from scenes import photograph

import graddesc
from graddesc import restore
from graddesc.restoration import outliers

SIDE = 96
SCENE = photograph(SIDE).astype(float)
ROWS, COLS = np.mgrid[:SIDE, :SIDE]
LOW, HIGH = np.quantile(SCENE, [0.005, 0.995])
UNIT = 1.5 * (HIGH - LOW)


def samples(step):
    mask = np.ones((SIDE, SIDE), bool)
    mask[::step, ::step] = False
    return mask


def at_random(missing):
    return np.random.default_rng(0).random((SIDE, SIDE)) < missing


def lines():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, ::7] = mask[40:60, 20:70] = True
    return mask


def one_of(mask, near=(48, 48)):
    """The known pixel nearest to a place."""
    known = np.argwhere(~mask)
    return tuple(known[np.argmin(np.abs(known - near).sum(axis=1))])


@each("height", [40, 300, 1e6])
@each("mask", [samples(4), samples(8), samples(16), at_random(0.5), at_random(0.9), lines()])
def test_what_is_far_sees_no_outlier(mask, height):
    where = one_of(mask)
    without = mask.copy()
    without[where] = True
    expected = restore(np.where(without, np.nan, SCENE), without, max_iter=300)
    image = np.where(mask, np.nan, SCENE)
    image[where] = SCENE[where] + height * UNIT
    restored = restore(image, mask, max_iter=600)
    away = np.hypot(ROWS - where[0], COLS - where[1])
    far = mask & (away > 17)
    assert np.sqrt(np.mean((restored - expected)[far] ** 2)) < 0.02 * UNIT  # one sample less changes the unit, too
    assert_array_equal(restored[~mask], image[~mask])
    assert restored.max() <= image[where]
    assert restored[mask & (away < 2)].max(initial=np.inf if not (mask & (away < 2)).any() else 0) > HIGH + 5 * UNIT


def test_what_is_near_sees_the_outlier_as_it_is():
    """A star: a hole of its flank, with all around it known, is filled as by second differences."""
    star = SCENE + 5e4 * UNIT * np.exp(-(((ROWS - 40) / 9) ** 2) - ((COLS - 50) / 9) ** 2)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[38:42, 54:57] = mask[70:72, 10:80] = True
    error = np.abs(restore(np.where(mask, np.nan, star), mask) - star)
    assert (error[mask & (ROWS < 60)] / star[mask & (ROWS < 60)]).max() < 0.02
    assert error[mask & (ROWS > 60)].max() < UNIT


def test_holes_within_what_stands_out_are_filled_with_it():
    """A disc of which the inside is farther from its rim than any pixel is that counts as near."""
    away = np.hypot(ROWS - 48, COLS - 48)
    ring = (away > 24) & (away < 25)  # less than one in two hundred is left as it is
    image = np.where(ring & (ROWS % 6 == 0), 1000 * UNIT, SCENE)
    mask = (away <= 24) | (ring & (ROWS % 6 != 0))
    restored = restore(np.where(mask, np.nan, image), mask)
    assert restored[48, 48] > 50 * UNIT


@each("dtype", [np.uint16, np.float32, np.float64])
@each("channels", [1, 3])
def test_images_without_outliers_keep_their_bits(dtype, channels, monkeypatch):
    mask = at_random(0.8)
    image = np.stack([(SCENE - 60 * k).clip(0) for k in range(channels)], axis=-1).astype(dtype)
    image[one_of(mask)] = HIGH + 20 * UNIT
    arguments = (image, mask) if channels > 1 else (image[..., 0], mask)
    settings = {"channel_axis": -1} if channels > 1 else {}
    restored = restore(*arguments, **settings)
    monkeypatch.setattr(outliers, "_OUTLYING", np.inf)
    assert_array_equal(restored, restore(*arguments, **settings))


def test_a_dark_frame_of_integers_has_outliers():
    """The range of a dtype says nothing of outliers; pixels do."""
    mask = samples(8)
    frame = np.rint(100 + SCENE / 20).astype(np.uint16)
    expected = restore(frame, mask)
    frame[one_of(mask)] = 60000
    restored, info = restore(frame, mask, full_output=True)
    far = mask & (np.hypot(ROWS - 48, COLS - 48) > 40)
    assert np.abs(restored[far].astype(int) - expected[far]).max() <= 3
    assert restored[47, 48] > 5000
    assert info.status == 0


@each("masks", ["one", "own"])
def test_channels(masks):
    """An outlier in one channel is one of the pixel where channels share a mask."""
    mask = np.stack([at_random(0.7)] * 3) if masks == "one" else np.stack([samples(4), at_random(0.7), lines()])
    image = np.stack([SCENE, 255 - SCENE, 0.5 * SCENE])
    where = one_of(mask[1])
    image[1, *where] = 1e3 * UNIT
    restored, info = restore(image, mask if masks == "own" else mask[0], channel_axis=0, full_output=True)
    assert info.status == 0
    far = np.hypot(ROWS - where[0], COLS - where[1]) > 40
    assert np.abs(restored - image)[:, far].max() < UNIT
    assert_array_equal(restored[~mask], image[~mask])


def test_a_run_with_outliers_is_watched_and_limited():
    mask = samples(8)
    image = np.where(mask, np.nan, SCENE)
    image[one_of(mask)] = 400 * UNIT
    seen = []
    restored, info = restore(image, mask, callback=lambda told: seen.append((told.nit, told.fun)), full_output=True)
    assert [nit for nit, _ in seen] == list(range(1, info.nit + 1))
    assert_array_equal(info.history, [fun for _, fun in seen])
    assert info.fun == info.history[-1]
    assert_array_equal(restored, restore(image, mask))
    for limits, status in [
        ({"max_iter": 0}, 1),
        ({"max_iter": 3}, 1),
        ({"max_iter": info.nit - 2}, 1),
        ({"max_time": 0.0}, 5),
    ]:
        stopped, told = restore(image, mask, full_output=True, **limits)
        assert told.status == status
        assert_array_equal(stopped[~mask], image[~mask])
        assert np.isfinite(stopped).all()
    begun = restore(image, mask, init=np.where(mask, LOW, image), max_iter=2)
    assert np.isfinite(begun).all()
    told = restore(image, mask, full_output=True, confidence=True)[1]
    assert np.isfinite(told.confidence).all()


def test_a_plan_sees_the_outliers_of_each_image():
    mask = at_random(0.6)
    plan = graddesc.Plan(mask)
    for height in (0, 500, 0, 300):
        image = SCENE.copy()
        image[one_of(mask)] += height * UNIT
        assert_array_equal(plan(image), restore(image, mask))


def test_texture_has_no_streaks():
    mask = samples(4)
    image = np.where(mask, np.nan, SCENE)
    image[one_of(mask)] = 400 * UNIT
    far = mask & (np.hypot(ROWS - 48, COLS - 48) > 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outliers, "_OUTLYING", np.inf)
        before = np.sqrt(np.mean((restore(image, mask, loss="texture") - SCENE)[far] ** 2))
    after = np.sqrt(np.mean((restore(image, mask, loss="texture") - SCENE)[far] ** 2))
    assert after < 40
    assert after < before / 5


def test_where_few_pixels_are_corrupt_windows_see_all_there_is(monkeypatch):
    """A field of stars: what is known around a pixel bounds what it can be."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[[10, 50, 51, 80], [20, 70, 70, 40]] = True
    image = SCENE.copy()
    image[::9, ::9] += 500 * UNIT
    restored = restore(image, mask)
    monkeypatch.setattr(outliers, "_outlying", lambda problem: pytest.fail("nobody asks for outliers"))
    assert_array_equal(restore(image, mask), restored)


def test_outliers_with_nothing_corrupt_near_them():
    mask = at_random(0.9)
    mask[:, :60] = False
    image = SCENE.copy()
    image[48, 20] = 1e4 * UNIT
    restored, info = restore(image, mask, full_output=True)
    assert info.status == 0
    assert np.abs(restored - restore(SCENE, mask)).max(where=mask, initial=0) < 0.2 * UNIT
    assert_array_equal(restored[~mask], image[~mask])
