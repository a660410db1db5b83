"""restore(): fill the corrupt pixels of an image so that it becomes smooth, and leave the others alone."""

import collections
import math
import numbers
import operator
import time

import numpy as np

from graddesc import masks
from graddesc.isa import kernels, team_size

__all__ = ["restore"]

_pyramid = kernels("pyramid")

# The compiled solver: iterations at most, and the change yet to come at which it stops. On photographs with 90 % of the
# pixels missing this is after 20 to 40 iterations, within 0.1 % of the least loss.
_SOLVER_MAX_ITER = 3000
_SOLVER_TOL = 0.1
# What is yet to come is judged by how the change has fallen over so many iterations. So shortly after a restart the
# momentum is still small, and so is the change of an image that is far from settled: it is taken to last for 50 more.
_SPAN = 8
_LASTING = 50
_SCHEDULE_MAX_ITER = 500
# The losses of local differences: coarse levels, how much more may be yet to come where a run of them ends than where
# one on the finest level does, and iterations between renewals of the weights, or the part of all so far if that is
# more: in large gaps, which take hundreds, renewals would keep the image from settling.
_LEVELS = 4
_COARSER = 1.4
_COARSE_LEAST_TOL = 0.1
_COARSE_MAX_ITER = 500
_PERIOD = 12, 1 / 4
_SHORT = 32  # pixels in a row: fewer are worth turning the image

# Float images whose greatest absolute value lies outside are scaled by a power of two: their squares might overflow.
_SAFE = 1e-6, 1e6

# What a loss of graddesc.losses has one of.
_OFFERS = "sweeps", "sweeps_of", "stages"

_ROWS_AT_ONCE = 64  # of which NumPy's temporary arrays are made

_EDGE_TOL = 0.1  # of the restorations by "edge" in "texture", of whose time they are little

_CONFIDENCE_SEED = 0x5EED  # of the held-out pixels

_MESSAGES = {
    "settled": (0, "The corrupt pixels have settled: what they have yet to change is within tol."),
    "done": (0, "All steps were taken."),
    "nothing": (0, "No pixel is corrupt: the image is returned as it is."),
    "iterations": (1, "The greatest number of iterations was reached."),
    "not finite": (3, "The loss is not finite: the bounds allow values whose squares overflow."),
    "time": (5, "The greatest time was reached."),
    "callback": (99, "The callback stopped the run."),
}


def restore(
    image,
    mask=None,
    *,
    known=None,
    loss="edge",
    step=None,
    init="pyramid",
    max_iter=None,
    tol=None,
    max_time=None,
    bounds=None,
    channel_axis=None,
    threads=1,
    callback=None,
    out=None,
    full_output=False,
    confidence=False,
):
    """Restore an image of which the corrupt pixels are known, by descending the gradient of a smoothness loss.

    Known pixels stay as they are, to the bit; the others descend the loss, clamped to the image's range.

    Parameters
    ----------
    image : array_like, shape (rows, cols), or with channels, uint8, uint16, float32 or float64
        The image, any strides; not changed. The values of its corrupt pixels matter only to ``init="image"``.
    mask : array_like of bool or int, shape (rows, cols) or the image's, optional
        True (not zero) where a pixel is corrupt, as in scikit-image and OpenCV. By default `masks.detect(image)`: NaN
        for floats, or else the least and greatest values of the dtype (0 and 1 for floats).
    known : array_like of bool or int, shape (rows, cols) or the image's, optional
        The complement, to give instead of `mask`.
    loss : str, loss of `graddesc.losses`, or callable, default "edge"
        What to descend. A callable ``loss(x) -> (value, gradient)`` gets a copy of the image, in float64 and in its own
        shape and units (integers scaled to [0, 1]), and returns a gradient of that shape. Without `step` it is
        descended by `minimize` with `BarzilaiBorwein`.
    step : callable ``k -> float``, optional
        A schedule of step sizes, such as `InverseTime`: runs the plain recipe
        ``x <- clip(x - step(k) * gradient(x))``, k = 0, 1, .... By default the compiled solver runs: accelerated, with
        a step of its own for each pixel, until the image settles.
    init : {"pyramid", "nearest", "image"} or array_like of the image's shape, default "pyramid"
        What the corrupt pixels start from: averages of known pixels on ever coarser grids, the nearest known pixel,
        their own corrupt values, or given values in units of the image.
    max_iter : int, optional
        Number of iterations at most: by default 3000 for the solver, 500 for a schedule.
    tol : float, optional
        Stop when the corrupt pixels are expected to change by less than this fraction of the difference between
        neighbouring pixels (of which one at least is corrupt, except with "line" and callables), both in the root mean
        square: by default 0.1 for "line" and callables, 0.15 for "biharmonic" and "hessian-tv", 0.25 for the others.
        By "edge", photographs of which pixels are missing at random then come within 0.1 dB in the mean, and 0.6 dB
        each, of what they would become. "texture" takes all of its steps. With a schedule, when they change by less in
        an iteration; by default it runs to its end.
    max_time : float, optional
        Seconds at most; looked at after each iteration.
    bounds : pair of float, optional
        The range of the corrupt pixels, in units of the image. By default that of the dtype for integers; for floats
        (0, 1) if the known pixels lie in it, or else the range of the known pixels.
    channel_axis : int, optional
        The axis that holds the channels of a 3-D image. "line" restores each by itself; the losses of local
        differences weigh them together, so that an edge of one is an edge of all.
    threads : int, default 1
        Number of threads, at most; no more than there are processors are used. The result has the same bits for every
        number.
    callback : callable, optional
        Called after each iteration as ``callback(intermediate_result)`` with an `OptimizeResult` that has ``x`` (a
        copy of the image as it stands), ``fun``, ``nit`` and ``step`` (None for the solver). StopIteration ends the
        run.
    out : ndarray, the image's shape and dtype, optional
        Where to write the restored image; must not overlap the image or the mask.
    full_output : bool, default False
        Whether to return the second result as well; measuring its losses costs the solver a pass for each iteration.
    confidence : bool, default False
        With `full_output`, whether to estimate how far each pixel can be trusted: a fifth of the known pixels is held
        out for a second restoration, in the time that is left, and their errors tell. Not for a callable loss.

    Returns
    -------
    restored : ndarray, the image's shape and dtype
        The restored image; `out` itself if it was given.
    info : scipy.optimize.OptimizeResult
        Only with `full_output`: ``x`` (the restored image), ``fun`` (its loss), ``nit`` (iterations), ``success``,
        ``status`` (0 settled, 1 iterations, 3 not finite, 5 time, 99 callback; with a callable loss also those of
        `minimize`), ``message`` and ``history`` (the loss after each iteration; its unit: see Notes). With `confidence`
        also ``confidence``: float32, shape (rows, cols), or that of the image where channels have masks of their own;
        1 where a pixel is known, towards 0 the larger its expected squared error is beside the variance of the known
        pixels, at which it is 1/2.

    Raises
    ------
    TypeError
        If image, mask or another argument is of the wrong kind.
    ValueError
        If shapes do not fit, no pixel is known, a known pixel is not finite, or a number is out of its range.

    Notes
    -----
    The solver is accelerated projected gradient descent [1]_ with a diagonal metric that majorises the loss at each
    point, and momentum that starts afresh when it points uphill [2]_; its start is pull-push interpolation [3]_.
    With "line" it holds, beside the image, at most four arrays of the image's size, in float32 (in float64 for float64
    images). The other losses are run on coarse levels first; their weights are renewed every 12 iterations, later less
    often, and they hold at most twelve arrays. Channels that share a mask are descended as their cosine transform, the
    mean and ever finer differences, each until it has settled, and clamped at the end; with `bounds`, and where
    channels have masks of their own, as they are, clamped in each step.

    Integers are scaled to [0, 1]. "line" and callables take floats in their own units, which are those of the steps of
    a schedule and of the loss that is told. The parameters of the other losses are contrasts of an image in [0, 1]:
    floats outside are shifted and scaled so that the known ones fill it, and steps and losses are the scaled image's.

    References
    ----------
    .. [1] A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", SIAM
       Journal on Imaging Sciences 2, 183-202, 2009. :doi:`10.1137/080716542`
    .. [2] B. O'Donoghue, E. Candes, "Adaptive restart for accelerated gradient schemes", Foundations of Computational
       Mathematics 15, 715-732, 2015. :doi:`10.1007/s10208-013-9150-3`
    .. [3] S. J. Gortler, R. Grzeszczuk, R. Szeliski, M. F. Cohen, "The lumigraph", SIGGRAPH 1996, 43-54.
       :doi:`10.1145/237170.237200`

    Examples
    --------
    >>> import numpy as np
    >>> import graddesc
    >>> image = np.add.outer(np.arange(8.0), np.arange(8.0)) / 14
    >>> corrupted, mask = graddesc.masks.corrupt(image, missing=0.5, rng=0)
    >>> restored = graddesc.restore(corrupted, mask)
    >>> bool((restored[~mask] == image[~mask]).all())
    True

    The classic recipe, from the corrupt values themselves:

    >>> step = graddesc.InverseTime(1.5, floor=0.015)
    >>> restored, info = graddesc.restore(corrupted, mask, step=step, init="image", full_output=True)
    >>> info.nit
    500
    """
    started = time.perf_counter()
    image, channel_axis = masks._as_image(image, channel_axis)
    planes = _planes(image, channel_axis)
    free = _check_mask(mask, known, image, planes, channel_axis)
    loss = _check_loss(loss)
    _check_step(step)
    limits = _Limits(max_iter, tol, max_time, step, started, getattr(loss, "default_tol", _SOLVER_TOL))
    threads = team_size(_check_count("threads", threads, least=1))
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")
    _check_out(out, image, mask, known)
    if confidence and not full_output:
        raise ValueError("confidence must come with full_output, which holds it")

    start = _check_init(init, image, free, channel_axis)
    if confidence and not any(hasattr(loss, name) for name in _OFFERS):
        raise ValueError("confidence must not be asked of a callable loss")
    compiled = hasattr(loss, "sweeps")
    layered = hasattr(loss, "sweeps_of")
    staged = hasattr(loss, "stages")
    scale = _Scale(planes, free, bounds, as_is=not (compiled or layered or staged), unit=layered or staged)
    if compiled:
        run = _CompiledRun(loss, planes, free, scale, start, threads)
    elif layered:
        run = _StencilRun(loss, planes, free, scale, start, threads, limits, solver=step is None)
    elif staged and step is None:
        run = _StagedRun(loss, planes, free, scale, start, threads)
    else:
        if staged:
            loss = _by_planes(loss, channel_axis)
        run = _CallableRun(loss, planes, free, scale, start, threads, channel_axis)
    report = _Report(run, image, channel_axis, callback, measured=full_output or callback is not None)
    if run.complete:
        status, message = _MESSAGES["nothing"]
    elif step is None and not (compiled or layered):
        status, message = run.minimize(limits, report)
    else:
        status, message = _MESSAGES[_descend(run, step, limits, report)]
    restored = report.assemble(out)
    if not full_output:
        return restored
    info = report.info(restored, status, message)
    if confidence:
        settings = {"loss": loss, "step": step, "max_iter": max_iter, "threads": threads}
        info.confidence = _confidence(run, image, channel_axis, limits, settings)
    return restored, info


def _confidence(run, image, channel_axis, limits, settings):
    """The confidence of each pixel, from a second restoration without some known pixels, to the same tolerance."""
    from graddesc.confidence import estimate

    restored = np.stack(list(run.iterates()))
    rng = np.random.default_rng(_CONFIDENCE_SEED)

    def of(x, free):
        def solve(free):
            return restore(
                x, free, channel_axis=0, bounds=run.scale.wanted(), tol=limits.tol, max_time=limits.remaining(),
                **settings,
            )  # fmt: skip

        return estimate(x, free, solve, rng)

    if len(run.free) == 1:
        return of(restored, run.free[0])
    out = np.empty(image.shape, np.float32)
    for c, plane in enumerate(_planes(out, channel_axis)):
        plane[...] = of(restored[c : c + 1], run.free[c])
    return out


def _descend(run, step, limits, report):
    """Iterate until a limit is met, and return its name."""
    for k in range(limits.max_iter):
        if step is None:
            run.accelerate()
            size = None
        else:
            size = _check_size(step(k), k)
            run.descend(size, track_change=limits.tol is not None)
        try:
            report.iteration(k + 1, size)
        except StopIteration:
            return "callback"
        if not math.isfinite(run.value):
            return "not finite"
        if limits.settled(run, size):
            return "settled"
        if limits.expired():
            return "time"
    return "iterations"


class _Momentum:
    """Nesterov's extrapolation weights, from some place of their sequence on, and bounded."""

    def __init__(self, start=1.0, most=1.0):
        self._start, self._most = start, most
        self.restart()

    def restart(self):
        self._t = self._start

    def next(self):
        t = self._t
        self._t = (1 + math.sqrt(1 + 4 * t * t)) / 2
        return min((t - 1) / self._t, self._most)


class _Limits:
    """When to stop: the iterations, the change (as a fraction of the contrast) and the time."""

    def __init__(self, max_iter, tol, max_time, step, started, default_tol):
        default = _SOLVER_MAX_ITER if step is None else _SCHEDULE_MAX_ITER
        self.max_iter = default if max_iter is None else _check_count("max_iter", max_iter, least=0)
        if tol is None:
            self.tol = default_tol if step is None else None
        else:
            self.tol = _check_nonnegative("tol", tol)
        self._schedule = step is not None
        self._deadline = math.inf if max_time is None else started + _check_nonnegative("max_time", max_time)
        self._courses = collections.defaultdict(_Course)  # of the parts of the image that settle by themselves

    def settled(self, run, size):
        """Whether the image has settled after an iteration, whose step size is None unless a schedule gave it."""
        if self.tol is None or size == 0:
            return False
        if self._schedule:
            return run.change <= self.tol * run.contrast()
        expected = [self._courses[i].expected(change, run.restarted) for i, change in enumerate(run.changes)]
        moving = _last_above(expected, self.tol * run.contrast())
        if moving < len(expected):
            moving = _last_above(expected, self.tol * run.contrast(renew=True))
        if 0 < moving < len(expected):
            run.keep(moving)
        return moving == 0

    def remaining(self):
        return None if self._deadline == math.inf else max(self._deadline - time.perf_counter(), 0.0)

    def expired(self):
        return time.perf_counter() >= self._deadline


def _last_above(values, limit):
    """The number of values up to the last one that is above a limit, or is NaN."""
    return max((i + 1 for i, value in enumerate(values) if not value <= limit), default=0)


class _Course:
    """How the changes of an image, or of a part of it, have fallen since its momentum last started afresh."""

    def __init__(self):
        self._changes = collections.deque(maxlen=_SPAN + 1)

    def expected(self, change, restarted):
        """The change that is yet to come, after this one."""
        if restarted:
            self._changes.clear()
        self._changes.append(change)
        if len(self._changes) > _SPAN and self._changes[0] > change:
            # As if the changes to come fell in a geometric series.
            ratio = (change / self._changes[0]) ** (1 / _SPAN)
            return change * ratio / (1 - ratio)
        return change * _LASTING


class _Scale:
    """Between the units of the image and those of the run.

    Integers are divided by the greatest value of their dtype. Floats are taken as they are unless their squares might
    overflow or vanish (and a loss of the caller's always sees them so). With `unit`, for losses whose parameters are
    contrasts, floats that do not lie in [0, 1] are shifted and scaled so that the known ones do, unless the range of
    these is beyond their dtype's.
    """

    def __init__(self, planes, free, bounds, as_is, unit):
        self.integer = planes.dtype.kind == "u"
        self.unit, self.offset = unit, 0.0
        self.work_dtype = np.dtype(np.float64 if as_is or planes.dtype.type is np.float64 else np.float32)
        if self.integer:
            least, greatest = 0, int(np.iinfo(planes.dtype).max)
            self.factor = greatest
        else:
            values = planes[np.broadcast_to(free, planes.shape) == 0]
            least, greatest = float(values.min()), float(values.max())
            if not (math.isfinite(least) and math.isfinite(greatest)):
                _refuse_nonfinite(planes, free)
            top = max(abs(least), abs(greatest))
            half = greatest / 2 - least / 2
            if unit and not 0 <= least <= greatest <= 1 and 0 < half <= np.finfo(self.work_dtype).max / 2:
                self.offset, self.factor = least, 2 * half
            else:
                self.factor = self._power_of_two(top, as_is)
        self.given = bounds is not None
        low, high = _check_bounds(bounds, self.integer, least, greatest)
        with np.errstate(over="ignore"):  # a bound beyond the dtype's range is none
            self.low, self.high = float(self.work_dtype.type(low)), float(self.work_dtype.type(high))

    @staticmethod
    def _power_of_two(top, as_is):
        safe = as_is or top == 0 or _SAFE[0] <= top <= _SAFE[1]
        return 1.0 if safe else 2.0 ** (math.frexp(top)[1] - 1)

    @property
    def loss_unit(self):
        """The image's loss, or step, for one of the run's: 1 for integers, which are thought of as scaled to [0, 1]."""
        return 1 if self.integer else self.factor

    def to_run(self, values, out):
        """Write values, in units of the image, to out in those of the run."""
        with np.errstate(all="ignore"):  # a corrupt value may be anything
            if self.offset:
                values = np.subtract(values, self.offset, dtype=np.float64)
            np.divide(values, self.factor, out=out, dtype=self.work_dtype, casting="unsafe")

    def bounds(self):
        """The bounds in units of the run."""
        with np.errstate(over="ignore"):  # a bound beyond the dtype's range is none
            return tuple(
                float(self.work_dtype.type((bound - self.offset) / self.factor)) for bound in (self.low, self.high)
            )

    def wanted(self):
        """The bounds in units of the run if the caller gave any: for a restoration of the run's own image."""
        return self.bounds() if self.given else None

    def to_image(self, x):
        """A copy of x, in units of the run, in those of the image and inside the bounds; still a float array."""
        with np.errstate(all="ignore"):  # what overflows is clipped, or told by status 3
            x = x * self.work_dtype.type(self.factor)
            x += self.work_dtype.type(self.offset)
        if self.integer:
            np.rint(x, out=x)
            return np.clip(x, math.ceil(self.low), math.floor(self.high), out=x)
        return np.clip(x, self.low, self.high, out=x)


class _Run:
    """One restoration: the image as it stands, in float32 or float64, of shape (channels, rows, cols).

    Attributes
    ----------
    complete : bool
        Whether no pixel is corrupt.
    change : float
        The root mean square change of the corrupt pixels in the last iteration.
    """

    change = 0.0

    def __init__(self, planes, free, scale, start, threads):
        self.free, self.scale = free, scale
        self.x = np.empty(planes.shape, scale.work_dtype)
        scale.to_run(planes, self.x)
        for channel, x in enumerate(self.x):
            if start is None:  # whoever calls will fill it
                break
            free = self.mask(channel)
            if isinstance(start, str) and start == "pyramid":
                _fill_pyramid(x, free, threads)
            elif isinstance(start, str):
                _fill_nearest(x, free)
            else:
                begin = np.empty_like(x)
                scale.to_run(start[channel], begin)
                np.copyto(x, begin, where=free.view(bool))
            np.clip(x, *scale.bounds(), out=x, where=free.view(bool))
        self.corrupt = int(np.count_nonzero(self.free)) * (len(planes) // len(self.free))
        self.complete = self.corrupt == 0
        channels, rows, cols = planes.shape
        self.pairs = max(channels * (rows * (cols - 1) + cols * (rows - 1)), 1)

    def mask(self, channel):
        """The corrupt pixels of a channel, as uint8."""
        return self.free[channel if len(self.free) > 1 else 0]

    @property
    def changes(self):
        """The changes of the parts of the image that settle by themselves, of the whole if there are none."""
        return [self.change]

    def keep(self, parts):
        """Leave all but so many parts as they are, the first ones: the others have settled."""

    def iterates(self):
        """The channels as they stand."""
        return self.x


class _CompiledRun(_Run):
    """A restoration by the compiled sweeps of a loss, channel by channel."""

    def __init__(self, loss, planes, free, scale, start, threads):
        super().__init__(planes, free, scale, start, threads)
        self._slope = 0.0
        self._momentum, self.restarted = _Momentum(), False
        self._sweeps = [loss.sweeps(x, self.mask(c), *scale.bounds(), threads) for c, x in enumerate(self.x)]

    def descend(self, step, track_change):
        """Take a plain step."""
        for sweeps in self._sweeps:
            sweeps.descend(step / self.scale.loss_unit, track_change)
        self._gather()

    def accelerate(self):
        """Take an accelerated step, without momentum if that of the last one pointed uphill."""
        self.restarted = self._slope > 0
        if self.restarted:
            self._momentum.restart()
        weight = self._momentum.next()
        for sweeps in self._sweeps:
            sweeps.accelerate(weight)
        self._gather()

    def _gather(self):
        self._slope = math.fsum(sweeps.slope for sweeps in self._sweeps)
        self.change = math.sqrt(math.fsum(sweeps.change for sweeps in self._sweeps) / self.corrupt)

    def contrast(self, renew=False):
        """The root mean square difference between neighbouring pixels."""
        return math.sqrt(math.fsum(sweeps.contrast for sweeps in self._sweeps) / self.pairs)

    @property
    def value(self):
        """The loss where the next step starts, in units of the run."""
        return sum(sweeps.value for sweeps in self._sweeps)

    def loss(self):
        """The loss of the image as it stands, in its own units."""
        return math.fsum(sweeps.loss() for sweeps in self._sweeps) * self.scale.loss_unit

    def iterates(self):
        return [sweeps.iterate for sweeps in self._sweeps]


class _StencilRun(_Run):
    """A restoration by a loss of local differences, all channels together, coarse levels first."""

    def __init__(self, loss, planes, free, scale, start, threads, limits, solver):
        coarse = solver and limits.max_iter > 0 and isinstance(start, str) and start == "pyramid"
        super().__init__(planes, free, scale, None if coarse else start, threads)
        self._loss, self.restarted = loss, False
        x, free = self.x, self.free
        # Kernels go along rows: short ones are turned.
        self._turned = x.shape[2] < min(x.shape[1], _SHORT)
        if self._turned:
            x, free = (np.ascontiguousarray(array.swapaxes(1, 2)) for array in (x, free))
        # Channels that share a mask are descended as their sum and their differences: these settle soon. Bounds of the
        # caller's would not be bounds of those.
        self._mixing = None
        if solver and len(planes) > 1 and len(free) == 1 and not scale.given:
            self._mixing = _cosines(len(planes), x.dtype)
            _mix(x, self._mixing)
        self._bounds = scale.bounds() if self._mixing is None else (-math.inf, math.inf)
        if coarse and not self.complete:
            self._descend_levels(x, free, threads, limits)
        self._sweeps = loss.sweeps_of(x, free, *self._bounds, threads)
        self._momentum, self._iterations = _Momentum(*loss.momentum), 0
        self._due = 0  # the iteration that renews the weights

    def _descend_levels(self, x, free, threads, limits):
        """Run the energy on ever finer grids; what it finds is where the next finer one starts."""
        pyramids = [_pull(plane, free[c % len(free)], threads, _LEVELS) for c, plane in enumerate(x)]
        for pyramid in pyramids:
            for (fine, fine_free), (coarse, _) in zip(
                pyramid[-2 : _LEVELS - 1 : -1], pyramid[:_LEVELS:-1], strict=True
            ):
                _pyramid.push(coarse, fine_free, threads, fine)
        for level in range(_LEVELS, 0, -1):
            if max(x.shape[1:]) >> level >= 3:
                coarse = np.stack([pyramid[level][0] for pyramid in pyramids])
                coarse_free = np.stack([pyramid[level][1] for pyramid in pyramids[: len(free)]])
                if coarse_free.any():
                    sweeps = self._loss.sweeps_of(coarse, coarse_free, *self._bounds, threads)
                    self._settle(sweeps, _Momentum(*self._loss.momentum), limits)
                    for pyramid, iterate in zip(pyramids, sweeps.iterates, strict=True):
                        pyramid[level][0][...] = iterate
            for pyramid in pyramids:
                (coarse, _), (fine, fine_free) = pyramid[level], pyramid[level - 1]
                _pyramid.push(coarse, fine_free, threads, fine)

    @staticmethod
    def _settle(sweeps, momentum, limits):
        """Run the energy on a coarse grid."""
        course = _Course()
        tol = _COARSER * max(limits.tol, _COARSE_LEAST_TOL)
        due = 0
        for k in range(_COARSE_MAX_ITER):
            if k == due:
                sweeps.refresh()
                due = _next_renewal(k)
            restarted = sweeps.accelerate(momentum)
            if course.expected(sweeps.change, restarted) <= tol * sweeps.contrast or limits.expired():
                break

    def descend(self, step, track_change):
        """Take a plain step."""
        self._sweeps.refresh()
        self._sweeps.descend(step)

    def accelerate(self):
        """Take an accelerated step, with the weights renewed from time to time."""
        if self._iterations == self._due:
            self._sweeps.refresh()
            self._due = _next_renewal(self._iterations)
        self._iterations += 1
        self.restarted = self._sweeps.accelerate(self._momentum)

    @property
    def change(self):
        """The root mean square change of the corrupt pixels in the last iteration."""
        return self._sweeps.change

    @property
    def changes(self):
        """What each of the channels that are still descended adds to the change."""
        return [self.change] if self._mixing is None else self._sweeps.changes

    def keep(self, parts):
        """Leave all channels but so many as they are, the first ones: the others have settled."""
        if self._mixing is not None:
            self._sweeps.keep(parts)

    def contrast(self, renew=False):
        """The root mean square difference between neighbours, as of the last renewal of the weights unless renewed."""
        if renew:
            self._sweeps.measure_contrast()
        return self._sweeps.contrast

    @property
    def value(self):
        """Finite as long as the image is."""
        return self._sweeps.change

    def loss(self):
        """The loss of the image as it stands, clamped and scaled to [0, 1] as the loss sees it."""
        x = self._channels()
        return self._sweeps.loss(x if self._mixing is None else np.clip(x, *self.scale.bounds(), out=x))

    def iterates(self):
        """The channels as they stand."""
        x = self._channels()
        return x.swapaxes(1, 2) if self._turned else x

    def _channels(self):
        x = self._sweeps.iterates
        if self._mixing is not None:
            x = x.copy()
            _mix(x, self._mixing.T)
        return x


def _next_renewal(k):
    """The iteration that renews the weights after iteration k."""
    period, share = _PERIOD
    return k + max(period, int(k * share))


class _StagedRun(_Run):
    """A restoration by the stages of a loss; channels with masks of their own one after the other."""

    def __init__(self, loss, planes, free, scale, start, threads):
        super().__init__(planes, free, scale, start, threads)
        self._loss, self._threads = loss, threads
        self._value = None  # of the image as it stands, once it was measured

    def loss(self):
        """The loss of the image as it stands, scaled to [0, 1]."""
        if self._value is None:
            self._value = math.fsum(self._loss.value(x) for x in self.x)
        return self._value

    def minimize(self, limits, report):
        """Take all steps; return the status and its message."""

        def solve_at(channels):
            def solve(free):
                return restore(
                    np.ascontiguousarray(self.x[channels], np.float32), free, loss=self._loss.edge, channel_axis=0,
                    bounds=self.scale.wanted(), tol=_EDGE_TOL, max_time=limits.remaining(), threads=self._threads,
                )  # fmt: skip

            return solve

        def pause():
            if limits.expired():
                raise _OutOfTime

        if limits.max_iter == 0:
            return _MESSAGES["iterations"]
        k = 0
        together = len(self.free) == 1
        parts = [np.s_[:]] if together else [np.s_[c : c + 1] for c in range(len(self.free))]
        try:
            for part, free in zip(parts, self.free, strict=True):
                latest = None
                stages = self._loss.stages(
                    self.x[part], free, solve_at(part), *self.scale.bounds(), self._threads, pause
                )
                for image in stages:
                    if image is not latest:
                        latest = image
                        self.x[part], self._value = image, None
                    k += 1
                    try:
                        report.iteration(k, None)
                    except StopIteration:
                        return _MESSAGES["callback"]
                    if limits.expired():
                        return _MESSAGES["time"]
                    if k >= limits.max_iter:
                        return _MESSAGES["iterations"]
        except _OutOfTime:
            return _MESSAGES["time"]
        return _MESSAGES["done"]


class _OutOfTime(Exception):
    """Raised inside of a step that is too long to be waited for."""


def _by_planes(loss, channel_axis):
    """A callable that adds up a loss of 2-D images over the channels."""

    def value_and_gradient(x):
        gradient = np.empty_like(x)
        total = 0.0
        for plane, out in zip(_planes(x, channel_axis), _planes(gradient, channel_axis), strict=True):
            total += loss.value_and_gradient(plane, out)[0]
        return total, gradient

    return value_and_gradient


class _CallableRun(_Run):
    """A restoration by a loss of the caller's, which sees the whole image at once."""

    def __init__(self, loss, planes, free, scale, start, threads, channel_axis):
        super().__init__(planes, free, scale, start, threads)
        self._function, self._channel_axis = loss, channel_axis
        self._where = np.broadcast_to(self.free.view(bool), self.x.shape)
        self.restarted = False
        self.value, self._gradient = self._evaluate()

    def _evaluate(self):
        image = self.x[0] if self._channel_axis is None else np.moveaxis(self.x, 0, self._channel_axis)
        result = self._function(image.copy(order="C"))
        try:
            value, gradient = result
        except (TypeError, ValueError):
            raise TypeError(f"loss must return a pair (value, gradient), got {result!r}") from None
        gradient = np.asarray(gradient, dtype=np.float64)
        if gradient.shape != image.shape:
            raise ValueError(f"loss must return a gradient of shape {image.shape}, got {gradient.shape}")
        return float(value), _planes(gradient, self._channel_axis)

    def descend(self, step, track_change):
        """Take a plain step."""
        new = np.clip((self.x - step * self._gradient)[self._where], *self.scale.bounds())
        self._note_change(new - self.x[self._where])
        self.x[self._where] = new
        self.value, self._gradient = self._evaluate()

    def _note_change(self, change):
        self.change = float(np.linalg.norm(change)) / math.sqrt(self.corrupt)

    def contrast(self, renew=False):
        """The root mean square difference between neighbouring pixels."""
        return math.sqrt(sum(float(np.sum(np.diff(self.x, axis=axis) ** 2)) for axis in (1, 2)) / self.pairs)

    def loss(self):
        """The loss of the image as it stands."""
        return self.value

    def minimize(self, limits, report):
        """Descend by spectral projected gradients; return the status and its message."""
        from scipy.optimize import Bounds

        from graddesc import descent, line_search

        values = self.x[self._where]
        reason = None

        def fun(values):
            self.x[self._where] = values
            self.value, self._gradient = self._evaluate()
            return self.value, self._gradient[self._where]

        def callback(intermediate_result):
            nonlocal values, reason
            new = intermediate_result.x
            self._note_change(new - values)
            values = self.x[self._where] = new
            self.value = intermediate_result.fun
            reason = "callback"
            report.iteration(intermediate_result.nit, None)
            reason = "settled" if limits.settled(self, None) else None
            if reason is not None:
                raise StopIteration

        result = descent.minimize(
            fun,
            values,
            jac=True,
            step=line_search.BarzilaiBorwein(),
            bounds=Bounds(*self.scale.bounds()),
            tol=0.0,
            maxiter=limits.max_iter,
            max_time=limits.remaining(),
            callback=callback,
        )
        self.x[self._where] = result.x
        self.value = float(result.fun)
        return _MESSAGES[reason] if reason is not None else (result.status, result.message)


class _Report:
    """What the caller is told: images, losses, and the result."""

    def __init__(self, run, image, channel_axis, callback, measured):
        self._run, self._image, self._channel_axis, self._callback = run, image, channel_axis, callback
        self._history = [] if measured else None

    def iteration(self, nit, step):
        """Note an iteration and call back; raises what the callback raises."""
        if self._history is not None:
            self._history.append(self._run.loss())
        if self._callback is not None:
            from scipy.optimize import OptimizeResult

            self._callback(OptimizeResult(x=self.assemble(), fun=self._history[-1], nit=nit, step=step))

    def assemble(self, out=None):
        """Write the known pixels of the image, and the others as they stand, to out, by default a new array."""
        if out is None:
            out = np.empty(self._image.shape, self._image.dtype)
        out[...] = self._image
        planes = _planes(out, self._channel_axis)
        for channel, (plane, x) in enumerate(zip(planes, self._run.iterates(), strict=True)):
            corrupt = self._run.mask(channel).view(bool)
            for start in range(0, len(x), _ROWS_AT_ONCE):
                some = np.s_[start : start + _ROWS_AT_ONCE]
                restored = self._run.scale.to_image(x[some])
                np.copyto(plane[some], restored, where=corrupt[some], casting="unsafe")
        return out

    def info(self, restored, status, message):
        """The second result of restore()."""
        from scipy.optimize import OptimizeResult

        return OptimizeResult(
            x=restored,
            fun=self._run.loss(),
            nit=len(self._history),
            success=status == 0,
            status=status,
            message=message,
            history=np.array(self._history, dtype=np.float64),
        )


# ---- channels ----


def _cosines(n, dtype):
    """The orthonormal cosine transform of n numbers, as a matrix."""
    matrix = np.cos(np.pi / n * np.outer(np.arange(n), np.arange(n) + 0.5)) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    return matrix.astype(dtype)


def _mix(x, matrix):
    """Replace the channels of x by sums of them, weighted as the rows of the matrix tell."""
    for start in range(0, x.shape[1], _ROWS_AT_ONCE):
        block = x[:, start : start + _ROWS_AT_ONCE]
        sums = np.zeros_like(block)
        with np.errstate(all="ignore"):  # a corrupt value may be anything
            for weights, out in zip(matrix, sums, strict=True):  # not by BLAS, whose order of summation is its own
                for weight, plane in zip(weights, block, strict=True):
                    out += weight * plane
        block[...] = sums


# ---- starts ----


def _pull(x, free, threads, least=0):
    """The image and its unknown pixels on ever coarser grids, at least so many, until nothing is unknown."""
    levels = [(x, free)]
    unknown = np.count_nonzero(free)
    while unknown or len(levels) <= least:
        fine, fine_free = levels[-1]
        shape = tuple((side + 1) // 2 for side in fine.shape)
        coarse, coarse_free = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
        unknown = _pyramid.pull(fine, fine_free, threads, coarse, coarse_free)
        levels.append((coarse, coarse_free))
    return levels


def _fill_pyramid(x, free, threads):
    """Fill the free pixels of x by pull-push interpolation."""
    levels = _pull(x, free, threads)
    for (fine, fine_free), (coarse, _) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        _pyramid.push(coarse, fine_free, threads, fine)


def _fill_nearest(x, free):
    """Give each free pixel of x the value of the known pixel nearest to it."""
    from scipy.ndimage import distance_transform_edt

    rows, cols = distance_transform_edt(free, return_distances=False, return_indices=True)
    x[...] = x[rows, cols]


# ---- checks ----


def _planes(image, channel_axis):
    """A view of shape (channels, rows, cols)."""
    return image[np.newaxis] if channel_axis is None else np.moveaxis(image, channel_axis, 0)


def _check_mask(mask, known, image, planes, channel_axis):
    """The corrupt pixels as uint8, shape (channels or 1, rows, cols), C-contiguous, 1 where corrupt."""
    if mask is not None and known is not None:
        raise ValueError("mask and known must not both be given")
    name, given = ("mask", mask) if known is None else ("known", known)
    if given is None:
        name, given = "image, whose corrupt pixels were detected,", masks.detect(image)
    given = np.asarray(given)
    if given.dtype.kind not in "bui":
        raise TypeError(f"{name} must be of bool or integers, got {given.dtype}")
    shape = planes.shape[1:]
    if given.shape == image.shape:
        given = _planes(given, channel_axis)
    elif given.shape == shape:
        given = given[np.newaxis]
    else:
        wanted = f"{shape}" if image.ndim == 2 else f"{shape} or {image.shape}"
        raise ValueError(f"{name} must have shape {wanted}, got {given.shape}")
    free = np.ascontiguousarray((given == 0) if known is not None else (given != 0)).view(np.uint8)
    for channel, plane in enumerate(free):
        if plane.all():
            where = f" in channel {channel}" if len(free) > 1 else ""
            raise ValueError(f"{name} must leave at least one pixel known, got none{where}")
    return free


def _refuse_nonfinite(planes, free):
    bad = ~np.isfinite(planes) & (free == 0)
    channel, row, col = (int(i) for i in np.argwhere(bad)[0])
    where = f"row {row}, column {col}" + (f", channel {channel}" if len(planes) > 1 else "")
    raise ValueError(
        f"image must be finite where it is known, got {planes[channel, row, col]} at {where}"
        f" ({np.count_nonzero(bad)} in all)"
    )


def _check_bounds(bounds, integer, least, greatest):
    """The bounds in units of the image; least and greatest are the dtype's, or the known pixels' for floats."""
    if bounds is None:
        return (0.0, 1.0) if not integer and least >= 0 and greatest <= 1 else (least, greatest)
    pair = tuple(bounds) if np.iterable(bounds) else ()
    if len(pair) != 2 or not all(isinstance(bound, numbers.Real) for bound in pair):
        raise TypeError(f"bounds must be a pair of numbers, got {bounds!r}")
    low, high = map(float, pair)
    if not (low <= high and low < math.inf and high > -math.inf):
        raise ValueError(f"bounds must be a pair (low, high) with low <= high, got {bounds!r}")
    if integer and not (low >= least and high <= greatest):
        raise ValueError(f"bounds must lie in the range of the image's dtype, {least} to {greatest}, got {bounds!r}")
    if integer and math.ceil(low) > math.floor(high):
        raise ValueError(f"bounds must have an integer between them for an integer image, got {bounds!r}")
    return low, high


def _check_loss(loss):
    if isinstance(loss, str):
        from graddesc import losses  # its classes take longer to make than all the rest of the package

        return losses.by_name(loss)
    if isinstance(loss, type) or not (any(hasattr(loss, name) for name in _OFFERS) or callable(loss)):
        raise TypeError(f"loss must be a name, a loss of graddesc.losses or a callable, got {loss!r}")
    return loss


def _check_step(step):
    if step is not None and not callable(step):
        raise TypeError(f"step must be None or a schedule k -> float, such as Constant(0.1), got {step!r}")


def _check_size(size, k):
    """The step size that a schedule returned."""
    return _check_nonnegative(f"step({k})", size)


def _check_init(init, image, free, channel_axis):
    """The name of a fill, or the starting values as planes."""
    if isinstance(init, str):
        if init not in ("pyramid", "nearest", "image"):
            raise ValueError(f"init must be 'pyramid', 'nearest', 'image' or an array, got {init!r}")
        if init != "image":
            return init
        values = image
    else:
        values = np.asarray(init)
        if values.dtype.kind not in "buif":
            raise TypeError(f"init must be an array of real numbers, got {values.dtype}")
        if values.shape != image.shape:
            raise ValueError(f"init must have shape {image.shape}, got {values.shape}")
    values = _planes(values, channel_axis)
    if values.dtype.kind == "f" and not np.isfinite(values[np.broadcast_to(free, values.shape) == 1]).all():
        raise ValueError("init must be finite where the image is corrupt, got NaN or infinity")
    return values


def _check_out(out, image, mask, known):
    if out is None:
        return
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    if out.shape != image.shape or out.dtype != image.dtype:
        raise ValueError(f"out must have shape {image.shape} and dtype {image.dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    for name, other in (("image", image), ("mask", mask), ("known", known)):
        if isinstance(other, np.ndarray) and np.shares_memory(out, other):
            raise ValueError(f"out must not overlap {name}")


def _check_count(name, value, least):
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
    return count


def _check_nonnegative(name, value):
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a non-negative finite number, got {value!r}")
    return float(value)
