"""Warn of every public name of graddesc that has no entry in the reference."""

import importlib

from sphinx.util import logging

import graddesc

logger = logging.getLogger(__name__)


def _wanted():
    """The full names of everything that the package and its public modules offer."""
    for name in graddesc.__all__:
        value = getattr(graddesc, name)
        if hasattr(value, "__all__"):
            module = importlib.import_module(f"graddesc.{name}")
            yield module.__name__
            # What the package offers by itself has its entry there.
            yield from (
                f"graddesc.{name}.{inner}"
                for inner in module.__all__
                if inner not in graddesc.__all__
            )
        elif not name.startswith("_"):
            yield f"graddesc.{name}"


def _check(app, env):
    entries = env.get_domain("py").objects
    for name in _wanted():
        if name not in entries:
            logger.warning(
                "%s has no entry in the reference", name, type="public_names"
            )


def setup(app):
    """Check when all pages are read."""
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
