"""Restore images and minimise functions by gradient descent, with compiled kernels."""

# Compiled modules import these when they start, and would crash if that failed there, or were interrupted. NumPy
# imports them as well.
import collections.abc  # noqa: F401
import importlib
import inspect  # noqa: F401
import types  # noqa: F401
from typing import TYPE_CHECKING

from graddesc._build import VERSION as __version__

# Public names are loaded on first use: importing the package must cost next to nothing. Type checkers and editors read
# the imports, Python the tables below; a test compares them.
if TYPE_CHECKING:
    # isort: off
    from graddesc import (
        animation as animation,
        demos as demos,
        directions as directions,
        images as images,
        line_search as line_search,
        losses as losses,
        masks as masks,
        plots as plots,
        problems as problems,
        samples as samples,
        schedules as schedules,
        skimage as skimage,
        tiling as tiling,
    )
    from graddesc.descent import gradient_descent as gradient_descent, minimize as minimize
    from graddesc.directions import (
        LBFGS as LBFGS,
        Adam as Adam,
        ConjugateGradient as ConjugateGradient,
        HeavyBall as HeavyBall,
        Nesterov as Nesterov,
        Steepest as Steepest,
    )
    from graddesc.isa import build_config as build_config
    from graddesc.line_search import (
        Backtracking as Backtracking,
        BarzilaiBorwein as BarzilaiBorwein,
        ExactLineSearch as ExactLineSearch,
        HagerZhang as HagerZhang,
        Polyak as Polyak,
        StrongWolfe as StrongWolfe,
    )
    from graddesc.restoration.api import restore as restore
    from graddesc.restoration.plan import Plan as Plan
    from graddesc.schedules import (
        Constant as Constant,
        Cosine as Cosine,
        Exponential as Exponential,
        InverseSqrt as InverseSqrt,
        InverseTime as InverseTime,
        Polynomial as Polynomial,
        StepDecay as StepDecay,
        WarmUp as WarmUp,
    )
    # isort: on

_HOME = {
    name: module
    for module, names in {
        "descent": "gradient_descent minimize",
        "directions": "LBFGS Adam ConjugateGradient HeavyBall Nesterov Steepest",
        "isa": "build_config",
        "line_search": "Backtracking BarzilaiBorwein ExactLineSearch HagerZhang Polyak StrongWolfe",
        "restoration.api": "restore",
        "restoration.plan": "Plan",
        "schedules": "Constant Cosine Exponential InverseSqrt InverseTime Polynomial StepDecay WarmUp",
    }.items()
    for name in names.split()
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
    "tiling",
)

__all__ = ["__version__", *_HOME, *_MODULES]


if not TYPE_CHECKING:  # to a type checker it would say that every name is there

    def __getattr__(name):
        if name in _HOME:
            value = getattr(importlib.import_module(f"graddesc.{_HOME[name]}"), name)
        elif name in _MODULES:
            value = importlib.import_module(f"graddesc.{name}")
        else:
            raise AttributeError(f"module 'graddesc' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
