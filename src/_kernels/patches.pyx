"""Groups of similar patches, and their shrinkage: hard thresholding of the cosine transform of patch and group.

`match` finds for each patch of a grid the patches nearby that are most like it; one sum of squared differences along a
column serves all the patches that it crosses. `shrink` transforms each group by orthonormal cosine transforms, in three
dimensions, sets small coefficients to zero, transforms back and adds the patches up, groups that needed few
coefficients with more weight. Sixteen groups are worked upon at a time, one in each lane: every array has its lanes
innermost.

The transforms are sums of cosines without their norms, which go into the threshold and the way back; they are written
out for their lengths, 12 and 8, with half the arithmetic of products with halved matrices. Their strides are literals
where they are called, so that the compiler sees that what is written is not read again.

Rows of patches are shared out to threads in bands that are high enough for every second one to be far from the others:
first the even ones, then the odd ones, so that the sums are added up in one order for every number of threads.

Not checked: that the patches lie inside the image.
"""

from libc.math cimport fabsf, sqrtf

include "threads.pxi"

cdef enum:
    LANES = 16
    SIDE = 12  # of a patch
    GROUP = 8  # patches
    AREA = SIDE * SIDE
    VOLUME = GROUP * AREA


def layout():
    """Return the side of a patch, the patches of a group, and the floats of workspace that a thread of shrink needs."""
    return SIDE, GROUP, VOLUME * LANES


# ---- matching ----

cdef void match_row(
    const float *guide, Py_ssize_t channels, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t top, const int *lefts,
    Py_ssize_t count, Py_ssize_t reach, float *column, float *sums, float *distances, int *places,
) noexcept nogil:
    # For the patches of one row of the grid; distances and places are of shape (count, GROUP), the nearest first.
    cdef Py_ssize_t dy, dx, c, i, j, k, n, low, high, left
    cdef const float *here
    cdef const float *there
    cdef float distance
    cdef float *nearest
    cdef int *where
    # A patch is the first of its own group, even where others are the same to the bit: every pixel must be covered.
    for n in range(count * GROUP):
        distances[n] = 3e38 if n % GROUP else 0
        places[n] = top * cols + lefts[n // GROUP]
    for dy in range(max(-reach, -top), min(reach, rows - SIDE - top) + 1):
        for dx in range(-reach, reach + 1):
            low = max(-dx, 0)
            high = min(cols, cols - dx)
            if high - low < SIDE or (dy == 0 and dx == 0):
                continue
            for j in range(low, high):
                column[j] = 0
            for c in range(channels):
                for i in range(SIDE):
                    here = guide + (c * rows + top + i) * cols
                    there = guide + (c * rows + top + dy + i) * cols + dx
                    for j in range(low, high):
                        column[j] += (here[j] - there[j]) * (here[j] - there[j])
            for j in range(low, high - 3):
                sums[j] = column[j] + column[j + 1] + column[j + 2] + column[j + 3]
            for n in range(count):
                left = lefts[n]
                if left < low or left + SIDE > high:
                    continue
                distance = sums[left] + sums[left + 4] + sums[left + 8]
                nearest = distances + n * GROUP
                if distance >= nearest[GROUP - 1]:
                    continue
                where = places + n * GROUP
                k = GROUP - 1
                while k > 0 and distance < nearest[k - 1]:
                    nearest[k] = nearest[k - 1]
                    where[k] = where[k - 1]
                    k -= 1
                nearest[k] = distance
                where[k] = (top + dy) * cols + left + dx


cdef struct Match:
    const float *guide
    Py_ssize_t channels
    Py_ssize_t rows
    Py_ssize_t cols
    const int *tops
    const int *lefts
    Py_ssize_t across  # patches of a row of the grid
    Py_ssize_t reach
    float *workspace
    Py_ssize_t room  # of a thread's workspace
    float *distances_out
    int *places_out


cdef void match_part(void *argument, Py_ssize_t index, Py_ssize_t seat) noexcept nogil:
    cdef Match *job = <Match *> argument
    cdef float *work = job.workspace + seat * job.room
    match_row(
        job.guide, job.channels, job.rows, job.cols, job.tops[index], job.lefts, job.across, job.reach,
        work, work + job.cols, job.distances_out + index * job.across * GROUP,
        job.places_out + index * job.across * GROUP,
    )


def match(
    const float[:, :, ::1] guide not None, const int[::1] tops not None, const int[::1] lefts not None,
    Py_ssize_t reach, int threads, float[:, ::1] workspace not None,
    float[:, :, ::1] distances_out not None, int[:, :, ::1] places_out not None,
):
    """Find the patches most like each patch of the grid, at most `reach` rows and columns away, the nearest first.

    Reads guide, shape (channels, rows, cols); writes the squared distances and the positions row * cols + col, shape
    (tops, lefts, GROUP). A workspace of 2 * cols floats for each thread.
    """
    cdef Match job
    if workspace.shape[0] < threads or workspace.shape[1] < 2 * guide.shape[2]:
        raise ValueError("workspace is too small")
    job.guide, job.channels, job.rows, job.cols = &guide[0, 0, 0], guide.shape[0], guide.shape[1], guide.shape[2]
    job.tops, job.lefts, job.across, job.reach = &tops[0], &lefts[0], lefts.shape[0], reach
    job.workspace, job.room = &workspace[0, 0], workspace.shape[1]
    job.distances_out, job.places_out = &distances_out[0, 0, 0], &places_out[0, 0, 0]
    with nogil:
        run_seated(&match_part, &job, tops.shape[0], threads)


# ---- shrinkage ----

cdef inline void analyse12(float *x, Py_ssize_t stride) noexcept nogil:
    # X_k = sum_j x_j cos(pi k (2 j + 1) / 24), in place. Even X by folding twice. Odd ones: X_3 and X_9 come of sums
    # of three; the others differ from these and from each other by multiples of 8, where cosines of 2 pi / 3 repeat.
    cdef float e0, e1, e2, e3, e4, e5, o0, o1, o2, o3, o4, o5, s, d, u, w, p, q, y1, y3, y5, y7, y9, y11
    cdef float half = <float> 0.5, h = <float> 0.7071067811865476, c = <float> 0.8660254037844386
    cdef float a = <float> 0.6123724356957945  # sqrt(6) / 4
    cdef float c1 = <float> 0.9238795325112867, s1 = <float> 0.3826834323650898  # of pi / 8
    cdef float c3 = <float> 2.7716385975338600, s3 = <float> 1.1480502970952694  # three times these
    # sqrt(3) times the sines of pi / 24 times 1, 5, 7 and 11.
    cdef float t0 = <float> 0.2260779966438106, t2 = <float> 1.0544057247313383
    cdef float t3 = <float> 1.3741282937388998, t5 = <float> 1.7172328728025217
    cdef int v
    for v in range(LANES):
        e0 = x[v] + x[11 * stride + v]
        o0 = x[v] - x[11 * stride + v]
        e1 = x[stride + v] + x[10 * stride + v]
        o1 = x[stride + v] - x[10 * stride + v]
        e2 = x[2 * stride + v] + x[9 * stride + v]
        o2 = x[2 * stride + v] - x[9 * stride + v]
        e3 = x[3 * stride + v] + x[8 * stride + v]
        o3 = x[3 * stride + v] - x[8 * stride + v]
        e4 = x[4 * stride + v] + x[7 * stride + v]
        o4 = x[4 * stride + v] - x[7 * stride + v]
        e5 = x[5 * stride + v] + x[6 * stride + v]
        o5 = x[5 * stride + v] - x[6 * stride + v]
        p = o0 - o3 - o4
        q = o1 - o2 - o5
        y3 = c1 * p + s1 * q
        y9 = s1 * p - c1 * q
        y7 = y9 + ((t0 * o0 - t2 * o2) + (t3 * o3 - t5 * o5))
        y5 = ((t0 * o5 - t2 * o3) - (t3 * o2 - t5 * o0)) - y3
        y1 = (y7 + y9) + (c3 * o1 + s3 * o4)
        y11 = (y3 - y5) + (c3 * o4 - s3 * o1)
        s = e0 + e5 + (e2 + e3)
        d = e0 + e5 - (e2 + e3)
        u = e1 + e4
        x[v] = s + u
        x[4 * stride + v] = c * d
        x[8 * stride + v] = half * s - u
        s = (e0 - e5) + (e2 - e3)
        d = (e0 - e5) - (e2 - e3)
        w = e1 - e4
        u = a * s
        x[6 * stride + v] = h * (d - w)
        w = h * (half * d + w)
        x[2 * stride + v] = u + w
        x[10 * stride + v] = u - w
        x[stride + v] = y1
        x[3 * stride + v] = y3
        x[5 * stride + v] = y5
        x[7 * stride + v] = y7
        x[9 * stride + v] = y9
        x[11 * stride + v] = y11


cdef inline void synthesise12(float *x, Py_ssize_t stride) noexcept nogil:
    # x_j = sum_k X_k cos(pi k (2 j + 1) / 24), in place: analyse12, transposed.
    cdef float e0, e1, e2, e3, e4, e5, o0, o1, o2, o3, o4, o5, s, d, u, w, p, q, t, r, f0, f1, f2, y1, y11
    cdef float half = <float> 0.5, h = <float> 0.7071067811865476, c = <float> 0.8660254037844386
    cdef float a = <float> 0.6123724356957945
    cdef float c1 = <float> 0.9238795325112867, s1 = <float> 0.3826834323650898
    cdef float c3 = <float> 2.7716385975338600, s3 = <float> 1.1480502970952694
    cdef float t0 = <float> 0.2260779966438106, t2 = <float> 1.0544057247313383
    cdef float t3 = <float> 1.3741282937388998, t5 = <float> 1.7172328728025217
    cdef int v
    for v in range(LANES):
        y1 = x[stride + v]
        y11 = x[11 * stride + v]
        t = x[7 * stride + v] + y1
        r = x[5 * stride + v] - y11
        u = x[9 * stride + v] + y1 + t
        w = x[3 * stride + v] + y11 - r
        p = s1 * u + c1 * w
        q = s1 * w - c1 * u
        o0 = p + (t0 * t + t5 * r)
        o3 = (t3 * t - t2 * r) - p
        o4 = (s3 * y1 + c3 * y11) - p
        o1 = q + (c3 * y1 - s3 * y11)
        o2 = -q - (t2 * t + t3 * r)
        o5 = (t0 * r - t5 * t) - q
        s = a * (x[2 * stride + v] + x[10 * stride + v])
        d = x[2 * stride + v] - x[10 * stride + v]
        w = h * (d - x[6 * stride + v])
        d = h * (half * d + x[6 * stride + v])
        u = s + d
        d = s - d
        f1 = x[v] - x[8 * stride + v]
        f0 = x[v] + half * x[8 * stride + v]
        f2 = f0 - c * x[4 * stride + v]
        f0 = f0 + c * x[4 * stride + v]
        e0 = f0 + u
        e5 = f0 - u
        e1 = f1 + w
        e4 = f1 - w
        e2 = f2 + d
        e3 = f2 - d
        x[v] = e0 + o0
        x[stride + v] = e1 + o1
        x[2 * stride + v] = e2 + o2
        x[3 * stride + v] = e3 + o3
        x[4 * stride + v] = e4 + o4
        x[5 * stride + v] = e5 + o5
        x[6 * stride + v] = e5 - o5
        x[7 * stride + v] = e4 - o4
        x[8 * stride + v] = e3 - o3
        x[9 * stride + v] = e2 - o2
        x[10 * stride + v] = e1 - o1
        x[11 * stride + v] = e0 - o0


cdef inline float cut(float x, float least, float scale, float *kept) noexcept nogil:
    # x times the scale, or nothing where it is small; count what is kept.
    cdef float zero = 0, one = 1, stays = one if fabsf(x) >= least else zero
    kept[0] += stays
    return stays * scale * x


cdef inline void shrink_across(
    float *x, float first_least, float first_scale, float least, float scale, float *kept,
) noexcept nogil:
    # The cosine transform of the patches of a group, one coefficient of each; the small ones set to zero, all scaled;
    # and the transform back. The first one of the group has a threshold and a scale of its own.
    cdef float e0, e1, e2, e3, o0, o1, o2, o3, s, d, k
    cdef float y0, y1, y2, y3, y4, y5, y6, y7
    cdef float h = <float> 0.7071067811865476
    cdef float c1 = <float> 0.9238795325112867, s1 = <float> 0.3826834323650898  # of pi / 8
    # The cosines of pi / 16 times 1, 3, 5 and 7.
    cdef float w1 = <float> 0.9807852804032304, w3 = <float> 0.8314696123025452
    cdef float w5 = <float> 0.5555702330196022, w7 = <float> 0.1950903220161283
    cdef int v
    for v in range(LANES):
        e0 = x[v] + x[7 * AREA * LANES + v]
        o0 = x[v] - x[7 * AREA * LANES + v]
        e1 = x[AREA * LANES + v] + x[6 * AREA * LANES + v]
        o1 = x[AREA * LANES + v] - x[6 * AREA * LANES + v]
        e2 = x[2 * AREA * LANES + v] + x[5 * AREA * LANES + v]
        o2 = x[2 * AREA * LANES + v] - x[5 * AREA * LANES + v]
        e3 = x[3 * AREA * LANES + v] + x[4 * AREA * LANES + v]
        o3 = x[3 * AREA * LANES + v] - x[4 * AREA * LANES + v]
        k = kept[v]
        y0 = cut((e0 + e3) + (e1 + e2), first_least, first_scale, &k)
        y4 = cut(h * ((e0 + e3) - (e1 + e2)), least, scale, &k)
        s = e0 - e3
        d = e1 - e2
        y2 = cut(c1 * s + s1 * d, least, scale, &k)
        y6 = cut(s1 * s - c1 * d, least, scale, &k)
        y1 = cut((w1 * o0 + w3 * o1) + (w5 * o2 + w7 * o3), least, scale, &k)
        y3 = cut((w3 * o0 - w7 * o1) - (w1 * o2 + w5 * o3), least, scale, &k)
        y5 = cut((w5 * o0 - w1 * o1) + (w7 * o2 + w3 * o3), least, scale, &k)
        y7 = cut((w7 * o0 - w5 * o1) + (w3 * o2 - w1 * o3), least, scale, &k)
        kept[v] = k
        s = y0 + h * y4
        d = y0 - h * y4
        e0 = s + (c1 * y2 + s1 * y6)
        e3 = s - (c1 * y2 + s1 * y6)
        e1 = d + (s1 * y2 - c1 * y6)
        e2 = d - (s1 * y2 - c1 * y6)
        o0 = (w1 * y1 + w3 * y3) + (w5 * y5 + w7 * y7)
        o1 = (w3 * y1 - w7 * y3) - (w1 * y5 + w5 * y7)
        o2 = (w5 * y1 - w1 * y3) + (w7 * y5 + w3 * y7)
        o3 = (w7 * y1 - w5 * y3) + (w3 * y5 - w1 * y7)
        x[v] = e0 + o0
        x[AREA * LANES + v] = e1 + o1
        x[2 * AREA * LANES + v] = e2 + o2
        x[3 * AREA * LANES + v] = e3 + o3
        x[4 * AREA * LANES + v] = e3 - o3
        x[5 * AREA * LANES + v] = e2 - o2
        x[6 * AREA * LANES + v] = e1 - o1
        x[7 * AREA * LANES + v] = e0 - o0


cdef void shrink_groups(
    const float *image, Py_ssize_t cols, const int *places, Py_ssize_t lanes, float threshold, float *work, float *sums,
    float *weights,
) noexcept nogil:
    # Sixteen groups, or fewer: places is of shape (lanes, GROUP).
    cdef float weight[LANES]
    cdef float kept[LANES]
    cdef float one, least, scale, norm = 2.0 / SIDE * 2.0 / SIDE * 2.0 / GROUP
    cdef Py_ssize_t p, i, j, lane, start, zeros
    cdef const float *source
    cdef float *target
    cdef float *patch
    cdef float *piece
    cdef int v
    for p in range(GROUP):
        patch = work + p * AREA * LANES
        for lane in range(LANES):
            source = image + places[min(lane, lanes - 1) * GROUP + p]
            for i in range(SIDE):
                for j in range(SIDE):
                    patch[(i * SIDE + j) * LANES + lane] = source[i * cols + j]
        for i in range(SIDE):
            analyse12(patch + i * SIDE * LANES, LANES)
        for j in range(SIDE):
            analyse12(patch + j * LANES, SIDE * LANES)
    # The square of the norm of a cosine is n / 2, and n for the first of n: each zero index halves the scale.
    for v in range(LANES):
        kept[v] = 1
    for i in range(AREA):
        zeros = (i < SIDE) + (i % SIDE == 0)
        scale = norm / (1 << zeros)
        least = threshold / sqrtf(scale)
        # What is constant in all the group stays whatever it is.
        shrink_across(
            work + i * LANES, least * sqrtf(2) if i > 0 else -1, scale / 2, least, scale, kept,
        )
    for v in range(LANES):
        weight[v] = 1 / kept[v]
    for p in range(GROUP):
        patch = work + p * AREA * LANES
        for j in range(SIDE):
            synthesise12(patch + j * LANES, SIDE * LANES)
        for i in range(SIDE):
            synthesise12(patch + i * SIDE * LANES, LANES)
        for i in range(AREA):
            for v in range(LANES):
                patch[i * LANES + v] *= weight[v]
        for lane in range(lanes):
            start = places[lane * GROUP + p]
            one = weight[lane]
            for i in range(SIDE):
                target = sums + start + i * cols
                piece = patch + i * SIDE * LANES + lane
                for j in range(SIDE):
                    target[j] += piece[j * LANES]
                target = weights + start + i * cols
                for j in range(SIDE):
                    target[j] += one


cdef void shrink_band(
    const float *image, Py_ssize_t cols, const int *places, Py_ssize_t groups, float threshold, float *work,
    float *sums, float *weights,
) noexcept nogil:
    cdef Py_ssize_t first = 0
    while first < groups:
        shrink_groups(
            image, cols, places + first * GROUP, min(groups - first, LANES), threshold, work, sums, weights,
        )
        first += LANES


cdef struct Shrink:
    const float *image
    Py_ssize_t cols
    const int *places
    Py_ssize_t down  # patches of the grid
    Py_ssize_t across
    Py_ssize_t band
    int parity  # of the bands that are worked upon
    float threshold
    float *workspace
    Py_ssize_t room  # of a thread's workspace
    float *sums_out
    float *weights_out


cdef void shrink_part(void *argument, Py_ssize_t index, Py_ssize_t seat) noexcept nogil:
    cdef Shrink *job = <Shrink *> argument
    cdef Py_ssize_t first = (2 * index + job.parity) * job.band, last = min(first + job.band, job.down)
    shrink_band(
        job.image, job.cols, job.places + first * job.across * GROUP, (last - first) * job.across, job.threshold,
        job.workspace + seat * job.room, job.sums_out, job.weights_out,
    )


def shrink(
    const float[:, ::1] image not None, const int[:, :, ::1] places not None, Py_ssize_t band,
    float threshold, int threads, float[:, ::1] workspace not None,
    float[:, ::1] sums_out not None, float[:, ::1] weights_out not None,
):
    """Add the shrunken groups of patches of an image to sums_out, and their weights to weights_out.

    Reads image and the positions that `match` found; `band` is the number of rows of patches of which every second
    one may be worked upon at once, because no patch of two such bands meets another.
    """
    cdef Shrink job
    cdef Py_ssize_t bands = (places.shape[0] + band - 1) // band
    if workspace.shape[0] < threads or workspace.shape[1] < VOLUME * LANES:
        raise ValueError("workspace is too small")
    if places.shape[2] != GROUP:
        raise ValueError("places must fit the size of groups")
    job.image, job.cols, job.places = &image[0, 0], image.shape[1], &places[0, 0, 0]
    job.down, job.across, job.band, job.threshold = places.shape[0], places.shape[1], band, threshold
    job.workspace, job.room = &workspace[0, 0], workspace.shape[1]
    job.sums_out, job.weights_out = &sums_out[0, 0], &weights_out[0, 0]
    with nogil:
        for job.parity in range(2):
            run_seated(&shrink_part, &job, (bands - job.parity + 1) // 2, threads)
