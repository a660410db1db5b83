"""Every snippet of the README and of the pages of docs/ runs as it stands, in the order of its page.

A line ``% needs NAME`` before a snippet names a module without which it is left out. A page's ``sh`` snippets run in a
directory that holds what the snippets before them wrote, and `FILES`.
"""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import graddesc
from graddesc import images

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("[!_a]*/**/*.md"))]
SNIPPET = re.compile(
    r"^(?:% needs (?P<needs>\S+)\n+)?```(?P<kind>python|sh)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE
)


def snippets(page):
    return list(SNIPPET.finditer(page.read_text(encoding="utf-8")))


WITH_SNIPPETS = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if snippets(page)]


def write_files():
    """The files that the snippets of a shell find."""
    photograph = graddesc.samples.ginkgo(64)
    corrupt, mask = graddesc.masks.corrupt(photograph, 0.5, rng=0, channel_axis=-1)
    for name, array in {"photo": photograph, "corrupt": corrupt, "mask": mask.astype(np.uint8) * 255}.items():
        images.write(f"{name}.png", images.Picture(array))
    heights = np.add.outer(np.arange(32.0), np.arange(32.0)).astype(np.float32)
    heights[5:9, 7:9] = -9999
    for name in ("north.tif", "south.tif"):
        images.write(name, images.Picture(heights))
    images.write("pages.tif", images.Picture(np.stack([heights, heights.T]), frames=True))
    cube = np.where(np.eye(32)[..., np.newaxis] > 0, np.nan, heights[..., np.newaxis] * [1, 2, 3, 4])
    arrays = {"cube": cube, "film": cube, "scan": cube, "bands": cube.T, "gaps": np.isnan(cube.T)}
    for name, array in arrays.items():
        np.save(name, array)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # rasterio: the files are not of a place on earth
@pytest.mark.parametrize("page", WITH_SNIPPETS)
@pytest.mark.once
def test_snippets_run_as_they_stand(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_files()
    names = {"__name__": "snippets"}
    left_out = []
    for snippet in snippets(page):
        if snippet["needs"] and importlib.util.find_spec(snippet["needs"]) is None:
            left_out.append(snippet["needs"])
            continue
        line = page.read_text(encoding="utf-8")[: snippet.start("code")].count("\n")
        if snippet["kind"] == "python":
            exec(compile("\n" * line + snippet["code"], page, "exec"), names)
        else:
            shell(snippet["code"])
    if left_out:
        print(f"not installed: {', '.join(left_out)}")


def shell(code):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    code = f"graddesc() {{ '{sys.executable}' -m graddesc \"$@\"; }}\nset -euo pipefail\n{code}"
    process = subprocess.run([bash, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert process.returncode == 0, f"{code}\n{process.stdout}\n{process.stderr}"


def test_the_pages_have_snippets():
    assert len(WITH_SNIPPETS) >= 10


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"])
def test_links_lead_to_files(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
