# What a run holds, its vectors and what it evaluates: the compiled twin of graddesc/descent/objective.py and region.py.

# The numbers of graddesc.descent and graddesc.line_search; `constants` shows them to the test that compares them.
cdef double ROUNDING_UNITS = 8
cdef double ROUNDING = ROUNDING_UNITS * 2.220446049250313e-16
cdef double HUGE = 1e145
cdef double LONGEST_MOVE = 1e150
cdef double RETREAT = 0.1
cdef double FIRST_SHARE = 0.95
cdef double UNBOUNDED_FALL = 1e20
cdef double BINDING = 1e-3
cdef int PATIENCE = 100
cdef int PATIENCE_BY_VALUES = 30
cdef int GRADIENTS_EACH = 5
cdef int LABORIOUS = 40
cdef double CONTRADICTED_SHARE = 0.25
cdef int CONTRADICTIONS = 3
cdef double LOWER_SHARE = 0.99
cdef int LOST_STEPS = 20
cdef double EXCESS_SHARE = 0.5
cdef double LEAST_EXCESS = -0.5
cdef double MOST_EXCESS = 1.0
cdef double EXCESS_CLEARANCE = 30.0

cdef double SIGNAL_INTERVAL = 0.05
cdef int LONGEST_STRIDE = 16
cdef double FAST = 1e-4

# What a gradient is asked at: the point last evaluated, the best one, or another.
cdef enum:
    LAST_POINT
    BEST_POINT
    OTHER_POINT


ctypedef struct control_t:
    Py_ssize_t *stop  # not 0 when a signal or an error has come; shared by the threads
    bint main         # whether this thread looks for signals
    double deadline
    int longest_stride
    int stride        # evaluations from one look at the clock to the next: it costs as much as a small one
    int countdown
    double next_look
    double last_look
    void *errors      # a list, for what a signal handler or a Python function raises


ctypedef struct trial_t:
    double alpha
    double f        # infinity where it is not finite
    double linear   # the change that the gradient at the start of the ray predicts


# What returns the value and writes the gradient.
ctypedef double (*both_t)(int n, double *x, double *gradient, void *data) noexcept nogil


ctypedef struct run_t:
    value_t value
    gradient_t gradient
    void *data
    int n
    # How far one vector is from the next, and what sums go over: from eight on a multiple of eight, filled with zeros.
    Py_ssize_t stride
    const settings_t *settings
    control_t *control
    const double *low   # bounds, or NULL
    const double *high
    # Tells of a point that the run has arrived at; returns whether that is the end. May be NULL.
    bint (*arrive)(run_t *r) noexcept nogil
    # The step of a schedule of Python's; NULL where there is a table of them.
    double (*step_at)(run_t *r) noexcept nogil
    void *listener
    # Whether fun and jac are worth comparing: not where jac is made of differences.
    bint comparable
    int ended        # FOUND, or the ending that a Python function asks for
    double floor     # values below are without bound
    double rounding  # how far values may differ by rounding, relative to themselves
    double noise     # how much lower a value must be to count as lower
    long long nfev
    long long njev
    long long nit
    # A function that tells both, or NULL: then its data, gradients at the point last evaluated and at the lowest one,
    # that of the two which is of the point last evaluated, and the lowest value.
    both_t both
    void *both_data
    double *g_last
    double *g_lowest
    double *g_evaluated
    double lowest
    # Points and directions; gradients at x, at the last trial looked at and at one to come back to.
    double *x
    double *g
    double *d
    double *trial
    double *g_trial
    double *g_kept
    double *g_free
    double *best
    double *scratch
    double *s
    double *y
    double f
    double f_best
    double slope
    double longest
    double scale
    double alpha    # the step that led to x
    # Where the best point is, unless it is in best.
    double alpha_best
    bint best_on_ray
    # The same at the start of the ray, should the best one on it turn out to have no gradient.
    double f_best_before
    bint best_at_start
    # The steps that g_trial and g_kept belong to, and the largest components there.
    double alpha_g
    double scale_g
    double alpha_kept
    double scale_kept
    # Whether points are evaluated that are no candidates for the best.
    bint beside
    # The step last evaluated.
    double alpha_last
    # For a gradient: what point it is asked at, and the value there.
    int asked_at
    double f_asked
    # Whether rounding leaves more than the tolerance in the last gradient, whether nothing of it is larger than that;
    # and whether there was no time for it.
    bint unresolved
    bint drowned
    bint late
    # Exact search by slopes: the iteration from which on it is tried, and how many were skipped after it last failed.
    long long resume
    long long skipped
    int lost
    # The last iteration, if it counts.
    bint has_last
    double last_step
    double last_slope
    double last_f
    # Barzilai-Borwein: recent values, a ring.
    double *recent
    int n_recent
    # L-BFGS: a ring of one more pair than are remembered, which s and y above are written to. Adam: the two means.
    pairs_t pairs
    double excess  # the curvature along s that values tell beyond gradients, times s.s
    double t
    long long turns


# Vectors: what vectors.pyx makes of long ones; short ones are not worth a call. Their length is the stride.


cdef enum:
    LONG_VECTOR = 8


cdef inline double dot(Py_ssize_t n, const double *a, const double *b) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    if n >= LONG_VECTOR:
        return vectors.dot(n, a, b)
    for i in range(n):
        total += a[i] * b[i]
    return total


cdef inline double dot_difference(Py_ssize_t n, const double *g, const double *a, const double *b) noexcept nogil:
    """g.(a - b)"""
    cdef double total = 0.0
    cdef Py_ssize_t i
    if n >= LONG_VECTOR:
        return vectors.dot_difference(n, g, a, b)
    for i in range(n):
        total += g[i] * (a[i] - b[i])
    return total


cdef inline double add_and_dot(Py_ssize_t n, double *d, double c, const double *a, const double *b) noexcept nogil:
    """Add c a to d, which is short, and return d.b."""
    cdef double total = 0.0, v
    cdef Py_ssize_t i
    for i in range(n):
        v = d[i] + c * a[i]
        d[i] = v
        total += v * b[i]
    return total


cdef inline void fill(int n, double *a, double value) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        a[i] = value


cdef inline double larger(double most, double v) noexcept nogil:
    """The larger of a magnitude so far and the next component's; infinity if that is not a number."""
    return most if fabs(v) <= most else fabs(v) if v == v else INFINITY


cdef inline double largest(Py_ssize_t n, const double *a) noexcept nogil:
    """The largest component; infinity if one is not finite."""
    cdef double most = 0.0
    cdef Py_ssize_t i
    if n >= LONG_VECTOR:
        return vectors.largest(n, a)
    for i in range(n):
        most = larger(most, a[i])
    return most


# Bounds.


cdef inline double within(const run_t *r, Py_ssize_t i, double v) noexcept nogil:
    return r.low[i] if v < r.low[i] else r.high[i] if v > r.high[i] else v


cdef inline bint held(const run_t *r, Py_ssize_t i, double x, double d) noexcept nogil:
    """Whether a direction points out of the bounds."""
    return (d < 0.0 and x <= r.low[i]) or (d > 0.0 and x >= r.high[i])


cdef inline void let_pass(const run_t *r, const double *x, const double *d, double *out) noexcept nogil:
    """Write a direction without what points out of the bounds at x to out, which may be the direction."""
    cdef const double *low = r.low
    cdef const double *high = r.high
    cdef Py_ssize_t i
    for i in range(r.n):
        # No short cuts, which vectors cannot take.
        out[i] = 0.0 if ((d[i] < 0.0) & (x[i] <= low[i])) | ((d[i] > 0.0) & (x[i] >= high[i])) else d[i]


cdef double place(const run_t *r, double alpha, double *out) noexcept nogil:
    """Write the point one step along the ray; return the change that the gradient predicts for it."""
    cdef const double *x = r.x
    cdef const double *d = r.d
    cdef const double *low = r.low
    cdef const double *high = r.high
    cdef double v
    cdef Py_ssize_t i
    if low == NULL:
        for i in range(r.n):
            out[i] = x[i] + alpha * d[i]
        return alpha * r.slope
    for i in range(r.n):
        v = x[i] + alpha * d[i]
        v = low[i] if v < low[i] else v
        out[i] = high[i] if v > high[i] else v
    return dot_difference(r.stride, r.g, out, x)


cdef double measure(const run_t *r, const double *x, double *g) noexcept nogil:
    """The largest component of the projected gradient; infinity if the gradient is not finite."""
    cdef const double *low = r.low
    cdef const double *high = r.high
    cdef double *projected = r.scratch
    cdef double all_of_it, v, w
    cdef Py_ssize_t i
    if low == NULL:
        all_of_it = largest(r.stride, g)
        return all_of_it if all_of_it < HUGE else INFINITY
    for i in range(r.n):
        # The gradient counts as zero where a variable is fixed.
        v = 0.0 if low[i] == high[i] else g[i]
        g[i] = v
        w = x[i] - high[i]
        v = w if v < w else v
        w = x[i] - low[i]
        projected[i] = w if v > w else v
    return largest(r.stride, projected) if largest(r.stride, g) < HUGE else INFINITY


# Evaluations.


cdef void look_at_signals(control_t *control) noexcept with gil:
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        (<list>control.errors).append(error)
        add(control.stop, 1)


cdef bint is_late(run_t *r) noexcept nogil:
    """Look at the clock and, if it is time, for signals; the faster the evaluations, the fewer the looks."""
    cdef control_t *control = r.control
    cdef double now
    control.countdown -= 1
    if control.countdown > 0:
        return False
    now = clock()
    control.stride = min(2 * control.stride, control.longest_stride) if now - control.last_look < FAST else 1
    control.countdown = control.stride
    control.last_look = now
    if control.main and now >= control.next_look:
        control.next_look = now + SIGNAL_INTERVAL
        look_at_signals(control)
    return now >= control.deadline


cdef int at(run_t *r, double alpha, trial_t *t) noexcept nogil:
    """Evaluate the function one step along the ray, which is no longer than doubles hold.

    Returns FOUND, or the ending of the run.
    """
    cdef double f
    alpha = fmin(fmax(alpha, -r.longest), r.longest)
    t.alpha = r.alpha_last = alpha
    t.f = INFINITY
    if read(r.control.stop):
        return INTERRUPTED
    if r.ended != FOUND:
        return r.ended
    if r.nfev >= r.settings.maxfun:
        return EVALUATIONS
    t.linear = place(r, alpha, r.trial)
    r.nfev += 1
    f = r.value(r.n, r.trial, r.data)
    r.asked_at = LAST_POINT
    if read(r.control.stop):
        return INTERRUPTED
    if isfinite(f):
        t.f = f
        if f < r.f_best:
            r.f_best = f
            r.alpha_best = alpha
            r.best_on_ray = True
            if f <= r.settings.target:
                return TARGET
            if f < r.floor:
                return UNBOUNDED
    if r.ended != FOUND:
        return r.ended
    return TIME if is_late(r) else FOUND


cdef double value_of_both(int n, double *x, void *data) noexcept nogil:
    """Evaluate a function that tells both, and keep the gradient."""
    cdef run_t *r = <run_t *>data
    cdef double f = r.both(n, x, r.g_last, r.both_data)
    r.njev = r.nfev
    r.g_evaluated = r.g_last
    if not r.beside and f < r.lowest:
        r.lowest = f
        r.g_last, r.g_lowest = r.g_lowest, r.g_last
    return f


cdef void gradient_of_both(int n, double *x, double *out, void *data) noexcept nogil:
    """Write the gradient that came with the value, which is evaluated again where it is not kept."""
    cdef run_t *r = <run_t *>data
    # The lowest value may be of a point that has been given up, as its gradient is not finite.
    cdef bint at_lowest = r.asked_at == BEST_POINT and r.f_asked == r.lowest
    if not (at_lowest or r.asked_at == LAST_POINT):
        r.nfev += 1
        r.both(n, x, r.g_last, r.both_data)
        r.g_evaluated = r.g_last
    r.njev = r.nfev
    memcpy(out, r.g_lowest if at_lowest else r.g_evaluated, n * sizeof(double))


cdef void ask_gradient(run_t *r, const double *x, double f, double *out) noexcept nogil:
    r.f_asked = f
    r.njev += 1
    r.gradient(r.n, <double *>x, out, r.data)


cdef void gradient_at(run_t *r, trial_t *t) noexcept nogil:
    """Have the gradient at a trial in g_trial: at the one last evaluated, or one that place() has made again."""
    if r.alpha_g == t.alpha:
        return
    if r.alpha_kept == t.alpha:
        r.g_trial, r.g_kept = r.g_kept, r.g_trial
        r.alpha_g, r.alpha_kept = r.alpha_kept, r.alpha_g
        r.scale_g, r.scale_kept = r.scale_kept, r.scale_g
        return
    ask_gradient(r, r.trial, t.f, r.g_trial)
    r.alpha_g = t.alpha
    r.scale_g = measure(r, r.trial, r.g_trial)
    if r.scale_g == INFINITY and r.best_on_ray and r.alpha_best == t.alpha and not r.late:
        r.f_best, r.best_on_ray, r.alpha_best = r.f_best_before, r.best_at_start, 0.0


cdef double slope_at(run_t *r, trial_t *t) noexcept nogil:
    """The slope at the trial just evaluated, along the path; infinity, as then the value, where it is not finite."""
    if t.f == INFINITY:
        return INFINITY
    gradient_at(r, t)
    if not r.scale_g < INFINITY:
        t.f = INFINITY
        return INFINITY
    if r.low == NULL:
        return dot(r.stride, r.g_trial, r.d)
    let_pass(r, r.trial, r.d, r.scratch)
    return dot(r.stride, r.g_trial, r.scratch)


cdef inline void keep_gradient(run_t *r) noexcept nogil:
    """Keep the gradient at the last trial while others are looked at: gradient_at() finds it again."""
    r.g_trial, r.g_kept = r.g_kept, r.g_trial
    r.alpha_kept, r.scale_kept = r.alpha_g, r.scale_g
    r.alpha_g = NAN


cdef inline void keep_best(run_t *r) noexcept nogil:
    """Write the best point down before the ray that it lies on goes; x itself, at 0, stays."""
    if r.best_on_ray and r.alpha_best != 0.0:
        place(r, r.alpha_best, r.best)
        r.best_on_ray = False


cdef bint moves(run_t *r, double alpha) noexcept nogil:
    """Whether a trial differs from the start of the ray."""
    cdef Py_ssize_t i
    cdef double v
    if alpha == 0.0:
        return False
    for i in range(r.n):
        v = r.x[i] + alpha * r.d[i]
        if (v if r.low == NULL else within(r, i, v)) != r.x[i]:
            return True
    return False
