# How a kernel shares its work out: included, not imported. The threads are those of pool.pyx, the same for all kernels.
#
# A kernel cuts its work into parts that do not depend on the number of threads, and adds up what they leave in the
# order of the parts. A job is a struct on the caller's stack; it must hold all that a part reads.

from cpython.pycapsule cimport PyCapsule_GetPointer

from graddesc._kernels.pool import capsule as pool_capsule

include "atomics.pxi"

ctypedef void (*part_function)(void *job, Py_ssize_t part) noexcept nogil
ctypedef void (*run_function)(part_function part, void *job, Py_ssize_t parts, int threads) noexcept nogil

cdef run_function run_in_pool = <run_function> PyCapsule_GetPointer(pool_capsule, "graddesc._kernels.pool.run")


cdef inline void run_parts(part_function part, void *job, Py_ssize_t parts, int threads) noexcept nogil:
    # Calls part(job, k) for each k from 0 to parts - 1, on at most so many threads; the calling thread does part 0.
    cdef Py_ssize_t k
    if threads <= 1 or parts <= 1:
        for k in range(parts):
            part(job, k)
    else:
        run_in_pool(part, job, parts, threads)


# Parts that need a workspace, of which there is one for each thread: whoever sits at one takes part after part.

ctypedef void (*seated_function)(void *job, Py_ssize_t part, Py_ssize_t seat) noexcept nogil


cdef struct Seated:
    seated_function part
    void *job
    Py_ssize_t parts
    Py_ssize_t next_part


cdef void sit_down(void *argument, Py_ssize_t seat) noexcept nogil:
    cdef Seated *seated = <Seated *> argument
    cdef Py_ssize_t k = add(&seated.next_part, 1)
    while k < seated.parts:
        seated.part(seated.job, k, seat)
        k = add(&seated.next_part, 1)


cdef inline void run_seated(seated_function part, void *job, Py_ssize_t parts, int threads) noexcept nogil:
    # As run_parts, for part(job, k, seat); the seats are those from 0 to threads - 1.
    cdef Seated seated
    seated.part, seated.job, seated.parts, seated.next_part = part, job, parts, 0
    run_parts(&sit_down, &seated, min(<Py_ssize_t> max(threads, 1), parts), threads)
