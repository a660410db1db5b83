# "edge" where few pixels are missing: each is restored from a patch of its own, sixteen of them at a time.
#
# A patch has the lanes of sixteen points innermost, so that all arithmetic is vectors' and no point knows of those that
# it shares a vector with. It holds 7 x 7 blocks of the tensor, the point being in the middle one: the points of a
# vector are at the same place of theirs. What lies outside of the image is made up where that is read: the blocks by
# reflection, one row of pixels by extrapolation, which makes of a central difference the one-sided one of the border.
#
# A renewal makes the weights of the 3 x 3 pixels around each point, and of these the gradient, its diagonal, and what
# links the point to others within reach of it. The quadratic of linked points is descended by projected Gauss-Seidel
# sweeps, part by part; that of a point without links is solved by one division. A point is renewed until what its
# renewals brought, carried on as a geometric series, is within the tolerance, for it and for all points that its patch
# holds. So it depends on none that are farther from it than a chain of such patches reaches.

cdef enum:
    SIDE = 16  # pixels of a patch
    HOME = 7  # row and column of the middle block, and of the point if it is the first there
    PHASES = 4  # places in a block
    INNER = 14  # pixels that have a gradient
    ACROSS = 7  # blocks
    POINT_RADIUS = 2  # of their Gaussian
    NINE = 9  # pixels whose weights are wanted
    LINK = 2  # rows and columns, at most, between points that are linked
    LINK_SIDE = 5
    LEAST_SOLVING = 2  # sweeps of linked points, or the root of their number, at most
    LONG = 8  # renewals

cdef double LINKED_TOL = 0.02  # contrasts, that the last of these sweeps may change
cdef double LINKED_SHARE = 0.1  # the same, of a tolerance that is tight
# Of the weight of second differences where all is flat: the start looks on first differences more.
cdef double START = 0.1
cdef double POINT_WORK = 150  # of a renewal, in pixels that are swept

ctypedef fused stored:  # what holds a pixel of any type of its size
    unsigned char
    unsigned short
    unsigned int
    unsigned long long


cdef struct Neighbour:
    int other
    int place  # in the patch
    int link  # in 5 x 5 pixels around the point; negative where it is farther


cdef struct PointMap:
    # Points are numbered by their places in their blocks, then by how many links they have: those of a vector should
    # have as many.
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t count
    bint crowded
    int *row
    int *col
    int *order  # which pixel of those given it is
    int groups
    int *first  # point of each group
    int *group  # of each point
    int *start  # of its neighbours, of which those that are linked come first
    int *links
    Neighbour *near
    int parts  # of linked points
    int *part_start
    int *member
    double *taps  # of the centre, of the blocks beside it and of those next to them


cdef struct PointRun:
    const PointMap *map
    bint single
    Py_ssize_t channels
    int threads
    double inverse  # of the squares of the contrast and of the strength
    double inverse_strength
    double epsilon
    double scale
    double mu
    double kappa
    double floor
    double low
    double high
    double least_contrast
    bint oriented  # or isotropic
    int iterations
    bint settled
    bint failed
    void *patches  # groups x channels x SIDE x SIDE x LANES
    double *x  # channels x points
    double *was  # where the last renewal was made
    double *gradient
    double *diagonal  # of each point
    double *coupling  # of each neighbour that is linked
    double *contrast
    double *change
    int *seen  # renewals
    unsigned char *active
    unsigned char *moving


# ---- where points stand ----

cdef void forget(PointMap *map) noexcept nogil:
    release(map.row)
    release(map.col)
    release(map.order)
    release(map.first)
    release(map.group)
    release(map.start)
    release(map.links)
    release(map.near)
    release(map.part_start)
    release(map.member)
    release(map.taps)
    memset(map, 0, sizeof(PointMap))


cdef inline int home(int place) noexcept nogil:
    # Where in its patch a point is along an axis.
    return HOME + (place & 1)


cdef inline Py_ssize_t first_from(const int *values, Py_ssize_t low, Py_ssize_t high, Py_ssize_t least) noexcept nogil:
    # The first of sorted values, from low to before high, that is not smaller.
    cdef Py_ssize_t middle
    while low < high:
        middle = (low + high) // 2
        if values[middle] < least:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline int root_of(int *parents, int k) noexcept nogil:
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k


cdef bint find_near(
    const PointMap *map, const int *row, const int *col, const int *first, Py_ssize_t k, Neighbour **near,
    Py_ssize_t *count, Py_ssize_t *room, int *links, int *around, int *parents,
) noexcept nogil:
    # Add those that the patch of a point holds, by numbers in the order of the image; False where there is no memory.
    cdef Py_ssize_t i, a, last, top, left
    cdef int r, c
    cdef Neighbour *more
    top, left = row[k] - home(row[k]), col[k] - home(col[k])
    links[0], around[0] = 0, 1
    for i in range(max(top, 0), min(top + SIDE, map.rows)):
        a, last = first[i], first[i + 1]
        if last - a > 8:
            a = first_from(col, a, last, left)
        while a < last and col[a] < left + SIDE:
            if col[a] >= left and a != k:
                if count[0] == room[0]:
                    more = <Neighbour *> realloc(near[0], (2 * room[0] + 256) * sizeof(Neighbour))
                    if more == NULL:
                        return False
                    near[0], room[0] = more, 2 * room[0] + 256
                r, c = <int> i - row[k], col[a] - col[k]
                more = near[0] + count[0]
                more.other, more.place, more.link = <int> a, (home(row[k]) + r) * SIDE + home(col[k]) + c, -1
                if -LINK <= r <= LINK and -LINK <= c <= LINK:
                    more.link = (LINK + r) * LINK_SIDE + LINK + c
                    links[0] += 1
                    join_parts(parents, <int> k, <int> a)
                around[0] += -REACH <= r <= REACH and -REACH <= c <= REACH
                count[0] += 1
            a += 1
    return True


cdef inline void join_parts(int *parents, int k, int other) noexcept nogil:
    cdef int one = root_of(parents, k), two = root_of(parents, other)
    parents[max(one, two)] = min(one, two)


cdef void spread_taps(const PointMap *map, Py_ssize_t k, int around, double spread, double *taps) noexcept nogil:
    # Of the tensor around a point, by how much is known there, as `open_grid` has it.
    cdef Py_ssize_t pixels = window_length(map.row[k], map.rows) * window_length(map.col[k], map.cols)
    cdef double density = max(1 - <double> (around - 1) / max(pixels - 1, 1), 0.005)
    gaussian(min(spread * pow(0.1 / density, 0.4), 10.0) / 2, POINT_RADIUS, taps)


cdef inline int phase_of(int row, int col) noexcept nogil:
    return 2 * (row & 1) + (col & 1)


cdef inline int kind_of(int row, int col, int links) noexcept nogil:
    return phase_of(row, col) * LINK_SIDE * LINK_SIDE + links


cdef bint number_points(
    PointMap *map, const int *row, const int *col, const Neighbour *near, const int *start, const int *links,
    const int *around, int *parents, double spread,
) noexcept nogil:
    # Fill the map, from what is told of the points in the order of the image; False where there is no memory.
    cdef Py_ssize_t n = map.count, k, a, to
    cdef int[PHASES * LINK_SIDE * LINK_SIDE + 1] counts
    cdef int *rank = <int *> calloc(n + 1, sizeof(int))
    cdef int own
    if rank == NULL:
        return False
    memset(counts, 0, sizeof(counts))
    for k in range(n):
        counts[kind_of(row[k], col[k], links[k]) + 1] += 1
    for k in range(PHASES * LINK_SIDE * LINK_SIDE):
        counts[k + 1] += counts[k]
    for k in range(n):
        own = kind_of(row[k], col[k], links[k])
        rank[k] = counts[own]
        counts[own] += 1
        map.order[rank[k]] = <int> k
    to = 0
    for own in range(<int> n):
        k = map.order[own]
        map.row[own], map.col[own], map.links[own], map.start[own] = row[k], col[k], links[k], <int> to
        for a in range(start[k], start[k + 1]):
            if near[a].link >= 0:
                map.near[to] = near[a]
                map.near[to].other = rank[near[a].other]
                to += 1
        for a in range(start[k], start[k + 1]):
            if near[a].link < 0:
                map.near[to] = near[a]
                map.near[to].other = rank[near[a].other]
                to += 1
        if own > 0 and around[k] == around[map.order[own - 1]] and inland(map, own) and inland(map, own - 1):
            memcpy(map.taps + 3 * own, map.taps + 3 * (own - 1), 3 * sizeof(double))
        else:
            spread_taps(map, own, around[k], spread, map.taps + 3 * own)
    map.start[n] = <int> to
    map.groups = 0
    for k in range(n):
        if k == 0 or k - map.first[map.groups - 1] == LANES or phase_of(map.row[k], map.col[k]) != phase_of(
            map.row[k - 1], map.col[k - 1]
        ):
            map.first[map.groups] = <int> k
            map.groups += 1
        map.group[k] = map.groups - 1
    map.first[map.groups] = <int> n
    # The parts in the order of their first points, and in these all in the order of the image.
    map.parts = 0
    for k in range(n):
        if links[k] > 0 and parents[k] == k:
            map.parts += 1
            parents[k] = <int> -map.parts  # which is the root's mark
        elif links[k] > 0:
            parents[k] = root_under(parents, <int> k)
    memset(map.part_start, 0, (map.parts + 1) * sizeof(int))
    for k in range(n):
        if links[k] > 0:
            map.part_start[-parents[k] - 1] += 1
    to = 0
    for k in range(map.parts):
        a = map.part_start[k]
        map.part_start[k] = <int> to
        to += a
    for k in range(n):
        if links[k] > 0:
            a = -parents[k] - 1
            map.member[map.part_start[a]] = rank[k]
            map.part_start[a] += 1
    for k in range(map.parts, 0, -1):
        map.part_start[k] = map.part_start[k - 1]
    map.part_start[0] = 0
    release(rank)
    return True


cdef inline int root_under(const int *parents, int k) noexcept nogil:
    # The mark of a root, which comes before all that it stands for.
    while parents[k] >= 0:
        k = parents[k]
    return parents[k]


cdef inline bint inland(const PointMap *map, Py_ssize_t k) noexcept nogil:
    # Whether the patch of a point lies in the image.
    cdef Py_ssize_t top = map.row[k] - home(map.row[k]), left = map.col[k] - home(map.col[k])
    return top >= 0 and top + SIDE <= map.rows and left >= 0 and left + SIDE <= map.cols


cdef inline bint has_row(const PointMap *map, Py_ssize_t k, Py_ssize_t r) noexcept nogil:
    # Whether a row of the patch of a point lies in the image.
    return 0 <= map.row[k] + r - home(map.row[k]) < map.rows


cdef inline bint has_col(const PointMap *map, Py_ssize_t k, Py_ssize_t c) noexcept nogil:
    return 0 <= map.col[k] + c - home(map.col[k]) < map.cols


cdef int largest_part(int *parents, int *counts, Py_ssize_t n) noexcept nogil:
    # How many of the points are linked at most; the counts are scratch.
    cdef Py_ssize_t k
    cdef int largest = 0, root
    for k in range(n):
        counts[k] = 0
    for k in range(n):
        root = root_of(parents, <int> k)
        counts[root] += 1
        largest = max(largest, counts[root])
    return largest


cdef bint map_points(
    PointMap *map, const Py_ssize_t *pixels, int most_around, int most_linked, double spread
) noexcept nogil:
    # Of flat indices in rising order; False where there is no memory. No more is found out than that they are crowded.
    cdef Py_ssize_t n = map.count, k, total = 0, room = 0, i
    cdef int *row = <int *> calloc(n + 1, sizeof(int))
    cdef int *col = <int *> calloc(n + 1, sizeof(int))
    cdef int *first = <int *> calloc(map.rows + 1, sizeof(int))
    cdef int *start = <int *> calloc(n + 1, sizeof(int))
    cdef int *links = <int *> calloc(n + 1, sizeof(int))
    cdef int *around = <int *> calloc(n + 1, sizeof(int))
    cdef int *parents = <int *> calloc(n + 1, sizeof(int))
    cdef int *sizes = <int *> calloc(n + 1, sizeof(int))
    cdef Neighbour *near = NULL
    cdef bint fits = (
        row != NULL and col != NULL and first != NULL and start != NULL and links != NULL and around != NULL
        and parents != NULL and sizes != NULL
    )
    if fits:
        for k in range(n):
            row[k], col[k], parents[k] = <int> (pixels[k] // map.cols), <int> (pixels[k] % map.cols), <int> k
            first[row[k] + 1] += 1
        for i in range(map.rows):
            first[i + 1] += first[i]
        for k in range(n):
            fits = find_near(map, row, col, first, k, &near, &total, &room, links + k, around + k, parents)
            start[k + 1] = <int> total
            map.crowded = around[k] > most_around
            if not fits or map.crowded:
                break
    if fits and not map.crowded:
        map.crowded = largest_part(parents, sizes, n) > most_linked
    if fits and not map.crowded:
        map.row, map.col = <int *> calloc(n + 1, sizeof(int)), <int *> calloc(n + 1, sizeof(int))
        map.order, map.start = <int *> calloc(n + 1, sizeof(int)), <int *> calloc(n + 1, sizeof(int))
        map.first, map.group = <int *> calloc(n + 2, sizeof(int)), <int *> calloc(n + 1, sizeof(int))
        map.links, map.member = <int *> calloc(n + 1, sizeof(int)), <int *> calloc(n + 1, sizeof(int))
        map.part_start, map.taps = <int *> calloc(n + 2, sizeof(int)), <double *> calloc(3 * n + 3, sizeof(double))
        map.near = <Neighbour *> calloc(total + 1, sizeof(Neighbour))
        fits = (
            map.row != NULL and map.col != NULL and map.order != NULL and map.start != NULL and map.links != NULL
            and map.first != NULL and map.group != NULL and map.member != NULL and map.part_start != NULL
            and map.taps != NULL and map.near != NULL
        )
        if fits:
            fits = number_points(map, row, col, near, start, links, around, parents, spread)
    release(row)
    release(col)
    release(first)
    release(start)
    release(links)
    release(around)
    release(parents)
    release(sizes)
    release(near)
    return fits


# ---- a group of points, one in each lane ----

cdef void refresh_lanes(const PointRun *run, Py_ssize_t group, real *x) noexcept nogil:
    # The points' values in their patches, and what lies beside the image there; each point's contrast.
    cdef const PointMap *map = run.map
    cdef Py_ssize_t first = map.first[group], k, c, a, n = map.count
    cdef Py_ssize_t place = home(map.row[first]) * SIDE + home(map.col[first])
    cdef real *patch
    cdef bint inner
    for k in range(first, map.first[group + 1]):
        inner = inland(map, k)
        for c in range(run.channels):
            patch = x + c * SIDE * SIDE * LANES + (k - first)
            patch[place * LANES] = <real> run.x[c * n + k]
            for a in range(map.start[k], map.start[k + 1]):
                patch[map.near[a].place * LANES] = <real> run.x[c * n + map.near[a].other]
            if not inner:
                extrapolate(map, k, patch)
        run.contrast[k] = contrast_at(run, k, x + (k - first))


cdef inline void extrapolate(const PointMap *map, Py_ssize_t k, real *patch) noexcept nogil:
    # Beyond each border that the patch of a point holds.
    cdef Py_ssize_t r, c, step
    for r in range(1, SIDE - 1):
        for step in range(-1, 2, 2):
            if has_row(map, k, r) and not has_row(map, k, r + step):
                for c in range(SIDE):
                    beyond(patch + (r * SIDE + c) * LANES, step * SIDE * LANES, has_row(map, k, r - step))
    for c in range(1, SIDE - 1):
        for step in range(-1, 2, 2):
            if has_col(map, k, c) and not has_col(map, k, c + step):
                for r in range(SIDE):
                    beyond(patch + (r * SIDE + c) * LANES, step * LANES, has_col(map, k, c - step))


cdef inline void beyond(real *x, Py_ssize_t step, bint two) noexcept nogil:
    x[step] = x[0] + (x[0] - (x - step)[0]) if two else x[0]


cdef double contrast_at(const PointRun *run, Py_ssize_t k, const real *patch) noexcept nogil:
    # The root mean square of a point's differences to its neighbours. One counts as 1 at most, see `row_contrast`.
    cdef Py_ssize_t c, a, pairs = 0, r = home(run.map.row[k]), s = home(run.map.col[k]), down, right
    cdef const real *here
    cdef double total = 0, difference
    for a in range(4):
        down, right = (1 if a == 0 else -1 if a == 1 else 0), (1 if a == 2 else -1 if a == 3 else 0)
        if not (has_row(run.map, k, r + down) and has_col(run.map, k, s + right)):
            continue
        for c in range(run.channels):
            here = patch + ((c * SIDE + r) * SIDE + s) * LANES
            difference = <double> here[0] - here[(down * SIDE + right) * LANES]
            difference = min(max(difference, -1.0), 1.0)
            total += difference * difference
            pairs += 1
    return max(sqrt(total / max(pairs, 1)), run.least_contrast)


cdef inline void patch_products(
    const real *x, Py_ssize_t channels, Py_ssize_t r, real *xx, real *xy, real *yy
) noexcept nogil:
    # Of row r of all lanes, summed over the channels.
    cdef Py_ssize_t c
    cdef real half = <real> 0.5
    clear(xx, INNER * LANES)
    clear(xy, INNER * LANES)
    clear(yy, INNER * LANES)
    for c in range(channels):
        add_products(
            x + ((c * SIDE + r) * SIDE + 1) * LANES, SIDE * LANES, SIDE * LANES, LANES, LANES, half, half,
            0, INNER * LANES, xx, xy, yy,
        )


cdef inline void halve_border(
    const PointMap *map, Py_ssize_t group, Py_ssize_t b, real *upper, real *lower
) noexcept nogil:
    # Of two rows that make row b of blocks: a pixel outside whose block is partly in the image has its partner's.
    # Blocks begin in the image, if any of them lies there.
    cdef Py_ssize_t k, c, v
    for k in range(map.first[group], map.first[group + 1]):
        if inland(map, k):
            continue
        v = k - map.first[group]
        if not has_row(map, k, 2 * b + 2):
            for c in range(INNER):
                lower[c * LANES + v] = upper[c * LANES + v]
        for c in range(0, INNER, 2):
            if not has_col(map, k, c + 2):
                upper[(c + 1) * LANES + v], lower[(c + 1) * LANES + v] = upper[c * LANES + v], lower[c * LANES + v]


cdef inline Py_ssize_t reflected(Py_ssize_t place, Py_ssize_t b, Py_ssize_t side) noexcept nogil:
    # Which block of a patch stands for block b of it, where that is outside of the image.
    cdef Py_ssize_t before = place // 2 - ACROSS // 2
    return reflect(before + b, (side + 1) // 2) - before


cdef inline void reflect_blocks(const PointMap *map, Py_ssize_t group, real *blocks) noexcept nogil:
    cdef Py_ssize_t k, b, c, v, source
    for k in range(map.first[group], map.first[group + 1]):
        if inland(map, k):
            continue
        v = k - map.first[group]
        for b in range(ACROSS):
            source = reflected(map.row[k], b, map.rows)
            for c in range(ACROSS):
                blocks[(b * ACROSS + c) * LANES + v] = blocks[(source * ACROSS + c) * LANES + v]
        for b in range(ACROSS):
            source = reflected(map.col[k], b, map.cols)
            for c in range(ACROSS):
                blocks[(c * ACROSS + b) * LANES + v] = blocks[(c * ACROSS + source) * LANES + v]


cdef inline void blur_lanes(const real *blocks, const real *taps, real *out) noexcept nogil:
    # The 3 x 3 blocks in the middle of a patch; taps of each lane.
    cdef real[3 * ACROSS * LANES] sums
    cdef Py_ssize_t o, k, v, at
    for o in range(3):
        for k in range(ACROSS):
            for v in range(LANES):
                at = (o * ACROSS + k) * LANES + v
                sums[at] = taps[v] * blocks[at + 2 * ACROSS * LANES] + (
                    taps[LANES + v] * (blocks[at + ACROSS * LANES] + blocks[at + 3 * ACROSS * LANES])
                    + taps[2 * LANES + v] * (blocks[at] + blocks[at + 4 * ACROSS * LANES])
                )
    for o in range(3):
        for k in range(3):
            for v in range(LANES):
                at = (o * ACROSS + k) * LANES + v
                out[(o * 3 + k) * LANES + v] = taps[v] * sums[at + 2 * LANES] + (
                    taps[LANES + v] * (sums[at + LANES] + sums[at + 3 * LANES])
                    + taps[2 * LANES + v] * (sums[at] + sums[at + 4 * LANES])
                )


cdef inline Py_ssize_t near_block(Py_ssize_t i) noexcept nogil:
    # Of the pixels from the one before the middle block on: the block that each is in, counted from that before it.
    return (i + 1) // 2


cdef inline Py_ssize_t far_block(Py_ssize_t i) noexcept nogil:
    # And the other one, whose mean has its share at the pixel.
    return i // 2 + (0 if i & 1 else 1) if i > 0 else 1


cdef inline void spread_lanes(const real *blocks, Py_ssize_t down, Py_ssize_t right, real *out) noexcept nogil:
    # Bilinear interpolation, see `spread_row`, at 3 x 3 pixels, of which the middle one is so far down and to the right
    # in its block.
    cdef real[NINE * LANES] sums
    cdef real three = 3, sixteenth = <real> 0.0625
    cdef const real *near
    cdef const real *far
    cdef Py_ssize_t j, i, k
    for i in range(3):
        near, far = blocks + 3 * near_block(down + i) * LANES, blocks + 3 * far_block(down + i) * LANES
        for j in range(3 * LANES):
            sums[3 * i * LANES + j] = three * near[j] + far[j]
    for i in range(3):
        for k in range(3):
            near = sums + (3 * i + near_block(right + k)) * LANES
            far = sums + (3 * i + far_block(right + k)) * LANES
            for j in range(LANES):
                out[(3 * i + k) * LANES + j] = sixteenth * (three * near[j] + far[j])


cdef inline void orient_lanes(
    const PointRun *run, Py_ssize_t group, bint beside, const real *x, real *omega
) noexcept nogil:
    # The structure tensor of the patches, and what it makes of the planes after that of omega.
    cdef real[3 * ACROSS * ACROSS * LANES] tensor
    cdef real[6 * INNER * LANES] products
    cdef real[3 * INNER * LANES] damped
    cdef real[NINE * LANES] blurred
    cdef real[3 * LANES] taps
    cdef Py_ssize_t b, c, k, v, step = INNER * LANES, blocks = ACROSS * ACROSS * LANES
    cdef Py_ssize_t first = run.map.first[group], down = run.map.row[first] & 1, right = run.map.col[first] & 1
    cdef real share = <real> (1.0 / (4 * run.channels)), inverse = <real> (run.inverse / run.channels)
    for b in range(ACROSS):
        patch_products(x, run.channels, 2 * b + 1, products, products + step, products + 2 * step)
        patch_products(x, run.channels, 2 * b + 2, products + 3 * step, products + 4 * step, products + 5 * step)
        if beside:
            for c in range(3):
                halve_border(run.map, group, b, products + c * step, products + (c + 3) * step)
        clear(damped, 3 * INNER * LANES)
        for c in range(2):
            add_damped(
                products + 3 * c * step, products + (3 * c + 1) * step, products + (3 * c + 2) * step, inverse,
                INNER * LANES, damped, damped + step, damped + 2 * step,
            )
        for c in range(3):
            for k in range(ACROSS):
                for v in range(LANES):
                    tensor[c * blocks + (b * ACROSS + k) * LANES + v] = share * (
                        damped[c * step + 2 * k * LANES + v] + damped[c * step + (2 * k + 1) * LANES + v]
                    )
    clear(taps, 3 * LANES)
    for k in range(first, run.map.first[group + 1]):
        for c in range(3):
            taps[c * LANES + (k - first)] = <real> run.map.taps[3 * k + c]
    for c in range(3):
        if beside:
            reflect_blocks(run.map, group, tensor + c * blocks)
        blur_lanes(tensor + c * blocks, taps, blurred)
        spread_lanes(blurred, down, right, omega + (c + 1) * NINE * LANES)
    omega += NINE * LANES
    orient_row(
        omega, omega + NINE * LANES, omega + 2 * NINE * LANES, <real> run.inverse_strength, <real> 1e-20, NINE * LANES
    )


cdef inline void weigh_lanes(const PointRun *run, const real *x, real *omega) noexcept nogil:
    # x points to the points in their patches.
    cdef real[NINE * LANES] sums
    cdef Py_ssize_t c, k, v, plane = NINE * LANES
    cdef const real *here
    cdef real one = 1
    clear(sums, NINE * LANES)
    for c in range(run.channels):
        for k in range(NINE):
            here = x + ((c * SIDE + k // 3 - 1) * SIDE + k % 3 - 1) * LANES
            for v in range(LANES):
                sums[k * LANES + v] += square_at(
                    EDGE, here + v, omega + plane + k * LANES + v, omega + 2 * plane + k * LANES + v,
                    omega + 3 * plane + k * LANES + v, 0, 0, 0, SIDE * LANES, LANES, True,
                )
    weights_of(sums, <real> run.epsilon, <real> run.scale, one / run.channels, NINE * LANES, omega)


cdef void find_masks(const PointMap *map, Py_ssize_t group, real *interior, real *cells) noexcept nogil:
    # 1 or 0: which of the 3 x 3 pixels are no border's, and which cells, of which they are the first, are the image's.
    cdef Py_ssize_t k, r, c, at, i, j
    for k in range(NINE * LANES):
        interior[k] = cells[k] = 1
    for k in range(map.first[group], map.first[group + 1]):
        if inland(map, k):
            continue
        for r in range(3):
            for c in range(3):
                i, j = map.row[k] + r - 1, map.col[k] + c - 1
                at = (3 * r + c) * LANES + (k - map.first[group])
                interior[at] = 0 < i < map.rows - 1 and 0 < j < map.cols - 1
                cells[at] = 0 <= i < map.rows - 1 and 0 <= j < map.cols - 1


cdef inline void mask_out(real *values, const real *by, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        values[j] *= by[j]


cdef inline void gradient_lanes(
    const PointRun *run, const real *x, Py_ssize_t row, const real *omega, bint beside, const real *cells, real *out
) noexcept nogil:
    # At the points; x points to them, in rows of which each is so long.
    cdef real[3 * LANES] p
    cdef real[3 * LANES] q
    cdef real[3 * LANES] r
    cdef real[3 * LANES] a
    cdef real[3 * LANES] b
    cdef real[3 * LANES] t
    cdef real[LANES] upper
    cdef real[LANES] lower
    cdef Py_ssize_t i, plane = NINE * LANES
    cdef const real *here
    cdef const real *weights
    clear(upper, LANES)
    clear(lower, LANES)
    for i in range(3):
        here, weights = x + (i - 1) * row, omega + (3 * i + 1) * LANES
        edge_fields(
            here - row, here, here + row, weights, weights + plane, weights + 2 * plane, weights + 3 * plane,
            <real> run.mu, <real> run.kappa, -LANES, 2 * LANES, LANES,
            p + LANES, q + LANES, r + LANES, a + LANES, b + LANES, t + LANES,
        )
        if beside:
            mask_out(a, cells + 3 * i * LANES, 3 * LANES)
            mask_out(b, cells + 3 * i * LANES, 3 * LANES)
            mask_out(t, cells + 3 * i * LANES, 3 * LANES)
        scatter_row(
            EDGE, p + LANES, q + LANES, r + LANES, a + LANES, b + LANES, t + LANES, LANES, LANES, upper, lower, out
        )


cdef inline void diagonal_lanes(
    const PointRun *run, const real *omega, bint beside, const real *cells, real *out
) noexcept nogil:
    cdef real[3 * LANES] p
    cdef real[3 * LANES] q
    cdef real[3 * LANES] r
    cdef real[3 * LANES] a
    cdef real[3 * LANES] b
    cdef real[3 * LANES] t
    cdef real[LANES] upper
    cdef real[LANES] lower
    cdef Py_ssize_t i, plane = NINE * LANES
    cdef const real *weights
    clear(upper, LANES)
    clear(lower, LANES)
    for i in range(3):
        weights = omega + (3 * i + 1) * LANES
        edge_weights(
            weights, weights + plane, weights + 2 * plane, weights + 3 * plane, <real> run.mu, <real> run.kappa,
            -LANES, 2 * LANES, p + LANES, q + LANES, r + LANES, a + LANES, b + LANES, t + LANES,
        )
        if beside:
            mask_out(a, cells + 3 * i * LANES, 3 * LANES)
            mask_out(b, cells + 3 * i * LANES, 3 * LANES)
        scatter_weights(
            EDGE, p + LANES, q + LANES, r + LANES, a + LANES, b + LANES, t + LANES, LANES, LANES, upper, lower, out
        )


cdef void couple_lanes(
    const PointRun *run, Py_ssize_t group, const real *omega, bint beside, const real *cells
) noexcept nogil:
    # The gradient at each point of a unit at each point that it is linked to, one of them in each lane at once.
    cdef real[LINK_SIDE * LINK_SIDE * LANES] unit
    cdef real[LANES] out
    cdef const PointMap *map = run.map
    cdef Py_ssize_t most = 0, k, a, first = map.first[group], last = map.first[group + 1]
    for k in range(first, last):
        most = max(most, map.links[k])
    for a in range(most):
        clear(unit, LINK_SIDE * LINK_SIDE * LANES)
        for k in range(first, last):
            if a < map.links[k]:
                unit[map.near[map.start[k] + a].link * LANES + (k - first)] = 1
        gradient_lanes(
            run, unit + (LINK * LINK_SIDE + LINK) * LANES, LINK_SIDE * LANES, omega, beside, cells, out
        )
        for k in range(first, last):
            if a < map.links[k]:
                run.coupling[map.start[k] + a] = out[k - first]


cdef void renew_lanes(const PointRun *run, Py_ssize_t group, real *x) noexcept nogil:
    # The quadratic of the points of a group, at the image as it stands; x are their patches.
    cdef real[4 * NINE * LANES] omega
    cdef real[NINE * LANES] interior
    cdef real[NINE * LANES] cells
    cdef real[LANES] out
    cdef Py_ssize_t first = run.map.first[group], k, c, last = run.map.first[group + 1]
    cdef Py_ssize_t place = home(run.map.row[first]) * SIDE + home(run.map.col[first])
    cdef bint beside = False
    for k in range(first, last):
        beside = beside or not inland(run.map, k)
    refresh_lanes(run, group, x)
    if run.oriented:
        orient_lanes(run, group, beside, x, omega)
        weigh_lanes(run, x + place * LANES, omega)
    else:
        clear(omega, 4 * NINE * LANES)
        for k in range(NINE * LANES):
            omega[k] = <real> (START * run.scale / run.epsilon)
    if beside:
        find_masks(run.map, group, interior, cells)
        mask_out(omega, interior, NINE * LANES)
    for c in range(run.channels):
        gradient_lanes(
            run, x + (c * SIDE * SIDE + place) * LANES, SIDE * LANES, omega, beside, cells, out
        )
        for k in range(first, last):
            run.gradient[c * run.map.count + k] = out[k - first]
    diagonal_lanes(run, omega, beside, cells, out)
    for k in range(first, last):
        run.diagonal[k] = max(<double> out[k - first], run.floor)
    couple_lanes(run, group, omega, beside, cells)


cdef void renew_group(void *argument, Py_ssize_t group) noexcept nogil:
    cdef const PointRun *run = <const PointRun *> argument
    cdef Py_ssize_t size = run.channels * SIDE * SIDE * LANES, k
    cdef bint active = False
    for k in range(run.map.first[group], run.map.first[group + 1]):
        active = active or run.active[k]
    if not active:
        return
    if run.single:
        renew_lanes(run, group, <float *> run.patches + group * size)
    else:
        renew_lanes(run, group, <double *> run.patches + group * size)


# ---- the points' values ----

cdef inline double within(const PointRun *run, double value) noexcept nogil:
    value = clip(value, run.low, run.high)
    return <double> <float> value if run.single else value


cdef double solve_point(PointRun *run, Py_ssize_t k) noexcept nogil:
    # Let the other points be as they are; return the greatest change of a channel.
    cdef Py_ssize_t c, a, at, n = run.map.count
    cdef double gradient, new, most = 0
    for c in range(run.channels):
        at = c * n + k
        gradient = run.gradient[at]
        for a in range(map_start(run, k), map_start(run, k) + run.map.links[k]):
            gradient += run.coupling[a] * (
                run.x[c * n + run.map.near[a].other] - run.was[c * n + run.map.near[a].other]
            )
        new = within(run, run.was[at] - gradient / run.diagonal[k])
        most = max(most, abs(new - run.x[at]))
        run.x[at] = new
    return most


cdef inline Py_ssize_t map_start(const PointRun *run, Py_ssize_t k) noexcept nogil:
    return run.map.start[k]


cdef void solve(PointRun *run, double tol) noexcept nogil:
    # The quadratics of all that are active, or what a few sweeps of linked points make of them: so much do the weights
    # change that to solve for more is no nearer to where they settle.
    cdef const PointMap *map = run.map
    cdef Py_ssize_t k, a, part, sweeps
    cdef double most, least = min(LINKED_TOL, LINKED_SHARE * tol)
    memcpy(run.was, run.x, run.channels * map.count * sizeof(double))
    for k in range(map.count):
        if map.links[k] == 0 and run.active[k]:
            solve_point(run, k)
    for part in range(map.parts):
        sweeps = max(LEAST_SOLVING, <Py_ssize_t> sqrt(map.part_start[part + 1] - map.part_start[part]))
        for _ in range(sweeps):
            most = 0
            for a in range(map.part_start[part], map.part_start[part + 1]):
                k = map.member[a]
                if run.active[k]:
                    most = max(most, solve_point(run, k) / run.contrast[k])
            if most <= least:
                break


cdef inline double relaxation(int seen) noexcept nogil:
    return 1 if seen < LONG else 0.5 if seen < 4 * LONG else 0.25


cdef void relax(PointRun *run) noexcept nogil:
    # What has not settled for long goes to and fro: it takes a part of its step.
    cdef Py_ssize_t k, c, at
    cdef double share
    for k in range(run.map.count):
        if not run.active[k] or run.seen[k] < LONG:
            continue
        share = relaxation(run.seen[k])
        for c in range(run.channels):
            at = c * run.map.count + k
            run.x[at] = within(run, run.was[at] + share * (run.x[at] - run.was[at]))


cdef void judge_points(PointRun *run, double tol) noexcept nogil:
    # Which points are to be renewed again.
    cdef const PointMap *map = run.map
    cdef Py_ssize_t k, c, a
    cdef double square, change, ratio, difference
    cdef unsigned char active
    run.settled = True
    for k in range(map.count):
        if not run.active[k]:
            continue
        square = 0
        for c in range(run.channels):
            difference = run.x[c * map.count + k] - run.was[c * map.count + k]
            square += difference * difference
        change = sqrt(square / run.channels)
        run.failed = run.failed or not change < INFINITY
        ratio = min(change / max(run.change[k], 1e-300), SLOWEST)
        if run.seen[k] == 0 or relaxation(run.seen[k]) != relaxation(run.seen[k] - 1):
            ratio = SLOWEST  # who knows
        run.seen[k] += 1
        run.change[k] = change
        run.moving[k] = not change * ratio / (1 - ratio) <= tol * run.contrast[k]
    for k in range(map.count):
        active = run.moving[k]
        for a in range(map.start[k], map.start[k + 1]):
            active |= run.moving[map.near[a].other]
        run.active[k] = active
        run.settled = run.settled and not active


cdef void fill_points(const PointRun *run, Py_ssize_t k, const real *patch) noexcept nogil:
    # The mean of what is known nearby: of the nearest square around the point that holds any.
    cdef const PointMap *map = run.map
    cdef unsigned char[SIDE * SIDE] unknown
    cdef Py_ssize_t c, a, r, s, i = home(map.row[k]), j = home(map.col[k]), reach, known = 0
    cdef double total = 0
    memset(unknown, 0, SIDE * SIDE)
    unknown[i * SIDE + j] = 1
    for a in range(map.start[k], map.start[k + 1]):
        unknown[map.near[a].place] = 1
    for c in range(run.channels):
        known = 0
        total = 0
        for reach in range(1, HOME + 1):
            for r in range(i - reach, i + reach + 1):
                for s in range(j - reach, j + reach + 1):
                    if not unknown[r * SIDE + s] and has_row(map, k, r) and has_col(map, k, s):
                        total += patch[((c * SIDE + r) * SIDE + s) * LANES]
                        known += 1
            if known > 0:
                break
        run.x[c * map.count + k] = within(run, total / max(known, 1))


cdef void gather_patches(
    const PointMap *map, const char *plane, Py_ssize_t down, Py_ssize_t right, Py_ssize_t first, Py_ssize_t count,
    stored *out,
) noexcept nogil:
    # Of points from the first one on. So many bytes lead from a row of the plane to the next one, and along a row.
    cdef Py_ssize_t k, r, c, i, j
    cdef const char *row
    for k in range(first, first + count):
        i, j = map.row[k] - home(map.row[k]), map.col[k] - home(map.col[k])
        if inland(map, k):
            for r in range(SIDE):
                row = plane + (i + r) * down + j * right
                for c in range(SIDE):
                    out[r * SIDE + c] = (<const stored *> (row + c * right))[0]
        else:
            for r in range(SIDE):
                for c in range(SIDE):
                    out[r * SIDE + c] = 0
                    if 0 <= i + r < map.rows and 0 <= j + c < map.cols:
                        out[r * SIDE + c] = (<const stored *> (plane + (i + r) * down + (j + c) * right))[0]
        out += SIDE * SIDE


cdef void load_patches(
    const PointRun *run, Py_ssize_t channel, Py_ssize_t first, Py_ssize_t count, const real *patches
) noexcept nogil:
    cdef Py_ssize_t k, place, group
    cdef real *to
    for k in range(first, first + count):
        group = run.map.group[k]
        to = <real *> run.patches + (group * run.channels + channel) * SIDE * SIDE * LANES + k - run.map.first[group]
        for place in range(SIDE * SIDE):
            to[place * LANES] = patches[place]
        patches += SIDE * SIDE


cdef void begin_points(PointRun *run, bint given) noexcept nogil:
    # From the values that are given, or else from the minimum of isotropic squares.
    cdef Py_ssize_t k, at, size = run.channels * SIDE * SIDE * LANES
    for k in range(run.channels * run.map.count):
        run.x[k] = within(run, run.x[k])
    memset(run.active, 1, run.map.count)
    if not given:
        for k in range(run.map.count):
            at = run.map.group[k] * size + k - run.map.first[run.map.group[k]]
            if run.single:
                fill_points(run, k, <const float *> run.patches + at)
            else:
                fill_points(run, k, <const double *> run.patches + at)
        run_parts(&renew_group, run, run.map.groups, run.threads)
        solve(run, 1)
    run.oriented = True
    run.settled = run.map.count == 0


cdef void advance_points(PointRun *run, int until, double tol, double work) noexcept nogil:
    while run.iterations < until and not (run.settled or run.failed) and work > 0:
        run_parts(&renew_group, run, run.map.groups, run.threads)
        solve(run, tol)
        relax(run)
        judge_points(run, tol)
        run.iterations += 1
        work -= POINT_WORK * run.channels * run.map.count


# ---- what Python calls ----

cdef class Points:
    """Pixels of an image of which few are missing: made by `map_pixels`."""

    cdef PointMap map

    def __dealloc__(self):
        forget(&self.map)

    def __len__(self):
        return self.map.count

    def gather(self, const stored[:, :] plane not None, Py_ssize_t first, stored[:, ::1] out not None):
        """Write the patches of the points from the first one on, as many as out, of shape (n, 256), has room for."""
        cdef Py_ssize_t n = out.shape[0]
        require(plane.shape[0] == self.map.rows and plane.shape[1] == self.map.cols, "plane must have the map's shape")
        require(out.shape[1] == SIDE * SIDE, "out must have shape (n, 256)")
        require(0 <= first and first + n <= self.map.count, "out must have rows for points alone")
        if n > 0:
            with nogil:
                gather_patches(
                    &self.map, <const char *> &plane[0, 0], plane.strides[0], plane.strides[1], first, n, &out[0, 0]
                )


cdef class PointDescent:
    """Points on their way down "edge": made by `prepare_points`."""

    cdef PointRun run
    cdef Points points
    cdef object workspace

    def load(self, Py_ssize_t channel, Py_ssize_t first, const real[:, ::1] patches not None):
        """Take patches of a channel, shape (n, 256), as `gather` writes them, in units of the run."""
        cdef Py_ssize_t n = patches.shape[0]
        require(sizeof(real) == (4 if self.run.single else 8), "patches must have the precision that was prepared for")
        require(patches.shape[1] == SIDE * SIDE, "patches must have shape (n, 256)")
        require(0 <= channel < self.run.channels, "channel must be one of those prepared for")
        require(0 <= first and first + n <= self.run.map.count, "patches must be those of points")
        if n > 0:
            with nogil:
                load_patches(&self.run, channel, first, n, &patches[0, 0])

    def begin(self, double low, double high, const double[:, ::1] start):
        """Start from values of shape (channels, points), or from the minimum of isotropic squares where that is None.

        Points are clamped to the range from low to high.
        """
        cdef PointRun *run = &self.run
        cdef Py_ssize_t k, c, n = run.map.count
        run.low, run.high = low, high
        if start is not None:
            require(start.shape[0] == run.channels and start.shape[1] == n, "start must have shape (channels, points)")
        for c in range(run.channels):
            for k in range(n):
                run.x[c * n + k] = 0 if start is None else start[c, run.map.order[k]]
        with nogil:
            begin_points(run, start is not None)

    def advance(self, int until, double tol, double work):
        """Go on until so many iterations are done, or all points have settled, or so much work is done."""
        with nogil:
            advance_points(&self.run, until, tol, work)

    def values(self, real[:, ::1] out not None):
        """Write the points' values as they stand to out, shape (channels, points), in the order of the pixels."""
        cdef Py_ssize_t c, k, n = self.run.map.count
        require(out.shape[0] == self.run.channels and out.shape[1] == n, "out must have shape (channels, points)")
        for c in range(self.run.channels):
            for k in range(n):
                out[c, self.run.map.order[k]] = <real> self.run.x[c * n + k]

    @property
    def iterations(self):
        """How many are done."""
        return self.run.iterations

    @property
    def settled(self):
        """Whether all points have."""
        return self.run.settled

    @property
    def failed(self):
        """Whether a point is no longer finite."""
        return self.run.failed


def map_pixels(
    const Py_ssize_t[::1] pixels not None,
    Py_ssize_t rows,
    Py_ssize_t cols,
    int most_around,
    int most_linked,
    double spread,
):
    """Return the `Points` of flat indices in rising order.

    None if the 7 x 7 pixels around one hold more than most_around of them, or if more than most_linked are linked: two
    are that are no more than two rows and columns from each other, and what is linked to one of them is to the other.
    spread is that of the tensor, see `Operator`.
    """
    cdef Points points = Points.__new__(Points)
    cdef Py_ssize_t k
    cdef bint fits
    require(rows > 0 and cols > 0 and rows < INT_MAX and cols < INT_MAX, "the image must not be empty, nor huge")
    for k in range(pixels.shape[0]):
        require((pixels[k - 1] if k else -1) < pixels[k] < rows * cols, "pixels must rise, and lie in the image")
    points.map.rows, points.map.cols, points.map.count = rows, cols, pixels.shape[0]
    with nogil:
        fits = map_points(
            &points.map, &pixels[0] if pixels.shape[0] > 0 else NULL, most_around, most_linked, spread
        )
    if not fits:
        raise MemoryError
    return None if points.map.crowded else points


cdef void furnish_points(PointRun *run, Arena *arena) noexcept nogil:
    cdef Py_ssize_t n = run.map.count
    cdef size_t size = 4 if run.single else 8
    run.patches = claim(arena, run.map.groups * run.channels * SIDE * SIDE * LANES * size)
    run.x = <double *> claim(arena, run.channels * n * sizeof(double))
    run.was = <double *> claim(arena, run.channels * n * sizeof(double))
    run.gradient = <double *> claim(arena, run.channels * n * sizeof(double))
    run.diagonal = <double *> claim(arena, n * sizeof(double))
    run.coupling = <double *> claim(arena, run.map.start[n] * sizeof(double))
    run.contrast = <double *> claim(arena, n * sizeof(double))
    run.change = <double *> claim(arena, n * sizeof(double))
    run.seen = <int *> claim(arena, n * sizeof(int))
    run.active = <unsigned char *> claim(arena, n)
    run.moving = <unsigned char *> claim(arena, n)


def prepare_points(
    Operator operator not None,
    Points points not None,
    Py_ssize_t channels,
    bint single,
    double least_contrast,
    int threads,
    allocate,
):
    """Return a `PointDescent`, of an "edge" whose patches are to be loaded; see `prepare`."""
    cdef PointDescent descent = PointDescent.__new__(PointDescent)
    cdef PointRun *run = &descent.run
    cdef unsigned char[::1] workspace
    cdef Arena arena
    cdef Py_ssize_t size, k
    require(operator.kind == EDGE, "operator must be that of an edge")
    require(channels > 0, "there must be a channel")
    descent.points = points
    run.map, run.single, run.channels, run.threads = &points.map, single, channels, threads
    run.inverse, run.inverse_strength = 1 / (operator.contrast * operator.contrast), 1 / (
        operator.strength * operator.strength
    )
    run.epsilon, run.scale, run.mu, run.kappa, run.floor = (
        operator.epsilon, operator.scale, operator.mu, operator.kappa, operator.floor
    )
    run.least_contrast = least_contrast
    memset(&arena, 0, sizeof(Arena))
    furnish_points(run, &arena)
    descent.workspace = allocate(arena.used + 64)
    workspace = descent.workspace
    require(<size_t> workspace.shape[0] >= arena.used + 64, "allocate must return as many bytes as it was asked for")
    arena.base = <char *> ((<size_t> &workspace[0] + 63) // 64 * 64)
    arena.used = 0
    furnish_points(run, &arena)
    # Lanes without a point hold zeros.
    size = channels * SIDE * SIDE * LANES * (4 if single else 8)
    for k in range(run.map.groups):
        if run.map.first[k + 1] - run.map.first[k] < LANES:
            memset(<char *> run.patches + k * size, 0, size)
    memset(run.seen, 0, points.map.count * sizeof(int))
    memset(run.moving, 0, points.map.count)
    return descent
