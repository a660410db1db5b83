"""The page that heals photographs: its script, in a browser with a stand-in for its worker; what the worker runs."""

import hashlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import zipfile

import browser
import numpy as np
import pytest
from PIL import Image
from serving import served

import graddesc

DOCS = pathlib.Path(__file__).parents[2] / "docs"
needs_browser = pytest.mark.skipif(browser.PATH is None, reason="there is no Chromium")

# Fills what is missing with ever lighter grey. "line" fails; "tv" never ends, and hears nothing while it computes.
STAND_IN = """
self.onmessage = ({ data }) => {
  const { pixels, missing, rows, cols, loss, pyodide } = data;
  if (!pyodide.startsWith("https://") || pixels.length !== 3 * rows * cols || missing.length !== rows * cols) {
    throw new Error("the task is not as it should be");
  }
  if (loss === "line") return postMessage({ kind: "error", text: "It cannot be done." });
  const fill = (value) => {
    const filled = pixels.slice();
    for (let i = 0; i < missing.length; i++) if (missing[i]) filled.fill(value, 3 * i, 3 * i + 3);
    return filled;
  };
  postMessage({ kind: "status", text: "Healing" });
  for (let iteration = 1; iteration <= 3 || loss === "tv"; iteration++) {
    postMessage({ kind: "picture", iteration, pixels: fill(40 * Math.min(iteration, 3)) });
  }
  postMessage({ kind: "done", pixels: fill(160), seconds: 0.25, message: "It has settled." });
};
"""


def write_page(folder):
    """The page without the site around it."""
    page = (DOCS / "heal.md").read_text(encoding="utf-8")
    body = re.search(r"```\{raw\} html\n(.*?)```", page, re.DOTALL)[1]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += '<link rel="icon" href="data:,"><title>Heal</title>'
    (folder / "heal.html").write_text(f"{head}<body><h1>Heal</h1>{body}</body></html>", encoding="utf-8")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page without the site around it, and with the stand-in."""
    folder = tmp_path_factory.mktemp("site")
    write_page(folder)
    shutil.copytree(DOCS / "_static" / "heal", folder / "_static" / "heal")
    (folder / "_static" / "heal" / "worker.js").write_text(STAND_IN)
    Image.fromarray(graddesc.samples.ginkgo(512)).save(folder / "_static" / "heal" / "ginkgo.png")
    with served(folder) as root:
        yield f"{root}/heal.html"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with browser.opened(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(opened, address):
    page = opened(address, 1000, 900)
    yield page
    assert page.errors == []


def told(page):
    return page.evaluate("document.querySelector('[data-part=status]').textContent")


def pixels(page):
    """What the canvas holds, shape (rows, cols, 3)."""
    width, height, values = page.evaluate(
        """(() => {
            const canvas = document.querySelector("canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.width, canvas.height, [...data]];
        })()"""
    )
    values = np.array(values, np.uint8).reshape(height, width, 4)
    assert (values[..., 3] == 255).all()
    return values[..., :3]


def take_sample(page):
    page.click('[data-part="sample"]')
    page.wait_until("!document.querySelector('[data-part=stage]').hidden")


def choose(page, name, value):
    page.evaluate(
        f"""(() => {{
            const list = document.querySelector('[data-part="{name}"]');
            list.value = "{value}";
            list.dispatchEvent(new Event("change", {{ bubbles: true }}));
        }})()"""
    )


def heal(page):
    page.click('[data-part="run"]')
    page.wait_until("document.querySelector('[data-part=status]').textContent.includes('restored in')")


def covered(image, truth):
    """The mask of noise: pixels that are black or white and were not."""
    return (image != truth).any(axis=-1)


@needs_browser
class TestPage:
    def test_a_sample_is_covered_and_healed(self, page):
        assert page.evaluate("document.querySelector('[data-part=run]').disabled")
        take_sample(page)
        choose(page, "side", 256)
        corrupt = pixels(page)
        assert corrupt.shape == (256, 256, 3)
        noise = np.isin(corrupt, (0, 255)).all(axis=-1)
        assert 0.87 < noise.mean() < 0.93  # the slider says 90 %
        assert 0.4 < (corrupt[noise] == 255).mean() < 0.6

        heal(page)
        assert "0.25 s" in told(page)
        assert "It has settled." in told(page)
        assert " dB" in told(page)
        page.evaluate("document.querySelector('[data-part=split]').focus()")
        page.press("Home", 36)  # nothing of the picture before
        healed = pixels(page)
        assert (healed[~noise] == corrupt[~noise]).all()
        assert (healed[noise] == 160).all()
        page.press("End", 35)
        assert (pixels(page)[:, :240] == corrupt[:, :240]).all()

    def test_the_handle_follows_the_mouse(self, page):
        take_sample(page)
        before = pixels(page)
        heal(page)
        page.evaluate("document.querySelector('canvas').scrollIntoView({ block: 'center', behavior: 'instant' })")
        box = "document.querySelector('canvas').getBoundingClientRect()"
        x, y, width, height = page.evaluate(f"(({{x, y, width, height}}) => [x, y, width, height])({box})")
        page.mouse("mousePressed", x + 0.25 * width, y + height / 2)
        page.mouse("mouseReleased", x + 0.25 * width, y + height / 2)
        assert page.evaluate("document.querySelector('[data-part=split]').value") == "25"
        now = pixels(page)
        side = now.shape[1]
        assert (now[:, : side // 4 - 4] == before[:, : side // 4 - 4]).all()
        assert (now[:, side // 4 + 4 :] != before[:, side // 4 + 4 :]).any()
        page.click('[value="original"]')
        original = pixels(page)[:, : side // 4 - 4]
        assert (original != before[:, : side // 4 - 4]).any(axis=-1).mean() > 0.85

    def test_the_slider_covers_more_and_uncovers_none(self, page):
        take_sample(page)
        choose(page, "side", 256)
        page.evaluate("document.querySelector('[data-part=share]').focus()")
        page.press("Home", 36)
        assert page.evaluate("document.querySelector('[data-part=share-told]').textContent") == "1 %"
        few = np.isin(pixels(page), (0, 255)).all(axis=-1)
        assert 0.005 < few.mean() < 0.02
        for _ in range(30):
            page.press("ArrowRight", 39)
        assert page.evaluate("document.querySelector('[data-part=share-told]').textContent") == "31 %"
        more = np.isin(pixels(page), (0, 255)).all(axis=-1)
        assert 0.28 < more.mean() < 0.34
        assert more[few].all()

    def test_a_file_of_the_reader(self, page, tmp_path):
        photograph = np.zeros((300, 700, 4), np.uint8)
        photograph[..., 0], photograph[:150, :, 3] = 200, 255  # the lower half is transparent
        Image.fromarray(photograph).save(tmp_path / "a photograph.png")
        page.choose_files("[data-part=file]", tmp_path / "a photograph.png")
        page.wait_until("!document.querySelector('[data-part=stage]').hidden")
        assert told(page).startswith("a photograph.png: 384 × 165 pixels")
        heal(page)
        page.click('[value="original"]')
        page.evaluate("document.querySelector('[data-part=split]').focus()")
        page.press("End", 35)
        shown = pixels(page)
        assert (shown[10, 10] == (200, 0, 0)).all()
        assert (shown[150, 10] == 255).all()

    def test_a_file_that_is_no_picture(self, page, tmp_path):
        (tmp_path / "text.txt").write_text("words")
        page.choose_files("[data-part=file]", tmp_path / "text.txt")
        page.wait_until("document.querySelector('[data-part=status]').textContent.includes('no picture')")
        assert page.evaluate("document.querySelector('[data-part=run]').disabled")

    @pytest.mark.parametrize("how", ["paste", "drop"])
    def test_pasted_and_dropped(self, page, how):
        page.evaluate(
            f"""(async () => {{
                const picture = new OffscreenCanvas(20, 30);
                picture.getContext("2d").fillRect(0, 0, 20, 30);
                const data = new DataTransfer();
                data.items.add(new File([await picture.convertToBlob()], "x.png", {{ type: "image/png" }}));
                const target = document.querySelector("[data-part=drop]");
                target.dispatchEvent("{how}" === "paste"
                    ? new ClipboardEvent("paste", {{ clipboardData: data, bubbles: true }})
                    : new DragEvent("drop", {{ dataTransfer: data, bubbles: true, cancelable: true }}));
            }})()"""
        )
        page.wait_until("!document.querySelector('[data-part=stage]').hidden")
        assert pixels(page).shape == (30, 20, 3)

    def test_stop_ends_a_worker_that_computes(self, page):
        take_sample(page)
        choose(page, "side", 256)
        choose(page, "loss", "tv")
        page.click('[data-part="run"]')
        page.wait_until("document.querySelector('[data-part=status]').textContent.startsWith('Iteration')")
        assert page.evaluate("document.querySelector('#heal').getAttribute('aria-busy')") == "true"
        page.click('[data-part="stop"]')
        page.wait_until("document.querySelector('[data-part=status]').textContent === 'Stopped.'")
        choose(page, "loss", "edge")
        heal(page)  # by another worker

    def test_an_error_is_told(self, page):
        take_sample(page)
        choose(page, "loss", "line")
        page.click('[data-part="run"]')
        page.wait_until("document.querySelector('[data-part=status]').textContent === 'It cannot be done.'")
        assert not page.evaluate("document.querySelector('[data-part=run]').disabled")

    def test_a_new_share_ends_what_runs(self, page):
        take_sample(page)
        choose(page, "loss", "tv")
        page.click('[data-part="run"]')
        page.wait_until("document.querySelector('[data-part=status]').textContent.startsWith('Iteration')")
        page.evaluate("document.querySelector('[data-part=share]').focus()")
        page.press("ArrowLeft", 37)
        assert not page.evaluate("document.querySelector('[data-part=run]').disabled")

    @pytest.mark.parametrize("width", [360, 1400])
    @pytest.mark.parametrize("dark", [False, True])
    def test_it_fits_and_all_controls_have_names(self, opened, address, width, dark):
        page = opened(address, width, 800, dark=dark)
        take_sample(page)
        heal(page)
        assert page.overflow() == []
        names = page.names()
        assert not [role for role, name in names if not name], names
        assert {role for role, _ in names} >= {"button", "combobox", "radio", "slider"}
        assert page.errors == []


# What stands in for NumPy and heal.py where the worker itself is tested: NumPy for Pyodide is not in the npm package.
STUB = """
import numpy
from graddesc import told

def heal(pixels, missing, rows, cols, loss, show):
    assert loss == "edge" and len(missing) == rows * cols, "the task is not as it should be"
    for iteration, value in enumerate((50, 100), 1):
        show(iteration, filled(pixels, missing, value))
    if told == "fault":
        raise ValueError("Something is wrong.")
    return filled(pixels, missing, 160), 0.25, told

def filled(pixels, missing, value):
    picture = bytearray(memoryview(pixels))
    for pixel, flag in enumerate(memoryview(missing)):
        if flag:
            picture[3 * pixel : 3 * pixel + 3] = bytes((value,)) * 3
    return memoryview(picture).cast("B", (len(missing), 3))
"""


def write_wheel(path, module, text):
    """A wheel of one module."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", text)
        archive.writestr(f"{module}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
        archive.writestr(f"{module}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")


@needs_browser
@pytest.mark.skipif("GRADDESC_PYODIDE" not in os.environ, reason="GRADDESC_PYODIDE names no folder of Pyodide")
@pytest.mark.parametrize("says", ["It has settled.", "fault", None])
def test_the_worker_in_pyodide(opened, tmp_path, says):
    folder = tmp_path / "_static" / "heal"
    shutil.copytree(DOCS / "_static" / "heal", folder)
    shutil.copytree(os.environ["GRADDESC_PYODIDE"], tmp_path / "pyodide")
    (folder / "heal.py").write_text(STUB)
    if says is not None:
        write_wheel(folder / "graddesc.whl", "graddesc", f"told = {says!r}")
    numpy_wheel = tmp_path / "pyodide" / "numpy-1-py3-none-any.whl"
    write_wheel(numpy_wheel, "numpy", "")
    lock = json.loads((tmp_path / "pyodide" / "pyodide-lock.json").read_text())
    entry = lock["packages"]["numpy"] | {"version": "1", "file_name": numpy_wheel.name}
    entry["sha256"] = hashlib.sha256(numpy_wheel.read_bytes()).hexdigest()
    lock["packages"] = {"numpy": entry}
    (tmp_path / "pyodide" / "pyodide-lock.json").write_text(json.dumps(lock))
    Image.fromarray(graddesc.samples.ginkgo(64)).save(folder / "ginkgo.png")
    write_page(tmp_path)
    with served(tmp_path) as root:
        page = opened(f"{root}/heal.html", 1000, 900)
        page.evaluate("document.querySelector('#heal').dataset.pyodide = new URL('pyodide/', document.baseURI).href")
        take_sample(page)
        noise = np.isin(pixels(page), (0, 255)).all(axis=-1)
        page.click('[data-part="run"]')
        page.wait_until("!document.querySelector('[data-part=run]').disabled", 120)
        if says == "It has settled.":
            assert says in told(page)
            page.evaluate("document.querySelector('[data-part=split]').focus()")
            page.press("Home", 36)
            healed = pixels(page)
            assert (healed[noise] == 160).all()
            assert (healed[~noise] != 160).any()
        else:
            wanted = "Something is wrong." if says else "This copy of the site was built without graddesc for browsers."
            assert told(page) == wanted


@pytest.fixture(scope="module")
def in_pyodide():
    """What the worker runs."""
    spec = importlib.util.spec_from_file_location("heal", DOCS / "_static" / "heal" / "heal.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("loss", ["edge", "line", "harmonic", "biharmonic", "tv", "hessian-tv", "texture"])
def test_the_worker_shows_pictures_and_restores(in_pyodide, loss):
    truth = graddesc.samples.ginkgo(32)
    corrupt, mask = graddesc.masks.corrupt(truth, 0.5, rng=0, channel_axis=-1)
    seen = []

    def show(iteration, picture):
        assert picture.flags.c_contiguous
        assert picture.shape == truth.shape
        assert picture.dtype == np.uint8
        assert (picture[~mask] == truth[~mask]).all()
        seen.append(iteration)

    flags = mask.astype(np.uint8)
    restored, seconds, message = in_pyodide.heal(corrupt.tobytes(), flags.tobytes(), *mask.shape, loss, show)
    assert seen[0] == 1
    assert seen == sorted(set(seen))
    assert (restored == graddesc.restore(corrupt, mask, loss=loss, channel_axis=-1)).all()
    assert seconds > 0
    assert message.endswith(".")


def test_no_known_pixel_is_told(in_pyodide):
    with pytest.raises(ValueError, match="No pixel is left"):
        in_pyodide.heal(bytes(12), b"\1" * 4, 2, 2, "edge", None)


def test_the_page_offers_every_loss():
    page = (DOCS / "heal.md").read_text(encoding="utf-8")
    offered = re.findall(r'<option value="([a-z-]+)"', page)
    assert sorted(offered) == sorted(graddesc.losses._NAMES)
