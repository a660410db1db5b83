# What the families that go through an image row by row share, each compiled for its own level: included, not imported.

ctypedef fused real:
    float
    double

cdef enum:
    BLOCK = 64  # rows summed in the image's dtype
    PAD = 16  # room beside a row for what lies to its left and right, a cache line of float
    PIXELS_OF_A_PART = 1 << 15  # 5 to 60 microseconds: many times what it costs to take a part


cdef inline real clip(real value, real low, real high) noexcept nogil:
    value = low if value < low else value
    return high if value > high else value


cdef inline void clear(real *sums, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        sums[j] = 0


cdef inline double flush_total(real *sums, Py_ssize_t width) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t j
    for j in range(width):
        total += sums[j]
        sums[j] = 0
    return total


cdef int require(bint holds, str what) except -1:
    if not holds:
        raise ValueError(what)
    return 0


cdef inline Py_ssize_t rows_of_a_part(Py_ssize_t cols) noexcept nogil:
    return max(1, PIXELS_OF_A_PART // max(1, cols))


cdef inline void load_extrapolated(
    const real *x, const real *previous, real momentum, Py_ssize_t first, Py_ssize_t last, real *out
) noexcept nogil:
    # The point from which a step is taken: beyond x, as x lies beyond the iterate before.
    cdef Py_ssize_t j
    for j in range(first, last):
        out[j] = x[j] + momentum * (x[j] - previous[j])


cdef inline Py_ssize_t reflect(Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    # Symmetric about the outer border of the first and the last element, however far outside.
    i = i % (2 * n)
    if i < 0:
        i += 2 * n
    return i if i < n else 2 * n - 1 - i
