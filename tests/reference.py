"""Slow twins of the compiled kernels, written for reading: plain NumPy, float64, one line at a time."""

import numpy as np


def _differences(line):
    """The three difference vectors whose norms a line adds to the loss, each with the index of its left pixel."""
    yield 1, np.diff(line), np.arange(len(line) - 1)
    for parity in (0, 1):
        yield 2, np.diff(line[parity::2]), np.arange(parity, len(line) - 2, 2)


def line_value(x):
    lines = [*np.asarray(x, np.float64), *np.asarray(x, np.float64).T]
    return float(sum(np.linalg.norm(d) for line in lines for _, d, _ in _differences(line)))


def _line_terms(line):
    """The gradient of one line's terms, and the sum of its absolute taps, twice: the diagonal that majorises it."""
    gradient, diagonal = np.zeros(len(line)), np.zeros(len(line))
    for stride, d, left in _differences(line):
        norm = np.linalg.norm(d)
        if norm > 0:
            np.add.at(gradient, left + stride, d / norm)
            np.add.at(gradient, left, -d / norm)
            # Four for every pixel of the family, also at the line's ends, where two would do.
            start = 0 if stride == 1 else left[0] % 2
            diagonal[start::stride] += 4 / norm
    return gradient, diagonal


def line_gradient_and_diagonal(x):
    x = np.asarray(x, np.float64)
    rows = [_line_terms(line) for line in x]
    cols = [_line_terms(line) for line in x.T]
    gradient = np.array([g for g, _ in rows]) + np.array([g for g, _ in cols]).T
    diagonal = np.array([d for _, d in rows]) + np.array([d for _, d in cols]).T
    return gradient, diagonal


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


def pull(fine, free):
    rows, cols = ((side + 1) // 2 for side in fine.shape)
    coarse, coarse_free = np.zeros((rows, cols)), np.ones((rows, cols), bool)
    for i in range(rows):
        for j in range(cols):
            block = np.s_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            known = fine[block][~free[block]]
            if known.size:
                coarse[i, j], coarse_free[i, j] = known.mean(), False
    return coarse, coarse_free


def push(coarse, fine, free):
    def at(i, side):
        near = i // 2
        far = min(max(near + (1 if i % 2 else -1), 0), side - 1)
        return near, far

    out = fine.copy()
    for i, j in np.argwhere(free):
        (r, r2), (c, c2) = at(i, coarse.shape[0]), at(j, coarse.shape[1])
        near = 0.75 * coarse[r, c] + 0.25 * coarse[r, c2]
        far = 0.75 * coarse[r2, c] + 0.25 * coarse[r2, c2]
        out[i, j] = 0.75 * near + 0.25 * far
    return out


def pyramid(x, free):
    """Pull until everything is known, then push back."""
    if not free.any():
        return x
    coarse, coarse_free = pull(x, free)
    return push(pyramid(coarse, coarse_free), x, free)


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
    square = np.mean([stencil_square(kind, plane, cosine, sine, edge) for plane in x], axis=0)
    total = len(x) * np.sum(scale * (np.sqrt(epsilon**2 + square) - epsilon))
    if kind < 2 or min(x.shape[1:]) < 2:
        return total
    cosine, sine, edge = (a[:-1, :-1] for a in (cosine, sine, edge))
    gx = (x[:, :-1, 1:] - x[:, :-1, :-1] + x[:, 1:, 1:] - x[:, 1:, :-1]) / 2
    gy = (x[:, 1:, :-1] - x[:, :-1, :-1] + x[:, 1:, 1:] - x[:, :-1, 1:]) / 2
    mixed = np.diff(np.diff(x, axis=1), axis=2)
    along = ((1 + cosine) * gx**2 + 2 * sine * gx * gy + (1 - cosine) * gy**2) / 2
    return total + mu / 2 * np.sum(gx**2 + gy**2 - edge * along + kappa / 4 * (2 - edge) * mixed**2)


class Krige:
    """One window as a stationary Gaussian process of spectrum S: what its known pixels tell of it, and of S."""

    def __init__(self, spectrum, positions, values, noise):
        side = len(spectrum)
        self.spectrum, self.positions, self.values = spectrum, positions, values
        covariance = np.fft.irfft2(spectrum, s=(side, side))
        apart = (positions[:, np.newaxis] - positions) % side
        self.inverse = np.linalg.inv(covariance[apart[..., 0], apart[..., 1]] + noise * np.eye(len(positions)))
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
        for i, p in enumerate(self.positions):
            for j, q in enumerate(self.positions):
                pairs[tuple((p - q) % side)] += self.inverse[i, j]
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
