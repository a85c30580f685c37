"""The second fence of a confined run: system calls that namespaces do not close, as a seccomp filter.

What is refused, and why: keyrings belong to the user, not to a namespace; sockets of other families than these four reach
past a network namespace (`AF_VSOCK` to the host of a virtual machine) or are seldom looked at by anybody; new namespaces
give back capabilities that were dropped; TIOCSTI types into a terminal; a lease makes whoever opens the file wait for its holder, for
which it need not be writable; the messages of the kernel are the machine's. A mode with a set-user-id or set-group-id bit means
nothing inside, where everything is mounted without, and everything outside, where another user could run that file: so
no call may set one. What a folder passes on to those made in it is no call, and stays.

Answered as unknown: `clone3` and `openat2`, whose words lie in memory, where a filter cannot look (the C library then uses
`clone` and `openat`); `io_uring`, which does what other rules forbid; and every number above the newest that was looked at.
On machines of another kind than the two below there is no filter, and the namespaces stand alone.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from typing import NamedTuple

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LD, _JEQ, _JGE, _JGT, _JSET, _RET = 0x20, 0x15, 0x35, 0x25, 0x45, 0x06
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW* but for time, whose bit is the exit signal's in clone
_FAMILIES = (1, 2, 10, 16)  # unix, inet, inet6, netlink
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SETLEASE, _LAST_FCNTL = 1024, 1034  # F_SETLEASE, F_GET_SEALS; behind it are hints to a file's inode, and delegations, which are leases
_SET_ID = 0o6000  # S_ISUID, S_ISGID
_MAKES_A_FILE = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: else an open has no mode, and what lies in its place means nothing
_NEWEST = 452  # fchmodat2; from 424 on the numbers are the same everywhere
_UNKNOWN = (425, 426, 427, 435, 437)  # io_uring_setup, _enter, _register, clone3, openat2
Line = tuple[int, int, int, int]

_REFUSED_X86_64 = (
    *(248, 249, 250),  # add_key, request_key, keyctl
    *(272, 308, 155, 165, 166, 428, 429, 430, 431, 432, 442),  # unshare, setns, pivot_root, mount, umount2, the new mount calls
    *(321, 298, 323, 304, 175, 313, 246, 320),  # bpf, perf_event_open, userfaultfd, open_by_handle_at, modules, kexec
    *(310, 311, 103),  # process_vm_readv, process_vm_writev, syslog
)  # fmt: skip
_REFUSED_AARCH64 = (217, 218, 219, 97, 268, 41, 40, 39, 428, 429, 430, 431, 432, 442, 280, 241, 282, 265, 105, 273, 104, 294, 270, 271, 116)


class Machine(NamedTuple):
    """How a kind of machine is called in a filter, and the numbers of its system calls.

    `sockets` are socket and socketpair, `modes` are the calls that set a mode, with the number of that argument; `opens` those that set one where their flags,
    the argument before it, say that a file is made.
    """

    arch: int
    clone: int
    ioctl: int
    fcntl: int
    sockets: tuple[int, int]
    refused: tuple[int, ...]
    modes: dict[int, int]
    opens: dict[int, int]


_MACHINES = {
    # chmod, fchmod, fchmodat, fchmodat2, creat, mknod, mknodat; open, openat
    "x86_64": Machine(
        0xC000003E, 56, 16, 72, (41, 53), _REFUSED_X86_64, {90: 1, 91: 1, 268: 2, 452: 2, 85: 1, 133: 1, 259: 2}, {2: 2, 257: 3}
    ),
    # fchmod, fchmodat, fchmodat2, mknodat; openat
    "aarch64": Machine(0xC00000B7, 220, 29, 25, (198, 199), _REFUSED_AARCH64, {52: 1, 53: 2, 452: 2, 33: 2}, {56: 3}),
}


def _argument(number: int) -> Line:
    """Return the line that loads the lower half of a call's argument: both kinds of machine have that first in memory."""
    return _LD, 0, 0, _ARGUMENTS + 8 * number


def _rule(call: int, *body: Line) -> list[Line]:
    """Return the lines for one call, which end in an answer; any other goes on behind them."""
    return [(_JEQ, 0, len(body), call), *body]


@functools.cache
def program() -> bytes:
    """Return the filter as the kernel takes it (an array of sock_filter), empty on a machine that it is not written for."""
    found = _MACHINES.get(os.uname().machine)
    return b"" if found is None else b"".join(struct.pack("<HBBI", *line) for line in _lines(found))


def _lines(found: Machine) -> list[Line]:
    allow, refuse, unknown = (_RET, 0, 0, _ALLOW), (_RET, 0, 0, _ERRNO | errno.EPERM), (_RET, 0, 0, _ERRNO | errno.ENOSYS)
    set_id: list[Line] = [(_JSET, 0, 1, _SET_ID), refuse, allow]
    lines: list[Line] = [(_LD, 0, 0, _ARCH), (_JEQ, 1, 0, found.arch), (_RET, 0, 0, _KILL), (_LD, 0, 0, _NR)]
    if found is _MACHINES["x86_64"]:
        lines += [(_JGE, 0, 1, _X32), unknown]
    lines += [(_JGT, 0, 1, _NEWEST), unknown]
    for number in found.refused:
        lines += _rule(number, refuse)
    for number in _UNKNOWN:
        lines += _rule(number, unknown)
    for number, mode in found.modes.items():
        lines += _rule(number, _argument(mode), *set_id)
    for number, mode in found.opens.items():
        lines += _rule(number, _argument(mode - 1), (_JSET, 0, 3, _MAKES_A_FILE), _argument(mode), *set_id)
    lines += _rule(found.clone, _argument(0), (_JSET, 0, 1, _NEW_NAMESPACES), refuse, allow)
    lines += _rule(found.ioctl, _argument(1), (_JEQ, 1, 0, _TIOCSTI), (_JEQ, 0, 1, _TIOCLINUX), refuse, allow)
    lines += _rule(found.fcntl, _argument(1), (_JEQ, 1, 0, _SETLEASE), (_JGT, 0, 1, _LAST_FCNTL), refuse, allow)
    families = [(_JEQ, len(_FAMILIES) - index, 0, number) for index, number in enumerate(_FAMILIES)]
    for number in found.sockets:
        lines += _rule(number, _argument(0), *families, (_RET, 0, 0, _ERRNO | errno.EAFNOSUPPORT), allow)
    return [*lines, allow]
