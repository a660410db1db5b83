"""
Scratches and text
==================

An old print has scratches, and somebody wrote on it. Whoever marks what is damaged gets the picture back: thin damage
is the easiest to restore, as every lost pixel is near to one that is known.
"""

# %%
# The picture is the cup of scikit-image. The damage is drawn with Pillow: lines as scratches leave them, and writing.

import time

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from skimage.restoration import inpaint_biharmonic

import graddesc

truth = skimage.data.coffee()[20:380, 110:470]
rows, cols, _ = truth.shape
rng = np.random.default_rng(1)

damage = Image.new("L", (cols, rows))
draw = ImageDraw.Draw(damage)
for _ in range(14):
    start, direction = rng.uniform(0, rows, 2), rng.normal(0, 1, 2)
    path = start + np.cumsum(
        direction + rng.normal(0, 0.25, (70, 2)), axis=0
    ) * rng.uniform(1, 4)
    draw.line(
        [tuple(point) for point in path], fill=255, width=int(rng.integers(2, 4))
    )
for line, text in enumerate(
    ("Do not bend.", "Keep dry.", "Keep away", "from coffee.")
):
    draw.text(
        (30, 20 + 84 * line),
        text,
        fill=255,
        font=ImageFont.load_default(size=48),
        stroke_width=1,
    )

mask = np.asarray(damage) > 127
damaged = np.where(mask[..., None], np.array([250, 240, 225], np.uint8), truth)
print(f"{mask.mean():.1%} of the pixels are lost")

# %%
# The colours of a pixel are lost together: one mask serves all channels.

start = time.process_time()
restored = graddesc.restore(damaged, mask, channel_axis=-1)
ours = time.process_time() - start

start = time.process_time()
peer = inpaint_biharmonic(damaged / 255, mask, channel_axis=-1)
theirs = time.process_time() - start
peer = np.round(255 * np.clip(peer, 0, 1)).astype(np.uint8)


def decibels(image):
    """The peak signal-to-noise ratio of the lost pixels."""
    return 10 * np.log10(
        255**2 / np.mean((image[mask] - truth[mask].astype(float)) ** 2)
    )


print(
    f"graddesc                 {decibels(restored):5.2f} dB in {1000 * ours:6.1f} ms of the processor"
)
print(
    f"scikit-image, biharmonic {decibels(peer):5.2f} dB in {1000 * theirs:6.1f} ms"
)
print("known pixels changed:", np.count_nonzero((restored != truth)[~mask]))

# %%
# The whole picture before and after.

figure, axes = plt.subplots(1, 2, figsize=(9, 4.8), layout="compressed")
for ax, title, picture in zip(
    axes, ("damaged", "restored"), (damaged, restored), strict=True
):
    ax.imshow(picture)
    ax.set_title(title)
    ax.set_axis_off()

# %%
# And a part of it, enlarged, where writing and a scratch cross the rim.

pictures = {
    "damaged": damaged,
    f"scikit-image, {decibels(peer):.1f} dB": peer,
    f"graddesc, {decibels(restored):.1f} dB": restored,
    "the truth": truth,
}
figure, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="compressed")
for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(picture[20:100, 250:330], interpolation="nearest")
    ax.set_title(title)
    ax.set_axis_off()
