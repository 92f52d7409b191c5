"""A listening port whose connections are the gateway's, in front of a stub application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import types
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from legion.gateway.http.connection import Connection
from legion.gateway.http.connections import Connections


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in the loop that the gateway has; it has 30 s."""
    uvloop.run(asyncio.wait_for(scenario, 30))


class Application:
    """Answers each request with the length of its body, once `go` is set; keeps what it was asked."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.go = asyncio.Event()
        self.go.set()
        self.answer: bytes | None = None  # another answer
        self.reads = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = b""
        while self.reads:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        await self.go.wait()
        answer = b"%d" % len(body) if self.answer is None else self.answer
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})


class StubServer:
    """`port` is where it listens; `look` examines the connections as if it were so late."""

    def __init__(self, application: Any, connections: Connections, kind: type[Connection] = Connection) -> None:
        self.connections = connections
        self.made = self.received = self.paused = 0
        server = self

        class Counting(kind):  # type: ignore[misc, valid-type]
            shared = connections

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                server.made += 1

            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                server.received += len(data)

            def pause_writing(self) -> None:
                super().pause_writing()
                server.paused += 1

        self._config = uvicorn.Config(
            application, http=Counting, ws="none", lifespan="off", access_log=False, log_config=None, interface="asgi3"
        )
        self._config.load()
        self.kind: Any = Counting
        self._state = ServerState()
        self.port = 0
        self.application = application
        self._callers: list[Caller] = []

    async def until(self, condition: Callable[[StubServer], object]) -> None:
        """Let the loop go on until it is true of this server."""
        while not condition(self):
            await asyncio.sleep(0)

    @property
    def buffered(self) -> int:
        """How many bytes of answers wait to be taken."""
        return sum(connection.transport.get_write_buffer_size() for connection in self._connections())

    def _connections(self) -> list[Any]:
        return list(self._state.connections)

    def look(self, now: float) -> None:
        for connection in self._connections():
            connection.examine(now)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[StubServer]:
        loop = asyncio.get_running_loop()
        make = lambda: self.kind(self._config, self._state, {}, loop)  # noqa: E731
        server = await loop.create_server(make, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            for caller in self._callers:
                caller.abort()
            server.close()
            for connection in self._connections():
                connection.transport.abort()
            await server.wait_closed()

    async def connect(self, small_buffer: bool = False) -> Caller:
        """A caller that has been accepted; with `small_buffer` it takes little that it does not read."""
        made = self.made
        sock = socket.socket()
        if small_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        await self.until(lambda it: it.made > made)
        self._callers.append(Caller(*await asyncio.open_connection(sock=sock)))
        return self._callers[-1]


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> types.SimpleNamespace:
        """The next answer: status, headers, body."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return types.SimpleNamespace(status=int(head[0].split()[1]), headers=headers, body=body)

    async def some(self, most: int) -> bytes:
        """What has come, at most so many bytes."""
        return await self._reader.read(most)

    async def rest(self) -> bytes:
        """Whatever still comes until the server closes."""
        try:
            return await self._reader.read()
        except ConnectionResetError:
            return b""

    def abort(self) -> None:
        self._writer.transport.abort()

    async def leave(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(application: Any = None, most: int = 1000) -> AsyncIterator[StubServer]:
    """A stub server with its application; there may be so many connections."""
    application = application or Application()
    server = StubServer(application, Connections(most=most))
    async with server.listening():
        yield server


def request(body: bytes = b"", *fields: bytes, method: str = "POST", path: str = "/") -> bytes:
    """A request with this body; fields are whole lines."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: x", *fields]
    if not any(field.lower().startswith(b"transfer-encoding") for field in fields):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])
