"""Landlock: the kernel's own list of what a process may touch, as a second fence inside the namespaces.

It alone would keep neither a read-only run read-only (metadata) nor one without network off it (UDP, sockets that are
files), so it never stands alone here; where the kernel has none, the namespaces do.
"""

from __future__ import annotations

import ctypes
import functools
import os
import stat
import struct

from routinectl.process.kernel import libc

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_FIRST_VERSION = (1 << 13) - 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2
_SEEN = ("/etc", "/proc", "/run")
_ITS_OWN = ("/tmp", "/dev")


@functools.cache
def version() -> int:
    """Return which Landlock this kernel has, 0 for none."""
    return max(int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)), 0)


def _handled(found: int) -> int:
    return _FIRST_VERSION | (1 << 13 if found >= 2 else 0) | (_TRUNCATE if found >= 3 else 0) | (_IOCTL_DEV if found >= 5 else 0)


def _ruleset(found: int, handled: int) -> int:
    scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if found >= 6 else 0
    attributes = struct.pack("QQQ", handled, 0, scoped)[: 8 if found < 4 else 16 if found < 6 else 24]
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return int(libc.syscall(_CREATE, buffer, ctypes.c_size_t(len(attributes)), 0))


def keep_to(readable: list[str], writable: list[str]) -> None:
    """Allow this process and its children these paths, what the system has, and nothing else; nothing where there is no Landlock."""
    found = version()
    if not found:
        return
    handled = _handled(found)
    rules = _ruleset(found, handled)
    _allow(rules, "/", _READ_DIR)  # what there is, was mounted for it; what is in it, is allowed below
    for path in (*_SEEN, *readable):
        _allow(rules, path, _READ & handled)
    for path in (*_ITS_OWN, *writable):
        _allow(rules, path, handled)
    _restrict(rules)


def _allow(rules: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        access &= _OF_A_FILE
    rule = ctypes.create_string_buffer(struct.pack("=Qi", access, fd), 12)
    libc.syscall(_ADD, rules, 1, rule, 0)
    os.close(fd)


def _restrict(rules: int) -> None:
    """Raises OSError: a fence that cannot be put up must not be believed in."""
    result = libc.prctl(38, *(ctypes.c_ulong(item) for item in (1, 0, 0, 0)))
    if rules < 0 or result < 0 or libc.syscall(_RESTRICT, rules, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    os.close(rules)
