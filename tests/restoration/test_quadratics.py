"""The solvers of sums of squares, direct and by conjugate gradients, and of those whose weights are renewed."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from scipy.sparse.linalg import spsolve

import graddesc
from graddesc import losses
from graddesc.losses.sweeps import SETTLED, STALLED
from graddesc.restoration import quadratics, solver
from graddesc.restoration.problem import Problem, Units
from graddesc.restoration.quadratics import QuadraticSteps, Regions, RenewalSteps

QUADRATIC = {"harmonic": 0, "biharmonic": 1}
RENEWED = {"tv": 0, "hessian-tv": 1}
SHAPE = 90, 110


@pytest.fixture(params=QUADRATIC)
def name(request):
    return request.param


@pytest.fixture(params=RENEWED)
def renewed(request):
    return request.param


def image(shape=SHAPE):
    i, j = np.mgrid[: shape[0], : shape[1]]
    grain = np.random.default_rng(3).standard_normal(shape)
    return 40 + 9 * np.sin(i / 7) * np.cos(j / 11) + 5 * (2 * j - i > 60) + 0.3 * grain


def lone(shape=SHAPE, share=0.02):
    mask = np.random.default_rng(0).random(shape) < share
    mask[0, 0] = False
    return mask


def hole(shape=SHAPE):
    """One that is too large to be solved directly, and single pixels."""
    mask = lone(shape, 0.003)
    mask[30:70, 20:75] = True
    return mask


def units_of(planes, masks):
    return Units.of(planes, masks.view(np.uint8), None, as_is=False, contrasts=True)


def steps_of(name, planes, masks, units=None):
    loss = losses.by_name(name)
    problem = Problem(planes, masks.view(np.uint8), units or units_of(planes, masks), "pyramid", 1)
    if name in RENEWED:
        return RenewalSteps(loss, problem)
    return QuadraticSteps(loss, problem, [Regions(QUADRATIC[name], plane, 1) for plane in problem.free])


def restored(steps):
    out = np.array(steps._problem.planes)
    steps._problem.write(steps.pieces(), out)
    return out


def run(steps, until=3000, tol=0.1):
    while not (steps.settled or steps.stalled or steps.iterations >= until):
        steps.advance(until, tol)
    return restored(steps)


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


# ---- what can be told of a mask ----


@pytest.mark.parametrize("make", [lone, hole, lambda: lone(share=0.5), lambda: ~lone(), lambda: np.zeros(SHAPE, bool)])
def test_each_corrupt_pixel_is_solved_directly_or_in_one_window(name, make):
    mask, reach = make(), QUADRATIC[name] + 1
    parts = Regions(QUADRATIC[name], mask.astype(np.uint8), 1)
    image = np.arange(mask.size, dtype=np.float64).reshape(SHAPE)
    held = np.zeros(SHAPE, int)
    held.flat[parts.pixels] += 1
    assert not mask.flat[parts.sources].any()
    for window in parts.windows:
        inside = np.zeros(SHAPE, bool)
        inside[window.box] = window.free
        held += inside
        channel, pixels, values = window.piece(2, np.ascontiguousarray(image[window.box]))
        assert channel == 2
        if pixels is None:
            assert window.free.shape == SHAPE
            assert_array_equal(values, image)
        else:
            assert_array_equal(pixels, np.flatnonzero(inside))
            assert_array_equal(values, pixels)
        # All that its differences reach lies in it.
        around = ndimage.binary_dilation(inside, np.ones((2 * reach + 1, 1))) | ndimage.binary_dilation(
            inside, np.ones((1, 2 * reach + 1))
        )
        rows, cols = np.nonzero(around)
        assert window.box[0].start <= rows.min() <= rows.max() < window.box[0].stop
        assert window.box[1].start <= cols.min() <= cols.max() < window.box[1].stop
    assert_array_equal(held, mask)


def test_windows_that_would_cover_most_are_one(name):
    mask = np.zeros((200, 200), bool)
    mask[10:60, 10:60] = mask[120:170, 110:180] = True
    apart = Regions(QUADRATIC[name], mask.astype(np.uint8), 1)
    assert len(apart.windows) == 2
    mask[5:70, 100:195] = mask[100:190, 5:90] = True
    together = Regions(QUADRATIC[name], mask.astype(np.uint8), 1)
    assert len(together.windows) == 1
    assert together.windows[0].free.sum() == mask.sum()


# ---- sums of squares ----


@pytest.mark.parametrize("masks", [1, 3])
def test_solutions_are_the_minimisers(name, masks):
    mask = np.stack([hole(), lone(share=0.3), ~lone(share=0.1)][:masks])
    x = np.stack([image(), -image()[::-1], image()[:, ::-1]])
    free = np.broadcast_to(mask, x.shape)
    found = run(steps_of(name, x, mask), tol=1e-5)
    assert_array_equal(found[~free], x[~free])
    for plane, corrupt, values in zip(x, free, found, strict=True):
        low, high = x[~free].min(), x[~free].max()
        exact = np.clip(reference.minimiser(QUADRATIC[name], plane, corrupt), low, high)
        apart = rms((values - exact)[corrupt])
        assert apart < 1e-5 * reference.neighbour_difference(exact, corrupt)


def test_what_is_solved_directly_takes_one_iteration(name):
    mask = lone()
    found, info = graddesc.restore(image(), mask, loss=name, full_output=True)
    assert (info.nit, info.status, len(info.history)) == (1, 0, 1)
    exact = reference.minimiser(QUADRATIC[name], image(), mask)
    assert_allclose(found, exact, rtol=1e-11)
    # Whatever the tolerance, the start or the callback.
    for settings in ({"tol": 0.0}, {"tol": 1.0}, {"init": "nearest"}, {"callback": lambda _: None}, {"max_iter": 1}):
        again, told = graddesc.restore(image(), mask, loss=name, full_output=True, **settings)
        assert_array_equal(again, found)
        assert (told.nit, told.status) == (1, 0)


def test_windows_are_solved_in_lockstep_as_they_are_alone(name):
    mask = np.zeros((240, 240), bool)
    mask[10:50, 10:60] = mask[150:210, 140:230] = mask[100, 30] = True
    x = image((240, 240))
    assert len(Regions(QUADRATIC[name], mask.astype(np.uint8), 1).windows) == 2
    units = units_of(x[np.newaxis], mask[np.newaxis])
    free, seen = steps_of(name, x[np.newaxis], mask[np.newaxis]), []
    alone = run(free, tol=1e-3)
    watched = steps_of(name, x[np.newaxis], mask[np.newaxis])
    while not watched.settled:
        done = watched.iterations
        watched.advance(done + 1, 1e-3)
        seen.append(watched.iterations)
        assert watched.iterations - done <= 1
    assert seen == list(range(1, free.iterations + 1))
    assert_array_equal(restored(watched), alone)
    # Of each window by itself as well.
    for part in (np.s_[:100], np.s_[100:]):
        own = mask.copy()
        own[part] = False
        only = run(steps_of(name, x[np.newaxis], own[np.newaxis], units), tol=1e-3)
        assert_array_equal(only[0, own], alone[0, own])


def test_work_at_once_is_bounded(name, monkeypatch):
    mask = np.zeros((240, 240), bool)
    mask[10:50, 10:60] = mask[150:210, 140:230] = True
    x = image((240, 240))[np.newaxis]
    expected = run(steps_of(name, x, mask[np.newaxis]), tol=1e-3)
    monkeypatch.setattr(quadratics, "WORK_AT_ONCE", 1.0)
    steps, turns = steps_of(name, x, mask[np.newaxis]), 0
    while not steps.settled:
        steps.advance(3000, 1e-3)
        turns += 1
    assert turns >= steps.iterations > 1
    assert_array_equal(restored(steps), expected)
    # One iteration is done when all windows that go on have done it, in however many turns.
    steps, turns = steps_of(name, x, mask[np.newaxis]), 0
    while not steps.settled:
        done = steps.iterations
        steps.advance(done + 1, 1e-3)
        turns += 1
        going = [one.run.iterations for one in steps._runs if not one.run.settled]
        assert steps.iterations == (min(going) if going else max(one.run.iterations for one in steps._runs))
        assert max(going, default=0) <= done + 1
    assert turns > steps.iterations
    assert_array_equal(restored(steps), expected)


def test_limits_of_iterations_are_kept(name):
    mask = hole()
    counts = [graddesc.restore(image(), mask, loss=name, max_iter=n, tol=1e-8, full_output=True)[1] for n in (1, 2, 3)]
    assert [(info.nit, info.status) for info in counts] == [(1, 1), (2, 1), (3, 1)]
    assert [info.message for info in counts] == [solver.ITERATIONS[1]] * 3
    # What is direct is solved before the first of them.
    exact = reference.minimiser(QUADRATIC[name], image(), mask)
    far = mask.copy()
    far[24:76, 14:81] = False
    first = graddesc.restore(image(), mask, loss=name, max_iter=1)
    assert far.any()
    assert_allclose(first[far], exact[far], rtol=1e-9)
    assert np.abs(first - exact)[mask].max() > 1e-6


def test_rounding_is_told(name):
    found, info = graddesc.restore(image(), hole(), loss=name, tol=0, full_output=True)
    assert (info.status, info.success, info.message) == (1, False, STALLED)
    assert info.nit < 3000
    assert_allclose(found, reference.minimiser(QUADRATIC[name], image(), hole()), rtol=1e-7)


@pytest.mark.parametrize("start", ["nearest", "values"])
def test_other_starts_lead_to_the_same_minimum(name, start):
    mask, x = hole(), image()
    init = np.full(SHAPE, 47.0) if start == "values" else start
    found, info = graddesc.restore(x, mask, loss=name, init=init, tol=1e-6, full_output=True)
    assert info.status == 0
    exact = reference.minimiser(QUADRATIC[name], x, mask)
    assert rms((found - exact)[mask]) < 1e-6 * reference.neighbour_difference(exact, mask)
    # They are starts: nothing is solved before the first iteration.
    begun = graddesc.restore(x, mask, loss=name, init=init, max_iter=0)
    assert_allclose(begun, graddesc.restore(x, mask, loss="line", init=init, max_iter=0), rtol=1e-14)


def test_a_minimum_that_is_not_the_only_one_is_told():
    x, mask = image((40, 50)), np.ones((40, 50), bool)
    mask[7] = False
    told = {name: graddesc.restore(x, mask, loss=name, full_output=True)[1] for name in ("harmonic", "biharmonic")}
    assert (told["harmonic"].status, told["harmonic"].message) == (0, SETTLED)
    assert told["biharmonic"].status == 1
    assert "one of many minima" in told["biharmonic"].message


# ---- renewals ----


def renewals(kind, x, mask, epsilon, count):
    """What so many renewals of the weights lead to, each quadratic solved directly."""
    x, unknown = x.copy(), np.flatnonzero(mask)
    for _ in range(count):
        square = reference.stencil_square(kind, x, 0.0, 0.0, 0.0)
        hessian = reference.stencil_hessian(kind, x.shape, 1 / np.sqrt(epsilon**2 + square))[unknown]
        x.flat[unknown] = 0
        x.flat[unknown] = spsolve(hessian[:, unknown].tocsc(), -(hessian @ x.ravel()))
    return x


@pytest.mark.once
def test_renewals_lead_to_the_minimum(renewed):
    mask = lone((50, 60), 0.3)
    x, loss = image((50, 60)), losses.by_name(renewed)
    offset, factor = reference.contrast_unit(x[~mask])
    best = offset + factor * renewals(RENEWED[renewed], (x - offset) / factor, mask, loss.epsilon, 150)
    contrast = reference.neighbour_difference(best, mask)
    for tol in (0.3, 0.05, 1e-3):
        found, info = graddesc.restore(x, mask, loss=renewed, tol=tol, bounds=(-np.inf, np.inf), full_output=True)
        assert info.status == 0
        assert info.nit >= 3  # two renewals tell nothing of a series
        assert rms((found - best)[mask]) < tol * contrast


def test_an_iteration_is_a_renewal(renewed):
    # From one quadratic to the next, as the exact solutions go; four steps of conjugate gradients come close.
    mask = lone(share=0.3)
    x, loss = image(), losses.by_name(renewed)
    offset, factor = reference.contrast_unit(x[~mask])
    begun = graddesc.restore(x, mask, loss="line", max_iter=0)
    for count in (1, 2, 3):
        exact = offset + factor * renewals(RENEWED[renewed], (begun - offset) / factor, mask, loss.epsilon, count)
        found = graddesc.restore(x, mask, loss=renewed, init=begun, max_iter=count, tol=1e-9, bounds=(-np.inf, np.inf))
        assert rms((found - exact)[mask]) < 0.1 * rms((begun - exact)[mask])


def test_regions_and_windows_are_renewed_each_by_itself(renewed):
    mask = np.zeros((300, 300), bool)
    mask[10:40, 10:50] = mask[250:280, 190:230] = mask[130:136, 30:33] = mask[160, 130] = True
    x = image((300, 300))[np.newaxis]
    together = steps_of(renewed, x, mask[np.newaxis])
    found = run(together, tol=1e-3)
    assert len(together._windows) == 2
    assert len(together._pixels) == 19
    counts = []
    for part in (np.s_[:100], np.s_[100:150], np.s_[150:200], np.s_[200:]):
        own = np.zeros_like(mask)
        own[part] = mask[part]
        alone = steps_of(renewed, x, own[np.newaxis], together._problem.units)
        assert_array_equal(run(alone, tol=1e-3)[0, own], found[0, own])
        counts.append(alone.iterations)
    assert together.iterations == max(counts)
    assert len(set(counts)) > 1  # what has settled is left alone


def test_small_regions_begin_with_the_sum_of_squares_or_with_what_is_given(renewed):
    x, mask = image(), lone()
    least = graddesc.restore(x, mask, loss=("harmonic", "biharmonic")[RENEWED[renewed]])
    for init in ("pyramid", "nearest"):
        steps = steps_of(renewed, x[np.newaxis], mask[np.newaxis])
        steps._problem.start = init
        begun = restored(steps)[0]
        steps._begin()
        assert_allclose(restored(steps)[0], least if init == "pyramid" else begun, rtol=1e-12)


def test_channels_share_their_weights(renewed):
    mask = lone(share=0.4)
    grey = image()
    alone = graddesc.restore(grey, mask, loss=renewed, tol=1e-3)
    equal = graddesc.restore(np.stack([grey] * 3), mask, loss=renewed, tol=1e-3, channel_axis=0)
    assert_allclose(equal, np.stack([alone] * 3), rtol=1e-6)  # weights are of float32
    # An edge of one is an edge of all: beside a flat channel it is another one.
    step = np.where(np.arange(SHAPE[1]) > 50, 60.0, 20.0) + 0 * grey
    smooth = 40 + 20 * np.sin(np.arange(SHAPE[1]) / 9) + 0 * grey
    with_edge, with_none = (
        graddesc.restore(np.stack([smooth, other]), mask, loss=renewed, tol=1e-3, channel_axis=0)[0]
        for other in (step, smooth)
    )
    assert np.abs(with_edge - with_none).max() > 1e-4


def test_renewals_before_they_begin_are_the_start(renewed, name):
    x, mask = image(), hole()
    expected = graddesc.restore(x, mask, loss="line", max_iter=0)
    for loss in (renewed, name):
        steps = steps_of(loss, x[np.newaxis], mask[np.newaxis])
        assert_allclose(restored(steps)[0], expected, rtol=1e-12)
        assert np.isfinite(steps.loss())
        assert (steps.iterations, steps.settled) == (0, False)


def test_loss_is_that_of_the_clamped_image(renewed, name):
    x, mask = image(), ~lone(share=0.1)
    offset, factor = reference.contrast_unit(x[~mask])
    for loss in (renewed, name):
        found, info = graddesc.restore(x, mask, loss=loss, bounds=(30, 45), full_output=True)
        assert found[mask].min() >= 30
        assert found[mask].max() <= 45
        assert_allclose(info.fun, losses.by_name(loss).value((found - offset) / factor), rtol=1e-8)


def test_work_in_small_pieces_restores_the_same(renewed, name, monkeypatch):
    x, mask = image(), lone(share=0.5)
    x[:40, :40] += 1e4  # needs many iterations
    expected = [graddesc.restore(x, mask, loss=loss, full_output=True) for loss in (renewed, name)]
    monkeypatch.setattr(quadratics, "WORK_AT_ONCE", 1.0)
    found = [graddesc.restore(x, mask, loss=loss, full_output=True) for loss in (renewed, name)]
    for (one, info), (other, other_info) in zip(expected, found, strict=True):
        assert_array_equal(one, other)
        assert info.nit == other_info.nit
    steps = steps_of(renewed, x[np.newaxis], mask[np.newaxis])
    steps.advance(1, 0.1)
    assert steps.iterations == 0  # and the clock may be looked at
