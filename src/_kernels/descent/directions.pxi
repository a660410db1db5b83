# Where to go: the compiled twin of graddesc/directions.py. Each direction fills d; without has_last the past is
# forgotten.


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
    if formula == HAGER_ZHANG_BETA:
        return fmax((yg - 2.0 * yy / dy * dg) / dy, 0.4 * dh / dd) if dy != 0.0 else INFINITY
    if formula == POLAK_RIBIERE:
        return fmax(yg / hh, 0.0) if hh != 0.0 else INFINITY
    if formula == HESTENES_STIEFEL:
        return fmax(yg / dy, 0.0) if dy != 0.0 else INFINITY
    if formula == FLETCHER_REEVES:
        return gg / hh if hh != 0.0 else INFINITY
    return gg / dy if dy != 0.0 else INFINITY


cdef double excess_of(const run_t *r) noexcept nogil:
    """The curvature along s that values tell beyond gradients, times s.s; zero where it could be of rounding."""
    cdef double sy = dot(r.stride, r.s, r.y), rounding, excess
    rounding = fmax(r.rounding * fmax(fabs(r.last_f), fabs(r.f)), r.noise)
    if not EXCESS_CLEARANCE * rounding < sy:
        return 0.0
    excess = 3.0 * (2.0 * dot(r.stride, r.g, r.s) - sy) - 6.0 * (r.f - r.last_f)
    return excess if isfinite(excess) else 0.0


cdef inline void remember_pair(run_t *r) noexcept nogil:
    """Let the ring grow over s and y, which are in it, if they tell of a curvature."""
    cdef double ss = dot(r.stride, r.s, r.s), sy = dot(r.stride, r.s, r.y), yy = dot(r.stride, r.y, r.y), excess
    cdef Py_ssize_t i
    if not (0.0 < yy < INFINITY and sy > 1e-10 * sqrt(ss) * sqrt(yy)):
        return
    excess = fmin(fmax(EXCESS_SHARE * r.excess, LEAST_EXCESS * sy), MOST_EXCESS * sy)
    if excess != 0.0 and ss > 0.0:
        for i in range(r.n):
            r.y[i] += excess / ss * r.s[i]
        sy, yy = dot(r.stride, r.s, r.y), dot(r.stride, r.y, r.y)
    r.pairs.reciprocals[r.pairs.next] = 1.0 / sy
    r.pairs.last_share = sy / yy
    r.pairs.next = r.pairs.next + 1 if r.pairs.next < r.settings.lbfgs_memory else 0
    if r.pairs.count < r.settings.lbfgs_memory:
        r.pairs.count += 1


cdef inline void remember_last_pair(run_t *r) noexcept nogil:
    """Remember the pair of the last iteration if no direction has asked for it."""
    if r.settings.direction == LBFGS and r.has_last and r.s == r.pairs.s + r.pairs.next * r.stride:
        r.excess = excess_of(r)
        remember_pair(r)


cdef inline void quasi_newton(run_t *r) noexcept nogil:
    """Fill d by the pairs; without any, with the negative gradient, no longer than 1."""
    cdef double norm
    cdef Py_ssize_t i
    if r.pairs.count == 0:
        norm = fmax(sqrt(dot(r.stride, r.g, r.g)), 1.0)
        # Over the zeros at its end as well, of which the recursion makes NaN where its direction is not finite.
        for i in range(r.stride):
            r.d[i] = -r.g[i] / norm
    elif r.n == 2:
        # Loops over two variables are short enough to be unrolled, which halves their time.
        two_loops(&r.pairs, 2, r.g, r.d)
    elif r.n < LONG_VECTOR:
        two_loops(&r.pairs, r.n, r.g, r.d)
    else:
        vectors.two_loops(&r.pairs, r.stride, r.g, r.d)


cdef void turn(run_t *r) noexcept nogil:
    cdef const settings_t *settings = r.settings
    cdef double share, t, v, mean_left, square_left
    cdef double *mean = r.pairs.s + r.stride
    cdef double *square = r.pairs.y + r.stride
    cdef Py_ssize_t i
    if settings.direction == LBFGS:
        if r.has_last:
            remember_pair(r)
        else:
            r.pairs.count = 0
        quasi_newton(r)
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
