"""The threads of all kernels.

A round is a function, a job and a number of parts. The thread that calls for a round opens it, wakes helpers and takes
parts itself: the first one in any case, then, as the helpers do, the next that nobody has taken. It goes on when all
parts are done. It does not wait for helpers to come: one that the system wakes late finds no part left, or another
round that is open by then, and costs nothing. Nobody spins; who has nothing to do sleeps on a lock of its own.

Several threads may have rounds open at once, and a part may open one: each takes what helpers are free, or none.
Helpers start when a round finds too few, and stay. There are no more than the processors, or than the largest round
asked for.

A round lives in the pool's memory, where a late helper may look at it, and is used again when nobody holds it any more.
The job is the caller's: it is touched only with a part in hand, for which the caller waits. All fields are read and
written under the lock of the pool, but for the two counters and for what does not change while a round is held.

Locks and threads are Python's, which has them on every system. A lock may be released by another thread than acquired
it. A child that was forked has no threads but the one that forked: it starts afresh, and leaves the memory of the old
pool, whose lock may have been held, alone.
"""

import os

from cpython.pycapsule cimport PyCapsule_New
from libc.stdlib cimport calloc

include "atomics.pxi"

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    enum:
        WAIT_LOCK
    PyThread_type_lock PyThread_allocate_lock()
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait)
    void PyThread_release_lock(PyThread_type_lock lock)
    unsigned long PyThread_start_new_thread(void (*function)(void *) noexcept nogil, void *argument)

ctypedef void (*part_function)(void *job, Py_ssize_t part) noexcept nogil


cdef struct Round:
    part_function part
    void *job
    Py_ssize_t parts
    Py_ssize_t next_part  # that nobody has taken
    Py_ssize_t left  # parts that are not done
    int seats  # helpers that may still come
    int holders  # threads that may look at this
    PyThread_type_lock ended  # held, until a helper has done the last part and while the caller has not seen it
    Round *following


cdef struct Helper:
    Pool *pool
    PyThread_type_lock awake  # held, until there is something to do
    Helper *following


cdef struct Pool:
    PyThread_type_lock lock
    Helper *idle
    Round *open
    Round *spare
    int helpers
    int processors
    bint refused  # the system starts no threads, or no more


cdef Pool *current = NULL


cdef PyThread_type_lock held_lock() noexcept nogil:
    cdef PyThread_type_lock lock = PyThread_allocate_lock()
    if lock != NULL:
        PyThread_acquire_lock(lock, WAIT_LOCK)
    return lock


# ---- a round; the caller of these four holds the lock of the pool ----

cdef Round *spare_round(Pool *pool) noexcept nogil:
    # NULL if there is no memory.
    cdef Round *round = pool.spare
    if round != NULL:
        pool.spare = round.following
        return round
    round = <Round *> calloc(1, sizeof(Round))
    if round != NULL:
        round.ended = held_lock()
    return round if round != NULL and round.ended != NULL else NULL


cdef Round *join_round(Pool *pool) noexcept nogil:
    # NULL if none needs help.
    cdef Round *round = pool.open
    while round != NULL and (round.seats == 0 or read(&round.next_part) >= round.parts):
        round = round.following
    if round != NULL:
        round.seats -= 1
        round.holders += 1
    return round


cdef void leave_round(Pool *pool, Round *round) noexcept nogil:
    round.holders -= 1
    if round.holders == 0:
        round.following = pool.spare
        pool.spare = round


cdef void close_round(Pool *pool, Round *round) noexcept nogil:
    cdef Round **link = &pool.open
    while link[0] != round:
        link = &link[0].following
    link[0] = round.following
    leave_round(pool, round)


cdef bint work(Round *round, Py_ssize_t k) noexcept nogil:
    # Do part k, then the next ones that nobody has taken; return whether that ended the round.
    cdef Py_ssize_t done = 0
    while k < round.parts:
        round.part(round.job, k)
        done += 1
        k = add(&round.next_part, 1)
    return done > 0 and add(&round.left, -done) == done


# ---- helpers ----

cdef void help(void *argument) noexcept nogil:
    cdef Helper *self = <Helper *> argument
    cdef Pool *pool = self.pool
    cdef Round *round
    PyThread_acquire_lock(pool.lock, WAIT_LOCK)
    while True:
        round = join_round(pool)
        if round == NULL:
            self.following = pool.idle
            pool.idle = self
            PyThread_release_lock(pool.lock)
            PyThread_acquire_lock(self.awake, WAIT_LOCK)
            PyThread_acquire_lock(pool.lock, WAIT_LOCK)
            continue
        PyThread_release_lock(pool.lock)
        if work(round, add(&round.next_part, 1)):
            PyThread_release_lock(round.ended)
        PyThread_acquire_lock(pool.lock, WAIT_LOCK)
        leave_round(pool, round)


cdef bint start_helper(Pool *pool) noexcept nogil:
    cdef Helper *helper = <Helper *> calloc(1, sizeof(Helper))
    if helper == NULL:
        return False
    helper.pool = pool
    helper.awake = held_lock()
    return helper.awake != NULL and PyThread_start_new_thread(&help, helper) != <unsigned long> -1


cdef int free_places(Pool *pool, int wanted, int most) noexcept nogil:
    # How many helpers to start for a round that wants so many.
    cdef int missing = wanted
    cdef Helper *helper
    PyThread_acquire_lock(pool.lock, WAIT_LOCK)
    helper = pool.idle
    while missing > 0 and helper != NULL:
        missing -= 1
        helper = helper.following
    missing = 0 if pool.refused else min(missing, most - pool.helpers)
    pool.helpers += max(missing, 0)
    PyThread_release_lock(pool.lock)
    return missing


cdef void start_helpers(Pool *pool, int wanted, int most) noexcept nogil:
    cdef int missing = free_places(pool, wanted, most)
    if missing <= 0:
        return
    # Python looks at the state of its own threads when it starts another.
    with gil:
        while missing > 0 and start_helper(pool):
            missing -= 1
        if missing > 0:
            PyThread_acquire_lock(pool.lock, WAIT_LOCK)
            pool.helpers -= missing
            pool.refused = True
            PyThread_release_lock(pool.lock)


# ---- what kernels call, and the child of a fork ----

cdef void run(part_function part, void *job, Py_ssize_t parts, int threads) noexcept nogil:
    cdef Pool *pool = current
    cdef Round *round = NULL
    cdef Helper *called = NULL
    cdef Helper *helper
    cdef int missing = <int> min(<Py_ssize_t> threads, parts) - 1
    cdef Py_ssize_t k
    if missing > 0:
        # Before the round is open: a thread that waits for the GIL while the interpreter ends does not come back.
        start_helpers(pool, missing, max(pool.processors, threads) - 1)
        PyThread_acquire_lock(pool.lock, WAIT_LOCK)
        round = spare_round(pool)
        if round == NULL:
            PyThread_release_lock(pool.lock)
    if round == NULL:
        for k in range(parts):
            part(job, k)
        return
    round.part, round.job, round.parts = part, job, parts
    round.next_part, round.left = 1, parts
    round.seats, round.holders = missing, 1
    round.following = pool.open
    pool.open = round
    while missing > 0 and pool.idle != NULL:
        helper = pool.idle
        pool.idle = helper.following
        helper.following = called
        called = helper
        missing -= 1
    PyThread_release_lock(pool.lock)
    while called != NULL:
        helper = called
        called = helper.following  # before it wakes, when the field is its own again
        PyThread_release_lock(helper.awake)
    if not work(round, 0):
        PyThread_acquire_lock(round.ended, WAIT_LOCK)
    PyThread_acquire_lock(pool.lock, WAIT_LOCK)
    close_round(pool, round)
    PyThread_release_lock(pool.lock)


cdef int start_afresh() except -1:
    global current
    cdef Pool *pool = <Pool *> calloc(1, sizeof(Pool))
    if pool == NULL:
        raise MemoryError
    pool.lock = PyThread_allocate_lock()
    if pool.lock == NULL:
        raise MemoryError
    pool.processors = os.cpu_count() or 1
    current = pool
    return 0


def _after_fork():
    start_afresh()


def helpers():
    """Return how many helpers have been started."""
    cdef int number
    PyThread_acquire_lock(current.lock, WAIT_LOCK)
    number = current.helpers
    PyThread_release_lock(current.lock)
    return number


start_afresh()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

capsule = PyCapsule_New(<void *> &run, "graddesc._kernels.pool.run", NULL)
