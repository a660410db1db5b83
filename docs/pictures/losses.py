"""An edge, a hill and a line with a square cut out, filled by six losses."""

import matplotlib.pyplot as plt
import numpy as np

import graddesc

n = 48
y, x = np.mgrid[:n, :n] - n / 2 + 0.5


def smooth(d):
    """A step, a little blurred."""
    return 1 / (1 + np.exp(-d / 0.7))


pictures = {
    "an edge": 0.15 + 0.7 * smooth(x + 0.5 * y),
    "a hill": 0.1 + 0.8 * np.exp(-(x**2 + y**2) / 250),
    "a line": 0.2 + 0.6 * np.exp(-((x - 0.6 * y) ** 2) / 4),
}
hole = (np.abs(x) < 9) & (np.abs(y) < 9)
losses = ["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge"]
figure, axes = plt.subplots(6, 7, figsize=(10, 8.4), height_ratios=[1, 0.75] * 3)
for top, bottom, (name, picture) in zip(axes[0::2], axes[1::2], pictures.items()):
    top[0].imshow(np.where(hole, np.nan, picture), cmap="gray", vmin=0, vmax=1)
    top[0].set_title(name)
    bottom[0].axis("off")
    for image, profile, loss in zip(top[1:], bottom[1:], losses):
        filled = graddesc.restore(picture, hole, loss=loss)
        image.imshow(filled, cmap="gray", vmin=0, vmax=1)
        image.axhline(
            n // 2 - 6, color="tab:orange", linestyle="--", linewidth=0.8
        )
        image.set_title(loss)
        row = n // 2 - 6
        profile.plot(picture[row], color="0.6", linewidth=1)
        profile.plot(filled[row], color="tab:blue", linewidth=1.5)
        profile.set(ylim=(0, 1), xticks=[], yticks=[])
for axis in axes[0::2].flat:
    axis.axis("off")
