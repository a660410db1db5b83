"""
A scene larger than memory
==========================

A scene of a satellite does not fit into memory, but a few tiles of it do. Each tile
is restored with a halo. This scene is small enough to be restored as a whole as well,
which shows where tiles stand, and how little they matter.
"""

# %%
# The scene is a file on disk that is mapped into memory. Half of its pixels are
# missing, and clouds hide more. What is missing is 0.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from scipy import ndimage

import graddesc

SIDE, TILE = 1024, 256
rng = np.random.default_rng(2)

quarter = skimage.data.camera()
truth = np.block(
    [[quarter, quarter[:, ::-1]], [quarter[::-1], quarter[::-1, ::-1]]]
)
clouds = ndimage.gaussian_filter(rng.normal(size=truth.shape), 28)
missing = (rng.random(truth.shape) < 0.5) | (clouds > np.quantile(clouds, 0.93))

folder = Path(tempfile.mkdtemp())
scene = np.memmap(folder / "scene.raw", np.uint8, "w+", shape=truth.shape)
scene[:] = np.where(missing, 0, np.maximum(truth, 1))

# %%
# The mask is a function of a tile's pixels. The result goes to another file.

filled = np.memmap(folder / "filled.raw", np.uint8, "w+", shape=truth.shape)
_, info = graddesc.tiling.restore(
    scene, lambda pixels: pixels == 0, out=filled, tile=TILE, full_output=True
)
print(f"{info.tiles} tiles: {info.message}")

# %%
# One solve of the whole, for comparison.

whole = graddesc.restore(scene, scene == 0)


def psnr(restored):
    error = restored[missing].astype(float) - truth[missing]
    return 10 * np.log10(255**2 / np.mean(error**2))


print(f"in tiles:   {psnr(filled):.2f} dB over the missing pixels")
print(f"as a whole: {psnr(whole):.2f} dB")

# %%
# The two differ in the middle of clouds, where "edge" finds other fillings that are as
# smooth. At the seams of tiles, drawn as lines, there is nothing to see.

difference = filled.astype(float) - whole
figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), layout="compressed")
axes[0].imshow(scene, cmap="gray", vmin=0, vmax=255)
axes[0].set_title("half and the clouds are missing")
axes[1].imshow(filled, cmap="gray", vmin=0, vmax=255)
axes[1].set_title(f"restored in {info.tiles} tiles")
shown = axes[2].imshow(difference, cmap="RdBu_r", vmin=-20, vmax=20)
axes[2].set_title("minus the restoration of the whole")
figure.colorbar(shown, ax=axes[2], label="grey levels", shrink=0.8)
for ax in axes:
    ax.set_axis_off()
for cut in range(TILE, SIDE, TILE):
    for line in (axes[2].axhline, axes[2].axvline):
        line(cut, color="0.6", linewidth=0.4)

# %%
# Arrays of zarr and h5py are read and written in the same way.
# :func:`graddesc.dask.restore` does it lazily, by as many processes as there are.
