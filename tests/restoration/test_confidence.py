"""The confidence of restored pixels."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage, optimize

import graddesc
from graddesc.restoration import confidence, methods


def photograph(side=160):
    return graddesc.samples.ginkgo(side)


def deciles(confidence, errors, mask):
    """The root mean square errors of the tenths of the restored pixels, the least trusted first."""
    order = np.argsort(confidence[mask], kind="stable")
    return np.array([np.sqrt(np.mean(part**2)) for part in np.array_split(errors[mask][order], 10)])


@pytest.mark.parametrize("loss", ["line", "harmonic", "edge", "texture"])
@pytest.mark.parametrize("missing", [0.8, 0.95])
@pytest.mark.once
def test_errors_fall_as_confidence_rises(loss, missing):
    truth = photograph()[..., 1] / 255
    mask = np.random.default_rng(4).random(truth.shape) < missing
    restored, info = graddesc.restore(truth, mask, loss=loss, full_output=True, confidence=True)
    assert info.confidence.shape == truth.shape
    assert (info.confidence[~mask] == 1).all()
    assert ((info.confidence[mask] > 0) & (info.confidence[mask] <= 1)).all()
    errors = deciles(info.confidence, restored - truth, mask)
    # The tenths are samples: neighbours may change places by a tenth, tenths that are three apart may not.
    assert (errors[1:] < 1.1 * errors[:-1]).all()
    assert (errors[3:] < errors[:-3]).all()
    assert errors[0] > 3 * errors[-1]


@pytest.mark.once
def test_expected_errors_are_of_the_right_size():
    truth = photograph()[..., 1] / 255
    mask = np.random.default_rng(4).random(truth.shape) < 0.9
    restored, info = graddesc.restore(truth, mask, full_output=True, confidence=True)
    expected = truth[~mask].var() * (1 / info.confidence - 1)[mask]
    actual = (restored - truth)[mask] ** 2
    # Held-out pixels have fewer neighbours than the others: what they tell is a little too high.
    assert 0.8 < expected.mean() / actual.mean() < 1.6


def test_the_middle_of_a_hole_is_trusted_least():
    truth = photograph()[..., 1] / 255
    mask = np.random.default_rng(4).random(truth.shape) < 0.5
    mask[60:100, 60:100] = True
    found = graddesc.restore(truth, mask, full_output=True, confidence=True)[1].confidence
    middle, rim = found[72:88, 72:88].mean(), found[60:100, 60:62].mean()
    assert middle < 0.9 * rim  # although it is smooth there, which elsewhere is a good sign


@pytest.mark.parametrize("corner", [(20, 20), (60, 60), (90, 30)])
@pytest.mark.once
def test_expected_errors_of_a_large_hole_are_of_its_size(corner):
    # What lone pixels tell does not reach into it: they made the squares look 25 to 60 times smaller.
    truth = photograph()[..., 1] / 255
    mask = np.zeros(truth.shape, bool)
    mask[corner[0] : corner[0] + 48, corner[1] : corner[1] + 48] = True
    restored, info = graddesc.restore(truth, mask, full_output=True, confidence=True)
    expected = truth[~mask].var() * (1 / info.confidence - 1)[mask]
    assert 1 / 5 < expected.mean() / np.mean((restored - truth)[mask] ** 2) < 8


def test_discs_are_held_out_where_there_are_large_holes():
    known = np.ones((100, 120), bool)
    known[20:60, 30:70] = False
    held = confidence._held_out(known, np.random.default_rng(0))
    assert not held[~known].any()
    assert 0.3 < held[known].mean() < 0.45  # a fifth, and discs of a fifth of the image
    assert confidence._distance(~held).max() > 18  # of radius 20
    lone = ~np.eye(100, dtype=bool)
    assert held_share(lone) == pytest.approx(0.2, abs=1e-3)
    thin = np.ones((4, 300), bool)
    thin[:, 50:250] = False
    assert held_share(thin) == pytest.approx(0.2, abs=1e-3)  # no disc of that size would leave anything


def held_share(known):
    return confidence._held_out(known, np.random.default_rng(0))[known].mean()


def test_contrast_in_a_hole_is_that_at_the_nearest_known_pixel():
    x = np.zeros((1, 40, 60))
    x[:, :, ::2] = 1
    known = np.ones((40, 60), bool)
    known[10:30, 20:40] = False
    x[0, ~known] = 0.5
    bands = confidence._Features(x, known, 1.0).by_bands(np.ones_like(known))
    features = np.concatenate(list(bands), axis=1).reshape(4, 40, 60)
    for column, nearest in ((21, 19), (38, 40)):
        assert_array_equal(features[2:, 20, column], features[2:, 20, nearest])
    assert_allclose(features[1, 20, [19, 20, 29]], np.log([0.5, 1, 10]), rtol=1e-6)  # of float32


@pytest.mark.parametrize("shape", [(1, 1, 90), (1, 150, 1), (3, 150, 20)], ids=str)
def test_features_are_those_of_the_whole_image_at_the_pixels_that_are_wanted(shape):
    rng = np.random.default_rng(0)
    x, known, wanted = rng.random(shape), rng.random(shape[1:]) < 0.3, rng.random(shape[1:]) < 0.5
    square = np.zeros(shape[1:])
    for axis in (1, 2):
        if shape[axis] > 1:
            square += np.mean(np.gradient(x, axis=axis) ** 2, axis=0) / 0.7
    distance, nearest = ndimage.distance_transform_edt(~known, return_indices=True)
    contrasts = [ndimage.gaussian_filter(square, spread)[tuple(nearest)] for spread in confidence._SPREADS]
    expected = [np.ones(shape[1:]), *np.log([np.maximum(distance, 0.5), *(plane + 1e-6 for plane in contrasts)])]
    found = np.concatenate(list(confidence._Features(x, known, 0.7).by_bands(wanted)), axis=1)
    assert found.dtype == np.float32
    assert_allclose(found, np.stack(expected)[:, wanted], rtol=1e-5, atol=1e-6)
    assert_allclose(confidence._distance(known), distance, rtol=1e-6)


def test_the_likeliest_scale_of_errors_is_their_mean_square():
    squares = np.random.default_rng(0).standard_normal(500) ** 2 * 1e-4
    expected = confidence._fit(np.ones((1, 500)), squares, np.zeros(500))
    assert_allclose(expected(np.ones((1, 6))), np.full(6, squares.mean()), rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8])
@pytest.mark.parametrize("exact", [0.0, 0.9, 1.0])
@pytest.mark.once
def test_the_fit_is_the_likeliest(scale, exact):
    # Errors of some pixels may be 0, or far from normal.
    rng = np.random.default_rng(0)
    features = np.stack([np.ones(400), *rng.normal(3, 2, (3, 400))])
    squares = scale * np.exp(features[1] - 2 * features[3]) * rng.standard_normal(400) ** 6
    squares[rng.random(400) < exact] = 0
    floored, centred = np.maximum(squares, confidence._LEAST_SQUARE), features - features.mean(axis=1, keepdims=True)
    centred[0] = 1

    def loss(theta):
        logarithms = np.clip(theta @ centred, -40, 40)
        return np.mean(logarithms + floored * np.exp(-logarithms)) + confidence._RIDGE * theta[1:] @ theta[1:]

    start = np.append(np.log(floored.mean()), np.zeros(3))
    best = optimize.minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-12})
    fitted = np.log(confidence._fit(features, squares, np.zeros(400))(features))
    theta = np.linalg.lstsq(centred.T, fitted)[0]
    assert loss(theta) < best.fun + 1e-8


def test_noise_is_told_from_what_is_expected_beside_it():
    rng = np.random.default_rng(0)
    features = np.stack([np.ones(20000), *rng.normal(0, 1, (3, 20000))])
    expected, noises = 0.01 * np.exp(features[1] - 0.5 * features[3]), rng.choice([0, 0.003, 0.1], 20000)
    squares = (expected + noises) * rng.standard_normal(20000) ** 2
    fitted = confidence._fit(features, squares, noises)(features)
    # The ridge draws the slopes towards 0.
    assert_allclose(np.median(fitted / expected), 1, rtol=0.1)
    assert np.quantile(np.abs(np.log(fitted / expected)), 0.9) < 0.4
    blind = confidence._fit(features, squares, np.zeros(20000))(features)
    assert np.median(blind / expected) > 2


@pytest.mark.parametrize("shape", [(1, 400), (400, 1)], ids=str)
def test_a_single_line(shape):
    truth = np.linspace(0, 1, 400).reshape(shape)
    mask = np.random.default_rng(0).random(shape) < 0.5
    found = graddesc.restore(truth, mask, full_output=True, confidence=True)[1].confidence
    assert (found[mask] > 0.9).all()


def test_channels_and_their_masks():
    truth = photograph(96)
    mask = np.random.default_rng(4).random(truth.shape) < 0.8
    for masks in (mask[..., 0], mask):
        _, info = graddesc.restore(truth, masks, channel_axis=-1, full_output=True, confidence=True)
        assert info.confidence.shape == masks.shape
        assert (info.confidence[~masks] == 1).all()
        assert (info.confidence[masks] < 1).all()


@pytest.mark.usefixtures("every_thread")
def test_threads_change_nothing_and_the_restoration_is_the_same():
    truth = photograph(96)[..., 0]
    mask = np.random.default_rng(4).random(truth.shape) < 0.8
    restored, info = graddesc.restore(truth, mask, full_output=True, confidence=True)
    _, other = graddesc.restore(truth, mask, full_output=True, confidence=True, threads=2)
    assert_array_equal(info.confidence, other.confidence)
    assert_array_equal(restored, graddesc.restore(truth, mask))


def test_the_nearest_other_known_pixel():
    known = np.random.default_rng(0).random((30, 41)) < 0.2
    known[:, 30:] = False
    known[3:5, 36] = True
    noisy = known & (np.random.default_rng(1).random(known.shape) < 0.7)
    noisy[3:5, 36] = True
    distance = confidence._distance(known, (), noisy)
    assert_array_equal(distance[~noisy], confidence._distance(known)[~noisy])
    places = np.argwhere(known)
    for place in np.argwhere(noisy):
        others = places[(places != place).any(axis=1)]
        assert distance[tuple(place)] == pytest.approx(np.hypot(*(others - place).T).min(), rel=1e-6)


class TestNoise:
    @pytest.mark.parametrize(("sigma", "known"), [(0.03, 1.0), (0.1, 1.0), (0.1, 0.3), (0.03, 0.1)])
    @pytest.mark.once
    def test_expected_errors_are_those_that_are_found(self, sigma, known):
        truth = photograph()[..., 1] / 255
        mask = np.random.default_rng(4).random(truth.shape) >= known
        noisy = truth + sigma * np.random.default_rng(5).standard_normal(truth.shape)
        restored, info = graddesc.restore(noisy, mask, noise=sigma, full_output=True, confidence=True)
        errors = np.abs(restored - truth)
        for where in (mask, ~mask):
            if where.any():
                ratio = np.sqrt(np.mean(errors[where] ** 2) / np.mean(info.error[where].astype(float) ** 2))
                assert 0.8 < ratio < 1.15
                assert 0.6 < np.mean(errors[where] < info.error[where]) < 0.9
                assert 0.9 < np.mean(errors[where] < 2 * info.error[where]) < 0.995
        assert (info.error[~mask] < sigma * 1.0001).all()
        assert (info.error > 0).all()

    def test_a_map_and_exact_pixels(self):
        truth = photograph(96)[..., 1] / 255
        rng = np.random.default_rng(4)
        sigma = np.where(rng.random(truth.shape) < 0.3, 0.0, np.where(rng.random(truth.shape) < 0.5, 0.02, 0.2))
        mask = rng.random(truth.shape) < 0.3
        noisy = truth + sigma * rng.standard_normal(truth.shape)
        _, info = graddesc.restore(noisy, mask, noise=sigma, full_output=True, confidence=True)
        exact, good, bad = (~mask & (sigma == some) for some in (0, 0.02, 0.2))
        assert (info.error[exact] == 0).all()
        assert (info.confidence[exact] == 1).all()
        assert info.error[good].max() <= 0.02 * 1.0001 < info.error[bad].mean() < info.error[mask].mean() * 1.2
        for where in (good, bad, mask):
            assert (info.confidence[where] < 1).all()

    def test_outliers_do_not_tell_of_the_others(self):
        truth = photograph()[..., 1] / 255
        noisy = truth + 0.03 * np.random.default_rng(5).standard_normal(truth.shape)
        mask = np.random.default_rng(4).random(truth.shape) < 0.3
        hit = ~mask & (np.random.default_rng(6).random(truth.shape) < 0.02)
        noisy[hit] = 1.5
        settings = {"mask": mask, "noise": 0.03, "full_output": True, "confidence": True}
        restored, info = graddesc.restore(noisy, huber=True, **settings)
        ratio = np.sqrt(np.mean((restored - truth)[mask] ** 2) / np.mean(info.error[mask].astype(float) ** 2))
        assert 0.6 < ratio < 1.4
        # What lies itself is trusted less than its neighbours.
        assert info.error[hit].mean() > 1.3 * info.error[~mask & ~hit].mean()

    def test_units_channels_and_few_pixels(self):
        truth = photograph(64) / 255
        noisy = (truth + 0.1 * np.random.default_rng(5).standard_normal(truth.shape)).astype(np.float32)
        mask = np.random.default_rng(4).random(truth.shape) < 0.5
        settings = {"full_output": True, "confidence": True}
        for masks in (mask, mask[..., 0]):
            info = graddesc.restore(noisy, masks, channel_axis=-1, noise=0.1, **settings)[1]
            assert info.error.shape == masks.shape
            two = graddesc.restore(noisy, masks, channel_axis=-1, noise=0.1, threads=2, **settings)[1]
            assert_array_equal(two.error, info.error)
        once, again = (
            graddesc.restore(scale * noisy[..., 0], mask[..., 0], noise=0.1 * scale, **settings)[1]
            for scale in (1, 500)
        )
        assert_allclose(again.error, 500 * once.error, rtol=0.02)
        assert_allclose(again.confidence, once.confidence, rtol=0.02)
        few = np.full((20, 20), np.nan)
        few[5, 5], few[6, 5] = 0.2, 0.4
        found = graddesc.restore(few, noise=0.1, **settings)[1].error
        # By the distance of the other, and by what is seen.
        assert found[5, 5] == pytest.approx(1 / np.sqrt(1 / 0.01 + 1 / 0.01), rel=1e-5)
        assert found[5, 7] == pytest.approx(0.1 * np.sqrt(2), rel=1e-5)
        few[6, 5] = np.nan
        assert graddesc.restore(few, noise=0.1, **settings)[1].error[5, 5] == pytest.approx(0.1, rel=1e-5)


def test_few_known_pixels_are_judged_by_the_distance():
    truth = np.random.default_rng(0).random((20, 20))
    mask = np.ones(truth.shape, bool)
    mask[5, 5] = mask[6, 5] = False
    found = graddesc.restore(truth, mask, full_output=True, confidence=True)[1].confidence
    assert found[5, 7] == pytest.approx(1 / 3)
    assert found[5, 9] == pytest.approx(1 / 5)


@pytest.mark.parametrize("mask", [np.zeros((30, 30), bool), np.eye(30, dtype=bool)], ids=["nothing", "constant"])
@pytest.mark.parametrize("value", [0.3, 0.25])  # whose variance is not quite 0, and 0
def test_where_there_is_no_doubt(mask, value):
    found = graddesc.restore(np.full((30, 30), value), mask, full_output=True, confidence=True)[1].confidence
    assert (found == 1).all()


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the restorations without held-out pixels: problems, schedules and limits."""
    seen, original = [], methods.solve

    def watched(loss, problem, step, limits):
        seen.append((problem, step, limits))
        return original(loss, problem, step, limits)

    monkeypatch.setattr(methods, "solve", watched)
    return seen


@pytest.mark.parametrize("tol", [{}, {"tol": 0.1}])
def test_held_out_pixels_are_restored_to_the_tolerance_of_the_others(tol, asked):
    truth = photograph(64)[..., 1] / 255
    mask = np.random.default_rng(0).random(truth.shape) < 0.9
    graddesc.restore(truth, mask, full_output=True, confidence=True, **tol)
    assert [limits.tol for _, _, limits in asked] == [tol.get("tol", 0.25)]


def test_held_out_pixels_are_restored_within_the_bounds(asked):
    truth = photograph(48)[..., 1]
    mask = np.random.default_rng(0).random(truth.shape) < 0.8
    for bounds in (None, (51, 204)):
        graddesc.restore(truth, mask, bounds=bounds, full_output=True, confidence=True)
    assert [problem.units.given for problem, *_ in asked] == [False, True]
    offset, factor = reference.contrast_unit(truth[~mask])
    wanted = [pytest.approx(((low - offset) / factor, (high - offset) / factor)) for low, high in ((0, 255), (51, 204))]
    assert [problem.units.bounds() for problem, *_ in asked] == wanted


@pytest.mark.parametrize("loss", ["line", "edge", "texture"])
def test_held_out_pixels_are_restored_by_the_schedule_and_the_iterations_of_the_others(loss, asked):
    truth = photograph(48)[..., 1]
    mask = np.random.default_rng(0).random(truth.shape) < 0.8
    step = graddesc.Constant(1e-3)
    for settings in ({"max_iter": 3}, {"step": step, "max_iter": 4}, {"step": step, "max_iter": 40, "tol": 0.01}):
        graddesc.restore(truth, mask, loss=loss, full_output=True, confidence=True, **settings)
        _, schedule, limits = asked.pop()
        assert schedule is settings.get("step")
        tol = settings.get("tol", None if "step" in settings else limits.tol)
        assert (limits.max_iter, limits.tol) == (settings["max_iter"], tol)
        assert not asked


def test_held_out_pixels_are_restored_in_the_time_that_is_left():
    truth = photograph(64)[..., 1] / 255
    mask = np.random.default_rng(0).random(truth.shape) < 0.8
    late, short, settled = (
        graddesc.restore(truth, mask, loss="line", full_output=True, confidence=True, **limit)[1].confidence
        for limit in ({"max_time": 0}, {"max_iter": 1}, {})
    )
    assert_array_equal(late, short)  # no time is enough for one iteration
    assert (late != settled).any()


def test_bad_input():
    truth = np.random.default_rng(0).random((9, 9))
    mask = truth < 0.3
    with pytest.raises(ValueError, match="confidence must come with full_output"):
        graddesc.restore(truth, mask, confidence=True)
    with pytest.raises(ValueError, match="confidence must not be asked of a callable loss"):
        graddesc.restore(truth, mask, loss=lambda x: (0.0, 0 * x), full_output=True, confidence=True)
