"""Line smoothness: value, gradient, and the fused sweeps that descend it.

For an image x the loss is the sum, over every row and every column r, of
||diff r|| + ||diff r[0::2]|| + ||diff r[1::2]||. Its gradient needs the six families of norms (rows: stride 1, stride 2
at even and at odd columns; columns: stride 1, stride 2 at even and at odd rows), so a naive iteration reads the image
twice. A sweep here reads it once: it knows the norms of x, updates x in place, and gathers the norms of what it writes,
for the next sweep.

How it walks. The image is cut into strips of about 500 columns, so that the rows and the column sums at hand stay in
the first-level cache; a strip goes from top to bottom and keeps the three last rows as they were before the update.
What it needs of its neighbours as they were is in ``halo``: for each strip and row the first two and the last two
values; it leaves its own in ``halo_out``. Strips are therefore independent and are the parts that `threads` share out.

How it sums. Column sums run in the image's dtype over blocks of 64 rows, row sums in 16 lanes over a strip; what is
added across blocks and strips is double, in a fixed order. The result has the same bits for every thread count and
instruction set, and in float32 the value is right to about 1e-6.

Not checked: that the arrays of one call do not overlap. The row functions take plain pointers, because compilers
vectorise loops over them and not over memoryviews. What a row function writes is `restrict`, read by no other name.
"""

from libc.math cimport INFINITY, sqrt
from libc.string cimport memcpy, memset

include "rows.pxi"
include "threads.pxi"

cdef extern from "portable.h" nogil:
    void prefetch "graddesc_prefetch"(const void *address) noexcept

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
    const real *row, const real *halo, Py_ssize_t apart, bint at_left, bint at_right, real *out, Py_ssize_t width
) noexcept nogil:
    # Copy a row of a strip and put its neighbours' values beside it; at the image's border what stands there is unused.
    # halo has the strip's own, those of its neighbours are so far apart.
    memcpy(out, row, width * sizeof(real))
    if not at_left:
        (out - 2)[0] = (halo - apart)[2]
        (out - 1)[0] = (halo - apart)[3]
    if not at_right:
        out[width] = halo[apart]
        out[width + 1] = halo[apart + 1]


cdef inline void store_halo(const real *row, Py_ssize_t width, real *halo) noexcept nogil:
    halo[0] = row[0]
    halo[1] = row[min(1, width - 1)]
    halo[2] = row[max(width - 2, 0)]
    halo[3] = row[width - 1]


cdef inline void extrapolate_row(
    const real *v, real *restrict row, real *restrict u, real momentum, real *restrict slope, real *restrict change,
    Py_ssize_t width,
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


cdef inline void alternate(real even, real odd, real *restrict out, Py_ssize_t width) noexcept nogil:
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
    real *restrict out,
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
    real a1, const real *a2, const real *b1, const real *b2, Py_ssize_t width, real *restrict steps_out
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
    real *restrict out,
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
    real *restrict out,
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


cdef inline void add_squares(const real *a, const real *b, real *restrict sums, Py_ssize_t width) noexcept nogil:
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
    real[3][WIDEST] sums, double *out, Py_ssize_t cols, Py_ssize_t width
) noexcept nogil:
    cdef Py_ssize_t family
    for family in range(3):
        flush(sums[family], out + family * cols, width)


cdef inline void clear_columns(
    real[3][WIDEST] sums, double *out, Py_ssize_t cols, Py_ssize_t width
) noexcept nogil:
    cdef Py_ssize_t family
    for family in range(3):
        clear(sums[family], width)
        clear(out + family * cols, width)


cdef enum:
    MEASURE = 0
    GRADIENT = 1
    SWEEP = 2


cdef struct Job:
    # What a strip's walk reads and writes; each walk has its own of these.
    bint single  # all arrays of the image's dtype are float, or else double
    int task
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t strips
    void *x
    void *u
    const unsigned char *free
    double step
    double momentum
    double low
    double high
    bint track_change
    const void *row_weights
    const void *column_weights
    const void *halo
    double *row_sums
    double *column_sums
    void *halo_out
    double *totals
    void *out


cdef void measure_strip(const Job *job, const real *x, real *halo_out, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t rows = job.rows, cols = job.cols, start = strip_start(cols, k), i
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start
    cdef real[3][WIDEST] sums
    cdef const real *row
    clear_columns(sums, job.column_sums + start, cols, width)
    for i in range(rows):
        row = x + i * cols + start
        add_columns(row, i, cols, sums, width)
        row_squares(row, job.row_sums + 3 * (k * rows + i), width)
        store_halo(row, width, halo_out + 4 * (k * rows + i))
        if (i + 1) % BLOCK == 0 or i + 1 == rows:
            flush_columns(sums, job.column_sums + start, cols, width)


cdef void gradient_strip(const Job *job, const real *x, real *out, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t rows = job.rows, cols = job.cols, start = strip_start(cols, k), i
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start
    cdef bint at_left = k == 0, at_right = k + 1 == job.strips
    cdef real[WIDEST + 2 * PAD] padded
    cdef real[WIDEST] a2
    cdef const real *row
    cdef const real *halo = <const real *> job.halo + 4 * k * rows
    cdef const real *a = <const real *> job.row_weights
    cdef const real *b = <const real *> job.column_weights + start
    clear(padded, WIDEST + 2 * PAD)
    for i in range(rows):
        row = x + i * cols + start
        load_row(row, halo + 4 * i, 4 * rows, at_left, at_right, &padded[PAD], width)
        alternate(a[3 * i + 1], a[3 * i + 2], a2, width)
        gradient_row(
            &padded[PAD],
            row - 2 * cols if i > 1 else row, row - cols if i > 0 else row,
            row + cols if i + 1 < rows else row, row + 2 * cols if i + 2 < rows else row,
            a[3 * i], a2, b, b + (1 + (i & 1)) * cols, at_left, at_right, width, out + i * cols + start,
        )


cdef void sweep_strip(const Job *job, real *x, real *u, Py_ssize_t k) noexcept nogil:
    # u is NULL for a plain step; otherwise each pixel has a step of its own, u holds the iterate before x was
    # extrapolated, and x is extrapolated again.
    cdef Py_ssize_t rows = job.rows, cols = job.cols, start = strip_start(cols, k), i, j
    cdef Py_ssize_t width = strip_start(cols, k + 1) - start
    cdef bint at_left = k == 0, at_right = k + 1 == job.strips
    cdef real step = <real> job.step, momentum = <real> job.momentum, low = <real> job.low, high = <real> job.high
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
    cdef const real *halo = <const real *> job.halo + 4 * k * rows
    cdef real *halo_out = <real *> job.halo_out + 4 * k * rows
    cdef const real *a = <const real *> job.row_weights
    cdef const real *b = <const real *> job.column_weights + start
    cdef const unsigned char *free = job.free + start
    cdef double *row_sums = job.row_sums + 3 * k * rows
    cdef double *column_sums = job.column_sums + start
    cdef double *totals = job.totals + 2 * k
    for i in range(3):
        clear(old[i], WIDEST + 2 * PAD)
    clear_columns(sums, column_sums, cols, width)
    clear(slope, width)
    clear(change, width)
    totals[0] = 0
    totals[1] = 0
    for i in range(rows):
        row = x + i * cols + start
        if i + AHEAD < rows:
            for j in range(width // 16):
                prefetch(row + AHEAD * cols + 16 * j)
                if u != NULL:
                    prefetch(u + (i + AHEAD) * cols + start + 16 * j)
            for j in range(width // 64):
                prefetch(free + (i + AHEAD) * cols + 64 * j)
        load_row(row, halo + 4 * i, 4 * rows, at_left, at_right, &old[i % 3][PAD], width)
        here = &old[i % 3][PAD]
        up1 = &old[(i + 2) % 3][PAD] if i > 0 else here
        up2 = &old[(i + 1) % 3][PAD] if i > 1 else here
        alternate(a[3 * i + 1], a[3 * i + 2], a2, width)
        down1 = row + cols if i + 1 < rows else here
        down2 = row + 2 * cols if i + 2 < rows else here
        if u != NULL:
            majorise_row(a[3 * i], a2, b, b + (1 + (i & 1)) * cols, width, steps)
            update_row(
                here, up2, up1, down1, down2, a[3 * i], a2, b, b + (1 + (i & 1)) * cols, at_left, at_right, width,
                free + i * cols, steps, low, high, row,
            )
            extrapolate_row(here, row, u + i * cols + start, momentum, slope, change, width)
        else:
            descend_row(
                here, up2, up1, down1, down2, a[3 * i], a2, b, b + (1 + (i & 1)) * cols, at_left, at_right, width,
                free + i * cols, step, low, high, row,
            )
            if job.track_change:
                add_squares(row, here, change, width)
        add_columns(row, i, cols, sums, width)
        # One row behind: reading across the stores just made would stall.
        if i > 0:
            row_squares(row - cols, row_sums + 3 * (i - 1), width)
        store_halo(row, width, halo_out + 4 * i)
        if (i + 1) % BLOCK == 0 or i + 1 == rows:
            flush_columns(sums, column_sums, cols, width)
            totals[0] += flush_total(change, width)
            totals[1] += flush_total(slope, width)
    row_squares(x + (rows - 1) * cols + start, row_sums + 3 * (rows - 1), width)


cdef inline void do_strip_of(const Job *job, real *x, Py_ssize_t k) noexcept nogil:
    if job.task == MEASURE:
        measure_strip(job, x, <real *> job.halo_out, k)
    elif job.task == GRADIENT:
        gradient_strip(job, x, <real *> job.out, k)
    else:
        sweep_strip(job, x, <real *> job.u, k)


cdef void do_strip(void *argument, Py_ssize_t k) noexcept nogil:
    cdef Job *job = <Job *> argument
    if job.single:
        do_strip_of(job, <float *> job.x, k)
    else:
        do_strip_of(job, <double *> job.x, k)


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


cdef Job job_on(
    const real[:, ::1] x, int task, const real[:, ::1] row_weights, const real[:, ::1] column_weights,
    const real[:, :, ::1] halo,
) noexcept:
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.single = real is float
    job.task = task
    job.rows, job.cols, job.strips = x.shape[0], x.shape[1], halo.shape[0]
    job.x = <void *> &x[0, 0]
    job.row_weights, job.column_weights = &row_weights[0, 0], &column_weights[0, 0]
    job.halo = &halo[0, 0, 0]
    return job


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
    cdef Job job
    cdef double value
    require_workspace(x.shape[0], x.shape[1], row_weights, column_weights, halo)
    require_sums(x.shape[0], x.shape[1], row_sums, column_sums)
    job = job_on(x, MEASURE, row_weights, column_weights, halo)
    job.row_sums, job.column_sums, job.halo_out = &row_sums[0, 0, 0], &column_sums[0, 0], &halo[0, 0, 0]
    with nogil:
        run_parts(&do_strip, &job, job.strips, threads)
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
    cdef Job job
    require_workspace(x.shape[0], x.shape[1], row_weights, column_weights, halo)
    require(out.shape[0] == x.shape[0] and out.shape[1] == x.shape[1], "out must have the shape of x")
    job = job_on(x, GRADIENT, row_weights, column_weights, halo)
    job.out = &out[0, 0]
    with nogil:
        run_parts(&do_strip, &job, job.strips, threads)


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
    cdef Job job
    cdef double value
    require_sweep(x, free, row_weights, column_weights, halo, halo_out, row_sums, column_sums, totals)
    require(step >= 0, "step must not be negative")
    job = job_on(x, SWEEP, row_weights, column_weights, halo)
    job.free, job.step, job.low, job.high, job.track_change = &free[0, 0], step, low, high, track_change
    job.row_sums, job.column_sums, job.totals = &row_sums[0, 0, 0], &column_sums[0, 0], &totals[0, 0]
    job.halo_out = &halo_out[0, 0, 0]
    with nogil:
        run_parts(&do_strip, &job, job.strips, threads)
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
    cdef Job job
    cdef double value
    require_sweep(v, free, row_weights, column_weights, halo, halo_out, row_sums, column_sums, totals)
    require(u.shape[0] == v.shape[0] and u.shape[1] == v.shape[1], "u must have the shape of v")
    job = job_on(v, SWEEP, row_weights, column_weights, halo)
    job.u, job.free, job.momentum, job.low, job.high = &u[0, 0], &free[0, 0], momentum, low, high
    job.row_sums, job.column_sums, job.totals = &row_sums[0, 0, 0], &column_sums[0, 0], &totals[0, 0]
    job.halo_out = &halo_out[0, 0, 0]
    with nogil:
        run_parts(&do_strip, &job, job.strips, threads)
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
