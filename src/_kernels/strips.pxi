# What the families that sweep over strips of columns share, each compiled for its own level: included, not imported.

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

include "rows.pxi"

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
