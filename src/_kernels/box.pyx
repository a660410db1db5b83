"""Points of Python's loop in graddesc.descent: how large a gradient is and how far a step goes, between bounds or not.

Here the calls count, not the loops: vectors may be short, and each of these takes the place of three to eight calls of
NumPy, 0.4 microseconds each. Arrays are borrowed as plain buffers, which costs a fifth of a memoryview. Sums run from
the first to the last component on every machine.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport INFINITY, fabs
from libc.string cimport memset

include "buffers.pxi"


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


cdef inline bint read_side(side, double open_end, double *out):
    """Write one side of a bound; return whether it is None or a float, or a plain integer."""
    if side is None:
        out[0] = open_end
    elif isinstance(side, float) or type(side) is int:
        out[0] = side
    else:
        return False
    return True


def read_pairs(list pairs not None, low_out, high_out):
    """Write pairs (low, high) of numbers or None; return False if something in them wants a closer look."""
    cdef Py_buffer views[2]
    cdef double *low
    cdef double *high
    cdef Py_ssize_t n = len(pairs), i
    memset(views, 0, sizeof(views))
    try:
        low = borrow(low_out, &views[0], n, PyBUF_WRITABLE)
        high = borrow(high_out, &views[1], n, PyBUF_WRITABLE)
        for i in range(n):
            pair = pairs[i]
            if not (type(pair) is tuple or type(pair) is list) or len(pair) != 2:
                return False
            if not (read_side(pair[0], -INFINITY, low + i) and read_side(pair[1], INFINITY, high + i)):
                return False
    except OverflowError:
        return False
    finally:
        give_back(views, 2)
    return True


def clip(x, low, high, out):
    """Write x, moved between bounds, to out; return whether all bounds leave a number between them."""
    cdef Py_buffer views[4]
    cdef double *x_
    cdef double *low_
    cdef double *high_
    cdef double *out_
    cdef double v
    cdef bint sound = True
    cdef Py_ssize_t n, i
    memset(views, 0, sizeof(views))
    try:
        x_ = borrow(x, &views[0], -1, 0)
        n = views[0].shape[0]
        low_ = borrow(low, &views[1], n, 0)
        high_ = borrow(high, &views[2], n, 0)
        out_ = borrow(out, &views[3], n, PyBUF_WRITABLE)
        with nogil:
            for i in range(n):
                v = low_[i] if x_[i] < low_[i] else x_[i]
                out_[i] = high_[i] if v > high_[i] else v
                sound = sound and low_[i] <= high_[i] and low_[i] < INFINITY and high_[i] > -INFINITY
    finally:
        give_back(views, 4)
    return sound


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
