"""Groups of similar patches, and their shrinkage: hard thresholding of the cosine transform of patch and group.

`match` finds for each patch of a grid the patches nearby that are most like it; one sum of squared differences along a
column serves all the patches that it crosses. `shrink` transforms each group by orthonormal cosine transforms, in three
dimensions, sets small coefficients to zero, transforms back and adds the patches up, groups that needed few
coefficients with more weight. Sixteen groups are worked upon at a time, one in each lane: every array has its lanes
innermost.

Rows of patches are shared out to threads in bands that are high enough for every second one to be far from the others:
first the even ones, then the odd ones, so that the sums are added up in one order for every number of threads.

Not checked: that the patches lie inside the image.
"""

from cython.parallel cimport prange, threadid

cdef enum:
    LANES = 16
    SIDE = 12  # of a patch
    HALF = 6
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


def match(
    const float[:, :, ::1] guide not None, const int[::1] tops not None, const int[::1] lefts not None,
    Py_ssize_t reach, int threads, float[:, ::1] workspace not None,
    float[:, :, ::1] distances_out not None, int[:, :, ::1] places_out not None,
):
    """Find the patches most like each patch of the grid, at most `reach` rows and columns away, the nearest first.

    Reads guide, shape (channels, rows, cols); writes the squared distances and the positions row * cols + col, shape
    (tops, lefts, GROUP). A workspace of 2 * cols floats for each thread.
    """
    cdef Py_ssize_t channels = guide.shape[0], rows = guide.shape[1], cols = guide.shape[2], index
    if workspace.shape[0] < threads or workspace.shape[1] < 2 * cols:
        raise ValueError("workspace is too small")
    for index in prange(tops.shape[0], nogil=True, schedule="dynamic", num_threads=threads):
        match_row(
            &guide[0, 0, 0], channels, rows, cols, tops[index], &lefts[0], lefts.shape[0], reach,
            &workspace[threadid(), 0], &workspace[threadid(), cols],
            &distances_out[index, 0, 0], &places_out[index, 0, 0],
        )


# ---- shrinkage ----

cdef inline void fold(float *x, Py_ssize_t stride, Py_ssize_t n, float *even, float *odd) noexcept nogil:
    cdef Py_ssize_t j
    cdef int v
    for j in range(n // 2):
        for v in range(LANES):
            even[j * LANES + v] = x[j * stride + v] + x[(n - 1 - j) * stride + v]
        for v in range(LANES):
            odd[j * LANES + v] = x[j * stride + v] - x[(n - 1 - j) * stride + v]


cdef inline void product(const float *a, Py_ssize_t apart, const float *x, Py_ssize_t n, float *out) noexcept nogil:
    # The inner product of n / 2 numbers, `apart` from each other, with vectors.
    cdef int v
    if n == SIDE:
        for v in range(LANES):
            out[v] = (
                a[0] * x[v] + a[apart] * x[LANES + v] + a[2 * apart] * x[2 * LANES + v]
            ) + (
                a[3 * apart] * x[3 * LANES + v] + a[4 * apart] * x[4 * LANES + v] + a[5 * apart] * x[5 * LANES + v]
            )
    else:
        for v in range(LANES):
            out[v] = (a[0] * x[v] + a[apart] * x[LANES + v]) + (
                a[2 * apart] * x[2 * LANES + v] + a[3 * apart] * x[3 * LANES + v]
            )


cdef inline void analyse(float *x, Py_ssize_t stride, Py_ssize_t n, const float *cosines) noexcept nogil:
    # The cosine transform of n vectors, in place: even rows of the matrix are symmetric, odd ones antisymmetric.
    cdef float even[HALF * LANES]
    cdef float odd[HALF * LANES]
    cdef float t[LANES]
    cdef Py_ssize_t k
    cdef int v
    fold(x, stride, n, even, odd)
    for k in range(n // 2):
        product(cosines + 2 * k * n, 1, even, n, t)
        for v in range(LANES):
            x[2 * k * stride + v] = t[v]
        product(cosines + (2 * k + 1) * n, 1, odd, n, t)
        for v in range(LANES):
            x[(2 * k + 1) * stride + v] = t[v]


cdef inline void synthesise(float *x, Py_ssize_t stride, Py_ssize_t n, const float *cosines) noexcept nogil:
    # The inverse of analyse.
    cdef float even[HALF * LANES]
    cdef float odd[HALF * LANES]
    cdef float s[LANES]
    cdef float d[LANES]
    cdef Py_ssize_t j
    cdef int v
    for j in range(n // 2):
        for v in range(LANES):
            even[j * LANES + v] = x[2 * j * stride + v]
        for v in range(LANES):
            odd[j * LANES + v] = x[(2 * j + 1) * stride + v]
    for j in range(n // 2):
        product(cosines + j, 2 * n, even, n, s)
        product(cosines + n + j, 2 * n, odd, n, d)
        for v in range(LANES):
            x[j * stride + v] = s[v] + d[v]
        for v in range(LANES):
            x[(n - 1 - j) * stride + v] = s[v] - d[v]


cdef void shrink_groups(
    const float *image, Py_ssize_t cols, const int *places, Py_ssize_t lanes, const float *patch_cosines,
    const float *group_cosines, float threshold, float *work, float *sums, float *weights,
) noexcept nogil:
    # Sixteen groups, or fewer: places is of shape (lanes, GROUP).
    cdef float weight[LANES]
    cdef float kept[LANES]
    cdef float t[LANES]
    cdef Py_ssize_t p, i, j, lane, start
    cdef const float *source
    cdef float *target
    cdef float *piece
    cdef int v
    for lane in range(LANES):
        for p in range(GROUP):
            source = image + places[min(lane, lanes - 1) * GROUP + p]
            for i in range(SIDE):
                for j in range(SIDE):
                    work[((p * SIDE + i) * SIDE + j) * LANES + lane] = source[i * cols + j]
    for p in range(GROUP):
        for i in range(SIDE):
            analyse(work + (p * SIDE + i) * SIDE * LANES, LANES, SIDE, patch_cosines)
        for j in range(SIDE):
            analyse(work + (p * AREA + j) * LANES, SIDE * LANES, SIDE, patch_cosines)
    for i in range(AREA):
        analyse(work + i * LANES, AREA * LANES, GROUP, group_cosines)
    for v in range(LANES):
        kept[v] = 1
    for i in range(1, VOLUME):
        piece = work + i * LANES
        for v in range(LANES):
            t[v] = 1 if piece[v] >= threshold or piece[v] <= -threshold else 0
            kept[v] += t[v]
        for v in range(LANES):
            piece[v] *= t[v]
    for i in range(AREA):
        synthesise(work + i * LANES, AREA * LANES, GROUP, group_cosines)
    for p in range(GROUP):
        for j in range(SIDE):
            synthesise(work + (p * AREA + j) * LANES, SIDE * LANES, SIDE, patch_cosines)
        for i in range(SIDE):
            synthesise(work + (p * SIDE + i) * SIDE * LANES, LANES, SIDE, patch_cosines)
    for v in range(LANES):
        weight[v] = 1 / (1 + kept[v])
    for lane in range(lanes):
        for p in range(GROUP):
            start = places[lane * GROUP + p]
            for i in range(SIDE):
                target = sums + start + i * cols
                piece = work + (p * SIDE + i) * SIDE * LANES + lane
                for j in range(SIDE):
                    target[j] += weight[lane] * piece[j * LANES]
                target = weights + start + i * cols
                for j in range(SIDE):
                    target[j] += weight[lane]


cdef void shrink_band(
    const float *image, Py_ssize_t cols, const int *places, Py_ssize_t groups, const float *patch_cosines,
    const float *group_cosines, float threshold, float *work, float *sums, float *weights,
) noexcept nogil:
    cdef Py_ssize_t first = 0
    while first < groups:
        shrink_groups(
            image, cols, places + first * GROUP, min(groups - first, LANES), patch_cosines, group_cosines, threshold,
            work, sums, weights,
        )
        first += LANES


def shrink(
    const float[:, ::1] image not None, const int[:, :, ::1] places not None, Py_ssize_t band,
    const float[:, ::1] patch_cosines not None, const float[:, ::1] group_cosines not None, float threshold,
    int threads, float[:, ::1] workspace not None,
    float[:, ::1] sums_out not None, float[:, ::1] weights_out not None,
):
    """Add the shrunken groups of patches of an image to sums_out, and their weights to weights_out.

    Reads image and the positions that `match` found; `band` is the number of rows of patches of which every second
    one may be worked upon at once, because no patch of two such bands meets another.
    """
    cdef Py_ssize_t cols = image.shape[1], parity, index, bands = (places.shape[0] + band - 1) // band
    cdef Py_ssize_t across = places.shape[1], down = places.shape[0]
    if workspace.shape[0] < threads or workspace.shape[1] < VOLUME * LANES:
        raise ValueError("workspace is too small")
    if patch_cosines.shape[0] != SIDE or group_cosines.shape[0] != GROUP or places.shape[2] != GROUP:
        raise ValueError("cosines and places must fit the size of patches and groups")
    for parity in range(2):
        for index in prange((bands - parity + 1) // 2, nogil=True, schedule="dynamic", num_threads=threads):
            shrink_band(
                &image[0, 0], cols, &places[(2 * index + parity) * band, 0, 0],
                (min((2 * index + parity + 1) * band, down) - (2 * index + parity) * band) * across,
                &patch_cosines[0, 0], &group_cosines[0, 0], threshold, &workspace[threadid(), 0],
                &sums_out[0, 0], &weights_out[0, 0],
            )
