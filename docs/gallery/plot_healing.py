"""
The healing, animated
=====================

Gradient descent improves a picture step by step. A callback sees each step: it can show it, keep it, or end the run.
"""

# %%
# Nine tenths of the ginkgo are black or white. The classic recipe starts from this noise itself, and takes 500 steps
# of the loss "line", each a little shorter than the one before.

import base64
import math

import matplotlib.pyplot as plt
import numpy as np

import graddesc

# sphinx_gallery_capture_repr = ("_repr_html_",)

truth = graddesc.samples.ginkgo(256)
corrupt, mask = graddesc.masks.corrupt(truth, missing=0.9, rng=0, channel_axis=-1)
recipe = {
    "loss": "line",
    "step": graddesc.InverseTime(1.5, floor=0.015),
    "init": "image",
    "max_iter": 500,
    "channel_axis": -1,
}

# %%
# :class:`graddesc.animation.Recorder` is such a callback. Its frames lie ever farther apart, because that is how an
# image heals. In a notebook the object below is the animation.

recorder = graddesc.animation.Recorder(corrupt)
restored, info = graddesc.restore(
    corrupt, mask, **recipe, callback=recorder, full_output=True
)
animation = recorder.encode(restored, "webp")
print(
    f"{len(recorder.frames)} frames, {len(animation) / 1024:.0f} kB: {info.message}"
)


class Shown:
    """An animation as a notebook, or this page, shows it."""

    def __init__(self, data, text):
        self._data, self._text = base64.b64encode(data).decode(), text

    def _repr_html_(self):
        address = f"data:image/webp;base64,{self._data}"
        return f'<img src="{address}" alt="{self._text}" style="max-width: 100%">'


Shown(animation, "Two ginkgo leaves appear out of noise")

# %%
# Any function will do as a callback. This one keeps what is needed for a plot; to raise ``StopIteration`` would end the
# run.

wanted = {1, 3, 10, 30, 100, 500}
kept, decibels = {}, []


def watch(intermediate_result):
    error = np.mean((intermediate_result.x.astype(float) - truth) ** 2)
    decibels.append(10 * math.log10(255**2 / error))
    if intermediate_result.nit in wanted:
        kept[intermediate_result.nit] = intermediate_result.x


_, classic = graddesc.restore(
    corrupt, mask, **recipe, callback=watch, full_output=True
)

figure, axes = plt.subplots(2, 3, figsize=(9, 6.5), layout="compressed")
for ax, (iteration, picture) in zip(axes.flat, kept.items(), strict=True):
    ax.imshow(picture)
    ax.set_title(f"iteration {iteration}, {decibels[iteration - 1]:.1f} dB")
    ax.set_axis_off()

# %%
# The solver, which runs when no step is given, needs fewer iterations for a better picture. It starts from averages
# on coarser grids, and its loss, "edge", keeps edges.

by_recipe, decibels = decibels, []
settings = {"channel_axis": -1, "full_output": True}
_, solved = graddesc.restore(corrupt, mask, callback=watch, **settings)

figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
ax.plot(
    np.arange(1, len(by_recipe) + 1),
    by_recipe,
    color="#0072B2",
    label='the recipe, "line"',
)
ax.plot(
    np.arange(1, len(decibels) + 1),
    decibels,
    color="#D55E00",
    label='the solver, "edge"',
)
ax.plot(
    len(decibels),
    decibels[-1],
    "*",
    color="#D55E00",
    markersize=12,
    label="settled",
)
ax.set(
    xscale="log",
    xlabel="iteration",
    ylabel="PSNR (dB)",
    title="How fast the picture heals",
)
ax.grid(alpha=0.3)
ax.legend(frameon=False)
