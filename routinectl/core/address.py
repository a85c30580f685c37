"""Where the HTTP face listens, as people write it: HOST:PORT, [IPV6]:PORT or unix:PATH."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT = "127.0.0.1:8766"  # unless somebody says otherwise
_HOST = re.compile(r"(?P<name>[\w.-]+|\[[0-9A-Fa-f:.]+(%\w+)?\]):(?P<port>[0-9]{1,5})", re.ASCII)
_LONGEST = 107  # bytes of the path of a unix socket


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def url(self) -> str:
        """What the beginning of its URLs is on this machine; over a unix socket any name will do."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - it is read, not bound
        return "http://localhost" if self.path else f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def read(text: str) -> Address:
    """Return the address that a text means. Raises ValueError."""
    if text.startswith("unix:") and text != "unix:":
        if len(text.encode("utf-8", "surrogateescape")) - len("unix:") > _LONGEST:
            raise ValueError(f"the path of a unix socket has at most {_LONGEST} bytes")
        return Address(path=text.removeprefix("unix:"))
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no address to listen on: HOST:PORT or unix:PATH")
    if int(found["port"]) > 65535:
        raise ValueError(f"{found['port']} is no port: they end at 65535")
    return Address(found["name"].strip("[]"), int(found["port"]))


def meant(text: str) -> str:
    """Return an address to propose instead of one that is none: a number alone is a port on loopback."""
    return f"127.0.0.1:{text}" if text.isascii() and text.isdigit() and int(text) <= 65535 else DEFAULT
