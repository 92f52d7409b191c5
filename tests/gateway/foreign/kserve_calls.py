"""The kserve client's calls; run where kserve is installed, prints what it got as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


def request(*, binary, wanted=None):
    """Two rows of a model of two numbers and a text."""
    inputs = []
    for name, datatype, values in (
        ("a", "FP64", np.array([1.5, 2.5])),
        ("b", "INT64", np.array([1, 2])),
        ("name", "BYTES", np.array(["x", "é"], dtype=np.object_)),
    ):
        tensor = InferInput(name, [2], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    outputs = None if wanted is None else [RequestedOutput(name, {"binary_data": True}) for name in wanted]
    return InferRequest(model_name="probe", infer_inputs=inputs, request_id="r-1", request_outputs=outputs)


def read(response):
    outputs = {output.name: [_plain(value) for value in output.as_numpy().tolist()] for output in response.outputs}
    return {"id": response.id, "model": response.model_name, "outputs": outputs}


def _plain(value):
    return value.decode() if isinstance(value, bytes) else value


async def main(url, address):
    said = {}
    rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    said["live"] = await rest.is_server_live(url)
    said["ready"] = await rest.is_server_ready(url)
    said["model ready"] = await rest.is_model_ready(url, "probe")
    said["nobody ready"] = await rest.is_model_ready(url, "nobody")
    said["json"] = read(await rest.infer(url, request(binary=False), model_name="probe"))
    said["binary"] = read(await rest.infer(url, request(binary=True), model_name="probe"))
    wanted = await rest.infer(url, request(binary=True, wanted=["sum"]), model_name="probe")
    said["wanted"] = read(wanted)
    try:
        await rest.infer(url, request(binary=False), model_name="nobody")
    except Exception as error:
        said["refused"] = str(error)
    await rest.close()
    client = InferenceGRPCClient(address, timeout=30)
    said["grpc live"] = await client.is_server_live()
    said["grpc ready"] = await client.is_server_ready()
    said["grpc model ready"] = await client.is_model_ready("probe")
    said["grpc typed"] = read(await client.infer(request(binary=False)))
    said["grpc raw"] = read(await client.infer(request(binary=True)))
    await client.close()
    print(json.dumps(said))


asyncio.run(main(*sys.argv[1:]))
