"""A page of real use: `mypy --strict` checks its types, and pytest that what they say is so.

A line that must not pass the type checker is marked `type: ignore`, and mypy complains if it would pass.
"""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
import scipy.optimize
import xarray
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeResult

import graddesc
from graddesc import LBFGS, BarzilaiBorwein, InverseTime, StrongWolfe, WarmUp
from graddesc.directions import ConjugateGradient
from graddesc.images import Picture
from graddesc.line_search import Ray, Trial
from graddesc.problems import PROBLEMS, Quadratic, Rosenbrock
from graddesc.result import Result

Vector = NDArray[np.float64]


def square(x: Vector) -> float:
    return float(x @ x)


def slope(x: Vector) -> Vector:
    return 2 * x


def both(x: Vector) -> tuple[float, Vector]:
    return square(x), slope(x)


def test_restore_keeps_the_dtype() -> None:
    picture = assert_type(graddesc.samples.ginkgo(32), NDArray[np.uint8])
    corrupt, mask = graddesc.masks.corrupt(picture, 0.5, rng=np.random.default_rng(0), channel_axis=-1)
    assert_type(corrupt, NDArray[np.uint8])
    assert_type(mask, NDArray[np.bool_])

    restored = assert_type(graddesc.restore(corrupt, mask, channel_axis=-1), NDArray[np.uint8])
    grey: NDArray[np.float32] = restored.mean(axis=-1, dtype=np.float32)
    assert_type(graddesc.restore(grey, known=~mask, threads=2, out=np.empty_like(grey)), NDArray[np.float32])
    from_lists = assert_type(graddesc.restore([[0.5, 1.0], [0.25, 0.5]], [[0, 1], [0, 0]]), NDArray[Any])
    assert restored.dtype == np.uint8
    assert from_lists.dtype == np.float64


def test_what_holds_an_image_comes_back_as_what_it_is() -> None:
    masked: np.ma.MaskedArray[tuple[int, int], np.dtype[np.float32]] = np.ma.masked_less(
        np.arange(16, dtype=np.float32).reshape(4, 4), 1
    )
    filled = assert_type(graddesc.restore(masked), np.ma.MaskedArray[tuple[int, int], np.dtype[np.float32]])
    labelled = xarray.DataArray(np.eye(4), dims=("y", "x"))
    mask = np.eye(4, dtype=bool)
    same = assert_type(graddesc.restore(labelled, mask, loss="tv", threads=2), xarray.DataArray)
    again, info = graddesc.restore(labelled, mask, full_output=True, confidence=True)
    assert_type(again, xarray.DataArray)
    assert_type(info, Result)
    planned = assert_type(graddesc.Plan(mask)(labelled), xarray.DataArray)
    assert type(filled) is np.ma.MaskedArray
    assert type(same) is type(again) is type(planned) is xarray.DataArray
    # An array to write to is what is returned.
    out = np.empty((4, 4))
    written = graddesc.restore(labelled, mask, out=out)
    assert isinstance(written, np.ndarray)
    assert written is out
    for full_output in (False, True):
        result = graddesc.restore(labelled, mask, full_output=full_output)
        assert_type(result, xarray.DataArray | tuple[xarray.DataArray, Result])
        assert isinstance(result, tuple) == full_output


def test_restore_tells_what_it_did() -> None:
    image = np.linspace(0, 1, 64).reshape(8, 8)
    mask = graddesc.masks.detect(image)
    losses_seen = []

    def callback(intermediate_result: Result) -> None:
        losses_seen.append(intermediate_result.fun)

    restored, info = graddesc.restore(
        image, mask, step=WarmUp(InverseTime(1.5, floor=0.015), 5), init="image", callback=callback, full_output=True
    )
    assert_type(restored, NDArray[np.float64])
    assert_type(info, Result)
    assert losses_seen == list(info.history)

    # Whether there is a second result need not be known beforehand.
    for full_output in (False, True):
        result = graddesc.restore(image, mask, init=image, full_output=full_output)
        assert isinstance(result, tuple) == full_output


def test_a_plan_restores_as_restore_does() -> None:
    mask = np.eye(6, dtype=bool)
    plan = graddesc.Plan(mask, (6, 6), loss="biharmonic", threads=2)
    image = np.arange(36, dtype=np.uint16).reshape(6, 6)
    assert_type(plan(image), NDArray[np.uint16])
    restored, info = plan(image, tol=1e-3, callback=lambda result: None, full_output=True)
    assert_type(restored, NDArray[np.uint16])
    assert assert_type(info, Result).x is restored
    for full_output in (False, True):
        assert isinstance(plan(image, full_output=full_output), tuple) == full_output
    with pytest.raises(TypeError, match="positional"):
        plan(image, mask)  # type: ignore[call-overload]


def test_restore_takes_losses_of_all_kinds() -> None:
    image = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    mask = np.eye(4, dtype=np.uint8)
    graddesc.restore(image, mask, loss="line", bounds=(0.0, 1.0), max_time=10.0)
    graddesc.restore(image, mask, bounds=(0.0, None))
    loss = graddesc.losses.by_name("line")
    graddesc.restore(image, mask, loss=loss, step=lambda k: 1 / (k + 1), max_iter=3)
    graddesc.restore(image, mask, loss=lambda x: (float((x**2).sum()), 2 * x), tol=1e-3)

    value, gradient = loss.value_and_gradient(image)
    assert_type(value, float)
    assert_type(gradient, NDArray[np.float32])
    assert assert_type(loss.value(image), float) == value
    assert (assert_type(loss.gradient(image, out=gradient), NDArray[np.float32]) == gradient).all()


def test_minimize_in_many_ways() -> None:
    bounds = [(-1.0, None), (None, 5.0)]
    results: list[OptimizeResult] = [
        graddesc.minimize(square, [3.0, 4.0]),
        graddesc.minimize(square, np.array([3.0, 4.0]), jac=slope, step=graddesc.Constant(0.1)),
        graddesc.minimize(both, [3, 4], jac=True, step=lambda k: 0.5 / (k + 1), bounds=bounds),
        graddesc.minimize(both, [3, 4], jac=True, step=StrongWolfe(), direction=LBFGS(memory=5), history=True),
        graddesc.minimize(square, [3, 4], jac=slope, step=BarzilaiBorwein("adaptive"), bounds=Bounds(-9, 9)),
        graddesc.minimize(square, [3, 0], jac=slope, direction=ConjugateGradient("dai-yuan"), fixed=[False, True]),
        graddesc.minimize(lambda x, scale: scale * square(x), [3, 4], (2.0,), projection=lambda x: np.abs(x)),
        # scipy-stubs 1.17 wants a method to return a private subclass of OptimizeResult.
        scipy.optimize.minimize(square, [3.0, 4.0], jac=slope, method=graddesc.minimize),  # type: ignore[call-overload]
    ]
    for result in results:
        assert result.success
    assert_type(graddesc.minimize(square, [3.0, 4.0]), OptimizeResult)
    x, fx, k = graddesc.gradient_descent(square, slope, [3.0, 4.0])
    assert_type(x, Vector)
    assert_type(fx, float)
    assert_type(k, int)


def test_callbacks_of_both_conventions() -> None:
    points: list[Vector] = []

    def keep_point(x: Vector) -> None:
        points.append(x)

    def stop(intermediate_result: OptimizeResult) -> None:
        raise StopIteration

    graddesc.minimize(square, [3.0], jac=slope, callback=keep_point)
    assert len(points) > 0
    assert graddesc.minimize(square, [3.0], jac=slope, callback=stop).status == 99


def test_own_searches_and_directions() -> None:
    class Halving:
        def begin(self) -> Any:
            def look(ray: Ray) -> Trial:
                return ray.at(0.5)

            return look

    class Downhill:
        scaled = False

        def begin(self) -> Any:
            def turn(g: Vector, s: Vector | None, y: Vector | None, step: float) -> Vector:
                return -g

            return turn

    assert graddesc.minimize(square, [3.0], jac=slope, step=Halving(), direction=Downhill()).nit == 1


def test_problems() -> None:
    for problem in PROBLEMS:
        assert assert_type(problem.minimizers, Vector).shape[1] == assert_type(problem.n, int)
        assert assert_type(problem(problem.start), float) >= assert_type(problem.minimum, float)
        assert assert_type(problem.gradient(problem.start), Vector).shape == (problem.n,)
    assert assert_type(Quadratic([[2, 0], [0, 14]]).b, Vector).shape == (2,)
    graddesc.minimize(Rosenbrock(), Rosenbrock().start, jac=Rosenbrock().gradient, maxiter=3)


def test_pictures(tmp_path: Path) -> None:
    path = tmp_path / "ginkgo.png"
    graddesc.images.write(path, Picture(graddesc.samples.ginkgo(16), metadata={"dpi": (72.0, 72.0)}))
    picture = graddesc.images.read(path)
    restored = graddesc.restore(picture.pixels, np.zeros((16, 16), bool), channel_axis=picture.channel_axis)
    assert restored.dtype == np.uint8
    assert picture.kind == "8-bit colour"
    recorder = graddesc.animation.Recorder(picture.pixels)
    assert bytes(recorder.encode(restored)[:3]) == b"GIF"
    problem = Rosenbrock()
    runs = {
        name: graddesc.minimize(problem, problem.start, jac=problem.gradient, direction=direction, history=True)
        for name, direction in (("L-BFGS", LBFGS()), ("conjugate gradients", ConjugateGradient()))
    }
    race = graddesc.plots.animate_path(problem, runs, by="evaluations", resolution=10, gradient=True)
    assert assert_type(graddesc.plots.encode("race.gif", race), bytes).startswith(b"GIF")
    figure = graddesc.plots.contour_path(square, runs["L-BFGS"], gradient=slope, resolution=10)
    assert graddesc.plots.encode("path.png", figure).startswith(b"\x89PNG")
    assert graddesc.build_config()["isa_available"][0] == "baseline"


def test_mistakes_that_a_type_checker_finds() -> None:
    image = np.ones((2, 2))
    mask = np.eye(2, dtype=bool)
    with pytest.raises(ValueError, match="init must be"):
        graddesc.restore(image, mask, init="middle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loss must be"):
        graddesc.restore(image, mask, loss="smooth")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="mask must be of bool or of numbers"):
        graddesc.restore(image, np.zeros((2, 2), np.complex128))
    with pytest.raises(TypeError, match="image must be of integers or of floats"):
        graddesc.masks.detect(np.ones((2, 2), np.complex128))  # type: ignore[type-var]
    with pytest.raises(TypeError, match="positional"):
        graddesc.restore(image, mask, ~mask)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="formula must be one of"):
        BarzilaiBorwein("longest")  # type: ignore[arg-type]
    with pytest.warns(scipy.optimize.OptimizeWarning, match="unknown option: max_iter"):
        graddesc.minimize(square, [1.0], max_iter=3)  # type: ignore[call-arg]
    with pytest.raises(FrozenInstanceError):
        InverseTime(1.5).floor = 0.015  # type: ignore[misc]
