"""Many frames with one mask, and images that are restored in tiles, side by side with one solve of the whole.

    python bench/scale.py [--rounds 5] [--frames 1000] [--megapixels 1000] [--only frames tiles exact cluster]

`frames` is a thermal camera: 640 x 512 pixels, uint16, 0.5 % of them dead; every frame by one `Plan`, by OpenCV's
Navier-Stokes, and by two threads. `tiles` restores a photograph of which half is missing as a whole and in tiles: time
of the processor, and PSNR over the missing pixels. `exact` compares the bits over chunks. `cluster` writes so many
megapixels to zarr and restores them into another zarr by two workers of a LocalCluster: the processor's time of both,
for each pixel, over that of the largest part that one call restores here, and the most memory that a worker took.
"""

# ruff: noqa: E402 - before the import that keeps to one processor

import itertools
import os
import tempfile
import time

ALL = os.sched_getaffinity(0)

import numpy as np
from benchmarks.bench_base import photograph
from compare import command, number, publish, row

import graddesc
import graddesc.tiling

ROWS, COLS = 512, 640


def main():
    parser = command(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--frames", type=int, default=1000, help="frames of the camera (1000)")
    parser.add_argument("--megapixels", type=int, default=1000, help="of the image for the cluster (1000)")
    sections = {"frames": frames, "tiles": tiles, "exact": exact, "cluster": cluster}
    parser.add_argument("--only", nargs="+", choices=sections, help="these sections alone")
    options = parser.parse_args()
    chosen = (section(options) for name, section in sections.items() if name in (options.only or sections))
    publish(itertools.chain.from_iterable(chosen), options.output)


def psnr(restored, truth, mask):
    return 10 * np.log10(255**2 / np.mean((restored[mask].astype(float) - truth[mask]) ** 2))


# ---- frames ----


def frames(options):
    import cv2

    rng = np.random.default_rng(0)
    scene = 255 * photograph(ROWS, COLS)
    mask = rng.random(scene.shape) < 0.005
    some = [(scene * 100 + rng.normal(0, 50, scene.shape)).astype(np.uint16) for _ in range(20)]
    video = np.stack([some[k % 20] for k in range(options.frames)])
    out = np.empty_like(video)
    corrupt = mask.astype(np.uint8)

    def by_plan(loss):
        plan = graddesc.Plan(mask, (ROWS, COLS), loss=loss)

        def job():
            for frame, restored in zip(video, out, strict=True):
                plan(frame, out=restored)

        return job

    def together(loss, threads):
        return lambda: graddesc.restore(video, mask, loss=loss, frame_axis=0, threads=threads, out=out)

    def opencv():
        for frame, restored in zip(video, out, strict=True):
            restored[...] = cv2.inpaint(frame, corrupt, 3, cv2.INPAINT_NS)

    cv2.setNumThreads(1)
    os.sched_setaffinity(0, ALL)
    jobs = {"OpenCV, Navier-Stokes": opencv}
    for loss in ("harmonic", "biharmonic", "edge"):
        jobs[f"{loss}, Plan"] = by_plan(loss)
        jobs[f"{loss}, frame_axis, one thread"] = together(loss, 1)
        jobs[f"{loss}, frame_axis, two threads"] = together(loss, 2)
    seconds = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - started)
    first = np.array(seconds["OpenCV, Navier-Stokes"])
    yield f"**{options.frames} frames of {COLS} x {ROWS}, uint16, 0.5 % dead, by the clock**"
    yield ""
    yield row("", "frames a second", "times OpenCV's")
    yield row("---", "---:", "---:")
    for name, taken in seconds.items():
        taken = np.array(taken)
        yield row(name, number(options.frames / taken), number(first / taken))
    yield ""
    for loss in ("harmonic", "biharmonic", "edge"):
        one, two = (np.array(seconds[f"{loss}, frame_axis, {team}"]) for team in ("one thread", "two threads"))
        yield f"Two threads are {number(one / two)} times as fast as one ({loss})."
    yield ""


# ---- tiles ----


def scene_of(side, missing=0.5, seed=0):
    truth = np.rint(255 * photograph(side, side))
    mask = np.random.default_rng(seed).random(truth.shape) < missing
    return truth, mask, np.where(mask, 0, truth).astype(np.uint8)


def tiles(options):
    yield "**In tiles of 1024 x 1024 beside one solve of the whole, 4096 x 4096, uint8, half missing**"
    yield ""
    yield row("", "nanoseconds a pixel, whole", "in tiles, ratio", "PSNR, whole", "in tiles")
    yield row("---", *["---:"] * 4)
    truth, mask, image = scene_of(4096)
    for loss in ("harmonic", "biharmonic", "edge"):
        seconds, values = [], []
        for _ in range(options.rounds):
            for restore in (graddesc.restore, graddesc.tiling.restore):
                started = time.process_time()
                restored = restore(image, mask, loss=loss)
                seconds.append(time.process_time() - started)
                values.append(f"{psnr(restored, truth, mask):.3f}")
        whole, tiled = np.array(seconds).reshape(-1, 2).T
        yield row(loss, number(1e9 * whole / image.size), number(tiled / whole), *values[:2])
    yield ""


def exact(options):
    import dask.array as da

    import graddesc.dask

    _, mask, image = scene_of(3000)
    mask[1200:1500, 400:900] = True
    results = [
        graddesc.dask.restore(da.from_array(image, chunks=chunks), mask, exact=True).compute(scheduler="synchronous")
        for chunks in (256, 384, 1000, 3000)
    ]
    alike = all(np.array_equal(results[0], other) for other in results[1:])
    yield f"exact=True, 3000 x 3000, chunks 256, 384, 1000 and 3000: {'equal' if alike else 'DIFFERENT'} bits."
    yield ""


# ---- a cluster ----


def most_memory():
    """The most memory that this process has taken, in GiB; `getrusage` tells its parent's where that is more."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 2**20


def cluster(options):
    import dask.array as da
    import zarr
    from distributed import Client, LocalCluster

    import graddesc.dask

    os.sched_setaffinity(0, ALL)
    side = int((options.megapixels * 1e6) ** 0.5) // 1024 * 1024
    part = min(side, 8192)
    truth, mask, image = scene_of(part)
    started = time.process_time()
    whole = graddesc.restore(image, mask)
    alone = (time.process_time() - started) / image.size
    with tempfile.TemporaryDirectory() as folder:
        shape = {"shape": (side, side), "chunks": (1024, 1024), "dtype": "u1"}
        source = zarr.create_array(f"{folder}/in.zarr", **shape)
        flags = zarr.create_array(f"{folder}/mask.zarr", **shape)
        target = zarr.create_array(f"{folder}/out.zarr", **shape)
        for i, j in itertools.product(range(0, side, part), repeat=2):
            here = np.s_[i : min(i + part, side), j : min(j + part, side)]
            rows, cols = (there.stop - there.start for there in here)
            source[here], flags[here] = image[:rows, :cols], mask[:rows, :cols]
        before = time.perf_counter()
        with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as workers, Client(workers) as client:
            restored = graddesc.dask.restore(da.from_zarr(source), da.from_zarr(flags))
            graddesc.dask.store(restored, target, f"{folder}/marks")
            spent = sum(client.run(time.process_time).values())
            most = max(client.run(most_memory).values())
        elapsed = time.perf_counter() - before
        inner = np.s_[: min(part, side) - 64, : min(part, side) - 64]  # what the whole saw as the tiles did
        tiled = target[:part, :part]
    yield f"**{side} x {side} pixels (uint8, half missing, edge) from zarr to zarr by two workers**"
    yield ""
    yield row(
        "seconds by the clock", "processor's, ns a pixel", "one call, ns a pixel", "ratio", "a worker's GiB at most"
    )
    yield row(*["---:"] * 5)
    each = spent / side**2
    yield row(f"{elapsed:.0f}", number(1e9 * each), number(1e9 * alone), number(each / alone), number(most))
    yield ""
    values = (f"{psnr(result[inner], truth[inner], mask[inner]):.3f}" for result in (whole, tiled))
    yield f"PSNR on the part of {part} x {part} that one call restores: {' as a whole, '.join(values)} in tiles."
    yield ""


if __name__ == "__main__":
    main()
