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
