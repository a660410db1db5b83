"""The built site: every link leads somewhere, nothing comes from elsewhere, and every page can be read in a browser.

GRADDESC_SITE names the folder that Sphinx wrote; without it nothing is tested.
"""

import functools
import html.parser
import os
import pathlib
import re
import urllib.parse

import browser
import pytest
from serving import served

SITE = os.environ.get("GRADDESC_SITE")
pytestmark = pytest.mark.skipif(SITE is None, reason="GRADDESC_SITE names no site")
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("video", "src")}
LEAST_CONTRAST = 4.5  # of text, by WCAG 2.2 level AA


class Reader(html.parser.HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.places = [], [], {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name"):
                self.places.add(value)
            elif (tag, name) in LOADS:
                self.loads.append(value)
            elif name == "srcset":
                self.loads += [part.split()[0] for part in value.split(",")]
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


@functools.cache
def pages():
    """The site's pages by their paths."""
    root = pathlib.Path(SITE).resolve()
    found = {path: Reader(path) for path in sorted(root.rglob("*.html")) if "_static" not in path.parts}
    assert len(found) > 20
    return found


def told(path):
    return str(path.relative_to(pathlib.Path(SITE).resolve()))


def resolve(page, link):
    """The file and the place that a link of a page leads to."""
    parts = urllib.parse.urlsplit(link)
    path = page if not parts.path else page.parent / urllib.parse.unquote(parts.path)
    return path.resolve(), urllib.parse.unquote(parts.fragment)


def is_external(link):
    return re.match(r"(https?:)?//|mailto:|data:|javascript:", link) is not None


def test_every_link_leads_somewhere():
    dead = []
    for page, reader in pages().items():
        for link in [*reader.links, *reader.loads]:
            if is_external(link):
                continue
            path, place = resolve(page, link)
            if not path.is_file() or (path in pages() and place not in pages()[path].places):
                dead.append(f"{told(page)}: {link}")
    assert not dead, "\n".join(dead)


def test_every_page_can_be_reached():
    root = pathlib.Path(SITE).resolve()
    reached, ahead = set(), [root / "index.html"]
    while ahead:
        page = ahead.pop()
        if page in reached or page not in pages():
            continue
        reached.add(page)
        ahead += [resolve(page, link)[0] for link in pages()[page].links if not is_external(link)]
    unreached = {told(page) for page in set(pages()) - reached}
    assert unreached <= {"genindex.html", "search.html", "py-modindex.html"}


def test_nothing_comes_from_elsewhere():
    foreign = {told(page): load for page, reader in pages().items() for load in reader.loads if "//" in load}
    assert {page: load for page, load in foreign.items() if not load.startswith("data:")} == {}


def test_every_picture_has_a_text():
    without = []
    for page in pages():
        for tag in re.findall(r"<img\b[^>]*>", page.read_text(encoding="utf-8")):
            thumbnail = "_thumb." in tag  # beside its title, which is its text
            if re.search(r'\balt="' + ("" if thumbnail else '[^"]'), tag) is None:
                without.append(f"{told(page)}: {tag}")
    assert not without, "\n".join(without)


# The least contrast of text with the colour behind it, what has it, and the lightness of the page.
CONTRAST = """
(() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = channels(colour).map((c) => c / 255).map((c) =>
            c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if ((channels(colour)[3] ?? 1) === 1) return light(colour);
        }
        return 1;
    };
    const says = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const ratios = [...document.querySelectorAll("main *")]
        .filter((element) => says(element) && element.checkVisibility({ visibilityProperty: true }))
        .filter((element) => !["SCRIPT", "STYLE", "OPTION"].includes(element.tagName))
        .map((element) => {
            const [low, high] = [light(getComputedStyle(element).color), behind(element)].sort((a, b) => a - b);
            return [(high + 0.05) / (low + 0.05), element.outerHTML.slice(0, 100)];
        });
    ratios.sort((a, b) => a[0] - b[0]);
    return [...(ratios[0] ?? [21, ""]), light(getComputedStyle(document.body).backgroundColor)];
})()
"""


@pytest.mark.skipif(browser.PATH is None, reason="there is no Chromium")
def test_every_page_in_a_browser(tmp_path):
    faults = []
    with served(SITE) as root, browser.opened(tmp_path) as open_page:
        page = open_page("about:blank", 1400, 900)
        for path in pages():
            name = told(path)
            page.open(f"{root}/{name}")
            for width in (1400, 360):
                page.resize(width, 900)
                faults += [f"{name} at {width}: wider than the window: {what}" for what in page.overflow()]
            for dark in (True, False):
                page.prefer(dark=dark)
                contrast, what, lightness = page.evaluate(CONTRAST)
                if contrast < LEAST_CONTRAST or (lightness < 0.2) != dark:
                    scheme = "dark" if dark else "light"
                    faults.append(f"{name}, {scheme}: page {lightness:.2f}, contrast {contrast:.1f} of {what}")
            faults += [f"{name}: {error}" for error in page.errors]
            page.errors.clear()
    assert not faults, "\n".join(faults)
