"""The demos, as functions and as commands."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from graddesc import demos, images, samples

FILES = ["ginkgo-comparison.png", "ginkgo-corrupt.png", "ginkgo-healing.gif", "ginkgo-restored.png"]


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
    with Image.open(tmp_path / "ginkgo-healing.gif") as animation:
        assert animation.n_frames > 5

    error = np.mean((restored.astype(float) - truth) ** 2)
    assert f"{10 * np.log10(255**2 / error):.2f} dB restored" in report.lines[1]
    assert 10 * np.log10(255**2 / error) > 15
    assert "iterations" in report.lines[2]


def test_existing_files_are_kept(tmp_path):
    (tmp_path / FILES[2]).write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"ginkgo-healing\.gif exists"):
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
        f"wrote {os.path.join('.', name)}"
        for name in ("ginkgo-corrupt.png", "ginkgo-restored.png", "ginkgo-comparison.png", "ginkgo-healing.gif")
    ]
    assert sorted(os.listdir(tmp_path)) == FILES
