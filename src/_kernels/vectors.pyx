"""Sums over long vectors for graddesc.cython_descent, at each instruction set; their lengths are multiples of eight."""

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "lanes.h" nogil:
    double dot "graddesc_dot"(Py_ssize_t n, const double *a, const double *b) noexcept
    double dot_difference "graddesc_dot_difference"(
        Py_ssize_t n, const double *g, const double *a, const double *b
    ) noexcept
    double largest "graddesc_largest"(Py_ssize_t n, const double *a) noexcept
    double add_and_dot "graddesc_add_and_dot"(
        Py_ssize_t n, double *d, double c, const double *a, const double *b
    ) noexcept

include "vectors.pxi"
include "two_loops.pxi"


cdef double long_dot(Py_ssize_t n, const double *a, const double *b) noexcept nogil:
    return dot(n, a, b)


cdef double long_dot_difference(Py_ssize_t n, const double *g, const double *a, const double *b) noexcept nogil:
    return dot_difference(n, g, a, b)


cdef double long_largest(Py_ssize_t n, const double *a) noexcept nogil:
    return largest(n, a)


cdef void long_two_loops(const pairs_t *pairs, Py_ssize_t n, const double *g, double *d) noexcept nogil:
    two_loops(pairs, n, g, d)


cdef vectors_t functions
functions.dot, functions.dot_difference = long_dot, long_dot_difference
functions.largest, functions.two_loops = long_largest, long_two_loops


def table():
    """A capsule of the functions."""
    return PyCapsule_New(&functions, "graddesc vectors", NULL)
