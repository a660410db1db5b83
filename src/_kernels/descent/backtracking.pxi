# Ever shorter steps: the compiled twin of graddesc/line_search/backtracking.py.


cdef double parabola(const run_t *r, const trial_t *t) noexcept nogil:
    """The share of a trial's step where the parabola through it and the start is lowest, within [0.1, 0.5]."""
    cdef double curvature = t.f - r.f - t.linear
    return fmin(fmax(-0.5 * t.linear / curvature if curvature > 0.0 else 0.5, 0.1), 0.5)


cdef int shorten(run_t *r, double alpha, trial_t *t, double reference, double sufficient, double factor) noexcept nogil:
    """Shorten until the function is lowered: by a factor or, if that is 0, by parabolas."""
    cdef int ending
    while True:
        ending = at(r, alpha, t)
        if ending != FOUND or lowers(r, t, reference, sufficient):
            return ending
        if not moves(r, t.alpha):
            return NO_DECREASE
        if t.f == INFINITY:
            alpha = RETREAT * t.alpha
        else:
            alpha = t.alpha * (factor if factor > 0.0 else parabola(r, t))


cdef int backtracking(run_t *r, trial_t *t) noexcept nogil:
    cdef double alpha
    if r.settings.has_initial:
        alpha = r.settings.initial
    elif scaled(r):
        alpha = 1.0
    elif not r.has_last:
        alpha = unit_step(r)
    else:
        # One step longer than the last, as nothing else would let steps grow again.
        alpha = r.last_step / r.settings.factor
    return shorten(r, alpha, t, r.f, r.settings.sufficient_decrease, r.settings.factor)
