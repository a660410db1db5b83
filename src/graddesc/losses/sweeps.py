"""What the compiled descents of all losses have in common: the protocol, and the momentum."""

import math
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Momentum", "Sweeps"]


class Sweeps(Protocol):
    """A compiled descent under way, of all channels of an image together.

    A class that follows it is made from ``x`` (the image, shape (channels, rows, cols), float32 or float64,
    C-contiguous, which becomes a part of the workspace), ``free`` (uint8, shape (channels or 1, rows, cols), 1 where a
    pixel may change), ``low`` and ``high`` (the range to which free pixels are clamped) and ``threads``.

    Attributes
    ----------
    value : float
        Finite as long as the image is.
    change : float
        The root mean square change of the free pixels in the last sweep.
    restarted : bool
        Whether the last accelerated sweep began with no momentum, as the one before had pointed uphill.
    """

    @property
    def value(self) -> float:
        """See above."""

    @property
    def change(self) -> float:
        """See above."""

    restarted: bool

    def accelerate(self) -> None:
        """Take an accelerated step, with a size of its own for each pixel."""

    def descend(self, step: float, track_change: bool = False) -> None:
        """Take a plain step of a given size."""

    def contrast(self) -> float:
        """The root mean square difference between neighbours, which a change is compared with."""

    def planes(self) -> NDArray[Any]:
        """The channels as they stand."""

    def loss(self) -> float:
        """The loss of the channels as they stand."""


class Momentum:
    """Nesterov's extrapolation weights, from some place of their sequence on, and bounded."""

    def __init__(self, start: float = 1.0, most: float = 1.0) -> None:
        self._start, self._most = start, most
        self.restart()

    def restart(self) -> None:
        """Begin the sequence again."""
        self._t = self._start

    def next(self) -> float:
        """The next weight."""
        t = self._t
        self._t = (1 + math.sqrt(1 + 4 * t * t)) / 2
        return min((t - 1) / self._t, self._most)
