"""What the package can do, each shown by one function that needs no input."""

import os
import time
from dataclasses import dataclass

import numpy as np

import graddesc
from graddesc import animation, images, masks, outputs, samples

__all__ = ["Report", "restore"]


@dataclass(frozen=True)
class Report:
    """What a demo found out and which files it wrote.

    Parameters
    ----------
    lines : tuple of str
        The findings, one sentence each.
    files : tuple of str
        The paths of the files.
    """

    lines: tuple
    files: tuple


def restore(directory=".", *, size=512, missing=0.9, seed=0, threads=1, overwrite=False):
    """Draw a ginkgo leaf, make most of its pixels black or white, and restore it.

    Writes ``ginkgo-corrupt.png``, ``ginkgo-restored.png``, ``ginkgo-comparison.png`` (corrupt, restored and original
    side by side) and ``ginkgo-healing.gif``.

    Parameters
    ----------
    directory : str or os.PathLike, default "."
        Where to write; it must exist.
    size : int, default 512
        Rows and columns of the picture.
    missing : float, default 0.9
        The probability that a pixel is corrupt.
    seed : int, default 0
        Seeds the noise.
    threads : int, default 1
        How many threads restore.
    overwrite : bool, default False
        Whether files that exist may be replaced.

    Returns
    -------
    Report
        The signal-to-noise ratios, iterations and time.

    Raises
    ------
    OSError
        If a file cannot be written or exists; nothing is done then.

    Examples
    --------
    >>> import tempfile
    >>> from graddesc import demos
    >>> report = demos.restore(tempfile.mkdtemp(), size=32)
    >>> len(report.files)
    4
    """
    names = ("corrupt.png", "restored.png", "comparison.png", "healing.gif")
    files = tuple(os.path.join(directory, f"ginkgo-{name}") for name in names)
    for path in files:
        outputs.check(path, overwrite=overwrite)

    truth = samples.ginkgo(size)
    corrupt, mask = masks.corrupt(truth, missing, rng=seed, channel_axis=-1)
    import scipy.optimize  # noqa: F401 - what the report needs, before the clock starts

    start = time.perf_counter()
    restored, info = graddesc.restore(corrupt, mask, channel_axis=-1, threads=threads, full_output=True)
    seconds = time.perf_counter() - start

    # Once more for the animation: from the noise itself, which the solver's own better start never shows.
    recorder = animation.Recorder(corrupt)
    healed = graddesc.restore(corrupt, mask, channel_axis=-1, init="image", threads=threads, callback=recorder)

    gap = np.full((size, max(size // 64, 1), 3), 255, np.uint8)
    comparison = np.hstack([corrupt, gap, restored, gap, truth])
    for path, picture in zip(files, (corrupt, restored, comparison), strict=False):
        images.write(path, images.Picture(picture), overwrite=overwrite)
    outputs.write(files[-1], recorder.encode(healed), overwrite=overwrite)
    return Report(
        (
            f"{size} x {size} pixels, {mask.mean():.1%} of them corrupt",
            f"PSNR {_psnr(corrupt, truth):.2f} dB corrupt, {_psnr(restored, truth):.2f} dB restored",
            f"{info.nit} iterations, {seconds:.3f} s: {info.message}",
        ),
        files,
    )


def _psnr(image, truth):
    """The peak signal-to-noise ratio of 8-bit images, in decibels."""
    error = np.mean((image.astype(float) - truth) ** 2)
    return 10 * np.log10(255**2 / error) if error else np.inf
