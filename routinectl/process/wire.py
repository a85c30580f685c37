"""How a keeper is spoken to: one JSON message after the other, each with its length in front, descriptors alongside.

A message is four bytes of length (big endian) and UTF-8 JSON. Descriptors of leases travel as ancillary data with the
first byte of their message, at most 250 at a time (the kernel takes 253). Both ends are the same user; the socket lies
in a folder that only the owner may enter.
"""

from __future__ import annotations

import array
import json
import socket
import struct
from collections import deque
from typing import Any

from routinectl.process.message import MAX_DESCRIPTORS, Closed, encode

PROTOCOL = (
    3  # 2: entries may ask to be confined; 3: they say how each path is shown, and what must be counted. An older keeper would be wrong
)
_LENGTH = struct.Struct(">I")
_CHUNK = 1 << 18
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Wire:
    """One connection. Messages may come in pieces; descriptors wait in `fds` until their message is taken."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.fds: deque[int] = deque()
        self._buffer = bytearray()
        self._outgoing = bytearray()

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.socket.fileno()

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        """Send a message; blocks while the other end is behind. Raises Closed when it is gone."""
        self.send_encoded(encode(message), fds)

    def send_encoded(self, body: bytes, fds: list[int] | None = None) -> None:
        """Send a message that is JSON already."""
        data = _LENGTH.pack(len(body)) + body
        try:
            if fds:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                sent = self.socket.sendmsg([data], ancillary)
                data = data[sent:]
            if data:
                self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from None

    def post(self, message: dict[str, Any]) -> bool:
        """Send a message as far as the other end takes it now; return whether `flush` has something left to send."""
        body = encode(message)
        self._outgoing += _LENGTH.pack(len(body)) + body
        return self.flush()

    def flush(self) -> bool:
        """Send what is waiting, without waiting; return whether something is left. Raises Closed."""
        try:
            while self._outgoing:
                del self._outgoing[: self.socket.send(self._outgoing, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            return True
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from None
        return False

    def receive(self) -> list[dict[str, Any]]:
        """Return the whole messages that have arrived; waits for the first byte. Raises Closed at the end."""
        rights = array.array("i")
        try:
            data, ancillary, _, _ = self.socket.recvmsg(_CHUNK, socket.CMSG_SPACE(MAX_DESCRIPTORS * rights.itemsize), _CLOSE_ON_EXEC)
        except ConnectionResetError as error:
            raise Closed(str(error)) from None
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                rights.frombytes(content[: len(content) - len(content) % rights.itemsize])
        self.fds.extend(rights)
        if not data:
            raise Closed("the other end closed the connection")
        self._buffer += data
        return list(self._take())

    def receive_some(self) -> list[dict[str, Any]]:
        """Wait for at least one message; what came with it is there too, and nothing would tell of it again."""
        while True:
            messages = self.receive()
            if messages:
                return messages

    def close(self) -> None:
        """Close the connection and the descriptors nobody took."""
        self.socket.close()

    def _take(self) -> Any:
        while len(self._buffer) >= 4:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if len(self._buffer) < 4 + length:
                return
            message = json.loads(bytes(self._buffer[4 : 4 + length]))
            del self._buffer[: 4 + length]
            yield message
