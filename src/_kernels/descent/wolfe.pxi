# Steps that flatten the slope: the compiled twin of graddesc/line_search/wolfe.py.

# The share of the decrease so far that is not worth another trial where a projected path bends.
cdef double NEGLIGIBLE = 0.1
# How much further than the last interval a search looks at most where the slope does not flatten, the first times.
cdef double REACH = 9.0
# Interpolation stays this share of the interval away from its ends.
cdef double INSET = 0.1625


cdef double interpolate(
    const trial_t *low, double slope_low, const trial_t *high, double slope_high, double rounding
) noexcept nogil:
    """The minimum of the cubic between two trials, or of the parabola where the second slope is NaN."""
    cdef double width = high.alpha - low.alpha, share = 0.5, curvature, change, p, q, theta, square, root
    if high.f == INFINITY:
        # The first time, nothing tells how far away from the start the function is finite.
        return low.alpha + (RETREAT if low.alpha == 0.0 else 0.5) * width
    if slope_high != slope_high:
        curvature = high.f - low.f - slope_low * width
        if curvature > 0.0:
            share = -0.5 * slope_low * width / curvature
    else:
        # Nocedal and Wright, equation 3.59, with the interval mapped to [0, 1].
        p, q = slope_low * width, slope_high * width
        change = high.f - low.f
        if fabs(change) <= rounding * fabs(low.f):
            # The slopes alone tell, by their trapezium: the cubic is then the parabola through them.
            change = 0.5 * (p + q)
        theta = p + q - 3.0 * change
        square = theta * theta - p * q
        if square >= 0.0:
            root = sqrt(square)
            if q - p + 2.0 * root != 0.0:
                share = 1.0 - (q + root - theta) / (q - p + 2.0 * root)
    if not INSET <= share <= 1.0 - INSET:
        share = INSET if share < INSET else 1.0 - INSET if share > 0.5 else 0.5
    return low.alpha + share * width


cdef int strong_wolfe(run_t *r, trial_t *t) noexcept nogil:
    """Nocedal and Wright, algorithms 3.5 and 3.6, as one loop."""
    cdef trial_t low, high
    cdef double slope, slope_low = r.slope, slope_high = NAN, alpha = first_step(r), width, reach = REACH
    cdef bint has_high = False, blur, straight = False
    cdef int ending, _
    low.alpha, low.f, low.linear = 0.0, r.f, 0.0
    high = low
    for _ in range(r.settings.max_trials):
        ending = at(r, alpha, t)
        if ending != FOUND:
            return ending
        blur = blurred(r, t, r.f)
        if not lowers(r, t, r.f, r.settings.sufficient_decrease) or (t.f >= low.f and low.alpha > 0.0 and not blur):
            slope_high = slope_at(r, t) if blur else NAN
            high, has_high = t[0], True
        else:
            slope = slope_at(r, t)
            if slope == INFINITY:
                high, slope_high, has_high = t[0], NAN, True
            elif fabs(slope) <= r.settings.curvature * fabs(t.linear / t.alpha):
                return FOUND
            elif slope * (t.alpha - low.alpha) >= 0.0:
                high, slope_high, has_high = low, slope_low, True
                low, slope_low = t[0], slope
                keep_gradient(r)
            elif not has_high and t.alpha < r.longest:
                # Where the slope would vanish, two to ten times as far ahead; ever further along a straight line.
                width = t.alpha - low.alpha
                if slope > slope_low:
                    alpha = t.alpha + fmin(fmax(-slope * width / (slope - slope_low), width), REACH * width)
                else:
                    reach = reach * reach if straight else reach
                    straight = True
                    alpha = t.alpha + reach * width
                low, slope_low = t[0], slope
                keep_gradient(r)
                continue
            else:
                low, slope_low = t[0], slope
                keep_gradient(r)
        if not has_high or exhausted(r, &low, slope_low, &high):
            break
        alpha = interpolate(&low, slope_low, &high, slope_high, r.rounding)
    t[0] = low
    return FOUND if low.alpha > 0.0 else NO_DECREASE


# Hager and Zhang: a point is a trial and its slope; names of steps are those of the paper.

cdef double EXPANSION = 5.0
cdef double STRAIGHT = 1e-3
cdef double BISECT_UNLESS_SHRUNK = 0.66
# Returned by steps of the search that have accepted no trial yet.
cdef enum:
    SEARCHING = -1


ctypedef struct point_t:
    trial_t t
    double slope


ctypedef struct interval_t:
    double highest   # the value that a trial must not exceed where slopes speak for it
    trial_t *lowest  # the lowest trial that lowers the function enough, and the one accepted
    bint has_lowest
    int left


cdef int probe(run_t *r, interval_t *i, double alpha, point_t *c) noexcept nogil:
    cdef double delta = r.settings.sufficient_decrease, first_slope
    cdef bint decreases, flattens
    cdef int ending
    if i.left == 0:
        return FOUND if i.has_lowest else NO_DECREASE
    i.left -= 1
    ending = at(r, alpha, &c.t)
    if ending != FOUND:
        return ending
    c.slope = slope_at(r, &c.t)
    if c.t.f < INFINITY and c.t.linear < 0.0:
        first_slope = c.t.linear / c.t.alpha
        decreases = c.t.f <= r.f + delta * c.t.linear
        flattens = c.slope >= r.settings.curvature * first_slope
        if flattens and (decreases or (c.slope <= (2.0 * delta - 1.0) * first_slope and c.t.f <= i.highest)):
            i.lowest[0] = c.t
            return FOUND
        if decreases and (not i.has_lowest or c.t.f < i.lowest.f):
            i.lowest[0] = c.t
            i.has_lowest = True
            keep_gradient(r)
    return SEARCHING


cdef inline bint wide(const point_t *a, const point_t *b) noexcept nogil:
    return b.t.alpha - a.t.alpha > 1e-15 * b.t.alpha


cdef int bisect(run_t *r, interval_t *i, point_t *a, point_t *b) noexcept nogil:
    """U3: a slopes down from low enough, b is too high."""
    cdef point_t d
    cdef double share
    cdef int ending
    while wide(a, b):
        share = 0.5 if b.t.f < INFINITY else RETREAT
        ending = probe(r, i, a.t.alpha + share * (b.t.alpha - a.t.alpha), &d)
        if ending != SEARCHING:
            return ending
        if d.t.f == INFINITY:
            b[0] = d
        elif d.slope >= 0.0:
            b[0] = d
            return SEARCHING
        elif d.t.f <= i.highest:
            a[0] = d
        else:
            b[0] = d
    return SEARCHING


cdef int update(run_t *r, interval_t *i, point_t *a, point_t *b, const point_t *c) noexcept nogil:
    """U1 to U3: the part of the interval on c's side of the minimum, for c inside."""
    if c.t.f == INFINITY or (c.slope < 0.0 and c.t.f > i.highest):
        b[0] = c[0]
        return bisect(r, i, a, b)
    if c.slope >= 0.0:
        b[0] = c[0]
    else:
        a[0] = c[0]
    return SEARCHING


cdef int grow(run_t *r, interval_t *i, point_t *a, point_t *b) noexcept nogil:
    """B0 to B3: grow until the slope turns or the value rises."""
    cdef point_t start = a[0]
    cdef double alpha = first_step(r), expansion = EXPANSION
    cdef int ending
    while True:
        ending = probe(r, i, alpha, b)
        if ending != SEARCHING:
            return ending
        if b.t.f == INFINITY:
            return bisect(r, i, a, b)
        if b.slope >= 0.0:
            return SEARCHING
        if b.t.f > i.highest:
            a[0] = start
            return bisect(r, i, a, b)
        if b.t.alpha >= r.longest:
            a[0] = b[0]
            return SEARCHING
        # The paper's, but ever further along a straight line.
        expansion = expansion * EXPANSION if fabs(b.slope - a.slope) <= STRAIGHT * fabs(a.slope) else EXPANSION
        a[0] = b[0]
        alpha = expansion * b.t.alpha


cdef int secant(
    run_t *r, interval_t *i, const point_t *a, const point_t *b, const point_t *low, const point_t *high, point_t *c,
    bint *inside
) noexcept nogil:
    """Probe where the line through two slopes vanishes, unless that is outside of the interval (U0)."""
    cdef double change = b.slope - a.slope, alpha
    inside[0] = False
    if not (isfinite(change) and change != 0.0):
        return SEARCHING
    alpha = (a.t.alpha * b.slope - b.t.alpha * a.slope) / change
    inside[0] = low.t.alpha < alpha < high.t.alpha
    return probe(r, i, alpha, c) if inside[0] else SEARCHING


cdef int secant2(run_t *r, interval_t *i, point_t *a, point_t *b) noexcept nogil:
    """S1 to S4: two secant steps, of which the second starts from the end that the first has moved."""
    cdef point_t before_a = a[0], before_b = b[0], c, second
    cdef bint inside
    cdef int ending = secant(r, i, a, b, a, b, &c, &inside)
    if ending != SEARCHING or not inside:
        return ending
    ending = update(r, i, a, b, &c)
    if ending != SEARCHING:
        return ending
    if b.t.alpha == c.t.alpha:
        ending = secant(r, i, &before_b, &c, a, b, &second, &inside)
    elif a.t.alpha == c.t.alpha:
        ending = secant(r, i, &before_a, &c, a, b, &second, &inside)
    else:
        return SEARCHING
    if ending != SEARCHING or not inside:
        return ending
    return update(r, i, a, b, &second)


cdef int hager_zhang(run_t *r, trial_t *t) noexcept nogil:
    cdef interval_t i
    cdef point_t a, b, c
    cdef double width
    cdef int ending
    i.highest, i.lowest, i.has_lowest, i.left = r.f + r.settings.blur * fabs(r.f), t, False, r.settings.max_trials
    a.t.alpha, a.t.f, a.t.linear, a.slope = 0.0, r.f, 0.0, r.slope
    ending = grow(r, &i, &a, &b)
    while ending == SEARCHING and wide(&a, &b):
        width = b.t.alpha - a.t.alpha
        ending = secant2(r, &i, &a, &b)
        if ending == SEARCHING and b.t.alpha - a.t.alpha > BISECT_UNLESS_SHRUNK * width:
            ending = probe(r, &i, 0.5 * (a.t.alpha + b.t.alpha), &c)
            if ending == SEARCHING:
                ending = update(r, &i, &a, &b, &c)
    if ending != SEARCHING:
        return ending
    return FOUND if i.has_lowest else NO_DECREASE
