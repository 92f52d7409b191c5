"""Kept connections to one gateway: any thread takes one that is idle, or opens another."""

from __future__ import annotations

import http.client
import os
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from legion.errors import GatewayError, UsageError

# What a kept connection raises when the gateway closed it while nobody was asking.
_CLOSED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


# A body of up to so many bytes is worth copying to save a packet.
_SMALL = 64 * 1024


class Answer(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


class _Plain(http.client.HTTPConnection):
    """Sends a small request in one write: the gateway answers sooner what came whole in one read."""

    _held: list[bytes] | None = None

    def send(self, data: Any) -> None:
        """As http.client does, unless it is held back."""
        if self._held is not None and isinstance(data, bytes):
            self._held.append(data)
        else:
            super().send(data)

    def request_at_once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        """Send a request of a small body."""
        held: list[bytes] = []
        self._held = held
        try:
            self.request(method, path, body=body, headers=headers)
        finally:
            self._held = None
        self.send(b"".join(held))


class _Tls(_Plain, http.client.HTTPSConnection):
    """The same over TLS."""


class Connections:
    """HTTP/1.1 over connections that stay open. `timeout`: seconds that the gateway may be silent."""

    def __init__(self, url: str, timeout: float) -> None:
        split = urlsplit(url)
        try:
            port = split.port
        except ValueError:
            port = -1
        if split.scheme not in ("http", "https") or not split.hostname or port == -1 or split.query or split.fragment:
            raise UsageError(f"{url!r} is no gateway's address; write it like http://127.0.0.1:5001")
        if split.username is not None or split.password is not None:
            raise UsageError("the gateway's address holds a user or password; leave it out, and give a token instead")
        self.url = url.rstrip("/")
        self._kind = _Tls if split.scheme == "https" else _Plain
        self._host, self._port, self._prefix = split.hostname, port, split.path.rstrip("/")
        self._timeout = timeout
        self._idle: list[_Plain] = []
        # Nobody has to close a client: one that is dropped leaves no socket open.
        weakref.finalize(self, _close_all, self._idle)
        self._owner = os.getpid()

    def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, repeatable: bool = True
    ) -> Answer:
        """Send one request and read its whole answer, whatever its status. Raises GatewayError.

        Where a kept connection turns out to be closed, the request goes once more over a new one; one that
        must not be done twice (`repeatable` false) gets a new one at once.
        """
        kept = self._take() if repeatable else None
        if kept is not None:
            try:
                return self._exchange(kept, method, path, body, headers)
            except _CLOSED:
                pass
            except (OSError, http.client.HTTPException) as error:
                raise self._failed(error) from None
        opened = self._kind(self._host, self._port, timeout=self._timeout)
        try:
            return self._exchange(opened, method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from None

    @contextmanager
    def follow(self, path: str, body: bytes, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        """POST over a connection of its own; the answer is read, a line at a time, while the other side makes it.

        Raises GatewayError, also for what goes wrong while it is read.
        """
        with closing(self._kind(self._host, self._port, timeout=self._timeout)) as opened:
            try:
                opened.request("POST", self._prefix + path, body, headers)
                with opened.getresponse() as response:
                    yield response
            except (OSError, http.client.HTTPException) as error:
                raise self._failed(error) from None

    def close(self) -> None:
        """Close what is idle; asking again opens connections again."""
        self._leave_to_parent()
        _close_all(self._idle)

    def _take(self) -> _Plain | None:
        self._leave_to_parent()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _leave_to_parent(self) -> None:
        if self._owner != os.getpid():
            # After a fork the sockets are the parent's: two processes on one would read each other's answers.
            self._idle.clear()
            self._owner = os.getpid()

    def _exchange(
        self,
        connection: _Plain,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> Answer:
        try:
            send = connection.request_at_once if len(body or b"") <= _SMALL else connection.request
            send(method, self._prefix + path, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.read())
        except BaseException:
            # Also when interrupted: what was not read must never answer the next request.
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _failed(self, error: Exception) -> GatewayError:
        if isinstance(error, TimeoutError):
            return GatewayError(f"{self.url} was silent for {self._timeout:g} s; look at the gateway's log")
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        return GatewayError(f"no gateway answers at {self.url} ({reason}); start it or give another address")


def _close_all(idle: list[_Plain]) -> None:
    # Another thread may take from it meanwhile.
    with suppress(IndexError):
        while True:
            idle.pop().close()
