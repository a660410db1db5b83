"""Restore photographs by every loss of graddesc and by every peer, and print PSNR, SSIM and seconds in Markdown.

    python bench/quality.py [--images DIR] [--prepare resize] [--page FILE.png] [--output FILE] [--quick]

The photographs are eleven of `skimage.data`, or all in a directory; grey, 256 x 256, 8 bits: the middle of each, but of
three that show one thing all over their 512 x 512 pixels the means of 2 x 2 (or all resized). At the rates a pixel is
missing where `default_rng(seed).random(shape) < rate`, and PSNR is over the whole image; under text, blocks (16 x 16,
a fifth of the image) and a hole of 64 x 64 pixels, it is over the missing pixels. Means are over the photographs.
"""

# ruff: noqa: E402 - the number of threads must be set before the imports that read it

import functools
import os
import time
from pathlib import Path

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}

import numpy as np
import peers
from compare import command, publish, row
from PIL import Image, ImageDraw, ImageFont
from skimage import color, data, transform
from skimage.metrics import structural_similarity

SIDE = 256
PHOTOGRAPHS = (
    "camera", "astronaut", "moon", "brick", "grass", "gravel", "chelsea", "coffee", "coins", "rocket",
    "stereo_motorcycle",
)  # fmt: skip
HALVED = ("camera", "astronaut", "moon")
RATES = (0.5, 0.8, 0.9, 0.95)
LOSSES = ("line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture")
# The page: photographs, the corner of the crop that it shows, and the methods.
CROPS = {"brick": (60, 90), "rocket": (20, 100), "camera": (40, 70), "cloth": (80, 80)}
CROP, ZOOM, MARGIN = 96, 2, 18
SHOWN = {
    "OpenCV, Telea": "OpenCV Telea",
    "SciPy, griddata linear": "SciPy linear",
    "scikit-image, biharmonic": "scikit-image",
    "graddesc, line": "graddesc line",
    "graddesc, edge": "graddesc edge",
    "graddesc, texture": "graddesc texture",
}


def main():
    options = arguments()
    publish(tables(options), options.output)
    if options.page:
        page(options).save(options.page, optimize=True)


def arguments():
    parser = command(__doc__)
    parser.add_argument("--images", type=Path, help="a directory of photographs to take instead")
    parser.add_argument("--prepare", choices=["crop", "resize"], default="crop", help="how they get their size")
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    parser.add_argument("--quick", action="store_true", help="two photographs, and only 90 %% and text")
    parser.add_argument("--page", type=Path, help="a PNG file for crops, enlarged side by side")
    return parser.parse_args()


# ---- photographs and masks ----


def photographs(options):
    """Names and images, uint8."""
    if options.images:
        paths = sorted(
            path for path in options.images.iterdir() if path.suffix.lower() in Image.registered_extensions()
        )
        loaded = {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in paths}
    else:
        loaded = {name: getattr(data, name)() for name in PHOTOGRAPHS}
        loaded["stereo_motorcycle"] = loaded["stereo_motorcycle"][0]
    if options.quick:
        loaded = dict(list(loaded.items())[:2])
    small = [name for name, image in loaded.items() if min(image.shape[:2]) < SIDE]
    if small and options.prepare == "crop":
        raise SystemExit(f"smaller than {SIDE} x {SIDE}, take --prepare resize: {', '.join(small)}")
    return {name: prepare(name, image, options) for name, image in loaded.items()}


def prepare(name, image, options):
    grey = color.rgb2gray(image[..., :3]) if image.ndim == 3 else image / 255.0
    if options.prepare == "crop" and name in HALVED and not options.images:
        grey = grey.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3))
    elif options.prepare == "crop":
        top, left = ((length - SIDE) // 2 for length in grey.shape)
        grey = grey[top : top + SIDE, left : left + SIDE]
    else:
        grey = transform.resize(grey, (SIDE, SIDE), anti_aliasing=True)
    return np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)


def cloth():
    """A weave that no photograph is needed for."""
    i, j = np.mgrid[:SIDE, :SIDE]
    u, v = (j + 0.3 * i) / 6, (i - 0.3 * j) / 6
    over = (np.floor(u) + np.floor(v)) % 2 == 1
    thread = np.where(over, np.sin(np.pi * (u % 1)), -np.sin(np.pi * (v % 1)))
    return np.rint(255 * np.clip(0.5 + 0.25 * thread + 0.1 * np.sin(j / 30), 0, 1)).astype(np.uint8)


def masks(options):
    """Names and masks, and whether PSNR is over the missing pixels alone."""
    rng = np.random.default_rng(options.seed).random((SIDE, SIDE))
    found = {f"{rate:.0%}": (rng < rate, False) for rate in RATES}
    picture = Image.new("L", (SIDE, SIDE))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=20)
    for top in range(4, SIDE, 28):
        draw.text((4 + top % 9, top), "pack my box with five dozen jugs", fill=255, font=font)
    found["text"] = np.asarray(picture) > 127, True
    cells = np.zeros(SIDE**2 // 256, bool)
    cells[np.random.default_rng(options.seed).permutation(cells.size)[: cells.size // 5]] = True
    found["blocks"] = np.kron(cells.reshape(SIDE // 16, -1), np.ones((16, 16), bool)), True
    hole = np.zeros((SIDE, SIDE), bool)
    hole[96:160, 96:160] = True
    found["hole"] = hole, True
    return {name: found[name] for name in ("90%", "text")} if options.quick else found


# ---- methods ----


def griddata(method, image, mask):
    from scipy.interpolate import griddata

    restored = image / np.float32(255)
    known = restored[~mask]
    holes = griddata(np.argwhere(~mask), known, np.argwhere(mask), method=method, fill_value=known.mean())
    restored[mask] = np.clip(holes, 0, 1)
    return restored


def methods():
    ours = {f"graddesc, {loss}": functools.partial(peers.by_loss, loss) for loss in LOSSES}
    others = {name: function for name, function in peers.RESTORATIONS.items() if not name.startswith("graddesc")}
    scipy = {f"SciPy, griddata {method}": functools.partial(griddata, method) for method in ("nearest", "cubic")}
    return ours | others | scipy


# ---- measuring ----


def measure(method, truth, mask, missing_only):
    """PSNR, SSIM and seconds of the processor."""
    corrupted = np.where(mask, 0, truth).astype(np.uint8)
    started = time.process_time()
    restored = method(corrupted, mask)
    seconds = time.process_time() - started
    reference = truth / np.float32(255)
    error = (restored - reference)[mask if missing_only else ...]
    ssim = structural_similarity(reference, restored, data_range=1)
    return -10 * np.log10(np.mean(error**2)), ssim, seconds


def tables(options):
    images, patterns = photographs(options), masks(options)
    results, missing = {}, []
    for name, method in methods().items():
        try:
            results[name] = {
                pattern: {photograph: measure(method, image, *mask) for photograph, image in images.items()}
                for pattern, mask in patterns.items()
            }
        except ImportError:
            missing.append(name)
    if missing:
        yield f"Not installed, and left out: {', '.join(missing)}."
        yield ""

    def mean(name, pattern, quantity):
        return np.mean([values[quantity] for values in results[name][pattern].values()])

    yield f"**PSNR in dB, mean over {len(images)} photographs, {SIDE} x {SIDE}; SSIM and time at 90 % missing**"
    yield ""
    yield row("", *patterns, "SSIM", "ns/pixel")
    yield row("---", *["---:"] * (len(patterns) + 2))
    for name in results:
        cells = [f"{mean(name, pattern, 0):.2f}" for pattern in patterns]
        nanoseconds = 1e9 * np.median([values[2] for values in results[name]["90%"].values()]) / SIDE**2
        yield row(name, *cells, f"{mean(name, '90%', 1):.3f}", f"{float(f'{nanoseconds:.2g}'):,g}")
    yield ""
    yield "**PSNR in dB of each photograph at 90 % missing**"
    yield ""
    yield row("", *results)
    yield row("---", *["---:"] * len(results))
    for photograph in images:
        yield row(photograph, *(f"{results[name]['90%'][photograph][0]:.2f}" for name in results))


def page(options):
    """Crops of what is restored from a tenth of the pixels, enlarged, one photograph to a row."""
    options.quick = False
    images = photographs(options) | {"cloth": cloth()}
    mask = masks(options)["90%"][0]
    available = methods()
    chosen = {name: corner for name, corner in CROPS.items() if name in images}
    columns = ["original", "10 % known", *SHOWN.values()]
    size = CROP * ZOOM
    sheet = Image.new("L", ((size + 4) * len(columns) - 4, (size + MARGIN) * len(chosen) + MARGIN), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column, title in enumerate(columns):
        draw.text((column * (size + 4), 2), title, fill=0, font=font)
    for line, (name, (top, left)) in enumerate(chosen.items()):
        truth = images[name]
        corrupted = np.where(mask, 0, truth).astype(np.uint8)
        pictures = [(truth, ""), (corrupted, "")]
        for method in SHOWN:
            try:
                restored = np.rint(255 * np.clip(available[method](corrupted, mask), 0, 1)).astype(np.uint8)
            except ImportError:
                restored, text = np.full_like(truth, 255), "not installed"
            else:
                text = f"{-10 * np.log10(np.mean((restored / 255.0 - truth / 255.0) ** 2)):.2f} dB"
            pictures.append((restored, text))
        for column, (picture, text) in enumerate(pictures):
            crop = Image.fromarray(picture[top : top + CROP, left : left + CROP]).resize((size, size), Image.NEAREST)
            corner = column * (size + 4), MARGIN + line * (size + MARGIN)
            sheet.paste(crop, corner)
            draw.text((corner[0], corner[1] + size + 2), text, fill=0, font=font)
    return sheet.quantize(64)


if __name__ == "__main__":
    main()
