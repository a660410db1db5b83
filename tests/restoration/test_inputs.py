"""What people bring to restore(): dtypes, masks, masked and labelled arrays, and what is said where none is given."""

import subprocess
import sys
import warnings

import dask.array
import numpy as np
import pandas
import pytest
import xarray
from numpy.testing import assert_array_equal

import graddesc
import graddesc.dask
import graddesc.tiling
from graddesc import masks, restore

DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i2", ">u4", ">f4", ">f8"]
LOSSES = ["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture"]
MASK = np.random.default_rng(0).random((20, 24)) < 0.4


def plane(dtype, rows=20, cols=24):
    """An image that is linear, which second differences restore exactly; every dtype holds it."""
    return np.add.outer(2 * np.arange(rows), np.arange(cols) + 1).astype(dtype)


# ---- dtypes ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_real_dtype_is_kept(dtype):
    image = plane(dtype)
    kept = image.copy()
    damaged = np.where(MASK, image.dtype.type(3), image).astype(dtype)
    for loss in LOSSES:
        restored = restore(damaged, MASK, loss=loss)
        assert restored.dtype == image.dtype  # and byte order
        assert_array_equal(restored[~MASK], kept[~MASK])
        error = np.abs(restored.astype(float) - kept)[MASK]
        assert np.sqrt(np.mean(error**2)) < (0.6 if loss in ("biharmonic", "hessian-tv", "edge") else 2)


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "u4", "u8"])
def test_an_offset_or_a_factor_changes_no_integer(dtype):
    image = plane("u1")
    expected = restore(image, MASK).astype(float)
    for factor, offset in [(1, 0), (1, 1000), (100, 7)] + [(1, -2000)] * (dtype[0] == "i"):
        moved = (image.astype(dtype) * factor + offset).astype(dtype)
        restored = restore(moved, MASK, bounds=(offset, factor * 255 + offset))
        assert np.abs((restored.astype(float) - offset) / factor - expected).max() <= 1


@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_greatest_integers_do_not_overflow(dtype, loss):
    top = np.iinfo(dtype).max
    image = np.full((12, 13), top, dtype)
    image[3:5] = top - 5000
    restored = restore(image, np.eye(12, 13, dtype=bool), loss=loss)
    assert restored.min() > top - 10_000
    low = np.iinfo(dtype).min
    restored = restore(np.full((6, 7), low, dtype), np.eye(6, 7, dtype=bool), loss=loss)
    assert restored.max() < low + 10_000


def test_bounds_of_integers():
    image = plane("i2")
    assert_array_equal(restore(image, MASK, bounds=(-(2**15), 2**15 - 1)), restore(image, MASK))
    assert restore(plane("i8"), MASK, bounds=[np.int64(20), np.float32(30)])[MASK].min() >= 20
    assert_array_equal(restore(plane("i8"), MASK, bounds=np.array([-(2**63), 2**63 - 1])), restore(plane("i8"), MASK))
    with pytest.raises(ValueError, match="bounds must lie in the range of the image's dtype, -128 to 127"):
        restore(plane("i1"), MASK, bounds=(-200, 100))
    for bounds in [(0, 10**400), (-(10**400), 0)]:
        with pytest.raises(ValueError, match="bounds must"):
            restore(image, MASK, bounds=bounds)
        with pytest.raises(ValueError, match="bounds must"):
            restore(image.astype(float), MASK, bounds=bounds)


def test_half_precision_overflows_nowhere():
    image = plane("f2") * np.float16(900)
    restored = restore(image, MASK)
    assert np.isfinite(restored).all()
    assert restored.max() <= image[~MASK].max()


# ---- masks ----


def test_masks_whose_meaning_is_beyond_doubt():
    image = plane("f4")
    expected = restore(image, MASK)
    others = [MASK.astype(t) for t in ("u1", "i8", "f4", "f8", ">f4")]
    others += [MASK * 255, MASK * 0.5, MASK.tolist(), MASK[..., np.newaxis], np.ma.masked_array(MASK)]
    for mask in others:
        assert_array_equal(restore(image, mask), expected)
        assert_array_equal(graddesc.Plan(mask)(image), expected)
        assert_array_equal(restore(image, known=np.asarray(mask) == 0), expected)
    colour = np.dstack([image] * 3)
    assert_array_equal(restore(colour, MASK[..., np.newaxis], channel_axis=-1), restore(colour, MASK, channel_axis=-1))
    only = restore(image[..., np.newaxis], MASK)
    assert only.shape == (20, 24, 1)
    assert_array_equal(only[..., 0], expected)


def test_masks_that_leave_a_doubt():
    image = plane("f4")
    with pytest.raises(ValueError, match="mask must be of bool or of numbers that are zero or not, got NaN"):
        restore(image, np.where(MASK, np.nan, 0.0))
    for mask in (MASK.astype(complex), MASK.astype(object), MASK.astype(str)):
        with pytest.raises(TypeError, match="mask must be of bool or of numbers that are zero or not, got "):
            restore(image, mask)
    with pytest.raises(TypeError, match="mask must say of each pixel whether it is, got an array of which some"):
        restore(image, np.ma.masked_array(MASK, mask=MASK))


def test_rows_that_differ_in_length_are_told_by_name():
    image, ragged = plane("f8").tolist(), [[1, 2], [3]]
    lazy = dask.array.from_array(plane("f8"), chunks=10)
    wanted = "{} must be an array, got rows that differ in length"
    for name in ("mask", "known", "ignore", "init", "noise"):
        given = {"mask": MASK, name: ragged} if name != "known" else {name: ragged}
        runs = [lambda: restore(image, **given)]  # noqa: B023 - called here
        if name in ("mask", "known", "ignore"):
            runs.append(lambda: graddesc.Plan(**given))  # noqa: B023
        if name != "init":
            runs.append(lambda: graddesc.tiling.restore(image, **given))  # noqa: B023
            runs.append(lambda: graddesc.dask.restore(lazy, **given))  # noqa: B023
        for run in runs:
            with pytest.raises(TypeError, match=wanted.format(name)):
                run()
    for run in (restore, graddesc.tiling.restore, graddesc.Plan(MASK), masks.detect):
        with pytest.raises(TypeError, match=wanted.format("image")):
            run(ragged, *[MASK] * (run is graddesc.tiling.restore))
    for spaced in (restore, graddesc.dask.restore):
        with pytest.raises(TypeError, match="spacing must be a positive finite number"):
            spaced(image if spaced is restore else lazy, MASK, spacing=ragged)
    # Nor is a number that no machine has threads for.
    assert_array_equal(
        graddesc.tiling.restore(image, MASK, threads=2**70), graddesc.tiling.restore(image, MASK, threads=1)
    )


def test_nothing_masked_is_nothing_corrupt():
    image = plane("f4")
    for mask in (np.zeros((20, 24), bool), np.ma.nomask, False):
        restored, info = restore(image, mask, full_output=True)
        assert_array_equal(restored, image)
        assert (info.status, info.message) == (0, "No pixel is corrupt: the image is returned as it is.")
    for whole in (np.ma.masked_array(image), np.ma.masked_array(image, mask=False)):
        restored, info = restore(whole, full_output=True)
        assert_array_equal(restored, image)
        assert info.message == "No pixel is corrupt: the image is returned as it is."
    with pytest.raises(ValueError, match="known must leave at least one pixel known, got none"):
        restore(image, known=False)


# ---- no mask ----


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_without_nan_ask_for_a_mask(dtype):
    rain = np.maximum(0, np.random.default_rng(1).normal(-1, 2, (30, 30))).astype(dtype)
    for image in (rain, rain / rain.max(), np.array([[-2.0, -1, 0, 1, 2]] * 5, dtype), plane(dtype)):
        with pytest.raises(ValueError, match=r"^no pixel is NaN: give mask=\.\.\., or mask=masks\.detect\("):
            restore(image)
    salted = restore(rain, masks.detect(rain, extremes=True))
    assert_array_equal(salted[rain > 0], rain[rain > 0])


def test_nan_is_corrupt_and_zero_and_one_are_not():
    image = np.where(MASK, np.nan, plane("f4") % 2)
    restored = restore(image)
    assert_array_equal(restored[~MASK], image[~MASK])
    assert np.isfinite(restored).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4"])
def test_integers_warn_of_their_extremes(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    image = plane(dtype)
    image[2, 3], image[4:6, 5] = low, high
    with pytest.warns(UserWarning, match=f"^3 of 480 pixels are {low} or {high} and count as corrupt") as told:
        restored = restore(image)
    assert told[0].filename == __file__
    assert_array_equal(restored, restore(image, masks.detect(image)))
    with pytest.warns(UserWarning, match=f"^none of 480 pixels is {low} or {high}: nothing is corrupt"):
        assert_array_equal(restore(plane(dtype)), plane(dtype))
    with pytest.raises(ValueError, match="whose corrupt pixels were detected, must leave at least one pixel known"):
        restore(np.full((5, 6), high, dtype))


def test_the_square_on_true_zeros():
    image = np.zeros((16, 16), np.uint8)
    image[4:9, 4:9] = 100
    with pytest.warns(UserWarning, match="^231 of 256 pixels are 0 or 255 and count as corrupt, as no mask is given"):
        assert (restore(image) == 100).all()


def test_a_mask_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restore(plane("u1"), MASK)
        restore(np.ma.masked_array(plane("u1"), MASK))


# ---- masked arrays ----


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4"])
def test_a_masked_array(dtype):
    image = np.ma.masked_array(plane(dtype), MASK, fill_value=7, hard_mask=True)
    image.data[MASK] = 77
    before = image.copy()
    restored, info = restore(image, full_output=True)
    assert type(restored) is np.ma.MaskedArray
    assert restored.dtype == image.dtype
    assert not np.ma.is_masked(restored)
    assert restored.fill_value == 7
    assert_array_equal(restored.data, restore(image.data, MASK))
    assert_array_equal(info.x.data, restored.data)
    assert_array_equal(image.mask, before.mask)
    assert_array_equal(image.data, before.data)
    assert_array_equal(graddesc.Plan(MASK)(image).data, restored.data)
    out = np.empty(image.shape, dtype)
    assert restore(image, out=out) is out


def test_a_masked_array_and_a_mask():
    image = np.ma.masked_array(plane("f4"), MASK)
    wider = MASK | (np.arange(24) % 5 == 0)
    assert_array_equal(restore(image, wider).data, restore(image.data, wider))
    none = np.ma.masked_array(plane("f4"))
    assert isinstance(restore(none, MASK), np.ma.MaskedArray)
    rest = MASK & ~(np.arange(24) % 5 == 0)
    for given in ({"mask": rest}, {"known": ~rest}):
        with pytest.raises(ValueError, match="image must mask no pixel that mask calls known"):
            restore(image, **given)
    with pytest.raises(ValueError, match="image must mask no pixel that mask calls known"):
        graddesc.Plan(rest)(image)
    assert_array_equal(restore(image, rest, ignore=MASK & ~rest).data[MASK & ~rest], image.data[MASK & ~rest])


def test_a_masked_array_of_channels():
    each = np.stack([MASK, np.roll(MASK, 3, axis=1), MASK[::-1]], axis=-1)
    image = np.ma.masked_array(np.dstack([plane("f4")] * 3), each)
    restored = restore(image, channel_axis=-1)
    assert_array_equal(restored.data, restore(image.data, each, channel_axis=-1))
    with pytest.raises(ValueError, match="must leave at least one pixel known, got none in channel 1"):
        restore(np.ma.masked_array(image.data, np.arange(3) == 1 + np.zeros((20, 24, 1))), channel_axis=-1)


def test_a_masked_array_may_hold_anything_under_its_mask():
    for hidden in (np.nan, np.inf, -1e300):
        image = np.ma.masked_array(np.where(MASK, hidden, plane("f8")), MASK)
        assert_array_equal(restore(image).data, restore(plane("f8"), MASK))
    with pytest.raises(ValueError, match="image must be finite where it is known, got nan"):
        restore(np.ma.masked_array(np.where(MASK, np.nan, plane("f8")), False))


# ---- other containers ----


class Quantity(np.ndarray):
    """An array with a unit, like those of astropy, that lets no plain numbers in."""

    def __array_finalize__(self, other):
        self.unit = getattr(other, "unit", None)

    def __setitem__(self, key, value):
        raise TypeError("only quantities with this unit")


def test_a_subclass_comes_back_with_what_it_holds():
    image = plane("f4").view(Quantity)
    image.unit = "K"
    restored = restore(image, MASK)
    assert (type(restored), restored.unit) == (Quantity, "K")
    assert_array_equal(restored.view(np.ndarray), restore(plane("f4"), MASK))


def test_a_memory_map_is_read_and_a_plain_array_returned(tmp_path):
    image = np.lib.format.open_memmap(tmp_path / "image.npy", "w+", np.float32, (20, 24))
    image[...] = plane("f4")
    assert type(restore(image, MASK)) is np.ndarray


def test_labelled_arrays():
    values = np.where(MASK, np.nan, plane("f4"))
    image = xarray.DataArray(
        values,
        dims=("lat", "lon"),
        coords={"lat": np.linspace(50, 40, 20), "lon": np.arange(24.0)},
        name="t",
        attrs={"units": "K"},
    )
    restored, info = restore(image, full_output=True)
    assert (restored.name, restored.attrs, restored.dims) == ("t", {"units": "K"}, ("lat", "lon"))
    xarray.testing.assert_equal(restored.coords["lat"], image.coords["lat"])
    assert_array_equal(restored.values, restore(values))
    assert isinstance(info.x, xarray.DataArray)
    assert np.isnan(image.values).any()
    # a mask in another order of dimensions, or of other places
    turned = xarray.DataArray(MASK, dims=("lat", "lon"), coords=image.coords).T
    assert_array_equal(restore(image.fillna(0), turned).values, restore(values, MASK))
    with pytest.raises(ValueError, match="mask must have the labels that image has along lat, got others"):
        restore(image, xarray.DataArray(MASK, dims=image.dims, coords=image.coords)[::-1])
    with pytest.raises(ValueError, match=r"mask must have dimensions of image, \('lat', 'lon'\), got \('x', 'lon'\)"):
        restore(image, xarray.DataArray(MASK, dims=("x", "lon")))


def test_labelled_starts_and_deviations_are_turned_as_the_image():
    rng = np.random.default_rng(3)
    image, mask, start, deviation = plane("f8", 18, 18), rng.random((18, 18)) < 0.4, *rng.random((2, 18, 18))
    turned = xarray.DataArray(image, dims=("y", "x"))
    for given in ({"init": 50 * start, "max_iter": 1}, {"noise": deviation}):
        labelled = {
            name: xarray.DataArray(value.T, dims=("x", "y")) if name != "max_iter" else value
            for name, value in given.items()
        }
        expected = restore(image, mask, loss="tv", **given)
        assert (expected != restore(image, mask, loss="tv", **{n: np.transpose(v) for n, v in given.items()})).any()
        assert_array_equal(restore(turned, mask, loss="tv", **labelled), expected)
        assert_array_equal(graddesc.Plan(mask, loss="tv")(turned, **labelled), expected)


def test_lazy_arrays_are_not_computed():
    computed = []

    def block(block_info=None):
        computed.append(1)
        return plane("f4")

    lazy = dask.array.map_blocks(block, chunks=((20,), (24,)), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    with pytest.raises(TypeError, match=r"image must be in memory, got a dask array: .*graddesc\.dask\.restore"):
        restore(lazy, MASK)
    with pytest.raises(TypeError, match="mask must be in memory, got a dask array"):
        restore(plane("f4"), lazy)
    assert not computed


def test_data_frames():
    values = np.where(MASK, np.nan, plane("f8"))
    table = pandas.DataFrame(values, index=pandas.RangeIndex(100, 120), columns=[f"c{k}" for k in range(24)])
    table.attrs["source"] = "station"
    restored = restore(table)
    assert isinstance(restored, pandas.DataFrame)
    assert restored.index.equals(table.index)
    assert restored.columns.equals(table.columns)
    assert restored.attrs == {"source": "station"}
    assert_array_equal(restored.to_numpy(), restore(values))
    with pytest.raises(ValueError, match="mask must have the labels that image has along columns, got others"):
        restore(table.fillna(0.0), table.isna().rename(columns={"c0": "other"}))


@pytest.mark.parametrize("name", ["Int16", "UInt8", "Float32", "Float64"])
def test_data_frames_that_say_what_is_missing(name):
    values = np.rint(plane("f8")).astype(name.lower())
    table = pandas.DataFrame(values, columns=["a"] * values.shape[1]).astype(name)
    expected = restore(values, MASK)
    table[:] = table.mask(MASK)
    assert table.isna().to_numpy().sum() == MASK.sum()
    for restored in (restore(table), restore(table, MASK)):
        assert set(restored.dtypes) == {table.dtypes.iloc[0]}
        assert_array_equal(restored.to_numpy(values.dtype), expected)
    assert table.isna().to_numpy().sum() == MASK.sum()
    whole = pandas.DataFrame(values).astype(name)
    if values.dtype.kind == "f":
        with pytest.raises(ValueError, match="no pixel is NaN: give mask="):
            restore(whole)
    assert_array_equal(restore(whole, MASK).to_numpy(values.dtype), expected)


def test_data_frames_of_several_kinds():
    values = np.where(MASK, np.nan, np.rint(plane("f8")))
    table = pandas.DataFrame(values)
    table[3] = table[3].astype("Int32")
    restored = restore(table)
    assert set(restored.dtypes) == {np.dtype(float)}
    assert_array_equal(restored.to_numpy(), restore(np.where(MASK, 0, values), MASK))
    table[3] = "text"
    with pytest.raises(TypeError, match="image must be of integers or of floats"):
        restore(table)


def test_nothing_of_other_packages_is_imported():
    code = "import sys, numpy, graddesc; graddesc.restore(numpy.eye(9), numpy.eye(9) > 0, loss='edge');"
    code += "print([m for m in ('xarray', 'pandas', 'dask', 'scipy.sparse', 'scipy.optimize') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_volumes_are_told_from_channels():
    with pytest.raises(ValueError, match=r"image must be 2-D, or 3-D with channel_axis or frame_axis .*\(4, 5\)"):
        restore(np.ones((3, 4, 5)), np.ones((4, 5)))
