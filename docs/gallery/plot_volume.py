"""
A volume, in slices and as a whole
==================================

A tomograph gives a volume. Restoring it slice by slice throws away what the slices
around each one know; :func:`graddesc.restore` takes it as a whole.
"""

# %%
# A ball, some bent tubes and a wavy sheet. A tenth of the voxels is known.

import matplotlib.pyplot as plt
import numpy as np

import graddesc

SIDE = 64
z, y, x = np.mgrid[:SIDE, :SIDE, :SIDE] / SIDE


def within(distance):
    """1 inside, 0 outside, with a border of a voxel or two."""
    return 1 / (1 + np.exp(2 * SIDE * distance))


volume = 0.15 + 0.25 * within(0.75 + 0.06 * np.sin(9 * x) - z)
volume += 0.5 * within(
    np.sqrt((z - 0.35) ** 2 + (y - 0.4) ** 2 + (x - 0.35) ** 2) - 0.2
)
for k in range(4):
    middle = (
        0.15 + 0.22 * k + 0.05 * np.sin(7 * z + k),
        0.75 + 0.08 * np.cos(6 * z + k),
    )
    volume += 0.6 * within(np.hypot(x - middle[0], y - middle[1]) - 0.05)
volume = np.clip(volume, 0, 1).astype(np.float32)

corrupted, mask = graddesc.masks.corrupt(volume, 0.9, rng=0)
whole = graddesc.restore(corrupted, mask)
slices = graddesc.restore(corrupted, mask, frame_axis=0)


def decibels(restored, mask):
    return -10 * np.log10(np.mean((restored - volume)[mask] ** 2))


print(f"slice by slice: {decibels(slices, mask):.1f} dB")
print(f"as a whole:     {decibels(whole, mask):.1f} dB")

# %%
# One slice of each, and a cut across the slices.

figure, axes = plt.subplots(2, 4, figsize=(10, 5.2), layout="compressed")
shown = {
    "truth": volume,
    "a tenth is known": np.where(mask, 0, corrupted),
    "slice by slice": slices,
    "as a whole": whole,
}
for (title, source), (above, below) in zip(shown.items(), axes.T, strict=True):
    above.imshow(source[24], vmin=0, vmax=1, cmap="gray")
    below.imshow(source[:, 44], vmin=0, vmax=1, cmap="gray")
    above.set_title(title)
    above.set_axis_off()
    below.set_axis_off()

# %%
# Slices may also be missing whole. Every fourth one is known here; across the gaps
# linear interpolation draws each border four times.

mask = np.ones(volume.shape, bool)
mask[::4] = False
known = np.arange(0, SIDE, 4)
below = np.minimum(np.arange(SIDE) // 4, len(known) - 2)
share = ((np.arange(SIDE) - 4 * below) / 4)[:, None, None]
linear = (1 - share) * volume[known[below]] + share * volume[known[below + 1]]
whole = graddesc.restore(np.where(mask, 0, volume), mask)
inside = mask.copy()
inside[known[-1] :] = False  # behind the last known slice there is nothing to say
print(f"linear:     {decibels(linear, inside):.1f} dB")
print(f"as a whole: {decibels(whole, inside):.1f} dB")

figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="compressed")
shown = {
    "truth, across the slices": volume,
    "every fourth is known": np.where(mask, 0, volume),
    "linear": linear,
    "as a whole": whole,
}
for (title, source), ax in zip(shown.items(), axes, strict=True):
    ax.imshow(source[:, 44], vmin=0, vmax=1, cmap="gray")
    ax.set_title(title)
    ax.set_axis_off()
