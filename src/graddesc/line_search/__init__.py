"""Step sizes found by looking along the ray ``x + alpha d``; `graddesc.line_search.ray` says how to write one."""

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
