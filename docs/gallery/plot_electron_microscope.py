"""
An electron microscope that looks at a fifth
============================================

A beam that dwells long on each pixel burns the specimen. So the microscope visits a fifth of the pixels, and each so
shortly that its value is noisy. ``noise=`` says how noisy: then the visited pixels move, too.
"""

# %%
# The specimen is made up: gold on carbon, balls of many sizes, bright at their rims, where electrons escape.

import matplotlib.pyplot as plt
import numpy as np

import graddesc

SIDE = 256
SIGMA = 0.12  # of a visited pixel, where black is 0 and white about 1


def specimen():
    rng = np.random.default_rng(7)
    i, j = np.mgrid[:SIDE, :SIDE]
    image = 0.15 + 0.03 * np.sin(i / 40) * np.cos(j / 55)
    for _ in range(110):
        row, col = rng.uniform(0, SIDE, 2)
        radius = 4 + 18 * rng.random() ** 2
        inside = np.hypot(i - row, j - col) / radius
        height = np.sqrt(np.clip(1 - inside**2, 0, 1))
        ball = 0.35 + 0.5 * (1 - height) ** 2 + 0.15 * height
        image = np.where(inside < 1, ball, image)
    return image


truth = specimen()
rng = np.random.default_rng(0)
visited = rng.random(truth.shape) < 0.2
seen = np.where(visited, truth + SIGMA * rng.standard_normal(truth.shape), np.nan)

# %%
# NaN is what was not visited. Without ``noise`` the visited pixels stay as they are, and their noise spreads. With it
# nothing else is to be chosen. The expected error comes beside the image.

kept = graddesc.restore(seen)
restored, info = graddesc.restore(
    seen, noise=SIGMA, full_output=True, confidence=True
)
print(info.message)


def decibels(image):
    return -10 * np.log10(np.mean((image - truth) ** 2))


# %%
# Nobody told how noisy the pixels are? They tell it themselves, a little too high: the rims pass for noise.

estimate = graddesc.masks.estimate_noise(seen)
print(f"estimated {estimate:.3f}, true {SIGMA}")
guessed = graddesc.restore(seen, noise=estimate)

grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
error = {"cmap": "viridis", "vmin": 0, "vmax": 0.15}
panels = {
    "visited, the others in black": (np.nan_to_num(seen), grey),
    f"visited pixels kept: {decibels(kept):.1f} dB": (kept, grey),
    f"noise told: {decibels(restored):.1f} dB": (restored, grey),
    f"noise guessed: {decibels(guessed):.1f} dB": (guessed, grey),
    "error to expect": (info.error, error),
    "error, which the truth tells": (np.abs(restored - truth), error),
}
figure, axes = plt.subplots(2, 3, figsize=(10.5, 7.2), layout="compressed")
for ax, (title, (picture, settings)) in zip(
    axes.flat, panels.items(), strict=True
):
    shown = ax.imshow(picture, **settings)
    ax.set_title(title)
    ax.set_axis_off()
figure.colorbar(shown, ax=axes[1, 1:], shrink=0.8)

# %%
# The error to expect is true of visited pixels as of the others: it knows that a visited one has been seen, and how
# well.

for name, where in (("visited", visited), ("others", ~visited)):
    found = np.sqrt(np.mean((restored - truth)[where] ** 2))
    expected = np.sqrt(np.mean(info.error[where].astype(float) ** 2))
    print(f"{name:8} error {found:.4f}, expected {expected:.4f}")
