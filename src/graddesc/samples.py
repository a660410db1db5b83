"""Sample pictures that the package draws itself, at any size, from nothing but NumPy.

All shapes live in the unit square (x to the right, y downwards), so that a picture is the same at every size. The
numbers that are not explained are a painter's choices.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graddesc.arguments import require_count

__all__ = ["ginkgo"]

_Array: TypeAlias = NDArray[np.floating[Any]]  # float32, but for a few of float64


class _Leaf(NamedTuple):
    seed: int
    end: tuple[float, float]
    turn: float
    length: float
    ripeness: float


_LARGEST = 2**15
_SEED = 11  # of the ground; each leaf adds its own
_AT_ONCE = 2**14  # pixels: their arrays stay in the cache

_LIGHT = np.array([-0.55, -0.65, 0.62], np.float32)  # from the upper left

_SLATE_DARK, _SLATE, _RUST = (0.13, 0.16, 0.20), (0.34, 0.385, 0.43), (0.36, 0.30, 0.24)
_GOLD, _PALE_GOLD, _GREEN, _BROWN = (0.93, 0.70, 0.13), (0.98, 0.83, 0.33), (0.55, 0.62, 0.17), (0.50, 0.29, 0.09)
_VEIN, _STALK = (0.99, 0.90, 0.50), (0.74, 0.62, 0.20)

# Where the stalks end, the turns to the right in radians, the lengths of the leaves; painted in this order.
_LEAVES = (
    _Leaf(seed=5, end=(0.37, 0.89), turn=-1.2, length=0.38, ripeness=0.2),
    _Leaf(seed=2, end=(0.53, 0.90), turn=0.06, length=0.635, ripeness=1.0),
)


def ginkgo(size: int = 512) -> NDArray[np.uint8]:
    """Draw two ginkgo leaves on slate: forking veins, relief, soft shadows, fine grain.

    Parameters
    ----------
    size : int, default 512
        Rows and columns of the picture, at least 2.

    Returns
    -------
    numpy.ndarray of uint8, shape (size, size, 3)
        The picture, RGB, with values from 1 to 254: none that :func:`graddesc.masks.detect` takes for noise.

    Raises
    ------
    TypeError
        If ``size`` is not an integer.
    ValueError
        If ``size`` is less than 2.

    Examples
    --------
    >>> from graddesc import samples
    >>> picture = samples.ginkgo(64)
    >>> picture.shape, picture.dtype
    ((64, 64, 3), dtype('uint8'))
    """
    size = require_count("size", size, least=2)
    if size > _LARGEST:
        raise ValueError(f"size must be at most {_LARGEST}, got {size}")
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    picture = _ground(x, y)
    for leaf in _LEAVES:
        picture = _lay(picture, x, y, leaf)
    return np.round(np.clip(picture * 255, 1, 254)).astype(np.uint8)


def _ground(x: _Array, y: _Array) -> _Array:
    """Slate: thin layers broken off in steps, fine grain, a little rust."""
    rng = np.random.default_rng(_SEED)
    warped_x = x + 0.06 * _noise(rng, x, y, 3, octaves=4)
    warped_y = y + 0.06 * _noise(rng, x, y, 3, octaves=4)
    layers = _noise(rng, warped_x, 2.2 * warped_y + 0.8 * x, 2.2, octaves=5)
    whole = np.floor(3 * layers)
    steps = (whole + _smoothstep(0.25, 0.75, 3 * layers - whole)) / 3
    grain = _noise(rng, x, y, 40, octaves=4, gain=0.7)
    shade = _shade(0.016 * steps + 0.007 * layers + 0.0009 * grain, 1 / len(x))

    tone = np.clip(0.5 + 0.25 * layers + 0.06 * grain, 0, 1)
    colour = _mix(np.array(_SLATE_DARK, np.float32), _SLATE, tone)
    colour = _mix(colour, _RUST, 0.45 * _smoothstep(0.15, 0.9, _noise(rng, x, y, 4, octaves=5)))
    vignette = 1.08 - 0.55 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    light: _Array = np.clip(0.35 + 0.65 * shade, 0, 1.7) * vignette
    return colour * light[..., None]


def _lay(picture: _Array, x: _Array, y: _Array, leaf: _Leaf) -> _Array:
    """Lay a leaf and its shadow on the picture."""
    seed, end, turn, length, ripeness = leaf
    rng = np.random.default_rng([_SEED, seed])
    pixel = 1 / (len(x) * length)  # in units of the leaf's length, as are all distances below

    # The foot of the blade is the origin, its axis the second coordinate, the stalk below 0.
    right, up = (x - end[0]) / length, (end[1] - y) / length
    across = right * np.cos(turn) - up * np.sin(turn) + 0.03 * _noise(rng, x, y, 3)
    along = right * np.sin(turn) + up * np.cos(turn) - 0.28
    radius = np.hypot(across, along)

    # The fan opens wider away from its foot, so that its sides are hollow; -1 and 1 are its sides.
    opening = 0.62 + 0.78 * _smoothstep(0, 0.75, radius)
    fan = np.arctan2(across, along) / opening
    margin = _margin(rng, fan, radius)
    outwards = radius / margin
    inside = np.minimum(margin - radius, 0.9 * (1 - np.abs(fan)) * opening * radius)
    blade = np.clip(0.5 + inside / pixel, 0, 1)

    down = np.clip(-along / 0.30, 0, 1)
    half_width = 0.0085 + 0.006 * (1 - _smoothstep(0, 0.18, down)) + 0.006 * _smoothstep(0.9, 1, down)
    beside = (across - 0.06 * down**2) / half_width
    stalk = np.clip(0.5 + np.minimum(half_width * (1 - np.abs(beside)), along + 0.32) / pixel, 0, 1)
    stalk *= 1 - _smoothstep(-0.01, 0.05, along)

    colour = _blade_colour(rng, across, along, radius, opening, fan, outwards, inside, pixel, ripeness)
    roundness = np.sqrt(np.clip(1 - beside**2, 0, 1))
    stalk_colour = np.array(_STALK, np.float32) * (0.45 + 0.65 * roundness - 0.25 * np.clip(beside, -1, 1))[..., None]
    colour = _mix(colour, stalk_colour, stalk)
    cover = np.maximum(blade, stalk)

    # Dark where the leaf touches the ground, and once more, softer, away from the light.
    size = len(x)
    shift = round(0.022 * size)
    cast = np.pad(cover, ((shift, 0), (shift, 0)))[:size, :size]
    shadow = np.maximum(0.62 * _blur(cast, 0.012 * size), 0.45 * _blur(cover, 0.006 * size))
    return _mix(picture * (1 - shadow)[..., None], colour, cover)


def _margin(rng: np.random.Generator, fan: _Array, radius: _Array) -> _Array:
    """The radius at which the blade ends: a shallow arc with a deep notch, lobes and small waves."""
    waves = rng.uniform(-1, 1, 9)
    margin = 0.80 - 0.10 * fan**2 + 0.022 * np.interp(fan, np.linspace(-1.1, 1.1, 9), waves).astype(np.float32)
    margin += 0.012 * np.sin(19 * fan + 6 * waves[0]) + 0.006 * np.sin(47 * fan + 5 * waves[1] + 2 * np.sin(9 * fan))
    notch = 0.03 + 0.012 * np.sin(9 * radius)
    margin -= 0.33 * np.exp(-(np.abs((fan - notch) / 0.075) ** 1.3))
    for at, depth, width in ((-0.82, 0.03, 0.02), (-0.55, 0.06, 0.03), (0.5, 0.08, 0.035), (0.78, 0.04, 0.03)):
        margin -= depth * np.exp(-(np.abs((fan - at) / width) ** 1.4))
    return margin


def _blade_colour(
    rng: np.random.Generator,
    across: _Array,
    along: _Array,
    radius: _Array,
    opening: _Array,
    fan: _Array,
    outwards: _Array,
    inside: _Array,
    pixel: float,
    ripeness: float,
) -> _Array:
    gap = _gap_to_veins(rng, outwards, fan) * opening * radius
    vein_width = 0.0022 + 0.0028 * (1 - np.clip(outwards, 0, 1)) ** 1.5
    pleats = np.sin(23 * fan + 3 * _noise(rng, across, along, 2)) * _smoothstep(0.1, 0.8, outwards)
    swell = _noise(rng, across, along, 2.2, octaves=3)
    tissue = _noise(rng, across, along, 60, octaves=3)
    height = (
        0.0028 * np.exp(-((gap / (2.2 * vein_width)) ** 2))
        + 0.0055 * pleats
        + 0.045 * swell * _smoothstep(0, 0.5, radius)
        + 0.022 * _smoothstep(0, 0.10, inside)  # the rim turns down
        + 0.0004 * tissue
    )
    shade = _shade(height, pixel)

    colour = _mix(np.array(_GOLD, np.float32), _PALE_GOLD, _smoothstep(-0.5, 0.9, swell + 0.4 * np.abs(fan)))
    unripe = 0.75 * (1 - ripeness) + 0.5 * (1 - _smoothstep(0, 0.75, outwards + 0.15 * swell))
    colour = _mix(colour, _GREEN, np.clip(unripe, 0, 0.85))
    colour = _mix(colour, _VEIN, 0.45 * np.exp(-((gap / vein_width) ** 2)))
    rim = 1 - _smoothstep(0, 0.035, inside + 0.012 * _noise(rng, across, along, 17))
    colour = _mix(colour, _BROWN, 0.55 * rim * _smoothstep(0.3, 0.8, outwards))
    specks = _smoothstep(0.68, 0.95, _noise(rng, across, along, 21, octaves=4))
    colour = _mix(colour, _BROWN, 0.6 * specks * _smoothstep(-0.1, 0.6, _noise(rng, across, along, 5)))
    light: _Array = np.clip(0.30 + 0.70 * shade, 0, 1.5) * (1 + 0.05 * tissue)
    return colour * light[..., None]


def _gap_to_veins(rng: np.random.Generator, outwards: _Array, fan: _Array) -> _Array:
    """The distance in the fan's angle to the nearest vein."""
    rows, columns, edge = 400, 4096, 1.2
    angles = np.linspace(-edge, edge, columns)
    table = np.empty((rows, columns), np.float32)
    for row, veins in enumerate(np.sort(_veins(rng, rows), axis=1)):
        after = np.clip(np.searchsorted(veins, angles), 1, len(veins) - 1)
        table[row] = np.minimum(np.abs(angles - veins[after - 1]), np.abs(angles - veins[after]))

    i = np.clip(outwards, 0, 1) * (rows - 1)
    j = np.clip((fan + edge) / (2 * edge), 0, 1) * (columns - 1)
    i0, j0 = np.minimum(i.astype(np.int32), rows - 2), np.minimum(j.astype(np.int32), columns - 2)
    return _bilinear(table, i0, i0 + 1, j0, j0 + 1, i - i0, j - j0)


def _veins(rng: np.random.Generator, rows: int) -> _Array:
    """The angles of the veins at so many distances from foot to margin, shape (rows, tips).

    Each vein forks again and again, and the two halves draw apart until they fill the room of the whole.
    """
    distance = np.linspace(0, 1, rows)

    def grow(low: float, high: float, start: float, path: _Array, forks: int) -> list[_Array]:
        drawn = _smoothstep(start, start + 0.55 * (1.05 - start), distance)
        path = path + ((low + high) / 2 - path) * drawn
        if forks == 0:
            return [path]
        fork = start + (1 - start) * rng.uniform(0.12, 0.55)
        cut = low + (high - low) * rng.uniform(0.42, 0.58)
        return grow(low, cut, fork, path, forks - 1) + grow(cut, high, fork, path, forks - 1)

    sides = np.linspace(-1, 1, 13)
    tips: list[_Array] = []
    for low, high in itertools.pairwise(sides):
        tips += grow(low, high, 0.02, np.full(rows, (low + high) / 2), 4)
    return np.array(tips).T


def _noise(
    rng: np.random.Generator, x: _Array, y: _Array, frequency: float, *, octaves: int = 1, gain: float = 0.5
) -> _Array:
    """Smooth noise in about [-1, 1]: random values on a lattice, blended; each octave is twice as fine."""
    n = 64  # a power of two
    total = np.zeros_like(x)
    tables = [rng.uniform(-1, 1, (n, n)).astype(np.float32) for _ in range(octaves)]
    rows = max(_AT_ONCE // x.shape[1], 1)
    for some in (np.s_[start : start + rows] for start in range(0, len(x), rows)):
        for octave, values in enumerate(tables):
            scale = frequency * 2.0**octave
            u, v = (x[some] + 0.37 * octave) * scale, (y[some] + 0.59 * octave) * scale
            j, i = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
            a, b = v - i, u - j
            # Perlin's quintic: no visible lattice in the light
            a, b = (t * t * t * (t * (6 * t - 15) + 10) for t in (a, b))
            total[some] += gain**octave * _bilinear(values, i & n - 1, i + 1 & n - 1, j & n - 1, j + 1 & n - 1, a, b)
    return total


def _bilinear(
    table: NDArray[np.float32],
    i0: NDArray[np.int32],
    i1: NDArray[np.int32],
    j0: NDArray[np.int32],
    j1: NDArray[np.int32],
    a: _Array,
    b: _Array,
) -> NDArray[np.float32]:
    flat, width = table.ravel(), np.intp(table.shape[1])
    upper_row, lower_row = i0 * width, i1 * width
    upper = flat.take(upper_row + j0) * (1 - b) + flat.take(upper_row + j1) * b
    lower = flat.take(lower_row + j0) * (1 - b) + flat.take(lower_row + j1) * b
    return (upper * (1 - a) + lower * a).astype(np.float32)


def _shade(height: _Array, spacing: float) -> _Array:
    """Lambert's shade of a height field, 1 where it is level."""
    along_y, along_x = np.gradient(height, np.float32(spacing))
    to_x, to_y, to_z = _LIGHT
    lit: _Array = np.maximum(to_z - along_x * to_x - along_y * to_y, 0)
    lit /= to_z * np.sqrt(along_x**2 + along_y**2 + 1)
    return lit


def _blur(image: _Array, deviation: float) -> _Array:
    """Blur by three moving means along each axis, which is nearly a Gaussian of this standard deviation in pixels."""
    half = max(round(deviation), 1)
    width = 2 * half + 1
    for _ in range(3):
        for axis in (0, 1):
            margins = [(0, 0), (0, 0)]
            margins[axis] = (half + 1, half)
            sums = np.cumsum(np.pad(image, margins, mode="edge"), axis=axis, dtype=np.float64)
            ahead, behind = np.split(sums, [width], axis=axis)[1], np.split(sums, [-width], axis=axis)[0]
            image = ((ahead - behind) / width).astype(np.float32)
    return image


def _smoothstep(low: float, high: float, value: _Array) -> _Array:
    t: _Array = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _mix(first: _Array, second: ArrayLike, weight: _Array) -> _Array:
    return first + (np.asarray(second, np.float32) - first) * weight[..., None]
