"""Restore seven synthetic volumes, side by side with what others and single images make of them, and print Markdown.

    python bench/volumes.py [--quick] [--only NAME ...] [--output FILE]

How to read it: "quality" tells the PSNR in dB over the missing voxels alone, [0, 1] being the range, of volumes of 48^3
voxels: at random, whole slices, a block of 16^3. "peers" tells the same and the microseconds for each voxel on a crop
of 18^3, which is what scikit-image ends on in seconds. "time" tells the nanoseconds for each voxel and the peak memory,
in arrays of the volume's size beside the volume and its mask, of a volume of which 90 % is missing. "noise" tells the
PSNR over all voxels, where normal noise is on the known ones: kept as they are, told of by `noise`, and kept and then
denoised at the parameter that is best in the mean of each column, which is told by nothing but the truth.
"""

import functools
import subprocess
import sys
import time

import numpy as np

# First: it chooses the processor and the threads.
from compare import command, machine, publish, row, table
from scipy import ndimage

import graddesc

SIDE = 48
LOSSES = "harmonic", "biharmonic", "tv", "hessian-tv", "edge"
CROP = 18


def main():
    options = arguments()
    if options.measure:
        print(*measure(*options.measure))
        return
    publish(tables(options), options.output)


def arguments():
    parser = command(__doc__)
    parser.add_argument("--quick", action="store_true", help="two volumes, and a small one for the time")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="these sections alone")
    parser.add_argument("--measure", nargs=2, metavar=("LOSS", "SIDE"), help="time one restoration in this process")
    return parser.parse_args()


def tables(options):
    yield from machine()
    for name in options.only:
        yield from SECTIONS[name](options)


# ---- volumes ----


def grid(side):
    """The coordinates of the voxels, from 0 to 1 along each axis."""
    return np.meshgrid(*[(np.arange(side) + 0.5) / side] * 3, indexing="ij")


def balls(side, rng):
    """Twelve balls with soft borders, each with a grey of its own."""
    places, volume = grid(side), np.full((side,) * 3, 0.1)
    for _ in range(12):
        centre, radius, grey = rng.random(3), rng.uniform(0.08, 0.25), rng.uniform(0.2, 1)
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(places, centre, strict=True)))
        inside = 1 / (1 + np.exp((distance - radius) * 2.3 * side))  # soft over a voxel or so
        volume += inside * (grey - volume)
    return volume


def tubes(side, rng):
    """Fourteen tubes that are bent, of radii from 0.02 to 0.07."""
    places, volume = np.stack(grid(side)), np.full((side,) * 3, 0.1)
    along = np.linspace(-0.2, 1.2, 60)
    for _ in range(14):
        axis, radius, grey = rng.integers(3), rng.uniform(0.02, 0.07), rng.uniform(0.4, 1)
        middle = np.tile(along, (3, 1))
        for other in {0, 1, 2} - {axis}:
            turns, phase = rng.uniform(0.3, 1), rng.uniform(0, 2 * np.pi)
            middle[other] = rng.random() + 0.2 * np.sin(2 * np.pi * turns * along + phase)
        distance = np.full((side,) * 3, np.inf)
        for begin, end in zip(middle.T[:-1], middle.T[1:], strict=True):
            piece = end - begin
            share = np.clip(np.tensordot(piece, places - begin[:, None, None, None], 1) / (piece @ piece), 0, 1)
            nearest = begin[:, None, None, None] + share * piece[:, None, None, None]
            distance = np.minimum(distance, np.sqrt(((places - nearest) ** 2).sum(axis=0)))
        inside = 1 / (1 + np.exp((distance - radius) * 2.2 * side))
        volume += inside * (grey - volume)
    return volume


def layers(side, rng):
    """Wavy layers, each with a grey of its own."""
    z, y, x = grid(side)
    height = z + 0.08 * np.sin(2 * np.pi * (1.3 * x + 0.2)) + 0.06 * np.sin(2 * np.pi * (1.1 * y + 0.7 * x))
    edges = np.sort(rng.uniform(-0.1, 1.1, 12))
    volume = np.full((side,) * 3, rng.random())
    for edge in edges:
        volume += (rng.random() - volume) / (1 + np.exp((edge - height) * 3 * side))
    return volume


def gyroid(side, rng):
    """The gyroid of two and a half periods, cut at nought with soft borders."""
    z, y, x = (2 * np.pi * 2.5 * axis for axis in grid(side))
    field = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    return 0.1 + 0.8 / (1 + np.exp(-11 * field))


def field(side, rng):
    """A random field whose amplitudes fall as (1 + k)^-3, k in periods."""
    frequencies = np.meshgrid(*[np.fft.fftfreq(side, 1 / side)] * 3, indexing="ij")
    amplitude = (1 + np.sqrt(sum(k**2 for k in frequencies))) ** -3
    volume = np.fft.ifftn(np.fft.fftn(rng.standard_normal((side,) * 3)) * amplitude).real
    return (volume - volume.min()) / np.ptp(volume)


def thresholded(side, rng):
    """Such a field cut at its median, with soft borders."""
    volume = field(side, rng)
    return 0.1 + 0.8 / (1 + np.exp((np.median(volume) - volume) / 0.003))


def video(side, rng):
    """A photograph that turns and shifts from plane to plane."""
    from skimage.data import camera

    photograph = ndimage.zoom(camera()[100:420, 100:420] / 255, 4 * side / 320, order=1)
    planes, middle = [], (len(photograph) - 1) / 2
    for k in range(side):
        angle, shift = np.deg2rad(0.7 * k), 0.25 * k
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        start = np.array([middle, middle + shift]) - turn @ np.full(2, (side - 1) / 2)
        planes.append(ndimage.affine_transform(photograph, turn, start, (side, side), order=1, mode="nearest"))
    return np.array(planes)


KINDS = (balls, tubes, layers, gyroid, field, thresholded, video)


@functools.cache
def volume(kind, side=SIDE):
    made = kind(side, np.random.default_rng(7)).astype(np.float32)
    return np.clip(made, 0, 1)


def at_random(shape, missing):
    return np.random.default_rng(0).random(shape) < missing


def slices(shape, every):
    mask = np.ones(shape, bool)
    mask[::every] = False
    return mask


def block(shape):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(side // 2 - 8, side // 2 + 8) for side in shape)] = True
    return mask


MASKS = {
    "50 %": functools.partial(at_random, missing=0.5),
    "80 %": functools.partial(at_random, missing=0.8),
    "90 %": functools.partial(at_random, missing=0.9),
    "95 %": functools.partial(at_random, missing=0.95),
    "every 2nd slice known": functools.partial(slices, every=2),
    "every 4th": functools.partial(slices, every=4),
    "block 16^3": block,
}


# ---- methods ----


def by_planes(truth, mask):
    """The image restoration "edge" of each slice by itself; across the gaps where whole slices are missing."""
    axis = 1 if mask.all(axis=(1, 2)).any() else 0
    corrupted = np.where(mask, 0, truth)
    return graddesc.restore(corrupted, mask, frame_axis=axis)


def by_scikit(truth, mask):
    from skimage.restoration import inpaint_biharmonic

    return inpaint_biharmonic(np.where(mask, 0, truth), mask)


def by_griddata(truth, mask):
    from scipy.interpolate import griddata

    known = np.argwhere(~mask)
    restored = truth.copy()
    restored[mask] = griddata(known, truth[~mask], np.argwhere(mask), "linear")
    outside = np.isnan(restored)  # beyond the hull of what is known
    restored[outside] = griddata(known, truth[~mask], np.argwhere(outside), "nearest")
    return restored


def by_loss(loss, truth, mask):
    return graddesc.restore(np.where(mask, 0, truth), mask, loss=loss, bounds=(0, 1))


def decibels(restored, truth, mask):
    return -10 * np.log10(np.mean((restored[mask].astype(float) - truth[mask]) ** 2))


def tried(method, *given):
    """What a method returns, or None where it does not take volumes."""
    try:
        return method(*given)
    except ValueError as error:
        print(f"{method}: {error}", file=sys.stderr)
        return None


SIGMAS, SHARES = (0.02, 0.05, 0.1), (0.1, 0.5, 1.0)


def noisy_case(kind, sigma, share):
    """A volume, what is measured of it, and which of its voxels are missing."""
    truth, rng = volume(kind), np.random.default_rng(5)
    mask = rng.random(truth.shape) >= share
    return truth, np.where(mask, 0, truth + sigma * rng.standard_normal(truth.shape)).astype(np.float32), mask


@functools.cache
def kept(kind, sigma, share):
    """A restoration that is not told of the noise."""
    _, measured, mask = noisy_case(kind, sigma, share)
    return graddesc.restore(measured, mask, bounds=(0, 1)) if mask.any() else measured


def of_kept(kind, sigma, share):
    """The PSNR over all voxels of a restoration that is not told of the noise."""
    truth = volume(kind)
    return decibels(np.clip(kept(kind, sigma, share), 0, 1), truth, np.ones(truth.shape, bool))


def of_noisy(loss, kind, sigma, share):
    """The same of one that is told."""
    truth, measured, mask = noisy_case(kind, sigma, share)
    restored = graddesc.restore(measured, mask, loss=loss, noise=sigma, bounds=(0, 1))
    return decibels(restored, truth, np.ones_like(mask))


def denoised_by(denoise, parameters, kind, sigma, share):
    """The PSNR at each parameter of a fill that keeps what is known and is denoised."""
    truth, filled = volume(kind), kept(kind, sigma, share)
    everywhere = np.ones(truth.shape, bool)
    return np.array([decibels(np.clip(denoise(filled, p, sigma), 0, 1), truth, everywhere) for p in parameters])


def by_gaussian(x, spread, sigma):
    return ndimage.gaussian_filter(x, spread)


def by_total_variation(x, weight, sigma):
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(x, weight * sigma)


# ---- tables ----


def listed(title, note, columns, rows):
    yield from table(title, note, *columns)
    for cells in rows:
        yield row(*cells)


def quality(options):
    kinds = KINDS[:2] if options.quick else KINDS
    methods = {"2-D edge, slice by slice": by_planes, **{loss: functools.partial(by_loss, loss) for loss in LOSSES}}
    found = {}
    for name, method in methods.items():
        for label, make in MASKS.items():
            for kind in kinds:
                truth = volume(kind)
                restored = tried(method, truth, make(truth.shape))
                if restored is not None:
                    found[name, label, kind] = decibels(restored, truth, make(truth.shape))
    rows = [
        [name] + [f"{np.mean([found[name, label, kind] for kind in kinds]):.2f}" for label in MASKS]
        for name in methods
        if (name, "50 %", kinds[0]) in found
    ]
    note = "PSNR in dB over the missing voxels."
    yield from listed(f"Mean over {len(kinds)} volumes of {SIDE}^3", note, ["", *MASKS], rows)
    for label in MASKS:
        rows = [
            [name] + [f"{found[name, label, kind]:.1f}" for kind in kinds]
            for name in methods
            if (name, label, kinds[0]) in found
        ]
        yield from listed(f"Each volume, {label}", note, ["", *(kind.__name__ for kind in kinds)], rows)


def peers(options):
    methods = {"scikit-image, biharmonic": by_scikit, "SciPy, griddata linear": by_griddata}
    methods |= {loss: functools.partial(by_loss, loss) for loss in ("biharmonic", "edge")}
    kinds = (balls, video)
    rows = []
    for name, method in methods.items():
        cells, spent = [], []
        for kind in kinds:
            at = (SIDE - CROP) // 2
            truth = volume(kind)[(slice(at, at + CROP),) * 3]
            mask = at_random(truth.shape, 0.8)
            started = time.process_time()
            restored = tried(method, truth, mask)
            spent.append(time.process_time() - started)
            cells.append("-" if restored is None else f"{decibels(restored, truth, mask):.1f}")
        rows.append([name, *cells, f"{1e6 * np.mean(spent) / CROP**3:.2g}"])
    columns = ["", *(f"{kind.__name__}, dB" for kind in kinds), "us a voxel"]
    yield from listed(f"A crop of {CROP}^3, 80 % missing", "PSNR over the missing voxels, and time.", columns, rows)


def noise(options):
    kinds = KINDS[:2] if options.quick else KINDS
    cases = [(sigma, share) for share in SHARES for sigma in SIGMAS]
    methods = {"edge, known voxels kept": of_kept}
    methods |= {
        "that, then a Gaussian": functools.partial(denoised_by, by_gaussian, (0.3, 0.4, 0.5, 0.7, 0.9, 1.2)),
        "that, then total variation": functools.partial(denoised_by, by_total_variation, (0.4, 0.8, 1.6)),
    }
    methods |= {f"{loss}, noise=sigma": functools.partial(of_noisy, loss) for loss in LOSSES[::-1]}
    rows, seconds = [], []
    for name, method in methods.items():
        started = time.process_time()
        each = {case: [method(kind, *case) for kind in kinds] for case in cases}
        seconds.append(time.process_time() - started)
        rows.append([name] + [f"{np.max(np.mean(each[case], axis=0)):.2f}" for case in cases])
    columns = ["", *(f"{sigma:g}, {share:.0%}" for sigma, share in cases)]
    yield from listed(
        f"Noisy volumes of {SIDE}^3", "PSNR in dB over all voxels, by sigma and how many are known.", columns, rows
    )
    total = len(kinds) * len(cases) * SIDE**3
    rows = [[name, f"{1e9 * spent / total:.0f}"] for name, spent in zip(methods, seconds, strict=True)]
    note = "Of the processor, for all parameters; of the second and the third beside that of the first."
    yield from listed("Their time", note, ["", "ns a voxel"], rows)


def measure(loss, side):
    """Restore a large volume twice; return the processor's seconds for the second time, and the peak memory in bytes.

    The first time the system clears memory for the process, which some virtual machines take longer for than for all
    else.
    """
    import resource

    side = int(side)
    truth = np.tile(volume(tubes, 64), (-(-side // 64),) * 3)[:side, :side, :side].copy()
    mask = at_random(truth.shape, 0.9)
    truth[mask] = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graddesc.restore(truth, mask, loss=loss)
    started = time.process_time()
    graddesc.restore(truth, mask, loss=loss)
    seconds = time.process_time() - started
    return seconds, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def speed(options):
    side = 64 if options.quick else 256
    rows = []
    for loss in LOSSES:
        done = subprocess.run(
            [sys.executable, __file__, "--measure", loss, str(side)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            continue
        seconds, memory = (float(number) for number in done.stdout.split())
        rows.append([loss, f"{1e9 * seconds / side**3:.0f}", f"{memory / (4 * side**3):.1f}"])
    note = "The processor's time, of the second run of a process; the peak memory in arrays of the volume's size."
    yield from listed(f"A volume of {side}^3, 90 % missing, one core", note, ["", "ns a voxel", "arrays"], rows)


SECTIONS = {"quality": quality, "peers": peers, "time": speed, "noise": noise}

if __name__ == "__main__":
    main()
