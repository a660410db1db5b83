"""
Dead pixels of a camera
=======================

Some pixels of a sensor no longer measure. A dark frame, taken with the cap on, tells which. Every exposure then has
holes at the same places, so that all that depends on the mask is prepared once.
"""

# %%
# The exposure is the cameraman of scikit-image. Its sensor has pixels that are always white, others that are always
# black, clusters of them, and three dead columns.

import time

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from scipy import ndimage
from skimage.restoration import inpaint_biharmonic

import graddesc

truth = skimage.data.camera()
rows, cols = truth.shape
rng = np.random.default_rng(4)

defects = rng.random(truth.shape) < 0.01
clusters = ndimage.binary_dilation(rng.random(truth.shape) < 0.0004, iterations=2)
hot = (defects | clusters) & (rng.random(truth.shape) < 0.5)
dead = (defects | clusters) & ~hot
dead[:, [211, 318, 319]] = True
exposure = np.where(hot, 255, np.where(dead, 0, truth)).astype(np.uint8)

# %%
# A dark frame shows the hot pixels, and a frame of an even light shows the dead ones. Both have noise, which is far
# from what a defect shows.

dark_frame = np.where(hot, 255, rng.normal(3, 1, truth.shape))
flat_frame = np.where(dead, 0, rng.normal(128, 4, truth.shape))
mask = (dark_frame > 50) | (flat_frame < 50)
print(f"{np.count_nonzero(mask)} of {mask.size} pixels do not measure")

# %%
# A median filter is the usual remedy; scikit-image's biharmonic equation is another.


def timed(restore, rounds=3):
    """What `restore` returns, and the least of its times: the seconds of the processor."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        result = restore()
        seconds.append(time.process_time() - start)
    return result, min(seconds)


results = {
    "median of 3 x 3": timed(
        lambda: np.where(mask, ndimage.median_filter(exposure, 3), exposure)
    ),
    "scikit-image, biharmonic": timed(
        lambda: inpaint_biharmonic(exposure / 255, mask) * 255
    ),
    "graddesc": timed(lambda: graddesc.restore(exposure, mask)),
}
for name, (restored, seconds) in results.items():
    error = restored[mask] - truth[mask].astype(float)
    print(
        f"{name:26} {1000 * seconds:8.1f} ms, error of the dead pixels {np.sqrt(np.mean(error**2)):5.2f} grey levels"
    )

# %%
# The median takes what most pixels of its window say, so it fails where most of them are dead; and it flattens what
# is fine. The default loss, "edge", carries edges across. All pictures have the same scale of grey.

pictures = {
    "the exposure": exposure,
    **{name: restored for name, (restored, _) in results.items()},
}
face, glass = np.s_[60:220, 190:350], np.s_[130:178, 296:344]

figure, axes = plt.subplots(2, 4, figsize=(12, 6.3), layout="compressed")
for (above, below), (name, picture) in zip(axes.T, pictures.items(), strict=True):
    above.imshow(picture[face], cmap="gray", vmin=0, vmax=255)
    above.add_patch(
        plt.Rectangle(
            (106, 70), 48, 48, fill=False, edgecolor="#E69F00", linewidth=2
        )
    )
    above.set_title(name)
    below.imshow(picture[glass], cmap="gray", vmin=0, vmax=255)
    for ax in (above, below):
        ax.set_axis_off()

# %%
# A plan pays where there are many exposures. With "biharmonic" it solves the equations of each cluster once, and a
# frame then costs a multiplication. Here are 100 frames of a light that fades.

film = [(exposure * light).astype(np.uint8) for light in np.linspace(1, 0.3, 100)]
plan = graddesc.Plan(mask, loss="biharmonic")
_, seconds = timed(lambda: [plan(frame) for frame in film])
print(
    f"{rows} x {cols} pixels: {len(film) / seconds:.0f} frames in a second, of one processor"
)
