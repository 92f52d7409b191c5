"""One batch of calls, answered: read each, merge what may be merged, predict, give each its own rows.

Rows out = rows in, or the answer is refused. One bad request fails alone.
"""

from __future__ import annotations

import logging
from time import monotonic, perf_counter_ns
from typing import Any, Dict, Iterator, List, Optional, Tuple

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
    """A call on its way: read (`request`), predicted (`items`), answered (`reply`)."""

    __slots__ = ("call", "codec", "items", "predicted", "reply", "request")

    def __init__(self, call: Call, codec: Codec) -> None:
        self.call = call
        self.codec = codec
        self.request: Optional[Request] = None
        self.predicted = False
        self.items: Any = None
        self.reply: Optional[Reply] = None

    def refuse(self, error: Exception) -> None:
        """Answer with what went wrong."""
        self.reply = Reply(*self.codec.refuse(error))


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
        return [reply for replies in self.replies(calls) for reply in replies]

    def replies(self, calls: List[Call]) -> Iterator[List[Reply]]:
        """One reply a call, in their order, as they are ready: together those that were predicted together."""
        if not self.merges or self.whole or len(calls) == 1:
            for call in calls:
                yield [self.answer_one(call)]
            return
        start, now = perf_counter_ns(), monotonic()
        jobs = [self._read(call, now) for call in calls]
        decoded = perf_counter_ns()
        self._predict_merged([job for job in jobs if job.request is not None])
        predicted = perf_counter_ns()
        ready: List[Reply] = []
        for job in jobs:
            if job.predicted or job.reply is not None:
                ready.append(self._encode(job))
                continue
            # Unlike the others, or they could not be predicted together.
            if ready:
                yield _timed(ready, decoded - start, predicted - decoded, 0)
                ready = []
            yield [self._predict_one(job)]
        if ready:
            yield _timed(ready, decoded - start, predicted - decoded, perf_counter_ns() - predicted)

    def answer_one(self, call: Call) -> Reply:
        """The reply to a call that is predicted alone."""
        start = perf_counter_ns()
        job = self._read(call, monotonic())
        return job.reply or self._predict_one(job, perf_counter_ns() - start)

    def _read(self, call: Call, now: float) -> _Job:
        job = _Job(call, self.codecs[call.protocol])
        if 0 < call.deadline < now:
            job.reply = _late()
            return job
        if self.streams is not None:
            job.reply = self.streams.begin(call)
        if self.whole and job.reply is None:
            job.reply = self._whole(call)
        if job.reply is not None:
            return job
        try:
            job.request = job.codec.decode(call)
        except InputError as error:
            job.refuse(error)
        except Exception as error:
            # No body, whatever is in it, ends the worker.
            _logger.exception("a request could not be read")
            job.refuse(InputError(f"the body cannot be read: {error}", kind="syntax"))
        return job

    def _predict_merged(self, jobs: List[_Job]) -> None:
        """Predict those that are alike at once; where that fails, each is left to be predicted alone."""
        first = next((job for job in jobs if _mergeable(job, job)), None)
        like = [] if first is None else [job for job in jobs if _mergeable(job, first)]
        if len(like) > 1:
            self._merge(like)

    def _predict_one(self, job: _Job, decode_ns: int = 0) -> Reply:
        if 0 < job.call.deadline < monotonic():
            return _late()
        start = perf_counter_ns()
        self._predict(job)
        predicted = perf_counter_ns()
        reply = self._encode(job)
        return _timed([reply], decode_ns, predicted - start, perf_counter_ns() - predicted)[0]

    def _merge(self, jobs: List[_Job]) -> None:
        """Predict all jobs' rows at once, unless that fails."""
        table = concatenate([job.request.table for job in jobs if job.request is not None])
        try:
            items = result.items_of(self._model.predict(table, None))
        except BaseException as error:
            _stop_if_asked(error)
            return
        if not isinstance(items, list) or len(items) != table.n:
            _logger.warning("a merged prediction gave the wrong number of rows; requests are no longer merged")
            self.merges = False
            return
        start = 0
        for job in jobs:
            assert job.request is not None
            end = start + job.request.table.n
            job.items, job.predicted = items[start:end], True
            start = end

    def _predict(self, job: _Job) -> None:
        """Fill in the job's items, or its reply where the model refused or failed."""
        assert job.request is not None
        table, params = job.request.table, job.request.params
        try:
            items = result.items_of(self._model.predict(table, params))
            # A model that answers with something else than rows (a string, one dict) is taken at its word.
            if isinstance(items, list) and table.objects is None and self.merges and len(items) != table.n:
                raise ValueError(f"the model gave {len(items)} answers for {table.n} rows")
            job.items, job.predicted = items, True
        except BaseException as error:
            _stop_if_asked(error)
            job.reply = self.failed(error, job.codec)

    def _encode(self, job: _Job) -> Reply:
        if job.reply is not None:
            return job.reply
        assert job.request is not None
        try:
            body, content_type = job.codec.encode(job.items, job.request.wanted)
            if len(body) > wire.LARGEST_ANSWER:
                raise _too_large()
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
        try:
            if call.protocol == wire.OPEN_INFERENCE:
                status, body, kind = self._infer_whole(call)
            elif call.protocol == wire.MLFLOW:
                status, body, kind = self._model.invoke(call.body, call.content_type)
            else:
                raise InputError(
                    "this model's signature is no table; call it by /invocations or by the Open Inference Protocol"
                )
            if len(body) > wire.LARGEST_ANSWER:
                raise _too_large()
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


def _too_large() -> ValueError:
    return ValueError(f"the answer is over the limit of {wire.LARGEST_ANSWER} bytes; send fewer rows at a time")


def _late() -> Reply:
    """The caller has been told already, or will be at once."""
    return Reply(504, b"", late=True)


def _timed(replies: List[Reply], decode_ns: int, predict_ns: int, encode_ns: int) -> List[Reply]:
    """Note how long what they share took."""
    for reply in replies:
        reply.decode_us, reply.predict_us, reply.encode_us = decode_ns // 1000, predict_ns // 1000, encode_ns // 1000
    return replies


def _stop_if_asked(error: BaseException) -> None:
    """A model may raise what it likes, SystemExit included; only running out of memory ends the worker."""
    if isinstance(error, MemoryError):
        raise error
