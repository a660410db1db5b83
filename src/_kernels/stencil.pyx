"""Losses made of local differences: their gradient, and the accelerated projected sweep that descends them.

Three operators, each the gradient of a quadratic in x once its weights are frozen:

- FIRST: first differences; a pixel's square is Q = (l^2 + r^2 + u^2 + d^2) / 2, of the differences to its neighbours.
- SECOND: second differences; Q = dxx^2 + dyy^2 + (the squared mixed differences of the four 2 x 2 cells around) / 2.
- EDGE: Q = uxx^2 + uyy^2 + 2 uxy^2 - z Hnn^2 in the image's interior, where Hnn is the second derivative along the
  normal of the structure tensor and z tells how far there is an edge; and in every 2 x 2 cell
  mu/2 (|g|^2 - z (n.g)^2 + kappa/4 (2 - z) h^2) of its mean differences g and its mixed difference h.

A difference that does not fit into the image counts nothing. The energy is sum scale (sqrt(epsilon^2 + Q) - epsilon),
or sum Q, and the weight of a pixel is scale / sqrt(epsilon^2 + Q), or 2. Images are of shape (channels, rows, cols);
the channels share the weights, for which Q is its mean over them. Weights are of shape (planes, rows, cols): omega, and
for EDGE the cosine and the sine of twice the normal's angle, and z.

A sweep reads each array once: down a tile of the image it keeps three rows of the point from which it steps, makes the
weighted differences of one row at a time, and adds them to the gradients of that row and of the two beside it, of which
they complete the upper one. Tiles overlap in what they read, never in what they write, and are what `threads` share
out, so the result does not depend on how many there are; where nothing is free a sweep needs none. Sums run in the
image's dtype down 64 rows, then in double, in a fixed order.

A constant is a variable of the image's type here: Cython writes a literal as a double, and what it meets with it.

Not checked: that the arrays of one call do not overlap.
"""

from cython.parallel cimport prange
from libc.math cimport sqrt

include "rows.pxi"

cdef enum:
    FIRST = 0
    SECOND = 1
    EDGE = 2

cdef enum:
    # What a walk over a tile writes.
    GRADIENT = 0
    STEP = 1
    DIAGONAL = 2

cdef enum:
    BAND = 128  # rows of a tile, about
    WIDEST = 2048  # columns of a tile, at most, but for up to 15 that align the next one
    ROOM = WIDEST + 3 * PAD
    CHUNK = 256  # pixels whose squares, products or energies are at hand; even
    REACH = 3  # pixels on either side of one that are its neighbourhood


cdef struct Tile:
    # From row `top` to the one before `bottom`, from column `start` to the one before `stop`.
    Py_ssize_t top
    Py_ssize_t bottom
    Py_ssize_t start
    Py_ssize_t stop


cdef struct Weights:
    # Rows of omega and, of EDGE alone, of the cosine, the sine and z; `plane` is the distance from one to the next.
    const void *omega
    Py_ssize_t plane
    double mu
    double kappa


# ---- a pixel's square, its weight ----

cdef inline real square_at(
    int kind, const real *x, const real *cosine, const real *sine, const real *edge,
    Py_ssize_t i, Py_ssize_t j, Py_ssize_t rows, Py_ssize_t cols, bint interior,
) noexcept nogil:
    # With a true literal for interior the compiler drops the tests of the border. The pointers are at pixel (i, j).
    cdef bint left = interior or j > 0, right = interior or j + 1 < cols
    cdef bint up = interior or i > 0, down = interior or i + 1 < rows
    cdef real dxx = 0, dyy = 0, dxy, normal, total = 0, half = <real> 0.5, twice = x[0] + x[0]
    if kind == FIRST:
        if left:
            total += (x[0] - (x - 1)[0]) * (x[0] - (x - 1)[0])
        if right:
            total += (x[0] - x[1]) * (x[0] - x[1])
        if up:
            total += (x[0] - (x - cols)[0]) * (x[0] - (x - cols)[0])
        if down:
            total += (x[0] - x[cols]) * (x[0] - x[cols])
        return half * total
    if left and right:
        dxx = (x - 1)[0] - twice + x[1]
    if up and down:
        dyy = (x - cols)[0] - twice + x[cols]
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
        return dxx * dxx + dyy * dyy + half * total
    if not (left and right and up and down):
        return 0
    dxy = half * (((x - cols - 1)[0] + x[cols + 1]) - ((x - cols + 1)[0] + x[cols - 1]))  # twice uxy
    normal = half * (dxx + dyy + cosine[0] * (dxx - dyy) + sine[0] * dxy)
    total = dxx * dxx + dyy * dyy + half * dxy * dxy - edge[0] * normal * normal
    return total if total > 0 else 0


cdef inline void add_squares_between(
    int kind, const real *x, const real *omega, Py_ssize_t plane, Py_ssize_t i, Py_ssize_t first, Py_ssize_t last,
    Py_ssize_t rows, Py_ssize_t cols, bint interior, real *sums,
) noexcept nogil:
    # x and omega point to the first pixel of row i, sums belong to those from `first` on.
    cdef Py_ssize_t j
    for j in range(first, last):
        sums[j - first] += square_at(
            kind, x + j, omega + plane + j, omega + 2 * plane + j, omega + 3 * plane + j, i, j, rows, cols, interior
        )


cdef inline void sum_squares(
    int kind, const real *x, Py_ssize_t channels, const real *omega, Py_ssize_t plane, Py_ssize_t i,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t rows, Py_ssize_t cols, real *sums,
) noexcept nogil:
    # Over the channels, for at most CHUNK pixels of row i, at the border or not.
    cdef Py_ssize_t left = max(first, 1), right = min(last, cols - 1)
    if not 0 < i < rows - 1 or left >= right:
        left = right = last
    clear(sums, CHUNK)
    for _ in range(channels):
        if kind == FIRST:
            add_squares_between(FIRST, x, omega, plane, i, left, right, rows, cols, True, sums + (left - first))
        elif kind == SECOND:
            add_squares_between(SECOND, x, omega, plane, i, left, right, rows, cols, True, sums + (left - first))
        else:
            add_squares_between(EDGE, x, omega, plane, i, left, right, rows, cols, True, sums + (left - first))
        add_squares_between(kind, x, omega, plane, i, first, left, rows, cols, False, sums)
        add_squares_between(kind, x, omega, plane, i, right, last, rows, cols, False, sums + (right - first))
        x += rows * cols


cdef void weigh_row(
    int kind, const real *x, Py_ssize_t channels, real *omega, Py_ssize_t plane, real epsilon, real scale,
    Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols,
) noexcept nogil:
    cdef real[CHUNK] sums
    cdef Py_ssize_t first = 0, j
    cdef real one = 1, share = one / channels, squared = epsilon * epsilon
    while first < cols:
        sum_squares(
            kind, x, channels, omega, plane, i, first, min(first + CHUNK, cols), rows, cols, sums
        )
        for j in range(min(CHUNK, cols - first)):
            omega[first + j] = scale / <real> sqrt(squared + share * sums[j])
        first += CHUNK
    if kind == EDGE:
        omega[0] = omega[cols - 1] = 0
        if i == 0 or i == rows - 1:
            clear(omega, cols)


cdef double tally(double *terms) noexcept nogil:
    # The sum of CHUNK terms, halves upon halves: in one order, and in vectors.
    cdef Py_ssize_t k, half = CHUNK // 2
    while half >= 8:
        for k in range(half):
            terms[k] += terms[k + half]
        half //= 2
    for k in range(1, 8):
        terms[0] += terms[k]
    return terms[0]


cdef inline void add_cells(
    const real *x, const real *omega, Py_ssize_t plane, double mu, double kappa, Py_ssize_t cols, Py_ssize_t count,
    double *terms,
) noexcept nogil:
    # The energies of the cells whose top left pixels are at the pointers.
    cdef Py_ssize_t j
    cdef double horizontal, vertical, mixed, along, cosine, sine, edge
    for j in range(count):
        cosine = omega[plane + j]
        sine = omega[2 * plane + j]
        edge = omega[3 * plane + j]
        horizontal = (<double> x[j + 1] - x[j]) + (<double> x[cols + j + 1] - x[cols + j])
        vertical = (<double> x[cols + j] - x[j]) + (<double> x[cols + j + 1] - x[j + 1])
        mixed = (<double> x[cols + j + 1] - x[cols + j]) - (<double> x[j + 1] - x[j])
        along = (
            (1 + cosine) * horizontal * horizontal + (1 - cosine) * vertical * vertical
            + 2 * sine * horizontal * vertical
        ) / 2
        terms[j] += mu / 8 * (
            horizontal * horizontal + vertical * vertical - edge * along + kappa * (2 - edge) * mixed * mixed
        )


cdef double row_energy(
    int kind, const real *x, Py_ssize_t channels, const real *omega, Py_ssize_t plane, double epsilon, double scale,
    double mu, double kappa, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols,
) noexcept nogil:
    # Of row i and the cells below it; x and omega point to its first pixel.
    cdef real[CHUNK] squares
    cdef double[CHUNK] terms
    cdef double total = 0, square
    cdef Py_ssize_t first = 0, last, c, j
    while first < cols:
        last = min(first + CHUNK, cols)
        sum_squares(kind, x, channels, omega, plane, i, first, last, rows, cols, squares)
        for j in range(CHUNK):
            square = squares[j]
            terms[j] = square
            if epsilon > 0:
                square /= channels
                terms[j] = channels * scale * square / (sqrt(epsilon * epsilon + square) + epsilon)
        if kind == EDGE and i + 1 < rows:
            for c in range(channels):
                add_cells(
                    x + c * rows * cols + first, omega + first, plane, mu, kappa, cols, min(last, cols - 1) - first,
                    terms,
                )
        total += tally(terms)
        first = last
    return total


# ---- the operator, row by row ----

cdef inline void first_fields(
    const real *x, const real *below, const real *omega, const real *omega_below,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t width, real *p, real *q,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real half = <real> 0.5
    for j in range(first, last):
        p[j] = half * (omega[j] + omega[j + 1]) * (x[j + 1] - x[j])
    for j in range(width):
        q[j] = half * (omega[j] + omega_below[j]) * (below[j] - x[j])


cdef inline void second_fields(
    const real *above, const real *x, const real *below, const real *omega, const real *omega_below,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t width, real *p, real *q, real *t,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real half = <real> 0.5
    for j in range(first, last):
        p[j] = omega[j] * (((x - 1)[j] + x[j + 1]) - (x[j] + x[j]))
        t[j] = half * ((omega[j] + omega[j + 1]) + (omega_below[j] + omega_below[j + 1])) * (
            (x[j] - x[j + 1]) - (below[j] - below[j + 1])
        )
    for j in range(width):
        q[j] = omega[j] * ((above[j] + below[j]) - (x[j] + x[j]))


cdef inline void edge_fields(
    const real *above, const real *x, const real *below,
    const real *omega, const real *cosine, const real *sine, const real *edge, real mu, real kappa,
    Py_ssize_t first, Py_ssize_t last, real *p, real *q, real *r, real *a, real *b, real *t,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real twice, dxx, dyy, dxy, normal, k, across, top, bottom, horizontal, vertical, half_edge, main, cross
    cdef real one = 1, half = <real> 0.5, eighth = <real> 0.125, mixed = half * mu * kappa, quarter = <real> 0.25 * mu
    for j in range(first, last):
        twice = x[j] + x[j]
        dxx = ((x - 1)[j] + x[j + 1]) - twice
        dyy = (above[j] + below[j]) - twice
        dxy = ((above - 1)[j] + below[j + 1]) - (above[j + 1] + (below - 1)[j])  # four times uxy
        half_edge = half * edge[j]
        normal = (dxx + dyy) + (cosine[j] * (dxx - dyy) + half * sine[j] * dxy)  # twice Hnn
        k = half * half_edge * omega[j] * normal
        across = k * cosine[j]
        p[j] = omega[j] * dxx - (k + across)
        q[j] = omega[j] * dyy - (k - across)
        r[j] = eighth * omega[j] * dxy - half * k * sine[j]
        top = x[j + 1] - x[j]
        bottom = below[j + 1] - below[j]
        horizontal = top + bottom
        vertical = (below[j] - x[j]) + (below[j + 1] - x[j + 1])
        main = (one - half_edge) * horizontal - half_edge * (cosine[j] * horizontal + sine[j] * vertical)
        cross = (one - half_edge) * vertical - half_edge * (sine[j] * horizontal - cosine[j] * vertical)
        a[j] = quarter * (main + cross)
        b[j] = quarter * (main - cross)
        t[j] = mixed * (one - half_edge) * (bottom - top)


cdef inline void scatter_row(
    int kind, const real *p, const real *q, const real *r, const real *a, const real *b, const real *t,
    Py_ssize_t width, real *upper, real *lower, real *out,
) noexcept nogil:
    # Add the fields of a row to the gradients of the row above it, which that completes (out), of its own and of the
    # row below: upper holds what the row above has so far, lower what this row has; they move on by a row.
    cdef Py_ssize_t j
    cdef real two = 2, turn, up, middle, down
    for j in range(width):
        if kind == FIRST:
            up = 0
            middle = ((p - 1)[j] - p[j]) - q[j]
            down = q[j]
        elif kind == SECOND:
            turn = t[j] - (t - 1)[j]
            up = q[j]
            middle = ((p - 1)[j] + p[j + 1]) - two * (p[j] + q[j]) + turn
            down = q[j] - turn
        else:
            turn = r[j + 1] - (r - 1)[j]
            up = q[j] + turn
            middle = ((p - 1)[j] + p[j + 1]) - two * (p[j] + q[j]) + ((t[j] - a[j]) + ((b - 1)[j] - (t - 1)[j]))
            down = (q[j] - turn) + (((a - 1)[j] + (t - 1)[j]) - (b[j] + t[j]))
        out[j] = upper[j] + up
        upper[j] = lower[j] + middle
        lower[j] = down


# ---- its diagonal: the fields are the weights of the squared differences, scattered by the squares of the taps ----

cdef inline void first_weights(
    const real *omega, const real *omega_below, Py_ssize_t first, Py_ssize_t last, Py_ssize_t width, real *p, real *q
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real half = <real> 0.5
    for j in range(first, last):
        p[j] = half * (omega[j] + omega[j + 1])
    for j in range(width):
        q[j] = half * (omega[j] + omega_below[j])


cdef inline void second_weights(
    const real *omega, const real *omega_below, Py_ssize_t first, Py_ssize_t last, Py_ssize_t width,
    real *p, real *q, real *t,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real half = <real> 0.5
    for j in range(first, last):
        p[j] = omega[j]
        t[j] = half * ((omega[j] + omega[j + 1]) + (omega_below[j] + omega_below[j + 1]))
    for j in range(width):
        q[j] = omega[j]


cdef inline void edge_weights(
    const real *omega, const real *cosine, const real *sine, const real *edge, real mu, real kappa,
    Py_ssize_t first, Py_ssize_t last, real *p, real *q, real *r, real *a, real *b, real *t,
) noexcept nogil:
    # t: of the pixel itself, squared uxx and uyy, and their product, of which its taps are -2 in both.
    cdef Py_ssize_t j
    cdef real one = 1, two = 2, four = 4, half = <real> 0.5, quarter = <real> 0.25, stiff = one + kappa
    cdef real along, across, k, cells, turn
    for j in range(first, last):
        along = half * (one + cosine[j])
        across = half * (one - cosine[j])
        k = omega[j] * edge[j]
        p[j] = omega[j] - k * along * along
        q[j] = omega[j] - k * across * across
        r[j] = quarter * quarter * (omega[j] + omega[j] - k * sine[j] * sine[j])
        t[j] = four * ((p[j] + q[j]) - two * k * along * across)
        cells = stiff * (two - edge[j])
        turn = edge[j] * sine[j]
        a[j] = quarter * mu * (cells - turn)
        b[j] = quarter * mu * (cells + turn)


cdef inline void scatter_weights(
    int kind, const real *p, const real *q, const real *r, const real *a, const real *b, const real *t,
    Py_ssize_t width, real *upper, real *lower, real *out,
) noexcept nogil:
    # As scatter_row.
    cdef Py_ssize_t j
    cdef real four = 4, beside, up, middle, down
    for j in range(width):
        if kind == FIRST:
            up = 0
            middle = ((p - 1)[j] + p[j]) + q[j]
            down = q[j]
        elif kind == SECOND:
            beside = t[j] + (t - 1)[j]
            up = q[j]
            middle = ((p - 1)[j] + p[j + 1]) + four * (p[j] + q[j]) + beside
            down = q[j] + beside
        else:
            up = q[j] + (r[j + 1] + (r - 1)[j])
            middle = t[j] + ((p - 1)[j] + p[j + 1]) + (a[j] + (b - 1)[j])
            down = up + ((a - 1)[j] + b[j])
        out[j] = upper[j] + up
        upper[j] = lower[j] + middle
        lower[j] = down


cdef void steps_row(
    const real *diagonal, const unsigned char *free, real safety, real floor, Py_ssize_t cols, real *out
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real one = 1, step
    for j in range(cols):
        step = one / (safety * (diagonal[j] if diagonal[j] > floor else floor))
        out[j] = step if free[j] else 0


# ---- a tile ----

cdef inline void load_row(
    const real *x, const real *previous, real momentum, Py_ssize_t first, Py_ssize_t last, real *out
) noexcept nogil:
    # The point from which a step is taken: beyond x, as x lies beyond the iterate before.
    cdef Py_ssize_t j
    for j in range(first, last):
        out[j] = x[j] + momentum * (x[j] - previous[j])


cdef inline void step_off(
    const real *v, const real *gradient, const real *steps, const real *x, real low, real high, Py_ssize_t width,
    real *out, real *slope, real *change,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real new, move
    for j in range(width):
        new = clip(v[j] - steps[j] * gradient[j], low, high)
        new = new if steps[j] > 0 else x[j]
        move = new - x[j]
        slope[j] += (v[j] - new) * move
        change[j] += move * move
        out[j] = new


cdef inline Py_ssize_t strip_count(Py_ssize_t cols) noexcept nogil:
    return (cols + WIDEST - 1) // WIDEST


cdef inline Py_ssize_t band_count(Py_ssize_t rows) noexcept nogil:
    return max(1, (rows + BAND // 2) // BAND)


cdef inline Tile tile_of_all(Py_ssize_t k, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # The k-th of the tiles that cover an image.
    cdef Py_ssize_t strips = strip_count(cols), bands = band_count(rows), band = k // strips, strip = k % strips
    cdef Tile tile
    tile.top = rows * band // bands
    tile.bottom = rows * (band + 1) // bands
    tile.start = (cols * strip // strips) & ~<Py_ssize_t> 15
    tile.stop = cols if strip + 1 == strips else (cols * (strip + 1) // strips) & ~<Py_ssize_t> 15
    return tile


cdef inline Tile tile_of(const int *bounds) noexcept nogil:
    cdef Tile tile
    tile.top = bounds[0]
    tile.bottom = bounds[1]
    tile.start = bounds[2]
    tile.stop = bounds[3]
    return tile


cdef void walk_tile(
    int kind, const real *x, const real *previous, Py_ssize_t rows, Py_ssize_t cols, const Weights *weights,
    Tile tile, const real *steps, real momentum, real low, real high, double *totals, int what, real *out,
) noexcept nogil:
    # Writes what is asked for to out. Every buffer is an array of its own: gcc sees that they do not overlap, and
    # checks nothing before it goes along a row.
    cdef Py_ssize_t top = tile.top, bottom = tile.bottom, start = tile.start, stop = tile.stop
    cdef Py_ssize_t width = stop - start, room = width + 2 * PAD, i, at, loaded
    cdef bint at_left = start == 0, at_right = stop == cols, at_bottom
    # The fields are needed from one column before the tile to one behind it, and are 0 where there is none.
    cdef Py_ssize_t first = 0 if at_left else -1, last = width - 1 if at_right else width + 1
    cdef real[3][ROOM] old  # three rows of the point from which the step is taken, by row % 3
    cdef real[ROOM] p
    cdef real[ROOM] q
    cdef real[ROOM] r
    cdef real[ROOM] a
    cdef real[ROOM] b
    cdef real[ROOM] t
    cdef real[ROOM] upper
    cdef real[ROOM] lower
    cdef real[ROOM] gradient
    cdef real[ROOM] change
    cdef real[ROOM] slope
    cdef real *above
    cdef real *here
    cdef real *below
    cdef real *new
    cdef const real *omega
    cdef const real *omega_below
    cdef double total_change = 0, total_slope = 0
    for i in range(3):
        clear(old[i], room)
    clear(p, room)
    clear(q, room)
    clear(r, room)
    clear(a, room)
    clear(b, room)
    clear(t, room)
    clear(upper, width)
    clear(lower, width)
    clear(change, width)
    clear(slope, width)
    loaded = max(top - 2, 0)
    for i in range(max(top - 1, 0), bottom + 1):
        # The fields of row i complete the gradient of row i - 1.
        at_bottom = i + 1 >= rows
        while what != DIAGONAL and loaded < min(i + 2, rows):
            at = loaded * cols + start
            load_row(
                x + at, previous + at, momentum, 0 if at_left else -2, width if at_right else width + 2,
                &old[loaded % 3][PAD],
            )
            loaded += 1
        if i < rows:
            here = &old[i % 3][PAD]
            above = &old[(i + 2) % 3][PAD] if i > 0 else here
            below = here if at_bottom else &old[(i + 1) % 3][PAD]
            omega = <const real *> weights.omega + i * cols + start
            omega_below = omega if at_bottom else omega + cols
            if what == DIAGONAL:
                if kind == FIRST:
                    first_weights(omega, omega_below, first, last, width, p + PAD, q + PAD)
                elif kind == SECOND:
                    second_weights(omega, omega_below, first, last, width, p + PAD, q + PAD, t + PAD)
                else:
                    edge_weights(
                        omega, omega + weights.plane, omega + 2 * weights.plane, omega + 3 * weights.plane,
                        <real> weights.mu, <real> weights.kappa, first, last,
                        p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD,
                    )
            elif kind == FIRST:
                first_fields(here, below, omega, omega_below, first, last, width, p + PAD, q + PAD)
            elif kind == SECOND:
                second_fields(above, here, below, omega, omega_below, first, last, width, p + PAD, q + PAD, t + PAD)
            else:
                edge_fields(
                    above, here, below, omega, omega + weights.plane, omega + 2 * weights.plane,
                    omega + 3 * weights.plane, <real> weights.mu, <real> weights.kappa, first, last,
                    p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD,
                )
            if kind == SECOND and at_left:
                p[PAD] = 0
        if at_bottom:
            clear(a, room)
            clear(b, room)
            clear(t, room)
        if i == rows:
            clear(p, room)
            clear(r, room)
        if i == rows or kind != EDGE and (at_bottom or kind == SECOND and i == 0):
            clear(q, room)
        new = &gradient[0] if what == STEP or i <= top else out + (i - 1) * cols + start
        # A literal for the kind is what a loop is compiled for.
        if what == DIAGONAL:
            if kind == FIRST:
                scatter_weights(FIRST, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, upper, lower, new)
            elif kind == SECOND:
                scatter_weights(SECOND, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, upper, lower, new)
            else:
                scatter_weights(EDGE, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, upper, lower, new)
        elif kind == FIRST:
            scatter_row(FIRST, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, upper, lower, new)
        elif kind == SECOND:
            scatter_row(SECOND, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, upper, lower, new)
        else:
            scatter_row(EDGE, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, upper, lower, new)
        if i <= top or what != STEP:
            continue
        at = (i - 1) * cols + start
        step_off(
            &old[(i + 2) % 3][PAD], gradient, steps + at, x + at, low, high, width, out + at, slope, change
        )
        if (i - top) % BLOCK == 0 or i == bottom:
            total_change += flush_total(change, width)
            total_slope += flush_total(slope, width)
    if what == STEP:
        totals[0] = total_change
        totals[1] = total_slope


# ---- the structure tensor ----

cdef inline void add_products(
    const real *x, Py_ssize_t up, Py_ssize_t down, Py_ssize_t left, Py_ssize_t right, real scale_x, real scale_y,
    Py_ssize_t first, Py_ssize_t last, real *xx, real *xy, real *yy,
) noexcept nogil:
    # The products of the gradients of a row's pixels, whose neighbours are so far away; sums begin at `first`.
    cdef Py_ssize_t j
    cdef real gx, gy
    for j in range(first, last):
        gx = scale_x * (x[j + right] - (x - left)[j])
        gy = scale_y * (x[j + down] - (x - up)[j])
        xx[j - first] += gx * gx
        xy[j - first] += gx * gy
        yy[j - first] += gy * gy


cdef inline void add_damped(
    const real *xx, const real *xy, const real *yy, real inverse, Py_ssize_t width, real *jxx, real *jxy, real *jyy
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real one = 1, weight
    for j in range(width):
        weight = one / <real> sqrt(one + inverse * (xx[j] + yy[j]))
        jxx[j] += weight * xx[j]
        jxy[j] += weight * xy[j]
        jyy[j] += weight * yy[j]


cdef inline void join_pairs(const real *sums, Py_ssize_t first, Py_ssize_t last, real share, real *out) noexcept nogil:
    cdef Py_ssize_t j
    for j in range((last - first) // 2):
        out[first // 2 + j] = share * (sums[2 * j] + sums[2 * j + 1])
    if (last - first) % 2:
        out[last // 2] = share * (sums[last - 1 - first] + sums[last - 1 - first])


cdef void tensor_row(
    const real *x, Py_ssize_t channels, Py_ssize_t h, Py_ssize_t rows, Py_ssize_t cols, real inverse,
    real *jxx, real *jxy, real *jyy,
) noexcept nogil:
    # The means over the 2 x 2 blocks of block row h, and over the channels; x is the image.
    cdef real[CHUNK] xx
    cdef real[CHUNK] xy
    cdef real[CHUNK] yy
    cdef real[CHUNK] damped_xx
    cdef real[CHUNK] damped_xy
    cdef real[CHUNK] damped_yy
    cdef Py_ssize_t first = 0, last, c, i, left, right, up, down
    cdef real one = 1, half = <real> 0.5, share = one / (2 * channels * min(2, rows - 2 * h)), scale
    cdef const real *row
    while first < cols:
        last = min(first + CHUNK, cols)
        left = max(first, 1)
        right = max(min(last, cols - 1), left)
        clear(damped_xx, CHUNK)
        clear(damped_xy, CHUNK)
        clear(damped_yy, CHUNK)
        for i in range(2 * h, min(2 * h + 2, rows)):
            up = cols if i > 0 else 0
            down = cols if i + 1 < rows else 0
            scale = half if up > 0 and down > 0 else one
            clear(xx, CHUNK)
            clear(xy, CHUNK)
            clear(yy, CHUNK)
            for c in range(channels):
                row = x + (c * rows + i) * cols
                add_products(
                    row, up, down, 1, 1, half, scale, left, right,
                    xx + (left - first), xy + (left - first), yy + (left - first),
                )
                # A column at the border has one neighbour, or none.
                if first == 0:
                    add_products(row, up, down, 0, min(1, cols - 1), one, scale, 0, 1, xx, xy, yy)
                if last == cols and cols > 1:
                    add_products(
                        row, up, down, 1, 0, one, scale, cols - 1, cols,
                        xx + (cols - 1 - first), xy + (cols - 1 - first), yy + (cols - 1 - first),
                    )
            add_damped(xx, xy, yy, inverse / channels, last - first, damped_xx, damped_xy, damped_yy)
        join_pairs(damped_xx, first, last, share, jxx)
        join_pairs(damped_xy, first, last, share, jxy)
        join_pairs(damped_yy, first, last, share, jyy)
        first = last


cdef inline Py_ssize_t reflect(Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    # Symmetric about the outer border of the first and the last element, however far outside.
    i = i % (2 * n)
    if i < 0:
        i += 2 * n
    return i if i < n else 2 * n - 1 - i


cdef void blur_columns_row(
    const real *plane, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols, const double *taps, Py_ssize_t radius, real *out
) noexcept nogil:
    # out has `radius` elements more on either side, which are filled by reflection. Two pairs of rows at a time: half
    # the reading and writing of out.
    cdef Py_ssize_t j, k = 1
    cdef const real *here = plane + i * cols
    cdef const real *a
    cdef const real *b
    cdef const real *c
    cdef const real *d
    cdef real tap = <real> taps[0], further
    cdef real *inner = out + radius
    for j in range(cols):
        inner[j] = tap * here[j]
    while k <= radius:
        a = plane + reflect(i - k, rows) * cols
        b = plane + reflect(i + k, rows) * cols
        c = plane + reflect(i - k - 1, rows) * cols
        d = plane + reflect(i + k + 1, rows) * cols
        tap = <real> taps[k]
        further = <real> taps[k + 1] if k < radius else 0
        for j in range(cols):
            inner[j] += tap * (a[j] + b[j]) + further * (c[j] + d[j])
        k += 2
    for k in range(1, radius + 1):
        (inner - k)[0] = inner[reflect(-k, cols)]
        inner[cols - 1 + k] = inner[reflect(cols - 1 + k, cols)]


cdef void blur_rows_row(
    const real *padded, Py_ssize_t cols, const double *taps, Py_ssize_t radius, real *out
) noexcept nogil:
    cdef Py_ssize_t j, k = 1, next
    cdef const real *inner = padded + radius
    cdef real tap = <real> taps[0], further
    for j in range(cols):
        out[j] = tap * inner[j]
    while k <= radius:
        tap = <real> taps[k]
        further = <real> taps[k + 1] if k < radius else 0
        next = k + 1 if k < radius else k
        for j in range(cols):
            out[j] += (
                tap * ((inner - k)[j] + (inner + k)[j]) + further * ((inner - next)[j] + (inner + next)[j])
            )
        k += 2


cdef inline void spread_row(
    const real *near, const real *far, Py_ssize_t halves, Py_ssize_t cols, real *out
) noexcept nogil:
    # Bilinear interpolation of a row of block means at the pixels.
    cdef Py_ssize_t j
    cdef real left, here, right, three = 3, sixteenth = <real> 0.0625
    # In two loops: one that writes both was seen to round its last columns differently from level to level.
    for j in range(1, halves - 1):
        out[2 * j] = sixteenth * (three * (three * near[j] + far[j]) + (three * (near - 1)[j] + (far - 1)[j]))
    for j in range(1, halves - 1):
        out[2 * j + 1] = sixteenth * (three * (three * near[j] + far[j]) + (three * near[j + 1] + far[j + 1]))
    j = 0
    while j < halves:
        here = three * near[j] + far[j]
        left = three * near[max(j - 1, 0)] + far[max(j - 1, 0)]
        right = three * near[min(j + 1, halves - 1)] + far[min(j + 1, halves - 1)]
        out[2 * j] = sixteenth * (three * here + left)
        if 2 * j + 1 < cols:
            out[2 * j + 1] = sixteenth * (three * here + right)
        j += max(halves - 1, 1)


cdef inline void orient_row(real *jxx, real *jxy, real *jyy, real inverse, real tiny, Py_ssize_t width) noexcept nogil:
    # In place: the tensor becomes the cosine and sine of twice the normal's angle, and how far there is an edge.
    cdef Py_ssize_t j
    cdef real difference, twice, trace, length, scale, ratio, strength, one = 1
    for j in range(width):
        difference = jxx[j] - jyy[j]
        twice = jxy[j] + jxy[j]
        trace = jxx[j] + jyy[j]
        length = <real> sqrt(difference * difference + twice * twice)
        ratio = length / (trace + tiny)
        ratio = ratio * ratio
        strength = trace * inverse * ratio * ratio
        scale = one / (length + tiny)
        jxx[j] = difference * scale
        jxy[j] = twice * scale
        jyy[j] = strength / (one + strength)


# ---- what is known around a pixel, how much neighbours differ ----

cdef Py_ssize_t window_length(Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    return min(i + REACH + 1, n) - max(i - REACH, 0)


cdef double known_around_row(
    const unsigned char[:, ::1] free, Py_ssize_t i, unsigned char *columns
) noexcept nogil:
    # The sum over the free pixels of row i of the share of known ones around each.
    cdef Py_ssize_t rows = free.shape[0], cols = free.shape[1], j, k, top = max(i - REACH, 0)
    cdef Py_ssize_t height = window_length(i, rows)
    cdef int known, inner = 0
    cdef double total = 0
    for j in range(cols):
        columns[j] = 0
    for k in range(height):
        for j in range(cols):
            columns[j] += 1 - free[top + k, j]
    for j in range(REACH, cols - REACH):
        known = 0
        for k in range(2 * REACH + 1):
            known += columns[j - REACH + k]
        inner += known * free[i, j]
    total = <double> inner / (height * (2 * REACH + 1) - 1)
    j = 0
    while j < cols:
        if REACH <= j < cols - REACH:
            j = cols - REACH
            continue
        known = 0
        for k in range(max(j - REACH, 0), min(j + REACH + 1, cols)):
            known += columns[k]
        total += <double> (known * free[i, j]) / max(height * window_length(j, cols) - 1, 1)
        j += 1
    return total


cdef double row_contrast(
    const real *x, const real *below, const unsigned char *free, const unsigned char *free_below, Py_ssize_t cols
) noexcept nogil:
    # The squared differences of a row's pixels to those on their right and below, where either is free.
    cdef real[CHUNK] sums
    cdef double[CHUNK] terms
    cdef Py_ssize_t first = 0, j
    cdef real across, down
    clear(sums, CHUNK)
    while first < cols:
        for j in range(min(CHUNK, cols - 1 - first)):
            across = (x[first + j] - x[first + j + 1]) * <real> (free[first + j] | free[first + j + 1])
            down = (x[first + j] - below[first + j]) * <real> (free[first + j] | free_below[first + j])
            sums[j] += across * across + down * down
        first += CHUNK
    down = (x[cols - 1] - below[cols - 1]) * <real> (free[cols - 1] | free_below[cols - 1])
    sums[0] += down * down
    for j in range(CHUNK):
        terms[j] = sums[j]
    return tally(terms)


# ---- what Python calls ----

cdef int require_like(const real[:, :, ::1] x, const real[:, :, ::1] other, str name) except -1:
    require(
        other.shape[0] == x.shape[0] and other.shape[1] == x.shape[1] and other.shape[2] == x.shape[2],
        name + " must have the shape of x",
    )
    return 0


cdef int require_weights(int kind, const real[:, :, ::1] x, const real[:, :, ::1] weights) except -1:
    require(FIRST <= kind <= EDGE, "kind must be 0, 1 or 2")
    require(x.shape[0] > 0 and x.shape[1] > 0 and x.shape[2] > 0, "x must not be empty")
    require(
        weights.shape[0] == (4 if kind == EDGE else 1)
        and weights.shape[1] == x.shape[1] and weights.shape[2] == x.shape[2],
        "weights must have one plane, or four for an edge, of the shape of x",
    )
    return 0


cdef Weights view(const real[:, :, ::1] weights, double mu, double kappa) noexcept:
    cdef Weights out
    out.omega = &weights[0, 0, 0]
    out.plane = weights.shape[1] * weights.shape[2]
    out.mu = mu
    out.kappa = kappa
    return out


def energy(
    int kind,
    const real[:, :, ::1] x not None,
    const real[:, :, ::1] weights not None,
    double epsilon,
    double scale,
    double mu,
    double kappa,
    int threads,
    double[::1] row_sums not None,
):
    """Return the energy of x; epsilon = 0 stands for the sum of the squares. row_sums, of shape (rows,), is scratch.

    Of the weights omega is not read.
    """
    cdef Py_ssize_t i, channels = x.shape[0], rows = x.shape[1], cols = x.shape[2]
    cdef double total = 0
    require_weights(kind, x, weights)
    require(row_sums.shape[0] == rows, "row_sums must have shape (rows,)")
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            row_sums[i] = row_energy(
                kind, &x[0, i, 0], channels, &weights[0, i, 0], rows * cols, epsilon, scale, mu, kappa, i, rows, cols
            )
        for i in range(rows):
            total += row_sums[i]
    return total


def weigh(
    int kind,
    const real[:, :, ::1] x not None,
    double epsilon,
    double scale,
    int threads,
    real[:, :, ::1] weights not None,
):
    """Write the weight of each pixel, scale / sqrt(epsilon^2 + Q), to weights[0]; EDGE: 0 on the border.

    Q is the mean over the channels of x. EDGE reads the other three planes of the weights.
    """
    cdef Py_ssize_t i, channels = x.shape[0], rows = x.shape[1], cols = x.shape[2]
    require_weights(kind, x, weights)
    require(epsilon > 0, "epsilon must be positive")
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            weigh_row(
                kind, &x[0, i, 0], channels, &weights[0, i, 0], rows * cols, <real> epsilon, <real> scale,
                i, rows, cols,
            )


def step_sizes(
    int kind,
    const unsigned char[:, :, ::1] free not None,
    const real[:, :, ::1] weights not None,
    double mu,
    double kappa,
    double safety,
    double floor,
    int threads,
    real[:, :, ::1] steps_out not None,
):
    """Write 1 / (safety max(diagonal, floor)) to steps_out where free, 0 elsewhere."""
    cdef Weights view_of_weights
    cdef Py_ssize_t i, c, k, channels = free.shape[0], rows = free.shape[1], cols = free.shape[2]
    require_weights(kind, steps_out, weights)
    require(
        channels == steps_out.shape[0] and rows == steps_out.shape[1] and cols == steps_out.shape[2],
        "free must have the shape of steps_out",
    )
    view_of_weights = view(weights, mu, kappa)
    with nogil:
        for k in prange(band_count(rows) * strip_count(cols), num_threads=threads, schedule="static"):
            walk_tile(
                kind, <const real *> NULL, <const real *> NULL, rows, cols, &view_of_weights,
                tile_of_all(k, rows, cols),
                <const real *> NULL, <real> 0, <real> 0, <real> 0, <double *> NULL, DIAGONAL, &steps_out[0, 0, 0],
            )
        for i in prange(rows, num_threads=threads, schedule="static"):
            for c in range(channels - 1, -1, -1):
                steps_row(
                    &steps_out[0, i, 0], &free[c, i, 0], <real> safety, <real> floor, cols, &steps_out[c, i, 0]
                )


def gradient(
    int kind,
    const real[:, :, ::1] x not None,
    const real[:, :, ::1] weights not None,
    double mu,
    double kappa,
    int threads,
    real[:, :, ::1] out not None,
):
    """Write the gradient at x, with the weights as they are given, to out."""
    cdef Weights view_of_weights
    cdef Py_ssize_t k, rows = x.shape[1], cols = x.shape[2], tiles = band_count(rows) * strip_count(cols)
    require_weights(kind, x, weights)
    require_like(x, out, "out")
    view_of_weights = view(weights, mu, kappa)
    with nogil:
        for k in prange(tiles * x.shape[0], num_threads=threads, schedule="static"):
            walk_tile(
                kind, &x[k // tiles, 0, 0], &x[k // tiles, 0, 0], rows, cols, &view_of_weights,
                tile_of_all(k % tiles, rows, cols),
                <const real *> NULL, <real> 0, <real> 0, <real> 0, <double *> NULL, GRADIENT, &out[k // tiles, 0, 0],
            )


def accelerate(
    int kind,
    const real[:, :, ::1] x not None,
    const real[:, :, ::1] previous not None,
    const real[:, :, ::1] steps not None,
    double momentum,
    double low,
    double high,
    const real[:, :, ::1] weights not None,
    double mu,
    double kappa,
    const int[:, ::1] tiles not None,
    int threads,
    double[:, ::1] totals not None,
    real[:, :, ::1] out not None,
    double[:, ::1] sums_out not None,
):
    """Take one step of accelerated descent in one pass over the image.

    v = x + momentum (x - previous); out = clip(v - steps gradient(v), low, high) where steps is positive, x elsewhere.
    steps has the channels of x, or one for all. Each of the tiles, of shape (tiles, 4), is a part of out that is
    written: the rows from the first to before the second number, the columns from the third to before the fourth.
    sums_out, of shape (channels, 2), gets the sums of (out - x)^2 and of (v - out)(out - x), which is positive when the
    momentum points uphill; totals, of shape (tiles channels, 2), is scratch.
    """
    cdef Weights view_of_weights
    cdef Py_ssize_t c, k, channels = x.shape[0], rows = x.shape[1], cols = x.shape[2]
    cdef Py_ssize_t n = tiles.shape[0]
    cdef bint shared = steps.shape[0] == 1
    require_weights(kind, x, weights)
    require_like(x, previous, "previous")
    require_like(x, out, "out")
    require(
        (shared or steps.shape[0] == channels) and steps.shape[1] == rows and steps.shape[2] == cols,
        "steps must have the shape of x, or one channel of it",
    )
    require(totals.shape[0] == n * channels and totals.shape[1] == 2, "totals must have shape (tiles channels, 2)")
    require(tiles.shape[1] == 4, "tiles must have shape (tiles, 4)")
    for k in range(n):
        require(0 <= tiles[k, 0] < tiles[k, 1] <= rows, "tiles must have rows of x")
        require(
            0 <= tiles[k, 2] < tiles[k, 3] <= cols and tiles[k, 3] - tiles[k, 2] < WIDEST + PAD
            and tiles[k, 2] != 1 and tiles[k, 3] != cols - 1,
            "tiles must have columns of x, 2063 at most, and leave none or more than one at the border",
        )
    require(sums_out.shape[0] == channels and sums_out.shape[1] == 2, "sums_out must have shape (channels, 2)")
    view_of_weights = view(weights, mu, kappa)
    with nogil:
        # The channels of a tile one after the other: its weights are still in the cache.
        for k in prange(n * channels, num_threads=threads, schedule="static"):
            c = k % channels
            walk_tile(
                kind, &x[c, 0, 0], &previous[c, 0, 0], rows, cols, &view_of_weights, tile_of(&tiles[k // channels, 0]),
                &steps[0 if shared else c, 0, 0], <real> momentum, <real> low, <real> high, &totals[k, 0],
                STEP, &out[c, 0, 0],
            )
        for c in range(channels):
            sums_out[c, 0] = sums_out[c, 1] = 0
        for k in range(n * channels):
            sums_out[k % channels, 0] += totals[k, 0]
            sums_out[k % channels, 1] += totals[k, 1]


def contrast(
    const real[:, :, ::1] x not None,
    const unsigned char[:, :, ::1] free not None,
    int threads,
    double[::1] row_sums not None,
):
    """Return the sum of squared differences between neighbours of which one at least is free (1).

    free has the channels of x, or one for all. row_sums, of shape (channels rows,), is scratch.
    """
    cdef Py_ssize_t k, i, c, channels = x.shape[0], rows = x.shape[1], cols = x.shape[2], below
    cdef double total = 0
    require(channels > 0 and rows > 0 and cols > 0, "x must not be empty")
    require(
        (free.shape[0] == 1 or free.shape[0] == channels) and free.shape[1] == rows and free.shape[2] == cols,
        "free must have the shape of x, or one channel of it",
    )
    require(row_sums.shape[0] == channels * rows, "row_sums must have shape (channels rows,)")
    with nogil:
        for k in prange(channels * rows, num_threads=threads, schedule="static"):
            c = k // rows
            i = k % rows
            below = min(i + 1, rows - 1)
            row_sums[k] = row_contrast(
                &x[c, i, 0], &x[c, below, 0], &free[c % free.shape[0], i, 0], &free[c % free.shape[0], below, 0], cols
            )
        for k in range(channels * rows):
            total += row_sums[k]
    return total


def known_around(
    const unsigned char[:, ::1] free not None,
    int threads,
    double[::1] row_sums not None,
    unsigned char[:, ::1] scratch not None,
):
    """Return the sum over the free pixels (1) of the share of known ones (0) around each, itself left out.

    Around is the window of 7 x 7 pixels, cut at the border. row_sums, of shape (rows,), and scratch, of the shape of
    free, are written.
    """
    cdef Py_ssize_t i, rows = free.shape[0], cols = free.shape[1]
    cdef double total = 0
    require(rows > 0 and cols > 0, "free must not be empty")
    require(row_sums.shape[0] == rows, "row_sums must have shape (rows,)")
    require(scratch.shape[0] == rows and scratch.shape[1] == cols, "scratch must have the shape of free")
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            row_sums[i] = known_around_row(free, i, &scratch[i, 0])
        for i in range(rows):
            total += row_sums[i]
    return total


def tensor(const real[:, :, ::1] x not None, double contrast, int threads, real[:, :, ::1] out not None):
    """Write the structure tensor of x, damped where gradients exceed contrast, to out.

    out, of shape (3, (rows + 1) // 2, (cols + 1) // 2), has the means of Jxx, Jxy and Jyy over blocks of 2 x 2 pixels
    and over the channels.
    """
    cdef Py_ssize_t h, rows = x.shape[1], cols = x.shape[2], halves = (rows + 1) // 2
    require(x.shape[0] > 0 and rows > 0 and cols > 0 and contrast > 0, "x must not be empty, contrast must be positive")
    require(
        out.shape[0] == 3 and out.shape[1] == halves and out.shape[2] == (cols + 1) // 2,
        "out must have shape (3, (rows + 1) // 2, (cols + 1) // 2)",
    )
    with nogil:
        for h in prange(halves, num_threads=threads, schedule="static"):
            tensor_row(
                &x[0, 0, 0], x.shape[0], h, rows, cols, <real> (1 / (contrast * contrast)),
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
    const real[:, :, ::1] tensor not None, double strength, int threads, real[:, :, ::1] weights not None
):
    """Write cosine and sine of twice the normal's angle, and how far there is an edge, to weights[1:].

    With d the length of (Jxx - Jyy, 2 Jxy) of the blurred tensor and tr its trace, s = tr (d / tr)^4 / strength^2 and
    the edge is s / (1 + s).
    """
    cdef Py_ssize_t i, rows = weights.shape[1], cols = weights.shape[2]
    cdef Py_ssize_t high = (rows + 1) // 2, halves = (cols + 1) // 2, far
    require(weights.shape[0] == 4, "weights must have four planes")
    require(
        rows > 0 and cols > 0 and tensor.shape[0] == 3 and tensor.shape[1] == high and tensor.shape[2] == halves,
        "tensor must have shape (3, (rows + 1) // 2, (cols + 1) // 2)",
    )
    with nogil:
        for i in prange(rows, num_threads=threads, schedule="static"):
            far = min(max(i // 2 + (1 if i & 1 else -1), 0), high - 1)
            spread_row(&tensor[0, i // 2, 0], &tensor[0, far, 0], halves, cols, &weights[1, i, 0])
            spread_row(&tensor[1, i // 2, 0], &tensor[1, far, 0], halves, cols, &weights[2, i, 0])
            spread_row(&tensor[2, i // 2, 0], &tensor[2, far, 0], halves, cols, &weights[3, i, 0])
            orient_row(
                &weights[1, i, 0], &weights[2, i, 0], &weights[3, i, 0],
                <real> (1 / (strength * strength)), <real> 1e-20, cols,
            )
