"""Frames between a worker and its parent, as the worker reads and writes them."""

from __future__ import annotations

import select
import socket
import threading
from typing import Optional

from legion import wire


class Channel:
    """Whole frames over a blocking stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = threading.Lock()
        self._header = bytearray(wire.HEADER.size)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def readable(self) -> bool:
        """Whether a frame has begun to come, or the parent has closed."""
        return bool(self._poll.poll(0))

    def receive(self) -> Optional[bytearray]:
        """The next frame's body, or None when the parent has closed."""
        if not self._fill(memoryview(self._header)):
            return None
        body = bytearray(wire.HEADER.unpack(self._header)[0])
        return body if self._fill(memoryview(body)) else None

    def _fill(self, view: memoryview) -> bool:
        while view:
            count = self._sock.recv_into(view)
            if not count:
                return False
            view = view[count:]
        return True

    def send(self, message: object) -> None:
        """Write one message, from any thread. Raises OSError when the parent is gone."""
        frame = wire.frame(message)
        with self._sending:
            self._sock.sendall(frame)
