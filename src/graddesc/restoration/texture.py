"""What the loss "texture" does: local spectra learned from known pixels, gated against "edge", and similar patches.

`restore_texture` is the whole of it. `Windows` krige an image from the spectra of its windows, of one size; `Merged`
gathers what windows of several sizes make of it; `Gate` learns from pixels that were known but held out where one image
is to be preferred to another; and similar patches are shrunk together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graddesc._kernels import kriging as _kriging
from graddesc._kernels import patches as _patches
from graddesc.losses.sweeps import Descent, Piece
from graddesc.losses.texture import TextureAdaptive, complexity, taper, window_places
from graddesc.restoration import solver
from graddesc.restoration.noise import Noise
from graddesc.restoration.noise import typical as root_mean_square
from graddesc.restoration.outliers import edge_steps
from graddesc.restoration.points import edge_places
from graddesc.restoration.problem import Problem
from graddesc.restoration.windows import Windows as Places
from graddesc.restoration.windows import WindowSteps

Image: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
Pause: TypeAlias = Callable[[], object]
Solve: TypeAlias = Callable[[NDArray[np.uint8]], Image]

_HELD_OUT = 0.2  # of the known pixels
# Over what standard deviation, in pixels, the density of known pixels is averaged, and how much of that around held-out
# pixels there must be for their evidence to count. Similar patches fill a lone pixel better than the middle of a line.
_NEAR_FOR_KRIGING = 3.0, 0.5
_NEAR_FOR_PATCHES = 1.0, 0.75
# What the coefficients of the gates are expected to be, and within which standard deviations: for large windows against
# smaller ones, "edge" against both, and these without against with similar patches. Measured as those which mix the
# images of photographs best when the truth is known.
_SIZES_WEIGHT = (0.45, 0.0, 0.0, 0.05), (0.2, 0.1, 0.1, 0.1)
_EDGE_WEIGHT = (0.7, -0.1, 0.1, 0.1), (0.2, 0.1, 0.1, 0.1)
_UNPOLISHED_WEIGHT = (0.45, -0.05, 0.05, 0.0), (0.3, 0.15, 0.15, 0.3)
_LEAST_SIDE = 12  # of an image, and
_LEAST_KNOWN = 100  # known pixels of it: below these it stays as "edge" has it

# Windows, by the sides of their tori: enough known pixels to learn from, and few enough to invert their covariances. A
# torus that is larger than 4/3 of the window restores less: its spectrum has more to learn from the same pixels. What
# is regular wants the large windows; what changes from place to place, the two next smaller ones.
_SIDES = (12, 16, 24, 32)
_KNOWN_IN_WINDOW = 60
_CAPACITY = 128
_LEAST_IN_WINDOW = 4
_CHUNK = 512  # windows between looks at the clock
_CHANNELS = 4  # that share spectra, at most
_MEASURING = 0.3  # seconds that the loss is measured in the end, at most, if the time is over

_MIX = 0.005  # of the prior, in each step
_EXPONENTS = (1.5, 2.0, 2.5, 3.0)  # of the power laws to begin with; up to the second a window is taken for texture
_MIX_EXPONENT = 2.5
_SHARES = (0.3, 0.1, 0.03)  # of the power law in its mixtures with the periodogram
_ERROR_FLOOR = 1e-5

# Steps of expectation-maximisation, and those after which neighbouring windows' spectra are averaged.
_PILOT = 8, (2, 3, 4, 5, 6, 7)
_FULL = 3, (0, 1)
_MORE = 3, (0, 1)

_THRESHOLDS = 0.085, 0.005
# Those where known pixels are noisy, at least, in standard deviations of the noise. Half of what is seen is put back.
# Where all pixels are known, half of the noise is so cut off at 2.7 deviations of its own in the end.
_NOISY_THRESHOLDS = 2.0, 1.35
_ITERATIONS = 12
_MATCHES = 8  # iterations between searches for similar patches
_PATCH_STRIDES = 4, 6  # of what all known pixels tell, and of what only the gate looks at
_REACH = 10
_BAND = 16  # rows of patches: at least 64 rows of pixels, further apart than 2 * (_REACH + side of a patch)
_PIXELS = 2**19  # in bands of patches between looks at the clock, or
_BANDS = 4  # of them, two for each of two threads


class TextureSteps:
    """A restoration by local spectra; channels with masks of their own go one after the other."""

    def __init__(self, loss: TextureAdaptive, problem: Problem) -> None:
        self._loss, self._problem = loss, problem
        if len(problem.free) > 1 and problem.noise is None:
            problem.measure_apart()
        self._x = problem.filled()
        self._value: float | None = None  # of the image as it stands, once it was measured
        self._limits: solver.Limits | None = None

    def pieces(self) -> Iterator[Piece]:
        """The channels as they stand."""
        for channel, plane in enumerate(self._x):
            yield channel, None, plane

    def loss(self) -> float:
        """The loss of the image as it stands, scaled as it sees it; NaN if there was no time to measure it."""
        if self._value is None:
            left = None if self._limits is None else self._limits.remaining()
            last = math.inf if left is None else time.perf_counter() + max(left, _MEASURING)

            def pause() -> None:
                if last < math.inf and time.perf_counter() > last:
                    raise _OutOfTime

            try:
                self._value = math.fsum(complexity(x, self._loss.noise, pause=pause) for x in self._x)
            except _OutOfTime:
                self._value = math.nan
        return self._value

    def run(self, limits: solver.Limits, report: solver.Report | None) -> solver.Outcome:
        """Take all steps; return the status and its message."""
        self._limits = limits

        def pause() -> None:
            if limits.expired():
                raise _OutOfTime

        if limits.max_iter == 0:
            return solver.ITERATIONS
        problem, done = self._problem, 0
        masks = len(problem.free)
        parts = [np.s_[:]] if masks == 1 else [np.s_[c : c + 1] for c in range(masks)]
        huber = math.inf if problem.noise is None else problem.noise.huber
        deviations = [None] * masks if problem.noise is None else problem.noise.sigma
        try:
            for k, (part, missing, sigma) in enumerate(zip(parts, problem.missing, deviations, strict=True)):
                latest = None
                own = problem if problem.each is None else problem.part([k], missing[np.newaxis])
                # A copy where known pixels change: what is seen of them is needed to the end.
                x = np.array(self._x[part], np.float32, copy=None if sigma is None else True, order="C")

                def restore_edge(
                    missing: NDArray[np.uint8], x: Image = x, sigma: Any = sigma, own: Problem = own
                ) -> Image:
                    free, noise = missing, None
                    if sigma is not None:
                        told = np.where(missing, np.inf, sigma).astype(sigma.dtype)
                        free, noise = (told > 0).view(np.uint8), Noise(told[np.newaxis], huber)
                    edge = own.alike(x, free[np.newaxis], noise)
                    steps: Descent
                    if noise is None:
                        steps = edge_steps(self._loss.edge, edge, edge_places(edge.free))
                    else:
                        steps = WindowSteps(self._loss.edge, edge, Places(edge.free))
                    tol = self._loss.edge.default_tol if noise is None else solver.NOISY_TOL
                    solver.descend(steps, limits.of_solver(tol), None)
                    return edge.restored(steps.pieces()).astype(np.float32, copy=False)

                steps = restore_texture(
                    x, missing, restore_edge, *own.units.bounds(), self._loss.noise,
                    np.random.default_rng(self._loss.seed), problem.threads, pause, sigma, huber,
                )  # fmt: skip
                for image in steps:
                    if image is not latest:
                        latest = image
                        self._x[part], self._value = image, None
                    done += 1
                    try:
                        if report is not None:
                            report(done, None)
                    except StopIteration:
                        return solver.CALLBACK
                    if limits.expired():
                        return solver.TIME
                    if done >= limits.max_iter:
                        return solver.ITERATIONS
        except _OutOfTime:
            return solver.TIME
        return solver.DONE


class _OutOfTime(Exception):
    """Raised inside of a step that is too long to be waited for."""


def restore_texture(
    x: Image,
    missing: NDArray[np.uint8],
    solve: Solve,
    low: float,
    high: float,
    floor: float,
    rng: np.random.Generator,
    threads: int,
    pause: Pause,
    sigma: NDArray[Any] | None = None,
    huber: float = math.inf,
) -> Iterator[Image]:
    """Restore an image by local spectra, held-out pixels and similar patches; a generator of the image step by step.

    Parameters
    ----------
    x : ndarray of float32, shape (channels, rows, cols)
        The image, about in [0, 1]; its known pixels are read.
    missing : ndarray of uint8, shape (rows, cols)
        1 where a pixel is unknown.
    solve : callable
        ``solve(missing)`` restores all channels of x by "edge" where another mask tells, and returns a new float32
        array.
    low, high : float
        The range of pixels that are not exact.
    floor : float
        The standard deviation of what no spectrum explains.
    rng : numpy.random.Generator
        What the held-out pixels and the positions of patches are drawn from.
    threads : int
        Number of threads.
    pause : callable
        Called without arguments several times a second; ends the work by an exception.
    sigma : ndarray of float, shape (rows, cols), optional
        The standard deviation of the known pixels' noise, 0 where they are exact; by default all are.
    huber : float, default infinity
        The number of standard deviations of a pixel from "edge" beyond which its noise counts as larger.

    Yields
    ------
    ndarray of float32, shape (channels, rows, cols)
        The best image so far, not changed later.
    """
    edge = solve(missing)
    yield edge
    known = missing == 0
    exact = known if sigma is None else known & (sigma == 0)
    variance = np.full(missing.shape, floor**2, np.float32)
    typical, shares, kept = 0.0, None, None
    if sigma is not None:
        typical = root_mean_square(sigma)
        noise = _variances(sigma[known].astype(np.float64), (edge - x)[:, known], huber)
        variance[known] += noise
        # How much of what is seen is put back before patches are shrunk: all of exact pixels, half of typical ones.
        shares = np.zeros(missing.shape, np.float32)
        shares[known] = typical**2 / (typical**2 + noise)
        # Pixels whose noise is far below what no spectrum explains keep what they are.
        kept = np.zeros(missing.shape, np.float32)
        kept[known] = floor**4 / (floor**4 + noise**2)

    def fixed(image: Image, where: Mask) -> Image:
        if kept is not None:
            image = image + kept * where * (x - image)
        return _fix(image, x, exact & where, low, high)

    if min(missing.shape) < _LEAST_SIDE or np.count_nonzero(known) < _LEAST_KNOWN:
        return
    rest = known.copy()
    places = np.flatnonzero(known)
    rest.flat[rng.permutation(places)[: round(_HELD_OUT * len(places))]] = False
    held = known & ~rest
    # From here on each image is a pair: what all known pixels tell, and what the rest tells.
    edges = edge, solve((~rest).astype(np.uint8))

    def choose(
        firsts: Sequence[Image], seconds: Sequence[Image], expected: Sequence[float], spread: Sequence[float]
    ) -> list[Image]:
        gate = Gate(firsts[1], seconds[1], x, held, expected, spread, pause)
        return [gate(firsts[0], seconds[0]), gate.own()]

    def trust(image: Image, otherwise: Image, near: tuple[float, float]) -> Image:
        trusted = _trusted(known, rest, held, *near, pause)
        return fixed(otherwise + trusted * (image - otherwise), known)

    kriged: list[Image] = []
    for sides in _sides(known):
        parts = []
        for start in range(0, len(x), _CHANNELS):
            some = np.s_[start : start + _CHANNELS]
            work = _krige(
                sides, x[some], known, rest, exact, variance, floor, [image[some] for image in edges], threads, pause
            )
            parts.append((yield from _while_showing(edge, work)))
        images = [np.concatenate(part) for part in zip(*parts, strict=True)]
        kriged = choose(kriged, images, *_SIZES_WEIGHT) if kriged else images
    chosen = choose(edges, kriged, *_EDGE_WEIGHT)
    mixed = trust(chosen[0], edge, _NEAR_FOR_KRIGING), fixed(chosen[1], rest)
    yield mixed[0]
    polished = []
    thresholds = np.geomspace(
        max(_THRESHOLDS[0], _NOISY_THRESHOLDS[0] * typical),
        max(_THRESHOLDS[1], _NOISY_THRESHOLDS[1] * typical * math.sqrt(math.sqrt(known.mean()))),
        _ITERATIONS,
    )
    for image, where, stride, seed in zip(mixed, (known, rest), _PATCH_STRIDES, rng.spawn(2), strict=True):
        weights = None if shares is None else shares * where

        def fix(new: Image, where: Mask = where) -> Image:
            return _fix(new, x, exact & where, low, high)

        def put_back(new: Image, weights: Image | None = weights) -> Image:
            return new if weights is None else new + weights * (x - new)

        polishing = _polish(image, fix, put_back, thresholds, stride, seed, threads, pause)
        polished.append((yield from _while_showing(mixed[0], polishing)))
    gate = Gate(mixed[1], polished[1], x, held, *_UNPOLISHED_WEIGHT, pause)
    yield trust(gate(mixed[0], polished[0]), mixed[0], _NEAR_FOR_PATCHES)


def _variances(sigma: NDArray[Any], distance: NDArray[Any], huber: float) -> NDArray[Any]:
    """The variances of noise, larger where known pixels, shape (channels, pixels), are far from what they should be."""
    variances: NDArray[Any] = sigma**2
    if huber < math.inf:
        far = np.sqrt(np.mean(distance**2, axis=0))
        variances = np.maximum(variances, sigma / huber * far)
    return variances


def _fix(image: NDArray[Any], x: Image, exact: Mask, low: float, high: float) -> Image:
    """An image within its range, with the exact pixels of x."""
    return np.where(exact, x, np.clip(image, low, high)).astype(np.float32)


def _while_showing(image: Image, work: Iterable[Any]) -> Generator[Image, None, Any]:
    """Yield an image for each step of some work, and return what its last one gave."""
    result = None
    for result in work:  # noqa: B007
        yield image
    return result


def _trusted(
    known: Mask, rest: Mask, held: Mask, spread: float, least: float, pause: Pause
) -> NDArray[np.floating[Any]]:
    """How far what held-out pixels tell holds at each pixel, by the density of known pixels around.

    It is 1 where they are as dense as around the sparsest held-out pixels, and 0 where they are but `least` times so.
    """

    def density(mask: Mask) -> NDArray[Any]:
        return _blurred(mask.astype(np.float32), spread, pause)

    sparsest = max(np.quantile(density(rest)[held], 0.01), 1e-6)
    trusted: NDArray[np.floating[Any]] = np.clip((density(known) / sparsest - least) / (1 - least), 0, 1)
    return trusted


def _blurred(image: NDArray[Any], spread: float, pause: Pause) -> NDArray[Any]:
    """A Gaussian mean of a 2-D image."""
    from scipy.ndimage import gaussian_filter1d

    for axis in (0, 1):
        pause()
        image = gaussian_filter1d(image, spread, axis)
    return image


# ---- windows and their spectra ----


def _sides(known: Mask) -> list[tuple[int, ...]]:
    """The sides of the tori to take, those of large windows first."""
    wanted = math.sqrt(_KNOWN_IN_WINDOW * known.size / np.count_nonzero(known))
    best = min(range(len(_SIDES)), key=lambda k: abs(math.log(3 * _SIDES[k] / 4 / wanted)))
    return [sides for sides in (_SIDES[best : best + 1], _SIDES[max(best - 1, 0) : best]) if sides]


def _krige(
    sides: Iterable[int],
    x: Image,
    known: Mask,
    rest: Mask,
    exact: Mask,
    variance: Image,
    floor: float,
    edges: Sequence[Image],
    threads: int,
    pause: Pause,
) -> Iterator[list[Image] | None]:
    """Yield now and then, at last the pair of images that is kriged from all known pixels and from the rest."""
    merged = [Merged(edge) for edge in edges]
    for side in sides:
        windows = Windows(side, ~exact, len(x), variance, floor, threads, pause)
        windows.know(x, rest)
        windows.begin(edges[1])
        estimates = windows.estimates()
        yield from windows.learn(windows.order, *_PILOT, estimates)
        merged[1].add(windows, estimates)
        windows.know(x, known)
        yield from windows.learn(windows.order, *_FULL, estimates)
        yield from windows.learn(windows.order[windows.textured[windows.order]], *_MORE, estimates)
        merged[0].add(windows, estimates)
    pair = []
    for image, where in zip(merged, (exact, exact & rest), strict=True):
        pause()
        pair.append(image.mean(x, where))
    yield pair


class Merged:
    """The mean of what windows make of each pixel, those with small errors weighing more."""

    def __init__(self, otherwise: Image) -> None:
        self._otherwise = otherwise
        self._sums, self._weights = np.zeros_like(otherwise), np.zeros(otherwise.shape[1:], np.float32)

    def add(self, windows: Windows, estimates: Image) -> None:
        """Add the estimates of windows."""
        windows.merge(estimates, self._sums, self._weights)

    def mean(self, x: Image, exact: Mask) -> Image:
        """Return the mean, the other image where there is no window, and x where it is exact."""
        image = self._otherwise.copy()
        np.divide(self._sums, self._weights, out=image, where=self._weights > 0)
        return np.where(exact, x, image)


def _power_law(side: int, exponent: float) -> NDArray[np.float64]:
    """A power law as a half spectrum of mean 1."""
    rows, cols = np.fft.fftfreq(side)[:, np.newaxis], np.fft.rfftfreq(side)
    spectrum = (rows**2 + cols**2 + 1e-3) ** (-exponent / 2)
    weights = np.full(side // 2 + 1, 2.0)
    weights[[0, -1]] = 1
    law: NDArray[np.float64] = spectrum / ((spectrum * weights).sum() / side**2)
    return law


class Windows:
    """The windows of an image, their spectra, and what these make of the known pixels.

    Attributes
    ----------
    order : ndarray of int32
        The windows with enough known pixels, those with few of them first.
    textured : ndarray of bool
        The windows whose known pixels are best explained by a spectrum that falls slowly.
    """

    def __init__(
        self, side: int, free: Mask, channels: int, variance: Image, floor: float, threads: int, pause: Pause
    ) -> None:
        self._side, self._channels, self._variance, self._least = side, channels, variance, floor**2
        self._threads, self._pause = threads, pause
        self._size = min(3 * self._side // 4, *free.shape)
        tops, lefts = (window_places(extent, self._size, self._size // 3) for extent in free.shape)
        self._grid = len(tops), len(lefts)
        corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1)
        self._corners = np.ascontiguousarray(corners.reshape(-1, 2), np.int32)
        self._taper = taper(self._size).astype(np.float32)
        angles = 2 * np.pi * np.arange(self._side) / self._side
        self._roots = np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
        self._to_restore = self._count(free) > 0
        count = len(self._corners)
        # Not filled: at 12 megapixels either is half a gigabyte.
        self._spectra = np.empty((count, self._side, self._side // 2 + 1), np.float32)
        self._tied = np.empty_like(self._spectra)
        self._errors = np.ones(count, np.float32)
        self.textured = np.zeros(count, bool)

    def _count(self, flags: NDArray[Any]) -> NDArray[np.int64]:
        """How many flags are set in each window."""
        sums = np.zeros((flags.shape[0] + 1, flags.shape[1] + 1), np.int64)
        self._pause()
        np.cumsum(flags, 0, out=sums[1:, 1:])
        self._pause()
        np.cumsum(sums, 1, out=sums)
        self._pause()
        top, left = self._corners.T
        bottom, right = top + self._size, left + self._size
        counts: NDArray[np.int64] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return counts

    def know(self, x: Image, known: Mask) -> None:
        """Take these pixels of x as the known ones from now on."""
        self._x, self._known = np.ascontiguousarray(x), known.view(np.uint8)
        counts = self._count(known)
        use = (counts >= _LEAST_IN_WINDOW) & self._to_restore
        self._valid = use.astype(np.uint8).reshape(self._grid)
        order = np.argsort(counts, kind="stable").astype(np.int32)
        self.order = order[use[order]]
        self._capacity = int(min(counts[use].max(initial=1), _CAPACITY))
        floats = _kriging.workspace_size(self._side, self._size, self._capacity, self._channels)
        self._workspace = np.empty((self._threads, floats), np.float32)

    def _chunks(self, order: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
        for start in range(0, len(order), _CHUNK):
            self._pause()
            yield order[start : start + _CHUNK]

    def begin(self, pilot: Image) -> None:
        """Choose the spectra to start from: power laws, or mixtures with the spectrum of another image's window."""
        laws = np.stack([_power_law(self._side, exponent) for exponent in _EXPONENTS])
        covariances = np.fft.irfft2(laws, s=(self._side, self._side))
        distances = np.arange(-self._size + 1, self._size + 1) % self._side
        tables = np.ascontiguousarray(covariances[:, : self._size, distances], np.float32)
        exponents = np.zeros(len(self._corners), np.uint8)
        for order in self._chunks(self.order):
            _kriging.begin(
                self._x, self._known, self._variance, pilot, self._corners, order, self._taper, self._roots,
                laws.astype(np.float32), tables, np.array(_SHARES, np.float32), self._least, self._capacity,
                self._threads, self._workspace, self._spectra, exponents,
            )  # fmt: skip
        self.textured = exponents < 2
        # Windows that will have enough known pixels only when none is held out.
        others = self._to_restore.copy()
        others[self.order] = False
        self._spectra[others] = 1

    def estimates(self) -> Image:
        """Room for what each window makes of its pixels."""
        return np.empty((len(self._corners), self._channels, self._size, self._size), np.float32)

    def learn(self, order: NDArray[np.int32], steps: int, ties: Iterable[int], estimates: Image) -> Iterator[None]:
        """Take steps of expectation-maximisation in these windows, the last of which estimates; yield after each."""
        law = _power_law(self._side, _MIX_EXPONENT).astype(np.float32)
        for k in range(steps):
            for chunk in self._chunks(order):
                _kriging.step(
                    self._x, self._known, self._variance, self._corners, chunk, self._taper, self._roots, law,
                    self._least, _MIX, k == steps - 1, self._capacity, self._threads, self._workspace, self._spectra,
                    self._errors, estimates,
                )  # fmt: skip
            if k in ties:
                for chunk in self._chunks(order):
                    _kriging.tie(self._spectra, self._valid, chunk, self._threads, self._tied)
                for chunk in self._chunks(order):
                    self._spectra[chunk] = self._tied[chunk]
            yield

    def merge(self, estimates: Image, sums: Image, weights: Image) -> None:
        """Add what each window makes of its pixels, and its weights, to sums and weights."""
        for chunk in self._chunks(self.order):
            _kriging.merge(estimates, self._errors, self._corners, chunk, self._taper, _ERROR_FLOOR, sums, weights)


# ---- the gate ----


class Gate:
    """Where the first of two images is to be preferred, learned from pixels that were held out from both.

    The weight of the first is linear in the difference of the two around a pixel, the coherence and the strength of
    the first one's structure tensor. Its coefficients are taken as normal, about what is expected of such a pair; the
    held-out pixels tell of them what weighted least squares do, as surely as the scatter of these pixels allows. Few
    pixels have much contrast, and they make most of the error: what few of them tell is not to be trusted.
    """

    _CLIP = 2.5
    _NEIGHBOURS = 4.0  # how much more the evidence scatters than that of as many independent pixels

    def __init__(
        self,
        first: Image,
        second: Image,
        x: Image,
        held: Mask,
        expected: Sequence[float],
        spread: Sequence[float],
        pause: Pause,
    ) -> None:
        self._pause = pause
        self._own = first, second, self._features(first, second)
        features = [feature[held] for feature in self._own[2]]
        self._means = [feature.mean() for feature in features]
        self._deviations = [feature.std() + 1e-9 for feature in features]
        basis = np.stack([np.ones(features[0].shape), *self._standardised(features)])
        difference, error = ((image - second).astype(np.float64)[:, held] for image in (first, x))
        square = difference**2
        weights = 1 / (1 + square / (3 * square.mean() + 1e-12))
        # The normal equations, matrix @ coefficients = right, are an observation of the coefficients; the covariance of
        # its noise is that of the sums over pixels (White's "sandwich").
        matrix = (basis * (weights * square).sum(0)) @ basis.T
        right = basis @ (weights * difference * error).sum(0)
        prior = np.diag(np.square(spread))
        mean = np.array(expected)
        self._coefficients = mean
        for _ in range(2):
            residuals = (weights * difference * (error - self._coefficients @ basis * difference)).sum(0)
            noise = self._NEIGHBOURS * (basis * residuals**2) @ basis.T
            news = np.linalg.lstsq(noise + matrix @ prior @ matrix, right - matrix @ mean, rcond=None)[0]
            self._coefficients = mean + prior @ matrix @ news

    def __call__(self, first: Image, second: Image) -> Image:
        """Mix two images."""
        return self._mix(first, second, self._features(first, second))

    def own(self) -> Image:
        """Mix the two images that it has learned from."""
        return self._mix(*self._own)

    def _mix(self, first: Image, second: Image, features: Iterable[NDArray[Any]]) -> Image:
        weight = np.full(first.shape[1:], self._coefficients[0], np.float32)
        for coefficient, feature in zip(self._coefficients[1:], self._standardised(features), strict=True):
            self._pause()
            weight += np.float32(coefficient) * feature
        weight = _blurred(np.clip(weight, 0, 1, out=weight), 2, self._pause)
        return second + weight * (first - second)

    def _standardised(self, features: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for feature, mean, deviation in zip(features, self._means, self._deviations, strict=True):
            yield np.clip((feature - mean) / deviation, -self._CLIP, self._CLIP)

    def _features(self, first: Image, second: Image) -> list[NDArray[Any]]:
        def mean(products: Any, spread: float) -> NDArray[Any]:
            return _blurred(products.sum(0), spread, self._pause)

        self._pause()
        difference = mean((first - second) ** 2, 4) / len(first)
        self._pause()
        down, right = np.gradient(first, axis=(1, 2))
        across, along, mixed = mean(right**2, 3), mean(down**2, 3), mean(right * down, 3)
        trace = across + along
        features = []
        for feature in (
            lambda: np.log(difference + 1e-5),
            lambda: np.hypot(across - along, 2 * mixed) / (trace + 1e-12),
            lambda: np.log(trace + 1e-12),
        ):
            self._pause()
            features.append(feature())
        return features


# ---- similar patches ----


def _polish(
    image: Image,
    fix: Callable[[Image], Image],
    put_back: Callable[[Image], Image],
    thresholds: Iterable[float],
    stride: int,
    rng: np.random.Generator,
    threads: int,
    pause: Pause,
) -> Iterator[Image]:
    """Shrink groups of similar patches by one threshold after the other; yield the image after each time."""
    side, group, floats = _patches.layout()
    _, rows, cols = image.shape
    workspace = np.empty((threads, max(floats, 2 * cols)), np.float32)
    rows_at_once = _BAND * max(_BANDS, _PIXELS // (_BAND * stride * cols))
    for k, threshold in enumerate(thresholds):
        if k % _MATCHES == 0:
            # The grid lies elsewhere each time; its first and last patches are flush with the border.
            tops, lefts = (
                np.unique(np.append(0, offset + window_places(extent - offset, side, stride))).astype(np.int32)
                for extent, offset in zip((rows, cols), _offsets(rng, stride, rows - side, cols - side), strict=True)
            )
            distances = np.empty((len(tops), len(lefts), group), np.float32)
            places = np.empty(distances.shape, np.int32)
            for start in range(0, len(tops), _BAND):
                pause()
                some = np.s_[start : start + _BAND]
                _patches.match(image, tops[some], lefts, _REACH, threads, workspace, distances[some], places[some])
        shrunken = np.empty_like(image)
        for plane, out in zip(put_back(image), shrunken, strict=True):
            sums, weights = np.zeros_like(plane), np.zeros_like(plane)
            for start in range(0, len(tops), rows_at_once):
                pause()
                some = np.s_[start : start + rows_at_once]
                _patches.shrink(plane, places[some], _BAND, threshold, threads, workspace, sums, weights)
            np.divide(sums, weights, out=out)
        image = fix(shrunken)
        yield image


def _offsets(rng: np.random.Generator, stride: int, *room: int) -> list[int]:
    return [int(rng.integers(0, min(stride, most + 1))) for most in room]
