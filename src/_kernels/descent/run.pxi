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


ctypedef struct run_t:
    value_t value
    gradient_t gradient
    void *data
    int n
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
    # Points and directions; gradients at x, at the last trial looked at and at one to come back to.
    double *x
    double *g
    double *d
    double *trial
    double *g_trial
    double *g_kept
    double *g_free
    double *best
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
    # L-BFGS: pairs s, y and 1 / s.y, a ring of one more than are remembered, which s and y above are written to; the
    # slot that is next, and s.y / y.y of the last pair. Adam: the two means.
    double *pairs_s
    double *pairs_y
    double *reciprocals
    double *shares
    int n_pairs
    int next_pair
    double last_share
    double excess  # the curvature along s that values tell beyond gradients, times s.s
    double t
    long long turns


# Vectors. Sums run in eight lanes, which every machine adds up in the same order.


cdef inline double sum_of(const double *lanes) noexcept nogil:
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))


cdef inline double dot(Py_ssize_t n, const double *a, const double *b) noexcept nogil:
    cdef double lanes[8]
    cdef double total = 0.0
    cdef Py_ssize_t i = 0, k
    if n >= 8:
        for k in range(8):
            lanes[k] = 0.0
        while i + 8 <= n:
            for k in range(8):
                lanes[k] += a[i + k] * b[i + k]
            i += 8
        total = sum_of(lanes)
    while i < n:
        total += a[i] * b[i]
        i += 1
    return total


cdef inline double add_and_dot(Py_ssize_t n, double *d, double c, const double *a, const double *b) noexcept nogil:
    """Add c a to d, and return d.b; one pass."""
    cdef double lanes[8]
    cdef double total = 0.0, v
    cdef Py_ssize_t i = 0, k
    if n >= 8:
        for k in range(8):
            lanes[k] = 0.0
        while i + 8 <= n:
            for k in range(8):
                v = d[i + k] + c * a[i + k]
                d[i + k] = v
                lanes[k] += v * b[i + k]
            i += 8
        total = sum_of(lanes)
    while i < n:
        v = d[i] + c * a[i]
        d[i] = v
        total += v * b[i]
        i += 1
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
    cdef double lanes[8]
    cdef double poison[8]
    cdef double most = 0.0, v
    cdef Py_ssize_t i = 0, k
    if n >= 8:
        for k in range(8):
            lanes[k] = poison[k] = 0.0
        while i + 8 <= n:
            for k in range(8):
                v = fabs(a[i + k])
                lanes[k] = v if v > lanes[k] else lanes[k]
                poison[k] += v - v
            i += 8
        for k in range(8):
            most = larger(most, lanes[k])
            if poison[k] != 0.0:
                return INFINITY
    while i < n:
        most = larger(most, a[i])
        i += 1
    return most


# Bounds.


cdef inline double within(const run_t *r, Py_ssize_t i, double v) noexcept nogil:
    return r.low[i] if v < r.low[i] else r.high[i] if v > r.high[i] else v


cdef inline bint held(const run_t *r, Py_ssize_t i, double x, double d) noexcept nogil:
    """Whether a direction points out of the bounds."""
    return (d < 0.0 and x <= r.low[i]) or (d > 0.0 and x >= r.high[i])


cdef double place(run_t *r, double alpha, double *out) noexcept nogil:
    """Write the point one step along the ray; return the change that the gradient predicts for it."""
    cdef double linear = 0.0, v
    cdef Py_ssize_t i
    if r.low == NULL:
        for i in range(r.n):
            out[i] = r.x[i] + alpha * r.d[i]
        return alpha * r.slope
    for i in range(r.n):
        v = within(r, i, r.x[i] + alpha * r.d[i])
        linear += r.g[i] * (v - r.x[i])
        out[i] = v
    return linear


cdef double measure(const run_t *r, const double *x, double *g) noexcept nogil:
    """The largest component of the projected gradient; infinity if the gradient is not finite."""
    cdef double most = 0.0, all_of_it = 0.0, v
    cdef Py_ssize_t i
    if r.low == NULL:
        most = all_of_it = largest(r.n, g)
    else:
        for i in range(r.n):
            v = g[i]
            if r.low[i] == r.high[i]:
                # The gradient counts as zero where a variable is fixed.
                g[i] = v = 0.0
            all_of_it = larger(all_of_it, v)
            v = x[i] - r.high[i] if v < x[i] - r.high[i] else v
            v = x[i] - r.low[i] if v > x[i] - r.low[i] else v
            most = larger(most, v)
    return most if all_of_it < HUGE else INFINITY


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
    cdef double slope = 0.0
    cdef Py_ssize_t i
    if t.f == INFINITY:
        return INFINITY
    gradient_at(r, t)
    if not r.scale_g < INFINITY:
        t.f = INFINITY
        return INFINITY
    if r.low == NULL:
        return dot(r.n, r.g_trial, r.d)
    for i in range(r.n):
        if not held(r, i, r.trial[i], r.d[i]):
            slope += r.g_trial[i] * r.d[i]
    return slope


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
