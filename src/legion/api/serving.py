"""`legion.serve`: a `legion serve` process that belongs to the caller."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import IO

from legion.api.deployments import connect
from legion.api.settings import Model, say
from legion.client import Client
from legion.errors import LegionError, OutsideError, RefusedError, UsageError
from legion.stack import keeper

_READY = re.compile(r"ready after .* at (https?://[^/\s]+)")
_KEPT_LINES = 1000
# A gateway answers what it has taken in for at most 25 s.
_GRACE = 40.0
_EXIT_CODES: dict[int, type[LegionError]] = {1: RefusedError, 2: UsageError}


class Server:
    """A running `legion serve`. It ends with `stop`, with the `with` block, or with this process.

    `url` is its address, `client` a client of it.
    """

    def __init__(self, arguments: list[str], start_timeout: float) -> None:
        """Start it and wait until its models are ready; use `legion.serve`."""
        self.url = ""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._settled = threading.Event()
        theirs, ours = os.pipe()
        # Closed with this process, however it ends; the server's keeper ends the server then.
        self._lifeline: IO[bytes] = os.fdopen(ours, "wb", buffering=0)
        try:
            command = [sys.executable, "-P", "-m", "legion.cli.main", "serve", *arguments]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(theirs), *command],
                pass_fds=(theirs,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        threading.Thread(target=self._read, name="legion serve", daemon=True).start()
        try:
            self._await(start_timeout)
        except BaseException:
            self.stop()
            raise
        self.client: Client = connect(self.url)

    def __repr__(self) -> str:
        return f"<Server {self.url}, {'running' if self._process.poll() is None else 'stopped'}>"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """The last lines that the server and its models wrote."""
        return "\n".join(self._lines)

    def stop(self) -> None:
        """Answer what was taken in, then end the server and its workers. A second call does nothing."""
        if hasattr(self, "client"):
            self.client.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._lifeline.close()
        self._process.wait()

    def _read(self) -> None:
        """Keep what the server writes, and find in it where it listens."""
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self._lines.append(line)
                say(line)
                if not self.url and (match := _READY.match(line)):
                    self.url = match[1]
                    self._settled.set()
        self._settled.set()

    def _await(self, timeout: float) -> None:
        if not self._settled.wait(timeout):
            raise OutsideError(f"the server is not ready after {timeout:g} s; give it a longer start_timeout")
        if self.url:
            return
        code = self._process.wait()
        said = [line for line in self._lines if line]
        reason = said[-1].removeprefix("legion: ").removeprefix("Error: ") if said else "it said nothing"
        raise _EXIT_CODES.get(code, OutsideError)(reason)


def serve(
    model: Model | Mapping[str, Model] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    workers: int = 1,
    env: str = "auto",
    follow: bool = False,
    admin: bool = False,
    state: Model | None = None,
    start_timeout: float = 600.0,
) -> Server:
    """Serve a model, or several by their names, over HTTP from a process of its own; return when it is ready.

    `model`: an artifact, a model folder, `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/ID/PATH`, a
    DEPLOYMENT.yaml; or a mapping of names to these; None only with `admin`. `port` 0 is any free one.
    `workers`: processes a model. `env`: auto, local or uv. `follow`: move with the alias or stage. `admin`: take
    deployments, kept in the folder `state`. `start_timeout` is in seconds, the making of environments included.

        with legion.serve("wine.zip") as server:
            server.client.predict(rows)

    Raises what stopped it, with its sentence: UsageError, RefusedError, or OutsideError.
    """
    named = model if isinstance(model, Mapping) else {}
    models = [f"{name}={os.fspath(one)}" for name, one in named.items()]
    if model is not None and not isinstance(model, Mapping):
        models = [os.fspath(model)]
    options = [f"--host={host}", f"--port={port}", f"--workers={workers}", f"--env={env}"]
    options += ["--follow"] * follow + ["--admin"] * admin
    options += [] if state is None else [f"--state={os.fspath(state)}"]
    return Server([*options, "--", *models], start_timeout)
