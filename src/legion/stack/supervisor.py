"""Start MLflow's server and the gateway, watch both, end both.

What is decided here: a child that ends before it has answered once ends everything, since starting it again would fail
the same way; a child that ends later is started again, after a pause that doubles while it keeps ending. The other one
goes on meanwhile: a gateway serves without its registry.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from legion.errors import LegionError, MissingExtraError, OutsideError, RefusedError
from legion.stack.database import Report
from legion.stack.plan import Child, Plan
from legion.stack.process import KeptProcess, answering

# A closed terminal is an end like any other.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DATABASE = ("-P", "-m", "legion.stack.database")
_ERRORS: dict[str, type[LegionError]] = {"refused": RefusedError, "outside": OutsideError}
# Seconds: until a child must have answered, until one that ends must be gone, what a migration may take at its end.
START = 120.0
GRACE = 30.0
# A gateway whose restored deployments cannot be made ready answers 503, and is there to be asked why.
RESTORING = 20.0
_PAUSE_LEAST, _PAUSE_MOST, _SETTLED = 1.0, 30.0, 60.0

T = TypeVar("T")
Say = Callable[[str], None]
OnLine = Callable[[str, str], None]


class Stopped(Exception):
    """A signal came before everything was up."""


class Supervisor:
    """The stack of one plan. `say` gets lines about it, `on_line` each child's name and a line of its log."""

    def __init__(self, plan: Plan, *, say: Say, on_line: OnLine) -> None:
        self._plan = plan
        self._say = say
        self._on_line = on_line
        self._processes: dict[str, KeptProcess] = {}
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, on_ready: Callable[[dict[str, int]], None]) -> None:
        """Until SIGTERM, SIGINT or SIGHUP; `on_ready` gets the children's process ids once, when both answer.

        Raises RefusedError for a database that may not be used, OutsideError for what does not start.
        """
        with self._signals():
            try:
                await self._start_all()
                on_ready({name: process.pid for name, process in self._processes.items()})
                await self._watch()
            except Stopped:
                pass
            finally:
                await self._stop_all()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for signum in _ENDING:
            loop.add_signal_handler(signum, self._stop)
        try:
            yield
        finally:
            for signum in _ENDING:
                loop.remove_signal_handler(signum)

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def _start_all(self) -> None:
        await self._unless_stopped(self._prepare_database())
        for child in (self._plan.mlflow, self._plan.gateway):
            await self._start(child)
            code = await self._unless_stopped(self._come_up(child))
            if code is not None:
                raise OutsideError(f"{child.name} {_how(code)} before it was ready; its last lines above say why")

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        task, stopped = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Stopped
            return task.result()
        finally:
            for one in (task, stopped):
                one.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    async def _prepare_database(self) -> None:
        """Let the database be made fit, in a process that ends: it takes MLflow's own code."""
        reports: list[Report] = []
        log: list[str] = []

        def on_report(line: str) -> None:
            report = msgspec.json.decode(line, type=Report)
            reports.append(report)
            if report.say is not None:
                self._say(report.say)

        process = self._processes["database"] = await KeptProcess.start(
            (sys.executable, *_DATABASE),
            {**self._plan.mlflow.environment, "MLFLOW_BACKEND_STORE_URI": self._plan.database_uri},
            self._plan.data,
            on_line=log.append,
            on_output=on_report,
        )
        code = await process.ended()
        del self._processes["database"]
        last = reports[-1] if reports else Report()
        if last.error is not None:
            if last.kind == "extra":
                raise MissingExtraError("team", "A PostgreSQL database")
            raise _ERRORS[last.kind](last.error)
        if last.state is None:
            for line in log:
                self._on_line("mlflow", line)
            raise OutsideError(f"the look at the database {_how(code)}; see the lines above")

    async def _start(self, child: Child) -> None:
        self._processes[child.name] = await KeptProcess.start(
            child.command, child.environment, child.folder, on_line=lambda line: self._on_line(child.name, line)
        )

    async def _come_up(self, child: Child) -> int | None:
        """Wait until it answers; its exit code where it ended before. Raises OutsideError where it does neither."""
        process = self._processes[child.name]
        gateway = child is self._plan.gateway
        answer = await answering(child, process, RESTORING if gateway else START)
        if gateway and answer is None and process.running:
            answer = await answering(child, process, START)
        if not process.running:
            return await process.ended()
        if gateway and answer == 503:
            self._say("the gateway answers; not all of its deployments are ready yet: see legion deploy list")
        elif answer != 200:
            raise OutsideError(f"{child.name} did not answer at {child.health} within {START:g} s")
        return None

    async def _watch(self) -> None:
        """Start again whatever ends, until it is time to stop."""
        tending: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._tend(child)) for child in (self._plan.mlflow, self._plan.gateway)
        ]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((*tending, stopped), return_when=asyncio.FIRST_COMPLETED)
            for task in tending:
                if task.done():
                    task.result()
        finally:
            for one in (*tending, stopped):
                one.cancel()
            await asyncio.gather(*tending, stopped, return_exceptions=True)

    async def _tend(self, child: Child) -> None:
        pause, loop = _PAUSE_LEAST, asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._processes[child.name].ended()
            if loop.time() - began > _SETTLED:
                pause = _PAUSE_LEAST
            self._say(f"{child.name} {_how(code)}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST)
            await self._start(child)
            try:
                if await self._come_up(child) is None:
                    self._say(f"{child.name} answers again")
            except OutsideError as error:
                self._say(str(error))
                await self._processes[child.name].kill()

    async def _stop_all(self) -> None:
        """End all children together; each has GRACE to drain, unless a second signal ends the wait."""
        running = {name: process for name, process in self._processes.items() if process.running}
        if not running:
            return
        self._say(f"stopping {' and '.join(running)} …")
        stops = {name: asyncio.create_task(process.stop(GRACE)) for name, process in running.items()}
        hurry = asyncio.create_task(self._hurry.wait())
        together = asyncio.gather(*stops.values())
        await asyncio.wait((together, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not together.done():
            await asyncio.gather(*(process.kill() for process in running.values()))
        for name, in_time in zip(stops, await together, strict=True):
            if not in_time:
                self._say(f"{name} did not end within {GRACE:g} s and was killed")


def _how(code: int) -> str:
    """How a process ended, for a sentence."""
    signum = -code if code < 0 else code - 128
    names = {one.value: one.name for one in signal.Signals}
    return f"was ended by {names[signum]}" if signum in names else f"ended with exit code {code}"
