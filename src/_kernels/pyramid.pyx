"""Pull-push: fill unknown pixels from averages of known ones on ever coarser grids.

``pull`` makes the next coarser level: each of its pixels is the mean of the known ones among the (at most) 2 x 2 that
it covers, and known if one of them is. ``push`` goes back: where the finer level is unknown it is interpolated
bilinearly, pixel centres at half-integers, the border repeated. Each is one pass; rows are shared out to threads.
"""

from cython.parallel cimport prange

ctypedef fused real:
    float
    double


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


cdef void require_half(
    const real[:, ::1] fine, const unsigned char[:, ::1] free, const real[:, ::1] coarse,
) except *:
    if fine.shape[0] == 0 or fine.shape[1] == 0:
        raise ValueError("the fine level must not be empty")
    if fine.shape[0] != free.shape[0] or fine.shape[1] != free.shape[1]:
        raise ValueError("free must have the shape of the fine level")
    if coarse.shape[0] != (fine.shape[0] + 1) // 2 or coarse.shape[1] != (fine.shape[1] + 1) // 2:
        raise ValueError("the coarse level must have half the rows and columns of the fine one, rounded up")


def pull(
    const real[:, ::1] fine not None,
    const unsigned char[:, ::1] free not None,
    int threads,
    real[:, ::1] coarse_out not None,
    unsigned char[:, ::1] free_out not None,
):
    """Average the known pixels of fine (where free is 0) into coarse_out and free_out; return how many stay unknown."""
    cdef Py_ssize_t i, below, unknown = 0
    require_half(fine, free, coarse_out)
    if free_out.shape[0] != coarse_out.shape[0] or free_out.shape[1] != coarse_out.shape[1]:
        raise ValueError("free_out must have the shape of coarse_out")
    for i in prange(coarse_out.shape[0], nogil=True, num_threads=threads, schedule="static"):
        # Where a row (or a column) has no other beside it, it is taken twice, which does not change the mean.
        below = min(2 * i + 1, fine.shape[0] - 1)
        unknown += pull_row(
            &fine[2 * i, 0], &fine[below, 0], &free[2 * i, 0], &free[below, 0], fine.shape[1],
            &coarse_out[i, 0], &free_out[i, 0],
        )
    return unknown


def push(
    const real[:, ::1] coarse not None,
    const unsigned char[:, ::1] free not None,
    int threads,
    real[:, ::1] fine_out not None,
):
    """Interpolate coarse where free is 1 into fine_out; the other pixels of fine_out are not touched."""
    cdef Py_ssize_t i, far
    require_half(fine_out, free, coarse)
    for i in prange(fine_out.shape[0], nogil=True, num_threads=threads, schedule="static"):
        far = max(0, min(i // 2 + (1 if i & 1 else -1), coarse.shape[0] - 1))
        push_row(&coarse[i // 2, 0], &coarse[far, 0], &free[i, 0], fine_out.shape[1], &fine_out[i, 0])
