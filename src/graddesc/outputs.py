"""Output files that are either whole or absent: checked before the work, written beside their target, then renamed.

A path of "-" is standard output.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath

__all__ = ["check", "extension", "place", "write"]


def extension(path: StrPath) -> str:
    """Return the lower-case extension of a path, such as ".png".

    Parameters
    ----------
    path : str or os.PathLike
        The path.

    Returns
    -------
    str
        The extension with its dot, "" if there is none.
    """
    return os.path.splitext(os.fspath(path))[1].lower()


def place(path: StrPath) -> str:
    """Return what tells two files apart: the real path, in one case where the system knows no other.

    Parameters
    ----------
    path : str or os.PathLike
        The path.

    Returns
    -------
    str
        The same for two paths of one file, whether it exists or not.
    """
    return os.path.normcase(os.path.realpath(path))


def check(path: StrPath, *, overwrite: bool = False) -> None:
    """Raise if a file could not be written to path, before any work is done for it.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write, or "-".
    overwrite : bool, default False
        Whether a file that exists may be replaced.

    Raises
    ------
    OSError
        A subclass of it that says why: the file exists, is no regular file, its directory is missing or read-only,
        standard output is closed or a terminal.
    """
    if path == "-":
        if sys.stdout is None:
            raise OSError("standard output is closed")
        if sys.stdout.isatty():
            raise OSError("standard output is a terminal: redirect it, or name a file")
        return
    target = os.path.realpath(path)
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        directory = os.path.dirname(target)
        if not os.path.isdir(directory):
            raise FileNotFoundError(f"{path}: there is no directory {directory}") from None
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from None
    else:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{path} is a directory")
        if not stat.S_ISREG(mode):
            raise OSError(f"{path} is not a regular file; - writes to standard output")
        if not overwrite:
            raise _exists(path)
    directory = os.path.dirname(target)
    try:
        _try_to_write(directory)
    except OSError as error:
        raise PermissionError(f"{path}: cannot write to {directory}: {error.strerror}") from None


def _try_to_write(directory: str) -> None:
    """Raise unless a file can be made in a directory; none is left, whatever ends the process."""
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except (AttributeError, OSError):  # a system or a file system without nameless files, or it cannot be written to
        import tempfile  # which takes as long as all else that is imported here

        tempfile.TemporaryFile(dir=directory).close()


def write(path: StrPath, data: ReadableBuffer, *, overwrite: bool = False) -> None:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write, or "-". A symbolic link is followed.
    data : bytes-like
        All that the file shall hold.
    overwrite : bool, default False
        Whether a file that exists may be replaced. It then hands its permissions to the new one; other new files get
        those that the process's umask leaves.

    Raises
    ------
    OSError
        If the file cannot be written, or exists and ``overwrite`` is false, even if it has come into being since
        :func:`check`.
    """
    if path == "-":
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OSError(f"standard output: {error.strerror}") from None
        return
    check(path, overwrite=overwrite)
    target = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".graddesc-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            if overwrite and os.path.exists(target):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, target)
        else:
            _rename_to_new(temporary, target, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from None
    finally:
        if os.path.exists(temporary):
            _remove(temporary)


def _remove(path: StrPath) -> None:
    """Remove a file, one that is read-only too, which Windows keeps."""
    try:
        os.unlink(path)
    except PermissionError:
        os.chmod(path, stat.S_IWRITE)
        os.unlink(path)


def _rename_to_new(temporary: str, target: str, path: StrPath) -> None:
    """Rename, but fail if the target has come into being meanwhile, which a plain rename would replace."""
    try:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: claim the name first
            open(target, "xb").close()
            os.replace(temporary, target)
    except FileExistsError:
        raise _exists(path) from None


def _exists(path: StrPath) -> FileExistsError:
    return FileExistsError(f"{path} exists; overwrite (--overwrite) would replace it")
