"""Images restored tile by tile: what may differ from one solve of the whole, and what may not."""

import functools
import itertools

import numpy as np
import pytest
from cases import each
from scenes import at_random, disc, photograph
from scipy import ndimage

import graddesc
from graddesc import masks, restore, tiling
from graddesc.restoration.tiling import cuts, depth_for, tiles_of, widest_hole

SIDE = 320
PHOTOGRAPH = photograph(SIDE)
HALF = at_random(SIDE, 0.5)


def rms(a, b, where):
    return float(np.sqrt(np.mean((a[where].astype(float) - b[where]) ** 2)))


def neighbours(image):
    """The root mean square difference of neighbours."""
    return float(np.sqrt((np.diff(image, axis=0) ** 2).mean()))


def test_tiles_cover_the_image_once_and_read_a_halo_inside_it():
    for shape in [(64, 64), (1, 500), (500, 1), (127, 128), (300, 201)]:
        for tile, depth in [(64, 8), (128, 32)]:
            seen = np.zeros(shape, int)
            for each_tile in tiles_of(shape, tile, depth):
                seen[each_tile.inner] += 1
                for inner, outer, side in zip(each_tile.inner, each_tile.outer, shape, strict=True):
                    assert outer.start == max(inner.start - depth, 0)
                    assert outer.stop == min(inner.stop + depth, side)
                    assert min(tile, side) <= inner.stop - inner.start < 2 * tile
                assert np.ones(shape)[each_tile.outer][each_tile.within].shape == np.ones(shape)[each_tile.inner].shape
            assert (seen == 1).all()
    assert cuts(1000, 256) == [0, 256, 512, 1000]
    assert cuts(100, 256) == [0, 100]


def test_the_widest_hole_and_the_overlap_that_it_takes():
    assert widest_hole(np.zeros((9, 9), bool)) == 0
    assert widest_hole(np.eye(9, dtype=bool)) == 1
    hole = np.zeros((90, 90), bool)
    hole[10:51, 20:80] = True
    assert widest_hole(hole) == 41
    assert [depth_for(hole, 1024) for hole in (0, 16, 17, 100, 500)] == [32, 32, 33, 116, 256]
    assert [depth_for(hole, 128, volume=True) for hole in (0, 8, 9, 100)] == [16, 16, 17, 32]
    assert widest_hole(np.pad(np.ones((3, 5, 4), bool), 2)) == 3


@each("loss", ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"])
def test_tiles_are_as_good_as_the_whole_where_pixels_are_missing_at_random(loss):
    image = np.where(HALF, 0, PHOTOGRAPH).astype(np.float32)
    whole = restore(image, HALF, loss=loss)
    tiles = tiling.restore(image, HALF, loss=loss, tile=128)
    np.testing.assert_array_equal(tiles[~HALF], image[~HALF])
    assert rms(tiles, PHOTOGRAPH, HALF) <= 1.003 * rms(whole, PHOTOGRAPH, HALF)
    tol = {"biharmonic": 0.02, "hessian-tv": 0.05}.get(loss, 0.25)
    assert rms(tiles, whole, HALF) <= tol * neighbours(PHOTOGRAPH)


def test_voids_wider_than_the_halo_have_no_seams():
    i, j = np.mgrid[:384, :384] / 384
    field = 100 + 80 * np.sin(5 * i + 1) * np.cos(4 * j) + 40 * j
    hole = disc(384, 170)
    image = np.where(hole, 0, field).astype(np.float32)
    whole = restore(image, hole, loss="harmonic", tol=0.02)
    tiles = tiling.restore(image, hole, loss="harmonic", tile=128, depth=32)
    blind = tiling.restore(np.where(hole, np.nan, field), loss="harmonic", tile=128, depth=32)
    np.testing.assert_allclose(blind, tiles, atol=1e-3)
    error = tiles - whole
    inside = hole[1:] & hole[:-1]
    steps = np.abs(np.diff(error, axis=0))
    at_seams = np.zeros_like(inside)
    at_seams[127::128] = True
    # Without what the cells tell, each tile would end in slopes of its own: steps of 3 and more.
    assert steps[at_seams & inside].max() < 1.5
    assert rms(tiles, whole, hole) < 0.02 * np.ptp(field)


def test_a_tile_without_a_known_pixel_is_filled_from_afar():
    i, j = np.mgrid[:448, :448]
    field = (i + 2.0 * j) / 4
    hole = np.zeros(field.shape, bool)
    hole[60:400, 60:400] = True
    for loss in ("harmonic", "biharmonic", "edge"):
        filled = tiling.restore(np.where(hole, np.nan, field), loss=loss, tile=64, depth=32)
        assert rms(filled, field, hole) < 0.02 * np.ptp(field), loss


@each("dtype", ["u1", "u2", "i2", "i4", "f2", "f4", "f8", ">f4"])
def test_every_dtype_and_axis_of_channels(dtype):
    scale = 100 if np.dtype(dtype).itemsize > 1 else 1
    rgb = np.stack([PHOTOGRAPH, 255 - PHOTOGRAPH, PHOTOGRAPH / 2])[:, :150, :140] * scale
    rgb = rgb.astype(dtype)
    mask = HALF[:150, :140]
    first = tiling.restore(rgb, mask, channel_axis=0, tile=64)
    assert first.dtype == rgb.dtype
    last = tiling.restore(np.moveaxis(rgb, 0, -1), mask, channel_axis=-1, tile=64)
    np.testing.assert_array_equal(np.moveaxis(last, -1, 0), first)
    own = np.stack([mask, mask[::-1], mask[:, ::-1]])
    apart = tiling.restore(rgb, own, channel_axis=0, tile=64, loss="harmonic")
    np.testing.assert_array_equal(apart[~own], rgb[~own])
    for channel, flags in enumerate(own):
        alone = restore(rgb[channel], flags, loss="harmonic")
        assert rms(apart[channel], alone, flags) < 0.1 * neighbours(rgb[channel].astype(float))


def test_masks_of_every_kind_say_the_same():
    image = np.where(HALF, -9999, PHOTOGRAPH).astype(np.float32)
    wanted = tiling.restore(image, HALF, tile=128)
    for given in [
        {"mask": HALF.astype(np.uint8)},
        {"known": ~HALF},
        {"mask": functools.partial(masks.detect, nodata=-9999)},
        {"mask": HALF.tolist()},
    ]:
        np.testing.assert_array_equal(tiling.restore(image, **given, tile=128), wanted)
    rgb = np.stack([image, image], axis=-1)
    by_pixel = tiling.restore(rgb, lambda part: (part == -9999).all(axis=-1), channel_axis=-1, tile=128)
    np.testing.assert_array_equal(by_pixel, tiling.restore(rgb, HALF, channel_axis=-1, tile=128))
    for given in ({}, {"mask": lambda part: part == -9999}):
        with pytest.raises(ValueError, match="out must be another array than image"):
            tiling.restore(image, **given, out=image[:])
    with_nan = np.where(HALF, np.nan, image)
    np.testing.assert_array_equal(tiling.restore(with_nan, tile=128), wanted)


def volume_with_gaps(shape, missing=0.6):
    planes, rows, cols = np.mgrid[tuple(slice(side) for side in shape)]
    volume = np.sin(planes / 5) + np.cos(rows / 6) * np.sin(cols / 4) + (planes + rows + cols > sum(shape) / 2)
    return volume.astype(np.float32), np.random.default_rng(3).random(shape) < missing


@each("loss", ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"])
def test_volumes_in_tiles_are_as_good_as_the_whole(loss):
    volume, mask = volume_with_gaps((24, 64, 34))
    damaged = np.where(mask, np.nan, volume)
    whole = restore(damaged, mask, loss=loss)
    tiles, info = tiling.restore(damaged, loss=loss, tile=32, depth=8, full_output=True)
    assert (info.tiles, info.status) == (2, 0)
    np.testing.assert_array_equal(tiles[~mask], damaged[~mask])
    assert rms(tiles, volume, mask) < 1.01 * rms(whole, volume, mask)
    assert rms(tiles, whole, mask) < 0.1 * neighbours(volume)


def test_volumes_in_tiles_with_walls_noise_channels_and_distances():
    volume, mask = volume_with_gaps((36, 64, 34))
    wall = np.zeros(volume.shape, bool)
    wall[:, 31] = True
    sides = np.where(np.arange(64)[:, np.newaxis] < 31, volume, volume + 50)
    damaged = np.where(mask | wall, np.nan, sides)
    restored = tiling.restore(damaged, mask & ~wall, ignore=wall, tile=32, depth=8)
    assert np.isnan(restored[wall]).all()
    assert np.abs(restored - sides)[mask & ~wall].max() < 2
    rough = volume + 0.2 * np.random.default_rng(4).standard_normal(volume.shape).astype(np.float32)
    known = ~mask
    smooth, whole = tiling.restore(rough, mask, noise=0.2, tile=32, depth=8), restore(rough, mask, noise=0.2)
    assert rms(smooth, volume, known) < 0.7 * rms(rough, volume, known)
    assert rms(smooth, whole, known) < 0.05
    colour = np.stack([volume, 1 - volume / 2], axis=-1)
    settings = {"channel_axis": -1, "spacing": (2, 1, 1), "loss": "biharmonic"}
    tiles = tiling.restore(colour, mask, tile=32, depth=8, **settings)
    assert rms(tiles, restore(colour, mask, **settings), mask) < 0.02
    apart = np.stack([mask, mask[::-1]], axis=-1)
    tiles = tiling.restore(colour, apart, tile=32, depth=8, **settings)
    assert rms(tiles, restore(colour, apart, **settings), apart) < 0.02


def test_a_void_of_a_volume_that_is_wider_than_the_halo():
    planes, rows, cols = np.mgrid[:40, :70, :72]
    volume = (0.3 * planes + 0.2 * rows + 0.1 * cols + 20 * np.sin(cols / 30)).astype(np.float32)
    void = np.zeros(volume.shape, bool)
    void[4:36, 6:64, 6:66] = True
    restored = tiling.restore(np.where(void, 0, volume), void, tile=32, depth=8, loss="biharmonic")
    whole = restore(np.where(void, 0, volume), void, loss="biharmonic")
    assert np.abs(restored - whole).max() < 3
    blind = void.copy()
    blind[:36, :60, :] = True
    assert np.isfinite(tiling.restore(np.where(blind, 0, volume), blind, tile=32, depth=8)).all()
    with pytest.raises(
        ValueError, match="image must be finite where it is known, got nan at plane 38, row 2, column 5"
    ):
        tiling.restore(
            np.where(np.arange(volume.size).reshape(volume.shape) == (38 * 70 + 2) * 72 + 5, np.nan, volume), void
        )


def test_walls_in_voids_wider_than_the_halo_do_not_leak():
    for width in (1, 4, 40):
        image, wall = np.zeros((192, 384), np.float32), np.zeros((192, 384), bool)
        wall[:, 190 : 190 + width] = True
        image[:, 190:] = 50
        void = np.zeros(wall.shape, bool)
        void[20:170, 90:300] = True
        restored = tiling.restore(image, void & ~wall, ignore=wall, loss="harmonic", tile=64, depth=32)
        np.testing.assert_allclose(restored[:, :190], 0, atol=1e-3)
        np.testing.assert_allclose(restored[:, 190 + width :], 50, atol=1e-3)


def test_a_channel_of_which_a_tile_knows_nothing_ends():
    rng = np.random.default_rng(0)
    image, ignored = rng.random((2, 192, 192)).astype(np.float32), np.ones((192, 192), bool)
    ignored[64:128, 64:128] = ignored[:4, :4] = False
    mask = np.zeros(image.shape, bool)
    mask[0, 64:128, 64:128] = mask[1, 70:90, 70:90] = True
    restored = tiling.restore(image, mask, ignore=ignored, channel_axis=0, tile=64, depth=8, loss="harmonic")
    np.testing.assert_array_equal(restored[~mask], image[~mask])
    assert np.isfinite(restored).all()


def test_ignored_pixels_keep_their_values_and_lead_nothing_across():
    image = np.zeros((200, 200), np.float32)
    image[:, 100:] = 50
    wall = np.zeros(image.shape, bool)
    wall[:, 99:101] = True
    mask = at_random(200, 0.02) & ~wall
    image[mask], image[wall] = 7, np.nan
    restored = tiling.restore(image, mask, ignore=wall, loss="harmonic", tile=64)
    assert np.isnan(restored[wall]).all()
    np.testing.assert_allclose(restored[:, :99], 0, atol=1e-3)
    np.testing.assert_allclose(restored[:, 101:], 50, atol=1e-3)


def test_memmaps_in_and_out_and_the_image_itself(tmp_path):
    image = np.where(HALF, 0, PHOTOGRAPH).astype(np.uint8)
    wanted = tiling.restore(image, HALF, tile=128)
    image.tofile(tmp_path / "in.raw")
    source = np.memmap(tmp_path / "in.raw", np.uint8, "r", shape=image.shape)
    out = np.memmap(tmp_path / "out.raw", np.uint8, "w+", shape=image.shape)
    assert tiling.restore(source, HALF, tile=128, out=out) is out
    out.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.raw", np.uint8).reshape(image.shape), wanted)
    np.testing.assert_array_equal(source, image)
    np.testing.assert_array_equal(tiling.restore(image, HALF, tile=128, out=image), wanted)


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path):
    image = np.where(HALF, 0, PHOTOGRAPH).astype(np.float32)
    wanted = tiling.restore(image, HALF, tile=128)
    out, journal = np.zeros_like(image), tmp_path / "journal"

    def killed(done, tiles):
        assert tiles == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiling.restore(image, HALF, tile=128, out=out, journal=journal, progress=killed)
    assert (out != 0).any()
    assert (out[160:] == 0).all()
    out[0, 0] = -1  # which a tile that is restored anew would overwrite
    tiling.restore(image, HALF, tile=128, out=out, journal=journal)
    assert out[0, 0] == -1
    out[0, 0] = wanted[0, 0]
    np.testing.assert_array_equal(out, wanted)
    with pytest.raises(ValueError, match="journal must be of this run"):
        tiling.restore(image, HALF, tile=64, out=out, journal=journal)


def test_how_tiles_ended_is_told_by_a_run_that_goes_on(tmp_path):
    image = np.where(HALF, 0, PHOTOGRAPH).astype(np.float32)
    given = {"tile": 128, "out": np.zeros_like(image), "journal": tmp_path, "max_iter": 2, "full_output": True}
    _, first = tiling.restore(image, HALF, **given)
    _, second = tiling.restore(image, HALF, **given)
    assert first.status == second.status == 1
    assert first.message == second.message
    with pytest.raises(ValueError, match="journal must be of this run"):
        tiling.restore(image + 1, HALF, **given)
    with pytest.raises(ValueError, match="journal must be of this run"):
        tiling.restore(image, HALF, bounds=(0, 200), **given)
    (tmp_path / "run.txt").unlink()
    with pytest.raises(ValueError, match=r"journal must be of this run .*, got one of an unknown run"):
        tiling.restore(image, HALF, **given)
    with pytest.raises(ValueError, match="out must be given with journal"):
        tiling.restore(image, HALF, journal=tmp_path)


def test_tiles_for_which_there_was_no_time_are_done_by_the_next_run(tmp_path):
    image = np.where(HALF, 0, PHOTOGRAPH).astype(np.float32)
    given = {"tile": 128, "out": np.zeros_like(image), "journal": tmp_path, "full_output": True}
    _, hurried = tiling.restore(image, HALF, max_time=0, **given)
    assert (hurried.status, hurried.success) == (5, False)
    restored, info = tiling.restore(image, HALF, **given)
    assert info.success
    np.testing.assert_array_equal(restored, tiling.restore(image, HALF, tile=128))


def test_threads_and_time_change_no_known_pixel():
    image = np.where(HALF, 0, PHOTOGRAPH).astype(np.float32)
    one, two = (tiling.restore(image, HALF, tile=128, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    hurried = tiling.restore(image, HALF, tile=128, max_time=0)
    np.testing.assert_array_equal(hurried[~HALF], image[~HALF])
    assert np.isfinite(hurried).all()
    assert rms(hurried, PHOTOGRAPH, HALF) < PHOTOGRAPH.std()


def test_large_offsets_and_the_greatest_integers():
    i, j = np.mgrid[:256, :256] / 256
    field, hole = np.sin(5 * i) * np.cos(4 * j), disc(256, 150)
    plain = tiling.restore(np.where(hole, np.nan, field), loss="harmonic", tile=64, depth=32)
    moved = tiling.restore(np.where(hole, np.nan, field + 1e8), loss="harmonic", tile=64, depth=32) - 1e8
    np.testing.assert_allclose(moved, plain, atol=1e-5)
    for dtype in ("i8", "u8"):
        top = np.full(hole.shape, np.iinfo(dtype).max, dtype)
        restored = tiling.restore(top, hole, loss="harmonic", tile=64, depth=32)
        np.testing.assert_allclose(restored.astype(float), float(np.iinfo(dtype).max), rtol=1e-15)


def test_a_few_hot_pixels_change_nothing_far_away():
    clean = np.where(HALF, np.nan, PHOTOGRAPH)
    hot = clean.copy()
    places = np.argwhere(~HALF)[::1000]
    hot[tuple(places.T)] = 1e5
    far = HALF & (ndimage.distance_transform_edt(hot != 1e5) > 12)
    assert far.any()
    plain = tiling.restore(clean, tile=64)
    assert rms(tiling.restore(hot, tile=64), plain, far) < 0.1 * rms(plain, PHOTOGRAPH, far)


def test_units_are_those_of_the_whole():
    """A tile that is flat, or brighter than all others, is restored in the units of the whole."""
    image = PHOTOGRAPH.copy()
    image[:128, :128] = 90
    for a, b in itertools.product([1e-4, 1.0, 1e5], [0.0, 1e3]):
        scaled = np.where(HALF, np.nan, a * image + b)
        restored = (tiling.restore(scaled, tile=128) - b) / a
        plain = tiling.restore(np.where(HALF, np.nan, image), tile=128)
        assert rms(restored, plain, HALF) < 0.01, (a, b)


@each(
    "changes, error, message",
    [
        ({"loss": "line"}, ValueError, "loss must be one of short reach"),
        ({"loss": lambda x: (0.0, x)}, ValueError, "loss must be one of short reach"),
        ({"loss": "nosuch"}, ValueError, "loss must be one of"),
        ({"tile": 63}, ValueError, "tile must be an integer of at least 64, got 63"),
        ({"tile": 128.0}, TypeError, "tile must be an integer of at least 64"),
        ({"depth": 1}, ValueError, "depth must be an integer of at least 2, got 1"),
        ({"coarse": 1}, ValueError, "coarse must be an integer of at least 2, got 1"),
        ({"coarse": 65}, ValueError, "coarse must be an integer from 2 to 64, got 65"),
        ({"threads": 0}, ValueError, "threads must be a positive integer, got 0"),
        ({"tol": -1}, ValueError, "tol must be a non-negative finite number, got -1"),
        ({"known": ~HALF}, ValueError, "mask and known must not both be given"),
        ({"mask": None}, ValueError, "mask must be given, or known in its place, for an image of uint8"),
        ({"mask": HALF[1:]}, ValueError, r"mask must have shape \(320, 320\), got \(319, 320\)"),
        ({"mask": lambda pixels: pixels[0] == 0}, ValueError, "mask must return flags of shape"),
        ({"mask": np.ones_like(HALF)}, ValueError, "mask must leave at least one pixel known, got none"),
        ({"ignore": np.ones((2, 2))}, ValueError, r"ignore must have shape \(320, 320\), got \(2, 2\)"),
        ({"channel_axis": 0}, ValueError, r"image must be 3-D or 4-D with channel_axis, got shape \(320, 320\)"),
        ({"out": np.empty((3, 3))}, ValueError, r"out must have shape \(320, 320\) and dtype uint8"),
        ({"bounds": (3, 300)}, ValueError, "bounds must lie in the range of the image's dtype, 0 to 255"),
        ({"image": HALF}, TypeError, "image must be of integers or of floats of at most 64 bits, got bool"),
        ({"image": np.zeros((0, 3), np.uint8)}, ValueError, r"image must be 2-D or 3-D, got shape \(0, 3\)"),
        ({"out": [1]}, TypeError, "out must be an array that takes slices, got list"),
        ({"image": np.ma.array(PHOTOGRAPH, mask=HALF)}, TypeError, "image must not be a masked array"),
        ({"progress": 3}, TypeError, "progress must be callable, got 3"),
    ],
)
def test_wrong_arguments(changes, error, message):
    given = {"image": np.where(HALF, 0, PHOTOGRAPH).astype(np.uint8), "mask": HALF, **changes}
    with pytest.raises(error, match=message):
        tiling.restore(given.pop("image"), given.pop("mask"), **given)


def test_known_pixels_that_are_not_finite_are_told_by_their_place():
    image = PHOTOGRAPH.copy()
    image[200, 300] = np.inf
    with pytest.raises(ValueError, match="image must be finite where it is known, got inf at row 200, column 300"):
        tiling.restore(image, HALF & (image < 1e9), tile=64)
    with pytest.raises(ValueError, match="no pixel is NaN: give mask="):
        tiling.restore(PHOTOGRAPH, tile=64)


def test_nothing_corrupt_is_a_copy():
    image = PHOTOGRAPH.astype(np.uint8)
    copy = tiling.restore(image, np.zeros_like(HALF), tile=64)
    np.testing.assert_array_equal(copy, image)
    assert not np.shares_memory(copy, image)
    assert graddesc.tiling is tiling
