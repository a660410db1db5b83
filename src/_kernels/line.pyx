"""Line smoothness: value, gradient, and the fused sweeps that descend it.

For an image x the loss is the sum, over every row and every column r, of
||diff r|| + ||diff r[0::2]|| + ||diff r[1::2]||. Its gradient needs the six families of norms (rows: stride 1, stride 2
at even and at odd columns; columns: stride 1, stride 2 at even and at odd rows), so a naive iteration reads the image
twice. A sweep here reads it once: it knows the norms of x, updates x in place, and gathers the norms of what it writes,
for the next sweep.

How it walks. The image is cut into strips of about 500 columns, so that the rows and the column sums at hand stay in
the first-level cache; a strip goes from top to bottom and keeps the three last rows as they were before the update.
What it needs of its neighbours as they were is in ``halo_in``: for each strip and row the first two and the last two
values; it leaves its own in ``halo_out``. Strips are therefore independent and are what `threads` share out.

How it sums. Column sums run in the image's dtype over blocks of 64 rows, row sums in 16 lanes over a strip; what is
added across blocks and strips is double, in a fixed order. The result has the same bits for every thread count and
instruction set, and in float32 the value is right to about 1e-6.

Not checked: that the arrays of one call do not overlap. The row functions take plain pointers, because gcc vectorises
loops over them and not over memoryviews.
"""

from cython.parallel cimport prange
from libc.math cimport INFINITY, sqrt
from libc.string cimport memcpy

include "rows.pxi"

cdef extern from *:
    """
    #if defined(__GNUC__)
    /* For writing, into the second-level cache: the first has no room for rows that come later. */
    #define graddesc_prefetch(address) __builtin_prefetch((address), 1, 2)
    #else
    #define graddesc_prefetch(address) ((void) (address))
    #endif
    """
    void prefetch "graddesc_prefetch"(const void *address) noexcept nogil

cdef enum:
    STRIP = 512  # columns in a strip, about
    WIDEST = 784  # columns in a strip, at most: 3/2 STRIP + LANES
    LANES = 16
    AHEAD = 8  # rows between the prefetch and the use


cdef inline Py_ssize_t strip_count(Py_ssize_t cols) noexcept nogil:
    return max(1, (cols + STRIP // 2) // STRIP)


cdef inline Py_ssize_t strip_start(Py_ssize_t cols, Py_ssize_t k) noexcept nogil:
    # Multiples of 16: aligned, and the parity of a column is that of its place in the strip.
    cdef Py_ssize_t strips = strip_count(cols)
    return cols if k == strips else (cols * k // strips) & ~<Py_ssize_t> 15


cdef inline void load_row(
    const real *row, const real[:, :, ::1] halo, Py_ssize_t k, Py_ssize_t i, real *out, Py_ssize_t width
) noexcept nogil:
    # Copy a row of strip k and put its neighbours' values beside it; at the image's border what stands there is unused.
    memcpy(out, row, width * sizeof(real))
    if k > 0:
        (out - 2)[0] = halo[k - 1, i, 2]
        (out - 1)[0] = halo[k - 1, i, 3]
    if k + 1 < halo.shape[0]:
        out[width] = halo[k + 1, i, 0]
        out[width + 1] = halo[k + 1, i, 1]


cdef inline void store_halo(
    const real *row, real[:, :, ::1] halo, Py_ssize_t k, Py_ssize_t i, Py_ssize_t width
) noexcept nogil:
    halo[k, i, 0] = row[0]
    halo[k, i, 1] = row[min(1, width - 1)]
    halo[k, i, 2] = row[max(width - 2, 0)]
    halo[k, i, 3] = row[width - 1]


cdef inline void extrapolate_row(
    const real *v, real *row, real *u, real momentum, real *slope, real *change, Py_ssize_t width
) noexcept nogil:
    # row holds the new iterate, u the one before, v the point from which the step was taken.
    cdef Py_ssize_t j
    cdef real move
    for j in range(width):
        move = row[j] - u[j]
        slope[j] += (v[j] - row[j]) * move
        change[j] += move * move
        u[j] = row[j]
        row[j] += momentum * move


cdef inline void alternate(real even, real odd, real *out, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    for j in range((width + 1) // 2):
        out[2 * j] = even
        out[2 * j + 1] = odd


cdef inline real gradient_at(
    const real *x, const real *up2, const real *up1, const real *down1, const real *down2,
    real a1, const real *a2, const real *b1, const real *b2, Py_ssize_t j,
) noexcept nogil:
    # a are the inverse norms of the row, b those of the columns; 1: stride 1, 2: stride 2 of the pixel's parity.
    # Beyond the image's top and bottom the caller passes x itself, so that the term vanishes.
    cdef real twice = x[j] + x[j]
    return (
        (a1 * (twice - x[j - 1] - x[j + 1]) + a2[j] * (twice - x[j - 2] - x[j + 2]))
        + (b1[j] * (twice - up1[j] - down1[j]) + b2[j] * (twice - up2[j] - down2[j]))
    )


cdef inline real border_gradient_at(
    const real *x, const real *up2, const real *up1, const real *down1, const real *down2,
    real a1, const real *a2, const real *b1, const real *b2, Py_ssize_t j, bint first, bint last, Py_ssize_t width,
) noexcept nogil:
    # The same in a column that lacks neighbours to the left (of a first strip) or to the right (of a last one).
    cdef real g = b1[j] * (x[j] + x[j] - up1[j] - down1[j]) + b2[j] * (x[j] + x[j] - up2[j] - down2[j])
    if j >= 1 or not first:
        g += a1 * (x[j] - x[j - 1])
    if j + 1 < width or not last:
        g += a1 * (x[j] - x[j + 1])
    if j >= 2 or not first:
        g += a2[j] * (x[j] - x[j - 2])
    if j + 2 < width or not last:
        g += a2[j] * (x[j] - x[j + 2])
    return g


cdef inline Py_ssize_t border_column(Py_ssize_t edge, bint first, bint last, Py_ssize_t width) noexcept nogil:
    # The image's outermost two columns at each side, in the strip's own count; -1 where this strip has no such column.
    cdef Py_ssize_t j = edge if edge < 2 else width - 4 + edge
    return j if (first if edge < 2 else last) and 0 <= j < width else -1


cdef inline void gradient_row(
    const real *x, const real *up2, const real *up1, const real *down1, const real *down2,
    real a1, const real *a2, const real *b1, const real *b2, bint first, bint last, Py_ssize_t width,
    real *out,
) noexcept nogil:
    # The outermost columns are done again: a vector loop that began at the third would write unaligned.
    cdef Py_ssize_t j, edge
    for j in range(width):
        out[j] = gradient_at(x, up2, up1, down1, down2, a1, a2, b1, b2, j)
    for edge in range(4):
        j = border_column(edge, first, last, width)
        if j >= 0:
            out[j] = border_gradient_at(x, up2, up1, down1, down2, a1, a2, b1, b2, j, first, last, width)


cdef inline void majorise_row(
    real a1, const real *a2, const real *b1, const real *b2, Py_ssize_t width, real *steps_out
) noexcept nogil:
    # One over the diagonal of a quadratic that touches the loss from above: twice the sum of the absolute taps of its
    # terms.
    cdef Py_ssize_t j
    cdef real diagonal
    for j in range(width):
        diagonal = 4 * ((a1 + a2[j]) + (b1[j] + b2[j]))
        steps_out[j] = 1 / (diagonal if diagonal > 0 else 1)


cdef inline void update_row(
    const real *x, const real *up2, const real *up1, const real *down1, const real *down2,
    real a1, const real *a2, const real *b1, const real *b2, bint first, bint last, Py_ssize_t width,
    const unsigned char *free, const real *steps, real low, real high,
    real *out,
) noexcept nogil:
    cdef Py_ssize_t j, edge
    cdef real g, new
    for j in range(width):
        g = gradient_at(x, up2, up1, down1, down2, a1, a2, b1, b2, j)
        new = clip(x[j] - steps[j] * g, low, high)
        out[j] = new if free[j] else x[j]
    for edge in range(4):
        j = border_column(edge, first, last, width)
        if j >= 0:
            g = border_gradient_at(x, up2, up1, down1, down2, a1, a2, b1, b2, j, first, last, width)
            new = clip(x[j] - steps[j] * g, low, high)
            out[j] = new if free[j] else x[j]


cdef inline void descend_row(
    const real *x, const real *up2, const real *up1, const real *down1, const real *down2,
    real a1, const real *a2, const real *b1, const real *b2, bint first, bint last, Py_ssize_t width,
    const unsigned char *free, real step, real low, real high,
    real *out,
) noexcept nogil:
    # update_row with one step for all: a row of equal steps would cost the first-level cache 5 % of the sweep.
    cdef Py_ssize_t j, edge
    cdef real g, new
    for j in range(width):
        g = gradient_at(x, up2, up1, down1, down2, a1, a2, b1, b2, j)
        new = clip(x[j] - step * g, low, high)
        out[j] = new if free[j] else x[j]
    for edge in range(4):
        j = border_column(edge, first, last, width)
        if j >= 0:
            g = border_gradient_at(x, up2, up1, down1, down2, a1, a2, b1, b2, j, first, last, width)
            new = clip(x[j] - step * g, low, high)
            out[j] = new if free[j] else x[j]


cdef inline void add_squares(const real *a, const real *b, real *sums, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        sums[j] += (a[j] - b[j]) * (a[j] - b[j])


cdef inline void fold_to_two(real *lanes) noexcept nogil:
    # Add the 16 lanes pairwise until two are left; the parity of a lane stays that of its sum.
    cdef Py_ssize_t j
    for j in range(8):
        lanes[j] += lanes[j + 8]
    for j in range(4):
        lanes[j] += lanes[j + 4]
    for j in range(2):
        lanes[j] += lanes[j + 2]


cdef inline void row_squares(const real *row, double *out, Py_ssize_t width) noexcept nogil:
    # The three sums of squared differences inside a strip's row: stride 1, stride 2 at even, at odd columns.
    cdef real lanes1[LANES]
    cdef real lanes2[LANES]
    cdef Py_ssize_t j, lane, block
    cdef Py_ssize_t whole = max(0, (width - 2) // LANES * LANES)
    for lane in range(LANES):
        lanes1[lane] = 0
        lanes2[lane] = 0
    for block in range(whole // LANES):
        j = block * LANES
        for lane in range(LANES):
            lanes1[lane] += (row[j + lane + 1] - row[j + lane]) * (row[j + lane + 1] - row[j + lane])
            lanes2[lane] += (row[j + lane + 2] - row[j + lane]) * (row[j + lane + 2] - row[j + lane])
    for j in range(whole, width - 1):
        lanes1[j - whole] += (row[j + 1] - row[j]) * (row[j + 1] - row[j])
    for j in range(whole, width - 2):
        lanes2[j - whole] += (row[j + 2] - row[j]) * (row[j + 2] - row[j])
    fold_to_two(lanes1)
    fold_to_two(lanes2)
    out[0] = lanes1[0] + lanes1[1]
    out[1] = lanes2[0]
    out[2] = lanes2[1]


cdef inline void flush(real *sums, double *out, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] += sums[j]
        sums[j] = 0


# The walks down a strip.

cdef inline void add_columns(
    const real *row, Py_ssize_t i, Py_ssize_t cols, real[3][WIDEST] sums, Py_ssize_t width
) noexcept nogil:
    # The squared differences of row i to those above it; at the top to itself, which adds nothing.
    cdef const real *up1 = row - cols if i > 0 else row
    cdef const real *up2 = row - 2 * cols if i > 1 else row
    cdef real *sums1 = sums[0]
    cdef real *sums2 = sums[1 + (i & 1)]
    cdef Py_ssize_t j
    for j in range(width):
        sums1[j] += (row[j] - up1[j]) * (row[j] - up1[j])
        sums2[j] += (row[j] - up2[j]) * (row[j] - up2[j])


cdef inline void flush_columns(
    real[3][WIDEST] sums, double[:, ::1] out, Py_ssize_t start, Py_ssize_t width
) noexcept nogil:
    cdef Py_ssize_t family
    for family in range(3):
        flush(sums[family], &out[family, start], width)


cdef inline void clear_columns(
    real[3][WIDEST] sums, double[:, ::1] out, Py_ssize_t start, Py_ssize_t width
) noexcept nogil:
    cdef Py_ssize_t family, j
    for family in range(3):
        clear(sums[family], width)
        for j in range(start, start + width):
            out[family, j] = 0


cdef void measure_strip(
    const real[:, ::1] x, Py_ssize_t k,
    double[:, :, ::1] row_sums, double[:, ::1] column_sums, real[:, :, ::1] halo,
) noexcept nogil:
    cdef Py_ssize_t rows = x.shape[0], cols = x.shape[1], start = strip_start(cols, k), i
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start
    cdef real[3][WIDEST] sums
    cdef const real *row
    clear_columns(sums, column_sums, start, width)
    for i in range(rows):
        row = &x[i, start]
        add_columns(row, i, cols, sums, width)
        row_squares(row, &row_sums[k, i, 0], width)
        store_halo(row, halo, k, i, width)
        if (i + 1) % BLOCK == 0 or i + 1 == rows:
            flush_columns(sums, column_sums, start, width)


cdef void gradient_strip(
    const real[:, ::1] x, Py_ssize_t k,
    const real[:, ::1] row_weights, const real[:, ::1] column_weights, const real[:, :, ::1] halo,
    real[:, ::1] out,
) noexcept nogil:
    cdef Py_ssize_t rows = x.shape[0], cols = x.shape[1], start = strip_start(cols, k), i
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start
    cdef real[WIDEST + 2 * PAD] padded
    cdef real[WIDEST] a2
    cdef const real *row
    clear(padded, WIDEST + 2 * PAD)
    for i in range(rows):
        row = &x[i, start]
        load_row(row, halo, k, i, &padded[PAD], width)
        alternate(row_weights[i, 1], row_weights[i, 2], a2, width)
        gradient_row(
            &padded[PAD],
            row - 2 * cols if i > 1 else row, row - cols if i > 0 else row,
            row + cols if i + 1 < rows else row, row + 2 * cols if i + 2 < rows else row,
            row_weights[i, 0], a2, &column_weights[0, start], &column_weights[1 + (i & 1), start],
            k == 0, k + 1 == halo.shape[0], width, &out[i, start],
        )


cdef void sweep_strip(
    real[:, ::1] x, real *u, const unsigned char[:, ::1] free, Py_ssize_t k,
    real step, real momentum, real low, real high, bint track_change,
    const real[:, ::1] row_weights, const real[:, ::1] column_weights, const real[:, :, ::1] halo_in,
    double[:, :, ::1] row_sums, double[:, ::1] column_sums, real[:, :, ::1] halo_out, double[:, ::1] totals,
) noexcept nogil:
    # u is NULL for a plain step; otherwise each pixel has a step of its own, u holds the iterate before x was
    # extrapolated, and x is extrapolated again.
    cdef Py_ssize_t rows = x.shape[0], cols = x.shape[1], start = strip_start(cols, k), i, j
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start
    cdef real[3][WIDEST + 2 * PAD] old  # the last three rows as they were, by i % 3
    cdef real[3][WIDEST] sums
    cdef real[WIDEST] a2
    cdef real[WIDEST] steps
    cdef real[WIDEST] slope
    cdef real[WIDEST] change
    cdef real *row
    cdef real *here
    cdef real *up1
    cdef real *up2
    cdef real *down1
    cdef real *down2
    for i in range(3):
        clear(old[i], WIDEST + 2 * PAD)
    clear_columns(sums, column_sums, start, width)
    clear(slope, width)
    clear(change, width)
    totals[k, 0] = 0
    totals[k, 1] = 0
    for i in range(rows):
        row = &x[i, start]
        if i + AHEAD < rows:
            for j in range(width // 16):
                prefetch(row + AHEAD * cols + 16 * j)
                if u != NULL:
                    prefetch(u + (i + AHEAD) * cols + start + 16 * j)
            for j in range(width // 64):
                prefetch(&free[i + AHEAD, start + 64 * j])
        load_row(row, halo_in, k, i, &old[i % 3][PAD], width)
        here = &old[i % 3][PAD]
        up1 = &old[(i + 2) % 3][PAD] if i > 0 else here
        up2 = &old[(i + 1) % 3][PAD] if i > 1 else here
        alternate(row_weights[i, 1], row_weights[i, 2], a2, width)
        down1 = row + cols if i + 1 < rows else here
        down2 = row + 2 * cols if i + 2 < rows else here
        if u != NULL:
            majorise_row(
                row_weights[i, 0], a2, &column_weights[0, start], &column_weights[1 + (i & 1), start], width, steps
            )
            update_row(
                here, up2, up1, down1, down2,
                row_weights[i, 0], a2, &column_weights[0, start], &column_weights[1 + (i & 1), start],
                k == 0, k + 1 == halo_in.shape[0], width, &free[i, start], steps, low, high, row,
            )
            extrapolate_row(here, row, u + i * cols + start, momentum, slope, change, width)
        else:
            descend_row(
                here, up2, up1, down1, down2,
                row_weights[i, 0], a2, &column_weights[0, start], &column_weights[1 + (i & 1), start],
                k == 0, k + 1 == halo_in.shape[0], width, &free[i, start], step, low, high, row,
            )
            if track_change:
                add_squares(row, here, change, width)
        add_columns(row, i, cols, sums, width)
        # One row behind: reading across the stores just made would stall.
        if i > 0:
            row_squares(row - cols, &row_sums[k, i - 1, 0], width)
        store_halo(row, halo_out, k, i, width)
        if (i + 1) % BLOCK == 0 or i + 1 == rows:
            flush_columns(sums, column_sums, start, width)
            totals[k, 0] += flush_total(change, width)
            totals[k, 1] += flush_total(slope, width)
    row_squares(&x[rows - 1, start], &row_sums[k, rows - 1, 0], width)


# From sums to norms.

cdef inline double invert_norms(double *squares, real *inverse_out, Py_ssize_t n) noexcept nogil:
    # Write 1 / sqrt(squares) and return the sum of the roots. A constant line has norm 0; its term has no gradient
    # there, and 0 is the one that leaves it alone.
    cdef double[8] lanes
    cdef double total = 0
    cdef Py_ssize_t i, lane
    for i in range(n):
        squares[i] = sqrt(squares[i])
        inverse_out[i] = <real> (1 / (squares[i] if squares[i] > 0 else INFINITY))
    for lane in range(8):
        lanes[lane] = 0
    for i in range(n // 8):
        for lane in range(8):
            lanes[lane] += squares[8 * i + lane]
    for i in range(n // 8 * 8, n):
        total += squares[i]
    for lane in range(8):
        total += lanes[lane]
    return total


cdef double finish(
    double[:, :, ::1] row_sums, double[:, ::1] column_sums, const real[:, :, ::1] halo,
    real[:, ::1] row_weights, real[:, ::1] column_weights,
) noexcept nogil:
    # Add the strips and the differences across their borders, then turn all sums into inverse norms; return the loss.
    cdef Py_ssize_t rows = row_sums.shape[1], i, k
    cdef double d0, d1, d2
    for k in range(1, row_sums.shape[0]):
        for i in range(rows):
            d0 = halo[k, i, 0] - halo[k - 1, i, 3]
            d1 = halo[k, i, 0] - halo[k - 1, i, 2]
            d2 = halo[k, i, 1] - halo[k - 1, i, 3]
            row_sums[0, i, 0] += row_sums[k, i, 0] + d0 * d0
            row_sums[0, i, 1] += row_sums[k, i, 1] + d1 * d1
            row_sums[0, i, 2] += row_sums[k, i, 2] + d2 * d2
    return (
        invert_norms(&row_sums[0, 0, 0], &row_weights[0, 0], 3 * rows)
        + invert_norms(&column_sums[0, 0], &column_weights[0, 0], 3 * column_sums.shape[1])
    )


# What Python calls. The workspace of an image of (rows, cols) pixels, the same in each function:
#     row_weights     (rows, 3)         inverse norms of each row: stride 1, stride 2 at even, at odd columns
#     column_weights  (3, cols)         those of each column
#     halo            (strips, rows, 4) the first two and last two values of each strip's rows
#     row_sums        (strips, rows, 3) float64, scratch
#     column_sums     (3, cols)         float64, scratch
#     totals          (strips, 2)       float64, scratch

def count_strips(Py_ssize_t cols):
    """Return into how many strips an image with so many columns is cut."""
    return strip_count(cols)


cdef int require_workspace(
    Py_ssize_t rows, Py_ssize_t cols, const real[:, ::1] row_weights, const real[:, ::1] column_weights,
    const real[:, :, ::1] halo,
) except -1:
    require(rows > 0 and cols > 0, "x must not be empty")
    require(row_weights.shape[0] == rows and row_weights.shape[1] == 3, "row_weights must have shape (rows, 3)")
    require(
        column_weights.shape[0] == 3 and column_weights.shape[1] == cols, "column_weights must have shape (3, cols)"
    )
    require(
        halo.shape[0] == strip_count(cols) and halo.shape[1] == rows and halo.shape[2] == 4,
        "halo must have shape (strips, rows, 4)",
    )
    return 0


cdef int require_sums(
    Py_ssize_t rows, Py_ssize_t cols, const double[:, :, ::1] row_sums, const double[:, ::1] column_sums
) except -1:
    require(
        row_sums.shape[0] == strip_count(cols) and row_sums.shape[1] == rows and row_sums.shape[2] == 3,
        "row_sums must have shape (strips, rows, 3)",
    )
    require(column_sums.shape[0] == 3 and column_sums.shape[1] == cols, "column_sums must have shape (3, cols)")
    return 0


def measure(
    const real[:, ::1] x not None,
    int threads,
    real[:, ::1] row_weights not None,
    real[:, ::1] column_weights not None,
    real[:, :, ::1] halo not None,
    double[:, :, ::1] row_sums not None,
    double[:, ::1] column_sums not None,
):
    """Return the loss of x; read x, write the workspace."""
    cdef Py_ssize_t k, n = strip_count(x.shape[1])
    cdef double value
    require_workspace(x.shape[0], x.shape[1], row_weights, column_weights, halo)
    require_sums(x.shape[0], x.shape[1], row_sums, column_sums)
    with nogil:
        for k in prange(n, num_threads=threads, schedule="static"):
            measure_strip(x, k, row_sums, column_sums, halo)
        value = finish(row_sums, column_sums, halo, row_weights, column_weights)
    return value


def gradient(
    const real[:, ::1] x not None,
    int threads,
    const real[:, ::1] row_weights not None,
    const real[:, ::1] column_weights not None,
    const real[:, :, ::1] halo not None,
    real[:, ::1] out not None,
):
    """Write the gradient at x to out; read x and what measure(x) left in the workspace."""
    cdef Py_ssize_t k, n = strip_count(x.shape[1])
    require_workspace(x.shape[0], x.shape[1], row_weights, column_weights, halo)
    require(out.shape[0] == x.shape[0] and out.shape[1] == x.shape[1], "out must have the shape of x")
    with nogil:
        for k in prange(n, num_threads=threads, schedule="static"):
            gradient_strip(x, k, row_weights, column_weights, halo, out)


def descend(
    real[:, ::1] x not None,
    const unsigned char[:, ::1] free not None,
    double step,
    double low,
    double high,
    bint track_change,
    int threads,
    real[:, ::1] row_weights not None,
    real[:, ::1] column_weights not None,
    const real[:, :, ::1] halo not None,
    real[:, :, ::1] halo_out not None,
    double[:, :, ::1] row_sums not None,
    double[:, ::1] column_sums not None,
    double[:, ::1] totals not None,
):
    """Set x to clip(x - step gradient(x), low, high) where free, in one pass; return the loss of the new x.

    Reads and updates x and the workspace, which holds the measures of x before and after the call. With track_change,
    the sum of squared changes is sum(totals[:, 0]). step must not be negative.
    """
    cdef Py_ssize_t k, n = strip_count(x.shape[1])
    cdef double value
    require_sweep(x, free, row_weights, column_weights, halo, halo_out, row_sums, column_sums, totals)
    require(step >= 0, "step must not be negative")
    with nogil:
        for k in prange(n, num_threads=threads, schedule="static"):
            sweep_strip(
                x, NULL, free, k, <real> step, 0, <real> low, <real> high, track_change,
                row_weights, column_weights, halo, row_sums, column_sums, halo_out, totals,
            )
        value = finish(row_sums, column_sums, halo_out, row_weights, column_weights)
    return value


def accelerate(
    real[:, ::1] v not None,
    real[:, ::1] u not None,
    const unsigned char[:, ::1] free not None,
    double momentum,
    double low,
    double high,
    int threads,
    real[:, ::1] row_weights not None,
    real[:, ::1] column_weights not None,
    const real[:, :, ::1] halo not None,
    real[:, :, ::1] halo_out not None,
    double[:, :, ::1] row_sums not None,
    double[:, ::1] column_sums not None,
    double[:, ::1] totals not None,
):
    """Take one step of accelerated, diagonally majorised descent where free, in one pass; return the loss of the new v.

    n = clip(v - gradient(v) / diagonal(v), low, high); v = n + momentum (n - u); u = n. Reads and updates v, u and the
    workspace, which holds the measures of v before and after the call. sum(totals[:, 0]) is that of (n - u)^2, and
    sum(totals[:, 1]) that of (v - n)(n - u), positive when the momentum points uphill.
    """
    cdef Py_ssize_t k, n = strip_count(v.shape[1])
    cdef double value
    require_sweep(v, free, row_weights, column_weights, halo, halo_out, row_sums, column_sums, totals)
    require(u.shape[0] == v.shape[0] and u.shape[1] == v.shape[1], "u must have the shape of v")
    with nogil:
        for k in prange(n, num_threads=threads, schedule="static"):
            sweep_strip(
                v, &u[0, 0], free, k, 0, <real> momentum, <real> low, <real> high, True,
                row_weights, column_weights, halo, row_sums, column_sums, halo_out, totals,
            )
        value = finish(row_sums, column_sums, halo_out, row_weights, column_weights)
    return value


cdef int require_sweep(
    const real[:, ::1] x, const unsigned char[:, ::1] free,
    const real[:, ::1] row_weights, const real[:, ::1] column_weights, const real[:, :, ::1] halo,
    const real[:, :, ::1] halo_out, const double[:, :, ::1] row_sums, const double[:, ::1] column_sums,
    const double[:, ::1] totals,
) except -1:
    cdef Py_ssize_t rows = x.shape[0], cols = x.shape[1]
    require_workspace(rows, cols, row_weights, column_weights, halo)
    require_workspace(rows, cols, row_weights, column_weights, halo_out)
    require_sums(rows, cols, row_sums, column_sums)
    require(free.shape[0] == rows and free.shape[1] == cols, "free must have the shape of the image")
    require(totals.shape[0] == strip_count(cols) and totals.shape[1] == 2, "totals must have shape (strips, 2)")
    return 0
