"""Restore images and minimise functions by gradient descent, with compiled kernels."""

# Compiled modules import these when they start, and would crash if that failed there, or were interrupted. NumPy
# imports them as well.
import collections.abc  # noqa: F401
import importlib
import inspect  # noqa: F401
import types  # noqa: F401

from graddesc._build import VERSION as __version__

# Public names and the modules that hold them, loaded on first use: importing the package must cost next to nothing.
# The stub __init__.pyi says the same to type checkers.
_HOME = {
    "Adam": "directions",
    "Backtracking": "line_search",
    "BarzilaiBorwein": "line_search",
    "ConjugateGradient": "directions",
    "Constant": "schedules",
    "Cosine": "schedules",
    "ExactLineSearch": "line_search",
    "Exponential": "schedules",
    "HagerZhang": "line_search",
    "HeavyBall": "directions",
    "InverseSqrt": "schedules",
    "InverseTime": "schedules",
    "LBFGS": "directions",
    "Nesterov": "directions",
    "Plan": "restoration.plan",
    "Polyak": "line_search",
    "Polynomial": "schedules",
    "Steepest": "directions",
    "StepDecay": "schedules",
    "StrongWolfe": "line_search",
    "WarmUp": "schedules",
    "build_config": "isa",
    "gradient_descent": "descent",
    "minimize": "descent",
    "restore": "restoration.api",
}
_MODULES = (
    "animation",
    "demos",
    "directions",
    "images",
    "line_search",
    "losses",
    "masks",
    "plots",
    "problems",
    "samples",
    "schedules",
    "skimage",
)

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name):
    if name in _HOME:
        value = getattr(importlib.import_module(f"graddesc.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"graddesc.{name}")
    else:
        raise AttributeError(f"module 'graddesc' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
