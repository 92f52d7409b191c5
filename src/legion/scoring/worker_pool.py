"""The workers of a batch prediction, and a window of chunks in flight.

Replicas live on an event loop in a thread of its own: the main thread may then block in reading and writing,
and Ctrl-C ends it wherever it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from legion.replica import Replica
from legion.scoring.chunk import Chunk
from legion.wire import Call, Plan, Reply, Report

T = TypeVar("T")


class WorkerPool:
    """Started replicas of one model. `report` is the first one's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, replicas: list[Replica]) -> None:
        self._loop = loop
        self._replicas = replicas
        self._idle: asyncio.Queue[Replica] = asyncio.Queue()
        for replica in replicas:
            self._idle.put_nowait(replica)

    @property
    def report(self) -> Report:
        return self._replicas[0].report

    def answers(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Reply]]:
        """Every chunk with its reply, in order. Raises WorkerError where a worker ends.

        Two chunks a worker are in flight, one with it and one ready, so memory does not grow with the input.
        """
        window: deque[tuple[Chunk, Future[Reply]]] = deque()
        try:
            for chunk in chunks:
                window.append((chunk, _run(self._loop, self._ask(chunk.call))))
                if len(window) >= 2 * len(self._replicas):
                    yield _taken(window)
            while window:
                yield _taken(window)
        finally:
            for _, future in window:
                future.cancel()

    async def _ask(self, call: Call) -> Reply:
        replica = await self._idle.get()
        try:
            replies = await replica.send([call])
        finally:
            self._idle.put_nowait(replica)
        return replies[0]


@contextmanager
def worker_pool(plan: Plan, python: Path, workers: int, *, start_timeout: float) -> Iterator[WorkerPool]:
    """Start so many workers, and stop them all at the end. Raises WorkerError where one does not start."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="replicas", daemon=True)
    thread.start()
    try:
        starting = _run(loop, _start(plan, python, workers, start_timeout))
        try:
            replicas = starting.result()
        except BaseException:
            # Interrupted while starting: wait until what was begun is stopped again.
            starting.cancel()
            _run(loop, _settled()).result()
            raise
        try:
            yield WorkerPool(loop, replicas)
        except BaseException:
            _run(loop, _together(replica.kill() for replica in replicas)).result()
            raise
        _run(loop, _together(replica.stop() for replica in replicas)).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> Future[T]:
    return asyncio.run_coroutine_threadsafe(work, loop)


def _taken(window: deque[tuple[Chunk, Future[Reply]]]) -> tuple[Chunk, Reply]:
    chunk, future = window[0]
    reply = future.result()
    window.popleft()
    return chunk, reply


async def _start(plan: Plan, python: Path, workers: int, timeout: float) -> list[Replica]:
    tasks = [asyncio.create_task(Replica.start(plan, python, start_timeout=timeout)) for _ in range(workers)]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await _together(result.kill() for result in results if isinstance(result, Replica))
        raise


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*work, return_exceptions=True)


async def _settled() -> None:
    """Wait for everything else on this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
