"""Plots of functions and of runs: what the figures hold."""

import base64
import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import graddesc
from graddesc import LBFGS, ConjugateGradient, HeavyBall, Steepest, StrongWolfe, animation, minimize, plots
from graddesc.problems import Himmelblau, Quadratic, Rosenbrock

QUADRATIC = Quadratic([[2, 0], [0, 14]], [2, 1], 2, start=[0, 1])
ROSENBROCK = Rosenbrock()
SQUARE = ((-1.2, 1.2), (-1.2, 1.2))


def history(direction=None):
    return minimize(
        ROSENBROCK,
        ROSENBROCK.start,
        jac=ROSENBROCK.gradient,
        step=StrongWolfe(),
        direction=direction,
        maxiter=30,
        history=True,
    ).history


def new_axes(projection=None):
    from matplotlib.figure import Figure

    return Figure().add_subplot(projection=projection)


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def drawn(figure):
    """Draw all of it, so that what fails in the drawing fails here."""
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize(("path", "start"), [("a.png", b"\x89PNG"), ("b.SVG", b"<?xml"), ("c.pdf", b"%PDF")])
def test_encode(path, start):
    assert bytes(plots.encode(path, plots.loss_history([1.0]))).startswith(start)


def test_the_backend_of_pyplot_is_left_alone():
    import matplotlib

    before = matplotlib.rcParams._get("backend")
    plots.ray(ROSENBROCK, ROSENBROCK.gradient, [0.0, 1.0])
    assert matplotlib.rcParams._get("backend") == before


class TestLossHistory:
    def test_losses_after_each_iteration(self):
        (axes,) = plots.loss_history(np.array([9.0, 3.0, 2.0])).axes
        (line,) = axes.lines
        assert_array_equal(line.get_xydata(), [[1, 9], [2, 3], [3, 2]])
        assert axes.get_yscale() == "log"
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("iteration", "loss")
        assert axes.get_legend() is None

    def test_of_minimize_begins_at_the_start(self):
        run = history()
        (axes,) = plots.loss_history(run).axes
        assert_array_equal(axes.lines[0].get_xydata(), np.column_stack([np.arange(len(run.fun)), run.fun]))

    def test_several_runs(self):
        runs = {"steepest": history(Steepest()), "conjugate": history(ConjugateGradient()), "flat": [5.0]}
        axes = new_axes()
        figure = plots.loss_history(runs, axes=axes)
        assert figure is axes.figure
        assert legend(axes) == list(runs)
        assert len({line.get_color() for line in axes.lines}) == 3
        assert len({line.get_marker() for line in axes.lines}) == 3  # for readers who see no colours
        assert_array_equal(axes.lines[1].get_ydata(), runs["conjugate"].fun)
        drawn(figure)

    def test_by_evaluation(self):
        runs = {"steepest": history(Steepest()), "conjugate": history(ConjugateGradient())}
        (axes,) = drawn(plots.loss_history(runs, by="evaluations")).axes
        assert axes.get_xlabel() == "evaluation"
        for line, run in zip(axes.lines, runs.values(), strict=True):
            assert_array_equal(line.get_xydata(), np.column_stack([run.nfev, run.fun]))
            assert run.nfev[-1] > len(run.fun)

    def test_what_to_count(self):
        with pytest.raises(ValueError, match="by must be 'iterations' or 'evaluations', got 'seconds'"):
            plots.loss_history([1.0], by="seconds")
        with pytest.raises(ValueError, match=r"history must have nfev by iteration, .* where by is 'evaluations'"):
            plots.loss_history([1.0], by="evaluations")

    def test_above_the_minimum(self):
        (axes,) = drawn(plots.loss_history([3.0, 1.0, 0.75, 0.5], minimum=0.75)).axes
        assert_array_equal(axes.lines[0].get_ydata(), [2.25, 0.25, 0, 0])
        assert axes.get_yscale() == "log"
        assert axes.get_ylabel() == "loss above the minimum"

    @pytest.mark.parametrize(
        ("losses", "scale"),
        [([], "linear"), ([0.0], "linear"), ([3.0, 0.0], "log"), ([5.0], "log"), ([-1, 2], "linear")],
    )
    def test_short_histories_zeros_and_signs(self, losses, scale):
        (axes,) = drawn(plots.loss_history(np.array(losses))).axes
        assert axes.get_yscale() == scale

    @pytest.mark.parametrize("losses", [[190.0, 140.0, 118.0], [9.0, 1.5], [7.0, 7.0]])
    def test_losses_within_a_decade_are_labelled_by_plain_numbers(self, losses):
        figure = plots.loss_history(losses)
        figure.draw_without_rendering()
        low, high = figure.axes[0].get_ylim()
        labels = figure.axes[0].get_yticklabels(which="both")
        shown = [label.get_text() for label in labels if low <= label.get_position()[1] <= high and label.get_text()]
        assert len(shown) >= 3
        assert all(low <= float(text) <= high for text in shown)

    def test_no_runs_are_refused(self):
        with pytest.raises(ValueError, match=r"history must hold one run or several, got \{\}"):
            plots.loss_history({})

    def test_two_dimensions_are_refused(self):
        with pytest.raises(ValueError, match=r"history must have shape \(iterations,\), got \(2, 2\)"):
            plots.loss_history(np.eye(2))


class TestContourPath:
    @pytest.mark.parametrize("filled", [True, False])
    def test_one_run(self, filled):
        run = history()
        figure = drawn(plots.contour_path(ROSENBROCK, run, filled=filled))
        axes = figure.axes[0]
        assert len(figure.axes) == (2 if filled else 1)
        if filled:
            assert figure.axes[1].get_ylabel() == "f(x)"
        else:
            assert axes.texts
        path, start, end = axes.lines
        assert_array_equal(path.get_xydata(), run.x)
        assert_array_equal(start.get_xydata(), run.x[:1])
        assert_array_equal(end.get_xydata(), run.x[-1:])
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_aspect()) == ("$x_1$", "$x_2$", 1.0)
        for i, (low, high) in enumerate((axes.get_xlim(), axes.get_ylim())):
            assert low < run.x[:, i].min() < run.x[:, i].max() < high

    def test_several_runs_share_colours_with_their_losses(self):
        runs = {"steepest": history(Steepest()), "conjugate": history(ConjugateGradient())}
        axes = plots.contour_path(ROSENBROCK, runs).axes[0]
        assert legend(axes) == list(runs)
        paths = [line for line in axes.lines if line.get_label() in runs]
        for path, run in zip(paths, runs.values(), strict=True):
            assert_array_equal(path.get_xydata(), run.x)
        losses = plots.loss_history(runs).axes[0].lines
        assert [path.get_color() for path in paths] == [line.get_color() for line in losses]
        assert [path.get_marker() for path in paths] == [line.get_marker() for line in losses] == ["o", "s"]

    def test_window_levels_axes_and_a_start_alone(self):
        axes = new_axes()
        levels = np.geomspace(1, 10, 8)
        figure = plots.contour_path(QUADRATIC, [[0, 1]], window=SQUARE, levels=levels, axes=axes)
        assert figure is axes.figure
        assert (axes.get_xlim(), axes.get_ylim()) == SQUARE
        assert_array_equal(axes.collections[0].levels, levels)
        assert_array_equal(figure.axes[1].get_yticks(), levels)
        assert len(axes.lines) == 2
        drawn(figure)

    def test_contours_lie_where_the_function_has_their_levels(self):
        axes = plots.contour_path(ROSENBROCK, [[0, 0]], window=((-2, 2), (-1, 3)), levels=[50, 400], filled=False).axes[
            0
        ]
        for level, path in zip([50, 400], axes.collections[0].get_paths(), strict=True):
            values = [ROSENBROCK(x) for x in path.vertices]
            assert len(values) > 100
            assert_allclose(values, level, rtol=0.01)  # contours are straight from point to point of the grid

    def test_the_default_window_around_one_point(self):
        axes = plots.contour_path(QUADRATIC, [[3, 4]], resolution=9).axes[0]
        assert (axes.get_xlim(), axes.get_ylim()) == ((2, 4), (3, 5))

    def test_levels_span_few_decades(self):
        axes = plots.contour_path(lambda x: np.exp(1000 * x[0]), [[0, 0]], window=SQUARE, resolution=20).axes[0]
        levels = axes.collections[0].levels
        assert 30 < len(levels) < 45
        assert levels[0] > 1e100

    def test_of_many_levels_some_are_labelled(self):
        levels = np.arange(1, 15)
        options = {"window": SQUARE, "levels": levels, "resolution": 50}
        axes = plots.contour_path(QUADRATIC, [[0, 1]], filled=False, **options).axes[0]
        labels = {float(text.get_text()) for text in axes.texts}
        assert {4, 7, 10} <= labels <= set(levels[::3])
        bar = plots.contour_path(QUADRATIC, [[0, 1]], **options).axes[1]
        assert_array_equal(bar.get_yticks(), levels[::3])
        assert_array_equal(axes.collections[0].levels, levels)

    def test_levels_by_decades(self):
        bar = plots.contour_path(Himmelblau(), [[1.0, 1.0]], window=((-5, 5), (-5, 5))).axes[1]
        assert_allclose(bar.get_yticks(), 10.0 ** np.arange(-1, 4))
        assert [text.get_text() for text in bar.get_yticklabels()] == ["0.1", "1", "10", "100", "$10^{3}$"]

    @pytest.mark.parametrize(
        "f",
        [
            lambda x: x[0] ** 2 + x[1] ** 2 - 7,
            lambda x: 3.0,
            lambda x: float(x[0] > 0),
            lambda x: np.log(x[0]),
            lambda x: np.exp(1000 * x[0]),
        ],
        ids=["negative", "constant", "step", "partly nan", "overflowing"],
    )
    def test_any_function(self, f):
        for filled in (True, False):
            drawn(plots.contour_path(f, [[1.0, 2.0], [1.5, 2.0]], filled=filled, window=SQUARE, resolution=20))

    def test_a_long_window_has_scales_of_its_own(self):
        axes = plots.contour_path(QUADRATIC, [[0, 0]], window=((0, 10), (0, 1)), resolution=9).axes[0]
        assert axes.get_aspect() == "auto"

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"history": [1.0, 2.0]}, ValueError, r"history must be finite points, of shape \(k, 2\), got \(2,\)"),
            ({"history": np.zeros((0, 2))}, ValueError, "history must be finite points"),
            ({"history": [[np.nan, 1]]}, ValueError, "history must be finite points"),
            ({"history": {}}, ValueError, r"history must hold one run or several, got \{\}"),
            ({"window": 3}, ValueError, r"window must be \(\(x_low, x_high\), \(y_low, y_high\)\), got 3"),
            ({"window": (0, 1)}, ValueError, r"each axis of window must be \(low, high\) with low < high, got 0"),
            ({"window": ((0, 1),)}, ValueError, "window must be"),
            ({"window": ((1, 0), (0, 1))}, ValueError, r"low < high, got \(1, 0\)"),
            ({"levels": [1, 1]}, ValueError, "levels must be at least two increasing numbers"),
            ({"levels": [1]}, ValueError, "levels must be at least two increasing numbers"),
            ({"resolution": 0}, ValueError, "resolution must be a positive integer, got 0"),
            ({"resolution": 2.5}, TypeError, "resolution must be a positive integer, got 2.5"),
            ({"problem": lambda x: np.nan}, ValueError, "finite somewhere in the window"),
        ],
    )
    def test_bad_arguments(self, options, error, message):
        with pytest.raises(error, match=message):
            plots.contour_path(**{"problem": QUADRATIC, "history": [[0, 1]], "resolution": 5, **options})


def arrows(axes):
    """The tails and the tips of the arrows."""
    found = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    return np.array([(text.xyann, text.xy) for text in found]).reshape(-1, 2, 2)


class TestArrows:
    def test_an_arrow_is_the_direction_of_the_negative_gradient(self):
        (axes, _) = drawn(plots.contour_path(QUADRATIC, [[0, 1]], window=SQUARE, gradient=True)).axes
        ((tail, tip),) = arrows(axes)
        assert_array_equal(tail, [0, 1])
        assert_allclose(tip - tail, 0.11 * 2.4 * np.array([-2, -15]) / np.sqrt(229), rtol=1e-12)

    def test_all_are_of_one_length_as_they_are_drawn(self):
        # Here a unit of the second axis is drawn as long as ten of the first.
        window, points = ((-50, 50), (-5, 5)), [[40.0, -2.0], [-20.0, 4.0], [3.0, 3.0], [0.0, 0.0]]
        axes = plots.contour_path(QUADRATIC, points, window=window, gradient=True, resolution=9).axes[0]
        found = arrows(axes)
        assert_array_equal(found[:, 0], points[:-1])
        for tail, tip in found:
            step, g = tip - tail, QUADRATIC.gradient(tail)
            assert step @ g == pytest.approx(-np.linalg.norm(step) * np.linalg.norm(g))
            assert np.linalg.norm(step / [100, 10]) == pytest.approx(0.11)

    def test_along_a_path_they_are_apart(self):
        run = history(ConjugateGradient())
        axes = plots.contour_path(ROSENBROCK, run, gradient=True).axes[0]
        tails, tips = arrows(axes).swapaxes(0, 1)
        assert_array_equal(tails[0], run.x[0])
        assert 3 <= len(tails) < len(run.x) / 2
        length = np.linalg.norm(tips[0] - tails[0])
        for k, tail in enumerate(tails):
            assert (run.x == tail).all(axis=1).any()
            others = np.vstack([tails[:k], tails[k + 1 :], run.x[-1:]])
            assert np.linalg.norm(others - tail, axis=1).min() > length
            assert_allclose(np.linalg.norm(tips[k] - tail), length, rtol=1e-12)

    def test_none_sticks_out_of_the_default_window(self):
        for g in ([1.0, 0.0], [0.0, 1.0]):
            axes = plots.contour_path(QUADRATIC, [[0, 0], [1, 1]], gradient=lambda x, g=g: g, resolution=9).axes[0]
            ((_, tip),) = arrows(axes)
            assert (tip > [axes.get_xlim()[0], axes.get_ylim()[0]]).all()

    def test_each_run_has_its_own_colour(self):
        runs = {"steepest": [[0.0, 1.0], [-1.0, 0.0]], "other": [[1.0, 1.0], [-1.0, 0.0]]}
        axes = plots.contour_path(QUADRATIC, runs, gradient=True, resolution=9).axes[0]
        from matplotlib.colors import to_hex

        found = [to_hex(text.arrow_patch.get_facecolor()).upper() for text in axes.texts]
        assert found == [line.get_color() for line in axes.lines if line.get_label() in runs]

    def test_a_gradient_of_ones_own(self):
        path = [[0.0, 1.0], [0.5, 0.0], [-1.0, 0.0]]
        expected = arrows(plots.contour_path(QUADRATIC, path, gradient=True, resolution=9).axes[0])
        found = plots.contour_path(lambda x: QUADRATIC(x), path, gradient=QUADRATIC.gradient, resolution=9)
        assert_array_equal(arrows(found.axes[0]), expected)
        assert len(expected) == 2

    @pytest.mark.parametrize("g", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
    def test_where_there_is_no_direction_there_is_no_arrow(self, g):
        axes = plots.contour_path(QUADRATIC, [[0, 1]], gradient=lambda x: g, resolution=9).axes[0]
        assert arrows(axes).size == 0

    @pytest.mark.parametrize("scale", [1e-200, 1e200])
    def test_great_and_small_gradients(self, scale):
        axes = plots.contour_path(QUADRATIC, [[0, 1]], gradient=lambda x: [3 * scale, 4 * scale], resolution=9).axes[0]
        ((tail, tip),) = arrows(axes)
        assert_allclose(tip - tail, 0.22 * np.array([-0.6, -0.8]), rtol=1e-12)

    def test_points_outside_the_window_have_none(self):
        path = [[5.0, 5.0], [0.0, 1.0], [-1.0, 0.0]]
        found = arrows(plots.contour_path(QUADRATIC, path, window=SQUARE, gradient=True, resolution=9).axes[0])
        assert_array_equal(found[:, 0], [[0, 1]])

    @pytest.mark.parametrize(
        ("problem", "gradient", "error", "message"),
        [
            (lambda x: 1.0, True, ValueError, "gradient must be a function where problem.gradient is none, got True"),
            (QUADRATIC, 3, TypeError, "gradient must be a bool or a function, got 3"),
            (QUADRATIC, lambda x: [1.0], ValueError, r"gradient must return an array of shape \(2,\), got \(1,\)"),
        ],
    )
    def test_bad_gradients(self, problem, gradient, error, message):
        for plot in (plots.contour_path, plots.animate_path):
            with pytest.raises(error, match=message):
                plot(problem, [[0, 1], [2, 2]], gradient=gradient, resolution=5)


class TestAnimatePath:
    RULES = (("momentum", HeavyBall()), ("steepest descent", Steepest()), ("L-BFGS", LBFGS()))

    @pytest.fixture
    def filmed(self, monkeypatch):
        """What is handed to the film: figure, moving artists, moments, show."""
        calls = []
        film = animation.film

        def record(*arguments):
            calls.append(arguments)
            return film(*arguments)

        monkeypatch.setattr(animation, "film", record)
        return calls

    @staticmethod
    def race():
        # The first is the second to end; by iterations they end in another order than by evaluations.
        return {name: history(rule) for name, rule in TestAnimatePath.RULES}

    @staticmethod
    def symbol(axes, marker):
        (line,) = [line for line in axes.lines if line.get_marker() == marker]
        return line

    def test_every_iteration_of_a_short_run(self, filmed):
        run = minimize(
            QUADRATIC, [0, 1], jac=QUADRATIC.gradient, step=StrongWolfe(), direction=Steepest(), history=True
        )
        film = plots.animate_path(QUADRATIC, run, gradient=True, resolution=20)
        ((figure, _, moments, show),) = filmed
        assert list(moments) == list(range(run.nit + 1))
        assert len(film.frames) == run.nit + 1
        assert all((np.asarray(a) != np.asarray(b)).any() for a, b in zip(film.frames, film.frames[1:], strict=False))
        axes = figure.axes[0]
        head, end, trail = self.symbol(axes, "o"), self.symbol(axes, "*"), self.symbol(axes, ".")
        (arrow,) = axes.texts
        for k in (0, 2, run.nit):
            show(k)
            assert_array_equal(head.get_xydata(), run.history.x[k : k + 1])
            assert_array_equal(trail.get_xydata(), run.history.x[: k + 1])
            ended = k == run.nit
            assert (head.get_visible(), end.get_visible(), arrow.get_visible()) == (not ended, ended, not ended)
            shown = re.fullmatch(r"after (\d+) iterations?, f\(x\) = (\S+)", axes.get_title())
            assert int(shown[1]) == k
            assert float(shown[2]) == pytest.approx(run.history.fun[k], rel=0.01)
            if not ended:
                ((tail, tip),) = arrows(axes)
                assert_array_equal(tail, run.history.x[k])
                g = QUADRATIC.gradient(tail)
                assert (tip - tail) @ g == pytest.approx(-np.linalg.norm(tip - tail) * np.linalg.norm(g))

    @pytest.mark.parametrize("by", ["iterations", "evaluations"])
    @pytest.mark.once
    def test_a_race(self, filmed, by):
        runs = self.race()
        clocks = {name: np.arange(len(run.x)) if by == "iterations" else run.nfev for name, run in runs.items()}
        film = plots.animate_path(ROSENBROCK, runs, by=by, resolution=20)
        ((figure, _, moments, show),) = filmed
        assert moments[0] == (by == "evaluations")
        assert moments[-1] == max(clock[-1] for clock in clocks.values())
        assert len(film.frames) == len(moments)
        axes, (legend,) = figure.axes[0], figure.legends
        finish = []
        for moment in range(moments[0], moments[-1] + 1):
            show(moment)
            assert axes.get_title() == f"after {moment} {by if moment != 1 else by[:-1]}"
            for (name, run), symbol, text in zip(runs.items(), "osD", legend.get_texts(), strict=True):
                k = np.flatnonzero(clocks[name] <= moment)[-1]
                assert_array_equal(self.symbol(axes, symbol).get_xydata(), run.x[k : k + 1])
                told = re.fullmatch(rf"{name}: (ended after )?(\d+) {by[:-1]}s?, f\(x\) = (\S+)", text.get_text())
                assert int(told[2]) == clocks[name][k]
                assert float(told[3]) == pytest.approx(run.fun[k], rel=0.01)
                assert (told[1] is not None) == (k == len(run.x) - 1)
                if told[1] and name not in finish:
                    finish.append(name)
        assert finish == sorted(runs, key=lambda name: clocks[name][-1])
        assert [text.get_text().split(":")[0] for text in legend.get_texts()] == list(runs)
        stars = [line for line in axes.lines if line.get_marker() == "*"]
        assert all(star.get_visible() for star in stars)
        assert len({star.get_color() for star in stars}) == 3

    @pytest.mark.once
    def test_all_words_are_within_the_frame(self, filmed):
        runs = {
            "a rule whose name is not among the shortest": self.race()["momentum"],
            **self.race(),
            "_": [[0.0, 0.0]],
        }
        plots.animate_path(ROSENBROCK, runs, resolution=20)
        plots.animate_path(ROSENBROCK, runs["L-BFGS"], gradient=True, resolution=20, window=SQUARE)
        for figure, *_ in filmed:
            axes, bar = figure.axes
            words = [axes.title, axes.xaxis.label, axes.yaxis.label, bar.yaxis.label, *figure.legends]
            boxes = [word.get_window_extent() for word in words]
            for box in boxes:
                assert 2 < box.x0 < box.x1 < figure.bbox.width - 2
                assert 2 < box.y0 < box.y1 < figure.bbox.height - 2
            assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])

    def test_many_iterations_are_few_frames(self, filmed):
        steps = np.linspace(0, 1, 20_000)
        film = plots.animate_path(QUADRATIC, np.column_stack([steps, steps]), resolution=9)
        assert 40 < len(film.frames) < 60

    @pytest.mark.parametrize(("name", "kind"), [("a.webp", "WEBP"), ("b.GIF", "GIF"), ("c.png", "PNG")])
    def test_files(self, name, kind):
        film = plots.animate_path(QUADRATIC, [[0.0, 1.0], [0.0, 0.0], [-1.0, 0.0]], resolution=9)
        with Image.open(io.BytesIO(plots.encode(name, film))) as image:
            assert (image.format, image.n_frames) == (kind, 3)

    def test_bad_input(self):
        for options, message in (
            ({"by": "seconds"}, "by must be 'iterations' or 'evaluations', got 'seconds'"),
            ({"by": "evaluations"}, "history must have nfev by iteration"),
            ({"window": 3}, "window must be"),
            ({"levels": [1]}, "levels must be at least two increasing numbers"),
        ):
            with pytest.raises(ValueError, match=message):
                plots.animate_path(QUADRATIC, [[0, 1]], **options)
        with pytest.raises(ValueError, match="kind must be one of gif, webp, png, got 'svg'"):
            plots.encode("a.svg", plots.animate_path(QUADRATIC, [[0, 1]], resolution=9))


class TestRay:
    def test_the_slice_and_what_is_marked(self):
        (axes,) = drawn(plots.ray(QUADRATIC, QUADRATIC.gradient, [0, 1], window=(-0.01, 2 / 15))).axes
        curve, slope, start, minimum = axes.lines
        alphas, values = curve.get_xydata().T
        assert (alphas[0], alphas[-1]) == (-0.01, 2 / 15)
        assert_allclose(values, [QUADRATIC([-2 * alpha, 1 - 15 * alpha]) for alpha in alphas], rtol=1e-14)
        assert slope.get_slope() == -229
        assert slope.get_xy1() == (0, 10)
        assert_array_equal(start.get_xydata(), [[0, 10]])
        best = 229 / (2 * (2**2 + 7 * 15**2))  # where the derivative of phi is zero
        assert_allclose(minimum.get_xydata(), [[best, QUADRATIC([-2 * best, 1 - 15 * best])]], rtol=1e-7)
        assert axes.get_xlim() == (-0.01, 2 / 15)
        assert "alpha" in axes.get_xlabel()
        assert "varphi" in axes.get_ylabel()
        assert legend(axes) == ["slope at the start", "start", "minimum"]

    def test_the_default_window_shows_start_and_minimum(self):
        axes = new_axes()
        assert plots.ray(ROSENBROCK, ROSENBROCK.gradient, [-2, -2], axes=axes) is axes.figure
        low, high = axes.get_xlim()
        assert low < 0 < axes.lines[3].get_xdata()[0] < high

    def test_a_wrong_gradient_can_be_seen(self):
        (axes,) = drawn(plots.ray(QUADRATIC, lambda x: -QUADRATIC.gradient(x), [0, 1], window=(-0.1, 0.1))).axes
        curve, slope = axes.lines[:2]
        values = curve.get_ydata()
        assert slope.get_slope() == -229
        assert values[201] > values[200] == pytest.approx(10)

    def test_no_minimum(self):
        def f(x):
            return 0.0 if np.all(x == 1) else np.inf

        (axes,) = drawn(plots.ray(f, lambda x: np.array([3.0, 4.0, 0.0]), [1, 1, 1])).axes
        assert legend(axes) == ["slope at the start", "start"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"x": [-1, -1 / 14]}, "the gradient must not be zero"),
            ({"x": [np.nan, 1]}, "x0 must be finite"),
            ({"x": [0, 1], "f": lambda x: np.nan}, "the function must be finite at x, got nan"),
            ({"x": [0, 1], "window": (1, 1)}, r"window must be \(low, high\) with low < high, got \(1, 1\)"),
            ({"x": [0, 1], "window": 3}, r"window must be \(low, high\) with low < high, got 3"),
            ({"x": [0, 1], "Df": lambda x: np.ones(3)}, "jac must return an array of shape"),
        ],
    )
    def test_bad_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            plots.ray(**{"f": QUADRATIC, "Df": lambda x: 1.0 * np.array([2, 14]) * x + [2, 1], **options})


class TestSurface:
    def test_surface_start_and_arrow(self):
        figure = drawn(plots.surface(QUADRATIC, QUADRATIC.gradient, [0, 1], window=SQUARE))
        (axes,) = figure.axes
        assert (axes.elev, axes.azim) == (20, 45)
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("$x_1$", "$x_2$", "f(x)")
        assert (axes.get_xlim(), axes.get_ylim()) == SQUARE
        assert len(axes.collections) == 1
        assert not axes.computed_zorder  # or the surface might hide the arrow
        shadow, drop, start = axes.lines
        assert_array_equal(np.ravel(start.get_data_3d()), [0, 1, 10])
        (x1, x2), (y1, y2), heights = shadow.get_data_3d()
        assert (x1, y1) == (0, 1)
        assert (x2 - x1) / (y2 - y1) == pytest.approx(2 / 15)
        assert heights[0] == heights[1]
        assert_allclose(np.transpose(drop.get_data_3d()), [[0, 1, heights[0]], [0, 1, 10]])
        (arrow,) = axes.artists or axes.patches
        tail, tip = arrow.ends
        assert_array_equal(tail, [0, 1, 10])
        tangent = np.array([-2, -15, -229])
        assert_allclose((tip - tail) / np.linalg.norm(tip - tail), tangent / np.linalg.norm(tangent), atol=1e-14)

    def test_view_window_and_axes(self):
        axes = new_axes("3d")
        figure = plots.surface(
            ROSENBROCK, ROSENBROCK.gradient, [-1.2, 1], elevation=30, azimuth=-60, resolution=9, axes=axes
        )
        assert drawn(figure) is axes.figure
        assert (axes.elev, axes.azim) == (30, -60)
        assert axes.get_xlim()[0] < -1.2 < axes.get_xlim()[1]

    def test_bad_arguments(self):
        with pytest.raises(TypeError, match="axes must be three-dimensional"):
            plots.surface(QUADRATIC, QUADRATIC.gradient, [0, 1], axes=new_axes())
        cube = Rosenbrock(3)
        with pytest.raises(ValueError, match=r"x must have shape \(2,\), got \(3,\)"):
            plots.surface(cube, cube.gradient, cube.start)


class TestLive:
    @staticmethod
    def heal(live, image=None, **settings):
        image = np.add.outer(np.arange(30.0), np.arange(40.0)) / 70 if image is None else image
        mask = np.random.default_rng(0).random(image.shape[:2]) < 0.5
        axis = -1 if image.ndim == 3 else None
        return graddesc.restore(image, mask, callback=live, channel_axis=axis, tol=0, max_iter=12, **settings)

    def test_without_a_window(self):
        live = plots.Live()
        assert live.shows is False
        self.heal(live)
        (axes,) = live.figure.axes
        assert re.fullmatch(r"iteration 11, loss \S+", axes.get_title())
        assert axes.images[0].get_array().shape == (30, 40)
        assert live.next_iteration == 13
        colour = np.random.default_rng(1).normal(0.5, 1, (30, 40, 3))
        self.heal(plots.Live(), colour)

    def test_every_iteration(self):
        seen = []

        class Counted(plots.Live):
            def __call__(self, intermediate_result):
                seen.append(intermediate_result.nit)
                super().__call__(intermediate_result)

        self.heal(Counted(growth=1))
        assert seen == list(range(1, 13))

    def test_in_a_window(self, monkeypatch):
        shown = []
        monkeypatch.setattr(plots, "_opens_windows", lambda backend: True)
        monkeypatch.setattr("matplotlib.figure.Figure.show", lambda figure: shown.append(figure))
        loops = []
        monkeypatch.setattr(
            "matplotlib.backend_bases.FigureCanvasBase.start_event_loop", lambda canvas, timeout: loops.append(timeout)
        )
        live = plots.Live(pause=0.5)
        assert live.shows
        self.heal(live)
        assert shown == [live.figure]
        assert set(loops) == {0.5}
        from matplotlib import pyplot

        pyplot.close(live.figure)

    def test_in_a_notebook(self, monkeypatch):
        updates = []

        class ZMQInteractiveShell:
            pass

        class Shell(ZMQInteractiveShell):
            pass

        class Handle:
            def update(self, data, raw):
                assert raw
                updates.append(base64.b64decode(data["image/png"]))

        def display(data, raw, display_id):
            Handle().update(data, raw)
            return Handle()

        notebook = SimpleNamespace(get_ipython=Shell, display=SimpleNamespace(display=display))
        monkeypatch.setitem(sys.modules, "IPython", notebook)
        live = plots.Live()
        assert live.shows
        self.heal(live)
        assert len(updates) == 10
        assert all(data.startswith(b"\x89PNG") for data in updates)
        assert len(set(updates[1:])) == 9  # each another picture

    def shown(self, live):
        return np.asarray(live.figure.axes[0].images[0].get_array())

    def test_the_picture_is_the_image(self):
        image = (10 * np.add.outer(np.arange(30), np.arange(40))).astype(np.uint8)
        seen = []

        class Watched(plots.Live):
            def __call__(live, intermediate_result):
                super().__call__(intermediate_result)
                if intermediate_result.nit + 1 == live.next_iteration:
                    seen.append(1)
                    assert_array_equal(self.shown(live), intermediate_result.x)

        self.heal(Watched(), image)
        assert seen

    @pytest.mark.parametrize("dtype", ["i2", "i4", "u2", "f4", "f8"])
    def test_any_range_is_seen(self, dtype):
        ramp = (20 * np.add.outer(np.arange(30), np.arange(40)) + 300).astype(dtype)
        ramp[3, 4] = 32000  # a hot pixel
        for image in (ramp, np.dstack([ramp, ramp[::-1], ramp[:, ::-1]])):
            live = plots.Live()
            self.heal(live, image)
            shown = self.shown(live)
            assert shown.shape == image.shape
            assert len(np.unique(shown)) > 100
            assert shown.std() > 40

    @pytest.mark.parametrize("axis", [0, 1, 2])
    @pytest.mark.parametrize("count", [2, 3, 5])
    def test_other_channels(self, axis, count):
        image = np.moveaxis(np.random.default_rng(0).random((count, 30, 40)), 0, axis)
        mask = np.random.default_rng(1).random((30, 40)) < 0.3
        live = plots.Live()
        graddesc.restore(image, mask, channel_axis=axis, callback=live, max_iter=3, tol=0)
        assert self.shown(live).shape == ((30, 40, 3) if count == 3 else (30, 40))

    def test_bad_input(self):
        for settings, error in (
            ({"pause": -1}, ValueError),
            ({"growth": 0.9}, ValueError),
            ({"pause": "1"}, TypeError),
        ):
            with pytest.raises(error, match=f"{next(iter(settings))} must be "):
                plots.Live(**settings)


def test_results_are_taken_as_they_are():
    problem = ROSENBROCK
    result = minimize(problem, problem.start, jac=problem.gradient, history=True)
    path, expected = (plots.contour_path(problem, run).axes[0].lines[0] for run in (result, result.history))
    np.testing.assert_array_equal(path.get_xydata(), expected.get_xydata())
    path, expected = (plots.loss_history({"run": run}).axes[0].lines[0] for run in (result, result.history))
    np.testing.assert_array_equal(path.get_xydata(), expected.get_xydata())
    for plot in (plots.loss_history, lambda run: plots.contour_path(problem, run)):
        with pytest.raises(ValueError, match="history must be kept: the result is of a run without history=True"):
            plot(minimize(problem, problem.start, jac=problem.gradient))


def test_the_arrow_of_a_surface_ends_above_the_floor():
    for start in ([0.0, 1.0], [-1.2, 0.1]):
        (axes,) = plots.surface(QUADRATIC, QUADRATIC.gradient, start, window=SQUARE).axes
        (arrow,) = axes.artists or axes.patches
        foot, tip = np.asarray(arrow.ends)
        assert foot[2] == QUADRATIC(np.array(start))
        assert tip[2] - foot[2] == pytest.approx(QUADRATIC.gradient(np.array(start)) @ (tip - foot)[:2])
        assert tip[2] >= axes.get_zlim()[0] - 1e-9
        shadow = np.array(axes.lines[0].get_data_3d())[:2].T
        assert_allclose(shadow, [foot[:2], tip[:2]])
