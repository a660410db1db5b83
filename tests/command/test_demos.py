"""The demos, as functions and as commands."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import graddesc
from graddesc import ExactLineSearch, Steepest, animation, cli, demos, images, minimize, plots, problems, samples

FILES = ["ginkgo-comparison.png", "ginkgo-corrupt.png", "ginkgo-healing.webp", "ginkgo-restored.png"]


@pytest.fixture(scope="module")
def rosenbrock(tmp_path_factory):
    """The report, the figures and the directory of the whole demo, which takes seconds."""
    directory = tmp_path_factory.mktemp("rosenbrock")
    with pytest.MonkeyPatch.context() as monkeypatch:
        figures = record_figures(monkeypatch)
        return demos.rosenbrock(directory), figures, directory


def record_figures(monkeypatch):
    """Collect the figures that a demo draws."""
    figures = []
    encode = plots.encode

    def record(path, figure):
        figures.append(figure)
        return encode(path, figure)

    monkeypatch.setattr(plots, "encode", record)
    return figures


def colorbars(figure):
    return [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]


def test_restore(tmp_path):
    report = demos.restore(tmp_path, size=64, seed=3)
    assert sorted(os.listdir(tmp_path)) == FILES
    assert sorted(report.files) == [str(tmp_path / name) for name in FILES]
    truth = samples.ginkgo(64)
    corrupt = images.read(tmp_path / "ginkgo-corrupt.png").pixels
    restored = images.read(tmp_path / "ginkgo-restored.png").pixels
    known = (corrupt == truth).all(axis=-1)
    assert 0.05 < known.mean() < 0.15
    np.testing.assert_array_equal(restored[known], truth[known])
    comparison = images.read(tmp_path / "ginkgo-comparison.png").pixels
    for picture, left in ((corrupt, 0), (restored, 65), (truth, 130)):
        np.testing.assert_array_equal(comparison[:, left : left + 64], picture)
    with Image.open(tmp_path / "ginkgo-healing.webp") as animation:
        count = animation.n_frames
        assert count > 5
        frames = []
        for k in (0, count - 2, count - 1):
            animation.seek(k)
            frames.append(np.asarray(animation.convert("RGB")).astype(int))
    first, healed, last = frames
    assert np.abs(last - restored).mean() < 8  # each frame has a palette of its own
    assert np.abs(last - healed).mean() < 8 < 60 < np.abs(last - first).mean()

    error = np.mean((restored.astype(float) - truth) ** 2)
    assert f"{10 * np.log10(255**2 / error):.2f} dB restored" in report.lines[1]
    assert 10 * np.log10(255**2 / error) > 15
    assert re.fullmatch(r"restored in \d+\.\d{3} s", report.lines[2])


def test_existing_files_are_kept(tmp_path):
    (tmp_path / FILES[2]).write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"ginkgo-healing\.webp exists"):
        demos.restore(tmp_path, size=16)
    assert os.listdir(tmp_path) == [FILES[2]]
    demos.restore(tmp_path, size=16, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == FILES


def test_the_command(tmp_path):
    arguments = [sys.executable, "-m", "graddesc", "demo", "restore", "--size", "32", "--seed", "1", "--missing", "0.8"]
    process = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("32 x 32 pixels, ")
    assert [line for line in process.stdout.splitlines() if line.startswith("wrote ")] == [
        f"wrote {os.path.join('graddesc-demo', name)}"
        for name in ("ginkgo-corrupt.png", "ginkgo-restored.png", "ginkgo-comparison.png", "ginkgo-healing.webp")
    ]
    assert os.listdir(tmp_path) == ["graddesc-demo"]
    assert sorted(os.listdir(tmp_path / "graddesc-demo")) == FILES


@pytest.mark.once
def test_quadratic(tmp_path, monkeypatch):
    figures = record_figures(monkeypatch)
    report = demos.quadratic(tmp_path)
    assert report.files == (str(tmp_path / "quadratic.png"), str(tmp_path / "quadratic-descent.gif"))
    assert sorted(os.listdir(tmp_path)) == ["quadratic-descent.gif", "quadratic.png"]
    assert report.lines == (
        "x = (-0.999997, -0.071429)",
        "f(x) = 0.964285714295",
        "12 iterations, the last of which finds the gradient small",
    )
    figure, descent = figures
    surface, contours, ray, path = figure.axes[:4]
    assert (surface.elev, surface.azim) == (20, 45)
    for axes in (contours, path):
        np.testing.assert_allclose(axes.collections[0].levels, np.geomspace(1, 10, 8))
        assert (axes.get_xlim(), axes.get_ylim()) == ((-1.2, 1.2), (-1.2, 1.2))
    (arrow,) = [text for text in contours.texts if getattr(text, "arrow_patch", None)]
    direction = np.subtract(arrow.xy, arrow.xyann)
    np.testing.assert_array_equal(arrow.xyann, [0, 1])
    np.testing.assert_allclose(direction / np.linalg.norm(direction), np.array([-2, -15]) / np.sqrt(229))
    np.testing.assert_allclose(ray.lines[0].get_xdata()[[0, -1]], [-0.01, 2 / 15])
    problem = problems.Quadratic([[2, 0], [0, 14]], [2, 1], 2, start=[0, 1])
    run = minimize(
        problem, problem.start, jac=problem.gradient, step=ExactLineSearch(), direction=Steepest(), history=True
    )
    np.testing.assert_array_equal(path.lines[0].get_xydata(), run.history.x)
    assert len(colorbars(figure)) == 1
    assert len(descent.frames) == len(run.history.x) == 12
    with Image.open(tmp_path / "quadratic-descent.gif") as gif:
        assert gif.n_frames == 12


@pytest.mark.once
def test_rosenbrock(rosenbrock):
    report, (zigzag, _, race), directory = rosenbrock
    assert sorted(os.listdir(directory)) == [
        "rosenbrock-comparison.png",
        "rosenbrock-race.gif",
        "rosenbrock-zigzag.png",
    ]
    with Image.open(directory / "rosenbrock-race.gif") as gif:
        assert gif.n_frames == len(race.frames) > 50
    assert sorted(report.files) == [str(directory / name) for name in sorted(os.listdir(directory))]
    whole, enlarged = zigzag.axes[:2]
    assert (whole.get_xlim(), whole.get_ylim()) == ((-5, 5), (-5, 5))
    assert len(colorbars(zigzag)) == 1
    assert "11990 iterations" in whole.get_title()
    points = whole.lines[0].get_xydata()
    assert points.shape == (11990, 2)
    np.testing.assert_array_equal(points[0], [-2, -2])
    np.testing.assert_allclose(points[-1], [1, 1], atol=2e-5)
    turns = np.diff(points[2:20], axis=0)
    cosines = np.sum(turns[1:] * turns[:-1], axis=1) / np.prod(np.linalg.norm([turns[1:], turns[:-1]], axis=2), axis=0)
    np.testing.assert_allclose(cosines, 0, atol=1e-2)  # the next direction is at a right angle; steps are exact to 1e-8
    (low, high), (bottom, top) = enlarged.get_xlim(), enlarged.get_ylim()
    assert np.all((points[6:18] > [low, bottom]) & (points[6:18] < [high, top]))
    (square,) = [line for line in whole.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(square.get_xydata(), [[(low + high) / 2, (bottom + top) / 2]])
    assert len([text for text in enlarged.texts if low < text.get_position()[0] < high]) > 3


@pytest.mark.once
def test_rosenbrock_compares_four_directions(rosenbrock):
    report, (_, comparison, _), _ = rosenbrock
    paths, losses = comparison.axes[:2]
    assert len(colorbars(comparison)) == 1
    names = ["steepest descent", "momentum", "conjugate gradients", "L-BFGS"]
    (legend,) = comparison.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    assert [line.get_label() for line in losses.lines] == names
    drawn = {line.get_label(): line for line in paths.lines}
    head, *rows = report.lines
    assert head.split() == ["iterations", "values", "gradients", "f(x)"]
    for name, row in zip(names, rows, strict=True):
        assert row.startswith(name)
        iterations, values, gradients, f = row[len(name) :].split()
        points = drawn[name].get_xydata()
        loss = losses.lines[names.index(name)].get_ydata()
        np.testing.assert_allclose(loss, [(1 - x) ** 2 + 100 * (y - x**2) ** 2 for x, y in points], rtol=1e-9)
        assert int(iterations) == len(points)  # the start and all but the iteration that finds the gradient small
        assert int(values) > int(gradients) >= int(iterations)
        assert float(f) == pytest.approx(loss.min(), rel=0.01)
        assert float(f) < 1e-8
    counts = [int(row.split()[-4]) for row in rows]
    assert counts[0] == 11990 > 10 * counts[1] > 10 * max(counts[2:])


@pytest.mark.once
def test_network(tmp_path, monkeypatch):
    figures = record_figures(monkeypatch)
    report = demos.network(tmp_path, seed=4)
    assert sorted(os.listdir(tmp_path)) == ["network-learning.gif", "network.png"]
    figure, learning = figures
    losses, plane = figure.axes[:2]
    names = ["steepest descent", "Adam", "L-BFGS"]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == names
    for line, row in zip(losses.lines, report.lines[1:], strict=False):
        assert line.get_ydata()[0] > 3 * line.get_ydata()[-1]
        assert float(row.split()[-1]) == pytest.approx(line.get_ydata().min(), rel=0.01)
    assert [label in report.lines[-1] for label in names] == [True] * 3
    shares = [float(part.split("%")[0]) for part in report.lines[-1].split(": ")[1].split(", ")]
    assert min(shares) > 90
    assert f"{shares[-1]}%" in plane.get_title()
    assert len(colorbars(figure)) == 1
    (boundary,) = [line for line in plane.lines if line.get_marker() == "None"]
    classes = [line for line in plane.lines if line.get_marker() in ("o", "^")]
    assert [len(line.get_xdata()) for line in classes] == [100, 100]
    # The boundary is where the probability is a half, and most points lie on their side of it.
    (bands,) = plane.images
    probability = np.asarray(bands.get_array())
    left, right, bottom, top = bands.get_extent()
    rows, cols = probability.shape

    def at(points):
        points = points[np.isfinite(points).all(axis=1)]
        col, row = (points[:, 0] - left) / (right - left) * (cols - 1), (points[:, 1] - bottom) / (top - bottom)
        return probability[np.rint(row * (rows - 1)).astype(int), np.rint(col).astype(int)]

    np.testing.assert_allclose(at(boundary.get_xydata()), 0.5, atol=0.1)
    assert np.mean(at(classes[0].get_xydata()) < 0.5) > 0.9 < np.mean(at(classes[1].get_xydata()) > 0.5)
    assert classes[0].get_color() != classes[1].get_color()

    # Three panels that begin alike; when L-BFGS has ended, its panel stands still, while the others go on.
    with Image.open(tmp_path / "network-learning.gif") as gif:
        assert gif.n_frames == len(learning.frames) > 30
    pictures = np.array([np.asarray(frame) for frame in learning.frames])
    rows, cols = pictures.shape[1:3]
    panels = [pictures[:, rows // 4 : -rows // 5, left * cols // 100 :][:, :, : cols // 4] for left in (9, 40, 72)]
    moments = list(animation.spaced(0, 1000))
    ended = int(report.lines[3].split()[1])
    assert ended < 500
    for name, panel in zip(names, panels, strict=True):
        changes = (panel[1:] != panel[:-1]).any(axis=(1, 2, 3))
        assert all(changes[:8])
        late = [change for change, moment in zip(changes, moments, strict=False) if moment >= ended]
        assert any(late) == (name != "L-BFGS")


def test_gradient_of_the_network():
    rng = np.random.default_rng(5)
    labels = rng.choice([-1, 1], 30)
    network = demos.TwoLayerNetwork(rng.normal(size=(30, 2)), labels, hidden=5, decay=0.01)
    p = network.start(seed=6)
    assert p.shape == (21,)
    h = 1e-3
    for i, g in enumerate(network(p)[1]):
        e = np.zeros(p.size)
        e[i] = h
        values = [network(p + k * e)[0] for k in (-2, -1, 1, 2)]
        assert g == pytest.approx(np.dot(values, [1, -8, 8, -1]) / (12 * h), abs=1e-10)


def test_loss_and_score_of_the_network_by_hand():
    network = demos.TwoLayerNetwork([[1, 2]], [-1], hidden=1, decay=0.1)
    p = np.array([0.3, -0.1, 0.05, 2.0, 0.7])
    z = 2.0 * np.tanh(0.3 * 1 - 0.1 * 2 + 0.05) + 0.7
    assert network.score(p, np.array([[1, 2]]))[0] == pytest.approx(z)
    assert network(p)[0] == pytest.approx(np.log(1 + np.exp(z)) + 0.05 * (p @ p))
    far = demos.TwoLayerNetwork([[1, 2]], [-1], hidden=1, decay=0)
    loss, gradient = far(np.array([0, 0, 0, 0, 1400.0]))  # exp(1400) would overflow
    assert loss == 1400
    np.testing.assert_array_equal(gradient, [0, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": [[1, 2, 3]]}, r"points must have shape \(m, 2\), got \(1, 3\)"),
        ({"labels": [1, 1]}, "labels must be 1 numbers that are -1 or 1"),
        ({"labels": [0]}, "labels must be 1 numbers that are -1 or 1"),
        ({"hidden": 0}, "hidden must be a positive integer, got 0"),
        ({"decay": -1}, "decay must be a non-negative finite number, got -1"),
    ],
)
def test_bad_networks(options, message):
    with pytest.raises(ValueError, match=message):
        demos.TwoLayerNetwork(**{"points": [[1, 2]], "labels": [1], **options})


@pytest.mark.parametrize(
    ("demo", "file"),
    [("quadratic", "quadratic.png"), ("rosenbrock", "rosenbrock-race.gif"), ("network", "network-learning.gif")],
)
class TestChecks:
    """What is found out before any work is done."""

    @pytest.fixture(autouse=True)
    def no_work(self, monkeypatch):
        def work(*arguments, **options):
            raise AssertionError

        monkeypatch.setattr(graddesc, "minimize", work)

    def test_files_that_exist(self, demo, file, tmp_path):
        (tmp_path / file).write_bytes(b"mine")
        with pytest.raises(FileExistsError, match=f"{file} exists"):
            getattr(demos, demo)(tmp_path)
        assert os.listdir(tmp_path) == [file]
        with pytest.raises(AssertionError):
            getattr(demos, demo)(tmp_path, overwrite=True)

    def test_without_matplotlib(self, demo, file, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"plots need matplotlib: pip install 'graddesc\[plot\]'"):
            getattr(demos, demo)(tmp_path)
        assert os.listdir(tmp_path) == []


@pytest.mark.once
def test_a_command_that_draws(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "graddesc", "demo", "network"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")
    *_, found, picture, film = process.stdout.splitlines()
    assert found.startswith("unseen points told apart: ")
    assert picture == f"wrote {os.path.join('graddesc-demo', 'network.png')}"
    assert film == f"wrote {os.path.join('graddesc-demo', 'network-learning.gif')}"
    assert sorted(os.listdir(tmp_path / "graddesc-demo")) == ["network-learning.gif", "network.png"]


def test_where_commands_write(tmp_path, monkeypatch, capsys):
    """In this process, and a demo that is quick."""
    monkeypatch.chdir(tmp_path)
    command = ["demo", "restore", "--size", "16"]
    for _ in range(2):  # once more in the demos' own directory
        assert cli.main(command) == 0
        told = capsys.readouterr()
        assert told.err == ""
        assert told.out.splitlines()[-1] == f"wrote {os.path.join('graddesc-demo', 'ginkgo-healing.webp')}"
    elsewhere = [*command, "--output", os.path.join("new", "place")]
    assert cli.main(elsewhere) == 0
    assert sorted(os.listdir(tmp_path / "new" / "place")) == FILES
    assert capsys.readouterr().err == ""
    assert cli.main(elsewhere) == 1
    assert "ginkgo-corrupt.png exists; overwrite (--overwrite)" in capsys.readouterr().err
    assert cli.main([*elsewhere, "--overwrite"]) == 0


def test_options_reach_a_demo(tmp_path, monkeypatch, capsys):
    given = {}

    def network(directory, **options):
        given.update(options)
        return demos.Report(("unseen points told apart: all",), ("a.png",))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demos, "network", network)
    assert cli.main(["demo", "network", "--seed", "2"]) == 0
    assert given == {"seed": 2, "overwrite": True}
    assert capsys.readouterr().out == "unseen points told apart: all\nwrote a.png\n"


def test_the_healing_image_is_shown(tmp_path, monkeypatch):
    shown = []

    class Live:
        next_iteration, shows = 1, True

        def __call__(self, intermediate_result):
            shown.append(intermediate_result.nit)
            self.next_iteration = 2 * intermediate_result.nit

    monkeypatch.setattr(plots, "Live", Live)
    report = demos.restore(tmp_path, size=32, show=True)
    assert shown[:4] == [1, 2, 4, 8]
    assert not any("display" in line for line in report.lines)
    Live.shows = False
    report = demos.restore(tmp_path, size=32, show=True, overwrite=True)
    assert report.lines[-1] == "there is no display to show the image healing: the animation shows it"


def test_without_a_display(tmp_path):
    nobody = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in nobody}
    command = [sys.executable, "-m", "graddesc", "demo", "restore", "--size", "16", "--show"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (process.returncode, process.stderr) == (0, "")
    if sys.platform == "linux":  # elsewhere windows open without such names
        assert "\nthere is no display to show the image healing" in process.stdout
    assert sorted(os.listdir(tmp_path / "graddesc-demo")) == FILES
