"""How many processors this process may use: the quota of its control groups, from files made for the test."""

import math
import os

import pytest

from graddesc import isa, processors


def system(folder, groups, mounts, files):
    """Make what Linux tells of a process, and the files of its control groups; return the process's folder."""
    process = folder / "self"
    process.mkdir()
    (process / "cgroup").write_text("".join(f"{line}\n" for line in groups))
    lines = [
        f"{31 + k} 23 0:{28 + k} {root} {folder}{mount} rw,relatime shared:9 - {kind} {kind} rw,{options}\n"
        for k, (kind, root, mount, options) in enumerate(mounts)
    ]
    (process / "mountinfo").write_text("".join(["22 1 0:20 / / rw - ext4 /dev/vda1 rw\n", *lines]))
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return str(process)


V1, V2 = ("cgroup", "/", "/fs/cpu,cpuacct", "cpu,cpuacct"), ("cgroup2", "/", "/fs", "nsdelegate")
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "expected"),
    [
        pytest.param([], [], {}, math.inf, id="no groups"),
        pytest.param(["0::/"], [V2], {}, math.inf, id="v2, no file"),
        pytest.param(["0::/"], [V2], {"fs/cpu.max": "max 100000"}, math.inf, id="v2, no quota"),
        pytest.param(["0::/"], [V2], {"fs/cpu.max": "150000 100000"}, 1.5, id="v2, its own root"),
        pytest.param(
            ["0::/a/b"], [V2], {"fs/a/b/cpu.max": "max 100000", "fs/a/cpu.max": "4000 1000"}, 4, id="v2, above"
        ),
        pytest.param(
            ["0::/a/b"], [V2], {"fs/a/b/cpu.max": "3000 1000", "fs/a/cpu.max": "4000 1000"}, 3, id="v2, the least"
        ),
        pytest.param(
            ["0::/docker/17"],
            [("cgroup2", "/docker/17", "/fs", "nsdelegate")],
            {"fs/cpu.max": "2000 1000", "fs/docker/17/cpu.max": "1000 1000"},
            2,
            id="v2, the mount is the group",
        ),
        pytest.param(
            ["0::/docker/17"],
            [("cgroup2", "/docker/17/inner", "/fs", "nsdelegate")],
            {"fs/cpu.max": "2000 1000", "cpu.max": "1000 1000"},
            2,
            id="v2, the mount is a part",
        ),
        pytest.param(["0::/"], [V2], {"fs/cpu.max": "nonsense"}, math.inf, id="v2, not understood"),
        pytest.param(
            ["9:name=systemd:/a", "4:cpu,cpuacct:/a", "3:memory:/c"],
            [("cgroup", "/", "/fs/memory", "memory"), V1],
            {
                f"fs/cpu,cpuacct/a/{QUOTA}": "250000",
                f"fs/cpu,cpuacct/a/{PERIOD}": "100000",
                f"fs/cpu,cpuacct/{QUOTA}": "-1",
                f"fs/cpu,cpuacct/{PERIOD}": "100000",
                f"fs/memory/a/{QUOTA}": "1",
                f"fs/memory/a/{PERIOD}": "100000",
            },
            2.5,
            id="v1",
        ),
        pytest.param(
            ["4:cpu,cpuacct:/a"],
            [V1],
            {f"fs/cpu,cpuacct/a/{QUOTA}": "-1", f"fs/cpu,cpuacct/a/{PERIOD}": "100000"},
            math.inf,
            id="v1, no quota",
        ),
        pytest.param(
            ["1:cpu:/a", "0::/b"],
            [("cgroup", "/", "/fs/cpu", "cpu"), ("cgroup2", "/", "/fs/unified", "")],
            {f"fs/cpu/a/{QUOTA}": "50000", f"fs/cpu/a/{PERIOD}": "100000"},
            0.5,
            id="both",
        ),
    ],
)
@pytest.mark.posix
def test_quota(tmp_path, groups, mounts, files, expected):
    assert processors.quota(system(tmp_path, groups, mounts, files)) == expected


@pytest.mark.parametrize(("bound_to", "quota", "expected"), [(8, math.inf, 8), (8, 2.5, 3), (2, 3, 2), (4, 0.5, 1)])
def test_as_many_as_the_process_is_bound_to_and_has_time_for(monkeypatch, bound_to, quota, expected):
    monkeypatch.setattr(os, "process_cpu_count", lambda: bound_to, raising=False)
    monkeypatch.setattr(processors, "_quota_of_this_process", lambda: quota)
    assert processors.available() == expected
    assert isa.team_size(100) == expected


def test_of_this_process():
    assert processors.quota() > 0
    assert 1 <= processors.available() <= os.cpu_count()


def test_a_system_that_tells_nothing(monkeypatch):
    for name in ("process_cpu_count", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.setattr(processors, "_quota_of_this_process", lambda: math.inf)
    assert processors.available() == 1
