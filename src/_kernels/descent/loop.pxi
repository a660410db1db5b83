# The loop: the compiled twin of graddesc/descent/loop.py, in the same order.


cdef int look(run_t *r, const double *steps, int n_steps, trial_t *t) noexcept nogil:
    """Find the next step along the ray by whatever the settings say."""
    cdef int step = r.settings.step
    if step == SCHEDULE:
        return follow(r, steps[min(r.nit, n_steps - 1)] if r.step_at == NULL else r.step_at(r), t)
    if step == EXACT:
        return exact_by_values(r, t)
    if step == EXACT_BY_SLOPES:
        return exact_by_slopes(r, t)
    if step == BACKTRACKING:
        return backtracking(r, t)
    if step == STRONG_WOLFE:
        return strong_wolfe(r, t)
    if step == HAGER_ZHANG:
        return hager_zhang(r, t)
    if step == BARZILAI_BORWEIN:
        return barzilai_borwein(r, t)
    return polyak(r, t)


cdef void place_again(run_t *r, trial_t *t) noexcept nogil:
    """Have a trial and its gradient at hand, unless its gradient is, for any but the one last evaluated."""
    if r.alpha_g == t.alpha or r.alpha_kept == t.alpha:
        gradient_at(r, t)
        place(r, t.alpha, r.trial)
        return
    place(r, t.alpha, r.trial)
    if r.alpha_last == t.alpha:
        r.asked_at = LAST_POINT
    else:
        r.asked_at = BEST_POINT if r.best_on_ray and r.alpha_best == t.alpha else OTHER_POINT
    gradient_at(r, t)


cdef int settle(run_t *r, trial_t *t) noexcept nogil:
    """Have the gradient at a found step, shortening the step until it is finite."""
    cdef bint searches = r.settings.step != SCHEDULE
    cdef int ending
    place_again(r, t)
    while not r.scale_g < INFINITY:
        if read(r.control.stop) or r.ended != FOUND:
            return INTERRUPTED if r.ended == FOUND else r.ended
        if not moves(r, t.alpha):
            return GRADIENT_NOT_FINITE
        ending = finite_trial(r, RETREAT * t.alpha, t)
        if ending != FOUND:
            return ending
        gradient_at(r, t)
    if searches and not moves(r, t.alpha):
        return TOO_SHORT
    return FOUND


cdef inline void step_to(run_t *r, const trial_t *t) noexcept nogil:
    """Make the trial, whose gradient is in g_trial, the iterate; s and y are how it got there."""
    cdef double alpha = t.alpha, v
    cdef const double *low = r.low
    cdef const double *high = r.high
    cdef const double *d = r.d
    cdef const double *g = r.g
    cdef const double *g_trial = r.g_trial
    cdef double *x = r.x
    cdef double *s
    cdef double *y
    cdef Py_ssize_t i
    if r.settings.direction == LBFGS:
        r.s, r.y = r.pairs.s + r.pairs.next * r.stride, r.pairs.y + r.pairs.next * r.stride
    if r.alpha_best != alpha:
        if r.best_on_ray and r.alpha_best == 0.0:
            memcpy(r.best, x, r.n * sizeof(double))
            r.best_on_ray = False
        keep_best(r)
    r.alpha_best = 0.0
    s, y = r.s, r.y
    if low == NULL:
        for i in range(r.n):
            v = x[i] + alpha * d[i]
            s[i] = v - x[i]
            y[i] = g_trial[i] - g[i]
            x[i] = v
    else:
        for i in range(r.n):
            v = x[i] + alpha * d[i]
            v = low[i] if v < low[i] else v
            v = high[i] if v > high[i] else v
            s[i] = v - x[i]
            # What a bound holds back tells nothing about curvature.
            y[i] = 0.0 if v == x[i] else g_trial[i] - g[i]
            x[i] = v
    r.g, r.g_trial = r.g_trial, r.g
    r.has_last = alpha != 0.0
    r.last_step, r.last_slope, r.last_f = alpha, r.slope, r.f
    r.f, r.scale, r.alpha = t.f, r.scale_g, alpha
    r.nit += 1


cdef bint go_to_best(run_t *r, double rounding) noexcept nogil:
    """Move the iterate to a point that is lower by more than rounding and has a gradient, if there is one."""
    cdef double scale
    if r.f - r.f_best <= rounding * fabs(r.f_best):
        return False
    keep_best(r)
    r.asked_at = BEST_POINT
    ask_gradient(r, r.best, r.f_best, r.g_trial)
    scale = measure(r, r.best, r.g_trial)
    r.alpha_g = NAN
    if not (scale < INFINITY or r.late):
        r.f_best = r.f
        return False
    memcpy(r.x, r.best, r.n * sizeof(double))
    r.g, r.g_trial = r.g_trial, r.g
    r.f = r.f_best
    r.scale = scale
    r.has_last = False
    return True


cdef bint set_free(run_t *r) noexcept nogil:
    """Fill g_free with the gradient of the variables that no bound holds; return whether one holds any.

    What the held ones have done in the last iteration is forgotten.
    """
    cdef const double *x = r.x
    cdef const double *g = r.g
    cdef const double *low = r.low
    cdef const double *high = r.high
    cdef double *g_free = r.g_free
    cdef double *moved = r.scratch
    cdef double *s = r.s
    cdef double *y = r.y
    cdef double near = fmin(r.scale, BINDING)
    cdef long long binding = False, binds
    cdef Py_ssize_t i
    for i in range(r.n):
        binds = ((g[i] > 0.0) & (x[i] <= low[i] + near)) | ((g[i] < 0.0) & (x[i] >= high[i] - near))
        g_free[i] = 0.0 if binds else g[i]
        binding |= binds
    if not binding:
        return False
    if r.has_last:
        for i in range(r.n):
            binds = ((g[i] > 0.0) & (x[i] <= low[i] + near)) | ((g[i] < 0.0) & (x[i] >= high[i] - near))
            moved[i] = s[i] if binds else 0.0
            s[i] = 0.0 if binds else s[i]
            y[i] = 0.0 if binds else y[i]
        if largest(r.stride, moved) > 0.0:
            # Values do not tell the curvature of the others apart.
            r.excess = 0.0
    return True


cdef void take_direction(run_t *r) noexcept nogil:
    """Fill d, where a bound holds a variable with the negative gradient (Bertsekas), and no way out of the bounds."""
    cdef double *g = r.g
    cdef const double *g_free = r.g_free
    cdef double *d = r.d
    cdef Py_ssize_t i
    if r.settings.direction == LBFGS and r.has_last:
        r.excess = excess_of(r)
    if r.low == NULL:
        turn(r)
        return
    if r.settings.direction != STEEPEST and set_free(r):
        r.g = r.g_free
        turn(r)
        r.g = g
        for i in range(r.n):
            d[i] = -g[i] if (g[i] != 0.0) & (g_free[i] == 0.0) else d[i]
    else:
        turn(r)
    if r.settings.step != SCHEDULE:
        let_pass(r, r.x, d, d)


cdef bint contradicted(run_t *r, bint resolved=False) noexcept nogil:
    """Whether values contradict the slope that the gradient tells along d: on both sides, at three distances.

    Equal values contradict it as well, unless they have to be resolved. The points beside x are no candidates.
    """
    cdef double most, size = fmax(1.0, largest(r.stride, r.x)), unit = r.rounding / ROUNDING_UNITS
    cdef double h, ahead, behind, told, least = INFINITY, greatest = -INFINITY, wrong
    cdef Py_ssize_t i, side
    cdef int _
    cdef double f[2]
    most = largest(r.stride, r.d)
    r.slope = dot(r.stride, r.g, r.d)
    if not (r.comparable and most > 0.0 and -INFINITY < r.slope < 0.0):
        return False
    wrong = -CONTRADICTED_SHARE * r.slope
    h = fmax(40.0 * r.rounding * fabs(r.f) / -r.slope, sqrt(unit) * size / most)
    for _ in range(3):
        if not h * most <= 0.1 * size:
            return False
        for side in range(2):
            for i in range(r.n):
                r.trial[i] = r.x[i] + (h if side == 0 else -h) * r.d[i]
                if r.low != NULL and within(r, i, r.trial[i]) != r.trial[i]:
                    return False
            if r.nfev >= r.settings.maxfun or read(r.control.stop) or r.ended != FOUND:
                return False
            r.nfev += 1
            r.beside = True
            f[side] = r.value(r.n, r.trial, r.data)
            r.beside = False
            if not isfinite(f[side]):
                return False
        if resolved and f[0] == r.f == f[1]:
            return False
        ahead, behind = (f[0] - r.f) / h, (r.f - f[1]) / h
        if least == INFINITY and fabs(ahead - behind) > wrong:
            # A kink, where every gradient is right on one side at most; or noise.
            return False
        told = 0.5 * (ahead + behind)
        if not (fabs(ahead - r.slope) > wrong and fabs(behind - r.slope) > wrong and fabs(told - r.slope) > wrong):
            return False
        least, greatest = fmin(least, told), fmax(greatest, told)
        # As many steps lead from the square root of the rounding unit to a hundredth or so, in any precision.
        h *= unit ** -0.125
    # Noise does not even agree with itself.
    return greatest - least <= wrong


cdef void steepest(run_t *r) noexcept nogil:
    """Fill d with the negative gradient, as far as it leads into the bounds."""
    cdef Py_ssize_t i
    for i in range(r.n):
        r.d[i] = 0.0 if r.low != NULL and held(r, i, r.x[i], -r.g[i]) else -r.g[i]


cdef bint disagree(run_t *r, bint resolved=False) noexcept nogil:
    """Whether values contradict the gradient where it finds no way down."""
    steepest(r)
    return contradicted(r, resolved)


cdef bint disagree_along_axis(run_t *r) noexcept nogil:
    """Whether values, and no equal ones, contradict the largest component of the gradient."""
    cdef Py_ssize_t i, k = 0
    cdef double down
    steepest(r)
    for i in range(r.n):
        k = i if fabs(r.d[i]) > fabs(r.d[k]) else k
    down = r.d[k]
    fill(r.n, r.d, 0.0)
    r.d[k] = down
    return contradicted(r, True)


cdef int descend(run_t *r, const double *steps, int n_steps) noexcept nogil:
    """Run from the start, whose value and gradient are known; return the ending."""
    cdef const settings_t *settings = r.settings
    cdef bint searches = settings.step != SCHEDULE, arrived = True, improved, weary, laborious, contradicts
    cdef bint may_contradict = searches and r.comparable and settings.step not in (EXACT, EXACT_BY_SLOPES)
    cdef double lowest = INFINITY, flattest = INFINITY
    cdef long long njev_then = 0, nfev_then = 0
    cdef int contradictions = 0, idle = 0, patience = PATIENCE if r.comparable else PATIENCE_BY_VALUES, ending
    cdef trial_t t
    while True:
        if read(r.control.stop):
            return INTERRUPTED
        improved = r.f < lowest - r.noise or r.scale < LOWER_SHARE * flattest
        if improved:
            lowest, flattest = fmin(lowest, r.f), fmin(flattest, r.scale)
        if arrived:
            if r.arrive != NULL and r.arrive(r):
                return INTERRUPTED if read(r.control.stop) else CALLBACK
            if r.has_last:
                idle = 0 if improved else idle + 1
        if improved:
            njev_then = r.njev
        weary = searches and (idle >= patience or (idle > 0 and r.njev - njev_then >= GRADIENTS_EACH * patience))
        if r.f_best <= settings.target:
            return TARGET
        if r.f_best < r.floor:
            return UNBOUNDED
        if r.scale < settings.tol or r.scale == 0.0 or r.drowned:
            if not go_to_best(r, r.rounding):
                return UNRESOLVED if r.unresolved else GRADIENT
            if not weary:
                # A stationary point, but a lower one has been seen: go on from there.
                arrived = False
                continue
            return IDLE
        if weary:
            keep_best(r)
            take_direction(r)
            return DISAGREE if contradicted(r) or disagree(r) else IDLE
        if arrived and r.has_last:
            laborious = may_contradict and r.nfev - nfev_then >= LABORIOUS
            contradicts = laborious and (disagree(r, True) or disagree_along_axis(r))
            contradictions = contradictions + 1 if contradicts else 0
            nfev_then = r.nfev
            if contradictions >= CONTRADICTIONS:
                return DISAGREE
            if settings.xtol > 0.0 and largest(r.stride, r.s) <= settings.xtol * fmax(1.0, largest(r.stride, r.x)):
                return XTOL
            if settings.ftol > 0.0 and fabs(r.last_f - r.f) <= settings.ftol * fmax(1.0, fabs(r.last_f)):
                return FTOL
        if r.nit >= settings.maxiter:
            return ITERATIONS
        if r.ended != FOUND:
            return r.ended
        if r.control.deadline < INFINITY and clock() >= r.control.deadline:
            return TIME
        keep_best(r)
        take_direction(r)
        r.slope = dot(r.stride, r.g, r.d)
        r.longest = LONGEST_MOVE / fmax(largest(r.stride, r.d), 1e-150)
        r.alpha_g = r.alpha_kept = r.alpha_last = NAN
        r.f_best_before, r.best_at_start = r.f_best, r.best_on_ray
        ending = NO_DESCENT
        if -INFINITY < r.slope < 0.0 or not (searches or isnan(r.slope)):
            ending = look(r, steps, n_steps, &t)
            if ending == TARGET or ending == UNBOUNDED:
                t.alpha, t.f = r.alpha_best, r.f_best
                place_again(r, &t)
                ending = FOUND
            elif ending == FOUND:
                ending = settle(r, &t)
        if ending == FOUND:
            step_to(r, &t)
            arrived = True
        elif r.has_last and status_of(ending) in (PRECISION, NOT_FINITE):
            # The direction may be to blame: forget the past and look down the gradient.
            r.has_last = arrived = False
        elif ending in (NO_DECREASE, TOO_SHORT) and disagree(r):
            return DISAGREE
        else:
            return ending
