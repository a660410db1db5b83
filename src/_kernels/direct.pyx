"""Sums of squared differences minimised exactly: regions of unknown pixels, factorised once for each mask.

Two operators, as in stencil.pyx: FIRST differences (harmonic) and SECOND ones (biharmonic). With A half the Hessian of
the energy, u the unknown and k the known pixels, the minimiser solves A_uu x_u = -A_uk x_k. A difference that does not
fit into the image counts nothing, so the rows of A are those of the operator itself at the image's border.

`factorise` works on the list of unknown pixels, never on the whole image:

1. The mask is read 64 pixels at a time; the unknown ones are listed row by row.
2. Pixels that are taps of one another are joined by union-find. Where a tap is unknown, its index stands in one of the
   last rows of indices (`slots`), which need no clearing: the mask says where they hold.
3. A pixel without an unknown tap is its own equation: a weighted sum of known pixels.
4. Of any other region the envelope of A_uu is measured by rows and by columns: w_i reaches from the first tap of pixel
   i in that order to i. The smaller sum of w_i^2 decides. A region above the limit is left to an iterative solver, and
   so is one with a pivot that is not safely positive, whose minimiser is not unique or not within reach of double.
5. The others are factorised, A = L L', by panels of eight rows, which share the envelope of the longest and lie column
   by column, so that eight rows are subtracted, divided and substituted in the lanes of vectors.
6. The known pixels that the equations read are listed once each. A right-hand side is a list of them with weights.

`Factors.solve` gathers and substitutes, as often as wanted; `Factors.restore` does so from images to images, of any
dtype. `Factors.variances` says how well each pixel is determined. `Renewals` are sums of squares whose weights are
renewed: see renewals.pxi.

Regions are shared out to threads. Each is computed by itself in a fixed order, so its bits depend on nothing else.

Not checked: that a mask does not change while it is read.
"""

from cython cimport view
from libc.limits cimport INT_MAX
from libc.math cimport INFINITY, rint, sqrt
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free as release, malloc, realloc
from libc.string cimport memcpy, memset

include "rows.pxi"
include "threads.pxi"

cdef enum:
    FIRST = 0
    SECOND = 1

cdef enum:
    TAPS = 12  # at most, in the order of the pixels
    BEFORE = 6  # of them precede the pixel
    PANEL = 8  # rows of L that lie together
    HALF = 4  # columns of a panel that are in registers at a time
    CHANNELS = 4  # that are substituted at a time
    PARTS = 16  # that regions are shared out in, at most
    SCRATCH = 1 << 24  # integers, for all parts; one part may need more
    LONE_PART = 8192  # pixels
    SOURCE_ROWS = 8  # a power of two, at least the five rows that a pixel's taps lie in

# A pivot is the inverse variance of a pixel, given those that come after it; where nothing fixes the pixel, only
# rounding is left of it. At this fraction of the diagonal a row extrapolates by 700 pixels, right to 2e-4 of its slope.
cdef double SAFE_PIVOT = 1e-8
# Arithmetic that is not worth waking a thread for.
cdef double LITTLE_WORK = 1e5


ctypedef fused pixel:
    signed char
    unsigned char
    short
    unsigned short
    int
    unsigned int
    long long
    unsigned long long
    float
    double


cdef struct Place:
    # Row and column, or column and row where the order is by columns.
    int major
    int minor


cdef struct Grid:
    # The image's mask and its operator, by rows or by columns.
    const unsigned char *unknown
    Py_ssize_t majors
    Py_ssize_t minors
    Py_ssize_t major_stride
    Py_ssize_t minor_stride
    int kind
    int taps
    int[TAPS] down
    int[TAPS] right
    Py_ssize_t[TAPS] offsets
    double[TAPS] weights  # two pixels or more from the border
    double diagonal


cdef struct Envelope:
    double work  # sum of w_i^2
    Py_ssize_t size  # numbers in its panels


cdef struct Region:
    Py_ssize_t start  # among the pixels that are grouped by region; in the end among those solved
    Py_ssize_t position  # among those solved
    Py_ssize_t count
    Py_ssize_t seen
    double cost
    Py_ssize_t panel
    Py_ssize_t factor
    Py_ssize_t size
    bint by_columns
    bint direct


cdef struct Panel:
    # Its numbers: the inverse diagonal, then L by columns from `first`, a multiple of PANEL, to that of its last row.
    # Entries on and above the diagonal are zero.
    Py_ssize_t offset
    Py_ssize_t first


cdef struct Equation:
    # The links to known pixels that a right-hand side sums up. Their weights are small integers; so is the diagonal, by
    # which the sum is divided where that solves the equation.
    Py_ssize_t first
    int count
    int divisor


cdef struct Draft:
    # What is needed between the mask and the factors.
    Grid[2] grids  # by rows, by columns
    Py_ssize_t count
    Place *unknown
    int *labels
    unsigned char *joined  # whether a tap is unknown
    Place *grouped
    Place *turned  # by columns, where that is better
    int *moved  # from the place in a region by rows to that by columns
    Region *regions
    Py_ssize_t region_count
    int *scratch
    Py_ssize_t scratch_size
    Panel *panels
    double *factor
    int64_t *sources
    Py_ssize_t source_count
    double most
    double densest
    Py_ssize_t parts
    Py_ssize_t[PARTS + 1] cuts


cdef struct Solution:
    const Region *regions
    const Panel *panels
    const double *factor
    const Equation *equations
    const int *links
    const signed char *weights
    const Py_ssize_t *cuts
    Py_ssize_t lone_count
    Py_ssize_t lone_parts
    Py_ssize_t channels
    const double *known
    Py_ssize_t sources
    double *out
    Py_ssize_t pixels


# ---- the operator ----

cdef inline int fits(Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    # Whether a second difference centred at k lies within n pixels.
    return 0 < k < n - 1


cdef double tap_weight(const Grid *grid, Py_ssize_t i, Py_ssize_t j, int t) noexcept nogil:
    # The entry of A between pixel (i, j) and its tap, which lies in the image.
    cdef int down = grid.down[t], right = grid.right[t]
    if grid.kind == FIRST:
        return -1
    if down != 0 and right != 0:
        return 2
    if down == 0:
        if right % 2 == 0:
            return fits(j + right // 2, grid.minors)
        return -2 * (fits(j, grid.minors) + fits(j + right, grid.minors) + (i > 0) + (i + 1 < grid.majors))
    if down % 2 == 0:
        return fits(i + down // 2, grid.majors)
    return -2 * (fits(i, grid.majors) + fits(i + down, grid.majors) + (j > 0) + (j + 1 < grid.minors))


cdef double diagonal_weight(const Grid *grid, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef Py_ssize_t majors = grid.majors, minors = grid.minors
    cdef int vertical = (i > 0) + (i + 1 < majors), horizontal = (j > 0) + (j + 1 < minors)
    if grid.kind == FIRST:
        return vertical + horizontal
    return (
        fits(i - 1, majors) + 4 * fits(i, majors) + fits(i + 1, majors)
        + fits(j - 1, minors) + 4 * fits(j, minors) + fits(j + 1, minors) + 2 * vertical * horizontal
    )


cdef inline bint is_inner(const Grid *grid, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    return 2 <= i < grid.majors - 2 and 2 <= j < grid.minors - 2


cdef inline bint has_tap(const Grid *grid, Py_ssize_t i, Py_ssize_t j, int t) noexcept nogil:
    return 0 <= i + grid.down[t] < grid.majors and 0 <= j + grid.right[t] < grid.minors


cdef void lay_out_grid(
    Grid *grid, int kind, const unsigned char *unknown, Py_ssize_t rows, Py_ssize_t cols, bint by_columns,
) noexcept nogil:
    cdef int down, right, t = 0, reach = 2 if kind == SECOND else 1
    grid.kind = kind
    grid.unknown = unknown
    grid.major_stride = 1 if by_columns else cols
    grid.minor_stride = cols if by_columns else 1
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if 0 < down * down + right * right <= reach * reach:
                grid.down[t] = down
                grid.right[t] = right
                grid.offsets[t] = down * grid.major_stride + right * grid.minor_stride
                t += 1
    grid.taps = t
    # The weights in the middle of an image that is large enough.
    grid.majors = grid.minors = 5
    for t in range(grid.taps):
        grid.weights[t] = tap_weight(grid, 2, 2, t)
    grid.diagonal = diagonal_weight(grid, 2, 2)
    grid.majors = cols if by_columns else rows
    grid.minors = rows if by_columns else cols


# ---- the unknown pixels and their regions ----

cdef inline uint64_t read_word(const unsigned char *mask) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, mask, sizeof(word))
    return word


cdef inline Py_ssize_t list_between(
    const unsigned char *mask, Py_ssize_t first, Py_ssize_t last, int row, Place *out,
) noexcept nogil:
    # Every pixel is written, so there must be room for one more than there are; those known are written over.
    cdef Py_ssize_t j, count = 0
    for j in range(first, last):
        out[count].major = row
        out[count].minor = <int> j
        count += mask[j] != 0
    return count


cdef Py_ssize_t list_row(const unsigned char *mask, Py_ssize_t cols, int row, Place *out) noexcept nogil:
    cdef Py_ssize_t j = 0, k, count = 0
    cdef uint64_t[8] words
    while j + 64 <= cols:
        for k in range(8):
            words[k] = read_word(mask + j + 8 * k)
        if (words[0] | words[1] | words[2] | words[3]) | (words[4] | words[5] | words[6] | words[7]):
            for k in range(8):
                if words[k]:
                    count += list_between(mask, j + 8 * k, j + 8 * k + 8, row, out + count)
        j += 64
    return count + list_between(mask, j, cols, row, out + count)


cdef int list_unknown(Draft *draft) noexcept nogil:
    # Return -1 where there is no memory, -2 where there are too many pixels, -3 where more than may be.
    cdef const Grid *grid = &draft.grids[0]
    cdef Py_ssize_t room = 0, count = 0, i
    cdef Place *grown
    for i in range(grid.majors):
        if count + grid.minors >= room:
            room = 2 * count + 2 * grid.minors + 64
            grown = <Place *> realloc(draft.unknown, room * sizeof(Place))
            if grown == NULL:
                return -1
            draft.unknown = grown
        count += list_row(grid.unknown + i * grid.minors, grid.minors, <int> i, draft.unknown + count)
        if count > INT_MAX - 2 * PANEL:
            return -2
        if count > draft.densest:
            return -3
    draft.count = count
    return 0


cdef inline int find(int *parents, int k) noexcept nogil:
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k


cdef inline int unite(Draft *draft, int k, int root, int other) noexcept nogil:
    # Join pixel k, whose root is given, to another one; parents come before their children. Return the common root.
    cdef int other_root = find(draft.labels, other)
    draft.joined[k] = 1
    draft.joined[other] = 1
    if other_root < root:
        draft.labels[root] = other_root
        return other_root
    if other_root > root:
        draft.labels[other_root] = root
    return root


cdef void join(Draft *draft, bint second) noexcept nogil:
    # Join each pixel to the taps before it, of first or second differences, but for those to which a tap that is joined
    # was joined itself: the left neighbour to that above it and, by second differences, to the upper one, the upper one
    # to all that is around it.
    # A row of slots is a row of the image, and tells where its pixels are listed.
    cdef const Grid *grid = &draft.grids[0]
    cdef bint left, up
    cdef Py_ssize_t i, j, cols = grid.minors
    cdef const unsigned char *mask
    cdef int *here
    cdef int *above
    cdef int k, root
    for k in range(<int> draft.count):
        i = draft.unknown[k].major
        j = draft.unknown[k].minor
        mask = grid.unknown + i * cols + j
        here = draft.scratch + (i & 3) * cols + j
        above = draft.scratch + ((i - 1) & 3) * cols + j
        here[0] = k
        draft.labels[k] = root = k
        draft.joined[k] = 0
        left = j > 0 and (mask - 1)[0]
        up = i > 0 and (mask - cols)[0]
        if left:
            root = unite(draft, k, root, (here - 1)[0])
        elif second and j > 1 and (mask - 2)[0]:
            root = unite(draft, k, root, (here - 2)[0])
        if up:
            if not left or not (second or (mask - cols - 1)[0]):
                root = unite(draft, k, root, above[0])
        elif second and i > 0:
            if not left and j > 0 and (mask - cols - 1)[0]:
                root = unite(draft, k, root, (above - 1)[0])
            if j + 1 < cols and (mask - cols + 1)[0]:
                root = unite(draft, k, root, above[1])
            if i > 1 and (mask - 2 * cols)[0]:
                root = unite(draft, k, root, draft.scratch[((i - 2) & 3) * cols + j])


cdef void join_square(Draft *draft) noexcept nogil:
    # Join each pixel to those before it in the 5 x 5 pixels around it.
    cdef const Grid *grid = &draft.grids[0]
    cdef Py_ssize_t i, j, a, b, cols = grid.minors
    cdef int k, root
    for k in range(<int> draft.count):
        i = draft.unknown[k].major
        j = draft.unknown[k].minor
        draft.scratch[(i & 3) * cols + j] = k
        draft.labels[k] = root = k
        for a in range(max(i - 2, 0), i + 1):
            for b in range(max(j - 2, 0), min(j + 3, cols) if a < i else j):
                if grid.unknown[a * cols + b]:
                    root = unite(draft, k, root, draft.scratch[(a & 3) * cols + b])


cdef int label(Draft *draft) noexcept nogil:
    # Number the regions of two or more pixels, in the order of their first pixels; lone pixels get -1.
    cdef int k, regions = 0
    for k in range(<int> draft.count):
        if not draft.joined[k]:
            draft.labels[k] = -1
        elif draft.labels[k] == k:
            draft.labels[k] = regions
            regions += 1
        else:
            draft.labels[k] = draft.labels[draft.labels[k]]
    return regions


cdef Py_ssize_t group(Draft *draft) noexcept nogil:
    # Sort the pixels by region, still row by row within each.
    cdef Region *region
    cdef Py_ssize_t k, total = 0
    for k in range(draft.count):
        if draft.labels[k] >= 0:
            draft.regions[draft.labels[k]].count += 1
    for k in range(draft.region_count):
        draft.regions[k].start = total
        draft.regions[k].cost = draft.regions[k].count
        total += draft.regions[k].count
    for k in range(draft.count):
        if draft.labels[k] >= 0:
            region = &draft.regions[draft.labels[k]]
            draft.grouped[region.start + region.seen] = draft.unknown[k]
            region.seen += 1
    return total


cdef double share_out(const Region *regions, Py_ssize_t count, Py_ssize_t parts, Py_ssize_t *cuts) noexcept nogil:
    # Cut the regions into parts of about the same cost; return the whole.
    cdef double total = 0, seen = 0
    cdef Py_ssize_t k, part = 0
    for k in range(count):
        total += regions[k].cost
    cuts[0] = 0
    for k in range(count):
        while part + 1 < parts and seen * parts >= total * (part + 1):
            part += 1
            cuts[part] = k
        seen += regions[k].cost
    for k in range(part + 1, parts + 1):
        cuts[k] = count
    return total


# ---- envelopes ----

cdef inline Py_ssize_t find_taps(
    const Grid *grid, const Place *places, Py_ssize_t p, int *slots, bint first_only, int *taps_out,
) noexcept nogil:
    # The first in the region of pixel p's taps and itself; and all of those before it, -1 where there is none. Must be
    # called for each pixel of the region in turn.
    cdef Py_ssize_t i = places[p].major, j = places[p].minor, stride = grid.minors, first = p, there
    cdef const unsigned char *mask = grid.unknown + i * grid.major_stride + j * grid.minor_stride
    cdef bint inner = is_inner(grid, i, j)
    cdef int t
    slots[(i & 3) * stride + j] = <int> p
    for t in range(grid.taps // 2):
        there = -1
        if (inner or has_tap(grid, i, j, t)) and mask[grid.offsets[t]]:
            there = slots[((i + grid.down[t]) & 3) * stride + j + grid.right[t]]
            first = min(first, there)
            if first_only:
                return first
        if not first_only:
            taps_out[t] = <int> there
    return first


cdef Envelope measure(
    const Grid *grid, const Place *places, Py_ssize_t count, double limit, int *slots,
) noexcept nogil:
    cdef Envelope envelope
    cdef Py_ssize_t p, first, panel_first = 0
    envelope.work = 0
    envelope.size = 0
    for p in range(count):
        first = find_taps(grid, places, p, slots, True, NULL)
        envelope.work += <double> (p - first + 1) * (p - first + 1)
        panel_first = first if p % PANEL == 0 else min(first, panel_first)
        if (p + 1) % PANEL == 0 or p + 1 == count:
            envelope.size += PANEL * (1 + p + 1 - panel_first // PANEL * PANEL)
        if envelope.work > limit:
            break
    return envelope


cdef double least_work_by_columns(
    const Grid *grid, const Place *places, Py_ssize_t count, Py_ssize_t left, Py_ssize_t right, int *links,
) noexcept nogil:
    # A bound that needs no sorting: where n pixels of a column have their left neighbours in the region, the envelope
    # of the k-th of them spans k in its own column and n - k in the other one, so w is above n for each of the n.
    cdef Py_ssize_t p, j
    cdef double total = 0
    for j in range(right - left):
        links[j] = 0
    for p in range(count):
        j = places[p].minor
        if j > left:
            links[j - left] += grid.unknown[places[p].major * grid.major_stride + j - 1] != 0
    for j in range(right - left):
        total += <double> links[j] * links[j] * links[j]
    return total


cdef void sort_by_columns(
    const Place *places, Py_ssize_t count, Py_ssize_t left, Py_ssize_t right, int *ends, Place *turned_out,
    int *moved_out,
) noexcept nogil:
    cdef Py_ssize_t p, j
    cdef int there, total = 0
    for j in range(right - left):
        ends[j] = 0
    for p in range(count):
        ends[places[p].minor - left] += 1
    for j in range(right - left):
        there = ends[j]
        ends[j] = total
        total += there
    for p in range(count):
        there = ends[places[p].minor - left]
        ends[places[p].minor - left] += 1
        turned_out[there].major = places[p].minor
        turned_out[there].minor = places[p].major
        moved_out[p] = there


cdef void find_columns(const Place *places, Py_ssize_t count, Py_ssize_t *left, Py_ssize_t *right) noexcept nogil:
    cdef int low = places[0].minor, high = places[0].minor
    cdef Py_ssize_t p
    for p in range(count):
        low = min(low, places[p].minor)
        high = max(high, places[p].minor)
    left[0] = low
    right[0] = high + 1


cdef void classify(Draft *draft, Region *region, int *scratch) noexcept nogil:
    cdef const Place *places = draft.grouped + region.start
    cdef Py_ssize_t count = region.count, left = 0, right = 0, margin = 2 if draft.grids[0].kind == SECOND else 1
    cdef double limit
    cdef Envelope rows, columns
    region.direct = True
    region.by_columns = False
    if count <= PANEL:
        rows = measure(&draft.grids[0], places, count, INFINITY, scratch)
        region.cost = rows.work
        region.size = rows.size
        return
    find_columns(places, count, &left, &right)
    limit = draft.most * (places[count - 1].major + 1 - places[0].major + 2 * margin) * (right - left + 2 * margin)
    rows = measure(&draft.grids[0], places, count, limit, scratch)
    columns.work = INFINITY
    columns.size = 0
    # Pixels that are one wide need no other order, and what is above a bound has none that helps.
    if rows.work > 4 * count and least_work_by_columns(
        &draft.grids[0], places, count, left, right, scratch
    ) < min(limit, rows.work):
        sort_by_columns(places, count, left, right, scratch, draft.turned + region.start, draft.moved + region.start)
        columns = measure(&draft.grids[1], draft.turned + region.start, count, min(limit, rows.work), scratch)
    region.by_columns = columns.work < rows.work
    region.cost = columns.work if region.by_columns else rows.work
    region.size = columns.size if region.by_columns else rows.size
    region.direct = region.cost <= limit


cdef void classify_part(void *job, Py_ssize_t part) noexcept nogil:
    cdef Draft *draft = <Draft *> job
    cdef Py_ssize_t k
    for k in range(draft.cuts[part], draft.cuts[part + 1]):
        classify(draft, &draft.regions[k], draft.scratch + part * draft.scratch_size)


# ---- Cholesky by panels ----

cdef inline void subtract(double *sums, const double *pivots, const double *rows, Py_ssize_t count) noexcept nogil:
    # sums[c, r] -= sum over columns k of pivots[k, c] rows[k, r], for HALF rows c of a panel and all the rows r of one.
    cdef double[PANEL] s0
    cdef double[PANEL] s1
    cdef double[PANEL] s2
    cdef double[PANEL] s3
    cdef int r
    for r in range(PANEL):
        s0[r] = sums[r]
        s1[r] = sums[PANEL + r]
        s2[r] = sums[2 * PANEL + r]
        s3[r] = sums[3 * PANEL + r]
    for _ in range(count):
        for r in range(PANEL):
            s0[r] -= pivots[0] * rows[r]
            s1[r] -= pivots[1] * rows[r]
            s2[r] -= pivots[2] * rows[r]
            s3[r] -= pivots[3] * rows[r]
        pivots += PANEL
        rows += PANEL
    for r in range(PANEL):
        sums[r] = s0[r]
        sums[PANEL + r] = s1[r]
        sums[2 * PANEL + r] = s2[r]
        sums[3 * PANEL + r] = s3[r]


cdef inline void divide(
    const double *sums, const double *inverse, const double *triangle, Py_ssize_t stride, double *out,
) noexcept nogil:
    # By the transposed triangle of HALF pivot rows; triangle[c, k] belongs to column c and row k, `stride` apart.
    cdef double i0 = inverse[0], i1 = inverse[1], i2 = inverse[2], i3 = inverse[3]
    cdef double t01 = triangle[1], t02 = triangle[2], t03 = triangle[3]
    cdef double t12 = triangle[stride + 2], t13 = triangle[stride + 3], t23 = triangle[2 * stride + 3]
    cdef double x0, x1, x2
    cdef int r
    for r in range(PANEL):
        x0 = sums[r] * i0
        x1 = (sums[PANEL + r] - t01 * x0) * i1
        x2 = ((sums[2 * PANEL + r] - t02 * x0) - t12 * x1) * i2
        out[r] = x0
        out[PANEL + r] = x1
        out[2 * PANEL + r] = x2
        out[3 * PANEL + r] = (((sums[3 * PANEL + r] - t03 * x0) - t13 * x1) - t23 * x2) * i3


cdef inline void load_half(const double *block, double *out) noexcept nogil:
    cdef int r
    for r in range(HALF * PANEL):
        out[r] = block[r]


cdef inline void eliminate(double *rows, const double *pivots, Py_ssize_t count, const double *inverse) noexcept nogil:
    # Compute the HALF columns of a panel that follow `count` ones; the pivot rows are those of another panel.
    cdef double[HALF * PANEL] sums
    load_half(rows + PANEL * count, sums)
    subtract(sums, pivots, rows, count)
    divide(sums, inverse, pivots + PANEL * count, PANEL, rows + PANEL * count)


cdef inline bint take_pivot(double pivot, double least, double *inverse_out) noexcept nogil:
    if not pivot > least:
        return False
    inverse_out[0] = 1 / sqrt(pivot)
    return True


cdef inline bint complete(
    double *rows, int lane, Py_ssize_t count, const double *least, double *inverse_out,
) noexcept nogil:
    # The same where the pivot rows are the panel's own, from `lane` on. False where a pivot is not above the least.
    cdef double[HALF * PANEL] sums
    cdef double[HALF * HALF] triangle
    cdef double *column = rows + PANEL * count
    cdef double total
    cdef int c, k, m
    load_half(column, sums)
    subtract(sums, rows + lane, rows, count)
    for c in range(HALF):
        for k in range(c, HALF):
            total = sums[c * PANEL + lane + k]
            for m in range(c):
                total -= triangle[m * HALF + c] * triangle[m * HALF + k]
            if k > c:
                triangle[c * HALF + k] = total * inverse_out[c]
            elif not take_pivot(total, least[c], inverse_out + c):
                return False
    divide(sums, inverse_out, triangle, HALF, column)
    for c in range(HALF):
        for k in range(lane + c + 1):
            column[c * PANEL + k] = 0
    return True


cdef bint complete_few(
    double *rows, int size, Py_ssize_t count, const double *least, double *inverse_out,
) noexcept nogil:
    # The same for the last panel, of fewer rows.
    cdef double *block = rows + PANEL * count
    cdef Py_ssize_t k
    cdef int c, r
    for c in range(size):
        for k in range(count + c):
            for r in range(c, size):
                block[c * PANEL + r] -= rows[k * PANEL + c] * rows[k * PANEL + r]
        if not take_pivot(block[c * PANEL + c], least[c], inverse_out + c):
            return False
        block[c * PANEL + c] = 0
        for r in range(c + 1, size):
            block[c * PANEL + r] *= inverse_out[c]
    return True


cdef void assemble(
    const Grid *grid, const Place *places, Py_ssize_t base, int size, int *slots, double *numbers, Panel *panel,
) noexcept nogil:
    # The entries of A in a panel's rows, and how far they reach.
    cdef int[PANEL][BEFORE] taps
    cdef Py_ssize_t first = base, i, j
    cdef double *column
    cdef int r, t
    cdef bint inner
    for r in range(size):
        first = min(first, find_taps(grid, places, base + r, slots, False, taps[r]))
    panel.first = first // PANEL * PANEL
    memset(numbers, 0, PANEL * (1 + base + size - panel.first) * sizeof(double))
    column = numbers + PANEL * (1 - panel.first)
    for r in range(size):
        i = places[base + r].major
        j = places[base + r].minor
        inner = is_inner(grid, i, j)
        for t in range(grid.taps // 2):
            if taps[r][t] >= 0:
                column[PANEL * taps[r][t] + r] = grid.weights[t] if inner else tap_weight(grid, i, j, t)
        column[PANEL * (base + r) + r] = grid.diagonal if inner else diagonal_weight(grid, i, j)


cdef bint factorise_panel(
    const Panel *panels, Py_ssize_t number, int size, double safe, double *numbers,
) noexcept nogil:
    # Of a matrix in panels, of which those before are factorised. False where a pivot is not above `safe` times its
    # diagonal.
    cdef double[PANEL] least
    cdef const Panel *panel = panels + number
    cdef Py_ssize_t before = number * PANEL - panel.first, k, first
    cdef double *own = numbers + panel.offset
    cdef double *here = own + PANEL * (1 - panel.first)
    cdef const double *there
    cdef const double *inverse
    cdef int r
    for r in range(size):
        least[r] = safe * here[PANEL * (number * PANEL + r) + r]
    for k in range(panel.first // PANEL, number):
        first = max(panel.first, panels[k].first)
        there = numbers + panels[k].offset + PANEL * (1 - panels[k].first)
        inverse = numbers + panels[k].offset
        eliminate(here + PANEL * first, there + PANEL * first, PANEL * k - first, inverse)
        eliminate(here + PANEL * first, there + PANEL * first + HALF, PANEL * k - first + HALF, inverse + HALF)
    here += PANEL * panel.first
    if size < PANEL:
        return complete_few(here, size, before, least, own)
    return complete(here, 0, before, least, own) and complete(here, HALF, before + HALF, least + HALF, own + HALF)


cdef bint factorise_region(
    const Grid *grid, const Place *places, Py_ssize_t count, int *slots, Panel *panels, double *numbers,
) noexcept nogil:
    cdef Py_ssize_t number, base, offset = 0
    cdef int size
    for number in range((count + PANEL - 1) // PANEL):
        base = number * PANEL
        size = <int> min(PANEL, count - base)
        panels[number].offset = offset
        assemble(grid, places, base, size, slots, numbers + offset, panels + number)
        if not factorise_panel(panels, number, size, SAFE_PIVOT, numbers):
            return False
        offset += PANEL * (1 + base + size - panels[number].first)
    return True


cdef void factorise_part(void *job, Py_ssize_t part) noexcept nogil:
    cdef Draft *draft = <Draft *> job
    cdef Region *region
    cdef Py_ssize_t k
    for k in range(draft.cuts[part], draft.cuts[part + 1]):
        region = &draft.regions[k]
        if region.direct:
            region.direct = factorise_region(
                &draft.grids[region.by_columns],
                (draft.turned if region.by_columns else draft.grouped) + region.start,
                region.count, draft.scratch + part * draft.scratch_size, draft.panels + region.panel,
                draft.factor + region.factor,
            )


cdef inline double dot(const double *a, const double *b) noexcept nogil:
    return (
        ((a[0] * b[0] + a[4] * b[4]) + (a[2] * b[2] + a[6] * b[6]))
        + ((a[1] * b[1] + a[5] * b[5]) + (a[3] * b[3] + a[7] * b[7]))
    )


cdef inline void substitute(
    const Panel *panels, const double *numbers, Py_ssize_t count, double *x, Py_ssize_t stride, int channels,
) noexcept nogil:
    # x = inverse(L L') x, in place, for at most CHANNELS images, `stride` apart: as many as there are, L is read once.
    # With a literal number of them their sums stay in registers.
    cdef double[CHANNELS][PANEL] sums
    cdef const double *column
    cdef const double *inverse
    cdef Py_ssize_t panel, base, k
    cdef int size, channel, c, r
    for panel in range((count + PANEL - 1) // PANEL):
        base = panel * PANEL
        size = <int> min(PANEL, count - base)
        inverse = numbers + panels[panel].offset
        column = inverse + PANEL
        for channel in range(channels):
            for r in range(PANEL):
                sums[channel][r] = x[channel * stride + base + r] if r < size else 0
        for k in range(panels[panel].first, base):
            for channel in range(channels):
                for r in range(PANEL):
                    sums[channel][r] -= column[r] * x[channel * stride + k]
            column += PANEL
        for c in range(size):
            for channel in range(channels):
                x[channel * stride + base + c] = sums[channel][c] * inverse[c]
                for r in range(PANEL):
                    sums[channel][r] -= column[r] * x[channel * stride + base + c]
            column += PANEL
    for panel in range((count + PANEL - 1) // PANEL - 1, -1, -1):
        base = panel * PANEL
        size = <int> min(PANEL, count - base)
        inverse = numbers + panels[panel].offset
        column = inverse + PANEL * (1 - panels[panel].first)
        for channel in range(channels):
            for r in range(PANEL):
                sums[channel][r] = 0
            for c in range(size - 1, -1, -1):
                sums[channel][c] = inverse[c] * (
                    x[channel * stride + base + c] - dot(column + PANEL * (base + c), sums[channel])
                )
            for c in range(size):
                x[channel * stride + base + c] = sums[channel][c]
        for k in range(panels[panel].first, base):
            for channel in range(channels):
                x[channel * stride + k] -= dot(column + PANEL * k, sums[channel])


cdef inline void gather(
    const Solution *job, const double *known, Py_ssize_t first, Py_ssize_t last, double *out,
) noexcept nogil:
    cdef Py_ssize_t p
    cdef const int *links
    cdef const signed char *weights
    cdef double total
    cdef int e
    for p in range(first, last):
        links = job.links + job.equations[p].first
        weights = job.weights + job.equations[p].first
        total = 0
        for e in range(job.equations[p].count):
            total -= weights[e] * known[links[e]]
        out[p] = total / job.equations[p].divisor


cdef void solve_part(void *argument, Py_ssize_t part) noexcept nogil:
    cdef const Solution *job = <const Solution *> argument
    cdef const Region *region
    cdef const Panel *panels
    cdef const double *numbers
    cdef double *x
    cdef Py_ssize_t k, c, rest
    if part < job.lone_parts:
        for c in range(job.channels):
            gather(
                job, job.known + c * job.sources, part * LONE_PART, min((part + 1) * LONE_PART, job.lone_count),
                job.out + c * job.pixels,
            )
        return
    part -= job.lone_parts
    for k in range(job.cuts[part], job.cuts[part + 1]):
        region = &job.regions[k]
        panels = job.panels + region.panel
        numbers = job.factor + region.factor
        for c in range(job.channels):
            gather(
                job, job.known + c * job.sources, region.start, region.start + region.count, job.out + c * job.pixels
            )
        x = job.out + region.start
        rest = job.channels
        while rest >= CHANNELS:
            substitute(panels, numbers, region.count, x, job.pixels, CHANNELS)
            x += CHANNELS * job.pixels
            rest -= CHANNELS
        if rest == 3:
            substitute(panels, numbers, region.count, x, job.pixels, 3)
        elif rest == 2:
            substitute(panels, numbers, region.count, x, job.pixels, 2)
        elif rest == 1:
            substitute(panels, numbers, region.count, x, job.pixels, 1)


# ---- images ----

cdef void read_known(
    const pixel *image, const int64_t *sources, Py_ssize_t count, const double *units, double *out,
) noexcept nogil:
    cdef double offset = units[0], factor = units[1]
    cdef Py_ssize_t k
    for k in range(count):
        out[k] = (<double> image[sources[k]] - offset) / factor


cdef void write_solved(
    const double *x, const int64_t *pixels, Py_ssize_t count, const double *units, pixel *image_out,
) noexcept nogil:
    cdef double offset = units[0], factor = units[1], least = units[2], greatest = units[3], value
    cdef Py_ssize_t k
    for k in range(count):
        value = x[k] * factor + offset
        if not (pixel is float or pixel is double):
            value = rint(value)
        value = least if value < least else value
        image_out[pixels[k]] = <pixel> (greatest if value > greatest else value)


# ---- variances ----

cdef void invert_diagonal(
    const Panel *panels, const double *numbers, Py_ssize_t count, double *rows, double *variances_out,
) noexcept nogil:
    # The sums of squares of the columns of inverse(L): PANEL of them are eliminated as if they were rows of A. The
    # envelope's part of the inverse alone (Takahashi) takes less arithmetic, but rounding grows without bounds where
    # a region extrapolates: in a corner of 56 x 56 pixels to 200 times the variance.
    cdef double[PANEL] sums
    cdef Py_ssize_t panel_count = (count + PANEL - 1) // PANEL, p, q, k, first, before
    cdef const double *inverse
    cdef const double *pivots
    cdef double *column
    cdef int c, r
    for p in range(panel_count):
        memset(rows + PANEL * PANEL * p, 0, PANEL * (count - PANEL * p) * sizeof(double))
        for r in range(<int> min(PANEL, count - PANEL * p)):
            rows[PANEL * (PANEL * p + r) + r] = 1
        for q in range(p, panel_count):
            first = max(panels[q].first, PANEL * p)
            before = PANEL * q - first
            inverse = numbers + panels[q].offset
            pivots = inverse + PANEL * (1 + first - panels[q].first)
            column = rows + PANEL * first
            if PANEL * (q + 1) <= count:
                eliminate(column, pivots, before, inverse)
                eliminate(column, pivots + HALF, before + HALF, inverse + HALF)
                continue
            for c in range(<int> (count - PANEL * q)):
                for k in range(before + c):
                    for r in range(PANEL):
                        column[PANEL * (before + c) + r] -= pivots[PANEL * k + c] * column[PANEL * k + r]
                for r in range(PANEL):
                    column[PANEL * (before + c) + r] *= inverse[c]
        for r in range(PANEL):
            sums[r] = 0
        for k in range(PANEL * p, count):
            for r in range(PANEL):
                sums[r] += rows[PANEL * k + r] * rows[PANEL * k + r]
        for r in range(<int> min(PANEL, count - PANEL * p)):
            variances_out[PANEL * p + r] = sums[r]


# ---- from regions to factors ----

cdef Py_ssize_t place_regions(Draft *draft, Py_ssize_t lone) noexcept nogil:
    # Give each pixel its position among those solved, or -1: lone ones first. Return how many there are.
    cdef Region *region
    cdef Py_ssize_t k, total = lone, next_lone = 0, rank
    for k in range(draft.region_count):
        region = &draft.regions[k]
        region.seen = 0
        region.position = total
        if region.direct:
            total += region.count
    for k in range(draft.count):
        if draft.labels[k] >= 0:
            region = &draft.regions[draft.labels[k]]
            rank = draft.moved[region.start + region.seen] if region.by_columns else region.seen
            region.seen += 1
            draft.labels[k] = <int> (region.position + rank) if region.direct else -1
        elif next_lone < lone:
            draft.labels[k] = <int> next_lone
            next_lone += 1
    return total


cdef Py_ssize_t write_equations(
    Draft *draft, Py_ssize_t lone, int *slots, int64_t *pixels_out, Equation *equations_out, int *links_out,
    signed char *weights_out,
) noexcept nogil:
    # List the known pixels in the order in which rows first meet them, and link the equations to them; return how many
    # links there are. A slot tells where the known pixel is listed, if it is that one that is listed there.
    cdef const Grid *grid = &draft.grids[0]
    cdef Py_ssize_t k, i, j, p, at, e = 0, count = 0
    cdef int *slot
    cdef bint inner, fresh
    cdef int t, source
    draft.sources[0] = -1
    for k in range(draft.count):
        p = draft.labels[k]
        if p < 0:
            continue
        i = draft.unknown[k].major
        j = draft.unknown[k].minor
        inner = is_inner(grid, i, j)
        pixels_out[p] = i * grid.minors + j
        equations_out[p].first = e
        for t in range(grid.taps):
            at = i * grid.minors + j + grid.offsets[t]
            if (inner or has_tap(grid, i, j, t)) and not grid.unknown[at]:
                slot = slots + ((i + grid.down[t]) & (SOURCE_ROWS - 1)) * grid.minors + j + grid.right[t]
                source = slot[0]
                fresh = draft.sources[source] != at
                draft.sources[count] = at if fresh else draft.sources[count]
                source = <int> count if fresh else source
                count += fresh
                slot[0] = source
                links_out[e] = source
                weights_out[e] = <signed char> (grid.weights[t] if inner else tap_weight(grid, i, j, t))
                e += 1
        equations_out[p].count = <int> (e - equations_out[p].first)
        equations_out[p].divisor = 1
        if p < lone:
            equations_out[p].divisor = <int> (grid.diagonal if inner else diagonal_weight(grid, i, j))
    draft.source_count = count
    return e


cdef void list_left(
    const Draft *draft, bint lone_left, int64_t *left, int64_t *left_starts, int64_t[4] *windows,
) noexcept nogil:
    cdef const Region *region
    cdef const Place *places
    cdef Py_ssize_t k, p, total = 0, regions = 0, first = 0, last = 0
    for k in range(draft.count if lone_left else 0):
        if not draft.joined[k]:
            left_starts[regions] = total
            windows[regions][0] = draft.unknown[k].major
            windows[regions][1] = draft.unknown[k].major + 1
            windows[regions][2] = draft.unknown[k].minor
            windows[regions][3] = draft.unknown[k].minor + 1
            left[total] = draft.unknown[k].major * draft.grids[0].minors + draft.unknown[k].minor
            total += 1
            regions += 1
    for k in range(draft.region_count):
        region = &draft.regions[k]
        if not region.direct:
            places = draft.grouped + region.start
            find_columns(places, region.count, &first, &last)
            left_starts[regions] = total
            windows[regions][0] = places[0].major
            windows[regions][1] = places[region.count - 1].major + 1
            windows[regions][2] = first
            windows[regions][3] = last
            for p in range(region.count):
                left[total] = places[p].major * draft.grids[0].minors + places[p].minor
                total += 1
            regions += 1
    left_starts[regions] = total


cdef Py_ssize_t keep_direct(Region *regions, Py_ssize_t count) noexcept nogil:
    # Move the regions that are solved to the front, at their positions and at the cost of solving them.
    cdef Py_ssize_t k, kept = 0
    for k in range(count):
        if regions[k].direct:
            regions[kept] = regions[k]
            regions[kept].start = regions[kept].position
            regions[kept].cost = regions[kept].size
            kept += 1
    return kept


cdef void *reserve(Py_ssize_t count, size_t size) except NULL:
    cdef void *block = malloc(max(count, 1) * size)
    if block == NULL:
        raise MemoryError()
    return block


cdef void discard(Draft *draft) noexcept:
    release(draft.unknown)
    release(draft.labels)
    release(draft.joined)
    release(draft.sources)
    release(draft.grouped)
    release(draft.turned)
    release(draft.moved)
    release(draft.regions)
    release(draft.scratch)
    release(draft.panels)
    release(draft.factor)


cdef int64_t[::1] integers(Py_ssize_t count):
    # An array that owns its memory and keeps it as long as Python looks at it; it must not be empty, a slice of it may.
    return view.array(shape=(max(count, 1),), itemsize=sizeof(int64_t), format="q")


cdef class Factors:
    """The regions that are solved directly, factorised, and the unknown pixels that are not; made by `factorise`.

    Attributes, arrays of int64: `pixels`, shape (n,), flat indices of the pixels solved, grouped by region; `sources`,
    shape (m,), those of the known pixels that their equations read, each once; `left`, those of the unknown pixels of
    regions too large or without a safe pivot; `left_starts`, shape (k + 1,), where in `left` each of these k regions
    starts; `windows`, shape (k, 4), their top, bottom, left and right, ends exclusive. `nbytes` counts the memory held.
    The last three arrays are None once `forget_left` was called.
    """

    cdef readonly int64_t[::1] pixels
    cdef readonly int64_t[::1] sources
    cdef readonly int64_t[::1] left
    cdef readonly int64_t[::1] left_starts
    cdef readonly int64_t[:, ::1] windows
    cdef readonly Py_ssize_t nbytes
    cdef Py_ssize_t image_size
    cdef Py_ssize_t lone_count
    cdef Py_ssize_t region_count
    cdef Region *regions
    cdef Panel *panels
    cdef double *factor
    cdef Equation *equations
    cdef int *links
    cdef signed char *weights
    cdef double work
    cdef Py_ssize_t together  # images that are solved at a time
    cdef Py_ssize_t[PARTS + 1] cuts

    def __init__(self):
        raise TypeError("Factors are made by factorise()")

    def __dealloc__(self):
        release(self.regions)
        release(self.panels)
        release(self.factor)
        release(self.equations)
        release(self.links)
        release(self.weights)

    def solve(self, const double[:, ::1] known not None, double[:, ::1] out not None, int threads):
        """Write the values of `pixels` to out, shape (channels, n); read those of `sources`, shape (channels, m)."""
        cdef Solution job
        cdef Py_ssize_t channels = out.shape[0]
        require(known.shape[0] == channels, "known and out must have the same number of channels")
        require(known.shape[1] == self.sources.shape[0], "known must have a column for each of the sources")
        require(out.shape[1] == self.pixels.shape[0], "out must have a column for each of the pixels")
        if channels == 0 or out.shape[1] == 0:
            return
        job = self.solution()
        job.channels, job.known, job.out = channels, &known[0, 0], &out[0, 0]
        if channels * self.work < LITTLE_WORK:
            threads = 1
        with nogil:
            run_parts(solve_part, &job, job.lone_parts + PARTS, threads)

    cdef Solution solution(self) noexcept:
        cdef Solution job
        job.regions, job.panels, job.factor = self.regions, self.panels, self.factor
        job.equations, job.links, job.weights = self.equations, self.links, self.weights
        job.cuts = self.cuts
        job.lone_count, job.lone_parts = self.lone_count, (self.lone_count + LONE_PART - 1) // LONE_PART
        job.sources, job.pixels = self.sources.shape[0], self.pixels.shape[0]
        job.channels, job.known, job.out = 0, NULL, NULL
        return job

    def restore(
        self, const pixel[:, ::1] images not None, const double[:, ::1] units not None, pixel[:, ::1] out not None
    ):
        """Write the solved pixels of images, shape (images, rows x cols), to out, of the same shape, and no others.

        units, shape (images, 4), has what is 0 and how much is 1 where an image is solved, the least value that is
        written and the greatest; those of integers must be integers of their dtype, and are rounded to.
        """
        cdef Solution job
        cdef Py_ssize_t count = images.shape[0], sources = self.sources.shape[0], k = 0, c, part, some
        cdef Py_ssize_t together = min(count, self.together)
        cdef double *known = NULL
        cdef double *x = NULL
        require(images.shape[1] == self.image_size, "images must have as many pixels as the mask")
        require(out.shape[0] == count and out.shape[1] == self.image_size, "out must have the shape of images")
        require(units.shape[0] == count and units.shape[1] == 4, "units must have shape (images, 4)")
        if count == 0 or self.pixels.shape[0] == 0:
            return
        try:
            known = <double *> reserve(together * sources, sizeof(double))
            x = <double *> reserve(together * self.pixels.shape[0], sizeof(double))
            job = self.solution()
            job.known, job.out = known, x
            with nogil:
                while k < count:
                    some = min(count - k, together)
                    for c in range(some if sources > 0 else 0):
                        read_known(&images[k + c, 0], &self.sources[0], sources, &units[k + c, 0], known + c * sources)
                    job.channels = some
                    for part in range(job.lone_parts + PARTS):
                        solve_part(&job, part)
                    for c in range(some):
                        write_solved(
                            x + c * job.pixels, &self.pixels[0], job.pixels, &units[k + c, 0], &out[k + c, 0]
                        )
                    k += some
        finally:
            release(known)
            release(x)

    def forget_left(self):
        """Let go of `left`, `left_starts` and `windows`, which nothing here reads; they are None from now on."""
        if self.left is None:
            return
        self.nbytes -= (self.left.shape[0] + 5 * self.windows.shape[0]) * sizeof(int64_t)
        self.left = self.left_starts = None
        self.windows = None

    def variances(self, double[::1] out not None):
        """Write the diagonal of the inverse of A_uu, in the order of `pixels`, to out, shape (n,).

        A is half the Hessian: where an image is as likely as exp(-energy / (2 s^2)), s^2 times this is the expected
        squared error of each pixel. Takes the pixels of each region times its part of `nbytes`.
        """
        cdef Py_ssize_t k, largest = 0
        cdef double *rows
        require(out.shape[0] == self.pixels.shape[0], "out must have one element for each of the pixels")
        if out.shape[0] == 0:
            return
        for k in range(self.region_count):
            largest = max(largest, self.regions[k].count)
        rows = <double *> reserve(PANEL * largest, sizeof(double))
        with nogil:
            for k in range(self.lone_count):
                out[k] = 1 / <double> self.equations[k].divisor
            for k in range(self.region_count):
                invert_diagonal(
                    self.panels + self.regions[k].panel, self.factor + self.regions[k].factor,
                    self.regions[k].count, rows, &out[self.regions[k].start],
                )
        release(rows)


cdef int lay_out(Draft *draft, int kind, const unsigned char[:, ::1] free, double most, double densest) except -1:
    require(kind == FIRST or kind == SECOND, "kind must be 0 or 1")
    require(free.shape[0] > 0 and free.shape[1] > 0, "free must not be empty")
    require(free.shape[0] < INT_MAX and free.shape[1] < INT_MAX, "free has too many rows or columns")
    memset(draft, 0, sizeof(draft[0]))
    draft.most = most
    draft.densest = densest * free.shape[0] * free.shape[1]
    lay_out_grid(&draft.grids[0], kind, &free[0, 0], free.shape[0], free.shape[1], False)
    lay_out_grid(&draft.grids[1], kind, &free[0, 0], free.shape[0], free.shape[1], True)


cdef bint find_regions(Draft *draft, bint weighed, int threads) except -1:
    # From the mask to the regions, and which of them are to be solved directly; of pixels that are joined by weights,
    # too, a lone one is a region. False where more pixels are unknown than may be.
    cdef Py_ssize_t rows = draft.grids[0].majors, cols = draft.grids[0].minors, count
    cdef double cost
    cdef int status
    with nogil:
        status = list_unknown(draft)
    require(status != -2, "free has too many unknown pixels")
    if status == -1:
        raise MemoryError()
    if status == -3:
        return False
    count = draft.count
    # Four rows of slots, or of columns.
    draft.scratch_size = 4 * max(rows, cols)
    draft.parts = min(max(SCRATCH // draft.scratch_size, 1), PARTS)
    draft.scratch = <int *> reserve(draft.parts * draft.scratch_size, sizeof(int))
    draft.labels = <int *> reserve(count, sizeof(int))
    draft.joined = <unsigned char *> reserve(count, 1)
    with nogil:
        if weighed and draft.grids[0].kind == SECOND:
            join_square(draft)
        else:
            join(draft, weighed or draft.grids[0].kind == SECOND)
        if weighed:
            memset(draft.joined, 1, count)
        draft.region_count = label(draft)
    draft.regions = <Region *> reserve(draft.region_count, sizeof(Region))
    memset(draft.regions, 0, draft.region_count * sizeof(Region))
    draft.grouped = <Place *> reserve(count, sizeof(Place))
    # Written only where an order by columns is tried.
    draft.turned = <Place *> reserve(count, sizeof(Place))
    draft.moved = <int *> reserve(count, sizeof(int))
    with nogil:
        group(draft)
        cost = share_out(draft.regions, draft.region_count, draft.parts, draft.cuts)
        run_parts(classify_part, draft, draft.parts, threads if 10 * cost > LITTLE_WORK else 1)
    return True


cdef int factorise_regions(Draft *draft, int threads) except -1:
    cdef Py_ssize_t k, size = 0, panels = 0
    cdef double cost
    cdef Region *region
    with nogil:
        for k in range(draft.region_count):
            region = &draft.regions[k]
            region.panel = panels
            region.factor = size
            if region.direct:
                panels += (region.count + PANEL - 1) // PANEL
                size += region.size
            else:
                region.cost = 0
    draft.panels = <Panel *> reserve(panels, sizeof(Panel))
    draft.factor = <double *> reserve(size, sizeof(double))
    with nogil:
        cost = share_out(draft.regions, draft.region_count, draft.parts, draft.cuts)
        run_parts(factorise_part, draft, draft.parts, threads if cost > LITTLE_WORK else 1)
    return 0


cdef int hand_over(Draft *draft, Factors factors) except -1:
    # Everything that is kept, in the order of the pixels solved.
    cdef Py_ssize_t k, solved, links, room, lone = 0, lone_left = 0, left = 0, left_regions = 0
    cdef int *slots
    cdef int64_t[::1] pixels, sources, rest, starts
    cdef int64_t[:, ::1] windows
    with nogil:
        for k in range(draft.count):
            lone += not draft.joined[k]
        # Only an image of so few pixels that no difference fits has a pixel without an equation.
        if diagonal_weight(&draft.grids[0], 0, 0) == 0:
            lone, lone_left = 0, lone
        left = left_regions = lone_left
        for k in range(draft.region_count):
            if not draft.regions[k].direct:
                left += draft.regions[k].count
                left_regions += 1
    rest, starts = integers(left), integers(left_regions + 1)
    windows = view.array(shape=(max(left_regions, 1), 4), itemsize=sizeof(int64_t), format="q")
    with nogil:
        list_left(draft, lone_left > 0, &rest[0], &starts[0], <int64_t[4] *> &windows[0, 0])
        solved = place_regions(draft, lone)
    require(solved <= INT_MAX // TAPS, "free has too many unknown pixels")
    pixels = integers(solved)
    factors.equations = <Equation *> reserve(solved, sizeof(Equation))
    # Room for all taps, which is not touched where they are unknown, and one source more.
    room = solved * draft.grids[0].taps + 1
    factors.links = <int *> reserve(room, sizeof(int))
    factors.weights = <signed char *> reserve(room, 1)
    draft.sources = <int64_t *> reserve(room, sizeof(int64_t))
    slots = <int *> calloc(SOURCE_ROWS * draft.grids[0].minors, sizeof(int))
    if slots == NULL:
        raise MemoryError()
    with nogil:
        links = write_equations(
            draft, lone, slots, &pixels[0], factors.equations, factors.links, factors.weights
        )
    release(slots)
    sources = integers(draft.source_count)
    memcpy(&sources[0], draft.sources, draft.source_count * sizeof(int64_t))
    factors.pixels, factors.sources = pixels[:solved], sources[:draft.source_count]
    factors.left, factors.left_starts = rest[:left], starts[:left_regions + 1]
    factors.windows = windows[:left_regions]
    factors.lone_count = lone
    factors.regions, draft.regions = draft.regions, NULL
    factors.panels, draft.panels = draft.panels, NULL
    factors.factor, draft.factor = draft.factor, NULL
    factors.nbytes = (
        links * (sizeof(int) + 1) + solved * sizeof(Equation)
        + (solved + draft.source_count + left + 5 * left_regions) * sizeof(int64_t)
    )
    with nogil:
        factors.region_count = keep_direct(factors.regions, draft.region_count)
        factors.work = links + share_out(factors.regions, factors.region_count, PARTS, factors.cuts)
        # What one image reads stays in a cache; where L takes more, it is read once for all.
        factors.together = CHANNELS if factors.work > 2 * links else 1
        for k in range(factors.region_count):
            factors.nbytes += (
                sizeof(Region) + factors.regions[k].size * sizeof(double)
                + (factors.regions[k].count + PANEL - 1) // PANEL * sizeof(Panel)
            )
    return 0


def factorise(int kind, const unsigned char[:, ::1] free not None, double most, int threads, double densest=1):
    """Return the Factors of the regions of unknown pixels, where free is not 0; kind 0 is FIRST, 1 SECOND.

    None where a greater share of the pixels than `densest` is unknown.

    A region of more than eight pixels is left when the sum of squared widths of its envelope is more than `most` times
    the pixels of its window, its bounding box and the reach of the differences around it.
    """
    cdef Draft draft
    cdef Factors factors
    lay_out(&draft, kind, free, most, densest)
    factors = Factors.__new__(Factors)
    factors.image_size = free.shape[0] * free.shape[1]
    try:
        if not find_regions(&draft, False, threads):
            return None
        factorise_regions(&draft, threads)
        hand_over(&draft, factors)
    finally:
        discard(&draft)
    return factors


include "renewals.pxi"
