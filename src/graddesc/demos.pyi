from dataclasses import dataclass

from _typeshed import StrPath

__all__ = ["Report", "restore"]

@dataclass(frozen=True)
class Report:
    lines: tuple[str, ...]
    files: tuple[str, ...]

def restore(
    directory: StrPath = ".",
    *,
    size: int = 512,
    missing: float = 0.9,
    seed: int = 0,
    threads: int = 1,
    overwrite: bool = False,
) -> Report: ...
