"""What restore() takes: memory, in arrays of the image's size in single precision, and modules."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graddesc import images

SIDE = 700
# The peak of a process of its own, over what it held before. glibc would keep what it once had of small arrays.
GROWTH = f"""
import re, sys
from pathlib import Path
import numpy as np
import graddesc
from graddesc.restoration import windows

windows._KEPT = 0  # bytes for the next restoration, which are 32 MB at most but much beside so small an image

def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

rng = np.random.default_rng(0)
ramp = np.add.outer(np.arange({SIDE}), np.arange({SIDE})) % 200
image = (ramp + rng.integers(0, 20, ramp.shape)).astype(np.uint8)
mask = rng.integers(0, 10, image.shape, np.uint8) > 0
del ramp
settings = dict(loss=sys.argv[1], full_output="full" in sys.argv, confidence="confidence" in sys.argv)
if "volume" in sys.argv:
    image, mask = (array.reshape(100, 70, 70) for array in (image, mask))
graddesc.restore(image[:64, :64], mask[:64, :64], **settings)
before = memory("VmRSS")
graddesc.restore(image, mask, **settings)
print((memory("VmHWM") - before) / (4 * image.size))
"""
IMPORTS = """
import sys
import numpy as np
import graddesc

rng = np.random.default_rng(0)
image, mask = rng.random((40, 40)), rng.random((40, 40)) < 0.5
for loss in sys.argv[1:]:
    graddesc.restore(image, mask, loss=loss, full_output=True, confidence=True)
    if "scipy.optimize" in sys.modules:
        print(loss)
        break
"""


def run(script, *arguments):
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**16)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as Linux tells it")
@pytest.mark.parametrize(
    ("arrays", "arguments"),
    [
        (4, ["line"]),
        (10, ["edge"]),
        (11, ["edge", "full"]),
        (12, ["edge", "full", "confidence"]),
        (14, ["harmonic"]),
        (17, ["biharmonic", "full", "confidence"]),
        (18, ["hessian-tv"]),
        (14, ["edge", "volume"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
@pytest.mark.once
def test_memory_is_bounded(arrays, arguments):
    assert float(run(GROWTH, *arguments)) < 1.1 * arrays


def test_nothing_imports_scipy_optimize():
    assert run(IMPORTS, "line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture") == ""


# Reading a picture and encoding it again, in copies of its pixels, that which is held among them.
FILES = """
import re, sys
from pathlib import Path
import numpy as np
from graddesc import images

def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

small, large = sys.argv[1:]
images.encode(small, images.read(small))
before = memory("VmHWM")
picture = images.read(large)
images.encode(large, picture)
print((memory("VmHWM") - before) / picture.pixels.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as Linux tells it")
@pytest.mark.parametrize(
    ("extension", "dtype", "channels"),
    [
        (".png", "u1", 3),
        (".png", "u1", 0),
        (".png", "u2", 3),
        (".jpg", "u1", 3),
        (".tif", "u1", 3),
        (".tif", "i2", 0),
        (".tif", "f4", 0),
        (".tif", "f8", 0),
        (".npy", "f8", 0),
    ],
)
@pytest.mark.once
def test_files_take_three_copies_more_than_the_picture(tmp_path, extension, dtype, channels):
    names = []
    for side in (20, 1000 if channels else 1500):
        pixels = np.random.default_rng(0).integers(
            0, 100, (side, side, channels) if channels else (side, side), np.uint8
        )
        names.append(str(tmp_path / f"{side}{extension}"))
        images.write(names[-1], images.Picture(pixels.astype(dtype)))
    assert float(run(FILES, *names)) < 4
