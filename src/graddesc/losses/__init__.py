"""Smoothness losses: what restore() descends.

Each loss is a small frozen dataclass with ``value(x)``, ``gradient(x, out=None)`` and ``value_and_gradient(x,
out=None)`` on 2-D arrays of float32 or float64; those of local differences on 3-D arrays too, with a ``spacing``.
"""

import functools
from typing import Literal, TypeAlias

from graddesc.losses.differences import (
    Biharmonic,
    Differences,
    EdgeAligned,
    Harmonic,
    HessianTotalVariation,
    TotalVariation,
)
from graddesc.losses.line import LineSmoothness
from graddesc.losses.texture import TextureAdaptive

__all__ = [
    "Biharmonic",
    "EdgeAligned",
    "Harmonic",
    "HessianTotalVariation",
    "LineSmoothness",
    "TextureAdaptive",
    "TotalVariation",
    "by_name",
]

_Loss: TypeAlias = LineSmoothness | Differences | TextureAdaptive
_Name: TypeAlias = Literal["line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge", "texture"]

_NAMES: dict[str, type[_Loss]] = {
    "line": LineSmoothness,
    "harmonic": Harmonic,
    "biharmonic": Biharmonic,
    "tv": TotalVariation,
    "hessian-tv": HessianTotalVariation,
    "edge": EdgeAligned,
    "texture": TextureAdaptive,
}


def by_name(name: _Name) -> _Loss:
    """Return the loss of a name, with its defaults.

    Parameters
    ----------
    name : str
        The name: "line", "harmonic", "biharmonic", "tv", "hessian-tv", "edge" or
        "texture".

    Returns
    -------
    object
        The loss.

    Raises
    ------
    ValueError
        If no loss has this name.
    """
    if name not in _NAMES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, _NAMES))}, got {name!r}")
    return _with_defaults(name)


@functools.cache
def _with_defaults(name: str) -> _Loss:
    return _NAMES[name]()  # whose checks of parameters take 20 microseconds
