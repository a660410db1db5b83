"""``graddesc restore``: what is corrupt in files, many of them at once, and what is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import graddesc
from graddesc import cli, images, masks

RNG = np.random.default_rng(5)
DEM = 1500 + 400 * np.sin(np.arange(40) / 9)[None] * np.cos(np.arange(36) / 12)[:, None]
HOLE = np.zeros(DEM.shape, bool)
HOLE[10:15, 20:26] = True
GEO = [(33550, "d", 3, (30.0, 30.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 4e5, 45e5, 0), True)]
PHOTO = graddesc.samples.ginkgo(40)[:36]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capfd):
    """Run the command here; return its code, the lines on standard output, and those on standard error."""

    def run_here(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run_here


def write_tiff(name, array, **options):
    tifffile.imwrite(name, array, **{"photometric": "minisblack"} | options)


def write_png(name, array):
    Image.fromarray(array).save(name)


def pixels(name):
    return images.read(name).pixels


# ---- what is corrupt ----


def test_the_nodata_of_the_file(folder, run):
    damaged = np.where(HOLE, -9999, DEM).astype("f4")
    write_tiff("geo.tif", damaged, extratags=[*GEO, (42113, "s", 0, "-9999", True)])
    code, out, err = run("restore", "geo.tif", "out.tif")
    assert (code, err) == (0, [])
    assert out[0].startswith("out.tif: filled 30 of 1440 pixels (2.1%), ")
    filled = pixels("out.tif")
    np.testing.assert_array_equal(filled, graddesc.restore(damaged, HOLE))
    assert np.abs(filled - DEM)[HOLE].max() < 5
    with tifffile.TiffFile("out.tif") as file:
        assert file.pages[0].tags[33922].value == (0, 0, 0, 4e5, 45e5, 0)
        assert file.pages[0].tags[42113].value == "-9999"


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "f4", "f8"])
def test_the_nodata_that_is_given(folder, run, dtype):
    value = -9999 if dtype != "u2" else 60000
    damaged = np.where(HOLE, value, DEM).astype(dtype)
    write_tiff("in.tif", damaged)
    code, _, err = run("restore", "in.tif", "out.tif", "--nodata", value)
    assert (code, err) == (0, [])
    assert pixels("out.tif").dtype == dtype
    np.testing.assert_array_equal(pixels("out.tif"), graddesc.restore(damaged, HOLE))


def test_nodata_that_nothing_can_be(folder, run):
    write_png("in.png", PHOTO[..., 0])
    code, _, err = run("restore", "in.png", "out.png", "--nodata", "-9999")
    assert code == 1
    assert "nodata must be a value that uint8 can hold, got -9999" in err[0]
    code, _, err = run("restore", "in.png", "out.png", "--nodata", "much")
    assert code == 2
    write_tiff("byte.tif", PHOTO[..., 0], extratags=[(42113, "s", 0, "-9999", True)])  # as GDAL's files often say
    code, _, err = run("restore", "byte.tif", "out.tif")
    assert (code, err) == (0, ["graddesc: no pixel of byte.tif is corrupt"])


def test_nodata_as_people_write_it(folder, run):
    write_tiff("in.tif", np.where(HOLE, -3.4028234663852886e38, DEM).astype("f4"))
    code, _, err = run("restore", "in.tif", "out.tif", "--nodata", "-3.4028234663852886e+38")
    assert (code, err) == (0, [])
    assert np.abs(pixels("out.tif") - DEM)[HOLE].max() < 5
    # beside the file's own value, which is no source either
    two = np.where(HOLE, -9999, DEM).astype("f4")
    two[2, 3:6] = -32768
    write_tiff("two.tif", two, extratags=[(42113, "s", 0, "-9999", True)])
    assert run("restore", "two.tif", "both.tif", "--nodata", "-32768")[0] == 0
    np.testing.assert_array_equal(pixels("both.tif"), graddesc.restore(two, two < 0))


def test_nodata_of_colour_is_that_of_all_channels(folder, run):
    colour = np.where(HOLE[..., None], 0, PHOTO)
    colour[5, 5] = (200, 0, 0)  # sound
    write_tiff("in.tif", colour, photometric="rgb", extratags=[(42113, "s", 0, "0", True)])
    code, out, _ = run("restore", "in.tif", "out.tif")
    assert code == 0
    assert "filled 30 of 1440 pixels" in out[0]
    np.testing.assert_array_equal(pixels("out.tif")[5, 5], (200, 0, 0))


def test_floats_without_any_mark_are_an_error(folder, run):
    write_tiff("in.tif", DEM.astype("f4"))
    code, _, err = run("restore", "in.tif", "out.tif")
    assert code == 1
    assert err == ["graddesc: error: in.tif: no pixel is NaN: --mask or --nodata must tell what is corrupt"]
    assert not os.path.exists("out.tif")


def test_nan_and_nodata_beside_a_mask_are_corrupt_too(folder, run):
    damaged = np.where(HOLE, np.nan, DEM).astype("f4")
    write_tiff("in.tif", damaged)
    mask = np.zeros(DEM.shape, bool)
    mask[2, 3] = True
    write_png("mask.png", mask)
    code, _, err = run("restore", "in.tif", "out.tif", "--mask", "mask.png")
    assert (code, err) == (0, ["graddesc: 30 values of in.tif beside mask.png are nodata or NaN, and corrupt too"])
    np.testing.assert_array_equal(pixels("out.tif"), graddesc.restore(damaged, mask | HOLE))


def test_transparent_pixels_are_filled_and_become_opaque(folder, run):
    alpha = np.where(HOLE, 0, 255).astype(np.uint8)
    alpha[0] = 100  # half transparent: left alone
    write_png("in.png", np.dstack([np.where(HOLE[..., None], 0, PHOTO), alpha]))
    code, _, err = run("restore", "in.png", "out.png")
    assert (code, err) == (0, ["graddesc: 30 transparent pixels of in.png are filled, and become opaque"])
    result = images.read("out.png")
    assert (result.alpha[HOLE] == 255).all()
    assert (result.alpha[0] == 100).all()
    np.testing.assert_array_equal(result.pixels, graddesc.restore(PHOTO, HOLE, channel_axis=-1))
    # with a mask the alpha is nobody's business but the caller's
    write_png("mask.png", HOLE)
    code, _, err = run("restore", "in.png", "other.png", "--mask", "mask.png")
    assert (code, err) == (0, ["graddesc: 30 of the filled pixels of in.png stay transparent"])
    np.testing.assert_array_equal(images.read("other.png").alpha, alpha)


def test_a_mask_whose_hole_is_in_its_alpha(folder, run):
    write_png("in.png", PHOTO)
    write_png("hole.png", np.dstack([PHOTO, np.where(HOLE, 0, 255).astype(np.uint8)]))
    assert run("restore", "in.png", "out.png", "--mask", "hole.png")[0] == 0
    np.testing.assert_array_equal(pixels("out.png"), graddesc.restore(PHOTO, HOLE, channel_axis=-1))
    assert run("restore", "hole.png", "same.png", "--mask", "hole.png")[0] == 0
    np.testing.assert_array_equal(pixels("same.png"), pixels("out.png"))
    for paint in (255, (220, 30, 40, 255), (200, 200, 200, 128)):  # on nothing: is it the paint, or the rest?
        painted = np.zeros((*HOLE.shape, 4), np.uint8)
        painted[HOLE] = paint
        write_png("painted.png", painted)
        code, _, err = run("restore", "in.png", "never.png", "--mask", "painted.png")
        assert code == 1
        assert "painted.png: its colours are one mask and its alpha another: save it without one of them" in err[0]
    write_png("half.png", np.dstack([PHOTO, np.where(HOLE, 128, 255).astype(np.uint8)]))
    code, _, err = run("restore", "in.png", "never.png", "--mask", "half.png")
    assert code == 1
    assert "its alpha is half transparent" in err[0]


def test_a_mask_of_the_size_before_the_rotation(folder, run):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PHOTO).save("in.jpg", exif=exif.tobytes())
    write_png("mask.png", HOLE)
    code, _, err = run("restore", "in.jpg", "out.png", "--mask", "mask.png")
    assert code == 1
    assert "got 36 x 40, which the image has before its EXIF rotation: turn the mask as the image is shown" in err[-1]
    write_png("turned.png", np.ascontiguousarray(HOLE[::-1].T))
    code, _, err = run("restore", "in.jpg", "out.png", "--mask", "turned.png")
    assert (code, err) == (0, ["graddesc: in.jpg is turned as its EXIF says; turned.png is taken as it lies"])


def test_stacks_stay_stacks(folder, run):
    stack = np.stack([DEM + k for k in range(4)]).astype("u2")
    each = np.stack([np.roll(HOLE, k, axis=1) for k in range(4)])
    write_tiff("in.tif", np.where(each, 0, stack))
    write_tiff("masks.tif", each.astype("u1") * 255)
    write_png("mask.png", each.any(axis=0))
    for name, mask in (("masks.tif", each), ("mask.png", each.any(axis=0))):
        code, out, _ = run("restore", "in.tif", "out.tif", "--mask", name, "--overwrite", "--loss", "biharmonic")
        assert code == 0
        assert f"filled {np.broadcast_to(mask, stack.shape).sum()} of {stack.size} pixels" in out[0]
        expected = graddesc.restore(np.where(each, 0, stack), mask, frame_axis=0, loss="biharmonic")
        np.testing.assert_array_equal(pixels("out.tif"), expected)
    code, _, err = run("restore", "in.tif", "out.png", "--mask", "mask.png")
    assert code == 1
    assert "PNG cannot hold a stack of 16-bit grey; these can: .tif, .tiff, .npy" in err[0]
    write_tiff("two.tif", each[:2].astype("u1"))
    code, _, err = run("restore", "in.tif", "never.tif", "--mask", "two.tif")
    assert code == 1
    assert "the mask must have one frame or 4, as the image has, got 2" in err[0]


# ---- batches ----


def write_batch(count=3):
    for k in range(count):
        write_png(f"in{k}.png", np.where(RNG.random(DEM.shape) < 0.1, 255, PHOTO[..., 0]).astype(np.uint8))
    return [f"in{k}.png" for k in range(count)]


def test_a_batch_is_file_by_file(folder, run):
    names = write_batch()
    code, out, err = run("restore", *names, "new/place/")
    assert (code, err, len(out)) == (0, [], 3)
    for name in names:
        assert run("restore", name, f"single-{name}")[0] == 0
        np.testing.assert_array_equal(pixels(f"new/place/{name}"), pixels(f"single-{name}"))


def test_a_fault_in_one_file_costs_the_others_nothing(folder, run):
    names = write_batch()
    Path("bad.png").write_text("no image")
    os.mkdir("out")
    Path("out/in2.png").write_text("mine")
    code, out, err = run("restore", names[0], "bad.png", *names[1:], "out")
    assert code == 1
    assert len(out) == 2
    assert len(err) == 2
    assert err[0].startswith("graddesc: error: bad.png: not an image")
    assert "in2.png" in err[1]
    assert "exists" in err[1]
    assert sorted(os.listdir("out")) == ["in0.png", "in1.png", "in2.png"]
    assert Path("out/in2.png").read_text() == "mine"


def test_not_converged_in_a_batch(folder, run):
    code, _, err = run("restore", *write_batch(), "out", "--max-iter", "1", "--tol", "0")
    assert code == 3
    assert [line.split(": ")[1] for line in err] == [os.path.join("out", f"in{k}.png") for k in range(3)]


def test_masks_of_a_batch(folder, run):
    names = write_batch()
    os.mkdir("masks")
    for k, name in enumerate(names[:2]):
        write_png(f"masks/{name}", np.roll(HOLE, k, axis=0))
    code, _, err = run("restore", *names, "out", "--mask", "masks")
    assert code == 1
    assert len(err) == 1
    assert os.path.join("masks", "in2.png") in err[0]
    for k, name in enumerate(names[:2]):
        expected = graddesc.restore(pixels(name), np.roll(HOLE, k, axis=0))
        np.testing.assert_array_equal(pixels(f"out/{name}"), expected)
    write_png("one.png", HOLE)
    assert run("restore", *names, "shared", "--mask", "one.png")[0] == 0
    for name in names:
        np.testing.assert_array_equal(pixels(f"shared/{name}"), graddesc.restore(pixels(name), HOLE))


def test_nobody_reads_what_a_batch_tells(folder):
    names = write_batch(30)
    code = "import sys; from graddesc.cli import main; sys.exit(main())"
    command = [sys.executable, "-u", "-c", code, "restore", *names, "out", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == ""


def test_a_plan_serves_all_files_with_its_mask(folder, run, monkeypatch):
    made = []

    class Plan(graddesc.Plan):
        def __init__(self, *arguments, **options):
            made.append(1)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(graddesc, "Plan", Plan)
    write_png("mask.png", HOLE)
    assert run("restore", *write_batch(5), "out", "--mask", "mask.png")[0] == 0
    assert len(made) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in0.png", "in1.png", "out.png"], "OUT must be a directory (end it with /) for 2 inputs, got out.png"),
        (["in0.png", "in1.png", "in2.png"], "OUT must be a directory (end it with /) for 2 inputs, got in2.png"),
        (["in0.png", "in2.png/"], "OUT must be a directory (end it with /) for 1 inputs, got in2.png/"),
        (["in0.png", "in1.png", "-"], "OUT must be a directory (end it with /) for 2 inputs, got -"),
        (["in0.png", "in1.png", ".", "--overwrite", "--mask", "."], None),
        (["in0.png", "in1.png", "m/", "--overwrite", "--mask", "m"], "--mask and OUT are the same file: m/in0.png"),
        (["in0.png", "in1.png", "m/", "--mask", "m/in0.png"], "--mask and OUT are the same file: m/in0.png"),
        (["m/in0.png", "in1.png", "l/", "--overwrite"], "IN and OUT are the same file: l/in0.png"),
        (["in0.png", "-", "out"], "IN - has no name to write it by"),
        (["in0.png", "other/in0.png", "out"], "in0.png and other/in0.png would be the same file in out"),
        (["in0.png", "in1.png", "out", "--history", "h.png"], "--history goes with one input, got 2"),
        (["in0.png", "in1.png", "out", "--confidence", "c.tif"], "--confidence goes with one input, got 2"),
        (["in0.png", "-", "--json"], "--json and OUT - both want standard output"),
    ],
)
@pytest.mark.posix
def test_wrong_usage(folder, run, arguments, message):
    write_batch()
    for directory in ("m", "l"):
        os.mkdir(directory)
    for name in ("in0.png", "in1.png"):
        write_png(f"m/{name}", HOLE)
    os.symlink(os.path.abspath("in1.png"), "l/in0.png")
    before = sorted(os.listdir())
    code, _, err = run("restore", *arguments)
    if message is None:  # inputs that are their own masks, and are replaced, as was asked for
        assert code in (0, 1)
        return
    assert code == 2
    assert message in err[-1]
    assert sorted(os.listdir()) == before


def test_one_file_into_a_directory(folder, run):
    write_batch(1)
    os.mkdir("out")
    assert run("restore", "in0.png", "out", "--history", "h.png")[0] == 0
    assert os.path.exists("out/in0.png")
    assert os.path.exists("h.png")


# ---- what is told ----


def test_json(folder, run):
    names = write_batch(2)
    Path("bad.png").write_text("no image")
    code, out, err = run("restore", *names, "bad.png", "out", "--json", "--loss", "harmonic")
    assert code == 1
    assert len(err) == 1
    first, second, fault = map(json.loads, out)
    mask = masks.detect(pixels("in0.png"))
    _, info = graddesc.restore(pixels("in0.png"), mask, loss="harmonic", full_output=True)
    assert first.pop("seconds") >= 0
    assert first.pop("with_confidence") is False
    assert first == {
        "input": "in0.png",
        "output": os.path.join("out", "in0.png"),
        "shape": [36, 40],
        "dtype": "uint8",
        "pixels": mask.size,
        "corrupt": int(mask.sum()),
        "extremes": [0, 255],
        "loss": "harmonic",
        "noise": 0.0,
        "fun": info.fun,
        "nit": info.nit,
        "status": 0,
        "success": True,
        "message": info.message,
        "tiles": None,
    }
    assert second["input"] == "in1.png"
    assert fault["error"].startswith("bad.png: not an image")


@pytest.mark.parametrize("name", ["c.tif", "c.npy", "c.png"])
def test_confidence(folder, run, name):
    write_batch(1)
    write_png("mask.png", HOLE)
    assert run("restore", "in0.png", "out.png", "--mask", "mask.png", "--confidence", name)[0] == 0
    _, info = graddesc.restore(pixels("in0.png"), HOLE, full_output=True, confidence=True)
    expected = np.rint(info.confidence * 65535) if name == "c.png" else info.confidence
    np.testing.assert_array_equal(pixels(name), expected)
    assert run("restore", "in0.png", "no.png", "--confidence", "c.jpg")[0] == 2


def test_the_report_tells_what_was_done(folder, run):
    write_batch(1)
    write_png("mask.png", HOLE)
    arguments = ["restore", "in0.png", "out.png", "--mask", "mask.png", "--loss", "harmonic", "--report", "page.html"]
    code, out, _ = run(*arguments)
    assert code == 0
    assert out[0].endswith(" s with the confidence")
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<dt>Loss</dt><dd>harmonic, " in page
    assert f"graddesc {' '.join(arguments)} --overwrite</code>" in page
    assert "can be trusted" in page
    assert run(*arguments, "--overwrite")[0] == 0


def test_the_losses_are_those_of_the_package(folder, run):
    for loss in cli._LOSSES:
        graddesc.losses.by_name(loss)
    with pytest.raises(ValueError, match="loss must be") as told:
        graddesc.losses.by_name("nosuch")
    assert all(repr(loss) in str(told.value) for loss in cli._LOSSES)
    assert str(told.value).count("'") == 2 * len(cli._LOSSES) + 2
    code, _, err = run("restore", "a.png", "b.png", "--loss", "nosuch")
    assert code == 2
    assert all(loss in err[-1] for loss in cli._LOSSES)
    code, out, _ = run("restore", "--help")
    text = " ".join(" ".join(out).split())
    assert code == 0
    assert f"one of {', '.join(cli._LOSSES)} (default: edge)" in text
    for option in ("--max-iter", "--max-time", "--tol", "--threads", "--nodata", "--mask"):
        assert "(default: " in text.split(f" {option} ")[-1].split(" --")[0], option


# ---- in tiles ----


def test_an_image_that_wants_more_memory_is_restored_in_tiles(folder, run):
    photograph = graddesc.samples.ginkgo(200)
    mask = np.random.default_rng(0).random(photograph.shape[:2]) < 0.5
    write_png("in.png", np.where(mask[..., None], 0, photograph).astype("u1"))
    write_png("mask.png", mask.astype("u1") * 255)
    whole = run("restore", "in.png", "whole.png", "--mask", "mask.png")
    assert whole[0] == 0
    assert "iterations" in whole[1][0]
    tiled = run("restore", "in.png", "tiled.png", "--mask", "mask.png", "--max-memory", "8m")
    assert tiled[0] == 0
    assert f"filled {mask.sum()} of 40000 pixels ({100 * mask.mean():.1f}%), 9 tiles" in tiled[1][0]
    code, (line,), _ = run("restore", "in.png", "again.png", "--mask", "mask.png", "--max-memory", "8000K", "--json")
    told = json.loads(line)
    assert (code, told["tiles"], told["nit"], told["fun"], told["success"]) == (0, 9, None, None, True)
    np.testing.assert_array_equal(pixels("tiled.png")[~mask], pixels("in.png")[~mask])
    np.testing.assert_array_equal(pixels("again.png"), pixels("tiled.png"))
    difference = pixels("tiled.png")[mask] - pixels("whole.png")[mask].astype(float)
    assert 0 < np.abs(difference).mean() < 0.5
    for option in (("--animate", "a.gif"), ("--history", "h.png"), ("--report", "r.html"), ("--confidence", "c.png")):
        code, _, (line,) = run("restore", "in.png", "new.png", "--mask", "mask.png", "--max-memory", "8M", *option)
        assert code == 1
        assert f"{option[0]} wants the whole image solved at once, which takes more than --max-memory" in line
        assert not os.path.exists(option[1])
    code, _, (line,) = run("restore", "in.png", "new.png", "--mask", "mask.png", "--max-memory", "9K")
    assert code == 1
    assert line.endswith("a tile of 64 by 64 pixels takes more than 9216 bytes of memory")
    assert not os.path.exists("new.png")
    code, _, (line,) = run("restore", "in.png", "new.png", "--mask", "mask.png", "--max-memory", "8M", "--loss", "line")
    assert code == 1
    assert "--loss line wants the whole image solved at once" in line
    write_tiff("stack.tif", np.stack([photograph[..., 0]] * 2))
    code, _, (line,) = run("restore", "stack.tif", "new.tif", "--mask", "mask.png", "--max-memory", "8M")
    assert code == 1
    assert "stack.tif is a stack of frames: --max-memory goes with one image" in line
    for wrong in ("0", "-1G", "1X", "G", "nan", "inf"):
        assert run("restore", "in.png", "new.png", f"--max-memory={wrong}")[0] == 2


def test_what_is_nan_is_seen_healing_from_black(folder, run):
    write_tiff("dem.tif", np.where(HOLE, np.nan, DEM).astype("f4"))
    code, _, err = run("restore", "dem.tif", "out.tif", "--animate", "heal.png")
    assert (code, err) == (0, [])
    with Image.open("heal.png") as film:
        assert film.n_frames > 3
        film.seek(0)
        assert (np.asarray(film.convert("L"))[HOLE] == 0).all()
    np.testing.assert_array_equal(pixels("out.tif"), graddesc.restore(pixels("dem.tif")))
    code, _, err = run("restore", "dem.tif", "classic.tif", "--classic", "--loss", "line")
    assert (code, err) == (0, [])
    least = pixels("dem.tif")[~HOLE].min()
    wanted = graddesc.restore(
        pixels("dem.tif"),
        loss="line",
        step=graddesc.InverseTime(1.5, floor=0.015),
        init=np.full(DEM.shape, least),
        max_iter=500,
    )
    np.testing.assert_array_equal(pixels("classic.tif"), wanted)
    write_tiff("more.tif", np.where(HOLE, np.nan, np.where(DEM > 1800, np.inf, DEM)).astype("f4"))
    write_png("hole.png", HOLE.astype("u1"))
    code, _, (line,) = run("restore", "more.tif", "more-out.tif", "--classic")
    assert code == 1
    assert "image must be finite where it is known" in line


# ---- volumes ----

VOLUME = np.rint(100 + 50 * np.sin(np.mgrid[:6, :9, :40].sum(axis=0) / 5)).astype(np.uint8)
GONE = np.random.default_rng(6).random(VOLUME.shape) < 0.6


@pytest.mark.parametrize("name", ["scan.tif", "scan.npy"])
def test_a_stack_as_a_volume(folder, run, name):
    for path, array in ((name, np.where(GONE, 0, VOLUME)), (f"gone-{name}", 255 * GONE.astype(np.uint8))):
        if name.endswith(".npy"):
            np.save(path, array)
        else:
            write_tiff(path, array)
    code, out, _ = run(
        "restore", name, f"out-{name}", "--volume", "--mask", f"gone-{name}", "--confidence", "trust.npy"
    )
    assert code == 0
    assert f"filled {GONE.sum()} of {GONE.size} pixels" in out[0]
    corrupted = np.where(GONE, 0, VOLUME)
    np.testing.assert_array_equal(pixels(f"out-{name}"), graddesc.restore(corrupted, GONE, spacing=(1, 1, 1)))
    assert np.load("trust.npy").shape == VOLUME.shape
    assert run("restore", name, f"wide-{name}", "--volume", "--spacing", "3,1,1", "--mask", f"gone-{name}")[0] == 0
    np.testing.assert_array_equal(pixels(f"wide-{name}"), graddesc.restore(corrupted, GONE, spacing=(3, 1, 1)))


def test_a_volume_that_wants_more_memory_is_restored_in_tiles(folder, run):
    volume = np.add.outer(np.add.outer(np.arange(40), np.arange(160)), np.arange(150)).astype(np.uint16)
    mask = np.random.default_rng(1).random(volume.shape) < 1e-4
    np.save("in.npy", np.where(mask, 0, volume))
    np.save("mask.npy", mask)
    options = "--volume", "--mask", "mask.npy", "--loss", "biharmonic", "--spacing", "2,1,1", "--max-memory", "86M"
    code, out, _ = run("restore", "in.npy", "out.npy", *options)
    assert code == 0
    assert "20 tiles" in out[0]
    np.testing.assert_array_equal(np.load("out.npy"), volume)


def test_what_volumes_do_not_go_with(folder, run):
    write_tiff("scan.tif", VOLUME)
    write_tiff("gone.tif", 255 * GONE.astype(np.uint8))
    write_tiff("one.tif", 255 * GONE[0].astype(np.uint8))
    mask = "--mask", "gone.tif"
    for arguments, code, message in [
        (
            ("scan.tif", "out.tif", "--volume", "--mask", "one.tif"),
            1,
            "one.tif: the mask of a volume must have its 6 pl",
        ),
        (("one.tif", "out.tif", "--volume"), 1, "one.tif is one image: --volume goes with a stack"),
        (("scan.tif", "out.tif", "--volume", *mask, "--spacing", "3,1"), 1, "spacing must be a positive finite number"),
        (("scan.tif", "out.tif", "--volume", *mask, "--spacing", "3,0,1"), 2, "--spacing: must be a positive number"),
        (("scan.tif", "out.tif", "--volume", *mask, "--loss", "line"), 1, "loss must be one of local differences"),
        (
            ("scan.tif", "out.tif", "--volume", *mask, "--max-memory", "9K"),
            1,
            "a tile of 32 by 32 by 32 voxels takes",
        ),
    ]:
        found, _, err = run("restore", *arguments)
        assert found == code
        assert message in err[-1]
        assert not Path("out.tif").exists()


def test_pixels_that_are_not_squares(folder, run):
    image, mask = VOLUME[0].astype("f4"), GONE[0]
    write_tiff("map.tif", np.where(mask, np.nan, image))
    assert run("restore", "map.tif", "out.tif", "--spacing", "1,2")[0] == 0
    np.testing.assert_array_equal(pixels("out.tif"), graddesc.restore(image, mask, spacing=(1, 2)))


# ---- which axis has the bands ----

CUBE = np.stack([np.sin(np.arange(20)[:, None] / 6 + k) * np.cos(np.arange(25) / 5) for k in range(5)], -1).astype("f4")
HOLES = np.random.default_rng(7).random(CUBE.shape) < 0.3


@pytest.mark.parametrize(("axis", "place"), [(0, "0"), (1, "1"), (2, "2"), (2, "-1")])
def test_bands_of_arrays(folder, run, axis, place):
    wanted = graddesc.restore(np.where(HOLES, np.nan, CUBE), channel_axis=-1)
    np.save("cube.npy", np.moveaxis(np.where(HOLES, np.nan, CUBE), -1, axis))
    code, out, _ = run("restore", "cube.npy", "out.npy", f"--channel-axis={place}", "--json")
    assert code == 0
    np.testing.assert_array_equal(np.load("out.npy"), np.moveaxis(wanted, -1, axis))
    told = json.loads(out[0])
    assert told["shape"] == list(np.load("out.npy").shape)
    assert told["corrupt"] == HOLES.any(axis=-1).sum()

    # A value for nodata is missing band by band as well.
    np.save("cube.npy", np.moveaxis(np.where(HOLES, -9999, CUBE), -1, axis))
    assert run("restore", "cube.npy", "out.npy", f"--channel-axis={place}", "--nodata=-9999", "--overwrite")[0] == 0
    np.testing.assert_array_equal(np.load("out.npy"), np.moveaxis(wanted, -1, axis))

    # A mask of all bands, one for each, and bands as the samples or the pages of a TIFF file.
    np.save("cube.npy", np.moveaxis(CUBE, -1, axis))
    np.save("one.npy", HOLES[..., 0])
    np.save("each.npy", np.moveaxis(HOLES, -1, axis))
    for name, mask in (("one.npy", HOLES[..., 0]), ("each.npy", HOLES)):
        wanted = graddesc.restore(CUBE, mask, channel_axis=-1)
        options = f"--channel-axis={place}", "--mask", name, "--overwrite"
        assert run("restore", "cube.npy", "out.npy", *options)[0] == 0
        np.testing.assert_array_equal(np.load("out.npy"), np.moveaxis(wanted, -1, axis))
        assert run("restore", "cube.npy", "out.tif", *options)[0] == 0
        stored = np.moveaxis(wanted, -1, 0) if axis == 0 else wanted
        np.testing.assert_array_equal(tifffile.imread("out.tif"), stored)
    more = ["--channel-axis=0"] if axis == 0 else []
    np.save("as-stored.npy", np.moveaxis(HOLES, -1, 0) if axis == 0 else HOLES)
    assert run("restore", "out.tif", "each.tif", "--mask", "as-stored.npy", *more)[0] == 0
    both = graddesc.restore(wanted, HOLES, channel_axis=-1)
    np.testing.assert_array_equal(tifffile.imread("each.tif"), np.moveaxis(both, -1, 0) if axis == 0 else both)
    assert run("restore", "out.tif", "again.tif", "--mask", "one.npy", *more)[0] == 0
    wanted = graddesc.restore(wanted, HOLES[..., 0], channel_axis=-1)
    np.testing.assert_array_equal(tifffile.imread("again.tif"), np.moveaxis(wanted, -1, 0) if axis == 0 else wanted)


def test_bands_of_a_tiff_file_go_to_numpy_when_they_are_told(folder, run):
    bands = np.where(HOLES, np.nan, CUBE)
    write_tiff("bands.tif", bands, photometric="minisblack", planarconfig="contig", extrasamples=[0] * 4)
    code, _, (line,) = run("restore", "bands.tif", "out.npy")
    assert code == 0
    wide = np.concatenate([bands] * 4, axis=-1)
    write_tiff("wide.tif", wide, photometric="minisblack", planarconfig="contig", extrasamples=[0] * 19)
    code, _, (line,) = run("restore", "wide.tif", "wide.npy")
    assert (code, "would be read as a stack of 32-bit floating-point grey" in line) == (1, True), line
    assert not Path("wide.npy").exists()
    assert run("restore", "wide.tif", "wide.npy", "--channel-axis=2", "--confidence=trust.npy")[0] == 0
    np.testing.assert_array_equal(np.load("wide.npy"), graddesc.restore(wide, channel_axis=-1))
    assert np.load("trust.npy").shape == wide.shape
    assert run("restore", "wide.tif", "again.tif", "--confidence=again.npy")[0] == 0
    np.testing.assert_array_equal(np.load("again.npy"), np.load("trust.npy"))


def test_frames_of_arrays(folder, run):
    damaged = np.where(HOLES, np.nan, CUBE)
    np.save("cube.npy", damaged)
    assert run("restore", "cube.npy", "out.npy", "--frame-axis", "2")[0] == 0
    np.testing.assert_array_equal(np.load("out.npy"), graddesc.restore(damaged, frame_axis=2))
    # A volume whose last axis might be one of colours, with planes along its first axis, or the last.
    np.save("three.npy", damaged[..., :3])
    gone = np.isnan(damaged[..., :3])
    np.save("gone.npy", gone)
    for more in ([], ["--frame-axis=2"]):
        options = "--volume", "--mask", "gone.npy", "--overwrite", *more
        assert run("restore", "three.npy", "out.npy", *options)[0] == 0
        turned = (2, 0, 1) if more else (0, 1, 2)
        whole = graddesc.restore(damaged[..., :3].transpose(turned), gone.transpose(turned), spacing=(1, 1, 1))
        np.testing.assert_array_equal(np.load("out.npy"), whole.transpose(np.argsort(turned)))
    np.save("film.npy", np.stack([damaged, damaged[::-1]], 1))
    assert run("restore", "film.npy", "film-out.npy", "--frame-axis", "1", "--channel-axis", "3")[0] == 0
    wanted = graddesc.restore(np.load("film.npy"), frame_axis=1, channel_axis=3)
    np.testing.assert_array_equal(np.load("film-out.npy"), wanted)


def test_axes_that_are_not_there(folder, run):
    np.save("cube.npy", CUBE)
    np.save("flat.npy", CUBE[..., 0])
    np.save("film.npy", np.stack([CUBE] * 2))
    np.save("four.npy", HOLES[..., :4])
    write_png("photo.png", PHOTO)
    write_tiff("stack.tif", VOLUME)
    for arguments, code, message in [
        (("cube.npy", "--channel-axis=3"), 1, "the channel axis must be one of the 3 axes of shape (20, 25, 5), got 3"),
        (("cube.npy", "--frame-axis=-4"), 1, "the frame axis must be one of the 3 axes of shape (20, 25, 5), got -4"),
        (("cube.npy", "--channel-axis=x"), 2, "--channel-axis: must be an integer, the number of an axis, got 'x'"),
        (("cube.npy", "--channel-axis=2", "--frame-axis=2"), 2, "--channel-axis and --frame-axis are both 2"),
        (("cube.npy", "--channel-axis=2", "--frame-axis=-1"), 1, "of shape (20, 25, 5) are both 2"),
        (("cube.npy", "--channel-axis=2", "--frame-axis=0"), 1, "no rows and columns beside the axes that are told"),
        (("flat.npy", "--channel-axis=0"), 1, "(20, 25) has no rows and columns beside the axes that are told"),
        (("film.npy",), 1, "the channel axis and the frame axis may be told"),
        (("film.npy", "--frame-axis=0"), 1, "which axis beside axis 0 has the channels must be told"),
        (("cube.npy", "--channel-axis=2", "--mask=four.npy"), 1, "the mask must have the image's 5 bands, got 4"),
        (("cube.npy", "--channel-axis=2", "--volume"), 1, "cube.npy is one image: --volume goes with a stack"),
        (
            ("cube.npy", "--channel-axis=2", "--report=a.html"),
            1,
            "cube.npy has 5 bands: --report goes with grey or RGB",
        ),
        (("photo.png", "--channel-axis=0"), 1, "8-bit colour of shape (36, 40, 3) has no channel axis of 0"),
        (("stack.tif", "--frame-axis=1"), 1, "a stack of 8-bit grey of shape (6, 9, 40) has no frame axis of 1"),
    ]:
        suffix = ".npy" if arguments[0].endswith("npy") else ".tif"
        found, _, err = run("restore", arguments[0], f"out{suffix}", *arguments[1:])
        assert (found, message in err[-1]) == (code, True), err
        assert not Path(f"out{suffix}").exists()
    code, _, (line,) = run("restore", "cube.npy", "out.png", "--channel-axis=2")
    assert line.endswith("PNG cannot hold 32-bit floating-point bands, 5 of them; these can: .tif, .tiff, .npy")
    np.save("bytes.npy", np.moveaxis((CUBE * 50 + 100).astype("u1"), -1, 0))
    assert run("corrupt", "bytes.npy", "out.npy", "--channel-axis=0", "--missing=0.5", "--mask-out=m.png")[0] == 0
    changed = (np.load("out.npy") != np.load("bytes.npy")).all(axis=0)
    np.testing.assert_array_equal(changed, pixels("m.png") > 0)


def test_arrays_of_another_kind_than_written_are_told(folder, run):
    flags = np.zeros((9, 8), bool)
    flags[3:5, 2:4] = True
    np.save("hole.npy", flags)
    for array, kind, written in (
        (~flags, "bool", "8-bit grey"),
        (CUBE[:9, :8, :1], "a last axis of length 1", "32-bit floating-point grey"),
        (CUBE[:9, :8, 0], None, None),
    ):
        np.save("in.npy", array)
        code, _, err = run("restore", "in.npy", "out.npy", "--mask", "hole.npy", "--overwrite")
        assert code == 0
        told = [] if kind is None else [f"graddesc: in.npy holds {kind}, which is written as {written}"]
        assert err == told
        assert np.load("out.npy").shape == (9, 8)


def test_pixels_of_another_kind_than_written_are_told(folder, run):
    flags = np.zeros((9, 8), bool)
    flags[3:5, 2:4] = True
    write_png("hole.png", flags)  # of one bit
    write_png("in.png", ~flags)
    write_png("plain.png", np.full((9, 8), 90, "u1"))
    Image.fromarray(PHOTO[:9, :8]).quantize(8).save("few.gif")
    for name, kind in (("in.png", "1-bit grey, which is written as 8-bit grey"), ("few.gif", "a palette, which is w")):
        _, _, err = run("restore", name, "out.png", "--mask", "hole.png", "--overwrite")
        assert any(line.startswith(f"graddesc: {name} holds {kind}") for line in err)
    assert run("restore", "plain.png", "out.png", "--mask", "hole.png", "--overwrite")[2] == []
