"""
Elevations with coordinates, by xarray and Dask
===============================================

An elevation model that knows where it lies is a DataArray of xarray, and a large one
is held in chunks by Dask. What comes back is the same: with its coordinates, its
attributes and its chunks, and lazy until somebody asks for it.
"""

# %%
# The landscape is carved by rivers: it rises steadily, and each point is worn down the
# faster, the steeper it is and the more water comes from above (the stream power law).
# Points are visited from the outlets at the border upwards, so that long steps are
# stable [1]_. The grid is one of 50 m, in metres of a projected system.

import dask
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import LightSource
from scipy import ndimage

import graddesc
import graddesc.dask

ROWS, COLS, BORDER, SPACING = 280, 360, 20, 50.0
STEPS, RISE, WEAR = 30, 20.0, 0.35  # RISE in metres a step

AROUND = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


def lower_neighbours(height):
    """The flat index of the steepest descent of each point, and how far it is."""
    padded = np.pad(height, 1, constant_values=np.inf)
    drops = [
        (height - padded[1 + i : 1 + i + ROWS, 1 + j : 1 + j + COLS])
        / np.hypot(i, j)
        for i, j in AROUND
    ]
    steepest = np.argmax(drops, axis=0)
    offsets = np.array([i * COLS + j for i, j in AROUND])
    lengths = np.array([SPACING * np.hypot(i, j) for i, j in AROUND])
    places = np.arange(ROWS * COLS).reshape(ROWS, COLS)
    sink = np.max(drops, axis=0) <= 0
    sink[[0, -1]] = sink[:, [0, -1]] = True  # water leaves at the border
    below = np.where(sink, places, places + offsets[steepest])
    return below.ravel().tolist(), lengths[steepest].ravel().tolist()


def landscape(rng):
    rows, cols = np.mgrid[:ROWS, :COLS]
    inland = np.minimum(
        np.minimum(rows, ROWS - 1 - rows), np.minimum(cols, COLS - 1 - cols)
    )
    rough = ndimage.gaussian_filter(rng.normal(size=inland.shape), 6)
    height = 2.0 * inland + 15 * rough / rough.std() + rng.random(inland.shape)
    inner = (inland > 0).astype(float)
    for _ in range(STEPS):
        height += RISE * inner
        below, lengths = lower_neighbours(height)
        order = np.argsort(height, axis=None).tolist()
        water = [SPACING**2] * height.size
        for k in reversed(order):
            if below[k] != k:
                water[below[k]] += water[k]
        level = height.ravel().tolist()
        for k in order:
            if below[k] != k:
                worn = WEAR * water[k] ** 0.5 / lengths[k]
                level[k] = (level[k] + worn * level[below[k]]) / (1 + worn)
        height = np.reshape(level, height.shape)
        height = ndimage.gaussian_filter(height, 0.35)  # slopes creep
    return 300 + height[BORDER:-BORDER, BORDER:-BORDER]


truth = xr.DataArray(
    landscape(np.random.default_rng(4)).astype(np.float32),
    dims=("y", "x"),
    coords={
        "y": 5_180_000 - SPACING * np.arange(ROWS - 2 * BORDER),
        "x": 630_000 + SPACING * np.arange(COLS - 2 * BORDER),
    },
    name="elevation",
    attrs={"units": "m", "crs": "EPSG:32632"},
)

# %%
# Voids: lakes, which return no echo; steep slopes that look away from the radar; and a
# strip between two passes. xarray's own operations tell where: lakes are what lies
# below a level, the slope is a derivative along a coordinate.

rise = truth.differentiate("x")
shadow = ndimage.binary_closing(rise < rise.quantile(0.06), iterations=2)
lake = ndimage.gaussian_filter(truth, 4) < truth.quantile(0.02).item()
strip = np.abs(truth.x - 639_000 - 0.12 * (truth.y - 5_170_000)) < 75
dem = truth.where(~(shadow | lake)).where(~strip)
print(f"{float(dem.isnull().mean()):.1%} of the pixels are voids")

# %%
# In chunks, and restored without a computation. Each is read with a halo of ``depth``
# pixels; nobody has looked how wide the voids are. ``bounds=(None, None)`` lets a
# lake's bed be deeper than all that was seen.

lazy = dem.chunk({"y": 128, "x": 160})
filled = graddesc.dask.restore(lazy, depth=32, bounds=(None, None))
print(filled)

# %%
# What follows is lazy as well: a part by its coordinates in metres, and the slope of
# it. Dask computes the tiles that they need.

steepness = np.hypot(filled.differentiate("x"), filled.differentiate("y"))
part = {"y": slice(5_176_000, 5_171_000), "x": slice(635_500, 643_000)}
slope = np.degrees(np.arctan(steepness)).sel(part)
filled, slope = dask.compute(filled, slope)
print(
    f"the steepest of {slope.size} slopes there is {float(slope.max()):.0f} degrees"
)

# %%
# xarray's own way draws lines from one side of a void to the other, row by row. The
# thin plate of "biharmonic" swings too far between steep slopes; "edge" carries valleys
# and ridges on.

rows_alone = dem.interpolate_na("x", fill_value="extrapolate")
plate = graddesc.dask.restore(
    lazy, loss="biharmonic", depth=32, bounds=(None, None)
)


def error(model):
    """Of the voids, the root mean square in metres."""
    return float(np.sqrt(((model - truth) ** 2).where(dem.isnull()).mean()))


for name, model in (
    ("interpolate_na, by rows", rows_alone),
    ("biharmonic", plate),
    ("edge", filled),
):
    print(f"{name:24} {error(model):5.1f} m")

# %%
# In shaded relief the lines of rows are streaks. The axes are those of the coordinates.

light = LightSource(azdeg=315, altdeg=40)
low, high = (float(end) for end in (truth.min(), truth.max()))


def relief(ax, model, title):
    shaded = light.shade(
        model.fillna(low).values,
        plt.get_cmap("gist_earth"),
        vmin=low - 200,
        vmax=high + 200,
        dx=SPACING,
        dy=SPACING,
        vert_exag=1.2,
        blend_mode="soft",
    )
    shaded[model.isnull().values] = (0.83, 0.37, 0.0, 1)
    west, east, south, north = (
        float(end) / 1000
        for end in (model.x[0], model.x[-1], model.y[-1], model.y[0])
    )
    ax.imshow(shaded, extent=(west, east, south, north))
    ax.set_title(title)


figure, axes = plt.subplots(
    2, 2, figsize=(9.6, 8.2), layout="constrained", sharex=True, sharey=True
)
relief(axes[0, 0], dem, "what was seen; voids in orange")
relief(axes[0, 1], truth, "the truth")
relief(axes[1, 0], rows_alone, "interpolate_na, by rows")
relief(axes[1, 1], filled, '"edge"')
for ax in axes[:, 0]:
    ax.set_ylabel("north (km)")
for ax in axes[1]:
    ax.set_xlabel("east (km)")

# %%
# Coordinates, attributes and name are those of the model that went in.
#
# .. [1] J. Braun, S. Willett, "A very efficient O(n), implicit and parallel method to
#    solve the stream power equation", Geomorphology 180-181, 170-179, 2013.
#    :doi:`10.1016/j.geomorph.2012.10.008`

figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
slope.plot(ax=ax, cmap="magma", cbar_kwargs={"label": "slope (degrees)"})
ax.set_title(f"slope of {filled.name} ({filled.attrs['crs']})")
ax.set_aspect("equal")
