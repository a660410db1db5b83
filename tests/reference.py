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
