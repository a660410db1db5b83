from typing import Any

AVAILABLE: tuple[str, ...]
LEVEL: str

def __getattr__(name: str) -> Any: ...
