"""
A thermal camera's video
========================

A thermal camera has dead pixels at the same places in every frame, and no time for
them. A :class:`~graddesc.Plan` does once what depends on the mask alone.
"""

# %%
# A warm body moves over a cooler scene. Half a percent of the pixels are dead, and so
# are two clusters.

import time

import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage

import graddesc

ROWS, COLS, FRAMES = 256, 320, 60
rng = np.random.default_rng(3)
row, col = np.mgrid[:ROWS, :COLS]

scene = (
    9000
    + 500
    * ndimage.gaussian_filter(rng.normal(size=(ROWS, COLS)), 12, mode="wrap")
    / 0.023
)
frames = []
for k in range(FRAMES):
    at = 60 + 3.2 * k, 128 + 40 * np.sin(k / 9)
    warm = np.exp(-((((col - at[0]) / 26) ** 2 + ((row - at[1]) / 40) ** 2) ** 2))
    counts = scene + 2500 * warm + rng.normal(0, 8, scene.shape)
    frames.append(counts.astype(np.uint16))
video = np.stack(frames)

dead = rng.random((ROWS, COLS)) < 0.005
dead |= np.hypot(row - 70, col - 90) < 3
dead |= np.hypot(row - 180, col - 200) < 4
seen = np.where(dead, np.uint16(0), video)

# %%
# The plan is made once. Then a frame costs a gather and a multiplication.

plan = graddesc.Plan(dead, loss="biharmonic")
restored = np.empty_like(seen)
started = time.process_time()
for frame, out in zip(seen, restored):
    plan(frame, out=out)
taken = time.process_time() - started
print(f"{FRAMES / taken:.0f} frames of {COLS} x {ROWS} a second")

# %%
# A stack in one call is the same to the bit, and threads share its frames.

stack = graddesc.restore(seen, dead, frame_axis=0, loss="biharmonic", threads=2)
print("equal bits:", bool((stack == restored).all()))

error = restored[:, dead].astype(float) - video[:, dead]
print(f"error of the dead pixels: {np.sqrt(np.mean(error**2)):.1f} counts")
print("noise of every pixel:     8.0 counts")

# %%
# Three of the frames.

figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), layout="compressed")
limits = {"vmin": video.min(), "vmax": video.max(), "cmap": "inferno"}
for of_frame, k in zip(axes.T, (10, 35, 55)):
    for ax, source, title in zip(
        of_frame, (seen, restored), ("as read", "restored")
    ):
        ax.imshow(source[k], **limits)
        ax.set_title(f"frame {k}, {title}")
        ax.set_axis_off()
