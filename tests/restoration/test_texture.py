"""The loss "texture": its kernels against slow twins, and what restore() makes of it."""

import itertools
import time

import numpy as np
import pytest
import reference
import scipy.ndimage
from levels import use_level
from numpy.testing import assert_allclose, assert_array_equal

import graddesc
from graddesc import _kernels, losses
from graddesc.restoration import texture

pytestmark = pytest.mark.once

NOISE = 1e-3


def stripes(rows=64, cols=72, cycles=0.15):
    i, j = np.mgrid[:rows, :cols]
    return 0.5 + 0.3 * np.sin(2 * np.pi * cycles * (0.88 * j + 0.48 * i)) + 0.001 * i


def corrupt(shape, missing=0.9, seed=0):
    return np.random.default_rng(seed).random(shape) < missing


def never():
    pass


class Case:
    """An image of windows of a given torus, and the kernel at work on them."""

    def __init__(self, missing, channels=1, threads=1):
        self.x = np.stack([stripes(), stripes(cycles=0.1)][:channels]).astype(np.float32)
        self.free = corrupt(self.x.shape[1:], missing).astype(np.uint8)
        side = texture._sides(self.free == 0)[0][0]
        shape = self.free.shape
        self.variance = (NOISE * (1 + 3 * np.random.default_rng(2).random(shape))).astype(np.float32)
        self.windows = texture.Windows(side, self.free == 1, channels, self.variance, NOISE**0.5, threads, never)
        self.windows.know(self.x, self.free == 0)
        self.rng = np.random.default_rng(1)
        spectra = self.windows._spectra
        law = texture._power_law(spectra.shape[1], 2.0)
        spectra[...] = 0.05 * law * (0.5 + self.rng.random(spectra.shape))
        for column in (0, -1):  # the spectrum of something real
            spectra[:, 1:, column] += spectra[:, :0:-1, column]

    def merge(self, estimates):
        merged = texture.Merged(self.x)
        merged.add(self.windows, estimates)
        return merged.mean(self.x, self.free == 0)

    def twin(self, window, channel=0):
        top, left = self.windows._corners[window]
        size = self.windows._size
        window_of = np.s_[top : top + size, left : left + size]
        positions = np.argwhere(self.free[window_of] == 0)
        values, noise = (
            plane[window_of][tuple(positions.T)].astype(np.float64) for plane in (self.x[channel], self.variance)
        )
        return reference.Krige(self.windows._spectra[window].astype(np.float64), positions, values, noise)


# The known pixels decide upon the torus; at 97 % some windows have less than sixteen.
@pytest.mark.parametrize("missing", [0.97, 0.9, 0.8, 0.7, 0.4])
@pytest.mark.once
class TestKriging:
    def test_step_is_that_of_the_slow_twin(self, missing):
        case = Case(missing)
        windows = case.windows
        twins = {window: case.twin(window) for window in windows.order}
        estimates = windows.estimates()
        list(windows.learn(windows.order, 1, (), estimates))
        law = texture._power_law(windows._side, texture._MIX_EXPONENT)
        for window, twin in twins.items():
            assert_allclose(estimates[window, 0], twin.estimate(windows._size), atol=2e-4)
            assert_allclose(windows._errors[window], twin.error(windows._taper), rtol=2e-3)
            expected = twin.learn(law, texture._MIX)
            assert_allclose(windows._spectra[window], expected, rtol=5e-3, atol=1e-4 * expected.mean())

    def test_beginning_is_no_worse_than_the_power_laws_and_mixtures(self, missing):
        case = Case(missing)
        windows = case.windows
        windows.begin(case.x)
        side, size = windows._side, windows._size
        laws = [texture._power_law(side, exponent) for exponent in texture._EXPONENTS]
        for window in windows.order[:: max(len(windows.order) // 5, 1)]:
            twin = case.twin(window)
            scale = twin.values.var() + 1e-4
            by_law = [reference.Krige(scale * law, twin.positions, twin.values, twin.noise).evidence() for law in laws]
            top, left = windows._corners[window]
            pixels = case.x[0, top : top + size, left : left + size]
            power = np.abs(np.fft.rfft2((pixels - pixels.mean()) * np.sqrt(windows._taper), s=(side, side))) ** 2
            best = scale * laws[int(np.argmax(by_law))]
            mixtures = [(1 - m) * power / windows._taper.sum() + m * best for m in texture._SHARES]
            evidence = by_law + [
                reference.Krige(mixture, twin.positions, twin.values, twin.noise).evidence() for mixture in mixtures
            ]
            assert_allclose(twin.evidence(), max(evidence), rtol=1e-3, atol=0.05)
            assert windows.textured[window] == (np.argmax(by_law) < 2)

    def test_beginning_does_not_trust_a_poor_pilot(self, missing):
        # Noise, 30 times as strong as the image: a power law alone explains the known pixels of most windows better.
        case = Case(missing)
        windows = case.windows
        windows.begin((30 * case.rng.standard_normal(case.x.shape)).astype(np.float32))
        laws = np.stack([texture._power_law(windows._side, exponent) for exponent in texture._EXPONENTS])
        alone = 0
        for window in windows.order:
            spectrum = windows._spectra[window]
            ratios = spectrum / laws
            alone += (np.ptp(ratios, axis=(1, 2)) < 1e-4 * ratios.mean(axis=(1, 2))).any()
            twin = case.twin(window)
            scale = twin.values.var() + 1e-4
            by_law = max(
                reference.Krige(scale * law, twin.positions, twin.values, twin.noise).evidence() for law in laws
            )
            assert twin.evidence() > by_law - 0.05 - 1e-3 * abs(by_law)
        assert alone > 0.9 * len(windows.order)

    def test_levels_and_threads_give_the_same_bits(self, missing, monkeypatch):
        results = []
        for level in _kernels.AVAILABLE:
            use_level(level, monkeypatch)
            for threads in (1, 3):
                case = Case(missing, channels=2, threads=threads)
                estimates = case.windows.estimates()
                case.windows.begin(case.x)
                list(case.windows.learn(case.windows.order, 2, (0,), estimates))
                results.append((case.merge(estimates), case.windows._spectra))
        for merged, spectra in results[1:]:
            assert_array_equal(merged, results[0][0])
            assert_array_equal(spectra, results[0][1])


def test_channels_share_a_spectrum():
    # Twice the same channel is once that channel.
    once, twice = Case(0.9), Case(0.9, channels=2)
    twice.x[1] = twice.x[0]
    twice.windows.know(twice.x, twice.free == 0)
    results = []
    for case in (once, twice):
        estimates = case.windows.estimates()
        case.windows.begin(case.x)
        list(case.windows.learn(case.windows.order, 2, (), estimates))
        results.append(estimates)
    for channel in (0, 1):
        assert_allclose(results[1][:, channel], results[0][:, 0], atol=1e-3)
    order = once.windows.order
    assert_allclose(twice.windows._errors[order], once.windows._errors[order], rtol=0.05)


def test_of_more_known_pixels_than_there_is_room_for_every_other_is_taken(monkeypatch):
    case = Case(0.9)
    monkeypatch.setattr(texture, "_CAPACITY", 40)
    windows = case.windows
    windows.know(case.x, case.free == 0)
    twins = {window: case.twin(window) for window in windows.order}
    estimates = windows.estimates()
    list(windows.learn(windows.order, 1, (), estimates))
    for window, twin in twins.items():
        every = -(-len(twin.values) // 40)
        spectrum = twin.spectrum
        some = reference.Krige(spectrum, twin.positions[::every], twin.values[::every], twin.noise[::every])
        assert_allclose(estimates[window, 0], some.estimate(windows._size), atol=2e-4)
    assert max(len(twin.values) for twin in twins.values()) > 40


def test_learning_is_step_by_step_with_averages_between_and_estimates_at_last():
    at_once, stepwise = Case(0.9), Case(0.9)
    estimates = [case.windows.estimates() for case in (at_once, stepwise)]
    list(at_once.windows.learn(at_once.windows.order, 3, (1,), estimates[0]))
    windows, order = stepwise.windows, stepwise.windows.order
    list(windows.learn(order, 1, (), estimates[1]))
    list(windows.learn(order, 1, (), estimates[1]))
    tied = np.empty_like(windows._spectra)
    texture._kriging.tie(windows._spectra, windows._valid, order, 1, tied)
    windows._spectra[order] = tied[order]
    list(windows.learn(order, 1, (), estimates[1]))
    assert_array_equal(at_once.windows._spectra[order], windows._spectra[order])
    assert_array_equal(estimates[0][order], estimates[1][order])


def test_tie_is_the_mean_of_the_valid_neighbours():
    case = Case(0.9)
    rows, cols = case.windows._grid
    valid = np.ones((rows, cols), np.uint8)
    valid[0, 1] = 0
    spectra, out = case.windows._spectra, np.zeros_like(case.windows._spectra)
    order = np.array([0, cols + 1], np.int32)
    texture._kriging.tie(spectra, valid, order, 1, out)
    assert_allclose(out[0], spectra[[0, cols, cols + 1]].mean(0), rtol=1e-6)
    block = [i * cols + j for i in range(3) for j in range(3) if (i, j) != (0, 1)]
    assert_allclose(out[cols + 1], spectra[block].mean(0), rtol=1e-6)
    assert not out[1].any()


def test_merge_weighs_the_windows_by_their_errors():
    case = Case(0.9)
    windows = case.windows
    estimates = windows.estimates()
    estimates[...] = np.arange(len(estimates))[:, None, None, None]
    windows._errors[...] = 1 + np.arange(len(estimates))
    merged = case.merge(estimates)
    sums, weights = np.zeros((2, *case.free.shape))
    for window in windows.order:
        top, left = windows._corners[window]
        block = np.s_[top : top + windows._size, left : left + windows._size]
        weight = windows._taper / (windows._errors[window] + texture._ERROR_FLOOR)
        sums[block] += weight * window
        weights[block] += weight
    assert_allclose(merged[0], np.where(case.free, sums / weights, case.x[0]), rtol=1e-5)


@pytest.mark.parametrize(
    ("share", "sides"),
    [
        (0.05, [(32,), (24,)]),
        (0.1, [(32,), (24,)]),
        (0.2, [(24,), (16,)]),
        (0.5, [(16,), (12,)]),
        (1, [(12,)]),
    ],
)
def test_windows_shrink_as_known_pixels_become_dense(share, sides):
    known = np.zeros((40, 50), bool)
    known.flat[: round(share * known.size)] = True
    assert texture._sides(known) == sides


def test_where_windows_have_no_known_pixel_the_other_image_stays():
    case = Case(0.9)
    merged = texture.Merged(case.x)
    windows = case.windows
    windows.order = windows.order[windows._corners[windows.order, 0] == 0]
    estimates = np.full_like(windows.estimates(), 2.0)
    merged.add(windows, estimates)
    mean = merged.mean(case.x + 1, case.free == 0)[0]
    unknown, top = case.free == 1, np.arange(len(mean))[:, np.newaxis] < windows._size
    assert_allclose(mean[unknown & top], 2.0, rtol=1e-6)
    assert_array_equal(mean[unknown & ~top], case.x[0][unknown & ~top])
    assert_array_equal(mean[~unknown], case.x[0][~unknown] + 1)


def test_held_out_pixels_are_trusted_where_known_ones_are_as_dense_as_around_them():
    known = np.zeros((80, 200), bool)
    known[:, :150] = ~corrupt((80, 150), 0.8)
    rest, held = held_out(known)
    trusted = texture._trusted(known, rest, held, 3.0, 0.5, never)
    assert trusted.dtype == np.float32
    assert (trusted[:, 20:130] > 0.9).mean() > 0.99
    assert not trusted[:, 165:].any()
    assert 0 < trusted[:, 150:160].mean() < 1
    strict = texture._trusted(known, rest, held, 3.0, 0.75, never)
    assert (strict <= trusted).all()
    assert_allclose(strict[trusted > 0.5], 2 * trusted[trusted > 0.5] - 1, atol=1e-5)
    assert not strict[trusted <= 0.5].any()


def test_windows_that_have_enough_known_pixels_only_in_the_end_start_white():
    case = Case(0.97)
    windows, known = case.windows, case.free == 0
    windows._spectra[...] = np.nan
    windows.know(case.x, known & corrupt(known.shape, 0.5))
    windows.begin(case.x)
    few = set(windows.order)
    windows.know(case.x, known)
    later = sorted(set(windows.order) - few)
    assert later
    assert (windows._spectra[later] == 1).all()
    assert np.isfinite(windows._spectra[windows.order]).all()


@pytest.mark.parametrize("side", [12, 16, 24, 32])
def test_power_law_has_mean_one(side):
    law = texture._power_law(side, 2.0)
    assert_allclose(np.fft.irfft2(law, s=(side, side))[0, 0], 1)
    assert law[0, 0] == law.max()


EVEN = (0.5, 0, 0, 0), (0.2, 0.1, 0.1, 0.1)


class TestGate:
    def test_prefers_what_was_right_at_the_held_out_pixels(self):
        rng = np.random.default_rng(0)
        x = np.stack([stripes()])
        noise = 0.2 * rng.standard_normal(x.shape)
        half = np.arange(72) < 36
        first, second = x + np.where(half, noise, 0), x + np.where(half, 0.0, noise)
        # The strength of the first one's tensor tells on which side a pixel lies.
        gate = texture.Gate(first, second, x, rng.random(x.shape[1:]) < 0.4, *EVEN, never)
        mixed = gate(first, second)
        for side in (np.s_[:, :, 4:32], np.s_[:, :, 40:68]):
            assert np.abs(mixed - x)[side].mean() < 0.35 * np.abs(noise)[side].mean()

    def fitted(self, x, first, second, held, expected, spread):
        """A gate, its basis at held-out pixels, and what it regresses there: difference, error and their weights."""
        gate = texture.Gate(first, second, x, held, expected, spread, never)
        features = [feature[held] for feature in gate._features(first, second)]
        basis = np.stack([np.ones(held.sum()), *gate._standardised(features)])
        difference, error = (first - second)[:, held], (x - second)[:, held]
        return gate, basis, difference, error, 1 / (1 + difference**2 / (3 * np.mean(difference**2)))

    @pytest.mark.parametrize("channels", [1, 2])
    def test_fit_lies_between_what_is_expected_and_least_squares(self, channels):
        rng = np.random.default_rng(0)
        x, first, second = (stripes() + 0.2 * rng.standard_normal((channels, 64, 72)) for _ in range(3))
        held = corrupt(x.shape[1:], 0.1)
        expected = np.array([0.3, 0.2, -0.1, 0.4])
        wide, basis, difference, error, weights = self.fitted(x, first, second, held, expected, np.full(4, 1e4))
        assert_allclose(basis[1:].mean(axis=1), 0, atol=0.05)  # but for what is clipped
        roots = np.sqrt(weights)
        rows = np.concatenate(list(roots[:, :, np.newaxis] * difference[:, :, np.newaxis] * basis.T))
        least_squares = np.linalg.lstsq(rows, (roots * error).ravel())[0]
        assert_allclose(wide._coefficients, least_squares, rtol=1e-6)
        narrow = texture.Gate(first, second, x, held, expected, np.full(4, 1e-4), never)
        assert_allclose(narrow._coefficients, expected, atol=1e-4)
        # Between them: the mean of both, weighted by their precisions.
        spread = np.array([0.2, 0.1, 0.05, 0.02])
        gate = texture.Gate(first, second, x, held, expected, spread, never)
        coefficients = expected
        inverse = np.linalg.inv(rows.T @ rows)
        for _ in range(2):
            scores = basis * (weights * difference * (error - coefficients @ basis * difference)).sum(0)
            precision = np.linalg.inv(inverse @ (4 * scores @ scores.T) @ inverse)
            prior = np.diag(1 / spread**2)
            coefficients = np.linalg.solve(precision + prior, precision @ least_squares + prior @ expected)
        assert_allclose(gate._coefficients, coefficients, rtol=1e-6)
        assert np.abs(coefficients - expected).max() > 0.01
        assert np.abs(coefficients - least_squares).max() > 0.01

    def test_a_few_pixels_that_differ_much_do_not_decide(self):
        # The images differ little, and then the second is right; at six of 700 held-out pixels they differ much.
        rng = np.random.default_rng(0)
        second = np.zeros((1, 64, 72))
        first = 0.01 * rng.standard_normal(second.shape)
        x = 0.8 * first
        held = np.zeros((64, 72), bool)
        held.flat[rng.permutation(held.size)[:700]] = True
        few = tuple(np.argwhere(held)[:6].T)
        first[0][few] = 0.3
        x[0][few] = 0
        gate = texture.Gate(first, second, x, held, (0.8, 0, 0, 0), (0.2, 0.1, 0.1, 0.1), never)
        assert np.abs(gate._coefficients - [0.8, 0, 0, 0]).max() < 0.1

    def test_weights_are_clipped_and_then_blurred(self):
        rng = np.random.default_rng(0)
        x, first, second = (stripes() + 0.2 * rng.standard_normal((1, 64, 72)) for _ in range(3))
        gate = texture.Gate(first, second, x, corrupt(x.shape[1:]), *EVEN, never)
        gate._coefficients = np.array([0.5, 0.3, -0.4, 0.5])
        standardised = np.stack(list(gate._standardised(gate._features(first, second))))
        weight = 0.5 + np.tensordot([0.3, -0.4, 0.5], standardised, 1)
        assert weight.min() < -0.2
        assert weight.max() > 1.2
        weight = scipy.ndimage.gaussian_filter(np.clip(weight, 0, 1), 2)
        assert_allclose(gate(first, second), second + weight * (first - second), atol=1e-5)
        assert_allclose(gate.own(), gate(first, second), atol=1e-12)

    def test_never_goes_beyond_the_two(self):
        x = np.stack([stripes()])
        held = corrupt(x.shape[1:], 0.5)
        noise = np.random.default_rng(0).standard_normal(x.shape)
        for beyond, nearest in ((x + noise, 0), (x - 2 * noise, 1)):
            pair = x, x - noise
            gate = texture.Gate(*pair, beyond, held, *EVEN, never)
            assert_allclose(gate(*pair), pair[nearest], atol=1e-5)

    @pytest.mark.filterwarnings("error")
    def test_is_what_is_expected_without_evidence(self):
        x = np.stack([stripes()])
        gate = texture.Gate(x, x, x, corrupt(x.shape[1:]), (0.2, 0, 0, 0), (0.3, 0.1, 0.1, 0.1), never)
        assert_allclose(gate(x, x + 1), x + 0.8, atol=1e-6)
        flat = np.full_like(x, 0.5)  # all features of which are the same everywhere
        gate = texture.Gate(flat, flat + 0.1, flat, corrupt(x.shape[1:]), (0.2, 0, 0, 0), (0.3, 0.1, 0.1, 0.1), never)
        assert 0.2 < gate._coefficients[0] < 1.01
        assert_allclose(gate._coefficients[1:], 0, atol=1e-5)


def held_out(known):
    """Known pixels less a random fifth of them, and these."""
    rest = known & ~corrupt(known.shape, 0.2)
    return rest, known & ~rest


def psnr(x, truth):
    return -10 * np.log10(np.mean((x - truth) ** 2))


class TestRestore:
    @pytest.mark.parametrize("cycles", [0.1, 0.2])
    def test_stripes_are_found_where_edge_is_lost(self, cycles):
        truth = stripes(96, 96, cycles)
        mask = corrupt(truth.shape)
        edge = graddesc.restore(truth, mask)
        best = graddesc.restore(truth, mask, loss="texture")
        assert_array_equal(best[~mask], truth[~mask])
        assert psnr(best, truth) > psnr(edge, truth) + 6

    @pytest.mark.parametrize("kind", ["smooth", "photograph", "noise"])
    def test_is_never_far_below_edge(self, kind):
        i, j = np.mgrid[:96, :96]
        truth = {
            "smooth": 0.5 + 0.3 * np.sin(i / 20) * np.cos(j / 25),
            "photograph": graddesc.samples.ginkgo(96)[..., 1] / 255,
            "noise": np.random.default_rng(3).random((96, 96)),
        }[kind]
        mask = corrupt(truth.shape, seed=5)
        edge = graddesc.restore(truth, mask)
        assert psnr(graddesc.restore(truth, mask, loss="texture"), truth) > min(psnr(edge, truth) - 0.1, 55)

    def test_is_deterministic_and_seeded(self):
        truth = stripes()
        mask = corrupt(truth.shape)
        first, again, two = (graddesc.restore(truth, mask, loss="texture", threads=n) for n in (1, 1, 2))
        assert_array_equal(first, again)
        assert_array_equal(first, two)
        other = graddesc.restore(truth, mask, loss=losses.TextureAdaptive(seed=1))
        assert np.abs(other - first).max() > 0

    @pytest.mark.parametrize("shape", [(1, 40), (40, 1), (5, 60), (12, 12), (13, 30), (3, 3)], ids=str)
    def test_small_and_thin_images(self, shape):
        truth = stripes(*shape)
        mask = corrupt(shape, 0.5)
        mask.flat[0] = False
        restored = graddesc.restore(truth, mask, loss="texture")
        assert np.isfinite(restored).all()
        assert_array_equal(restored[~mask], truth[~mask])

    @pytest.mark.parametrize("threads", [1, 2])
    def test_constant_areas_have_many_patches_that_are_the_same(self, threads):
        truth = stripes(80, 90)
        truth[:50] = 0.25
        mask = np.zeros(truth.shape, bool)
        mask[20:44, 30:60] = True
        restored = graddesc.restore(truth, mask, loss="texture", threads=threads)
        # Every pixel is covered; windows that know of the stripes bleed a little into the last row of the hole.
        assert_allclose(restored, truth, atol=0.03)

    @pytest.mark.parametrize("missing", [0.02, 0.5, 0.99])
    def test_other_rates(self, missing):
        truth = stripes(120, 110)
        mask = corrupt(truth.shape, missing)
        restored = graddesc.restore(truth, mask, loss="texture")
        assert psnr(restored, truth) > psnr(graddesc.restore(truth, mask), truth) - 0.1

    def test_lines_over_something_smooth_are_not_polished_by_what_lone_pixels_tell(self):
        # A smooth image with a grain: what is right for a lone pixel among known ones blurs the middle of a line.
        i, j = np.mgrid[:96, :96]
        truth = 0.5 + 0.2 * np.sin(i / 20) * np.cos(j / 25) + 0.004 * np.random.default_rng(0).standard_normal((96, 96))
        mask = np.zeros(truth.shape, bool)
        mask[4::8] = mask[5::8] = mask[6::8] = True
        trusted = texture._trusted(~mask, *held_out(~mask), *texture._NEAR_FOR_PATCHES, never)
        assert not trusted[5::8].any()
        # Both are within a third of the grain of the truth.
        edge = graddesc.restore(truth, mask)
        assert psnr(graddesc.restore(truth, mask, loss="texture"), truth) > psnr(edge, truth) - 0.6

    def test_holes_and_corners(self):
        truth = stripes(90, 100)
        mask = np.zeros(truth.shape, bool)
        mask[30:60, 35:65] = True
        hole = graddesc.restore(truth, mask, loss="texture")
        assert psnr(hole, truth) > psnr(graddesc.restore(truth, mask), truth) - 0.1
        corner = ~np.zeros(truth.shape, bool)
        corner[:12, :12] = False
        restored = graddesc.restore(truth, corner, loss="texture")
        assert (restored >= 0).all()
        assert (restored <= 1).all()

    def test_channels_with_one_mask_and_with_their_own(self):
        truth = np.stack([stripes(cycles=c) for c in (0.1, 0.12, 0.14, 0.16, 0.18)], axis=-1)
        mask = corrupt(truth.shape, 0.8)
        for channels, masks in ((5, mask[..., 0]), (2, mask[..., :2])):
            x = truth[..., :channels]
            restored = graddesc.restore(x, masks, loss="texture", channel_axis=-1)
            known = ~np.broadcast_to(masks if masks.ndim == 3 else masks[..., None], x.shape)
            assert_array_equal(restored[known], x[known])
            assert psnr(restored, x) > psnr(graddesc.restore(x, masks, channel_axis=-1), x)

    def test_callback_history_and_integers(self):
        truth = np.rint(255 * stripes()).astype(np.uint8)
        mask = corrupt(truth.shape)
        seen = []
        restored, info = graddesc.restore(
            truth, mask, loss="texture", full_output=True, callback=lambda r: seen.append((r.nit, r.fun, r.x))
        )
        assert info.success
        assert info.status == 0
        assert [nit for nit, _, _ in seen] == list(range(1, info.nit + 1))
        assert_array_equal([fun for _, fun, _ in seen], info.history)
        assert_array_equal(seen[-1][2], restored)
        assert info.history[-1] == info.fun < info.history[0]
        assert restored.dtype == np.uint8

    def test_stops(self):
        truth = stripes()
        mask = corrupt(truth.shape)
        restored, info = graddesc.restore(truth, mask, loss="texture", max_iter=1, full_output=True)
        assert (info.status, info.nit) == (1, 1)
        assert_allclose(restored, graddesc.restore(truth, mask), atol=1e-3)

        # No step at all: what it would start from, not what its first step makes of that.
        for init in ("pyramid", "nearest", "image"):
            restored, info = graddesc.restore(truth, mask, loss="texture", init=init, max_iter=0, full_output=True)
            assert (info.status, info.nit) == (1, 0)
            assert_array_equal(restored, graddesc.restore(truth, mask, loss="edge", init=init, max_iter=0))

        def stop(intermediate_result):
            if intermediate_result.nit == 5:
                raise StopIteration

        _, info = graddesc.restore(truth, mask, loss="texture", callback=stop, full_output=True)
        assert (info.status, info.nit) == (99, 5)
        _, info = graddesc.restore(truth, mask, loss="texture", max_time=0, full_output=True)
        assert info.status == 5

    def test_time_ends_a_long_step(self, monkeypatch):
        # The clock runs out in the middle of the step that looks at it most often.
        truth, most, looks, seen = stripes(), np.inf, 0, []

        def now():
            nonlocal looks
            looks += 1
            return 0.0 if looks <= most else 100.0

        monkeypatch.setattr(time, "perf_counter", now)
        settings = {"mask": corrupt(truth.shape), "loss": "texture", "max_time": 50}
        graddesc.restore(truth, callback=lambda r: seen.append((looks, r.nit, r.x)), **settings)
        (before, done, image), (after, _, _) = max(itertools.pairwise(seen), key=lambda pair: pair[1][0] - pair[0][0])
        assert after - before > 10
        most, looks = (before + after) // 2, 0
        restored, info = graddesc.restore(truth, full_output=True, **settings)
        assert (info.status, info.nit, looks) == (5, done, most + 1)
        assert_array_equal(restored, image)

    @pytest.mark.parametrize("seconds", [-1.0, 1e3])
    def test_a_loss_that_there_is_no_time_to_measure_is_not_told(self, seconds, monkeypatch):
        monkeypatch.setattr(texture, "_MEASURING", seconds)
        truth = stripes()
        settings = {"mask": corrupt(truth.shape), "loss": "texture", "full_output": True}
        _, info = graddesc.restore(truth, max_time=0, **settings)
        assert info.status == 5
        assert np.isnan(info.fun) == (seconds < 0)
        _, info = graddesc.restore(truth, max_iter=2, **settings)
        assert np.isfinite(info.history).all()

    def test_looks_at_the_clock_between_any_two_pieces_of_work(self, monkeypatch):
        x = np.stack([stripes(150, 100)] * 2).astype(np.float32)
        free = corrupt(x.shape[1:]).astype(np.uint8)
        monkeypatch.setattr(texture, "_PIXELS", 1)
        monkeypatch.setattr(texture, "_CHUNK", 40)
        events = []

        def watched(name, function):
            def call(*args):
                events.append(name)
                if name == "gaussian_filter1d":
                    return function(*args)
                # No more windows, or rows of patches, at once than those after which it looks again.
                longest = dict.fromkeys(("begin", "step", "tie", "merge"), 40)
                longest |= {"match": texture._BAND, "shrink": texture._BANDS * texture._BAND}
                place = {"begin": 5, "step": 4, "tie": 2, "merge": 3, "match": 1, "shrink": 1}
                assert len(args[place[name]]) <= longest[name]
                return function(*args)

            return call

        watch = (
            (texture._kriging, ("begin", "step", "tie", "merge")),
            (texture._patches, ("match", "shrink")),
            (scipy.ndimage, ("gaussian_filter1d",)),
        )
        for module, names in watch:
            for name in names:
                monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
        arguments = free, lambda free: x, 0.0, 1.0, 0.01, np.random.default_rng(0), 1, lambda: events.append("pause")
        list(texture.restore_texture(x, *arguments))
        assert set(events) == {"pause"}.union(*(names for _, names in watch))
        for first, second in itertools.pairwise(events):
            assert "pause" in (first, second)

    def test_each_stage_gets_what_it_needs(self, monkeypatch):
        x = stripes(50, 60)[np.newaxis].astype(np.float32)
        free = corrupt(x.shape[1:]).astype(np.uint8)
        masks, pilots, trusted, matches = [], [], [], []

        def solve(mask):
            masks.append(mask)
            return np.where(mask, np.float32(0.4 + 0.1 * len(masks)), x)

        class Windows(texture.Windows):
            def begin(self, pilot):
                pilots.append(pilot)
                super().begin(pilot)

        def watch(seen, name, module, some):
            function = getattr(module, name)

            def call(*args):
                seen.append(args[some])
                return function(*args)

            monkeypatch.setattr(module, name, call)

        monkeypatch.setattr(texture, "Windows", Windows)
        watch(trusted, "_trusted", texture, np.s_[3:5])
        watch(matches, "match", texture._patches, np.s_[:1])
        low, high = 0.45, 0.55
        stages = list(texture.restore_texture(x, free, solve, low, high, 0.01, np.random.default_rng(0), 1, never))
        known = np.count_nonzero(free == 0)
        assert [np.count_nonzero(mask == 0) for mask in masks] == [known, known - round(0.2 * known)]
        assert len(pilots) == 2  # of which each knows only what was not held out
        for pilot in pilots:
            assert_array_equal(pilot, np.where(masks[1], np.float32(0.6), x))
        assert trusted == [texture._NEAR_FOR_KRIGING, texture._NEAR_FOR_PATCHES]
        assert len(matches) == 4  # twice in twelve times, for both images
        last = stages[-1][0]
        assert_array_equal(last[free == 0], x[0][free == 0])
        assert last[free == 1].min() >= np.float32(low)
        assert last[free == 1].max() <= np.float32(high)

    @pytest.mark.parametrize("choice", [0, 1], ids=["first", "second"])
    def test_each_gate_has_its_say(self, choice, monkeypatch):
        x = stripes(50, 60)[np.newaxis].astype(np.float32)
        free = corrupt(x.shape[1:]).astype(np.uint8)
        edge = np.where(free, np.float32(0.4), x)
        expectations = []

        class Gate:
            def __init__(self, first, second, x, held, expected, spread, pause):
                self.images = first, second
                expectations.append(expected[0])
                assert np.abs(first - second).max() > 0

            def __call__(self, *images):
                return images[choice]

            def own(self):
                return self.images[choice]

        monkeypatch.setattr(texture, "Gate", Gate)
        arguments = free, lambda free: edge, 0.0, 1.0, 0.01, np.random.default_rng(0), 1, never
        stages = list(texture.restore_texture(x, *arguments))
        assert expectations == [0.45, 0.7, 0.45]  # large and small windows, "edge" and both, these and similar patches
        assert (np.abs(stages[-1] - edge).max() < 1e-6) == (choice == 0)

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    def test_ends_at_once_wherever_it_is_interrupted(self, share):
        x = stripes(50, 60)[np.newaxis].astype(np.float32)
        free = corrupt(x.shape[1:], 0.8).astype(np.uint8)

        def count_pauses(limit):
            count = 0

            def pause():
                nonlocal count
                if count == limit:
                    raise KeyboardInterrupt
                count += 1

            arguments = free, lambda free: x, 0.0, 1.0, 0.01, np.random.default_rng(0), 1, pause
            try:
                list(texture.restore_texture(x, *arguments))
            except KeyboardInterrupt:
                assert count == limit
            else:
                assert limit is None
            return count

        count_pauses(round(share * (count_pauses(None) - 1)))

    def test_plain_steps_descend_its_value(self):
        truth = stripes(30, 40)
        mask = corrupt(truth.shape, 0.5)
        x = np.where(mask, 0.5, truth)
        _, info = graddesc.restore(
            x, mask, loss="texture", step=graddesc.Constant(1e-6), max_iter=4, init="image", full_output=True
        )
        assert (np.diff(info.history) < 0).all()
        assert info.nit == 4

    def test_unit_of_floats_does_not_matter(self):
        truth = 0.1 + 0.8 * stripes()
        mask = corrupt(truth.shape)
        low, high = truth[~mask].min(), truth[~mask].max()
        unit = graddesc.restore((truth - low) / (high - low), mask, loss="texture")
        big = graddesc.restore(1000 * truth - 300, mask, loss="texture")
        assert_allclose((big + 300) / 1000, low + (high - low) * unit, atol=2e-3)


class TestNoise:
    """Known pixels that are noisy: they take what is kriged and shrunken, too."""

    @pytest.mark.parametrize(("sigma", "known"), [(0.05, 1.0), (0.1, 0.5), (0.1, 0.15)])
    def test_is_better_than_edge(self, sigma, known):
        truth = stripes(96, 96)
        mask = corrupt(truth.shape, 1 - known)
        noisy = truth + sigma * np.random.default_rng(1).standard_normal(truth.shape)
        edge, best = (graddesc.restore(noisy, mask, loss=loss, noise=sigma) for loss in ("edge", "texture"))
        assert psnr(best, truth) > psnr(edge, truth) + 2

    @pytest.mark.parametrize("kind", ["smooth", "photograph"])
    def test_is_never_far_below_edge(self, kind):
        i, j = np.mgrid[:96, :96]
        smooth = 0.5 + 0.3 * np.sin(i / 20) * np.cos(j / 25)
        truth = smooth if kind == "smooth" else graddesc.samples.ginkgo(96)[..., 1] / 255
        for known in (1.0, 0.2):
            mask = corrupt(truth.shape, 1 - known)
            noisy = truth + 0.05 * np.random.default_rng(1).standard_normal(truth.shape)
            edge, best = (graddesc.restore(noisy, mask, loss=loss, noise=0.05) for loss in ("edge", "texture"))
            assert psnr(best, truth) > psnr(edge, truth) - 0.15

    def test_exact_pixels_stay_to_the_bit_and_noisy_ones_move(self):
        truth = stripes()
        mask = corrupt(truth.shape, 0.5)
        sigma = np.where(corrupt(truth.shape, 0.5, seed=7), 0.1, 0)
        noisy = truth + sigma * np.random.default_rng(1).standard_normal(truth.shape)
        restored = graddesc.restore(noisy, mask, loss="texture", noise=sigma)
        exact = ~mask & (sigma == 0)
        assert_array_equal(restored[exact], truth[exact])
        seen = ~mask & (sigma > 0)
        assert (restored[seen] != noisy[seen]).mean() > 0.99
        assert np.abs(restored - truth)[seen].mean() < 0.5 * np.abs(noisy - truth)[seen].mean()
        # An exact pixel is worth more than one that is said to be as bad as the others.
        blurred = graddesc.restore(noisy, mask, loss="texture", noise=0.1 / np.sqrt(2))
        assert psnr(restored, truth) > psnr(blurred, truth) + 1

    def test_none_is_as_without(self):
        truth = stripes()
        mask = corrupt(truth.shape)
        expected = graddesc.restore(truth, mask, loss="texture")
        for noise in (0, np.where(mask, 1.0, 0), np.where(mask, np.inf, 0)):
            assert_array_equal(graddesc.restore(truth, mask, loss="texture", noise=noise, huber=True), expected)

    def test_next_to_none_changes_next_to_nothing(self):
        truth = stripes()
        mask = corrupt(truth.shape, 0.5)
        restored = graddesc.restore(truth, mask, loss="texture", noise=1e-9)
        assert_allclose(restored[~mask], truth[~mask], atol=1e-6)

    def test_infinite_noise_is_corrupt(self):
        truth = stripes() + 0.05 * np.random.default_rng(1).standard_normal(stripes().shape)
        mask = corrupt(truth.shape, 0.6)
        told = graddesc.restore(truth, mask, loss="texture", noise=0.05)
        mapped = graddesc.restore(truth, np.zeros_like(mask), loss="texture", noise=np.where(mask, np.inf, 0.05))
        assert_array_equal(mapped, told)

    def test_outliers_count_less_with_huber(self):
        truth = stripes()
        noisy = truth + 0.02 * np.random.default_rng(1).standard_normal(truth.shape)
        noisy[~corrupt(truth.shape, 0.98)] = 1
        for mask in (np.zeros(truth.shape, bool), corrupt(truth.shape, 0.5)):
            plain, robust = (
                graddesc.restore(noisy, mask, loss="texture", noise=0.02, huber=huber) for huber in (False, True)
            )
            assert psnr(robust, truth) > psnr(plain, truth) + 1

    def test_channels_and_threads(self):
        truth = np.stack([stripes(cycles=c) for c in (0.1, 0.14)], axis=-1)
        noisy = (truth + 0.1 * np.random.default_rng(1).standard_normal(truth.shape)).astype(np.float32)
        mask = corrupt(truth.shape, 0.5)
        for masks in (mask, mask[..., 0]):
            settings = {"mask": masks, "channel_axis": -1, "noise": 0.1}
            first, two = (graddesc.restore(noisy, loss="texture", threads=n, **settings) for n in (1, 2))
            assert_array_equal(first, two)
            assert psnr(first, truth) > psnr(graddesc.restore(noisy, **settings), truth) + 1

    def test_units_and_what_is_told(self):
        truth = stripes()
        noisy = truth + 0.1 * np.random.default_rng(1).standard_normal(truth.shape)
        mask = corrupt(truth.shape, 0.5)
        restored, info = graddesc.restore(noisy, mask, loss="texture", noise=0.1, full_output=True)
        assert (info.status, info.success) == (0, True)
        again = graddesc.restore(1000 * noisy - 300, mask, loss="texture", noise=100)
        assert_allclose((again + 300) / 1000, restored, atol=5e-3)
        _, info = graddesc.restore(noisy, mask, loss="texture", noise=0.1, max_time=0, full_output=True)
        assert info.status == 5
        for shape in ((1, 1), (1, 40), (5, 60), (13, 30)):
            small = stripes(*shape)
            found = graddesc.restore(small, np.zeros(shape, bool), loss="texture", noise=0.1)
            assert np.isfinite(found).all()
