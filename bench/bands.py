"""Bands with masks of their own, restored together, each by itself, and by demosaicing methods of others.

    python bench/bands.py [--only bayer rgb stripes cubes unrelated time] [--rounds 3] [--megapixels 12]

`bayer` takes RGGB mosaics of eight photographs of `skimage.data` (the middle 192 x 192 pixels) and tells the PSNR over
all pixels and colours, beside OpenCV's demosaicing (its default, "edge-aware" and "variable number of gradients") and
Menon's of 2007 (colour-demosaicing, if it is installed). `rgb` has 90 and 50 % of the values missing, at places of
their own in each colour. `stripes` has 1 to 4 columns wide ones missing in one colour, `cubes` 31 bands of five
materials of which 90 % of the values are missing, or stripes of half of the bands: PSNR over the missing values.
`unrelated` has pictures that show different things as bands, and compares the bits with those of each by itself. `time`
is a mosaic of so many megapixels.
"""

# ruff: noqa: E402 - before the import that keeps to one processor

import itertools
import os
import time

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}

import numpy as np
from compare import command, number, publish, row
from scipy.cluster.vq import kmeans2
from skimage import data

import graddesc

PHOTOGRAPHS = (
    "astronaut", "coffee", "chelsea", "rocket", "retina", "immunohistochemistry", "stereo_motorcycle",
    "hubble_deep_field",
)  # fmt: skip
SIDE, CUBE, BANDS = 192, 96, 31


def main():
    parser = command(__doc__)
    sections = {
        "bayer": bayer, "rgb": rgb, "stripes": stripes, "cubes": cubes, "unrelated": unrelated, "time": duration
    }  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=sections, help="these sections alone")
    parser.add_argument("--rounds", type=int, default=3, help="how often the time is measured (3)")
    parser.add_argument("--megapixels", type=float, default=12, help="of the mosaic that is timed (12)")
    options = parser.parse_args()
    chosen = (section(options) for name, section in sections.items() if name in (options.only or sections))
    publish(itertools.chain.from_iterable(chosen), options.output)


def photographs(side=SIDE):
    """Names and images, uint8, shape (side, side, 3)."""
    found = {}
    for name in PHOTOGRAPHS:
        image = getattr(data, name)()
        image = (image[0] if isinstance(image, tuple) else image)[..., :3]
        top, left = ((length - side) // 2 for length in image.shape[:2])
        found[name.removeprefix("stereo_").split("_")[0]] = image[top : top + side, left : left + side]
    return found


def psnr(restored, truth, mask=None):
    error = (restored.astype(float) - truth) ** 2
    return -10 * np.log10(np.mean(error if mask is None else error[mask]) / (255**2 if truth.dtype == np.uint8 else 1))


def together(image, mask):
    return graddesc.restore(image, mask, channel_axis=-1)


def apart(image, mask):
    bands = range(image.shape[-1])
    return np.stack([graddesc.restore(image[..., band], mask[..., band]) for band in bands], axis=-1)


def scores(title, cases, methods, missing_alone):
    """A table of PSNR: a line for each method, a column for each case and their mean."""
    yield f"**{title}**"
    yield ""
    yield row("", "mean", *cases)
    yield row("---", *["---:"] * (len(cases) + 1))
    for name, method in methods.items():
        found = []
        for truth, mask in cases.values():
            corrupted = np.where(mask, np.zeros_like(truth), truth)
            found.append(psnr(method(corrupted, mask), truth, mask if missing_alone else None))
        yield row(name, f"{np.mean(found):.2f}", *(f"{value:.1f}" for value in found))
    yield ""


# ---- colour ----


def mosaic(rows, cols):
    """What an RGGB sensor does not see, shape (rows, cols, 3)."""
    mask = np.ones((rows, cols, 3), bool)
    mask[0::2, 0::2, 0] = mask[0::2, 1::2, 1] = mask[1::2, 0::2, 1] = mask[1::2, 1::2, 2] = False
    return mask


def demosaicing():
    """The methods that are installed, by name."""
    import cv2

    def opencv(code):
        return lambda image, mask: cv2.demosaicing(image.max(axis=-1), code)

    methods = {
        "OpenCV, bilinear": opencv(cv2.COLOR_BayerRGGB2RGB),
        "OpenCV, edge-aware": opencv(cv2.COLOR_BayerRGGB2RGB_EA),
        "OpenCV, VNG": opencv(cv2.COLOR_BayerRGGB2RGB_VNG),
    }
    try:
        from colour_demosaicing import demosaicing_CFA_Bayer_Menon2007 as menon
    except ImportError:
        pass
    else:
        methods["colour-demosaicing, Menon 2007"] = lambda image, mask: np.clip(
            255 * menon(image.max(axis=-1) / 255.0, "RGGB"), 0, 255
        )
    return methods


OURS = {"graddesc, each band by itself": apart, "graddesc, together": together}


def bayer(options):
    cases = {name: (image, mosaic(SIDE, SIDE)) for name, image in photographs().items()}
    yield from scores("RGGB mosaics", cases, demosaicing() | OURS, missing_alone=False)


def rgb(options):
    for missing in (0.9, 0.5):
        mask = np.random.default_rng(0).random((SIDE, SIDE, 3)) < missing
        # Not bytes: to round to them costs .05 dB at 41.
        cases = {name: (np.float32(image / 255), mask) for name, image in photographs().items()}
        yield from scores(f"RGB, {missing:.0%} missing at places of their own", cases, OURS, missing_alone=False)


def columns(rows, cols, rng):
    """Stripes, 1 to 4 columns wide and 6 to 20 apart."""
    mask = np.zeros((rows, cols), bool)
    start = int(rng.integers(4, 12))
    while start < cols - 4:
        width = int(rng.integers(1, 5))
        mask[:, start : start + width] = True
        start += width + int(rng.integers(6, 21))
    return mask


def stripes(options):
    cases = {}
    for name, image in list(photographs().items())[:3]:
        mask = np.zeros(image.shape, bool)
        mask[..., 0] = columns(SIDE, SIDE, np.random.default_rng(0))
        cases[name] = image, mask
    yield from scores("Stripes in one colour, missing values alone", cases, OURS, missing_alone=True)


# ---- cubes ----


def cube(photograph, rng):
    """Five materials with smooth spectra under a shaded, coloured light, as a photograph has them; float32."""
    colours = photograph.reshape(-1, 3) / 255.0
    centres, _ = kmeans2(colours, 5, minit="++", seed=int(rng.integers(2**31)))
    distances = ((colours[:, np.newaxis] - centres) ** 2).sum(axis=-1)
    shares = np.exp(-distances / 0.01)
    shares /= shares.sum(axis=1, keepdims=True)
    wavelengths = np.linspace(0, 1, BANDS)
    peaks, widths, heights = rng.random((5, 4)), rng.uniform(0.1, 0.4, (5, 4)), rng.random((5, 4))
    bumps = np.exp(-(((wavelengths[:, np.newaxis, np.newaxis] - peaks) / widths) ** 2) / 2)
    spectra = 0.1 + (heights * bumps).sum(axis=-1).T
    light = 0.6 + 0.4 * np.sin(2.5 * wavelengths + 0.3)
    shading = 0.2 + 0.8 * colours.mean(axis=-1, keepdims=True)
    values = shading * (shares @ spectra) * light
    values = values / values.max() + rng.normal(0, 0.004, values.shape)
    return np.clip(values, 0, 1).astype(np.float32).reshape(*photograph.shape[:2], BANDS)


def cubes(options):
    names = ("astronaut", "coffee", "chelsea", "motorcycle")
    found = photographs(CUBE)
    truths = {name: cube(found[name], np.random.default_rng(1)) for name in names}
    mask = np.random.default_rng(0).random((CUBE, CUBE, BANDS)) < 0.9
    cases = {name: (truth, mask) for name, truth in truths.items()}
    yield from scores(f"Cubes of {BANDS} bands, 90 % missing, missing values alone", cases, OURS, missing_alone=True)
    mask = np.zeros((CUBE, CUBE, BANDS), bool)
    for band in range(0, BANDS, 2):
        mask[..., band] = columns(CUBE, CUBE, np.random.default_rng(band))
    cases = {name: (truth, mask) for name, truth in truths.items()}
    yield from scores("Stripes in half of the bands, missing values alone", cases, OURS, missing_alone=True)


# ---- bits and time ----


def unrelated(options):
    pictures = np.stack([image[..., 1] for image in photographs().values()], axis=-1)
    yield "**Pictures that show different things, as bands: values that differ from each by itself**"
    yield ""
    yield row("missing", "edge", "tv", "hessian-tv", "harmonic", "biharmonic")
    yield row("---", *["---:"] * 5)
    for missing in (0.5, 0.9):
        mask = np.random.default_rng(1).random(pictures.shape) < missing
        differing = []
        for loss in ("edge", "tv", "hessian-tv", "harmonic", "biharmonic"):
            restored = graddesc.restore(pictures, mask, channel_axis=-1, loss=loss)
            alone = [graddesc.restore(pictures[..., k], mask[..., k], loss=loss) for k in range(pictures.shape[-1])]
            differing.append(int(np.count_nonzero(restored != np.stack(alone, axis=-1))))
        yield row(f"{missing:.0%}", *differing)
    yield ""


def duration(options):
    side = round((options.megapixels * 1e6) ** 0.5) // 2 * 2
    photograph = data.astronaut()
    times = -(-side // len(photograph))
    parts = [photograph[:: -1 if k % 2 else 1] for k in range(times)]
    strip = np.concatenate(parts, axis=0)[:side]
    parts = [strip[:, :: -1 if k % 2 else 1] for k in range(times)]
    truth = np.concatenate(parts, axis=1)[:, :side]
    mask = mosaic(side, side)
    corrupted = np.where(mask, np.uint8(0), truth)
    taken = []
    for _ in range(options.rounds):
        started = time.process_time()
        restored = together(corrupted, mask)
        taken.append(time.process_time() - started)
    yield f"**A mosaic of {side} x {side} pixels, uint8**"
    yield ""
    yield row("", "seconds of the processor", "nanoseconds a pixel", "PSNR")
    yield row("---", "---:", "---:", "---:")
    nanoseconds = 1e9 * np.array(taken) / side**2
    yield row("graddesc, together", number(np.array(taken)), number(nanoseconds), f"{psnr(restored, truth):.2f}")
    yield ""


if __name__ == "__main__":
    main()
