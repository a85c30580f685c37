"""Files that are either the old one or the new one, whole, whatever happens."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_OF_THE_KERNEL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
_KEEP_SIZE = 0x01  # FALLOC_FL_KEEP_SIZE


def write(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace a file in one step; with `durable`, it has survived a power cut when this returns.

    The new content is written beside the old file, because a rename works only within one file system. Raises OSError
    and leaves the old file alone when anything fails.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_folder(path.parent)


def concerns_all(error: OSError) -> bool:
    """Say whether an error is the machine's, which the next routine would meet as well; else it belongs to the path it names."""
    return error.errno in _OF_THE_DISK | _OF_THE_KERNEL


def is_of_the_disk(error: OSError) -> bool:
    """Say whether an error is that of a disk that is full, read-only or broken."""
    return error.errno in _OF_THE_DISK


def write_all(fd: int, data: bytes) -> None:
    """Write every byte, or raise OSError: a disk that fills up may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def reserve(fd: int, offset: int, size: int) -> None:
    """Set disk space aside behind the end of a file, whose length stays as it is. Raises OSError when there is none.

    Linux only; elsewhere, and on file systems that cannot, nothing is set aside.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "fallocate"):
        return
    if libc.fallocate(fd, _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(size)) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.ENOSPC, errno.EDQUOT):
        raise OSError(number, os.strerror(number))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
