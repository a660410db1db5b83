"""Conjugate gradients with a multigrid cycle as preconditioner, for quadratic losses of first or second differences.

The energy is that of ``stencil``, FIRST or SECOND, with its weights frozen; its gradient is A x. Free pixels (1) are
unknown, the others stay. x is the iterate, r = -A x its residual, and z = M r what a cycle M makes of the residual.

Levels. A coarse pixel covers 2 x 2 finer ones, and is unknown if one of them is. P interpolates bilinearly between
the centres of coarse pixels, extrapolates beyond the outermost, and is 0 where the finer pixel is known. The coarse
operator is P' A P (Galerkin): for any weights a symmetric stencil of 5 x 5, of which 13 numbers a pixel are stored.
The loss's own operator, on the finest level, is not stored. A column of P has more than half of its weight on the 2 x
2 pixels that the coarse one covers, so P has full rank, and no coarse operator is singular unless A is. To repeat the
loss's stencil on coarse levels is cheaper, and singular for second differences where the known coarse pixels lie on
one line.

The cycle is a V for FIRST; for SECOND each coarse level but the first is visited twice, which costs a fifth and saves
a third of the iterations. The smoother is Richardson's iteration with the sums of each row's absolute taps between
unknown pixels as diagonal: no eigenvalue exceeds 1, on any level and for any weights, so M is symmetric and positive
definite. One step for FIRST, two for SECOND, at the inverses of Chebyshev's roots on [1/4, 1].

Precision. x is double, the arrays of the cycle and of conjugate gradients are float. r is computed anew from x, in
double, whenever r'z has fallen by 100, and where the stop is near. Second differences of a smooth image are smaller
than the rounding of their terms: where such a difference decides (of the direction, and on coarse levels that are
visited again) its terms are double, and r is made of differences of differences, of which the first are exact. In the
smoother they need not be, as no coarse level enlarges what it gets wrong.

The stop. theta is the least eigenvalue of M A seen so far: the least of the tridiagonal matrix that the coefficients
of conjugate gradients make (Lanczos). The estimate of the rms distance to the minimiser is 2 rms(z) / theta, from the
second iteration on. It is no bound, for what has not been seen may be smaller: for FIRST it has to be within two
thirds of what is asked for; for SECOND, and with weights, within it once and within a quarter of it the next time.
Nothing settles where the minimiser is not unique, nor where what some image costs is less than the rounding of coarse
taps: weights of many magnitudes and few known pixels.

How it walks. The unknown pixels of each level lie in spans, parts of rows of at most 256 pixels, cut where 32 pixels
side by side are known; the work is done span by span, and none elsewhere. What is read beside a span is 0 there and
stays so: the arrays of a level have two rows and at least 16 columns around them. A pass reads some arrays and writes
others, or the same pixels of one, so spans are independent of each other. Fixed parts of them are what `threads`
share out. Sums are double, in 8 or 16 lanes, and are added span by span and part by part: the bits depend on neither.

Not checked: that the arrays of one call do not overlap.
"""

from libc.math cimport INFINITY, fabsf, isfinite, sqrt
from libc.stdlib cimport calloc, free as release

include "rows.pxi"
include "threads.pxi"

ctypedef fused wide:
    float
    double

cdef enum:
    FIRST = 0
    SECOND = 1

cdef enum:
    OUTSTANDING = 8  # times the contrast, beyond which a difference stands out
    SPAN = 256  # columns of a span, at most
    BLOCK_WIDTH = 32  # where spans may begin and end
    LANES = 16
    ROOM = 2 * SPAN + 3 * PAD  # columns of the finer level under a span, and around
    BAND_ROWS = 12  # rows of the finer level that the basis functions of one coarse row reach, and around
    COLOURS = 5  # columns from one basis function to the next that it does not meet
    LEVELS = 40
    PARTS = 64
    DIRECT = 40  # unknowns that are solved for directly
    LANCZOS = 100  # iterations until conjugate gradients start anew
    PATIENCE = 30  # iterations without a better estimate
    GRAIN = 1 << 14  # pixels of a part of a pass, 5 to 15 us
    GALERKIN_GRAIN = 1 << 9  # the same of the coarse level whose operator is made, 30 us
    SHARED = 16  # parts for which it pays to wake other threads

# Where the taps of a coarse operator stand: of a pixel itself, the two on its right, the five below, the five below.
cdef enum:
    SAME_ROW = 0
    NEXT_ROW = 5
    SECOND_ROW = 10
    TAPS = 13


cdef struct Loss:
    # The loss's own, of the finest level; omega of a row is `omega_stride` after that of the row above.
    int kind
    bint plain  # omega is 2 everywhere
    Py_ssize_t rows
    Py_ssize_t cols
    const float *omega
    Py_ssize_t omega_stride


cdef struct Span:
    int row
    int first
    int last


cdef struct Level:
    # Arrays point to pixel (0, 0), rows are `stride` apart.
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t stride
    Py_ssize_t unknown
    Py_ssize_t left  # the columns in which pixels are unknown
    Py_ssize_t right
    Py_ssize_t pixels  # in spans
    Py_ssize_t spans
    Span *span
    unsigned char *free
    float *step  # the inverse of the smoother's diagonal, 0 where known
    float *r
    float *z
    float *spare
    float *taps  # planes of `plane` numbers; NULL on the finest level
    Py_ssize_t plane


cdef struct Solver:
    Loss loss
    Level[LEVELS] level
    int levels
    int smoothing
    float[2] relaxation
    int threads
    bint unique
    double *x
    float *direction
    float *twos
    double *factor  # of the coarsest level, by rows
    Py_ssize_t pairs
    double[LANCZOS] diagonal
    double[LANCZOS] squared  # off the diagonal
    # The state of conjugate gradients.
    bint started
    bint renew  # the residual, in the next iteration
    bint firm  # the coarse operators are
    bint unsure  # they cannot tell what some image costs
    bint fresh  # the residual is that of x, not a recurrence
    bint settled
    bint stalled
    int steps  # since they started
    int passes  # in a row
    int since_best
    Py_ssize_t iterations
    double rz
    double zz
    double rz_renewed
    double alpha
    double beta
    double theta
    double theta_since_start
    double contrast
    double estimate
    double best


cdef struct Job:
    # One pass over the spans of a level.
    Solver *solver
    Level *level
    const Loss *loss
    Py_ssize_t parts
    const float *source
    float *out
    double factor
    bint measure
    bint in_double
    double[2 * PARTS] sums


include "multigrid.pxi"


# ---- the loss's operator, a part of a row at a time ----
#
# Pointers are at the first of `width` pixels; the arithmetic has the type of out. With sign -1 the rows of A are
# applied. With 1 all taps have their absolute values, those of the differences too: of the mask this makes the
# smoother's diagonal.

cdef inline void differ_along(
    int kind, const real *x, const float *omega, wide sign, Py_ssize_t first, Py_ssize_t last, wide *out
) noexcept nogil:
    cdef Py_ssize_t j
    cdef wide half = <wide> 0.5
    for j in range(first, last):
        if kind == FIRST:
            out[j] = half * (<wide> omega[j] + <wide> omega[j + 1]) * (<wide> x[j + 1] + sign * <wide> x[j])
        else:
            out[j] = <wide> omega[j] * (
                (<wide> x[j + 1] + sign * <wide> x[j]) + (<wide> (x - 1)[j] + sign * <wide> x[j])
            )


cdef inline void differ_down(
    int kind, const real *above, const real *x, const real *below, const float *omega, const float *omega_below,
    wide sign, Py_ssize_t width, wide *out,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef wide half = <wide> 0.5
    for j in range(width):
        if kind == FIRST:
            out[j] = half * (<wide> omega[j] + <wide> omega_below[j]) * (<wide> below[j] + sign * <wide> x[j])
        else:
            out[j] = <wide> omega[j] * (
                (<wide> below[j] + sign * <wide> x[j]) + (<wide> above[j] + sign * <wide> x[j])
            )


cdef inline void differ_across(
    const real *x, const real *below, const float *omega, const float *omega_below, wide sign,
    Py_ssize_t first, Py_ssize_t last, wide *out,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef wide half = <wide> 0.5
    for j in range(first, last):
        out[j] = half * (
            (<wide> omega[j] + <wide> omega[j + 1]) + (<wide> omega_below[j] + <wide> omega_below[j + 1])
        ) * (
            (<wide> x[j] + sign * <wide> x[j + 1]) + sign * (<wide> below[j] + sign * <wide> below[j + 1])
        )


cdef void first_row(
    const Loss *loss, const real *x, Py_ssize_t stride, wide sign, Py_ssize_t i, Py_ssize_t first,
    Py_ssize_t width, wide *out,
) noexcept nogil:
    cdef wide[SPAN + 2 * PAD] along
    cdef wide[SPAN] up
    cdef wide[SPAN] down
    cdef wide *p = along + PAD
    cdef const float *omega = loss.omega + i * loss.omega_stride + first
    cdef Py_ssize_t j, step = loss.omega_stride
    (p - 1)[0] = p[width - 1] = 0
    clear(up, width)
    clear(down, width)
    differ_along(FIRST, x, omega, sign, max(-1, -first), min(width, loss.cols - 1 - first), p)
    if i > 0:
        differ_down(FIRST, x, x - stride, x, omega - step, omega, sign, width, up)
    if i + 1 < loss.rows:
        differ_down(FIRST, x, x, x + stride, omega, omega + step, sign, width, down)
    for j in range(width):
        out[j] = ((p - 1)[j] + sign * p[j]) + (up[j] + sign * down[j])


cdef void second_row(
    const Loss *loss, const real *x, Py_ssize_t stride, wide sign, Py_ssize_t i, Py_ssize_t first,
    Py_ssize_t width, wide *out,
) noexcept nogil:
    cdef wide[SPAN + 2 * PAD] along
    cdef wide[3][SPAN] down  # of the rows above, here and below
    cdef wide[2][SPAN + 2 * PAD] across  # of the cells above and below
    cdef wide *p = along + PAD
    cdef wide *above = across[0] + PAD
    cdef wide *below = across[1] + PAD
    cdef const float *omega = loss.omega + i * loss.omega_stride + first
    cdef Py_ssize_t j, k, step = loss.omega_stride, cols = loss.cols
    cdef Py_ssize_t start = max(-1, -first), stop = min(width, cols - 1 - first)
    cdef wide middle = sign + sign
    clear(p - 1, width + 2)
    clear(above - 1, width + 1)
    clear(below - 1, width + 1)
    differ_along(SECOND, x, omega, sign, max(-1, 1 - first), min(width + 1, cols - 1 - first), p)
    for k in range(3):
        if 0 < i + k - 1 < loss.rows - 1:
            differ_down(
                SECOND, x + (k - 2) * stride, x + (k - 1) * stride, x + k * stride, omega + (k - 1) * step, omega,
                sign, width, down[k],
            )
        else:
            clear(down[k], width)
    if i > 0:
        differ_across(x - stride, x, omega - step, omega, sign, start, stop, above)
    if i + 1 < loss.rows:
        differ_across(x, x + stride, omega, omega + step, sign, start, stop, below)
    for j in range(width):
        out[j] = (
            (((p - 1)[j] + p[j + 1]) + middle * p[j]) + ((down[0][j] + down[2][j]) + middle * down[1][j])
            + ((below[j] + sign * (below - 1)[j]) + sign * (above[j] + sign * (above - 1)[j]))
        )


cdef inline void weighted_row(
    const Loss *loss, const real *x, Py_ssize_t stride, wide sign, Py_ssize_t i, Py_ssize_t first,
    Py_ssize_t width, wide *out,
) noexcept nogil:
    if loss.kind == FIRST:
        first_row(loss, x, stride, sign, i, first, width, out)
    else:
        second_row(loss, x, stride, sign, i, first, width, out)


cdef inline void plain_row(int kind, const real *x, Py_ssize_t stride, Py_ssize_t width, wide *out) noexcept nogil:
    # Where every difference fits into the image.
    cdef Py_ssize_t j
    cdef const real *up = x - stride
    cdef const real *down = x + stride
    cdef const real *far_up = up - stride
    cdef const real *far_down = down + stride
    cdef wide two = 2, four = 4, eight = 8, sixteen = 16, forty = 40
    for j in range(width):
        if kind == FIRST:
            out[j] = eight * <wide> x[j] - two * (
                (<wide> (x - 1)[j] + <wide> x[j + 1]) + (<wide> up[j] + <wide> down[j])
            )
        else:
            out[j] = (
                forty * <wide> x[j]
                - sixteen * ((<wide> (x - 1)[j] + <wide> x[j + 1]) + (<wide> up[j] + <wide> down[j]))
            ) + (
                four * (
                    (<wide> (up - 1)[j] + <wide> up[j + 1]) + (<wide> (down - 1)[j] + <wide> down[j + 1])
                )
                + two * ((<wide> (x - 2)[j] + <wide> x[j + 2]) + (<wide> far_up[j] + <wide> far_down[j]))
            )


cdef inline void fine_row(
    const Loss *loss, const real *x, Py_ssize_t stride, Py_ssize_t i, Py_ssize_t first, Py_ssize_t width, wide *out
) noexcept nogil:
    # With weights and at the image's border by the general way; in a loop, for the compiler inlines it at each call.
    cdef Py_ssize_t reach = 1 if loss.kind == FIRST else 2
    cdef Py_ssize_t left = max(0, reach - first), right = min(width, loss.cols - reach - first)
    cdef Py_ssize_t side, start, stop
    cdef wide sign = -1
    if not loss.plain or i < reach or i >= loss.rows - reach or left >= right:
        left = right = width
    elif loss.kind == FIRST:
        plain_row(FIRST, x + left, stride, right - left, out + left)
    else:
        plain_row(SECOND, x + left, stride, right - left, out + left)
    for side in range(2):
        start = right if side else 0
        stop = width if side else left
        if start < stop:
            weighted_row(loss, x + start, stride, sign, i, first + start, stop - start, out + start)


# ---- a coarse operator ----

cdef inline void coarse_row(
    const float *taps, Py_ssize_t plane, Py_ssize_t taps_stride, const float *x, Py_ssize_t stride, Py_ssize_t width,
    wide *out,
) noexcept nogil:
    # A tap between two pixels is stored with the upper one, or the left one. The compiler unrolls the loops over d.
    cdef Py_ssize_t j, d
    cdef wide near, far
    cdef const float *next_row = taps + NEXT_ROW * plane
    cdef const float *second_row = taps + SECOND_ROW * plane
    cdef const float *from_next = next_row - taps_stride
    cdef const float *from_second = second_row - 2 * taps_stride
    for j in range(width):
        near = <wide> taps[j] * <wide> x[j]
        far = 0
        for d in range(1, 3):
            near += <wide> taps[d * plane + j] * <wide> x[j + d] + <wide> taps[d * plane + j - d] * <wide> x[j - d]
        for d in range(-2, 3):
            near += (
                <wide> next_row[d * plane + j] * <wide> x[stride + j + d]
                + <wide> from_next[d * plane + j - d] * <wide> x[j - d - stride]
            )
            far += (
                <wide> second_row[d * plane + j] * <wide> x[2 * stride + j + d]
                + <wide> from_second[d * plane + j - d] * <wide> x[j - d - 2 * stride]
            )
        out[j] = near + far


cdef inline void add_sizes(const float *taps, const float *mirrored, Py_ssize_t width, float *out) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] += fabsf(taps[j]) + fabsf(mirrored[j])


cdef inline void tap_sizes(
    const float *taps, Py_ssize_t plane, Py_ssize_t stride, Py_ssize_t width, float *out
) noexcept nogil:
    # The sums of the absolute values of the pixels' taps.
    cdef Py_ssize_t d, j
    for j in range(width):
        out[j] = taps[j]
    for d in range(1, 3):
        add_sizes(taps + d * plane, taps + d * plane - d, width, out)
    for d in range(-2, 3):
        add_sizes(taps + (NEXT_ROW + d) * plane, taps + (NEXT_ROW + d) * plane - stride - d, width, out)
        add_sizes(taps + (SECOND_ROW + d) * plane, taps + (SECOND_ROW + d) * plane - 2 * stride - d, width, out)


cdef inline void apply_row(
    const Loss *loss, const Level *level, const float *x, Py_ssize_t stride, Py_ssize_t i, Py_ssize_t first,
    Py_ssize_t width, float *out,
) noexcept nogil:
    # x points to pixel (i, first), its rows are `stride` apart.
    if level.taps == NULL:
        fine_row(loss, x, stride, i, first, width, out)
    else:
        coarse_row(level.taps + i * level.stride + first, level.plane, level.stride, x, stride, width, out)


# ---- the passes ----

cdef inline Py_ssize_t whole_vectors(Py_ssize_t width) noexcept nogil:
    return (width + LANES - 1) & ~<Py_ssize_t> (LANES - 1)


cdef inline Py_ssize_t worked_width(const Level *level, Py_ssize_t width) noexcept nogil:
    # Of a coarse level whole vectors are done: a loop's rest would take longer, and beyond a span, also in the room
    # beside the image, taps and steps are 0 where nothing is unknown. The loss's own rows end with the image.
    return width if level.taps == NULL else whole_vectors(width)


cdef inline void run_pass(part_function function, Py_ssize_t grain, Job *job) noexcept nogil:
    # In parts of about `grain` pixels.
    job.parts = min(<Py_ssize_t> PARTS, max(<Py_ssize_t> 1, job.level.pixels // grain))
    run_parts(function, job, job.parts, job.solver.threads if job.level.pixels >= SHARED * grain else 1)


cdef void relax_part(void *given, Py_ssize_t part) noexcept nogil:
    # out = source + factor step (r - A source)
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const float *z = job.source
    cdef const float *r
    cdef const float *step
    cdef float[SPAN] product
    cdef float *out
    cdef float factor = <float> job.factor
    cdef double rz = 0, zz = 0
    cdef Py_ssize_t s, j, at, width
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        width = worked_width(level, span.last - span.first)
        z = job.source + at
        r = level.r + at
        step = level.step + at
        out = job.out + at
        apply_row(job.loss, level, z, level.stride, span.row, span.first, width, product)
        for j in range(width):
            out[j] = z[j] + factor * step[j] * (r[j] - product[j])
        if job.measure:
            rz += dot(r, out, width)
            zz += dot(out, out, width)
    job.sums[2 * part] = rz
    job.sums[2 * part + 1] = zz


cdef void residual_part(void *given, Py_ssize_t part) noexcept nogil:
    # out = r - A source where unknown
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const float *r
    cdef const unsigned char *free
    cdef float[SPAN] product
    cdef double[SPAN] wide_product
    cdef float *out
    cdef Py_ssize_t s, j, at, width
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        width = worked_width(level, span.last - span.first)
        r = level.r + at
        free = level.free + at
        out = job.out + at
        if job.in_double:
            coarse_row(level.taps + at, level.plane, level.stride, job.source + at, level.stride, width, wide_product)
            for j in range(width):
                out[j] = <float> (r[j] - wide_product[j]) * <float> free[j]
            continue
        apply_row(job.loss, level, job.source + at, level.stride, span.row, span.first, width, product)
        for j in range(width):
            out[j] = (r[j] - product[j]) * <float> free[j]


cdef void apply_part(void *given, Py_ssize_t part) noexcept nogil:
    # out = A source where unknown, source'out and source'r. In double: of a smooth direction second differences are
    # smaller than the rounding of their terms in float.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const unsigned char *free
    cdef double[SPAN] product
    cdef float *out
    cdef double curvature = 0, slope = 0
    cdef Py_ssize_t s, j, at, width
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        width = span.last - span.first
        free = level.free + at
        out = job.out + at
        fine_row(job.loss, job.source + at, level.stride, span.row, span.first, width, product)
        for j in range(width):
            out[j] = <float> product[j] * <float> free[j]
        curvature += dot(job.source + at, out, width)
        slope += dot(job.source + at, level.r + at, width)
    job.sums[2 * part] = curvature
    job.sums[2 * part + 1] = slope


cdef void restrict_part(void *given, Py_ssize_t part) noexcept nogil:
    # r = P' source and the first step from 0, z = factor step r; the level is the coarse one here.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef Level *fine = level - 1
    cdef float[ROOM] column_sums
    cdef float[SPAN] joined
    cdef float *row = column_sums + PAD
    cdef const float *source
    cdef const float *step
    cdef const unsigned char *free
    cdef float *r
    cdef float *z
    cdef float factor = <float> job.factor, weight
    cdef Py_ssize_t s, i, j, at, width
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        width = span.last - span.first
        clear(row - 2, 2 * width + 4)
        for i in range(max(0, 2 * span.row - 2), min(fine.rows, 2 * span.row + 4)):
            weight = share(i, span.row, fine.rows)
            if weight == 0:
                continue
            source = job.source + i * fine.stride + 2 * span.first
            for j in range(-2, 2 * width + 2):
                row[j] += weight * source[j]
        join(row, width, joined)
        join_border(row, span.first, span.first, span.last, level.cols, fine.cols, joined)
        at = span.row * level.stride + span.first
        free = level.free + at
        step = level.step + at
        r = level.r + at
        z = level.z + at
        for j in range(width):
            r[j] = joined[j] * <float> free[j]
            z[j] = factor * step[j] * r[j]


cdef void interpolate_part(void *given, Py_ssize_t part) noexcept nogil:
    # out += P source where unknown
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef Level *coarse = level + 1
    cdef float[SPAN + 2 * PAD] mixed
    cdef float[SPAN + 2] finer
    cdef float *row = mixed + PAD
    cdef const float *near
    cdef const float *far
    cdef const unsigned char *free
    cdef float *out
    cdef float near_share, far_share
    cdef Py_ssize_t s, j, k, at, first, last, beside
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        first = span.first // 2
        last = (span.last + 1) // 2
        k = span.row // 2
        beside = k + (1 if span.row & 1 else -1)
        if not 0 <= beside < coarse.rows:
            beside = max(0, min(2 * k - beside, coarse.rows - 1))
        near_share = share(span.row, k, level.rows)
        far_share = 0 if beside == k else share(span.row, beside, level.rows)
        near = job.source + k * coarse.stride + first
        far = job.source + beside * coarse.stride + first
        for j in range(-1, last - first + 1):
            row[j] = near_share * near[j] + far_share * far[j]
        extrapolate(row, first, last, coarse.cols)
        interleave(row, last - first, finer)
        at = span.row * level.stride + span.first
        free = level.free + at
        out = job.out + at
        for j in range(span.last - span.first):
            out[j] += finer[j] * <float> free[j]


cdef void direct_part(void *given, Py_ssize_t part) noexcept nogil:
    # out = source + factor out
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const float *z
    cdef float *p
    cdef float factor = <float> job.factor
    cdef Py_ssize_t s, j, at
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        z = job.source + at
        p = job.out + at
        for j in range(span.last - span.first):
            p[j] = z[j] + factor * p[j]


cdef void advance_part(void *given, Py_ssize_t part) noexcept nogil:
    # x += factor direction; with measure r -= factor source, and the first step of the smoother, z
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const float *p
    cdef const float *q
    cdef const float *step
    cdef const unsigned char *free
    cdef float *r
    cdef float *z
    cdef double *x
    cdef double factor = job.factor
    cdef float short_factor = <float> factor, relaxation = job.solver.relaxation[0]
    cdef Py_ssize_t s, j, at
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        p = job.solver.direction + at
        x = job.solver.x + span.row * level.cols + span.first
        free = level.free + at
        # Known pixels are kept to the bit: to add 0 would make 0 of -0.
        for j in range(span.last - span.first):
            x[j] = x[j] + factor * p[j] if free[j] else x[j]
        if not job.measure:
            continue
        q = job.source + at
        step = level.step + at
        r = level.r + at
        z = level.z + at
        for j in range(span.last - span.first):
            r[j] -= short_factor * q[j]
            z[j] = relaxation * step[j] * r[j]


cdef void renew_part(void *given, Py_ssize_t part) noexcept nogil:
    # r = -A x, in double, and the first step of the smoother, z. From differences of neighbours, which are exact; a sum
    # of pixels is rounded, and differences of higher order can be smaller than that.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const unsigned char *free
    cdef const float *step
    cdef double[SPAN] product
    cdef double minus = -1
    cdef float *r
    cdef float *z
    cdef float relaxation = job.solver.relaxation[0]
    cdef Py_ssize_t s, j, at, width
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        width = span.last - span.first
        free = level.free + at
        step = level.step + at
        r = level.r + at
        z = level.z + at
        weighted_row(
            job.loss, job.solver.x + span.row * level.cols + span.first, level.cols, minus, span.row, span.first,
            width, product,
        )
        for j in range(width):
            r[j] = -<float> product[j] * <float> free[j]
            z[j] = relaxation * step[j] * r[j]


cdef inline double squared_difference(double a, double b, double most) noexcept nogil:
    cdef double difference = clip(a - b, -most, most)
    return difference * difference


cdef inline void pair_squares(
    const double *x, const double *up, const double *down, const unsigned char *free, const unsigned char *free_up,
    Py_ssize_t first, Py_ssize_t last, bint left, bint right, double most, double *out,
) noexcept nogil:
    # A pair belongs to its left or upper pixel if that is free, or else to the other one.
    cdef Py_ssize_t j
    cdef double squares
    for j in range(first, last):
        squares = squared_difference(x[j], down[j], most) + (
            squared_difference(x[j], up[j], most) * <double> (1 - free_up[j])
        )
        if right:
            squares += squared_difference(x[j], x[j + 1], most)
        if left:
            squares += squared_difference(x[j], (x - 1)[j], most) * <double> (1 - (free - 1)[j])
        out[j] = squares * <double> free[j]


cdef void contrast_part(void *given, Py_ssize_t part) noexcept nogil:
    # The sum of the squared differences of neighbours of which one is free.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef double[SPAN] squares
    cdef const double *x
    cdef const double *up
    cdef const double *down
    cdef const unsigned char *free
    cdef const unsigned char *free_up
    cdef double total = 0
    cdef Py_ssize_t s, at, width, first, last
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        width = span.last - span.first
        free = level.free + at
        free_up = free - level.stride
        x = job.solver.x + span.row * level.cols + span.first
        # Beyond the image a pixel meets itself.
        up = x if span.row == 0 else x - level.cols
        down = x if span.row + 1 == level.rows else x + level.cols
        first = 1 if span.first == 0 else 0
        last = max(first, width - 1 if span.last == level.cols else width)
        pair_squares(x, up, down, free, free_up, first, last, True, True, job.factor, squares)
        pair_squares(x, up, down, free, free_up, 0, first, False, level.cols > 1, job.factor, squares)
        pair_squares(x, up, down, free, free_up, last, width, True, False, job.factor, squares)
        total += tally(squares, width)
    job.sums[2 * part] = total


# ---- the operators of the levels ----

cdef void fine_steps_part(void *given, Py_ssize_t part) noexcept nogil:
    # source is the mask
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const unsigned char *free
    cdef float[SPAN] diagonal
    cdef float *step
    cdef float one = 1
    cdef Py_ssize_t s, j, at, width
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        width = span.last - span.first
        free = level.free + at
        step = level.step + at
        weighted_row(
            job.loss, job.source + at, level.stride, one, span.row, span.first, width, diagonal
        )
        for j in range(width):
            step[j] = one / diagonal[j] if free[j] and diagonal[j] > 0 else 0


cdef void coarse_steps_part(void *given, Py_ssize_t part) noexcept nogil:
    # taps of the pixel itself += factor times its absolute taps
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef float[SPAN] diagonal
    cdef float *step
    cdef float *taps
    cdef float one = 1, more = <float> job.factor
    cdef Py_ssize_t s, j, at, width
    cdef Span span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = level.span[s]
        at = span.row * level.stride + span.first
        width = span.last - span.first
        step = level.step + at
        taps = level.taps + at
        tap_sizes(taps, level.plane, level.stride, width, diagonal)
        for j in range(width):
            taps[j] += more * diagonal[j]
            diagonal[j] += more * diagonal[j]
            step[j] = one / diagonal[j] if diagonal[j] > 0 else 0


cdef void galerkin_part(void *given, Py_ssize_t part) noexcept nogil:
    # The taps between the basis functions of each span and those of its row and of the two rows above. Every fifth
    # column at once: basis functions so far apart do not meet, and each product belongs to one of them.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef Py_ssize_t s
    for s in range(part_start(job, part), part_start(job, part + 1)):
        galerkin_span(job.loss, level - 1, level, &level.span[s])


cdef inline Py_ssize_t first_of_colour(Py_ssize_t first, Py_ssize_t colour) noexcept nogil:
    # The first column from `first` on whose number leaves `colour` when divided by COLOURS.
    return first + (colour - first % COLOURS + COLOURS) % COLOURS


cdef void galerkin_span(const Loss *loss, const Level *fine, Level *coarse, const Span *span) noexcept nogil:
    cdef float[BAND_ROWS * ROOM] basis  # of the finer rows from `top` on, from column `left` on
    cdef float[3][ROOM] column_sums  # for the coarse rows span.row - 2 to span.row
    cdef float[SPAN + 2 * PAD] coloured
    cdef float[ROOM] spread
    cdef float[SPAN] product
    cdef float[SPAN + 2 * PAD] joined
    cdef float *colour_row = coloured + PAD
    cdef float *row
    cdef const unsigned char *free
    cdef const unsigned char *coarse_free
    cdef float weight
    cdef Py_ssize_t first = span.first, last = span.last, width = last - first, k = span.row
    cdef Py_ssize_t top = 2 * k - 6, left = 2 * first - PAD
    cdef Py_ssize_t reach = 1 if fine.taps == NULL and loss.kind == FIRST else 2
    cdef Py_ssize_t lowest = fine.rows, highest = -1, start, stop, colour, above, i, j, at, piece
    cdef Py_ssize_t reached = 2 * width + 3 * PAD
    coarse_free = coarse.free + k * coarse.stride
    for i in range(BAND_ROWS):
        clear(basis + i * ROOM, reached)
    for i in range(max(0, 2 * k - 2), min(fine.rows, 2 * k + 4)):
        if share(i, k, fine.rows) != 0:
            lowest = min(lowest, i)
            highest = max(highest, i)
    # The columns in which a product can differ from 0.
    start = max(fine.left, 2 * first - 2 - reach)
    stop = min(fine.right, 2 * last + 2 + reach)
    for colour in range(COLOURS):
        clear(coloured, width + 2 * PAD)
        j = first_of_colour(first, colour)
        while j < last:
            colour_row[j - first] = coarse_free[j]
            j += COLOURS
        extrapolate(colour_row, first, last, coarse.cols)
        if last == coarse.cols - 1:
            colour_row[width + 1] = -colour_row[width - 1]
        interleave(colour_row - 1, width + 2, spread + PAD - 2)
        for i in range(lowest, highest + 1):
            weight = share(i, k, fine.rows)
            free = fine.free + i * fine.stride + 2 * first
            row = basis + (i - top) * ROOM + PAD
            for j in range(-2, 2 * width + 2):
                row[j] = weight * (spread + PAD)[j] * <float> free[j]
        for above in range(3):
            clear(column_sums[above], reached)
        for i in range(max(0, lowest - reach), highest + 1):
            j = start
            while j < stop:
                piece = min(<Py_ssize_t> SPAN, stop - j)
                apply_row(
                    loss, fine, basis + (i - top) * ROOM + (j - left), ROOM, i, j, worked_width(fine, piece), product
                )
                for above in range(3):
                    if k < above:
                        continue
                    weight = share(i, k - above, fine.rows)
                    if weight != 0:
                        add_masked(
                            product, fine.free + i * fine.stride + j, weight, piece,
                            &column_sums[2 - above][j - left],
                        )
                j += piece
        for above in range(3):
            if k < above:
                continue
            at = (k - above) * coarse.stride
            row = &column_sums[2 - above][PAD]
            join(row - 4, width + 4, joined + PAD - 2)
            join_border(row, first, first - 2, last + 2, coarse.cols, fine.cols, joined + PAD)
            store_taps(
                joined + PAD, coarse_free, coarse.free + at, above, colour, first, last, coarse.plane,
                coarse.taps + at,
            )


cdef inline void add_masked(
    const float *row, const unsigned char *free, float weight, Py_ssize_t width, float *out
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] += weight * row[j] * <float> free[j]


cdef inline void store_taps(
    const float *products, const unsigned char *free, const unsigned char *free_above, Py_ssize_t above,
    Py_ssize_t colour, Py_ssize_t first, Py_ssize_t last, Py_ssize_t plane, float *taps,
) noexcept nogil:
    # free and free_above are of the rows of a colour's pixels and of their products, to which taps points too.
    cdef Py_ssize_t j = first_of_colour(first, colour), d
    while j < last:
        if free[j]:
            for d in range(-2, 3):
                # The product with the pixel d columns on the left; beyond the image nothing is free.
                if free_above[j - d] and (above > 0 or d >= 0):
                    taps[(SAME_ROW + 5 * above + d) * plane + j - d] = products[j - d - first]
        j += COLOURS


# ---- the coarsest level ----

cdef Py_ssize_t list_unknown(const Level *level, Py_ssize_t *places) noexcept nogil:
    cdef Py_ssize_t s, at, n = 0
    cdef Span span
    for s in range(level.spans):
        span = level.span[s]
        for at in range(span.row * level.stride + span.first, span.row * level.stride + span.last):
            if level.free[at]:
                places[n] = at
                n += 1
    return n


cdef void factorise(Solver *solver) noexcept nogil:
    # By Cholesky; of the diagonal the inverse is kept.
    cdef Level *level = &solver.level[solver.levels - 1]
    cdef Py_ssize_t[DIRECT] places
    cdef Py_ssize_t n = list_unknown(level, places), i, j, k, down, right
    cdef double rest, least, largest = 0
    cdef double *row
    cdef double *upper
    for i in range(n):
        row = solver.factor + i * DIRECT
        for j in range(i + 1):
            down = places[i] // level.stride - places[j] // level.stride
            right = places[i] % level.stride - places[j] % level.stride
            row[j] = 0
            if down <= 2 and -2 <= right <= 2:
                row[j] = level.taps[(SAME_ROW + 5 * down + right) * level.plane + places[j]]
        largest = max(largest, row[i])
    for i in range(n):
        row = solver.factor + i * DIRECT
        least = 1e-7 * row[i] if solver.loss.plain else 1e-6 * largest
        for j in range(i + 1):
            upper = solver.factor + j * DIRECT
            rest = row[j]
            for k in range(j):
                rest -= row[k] * upper[k]
            if j < i:
                row[j] = rest * upper[j]
                continue
            # Where the minimiser is not unique a pivot is 0 but for rounding, of an image that costs nothing; the cycle
            # leaves it out. Without weights the taps of the levels that matter are exact, with weights float.
            if rest < least:
                solver.unsure = solver.unsure or 4 * rest < least
                rest = least if solver.unique else 0
            row[j] = 1 / sqrt(rest) if rest > 0 else 0


# ---- the cycle ----

cdef inline void start_job(Solver *solver, int level, Job *job) noexcept nogil:
    job.solver = solver
    job.level = &solver.level[level]
    job.loss = &solver.loss
    job.measure = job.in_double = False
    job.factor = 0
    job.source = job.level.z
    job.out = job.level.spare


cdef inline void swap(Level *level) noexcept nogil:
    level.z, level.spare = level.spare, level.z


cdef void relax(Solver *solver, int level, int step, bint measure, double *sums) noexcept nogil:
    cdef Job job
    start_job(solver, level, &job)
    job.factor = solver.relaxation[step]
    job.measure = measure
    run_pass(relax_part, GRAIN, &job)
    swap(job.level)
    if measure:
        sums[0] = total(&job, 0)
        sums[1] = total(&job, 1)


cdef void descend(Solver *solver, int level, bint from_zero, double *sums) noexcept nogil:
    # Take z nearer to the solution of A z = r. From zero z holds the smoother's first step already.
    cdef Job job
    cdef int step
    if level + 1 == solver.levels:
        solve(solver)
        return
    for step in range(1 if from_zero else 0, solver.smoothing):
        relax(solver, level, step, False, NULL)
    start_job(solver, level, &job)
    # What a coarser level has corrected is smooth, and its residual smaller than the rounding of its terms in float.
    job.in_double = not from_zero
    run_pass(residual_part, GRAIN, &job)
    start_job(solver, level + 1, &job)
    job.source = solver.level[level].spare
    job.factor = solver.relaxation[0]
    run_pass(restrict_part, GRAIN, &job)
    descend(solver, level + 1, True, NULL)
    if solver.loss.kind == SECOND and 0 < level < solver.levels - 2:
        descend(solver, level + 1, False, NULL)
    start_job(solver, level, &job)
    job.source = solver.level[level + 1].z
    job.out = job.level.z
    run_pass(interpolate_part, GRAIN, &job)
    for step in range(solver.smoothing - 1, -1, -1):
        relax(solver, level, step, level == 0 and step == 0, sums)


cdef void cycle(Solver *solver, double *sums) noexcept nogil:
    # z = M r on the finest level, of which z holds the first step; sums gets r'z and z'z.
    descend(solver, 0, True, sums)


# ---- conjugate gradients ----


cdef double measure_contrast(Solver *solver) noexcept nogil:
    # A difference of more than 1 counts as 1, and then one of more than so many times the contrast as that much: what
    # stands out must not decide what is small.
    cdef Job job
    cdef double contrast = 0, most = 1
    cdef int _again
    if solver.pairs == 0:
        return 0
    for _again in range(2):
        start_job(solver, 0, &job)
        job.factor = most
        run_pass(contrast_part, GRAIN, &job)
        contrast = sqrt(total(&job, 0) / solver.pairs)
        most = min(1.0, OUTSTANDING * contrast)
    return contrast


cdef void renew_residual(Solver *solver) noexcept nogil:
    cdef Job job
    start_job(solver, 0, &job)
    run_pass(renew_part, GRAIN, &job)


cdef void forget(Solver *solver) noexcept nogil:
    # What is known of another x.
    solver.started = solver.settled = solver.stalled = False
    solver.passes = solver.since_best = 0
    solver.iterations = 0
    solver.theta = solver.estimate = solver.best = INFINITY
    solver.contrast = measure_contrast(solver)


cdef inline void round_weights(const float *omega, Py_ssize_t cols, float *out) noexcept nogil:
    # To eight bits (Veltkamp).
    cdef Py_ssize_t j
    cdef float spread = (1 << 16) + 1
    for j in range(cols):
        out[j] = spread * omega[j] - (spread * omega[j] - omega[j])


cdef void make_levels(Solver *solver, bint firm) noexcept nogil:
    # The smoothers' diagonals and the coarse operators. These are firm with a millionth of a row's absolute taps more
    # on the diagonal, which is passed on to coarser ones. Where weights of many magnitudes meet few known pixels, an
    # affine image can cost less than the rounding of the taps; then what is not firm is indefinite, or overshoots.
    cdef Job job
    cdef Level *level = &solver.level[0]
    cdef Loss rounded_loss = solver.loss
    cdef int k
    cdef Py_ssize_t i, s, at
    cdef Span span
    for s in range(level.spans):
        span = level.span[s]
        for at in range(span.row * level.stride + span.first, span.row * level.stride + span.last):
            level.spare[at] = level.free[at]
    start_job(solver, 0, &job)
    job.source = level.spare
    run_pass(fine_steps_part, GRAIN, &job)
    if not solver.loss.plain:
        # Of weights with few bits the taps of the next level are exact where the weights are alike. Else their rounding
        # is so too, adds up over the image, and affine images cost less than nothing.
        for i in range(level.rows):
            round_weights(solver.loss.omega + i * level.cols, level.cols, level.z + i * level.stride)
        rounded_loss.omega = level.z
        rounded_loss.omega_stride = level.stride
    for k in range(1, solver.levels):
        start_job(solver, k, &job)
        job.loss = &rounded_loss
        run_pass(galerkin_part, GALERKIN_GRAIN, &job)
        job.factor = 1e-6 if firm else 0
        run_pass(coarse_steps_part, GRAIN, &job)
    if not solver.loss.plain:
        clear(level.z - 2 * level.stride - PAD, level.plane)
    solver.firm = solver.unsure = firm
    factorise(solver)


cdef void start(Solver *solver) noexcept nogil:
    # From the residual of x as it stands.
    cdef double[2] sums
    renew_residual(solver)
    cycle(solver, sums)
    solver.started = solver.fresh = True
    solver.renew = False
    solver.steps = 0
    solver.beta = 0
    solver.rz = solver.rz_renewed = sums[0]
    solver.zz = sums[1]


cdef void iterate(Solver *solver) noexcept nogil:
    # One iteration, or none where the direction does not descend.
    cdef Job job
    cdef Level *level = &solver.level[0]
    cdef double[2] sums
    cdef double curvature
    # p = z + beta p, q = A p
    start_job(solver, 0, &job)
    job.out = solver.direction
    job.factor = solver.beta
    run_pass(direct_part, GRAIN, &job)
    start_job(solver, 0, &job)
    job.source = solver.direction
    run_pass(apply_part, GRAIN, &job)
    curvature = total(&job, 0)
    # r'p is r'z but for rounding. With r'p no step, whatever p is, takes x away from the minimiser.
    solver.alpha = total(&job, 1) / curvature if curvature > 0 else 0
    if not (solver.alpha > 0 and isfinite(solver.alpha)):
        # Rounding has the word. Start anew, unless that was done just now.
        solver.stalled = solver.steps == 0
        solver.started = False
        return
    solver.fresh = solver.renew
    start_job(solver, 0, &job)
    job.source = level.spare
    job.factor = solver.alpha
    job.measure = not solver.fresh
    run_pass(advance_part, GRAIN, &job)
    solver.iterations += 1
    if solver.fresh:
        renew_residual(solver)
    cycle(solver, sums)
    solver.zz = sums[1]
    solver.beta = sums[0] / solver.rz
    remember(solver)
    solver.rz = sums[0]
    if solver.fresh:
        solver.rz_renewed = solver.rz
    solver.renew = solver.rz < 0.01 * solver.rz_renewed
    if not 0 < solver.beta < (1 if solver.fresh else 1e6) or solver.steps == LANCZOS:
        # The residual was rounding alone before it was renewed, or is so now.
        solver.started = False


cdef void judge(Solver *solver, double tol, double floor) noexcept nogil:
    # How far within tol an estimate must be, and how often in a row, was found on problems with direct solutions. A
    # second time it is that of a residual computed from x.
    cdef double allowed
    cdef bint near
    if solver.zz == 0 and solver.fresh:
        solver.estimate = 0
        solver.contrast = measure_contrast(solver)
        solver.settled = solver.unique
        solver.stalled = not solver.settled
        return
    if solver.iterations < 2:
        return
    solver.estimate = 2 * sqrt(solver.zz / solver.level[0].unknown) / solver.theta
    if solver.estimate <= 2 * tol * max(solver.contrast, floor):
        solver.contrast = measure_contrast(solver)
    allowed = tol * max(solver.contrast, floor)
    solver.passes = solver.passes + 1 if solver.estimate <= allowed else 0
    solver.renew = solver.renew or solver.passes > 0
    if solver.loss.kind == FIRST and solver.loss.plain:
        near = 3 * solver.estimate <= 2 * allowed
    else:
        near = solver.passes > 1 and 4 * solver.estimate <= allowed
    solver.settled = near and solver.unique and not solver.unsure
    solver.since_best += 1
    if solver.estimate < 0.9 * solver.best:
        solver.best = solver.estimate
        solver.since_best = 0
    # Nearer than this rounding would take x from one minimiser to another, or to what is taken for one.
    solver.stalled = not solver.settled and (near or solver.since_best >= PATIENCE)


cdef void clear_corrections(Solver *solver) noexcept nogil:
    # What is not finite would stay in the room beside the image.
    cdef int k
    cdef Py_ssize_t before
    for k in range(solver.levels):
        before = 2 * solver.level[k].stride + PAD
        clear(solver.level[k].z - before, solver.level[k].plane)
        clear(solver.level[k].spare - before, solver.level[k].plane)


cdef Py_ssize_t advance(Solver *solver, Py_ssize_t iterations, double tol, double floor) noexcept nogil:
    cdef Py_ssize_t before = solver.iterations
    while not (solver.settled or solver.stalled or solver.iterations - before >= iterations):
        if solver.started:
            iterate(solver)
        else:
            start(solver)
            if not (solver.rz >= 0 and isfinite(solver.rz)):
                # Of an operator that is not positive, or of an x that is not finite.
                solver.started = False
                solver.stalled = solver.firm
                clear_corrections(solver)
                if not solver.firm:
                    make_levels(solver, True)
        if solver.started:
            judge(solver, tol, floor)
    return solver.iterations - before


# ---- the levels of a mask ----


cdef inline void add_span(Level *level, Py_ssize_t row, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    # On the finest level without what is known at either end, as far as whole vectors allow; the first column is even.
    cdef const unsigned char *free = level.free + row * level.stride
    cdef Span *span = &level.span[level.spans]
    cdef Py_ssize_t start = first, stop = last, width
    if level.taps == NULL:
        while not (free[first] | free[first + 1]):
            first += 2
        while not free[last - 1]:
            last -= 1
        width = whole_vectors(last - first)
        last = min(first + width, stop)
        first = max(start, last - width) & ~<Py_ssize_t> 1
    span.row = <int> row
    span.first = <int> first
    span.last = <int> last
    level.spans += 1
    level.pixels += last - first
    level.left = min(level.left, first)
    level.right = max(level.right, last)


cdef Py_ssize_t find_spans(Level *level) noexcept nogil:
    # Where pixels are unknown; how many are.
    cdef Py_ssize_t i, k, block, first, here
    cdef const unsigned char *free
    level.spans = level.pixels = level.unknown = 0
    level.left = level.cols
    level.right = 0
    for i in range(level.rows):
        free = level.free + i * level.stride
        first = -1
        for k in range((level.cols - 1) // BLOCK_WIDTH + 2):
            block = k * BLOCK_WIDTH
            # The room beside the image is known, and wide enough but for the block behind the last.
            here = count_free(free + block, BLOCK_WIDTH) if block < level.cols else 0
            level.unknown += here
            if first >= 0 and (here == 0 or block - first == SPAN):
                add_span(level, i, first, min(block, level.cols))
                first = -1
            if here > 0 and first < 0:
                first = block
    return level.unknown


cdef void coarsen_mask(const Level *fine, Level *coarse) noexcept nogil:
    # Beside the image nothing is free.
    cdef Py_ssize_t i, j
    cdef const unsigned char *above
    cdef const unsigned char *below
    cdef unsigned char *out
    for i in range(coarse.rows):
        above = fine.free + 2 * i * fine.stride
        below = above + fine.stride
        out = coarse.free + i * coarse.stride
        for j in range(coarse.cols):
            out[j] = (above[2 * j] | above[2 * j + 1]) | (below[2 * j] | below[2 * j + 1])


cdef bint determines(int kind, const Level *level) noexcept nogil:
    # Whether there is one minimiser: first differences need one known pixel, second ones three that are not on a line,
    # or two where the image is a line.
    cdef Py_ssize_t i, j, known = 0, i0 = 0, j0 = 0, di = 0, dj = 0
    for i in range(level.rows):
        for j in range(level.cols):
            if level.free[i * level.stride + j]:
                continue
            known += 1
            if known == 1:
                i0 = i
                j0 = j
            elif known == 2:
                di = i - i0
                dj = j - j0
            if kind == FIRST or known > 1 and (level.rows == 1 or level.cols == 1):
                return True
            if known > 2 and di * (j - j0) != dj * (i - i0):
                return True
    return False


cdef Py_ssize_t count_pairs(const Level *level) noexcept nogil:
    # Of neighbours of which one at least is free.
    cdef Py_ssize_t s, j, pairs = 0
    cdef const unsigned char *free
    cdef const unsigned char *up
    cdef int here
    cdef Span span
    for s in range(level.spans):
        span = level.span[s]
        free = level.free + span.row * level.stride
        up = free - level.stride
        here = 0
        for j in range(span.first, span.last):
            here += free[j] * (4 - (free - 1)[j] - up[j])
        pairs += here
        # Where there is no neighbour.
        if span.first == 0:
            pairs -= free[0]
        if span.last == level.cols:
            pairs -= free[level.cols - 1]
        if span.row == 0:
            pairs -= count_free(free + span.first, span.last - span.first)
        if span.row + 1 == level.rows:
            pairs -= count_free(free + span.first, span.last - span.first)
    return pairs


cdef inline Py_ssize_t span_capacity(Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    return rows * (cols // (2 * BLOCK_WIDTH) + cols // SPAN + 2)


cdef size_t lay_out(Solver *solver, char *memory) noexcept nogil:
    # Put the arrays of all levels into memory, one after the other; return its size. With NULL only measure.
    cdef size_t used = 0, plane
    cdef Py_ssize_t rows = solver.loss.rows, cols = solver.loss.cols, origin
    cdef Level *level
    cdef int k
    solver.levels = 0
    for k in range(LEVELS):
        level = &solver.level[k]
        level.rows = rows
        level.cols = cols
        level.stride = ((cols + PAD - 1) & ~<Py_ssize_t> (PAD - 1)) + PAD
        level.plane = (rows + 4) * level.stride + PAD
        origin = 2 * level.stride + PAD
        plane = rounded(level.plane * sizeof(float))
        level.taps = NULL
        level.r = <float *> (memory + used) + origin
        level.z = <float *> (memory + used + plane) + origin
        level.spare = <float *> (memory + used + 2 * plane) + origin
        level.step = <float *> (memory + used + 3 * plane) + origin
        used += 4 * plane
        if k == 0:
            solver.direction = <float *> (memory + used) + origin
            used += plane
            solver.twos = <float *> (memory + used)
            used += rounded((cols + PAD) * sizeof(float))
        else:
            level.taps = <float *> (memory + used) + origin
            used += rounded(TAPS * level.plane * sizeof(float))
        level.free = <unsigned char *> (memory + used) + origin
        used += rounded(level.plane)
        level.span = <Span *> (memory + used)
        used += rounded(span_capacity(rows, cols) * sizeof(Span))
        solver.levels += 1
        if k > 0 and rows * cols <= DIRECT:
            break
        rows = (rows + 1) // 2
        cols = (cols + 1) // 2
    solver.factor = <double *> (memory + used)
    used += DIRECT * DIRECT * sizeof(double)
    return used


cdef void build_levels(Solver *solver) noexcept nogil:
    cdef int k
    cdef Py_ssize_t j
    for j in range(solver.loss.cols):
        solver.twos[j] = 2
    find_spans(&solver.level[0])
    for k in range(1, solver.levels):
        coarsen_mask(&solver.level[k - 1], &solver.level[k])
        if find_spans(&solver.level[k]) <= DIRECT:
            solver.levels = k + 1
            break
    solver.pairs = count_pairs(&solver.level[0])
    solver.unique = determines(solver.loss.kind, &solver.level[0])


# ---- what Python calls ----

cdef class Run:
    """Conjugate gradients for one mask, made by ``prepare``; not for two threads at once.

    Attributes
    ----------
    unique : bool
        Whether the known pixels leave one minimiser, whatever their values.
    settled : bool
        Whether the distance to the minimiser is, as estimated, within what the last ``advance`` asked for.
    stalled : bool
        Whether to go on is of no use: rounding forbids it, there are many minimisers, or x is not finite.
    estimate : float
        Of the rms distance of the free pixels to the minimiser; infinite until two iterations are done.
    contrast : float
        The rms difference of neighbours of which one is free, differences clipped to [-1, 1].
    iterations : int
        Since ``begin``.
    """

    cdef Solver solver
    cdef void *memory
    cdef double[:, ::1] x
    cdef const float[:, ::1] omega
    cdef double tol
    cdef double floor
    cdef bint levels_made

    def __dealloc__(self):
        release(self.memory)

    def begin(self, double[:, ::1] x not None, const float[:, ::1] omega, bint share):
        """Take x, which ``advance`` changes where free, and the weights omega; None is 2 everywhere, a sum of squares.

        With share the weights are those of the call before, and the operators of the levels are not made anew. x and
        omega are referred to, not copied.
        """
        cdef Loss *loss = &self.solver.loss
        cdef bint plain = omega is None
        require(self.memory != NULL, "the run must not be finished")
        require(x.shape[0] == loss.rows and x.shape[1] == loss.cols, "x must have the shape of free")
        require(
            plain or omega.shape[0] == loss.rows and omega.shape[1] == loss.cols,
            "omega must have the shape of free",
        )
        share = self.levels_made and loss.plain == plain and (share or plain)
        self.x = x
        self.omega = omega
        self.solver.x = &x[0, 0]
        loss.plain = plain
        if plain:
            loss.omega = self.solver.twos
            loss.omega_stride = 0
        else:
            loss.omega = &omega[0, 0]
            loss.omega_stride = loss.cols
        self.tol = self.floor = -1
        with nogil:
            if not share or self.solver.firm:
                make_levels(&self.solver, False)
            forget(&self.solver)
        self.levels_made = True

    def advance(self, Py_ssize_t iterations, double tol, double floor):
        """Iterate until the distance to the minimiser is at most tol max(contrast, floor); return how many times.

        At most `iterations` times. x holds the last iterate.
        """
        cdef Py_ssize_t done
        require(self.levels_made, "begin must come first")
        if tol != self.tol or floor != self.floor:
            self.tol = tol
            self.floor = floor
            self.solver.passes = self.solver.since_best = 0
            self.solver.settled = self.solver.stalled = False
        with nogil:
            done = advance(&self.solver, iterations, tol, floor)
        return done

    def finish(self):
        """Free the workspace: the attributes stay, and none of the other methods may be called any more."""
        release(self.memory)
        self.memory = NULL
        self.levels_made = False
        self.x = None
        self.omega = None

    def gradient(self, double[:, ::1] out not None):
        """Write A x to out, 0 where known, as the residual is kept: in float32; ``advance`` then starts anew from x."""
        cdef Level *level = &self.solver.level[0]
        cdef Py_ssize_t i, j
        require(self.levels_made, "begin must come first")
        require(out.shape[0] == level.rows and out.shape[1] == level.cols, "out must have the shape of x")
        with nogil:
            self.solver.started = False
            renew_residual(&self.solver)
            for i in range(level.rows):
                for j in range(level.cols):
                    out[i, j] = -level.r[i * level.stride + j]

    def precondition(self, const double[:, ::1] residual not None, double[:, ::1] out not None):
        """Write what one cycle makes of a residual to out, 0 where known; ``advance`` then starts anew from x."""
        cdef Level *level = &self.solver.level[0]
        cdef Py_ssize_t i, j, at
        cdef double[2] sums
        require(self.levels_made, "begin must come first")
        require(
            residual.shape[0] == level.rows and residual.shape[1] == level.cols
            and out.shape[0] == level.rows and out.shape[1] == level.cols,
            "residual and out must have the shape of x",
        )
        with nogil:
            self.solver.started = False
            for i in range(level.rows):
                for j in range(level.cols):
                    at = i * level.stride + j
                    level.r[at] = <float> residual[i, j] * <float> level.free[at]
                    level.z[at] = self.solver.relaxation[0] * level.step[at] * level.r[at]
            cycle(&self.solver, sums)
            for i in range(level.rows):
                for j in range(level.cols):
                    out[i, j] = level.z[i * level.stride + j]

    @property
    def unique(self):
        return self.solver.unique

    @property
    def settled(self):
        return self.solver.settled

    @property
    def stalled(self):
        return self.solver.stalled

    @property
    def estimate(self):
        return self.solver.estimate

    @property
    def contrast(self):
        return self.solver.contrast

    @property
    def iterations(self):
        return self.solver.iterations


def prepare(int kind, const unsigned char[:, ::1] free not None, int threads):
    """Return a Run for the free (1) pixels of a window, its levels and its one workspace.

    kind is 0 for first, 1 for second differences. free is copied.
    """
    cdef Run run = Run.__new__(Run)
    cdef Solver *solver = &run.solver
    cdef Py_ssize_t i
    require(kind == FIRST or kind == SECOND, "kind must be 0 or 1")
    require(free.shape[0] > 0 and free.shape[1] > 0, "free must not be empty")
    solver.loss.kind = kind
    solver.loss.rows = free.shape[0]
    solver.loss.cols = free.shape[1]
    solver.threads = threads
    choose_steps(solver, solver.loss.kind)
    run.memory = calloc(lay_out(solver, NULL) + 64, 1)
    if run.memory == NULL:
        raise MemoryError("no memory for the levels of a window")
    lay_out(solver, <char *> rounded(<size_t> run.memory))
    with nogil:
        for i in range(free.shape[0]):
            copy_mask(&free[i, 0], free.shape[1], solver.level[0].free + i * solver.level[0].stride)
        build_levels(solver)
    return run
