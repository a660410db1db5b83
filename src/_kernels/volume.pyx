"""The loss "edge" of volumes: its structure tensor, its weights, its gradient, and the sweep that descends it.

With H the 3 x 3 second differences at a voxel, each divided by the distances of neighbours along its two axes, and M
the symmetric matrix of the voxel's weights, the energy is the sum of (|H|^2 - tr(M H M H)) / 2. Its gradient is that of
the fields F = H - M H M, scattered by the same differences. A difference that does not fit into the volume is 0.

The mixed differences are those of the four voxels at the corners of a square of 3 x 3. They line up with edges at any
angle, but do not see what alternates from voxel to voxel. Those of the square's four cells of 2 x 2 voxels see it, and
make edges rough. So `cells` is a share of them in |H|^2: (1 - cells) times the square of the corners' difference, and
cells times the mean square of the four cells'. It is one number, 0 unless the volume is smooth all over; and `most` is
1 unless it is so: there what M leaves out entirely would settle slowly.

M = most (m1 e1 e1' + m2 e2 e2'), from the eigenvalues l1 >= l2 >= l3 and the eigenvectors of the structure tensor,
whose trace is tr: m^2 = s / (1 + s), s = tr ((l - l3) / tr)^4 / strength^2. Across a sheet m1 is near 1, and of a tube
both are: what bends along it alone costs.

Volumes are of shape (channels, planes, rows, cols); the channels share the weights. The six numbers of a symmetric
matrix are those of plane-plane, row-row, column-column, plane-row, plane-column and row-column. A tile is six numbers:
from the first plane to before the last, and so for rows and columns. A span is four: a plane, a row, and the columns
from the first to before the last. Tensors stand on a grid of blocks, each axis of which is as long as the volume's, or
half of it, rounded up.

Where voxels are left out, each voxel has a bit for each of its second differences that is left: one of like axes where
its three voxels are, of unlike axes where all nine from corner to corner are. The tensor is that of the gradients
between voxels that are left.

A sweep goes through a tile plane by plane and row by row. It keeps three planes of the point from which it steps, three
rows of the fields, and two planes of what they have added so far to the gradients that the next planes complete. So
each array is read once. Tiles overlap in what they read, never in what they write, and a voxel's bits do not depend on
the tile that it is in: they are the parts that `threads` share out. Sums run in the volume's dtype over a plane of a
tile, then in double, in a fixed order.

Not checked: that the arrays of one call do not overlap.
"""

from libc.math cimport sqrt
from libc.string cimport memcmp, memcpy, memset

include "rows.pxi"
include "threads.pxi"
include "pyramid.pxi"

cdef enum:
    # What a walk over a tile writes.
    GRADIENT = 0
    STEP = 1
    DIAGONAL = 2

cdef enum:
    # The six numbers of a symmetric matrix: z is the axis of the planes, y that of the rows, x that of the columns.
    ZZ = 0
    YY = 1
    XX = 2
    ZY = 3
    ZX = 4
    YX = 5
    OWN = 6  # of the diagonal, what a voxel's own taps make

cdef enum:
    # The cells of 2 x 2 voxels, each told by its first one.
    CELL_ZY = 0
    CELL_ZX = 1
    CELL_YX = 2
    CELLS = 3

cdef enum:
    # Bits of which second differences are left at a voxel, where some voxels are left out of the volume.
    FITS_ZZ = 1
    FITS_YY = 2
    FITS_XX = 4
    FITS_ZY = 8
    FITS_ZX = 16
    FITS_YX = 32

cdef enum:
    CELL = 8  # planes and rows of a cell, by which tiles are found
    SECTOR = 16  # columns of a cell
    WIDEST = 256  # columns of a tile, at most, but for one that is left at the border
    TALLEST = 32  # rows
    DEEPEST = 64  # planes
    BESIDE = 8  # columns beside a tile that are made with it: rows of whole vectors are faster than shorter ones
    ROOM = WIDEST + 3 * PAD
    CHUNK = 256  # voxels whose sums are at hand; even
    HALF = 128  # of them
    MOST_RADIUS = 32  # of a Gaussian
    REACH = 3  # voxels on either side of one that are its neighbourhood
    EIGEN = 64  # blocks whose eigenvectors are at hand
    ROTATIONS = 4  # times three, after which a matrix is diagonal to single precision


cdef struct Weights:
    # Six numbers for each voxel, of which the first are at `m`, the next `apart` behind them.
    const void *m
    Py_ssize_t apart
    const unsigned char *fits  # which differences are left at each voxel; NULL where all are


cdef struct Tile:
    Py_ssize_t front
    Py_ssize_t back
    Py_ssize_t top
    Py_ssize_t bottom
    Py_ssize_t start
    Py_ssize_t stop


cdef inline Tile tile_of(const int *bounds) noexcept nogil:
    cdef Tile tile
    tile.front, tile.back, tile.top, tile.bottom = bounds[0], bounds[1], bounds[2], bounds[3]
    tile.start, tile.stop = bounds[4], bounds[5]
    return tile


# ---- the operator, row by row ----

cdef inline real only(real value, int fits) noexcept nogil:
    # A choice, not a product: beside the volume anything may stand.
    return value if fits else 0


cdef inline void keep_fields(
    int fits, real *fzz, real *fyy, real *fxx, real *fzy, real *fzx, real *fyx
) noexcept nogil:
    fzz[0], fyy[0], fxx[0] = only(fzz[0], fits & FITS_ZZ), only(fyy[0], fits & FITS_YY), only(fxx[0], fits & FITS_XX)
    fzy[0], fzx[0], fyx[0] = only(fzy[0], fits & FITS_ZY), only(fzx[0], fits & FITS_ZX), only(fyx[0], fits & FITS_YX)


cdef inline void fields_row(
    const real *up_above, const real *up, const real *up_below, const real *above, const real *here, const real *below,
    const real *down_above, const real *down, const real *down_below, const real *m, Py_ssize_t apart,
    real z, real y, real x, real corners, bint some, const unsigned char *fits, Py_ssize_t first, Py_ssize_t last,
    real *fzz, real *fyy, real *fxx, real *fzy, real *fzx, real *fyx,
) noexcept nogil:
    # The fields times the factors of their differences, twice those of unlike axes. The rows of the plane before (up)
    # and of the next one (down), and of the rows before and behind in each; z, y and x are one over the distances, or 0
    # where no difference along the axis fits. If `some` is set, those alone that `fits` tells. `corners` is 1 less the
    # share of the cells.
    cdef Py_ssize_t j
    cdef real twice, hzz, hyy, hxx, hzy, hzx, hyx, mzz, myy, mxx, mzy, mzx, myx
    cdef real pzz, pzy, pzx, pyz, pyy, pyx, pxz, pxy, pxx
    cdef real quarter = <real> 0.25, two = 2
    cdef real czz = z * z, cyy = y * y, cxx = x * x
    cdef real czy = quarter * z * y, czx = quarter * z * x, cyx = quarter * y * x
    cdef real dzy = two * czy, dzx = two * czx, dyx = two * cyx
    for j in range(first, last):
        twice = here[j] + here[j]
        hzz = czz * ((up[j] + down[j]) - twice)
        hyy = cyy * ((above[j] + below[j]) - twice)
        hxx = cxx * (((here - 1)[j] + here[j + 1]) - twice)
        hzy = czy * ((up_above[j] + down_below[j]) - (up_below[j] + down_above[j]))
        hzx = czx * (((up - 1)[j] + down[j + 1]) - (up[j + 1] + (down - 1)[j]))
        hyx = cyx * (((above - 1)[j] + below[j + 1]) - (above[j + 1] + (below - 1)[j]))
        if some:
            hzz, hyy, hxx = only(hzz, fits[j] & FITS_ZZ), only(hyy, fits[j] & FITS_YY), only(hxx, fits[j] & FITS_XX)
            hzy, hzx, hyx = only(hzy, fits[j] & FITS_ZY), only(hzx, fits[j] & FITS_ZX), only(hyx, fits[j] & FITS_YX)
        mzz, myy, mxx = m[j], m[apart + j], m[2 * apart + j]
        mzy, mzx, myx = m[3 * apart + j], m[4 * apart + j], m[5 * apart + j]
        # M H, then M H M.
        pzz = (mzz * hzz + mzy * hzy) + mzx * hzx
        pzy = (mzz * hzy + mzy * hyy) + mzx * hyx
        pzx = (mzz * hzx + mzy * hyx) + mzx * hxx
        pyz = (mzy * hzz + myy * hzy) + myx * hzx
        pyy = (mzy * hzy + myy * hyy) + myx * hyx
        pyx = (mzy * hzx + myy * hyx) + myx * hxx
        pxz = (mzx * hzz + myx * hzy) + mxx * hzx
        pxy = (mzx * hzy + myx * hyy) + mxx * hyx
        pxx = (mzx * hzx + myx * hyx) + mxx * hxx
        fzz[j] = czz * (hzz - ((pzz * mzz + pzy * mzy) + pzx * mzx))
        fyy[j] = cyy * (hyy - ((pyz * mzy + pyy * myy) + pyx * myx))
        fxx[j] = cxx * (hxx - ((pxz * mzx + pxy * myx) + pxx * mxx))
        fzy[j] = dzy * (corners * hzy - ((pzz * mzy + pzy * myy) + pzx * myx))
        fzx[j] = dzx * (corners * hzx - ((pzz * mzx + pzy * myx) + pzx * mxx))
        fyx[j] = dyx * (corners * hyx - ((pyz * mzx + pyy * myx) + pyx * mxx))
        if some:
            keep_fields(fits[j], fzz + j, fyy + j, fxx + j, fzy + j, fzx + j, fyx + j)


cdef inline void cells_row(
    const real *here, const real *below, const real *down, const real *down_below, real cells, real z, real y, real x,
    Py_ssize_t first, Py_ssize_t last, real *czy, real *czx, real *cyx,
) noexcept nogil:
    # The fields of cells, times the factors of their differences; z, y and x as above, where no cell fits.
    cdef Py_ssize_t j
    cdef real two = 2, dzy = two * cells * z * z * y * y, dzx = two * cells * z * z * x * x
    cdef real dyx = two * cells * y * y * x * x
    for j in range(first, last):
        czy[j] = dzy * ((here[j] + down_below[j]) - (below[j] + down[j]))
        czx[j] = dzx * ((here[j] + down[j + 1]) - (here[j + 1] + down[j]))
        cyx[j] = dyx * ((here[j] + below[j + 1]) - (here[j + 1] + below[j]))


cdef inline void squares_of_cells_row(
    real cells, real z, real y, real x, Py_ssize_t first, Py_ssize_t last, real *czy, real *czx, real *cyx
) noexcept nogil:
    # What one tap of each adds to the diagonal.
    cdef Py_ssize_t j
    cdef real two = 2
    for j in range(first, last):
        czy[j] = two * cells * z * z * y * y
        czx[j] = two * cells * z * z * x * x
        cyx[j] = two * cells * y * y * x * x


cdef inline void squares_row(
    const real *m, Py_ssize_t apart, real z, real y, real x, real corners, bint some, const unsigned char *fits,
    Py_ssize_t first, Py_ssize_t last, real *fzz, real *fyy, real *fxx, real *fzy, real *fzx, real *fyx, real *own,
) noexcept nogil:
    # What one tap of each difference adds to the diagonal, and what those of the voxel itself do.
    cdef Py_ssize_t j
    cdef real mzz, myy, mxx, mzy, mzx, myx, one = 1, two = 2, four = 4, eighth = <real> 0.125
    cdef real czz = z * z, cyy = y * y, cxx = x * x
    for j in range(first, last):
        mzz, myy, mxx = m[j], m[apart + j], m[2 * apart + j]
        mzy, mzx, myx = m[3 * apart + j], m[4 * apart + j], m[5 * apart + j]
        fzz[j] = czz * czz * (one - mzz * mzz)
        fyy[j] = cyy * cyy * (one - myy * myy)
        fxx[j] = cxx * cxx * (one - mxx * mxx)
        fzy[j] = eighth * czz * cyy * (corners - (mzy * mzy + mzz * myy))
        fzx[j] = eighth * czz * cxx * (corners - (mzx * mzx + mzz * mxx))
        fyx[j] = eighth * cyy * cxx * (corners - (myx * myx + myy * mxx))
        if some:
            keep_fields(fits[j], fzz + j, fyy + j, fxx + j, fzy + j, fzx + j, fyx + j)
            mzy = only(mzy, (fits[j] & FITS_ZZ) and (fits[j] & FITS_YY))
            mzx = only(mzx, (fits[j] & FITS_ZZ) and (fits[j] & FITS_XX))
            myx = only(myx, (fits[j] & FITS_YY) and (fits[j] & FITS_XX))
        own[j] = four * (
            ((fzz[j] + fyy[j]) + fxx[j])
            - two * ((czz * cyy * mzy * mzy + czz * cxx * mzx * mzx) + cyy * cxx * myx * myx)
        )


cdef void fields_at(
    const real *up_above, const real *up, const real *up_below, const real *above, const real *here, const real *below,
    const real *down_above, const real *down, const real *down_below, const real *m, Py_ssize_t apart,
    real z, real y, real corners, Py_ssize_t j, real *fzz, real *fyy, real *fxx, real *fzy, real *fzx, real *fyx,
) noexcept nogil:
    # Of a column at the border: a function of its own, or every loop would be compiled three times.
    fields_row(
        up_above, up, up_below, above, here, below, down_above, down, down_below, m, apart, z, y, 0, corners, False,
        NULL, j, j + 1, fzz, fyy, fxx, fzy, fzx, fyx,
    )


cdef void some_fields(
    const real *up_above, const real *up, const real *up_below, const real *above, const real *here, const real *below,
    const real *down_above, const real *down, const real *down_below, const real *m, Py_ssize_t apart,
    real z, real y, real x, const unsigned char *fits, Py_ssize_t first, Py_ssize_t last,
    real *fzz, real *fyy, real *fxx, real *fzy, real *fzx, real *fyx,
) noexcept nogil:
    # Of all columns of a row, where `fits` tells of the border as well.
    fields_row(
        up_above, up, up_below, above, here, below, down_above, down, down_below, m, apart, z, y, x, 1, True, fits,
        first, last, fzz, fyy, fxx, fzy, fzx, fyx,
    )


cdef void some_squares(
    const real *m, Py_ssize_t apart, real z, real y, real x, const unsigned char *fits, Py_ssize_t first,
    Py_ssize_t last, real *fzz, real *fyy, real *fxx, real *fzy, real *fzx, real *fyx, real *own,
) noexcept nogil:
    squares_row(m, apart, z, y, x, 1, True, fits, first, last, fzz, fyy, fxx, fzy, fzx, fyx, own)


cdef void squares_at(
    const real *m, Py_ssize_t apart, real z, real y, real corners, Py_ssize_t j,
    real *fzz, real *fyy, real *fxx, real *fzy, real *fzx, real *fyx, real *own,
) noexcept nogil:
    squares_row(m, apart, z, y, 0, corners, False, NULL, j, j + 1, fzz, fyy, fxx, fzy, fzx, fyx, own)


cdef inline void scatter_row(
    const real *fzz, const real *fxx, const real *fyy, const real *fyy_above, const real *fyy_below,
    const real *fzx, const real *fzy_above, const real *fzy_below, const real *fyx_above, const real *fyx_below,
    Py_ssize_t width, real *upper, real *lower, real *out,
) noexcept nogil:
    # Add the fields of a row, and of those above and below it, to its gradients in the plane before, which that
    # completes (out), in its own and in the next one: upper holds what the plane before has so far, lower what this one
    # has; they move on by a plane.
    cdef Py_ssize_t j
    cdef real turn, plane, two = 2
    for j in range(width):
        turn = (fzy_below[j] - fzy_above[j]) + (fzx[j + 1] - (fzx - 1)[j])
        plane = (
            (((fxx - 1)[j] + fxx[j + 1]) + (fyy_above[j] + fyy_below[j])) - two * ((fxx[j] + fyy[j]) + fzz[j])
            + ((fyx_below[j + 1] - (fyx_below - 1)[j]) - (fyx_above[j + 1] - (fyx_above - 1)[j]))
        )
        out[j] = upper[j] + (fzz[j] + turn)
        upper[j] = lower[j] + plane
        lower[j] = fzz[j] - turn


cdef inline void scatter_squares(
    const real *fzz, const real *fxx, const real *own, const real *fyy_above, const real *fyy_below,
    const real *fzx, const real *fzy_above, const real *fzy_below, const real *fyx_above, const real *fyx_below,
    Py_ssize_t width, real *upper, real *lower, real *out,
) noexcept nogil:
    # As scatter_row.
    cdef Py_ssize_t j
    cdef real beside, plane
    for j in range(width):
        beside = fzz[j] + ((fzy_below[j] + fzy_above[j]) + (fzx[j + 1] + (fzx - 1)[j]))
        plane = (
            (((fxx - 1)[j] + fxx[j + 1]) + (fyy_above[j] + fyy_below[j])) + own[j]
            + ((fyx_below[j + 1] + (fyx_below - 1)[j]) + (fyx_above[j + 1] + (fyx_above - 1)[j]))
        )
        out[j] = upper[j] + beside
        upper[j] = lower[j] + plane
        lower[j] = beside


cdef inline void scatter_cells(
    const real *czy, const real *czy_above, const real *czx, const real *cyx, const real *cyx_above, Py_ssize_t width,
    real *own, real *lower,
) noexcept nogil:
    # Add the fields of cells to the gradients of their first plane (own) and of the next one.
    cdef Py_ssize_t j
    cdef real across
    for j in range(width):
        across = (czy[j] - czy_above[j]) + (czx[j] - (czx - 1)[j])
        own[j] += across + ((cyx[j] - (cyx - 1)[j]) - (cyx_above[j] - (cyx_above - 1)[j]))
        lower[j] -= across


cdef inline void scatter_squares_of_cells(
    const real *czy, const real *czy_above, const real *czx, const real *cyx, const real *cyx_above, Py_ssize_t width,
    real *own, real *lower,
) noexcept nogil:
    # As scatter_cells.
    cdef Py_ssize_t j
    cdef real across
    for j in range(width):
        across = (czy[j] + czy_above[j]) + (czx[j] + (czx - 1)[j])
        own[j] += across + ((cyx[j] + (cyx - 1)[j]) + (cyx_above[j] + (cyx_above - 1)[j]))
        lower[j] += across


cdef inline void step_off(
    const real *v, const real *gradient, const real *steps, const real *x, bint noisy, const real *data,
    const real *pull, real low, real high, real most, Py_ssize_t width, real *out, real *slope, real *change,
) noexcept nogil:
    # If `noisy` is set, `pull` is how much of the way to what was measured, the data, a step leads as well. What is
    # more than `most` counts as that much in the sums: what stands out by more than the volume's range must not decide
    # when all else has settled.
    cdef Py_ssize_t j
    cdef real voxel, new, move, back
    for j in range(width):
        voxel = x[j]
        new = v[j] - steps[j] * gradient[j]
        if noisy:
            new -= pull[j] * (v[j] - data[j])
        new = clip(new, low, high)
        new = new if steps[j] > 0 else voxel
        move = clip(new - voxel, -most, most)
        back = clip(v[j] - new, -most, most)
        slope[j] += back * move
        change[j] += move * move
        out[j] = new


cdef inline void steps_row(
    const real *diagonal, const unsigned char *free, real safety, real floor, Py_ssize_t width, real *out
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        out[j] = <real> free[j] / (safety * (diagonal[j] if diagonal[j] > floor else floor))


# ---- a tile ----

cdef inline size_t tile_room(size_t item) noexcept nogil:
    # The bytes that a walk works in: three planes of points, two of gradients, three rows of the fields of cells.
    return (3 * (TALLEST + 4) + 2 * TALLEST + 3 * CELLS) * ROOM * item


cdef void make_cells(
    const real *here, const real *down, bint more_planes, bint more_rows, bint more_cols, const double *inverse,
    real cells, bint of_squares, Py_ssize_t first, Py_ssize_t last, real *czy, real *czx, real *cyx,
) noexcept nogil:
    # The fields of a row of cells, or their squares; whether there is a plane, a row and a column behind.
    cdef Py_ssize_t below = ROOM if more_rows else 0
    cdef real zero = 0, z = <real> inverse[0] if more_planes else zero, y = <real> inverse[1] if more_rows else zero
    cdef real x = <real> inverse[2] if more_cols else zero
    if of_squares:
        squares_of_cells_row(cells, z, y, x, first, last, czy, czx, cyx)
    else:
        cells_row(here, here + below, down, down + below, cells, z, y, x, first, last, czy, czx, cyx)


cdef void walk_tile(
    const real *x, const real *previous, Py_ssize_t planes, Py_ssize_t rows, Py_ssize_t cols, const Weights *weights,
    const double *inverse, real cells, Tile tile, const real *steps, const real *data, const real *pull, real momentum,
    real low, real high, real most, double *totals, int what, real *room, real *out,
) noexcept nogil:
    # Writes what is asked for to out; data and pull, see step_off, are NULL where nothing is noisy; inverse holds one
    # over the distances of neighbours along each axis.
    cdef Py_ssize_t front = tile.front, back = tile.back, top = tile.top, bottom = tile.bottom, start = tile.start
    cdef Py_ssize_t stop = tile.stop, width = stop - start, p, r, i, at, loaded, k
    cdef bint at_left = start == 0, at_right = stop == cols
    # The fields are needed from one column before the tile to one behind it, and are 0 where there is none. Away from
    # the border more of them are made, of which nobody asks.
    cdef Py_ssize_t beside = BESIDE if start >= 2 * BESIDE and stop + 2 * BESIDE <= cols else 1
    cdef Py_ssize_t first = 0 if at_left else -beside, last = width if at_right else width + beside
    cdef Py_ssize_t inner = 1 if at_left else first, end = width - 1 if at_right else last
    cdef Py_ssize_t above_all = max(top - 2, 0), below_all = min(bottom + 2, rows)
    cdef real *points[3]
    cdef real *upper = room + 3 * (TALLEST + 4) * ROOM
    cdef real *lower = upper + TALLEST * ROOM
    cdef real *c[CELLS][3]
    cdef real[7][3][ROOM] f
    cdef real[ROOM] gradient
    cdef real[ROOM] change
    cdef real[ROOM] slope
    cdef real *up
    cdef real *here
    cdef real *down
    cdef real *point
    cdef real *new
    cdef const real *m
    cdef const unsigned char *fits = NULL
    cdef Py_ssize_t above, below, slot, slot_above, slot_below
    cdef real z, y, column = <real> inverse[2], zero = 0, corners = <real> 1 - cells
    cdef double total_change = 0, total_slope = 0
    cdef int number
    for k in range(3):
        points[k] = room + k * (TALLEST + 4) * ROOM
    for number in range(7):
        for k in range(3):
            clear(f[number][k], width + 2 * PAD)
    for number in range(CELLS):
        for k in range(3):
            c[number][k] = lower + (TALLEST + 3 * number + k) * ROOM + PAD
            clear(c[number][k] - PAD, ROOM)
    for i in range(bottom - top):
        clear(upper + i * ROOM, width)
        clear(lower + i * ROOM, width)
    loaded = max(front - 2, 0)
    for p in range(max(front - 1, 0), back + 1):
        # The fields of plane p complete the gradients of plane p - 1.
        while what != DIAGONAL and loaded < min(p + 2, planes):
            for r in range(above_all, below_all):
                at = (loaded * rows + r) * cols + start
                point = points[loaded % 3] + (r - above_all) * ROOM + PAD
                load_extrapolated(
                    x + at, previous + at, momentum, 0 if at_left else -2 * beside,
                    width if at_right else width + 2 * beside, point,
                )
                # Any number serves where a difference does not fit.
                if at_left:
                    (point - 1)[0] = point[0]
                if at_right:
                    point[width] = point[width - 1]
            loaded += 1
        z = <real> inverse[0] if 0 < p < planes - 1 else zero
        clear(change, width)
        clear(slope, width)
        for r in range(top - 1, bottom + 1):
            slot = (r + 3) % 3
            if p >= planes or r < 0 or r >= rows:
                for number in range(7):
                    clear(f[number][slot], width + 2 * PAD)
            else:
                y = <real> inverse[1] if 0 < r < rows - 1 else zero
                m = <const real *> weights.m + (p * rows + r) * cols + start
                if weights.fits != NULL:
                    fits = weights.fits + (p * rows + r) * cols + start
                if what == DIAGONAL and fits != NULL:
                    some_squares(
                        m, weights.apart, <real> inverse[0], <real> inverse[1], column, fits, first, last,
                        f[ZZ][slot] + PAD, f[YY][slot] + PAD, f[XX][slot] + PAD, f[ZY][slot] + PAD, f[ZX][slot] + PAD,
                        f[YX][slot] + PAD, f[OWN][slot] + PAD,
                    )
                elif what == DIAGONAL:
                    squares_row(
                        m, weights.apart, z, y, column, corners, False, NULL, inner, end, f[ZZ][slot] + PAD,
                        f[YY][slot] + PAD, f[XX][slot] + PAD, f[ZY][slot] + PAD, f[ZX][slot] + PAD, f[YX][slot] + PAD,
                        f[OWN][slot] + PAD,
                    )
                    if at_left:
                        squares_at(
                            m, weights.apart, z, y, corners, 0, f[ZZ][slot] + PAD, f[YY][slot] + PAD,
                            f[XX][slot] + PAD, f[ZY][slot] + PAD, f[ZX][slot] + PAD, f[YX][slot] + PAD,
                            f[OWN][slot] + PAD,
                        )
                    if at_right:
                        squares_at(
                            m, weights.apart, z, y, corners, width - 1, f[ZZ][slot] + PAD, f[YY][slot] + PAD,
                            f[XX][slot] + PAD, f[ZY][slot] + PAD, f[ZX][slot] + PAD, f[YX][slot] + PAD,
                            f[OWN][slot] + PAD,
                        )
                else:
                    at = (r - above_all) * ROOM + PAD
                    here = points[p % 3] + at
                    up = points[(p + 2) % 3] + at if p > 0 else here
                    down = points[(p + 1) % 3] + at if p < planes - 1 else here
                    above, below = -ROOM if r > 0 else 0, ROOM if r < rows - 1 else 0
                    if fits != NULL:
                        some_fields(
                            up + above, up, up + below, here + above, here, here + below, down + above, down,
                            down + below, m, weights.apart, <real> inverse[0], <real> inverse[1], column, fits, first,
                            last, f[ZZ][slot] + PAD, f[YY][slot] + PAD, f[XX][slot] + PAD, f[ZY][slot] + PAD,
                            f[ZX][slot] + PAD, f[YX][slot] + PAD,
                        )
                    else:
                        fields_row(
                            up + above, up, up + below, here + above, here, here + below, down + above, down,
                            down + below, m, weights.apart, z, y, column, corners, False, NULL, inner, end,
                            f[ZZ][slot] + PAD, f[YY][slot] + PAD, f[XX][slot] + PAD, f[ZY][slot] + PAD,
                            f[ZX][slot] + PAD, f[YX][slot] + PAD,
                        )
                    if at_left and fits == NULL:
                        fields_at(
                            up + above, up, up + below, here + above, here, here + below, down + above, down,
                            down + below, m, weights.apart, z, y, corners, 0, f[ZZ][slot] + PAD, f[YY][slot] + PAD,
                            f[XX][slot] + PAD, f[ZY][slot] + PAD, f[ZX][slot] + PAD, f[YX][slot] + PAD,
                        )
                    if at_right and fits == NULL:
                        fields_at(
                            up + above, up, up + below, here + above, here, here + below, down + above, down,
                            down + below, m, weights.apart, z, y, corners, width - 1, f[ZZ][slot] + PAD,
                            f[YY][slot] + PAD, f[XX][slot] + PAD, f[ZY][slot] + PAD, f[ZX][slot] + PAD,
                            f[YX][slot] + PAD,
                        )
            if cells > 0 and r < bottom and (r < 0 or p >= back):
                for number in range(CELLS):
                    clear(c[number][slot] - PAD, width + 2 * PAD)
            elif cells > 0 and r < bottom:
                here = points[p % 3] + (r - above_all) * ROOM + PAD
                down = points[(p + 1) % 3] + (r - above_all) * ROOM + PAD if p < planes - 1 else here
                make_cells(
                    here, down, p < planes - 1, r < rows - 1, True, inverse, cells, what == DIAGONAL, first,
                    width - 1 if at_right else last, c[CELL_ZY][slot], c[CELL_ZX][slot], c[CELL_YX][slot],
                )
                if at_right:
                    make_cells(
                        here, down, p < planes - 1, r < rows - 1, False, inverse, cells, what == DIAGONAL, width - 1,
                        width, c[CELL_ZY][slot], c[CELL_ZX][slot], c[CELL_YX][slot],
                    )
            if r <= top:
                continue
            i = r - 1
            slot_below, slot, slot_above = slot, (i + 3) % 3, (i + 2) % 3
            at = ((p - 1) * rows + i) * cols + start
            new = &gradient[0] if what == STEP or p <= front else out + at
            if what == DIAGONAL:
                scatter_squares(
                    f[ZZ][slot] + PAD, f[XX][slot] + PAD, f[OWN][slot] + PAD, f[YY][slot_above] + PAD,
                    f[YY][slot_below] + PAD, f[ZX][slot] + PAD, f[ZY][slot_above] + PAD, f[ZY][slot_below] + PAD,
                    f[YX][slot_above] + PAD, f[YX][slot_below] + PAD, width, upper + (i - top) * ROOM,
                    lower + (i - top) * ROOM, new,
                )
                if cells > 0:
                    scatter_squares_of_cells(
                        c[CELL_ZY][slot], c[CELL_ZY][slot_above], c[CELL_ZX][slot], c[CELL_YX][slot],
                        c[CELL_YX][slot_above], width, upper + (i - top) * ROOM, lower + (i - top) * ROOM,
                    )
            else:
                scatter_row(
                    f[ZZ][slot] + PAD, f[XX][slot] + PAD, f[YY][slot] + PAD, f[YY][slot_above] + PAD,
                    f[YY][slot_below] + PAD, f[ZX][slot] + PAD, f[ZY][slot_above] + PAD, f[ZY][slot_below] + PAD,
                    f[YX][slot_above] + PAD, f[YX][slot_below] + PAD, width, upper + (i - top) * ROOM,
                    lower + (i - top) * ROOM, new,
                )
                if cells > 0:
                    scatter_cells(
                        c[CELL_ZY][slot], c[CELL_ZY][slot_above], c[CELL_ZX][slot], c[CELL_YX][slot],
                        c[CELL_YX][slot_above], width, upper + (i - top) * ROOM, lower + (i - top) * ROOM,
                    )
            if what == STEP and p > front and pull == NULL:
                step_off(
                    points[(p + 2) % 3] + (i - above_all) * ROOM + PAD, gradient, steps + at, x + at, False, NULL, NULL,
                    low, high, most, width, out + at, slope, change,
                )
            elif what == STEP and p > front:
                step_off(
                    points[(p + 2) % 3] + (i - above_all) * ROOM + PAD, gradient, steps + at, x + at, True, data + at,
                    pull + at, low, high, most, width, out + at, slope, change,
                )
        if what == STEP:
            total_change += flush_total(change, width)
            total_slope += flush_total(slope, width)
    if what == STEP:
        totals[0] = total_change
        totals[1] = total_slope


# ---- the structure tensor ----

cdef inline void add_products(
    const real *x, Py_ssize_t up, Py_ssize_t down, Py_ssize_t above, Py_ssize_t below, Py_ssize_t left,
    Py_ssize_t right, real z, real y, real column, Py_ssize_t first, Py_ssize_t last,
    real *zz, real *yy, real *xx, real *zy, real *zx, real *yx,
) noexcept nogil:
    # The products of the gradients of a row's voxels, whose neighbours are so far away; sums begin at `first`.
    cdef Py_ssize_t j
    cdef real gz, gy, gx
    for j in range(first, last):
        gz = z * (x[j + down] - (x - up)[j])
        gy = y * (x[j + below] - (x - above)[j])
        gx = column * (x[j + right] - (x - left)[j])
        zz[j - first] += gz * gz
        yy[j - first] += gy * gy
        xx[j - first] += gx * gx
        zy[j - first] += gz * gy
        zx[j - first] += gz * gx
        yx[j - first] += gy * gx


cdef inline void add_damped(
    const real *zz, const real *yy, const real *xx, const real *zy, const real *zx, const real *yx, real inverse,
    Py_ssize_t width, real *jzz, real *jyy, real *jxx, real *jzy, real *jzx, real *jyx,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef real one = 1, weight
    for j in range(width):
        weight = one / <real> sqrt(one + inverse * ((zz[j] + yy[j]) + xx[j]))
        jzz[j] += weight * zz[j]
        jyy[j] += weight * yy[j]
        jxx[j] += weight * xx[j]
        jzy[j] += weight * zy[j]
        jzx[j] += weight * zx[j]
        jyx[j] += weight * yx[j]


cdef inline void join(
    const real *sums, Py_ssize_t first, Py_ssize_t last, bint halved, real share, real *out
) noexcept nogil:
    # The means over pairs of columns from the first to before the last; out points to the row's first block.
    cdef Py_ssize_t j
    if not halved:
        for j in range(last - first):
            out[first + j] = (share + share) * sums[j]
        return
    for j in range((last - first) // 2):
        out[first // 2 + j] = share * (sums[2 * j] + sums[2 * j + 1])
    if (last - first) % 2:
        out[last // 2] = share * (sums[last - 1 - first] + sums[last - 1 - first])


cdef inline double scale_of(double inverse, Py_ssize_t before, Py_ssize_t behind) noexcept nogil:
    # Of a difference across two distances, or one at the border.
    return 0.5 * inverse if before > 0 and behind > 0 else inverse


cdef void tensor_row(
    const real *x, Py_ssize_t channels, const Py_ssize_t *sides, const Py_ssize_t *blocks, const double *inverse,
    real damping, Py_ssize_t k, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop, real *out,
) noexcept nogil:
    # The means over the blocks from start to before stop of block row i in block plane k, and over the channels. x is
    # the volume, of such sides, out the tensor, whose numbers stand apart by the volume of `blocks`.
    cdef real[6][CHUNK] sums
    cdef real[6][CHUNK] damped
    cdef Py_ssize_t planes = sides[0], rows = sides[1], cols = sides[2], apart = blocks[0] * blocks[1] * blocks[2]
    cdef bint halved = blocks[2] != cols
    cdef Py_ssize_t first = 2 * start if halved else start, finish = min(2 * stop, cols) if halved else stop
    cdef Py_ssize_t front = first_covered(k, planes, blocks[0]), back = last_covered(k, planes, blocks[0]) + 1
    cdef Py_ssize_t top = first_covered(i, rows, blocks[1]), bottom = last_covered(i, rows, blocks[1]) + 1
    cdef Py_ssize_t last, c, p, r, left, right, up, down, above, below, at
    cdef real one = 1, share = one / (2 * channels * (back - front) * (bottom - top)), z, y, column = <real> inverse[2]
    cdef real half = <real> 0.5
    cdef const real *row
    cdef int number
    while first < finish:
        last = min(first + CHUNK, finish)
        left = max(first, 1)
        right = max(min(last, cols - 1), left)
        for number in range(6):
            clear(damped[number], last - first)
        for p in range(front, back):
            up, down = rows * cols if p > 0 else 0, rows * cols if p + 1 < planes else 0
            z = <real> scale_of(inverse[0], up, down)
            for r in range(top, bottom):
                above, below = cols if r > 0 else 0, cols if r + 1 < rows else 0
                y = <real> scale_of(inverse[1], above, below)
                for number in range(6):
                    clear(sums[number], last - first)
                for c in range(channels):
                    row = x + ((c * planes + p) * rows + r) * cols
                    at = left - first
                    add_products(
                        row, up, down, above, below, 1, 1, z, y, half * column, left, right, sums[ZZ] + at,
                        sums[YY] + at, sums[XX] + at, sums[ZY] + at, sums[ZX] + at, sums[YX] + at,
                    )
                    # A column at the border has one neighbour, or none.
                    if first == 0:
                        add_products(
                            row, up, down, above, below, 0, min(1, cols - 1), z, y, column, 0, 1, sums[ZZ], sums[YY],
                            sums[XX], sums[ZY], sums[ZX], sums[YX],
                        )
                    if last == cols and cols > 1:
                        at = cols - 1 - first
                        add_products(
                            row, up, down, above, below, 1, 0, z, y, column, cols - 1, cols, sums[ZZ] + at,
                            sums[YY] + at, sums[XX] + at, sums[ZY] + at, sums[ZX] + at, sums[YX] + at,
                        )
                add_damped(
                    sums[ZZ], sums[YY], sums[XX], sums[ZY], sums[ZX], sums[YX], damping / channels, last - first,
                    damped[ZZ], damped[YY], damped[XX], damped[ZY], damped[ZX], damped[YX],
                )
        at = (k * blocks[1] + i) * blocks[2]
        for number in range(6):
            join(damped[number], first, last, halved, share, out + number * apart + at)
        first = last


cdef inline real slope_at(
    const real *x, const unsigned char *present, Py_ssize_t j, Py_ssize_t before, Py_ssize_t behind
) noexcept nogil:
    # The mean of the differences to the neighbours, so far away (0: there is none), that are present.
    cdef int back = before > 0 and (present - before)[j], ahead = behind > 0 and present[j + behind]
    cdef real half = <real> 0.5, total = 0
    if back:
        total += x[j] - (x - before)[j]
    if ahead:
        total += x[j + behind] - x[j]
    return half * total if back and ahead else total


cdef void some_tensor_row(
    const real *x, const unsigned char *present, Py_ssize_t channels, const Py_ssize_t *sides, const Py_ssize_t *blocks,
    const double *inverse, real damping, Py_ssize_t k, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop, real *out,
) noexcept nogil:
    # As tensor_row, where some voxels are left out: the sums over those that are present, over the voxels of a block.
    cdef real[6][CHUNK] sums
    cdef real[6][CHUNK] damped
    cdef Py_ssize_t planes = sides[0], rows = sides[1], cols = sides[2], apart = blocks[0] * blocks[1] * blocks[2]
    cdef bint halved = blocks[2] != cols
    cdef Py_ssize_t first = 2 * start if halved else start, finish = min(2 * stop, cols) if halved else stop
    cdef Py_ssize_t front = first_covered(k, planes, blocks[0]), back = last_covered(k, planes, blocks[0]) + 1
    cdef Py_ssize_t top = first_covered(i, rows, blocks[1]), bottom = last_covered(i, rows, blocks[1]) + 1
    cdef Py_ssize_t last, c, p, r, j, at, place
    cdef real one = 1, share = one / (2 * channels * (back - front) * (bottom - top)), gz, gy, gx
    cdef int number
    while first < finish:
        last = min(first + CHUNK, finish)
        for number in range(6):
            clear(damped[number], last - first)
        for p in range(front, back):
            for r in range(top, bottom):
                for number in range(6):
                    clear(sums[number], last - first)
                for c in range(channels):
                    place = (p * rows + r) * cols
                    at = c * planes * rows * cols + place
                    for j in range(first, last):
                        if not present[place + j]:
                            continue
                        gz = <real> inverse[0] * slope_at(
                            x + at, present + place, j, rows * cols if p > 0 else 0,
                            rows * cols if p + 1 < planes else 0,
                        )
                        gy = <real> inverse[1] * slope_at(
                            x + at, present + place, j, cols if r > 0 else 0, cols if r + 1 < rows else 0
                        )
                        gx = <real> inverse[2] * slope_at(
                            x + at, present + place, j, 1 if j > 0 else 0, 1 if j + 1 < cols else 0
                        )
                        sums[ZZ][j - first] += gz * gz
                        sums[YY][j - first] += gy * gy
                        sums[XX][j - first] += gx * gx
                        sums[ZY][j - first] += gz * gy
                        sums[ZX][j - first] += gz * gx
                        sums[YX][j - first] += gy * gx
                add_damped(
                    sums[ZZ], sums[YY], sums[XX], sums[ZY], sums[ZX], sums[YX], damping / channels, last - first,
                    damped[ZZ], damped[YY], damped[XX], damped[ZY], damped[ZX], damped[YX],
                )
        at = (k * blocks[1] + i) * blocks[2]
        for number in range(6):
            join(damped[number], first, last, halved, share, out + number * apart + at)
        first = last


cdef void blur_row(
    const real *row, Py_ssize_t stride, Py_ssize_t i, Py_ssize_t n, Py_ssize_t start, Py_ssize_t stop,
    const double *taps, Py_ssize_t radius, real *out,
) noexcept nogil:
    # Along an axis of n rows, of which this one is number i, that stand so far apart.
    cdef Py_ssize_t j, k
    cdef real tap = <real> taps[0]
    cdef const real *before
    cdef const real *behind
    for j in range(start, stop):
        out[j] = tap * row[j]
    for k in range(1, radius + 1):
        before = row + (reflect(i - k, n) - i) * stride
        behind = row + (reflect(i + k, n) - i) * stride
        tap = <real> taps[k]
        for j in range(start, stop):
            out[j] += tap * (before[j] + behind[j])


cdef void blur_along_row(
    const real *row, Py_ssize_t cols, Py_ssize_t start, Py_ssize_t stop, const double *taps, Py_ssize_t radius,
    real *out,
) noexcept nogil:
    cdef real[CHUNK + 2 * MOST_RADIUS] padded
    cdef Py_ssize_t first = start, last, j, k, inner, end
    cdef const real *middle = padded + radius
    cdef real tap
    while first < stop:
        last = min(first + CHUNK, stop)
        inner, end = max(first - radius, 0), min(last + radius, cols)
        for j in range(first - radius, inner):
            padded[j - first + radius] = row[reflect(j, cols)]
        memcpy(padded + (inner - first + radius), row + inner, (end - inner) * sizeof(real))
        for j in range(end, last + radius):
            padded[j - first + radius] = row[reflect(j, cols)]
        tap = <real> taps[0]
        for j in range(last - first):
            out[first + j] = tap * middle[j]
        for k in range(1, radius + 1):
            tap = <real> taps[k]
            for j in range(last - first):
                out[first + j] += tap * ((middle - k)[j] + (middle + k)[j])
        first = last


# ---- the weights ----

cdef inline void rotate(
    real *app, real *aqq, real *apq, real *arp, real *arq, real *up, real *uq, real *vp, real *vq, real *wp, real *wq,
    Py_ssize_t width,
) noexcept nogil:
    # One of Jacobi's rotations, which makes the element pq of symmetric matrices 0; r is the third axis, and u, v and w
    # are the rows of the eigenvectors.
    cdef Py_ssize_t j
    cdef real one = 1, two = 2, tiny = <real> 1e-30
    cdef real twice, apart, root, t, c, s, shift, left, right
    for j in range(width):
        twice = two * apq[j]
        apart = aqq[j] - app[j]
        root = <real> sqrt(apart * apart + twice * twice) + tiny
        t = twice / (apart + (root if apart >= 0 else -root))
        c = one / <real> sqrt(one + t * t)
        s = t * c
        shift = t * apq[j]
        app[j] -= shift
        aqq[j] += shift
        apq[j] = 0
        left, right = arp[j], arq[j]
        arp[j] = c * left - s * right
        arq[j] = s * left + c * right
        left, right = up[j], uq[j]
        up[j] = c * left - s * right
        uq[j] = s * left + c * right
        left, right = vp[j], vq[j]
        vp[j] = c * left - s * right
        vq[j] = s * left + c * right
        left, right = wp[j], wq[j]
        wp[j] = c * left - s * right
        wq[j] = s * left + c * right


cdef inline real root_weight(real eigenvalue, real least, real trace, real inverse) noexcept nogil:
    # m, by an eigenvalue over the trace.
    cdef real one = 1, ratio = eigenvalue - least, strength
    ratio = ratio * ratio
    strength = trace * inverse * (ratio * ratio)
    return <real> sqrt(strength / (one + strength))


cdef inline void fill(real *values, real value, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(width):
        values[j] = value


cdef void orient_row(
    real *jzz, real *jyy, real *jxx, real *jzy, real *jzx, real *jyx, real inverse, real most, Py_ssize_t width
) noexcept nogil:
    # In place: the tensor becomes the weights, of at most EIGEN blocks.
    cdef real[EIGEN] azz
    cdef real[EIGEN] ayy
    cdef real[EIGEN] axx
    cdef real[EIGEN] azy
    cdef real[EIGEN] azx
    cdef real[EIGEN] ayx
    cdef real[EIGEN] ezz
    cdef real[EIGEN] ezy
    cdef real[EIGEN] ezx
    cdef real[EIGEN] eyz
    cdef real[EIGEN] eyy
    cdef real[EIGEN] eyx
    cdef real[EIGEN] exz
    cdef real[EIGEN] exy
    cdef real[EIGEN] exx
    cdef real[EIGEN] trace
    cdef Py_ssize_t j
    cdef real scale, least, one = 1, tiny = <real> 1e-20, mz, my, mx
    for j in range(width):
        trace[j] = (jzz[j] + jyy[j]) + jxx[j]
        scale = one / (trace[j] + tiny)
        azz[j] = scale * jzz[j]
        ayy[j] = scale * jyy[j]
        axx[j] = scale * jxx[j]
        azy[j] = scale * jzy[j]
        azx[j] = scale * jzx[j]
        ayx[j] = scale * jyx[j]
    fill(ezz, one, width)
    fill(eyy, one, width)
    fill(exx, one, width)
    clear(ezy, width)
    clear(ezx, width)
    clear(eyz, width)
    clear(eyx, width)
    clear(exz, width)
    clear(exy, width)
    for _ in range(ROTATIONS):
        rotate(azz, ayy, azy, azx, ayx, ezz, ezy, eyz, eyy, exz, exy, width)
        rotate(azz, axx, azx, azy, ayx, ezz, ezx, eyz, eyx, exz, exx, width)
        rotate(ayy, axx, ayx, azy, azx, ezy, ezx, eyy, eyx, exy, exx, width)
    for j in range(width):
        least = azz[j] if azz[j] < ayy[j] else ayy[j]
        least = least if least < axx[j] else axx[j]
        mz = most * root_weight(azz[j], least, trace[j], inverse)
        my = most * root_weight(ayy[j], least, trace[j], inverse)
        mx = most * root_weight(axx[j], least, trace[j], inverse)
        jzz[j] = (mz * ezz[j] * ezz[j] + my * ezy[j] * ezy[j]) + mx * ezx[j] * ezx[j]
        jyy[j] = (mz * eyz[j] * eyz[j] + my * eyy[j] * eyy[j]) + mx * eyx[j] * eyx[j]
        jxx[j] = (mz * exz[j] * exz[j] + my * exy[j] * exy[j]) + mx * exx[j] * exx[j]
        jzy[j] = (mz * ezz[j] * eyz[j] + my * ezy[j] * eyy[j]) + mx * ezx[j] * eyx[j]
        jzx[j] = (mz * ezz[j] * exz[j] + my * ezy[j] * exy[j]) + mx * ezx[j] * exx[j]
        jyx[j] = (mz * eyz[j] * exz[j] + my * eyy[j] * exy[j]) + mx * eyx[j] * exx[j]


cdef void spread_row(
    const real *a, const real *b, const real *c, const real *d, Py_ssize_t blocks, Py_ssize_t cols,
    Py_ssize_t start, Py_ssize_t stop, real *out,
) noexcept nogil:
    # Trilinear interpolation of means over blocks at the voxels from start, which is even, to before stop. The rows are
    # those of blocks that are near or far along the two outer axes.
    cdef real[HALF + 2] rows
    cdef real[HALF] even
    cdef real[HALF] odd
    cdef Py_ssize_t first = start, last, j, low, high, count
    if blocks == cols:
        for j in range(start, stop):
            out[j] = blend(a, b, c, d, j)
        return
    while first < stop:
        last = min(first + CHUNK, stop)
        low, high = first // 2, (last + 1) // 2
        count = high - low
        for j in range(count):
            rows[j + 1] = blend(a, b, c, d, low + j)
        rows[0] = blend(a, b, c, d, max(low - 1, 0))
        rows[count + 1] = blend(a, b, c, d, min(high, blocks - 1))
        for j in range(count):
            even[j] = mix(rows[j + 1], rows[j])
            odd[j] = mix(rows[j + 1], rows[j + 2])
        for j in range((last - first) // 2):
            out[first + 2 * j] = even[j]
            out[first + 2 * j + 1] = odd[j]
        if (last - first) % 2:
            out[last - 1] = even[count - 1]
        first = last


# ---- what is known around a voxel, how much neighbours differ ----

cdef inline Py_ssize_t window_length(Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    return min(i + REACH + 1, n) - max(i - REACH, 0)


cdef double known_around_row(
    const unsigned char *free, const Py_ssize_t *sides, Py_ssize_t k, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop,
    Py_ssize_t *count,
) noexcept nogil:
    # The sum over the free voxels of a row of the share of known ones around each, itself left out.
    cdef unsigned char[CHUNK + 2 * REACH] columns
    cdef Py_ssize_t rows = sides[1], cols = sides[2], first = start, last, j, n, p, r, inner, end, known, all
    cdef Py_ssize_t across = window_length(k, sides[0]) * window_length(i, rows)
    cdef const unsigned char *here = free + (k * rows + i) * cols
    cdef const unsigned char *row
    cdef double total = 0
    while first < stop:
        last = min(first + CHUNK, stop)
        known = 0
        for j in range(first, last):
            known += here[j]
        if known == 0:
            first = last
            continue
        count[0] += known
        inner, end = max(first - REACH, 0), min(last + REACH, cols)
        memset(columns, 0, CHUNK + 2 * REACH)
        for p in range(max(k - REACH, 0), min(k + REACH + 1, sides[0])):
            for r in range(max(i - REACH, 0), min(i + REACH + 1, rows)):
                row = free + (p * rows + r) * cols
                for j in range(inner, end):
                    columns[j - first + REACH] += 1 - row[j]
        for j in range(first, last):
            known = 0
            for n in range(2 * REACH + 1):
                known += columns[j - first + n]
            all = across * window_length(j, cols) - 1
            total += <double> (known * here[j]) / max(all, 1)
        first = last
    return total


cdef void differences_row(
    const real *x, const unsigned char *free, const unsigned char *present, Py_ssize_t step, Py_ssize_t start,
    Py_ssize_t stop, Py_ssize_t stop_bends, real most, double *totals,
) noexcept nogil:
    # Add the lengths and the squares of the differences of a row's voxels to those so far behind, where either is free
    # and, if some are left out, both are present, and how many these are, to totals, three numbers apart. A difference
    # counts as `most` at most: what stands out must not decide what is small. Then the squares of how much they differ
    # from the next ones, where these are as well, of the columns before stop_bends, and how many these are.
    cdef real[CHUNK] lengths
    cdef real[CHUNK] squares
    cdef real[CHUNK] bends
    cdef unsigned char[CHUNK] counts
    cdef Py_ssize_t first = start, last, j
    cdef real apart
    cdef int count = 0, bend_count = 0
    if stop <= start:
        return
    clear(lengths, min(stop - start, CHUNK))
    clear(squares, min(stop - start, CHUNK))
    clear(bends, min(stop - start, CHUNK))
    while first < stop:
        last = min(first + CHUNK, stop)
        for j in range(first, last):
            counts[j - first] = free[j] | free[j + step]
        if present != NULL:
            for j in range(first, last):
                counts[j - first] &= present[j] & present[j + step]
        for j in range(first, last):
            apart = clip(x[j] - x[j + step], -most, most) * <real> counts[j - first]
            lengths[j - first] += apart if apart > 0 else -apart
            squares[j - first] += apart * apart
        for j in range(last - first):
            count += counts[j]
        last = min(last, stop_bends)
        for j in range(first, last):
            counts[j - first] |= free[j + 2 * step]
        if present != NULL:
            for j in range(first, last):
                counts[j - first] &= present[j] & present[j + step] & present[j + 2 * step]
        for j in range(first, last):
            apart = clip(x[j] - x[j + step], -most, most) - clip(x[j + step] - x[j + 2 * step], -most, most)
            bends[j - first] += apart * apart * <real> counts[j - first]
            bend_count += counts[j - first]
        first = min(first + CHUNK, stop)
    totals[0] += flush_total(lengths, min(stop - start, CHUNK))
    totals[3] += flush_total(squares, min(stop - start, CHUNK))
    totals[6] += count
    totals[9] += flush_total(bends, min(stop - start, CHUNK))
    totals[12] += bend_count


# ---- the energy ----

cdef inline double squared_cell(const real *x, Py_ssize_t along, Py_ssize_t across) noexcept nogil:
    # The square of the mixed difference of a cell, whose other voxels are so far away; 0 if there is none.
    cdef double difference = (<double> x[0] + x[along + across]) - (<double> x[along] + x[across])
    return difference * difference


cdef double energy_row(
    const real *x, const Py_ssize_t *sides, const real *tensor, const Py_ssize_t *blocks, const double *inverse,
    const unsigned char *fits, double cells, Py_ssize_t channels, Py_ssize_t k, Py_ssize_t i, real *densities,
) noexcept nogil:
    # Of a row of all channels, by the weights that stand on the grid of the tensor. If densities is not NULL, it gets
    # those of the row's voxels, the means over the channels.
    cdef real[6][CHUNK] m
    cdef Py_ssize_t planes = sides[0], rows = sides[1], cols = sides[2], first = 0, last, c, j, near, far, above, below
    cdef Py_ssize_t up = rows * cols if 0 < k < planes - 1 else 0, over = cols if 0 < i < rows - 1 else 0
    cdef Py_ssize_t left, right, down = rows * cols if k < planes - 1 else 0, behind = cols if i < rows - 1 else 0
    cdef const real *row
    cdef const real *of_number
    cdef double squares, zy = inverse[0] * inverse[1], zx = inverse[0] * inverse[2], yx = inverse[1] * inverse[2]
    cdef double z = inverse[0] if up > 0 else 0, y = inverse[1] if over > 0 else 0, column, twice, total = 0
    cdef double hzz, hyy, hxx, hzy, hzx, hyx, mzz, myy, mxx, mzy, mzx, myx, own
    cdef double pzz, pzy, pzx, pyz, pyy, pyx, pxz, pxy, pxx
    cdef int number, which
    if densities != NULL:
        clear(densities, cols)
    near, far = near_side(k, planes, blocks[0]), far_side(k, planes, blocks[0])
    above, below = near_side(i, rows, blocks[1]), far_side(i, rows, blocks[1])
    while first < cols:
        last = min(first + CHUNK, cols)
        for number in range(6):
            of_number = tensor + number * blocks[0] * blocks[1] * blocks[2]
            spread_row(
                of_number + (near * blocks[1] + above) * blocks[2], of_number + (near * blocks[1] + below) * blocks[2],
                of_number + (far * blocks[1] + above) * blocks[2], of_number + (far * blocks[1] + below) * blocks[2],
                blocks[2], cols, first, last, m[number] - first,
            )
        for c in range(channels):
            row = x + ((c * planes + k) * rows + i) * cols
            for j in range(first, last):
                left = 1 if 0 < j < cols - 1 else 0
                column = inverse[2] if left else 0
                twice = 2 * <double> row[j]
                hzz = z * z * ((<double> (row - up)[j] + row[j + up]) - twice)
                hyy = y * y * ((<double> (row - over)[j] + row[j + over]) - twice)
                hxx = column * column * ((<double> (row - left)[j] + row[j + left]) - twice)
                hzy = z * y / 4 * (
                    (<double> (row - up - over)[j] + row[j + up + over])
                    - (<double> row[j - up + over] + row[j + up - over])
                )
                hzx = z * column / 4 * (
                    (<double> (row - up - left)[j] + row[j + up + left])
                    - (<double> row[j - up + left] + row[j + up - left])
                )
                hyx = y * column / 4 * (
                    (<double> (row - over - left)[j] + row[j + over + left])
                    - (<double> row[j - over + left] + row[j + over - left])
                )
                if fits != NULL:
                    which = fits[(k * rows + i) * cols + j]
                    hzz, hyy = only(hzz, which & FITS_ZZ), only(hyy, which & FITS_YY)
                    hxx, hzy = only(hxx, which & FITS_XX), only(hzy, which & FITS_ZY)
                    hzx, hyx = only(hzx, which & FITS_ZX), only(hyx, which & FITS_YX)
                mzz, myy, mxx = m[ZZ][j - first], m[YY][j - first], m[XX][j - first]
                mzy, mzx, myx = m[ZY][j - first], m[ZX][j - first], m[YX][j - first]
                pzz = mzz * hzz + mzy * hzy + mzx * hzx
                pzy = mzz * hzy + mzy * hyy + mzx * hyx
                pzx = mzz * hzx + mzy * hyx + mzx * hxx
                pyz = mzy * hzz + myy * hzy + myx * hzx
                pyy = mzy * hzy + myy * hyy + myx * hyx
                pyx = mzy * hzx + myy * hyx + myx * hxx
                pxz = mzx * hzz + myx * hzy + mxx * hzx
                pxy = mzx * hzy + myx * hyy + mxx * hyx
                pxx = mzx * hzx + myx * hyx + mxx * hxx
                right = 1 if j < cols - 1 else 0
                squares = (
                    zy * zy * squared_cell(row + j, down, behind) + zx * zx * squared_cell(row + j, down, right)
                    + yx * yx * squared_cell(row + j, behind, right)
                )
                # tr(M H M H) is the sum of the squares of M H, transposed.
                own = cells * squares + (
                    hzz * hzz + hyy * hyy + hxx * hxx + 2 * (1 - cells) * (hzy * hzy + hzx * hzx + hyx * hyx)
                    - (pzz * pzz + pyy * pyy + pxx * pxx + 2 * (pzy * pyz + pzx * pxz + pyx * pxy))
                ) / 2
                total += own
                if densities != NULL:
                    densities[j] += <real> (own / channels)
        first = last
    return total


# ---- where there is work ----

cdef inline Py_ssize_t sectors_of(Py_ssize_t cols) noexcept nogil:
    # A last column by itself belongs to the sector before it.
    cdef Py_ssize_t sectors = (cols + SECTOR - 1) // SECTOR
    return sectors - 1 if cols % SECTOR == 1 and sectors > 1 else sectors


cdef void occupy_row(
    const unsigned char *free, Py_ssize_t cols, Py_ssize_t sectors, unsigned char *out
) noexcept nogil:
    # Note in which sectors anything is free.
    cdef unsigned long long[2] words
    cdef unsigned char any = 0
    cdef Py_ssize_t s, j
    for s in range(cols // SECTOR):
        memcpy(words, free + s * SECTOR, SECTOR)
        out[s] |= (words[0] | words[1]) != 0
    for j in range(cols // SECTOR * SECTOR, cols):
        any |= free[j]
    if cols % SECTOR:
        out[min(cols // SECTOR, sectors - 1)] |= any


cdef inline Py_ssize_t volume_of(const int *box) noexcept nogil:
    return (<Py_ssize_t> box[1] - box[0]) * (box[3] - box[2]) * (box[5] - box[4])


cdef bint merge(int *box, const int *other) noexcept nogil:
    # Let a box cover another one too, where that adds little in which nothing is free.
    cdef int[6] both
    cdef int axis
    for axis in range(3):
        both[2 * axis] = min(box[2 * axis], other[2 * axis])
        both[2 * axis + 1] = max(box[2 * axis + 1], other[2 * axis + 1])
    if both[1] - both[0] > DEEPEST or both[3] - both[2] > TALLEST or both[5] - both[4] > WIDEST:
        return False
    if 4 * volume_of(both) > 5 * (volume_of(box) + volume_of(other)):
        return False
    memcpy(box, both, 6 * sizeof(int))
    return True


cdef bint box_of_cell(
    const unsigned char *occupied, const Py_ssize_t *sides, Py_ssize_t band, Py_ssize_t strip, Py_ssize_t s, int *box
) noexcept nogil:
    # The planes and rows of a cell from the first to the last in which anything is free; whether there are any.
    cdef Py_ssize_t k, i, sectors = sectors_of(sides[2])
    cdef bint any = False
    for k in range(band * CELL, min((band + 1) * CELL, sides[0])):
        for i in range(strip * CELL, min((strip + 1) * CELL, sides[1])):
            if not occupied[(k * sides[1] + i) * sectors + s]:
                continue
            if not any:
                box[0], box[2], box[3] = <int> k, <int> i, <int> i
                any = True
            box[1] = <int> k + 1
            box[2], box[3] = min(box[2], <int> i), max(box[3], <int> i + 1)
    box[4], box[5] = <int> (s * SECTOR), <int> (sides[2] if s == sectors - 1 else (s + 1) * SECTOR)
    return any


cdef Py_ssize_t find_tiles(
    const unsigned char *occupied, const Py_ssize_t *sides, int *open_above, int *open_before, int *tiles
) noexcept nogil:
    # Boxes of cells side by side become one tile, then tiles that touch along the rows, then along the planes, where
    # they have the same columns, or rows and columns. open_above and open_before hold, for each sector, and for each
    # strip of rows and sector, the tile that begins there and may grow, or -1. Return how many tiles there are.
    cdef Py_ssize_t bands = (sides[0] + CELL - 1) // CELL, strips = (sides[1] + CELL - 1) // CELL
    cdef Py_ssize_t sectors = sectors_of(sides[2]), band, strip, s, count = 0, begun, of_strip, k, n, at
    cdef int[6] box
    cdef int *tile
    cdef int *other
    for k in range(strips * sectors):
        open_before[k] = -1
    for band in range(bands):
        begun = count
        for s in range(sectors):
            open_above[s] = -1
        for strip in range(strips):
            of_strip = count
            for s in range(sectors):
                if not box_of_cell(occupied, sides, band, strip, s, box):
                    continue
                tile = tiles + 6 * (count - 1)
                if count > of_strip and tile[5] == box[4] and merge(tile, box):
                    continue
                memcpy(tiles + 6 * count, box, sizeof(box))
                count += 1
            n = of_strip
            for k in range(of_strip, count):
                tile = tiles + 6 * k
                s = tile[4] // SECTOR
                other = tiles + 6 * open_above[s]
                if (
                    open_above[s] >= 0 and other[3] == tile[2] and other[4] == tile[4] and other[5] == tile[5]
                    and merge(other, tile)
                ):
                    continue
                memcpy(tiles + 6 * n, tile, 6 * sizeof(int))
                open_above[s] = <int> n
                n += 1
            count = n
        n = begun
        for k in range(begun, count):
            tile = tiles + 6 * k
            at = tile[2] // CELL * sectors + tile[4] // SECTOR
            other = tiles + 6 * open_before[at]
            if (
                open_before[at] >= 0 and other[1] == tile[0] and memcmp(other + 2, tile + 2, 4 * sizeof(int)) == 0
                and merge(other, tile)
            ):
                continue
            memcpy(tiles + 6 * n, tile, 6 * sizeof(int))
            open_before[at] = <int> n
            n += 1
        count = n
    return count


# ---- parts of a job ----

cdef enum:
    TENSOR = 0
    BLUR = 1
    ORIENT = 2
    SPREAD = 3
    DIFFERENCES = 4
    KNOWN_AROUND = 5
    ENERGY = 6


cdef struct Job:
    # What the kernels below hand to the tiles or spans of a volume; each sets what is read for its own.
    bint single  # x and out are float, or else double
    int task  # one of those above, or of a walk over a tile
    Py_ssize_t channels
    Py_ssize_t[3] sides
    Py_ssize_t[3] blocks
    double[3] inverse  # one over the distances of neighbours
    const void *x
    const void *previous
    const void *steps
    Py_ssize_t steps_apart  # from one channel's to the next one's
    const void *data
    const void *pull
    const unsigned char *free
    const unsigned char *present  # 0 where a voxel is left out; NULL where none is
    Py_ssize_t masks
    Weights weights
    const int *places  # tiles or spans
    Py_ssize_t count  # of spans
    Py_ssize_t height  # spans of a part
    const double *taps
    Py_ssize_t radius
    int axis
    double momentum
    double low
    double high
    double most  # of a voxel's move or difference, in sums; or of weights
    double scale  # the inverse of the square of a contrast or of a strength
    double safety
    double floor
    double cells  # the share of the cells
    double *sums_out
    Py_ssize_t *counts_out
    char *room  # a tile's, for each seat
    void *out


cdef inline double do_span(
    const Job *job, const real *x, real *out, Py_ssize_t k, Py_ssize_t i, Py_ssize_t start, Py_ssize_t stop,
    double *totals,
) noexcept nogil:
    # Of row i in plane k the columns, or blocks, from start to before stop. Sums are returned, or added to totals.
    cdef Py_ssize_t rows = job.sides[1], cols = job.sides[2], plane = rows * cols, at = (k * rows + i) * cols
    cdef Py_ssize_t apart = job.blocks[0] * job.blocks[1] * job.blocks[2], c, near, far, above, below
    cdef const unsigned char *free
    cdef const unsigned char *present = NULL
    cdef double total = 0
    if job.task == TENSOR and job.present != NULL:
        some_tensor_row(
            x, job.present, job.channels, job.sides, job.blocks, job.inverse, <real> job.scale, k, i, start, stop, out
        )
    elif job.task == TENSOR:
        tensor_row(
            x, job.channels, job.sides, job.blocks, job.inverse, <real> job.scale, k, i, start, stop, out
        )
    elif job.task == BLUR:
        at = (k * job.blocks[1] + i) * job.blocks[2]
        for _ in range(job.channels):
            if job.axis == 0:
                blur_row(
                    x + at, job.blocks[1] * job.blocks[2], k, job.blocks[0], start, stop, job.taps, job.radius, out + at
                )
            elif job.axis == 1:
                blur_row(x + at, job.blocks[2], i, job.blocks[1], start, stop, job.taps, job.radius, out + at)
            else:
                blur_along_row(x + at, job.blocks[2], start, stop, job.taps, job.radius, out + at)
            at += apart
    elif job.task == ORIENT:
        at = (k * job.blocks[1] + i) * job.blocks[2]
        while start < stop:
            orient_row(
                out + at + start, out + apart + at + start, out + 2 * apart + at + start, out + 3 * apart + at + start,
                out + 4 * apart + at + start, out + 5 * apart + at + start, <real> job.scale, <real> job.most,
                min(EIGEN, stop - start),
            )
            start += EIGEN
    elif job.task == SPREAD:
        near, far = near_side(k, job.sides[0], job.blocks[0]), far_side(k, job.sides[0], job.blocks[0])
        above, below = near_side(i, rows, job.blocks[1]), far_side(i, rows, job.blocks[1])
        for _ in range(job.channels):
            spread_row(
                x + (near * job.blocks[1] + above) * job.blocks[2], x + (near * job.blocks[1] + below) * job.blocks[2],
                x + (far * job.blocks[1] + above) * job.blocks[2], x + (far * job.blocks[1] + below) * job.blocks[2],
                job.blocks[2], cols, start, stop, out + at,
            )
            x += apart
            out += job.sides[0] * plane
    elif job.task == DIFFERENCES:
        if job.present != NULL:
            present = job.present + at
        for c in range(job.channels):
            free = job.free + c % job.masks * job.sides[0] * plane + at
            if k + 1 < job.sides[0]:
                differences_row(
                    x + at, free, present, plane, start, stop, stop if k + 2 < job.sides[0] else start,
                    <real> job.most, totals,
                )
            if i + 1 < rows:
                differences_row(
                    x + at, free, present, cols, start, stop, stop if i + 2 < rows else start, <real> job.most,
                    totals + 1,
                )
            differences_row(
                x + at, free, present, 1, start, min(stop, cols - 1), min(stop, cols - 2), <real> job.most, totals + 2
            )
            x += job.sides[0] * plane
    elif job.task == ENERGY:
        total = energy_row(
            x, job.sides, <const real *> job.weights.m, job.blocks, job.inverse, job.weights.fits, job.cells,
            job.channels, k, i,
            NULL if out == NULL else out + at,
        )
    return total


cdef void do_spans(void *argument, Py_ssize_t part) noexcept nogil:
    cdef Job *job = <Job *> argument
    cdef Py_ssize_t n, count = 0
    cdef const int *span
    cdef double total = 0
    cdef double[15] totals
    memset(totals, 0, sizeof(totals))
    for n in range(part * job.height, min((part + 1) * job.height, job.count)):
        span = job.places + 4 * n
        if job.task == KNOWN_AROUND:
            total += known_around_row(job.free, job.sides, span[0], span[1], span[2], span[3], &count)
        elif job.single:
            total += do_span(
                job, <const float *> job.x, <float *> job.out, span[0], span[1], span[2], span[3], totals
            )
        else:
            total += do_span(
                job, <const double *> job.x, <double *> job.out, span[0], span[1], span[2], span[3], totals
            )
    if job.task == DIFFERENCES:
        memcpy(job.sums_out + 15 * part, totals, sizeof(totals))
    elif job.sums_out != NULL:
        job.sums_out[part] = total
        if job.counts_out != NULL:
            job.counts_out[part] = count


cdef inline Py_ssize_t part_count(const Job *job) noexcept nogil:
    return (job.count + job.height - 1) // job.height


cdef void run_spans(Job *job, int task, int threads) noexcept nogil:
    job.task = task
    run_parts(&do_spans, job, part_count(job), threads)


cdef inline void do_tile_of(
    const Job *job, const real *x, real *out, real *room, Py_ssize_t k
) noexcept nogil:
    # The channels of a given tile one after the other: its weights are still in the cache.
    cdef Py_ssize_t volume = job.sides[0] * job.sides[1] * job.sides[2], c, p, r, at
    cdef const int *bounds = job.places + 6 * k
    cdef Tile tile = tile_of(bounds)
    cdef const real *data = NULL
    cdef const real *pull = NULL
    for c in range(job.channels):
        if job.pull != NULL:
            data = <const real *> job.data + c * volume
            pull = <const real *> job.pull + c * job.steps_apart
        walk_tile(
            x + c * volume, <const real *> job.previous + c * volume, job.sides[0], job.sides[1], job.sides[2],
            &job.weights, job.inverse, <real> job.cells, tile, <const real *> job.steps + c * job.steps_apart,
            data, pull, <real> job.momentum, <real> job.low, <real> job.high, <real> job.most,
            job.sums_out + 2 * (k * job.channels + c) if job.task == STEP else NULL, job.task, room, out + c * volume,
        )
    if job.task != DIAGONAL:
        return
    # The diagonal stands where the first mask's steps will.
    for c in range(job.masks - 1, -1, -1):
        for p in range(tile.front, tile.back):
            for r in range(tile.top, tile.bottom):
                at = (p * job.sides[1] + r) * job.sides[2] + tile.start
                steps_row(
                    out + at, job.free + c * volume + at, <real> job.safety, <real> job.floor,
                    tile.stop - tile.start, out + c * volume + at,
                )


cdef void do_tile(void *argument, Py_ssize_t k, Py_ssize_t seat) noexcept nogil:
    cdef Job *job = <Job *> argument
    cdef char *room = job.room + seat * tile_room(sizeof(float) if job.single else sizeof(double))
    if job.single:
        do_tile_of(job, <const float *> job.x, <float *> job.out, <float *> room, k)
    else:
        do_tile_of(job, <const double *> job.x, <double *> job.out, <double *> room, k)


# ---- what Python calls ----

cdef int require_sides(const real[:, :, :, ::1] x, const real[:, :, :, ::1] other, str name, bint channels) except -1:
    cdef int axis
    for axis in range(0 if channels else 1, 4):
        require(other.shape[axis] == x.shape[axis], name + " must have the shape of x")
    return 0


cdef int require_free(const real[:, :, :, ::1] x, const unsigned char[:, :, :, ::1] free) except -1:
    require(free.shape[0] == 1 or free.shape[0] == x.shape[0], "free must have one mask, or one for each channel")
    require(
        free.shape[1] == x.shape[1] and free.shape[2] == x.shape[2] and free.shape[3] == x.shape[3],
        "free must have the planes, rows and columns of x",
    )
    return 0


cdef int require_tiles(const int[:, ::1] tiles, const Py_ssize_t *sides) except -1:
    cdef Py_ssize_t n
    cdef int axis
    require(tiles.shape[1] == 6, "tiles must have shape (tiles, 6)")
    for n in range(tiles.shape[0]):
        for axis in range(3):
            require(
                0 <= tiles[n, 2 * axis] < tiles[n, 2 * axis + 1] <= sides[axis], "tiles must lie within the volume"
            )
        require(tiles[n, 3] - tiles[n, 2] <= TALLEST, "tiles must have 32 rows at most")
        require(
            tiles[n, 5] - tiles[n, 4] <= WIDEST and tiles[n, 4] != 1 and tiles[n, 5] != sides[2] - 1,
            "tiles must have 256 columns at most, and leave none or more than one at the border",
        )
    return 0


cdef int require_spans(const int[:, ::1] spans, const Py_ssize_t *sides) except -1:
    cdef Py_ssize_t n
    require(spans.shape[1] == 4, "spans must have shape (spans, 4)")
    for n in range(spans.shape[0]):
        require(
            0 <= spans[n, 0] < sides[0] and 0 <= spans[n, 1] < sides[1] and 0 <= spans[n, 2] <= spans[n, 3] <= sides[2]
            and spans[n, 2] % 2 == 0,
            "spans must lie within the volume, and start at even columns",
        )
    return 0


cdef int require_blocks(const Py_ssize_t *sides, const Py_ssize_t *blocks) except -1:
    cdef int axis
    for axis in range(3):
        require(
            blocks[axis] == sides[axis] or blocks[axis] == (sides[axis] + 1) // 2,
            "each axis of the tensor must be as long as that of x, or half of it, rounded up",
        )
    return 0


cdef int set_places(Job *job, const int[:, ::1] places, const Py_ssize_t *sides, bint tiles) except -1:
    if tiles:
        require_tiles(places, sides)
    else:
        require_spans(places, sides)
    job.count = places.shape[0]
    job.height = rows_of_a_part(sides[2])
    job.places = &places[0, 0] if job.count > 0 else NULL
    return 0


cdef int set_inverse(Job *job, const double[::1] spacing) except -1:
    cdef int axis
    require(spacing.shape[0] == 3, "spacing must have three numbers")
    for axis in range(3):
        require(spacing[axis] > 0, "spacing must be positive")
        job.inverse[axis] = 1 / spacing[axis]
    return 0


cdef Job job_on(const real[:, :, :, ::1] x) except *:
    cdef Job job
    cdef int axis
    memset(&job, 0, sizeof(Job))
    for axis in range(4):
        require(x.shape[axis] > 0, "x must not be empty")
    for axis in range(3):
        job.sides[axis] = job.blocks[axis] = x.shape[1 + axis]
    job.single = real is float
    job.channels = job.masks = x.shape[0]
    job.x = job.previous = &x[0, 0, 0, 0]
    return job


cdef int set_cells(Job *job, double cells) except -1:
    require(0 <= cells <= 1, "cells must be from 0 to 1")
    require(cells == 0 or job.weights.fits == NULL, "cells must be 0 where fits is given")
    job.cells = cells
    return 0


cdef int set_weights(Job *job, const real[:, :, :, ::1] weights, double cells) except -1:
    require(weights.shape[0] == 6, "weights must have six numbers for each voxel")
    require(
        weights.shape[1] == job.sides[0] and weights.shape[2] == job.sides[1] and weights.shape[3] == job.sides[2],
        "weights must have the planes, rows and columns of x",
    )
    set_cells(job, cells)
    job.weights.m, job.weights.apart = &weights[0, 0, 0, 0], job.sides[0] * job.sides[1] * job.sides[2]
    return 0


cdef int set_fits(Job *job, const unsigned char[:, :, ::1] fits) except -1:
    if fits is None:
        return 0
    require_whole(job, fits, "fits")
    job.weights.fits = &fits[0, 0, 0]
    return 0


cdef int set_present(Job *job, const unsigned char[:, :, ::1] present) except -1:
    if present is None:
        return 0
    require_whole(job, present, "present")
    job.present = &present[0, 0, 0]
    return 0


cdef int require_whole(const Job *job, const unsigned char[:, :, ::1] flags, str name) except -1:
    cdef int axis
    for axis in range(3):
        require(flags.shape[axis] == job.sides[axis], name + " must have the planes, rows and columns of x")
    return 0


cdef int set_room(Job *job, unsigned char[::1] room, int threads) except -1:
    require(
        <size_t> room.shape[0] >= room_of(job.single, threads), "room must have as many bytes as workspace() tells"
    )
    job.room = <char *> ((<size_t> &room[0] + 63) // 64 * 64)
    return 0


cdef size_t room_of(bint single, int threads) noexcept:
    return max(threads, 1) * tile_room(sizeof(float) if single else sizeof(double)) + 64


def workspace(bint single, int threads):
    """Return how many bytes of room the kernels that go over tiles need."""
    return room_of(single, threads)


def occupied(const unsigned char[:, :, :, ::1] free not None, unsigned char[:, :, ::1] out not None):
    """Write to out, of shape (planes, rows, sectors), whether anything is free (1) in each sector of a row.

    A sector is 16 columns; a last column by itself belongs to the one before. free has any number of masks.
    """
    cdef Py_ssize_t c, k, i, masks = free.shape[0], planes = free.shape[1], rows = free.shape[2], cols = free.shape[3]
    cdef Py_ssize_t sectors = sectors_of(cols)
    require(masks > 0 and planes > 0 and rows > 0 and cols > 0, "free must not be empty")
    require(
        out.shape[0] == planes and out.shape[1] == rows and out.shape[2] == sectors,
        "out must have shape (planes, rows, sectors)",
    )
    with nogil:
        memset(&out[0, 0, 0], 0, planes * rows * sectors)
        for c in range(masks):
            for k in range(planes):
                for i in range(rows):
                    occupy_row(&free[c, k, i, 0], cols, sectors, &out[k, i, 0])


def tiles(
    const unsigned char[:, :, ::1] occupied not None,
    Py_ssize_t cols,
    int[::1] scratch not None,
    int[:, ::1] tiles_out not None,
):
    """Write the tiles in which something is free to tiles_out; return how many there are.

    There is room for one in each cell of 8 planes, 8 rows and one sector; scratch has rows / 8 + 1, rounded up, numbers
    for each sector.
    """
    cdef Py_ssize_t[3] sides
    cdef Py_ssize_t bands = (occupied.shape[0] + CELL - 1) // CELL, strips = (occupied.shape[1] + CELL - 1) // CELL
    cdef Py_ssize_t sectors = sectors_of(cols), count
    sides[0], sides[1], sides[2] = occupied.shape[0], occupied.shape[1], cols
    require(sides[0] > 0 and sides[1] > 0 and cols > 0, "occupied must not be empty")
    require(occupied.shape[2] == sectors, "occupied must have the sectors of so many columns")
    require(scratch.shape[0] >= (strips + 1) * sectors, "scratch must have rows / 8 + 1 numbers for each sector")
    require(
        tiles_out.shape[0] >= bands * strips * sectors and tiles_out.shape[1] == 6,
        "tiles_out must have shape (cells, 6)",
    )
    with nogil:
        count = find_tiles(&occupied[0, 0, 0], sides, &scratch[0], &scratch[sectors], &tiles_out[0, 0])
    return count


def tensor(
    const real[:, :, :, ::1] x not None,
    double contrast,
    const double[::1] spacing not None,
    const int[:, ::1] spans not None,
    int threads,
    real[:, :, :, ::1] out not None,
    const unsigned char[:, :, ::1] present=None,
):
    """Write the structure tensor of x, damped where gradients exceed the contrast, to the spans of out.

    out, of shape (6, block planes, block rows, block columns), has the means over blocks and channels. Voxels that are
    not present (0) count as if nothing were there, whatever finite number they hold.
    """
    cdef Job job = job_on(x)
    cdef int axis
    set_present(&job, present)
    require(contrast > 0, "contrast must be positive")
    require(out.shape[0] == 6, "out must have six numbers for each block")
    for axis in range(3):
        job.blocks[axis] = out.shape[1 + axis]
    require_blocks(job.sides, job.blocks)
    set_inverse(&job, spacing)
    set_places(&job, spans, job.blocks, False)
    job.scale, job.out = 1 / (contrast * contrast), &out[0, 0, 0, 0]
    with nogil:
        run_spans(&job, TENSOR, threads)


def blur(
    const real[:, :, :, ::1] tensor not None,
    const double[::1] taps not None,
    int axis,
    const int[:, ::1] spans not None,
    int threads,
    real[:, :, :, ::1] out not None,
):
    """Convolve a tensor with the symmetric kernel taps (centre first) along an axis of space, reflecting the borders.

    The spans of out, of the shape of the tensor, are written. It may have any number of planes of numbers.
    """
    cdef Job job = job_on(tensor)
    require_sides(tensor, out, "out", True)
    require(0 < taps.shape[0] <= MOST_RADIUS + 1, "taps must be 1 to 33")
    require(0 <= axis < 3, "axis must be 0, 1 or 2")
    set_places(&job, spans, job.sides, False)
    job.axis, job.taps, job.radius, job.out = axis, &taps[0], taps.shape[0] - 1, &out[0, 0, 0, 0]
    with nogil:
        run_spans(&job, BLUR, threads)


def orient(
    double strength, double most, const int[:, ::1] spans not None, int threads, real[:, :, :, ::1] tensor not None
):
    """Turn the spans of a blurred tensor into weights, in place."""
    cdef Job job = job_on(tensor)
    require(tensor.shape[0] == 6, "tensor must have six numbers for each block")
    require(strength > 0, "strength must be positive")
    require(0 <= most <= 1, "most must be from 0 to 1")
    set_places(&job, spans, job.sides, False)
    job.scale, job.most, job.out = 1 / (strength * strength), most, &tensor[0, 0, 0, 0]
    with nogil:
        run_spans(&job, ORIENT, threads)


def spread(
    const real[:, :, :, ::1] tensor not None,
    const int[:, ::1] spans not None,
    int threads,
    real[:, :, :, ::1] weights_out not None,
):
    """Interpolate the weights of blocks, or any planes of numbers, at the voxels of the spans, trilinearly."""
    cdef Job job = job_on(weights_out)
    cdef int axis
    require(tensor.shape[0] == weights_out.shape[0], "weights_out must have as many numbers for each voxel as tensor")
    for axis in range(3):
        job.blocks[axis] = tensor.shape[1 + axis]
    require_blocks(job.sides, job.blocks)
    set_places(&job, spans, job.sides, False)
    job.x, job.out = &tensor[0, 0, 0, 0], &weights_out[0, 0, 0, 0]
    with nogil:
        run_spans(&job, SPREAD, threads)


def step_sizes(
    const unsigned char[:, :, :, ::1] free not None,
    const real[:, :, :, ::1] weights not None,
    double cells,
    const double[::1] spacing not None,
    double safety,
    double floor,
    const int[:, ::1] tiles not None,
    int threads,
    unsigned char[::1] room not None,
    real[:, :, :, ::1] steps_out not None,
    const unsigned char[:, :, ::1] fits=None,
):
    """Write 1 / (safety max(diagonal, floor)) to the tiles of steps_out where a voxel is free, 0 elsewhere.

    steps_out has as many channels as there are masks. fits, if given, has a bit for each second difference that is left
    at a voxel: 1 and 2 and 4 of those along planes, rows and columns, 8 of plane-row, 16 of plane-column, 32 of
    row-column; none that goes beyond the volume.
    """
    cdef Job job = job_on(steps_out)
    set_fits(&job, fits)
    require_free(steps_out, free)
    require(free.shape[0] == steps_out.shape[0], "steps_out must have the shape of free")
    set_weights(&job, weights, cells)
    set_inverse(&job, spacing)
    set_places(&job, tiles, job.sides, True)
    set_room(&job, room, threads)
    job.channels, job.free, job.safety, job.floor = 1, &free[0, 0, 0, 0], safety, floor
    job.steps, job.out, job.task = job.x, &steps_out[0, 0, 0, 0], DIAGONAL
    with nogil:
        run_seated(&do_tile, &job, job.count, threads)


def gradient(
    const real[:, :, :, ::1] x not None,
    const real[:, :, :, ::1] weights not None,
    double cells,
    const double[::1] spacing not None,
    const int[:, ::1] tiles not None,
    int threads,
    unsigned char[::1] room not None,
    real[:, :, :, ::1] out not None,
    const unsigned char[:, :, ::1] fits=None,
):
    """Write the gradient at x, with the weights as they are given, to the tiles of out; fits as in `step_sizes`."""
    cdef Job job = job_on(x)
    set_fits(&job, fits)
    require_sides(x, out, "out", True)
    set_weights(&job, weights, cells)
    set_inverse(&job, spacing)
    set_places(&job, tiles, job.sides, True)
    set_room(&job, room, threads)
    job.steps, job.out, job.task = job.x, &out[0, 0, 0, 0], GRADIENT
    with nogil:
        run_seated(&do_tile, &job, job.count, threads)


def accelerate(
    const real[:, :, :, ::1] x not None,
    const real[:, :, :, ::1] previous not None,
    const real[:, :, :, ::1] steps not None,
    double momentum,
    double low,
    double high,
    double most,
    const real[:, :, :, ::1] weights not None,
    double cells,
    const double[::1] spacing not None,
    const int[:, ::1] tiles not None,
    int threads,
    unsigned char[::1] room not None,
    double[:, :, ::1] totals_out not None,
    real[:, :, :, ::1] out not None,
    const unsigned char[:, :, ::1] fits=None,
    const real[:, :, :, ::1] data=None,
    const real[:, :, :, ::1] pull=None,
):
    """Take one step of accelerated descent in one pass over the tiles.

    v = x + momentum (x - previous); out = clip(v - steps gradient(v), low, high) where steps is positive, x elsewhere.
    steps has the channels of x, or one for all. totals_out, of shape (tiles, channels, 2), gets the sums of (out - x)^2
    and of (v - out)(out - x), whose factors count as `most` at most. fits as in `step_sizes`. With data, of the shape
    of x, and pull, of that of steps, a step subtracts pull (v - data) as well.
    """
    cdef Job job = job_on(x)
    set_fits(&job, fits)
    require((data is None) == (pull is None), "data and pull must be given together")
    if data is not None:
        require_sides(x, data, "data", True)
        require_sides(steps, pull, "pull", True)
        job.data, job.pull = &data[0, 0, 0, 0], &pull[0, 0, 0, 0]
    require_sides(x, previous, "previous", True)
    require_sides(x, out, "out", True)
    require_sides(x, steps, "steps", steps.shape[0] != 1)
    require(
        totals_out.shape[0] == tiles.shape[0] and totals_out.shape[1] == x.shape[0] and totals_out.shape[2] == 2,
        "totals_out must have shape (tiles, channels, 2)",
    )
    set_weights(&job, weights, cells)
    set_inverse(&job, spacing)
    set_places(&job, tiles, job.sides, True)
    set_room(&job, room, threads)
    job.previous, job.steps = &previous[0, 0, 0, 0], &steps[0, 0, 0, 0]
    job.steps_apart = 0 if steps.shape[0] == 1 else job.weights.apart
    job.momentum, job.low, job.high, job.most = momentum, low, high, most
    job.out, job.task = &out[0, 0, 0, 0], STEP
    if job.count > 0:
        job.sums_out = &totals_out[0, 0, 0]
    with nogil:
        run_seated(&do_tile, &job, job.count, threads)


cdef double total_of(Job *job) noexcept nogil:
    cdef Py_ssize_t part
    cdef double total = 0
    for part in range(part_count(job)):
        total += job.sums_out[part]
    return total


cdef int set_sums(Job *job, double[::1] sums) except -1:
    require(sums.shape[0] >= max(part_count(job), 1), "sums must have a number for each part")
    job.sums_out = &sums[0]
    return 0


def differences(
    const real[:, :, :, ::1] x not None,
    const unsigned char[:, :, :, ::1] free not None,
    double most,
    const int[:, ::1] spans not None,
    int threads,
    double[:, ::1] sums not None,
    const unsigned char[:, :, ::1] present=None,
):
    """Return sums over the differences between neighbours of which one at least is free, along each of the three axes.

    The first three are of their lengths, the next of their squares, then how many there are; then of the squares of how
    much each differs from the next one, of which one voxel at least is free, and how many these are. A difference
    counts as `most` at most, and is that of a voxel in a span to the next one along an axis; all voxels must be present
    (1), if that is given. sums, fifteen numbers for each part, is scratch.
    """
    cdef Job job = job_on(x)
    cdef Py_ssize_t part
    cdef int n
    set_present(&job, present)
    require_free(x, free)
    set_places(&job, spans, job.sides, False)
    require(
        sums.shape[0] >= max(part_count(&job), 1) and sums.shape[1] == 15,
        "sums must have fifteen numbers for each part",
    )
    job.free, job.masks, job.most, job.sums_out = &free[0, 0, 0, 0], free.shape[0], most, &sums[0, 0]
    with nogil:
        run_spans(&job, DIFFERENCES, threads)
    return [sum([sums[part, n] for part in range(part_count(&job))]) for n in range(15)]


def known_around(
    const unsigned char[:, :, ::1] free not None,
    const int[:, ::1] spans not None,
    int threads,
    double[::1] sums not None,
    Py_ssize_t[::1] counts not None,
):
    """Return the sum over the free voxels (1) of the share of known ones (0) around each, and how many these are.

    Around is the window of 7 x 7 x 7 voxels, cut at the border, but for the voxel itself. The free voxels are those in
    the spans. sums and counts, a number for each part, are scratch.
    """
    cdef Job job
    cdef Py_ssize_t part, count = 0
    cdef int axis
    memset(&job, 0, sizeof(Job))
    for axis in range(3):
        require(free.shape[axis] > 0, "free must not be empty")
        job.sides[axis] = free.shape[axis]
    set_places(&job, spans, job.sides, False)
    set_sums(&job, sums)
    require(counts.shape[0] >= max(part_count(&job), 1), "counts must have a number for each part")
    job.free, job.counts_out = &free[0, 0, 0], &counts[0]
    with nogil:
        run_spans(&job, KNOWN_AROUND, threads)
    for part in range(part_count(&job)):
        count += counts[part]
    return total_of(&job), count


def energy(
    const real[:, :, :, ::1] x not None,
    const real[:, :, :, ::1] tensor not None,
    double cells,
    const double[::1] spacing not None,
    const int[:, ::1] spans not None,
    int threads,
    double[::1] sums not None,
    const unsigned char[:, :, ::1] fits=None,
    real[:, :, ::1] densities_out=None,
):
    """Return the energy of the rows of the spans, which are whole, by the weights that stand on the tensor's grid.

    densities_out, if given, gets each voxel's energy, the mean over the channels. fits as in `step_sizes`. sums, a
    number for each part, is scratch.
    """
    cdef Job job = job_on(x)
    cdef Py_ssize_t n
    cdef int axis
    set_fits(&job, fits)
    if densities_out is not None:
        for axis in range(3):
            require(densities_out.shape[axis] == x.shape[1 + axis], "densities_out must have the shape of a channel")
        job.out = &densities_out[0, 0, 0]
    require(tensor.shape[0] == 6, "tensor must have six numbers for each block")
    for axis in range(3):
        job.blocks[axis] = tensor.shape[1 + axis]
    require_blocks(job.sides, job.blocks)
    set_inverse(&job, spacing)
    set_places(&job, spans, job.sides, False)
    for n in range(spans.shape[0]):
        require(spans[n, 2] == 0 and spans[n, 3] == job.sides[2], "spans must be whole rows")
    set_sums(&job, sums)
    set_cells(&job, cells)
    job.weights.m = &tensor[0, 0, 0, 0]
    with nogil:
        run_spans(&job, ENERGY, threads)
    return total_of(&job)
