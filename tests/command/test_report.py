"""The page that shows a restoration: what it holds, and that it works in a browser."""

import base64
import io
import re
from html.parser import HTMLParser

import browser
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

import graddesc
from graddesc import report, shades

SHAPE = (120, 160)
MASK = np.random.default_rng(0).random(SHAPE) < 0.4
SAID = {"seconds": 0.25, "command": "graddesc restore a b", "title": "a"}


def scene(dtype=np.uint8, channels=0):
    image = np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])) / 2 + 40
    image = np.dstack([image, image[::-1], 220 - image]) if channels else image
    return image.astype(dtype)


def made(image, mask=MASK, **settings):
    axis = -1 if image.ndim == 3 else None
    damaged = np.where(mask[..., None] if axis else mask, image.dtype.type(0), image)
    restored, info = graddesc.restore(damaged, mask, channel_axis=axis, full_output=True, confidence=True)
    known = {"info": info, "confidence": info.confidence, **SAID}
    return damaged, restored, report.page(damaged, restored, mask, **known | settings).decode()


class Parts(HTMLParser):
    """What a page loads, and its tags, which must be closed in order."""

    VOID = ("meta", "img", "input", "line")

    def __init__(self, page):
        super().__init__()
        self.sources, self.open, self.text, self.said, self.labels = [], [], "", [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        self.labels += [value for name, value in attributes if name in ("alt", "aria-label")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data
            self.said += [data.strip()] if data.strip() else []


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("channels", [0, 3])
def test_every_kind_of_image(dtype, channels):
    _, _, page = made(scene(dtype, channels))
    parts = Parts(page)
    assert len(parts.sources) == 4
    assert all(source.startswith("data:image/") for source in parts.sources)  # nothing from elsewhere
    assert f"160 × 120{' × 3' * bool(channels)}, {np.dtype(dtype)}" in parts.text
    assert f"{MASK.sum()} of {MASK.size} pixels ({MASK.mean():.1%})" in parts.text
    assert not re.search("@[A-Z]+@", page)


def test_all_that_is_said():
    """Each word of the page beside the plot's, in its order, and the pictures that the captions are of."""
    damaged, restored, page = made(scene(), loss="edge")
    _, info = graddesc.restore(damaged, MASK, full_output=True, confidence=True)
    parts = Parts(page)
    before_plot, after_plot = parts.said.index("The loss by iteration"), parts.said.index("Do it again")
    assert parts.said[: before_plot + 1] == [
        "a restored",
        "a",
        "Left of the line the image before, right of it restored.",
        "before",
        "restored",
        "What was done",
        "Size",
        "160 × 120, uint8",
        "Corrupt",
        f"{MASK.sum()} of 19200 pixels ({MASK.mean():.1%})",
        "Iterations",
        f"{info.nit}, 0.25 s with the confidence",
        "Loss",
        f"edge, {info.fun:.6g}",
        "Status",
        f"0: {info.message}",
        "Made by",
        f"graddesc {graddesc.__version__}",
        "Where",
        "What was corrupt, in white",
        "How far each pixel can be trusted: white is known, black a guess",
        "The loss by iteration",
    ]
    assert parts.said[after_plot:] == ["Do it again", "graddesc restore a b", "Copy"]
    assert parts.said[before_plot + 5 : after_plot] == ["1", f"iteration {len(info.history)}"]
    assert parts.labels == [
        "The image before",
        "The restored image",
        "How much of the image before is shown",
        "",
        "",
        "The loss by iteration",
    ]
    trust = shades.eight_bits(info.confidence, 0.0, 1.0)
    for shown, picture in zip(pictures_of(page), (damaged, restored, 255 * MASK.astype("u1"), trust), strict=True):
        assert_array_equal(shown, picture)
    assert 'slider.setAttribute("aria-valuetext", slider.value + " % before")' in page

    parts = Parts(made(scene(), confidence=None)[2])
    assert f"{info.nit}, 0.25 s" in parts.said
    assert f"{info.fun:.6g}" in parts.said
    assert "How far each pixel can be trusted: white is known, black a guess" not in parts.said


def test_what_the_plot_tells():
    losses = np.array([9.0, 5.0, 4.0])
    info = graddesc.result.Result(nit=3, fun=4.0, status=0, message="m", history=losses)
    page = report.page(scene(), scene(), MASK, info=info, **SAID).decode()
    labels = re.findall(r'y="([\d.]+)" text-anchor="end">([\d.e+]+)<', page)
    heights, values = np.array(labels, float).T
    points = [tuple(map(float, point.split(","))) for point in re.search('points="(.*?)"', page)[1].split()]
    # A point lies where the labels' scale has its loss.
    slope, offset = np.polyfit(values, heights - 4, 1)
    np.testing.assert_allclose([y for _, y in points], slope * losses + offset, atol=0.2)
    assert values.tolist() == [4, 5.667, 7.333, 9]
    np.testing.assert_allclose(np.diff([x for x, _ in points]), (640 - 12 - 84) / 2, atol=0.2)
    steep = graddesc.result.Result(nit=3, fun=1.0, status=0, message="m", history=np.array([1000.0, 10.0, 1.0]))
    page = report.page(scene(), scene(), MASK, info=steep, **SAID).decode()
    assert re.findall(r'text-anchor="end">([\d.e+]+)<', page) == ["1", "10", "100", "1000"]


def test_names_are_text_and_nothing_else():
    name = "<script>alert(1)</script> \"'&@AFTER@.png"
    _, _, page = made(scene(), title=name, command=f"graddesc restore {name!r}")
    parts = Parts(page)
    assert name in parts.text
    assert f"graddesc restore {name!r}" in parts.text
    assert "<script>alert" not in page


def test_nan_and_outliers_do_not_decide_what_is_seen():
    image = scene("f8")
    image[3, 4] = 1e9
    image[MASK] = np.nan
    low, high = shades.shown_range(image, MASK)
    assert 30 < low < 50
    assert 160 < high < 190
    shown = shades.eight_bits(image, low, high)
    assert shown.dtype == np.uint8
    assert (shown[MASK] == 0).all()
    flat = np.full(SHAPE, 7, np.int16)
    flat = shades.eight_bits(flat, *shades.shown_range(flat, MASK))
    assert (flat == 128).all()
    ends = np.array([[-1.7e308, 0, 1.7e308]] * 3)
    assert shades.eight_bits(ends, *shades.shown_range(ends)).tolist() == [[0, 128, 255]] * 3


def test_large_images_are_reduced_and_that_is_told():
    image = np.tile(scene(), (18, 1))
    mask = np.tile(MASK, (18, 1))
    _, _, page = made(image, mask)
    assert "restored. It is shown reduced to 1024 pixels a side." in Parts(page).said[2]
    assert "WebP" not in page
    assert len(page) < 2_000_000


def test_that_pictures_are_lossy_is_told():
    for side, lossy in ((512, False), (513, True)):
        image, mask = np.full((side, side), 90, np.uint8), np.eye(side, dtype=bool)
        page = report.page(
            image, image, mask, info=graddesc.result.Result(nit=1, fun=1.0, status=0, message="m", history=[]), **SAID
        ).decode()
        assert ("data:image/webp" in page) is lossy
        wanted = " Large pictures are lossy WebP on this page, and differ a little from the files." * lossy
        assert Parts(page).said[2] == f"Left of the line the image before, right of it restored.{wanted}"


def pictures_of(page):
    """What the page shows: before, after, and the maps."""
    sources = [source.split(",")[1] for source in Parts(page).sources]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))) for source in sources]


@pytest.mark.parametrize("shape", [(60, 70), (300, 310), (2000, 700)], ids=str)
def test_a_few_pixels_of_the_mask_are_seen(shape):
    image, mask = np.full(shape, 90, np.uint8), np.zeros(shape, bool)
    mask[[0, shape[0] // 2, -1], [-1, 9, 1]] = True
    page = report.page(image, image, mask, info=graddesc.restore(image, mask, full_output=True)[1], **SAID).decode()
    shown = pictures_of(page)[2]
    assert max(shown.shape) <= 512
    assert set(np.unique(shown)) == {0, 255}
    # Where a side of 512 is shown as one of about 300 each pixel is at least that large.
    assert 3 <= (shown > 0).sum() <= 3 * 9
    small = max(shape) < 128
    assert ((shown > 0).sum() > 3) is not small
    assert ("in white, larger than it is" in Parts(page).text) is not small
    for row, col in np.argwhere(mask):
        assert shown[row * shown.shape[0] // shape[0], col * shown.shape[1] // shape[1]] == 255


def test_many_pixels_of_the_mask_are_shown_as_they_are():
    _, _, page = made(scene())
    assert_array_equal(pictures_of(page)[2] > 0, MASK)
    assert "larger" not in Parts(page).text


@pytest.mark.parametrize(("side", "rendering"), [(64, "pixelated"), (511, "pixelated"), (512, "auto")])
def test_pixels_of_small_images_are_squares(side, rendering):
    image, mask = np.full((40, side), 90, np.uint8), np.eye(40, side, dtype=bool)
    page = report.page(image, image, mask, info=graddesc.restore(image, mask, full_output=True)[1], **SAID).decode()
    assert re.findall("image-rendering: (.*?);", page) == [rendering] * 2


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (0, 9, "0.0%"),
        (1, 10**6, "<0.1%"),
        (999, 10**6, "0.1%"),
        (123, 1000, "12.3%"),
        (9994, 10**4, "99.9%"),
        (9996, 10**4, ">99.9%"),
        (9, 9, "100.0%"),
    ],
)
def test_a_little_less_than_all_is_not_all(count, total, text):
    assert shades.percent(count, total) == text
    if total == 10**4:
        image, mask = np.full((100, 100), 90, np.uint8), np.arange(10**4).reshape(100, 100) < count
        page = report.page(image, image, mask, info=graddesc.restore(image, mask, full_output=True)[1], **SAID).decode()
        assert f"{count} of {total} pixels ({text})" in Parts(page).text


@pytest.mark.parametrize("history", [[], [3.0], [5.0, 1e-9, np.inf, np.nan], [2.0, 2.0], list(range(1000, 0, -1))])
def test_the_plot(history):
    image = scene()
    info = graddesc.result.Result(nit=len(history), fun=1.0, status=0, message="m", history=np.array(history))
    page = report.page(image, image, MASK, info=info, seconds=0.1, command="c", title="t").decode()
    Parts(page)
    finite = np.isfinite(history).sum()
    assert ("<polyline" in page) is bool(finite > 1)
    if finite > 1:
        points = re.search('points="(.*?)"', page)[1].split()
        assert len(points) == min(finite, 400)
        across, down = np.array([point.split(",") for point in points], float).T
        assert (np.diff(across) > 0).all()
        assert (np.diff(down) >= 0).all()  # the loss falls, so the curve goes down
        assert down.min() > 0
        assert down.max() < 220


@pytest.mark.skipif(browser.PATH is None, reason="there is no Chromium to open the page in")
@pytest.mark.once
def test_in_a_browser(tmp_path):
    damaged, restored, page = made(scene(channels=3))
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    address = (tmp_path / "page.html").as_uri()
    with browser.opened(tmp_path / "profile") as open_page:
        tab = open_page(address, 1400, 900)
        box = tab.evaluate("JSON.stringify(compare.getBoundingClientRect())")
        left, top, width, height = (
            float(re.search(rf'"{side}":([\d.]+)', box)[1]) for side in ("x", "y", "width", "height")
        )
        rows = (top + (np.arange(20, 100) + 0.5) * height / SHAPE[0]).astype(int)

        def looks_like(seen, picture, start, stop):
            """Whether columns of the page look like those of a picture."""
            cols = np.arange(start, stop)
            part = seen[rows][:, (left + (cols + 0.5) * width / SHAPE[1]).astype(int)].astype(float)
            return np.abs(part - picture[20:100, start:stop]).mean() < 40

        for place, press in (
            (50, None),
            (55, ("ArrowRight", 39)),
            (52, ("ArrowLeft", 37)),
            (100, ("End", 35)),
            (0, ("Home", 36)),
        ):
            if press is not None:
                tab.evaluate("slider.focus()")
                for _ in range(1 if press[0] in ("Home", "End") else abs(place - int(tab.evaluate("slider.value")))):
                    tab.press(*press)
            assert tab.evaluate("slider.value") == str(place)
            edge, seen = place * SHAPE[1] // 100, tab.screenshot()
            for start, stop, picture, other in (
                (0, edge - 3, damaged, restored),
                (edge + 3, SHAPE[1], restored, damaged),
            ):
                if stop - start > 10:
                    assert looks_like(seen, picture, start, stop)
                    assert not looks_like(seen, other, start, stop)
        assert tab.evaluate("document.querySelector('.tag').getBoundingClientRect().width") > 20
        tab.mouse("mousePressed", left + width / 4, top + 30)
        tab.mouse("mouseMoved", left + width / 5, top + 30)
        tab.mouse("mouseReleased", left + width / 5, top + 30)
        assert tab.evaluate("slider.value") == "20"

        for wide, dark in ((360, False), (1400, True), (1400, False)):
            tab = open_page(f"{address}#slider=30", wide, 900, dark=dark)
            assert tab.evaluate("slider.value") == "30"
            assert tab.evaluate("document.documentElement.scrollWidth") <= wide
            ground = tab.screenshot()[880, 2].mean()
            assert (ground < 60) if dark else (ground > 200)

        tall = np.full((900, 30), 90, np.uint8)
        mask = np.eye(900, 30, dtype=bool)
        page = report.page(tall, tall, mask, info=graddesc.restore(tall, mask, full_output=True)[1], **SAID)
        (tmp_path / "tall.html").write_bytes(page)
        for wide, least in ((1400, 320), (360, 300)):
            tab = open_page((tmp_path / "tall.html").as_uri(), wide, 900)
            assert tab.evaluate("slider.getBoundingClientRect().width") >= least
            assert tab.evaluate("compare.getBoundingClientRect().width") < 60
            assert tab.evaluate("document.querySelector('.tag').getBoundingClientRect().width") == 0  # no room
            assert tab.evaluate("document.documentElement.scrollWidth") <= wide
