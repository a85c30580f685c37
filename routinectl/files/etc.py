"""The little of /etc that a confined run sees: a copy, made once for each state of the originals, and mounted as one folder.

A mount for each file would cost every run more than everything else of its confinement does.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

from routinectl.files.layout import Layout

_COPIED = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "group", "host.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
    "mime.types", "nsswitch.conf", "passwd", "pki/ca-trust", "pki/tls/certs", "protocols", "services", "ssl/certs", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
LIVE = ("/etc/hosts", "/etc/resolv.conf")  # change while serve lives, and are mounted as they are
_ETC = "/etc"


@functools.lru_cache(maxsize=8)
def folder(layout: Layout) -> Path:
    """Return the folder with the copies, made where there is none of this state yet. Raises OSError."""
    import shutil

    names = [name for name in _COPIED if os.path.exists(f"{_ETC}/{name}")]
    target = layout.cache / f"etc-{_state(names)}"
    if not target.is_dir():
        new = layout.tmp / f"{target.name}.{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name in names:
            _copy(f"{_ETC}/{name}", new / name)
        for path in LIVE:
            (new / os.path.basename(path)).touch()  # a place to mount the original on
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(new, target)
        except OSError:  # another process was faster
            shutil.rmtree(new, ignore_errors=True)
    return target


def _copy(source: str, target: Path) -> None:
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copyfile(source, target)


def _state(names: list[str]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(_lines(names)).encode(errors="surrogateescape")).hexdigest()[:16]


def _lines(names: list[str]) -> Iterator[str]:
    for name in names:
        paths = [f"{_ETC}/{name}"]
        if os.path.isdir(paths[0]):
            paths += sorted(f"{top}/{file}" for top, _, files in os.walk(paths[0]) for file in files)
        for path in paths:
            found = os.stat(path) if os.path.exists(path) else os.lstat(path)
            yield f"{path} {found.st_mtime_ns} {found.st_size}"
