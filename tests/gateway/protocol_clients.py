"""Each protocol that a model can be asked by: rows in, the numbers or the refusal out."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import requests
from tritonclient.grpc import service_pb2, service_pb2_grpc
from wine_models import OBJECTS

from conftest import Server, legion


class Asked(NamedTuple):
    """Who is asked and what for: `folder` holds the model that the server serves as `name`."""

    server: Server
    name: str
    folder: Path
    scratch: Path
    environment: dict[str, str]
    columns: Sequence[str]
    data: Sequence[Sequence[Any]]


class Outcome(NamedTuple):
    """The numbers, or the status in the protocol's own terms with the refusal as it came."""

    numbers: list[float] | None
    status: Any = 200
    refusal: Any = None

    @property
    def sentence(self) -> str:
        """What was said of the refusal."""
        said = self.refusal
        return said if isinstance(said, str) else said.get("message", said.get("error"))


def _number(item: Any) -> float:
    """One row's answer, in whichever wrapping the interface gives it; null stands for NaN in JSON."""
    while isinstance(item, (dict, list)):
        (item,) = item.values() if isinstance(item, dict) else item
    return float("nan" if item is None else item)


def _http(asked: Asked, path: str, body: Any, read: Callable[[Any], list[Any]], **headers: str) -> Outcome:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    answer = requests.post(asked.server.url + path, data=data, headers=headers, timeout=60)
    if answer.status_code != 200:
        return Outcome(None, answer.status_code, answer.json())
    return Outcome([_number(item) for item in read(answer.json())])


def _records(asked: Asked) -> list[dict[str, Any]]:
    return [dict(zip(asked.columns, row, strict=True)) for row in asked.data]


def mlflow_split(asked: Asked) -> Outcome:
    """MLflow's protocol, `dataframe_split`."""
    body = {"dataframe_split": {"columns": list(asked.columns), "data": asked.data}}
    return _http(asked, f"/models/{asked.name}/invocations", body, lambda said: said["predictions"])


def mlflow_records(asked: Asked) -> Outcome:
    """MLflow's protocol, `dataframe_records`."""
    body = {"dataframe_records": _records(asked)}
    return _http(asked, f"/models/{asked.name}/invocations", body, lambda said: said["predictions"])


def mlflow_csv(asked: Asked) -> Outcome:
    """MLflow's protocol, CSV."""
    text = io.StringIO()
    csv.writer(text).writerows([asked.columns, *asked.data])
    path = f"/models/{asked.name}/invocations"
    return _http(
        asked, path, text.getvalue().encode(), lambda said: said["predictions"], **{"content-type": "text/csv"}
    )


def legion_rest(asked: Asked) -> Outcome:
    """Legion's REST: a matrix with its columns, or a list of objects where the model takes objects."""
    body: Any = {"columns": list(asked.columns), "data": asked.data}
    if asked.name in OBJECTS:
        body = _records(asked)
    path = f"/models/{asked.name}/api/model/invoke"
    return _http(asked, path, body, lambda said: said if isinstance(said, list) else said["prediction"])


def _datatype(values: Sequence[Any]) -> str:
    return "BYTES" if any(isinstance(value, str) for value in values) else "FP64"


def infer_json(asked: Asked) -> Outcome:
    """The Open Inference Protocol, tensors in JSON."""
    inputs = [
        {"name": name, "shape": [len(asked.data)], "datatype": _datatype(values), "data": values}
        for name, values in _by_column(asked)
    ]
    path = f"/v2/models/{asked.name}/infer"
    return _http(asked, path, {"inputs": inputs}, lambda said: said["outputs"][0]["data"])


def _by_column(asked: Asked) -> list[tuple[str, list[Any]]]:
    columns = [(name, [row[place] for row in asked.data]) for place, name in enumerate(asked.columns)]
    # A tensor is of one datatype.
    return [(name, [*map(str, values)] if _datatype(values) == "BYTES" else values) for name, values in columns]


def _raw(values: Sequence[Any]) -> bytes:
    if _datatype(values) == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return np.array([np.nan if value is None else value for value in values], dtype="<f8").tobytes()


def infer_binary(asked: Asked) -> Outcome:
    """The Open Inference Protocol, tensors in binary."""
    parts = [(name, values, _raw(values)) for name, values in _by_column(asked)]
    head = {
        "inputs": [
            {
                "name": name,
                "shape": [len(values)],
                "datatype": _datatype(values),
                "parameters": {"binary_data_size": len(data)},
            }
            for name, values, data in parts
        ],
    }
    written = json.dumps(head).encode()
    body = written + b"".join(data for _, _, data in parts)
    path = f"/v2/models/{asked.name}/infer"
    headers = {"inference-header-content-length": str(len(written))}
    return _http(asked, path, body, lambda said: said["outputs"][0]["data"], **headers)


def infer_grpc(asked: Asked) -> Outcome:
    """The Open Inference Protocol over gRPC."""
    request = service_pb2.ModelInferRequest(model_name=asked.name)
    for name, values in _by_column(asked):
        request.inputs.add(name=name, shape=[len(values)], datatype=_datatype(values))
        request.raw_input_contents.append(_raw(values))
    found = re.search(r"over gRPC at (\S+)", asked.server.log.read_text())
    assert found is not None
    with grpc.insecure_channel(found[1]) as channel:
        try:
            answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)
        except grpc.RpcError as error:
            return Outcome(None, error.code().name, error.details())
    return Outcome(np.frombuffer(answer.raw_output_contents[0], "<f8").tolist())


def predict(asked: Asked) -> Outcome:
    """`legion predict` of a file of rows."""
    source, target = asked.scratch / "rows.jsonl", asked.scratch / "answers.jsonl"
    target.unlink(missing_ok=True)
    source.write_text("".join(json.dumps(record) + "\n" for record in _records(asked)))
    command = ("predict", asked.folder, "-i", source, "-o", target, "--env", "local")
    ended = legion(*command, env=asked.environment, timeout=120)
    if ended.returncode != 0:
        assert not target.exists()
        return Outcome(None, ended.returncode, ended.stderr)
    return Outcome([_number(json.loads(line)) for line in target.read_text().splitlines()])


PROTOCOLS: dict[str, Callable[[Asked], Outcome]] = {
    "mlflow-split": mlflow_split,
    "mlflow-records": mlflow_records,
    "mlflow-csv": mlflow_csv,
    "legion": legion_rest,
    "infer-json": infer_json,
    "infer-binary": infer_binary,
    "infer-grpc": infer_grpc,
    "predict": predict,
}
