"""What the descents of all losses have in common: the protocol, the momentum, and the trend of the changes."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

__all__ = ["SETTLED", "STALLED", "Descent", "Momentum", "Piece", "Trend"]

SETTLED = "The corrupt pixels have settled: what they have yet to change is within tol."
STALLED = "Rounding keeps the corrupt pixels from coming as near to the minimum as tol asks."

# What is restored, as it stands: a channel, the flat indices of its pixels, or None for all, and their values.
Piece: TypeAlias = tuple[int, NDArray[Any] | None, NDArray[Any]]


class Descent(Protocol):
    """A restoration under way, of all channels of an image together."""

    @property
    def iterations(self) -> int:
        """How many are done."""

    @property
    def settled(self) -> bool:
        """Whether what the free pixels have yet to change is within the tolerance."""

    @property
    def settled_message(self) -> str:
        """What that means."""

    @property
    def stalled(self) -> bool:
        """Whether the image cannot come any nearer, by rounding or as there is no one minimum."""

    @property
    def stalled_message(self) -> str:
        """What that means."""

    @property
    def failed(self) -> bool:
        """Whether the image is no longer finite."""

    def advance(self, until: int, tol: float) -> None:
        """Go on for a fraction of a second, until so many iterations are done or the image has settled."""

    def pieces(self) -> Iterator[Piece]:
        """What is restored, as it stands."""

    def loss(self) -> float:
        """The loss of the image as it stands."""


class Momentum:
    """Nesterov's extrapolation weights."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin the sequence again."""
        self._t = 1.0

    def next(self) -> float:
        """The next weight."""
        t = self._t
        self._t = (1 + math.sqrt(1 + 4 * t * t)) / 2
        return (t - 1) / self._t


class Trend:
    """How the changes of an image have fallen since its momentum last started afresh."""

    _WINDOW = 8
    # Where changes do not fall, assume as many more iterations as there have been, at least 50, of the size that
    # changes had: after a restart the momentum, and so the change, is small for a while.
    _ITERATIONS_TO_COME = 50
    _REMEMBERED = 0.93  # of the size, from one iteration to the next

    def __init__(self) -> None:
        self._count, self._size = 0, 0.0
        self._changes: collections.deque[float] = collections.deque(maxlen=self._WINDOW + 1)

    def expected(self, change: float, restarted: bool) -> float:
        """The change that is yet to come, after this one."""
        if restarted:
            self._changes.clear()
        self._changes.append(change)
        self._count += 1
        self._size = max(change, self._REMEMBERED * self._size)
        if len(self._changes) > self._WINDOW and self._changes[0] > change:
            # As if the changes to come fell in a geometric series; but a third of the iterations that there have been
            # will come in any case, as what falls slowly hides behind what falls fast.
            ratio: float = (change / self._changes[0]) ** (1 / self._WINDOW)
            if ratio < 1:
                return change * max(ratio / (1 - ratio), self._count / 3)
        return self._size * max(self._ITERATIONS_TO_COME, self._count)
