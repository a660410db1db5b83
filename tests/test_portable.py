"""On a system without POSIX: the tests are collected, those that need POSIX are skipped, and the command works.

The system is this one, bereft of what Windows does not have.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graddesc import cli, images, outputs

BEREFT = """
import os, signal, sys

for name in ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"):
    sys.modules.pop(name, None)
    sys.modules[name] = None
for name in (
    *("alarm", "ITIMER_REAL", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt", "sigwait"),
    *("SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP"),
    *("SIGUSR1", "SIGUSR2", "SIGWINCH"),
):
    if hasattr(signal, name):
        delattr(signal, name)
for name in (
    *("chown", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg", "getpgid",),
    *("killpg", "mkfifo", "mknod", "nice", "openpty", "O_TMPFILE", "pipe2", "posix_spawn", "register_at_fork"),
    *("sched_getaffinity", "sched_setaffinity", "setsid", "statvfs", "ttyname", "wait3", "wait4"),
):
    if hasattr(os, name):
        delattr(os, name)
"""


def without_posix(code, *arguments):
    """Run code in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", BEREFT + code, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.posix
@pytest.mark.once
def test_the_suite_is_collected_and_what_needs_posix_is_skipped():
    code = """
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-m", "posix", *sys.argv[1:]]))
"""
    process = without_posix(code, Path(__file__).parent, "-c", Path(__file__).parents[1] / "pyproject.toml")
    last = process.stdout.splitlines()[-1]
    found = re.fullmatch(r"(\d+) skipped, (\d+) deselected in .*", last)
    assert process.returncode == 0, process.stdout
    assert found, process.stdout
    assert int(found[1]) > 30
    assert int(found[2]) > 1000
    assert "this system is not POSIX" in process.stdout


def test_the_command_works(tmp_path):
    images.write(tmp_path / "in.png", images.Picture(np.arange(1024, dtype=np.uint8).reshape(32, 32)))
    code = """
from graddesc.__main__ import main
sys.exit(main())
"""
    process = without_posix(code, "restore", tmp_path / "in.png", tmp_path / "out.png", "--threads", "2")
    assert (process.returncode, process.stderr) == (0, "")
    assert (tmp_path / "out.png").exists()


def test_a_console_that_cannot_show_every_letter(tmp_path):
    image = tmp_path / "Ωλ.png"
    images.write(image, images.Picture(np.arange(1024, dtype=np.uint8).reshape(32, 32)))
    code = """
import io
from graddesc.__main__ import main
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="cp1252", newline="\\r\\n")
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding="cp1252", newline="\\r\\n")
code = main()
sys.stdout.flush()
sys.stderr.flush()
sys.exit(code)
"""
    done = without_posix(code, "restore", image, tmp_path / "Ω.png")
    assert done.returncode == 0
    assert "\\u03a9.png: filled 8 of 1024 pixels" in done.stdout
    failed = without_posix(code, "restore", image, tmp_path / "Ω.png")
    assert failed.returncode == 1
    assert re.fullmatch(r"graddesc: error: .*\\u03a9.png exists; .*", failed.stderr.strip())
    binary = subprocess.run(
        [sys.executable, "-c", BEREFT + code, "restore", str(image), "-"], capture_output=True, check=True
    )
    (tmp_path / "-.png").write_bytes(binary.stdout)
    np.testing.assert_array_equal(images.read(tmp_path / "-.png").pixels, images.read(tmp_path / "Ω.png").pixels)


def test_patterns_where_the_shell_expands_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b[1].png", "a.png", "c.jpg"):
        (tmp_path / name).touch()
    assert cli._expanded("*.png", shell_expands=False) == ["a.png", "b[1].png"]
    assert cli._expanded("b[1].*", shell_expands=False) == ["b[1].png"]
    assert cli._expanded("?.tif", shell_expands=False) == ["?.tif"]
    assert cli._expanded("b[1].png", shell_expands=False) == ["b[1].png"]
    assert cli._expanded("*.png", shell_expands=True) == ["*.png"]


def test_a_file_that_is_read_only_is_removed_where_the_system_keeps_it(tmp_path, monkeypatch):
    """On Windows unlink() refuses a file that is read-only, as one is that took over its target's permissions."""
    unlink = outputs.os.unlink

    def refuse(path):
        if not Path(path).stat().st_mode & 0o200:
            raise PermissionError(13, "Access is denied")
        unlink(path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o444)
    monkeypatch.setattr(outputs.os, "unlink", refuse)
    monkeypatch.setattr(outputs.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        outputs.write(tmp_path / "a", b"new", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_one_file_under_two_names(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs.os.path, "normcase", lambda path: str(path).lower().replace("/", "\\"))
    assert outputs.place(tmp_path / "A.png") == outputs.place(tmp_path / "a.PNG")
