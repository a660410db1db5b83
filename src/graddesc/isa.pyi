from types import ModuleType
from typing import Literal, TypeAlias, TypedDict

_Level: TypeAlias = Literal["baseline", "v3", "v4"]

class _BuildConfig(TypedDict):
    version: str
    compiler: str
    buildtype: str
    openmp: bool
    isa: _Level
    isa_available: tuple[_Level, ...]

AVAILABLE: tuple[_Level, ...]
LEVEL: _Level

def kernels(family: str) -> ModuleType: ...
def team_size(threads: int) -> int: ...
def build_config() -> _BuildConfig: ...
