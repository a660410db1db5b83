"""
A spectral cube
===============

A spectrometer sees a scene in many bands. Of each, most is missing here, at places of its own: detectors fail, filters
lie in front of some pixels only, or there is no time to measure them all.
"""

# %%
# A cube of 31 bands: five materials with smooth spectra, in the shares and the light of a photograph, and some noise.

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import graddesc

rng = np.random.default_rng(0)
photograph = skimage.data.coffee()[120:248, 200:328] / 255
colours = rng.choice(photograph.reshape(-1, 3), 5, replace=False)
closeness = np.exp(
    -((photograph[..., np.newaxis, :] - colours) ** 2).sum(-1) / 0.02
)
shares = closeness / closeness.sum(-1, keepdims=True)

wavelengths = np.linspace(400, 700, 31)  # nanometres
peaks, widths = rng.uniform(400, 700, (5, 3)), rng.uniform(30, 120, (5, 3))
bumps = np.exp(
    -(((wavelengths[:, np.newaxis, np.newaxis] - peaks) / widths) ** 2)
)
spectra = 0.1 + bumps.sum(-1).T / 2
cube = (0.2 + photograph.mean(-1, keepdims=True)) * (shares @ spectra)
cube = cube / cube.max() + rng.normal(0, 0.004, cube.shape)

# %%
# One value in ten is known.

mask = rng.random(cube.shape) < 0.9
restored, info = graddesc.restore(cube, mask, channel_axis=-1, full_output=True)
print(info.message)

# %%
# Each band by itself has little to go by.

apart = np.stack(
    [
        graddesc.restore(cube[..., band], mask[..., band])
        for band in range(cube.shape[-1])
    ],
    axis=-1,
)


def decibels(image):
    return -10 * np.log10(np.mean((image - cube)[mask] ** 2))


for name, image in (("each by itself", apart), ("together", restored)):
    print(f"{name:16} {decibels(image):.1f} dB over the missing values")

# %%
# One band, and the spectrum of one pixel: a dot is a value that is known.

band, row, col = 20, 40, 60
figure, axes = plt.subplots(1, 5, figsize=(15, 3.2), layout="constrained")
pictures = {
    "what is known": np.where(mask, np.nan, cube),
    "each by itself": apart,
    "together": restored,
    "the truth": cube,
}
for ax, (title, picture) in zip(axes, pictures.items(), strict=False):
    ax.imshow(picture[..., band], cmap="gray", vmin=0, vmax=0.7)
    ax.plot(col, row, "o", markerfacecolor="none", color="tab:red")
    ax.set_title(title)
    ax.set_axis_off()
for name, image, style in (
    ("the truth", cube, "black"),
    ("each by itself", apart, "tab:blue"),
    ("together", restored, "tab:red"),
):
    axes[-1].plot(wavelengths, image[row, col], color=style, label=name)
known = ~mask[row, col]
axes[-1].plot(wavelengths[known], cube[row, col, known], "ko")
axes[-1].set_xlabel("nanometres")
axes[-1].legend()
