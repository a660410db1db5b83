# The compiled loop of "edge": windows of an image, their coarse grids, sweeps, momentum, renewals of the weights, and
# when to stop.
#
# A window is a small image of its own, whose pixels stand one after the other, channel after channel. Each is run from
# its coarsest grid to its finest. Grids are run one after the other, so all of them use the same arrays of the window
# beside their pixels. Work goes where something is free: sweeps to tiles around it, renewals to spans of cells within
# reach of it.
#
# The weights are renewed when the quadratic that they make is nearly solved. The run of a grid ends when what the last
# renewals brought, carried on as a geometric series, is within the tolerance, or when the changes of its sweeps are.
#
# Where what is known is noisy it is free as well: each pixel is pulled towards what was measured, by a weight that the
# first renewals of a grid find from the energy around. On coarser grids measurements are means of the finer ones,
# weighted by their precision, and all is free; on the finest grid what is exact is not.

cdef enum:
    COARSE_GRIDS = 4  # that are descended; those above are averaged only
    MOST_GRIDS = 40
    CELL_ROWS = 16  # of a renewal
    SECTOR = 16  # columns that are looked at together; two to a cell
    TALLEST = 128  # rows of a tile
    STAGES = 5  # that have spans of their own
    MOST_RADIUS = 16  # of the tensor's Gaussian, in blocks
    TREND = 8  # changes by which those to come are judged
    # How much stiffness a pixel shares with its neighbours two away along an axis, next to it, and diagonally.
    STIFFNESS = 20
    FAR = 1
    NEXT = 8
    DIAGONALLY = 2
    COURSES = 64  # channels whose changes are judged apart; the others are judged with the last
    BALANCES = 6  # renewals of a grid that find the weights of noisy data, before it settles; later ones keep them
    BALANCE_RADIUS = 4  # of the Gaussian of BALANCE_SPREAD

cdef enum:
    # Stages: pixels whose weights are wanted; of the blocks of two by two pixels, those whose blurred tensor is, those
    # that the blur along the columns is for, those whose tensor is; blocks whose means are.
    WANTED = 0
    BLURRED = 1
    COLUMNS = 2
    RAW = 3
    MEANS = 4

# After a restart the momentum, and so the change, is small. Assume 50 more iterations of that size.
cdef double ITERATIONS_TO_COME = 50
cdef double OUTSTANDING = 8  # contrasts, beyond which a difference counts no more
# A period between renewals ends when a sweep changes so small a share of what the greatest of the period did, or after
# 12 sweeps, or after a quarter of all sweeps so far if these are more.
cdef double SOLVED = 0.15
cdef int LEAST_PERIOD = 2
cdef int PERIOD = 12
cdef double PERIOD_SHARE = 0.25
# The same with noisy data, whose weights are to be found soon.
cdef double NOISY_SOLVED = 0.3
cdef int NOISY_PERIOD = 5
cdef double MOST_MOVE = 4  # contrasts that a pixel's move counts as, at most
cdef double SLOWEST = 0.97  # the greatest ratio of a geometric series of renewals
cdef double DOUBT = 10  # how much more a series of two renewals may hold than it shows
# The tolerance of the grids next to the finest, and of those above, which cost little and tell large holes what to be.
cdef double NEXT_TOL = 1.4
cdef double COARSE_TOL = 0.2
cdef double NEXT_LEAST_TOL = 0.1
cdef double COARSE_LEAST_TOL = 0.02
cdef double NOISY_NEXT_TOL = 3
cdef double NOISY_COARSE_TOL = 1
cdef int COARSE_ITERATIONS = 500
cdef double RENEWAL_WORK = 4  # of a pixel, beside that of a sweep
# What a pixel shares with the free ones around it, with a margin, bounds the operator by its diagonal.
cdef double MARGIN = 1.25
cdef double ALONE = 0.01  # below this one the first sweep solves
cdef double LONELY = 0.5  # below this mean of those sums momentum starts from nothing
cdef double DENSE_START = 20
# Of the blur of energies and of precisions, in blocks of two by two pixels.
cdef double BALANCE_SPREAD = 1.25
cdef double BALANCE_FLOOR = 0.02  # of the mean energy, which every pixel has beside its own


cdef struct Parameters:
    int kind
    double safety
    double epsilon
    double scale
    double mu
    double kappa
    double floor
    double contrast
    double strength
    double spread  # of the tensor where a tenth of the pixels is known
    double low
    double high
    double most  # momentum
    double least_contrast
    int threads
    bint single
    Py_ssize_t channels
    Py_ssize_t masks  # channels of `free`: one, or one for each channel
    bint noisy
    double huber  # standard deviations beyond which a distance to the data counts less
    double balance
    double least_balance
    double most_balance


cdef struct Course:
    # How the changes of a channel have fallen since the momentum last started afresh, and what its renewals brought.
    double[TREND + 1] changes
    int count
    double square  # of its changes in the last sweep, summed
    double change
    double expected  # to come after that, as a trend of changes has it
    double series  # the same, as one of renewals has it; negative where nothing is known
    double sum  # of its changes since the last renewal
    double[3] brought  # by the last renewals, the last one first
    int renewals


cdef struct Grid:
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t unknown  # free pixels of all masks
    Py_ssize_t pairs  # of neighbours of which one at least is free
    unsigned char *free
    void *x
    # Of noisy images:
    unsigned char *missing
    void *data  # what was measured; 0 where it is missing
    void *precision


cdef struct Window:
    Grid[MOST_GRIDS] grids
    int count  # of grids
    int level  # of the grid that is being run
    # Of the grid that is being run:
    void *x
    void *previous
    void *next
    void *weights
    void *steps
    void *tensor
    void *scratch
    unsigned char *shares
    int *tiles
    Py_ssize_t tile_count
    int *spans
    Py_ssize_t[STAGES] span_count
    Py_ssize_t span_room  # of a stage
    unsigned char *occupied
    unsigned char *nothing  # a row without a free pixel
    unsigned char *ignored  # a row that nobody reads
    unsigned char *columns  # of a plane, for sums over windows
    unsigned char *near  # a row of sectors, and another
    int *open  # the last tile of each sector
    double *totals
    double *sums  # of rows, or of spans
    double *taps
    Py_ssize_t radius
    Course *courses
    Py_ssize_t active  # channels that have not settled
    int iterations
    int in_period
    bint due
    bint alone  # the free pixels: one sweep solves for most of them
    double greatest  # change in this period
    double start  # of the momentum
    double momentum
    double slope
    double change
    double contrast
    double area  # of its tiles, over the channels
    # Of noisy images:
    void *pull
    void *balance  # of blocks of two by two pixels: energies, then factors of the energy
    void *trust
    double[BALANCE_RADIUS + 1] balance_taps
    double trusted  # the sum of the roots of precision over the grid
    int balances
    bint filled
    bint settled
    bint failed


# ---- memory ----

cdef struct Arena:
    # A workspace that arrays are cut from, or only measured where it is NULL.
    char *base
    size_t used


cdef void *claim(Arena *arena, size_t size) noexcept nogil:
    # On cache lines, as vectors like it.
    cdef void *block = NULL if arena.base == NULL else arena.base + arena.used
    arena.used += (size + 63) // 64 * 64
    return block


cdef inline size_t item(const Parameters *p) noexcept nogil:
    return sizeof(float) if p.single else sizeof(double)


cdef void furnish(Window *w, const Parameters *p, Arena *arena, Py_ssize_t rows, Py_ssize_t cols) noexcept nogil:
    # Claim the arrays of a window whose finest grid has such a size.
    cdef size_t plane = <size_t> rows * cols * item(p), tensor = 0, scratch = 0
    cdef Py_ssize_t sectors = (cols + SECTOR - 1) // SECTOR, bands = (rows + CELL_ROWS - 1) // CELL_ROWS
    cdef Py_ssize_t tiles = sectors * bands, spans = bands * (sectors // 2 + 1)
    cdef Py_ssize_t below = rows, beside = cols
    cdef bint edge = p.kind == EDGE
    cdef size_t blocks = ((rows + 1) // 2) * ((cols + 1) // 2) * item(p)
    if edge:
        tensor = (3 * blocks + 63) // 64 * 64
    if edge or p.noisy:
        scratch = ((rows + 1) // 2) * ((cols + 1) // 2 + 2 * MOST_RADIUS) * item(p)
    w.grids[0].rows, w.grids[0].cols = rows, cols
    w.previous = claim(arena, p.channels * plane)
    w.next = claim(arena, p.channels * plane)
    w.weights = claim(arena, 4 * plane if edge else plane)
    # What renewals read before they write the steps shares the memory of these.
    w.steps = claim(arena, max(p.masks * plane, tensor + scratch))
    w.tensor, w.columns = w.steps, <unsigned char *> w.steps
    w.scratch = <char *> w.steps + tensor
    w.shares = <unsigned char *> claim(arena, p.masks * rows * cols)
    w.tiles = <int *> claim(arena, 4 * sizeof(int) * tiles)
    w.spans = <int *> claim(arena, 4 * sizeof(int) * STAGES * spans)
    w.occupied = <unsigned char *> claim(arena, rows * sectors)
    w.near = <unsigned char *> claim(arena, 2 * sectors)
    w.nothing = <unsigned char *> claim(arena, cols)
    w.ignored = <unsigned char *> claim(arena, cols)
    w.open = <int *> claim(arena, sizeof(int) * sectors)
    w.totals = <double *> claim(arena, 2 * sizeof(double) * tiles * p.channels)
    w.sums = <double *> claim(arena, sizeof(double) * max(rows, spans) * p.channels)
    w.taps = <double *> claim(arena, sizeof(double) * (MOST_RADIUS + 1))
    w.courses = <Course *> claim(arena, sizeof(Course) * min(p.channels, COURSES))
    if p.noisy:
        w.pull = claim(arena, p.masks * plane)
        w.balance = claim(arena, blocks)
        w.trust = claim(arena, blocks)
        w.grids[0].missing = <unsigned char *> claim(arena, p.masks * rows * cols)
        w.grids[0].data = claim(arena, p.channels * plane)
    w.count = 1
    while (below > 1 or beside > 1) and w.count < MOST_GRIDS:
        below, beside = (below + 1) // 2, (beside + 1) // 2
        w.grids[w.count].rows, w.grids[w.count].cols = below, beside
        w.grids[w.count].free = <unsigned char *> claim(arena, p.masks * below * beside)
        w.grids[w.count].x = claim(arena, p.channels * below * beside * item(p))
        if p.noisy:
            w.grids[w.count].missing = <unsigned char *> claim(arena, p.masks * below * beside)
            w.grids[w.count].data = claim(arena, p.channels * below * beside * item(p))
            w.grids[w.count].precision = claim(arena, p.masks * below * beside * item(p))
        w.count += 1
    if arena.base != NULL:
        memset(w.nothing, 0, cols)


# ---- where there is work ----

cdef void find_occupied(Window *w, const Grid *grid, Py_ssize_t masks) noexcept nogil:
    # Whether anything is free in each sector of each row.
    cdef Py_ssize_t sectors = (grid.cols + SECTOR - 1) // SECTOR, i, j, s, c
    cdef unsigned char any
    cdef unsigned char *occupied
    cdef const unsigned char *row
    cdef unsigned long long[2] words
    for i in range(grid.rows):
        occupied = w.occupied + i * sectors
        memset(occupied, 0, sectors)
        for c in range(masks):
            row = grid.free + (c * grid.rows + i) * grid.cols
            for s in range(grid.cols // SECTOR):
                memcpy(words, row + s * SECTOR, SECTOR)
                occupied[s] |= (words[0] | words[1]) != 0
            any = 0
            for j in range(grid.cols // SECTOR * SECTOR, grid.cols):
                any |= row[j]
            if any:
                occupied[sectors - 1] = 1


cdef inline bint is_occupied(
    const Window *w, const Grid *grid, Py_ssize_t i, Py_ssize_t s, Py_ssize_t sectors
) noexcept nogil:
    cdef Py_ssize_t all = (grid.cols + SECTOR - 1) // SECTOR
    return w.occupied[i * all + s] or (s == sectors - 1 and s + 1 < all and w.occupied[i * all + s + 1])


cdef void find_tiles(Window *w, const Grid *grid) noexcept nogil:
    # Band by band, the rows of each sector in which something is free. Sectors side by side are one tile where that
    # adds little in which nothing is; so are tiles that touch from one band to the next. No two overlap.
    cdef Py_ssize_t cols = grid.cols, sectors = (cols + SECTOR - 1) // SECTOR, s, i, k, band = 0, end, first, last
    cdef Py_ssize_t begun, start, stop, top, bottom, both
    cdef int *tile
    cdef int *above
    if cols % SECTOR == 1 and sectors > 1:
        sectors -= 1  # a last column by itself belongs to the sector before it
    for s in range(sectors):
        w.open[s] = -1
    w.tile_count = 0
    while band < grid.rows:
        end = min(band + CELL_ROWS, grid.rows)
        begun = w.tile_count
        for s in range(sectors):
            start, stop = s * SECTOR, cols if s == sectors - 1 else (s + 1) * SECTOR
            first, last = end, band - 1
            for i in range(band, end):
                if is_occupied(w, grid, i, s, sectors):
                    first, last = min(first, i), i
            if last < first:
                continue
            tile = w.tiles + 4 * (w.tile_count - 1)
            if w.tile_count > begun and tile[3] == start and stop - tile[2] <= WIDEST:
                top, bottom = min(first, tile[0]), max(last + 1, tile[1])
                both = (last + 1 - first) * (stop - start) + (tile[1] - tile[0]) * (tile[3] - tile[2])
                if 4 * (bottom - top) * (stop - tile[2]) <= 5 * both:
                    tile[0], tile[1], tile[3] = top, bottom, stop
                    continue
            tile = w.tiles + 4 * w.tile_count
            tile[0], tile[1], tile[2], tile[3] = first, last + 1, start, stop
            w.tile_count += 1
        k = begun
        while k < w.tile_count:
            tile = w.tiles + 4 * k
            s = tile[2] // SECTOR
            above = w.tiles + 4 * w.open[s]
            if (
                tile[0] == band and w.open[s] >= 0 and above[1] == band and above[3] == tile[3]
                and tile[1] - above[0] <= TALLEST
            ):
                above[1] = tile[1]
                w.tile_count -= 1
                memcpy(tile, w.tiles + 4 * w.tile_count, 4 * sizeof(int))
                continue
            k += 1
        for k in range(begun, w.tile_count):
            if w.tiles[4 * k + 1] == end:
                w.open[w.tiles[4 * k + 2] // SECTOR] = k
        band = end


cdef inline int *spans_of(const Window *w, int stage) noexcept nogil:
    return w.spans + 4 * w.span_room * stage


cdef void find_spans(Window *w, const Grid *grid, int stage, Py_ssize_t up, Py_ssize_t across) noexcept nogil:
    # The cells within so many rows and columns of a free pixel, runs of them as one; in blocks of two for all stages
    # but that of the weights.
    cdef Py_ssize_t sectors = (grid.cols + SECTOR - 1) // SECTOR, cells = (sectors + 1) // 2, band, i, s, first
    cdef Py_ssize_t reach = (across + SECTOR - 1) // SECTOR, scale = 1 if stage == WANTED else 2, count = 0
    cdef unsigned char *near = w.near
    cdef unsigned char *wanted = near + sectors
    cdef const unsigned char *row
    cdef int *span
    for band in range((grid.rows + CELL_ROWS - 1) // CELL_ROWS):
        memset(near, 0, 2 * sectors)
        for i in range(max(band * CELL_ROWS - up, 0), min((band + 1) * CELL_ROWS + up, grid.rows)):
            row = w.occupied + i * sectors
            for s in range(sectors):
                near[s] |= row[s]
        for s in range(sectors):
            if near[s]:
                for i in range(max(s - reach, 0), min(s + reach + 1, sectors)):
                    wanted[i] = 1
        s = 0
        while s < cells:
            if not (wanted[2 * s] or (2 * s + 1 < sectors and wanted[2 * s + 1])):
                s += 1
                continue
            first = s
            while s < cells and (wanted[2 * s] or (2 * s + 1 < sectors and wanted[2 * s + 1])):
                s += 1
            span = spans_of(w, stage) + 4 * count
            span[0] = band * CELL_ROWS // scale
            span[1] = (min((band + 1) * CELL_ROWS, grid.rows) + scale - 1) // scale
            span[2] = first * 2 * SECTOR // scale
            span[3] = (min(s * 2 * SECTOR, grid.cols) + scale - 1) // scale
            count += 1
    w.span_count[stage] = count


cdef inline unsigned char coupling_at(
    const unsigned char *up2, const unsigned char *up, const unsigned char *here, const unsigned char *down,
    const unsigned char *down2, Py_ssize_t j,
) noexcept nogil:
    return (
        NEXT * (((here - 1)[j] + here[j + 1]) + (up[j] + down[j]))
        + DIAGONALLY * (((up - 1)[j] + up[j + 1]) + ((down - 1)[j] + down[j + 1]))
        + FAR * (((here - 2)[j] + here[j + 2]) + (up2[j] + down2[j]))
    )


cdef inline unsigned char coupling_beside(
    const unsigned char *up2, const unsigned char *up, const unsigned char *here, const unsigned char *down,
    const unsigned char *down2, Py_ssize_t j, Py_ssize_t cols,
) noexcept nogil:
    # The same beside the border, beyond which nothing is free.
    cdef unsigned char[25] near
    cdef Py_ssize_t k, n
    for k in range(5):
        n = j + k - 2
        near[k] = up2[n] if 0 <= n < cols else 0
        near[5 + k] = up[n] if 0 <= n < cols else 0
        near[10 + k] = here[n] if 0 <= n < cols else 0
        near[15 + k] = down[n] if 0 <= n < cols else 0
        near[20 + k] = down2[n] if 0 <= n < cols else 0
    return coupling_at(near, near + 5, near + 10, near + 15, near + 20, 2)


cdef inline Py_ssize_t share_row(
    const unsigned char *up2, const unsigned char *up, const unsigned char *here, const unsigned char *down,
    const unsigned char *down2, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t cols, float bound, unsigned char *shares,
) noexcept nogil:
    # The shares of a row's pixels from start to before stop; return the sum of the free ones' couplings.
    cdef Py_ssize_t j, total = 0
    cdef float one = 1, unit = <float> (MARGIN / STIFFNESS), whole = ONE_SHARE, divisor
    for j in range(max(start, 2), min(stop, cols - 2)):
        shares[j] = coupling_at(up2, up, here, down, down2, j)
    for j in range(start, min(stop, 2)):
        shares[j] = coupling_beside(up2, up, here, down, down2, j, cols)
    for j in range(max(start, cols - 2, 2), stop):
        shares[j] = coupling_beside(up2, up, here, down, down2, j, cols)
    for j in range(start, stop):
        total += shares[j] * here[j]
    for j in range(start, stop):
        divisor = one + unit * <float> shares[j]
        divisor = divisor if divisor < bound else bound
        shares[j] = <unsigned char> (whole / divisor) * here[j]
    return total


cdef double find_shares(Window *w, const Grid *grid, double safety, Py_ssize_t masks) noexcept nogil:
    # The share of a full step that each free pixel of the tiles may take; return the mean coupling of the free pixels.
    cdef Py_ssize_t rows = grid.rows, cols = grid.cols, i, c, k, total = 0
    cdef const unsigned char *here
    cdef const int *tile
    for k in range(w.tile_count):
        tile = w.tiles + 4 * k
        for c in range(masks):
            for i in range(tile[0], tile[1]):
                here = grid.free + (c * rows + i) * cols
                total += share_row(
                    here - 2 * cols if i > 1 else w.nothing, here - cols if i > 0 else w.nothing, here,
                    here + cols if i + 1 < rows else w.nothing, here + 2 * cols if i + 2 < rows else w.nothing,
                    tile[2], tile[3], cols, <float> safety, w.shares + (c * rows + i) * cols,
                )
    return <double> total / (STIFFNESS * max(grid.unknown, 1))


cdef inline unsigned int sum_of(const unsigned char *row, Py_ssize_t cols) noexcept nogil:
    cdef Py_ssize_t j
    cdef unsigned int total = 0
    for j in range(cols):
        total += row[j]
    return total


cdef inline unsigned int sum_of_either(
    const unsigned char *row, const unsigned char *other, Py_ssize_t cols
) noexcept nogil:
    cdef Py_ssize_t j
    cdef unsigned int total = 0
    for j in range(cols):
        total += row[j] | other[j]
    return total


cdef void count_pairs(Grid *grid, const Parameters *p) noexcept nogil:
    cdef Py_ssize_t i, c, unknown = 0, pairs = 0
    cdef const unsigned char *row
    for c in range(p.masks):
        for i in range(grid.rows):
            row = grid.free + (c * grid.rows + i) * grid.cols
            unknown += sum_of(row, grid.cols)
            pairs += sum_of_either(row, row + 1, grid.cols - 1)
            if i + 1 < grid.rows:
                pairs += sum_of_either(row, row + grid.cols, grid.cols)
    grid.unknown, grid.pairs = unknown, pairs * (p.channels // p.masks)


# ---- the run of a grid ----

cdef void copy_around(
    const Window *w, const Grid *grid, Py_ssize_t first, Py_ssize_t last, Py_ssize_t size, const char *x, char *out
) noexcept nogil:
    # What sweeps read around their tiles, of the channels from the first to before the last.
    cdef Py_ssize_t k, i, c, top, bottom, start, stop, at
    cdef const int *tile
    for k in range(w.tile_count):
        tile = w.tiles + 4 * k
        top, bottom = max(tile[0] - 2, 0), min(tile[1] + 2, grid.rows)
        start, stop = max(tile[2] - 2, 0), min(tile[3] + 2, grid.cols)
        for c in range(first, last):
            for i in range(top, bottom):
                at = ((c * grid.rows + i) * grid.cols + start) * size
                memcpy(out + at, x + at, (stop - start) * size)


cdef Job job_of(const Window *w, const Grid *grid, const Parameters *p) noexcept nogil:
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.single, job.kind = p.single, p.kind
    job.channels, job.rows, job.cols = p.channels, grid.rows, grid.cols
    job.x, job.previous = w.x, w.previous
    job.weights.omega, job.weights.plane = w.weights, grid.rows * grid.cols
    job.weights.mu, job.weights.kappa = p.mu, p.kappa
    job.free, job.free_channels = grid.free, p.masks
    if p.noisy:
        job.data, job.precision, job.pull = grid.data, grid.precision, w.pull
    return job


cdef void gaussian(double sigma, Py_ssize_t radius, double *taps) noexcept nogil:
    # Taps from the centre on; with those on the other side their sum is 1.
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(radius + 1):
        taps[k] = exp(-0.5 * (k / sigma) * (k / sigma))
        total += taps[k] * (2 if k > 0 else 1)
    for k in range(radius + 1):
        taps[k] /= total


cdef void blur_blocks(
    Window *w, Job *job, void *plane, const double *taps, Py_ssize_t radius, int columns, int rows, int threads
) noexcept nogil:
    # In place, within the spans of two stages; the job is that of the grid.
    cdef Py_ssize_t height = job.rows, width = job.cols
    job.rows, job.cols, job.taps, job.radius = (height + 1) // 2, (width + 1) // 2, taps, radius
    job.x, job.out = plane, w.scratch
    run_spans(job, BLUR_COLUMNS, spans_of(w, columns), w.span_count[columns], threads)
    job.x, job.out = w.scratch, plane
    run_spans(job, BLUR_ROWS, spans_of(w, rows), w.span_count[rows], threads)
    job.rows, job.cols = height, width


cdef double blurred_means(Window *w, const Parameters *p, Job *job, int task, void *out) noexcept nogil:
    # Of energies or of roots of precision, over blocks; return their sum over the pixels.
    cdef double total = 0
    cdef Py_ssize_t k
    job.sums_out, job.out = w.sums, out
    run_spans(job, task, spans_of(w, RAW), w.span_count[RAW], p.threads)
    for k in range(w.span_count[RAW]):
        total += w.sums[k]
    blur_blocks(w, job, out, w.balance_taps, BALANCE_RADIUS, RAW, RAW, p.threads)
    return total


cdef void find_balance(Window *w, const Parameters *p) noexcept nogil:
    # How many times the energy counts around each block, from the energy there and from how well it was measured.
    cdef Grid *grid = &w.grids[w.level]
    cdef Job job = job_of(w, grid, p)
    cdef double energy, mean, pixels = <double> grid.rows * grid.cols
    job.epsilon, job.scale = p.epsilon, p.scale
    energy = blurred_means(w, p, &job, DENSITIES, w.balance)
    mean = energy / pixels
    job.balance.floor = BALANCE_FLOOR * mean + 1e-30  # an image may be flat
    job.balance.energy = mean + job.balance.floor
    job.balance.trust = pixels / w.trusted
    job.balance.low, job.balance.high = p.least_balance, p.most_balance
    job.balance.factor = min(max(p.balance * sqrt(w.trusted / (energy + 1e-30)), p.least_balance), p.most_balance)
    job.rows, job.cols = (grid.rows + 1) // 2, (grid.cols + 1) // 2
    job.blocks, job.out = w.trust, w.balance
    run_spans(&job, BALANCE, spans_of(w, RAW), w.span_count[RAW], p.threads)
    w.balances += 1


cdef Py_ssize_t sum_of_plane(const unsigned char *plane, const Grid *grid) noexcept nogil:
    cdef Py_ssize_t i, total = 0
    for i in range(grid.rows):
        total += sum_of(plane + i * grid.cols, grid.cols)
    return total


cdef void fill_weights(Window *w, const Grid *grid, const Parameters *p) noexcept nogil:
    # As sums of squares have them.
    cdef Py_ssize_t k
    for k in range(grid.rows * grid.cols):
        if p.single:
            (<float *> w.weights)[k] = 2
        else:
            (<double *> w.weights)[k] = 2


cdef void open_grid(Window *w, const Parameters *p) noexcept nogil:
    # Find where there is work on the grid that is run next, and clear what the last one has left.
    cdef Grid *grid = &w.grids[w.level]
    cdef Job job
    cdef Py_ssize_t c, i, k, spans = (grid.rows + CELL_ROWS - 1) // CELL_ROWS * (
        (grid.cols + 2 * SECTOR - 1) // (2 * SECTOR)
    )
    cdef double coupling, known = 0, density, sigma
    cdef Py_ssize_t unknown = 0
    w.x = grid.x
    find_occupied(w, grid, p.masks)
    find_tiles(w, grid)
    coupling = find_shares(w, grid, p.safety, p.masks)
    w.start = DENSE_START if coupling > LONELY else 1
    w.alone = coupling <= ALONE
    w.momentum = w.start
    w.slope = w.change = 0
    w.iterations = w.in_period = 0
    w.due = True
    w.active = p.channels
    w.area = 0
    for k in range(w.tile_count):
        w.area += (w.tiles[4 * k + 1] - w.tiles[4 * k]) * (w.tiles[4 * k + 3] - w.tiles[4 * k + 2])
    w.area *= p.channels
    memset(w.courses, 0, sizeof(Course) * min(p.channels, COURSES))
    copy_around(w, grid, 0, p.channels, item(p), <const char *> w.x, <char *> w.previous)
    copy_around(w, grid, 0, p.channels, item(p), <const char *> w.x, <char *> w.next)
    w.span_room = spans
    if p.noisy:
        # Energies are asked for everywhere.
        memset(w.occupied, 1, grid.rows * ((grid.cols + SECTOR - 1) // SECTOR))
        find_spans(w, grid, RAW, 0, 0)
        gaussian(BALANCE_SPREAD, BALANCE_RADIUS, w.balance_taps)
        job = job_of(w, grid, p)
        w.trusted = blurred_means(w, p, &job, TRUST, w.trust)
        w.balances = 0
    find_spans(w, grid, WANTED, 2, 2)
    if p.epsilon == 0:
        fill_weights(w, grid, p)
    if p.kind != EDGE:
        return
    for c in range(p.masks):
        job = job_of(w, grid, p)
        job.free, job.sums_out, job.scratch = (
            (grid.missing if p.noisy else grid.free) + c * grid.rows * grid.cols, w.sums, w.columns
        )
        unknown += sum_of_plane(job.free, grid) if p.noisy else 0
        run_spans(&job, KNOWN_AROUND, spans_of(w, WANTED), w.span_count[WANTED], p.threads)
        for k in range(w.span_count[WANTED]):
            known += w.sums[k]
    if not p.noisy:
        unknown = grid.unknown
    density = max(known / unknown, 0.005) if unknown > 0 else 1
    sigma = min(p.spread * pow(0.1 / density, 0.4), 10.0) / 2  # the tensor is one of blocks of 2 x 2 pixels
    w.radius = <Py_ssize_t> (3 * sigma + 0.5)
    gaussian(sigma, w.radius, w.taps)
    find_spans(w, grid, BLURRED, 6, 6)
    find_spans(w, grid, COLUMNS, 6, 6 + 2 * w.radius)
    find_spans(w, grid, RAW, 6 + 2 * w.radius, 6 + 2 * w.radius)


cdef void close_grid(Window *w, const Parameters *p) noexcept nogil:
    # Put the iterate into the grid's own array, which alone holds what is known everywhere. The three arrays change
    # places, so that the run can go on.
    cdef Grid *grid = &w.grids[w.level]
    cdef Py_ssize_t size = item(p)
    cdef void *spare
    if w.x == grid.x:
        return
    if w.previous == grid.x:
        copy_around(w, grid, 0, p.channels, size, <const char *> w.previous, <char *> w.next)
        w.previous, w.next = w.next, w.previous
    spare = w.x
    copy_around(w, grid, 0, p.channels, size, <const char *> spare, <char *> grid.x)
    w.x, w.next = grid.x, spare


cdef void renew(Window *w, const Parameters *p) noexcept nogil:
    # The weights, and with them each pixel's step and the contrast, at the image as it stands.
    cdef Grid *grid = &w.grids[w.level]
    cdef Job job
    cdef Py_ssize_t c, halves
    cdef size_t size = item(p)
    measure_contrast(w, p)
    job = job_of(w, grid, p)
    if p.kind == EDGE:
        job.inverse, job.out = 1 / (p.contrast * p.contrast), w.tensor
        run_spans(&job, TENSOR, spans_of(w, RAW), w.span_count[RAW], p.threads)
        halves = ((grid.rows + 1) // 2) * ((grid.cols + 1) // 2)
        for c in range(3):
            blur_blocks(
                w, &job, <char *> w.tensor + c * halves * size, w.taps, w.radius, COLUMNS, BLURRED, p.threads
            )
        job.tensor, job.out, job.inverse = w.tensor, w.weights, 1 / (p.strength * p.strength)
        run_spans(&job, ORIENT, spans_of(w, WANTED), w.span_count[WANTED], p.threads)
    if p.epsilon > 0:
        job.x, job.out, job.epsilon, job.scale = w.x, w.weights, p.epsilon, p.scale
        run_spans(&job, WEIGH, spans_of(w, WANTED), w.span_count[WANTED], p.threads)
    if p.noisy and w.balances < BALANCES:
        find_balance(w, p)
    job.out, job.channels, job.shares, job.floor = w.steps, 1, w.shares, p.floor
    job.tiles = w.tiles
    run_tiles(&job, DIAGONAL, w.tile_count, p.threads)
    if p.noisy:
        job.channels, job.x, job.blocks, job.balance.huber = p.channels, w.x, w.balance, p.huber
        run_spans(&job, NOISY_STEPS, w.tiles, w.tile_count, p.threads)
        return
    job.channels = p.masks
    run_spans(&job, STEP_SIZES, w.tiles, w.tile_count, p.threads)


cdef void measure_contrast(Window *w, const Parameters *p) noexcept nogil:
    # Of the grid's own array: the others hold anything beside the tiles.
    cdef Grid *grid = &w.grids[w.level]
    cdef Job job
    cdef Py_ssize_t k
    cdef int again
    cdef double total
    close_grid(w, p)
    job = job_of(w, grid, p)
    job.sums_out, job.most = w.sums, 1
    for again in range(2):
        run_spans(&job, CONTRAST, spans_of(w, WANTED), w.span_count[WANTED], p.threads)
        total = 0
        for k in range(w.span_count[WANTED]):
            total += w.sums[k]
        w.contrast = max(sqrt(total / max(grid.pairs, 1)), p.least_contrast)
        # What stands out by many times that does not count in full either.
        job.most = min(1.0, OUTSTANDING * w.contrast)


cdef double next_momentum(Window *w, const Parameters *p) noexcept nogil:
    cdef double t = w.momentum
    w.momentum = (1 + sqrt(1 + 4 * t * t)) / 2
    return min((t - 1) / w.momentum, p.most)


cdef double to_come(Course *course, double change, bint restarted) noexcept nogil:
    # The change that is yet to come after this one.
    cdef double ratio
    cdef int k
    if restarted:
        course.count = 0
    if course.count == TREND + 1:
        for k in range(TREND):
            course.changes[k] = course.changes[k + 1]
        course.count = TREND
    course.changes[course.count] = change
    course.count += 1
    if course.count == TREND + 1 and course.changes[0] > change:
        # As if the changes to come fell in a geometric series.
        ratio = pow(change / course.changes[0], 1.0 / TREND)
        if ratio < 1:
            return change * ratio / (1 - ratio)
    return change * ITERATIONS_TO_COME


cdef double renewals_to_bring(Course *course) noexcept nogil:
    # What the renewals to come will change, by what the last ones have.
    cdef double ratio
    course.brought[2], course.brought[1] = course.brought[1], course.brought[0]
    course.brought[0], course.sum = course.sum, 0
    course.renewals += 1
    if course.renewals < 2:
        return -1  # who knows
    ratio = course.brought[0] / max(course.brought[1], 1e-300)
    if course.renewals > 2:
        ratio = max(ratio, sqrt(course.brought[0] / max(course.brought[2], 1e-300)))
    ratio = min(ratio, SLOWEST)
    return course.brought[0] * ratio / (1 - ratio) * (DOUBT if course.renewals == 2 else 1)


cdef void sweep(Window *w, const Parameters *p, double tol) noexcept nogil:
    # One iteration on the grid that is run; `settled` where what is yet to come is within the tolerance.
    cdef Grid *grid = &w.grids[w.level]
    cdef Job job
    cdef bint restarted = w.slope > 0
    if w.due:
        renew(w, p)
        w.in_period, w.greatest = 0, 0
    if restarted:
        w.momentum = w.start
    job = job_of(w, grid, p)
    job.channels = w.active
    job.steps, job.steps_apart = w.steps, 0 if p.masks == 1 else grid.rows * grid.cols
    job.momentum, job.low, job.high, job.most = next_momentum(w, p), p.low, p.high, MOST_MOVE * w.contrast
    job.out, job.tiles, job.sums_out = w.next, w.tiles, w.totals
    run_tiles(&job, STEP, w.tile_count * w.active, p.threads)
    note_sweep(w, p, restarted)
    w.due = w.alone or (
        w.in_period >= LEAST_PERIOD and w.change <= (NOISY_SOLVED if p.noisy else SOLVED) * w.greatest
    ) or (
        w.in_period >= max(NOISY_PERIOD if p.noisy else PERIOD, <int> (PERIOD_SHARE * w.iterations))
    )
    if not w.failed and not (p.noisy and w.balances < BALANCES):
        judge(w, p, tol)


cdef void note_sweep(Window *w, const Parameters *p, bint restarted) noexcept nogil:
    # Let the three arrays change places, and add up what the tiles have told.
    cdef Course *course
    cdef Py_ssize_t c, k, moving = max(w.grids[w.level].unknown * (p.channels // p.masks), 1)
    cdef double total = 0
    w.x, w.previous, w.next = w.next, w.x, w.previous
    w.iterations += 1
    w.in_period += 1
    for c in range(min(w.active, COURSES)):
        w.courses[c].square = 0
    w.slope = 0
    for k in range(w.tile_count * w.active):
        w.courses[min(k % w.active, COURSES - 1)].square += w.totals[2 * k]
        w.slope += w.totals[2 * k + 1]
    for c in range(min(w.active, COURSES)):
        course = &w.courses[c]
        total += course.square
        course.change = sqrt(course.square / moving)
        course.sum += course.change
        course.expected = to_come(course, course.change, restarted)
    w.change = sqrt(total / moving)
    w.failed = not w.change < INFINITY
    w.greatest = max(w.greatest, w.change)


cdef Py_ssize_t moving_channels(const Window *w, double limit) noexcept nogil:
    # The number of channels up to the last one that has more than so much to come by both judgements.
    cdef Py_ssize_t c, moving = 0
    cdef const Course *course
    for c in range(min(w.active, COURSES)):
        course = &w.courses[c]
        if not (course.renewals >= 2 and course.expected <= limit or 0 <= course.series <= limit):
            moving = c + 1 if c < COURSES - 1 else w.active
    return moving


cdef void judge(Window *w, const Parameters *p, double tol) noexcept nogil:
    # What has settled is left alone: channels that share a mask from the last one on, at last all.
    cdef Grid *grid = &w.grids[w.level]
    cdef Py_ssize_t c, moving
    for c in range(min(w.active, COURSES)):
        w.courses[c].series = renewals_to_bring(&w.courses[c]) if w.due else -1
    moving = moving_channels(w, tol * w.contrast)
    if moving == w.active:
        return
    measure_contrast(w, p)
    moving = moving_channels(w, tol * w.contrast)
    w.settled = moving == 0
    if 0 < moving < w.active and p.masks == 1:
        copy_around(w, grid, moving, w.active, item(p), <const char *> w.x, <char *> w.previous)
        copy_around(w, grid, moving, w.active, item(p), <const char *> w.x, <char *> w.next)
        w.active = moving


# ---- from grid to grid ----

cdef void pull_up(Window *w, const Parameters *p, int level, bint filled, const int *span) noexcept nogil:
    # Average a span of a grid into the next coarser one: its known pixels, or all of them where it was filled.
    cdef Grid *fine = &w.grids[level]
    cdef Grid *coarse = &w.grids[level + 1]
    cdef Py_ssize_t c, i, at, below, out, start = 2 * span[2], cols = min(2 * span[3], fine.cols) - start
    cdef const unsigned char *above_free
    cdef const unsigned char *below_free
    for c in range(p.channels):
        for i in range(span[0], span[1]):
            at, below = 2 * i, min(2 * i + 1, fine.rows - 1)
            above_free = below_free = w.nothing
            if not filled:
                above_free = fine.free + (min(c, p.masks - 1) * fine.rows + at) * fine.cols + start
                below_free = fine.free + (min(c, p.masks - 1) * fine.rows + below) * fine.cols + start
            at, below = (c * fine.rows + at) * fine.cols + start, (c * fine.rows + below) * fine.cols + start
            out = (c * coarse.rows + i) * coarse.cols + span[2]
            if p.single:
                pull_row(
                    <const float *> fine.x + at, <const float *> fine.x + below, above_free, below_free, cols,
                    <float *> coarse.x + out, w.ignored,
                )
            else:
                pull_row(
                    <const double *> fine.x + at, <const double *> fine.x + below, above_free, below_free, cols,
                    <double *> coarse.x + out, w.ignored,
                )


cdef void push_down(Window *w, const Parameters *p, int level, const unsigned char *mask) noexcept nogil:
    # Interpolate what is free on a grid, by a mask, from the next coarser one.
    cdef Grid *fine = &w.grids[level]
    cdef Grid *coarse = &w.grids[level + 1]
    cdef Py_ssize_t c, i, near, far, at
    cdef const unsigned char *free
    for c in range(p.channels):
        for i in range(fine.rows):
            free = mask + (min(c, p.masks - 1) * fine.rows + i) * fine.cols
            far = max(0, min(i // 2 + (1 if i & 1 else -1), coarse.rows - 1))
            near, far = (c * coarse.rows + i // 2) * coarse.cols, (c * coarse.rows + far) * coarse.cols
            at = (c * fine.rows + i) * fine.cols
            if p.single:
                push_row(
                    <const float *> coarse.x + near, <const float *> coarse.x + far, free, fine.cols,
                    <float *> fine.x + at,
                )
            else:
                push_row(
                    <const double *> coarse.x + near, <const double *> coarse.x + far, free, fine.cols,
                    <double *> fine.x + at,
                )


cdef void prepare_grids(Window *w, const Parameters *p) noexcept nogil:
    # The coarser grids' masks, until nothing is free.
    cdef Grid *fine
    cdef Grid *coarse
    cdef Py_ssize_t c, i, below
    cdef int level = 0
    count_pairs(&w.grids[0], p)
    if p.noisy:
        for level in range(1, w.count):
            coarse = &w.grids[level]
            memset(coarse.free, 1, p.masks * coarse.rows * coarse.cols)
            count_pairs(coarse, p)
        return
    while w.grids[level].unknown > 0:
        fine, coarse = &w.grids[level], &w.grids[level + 1]
        for c in range(p.masks):
            for i in range(coarse.rows):
                below = min(2 * i + 1, fine.rows - 1)
                pull_free_row(
                    fine.free + (c * fine.rows + 2 * i) * fine.cols, fine.free + (c * fine.rows + below) * fine.cols,
                    fine.cols, coarse.free + (c * coarse.rows + i) * coarse.cols,
                )
        count_pairs(coarse, p)
        level += 1
    w.count = level + 1


cdef void note_data(Window *w, const Parameters *p, const real *x) noexcept nogil:
    # What was measured on the finest grid, where x holds it, and where nothing was.
    cdef Grid *grid = &w.grids[0]
    cdef Py_ssize_t plane = grid.rows * grid.cols, c, k
    cdef const real *precision
    cdef real *data
    cdef unsigned char *missing
    for c in range(p.channels):
        precision = <const real *> grid.precision + min(c, p.masks - 1) * plane
        missing = grid.missing + min(c, p.masks - 1) * plane
        data = <real *> grid.data + c * plane
        for k in range(plane):
            missing[k] = precision[k] == 0
        for k in range(plane):
            data[k] = kept(x[c * plane + k], missing[k])


cdef void pull_data(Window *w, const Parameters *p, int level, const real *data) noexcept nogil:
    # From what was measured on a grid, what was on the next coarser one: means over four pixels, weighted by precision;
    # 0 where nothing was.
    cdef Grid *fine = &w.grids[level]
    cdef Grid *coarse = &w.grids[level + 1]
    cdef Py_ssize_t c, m, i, j, above, below, out
    cdef real one = 1, half = <real> 0.5
    for c in range(p.channels):
        m = min(c, p.masks - 1)
        for i in range(coarse.rows):
            above, below = 2 * i * fine.cols, min(2 * i + 1, fine.rows - 1) * fine.cols
            out = i * coarse.cols
            pull_data_row(
                data + c * fine.rows * fine.cols + above, data + c * fine.rows * fine.cols + below,
                <const real *> fine.precision + m * fine.rows * fine.cols + above,
                <const real *> fine.precision + m * fine.rows * fine.cols + below,
                fine.cols, one if below > above else half,
                <real *> coarse.data + c * coarse.rows * coarse.cols + out,
                <real *> coarse.precision + m * coarse.rows * coarse.cols + out,
                coarse.missing + m * coarse.rows * coarse.cols + out,
            )


cdef inline void pull_data_row(
    const real *above, const real *below, const real *precision_above, const real *precision_below, Py_ssize_t cols,
    real share, real *out, real *precision_out, unsigned char *missing_out,
) noexcept nogil:
    # `share`, and a half in the last of an odd number of columns: a pixel that is taken twice counts once.
    cdef Py_ssize_t j, left, right
    cdef real one = 1, half = <real> 0.5, most = EXACT, total, weighted, a, b, c, d
    for j in range((cols + 1) // 2):
        left, right = 2 * j, min(2 * j + 1, cols - 1)
        a, b = min(precision_above[left], most), min(precision_above[right], most)
        c, d = min(precision_below[left], most), min(precision_below[right], most)
        total = (a + b) + (c + d)
        weighted = (a * above[left] + b * above[right]) + (c * below[left] + d * below[right])
        missing_out[j] = total == 0
        out[j] = weighted / total if total > 0 else 0
        precision_out[j] = total * share * (one if right > left else half)


cdef void begin_noisy(Window *w, const Parameters *p, bint coarse) noexcept nogil:
    # Measurements on all grids, and the start: those, and where there are none the means of ever coarser ones.
    cdef int level = 0, k
    cdef Grid *grid
    if p.single:
        note_data(w, p, <const float *> w.grids[0].x)
    else:
        note_data(w, p, <const double *> w.grids[0].x)
    if coarse:
        for k in range(w.count - 1):
            if p.single:
                pull_data(w, p, k, <const float *> w.grids[k].data)
            else:
                pull_data(w, p, k, <const double *> w.grids[k].data)
            grid = &w.grids[k + 1]
            memcpy(grid.x, grid.data, p.channels * grid.rows * grid.cols * item(p))
        for k in range(w.count - 2, -1, -1):
            push_down(w, p, k, w.grids[k].missing)
        while (
            level + 1 < min(w.count, COARSE_GRIDS + 1) and max(w.grids[0].rows, w.grids[0].cols) >> (level + 1) >= 3
        ):
            level += 1
    w.level = level
    open_grid(w, p)


cdef void begin_window(Window *w, const Parameters *p, bint coarse, bint filled) noexcept nogil:
    # Averages up to the coarsest grid, and down again.
    cdef int level = 0, k
    cdef Py_ssize_t i
    cdef int[4] all
    w.settled = w.failed = False
    w.filled = filled
    if p.noisy:
        begin_noisy(w, p, coarse)
        return
    if coarse and w.count > 1:
        while (
            level + 1 < min(w.count, COARSE_GRIDS + 1) and w.grids[level + 1].unknown > 0
            and max(w.grids[0].rows, w.grids[0].cols) >> (level + 1) >= 3
        ):
            level += 1
        for k in range(w.count - 1):
            if k == 0 and level == 0:
                # Only what is free asks for means.
                find_occupied(w, &w.grids[0], p.masks)
                w.span_room = (w.grids[0].rows + CELL_ROWS - 1) // CELL_ROWS * (
                    (w.grids[0].cols + 2 * SECTOR - 1) // (2 * SECTOR)
                )
                find_spans(w, &w.grids[0], MEANS, 4, 4)
                for i in range(w.span_count[MEANS]):
                    pull_up(w, p, 0, filled, spans_of(w, MEANS) + 4 * i)
            else:
                all[0], all[1], all[2], all[3] = 0, w.grids[k + 1].rows, 0, w.grids[k + 1].cols
                pull_up(w, p, k, filled, all)
        # As far as the finest, so that the image is whole whenever the run is ended.
        for k in range(w.count - 2, -1, -1):
            push_down(w, p, k, w.grids[k].free)
    w.level = level
    open_grid(w, p)


cdef double tolerance(const Window *w, const Parameters *p, double tol) noexcept nogil:
    if w.level == 0:
        return tol
    if p.noisy:
        return (NOISY_NEXT_TOL if w.level == 1 else NOISY_COARSE_TOL) * max(tol, NEXT_LEAST_TOL)
    if w.level == 1 and not w.filled:
        return NEXT_TOL * max(tol, NEXT_LEAST_TOL)
    return COARSE_TOL * max(tol, COARSE_LEAST_TOL)


cdef void run_window(Window *w, const Parameters *p, int until, double tol, double *work) noexcept nogil:
    # Iterate until so many iterations of the finest grid are done, or what work there is to do at once.
    while not (w.settled or w.failed) and work[0] > 0:
        if w.level == 0 and w.iterations >= until:
            return
        sweep(w, p, tolerance(w, p, tol))
        work[0] -= w.area + (RENEWAL_WORK * w.grids[w.level].rows * w.grids[w.level].cols if w.due else 0)
        if w.level > 0 and (w.settled or w.iterations >= COARSE_ITERATIONS):
            close_grid(w, p)
            push_down(w, p, w.level - 1, w.grids[w.level - 1].free)
            w.level -= 1
            w.settled = False
            open_grid(w, p)


cdef double data_energy(const Window *w, const Parameters *p, const real *x) noexcept nogil:
    # What the distance to the data adds to the energy, on the finest grid.
    cdef const Grid *grid = &w.grids[0]
    cdef Py_ssize_t rows = grid.rows, cols = grid.cols, plane = rows * cols, shared = p.channels // p.masks
    cdef Py_ssize_t halves = (cols + 1) // 2, first, i, j, c, k, far, at
    cdef const real *balance = <const real *> w.balance
    cdef const real *data = <const real *> grid.data
    cdef const real *precision = <const real *> grid.precision
    cdef real[CHUNK] factors
    cdef double total = 0, square, distance
    for i in range(rows):
        far = min(max(i // 2 + (1 if i & 1 else -1), 0), (rows + 1) // 2 - 1)
        first = 0
        while first < cols:
            spread_row(
                balance + i // 2 * halves, balance + far * halves, halves, cols, first // 2,
                (min(first + CHUNK, cols) + 1) // 2, factors - first,
            )
            for c in range(p.masks):
                for j in range(first, min(first + CHUNK, cols)):
                    at = (c * rows + i) * cols + j
                    if not (grid.free[at] and precision[at] > 0):
                        continue
                    square = 0
                    for k in range(c * shared, (c + 1) * shared):
                        distance = <double> x[k * plane + i * cols + j] - data[k * plane + i * cols + j]
                        square += distance * distance
                    square = square / shared * precision[at]
                    if square > p.huber * p.huber:
                        square = p.huber * (2 * sqrt(square) - p.huber)
                    total += 0.5 * shared * square / factors[j - first]
            first += CHUNK
    return total


# ---- what Python calls ----

cdef class Descent:
    """Windows of an image on their way down a loss of local differences: made by `prepare`."""

    cdef Parameters parameters
    cdef Window *windows
    cdef Py_ssize_t count, size
    cdef object x, free, precision, workspace

    def __dealloc__(self):
        release(self.windows)

    def begin(
        self, real[::1] x not None, double low, double high, bint coarse, const unsigned char[::1] filled not None,
        real[::1] precision = None,
    ):
        """Start from x, which holds the windows' pixels one after the other, each channel by channel, and is changed.

        With coarse, from the averages of the known pixels on ever coarser grids, or of all pixels in windows that are
        filled with a good guess (1); otherwise from x as it is. Free pixels are clamped to the range from low to high.

        precision, of noisy windows alone, has one over the variance of what x holds, of as many channels as there are
        masks, one window after the other: 0 where nothing was measured. It must last as long as x.
        """
        cdef Py_ssize_t k, at = 0, size
        cdef Parameters *p = &self.parameters
        cdef Window *w
        require(p.noisy == (precision is not None), "precision must be given for noisy windows, and for no others")
        if precision is not None:
            require(precision.shape[0] == self.size * p.masks, "precision must hold all masks of all windows")
            self.precision = precision.base
        require(sizeof(real) == item(p), "x must have the precision that was prepared for")
        require(filled.shape[0] == self.count, "filled must have a number for each window")
        require(x.shape[0] == self.size * p.channels, "x must hold all channels of all windows")
        self.x = x.base
        p.low, p.high = low, high
        with nogil:
            for k in range(self.count):
                w = &self.windows[k]
                size = w.grids[0].rows * w.grids[0].cols
                w.grids[0].x = &x[at * p.channels]
                if p.noisy:
                    w.grids[0].precision = &precision[at * p.masks]
                at += size
                begin_window(w, p, coarse, filled[k])

    def advance(self, int until, double tol, double work):
        """Go on until each window has done so many iterations or has settled, or so many pixels were swept.

        Return whether there is anything left to do before that.
        """
        cdef Py_ssize_t k
        cdef bint left = False
        cdef Window *w
        with nogil:
            for k in range(self.count):
                w = &self.windows[k]
                run_window(w, &self.parameters, until, tol, &work)
                left = left or not (w.settled or w.failed or (w.level == 0 and w.iterations >= until))
        return left

    def finish(self):
        """Bring x up to date."""
        cdef Py_ssize_t k
        for k in range(self.count):
            if self.windows[k].level == 0:
                close_grid(&self.windows[k], &self.parameters)

    def data_term(self):
        """Return the sum of L (x - data)^2 / 2 at x as `finish` leaves it, as the weights and what huber makes of it.

        It is 0 until the finest grid has found weights.
        """
        cdef Py_ssize_t k
        cdef double total = 0
        cdef const Window *w
        require(self.parameters.noisy, "the windows must be noisy")
        with nogil:
            for k in range(self.count):
                w = &self.windows[k]
                if w.level == 0 and w.balances > 0:
                    if self.parameters.single:
                        total += data_energy(w, &self.parameters, <const float *> w.grids[0].x)
                    else:
                        total += data_energy(w, &self.parameters, <const double *> w.grids[0].x)
        return total

    def compact(self):
        """Whether most of what is free in each window is in holes of at least four by four pixels."""
        cdef Py_ssize_t k
        return [
            self.windows[k].count > 2 and 2 * 16 * self.windows[k].grids[2].unknown > self.windows[k].grids[0].unknown
            for k in range(self.count)
        ]

    @property
    def iterations(self):
        """How many iterations of the finest grid all windows have done that go on, or the most if none does."""
        cdef Py_ssize_t k
        cdef int least = INT_MAX, most = 0, done
        for k in range(self.count):
            done = self.windows[k].iterations if self.windows[k].level == 0 else 0
            most = max(most, done)
            if not (self.windows[k].settled or self.windows[k].failed):
                least = min(least, done)
        return most if least == INT_MAX else least

    @property
    def settled(self):
        """Whether all windows have."""
        return all(self.windows[k].settled for k in range(self.count))

    @property
    def failed(self):
        """Whether a window's pixels are no longer finite, and all others have settled."""
        return not self.settled and all(self.windows[k].settled or self.windows[k].failed for k in range(self.count))


cdef void set_parameters(
    Parameters *p, Operator operator, Py_ssize_t channels, Py_ssize_t masks, bint single, double most_momentum,
    double least_contrast, int threads, double huber,
) noexcept:
    p.kind, p.safety, p.epsilon, p.scale, p.mu, p.kappa = (
        operator.kind, operator.safety, operator.epsilon, operator.scale, operator.mu, operator.kappa
    )
    p.floor, p.contrast, p.strength, p.spread = operator.floor, operator.contrast, operator.strength, operator.spread
    p.most, p.least_contrast, p.threads, p.single, p.channels, p.masks = (
        most_momentum, least_contrast, threads, single, channels, masks
    )
    p.noisy, p.huber = huber > 0, huber
    p.balance, p.least_balance, p.most_balance = operator.balance, operator.least_balance, operator.most_balance


def prepare(
    Operator operator not None,
    const Py_ssize_t[:, ::1] shapes not None,
    const unsigned char[::1] free not None,
    Py_ssize_t channels,
    Py_ssize_t masks,
    bint single,
    double most_momentum,
    double least_contrast,
    int threads,
    huber,
    allocate,
):
    """Return a `Descent` of windows with such numbers of rows and columns.

    free holds their masks one after the other, 1 where a pixel may change: one, or one for each channel. single is
    whether x will be of float32. huber is None where what is known is exact; or else the number of standard deviations
    beyond which a pixel's distance to what was measured counts less, infinite where none does. ``allocate(size)``
    returns the workspace, so many bytes that may hold anything.
    """
    cdef Descent descent = Descent.__new__(Descent)
    cdef Parameters *p = &descent.parameters
    cdef Py_ssize_t k, at = 0
    cdef Arena arena
    cdef unsigned char[::1] workspace
    require(channels > 0 and (masks == 1 or masks == channels), "there must be one mask, or one for each channel")
    require(shapes.shape[1] == 2, "shapes must have shape (windows, 2)")
    for k in range(shapes.shape[0]):
        require(shapes[k, 0] > 0 and shapes[k, 1] > 0, "windows must not be empty")
        descent.size += shapes[k, 0] * shapes[k, 1]
    require(free.shape[0] == descent.size * masks, "free must hold all masks of all windows")
    require(huber is None or huber > 0, "huber must be None or positive")
    set_parameters(
        p, operator, channels, masks, single, most_momentum, least_contrast, threads, 0 if huber is None else huber
    )
    descent.free, descent.count = free.base, shapes.shape[0]
    descent.windows = <Window *> calloc(max(descent.count, 1), sizeof(Window))
    if descent.windows == NULL:
        raise MemoryError
    memset(&arena, 0, sizeof(Arena))
    for k in range(descent.count):
        furnish(&descent.windows[k], p, &arena, shapes[k, 0], shapes[k, 1])
    descent.workspace = allocate(arena.used + 64)
    workspace = descent.workspace
    require(<size_t> workspace.shape[0] >= arena.used + 64, "allocate must return as many bytes as it was asked for")
    arena.base = <char *> ((<size_t> &workspace[0] + 63) // 64 * 64)
    arena.used = 0
    with nogil:
        for k in range(descent.count):
            furnish(&descent.windows[k], p, &arena, shapes[k, 0], shapes[k, 1])
            descent.windows[k].grids[0].free = <unsigned char *> &free[at]
            at += shapes[k, 0] * shapes[k, 1] * masks
            prepare_grids(&descent.windows[k], p)
    return descent
