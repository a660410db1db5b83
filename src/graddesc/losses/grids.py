"""The coarser grids of a volume, whose voxels may be farther apart along one axis than along another."""

from __future__ import annotations

# An axis is halved where its neighbours are no farther apart than that many times the least distance.
_HALVED_WITHIN = 1.5


def in_least(distances: tuple[float, ...], shape: tuple[int, ...]) -> tuple[float, ...]:
    """Distances in units of the least one between neighbours; 1 along axes of one voxel, which have none."""
    least = min((h for side, h in zip(shape, distances, strict=True) if side > 1), default=1.0)
    return tuple(h / least if side > 1 else 1.0 for side, h in zip(shape, distances, strict=True))


def halved(shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[int, ...]:
    """The shape of the next coarser grid of a volume, of which one axis at least is longer than 1."""
    least = min(distance for side, distance in zip(shape, spacing, strict=True) if side > 1)
    return tuple(
        (side + 1) // 2 if side > 1 and h < _HALVED_WITHIN * least else side
        for side, h in zip(shape, spacing, strict=True)
    )


def coarse_spacing(shape: tuple[int, ...], coarse: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[float, ...]:
    """The distances of neighbours on a coarser grid, in units of the least."""
    distances = tuple(h if fine == few else 2 * h for fine, few, h in zip(shape, coarse, spacing, strict=True))
    return in_least(distances, coarse)
