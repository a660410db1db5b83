"""The functions of graddesc.problems, compiled: pairs of capsules for scipy.LowLevelCallable.

One pair of C functions serves all but the quadratic: the user data say which function it is. Each is written once, with
its gradient g computed along the way unless g is NULL.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport atan2, cos, exp, hypot, sin

cdef extern from "portable.h":
    const double PI "GRADDESC_PI"

ctypedef double (*evaluate_t)(int n, const double *x, double *g) noexcept nogil


cdef inline void clear(int n, double *g) noexcept nogil:
    cdef Py_ssize_t i
    if g != NULL:
        for i in range(n):
            g[i] = 0.0


cdef inline double add2(double r, double a, double b, double *g) noexcept nogil:
    """Square a residual with derivatives a, b and add its gradient."""
    if g != NULL:
        g[0] += 2.0 * r * a
        g[1] += 2.0 * r * b
    return r * r


cdef inline double add3(double r, double a, double b, double c, double *g) noexcept nogil:
    if g != NULL:
        g[2] += 2.0 * r * c
    return add2(r, a, b, g)


cdef inline double add4(double r, double a, double b, double c, double d, double *g) noexcept nogil:
    if g != NULL:
        g[3] += 2.0 * r * d
    return add3(r, a, b, c, g)


cdef double rosenbrock(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, valley, slope
    cdef Py_ssize_t i
    clear(n, g)
    for i in range(n - 1):
        valley = x[i + 1] - x[i] * x[i]
        slope = 1.0 - x[i]
        f += 100.0 * valley * valley + slope * slope
        if g != NULL:
            g[i] += -400.0 * x[i] * valley - 2.0 * slope
            g[i + 1] += 200.0 * valley
    return f


cdef double extended_rosenbrock(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0
    cdef Py_ssize_t i
    for i in range(0, n - 1, 2):
        f += rosenbrock(2, x + i, g + i if g != NULL else NULL)
    return f


cdef double beale(int n, const double *x, double *g) noexcept nogil:
    cdef double y = x[1], y2 = y * y, y3 = y2 * y
    clear(2, g)
    return (
        add2(1.5 - x[0] * (1.0 - y), y - 1.0, x[0], g)
        + add2(2.25 - x[0] * (1.0 - y2), y2 - 1.0, 2.0 * x[0] * y, g)
        + add2(2.625 - x[0] * (1.0 - y3), y3 - 1.0, 3.0 * x[0] * y2, g)
    )


cdef double booth(int n, const double *x, double *g) noexcept nogil:
    clear(2, g)
    return add2(x[0] + 2.0 * x[1] - 7.0, 1.0, 2.0, g) + add2(2.0 * x[0] + x[1] - 5.0, 2.0, 1.0, g)


cdef double himmelblau(int n, const double *x, double *g) noexcept nogil:
    clear(2, g)
    return (
        add2(x[0] * x[0] + x[1] - 11.0, 2.0 * x[0], 1.0, g) + add2(x[0] + x[1] * x[1] - 7.0, 1.0, 2.0 * x[1], g)
    )


cdef double three_hump_camel(int n, const double *x, double *g) noexcept nogil:
    cdef double square = x[0] * x[0]
    if g != NULL:
        g[0] = x[0] * (4.0 + square * (square - 4.2)) + x[1]
        g[1] = x[0] + 2.0 * x[1]
    return square * (2.0 + square * (square / 6.0 - 1.05)) + x[1] * (x[0] + x[1])


cdef double styblinski_tang(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, square
    cdef Py_ssize_t i
    for i in range(n):
        square = x[i] * x[i]
        f += 0.5 * (square * square - 16.0 * square + 5.0 * x[i])
        if g != NULL:
            g[i] = 2.0 * square * x[i] - 16.0 * x[i] + 2.5
    return f


cdef double dixon_price(int n, const double *x, double *g) noexcept nogil:
    cdef double f = (x[0] - 1.0) * (x[0] - 1.0), link
    cdef Py_ssize_t i
    clear(n, g)
    if g != NULL:
        g[0] = 2.0 * (x[0] - 1.0)
    for i in range(1, n):
        link = 2.0 * x[i] * x[i] - x[i - 1]
        f += (i + 1) * link * link
        if g != NULL:
            g[i] += 8.0 * (i + 1) * link * x[i]
            g[i - 1] -= 2.0 * (i + 1) * link
    return f


cdef double freudenstein_roth(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, y
    cdef Py_ssize_t i
    clear(n, g)
    for i in range(0, n - 1, 2):
        y = x[i + 1]
        f += add2(
            -13.0 + x[i] + ((5.0 - y) * y - 2.0) * y, 1.0, (10.0 - 3.0 * y) * y - 2.0, g + i if g != NULL else NULL
        )
        f += add2(
            -29.0 + x[i] + ((y + 1.0) * y - 14.0) * y, 1.0, (3.0 * y + 2.0) * y - 14.0, g + i if g != NULL else NULL
        )
    return f


cdef double brown_badly_scaled(int n, const double *x, double *g) noexcept nogil:
    clear(2, g)
    return (
        add2(x[0] - 1e6, 1.0, 0.0, g) + add2(x[1] - 2e-6, 0.0, 1.0, g) + add2(x[0] * x[1] - 2.0, x[1], x[0], g)
    )


cdef double powell_badly_scaled(int n, const double *x, double *g) noexcept nogil:
    cdef double a = exp(-x[0]), b = exp(-x[1])
    clear(2, g)
    return add2(1e4 * x[0] * x[1] - 1.0, 1e4 * x[1], 1e4 * x[0], g) + add2(a + b - 1.0001, -a, -b, g)


cdef double powell_singular(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, a, b, c, d
    cdef Py_ssize_t i
    for i in range(0, n - 3, 4):
        a, b = x[i] + 10.0 * x[i + 1], x[i + 2] - x[i + 3]
        c, d = x[i + 1] - 2.0 * x[i + 2], x[i] - x[i + 3]
        f += a * a + 5.0 * b * b + c * c * c * c + 10.0 * d * d * d * d
        if g != NULL:
            g[i] = 2.0 * a + 40.0 * d * d * d
            g[i + 1] = 20.0 * a + 4.0 * c * c * c
            g[i + 2] = 10.0 * b - 8.0 * c * c * c
            g[i + 3] = -10.0 * b - 40.0 * d * d * d
    return f


cdef double wood(int n, const double *x, double *g) noexcept nogil:
    cdef double u = x[1] - x[0] * x[0], v = x[3] - x[2] * x[2], w = x[1] + x[3] - 2.0, z = x[1] - x[3]
    cdef double a = 1.0 - x[0], c = 1.0 - x[2]
    if g != NULL:
        g[0] = -400.0 * u * x[0] - 2.0 * a
        g[1] = 200.0 * u + 20.0 * w + 0.2 * z
        g[2] = -360.0 * v * x[2] - 2.0 * c
        g[3] = 180.0 * v + 20.0 * w - 0.2 * z
    return 100.0 * u * u + a * a + 90.0 * v * v + c * c + 10.0 * w * w + 0.1 * z * z


cdef double helical_valley(int n, const double *x, double *g) noexcept nogil:
    cdef double theta = atan2(x[1], x[0]) / (2.0 * PI), r = hypot(x[0], x[1]), turn = 100.0 / (2.0 * PI * r * r)
    if theta < -0.25:
        theta += 1.0
    clear(3, g)
    return (
        add3(10.0 * (x[2] - 10.0 * theta), turn * x[1], -turn * x[0], 10.0, g)
        + add3(10.0 * (r - 1.0), 10.0 * x[0] / r, 10.0 * x[1] / r, 0.0, g)
        + add3(x[2], 0.0, 0.0, 1.0, g)
    )


cdef double jennrich_sampson(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, a, b
    cdef int i
    clear(2, g)
    for i in range(1, 11):
        a, b = exp(i * x[0]), exp(i * x[1])
        f += add2(2.0 + 2.0 * i - a - b, -i * a, -i * b, g)
    return f


cdef double *GAUSSIAN_Y = [9e-4, 44e-4, 175e-4, 0.054, 0.1295, 0.242, 0.3521, 0.3989]


cdef double gaussian(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, away, bell, height
    cdef int i
    clear(3, g)
    for i in range(15):
        away = 0.5 * (7 - i) - x[2]
        bell = exp(-0.5 * x[1] * away * away)
        height = x[0] * bell
        f += add3(height - GAUSSIAN_Y[min(i, 14 - i)], bell, -0.5 * away * away * height, x[1] * away * height, g)
    return f


cdef double box_3d(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, t, a, b, c
    cdef int i
    clear(3, g)
    for i in range(1, 11):
        t = i / 10.0
        a, b, c = exp(-t * x[0]), exp(-t * x[1]), exp(-10.0 * t) - exp(-t)
        f += add3(a - b + x[2] * c, -t * a, t * b, c, g)
    return f


cdef double *KOWALIK_U = [4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]
cdef double *KOWALIK_Y = [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]


cdef double kowalik_osborne(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, u, top, bottom, pull
    cdef int i
    clear(4, g)
    for i in range(11):
        u = KOWALIK_U[i]
        top, bottom = u * u + u * x[1], u * u + u * x[2] + x[3]
        pull = x[0] * top / (bottom * bottom)
        f += add4(KOWALIK_Y[i] - x[0] * top / bottom, -top / bottom, -x[0] * u / bottom, pull * u, pull, g)
    return f


cdef double brown_dennis(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, t, a, b
    cdef int i
    clear(4, g)
    for i in range(1, 21):
        t = i / 5.0
        a, b = x[0] + t * x[1] - exp(t), x[2] + sin(t) * x[3] - cos(t)
        f += add4(a * a + b * b, 2.0 * a, 2.0 * t * a, 2.0 * b, 2.0 * sin(t) * b, g)
    return f


cdef double penalty_i(int n, const double *x, double *g) noexcept nogil:
    cdef double away = 0.0, square = -0.25
    cdef Py_ssize_t i
    for i in range(n):
        away += (x[i] - 1.0) * (x[i] - 1.0)
        square += x[i] * x[i]
    if g != NULL:
        for i in range(n):
            g[i] = 2e-5 * (x[i] - 1.0) + 4.0 * square * x[i]
    return 1e-5 * away + square * square


cdef double variably_dimensioned(int n, const double *x, double *g) noexcept nogil:
    cdef double away = 0.0, t = 0.0
    cdef Py_ssize_t i
    for i in range(n):
        away += (x[i] - 1.0) * (x[i] - 1.0)
        t += (i + 1) * (x[i] - 1.0)
    if g != NULL:
        for i in range(n):
            g[i] = 2.0 * (x[i] - 1.0) + (2.0 * t + 4.0 * t * t * t) * (i + 1)
    return away + t * t + t * t * t * t


cdef double trigonometric(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, rest = n, total = 0.0, r
    cdef Py_ssize_t i
    for i in range(n):
        rest -= cos(x[i])
    for i in range(n):
        r = rest + (i + 1) * (1.0 - cos(x[i])) - sin(x[i])
        f += r * r
        total += r
        if g != NULL:
            g[i] = 2.0 * r * ((i + 1) * sin(x[i]) - cos(x[i]))
    if g != NULL:
        for i in range(n):
            g[i] += 2.0 * total * sin(x[i])
    return f


cdef double broyden_tridiagonal(int n, const double *x, double *g) noexcept nogil:
    cdef double f = 0.0, r
    cdef Py_ssize_t i
    clear(n, g)
    for i in range(n):
        r = (3.0 - 2.0 * x[i]) * x[i] + 1.0
        if i > 0:
            r -= x[i - 1]
        if i < n - 1:
            r -= 2.0 * x[i + 1]
        f += r * r
        if g != NULL:
            g[i] += 2.0 * r * (3.0 - 4.0 * x[i])
            if i > 0:
                g[i - 1] -= 2.0 * r
            if i < n - 1:
                g[i + 1] -= 4.0 * r
    return f


cdef double listed_value(int n, double *x, void *data) noexcept nogil:
    return (<evaluate_t>data)(n, x, NULL)


cdef void listed_gradient(int n, double *x, double *gradient, void *data) noexcept nogil:
    (<evaluate_t>data)(n, x, gradient)


cdef double quadratic_value(int n, double *x, void *data) noexcept nogil:
    """data: c, then b, then the rows of A."""
    cdef const double *b = <const double *>data + 1
    cdef const double *A = b + n
    cdef double f = 0.0, row
    cdef Py_ssize_t i, j
    for i in range(n):
        row = 0.0
        for j in range(n):
            row += A[i * n + j] * x[j]
        f += (0.5 * row + b[i]) * x[i]
    return f + (<const double *>data)[0]


cdef void quadratic_gradient(int n, double *x, double *gradient, void *data) noexcept nogil:
    cdef const double *b = <const double *>data + 1
    cdef const double *A = b + n
    cdef double row
    cdef Py_ssize_t i, j
    for i in range(n):
        row = 0.0
        for j in range(n):
            row += A[i * n + j] * x[j]
        gradient[i] = row + b[i]


cdef const char *VALUE = "double (int, double *, void *)"
cdef const char *GRADIENT = "void (int, double *, double *, void *)"

# The functions by the names of their classes in graddesc.problems, as addresses: Python keeps no C function.
_FUNCTIONS = {
    "Rosenbrock": <size_t>rosenbrock,
    "ExtendedRosenbrock": <size_t>extended_rosenbrock,
    "Beale": <size_t>beale,
    "Booth": <size_t>booth,
    "Himmelblau": <size_t>himmelblau,
    "ThreeHumpCamel": <size_t>three_hump_camel,
    "StyblinskiTang": <size_t>styblinski_tang,
    "DixonPrice": <size_t>dixon_price,
    "FreudensteinRoth": <size_t>freudenstein_roth,
    "BrownBadlyScaled": <size_t>brown_badly_scaled,
    "PowellBadlyScaled": <size_t>powell_badly_scaled,
    "PowellSingular": <size_t>powell_singular,
    "Wood": <size_t>wood,
    "HelicalValley": <size_t>helical_valley,
    "JennrichSampson": <size_t>jennrich_sampson,
    "Gaussian": <size_t>gaussian,
    "Box3D": <size_t>box_3d,
    "KowalikOsborne": <size_t>kowalik_osborne,
    "BrownDennis": <size_t>brown_dennis,
    "PenaltyI": <size_t>penalty_i,
    "VariablyDimensioned": <size_t>variably_dimensioned,
    "Trigonometric": <size_t>trigonometric,
    "BroydenTridiagonal": <size_t>broyden_tridiagonal,
}


def listed(name):
    """Return the capsules of value, gradient and user data of a problem."""
    return (
        PyCapsule_New(<void *>listed_value, VALUE, NULL),
        PyCapsule_New(<void *>listed_gradient, GRADIENT, NULL),
        PyCapsule_New(<void *><size_t>_FUNCTIONS[name], NULL, NULL),
    )


def quadratic():
    """Return the capsules of value and gradient; the user data are c, b and the rows of A in one array of double."""
    return (
        PyCapsule_New(<void *>quadratic_value, VALUE, NULL),
        PyCapsule_New(<void *>quadratic_gradient, GRADIENT, NULL),
    )
