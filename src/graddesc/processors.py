"""How many processors this process may use: those that it is bound to, and the share that its container is given."""

from __future__ import annotations

import functools
import math
import os
import posixpath
from collections.abc import Iterator

_CONTROLLERS = {"cgroup": "cpu", "cgroup2": ""}  # that has the quota, by the kind of file system


def available() -> int:
    """Return the number of processors that this process may use.

    Returns
    -------
    int
        At least 1, at most the processors that the system lets the process run on, and at most the quota of its
        control groups, rounded up: what a container has, not the machine below it. The quota is read once.
    """
    return max(1, math.ceil(min(_bound_to(), _quota_of_this_process())))


def _bound_to() -> int:
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(process: str = "/proc/self") -> float:
    """Return the processors' time that the control groups of a process allow, version 1 or 2, in processors.

    Parameters
    ----------
    process : str, default "/proc/self"
        The folder with what Linux tells of the process.

    Returns
    -------
    float
        The least quota of all groups that the process is in; infinite without one, and on other systems.
    """
    return min((_share(group, kind) for group, kind in _groups(process)), default=math.inf)


_quota_of_this_process = functools.cache(quota)


def _groups(process: str) -> Iterator[tuple[str, str]]:
    """The folders of the control groups that a process is in, and of those that these are in, each with its kind."""
    paths: dict[str, str] = {}  # of the group, by controller; version 2 has one for all, without a name
    for line in _lines(f"{process}/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    for line in _lines(f"{process}/mountinfo"):
        place, _, system = line.partition(" - ")
        (root, mount), (kind, _, options) = place.split()[3:5], system.split()[:3]
        controller = _CONTROLLERS.get(kind)
        if controller in paths and (controller == "" or controller in options.split(",")):
            path = paths[controller]
            parts = [part for part in posixpath.relpath(path, root).split("/") if part != "."]
            if ".." in parts:  # the path as it is outside of the container, whose own group is the root of the mount
                parts = []
            for k in range(len(parts) + 1):
                yield "/".join([mount, *parts[:k]]), kind


def _share(group: str, kind: str) -> float:
    """The quota of one group, infinite if it has none."""
    try:
        if kind == "cgroup2":
            quota, period = _lines(f"{group}/cpu.max")[0].split()
        else:
            quota, period = (_lines(f"{group}/cpu.cfs_{name}_us")[0] for name in ("quota", "period"))
        share = int(quota) / int(period)
    except (IndexError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return math.inf
    return share if share > 0 else math.inf


def _lines(path: str) -> list[str]:
    """The lines of a file; none if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []
