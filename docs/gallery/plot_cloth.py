"""
Cloth
=====

Cloth and brick repeat. The loss "texture" learns what repeats from the known pixels, and uses it where they say too
little. It takes longer than the others.
"""

# %%
# A twill: each thread goes over two and under two, and the next is shifted by one. Light falls from the upper left.
# The other picture is the wall of scikit-image.

import time

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import graddesc

SIDE = 192


def twill(rng, size=7.0, turn=0.28):
    """A cloth of threads so many pixels wide, turned by an angle in radians."""
    i, j = np.mgrid[:SIDE, :SIDE]
    u = (j * np.cos(turn) + i * np.sin(turn)) / size
    v = (i * np.cos(turn) - j * np.sin(turn)) / size
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    over = (column + row) % 4 < 2
    round_warp, round_weft = (
        np.sin(np.pi * (u - column)),
        np.sin(np.pi * (v - row)),
    )
    tone = 1 + 0.08 * rng.normal(size=200)
    warp = (0.35 + 0.45 * round_warp) * tone[column]
    weft = (0.15 + 0.30 * round_weft) * tone[row + 100]
    light = (
        1
        + 0.25 * np.cos(np.pi * (u - column)) * over
        + 0.25 * np.cos(np.pi * (v - row)) * ~over
    )
    fold = 0.85 + 0.15 * np.sin(i / 40 + j / 65)
    return np.rint(
        255 * np.clip(np.where(over, warp, weft) * light * fold, 0, 1)
    ).astype(np.uint8)


truths = {
    "cloth": twill(np.random.default_rng(2)),
    "brick": skimage.data.brick()[40 : 40 + SIDE, 70 : 70 + SIDE],
}
losses = ("biharmonic", "edge", "texture")


def decibels(image, truth):
    return 10 * np.log10(255**2 / np.mean((image - truth.astype(float)) ** 2))


# %%
# Four fifths of the pixels are lost.

pictures = {}
for name, truth in truths.items():
    corrupt, mask = graddesc.masks.corrupt(truth, missing=0.8, rng=0)
    pictures[name] = {"20 % are known": corrupt}
    for loss in losses:
        start = time.process_time()
        restored = graddesc.restore(corrupt, mask, loss=loss)
        seconds = time.process_time() - start
        pictures[name][f'"{loss}", {decibels(restored, truth):.1f} dB'] = restored
        print(
            f"{name:6} {loss:11} {decibels(restored, truth):6.2f} dB {seconds:7.3f} s"
        )
    pictures[name]["the truth"] = truth

# %%
# Each picture is enlarged, of the same scale of grey.

zoom = np.s_[48:144, 48:144]
figure, axes = plt.subplots(2, 5, figsize=(13, 5.7), layout="compressed")
for row, of_one in zip(axes, pictures.values(), strict=True):
    for ax, (title, picture) in zip(row, of_one.items(), strict=True):
        ax.imshow(
            picture[zoom], cmap="gray", vmin=0, vmax=255, interpolation="nearest"
        )
        ax.set_title(title)
        ax.set_axis_off()
