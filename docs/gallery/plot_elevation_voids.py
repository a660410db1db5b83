"""
An elevation model with voids
=============================

Radar does not see behind a mountain, and an elevation model has voids there. They are NaN. The model is in metres, of
any range, and the filled voids come with the error to expect of them, in metres as well.
"""

# %%
# The mountains are noise whose spectrum falls as a power of the frequency, folded into ridges. The radar looks from
# the west at a low angle: a point is in the shadow if a higher ray passes over it.

import itertools

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LightSource

import graddesc

SIDE, SPACING = 384, 30.0  # pixels, metres


def mountains(rng):
    frequency = np.hypot(
        *np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    )
    spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(
        size=frequency.shape
    )

    def noise(power, widest):
        amplitude = np.where(
            frequency > 1 / widest, np.maximum(frequency, 1 / SIDE) ** -power, 0
        )
        layer = np.fft.irfft2(spectrum * amplitude, (SIDE, SIDE))
        return layer / layer.std()

    ridges = 1 - np.abs(
        noise(2.6, widest=200)
    )  # where the noise is zero it has a crease
    return 1500 + 330 * ridges + 35 * noise(2.0, widest=80)


def radar_shadow(height, slope):
    along = np.arange(SIDE) * SPACING * slope
    ray = np.maximum.accumulate(height + along, axis=1)
    return height + along < ray - 12


truth = mountains(np.random.default_rng(8))
voids = radar_shadow(truth, slope=0.36)
model = np.where(voids, np.nan, truth)
print(
    f"heights from {truth.min():.0f} to {truth.max():.0f} m; {voids.mean():.1%} of the pixels are voids"
)

# %%
# No mask is needed, as NaN tells. ``bounds=(None, None)`` lets a valley floor be deeper than what the radar saw of
# it.

filled, info = graddesc.restore(
    model, bounds=(None, None), full_output=True, confidence=True
)
print(info.message)

error = np.abs(filled - truth)[voids]
expected = info.error[voids]
print(f"root mean square error of the voids: {np.sqrt(np.mean(error**2)):5.1f} m")
print(
    f"root mean square error to expect:    {np.sqrt(np.mean(expected**2)):5.1f} m"
)

# %%
# Shaded relief shows every crease and step. What was filled is smooth, and joins without a step.

light = LightSource(azdeg=315, altdeg=40)


def relief(ax, height, title):
    low, high = truth.min(), truth.max()
    shaded = light.shade(
        np.nan_to_num(height, nan=low),
        plt.get_cmap("gist_earth"),
        vmin=low - 200,
        vmax=high + 200,
        dx=SPACING,
        dy=SPACING,
        vert_exag=1.5,
        blend_mode="soft",
    )
    shaded[np.isnan(height)] = (0.83, 0.37, 0.0, 1)
    ax.imshow(shaded)
    ax.set_title(title)
    ax.set_axis_off()


figure, axes = plt.subplots(2, 2, figsize=(8.4, 8.6), layout="compressed")
relief(axes[0, 0], model, "what the radar saw; voids in orange")
relief(axes[0, 1], filled, "filled")
relief(axes[1, 0], truth, "the truth")
shown = axes[1, 1].imshow(info.error, cmap="viridis", vmin=0)
axes[1, 1].set_title("error to expect")
axes[1, 1].set_axis_off()
figure.colorbar(shown, ax=axes[1, 1], label="m", shrink=0.8)

# %%
# A profile across the widest void, from west to east. The band is twice the expected error on either side.


def widest(of_row):
    runs = (
        len(list(run)) for is_void, run in itertools.groupby(of_row) if is_void
    )
    return max(runs, default=0)


row = int(np.argmax([widest(of_row) for of_row in voids]))
distance = np.arange(SIDE) * SPACING / 1000

figure, ax = plt.subplots(figsize=(8.4, 3.8), layout="constrained")
ax.fill_between(
    distance,
    (filled - 2 * info.error)[row],
    (filled + 2 * info.error)[row],
    where=voids[row],
    color="#56B4E9",
    alpha=0.4,
    linewidth=0,
    label="filled, and twice the expected error",
)
ax.plot(
    distance,
    truth[row],
    color="black",
    linewidth=1,
    linestyle="--",
    label="the truth",
)
ax.plot(
    distance, model[row], color="black", linewidth=2, label="what the radar saw"
)
ax.plot(
    distance,
    np.where(voids, filled, np.nan)[row],
    color="#D55E00",
    linewidth=2,
    label="filled",
)
ax.set(
    xlabel="distance (km)",
    ylabel="height (m)",
    title=f"row {row}",
    xlim=(distance[0], distance[-1]),
)
figure.legend(loc="outside lower center", frameon=False, ncols=4)
