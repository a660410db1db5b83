"""Step sizes found by looking along the ray ``x + alpha d``.

Each search is a small frozen dataclass of settings. ``begin()`` starts a run and returns a function ``look(ray)``,
which holds whatever evolves during that run. It is handed a `Ray`, and returns the accepted `Trial` or raises `NoStep`
with a sentence that says why there is none. Anything with such a ``begin`` is a step rule.
"""

from graddesc.line_search.backtracking import Backtracking
from graddesc.line_search.exact import ExactLineSearch
from graddesc.line_search.ray import Move, NoStep, Ray, Trial
from graddesc.line_search.spectral import BarzilaiBorwein, Polyak
from graddesc.line_search.wolfe import HagerZhang, StrongWolfe

__all__ = [
    "Backtracking",
    "BarzilaiBorwein",
    "ExactLineSearch",
    "HagerZhang",
    "Move",
    "NoStep",
    "Polyak",
    "Ray",
    "StrongWolfe",
    "Trial",
]
