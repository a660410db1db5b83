"""The loop of graddesc.descent for compiled functions: same rules, same order of operations, no Python inside.

Installed as graddesc.cython_descent, beside its public .pxd. A trial is only its step and its value, as the point can
be made again to the last bit; the gradient at the last trial is kept. Nothing is checked here except what would crash.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport INFINITY, NAN, fabs, fmax, fmin, isfinite, isnan, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #include <time.h>
    static double graddesc_clock(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    static void graddesc_nap(void) {
        struct timespec pause = {0, 200000};
        nanosleep(&pause, NULL);
    }
    """
    double clock "graddesc_clock"() noexcept nogil
    void nap "graddesc_nap"() noexcept nogil

include "threads.pxi"

cdef enum:
    CONVERGED = 0
    ITERATIONS = 1
    PRECISION = 2
    NOT_FINITE = 3
    TIME = 5
    TARGET = 6
    # Not seen by callers: a signal has come, or the gradient at the start is not finite.
    INTERRUPTED = 100
    BAD_START = 101
    FOUND = 0

# The numbers of graddesc.descent and graddesc.line_search.
cdef double ROUNDING = 8 * 2.220446049250313e-16
cdef double HUGE = 1e145
cdef double LONGEST_MOVE = 1e150
cdef double RETREAT = 0.1
cdef int PATIENCE = 100
cdef double GOLDEN_RATIO = 1.618034
cdef double GOLDEN_SECTION = 0.3819660
# Trials by slopes before values must do, and the share of the first slope from which on rounding may keep it up.
cdef int SLOPES = 12
cdef double NEARLY = 1e-3
# The share of the first slope from which on a trial is far away from the root.
cdef double STEEP = 10.0
cdef double SIGNAL_INTERVAL = 0.05
cdef int LONGEST_STRIDE = 16
cdef double FAST = 1e-4


ctypedef struct control_t:
    Py_ssize_t *stop  # not 0 when a signal has come; shared by the threads
    bint main         # whether this thread looks for signals
    int stride        # iterations from one look at the clock to the next: it costs as much as a small iteration
    int countdown
    double next_look
    double last_look
    void *errors      # a list, for what a signal handler raises


ctypedef struct run_t:
    value_t value
    gradient_t gradient
    void *data
    int n
    const settings_t *settings
    long long nfev
    long long njev
    long long nit
    # Points and directions; gradients at x and at the last trial looked at.
    double *x
    double *g
    double *d
    double *trial
    double *g_trial
    double *best
    double *s
    double *y
    double f
    double f_best
    double slope
    double scale
    # Where the best point is, unless it is in best.
    double alpha_best
    bint best_on_ray
    # The step that g_trial belongs to, and the largest component there.
    double alpha_g
    double scale_g
    # Exact search by slopes: the iteration from which on it is tried, and how many were skipped after it last failed.
    long long resume
    long long skipped
    # The last iteration, if it counts.
    bint has_last
    double last_step
    double last_slope
    double last_f
    # Barzilai-Borwein: recent values, a ring.
    double *recent
    int n_recent
    # L-BFGS: pairs s, y and 1 / s.y, a ring of one more than are remembered, which s and y above are written to; the
    # slot that is next, and s.y / y.y of the last pair. Adam: the two means.
    double *pairs_s
    double *pairs_y
    double *reciprocals
    double *shares
    int n_pairs
    int next_pair
    double last_share
    double t
    long long turns


cdef inline double dot(int n, const double *a, const double *b) noexcept nogil:
    cdef double total = a[0] * b[0]
    cdef Py_ssize_t i
    for i in range(1, n):
        total += a[i] * b[i]
    return total


cdef inline void fill(int n, double *a, double value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        a[i] = value


cdef inline double largest(int n, const double *a) noexcept nogil:
    """The largest component; infinity if one is not a number."""
    cdef double most = 0.0
    cdef Py_ssize_t i
    for i in range(n):
        if not fabs(a[i]) <= most:
            most = fabs(a[i])
            if isnan(most):
                return INFINITY
    return most


cdef double at(run_t *r, double alpha) noexcept nogil:
    """Evaluate the function one step along the ray; infinity where it is not finite."""
    cdef double f
    cdef Py_ssize_t i
    for i in range(r.n):
        r.trial[i] = r.x[i] + alpha * r.d[i]
    r.nfev += 1
    f = r.value(r.n, r.trial, r.data)
    if not isfinite(f):
        return INFINITY
    if f < r.f_best:
        r.f_best = f
        r.alpha_best = alpha
        r.best_on_ray = True
    return f


cdef inline void keep_best(run_t *r) noexcept nogil:
    """Write the best point down before the ray that it lies on goes; x itself, at 0, stays."""
    cdef Py_ssize_t i
    if r.best_on_ray and r.alpha_best != 0.0:
        for i in range(r.n):
            r.best[i] = r.x[i] + r.alpha_best * r.d[i]
        r.best_on_ray = False


cdef double slope_at(run_t *r, double alpha) noexcept nogil:
    """The slope at the trial just evaluated; infinity where it is not finite."""
    if r.alpha_g != alpha:
        r.njev += 1
        r.gradient(r.n, r.trial, r.g_trial, r.data)
        r.alpha_g = alpha
        r.scale_g = largest(r.n, r.g_trial)
    return dot(r.n, r.g_trial, r.d) if r.scale_g < HUGE else INFINITY


cdef bint moves(run_t *r, double alpha) noexcept nogil:
    """Whether a trial differs from the start of the ray."""
    cdef Py_ssize_t i
    for i in range(r.n):
        if r.x[i] + alpha * r.d[i] != r.x[i]:
            return True
    return False


cdef double longest(run_t *r) noexcept nogil:
    return LONGEST_MOVE / fmax(largest(r.n, r.d), 1e-150)


cdef double first_trial(run_t *r) noexcept nogil:
    cdef double same_slope, same_change
    if r.settings.direction == LBFGS:
        return 1.0
    if not r.has_last:
        return 1.0 / sqrt(dot(r.n, r.d, r.d))
    same_slope = r.last_step * r.last_slope / r.slope
    same_change = 2.0 * (r.f - r.last_f) / r.slope
    return fmin(fmax(same_change, 0.1 * same_slope), 10.0 * same_slope)


# Searches: each finds a step and the value there, and returns FOUND or the status that ends the run.


cdef int finite_trial(run_t *r, double *alpha, double *f) noexcept nogil:
    f[0] = at(r, alpha[0])
    while f[0] == INFINITY:
        if not moves(r, alpha[0]):
            return NOT_FINITE
        alpha[0] *= RETREAT
        f[0] = at(r, alpha[0])
    return FOUND


cdef inline bint blurred(run_t *r, double alpha, double f, double reference) noexcept nogil:
    """Whether a trial promises no more than the rounding of the value, nor differs from the reference by more."""
    cdef double linear = alpha * r.slope, rounding = ROUNDING * fabs(r.f)
    return -rounding <= linear < 0.0 and fabs(f - reference) <= rounding


cdef bint lowers(run_t *r, double alpha, double *f, double reference, double sufficient) noexcept nogil:
    """Armijo's test of the trial just evaluated, against a reference; the approximate one where that is blurred."""
    cdef double linear = alpha * r.slope, slope
    if blurred(r, alpha, f[0], reference):
        slope = slope_at(r, alpha)
        if slope == INFINITY:
            f[0] = INFINITY
        return slope <= (2.0 * sufficient - 1.0) * r.slope
    return linear < 0.0 and f[0] <= reference + sufficient * linear


cdef int backtrack(
    run_t *r, double *alpha, double *f, double reference, double sufficient, double factor, bint parabolic
) noexcept nogil:
    """Shorten until the function is lowered; the next step is factor times the last, or by a parabola."""
    cdef double linear, curvature, share
    while True:
        f[0] = at(r, alpha[0])
        if lowers(r, alpha[0], f, reference, sufficient):
            return FOUND
        if not moves(r, alpha[0]):
            return PRECISION
        if f[0] == INFINITY:
            alpha[0] *= RETREAT
        elif parabolic:
            linear = alpha[0] * r.slope
            curvature = f[0] - r.f - linear
            share = -0.5 * linear / curvature if curvature > 0.0 else 0.5
            alpha[0] *= fmin(fmax(share, 0.1), 0.5)
        else:
            alpha[0] *= factor


cdef int exact(run_t *r, double *alpha, double *f) noexcept nogil:
    """Brent's method in a bracket that grows downhill."""
    cdef double a = 0.0, fa = r.f, b = r.settings.initial, fb, c, fc, u, fu
    cdef double to_a, to_c, difference, limit, low, high, far = longest(r)
    cdef double x, w, v, fx, fw, fv, near, center, p, q, before, move = 0.0, last_move = 0.0
    cdef bint parabolic, bracketed
    cdef int _
    fb = at(r, b)
    if fa < fb:
        a, b = b, a
        fa, fb = fb, fa
    c = b + GOLDEN_RATIO * (b - a)
    fc = at(r, c)
    for _ in range(1000):
        if not fc < fb or fabs(c) > far:
            break
        to_a = (b - a) * (fb - fc)
        to_c = (b - c) * (fb - fa)
        difference = to_c - to_a
        u = b - ((b - c) * to_c - (b - a) * to_a) / (2.0 * (1e-21 if fabs(difference) < 1e-21 else difference))
        limit = b + 110.0 * (c - b)
        if (u - c) * (b - u) > 0.0:
            fu = at(r, u)
            if fu < fc:
                a, fa, b, fb = b, fb, u, fu
                break
            if fu > fb:
                c, fc = u, fu
                break
            u = c + GOLDEN_RATIO * (c - b)
            fu = at(r, u)
        elif (u - limit) * (limit - c) >= 0.0:
            u = limit
            fu = at(r, u)
        elif (u - limit) * (c - u) > 0.0:
            fu = at(r, u)
            if fu < fc:
                b, fb, c, fc = c, fc, u, fu
                u = c + GOLDEN_RATIO * (c - b)
                fu = at(r, u)
        else:
            u = c + GOLDEN_RATIO * (c - b)
            fu = at(r, u)
        a, fa, b, fb, c, fc = b, fb, c, fc, u, fu
    bracketed = ((fb < fc and fb <= fa) or (fb < fa and fb <= fc)) and (a < b < c or c < b < a)
    if bracketed:
        x = w = v = b
        fx = fw = fv = fb
        low, high = fmin(a, c), fmax(a, c)
        for _ in range(r.settings.max_trials):
            near = r.settings.tolerance * fabs(x) + 1e-11
            center = 0.5 * (low + high)
            if fabs(x - center) < 2.0 * near - 0.5 * (high - low):
                break
            parabolic = False
            if fabs(last_move) > near:
                p = (x - w) * (fx - fv)
                q = (x - v) * (fx - fw)
                p, q = (x - v) * q - (x - w) * p, 2.0 * (q - p)
                if q > 0.0:
                    p = -p
                q = fabs(q)
                before = last_move
                last_move = move
                parabolic = q * (low - x) < p and p < q * (high - x) and fabs(p) < fabs(0.5 * q * before)
            if parabolic:
                move = p / q
                u = x + move
                if u - low < 2.0 * near or high - u < 2.0 * near:
                    move = near if center - x >= 0.0 else -near
            else:
                last_move = (low if x >= center else high) - x
                move = GOLDEN_SECTION * last_move
            u = x + (move if fabs(move) >= near else (near if move >= 0.0 else -near))
            fu = at(r, u)
            if fu > fx:
                if u < x:
                    low = u
                else:
                    high = u
                if fu <= fw or w == x:
                    v, fv, w, fw = w, fw, u, fu
                elif fu <= fv or v == x or v == w:
                    v, fv = u, fu
            else:
                if u >= x:
                    low = x
                else:
                    high = x
                v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
        alpha[0], f[0] = x, fx
    else:
        alpha[0], f[0] = (a, fa) if fa <= fb and fa <= fc else (b, fb) if fb <= fc else (c, fc)
    if f[0] < r.f or (f[0] == r.f and alpha[0] != 0.0):
        return FOUND
    alpha[0] = RETREAT * r.settings.initial
    return backtrack(r, alpha, f, r.f, 0.0, RETREAT, False)


cdef double cubic(double b, double fa, double sa, double fb, double sb) noexcept nogil:
    """The minimum of the cubic through values and slopes at 0 and b; NaN if it has none."""
    cdef double p = sa * b, q = sb * b, theta = p + q - 3.0 * (fb - fa), square = theta * theta - p * q, root, width
    if not square >= 0.0:
        return NAN
    root = sqrt(square)
    width = q - p + 2.0 * root
    return b - b * ((q + root - theta) / width) if width != 0.0 else NAN


cdef int exact_by_slopes(run_t *r, double *alpha, double *f) noexcept nogil:
    """The root of the slope near the last step; without one, or if none is found soon, the minimum by values."""
    # u is the trial, a the one before and c the one before that; low and high have a minimum between them.
    cdef double u = r.last_step, fu, su, a = 0.0, sa = r.slope, c = 0.0, low = 0.0, f_low = r.f, high = INFINITY, v
    cdef double curvature = 0.0, before, bend, ahead, square, secant, far = longest(r), slack = ROUNDING * fabs(r.f)
    cdef int k
    if r.settings.direction == LBFGS:
        u = 1.0
    if not r.has_last or r.nit < r.resume or not 0.0 < u < far:
        return exact(r, alpha, f)
    for k in range(min(r.settings.max_trials, SLOPES)):
        fu = at(r, u)
        if fu == INFINITY:
            break
        su = slope_at(r, u)
        if su == INFINITY:
            break
        before, curvature = curvature, (su - sa) / (u - a)
        if fu <= r.f + slack and (
            su == 0.0
            or (k > 0 and fabs(su) <= (r.settings.tolerance * u + 1e-11) * curvature)
            or (k > 1 and 0.5 * fabs(sa) <= fabs(su) <= -NEARLY * r.slope)
        ):
            alpha[0], f[0] = u, fu
            r.skipped = 0
            return FOUND
        if su >= 0.0 or fu > f_low + slack:
            high = u
        else:
            low, f_low = u, fu
        if k == 0:
            v = cubic(u, r.f, r.slope, fu, su)
        else:
            # The root of the parabola through the last three slopes that is near the last.
            bend = (curvature - before) / (u - c)
            ahead = curvature + bend * (u - a)
            square = ahead * ahead - 4.0 * su * bend
            secant = u - su / curvature if curvature != 0.0 else NAN
            v = u - 2.0 * su / (ahead + sqrt(square)) if square >= 0.0 and ahead > 0.0 else secant
        if low == 0.0 and su > -STEEP * r.slope:
            # The function grows faster than a cubic, which would come back by a third or a quarter only.
            v = fmin(v, RETREAT * u)
        if high == INFINITY:
            v = fmin(v, 10.0 * u) if v > u else 4.0 * u
            if not v < far:
                break
        elif not low < v < high:
            v = sqrt(low * high) if low > 0.0 else 0.5 * high
        if v == u or v == a:
            break
        c, a, sa, u = a, u, su, v
    # Where this fails it is likely to fail again: it is left out for one iteration, then for three, for seven...
    r.skipped = min(2 * r.skipped + 1, PATIENCE)
    r.resume = r.nit + 1 + r.skipped
    return exact(r, alpha, f)


cdef double interpolate(
    double a, double fa, double sa, double b, double fb, double sb, bint has_slope
) noexcept nogil:
    """The minimum of the cubic, or parabola, between two trials; their middle if it has none inside."""
    cdef double width = b - a, share = 0.5, curvature, change, p, q, theta, square, root
    if fb == INFINITY:
        return a + RETREAT * width
    if not has_slope:
        curvature = fb - fa - sa * width
        if curvature > 0.0:
            share = -0.5 * sa * width / curvature
    else:
        p, q = sa * width, sb * width
        change = fb - fa
        if fabs(change) <= ROUNDING * fabs(fa):
            # The slopes alone tell, by their trapezium: the cubic is then the parabola through them.
            change = 0.5 * (p + q)
        theta = p + q - 3.0 * change
        square = theta * theta - p * q
        if square >= 0.0:
            root = sqrt(square)
            if q - p + 2.0 * root != 0.0:
                share = 1.0 - (q + root - theta) / (q - p + 2.0 * root)
    if not 0.1 <= share <= 0.9:
        share = 0.1 if share < 0.1 else 0.9 if share > 0.9 else 0.5
    return a + share * width


cdef int strong_wolfe(run_t *r, double *alpha, double *f) noexcept nogil:
    """Nocedal and Wright, algorithms 3.5 and 3.6, as one loop."""
    cdef double a = 0.0, fa = r.f, sa = r.slope, b = 0.0, fb = 0.0, sb = 0.0
    cdef double u = first_trial(r), fu, su, far = longest(r), width, ahead
    cdef bint has_b = False, has_slope = False, blur
    cdef int _
    for _ in range(r.settings.max_trials):
        fu = at(r, u)
        blur = blurred(r, u, fu, r.f)
        if not lowers(r, u, &fu, r.f, r.settings.sufficient_decrease) or (fu >= fa and a > 0.0 and not blur):
            b, fb, has_b, has_slope = u, fu, True, blur
            if blur:
                sb = slope_at(r, u)
        else:
            su = slope_at(r, u)
            if su == INFINITY:
                b, fb, has_b, has_slope = u, INFINITY, True, False
            elif fabs(su) <= r.settings.curvature * fabs(r.slope):
                alpha[0], f[0] = u, fu
                return FOUND
            elif su * (u - a) >= 0.0:
                b, fb, sb, has_b, has_slope = a, fa, sa, True, True
                a, fa, sa = u, fu, su
            elif not has_b and u < far:
                width = u - a
                ahead = -su * width / (su - sa) if su - sa > 0.0 else INFINITY
                a, fa, sa = u, fu, su
                u += fmin(fmax(ahead, width), 9.0 * width)
                continue
            else:
                a, fa, sa = u, fu, su
        if not has_b or fabs(b - a) <= 1e-15 * fmax(a, b):
            break
        u = interpolate(a, fa, sa, b, fb, sb, has_slope)
    if a > 0.0:
        alpha[0], f[0] = a, fa
        return FOUND
    return PRECISION


cdef int barzilai_borwein(run_t *r, double *alpha, double *f) noexcept nogil:
    cdef double ss, sy, yy, longer, shorter, highest
    cdef int k, formula = r.settings.formula
    r.recent[r.n_recent % r.settings.memory] = r.f
    r.n_recent += 1
    highest = r.f
    for k in range(min(r.n_recent, r.settings.memory)):
        highest = fmax(highest, r.recent[k])
    if r.settings.direction == LBFGS:
        alpha[0] = 1.0
    elif not r.has_last:
        alpha[0] = 1.0 / r.scale
    else:
        ss, sy, yy = dot(r.n, r.s, r.s), dot(r.n, r.s, r.y), dot(r.n, r.y, r.y)
        if sy > 0.0 and yy > 0.0:
            longer, shorter = ss / sy, sy / yy
            if formula == 0:
                alpha[0] = shorter if r.nit % 2 else longer
            elif formula == 1:
                alpha[0] = shorter if shorter < 0.5 * longer else longer
            else:
                alpha[0] = longer if formula == 2 else shorter
        elif yy > 0.0:
            alpha[0] = sqrt(ss / yy)
        else:
            alpha[0] = r.last_step / RETREAT
        alpha[0] *= -r.slope / dot(r.n, r.d, r.d)
        alpha[0] = fmin(fmax(alpha[0], 1e-30), longest(r)) if isfinite(alpha[0]) else 1.0 / r.scale
    return backtrack(r, alpha, f, highest, r.settings.sufficient_decrease, 0.0, True)


cdef int look(run_t *r, const double *steps, int n_steps, double *alpha, double *f) noexcept nogil:
    """Find the next step along the ray by whatever the settings say."""
    cdef const settings_t *settings = r.settings
    if settings.step == SCHEDULE:
        alpha[0] = steps[min(r.nit, n_steps - 1)]
        return finite_trial(r, alpha, f)
    if settings.step == EXACT:
        return exact(r, alpha, f)
    if settings.step == EXACT_BY_SLOPES:
        return exact_by_slopes(r, alpha, f)
    if settings.step == BACKTRACKING:
        if settings.has_initial:
            alpha[0] = settings.initial
        elif settings.direction == LBFGS or not r.has_last:
            alpha[0] = first_trial(r)
        else:
            alpha[0] = r.last_step / settings.factor
        return backtrack(r, alpha, f, r.f, settings.sufficient_decrease, settings.factor, False)
    if settings.step == STRONG_WOLFE:
        return strong_wolfe(r, alpha, f)
    if settings.step == BARZILAI_BORWEIN:
        return barzilai_borwein(r, alpha, f)
    alpha[0] = settings.relaxation * (r.f - settings.least) / -r.slope
    return finite_trial(r, alpha, f)


# Directions: each fills d. Without has_last the past is forgotten.


cdef double conjugate_share(run_t *r) noexcept nogil:
    """beta; infinity or NaN means none. The last direction is s / step, the last gradient g - y."""
    cdef double dy = 0.0, dd = 0.0, dg = 0.0, yy = 0.0, yg = 0.0, gg = 0.0, hh = 0.0, dh = 0.0, d, h
    cdef int formula = r.settings.conjugate
    cdef Py_ssize_t i
    for i in range(r.n):
        d = r.s[i] / r.last_step
        h = r.g[i] - r.y[i]
        dy += d * r.y[i]
        dd += d * d
        dg += d * r.g[i]
        dh += d * h
        yy += r.y[i] * r.y[i]
        yg += r.y[i] * r.g[i]
        gg += r.g[i] * r.g[i]
        hh += h * h
    if formula == 0:
        return fmax((yg - 2.0 * yy / dy * dg) / dy, 0.4 * dh / dd) if dy != 0.0 else INFINITY
    if formula == 1:
        return fmax(yg / hh, 0.0) if hh != 0.0 else INFINITY
    if formula == 2:
        return fmax(yg / dy, 0.0) if dy != 0.0 else INFINITY
    if formula == 3:
        return gg / hh if hh != 0.0 else INFINITY
    return gg / dy if dy != 0.0 else INFINITY


cdef inline void remember_pair(run_t *r) noexcept nogil:
    """Let the ring grow over s and y, which are in it, if they tell of a curvature."""
    cdef double ss = dot(r.n, r.s, r.s), sy = dot(r.n, r.s, r.y), yy = dot(r.n, r.y, r.y)
    if not (0.0 < yy < INFINITY and sy > 1e-10 * sqrt(ss) * sqrt(yy)):
        return
    r.reciprocals[r.next_pair] = 1.0 / sy
    r.last_share = sy / yy
    r.next_pair = r.next_pair + 1 if r.next_pair < r.settings.lbfgs_memory else 0
    if r.n_pairs < r.settings.lbfgs_memory:
        r.n_pairs += 1


cdef inline void two_loops(run_t *r, int n) noexcept nogil:
    cdef int _, slot = r.next_pair, last = r.settings.lbfgs_memory
    cdef double share, norm
    cdef double *s
    cdef double *y
    cdef Py_ssize_t i
    if r.n_pairs == 0:
        norm = fmax(sqrt(dot(n, r.g, r.g)), 1.0)
        for i in range(n):
            r.d[i] = -r.g[i] / norm
        return
    for i in range(n):
        r.d[i] = -r.g[i]
    for _ in range(r.n_pairs):
        slot = slot - 1 if slot > 0 else last
        s, y = r.pairs_s + <Py_ssize_t>slot * n, r.pairs_y + <Py_ssize_t>slot * n
        share = dot(n, s, r.d) * r.reciprocals[slot]
        r.shares[slot] = share
        for i in range(n):
            r.d[i] -= share * y[i]
    for i in range(n):
        r.d[i] *= r.last_share
    for _ in range(r.n_pairs):
        s, y = r.pairs_s + <Py_ssize_t>slot * n, r.pairs_y + <Py_ssize_t>slot * n
        share = r.shares[slot] - dot(n, y, r.d) * r.reciprocals[slot]
        for i in range(n):
            r.d[i] += share * s[i]
        slot = slot + 1 if slot < last else 0


cdef void turn(run_t *r) noexcept nogil:
    cdef const settings_t *settings = r.settings
    cdef double share, t, v, mean_left, square_left
    cdef double *mean = r.pairs_s + r.n
    cdef double *square = r.pairs_y + r.n
    cdef Py_ssize_t i
    if settings.direction == LBFGS:
        if r.has_last:
            remember_pair(r)
        else:
            r.n_pairs = 0
        # For two variables the loops are short enough to be unrolled, which halves their time.
        if r.n == 2:
            two_loops(r, 2)
        else:
            two_loops(r, r.n)
        return
    if settings.direction == ADAM:
        if not r.has_last:
            memset(mean, 0, r.n * sizeof(double))
            memset(square, 0, r.n * sizeof(double))
            r.turns = 0
        r.turns += 1
        mean_left = 1.0 - settings.mean_decay ** r.turns
        square_left = 1.0 - settings.square_decay ** r.turns
        for i in range(r.n):
            mean[i] = settings.mean_decay * mean[i] + (1.0 - settings.mean_decay) * r.g[i]
            square[i] = settings.square_decay * square[i] + (1.0 - settings.square_decay) * (r.g[i] * r.g[i])
            r.d[i] = mean[i] / (-mean_left * (sqrt(square[i] / square_left) + settings.epsilon))
        return
    if settings.direction == NESTEROV:
        share = 0.0
        if r.has_last:
            for i in range(r.n):
                share += r.g[i] * (r.s[i] / r.last_step - r.y[i])
        if not r.has_last or (settings.restart and share > 0.0):
            r.t = 1.0
            for i in range(r.n):
                r.d[i] = -r.g[i]
        else:
            for i in range(r.n):
                r.d[i] = r.s[i] / r.last_step - r.y[i]
        t = 0.5 * (1.0 + sqrt(1.0 + 4.0 * r.t * r.t))
        share = (r.t - 1.0) / t if settings.growing_momentum else settings.momentum
        r.t = t
        for i in range(r.n):
            v = r.d[i]
            r.d[i] = share * v - r.g[i]
        return
    share = 0.0
    if r.has_last and settings.direction == HEAVY_BALL:
        share = settings.momentum / r.last_step
    elif r.has_last and settings.direction == CONJUGATE_GRADIENT:
        share = conjugate_share(r) / r.last_step
    if share == 0.0 or not isfinite(share):
        for i in range(r.n):
            r.d[i] = -r.g[i]
    else:
        for i in range(r.n):
            r.d[i] = share * r.s[i] - r.g[i]


cdef void look_at_signals(control_t *control) noexcept with gil:
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        (<list>control.errors).append(error)
        add(control.stop, 1)


cdef void watch(control_t *control) noexcept nogil:
    """Look at the clock and, if it is time, for signals; the faster the iterations, the fewer the looks."""
    cdef double now = clock()
    control.stride = min(2 * control.stride, LONGEST_STRIDE) if now - control.last_look < FAST else 1
    control.countdown = control.stride
    control.last_look = now
    if now >= control.next_look:
        control.next_look = now + SIGNAL_INTERVAL
        look_at_signals(control)


cdef inline void step_to(run_t *r, double alpha, double f) noexcept nogil:
    """Make the trial at alpha, whose gradient is in g_trial, the iterate; s and y are how it got there."""
    cdef double x
    cdef Py_ssize_t i
    if r.settings.direction == LBFGS:
        r.s, r.y = r.pairs_s + <Py_ssize_t>r.next_pair * r.n, r.pairs_y + <Py_ssize_t>r.next_pair * r.n
    if r.alpha_best != alpha:
        if r.best_on_ray and r.alpha_best == 0.0:
            memcpy(r.best, r.x, r.n * sizeof(double))
            r.best_on_ray = False
        keep_best(r)
    r.alpha_best = 0.0
    for i in range(r.n):
        x = r.x[i] + alpha * r.d[i]
        r.s[i] = x - r.x[i]
        r.y[i] = r.g_trial[i] - r.g[i]
        r.x[i] = x
    r.g, r.g_trial = r.g_trial, r.g
    r.has_last = alpha != 0.0
    r.last_step, r.last_slope, r.last_f = alpha, r.slope, r.f
    r.f = f
    r.scale = r.scale_g
    r.nit += 1


cdef int settle(run_t *r, double *alpha, double *f) noexcept nogil:
    """Evaluate the gradient at a found step, shortening the step until it is finite."""
    cdef Py_ssize_t i
    cdef int status
    while True:
        if r.alpha_g != alpha[0]:
            for i in range(r.n):
                r.trial[i] = r.x[i] + alpha[0] * r.d[i]
            slope_at(r, alpha[0])
        if r.scale_g < HUGE:
            return FOUND if r.settings.step == SCHEDULE or moves(r, alpha[0]) else PRECISION
        if not moves(r, alpha[0]):
            return NOT_FINITE
        alpha[0] *= RETREAT
        status = finite_trial(r, alpha, f)
        if status != FOUND:
            return status


cdef bint go_to_best(run_t *r, double rounding) noexcept nogil:
    """Move the iterate to a point that is lower by more than rounding and has a gradient, if there is one."""
    if r.f - r.f_best <= rounding * fabs(r.f_best):
        return False
    keep_best(r)
    r.njev += 1
    r.gradient(r.n, r.best, r.g_trial, r.data)
    r.scale_g = largest(r.n, r.g_trial)
    r.alpha_g = NAN
    if not r.scale_g < HUGE:
        r.f_best = r.f
        return False
    memcpy(r.x, r.best, r.n * sizeof(double))
    memcpy(r.g, r.g_trial, r.n * sizeof(double))
    r.f = r.f_best
    r.scale = r.scale_g
    r.has_last = False
    return True


cdef int descend(run_t *r, const double *steps, int n_steps, control_t *control) noexcept nogil:
    """The loop; x and g are those of the start. Returns the status."""
    cdef const settings_t *settings = r.settings
    cdef bint searches = settings.step != SCHEDULE, arrived = True, improved
    cdef double deadline = clock() + settings.max_time if settings.max_time < INFINITY else INFINITY
    cdef double alpha = 0.0, f = 0.0, lowest = INFINITY, flattest = INFINITY
    cdef int idle = 0, status
    while True:
        if control != NULL:
            if read(control.stop):
                return INTERRUPTED
            if control.main:
                control.countdown -= 1
                if control.countdown <= 0:
                    watch(control)
        if r.f_best <= settings.target:
            go_to_best(r, 0.0)
            return TARGET
        improved = r.f < lowest or r.scale < flattest
        lowest, flattest = fmin(lowest, r.f), fmin(flattest, r.scale)
        if arrived and r.has_last:
            idle = 0 if improved else idle + 1
        if r.scale < settings.tol or r.scale == 0.0:
            if not go_to_best(r, ROUNDING):
                return CONVERGED
            if idle < PATIENCE or not searches:
                arrived = False
                continue
        if idle >= PATIENCE and searches:
            return PRECISION
        if arrived and r.has_last:
            if settings.xtol > 0.0 and largest(r.n, r.s) <= settings.xtol * fmax(1.0, largest(r.n, r.x)):
                return CONVERGED
            if settings.ftol > 0.0 and fabs(r.last_f - r.f) <= settings.ftol * fmax(1.0, fabs(r.last_f)):
                return CONVERGED
        if r.nit >= settings.maxiter:
            return ITERATIONS
        if deadline < INFINITY and clock() >= deadline:
            return TIME
        keep_best(r)
        turn(r)
        r.slope = dot(r.n, r.g, r.d)
        r.alpha_g = NAN
        status = PRECISION
        if -INFINITY < r.slope < 0.0 or not (searches or isnan(r.slope)):
            status = look(r, steps, n_steps, &alpha, &f)
            if status == FOUND:
                status = settle(r, &alpha, &f)
        if status != FOUND:
            if not r.has_last:
                return status
            # The direction may be to blame: forget the past and look down the gradient.
            r.has_last = arrived = False
            continue
        step_to(r, alpha, f)
        arrived = True


cdef Py_ssize_t ring_of(const settings_t *settings) noexcept nogil:
    """How many pairs of arrays s and y a run needs: the next one and those that are remembered."""
    return 1 + (settings.lbfgs_memory if settings.direction == LBFGS else 1 if settings.direction == ADAM else 0)


cdef double *workspace(int n, const settings_t *settings) noexcept nogil:
    """Take the memory of a run, which may serve the next one as it is; NULL if there is none."""
    cdef Py_ssize_t slots = ring_of(settings)
    return <double *>malloc(((6 + 2 * slots) * n + 2 * slots + max(settings.memory, 1)) * sizeof(double))


cdef int start(
    run_t *r,
    value_t value,
    gradient_t gradient,
    void *data,
    int n,
    double *x,
    const settings_t *settings,
    double *block,
) noexcept nogil:
    """Set up a run in a workspace and evaluate the start."""
    cdef Py_ssize_t slots = ring_of(settings)
    memset(r, 0, sizeof(run_t))
    r.value, r.gradient, r.data, r.n, r.settings = value, gradient, data, n, settings
    r.x = block
    r.g = block + n
    r.d = r.g + n
    r.trial = r.d + n
    r.g_trial = r.trial + n
    r.best = r.g_trial + n
    r.s = r.pairs_s = r.best + n
    r.y = r.pairs_y = r.pairs_s + slots * n
    r.reciprocals = r.pairs_y + slots * n
    r.shares = r.reciprocals + slots
    r.recent = r.shares + slots
    memcpy(r.x, x, n * sizeof(double))
    memcpy(r.best, x, n * sizeof(double))
    memcpy(r.trial, x, n * sizeof(double))
    r.f = r.f_best = value(n, r.trial, data)
    r.nfev = 1
    if not isfinite(r.f):
        r.scale = NAN
        fill(n, r.g, NAN)
        return NOT_FINITE
    memcpy(r.trial, x, n * sizeof(double))
    gradient(n, r.trial, r.g, data)
    r.njev = 1
    r.scale = largest(n, r.g)
    return FOUND if r.scale < HUGE else BAD_START


cdef int controlled(
    value_t value,
    gradient_t gradient,
    void *data,
    int n,
    double *x,
    double *g,
    const settings_t *settings,
    const double *steps,
    int n_steps,
    report_t *report,
    control_t *control,
    double *block,
) noexcept nogil:
    cdef run_t r
    cdef int status = start(&r, value, gradient, data, n, x, settings, block)
    if status == FOUND:
        status = descend(&r, steps, n_steps, control)
        go_to_best(&r, ROUNDING)
    memcpy(x, r.x, n * sizeof(double))
    if g != NULL:
        memcpy(g, r.g, n * sizeof(double))
    report.fun, report.optimality, report.status = r.f, r.scale, status
    report.nit, report.nfev, report.njev = r.nit, r.nfev, r.njev
    return status


cdef int minimize(
    value_t value,
    gradient_t gradient,
    void *data,
    int n,
    double *x,
    const settings_t *settings,
    const double *steps,
    int n_steps,
    report_t *report,
) noexcept nogil:
    cdef double *block = workspace(n, settings)
    cdef int status = -1
    if block != NULL:
        status = controlled(value, gradient, data, n, x, NULL, settings, steps, n_steps, report, NULL, block)
        free(block)
    if status == BAD_START:
        status = report.status = NOT_FINITE
    return status


cdef settings_t default_settings() noexcept nogil:
    cdef settings_t settings
    settings.step = EXACT_BY_SLOPES
    settings.has_initial = False
    settings.initial = 1.0
    settings.tolerance = 1.48e-8
    settings.max_trials = 500
    settings.factor = 0.5
    settings.sufficient_decrease = 1e-4
    settings.curvature = 0.9
    settings.formula = 0
    settings.memory = 10
    settings.least = 0.0
    settings.relaxation = 1.0
    settings.direction = STEEPEST
    settings.momentum = 0.9
    settings.growing_momentum = True
    settings.restart = True
    settings.conjugate = 0
    settings.lbfgs_memory = 10
    settings.mean_decay = 0.9
    settings.square_decay = 0.999
    settings.epsilon = 1e-8
    settings.tol = 1e-5
    settings.xtol = 0.0
    settings.ftol = 0.0
    settings.target = -INFINITY
    settings.max_time = INFINITY
    settings.maxiter = 10000
    return settings


# What the fields step and direction of the settings may be, by the names of the classes in Python; BY_VALUES is
# ExactLineSearch(slopes=False).
BY_VALUES = EXACT
STEPS = {
    "ExactLineSearch": EXACT_BY_SLOPES,
    "Backtracking": BACKTRACKING,
    "StrongWolfe": STRONG_WOLFE,
    "BarzilaiBorwein": BARZILAI_BORWEIN,
    "Polyak": POLYAK,
    "schedule": SCHEDULE,
}
DIRECTIONS = {
    "Steepest": STEEPEST,
    "HeavyBall": HEAVY_BALL,
    "Nesterov": NESTEROV,
    "ConjugateGradient": CONJUGATE_GRADIENT,
    "LBFGS": LBFGS,
    "Adam": ADAM,
}


def defaults():
    """The settings that default_settings() gives, as a dictionary."""
    return default_settings()


# Many starts, side by side: each thread takes the next one that is left.


ctypedef struct batch_t:
    value_t value
    gradient_t gradient
    void *data
    int m
    int n
    double *x
    double *g
    settings_t settings
    const double *steps
    int n_steps
    report_t *reports
    Py_ssize_t next
    Py_ssize_t done
    Py_ssize_t stop
    Py_ssize_t no_memory
    void *errors


cdef void work(batch_t *batch, bint main) noexcept nogil:
    cdef control_t control
    cdef Py_ssize_t i, offset
    cdef double *block = workspace(batch.n, &batch.settings)
    if block == NULL:
        add(&batch.no_memory, 1)
        add(&batch.stop, 1)
    control.stop = &batch.stop
    control.main = main
    control.stride = control.countdown = 1
    control.last_look = clock()
    control.next_look = control.last_look + SIGNAL_INTERVAL
    control.errors = batch.errors
    while not read(&batch.stop):
        i = add(&batch.next, 1)
        if i >= batch.m:
            break
        offset = i * batch.n
        controlled(
            batch.value,
            batch.gradient,
            batch.data,
            batch.n,
            batch.x + offset,
            batch.g + offset,
            &batch.settings,
            batch.steps,
            batch.n_steps,
            batch.reports + i,
            &control,
            block,
        )
        add(&batch.done, 1)
    free(block)
    # Signals reach the calling thread alone: it watches until the others have finished.
    while main and read(&batch.done) < batch.m and not read(&batch.stop):
        nap()
        if clock() >= control.next_look:
            control.next_look = clock() + SIGNAL_INTERVAL
            look_at_signals(&control)


cdef void work_part(void *batch, Py_ssize_t part) noexcept nogil:
    # The calling thread does part 0.
    work(<batch_t *>batch, part == 0)


def data_address(capsule):
    """The address of the user_data of a LowLevelCallable's capsule."""
    return <size_t>PyCapsule_GetContext(capsule)


def signature(capsule):
    """The signature in a LowLevelCallable's capsule, as bytes."""
    cdef const char *name = PyCapsule_GetName(capsule)
    return b"" if name == NULL else name


cdef class Settings:
    """All settings of a loop but the stops, from a dictionary such as `defaults` gives."""

    cdef settings_t fields

    def __init__(self, dict fields):
        self.fields = fields


def run(
    value,
    gradient,
    Settings settings not None,
    double tol,
    double xtol,
    double ftol,
    double target,
    double max_time,
    int maxiter,
    const double[::1] steps,
    int threads,
    double[:, ::1] x not None,
    double[:, ::1] g_out not None,
    report_t[::1] reports_out not None,
):
    """Descend from each row of x, which becomes the best point; g_out gets the gradients there, reports_out the rest.

    value and gradient are the capsules of two LowLevelCallables with the same user_data; steps may be None unless the
    step of the settings is a schedule.
    """
    cdef batch_t batch
    cdef bint scheduled = settings.fields.step == SCHEDULE
    cdef bint empty = x.shape[0] == 0 or x.shape[1] == 0 or (scheduled and (steps is None or steps.shape[0] == 0))
    if empty or not (g_out.shape[0] == reports_out.shape[0] == x.shape[0] and g_out.shape[1] == x.shape[1]):
        raise ValueError("x, g_out and reports_out must have the same shape, and a schedule one step at least")
    errors = []
    memset(&batch, 0, sizeof(batch_t))
    batch.value = <value_t>PyCapsule_GetPointer(value, PyCapsule_GetName(value))
    batch.gradient = <gradient_t>PyCapsule_GetPointer(gradient, PyCapsule_GetName(gradient))
    batch.data = PyCapsule_GetContext(value)
    batch.m, batch.n = <int>x.shape[0], <int>x.shape[1]
    batch.x = &x[0, 0]
    batch.g = &g_out[0, 0]
    batch.settings = settings.fields
    batch.settings.tol, batch.settings.xtol, batch.settings.ftol = tol, xtol, ftol
    batch.settings.target, batch.settings.max_time, batch.settings.maxiter = target, max_time, maxiter
    if scheduled:
        batch.steps, batch.n_steps = &steps[0], <int>steps.shape[0]
    batch.errors = <void *>errors
    batch.reports = &reports_out[0]
    with nogil:
        run_parts(&work_part, &batch, min(threads, batch.m), threads)
    if errors:
        raise errors[0]
    if batch.no_memory:
        raise MemoryError
