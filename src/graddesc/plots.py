"""Pictures of functions and of runs, drawn with matplotlib, which the extra ``plot`` installs.

Each function returns a `matplotlib.figure.Figure`, whose ``savefig`` writes it, or draws into given axes and returns
their figure; `animate_path` returns an animation. `encode` makes files of both. No global state of pyplot is touched,
but by `Live`, which opens a window.
"""

from __future__ import annotations

import base64
import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graddesc import animation
from graddesc.arguments import as_floats, require, require_callable, require_count, require_nonnegative
from graddesc.outputs import extension
from graddesc.shades import eight_bits, shown_range

if TYPE_CHECKING:
    from _typeshed import StrPath
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.text import Annotation
    from scipy.optimize import OptimizeResult

    from graddesc.result import Result

    _Run: TypeAlias = ArrayLike | OptimizeResult | Result

__all__ = [
    "Live",
    "animate_path",
    "contour_path",
    "encode",
    "loss_history",
    "ray",
    "require_matplotlib",
    "surface",
]

# The palette of Okabe and Ito, which colour-blind readers can tell apart, in the order that contrasts most.
_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#0072B2", "#56B4E9")
_BLUE = "#0072B2"
_SYMBOLS = "osD^vPX"
_Vector: TypeAlias = NDArray[np.float64]
_Value: TypeAlias = Callable[[_Vector], SupportsFloat]
_Gradient: TypeAlias = Callable[[_Vector], ArrayLike]
_Interval: TypeAlias = tuple[float, float]
_Window: TypeAlias = tuple[_Interval, _Interval]

_ARROW: dict[str, Any] = {
    "arrowstyle": "-|>",
    "mutation_scale": 16,
    "linewidth": 2,
    "color": _COLOURS[0],
    "shrinkA": 0,
    "shrinkB": 0,
}
_HEIGHTS = "YlGnBu_r"  # dark where the function is low
_MOST_DECADES = 12
_FINEST = 10_000  # points of a grid a side
_HIGHEST = 1e200  # matplotlib takes what is beyond 1e250 for the end of all contours
_ARROW_LENGTH = 0.11  # of the window
_FEW = 60  # so many points of a line get markers of their own


def require_matplotlib() -> None:
    """Raise unless matplotlib is installed.

    Raises
    ------
    ImportError
        If it is not; the message holds the command that installs it.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'graddesc[plot]'") from None


class Live:
    """Show an image while it heals: pass it to ``restore`` as ``callback``.

    In a notebook the picture is drawn anew in its place; elsewhere it is a window, where matplotlib has a backend that
    opens one. Where it has none, nothing is shown, and `figure` holds the last picture. All but 8 bits are shown over
    the range of most of the first picture's pixels; channels other than three as their mean. It belongs to one run.

    Parameters
    ----------
    pause : float, default 0.01
        Seconds, after each picture, in which the window reacts.
    growth : float, default 1.15
        The ratio of the iterations of one picture and the next, as changes become small: 1 shows all.

    Attributes
    ----------
    figure : matplotlib.figure.Figure or None
        The picture; None before the first.
    next_iteration : int
        The iteration of the next picture.
    shows : bool
        Whether there is a notebook or a display to show pictures.

    Raises
    ------
    TypeError, ValueError
        If `pause` is not a non-negative number, or `growth` not one of at least 1.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import graddesc
    >>> corrupt, mask = graddesc.masks.corrupt(graddesc.samples.ginkgo(32), rng=0, channel_axis=-1)
    >>> live = graddesc.plots.Live()
    >>> restored = graddesc.restore(corrupt, mask, channel_axis=-1, callback=live)  # doctest: +SKIP
    """

    figure: Figure | None
    next_iteration: int

    def __init__(self, pause: float = 0.01, growth: float = 1.15) -> None:
        self._pause = require_nonnegative("pause", pause)
        self._growth = require("growth", growth, "a number of at least 1", lambda ratio: ratio >= 1)
        require_matplotlib()
        self.figure, self.next_iteration = None, 1
        self._picture: AxesImage | None = None
        self._display: Any = None
        self._ends = 0.0, 1.0

    @property
    def shows(self) -> bool:
        """Whether there is a notebook or a display to show pictures."""
        from matplotlib import pyplot

        return _notebook_display() is not None or _opens_windows(pyplot.get_backend())

    def __call__(self, intermediate_result: Result) -> None:
        """Show the image as it stands.

        Parameters
        ----------
        intermediate_result : graddesc.result.Result
            What ``restore`` hands to its callback; ``x``, ``nit`` and ``fun`` are read.
        """
        nit = intermediate_result.nit
        if nit < self.next_iteration:
            return
        image = np.asarray(intermediate_result.x)
        if self.figure is None:
            self._ends = shown_range(image)
        shown = eight_bits(image, *self._ends)
        if shown.ndim == 3 and shown.shape[-1] != 3:
            axis = int(np.argmin(shown.shape))
            shown = np.moveaxis(shown, axis, -1) if shown.shape[axis] == 3 else shown.mean(axis=axis).astype(np.uint8)
        if self.figure is None or self._picture is None:
            self.figure, self._picture = self._open(shown)
        self._picture.set(data=shown, extent=(-0.5, shown.shape[1] - 0.5, shown.shape[0] - 0.5, -0.5))
        self._picture.axes.set_title(f"iteration {nit}, loss {intermediate_result.fun:.4g}")
        self._draw(self.figure)
        self.next_iteration = max(math.ceil(nit * self._growth), nit + 1)

    def _open(self, image: NDArray[np.uint8]) -> tuple[Figure, AxesImage]:
        from matplotlib import pyplot

        notebook = _notebook_display()
        if notebook is not None or not self.shows:
            from matplotlib.figure import Figure

            figure = Figure(layout="constrained")
        else:
            figure = pyplot.figure(layout="constrained")
            figure.show()
        axes = figure.add_subplot()
        axes.set_axis_off()
        picture = axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        if notebook is not None:
            self._display = notebook(_as_png(figure), raw=True, display_id=True)
        return figure, picture

    def _draw(self, figure: Figure) -> None:
        if self._display is not None:
            self._display.update(_as_png(figure), raw=True)
        elif figure.canvas.manager is not None:
            figure.canvas.draw_idle()
            if self._pause > 0:
                figure.canvas.start_event_loop(self._pause)
            else:
                figure.canvas.flush_events()


def _as_png(figure: Figure) -> dict[str, str]:
    """The picture as a notebook takes it, whatever it has loaded of matplotlib."""
    return {"image/png": base64.b64encode(encode("live.png", figure)).decode()}


def _notebook_display() -> Any:
    """What displays in the notebook at hand, or None where there is none."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    kernel = any(cls.__name__ == "ZMQInteractiveShell" for cls in type(shell).__mro__)
    return ipython.display.display if kernel else None


def _opens_windows(backend: str) -> bool:
    from matplotlib import backends

    known: Any = backends  # whose registry has no types
    return backend.lower() in (
        name.lower() for name in known.backend_registry.list_builtin(known.BackendFilter.INTERACTIVE)
    )


def encode(path: StrPath, picture: Figure | animation.Animation) -> bytes:
    """Return a figure or an animation as the bytes of an image file.

    Parameters
    ----------
    path : str or os.PathLike
        The file's name, whose extension tells the format: .png, .svg, .pdf; of an animation .webp, .gif, .png.
    picture : matplotlib.figure.Figure or graddesc.animation.Animation
        The figure or the animation.

    Returns
    -------
    bytes
        The file's contents.

    Examples
    --------
    >>> from graddesc import plots
    >>> bytes(plots.encode("loss.png", plots.loss_history([9.0, 3.0, 2.5]))[1:4])
    b'PNG'
    """
    kind: Any = extension(os.fspath(path))[1:]
    if isinstance(picture, animation.Animation):
        return picture.encode(kind)
    buffer = io.BytesIO()
    picture.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


def loss_history(
    history: _Run | Mapping[str, _Run],
    *,
    by: Literal["iterations", "evaluations"] = "iterations",
    minimum: float | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Plot the loss by iteration or by evaluation, of one run or of several.

    Parameters
    ----------
    history : array_like of shape (iterations,), result, result.history, or dict
        The losses after each iteration, as in ``info.history`` of :func:`graddesc.restore`; or what
        :func:`graddesc.minimize` returns with ``history=True``, which begins at iteration 0; or a dict from names to
        either.
    by : {"iterations", "evaluations"}, default "iterations"
        What to count; evaluations of the function are known of :func:`graddesc.minimize` only.
    minimum : float, optional
        The least value possible: what is above it is plotted. Default: the losses themselves.
    axes : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. The scale of the losses is logarithmic unless one is negative or all are 0.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a history is not one-dimensional, or does not tell the evaluations that `by` asks for; if a dict is empty.

    Examples
    --------
    >>> from graddesc import plots
    >>> figure = plots.loss_history([9.0, 3.0, 2.5])
    >>> figure.axes[0].get_xlabel()
    'iteration'
    >>> from graddesc import LBFGS, Nesterov, StrongWolfe, minimize
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> options = dict(jac=problem.gradient, step=StrongWolfe(), history=True)
    >>> runs = {
    ...     type(direction).__name__: minimize(problem, problem.start, direction=direction, **options).history
    ...     for direction in (Nesterov(), LBFGS())
    ... }
    >>> figure = plots.loss_history(runs, minimum=problem.minimum)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['Nesterov', 'LBFGS']
    """
    axes = _axes(axes)
    runs = _named(history)
    plotted: list[_Vector] = []
    for (name, run), (colour, symbol) in zip(runs.items(), _looks(runs), strict=True):
        losses = as_floats("history", getattr(run, "fun", run))
        if losses.ndim != 1:
            raise ValueError(f"history must have shape (iterations,), got {losses.shape}")
        if minimum is not None:
            minimum = require("minimum", minimum, "a finite number", lambda loss: True)
            losses = np.maximum(losses - minimum, 0)
        plotted.append(losses)
        axes.plot(
            _clock(run, len(losses), by, 0 if hasattr(run, "fun") else 1),
            losses,
            color=colour,
            label=name,
            **_marks(symbol, len(losses)),
        )
    heights = np.concatenate(plotted)
    if (heights > 0).any() and not (heights < 0).any():
        axes.set_yscale("log")
        if heights.max() < 10 * heights[heights > 0].min():  # without a power of ten to label, 190 reads 1.9 x 10^2
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel=by[:-1], ylabel="loss" if minimum is None else "loss above the minimum")
    axes.grid(alpha=0.3)
    if None not in runs:
        axes.legend()
    return _figure(axes)


def contour_path(
    problem: _Value,
    history: _Run | Mapping[str, _Run],
    *,
    window: _Window | None = None,
    levels: ArrayLike | None = None,
    filled: bool = True,
    gradient: bool | _Gradient = False,
    resolution: int = 200,
    axes: Axes | None = None,
) -> Figure:
    """Plot the contours of a function of two variables, and the paths of one run or of several over them.

    Parameters
    ----------
    problem : callable
        The function, ``problem(x) -> float`` for x of shape (2,), as those of :mod:`graddesc.problems`.
    history : array_like of shape (k, 2), result, result.history, or dict
        The path: its points, or what :func:`graddesc.minimize` returns with ``history=True``; or a dict from names to
        either. A start alone is a path of one point.
    window : pair of pairs of float, optional
        ``((x_low, x_high), (y_low, y_high))``. Default: a square around all paths.
    levels : array_like of shape (m,), optional
        Where to draw contours: increasing, at least two. Default: 1, 2 and 5 times the powers of ten, above the least
        value in the window if that is not about 0.
    filled : bool, default True
        Whether to fill between the contours, and add a colour bar. Otherwise the lines are labelled, or every few of
        them if there are more than ten.
    gradient : bool or callable, default False
        Whether to draw arrows of the negative gradient along the paths; or the gradient, ``gradient(x) -> array of
        shape (2,)``, where ``problem.gradient`` is none.
    resolution : int, default 200
        The function is evaluated on so many points for each axis.
    axes : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. Each path begins at a circle and ends at a star. Both axes have the same scale, so that right angles
        look right, unless the window is four times as long as wide. Arrows tell directions: all are of one length,
        whatever that of the gradient. They begin at points of the path so far apart that they can be told from one
        another; there is none at its end, where the gradient may be all rounding.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If ``resolution`` is not an integer, or ``gradient`` no function.
    ValueError
        If a path, the window, the levels or the resolution are not as above; if the gradient has another shape; if the
        function is nowhere finite in the window.

    Examples
    --------
    >>> from graddesc import minimize, plots
    >>> from graddesc.problems import Booth
    >>> problem = Booth()
    >>> result = minimize(problem, problem.start, jac=problem.gradient, history=True)
    >>> figure = plots.contour_path(problem, result, gradient=True)
    >>> path = figure.axes[0].lines[0]
    >>> path.get_xydata().shape == result.history.x.shape
    True
    """
    paths = {name: _path(run) for name, run in _named(history).items()}
    slope = _slope(problem, gradient)
    window = _around(*paths.values(), arrows=slope is not None) if window is None else _window(window)
    axes = _axes(axes, (6.4, 5.4))
    _draw_contours(axes, problem, window, levels, filled, resolution)
    _draw_paths(axes, paths, window)
    if slope is not None:
        for path, (colour, _) in zip(paths.values(), _looks(paths), strict=True):
            for tail in _apart(path, window):
                tip = _tip(slope, tail, window)
                if tip is not None:
                    _draw_arrow(axes, tail, tip, colour)
    return _figure(axes)


def animate_path(
    problem: _Value,
    history: _Run | Mapping[str, _Run],
    *,
    by: Literal["iterations", "evaluations"] = "iterations",
    window: _Window | None = None,
    levels: ArrayLike | None = None,
    gradient: bool | _Gradient = False,
    resolution: int = 200,
) -> animation.Animation:
    """Show one run or several as they go their ways over the contours of a function of two variables.

    Several are a race: all have taken as many iterations, or evaluations, in each frame.

    Parameters
    ----------
    problem : callable
        The function, ``problem(x) -> float`` for x of shape (2,).
    history : array_like of shape (k, 2), result, result.history, or dict
        The paths, as for `contour_path`.
    by : {"iterations", "evaluations"}, default "iterations"
        What the frames count; evaluations of the function are known of :func:`graddesc.minimize` only.
    window : pair of pairs of float, optional
        ``((x_low, x_high), (y_low, y_high))``. Default: a square around all paths.
    levels : array_like of shape (m,), optional
        Where to draw contours, as for `contour_path`.
    gradient : bool or callable, default False
        Whether to draw the direction of the negative gradient where each run is; or the gradient, as for
        `contour_path`.
    resolution : int, default 200
        The function is evaluated on so many points for each axis.

    Returns
    -------
    graddesc.animation.Animation
        The animation; `encode` makes a file of it, and notebooks show it. Its frames lie ever farther apart: the first
        iterations are all shown, later ones at a constant ratio. A star marks where a run has ended.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        As `contour_path`, and if a history does not tell the evaluations that `by` asks for.

    Examples
    --------
    >>> from graddesc import LBFGS, Steepest, minimize, plots
    >>> from graddesc.problems import Booth
    >>> problem = Booth()
    >>> race = {
    ...     type(rule).__name__: minimize(problem, problem.start, jac=problem.gradient, direction=rule, history=True)
    ...     for rule in (Steepest(), LBFGS())
    ... }
    >>> animation = plots.animate_path(problem, race, by="evaluations")
    >>> bytes(plots.encode("race.webp", animation)[8:12])
    b'WEBP'
    """
    runs = _named(history)
    paths = {name: _path(run) for name, run in runs.items()}
    clocks = [_clock(run, len(path), by) for run, path in zip(runs.values(), paths.values(), strict=True)]
    slope = _slope(problem, gradient)
    window = _around(*paths.values(), arrows=slope is not None) if window is None else _window(window)
    race = None not in runs
    axes = _axes(None, (6.4, 5.4 + (0.2 * len(runs) if race else 0)))
    _draw_contours(axes, problem, window, levels, True, resolution)
    runners = [
        _Runner(axes, path, clock, slope, colour, "o" if symbol == "." else symbol)
        for path, clock, (colour, symbol) in zip(paths.values(), clocks, _looks(paths), strict=True)
    ]
    # Who is last lies over the others, and all that runs over all that is drawn.
    layers = zip(*(runner.layers for runner in sorted(runners, key=lambda runner: runner.ends)), strict=True)
    moving: list[Artist] = [axes.title, *itertools.chain.from_iterable(layers)]
    legend: Any = None
    if race:
        heads = [runner.head for runner in runners]
        words = ["" for _ in runs]  # which are told below
        legend = axes.figure.legend(heads, words, loc="outside lower left", frameon=False, handlelength=3)
        moving.append(legend)

    def show(moment: int) -> None:
        values = [f"{_evaluate(problem, runner.show(moment)):.3g}" for runner in runners]
        axes.set_title(f"after {_counted(moment, by)}" + ("" if race else f", f(x) = {values[0]}"))
        for k, name in enumerate(paths if race else ()):
            ended = "ended after " if moment >= runners[k].ends else ""
            legend.get_texts()[k].set_text(f"{name}: {ended}{_counted(runners[k].count, by)}, f(x) = {values[k]}")

    first, last = int(min(clock[0] for clock in clocks)), max(runner.ends for runner in runners)
    if race:
        show(last)
        room = 0.95 * axes.figure.bbox.width / legend.get_window_extent().width
        for text in legend.get_texts():
            text.set_fontsize(min(room, 1) * text.get_fontsize())
    few = last - first < _FEW
    moments = range(first, last + 1) if few else list(animation.spaced(first, last))
    return animation.film(_figure(axes), moving, moments, show)


def _draw_contours(
    axes: Axes, problem: _Value, window: _Window, levels: ArrayLike | None, filled: bool, resolution: int
) -> None:
    x, y, heights = _heights(problem, window, resolution)
    levels = _decades(heights) if levels is None else _increasing(levels)
    told = levels[:: 1 if len(levels) <= 10 else 3 * math.ceil(len(levels) / 30)]  # of decades the powers of ten

    if filled:
        from matplotlib.colors import BoundaryNorm

        norm = BoundaryNorm(levels, max(256, len(levels) + 1), extend="both")
        bands = axes.contourf(x, y, heights, levels, norm=norm, cmap=_HEIGHTS, extend="both")
        bar = axes.figure.colorbar(bands, ax=axes, ticks=told, format=_number, label="f(x)")
        bar.minorticks_off()
    else:
        lines = axes.contour(x, y, heights, levels, colors=_BLUE, linewidths=0.8, alpha=0.6)
        axes.clabel(lines, told, fmt=_number, fontsize="small")
    axes.set(xlabel="$x_1$", ylabel="$x_2$", xlim=window[0], ylim=window[1])
    axes.set_aspect("equal" if _is_square(window) else "auto")


def ray(f: _Value, Df: _Gradient, x: ArrayLike, *, window: _Interval | None = None, axes: Axes | None = None) -> Figure:
    """Plot a function along its negative gradient, ``phi(alpha) = f(x - alpha Df(x))``.

    Marked are the start, the slope there, ``-Df(x).Df(x)``, and the minimum that
    :class:`~graddesc.ExactLineSearch` finds. Where the dashed line of the slope does not touch the curve, the gradient
    is wrong.

    Parameters
    ----------
    f : callable
        The function, ``f(x) -> float``.
    Df : callable
        Its gradient, ``Df(x) -> array of shape (n,)``.
    x : array_like of shape (n,)
        Where the ray starts.
    window : pair of float, optional
        ``(low, high)``, the steps alpha to show. Default: from somewhat below 0 to twice the step of the minimum.
    axes : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the function or its gradient at ``x`` is not finite, or the gradient zero or of another shape; if ``x`` or
        the window are not as above.

    Examples
    --------
    >>> from graddesc import plots
    >>> from graddesc.problems import Rosenbrock
    >>> problem = Rosenbrock()
    >>> figure = plots.ray(problem, problem.gradient, problem.start)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['slope at the start', 'start', 'minimum']
    """
    start, g, step = _descent(f, Df, x)
    if window is None:
        reach = 1 / math.sqrt(g @ g) if step is None else step
        window = (min(reach, 0) - 0.1 * abs(reach), max(reach, 0) + 1.1 * abs(reach))
    (low, high) = _interval("window", window)
    axes = _axes(axes)

    def phi(alpha: float) -> float:
        return float(f(start - alpha * g))

    alphas = np.linspace(low, high, 401)
    axes.plot(alphas, [_evaluate(phi, alpha) for alpha in alphas], color=_BLUE, linewidth=2)
    axes.set(xlim=(low, high), ylim=axes.get_ylim())
    axes.axline((0, phi(0)), slope=-float(g @ g), color=_COLOURS[0], linestyle="--", label="slope at the start")
    _mark(axes, 0, phi(0), "o", "start")
    if step is not None:
        _mark(axes, step, phi(step), "*", "minimum")
    axes.set(xlabel=r"step $\alpha$", ylabel=r"$\varphi(\alpha) = f(x - \alpha \nabla f(x))$")
    axes.grid(alpha=0.3)
    axes.legend()
    return _figure(axes)


def surface(
    f: _Value,
    Df: _Gradient,
    x: ArrayLike,
    *,
    window: _Window | None = None,
    elevation: float = 20,
    azimuth: float = 45,
    resolution: int = 80,
    axes: Any = None,
) -> Figure:
    """Plot the surface of a function of two variables, with a start and the negative gradient there.

    Parameters
    ----------
    f : callable
        The function, ``f(x) -> float`` for x of shape (2,).
    Df : callable
        Its gradient, ``Df(x) -> array of shape (2,)``.
    x : array_like of shape (2,)
        The start.
    window : pair of pairs of float, optional
        ``((x_low, x_high), (y_low, y_high))``. Default: a square around the start and the lowest point along the
        negative gradient.
    elevation, azimuth : float, default 20 and 45
        Where to look from, in degrees.
    resolution : int, default 80
        The function is evaluated on so many points for each axis.
    axes : mpl_toolkits.mplot3d.Axes3D, optional
        Where to draw. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. The arrow lies on the tangent plane at the start: it tells direction and slope, not the length of
        the gradient. A dotted line leads from the start to its shadow on the floor, which tells the direction alone.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If ``resolution`` is not an integer, or ``axes`` are not three-dimensional.
    ValueError
        If the function or its gradient at ``x`` is not finite, or the gradient zero or of another shape; if another
        argument is not as above.

    Examples
    --------
    >>> from graddesc import plots
    >>> from graddesc.problems import Quadratic
    >>> problem = Quadratic([[2, 0], [0, 14]], [2, 1], 2, start=[0, 1])
    >>> figure = plots.surface(problem, problem.gradient, problem.start, window=((-1.2, 1.2), (-1.2, 1.2)))
    >>> figure.axes[0].get_zlabel()
    'f(x)'
    """
    start, g, step = _descent(f, Df, x)
    if start.shape != (2,):
        raise ValueError(f"x must have shape (2,), got {start.shape}")
    if window is None:
        window = _around(np.array([start, start - (step or 0) * g]))
    window = _window(window)
    axes = _axes(axes, (6.4, 5.4), "3d")
    if not hasattr(axes, "plot_surface"):
        raise TypeError(f"axes must be three-dimensional, got {axes!r}")
    axes.computed_zorder = False  # the surface would hide what lies on it
    a, b, heights = _heights(f, window, resolution)
    axes.plot_surface(
        *np.meshgrid(a, b), heights, cmap=_HEIGHTS, rcount=resolution, ccount=resolution, linewidth=0, antialiased=False
    )
    slope = math.sqrt(g @ g)
    length = 0.4 * min(high - low for low, high in window)
    height, floor = float(f(start.copy())), float(np.nanmin(heights))
    # No further than the plane takes to the floor.
    run = min(length, (height - floor) / slope) if height > floor else length
    tip = start - run / slope * g
    axes.plot(*np.array([start, tip]).T, [floor, floor], color="black", alpha=0.4, linewidth=2)
    axes.plot(*np.array([start, start]).T, [floor, height], color="black", alpha=0.4, linewidth=1, linestyle=":")
    axes.add_artist(_arrow((*start, height), (*tip, height - run * slope)))
    axes.plot(*start, height, "o", color=_COLOURS[0], markeredgecolor="white", markersize=8)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", zlabel="f(x)", xlim=window[0], ylim=window[1])
    axes.view_init(elevation, azimuth)
    axes.set_box_aspect((4, 4, 3), zoom=0.95)
    axes.locator_params(nbins=5)
    return _figure(axes)


def _axes(axes: Any, figsize: tuple[float, float] = (6.4, 4.0), projection: str | None = None) -> Any:
    """Return the axes, those of a new figure if there are none."""
    require_matplotlib()
    if axes is not None:
        return axes
    from matplotlib.figure import Figure

    figure = Figure(figsize, layout="constrained")
    # Beside a colour bar, axes of equal scales end some points outside of what the layout gives them.
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.1)  # inches
    return figure.add_subplot(projection=projection)


def _figure(axes: Any) -> Figure:
    figure: Figure = axes.figure
    return figure


def _named(history: Any) -> dict[Any, Any]:
    """Return {name: history}; the name of a single one is None. An OptimizeResult is a dict, but no dict of runs."""
    runs = history if isinstance(history, dict) and not hasattr(history, "x") else {None: history}
    if not runs:
        raise ValueError(f"history must hold one run or several, got {history!r}")
    return {name: _kept(run) for name, run in runs.items()}


def _kept(run: Any) -> Any:
    """Return the history of a run, which may be given as its result."""
    if hasattr(run, "nit") and not hasattr(run, "history"):
        raise ValueError("history must be kept: the result is of a run without history=True")
    return getattr(run, "history", run)


def _looks(runs: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Return the colour and the symbol of each run; of several, as colours do not tell them apart for all readers."""
    symbols = "." if None in runs else _SYMBOLS
    return [(_COLOURS[i % len(_COLOURS)], symbols[i % len(symbols)]) for i in range(len(runs))]


def _marks(symbol: str, count: int) -> dict[str, Any]:
    """Return how a line of so many points is marked: at each of a few; of many at some, to tell it from others."""
    if symbol == ".":
        return {"marker": "." if count < _FEW else None}
    return {"marker": symbol, "markersize": 4.5, "markevery": None if count < _FEW else 0.15}


def _clock(run: Any, count: int, by: str, first: int = 0) -> NDArray[np.integer[Any]]:
    """Return how many iterations, or evaluations of the function, each of so many entries of a run has taken."""
    if by not in ("iterations", "evaluations"):
        raise ValueError(f"by must be 'iterations' or 'evaluations', got {by!r}")
    if by == "iterations":
        return np.arange(first, first + count)
    clock = getattr(run, "nfev", None)
    if clock is None or np.shape(clock) != (count,):
        raise ValueError("history must have nfev by iteration, as that of minimize has, where by is 'evaluations'")
    return np.asarray(clock)


def _counted(count: int, things: str) -> str:
    return f"{count} {things[:-1] if count == 1 else things}"


def _path(history: Any) -> _Vector:
    path = as_floats("history", getattr(history, "x", history))
    if path.ndim != 2 or path.shape[1] != 2 or len(path) == 0 or not np.isfinite(path).all():
        raise ValueError(f"history must be finite points, of shape (k, 2), got {path.shape}")
    return path


def _around(*paths: _Vector, arrows: bool = False) -> _Window:
    """Return the square window around paths, with room for arrows that begin on them."""
    points = np.concatenate(paths)
    low, high = points.min(axis=0), points.max(axis=0)
    middle, reach = (low + high) / 2, (0.65 if arrows else 0.6) * (high - low).max() or 1.0
    x, y = ((float(m - reach), float(m + reach)) for m in middle)
    return x, y


def _interval(name: str, interval: Any) -> _Interval:
    try:
        low, high = map(float, interval)
    except (TypeError, ValueError, OverflowError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{name} must be (low, high) with low < high, got {interval!r}")
    return low, high


def _window(window: Any) -> _Window:
    if np.ndim(window) == 0 or len(window) != 2:
        raise ValueError(f"window must be ((x_low, x_high), (y_low, y_high)), got {window!r}")
    x, y = (_interval("each axis of window", interval) for interval in window)
    return x, y


def _evaluate(f: Callable[[Any], SupportsFloat], x: Any) -> float:
    """Return the value, nan where it is not finite or too high to be drawn: far away, functions may overflow."""
    with np.errstate(all="ignore"):
        value = float(f(x))
    return value if abs(value) < _HIGHEST else math.nan


def _heights(f: _Value, window: _Window, resolution: int) -> tuple[_Vector, _Vector, Any]:
    """Return the coordinates of a grid and the values there, shape (rows, cols), masked where they are not finite."""
    if require_count("resolution", resolution) > _FINEST:
        raise ValueError(f"resolution must be at most {_FINEST}, got {resolution}")
    x, y = (np.linspace(low, high, max(resolution, 2)) for low, high in window)
    heights = np.array([[_evaluate(f, np.array([a, b])) for a in x] for b in y])
    if np.isnan(heights).all():
        raise ValueError(f"the function must be finite somewhere in the window {window}")
    return x, y, np.ma.masked_invalid(heights)


def _increasing(levels: ArrayLike) -> _Vector:
    heights = as_floats("levels", levels)
    if heights.ndim != 1 or len(heights) < 2 or not (np.diff(heights) > 0).all():
        raise ValueError(f"levels must be at least two increasing numbers, got {heights}")
    return heights


def _decades(heights: Any) -> _Vector:
    """Return 1, 2 and 5 times the powers of ten that the heights span above a base: 0 if the lowest is about that."""
    low, high = float(heights.min()), float(heights.max())
    base = 0.0 if 0 <= low <= high / 100 else low
    above = (heights - base).compressed()
    above = above[above > 0]
    if above.size == 0:
        return np.array([low, low + 1])
    # One point of a thousand may lie below the first level: the least value alone would need many levels.
    first, last = np.floor(np.log10([np.quantile(above, 1e-3), above.max()]))
    first = max(first, last - _MOST_DECADES)
    levels = np.outer(10.0 ** np.arange(first, last + 2), [1, 2, 5]).ravel()
    return base + levels[: np.searchsorted(levels, above.max(), "right") + 1]


def _number(value: float, position: object = None) -> str:
    """Write a level: 0.05, 20, 5·10⁴."""
    text = f"{value:.3g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    factor = "" if mantissa == "1" else rf"{mantissa}\cdot"
    return f"${factor}10^{{{int(exponent)}}}$"


def _draw_paths(axes: Axes, paths: dict[Any, _Vector], window: _Window) -> None:
    (left, right), (bottom, top) = window
    for (name, path), (colour, symbol) in zip(paths.items(), _looks(paths), strict=True):
        x, y = path.T
        seen = int(np.count_nonzero((left <= x) & (x <= right) & (bottom <= y) & (y <= top)))
        look = {"color": colour, "linewidth": 1.5, "path_effects": _outline(3.5), **_marks(symbol, seen)}
        axes.plot(x, y, label=name, **look)
        _mark(axes, x[0], y[0], "o", colour=colour)
        if len(path) > 1:
            _mark(axes, x[-1], y[-1], "*", colour=colour)
    if None not in paths:
        axes.legend()


class _Runner:
    """One run of an animation: its path so far, and where it is."""

    def __init__(
        self,
        axes: Axes,
        path: _Vector,
        clock: NDArray[np.integer[Any]],
        slope: _Gradient | None,
        colour: str,
        symbol: str,
    ) -> None:
        self._path, self._clock, self._slope = path, clock, slope
        self._window = axes.get_xlim(), axes.get_ylim()
        self.count, self.ends = 0, int(clock[-1])
        marker = "." if len(path) < _FEW else None
        (self._trail,) = axes.plot([], [], color=colour, marker=marker, linewidth=1.5, path_effects=_outline(3.5))
        (self.head,) = axes.plot([], [], symbol + "-", color=colour, markersize=9, markeredgecolor="white")
        (self._end,) = axes.plot(*path[-1], "*", color=colour, markersize=16, markeredgecolor="white")
        self._arrow = _draw_arrow(axes, path[0], (0.0, 0.0), colour)
        self.layers = self._trail, self._end, self._arrow, self.head

    def show(self, moment: int) -> _Vector:
        """Move to where the run is at this moment, which is returned."""
        reached = max(int(np.searchsorted(self._clock, moment, "right")), 1)
        x: _Vector = self._path[reached - 1]
        self.count = int(self._clock[reached - 1])
        ended = reached == len(self._path)
        self._trail.set_data(*self._path[:reached].T)
        self.head.set_data(x[:1], x[1:])
        self.head.set_visible(not ended)
        self._end.set_visible(ended)
        tip = None if ended or self._slope is None else _tip(self._slope, x, self._window)
        self._arrow.set_visible(tip is not None)
        if tip is not None:
            self._arrow.set_position((float(x[0]), float(x[1])))
            self._arrow.xy = tip
        return x


def _is_square(window: _Window) -> bool:
    """Whether both axes have the same scale: where one is much longer, the other would be a line."""
    sides = [high - low for low, high in window]
    return max(sides) < 4 * min(sides)


def _units(window: _Window) -> _Vector:
    """Return what is equally long along each axis as it is drawn."""
    sides = np.array([high - low for low, high in window])
    return np.full(2, sides.max()) if _is_square(window) else sides


def _slope(problem: _Value, gradient: Any) -> _Gradient | None:
    """Return the gradient of which arrows are to be drawn."""
    if isinstance(gradient, bool | np.bool_):
        if not gradient:
            return None
        gradient = getattr(problem, "gradient", None)
        if gradient is None:
            raise ValueError("gradient must be a function where problem.gradient is none, got True")
    require_callable("gradient", gradient, "a bool or a function")
    slope: _Gradient | None = gradient
    return slope


def _tip(slope: _Gradient, tail: _Vector, window: _Window) -> tuple[float, float] | None:
    """Return where the arrow of the negative gradient ends, None where that has no direction."""
    with np.errstate(all="ignore"):
        g = as_floats("gradient", slope(tail.copy()), "return")
    if g.shape != (2,):
        raise ValueError(f"gradient must return an array of shape (2,), got {g.shape}")
    if not np.isfinite(g).all() or not g.any():
        return None
    g /= np.abs(g).max()
    x, y = tail - _ARROW_LENGTH * g / np.linalg.norm(g / _units(window))
    return float(x), float(y)


def _apart(path: _Vector, window: _Window) -> list[_Vector]:
    """Return points of the path within the window, no two of which, nor the end, are nearer than an arrow is long."""
    low, high = np.transpose(window)
    units = _units(window)
    kept: list[_Vector] = [path[-1]] if len(path) > 1 else []
    first = len(kept)
    for x in path:
        if (low <= x).all() and (x <= high).all():
            distances = [np.linalg.norm((x - other) / units) for other in kept]
            if min(distances, default=math.inf) > _ARROW_LENGTH:
                kept.append(x)
    return kept[first:]


def _draw_arrow(axes: Axes, tail: _Vector, tip: tuple[float, float], colour: str) -> Annotation:
    look = {**_ARROW, "color": colour, "mutation_scale": 13, "path_effects": _outline(4)}
    # It belongs to its tail, which is in the window.
    return axes.annotate("", tip, (float(tail[0]), float(tail[1])), arrowprops=look, annotation_clip=False, zorder=2.5)


def _outline(width: float) -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="white")]


def _mark(axes: Axes, x: float, y: float, symbol: str, label: str | None = None, colour: str = _COLOURS[0]) -> None:
    size = 13 if symbol == "*" else 8
    axes.plot(x, y, symbol, color=colour, markersize=size, markeredgecolor="white", label=label, zorder=3)


def _arrow(tail: tuple[float, ...], tip: tuple[float, ...]) -> FancyArrowPatch:
    """Return an arrow in three dimensions; the head of matplotlib's own is as flat as the axes differ in scale."""
    from matplotlib.patches import FancyArrowPatch
    from mpl_toolkits.mplot3d.proj3d import proj_transform  # type: ignore[import-untyped]

    class _Arrow(FancyArrowPatch):
        ends = np.array([tail, tip])

        def do_3d_projection(self) -> float:
            space: Any = self.axes
            x, y, depth = proj_transform(*self.ends.T, space.M)
            self.set_positions((x[0], y[0]), (x[1], y[1]))
            return float(depth.min())

    return _Arrow((0, 0), (0, 0), **_ARROW)


def _descent(f: _Value, Df: _Gradient, x: ArrayLike) -> tuple[_Vector, _Vector, float | None]:
    """Return a point, the gradient there, and the step to the minimum along the ray, None if there is none."""
    from graddesc import ExactLineSearch, Steepest, minimize

    start = as_floats("x", x)
    result = minimize(f, start, jac=Df, step=ExactLineSearch(), direction=Steepest(), tol=0, maxiter=1, history=True)
    if not math.isfinite(result.fun):
        raise ValueError(f"the function must be finite at x, got {result.fun} at {start}")
    if not result.history.gradient_norm[0] > 0:
        raise ValueError(f"the gradient must not be zero, got {result.jac} at {start}")
    step = result.history.step
    return start, np.array(Df(start.copy()), dtype=float), step[0] if len(step) else None
