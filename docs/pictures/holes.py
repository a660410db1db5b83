"""The error inside square holes by their side, for four losses."""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import graddesc

picture = data.camera().astype(float)[::2, ::2]
sides = [2, 4, 8, 16, 32, 64]
y, x = np.mgrid[:256, :256]
figure, axis = plt.subplots(figsize=(6.4, 4.4))
for loss, marker in zip(["harmonic", "biharmonic", "tv", "edge"], "osD^"):
    errors = []
    for side in sides:
        squares = 0.0
        for down, right in [(0, 0), (0, side), (side, 0), (side, side)]:
            hole = ((y + down) % (2 * side) < side) & (
                (x + right) % (2 * side) < side
            )
            filled = graddesc.restore(picture, hole, loss=loss)
            squares += np.sum((filled - picture)[hole] ** 2)
        errors.append(np.sqrt(squares / picture.size) / picture.std())
    axis.semilogx(sides, errors, marker + "-", label=loss, base=2)
axis.set(
    xlabel="side of the holes, pixels",
    ylabel="rms error / standard deviation",
    ylim=(0, None),
)
axis.set_xticks(sides, [str(side) for side in sides])
axis.legend()
axis.grid(alpha=0.3)
