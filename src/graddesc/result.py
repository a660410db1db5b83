"""What restore() and its callbacks tell: a dictionary whose entries are attributes, as SciPy's OptimizeResult is."""

from typing import Any


class Result(dict[str, Any]):
    """A dictionary whose entries are attributes as well, with those of a `scipy.optimize.OptimizeResult`.

    Examples
    --------
    >>> from graddesc.result import Result
    >>> result = Result(fun=0.5, nit=3)
    >>> result.fun, result["nit"]
    (0.5, 3)
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(name)
        del self[name]

    def __dir__(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        if not self:
            return f"{type(self).__name__}()"
        width = max(map(len, self)) + 1
        indent = " " * (width + 2)
        lines = (
            f"{name.rjust(width)}: {repr(value).replace(chr(10), chr(10) + indent)}" for name, value in self.items()
        )
        return "\n".join(lines)
