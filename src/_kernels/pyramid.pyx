"""Pull-push: fill unknown pixels from averages of known ones on ever coarser grids.

``pull`` makes the next coarser level: each of its pixels is the mean of the known ones among the (at most) 2 x 2 that
it covers, and known if one of them is. ``push`` goes back: where the finer level is unknown it is interpolated
bilinearly, pixel centres at half-integers, the border repeated. Each is one pass; rows are shared out to threads. Of
volumes an axis may keep its length, where its voxels are far apart.
"""

from libc.string cimport memset

include "rows.pxi"
include "threads.pxi"


include "pyramid.pxi"


cdef struct Job:
    bint single  # fine and coarse are float, or else double
    bint up  # push, or else pull
    Py_ssize_t height  # rows of a part
    Py_ssize_t rows  # of the fine level
    Py_ssize_t cols
    Py_ssize_t coarse_rows
    Py_ssize_t coarse_cols
    Py_ssize_t unknown  # pixels that a pull leaves
    void *fine
    void *coarse
    const unsigned char *free
    unsigned char *free_out


cdef inline void do_row(Job *job, real *fine, real *coarse, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t cols = job.cols, far
    if job.up:
        far = max(0, min(i // 2 + (1 if i & 1 else -1), job.coarse_rows - 1))
        push_row(
            coarse + i // 2 * job.coarse_cols, coarse + far * job.coarse_cols, job.free + i * cols, cols,
            fine + i * cols,
        )
        return
    # Where a row (or a column) has no other beside it, it is taken twice, which does not change the mean.
    far = min(2 * i + 1, job.rows - 1)
    add(
        &job.unknown,
        pull_row(
            fine + 2 * i * cols, fine + far * cols, job.free + 2 * i * cols, job.free + far * cols, cols,
            coarse + i * job.coarse_cols, job.free_out + i * job.coarse_cols,
        ),
    )


cdef void do_rows(void *argument, Py_ssize_t part) noexcept nogil:
    cdef Job *job = <Job *> argument
    cdef Py_ssize_t i
    for i in range(part * job.height, min((part + 1) * job.height, job.rows if job.up else job.coarse_rows)):
        if job.single:
            do_row(job, <float *> job.fine, <float *> job.coarse, i)
        else:
            do_row(job, <double *> job.fine, <double *> job.coarse, i)


cdef void run_rows(Job *job, int threads) noexcept nogil:
    cdef Py_ssize_t lines = job.rows if job.up else job.coarse_rows
    job.height = rows_of_a_part(job.cols)
    run_parts(&do_rows, job, (lines + job.height - 1) // job.height, threads)


cdef void require_half(
    const real[:, ::1] fine, const unsigned char[:, ::1] free, const real[:, ::1] coarse,
) except *:
    if fine.shape[0] == 0 or fine.shape[1] == 0:
        raise ValueError("the fine level must not be empty")
    if fine.shape[0] != free.shape[0] or fine.shape[1] != free.shape[1]:
        raise ValueError("free must have the shape of the fine level")
    if coarse.shape[0] != (fine.shape[0] + 1) // 2 or coarse.shape[1] != (fine.shape[1] + 1) // 2:
        raise ValueError("the coarse level must have half the rows and columns of the fine one, rounded up")


cdef Job job_on(const real[:, ::1] fine, const unsigned char[:, ::1] free, const real[:, ::1] coarse) noexcept:
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.single = real is float
    job.rows, job.cols = fine.shape[0], fine.shape[1]
    job.coarse_rows, job.coarse_cols = coarse.shape[0], coarse.shape[1]
    job.fine, job.coarse, job.free = <void *> &fine[0, 0], <void *> &coarse[0, 0], &free[0, 0]
    return job


def pull(
    const real[:, ::1] fine not None,
    const unsigned char[:, ::1] free not None,
    int threads,
    real[:, ::1] coarse_out not None,
    unsigned char[:, ::1] free_out not None,
):
    """Average the known pixels of fine (where free is 0) into coarse_out and free_out; return how many stay unknown."""
    cdef Job job
    require_half(fine, free, coarse_out)
    if free_out.shape[0] != coarse_out.shape[0] or free_out.shape[1] != coarse_out.shape[1]:
        raise ValueError("free_out must have the shape of coarse_out")
    job = job_on(fine, free, coarse_out)
    job.free_out = &free_out[0, 0]
    with nogil:
        run_rows(&job, threads)
    return job.unknown


def push(
    const real[:, ::1] coarse not None,
    const unsigned char[:, ::1] free not None,
    int threads,
    real[:, ::1] fine_out not None,
):
    """Interpolate coarse where free is 1 into fine_out; the other pixels of fine_out are not touched."""
    cdef Job job
    require_half(fine_out, free, coarse)
    job = job_on(fine_out, free, coarse)
    job.up = True
    with nogil:
        run_rows(&job, threads)


# ---- volumes ----

cdef struct VolumeJob:
    bint single
    bint up
    Py_ssize_t height  # rows of a part
    Py_ssize_t[3] fine_sides
    Py_ssize_t[3] coarse_sides
    Py_ssize_t unknown
    void *fine
    void *coarse
    const unsigned char *free
    unsigned char *free_out


cdef inline void do_volume_row(VolumeJob *job, real *fine, real *coarse, Py_ssize_t line) noexcept nogil:
    # Row `line` of all planes: of the fine level in a push, of the coarse level in a pull.
    cdef Py_ssize_t rows = job.fine_sides[1], cols = job.fine_sides[2]
    cdef Py_ssize_t coarse_rows = job.coarse_sides[1], coarse_cols = job.coarse_sides[2]
    cdef Py_ssize_t k, i, near, far, above, below, a, b, c, d
    if job.up:
        k, i = line // rows, line % rows
        near = near_side(k, job.fine_sides[0], job.coarse_sides[0])
        far = far_side(k, job.fine_sides[0], job.coarse_sides[0])
        above, below = near_side(i, rows, coarse_rows), far_side(i, rows, coarse_rows)
        push_rows(
            coarse + (near * coarse_rows + above) * coarse_cols, coarse + (near * coarse_rows + below) * coarse_cols,
            coarse + (far * coarse_rows + above) * coarse_cols, coarse + (far * coarse_rows + below) * coarse_cols,
            job.free + line * cols, cols, coarse_cols, fine + line * cols,
        )
        return
    k, i = line // coarse_rows, line % coarse_rows
    near = first_covered(k, job.fine_sides[0], job.coarse_sides[0])
    far = last_covered(k, job.fine_sides[0], job.coarse_sides[0])
    above, below = first_covered(i, rows, coarse_rows), last_covered(i, rows, coarse_rows)
    a, b = (near * rows + above) * cols, (near * rows + below) * cols
    c, d = (far * rows + above) * cols, (far * rows + below) * cols
    add(
        &job.unknown,
        pull_rows(
            fine + a, fine + b, fine + c, fine + d, job.free + a, job.free + b, job.free + c, job.free + d,
            cols, coarse_cols, coarse + line * coarse_cols, job.free_out + line * coarse_cols,
        ),
    )


cdef inline Py_ssize_t lines_of(const VolumeJob *job) noexcept nogil:
    return job.fine_sides[0] * job.fine_sides[1] if job.up else job.coarse_sides[0] * job.coarse_sides[1]


cdef void do_volume_rows(void *argument, Py_ssize_t part) noexcept nogil:
    cdef VolumeJob *job = <VolumeJob *> argument
    cdef Py_ssize_t line
    for line in range(part * job.height, min((part + 1) * job.height, lines_of(job))):
        if job.single:
            do_volume_row(job, <float *> job.fine, <float *> job.coarse, line)
        else:
            do_volume_row(job, <double *> job.fine, <double *> job.coarse, line)


cdef void run_volume_rows(VolumeJob *job, int threads) noexcept nogil:
    job.height = rows_of_a_part(job.fine_sides[2])
    run_parts(&do_volume_rows, job, (lines_of(job) + job.height - 1) // job.height, threads)


cdef VolumeJob volume_job_on(
    const real[:, :, ::1] fine, const unsigned char[:, :, ::1] free, const real[:, :, ::1] coarse
) except *:
    cdef VolumeJob job
    cdef int axis
    memset(&job, 0, sizeof(VolumeJob))
    for axis in range(3):
        if fine.shape[axis] == 0:
            raise ValueError("the fine level must not be empty")
        if fine.shape[axis] != free.shape[axis]:
            raise ValueError("free must have the shape of the fine level")
        if coarse.shape[axis] != fine.shape[axis] and coarse.shape[axis] != (fine.shape[axis] + 1) // 2:
            raise ValueError("each side of the coarse level must be that of the fine one, or half of it, rounded up")
        job.fine_sides[axis], job.coarse_sides[axis] = fine.shape[axis], coarse.shape[axis]
    job.single = real is float
    job.fine, job.coarse, job.free = <void *> &fine[0, 0, 0], <void *> &coarse[0, 0, 0], &free[0, 0, 0]
    return job


def pull_volume(
    const real[:, :, ::1] fine not None,
    const unsigned char[:, :, ::1] free not None,
    int threads,
    real[:, :, ::1] coarse_out not None,
    unsigned char[:, :, ::1] free_out not None,
):
    """As `pull`, along the axes of which coarse_out has half of what fine has; return how many voxels stay unknown."""
    cdef VolumeJob job = volume_job_on(fine, free, coarse_out)
    cdef int axis
    for axis in range(3):
        if free_out.shape[axis] != coarse_out.shape[axis]:
            raise ValueError("free_out must have the shape of coarse_out")
    job.free_out = &free_out[0, 0, 0]
    with nogil:
        run_volume_rows(&job, threads)
    return job.unknown


def push_volume(
    const real[:, :, ::1] coarse not None,
    const unsigned char[:, :, ::1] free not None,
    int threads,
    real[:, :, ::1] fine_out not None,
):
    """As `push`, along the axes of which coarse has half of what fine_out has."""
    cdef VolumeJob job = volume_job_on(fine_out, free, coarse)
    job.up = True
    with nogil:
        run_volume_rows(&job, threads)
