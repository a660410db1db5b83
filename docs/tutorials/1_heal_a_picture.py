"""
Heal a picture
==============

Nine pixels out of ten are gone. What is left is enough to see the picture again: pixels of a photograph resemble their
neighbours. This page writes that down as a function, descends its gradient by hand, and then lets the package do it.
"""

# %%
# A picture and its damage
# ------------------------
# The package draws a picture of its own: two ginkgo leaves. To use a photograph, write
# ``np.asarray(PIL.Image.open("photo.jpg").convert("L")) / 255`` in its place.

import matplotlib.pyplot as plt
import numpy as np

import graddesc

picture = graddesc.samples.ginkgo(192).mean(axis=2) / 255  # grey, from 0 to 1


def show(**pictures):
    """Show pictures side by side, each under its name."""
    figure = plt.figure(figsize=(3.2 * len(pictures), 3.5), layout="constrained")
    for axis, (name, shown) in zip(
        figure.subplots(1, len(pictures)), pictures.items(), strict=True
    ):
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name)
        axis.axis("off")


# %%
# Each pixel is known with a probability of one tenth. All others become black or white. The mask
# tells which: it is True where a pixel is corrupt.

rng = np.random.default_rng(0)
mask = rng.random(picture.shape) >= 0.1
noise = rng.integers(0, 2, picture.shape)
corrupt = np.where(mask, noise, picture)

show(original=picture, corrupt=corrupt)

# %%
# A loss by hand
# --------------
# In a smooth picture neighbours differ little. Take every row :math:`r` and every column, and the
# differences along it. Their length as a vector says how rough the line is. Pixels two apart should
# be alike, too. So the roughness of the picture is
#
# .. math::
#    E(x) = \sum_r \|\mathrm{diff}(r)\| + \|\mathrm{diff}(r_{0, 2, 4, \ldots})\|
#    + \|\mathrm{diff}(r_{1, 3, 5, \ldots})\|
#
# The norms are not squared. A line with a strong edge has a large norm already; one more step in it
# costs little. That is why edges survive.


def parts(x):
    """The rows and columns of x, as a whole and every second pixel of them: views."""
    for lines in (x, x.T):
        yield from (lines, lines[:, 0::2], lines[:, 1::2])


def loss(x):
    return sum(
        np.linalg.norm(np.diff(lines, axis=1), axis=1).sum() for lines in parts(x)
    )


print(f"original {loss(picture):.0f}, corrupt {loss(corrupt):.0f}")

# %%
# Its gradient
# ------------
# The derivative of a norm :math:`\|d\|` by its vector is :math:`d / \|d\|`. Each difference
# :math:`d_j = x_{j+1} - x_j` pulls the right pixel down and the left one up. Where a line is
# constant the norm has a kink; 0 is as good a slope as any.


def gradient(x):
    g = np.zeros_like(x)
    for lines, out in zip(parts(x), parts(g), strict=True):
        d = np.diff(lines, axis=1)
        norm = np.linalg.norm(d, axis=1, keepdims=True)
        d = np.divide(d, norm, out=np.zeros_like(d), where=norm > 0)
        out[:, 1:] += d
        out[:, :-1] -= d
    return g


# %%
# A gradient is easily got wrong. Nudge one pixel and see whether the loss changes as the gradient
# says:

nudge = np.zeros_like(picture)
nudge[50, 60] = 1e-5
measured = (loss(picture + nudge) - loss(picture - nudge)) / 2e-5
print(f"measured {measured:.6f}, by the gradient {gradient(picture)[50, 60]:.6f}")

# %%
# Descend it
# ----------
# Go downhill in small steps, and move the corrupt pixels only. The known ones are the truth. After
# each step the pixels are clipped to the range of a picture. The steps are large at first and
# shrink: :math:`1.5 / (k + 1)`, and never less than 0.015.

x = corrupt.copy()
stages, losses = {}, []
for k in range(500):
    step = max(1.5 / (k + 1), 0.015)
    x[mask] -= step * gradient(x)[mask]
    np.clip(x, 0, 1, out=x)
    losses.append(loss(x))
    if k + 1 in (20, 100, 500):
        stages[f"step {k + 1}"] = x.copy()

show(**stages)

# %%
# The picture comes back within a hundred steps. How near it is to the original is told by the ratio
# of signal to noise: the larger the better, 10 dB for a tenth of the squared error.


def psnr(x):
    return 10 * np.log10(1 / np.mean((x - picture) ** 2))


for name, stage in {"corrupt": corrupt, **stages}.items():
    print(f"{name:9} loss {loss(stage):6.1f}   PSNR {psnr(stage):5.2f} dB")

# %%
# The same with the package
# -------------------------
# The loss is `graddesc.losses.LineSmoothness`, the steps are the schedule `graddesc.InverseTime`,
# and ``init="image"`` starts from the noise. It is the same loop, compiled:

recipe, info = graddesc.restore(
    corrupt,
    mask,
    loss="line",
    step=graddesc.InverseTime(1.5, floor=0.015),
    init="image",
    max_iter=500,
    full_output=True,
)
print(
    f"{info.nit} steps, loss {info.fun:.1f}; furthest from the loop by hand: {np.abs(recipe - x).max():.1e}"
)

# %%
# Without a schedule
# ------------------
# A schedule has to be guessed. Without one the loss has a solver of its own. It starts from
# averages of the known pixels instead of from noise, keeps momentum, and stops when the picture has
# settled:

settled, info = graddesc.restore(corrupt, mask, loss="line", full_output=True)
print(f"{info.nit} iterations, loss {info.fun:.1f}, PSNR {psnr(settled):.2f} dB")
print(info.message)

figure = graddesc.plots.loss_history(
    {"500 steps from the noise": losses, "solver": info.history}
)
figure.set_size_inches(6.5, 3.6)
figure.axes[0].set_xscale("log")

# %%
# Some twenty iterations reach the loss of 500 steps, and the picture is no better: this loss can do
# no more. It takes another one.
#
# A better loss
# -------------
# The default, "edge", penalises how the picture bends rather than how it rises, and it looks for
# edges: it is stiff along them and soft across. So this is all that you need to write:

restored = graddesc.restore(corrupt, mask)
print(f"PSNR {psnr(restored):.2f} dB")

show(line=settled, edge=restored, original=picture)

# %%
# The known pixels have not changed by a bit:

assert (restored[~mask] == corrupt[~mask]).all()

# %%
# Colour, and bytes
# -----------------
# Pictures are seldom grey and from 0 to 1. `graddesc.restore` takes them as they come and returns
# what it was given: here bytes, with channels that are weighed together.

photograph = graddesc.samples.ginkgo(192)
colour, mask = graddesc.masks.corrupt(
    photograph, missing=0.9, rng=0, channel_axis=-1
)
restored = graddesc.restore(colour, mask, channel_axis=-1)
print(restored.dtype, restored.shape)

show(corrupt=colour, restored=restored, original=photograph)

# %%
# Where to go from here: :doc:`/how-to/which-loss` compares the losses, :doc:`/how-to/masks` says
# how to tell what is corrupt, and :doc:`/explanation/losses` shows what each loss does.
