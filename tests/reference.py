"""Slow twins of the compiled kernels, written for reading: plain NumPy, float64, whole arrays at a time."""

import functools

import numpy as np
from scipy import linalg, ndimage, sparse
from scipy.sparse.linalg import splu


def _differences(x):
    """The three difference vectors of each row whose norms it adds to the loss, with where their pixels lie."""
    for start, stride in ((0, 1), (0, 2), (1, 2)):
        pixels = np.arange(start, x.shape[1], stride)
        yield np.diff(x[:, pixels]), pixels


def line_value(x):
    x = np.asarray(x, np.float64)
    return float(sum(np.linalg.norm(d, axis=1).sum() for lines in (x, x.T) for d, _ in _differences(lines)))


def _line_terms(x):
    """The gradient of all rows, and the sums of its absolute taps, twice: the diagonal that majorises it."""
    gradient, diagonal = np.zeros(x.shape), np.zeros(x.shape)
    for d, pixels in _differences(x):
        norm = np.linalg.norm(d, axis=1, keepdims=True)
        some = norm > 0  # of the others there is no gradient
        share = np.divide(d, norm, out=np.zeros(d.shape), where=some)
        gradient[:, pixels[1:]] += share
        gradient[:, pixels[:-1]] -= share
        # Four for every pixel of the family, also at the line's ends, where two would do.
        diagonal[:, pixels] += np.divide(4, norm, out=np.zeros(norm.shape), where=some)
    return gradient, diagonal


def line_gradient_and_diagonal(x):
    x = np.asarray(x, np.float64)
    of_rows, of_columns = _line_terms(x), _line_terms(x.T)
    return of_rows[0] + of_columns[0].T, of_rows[1] + of_columns[1].T


def line_gradient(x):
    return line_gradient_and_diagonal(x)[0]


def descend(x, free, step, low, high):
    """One plain step."""
    return np.where(free, np.clip(x - step * line_gradient(x), low, high), x)


def accelerate(v, u, free, momentum, low, high):
    """One accelerated step: the next v and u, and the sum that tells whether the momentum points uphill."""
    gradient, diagonal = line_gradient_and_diagonal(v)
    step = np.divide(gradient, diagonal, out=np.zeros_like(gradient), where=diagonal > 0)
    new = np.where(free, np.clip(v - step, low, high), v)
    return new + momentum * (new - u), new, float(np.sum((v - new) * (new - u)))


def _block_sums(x):
    """The sums of blocks of 2 x 2 pixels, of which some at the ends are smaller."""
    rows, cols = x.shape
    padded = np.pad(x, ((0, rows % 2), (0, cols % 2)))
    return padded[::2, ::2] + padded[::2, 1::2] + padded[1::2, ::2] + padded[1::2, 1::2]


def pull(fine, free):
    sums, known = _block_sums(np.where(free, 0.0, fine)), _block_sums(np.where(free, 0, 1))
    return np.divide(sums, known, out=np.zeros(sums.shape), where=known > 0), known == 0


def push(coarse, fine, free):
    def at(side, coarse_side):
        i = np.arange(side)
        near = i // 2
        return near, np.clip(near + np.where(i % 2, 1, -1), 0, coarse_side - 1)

    (r, r2), (c, c2) = (at(*sides) for sides in zip(fine.shape, coarse.shape, strict=True))
    near, far = (0.75 * coarse[i][:, c] + 0.25 * coarse[i][:, c2] for i in (r, r2))
    return np.where(free, 0.75 * near + 0.25 * far, fine)


def pyramid(x, free):
    """Pull until everything is known, then push back."""
    if not free.any():
        return x
    coarse, coarse_free = pull(x, free)
    return push(pyramid(coarse, coarse_free), x, free)


def volume_pyramid(x, free, spacing):
    """As `pyramid`, of a volume of which each level halves the axes whose voxels are near each other."""
    if not free.any():
        return x
    least = min(h for side, h in zip(x.shape, spacing, strict=True) if side > 1)
    halves = [side > 1 and h < 1.5 * least for side, h in zip(x.shape, spacing, strict=True)]
    sums, known = np.where(free, 0.0, x), np.where(free, 0, 1)
    for axis, (side, half) in enumerate(zip(x.shape, halves, strict=True)):
        if half:
            sums, known = (np.add.reduceat(a, np.arange(0, side, 2), axis=axis) for a in (sums, known))
    coarse = np.divide(sums, known, out=np.zeros(sums.shape), where=known > 0)
    coarse = volume_pyramid(coarse, known == 0, [2 * h if half else h for h, half in zip(spacing, halves, strict=True)])
    for axis, (side, half) in enumerate(zip(x.shape, halves, strict=True)):
        if half:
            i = np.arange(side)
            far = np.clip(i // 2 + np.where(i % 2, 1, -1), 0, coarse.shape[axis] - 1)
            coarse = 0.75 * coarse.take(i // 2, axis) + 0.25 * coarse.take(far, axis)
    return np.where(free, coarse, x)


def _inner(axes):
    return tuple(np.s_[1:-1] if axis in axes else np.s_[:] for axis in range(3))


def _moved(axes, steps):
    """The places beside those of `_inner`, so many steps along the axes."""
    ends = {-1: np.s_[:-2], 0: np.s_[1:-1], 1: np.s_[2:]}
    moves = dict(zip(axes, steps, strict=True))
    return tuple(ends[moves[axis]] if axis in moves else np.s_[:] for axis in range(3))


def _volume_taps(a, b, spacing):
    """The axes, the steps and the factors of the second difference along axes a and b."""
    if a == b:
        return (a,), [((step,), (-2 if step == 0 else 1) / spacing[a] ** 2) for step in (-1, 0, 1)]
    return (a, b), [((i, j), i * j / (4 * spacing[a] * spacing[b])) for i in (-1, 1) for j in (-1, 1)]


def second_differences(x, spacing, present=None):
    """The 3 x 3 second differences of a volume, 0 where one does not fit into what is present."""
    out = np.zeros((3, 3, *x.shape))
    for a in range(3):
        for b in range(3):
            axes, taps = _volume_taps(a, b, spacing)
            out[a, b][_inner(axes)] = sum(factor * x[_moved(axes, steps)] for steps, factor in taps)
    return out if present is None else out * second_differences_fit(present)


def second_differences_fit(present):
    """Whether all voxels from the first to the last of each second difference, and between them, are present."""
    fits = np.zeros((3, 3, *present.shape), bool)
    for a in range(3):
        for b in range(3):
            window = [3 if axis in (a, b) else 1 for axis in range(3)]
            fits[a, b] = ndimage.minimum_filter(present, window, mode="constant", cval=0)
    return fits


def volume_cells(x, spacing):
    """The axes of the cells of 2 x 2 voxels, and their mixed differences."""
    for a, b in ((0, 1), (0, 2), (1, 2)):
        yield (a, b), np.diff(np.diff(x, axis=a), axis=b) / (spacing[a] * spacing[b])


def _corners(cells):
    """One less the share of the cells, of mixed differences alone."""
    return np.where(np.eye(3, dtype=bool), 1, 1 - cells)[..., None, None, None]


def volume_energy(x, m, spacing, present=None, cells=0.0):
    """The energy of "edge" of a volume: weights m, shape (3, 3, planes, rows, cols), and the share of the cells."""
    h = second_differences(x, spacing, present)
    mh = np.einsum("abzyx,bczyx->aczyx", m, h)
    of_cells = sum(np.sum(difference**2) for _, difference in volume_cells(x, spacing))
    return (np.sum(_corners(cells) * h**2) - np.einsum("abzyx,bazyx->", mh, mh)) / 2 + cells * of_cells


def volume_gradient(x, m, spacing, present=None, cells=0.0):
    """The gradient of that energy."""
    h = second_differences(x, spacing, present)
    fields = _corners(cells) * h - np.einsum("abzyx,bczyx,cdzyx->adzyx", m, h, m)
    if present is not None:
        fields *= second_differences_fit(present)
    gradient = np.zeros(x.shape)
    for a in range(3):
        for b in range(3):
            axes, taps = _volume_taps(a, b, spacing)
            for steps, factor in taps:
                gradient[_moved(axes, steps)] += factor * fields[a, b][_inner(axes)]
    for (a, b), difference in volume_cells(x, spacing):
        for steps in np.ndindex(2, 2):
            to = [slice(None)] * 3
            for axis, step in zip((a, b), steps, strict=True):
                to[axis] = slice(step, x.shape[axis] - 1 + step)
            sign = 1 if steps[0] == steps[1] else -1
            gradient[tuple(to)] += sign * 2 * cells * difference / (spacing[a] * spacing[b])
    return gradient


def volume_evenness(x):
    """The squared mean length of the differences of neighbours, with channels, over their mean square, axis by axis."""
    steps = [np.abs(np.diff(x, axis=axis)) for axis in (1, 2, 3) if x.shape[axis] > 1]
    return sum(step.mean() ** 2 * step.size for step in steps) / max(sum(np.sum(step**2) for step in steps), 1e-300)


def volume_roughness(x):
    """The mean square of second differences along the axes of a volume, with channels, over that of first ones."""
    first, second = (
        np.concatenate([(np.diff(x, order, axis=axis) ** 2).ravel() for axis in (1, 2, 3)]) for order in (1, 2)
    )
    return second.mean() / first.mean() if second.size and first.any() else 0.0


def volume_weights(x, spacing, contrast, strength, spread, most=1.0):
    """The weights of "edge" at a volume of shape (channels, planes, rows, cols), shape (3, 3, planes, rows, cols)."""
    shape = x.shape[1:]
    products = np.zeros((3, 3, *shape))
    for channel in x:
        g = [
            np.gradient(channel, h, axis=axis) if channel.shape[axis] > 1 else np.zeros(shape)
            for axis, h in enumerate(spacing)
        ]
        products += np.einsum("azyx,bzyx->abzyx", g, g) / len(x)
    tensor = products / np.sqrt(1 + np.trace(products) / contrast**2)
    least = min((h for side, h in zip(shape, spacing, strict=True) if side > 1), default=1)
    halves = [side > 1 and h < 1.5 * least for side, h in zip(shape, spacing, strict=True)]
    for axis, (side, half) in enumerate(zip(shape, halves, strict=True), 2):
        if half:
            counts = np.add.reduceat(np.ones(side), np.arange(0, side, 2))
            tensor = np.moveaxis(np.add.reduceat(tensor, np.arange(0, side, 2), axis=axis), axis, -1) / counts
            tensor = np.moveaxis(tensor, -1, axis)
    for axis, (h, half) in enumerate(zip(spacing, halves, strict=True), 2):
        sigma = spread / h / (2 if half else 1)
        k = np.arange(-int(3 * sigma + 0.5), int(3 * sigma + 0.5) + 1)
        taps = np.exp(-0.5 * (k / sigma) ** 2)
        tensor = ndimage.correlate1d(tensor, taps / taps.sum(), axis=axis, mode="reflect")
    values, vectors = np.linalg.eigh(np.moveaxis(tensor, (0, 1), (-2, -1)))
    trace = values.sum(axis=-1, keepdims=True)
    ratios = np.divide(values - values[..., :1], trace, out=np.zeros_like(values), where=trace > 0)
    s = trace * ratios**4 / strength**2
    m = np.einsum("zyxai,zyxi,zyxbi->abzyx", vectors, most * np.sqrt(s / (1 + s)), vectors)
    for axis, (side, half) in enumerate(zip(shape, halves, strict=True), 2):
        if half:
            i = np.arange(side)
            far = np.clip(i // 2 + np.where(i % 2, 1, -1), 0, m.shape[axis] - 1)
            m = 0.75 * m.take(i // 2, axis) + 0.25 * m.take(far, axis)
    return m


def stencil_square(kind, x, cosine, sine, edge):
    """The square Q of each pixel, of first differences (0), second differences (1) or aligned with edges (2)."""
    square = np.zeros(x.shape)
    if kind == 0:
        for axis in (0, 1):
            halves = np.diff(x, axis=axis) ** 2 / 2
            lower, upper = (np.s_[1:], np.s_[:-1]) if axis == 0 else (np.s_[:, 1:], np.s_[:, :-1])
            square[lower] += halves
            square[upper] += halves
        return square
    dxx, dyy, dxy = np.zeros((3, *x.shape))
    dxx[:, 1:-1] = np.diff(x, 2, axis=1)
    dyy[1:-1] = np.diff(x, 2, axis=0)
    if kind == 1:
        square = dxx**2 + dyy**2
        mixed = np.diff(np.diff(x, axis=0), axis=1) ** 2 / 2
        for rows in (np.s_[1:], np.s_[:-1]):
            for cols in (np.s_[1:], np.s_[:-1]):
                square[rows, cols] += mixed
        return square
    dxy[1:-1, 1:-1] = (x[:-2, :-2] + x[2:, 2:] - x[:-2, 2:] - x[2:, :-2]) / 4
    normal = (dxx + dyy + cosine * (dxx - dyy)) / 2 + sine * dxy
    square[1:-1, 1:-1] = (dxx**2 + dyy**2 + 2 * dxy**2 - edge * normal**2)[1:-1, 1:-1]
    return square


def stencil_energy(kind, x, cosine, sine, edge, epsilon, scale, mu, kappa):
    """The energy of an image of shape (channels, rows, cols)."""
    return np.sum(stencil_energies(kind, x, cosine, sine, edge, epsilon, scale, mu, kappa))


def stencil_energies(kind, x, cosine, sine, edge, epsilon, scale, mu, kappa):
    """The energy of each pixel and of the cell whose top left pixel it is."""
    square = np.mean([stencil_square(kind, plane, cosine, sine, edge) for plane in x], axis=0)
    energies = len(x) * (scale * (np.sqrt(epsilon**2 + square) - epsilon) if epsilon > 0 else square)
    if kind < 2 or min(x.shape[1:]) < 2:
        return energies
    cosine, sine, edge = (a[:-1, :-1] for a in (cosine, sine, edge))
    gx = (x[:, :-1, 1:] - x[:, :-1, :-1] + x[:, 1:, 1:] - x[:, 1:, :-1]) / 2
    gy = (x[:, 1:, :-1] - x[:, :-1, :-1] + x[:, 1:, 1:] - x[:, :-1, 1:]) / 2
    mixed = np.diff(np.diff(x, axis=1), axis=2)
    along = ((1 + cosine) * gx**2 + 2 * sine * gx * gy + (1 - cosine) * gy**2) / 2
    energies[:-1, :-1] += mu / 2 * np.sum(gx**2 + gy**2 - edge * along + kappa / 4 * (2 - edge) * mixed**2, axis=0)
    return energies


def contrast_unit(known):
    """The offset and the factor of the unit in which contrasts are measured, by all known pixels of a small image.

    It is 1.5 times the range that is left when one in two hundred, and one at least, is taken off on either side.
    """
    values = np.sort(np.ravel(known).astype(np.float64))
    left_out = max(len(values) // 200, 1) if len(values) > 8 else 0
    low, high = values[left_out], values[-1 - left_out]
    if low == high:
        low, high = values[0], values[-1]
    return (low - (high - low) / 4, 1.5 * (high - low)) if high > low else (low, max(abs(low), 1e-20))


@functools.cache
def _difference(side, order):
    return sparse.csr_array(np.diff(np.eye(side), order, axis=0))


@functools.lru_cache(maxsize=8)
def _stencil_taps(kind, shape):
    """The differences along rows and columns, and the mixed ones, as sparse matrices."""
    rows, cols = (sparse.eye_array(side) for side in shape)
    return (
        sparse.kron(rows, _difference(shape[1], kind + 1), "csr"),
        sparse.kron(_difference(shape[0], kind + 1), cols, "csr"),
        sparse.kron(_difference(shape[0], 1), _difference(shape[1], 1), "csr"),
    )


def stencil_hessian(kind, shape, omega=None):
    """The sparse Hessian of the first (0) or second (1) differences with frozen weights omega, 2 by default.

    It acts on images of shape (rows, cols) that are raveled row by row.
    """
    omega = np.full(shape, 2.0) if omega is None else np.asarray(omega, np.float64)
    along_rows, along_cols, mixed = _stencil_taps(kind, shape)
    if kind == 0:
        # Each pixel of a pair has half of the squared difference.
        terms = [
            (along_rows, (omega[:, 1:] + omega[:, :-1]) / 2),
            (along_cols, (omega[1:] + omega[:-1]) / 2),
        ]
    else:
        around = omega[1:, 1:] + omega[1:, :-1] + omega[:-1, 1:] + omega[:-1, :-1]
        terms = [(along_rows, omega[:, 1:-1]), (along_cols, omega[1:-1]), (mixed, around / 2)]
    return sum(taps.T @ sparse.diags_array(weights.ravel()) @ taps for taps, weights in terms).tocsr()


@functools.lru_cache(maxsize=8)
def _edge_taps(rows, cols):
    """The second differences of the interior and the first and mixed ones of the cells, as sparse matrices."""
    interior = cells = None
    if min(rows, cols) > 2:
        middle, central = (
            [sparse.csr_array(sum(tap * np.eye(n - 2, n, k) for k, tap in enumerate(taps))) for n in (rows, cols)]
            for taps in ((0, 1, 0), (-0.5, 0, 0.5))
        )
        pairs = (middle[0], _difference(cols, 2)), (_difference(rows, 2), middle[1]), central
        interior = [sparse.kron(*pair, "csr") for pair in pairs]
    if min(rows, cols) > 1:
        mean = [sparse.csr_array((np.eye(n - 1, n) + np.eye(n - 1, n, 1)) / 2) for n in (rows, cols)]
        first = [_difference(n, 1) for n in (rows, cols)]
        cells = [sparse.kron(*pair, "csr") for pair in ((mean[0], first[1]), (first[0], mean[1]), first)]
    return interior, cells


def edge_hessian(weights, mu, kappa):
    """The sparse Hessian of the differences that are aligned with edges, with frozen weights of shape (4, rows, cols).

    It is the second derivative of sum omega Q / 2 over the interior and of the energy of the cells.
    """
    rows, cols = weights.shape[1:]

    def form(left, factors, right):
        return left.T @ sparse.diags_array(factors.ravel()) @ right

    total = sparse.csr_array((rows * cols, rows * cols))
    interior, cells = _edge_taps(rows, cols)
    if interior is not None:
        omega, cosine, sine, edge = weights[:, 1:-1, 1:-1]
        dxx, dyy, dxy = interior
        normal = sum(
            sparse.diags_array(share.ravel()) @ taps
            for share, taps in (((1 + cosine) / 2, dxx), ((1 - cosine) / 2, dyy), (sine, dxy))
        )
        total = form(dxx, omega, dxx) + form(dyy, omega, dyy) + form(dxy, 2 * omega, dxy)
        total = total - form(normal, omega * edge, normal)
    if cells is not None:
        _, cosine, sine, edge = weights[:, :-1, :-1]
        gx, gy, mixed = cells
        total = (
            total + form(gx, mu * (1 - edge * (1 + cosine) / 2), gx) + form(gy, mu * (1 - edge * (1 - cosine) / 2), gy)
        )
        crossed = form(gx, mu * edge * sine / 2, gy)
        total = total - crossed - crossed.T + form(mixed, mu * kappa / 4 * (2 - edge), mixed)
    return total.tocsr()


def _block_means(x):
    return _block_sums(x) / _block_sums(np.ones(x.shape))


def _one_sided_gradient(x, axis):
    return np.gradient(x, axis=axis) if x.shape[axis] > 1 else np.zeros_like(x)


def structure_tensor(x, contrast):
    """The damped structure tensor of an image of shape (channels, rows, cols), in blocks of 2 x 2 pixels."""
    gy, gx = (np.stack([_one_sided_gradient(plane, axis) for plane in x]) for axis in (0, 1))
    xx, xy, yy = (np.mean(product, axis=0) for product in (gx * gx, gx * gy, gy * gy))
    damping = 1 / np.sqrt(1 + (xx + yy) / contrast**2)
    return np.stack([_block_means(damping * product) for product in (xx, xy, yy)])


def orientation(tensor, shape, strength):
    """The cosine and the sine of twice the normal's angle, and how far there is an edge."""
    everywhere, tiny = np.ones(shape, bool), 1e-20  # tiny: nothing is divided by zero where the image is flat
    jxx, jxy, jyy = (push(plane, np.zeros(shape), everywhere) for plane in tensor)
    length, trace = np.hypot(jxx - jyy, 2 * jxy), jxx + jyy
    s = trace * (length / (trace + tiny)) ** 4 / strength**2
    return np.stack([(jxx - jyy) / (length + tiny), 2 * jxy / (length + tiny), s / (1 + s)])


def blurred(planes, sigma, radius=None):
    """Planes under a Gaussian, cut off at three standard deviations or a radius, along their last two axes."""
    radius = int(3 * sigma + 0.5) if radius is None else radius
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    taps = np.append(taps[:0:-1], taps) / (2 * taps.sum() - taps[0])
    for axis in (-2, -1):
        planes = ndimage.correlate1d(planes, taps, axis=axis, mode="reflect")
    return planes


def known_around(free):
    """The mean over the free pixels of the share of known ones among the others within three rows and columns."""
    known, inside = (
        ndimage.correlate(np.where(places, 1.0, 0.0), np.ones((1, 7, 7)), mode="constant")
        for places in (free == 0, np.ones(free.shape))
    )
    shares = (known / np.maximum(inside - 1, 1))[free == 1]
    return np.mean(shares) if shares.size else 0.0


def tensor_spread(free, spread):
    """The standard deviation of the tensor's Gaussian in pixels: wider where less is known, 10 at most."""
    return min(spread * (0.1 / max(known_around(free), 0.005)) ** 0.4, 10.0)


def differences_to(free, x):
    """The differences between neighbours of which one at least is free."""
    free = np.broadcast_to(free, x.shape) == 1
    either = (np.delete(free, 0, axis) | np.delete(free, -1, axis) for axis in (1, 2))
    return np.concatenate([np.diff(x, axis=axis)[pairs] for axis, pairs in zip((1, 2), either, strict=True)])


def coupling(free):
    """How much each pixel of a plane shares with the free ones around it, in twentieths."""
    padded, (rows, cols) = np.pad(free.astype(int), 2), free.shape
    out = np.zeros(free.shape, int)
    for i in range(-2, 3):
        for j in range(-2, 3):
            weight = {(0, 1): 8, (1, 1): 2, (0, 2): 1}.get(tuple(sorted((abs(i), abs(j)))), 0)
            out += weight * padded[2 + i : 2 + i + rows, 2 + j : 2 + j + cols]
    return out


class Descent:
    """The slow twin of a window of `stencil.Descent`: every pixel of every grid, in float64.

    free has shape (1 or channels, rows, cols) and x (channels, rows, cols). `trace` notes on which grid, and after how
    many of its iterations, the weights were renewed.
    """

    # As in descent.pxi: of a period between renewals, of couplings, of what stands out, of tolerances on coarse grids.
    SOLVED, LEAST_PERIOD, PERIOD, PERIOD_SHARE = 0.15, 2, 12, 0.25
    MARGIN, ALONE, LONELY, DENSE_START = 1.25, 0.01, 0.5, 20.0
    OUTSTANDING, MOST_MOVE = 8.0, 4.0
    NEXT_TOL, NEXT_LEAST_TOL, COARSE_TOL, COARSE_LEAST_TOL, COARSE_ITERATIONS = 1.4, 0.1, 0.2, 0.02, 500

    def __init__(self, operator, x, free, most, least_contrast, low=-np.inf, high=np.inf, coarse=True, filled=False):
        self.operator, self.most, self.least_contrast, self.low, self.high = operator, most, least_contrast, low, high
        self.grids, self.filled, self.level = [(x.copy(), free == 1)], filled, 0
        if coarse:
            self._descend_from_the_coarsest()
        self.settled = self.failed = False
        self.trace = []
        self._open()

    # ---- from grid to grid ----

    def _descend_from_the_coarsest(self):
        while self.grids[-1][1].any():
            x, free = self.grids[-1]
            masks = np.broadcast_to(free, x.shape)
            pulled = [pull(plane, mask) for plane, mask in zip(x, masks, strict=True)]
            nothing = np.zeros(x.shape[1:], bool)
            means = [
                pull(plane, nothing)[0] if self.filled else mean for plane, (mean, _) in zip(x, pulled, strict=True)
            ]
            self.grids.append((np.stack(means), np.stack([mask for _, mask in pulled[: len(free)]])))
        side = max(self.grids[0][0].shape[1:])
        while (
            self.level < 4
            and self.grids[min(self.level + 1, len(self.grids) - 1)][1].any()
            and side >> (self.level + 1) >= 3
        ):
            self.level += 1
        for level in range(len(self.grids) - 2, self.level - 1, -1):
            self._push_to(level)

    def _push_to(self, level):
        (x, free), (coarse, _) = self.grids[level : level + 2]
        for plane, mask, means in zip(x, np.broadcast_to(free, x.shape), coarse, strict=True):
            plane[...] = push(means, plane, mask)

    def _open(self):
        """Begin with a grid: shares of steps, momentum, the spread of the tensor."""
        self.x, self.free = self.grids[self.level]
        self.previous = self.x.copy()
        couplings = np.stack([coupling(plane) for plane in self.free])
        mean = couplings[self.free].mean() / 20 if self.free.any() else 0.0
        self.start = self.DENSE_START if mean > self.LONELY else 1.0
        self.alone = mean <= self.ALONE  # the free pixels: a sweep solves for most of them
        self.t, self.slope, self.iterations, self.in_period, self.due = self.start, 0.0, 0, 0, True
        divisors = np.minimum(1 + self.MARGIN * couplings / 20, self.operator.safety)
        self.shares = np.floor(128 / divisors) / 128 * self.free
        self.active = len(self.x)
        self.courses = [_Course() for _ in self.x]
        self.moving = max(np.count_nonzero(self.free) * len(self.x) // len(self.free), 1)

    # ---- a sweep ----

    def contrast(self):
        """The root mean square difference of neighbours of which one at least is free.

        A difference counts as 1 at most, and then as so many times the contrast.
        """
        differences = differences_to(self.free, self.x)
        contrast, most = 0.0, 1.0
        for _ in range(2 if differences.size else 0):
            contrast = max(np.sqrt(np.mean(np.clip(differences, -most, most) ** 2)), self.least_contrast)
            most = min(1.0, self.OUTSTANDING * contrast)
        return max(contrast, self.least_contrast)

    def _renew(self):
        operator, shape = self.operator, self.x.shape[1:]
        self.neighbour_difference = self.contrast()
        planes = np.zeros((3, *shape))
        if operator.kind == 2:
            sigma = self._tensor_spread() / 2
            planes = orientation(blurred(structure_tensor(self.x, operator.contrast), sigma), shape, operator.strength)
        square = np.mean([stencil_square(operator.kind, plane, *planes) for plane in self.x], axis=0)
        self.omega = omega = (
            operator.scale / np.sqrt(operator.epsilon**2 + np.maximum(square, 0))
            if operator.epsilon
            else square * 0 + 2
        )
        if operator.kind == 2:
            self.hessian = edge_hessian(np.stack([omega, *planes]), operator.mu, operator.kappa)
        else:
            self.hessian = stencil_hessian(operator.kind, shape, omega)
        diagonal = self.hessian.diagonal().reshape(shape)
        self._find_steps(np.maximum(diagonal, operator.floor), planes)

    def _tensor_spread(self):
        return tensor_spread(self.free, self.operator.spread)

    def _find_steps(self, diagonal, planes):
        self.steps = self.shares / diagonal

    def _gradient(self, v):
        return np.stack([(self.hessian @ plane.ravel()).reshape(plane.shape) for plane in v])

    def _step_off(self):
        """One accelerated step of the channels that go on; return the sums of their squared changes."""
        t, self.t = self.t, (1 + np.sqrt(1 + 4 * self.t**2)) / 2
        momentum, some = min((t - 1) / self.t, self.most), np.s_[: self.active]
        v = self.x + momentum * (self.x - self.previous)
        new = np.where(self.free, np.clip(v - self.steps * self._gradient(v), self.low, self.high), self.x)
        most = self.MOST_MOVE * self.neighbour_difference  # that a pixel counts for
        moves, back = (np.clip(moved, -most, most)[some] for moved in (new - self.x, v - new))
        self.slope = float(np.sum(back * moves))
        squares = np.sum(moves**2, axis=(1, 2))
        self.previous[some], self.x[some] = self.x[some].copy(), new[some]
        return squares

    def sweep(self, tol):
        if self.due:
            self._renew()
            self.in_period, self.greatest = 0, 0.0
            self.trace.append((self.level, self.iterations))
        restarted = self.slope > 0
        if restarted:
            self.t = self.start
        squares = self._step_off()
        self.iterations += 1
        self.in_period += 1
        for course, square in zip(self.courses, squares, strict=False):
            course.note(float(np.sqrt(square / self.moving)), restarted)
        change = float(np.sqrt(squares.sum() / self.moving))
        self.failed = not np.isfinite(change)
        self.greatest = max(self.greatest, change)
        solved = self.in_period >= self.LEAST_PERIOD and change <= self.SOLVED * self.greatest
        self.due = self.alone or solved or self.in_period >= max(self.PERIOD, int(self.PERIOD_SHARE * self.iterations))
        if not self.failed and self._may_settle():
            self._judge(tol)

    def _may_settle(self):
        return True

    def _judge(self, tol):
        for course in self.courses[: self.active]:
            course.series = course.renewed() if self.due else None
        if self._last_that_moves(tol) == self.active:
            return
        self.neighbour_difference = self.contrast()
        moving = self._last_that_moves(tol)
        self.settled = moving == 0
        if len(self.free) == 1:
            self.active = moving or self.active

    def _last_that_moves(self, tol):
        limit = tol * self.neighbour_difference
        rests = [course.rests(limit) for course in self.courses[: self.active]]
        return max((c + 1 for c, rest in enumerate(rests) if not rest), default=0)

    # ---- the run ----

    def run(self, until, tol):
        """Sweep until settled, or until so many iterations of the finest grid are done; return the image."""
        while not (self.settled or self.failed or (self.level == 0 and self.iterations >= until)):
            self.sweep(self._tolerance(tol))
            if self.level > 0 and (self.settled or self.iterations >= self.COARSE_ITERATIONS):
                self.level, self.settled = self.level - 1, False
                self._push_to(self.level)
                self._open()
        return self.x

    def _tolerance(self, tol):
        if self.level == 0:
            return tol
        if self.level == 1 and not self.filled:
            return self.NEXT_TOL * max(tol, self.NEXT_LEAST_TOL)
        return self.COARSE_TOL * max(tol, self.COARSE_LEAST_TOL)


class NoisyDescent(Descent):
    """The same of noisy windows: precision, shaped as free, has one over the variance of x, 0 where it is missing.

    `balances` notes the factors of the energy of each renewal that found them.
    """

    SOLVED, PERIOD = 0.3, 5
    NEXT_TOL, COARSE_TOL, COARSE_LEAST_TOL = 3, 1, 0.1
    BALANCES, EXACT, TRUSTED = 6, 1e6, 1e4

    def __init__(self, operator, x, free, precision, huber, *limits, **settings):
        self.huber, self.data = huber, [(np.where(precision > 0, x, 0.0), precision)]
        self.balances = []
        super().__init__(operator, x, free, *limits, **settings)

    def _descend_from_the_coarsest(self):
        while max(self.data[-1][0].shape[1:]) > 1:
            data, precision = self.data[-1]
            own = np.minimum(precision, self.EXACT)
            coarse = np.stack([_block_sums(plane) for plane in own])
            sums = np.stack([_block_sums(plane) for plane in own * data])
            means = np.divide(sums, coarse, out=np.zeros(sums.shape), where=np.broadcast_to(coarse > 0, sums.shape))
            self.data.append((means, coarse))
            self.grids.append((means.copy(), np.ones(coarse.shape, bool)))
        side = max(self.grids[0][0].shape[1:])
        while self.level < min(4, len(self.grids) - 1) and side >> (self.level + 1) >= 3:
            self.level += 1
        grids = self.grids
        self.grids = [(x, precision == 0) for (x, _), (_, precision) in zip(grids, self.data, strict=True)]
        for level in range(len(grids) - 2, -1, -1):
            self._push_to(level)
        self.grids = grids

    def _open(self):
        super()._open()
        self.found = 0
        precision = self.data[self.level][1]
        roots = np.sqrt(np.minimum(precision, self.TRUSTED)).mean(axis=0)
        self.trusted, self.trust = roots.sum(), blurred(_block_means(roots), 1.25)

    def _tensor_spread(self):
        missing = self.data[self.level][1] == 0
        return tensor_spread(missing, self.operator.spread) if missing.any() else self.operator.spread * 0.1**0.4

    def _find_steps(self, diagonal, planes):
        operator, (data, precision) = self.operator, self.data[self.level]
        if self.found < self.BALANCES:
            self.found += 1
            energies = stencil_energies(
                operator.kind, self.x, *planes, operator.epsilon, operator.scale, operator.mu, operator.kappa
            ) / len(self.x)
            total, mean = energies.sum() + 1e-30, energies.mean()
            floor = 0.02 * mean + 1e-30
            low, high = operator.least_balance, operator.most_balance
            factor = np.clip(operator.balance * np.sqrt(self.trusted / total), low, high)
            share = np.maximum(self.trust / (self.trusted / energies.size), 0.05)
            ratio = (mean + floor) / (blurred(_block_means(energies), 1.25) + floor) * share
            self.balances.append(np.clip(factor * ratio**0.625, low, high))
        self.balance = push(self.balances[-1], np.zeros(diagonal.shape), np.ones(diagonal.shape, bool))
        squares = (self.x - data) ** 2
        if len(precision) == 1:
            squares = squares.mean(axis=0, keepdims=True)
        self.pull = precision / self.balance / np.maximum(np.sqrt(squares * precision) / self.huber, 1)
        self.steps = self.shares / (diagonal + self.shares * self.pull)

    def _gradient(self, v):
        return super()._gradient(v) + self.pull * (v - self.data[self.level][0])

    def _may_settle(self):
        return self.found >= self.BALANCES

    def data_term(self):
        """What the distance to the data adds to the energy."""
        data, precision = self.data[0]
        squares = (self.x - data) ** 2
        if len(precision) == 1:
            squares = squares.mean(axis=0, keepdims=True)
        distance = np.sqrt(squares * precision)
        terms = np.where(distance > self.huber, self.huber * (2 * distance - self.huber), distance**2)
        return len(self.x) / len(precision) * np.sum(np.where(self.free, terms, 0) / self.balance) / 2


class CoupledDescent(Descent):
    """The slow twin of a window of `stencil.BandDescent`: a dense system for each pixel of the finest grid."""

    COVARIANCES, FEW, FACTORS, POWERS = 10, 4, 8, 16

    def __init__(self, *arguments, bounds, ridge, least, pull, slopes, **settings):
        self.bounds, self.ridge, self.least, self.pull, self.slopes = bounds, ridge, least, pull, slopes
        self.renewals = 0
        super().__init__(*arguments, **settings)

    def _open(self):
        super()._open()
        if self.level > 0:
            return
        self.low, self.high = self.bounds.T[:, :, np.newaxis, np.newaxis]
        any_free = self.free.any(axis=0)
        couplings = coupling(any_free)
        mean = couplings[any_free].mean() / 20 if any_free.any() else 0.0
        self.t = self.start = self.DENSE_START if mean > self.LONELY else 1.0
        self.alone = mean <= self.ALONE
        divisors = np.minimum(1 + self.MARGIN * couplings / 20, self.operator.safety)
        self.shares = np.floor(128 / divisors) / 128 * self.free

    def derivatives(self):
        """Five of each band at each pixel, shape (5, bands, rows, cols), weighted; 0 where they do not fit."""
        x, (bands, rows, cols) = self.x, self.x.shape
        h = np.zeros((5, bands, rows, cols))
        inner, root = np.s_[:, 1:-1, 1:-1], np.sqrt(self.omega)[1:-1, 1:-1]
        if min(rows, cols) > 2:
            h[0][inner] = root * np.diff(x, 2, axis=2)[:, 1:-1]
            h[1][inner] = root * np.diff(x, 2, axis=1)[:, :, 1:-1]
            corners = x[:, :-2, :-2] + x[:, 2:, 2:] - x[:, :-2, 2:] - x[:, 2:, :-2]
            h[2][inner] = np.sqrt(2) / 4 * root * corners
        h[3][:, :, :-1] = np.sqrt(self.slopes) * np.diff(x, axis=2)
        h[4][:, :-1] = np.sqrt(self.slopes) * np.diff(x, axis=1)
        return h

    def cells(self):
        """The pixels in cells of 16 x 32 near enough to what is free, over which means are taken."""
        any_free = self.free.any(axis=0)
        rows, cols = any_free.shape
        wanted = np.zeros(any_free.shape, bool)
        for top in range(0, rows, 16):
            columns = any_free[max(top - 14, 0) : top + 30].any(axis=0)
            sectors = np.array([columns[left : left + 16].any() for left in range(0, cols, 16)])
            sectors = ndimage.binary_dilation(sectors, np.ones(3, bool))
            for left in range(0, cols, 32):
                wanted[top : top + 16, left : left + 32] = sectors[left // 16 : left // 16 + 2].any()
        return wanted

    def covariances(self):
        """The covariance of the bands at each pixel, shape (rows, cols, bands, bands)."""
        bands, shape = len(self.x), self.x.shape[1:]
        h = self.derivatives()
        products = np.einsum("kaij,kbij->abij", h, h)
        if bands > self.FEW:
            mean = products[:, :, self.cells()].mean(axis=2)
            kept = min(bands, self.FACTORS)
            v = np.cos(np.pi / bands * np.arange(kept) * (np.arange(bands)[:, np.newaxis] + 0.5))
            for _ in range(self.POWERS):
                v = mean @ np.linalg.qr(v)[0]
            v = np.linalg.qr(v)[0]
            small = v.T @ mean @ v
            rest = max(np.trace(mean) - np.trace(small), 0.0)
            diagonal = self.ridge * np.trace(mean) / bands + self.least + rest / max(bands - kept, 1)
            one = v @ small @ v.T + diagonal * np.eye(bands)
            return np.broadcast_to(one, (*shape, bands, bands))
        taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
        blocks = np.array([[_block_means(plane) for plane in row] for row in products])
        everywhere = blocks[:, :, self.cells()[::2, ::2]].sum(axis=2)
        trace = np.trace(everywhere)
        everywhere = everywhere * bands / trace if trace > 0 else 0 * everywhere
        for axis in (2, 3):
            blocks = ndimage.correlate1d(blocks, taps / taps.sum(), axis=axis, mode="reflect")
        local = np.array([[push(plane, np.zeros(shape), np.ones(shape, bool)) for plane in row] for row in blocks])
        mean = np.trace(local) / bands
        local = local + self.pull * mean * everywhere[:, :, np.newaxis, np.newaxis]
        local += (self.ridge * mean + self.least) * np.eye(bands)[:, :, np.newaxis, np.newaxis]
        return np.moveaxis(local, (0, 1), (2, 3))

    def _renew(self):
        super()._renew()
        if self.level > 0:
            return
        self.renewals += 1
        if self.renewals > self.COVARIANCES:
            return
        covariances = self.covariances()
        self.told = np.zeros_like(covariances)  # by which a known band tells of an unknown one
        for i, j in np.ndindex(self.x.shape[1:]):
            unknown, known = np.flatnonzero(self.free[:, i, j]), np.flatnonzero(~self.free[:, i, j])
            s = covariances[i, j]
            self.told[i, j][np.ix_(unknown, known)] = np.linalg.solve(
                s[np.ix_(known, known)], s[np.ix_(known, unknown)]
            ).T

    def _gradient(self, v):
        gradient = super()._gradient(v)
        return gradient if self.level > 0 else gradient - np.einsum("ijab,bij->aij", self.told, gradient)

    def sweep(self, tol):
        if self.level > 0:
            super().sweep(tol)
            return
        super().sweep(-1.0)
        solved = self.in_period >= self.LEAST_PERIOD and self.courses_change() <= self.SOLVED * self.greatest
        self.due = self.alone or solved or self.in_period >= self.PERIOD
        if self.due:
            contrast = self.contrast()
            to_come = [course.renewed() for course in self.courses]
            self.settled = all(series is not None and series <= tol * contrast for series in to_come)

    def courses_change(self):
        """The change of the last sweep."""
        return float(np.sqrt(sum(course.changes[-1] ** 2 for course in self.courses)))

    def _judge(self, tol):
        if self.level > 0:
            super()._judge(tol)


class PointDescent:
    """The slow twin of `stencil.PointDescent`: a matrix of the whole image for each point, in float64.

    x has shape (channels, rows, cols); points are numbered in the order of the image.
    """

    LINKED_TOL, LINKED_SHARE, LEAST_SOLVING, START = 0.02, 0.1, 2, 0.1
    SLOWEST, LONG = 0.97, 8

    def __init__(self, operator, x, mask, least_contrast, low=-np.inf, high=np.inf, start=None):
        self.operator, self.least_contrast, self.low, self.high = operator, least_contrast, low, high
        self.x, self.mask, self.points = x.copy(), mask, np.argwhere(mask)
        self.iterations, self.settled, self.failed = 0, len(self.points) == 0, False
        self.seen, self.change = (np.zeros(len(self.points)) for _ in range(2))
        self.moving, self.active = (np.full(len(self.points), flag) for flag in (False, True))
        self.held = [self._held(point) for point in self.points]
        self.linked = [[k for k in held if self._reach(k, own) <= 2] for own, held in enumerate(self.held)]
        self.parts = self._parts()
        values = [self._mean_around(point) for point in self.points] if start is None else start.T
        for point, value in zip(self.points, values, strict=True):
            self.x[:, *point] = np.clip(value, low, high)
        if start is None:
            self._renew(False)
            self._solve(1)

    def _held(self, point):
        """The other points in a point's patch: seven rows and columns, and one more beyond the block that it is in."""
        least, most = point - 7 - point % 2, point + 8 - point % 2
        inside = ((self.points >= least) & (self.points <= most)).all(axis=1)
        return [k for k in np.flatnonzero(inside) if (self.points[k] != point).any()]

    def _reach(self, k, own):
        return np.abs(self.points[k] - self.points[own]).max()

    def _parts(self):
        """The linked points, group by group."""
        left, parts = {k for k, linked in enumerate(self.linked) if linked}, []
        while left:
            part, new = set(), {min(left)}
            while new:
                part |= new
                new = {k for own in new for k in self.linked[own]} - part
            left -= part
            parts.append(sorted(part))
        return parts

    def _mean_around(self, point):
        for reach in range(1, 8):
            around = tuple(slice(max(i - reach, 0), i + reach + 1) for i in point)
            known = ~self.mask[around]
            if known.any():
                return self.x[:, *around][:, known].mean(axis=1)
        return 0.0

    def _renew(self, oriented):
        operator, shape = self.operator, self.x.shape[1:]
        self.quadratics = []
        hessians = {}  # by what is known around
        for k, point in enumerate(self.points):
            near = tuple(slice(max(i - 3, 0), i + 4) for i in point)
            share = max(1 - (self.mask[near].sum() - 1) / max(self.mask[near].size - 1, 1), 0.005) if oriented else None
            if share not in hessians:
                hessians[share] = self._hessian(share, shape)
            hessian = hessians[share]
            places = [np.ravel_multi_index(tuple(self.points[i]), shape) for i in [k, *self.linked[k]]]
            row = hessian[[places[0]]].toarray()[0]
            gradient = self.x.reshape(len(self.x), -1) @ row
            self.quadratics.append((gradient, max(row[places[0]], operator.floor), row[places[1:]]))
        self.contrast = [self._contrast(*point) for point in self.points]

    def _hessian(self, share, shape):
        """Of the whole image, isotropic or by the tensor as it is blurred where such a share is known."""
        operator, planes, square = self.operator, np.zeros((3, *shape)), np.zeros(shape)
        if share is not None:
            sigma = min(operator.spread * (0.1 / share) ** 0.4, 10.0) / 2
            tensor = blurred(structure_tensor(self.x, operator.contrast), sigma, 2)
            planes = orientation(tensor, shape, operator.strength)
            square = np.mean([stencil_square(2, plane, *planes) for plane in self.x], axis=0)
        omega = operator.scale / np.sqrt(operator.epsilon**2 + np.maximum(square, 0))
        if share is None:
            omega *= self.START
        return edge_hessian(np.stack([omega, *planes]), operator.mu, operator.kappa)

    def _contrast(self, i, j):
        pixels = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        inside = [(a, b) for a, b in pixels if 0 <= a < self.mask.shape[0] and 0 <= b < self.mask.shape[1]]
        differences = np.array([self.x[:, i, j] - self.x[:, a, b] for a, b in inside])
        return max(np.sqrt(np.mean(np.clip(differences, -1, 1) ** 2)), self.least_contrast)

    def _values(self):
        return self.x[:, *self.points.T]

    def _solve(self, tol):
        self.was = self._values()
        alone = [[k] for k, linked in enumerate(self.linked) if not linked]
        least = min(self.LINKED_TOL, self.LINKED_SHARE * tol)
        for part in alone + self.parts:
            for _ in range(1 if len(part) == 1 else max(self.LEAST_SOLVING, int(np.sqrt(len(part))))):
                moves = [self._solve_point(k) / self.contrast[k] for k in part if self.active[k]]
                if max(moves, default=0.0) <= least:
                    break

    def _solve_point(self, k):
        gradient, diagonal, links = self.quadratics[k]
        for other, link in zip(self.linked[k], links, strict=True):
            gradient = gradient + link * (self.x[:, *self.points[other]] - self.was[:, other])
        new = np.clip(self.was[:, k] - gradient / diagonal, self.low, self.high)
        moved = np.abs(new - self.x[:, *self.points[k]]).max()
        self.x[:, *self.points[k]] = new
        return moved

    def _share(self, seen):
        """Of a step, that is taken after so many renewals."""
        return 1.0 if seen < self.LONG else 0.5 if seen < 4 * self.LONG else 0.25

    def run(self, until, tol):
        """Renew until all points have settled, or until so many iterations are done; return the image."""
        while not self.settled and self.iterations < until:
            self._renew(True)
            self._solve(tol)
            self.iterations += 1
            for k in np.flatnonzero(self.active):
                share, point = self._share(self.seen[k]), self.points[k]
                self.x[:, *point] = self.was[:, k] + share * (self.x[:, *point] - self.was[:, k])
                change = np.sqrt(np.mean((self.x[:, *point] - self.was[:, k]) ** 2))
                ratio = min(change / max(self.change[k], 1e-300), self.SLOWEST)
                if self.seen[k] == 0 or share != self._share(self.seen[k] - 1):
                    ratio = self.SLOWEST
                self.seen[k], self.change[k] = self.seen[k] + 1, change
                self.moving[k] = change * ratio / (1 - ratio) > tol * self.contrast[k]
            self.active = np.array([self.moving[[k, *held]].any() for k, held in enumerate(self.held)])
            self.settled = not self.active.any()
        return self.x


class _Course:
    """How the changes of a channel fall, sweep by sweep and renewal by renewal."""

    def __init__(self):
        self.changes, self.sum, self.brought, self.series, self.expected = [], 0.0, [], None, np.inf

    def note(self, change, restarted):
        self.changes = [change] if restarted else [*self.changes, change]
        self.sum += change
        self.expected = 50 * change
        if len(self.changes) > 8 and self.changes[-9] > change:
            # As if the changes to come fell in a geometric series.
            ratio = (change / self.changes[-9]) ** (1 / 8)
            self.expected = change * ratio / (1 - ratio)

    def renewed(self):
        """What renewals are yet to change, by what the last ones have; None where nothing is known."""
        self.brought.insert(0, self.sum)
        self.sum = 0.0
        last, *before = self.brought[:3]
        if not before:
            return None
        ratio = last / max(before[0], 1e-300)
        if len(before) > 1:
            ratio = max(ratio, np.sqrt(last / max(before[1], 1e-300)))
        ratio = min(ratio, 0.97)
        return last * ratio / (1 - ratio) * (10 if len(before) == 1 else 1)

    def rests(self, limit):
        by_changes = len(self.brought) > 1 and self.expected <= limit
        return by_changes or (self.series is not None and self.series <= limit)


def undetermined(kind, mask):
    """The images that cost nothing and vanish where the mask is False, of shape (count, corrupt pixels).

    For second differences they are the affine functions that vanish on a line, where all known pixels lie on one.
    """
    if kind == 0:
        return np.zeros((0, np.count_nonzero(mask)))
    slopes = [index / index.max() - 0.5 for index in np.indices(mask.shape) if index.max() > 0]
    affine = np.stack([np.ones(mask.shape), *slopes], axis=-1)
    return linalg.null_space(affine[~mask].T @ affine[~mask], rcond=1e-12).T @ affine[mask].T


def minimiser(kind, x, mask):
    """Where the sum of squares of first (0) or second (1) differences is least, x kept where the mask is False.

    By a sparse factorisation, without bounds. Where there are many minimisers it is one of them.
    """
    x = np.array(x, np.float64)
    pinned, unknown, rows, solve = _normal_equations(kind, mask.shape, mask.tobytes())
    x.flat[pinned] = x[~mask].mean()
    x.flat[unknown] = 0
    for _ in range(3 if len(unknown) else 0):  # the second and third refine
        x.flat[unknown] -= solve(rows @ x.ravel())
    return x


@functools.lru_cache(maxsize=2)
def _normal_equations(kind, shape, mask):
    """Pixels that decide between many minimisers, the others, the equations of these, and what solves them."""
    free = np.frombuffer(mask, bool).reshape(shape).copy()
    places, flat = np.flatnonzero(free), undetermined(kind, free)
    pinned = places[linalg.qr(flat, mode="r", pivoting=True)[1][: len(flat)]] if len(flat) else places[:0]
    free.flat[pinned] = False
    unknown = np.flatnonzero(free)
    rows = stencil_hessian(kind, shape)[unknown]
    if not len(unknown):
        return pinned, unknown, rows, None
    options = {"SymmetricMode": True}
    factors = splu(rows[:, unknown].tocsc(), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return pinned, unknown, rows, factors.solve


def distance(kind, x, minimum, mask):
    """The root mean square distance of the corrupt pixels of x to those of the nearest minimiser."""
    apart, flat = (x - minimum)[mask], undetermined(kind, mask)
    apart = apart - linalg.lstsq(flat.T, apart)[0] @ flat if len(flat) else apart
    return float(np.sqrt(np.mean(apart**2)))


def neighbour_difference(x, mask):
    """The root mean square difference of neighbours of which one at least is corrupt."""
    squares = [
        np.diff(x, axis=axis)[one | other] ** 2
        for axis, one, other in ((0, mask[1:], mask[:-1]), (1, mask[:, 1:], mask[:, :-1]))
    ]
    return float(np.sqrt(np.mean(np.concatenate(squares))))


class Krige:
    """One window as a stationary Gaussian process of spectrum S: what its known pixels tell of it, and of S.

    They are seen with noise of these variances.
    """

    def __init__(self, spectrum, positions, values, noise):
        side = len(spectrum)
        self.spectrum, self.positions, self.values, self.noise = spectrum, positions, values, noise
        covariance = np.fft.irfft2(spectrum, s=(side, side))
        self.apart = tuple(np.moveaxis((positions[:, np.newaxis] - positions) % side, -1, 0))
        self.inverse = np.linalg.inv(covariance[self.apart] + np.diag(noise))
        ones = np.ones(len(positions))
        self.mean = ones @ self.inverse @ values / (ones @ self.inverse @ ones)
        self.weights = self.inverse @ (values - self.mean)

    def evidence(self):
        square = (self.values - self.mean) @ self.weights
        return -square / 2 + np.linalg.slogdet(self.inverse)[1] / 2

    def _response(self):
        image = np.zeros((len(self.spectrum),) * 2)
        image[tuple(self.positions.T)] = self.weights
        return self.spectrum * np.fft.rfft2(image)

    def estimate(self, size):
        side = len(self.spectrum)
        return np.fft.irfft2(self._response(), s=(side, side))[:size, :size] + self.mean

    def error(self, taper):
        errors = self.weights / np.diag(self.inverse)
        weights = taper[tuple(self.positions.T)]
        return weights @ errors**2 / weights.sum()

    def learn(self, prior, mix):
        """The next spectrum."""
        spectrum, side = self.spectrum, len(self.spectrum)
        pairs = np.zeros((side, side))
        np.add.at(pairs, self.apart, self.inverse)
        variance = np.maximum(spectrum - spectrum**2 * np.maximum(np.fft.rfft2(pairs).real, 0) / side**2, 0)
        power = (np.abs(self._response()) ** 2 / side**2 + variance) ** 2 / spectrum
        weights = np.full(side // 2 + 1, 2.0)
        weights[[0, -1]] = 1
        return (1 - mix) * power + mix * prior * (power * weights).sum() / side**2


def similar_patches(image, top, left, side, group, reach):
    """The squared distances of the patches most like one, the nearest first."""
    rows, cols = image.shape[1:]
    patch = image[:, top : top + side, left : left + side]
    distances = [
        np.sum((image[:, i : i + side, j : j + side] - patch) ** 2)
        for i in range(max(top - reach, 0), min(top + reach, rows - side) + 1)
        for j in range(max(left - reach, 0), min(left + reach, cols - side) + 1)
    ]
    return sorted(distances)[:group]


def shrink(image, places, side, threshold):
    """The sums and weights of groups of patches whose small cosine coefficients are set to zero."""
    from scipy.fft import dctn, idctn

    sums, weights = np.zeros((2, *image.shape))
    for group in places.reshape(-1, places.shape[-1]):
        blocks = [np.s_[p // image.shape[1] :, p % image.shape[1] :] for p in group]
        coefficients = dctn(np.stack([image[block][:side, :side] for block in blocks]), norm="ortho")
        kept = np.abs(coefficients) >= threshold
        kept[0, 0, 0] = True
        for patch, block in zip(idctn(coefficients * kept, norm="ortho"), blocks, strict=True):
            sums[block][:side, :side] += patch / (1 + kept.sum())
            weights[block][:side, :side] += 1 / (1 + kept.sum())
    return sums, weights


@functools.lru_cache(maxsize=8)
def difference_operator(kind, rows, cols):
    """The differences whose squares are summed, as a sparse matrix: first ones (0) or second ones (1), weighted."""
    from scipy import sparse

    def differences(size, order):
        return sparse.csr_array(np.diff(np.eye(size), order, axis=0)) if order < size else sparse.csr_array((0, size))

    down, right = ([differences(size, order) for order in range(3)] for size in (rows, cols))
    if kind == 0:
        return sparse.vstack([sparse.kron(down[1], right[0]), sparse.kron(down[0], right[1])]).tocsc()
    straight = [sparse.kron(down[2], right[0]), sparse.kron(down[0], right[2])]
    return sparse.vstack([*straight, np.sqrt(2) * sparse.kron(down[1], right[1])]).tocsc()


def direct(kind, x, free):
    """The minimiser of the sum of squared differences over the free pixels of x, of shape (rows, cols)."""
    from scipy.sparse.linalg import spsolve

    operator = difference_operator(kind, *x.shape)
    free = free.ravel() != 0
    unknown, known = operator[:, free], operator[:, ~free]
    out = x.astype(np.float64)
    right = -(unknown.T @ (known @ x.ravel()[~free].astype(np.float64)))
    out[free.reshape(x.shape)] = spsolve((unknown.T @ unknown).tocsc(), right)
    return out


def _along(axis, taps, shape):
    """A sparse matrix that applies the differences of an axis, or of two, to volumes raveled row by row."""
    matrix = sparse.eye_array(1)
    for k, side in enumerate(shape):
        matrix = sparse.kron(matrix, taps[axis.index(k)](side) if k in axis else sparse.eye_array(side), "csr")
    return matrix


@functools.lru_cache(maxsize=8)
def _volume_differences(kind, shape, spacing):
    """The differences of a volume, each with the share of their squares that a voxel has, and which voxels these are.

    A list of two sparse matrices each: one makes the differences, one sums the shares of their squares by voxels.
    """
    out = []

    def bend(side):
        return _difference(side, 2)

    def step(side):
        return _difference(side, 1)

    def middle(side):
        return sparse.csr_array(np.eye(max(side - 2, 0), side, 1))

    def both(side):
        return sparse.csr_array(np.eye(side - 1, side) + np.eye(side - 1, side, 1))

    for a in range(3):
        taps, voxels = (step, both) if kind == 0 else (bend, middle)
        if shape[a] > kind + 1:
            scale = 1 / spacing[a] ** (kind + 1)
            out.append((scale * _along([a], [taps], shape), _along([a], [voxels], shape).T / (2 - kind)))
        for b in range(a):
            if kind == 1 and min(shape[a], shape[b]) > 1:
                scale = 1 / (spacing[a] * spacing[b])
                out.append((scale * _along([b, a], [step, step], shape), _along([b, a], [both, both], shape).T / 2))
    return out


def _differences_left(kind, shape, spacing, present):
    """Those of `_volume_differences` whose voxels are all present."""
    for taps, voxels in _volume_differences(kind, tuple(shape), tuple(spacing)):
        left = np.ones(taps.shape[0]) if present is None else abs(taps) @ (np.ravel(present) == 0) == 0
        yield sparse.diags_array(left.astype(float)) @ taps, voxels


def volume_square(kind, x, spacing, present=None):
    """The square Q of each voxel, of first (0) or second (1) differences."""
    flat = np.ravel(x)
    total = sum(
        (voxels @ (taps @ flat) ** 2 for taps, voxels in _differences_left(kind, x.shape, spacing, present)),
        np.zeros(flat.size),
    )
    return total.reshape(x.shape)


def volume_difference_energy(kind, x, spacing, epsilon, present=None):
    """The energy of a volume of shape (channels, planes, rows, cols)."""
    if epsilon == 0:
        return sum(np.sum(volume_square(kind, volume, spacing, present)) for volume in x)
    square = np.mean([volume_square(kind, volume, spacing, present) for volume in x], axis=0)
    return len(x) * np.sum(np.sqrt(epsilon**2 + square) - epsilon)


def volume_hessian(kind, shape, spacing, omega=None, present=None):
    """The sparse Hessian of the differences of a volume with frozen weights omega, 2 by default."""
    omega = np.full(np.prod(shape), 2.0) if omega is None else np.ravel(omega)
    total = sparse.csr_array((omega.size, omega.size))
    for taps, voxels in _differences_left(kind, shape, spacing, present):
        total = total + taps.T @ sparse.diags_array(voxels.T @ omega) @ taps
    return total.tocsr()


def cycle_matrix(run, free):
    """What the cycle of a multigrid run is at the free pixels, one column after the other."""
    columns = []
    for place in np.flatnonzero(free):
        residual, out = np.zeros(free.shape), np.full(free.shape, np.nan)
        residual.flat[place] = 1
        run.precondition(residual, out)
        assert not out[~free].any()
        columns.append(out[free])
    return np.array(columns)
