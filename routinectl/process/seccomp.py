"""The second fence of a confined run: system calls that namespaces do not close, as a seccomp filter.

What is refused, and why: keyrings belong to the user, not to a namespace; `io_uring` does what other rules forbid;
sockets of other families than these four reach past a network namespace (`AF_VSOCK` to the host of a virtual machine) or
are seldom looked at by anybody; new namespaces give back capabilities that were dropped; TIOCSTI types into a terminal.
`clone3` is answered as unknown: its flags lie in memory, where a filter cannot look, and the C library then uses `clone`.
On machines of another kind than the two below there is no filter, and the namespaces stand alone.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from typing import NamedTuple

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW* but for time, whose bit is the exit signal's in clone
_FAMILIES = (1, 2, 10, 16)  # unix, inet, inet6, netlink
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_REFUSED_X86_64 = (
    *(248, 249, 250),  # add_key, request_key, keyctl
    *(425, 426, 427),  # io_uring_setup, _enter, _register
    *(272, 308, 155, 165, 166, 428, 429, 430, 431, 432, 442),  # unshare, setns, pivot_root, mount, umount2, the new mount calls
    *(321, 298, 323, 304, 175, 313, 246, 320),  # bpf, perf_event_open, userfaultfd, open_by_handle_at, modules, kexec
    *(310, 311),  # process_vm_readv, process_vm_writev
)  # fmt: skip
_REFUSED_AARCH64 = (217, 218, 219, 425, 426, 427, 97, 268, 41, 40, 39, 428, 429, 430, 431, 432, 442, 280, 241, 282, 265, 105, 273, 104, 294,
                    270, 271)  # fmt: skip


class Machine(NamedTuple):
    """How a kind of machine is called in a filter, and the numbers of its system calls."""

    arch: int
    clone: int
    clone3: int
    ioctl: int
    socket: int
    refused: tuple[int, ...]


_MACHINES = {
    "x86_64": Machine(0xC000003E, 56, 435, 16, 41, _REFUSED_X86_64),
    "aarch64": Machine(0xC00000B7, 220, 435, 29, 198, _REFUSED_AARCH64),
}


@functools.cache
def program() -> bytes:
    """Return the filter as the kernel takes it (an array of sock_filter), empty on a machine that it is not written for."""
    found = _MACHINES.get(os.uname().machine)
    if found is None:
        return b""
    refuse, unknown, family = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS, _ERRNO | errno.EAFNOSUPPORT
    lines = [(_LD, 0, 0, _ARCH), (_JEQ, 1, 0, found.arch), (_RET, 0, 0, _KILL), (_LD, 0, 0, _NR)]
    if found is _MACHINES["x86_64"]:
        lines += [(_JGE, 0, 1, _X32), (_RET, 0, 0, unknown)]
    for number in found.refused:
        lines += [(_JEQ, 0, 1, number), (_RET, 0, 0, refuse)]
    lines += [(_JEQ, 0, 1, found.clone3), (_RET, 0, 0, unknown)]
    lines += [(_JEQ, 0, 4, found.clone), (_LD, 0, 0, _ARG0), (_JSET, 0, 1, _NEW_NAMESPACES), (_RET, 0, 0, refuse), (_RET, 0, 0, _ALLOW)]
    lines += [(_JEQ, 0, 5, found.ioctl), (_LD, 0, 0, _ARG1), (_JEQ, 1, 0, _TIOCSTI), (_JEQ, 0, 1, _TIOCLINUX),
              (_RET, 0, 0, refuse), (_RET, 0, 0, _ALLOW)]  # fmt: skip
    lines += [(_JEQ, 0, 2 + len(_FAMILIES), found.socket), (_LD, 0, 0, _ARG0)]
    lines += [(_JEQ, len(_FAMILIES) - index, 0, number) for index, number in enumerate(_FAMILIES)]
    lines += [(_RET, 0, 0, family), (_RET, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
