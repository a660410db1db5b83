"""Run the same work through graddesc and its peers, side by side on one processor, and print the tables in Markdown.

    python bench/compare.py [--quick] [--sizes 128 512] [--rounds 7] [--output FILE]

The jobs of a table take turns, round after round; a time is the median over the rounds, a ratio the median of the
ratios within a round. Times are those of the processor, so that others who use the machine count for less. Peers that
are not installed are named and left out. Linux only.
"""

# ruff: noqa: E402 - the number of threads must be set before the imports that read it

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# One thread for everyone, before anyone counts the processors.
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}

import numpy as np
import peers
from benchmarks.bench_base import (
    MISSING,
    TWELVE_MEGAPIXELS,
    colour_photograph,
    corrupted,
    known_pixels,
    photograph,
)
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import graddesc
from graddesc.losses import LineSmoothness

CLASSIC = graddesc.InverseTime(1.5, floor=0.015)
CLASSIC_STEPS = [CLASSIC(k) for k in range(500)]
VERSIONS = ("numpy", "scipy", "numba", "torch", "jax", "autograd", "opencv-python-headless", "scikit-image")

BUDGET = 20.0  # seconds after which a job is not run again
LEAST = 0.05  # seconds that the iterations of one measurement should last
# Who is not waited for: the side of an image, and the number of pixels, above which these are left out.
LARGEST_SIDE = {"autograd, line by line": 512}
LARGEST_IMAGE = {"scikit-image, biharmonic": 1000 * 1000}
SAMPLE = {"autograd, line by line": 2}  # so many iterations stand for the 500 of the classic recipe


def main():
    options = arguments()
    if options.memory:
        name, path = options.memory
        print(peak_memory(peers.RESTORATIONS[name], path))
        return
    publish(tables(options), options.output)


def arguments():
    parser = command(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", help="sides of the images of table 1 (128 512 1024 4096)")
    parser.add_argument("--rounds", type=int, help="how often each job is measured (7)")
    parser.add_argument("--quick", action="store_true", help="small images and three rounds: does it all run?")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)  # of one restoration: table 4 runs it apart
    options = parser.parse_args()
    options.sizes = options.sizes or ([128, 512] if options.quick else [128, 512, 1024, 4096])
    options.rounds = options.rounds or (3 if options.quick else 7)
    return options


def tables(options):
    yield from machine()
    yield from iterations(options.sizes, options.rounds)
    yield from classic_job(256 if options.quick else 512, options.rounds)
    for shape in [(256, 256)] if options.quick else [(512, 512), TWELVE_MEGAPIXELS]:
        yield from restorations(shape, options.rounds)
    yield from memory([(256, 256)] if options.quick else [(1000, 1000), TWELVE_MEGAPIXELS])
    yield from colour((256, 256) if options.quick else (512, 512), options.rounds)
    yield from threads((256, 256) if options.quick else TWELVE_MEGAPIXELS, options.rounds)


# ---- measuring ----


def command(doc):
    """The command line of a script, with the option that all of them have."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--output", type=Path, help="a file to write the tables to as well")
    return parser


def publish(lines, path):
    """Print lines as they come, and in the end write them to a file, if one is given."""
    printed = []
    for line in lines:
        print(line, flush=True)
        printed.append(line)
    if path:
        path.write_text("\n".join(printed) + "\n")


def take_turns(jobs, rounds, clock=time.process_time):
    """The seconds of each job in each round, as arrays; NaN where its budget was spent."""
    seconds = {name: np.full(rounds, np.nan) for name in jobs}
    for turn in range(rounds):
        for name, job in jobs.items():
            if np.nansum(seconds[name]) < BUDGET:
                started = clock()
                job()
                seconds[name][turn] = clock() - started
    return seconds


def number(values, digits=3):
    """The median, rounded."""
    return f"{float(f'{np.nanmedian(values):.{digits}g}'):,g}"


def ratio(seconds, reference):
    return number(seconds / reference, digits=2)


def installed(functions, *args):
    """Those functions that do not fail to import what they need, and what they return."""
    results = {}
    for name, function in functions.items():
        try:
            results[name] = function(*args)
        except ImportError:
            continue
    return results


def row(*cells):
    return f"| {' | '.join(map(str, cells))} |"


def table(title, note, *columns):
    return ["", f"**{title}**", "", note, "", row(*columns), row("---", *["---:"] * (len(columns) - 1))]


def trial(rows, cols):
    """The photograph, which of its pixels are known, and the image with noise in place of the others."""
    truth = photograph(rows, cols).astype(np.float32)
    known = known_pixels(truth.shape)
    return truth, known, corrupted(truth, known).astype(np.float32)


# ---- the tables ----


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    build = graddesc.build_config()
    yield f"{model[1] if model else platform.machine()}, one thread; Python {platform.python_version()};"
    yield f"graddesc {build['version']}, {build['compiler']}, instruction set {build['isa']};"
    versions, missing = [], []
    for name in VERSIONS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield ", ".join(versions) + "."
    if missing:
        yield f"Not installed and left out: {', '.join(missing)}."


def iterations(sizes, rounds):
    yield from table(
        "1. One iteration of the classic recipe, float32",
        "Nanoseconds for each pixel, and in brackets the ratio to graddesc. Everyone's first iterations agree to 1e-5.",
        "",
        *(f"{size} x {size}" for size in sizes),
    )
    cells = {name: [] for name in peers.ITERATIONS | peers.YARDSTICKS}
    for size in sizes:
        jobs = iteration_jobs(size)
        seconds = take_turns({name: job for name, (job, _) in jobs.items()}, rounds)
        each = {name: seconds[name] / count / size**2 for name, (_, count) in jobs.items()}
        for name in cells:
            text = "-"
            if name in each:
                text = f"{number(each[name] * 1e9)} ({ratio(each[name], each['graddesc'])})"
            cells[name].append(text)
    for name, texts in cells.items():
        if set(texts) != {"-"}:
            yield row(name, *texts)


def iteration_jobs(size):
    """For each peer a job, and how many iterations it takes."""
    _, known, start = trial(size, size)
    wanted = {name: peer for name, peer in peers.ITERATIONS.items() if size <= LARGEST_SIDE.get(name, size)}
    jobs, expected = {}, None
    for name, advance in installed(wanted | peers.YARDSTICKS, start, known).items():
        image = advance(CLASSIC_STEPS[:3])
        if name in wanted:
            expected = image.copy() if expected is None else expected
            np.testing.assert_allclose(image, expected, atol=1e-5, err_msg=name)
        started = time.process_time()
        advance(CLASSIC_STEPS[-1:])
        count = 1 + int(LEAST / (time.process_time() - started))
        jobs[name] = (lambda advance=advance, count=count: advance(CLASSIC_STEPS[-1:] * count)), count
    return jobs


def classic_job(size, rounds):
    yield from table(
        f"2. The whole job of the classic recipe, {size} x {size}, {MISSING:.0%} missing, float32",
        "The recipe is its 500 steps from noise; the solver stops when at the loss of the recipe, or when settled.",
        "",
        "seconds",
        "ratio",
        "iterations",
        "loss",
    )
    _, known, start = trial(size, size)

    def restore(**options):
        return graddesc.restore(start, known=known, loss="line", **options)

    def loss(image):
        return LineSmoothness().value(image.astype(np.float64))

    recipe = {"step": CLASSIC, "init": "image"}
    goal = loss(restore(**recipe))
    _, info = restore(tol=0, max_iter=100, full_output=True)
    enough = 1 + int(np.argmax(info.history <= goal))
    settled = restore(full_output=True)[1].nit
    jobs = {
        "graddesc, solver to the recipe's loss": (lambda: restore(max_iter=enough, tol=0), enough),
        "graddesc, solver until settled": (restore, settled),
        "graddesc, recipe": (lambda: restore(**recipe), 500),
    }
    losses = {name: loss(job()) for name, (job, _) in jobs.items()}
    others = {name: peer for name, peer in peers.ITERATIONS.items() if name != "graddesc"}
    for name, advance in installed(others, start, known).items():
        steps = CLASSIC_STEPS[: SAMPLE.get(name)]
        image = advance(steps)
        losses[name] = loss(image) if len(steps) == len(CLASSIC_STEPS) else None
        jobs[name] = (lambda advance=advance, steps=steps: advance(steps)), len(steps)
    seconds = take_turns({name: job for name, (job, _) in jobs.items()}, rounds)
    for name in SAMPLE.keys() & seconds.keys():
        seconds[name] *= len(CLASSIC_STEPS) / SAMPLE[name]
    for name, (_, count) in jobs.items():
        yield row(
            name,
            number(seconds[name]),
            ratio(seconds[name], seconds["graddesc, solver to the recipe's loss"]),
            f"500, {count} of them measured" if name in SAMPLE else count,
            "-" if losses[name] is None else f"{losses[name]:.2f}",
        )


def restorations(shape, rounds):
    rows, cols = shape
    yield from table(
        f"3. Whole restorations, {rows} x {cols}, {MISSING:.0%} missing, uint8",
        "Nanoseconds for each pixel of the image; PSNR in dB and SSIM over the whole image.",
        "",
        "ns/pixel",
        "ratio",
        "PSNR",
        "SSIM",
    )
    truth, known, noisy = trial(rows, cols)
    image, mask = np.rint(noisy * 255).astype(np.uint8), ~known
    results = installed(restorers(shape), image, mask)  # also the warm-up
    jobs = {name: lambda f=peers.RESTORATIONS[name]: f(image, mask) for name in results}
    seconds = take_turns(jobs, rounds)
    for name, restored in results.items():
        yield row(
            name,
            number(seconds[name] / truth.size * 1e9),
            ratio(seconds[name], seconds["graddesc, edge"]),
            f"{peak_signal_noise_ratio(truth, restored, data_range=1):.2f}",
            f"{structural_similarity(truth, restored, data_range=1):.3f}",
        )


def restorers(shape):
    pixels = shape[0] * shape[1]
    return {name: peer for name, peer in peers.RESTORATIONS.items() if pixels <= LARGEST_IMAGE.get(name, pixels)}


def memory(shapes):
    yield from table(
        "4. Peak memory of a restoration, uint8",
        "Bytes for each pixel that the process grows by at most during the call; four for an array in float32.",
        "",
        *(f"{rows} x {cols}" for rows, cols in shapes),
    )
    cells = {name: [] for name in peers.RESTORATIONS}
    for shape in shapes:
        wanted = restorers(shape)
        _, known, noisy = trial(*shape)
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file.name, image=np.rint(noisy * 255).astype(np.uint8), mask=~known)
            for name, texts in cells.items():
                texts.append(peak_memory_apart(name, file.name, known.size) if name in wanted else "-")
    for name, texts in cells.items():
        if set(texts) != {"-"}:
            yield row(name, *texts)


def colour(shape, rounds):
    yield from table(
        f"5. Colour, {shape[0]} x {shape[1]}, {MISSING:.0%} missing, uint8",
        "Nanoseconds for each pixel of the image, and the ratio of the astronaut in colour to the same in grey.",
        "",
        "grey",
        "RGB",
        "ratio",
    )
    truth = np.rint(colour_photograph()[: shape[0], : shape[1]] * 255).astype(np.uint8)
    mask = ~known_pixels(shape)
    image = np.where(mask[..., np.newaxis], 0, truth).astype(np.uint8)
    grey = np.rint(image.mean(axis=-1)).astype(np.uint8)
    for loss in ("edge", "biharmonic", "harmonic", "line"):
        jobs = {
            "grey": lambda loss=loss: graddesc.restore(grey, mask, loss=loss),
            "RGB": lambda loss=loss: graddesc.restore(image, mask, loss=loss, channel_axis=-1),
        }
        seconds = take_turns(jobs, rounds)
        cells = (number(values / mask.size * 1e9) for values in seconds.values())
        yield row(f"graddesc, {loss}", *cells, ratio(seconds["RGB"], seconds["grey"]))


def threads(shape, rounds):
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count()))
    yield from table(
        f"6. Threads, {shape[0]} x {shape[1]}, {MISSING:.0%} missing, uint8",
        "Seconds by the clock, and how many times faster two threads are.",
        "",
        "one",
        "two",
        "times",
    )
    _, known, noisy = trial(*shape)
    image, mask = np.rint(noisy * 255).astype(np.uint8), ~known
    for loss in ("edge", "line"):
        jobs = {n: lambda n=n, loss=loss: graddesc.restore(image, mask, loss=loss, threads=n) for n in (1, 2)}
        seconds = take_turns(jobs, rounds, time.perf_counter)
        yield row(f"graddesc, {loss}", number(seconds[1]), number(seconds[2]), ratio(seconds[1], seconds[2]))
    os.sched_setaffinity(0, processors)


def peak_memory_apart(name, path, pixels):
    """The peak of a process of its own, as a cell of the table."""
    command = [sys.executable, __file__, "--memory", name, path]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return number(int(answer) / pixels) if answer != "None" else "-"


def peak_memory(restore, path):
    """By how many bytes this process grows at most in a restoration; None without the peer."""
    with np.load(path) as file:
        image, mask = file["image"], file["mask"]
    try:
        restore(image[:32, :32], mask[:32, :32])  # loads what it needs
    except ImportError:
        return None
    # Not getrusage: its peak is inherited from the process that started this one.
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again here
    before = peak_resident()
    restore(image, mask)
    return peak_resident() - before


def peak_resident():
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    main()
