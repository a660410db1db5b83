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

Where what is known is noisy, a step goes down the energy and L (x - data)^2 / 2 beside it, with a weight L of its own
for each pixel: the loops of noisy images are copies of the others that a literal makes.

A sweep reads each array once: down a tile of the image it keeps three rows of the point from which it steps, makes the
weighted differences of one row at a time, and adds them to the gradients of that row and of the two beside it, of which
they complete the upper one. Tiles overlap in what they read, never in what they write, and are the parts that
`threads` share out, so the result does not depend on how many there are; where nothing is free a sweep needs none. All
else is shared out by rows. Sums run in the image's dtype down 64 rows, then in double, in a fixed order.

A constant is a variable of the image's type here: Cython writes a literal as a double, and what it meets with it.

Not checked: that the arrays of one call do not overlap.
"""

from libc.limits cimport INT_MAX
from libc.math cimport INFINITY, cos, exp, pow, sqrt
from libc.stdlib cimport calloc, free as release, realloc
from libc.string cimport memcpy, memset

include "rows.pxi"
include "threads.pxi"
include "pyramid.pxi"

ctypedef fused amount:  # in which energies are reckoned: double to sum them up, as the image is where they are blurred
    float
    double

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
    WIDEST = 432  # columns of a tile, at most, but for up to 16 that are left at the border; a stack holds its rows
    ROOM = WIDEST + 3 * PAD
    CHUNK = 256  # pixels whose squares, products or energies are at hand; even
    REACH = 3  # pixels on either side of one that are its neighbourhood
    LANES = 16
    ONE_SHARE = 128  # of a step of one over the diagonal
    EXACT = 1000000  # the greatest precision that counts beside others in means: of a thousandth of the unit
    TRUSTED = 10000  # and in what the balance is found by: of a hundredth, which no loss tells an image to

cdef double LEAST_TRUST = 0.05  # of the average, that counts where nothing is known


cdef struct Tile:
    # From row `top` to the one before `bottom`, from column `start` to the one before `stop`.
    Py_ssize_t top
    Py_ssize_t bottom
    Py_ssize_t start
    Py_ssize_t stop


cdef struct Balance:
    # What turns the energy around a pixel, and how well it was measured there, into the factor of the energy.
    double factor  # where both are what they are on the average
    double energy
    double floor
    double trust  # one over the average
    double low
    double high
    double huber  # standard deviations beyond which a pixel's distance counts less


cdef struct Weights:
    # Rows of omega and, of EDGE alone, of the cosine, the sine and z; `plane` is the distance from one to the next.
    const void *omega
    Py_ssize_t plane
    double mu
    double kappa


# ---- a pixel's square, its weight ----

cdef inline real square_at(
    int kind, const real *x, const real *cosine, const real *sine, const real *edge,
    Py_ssize_t i, Py_ssize_t j, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t apart, bint interior,
) noexcept nogil:
    # With a true literal for interior the compiler drops the tests of the border. The pointers are at pixel (i, j), its
    # neighbours in the row are `apart`, and rows `cols`.
    cdef bint left = interior or j > 0, right = interior or j + 1 < cols
    cdef bint up = interior or i > 0, down = interior or i + 1 < rows
    cdef real dxx = 0, dyy = 0, dxy, normal, total = 0, half = <real> 0.5, twice = x[0] + x[0]
    if kind == FIRST:
        if left:
            total += (x[0] - (x - apart)[0]) * (x[0] - (x - apart)[0])
        if right:
            total += (x[0] - x[apart]) * (x[0] - x[apart])
        if up:
            total += (x[0] - (x - cols)[0]) * (x[0] - (x - cols)[0])
        if down:
            total += (x[0] - x[cols]) * (x[0] - x[cols])
        return half * total
    if left and right:
        dxx = (x - apart)[0] - twice + x[apart]
    if up and down:
        dyy = (x - cols)[0] - twice + x[cols]
    if kind == SECOND:
        if up and left:
            dxy = (x - cols - apart)[0] - (x - cols)[0] - (x - apart)[0] + x[0]
            total += dxy * dxy
        if up and right:
            dxy = (x - cols)[0] - (x - cols + apart)[0] - x[0] + x[apart]
            total += dxy * dxy
        if down and left:
            dxy = (x - apart)[0] - x[0] - x[cols - apart] + x[cols]
            total += dxy * dxy
        if down and right:
            dxy = x[0] - x[apart] - x[cols] + x[cols + apart]
            total += dxy * dxy
        return dxx * dxx + dyy * dyy + half * total
    if not (left and right and up and down):
        return 0
    dxy = half * (((x - cols - apart)[0] + x[cols + apart]) - ((x - cols + apart)[0] + x[cols - apart]))  # twice uxy
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
            kind, x + j, omega + plane + j, omega + 2 * plane + j, omega + 3 * plane + j, i, j, rows, cols, 1, interior
        )


cdef void sum_squares(
    int kind, const real *x, Py_ssize_t channels, const real *omega, Py_ssize_t plane, Py_ssize_t i,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t rows, Py_ssize_t cols, bint padded, real *sums,
) noexcept nogil:
    # Over the channels, for at most CHUNK pixels of row i, at the border or not; with zeros up to CHUNK if padded.
    cdef Py_ssize_t left = max(first, 1), right = min(last, cols - 1)
    if not 0 < i < rows - 1 or left >= right:
        left = right = last
    clear(sums, CHUNK if padded else last - first)
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


cdef inline void weights_of(
    const real *sums, real epsilon, real scale, real share, Py_ssize_t width, real *out
) noexcept nogil:
    # From the squares of pixels, summed over the channels, of which each has such a share.
    cdef Py_ssize_t j
    cdef real squared = epsilon * epsilon
    for j in range(width):
        out[j] = scale / <real> sqrt(squared + share * sums[j])


cdef void weigh_row(
    int kind, const real *x, Py_ssize_t channels, real *omega, Py_ssize_t plane, real epsilon, real scale,
    Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t start, Py_ssize_t stop,
) noexcept nogil:
    # Of the columns from start to before stop; x and omega point to the first pixel of row i.
    cdef real[CHUNK] sums
    cdef Py_ssize_t first = start
    cdef real one = 1, share = one / channels
    while first < stop:
        sum_squares(
            kind, x, channels, omega, plane, i, first, min(first + CHUNK, stop), rows, cols, False, sums
        )
        weights_of(sums, epsilon, scale, share, min(CHUNK, stop - first), omega + first)
        first += CHUNK
    if kind == EDGE:
        omega[0] = omega[cols - 1] = 0
        if i == 0 or i == rows - 1:
            clear(omega + start, stop - start)


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
    const real *x, const real *omega, Py_ssize_t plane, amount mu, amount kappa, Py_ssize_t cols, Py_ssize_t count,
    amount *terms,
) noexcept nogil:
    # The energies of the cells whose top left pixels are at the pointers.
    cdef Py_ssize_t j
    cdef amount horizontal, vertical, mixed, along, cosine, sine, edge, one = 1, two = 2, half = <amount> 0.5
    cdef amount eighth = mu / 8
    for j in range(count):
        cosine = omega[plane + j]
        sine = omega[2 * plane + j]
        edge = omega[3 * plane + j]
        horizontal = (<amount> x[j + 1] - x[j]) + (<amount> x[cols + j + 1] - x[cols + j])
        vertical = (<amount> x[cols + j] - x[j]) + (<amount> x[cols + j + 1] - x[j + 1])
        mixed = (<amount> x[cols + j + 1] - x[cols + j]) - (<amount> x[j + 1] - x[j])
        along = half * (
            (one + cosine) * horizontal * horizontal + (one - cosine) * vertical * vertical
            + two * sine * horizontal * vertical
        )
        terms[j] += eighth * (
            horizontal * horizontal + vertical * vertical - edge * along + kappa * (two - edge) * mixed * mixed
        )


cdef inline void find_energies(
    int kind, const real *x, Py_ssize_t channels, const real *omega, Py_ssize_t plane, amount epsilon, amount scale,
    amount mu, amount kappa, Py_ssize_t i, Py_ssize_t first, Py_ssize_t last, Py_ssize_t rows, Py_ssize_t cols,
    amount *terms,
) noexcept nogil:
    # Of at most CHUNK pixels of row i and the cells below them, summed over the channels; zeros up to CHUNK.
    cdef real[CHUNK] squares
    cdef amount square, times = channels, squared = epsilon * epsilon
    cdef Py_ssize_t c, j
    sum_squares(kind, x, channels, omega, plane, i, first, last, rows, cols, True, squares)
    for j in range(CHUNK):
        square = squares[j]
        terms[j] = square
        if epsilon > 0:
            square /= times
            terms[j] = times * scale * square / (<amount> sqrt(squared + square) + epsilon)
    if kind == EDGE and i + 1 < rows:
        for c in range(channels):
            add_cells(
                x + c * rows * cols + first, omega + first, plane, mu, kappa, cols, min(last, cols - 1) - first, terms
            )


cdef double row_energy(
    int kind, const real *x, Py_ssize_t channels, const real *tensor, double inverse, double epsilon, double scale,
    double mu, double kappa, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols,
) noexcept nogil:
    # Of row i, to whose first pixel x points, and the cells below it; of EDGE by the blurred tensor.
    cdef real[4 * CHUNK] fields  # as weights have them; omega is not read
    cdef double[CHUNK] terms
    cdef const real *omega = NULL
    cdef double total = 0
    cdef Py_ssize_t first = 0, last
    while first < cols:
        last = min(first + CHUNK, cols)
        if kind == EDGE:
            omega = fields - first
            orient_columns(tensor, i, rows, cols, first, last, <real> inverse, CHUNK, fields - first)
        find_energies(
            kind, x, channels, omega, CHUNK, epsilon, scale, mu, kappa, i, first, last, rows, cols, terms
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
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t apart, real *p, real *q, real *r, real *a, real *b, real *t,
) noexcept nogil:
    # Neighbours in a row are `apart`.
    cdef Py_ssize_t j
    cdef real twice, dxx, dyy, dxy, normal, k, across, top, bottom, horizontal, vertical, half_edge, main, cross
    cdef real one = 1, half = <real> 0.5, eighth = <real> 0.125, mixed = half * mu * kappa, quarter = <real> 0.25 * mu
    for j in range(first, last):
        twice = x[j] + x[j]
        dxx = ((x - apart)[j] + x[j + apart]) - twice
        dyy = (above[j] + below[j]) - twice
        dxy = ((above - apart)[j] + below[j + apart]) - (above[j + apart] + (below - apart)[j])  # four times uxy
        half_edge = half * edge[j]
        normal = (dxx + dyy) + (cosine[j] * (dxx - dyy) + half * sine[j] * dxy)  # twice Hnn
        k = half * half_edge * omega[j] * normal
        across = k * cosine[j]
        p[j] = omega[j] * dxx - (k + across)
        q[j] = omega[j] * dyy - (k - across)
        r[j] = eighth * omega[j] * dxy - half * k * sine[j]
        top = x[j + apart] - x[j]
        bottom = below[j + apart] - below[j]
        horizontal = top + bottom
        vertical = (below[j] - x[j]) + (below[j + apart] - x[j + apart])
        main = (one - half_edge) * horizontal - half_edge * (cosine[j] * horizontal + sine[j] * vertical)
        cross = (one - half_edge) * vertical - half_edge * (sine[j] * horizontal - cosine[j] * vertical)
        a[j] = quarter * (main + cross)
        b[j] = quarter * (main - cross)
        t[j] = mixed * (one - half_edge) * (bottom - top)


cdef inline void scatter_row(
    int kind, const real *p, const real *q, const real *r, const real *a, const real *b, const real *t,
    Py_ssize_t width, Py_ssize_t apart, real *upper, real *lower, real *out,
) noexcept nogil:
    # Add the fields of a row to the gradients of the row above it, which that completes (out), of its own and of the
    # row below: upper holds what the row above has so far, lower what this row has; they move on by a row.
    cdef Py_ssize_t j
    cdef real two = 2, turn, up, middle, down
    for j in range(width):
        if kind == FIRST:
            up = 0
            middle = ((p - apart)[j] - p[j]) - q[j]
            down = q[j]
        elif kind == SECOND:
            turn = t[j] - (t - apart)[j]
            up = q[j]
            middle = ((p - apart)[j] + p[j + apart]) - two * (p[j] + q[j]) + turn
            down = q[j] - turn
        else:
            turn = r[j + apart] - (r - apart)[j]
            up = q[j] + turn
            middle = ((p - apart)[j] + p[j + apart]) - two * (p[j] + q[j]) + (
                (t[j] - a[j]) + ((b - apart)[j] - (t - apart)[j])
            )
            down = (q[j] - turn) + (((a - apart)[j] + (t - apart)[j]) - (b[j] + t[j]))
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
    Py_ssize_t width, Py_ssize_t apart, real *upper, real *lower, real *out,
) noexcept nogil:
    # As scatter_row.
    cdef Py_ssize_t j
    cdef real four = 4, beside, up, middle, down
    for j in range(width):
        if kind == FIRST:
            up = 0
            middle = ((p - apart)[j] + p[j]) + q[j]
            down = q[j]
        elif kind == SECOND:
            beside = t[j] + (t - apart)[j]
            up = q[j]
            middle = ((p - apart)[j] + p[j + apart]) + four * (p[j] + q[j]) + beside
            down = q[j] + beside
        else:
            up = q[j] + (r[j + apart] + (r - apart)[j])
            middle = t[j] + ((p - apart)[j] + p[j + apart]) + (a[j] + (b - apart)[j])
            down = up + ((a - apart)[j] + b[j])
        out[j] = upper[j] + up
        upper[j] = lower[j] + middle
        lower[j] = down


cdef inline void steps_row(
    const real *diagonal, const unsigned char *shares, real floor, Py_ssize_t cols, real *out
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real unit = <real> (1.0 / ONE_SHARE)
    for j in range(cols):
        out[j] = unit * <real> shares[j] / (diagonal[j] if diagonal[j] > floor else floor)


# ---- a tile ----

cdef inline void step_off(
    const real *v, const real *gradient, const real *steps, const real *pull, const real *data, const real *x,
    real low, real high, real most, Py_ssize_t width, bint noisy, real *out, real *slope, real *change,
) noexcept nogil:
    # What is more than `most` counts as that much in the sums: what stands out by more than the image's range must not
    # decide when all else has settled. The pixel is read whether it moves or not: a loop whose loads depend on a
    # condition is vectorised only where the instruction set has masks.
    cdef Py_ssize_t j
    cdef real pixel, new, move, back
    for j in range(width):
        pixel = x[j]
        new = v[j] - steps[j] * gradient[j]
        if noisy:
            new -= pull[j] * (v[j] - data[j])
        new = clip(new, low, high)
        new = new if steps[j] > 0 else pixel
        move = clip(new - pixel, -most, most)
        back = clip(v[j] - new, -most, most)
        slope[j] += back * move
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
    Tile tile, const real *steps, const real *pull, const real *data, real momentum, real low, real high, real most,
    double *totals, int what, real *out,
) noexcept nogil:
    # Writes what is asked for to out. Every buffer is an array of its own: gcc sees that they do not overlap, and
    # checks nothing before it goes along a row.
    cdef Py_ssize_t top = tile.top, bottom = tile.bottom, start = tile.start, stop = tile.stop
    cdef Py_ssize_t width = stop - start, room = width + 2 * PAD, i, at, loaded
    cdef bint at_left = start == 0, at_right = stop == cols, at_bottom
    # The fields are needed from one column before the tile to one behind it, and are 0 where there is none. Away from
    # the border more of them are made, of which nobody asks: rows of whole vectors are faster than shorter ones.
    cdef Py_ssize_t beside = 8 if start >= 16 and stop + 16 <= cols else 1
    cdef Py_ssize_t first = 0 if at_left else -beside, last = width - 1 if at_right else width + beside
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
            load_extrapolated(
                x + at, previous + at, momentum, 0 if at_left else -2 * beside,
                width if at_right else width + 2 * beside,
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
                    omega + 3 * weights.plane, <real> weights.mu, <real> weights.kappa, first, last, 1,
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
                scatter_weights(
                    FIRST, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, 1, upper, lower, new
                )
            elif kind == SECOND:
                scatter_weights(
                    SECOND, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, 1, upper, lower, new
                )
            else:
                scatter_weights(
                    EDGE, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, 1, upper, lower, new
                )
        elif kind == FIRST:
            scatter_row(FIRST, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, 1, upper, lower, new)
        elif kind == SECOND:
            scatter_row(SECOND, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, 1, upper, lower, new)
        else:
            scatter_row(EDGE, p + PAD, q + PAD, r + PAD, a + PAD, b + PAD, t + PAD, width, 1, upper, lower, new)
        if i <= top or what != STEP:
            continue
        at = (i - 1) * cols + start
        if data == NULL:
            step_off(
                &old[(i + 2) % 3][PAD], gradient, steps + at, pull, data, x + at, low, high, most, width, False,
                out + at, slope, change,
            )
        else:
            step_off(
                &old[(i + 2) % 3][PAD], gradient, steps + at, pull + at, data + at, x + at, low, high, most, width,
                True, out + at, slope, change,
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
    Py_ssize_t start, Py_ssize_t stop, real *jxx, real *jxy, real *jyy,
) noexcept nogil:
    # The means over the 2 x 2 blocks from start to before stop of block row h, and over the channels; x is the image.
    cdef real[CHUNK] xx
    cdef real[CHUNK] xy
    cdef real[CHUNK] yy
    cdef real[CHUNK] damped_xx
    cdef real[CHUNK] damped_xy
    cdef real[CHUNK] damped_yy
    cdef Py_ssize_t first = 2 * start, end = min(2 * stop, cols), last, c, i, left, right, up, down
    cdef real one = 1, half = <real> 0.5, share = one / (2 * channels * min(2, rows - 2 * h)), scale
    cdef const real *row
    while first < end:
        last = min(first + CHUNK, end)
        left = max(first, 1)
        right = max(min(last, cols - 1), left)
        clear(damped_xx, last - first)
        clear(damped_xy, last - first)
        clear(damped_yy, last - first)
        for i in range(2 * h, min(2 * h + 2, rows)):
            up = cols if i > 0 else 0
            down = cols if i + 1 < rows else 0
            scale = half if up > 0 and down > 0 else one
            clear(xx, last - first)
            clear(xy, last - first)
            clear(yy, last - first)
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


cdef void blur_columns_row(
    const real *plane, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t start, Py_ssize_t stop,
    const double *taps, Py_ssize_t radius, real *out,
) noexcept nogil:
    # out has `radius` elements more on either side, which are filled by reflection where the columns reach the border.
    # Two pairs of rows at a time: half the reading and writing of out.
    cdef Py_ssize_t j, k = 1
    cdef const real *here = plane + i * cols
    cdef const real *a
    cdef const real *b
    cdef const real *c
    cdef const real *d
    cdef real tap = <real> taps[0], further
    cdef real *inner = out + radius
    for j in range(start, stop):
        inner[j] = tap * here[j]
    while k <= radius:
        a = plane + reflect(i - k, rows) * cols
        b = plane + reflect(i + k, rows) * cols
        c = plane + reflect(i - k - 1, rows) * cols
        d = plane + reflect(i + k + 1, rows) * cols
        tap = <real> taps[k]
        further = <real> taps[k + 1] if k < radius else 0
        for j in range(start, stop):
            inner[j] += tap * (a[j] + b[j]) + further * (c[j] + d[j])
        k += 2
    for k in range(1, radius + 1):
        if start == 0:
            (inner - k)[0] = inner[reflect(-k, cols)]
        if stop == cols:
            inner[cols - 1 + k] = inner[reflect(cols - 1 + k, cols)]


cdef void blur_rows_row(
    const real *padded, Py_ssize_t start, Py_ssize_t stop, const double *taps, Py_ssize_t radius, real *out
) noexcept nogil:
    cdef Py_ssize_t j, k = 1, next
    cdef const real *inner = padded + radius
    cdef real tap = <real> taps[0], further
    for j in range(start, stop):
        out[j] = tap * inner[j]
    while k <= radius:
        tap = <real> taps[k]
        further = <real> taps[k + 1] if k < radius else 0
        next = k + 1 if k < radius else k
        for j in range(start, stop):
            out[j] += (
                tap * ((inner - k)[j] + (inner + k)[j]) + further * ((inner - next)[j] + (inner + next)[j])
            )
        k += 2


cdef inline void spread_row(
    const real *near, const real *far, Py_ssize_t halves, Py_ssize_t cols, Py_ssize_t start, Py_ssize_t stop, real *out
) noexcept nogil:
    # Bilinear interpolation of a row of block means, from start to before stop, at the pixels.
    cdef Py_ssize_t j
    cdef real left, here, right, three = 3, sixteenth = <real> 0.0625
    # In two loops: one that writes both was seen to round its last columns differently from level to level.
    for j in range(max(start, 1), min(stop, halves - 1)):
        out[2 * j] = sixteenth * (three * (three * near[j] + far[j]) + (three * (near - 1)[j] + (far - 1)[j]))
    for j in range(max(start, 1), min(stop, halves - 1)):
        out[2 * j + 1] = sixteenth * (three * (three * near[j] + far[j]) + (three * near[j + 1] + far[j + 1]))
    j = 0
    while j < halves:
        if start <= j < stop:
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


cdef inline void orient_columns(
    const real *tensor, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t start, Py_ssize_t stop,
    real inverse, Py_ssize_t plane, real *omega,
) noexcept nogil:
    # Of row i the columns from start, which is even, to before stop, to the planes after that of omega, which points to
    # the row's first pixel.
    cdef Py_ssize_t high = (rows + 1) // 2, halves = (cols + 1) // 2, c
    cdef Py_ssize_t far = min(max(i // 2 + (1 if i & 1 else -1), 0), high - 1)
    for c in range(3):
        spread_row(
            tensor + (c * high + i // 2) * halves, tensor + (c * high + far) * halves, halves, cols,
            start // 2, (stop + 1) // 2, omega + (c + 1) * plane,
        )
    omega += plane + start
    orient_row(omega, omega + plane, omega + 2 * plane, inverse, <real> 1e-20, stop - start)


# ---- what is known around a pixel, how much neighbours differ ----

cdef Py_ssize_t window_length(Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    return min(i + REACH + 1, n) - max(i - REACH, 0)


cdef double known_around_row(
    const unsigned char *free, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t start, Py_ssize_t stop,
    unsigned char *columns,
) noexcept nogil:
    # The sum over the free pixels of row i, from start to before stop, of the share of known ones around each.
    cdef Py_ssize_t j, k, height = window_length(i, rows), left = max(start, REACH), right = min(stop, cols - REACH)
    cdef const unsigned char *top = free + max(i - REACH, 0) * cols
    cdef const unsigned char *here = free + i * cols
    cdef int known, inner = 0
    cdef double total = 0
    for j in range(max(start - REACH, 0), min(stop + REACH, cols)):
        columns[j] = 0
    for k in range(height):
        for j in range(max(start - REACH, 0), min(stop + REACH, cols)):
            columns[j] += 1 - top[k * cols + j]
    for j in range(left, right):
        known = 0
        for k in range(2 * REACH + 1):
            known += columns[j - REACH + k]
        inner += known * here[j]
    total = <double> inner / (height * (2 * REACH + 1) - 1)
    j = start
    while j < stop:
        if left <= j < right:
            j = right
            continue
        known = 0
        for k in range(max(j - REACH, 0), min(j + REACH + 1, cols)):
            known += columns[k]
        total += <double> (known * here[j]) / max(height * window_length(j, cols) - 1, 1)
        j += 1
    return total


cdef inline double sum_in_lanes(const real *terms, Py_ssize_t width) noexcept nogil:
    cdef double[LANES] lanes
    cdef double total = 0
    cdef Py_ssize_t j, k, lane, whole = width // LANES * LANES
    clear(lanes, LANES)
    for k in range(width // LANES):
        j = k * LANES
        for lane in range(LANES):
            lanes[lane] += terms[j + lane]
    for j in range(whole, width):
        lanes[j - whole] += terms[j]
    for lane in range(LANES):
        total += lanes[lane]
    return total


cdef double row_contrast(
    const real *x, const real *below, const unsigned char *free, const unsigned char *free_below,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t cols, real most,
) noexcept nogil:
    # The squared differences of a row's pixels, from start to before stop, to those on their right and below, where
    # either is free. A difference counts as `most` at most: what stands out must not decide what is small.
    cdef real[CHUNK] sums
    cdef Py_ssize_t first = start, last, inner, j
    cdef real across, down
    clear(sums, min(stop - start, CHUNK))
    while first < stop:
        last = min(first + CHUNK, stop)
        inner = min(last, cols - 1)
        for j in range(first, inner):
            across = clip(x[j] - x[j + 1], -most, most) * <real> (free[j] | free[j + 1])
            down = clip(x[j] - below[j], -most, most) * <real> (free[j] | free_below[j])
            sums[j - first] += across * across + down * down
        if inner < last:
            down = clip(x[inner] - below[inner], -most, most) * <real> (free[inner] | free_below[inner])
            sums[0] += down * down
        first = last
    return sum_in_lanes(sums, min(stop - start, CHUNK))


# ---- noise: how much what was measured weighs beside the energy ----

cdef double density_row(
    int kind, const real *x, Py_ssize_t channels, const real *weights, double epsilon, double scale, double mu,
    double kappa, Py_ssize_t h, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t start, Py_ssize_t stop, real *out,
) noexcept nogil:
    # The mean energies of the 2 x 2 blocks from start to before stop of block row h, and over the channels; x is the
    # image. Return their sum over the pixels.
    cdef real[CHUNK] terms
    cdef real[CHUNK] sums
    cdef double total = 0
    cdef Py_ssize_t first = 2 * start, end = min(2 * stop, cols), last, i, j
    cdef real one = 1, share = one / channels, half = <real> 0.5
    while first < end:
        last = min(first + CHUNK, end)
        clear(sums, CHUNK)
        for i in range(2 * h, min(2 * h + 2, rows)):
            find_energies(
                kind, x + i * cols, channels, weights + i * cols, rows * cols, <real> epsilon, <real> scale, <real> mu,
                <real> kappa, i, first, last, rows, cols, terms,
            )
            for j in range(CHUNK):
                sums[j] += share * terms[j]
        join_pairs(sums, first, last, half / min(2, rows - 2 * h), out)
        total += sum_in_lanes(sums, last - first)
        first = last
    return total


cdef double trust_row(
    const real *precision, Py_ssize_t masks, Py_ssize_t h, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t start,
    Py_ssize_t stop, real *out,
) noexcept nogil:
    # The same of the roots of the precision, over the masks.
    cdef real[CHUNK] sums
    cdef real one = 1, share = one / masks, half = <real> 0.5, most = TRUSTED, value
    cdef double total = 0
    cdef Py_ssize_t first = 2 * start, end = min(2 * stop, cols), last, i, j, c
    cdef const real *row
    while first < end:
        last = min(first + CHUNK, end)
        clear(sums, CHUNK)
        for i in range(2 * h, min(2 * h + 2, rows)):
            for c in range(masks):
                row = precision + (c * rows + i) * cols + first
                for j in range(last - first):
                    value = row[j] if row[j] < most else most
                    sums[j] += share * <real> sqrt(value)
        join_pairs(sums, first, last, half / min(2, rows - 2 * h), out)
        total += sum_in_lanes(sums, last - first)
        first = last
    return total


cdef inline void balance_row(const Balance *balance, const real *trust, Py_ssize_t width, real *out) noexcept nogil:
    # In place: blurred energies become the factor of the energy. The power of 5/8 by roots, which round everywhere
    # alike.
    cdef Py_ssize_t j
    cdef real energy = <real> balance.energy, least = <real> LEAST_TRUST, inverse = <real> balance.trust
    cdef real factor = <real> balance.factor, low = <real> balance.low, high = <real> balance.high
    cdef real floor = <real> balance.floor, ratio, root, share
    for j in range(width):
        share = trust[j] * inverse
        share = share if share > least else least
        ratio = energy / (out[j] + floor) * share
        root = <real> sqrt(ratio)
        out[j] = clip(factor * (root * <real> sqrt(<real> sqrt(root))), low, high)


cdef inline void noisy_steps_row(
    const real *x, const real *data, const real *precision, const real *balance, const unsigned char *shares,
    Py_ssize_t channels, Py_ssize_t masks, double huber, real floor, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols,
    Py_ssize_t start, Py_ssize_t stop, real *steps, real *pull,
) noexcept nogil:
    # As steps_row, of all masks, with the weight of the data beside the diagonal, which stands in the first of them.
    # `balance` has blocks of 2 x 2 pixels.
    cdef real[ROOM] factors
    cdef real[ROOM] squares
    cdef Py_ssize_t plane = rows * cols, at = i * cols + start, width = stop - start, c, k, j
    cdef Py_ssize_t shared = channels // masks, halves = (cols + 1) // 2
    cdef Py_ssize_t far = min(max(i // 2 + (1 if i & 1 else -1), 0), (rows + 1) // 2 - 1)
    cdef real unit = <real> (1.0 / ONE_SHARE), one = 1, delta = <real> huber, own, share, weight, excess
    cdef real mean = one / shared
    spread_row(
        balance + i // 2 * halves, balance + far * halves, halves, cols, start // 2, (stop + 1) // 2, factors - start
    )
    for c in range(masks - 1, -1, -1):
        clear(squares, width)
        if huber < INFINITY:
            for k in range(c * shared, (c + 1) * shared):
                add_residuals(x + k * plane + at, data + k * plane + at, width, squares)
        for j in range(width):
            own = precision[c * plane + at + j]
            excess = <real> sqrt(mean * squares[j] * own) / delta
            weight = own / (factors[j] * (excess if excess > one else one))
            share = unit * <real> shares[c * plane + at + j]
            own = steps[at + j] if steps[at + j] > floor else floor
            own = share / (own + share * weight)
            pull[c * plane + at + j] = own * weight
            steps[c * plane + at + j] = own


cdef inline void add_residuals(const real *x, const real *data, Py_ssize_t width, real *squares) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        squares[j] += (x[j] - data[j]) * (x[j] - data[j])


# ---- parts of a job ----

cdef enum:
    ENERGY = 0
    WEIGH = 1
    STEP_SIZES = 2
    CONTRAST = 3
    KNOWN_AROUND = 4
    TENSOR = 5
    BLUR_COLUMNS = 6
    BLUR_ROWS = 7
    ORIENT = 8
    DENSITIES = 9
    TRUST = 10
    BALANCE = 11
    NOISY_STEPS = 12


cdef struct Job:
    # What the kernels below hand to the rows or tiles of an image; each sets what is read for its own.
    bint single  # x and out are float, or else double
    int kind
    int task  # one of those above, or of a walk over a tile
    Py_ssize_t channels
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t lines  # rows in all
    Py_ssize_t height  # rows of a part
    const void *x
    const void *previous
    const void *steps
    Py_ssize_t steps_apart  # from one channel's to the next one's
    const unsigned char *free
    const unsigned char *shares
    Py_ssize_t free_channels
    const void *data  # what was measured; NULL where what is known is exact
    const void *precision  # of each measurement, one over its variance; 0 where there is none
    const void *blocks  # of 2 x 2 pixels: the blurred roots of these, or the factors of the energy
    const void *tensor
    Weights weights
    Balance balance
    const int *tiles  # NULL: those that cover the image; of rows, NULL: all of them
    Py_ssize_t tiles_across  # of these, in a channel
    const double *taps
    Py_ssize_t radius
    double momentum
    double low
    double high
    double most  # of a pixel's move, in sums
    double epsilon
    double scale
    double floor
    double inverse  # of the square of a contrast or of a strength
    double *sums_out
    unsigned char *scratch
    void *pull  # how far a step goes towards the data
    void *out


cdef inline void do_row(
    const Job *job, const real *x, real *out, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    # Of row i the columns from start to before stop: blocks of two, where the task goes over those.
    cdef Py_ssize_t rows = job.rows, cols = job.cols, plane = rows * cols, c, far, row, halves, at
    cdef const unsigned char *free = job.free
    if job.task == ENERGY:
        job.sums_out[i] = row_energy(
            job.kind, x + i * cols, job.channels, <const real *> job.tensor, job.inverse, job.epsilon, job.scale,
            job.weights.mu, job.weights.kappa, i, rows, cols,
        )
    elif job.task == WEIGH:
        weigh_row(
            job.kind, x + i * cols, job.channels, out + i * cols, plane, <real> job.epsilon, <real> job.scale,
            i, rows, cols, start, stop,
        )
    elif job.task == STEP_SIZES:
        # The diagonal stands in the first channel.
        at = i * cols + start
        for c in range(job.channels - 1, -1, -1):
            steps_row(
                out + at, job.shares + c * plane + at, <real> job.floor, stop - start, out + c * plane + at
            )
    elif job.task == CONTRAST:
        c, row = i // rows, i % rows
        far = min(row + 1, rows - 1)
        x += c * plane
        free += c % job.free_channels * plane
        job.sums_out[i] = row_contrast(
            x + row * cols, x + far * cols, free + row * cols, free + far * cols, start, stop, cols, 1
        )
    elif job.task == KNOWN_AROUND:
        job.sums_out[i] = known_around_row(free, i, rows, cols, start, stop, job.scratch + i * cols)
    elif job.task == TENSOR:
        halves = (cols + 1) // 2
        plane = (rows + 1) // 2 * halves
        out += i * halves
        tensor_row(
            x, job.channels, i, rows, cols, <real> job.inverse, start, stop, out, out + plane, out + 2 * plane
        )
    elif job.task == BLUR_COLUMNS:
        blur_columns_row(x, i, rows, cols, start, stop, job.taps, job.radius, out + i * (cols + 2 * job.radius))
    elif job.task == BLUR_ROWS:
        blur_rows_row(x + i * (cols + 2 * job.radius), start, stop, job.taps, job.radius, out + i * cols)
    elif job.task == BALANCE:
        at = i * cols + start
        balance_row(&job.balance, <const real *> job.blocks + at, stop - start, out + at)
    elif job.task == NOISY_STEPS:
        noisy_steps_row(
            x, <const real *> job.data, <const real *> job.precision, <const real *> job.blocks, job.shares,
            job.channels, job.free_channels, job.balance.huber, <real> job.floor, i, rows, cols, start, stop, out,
            <real *> job.pull,
        )
    else:
        orient_columns(
            <const real *> job.tensor, i, rows, cols, start, stop, <real> job.inverse, plane, out + i * cols
        )


cdef double known_around_span(const Job *job, const int *span) noexcept nogil:
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(span[0], span[1]):
        total += known_around_row(
            job.free, i, job.rows, job.cols, span[2], span[3], job.scratch + i * job.cols
        )
    return total


cdef double span_contrast(const Job *job, const real *x, const int *span) noexcept nogil:
    # Of a span of all channels.
    cdef Py_ssize_t plane = job.rows * job.cols, c, i, at, far
    cdef const unsigned char *free
    cdef double total = 0
    for c in range(job.channels):
        free = job.free + c % job.free_channels * plane
        for i in range(span[0], span[1]):
            at, far = i * job.cols, min(i + 1, job.rows - 1) * job.cols
            total += row_contrast(
                x + at, x + far, free + at, free + far, span[2], span[3], job.cols, <real> job.most
            )
        x += plane
    return total


cdef double span_means(const Job *job, const real *x, const int *span, real *out) noexcept nogil:
    # Of a span of blocks, the means of energies or of roots of precision; return their sum over its pixels.
    cdef Py_ssize_t h, halves = (job.cols + 1) // 2
    cdef double total = 0
    for h in range(span[0], span[1]):
        if job.task == TRUST:
            total += trust_row(
                <const real *> job.precision, job.free_channels, h, job.rows, job.cols, span[2], span[3],
                out + h * halves,
            )
        else:
            total += density_row(
                job.kind, x, job.channels, <const real *> job.weights.omega, job.epsilon, job.scale, job.weights.mu,
                job.weights.kappa, h, job.rows, job.cols, span[2], span[3], out + h * halves,
            )
    return total


cdef void do_rows(void *argument, Py_ssize_t part) noexcept nogil:
    cdef Job *job = <Job *> argument
    cdef const int *span
    cdef Py_ssize_t i, top, bottom, start = 0, stop
    if job.tiles != NULL:
        span = job.tiles + 4 * part
        top, bottom, start, stop = span[0], span[1], span[2], span[3]
        if job.task == KNOWN_AROUND:
            job.sums_out[part] = known_around_span(job, span)
            return
        if job.task == CONTRAST:
            if job.single:
                job.sums_out[part] = span_contrast(job, <const float *> job.x, span)
            else:
                job.sums_out[part] = span_contrast(job, <const double *> job.x, span)
            return
        if job.task == DENSITIES or job.task == TRUST:
            if job.single:
                job.sums_out[part] = span_means(job, <const float *> job.x, span, <float *> job.out)
            else:
                job.sums_out[part] = span_means(job, <const double *> job.x, span, <double *> job.out)
            return
    else:
        top, bottom = part * job.height, min((part + 1) * job.height, job.lines)
        stop = (job.cols + 1) // 2 if job.task == TENSOR else job.cols
    for i in range(top, bottom):
        if job.single:
            do_row(job, <const float *> job.x, <float *> job.out, i, start, stop)
        else:
            do_row(job, <const double *> job.x, <double *> job.out, i, start, stop)


cdef void run_rows(Job *job, int task, Py_ssize_t lines, int threads) noexcept nogil:
    job.task, job.lines, job.height = task, lines, rows_of_a_part(job.cols)
    job.tiles = NULL
    run_parts(&do_rows, job, (lines + job.height - 1) // job.height, threads)


cdef void run_spans(Job *job, int task, const int *spans, Py_ssize_t count, int threads) noexcept nogil:
    # Where rows are wanted at some places only: spans are tiles of which every row is a line.
    job.task, job.tiles = task, spans
    run_parts(&do_rows, job, count, threads)


cdef inline void do_tile_of(const Job *job, const real *x, real *out, Py_ssize_t k) noexcept nogil:
    # The channels of a given tile one after the other: its weights are still in the cache.
    cdef Py_ssize_t plane = job.rows * job.cols, c
    cdef Tile tile
    if job.tiles != NULL:
        c = k % job.channels
        tile = tile_of(job.tiles + 4 * (k // job.channels))
    else:
        c = k // job.tiles_across
        tile = tile_of_all(k % job.tiles_across, job.rows, job.cols)
    walk_tile(
        job.kind, x + c * plane, <const real *> job.previous + c * plane, job.rows, job.cols, &job.weights, tile,
        <const real *> job.steps + c * job.steps_apart,
        <const real *> job.pull + c * job.steps_apart if job.data != NULL else NULL,
        <const real *> job.data + c * plane if job.data != NULL else NULL,
        <real> job.momentum, <real> job.low, <real> job.high, <real> job.most,
        job.sums_out + 2 * k if job.task == STEP else NULL, job.task, out + c * plane,
    )


cdef void do_tile(void *argument, Py_ssize_t k) noexcept nogil:
    cdef Job *job = <Job *> argument
    if job.single:
        do_tile_of(job, <const float *> job.x, <float *> job.out, k)
    else:
        do_tile_of(job, <const double *> job.x, <double *> job.out, k)


cdef void run_tiles(Job *job, int task, Py_ssize_t parts, int threads) noexcept nogil:
    job.task = task
    job.tiles_across = band_count(job.rows) * strip_count(job.cols)
    run_parts(&do_tile, job, parts, threads)


# ---- what Python calls ----

cdef class Operator:
    """What the kernels must know of a loss of local differences.

    `safety` bounds the greatest eigenvalue of the operator over its diagonal: 2 for first differences, of which each
    has two taps; at most 4 for second differences with any weights, 3.2 with equal ones. `spread` is the standard
    deviation of the tensor's Gaussian, in pixels, where a tenth of the pixels is known. `balance` is the factor of the
    energy beside noisy data where the square root of sum 1/sigma over the energy is 1; it lies between the other two.
    """

    cdef readonly int kind
    cdef readonly double safety, epsilon, scale, mu, kappa, floor, contrast, strength, spread
    cdef readonly double balance, least_balance, most_balance

    def __init__(
        self, int kind, double safety, *, double epsilon=0, double scale=1, double mu=0, double kappa=0,
        double floor=1e-6, double contrast=0, double strength=0, double spread=4, double balance=1,
        double least_balance=1e-3, double most_balance=1e6,
    ):
        require(FIRST <= kind <= EDGE, "kind must be 0, 1 or 2")
        self.balance, self.least_balance, self.most_balance = balance, least_balance, most_balance
        self.kind, self.safety, self.epsilon, self.scale, self.mu, self.kappa = kind, safety, epsilon, scale, mu, kappa
        self.floor, self.contrast, self.strength, self.spread = floor, contrast, strength, spread


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


cdef int require_tensor(const real[:, :, ::1] tensor, Py_ssize_t rows, Py_ssize_t cols, str name) except -1:
    require(
        tensor.shape[0] == 3 and tensor.shape[1] == (rows + 1) // 2 and tensor.shape[2] == (cols + 1) // 2,
        name + " must have shape (3, (rows + 1) // 2, (cols + 1) // 2)",
    )
    return 0


cdef Weights view(const real[:, :, ::1] weights, Operator operator) noexcept:
    cdef Weights out
    out.omega = &weights[0, 0, 0]
    out.plane = weights.shape[1] * weights.shape[2]
    out.mu = operator.mu
    out.kappa = operator.kappa
    return out


cdef Job job_on(const real[:, :, ::1] x, int kind) noexcept:
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.single = real is float
    job.kind = kind
    job.channels, job.rows, job.cols = x.shape[0], x.shape[1], x.shape[2]
    job.x = job.previous = &x[0, 0, 0]
    return job


def energy(
    Operator operator not None,
    const real[:, :, ::1] x not None,
    const real[:, :, ::1] tensor,
    int threads,
    double[::1] row_sums not None,
):
    """Return the energy of x; epsilon = 0 stands for the sum of the squares. row_sums, of shape (rows,), is scratch.

    EDGE reads the blurred tensor, as `orient` does; the others take None.
    """
    cdef Job job
    cdef Py_ssize_t i
    cdef double total = 0
    require(x.shape[0] > 0 and x.shape[1] > 0 and x.shape[2] > 0, "x must not be empty")
    require(row_sums.shape[0] == x.shape[1], "row_sums must have shape (rows,)")
    job = job_on(x, operator.kind)
    if operator.kind == EDGE:
        require(tensor is not None, "tensor must be given for an edge")
        require_tensor(tensor, x.shape[1], x.shape[2], "tensor")
        job.tensor, job.inverse = &tensor[0, 0, 0], 1 / (operator.strength * operator.strength)
    job.weights.mu, job.weights.kappa = operator.mu, operator.kappa
    job.epsilon, job.scale, job.sums_out = operator.epsilon, operator.scale, &row_sums[0]
    with nogil:
        run_rows(&job, ENERGY, job.rows, threads)
        for i in range(job.rows):
            total += row_sums[i]
    return total


def weigh(
    Operator operator not None,
    const real[:, :, ::1] x not None,
    int threads,
    real[:, :, ::1] weights not None,
):
    """Write the weight of each pixel, scale / sqrt(epsilon^2 + Q), to weights[0]; EDGE: 0 on the border.

    Q is the mean over the channels of x. EDGE reads the other three planes of the weights.
    """
    cdef Job job
    require_weights(operator.kind, x, weights)
    require(operator.epsilon > 0, "epsilon must be positive")
    job = job_on(x, operator.kind)
    job.epsilon, job.scale, job.out = operator.epsilon, operator.scale, &weights[0, 0, 0]
    with nogil:
        run_rows(&job, WEIGH, job.rows, threads)


def step_sizes(
    Operator operator not None,
    const unsigned char[:, :, ::1] shares not None,
    const real[:, :, ::1] weights not None,
    int threads,
    real[:, :, ::1] steps_out not None,
):
    """Write shares / 128 / max(diagonal, floor) to steps_out; shares are 0 where nothing is free."""
    cdef Job job
    require_weights(operator.kind, steps_out, weights)
    require(
        shares.shape[0] == steps_out.shape[0] and shares.shape[1] == steps_out.shape[1]
        and shares.shape[2] == steps_out.shape[2],
        "shares must have the shape of steps_out",
    )
    job = job_on(steps_out, operator.kind)
    job.weights = view(weights, operator)
    job.shares, job.floor, job.out = &shares[0, 0, 0], operator.floor, &steps_out[0, 0, 0]
    with nogil:
        # The channels have one diagonal.
        run_tiles(&job, DIAGONAL, band_count(job.rows) * strip_count(job.cols), threads)
        run_rows(&job, STEP_SIZES, job.rows, threads)


def gradient(
    Operator operator not None,
    const real[:, :, ::1] x not None,
    const real[:, :, ::1] weights not None,
    int threads,
    real[:, :, ::1] out not None,
):
    """Write the gradient at x, with the weights as they are given, to out."""
    cdef Job job
    require_weights(operator.kind, x, weights)
    require_like(x, out, "out")
    job = job_on(x, operator.kind)
    job.weights, job.out = view(weights, operator), &out[0, 0, 0]
    with nogil:
        run_tiles(&job, GRADIENT, band_count(job.rows) * strip_count(job.cols) * job.channels, threads)


def accelerate(
    Operator operator not None,
    const real[:, :, ::1] x not None,
    const real[:, :, ::1] previous not None,
    const real[:, :, ::1] steps not None,
    double momentum,
    double low,
    double high,
    const real[:, :, ::1] weights not None,
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
    cdef Job job
    cdef Py_ssize_t c, k, channels = x.shape[0], rows = x.shape[1], cols = x.shape[2]
    cdef Py_ssize_t n = tiles.shape[0]
    cdef bint shared = steps.shape[0] == 1
    require_weights(operator.kind, x, weights)
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
            "tiles must have columns of x, 447 at most, and leave none or more than one at the border",
        )
    require(sums_out.shape[0] == channels and sums_out.shape[1] == 2, "sums_out must have shape (channels, 2)")
    job = job_on(x, operator.kind)
    job.weights = view(weights, operator)
    job.previous, job.steps, job.steps_apart = &previous[0, 0, 0], &steps[0, 0, 0], 0 if shared else rows * cols
    job.momentum, job.low, job.high, job.most = momentum, low, high, INFINITY
    job.out = &out[0, 0, 0]
    if n > 0:
        job.tiles, job.sums_out = &tiles[0, 0], &totals[0, 0]
    with nogil:
        run_tiles(&job, STEP, n * channels, threads)
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
    cdef Job job
    cdef Py_ssize_t k, channels = x.shape[0], rows = x.shape[1], cols = x.shape[2]
    cdef double total = 0
    require(channels > 0 and rows > 0 and cols > 0, "x must not be empty")
    require(
        (free.shape[0] == 1 or free.shape[0] == channels) and free.shape[1] == rows and free.shape[2] == cols,
        "free must have the shape of x, or one channel of it",
    )
    require(row_sums.shape[0] == channels * rows, "row_sums must have shape (channels rows,)")
    job = job_on(x, FIRST)
    job.free, job.free_channels, job.sums_out = &free[0, 0, 0], free.shape[0], &row_sums[0]
    with nogil:
        run_rows(&job, CONTRAST, channels * rows, threads)
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
    cdef Job job
    cdef Py_ssize_t i, rows = free.shape[0], cols = free.shape[1]
    cdef double total = 0
    require(rows > 0 and cols > 0, "free must not be empty")
    require(row_sums.shape[0] == rows, "row_sums must have shape (rows,)")
    require(scratch.shape[0] == rows and scratch.shape[1] == cols, "scratch must have the shape of free")
    memset(&job, 0, sizeof(Job))
    job.rows, job.cols = rows, cols
    job.free, job.scratch, job.sums_out = &free[0, 0], &scratch[0, 0], &row_sums[0]
    with nogil:
        run_rows(&job, KNOWN_AROUND, rows, threads)
        for i in range(rows):
            total += row_sums[i]
    return total


def tensor(Operator operator not None, const real[:, :, ::1] x not None, int threads, real[:, :, ::1] out not None):
    """Write the structure tensor of x, damped where gradients exceed the operator's contrast, to out.

    out, of shape (3, (rows + 1) // 2, (cols + 1) // 2), has the means of Jxx, Jxy and Jyy over blocks of 2 x 2 pixels
    and over the channels.
    """
    cdef Job job
    cdef Py_ssize_t rows = x.shape[1], cols = x.shape[2], halves = (rows + 1) // 2
    require(x.shape[0] > 0 and rows > 0 and cols > 0, "x must not be empty")
    require(operator.contrast > 0, "contrast must be positive")
    require_tensor(out, rows, cols, "out")
    job = job_on(x, EDGE)
    job.inverse, job.out = 1 / (operator.contrast * operator.contrast), &out[0, 0, 0]
    with nogil:
        run_rows(&job, TENSOR, halves, threads)


def blur(
    real[:, ::1] plane not None, const double[::1] taps not None, int threads, real[:, ::1] scratch not None
):
    """Convolve plane with the symmetric kernel taps (centre first) along both axes, in place, reflecting the borders.

    scratch has shape (rows, cols + 2 (len(taps) - 1)).
    """
    cdef Job job
    cdef Py_ssize_t rows = plane.shape[0], cols = plane.shape[1], radius = taps.shape[0] - 1
    require(rows > 0 and cols > 0 and radius >= 0, "plane and taps must not be empty")
    require(
        scratch.shape[0] == rows and scratch.shape[1] == cols + 2 * radius,
        "scratch must have shape (rows, cols + 2 (len(taps) - 1))",
    )
    memset(&job, 0, sizeof(Job))
    job.single = real is float
    job.rows, job.cols, job.taps, job.radius = rows, cols, &taps[0], radius
    with nogil:
        job.x, job.out = &plane[0, 0], &scratch[0, 0]
        run_rows(&job, BLUR_COLUMNS, rows, threads)
        job.x, job.out = &scratch[0, 0], &plane[0, 0]
        run_rows(&job, BLUR_ROWS, rows, threads)


def orient(
    Operator operator not None,
    const real[:, :, ::1] tensor not None,
    int threads,
    real[:, :, ::1] weights not None,
):
    """Write cosine and sine of twice the normal's angle, and how far there is an edge, to weights[1:].

    With d the length of (Jxx - Jyy, 2 Jxy) of the blurred tensor and tr its trace, s = tr (d / tr)^4 / strength^2 and
    the edge is s / (1 + s).
    """
    cdef Job job
    cdef Py_ssize_t rows = weights.shape[1], cols = weights.shape[2]
    require(rows > 0 and cols > 0 and weights.shape[0] == 4, "weights must have four planes")
    require_tensor(tensor, rows, cols, "tensor")
    memset(&job, 0, sizeof(Job))
    job.single = real is float
    job.rows, job.cols = rows, cols
    job.out = &weights[0, 0, 0]
    job.tensor, job.inverse = &tensor[0, 0, 0], 1 / (operator.strength * operator.strength)
    with nogil:
        run_rows(&job, ORIENT, rows, threads)


include "descent.pxi"
include "points.pxi"
include "bands.pxi"
