# What searches share: the compiled twin of graddesc/line_search/ray.py.
#
# A search leaves its step in a trial, and returns FOUND or the ending of the run, which may be one that at() returns.


cdef inline bint scaled(const run_t *r) noexcept nogil:
    """Whether a step of 1 is natural along the direction."""
    return r.settings.direction == LBFGS and (r.pairs.count > 0 or not r.has_last)


cdef double unit_step(const run_t *r) noexcept nogil:
    """The step that moves by one; the square of a short direction may be below all numbers."""
    cdef double length = sqrt(dot(r.stride, r.d, r.d))
    return 1.0 / (length if length > 0.0 else largest(r.stride, r.d))


cdef double first_step(run_t *r) noexcept nogil:
    cdef double size, sy, dd
    if not r.has_last:
        # Nearly as far as the variables are large, whatever their unit.
        size = largest(r.stride, r.x)
        if size > 0.0:
            return fmin(FIRST_SHARE * size / largest(r.stride, r.d), r.longest)
        return 1.0 if scaled(r) else unit_step(r)
    if scaled(r):
        return 1.0
    sy, dd = dot(r.stride, r.s, r.y), dot(r.stride, r.d, r.d)
    if sy > 0.0 and dd > 0.0:
        # Where the curvature along the last displacement would put the minimum.
        return fmin(dot(r.stride, r.s, r.s) / sy * (-r.slope / dd), r.longest)
    return fmin(r.last_step * (r.last_slope / r.slope), r.longest)


cdef int finite_trial(run_t *r, double alpha, trial_t *t) noexcept nogil:
    cdef int ending = at(r, alpha, t)
    while ending == FOUND and t.f == INFINITY:
        if not moves(r, t.alpha):
            return VALUE_NOT_FINITE
        ending = at(r, RETREAT * t.alpha, t)
    return ending


cdef int follow(run_t *r, double alpha, trial_t *t) noexcept nogil:
    """Take a step as it is, or as much of it as leads to where the function is finite."""
    cdef int ending = finite_trial(r, alpha, t)
    if ending != FOUND:
        return ending
    r.lost = r.lost + 1 if t.alpha < fmin(alpha, r.longest) else 0
    return LOST if r.lost >= LOST_STEPS else FOUND


cdef inline bint blurred(run_t *r, const trial_t *t, double reference) noexcept nogil:
    """Whether a trial promises no more than the rounding of the value, nor differs from the reference by more."""
    cdef double rounding = r.rounding * fabs(r.f)
    return -rounding <= t.linear < 0.0 and fabs(t.f - reference) <= rounding


cdef bint lowers(run_t *r, trial_t *t, double reference, double sufficient) noexcept nogil:
    """Armijo's test of the trial just evaluated, against a reference; the approximate one where that is blurred."""
    if blurred(r, t, reference):
        return slope_at(r, t) <= (2.0 * sufficient - 1.0) * (t.linear / t.alpha)
    return t.linear < 0.0 and t.f <= reference + sufficient * t.linear


cdef bint exhausted(const run_t *r, const trial_t *low, double slope_low, const trial_t *high) noexcept nogil:
    """Whether no step between two trials lowers the function much further than the lower one has done."""
    cdef double width = fabs(high.alpha - low.alpha), gain
    if r.low == NULL:
        return width <= 1e-15 * fmax(low.alpha, high.alpha)
    gain = fabs(slope_low) * width
    return low.alpha > 0.0 and (low.f - gain == low.f or (high.f < INFINITY and gain <= NEGLIGIBLE * (r.f - low.f)))
