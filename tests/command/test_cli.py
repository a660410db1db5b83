"""The command, as a process of its own."""

import io
import os
import signal
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import graddesc
from graddesc import cli, images, masks, samples

TRUTH = samples.ginkgo(48)


ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def run(*arguments, **options):
    """Run the command and return the finished process; its output is text unless bytes are given as input."""
    text = not isinstance(options.get("input"), bytes)
    options = {"text": text, "capture_output": True, "timeout": 60, "env": ENVIRONMENT, **options}
    return subprocess.run([sys.executable, "-m", "graddesc", *map(str, arguments)], **options)


def fails(process, code, message):
    """Assert that the process failed with this code and one line that holds the message."""
    assert process.returncode == code, process
    assert process.stdout == ""
    *usage, line = process.stderr.splitlines()
    assert message in line
    assert "Traceback" not in process.stderr
    if code == 1:
        assert line.startswith("graddesc: error: ")
        assert not usage


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with truth.png, corrupt.png and mask.png."""
    monkeypatch.chdir(tmp_path)
    corrupt, mask = masks.corrupt(TRUTH, 0.9, rng=0, channel_axis=-1)
    images.write("truth.png", images.Picture(TRUTH))
    images.write("corrupt.png", images.Picture(corrupt))
    images.write("mask.png", images.Picture(mask.astype(np.uint8) * 255))
    return tmp_path


@pytest.fixture
def here(capfd):
    """Run the command in this process, which is quicker, and return what a process would."""
    return lambda *arguments: run_here(capfd, arguments)


def pixels(path):
    return images.read(path).pixels


class TestRestore:
    def test_known_pixels_stay_and_the_others_come_near(self, folder):
        process = run("restore", "corrupt.png", "out.png")
        assert (process.returncode, process.stderr) == (0, "")
        mask = masks.detect(pixels("corrupt.png")).any(axis=-1)
        assert process.stdout.startswith(f"out.png: filled {mask.sum()} of {mask.size} pixels ({mask.mean():.1%}) that")
        mask = pixels("mask.png") > 0
        restored = pixels("out.png")
        np.testing.assert_array_equal(restored[~mask], TRUTH[~mask])
        error = np.abs(restored[mask].astype(int) - TRUTH[mask]).mean()
        assert error < 0.4 * np.abs(pixels("corrupt.png")[mask].astype(int) - TRUTH[mask]).mean()
        assert sorted(os.listdir()) == ["corrupt.png", "mask.png", "out.png", "truth.png"]

    def test_same_as_the_function(self, folder, here):
        assert here("restore", "corrupt.png", "out.png", "--mask", "mask.png", "--threads", "2").returncode == 0
        expected = graddesc.restore(pixels("corrupt.png"), pixels("mask.png"), channel_axis=-1)
        np.testing.assert_array_equal(pixels("out.png"), expected)

    def test_noise_reaches_the_solver(self, folder, here):
        process = here("restore", "corrupt.png", "out.png", "--mask", "mask.png", "--noise", "12.5", "--huber")
        assert process.returncode == 0
        assert "noise of 12.5 off the others, " in process.stdout
        given, mask = pixels("corrupt.png"), pixels("mask.png")
        expected = graddesc.restore(given, mask, channel_axis=-1, noise=12.5, huber=True)
        np.testing.assert_array_equal(pixels("out.png"), expected)
        assert (expected != given)[mask == 0].mean() > 0.5
        # Without a mask all pixels are noisy, and none is corrupt.
        process = here("restore", "truth.png", "all.png", "--noise", "3")
        assert (process.returncode, process.stderr) == (0, "")
        assert process.stdout.startswith("all.png: filled 0 of 2304 pixels (0.0%), noise of 3 off the others, ")
        np.testing.assert_array_equal(pixels("all.png"), graddesc.restore(TRUTH, channel_axis=-1, noise=3))
        tiled = here("restore", "truth.png", "tiled.png", "--noise", "3", "--max-memory", "7M", "--overwrite")
        assert tiled.returncode == 0

    def test_options_reach_the_solver(self, folder, here):
        process = here("restore", "corrupt.png", "out.png", "--max-iter", "3", "--tol", "0")
        assert process.returncode == 3
        assert ", 3 iterations, " in process.stdout
        assert process.stderr.startswith("graddesc: not converged: ")
        assert len(process.stderr.splitlines()) == 1
        expected = graddesc.restore(
            pixels("corrupt.png"), masks.detect(pixels("corrupt.png")), channel_axis=-1, max_iter=3, tol=0
        )
        np.testing.assert_array_equal(pixels("out.png"), expected)

    def test_threads_reach_the_solver(self, folder, capfd, monkeypatch):
        given = []

        class Plan(graddesc.Plan):
            def __init__(self, *arguments, threads, **options):
                given.append(threads)
                super().__init__(*arguments, threads=threads, **options)

        monkeypatch.setattr(graddesc, "Plan", Plan)
        assert run_here(capfd, ["restore", "corrupt.png", "out.png", "--threads", "2"]).returncode == 0
        assert given == [2]

    def test_max_time(self, folder, here):
        process = here(
            "restore", "corrupt.png", "out.png", "--max-time", "0.000001", "--tol", "0", "--max-iter", "1000000"
        )
        assert process.returncode == 3
        assert pixels("out.png").shape == TRUTH.shape

    def test_the_classic_recipe(self, folder, here):
        process = here("restore", "corrupt.png", "out.png", "--classic")
        assert (process.returncode, process.stderr) == (0, "")
        assert ", 500 iterations, " in process.stdout
        corrupt = pixels("corrupt.png")
        expected = graddesc.restore(
            corrupt,
            graddesc.masks.detect(corrupt),
            channel_axis=-1,
            step=graddesc.InverseTime(1.5, floor=0.015),
            init="image",
            max_iter=500,
        )
        np.testing.assert_array_equal(pixels("out.png"), expected)

    def test_the_classic_recipe_out_of_time(self, folder, here):
        process = here("restore", "corrupt.png", "out.png", "--classic", "--max-time", "0.000001")
        assert process.returncode == 3
        assert process.stderr.startswith("graddesc: not converged: ")

    def test_any_value_but_zero_in_any_channel_of_the_mask(self, folder, here):
        mask = np.zeros((48, 48, 3), np.uint8)
        mask[5, 6, 1], mask[7, 8, 2] = 1, 255
        images.write("dots.png", images.Picture(mask))
        here("restore", "truth.png", "out.png", "--mask", "dots.png")
        changed = (pixels("out.png") != TRUTH).any(axis=-1)
        assert set(zip(*np.nonzero(changed), strict=True)) <= {(5, 6), (7, 8)}
        assert changed.any()

    def test_a_jpeg_as_mask_is_noted(self, folder, here):
        images.write("mask.jpg", images.read("mask.png"))
        process = here("restore", "corrupt.png", "out.png", "--mask", "mask.jpg")
        assert "mask.jpg is a lossy file, whose blur is taken for corrupt" in process.stderr

    def test_nothing_corrupt(self, folder, here):
        process = here("restore", "truth.png", "out.png")
        assert process.returncode == 0
        assert process.stderr == "graddesc: no pixel of truth.png is corrupt\n"
        np.testing.assert_array_equal(pixels("out.png"), TRUTH)

    def test_everything_corrupt(self, folder, here):
        images.write("black.png", images.Picture(np.zeros((9, 9), np.uint8)))
        fails(here("restore", "black.png", "out.png"), 1, "known")
        assert not os.path.exists("out.png")

    @pytest.mark.parametrize("kind", ["grey", "alpha", "deep", "float"])
    def test_kinds_of_pictures(self, folder, here, kind):
        grey = TRUTH[..., 1]
        alpha = np.random.default_rng(1).integers(1, 256, grey.shape, np.uint8)
        truth = {
            "grey": images.Picture(grey),
            "alpha": images.Picture(TRUTH, alpha),
            "deep": images.Picture(grey.astype(np.uint16) * 256 + 77),
            "float": images.Picture((grey / 255).astype(np.float32)),
        }[kind]
        extension = ".tif" if kind == "float" else ".png"
        images.write(f"kind{extension}", truth)
        noise = ["--missing", "0.5", "--mask-out", "where.png"]
        assert here("corrupt", f"kind{extension}", f"noisy{extension}", *noise, "--overwrite").returncode == 0
        told = ["--mask", "where.png"] if kind == "float" else []
        assert here("restore", f"noisy{extension}", f"out{extension}", *told).returncode == 0
        noisy, result = images.read(f"noisy{extension}"), images.read(f"out{extension}")
        assert result.kind == truth.kind
        known = ~masks.detect(noisy.pixels, extremes=True)
        assert 0.4 < known.mean() < 0.6
        np.testing.assert_array_equal(result.pixels[known], truth.pixels[known])
        if kind == "alpha":
            np.testing.assert_array_equal(result.alpha, alpha)

    def test_nan_is_corrupt(self, folder, here):
        image = (TRUTH[..., 1] / 255).astype(np.float32)
        image[3:6, 3:6] = np.nan
        images.write("gap.tif", images.Picture(image))
        assert here("restore", "gap.tif", "out.tif").returncode == 0
        restored = pixels("out.tif")
        assert np.isfinite(restored).all()
        np.testing.assert_array_equal(restored[~np.isnan(image)], image[~np.isnan(image)])

    def test_in_place(self, folder, here):
        fails(here("restore", "corrupt.png", "corrupt.png"), 1, "corrupt.png exists; overwrite (--overwrite)")
        expected = graddesc.restore(pixels("corrupt.png"), pixels("mask.png"), channel_axis=-1)
        assert here("restore", "corrupt.png", "corrupt.png", "--mask", "mask.png", "--overwrite").returncode == 0
        np.testing.assert_array_equal(pixels("corrupt.png"), expected)

    def test_jpeg_is_noted(self, folder, here):
        images.write("corrupt.jpg", images.read("corrupt.png"))
        process = here("restore", "corrupt.jpg", "out.jpg")
        assert process.returncode == 0
        assert process.stderr.splitlines() == [
            "graddesc: corrupt.jpg is a lossy file, which blurs the extremes: --mask can tell the corrupt pixels",
            "graddesc: out.jpg is a JPEG file, which changes the known pixels: PNG keeps them",
        ]
        assert here("restore", "corrupt.jpg", "out.png", "--mask", "mask.png").stderr == ""

    def test_lossy_webp_is_noted(self, folder, capfd):
        Image.fromarray(pixels("corrupt.png")).save("corrupt.webp", quality=90)
        process = run_here(capfd, ["restore", "corrupt.webp", "out.webp", "--loss", "line"])
        assert process.stderr == (
            "graddesc: corrupt.webp is a lossy file, which blurs the extremes: --mask can tell the corrupt pixels\n"
        )
        assert (
            run_here(capfd, ["restore", "out.webp", "again.webp"]).stderr
            == "graddesc: no pixel of out.webp is corrupt\n"
        )

    @pytest.mark.parametrize("command", ["restore", "corrupt"])
    def test_metadata_that_the_format_cannot_hold_are_noted(self, folder, capfd, command):
        metadata = {"icc_profile": bytes(3_000_000), "dpi": (300.0, 300.0)}
        images.write("rich.tif", images.Picture(pixels("corrupt.png"), metadata=metadata))
        process = run_here(capfd, [command, "rich.tif", "out.png"])
        assert (process.returncode, process.stderr) == (
            0,
            "graddesc: out.png leaves out what its format cannot hold: colour profile\n",
        )
        process = run_here(capfd, [command, "rich.tif", "out.ppm"])
        assert (
            process.stderr == "graddesc: out.ppm leaves out what its format cannot hold: colour profile, resolution\n"
        )
        assert run_here(capfd, [command, "rich.tif", "out.tif"]).stderr == ""
        assert {name: value for name, value in images.read("out.tif").metadata.items() if name != "tiff"} == metadata


class TestExtras:
    def test_animation(self, folder, here):
        assert here("restore", "corrupt.png", "out.png", "--animate", "out.gif").returncode == 0
        with Image.open("out.gif") as animation:
            assert animation.n_frames > 2
            assert animation.size == (48, 48)
            frames = []
            for k in (0, 1, animation.n_frames - 1):
                animation.seek(k)
                frames.append(np.asarray(animation.convert("RGB")).astype(int))
            assert animation.info["duration"] >= 2000
        first, second, last = frames
        assert np.abs(second - last).mean() > 0.5 * np.abs(first - last).mean()  # it heals bit by bit
        assert np.abs(first - pixels("corrupt.png")).mean() < 8
        assert np.abs(last - pixels("out.png")).mean() < 8

    @pytest.mark.parametrize(("name", "start"), [("h.png", b"\x89PNG"), ("h.svg", b"<?xml"), ("h.pdf", b"%PDF")])
    def test_history(self, folder, here, name, start):
        process = here("restore", "corrupt.png", "out.png", "--history", name)
        assert (process.returncode, process.stderr) == (0, "")
        assert (folder / name).read_bytes().startswith(start)

    def test_history_without_matplotlib(self, folder):
        (folder / "matplotlib.py").write_text("raise ImportError")
        process = run(
            "restore", "corrupt.png", "out.png", "--history", "h.png", env={**ENVIRONMENT, "PYTHONPATH": folder}
        )
        fails(process, 1, "plots need matplotlib: pip install 'graddesc[plot]'")
        assert not os.path.exists("out.png")

    def test_other_extensions(self, folder, here):
        fails(here("restore", "corrupt.png", "out.png", "--animate", "a.jpg"), 2, "the extension must be .gif")
        fails(here("restore", "corrupt.png", "out.png", "--history", "a.gif"), 2, "must be .png or .svg or .pdf")
        assert not os.path.exists("out.png")

    @pytest.mark.posix
    def test_progress_on_a_terminal_only(self, folder):
        import pty
        import termios

        leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (24, 80))
        arguments = [sys.executable, "-m", "graddesc", "restore", "corrupt.png", "out.png", "--classic"]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=follower)
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # so Linux tells the end
                break
            if not piece:
                break
            shown += piece
        os.close(leader)
        assert process.wait(60) == 0
        assert b"/500" in shown


class TestCorrupt:
    def test_as_the_function(self, folder, here):
        process = here("corrupt", "truth.png", "a.png", "--missing", "0.7", "--seed", "3", "--mask-out", "m.png")
        assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
        corrupted, mask = masks.corrupt(TRUTH, 0.7, rng=3, channel_axis=-1)
        np.testing.assert_array_equal(pixels("a.png"), corrupted)
        np.testing.assert_array_equal(pixels("m.png"), mask * 255)

    def test_defaults(self, folder, here):
        here("corrupt", "truth.png", "a.png")
        np.testing.assert_array_equal(pixels("a.png"), masks.corrupt(TRUTH, 0.9, rng=0, channel_axis=-1)[0])

    def test_downsample(self, folder, here):
        here("corrupt", "truth.png", "a.png", "--missing", "0", "--downsample", "5")
        np.testing.assert_array_equal(pixels("a.png"), TRUTH[::5, ::5])

    def test_downsample_with_alpha(self, folder, capfd):
        images.write("alpha.png", images.Picture(TRUTH, TRUTH[..., 0]))
        assert run_here(capfd, ["corrupt", "alpha.png", "a.png", "--missing", "0", "--downsample", "5"]).returncode == 0
        np.testing.assert_array_equal(images.read("a.png").alpha, TRUTH[::5, ::5, 0])

    @pytest.mark.parametrize("outputs", [("a.jpg",), ("a.png", "--mask-out", "m.jpg")])
    def test_jpeg_is_refused(self, folder, here, outputs):
        fails(here("corrupt", "truth.png", *outputs), 1, "JPEG would blur black and white")
        assert not os.path.exists("a.png")


class TestStreams:
    def test_from_input_to_output(self, folder):
        corrupt = run("corrupt", "-", "-", input=(folder / "truth.png").read_bytes())
        assert (corrupt.returncode, corrupt.stderr) == (0, b"")
        restore = run("restore", "-", "-", "--mask", "mask.png", input=corrupt.stdout)
        assert (restore.returncode, restore.stderr) == (0, b"")
        with Image.open(io.BytesIO(restore.stdout)) as image:
            assert image.format == "PNG"
            expected = graddesc.restore(pixels("corrupt.png"), pixels("mask.png"), channel_axis=-1)
            np.testing.assert_array_equal(np.asarray(image), expected)

    @pytest.mark.parametrize("arguments", [("--help",), ("restore", "corrupt.png", "-")])
    @pytest.mark.posix
    def test_nobody_reads(self, folder, arguments):
        reader, writer = os.pipe()
        os.close(reader)
        process = run(*arguments, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert (process.returncode, process.stderr) == (141, "")

    @pytest.mark.parametrize("arguments", [("--version",), ("info",), ("restore", "corrupt.png", "-")])
    @pytest.mark.posix
    def test_a_full_disk(self, folder, arguments):
        with open("/dev/full", "w") as full:
            process = run(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert process.returncode == 1
        assert process.stderr.startswith("graddesc: error: ")
        assert process.stderr.endswith("No space left on device\n")
        assert len(process.stderr.splitlines()) == 1

    @pytest.mark.posix
    def test_standard_error_is_closed(self, folder):
        closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "graddesc", "restore"]
        noted = subprocess.run([*closed, "truth.png", "-"], stdout=subprocess.PIPE, timeout=60)
        assert noted.returncode == 0
        assert noted.stdout.startswith(b"\x89PNG")
        failed = subprocess.run([*closed, "absent.png", "out.png"], stdout=subprocess.PIPE, timeout=60)
        assert (failed.returncode, failed.stdout) == (1, b"")

    @pytest.mark.parametrize(("arguments", "code"), [(("restore", "truth.png", "out.png"), 0), (("restore",), 2)])
    @pytest.mark.posix
    def test_what_standard_error_does_not_take_is_no_failure(self, folder, arguments, code):
        with open("/dev/full", "w") as full:
            process = run(*arguments, capture_output=False, stdout=subprocess.PIPE, stderr=full)
        assert process.returncode == code
        assert os.path.exists("out.png") is (code == 0)

    @pytest.mark.posix
    def test_a_name_of_several_lines_is_told_on_one(self, folder, capfd):
        name = "a\nb\x1b[31m.png"
        process = run_here(capfd, ["restore", "corrupt.png", name])
        assert process.stdout.startswith("a\\nb\\x1b[31m.png: filled ")
        fails(run_here(capfd, ["restore", "corrupt.png", name]), 1, "a\\nb\\x1b[31m.png exists")

    def test_a_name_that_standard_output_cannot_encode(self, folder):
        process = run("restore", "corrupt.png", "\u00e4\udcff.png", env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"})
        assert (process.returncode, process.stderr) == (0, "")
        assert process.stdout.startswith("\\xe4\\udcff.png: filled ")

    def test_no_input(self, folder):
        fails(run("restore", "-", "out.png", input=""), 1, "standard input: not an image")


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("restore", "absent.png", "out.png"), 1, "absent.png: No such file or directory"),
            (("restore", ".", "out.png"), 1, ".: Is a directory"),
            (("restore", "corrupt.png", "truth.png"), 1, "truth.png exists; overwrite (--overwrite)"),
            (("restore", "corrupt.png", "absent/out.png"), 1, "there is no directory "),
            (("restore", "corrupt.png", "out.xyz"), 1, "out.xyz: the extension must be one of .png"),
            (("restore", "corrupt.png", "out"), 1, "out: the extension must be one of .png"),
            (("restore", "corrupt.png", "out.pgm"), 1, "cannot hold 8-bit colour"),
            pytest.param(
                *(("restore", "corrupt.png", "/proc/out.png"), 1, "cannot write to /proc"), marks=pytest.mark.posix
            ),
            (("restore", "corrupt.png", "out.png", "--animate", "absent/a.gif"), 1, "there is no directory "),
            (("restore", "corrupt.png", "out.png", "--mask", "absent.png"), 1, "absent.png: No such file"),
            (("restore", "corrupt.png", "out.png", "--mask", "small.png"), 1, "48 x 48 rows and columns, got 3 x 4"),
            (("restore", "corrupt.png", "out.png", "--loss", "nonsense"), 2, "must be one of edge, texture, line"),
            (("restore", "corrupt.png", "out.png", "--noise", "-1"), 2, "must be a non-negative number, got '-1'"),
            (("restore", "corrupt.png", "out.png", "--huber"), 2, "--huber goes with --noise"),
            (
                ("restore", "corrupt.png", "out.png", "--noise", "1", "--loss", "line"),
                1,
                "noise must not be given with",
            ),
            (("restore", "corrupt.png"), 2, "the following arguments are required: OUT"),
            (
                ("restore", "corrupt.png", "a.png", "--history", "a.png"),
                2,
                "OUT and --history are the same file: a.png",
            ),
            (("restore", "corrupt.png", "a.png", "--history", "./a.png"), 2, "are the same file: ./a.png"),
            (
                ("restore", "corrupt.png", "mask.png", "--mask", "mask.png", "--overwrite"),
                2,
                "--mask and OUT are the same",
            ),
            (
                ("restore", "x.gif", "a.png", "--animate", "x.gif", "--overwrite"),
                2,
                "IN and --animate are the same file",
            ),
            (("restore", "-", "out.png", "--mask", "-"), 2, "IN and --mask are the same file: -"),
            (("corrupt", "truth.png", "a.png", "--mask-out", "a.png"), 2, "OUT and --mask-out are the same file"),
            (
                ("corrupt", "truth.png", "a.png", "--mask-out", "truth.png", "--overwrite"),
                2,
                "IN and --mask-out are the",
            ),
            (("restore", "corrupt.png", "out.png", "--threads", "0"), 2, "must be a positive integer, got '0'"),
            (("restore", "corrupt.png", "out.png", "--max-iter", "1.5"), 2, "must be a positive integer, got '1.5'"),
            (("restore", "corrupt.png", "out.png", "--tol", "nan"), 2, "must be a non-negative number, got 'nan'"),
            (("restore", "corrupt.png", "out.png", "--tol", "-1"), 2, "must be a non-negative number, got '-1'"),
            (("restore", "corrupt.png", "out.png", "--max-time", "0"), 2, "must be a positive number, got '0'"),
            (("corrupt", "truth.png", "a.png", "--missing", "1.5"), 2, "must be a number between 0 and 1, got '1.5'"),
            (("corrupt", "truth.png", "a.png", "--seed", "-1"), 2, "must be a non-negative integer, got '-1'"),
            (("corrupt", "truth.png", "a.png", "--downsample", "0"), 2, "must be a positive integer, got '0'"),
            (("restore", "", "out.png"), 2, "argument IN: must be a path, got ''"),
            (("restore", "corrupt.png", ""), 2, "argument OUT: must be a path, got ''"),
            (("restore", "corrupt.png", "out.png", "--mask", ""), 2, "argument --mask: must be a path, got ''"),
            (("restore", "corrupt.png", "out.png", "--animate", ""), 2, "argument --animate: must be a path, got ''"),
            (("restore", "corrupt.png", "out.png", "--history="), 2, "argument --history: must be a path, got ''"),
            (("corrupt", "truth.png", "a.png", "--mask-out", ""), 2, "argument --mask-out: must be a path, got ''"),
            (("demo", "restore", "--output", ""), 2, "argument --output: must be a path, got ''"),
            (("restore", "corrupt.png", "truth.png", "--over"), 2, "unrecognized arguments: --over"),
            (("demo", "nonsense"), 2, "invalid choice: 'nonsense'"),
            (("demo", "restore", "--output", "truth.png"), 2, "--output must be a directory, got truth.png"),
            (("demo", "network", "--seed", "-1"), 2, "must be a non-negative integer, got '-1'"),
            (("demo", "restore", "--size", "1"), 1, "size must be an integer of at least 2, got 1"),
            ((), 2, "the following arguments are required: COMMAND"),
            (("nonsense",), 2, "invalid choice: 'nonsense'"),
        ],
    )
    def test_with_one_line_and_nothing_written(self, folder, capfd, arguments, code, message):
        """In this process, which is quicker; test_the_process does the same through a process of its own."""
        images.write("small.png", images.Picture(np.zeros((3, 4), np.uint8)))
        before = {path: path.read_bytes() for path in folder.iterdir()}
        fails(run_here(capfd, arguments), code, message)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before

    def test_the_process(self, folder):
        fails(run("restore", "absent.png", "out.png"), 1, "absent.png: No such file or directory")
        fails(run("restore"), 2, "the following arguments are required: IN, OUT")

    def test_outputs_are_checked_before_the_input_is_read(self, folder, capfd):
        (folder / "text.png").write_text("no image")
        fails(run_here(capfd, ("restore", "text.png", "truth.png")), 1, "truth.png exists")
        fails(run_here(capfd, ("restore", "text.png", "out.xyz")), 1, "the extension must be")
        fails(run_here(capfd, ("restore", "text.png", "out.png")), 1, "text.png: not an image")

    def test_libtiff_adds_no_line(self, folder):
        buffer = io.BytesIO()
        Image.fromarray(TRUTH).save(buffer, "TIFF", compression="tiff_adobe_deflate")
        data = bytearray(buffer.getvalue())
        data[300:310] = bytes(10)
        (folder / "damaged.tif").write_bytes(data)
        fails(run("restore", "damaged.tif", "out.png"), 1, "damaged.tif: damaged or truncated")

    def test_transparency_in_jpeg(self, folder, capfd):
        images.write("alpha.png", images.Picture(TRUTH, TRUTH[..., 0]))
        message = "out.jpg: JPEG cannot hold 8-bit colour with alpha; these can: .png, .tif, .tiff, .webp"
        fails(run_here(capfd, ("restore", "alpha.png", "out.jpg")), 1, message)

    @pytest.mark.posix
    def test_a_directory_without_permission(self, folder, capfd):
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere; /proc stands for such directories above")
        (folder / "closed").mkdir(mode=0o555)
        fails(run_here(capfd, ("restore", "corrupt.png", "closed/out.png")), 1, "Permission denied")


def run_here(capfd, arguments):
    """Run main() and return what a process would."""
    code = cli.main(list(arguments))
    captured = capfd.readouterr()
    return subprocess.CompletedProcess(arguments, code, captured.out, captured.err)


class TestStart:
    """The installed command, before its modules are there."""

    @staticmethod
    def start(*arguments, **environment):
        command = os.path.join(sysconfig.get_path("scripts"), "graddesc")
        return subprocess.run(
            [command, *arguments], capture_output=True, text=True, timeout=60, env={**ENVIRONMENT, **environment}
        )

    def test_the_command(self):
        assert self.start("--version").stdout == f"graddesc {graddesc.__version__}\n"
        assert self.start("restore").returncode == 2

    def test_an_unknown_level(self):
        fails(self.start("info", GRADDESC_ISA="foo"), 1, "GRADDESC_ISA must be one of ")
        fails(run("info", env={**ENVIRONMENT, "GRADDESC_ISA": "foo"}), 1, "GRADDESC_ISA must be one of ")

    def test_what_cannot_be_imported(self, tmp_path):
        (tmp_path / "argparse.py").write_text("raise ImportError('no\\nmodule')")
        fails(self.start("info", PYTHONPATH=str(tmp_path)), 1, "no module")

    def test_interrupted_while_it_imports(self, tmp_path):
        # The first is imported before the command is there, the second when it sets to work.
        for module in ("argparse", "numpy"):
            path = tmp_path / f"{module}.py"
            path.write_text("raise KeyboardInterrupt")
            process = self.start("corrupt", "absent.png", "out.png", PYTHONPATH=str(tmp_path))
            assert (process.returncode, process.stdout, process.stderr) == (130, "", "")
            path.unlink()


# The command, which tells by a line on standard output that it has come to a place, and stays there until it is ended.
AT = """
import os, sys, time
import graddesc
from graddesc.__main__ import main

def stay(*arguments, **options):
    print("here", flush=True)
    while True:
        time.sleep(0.01)

if sys.argv[1] == "write":
    os.fsync = stay
elif sys.argv[1] == "restore":
    graddesc.Plan.restore_array = stay
else:
    restore = graddesc.Plan.restore_array

    def told(*arguments, callback=None, **options):
        def callback(*report):
            print("here", flush=True)
        return restore(*arguments, callback=callback, **options)

    graddesc.Plan.restore_array = told
del sys.argv[1]
sys.exit(main())
"""
# At each import a child of the process goes on in its place, and is interrupted there. The imports of compiled modules
# are among them, which ask for modules that are there already.
AT_ANY_IMPORT = """
import builtins, os, signal, sys
from graddesc.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
parent = os.getpid()
real = builtins.__import__
ends = []

def end_a_child(name):
    if os.getpid() == parent:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            ends.append((name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))

def imports(name, *rest):
    if sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
        end_a_child(name)
    return real(name, *rest)

class Finder:
    def find_spec(name, path=None, target=None):
        end_a_child(name)

builtins.__import__ = imports
sys.meta_path.insert(0, Finder)
code = main()
if os.getpid() == parent:
    print(code, len(ends), [end for end in ends if end[1] != 130])
sys.exit(code)
"""


# Signals and where they come, each of these once at least.
ENDS = [*(("SIGINT", place) for place in ("restore", "iterate", "write"))]
ENDS += [("SIGTERM", "restore"), ("SIGHUP", "iterate"), ("SIGQUIT", "write")]


@pytest.mark.posix
class TestSignals:
    ARGUMENTS = ("restore", "corrupt.png", "out.png", "--tol", "0", "--max-iter", "100000000")

    @staticmethod
    def start(number, handler, place, *arguments):
        """Start the command with this handler of a signal, and return it when it has come to the place."""
        # A shell lets what it runs in the background ignore interrupts, and so whatever that runs.
        before = signal.signal(number, handler)
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", AT, place, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        finally:
            signal.signal(number, before)
        assert process.stdout.readline() == b"here\n"
        return process

    @pytest.mark.parametrize(("name", "place"), [end for end in ENDS if hasattr(signal, end[0])])
    def test_an_end_by_a_signal_leaves_nothing(self, folder, name, place):
        number, before = getattr(signal, name), sorted(os.listdir())
        arguments = self.ARGUMENTS if place != "write" else self.ARGUMENTS[:3]
        with self.start(number, signal.SIG_DFL, place, *arguments) as process:
            if place == "write":
                assert any(name.startswith(".graddesc-") for name in os.listdir())
            process.send_signal(number)
            # Read on: who writes into a full pipe does not end.
            assert process.communicate(timeout=60)[1] == b""
            assert process.returncode == 128 + number
        assert sorted(os.listdir()) == before

    def test_an_ignored_signal_stays_ignored(self, folder):
        with self.start(signal.SIGHUP, signal.SIG_IGN, "iterate", *self.ARGUMENTS) as process:
            process.send_signal(signal.SIGHUP)
            for _ in range(100):  # more than were under way
                assert process.stdout.readline() == b"here\n"
            process.send_signal(signal.SIGTERM)
            process.stdout.close()
            assert process.wait(60) == 128 + signal.SIGTERM

    def test_an_interrupt_at_any_import(self, folder):
        process = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", AT_ANY_IMPORT, "restore", "corrupt.png", "-"], capture_output=True
        )
        assert process.stderr == b""
        code, count, ends = process.stdout[process.stdout.index(b"IEND") + 8 :].split(maxsplit=2)
        assert (code, ends) == (b"0", b"[]\n")
        assert int(count) > 100

    def test_the_handler_is_restored(self, capfd):
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            assert run_here(capfd, ["info"]).returncode == 0
            assert run_here(capfd, ["restore", "absent.png", "out.png"]).returncode == 1
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_another_thread(self, folder, capfd):
        with ThreadPoolExecutor(1) as pool:
            process = pool.submit(run_here, capfd, ["restore", "corrupt.png", "out.png"]).result()
        assert (process.returncode, process.stderr) == (0, "")
        assert process.stdout.startswith("out.png: filled ")


class TestInformation:
    def test_info(self):
        process = run("info")
        assert process.returncode == 0
        assert process.stdout.startswith(f"graddesc {graddesc.__version__}, ")
        assert f"isa: {graddesc.build_config()['isa']}\n" in process.stdout
        assert f"numpy: {np.__version__}\n" in process.stdout

    def test_version(self):
        assert run("--version").stdout == f"graddesc {graddesc.__version__}\n"

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("restore",),
            ("corrupt",),
            ("demo",),
            ("demo", "restore"),
            ("demo", "quadratic"),
            ("demo", "rosenbrock"),
            ("demo", "network"),
            ("info",),
        ],
    )
    def test_help(self, capfd, arguments):
        process = run_here(capfd, [*arguments, "--help"])
        assert process.returncode == 0
        assert process.stdout.startswith("usage: graddesc")

    @pytest.mark.parametrize("given", [None, "3"])
    def test_a_restoration_loads_no_more_than_it_needs_and_no_threads_of_numpy(self, folder, given):
        code = """
import os, sys
from graddesc.__main__ import main
import numpy
from PIL import Image
before = set(sys.modules)
for extension in (".png", ".tif"):
    sys.argv[1:] = ["restore", "corrupt" + extension, "out" + extension]
    assert main() == 0
loaded = set(sys.modules) - before
some = "scipy numpy.ma tempfile json shlex graddesc.schedules graddesc.report graddesc.restoration.confidence".split()
usual = "PIL.BmpImagePlugin PIL.GifImagePlugin PIL.JpegImagePlugin PIL.PpmImagePlugin".split()
if not hasattr(Image, "_import_plugin_for_extension"):  # an old Pillow, which writes nothing without these
    loaded -= {*usual}
plugins = sorted(name for name in loaded if name.startswith("PIL.") and name.endswith("Plugin"))
print([name for name in some if name in loaded], plugins, os.environ["OPENBLAS_NUM_THREADS"], file=sys.stderr)
"""
        images.write("corrupt.tif", images.Picture(pixels("corrupt.png")))
        environment = {name: value for name, value in ENVIRONMENT.items() if name != "OPENBLAS_NUM_THREADS"}
        if given is not None:
            environment["OPENBLAS_NUM_THREADS"] = given
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert process.stderr == f"[] ['PIL.PngImagePlugin', 'PIL.TiffImagePlugin'] {given or 1}\n"

    def test_the_package_loads_without_its_heavy_parts(self):
        code = (
            "import sys, graddesc.cli; print([m for m in ('scipy', 'PIL', 'matplotlib', 'tqdm') if m in sys.modules])"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
