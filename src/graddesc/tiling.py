"""Images larger than memory: see `restore`."""

from graddesc.restoration.tiling import restore

__all__ = ["restore"]
