"""Losses made of local differences: their gradient, and the accelerated projected sweep that descends them.

Three operators, each the gradient of a quadratic in x once its weights are frozen:

- FIRST: first differences; a pixel's square is Q = (l^2 + r^2 + u^2 + d^2) / 2, of the differences to its neighbours.
- SECOND: second differences; Q = dxx^2 + dyy^2 + (the squared mixed differences of the four 2 x 2 cells around) / 2.
- EDGE: Q = uxx^2 + uyy^2 + 2 uxy^2 - z Hnn^2 in the image's interior, where Hnn is the second derivative along the
  normal of the structure tensor and z tells how far there is an edge; and in every 2 x 2 cell
  mu/2 (|g|^2 - z (n.g)^2 + kappa/4 (2 - z) h^2) of its mean differences g and its mixed difference h.

A difference that does not fit into the image counts nothing. The energy is sum scale (sqrt(epsilon^2 + Q) - epsilon),
or sum Q, and the weight of a pixel is scale / sqrt(epsilon^2 + Q), or 2.

A sweep reads the image once: down a strip of columns it keeps the last three rows of x as they were and of the
weighted differences, from which the gradient of the row in the middle follows, and updates that row in place. Strips
know their neighbours' old values from ``halo``, as in line.pyx; they are what `threads` share out, so the result does
not depend on how many there are. The step of each pixel is in ``steps``, 0 where it is known. Sums run in the image's
dtype down 64 rows, then in double, in a fixed order.

Not checked: that the arrays of one call do not overlap.
"""

from cython.parallel cimport prange
from libc.math cimport sqrt
from libc.string cimport memcpy

include "strips.pxi"

cdef enum:
    FIRST = 0
    SECOND = 1
    EDGE = 2
    TALLY = 64  # terms of the energy that are added up at a time
    FIELDS = 6  # p, q, r of the pixels; a, b, t of the cells
    ROOM = WIDEST + 2 * PAD


cdef struct Weights:
    # Of the image: each of shape (rows, cols). Only EDGE has the last three.
    const void *omega
    const void *cosine
    const void *sine
    const void *edge
    double mu
    double kappa


# ---- a pixel's square, its weight, its step ----

cdef inline real square_at(
    int kind, const real *x, const real *cosine, const real *sine, const real *edge,
    Py_ssize_t i, Py_ssize_t j, Py_ssize_t rows, Py_ssize_t cols, bint interior,
) noexcept nogil:
    # With a true literal for interior the compiler drops the tests of the border. The pointers are at pixel (i, j).
    cdef bint left = interior or j > 0, right = interior or j + 1 < cols
    cdef bint up = interior or i > 0, down = interior or i + 1 < rows
    cdef real dxx = 0, dyy = 0, dxy, normal, total = 0
    if kind == FIRST:
        if left:
            total += (x[0] - (x - 1)[0]) * (x[0] - (x - 1)[0])
        if right:
            total += (x[0] - x[1]) * (x[0] - x[1])
        if up:
            total += (x[0] - (x - cols)[0]) * (x[0] - (x - cols)[0])
        if down:
            total += (x[0] - x[cols]) * (x[0] - x[cols])
        return total / 2
    if left and right:
        dxx = (x - 1)[0] - 2 * x[0] + x[1]
    if up and down:
        dyy = (x - cols)[0] - 2 * x[0] + x[cols]
    if kind == SECOND:
        if up and left:
            dxy = (x - cols - 1)[0] - (x - cols)[0] - (x - 1)[0] + x[0]
            total += dxy * dxy
        if up and right:
            dxy = (x - cols)[0] - (x - cols + 1)[0] - x[0] + x[1]
            total += dxy * dxy
        if down and left:
            dxy = (x - 1)[0] - x[0] - x[cols - 1] + x[cols]
            total += dxy * dxy
        if down and right:
            dxy = x[0] - x[1] - x[cols] + x[cols + 1]
            total += dxy * dxy
        return dxx * dxx + dyy * dyy + total / 2
    if not (left and right and up and down):
        return 0
    dxy = (((x - cols - 1)[0] + x[cols + 1]) - ((x - cols + 1)[0] + x[cols - 1])) / 4
    normal = (dxx + dyy + cosine[0] * (dxx - dyy)) / 2 + sine[0] * dxy
    total = dxx * dxx + dyy * dyy + 2 * dxy * dxy - edge[0] * normal * normal
    return total if total > 0 else 0


cdef void weigh_row(
    int kind, const real *x, const real *cosine, const real *sine, const real *edge,
    real epsilon, real scale, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols, real *out,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real square, squared = epsilon * epsilon
    if 0 < i < rows - 1:
        if kind == FIRST:
            for j in range(1, cols - 1):
                square = square_at(FIRST, x + j, cosine + j, sine + j, edge + j, i, j, rows, cols, True)
                out[j] = scale / <real> sqrt(squared + square)
        elif kind == SECOND:
            for j in range(1, cols - 1):
                square = square_at(SECOND, x + j, cosine + j, sine + j, edge + j, i, j, rows, cols, True)
                out[j] = scale / <real> sqrt(squared + square)
        else:
            for j in range(1, cols - 1):
                square = square_at(EDGE, x + j, cosine + j, sine + j, edge + j, i, j, rows, cols, True)
                out[j] = scale / <real> sqrt(squared + square)
    j = 0
    while j < cols:
        square = square_at(kind, x + j, cosine + j, sine + j, edge + j, i, j, rows, cols, False)
        out[j] = 0 if kind == EDGE else scale / <real> sqrt(squared + square)
        j += 1 if i == 0 or i == rows - 1 or cols < 3 else cols - 1


cdef inline double energy_at(
    int kind, const real *x, const real *cosine, const real *sine, const real *edge,
    double epsilon, double scale, double mu, double kappa, bint smooth, Py_ssize_t i, Py_ssize_t j, Py_ssize_t rows,
    Py_ssize_t cols, bint interior,
) noexcept nogil:
    # Of a pixel and of the cell below and to the right of it. The pointers are at the pixel; see square_at.
    cdef double square = square_at(kind, x, cosine, sine, edge, i, j, rows, cols, interior)
    cdef double total = square, horizontal, vertical, mixed, along
    if smooth:
        total = scale * square / (sqrt(epsilon * epsilon + square) + epsilon)
    if kind == EDGE and (interior or (i + 1 < rows and j + 1 < cols)):
        horizontal = (<double> x[1] - x[0]) + (<double> x[cols + 1] - x[cols])
        vertical = (<double> x[cols] - x[0]) + (<double> x[cols + 1] - x[1])
        mixed = (<double> x[cols + 1] - x[cols]) - (<double> x[1] - x[0])
        along = (
            (1 + cosine[0]) * horizontal * horizontal + (1 - cosine[0]) * vertical * vertical
            + 2 * sine[0] * horizontal * vertical
        ) / 2
        total += mu / 8 * (
            horizontal * horizontal + vertical * vertical - edge[0] * along + kappa * (2 - edge[0]) * mixed * mixed
        )
    return total


cdef double tally(double *terms) noexcept nogil:
    # Their sum, halves upon halves: in one order, and in vectors.
    cdef int k
    for k in range(32):
        terms[k] += terms[k + 32]
    for k in range(16):
        terms[k] += terms[k + 16]
    for k in range(8):
        terms[k] += terms[k + 8]
    for k in range(1, 8):
        terms[0] += terms[k]
    return terms[0]


cdef double row_energy(
    int kind, const real *x, const real *cosine, const real *sine, const real *edge,
    double epsilon, double scale, double mu, double kappa, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols,
) noexcept nogil:
    cdef double terms[TALLY]
    cdef double total = 0
    cdef Py_ssize_t j = 0, first, k
    while j < cols:
        first = j
        if 0 < i < rows - 1 and j > 0 and j + TALLY < cols:
            if kind == FIRST and epsilon > 0:
                for k in range(TALLY):
                    terms[k] = energy_at(
                        FIRST, x + first + k, cosine + first + k, sine + first + k, edge + first + k,
                        epsilon, scale, mu, kappa, True, i, first + k, rows, cols, True,
                    )
            elif kind == FIRST:
                for k in range(TALLY):
                    terms[k] = energy_at(
                        FIRST, x + first + k, cosine + first + k, sine + first + k, edge + first + k,
                        epsilon, scale, mu, kappa, False, i, first + k, rows, cols, True,
                    )
            elif kind == SECOND and epsilon > 0:
                for k in range(TALLY):
                    terms[k] = energy_at(
                        SECOND, x + first + k, cosine + first + k, sine + first + k, edge + first + k,
                        epsilon, scale, mu, kappa, True, i, first + k, rows, cols, True,
                    )
            elif kind == SECOND:
                for k in range(TALLY):
                    terms[k] = energy_at(
                        SECOND, x + first + k, cosine + first + k, sine + first + k, edge + first + k,
                        epsilon, scale, mu, kappa, False, i, first + k, rows, cols, True,
                    )
            else:
                for k in range(TALLY):
                    terms[k] = energy_at(
                        EDGE, x + first + k, cosine + first + k, sine + first + k, edge + first + k,
                        epsilon, scale, mu, kappa, True, i, first + k, rows, cols, True,
                    )
            total += tally(terms)
            j += TALLY
        else:
            total += energy_at(
                kind, x + j, cosine + j, sine + j, edge + j, epsilon, scale, mu, kappa, epsilon > 0, i, j, rows, cols,
                False,
            )
            j += 1
    return total


cdef inline real edge_diagonal(
    const real *omega, const real *cosine, const real *sine, const real *edge, int part
) noexcept nogil:
    # The weights of squared uxx, uyy, uxy and of the product uxx uyy in a pixel's energy.
    cdef real along = (1 + cosine[0]) / 2, across = (1 - cosine[0]) / 2, k = omega[0] * edge[0]
    if part == 0:
        return omega[0] - k * along * along
    if part == 1:
        return omega[0] - k * across * across
    if part == 2:
        return 2 * omega[0] - k * sine[0] * sine[0]
    return -k * along * across


cdef inline real diagonal_at(
    int kind, const real *omega, const real *cosine, const real *sine, const real *edge, real mu, real kappa,
    Py_ssize_t i, Py_ssize_t j, Py_ssize_t rows, Py_ssize_t cols, bint interior,
) noexcept nogil:
    cdef bint left = interior or j > 0, right = interior or j + 1 < cols
    cdef bint up = interior or i > 0, down = interior or i + 1 < rows
    cdef real total = 0, cells = 0
    cdef const real *w = omega
    if kind == FIRST:
        if left:
            total += w[0] + (w - 1)[0]
        if right:
            total += w[0] + w[1]
        if up:
            total += w[0] + (w - cols)[0]
        if down:
            total += w[0] + w[cols]
        return total / 2
    if kind == SECOND:
        if left and right:
            total += 4 * w[0]
        if up and down:
            total += 4 * w[0]
        if interior or j > 1:
            total += (w - 1)[0]
        if interior or j + 2 < cols:
            total += w[1]
        if interior or i > 1:
            total += (w - cols)[0]
        if interior or i + 2 < rows:
            total += w[cols]
        if up and left:
            cells += ((w - cols - 1)[0] + (w - cols)[0]) + ((w - 1)[0] + w[0])
        if up and right:
            cells += ((w - cols)[0] + (w - cols + 1)[0]) + (w[0] + w[1])
        if down and left:
            cells += ((w - 1)[0] + w[0]) + (w[cols - 1] + w[cols])
        if down and right:
            cells += (w[0] + w[1]) + (w[cols] + w[cols + 1])
        return total + cells / 2
    total = (
        4 * (edge_diagonal(w, cosine, sine, edge, 0) + edge_diagonal(w, cosine, sine, edge, 1))
        + 8 * edge_diagonal(w, cosine, sine, edge, 3)
    )
    if left:
        total += edge_diagonal(w - 1, cosine - 1, sine - 1, edge - 1, 0)
    if right:
        total += edge_diagonal(w + 1, cosine + 1, sine + 1, edge + 1, 0)
    if up:
        total += edge_diagonal(w - cols, cosine - cols, sine - cols, edge - cols, 1)
    if down:
        total += edge_diagonal(w + cols, cosine + cols, sine + cols, edge + cols, 1)
    if up and left:
        cells += edge_diagonal(w - cols - 1, cosine - cols - 1, sine - cols - 1, edge - cols - 1, 2)
    if up and right:
        cells += edge_diagonal(w - cols + 1, cosine - cols + 1, sine - cols + 1, edge - cols + 1, 2)
    if down and left:
        cells += edge_diagonal(w + cols - 1, cosine + cols - 1, sine + cols - 1, edge + cols - 1, 2)
    if down and right:
        cells += edge_diagonal(w + cols + 1, cosine + cols + 1, sine + cols + 1, edge + cols + 1, 2)
    total += cells / 16
    cells = 0
    if up and left:
        cells += (1 + kappa) * (2 - (edge - cols - 1)[0]) - (edge - cols - 1)[0] * (sine - cols - 1)[0]
    if up and right:
        cells += (1 + kappa) * (2 - (edge - cols)[0]) + (edge - cols)[0] * (sine - cols)[0]
    if down and left:
        cells += (1 + kappa) * (2 - (edge - 1)[0]) + (edge - 1)[0] * (sine - 1)[0]
    if down and right:
        cells += (1 + kappa) * (2 - edge[0]) - edge[0] * sine[0]
    return total + mu / 4 * cells


cdef inline void step_row(
    int kind, const real *omega, const real *cosine, const real *sine, const real *edge, real mu, real kappa,
    const unsigned char *free, real safety, real floor,
    Py_ssize_t i, Py_ssize_t first, Py_ssize_t last, Py_ssize_t rows, Py_ssize_t cols, bint interior, real *out,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real diagonal, step
    for j in range(first, last):
        diagonal = diagonal_at(
            kind, omega + j, cosine + j, sine + j, edge + j, mu, kappa, i, j, rows, cols, interior
        )
        step = 1 / (safety * (diagonal if diagonal > floor else floor))
        out[j] = step if free[j] else 0


# ---- the operator, row by row ----

cdef inline void first_fields(
    const real *x, const real *below, const real *omega, const real *omega_below,
    Py_ssize_t first, Py_ssize_t last, real *p,
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(first, last):
        p[j] = (omega[j] + omega[j + 1]) * (x[j + 1] - x[j]) / 2


cdef inline void first_columns(
    const real *x, const real *below, const real *omega, const real *omega_below, Py_ssize_t width, real *q
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        q[j] = (omega[j] + omega_below[j]) * (below[j] - x[j]) / 2


cdef inline void second_fields(
    const real *above, const real *x, const real *below, const real *omega, const real *omega_below,
    Py_ssize_t first, Py_ssize_t last, real *p, real *t,
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(first, last):
        p[j] = omega[j] * ((x - 1)[j] - 2 * x[j] + x[j + 1])
        t[j] = ((omega[j] + omega[j + 1]) + (omega_below[j] + omega_below[j + 1])) / 2 * (
            (x[j] - x[j + 1]) - (below[j] - below[j + 1])
        )


cdef inline void second_columns(
    const real *above, const real *x, const real *below, const real *omega, Py_ssize_t width, real *q
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        q[j] = omega[j] * (above[j] - 2 * x[j] + below[j])


cdef inline void edge_fields(
    const real *above, const real *x, const real *below,
    const real *omega, const real *cosine, const real *sine, const real *edge, real mu, real kappa,
    Py_ssize_t first, Py_ssize_t last, real *p, real *q, real *r, real *a, real *b, real *t,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real dxx, dyy, dxy, normal, k, top, bottom, horizontal, vertical, half, main, cross
    for j in range(first, last):
        dxx = (x - 1)[j] - 2 * x[j] + x[j + 1]
        dyy = above[j] - 2 * x[j] + below[j]
        dxy = (((above - 1)[j] + below[j + 1]) - (above[j + 1] + (below - 1)[j])) / 4
        normal = (dxx + dyy + cosine[j] * (dxx - dyy)) / 2 + sine[j] * dxy
        k = omega[j] * edge[j] * normal / 2
        p[j] = omega[j] * dxx - k * (1 + cosine[j])
        q[j] = omega[j] * dyy - k * (1 - cosine[j])
        r[j] = (omega[j] * dxy - k * sine[j]) / 2
        top = x[j + 1] - x[j]
        bottom = below[j + 1] - below[j]
        horizontal = top + bottom
        vertical = (below[j] - x[j]) + (below[j + 1] - x[j + 1])
        half = edge[j] / 2
        main = mu / 4 * ((1 - half) * horizontal - half * (cosine[j] * horizontal + sine[j] * vertical))
        cross = mu / 4 * ((1 - half) * vertical - half * (sine[j] * horizontal - cosine[j] * vertical))
        a[j] = main + cross
        b[j] = main - cross
        t[j] = mu * kappa / 4 * (2 - edge[j]) * (bottom - top)


cdef inline void first_gradient(
    const real *p, const real *q_above, const real *q, Py_ssize_t width, real *out
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] = ((p - 1)[j] - p[j]) + (q_above[j] - q[j])


cdef inline void second_gradient(
    const real *p, const real *q_above, const real *q, const real *q_below, const real *t_above, const real *t,
    Py_ssize_t width, real *out,
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] = (
            ((p - 1)[j] + p[j + 1] - 2 * p[j]) + (q_above[j] + q_below[j] - 2 * q[j])
            + ((t[j] - (t - 1)[j]) - (t_above[j] - (t_above - 1)[j]))
        )


cdef inline void edge_gradient(
    const real *p, const real *q_above, const real *q, const real *q_below, const real *r_above, const real *r_below,
    const real *a_above, const real *a, const real *b_above, const real *b, const real *t_above, const real *t,
    Py_ssize_t width, real *out,
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] = (
            ((p - 1)[j] + p[j + 1] - 2 * p[j]) + (q_above[j] + q_below[j] - 2 * q[j])
            + (((r_above - 1)[j] + r_below[j + 1]) - (r_above[j + 1] + (r_below - 1)[j]))
            + ((t[j] - a[j]) + ((b - 1)[j] - (t - 1)[j]))
            + (((a_above - 1)[j] + (t_above - 1)[j]) - (b_above[j] + t_above[j]))
        )


cdef void fill_fields(
    int kind, const real[:, ::1] x, const Weights *weights, Py_ssize_t k, Py_ssize_t i,
    const real *above, const real *here, const real *below,
    real *p, real *q, real *r, real *a, real *b, real *t,
) noexcept nogil:
    # The weighted differences of row i of strip k, from one column before it to one behind it.
    cdef Py_ssize_t rows = x.shape[0], cols = x.shape[1], start = strip_start(cols, k)
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start, side, first, last, stop
    cdef bint at_left = k == 0, at_right = k + 1 == strip_count(cols), at_bottom = i + 1 == rows
    cdef const real *omega = <const real *> weights.omega + i * cols + start
    cdef const real *omega_below = omega if at_bottom else omega + cols
    cdef const real *cosine = NULL
    cdef const real *sine = NULL
    cdef const real *edge = NULL
    if kind == EDGE:
        cosine = <const real *> weights.cosine + i * cols + start
        sine = <const real *> weights.sine + i * cols + start
        edge = <const real *> weights.edge + i * cols + start
    stop = width - 1 if at_right else width
    for side in range(3):
        # The strip, then the column before it, then the one behind it, so that the long loop begins aligned.
        first = 0 if side == 0 else (-1 if side == 1 else width)
        last = stop if side == 0 else first + 1
        if (side == 1 and at_left) or (side == 2 and at_right):
            continue
        if kind == FIRST:
            first_fields(here, below, omega, omega_below, first, last, p)
        elif kind == SECOND:
            second_fields(above, here, below, omega, omega_below, first, last, p, t)
        else:
            edge_fields(
                above, here, below, omega, cosine, sine, edge, <real> weights.mu, <real> weights.kappa,
                first, last, p, q, r, a, b, t,
            )
    if kind == EDGE:
        # The ring has weight 0, but for that x beside it must be finite: it is, the row's border is 0 or the halo.
        if at_left:
            clear_at(p, q, r, a, b, t, -1)
        if at_right:
            clear_at(p, q, r, a, b, t, width - 1)
            clear_at(p, q, r, a, b, t, width)
        if at_bottom:
            clear(a - PAD, ROOM)
            clear(b - PAD, ROOM)
            clear(t - PAD, ROOM)
        return
    if at_left:
        (p - 1)[0] = 0
        (t - 1)[0] = 0
        if kind == SECOND:
            p[0] = 0
    if at_right:
        p[width - 1] = 0
        t[width - 1] = 0
        p[width] = 0
    if kind == FIRST:
        first_columns(here, below, omega, omega_below, width, q)
    elif i == 0 or at_bottom:
        clear(q, width)
    else:
        second_columns(above, here, below, omega, width, q)
    if at_bottom:
        clear(t - PAD, ROOM)


cdef inline void clear_at(real *p, real *q, real *r, real *a, real *b, real *t, Py_ssize_t j) noexcept nogil:
    (p + j)[0] = 0
    (q + j)[0] = 0
    (r + j)[0] = 0
    (a + j)[0] = 0
    (b + j)[0] = 0
    (t + j)[0] = 0


cdef inline void step_off(
    const real *x, const real *gradient, const real *steps, real low, real high, Py_ssize_t width, real *out
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real new
    for j in range(width):
        new = clip(x[j] - steps[j] * gradient[j], low, high)
        out[j] = new if steps[j] > 0 else x[j]


cdef void walk_strip(
    int kind, const real[:, ::1] x, const Weights *weights, const real[:, :, ::1] halo, Py_ssize_t k,
    real *x_out, real *u, const real *steps, real momentum, real low, real high,
    real[:, :, ::1] halo_out, double *totals, real *gradient_out,
) noexcept nogil:
    # Writes the gradient to gradient_out, or where that is NULL steps off it, x_out being x itself.
    cdef Py_ssize_t rows = x.shape[0], cols = x.shape[1], start = strip_start(cols, k), i, field, at
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start
    cdef real[3][ROOM] old  # three rows as they were, by row % 3
    cdef real[3][FIELDS][ROOM] fields  # three rows of the weighted differences
    cdef real[WIDEST] gradient
    cdef real[WIDEST] change
    cdef real[WIDEST] slope
    cdef real *above
    cdef real *here
    cdef real *below
    cdef real *new
    cdef double total_change = 0, total_slope = 0
    for i in range(3):
        clear(old[i], ROOM)
        for field in range(FIELDS):
            clear(fields[i][field], ROOM)
    clear(change, width)
    clear(slope, width)
    for i in range(-1, rows):
        # The weighted differences of row i + 1, which need the row below it.
        for at in range(0 if i < 0 else i + 2, min(i + 3, rows)):
            load_row(&x[at, start], halo, k, at, &old[at % 3][PAD], width)
        at = i + 1
        if at < rows:
            here = &old[at % 3][PAD]
            above = &old[(at + 2) % 3][PAD] if at > 0 else here
            below = &old[(at + 1) % 3][PAD] if at + 1 < rows else here
            fill_fields(
                kind, x, weights, k, at, above, here, below,
                &fields[at % 3][0][PAD], &fields[at % 3][1][PAD], &fields[at % 3][2][PAD],
                &fields[at % 3][3][PAD], &fields[at % 3][4][PAD], &fields[at % 3][5][PAD],
            )
        else:
            for field in range(FIELDS):
                clear(fields[at % 3][field], ROOM)
        if i < 0:
            continue
        new = gradient_out + i * cols + start if gradient_out != NULL else gradient
        if kind == FIRST:
            if i + 1 == rows:
                clear(&fields[i % 3][1][PAD], width)
            first_gradient(
                &fields[i % 3][0][PAD], &fields[(i + 2) % 3][1][PAD], &fields[i % 3][1][PAD], width, new
            )
        elif kind == SECOND:
            second_gradient(
                &fields[i % 3][0][PAD],
                &fields[(i + 2) % 3][1][PAD], &fields[i % 3][1][PAD], &fields[(i + 1) % 3][1][PAD],
                &fields[(i + 2) % 3][5][PAD], &fields[i % 3][5][PAD], width, new,
            )
        else:
            edge_gradient(
                &fields[i % 3][0][PAD],
                &fields[(i + 2) % 3][1][PAD], &fields[i % 3][1][PAD], &fields[(i + 1) % 3][1][PAD],
                &fields[(i + 2) % 3][2][PAD], &fields[(i + 1) % 3][2][PAD],
                &fields[(i + 2) % 3][3][PAD], &fields[i % 3][3][PAD],
                &fields[(i + 2) % 3][4][PAD], &fields[i % 3][4][PAD],
                &fields[(i + 2) % 3][5][PAD], &fields[i % 3][5][PAD], width, new,
            )
        if gradient_out != NULL:
            continue
        here = &old[i % 3][PAD]
        new = x_out + i * cols + start
        step_off(here, gradient, steps + i * cols + start, low, high, width, new)
        extrapolate_row(here, new, u + i * cols + start, momentum, slope, change, width)
        store_halo(new, halo_out, k, i, width)
        if (i + 1) % BLOCK == 0 or i + 1 == rows:
            total_change += flush_total(change, width)
            total_slope += flush_total(slope, width)
    if gradient_out == NULL:
        totals[2 * k] = total_change
        totals[2 * k + 1] = total_slope


# ---- the structure tensor ----

cdef inline void tensor_at(
    const real *x, Py_ssize_t cols, Py_ssize_t left, Py_ssize_t right, Py_ssize_t up, Py_ssize_t down,
    real scale_x, real scale_y, real inverse, real *sums,
) noexcept nogil:
    cdef real gx = (x[right] - (x - left)[0]) * scale_x, gy = (x[down * cols] - (x - up * cols)[0]) * scale_y
    cdef real weight = 1 / <real> sqrt(1 + (gx * gx + gy * gy) * inverse)
    sums[0] += weight * gx * gx
    sums[1] += weight * gx * gy
    sums[2] += weight * gy * gy


cdef void tensor_row(
    const real *x, Py_ssize_t h, Py_ssize_t rows, Py_ssize_t cols, real inverse, bint add,
    real *jxx, real *jxy, real *jyy,
) noexcept nogil:
    # The means over the 2 x 2 blocks of block row h; x is the image.
    cdef Py_ssize_t i, j, jj, dy, dx, height = min(2, rows - 2 * h), width, up, down, left, right
    cdef Py_ssize_t halves = (cols + 1) // 2
    cdef bint inside = 0 < 2 * h and 2 * h + 2 < rows
    cdef real[3] sums
    cdef real count
    cdef const real *at
    for jj in range(halves):
        sums[0] = 0
        sums[1] = 0
        sums[2] = 0
        if inside and 0 < jj and 2 * jj + 2 < cols:
            at = x + 2 * h * cols + 2 * jj
            tensor_at(at, cols, 1, 1, 1, 1, 0.5, 0.5, inverse, sums)
            tensor_at(at + 1, cols, 1, 1, 1, 1, 0.5, 0.5, inverse, sums)
            tensor_at(at + cols, cols, 1, 1, 1, 1, 0.5, 0.5, inverse, sums)
            tensor_at(at + cols + 1, cols, 1, 1, 1, 1, 0.5, 0.5, inverse, sums)
            count = 0.25
        else:
            width = min(2, cols - 2 * jj)
            for dy in range(height):
                for dx in range(width):
                    i = 2 * h + dy
                    j = 2 * jj + dx
                    up = 1 if i > 0 else 0
                    down = 1 if i + 1 < rows else 0
                    left = 1 if j > 0 else 0
                    right = 1 if j + 1 < cols else 0
                    tensor_at(
                        x + i * cols + j, cols, left, right, up, down,
                        <real> 1 / max(left + right, 1), <real> 1 / max(up + down, 1), inverse, sums,
                    )
            count = <real> 1 / (height * width)
        jxx[jj] = sums[0] * count + (jxx[jj] if add else 0)
        jxy[jj] = sums[1] * count + (jxy[jj] if add else 0)
        jyy[jj] = sums[2] * count + (jyy[jj] if add else 0)


cdef inline Py_ssize_t reflect(Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    # Symmetric about the outer border of the first and the last element, however far outside.
    i = i % (2 * n)
    if i < 0:
        i += 2 * n
    return i if i < n else 2 * n - 1 - i


cdef void blur_columns_row(
    const real *plane, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols, const double *taps, Py_ssize_t radius, real *out
) noexcept nogil:
    # out has `radius` elements more on either side, which are filled by reflection.
    cdef Py_ssize_t j, k
    cdef const real *a
    cdef const real *b
    cdef real tap = <real> taps[0]
    cdef real *inner = out + radius
    a = plane + i * cols
    for j in range(cols):
        inner[j] = tap * a[j]
    for k in range(1, radius + 1):
        a = plane + reflect(i - k, rows) * cols
        b = plane + reflect(i + k, rows) * cols
        tap = <real> taps[k]
        for j in range(cols):
            inner[j] += tap * (a[j] + b[j])
    for k in range(1, radius + 1):
        (inner - k)[0] = inner[reflect(-k, cols)]
        inner[cols - 1 + k] = inner[reflect(cols - 1 + k, cols)]


cdef void blur_rows_row(
    const real *padded, Py_ssize_t cols, const double *taps, Py_ssize_t radius, real *out
) noexcept nogil:
    cdef Py_ssize_t j, k
    cdef const real *inner = padded + radius
    cdef real tap = <real> taps[0]
    for j in range(cols):
        out[j] = tap * inner[j]
    for k in range(1, radius + 1):
        tap = <real> taps[k]
        for j in range(cols):
            out[j] += tap * ((inner - k)[j] + (inner + k)[j])


cdef inline void spread_row(
    const real *near, const real *far, Py_ssize_t halves, Py_ssize_t cols, real *out
) noexcept nogil:
    # Bilinear interpolation of a row of block means at the pixels.
    cdef Py_ssize_t j
    cdef real left, here, right
    # In two loops: one that writes both was seen to round its last columns differently from level to level.
    for j in range(1, halves - 1):
        out[2 * j] = (3 * (3 * near[j] + far[j]) + (3 * (near - 1)[j] + (far - 1)[j])) / 16
    for j in range(1, halves - 1):
        out[2 * j + 1] = (3 * (3 * near[j] + far[j]) + (3 * near[j + 1] + far[j + 1])) / 16
    j = 0
    while j < halves:
        here = 3 * near[j] + far[j]
        left = 3 * near[max(j - 1, 0)] + far[max(j - 1, 0)]
        right = 3 * near[min(j + 1, halves - 1)] + far[min(j + 1, halves - 1)]
        out[2 * j] = (3 * here + left) / 16
        if 2 * j + 1 < cols:
            out[2 * j + 1] = (3 * here + right) / 16
        j += max(halves - 1, 1)


cdef inline void orient_row(real *jxx, real *jxy, real *jyy, real inverse, real tiny, Py_ssize_t width) noexcept nogil:
    # In place: the tensor becomes the cosine and sine of twice the normal's angle, and how far there is an edge.
    cdef Py_ssize_t j
    cdef real difference, twice, trace, length, ratio, strength
    for j in range(width):
        difference = jxx[j] - jyy[j]
        twice = 2 * jxy[j]
        trace = jxx[j] + jyy[j]
        length = <real> sqrt(difference * difference + twice * twice)
        ratio = length / (trace + tiny)
        ratio = ratio * ratio
        strength = trace * inverse * ratio * ratio
        jxx[j] = difference / (length + tiny)
        jxy[j] = twice / (length + tiny)
        jyy[j] = strength / (1 + strength)


# ---- what Python calls ----

def count_strips(Py_ssize_t cols):
    """Return into how many strips an image with so many columns is cut."""
    return strip_count(cols)


cdef int require_kind(int kind) except -1:
    require(FIRST <= kind <= EDGE, "kind must be 0, 1 or 2")
    return 0


cdef int require_like(const real[:, ::1] x, const real[:, ::1] other, str name) except -1:
    require(other.shape[0] == x.shape[0] and other.shape[1] == x.shape[1], name + " must have the shape of x")
    return 0


cdef int fill_weights(
    Weights *out, int kind, const real[:, ::1] x, const real[:, ::1] omega, const real[:, ::1] cosine,
    const real[:, ::1] sine, const real[:, ::1] edge, double mu, double kappa,
) except -1:
    require_kind(kind)
    require(x.shape[0] > 0 and x.shape[1] > 0, "x must not be empty")
    require_like(x, omega, "omega")
    require_like(x, cosine, "cosine")
    require_like(x, sine, "sine")
    require_like(x, edge, "edge")
    out.omega = &omega[0, 0]
    out.cosine = &cosine[0, 0]
    out.sine = &sine[0, 0]
    out.edge = &edge[0, 0]
    out.mu = mu
    out.kappa = kappa
    return 0


def energy(
    int kind,
    const real[:, ::1] x not None,
    const real[:, ::1] cosine not None,
    const real[:, ::1] sine not None,
    const real[:, ::1] edge not None,
    double epsilon,
    double scale,
    double mu,
    double kappa,
    int threads,
    double[::1] row_sums not None,
):
    """Return the energy of x; epsilon = 0 stands for the sum of the squares. row_sums, of shape (rows,), is scratch.

    FIRST and SECOND do not read cosine, sine and edge: they may be x itself.
    """
    cdef Py_ssize_t i, rows = x.shape[0], cols = x.shape[1]
    cdef double total = 0
    require_kind(kind)
    require_like(x, cosine, "cosine")
    require_like(x, sine, "sine")
    require_like(x, edge, "edge")
    require(rows > 0 and cols > 0 and row_sums.shape[0] == rows, "row_sums must have shape (rows,)")
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            row_sums[i] = row_energy(
                kind, &x[i, 0], &cosine[i, 0], &sine[i, 0], &edge[i, 0], epsilon, scale, mu, kappa, i, rows, cols
            )
        for i in range(rows):
            total += row_sums[i]
    return total


def weigh(
    int kind,
    const real[:, ::1] x not None,
    const real[:, ::1] cosine not None,
    const real[:, ::1] sine not None,
    const real[:, ::1] edge not None,
    double epsilon,
    double scale,
    int threads,
    real[:, ::1] omega_out not None,
):
    """Write the weight of each pixel, scale / sqrt(epsilon^2 + Q), to omega_out; EDGE: 0 on the border."""
    cdef Py_ssize_t i, rows = x.shape[0], cols = x.shape[1]
    require_kind(kind)
    require(rows > 0 and cols > 0 and epsilon > 0, "x must not be empty, epsilon must be positive")
    require_like(x, cosine, "cosine")
    require_like(x, sine, "sine")
    require_like(x, edge, "edge")
    require_like(x, omega_out, "omega_out")
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            weigh_row(
                kind, &x[i, 0], &cosine[i, 0], &sine[i, 0], &edge[i, 0], <real> epsilon, <real> scale,
                i, rows, cols, &omega_out[i, 0],
            )


def step_sizes(
    int kind,
    const unsigned char[:, ::1] free not None,
    const real[:, ::1] omega not None,
    const real[:, ::1] cosine not None,
    const real[:, ::1] sine not None,
    const real[:, ::1] edge not None,
    double mu,
    double kappa,
    double safety,
    double floor,
    int threads,
    real[:, ::1] steps_out not None,
):
    """Write 1 / (safety max(diagonal, floor)) to steps_out where free, 0 elsewhere."""
    cdef Py_ssize_t i, rows = omega.shape[0], cols = omega.shape[1]
    cdef Weights weights
    fill_weights(&weights, kind, omega, omega, cosine, sine, edge, mu, kappa)
    require_like(omega, steps_out, "steps_out")
    require(free.shape[0] == rows and free.shape[1] == cols, "free must have the shape of the image")
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            step_sizes_row(kind, free, omega, cosine, sine, edge, mu, kappa, safety, floor, i, steps_out)


cdef void step_sizes_row(
    int kind, const unsigned char[:, ::1] free, const real[:, ::1] omega, const real[:, ::1] cosine,
    const real[:, ::1] sine, const real[:, ::1] edge, real mu, real kappa, real safety, real floor,
    Py_ssize_t i, real[:, ::1] out,
) noexcept nogil:
    cdef Py_ssize_t rows = omega.shape[0], cols = omega.shape[1], first = 2, last = cols - 2
    if i < 2 or i + 2 >= rows or cols < 5:
        first = last = cols
    elif kind == FIRST:
        step_row(FIRST, &omega[i, 0], &cosine[i, 0], &sine[i, 0], &edge[i, 0], mu, kappa, &free[i, 0], safety, floor,
                 i, first, last, rows, cols, True, &out[i, 0])
    elif kind == SECOND:
        step_row(SECOND, &omega[i, 0], &cosine[i, 0], &sine[i, 0], &edge[i, 0], mu, kappa, &free[i, 0], safety, floor,
                 i, first, last, rows, cols, True, &out[i, 0])
    else:
        step_row(EDGE, &omega[i, 0], &cosine[i, 0], &sine[i, 0], &edge[i, 0], mu, kappa, &free[i, 0], safety, floor,
                 i, first, last, rows, cols, True, &out[i, 0])
    step_row(kind, &omega[i, 0], &cosine[i, 0], &sine[i, 0], &edge[i, 0], mu, kappa, &free[i, 0], safety, floor,
             i, 0, first, rows, cols, False, &out[i, 0])
    step_row(kind, &omega[i, 0], &cosine[i, 0], &sine[i, 0], &edge[i, 0], mu, kappa, &free[i, 0], safety, floor,
             i, last, cols, rows, cols, False, &out[i, 0])


def measure_halo(const real[:, ::1] x not None, real[:, :, ::1] halo_out not None):
    """Write the first two and last two values of each strip's rows to halo_out, of shape (strips, rows, 4)."""
    cdef Py_ssize_t i, k, cols = x.shape[1], start
    require_halo(x, halo_out)
    for k in range(strip_count(cols)):
        start = strip_start(cols, k)
        for i in range(x.shape[0]):
            store_halo(&x[i, start], halo_out, k, i, strip_start(cols, k + 1) - start)


cdef int require_halo(const real[:, ::1] x, const real[:, :, ::1] halo) except -1:
    require(
        halo.shape[0] == strip_count(x.shape[1]) and halo.shape[1] == x.shape[0] and halo.shape[2] == 4,
        "halo must have shape (strips, rows, 4)",
    )
    return 0


def gradient(
    int kind,
    const real[:, ::1] x not None,
    const real[:, ::1] omega not None,
    const real[:, ::1] cosine not None,
    const real[:, ::1] sine not None,
    const real[:, ::1] edge not None,
    double mu,
    double kappa,
    real[:, :, ::1] halo not None,
    int threads,
    real[:, ::1] out not None,
):
    """Write the gradient at x, with the weights as they are given, to out; halo is what measure_halo(x) wrote."""
    cdef Weights weights
    cdef Py_ssize_t k, n = strip_count(x.shape[1])
    fill_weights(&weights, kind, x, omega, cosine, sine, edge, mu, kappa)
    require_halo(x, halo)
    require_like(x, out, "out")
    with nogil:
        for k in prange(n, num_threads=threads, schedule="static"):
            walk_strip(
                kind, x, &weights, halo, k,
                <real *> NULL, <real *> NULL, <const real *> NULL, <real> 0, <real> 0, <real> 0,
                halo, <double *> NULL, &out[0, 0],
            )


def accelerate(
    int kind,
    real[:, ::1] v not None,
    real[:, ::1] u not None,
    const real[:, ::1] steps not None,
    double momentum,
    double low,
    double high,
    const real[:, ::1] omega not None,
    const real[:, ::1] cosine not None,
    const real[:, ::1] sine not None,
    const real[:, ::1] edge not None,
    double mu,
    double kappa,
    int threads,
    const real[:, :, ::1] halo not None,
    real[:, :, ::1] halo_out not None,
    double[:, ::1] totals not None,
):
    """Take one step of accelerated descent in one pass over the image.

    n = clip(v - steps gradient(v), low, high) where steps is positive; v = n + momentum (n - u); u = n. Reads and
    updates v and u; halo holds v's values before, halo_out after. sum(totals[:, 0]) is that of (n - u)^2, and
    sum(totals[:, 1]) that of (v - n)(n - u), positive when the momentum points uphill.
    """
    cdef Weights weights
    cdef Py_ssize_t k, n = strip_count(v.shape[1])
    fill_weights(&weights, kind, v, omega, cosine, sine, edge, mu, kappa)
    require_halo(v, halo)
    require_halo(v, halo_out)
    require_like(v, u, "u")
    require_like(v, steps, "steps")
    require(totals.shape[0] == n and totals.shape[1] == 2, "totals must have shape (strips, 2)")
    with nogil:
        for k in prange(n, num_threads=threads, schedule="static"):
            walk_strip(
                kind, v, &weights, halo, k, &v[0, 0], &u[0, 0], &steps[0, 0],
                <real> momentum, <real> low, <real> high, halo_out, &totals[0, 0], <real *> NULL,
            )


def tensor(const real[:, ::1] x not None, double contrast, bint add, int threads, real[:, :, ::1] out not None):
    """Write the structure tensor of x, damped where gradients exceed contrast, to out; with add, add it to out.

    out, of shape (3, (rows + 1) // 2, (cols + 1) // 2), has the means of Jxx, Jxy and Jyy over blocks of 2 x 2 pixels.
    """
    cdef Py_ssize_t h, rows = x.shape[0], cols = x.shape[1], halves = (rows + 1) // 2
    require(rows > 0 and cols > 0 and contrast > 0, "x must not be empty, contrast must be positive")
    require(
        out.shape[0] == 3 and out.shape[1] == halves and out.shape[2] == (cols + 1) // 2,
        "out must have shape (3, (rows + 1) // 2, (cols + 1) // 2)",
    )
    with nogil:
        for h in prange(halves, num_threads=threads, schedule="static"):
            tensor_row(
                &x[0, 0], h, rows, cols, <real> (1 / (contrast * contrast)), add,
                &out[0, h, 0], &out[1, h, 0], &out[2, h, 0],
            )


def blur(
    real[:, ::1] plane not None, const double[::1] taps not None, int threads, real[:, ::1] scratch not None
):
    """Convolve plane with the symmetric kernel taps (centre first) along both axes, in place, reflecting the borders.

    scratch has shape (rows, cols + 2 (len(taps) - 1)).
    """
    cdef Py_ssize_t i, rows = plane.shape[0], cols = plane.shape[1], radius = taps.shape[0] - 1
    require(rows > 0 and cols > 0 and radius >= 0, "plane and taps must not be empty")
    require(
        scratch.shape[0] == rows and scratch.shape[1] == cols + 2 * radius,
        "scratch must have shape (rows, cols + 2 (len(taps) - 1))",
    )
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            blur_columns_row(&plane[0, 0], i, rows, cols, &taps[0], radius, &scratch[i, 0])
        for i in prange(rows, num_threads=threads, schedule="static"):
            blur_rows_row(&scratch[i, 0], cols, &taps[0], radius, &plane[i, 0])


def orient(
    const real[:, :, ::1] tensor not None,
    double strength,
    int threads,
    real[:, ::1] cosine_out not None,
    real[:, ::1] sine_out not None,
    real[:, ::1] edge_out not None,
):
    """Write cosine and sine of twice the normal's angle, and how far there is an edge, from the blurred tensor.

    With d the length of (Jxx - Jyy, 2 Jxy) and tr the trace, s = tr (d / tr)^4 / strength^2 and edge = s / (1 + s).
    """
    cdef Py_ssize_t i, rows = cosine_out.shape[0], cols = cosine_out.shape[1]
    cdef Py_ssize_t high = (rows + 1) // 2, halves = (cols + 1) // 2, far
    require_like(cosine_out, sine_out, "sine_out")
    require_like(cosine_out, edge_out, "edge_out")
    require(
        rows > 0 and cols > 0 and tensor.shape[0] == 3 and tensor.shape[1] == high and tensor.shape[2] == halves,
        "tensor must have shape (3, (rows + 1) // 2, (cols + 1) // 2)",
    )
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            far = min(max(i // 2 + (1 if i & 1 else -1), 0), high - 1)
            spread_row(&tensor[0, i // 2, 0], &tensor[0, far, 0], halves, cols, &cosine_out[i, 0])
            spread_row(&tensor[1, i // 2, 0], &tensor[1, far, 0], halves, cols, &sine_out[i, 0])
            spread_row(&tensor[2, i // 2, 0], &tensor[2, far, 0], halves, cols, &edge_out[i, 0])
            orient_row(
                &cosine_out[i, 0], &sine_out[i, 0], &edge_out[i, 0],
                <real> (1 / (strength * strength)), <real> 1e-20, cols,
            )
