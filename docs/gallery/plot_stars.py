"""
Stars, scaled by arcsinh first
==============================

A picture of the sky spans four orders of magnitude. Cosmic rays spoil some of its pixels. What is smooth should be
judged as the eye judges it: scale the picture by arcsinh, restore, and scale back.
"""

# %%
# A field of stars and two galaxies on a faint background, in counts of electrons. Light comes through the same
# optics, whose image of a point is Moffat's profile. Cosmic rays are short tracks of any brightness.

import matplotlib.pyplot as plt
import numpy as np

import graddesc

SIDE, BACKGROUND = 256, 200.0
rng = np.random.default_rng(7)
y, x = np.mgrid[:SIDE, :SIDE].astype(float)


def star(row, col, flux, width=1.7, power=2.8):
    radius2 = (y - row) ** 2 + (x - col) ** 2
    return (
        flux
        * (power - 1)
        / (np.pi * width**2)
        * (1 + radius2 / width**2) ** -power
    )


def galaxy(row, col, flux, size, turn, ratio):
    across = (x - col) * np.cos(turn) + (y - row) * np.sin(turn)
    along = (y - row) * np.cos(turn) - (x - col) * np.sin(turn)
    profile = np.exp(-1.68 * (np.hypot(across, along / ratio) / size) ** 0.7)
    return flux * profile / profile.sum()


stars = [
    (*rng.uniform(6, SIDE - 6, 2), 10 ** rng.uniform(3.0, 6.2))
    for _ in range(140)
]
sky = BACKGROUND + sum(star(*each) for each in stars)
sky += galaxy(90, 165, 9e5, 16, 0.5, 0.35) + galaxy(190, 60, 4e5, 9, -0.9, 0.7)
truth = rng.poisson(sky) + rng.normal(0, 5, sky.shape)

mask = np.zeros(sky.shape, bool)
for _ in range(260):
    row, col, turn, length = (
        *rng.uniform(0, SIDE, 2),
        rng.uniform(0, np.pi),
        rng.exponential(6),
    )
    steps = np.arange(0, length, 0.5)
    rows, cols = (
        np.rint(row + steps * np.sin(turn)).astype(int),
        np.rint(col + steps * np.cos(turn)).astype(int),
    )
    inside = (rows >= 0) & (rows < SIDE) & (cols >= 0) & (cols < SIDE)
    mask[rows[inside], cols[inside]] = True
exposure = np.where(mask, truth + 10 ** rng.uniform(3, 5, sky.shape), truth)
print(f"{np.count_nonzero(mask)} pixels were hit, {mask.mean():.1%}")

# %%
# The default loss measures contrast by the range of the known pixels. Here the stars set it, and the sky is flat
# beside them. After arcsinh the noise of the sky and a star differ by a factor of ten rather than ten thousand.

noise = np.sqrt(BACKGROUND)


def compress(counts):
    return np.arcsinh((counts - BACKGROUND) / noise)


def expand(scaled):
    return np.sinh(scaled) * noise + BACKGROUND


def to_electrons(loss, scaled):
    if scaled:
        return expand(graddesc.restore(compress(exposure), mask, loss=loss))
    return graddesc.restore(exposure, mask, loss=loss)


results = {
    "as it is": to_electrons("edge", False),
    "arcsinh first": to_electrons("edge", True),
}

# %%
# The error is the distance to the sky without noise, in units of the noise that the pixel would have had. Three
# classes of pixels are told apart by their brightness.

deviation = np.sqrt(sky + 25)
classes = {
    "sky": sky < BACKGROUND + 10,
    "wings": (sky >= BACKGROUND + 10) & (sky < 5 * BACKGROUND),
    "cores": sky >= 5 * BACKGROUND,
}
print(f"{'median error / noise':22}" + "".join(f"{name:>10}" for name in classes))
for name, restored in results.items():
    errors = np.abs(restored - sky) / deviation
    print(
        f"{name:22}"
        + "".join(
            f"{np.median(errors[mask & some]):10.2f}" for some in classes.values()
        )
    )

# %%
# Above, all pictures are shown by the same arcsinh. Below is the square, enlarged: where the two restorations differ
# most. Orange is too bright and purple too dark, in units of the noise.

differ = np.abs(results["as it is"] - results["arcsinh first"]) / deviation
half = 24
middle = np.clip(np.unravel_index(differ.argmax(), sky.shape), half, SIDE - half)
left, right, top, bottom = (
    middle[1] - half,
    middle[1] + half,
    middle[0] - half,
    middle[0] + half,
)
greys = {"cmap": "gray", "interpolation": "nearest"}

figure, axes = plt.subplots(2, 3, figsize=(10.5, 7), layout="compressed")
for ax, (title, counts) in zip(
    axes[0], {"the exposure": exposure, **results}.items(), strict=True
):
    ax.imshow(compress(counts), **greys, vmin=-2, vmax=7)
    ax.add_patch(
        plt.Rectangle(
            (left, top),
            2 * half,
            2 * half,
            fill=False,
            edgecolor="#E69F00",
            linewidth=1.5,
        )
    )
    ax.set_title(title)
axes[1, 0].imshow(compress(exposure), **greys, vmin=-2, vmax=9)
axes[1, 0].set_title("the exposure, enlarged")
for ax, (name, restored) in zip(axes[1, 1:], results.items(), strict=True):
    errors = np.where(mask, (restored - sky) / deviation, 0)
    shown = ax.imshow(
        errors, cmap="PuOr_r", vmin=-20, vmax=20, interpolation="nearest"
    )
    ax.contour(sky, [5 * BACKGROUND], colors="0.6", linewidths=0.8)
    ax.set_title(f"{name}: error / noise")
for ax in axes[1]:
    ax.set(xlim=(left, right), ylim=(bottom, top))
for ax in axes.flat:
    ax.set_axis_off()
figure.colorbar(shown, ax=axes[1, :], shrink=0.8, extend="both")
