"""restore(frame_axis=...): independent images, each as if it were alone, to the bit."""

import threading

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_array_equal

import graddesc
from graddesc import restore

LOSSES = ["line", "harmonic", "biharmonic", "tv", "edge", "texture"]
COUNT, ROWS, COLS = 5, 18, 23
MASKS = np.random.default_rng(2).random((COUNT, ROWS, COLS)) < 0.4
MASK = MASKS[0]


def stack(dtype=np.float32):
    noise = np.random.default_rng(0).random((COUNT, ROWS, COLS))
    images = 0.2 * noise + np.linspace(0.1, 0.5, COLS) * np.arange(1, COUNT + 1)[:, np.newaxis, np.newaxis] / 3
    return (images * (1 if np.dtype(dtype).kind == "f" else 200)).astype(dtype)


@pytest.mark.parametrize("loss", [*LOSSES, lambda x: (float((x**2).sum()), 2 * x)], ids=str)
@pytest.mark.parametrize("threads", [1, 3, 8])
def test_frames_are_restored_as_if_alone(loss, threads):
    for images, mask, own_masks in [(stack(), MASK, [MASK] * COUNT), (stack(np.int16), MASKS, MASKS)]:
        expected = [restore(image, own, loss=loss) for image, own in zip(images, own_masks, strict=True)]
        for axis in (0, 1, 2, -1):
            given = mask if mask is MASK else np.moveaxis(mask, 0, axis)
            restored = restore(np.moveaxis(images, 0, axis), given, loss=loss, frame_axis=axis, threads=threads)
            assert restored.dtype == images.dtype
            assert_array_equal(np.moveaxis(restored, axis, 0), expected)


@pytest.mark.parametrize("channel_axis", [-1, 0, 1, 2])
@pytest.mark.parametrize("frame_axis", [0, 3, -2])
def test_frames_with_channels(frame_axis, channel_axis):
    if frame_axis % 4 == channel_axis % 4:
        with pytest.raises(ValueError, match="frame_axis must be another axis than channel_axis, got"):
            restore(np.ones((4, 4, 4, 4)), np.eye(4), frame_axis=frame_axis, channel_axis=channel_axis)
        return
    colour = np.stack([stack(), stack()[::-1] / 2], axis=-1)  # frames, rows, cols, channels
    expected = np.stack([restore(image, mask, channel_axis=-1) for image, mask in zip(colour, MASKS, strict=True)])

    def placed(images):
        return np.moveaxis(images, (0, -1), (frame_axis, channel_axis))

    axes = {"frame_axis": frame_axis, "channel_axis": channel_axis}
    own = placed(np.repeat(MASKS[..., np.newaxis], 2, axis=-1))
    assert_array_equal(restore(placed(colour), own, **axes), placed(expected))
    without = np.take(own, 0, axis=channel_axis)  # a mask for all channels of each frame
    assert_array_equal(restore(placed(colour), without, **axes), placed(expected))
    shared = [restore(image, MASK, channel_axis=-1) for image in colour]
    assert_array_equal(restore(placed(colour), MASK, **axes), placed(np.stack(shared)))


def test_what_is_told_of_frames():
    images = stack()
    restored, info = restore(images, MASKS, frame_axis=0, full_output=True, confidence=True)
    assert_array_equal(info.x, restored)
    singles = [restore(*pair, full_output=True, confidence=True)[1] for pair in zip(images, MASKS, strict=True)]
    assert len(info.frames) == COUNT
    for own, single in zip(info.frames, singles, strict=True):
        assert_array_equal(own.x, single.x)
        assert_array_equal(own.history, single.history)
        assert (own.nit, own.fun, own.status, own.message) == (single.nit, single.fun, single.status, single.message)
    assert info.nit == len(info.history) == max(single.nit for single in singles)
    assert info.fun == info.history[-1] == sum(single.fun for single in singles)
    assert (info.success, info.status, info.message) == (True, 0, singles[0].message)
    assert_array_equal(info.confidence, [single.confidence for single in singles])
    assert_array_equal(info.error, [single.error for single in singles])
    colour = np.stack([images, images], axis=1)
    _, info = restore(colour, MASKS, frame_axis=0, channel_axis=1, full_output=True, confidence=True, loss="harmonic")
    assert info.confidence.shape == (COUNT, ROWS, COLS)
    _, info = restore(
        np.moveaxis(colour, 0, -1), MASK, frame_axis=-1, channel_axis=0, full_output=True, confidence=True
    )
    assert info.confidence.shape == (ROWS, COLS, COUNT)
    # Channels have masks of their own in some frames alone, and nothing is corrupt in others.
    own = np.zeros((COUNT, 2, ROWS, COLS), bool)
    own[0] = MASKS[:2]
    own[1] = MASK
    for frame, channel in ((0, 1), (1, 0), (3, 0)):
        given, told = np.moveaxis(colour, (0, 1), (frame, channel)), np.moveaxis(own, (0, 1), (frame, channel))
        axes = {"frame_axis": frame, "channel_axis": channel}
        _, info = restore(given, told, **axes, full_output=True, confidence=True, loss="harmonic")
        for name in ("confidence", "error"):
            assert info[name].shape == given.shape
            for k, single in enumerate(info.frames):
                found = np.moveaxis(info[name], (frame, channel), (0, 1))[k]
                alone = (
                    single[name]
                    if single[name].ndim == 2
                    else np.moveaxis(single[name], channel - (channel > frame), 0)
                )
                assert_array_equal(found, np.broadcast_to(alone, found.shape))


def test_out_may_be_what_is_told_of_noise():
    images = stack()
    for place in (np.s_[:], np.s_[0], np.s_[3]):
        out = np.full(images.shape, 0.05, np.float32)
        out[:, 3] = 0.1
        expected = restore(images, MASK, noise=out[place].copy(), frame_axis=0, loss="harmonic")
        assert restore(images, MASK, noise=out[place], frame_axis=0, loss="harmonic", out=out) is out
        assert_array_equal(out, expected)


def test_the_first_frame_that_fails_is_told():
    images, few = stack(), MASKS.copy()
    few[:2] = False
    _, info = restore(images, few, frame_axis=0, max_iter=3, tol=0, full_output=True)
    assert (info.success, info.status) == (False, 1)
    assert info.message.startswith("frame 2: The greatest number of iterations")
    _, info = restore(images, MASKS, frame_axis=0, max_time=0, full_output=True)
    assert info.status == 5


def test_masks_that_are_found():
    images = stack()
    gaps = np.where(MASKS, np.nan, images)
    gaps[3] = images[3]  # nothing corrupt
    restored = restore(gaps, frame_axis=0)
    for k in (0, 1, 2, 4):
        assert_array_equal(restored[k], restore(gaps[k]))
    assert_array_equal(restored[3], images[3])
    masked = np.ma.masked_array(images, MASKS)
    assert_array_equal(restore(masked, frame_axis=0).data, restore(images, MASKS, frame_axis=0))
    with pytest.raises(ValueError, match="frame 1: image must mask no pixel that mask calls known"):
        restore(masked, np.where(np.arange(COUNT)[:, None, None] == 1, False, MASKS), frame_axis=0)


def test_starts_and_out():
    images = stack()
    init = np.random.default_rng(1).random(images.shape)
    restored = restore(images, MASK, frame_axis=0, init=init, max_iter=0)
    for k in range(COUNT):
        assert_array_equal(restored[k], restore(images[k], MASK, init=init[k], max_iter=0))
    out = np.full((ROWS, COLS, COUNT), 9, np.float32)
    moved = np.moveaxis(images, 0, -1)
    assert restore(moved, MASK, frame_axis=-1, out=out) is out
    assert_array_equal(out, restore(moved, MASK, frame_axis=-1))
    with pytest.raises(ValueError, match="out must not overlap image"):
        restore(images, MASK, frame_axis=0, out=images)


def test_a_callback_knows_the_frame_and_ends_the_run():
    seen, threads = [], set()

    def callback(intermediate_result):
        threads.add(threading.get_ident())
        seen.append((intermediate_result.frame, intermediate_result.nit))
        assert intermediate_result.x.shape == (ROWS, COLS)
        if seen[-1] == (1, 2):
            raise StopIteration

    _, info = restore(stack(), MASKS, frame_axis=0, callback=callback, full_output=True, threads=4, tol=0, max_iter=3)
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert threads == {threading.get_ident()}
    assert [frame.status for frame in info.frames] == [1, 99, 99, 99, 99]


def test_what_is_wrong_with_one_frame():
    images = stack()
    images[2, 4, 5] = np.inf
    masks = MASKS.copy()
    masks[:, 4, 5] = False
    with pytest.raises(ValueError, match="frame 2: image must be finite where it is known, got inf at row 4, column 5"):
        restore(images, masks, frame_axis=0, threads=2)
    masks[3] = True
    with pytest.raises(ValueError, match="frame 3: mask must leave at least one pixel known, got none"):
        restore(stack(), masks, frame_axis=0)


@pytest.mark.parametrize(
    ("shape", "mask", "axes", "error", "message"),
    [
        ((4, 5), (4, 5), {"frame_axis": 0}, ValueError, r"image must be 3-D or 4-D with frame_axis, .*\(4, 5\)"),
        ((2, 3, 4, 5), (4, 5), {"frame_axis": 0}, ValueError, "image must be 3-D with frame_axis"),
        ((3, 4, 5), (4, 5), {"frame_axis": 3}, ValueError, "frame_axis must be an axis of image, from -3 to 2, got 3"),
        ((3, 4, 5), (4, 5), {"frame_axis": 0.0}, TypeError, r"frame_axis must be an integer, got 0\.0"),
        ((3, 4, 5), (5, 4), {"frame_axis": 0}, ValueError, r"mask must have shape \(4, 5\), got \(5, 4\)"),
        ((3, 4, 5), (2, 4, 5), {"frame_axis": 0}, ValueError, r"mask must have shape \(4, 5\), got \(2, 4, 5\)"),
        (
            (3, 4, 5),
            (4, 5),
            {"frame_axis": 0, "init": np.ones((4, 5))},
            ValueError,
            r"init must have shape \(3, 4, 5\)",
        ),
    ],
)
def test_bad_input(shape, mask, axes, error, message):
    with pytest.raises(error, match=message):
        restore(np.ones(shape), np.random.default_rng(0).random(mask) < 0.5, **axes)


def test_a_plan_serves_frames():
    plan = graddesc.Plan(MASK, loss="biharmonic")
    images = stack(np.uint16)
    assert_array_equal(restore(images, MASK, loss="biharmonic", frame_axis=0), [plan(image) for image in images])


def test_a_callback_is_called_for_the_iterations_that_it_wants():
    seen = []

    class Seldom:
        next_iteration = 3

        def __call__(self, intermediate_result):
            seen.append((intermediate_result.frame, intermediate_result.nit))

    restore(stack()[:2], MASK, frame_axis=0, callback=Seldom(), tol=0, max_iter=5)
    assert seen == [(frame, nit) for frame in (0, 1) for nit in (3, 4, 5)]


@each("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f8"])
@each("loss", ["harmonic", "biharmonic"])
def test_frames_that_are_solved_at_once(loss, dtype):
    """One image by restore() is solved by other code than many by a plan: the bits are the same, odd frames' too."""
    rng = np.random.default_rng(5)
    dtype = np.dtype(dtype)
    rows, cols = np.mgrid[:61, :83]
    mask = rng.random(rows.shape) < 0.04
    mask[20:24, 30:35] = mask[-1, 40:60] = True
    whole = dtype.kind in "iu"
    scene = 0.5 + 0.3 * np.sin(rows / 7) * np.cos(cols / 9) + 0.05 * rng.random(rows.shape)
    video = np.stack([scene * (1 - 0.1 * k) for k in range(8)])
    video[3] = 0.25  # all alike
    video[5] -= 0.6 * (not whole)
    video[6] *= 1e-3 if not whole else 1
    video[0, 0, 0], video[0, 0, 1] = 0, 1
    if dtype.itemsize == 8 and not whole:
        video[7] *= 1e200
    video = (video * (0.9 * np.iinfo(dtype).max if whole else 1)).astype(dtype)
    video[:, mask] = np.iinfo(dtype).max if whole else np.nan
    apart = np.empty((8, 61, 90), dtype)[..., :83]
    apart[...] = video
    for bounds in (None, (0.25, 0.5) if not whole else (7, 50)):
        expected = [restore(frame, mask, loss=loss, bounds=bounds) for frame in video]
        plan = graddesc.Plan(mask, loss=loss)
        by_rows = restore(np.moveaxis(video, 0, 1), mask, loss=loss, bounds=bounds, frame_axis=1)
        for name, restored in [
            ("plan", [plan(frame, bounds=bounds) for frame in video]),
            ("frames", restore(video, mask, loss=loss, bounds=bounds, frame_axis=0)),
            ("threads", restore(video, mask, loss=loss, bounds=bounds, frame_axis=0, threads=2)),
            ("not contiguous", restore(apart, mask, loss=loss, bounds=bounds, frame_axis=0)),
            (
                "rows",
                np.moveaxis(by_rows, 1, 0),
            ),
        ]:
            bits = (np.array(images, dtype).view("u1") for images in (restored, expected))
            assert_array_equal(*bits, name)


def test_what_is_known_of_a_frame_that_is_solved_at_once_must_be_finite():
    images = np.repeat(np.random.default_rng(0).random((1, 40, 50)), 12, axis=0)
    mask = np.zeros((40, 50), bool)
    mask[10, 10:14] = True
    images[7, 5, 6] = np.nan
    for threads in (1, 2):
        with pytest.raises(ValueError, match="frame 7: image must be finite where it is known, got nan at row 5, col"):
            restore(images, mask, loss="harmonic", frame_axis=0, threads=threads)
    plan = graddesc.Plan(mask, loss="harmonic")
    with pytest.raises(ValueError, match=r"^image must be finite where it is known, got nan"):
        plan(images[7])
