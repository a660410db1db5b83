# What the solvers of images and of volumes by conjugate gradients and a multigrid cycle share: included, not imported,
# by multigrid.pyx and volume_quadratics.pyx, after rows.pxi and their structs Solver and Job.

# ---- sums ----

cdef inline double dot(const float *a, const float *b, Py_ssize_t width) noexcept nogil:
    # In double: a smooth correction times a rough residual is a small sum of large terms.
    cdef double[LANES] lanes
    cdef double total = 0
    cdef Py_ssize_t j, k, lane, whole = width // LANES * LANES
    clear(lanes, LANES)
    for k in range(width // LANES):
        j = k * LANES
        for lane in range(LANES):
            lanes[lane] += <double> a[j + lane] * <double> b[j + lane]
    for j in range(whole, width):
        lanes[j - whole] += <double> a[j] * <double> b[j]
    for lane in range(8):
        lanes[lane] += lanes[lane + 8]
    for lane in range(8):
        total += lanes[lane]
    return total


cdef inline double tally(const double *terms, Py_ssize_t width) noexcept nogil:
    cdef double[8] lanes
    cdef double total = 0
    cdef Py_ssize_t j, k, lane, whole = width // 8 * 8
    clear(lanes, 8)
    for k in range(width // 8):
        j = 8 * k
        for lane in range(8):
            lanes[lane] += terms[j + lane]
    for j in range(whole, width):
        lanes[j - whole] += terms[j]
    for lane in range(8):
        total += lanes[lane]
    return total


# ---- between two levels ----

cdef inline float share(Py_ssize_t i, Py_ssize_t coarse, Py_ssize_t side) noexcept nogil:
    # What the finer row (or column) i takes of a coarse one.
    cdef Py_ssize_t near = i // 2, far = near + (1 if i & 1 else -1), half = (side + 1) // 2
    cdef float out = 0
    if half == 1:
        return 1
    if 0 <= far < half:
        if coarse == near:
            out = 0.75
        elif coarse == far:
            out = 0.25
    elif coarse == near:
        out = 1.25
    elif coarse == 2 * near - far:
        out = -0.25
    return out


cdef inline void extrapolate(float *row, Py_ssize_t first, Py_ssize_t last, Py_ssize_t cols) noexcept nogil:
    # row has the coarse pixels from `first` to the one before `last`: put one more at the image's border.
    if first == 0:
        (row - 1)[0] = row[0] if cols == 1 else row[0] + row[0] - row[1]
    if last == cols:
        row[cols - first] = row[0] if cols == 1 else (
            row[cols - first - 1] + row[cols - first - 1] - row[cols - first - 2]
        )


cdef inline void interleave(const float *row, Py_ssize_t width, float *out) noexcept nogil:
    # Two finer pixels for each of the coarse ones.
    cdef Py_ssize_t k
    cdef float near = 0.75, far = 0.25
    for k in range(width):
        out[2 * k] = near * row[k] + far * (row - 1)[k]
        out[2 * k + 1] = near * row[k] + far * row[k + 1]


cdef inline void join(const float *row, Py_ssize_t width, float *out) noexcept nogil:
    # The transpose, but for the border; row points to the first of the finer pixels that the coarse ones cover.
    cdef Py_ssize_t k
    cdef float near = 0.75, far = 0.25
    for k in range(width):
        out[k] = near * (row[2 * k] + row[2 * k + 1]) + far * ((row - 1)[2 * k] + row[2 * k + 2])


cdef inline void join_border(
    const float *row, Py_ssize_t first, Py_ssize_t low, Py_ssize_t high, Py_ssize_t cols, Py_ssize_t fine_cols,
    float *out,
) noexcept nogil:
    # The transpose of what extrapolation adds, to the coarse pixels from `low` to the one before `high`. out points to
    # coarse pixel `first`, row to the first of the finer ones that it covers.
    cdef float far
    if low <= 1:
        far = <float> 0.25 * (row - 2 * first)[0]
        if low <= 0:
            (out - first)[0] += far if cols == 1 else far + far
        if cols > 1 and high > 1:
            (out - first)[1] -= far
    if high >= cols - 1 and fine_cols % 2 == 0:
        far = <float> 0.25 * row[fine_cols - 1 - 2 * first]
        if high >= cols:
            out[cols - 1 - first] += far if cols == 1 else far + far
        if cols > 1 and low <= cols - 2:
            out[cols - 2 - first] -= far


cdef inline double total(const Job *job, int which) noexcept nogil:
    cdef Py_ssize_t part
    cdef double out = 0
    for part in range(job.parts):
        out += job.sums[2 * part + which]
    return out


cdef inline Py_ssize_t part_start(const Job *job, Py_ssize_t part) noexcept nogil:
    return job.level.spans * part // job.parts


# ---- the smoother, and the coarsest level ----

cdef void choose_steps(Solver *solver, int kind) noexcept nogil:
    # The inverses of the roots of Chebyshev's polynomial on [1/4, 1], of degree 1 and 2.
    solver.smoothing = 1 if kind == FIRST else 2
    if solver.smoothing == 1:
        solver.relaxation[0] = <float> (1 / 0.625)
    else:
        solver.relaxation[0] = <float> (1 / (0.625 + 0.375 * sqrt(0.5)))
        solver.relaxation[1] = <float> (1 / (0.625 - 0.375 * sqrt(0.5)))


cdef void solve(Solver *solver) noexcept nogil:
    # By the factors that `factorise` has left.
    cdef Level *level = &solver.level[solver.levels - 1]
    cdef Py_ssize_t[DIRECT] places
    cdef double[DIRECT] y
    cdef Py_ssize_t n = list_unknown(level, places), i, j
    cdef const double *row
    cdef double rest
    for i in range(n):
        row = solver.factor + i * DIRECT
        rest = level.r[places[i]]
        for j in range(i):
            rest -= row[j] * y[j]
        y[i] = rest * row[i]
    for i in range(n - 1, -1, -1):
        row = solver.factor + i * DIRECT
        y[i] *= row[i]
        for j in range(i):
            y[j] -= row[j] * y[i]
        level.z[places[i]] = <float> y[i]


# ---- conjugate gradients ----

cdef double least_eigenvalue(const double *diagonal, const double *squared, int n, double above) noexcept nogil:
    # Of a positive definite tridiagonal matrix of n rows, of which the first n - 1 have `above` as their least; to one
    # part in a thousand from below, by bisection: where no pivot is negative, no eigenvalue is below the shift.
    cdef double low = 0, high = min(above, diagonal[n - 1]), middle, pivot
    cdef int j
    cdef bint positive
    middle = 0.75 * high
    while high - low > 1e-3 * high and high > 1e-12:
        pivot = diagonal[0] - middle
        positive = pivot > 0
        for j in range(1, n):
            if not positive:
                break
            pivot = diagonal[j] - middle - squared[j - 1] / pivot
            positive = pivot > 0
        if positive:
            low = middle
        else:
            high = middle
        middle = 0.5 * (low + high)
    return low if low > 0 else high


cdef void remember(Solver *solver) noexcept nogil:
    # A row more of the tridiagonal matrix: 1/alpha_k + beta_(k-1)/alpha_(k-1), and beta_k/alpha_k^2 beside it.
    cdef int k = solver.steps
    if k == 0:
        solver.diagonal[0] = 0
    solver.diagonal[k] += 1 / solver.alpha
    solver.theta_since_start = least_eigenvalue(
        solver.diagonal, solver.squared, k + 1, solver.theta_since_start if k > 0 else solver.diagonal[0]
    )
    solver.theta = min(solver.theta, solver.theta_since_start)
    solver.steps = k + 1
    if k + 1 < LANCZOS:
        solver.diagonal[k + 1] = solver.beta / solver.alpha
        solver.squared[k] = solver.beta / (solver.alpha * solver.alpha)


# ---- masks and memory ----

cdef inline Py_ssize_t count_free(const unsigned char *free, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    cdef int out = 0
    for j in range(width):
        out += free[j]
    return out


cdef void copy_mask(const unsigned char *free, Py_ssize_t cols, unsigned char *out) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(cols):
        out[j] = free[j] != 0


cdef inline size_t rounded(size_t size) noexcept nogil:
    return (size + 63) & ~<size_t> 63
