"""The loop of all solvers, with fakes; and what holds for every solver that it runs."""

import itertools
import math
import time

import numpy as np
import pytest
import scenes
from levels import use_level
from numpy.testing import assert_array_equal

import graddesc
from graddesc import _kernels
from graddesc.losses.sweeps import SETTLED
from graddesc.restoration import quadratics, solver, windows
from graddesc.restoration.solver import Limits, descend, follow

LOSSES = ["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture"]
DTYPES = [np.uint8, np.uint16, np.float32, np.float64]


class Steps:
    """A descent that notes what it is asked, and does so many iterations each time."""

    settled_message = "It rests."

    def __init__(self, *counts, settled=math.inf, stalled=math.inf, failed=math.inf):
        self.counts, self.iterations, self.asked = itertools.chain(counts, itertools.repeat(1)), 0, []
        self._settled, self._stalled, self._failed = settled, stalled, failed

    settled = property(lambda self: self.iterations >= self._settled)
    stalled = property(lambda self: self.iterations >= self._stalled)
    stalled_message = "It is stuck."
    failed = property(lambda self: self.iterations >= self._failed)

    def advance(self, until, tol):
        self.asked.append((until, tol))
        self.iterations = min(self.iterations + next(self.counts), until)


def limits(max_iter=10, tol=0.5, max_time=None):
    return Limits.of(max_iter, tol, max_time, None, time.perf_counter(), 0.25)


# ---- descend ----


def test_unwatched_steps_go_on_as_they_like():
    steps = Steps(4, 3, settled=9)
    assert descend(steps, limits(100), None) == (0, "It rests.")
    assert steps.asked == [(100, 0.5)] * 4
    assert steps.iterations == 9


def test_watched_steps_are_reported_one_by_one():
    reports = []
    steps = Steps(0, 5, 0, 5, settled=3)
    assert descend(steps, limits(100), lambda *report: reports.append(report))[0] == 0
    # Asked for one at a time, and told when it is done: a large image may take several looks for it.
    assert [until for until, _ in steps.asked] == [1, 1, 2, 2, 3]
    assert reports == [(1, None), (2, None), (3, None)]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ({}, solver.ITERATIONS),
        ({"settled": 3}, (0, "It rests.")),
        ({"stalled": 3}, (1, "It is stuck.")),
        ({"failed": 3}, solver.NOT_FINITE),
        ({"failed": 3, "settled": 3, "stalled": 3}, solver.NOT_FINITE),
        ({"settled": 3, "stalled": 3}, (0, "It rests.")),
        ({"settled": 10}, (0, "It rests.")),  # with the last iteration that was allowed
        ({"settled": 11}, solver.ITERATIONS),
    ],
)
def test_steps_end(watched, ends, outcome):
    steps = Steps(**ends)
    assert descend(steps, limits(10), (lambda *_: None) if watched else None) == outcome
    assert steps.iterations == min([10, *ends.values()])


def test_nothing_is_done_in_no_iterations():
    steps = Steps(settled=0)
    assert descend(steps, limits(0), None) == solver.ITERATIONS
    assert steps.asked == []


def test_time_is_looked_at_after_each_turn():
    steps = Steps(2)
    assert descend(steps, limits(max_time=0), None) == solver.TIME
    assert steps.iterations == 2
    # What has settled in the last moment has.
    assert descend(Steps(settled=1), limits(max_time=0), None)[0] == 0


def test_a_report_stops_the_steps():
    def stop(nit, step):
        if nit == 2:
            raise StopIteration

    steps = Steps(settled=2)
    assert descend(steps, limits(), stop) == solver.CALLBACK
    assert steps.iterations == 2


def test_no_tolerance_is_none_at_all():
    steps = Steps()
    descend(steps, Limits(1, None, math.inf), None)
    assert steps.asked == [(1, 0.0)]


# ---- follow ----


class PlainSteps:
    """Plain steps whose changes and values are given."""

    def __init__(self, changes=(1.0,), values=(1.0,)):
        self._changes, self._values, self.taken = itertools.cycle(changes), itertools.cycle(values), []

    def descend(self, step, track_change=False):
        self.taken.append((step, track_change))
        self.change, self.value = next(self._changes), next(self._values)

    def contrast(self):
        return 10.0


def test_a_schedule_is_followed_in_its_unit():
    steps, reports = PlainSteps(), []
    assert follow(steps, lambda k: 6.0 / (k + 1), Limits(3, None, math.inf), 2.0, lambda *r: reports.append(r)) == (
        solver.ITERATIONS
    )
    assert steps.taken == [(3.0, False), (1.5, False), (1.0, False)]
    assert reports == [(1, 6.0), (2, 3.0), (3, 2.0)]


def test_a_schedule_ends_where_it_changes_less_than_its_tolerance():
    steps = PlainSteps([1.0, 5.1, 5.0])
    sizes = [0.0, 1.0, 1.0, 1.0]  # a step of none is no sign of rest
    assert follow(steps, sizes.__getitem__, Limits(4, 0.5, math.inf), 1.0, None) == (0, SETTLED)
    assert steps.taken == [(0.0, True), (1.0, True), (1.0, True)]


def test_a_schedule_ends_as_others_do():
    def stop(nit, step):
        raise StopIteration

    for steps, given, report, outcome in (
        (PlainSteps(values=[1.0, np.nan]), Limits(9, None, math.inf), None, solver.NOT_FINITE),
        (PlainSteps(values=[np.inf]), Limits(9, None, math.inf), stop, solver.CALLBACK),
        (PlainSteps(), Limits(9, None, -math.inf), None, solver.TIME),
        (PlainSteps(), Limits(0, None, math.inf), None, solver.ITERATIONS),
    ):
        assert follow(steps, lambda k: 1.0, given, 1.0, report) == outcome
    with pytest.raises(ValueError, match=r"step must return a non-negative finite number, got -1\.0 in iteration 0"):
        follow(PlainSteps(), lambda k: -1.0, Limits(9, None, math.inf), 1.0, None)


# ---- limits ----


def test_limits_have_defaults():
    solving = Limits.of(None, None, None, None, 0.0, 0.25)
    assert (solving.max_iter, solving.tol, solving.remaining()) == (3000, 0.25, None)
    following = Limits.of(None, None, None, graddesc.Constant(1.0), 0.0, 0.25)
    assert (following.max_iter, following.tol) == (500, None)
    given = Limits.of(7, 0.125, 50.0, graddesc.Constant(1.0), time.perf_counter(), 0.25)
    assert (given.max_iter, given.tol) == (7, 0.125)
    assert 0 < given.remaining() <= 50
    assert not given.expired()
    other = given.of_solver(0.1)
    assert (other.max_iter, other.tol) == (3000, 0.1)
    assert 0 < other.remaining() <= given.remaining() + 1
    late = Limits.of(None, None, 1.0, None, time.perf_counter() - 2, 0.25)
    assert late.expired()
    assert late.remaining() == 0


# ---- what holds for every solver ----


def scene(shape=(64, 300)):
    i, j = np.mgrid[: shape[0], : shape[1]]
    grain = np.random.default_rng(5).standard_normal(shape)
    return np.clip(0.5 + 0.2 * np.sin(i / 9) * np.cos(j / 13) + 0.15 * (i + j > 90) + 0.02 * grain, 0.02, 0.98)


def as_dtype(image, dtype):
    return np.rint(image * np.iinfo(dtype).max).astype(dtype) if np.dtype(dtype).kind == "u" else image.astype(dtype)


def kinds_of_masks(shape):
    rows, cols = np.indices(shape)
    rng = np.random.default_rng(1)
    letters = np.resize(scenes.text(max(shape)), shape)
    return {
        "lone pixels": rng.random(shape) < 0.004,
        "half": rng.random(shape) < 0.5,
        "most": rng.random(shape) < 0.9,
        "hole": np.hypot(rows - shape[0] // 2, cols - shape[1] // 2) < shape[0] / 3,
        "scratches": (rows + cols) % 41 < 2,
        "text": letters,
        "a side": cols > 0.7 * shape[1],
    }


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.usefixtures("every_thread")
@pytest.mark.once
def test_levels_and_threads_give_the_same_bits(loss, dtype, monkeypatch):
    shape = (48, 56) if loss == "texture" else (64, 300)
    image = as_dtype(scene(shape), dtype)
    runs = [("baseline", 1), *((level, 3) for level in _kernels.AVAILABLE[:-1])]
    runs += [(_kernels.AVAILABLE[-1], threads) for threads in (1, 2, 7)]
    # "texture" takes a step of each kind in any case; the others, more than fill what coarse grids leave.
    settings = {"max_iter": 6} if loss == "texture" else {"max_iter": 20}
    masks = kinds_of_masks(shape)
    if loss == "texture":
        masks = {name: masks[name] for name in ("half", "hole", "scratches")}
    if image.dtype.kind == "u":  # which the kernels get as floats
        masks = {name: masks[name] for name in ("half", "hole")}
    for name, mask in masks.items():
        results = []
        for level, threads in runs:
            with monkeypatch.context() as patched:
                use_level(level, patched)
                results.append(graddesc.restore(image, mask, loss=loss, threads=threads, **settings))
        assert (results[0] != image)[mask].any(), name
        for result, run in zip(results[1:], runs[1:], strict=True):
            assert_array_equal(result, results[0], err_msg=f"{name}, {run}")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.once
def test_a_watched_run_is_an_unwatched_one_to_the_bit(loss):
    shape = (48, 56) if loss == "texture" else (64, 150)
    image = np.stack([scene(shape), 1 - scene(shape).T.reshape(shape)], axis=-1).astype(np.float32)
    for name, mask in kinds_of_masks(shape).items():
        settings = {"loss": loss, "channel_axis": -1, "max_iter": 60}
        if loss == "texture" and name not in ("half", "hole"):
            continue
        for given in (mask, np.stack([mask, mask[::-1]], axis=-1)):
            seen = []
            alone = graddesc.restore(image, given, **settings)
            told, info = graddesc.restore(image, given, full_output=True, **settings)
            watched, other = graddesc.restore(image, given, full_output=True, callback=seen.append, **settings)
            assert_array_equal(told, alone, err_msg=name)
            assert_array_equal(watched, alone, err_msg=name)
            assert_array_equal(other.history, info.history)
            assert (other.nit, other.status, other.message) == (info.nit, info.status, info.message)
            assert [state.nit for state in seen] == list(range(1, other.nit + 1))
            assert_array_equal(seen[-1].x, watched)
            assert seen[-1].fun == other.fun == other.history[-1]
            assert len(other.history) == other.nit >= 1


@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_that_is_stopped_is_one_of_so_many_iterations(loss):
    image, mask = scene((48, 56)), kinds_of_masks((48, 56))["most"]
    _, info = graddesc.restore(image, mask, loss=loss, full_output=True)

    for count in {1, min(3, info.nit - 1)} - {0}:

        def stop(intermediate_result, count=count):
            if intermediate_result.nit == count:
                raise StopIteration

        stopped, told = graddesc.restore(image, mask, loss=loss, callback=stop, full_output=True)
        limited, other = graddesc.restore(image, mask, loss=loss, max_iter=count, full_output=True)
        assert (told.nit, told.status) == (other.nit, 99) == (count, 99)
        assert other.status == (0 if count == info.nit else 1)
        assert_array_equal(stopped, limited)
        assert_array_equal(told.history, other.history)
        assert_array_equal(told.history, info.history[:count])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("limit", [{"max_iter": 0}, {"max_time": 0}], ids=str)
def test_a_run_that_has_no_time_leaves_nothing_as_it_was_corrupt(loss, limit, monkeypatch):
    # It looks at the clock as soon as it would in an image that is much larger.
    monkeypatch.setattr(windows, "WORK_AT_ONCE", 1.0)
    monkeypatch.setattr(quadratics, "WORK_AT_ONCE", 1.0)
    image = scene((200, 300))
    for name, mask in kinds_of_masks(image.shape).items():
        for hole in (np.nan, 1e30):
            restored, info = graddesc.restore(np.where(mask, hole, image), mask, loss=loss, full_output=True, **limit)
            assert_array_equal(restored[~mask], image[~mask])
            assert info.status in (0, 1, 5)
            assert np.isfinite(info.fun)
            assert restored.min() >= 0, name
            assert restored.max() <= 1, name
