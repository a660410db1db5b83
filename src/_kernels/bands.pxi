# Bands that have masks of their own and show one scene: the compiled loop of "edge" that descends them together.
#
# At a place of one scene the derivatives of the bands are nearly proportional: their vector h, with an element for each
# band, has a covariance S that is far from a multiple of the identity. The square of h is taken in the metric of S^-1.
# With the residuals r = A x, one of each band by itself and all by the same weights, the gradient is S^-1 r; and the
# step in the metric of the unknown bands U beside the known ones K of a pixel is along
#
#     d_U = r_U - S_UK S_KK^-1 r_K:
#
# what is left of the unknown residuals when those of the known bands have told what they can. No band is mixed with
# others, and where all bands are unknown, or but one is there, it is plain "edge". This is the gradient's own step if S
# is the same everywhere. The covariances are
#
# - of few bands: local, those of the derivatives blurred by a Gaussian, drawn to their mean over the image. What the
#   known bands tell is kept as a coefficient for each pixel and pair of bands of which one is unknown, one is known;
# - of more: their mean over the image, as S = F F' + diagonal I of a few principal directions F [M. E. Tipping,
#   C. M. Bishop, "Probabilistic principal component analysis", 1999]. Then S_UK S_KK^-1 r_K = F_U c with
#   (diagonal I + F_K' F_K) c = F_K' r_K, a small system for each pixel whose factors are kept, whatever its pattern.
#
# The windows go on from their finest grids as `descent.pxi` leaves them, all of them in step, as they share what is a
# mean over the image.

cdef enum:
    FEW = 4  # bands, at most, whose covariances are local
    FEW_PAIRS = 10  # of them, each with itself too
    FACTORS = 8  # principal directions, at most
    FACTOR_PAIRS = 36
    ORDERS = 5  # derivatives of a band at a pixel: three second ones, two first ones
    NARROW = 64  # pixels whose covariances are at hand; even
    SUM_PARTS = 16  # that sums over the image are made in
    FLAT = 32  # rows of a tile whose residuals are at hand
    POWERS = 16  # of the covariance, by which its directions are found
    BLOCKS = 5  # on either side, that a covariance is blurred over: three of its standard deviations
    COVARIANCES = 10  # renewals of the covariances; after them the weights alone are renewed

cdef double COVARIANCE_SPREAD = 1.5  # blocks of two by two pixels
cdef double SUM_WORK = 1e9  # products, about, that sums over the image are made of


cdef struct Coupling:
    Py_ssize_t bands
    Py_ssize_t pairs  # of bands, each with itself too
    Py_ssize_t factors  # 0: the covariances are local
    double ridge  # of a covariance's mean variance
    double least  # variance
    double pull  # of the mean over the image
    double slope  # the root of the weight of first derivatives beside second ones
    const double *bounds  # the least and the greatest value of each band
    double *taps
    double *sums  # SUM_PARTS times the pairs
    void *fields  # of SUM_PARTS: the derivatives of all bands at NARROW pixels
    double *mean  # bands x bands
    double *directions  # bands x FACTORS, twice
    void *loadings  # F, of the image's dtype
    double diagonal
    int renewals


cdef struct Mixing:
    # Of a window.
    void *planes  # the coefficients of pairs, or the factors of the small systems, diagonals inverted
    void *covariances  # of pairs, blurred, of blocks of two by two pixels
    void *scratch
    unsigned char *unknown  # whether any band is, of each pixel


cdef struct BandJob:
    bint single
    const Coupling *coupling
    const Parameters *parameters
    const Mixing *mixing
    Window *window
    Grid *grid
    Py_ssize_t stride  # of the rows that sums are made of
    double momentum
    double most


cdef inline Py_ssize_t pair_of(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    # The place of a pair, b <= a.
    return a * (a + 1) // 2 + b


# ---- derivatives ----

cdef inline void second_derivatives(
    const real *x, const real *roots, Py_ssize_t cols, Py_ssize_t count, real *out
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real twice, turn = <real> 0.35355339059327379  # the root of two, over four
    for j in range(count):
        twice = x[j] + x[j]
        out[j] = roots[j] * (((x - 1)[j] + x[j + 1]) - twice)
        out[NARROW + j] = roots[j] * (((x - cols)[j] + x[cols + j]) - twice)
        out[2 * NARROW + j] = turn * roots[j] * (
            ((x - cols - 1)[j] + (x + cols + 1)[j]) - ((x - cols + 1)[j] + (x + cols - 1)[j])
        )


cdef void derive_bands(
    const real *x, const real *omega, Py_ssize_t bands, Py_ssize_t i, Py_ssize_t rows, Py_ssize_t cols,
    Py_ssize_t first, Py_ssize_t last, real slope, real *out,
) noexcept nogil:
    # Of the pixels from first to before last of row i, to whose first pixel x and omega point: of each band ORDERS rows
    # of NARROW, zeros behind them.
    cdef real[NARROW] roots
    cdef Py_ssize_t left = max(first, 1), right = min(last, cols - 1), c, j
    cdef bint inner = 0 < i < rows - 1 and left < right
    clear(out, bands * ORDERS * NARROW)
    if inner:
        for j in range(right - left):
            roots[j] = <real> sqrt(omega[left + j])
    for c in range(bands):
        if inner:
            second_derivatives(x + left, roots, cols, right - left, out + (left - first))
        for j in range(min(last, cols - 1) - first):
            out[3 * NARROW + j] = slope * (x[first + j + 1] - x[first + j])
        if i + 1 < rows:
            for j in range(last - first):
                out[4 * NARROW + j] = slope * (x[cols + first + j] - x[first + j])
        x += rows * cols
        out += ORDERS * NARROW


# ---- covariances ----

cdef inline void add_products_of(const real *one, const real *other, real *sums) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(NARROW):
        sums[j] += (
            one[j] * other[j] + one[NARROW + j] * other[NARROW + j] + one[2 * NARROW + j] * other[2 * NARROW + j]
            + one[3 * NARROW + j] * other[3 * NARROW + j] + one[4 * NARROW + j] * other[4 * NARROW + j]
        )


cdef void covariance_row(
    const real *x, const real *omega, Py_ssize_t bands, Py_ssize_t h, Py_ssize_t rows, Py_ssize_t cols, real slope,
    Py_ssize_t start, Py_ssize_t stop, real *out, Py_ssize_t apart,
) noexcept nogil:
    # The means over the 2 x 2 blocks from start to before stop of block row h; planes of pairs are so far apart.
    cdef real[FEW * ORDERS * NARROW] fields
    cdef real[FEW_PAIRS * NARROW] sums
    cdef Py_ssize_t first = 2 * start, end = min(2 * stop, cols), last, i, a, b, pair
    cdef real one = 1, share = one / (2 * min(2, rows - 2 * h))
    while first < end:
        last = min(first + NARROW, end)
        clear(sums, FEW_PAIRS * NARROW)
        for i in range(2 * h, min(2 * h + 2, rows)):
            derive_bands(x + i * cols, omega + i * cols, bands, i, rows, cols, first, last, slope, fields)
            for a in range(bands):
                for b in range(a + 1):
                    add_products_of(
                        fields + a * ORDERS * NARROW, fields + b * ORDERS * NARROW, sums + pair_of(a, b) * NARROW
                    )
        for pair in range(bands * (bands + 1) // 2):
            join_pairs(sums + pair * NARROW, first, last, share, out + pair * apart)
        first = last


cdef inline double dot(const real *one, const real *other) noexcept nogil:
    # Of all derivatives of two bands.
    cdef real[LANES] lanes
    cdef double total = 0
    cdef Py_ssize_t k, lane
    clear(lanes, LANES)
    for k in range(ORDERS * NARROW // LANES):
        for lane in range(LANES):
            lanes[lane] += one[k * LANES + lane] * other[k * LANES + lane]
    for lane in range(LANES):
        total += lanes[lane]
    return total


cdef void add_covariances(const BandJob *job, const real *x, Py_ssize_t part) noexcept nogil:
    # Those of a part of the window's spans, over all of its pixels.
    cdef const Coupling *coupling = job.coupling
    cdef const Window *w = job.window
    cdef Py_ssize_t bands = coupling.bands, rows = job.grid.rows, cols = job.grid.cols, k, i, first, last, a, b
    cdef Py_ssize_t apart = ORDERS * NARROW
    cdef real *fields = <real *> coupling.fields + part * bands * apart
    cdef double *sums = coupling.sums + part * coupling.pairs
    cdef const real *omega = <const real *> w.weights
    cdef const int *span
    for k in range(w.span_count[WANTED] * part // SUM_PARTS, w.span_count[WANTED] * (part + 1) // SUM_PARTS):
        span = spans_of(w, WANTED) + 4 * k
        for i in range(span[0], span[1]):
            if i % job.stride:
                continue
            first = span[2]
            while first < span[3]:
                last = min(first + NARROW, span[3])
                derive_bands(
                    x + i * cols, omega + i * cols, bands, i, rows, cols, first, last, <real> coupling.slope, fields
                )
                for a in range(bands):
                    for b in range(a + 1):
                        sums[pair_of(a, b)] += dot(fields + a * apart, fields + b * apart)
                first = last


cdef void add_blocks(const BandJob *job, const real *covariances) noexcept nogil:
    # The sums of a window's local covariances.
    cdef const Window *w = job.window
    cdef Py_ssize_t halves = (job.grid.cols + 1) // 2, apart = (job.grid.rows + 1) // 2 * halves, pair, k, i
    cdef const int *span
    for pair in range(job.coupling.pairs):
        for k in range(w.span_count[MEANS]):
            span = spans_of(w, MEANS) + 4 * k
            for i in range(span[0], span[1]):
                job.coupling.sums[pair] += sum_in_lanes(
                    covariances + pair * apart + i * halves + span[2], span[3] - span[2]
                )


# ---- what known bands tell of unknown ones ----

cdef inline void take_away(const real *one, const real *other, Py_ssize_t count, real *out) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        out[j] -= one[j] * other[j]


cdef inline void multiply(const real *factor, Py_ssize_t count, real *out) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        out[j] *= factor[j]


cdef inline void factorise_rows(real *matrix, Py_ssize_t n) noexcept nogil:
    # Cholesky's factors of NARROW matrices side by side, in place of their lower triangles, diagonals inverted.
    cdef Py_ssize_t a, b, k, j
    cdef real one = 1, tiny = <real> 1e-30
    cdef real *entry
    for a in range(n):
        for b in range(a + 1):
            entry = matrix + pair_of(a, b) * NARROW
            for k in range(b):
                take_away(matrix + pair_of(a, k) * NARROW, matrix + pair_of(b, k) * NARROW, NARROW, entry)
            if b < a:
                multiply(matrix + pair_of(b, b) * NARROW, NARROW, entry)
            else:
                for j in range(NARROW):
                    entry[j] = one / <real> sqrt(entry[j] if entry[j] > tiny else tiny)


cdef inline void solve_rows(
    const real *matrix, Py_ssize_t apart, Py_ssize_t n, Py_ssize_t count, real *z
) noexcept nogil:
    # Right-hand sides, rows of NARROW, become solutions; entries of the factors are so far apart.
    cdef Py_ssize_t a, b
    for a in range(n):
        for b in range(a):
            take_away(matrix + pair_of(a, b) * apart, z + b * NARROW, count, z + a * NARROW)
        multiply(matrix + pair_of(a, a) * apart, count, z + a * NARROW)
    for a in range(n - 1, -1, -1):
        for b in range(a + 1, n):
            take_away(matrix + pair_of(b, a) * apart, z + b * NARROW, count, z + a * NARROW)
        multiply(matrix + pair_of(a, a) * apart, count, z + a * NARROW)


cdef void local_row(
    const BandJob *job, const real *covariances, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop, real *out
) noexcept nogil:
    # The coefficients of the pairs of different bands at row i: those by which the known one tells of the other.
    cdef real[FEW_PAIRS * NARROW] covariance
    cdef real[FEW_PAIRS * NARROW] system
    cdef real[FEW * NARROW] known
    cdef real[FEW * NARROW] z
    cdef real[NARROW] ridge
    cdef const Coupling *coupling = job.coupling
    cdef Py_ssize_t bands = coupling.bands, rows = job.grid.rows, cols = job.grid.cols, plane = rows * cols
    cdef Py_ssize_t high = (rows + 1) // 2, halves = (cols + 1) // 2, first = start, count, a, b, pair, j
    cdef Py_ssize_t far = min(max(i // 2 + (1 if i & 1 else -1), 0), high - 1)
    cdef real one = 1, share = <real> (1.0 / bands), rel = <real> coupling.ridge, least = <real> coupling.least, mean
    cdef const unsigned char *free
    cdef real *entry
    while first < stop:
        count = min(NARROW, stop - first)
        clear(covariance, FEW_PAIRS * NARROW)
        for pair in range(coupling.pairs):
            spread_row(
                covariances + (pair * high + i // 2) * halves, covariances + (pair * high + far) * halves, halves, cols,
                first // 2, (first + count + 1) // 2, &covariance[0] + pair * NARROW - first,
            )
        clear(ridge, NARROW)
        clear(known, FEW * NARROW)
        for a in range(bands):
            free = job.grid.free + a * plane + i * cols + first
            entry = &covariance[0] + pair_of(a, a) * NARROW
            for j in range(NARROW):
                ridge[j] += share * entry[j]
            for j in range(count):
                known[a * NARROW + j] = one - <real> free[j]
        for a in range(bands):
            for b in range(a + 1):
                pair = pair_of(a, b)
                mean = <real> (coupling.pull * coupling.mean[a * bands + b])
                entry = &covariance[0] + pair * NARROW
                for j in range(NARROW):
                    entry[j] += mean * ridge[j]
                if a == b:
                    for j in range(NARROW):
                        entry[j] += rel * ridge[j] + least
                    for j in range(NARROW):
                        system[pair * NARROW + j] = known[a * NARROW + j] * entry[j] + (one - known[a * NARROW + j])
                else:
                    for j in range(NARROW):
                        system[pair * NARROW + j] = known[a * NARROW + j] * known[b * NARROW + j] * entry[j]
        factorise_rows(&system[0], bands)
        for pair in range(bands * (bands - 1) // 2):
            clear(out + pair * plane + first, count)
        for a in range(bands):
            for b in range(bands):
                entry = &covariance[0] + pair_of(max(a, b), min(a, b)) * NARROW
                for j in range(NARROW):
                    z[b * NARROW + j] = known[b * NARROW + j] * (one - known[a * NARROW + j]) * entry[j]
            solve_rows(&system[0], NARROW, bands, NARROW, &z[0])
            for b in range(bands):
                if b == a:
                    continue
                entry = out + (pair_of(max(a, b), min(a, b)) - max(a, b)) * plane + first
                for j in range(count):
                    entry[j] += z[b * NARROW + j]
        first += count


cdef void global_row(
    const BandJob *job, const real *loadings, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop, real *out
) noexcept nogil:
    # The factors of the small systems at row i.
    cdef real[FACTOR_PAIRS * NARROW] system
    cdef real[NARROW] known
    cdef const Coupling *coupling = job.coupling
    cdef Py_ssize_t bands = coupling.bands, n = coupling.factors, plane = job.grid.rows * job.grid.cols, first = start
    cdef Py_ssize_t count, c, a, b, j
    cdef real one = 1, diagonal = <real> coupling.diagonal, product
    cdef const unsigned char *free
    cdef real *entry
    clear(known, NARROW)
    while first < stop:
        count = min(NARROW, stop - first)
        clear(system, FACTOR_PAIRS * NARROW)
        for a in range(n):
            for j in range(NARROW):
                system[pair_of(a, a) * NARROW + j] = diagonal
        for c in range(bands):
            free = job.grid.free + c * plane + i * job.grid.cols + first
            for j in range(count):
                known[j] = one - <real> free[j]
            for a in range(n):
                for b in range(a + 1):
                    product = loadings[c * FACTORS + a] * loadings[c * FACTORS + b]
                    entry = &system[0] + pair_of(a, b) * NARROW
                    for j in range(NARROW):
                        entry[j] += product * known[j]
        factorise_rows(&system[0], n)
        for a in range(pair_of(n, 0)):
            for j in range(count):
                out[a * plane + first + j] = system[a * NARROW + j]
        first += count


# ---- the covariance over the image, by a few directions ----

cdef void orthonormalise(double *v, Py_ssize_t n, Py_ssize_t factors) noexcept nogil:
    # Columns, one after the other; one that depends on those before becomes zero.
    cdef Py_ssize_t a, b, k, again
    cdef double product, length, before
    for a in range(factors):
        before = 0
        for k in range(n):
            before += v[k * FACTORS + a] * v[k * FACTORS + a]
        for again in range(2):
            for b in range(a):
                product = 0
                for k in range(n):
                    product += v[k * FACTORS + a] * v[k * FACTORS + b]
                for k in range(n):
                    v[k * FACTORS + a] -= product * v[k * FACTORS + b]
        length = 0
        for k in range(n):
            length += v[k * FACTORS + a] * v[k * FACTORS + a]
        length = 1 / sqrt(length) if length > 1e-24 * before else 0
        for k in range(n):
            v[k * FACTORS + a] *= length


cdef void multiply_mean(
    const double *mean, Py_ssize_t n, Py_ssize_t factors, const double *v, double *out
) noexcept nogil:
    cdef Py_ssize_t a, b, k
    for a in range(n):
        for k in range(factors):
            out[a * FACTORS + k] = 0
        for b in range(n):
            for k in range(factors):
                out[a * FACTORS + k] += mean[a * n + b] * v[b * FACTORS + k]


cdef void find_directions(Coupling *coupling) noexcept nogil:
    # F and the diagonal, from the mean covariance.
    cdef Py_ssize_t n = coupling.bands, factors = coupling.factors, a, b, k
    cdef double *v = coupling.directions
    cdef double *image = v + n * FACTORS
    cdef double[FACTORS * FACTORS] small
    cdef double trace = 0, kept = 0, total
    for a in range(n):
        trace += coupling.mean[a * n + a]
        for k in range(factors):
            # Waves, which no spectrum is at right angles to; of few bands, all there is.
            v[a * FACTORS + k] = (1 if a == k else 0) if n <= factors else cos(3.141592653589793 / n * k * (a + 0.5))
    if n > factors:
        for k in range(POWERS):
            orthonormalise(v, n, factors)
            multiply_mean(coupling.mean, n, factors, v, image)
            v, image = image, v
        orthonormalise(v, n, factors)
    multiply_mean(coupling.mean, n, factors, v, image)
    for a in range(factors):
        for b in range(a + 1):
            total = 0
            for k in range(n):
                total += v[k * FACTORS + a] * image[k * FACTORS + b]
            for k in range(b):
                total -= small[a * FACTORS + k] * small[b * FACTORS + k]
            if a == b:
                small[a * FACTORS + a] = sqrt(total) if total > 1e-15 * trace else 0
            else:
                small[a * FACTORS + b] = total / small[b * FACTORS + b] if small[b * FACTORS + b] > 0 else 0
            kept += small[a * FACTORS + b] * small[a * FACTORS + b]
    for a in range(n):
        for k in range(factors):
            total = 0
            for b in range(k, factors):
                total += v[a * FACTORS + b] * small[b * FACTORS + k]
            image[a * FACTORS + k] = total
    if image != coupling.directions:
        memcpy(coupling.directions, image, n * FACTORS * sizeof(double))
    coupling.diagonal = coupling.ridge * trace / n + coupling.least + max(trace - kept, 0.0) / max(n - factors, 1)


cdef void load_directions(const Coupling *coupling, real *loadings) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(coupling.bands * FACTORS):
        loadings[k] = <real> coupling.directions[k] if k % FACTORS < coupling.factors else 0


# ---- a step ----

cdef inline double flush_halves(real *sums) noexcept nogil:
    # The sum of NARROW numbers, halves upon halves, which are cleared.
    cdef Py_ssize_t j, half = NARROW // 2
    cdef double total = 0
    while half >= 8:
        for j in range(half):
            sums[j] += sums[half + j]
        half //= 2
    for j in range(8):
        total += sums[j]
    clear(sums, NARROW)
    return total


cdef inline void take_away_two(
    const real *whole, const real *one, const real *other, const real *two, const real *another, Py_ssize_t count,
    real *out,
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        out[j] = whole[j] - one[j] * other[j] - two[j] * another[j]


cdef inline void tell_locally(
    const real *residuals, const real *mixing, Py_ssize_t plane, Py_ssize_t bands, Py_ssize_t count, real *told
) noexcept nogil:
    # What is left of each band's residuals, rows of NARROW, when those of the known bands have told.
    cdef Py_ssize_t a, b, c, one, other
    for c in range(bands):
        a = 1 if c == 0 else 0
        b = a + 1 if a + 1 != c else a + 2
        one, other = pair_of(max(a, c), min(a, c)) - max(a, c), pair_of(max(b, c), min(b, c)) - max(b, c)
        if bands == 2:
            for a in range(count):
                told[c * NARROW + a] = residuals[c * plane + a] - mixing[a] * residuals[(1 - c) * plane + a]
            continue
        take_away_two(
            residuals + c * plane, mixing + one * plane, residuals + a * plane, mixing + other * plane,
            residuals + b * plane, count, told + c * NARROW,
        )
        if bands == FEW:
            a = 6 - a - b - c
            one = pair_of(max(a, c), min(a, c)) - max(a, c)
            take_away(mixing + one * plane, residuals + a * plane, count, told + c * NARROW)


cdef void step_pixels(
    const BandJob *job, const real *x, const real *previous, const real *steps, const real *mixing,
    const real *loadings, Py_ssize_t count, real *out, real *change, real *slope, double *totals,
) noexcept nogil:
    # All bands of at most NARROW pixels of a row; out holds the residuals before. What few bands add to the sums stays
    # in rows of NARROW, one for each band.
    cdef real[FACTORS * NARROW] z
    cdef real[FEW * NARROW] told
    cdef real[NARROW] v
    cdef const Coupling *coupling = job.coupling
    cdef Py_ssize_t bands = coupling.bands, n = coupling.factors, plane = job.grid.rows * job.grid.cols, a, c, j
    cdef Py_ssize_t own = NARROW if n == 0 else 0  # from a band's row to the next one's
    cdef real factor
    if n == 0:
        tell_locally(out, mixing, plane, bands, count, &told[0])
    else:
        clear(z, n * NARROW)
        for c in range(bands):
            for j in range(count):
                told[j] = 0 if steps[c * plane + j] > 0 else out[c * plane + j]
            for a in range(n):
                factor = loadings[c * FACTORS + a]
                for j in range(count):
                    z[a * NARROW + j] += factor * told[j]
        solve_rows(mixing, plane, n, count, &z[0])
    for c in range(bands):
        if n > 0:
            for j in range(count):
                told[j] = out[c * plane + j]
            for a in range(n):
                factor = loadings[c * FACTORS + a]
                for j in range(count):
                    told[j] -= factor * z[a * NARROW + j]
        load_extrapolated(x + c * plane, previous + c * plane, <real> job.momentum, 0, count, v)
        step_off(
            v, told + c * own, steps + c * plane, NULL, NULL, x + c * plane, <real> coupling.bounds[2 * c],
            <real> coupling.bounds[2 * c + 1], <real> job.most, count, False, out + c * plane, slope + c * own,
            change + c * own,
        )
        if n > 0:
            totals[2 * c] += flush_halves(change)
            totals[2 * c + 1] += flush_halves(slope)


cdef void step_tile(const BandJob *job, const real *x, Py_ssize_t k) noexcept nogil:
    # Some rows at a time: the residuals of all bands, which the next iterate's array holds until it is there itself.
    cdef const Parameters *p = job.parameters
    cdef const Window *w = job.window
    cdef Py_ssize_t bands = job.coupling.bands, cols = job.grid.cols, plane = job.grid.rows * cols, c, i, first, at
    cdef Tile whole = tile_of(w.tiles + 4 * k), tile = whole
    cdef Weights weights
    cdef real[FEW * NARROW] change
    cdef real[FEW * NARROW] slope
    cdef const real *previous = <const real *> w.previous
    cdef real *out = <real *> w.next
    cdef double *totals = w.totals + 2 * k * bands
    weights.omega, weights.plane, weights.mu, weights.kappa = w.weights, plane, p.mu, p.kappa
    for c in range(2 * bands):
        totals[c] = 0
    clear(change, FEW * NARROW)
    clear(slope, FEW * NARROW)
    while tile.top < whole.bottom:
        tile.bottom = min(tile.top + FLAT, whole.bottom)
        for c in range(bands):
            walk_tile(
                p.kind, x + c * plane, previous + c * plane, job.grid.rows, cols, &weights, tile, x, NULL,
                NULL, <real> job.momentum, 0, 0, 0, NULL, GRADIENT, out + c * plane,
            )
        for i in range(tile.top, tile.bottom):
            first = tile.start
            while first < tile.stop:
                at = i * cols + first
                step_pixels(
                    job, x + at, previous + at, <const real *> w.steps + at, <const real *> job.mixing.planes + at,
                    <const real *> job.coupling.loadings, min(NARROW, tile.stop - first), out + at, change, slope,
                    totals,
                )
                first += NARROW
        if job.coupling.factors == 0:
            for c in range(bands):
                totals[2 * c] += flush_halves(&change[0] + c * NARROW)
                totals[2 * c + 1] += flush_halves(&slope[0] + c * NARROW)
        tile.top = tile.bottom


# ---- parts ----

cdef void do_covariances(void *argument, Py_ssize_t k) noexcept nogil:
    cdef BandJob *job = <BandJob *> argument
    cdef const int *span = spans_of(job.window, MEANS) + 4 * k
    cdef Py_ssize_t rows = job.grid.rows, cols = job.grid.cols, halves = (cols + 1) // 2, i
    cdef Py_ssize_t apart = (rows + 1) // 2 * halves
    for i in range(span[0], span[1]):
        if job.single:
            covariance_row(
                <const float *> job.window.x, <const float *> job.window.weights, job.coupling.bands, i, rows, cols,
                <float> job.coupling.slope, span[2], span[3], <float *> job.mixing.covariances + i * halves, apart,
            )
        else:
            covariance_row(
                <const double *> job.window.x, <const double *> job.window.weights, job.coupling.bands, i, rows, cols,
                job.coupling.slope, span[2], span[3], <double *> job.mixing.covariances + i * halves, apart,
            )


cdef void do_sums(void *argument, Py_ssize_t k) noexcept nogil:
    cdef BandJob *job = <BandJob *> argument
    if job.single:
        add_covariances(job, <const float *> job.window.x, k)
    else:
        add_covariances(job, <const double *> job.window.x, k)


cdef inline void mix_rows(const BandJob *job, const real *covariances, Py_ssize_t k) noexcept nogil:
    cdef const int *tile = job.window.tiles + 4 * k
    cdef Py_ssize_t i
    for i in range(tile[0], tile[1]):
        if job.coupling.factors > 0:
            global_row(
                job, <const real *> job.coupling.loadings, i, tile[2], tile[3],
                <real *> job.mixing.planes + i * job.grid.cols,
            )
        else:
            local_row(job, covariances, i, tile[2], tile[3], <real *> job.mixing.planes + i * job.grid.cols)


cdef void do_mixing(void *argument, Py_ssize_t k) noexcept nogil:
    cdef BandJob *job = <BandJob *> argument
    if job.single:
        mix_rows(job, <const float *> job.mixing.covariances, k)
    else:
        mix_rows(job, <const double *> job.mixing.covariances, k)


cdef void do_steps(void *argument, Py_ssize_t k) noexcept nogil:
    cdef BandJob *job = <BandJob *> argument
    if job.single:
        step_tile(job, <const float *> job.window.x, k)
    else:
        step_tile(job, <const double *> job.window.x, k)


# ---- the loop ----

cdef BandJob band_job(Window *w, const Mixing *mixing, const Coupling *coupling, const Parameters *p) noexcept nogil:
    cdef BandJob job
    memset(&job, 0, sizeof(BandJob))
    job.single, job.coupling, job.parameters, job.mixing, job.window = p.single, coupling, p, mixing, w
    job.grid, job.stride = &w.grids[0], 1
    return job


cdef void open_bands(Window *w, const Mixing *mixing, const Parameters *p) noexcept nogil:
    # What differs from a run band by band: a pixel's step is bounded by all bands that are unknown around it, and
    # covariances look as far as the tensor does.
    cdef Grid *grid = &w.grids[0]
    cdef Py_ssize_t rows = grid.rows, cols = grid.cols, plane = rows * cols, c, i, j, k, total = 0
    cdef Py_ssize_t reach, beyond, beside
    cdef const unsigned char *here
    cdef unsigned char *shares
    cdef const int *tile
    cdef double coupling
    memcpy(mixing.unknown, grid.free, plane)
    for c in range(1, p.masks):
        for k in range(plane):
            mixing.unknown[k] |= grid.free[c * plane + k]
    for k in range(w.tile_count):
        tile = w.tiles + 4 * k
        for i in range(tile[0], tile[1]):
            here = mixing.unknown + i * cols
            total += share_row(
                here - 2 * cols if i > 1 else w.nothing, here - cols if i > 0 else w.nothing, here,
                here + cols if i + 1 < rows else w.nothing, here + 2 * cols if i + 2 < rows else w.nothing,
                tile[2], tile[3], cols, <float> p.safety, w.shares + i * cols,
            )
            for c in range(p.masks - 1, -1, -1):
                shares = w.shares + (c * rows + i) * cols
                here = grid.free + (c * rows + i) * cols
                for j in range(tile[2], tile[3]):
                    shares[j] = w.shares[i * cols + j] * here[j]
    coupling = <double> total / STIFFNESS
    total = 0
    for k in range(plane):
        total += mixing.unknown[k]
    coupling /= max(total, 1)
    w.start = DENSE_START if coupling > LONELY else 1
    w.alone = coupling <= ALONE
    w.momentum = w.start
    # Covariances are made where weights are, in blocks of two by two (MEANS), and are blurred there; they are right as
    # far as the blur sees nothing else, which is further than anybody looks. Their mean is over whole cells, so that
    # all weights of these must be right: the tensor reaches a cell further.
    reach = 2 * BLOCKS + 4
    find_spans(w, grid, WANTED, reach, reach)
    find_spans(w, grid, MEANS, reach, reach)
    beyond, beside = reach + CELL_ROWS + 4, 4 * SECTOR
    find_spans(w, grid, BLURRED, beyond, beside)
    find_spans(w, grid, COLUMNS, beyond, beside + 2 * w.radius)
    find_spans(w, grid, RAW, beyond + 2 * w.radius, beside + 2 * w.radius)


cdef void sum_covariances(
    Window *windows, const Mixing *mixings, Py_ssize_t count, Coupling *coupling, const Parameters *p
) noexcept nogil:
    # The mean covariance over all windows; the local ones are made on the way.
    cdef Py_ssize_t n = coupling.bands, k, part, pair, a, b, c, pixels, stride
    cdef const int *span
    cdef BandJob job
    cdef Job blur
    cdef Grid *grid
    cdef double area = 0, trace = 0, scale
    cdef size_t apart
    for k in range(SUM_PARTS * coupling.pairs):
        coupling.sums[k] = 0
    for k in range(count):
        if windows[k].failed:
            continue
        for c in range(windows[k].span_count[WANTED]):
            span = spans_of(&windows[k], WANTED) + 4 * c
            area += (span[1] - span[0]) * (span[3] - span[2])
    stride = <Py_ssize_t> (area * coupling.pairs * ORDERS / SUM_WORK) | 1  # odd: mosaics have even periods
    for k in range(count):
        if windows[k].failed:
            continue
        job = band_job(&windows[k], &mixings[k], coupling, p)
        job.stride = stride
        if coupling.factors > 0:
            run_parts(&do_sums, &job, SUM_PARTS, p.threads)
            continue
        grid = job.grid
        run_parts(&do_covariances, &job, windows[k].span_count[MEANS], p.threads)
        if p.single:
            add_blocks(&job, <const float *> mixings[k].covariances)
        else:
            add_blocks(&job, <const double *> mixings[k].covariances)
        memset(&blur, 0, sizeof(Job))
        blur.single, blur.taps, blur.radius = p.single, coupling.taps, BLOCKS
        blur.rows, blur.cols = (grid.rows + 1) // 2, (grid.cols + 1) // 2
        apart = blur.rows * blur.cols * item(p)
        for pair in range(coupling.pairs):
            blur.x, blur.out = <char *> mixings[k].covariances + pair * apart, mixings[k].scratch
            run_spans(&blur, BLUR_COLUMNS, spans_of(&windows[k], MEANS), windows[k].span_count[MEANS], p.threads)
            blur.x, blur.out = mixings[k].scratch, <char *> mixings[k].covariances + pair * apart
            run_spans(&blur, BLUR_ROWS, spans_of(&windows[k], MEANS), windows[k].span_count[MEANS], p.threads)
    for part in range(1, SUM_PARTS):
        for pair in range(coupling.pairs):
            coupling.sums[pair] += coupling.sums[part * coupling.pairs + pair]
    for a in range(n):
        trace += coupling.sums[pair_of(a, a)]
    # Those of few bands have a mean variance of 1, as they are scaled to the local one.
    pixels = 0
    for k in range(count):
        if windows[k].failed:
            continue
        for c in range(windows[k].span_count[WANTED]):
            span = spans_of(&windows[k], WANTED) + 4 * c
            pixels += ((span[1] - 1) // stride - (span[0] - 1 + stride) // stride + 1) * (span[3] - span[2])
    scale = 1.0 / max(pixels, 1) if coupling.factors > 0 else (n / trace if trace > 1e-300 else 0)
    for a in range(n):
        for b in range(n):
            coupling.mean[a * n + b] = scale * coupling.sums[pair_of(max(a, b), min(a, b))]


cdef void renew_bands(
    Window *windows, const Mixing *mixings, Py_ssize_t count, Coupling *coupling, const Parameters *p
) noexcept nogil:
    cdef Py_ssize_t k
    cdef BandJob job
    for k in range(count):
        if not (windows[k].settled or windows[k].failed):
            renew(&windows[k], p)
    coupling.renewals += 1
    if coupling.renewals > COVARIANCES:
        return
    sum_covariances(windows, mixings, count, coupling, p)
    if coupling.factors > 0:
        find_directions(coupling)
        if p.single:
            load_directions(coupling, <float *> coupling.loadings)
        else:
            load_directions(coupling, <double *> coupling.loadings)
    for k in range(count):
        if not (windows[k].settled or windows[k].failed):
            job = band_job(&windows[k], &mixings[k], coupling, p)
            run_parts(&do_mixing, &job, windows[k].tile_count, p.threads)


cdef void sweep_bands(Window *w, const Mixing *mixing, const Coupling *coupling, const Parameters *p) noexcept nogil:
    # One iteration of a window.
    cdef BandJob job = band_job(w, mixing, coupling, p)
    cdef bint restarted = w.slope > 0
    if restarted:
        w.momentum = w.start
    job.momentum, job.most = next_momentum(w, p), MOST_MOVE * w.contrast
    run_parts(&do_steps, &job, w.tile_count, p.threads)
    note_sweep(w, p, restarted)


cdef void judge_bands(Window *w, const Parameters *p, double tol) noexcept nogil:
    # A window has settled when what renewals bring to all of its bands is within the tolerance. How the changes fall
    # between renewals tells nothing: the system is soon solved, but what bands tell each other follows the image.
    cdef Py_ssize_t c
    cdef bint settled = True
    if not w.due:
        return
    measure_contrast(w, p)
    for c in range(min(p.channels, COURSES)):
        w.courses[c].series = renewals_to_bring(&w.courses[c])
        settled = settled and 0 <= w.courses[c].series <= tol * w.contrast
    w.settled = settled


cdef class BandDescent:
    """Windows of bands on their way down together: made by `couple`, from a `Descent` that has begun."""

    cdef Descent descent
    cdef Coupling coupling
    cdef Mixing *mixings
    cdef object workspace, bounds
    cdef int in_period
    cdef bint opened, due

    def __dealloc__(self):
        release(self.mixings)

    def advance(self, int until, double tol, double work):
        """Go on until so many iterations of the finest grids are done, all have settled, or so much is swept."""
        cdef Descent descent = self.descent
        cdef const Parameters *p = &descent.parameters
        cdef Py_ssize_t k, count = descent.count, left
        cdef Window *w
        cdef bint solved
        with nogil:
            for k in range(count):
                run_window(&descent.windows[k], p, 0, tol, &work)
            while work > 0:
                left = 0
                for k in range(count):
                    w = &descent.windows[k]
                    if w.level > 0 and not w.failed:
                        break
                    left += not (w.settled or w.failed or w.iterations >= until)
                else:
                    if left == 0:
                        break
                    if not self.opened:
                        for k in range(count):
                            if not descent.windows[k].failed:
                                open_bands(&descent.windows[k], &self.mixings[k], p)
                        self.opened = True
                    if self.due:
                        renew_bands(descent.windows, self.mixings, count, &self.coupling, p)
                        self.in_period, self.due = 0, False
                        for k in range(count):
                            w = &descent.windows[k]
                            w.greatest = 0
                            work -= RENEWAL_WORK * (1 + self.coupling.factors) * w.area
                        if work <= 0:
                            break
                    self.in_period += 1
                    solved = True
                    for k in range(count):
                        w = &descent.windows[k]
                        if w.settled or w.failed:
                            continue
                        sweep_bands(w, &self.mixings[k], &self.coupling, p)
                        work -= 2 * w.area
                        solved = solved and (w.failed or w.alone or (
                            self.in_period >= LEAST_PERIOD and w.change <= SOLVED * w.greatest
                        ))
                    self.due = solved or self.in_period >= PERIOD
                    for k in range(count):
                        w = &descent.windows[k]
                        w.due = self.due
                        if not (w.settled or w.failed):
                            judge_bands(w, p, tol)
                    continue
                break


def couple(
    Descent descent not None,
    const double[:, ::1] bounds not None,
    double ridge,
    double least,
    double pull,
    double slopes,
    allocate,
):
    """Return a `BandDescent` of the bands, more than one, of a descent of edges that has begun.

    bounds, of shape (bands, 2), are the least and the greatest value of each. ridge and least are added to the
    variances of a covariance, the first times their mean; pull is the weight of the mean over the image in those of at
    most 4 bands, slopes that of first derivatives beside second ones. ``allocate(size)`` returns the workspace, so many
    bytes that may hold anything.
    """
    cdef BandDescent bands = BandDescent.__new__(BandDescent)
    cdef Parameters *p = &descent.parameters
    cdef Coupling *coupling = &bands.coupling
    cdef Arena arena
    cdef Py_ssize_t n = p.channels, k
    cdef int again
    cdef unsigned char[::1] workspace
    require(p.kind == EDGE and n > 1 and p.masks == n, "descent must be one of edges, of bands with masks of their own")
    require(descent.x is not None, "descent must have begun")
    require(bounds.shape[0] == n and bounds.shape[1] == 2, "bounds must have shape (bands, 2)")
    coupling.bands, coupling.pairs = n, n * (n + 1) // 2
    coupling.factors = 0 if n <= FEW else min(n, <Py_ssize_t> FACTORS)
    coupling.ridge, coupling.least, coupling.pull, coupling.slope = ridge, least, pull, sqrt(slopes)
    coupling.bounds = &bounds[0, 0]
    bands.descent, bands.bounds, bands.due = descent, bounds.base, True
    bands.mixings = <Mixing *> calloc(max(descent.count, 1), sizeof(Mixing))
    if bands.mixings == NULL:
        raise MemoryError
    memset(&arena, 0, sizeof(Arena))
    for again in range(2):
        coupling.taps = <double *> claim(&arena, sizeof(double) * (BLOCKS + 1))
        coupling.sums = <double *> claim(&arena, sizeof(double) * SUM_PARTS * coupling.pairs)
        coupling.mean = <double *> claim(&arena, sizeof(double) * n * n)
        if coupling.factors > 0:
            coupling.fields = claim(&arena, SUM_PARTS * n * ORDERS * NARROW * item(p))
            coupling.directions = <double *> claim(&arena, 2 * sizeof(double) * n * FACTORS)
            coupling.loadings = claim(&arena, n * FACTORS * item(p))
        for k in range(descent.count):
            claim_mixing(&bands.mixings[k], &descent.windows[k].grids[0], coupling, p, &arena)
        if arena.base == NULL:
            bands.workspace = allocate(arena.used + 64)
            workspace = bands.workspace
            require(
                <size_t> workspace.shape[0] >= arena.used + 64, "allocate must return as many bytes as it was asked for"
            )
            arena.base = <char *> ((<size_t> &workspace[0] + 63) // 64 * 64)
            arena.used = 0
    gaussian(COVARIANCE_SPREAD, BLOCKS, coupling.taps)
    return bands


cdef void claim_mixing(
    Mixing *mixing, const Grid *grid, const Coupling *coupling, const Parameters *p, Arena *arena
) noexcept:
    cdef size_t plane = <size_t> grid.rows * grid.cols, high = (grid.rows + 1) // 2, halves = (grid.cols + 1) // 2
    cdef size_t planes = pair_of(coupling.factors, 0)
    if coupling.factors == 0:
        planes = coupling.pairs - coupling.bands
        mixing.covariances = claim(arena, coupling.pairs * high * halves * item(p))
        mixing.scratch = claim(arena, high * (halves + 2 * BLOCKS) * item(p))
    mixing.planes = claim(arena, planes * plane * item(p))
    mixing.unknown = <unsigned char *> claim(arena, plane)
