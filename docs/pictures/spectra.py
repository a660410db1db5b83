"""Bricks, original and restored by two losses, and power spectra of a window."""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import graddesc

picture = data.brick()[100:228, 60:188] / 255
corrupt, mask = graddesc.masks.corrupt(picture, 0.9, rng=0)
shown = {
    "original": picture,
    "edge": graddesc.restore(corrupt, mask),
    "texture": graddesc.restore(corrupt, mask, loss="texture"),
}
window = np.outer(*[np.sin(np.pi * (np.arange(48) + 0.5) / 48)] * 2)


def psnr(image):
    """The signal-to-noise ratio in dB."""
    return -10 * np.log10(np.mean((image - picture) ** 2))


figure, axes = plt.subplots(2, 3, figsize=(8.6, 5.9))
for top, bottom, (name, image) in zip(*axes, shown.items()):
    top.imshow(image, cmap="gray", vmin=picture.min(), vmax=picture.max())
    top.set_title(name if image is picture else f"{name}, {psnr(image):.1f} dB")
    part = image[40:88, 40:88]
    spectrum = (
        np.abs(np.fft.fftshift(np.fft.fft2(window * (part - part.mean())))) ** 2
    )
    bottom.imshow(np.log10(spectrum + 1e-3), cmap="magma", vmin=-2, vmax=2)
axes[1, 0].set_title("power spectra of a window", fontsize=10)
for axis in axes.flat:
    axis.axis("off")
