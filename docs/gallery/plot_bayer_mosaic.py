"""
A Bayer mosaic
==============

The sensor of a camera measures one colour in each pixel: red in a quarter of them, blue in another, green in half.
The two that are missing are to be restored. So the channels have masks of their own.
"""

# %%
# The mosaic of a portrait, with the pattern RGGB.

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import graddesc

RED, GREEN, BLUE = 0, 1, 2
truth = skimage.data.astronaut()[0:256, 90:346]
mask = np.ones(truth.shape, bool)  # True where a value is missing
mask[0::2, 0::2, RED] = False
mask[0::2, 1::2, GREEN] = mask[1::2, 0::2, GREEN] = False
mask[1::2, 1::2, BLUE] = False
mosaic = np.where(mask, 0, truth)
print(
    "known:",
    ", ".join(
        f"{1 - mask[..., c].mean():.0%} of {name}"
        for c, name in enumerate(("red", "green", "blue"))
    ),
)

# %%
# :func:`graddesc.restore` takes a mask of the image's whole shape. Each channel has its own holes then, and the channels
# tell each other what is missing: their edges go up and down together, and how, the image itself tells.

whole = graddesc.restore(mosaic, mask, channel_axis=-1)

# %%
# Each channel by itself knows nothing of that.

apart = np.stack(
    [
        graddesc.restore(mosaic[..., channel], mask[..., channel])
        for channel in (RED, GREEN, BLUE)
    ],
    axis=-1,
)

# %%
# A classic recipe of the field takes it that colours change more slowly than brightness: fill green, which is known
# best; then fill the differences red - green and blue - green, and add green again. Differences are floats of both
# signs, so they have no bounds.

green = graddesc.restore(
    mosaic[..., GREEN].astype(np.float32), mask[..., GREEN], bounds=(0, 255)
)
by_differences = np.stack([green] * 3, axis=-1)
for channel in (RED, BLUE):
    difference = mosaic[..., channel] - green
    by_differences[..., channel] += graddesc.restore(
        difference, mask[..., channel], bounds=(None, None)
    )
by_differences = np.where(
    mask, np.round(np.clip(by_differences, 0, 255)).astype(np.uint8), mosaic
)

# %%
# For comparison, what the simplest cameras do: the mean of the nearest neighbours that have the colour.

kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


def bilinear(channel):
    known = ~mask[..., channel]
    padded = [
        np.pad(plane.astype(float), 1) for plane in (mosaic[..., channel], known)
    ]
    rows, cols = known.shape
    sums = [
        sum(
            kernel[i, j] * plane[i : i + rows, j : j + cols]
            for i in range(3)
            for j in range(3)
        )
        for plane in padded
    ]
    return np.where(
        known, mosaic[..., channel], np.round(sums[0] / sums[1])
    ).astype(np.uint8)


results = {
    "bilinear": np.stack(
        [bilinear(channel) for channel in (RED, GREEN, BLUE)], axis=-1
    ),
    "each channel by itself": apart,
    "green, then differences": by_differences,
    "restore(mosaic, mask)": whole,
}


def decibels(image):
    return 10 * np.log10(255**2 / np.mean((image - truth.astype(float)) ** 2))


for name, image in results.items():
    print(f"{name:24} {decibels(image):.2f} dB")

# %%
# False colours along fine lines are what a poor reconstruction shows first.

pictures = {
    "the mosaic": mosaic,
    **{
        f"{name}\n{decibels(image):.1f} dB": image
        for name, image in results.items()
    },
    "the truth": truth,
}
crop = np.s_[40:80, 92:132]
figure, axes = plt.subplots(2, 6, figsize=(15, 5.6), layout="compressed")
for (above, below), (title, picture) in zip(
    axes.T, pictures.items(), strict=True
):
    above.imshow(picture)
    above.add_patch(
        plt.Rectangle(
            (92, 40), 40, 40, fill=False, edgecolor="white", linewidth=1.5
        )
    )
    above.set_title(title)
    below.imshow(picture[crop], interpolation="nearest")
    above.set_axis_off()
    below.set_axis_off()
