"""Scratches, squares and a hole, filled by four losses."""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import graddesc

picture = data.camera()[40:232, 150:342]
y, x = np.mgrid[:192, :192]
masks = {
    "scratches": (np.abs((x + 2 * y) % 61 - 30) < 2)
    | (np.abs(x - 3 * y + 100) < 4),
    "squares": ((x // 14) % 4 == 1) & ((y // 14) % 4 == 1),
    "one hole": (np.abs(x - 78) < 24) & (np.abs(y - 66) < 24),
}
losses = ["harmonic", "biharmonic", "tv", "edge"]
figure, axes = plt.subplots(3, 5, figsize=(9.6, 6.2))
for row, (name, mask) in zip(axes, masks.items()):
    row[0].imshow(np.where(mask, 255, picture), cmap="gray")
    row[0].set_title(name)
    for axis, loss in zip(row[1:], losses):
        restored = graddesc.restore(picture, mask, loss=loss)
        error = (restored - picture.astype(float))[mask]
        psnr = 20 * np.log10(255 / np.sqrt(np.mean(error**2)))
        axis.imshow(restored, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{loss}, {psnr:.1f} dB")
for axis in axes.flat:
    axis.axis("off")
