"""Output files are whole or absent."""

import io
import os
import stat
import sys
import types

import pytest

from graddesc import outputs


def test_writes_a_new_file(tmp_path):
    outputs.write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.posix
def test_a_new_file_has_the_permissions_that_umask_leaves(tmp_path, umask):
    before = os.umask(umask)
    try:
        outputs.write(tmp_path / "a", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_an_existing_file_is_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    for function in (outputs.check, lambda path: outputs.write(path, b"new")):
        with pytest.raises(FileExistsError, match=r"a exists; overwrite \(--overwrite\) would replace it"):
            function(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.posix
def test_overwriting_keeps_the_permissions(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o640)
    outputs.write(tmp_path / "a", b"new", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_comes_into_being_meanwhile_is_kept(tmp_path, monkeypatch):
    def late(descriptor):
        (tmp_path / "a").write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", late)
    with pytest.raises(FileExistsError, match="a exists"):
        outputs.write(tmp_path / "a", b"ours")
    assert (tmp_path / "a").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_system_without_hard_links(tmp_path, monkeypatch, taken):
    def no_link(source, target):
        if taken:
            (tmp_path / "a").write_bytes(b"theirs")
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    if taken:
        with pytest.raises(FileExistsError, match="a exists"):
            outputs.write(tmp_path / "a", b"ours")
    else:
        outputs.write(tmp_path / "a", b"ours")
    assert (tmp_path / "a").read_bytes() == (b"theirs" if taken else b"ours")
    assert os.listdir(tmp_path) == ["a"]


def test_all_is_on_the_disk_before_the_name_is_taken(tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    outputs.write(tmp_path / "a", b"new")
    assert sizes == [3]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_behind(tmp_path, monkeypatch, overwrite, error):
    if overwrite:
        (tmp_path / "a").write_bytes(b"old")

    def fail(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error), match="No space left" if isinstance(error, OSError) else None):
        outputs.write(tmp_path / "a", b"new", overwrite=overwrite)
    assert os.listdir(tmp_path) == (["a"] if overwrite else [])
    assert not overwrite or (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.posix
def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    outputs.write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"new"
    with pytest.raises(FileExistsError):
        outputs.write(tmp_path / "link", b"newer")
    outputs.write(tmp_path / "link", b"newer", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"newer"


def test_missing_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no directory .*absent"):
        outputs.check(tmp_path / "absent" / "a")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_is_no_target(tmp_path, overwrite):
    with pytest.raises(IsADirectoryError, match="is a directory"):
        outputs.check(tmp_path, overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.posix
def test_a_device_is_no_target(overwrite):
    with pytest.raises(OSError, match="/dev/null is not a regular file; - writes to standard output"):
        outputs.check("/dev/null", overwrite=overwrite)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.posix
def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError, match="is not a regular file"):
        outputs.write(tmp_path / "a", b"new", overwrite=True)
    assert stat.S_ISFIFO((tmp_path / "a").stat().st_mode)


@pytest.mark.posix
def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        outputs.check(tmp_path / "a" / "b")


@pytest.mark.posix
def test_a_directory_that_takes_no_files():
    with pytest.raises(PermissionError, match="cannot write to /proc: "):
        outputs.check("/proc/a")


@pytest.mark.posix
def test_a_name_too_long(tmp_path):
    with pytest.raises(OSError, match="File name too long"):
        outputs.check(tmp_path / ("a" * 300))


def test_the_longest_name(tmp_path):
    outputs.write(tmp_path / ("a" * 255), b"new")
    assert os.listdir(tmp_path) == ["a" * 255]


class TestStandardOutput:
    def test_write(self, monkeypatch):
        stream = types.SimpleNamespace(buffer=io.BytesIO(), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdout", stream)
        outputs.check("-")
        outputs.write("-", b"data")
        assert stream.buffer.getvalue() == b"data"

    def test_no_image_on_a_terminal(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(isatty=lambda: True))
        with pytest.raises(OSError, match="standard output is a terminal"):
            outputs.check("-")

    def test_closed(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)
        with pytest.raises(OSError, match="standard output is closed"):
            outputs.check("-")


@pytest.mark.parametrize(("path", "extension"), [("a.b/c.PNG", ".png"), ("c", ""), (".png", ""), ("a.tar.gz", ".gz")])
def test_extension(path, extension):
    assert outputs.extension(path) == extension
