"""Runs a scenario through the real fleet, pools, exchanges and routes, and holds what happens against what must hold.

- Each request is settled exactly once, with its own answer or one right refusal, by its deadline and one sweep.
- It is executed by the release that was current when it came, and never after its caller left or its deadline passed.
- A worker that makes progress is not ended, and whatever is started ends or is refused.
- One deployment's faults touch no other.
- When the faults stop, everything that is asked for is served again within a bounded time.
- In the end nothing is left in any queue, table or task, and nothing of the memory budget is held.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from fake_provisioner import FakeProvisioner, Shelf
from fake_worker import FakeWorker, Fate, SimulatedReplica, fate
from scenario import STEADY, TROUBLE, Deployed, Scenario, Step
from virtual_loop import run

from legion import wire
from legion.gateway.deployments.declaration import Declaration, VariantDeclaration, Workers
from legion.gateway.deployments.fleet import Fleet
from legion.gateway.deployments.provisioner import Provisioner
from legion.gateway.deployments.routes import Routes
from legion.gateway.deployments.runtime import Runtime
from legion.gateway.deployments.saved_deployments import SavedDeployment, SavedDeployments
from legion.gateway.dispatch.pending import Crashed, Left, QueueFull, TooLate
from legion.gateway.dispatch.sweeper import SWEEP
from legion.gateway.http.exchange import Exchange
from legion.gateway.http.refusal import Refusal
from legion.gateway.limits import MIB, Limits
from legion.gateway.memory_budget import MemoryBudget

# Seconds by which all is well again once nothing goes wrong any more: retries and restarts wait for minutes.
_RECOVERY = 700.0
_EPSILON = 1e-6
# Whatever waits is looked over this often; a step more for what a look brings about.
_SETTLED_BY = 2 * SWEEP + 1e-3


class Violation(Exception):
    """Something that must hold did not."""


class _Caller:
    """One request, and what became of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.settled = 0
        self.left = False
        self.executions = 0
        self.exchange: Any = None


class _Saved(SavedDeployments):
    """Saved deployments that are kept in memory, while that works."""

    def __init__(self, broken: Callable[[], bool]) -> None:
        self._broken = broken

    def write(self, entry: SavedDeployment) -> None:
        if self._broken():
            raise OSError(28, "No space left on device")

    def remove(self, name: str) -> None:
        if self._broken():
            raise OSError(30, "Read-only file system")

    def read(self) -> list[SavedDeployment]:
        return []


class World:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.violations: list[str] = []
        self.calm = False
        self.workers: list[FakeWorker] = []
        self.callers: dict[int, _Caller] = {}
        self.random = random.Random(f"{scenario.seed}/split").random
        self._numbers = itertools.count(1)
        self._starts: dict[str, itertools.count[int]] = {}
        self._until = {"files": 0.0, "quiet": 0.0, "unkept": 0.0}
        self._models = {
            _reference(one, place): model for one in scenario.deployments for place, model in enumerate(one.models)
        }
        self._provisioners: list[FakeProvisioner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def main(self) -> None:
        """From the first declaration to the last worker's end."""
        self.loop = asyncio.get_running_loop()
        self.shelf = Shelf()
        self.routes = Routes()
        self.budget = MemoryBudget(MIB)
        replica: Any = type("Replica", (SimulatedReplica,), {"make": staticmethod(self._worker)})

        async def start(plan: wire.Plan, python: Path, seconds: float) -> Any:
            return await replica.start(plan, python, start_timeout=seconds)

        epoch = datetime(2026, 1, 1, tzinfo=UTC)
        runtime = Runtime(start, lambda: epoch + timedelta(seconds=self.loop.time()), self.random)
        self.fleet = Fleet(
            self.routes, Provisioner(self._start_provisioner), self._say, _Saved(lambda: self._is("unkept")), runtime
        )
        for one in self.scenario.deployments:
            self.fleet.put(_declaration(one, one.workers))
        await self._await(lambda: self._serves(STEADY), "the steady deployment is served", 90.0)
        began = self.loop.time()
        for step in self.scenario.steps:
            self.loop.call_at(began + step.at, self._do, step)
        await asyncio.sleep(TROUBLE + 1.0)
        await self._recover()
        await self.fleet.stop()
        await asyncio.sleep(60.0)
        self._nothing_is_left()

    # What happens

    def _do(self, step: Step) -> None:
        if step.what == "call":
            self._tasks.append(self.loop.create_task(self._call(step)))
        elif step.what == "remove":
            if step.whom in self.fleet.deployments:
                self._tasks.append(self.loop.create_task(self._remove(step.whom)))
        elif step.what in self._until:
            self._until[step.what] = self.loop.time() + step.how
        else:
            getattr(self, f"_{step.what}")(step)

    def _move(self, step: Step) -> None:
        for model in self._models:
            if f"/{step.whom}-" in model:
                self.shelf.versions[model] = self.shelf.versions.get(model, 1) + 1

    def _rollback(self, step: Step) -> None:
        if step.whom in self.fleet.deployments:
            self.fleet.rollback(step.whom, None)

    def _redeclare(self, step: Step) -> None:
        one = next(one for one in self.scenario.deployments if one.name == step.whom)
        try:
            self.fleet.put(_declaration(one, int(step.how)))
        except OSError:
            if not self._is("unkept"):
                raise

    async def _remove(self, name: str) -> None:
        unkept = self._is("unkept")
        try:
            await self.fleet.remove(name)
        except OSError:
            if not unkept:
                self._violated(f"{name} could not be removed")

    def _kill(self, step: Step) -> None:
        alive = [one for one in self.workers if not one.dead and one.model is not None and one.owner == step.whom]
        if alive:
            alive[0].die()

    def _provisioner_of_now(self) -> FakeProvisioner | None:
        return next((one for one in self._provisioners if not one.ended), None)

    def _unreadable(self, step: Step) -> None:
        if (one := self._provisioner_of_now()) is not None:
            one.write(b'{"type":"delivery","id":1,"key":7}\n\xff')

    def _flood(self, step: Step) -> None:
        if (one := self._provisioner_of_now()) is not None:
            one.flood()

    def _provisioner(self, step: Step) -> None:
        if (one := self._provisioner_of_now()) is not None:
            one.kill()

    async def _start_provisioner(self) -> Any:
        if self._is("files"):
            raise OSError(24, "Too many open files")
        one = FakeProvisioner(self.shelf)
        self._provisioners.append(one)
        return one

    def _say(self, line: str) -> None:
        if self._is("quiet"):
            raise BrokenPipeError(32, "Broken pipe")

    def _is(self, what: str) -> bool:
        return not self.calm and self.loop.time() < self._until[what]

    def _worker(self, plan: wire.Plan) -> FakeWorker:
        model = self._models[plan.entrypoint]
        number = next(self._starts.setdefault(f"{plan.entrypoint}/{plan.version}", itertools.count()))
        rng = random.Random(f"{self.scenario.seed}/{plan.entrypoint}/{plan.version}/{number}")
        what = Fate() if self.calm else fate(rng, model.prone)
        if self._is("files") and model.prone:
            what = Fate(start="no files")
        worker = FakeWorker(model, plan.version, what, self)
        worker.reference, worker.owner = plan.entrypoint, plan.entrypoint.split("/")[1].split("-")[0]
        self.workers.append(worker)
        return worker

    # What is asked

    async def _call(self, step: Step, *, must: bool = False) -> None:
        caller, name = _Caller(next(self._numbers)), step.whom
        self.callers[caller.number] = caller
        headers = [(b"content-type", b"application/json"), (b"x-user", b"%d" % (caller.number % 3))]
        route = self.routes.find({"method": "POST", "path": f"/models/{name}/invocations"})
        if route is None:
            if must or name == STEADY:
                self._violated(f"{name} has no route")
            return
        exchange = caller.exchange = Exchange(headers, route, self.budget)
        try:
            await self._ask(caller, exchange, step, must)
        finally:
            exchange.close()

    async def _ask(self, caller: _Caller, exchange: Exchange, step: Step, must: bool) -> None:
        name, patience = step.whom, step.how
        receive = self._receive(caller, patience) if patience >= 0 and caller.number % 2 else None
        began = self.loop.time()
        if step.body:
            await asyncio.sleep(step.body)
        try:
            mark = b"-" if step.poisoned else b"s" if step.streamed else b""
            pending = exchange.submit(b"%b%d" % (mark, caller.number), receive)
        except (Refusal, QueueFull, Crashed) as reason:
            self._judge(caller, name, reason, began, must)
            return
        self._is_current(exchange)
        if patience >= 0 and receive is None:
            self.loop.call_later(patience, self._leave, caller)
        pending.future.add_done_callback(lambda future: self._settled(caller))
        self.loop.call_at(pending.deadline + _SETTLED_BY, self._check_settled, caller, name)
        try:
            outcome: Any = await asyncio.shield(pending.future)
        except (Left, TooLate, Crashed, QueueFull) as reason:
            outcome = reason
        if isinstance(outcome, wire.Reply) and outcome.stream:
            await self._read(caller, patience)
        else:
            self._judge(caller, name, outcome, began, must)

    async def _read(self, caller: _Caller, patience: float) -> None:
        """The pieces of a streamed answer, until its end or until the caller leaves."""
        exchange = caller.exchange
        stream = exchange.pending.stream
        begun, due = 0, self.loop.time() + patience
        version = exchange.choice.release.delivery.plan.version
        try:
            async for piece in stream.pieces():
                if piece != b"s%d/%b/%d" % (caller.number, version.encode(), begun):
                    self._violated(f"piece {begun} of request {caller.number} is {piece!r}")
                begun += 1
                if patience >= 0 and due <= self.loop.time():
                    break
                await asyncio.sleep(0.001)
        except (TooLate, Crashed):
            """It ended with its worker, or said nothing for too long."""
        finally:
            stream.leave()

    def _receive(self, caller: _Caller, patience: float) -> Any:
        async def receive() -> dict[str, str]:
            await asyncio.sleep(max(0.0, patience))
            caller.left = True
            return {"type": "http.disconnect"}

        return receive

    def _leave(self, caller: _Caller) -> None:
        """As the connection itself says it."""
        assert caller.exchange is not None
        assert caller.exchange.pending is not None
        if not caller.exchange.pending.future.done():
            caller.left = True
            caller.exchange.pending.fail(Left())

    # What must hold

    def _violated(self, what: str) -> None:
        self.violations.append(f"{self.loop.time():.3f} s: {what}")

    def _settled(self, caller: _Caller) -> None:
        caller.settled += 1

    def _check_settled(self, caller: _Caller, name: str) -> None:
        if caller.settled != 1:
            self._violated(f"request {caller.number} to {name} was settled {caller.settled} times by its deadline")

    def _is_current(self, exchange: Exchange) -> None:
        if exchange.choice is None or exchange.choice.release not in exchange.deployment.releases:
            self._violated("a request was given to a release that is not current")

    def _judge(self, caller: _Caller, name: str, outcome: Any, began: float, must: bool) -> None:
        """Whether the outcome is right for this request."""
        now, pending = self.loop.time(), caller.exchange and caller.exchange.pending
        if isinstance(outcome, wire.Reply):
            if outcome.body.split(b"/")[0] != b"%d" % caller.number or outcome.status != 200:
                self._violated(f"request {caller.number} got {outcome.status} {outcome.body!r}")
            version = caller.exchange.choice.release.delivery.plan.version.encode()
            if outcome.body.split(b"/")[-1] != version:
                self._violated(f"request {caller.number} was given to version {version!r} and got {outcome.body!r}")
        elif isinstance(outcome, TooLate) and now < pending.deadline - _EPSILON:
            self._violated(f"request {caller.number} was refused as late before its deadline")
        elif isinstance(outcome, Crashed) and pending is not None and pending.attempts < 2 and not self._ended(caller):
            self._violated(f"request {caller.number} was refused as crashed after {pending.attempts} attempts")
        elif isinstance(outcome, Left) and not caller.left:
            self._violated(f"request {caller.number} was taken to have left")
        elif isinstance(outcome, Refusal) and outcome.status != 503:
            self._violated(f"request {caller.number} was refused with {outcome.status}")
        if not isinstance(outcome, (wire.Reply, Left)) and outcome.retry_after is None:
            self._violated(f"request {caller.number} was refused without saying when to try again")
        self._check_promised(caller, name, outcome, now - began, must)

    def _check_promised(self, caller: _Caller, name: str, outcome: Any, took: float, must: bool) -> None:
        if (must or name == STEADY) and not isinstance(outcome, wire.Reply):
            self._violated(f"request {caller.number} to {name} got {type(outcome).__name__}, and must be answered")
        if name == STEADY and took > 0.5:
            self._violated(f"request {caller.number} to {name} took {took:.3f} s")

    def _ended(self, caller: _Caller) -> bool:
        """Whether its release was ended before it could answer: it never started, or its workers were lost."""
        release = caller.exchange.choice.release
        owner = release.delivery.plan.entrypoint
        lost = any(worker.dead and not worker.asked_to_stop for worker in self.workers if worker.reference == owner)
        return release.pool._stopped and (release.since is None or lost)

    def executed(self, worker: FakeWorker, call: wire.Call) -> None:
        caller, now = self.callers[int(call.body.lstrip(b"-s"))], self.loop.time()
        caller.executions += 1
        assert caller.exchange is not None
        pending = caller.exchange.pending
        if pending is not None and pending.future.done() and not worker.model.merges:
            self._violated(f"request {caller.number} was executed after it was settled")
        if pending is not None and (pending.deadline < now or (caller.left and now == pending.sent)):
            self._violated(f"request {caller.number} was executed though its caller left or its deadline had passed")
        if caller.executions > 2:
            self._violated(f"request {caller.number} was executed {caller.executions} times")

    def killed(self, worker: FakeWorker) -> None:
        timeout = next(one.timeout for one in self.scenario.deployments if one.name == worker.owner)
        progresses = worker.working and self.loop.time() - worker.progress <= timeout
        if progresses and not worker.asked_to_stop and not worker.lied:
            self._violated(f"a worker of {worker.owner} that made progress was ended")

    def _serves(self, name: str) -> bool:
        deployment = self.fleet.deployments[name]
        return all(variant.serving is not None for variant in deployment.variants)

    async def _await(self, holds: Callable[[], bool], what: str, seconds: float) -> None:
        end = self.loop.time() + seconds
        while not holds():
            if self.loop.time() > end:
                self._violated(f"not within {seconds:g} s: {what}")
                return
            await asyncio.sleep(min(1.0, seconds / 100))

    async def _recover(self) -> None:
        """Nothing goes wrong any more: all that is asked for is served again."""
        self.calm = True
        for worker in self.workers:
            if not worker.dead:
                worker.fate = msgspec.structs.replace(worker.fate, trouble="none")
        variants = [variant for one in self.fleet.deployments.values() for variant in one.variants]
        decided = "every variant is served or refused"
        await self._await(lambda: all(one.serving or one.refused for one in variants), decided, _RECOVERY)
        for one in self.scenario.deployments:
            # Whoever sees a refusal asks again.
            self.fleet.put(_declaration(one, one.workers))
        for one in self.scenario.deployments:
            await self._await(partial(self._serves, one.name), f"{one.name} is served", _RECOVERY)
        # By now whatever hangs has been replaced.
        await asyncio.sleep(60.0)
        for one in self.scenario.deployments:
            await self._call(Step(0.0, "call", one.name), must=True)
        await asyncio.sleep(60.0)
        self._nothing_waits()

    def _nothing_waits(self) -> None:
        for deployment in self.fleet.deployments.values():
            for release in deployment.releases:
                if release.pool.waiting or any(slot.busy for slot in release.pool._slots):
                    self._violated(f"something is left in the queue or with the workers of {deployment.name}")

    def _nothing_is_left(self) -> None:
        for worker in self.workers:
            if not worker.dead and worker.fate.start not in ("no files", "odd error"):
                self._violated(f"a worker of {worker.owner} was not ended")
        if (one := self._provisioner_of_now()) is not None:
            self._violated(f"the provisioner {one.pid} was not ended")
        if self.budget.held:
            self._violated(f"{self.budget.held} bytes are still held")
        for caller in self.callers.values():
            pending = caller.exchange and caller.exchange.pending
            if pending is not None and not pending.future.done():
                self._violated(f"request {caller.number} was never settled")
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._violated(f"{task.get_coro()} raised {error!r}")
        ours = {asyncio.current_task()}
        for task in asyncio.all_tasks() - ours:
            self._violated(f"a task is left: {task.get_coro()}")


def _reference(one: Deployed, place: int) -> str:
    return f"models:/{one.name}-{place}{'@champion' if one.models[place].follows else '/1'}"


def _declaration(one: Deployed, workers: int) -> Declaration:
    share = 100.0 / len(one.models)
    variants = tuple(VariantDeclaration(f"v{place}", _reference(one, place), share) for place in range(len(one.models)))
    return Declaration(
        one.name,
        variants,
        follow=2.0 if any(model.follows for model in one.models) else None,
        sticky="x-user" if one.sticky else None,
        limits=Limits(queue=one.queue, timeout=one.timeout, start=4.0),
        workers=Workers(replicas=workers, keep_warm=one.keep_warm),
    )


def simulate(scenario: Scenario) -> list[str]:
    """Run it; what did not hold, in the order it was found."""
    logging.disable(logging.CRITICAL)
    world = World(scenario)
    try:
        _, loop = run(world.main)
    except Exception as error:
        return [*world.violations, f"the run ended with {error!r}"]
    finally:
        logging.disable(logging.NOTSET)
    return [*world.violations, *loop.faults]
