"""Try an installed wheel with nothing but what it depends on: every loss, level and number of threads, and the command.

Usage: python .ci/smoke.py, outside the source tree or in it. It ends with a word, or with the assertion that failed.
"""

import contextlib
import importlib
import io
import pathlib
import sys
import tempfile

import numpy as np
from graddesc._kernels._build import FAMILIES

import graddesc
from graddesc import _kernels, cli, images, masks, problems, samples

LOSSES = ("line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture")


def check_losses() -> None:
    """Known pixels stay, the others come near the picture, and threads change no bit."""
    picture = samples.ginkgo(96)
    corrupted, mask = masks.corrupt(picture, 0.6, rng=0, channel_axis=-1)
    for loss in LOSSES:
        plan = graddesc.Plan(mask, picture.shape, loss=loss, channel_axis=-1)
        restored, info = plan(corrupted, full_output=True)
        assert info.success, f"{loss}: {info.message}"
        assert (restored[~mask] == picture[~mask]).all(), loss
        error = np.abs(restored[mask].astype(float) - picture[mask]).mean()
        assert error < 12, f"{loss}: {error}"
        threaded = graddesc.restore(corrupted, mask, loss=loss, channel_axis=-1, threads=4)
        assert threaded.tobytes() == restored.tobytes(), loss


def check_levels() -> None:
    """All that were built can be loaded, where the processor knows them."""
    config = graddesc.build_config()
    assert config["isa"] == config["isa_available"][-1]
    for level in config["isa_available"]:
        for family in FAMILIES:
            importlib.import_module(f"graddesc._kernels.{family}_{level}")
    for module in ("box", "objectives", "pool", "processor", "regions"):
        importlib.import_module(f"graddesc._kernels.{module}")
    assert config["isa"] == _kernels.LEVEL


def check_minimize() -> None:
    """The loops of Python and of C go down to the same minimum."""
    problem = problems.Rosenbrock(10)
    for arguments in (
        {"fun": problem, "jac": problem.gradient},
        dict(zip(("fun", "jac"), problem.compiled, strict=True)),
    ):
        result = graddesc.minimize(x0=problem.start, **arguments)
        assert result.success, result.message
        assert np.abs(result.x - 1).max() < 1e-4


def check_command() -> None:
    """It restores a file."""
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()) as told:
        source, target = (str(pathlib.Path(directory, name)) for name in ("corrupt.png", "restored.png"))
        picture = samples.ginkgo(64)
        corrupted, mask = masks.corrupt(picture, 0.5, rng=0, channel_axis=-1)
        images.write(source, images.Picture(corrupted))
        assert cli.main(["restore", source, target]) == 0
        assert (images.read(target).pixels[~mask] == picture[~mask]).all()
        assert cli.main(["info"]) == 0
    assert "filled" in told.getvalue()


if __name__ == "__main__":
    check_levels()
    check_losses()
    check_minimize()
    check_command()
    config = graddesc.build_config()
    print(f"graddesc {config['version']} works: {config['compiler']}, {config['isa']}, {sys.platform}, {sys.version}")
