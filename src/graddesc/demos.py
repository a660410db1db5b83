"""What the package can do, each shown by one function that needs no input."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

import graddesc
from graddesc import animation, images, masks, outputs, plots, samples
from graddesc.arguments import as_floats, require_count, require_nonnegative
from graddesc.shades import percent

if TYPE_CHECKING:
    from _typeshed import StrPath
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from scipy.optimize import OptimizeResult

    from graddesc.directions import _Direction
    from graddesc.line_search.ray import _Search
    from graddesc.result import Result
    from graddesc.schedules import _Schedule

    _Rule: TypeAlias = tuple[_Schedule | _Search, _Direction]

__all__ = ["Report", "TwoLayerNetwork", "network", "quadratic", "restore", "rosenbrock"]

_Vector: TypeAlias = NDArray[np.float64]

_SHOWN_ITERATIONS = 100  # of a descent from the noise, after which nobody sees a change
_BANDS = 10  # of probability


@dataclass(frozen=True)
class Report:
    """What a demo found out and which files it wrote.

    Parameters
    ----------
    lines : tuple of str
        The findings, one sentence each.
    files : tuple of str
        The paths of the files.
    """

    lines: tuple[str, ...]
    files: tuple[str, ...]


def restore(
    directory: StrPath = ".",
    *,
    size: int = 512,
    missing: float = 0.9,
    seed: int = 0,
    threads: int = 1,
    show: bool = False,
    overwrite: bool = False,
) -> Report:
    """Draw a ginkgo leaf, make most of its pixels black or white, and restore it.

    Writes ``ginkgo-corrupt.png``, ``ginkgo-restored.png``, ``ginkgo-comparison.png`` (corrupt, restored and original
    side by side) and ``ginkgo-healing.webp``, the image healing.

    Parameters
    ----------
    directory : str or os.PathLike, default "."
        Where to write; it must exist.
    size : int, default 512
        Rows and columns of the picture.
    missing : float, default 0.9
        The probability that a pixel is corrupt.
    seed : int, default 0
        Seeds the noise.
    threads : int, default 1
        How many threads restore.
    show : bool, default False
        Whether to show the image healing in a window or a notebook, by `graddesc.plots.Live`; the report says if
        there is none.
    overwrite : bool, default False
        Whether files that exist may be replaced.

    Returns
    -------
    Report
        The signal-to-noise ratios and the time.

    Raises
    ------
    OSError
        If a file cannot be written or exists; nothing is done then.

    Examples
    --------
    >>> import tempfile
    >>> from graddesc import demos
    >>> report = demos.restore(tempfile.mkdtemp(), size=32)
    >>> len(report.files)
    4
    """
    live = plots.Live() if show else None  # which fails first, if matplotlib is missing
    names = ("corrupt.png", "restored.png", "comparison.png", "healing.webp")
    files = _files(directory, (f"ginkgo-{name}" for name in names), overwrite)

    truth = samples.ginkgo(size)
    corrupt, mask = masks.corrupt(truth, missing, rng=seed, channel_axis=-1)
    start = time.perf_counter()
    restored = graddesc.restore(corrupt, mask, channel_axis=-1, threads=threads)
    seconds = time.perf_counter() - start

    # Once more for the animation: from the noise itself, which the solver's own better start never shows.
    recorder = animation.Recorder(corrupt)
    callback = recorder if live is None else _Both(recorder, live)
    graddesc.restore(
        corrupt,
        mask,
        init="image",
        max_iter=_SHOWN_ITERATIONS,
        channel_axis=-1,
        threads=threads,
        callback=callback,
    )

    comparison = _side_by_side(
        {
            f"{mask.mean():.0%} corrupt": corrupt,
            f"restored, {_psnr(restored, truth):.1f} dB": restored,
            "original": truth,
        }
    )
    for path, picture in zip(files, (corrupt, restored, comparison), strict=False):
        images.write(path, images.Picture(picture), overwrite=overwrite)
    outputs.write(files[-1], recorder.encode(restored, "webp"), overwrite=overwrite)
    lines = [
        f"{size} x {size} pixels, {percent(int(np.count_nonzero(mask)), mask.size)} of them corrupt",
        f"PSNR {_psnr(corrupt, truth):.2f} dB corrupt, {_psnr(restored, truth):.2f} dB restored",
        f"restored in {seconds:.3f} s",
    ]
    if live is not None and not live.shows:
        lines.append("there is no display to show the image healing: the animation shows it")
    return Report(tuple(lines), files)


def quadratic(directory: StrPath = ".", *, overwrite: bool = False) -> Report:
    """Minimise a quadratic function of two variables by steepest descent with exact line search.

    Writes ``quadratic.png``: the surface and the contours of ``f(x) = x1^2 + 7 x2^2 + 2 x1 + x2 + 2``, both with the
    negative gradient at the start (0, 1), the slice along it, and the path of the run; and ``quadratic-descent.gif``,
    the path as it grows, with the negative gradient at each point.

    Parameters
    ----------
    directory : str or os.PathLike, default "."
        Where to write; it must exist.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Returns
    -------
    Report
        The point, the value and the iterations.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written or exists; nothing is done then.

    Examples
    --------
    >>> import tempfile
    >>> from graddesc import demos
    >>> demos.quadratic(tempfile.mkdtemp()).lines[-1]
    '12 iterations, the last of which finds the gradient small'
    """
    plots.require_matplotlib()
    files = _files(directory, ["quadratic.png", "quadratic-descent.gif"], overwrite)
    from matplotlib.figure import Figure

    problem = graddesc.problems.Quadratic([[2, 0], [0, 14]], [2, 1], 2, start=[0, 1])
    start, gradient = problem.start, problem.gradient
    search, direction = graddesc.ExactLineSearch(), graddesc.Steepest()
    result = graddesc.minimize(problem, start, jac=gradient, step=search, direction=direction, history=True)

    figure = Figure((9.6, 8.0), layout="constrained")
    surface = figure.add_subplot(2, 2, 1, projection="3d", title="surface and negative gradient")
    contours = figure.add_subplot(2, 2, 2, title="contours and negative gradient")
    ray = figure.add_subplot(2, 2, 3, title="slice along the negative gradient")
    path = figure.add_subplot(2, 2, 4, title=f"steepest descent, {_iterations(result)} iterations")

    window, levels = ((-1.2, 1.2), (-1.2, 1.2)), np.geomspace(1, 10, 8)
    plots.surface(problem, gradient, start, window=window, axes=surface)
    plots.contour_path(problem, [start], window=window, levels=levels, filled=False, gradient=True, axes=contours)
    plots.ray(problem, gradient, start, window=(-0.01, 2 / 15), axes=ray)
    plots.contour_path(problem, result.history, window=window, levels=levels, axes=path)
    descent = plots.animate_path(problem, result, levels=levels, gradient=True)
    _write(files, (figure, descent), overwrite)
    return Report(
        (
            f"x = ({result.x[0]:.6f}, {result.x[1]:.6f})",
            f"f(x) = {result.fun:.12f}",
            f"{_iterations(result)} iterations, the last of which finds the gradient small",
        ),
        files,
    )


def rosenbrock(directory: StrPath = ".", *, maxiter: int = 20_000, overwrite: bool = False) -> Report:
    """Minimise Rosenbrock's function by steepest descent with exact line search, and by better directions.

    Writes ``rosenbrock-zigzag.png``: the filled contours with the path of steepest descent from (-2, -2), and the
    zigzag enlarged; ``rosenbrock-comparison.png``: the paths of four directions and their losses; and
    ``rosenbrock-race.gif``: the four side by side, after as many evaluations of the function each.

    Parameters
    ----------
    directory : str or os.PathLike, default "."
        Where to write; it must exist.
    maxiter : int, default 20 000
        The most iterations of each run; steepest descent needs 11990.
    overwrite : bool, default False
        Whether files that exist may be replaced.

    Returns
    -------
    Report
        A table of iterations, evaluations and the values reached.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If a file cannot be written or exists; nothing is done then.

    Examples
    --------
    >>> import tempfile
    >>> from graddesc import demos
    >>> report = demos.rosenbrock(tempfile.mkdtemp(), maxiter=100)
    >>> report.lines[1].split()[:3]
    ['steepest', 'descent', '100']
    """
    plots.require_matplotlib()
    names = ["rosenbrock-zigzag.png", "rosenbrock-comparison.png", "rosenbrock-race.gif"]
    files = _files(directory, names, overwrite)
    from matplotlib.figure import Figure

    methods: dict[str, _Rule] = {
        "steepest descent": (graddesc.ExactLineSearch(), graddesc.Steepest()),
        "momentum": (graddesc.ExactLineSearch(), graddesc.HeavyBall()),
        "conjugate gradients": (graddesc.StrongWolfe(curvature=0.4), graddesc.ConjugateGradient()),
        "L-BFGS": (graddesc.StrongWolfe(), graddesc.LBFGS()),
    }
    results = {
        name: graddesc.minimize(
            _rosenbrock,
            [-2, -2],
            jac=_rosenbrock_gradient,
            step=step,
            direction=direction,
            maxiter=maxiter,
            history=True,
        )
        for name, (step, direction) in methods.items()
    }
    histories = {name: result.history for name, result in results.items()}

    zigzag = Figure((10.0, 4.4), layout="constrained")
    whole, enlarged = zigzag.subplots(1, 2, width_ratios=(1.15, 1))
    steepest = histories["steepest descent"]
    plots.contour_path(_rosenbrock, steepest, window=((-5, 5), (-5, 5)), axes=whole)
    window = ((0.47, 0.53), (0.215, 0.275))
    levels = np.arange(0.22, 0.44, 0.02)
    plots.contour_path(_rosenbrock, steepest, window=window, levels=levels, filled=False, axes=enlarged)
    whole.plot(*np.mean(window, axis=1), "s", color="black", fillstyle="none", markersize=10)
    whole.set_title(f"steepest descent, {_iterations(results['steepest descent'])} iterations")
    enlarged.set_title("the zigzag in the square, enlarged")

    comparison = Figure((9.6, 4.4), layout="constrained")
    paths, losses = comparison.subplots(1, 2)
    plots.contour_path(_rosenbrock, histories, axes=paths)
    paths.set_title("paths from (-2, -2)")
    plots.loss_history(histories, axes=losses)
    losses.set(xscale="symlog", xlim=(0, None), title="loss by iteration")
    for axes in (paths, losses):
        axes.get_legend().remove()
    comparison.legend(*losses.get_legend_handles_labels(), loc="outside lower center", ncols=len(methods))
    race = plots.animate_path(_rosenbrock, histories, by="evaluations")
    _write(files, (zigzag, comparison, race), overwrite)
    return Report(_table(results), files)


def _rosenbrock(x: _Vector) -> float:
    """Rosenbrock's function as textbooks write it: in another order, rounding alone changes the 11990 iterations."""
    return float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)


def _rosenbrock_gradient(x: _Vector) -> _Vector:
    return np.array([-2 * (1 - x[0]) + 100 * 2 * (x[1] - x[0] ** 2) * (-2 * x[0]), 100 * 2 * (x[1] - x[0] ** 2)])


@dataclass(frozen=True, eq=False)
class TwoLayerNetwork:
    """A small neural network that tells two classes of points apart, as a function of its parameters.

    Parameters
    ----------
    points : array_like of shape (m, 2)
        The points that it learns from; copied.
    labels : array_like of shape (m,)
        Their classes, -1 or 1; copied.
    hidden : int, default 16
        The number of hidden units.
    decay : float, default 1e-3
        The weight of the squares of all parameters in the loss, not negative.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    The score of a point u is ``z = w.tanh(U u + c) + b``; its sign is the class. The loss is the mean of
    ``log(1 + exp(-label z))``, the logistic loss, plus ``decay / 2`` times the sum of the squares of the parameters,
    which are U, c, w and b in one array of ``4 hidden + 1`` numbers. The gradient is written out: the chain rule from
    the loss back to U, known as backpropagation [1]_.

    References
    ----------
    .. [1] D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by back-propagating errors",
       Nature 323 (1986) 533-536, :doi:`10.1038/323533a0`

    Examples
    --------
    >>> import numpy as np
    >>> from graddesc import LBFGS, StrongWolfe, minimize
    >>> from graddesc.demos import TwoLayerNetwork
    >>> network = TwoLayerNetwork([[0, 0], [0, 1], [1, 0], [1, 1]], [-1, 1, 1, -1], hidden=4)  # exclusive or
    >>> result = minimize(network, network.start(), jac=True, step=StrongWolfe(), direction=LBFGS())
    >>> np.sign(network.score(result.x, network.points))
    array([-1.,  1.,  1., -1.])
    """

    points: _Vector
    labels: _Vector
    hidden: int = 16
    decay: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("points", "labels"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))
        if self.points.ndim != 2 or self.points.shape[1] != 2 or len(self.points) == 0:
            raise ValueError(f"points must have shape (m, 2), got {self.points.shape}")
        if self.labels.shape != self.points.shape[:1] or not np.isin(self.labels, (-1, 1)).all():
            raise ValueError(f"labels must be {len(self.points)} numbers that are -1 or 1, got {self.labels}")
        require_count("hidden", self.hidden)
        require_nonnegative("decay", self.decay)

    def start(self, seed: int = 0) -> _Vector:
        """Draw parameters to start from: an array of shape (4 hidden + 1,)."""
        require_count("seed", seed, least=0)
        return np.random.default_rng(seed).normal(size=4 * self.hidden + 1)

    def score(self, parameters: _Vector, points: ArrayLike) -> _Vector:
        """Return the score of each point of an array of shape (..., 2), positive for class 1."""
        _, z = self._forward(parameters, points)
        return z

    def __call__(self, parameters: _Vector) -> tuple[float, _Vector]:
        """Return the loss and its gradient."""
        _, _, w, _ = self._layers(parameters)
        h, z = self._forward(parameters, self.points)
        margin = self.labels * z
        loss = float(np.mean(np.logaddexp(0, -margin)) + self.decay / 2 * parameters @ parameters)

        dz = -self.labels * np.exp(-np.logaddexp(0, margin)) / len(z)
        da = np.outer(dz, w) * (1 - h**2)  # through tanh, whose derivative is 1 - tanh^2
        gradient = np.concatenate([(da.T @ self.points).ravel(), da.sum(axis=0), h.T @ dz, [dz.sum()]])
        return loss, gradient + self.decay * parameters

    def _layers(self, parameters: _Vector) -> tuple[_Vector, _Vector, _Vector, float]:
        n = self.hidden
        return parameters[: 2 * n].reshape(n, 2), parameters[2 * n : 3 * n], parameters[3 * n : 4 * n], parameters[-1]

    def _forward(self, parameters: _Vector, points: ArrayLike) -> tuple[_Vector, _Vector]:
        U, c, w, b = self._layers(parameters)
        h = np.tanh(np.asarray(points) @ U.T + c)
        return h, h @ w + b


def network(directory: StrPath = ".", *, seed: int = 0, overwrite: bool = False) -> Report:
    """Train a small neural network to tell two interleaved half moons apart.

    Writes ``network.png``: the loss by iteration for three ways to minimise it, and the points with the boundary that
    L-BFGS finds between the classes; and ``network-learning.gif``: the boundaries of the three while they learn.

    Parameters
    ----------
    directory : str or os.PathLike, default "."
        Where to write; it must exist.
    seed : int, default 0
        Seeds the points and the parameters at the start.
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Returns
    -------
    Report
        A table of iterations, evaluations and losses, and how many points that were not shown are told apart.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written or exists; nothing is done then.

    Examples
    --------
    >>> import tempfile
    >>> from graddesc import demos
    >>> report = demos.network(tempfile.mkdtemp())
    >>> len(report.files)
    2
    """
    plots.require_matplotlib()
    files = _files(directory, ["network.png", "network-learning.gif"], overwrite)
    from matplotlib.figure import Figure

    rng = np.random.default_rng(seed)
    net = TwoLayerNetwork(*_moons(200, rng))
    unseen, truth = _moons(1000, rng)
    methods: dict[str, _Rule] = {
        "steepest descent": (graddesc.Backtracking(), graddesc.Steepest()),
        "Adam": (graddesc.Constant(0.03), graddesc.Adam()),
        "L-BFGS": (graddesc.StrongWolfe(), graddesc.LBFGS()),
    }
    results = {
        name: graddesc.minimize(
            net, net.start(seed), jac=True, step=step, direction=direction, maxiter=1000, history=True
        )
        for name, (step, direction) in methods.items()
    }
    right = {name: np.mean(net.score(result.x, unseen) * truth > 0) for name, result in results.items()}

    figure = Figure((9.6, 3.6), layout="constrained")
    losses, beside = figure.subplots(1, 2)
    plots.loss_history({name: result.history for name, result in results.items()}, axes=losses)
    losses.set(xscale="symlog", xlim=(0, None), yscale="linear", title="loss by iteration")
    plane = _Plane(beside, net, 400)
    plane.show(results["L-BFGS"].x)
    figure.colorbar(plane.bands, ax=beside, label="probability of the orange class", ticks=[0, 0.5, 1])
    beside.set_title(f"L-BFGS: {right['L-BFGS']:.1%} of unseen points told apart")
    _write(files, (figure, _learning(net, results, unseen, truth)), overwrite)
    accuracy = ", ".join(f"{share:.1%} by {name}" for name, share in right.items())
    return Report((*_table(results), f"unseen points told apart: {accuracy}"), files)


def _moons(count: int, rng: np.random.Generator) -> tuple[_Vector, NDArray[Any]]:
    """Draw points of two interleaved half moons, of radius 1, with noise; return points and labels."""
    labels = np.where(np.arange(count) % 2, 1, -1)
    angle = rng.uniform(0, np.pi, count)
    x = np.cos(angle) - 0.5 * labels
    y = labels * (0.25 - np.sin(angle))
    return np.column_stack([x, y]) + rng.normal(scale=0.15, size=(count, 2)), labels


class _Plane:
    """The plane of a network's points: the probability of class 1, the boundary where that is a half, the points."""

    def __init__(self, axes: Axes, net: TwoLayerNetwork, resolution: int) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import BoundaryNorm, ListedColormap

        low, high = net.points.min(axis=0) - 0.3, net.points.max(axis=0) + 0.3
        self._net, self._x, self._y = net, *np.linspace(low, high, resolution).T
        shades = ListedColormap(colormaps["PuOr_r"](np.linspace(0.35, 0.65, _BANDS)))
        self.bands = axes.imshow(
            np.zeros((1, 1)),
            cmap=shades,
            norm=BoundaryNorm(np.linspace(0, 1, _BANDS + 1), _BANDS),
            extent=(low[0], high[0], low[1], high[1]),
            origin="lower",
        )
        (self._boundary,) = axes.plot([], [], color="black")
        classes = [
            axes.plot(
                *net.points[net.labels == label].T, symbol, color=colour, markersize=size, markeredgecolor="white"
            )
            for label, symbol, size, colour in ((-1, "o", 6, "#5e3c99"), (1, "^", 7.5, "#c04e01"))
        ]
        axes.set(xlabel="$u_1$", ylabel="$u_2$")
        self.layers = [self.bands, self._boundary, *(line for lines in classes for line in lines)]

    def show(self, parameters: _Vector) -> None:
        """Show what the network makes of the plane with these parameters."""
        from contourpy import contour_generator

        score = self._net.score(parameters, np.stack(np.meshgrid(self._x, self._y), axis=-1))
        self.bands.set_data(np.exp(-np.logaddexp(0, -score)))
        gap = np.full((1, 2), np.nan)
        lines = [part for line in contour_generator(self._x, self._y, score).lines(0.0) for part in (line, gap)]
        self._boundary.set_data(*np.concatenate([gap, *lines]).T)


def _learning(
    net: TwoLayerNetwork, results: dict[str, OptimizeResult], unseen: _Vector, truth: NDArray[Any]
) -> animation.Animation:
    """Show what each rule has learned so far, side by side."""
    from matplotlib.figure import Figure

    figure = Figure((9.6, 3.1), layout="constrained")
    head = figure.suptitle("")
    panels = figure.subplots(1, len(results), sharex=True, sharey=True)
    planes = [_Plane(axes, net, 120) for axes in panels]
    for axes in panels[1:]:
        axes.set_ylabel("")
    last = max(result.nit for result in results.values())
    shown: dict[str, int] = {}

    def show(moment: int) -> None:
        head.set_text(f"after {moment} iteration{'s' * (moment != 1)}")
        for (name, result), plane, axes in zip(results.items(), planes, panels, strict=True):
            k = min(moment, result.nit)
            if shown.get(name) == k:
                continue
            shown[name] = k
            parameters = result.history.x[k]
            plane.show(parameters)
            right = np.mean(net.score(parameters, unseen) * truth > 0)
            ended = f", ended after {k}" if k == result.nit else ""
            axes.set_title(
                f"{name}{ended}\nloss {result.history.fun[k]:.3f}, {right:.1%} told apart", fontsize="medium"
            )

    moving = [
        head,
        *(artist for axes, plane in zip(panels, planes, strict=True) for artist in (*plane.layers, axes.title)),
    ]
    return animation.film(figure, moving, list(animation.spaced(0, last)), show)


def _files(directory: StrPath, names: Iterable[str], overwrite: bool) -> tuple[str, ...]:
    """Return the paths of a demo's files, all of which can be written."""
    files = tuple(os.path.join(directory, name) for name in names)
    for path in files:
        outputs.check(path, overwrite=overwrite)
    return files


def _write(files: tuple[str, ...], pictures: tuple[Figure | animation.Animation, ...], overwrite: bool) -> None:
    """Write each picture to its file."""
    for path, picture in zip(files, pictures, strict=True):
        outputs.write(path, plots.encode(path, picture), overwrite=overwrite)


def _iterations(result: OptimizeResult) -> int:
    """Count the iterations as textbooks do, with the one that finds the gradient small."""
    return int(result.nit + (result.status == 0))


def _table(results: dict[str, OptimizeResult]) -> tuple[str, ...]:
    """Return one line for each run, under a head."""
    lines = [f"{'':20} {'iterations':>10} {'values':>8} {'gradients':>9} {'f(x)':>9}"]
    for name, result in results.items():
        counts = f"{_iterations(result):10} {result.nfev:8} {result.njev:9}"
        lines.append(f"{name:20} {counts} {result.fun:9.2e}")
    return tuple(lines)


class _Both:
    """A recorder and a window as one callback, which both have the same iterations."""

    def __init__(self, recorder: animation.Recorder, live: plots.Live) -> None:
        self._callbacks = recorder, live

    @property
    def next_iteration(self) -> int:
        return min(callback.next_iteration for callback in self._callbacks)

    def __call__(self, intermediate_result: Result) -> None:
        for callback in self._callbacks:
            if intermediate_result.nit >= callback.next_iteration:
                callback(intermediate_result)


def _side_by_side(pictures: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size side by side, their names over them where these fit."""
    from PIL import Image, ImageDraw

    rows, cols, _ = next(iter(pictures.values())).shape
    gap, head = max(cols // 64, 1), 20 if cols >= 128 else 0
    whole = Image.new("RGB", ((cols + gap) * len(pictures) - gap, rows + head), "white")
    draw = ImageDraw.Draw(whole)
    for k, (name, picture) in enumerate(pictures.items()):
        whole.paste(Image.fromarray(picture), (k * (cols + gap), head))
        if head:
            draw.text((k * (cols + gap) + 2, 4), name, fill="black")
    return np.asarray(whole)


def _psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """The peak signal-to-noise ratio of 8-bit images, in decibels."""
    error = float(np.mean((image.astype(float) - truth) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf
