"""The levels of instruction sets for which the kernels are compiled."""

import importlib
import inspect
import sys

from graddesc._kernels._build import FAMILIES

from graddesc import _kernels

# Who uses kernels imports them by name, and all who do are there before a test changes what the names stand for.
for user in ("losses", "restoration.api"):
    importlib.import_module(f"graddesc.{user}")


def use_level(name, monkeypatch):
    """Let the package use the kernels of a compiled level."""
    levels = {}
    for family in FAMILIES:
        for level in _kernels.AVAILABLE:
            module = sys.modules.get(f"graddesc._kernels.{family}_{level}")
            levels[module] = importlib.import_module(f"graddesc._kernels.{family}_{name}")
    levels.pop(None, None)
    for module in [module for path, module in sys.modules.items() if path.startswith("graddesc")]:
        for attribute, value in list(vars(module).items()):
            if inspect.ismodule(value) and value in levels and not attribute.endswith(_kernels.AVAILABLE):
                monkeypatch.setattr(module, attribute, levels[value])
