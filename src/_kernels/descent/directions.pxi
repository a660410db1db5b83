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
    cdef double sy = dot(r.n, r.s, r.y), rounding, excess
    rounding = fmax(r.rounding * fmax(fabs(r.last_f), fabs(r.f)), r.noise)
    if not EXCESS_CLEARANCE * rounding < sy:
        return 0.0
    excess = 3.0 * (2.0 * dot(r.n, r.g, r.s) - sy) - 6.0 * (r.f - r.last_f)
    return excess if isfinite(excess) else 0.0


cdef inline void remember_pair(run_t *r) noexcept nogil:
    """Let the ring grow over s and y, which are in it, if they tell of a curvature."""
    cdef double ss = dot(r.n, r.s, r.s), sy = dot(r.n, r.s, r.y), yy = dot(r.n, r.y, r.y), excess
    if not (0.0 < yy < INFINITY and sy > 1e-10 * sqrt(ss) * sqrt(yy)):
        return
    excess = fmin(fmax(EXCESS_SHARE * r.excess, LEAST_EXCESS * sy), MOST_EXCESS * sy)
    if excess != 0.0 and ss > 0.0:
        sy = add_and_dot(r.n, r.y, excess / ss, r.s, r.s)
        yy = dot(r.n, r.y, r.y)
    r.reciprocals[r.next_pair] = 1.0 / sy
    r.last_share = sy / yy
    r.next_pair = r.next_pair + 1 if r.next_pair < r.settings.lbfgs_memory else 0
    if r.n_pairs < r.settings.lbfgs_memory:
        r.n_pairs += 1


cdef inline void two_loops(run_t *r, int n) noexcept nogil:
    """The recursion of Liu and Nocedal, where each pass over d also takes the next product."""
    cdef int k, slot = r.next_pair, last = r.settings.lbfgs_memory, newest, before
    cdef double share, norm, product
    cdef double *s
    cdef double *y
    cdef Py_ssize_t i
    if r.n_pairs == 0:
        norm = fmax(sqrt(dot(n, r.g, r.g)), 1.0)
        for i in range(n):
            r.d[i] = -r.g[i] / norm
        return
    slot = newest = slot - 1 if slot > 0 else last
    for i in range(n):
        r.d[i] = -r.g[i]
    product = dot(n, r.pairs_s + <Py_ssize_t>slot * n, r.d)
    for k in range(r.n_pairs):
        share = product * r.reciprocals[slot]
        r.shares[slot] = share
        y = r.pairs_y + <Py_ssize_t>slot * n
        if k == r.n_pairs - 1:
            for i in range(n):
                r.d[i] = (r.d[i] - share * y[i]) * r.last_share
        else:
            before = slot - 1 if slot > 0 else last
            product = add_and_dot(n, r.d, -share, y, r.pairs_s + <Py_ssize_t>before * n)
            slot = before
    product = dot(n, r.pairs_y + <Py_ssize_t>slot * n, r.d)
    for k in range(r.n_pairs):
        share = r.shares[slot] - product * r.reciprocals[slot]
        s = r.pairs_s + <Py_ssize_t>slot * n
        if slot == newest:
            for i in range(n):
                r.d[i] += share * s[i]
        else:
            slot = slot + 1 if slot < last else 0
            product = add_and_dot(n, r.d, share, s, r.pairs_y + <Py_ssize_t>slot * n)


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
