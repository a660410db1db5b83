# Pull-push, row by row: included, not imported, by all that go from one grid to the next coarser one and back.

cdef inline real kept(real value, unsigned char free) noexcept nogil:
    # A choice, not a product: what is unknown may be NaN. The value is read either way; gcc does not vectorise a loop
    # whose loads depend on a condition.
    return 0 if free else value


cdef inline void pull_pixel(
    const real *above, const real *below, const unsigned char *free_above, const unsigned char *free_below,
    Py_ssize_t left, Py_ssize_t right, real *out, unsigned char *free_out,
) noexcept nogil:
    cdef unsigned char unknown = (free_above[left] + free_above[right]) + (free_below[left] + free_below[right])
    cdef real upper = kept(above[left], free_above[left]) + kept(above[right], free_above[right])
    cdef real lower = kept(below[left], free_below[left]) + kept(below[right], free_below[right])
    out[0] = (upper + lower) / <real> (4 - unknown if unknown < 4 else 1)
    free_out[0] = unknown == 4


cdef inline Py_ssize_t pull_row(
    const real *above, const real *below, const unsigned char *free_above, const unsigned char *free_below,
    Py_ssize_t cols, real *out, unsigned char *free_out,
) noexcept nogil:
    # Return the number of pixels of the coarse row that stay unknown.
    cdef Py_ssize_t j, unknown = 0
    for j in range(cols // 2):
        pull_pixel(above, below, free_above, free_below, 2 * j, 2 * j + 1, out + j, free_out + j)
    if cols % 2:
        j = cols // 2
        pull_pixel(above, below, free_above, free_below, cols - 1, cols - 1, out + j, free_out + j)
    for j in range((cols + 1) // 2):
        unknown += free_out[j]
    return unknown


cdef inline void pull_free_row(
    const unsigned char *free_above, const unsigned char *free_below, Py_ssize_t cols, unsigned char *free_out
) noexcept nogil:
    # The mask alone: a pixel is unknown if all that it covers are.
    cdef Py_ssize_t j
    for j in range(cols // 2):
        free_out[j] = free_above[2 * j] & free_above[2 * j + 1] & free_below[2 * j] & free_below[2 * j + 1]
    if cols % 2:
        free_out[cols // 2] = free_above[cols - 1] & free_below[cols - 1]


cdef inline real mix(real near, real far) noexcept nogil:
    return <real> 0.75 * near + <real> 0.25 * far


cdef inline real push_pixel(
    const real *near, const real *far, Py_ssize_t j, Py_ssize_t beside, real value, unsigned char free
) noexcept nogil:
    return mix(mix(near[j], far[j]), mix(near[beside], far[beside])) if free else value


cdef inline void push_row(
    const real *near, const real *far, const unsigned char *free, Py_ssize_t cols, real *out
) noexcept nogil:
    # near and far are the coarse rows closest to this one. Pairs of pixels, but for the outermost.
    cdef Py_ssize_t j, last = (cols - 1) // 2
    out[0] = push_pixel(near, far, 0, 0, out[0], free[0])
    for j in range(last):
        out[2 * j + 1] = push_pixel(near, far, j, j + 1, out[2 * j + 1], free[2 * j + 1])
        out[2 * j + 2] = push_pixel(near, far, j + 1, j, out[2 * j + 2], free[2 * j + 2])
    if cols % 2 == 0:
        out[cols - 1] = push_pixel(near, far, last, last, out[cols - 1], free[cols - 1])


# The same in volumes. A coarse voxel covers two along each axis that is halved; an axis that is not, and the last of an
# odd number, count each voxel twice, which does not change the mean. Rows are those of (plane, row), (plane, next row),
# (next plane, row) and (next plane, next row).

cdef inline void pull_voxel(
    const real *a, const real *b, const real *c, const real *d, const unsigned char *free_a,
    const unsigned char *free_b, const unsigned char *free_c, const unsigned char *free_d,
    Py_ssize_t left, Py_ssize_t right, real *out, unsigned char *free_out,
) noexcept nogil:
    cdef unsigned char unknown = (
        ((free_a[left] + free_a[right]) + (free_b[left] + free_b[right]))
        + ((free_c[left] + free_c[right]) + (free_d[left] + free_d[right]))
    )
    cdef real first = kept(a[left], free_a[left]) + kept(a[right], free_a[right])
    cdef real second = kept(b[left], free_b[left]) + kept(b[right], free_b[right])
    cdef real third = kept(c[left], free_c[left]) + kept(c[right], free_c[right])
    cdef real fourth = kept(d[left], free_d[left]) + kept(d[right], free_d[right])
    out[0] = ((first + second) + (third + fourth)) / <real> (8 - unknown if unknown < 8 else 1)
    free_out[0] = unknown == 8


cdef inline Py_ssize_t pull_rows(
    const real *a, const real *b, const real *c, const real *d, const unsigned char *free_a,
    const unsigned char *free_b, const unsigned char *free_c, const unsigned char *free_d,
    Py_ssize_t cols, Py_ssize_t coarse_cols, real *out, unsigned char *free_out,
) noexcept nogil:
    # Return the number of voxels of the coarse row that stay unknown.
    cdef Py_ssize_t j, unknown = 0
    if coarse_cols == cols:
        for j in range(cols):
            pull_voxel(a, b, c, d, free_a, free_b, free_c, free_d, j, j, out + j, free_out + j)
    else:
        for j in range(cols // 2):
            pull_voxel(a, b, c, d, free_a, free_b, free_c, free_d, 2 * j, 2 * j + 1, out + j, free_out + j)
        for j in range(cols // 2, coarse_cols):
            pull_voxel(a, b, c, d, free_a, free_b, free_c, free_d, cols - 1, cols - 1, out + j, free_out + j)
    for j in range(coarse_cols):
        unknown += free_out[j]
    return unknown


cdef inline real blend(const real *a, const real *b, const real *c, const real *d, Py_ssize_t j) noexcept nogil:
    # Of the rows near or far along the two outer axes.
    return mix(mix(a[j], b[j]), mix(c[j], d[j]))


cdef inline void push_rows(
    const real *a, const real *b, const real *c, const real *d, const unsigned char *free, Py_ssize_t cols,
    Py_ssize_t coarse_cols, real *out,
) noexcept nogil:
    cdef Py_ssize_t j, last = (cols - 1) // 2
    if coarse_cols == cols:
        for j in range(cols):
            out[j] = blend(a, b, c, d, j) if free[j] else out[j]
        return
    out[0] = blend(a, b, c, d, 0) if free[0] else out[0]
    for j in range(last):
        out[2 * j + 1] = mix(blend(a, b, c, d, j), blend(a, b, c, d, j + 1)) if free[2 * j + 1] else out[2 * j + 1]
        out[2 * j + 2] = mix(blend(a, b, c, d, j + 1), blend(a, b, c, d, j)) if free[2 * j + 2] else out[2 * j + 2]
    if cols % 2 == 0:
        out[cols - 1] = blend(a, b, c, d, last) if free[cols - 1] else out[cols - 1]


cdef inline Py_ssize_t far_side(Py_ssize_t i, Py_ssize_t fine, Py_ssize_t coarse) noexcept nogil:
    # Where the second of the coarse rows, or planes, is that number i of the fine ones lies between.
    return i if coarse == fine else max(0, min(i // 2 + (1 if i & 1 else -1), coarse - 1))


cdef inline Py_ssize_t near_side(Py_ssize_t i, Py_ssize_t fine, Py_ssize_t coarse) noexcept nogil:
    return i if coarse == fine else i // 2


cdef inline Py_ssize_t first_covered(Py_ssize_t i, Py_ssize_t fine, Py_ssize_t coarse) noexcept nogil:
    # The fine rows, or planes, that number i of the coarse ones covers, the same twice where it is but one.
    return i if coarse == fine else 2 * i


cdef inline Py_ssize_t last_covered(Py_ssize_t i, Py_ssize_t fine, Py_ssize_t coarse) noexcept nogil:
    return i if coarse == fine else min(2 * i + 1, fine - 1)
