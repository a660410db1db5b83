"""Lazy arrays: the same tiles and frames by Dask, on threads and on a cluster of processes."""

import os
import subprocess
import sys
import textwrap

import dask
import dask.array as da
import numpy as np
import pytest
import xarray
from cases import each
from scenes import at_random, photograph

import graddesc.dask
from graddesc import restore

SIDE = 320
PHOTOGRAPH = photograph(SIDE)
HALF = at_random(SIDE, 0.5)
IMAGE = np.where(HALF, 0, PHOTOGRAPH).astype(np.uint8)


@pytest.fixture(autouse=True)
def in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def rms(a, b, where):
    return float(np.sqrt(np.mean((a[where].astype(float) - b[where]) ** 2)))


def lazy(array, chunks):
    return da.from_array(array, chunks=chunks)


def test_nothing_is_computed_before_it_is_asked_for():
    computed = []

    def block():
        computed.append(1)
        return IMAGE

    image = da.from_delayed(dask.delayed(block)(), IMAGE.shape, IMAGE.dtype).rechunk(160)
    restored = graddesc.dask.restore(image, HALF)
    assert not computed
    assert (restored.shape, restored.dtype, restored.chunks) == (image.shape, image.dtype, image.chunks)
    values = restored.compute()
    assert computed
    np.testing.assert_array_equal(values[~HALF], IMAGE[~HALF])
    assert rms(values, PHOTOGRAPH, HALF) <= 1.003 * rms(restore(IMAGE, HALF), PHOTOGRAPH, HALF)


def test_three_numbers_of_spacing_tell_a_volume():
    planes, rows, cols = np.mgrid[:40, :64, :68]
    volume = (np.sin(planes / 5) + np.cos(rows / 6) * np.sin(cols / 4)).astype(np.float32)
    mask = np.random.default_rng(3).random(volume.shape) < 0.6
    damaged = np.where(mask, np.nan, volume)
    for spacing in ((1, 1, 1), (2, 1, 1)):
        tiles = graddesc.tiling.restore(damaged, mask, spacing=spacing, tile=32, depth=8)
        chunks = ((40,), (32, 32), (32, 36))
        restored = graddesc.dask.restore(lazy(damaged, chunks), mask, spacing=spacing, depth=8)
        assert restored.chunks == chunks
        restored = restored.compute()
        np.testing.assert_array_equal(restored[~mask], volume[~mask])
        assert rms(restored, tiles, mask) < 0.003
    frames = np.stack([damaged[:8, :9, :10], damaged[8:16, :9, :10]])
    restored = graddesc.dask.restore(lazy(frames, (1, 8, 9, 10)), spacing=(2, 1, 1), loss="tv").compute()
    np.testing.assert_array_equal(restored[1], restore(frames[1], spacing=(2, 1, 1), loss="tv"))
    noisy = volume + 0.1 * np.random.default_rng(5).standard_normal(volume.shape)
    given = {"noise": lazy(np.full(volume.shape, 0.1), 32), "spacing": (1, 1, 1), "depth": 8}
    restored = graddesc.dask.restore(lazy(noisy, 32), lazy(mask, 32), **given).compute()
    assert rms(restored, volume, ~mask) < 0.07
    with pytest.raises(ValueError, match="image must be 3-D, or 4-D with channel_axis"):
        graddesc.dask.restore(lazy(damaged[0], 64), spacing=(1, 1, 1))
    with pytest.raises(ValueError, match="spacing must be the same along both axes of an image in tiles"):
        graddesc.dask.restore(lazy(damaged[0], 64), spacing=(1, 2))


def test_the_byte_order_stays():
    image, mask = IMAGE[:96, :80].astype(">u2"), HALF[:96, :80]
    for given, flags, chunks in (
        (image, mask, 48),
        (image, mask, 96),
        (np.stack([image] * 2).astype(">u2"), mask, (1, 96, 80)),
    ):
        restored = graddesc.dask.restore(lazy(given, chunks), flags, loss="harmonic")
        computed = restored.compute()
        assert restored.dtype == computed.dtype == np.dtype(">u2")
        native = graddesc.dask.restore(lazy(given.astype("u2"), chunks), flags, loss="harmonic").compute()
        assert native.dtype == np.uint16
        np.testing.assert_array_equal(computed, native)


def test_noise_that_turns_out_to_be_none_has_the_tolerance_of_none():
    image, mask = PHOTOGRAPH[:160, :160] * 255, HALF[:160, :160]
    exact = graddesc.dask.restore(lazy(image, 80), mask, depth=16).compute()
    for deviations in (np.zeros(image.shape), np.where(mask, np.inf, 0)):
        for noise in (deviations, lazy(deviations, 80), deviations.tolist()):
            restored = graddesc.dask.restore(lazy(image, 80), mask, depth=16, noise=noise).compute()
            np.testing.assert_array_equal(restored, exact)


@each("loss", ["harmonic", "edge"])
@pytest.mark.once
def test_exact_has_the_same_bits_for_all_chunks(loss, monkeypatch):
    monkeypatch.setattr(graddesc.dask, "TILE", 96)
    hole = HALF.copy()
    hole[40:120, 100:260] = True
    image = np.where(hole, np.nan, PHOTOGRAPH)
    every = (None, hole, lazy(hole, 50))
    first = None
    for k, chunks in enumerate((64, 96, 130, SIDE, (17, 300), ((1, 319), (200, 120)))):
        for flags in every if chunks == 130 else every[k % 3 : k % 3 + 1]:
            # The depth of a mask that is in memory is known; it is the same here.
            restored = graddesc.dask.restore(lazy(image, chunks), flags, loss=loss, exact=True, depth=32).compute()
            first = restored if first is None else first
            np.testing.assert_array_equal(restored, first)
    apart = graddesc.dask.restore(lazy(image, 160), hole, loss=loss, depth=32).compute()
    assert (apart != first).any()  # or nothing has been tried


class Source:
    """An array that tells when it is read."""

    def __init__(self, values, log):
        self.values, self.log = values, log
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, where):
        self.log.append((self.dtype.char, *(side.start for side in where)))
        return self.values[where]


def test_what_is_stored_is_read_for_the_survey_and_again_for_the_tiles():
    """So nothing of the image is kept from the one to the other, and no tile waits for the survey in memory."""
    log = []
    image, mask = (da.from_array(Source(values, log), chunks=80) for values in (IMAGE, HALF))
    wanted = graddesc.dask.restore(lazy(IMAGE, 80), HALF, depth=32).compute()
    # Chunks that are changed and shifted, which dask's own clone() does not take.
    for read, flags in [
        (image, mask),
        (image.rechunk(50).rechunk(80), mask),
        (image + 0, mask),
        (image, mask.rechunk(64)),
    ]:
        log.clear()
        restored = graddesc.dask.restore(read, flags, depth=32)
        assert not log
        np.testing.assert_array_equal(restored.compute(), wanted)
        chunks = len(set(log))
        assert chunks == 2 * image.npartitions
        assert len(log) == 2 * chunks
        assert set(log[:chunks]) == set(log[chunks:])
    log.clear()
    graddesc.dask.restore(image.rechunk(SIDE), mask, depth=32).compute()
    assert len(log) == len(set(log))  # one tile: it is at hand


@each("chunks", [64, 100, (33, 320), SIDE])
def test_kinds_of_flags_and_images(chunks):
    half = HALF[:144]
    image = np.where(half, np.nan, PHOTOGRAPH[:144]).astype(np.float32)
    wanted = graddesc.dask.restore(lazy(image, chunks), depth=32).compute()
    for given in ({"mask": half}, {"mask": lazy(half, 100)}, {"known": lazy(~half, 77)}, {"mask": half.astype(int)}):
        np.testing.assert_array_equal(graddesc.dask.restore(lazy(image, chunks), **given, depth=32), wanted)
    labelled = xarray.DataArray(
        lazy(image, chunks), dims=("y", "x"), coords={"y": np.arange(144) / 7, "x": np.arange(SIDE)}, name="height"
    )
    restored = graddesc.dask.restore(labelled, depth=32)
    assert isinstance(restored.data, da.Array)
    assert (restored.name, restored.dims) == ("height", ("y", "x"))
    np.testing.assert_array_equal(restored.y, labelled.y)
    np.testing.assert_array_equal(restored.values, wanted)
    turned = xarray.DataArray(half.T, dims=("x", "y"))
    np.testing.assert_array_equal(graddesc.dask.restore(labelled, turned, depth=32).values, wanted)


def test_channels_stay_together():
    rgb = np.stack([IMAGE, 255 - IMAGE, IMAGE // 2], axis=-1)
    last = graddesc.dask.restore(lazy(rgb, (128, 128, 1)), HALF, channel_axis=-1).compute()
    first = graddesc.dask.restore(lazy(np.moveaxis(rgb, -1, 0), (1, 128, 128)), HALF, channel_axis=0).compute()
    np.testing.assert_array_equal(np.moveaxis(first, 0, -1), last)
    assert rms(last, restore(rgb, HALF, channel_axis=-1), HALF) < 2
    own = np.stack([HALF, HALF[::-1], HALF[:, ::-1]], axis=-1)
    apart = graddesc.dask.restore(lazy(rgb, 128), lazy(own, 100), channel_axis=2, loss="harmonic").compute()
    np.testing.assert_array_equal(apart[~own], rgb[~own])


def test_leading_axes_are_frames_each_as_if_it_were_alone():
    frames = np.stack([IMAGE[:96, :80], IMAGE[96:192, :80], IMAGE[192:288, :80]])
    mask = HALF[:96, :80]
    moving = np.stack([mask, mask[::-1], mask])
    alone = [restore(frame, mask) for frame in frames]
    for chunks in ((1, 96, 80), (2, 96, 80), (3, 96, 80)):
        np.testing.assert_array_equal(graddesc.dask.restore(lazy(frames, chunks), mask), alone)
        restored = graddesc.dask.restore(lazy(frames, chunks), moving).compute()
        for frame, flags, values in zip(frames, moving, restored, strict=True):
            np.testing.assert_array_equal(values, restore(frame, flags))
    both = np.stack([frames, frames[::-1]])
    np.testing.assert_array_equal(graddesc.dask.restore(lazy(both, (1, 2, 96, 80)), mask), [alone, alone[::-1]])
    colours = np.stack([frames, 255 - frames], axis=-1)
    np.testing.assert_array_equal(
        graddesc.dask.restore(lazy(colours, (2, 96, 80, 2)), mask, channel_axis=-1, loss="harmonic"),
        [restore(frame, mask, channel_axis=-1, loss="harmonic") for frame in colours],
    )
    own = np.stack([mask, mask[::-1]], axis=-1)
    np.testing.assert_array_equal(
        graddesc.dask.restore(lazy(colours, (1, 96, 80, 2)), own, channel_axis=-1, loss="harmonic"),
        [restore(frame, own, channel_axis=-1, loss="harmonic") for frame in colours],
    )
    nan = np.where(moving, np.nan, frames)
    nan[1] = 5  # of which nothing is missing
    np.testing.assert_array_equal(graddesc.dask.restore(lazy(nan, (2, 96, 80)))[1].compute(), nan[1])
    line = graddesc.dask.restore(lazy(frames, (1, 96, 80)), mask, loss="line").compute()
    np.testing.assert_array_equal(line[2], restore(frames[2], mask, loss="line"))


def test_narrow_images_and_frames_that_are_exact():
    rng = np.random.default_rng(1)
    for shape, chunks in [((1, 800), (1, 200)), ((2, 800), (1, 200)), ((800, 3), (130, 3))]:
        line = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) / 8.0
        mask = rng.random(shape) < 0.8
        mask.flat[[0, -1]] = False
        tiled = graddesc.dask.restore(lazy(line, chunks), mask, loss="harmonic").compute()
        np.testing.assert_allclose(tiled, restore(line, mask, loss="harmonic", tol=1e-6), atol=1e-2, err_msg=str(shape))
    frames, mask = np.stack([IMAGE[:96, :80], IMAGE[96:192, :80]]), HALF[:96, :80]
    results = [
        graddesc.dask.restore(lazy(frames, chunks), mask, exact=True, depth=32).compute()
        for chunks in ((1, 96, 80), (2, 48, 80), (2, 96, 33))
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_the_overlap_is_that_of_the_widest_hole_of_any_frame():
    frames, masks = np.zeros((2, 256, 256), np.float32), np.zeros((2, 256, 256), bool)
    masks[0, 3::9, 3::9] = masks[1, 40:110, 40:110] = True
    by_hole = graddesc.dask.restore(lazy(frames, (1, 128, 128)), masks)
    told = graddesc.dask.restore(lazy(frames, (1, 128, 128)), masks, depth=64)
    assert len(by_hole.dask) == len(told.dask)
    np.testing.assert_array_equal(by_hole, told)


def test_frames_larger_than_a_chunk_are_tiled_each():
    stack = np.stack([IMAGE, IMAGE[::-1]])
    flags = np.stack([HALF, HALF[::-1]])
    restored = graddesc.dask.restore(lazy(stack, (2, 160, 160)), flags)
    assert restored.chunks == ((2,), (160, 160), (160, 160))
    for frame, own, values in zip(stack, flags, restored.compute(), strict=True):
        np.testing.assert_array_equal(values, graddesc.dask.restore(lazy(frame, 160), own).compute())


def test_zarr_and_memmaps_in_and_out_and_a_run_that_goes_on(tmp_path):
    zarr = pytest.importorskip("zarr")
    source = zarr.create_array(tmp_path / "in.zarr", shape=IMAGE.shape, chunks=(80, 80), dtype="u1")
    source[:] = IMAGE
    restored = graddesc.dask.restore(da.from_zarr(source).rechunk(160), HALF)
    wanted = restored.compute()
    target = zarr.create_array(tmp_path / "out.zarr", shape=IMAGE.shape, chunks=(80, 80), dtype="u1")
    graddesc.dask.store(restored, target, tmp_path / "marks")
    np.testing.assert_array_equal(target[:], wanted)

    # Two chunks are said to be missing: they alone are written again.
    target[:] = 0
    for mark in ("0-1", "1-0"):
        (tmp_path / "marks" / f"{mark}.done").unlink()
    graddesc.dask.store(restored, target, tmp_path / "marks")
    again = target[:]
    np.testing.assert_array_equal(again[:160, 160:], wanted[:160, 160:])
    np.testing.assert_array_equal(again[160:, :160], wanted[160:, :160])
    assert not again[:160, :160].any()
    assert not again[160:, 160:].any()

    mapped = np.memmap(tmp_path / "out.raw", np.uint8, "w+", offset=16, shape=IMAGE.shape)
    with dask.config.set(scheduler="threads"):
        graddesc.dask.store(restored, mapped, tmp_path / "others")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.raw", np.uint8)[16:].reshape(IMAGE.shape), wanted)

    for part in (mapped[10:], np.memmap(tmp_path / "out.raw", np.uint8, "r", offset=16, shape=IMAGE.shape)):
        with pytest.raises(ValueError, match=r"target must be a whole memmap of mode 'r[+]' or 'w[+]'"):
            graddesc.dask.store(restored[: len(part)], part, tmp_path / "fourth")
    sharded = zarr.create_array(
        tmp_path / "sharded.zarr", shape=IMAGE.shape, chunks=(40, 40), shards=(160, 160), dtype="u1"
    )
    with pytest.raises(ValueError, match="target must have chunks that lie within those of restored"):
        graddesc.dask.store(restored.rechunk(80), sharded, tmp_path / "fifth")
    with pytest.raises(ValueError, match="journal must be of this run"):
        graddesc.dask.store(restored.rechunk(320), mapped, tmp_path / "others")
    with pytest.raises(ValueError, match="target must have chunks that lie within those of restored"):
        graddesc.dask.store(restored.rechunk(100), target, tmp_path / "third")
    with pytest.raises(ValueError, match=r"target must have shape \(320, 320\), got \(3, 3\)"):
        graddesc.dask.store(restored, np.empty((3, 3)), tmp_path / "third")
    with pytest.raises(TypeError, match="restored must be a dask array, got ndarray"):
        graddesc.dask.store(IMAGE, target, tmp_path / "third")


def test_a_chunk_that_fails_leaves_what_is_whole(tmp_path):
    class Full:
        shape = IMAGE.shape

        def __init__(self):
            self.written, self.room = {}, 2

        def __setitem__(self, where, values):
            if not self.room:
                raise OSError(28, "No space left on device")
            self.room -= 1
            self.written[str(where)] = values

    target, restored = Full(), graddesc.dask.restore(lazy(IMAGE, 160), HALF, loss="harmonic")
    with pytest.raises(OSError, match="No space left"):
        graddesc.dask.store(restored, target, tmp_path)
    assert len(target.written) == 2
    assert len(list(tmp_path.glob("*.done"))) == 2
    target.room = 100
    graddesc.dask.store(restored, target, tmp_path)
    assert len(target.written) == 4


@each(
    "changes, error, message",
    [
        ({"image": IMAGE}, TypeError, "image must be a dask array, got ndarray: graddesc.restore takes it"),
        ({"image": lazy(HALF, 64)}, TypeError, "image must be of integers or of floats of at most 64 bits, got bool"),
        ({"image": lazy(IMAGE[0], 64)}, ValueError, r"image must be 2-D, .* got shape \(320,\)"),
        ({"mask": None}, ValueError, "mask must be given, or known in its place, for an image of uint8"),
        (
            {"mask": HALF[1:]},
            ValueError,
            r"mask must have shape \(320, 320\), or that of its last axes, got \(319, 320\)",
        ),
        ({"mask": lazy(HALF.astype(complex), 64)}, TypeError, "mask must be of bool or of numbers .* got complex128"),
        ({"mask": np.where(HALF, np.nan, 0)}, ValueError, "mask must be of bool or of numbers .* got NaN"),
        ({"ignore": HALF[:3]}, ValueError, "ignore must have shape"),
        ({"threads": 0}, ValueError, "threads must be a positive integer, got 0"),
        ({"known": HALF}, ValueError, "mask and known must not both be given"),
        ({"loss": "line"}, ValueError, "loss must be one of short reach"),
        ({"depth": 0}, ValueError, "depth must be an integer of at least 2, got 0"),
        ({"coarse": 100}, ValueError, "coarse must be an integer from 2 to 64, got 100"),
        ({"channel_axis": 3}, ValueError, "channel_axis must be an axis of image"),
        (
            {"image": lazy(IMAGE[np.newaxis, np.newaxis], 64), "channel_axis": 0},
            ValueError,
            "one of the last three axes",
        ),
    ],
)
def test_wrong_arguments(changes, error, message):
    given = {"image": lazy(IMAGE, 64), "mask": HALF, **changes}
    with pytest.raises(error, match=message):
        graddesc.dask.restore(given.pop("image"), given.pop("mask"), **given)


def test_what_only_the_pixels_tell_is_raised_when_they_are_computed():
    nothing = graddesc.dask.restore(lazy(IMAGE, 64), np.ones_like(HALF))
    with pytest.raises(ValueError, match="mask must leave at least one pixel known, got none"):
        nothing.compute()
    image = PHOTOGRAPH.copy()
    image[200, 300] = np.inf
    with pytest.raises(ValueError, match="image must be finite where it is known, got inf at row 200, column 300"):
        graddesc.dask.restore(lazy(image, 128), np.zeros_like(HALF)).compute()


CLUSTER = """
    import os, signal, sys
    import dask, dask.array as da, numpy as np, zarr
    from distributed import Client, LocalCluster
    import graddesc.dask

    def main(folder):
        image, mask = (np.load(os.path.join(folder, f"{name}.npy")) for name in ("image", "mask"))
        source = zarr.create_array(os.path.join(folder, "in.zarr"), shape=image.shape, chunks=(80, 80), dtype="u1")
        source[:] = image
        target = zarr.create_array(os.path.join(folder, "out.zarr"), shape=image.shape, chunks=(80, 80), dtype="u1")
        with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
            restored = graddesc.dask.restore(da.from_zarr(source), mask, depth=32, exact=True)
            first = client.compute(restored)
            victim, = client.run(os.getpid, workers=[next(iter(client.scheduler_info()["workers"]))]).values()
            os.kill(victim, signal.SIGKILL)
            np.save(os.path.join(folder, "first.npy"), first.result())
            graddesc.dask.store(restored, target, os.path.join(folder, "marks"))
        np.save(os.path.join(folder, "second.npy"), target[:])

    if __name__ == "__main__":
        main(sys.argv[1])
"""


@pytest.mark.once
def test_a_cluster_loses_a_worker_and_nothing_else(tmp_path):
    pytest.importorskip("zarr")
    pytest.importorskip("distributed")
    np.save(tmp_path / "image.npy", IMAGE)
    np.save(tmp_path / "mask.npy", HALF)
    script = tmp_path / "cluster.py"
    script.write_text(textwrap.dedent(CLUSTER), encoding="utf-8")
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}  # of the cluster's own, about the worker that died
    run = subprocess.run([sys.executable, script, tmp_path], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    wanted = graddesc.dask.restore(lazy(IMAGE, 80), HALF, depth=32, exact=True).compute()
    np.testing.assert_array_equal(np.load(tmp_path / "first.npy"), wanted)
    np.testing.assert_array_equal(np.load(tmp_path / "second.npy"), wanted)
