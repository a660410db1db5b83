"""restore(): what it keeps, what it reaches, what it refuses."""

import functools
import itertools
import tracemalloc

import numpy as np
import pytest
import reference
from cases import each
from hypothesis import given, settings
from hypothesis import strategies as st
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal

import graddesc
from graddesc import losses
from graddesc.losses.sweeps import Momentum, Trend
from graddesc.restoration import methods, solver, texture
from graddesc.restoration.windows import WindowSteps

CLASSIC = {"step": graddesc.InverseTime(1.5, floor=0.015), "init": "image"}
LINE = losses.LineSmoothness()
# Asked of the loss whose values are known; tests/test_stencil.py asks the others.
restore = functools.partial(graddesc.restore, loss="line")


def scene(rows=40, cols=52):
    i, j = np.mgrid[:rows, :cols]
    return 0.5 + 0.25 * np.sin(0.37 * i) + 0.25 * np.cos(0.23 * j)


def as_dtype(image, dtype):
    """An image in [0, 1] in the range of a dtype, none of its pixels at an extreme."""
    image = 0.02 + 0.96 * image
    if np.dtype(dtype).kind == "u":
        return np.rint(image * np.iinfo(dtype).max).astype(dtype)
    return image.astype(dtype)


IMAGE_DTYPES = [np.uint8, np.uint16, np.float32, np.float64]


@pytest.fixture(params=IMAGE_DTYPES, ids=lambda d: d.__name__)
def image_dtype(request):
    return request.param


# ---- the classic recipe ----


def classic_case():
    image = scene(24, 31)
    rng = np.random.default_rng(7)
    known = rng.random((24, 31)) < 0.1
    noise = rng.integers(0, 2, (24, 31))
    return image, np.where(known, image, noise), known


@pytest.mark.parametrize(
    ("steps", "fun", "total", "error"),
    [
        (1, 453.83315992933177, 378.55969828780155, 0.5088828870416807),
        (2, 430.4440975358793, 389.6725174648618, 0.459819350763279),
        (10, 132.96403196159602, 421.769812437439, 0.17638103032604588),
        (100, 38.17687213340081, 447.7360554523027, 0.12970641274242584),
        (500, 38.19435807244885, 449.06388805226834, 0.13232309029182165),
    ],
)
def test_classic_recipe(steps, fun, total, error):
    image, corrupted, known = classic_case()
    assert known.sum() == 69
    restored, info = restore(corrupted, known=known, max_iter=steps, full_output=True, **CLASSIC)
    # After hundreds of steps of a method that does not settle, differences of rounding have grown.
    rtol = 1e-12 if steps <= 10 else 1e-9
    assert_allclose(info.fun, fun, rtol=rtol)
    assert_allclose(restored.sum(), total, rtol=rtol)
    assert_allclose(np.sqrt(np.mean((restored - image) ** 2)), error, rtol=rtol)
    assert (info.nit, info.status, info.success) == (steps, 1, False)
    assert len(info.history) == steps
    assert info.history[-1] == info.fun


def test_classic_recipe_runs_500_iterations_by_default():
    _, corrupted, known = classic_case()
    assert restore(corrupted, known=known, full_output=True, **CLASSIC)[1].nit == 500


def test_classic_recipe_follows_the_slow_twin_in_integers():
    image = as_dtype(scene(12, 17), np.uint8)
    corrupted, mask = graddesc.masks.corrupt(image, 0.8, rng=3)
    x = corrupted / 255
    for k in range(7):
        x = reference.descend(x, mask, CLASSIC["step"](k), 0, 1)
    restored, info = restore(corrupted, mask, max_iter=7, full_output=True, **CLASSIC)
    # Computed in float32: a value half-way between two integers may go either way.
    assert np.abs(restored.astype(float) - np.rint(x * 255)).max() <= 1
    assert np.mean(restored != np.rint(x * 255)) < 0.01
    assert_allclose(info.fun, reference.line_value(x), rtol=1e-4)


def test_step_has_the_unit_of_a_float_image():
    image = 300 * scene(12, 17) - 50
    mask = np.random.default_rng(0).random(image.shape) < 0.5
    low, high = image[~mask].min(), image[~mask].max()
    x = np.clip(image, low, high)
    for _ in range(5):
        x = reference.descend(x, mask, 20.0, low, high)
    step = graddesc.Constant(20.0)
    restored, info = restore(image, mask, step=step, init="image", max_iter=5, full_output=True)
    assert_allclose(restored, x, rtol=1e-10)
    assert_allclose(info.fun, reference.line_value(x), rtol=1e-10)


def test_schedule_with_a_tolerance_stops():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.5
    step = graddesc.InverseTime(0.5)
    _, info = restore(image, mask, step=step, tol=1e-3, max_iter=10000, full_output=True)
    assert info.status == 0
    assert 1 < info.nit < 10000


# ---- the solver ----


def test_solver_reaches_the_minimum():
    image = scene(24, 31)
    mask = np.random.default_rng(1).random(image.shape) < 0.9
    best, info = restore(image, mask, tol=0, max_iter=3000, full_output=True)
    assert info.status == 0  # nothing changes any more
    # The certificate of a constrained minimum: a step along the gradient, clamped again, leads back.
    gradient = LINE.gradient(best)
    low, high = 0.0, 1.0
    assert np.abs(best - np.clip(best - 0.01 * gradient, low, high))[mask].max() < 1e-8
    # Moving anywhere from there climbs: the loss is convex.
    rng = np.random.default_rng(2)
    for size in (1e-1, 1e-2, 1e-3):
        moved = np.where(mask, np.clip(best + size * rng.standard_normal(image.shape), 0, 1), best)
        assert LINE.value(moved) > info.fun
    _, info_quick = restore(image, mask, full_output=True)
    assert info_quick.status == 0
    assert info_quick.nit < 100
    assert info.fun <= info_quick.fun <= 1.001 * info.fun


def test_solver_undercuts_the_classic_recipe():
    _, corrupted, known = classic_case()
    _, classic = restore(corrupted, known=known, full_output=True, **CLASSIC)
    _, solver = restore(corrupted, known=known, full_output=True)
    assert solver.fun < classic.fun
    assert solver.nit < 60


@pytest.mark.parametrize("start", ["pyramid", "nearest", "image", "array"])
def test_every_start_leads_to_the_same_minimum(start):
    image = scene()
    corrupted, mask = graddesc.masks.corrupt(image, 0.7, rng=1)
    init = np.full(image.shape, 0.4) if start == "array" else start
    restored, info = restore(corrupted, mask, init=init, tol=1e-6, max_iter=2000, full_output=True)
    best = restore(corrupted, mask, tol=1e-8, max_iter=3000, full_output=True)[1].fun
    assert info.status == 0
    assert_allclose(info.fun, best, rtol=1e-5)
    assert_array_equal(restored[~mask], image[~mask])


def test_starts_themselves():
    image = np.array([[0.25, 0.1, 0.2, 0.3, 0.75]])
    mask = np.array([[False, True, True, True, False]])

    def started(init):
        return restore(image, mask, init=init, max_iter=0)

    assert_array_equal(started("image"), image)
    assert_array_equal(started("nearest")[0, [1, 3]], [0.25, 0.75])
    assert_allclose(started("pyramid"), reference.pyramid(image, mask), rtol=1e-15)
    assert_array_equal(started(np.full((1, 5), 9.0))[0, 1:4], [1, 1, 1])
    assert_array_equal(started(np.full((1, 5), 9.0))[0, [0, 4]], [0.25, 0.75])


@each(
    "shape, known",
    [
        ((1, 1), [(0, 0)]),
        ((1, 50), [(0, 7), (0, 30)]),
        ((50, 1), [(7, 0), (30, 0)]),
        ((30, 40), [(11, 17)]),
        ((30, 40), [(0, 0), (0, 1), (1, 0)]),
        ((2, 3), [(0, 0), (1, 2)]),
    ],
)
@each("image_dtype", IMAGE_DTYPES)
def test_few_known_pixels_give_a_sane_image(shape, known, image_dtype):
    mask = np.ones(shape, bool)
    image = as_dtype(np.random.default_rng(0).random(shape), image_dtype)
    for at in known:
        mask[at] = False
    restored = restore(image, mask)
    values = image[~mask]
    assert_array_equal(restored[~mask], values)
    slack = 0 if np.dtype(image_dtype).kind == "u" else 1e-6
    assert restored.min() >= values.min() - slack
    assert restored.max() <= values.max() + slack


def test_hole_is_bridged():
    image = np.add.outer(np.zeros(40), np.linspace(0.1, 0.9, 60))
    mask = np.zeros(image.shape, bool)
    mask[10:30, 15:45] = True
    restored = restore(np.where(mask, 0.0, image), mask, tol=1e-5)
    assert np.abs(restored - image).max() < 0.02


def test_edge_restores_a_line_of_pixels():
    x = np.arange(80.0)
    truth = np.sin(x / 6)
    mask = np.random.default_rng(2).random(80) < 0.5
    mask[[0, 79]] = False
    flags, damaged = mask[np.newaxis], np.where(mask, 9.0, truth)[np.newaxis]

    def error(restored, wanted=truth):
        return float(np.sqrt(np.mean((restored[0] - wanted)[mask] ** 2)))

    restored, info = graddesc.restore(damaged, flags, full_output=True, confidence=True)
    assert info.status == 0
    assert info.fun > 0
    assert error(restored) < 0.5 * error(graddesc.restore(damaged, flags, loss="harmonic"))
    assert error(restored) < 0.2 * error(graddesc.restore(damaged, flags, max_iter=0))  # where it stayed
    assert_array_equal(graddesc.Plan(flags)(damaged), restored)
    assert_allclose(graddesc.restore(damaged.T, flags.T).T, restored, atol=1e-3)
    assert_allclose(graddesc.restore(damaged[:, ::-1], flags[:, ::-1])[:, ::-1], restored, atol=1e-3)
    colour = graddesc.restore(np.stack([damaged, 2 * damaged + 1], -1), flags, channel_axis=-1)
    for channel, wanted in enumerate((truth, 2 * truth + 1)):
        assert error(colour[..., channel], wanted) < 0.1


# ---- losses of the caller's ----


def line_function(x):
    return LINE.value_and_gradient(x)


def test_callable_loss_takes_plain_steps_like_the_compiled_one():
    image = scene()
    corrupted, mask = graddesc.masks.corrupt(image, 0.8, rng=1)
    expected, info = restore(corrupted, mask, max_iter=20, full_output=True, **CLASSIC)
    restored, own = restore(corrupted, mask, loss=line_function, max_iter=20, full_output=True, **CLASSIC)
    assert_allclose(restored, expected, rtol=1e-9)
    assert_allclose(own.history, info.history, rtol=1e-11)
    assert own.fun == own.history[-1]


def test_iterations_of_a_callable_loss_are_counted():
    image = scene(24, 31)
    mask = np.random.default_rng(1).random(image.shape) < 0.8
    _, info = restore(image, mask, loss=line_function, max_iter=3, full_output=True)
    assert (info.nit, info.status, len(info.history)) == (3, 1, 3)


@pytest.mark.parametrize("name", ["mask", "known"])
def test_out_must_not_overlap_the_mask(name):
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    flags = np.zeros((4, 5), np.uint8)
    flags[1, 1] = 1
    with pytest.raises(ValueError, match=f"out must not overlap {name}"):
        restore(image, **{name: flags}, out=flags)


def test_callable_loss_is_minimised():
    image = scene(24, 31)
    mask = np.random.default_rng(1).random(image.shape) < 0.8
    best = restore(image, mask, tol=1e-8, max_iter=3000, full_output=True)[1].fun
    seen = []
    restored, info = restore(image, mask, loss=line_function, full_output=True, callback=seen.append)
    assert info.status == 0
    assert_allclose(info.fun, best, rtol=1e-2)
    assert_allclose(info.fun, LINE.value(restored), rtol=1e-12)
    assert_array_equal(restored[~mask], image[~mask])
    assert len(seen) == info.nit == len(info.history)


def test_callable_loss_sees_the_image_in_its_shape_and_units():
    shapes = []

    def loss(x):
        shapes.append(x.shape)
        assert x.dtype == np.float64
        assert x[0, 0, 0] == image[0, 0, 0]
        # Channels want to be equal: nothing that a loss of single channels could ask for.
        mean = x.mean(axis=1, keepdims=True)
        return float(np.sum((x - mean) ** 2)), 2 * (x - mean)

    image = 100 * np.random.default_rng(0).random((6, 3, 7))
    mask = np.zeros(image.shape, bool)
    mask[:, 2] = True
    mask[0, 0, 0] = mask[0, 2, 0] = False
    restored = restore(image, mask, loss=loss, channel_axis=1, tol=1e-8)
    assert_allclose(restored[1:, 2], restored[1:, :2].mean(axis=1), rtol=1e-5)
    assert set(shapes) == {(6, 3, 7)}
    # Integers come scaled to [0, 1]: the loss compares x[0, 0, 0] with this.
    whole = np.full((3, 4, 1), 51, np.uint8)
    image = whole / 255
    restore(whole, np.eye(3, 4, 1, dtype=bool), loss=loss, channel_axis=2)


def test_callable_loss_stops_as_others_do():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.8

    def stop(intermediate_result):
        if intermediate_result.nit == 3:
            raise StopIteration

    for kwargs, status in [({"callback": stop}, 99), ({"max_iter": 2}, 1), ({"max_time": 0}, 5)]:
        assert restore(image, mask, loss=line_function, full_output=True, **kwargs)[1].status == status


@pytest.mark.parametrize("name", ["sweeps", "sweeps_of", "stages", "operator", "momentum"])
def test_callable_loss_is_one_whatever_its_attributes_are_called(name):
    class Loss:
        def __call__(self, x):
            return line_function(x)

    image = scene(24, 31)
    mask = np.random.default_rng(1).random(image.shape) < 0.8
    loss = Loss()
    setattr(loss, name, lambda *args: pytest.fail("nobody has been told what this is"))
    for recipe in ({}, CLASSIC | {"max_iter": 3}):
        expected = restore(image, mask, loss=line_function, **recipe)
        assert_array_equal(restore(image, mask, loss=loss, **recipe), expected)
    with pytest.raises(ValueError, match="confidence must not be asked of a callable loss"):
        restore(image, mask, loss=loss, full_output=True, confidence=True)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda x: 1.0, TypeError, r"loss must return a pair \(value, gradient\), got 1.0"),
        (lambda x: (1.0, x.T), ValueError, r"loss must return a gradient of shape \(4, 5\), got \(5, 4\)"),
        (lambda x: 1 / 0, ZeroDivisionError, "division"),
    ],
)
def test_callable_loss_that_is_wrong(loss, error, message):
    with pytest.raises(error, match=message):
        restore(GOOD, MASK, loss=loss)


# ---- what is kept ----


@each("recipe", ["solver", "classic"])
@each("channel_axis", [None, 0, 1, 2, -1, -2, -3])
@each("image_dtype", IMAGE_DTYPES)
def test_known_pixels_and_the_input_stay(recipe, channel_axis, image_dtype):
    image = as_dtype(np.stack([scene(), scene() ** 2, 1 - scene()]), image_dtype)
    image = image[0] if channel_axis is None else np.moveaxis(image, 0, channel_axis)
    corrupted, mask = graddesc.masks.corrupt(image, 0.8, rng=1, channel_axis=channel_axis)
    kept = corrupted.copy()
    corrupted.flags.writeable = mask.flags.writeable = False
    settings = {} if recipe == "solver" else CLASSIC | {"max_iter": 30}
    restored = restore(corrupted, mask, channel_axis=channel_axis, **settings)
    assert restored.dtype == image_dtype
    assert restored.shape == image.shape
    wide = np.broadcast_to(mask if channel_axis is None else np.expand_dims(mask, channel_axis), image.shape)
    assert_array_equal(restored[~wide], image[~wide])
    assert_array_equal(corrupted, kept)
    error = np.sqrt(np.mean((restored.astype(float) - image) ** 2)) / (image.max() - image.min())
    assert error < (0.1 if recipe == "solver" else 0.3)


@settings(max_examples=150)
@given(data=st.data())
def test_any_image_and_mask(data):
    rows, cols = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    channels = data.draw(st.sampled_from([None, 1, 2, 3]))
    dtype = np.dtype(data.draw(st.sampled_from(["u1", "u2", "f4", "f8", ">f4", ">f8", ">u2"])))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = (rows, cols) if channels is None else (rows, cols, channels)
    if dtype.kind == "u":
        image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    else:
        scale = 10.0 ** data.draw(st.integers(-30, 30))
        image = (scale * (rng.random(shape) - data.draw(st.floats(-1, 1)))).astype(dtype)
    per_channel = channels is not None and data.draw(st.booleans())
    mask = rng.random(shape if per_channel else (rows, cols)) < data.draw(st.floats(0, 1))
    if per_channel:
        mask[rng.integers(rows), rng.integers(cols)] = False
    else:
        mask[rng.integers(rows), rng.integers(cols)] = False
    wide = mask if mask.ndim == image.ndim else np.broadcast_to(mask[..., np.newaxis], shape)
    if dtype.kind == "f" and data.draw(st.booleans()):
        image[wide] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 3e38]))
    layout = data.draw(st.sampled_from(["C", "F", "reversed", "strided"]))
    given_image = {
        "C": image,
        "F": np.asfortranarray(image),
        "reversed": np.flip(np.flip(image).copy()),
        "strided": np.repeat(image, 2, axis=0)[::2],
    }[layout]
    axis = None if channels is None else -1
    loss = data.draw(st.sampled_from(["line", "harmonic", "hessian-tv", "edge"]))
    restored = restore(given_image, mask, loss=loss, channel_axis=axis, max_iter=15)
    assert restored.dtype == dtype
    assert restored.shape == shape
    assert_array_equal(restored[~wide], image[~wide])
    known = image[~wide]
    assert np.isfinite(restored).all()
    if dtype.kind == "f":
        low, high = (0, 1) if known.min() >= 0 and known.max() <= 1 else (known.min(), known.max())
        assert (restored >= low).all()
        assert (restored <= high).all()


def test_masks_of_each_channel():
    image = as_dtype(np.stack([scene(), scene() ** 2, 1 - scene()], axis=-1), np.float32)
    mask = np.random.default_rng(0).random(image.shape) < 0.6
    apart = np.stack(
        [restore(image[..., c], mask[..., c], bounds=(0, 1), max_iter=20, **CLASSIC) for c in range(3)],
        axis=-1,
    )
    together = restore(image, mask, channel_axis=-1, bounds=(0, 1), max_iter=20, **CLASSIC)
    assert_array_equal(together, apart)
    solved = restore(image, mask, channel_axis=-1)
    assert_array_equal(solved[~mask], image[~mask])
    assert np.sqrt(np.mean((solved - image) ** 2)) < 0.05


def test_mask_kinds_agree():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.5
    expected = restore(image, mask)
    for kwargs in (
        {"mask": 255 * mask.astype(np.uint8)},
        {"mask": -1 * mask},
        {"mask": mask.tolist()},
        {"known": ~mask},
        {"known": 7 * ~mask},
    ):
        assert_array_equal(restore(image, **kwargs), expected)


def test_mask_is_detected():
    image = as_dtype(scene(), np.uint8)
    corrupted, mask = graddesc.masks.corrupt(image, rng=0)
    with pytest.warns(UserWarning, match=f"{mask.sum()} of {mask.size} pixels are 0 or 255 and count as corrupt"):
        restored = restore(corrupted)
    assert_array_equal(restored, restore(corrupted, mask))
    holes = np.where(mask, np.nan, scene())
    assert_array_equal(restore(holes), restore(scene(), mask))


def test_nothing_corrupt_gives_a_copy(image_dtype):
    image = as_dtype(scene(), image_dtype)
    restored, info = restore(image, np.zeros(image.shape, bool), full_output=True)
    assert_array_equal(restored, image)
    assert not np.shares_memory(restored, image)
    assert (info.nit, info.status, info.success) == (0, 0, True)
    assert len(info.history) == 0
    scaled = image / np.iinfo(image_dtype).max if np.dtype(image_dtype).kind == "u" else image
    assert_allclose(info.fun, reference.line_value(scaled), rtol=1e-5)


def test_out_is_written_and_returned(image_dtype):
    image = as_dtype(scene(), image_dtype)
    mask = np.random.default_rng(0).random(image.shape) < 0.5
    expected = restore(image, mask)
    out = np.zeros((40, 104), image_dtype)[:, ::2]
    restored, info = restore(image, mask, out=out, full_output=True)
    assert restored is out
    assert info.x is out
    assert_array_equal(out, expected)


@pytest.mark.parametrize("shape", [(70, 90), (66, 1400)])
@pytest.mark.usefixtures("every_thread")
def test_threads_and_levels_give_the_same_bits(shape, level, image_dtype, monkeypatch):
    image = as_dtype(np.random.default_rng(0).random(shape), image_dtype)
    mask = np.random.default_rng(1).random(shape) < 0.8
    results = [restore(image, mask, threads=threads) for threads in (1, 2, 5)]
    use_level("baseline", monkeypatch)
    for result in results:
        assert_array_equal(result, restore(image, mask))


# ---- ranges and bounds ----


def test_bounds_clamp_the_corrupt_pixels():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.5
    restored = restore(image, mask, bounds=(0.4, 0.6))
    assert restored[mask].min() == 0.4
    assert restored[mask].max() == 0.6
    assert_array_equal(restored[~mask], image[~mask])
    whole = as_dtype(image, np.uint8)
    restored = restore(whole, mask, bounds=(100.5, 150))
    assert restored[mask].min() == 101
    assert restored[mask].max() == 150
    free = restore(image, mask, bounds=(-np.inf, np.inf))
    assert_allclose(free, restore(image, mask), atol=1e-6)


@each("factor", [1e-300, 1e-30, 1e-3, 255, 1e30, 1e300])
@each("offset", [0, -0.5, 3])
def test_scale_does_not_matter(factor, offset):
    image = scene() + offset
    mask = np.random.default_rng(0).random(image.shape) < 0.8
    expected, info = restore(image, mask, bounds=(offset, 1 + offset), full_output=True)
    scaled, info_scaled = restore(
        factor * image, mask, bounds=(factor * offset, factor * (1 + offset)), full_output=True
    )
    # The images are brought to [0, 1] by different divisions.
    assert_allclose(scaled / factor, expected, rtol=1e-6)
    assert_allclose(info_scaled.fun / factor, info.fun, rtol=1e-6)
    assert info_scaled.nit == info.nit


def test_constant_image_stays_constant(image_dtype):
    image = np.full((20, 30), 77).astype(image_dtype)
    mask = np.random.default_rng(0).random(image.shape) < 0.9
    restored, info = restore(np.where(mask, 0, image).astype(image_dtype), mask, full_output=True)
    assert_array_equal(restored, image)
    assert info.success
    assert_allclose(info.fun, 0, atol=1e-6)


@pytest.mark.parametrize("loss", ["line", "harmonic", "tv", "edge", "texture"])
def test_subnormals_are_restored(loss, dtype):
    # Of which 1, the upper bound of an image in [0, 1], is more multiples than a float can hold.
    image = np.round(100 * scene()).astype(dtype) * np.finfo(dtype).smallest_subnormal
    mask = np.random.default_rng(0).random(image.shape) < 0.5
    restored = graddesc.restore(image, mask, loss=loss)
    assert_array_equal(restored[~mask], image[~mask])
    # The range of an image in [0, 1] is [0, 1], so that a smooth continuation may exceed what is known.
    assert restored.min() >= 0
    assert restored.max() <= 1.05 * image.max()
    error = np.sqrt(np.mean((restored / image.max() - image / image.max()) ** 2))
    assert error < 0.1


@pytest.mark.parametrize("loss", ["line", "harmonic", "tv", "edge"])
def test_widest_range_of_a_dtype(loss, dtype):
    top = np.finfo(dtype).max
    image = np.array([[-top, 0, 0, top], [top, 0, 0, -top]], dtype)
    restored, info = restore(image, np.array([[0, 1, 1, 0]] * 2), loss=loss, full_output=True)
    assert np.isfinite(restored).all()
    assert info.success
    assert -0.5 * top < restored[0, 1] < restored[0, 2] < 0.5 * top


def test_a_pixel_far_off_costs_the_others_no_digits():
    image = scene().astype(np.float32)
    mask = np.random.default_rng(0).random(image.shape) < 0.8
    mask[0, 0] = False
    image[0, 0] = -1e6
    expected = restore(image.astype(np.float64), mask)
    assert_allclose(restore(image, mask)[20:, 20:], expected[20:, 20:], atol=1e-4)


# ---- reports and stops ----


@pytest.mark.parametrize("case", ["half", "nine tenths", "99 of 100", "hole"])
def test_success_means_close_to_the_minimum(case):
    image = scene(96, 90)
    if case == "hole":
        mask = np.zeros(image.shape, bool)
        mask[20:70, 20:70] = True
    else:
        missing = {"half": 0.5, "nine tenths": 0.9, "99 of 100": 0.99}[case]
        mask = np.random.default_rng(0).random(image.shape) < missing
    restored, info = restore(image, mask, full_output=True)
    best, best_info = restore(image, mask, tol=1e-9, full_output=True)
    assert info.success
    assert (1 - 1e-12) * best_info.fun <= info.fun <= 1.001 * best_info.fun
    contrast = np.sqrt(np.mean(np.diff(best) ** 2))
    assert np.sqrt(np.mean((restored - best)[mask] ** 2)) < 0.3 * contrast


def test_all_channels_decide_when_to_stop():
    image = np.stack([scene(), np.full((40, 52), 0.5), scene().T[:40, :].repeat(2, axis=1)[:, :52]])
    mask = np.random.default_rng(0).random((40, 52)) < 0.9
    runs = [
        restore(image[order], mask, channel_axis=0, full_output=True)[1] for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1])
    ]
    assert len({run.nit for run in runs}) == 1
    for run in runs[1:]:
        assert_allclose(run.history, runs[0].history, rtol=1e-12)
    # Three equal channels take the way of one.
    one = restore(image[0], mask, full_output=True)[1]
    three = restore(image[[0, 0, 0]], mask, channel_axis=0, full_output=True)[1]
    assert one.nit == three.nit
    assert_allclose(three.history, 3 * one.history, rtol=1e-12)


@pytest.mark.parametrize("loss", ["line", "harmonic", "tv", "edge"])
def test_a_start_far_away_is_finite_all_along(loss):
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.8
    start = np.full(image.shape, 1e200)
    start[::2] = -1e200
    settings = {"loss": loss, "init": start, "bounds": (-np.inf, np.inf)}
    restored, info = graddesc.restore(image, mask, full_output=True, **settings)
    assert info.status in (0, 1)
    assert np.isfinite(restored).all()
    assert np.isfinite(info.history).all()


def test_change_yet_to_come_is_that_of_a_geometric_series_at_least():
    falling, series = Trend(), []
    for k in range(12):
        series.append((falling.expected(0.5**k, False), 0.5**k))
    assert all(expected >= 50 * change for expected, change in series[:8])  # nobody knows yet
    assert all(change <= expected < 5 * change for expected, change in series[8:])
    # Changes that grow, or whose momentum has started afresh, are no series; who has come far will go far.
    assert falling.expected(1.0, False) >= 50
    assert falling.expected(0.3, True) >= 15
    constant = Trend()
    assert [constant.expected(0.3, False) for _ in range(200)][-1] > 50 * 0.3


@each(
    "first, last, expected",
    [
        (0.5, 1.0, (0.25, 1.0)),  # all of 0 to 1, as the known pixels lie in it, ends included
        (0.0, 0.5, (0.0, 0.75)),
        (0.5, 1.001, (0.5, 1.001)),  # no more than the known pixels have
        (-0.001, 0.5, (-0.001, 0.5)),
    ],
)
def test_floats_are_continued_within_0_and_1_or_else_within_what_is_known(first, last, expected):
    # Second differences continue the ramp by half its length on both sides, down to the least and up to the greatest.
    image = np.full((3, 401), np.nan)
    image[:, 100:301] = np.linspace(first, last, 201)
    restored = graddesc.restore(image, loss="biharmonic", tol=1e-6)
    assert_allclose((restored.min(), restored.max()), expected, atol=2e-3)


def test_bounds_are_not_those_of_an_image_clamped_at_the_end():
    grey = scene(50, 60)
    mask = np.random.default_rng(3).random(grey.shape) < 0.85
    image = np.stack([grey, 1 - grey, grey**2])
    settings = {"loss": "edge", "channel_axis": 0, "bounds": (0.4, 0.5), "tol": 1e-4}
    apart = np.stack([mask] * 3)
    expected = graddesc.restore(image, apart, **settings)
    assert_allclose(graddesc.restore(image, mask, **settings), expected, atol=1e-4)
    free = graddesc.restore(image, mask, **settings | {"bounds": None})
    assert np.abs(np.clip(free, 0.4, 0.5) - expected)[:, mask].max() > 0.01


@pytest.mark.parametrize("loss", ["harmonic", "biharmonic"])
def test_bounds_cut_the_minimiser_of_a_sum_of_squares(loss):
    image = np.stack([scene(50, 60), 1 - scene(50, 60)])
    mask = np.random.default_rng(3).random(image.shape[1:]) < 0.85
    kind = ["harmonic", "biharmonic"].index(loss)
    expected = np.stack([np.clip(reference.minimiser(kind, plane, mask), 0.4, 0.5) for plane in image])
    settings = {"loss": loss, "channel_axis": 0, "bounds": (0.4, 0.5), "tol": 1e-6}
    for masks in (mask, np.stack([mask, mask])):
        restored = graddesc.restore(image, masks, **settings)
        assert_allclose(restored[:, mask], expected[:, mask], atol=1e-5)


@pytest.mark.parametrize("loss", ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"])
def test_coarse_levels_do_most_of_the_work(loss):
    image = scene(96, 90)
    mask = np.random.default_rng(0).random(image.shape) < 0.95
    # The pyramid's fill, given as values: "edge" descends its averages before the first iteration.
    filled = graddesc.restore(image, mask, loss="line", max_iter=0)
    first, best = (graddesc.restore(image, mask, loss=loss, max_iter=n, tol=0) for n in (1, 60))
    offset, factor = reference.contrast_unit(image[~mask])
    start, first, best = (losses.by_name(loss).value((x - offset) / factor) for x in (filled, first, best))
    assert best < first < best + 0.6 * (start - best)


@pytest.mark.parametrize("shape", [(3, 2000), (2000, 2)])
def test_strips_have_coarse_levels(shape):
    image = scene(*shape)
    mask = np.random.default_rng(0).random(image.shape) < 0.95
    start = restore(image, mask, max_iter=0)
    best = graddesc.restore(image, mask, tol=1e-7)
    coarse, plain = (
        np.linalg.norm((graddesc.restore(image, mask, init=init, max_iter=1) - best)[mask])
        for init in ("pyramid", start)
    )
    assert coarse < 0.8 * plain


def test_momentum_grows_and_starts_afresh():
    plain = Momentum()
    t, expected = 1.0, []
    for _ in range(30):
        t, before = (1 + np.sqrt(1 + 4 * t * t)) / 2, t
        expected.append((before - 1) / t)
    assert_allclose([plain.next() for _ in range(30)], expected, rtol=1e-14)
    plain.restart()
    assert plain.next() == 0


@pytest.mark.parametrize("loss", ["harmonic", "tv", "hessian-tv"])
def test_plain_steps_are_those_of_the_gradient(loss):
    image = scene(24, 31)
    mask = np.random.default_rng(3).random(image.shape) < 0.6
    offset, factor = reference.contrast_unit(image[~mask])

    def function(x):
        value, gradient = losses.by_name(loss).value_and_gradient((x - offset) / factor)
        return value, gradient / factor

    # A step in the unit of the loss is factor^2 times one in that of the image.
    step, own = graddesc.Constant(2e-3), graddesc.Constant(2e-3 * factor**2)
    restored, info = graddesc.restore(image, mask, loss=loss, step=step, max_iter=4, full_output=True)
    expected, told = graddesc.restore(image, mask, loss=function, step=own, max_iter=4, full_output=True)
    assert_allclose(restored, expected, rtol=1e-12)
    assert_allclose(info.history, told.history, rtol=1e-12)
    # Of several channels each is clamped in each step.
    image, settings = np.stack([image, 1 - image]), {"step": graddesc.Constant(0.4), "max_iter": 4, "channel_axis": 0}
    shared = graddesc.restore(image, mask, loss="harmonic", **settings)
    assert_array_equal(shared, graddesc.restore(image, np.stack([mask, mask]), loss="harmonic", **settings))


def test_a_step_of_zero_is_no_sign_of_rest():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.8
    step = lambda k: 0.0 if k == 0 else 0.01  # noqa: E731
    _, info = restore(image, mask, step=step, tol=1e-4, max_iter=5, full_output=True)
    assert info.nit > 1


def test_callback_sees_every_iteration():
    image = as_dtype(scene(), np.uint8)
    corrupted, mask = graddesc.masks.corrupt(image, 0.8, rng=1)
    seen = []
    restored, info = restore(
        corrupted, mask, callback=lambda intermediate_result: seen.append(intermediate_result), full_output=True
    )
    assert [state.nit for state in seen] == list(range(1, info.nit + 1))
    assert_array_equal([state.fun for state in seen], info.history)
    assert_array_equal(seen[-1].x, restored)
    assert not any(np.shares_memory(a.x, b.x) for a, b in itertools.pairwise(seen))
    assert (seen[0].x != seen[-1].x).any()
    for state in seen:
        assert state.x.dtype == np.uint8
        assert_array_equal(state.x[~mask], image[~mask])
        assert state.step is None
    seen.clear()
    restore(corrupted, mask, callback=seen.append, max_iter=3, **CLASSIC)
    assert [state.step for state in seen] == [1.5, 0.75, 0.5]


def test_history_and_fun_are_the_loss_of_the_image():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.8
    seen = []
    restored, info = restore(image, mask, callback=seen.append, full_output=True)
    assert_allclose([reference.line_value(state.x) for state in seen], info.history, rtol=1e-12)
    assert_allclose(info.fun, reference.line_value(restored), rtol=1e-12)
    assert info.x is restored


def test_callback_stops_and_errors_pass_through():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.8

    def stop(intermediate_result):
        if intermediate_result.nit == 3:
            raise StopIteration

    restored, info = restore(image, mask, callback=stop, full_output=True)
    assert (info.nit, info.status, info.success) == (3, 99, False)
    assert_array_equal(restored, restore(image, mask, max_iter=3))

    def fail(intermediate_result):
        raise RuntimeError("from the callback")

    out = np.full_like(image, -1)
    with pytest.raises(RuntimeError, match="from the callback"):
        restore(image, mask, callback=fail, out=out)
    assert (out == -1).all()


def test_iterations_and_time_end_a_run():
    image = scene()
    mask = np.random.default_rng(0).random(image.shape) < 0.8
    _, info = restore(image, mask, max_iter=2, full_output=True)
    assert (info.nit, info.status, info.success) == (2, 1, False)
    assert "iterations" in info.message
    many = graddesc.restore(image, mask, max_iter=2**40)  # more than a C int holds
    assert_array_equal(many, graddesc.restore(image, mask, max_iter=10**4))
    restored, info = restore(image, mask, tol=0, max_time=0, full_output=True)
    assert (info.nit, info.status, info.success) == (1, 5, False)
    assert "time" in info.message
    assert_array_equal(restored, restore(image, mask, max_iter=1))


def test_memory_is_bounded():
    image = np.random.default_rng(0).random((600, 700)).astype(np.float32)
    mask = np.random.default_rng(1).random(image.shape) < 0.9
    restore(image[:9, :9], mask[:9, :9])
    tracemalloc.start()
    try:
        restore(image, mask)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The image in the working dtype and at most four more arrays of its size.
    assert peak <= 5 * image.nbytes


# ---- bad input ----

GOOD = np.linspace(0.1, 0.9, 20).reshape(4, 5)
MASK = np.eye(4, 5, dtype=bool)


def replace(array, at, value):
    array = array.copy()
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("image", "kwargs", "error", "message"),
    [
        (GOOD, {"mask": MASK.T}, ValueError, r"mask must have shape \(4, 5\), got \(5, 4\)"),
        (GOOD, {"known": MASK.T}, ValueError, r"known must have shape \(4, 5\), got \(5, 4\)"),
        (GOOD, {"mask": MASK, "known": ~MASK}, ValueError, "mask and known must not both be given"),
        (
            GOOD,
            {"mask": MASK.astype(complex)},
            TypeError,
            "mask must be of bool or of numbers that are zero or not, got complex",
        ),
        (GOOD, {"mask": np.ones((4, 5), bool)}, ValueError, "mask must leave at least one pixel known, got none"),
        (GOOD, {"known": np.zeros((4, 5), bool)}, ValueError, "known must leave at least one pixel known, got none"),
        (
            np.full((4, 5), np.nan),
            {"mask": None},
            ValueError,
            "detected, must leave at least one pixel known, got none",
        ),
        (GOOD, {"bounds": (np.inf, np.inf)}, ValueError, "bounds must be a pair"),
        (
            GOOD,
            {"bounds": "01"},
            TypeError,
            "bounds must be a pair of numbers, or of None where there is none, got '01'",
        ),
        (GOOD, {"tol": "0.1"}, TypeError, "tol must be a non-negative finite number, got '0.1'"),
        (GOOD, {"loss": losses.LineSmoothness}, TypeError, "loss must be a name, a loss of graddesc.losses or"),
        (GOOD, {"out": np.ma.array(GOOD.copy(), mask=MASK)}, TypeError, "out must be a numpy array, got MaskedArray"),
        (
            np.dstack([GOOD, GOOD]),
            {"mask": np.dstack([MASK, ~MASK | True]), "channel_axis": 2},
            ValueError,
            "mask must leave at least one pixel known, got none in channel 1",
        ),
        (
            np.dstack([GOOD, GOOD]),
            {"mask": MASK.T, "channel_axis": 2},
            ValueError,
            r"mask must have shape \(4, 5\) or \(4, 5, 2\), got \(5, 4\)",
        ),
        (
            replace(GOOD, (2, 3), np.nan),
            {"mask": MASK},
            ValueError,
            r"image must be finite where it is known, got nan at row 2, column 3 \(1 in all\)",
        ),
        (
            replace(GOOD, (2, 3), np.nan),
            {"loss": "biharmonic", "out": np.zeros((4, 5))},
            ValueError,
            r"image must be finite where it is known, got nan at row 2, column 3 \(1 in all\)",
        ),
        (replace(GOOD, (2, 3), -np.inf), {"mask": MASK}, ValueError, "got -inf at row 2, column 3"),
        (
            np.dstack([GOOD, replace(GOOD, (1, 0), np.inf)]),
            {"mask": MASK, "channel_axis": 2},
            ValueError,
            "got inf at row 1, column 0, channel 1",
        ),
        (
            GOOD.astype(complex),
            {},
            TypeError,
            "image must be of integers or of floats of at most 64 bits, got complex128",
        ),
        (GOOD.astype(object), {}, TypeError, "got object"),
        (GOOD > 0, {}, TypeError, "got bool"),
        (GOOD.astype(str), {}, TypeError, "got <U32"),
        (GOOD.astype(np.longdouble), {}, TypeError, "image must be .* of floats of at most 64 bits, got float128"),
        (np.ma.masked_less(GOOD, 0.5), {}, ValueError, "image must mask no pixel that mask calls known"),
        (np.zeros((0, 5)), {}, ValueError, r"image must not be empty, got shape \(0, 5\)"),
        (
            np.zeros(5),
            {},
            ValueError,
            r"image must be 2-D or 3-D, got shape \(5,\) and a mask of shape \(4, 5\)",
        ),
        (np.zeros((4, 5, 3)), {}, ValueError, "image must be 2-D, or 3-D with channel_axis or frame_axis"),
        (np.zeros((1, 1, 4, 5, 3)), {}, ValueError, "image must be 2-D"),
        (np.zeros((1, 1, 4, 5, 3)), {"channel_axis": 4}, ValueError, "image must be 3-D or 4-D with channel_axis"),
        (GOOD, {"channel_axis": -1}, ValueError, "image must be 3-D or 4-D with channel_axis"),
        (np.zeros((4, 5, 3)), {"channel_axis": 3}, ValueError, "channel_axis must be an axis of image.*got 3"),
        (np.zeros((4, 5, 3)), {"channel_axis": 1.5}, TypeError, "channel_axis must be an integer, got 1.5"),
        (np.zeros((4, 5, 3)), {"channel_axis": True}, TypeError, "channel_axis must be an integer, got True"),
        (GOOD, {"out": np.zeros((4, 5), np.float32)}, ValueError, "out must have shape .* got .* and float32"),
        (GOOD, {"out": np.zeros((5, 4))}, ValueError, r"out must have shape \(4, 5\)"),
        (GOOD, {"out": [[0.0] * 5] * 4}, TypeError, "out must be a numpy array, got list"),
        (GOOD, {"out": GOOD}, ValueError, "out must not overlap image"),
        (GOOD, {"out": np.broadcast_to(0.0, (4, 5))}, ValueError, "out must be writeable"),
        (GOOD, {"tol": -1}, ValueError, "tol must be a non-negative finite number, got -1"),
        (GOOD, {"tol": np.nan}, ValueError, "tol must be a non-negative finite number, got nan"),
        (GOOD, {"tol": "small"}, TypeError, "tol must be a non-negative finite number, got 'small'"),
        (GOOD, {"max_time": -1}, ValueError, "max_time must be a non-negative finite number"),
        (GOOD, {"max_time": np.nan}, ValueError, "max_time must be a non-negative finite number"),
        (GOOD, {"max_iter": -1}, ValueError, "max_iter must be a non-negative integer, got -1"),
        (GOOD, {"max_iter": 1.5}, TypeError, "max_iter must be a non-negative integer, got 1.5"),
        (GOOD, {"max_iter": True}, TypeError, "max_iter must be a non-negative integer, got True"),
        (GOOD, {"tol": True}, TypeError, "tol must be a non-negative finite number, got True"),
        (GOOD, {"threads": True}, TypeError, "threads must be a positive integer, got True"),
        (GOOD, {"threads": 0}, ValueError, "threads must be a positive integer, got 0"),
        (GOOD, {"threads": -2}, ValueError, "threads must be a positive integer, got -2"),
        (GOOD, {"threads": np.nan}, TypeError, "threads must be a positive integer, got nan"),
        (GOOD, {"step": 0.1}, TypeError, "step must be None or a schedule"),
        (
            GOOD,
            {"step": lambda k: -0.1},
            ValueError,
            "step must return a non-negative finite number, got -0.1 in iteration 0",
        ),
        (
            GOOD,
            {"step": lambda k: np.nan},
            ValueError,
            "step must return a non-negative finite number, got nan in iteration 0",
        ),
        (GOOD, {"step": lambda k: None}, TypeError, "step must return a number, got None in iteration 0"),
        (GOOD, {"loss": "lines"}, ValueError, "loss must be one of 'line'.*got 'lines'"),
        (GOOD, {"loss": 3}, TypeError, "loss must be .*got 3"),
        (GOOD, {"init": "zeros"}, ValueError, "init must be 'pyramid', 'nearest', 'image' or an array, got 'zeros'"),
        (GOOD, {"init": np.zeros((5, 4))}, ValueError, r"init must have shape \(4, 5\), got \(5, 4\)"),
        (GOOD, {"init": np.full((4, 5), np.nan)}, ValueError, "init must be finite where the image is corrupt"),
        (GOOD, {"init": np.full((4, 5), 1j)}, TypeError, "init must be an array of real numbers, got complex128"),
        (
            replace(GOOD, (0, 0), np.nan),
            {"init": "image"},
            ValueError,
            "init must be finite where the image is corrupt",
        ),
        (GOOD, {"bounds": (1, 0)}, ValueError, r"bounds must be a pair \(low, high\) with low <= high"),
        (GOOD, {"bounds": (np.nan, 1)}, ValueError, "bounds must be a pair"),
        (GOOD, {"bounds": 1}, TypeError, "bounds must be a pair of numbers, or of None .*, got 1"),
        (GOOD, {"bounds": (False, True)}, TypeError, r"bounds must be a pair of numbers, .* got \(False, True\)"),
        (GOOD, {"bounds": (0, 10**400)}, ValueError, "bounds must be numbers that float64 can hold, got"),
        (GOOD, {"bounds": (0, 1, 2)}, TypeError, "bounds must be a pair of numbers"),
        (np.full((4, 5), 9, np.uint8), {"bounds": (-1, 255)}, ValueError, "bounds must lie in the range of the image"),
        (np.full((4, 5), 9, np.uint8), {"bounds": (3.2, 3.8)}, ValueError, "bounds must have an integer between"),
        (GOOD, {"callback": 3}, TypeError, "callback must be callable, got 3"),
    ],
)
def test_bad_input(image, kwargs, error, message):
    out = kwargs.get("out")
    before = out.copy() if isinstance(out, np.ndarray) else None
    if "known" not in kwargs:
        kwargs = {"mask": MASK} | kwargs
    with pytest.raises(error, match=message):
        restore(image, **kwargs)
    if before is not None:
        assert_array_equal(out, before)


@pytest.mark.parametrize(
    "bad",
    [{"max_time": -1}, {"tol": -1}, {"max_iter": -1}, {"step": 0.1}, {"callback": 3}, {"bounds": (1, 0)}],
    ids=lambda bad: next(iter(bad)),
)
@pytest.mark.parametrize("loss", ["edge", "biharmonic"])
def test_bad_input_is_refused_before_the_work_begins(loss, bad, monkeypatch):
    made = []
    monkeypatch.setattr(methods, "prepare", lambda *given: made.append(given))
    with pytest.raises((TypeError, ValueError), match=f"^{next(iter(bad))} must be "):
        graddesc.restore(GOOD, MASK, loss=loss, **bad)
    assert not made


@pytest.mark.parametrize("loss", ["edge", "biharmonic"])
def test_a_schedule_needs_no_preparation(loss, monkeypatch):
    made, prepare = [], methods.prepare
    monkeypatch.setattr(methods, "prepare", lambda *given: made.append(given) or prepare(*given))
    graddesc.restore(GOOD, MASK, loss=loss, step=graddesc.Constant(0.1), max_iter=1)
    assert not made
    graddesc.restore(GOOD, MASK, loss=loss)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("loss", "own"),
    [
        ("line", 0.1),
        ("biharmonic", 0.02),
        ("harmonic", 0.25),
        ("edge", 0.25),
        ("hessian-tv", 0.05),
        ("tv", 0.25),
        (line_function, 0.1),
    ],
)
def test_losses_have_tolerances_of_their_own(loss, own):
    if loss in ("harmonic", "biharmonic", "tv", "hessian-tv", "edge"):
        assert losses.by_name(loss).default_tol == own
    image = scene(40, 50)
    mask = np.random.default_rng(1).random(image.shape) < 0.8
    default, same, fine = (
        graddesc.restore(image, mask, loss=loss, full_output=True, **tol)[1].nit
        for tol in ({}, {"tol": own}, {"tol": own / 30})
    )
    assert default == same < fine


@pytest.mark.parametrize("loss", ["harmonic", "biharmonic", "tv", "edge"])
def test_a_hole_settles_by_what_is_around_it(loss):
    # Far from the hole there is noise, beside whose contrast the hole would seem to be settled from the start.
    # It is made of the same values, so that the unit of contrasts is the same.
    image, noisy = scene(64, 112), scene(64, 112)
    noisy[:, 72:] = np.random.default_rng(0).permuted(image[:, 72:]).reshape(64, 40)
    mask = np.zeros(image.shape, bool)
    mask[14:30, 14:24] = True
    (restored, info), (beside_noise, same) = (
        graddesc.restore(x, mask, loss=loss, full_output=True) for x in (image, noisy)
    )
    assert same.nit == info.nit
    assert_allclose(beside_noise[mask], restored[mask], atol=1e-7)  # the tensor of coarse levels reaches that far


def test_texture_hands_to_its_edge_what_the_run_was_given(monkeypatch):
    asked, original = [], texture.edge_steps
    descend = solver.descend

    def watched(loss, problem, windows):
        asked.append([loss, problem.units.given, *problem.units.bounds(), problem.threads])
        return original(loss, problem, windows)

    def limited(steps, limits, report):
        assert isinstance(steps, WindowSteps)
        asked[-1].extend([limits.tol, limits.max_iter, limits.remaining(), report])
        return descend(steps, limits, report)

    monkeypatch.setattr(texture, "edge_steps", watched)
    monkeypatch.setattr(solver, "descend", limited)
    edge = losses.EdgeAligned(epsilon=0.02)
    mask = np.random.default_rng(0).random((40, 52)) < 0.8
    loss = losses.TextureAdaptive(edge=edge)
    offset, factor = reference.contrast_unit(scene()[~mask])
    low, high = (0.25 - offset) / factor, (0.75 - offset) / factor
    graddesc.restore(scene(), mask, loss=loss, bounds=(0.25, 0.75), max_time=100.0, max_iter=1)
    assert asked
    for *seen, remaining, report in asked:
        assert seen == [edge, True, pytest.approx(low), pytest.approx(high), 1, edge.default_tol, solver.MAX_ITER]
        assert 0 < remaining < 100
        assert report is None


@pytest.mark.parametrize("loss", ["harmonic", "biharmonic", "tv", "hessian-tv", "edge"])
def test_a_contrast_of_one_level_in_sixteen_bits_settles(loss):
    image = (65534 + (scene(40, 50) > 0.5)).astype(np.uint16)
    mask = np.random.default_rng(0).random(image.shape) < 0.9
    restored, info = graddesc.restore(image, mask, loss=loss, full_output=True)
    assert info.status == 0
    assert info.nit < 500
    if loss == "biharmonic":  # goes beyond what is known
        expected = reference.minimiser(1, image, mask)[mask]
        assert np.abs(np.clip(expected, 0, 65535) - restored[mask]).max() < 0.51
    else:
        assert set(restored[mask]) == {65534, 65535}


class TestChannelsThatShareAMask:
    """The losses of local differences descend the sum of the channels and their differences."""

    LOSSES = ("harmonic", "tv", "edge")

    @pytest.fixture(params=LOSSES)
    def loss(self, request):
        return request.param

    def coloured(self):
        grey = scene(50, 60)
        mask = np.random.default_rng(3).random(grey.shape) < 0.85
        return grey, mask

    def test_equal_channels_become_what_one_of_them_becomes(self, loss):
        grey, mask = self.coloured()
        expected = graddesc.restore(grey, mask, loss=loss, tol=1e-3)
        restored = graddesc.restore(np.stack([grey] * 3, axis=-1), mask, loss=loss, tol=1e-3, channel_axis=-1)
        for channel in range(3):
            assert_allclose(restored[..., channel], expected, atol=2e-3)

    def test_each_settles_as_it_would_if_all_went_on(self, loss):
        grey, mask = self.coloured()
        # The differences of the channels are weak: they are left alone long before the sum.
        image = np.stack([grey, 0.9 * grey + 0.05, grey**1.1])
        settled, info = graddesc.restore(image, mask, loss=loss, channel_axis=0, full_output=True, tol=0.02)
        exact = graddesc.restore(image, mask, loss=loss, channel_axis=0, tol=1e-4)
        assert info.status == 0
        rms = np.sqrt(np.mean((settled - exact) ** 2))
        assert rms < 0.05 * np.sqrt(np.mean(np.diff(image, axis=1) ** 2))

    def test_order_of_the_channels_hardly_matters(self, loss):
        grey, mask = self.coloured()
        image = np.stack([grey, 1 - grey, grey**2])
        restored = graddesc.restore(image, mask, loss=loss, channel_axis=0, tol=1e-4)
        other = graddesc.restore(image[[2, 0, 1]], mask, loss=loss, channel_axis=0, tol=1e-4)
        assert_allclose(other, restored[[2, 0, 1]], atol=2e-3)

    def test_known_pixels_and_bounds_hold(self, loss):
        grey, mask = self.coloured()
        image = np.stack([grey, 1 - grey, grey**2])
        for bounds in (None, (0.3, 0.6)):
            restored = graddesc.restore(image, mask, loss=loss, channel_axis=0, bounds=bounds)
            assert_array_equal(restored[:, ~mask], image[:, ~mask])
            low, high = bounds or (0, 1)
            assert low <= restored[:, mask].min() <= restored[:, mask].max() <= high

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, (np.inf, -np.inf, np.nan)], ids=str)
    def test_what_is_unknown_does_not_matter(self, loss, value):
        grey, mask = self.coloured()
        image = np.stack([grey, 1 - grey, grey**2])
        expected = graddesc.restore(image, mask, loss=loss, channel_axis=0)
        image[:, mask] = np.reshape(value, (-1, 1))
        assert_array_equal(graddesc.restore(image, mask, loss=loss, channel_axis=0), expected)

    def test_history_and_callback_see_the_image(self, loss):
        grey, mask = self.coloured()
        image = np.stack([grey, 1 - grey, grey**2], axis=-1)
        seen = []
        restored, info = graddesc.restore(
            image, mask, loss=loss, channel_axis=-1, full_output=True, callback=lambda r: seen.append(r.x)
        )
        assert_array_equal(seen[-1], restored)
        assert_array_equal(seen[0][~mask], image[~mask])
        assert info.fun == info.history[-1]

    def test_loss_is_that_of_the_clamped_image(self):
        image = np.random.default_rng(0).random((3, 30, 40))
        mask = np.random.default_rng(1).random(image.shape[1:]) < 0.8
        seen = []
        restored, info = graddesc.restore(
            image, mask, loss="biharmonic", channel_axis=0, full_output=True, callback=seen.append
        )
        assert (restored[:, mask] == 1).any()
        offset, factor = reference.contrast_unit(image[:, ~mask])
        for state in (*seen, info):
            planes = (state.x - offset) / factor
            assert_allclose(state.fun, sum(losses.Biharmonic().value(plane) for plane in planes), rtol=1e-9)
