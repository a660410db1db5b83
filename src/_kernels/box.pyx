"""Points of Python's loop in graddesc.descent: how large a gradient is and how far a step goes, between bounds or not.

Here the calls count, not the loops: vectors may be short, and each of these takes the place of three to eight calls of
NumPy, 0.4 microseconds each. Arrays are borrowed as plain buffers, which costs a fifth of a memoryview. Sums run from
the first to the last component on every machine.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport INFINITY, fabs
from libc.string cimport memset


cdef double *borrow(object array, Py_buffer *view, Py_ssize_t n, int flags) except NULL:
    """The components of a vector of n doubles, or of any number if n is negative."""
    PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags)
    if view.ndim != 1 or view.format[0] != b"d" or (n >= 0 and view.shape[0] != n):
        raise ValueError("arrays must be vectors of double, as long as the bounds")
    return <double *>view.buf


cdef void give_back(Py_buffer *views, int count):
    """Release what has been borrowed, also where not all was."""
    cdef int i
    for i in range(count):
        PyBuffer_Release(&views[i])


cdef inline double larger(double most, double v) noexcept nogil:
    """The larger of a magnitude so far and the next component's; infinity if that is not a number."""
    return most if fabs(v) <= most else fabs(v) if v == v else INFINITY


def largest(g):
    """The largest component of a gradient; infinity if one is not a number."""
    cdef Py_buffer view
    cdef double *g_
    cdef double most = 0.0
    cdef Py_ssize_t i
    memset(&view, 0, sizeof(view))
    try:
        g_ = borrow(g, &view, -1, 0)
        with nogil:
            for i in range(view.shape[0]):
                most = larger(most, g_[i])
    finally:
        give_back(&view, 1)
    return most


cdef class Box:
    """Bounds on each variable, kept."""

    cdef const double[::1] low
    cdef const double[::1] high

    def __init__(self, const double[::1] low not None, const double[::1] high not None):
        if low.shape[0] != high.shape[0]:
            raise ValueError("low and high must have the same length")
        self.low = low
        self.high = high

    def largest(self, x, g, double limit):
        """The largest component of x - clip(x - g), without its cancellation; infinity unless g is below limit."""
        cdef Py_buffer views[2]
        cdef double *x_
        cdef double *g_
        cdef double most = 0.0, all_of_it = 0.0, v
        cdef Py_ssize_t n = self.low.shape[0], i
        memset(views, 0, sizeof(views))
        try:
            x_ = borrow(x, &views[0], n, 0)
            g_ = borrow(g, &views[1], n, 0)
            with nogil:
                for i in range(n):
                    v = g_[i]
                    all_of_it = larger(all_of_it, v)
                    v = x_[i] - self.high[i] if v < x_[i] - self.high[i] else v
                    v = x_[i] - self.low[i] if v > x_[i] - self.low[i] else v
                    most = larger(most, v)
        finally:
            give_back(views, 2)
        return most if all_of_it < limit else INFINITY

    def step(self, x, double alpha, d, g, out):
        """Write x + alpha d, moved into the box, to out; return g.(out - x)."""
        cdef Py_buffer views[4]
        cdef double *x_
        cdef double *d_
        cdef double *g_
        cdef double *out_
        cdef double change = 0.0, v
        cdef Py_ssize_t n = self.low.shape[0], i
        memset(views, 0, sizeof(views))
        try:
            x_ = borrow(x, &views[0], n, 0)
            d_ = borrow(d, &views[1], n, 0)
            g_ = borrow(g, &views[2], n, 0)
            out_ = borrow(out, &views[3], n, PyBUF_WRITABLE)
            with nogil:
                for i in range(n):
                    v = x_[i] + alpha * d_[i]
                    v = self.low[i] if v < self.low[i] else self.high[i] if v > self.high[i] else v
                    change += g_[i] * (v - x_[i])
                    out_[i] = v
        finally:
            give_back(views, 4)
        return change

    def admit(self, x, d, out):
        """Write d without the components that point out of the box at x to out, which may be d."""
        cdef Py_buffer views[3]
        cdef double *x_
        cdef double *d_
        cdef double *out_
        cdef bint held
        cdef Py_ssize_t n = self.low.shape[0], i
        memset(views, 0, sizeof(views))
        try:
            x_ = borrow(x, &views[0], n, 0)
            d_ = borrow(d, &views[1], n, 0)
            out_ = borrow(out, &views[2], n, PyBUF_WRITABLE)
            with nogil:
                for i in range(n):
                    held = (d_[i] < 0.0 and x_[i] <= self.low[i]) or (d_[i] > 0.0 and x_[i] >= self.high[i])
                    out_[i] = 0.0 if held else d_[i]
        finally:
            give_back(views, 3)
