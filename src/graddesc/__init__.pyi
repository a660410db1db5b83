from graddesc import (
    animation,
    demos,
    directions,
    images,
    line_search,
    losses,
    masks,
    plots,
    problems,
    samples,
    schedules,
    skimage,
)
from graddesc.descent import gradient_descent, minimize
from graddesc.directions import LBFGS, Adam, ConjugateGradient, HeavyBall, Nesterov, Steepest
from graddesc.isa import build_config
from graddesc.line_search import Backtracking, BarzilaiBorwein, ExactLineSearch, HagerZhang, Polyak, StrongWolfe
from graddesc.restoration.api import restore
from graddesc.restoration.plan import Plan
from graddesc.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    Polynomial,
    StepDecay,
    WarmUp,
)

__version__: str

__all__ = [
    "LBFGS",
    "Adam",
    "Backtracking",
    "BarzilaiBorwein",
    "ConjugateGradient",
    "Constant",
    "Cosine",
    "ExactLineSearch",
    "Exponential",
    "HagerZhang",
    "HeavyBall",
    "InverseSqrt",
    "InverseTime",
    "Nesterov",
    "Plan",
    "Polyak",
    "Polynomial",
    "Steepest",
    "StepDecay",
    "StrongWolfe",
    "WarmUp",
    "__version__",
    "animation",
    "build_config",
    "demos",
    "directions",
    "gradient_descent",
    "images",
    "line_search",
    "losses",
    "masks",
    "minimize",
    "plots",
    "problems",
    "restore",
    "samples",
    "schedules",
    "skimage",
]
