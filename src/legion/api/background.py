"""A `legion` command that runs in a process of its own and belongs to this one."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, TypeVar

from legion.api.progress import Progress
from legion.errors import LegionError, OutsideError, RefusedError, UsageError
from legion.stack import keeper

_logger = logging.getLogger("legion")

_KEPT_LINES = 1000
# Seconds. A gateway answers the requests it has accepted for at most 25 s after it was drained.
_GRACE = 40.0
_READ_REST = 5.0
_EXIT_CODES: dict[int, type[LegionError]] = {1: RefusedError, 2: UsageError}

_Self = TypeVar("_Self", bound="BackgroundCommand")


class BackgroundCommand:
    """A running command that reports with one line of JSON when it is ready.

    It ends with `stop`, with the `with` block, or with this process, however that ends.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        ready_timeout: float,
        progress: Progress,
        environment: Mapping[str, str] | None = None,
        drain: float = 0.0,
    ) -> None:
        """Start `legion ARGUMENTS` and wait `ready_timeout` seconds until it reports. Raises what stopped it.

        `drain`: seconds that it keeps working on purpose when it is told to stop.
        """
        self._name = arguments[0]
        self._grace = _GRACE + drain
        self._progress = progress
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reported = threading.Event()
        self._report = b""
        self._process, self._lifeline = start(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._readers = [
            threading.Thread(target=read, name=f"legion {self._name}", daemon=True)
            for read in (self._read_report, self._read_log)
        ]
        for reader in self._readers:
            reader.start()
        try:
            self._await(ready_timeout)
        except BaseException:
            self.stop()
            raise

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """The last lines that it and its models wrote."""
        return "\n".join(self._lines)

    def stop(self) -> None:
        """Let it answer the requests it has accepted, then end it and all its processes. A second call does nothing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace)
        self._lifeline.close()
        self._process.wait()
        for reader in self._readers:
            reader.join(_READ_REST)

    def _read_report(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            self._report = stream.readline()
            self._reported.set()
            while stream.read(65536):
                pass

    def _read_log(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self._lines.append(line)
                try:
                    self._progress.say(line)
                except Exception:
                    # The log must be read on, or the command would wait for it for ever.
                    _logger.exception("a line of legion %s could not be passed on", self._name)

    def _await(self, timeout: float) -> None:
        if not self._reported.wait(timeout):
            raise OutsideError(
                f"legion {self._name} is not ready after {timeout:g} s; give it more time with ready_timeout="
            )
        if self._report.endswith(b"\n"):
            return
        code = self._process.wait()
        # Its last line is the reason.
        self._readers[1].join(_READ_REST)
        said = [line for line in self._lines if line]
        reason = said[-1].removeprefix("legion: ").removeprefix("Error: ") if said else "it printed nothing"
        raise _EXIT_CODES.get(code, OutsideError)(reason)


def start(arguments: Sequence[str], **options: Any) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start `legion ARGUMENTS` under a keeper, with further options of `Popen`, and the lifeline of both.

    When the lifeline is closed, as it is when this process ends, the keeper kills all of the command's processes.
    """
    theirs, ours = os.pipe()
    try:
        command = [sys.executable, "-P", "-m", "legion.cli.main", *arguments]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(theirs), *command],
            pass_fds=(theirs,),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return process, os.fdopen(ours, "wb", buffering=0)
