"""The recorder of a healing image."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import graddesc
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
    assert np.abs(found[0][0].astype(int) - gradient).mean() < 10  # one palette for all frames
    assert np.abs(found[-1][0].astype(int) - other).mean() < 10


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
        (np.array([[-200, 0, 200]], np.int16), [0, 128, 255]),
        (np.array([[7, 7]], np.int32), [0, 0]),
        (np.array([[0, 2**63 - 1]], np.int64), [0, 255]),
        (np.array([[0, 0.5, 1]], np.float16), [0, 128, 255]),
    ],
)
def test_all_ranges_fit_eight_bits(image, expected):
    np.testing.assert_array_equal(np.asarray(animation.Recorder(image).frames[0])[0], expected)


@pytest.mark.parametrize("hidden", [-9999, -3.4e38, np.nan])
def test_what_is_corrupt_does_not_decide_what_is_seen(hidden):
    heights = np.add.outer(np.arange(40.0), np.arange(50.0)) + 200
    mask = np.zeros(heights.shape, bool)
    mask[10:20, 10:20] = True
    recorder = animation.Recorder(np.where(mask, hidden, heights), mask)
    shown = np.asarray(recorder.frames[0])
    assert len(np.unique(shown[~mask])) > 80
    assert (shown[mask] == 0).all()


@pytest.mark.parametrize("shape", [(3, 30, 40), (30, 40, 4), (30, 40, 1), (5,), (), (0, 4), (2, 2, 3, 3)])
def test_other_shapes_are_refused(shape):
    wanted = f"image must have shape (rows, cols) or (rows, cols, 3), got {shape}"
    if 0 in shape:
        wanted = f"image must not be empty, got shape {shape}"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        animation.Recorder(np.zeros(shape))


@pytest.mark.parametrize("dtype", [bool, np.longdouble, complex])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=f"image must be of .* of at most 64 bits, got {np.dtype(dtype)}"):
        animation.Recorder(np.zeros((3, 4), dtype))


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_formats(kind):
    colour = np.random.default_rng(1).integers(0, 256, (200, 250, 3), np.uint8)
    recorder = record(colour, 4)
    data = recorder.encode(colour[::-1], kind)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.n_frames, image.size) == (kind.upper(), 6, (250, 200))
        image.seek(5)
        last = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(last - colour[::-1])[:150].mean() < (1 if kind == "png" else 60)
    with pytest.raises(ValueError, match="kind must be one of gif, webp, png, got 'mp4'"):
        recorder.encode(colour, "mp4")


def test_iteration_and_loss_stand_in_the_corner():
    grey = np.full((100, 200), 128, np.uint8)
    recorder = animation.Recorder(grey)
    for nit, fun in ((1, 2.0), (2, 1.5)):
        recorder(SimpleNamespace(x=grey, nit=nit, fun=fun))
    first, *others = (np.asarray(frame) for frame in recorder.frames)
    assert all((frame[:80] == 128).all() for frame in others)
    assert len({frame[-20:].tobytes() for frame in (first, *others)}) == 3
    assert others[0][-20:].min() == 0
    assert others[0][-20:].max() > 200


def test_restore_calls_for_what_is_shown_only():
    image = np.add.outer(np.arange(40.0), np.arange(50.0)) + np.random.default_rng(0).random((40, 50))
    mask = np.random.default_rng(1).random((40, 50)) < 0.6
    seen = []

    class Seldom:
        next_iteration = 3

        def __call__(self, intermediate_result):
            seen.append(intermediate_result.nit)
            self.next_iteration = 2 * intermediate_result.nit

    settings = {"full_output": True, "tol": 0, "max_iter": 20}
    restored, info = graddesc.restore(image, mask, callback=Seldom(), **settings)
    assert seen == [3, 6, 12]
    expected, told = graddesc.restore(image, mask, **settings)
    np.testing.assert_array_equal(restored, expected)
    np.testing.assert_array_equal(info.history, told.history)


def test_an_animation_is_encoded_and_shown_by_notebooks():
    shades = [Image.new("L", (8, 6), shade) for shade in (0, 100, 255)]
    film = animation.Animation(shades, [300, 40, 500])
    for kind in ("gif", "webp", "png"):
        found = frames(film.encode(kind))
        assert [duration for _, duration in found] == [300, 40, 500]
        assert [round(picture.mean(), -1) for picture, _ in found] == [0, 100, 260]
    assert film._repr_png_() == film.encode("png")
    with pytest.raises(ValueError, match="kind must be one of gif, webp, png, got 'svg'"):
        film.encode("svg")


def test_spaced_numbers_lie_ever_farther_apart():
    assert list(animation.spaced(0, 12)) == [0, 1, 2, 3, 4, 5, 6, 8, 10, 12]
    assert list(animation.spaced(1, 1)) == [1]
    many = np.array(list(animation.spaced(1, 10**6)))
    assert (many[0], many[-1]) == (1, 10**6)
    assert (np.diff(many) >= 1).all()
    assert np.diff(many)[:-1].max() < 0.21 * 10**6
    assert len(many) < 80


class TestFilm:
    @staticmethod
    def shoot(moments):
        from matplotlib.figure import Figure

        figure = Figure((2, 2), dpi=50)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 10), ylim=(0, 10))
        axes.set_axis_off()
        axes.plot([5], [8], "s", color="red", markersize=10)
        (dot,) = axes.plot([0], [2], "s", color="blue", markersize=10)
        return animation.film(figure, [dot], moments, lambda moment: dot.set_xdata([moment]))

    def test_only_what_moves_moves(self):
        film = self.shoot([2, 5, 8])
        assert len(film.frames) == 3
        for frame, moment in zip(film.frames, (2, 5, 8), strict=True):
            pixels = np.asarray(frame).astype(int)
            assert pixels.shape == (100, 100, 3)
            for channel, at in ((2, (moment, 2)), (0, (5, 8))):  # where it is bluer, or redder, than white is
                rows, cols = np.nonzero(pixels[..., channel] - pixels[..., 1] > 100)
                assert (cols.mean() / 10, 10 - rows.mean() / 10) == pytest.approx(at, abs=0.15)

    @pytest.mark.parametrize(("count", "each"), [(3, 600), (22, 272), (200, 90)])
    def test_a_film_is_neither_hasty_nor_long(self, count, each):
        durations = self.shoot(range(count)).durations
        assert (durations[0], durations[-1]) == (1200, 3000)
        assert set(durations[1:-1]) == {each}

    def test_one_frame(self):
        film = self.shoot([4])
        assert (len(film.frames), film.durations) == (1, [3000])


def test_large_images_are_reduced():
    recorder = animation.Recorder(np.zeros((100, 2000, 3), np.uint8))
    assert recorder.frames[0].size == (480, 24)


def test_the_image_is_not_changed():
    image = np.array([[np.nan, 0.2, 1]])
    image.flags.writeable = False
    record(image, 2).encode(image)
