"""Write down what the kernels are called with, and hashes of what they make of it, to be done again in Pyodide.

Usage: python .ci/wasm/record.py FILE, with graddesc installed. The calls are those of many restorations. FILE holds a
pickle of calls in their order, which replay.py takes; NumPy is not needed for that.

An array has one identity from call to call, so that an object that keeps it finds it again. Its values are written down
where they are not what the kernels left there.
"""

import hashlib
import importlib
import itertools
import pickle
import sys

import numpy as np

import graddesc
from graddesc import _kernels

MODULES = ("box", "direct", "kriging", "line", "multigrid", "patches", "pyramid", "regions", "stencil")
LOSSES = ("line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture")
SHAPE = 37, 46


class Tape:
    """The calls so far."""

    def __init__(self):
        self.calls, self._arrays, self._left = [], {}, {}

    def array(self, array):
        """The identity of an array, and its values unless they are as they were left."""
        assert array.flags.c_contiguous, "a kernel takes an array that is not contiguous"
        key = array.__array_interface__["data"][0], array.shape, array.dtype.str
        if key not in self._arrays:
            self._arrays[key] = len(self._arrays), array  # kept, so that no other has its address
        number = self._arrays[key][0]
        digest = hashlib.sha256(array.tobytes()).digest()
        if self._left.get(number) == digest:
            return number, None
        return number, (np.dtype(array.dtype).char, array.shape, array.tobytes())

    def hashes(self, arrays):
        """What the kernels left in arrays."""
        found = {}
        for array in arrays:
            number, _ = self.array(array)
            self._left[number] = hashlib.sha256(array.tobytes()).digest()
            found[number] = self._left[number]
        return found


TAPE = Tape()


class Traced:
    """A module, a function or an object of the kernels whose calls are written down."""

    def __init__(self, real, path, kept=None):
        vars(self).update(_real=real, _path=path, _kept=kept)

    def __getattr__(self, name):
        value = getattr(self._real, name)
        return Traced(value, (*self._path, name), self._kept) if callable(value) else value

    def __getitem__(self, key):
        return Traced(self._real[key], (*self._path, [key]), self._kept)

    def __call__(self, *arguments, **named):
        arrays = list(self._kept or ())
        told = [self._told(argument, arrays) for argument in arguments]
        told_named = {name: self._told(argument, arrays) for name, argument in named.items()}
        before = [TAPE.array(array) for array in arrays]
        result = self._real(*map(plain, arguments), **{name: plain(value) for name, value in named.items()})
        if self._kept is not None:  # a method, whose object may keep what it was given
            self._kept += [array for array in arrays if not any(array is other for other in self._kept)]
        call = {"path": self._path, "arguments": told, "named": told_named, "before": before}
        TAPE.calls.append(call)
        call["after"] = TAPE.hashes(arrays)
        if type(result).__module__.startswith("graddesc"):
            call["result"] = "object", len(TAPE.calls) - 1
            return Traced(result, (len(TAPE.calls) - 1,), arrays)
        call["result"] = "value", pickle.loads(pickle.dumps(result))
        return result

    def _told(self, argument, arrays):
        if isinstance(argument, Traced):
            return "object", argument._path[0]
        if isinstance(argument, np.ndarray):
            arrays.append(argument)
            return "array", TAPE.array(argument)[0]
        if callable(argument):
            return "allocate", None
        return "value", argument.item() if isinstance(argument, np.generic) else argument


def plain(argument):
    """What a kernel takes for a traced object."""
    return argument._real if isinstance(argument, Traced) else argument


def main(path):
    """Run restorations and write the calls."""
    for name in MODULES:
        compiled = name if name in ("box", "regions") else f"{name}_{_kernels.LEVEL}"
        setattr(_kernels, name, Traced(importlib.import_module(f"graddesc._kernels.{compiled}"), (name,)))

    rng = np.random.default_rng(5)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    grey = (40.0 + 90.0 * (3 * rows + cols > 80) + 12.0 * ((rows // 4 + cols // 7) % 2)) / 256
    holes = np.zeros(SHAPE, bool)
    holes[8:19, 11:29] = holes[:, 40] = holes[30, :] = True
    masks = {"most": rng.random(SHAPE) < 0.8, "few": rng.random(SHAPE) < 0.1, "holes": holes}
    for loss, dtype, channels in itertools.product(LOSSES, (np.float32, np.float64), (1, 3)):
        planes = [grey * (1 - 0.2 * k) + rng.integers(-6, 7, SHAPE) / 256 for k in range(channels)]
        image = np.stack(planes, axis=-1).astype(dtype)
        for mask in masks.values():
            graddesc.restore(image, mask, loss=loss, channel_axis=-1)
    for loss in LOSSES[:-1]:
        recipe = {"step": graddesc.InverseTime(1.5, floor=0.015), "init": "image", "max_iter": 20}
        graddesc.restore(image[..., 0], masks["most"], loss=loss, **recipe)
    with open(path, "wb") as file:
        pickle.dump(TAPE.calls, file)
    print(len(TAPE.calls), "calls")


if __name__ == "__main__":
    main(sys.argv[1])
