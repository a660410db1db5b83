"""Restore photographs of which noisy pixels are known, and print PSNR and what errors are to be expected in Markdown.

    python bench/noise.py [--only peers maps ...] [--images DIR] [--prepare resize] [--seed 0] [--quick] [--output FILE]

The photographs are those of `quality.py`, grey, 256 x 256, in [0, 1]. A pixel is known where
`default_rng(seed).random(shape) < density`; its noise is `sigma * default_rng(seed + 1).standard_normal(shape)`, not
clipped. PSNR is over the whole image, clipped to [0, 1], and a mean over the photographs. Peers have the parameter that
is best in that mean, which only who has the truth can choose; graddesc is told sigma.
"""

# ruff: noqa: E402 - the number of threads must be set before the imports that read it

import functools
import os
import time
from types import SimpleNamespace

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}

import numpy as np
import peers
import quality
from compare import command, publish, row

import graddesc

DENSITIES = (0.02, 0.05, 0.1, 0.5, 1.0)
DEVIATIONS = (0.01, 0.03, 0.05, 0.1, 0.2)


def main():
    options = arguments()
    publish(tables(options), options.output)


def arguments():
    parser = command(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(DEFAULT), help="these sections")
    parser.add_argument("--images", type=quality.Path, help="a directory of photographs to take instead")
    parser.add_argument("--prepare", choices=["crop", "resize"], default="crop", help="how they get their size")
    parser.add_argument("--seed", type=int, default=0, help="of the masks and the noise")
    parser.add_argument("--quick", action="store_true", help="two photographs: does it all run?")
    return parser.parse_args()


def tables(options):
    photographs = {name: image / 255.0 for name, image in quality.photographs(options).items()}
    for name in options.only:
        yield from SECTIONS[name](photographs, options.seed)
        yield ""


# ---- what is measured ----


def sample(truth, sigma, density, seed):
    """A noisy image and which of its pixels are known; sigma a number or an array."""
    known = np.random.default_rng(seed).random(truth.shape) < density
    noise = np.random.default_rng(seed + 1).standard_normal(truth.shape)
    return np.where(known, truth + sigma * noise, 0), known


def psnr(restored, truth):
    return -10 * np.log10(np.mean((np.clip(restored, 0, 1) - truth) ** 2))


def ours(image, known, noise, loss="edge", **options):
    return graddesc.restore(image.astype(np.float32), ~known, loss=loss, noise=noise, bounds=(0, 1), **options)


def mean_psnr(photographs, seed, sigma, density, restore):
    """restore(image, known, sigma), measured and averaged."""
    found = [psnr(restore(*sample(truth, sigma, density, seed), sigma), truth) for truth in photographs.values()]
    return float(np.mean(found))


def heading(text, first, *columns):
    yield f"**{text}**"
    yield ""
    yield row(first, *columns)
    yield row("---", *["---:"] * len(columns))


def level(sigma, density):
    return f"{sigma:g}, {density:.0%}"


# ---- sections ----


def losses(photographs, seed, names=("edge",)):
    """PSNR by noise and density, beside known pixels that are kept as they are."""
    yield from heading(
        f"PSNR in dB, mean over {len(photographs)} photographs; in brackets with noise = 0",
        "sigma",
        *(f"{name}, {density:.0%}" for name in names for density in DENSITIES),
    )
    for sigma in DEVIATIONS:
        cells = []
        for name in names:
            for density in DENSITIES:
                given, kept = (
                    mean_psnr(
                        photographs, seed, sigma, density,
                        lambda image, known, sigma, on=on, name=name: ours(image, known, on * sigma, name),
                    )
                    for on in (1, 0)
                )  # fmt: skip
                cells.append(f"{given:.2f} ({kept:.2f})")
        yield row(f"{sigma:g}", *cells)


def differences(photographs, seed):
    """All losses of differences, beside known pixels that are kept as they are."""
    cases = (0.01, 1), (0.03, 1), (0.1, 1), (0.2, 1), (0.03, 0.1), (0.1, 0.1), (0.1, 0.5), (0.1, 0.02)
    yield from heading("PSNR in dB; in brackets with noise = 0", "", *(level(*case) for case in cases), "mean")
    for loss in ("harmonic", "biharmonic", "tv", "hessian-tv", "edge"):
        told = [mean_psnr(photographs, seed, *case, functools.partial(ours, loss=loss)) for case in cases]
        kept = [
            mean_psnr(photographs, seed, *case, lambda image, known, _, loss=loss: ours(image, known, 0.0, loss))
            for case in cases
        ]
        cells = [f"{given:.2f} ({as_is:.2f})" for given, as_is in zip(told, kept, strict=True)]
        yield row(loss, *cells, f"{np.mean(told):.2f} ({np.mean(kept):.2f})")


def texture(photographs, seed):
    """What "texture" adds."""
    cases = (0.03, 0.1), (0.1, 0.1), (0.05, 0.5), (0.1, 0.5), (0.03, 1), (0.1, 1), (0.2, 1)
    yield from heading("PSNR in dB: sigma and known pixels", "", *(level(*case) for case in cases))
    for loss in ("edge", "texture"):
        restore = functools.partial(ours, loss=loss)
        yield row(loss, *(f"{mean_psnr(photographs, seed, *case, restore):.2f}" for case in cases))


def peers_at_their_best(photographs, seed):
    """Others, with the parameters that are best for each column."""
    cases = [(sigma, density) for density in (0.1, 0.5, 1.0) for sigma in (0.03, 0.05, 0.1, 0.2)]
    samples = {case: [sample(truth, *case, seed) for truth in photographs.values()] for case in cases}
    truths = list(photographs.values())
    filled = functools.cache(lambda fill, case: [fill(*drawn) for drawn in samples[case]])
    yield from heading(
        f"PSNR in dB, mean over {len(truths)} photographs (parameter): sigma and known pixels",
        "",
        *(level(*case) for case in cases),
    )
    for loss in ("edge", "texture"):
        yield row(
            f"graddesc, {loss}, noise = sigma",
            *(f"{mean_psnr(photographs, seed, *case, functools.partial(ours, loss=loss)):.2f}" for case in cases),
        )
    for name, (fill, denoise, parameters) in peers.DENOISERS.items():
        cells = []
        try:
            for case in cases:
                found = {
                    parameter: np.mean(
                        [
                            psnr(denoise(x, case[0], parameter), t)
                            for x, t in zip(filled(fill, case), truths, strict=True)
                        ]
                    )
                    for parameter in parameters
                }
                best = max(found, key=found.get)
                cells.append(f"{found[best]:.2f} ({best:g})")
        except ImportError:
            yield row(name, *["not installed"] * len(cases))
            continue
        yield row(name, *cells)


def rbf(photographs, seed):
    """Thin plates through the nearest samples, which take long, on two photographs."""
    some = {name: photographs[name] for name in list(photographs) if name in ("camera", "rocket")} or photographs
    smoothings = (30, 300, 3000)
    yield from heading(
        f"PSNR in dB, {' and '.join(some)}, sigma 0.1, 10 % known",
        "",
        "graddesc, edge",
        *(f"SciPy RBFInterpolator, 50 neighbors, smoothing {smoothing}" for smoothing in smoothings),
    )
    found = [mean_psnr(some, seed, 0.1, 0.1, ours)]
    for smoothing in smoothings:
        found.append(
            mean_psnr(
                some, seed, 0.1, 0.1, lambda image, known, _, s=smoothing: peers.rbf_interpolator(image, known, s)
            )
        )
    yield row("", *(f"{value:.2f}" for value in found))


def maps(photographs, seed):
    """Noise that differs from pixel to pixel: half of the known ones at random."""
    densities = 0.1, 0.5, 1.0
    yield from heading(
        "PSNR in dB: half of the known pixels good, half bad, by known pixels", "", *(f"{d:.0%}" for d in densities)
    )
    for good, bad in ((0.03, 0.15), (0.0, 0.1)):
        cells = {"a map": [], "their root mean square": [], "the good ones alone": []}
        for density in densities:
            found = {name: [] for name in cells}
            for truth in photographs.values():
                worse = np.random.default_rng(seed + 2).random(truth.shape) < 0.5
                sigma = np.where(worse, bad, good)
                image, known = sample(truth, sigma, density, seed)
                found["a map"].append(psnr(ours(image, known, sigma), truth))
                one = float(np.sqrt(np.mean(sigma[known] ** 2)))
                found["their root mean square"].append(psnr(ours(image, known, one), truth))
                found["the good ones alone"].append(psnr(ours(image, known & ~worse, good), truth))
            for name, values in found.items():
                cells[name].append(np.mean(values))
        for name, values in cells.items():
            yield row(f"{good:g} and {bad:g}: {name}", *(f"{value:.2f}" for value in values))


def outliers(photographs, seed):
    """One known pixel in a hundred is 1, and none."""
    cases = (0.03, 0.1), (0.05, 1.0), (0.1, 0.5), (0.01, 1.0)
    yield from heading("PSNR in dB with outliers: sigma and known pixels", "", *(level(*case) for case in cases))
    for share in (0, 0.01):
        for huber in (False, 1.5, True, 3.0):

            def restore(image, known, sigma, share=share, huber=huber):
                hit = known & (np.random.default_rng(seed + 2).random(image.shape) < share)
                return ours(np.where(hit, 1, image), known, sigma, huber=huber)

            yield row(
                f"{share:.0%} are 1, huber={huber}",
                *(f"{mean_psnr(photographs, seed, *case, restore):.2f}" for case in cases),
            )


def wrong(photographs, seed):
    """Noise that is told to be more or less than it is."""
    factors = 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0
    yield from heading("PSNR in dB by noise / sigma: sigma and known pixels", "", *(f"{f:g}" for f in factors))
    for case in ((0.1, 1.0), (0.1, 0.1), (0.03, 1.0), (0.03, 0.1)):
        yield row(
            level(*case),
            *(
                f"{mean_psnr(photographs, seed, *case, lambda i, k, s, f=factor: ours(i, k, f * s)):.2f}"
                for factor in factors
            ),
        )


def error(photographs, seed):
    """What info.error expects, beside what is found."""
    yield from heading(
        "The root mean square error over the expected one, and how many are within one and two of these",
        "sigma, known",
        *(f"{kind}: {what}" for kind in ("known", "missing") for what in ("ratio", "extremes", "within 1", "within 2")),
    )
    for sigma, density in ((0.01, 1), (0.03, 0.1), (0.1, 0.1), (0.03, 0.5), (0.03, 1), (0.1, 1), (0.2, 0.05)):
        found = {"known": [], "missing": []}
        for truth in photographs.values():
            image, known = sample(truth, sigma, density, seed)
            restored, info = ours(image, known, sigma, full_output=True, confidence=True)
            for kind, where in (("known", known), ("missing", ~known)):
                if where.any():
                    wrong, expected = np.abs(restored - truth)[where], info.error[where].astype(float)
                    ratio = np.sqrt(np.mean(wrong**2) / np.mean(expected**2))
                    found[kind].append((ratio, np.mean(wrong <= expected), np.mean(wrong <= 2 * expected)))
        cells = []
        for values in found.values():
            if not values:
                cells += ["-"] * 4
                continue
            ratios, one, two = np.transpose(values)
            cells += [f"{np.mean(ratios):.2f}", f"{ratios.min():.2f}-{ratios.max():.2f}"]
            cells += [f"{np.mean(one):.2f}", f"{np.mean(two):.2f}"]
        yield row(level(sigma, density), *cells)


def counts(photographs, seed):
    """Poisson counts: what is given as their noise."""
    cases = [(peak, density) for density in (0.1, 1.0) for peak in (10, 30, 100, 1000)]

    def restored(y, known, noise, peak):
        return graddesc.restore(y.astype(np.float32), ~known, noise=noise, bounds=(0, None)) / peak

    def from_counts(y, known, rate, peak):
        return restored(y, known, np.sqrt(np.maximum(y, 1)), peak)

    def from_truth(y, known, rate, peak):
        return restored(y, known, np.sqrt(np.maximum(rate, 1e-3 * peak)), peak)

    def one_number(y, known, rate, peak):
        return restored(y, known, float(np.sqrt(y[known].mean())), peak)

    def twice(y, known, rate, peak):
        first = peak * one_number(y, known, rate, peak)
        return restored(y, known, np.sqrt(np.maximum(first, 0.5)), peak)

    def anscombe(y, known, rate, peak):
        z = graddesc.restore((2 * np.sqrt(y + 3 / 8)).astype(np.float32), ~known, noise=1.0)
        z = np.maximum(z, 2 * np.sqrt(3 / 8))
        # The inverse that is unbiased: M. Makitalo, A. Foi, IEEE Transactions on Image Processing 20, 2697-2698, 2011.
        root = np.sqrt(3 / 2)
        return (z**2 / 4 + root / (4 * z) - 11 / (8 * z**2) + 5 * root / (8 * z**3) - 1 / 8) / peak

    yield from heading(
        "PSNR in dB of Poisson counts, in brackets the mean of what is restored over that of the truth: counts of white"
        " and known pixels",
        "noise=",
        *(f"{peak}, {density:.0%}" for peak, density in cases),
    )
    for name, restore in {
        "the root of the counts, at least 1": from_counts,
        "one number, the root of their mean": one_number,
        "the root of what that restores": twice,
        "the root of the truth": from_truth,
        "1, after Anscombe's transform": anscombe,
    }.items():
        cells = []
        for peak, density in cases:
            found = []
            for truth in photographs.values():
                known = np.random.default_rng(seed).random(truth.shape) < density
                y = np.random.default_rng(seed + 1).poisson(peak * truth).astype(float)
                image = restore(y, known, peak * truth, peak)
                found.append((psnr(image, truth), image.mean() / truth.mean()))
            values = np.mean(found, axis=0)
            cells.append(f"{values[0]:.2f} ({values[1]:.3f})")
        yield row(name, *cells)


def clipped(photographs, seed):
    """Noise that was cut off at black and white."""
    cases = (0.05, 1.0), (0.1, 0.1), (0.1, 1.0), (0.2, 0.1), (0.2, 1.0)
    yield from heading(
        "PSNR in dB; in brackets the mean error where the truth is in the darkest tenth: sigma and known pixels",
        "noise",
        *(level(*case) for case in cases),
    )
    for name, cut in (("as it is", lambda x: x), ("clipped to [0, 1]", lambda x: np.clip(x, 0, 1))):
        cells = []
        for sigma, density in cases:
            found = []
            for truth in photographs.values():
                image, known = sample(truth, sigma, density, seed)
                restored = ours(cut(image), known, sigma)
                dark = truth <= np.quantile(truth, 0.1)
                found.append((psnr(restored, truth), np.mean((restored - truth)[dark])))
            values = np.mean(found, axis=0)
            cells.append(f"{values[0]:.2f} ({values[1]:+.3f})")
        yield row(name, *cells)


def estimate(photographs, seed):
    """masks.estimate_noise over the truth, and what restoring by it costs."""
    densities = 0.02, 0.1, 1.0
    yield from heading(
        "The estimate over sigma: the median and the extremes; in brackets PSNR in dB by it and by sigma",
        "sigma",
        *(f"{density:.0%} known" for density in densities),
    )
    for sigma in DEVIATIONS[::-1]:
        cells = []
        for density in densities:
            ratios, found = [], []
            for truth in photographs.values():
                image, known = sample(truth, sigma, density, seed)
                noise = graddesc.masks.estimate_noise(image, known=known)
                ratios.append(noise / sigma)
                found.append([psnr(ours(image, known, given), truth) for given in (noise, sigma)])
            blind, told = np.mean(found, axis=0)
            cells.append(f"{np.median(ratios):.2f}, {min(ratios):.2f}-{max(ratios):.3g} ({blind:.2f}, {told:.2f})")
        yield row(f"{sigma:g}", *cells)


def speed(photographs, seed):
    """Time with and without noise."""
    truth = np.tile(next(iter(photographs.values())), (2, 2))
    yield from heading("Nanoseconds a pixel, 512 x 512, sigma 0.1, the least of five", "", "10%", "50%", "100%")
    for name, settings in (
        ("edge, noise = 0", SimpleNamespace(loss="edge", on=0)),
        ("edge", SimpleNamespace(loss="edge", on=1)),
        ("texture", SimpleNamespace(loss="texture", on=1)),
    ):
        cells = []
        for density in (0.1, 0.5, 1.0):
            image, known = sample(truth, 0.1, density, seed)
            seconds = []
            for _ in range(5 if settings.loss == "edge" else 1):
                started = time.process_time()
                ours(image, known, 0.1 * settings.on, settings.loss)
                seconds.append(time.process_time() - started)
            cells.append(f"{1e9 * min(seconds) / truth.size:.3g}")
        yield row(name, *cells)


SECTIONS = {
    "losses": losses,
    "differences": differences,
    "texture": texture,
    "peers": peers_at_their_best,
    "rbf": rbf,
    "maps": maps,
    "outliers": outliers,
    "wrong": wrong,
    "error": error,
    "counts": counts,
    "clipped": clipped,
    "estimate": estimate,
    "speed": speed,
}
DEFAULT = tuple(name for name in SECTIONS if name != "rbf")  # which takes minutes


if __name__ == "__main__":
    main()
