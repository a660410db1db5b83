"""Restore images of which little or much is missing, side by side with OpenCV and scikit-image, and print Markdown.

    python bench/masks.py [--quick] [--rounds 7] [--only NAME ...] [--output FILE]

How to read it: a cell is the median of the milliseconds over the rounds, in brackets the median of its ratio to OpenCV
Navier-Stokes in the same round, then the PSNR in dB over the missing pixels alone. A star marks a restoration that says
it has not settled. Jobs take turns on one processor, short ones many times in a turn; times are the processor's, but
for threads, which are timed by the clock. "distance" tells no time: how far restore() is from a direct solution, in
parts of what its tolerance allows: 1 or less is kept. The sections are those of --only.
"""

import functools
import os
import sys
import time
from pathlib import Path

# First: it chooses the processor and the threads.
from compare import command, installed, machine, number, publish, ratio, row, table, take_turns

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # the direct solution and the masks are those of the tests

import numpy as np
import reference
import scenes
from benchmarks.bench_base import TWELVE_MEGAPIXELS, photograph
from PIL import Image, ImageDraw

import graddesc

NAVIER_STOKES = "OpenCV, Navier-Stokes"
SCIKIT = "scikit-image, biharmonic"
LOSSES = ("line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge")  # "texture" takes seconds
QUADRATIC = "harmonic", "biharmonic"
TOLERANCES = (0.3, 0.1, 1e-2, 1e-3, 1e-4)
WIDTHS = (1, 3, 8, 25, 60, 100, 200)

LEAST = 0.02  # seconds that a measurement should last
LARGEST_SCIKIT = 60_000  # missing pixels, at most, of what scikit-image is waited for: below 10 s


def main():
    options = arguments()
    publish(tables(options), options.output)


def arguments():
    parser = command(__doc__)
    parser.add_argument("--rounds", type=int, help="how often each job is measured (7)")
    parser.add_argument("--quick", action="store_true", help="three rounds and smaller images: does it all run?")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="these sections alone")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    return options


def tables(options):
    yield from machine()
    for name in options.only:
        yield from SECTIONS[name](options)


# ---- images and masks ----


def camera(side=512):
    return np.rint(255 * photograph(side, side)).astype(np.uint8)


def at_random(shape, rate, seed=0):
    return np.random.default_rng(seed).random(shape) < rate


def so_many(shape, count, seed=0):
    """A mask of single pixels, their number given."""
    mask = np.zeros(shape, bool)
    mask.flat[np.random.default_rng(seed).choice(mask.size, count, replace=False)] = True
    return mask


def two_lines(side):
    """A dead row and a dead column."""
    mask = np.zeros((side, side), bool)
    mask[side // 3] = mask[:, 3 * side // 5] = True
    return mask


def scratches(side):
    """Straight ones, two to four pixels wide, over a twentieth of the image."""
    rng = np.random.default_rng(4)
    picture = Image.new("L", (side, side))
    draw = ImageDraw.Draw(picture)
    while np.mean(np.asarray(picture) > 0) < 0.05:
        draw.line(rng.integers(0, side, 4).tolist(), fill=255, width=int(rng.integers(2, 5)))
    return np.asarray(picture) > 0


def hole(side, width=64):
    mask, start = np.zeros((side, side), bool), (side - width) // 2
    mask[start : start + width, start : start + width] = True
    return mask


def masks(side):
    shape = side, side
    return {
        "26 pixels": so_many(shape, 26),
        "0.1 % at random": at_random(shape, 0.001),
        "1 % at random": at_random(shape, 0.01),
        "5 % at random": at_random(shape, 0.05),
        "two lines": two_lines(side),
        "scratches": scratches(side),
        "text": scenes.text(side),
        "one hole of 64 x 64": hole(side),
        "90 % at random": at_random(shape, 0.9),
    }


def with_holes(truth, mask):
    return np.where(mask, 0, truth).astype(truth.dtype)


# ---- methods: from an image and its mask to the restored image, in units of the image ----


def restorer(loss, **settings):
    return functools.partial(graddesc.restore, loss=loss, **settings)


def telea():
    import cv2

    return lambda image, mask: cv2.inpaint(image, mask.view(np.uint8), 3, cv2.INPAINT_TELEA)


def navier_stokes():
    import cv2

    return lambda image, mask: cv2.inpaint(image, mask.view(np.uint8), 3, cv2.INPAINT_NS)


def scikit():
    from skimage.restoration import inpaint_biharmonic

    return lambda image, mask: np.rint(inpaint_biharmonic(image, mask) * np.iinfo(image.dtype).max)


OTHERS = {"OpenCV, Telea": telea, NAVIER_STOKES: navier_stokes, SCIKIT: scikit}


def methods(losses, others):
    """Those that are installed, by their names."""
    wanted = {name: OTHERS[name] for name in others}
    return installed(wanted) | {f"graddesc, {loss}": restorer(loss) for loss in losses}


def unsettled(name, image, mask):
    """Whether graddesc says that it has not arrived."""
    _, _, loss = name.partition("graddesc, ")
    return bool(loss) and graddesc.restore(image, mask, loss=loss, full_output=True)[1].status != 0


# ---- measuring ----


def timed(jobs, rounds, clock=time.process_time):
    """The seconds of each job in each round; short ones are done many times in a turn, which is what comes first."""
    counts = {}
    for name, job in jobs.items():
        job()  # the caches
        started = clock()
        job()
        counts[name] = 1 + int(LEAST / max(clock() - started, 1e-7))

    def repeated(job, count):
        for _ in range(count):
            job()

    several = {name: functools.partial(repeated, job, counts[name]) for name, job in jobs.items()}
    seconds = take_turns(several, rounds, clock)
    return {name: values / counts[name] for name, values in seconds.items()}


def psnr(restored, truth, mask):
    error = restored[mask].astype(np.float64) - truth[mask]
    peak = np.iinfo(truth.dtype).max
    return f"{10 * np.log10(peak**2 / np.mean(error**2)):.2f}"


def cells(truth, mask, functions, rounds, columns=None):
    """For each method its time, ratio and PSNR, or "-" where it is left out."""
    image = with_holes(truth, mask)
    results = {name: function(image, mask) for name, function in functions.items()}
    seconds = timed({name: functools.partial(functions[name], image, mask) for name in functions}, rounds)
    for name in columns or functions:
        if name not in functions:
            yield "-"
            continue
        times = f" ({ratio(seconds[name], seconds[NAVIER_STOKES])})" if NAVIER_STOKES in seconds else ""
        star = "*" if unsettled(name, image, mask) else ""
        yield f"{number(1e3 * seconds[name])}{times}, {psnr(results[name], truth, mask)}{star}"


NOTE = "Milliseconds (times OpenCV Navier-Stokes), dB over the missing pixels; * not settled."


def photographs(options):
    side = 256 if options.quick else 512
    functions = methods(LOSSES, OTHERS)
    yield from table(f"Masks, {side} x {side}, uint8, one thread", NOTE, "", *functions)
    truth = camera(side)
    for name, mask in masks(side).items():
        waited = {
            method: function
            for method, function in functions.items()
            if method != SCIKIT or np.count_nonzero(mask) <= LARGEST_SCIKIT
        }
        yield row(f"{name} ({np.mean(mask):.2%})", *cells(truth, mask, waited, options.rounds, functions))


def large(options):
    side = 1024 if options.quick else 4096
    functions = methods((*QUADRATIC, "edge"), [NAVIER_STOKES])
    yield from table(f"500 dead pixels, {side} x {side}, uint16, one thread", NOTE, "", *functions)
    truth = np.rint(65535 * photograph(side, side)).astype(np.uint16)
    yield row("500 pixels", *cells(truth, so_many(truth.shape, 500), functions, options.rounds))


def small(options):
    functions = methods(LOSSES, [NAVIER_STOKES])
    yield from table("Small images, 1 % missing, uint8, one thread", NOTE, "", *functions)
    whole = camera()
    for side in (16, 64):
        truth = np.ascontiguousarray(whole[200 : 200 + side, 200 : 200 + side])
        mask = so_many(truth.shape, max(round(0.01 * truth.size), 1))
        yield row(f"{side} x {side}", *cells(truth, mask, functions, options.rounds))


def plan(options):
    yield from table(
        "Frames of 640 x 512, uint16, 0.5 % dead, one thread",
        "Milliseconds: of a plan, of a frame by it (into `out`), and of restore().",
        "",
        "Plan(mask)",
        "plan(frame)",
        "restore(frame, mask)",
    )
    truth = np.rint(4000 * photograph(512, 640)).astype(np.uint16)
    mask = at_random(truth.shape, 0.005)
    frame, out = with_holes(truth, mask), np.empty_like(truth)
    for loss in (*QUADRATIC, "edge"):
        made = graddesc.Plan(mask, shape=frame.shape, loss=loss)
        np.testing.assert_array_equal(made(frame), graddesc.restore(frame, mask, loss=loss))
        jobs = {
            "make": lambda loss=loss: graddesc.Plan(mask, shape=frame.shape, loss=loss),
            "use": lambda made=made: made(frame, out=out),
            "restore": lambda loss=loss: graddesc.restore(frame, mask, loss=loss),
        }
        seconds = timed(jobs, options.rounds)
        yield row(f"graddesc, {loss}", *(number(1e3 * values) for values in seconds.values()))


def megapixels(options):
    shape = (750, 1000) if options.quick else TWELVE_MEGAPIXELS
    functions = methods(("line", "harmonic", "biharmonic", "edge"), [])
    yield from table(f"90 % at random, {shape[0]} x {shape[1]}, uint8, one thread", NOTE, "", *functions)
    truth = np.rint(255 * photograph(*shape)).astype(np.uint8)
    yield row("90 %", *cells(truth, at_random(shape, 0.9), functions, options.rounds))


def threads(options):
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count()))
    yield from table(
        "Threads, uint8",
        "Milliseconds by the clock, and how many times faster two threads are. "
        f"The load of the machine was {os.getloadavg()[0]:.1f} before.",
        "",
        "one",
        "two",
        "times",
    )
    large_shape = (750, 1000) if options.quick else TWELVE_MEGAPIXELS
    for shape, rate in ((large_shape, 0.9), ((512, 512), 0.9), ((512, 512), 0.01), ((20, 20), 0.5)):
        truth = np.rint(255 * photograph(*shape)).astype(np.uint8)
        mask = at_random(shape, rate)
        image = with_holes(truth, mask)
        for loss in ("edge", "line"):
            jobs = {n: functools.partial(restorer(loss, threads=n), image, mask) for n in (1, 2)}
            seconds = timed(jobs, options.rounds, time.perf_counter)
            name = f"{loss}, {shape[0]} x {shape[1]}, {rate:.0%} missing"
            yield row(name, number(1e3 * seconds[1]), number(1e3 * seconds[2]), ratio(seconds[1], seconds[2]))
    os.sched_setaffinity(0, processors)


def tolerances(options):
    side = 256 if options.quick else 512
    yield from table(
        f"A tighter tolerance, {side} x {side}, uint8, one thread",
        "Milliseconds at the loss's own tol, and the ratio of those at 1e-4 to them; * not settled at 1e-4.",
        "",
        *(f"graddesc, {loss}" for loss in QUADRATIC),
    )
    truth = camera(side)
    for name, mask in masks(side).items():
        image, texts = with_holes(truth, mask), []
        for loss in QUADRATIC:
            jobs = {tol: functools.partial(restorer(loss, tol=tol), image, mask) for tol in (None, 1e-4)}
            seconds = timed(jobs, options.rounds)
            _, info = graddesc.restore(image, mask, loss=loss, tol=1e-4, full_output=True)
            star = "*" if info.status else ""
            texts.append(f"{number(1e3 * seconds[None])}, {ratio(seconds[1e-4], seconds[None])}{star}")
        yield row(name, *texts)


def distance(options):
    side = 128 if options.quick else 256
    images = scenes.fields(side) | {"photograph": 255 * photograph(side, side)}
    for kind, loss in enumerate(QUADRATIC):
        yield from table(
            f"Distance to a direct solution, {loss}, {side} x {side}, float64",
            "The root mean square distance over what the tolerance allows, tol times the root mean square difference "
            f"of neighbours: the worst of {', '.join(images)}, by default and without bounds; * not settled.",
            "",
            *(f"tol {tol:g}" for tol in TOLERANCES),
        )
        for name, mask in scenes.hard_masks(side, [width for width in WIDTHS if width < side]).items():
            worst = worst_distances(kind, loss, images.values(), mask)
            yield row(name, *(f"{value:.3g}{'*' if moving else ''}" for value, moving in worst))


def worst_distances(kind, loss, images, mask):
    """For each tolerance the worst ratio, and whether any restoration has not settled."""
    worst = [(0.0, False)] * len(TOLERANCES)
    for image in images:
        minimum = reference.minimiser(kind, image, mask)
        difference = reference.neighbour_difference(minimum, mask)
        low, high = image[~mask].min(), image[~mask].max()
        beyond = minimum.min() < low or minimum.max() > high
        for bounds in (None, (-np.inf, np.inf)) if beyond else (None,):
            goal = minimum if bounds else np.clip(minimum, low, high)
            for k, tol in enumerate(TOLERANCES):
                restored, info = graddesc.restore(image, mask, loss=loss, tol=tol, bounds=bounds, full_output=True)
                apart = reference.distance(kind, restored, goal, mask) / (tol * difference)
                worst[k] = max(worst[k][0], apart), worst[k][1] or info.status != 0
    return worst


SECTIONS = {
    "masks": photographs,
    "large": large,
    "small": small,
    "plan": plan,
    "megapixels": megapixels,
    "threads": threads,
    "tol": tolerances,
    "distance": distance,
}


if __name__ == "__main__":
    main()
