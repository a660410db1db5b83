"""The recorder of a healing image."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from graddesc import animation

GREY = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)


def frames(data):
    with Image.open(io.BytesIO(data)) as gif:
        found = []
        for k in range(gif.n_frames):
            gif.seek(k)
            found.append((np.asarray(gif.convert("RGB")), gif.info["duration"]))
    return found


def record(image, iterations):
    recorder = animation.Recorder(image)
    for k in range(1, iterations + 1):
        recorder(SimpleNamespace(x=np.roll(image, k), nit=k))
    return recorder


def test_grey_frames_are_exact():
    found = frames(record(GREY, 3).encode(GREY.T[::-1].T))
    assert len(found) == 5
    for k in range(4):
        np.testing.assert_array_equal(found[k][0][..., 0], np.roll(GREY, k))
    np.testing.assert_array_equal(found[-1][0][..., 0], GREY[:, ::-1])


def test_the_first_and_the_last_frame_are_held():
    data = record(GREY, 4).encode(GREY[::-1])
    durations = [duration for _, duration in frames(data)]
    assert durations[0] > 5 * durations[1]
    assert durations[-1] > 20 * durations[1]
    assert len(set(durations[1:-1])) == 1
    assert Image.open(io.BytesIO(data)).info["loop"] == 0  # again and again


@pytest.mark.parametrize(("iterations", "count"), [(0, 1), (1, 2), (5, 6), (500, 35), (100_000, 73)])
def test_frames_lie_ever_farther_apart(iterations, count):
    assert len(record(np.zeros((1, 1), np.uint8), iterations).frames) == count


def test_colour_is_near():
    ramp = np.arange(0, 250, 5, np.uint8)
    gradient = np.stack([*np.meshgrid(ramp, ramp), np.full((50, 50), 90, np.uint8)], axis=-1)
    other = 255 - gradient  # of which a palette for the first frame knows nothing
    found = frames(animation.Recorder(gradient).encode(other))
    assert np.abs(found[0][0].astype(int) - gradient).mean() < 8
    assert np.abs(found[-1][0].astype(int) - other).mean() < 8


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[0, 65535, 32768]], np.uint16), [0, 255, 128]),
        (np.array([[0, 1, 0.5]], np.float32), [0, 255, 128]),
        (np.array([[np.nan, 0.2, 1]], np.float32), [0, 51, 255]),
        (np.array([[-1.0, 0, 1]]), [0, 128, 255]),
        (np.array([[0.0, 500, 1000]]), [0, 128, 255]),
        (np.array([[np.nan, np.nan]]), [0, 0]),
        (np.array([[-np.inf, 0.2, np.inf]]), [0, 51, 255]),
        (np.array([[-1e308, 0, 1e308]]), [0, 128, 255]),
        (np.array([[-3e38, 0, 3e38]], np.float32), [0, 128, 255]),
    ],
)
def test_all_ranges_fit_eight_bits(image, expected):
    np.testing.assert_array_equal(np.asarray(animation.Recorder(image).frames[0])[0], expected)


@pytest.mark.parametrize("shape", [(3, 30, 40), (30, 40, 4), (30, 40, 1), (5,), (), (0, 4), (2, 2, 3, 3)])
def test_other_shapes_are_refused(shape):
    wanted = f"image must have shape (rows, cols) or (rows, cols, 3), got {shape}"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        animation.Recorder(np.zeros(shape))


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float16, complex])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=f"image must be uint8, uint16, float32 or float64, got {np.dtype(dtype)}"):
        animation.Recorder(np.zeros((3, 4), dtype))


def test_large_images_are_reduced():
    recorder = animation.Recorder(np.zeros((100, 2000, 3), np.uint8))
    assert recorder.frames[0].size == (480, 24)


def test_the_image_is_not_changed():
    image = np.array([[np.nan, 0.2, 1]])
    image.flags.writeable = False
    record(image, 2).encode(image)
