# The minimum along the ray: the compiled twin of graddesc/line_search/exact.py.

cdef double GOLDEN_RATIO = 1.618034
cdef double GOLDEN_SECTION = 0.3819660
cdef double GROW_LIMIT = 110.0
cdef int MOST_BRACKETS = 1000
cdef double LEAST_TOLERANCE = 1e-11
cdef double LEAST_DENOMINATOR = 1e-21
# Trials by slopes before values must do, and the share of the first slope from which on rounding may keep it up.
cdef int SLOPES = 12
cdef double NEARLY = 1e-3
# The share of the first slope from which on a trial is far away from the root.
cdef double STEEP = 10.0
# The most iterations by values after slopes have failed.
cdef int MOST_SKIPPED = 100


cdef int bracket(run_t *r, trial_t *a, trial_t *b, trial_t *c, bint *found) noexcept nogil:
    """Look for three trials of which the middle one is the lowest."""
    cdef double to_a, to_c, difference, alpha, limit
    cdef trial_t t
    cdef int ending, _
    a.alpha, a.f, a.linear = 0.0, r.f, 0.0
    ending = at(r, r.settings.initial, b)
    if ending != FOUND:
        return ending
    if a.f < b.f:
        a[0], b[0] = b[0], a[0]
    ending = at(r, b.alpha + GOLDEN_RATIO * (b.alpha - a.alpha), c)
    for _ in range(MOST_BRACKETS):
        if ending != FOUND:
            return ending
        if not c.f < b.f or fabs(c.alpha) >= r.longest:
            break
        # The minimum of the parabola through the three, but not further than the limit.
        to_a = (b.alpha - a.alpha) * (b.f - c.f)
        to_c = (b.alpha - c.alpha) * (b.f - a.f)
        difference = to_c - to_a
        if fabs(difference) < LEAST_DENOMINATOR:
            difference = LEAST_DENOMINATOR
        alpha = b.alpha - ((b.alpha - c.alpha) * to_c - (b.alpha - a.alpha) * to_a) / (2.0 * difference)
        limit = b.alpha + GROW_LIMIT * (c.alpha - b.alpha)
        if (alpha - c.alpha) * (b.alpha - alpha) > 0.0:
            ending = at(r, alpha, &t)
            if ending != FOUND:
                return ending
            if t.f < c.f:
                a[0], b[0] = b[0], t
                break
            if t.f > b.f:
                c[0] = t
                break
            ending = at(r, c.alpha + GOLDEN_RATIO * (c.alpha - b.alpha), &t)
        elif (alpha - limit) * (limit - c.alpha) >= 0.0:
            ending = at(r, limit, &t)
        elif (alpha - limit) * (c.alpha - alpha) > 0.0:
            ending = at(r, alpha, &t)
            if ending == FOUND and t.f < c.f:
                b[0], c[0] = c[0], t
                ending = at(r, c.alpha + GOLDEN_RATIO * (c.alpha - b.alpha), &t)
        else:
            ending = at(r, c.alpha + GOLDEN_RATIO * (c.alpha - b.alpha), &t)
        a[0], b[0], c[0] = b[0], c[0], t
    if ending != FOUND:
        return ending
    found[0] = ((b.f < c.f and b.f <= a.f) or (b.f < a.f and b.f <= c.f)) and (
        a.alpha < b.alpha < c.alpha or c.alpha < b.alpha < a.alpha
    )
    if not found[0]:
        # The lowest that was seen.
        if a.f <= b.f and a.f <= c.f:
            b[0] = a[0]
        elif c.f < b.f:
            b[0] = c[0]
    return FOUND


cdef int brent(run_t *r, double a, double b, trial_t *best) noexcept nogil:
    """Close in on the minimum between a and b, from the lowest trial there on."""
    cdef double x = best.alpha, w = x, v = x, fx = best.f, fw = fx, fv = fx, u, fu
    cdef double near, center, p, q, before, move = 0.0, last_move = 0.0
    cdef bint parabolic
    cdef trial_t t
    cdef int ending, _
    for _ in range(r.settings.max_trials):
        near = r.settings.tolerance * fabs(x) + LEAST_TOLERANCE
        center = 0.5 * (a + b)
        if fabs(x - center) < 2.0 * near - 0.5 * (b - a):
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
            parabolic = q * (a - x) < p and p < q * (b - x) and fabs(p) < fabs(0.5 * q * before)
        if parabolic:
            move = p / q
            u = x + move
            if u - a < 2.0 * near or b - u < 2.0 * near:
                move = near if center - x >= 0.0 else -near
        else:
            last_move = (a if x >= center else b) - x
            move = GOLDEN_SECTION * last_move
        u = x + (move if fabs(move) >= near else (near if move >= 0.0 else -near))
        ending = at(r, u, &t)
        if ending != FOUND:
            best[0] = t
            return ending
        fu = t.f
        if fu > fx:
            if u < x:
                a = u
            else:
                b = u
            if fu <= fw or w == x:
                v, fv, w, fw = w, fw, u, fu
            elif fu <= fv or v == x or v == w:
                v, fv = u, fu
        else:
            if u >= x:
                a = x
            else:
                b = x
            v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
            best[0] = t
    return FOUND


cdef int exact_by_values(run_t *r, trial_t *t) noexcept nogil:
    """Brent's method in a bracket that grows downhill."""
    cdef trial_t a, c
    cdef bint found = False
    cdef int ending = bracket(r, &a, t, &c, &found)
    if ending == FOUND and found:
        ending = brent(r, fmin(a.alpha, c.alpha), fmax(a.alpha, c.alpha), t)
    if ending != FOUND or t.f < r.f or (t.f == r.f and moves(r, t.alpha)):
        return ending
    # The bracket looked too far away: where the function is flat at that scale, there may be a descent nearby.
    return shorten(r, RETREAT * r.settings.initial, t, r.f, 0.0, RETREAT)


cdef double cubic(double b, double fa, double sa, double fb, double sb) noexcept nogil:
    """The minimum of the cubic through values and slopes at 0 and b; NaN if it has none."""
    cdef double p = sa * b, q = sb * b, theta = p + q - 3.0 * (fb - fa), square = theta * theta - p * q, root, width
    if not square >= 0.0:
        return NAN
    root = sqrt(square)
    width = q - p + 2.0 * root
    return b - b * ((q + root - theta) / width) if width != 0.0 else NAN


cdef int root_of_slope(run_t *r, trial_t *t, bint *found) noexcept nogil:
    """Look for the trial where the slope vanishes near the last step."""
    # u is the trial, a the one before and c the one before that; low and high have a minimum between them.
    cdef double u = 1.0 if scaled(r) else r.last_step, su, a = 0.0, sa = r.slope, c = 0.0
    cdef double low = 0.0, f_low = r.f, high = INFINITY, v
    cdef double curvature = 0.0, before, bend, ahead, square, slack = r.rounding * fabs(r.f)
    cdef int k, ending
    if not 0.0 < u < r.longest:
        return FOUND
    for k in range(min(r.settings.max_trials, SLOPES)):
        ending = at(r, u, t)
        if ending != FOUND:
            return ending
        su = slope_at(r, t)
        if su == INFINITY:
            return FOUND
        before, curvature = curvature, (su - sa) / (u - a)
        if t.f <= r.f + slack and (
            su == 0.0
            or (k > 0 and fabs(su) <= (r.settings.tolerance * u + LEAST_TOLERANCE) * curvature)
            or (k > 1 and 0.5 * fabs(sa) <= fabs(su) <= -NEARLY * r.slope)
        ):
            found[0] = True
            return FOUND
        if su >= 0.0 or t.f > f_low + slack:
            high = u
        else:
            low, f_low = u, t.f
        if k == 0:
            v = cubic(u, r.f, r.slope, t.f, su)
        else:
            # The root of the parabola through the last three slopes that is near the last.
            bend = (curvature - before) / (u - c)
            ahead = curvature + bend * (u - a)
            square = ahead * ahead - 4.0 * su * bend
            if square >= 0.0 and ahead > 0.0:
                v = u - 2.0 * su / (ahead + sqrt(square))
            else:
                v = u - su / curvature if curvature != 0.0 else NAN
        if low == 0.0 and su > -STEEP * r.slope:
            # The function grows faster than a cubic, which would come back by a third or a quarter only.
            v = fmin(v, RETREAT * u)
        if high == INFINITY:
            v = fmin(v, 10.0 * u) if v > u else 4.0 * u
            if not v < r.longest:
                return FOUND
        elif not low < v < high:
            v = sqrt(low * high) if low > 0.0 else 0.5 * high
        if v == u or v == a:
            return FOUND
        c, a, sa, u = a, u, su, v
    return FOUND


cdef int exact_by_slopes(run_t *r, trial_t *t) noexcept nogil:
    """The root of the slope near the last step; without one, or if none is found soon, the minimum by values."""
    cdef bint found = False
    cdef int ending
    if not r.has_last or r.low != NULL or r.nit < r.resume:
        return exact_by_values(r, t)
    ending = root_of_slope(r, t, &found)
    if found:
        r.skipped = 0
    if found or ending != FOUND:
        return ending
    # Where this fails it is likely to fail again: it is left out for one iteration, then for three, for seven...
    r.skipped = min(2 * r.skipped + 1, MOST_SKIPPED)
    r.resume = r.nit + 1 + r.skipped
    return exact_by_values(r, t)
