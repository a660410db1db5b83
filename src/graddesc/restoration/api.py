"""restore(): fill the corrupt pixels of an image so that it becomes smooth, and leave the others alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from graddesc import masks
from graddesc.arguments import are_distances_along, looks_coloured, require_axis
from graddesc.containers import Held, open_image, open_pixels
from graddesc.losses import _Loss, _Name
from graddesc.restoration.frames import restore_frames
from graddesc.restoration.plan import SinglePlan
from graddesc.restoration.solver import Schedule
from graddesc.result import Result

if TYPE_CHECKING:
    from graddesc.masks import _Image, _Pixel
    from graddesc.restoration.plan import _Deviation, _Holder, _Init, _Mask, _PlanSettings, _ValueAndGradient

    class _Settings(_PlanSettings, total=False):
        known: _Mask | None
        ignore: _Mask | None
        loss: _Name | _Loss | _ValueAndGradient
        channel_axis: int | None
        frame_axis: int | None
        spacing: float | Sequence[float] | None
        threads: int


__all__ = ["restore"]


@overload
def restore(
    image: _Holder,
    mask: _Mask | None = None,
    *,
    out: None = None,
    full_output: Literal[False] = False,
    confidence: Literal[False] = False,
    **options: Unpack[_Settings],
) -> _Holder: ...


@overload
def restore(
    image: _Holder,
    mask: _Mask | None = None,
    *,
    out: None = None,
    full_output: Literal[True],
    confidence: bool = False,
    **options: Unpack[_Settings],
) -> tuple[_Holder, Result]: ...


@overload
def restore(
    image: _Holder,
    mask: _Mask | None = None,
    *,
    out: None = None,
    full_output: bool,
    confidence: bool = False,
    **options: Unpack[_Settings],
) -> _Holder | tuple[_Holder, Result]: ...


@overload
def restore(
    image: _Image[_Pixel],
    mask: _Mask | None = None,
    *,
    out: NDArray[_Pixel] | None = None,
    full_output: Literal[False] = False,
    confidence: Literal[False] = False,
    **options: Unpack[_Settings],
) -> NDArray[_Pixel]: ...


@overload
def restore(
    image: _Image[_Pixel],
    mask: _Mask | None = None,
    *,
    out: NDArray[_Pixel] | None = None,
    full_output: Literal[True],
    confidence: bool = False,
    **options: Unpack[_Settings],
) -> tuple[NDArray[_Pixel], Result]: ...


@overload
def restore(
    image: _Image[_Pixel],
    mask: _Mask | None = None,
    *,
    out: NDArray[_Pixel] | None = None,
    full_output: bool,
    confidence: bool = False,
    **options: Unpack[_Settings],
) -> NDArray[_Pixel] | tuple[NDArray[_Pixel], Result]: ...


def restore(
    image: Any,
    mask: _Mask | None = None,
    *,
    known: _Mask | None = None,
    ignore: _Mask | None = None,
    loss: _Name | _Loss | _ValueAndGradient = "edge",
    noise: _Deviation = 0.0,
    huber: bool | float = False,
    step: Schedule | None = None,
    init: _Init = "pyramid",
    max_iter: int | None = None,
    tol: float | None = None,
    max_time: float | None = None,
    bounds: tuple[float | None, float | None] | None = None,
    channel_axis: int | None = None,
    frame_axis: int | None = None,
    spacing: float | Sequence[float] | None = None,
    threads: int = 1,
    callback: Callable[[Result], object] | None = None,
    out: NDArray[Any] | None = None,
    full_output: bool = False,
    confidence: bool = False,
) -> Any:
    """Restore an image of which the corrupt pixels are known, by descending the gradient of a smoothness loss.

    Known pixels stay as they are, to the bit, unless `noise` tells that they are noisy; the others descend the loss,
    clamped to the image's range.

    Parameters
    ----------
    image : array_like, shape (rows, cols) or (planes, rows, cols), with channels or with frames
        The image or volume, of integers or floats of at most 64 bits, any strides and byte order; not changed. The
        values of its corrupt pixels matter only to ``init="image"``. Masked arrays, other subclasses of ndarray,
        xarray's DataArray and pandas' DataFrame come back as what they are. What a masked array masks, or what is NA
        in a table (of the dtype Int64, for one), is corrupt, and missing no more in the result.
    mask : array_like of bool or numbers, of the shape of the axes of space or the image's, optional
        True (not zero) where a pixel is corrupt, as in scikit-image and OpenCV; a last axis of length 1 does not
        matter. By default what a masked array masks; else NaN for floats, of which there must be one; else the least
        and the greatest value of the integer dtype, as of salt and pepper, with a warning that counts them; with
        `noise`, which tells what is wrong with integers, none.
    known : array_like of bool or numbers, of the shape of the axes of space or the image's, optional
        The complement, to give instead of `mask`.
    ignore : array_like of bool or numbers, of the shape of the axes of space, optional
        True where a pixel is neither corrupt nor known, such as land in a sea or a wall in a flow: it keeps its value,
        which may be NaN, and nothing is smoothed across it. For "edge" and "line", or a `step`, in an image the
        equations of what is left are solved by SuperLU, which takes a second for some 10 000 corrupt pixels. In a
        volume "edge" descends no coarse grids, whose voxels would hold what is on either side of a thin wall. A
        callable loss sees these pixels as they are, and has to leave them out itself: it is not asked what its gradient
        is there. Not with "texture", and of volumes with `step` only with callables.
    loss : str, loss of `graddesc.losses`, or callable, default "edge"
        What to descend. A callable ``loss(x) -> (value, gradient)`` gets a copy of the image, in float64 and in its own
        shape and units (integers scaled to [0, 1]), and returns a gradient of that shape. Without `step` it is
        descended by `minimize` with `BarzilaiBorwein`.
    noise : float or array_like of float, of the shape of the axes of space or the image's, default 0
        The standard deviation of the known pixels' noise, in units of the image: 0 where a pixel is exact and stays as
        it is, infinite where it is corrupt, as if `mask` told so. All other pixels change: the loss is weighed against
        their squared distances to what was measured, in variances. Of the image's shape only with `channel_axis`, and
        with or without frames where there is `frame_axis`. With the losses of local differences ("harmonic",
        "biharmonic", "tv", "hessian-tv", "edge") and "texture", without `step` and `ignore`. If it is not known,
        `graddesc.masks.estimate_noise` guesses it.
    huber : bool or float, default False
        Beyond how many standard deviations a noisy pixel's distance counts by its amount and no longer by its square
        [5]_, so that outliers among the known pixels pull less; True is 2, False is never. The range of the image is
        then that of nine in ten known pixels, and what is further out than once more that range counts as if it were
        there. It costs .1 to .4 dB where there are no outliers. Channels that share a mask and a deviation are judged
        together, by the root mean square.
    step : callable ``k -> float``, optional
        A schedule of step sizes, such as `InverseTime`: runs the plain recipe
        ``x <- clip(x - step(k) * gradient(x))``, k = 0, 1, .... By default the solver of the loss runs until the
        image settles: see Notes.
    init : {"pyramid", "nearest", "image"} or array_like of the image's shape, default "pyramid"
        What the corrupt pixels start from: averages of known pixels on ever coarser grids, the nearest known pixel,
        their own corrupt values, or given values in units of the image.
    max_iter : int, optional
        Number of iterations at most: by default 3000 for the solver, 500 for a schedule.
    tol : float, optional
        Stop when the corrupt pixels are within this fraction of the difference between neighbouring pixels (of which
        one at least is corrupt, except with "line" and callables) of where they are going, both in the root mean
        square: by default 0.02 for "biharmonic", 0.05 for "hessian-tv", 0.1 for "line" and callables, 0.25 for the
        others; 1 with `noise`, after which neighbours differ little. For "harmonic" and "biharmonic" the distance to
        the minimum is estimated from the solution itself, for "tv" and "hessian-tv" from what renewals of the weights
        bring, for "line" and callables from the trend of the changes. "edge", and all losses with `noise`, have no
        minimum to be near to, as their weights follow the image: they stop when what renewals bring, carried on as it
        falls, is within `tol`. "texture" takes all of its steps. With a schedule, when an iteration changes less; by
        default it runs to its end.
    max_time : float, optional
        Seconds at most; looked at between iterations.
    bounds : pair of float or None, optional
        The range of the pixels that change, in units of the image; None on either side where there is none. By default
        that of the dtype for integers; for floats (0, 1) if the known pixels lie in it, or else that of the known
        pixels, noise and all.
    channel_axis : int, optional
        The axis that holds the channels of an image. "line" restores each by itself; the losses of local
        differences weigh them together, so that an edge of one is an edge of all. Where channels have masks of their
        own, related ones tell each other what is missing, and others are restored as if alone: see Notes.
    frame_axis : int, optional
        The axis that holds independent images. Each is restored as if it were alone, to the bit; `mask`, `known` and
        `ignore` are those of all, or have this axis too. Threads share the frames, unless there is a callback.
    spacing : float or sequence of float, optional
        The distance of neighbours along each axis of space, in any unit; positive. By default the same along all. Where
        it differs, derivatives are divided by it: by the losses of local differences alone, which take an image then as
        a volume of one plane. Three numbers tell that an image is a volume where it might have channels.
    threads : int, default 1
        Number of threads, at most; no more are used than this process has processors: those that it is bound to, and
        what its container is given. The result has the same bits for every number.
    callback : callable, optional
        Called after each iteration as ``callback(intermediate_result)`` with a `graddesc.result.Result` that has ``x``
        (a copy of the image as it stands), ``fun``, ``nit`` and ``step`` (None for the solver), and with `frame_axis`
        ``frame``, whose ``x`` and numbers they are. StopIteration ends the run. A callback with an attribute
        ``next_iteration`` is not called before that iteration, which saves the time of showing it more.
    out : ndarray, the image's shape and dtype, optional
        Where to write the restored image; must not overlap the image or the mask.
    full_output : bool, default False
        Whether to return the second result as well; measuring its losses costs the solver a pass for each iteration.
    confidence : bool, default False
        With `full_output`, whether to estimate how far each pixel can be trusted: a fifth of the known pixels is held
        out for a second restoration, in the time that is left, and their errors tell, less what `noise` says that
        these have themselves. Not for a callable loss.

    Returns
    -------
    restored : ndarray, the image's shape and dtype
        The restored image; `out` itself if it was given.
    info : graddesc.result.Result
        Only with `full_output`: ``x`` (the restored image), ``fun`` (its loss; with `noise` and that of the data: see
        Notes; NaN where `max_time` was over before that of "texture" was measured, which takes a second for some
        millions of pixels), ``nit`` (iterations), ``success``,
        ``status`` (0 settled, 1 not settled, by iterations, rounding or for lack of one minimum, 3 not finite, 5 time,
        99 callback; with a callable loss also those of `minimize`), ``message`` and ``history`` (the loss after each
        iteration; its unit: see Notes). With `confidence` also ``confidence``: float32, shape
        (rows, cols), or that of the image where channels have masks of their own; 1 where a pixel is exact, towards 0
        the larger its expected squared error is beside the variance of the known pixels, at which it is 1/2; and
        ``error``, of the same dtype and shape: the root of that expected square, in units of the image, of noisy
        pixels, too: of how far they are from what would be seen without noise. With
        `frame_axis` also ``frames``, the result of each; ``fun`` and ``history`` are then sums over them, ``nit`` is
        the greatest, and ``success``, ``status`` and ``message`` are those of the first that failed, if one did.

    Warns
    -----
    UserWarning
        If no mask is given for an integer image: how many pixels are its dtype's extremes, or that none is.

    Raises
    ------
    TypeError
        If image, mask or another argument is of the wrong kind.
    ValueError
        If shapes do not fit, no pixel is known, a known pixel is not finite, no mask is given for a float image
        without NaN, or a number is out of its range.

    Notes
    -----
    Sums of squares ("harmonic", "biharmonic") are solved: small regions of corrupt pixels directly, by Cholesky's
    factorisation, all else by conjugate gradients with a multigrid cycle as preconditioner [1]_, which also tell how
    far from the minimum they are. "tv" and "hessian-tv" are sums of squares whose weights are renewed, in small regions
    from the minimum of that whose weights are all alike, unless `init` is given. "edge" is accelerated projected
    gradient descent [2]_ with a diagonal metric and momentum that starts afresh when it points uphill [3]_, on coarse
    grids first, from pull-push interpolation [4]_ or, in large holes, from a thin plate; its weights are renewed when
    the quadratic that they make is nearly solved. Work goes where something is corrupt: in windows around it, or in the
    tiles of one image. "line" is descended in the same way on one grid. The minima of sums of squares and of total
    variations are clamped to the bounds at the end, the others in each step; so are channels that share a mask with
    "edge", which are descended as their cosine transform, the mean and ever finer differences, each until it has
    settled, unless `bounds` are given.

    Every axis but those of channels and frames is one of space. A volume is restored as a whole, by the losses of local
    differences or a callable; "edge" has weights of its own there: see `EdgeAligned`. Planes that are missing whole are
    nothing special.

    The parameters of the losses of local differences are contrasts in units of the image's own range: 1.5 times the
    range that 99 % of the known pixels (of some of them, if they are many) lie in. So ``restore(a x + b)`` is
    ``a restore(x) + b`` up to rounding, for every dtype, and a hot pixel changes nothing far away: "edge", where most
    is corrupt, shows known pixels that are more than 32 units off to what is near them alone. Steps of a schedule and
    losses that are told are those of the image in these units. "line" and callables take floats in their own units,
    integers scaled to [0, 1].

    Noisy pixels are weighed by sigma alone. What is descended is ``E(x) + sum L (x - y)^2 / 2`` over the known pixels,
    with ``L = 1 / (sigma^2 tau)``; ``fun`` and ``history`` tell this sum. The balance tau of each pixel is told by the
    image as it stands: large where there is little energy around the pixel and much is known, small where there is
    texture. It is found with the first six renewals of the weights on each grid and kept from then on. All losses of
    local differences are descended as "edge" is, and status 0 says of them what it says of "edge": no distance to a
    minimum is promised. The unit of contrast is that of the image without its noise: from the squared range of the
    known pixels that is taken off which sigma adds to normal values.

    Channels that have masks of their own are measured each by itself, for its unit and its bounds, and restored in
    groups. Two are related if the differences of their neighbouring pixels, each channel interpolated by itself, have a
    correlation of .12 or more, and more than three times what chance makes of so many known pixels; a group is what is
    related directly or by way of others, and comes out, to the bit, as if it were an image by itself. With "edge" the
    derivatives of a group are weighed by the inverse of their covariance: a step takes from the residuals of the
    unknown channels of a pixel what those of the known ones predict. The covariance is a local one of up to four
    channels, and that of the whole image, of up to eight principal directions [6]_, of more. With "tv" and "hessian-tv"
    an edge of one channel of a group is an edge of all; with the others each channel is restored alone. With `noise` or
    `step`, all channels are one group, of one unit, with "edge", too, as that of the total variations; so are related
    channels with `ignore`.

    With "edge" at most ten arrays of the image's size are held, twelve of channels with masks of their own, in float32
    (in float64 for float64 images), and four with "line"; fourteen with "harmonic" and "biharmonic", eighteen with
    total variations, in float32 for every image. To watch a run or to ask for the confidence takes one to six more.
    Where few pixels are corrupt it is the image and what is around them.

    References
    ----------
    .. [1] O. Tatebe, "The multigrid preconditioned conjugate gradient method", Sixth Copper Mountain Conference on
       Multigrid Methods, NASA CP 3224, 621-634, 1993.
    .. [2] A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", SIAM
       Journal on Imaging Sciences 2, 183-202, 2009. :doi:`10.1137/080716542`
    .. [3] B. O'Donoghue, E. Candes, "Adaptive restart for accelerated gradient schemes", Foundations of Computational
       Mathematics 15, 715-732, 2015. :doi:`10.1007/s10208-013-9150-3`
    .. [4] S. J. Gortler, R. Grzeszczuk, R. Szeliski, M. F. Cohen, "The lumigraph", SIGGRAPH 1996, 43-54.
       :doi:`10.1145/237170.237200`
    .. [5] P. J. Huber, "Robust estimation of a location parameter", The Annals of Mathematical Statistics 35, 73-101,
       1964. :doi:`10.1214/aoms/1177703732`
    .. [6] M. E. Tipping, C. M. Bishop, "Probabilistic principal component analysis", Journal of the Royal Statistical
       Society B 61, 611-622, 1999. :doi:`10.1111/1467-9868.00196`

    Examples
    --------
    >>> import numpy as np
    >>> import graddesc
    >>> image = np.add.outer(np.arange(8.0), np.arange(8.0)) / 14
    >>> corrupted, mask = graddesc.masks.corrupt(image, missing=0.5, rng=0)
    >>> restored = graddesc.restore(corrupted, mask)
    >>> bool((restored[~mask] == image[~mask]).all())
    True

    Known pixels with noise of standard deviation 0.1, of which the result has half:

    >>> noisy = image + 0.1 * np.random.default_rng(0).standard_normal(image.shape)
    >>> restored = graddesc.restore(noisy, mask, noise=0.1, loss="biharmonic")
    >>> bool(np.std(restored - image) < 0.05)
    True

    The classic recipe, from the corrupt values themselves:

    >>> step = graddesc.InverseTime(1.5, floor=0.015)
    >>> restored, info = graddesc.restore(corrupted, mask, step=step, init="image", full_output=True)
    >>> info.nit
    500
    """
    held = open_image(image)
    flags = {"mask": mask, "known": known, "ignore": ignore}
    given = {name: None if told is None else open_pixels(name, told, image) for name, told in flags.items()}
    told = given["known" if mask is None else "mask"]
    channel_axis, frame_axis = _axes(held.pixels, told, channel_axis, frame_axis, spacing)
    if mask is None and known is None:
        given["mask"] = _detected(held, channel_axis, noise)
    settings: dict[str, Any] = {
        "noise": open_pixels("noise", noise, image),
        "huber": huber,
        "step": step,
        "init": init if isinstance(init, str) else open_pixels("init", init, image),
        "max_iter": max_iter,
        "tol": tol,
        "max_time": max_time,
        "bounds": bounds,
        "callback": callback,
        "out": out,
        "full_output": full_output,
        "confidence": confidence,
    }
    if frame_axis is None:
        plan = SinglePlan(
            shape=held.pixels.shape, **given, loss=loss, channel_axis=channel_axis, spacing=spacing, threads=threads
        )
        if held.masked is not None:
            plan.require_within(held.masked)
        restored, info = plan.restore_array(held.pixels, **settings)
    else:
        restored, info = restore_frames(
            held.pixels,
            held.masked,
            given,
            frame_axis,
            channel_axis,
            loss=loss,
            spacing=spacing,
            threads=threads,
            **settings,
        )
    closed = restored if out is not None else held.close(restored)
    if info is None:
        return closed
    info.x = closed
    return closed, info


def _axes(
    image: NDArray[Any], mask: Any, channel_axis: int | None, frame_axis: int | None, spacing: Any
) -> tuple[int | None, int | None]:
    """The axes of an image that are not axes of space, counted from 0; a last one of length 1 is one of channels."""
    space = image.ndim - (channel_axis is not None) - (frame_axis is not None)
    told = are_distances_along(spacing, space)  # of how many axes of space there are
    if channel_axis is None and space == (4 if told else 3) and image.shape[-1] == 1:
        channel_axis, space = -1, space - 1
    given = [name for name, axis in (("channel_axis", channel_axis), ("frame_axis", frame_axis)) if axis is not None]
    came = f"shape {image.shape}" + (f" and a mask of shape {np.shape(mask)}" if mask is not None else "")
    if space not in (2, 3):
        wanted = f"{2 + len(given)}-D or {3 + len(given)}-D" + (f" with {' and '.join(given)}" if given else "")
        raise ValueError(f"image must be {wanted}, got {came}")
    if space == 3 and np.ndim(mask) == 2:
        wanted = (
            f"{2 + len(given)}-D with {' and '.join(given)}" if given else "2-D, or 3-D with channel_axis or frame_axis"
        )
        raise ValueError(f"image must be {wanted} where mask is 2-D, got {came}")
    if space == 3 and not (given or told) and looks_coloured(image.shape):
        raise ValueError(
            f"image must be told from one with channels, got {came}: give channel_axis=-1, or spacing=(1, 1, 1) if it"
            " is a volume"
        )
    if channel_axis is not None:
        channel_axis = require_axis("channel_axis", channel_axis, image.ndim)
    if frame_axis is not None:
        frame_axis = require_axis("frame_axis", frame_axis, image.ndim)
        if frame_axis == channel_axis:
            raise ValueError(f"frame_axis must be another axis than channel_axis, got {frame_axis} for both")
    return channel_axis, frame_axis


def _detected(held: Held, channel_axis: int | None, noise: Any) -> NDArray[np.bool_]:
    """The mask where none is given: what is masked, NaN, or the extremes of integers, of which the caller is warned.

    Where noise is told of, it is what is wrong with all other pixels.
    """
    if held.masked is not None:
        return held.masked
    pixels = held.pixels
    if np.any(noise):
        return masks.detect(pixels) if pixels.dtype.kind == "f" else np.zeros(pixels.shape, np.bool_)
    mask = masks.detect(pixels)
    if pixels.dtype.kind == "f" and not mask.any():
        raise ValueError("no pixel is NaN: give mask=..., or mask=masks.detect(image, extremes=True)")
    if mask.all():
        raise ValueError("image, whose corrupt pixels were detected, must leave at least one pixel known, got none")
    if pixels.dtype.kind != "f":
        low, high = np.iinfo(pixels.dtype).min, np.iinfo(pixels.dtype).max
        count = int(np.count_nonzero(mask))
        things = "pixels" if channel_axis is None else "values"
        told = f"{count} of {mask.size} {things} are {low} or {high} and count as corrupt, as no mask is given"
        if not count:
            told = f"none of {mask.size} {things} is {low} or {high}: nothing is corrupt, as no mask is given"
        warnings.warn(f"{told} (mask=masks.detect(image, extremes=True) says so without a warning)", stacklevel=3)
    return mask
