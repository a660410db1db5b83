from typing import Literal, TypeAlias, TypedDict

_Level: TypeAlias = Literal["baseline", "v3", "v4"]

class _BuildConfig(TypedDict):
    version: str
    compiler: str
    buildtype: str
    isa: _Level
    isa_available: tuple[_Level, ...]

AVAILABLE: tuple[_Level, ...]
LEVEL: _Level

def team_size(threads: int, pixels: int | None = None) -> int: ...
def build_config() -> _BuildConfig: ...
