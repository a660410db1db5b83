# Steps without a search of their own: the compiled twin of graddesc/line_search/spectral.py.


cdef double spectral_step(const run_t *r) noexcept nogil:
    """What the last displacement and change of the gradient suggest; the formulas are those of FORMULAS."""
    cdef double ss, sy, yy, longer, shorter, alpha
    cdef int formula = r.settings.formula
    if scaled(r):
        return 1.0
    if not r.has_last:
        return 1.0 / r.scale
    ss, sy, yy = dot(r.stride, r.s, r.s), dot(r.stride, r.s, r.y), dot(r.stride, r.y, r.y)
    if sy > 0.0 and yy > 0.0:
        longer, shorter = ss / sy, sy / yy
        if formula == ALTERNATING:
            alpha = shorter if r.nit % 2 else longer
        elif formula == ADAPTIVE:
            alpha = shorter if shorter < 0.5 * longer else longer
        else:
            alpha = longer if formula == LONG else shorter
    elif yy > 0.0:
        # No curvature to go by: the geometric mean of the two formulas, without their sign.
        alpha = sqrt(ss / yy)
    else:
        alpha = r.last_step / RETREAT
    # Along another direction than the gradient's: where the same curvature would put the minimum.
    alpha *= -r.slope / dot(r.stride, r.d, r.d)
    return fmin(alpha, r.longest) if 0.0 < alpha < INFINITY else 1.0 / r.scale


cdef int barzilai_borwein(run_t *r, trial_t *t) noexcept nogil:
    cdef double highest = r.f
    cdef int k
    r.recent[r.n_recent % r.settings.memory] = r.f
    r.n_recent += 1
    for k in range(min(r.n_recent, r.settings.memory)):
        highest = fmax(highest, r.recent[k])
    return shorten(r, spectral_step(r), t, highest, r.settings.sufficient_decrease, 0.0)


cdef int polyak(run_t *r, trial_t *t) noexcept nogil:
    return follow(r, r.settings.relaxation * (r.f - r.settings.least) / -r.slope, t)
