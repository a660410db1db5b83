"""What the page that heals photographs needs beside its scripts: a sample picture, and the wheel for browsers.

The wheel is the one that the environment variable GRADDESC_WASM_WHEEL names. Without it the page says that it has none.
"""

import os
import pathlib
import shutil

from graddesc import images, samples

_SIDE = 512


def _write(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    folder = pathlib.Path(app.outdir, "_static", "heal")
    picture = images.Picture(samples.ginkgo(_SIDE))
    images.write(folder / "ginkgo.png", picture, overwrite=True)
    wheel = os.environ.get("GRADDESC_WASM_WHEEL")
    if wheel:
        shutil.copy(wheel, folder / "graddesc.whl")


def setup(app):
    """Write the files when the pages are there."""
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
