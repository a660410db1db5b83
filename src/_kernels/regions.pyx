"""Windows around what is corrupt: parts of an image that cannot influence one another and are restored apart."""

from libc.stdlib cimport calloc, free as release, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    CELL = 2  # rows and columns: what is within the margin of one cell belongs together
    MOST_WIDER = 160  # pixels that a margin grows by around what is large


cdef struct Box:
    Py_ssize_t top
    Py_ssize_t bottom
    Py_ssize_t left
    Py_ssize_t right


cdef struct Groups:
    # Runs of free pixels in rows, each with the group that it belongs to: a tree of parents.
    Box *runs
    int *parents
    int count
    int room


cdef inline bint meet(const Box *a, const Box *b) noexcept nogil:
    return a.top < b.bottom and b.top < a.bottom and a.left < b.right and b.left < a.right


cdef inline void join(Box *a, const Box *b) noexcept nogil:
    a.top, a.bottom = min(a.top, b.top), max(a.bottom, b.bottom)
    a.left, a.right = min(a.left, b.left), max(a.right, b.right)


cdef inline int root(int *parents, int k) noexcept nogil:
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k


cdef bint add_run(Groups *groups, Py_ssize_t i, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef void *runs
    cdef void *parents
    if groups.count == groups.room:
        groups.room = 2 * groups.room + 64
        runs = realloc(groups.runs, groups.room * sizeof(Box))
        if runs != NULL:
            groups.runs = <Box *> runs
        parents = realloc(groups.parents, groups.room * sizeof(int))
        if parents != NULL:
            groups.parents = <int *> parents
        if runs == NULL or parents == NULL:
            return False
    groups.runs[groups.count].top, groups.runs[groups.count].bottom = i, i + 1
    groups.runs[groups.count].left, groups.runs[groups.count].right = first, last
    groups.parents[groups.count] = groups.count
    groups.count += 1
    return True


cdef Py_ssize_t mark(
    const unsigned char *free, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t margin, int *owners, Py_ssize_t most,
    Groups *groups,
) noexcept nogil:
    # Let each run of free pixels own the cells within the margin; runs that share a cell belong together. Return how
    # many cells are owned, or stop at more than `most`; -1 where there is no memory.
    cdef Py_ssize_t i, j, a, b, first, across = (cols + CELL - 1) // CELL, owned = 0
    cdef int k, one, other
    cdef const unsigned char *row
    cdef unsigned char[64] nothing
    for j in range(64):
        nothing[j] = 0
    for i in range(rows):
        row = free + i * cols
        j = 0
        while j < cols:
            if j + 64 <= cols and memcmp(row + j, nothing, 64) == 0:
                j += 64
                continue
            if not row[j]:
                j += 1
                continue
            first = j
            while j < cols and row[j]:
                j += 1
            if not add_run(groups, i, first, j):
                return -1
            k = groups.count - 1
            for a in range(max(i - margin, 0) // CELL, min(i + margin, rows - 1) // CELL + 1):
                for b in range(max(first - margin, 0) // CELL, min(j - 1 + margin, cols - 1) // CELL + 1):
                    if owners[a * across + b] == 0:
                        owners[a * across + b] = k + 1
                        owned += 1
                    else:
                        one, other = root(groups.parents, k), root(groups.parents, owners[a * across + b] - 1)
                        groups.parents[max(one, other)] = min(one, other)
            if owned > most:
                return owned
    return owned


cdef Py_ssize_t bound(Groups *groups) noexcept nogil:
    # The boxes of the groups, in the order of their first runs, in place of the runs; return how many there are.
    cdef Py_ssize_t count = 0
    cdef int k
    for k in range(groups.count):
        groups.parents[k] = root(groups.parents, k)
    for k in range(groups.count):
        # The first run of a group comes before the others; from then on its place is that of the box.
        if groups.parents[k] == k:
            groups.runs[count] = groups.runs[k]
            groups.parents[k] = count
            count += 1
        else:
            groups.parents[k] = groups.parents[groups.parents[k]]
            join(groups.runs + groups.parents[k], groups.runs + k)
    return count


cdef void widen(Box *box, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t margin) noexcept nogil:
    # By the margin; around what is large enough for coarse grids by more, so that these see the edges around it too.
    # Such windows begin where the cells of these grids do.
    cdef Py_ssize_t side = min(box.bottom - box.top, box.right - box.left)
    cdef Py_ssize_t wider = margin, aligned = 2
    if side > 2:
        wider, aligned = margin + min(3 * side // 2, MOST_WIDER), 16
    box.top, box.left = max(box.top - wider, 0) // aligned * aligned, max(box.left - wider, 0) // aligned * aligned
    box.bottom, box.right = min(box.bottom + wider, rows), min(box.right + wider, cols)


cdef Py_ssize_t merge(Box *boxes, Py_ssize_t count) noexcept nogil:
    # Join boxes that meet until none do; return how many are left. They come from the top down.
    cdef Py_ssize_t a, b, kept
    cdef bint met = True
    while met:
        met = False
        for a in range(count):
            if boxes[a].bottom == 0:
                continue
            for b in range(a + 1, count):
                if boxes[b].bottom > 0 and meet(boxes + a, boxes + b):
                    join(boxes + a, boxes + b)
                    boxes[b].bottom = 0
                    met = True
    kept = 0
    for a in range(count):
        if boxes[a].bottom > 0:
            boxes[kept] = boxes[a]
            kept += 1
    return kept


def windows(const unsigned char[:, ::1] free not None, Py_ssize_t margin, double share):
    """Return the windows (top, bottom, left, right) that hold the free pixels (1) and a margin, and do not meet.

    None if they would cover more than such a share of the image.
    """
    cdef Py_ssize_t rows = free.shape[0], cols = free.shape[1], owned, k, count = 0
    cdef Py_ssize_t cells = ((rows + CELL - 1) // CELL) * ((cols + CELL - 1) // CELL)
    cdef Py_ssize_t most = <Py_ssize_t> (share * cells)
    cdef double covered = 0
    cdef Groups groups
    cdef int *owners = <int *> calloc(max(cells, 1), sizeof(int))
    memset(&groups, 0, sizeof(Groups))
    try:
        if owners == NULL:
            raise MemoryError
        if rows == 0 or cols == 0:
            return []
        with nogil:
            owned = mark(&free[0, 0], rows, cols, margin, owners, most, &groups)
        if owned < 0:
            raise MemoryError
        if owned > most:
            return None
        with nogil:
            count = bound(&groups)
            for k in range(count):
                widen(groups.runs + k, rows, cols, margin)
            count = merge(groups.runs, count)
            for k in range(count):
                covered += <double> (groups.runs[k].bottom - groups.runs[k].top) * (
                    groups.runs[k].right - groups.runs[k].left
                )
        if covered > share * rows * cols:
            return None
        return [
            (groups.runs[k].top, groups.runs[k].bottom, groups.runs[k].left, groups.runs[k].right)
            for k in range(count)
        ]
    finally:
        release(owners)
        release(groups.runs)
        release(groups.parents)


cdef Py_ssize_t free_around(
    const unsigned char *free, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t i, Py_ssize_t j, Py_ssize_t reach
) noexcept nogil:
    cdef Py_ssize_t a, b, around = 0
    for a in range(max(i - reach, 0), min(i + reach + 1, rows)):
        for b in range(max(j - reach, 0), min(j + reach + 1, cols)):
            around += free[a * cols + b]
    return around


cdef bint is_crowded(
    unsigned char *free, Py_ssize_t rows, Py_ssize_t cols, const Box *box, Py_ssize_t reach, Py_ssize_t most,
    Py_ssize_t link, Py_ssize_t most_linked, Py_ssize_t *stack,
) noexcept nogil:
    # The free pixels of the box are taken out.
    cdef Py_ssize_t i, j, a, b, k, waiting, linked
    for i in range(box.top, box.bottom):
        for j in range(box.left, box.right):
            if free[i * cols + j] and free_around(free, rows, cols, i, j, reach) > most:
                return True
    for i in range(box.top, box.bottom):
        for j in range(box.left, box.right):
            if not free[i * cols + j]:
                continue
            free[i * cols + j] = 0
            stack[0] = i * cols + j
            waiting, linked = 1, 1
            while waiting > 0:
                waiting -= 1
                k = stack[waiting]
                for a in range(max(k // cols - link, 0), min(k // cols + link + 1, rows)):
                    for b in range(max(k % cols - link, 0), min(k % cols + link + 1, cols)):
                        if not free[a * cols + b]:
                            continue
                        free[a * cols + b] = 0
                        linked += 1
                        if linked > most_linked:
                            return True
                        stack[waiting] = a * cols + b
                        waiting += 1
    return False


def crowded(
    const unsigned char[:, ::1] free not None, windows, Py_ssize_t reach, Py_ssize_t most, Py_ssize_t link,
    Py_ssize_t most_linked,
):
    """Return for each window whether a free pixel (1) of it has too many around it, or is linked to too many.

    Those are more than `most` free ones within reach of it, itself one of them, and more than most_linked that are
    linked, directly or by others, as those within so many rows and columns of each other are. No window may hold a free
    pixel within reach of another window.
    """
    cdef Box box
    cdef list out = []
    cdef Py_ssize_t rows = free.shape[0], cols = free.shape[1]
    cdef unsigned char *left = NULL
    cdef Py_ssize_t *stack = NULL
    if most_linked < 1:
        raise ValueError("most_linked must be positive")
    try:
        left = <unsigned char *> malloc(max(rows * cols, 1))
        stack = <Py_ssize_t *> malloc((most_linked + 1) * sizeof(Py_ssize_t))
        if left == NULL or stack == NULL:
            raise MemoryError
        if rows * cols > 0:
            memcpy(left, &free[0, 0], rows * cols)
        for box.top, box.bottom, box.left, box.right in windows:
            if not (0 <= box.top < box.bottom <= rows and 0 <= box.left < box.right <= cols):
                raise ValueError("windows must lie in the image")
            out.append(bool(is_crowded(left, rows, cols, &box, reach, most, link, most_linked, stack)))
    finally:
        release(left)
        release(stack)
    return out


def places(const Py_ssize_t[:, ::1] windows not None, Py_ssize_t cols, Py_ssize_t[::1] out not None):
    """Write the flat indices of the windows' pixels, one window after the other, in an image of so many columns."""
    cdef Py_ssize_t k, i, j, at = 0, total = 0
    if windows.shape[1] == 4:
        for k in range(windows.shape[0]):
            total += (windows[k, 1] - windows[k, 0]) * (windows[k, 3] - windows[k, 2])
    if windows.shape[1] != 4 or out.shape[0] != total:
        raise ValueError("windows must have shape (windows, 4), and out room for their pixels")
    with nogil:
        for k in range(windows.shape[0]):
            for i in range(windows[k, 0], windows[k, 1]):
                for j in range(windows[k, 2], windows[k, 3]):
                    out[at] = i * cols + j
                    at += 1


def free_pixels(const unsigned char[::1] free not None, Py_ssize_t[::1] out not None):
    """Write the places of the free pixels (1), of which there must be as many as out has room for."""
    cdef Py_ssize_t j = 0, k, n = free.shape[0], found = 0, room = out.shape[0]
    cdef unsigned char[64] nothing
    for k in range(64):
        nothing[k] = 0
    with nogil:
        while j < n and found < room:
            if j + 64 <= n and memcmp(&free[j], nothing, 64) == 0:
                j += 64
                continue
            for k in range(j, min(j + 64, n)):
                if free[k] and found < room:
                    out[found] = k
                    found += 1
            j += 64
    if found != room:
        raise ValueError("out must have room for the free pixels, and no more")


def known_among(
    const unsigned char[::1] free not None, const Py_ssize_t[::1] places not None, Py_ssize_t[::1] out not None
):
    """Write those of the places that are known (0) to out, which has room for all; return how many they are."""
    cdef Py_ssize_t k, found = 0, n = free.shape[0]
    cdef bint inside = True
    if out.shape[0] < places.shape[0]:
        raise ValueError("out must have room for all places")
    with nogil:
        for k in range(places.shape[0]):
            inside = inside and 0 <= places[k] < n
            out[found] = places[k]
            found += inside and free[places[k]] == 0
    if not inside:
        raise ValueError("places must be those of pixels")
    return found
