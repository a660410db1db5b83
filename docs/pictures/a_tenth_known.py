"""Three photographs, a tenth of whose pixels is known, restored by five losses."""

import time

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import graddesc

pictures = [
    data.camera()[40:232, 150:342],
    data.brick()[:192, :192],
    (data.moon()[100:484:2, 60:444:2]),
]
losses = ["harmonic", "biharmonic", "hessian-tv", "edge", "texture"]
figure, axes = plt.subplots(3, 6, figsize=(10, 6.2))
for row, picture in zip(axes, pictures):
    corrupt, mask = graddesc.masks.corrupt(picture, 0.9, rng=0)
    settings = {"cmap": "gray", "vmin": picture.min(), "vmax": picture.max()}
    row[0].imshow(corrupt, cmap="gray")
    row[0].set_title("10 % known")
    for axis, loss in zip(row[1:], losses):
        graddesc.restore(corrupt, mask, loss=loss)
        start = time.perf_counter()
        restored = graddesc.restore(corrupt, mask, loss=loss)
        took = 1000 * (time.perf_counter() - start)
        psnr = 20 * np.log10(
            255 / np.sqrt(np.mean((restored - picture.astype(float)) ** 2))
        )
        axis.imshow(restored, **settings)
        axis.set_title(f"{loss}\n{psnr:.1f} dB, {took:.0f} ms", fontsize=11)
for axis in axes.flat:
    axis.axis("off")
