"""Minimise a function by going downhill: `minimize` and, for the simplest case, `gradient_descent`."""

from graddesc.descent.api import gradient_descent, minimize

__all__ = ["gradient_descent", "minimize"]
