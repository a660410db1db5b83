"""The loop of graddesc.descent in C: same rules, same order of operations, no Python inside.

Installed as graddesc.cython_descent, beside its public .pxd. Each part is beside its Python twin by name. A trial is
only its step and its value, as the point can be made again to the last bit; gradients are kept at two trials of a ray.
Functions may be compiled or Python's, which `Face` calls. Nothing is checked here except what would crash.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport INFINITY, NAN, fabs, fmax, fmin, isfinite, isnan, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from graddesc import _kernels  # and not the module of it: that import would lose an interrupt

cdef extern from "clock.h" nogil:
    double clock "graddesc_clock"() noexcept
    void nap "graddesc_nap"() noexcept

include "../buffers.pxi"
include "../threads.pxi"

# How a run ends: ten endings for each status. The sentences are those of graddesc.endings.
cdef enum:
    FOUND = -2  # not an ending: a search has found its step
    GRADIENT = 0
    XTOL = 1
    FTOL = 2
    ITERATIONS = 10
    EVALUATIONS = 11
    NO_DECREASE = 20
    NO_DESCENT = 21
    TOO_SHORT = 22
    IDLE = 23
    UNRESOLVED = 24
    VALUE_AT_START = 30
    GRADIENT_AT_START = 31
    VALUE_NOT_FINITE = 32
    GRADIENT_NOT_FINITE = 33
    LOST = 34
    UNBOUNDED = 40
    TIME = 50
    TARGET = 60
    DISAGREE = 70
    CALLBACK = 990
    INTERRUPTED = 1000  # a signal has come, or a Python function has raised

cdef enum:
    PRECISION = 2
    NOT_FINITE = 3

# What the fields `formula` and `conjugate` of the settings may be.
cdef enum:
    ALTERNATING
    ADAPTIVE
    LONG
    SHORT

cdef enum:
    HAGER_ZHANG_BETA
    POLAK_RIBIERE
    HESTENES_STIEFEL
    FLETCHER_REEVES
    DAI_YUAN


cdef inline int status_of(int ending) noexcept nogil:
    return ending // 10


include "../vectors.pxi"

cdef vectors_t vectors
vectors = (<const vectors_t *>PyCapsule_GetPointer(_kernels.vectors.table(), "graddesc vectors"))[0]

include "run.pxi"
include "../two_loops.pxi"
include "ray.pxi"
include "exact.pxi"
include "backtracking.pxi"
include "wolfe.pxi"
include "spectral.pxi"
include "directions.pxi"
include "loop.pxi"


cdef Py_ssize_t ring_of(const settings_t *settings) noexcept nogil:
    """How many pairs of arrays s and y a run needs: the next one and those that are remembered."""
    return 1 + (settings.lbfgs_memory if settings.direction == LBFGS else 1 if settings.direction == ADAM else 0)


cdef Py_ssize_t stride_of(Py_ssize_t n) noexcept nogil:
    return n if n < LONG_VECTOR else (n + LONG_VECTOR - 1) // LONG_VECTOR * LONG_VECTOR


cdef double *workspace(int n, const settings_t *settings, bint both) noexcept nogil:
    """Take the memory of a run, which may serve the next one as it is; NULL if there is none."""
    cdef Py_ssize_t slots = ring_of(settings), stride = stride_of(n), i
    cdef Py_ssize_t count = 9 + 2 * slots + (2 if both else 0)
    cdef double *block = <double *>malloc((count * stride + 2 * slots + max(settings.memory, 1)) * sizeof(double))
    if block != NULL:
        for i in range(count):
            fill(<int>(stride - n), block + i * stride + n, 0.0)
    return block


cdef void lay_out(run_t *r, double *block) noexcept nogil:
    """Share a workspace out."""
    cdef Py_ssize_t slots = ring_of(r.settings), stride = stride_of(r.n)
    r.stride = stride
    r.x = block
    r.g = r.x + stride
    r.d = r.g + stride
    r.trial = r.d + stride
    r.g_trial = r.trial + stride
    r.g_kept = r.g_trial + stride
    r.g_free = r.g_kept + stride
    r.best = r.g_free + stride
    r.scratch = r.best + stride
    r.g_last = r.scratch + stride
    r.g_lowest = r.g_last + (stride if r.both != NULL else 0)
    r.s = r.pairs.s = r.g_lowest + (stride if r.both != NULL else 0)
    r.y = r.pairs.y = r.pairs.s + slots * stride
    r.pairs.slots = <int>slots
    r.pairs.reciprocals = r.pairs.y + slots * stride
    r.pairs.shares = r.pairs.reciprocals + slots
    r.recent = r.pairs.shares + slots


cdef int start(run_t *r, const double *x) noexcept nogil:
    """Evaluate the start; return FOUND or the ending."""
    memcpy(r.x, x, r.n * sizeof(double))
    memcpy(r.best, x, r.n * sizeof(double))
    memcpy(r.trial, x, r.n * sizeof(double))
    fill(r.n, r.g, NAN)
    r.nfev = 1
    r.rounding = ROUNDING
    r.scale = r.alpha_g = r.alpha_kept = NAN
    r.f = r.f_best = r.value(r.n, r.trial, r.data)
    if not isfinite(r.f):
        return r.ended if r.ended != FOUND else VALUE_AT_START
    memcpy(r.trial, x, r.n * sizeof(double))
    r.asked_at = LAST_POINT
    ask_gradient(r, r.trial, r.f, r.g)
    r.scale = measure(r, r.x, r.g)
    if not r.scale < INFINITY:
        return r.ended if r.ended != FOUND else GRADIENT_AT_START
    # No function of any use falls so far below where it starts.
    r.floor = -UNBOUNDED_FALL * fmax(fabs(r.f), largest(r.stride, r.g) * fmax(1.0, largest(r.stride, r.x)))
    return FOUND


cdef int run_from(run_t *r, double *x, double *g, const double *steps, int n_steps, report_t *report) noexcept nogil:
    """Descend from x, which becomes the best point; g, which may be NULL, gets the gradient there."""
    cdef int ending
    r.ended = FOUND
    ending = start(r, x)
    if ending == FOUND:
        ending = descend(r, steps, n_steps)
    if status_of(ending) != NOT_FINITE or ending >= VALUE_NOT_FINITE:
        if not read(r.control.stop):
            remember_last_pair(r)
            go_to_best(r, 0.0 if ending == TARGET or ending == UNBOUNDED else r.rounding)
    memcpy(x, r.x, r.n * sizeof(double))
    if g != NULL:
        memcpy(g, r.g, r.n * sizeof(double))
    report.fun, report.optimality, report.status = r.f, r.scale, status_of(ending)
    report.nit, report.nfev, report.njev = r.nit, r.nfev, r.njev
    return ending


# Compiled functions: a value and a gradient, or one that tells both.
ctypedef struct objective_t:
    value_t value
    gradient_t gradient
    both_t both
    void *data


cdef void set_up(
    run_t *r,
    const objective_t *objective,
    int n,
    const double *low,
    const double *high,
    const settings_t *settings,
    control_t *control,
    double *block,
) noexcept nogil:
    memset(r, 0, sizeof(run_t))
    r.value, r.gradient, r.data, r.n = objective.value, objective.gradient, objective.data, n
    if objective.both != NULL:
        r.both, r.both_data, r.lowest = objective.both, objective.data, INFINITY
        r.value, r.gradient, r.data = value_of_both, gradient_of_both, r
    r.low, r.high, r.settings, r.control = low, high, settings, control
    r.comparable = True
    lay_out(r, block)


cdef void begin(control_t *control, Py_ssize_t *stop, double max_time, bint main) noexcept nogil:
    """Start to look at the clock."""
    cdef double now = clock()
    control.stop, control.main = stop, main
    control.deadline = now + max_time if max_time < INFINITY else INFINITY
    control.longest_stride = LONGEST_STRIDE if control.deadline == INFINITY else 1
    control.stride = control.countdown = 1
    control.last_look, control.next_look = now, now + SIGNAL_INTERVAL
    control.errors = NULL


cdef int minimize(
    value_t value,
    gradient_t gradient,
    void *data,
    int n,
    double *x,
    const double *low,
    const double *high,
    const settings_t *settings,
    const double *steps,
    int n_steps,
    report_t *report,
) noexcept nogil:
    cdef double *block = workspace(n, settings, False)
    cdef objective_t objective
    cdef Py_ssize_t stop = 0, i
    cdef control_t control
    cdef run_t r
    if block == NULL:
        return -1
    begin(&control, &stop, settings.max_time, False)
    objective.value, objective.gradient, objective.both, objective.data = value, gradient, NULL, data
    set_up(&r, &objective, n, low, high, settings, &control, block)
    if low != NULL:
        for i in range(n):
            x[i] = within(&r, i, x[i])
    run_from(&r, x, NULL, steps, n_steps, report)
    free(block)
    return report.status


cdef settings_t default_settings() noexcept nogil:
    cdef settings_t settings
    settings.step = EXACT_BY_SLOPES
    settings.has_initial = False
    settings.initial = 1.0
    settings.tolerance = 1.48e-8
    settings.max_trials = 500
    settings.factor = 0.5
    settings.sufficient_decrease = 1e-4
    settings.curvature = 0.9
    settings.blur = 1e-6
    settings.formula = 0
    settings.memory = 10
    settings.least = 0.0
    settings.relaxation = 1.0
    settings.direction = STEEPEST
    settings.momentum = 0.9
    settings.growing_momentum = True
    settings.restart = True
    settings.conjugate = 0
    settings.lbfgs_memory = 10
    settings.mean_decay = 0.9
    settings.square_decay = 0.999
    settings.epsilon = 1e-8
    settings.tol = 1e-5
    settings.xtol = 0.0
    settings.ftol = 0.0
    settings.target = -INFINITY
    settings.max_time = INFINITY
    settings.maxiter = 10000
    settings.maxfun = 2**63 - 1
    return settings


# What the fields step and direction of the settings may be, by the names of the classes in Python; BY_VALUES is
# ExactLineSearch(slopes=False).
BY_VALUES = EXACT
STEPS = {
    "ExactLineSearch": EXACT_BY_SLOPES,
    "Backtracking": BACKTRACKING,
    "StrongWolfe": STRONG_WOLFE,
    "HagerZhang": HAGER_ZHANG,
    "BarzilaiBorwein": BARZILAI_BORWEIN,
    "Polyak": POLYAK,
    "schedule": SCHEDULE,
}
DIRECTIONS = {
    "Steepest": STEEPEST,
    "HeavyBall": HEAVY_BALL,
    "Nesterov": NESTEROV,
    "ConjugateGradient": CONJUGATE_GRADIENT,
    "LBFGS": LBFGS,
    "Adam": ADAM,
}


def defaults():
    """The settings that default_settings() gives, as a dictionary."""
    return default_settings()


# Many starts, side by side: each thread takes the next one that is left.


ctypedef struct batch_t:
    objective_t objective
    int m
    int n
    double *x
    double *g
    const double *low
    const double *high
    Py_ssize_t stride  # from the bounds of one start to those of the next
    const settings_t *settings
    const double *steps
    int n_steps
    report_t *reports
    int *endings
    double deadline
    Py_ssize_t next
    Py_ssize_t done
    Py_ssize_t stop
    Py_ssize_t no_memory
    void *errors


cdef void work(batch_t *batch, bint main) noexcept nogil:
    cdef control_t control
    cdef run_t r
    cdef Py_ssize_t i, offset
    cdef const double *low = NULL
    cdef const double *high = NULL
    cdef double *block = workspace(batch.n, batch.settings, batch.objective.both != NULL)
    if block == NULL:
        add(&batch.no_memory, 1)
        add(&batch.stop, 1)
    begin(&control, &batch.stop, batch.deadline - clock(), main)
    control.errors = batch.errors
    while not read(&batch.stop):
        i = add(&batch.next, 1)
        if i >= batch.m:
            break
        offset = i * batch.n
        if batch.low != NULL:
            low, high = batch.low + i * batch.stride, batch.high + i * batch.stride
        set_up(&r, &batch.objective, batch.n, low, high, batch.settings, &control, block)
        batch.endings[i] = run_from(
            &r, batch.x + offset, batch.g + offset, batch.steps, batch.n_steps, batch.reports + i
        )
        add(&batch.done, 1)
    free(block)
    # Signals reach the calling thread alone: it watches until the others have finished.
    while main and read(&batch.done) < batch.m and not read(&batch.stop):
        nap()
        if clock() >= control.next_look:
            control.next_look = clock() + SIGNAL_INTERVAL
            look_at_signals(&control)


cdef void work_part(void *batch, Py_ssize_t part) noexcept nogil:
    # The calling thread does part 0.
    work(<batch_t *>batch, part == 0)


# Python's side.


def data_address(capsule):
    """The address of the user_data of a LowLevelCallable's capsule."""
    return <size_t>PyCapsule_GetContext(capsule)


def signature(capsule):
    """The signature in a LowLevelCallable's capsule, as bytes."""
    cdef const char *name = PyCapsule_GetName(capsule)
    return b"" if name == NULL else name


cdef class Settings:
    """All settings of a loop but the stops, from a dictionary such as `defaults` gives."""

    cdef settings_t fields

    def __init__(self, dict fields):
        self.fields = fields


cdef settings_t stopping(Settings settings, stops):
    """The settings with the stops tol, xtol, ftol, target, max_time, maxiter and maxfun."""
    cdef settings_t fields = settings.fields
    fields.tol, fields.xtol, fields.ftol, fields.target, fields.max_time, fields.maxiter, fields.maxfun = stops
    # No more can be remembered than happens.
    fields.memory = min(fields.memory, max(fields.maxiter, 1))
    fields.lbfgs_memory = min(fields.lbfgs_memory, max(fields.maxiter, 1))
    return fields


cdef check(const double[:, ::1] low, const double[:, ::1] high, double[:, ::1] x):
    if x.shape[0] == 0 or x.shape[1] == 0 or x.shape[1] > 2**31 - 1:
        raise ValueError("x must have one row and one column at least")
    if (low is None) != (high is None) or (
        low is not None
        and not (low.shape[1] == high.shape[1] == x.shape[1] and low.shape[0] == high.shape[0] in (1, x.shape[0]))
    ):
        raise ValueError("low and high must have one bound for each column of x, in one row or in as many as x")


cdef void *pointer_in(capsule) except NULL:
    return PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


cdef objective_t objective_of(tuple capsules):
    """The functions of two capsules, of value and gradient, or of one, which tells both."""
    cdef objective_t objective
    memset(&objective, 0, sizeof(objective_t))
    objective.data = PyCapsule_GetContext(capsules[0])
    if len(capsules) == 1:
        objective.both = <both_t>pointer_in(capsules[0])
    else:
        objective.value, objective.gradient = <value_t>pointer_in(capsules[0]), <gradient_t>pointer_in(capsules[1])
    return objective


def run_many(
    tuple capsules not None,
    Settings settings not None,
    stops,
    const double[:, ::1] low,
    const double[:, ::1] high,
    const double[::1] steps,
    int threads,
    double[:, ::1] x not None,
    double[:, ::1] g_out not None,
    report_t[::1] reports_out not None,
    int[::1] endings_out not None,
):
    """Descend from each row of x, which becomes the best point; g_out gets the gradients there, the others the rest.

    capsules are those of two LowLevelCallables, value and gradient with the same user_data, or of one that tells both;
    low and high may be None, and so may steps unless the step of the settings is a schedule.
    """
    cdef batch_t batch
    cdef settings_t fields = stopping(settings, stops)
    check(low, high, x)
    if settings.fields.step == SCHEDULE and (steps is None or steps.shape[0] == 0):
        raise ValueError("a schedule must have one step at least")
    if not (
        g_out.shape[0] == reports_out.shape[0] == endings_out.shape[0] == x.shape[0] and g_out.shape[1] == x.shape[1]
    ):
        raise ValueError("x, g_out, reports_out and endings_out must have the same shape")
    errors = []
    memset(&batch, 0, sizeof(batch_t))
    batch.objective = objective_of(capsules)
    batch.m, batch.n = <int>x.shape[0], <int>x.shape[1]
    batch.x, batch.g = &x[0, 0], &g_out[0, 0]
    if low is not None:
        batch.low, batch.high = &low[0, 0], &high[0, 0]
        batch.stride = batch.n if low.shape[0] > 1 else 0
    batch.settings = &fields
    batch.deadline = clock() + fields.max_time
    if settings.fields.step == SCHEDULE:
        batch.steps, batch.n_steps = &steps[0], <int>steps.shape[0]
    batch.errors = <void *>errors
    batch.reports, batch.endings = &reports_out[0], &endings_out[0]
    with nogil:
        run_parts(&work_part, &batch, min(threads, batch.m), threads)
    if errors:
        raise errors[0]
    if batch.no_memory:
        raise MemoryError


cdef class Face:
    """What stands in for compiled functions where the objective is Python's, and hands iterates on to Python.

    The objective has value(x, candidate), gradient(x, f, asked_at), which returns None where nothing is left of time
    or evaluations, and what is read below. arrive(x, f, g, scale, alpha, nit, nfev, njev) returns whether that is the
    end; it may be None.
    """

    cdef object objective
    cdef object arrive
    cdef object schedule
    cdef object empty
    cdef list errors
    cdef Py_ssize_t stop

    cdef fail(self, error):
        self.errors.append(error)
        self.stop = 1

    cdef copy(self, const double *x, int n):
        """An array of what is at an address."""
        cdef Py_buffer view
        array = self.empty(n)
        PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        memcpy(view.buf, x, n * sizeof(double))
        PyBuffer_Release(&view)
        return array

    cdef sync(self, run_t *r):
        objective = self.objective
        r.nfev, r.njev, r.rounding = objective.nfev, objective.njev, objective.rounding
        r.unresolved, r.drowned, r.noise = objective.unresolved, objective.drowned, objective.noise


cdef note_ending(run_t *r, Face face):
    if face.objective.ended is not None:
        r.ended = face.objective.ended


cdef double face_value(int n, double *x, void *data) noexcept with gil:
    cdef run_t *r = <run_t *>data
    cdef Face face = <Face>r.listener
    cdef double f = NAN
    try:
        f = face.objective.value(face.copy(x, n), not r.beside)
        r.nfev = face.objective.nfev
        note_ending(r, face)
    except BaseException as error:
        face.fail(error)
    return f


cdef void face_gradient(int n, double *x, double *out, void *data) noexcept with gil:
    cdef run_t *r = <run_t *>data
    cdef Face face = <Face>r.listener
    cdef Py_buffer view
    try:
        g = face.objective.gradient(face.copy(x, n), r.f_asked, r.asked_at)
        face.sync(r)
        note_ending(r, face)
        if g is None:
            r.late = True
            fill(n, out, NAN)
            return
        PyObject_GetBuffer(g, &view, PyBUF_C_CONTIGUOUS)
        memcpy(out, view.buf, n * sizeof(double))
        PyBuffer_Release(&view)
    except BaseException as error:
        fill(n, out, NAN)
        face.fail(error)


cdef bint face_arrive(run_t *r) noexcept with gil:
    cdef Face face = <Face>r.listener
    try:
        return face.arrive(
            face.copy(r.x, r.n), r.f, face.copy(r.g, r.n), r.scale, r.alpha, r.nit, r.nfev, r.njev
        )
    except BaseException as error:
        face.fail(error)
    return True


cdef double face_step(run_t *r) noexcept with gil:
    cdef Face face = <Face>r.listener
    cdef double step = 0.0
    try:
        step = face.schedule(r.nit)
    except BaseException as error:
        face.fail(error)
    return step


def run_one(
    functions,
    Settings settings not None,
    stops,
    low,
    high,
    schedule,
    arrive,
    empty,
    x,
    g_out,
):
    """Descend from x, which becomes the best point; g_out gets the gradient there.

    functions is as capsules of `run_many`, or an objective of Python's (see Face); low and high may be None;
    schedule(k) is the step of an iteration; empty(n) makes a vector of doubles. Returned are the ending; the value, the
    largest component of the projected gradient, nit, nfev and njev; and for L-BFGS the pairs it remembers, else None:
    two arrays of k n components, the oldest first.
    """
    cdef settings_t fields = stopping(settings, stops)
    cdef run_t r
    cdef control_t control
    cdef objective_t objective
    cdef report_t report
    cdef Face face = Face.__new__(Face)
    cdef Py_buffer views[4]
    cdef Py_buffer part
    cdef int ending = INTERRUPTED, k, slot, n
    cdef double *x_
    cdef double *g_
    cdef double *low_ = NULL
    cdef double *high_ = NULL
    cdef double *block = NULL
    memset(views, 0, sizeof(views))
    memset(&objective, 0, sizeof(objective_t))
    try:
        x_ = borrow(x, &views[0], -1, PyBUF_WRITABLE)
        if not 0 < views[0].shape[0] < 2**31:
            raise ValueError("x must have one component at least")
        n = <int>views[0].shape[0]
        g_ = borrow(g_out, &views[1], n, PyBUF_WRITABLE)
        if low is not None:
            low_, high_ = borrow(low, &views[2], n, 0), borrow(high, &views[3], n, 0)
        face.errors, face.arrive, face.schedule, face.empty, face.stop = [], arrive, schedule, empty, 0
        begin(&control, &face.stop, fields.max_time, True)
        control.errors = <void *>face.errors
        if isinstance(functions, tuple):
            objective = objective_of(functions)
        else:
            objective.value, objective.gradient, objective.data = face_value, face_gradient, &r
            face.objective = functions
            # Signals come while Python functions run, and the objective looks at the clock.
            control.main, control.deadline, control.longest_stride = False, INFINITY, 1
        block = workspace(n, &fields, objective.both != NULL)
        if block == NULL:
            raise MemoryError
        set_up(&r, &objective, n, low_, high_, &fields, &control, block)
        r.listener = <void *>face
        r.step_at = face_step
        if face.objective is not None:
            r.comparable = functions.comparable
        if arrive is not None:
            r.arrive = face_arrive
        with nogil:
            ending = run_from(&r, x_, g_, NULL, 0, &report)
        if face.errors:
            raise face.errors[0]
        told = report.fun, report.optimality, report.nit, report.nfev, report.njev
        if fields.direction != LBFGS:
            return ending, told, None
        pairs = empty(r.pairs.count * n), empty(r.pairs.count * n)
        for side in range(2):
            PyObject_GetBuffer(pairs[side], &part, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            for k in range(r.pairs.count):
                slot = (r.pairs.next + r.pairs.slots - r.pairs.count + k) % r.pairs.slots
                memcpy(
                    <double *>part.buf + <Py_ssize_t>k * n,
                    (r.pairs.y if side else r.pairs.s) + slot * r.stride,
                    n * sizeof(double),
                )
            PyBuffer_Release(&part)
        return ending, told, pairs
    finally:
        free(block)
        give_back(views, 4)


def constants():
    """The numbers that both loops know, by the names in graddesc.descent and graddesc.line_search."""
    return {
        "ROUNDING": ROUNDING,
        "ROUNDING_UNITS": ROUNDING_UNITS,
        "HUGE": HUGE,
        "LONGEST_MOVE": LONGEST_MOVE,
        "RETREAT": RETREAT,
        "FIRST_SHARE": FIRST_SHARE,
        "UNBOUNDED_FALL": UNBOUNDED_FALL,
        "BINDING": BINDING,
        "PATIENCE": PATIENCE,
        "PATIENCE_BY_VALUES": PATIENCE_BY_VALUES,
        "GRADIENTS_EACH": GRADIENTS_EACH,
        "LABORIOUS": LABORIOUS,
        "CONTRADICTED_SHARE": CONTRADICTED_SHARE,
        "CONTRADICTIONS": CONTRADICTIONS,
        "LOWER_SHARE": LOWER_SHARE,
        "LOST_STEPS": LOST_STEPS,
        "EXCESS_SHARE": EXCESS_SHARE,
        "LEAST_EXCESS": LEAST_EXCESS,
        "MOST_EXCESS": MOST_EXCESS,
        "EXCESS_CLEARANCE": EXCESS_CLEARANCE,
        "GOLDEN_RATIO": GOLDEN_RATIO,
        "GOLDEN_SECTION": GOLDEN_SECTION,
        "GROW_LIMIT": GROW_LIMIT,
        "MOST_BRACKETS": MOST_BRACKETS,
        "LEAST_TOLERANCE": LEAST_TOLERANCE,
        "LEAST_DENOMINATOR": LEAST_DENOMINATOR,
        "SLOPES": SLOPES,
        "NEARLY": NEARLY,
        "STEEP": STEEP,
        "MOST_SKIPPED": MOST_SKIPPED,
        "NEGLIGIBLE": NEGLIGIBLE,
        "REACH": REACH,
        "INSET": INSET,
        "EXPANSION": EXPANSION,
        "STRAIGHT": STRAIGHT,
        "BISECT_UNLESS_SHRUNK": BISECT_UNLESS_SHRUNK,
    }


ENDINGS = {
    "GRADIENT": GRADIENT,
    "XTOL": XTOL,
    "FTOL": FTOL,
    "ITERATIONS": ITERATIONS,
    "EVALUATIONS": EVALUATIONS,
    "NO_DECREASE": NO_DECREASE,
    "NO_DESCENT": NO_DESCENT,
    "TOO_SHORT": TOO_SHORT,
    "IDLE": IDLE,
    "UNRESOLVED": UNRESOLVED,
    "VALUE_AT_START": VALUE_AT_START,
    "GRADIENT_AT_START": GRADIENT_AT_START,
    "VALUE_NOT_FINITE": VALUE_NOT_FINITE,
    "GRADIENT_NOT_FINITE": GRADIENT_NOT_FINITE,
    "LOST": LOST,
    "UNBOUNDED": UNBOUNDED,
    "TIME": TIME,
    "TARGET": TARGET,
    "DISAGREE": DISAGREE,
    "CALLBACK": CALLBACK,
}
FORMULAS = {"alternating": ALTERNATING, "adaptive": ADAPTIVE, "long": LONG, "short": SHORT}
CONJUGATE = {
    "hager-zhang": HAGER_ZHANG_BETA,
    "polak-ribiere": POLAK_RIBIERE,
    "hestenes-stiefel": HESTENES_STIEFEL,
    "fletcher-reeves": FLETCHER_REEVES,
    "dai-yuan": DAI_YUAN,
}
ASKED_AT = {"last": LAST_POINT, "best": BEST_POINT, "other": OTHER_POINT}
