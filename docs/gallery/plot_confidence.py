"""
How far to trust each pixel
===========================

A restored pixel beside a known one is nearly as good as known. One in the middle of a hole is a guess. With
``confidence=True`` the result says which is which, in units of the image.
"""

# %%
# Three fifths of this picture are lost pixel by pixel, and a square and a stripe besides.

import matplotlib.pyplot as plt
import numpy as np

import graddesc

truth = graddesc.samples.ginkgo(256).mean(axis=-1)
rng = np.random.default_rng(3)
mask = rng.random(truth.shape) < 0.6
mask[150:200, 60:110] = True
mask[40:52, 100:230] = True
corrupt = np.where(mask, np.nan, truth)

restored, info = graddesc.restore(corrupt, full_output=True, confidence=True)
print(info.message)

# %%
# ``info.error`` is the root of the squared error to expect. It is learned from the picture itself: some known pixels
# are held out, restored from the others, and compared. ``info.confidence`` is the same as a number from 0 to 1, which
# depends on the contrast of the picture and not on its units.

error = np.abs(restored - truth)
scale = {"cmap": "viridis", "vmin": 0, "vmax": 50}
panels = {
    "corrupt; lost in black": (
        np.nan_to_num(corrupt),
        {"cmap": "gray", "vmin": 0, "vmax": 255},
    ),
    "restored": (restored, {"cmap": "gray", "vmin": 0, "vmax": 255}),
    "confidence": (info.confidence, {"cmap": "cividis", "vmin": 0, "vmax": 1}),
    "error to expect": (info.error, scale),
    "error, which the truth tells": (error, scale),
}
figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.6), layout="compressed")
for ax, (title, (picture, settings)) in zip(
    axes.flat, panels.items(), strict=False
):
    shown = ax.imshow(picture, **settings)
    ax.set_title(title)
    ax.set_axis_off()
    if settings["cmap"] != "gray":
        figure.colorbar(
            shown,
            cax=ax.inset_axes([1.03, 0, 0.04, 1]),
            label="" if settings["vmax"] == 1 else "grey levels",
        )

# Sort the lost pixels by the error to expect, and take the root mean square in classes of as many pixels.
expected, actual = info.error[mask], error[mask]
order = np.array_split(np.argsort(expected), 25)
says = np.array([np.sqrt(np.mean(expected[some] ** 2)) for some in order])
was = np.array([np.sqrt(np.mean(actual[some] ** 2)) for some in order])
ax = axes[1, 2]
ax.plot(
    [says.min(), says.max()],
    [says.min(), says.max()],
    color="black",
    linewidth=1,
    linestyle="--",
    label="as it says",
)
ax.plot(
    says, was, "o", color="#D55E00", label=f"{len(order[0])} lost pixels each"
)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="error to expect",
    ylabel="error",
    title="Is it true?",
    box_aspect=1,
)
ax.set(
    xticks=(3, 10, 30),
    xticklabels=(3, 10, 30),
    yticks=(3, 10, 30),
    yticklabels=(3, 10, 30),
)
ax.minorticks_off()
ax.grid(alpha=0.3)
ax.legend(frameon=False, fontsize="small")

# %%
# The error to expect is an average. It says little of a single pixel, and nothing of what a hole hides and the rest
# of the picture does not show.

within = np.mean(actual <= 2 * expected)
print(f"{within:.1%} of the lost pixels are within twice the error to expect")
