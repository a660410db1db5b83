"""Volumes: the arguments of restore() and Plan that tell them, and what becomes of them."""

import numpy as np
import pytest
from cases import each
from numpy.testing import assert_array_equal

import graddesc
from graddesc.restoration.problem import Units

RNG = np.random.default_rng(16)
VOLUME = RNG.random((5, 6, 7))
MASK = RNG.random(VOLUME.shape) < 0.5


def first_differences(x):
    """The sum of squared first differences of an array of any number of dimensions, and its gradient."""
    value, gradient = 0.0, np.zeros_like(x)
    for axis in range(x.ndim):
        ends = [slice(None)] * axis
        steps = np.diff(x, axis=axis)
        value += float(np.sum(steps**2))
        gradient[(*ends, slice(1, None))] += 2 * steps
        gradient[(*ends, slice(None, -1))] -= 2 * steps
    return value, gradient


def minimum_of_first_differences(x, mask):
    """The minimum over the voxels of the mask, by a dense solution."""
    places = np.flatnonzero(mask)
    unit = np.zeros((len(places), x.size))
    unit[np.arange(len(places)), places] = 1
    columns = np.array([first_differences(row.reshape(x.shape))[1].ravel() for row in unit])
    known = np.where(mask, 0.0, x)
    rest = first_differences(known)[1].ravel()[places]
    known.flat[places] = np.linalg.solve(columns[:, places], -rest)
    return known


@each("init", ["pyramid", "nearest", "image", np.ones(VOLUME.shape)])
def test_callables_see_the_volume_as_it_is(init):
    seen = set()

    def loss(x):
        seen.add(x.shape)
        return first_differences(x)

    restored = graddesc.restore(VOLUME, MASK, loss=loss, init=init, tol=1e-6)
    np.testing.assert_allclose(restored, minimum_of_first_differences(VOLUME, MASK), atol=1e-5)
    assert_array_equal(restored[~MASK], VOLUME[~MASK])
    assert seen == {VOLUME.shape}


@each(
    "shape, mask, options, message",
    [
        (
            (5, 6, 7),
            (6, 7),
            {},
            r"^image must be 2-D, or 3-D with channel_axis or frame_axis where mask is 2-D, .*7\)$",
        ),
        (
            (5, 6, 7, 3),
            (6, 7),
            {"channel_axis": -1},
            "^image must be 3-D with channel_axis where mask is 2-D, got shape",
        ),
        ((5, 6, 7, 3, 2), (5, 6, 7), {}, "^image must be 2-D or 3-D, got shape"),
        ((40, 50, 3), (40, 50, 3), {}, r"give channel_axis=-1, or spacing=\(1, 1, 1\) if it is a volume$"),
        ((5, 6, 7), (5, 7, 6), {}, r"^mask must have shape \(5, 6, 7\), got \(5, 7, 6\)$"),
        ((5, 6, 7), (5, 6, 7), {"loss": "line"}, r"^loss must be one of local differences, .* got LineSmoothness\(\)$"),
        ((5, 6, 7), (5, 6, 7), {"loss": "texture"}, "^loss must be one of local differences, .* got TextureAdaptive"),
        ((5, 6, 7), (5, 6, 7), {"ignore": np.zeros((5, 6, 7), bool)}, None),
        ((5, 6, 7), (5, 6, 7), {"ignore": np.ones((5, 6, 7), bool)}, "^mask must leave at least one pixel known"),
        ((5, 6, 7), (5, 6, 7), {"ignore": MASK, "loss": "edge"}, "^ignore must not be given with a volume"),
        (
            (5, 6),
            (5, 6),
            {"ignore": MASK[0, :5, :6], "spacing": (1, 2), "loss": "tv"},
            "^ignore must not be given with an",
        ),
        (
            (5, 6, 7),
            (5, 6, 7),
            {"spacing": (1, 2)},
            r"^spacing must be a positive finite number, or 3 of them,.*\(1, 2\)$",
        ),
        ((5, 6), (5, 6), {"spacing": (1, 2, 3)}, r"^spacing must be a positive finite number, or 2 of them"),
        (
            (5, 6, 7),
            (5, 6, 7),
            {"spacing": (1, 0, 1)},
            "^spacing must be a positive finite number, or 3 of them,.*got 0$",
        ),
        (
            (5, 6, 7),
            (5, 6, 7),
            {"spacing": np.inf},
            "^spacing must be a positive finite number, or 3 of them,.*got inf$",
        ),
        ((5, 6, 7), (5, 6, 7), {"spacing": [1, np.nan, 1]}, "^spacing must be a positive finite number.*got nan$"),
        (
            (5, 6),
            (5, 6),
            {"spacing": (1, 2), "loss": "line"},
            r"^spacing must be the same along all axes with LineSmooth",
        ),
        ((5, 6), (5, 6), {"spacing": (1, 2), "loss": first_differences}, "^spacing must be .* with a callable loss"),
    ],
)
def test_bad_volumes(shape, mask, options, message):
    options = {"loss": first_differences, **options}
    image, mask = np.random.default_rng(0).random(shape), np.random.default_rng(1).random(mask) < 0.3
    if message is None:
        graddesc.restore(image, mask, **options)
        return
    with pytest.raises(ValueError, match=message):
        graddesc.restore(image, mask, **options)


@each("spacing", ["1", None.__class__, {1: 2}.keys, 1j, (1, "2", 3), (1, True, 1)])
def test_spacing_is_of_numbers(spacing):
    with pytest.raises(TypeError, match=r"^spacing must be a positive finite number, or 3 of them"):
        graddesc.restore(VOLUME, MASK, loss=first_differences, spacing=spacing)


def test_an_even_spacing_changes_nothing():
    image, mask = VOLUME[0], MASK[0]
    for loss in ("edge", "harmonic", "line"):
        assert_array_equal(
            graddesc.restore(image, mask, loss=loss, spacing=(0.3, 0.3)), graddesc.restore(image, mask, loss=loss)
        )


def test_where_a_known_voxel_is_not_finite_is_told():
    bad = VOLUME.copy()
    bad[1, 2, 3] = np.inf
    with pytest.raises(ValueError, match=r"got inf at plane 1, row 2, column 3 \(1 in all\)$"):
        graddesc.restore(bad, np.zeros(bad.shape, bool), loss=first_differences)


def test_a_plan_tells_volumes_from_channels():
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 3, 4] = True
    volume = graddesc.Plan(mask, loss=first_differences)
    assert volume(VOLUME).shape == (5, 6, 7)
    with pytest.raises(ValueError, match=r"^image must be a volume, which is 3-D, got shape \(6, 7\)$"):
        volume(VOLUME[0])
    with pytest.raises(
        ValueError, match=r"^image must have planes, rows and columns \(5, 6, 7\), got shape \(4, 6, 7\)$"
    ):
        volume(VOLUME[:4])
    apart = graddesc.Plan(mask, channel_axis=0, loss=first_differences)
    assert apart(VOLUME).shape == (5, 6, 7)
    for told in ({"shape": (2, 5, 6, 7)}, {"spacing": (1, 1, 1)}):
        coloured = graddesc.Plan(mask, channel_axis=0, loss=first_differences, **told)
        assert coloured(np.stack([VOLUME, VOLUME])).shape == (2, 5, 6, 7)


def test_contrast_is_that_of_a_volume_that_is_turned_or_mirrored():
    volume = np.random.default_rng(2).random((60, 61, 70), np.float32)
    free = np.zeros((1, *volume.shape), np.uint8)
    units = {
        Units.of(given[np.newaxis], free.reshape(1, *given.shape), None, as_is=False, contrasts=True).unit
        for given in (volume, volume[::-1], volume[:, ::-1, ::-1], volume.transpose(1, 2, 0))
    }
    assert len(units) == 1
