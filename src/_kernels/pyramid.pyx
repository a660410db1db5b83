"""Pull-push: fill unknown pixels from averages of known ones on ever coarser grids.

``pull`` makes the next coarser level: each of its pixels is the mean of the known ones among the (at most) 2 x 2 that
it covers, and known if one of them is. ``push`` goes back: where the finer level is unknown it is interpolated
bilinearly, pixel centres at half-integers, the border repeated. Each is one pass; rows are shared out to threads.
"""

from cython.parallel cimport prange

ctypedef fused real:
    float
    double


cdef inline Py_ssize_t pull_row(
    const real[:, ::1] fine, const unsigned char[:, ::1] free, Py_ssize_t i,
    real[:, ::1] coarse_out, unsigned char[:, ::1] free_out,
) noexcept nogil:
    # Return the number of pixels of the coarse row that stay unknown.
    cdef Py_ssize_t rows = fine.shape[0], cols = fine.shape[1], r, c, j, known, unknown = 0
    cdef real total
    for j in range(coarse_out.shape[1]):
        total = 0
        known = 0
        for r in range(2 * i, min(2 * i + 2, rows)):
            for c in range(2 * j, min(2 * j + 2, cols)):
                if not free[r, c]:
                    total = total + fine[r, c]
                    known = known + 1
        coarse_out[i, j] = total / known if known else 0
        free_out[i, j] = known == 0
        unknown = unknown + (known == 0)
    return unknown


cdef inline void push_row(
    const real[:, ::1] coarse, const unsigned char[:, ::1] free, Py_ssize_t i, real[:, ::1] fine_out
) noexcept nogil:
    cdef Py_ssize_t near_row = i // 2, far_row = near_row + (1 if i & 1 else -1), near, far, j
    cdef real above, below
    far_row = max(0, min(far_row, coarse.shape[0] - 1))
    for j in range(fine_out.shape[1]):
        if free[i, j]:
            near = j // 2
            far = max(0, min(near + (1 if j & 1 else -1), coarse.shape[1] - 1))
            above = <real> 0.75 * coarse[near_row, near] + <real> 0.25 * coarse[near_row, far]
            below = <real> 0.75 * coarse[far_row, near] + <real> 0.25 * coarse[far_row, far]
            fine_out[i, j] = <real> 0.75 * above + <real> 0.25 * below


cdef void require_half(
    const real[:, ::1] fine, const unsigned char[:, ::1] free, const real[:, ::1] coarse,
) except *:
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
    cdef Py_ssize_t i, unknown = 0
    require_half(fine, free, coarse_out)
    if free_out.shape[0] != coarse_out.shape[0] or free_out.shape[1] != coarse_out.shape[1]:
        raise ValueError("free_out must have the shape of coarse_out")
    for i in prange(coarse_out.shape[0], nogil=True, num_threads=threads, schedule="static"):
        unknown += pull_row(fine, free, i, coarse_out, free_out)
    return unknown


def push(
    const real[:, ::1] coarse not None,
    const unsigned char[:, ::1] free not None,
    int threads,
    real[:, ::1] fine_out not None,
):
    """Interpolate coarse where free is 1 into fine_out; the other pixels of fine_out are not touched."""
    cdef Py_ssize_t i
    require_half(fine_out, free, coarse)
    for i in prange(fine_out.shape[0], nogil=True, num_threads=threads, schedule="static"):
        push_row(coarse, free, i, fine_out)
