"""The limit: the same HTTP server with no model behind it. Reads the body, decodes it, answers a constant."""

from __future__ import annotations

import sys

import msgspec
import uvicorn

_decode = msgspec.json.Decoder().decode
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"19")]
_BODY = b'{"predictions":[1]}'


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    if message["body"]:
        _decode(message["body"])
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        lifespan="off",
        proxy_headers=False,
    )
