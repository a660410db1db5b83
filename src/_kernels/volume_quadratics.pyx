"""The sums of squares and the total variations of volumes: values, gradients, and a solver of their quadratics.

A volume has the axes planes, rows and columns; a row is contiguous, and the others are lists of rows some way off: a
row function is handed a row and, for each of these two axes, how far the next one is. A volume of one plane is an
image, whose voxels may be longer than they are wide.

The energy is the sum of Q over all voxels, or of sqrt(epsilon^2 + Q) - epsilon. Differences along an axis are divided
by its spacing, those of second order by the two that they are along:

- FIRST: Q is half the sum of the squared differences to the neighbours along each axis.
- SECOND: Q is the sum of the squared second differences along each axis, and for each pair of axes half the sum of the
  squared mixed differences of the four cells of 2 x 2 voxels around.

A difference that does not fit into the volume counts nothing. With the weight omega of each voxel frozen the gradient
is A x; omega is 2, or 1 / sqrt(epsilon^2 + Q), of Q's mean over the channels.

The solver is that of ``multigrid``, whose head tells its reasons: conjugate gradients with a cycle M as preconditioner,
an iterate x in double, all else in float, the residual computed anew as it falls, and an estimate of the distance to
the minimiser from the least eigenvalue of M A seen so far. What differs:

Levels. A level halves the axes along which voxels are less than 1.5 times as long as along the shortest. A coarse voxel
is unknown if one of those that it covers is. P interpolates linearly between centres, extrapolates beyond the outermost
and is 0 at known voxels. P' A P would have 125 taps a voxel. Instead a coarse operator has the loss's own differences,
and of each voxel two or three numbers:

- omega is the mean of the finer ones, of which known voxels have 0.
- mass is the weight of the voxel's own square: what a constant costs that ends at the known voxels. It is the sum of
  A's rows over the unknown voxels, of which SECOND takes 0.7, and of the finer masses; 0 if that is negative.
- tilt, of SECOND alone, is the weight of its squared differences to its neighbours, as what is known lies beside the
  middle of the voxel. It is a sixteenth of the mass and a quarter of the finer tilts. Without it an affine function
  costs a level nothing where all that is known is in one of its voxels, or on one line of them.

So a level knows of single known voxels in what is unknown to it, and its operator is never singular. Nothing is stored
of the finest level's where omega is 2: it has neither mass nor tilt.

Where what is known is noisy, all voxels are unknown, and the finest level has the mass of what was measured: the loss
has mass (x - data)^2 / 2 beside it. Where voxels are left out, differences that have one of them count nothing on the
finest level; coarse levels, of which these have no omega, reach across all the same. That costs iterations alone.

The cycle is a V; its smoother is Richardson's iteration with the sums of each row's absolute taps between unknown
voxels as diagonal, so no eigenvalue exceeds 1; one step for FIRST, two for SECOND, at the inverses of Chebyshev's roots
on [1/4, 1]. M is symmetric and positive definite. The coarsest level is solved by Cholesky; a pivot of less than a
thousandth of the diagonal counts as that much.

The stop. The estimate is 2 rms(z) / theta, from the second iteration on. It has to be within two thirds of what is
asked for, with second differences or weights twice in a row.

How it walks. The unknown voxels of each level lie in spans, parts of rows of at most 256 voxels. They come in blocks of
32 rows, plane by plane, so that of five planes what a block needs stays in the cache. An iteration is a list of passes,
and `advance` ends after any of them, to go on there when called again.

Not checked: that the arrays of one call do not overlap.
"""

from libc.math cimport INFINITY, isfinite, sqrt

include "rows.pxi"
include "threads.pxi"

ctypedef fused wide:
    float
    double

ctypedef fused weight:
    float
    double

cdef enum:
    FIRST = 0
    SECOND = 1

cdef enum:
    OUTER = 2  # axes besides that along rows
    AXES = 3
    OUTSTANDING = 8  # times the contrast, beyond which a difference stands out
    LOOKED_AT = 1 << 20  # voxels, about, that tell the contrast
    SPAN = 256  # columns of a span, at most
    BLOCK_WIDTH = 32  # where spans may begin and end
    BLOCK_ROWS = 32
    LANES = 16
    ROOM = 2 * SPAN + 3 * PAD  # columns of the finer level under a span, and around
    LEVELS = 40
    PARTS = 64
    DIRECT = 64  # unknowns that are solved for directly
    LANCZOS = 100  # iterations until conjugate gradients start anew
    PATIENCE = 30  # iterations without a better estimate
    PATIENCE_BESIDE = 150  # where voxels are left out, across which coarse levels reach
    GRAIN = 1 << 14  # voxels of a part of a pass
    SHARED = 16  # parts for which it pays to wake other threads
    STEPS = 16 * LEVELS  # of an iteration

cdef float MASS = <float> 0.7  # of the sums of A's rows, of SECOND
cdef double LEAST_PIVOT = 1e-3
cdef double LARGE_TOL = 0.05  # which the contrast must be measured for again and again


cdef struct Axis:
    # One of the two axes besides that along rows, at a row: which one of how many, and the distances of the next.
    Py_ssize_t here
    Py_ssize_t count
    Py_ssize_t step  # of x
    Py_ssize_t weight_step  # of omega
    Py_ssize_t present_step  # of what is left of the volume


cdef struct Taps:
    # What the squared differences along each axis, and the mixed ones without one of the axes, are multiplied by.
    int kind
    double[AXES] straight
    double[AXES] mixed


cdef struct Span:
    int plane
    int row
    int first
    int last


cdef struct Level:
    # Arrays point to voxel (0, 0, 0); rows are `stride` apart, planes `pitch`.
    Taps taps
    Py_ssize_t[AXES] shape
    bint[AXES] halved  # on the next level
    double[AXES] spacing
    Py_ssize_t stride
    Py_ssize_t pitch
    Py_ssize_t size  # of an array
    Py_ssize_t unknown
    Py_ssize_t voxels  # in spans
    Py_ssize_t spans
    Span *span
    unsigned char *free
    unsigned char *present  # 0 where a voxel is left out; NULL where none is
    float *step  # the inverse of the smoother's diagonal, 0 where known
    float *r
    float *z
    float *spare
    float *omega  # NULL where it is 2
    float *mass  # NULL where there is none
    float *tilt  # the same


cdef struct Solver:
    int kind
    int levels
    int smoothing
    float[2] relaxation
    int threads
    bint unique
    bint plain
    bint left_out  # whether voxels are
    bint noisy  # whether the finest level has masses, of what was measured
    Level[LEVELS] level
    Level near  # the finest level, but the spans whose weights are needed
    double *x
    const double *data  # what was measured; NULL where nothing is noisy
    float *direction
    float *twos
    double *factor  # of the coarsest level, by rows
    Taps tilts
    unsigned char *occupied  # of each row of the finest level, and each of its blocks
    double[LANCZOS] diagonal
    double[LANCZOS] squared  # off the diagonal
    # The passes of a cycle, and the one that comes next.
    int[STEPS] passes
    int[STEPS] pass_level
    int pass_count
    int next_pass
    # The state of conjugate gradients.
    bint started
    bint renew  # the residual, in the next iteration
    bint fresh  # the residual is that of x, not a recurrence
    bint settled
    bint stalled
    int steps  # since they started
    int within  # estimates in a row that were
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
    double measured  # the estimate that there was when the contrast was measured
    double estimate
    double best
    double[2] sums  # r'z and z'z, as the last pass of a cycle measures


cdef enum:
    # Passes. A cycle begins with z, the smoother's first step from 0.
    RELAX = 0  # and the number of the step
    RELAX_LAST = 2  # of the finest level, which measures
    RESIDUAL = 3
    RESTRICT = 4
    SOLVE = 5
    INTERPOLATE = 6


cdef struct Job:
    # One pass over the spans of a level.
    Solver *solver
    Level *level
    Py_ssize_t parts
    const float *source
    float *out
    double factor
    bint measure
    const double *volume  # for some passes: x, or several channels of it
    double *volume_out
    Py_ssize_t channels
    double[2 * PARTS] sums


include "multigrid.pxi"


# ---- the operator, a part of a row at a time ----
#
# Pointers are at the first of `width` voxels; the arithmetic has the type of out. With sign -1 the rows of A are
# applied. With 1 all taps have their absolute values, those of the differences too: of the mask this makes the
# smoother's diagonal.

cdef inline void along_row(
    int kind, const real *x, const weight *omega, wide sign, Py_ssize_t first, Py_ssize_t last, wide *out
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


cdef inline void pairs_of_rows(
    const real *x, const real *beyond, const weight *omega, const weight *omega_beyond, wide sign, Py_ssize_t width,
    wide *out,
) noexcept nogil:
    # The weighted differences to the row beyond.
    cdef Py_ssize_t j
    cdef wide half = <wide> 0.5
    for j in range(width):
        out[j] = half * (<wide> omega[j] + <wide> omega_beyond[j]) * (<wide> beyond[j] + sign * <wide> x[j])


cdef inline void bends_of_rows(
    const real *before, const real *x, const real *beyond, const weight *omega, wide sign, Py_ssize_t width, wide *out
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] = <wide> omega[j] * (
            (<wide> beyond[j] + sign * <wide> x[j]) + (<wide> before[j] + sign * <wide> x[j])
        )


cdef inline void cells_of_rows(
    const real *x, const real *beyond, const weight *omega, const weight *omega_beyond, wide sign,
    Py_ssize_t first, Py_ssize_t last, wide *out,
) noexcept nogil:
    # The mixed differences of the cells between two rows.
    cdef Py_ssize_t j
    cdef wide half = <wide> 0.5
    for j in range(first, last):
        out[j] = half * (
            (<wide> omega[j] + <wide> omega[j + 1]) + (<wide> omega_beyond[j] + <wide> omega_beyond[j + 1])
        ) * (
            (<wide> x[j] + sign * <wide> x[j + 1]) + sign * (<wide> beyond[j] + sign * <wide> beyond[j + 1])
        )


cdef inline void cells_across_rows(
    const real *x, Py_ssize_t step, Py_ssize_t other, const weight *omega, Py_ssize_t omega_step,
    Py_ssize_t omega_other, wide sign, Py_ssize_t width, wide *out,
) noexcept nogil:
    # The mixed differences of the cells of four rows.
    cdef Py_ssize_t j
    cdef wide half = <wide> 0.5
    cdef const real *x1 = x + step
    cdef const real *x2 = x + other
    cdef const real *x3 = x + step + other
    cdef const weight *omega1 = omega + omega_step
    cdef const weight *omega2 = omega + omega_other
    cdef const weight *omega3 = omega + omega_step + omega_other
    for j in range(width):
        out[j] = half * (
            (<wide> omega[j] + <wide> omega1[j]) + (<wide> omega2[j] + <wide> omega3[j])
        ) * (
            (<wide> x[j] + sign * <wide> x1[j]) + sign * (<wide> x2[j] + sign * <wide> x3[j])
        )


cdef void keep(
    const unsigned char *a, const unsigned char *b, const unsigned char *c, const unsigned char *d, Py_ssize_t first,
    Py_ssize_t last, wide *differences,
) noexcept nogil:
    # What of differences is left where voxels are left out: those whose (at most four) voxels are all present.
    cdef Py_ssize_t j
    for j in range(first, last):
        differences[j] *= <wide> (a[j] & b[j] & c[j] & d[j])


cdef void keep_cells(
    const unsigned char *present, Py_ssize_t step, Py_ssize_t other, Py_ssize_t width, wide *differences
) noexcept nogil:
    keep(present, present + step, present + other, present + step + other, 0, width, differences)


cdef void first_row(
    const Taps *taps, const Axis *outer, const real *x, const weight *omega, const unsigned char *present, wide sign,
    Py_ssize_t cols, Py_ssize_t first, Py_ssize_t width, wide *out,
) noexcept nogil:
    cdef wide[SPAN + 2 * PAD] along
    cdef wide[SPAN] back
    cdef wide[SPAN] ahead
    cdef wide *p = along + PAD
    cdef Py_ssize_t j, a, s, w, u
    cdef wide c = <wide> taps.straight[OUTER]
    (p - 1)[0] = p[width - 1] = 0
    along_row(FIRST, x, omega, sign, max(-1, -first), min(width, cols - 1 - first), p)
    if present != NULL:
        keep(present, present + 1, present, present, max(-1, -first), min(width, cols - 1 - first), p)
    for j in range(width):
        out[j] = c * ((p - 1)[j] + sign * p[j])
    for a in range(OUTER):
        if outer[a].count == 1:
            continue
        s, w, u = outer[a].step, outer[a].weight_step, outer[a].present_step
        c = <wide> taps.straight[a]
        if outer[a].here > 0:
            pairs_of_rows(x - s, x, omega - w, omega, sign, width, back)
            if present != NULL:
                keep(present - u, present, present, present, 0, width, back)
        else:
            clear(back, width)
        if outer[a].here + 1 < outer[a].count:
            pairs_of_rows(x, x + s, omega, omega + w, sign, width, ahead)
            if present != NULL:
                keep(present, present + u, present, present, 0, width, ahead)
        else:
            clear(ahead, width)
        for j in range(width):
            out[j] += c * (back[j] + sign * ahead[j])


cdef void second_row(
    const Taps *taps, const Axis *outer, const real *x, const weight *omega, const unsigned char *present, wide sign,
    Py_ssize_t cols, Py_ssize_t first, Py_ssize_t width, wide *out,
) noexcept nogil:
    cdef wide[SPAN + 2 * PAD] along
    cdef wide[4][SPAN + 2 * PAD] rows
    cdef wide *p = along + PAD
    cdef wide *before = rows[0] + PAD
    cdef wide *here = rows[1] + PAD
    cdef wide *beyond = rows[2] + PAD
    cdef wide *last = rows[3] + PAD
    cdef Py_ssize_t j, a, s, w, u, start = max(-1, -first), stop = min(width, cols - 1 - first)
    cdef Py_ssize_t t = outer[1].step, v = outer[1].weight_step
    cdef bint back, ahead, up, down
    cdef wide middle = sign + sign, c = <wide> taps.straight[OUTER]
    clear(p - 1, width + 2)
    along_row(SECOND, x, omega, sign, max(-1, 1 - first), min(width + 1, cols - 1 - first), p)
    if present != NULL:
        keep(
            present - 1, present, present + 1, present, max(-1, 1 - first), min(width + 1, cols - 1 - first), p
        )
    for j in range(width):
        out[j] = c * (((p - 1)[j] + p[j + 1]) + middle * p[j])
    for a in range(OUTER):
        if outer[a].count == 1:
            continue
        s, w, u = outer[a].step, outer[a].weight_step, outer[a].present_step
        c = <wide> taps.straight[a]
        if outer[a].here > 1:
            bends_of_rows(x - 2 * s, x - s, x, omega - w, sign, width, before)
            if present != NULL:
                keep(present - 2 * u, present - u, present, present, 0, width, before)
        else:
            clear(before, width)
        if 0 < outer[a].here < outer[a].count - 1:
            bends_of_rows(x - s, x, x + s, omega, sign, width, here)
            if present != NULL:
                keep(present - u, present, present + u, present, 0, width, here)
        else:
            clear(here, width)
        if outer[a].here < outer[a].count - 2:
            bends_of_rows(x, x + s, x + 2 * s, omega + w, sign, width, beyond)
            if present != NULL:
                keep(present, present + u, present + 2 * u, present, 0, width, beyond)
        else:
            clear(beyond, width)
        for j in range(width):
            out[j] += c * ((before[j] + beyond[j]) + middle * here[j])
        # The mixed differences along this axis and rows: those of planes have `mixed` 1.
        c = <wide> taps.mixed[1 - a]
        clear(before - 1, width + 1)
        clear(beyond - 1, width + 1)
        if outer[a].here > 0:
            cells_of_rows(x - s, x, omega - w, omega, sign, start, stop, before)
            if present != NULL:
                keep(present - u, present - u + 1, present, present + 1, start, stop, before)
        if outer[a].here + 1 < outer[a].count:
            cells_of_rows(x, x + s, omega, omega + w, sign, start, stop, beyond)
            if present != NULL:
                keep(present, present + 1, present + u, present + u + 1, start, stop, beyond)
        for j in range(width):
            out[j] += c * (
                (beyond[j] + sign * (beyond - 1)[j]) + sign * (before[j] + sign * (before - 1)[j])
            )
    if outer[0].count == 1 or outer[1].count == 1:
        return
    s, w = outer[0].step, outer[0].weight_step
    back, ahead = outer[0].here > 0, outer[0].here + 1 < outer[0].count
    up, down = outer[1].here > 0, outer[1].here + 1 < outer[1].count
    clear(before, width)
    clear(here, width)
    clear(beyond, width)
    clear(last, width)
    if back and up:
        cells_across_rows(x - s - t, s, t, omega - w - v, w, v, sign, width, before)
    if back and down:
        cells_across_rows(x - s, s, t, omega - w, w, v, sign, width, here)
    if ahead and up:
        cells_across_rows(x - t, s, t, omega - v, w, v, sign, width, beyond)
    if ahead and down:
        cells_across_rows(x, s, t, omega, w, v, sign, width, last)
    if present != NULL:
        s, t = outer[0].present_step, outer[1].present_step
        if back and up:
            keep_cells(present - s - t, s, t, width, before)
        if back and down:
            keep_cells(present - s, s, t, width, here)
        if ahead and up:
            keep_cells(present - t, s, t, width, beyond)
        if ahead and down:
            keep_cells(present, s, t, width, last)
    c = <wide> taps.mixed[OUTER]
    for j in range(width):
        out[j] += c * ((last[j] + sign * beyond[j]) + sign * (here[j] + sign * before[j]))


cdef void plain_taps(
    const Taps *taps, double sign, double *own, double *near, double *far, double *corner
) noexcept nogil:
    # What a voxel, those next to it along each axis, those two away, and those across a corner are multiplied by, where
    # omega is 2 and every difference fits into the volume.
    cdef int a
    own[0] = 0
    for a in range(AXES):
        if taps.kind == FIRST:
            near[a] = sign * 2 * taps.straight[a]
            far[a] = corner[a] = 0
            own[0] += 4 * taps.straight[a]
        else:
            near[a] = sign * 8 * (
                taps.straight[a] + taps.mixed[(a + 1) % AXES] + taps.mixed[(a + 2) % AXES]
            )
            far[a] = 2 * taps.straight[a]
            corner[a] = 4 * taps.mixed[a]
            own[0] += 12 * taps.straight[a] + 16 * taps.mixed[a]


cdef inline wide pair(const real *one, const real *other, Py_ssize_t j, wide origin) noexcept nogil:
    return (<wide> one[j] - origin) + (<wide> other[j] - origin)


cdef inline void plain_row(
    const Taps *taps, Py_ssize_t s, Py_ssize_t t, const real *x, wide sign, bint exact, Py_ssize_t first,
    Py_ssize_t last, wide *out,
) noexcept nogil:
    # Where omega is 2 and every difference fits into the volume, whose planes and rows are s and t apart. To be exact,
    # from differences to each voxel itself, which all but are; sums of voxels are rounded.
    cdef Py_ssize_t j
    cdef double exact_own
    cdef double[AXES] near
    cdef double[AXES] far
    cdef double[AXES] corner
    cdef wide own, nz, ny, nx, fz, fy, fx, yx, zx, zy, origin
    cdef const real *back = x - s
    cdef const real *ahead = x + s
    cdef const real *up = x - t
    cdef const real *down = x + t
    plain_taps(taps, sign, &exact_own, near, far, corner)
    own = 0 if exact else <wide> exact_own
    nz, ny, nx = <wide> near[0], <wide> near[1], <wide> near[2]
    if taps.kind == FIRST:
        for j in range(first, last):
            origin = x[j] if exact else 0
            out[j] = own * <wide> x[j] + (
                (nx * pair(x - 1, x + 1, j, origin) + ny * pair(up, down, j, origin))
                + nz * pair(back, ahead, j, origin)
            )
        return
    fz, fy, fx = <wide> far[0], <wide> far[1], <wide> far[2]
    yx, zx, zy = <wide> corner[0], <wide> corner[1], <wide> corner[2]
    for j in range(first, last):
        origin = x[j] if exact else 0
        out[j] = (
            (
                (
                    own * <wide> x[j]
                    + (nx * pair(x - 1, x + 1, j, origin) + ny * pair(up, down, j, origin))
                ) + nz * pair(back, ahead, j, origin)
            ) + (
                (
                    yx * (pair(up - 1, up + 1, j, origin) + pair(down - 1, down + 1, j, origin))
                    + zx * (pair(back - 1, back + 1, j, origin) + pair(ahead - 1, ahead + 1, j, origin))
                ) + zy * (pair(back - t, back + t, j, origin) + pair(ahead - t, ahead + t, j, origin))
            )
        ) + (
            (fx * pair(x - 2, x + 2, j, origin) + fy * pair(up - t, down + t, j, origin))
            + fz * pair(back - s, ahead + s, j, origin)
        )


cdef inline wide bend_along(const real *x, Py_ssize_t step, wide sign) noexcept nogil:
    return (<wide> x[0] + <wide> x[0]) + sign * (<wide> (x - step)[0] + <wide> x[step])


cdef void plain_end(
    const Taps *taps, Py_ssize_t s, Py_ssize_t t, const real *x, wide sign, Py_ssize_t away, Py_ssize_t inwards,
    wide *out,
) noexcept nogil:
    # As plain_row, of one voxel of a row of five at least, whose end is 0 or 1 voxels away; `inwards` leads from there.
    cdef wide value, y, z, two = 2, four = 4, five = 5
    cdef wide cx = <wide> taps.straight[2], cy = <wide> taps.straight[1], cz = <wide> taps.straight[0]
    cdef wide zy = <wide> taps.mixed[2]
    cdef const real *next = x + inwards
    if taps.kind == FIRST:
        # Only a voxel at the end itself.
        value = two * cx * (<wide> x[0] + sign * <wide> next[0])
        value += two * (cy * bend_along(x, t, sign) + cz * bend_along(x, s, sign))
        out[0] = value
        return
    if away == 0:
        value = (<wide> x[0] + sign * two * <wide> next[0]) + <wide> next[inwards]
        y = bend_along(x, t, sign) + sign * bend_along(next, t, sign)
        z = bend_along(x, s, sign) + sign * bend_along(next, s, sign)
    else:
        value = (five * <wide> x[0] + sign * four * <wide> next[0]) + (
            <wide> next[inwards] + sign * two * <wide> (x - inwards)[0]
        )
        y = two * bend_along(x, t, sign) + sign * (bend_along(next, t, sign) + bend_along(x - inwards, t, sign))
        z = two * bend_along(x, s, sign) + sign * (bend_along(next, s, sign) + bend_along(x - inwards, s, sign))
    value = two * cx * value + four * (<wide> taps.mixed[0] * y + <wide> taps.mixed[1] * z)
    y = two * bend_along(x, t, sign) + sign * (bend_along(x - t, t, sign) + bend_along(x + t, t, sign))
    z = two * bend_along(x, s, sign) + sign * (bend_along(x - s, s, sign) + bend_along(x + s, s, sign))
    value += two * (cy * y + cz * z)
    y = two * bend_along(x, t, sign) + sign * (bend_along(x - s, t, sign) + bend_along(x + s, t, sign))
    out[0] = value + four * zy * y


cdef inline void weighted_row(
    const Taps *taps, const Axis *outer, const real *x, const weight *omega, const unsigned char *present, wide sign,
    Py_ssize_t cols, Py_ssize_t first, Py_ssize_t width, wide *out,
) noexcept nogil:
    if taps.kind == FIRST:
        first_row(taps, outer, x, omega, present, sign, cols, first, width, out)
    else:
        second_row(taps, outer, x, omega, present, sign, cols, first, width, out)


# ---- the operator of a level ----

cdef inline void locate(
    const Level *level, const Span *span, Py_ssize_t pitch, Py_ssize_t stride, Axis *outer
) noexcept nogil:
    # At the row of a span, of an x whose planes and rows are so far apart.
    outer[0].here, outer[1].here = span.plane, span.row
    outer[0].count, outer[1].count = level.shape[0], level.shape[1]
    outer[0].step, outer[1].step = pitch, stride
    if level.omega == NULL:
        outer[0].weight_step = outer[1].weight_step = 0
    else:
        outer[0].weight_step, outer[1].weight_step = level.pitch, level.stride
    outer[0].present_step, outer[1].present_step = level.pitch, level.stride


cdef inline const unsigned char *left_of(const Level *level, const Span *span) noexcept nogil:
    # Where what is left of the volume stands of a span's voxels; NULL where that is all.
    return NULL if level.present == NULL else level.present + place(level, span)


cdef inline Py_ssize_t place(const Level *level, const Span *span) noexcept nogil:
    return span.plane * level.pitch + span.row * level.stride + span.first


cdef inline const float *weights_at(const Solver *solver, const Level *level, const Span *span) noexcept nogil:
    return solver.twos + span.first if level.omega == NULL else level.omega + place(level, span)


cdef inline bint is_inner(const Axis *axis, Py_ssize_t reach) noexcept nogil:
    return reach <= axis.here < axis.count - reach


cdef void operate(
    const Solver *solver, const Level *level, const Span *span, const float *x, wide sign, wide *out
) noexcept nogil:
    # x points to voxel (0, 0, 0). In planes and rows at the volume's border, and with weights, by the general way.
    cdef Axis[OUTER] outer
    cdef Py_ssize_t at = place(level, span), width = span.last - span.first, cols = level.shape[2]
    cdef Py_ssize_t reach = 1 if level.taps.kind == FIRST else 2
    cdef Py_ssize_t left = max(0, reach - span.first), right = min(width, cols - reach - span.first), j
    cdef const float *mass
    cdef wide[SPAN] tilted
    locate(level, span, level.pitch, level.stride, outer)
    x += at
    if (
        level.omega == NULL and level.present == NULL and cols > 2 * reach and is_inner(&outer[0], reach)
        and is_inner(&outer[1], reach)
    ):
        plain_row(&level.taps, level.pitch, level.stride, x, sign, False, left, right, out)
        for j in range(min(left, width)):
            plain_end(&level.taps, level.pitch, level.stride, x + j, sign, span.first + j, 1, out + j)
        for j in range(max(right, 0), width):
            plain_end(&level.taps, level.pitch, level.stride, x + j, sign, cols - 1 - span.first - j, -1, out + j)
        if level.mass == NULL:
            return
    else:
        weighted_row(
            &level.taps, outer, x, weights_at(solver, level, span), left_of(level, span), sign, cols, span.first, width,
            out,
        )
    if level.mass != NULL:
        mass = level.mass + at
        for j in range(width):
            out[j] += <wide> mass[j] * <wide> x[j]
    if level.tilt != NULL:
        first_row(
            &solver.tilts, outer, x, level.tilt + at, left_of(level, span), sign, cols, span.first, width, tilted
        )
        for j in range(width):
            out[j] += tilted[j]


cdef inline void apply_row(
    const Solver *solver, const Level *level, const Span *span, const float *x, wide *out
) noexcept nogil:
    cdef wide minus = -1
    operate(solver, level, span, x, minus, out)


# ---- between two levels ----

cdef inline float share_along(bint halved, Py_ssize_t i, Py_ssize_t coarse, Py_ssize_t side) noexcept nogil:
    # What the finer row (or plane) i takes of a coarse one.
    if halved:
        return share(i, coarse, side)
    return 1 if i == coarse else 0


cdef inline void sources(
    bint halved, Py_ssize_t i, Py_ssize_t side, Py_ssize_t *near, Py_ssize_t *far
) noexcept nogil:
    # The coarse rows (or planes) that the finer one i is interpolated from.
    cdef Py_ssize_t half = (side + 1) // 2
    near[0] = far[0] = i
    if halved:
        near[0] = i // 2
        far[0] = near[0] + (1 if i & 1 else -1)
        if not 0 <= far[0] < half:
            far[0] = max(<Py_ssize_t> 0, min(2 * near[0] - far[0], half - 1))


cdef inline void covered(
    bint halved, Py_ssize_t k, Py_ssize_t side, Py_ssize_t reach, Py_ssize_t *first, Py_ssize_t *last
) noexcept nogil:
    # The finer rows that a coarse one covers, and so many more at either end if halved.
    first[0] = max(<Py_ssize_t> 0, 2 * k - reach) if halved else k
    last[0] = min(side, 2 * k + 2 + reach) if halved else k + 1


# ---- the passes ----

cdef inline void run_pass(part_function function, Job *job) noexcept nogil:
    # In parts of about GRAIN voxels.
    job.parts = min(<Py_ssize_t> PARTS, max(<Py_ssize_t> 1, job.level.voxels // GRAIN))
    run_parts(function, job, job.parts, job.solver.threads if job.level.voxels >= SHARED * GRAIN else 1)


cdef void relax_part(void *given, Py_ssize_t part) noexcept nogil:
    # out = source + factor step (r - A source)
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const float *z
    cdef const float *r
    cdef const float *step
    cdef float[SPAN] product
    cdef float *out
    cdef float factor = <float> job.factor
    cdef double rz = 0, zz = 0
    cdef Py_ssize_t s, j, at, width
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        at = place(level, span)
        width = span.last - span.first
        z = job.source + at
        r = level.r + at
        step = level.step + at
        out = job.out + at
        apply_row(job.solver, level, span, job.source, product)
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
    cdef float *out
    cdef Py_ssize_t s, j, at
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        at = place(level, span)
        r = level.r + at
        free = level.free + at
        out = job.out + at
        apply_row(job.solver, level, span, job.source, product)
        for j in range(span.last - span.first):
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
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        at = place(level, span)
        width = span.last - span.first
        free = level.free + at
        out = job.out + at
        apply_row(job.solver, level, span, job.source, product)
        for j in range(width):
            out[j] = <float> product[j] * <float> free[j]
        curvature += dot(job.source + at, out, width)
        slope += dot(job.source + at, level.r + at, width)
    job.sums[2 * part] = curvature
    job.sums[2 * part + 1] = slope


cdef void restrict_row(
    const Level *fine, const Level *level, const Span *span, const float *source, float *out
) noexcept nogil:
    # P' source of a span, where out has its first voxel.
    cdef float[ROOM] column_sums
    cdef float *row = column_sums + PAD
    cdef const float *finer
    cdef float of_plane, factor
    cdef bint halved = fine.halved[2]
    cdef Py_ssize_t k, i, j, top, bottom, above, below, width = span.last - span.first
    cdef Py_ssize_t left = (2 if halved else 1) * span.first, reach = 2 if halved else 0
    cdef Py_ssize_t stop = (2 if halved else 1) * width + reach
    clear(row - 2, 2 * width + 4)
    covered(fine.halved[0], span.plane, fine.shape[0], 2, &above, &below)
    covered(fine.halved[1], span.row, fine.shape[1], 2, &top, &bottom)
    for k in range(above, below):
        of_plane = share_along(fine.halved[0], k, span.plane, fine.shape[0])
        for i in range(top, bottom):
            factor = of_plane * share_along(fine.halved[1], i, span.row, fine.shape[1])
            if factor == 0:
                continue
            finer = source + k * fine.pitch + i * fine.stride + left
            for j in range(-reach, stop):
                row[j] += factor * finer[j]
    if not halved:
        for j in range(width):
            out[j] = row[j]
        return
    join(row, width, out)
    join_border(row, span.first, span.first, span.last, level.shape[2], fine.shape[2], out)


cdef void restrict_part(void *given, Py_ssize_t part) noexcept nogil:
    # r = P' source and the first step from 0, z = factor step r; the level is the coarse one here.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef float[SPAN + PAD] joined
    cdef const float *step
    cdef const unsigned char *free
    cdef float *r
    cdef float *z
    cdef float factor = <float> job.factor
    cdef Py_ssize_t s, j, at
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        restrict_row(level - 1, level, span, job.source, joined)
        at = place(level, span)
        free = level.free + at
        step = level.step + at
        r = level.r + at
        z = level.z + at
        for j in range(span.last - span.first):
            r[j] = joined[j] * <float> free[j]
            z[j] = factor * step[j] * r[j]


cdef inline void mix_rows(
    const float *a, const float *b, float of_a, float of_b, const float *c, const float *d, float of_c, float of_d,
    Py_ssize_t first, Py_ssize_t last, float *out,
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(first, last):
        out[j] = (of_a * a[j] + of_b * b[j]) + (of_c * c[j] + of_d * d[j])


cdef void interpolate_part(void *given, Py_ssize_t part) noexcept nogil:
    # out += P source where unknown
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef Level *coarse = level + 1
    cdef float[SPAN + 2 * PAD] mixed
    cdef float[SPAN + 2] finer
    cdef float *row = mixed + PAD
    cdef const float *found
    cdef const float *source
    cdef const unsigned char *free
    cdef float *out
    cdef float[2] of_planes
    cdef float[2] of_rows
    cdef Py_ssize_t[2] planes
    cdef Py_ssize_t[2] rows
    cdef Py_ssize_t s, j, at, first, last
    cdef bint halved = level.halved[2]
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        first = span.first // 2 if halved else span.first
        last = (span.last + 1) // 2 if halved else span.last
        sources(level.halved[0], span.plane, level.shape[0], &planes[0], &planes[1])
        sources(level.halved[1], span.row, level.shape[1], &rows[0], &rows[1])
        of_planes[0] = share_along(level.halved[0], span.plane, planes[0], level.shape[0])
        of_planes[1] = share_along(level.halved[0], span.plane, planes[1], level.shape[0])
        of_rows[0] = share_along(level.halved[1], span.row, rows[0], level.shape[1])
        of_rows[1] = share_along(level.halved[1], span.row, rows[1], level.shape[1])
        if planes[0] == planes[1]:
            of_planes[1] = 0
        if rows[0] == rows[1]:
            of_rows[1] = 0
        source = job.source + first
        mix_rows(
            source + planes[0] * coarse.pitch + rows[0] * coarse.stride,
            source + planes[0] * coarse.pitch + rows[1] * coarse.stride,
            of_planes[0] * of_rows[0], of_planes[0] * of_rows[1],
            source + planes[1] * coarse.pitch + rows[0] * coarse.stride,
            source + planes[1] * coarse.pitch + rows[1] * coarse.stride,
            of_planes[1] * of_rows[0], of_planes[1] * of_rows[1],
            -1, last - first + 1, row,
        )
        found = row
        if halved:
            extrapolate(row, first, last, coarse.shape[2])
            interleave(row, last - first, finer)
            found = finer
        at = place(level, span)
        free = level.free + at
        out = job.out + at
        for j in range(span.last - span.first):
            out[j] += found[j] * <float> free[j]


cdef void direct_part(void *given, Py_ssize_t part) noexcept nogil:
    # out = source + factor out
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const float *z
    cdef float *p
    cdef float factor = <float> job.factor
    cdef Py_ssize_t s, j, at
    for s in range(part_start(job, part), part_start(job, part + 1)):
        at = place(level, &level.span[s])
        z = job.source + at
        p = job.out + at
        for j in range(level.span[s].last - level.span[s].first):
            p[j] = z[j] + factor * p[j]


cdef inline Py_ssize_t place_in_x(const Level *level, const Span *span) noexcept nogil:
    # x has no room around it.
    return (span.plane * level.shape[1] + span.row) * level.shape[2] + span.first


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
    cdef Py_ssize_t s, j, at, width
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        at = place(level, span)
        width = span.last - span.first
        p = job.solver.direction + at
        x = job.solver.x + place_in_x(level, span)
        free = level.free + at
        # Known voxels are kept to the bit: to add 0 would make 0 of -0.
        for j in range(width):
            x[j] = x[j] + factor * p[j] if free[j] else x[j]
        if not job.measure:
            continue
        q = job.source + at
        step = level.step + at
        r = level.r + at
        z = level.z + at
        for j in range(width):
            r[j] -= short_factor * q[j]
            z[j] = relaxation * step[j] * r[j]


cdef void renew_part(void *given, Py_ssize_t part) noexcept nogil:
    # r = -A x, in double, and what was measured beside x times its mass, and the first step of the smoother, z. From
    # differences of neighbours, which are exact; a sum of voxels is rounded, and differences of higher order can be
    # smaller than that.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const unsigned char *free
    cdef const float *step
    cdef double[SPAN] product
    cdef double minus = -1
    cdef float *r
    cdef float *z
    cdef const float *mass
    cdef const double *x
    cdef const double *data
    cdef float relaxation = job.solver.relaxation[0]
    cdef Axis[OUTER] outer
    cdef Py_ssize_t s, j, at, width, left, right, cols = level.shape[2]
    cdef Py_ssize_t reach = 1 if level.taps.kind == FIRST else 2
    cdef bint plain = level.omega == NULL and level.present == NULL and cols > 2 * reach
    cdef const float *weights
    cdef const unsigned char *present
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        at = place(level, span)
        width = span.last - span.first
        free = level.free + at
        step = level.step + at
        r = level.r + at
        z = level.z + at
        x = job.solver.x + place_in_x(level, span)
        weights, present = weights_at(job.solver, level, span), left_of(level, span)
        locate(level, span, level.shape[1] * cols, cols, outer)
        left = right = width
        if plain and is_inner(&outer[0], reach) and is_inner(&outer[1], reach):
            left, right = min(max(0, reach - span.first), width), max(0, min(width, cols - reach - span.first))
            plain_row(&level.taps, outer[0].step, outer[1].step, x, minus, True, left, right, product)
        if left > 0:
            weighted_row(&level.taps, outer, x, weights, present, minus, cols, span.first, left, product)
        if right < width:
            weighted_row(
                &level.taps, outer, x + right, weights + right, present, minus, cols, span.first + right, width - right,
                product + right,
            )
        if job.solver.data != NULL:
            mass = level.mass + at
            data = job.solver.data + place_in_x(level, span)
            for j in range(width):
                product[j] += mass[j] * (x[j] - data[j])
        for j in range(width):
            r[j] = -<float> product[j] * <float> free[j]
            z[j] = relaxation * step[j] * r[j]


cdef inline void add_squared_differences(
    const double *x, const double *other, const unsigned char *free, const unsigned char *free_there,
    const unsigned char *there, bint ahead, float most, Py_ssize_t first, Py_ssize_t last, float *out, int *pairs,
) noexcept nogil:
    # A pair belongs to the first of its voxels if that is free, or else to the other one. `there` tells whether the
    # other one is present, where some are not.
    cdef Py_ssize_t j
    cdef float difference
    cdef int counts
    for j in range(first, last):
        difference = clip(<float> (x[j] - other[j]), -most, most)
        counts = free[j] if ahead else free[j] & (1 - free_there[j])
        if there != NULL:
            counts &= there[j]
        out[j] += difference * difference * <float> counts
        pairs[j] += counts


cdef void contrast_part(void *given, Py_ssize_t part) noexcept nogil:
    # The sum of the squared differences of neighbours of which one is free, and their number; of large volumes those of
    # some spans, an odd number apart, which is in step with no pattern of rows or planes that is likely.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef float[SPAN] squares
    cdef double[SPAN] terms
    cdef int[SPAN] pairs
    cdef const double *x
    cdef const unsigned char *free
    cdef const unsigned char *present
    cdef double total = 0
    cdef Py_ssize_t s, a, j, width, first, last, x_step, step, count = 0, every = level.voxels // LOOKED_AT | 1
    cdef Py_ssize_t[AXES] here
    cdef Py_ssize_t cols = level.shape[2]
    cdef float most = <float> job.factor
    cdef Span *span
    s = (part_start(job, part) + every - 1) // every * every
    while s < part_start(job, part + 1):
        span = &level.span[s]
        width = span.last - span.first
        free = level.free + place(level, span)
        present = left_of(level, span)
        x = job.solver.x + place_in_x(level, span)
        for j in range(width):
            squares[j] = 0
            pairs[j] = 0
        here[0], here[1] = span.plane, span.row
        for a in range(AXES):
            step = level.pitch if a == 0 else level.stride if a == 1 else 1
            x_step = level.shape[1] * cols if a == 0 else cols if a == 1 else 1
            first = 1 if a == OUTER and span.first == 0 else 0
            last = width - 1 if a == OUTER and span.last == cols else width
            if a == OUTER or here[a] > 0:
                add_squared_differences(
                    x, x - x_step, free, free - step, present - step if present != NULL else NULL, False, most, first,
                    width, squares, pairs,
                )
            if a == OUTER or here[a] + 1 < level.shape[a]:
                add_squared_differences(
                    x, x + x_step, free, free, present + step if present != NULL else NULL, True, most, 0, last,
                    squares, pairs,
                )
        for j in range(width):
            terms[j] = squares[j]
            count += pairs[j]
        total += tally(terms, width)
        s += every
    job.sums[2 * part] = total
    job.sums[2 * part + 1] = count


# ---- the operators of the levels ----

cdef void mask_part(void *given, Py_ssize_t part) noexcept nogil:
    # out is the mask
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef Py_ssize_t s, j, at
    for s in range(part_start(job, part), part_start(job, part + 1)):
        at = place(level, &level.span[s])
        for j in range(at, at + level.span[s].last - level.span[s].first):
            job.out[j] = level.free[j]


cdef void steps_part(void *given, Py_ssize_t part) noexcept nogil:
    # source is the mask
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef const unsigned char *free
    cdef float[SPAN] diagonal
    cdef float *step
    cdef float one = 1
    cdef Py_ssize_t s, j, at
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        at = place(level, span)
        free = level.free + at
        step = level.step + at
        operate(job.solver, level, span, job.source, one, diagonal)
        for j in range(span.last - span.first):
            step[j] = one / diagonal[j] if free[j] and diagonal[j] > 0 else 0


cdef inline void pair_up(const float *row, Py_ssize_t width, float *out) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] = row[2 * j] + row[2 * j + 1]


cdef inline void add_masked(
    const float *row, float factor, const unsigned char *free, Py_ssize_t width, float *out
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] += factor * row[j] * <float> free[j]


cdef void coarsen_part(void *given, Py_ssize_t part) noexcept nogil:
    # omega, mass and tilt of a coarse level; source is the sums of the finer A's rows, its mass among them.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef Level *fine = level - 1
    cdef float[3][ROOM] sums  # of omega, mass and tilt
    cdef float[SPAN] paired
    cdef const unsigned char *free
    cdef float *out
    cdef float of_product = MASS if level.taps.kind == SECOND else 1, mean = <float> job.factor
    cdef float quarter = <float> 0.25, sixteenth = <float> 0.0625
    cdef bint halved = fine.halved[2]
    cdef Py_ssize_t s, k, i, j, at, above, below, top, bottom, width, wide_width, left, which
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        width = span.last - span.first
        left = 2 * span.first if halved else span.first
        wide_width = min(2 * width, fine.shape[2] - left) if halved else width
        for which in range(3):
            clear(sums[which], 2 * width)
        covered(fine.halved[0], span.plane, fine.shape[0], 0, &above, &below)
        covered(fine.halved[1], span.row, fine.shape[1], 0, &top, &bottom)
        for k in range(above, below):
            for i in range(top, bottom):
                at = k * fine.pitch + i * fine.stride + left
                free = fine.free + at
                if fine.omega == NULL:
                    for j in range(wide_width):
                        sums[0][j] += mean * <float> (2 * free[j])
                else:
                    add_masked(fine.omega + at, mean, free, wide_width, sums[0])
                add_masked(job.source + at, of_product, free, wide_width, sums[1])
                if fine.mass != NULL:
                    add_masked(fine.mass + at, 1 - of_product, free, wide_width, sums[1])
                if fine.tilt != NULL:
                    add_masked(fine.tilt + at, quarter, free, wide_width, sums[2])
        if halved:
            for which in range(3):
                pair_up(sums[which], width, paired)
                for j in range(width):
                    sums[which][j] = paired[j]
        at = place(level, span)
        free = level.free + at
        out = level.omega + at
        for j in range(width):
            out[j] = sums[0][j] * <float> free[j]
        # What is known lies beside the middle of the voxel.
        out = level.mass + at
        for j in range(width):
            out[j] = sums[1][j] if free[j] and sums[1][j] > 0 else 0
        if level.tilt != NULL:
            out = level.tilt + at
            for j in range(width):
                out[j] = sums[2][j] + sixteenth * (level.mass + at)[j] if free[j] else 0


# ---- weights ----

cdef inline void add_squares(
    const Taps *taps, const Axis *outer, const real *x, const unsigned char *present, Py_ssize_t cols,
    Py_ssize_t first, Py_ssize_t width, wide *out,
) noexcept nogil:
    # Add Q of a part of a row, as the kinds have it.
    cdef wide[SPAN + 2 * PAD] row
    cdef wide *p = row + PAD
    cdef Py_ssize_t j, a, way, other, s, t, u, v, start = max(-1, -first), stop = min(width, cols - 1 - first)
    cdef wide c, half = <wide> 0.5
    cdef const real *from_row
    # Along rows; of FIRST the differences to the next, of SECOND those around.
    clear(p - 1, width + 2)
    c = <wide> taps.straight[OUTER]
    if taps.kind == FIRST:
        for j in range(start, stop):
            p[j] = (<wide> x[j + 1] - <wide> x[j]) * (<wide> x[j + 1] - <wide> x[j])
        if present != NULL:
            keep(present, present + 1, present, present, start, stop, p)
        for j in range(width):
            out[j] += half * c * (p[j] + (p - 1)[j])
    else:
        for j in range(max(0, 1 - first), stop):
            p[j] = (<wide> x[j + 1] - <wide> x[j]) + (<wide> (x - 1)[j] - <wide> x[j])
        if present != NULL:
            keep(present - 1, present, present + 1, present, max(0, 1 - first), stop, p)
        for j in range(width):
            out[j] += c * p[j] * p[j]
    for a in range(OUTER):
        s, u = outer[a].step, outer[a].present_step
        c = <wide> taps.straight[a]
        if taps.kind == FIRST:
            for way in range(2):
                if outer[a].here == (outer[a].count - 1 if way else 0):
                    continue
                from_row = x + s if way else x - s
                if present != NULL:
                    for j in range(width):
                        p[j] = half * c * (
                            (<wide> from_row[j] - <wide> x[j]) * (<wide> from_row[j] - <wide> x[j])
                        )
                    keep(present, present + u if way else present - u, present, present, 0, width, p)
                    for j in range(width):
                        out[j] += p[j]
                    continue
                for j in range(width):
                    out[j] += half * c * (
                        (<wide> from_row[j] - <wide> x[j]) * (<wide> from_row[j] - <wide> x[j])
                    )
            continue
        if 0 < outer[a].here < outer[a].count - 1:
            for j in range(width):
                p[j] = (<wide> (x + s)[j] - <wide> x[j]) + (<wide> (x - s)[j] - <wide> x[j])
            if present != NULL:
                keep(present - u, present, present + u, present, 0, width, p)
            for j in range(width):
                out[j] += c * p[j] * p[j]
        c = <wide> taps.mixed[1 - a]
        for way in range(2):
            if outer[a].here == (outer[a].count - 1 if way else 0):
                continue
            from_row = x + s if way else x - s
            clear(p - 1, width + 2)
            for j in range(start, stop):
                p[j] = (<wide> x[j] - <wide> x[j + 1]) - (<wide> from_row[j] - <wide> from_row[j + 1])
            if present != NULL:
                v = u if way else -u
                keep(present, present + 1, present + v, present + v + 1, start, stop, p)
            for j in range(width):
                out[j] += half * c * (p[j] * p[j] + (p - 1)[j] * (p - 1)[j])
    if taps.kind == FIRST:
        return
    c = <wide> taps.mixed[OUTER]
    for way in range(2):
        for other in range(2):
            if outer[0].here == (outer[0].count - 1 if way else 0):
                continue
            if outer[1].here == (outer[1].count - 1 if other else 0):
                continue
            s = outer[0].step if way else -outer[0].step
            t = outer[1].step if other else -outer[1].step
            for j in range(width):
                p[j] = (<wide> x[j] - <wide> (x + s)[j]) - (<wide> (x + t)[j] - <wide> (x + s + t)[j])
            if present != NULL:
                u = outer[0].present_step if way else -outer[0].present_step
                v = outer[1].present_step if other else -outer[1].present_step
                keep_cells(present, u, v, width, p)
            for j in range(width):
                out[j] += half * c * p[j] * p[j]


cdef void weigh_part(void *given, Py_ssize_t part) noexcept nogil:
    # The weights of the finest level, from the channels of `volume`; the level is `near` here.
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef double[SPAN] squares
    cdef double epsilon = job.factor, mean = 1.0 / job.channels
    cdef float *out
    cdef Axis[OUTER] outer
    cdef Py_ssize_t s, c, j, width, cols = level.shape[2], plane = level.shape[0] * level.shape[1] * cols
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        width = span.last - span.first
        clear(squares, width)
        locate(level, span, level.shape[1] * cols, cols, outer)
        for c in range(job.channels):
            add_squares(
                &level.taps, outer, job.volume + c * plane + place_in_x(level, span), left_of(level, span), cols,
                span.first, width, squares,
            )
        out = job.out + place(level, span)
        for j in range(width):
            out[j] = <float> (1 / sqrt(epsilon * epsilon + mean * squares[j]))


# ---- the coarsest level ----

cdef Py_ssize_t list_unknown(const Level *level, Py_ssize_t *places) noexcept nogil:
    cdef Py_ssize_t s, at, start, n = 0
    for s in range(level.spans):
        start = place(level, &level.span[s])
        for at in range(start, start + level.span[s].last - level.span[s].first):
            if level.free[at]:
                places[n] = at
                n += 1
    return n


cdef void product_part(void *given, Py_ssize_t part) noexcept nogil:
    # out = A source
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef float[SPAN] product
    cdef float *out
    cdef Py_ssize_t s, j
    cdef Span *span
    for s in range(part_start(job, part), part_start(job, part + 1)):
        span = &level.span[s]
        apply_row(job.solver, level, span, job.source, product)
        out = job.out + place(level, span)
        for j in range(span.last - span.first):
            out[j] = product[j]


cdef void factorise(Solver *solver) noexcept nogil:
    # By Cholesky; of the diagonal the inverse is kept.
    cdef Level *level = &solver.level[solver.levels - 1]
    cdef Job job
    cdef Py_ssize_t[DIRECT] places
    cdef Py_ssize_t n = list_unknown(level, places), i, j, k
    cdef double rest, least
    cdef double *row
    cdef double *upper
    start_job(solver, solver.levels - 1, &job)
    for i in range(n):
        level.z[places[i]] = 0
    for i in range(n):
        level.z[places[i]] = 1
        run_pass(product_part, &job)
        level.z[places[i]] = 0
        for j in range(i + 1):
            solver.factor[i * DIRECT + j] = level.spare[places[j]]
    for i in range(n):
        row = solver.factor + i * DIRECT
        least = LEAST_PIVOT * row[i]
        for j in range(i + 1):
            upper = solver.factor + j * DIRECT
            rest = row[j]
            for k in range(j):
                rest -= row[k] * upper[k]
            if j < i:
                row[j] = rest * upper[j]
            else:
                rest = max(rest, least)
                row[j] = 1 / sqrt(rest) if rest > 0 else 0


# ---- the cycle ----

cdef inline void start_job(Solver *solver, int level, Job *job) noexcept nogil:
    job.solver = solver
    job.level = &solver.level[level]
    job.measure = False
    job.factor = 0
    job.source = job.level.z
    job.out = job.level.spare


cdef void add_pass(Solver *solver, int which, int level) noexcept nogil:
    solver.passes[solver.pass_count] = which
    solver.pass_level[solver.pass_count] = level
    solver.pass_count += 1


cdef void plan_cycle(Solver *solver) noexcept nogil:
    # A V: z = M r on the finest level, of which z holds the first step.
    cdef int k, step
    solver.pass_count = 0
    for k in range(solver.levels - 1):
        for step in range(1, solver.smoothing):
            add_pass(solver, RELAX + step, k)
        add_pass(solver, RESIDUAL, k)
        add_pass(solver, RESTRICT, k + 1)
    add_pass(solver, SOLVE, solver.levels - 1)
    for k in range(solver.levels - 2, -1, -1):
        add_pass(solver, INTERPOLATE, k)
        for step in range(solver.smoothing - 1, 0, -1):
            add_pass(solver, RELAX + step, k)
        add_pass(solver, RELAX_LAST if k == 0 else RELAX, k)


cdef void relax(Solver *solver, int level, int step, bint measure) noexcept nogil:
    cdef Job job
    start_job(solver, level, &job)
    job.factor = solver.relaxation[step]
    job.measure = measure
    run_pass(relax_part, &job)
    job.level.z, job.level.spare = job.level.spare, job.level.z
    if measure:
        solver.sums[0] = total(&job, 0)
        solver.sums[1] = total(&job, 1)


cdef void do_pass(Solver *solver, int which, int level) noexcept nogil:
    cdef Job job
    start_job(solver, level, &job)
    if which == RESIDUAL:
        run_pass(residual_part, &job)
    elif which == RESTRICT:
        job.source = solver.level[level - 1].spare
        job.factor = solver.relaxation[0]
        run_pass(restrict_part, &job)
    elif which == SOLVE:
        solve(solver)
    elif which == INTERPOLATE:
        job.source = solver.level[level + 1].z
        job.out = job.level.z
        run_pass(interpolate_part, &job)
    elif which == RELAX_LAST:
        relax(solver, level, 0, True)
    else:
        relax(solver, level, which - RELAX, False)


# ---- conjugate gradients ----


cdef double measure_contrast(Solver *solver) noexcept nogil:
    # A difference of more than 1 counts as 1, and then one of more than so many times the contrast as that much: what
    # stands out must not decide what is small.
    cdef Job job
    cdef double contrast = 0, most = 1, pairs
    cdef int _again
    for _again in range(2):
        start_job(solver, 0, &job)
        job.factor = most
        run_pass(contrast_part, &job)
        pairs = total(&job, 1)
        if pairs == 0:
            return 0
        contrast = sqrt(total(&job, 0) / pairs)
        most = min(1.0, OUTSTANDING * contrast)
    return contrast


cdef void renew_residual(Solver *solver) noexcept nogil:
    cdef Job job
    start_job(solver, 0, &job)
    run_pass(renew_part, &job)


cdef void forget(Solver *solver) noexcept nogil:
    # What is known of another x.
    solver.started = solver.settled = solver.stalled = False
    solver.within = solver.since_best = 0
    solver.iterations = 0
    solver.next_pass = -1
    solver.theta = solver.estimate = solver.best = solver.measured = solver.contrast = INFINITY


cdef void clear_part(void *given, Py_ssize_t part) noexcept nogil:
    cdef Job *job = <Job *> given
    cdef Level *level = job.level
    cdef Py_ssize_t s, at, width
    for s in range(part_start(job, part), part_start(job, part + 1)):
        at = place(level, &level.span[s])
        width = level.span[s].last - level.span[s].first
        clear(level.r + at, width)
        clear(level.z + at, width)
        clear(level.spare + at, width)
        if level == &job.solver.level[0]:
            clear(job.solver.direction + at, width)


cdef void clear_corrections(Solver *solver) noexcept nogil:
    cdef Job job
    cdef int k
    for k in range(solver.levels):
        start_job(solver, k, &job)
        run_pass(clear_part, &job)


cdef void make_levels(Solver *solver) noexcept nogil:
    # The smoothers' diagonals and the coarse operators.
    cdef Job job
    cdef Level *level
    cdef int k, a
    cdef double cells
    for k in range(solver.levels):
        level = &solver.level[k]
        start_job(solver, k, &job)
        job.out = level.z
        run_pass(mask_part, &job)
        start_job(solver, k, &job)
        run_pass(steps_part, &job)
        if k + 1 == solver.levels:
            break
        run_pass(product_part, &job)
        cells = 1
        for a in range(AXES):
            cells *= 2 if level.halved[a] else 1
        start_job(solver, k + 1, &job)
        job.source = level.spare
        job.factor = 1 / cells
        run_pass(coarsen_part, &job)
    factorise(solver)
    # What was written beside unknown voxels must not stay.
    clear_corrections(solver)


cdef void aim(Solver *solver) noexcept nogil:
    # The head of an iteration: x, and r or a new one, unless the direction does not descend. The cycle comes next.
    cdef Job job
    cdef double curvature
    # p = z + beta p, q = A p
    start_job(solver, 0, &job)
    job.out = solver.direction
    job.factor = solver.beta
    run_pass(direct_part, &job)
    start_job(solver, 0, &job)
    job.source = solver.direction
    run_pass(apply_part, &job)
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
    job.source = solver.level[0].spare
    job.factor = solver.alpha
    job.measure = not solver.fresh
    run_pass(advance_part, &job)
    if solver.fresh:
        renew_residual(solver)
    solver.next_pass = 0


cdef void conclude(Solver *solver, double tol, double floor) noexcept nogil:
    # After the cycle: of an iteration, or of the first residual.
    solver.zz = solver.sums[1]
    if not solver.started:
        solver.started = solver.fresh = True
        solver.renew = False
        solver.steps = 0
        solver.beta = 0
        solver.rz = solver.rz_renewed = solver.sums[0]
        if not (solver.rz >= 0 and isfinite(solver.rz)):
            # Of an x that is not finite.
            solver.started = False
            solver.stalled = True
            clear_corrections(solver)
            return
    else:
        solver.iterations += 1
        solver.beta = solver.sums[0] / solver.rz
        remember(solver)
        solver.rz = solver.sums[0]
        if solver.fresh:
            solver.rz_renewed = solver.rz
        solver.renew = solver.rz < 0.01 * solver.rz_renewed
        if not 0 < solver.beta < (1 if solver.fresh else 1e6) or solver.steps == LANCZOS:
            # The residual was rounding alone before it was renewed, or is so now.
            solver.started = False
    judge(solver, tol, floor)


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
    if solver.estimate <= 2 * tol * max(solver.contrast, floor) and (
        tol > LARGE_TOL or solver.estimate < 0.25 * solver.measured
    ):
        # Of what is nearer than that the contrast is much the same.
        solver.contrast = measure_contrast(solver)
        solver.measured = solver.estimate
    allowed = tol * max(solver.contrast, floor)
    solver.within = solver.within + 1 if 3 * solver.estimate <= 2 * allowed else 0
    solver.renew = solver.renew or solver.within > 0
    near = solver.within >= (1 if solver.kind == FIRST and solver.plain else 2)
    solver.settled = near and solver.unique
    solver.since_best += 1
    if solver.estimate < 0.9 * solver.best:
        solver.best = solver.estimate
        solver.since_best = 0
    # Nearer than this rounding would take x from one minimiser to another, or to what is taken for one.
    solver.stalled = not solver.settled and (
        near or solver.since_best >= (PATIENCE_BESIDE if solver.left_out else PATIENCE)
    )


cdef double proceed(Solver *solver, Py_ssize_t iterations, double tol, double floor, double work) noexcept nogil:
    # So many iterations at most, and passes over about so many voxels.
    cdef Py_ssize_t until = solver.iterations + iterations, voxels = solver.level[0].voxels
    cdef double given = work
    while not (solver.settled or solver.stalled) and solver.iterations < until and work > 0:
        if solver.next_pass >= 0:
            work -= solver.level[solver.pass_level[solver.next_pass]].voxels
            do_pass(solver, solver.passes[solver.next_pass], solver.pass_level[solver.next_pass])
            solver.next_pass += 1
            if solver.next_pass == solver.pass_count:
                solver.next_pass = -1
                conclude(solver, tol, floor)
        elif solver.started:
            work -= 3 * voxels
            aim(solver)
        else:
            work -= voxels
            renew_residual(solver)
            solver.next_pass = 0
    return given - work


# ---- the levels of a mask ----

cdef inline Py_ssize_t blocks_of(const Level *level) noexcept nogil:
    return (level.shape[2] + BLOCK_WIDTH - 1) // BLOCK_WIDTH


cdef void occupy(Level *level, unsigned char *occupied) noexcept nogil:
    # Of each block of a row: 1 if it has an unknown voxel, and 2 and 4 if its first and its last are.
    cdef Py_ssize_t k, i, b, here, blocks = blocks_of(level)
    cdef const unsigned char *free
    level.unknown = 0
    for k in range(level.shape[0]):
        for i in range(level.shape[1]):
            for b in range(blocks):
                # The room beside the volume is known, and wide enough.
                free = level.free + k * level.pitch + i * level.stride + b * BLOCK_WIDTH
                here = count_free(free, min(<Py_ssize_t> BLOCK_WIDTH, level.shape[2] - b * BLOCK_WIDTH))
                level.unknown += here
                occupied[0] = 0
                if here > 0:
                    occupied[0] = 1 + 2 * free[0]
                    if (b + 1) * BLOCK_WIDTH < level.shape[2]:
                        occupied[0] += 4 * free[BLOCK_WIDTH - 1]
                occupied += 1


cdef inline bint is_near(
    const Level *level, const unsigned char *occupied, Py_ssize_t k, Py_ssize_t i, Py_ssize_t b
) noexcept nogil:
    # Whether a voxel of the block has an unknown one among those around it.
    cdef Py_ssize_t m, n, blocks = blocks_of(level)
    cdef const unsigned char *row
    for m in range(max(<Py_ssize_t> 0, k - 1), min(k + 2, level.shape[0])):
        for n in range(max(<Py_ssize_t> 0, i - 1), min(i + 2, level.shape[1])):
            row = occupied + (m * level.shape[1] + n) * blocks
            if row[b] or b > 0 and row[b - 1] & 4 or b + 1 < blocks and row[b + 1] & 2:
                return True
    return False


cdef inline void add_span(Level *level, Py_ssize_t k, Py_ssize_t i, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef Span *span = &level.span[level.spans]
    span.plane, span.row, span.first, span.last = <int> k, <int> i, <int> first, <int> last
    level.spans += 1
    level.voxels += last - first


cdef void find_spans(Level *level, const unsigned char *occupied, bint near) noexcept nogil:
    # Where voxels are unknown; or where some are unknown around.
    cdef Py_ssize_t band, k, i, b, first, blocks = blocks_of(level)
    cdef const unsigned char *row
    cdef bint here
    level.spans = level.voxels = 0
    for band in range((level.shape[1] + BLOCK_ROWS - 1) // BLOCK_ROWS):
        for k in range(level.shape[0]):
            for i in range(band * BLOCK_ROWS, min((band + 1) * BLOCK_ROWS, level.shape[1])):
                row = occupied + (k * level.shape[1] + i) * blocks
                first = -1
                for b in range(blocks + 1):
                    here = b < blocks and (is_near(level, occupied, k, i, b) if near else row[b] != 0)
                    if first >= 0 and (not here or b * BLOCK_WIDTH - first == SPAN):
                        add_span(level, k, i, first, min(b * BLOCK_WIDTH, level.shape[2]))
                        first = -1
                    if here and first < 0:
                        first = b * BLOCK_WIDTH


cdef inline void merge_row(const unsigned char *free, bint halved, Py_ssize_t cols, unsigned char *out) noexcept nogil:
    # Beside the volume nothing is free.
    cdef Py_ssize_t j
    for j in range(cols):
        if halved:
            out[j] |= free[2 * j] | free[2 * j + 1]
        else:
            out[j] |= free[j]


cdef void coarsen_mask(const Level *fine, Level *coarse) noexcept nogil:
    # From the spans of the finer one.
    cdef Py_ssize_t s, first, at
    cdef Span *span
    for s in range(fine.spans):
        span = &fine.span[s]
        first = span.first // 2 if fine.halved[2] else span.first
        at = (span.plane // 2 if fine.halved[0] else span.plane) * coarse.pitch + first
        at += (span.row // 2 if fine.halved[1] else span.row) * coarse.stride
        merge_row(
            fine.free + place(fine, span), fine.halved[2],
            ((span.last + 1) // 2 if fine.halved[2] else span.last) - first, coarse.free + at,
        )


cdef bint determines(int kind, const Level *level) noexcept nogil:
    # Whether there is one minimiser: first differences need one known voxel, second ones as many as an affine function
    # has numbers, and not all in one plane, or on one line where the volume is a plane, and so on.
    cdef double[AXES][AXES] basis  # of the directions between known voxels, orthogonal
    cdef Py_ssize_t[AXES] origin
    cdef double[AXES] direction
    cdef double along, length, rest
    cdef int rank = 0, wanted = 0, a, b
    cdef Py_ssize_t k, i, j, at
    cdef bint seen = False
    for a in range(AXES):
        origin[a] = 0
        wanted += level.shape[a] > 1
    for k in range(level.shape[0]):
        for i in range(level.shape[1]):
            at = k * level.pitch + i * level.stride
            for j in range(level.shape[2]):
                if level.free[at + j] or level.present != NULL and not level.present[at + j]:
                    continue
                if not seen:
                    seen = True
                    origin[0], origin[1], origin[2] = k, i, j
                    if kind == FIRST or wanted == 0:
                        return True
                    continue
                direction[0], direction[1], direction[2] = k - origin[0], i - origin[1], j - origin[2]
                length = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
                for b in range(rank):
                    along = 0
                    for a in range(AXES):
                        along += direction[a] * basis[b][a]
                    for a in range(AXES):
                        direction[a] -= along * basis[b][a]
                rest = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
                if rest > 1e-12 * length:
                    for a in range(AXES):
                        basis[rank][a] = direction[a] / sqrt(rest)
                    rank += 1
                    if rank == wanted:
                        return True
    return False


cdef void set_taps(int kind, const double *spacing, double scale, Taps *out) noexcept nogil:
    cdef int a
    cdef double[AXES] inverse
    out.kind = kind
    for a in range(AXES):
        inverse[a] = 1 / (spacing[a] * spacing[a])
    for a in range(AXES):
        out.straight[a] = scale * (inverse[a] if kind == FIRST else inverse[a] * inverse[a])
        out.mixed[a] = scale * inverse[(a + 1) % AXES] * inverse[(a + 2) % AXES]


cdef inline char *claim(char *memory, size_t *used, size_t size) noexcept nogil:
    cdef char *block = NULL if memory == NULL else memory + used[0]
    used[0] += rounded(size)
    return block


cdef inline float *claim_plane(const Level *level, char *memory, size_t *used) noexcept nogil:
    cdef char *block = claim(memory, used, level.size * sizeof(float))
    return NULL if block == NULL else <float *> block + PAD


cdef size_t lay_out(Solver *solver, char *memory) noexcept nogil:
    # Put the arrays of all levels into memory, one after the other; return its size. With NULL only measure. The finest
    # level's shape and spacing are given.
    cdef size_t used = 0
    cdef Level *level
    cdef double least, scale = 1
    cdef Py_ssize_t capacity
    cdef int k, a
    cdef char *block
    solver.tilts.kind = FIRST
    for a in range(AXES):
        solver.tilts.straight[a] = 1
    solver.levels = 0
    for k in range(LEVELS):
        level = &solver.level[k]
        level.stride = ((level.shape[2] + PAD - 1) & ~<Py_ssize_t> (PAD - 1)) + PAD
        level.pitch = level.shape[1] * level.stride
        level.size = level.shape[0] * level.pitch + 2 * PAD
        set_taps(solver.kind, level.spacing, scale, &level.taps)
        level.r = claim_plane(level, memory, &used)
        level.z = claim_plane(level, memory, &used)
        level.spare = claim_plane(level, memory, &used)
        level.step = claim_plane(level, memory, &used)
        level.omega = level.mass = level.tilt = NULL
        if k > 0 or not solver.plain:
            level.omega = claim_plane(level, memory, &used)
        if k > 0:
            level.mass = claim_plane(level, memory, &used)
            if solver.kind == SECOND:
                level.tilt = claim_plane(level, memory, &used)
        else:
            if solver.noisy:
                level.mass = claim_plane(level, memory, &used)
            solver.direction = claim_plane(level, memory, &used)
            block = claim(memory, &used, (level.shape[2] + 2 * PAD) * sizeof(float))
            solver.twos = NULL if block == NULL else <float *> block + PAD
            solver.occupied = <unsigned char *> claim(
                memory, &used, level.shape[0] * level.shape[1] * blocks_of(level)
            )
        block = claim(memory, &used, level.size)
        level.free = NULL if block == NULL else <unsigned char *> block + PAD
        level.present = NULL
        if k == 0 and solver.left_out:
            block = claim(memory, &used, level.size)
            level.present = NULL if block == NULL else <unsigned char *> block + PAD
        capacity = level.shape[0] * level.shape[1] * (
            level.shape[2] // (2 * BLOCK_WIDTH) + level.shape[2] // SPAN + 2
        )
        level.span = <Span *> claim(memory, &used, capacity * sizeof(Span))
        if k == 0 and not solver.plain:
            solver.near.span = <Span *> claim(memory, &used, capacity * sizeof(Span))
        solver.levels += 1
        if k > 0 and level.shape[0] * level.shape[1] * level.shape[2] <= DIRECT or k + 1 == LEVELS:
            break
        least = INFINITY
        for a in range(AXES):
            if level.shape[a] > 1:
                least = min(least, level.spacing[a])
        for a in range(AXES):
            level.halved[a] = level.shape[a] > 1 and level.spacing[a] < 1.5 * least
            level[1].shape[a] = (level.shape[a] + 1) // 2 if level.halved[a] else level.shape[a]
            level[1].spacing[a] = 2 * level.spacing[a] if level.halved[a] else level.spacing[a]
            scale *= 2 if level.halved[a] else 1
    solver.factor = <double *> claim(memory, &used, DIRECT * DIRECT * sizeof(double))
    return used


cdef void build_levels(Solver *solver) noexcept nogil:
    cdef int k
    cdef Py_ssize_t j
    cdef Level *level = &solver.level[0]
    cdef Span *span = solver.near.span
    for j in range(-PAD, level.shape[2] + PAD):
        solver.twos[j] = 2
    occupy(level, solver.occupied)
    find_spans(level, solver.occupied, False)
    if not solver.plain:
        solver.near = level[0]
        solver.near.span = span
        find_spans(&solver.near, solver.occupied, True)
    for k in range(1, solver.levels):
        level = &solver.level[k]
        coarsen_mask(level - 1, level)
        occupy(level, solver.occupied)
        find_spans(level, solver.occupied, False)
        if level.unknown <= DIRECT:
            solver.levels = k + 1
            break
    solver.unique = determines(solver.kind, &solver.level[0])
    choose_steps(solver, solver.kind)
    plan_cycle(solver)


# ---- the change that a renewal of the weights brings ----

cdef void remember_part(void *given, Py_ssize_t part) noexcept nogil:
    # volume_out = volume in the spans
    cdef Job *job = <Job *> given
    cdef Py_ssize_t s, j, at
    for s in range(part_start(job, part), part_start(job, part + 1)):
        at = place_in_x(job.level, &job.level.span[s])
        for j in range(at, at + job.level.span[s].last - job.level.span[s].first):
            job.volume_out[j] = job.volume[j]


cdef void change_part(void *given, Py_ssize_t part) noexcept nogil:
    # The sum of the squared changes of the voxels, each of which counts as `factor` at most.
    cdef Job *job = <Job *> given
    cdef const unsigned char *free
    cdef const double *x
    cdef const double *before
    cdef double[SPAN] squares
    cdef double change, total = 0, most = job.factor
    cdef Py_ssize_t s, j, at, width
    for s in range(part_start(job, part), part_start(job, part + 1)):
        at = place_in_x(job.level, &job.level.span[s])
        x = job.volume + at
        before = job.volume_out + at
        free = job.level.free + place(job.level, &job.level.span[s])
        width = job.level.span[s].last - job.level.span[s].first
        for j in range(width):
            change = clip(x[j] - before[j], -most, most)
            squares[j] = change * change * <double> free[j]
        total += tally(squares, width)
    job.sums[2 * part] = total


# ---- what Python calls ----

cdef inline void copy_masses(
    const float *mass, const unsigned char *free, Py_ssize_t cols, float *out
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(cols):
        out[j] = mass[j] * <float> free[j]


cdef class Run:
    """Conjugate gradients for one mask, made by ``prepare``; not for two threads at once.

    Attributes
    ----------
    unique : bool
        Whether the known voxels leave one minimiser, whatever their values. Where voxels are left out that is asked of
        the volume as a whole, and may be set by whoever knows better.
    settled : bool
        Whether the distance to the minimiser is, as estimated, within what the last ``advance`` asked for.
    stalled : bool
        Whether to go on is of no use: rounding forbids it, there are many minimisers, or x is not finite.
    estimate : float
        Of the rms distance of the free voxels to the minimiser; infinite until two iterations are done.
    contrast : float
        The rms difference of neighbours of which one is free, differences clipped to [-1, 1].
    iterations : int
        Since ``begin``.
    unknown : int
        How many voxels are free.
    """

    cdef Solver solver
    cdef unsigned char[::1] workspace
    cdef double[:, :, ::1] x
    cdef const double[:, :, ::1] data
    cdef double tol
    cdef double floor
    cdef bint levels_made
    cdef bint begun

    cdef int require_shape(self, const double[:, :, ::1] x, str name) except -1:
        cdef Level *level = &self.solver.level[0]
        require(self.workspace is not None, "the run must not be finished")
        require(
            x.shape[0] == level.shape[0] and x.shape[1] == level.shape[1] and x.shape[2] == level.shape[2],
            f"{name} must have the shape of free",
        )
        return 0

    def weigh(self, const double[:, :, :, ::1] x not None, double epsilon):
        """Find the weights of all channels of x together, shape (channels, planes, rows, cols), and make the levels.

        Of a run that was prepared for weights. ``begin`` must follow; where it is noisy, ``trust`` before that.
        """
        cdef Job job
        require(not self.solver.plain, "the run must have weights")
        require(x.shape[0] > 0 and epsilon > 0, "there must be a channel, and epsilon must be positive")
        self.require_shape(x[0], "x")
        with nogil:
            start_job(&self.solver, 0, &job)
            job.level = &self.solver.near
            job.volume = &x[0, 0, 0, 0]
            job.channels = x.shape[0]
            job.factor = epsilon
            job.out = self.solver.level[0].omega
            run_pass(weigh_part, &job)
            if not self.solver.noisy:
                make_levels(&self.solver)
        self.levels_made = not self.solver.noisy

    def trust(self, const float[:, :, ::1] mass not None):
        """Tell how much the squares of the distances to what was measured weigh; of a run that is noisy.

        ``begin`` must follow, with what was measured. To the energy mass (x - data)^2 / 2 is added.
        """
        cdef Level *level = &self.solver.level[0]
        cdef Py_ssize_t k, i
        require(self.solver.noisy, "the run must be noisy")
        require(
            mass.shape[0] == level.shape[0] and mass.shape[1] == level.shape[1] and mass.shape[2] == level.shape[2],
            "mass must have the shape of free",
        )
        require(self.workspace is not None, "the run must not be finished")
        with nogil:
            for k in range(level.shape[0]):
                for i in range(level.shape[1]):
                    copy_masses(
                        &mass[k, i, 0], level.free + k * level.pitch + i * level.stride, level.shape[2],
                        level.mass + k * level.pitch + i * level.stride,
                    )
            make_levels(&self.solver)
        self.levels_made = True

    def begin(self, double[:, :, ::1] x not None, const double[:, :, ::1] data=None):
        """Take x, which ``advance`` changes where free, and what was measured; they are referred to, not copied."""
        self.require_shape(x, "x")
        require(self.solver.plain and not self.solver.noisy or self.levels_made, "weigh or trust must come first")
        require((data is not None) == self.solver.noisy, "data must be given to a run that is noisy, and to no other")
        self.x = x
        self.solver.x = &x[0, 0, 0]
        self.solver.data = NULL
        if data is not None:
            self.require_shape(data, "data")
            self.data = data
            self.solver.data = &data[0, 0, 0]
        self.tol = self.floor = -1
        with nogil:
            if not self.levels_made:
                make_levels(&self.solver)
            forget(&self.solver)
        self.levels_made = self.begun = True

    def advance(self, Py_ssize_t iterations, double tol, double floor, double work):
        """Go on until the distance to the minimiser is at most tol max(contrast, floor).

        So many iterations are done at most, and passes over about `work` voxels, be it in the middle of an iteration;
        return over how many.
        """
        cdef double done
        require(self.begun, "begin must come first")
        if tol != self.tol or floor != self.floor:
            self.tol = tol
            self.floor = floor
            self.solver.within = self.solver.since_best = 0
            self.solver.settled = self.solver.stalled = False
        with nogil:
            done = proceed(&self.solver, iterations, tol, floor, work)
        return done

    def remember(self, const double[:, :, ::1] x not None, double[:, :, ::1] out not None):
        """Copy a volume to out where there are free voxels, for ``changed`` to compare it."""
        cdef Job job
        self.require_shape(x, "x")
        self.require_shape(out, "out")
        with nogil:
            start_job(&self.solver, 0, &job)
            job.volume = &x[0, 0, 0]
            job.volume_out = &out[0, 0, 0]
            run_pass(remember_part, &job)

    def changed(self, const double[:, :, ::1] x not None, double[:, :, ::1] before not None, double most):
        """Return the sum of the squared changes of the free voxels, of which none counts as more than `most`."""
        cdef Job job
        self.require_shape(x, "x")
        self.require_shape(before, "before")
        with nogil:
            start_job(&self.solver, 0, &job)
            job.volume = &x[0, 0, 0]
            job.volume_out = &before[0, 0, 0]
            job.factor = most
            run_pass(change_part, &job)
        return total(&job, 0)

    def finish(self):
        """Let go of the workspace: the attributes stay, and none of the other methods may be called any more."""
        self.workspace = None
        self.levels_made = self.begun = False
        self.x = None
        self.data = None

    def gradient(self, double[:, :, ::1] out not None):
        """Write A x to out, 0 where known, as the residual is kept: in float32; ``advance`` then starts anew from x."""
        cdef Level *level = &self.solver.level[0]
        cdef Py_ssize_t k, i, j
        require(self.begun, "begin must come first")
        self.require_shape(out, "out")
        with nogil:
            self.solver.started = False
            self.solver.next_pass = -1
            renew_residual(&self.solver)
            for k in range(level.shape[0]):
                for i in range(level.shape[1]):
                    for j in range(level.shape[2]):
                        out[k, i, j] = -level.r[k * level.pitch + i * level.stride + j]

    def precondition(self, const double[:, :, ::1] residual not None, double[:, :, ::1] out not None):
        """Write what one cycle makes of a residual to out, 0 where known; ``advance`` then starts anew from x."""
        cdef Level *level = &self.solver.level[0]
        cdef Py_ssize_t k, i, j, at
        require(self.levels_made, "begin must come first")
        self.require_shape(residual, "residual")
        self.require_shape(out, "out")
        with nogil:
            self.solver.started = False
            self.solver.next_pass = -1
            for k in range(level.shape[0]):
                for i in range(level.shape[1]):
                    for j in range(level.shape[2]):
                        at = k * level.pitch + i * level.stride + j
                        level.r[at] = <float> residual[k, i, j] * <float> level.free[at]
                        level.z[at] = self.solver.relaxation[0] * level.step[at] * level.r[at]
            for at in range(self.solver.pass_count):
                do_pass(&self.solver, self.solver.passes[at], self.solver.pass_level[at])
            for k in range(level.shape[0]):
                for i in range(level.shape[1]):
                    for j in range(level.shape[2]):
                        out[k, i, j] = level.z[k * level.pitch + i * level.stride + j]

    @property
    def unique(self):
        return self.solver.unique

    @unique.setter
    def unique(self, bint unique):
        self.solver.unique = unique

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
        if self.solver.contrast == INFINITY and self.begun:
            with nogil:
                self.solver.contrast = measure_contrast(&self.solver)
        return self.solver.contrast

    @property
    def iterations(self):
        return self.solver.iterations

    @property
    def unknown(self):
        return self.solver.level[0].unknown


cdef int take_spacing(spacing, double *out) except -1:
    cdef int a
    require(len(spacing) == AXES, "spacing must have three numbers")
    for a in range(AXES):
        out[a] = spacing[a]
        require(out[a] > 0 and isfinite(out[a]), "spacing must be positive")
    return 0


cdef int set_up(Solver *solver, int kind, spacing, shape, bint weights, bint left_out, bint noisy) except -1:
    cdef int a
    require(kind == FIRST or kind == SECOND, "kind must be 0 or 1")
    require(len(shape) == AXES and min(shape) > 0, "shape must have three numbers, all positive")
    take_spacing(spacing, solver.level[0].spacing)
    for a in range(AXES):
        solver.level[0].shape[a] = shape[a]
    solver.kind = kind
    solver.plain = not weights
    solver.left_out = left_out
    solver.noisy = noisy
    return 0


def workspace_size(int kind, spacing, shape, bint weights, bint left_out=False, bint noisy=False):
    """Return how many bytes a Run for a volume of such a shape needs."""
    cdef Run run = Run.__new__(Run)
    set_up(&run.solver, kind, spacing, shape, weights, left_out, noisy)
    return lay_out(&run.solver, NULL) + 64


def prepare(
    int kind, spacing, const unsigned char[:, :, ::1] free not None, bint weights,
    unsigned char[::1] workspace not None, int threads, const unsigned char[:, :, ::1] present=None, bint noisy=False,
):
    """Return a Run for the free (1) voxels of a volume, its levels and its one workspace.

    kind is 0 for first, 1 for second differences; spacing has a number for each axis; with weights each voxel has its
    own, else all have 2. A difference that has a voxel that is not present (0) counts nothing; none of them is free.
    If it is to be noisy, ``trust`` must come before ``begin``. free and present are copied. workspace must be all 0; it
    is used until ``finish``.
    """
    cdef Run run = Run.__new__(Run)
    cdef Solver *solver = &run.solver
    cdef Level *level = &run.solver.level[0]
    cdef Py_ssize_t k, i
    set_up(solver, kind, spacing, (free.shape[0], free.shape[1], free.shape[2]), weights, present is not None, noisy)
    require(
        present is None or present.shape[0] == free.shape[0] and present.shape[1] == free.shape[1]
        and present.shape[2] == free.shape[2],
        "present must have the shape of free",
    )
    solver.threads = threads
    require(
        <size_t> workspace.shape[0] >= lay_out(solver, NULL) + 64, "workspace must be as large as workspace_size says"
    )
    run.workspace = workspace
    lay_out(solver, <char *> rounded(<size_t> &workspace[0]))
    with nogil:
        for k in range(free.shape[0]):
            for i in range(free.shape[1]):
                copy_mask(
                    &free[k, i, 0], free.shape[2], level.free + k * level.pitch + i * level.stride
                )
                if present is not None:
                    copy_mask(
                        &present[k, i, 0], free.shape[2], level.present + k * level.pitch + i * level.stride
                    )
        build_levels(solver)
    return run


# ---- values and gradients of whole volumes ----

cdef struct Whole:
    bint single  # arrays are float, or else double
    bint to_weigh  # out gets weights
    bint to_measure
    bint to_keep  # in out, what is measured
    Taps taps
    Py_ssize_t[AXES] shape
    Py_ssize_t channels
    Py_ssize_t parts
    const void *x
    const void *omega
    const unsigned char *present
    void *out
    double epsilon
    double[PARTS] sums


cdef inline void do_row_part(
    Whole *whole, const real *volume, const real *omega, real *out, Py_ssize_t k, Py_ssize_t i, Py_ssize_t first,
    Py_ssize_t width, double *total,
) noexcept nogil:
    # Of voxels from `first` on, of all channels.
    cdef double[SPAN] squares
    cdef real[SPAN + 2 * PAD] alike
    cdef const real *weights = &alike[PAD]
    cdef const unsigned char *present = NULL
    cdef real minus = -1
    cdef double epsilon = whole.epsilon, square
    cdef Axis[OUTER] outer
    cdef Py_ssize_t c, j, cols = whole.shape[2], pitch = whole.shape[1] * cols
    cdef Py_ssize_t at = k * pitch + i * cols + first, size = whole.shape[0] * pitch
    outer[0].here, outer[1].here = k, i
    outer[0].count, outer[1].count = whole.shape[0], whole.shape[1]
    outer[0].step, outer[1].step = pitch, cols
    outer[0].weight_step, outer[1].weight_step = pitch, cols
    outer[0].present_step, outer[1].present_step = pitch, cols
    if whole.present != NULL:
        present = whole.present + at
    if not (whole.to_weigh or whole.to_measure):
        if omega == NULL:
            for j in range(width + 2 * PAD):
                alike[j] = 2
            outer[0].weight_step = outer[1].weight_step = 0
        else:
            weights = omega + at
        for c in range(whole.channels):
            weighted_row(
                &whole.taps, outer, volume + c * size + at, weights, present, minus, cols,
                first, width, out + c * size + at,
            )
        return
    clear(squares, width)
    for c in range(whole.channels):
        add_squares(&whole.taps, outer, volume + c * size + at, present, cols, first, width, squares)
    for j in range(width):
        square = squares[j]
        if epsilon > 0:
            square /= whole.channels
            if whole.to_weigh:
                square = 1 / sqrt(epsilon * epsilon + square)
            else:
                square = whole.channels * square / (sqrt(epsilon * epsilon + square) + epsilon)
        squares[j] = square
        if whole.to_weigh or whole.to_keep:
            out[at + j] = <real> square
    if whole.to_measure:
        total[0] += tally(squares, width)


cdef inline void do_rows(Whole *whole, const real *x, const real *omega, real *out, Py_ssize_t part) noexcept nogil:
    cdef Py_ssize_t rows = whole.shape[0] * whole.shape[1], row, first
    cdef double total = 0
    for row in range(rows * part // whole.parts, rows * (part + 1) // whole.parts):
        first = 0
        while first < whole.shape[2]:
            do_row_part(
                whole, x, omega, out, row // whole.shape[1], row % whole.shape[1], first,
                min(<Py_ssize_t> SPAN, whole.shape[2] - first), &total,
            )
            first += SPAN
    whole.sums[part] = total


cdef void whole_part(void *given, Py_ssize_t part) noexcept nogil:
    cdef Whole *whole = <Whole *> given
    if whole.single:
        do_rows(whole, <const float *> whole.x, <const float *> whole.omega, <float *> whole.out, part)
    else:
        do_rows(whole, <const double *> whole.x, <const double *> whole.omega, <double *> whole.out, part)


cdef double run_whole(Whole *whole, int threads) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t part, voxels = whole.channels * whole.shape[0] * whole.shape[1] * whole.shape[2]
    whole.parts = min(<Py_ssize_t> PARTS, max(<Py_ssize_t> 1, voxels // GRAIN))
    run_parts(&whole_part, whole, whole.parts, threads)
    for part in range(whole.parts):
        total += whole.sums[part]
    return total


cdef Whole whole_of(int kind, spacing, const real[:, :, :, ::1] x, double epsilon) except *:
    cdef Whole whole
    cdef double[AXES] distances
    cdef int a
    require(kind == FIRST or kind == SECOND, "kind must be 0 or 1")
    require(x.shape[0] > 0 and x.shape[1] > 0 and x.shape[2] > 0 and x.shape[3] > 0, "x must not be empty")
    take_spacing(spacing, distances)
    set_taps(kind, distances, 1, &whole.taps)
    whole.single = real is float
    whole.to_weigh = whole.to_measure = whole.to_keep = False
    whole.channels = x.shape[0]
    for a in range(AXES):
        whole.shape[a] = x.shape[a + 1]
    whole.x = &x[0, 0, 0, 0]
    whole.omega = whole.out = NULL
    whole.present = NULL
    whole.epsilon = epsilon
    return whole


cdef int leave_out(Whole *whole, const unsigned char[:, :, ::1] present) except -1:
    cdef int a
    if present is None:
        return 0
    for a in range(AXES):
        require(present.shape[a] == whole.shape[a], "present must have the shape of a channel")
    whole.present = &present[0, 0, 0]
    return 0


def energy(
    int kind, spacing, const real[:, :, :, ::1] x not None, double epsilon, int threads,
    const unsigned char[:, :, ::1] present=None, real[:, :, ::1] densities_out=None,
):
    """Return the loss of a volume of shape (channels, planes, rows, cols); without epsilon, 0, the sum of Q.

    A difference that has a voxel that is not present (0) counts nothing. densities_out, if given, gets what each voxel
    adds, of all channels together.
    """
    cdef Whole whole = whole_of(kind, spacing, x, epsilon)
    cdef double out
    leave_out(&whole, present)
    if densities_out is not None:
        require(
            densities_out.shape[0] == x.shape[1] and densities_out.shape[1] == x.shape[2]
            and densities_out.shape[2] == x.shape[3],
            "densities_out must have the shape of a channel",
        )
        whole.to_keep = True
        whole.out = &densities_out[0, 0, 0]
    whole.to_measure = True
    with nogil:
        out = run_whole(&whole, threads)
    return out


def weigh(
    int kind, spacing, const real[:, :, :, ::1] x not None, double epsilon, int threads, real[:, :, ::1] out not None
):
    """Write the weights of the voxels, of all channels together, to out."""
    cdef Whole whole = whole_of(kind, spacing, x, epsilon)
    require(epsilon > 0, "epsilon must be positive")
    require(
        out.shape[0] == x.shape[1] and out.shape[1] == x.shape[2] and out.shape[2] == x.shape[3],
        "out must have the shape of a channel",
    )
    whole.to_weigh = True
    whole.out = &out[0, 0, 0]
    with nogil:
        run_whole(&whole, threads)


def gradient(
    int kind, spacing, const real[:, :, :, ::1] x not None, const real[:, :, ::1] omega, int threads,
    real[:, :, :, ::1] out not None,
):
    """Write the gradient at a volume to out, with the weights omega; None is 2 everywhere, a sum of squares."""
    cdef Whole whole = whole_of(kind, spacing, x, 0)
    require(
        omega is None
        or omega.shape[0] == x.shape[1] and omega.shape[1] == x.shape[2] and omega.shape[2] == x.shape[3],
        "omega must have the shape of a channel",
    )
    require(
        out.shape[0] == x.shape[0] and out.shape[1] == x.shape[1] and out.shape[2] == x.shape[2]
        and out.shape[3] == x.shape[3],
        "out must have the shape of x",
    )
    whole.out = &out[0, 0, 0, 0]
    if omega is not None:
        whole.omega = &omega[0, 0, 0]
    with nogil:
        run_whole(&whole, threads)
