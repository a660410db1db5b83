"""`minimize` by each of its two loops: a direction that derives from one of the package's runs in Python's.

Both take steepest descent with exact line search unless told otherwise, as their tests want the simplest case.
"""

import dataclasses

import graddesc
from graddesc import ExactLineSearch, Steepest


def _derived(direction):
    cls = type(direction)
    if not dataclasses.is_dataclass(direction) or cls.__module__ != "graddesc.directions":
        return direction
    return type(cls.__name__, (cls,), {})(**vars(direction))


def minimize_compiled(fun, x0, *args, **options):
    """Run the loop in C, if it knows step and direction."""
    given = {name: value for name, value in options.items() if value is not None or name not in ("step", "direction")}
    return graddesc.minimize(fun, x0, *args, **{"step": ExactLineSearch(), "direction": Steepest(), **given})


def minimize_in_python(fun, x0, *args, **options):
    """Run the loop in Python."""
    return minimize_compiled(
        fun, x0, *args, **{**options, "direction": _derived(options.get("direction") or Steepest())}
    )


LOOPS = {"python": minimize_in_python, "compiled": minimize_compiled}
