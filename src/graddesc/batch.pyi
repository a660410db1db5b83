import argparse
from collections.abc import Callable
from dataclasses import dataclass

from graddesc.images import Picture

__all__ = ["Request", "UsageError", "restore_files"]

class UsageError(Exception): ...

@dataclass(frozen=True)
class Request:
    inputs: list[str]
    output: str
    options: argparse.Namespace
    note: Callable[[str], object]
    say: Callable[[str], object]
    read: Callable[[str], Picture] = ...

def restore_files(request: Request) -> int: ...
