"""Plan: what depends on the mask alone, made once for many images."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_array_equal

import graddesc
from graddesc import losses

LOSSES = ["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture"]
DTYPES = [np.uint8, np.uint16, np.float32, np.float64]


def frames(dtype, shape=(24, 31), count=3):
    noise = np.random.default_rng(0).random((count, *shape))
    images = 0.25 * noise + 0.5 * np.linspace(0, 1, shape[1]) + 0.1
    if np.dtype(dtype).kind == "u":
        return np.rint(images * np.iinfo(dtype).max).astype(dtype)
    return images.astype(dtype)


def holes(shape=(24, 31), missing=0.6, seed=1):
    return np.random.default_rng(seed).random(shape) < missing


def line_function(x):
    return losses.LineSmoothness().value_and_gradient(x)


@each("dtype", DTYPES)
@each("loss", [*LOSSES, losses.EdgeAligned(epsilon=0.03), line_function])
def test_a_plan_is_restore(loss, dtype):
    mask = holes()
    plan = graddesc.Plan(mask, loss=loss)
    settings = {"tol": 0.3, "max_iter": 40, "bounds": (0, 1)}
    for image in frames(dtype):
        kept = image.copy()
        for given in ({}, settings, {"step": graddesc.Constant(1e-3), "init": "nearest", "max_iter": 2}):
            restored, info = plan(image, full_output=True, **given)
            expected, told = graddesc.restore(image, mask, loss=loss, full_output=True, **given)
            assert restored.dtype == dtype
            assert_array_equal(restored, expected)
            assert_array_equal(info.history, told.history)
            assert (info.fun, info.status, info.message) == (told.fun, told.status, told.message)
            assert_array_equal(plan(image, **given), expected)
        assert_array_equal(image, kept)


@each("dtype", [np.int8, np.uint16, np.int64, np.float64, ">f4"])
def test_an_image_that_nobody_watches_is_restored_to_the_same_bits(dtype):
    # It goes the way of a plan's frames, in compiled code, if its regions are small and its numbers are no extremes.
    image, loss = (100 * frames(np.float64, (30, 40), 1)[0]).astype(dtype), "biharmonic"
    alike, hot, huge = np.full_like(image, 7), image.copy(), image * np.asarray(10.0**25 if dtype is np.float64 else 1)
    hot[3, 4] = 120
    for x in (image, image[:, ::2], image[::-1], alike, hot, huge.astype(dtype)):
        for mask in (holes(x.shape, 0.05), holes(x.shape, 0.8), np.zeros(x.shape, bool)):
            for settings in ({}, {"threads": 2}, {"bounds": (20, 40), "out": np.empty_like(x, order="C")}):
                expected, _ = graddesc.restore(x, mask, loss=loss, full_output=True, **settings)
                expected = expected.copy()
                assert_array_equal(graddesc.restore(x, mask, loss=loss, **settings), expected)
    if np.dtype(dtype).kind == "f":
        image[5, 5] = np.nan
        with pytest.raises(ValueError, match="must be finite where it is known, got nan at row 5, column 5"):
            graddesc.restore(image, holes(image.shape, 0.05) & (np.arange(40) > 9), loss=loss)


@each("loss", ["line", "edge"])
@each("axis", [0, 1, 2, -1, -3])
@each("own", [False, True])
@each("shaped", [False, True])
def test_channels(loss, axis, own, shaped):
    image = np.moveaxis(frames(np.float32), 0, axis)
    mask = np.moveaxis(np.stack([holes(seed=seed) for seed in range(3)]), 0, axis) if own else holes()
    plan = graddesc.Plan(mask, image.shape if shaped else None, loss=loss, channel_axis=axis)
    for order in ([0, 1, 2], [2, 2, 0]):
        some = np.take(image, order, axis)
        assert_array_equal(plan(some), graddesc.restore(some, mask, loss=loss, channel_axis=axis))
    if not (own or shaped):
        two = np.take(image, [0, 1], axis)  # as many channels as there are
        assert_array_equal(plan(two), graddesc.restore(two, mask, loss=loss, channel_axis=axis))


def test_a_last_axis_of_length_1_is_no_axis_of_space():
    image, mask = frames(np.float32)[0][..., np.newaxis], holes()[..., np.newaxis]
    for loss in ("harmonic", "edge", "line"):
        expected = graddesc.restore(image, mask, loss=loss)
        for flags in (mask, mask[..., 0]):
            assert_array_equal(graddesc.Plan(flags, image.shape, loss=loss)(image), expected)
    volume = graddesc.restore(image, mask, spacing=(1, 1, 1))
    assert_array_equal(graddesc.Plan(mask, image.shape, spacing=(1, 1, 1))(image), volume)


def test_known_is_the_complement():
    image, mask = frames(np.float64)[0], holes()
    expected = graddesc.restore(image, mask)
    for plan in (
        graddesc.Plan(known=~mask),
        graddesc.Plan(known=(~mask).tolist(), shape=list(image.shape)),
        graddesc.Plan(255 * mask.astype(np.uint8)),
        graddesc.Plan(mask.tolist(), threads=2),
    ):
        assert_array_equal(plan(image), expected)


def test_a_plan_keeps_its_mask_and_serves_threads():
    mask = holes()
    plan = graddesc.Plan(mask)
    images = frames(np.float32, count=12)
    expected = [graddesc.restore(image, mask) for image in images]
    mask[...] = True
    with ThreadPoolExecutor(4) as pool:
        for restored, wanted in zip(pool.map(plan, images), expected, strict=True):
            assert_array_equal(restored, wanted)


def test_nothing_corrupt_and_confidence():
    image = frames(np.float64)[0]
    restored, info = graddesc.Plan(np.zeros(image.shape, bool))(image, full_output=True)
    assert_array_equal(restored, image)
    assert (info.nit, info.status) == (0, 0)
    told = graddesc.Plan(holes())(image, full_output=True, confidence=True)[1]
    expected = graddesc.restore(image, holes(), full_output=True, confidence=True)[1]
    assert_array_equal(told.confidence, expected.confidence)
    assert_array_equal(told.error, expected.error)


def test_out():
    image, mask = frames(np.uint8)[0], holes().astype(np.uint8)
    plan = graddesc.Plan(mask)
    out = np.empty_like(image)
    assert plan(image, out=out) is out
    assert_array_equal(out, graddesc.restore(image, mask))
    known = 1 - mask
    for given, name, overlapping in [
        (plan, "mask", mask),
        (plan, "image", image),
        (graddesc.Plan(known=known), "known", known),
    ]:
        kept = overlapping.copy()
        with pytest.raises(ValueError, match=f"^out must not overlap {name}$"):
            given(image, out=overlapping)
        assert_array_equal(overlapping, kept)
    with pytest.raises(ValueError, match=r"^out must have shape \(24, 31\) and dtype uint8, got \(31, 24\) and uint8$"):
        plan(image, out=out.T)


MASK = np.eye(4, 5, dtype=bool)
MASKS = np.stack([MASK] * 3)
SHAPE = "shape must be 2 or 3 positive integers"


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((), {}, TypeError, "mask must be given, or known in its place, got None for both"),
        ((MASK,), {"channel_axis": "x"}, TypeError, "^channel_axis must be an integer, got 'x'$"),
        ((MASK,), {"channel_axis": True}, TypeError, "^channel_axis must be an integer, got True$"),
        ((MASK,), {"channel_axis": 7}, ValueError, "^channel_axis must be an axis of image, from -3 to 2, got 7$"),
        ((MASKS,), {"channel_axis": -4}, ValueError, "^channel_axis must be an axis of image, from -3 to 2, got -4$"),
        ((MASK, 5), {}, TypeError, f"^{SHAPE}, got 5$"),
        ((MASK, "45"), {}, TypeError, f"^{SHAPE}, got '45'$"),
        ((MASK, (4, 5.0)), {}, TypeError, rf"^{SHAPE}, got \(4, 5.0\)$"),
        ((MASK, (True, 5)), {}, TypeError, rf"^{SHAPE}, got \(True, 5\)$"),
        ((MASK, (-4, 5)), {}, ValueError, rf"^{SHAPE}, got \(-4, 5\)$"),
        ((MASK, (0, 5)), {}, ValueError, rf"^{SHAPE}, got \(0, 5\)$"),
        ((MASKS, (2, 3, 4, 5)), {}, ValueError, rf"^{SHAPE}, got \(2, 3, 4, 5\)$"),
        (
            (MASK, (4, 5)),
            {"channel_axis": 2},
            ValueError,
            r"^shape must be 3 or 4 positive integers with channel_axis, got \(4, 5\)$",
        ),
        ((MASK[:0],), {}, ValueError, r"^mask must not be empty, got shape \(0, 5\)$"),
        ((), {"known": MASKS[:0], "channel_axis": 0}, ValueError, r"^known must not be empty, got shape \(0, 4, 5\)$"),
        ((MASK,), {"known": ~MASK}, ValueError, "mask and known must not both be given"),
        (
            (MASK.astype(complex),),
            {},
            TypeError,
            "mask must be of bool or of numbers that are zero or not, got complex128",
        ),
        ((MASK, (5, 4)), {}, ValueError, r"mask must have shape \(5, 4\), got \(4, 5\)"),
        ((MASK, [5, 4]), {}, ValueError, r"mask must have shape \(5, 4\), got \(4, 5\)"),
        ((), {"known": MASK, "shape": (5, 4)}, ValueError, r"known must have shape \(5, 4\), got \(4, 5\)"),
        (
            (MASK, (5, 4, 3)),
            {"channel_axis": -1},
            ValueError,
            r"mask must have shape \(5, 4\) or \(5, 4, 3\), got \(4, 5\)",
        ),
        ((MASK[0],), {}, ValueError, r"mask must be 2-D or 3-D, got shape \(5,\)"),
        (
            (MASKS[np.newaxis],),
            {},
            ValueError,
            r"mask must be 2-D or 3-D, got shape \(1, 3, 4, 5\)",
        ),
        ((~MASK | True,), {}, ValueError, "mask must leave at least one pixel known, got none"),
        (
            (np.stack([MASK, ~MASK | True]),),
            {"channel_axis": 0},
            ValueError,
            "mask must leave at least one pixel known, got none in channel 1",
        ),
        ((MASK,), {"loss": "lines"}, ValueError, "loss must be one of 'line'.*got 'lines'"),
        ((MASK,), {"loss": losses.EdgeAligned}, TypeError, "loss must be a name, a loss of graddesc.losses or"),
        ((MASK,), {"threads": 0}, ValueError, "threads must be a positive integer, got 0"),
        ((MASK,), {"threads": True}, TypeError, "threads must be a positive integer, got True"),
    ],
)
def test_bad_plans(arguments, settings, error, message):
    with pytest.raises(error, match=message):
        graddesc.Plan(*arguments, **settings)


@pytest.mark.parametrize(
    ("plan", "image", "message"),
    [
        (graddesc.Plan(MASK, (4, 5)), np.ones((5, 4)), r"image must have shape \(4, 5\), got \(5, 4\)"),
        (graddesc.Plan(MASK), np.ones((5, 4)), r"image must have rows and columns \(4, 5\), got shape \(5, 4\)"),
        (
            graddesc.Plan(MASK),
            np.ones((4, 5, 3)),
            "image must be 2-D, or 3-D with channel_axis or frame_axis, got shape",
        ),
        (
            graddesc.Plan(MASK, channel_axis=-1),
            np.ones((3, 4, 5)),
            r"image must have rows and columns \(4, 5\), got shape \(3, 4, 5\)",
        ),
        (graddesc.Plan(MASK, channel_axis=-1), np.ones((4, 5)), "image must be 3-D with channel_axis, got shape"),
        (
            graddesc.Plan(np.stack([MASK, ~MASK]), channel_axis=0),
            np.ones((3, 4, 5)),
            r"image must have 2 channels, as the mask has, got shape \(3, 4, 5\)",
        ),
    ],
)
def test_images_that_do_not_fit(plan, image, message):
    with pytest.raises(ValueError, match=message):
        plan(image)
