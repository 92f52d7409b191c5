"""One batch of calls, answered: read each, merge what may be merged, predict, give each its own rows.

Rows out = rows in, or the answer is refused. One bad request fails alone.
"""

from __future__ import annotations

import logging
from time import perf_counter_ns
from typing import Any, Dict, List, Optional, Tuple

import msgspec

from legion import wire
from legion.errors import InputError
from legion.interface import result
from legion.interface.model import Model
from legion.interface.table import alike, concatenate
from legion.wire import Call, Reply
from legion.worker.codecs.columns import Columns
from legion.worker.codecs.invocations import Invocations
from legion.worker.codecs.legion import LegionRest
from legion.worker.codecs.oip import OpenInference
from legion.worker.codecs.request import Codec, Request
from legion.worker.streams import Streams

_logger = logging.getLogger("legion.worker")


class _Job:
    """A call on its way: `request` is None once it has a reply."""

    __slots__ = ("codec", "items", "reply", "request")

    def __init__(self, codec: Codec, request: Optional[Request], reply: Optional[Reply]) -> None:
        self.codec = codec
        self.request = request
        self.reply = reply
        self.items: Any = None


class Answerer:
    """Answers batches for one model; `merges` only where merging was proven. `name` and `version` go into answers."""

    def __init__(self, model: Model, *, merges: bool, name: str = "", version: str = "") -> None:
        self._model = model
        self.merges = merges
        self.whole = model.mode == "whole"
        # Where the model can answer in pieces and somebody takes them.
        self.streams: Optional[Streams] = None
        self.open_inference = OpenInference(model, name, version)
        self.codecs: Dict[int, Codec] = {
            wire.MLFLOW: Invocations(model),
            wire.LEGION: LegionRest(model),
            wire.COLUMNS: Columns(model),
            wire.OPEN_INFERENCE: self.open_inference,
        }

    def answer(self, calls: List[Call]) -> List[Reply]:
        """One reply a call, in their order."""
        if self.streams is None:
            return self._answer(calls)
        begun = [self.streams.begin(call) for call in calls]
        others = iter(self._answer([call for call, reply in zip(calls, begun) if reply is None]))
        return [reply or next(others) for reply in begun]

    def _answer(self, calls: List[Call]) -> List[Reply]:
        if self.whole:
            return [self._whole(call) for call in calls]
        start = perf_counter_ns()
        jobs = [self._read(call) for call in calls]
        decoded = perf_counter_ns()
        self._predict([job for job in jobs if job.request is not None])
        predicted = perf_counter_ns()
        replies = [job.reply or self._encode(job) for job in jobs]
        encoded = perf_counter_ns()
        times = (decoded - start) // 1000, (predicted - decoded) // 1000, (encoded - predicted) // 1000
        for reply in replies:
            reply.decode_us, reply.predict_us, reply.encode_us = times
        return replies

    def _read(self, call: Call) -> _Job:
        codec = self.codecs[call.protocol]
        try:
            return _Job(codec, codec.decode(call), None)
        except InputError as error:
            return _Job(codec, None, Reply(*codec.refuse(error)))
        except Exception as error:
            # No body, whatever is in it, ends the worker.
            _logger.exception("a request could not be read")
            return _Job(
                codec, None, Reply(*codec.refuse(InputError(f"the body cannot be read: {error}", kind="syntax")))
            )

    def _predict(self, jobs: List[_Job]) -> None:
        """Fill in each job's items, or its reply where the model refused or failed."""
        if self.merges and len(jobs) > 1:
            first = next((job for job in jobs if _mergeable(job, job)), jobs[0])
            like = [job for job in jobs if _mergeable(job, first)]
            if len(like) > 1 and self._merged(like):
                jobs = [job for job in jobs if job.request is not None and job.items is None]
        for job in jobs:
            self._alone(job)

    def _merged(self, jobs: List[_Job]) -> bool:
        """Predict all jobs' rows at once. False where that failed: then each goes alone."""
        table = concatenate([job.request.table for job in jobs if job.request is not None])
        try:
            items = result.items_of(self._model.predict(table, None))
        except BaseException as error:
            _stop_if_asked(error)
            return False
        if not isinstance(items, list) or len(items) != table.n:
            _logger.warning("a merged prediction gave the wrong number of rows; requests are no longer merged")
            self.merges = False
            return False
        start = 0
        for job in jobs:
            assert job.request is not None
            end = start + job.request.table.n
            job.items = items[start:end]
            start = end
        return True

    def _alone(self, job: _Job) -> None:
        assert job.request is not None
        table, params = job.request.table, job.request.params
        try:
            items = result.items_of(self._model.predict(table, params))
            # A model that answers with something else than rows (a string, one dict) is taken at its word.
            if isinstance(items, list) and table.objects is None and self.merges and len(items) != table.n:
                raise ValueError(f"the model gave {len(items)} answers for {table.n} rows")
            job.items = items
        except BaseException as error:
            _stop_if_asked(error)
            job.reply = self.failed(error, job.codec)

    def _encode(self, job: _Job) -> Reply:
        assert job.request is not None
        try:
            body, content_type = job.codec.encode(job.items, job.request.wanted)
            return Reply(200, body, content_type, job.request.table.n)
        except Exception as error:
            return self.failed(error, job.codec)

    def failed(self, error: BaseException, codec: Optional[Codec] = None) -> Reply:
        """The reply where the model refused or failed, in MLflow's protocol unless a codec is named."""
        codec = codec or self.codecs[wire.MLFLOW]
        if isinstance(error, InputError):
            return Reply(*codec.refuse(error))
        _logger.warning("the model raised %s: %s", type(error).__name__, error, exc_info=error)
        if not isinstance(error, Exception):
            error = RuntimeError(f"the model tried to end its process ({type(error).__name__})")
        return Reply(*codec.refuse(error))

    def _whole(self, call: Call) -> Reply:
        start = perf_counter_ns()
        codec = self.codecs[call.protocol]
        if call.protocol not in (wire.MLFLOW, wire.OPEN_INFERENCE):
            refusal = InputError("this model's signature is no table; call it by /invocations or /v2/models/NAME/infer")
            return Reply(*codec.refuse(refusal))
        try:
            if call.protocol == wire.OPEN_INFERENCE:
                status, body, kind = self._infer_whole(call)
            else:
                status, body, kind = self._model.invoke(call.body, call.content_type)
        except BaseException as error:
            _stop_if_asked(error)
            return self.failed(error, codec)
        kind = None if kind == "application/json" else kind
        return Reply(status, body, kind, predict_us=(perf_counter_ns() - start) // 1000)

    def _infer_whole(self, call: Call) -> Tuple[int, bytes, Optional[str]]:
        """Tensors to a model that reads MLflow's bodies only, and back."""
        codec = self.open_inference
        inputs, wanted = codec.read(call)
        status, body, _ = self._model.invoke(codec.invocation(inputs), None)
        answer = msgspec.json.decode(body)
        if status != 200:
            return (*codec.refuse(InputError(str(answer.get("message", "the model refused the request")))), None)
        return (200, *codec.encode(answer["predictions"], wanted))


def _mergeable(job: _Job, first: _Job) -> bool:
    one, other = job.request, first.request
    return one is not None and other is not None and one.params is None and alike(one.table, other.table)


def _stop_if_asked(error: BaseException) -> None:
    """A model may raise what it likes, SystemExit included; only running out of memory ends the worker."""
    if isinstance(error, MemoryError):
        raise error
