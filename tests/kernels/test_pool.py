"""The threads of the kernels: each part is done once, whoever calls, whoever comes late."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from graddesc._kernels import pool

Part = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t)
Run = ctypes.CFUNCTYPE(None, Part, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)


def address():
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer(pool.capsule, b"graddesc._kernels.pool.run")


# Calls without the GIL; the parts take it again, each in the thread that does it.
run_in_pool = Run(address())


def run(part, parts, threads):
    """Call part(k) for every k in the pool."""
    run_in_pool(Part(lambda job, k: part(k)), None, parts, threads)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_every_part_is_done_once(threads):
    for parts in (0, 1, 2, 3, 8, 100):
        counts = [0] * parts

        def count(k, counts=counts):
            counts[k] += 1

        for _ in range(20):
            run(count, parts, threads)
        assert counts == [20] * parts


def test_the_caller_does_the_first_part():
    for _ in range(50):
        threads = {}
        run(lambda k, threads=threads: threads.setdefault(k, threading.get_ident()), 3, 3)
        assert threads[0] == threading.get_ident()


def test_threads_work_side_by_side():
    # Each part waits for the others: one thread alone would never come to an end.
    barrier = threading.Barrier(3, timeout=30)
    for _ in range(20):
        run(lambda k: barrier.wait(), 3, 3)
    assert not barrier.broken


def test_no_more_threads_than_asked_for_nor_than_parts():
    run(lambda k: time.sleep(0.001), 9, 9)  # there are eight helpers now
    lock = threading.Lock()
    for threads, parts in [(2, 20), (9, 3)]:
        at_once, seen = [], []

        def part(k, at_once=at_once, seen=seen):
            with lock:
                at_once.append(k)
                seen.append(len(at_once))
            time.sleep(0.002)
            with lock:
                at_once.remove(k)

        run(part, parts, threads)
        assert len(seen) == parts
        assert max(seen) <= min(threads, parts)


def test_helpers_stay():
    run(lambda k: None, 5, 5)
    before = pool.helpers()
    for _ in range(200):
        run(lambda k: None, 5, 5)
    assert pool.helpers() == before <= max(os.cpu_count(), 9) - 1


def test_the_end_does_not_wait_for_helpers_that_come_late():
    # All helpers are busy with another round, which goes on for as long as this one has not come to an end.
    helpers = max(pool.helpers(), 1)
    started, ended = threading.Semaphore(0), threading.Event()

    def hold(k):
        started.release()
        assert ended.wait(30)

    with ThreadPoolExecutor(1) as executor:
        long_round = executor.submit(run, hold, helpers + 1, helpers + 1)
        for _ in range(helpers + 1):
            assert started.acquire(timeout=30)
        done = []
        run(done.append, 10, helpers + 1)
        assert sorted(done) == list(range(10))
        assert not long_round.done()
        ended.set()
        long_round.result(30)


def test_rounds_at_once_from_many_threads():
    def many(seed):
        for i in range(200):
            done = []
            run(done.append, 1 + (seed + i) % 6, 1 + i % 4)
            assert sorted(done) == list(range(1 + (seed + i) % 6))
        return True

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(many, range(8)))


def test_a_part_may_open_a_round():
    done = [[] for _ in range(6)]
    run(lambda k: run(lambda j: run(lambda i: done[k].append((j, i)), 3, 3), 4, 3), 6, 3)
    for pairs in done:
        assert sorted(pairs) == [(j, i) for j in range(4) for i in range(3)]


def in_a_process(code):
    code = "import os, sys, signal, threading, time\nfrom test_pool import pool, run\n" + code
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )


FORK = """
def child():
    signal.alarm(60)
    assert pool.helpers() == 0
    done = []
    for _ in range(50):
        run(done.append, 6, 3)
    barrier = threading.Barrier(3, timeout=30)
    run(lambda k: barrier.wait(), 3, 3)
    os._exit(0 if sorted(done) == sorted([*range(6)] * 50) and not barrier.broken else 3)
"""


@pytest.mark.posix
def test_a_child_starts_afresh():
    code = """
run(lambda k: time.sleep(0.001), 4, 3)
number = os.fork()
if number == 0:
    child()
print(os.waitpid(number, 0)[1])
run(lambda k: print(k), 1, 2)
"""
    process = in_a_process(FORK + code)
    assert (process.stdout, process.stderr) == ("0\n0\n", "")


@pytest.mark.posix
def test_a_child_of_a_process_whose_threads_are_in_rounds():
    # The rounds are a kernel's. Parts that take the GIL, as those of `run` do, make CPython 3.11 hang now and then: it
    # forks while a thread without the GIL holds the lock of the list of threads, and waits for that lock in the child.
    code = """
import numpy as np
from graddesc._kernels import line
x, strips = np.random.default_rng(0).random((9, 2000)), line.count_strips(2000)
def go_on():
    space = np.ones((9, 3)), np.ones((3, 2000)), np.zeros((strips, 9, 4)), np.empty((strips, 9, 3)), np.empty((3, 2000))
    while not stop.is_set():
        line.measure(x, 3, *space)
stop = threading.Event()
others = [threading.Thread(target=go_on, daemon=True) for _ in range(3)]
for other in others:
    other.start()
for _ in range(20):
    number = os.fork()
    if number == 0:
        child()
    assert os.waitpid(number, 0)[1] == 0
assert pool.helpers() > 0
stop.set()
for other in others:
    other.join()
print("done")
"""
    process = in_a_process(FORK + code)
    assert (process.stdout, process.stderr) == ("done\n", "")


def test_the_interpreter_ends_while_helpers_sleep():
    process = in_a_process("run(lambda k: time.sleep(0.001), 5, 5); print(pool.helpers())")
    assert (process.returncode, process.stdout, process.stderr) == (0, "4\n", "")


def test_helpers_sleep():
    run(lambda k: None, 5, 5)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_kernels_need_little_stack():
    # As much as threads have on some systems; the calling thread has more.
    code = """
threading.stack_size(128 * 1024)
import numpy as np
import graddesc
from graddesc._kernels import line, stencil
x = np.random.default_rng(0).random((1, 150, 2000))
shape, edges = x.shape[1:], [*range(0, 2000, 400), 2000]
for kind in range(3):
    operator = stencil.Operator(kind, 2.0, epsilon=0.1, mu=1.0, kappa=0.5, contrast=0.1, strength=0.1)
    weights = np.ones((4 if kind == 2 else 1, *shape))
    tiles = np.array([[row, row + 75, *edges[k : k + 2]] for row in (0, 75) for k in range(5)], np.intc)
    moments = np.empty((10, 2)), np.empty_like(x), np.empty((1, 2))
    tensor = np.ones((3, 75, 1000)) if kind == 2 else None
    stencil.energy(operator, x, tensor, 2, np.empty(150))
    stencil.gradient(operator, x, weights, 2, np.empty_like(x))
    for _ in range(20):
        stencil.accelerate(operator, x, x, weights[:1] * 0.1, 0.5, 0.0, 1.0, weights, tiles, 2, *moments)
    sizes, free = np.array([shape], np.intp), np.ones(x.size, np.uint8)
    free[:9] = 0
    for huber in (None, 2.0):
        descent = stencil.prepare(
            operator, sizes, free, 1, 1, False, 0.97, 1e-9, 2, huber, lambda n: np.empty(n, np.uint8)
        )
        precision = None if huber is None else np.ones(x.size)
        descent.begin(x.copy().ravel(), 0.0, 1.0, True, np.zeros(1, np.uint8), precision)
        descent.advance(3, 0.1, 1e9)
strips = line.count_strips(2000)
sums = np.empty((strips, 150, 3)), np.empty((3, 2000))
space = np.ones((150, 3)), np.ones((3, 2000)), np.zeros((strips, 150, 4))
free = np.ones(shape, np.uint8)
for _ in range(20):
    line.measure(x[0], 2, *space, *sums)
    line.descend(x[0], free, 0.1, 0.0, 1.0, True, 2, *space, np.zeros((strips, 150, 4)), *sums, np.empty((strips, 2)))
x = np.random.default_rng(1).random(16 * 64 * 64)
volume, bands = x.reshape(16, 64, 64), x[: 120 * 120 * 3].reshape(120, 120, 3)
for loss in ("edge", "harmonic", "biharmonic", "tv", "hessian-tv"):
    graddesc.restore(volume, volume < 0.7, loss=loss, threads=2, max_iter=9)
for loss in ("edge", "texture"):
    graddesc.restore(bands, bands < 0.5, loss=loss, channel_axis=-1, threads=2, max_iter=9)
print(pool.helpers() > 0)
"""
    process = in_a_process(code)
    assert (process.returncode, process.stdout) == (0, "True\n"), process.stderr
