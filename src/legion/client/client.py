"""The client: predictions over MLflow's scoring protocol, deployments over the admin API."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import msgspec

from legion.client import events
from legion.client import rows as forms
from legion.client.connection import Answer, Connections
from legion.client.failures import failure
from legion.errors import GatewayError, RefusedError, UsageError
from legion.settings import DEFAULT_GATEWAY

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_JSON = {"Content-Type": "application/json"}
# A deployment takes seconds; the first looks are close together for the ones that are there already.
_FIRST_LOOK, _LOOK = 0.05, 0.5

View = dict[str, Any]


class Client:
    """A gateway at `url`. Connections stay open between calls; any number of threads may share a client.

    `token` opens the admin API and goes with those calls only. `timeout` is in seconds: how long the gateway
    may be silent in one call. All calls raise GatewayError where no gateway answers or it fails.
    """

    def __init__(self, url: str = DEFAULT_GATEWAY, token: str | None = None, timeout: float = 60.0) -> None:
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise UsageError("the admin token holds characters that no token has; copy it from admin-token again")
        self._connections = Connections(url, timeout)
        self._token = token

    @property
    def url(self) -> str:
        """The gateway's address, without a slash at the end."""
        return self._connections.url

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    def ready(self) -> bool:
        """Whether every model of the gateway is loaded, proven and warm."""
        return self._connections.ask("GET", "/ping", None, {}).status == 200

    def predict(
        self,
        rows: Any,
        name: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """The predictions for n rows: for most models a list of n, as the model's own MLflow server would give.

        `rows`: a DataFrame; a list of n dicts; n lists with their `columns`; an array or lists without columns
        (sent as `inputs`, for models of tensors); or a dict that is a body of MLflow's protocol already,
        also one for a chat model or an agent, whose whole answer is given.
        `name` is the deployment's or model's; it may be left out where the gateway serves one only.
        `params` are the model's parameters for this call.

        Raises InputError where the model refuses the rows (the message names row and column), UsageError for
        rows that cannot be sent, GatewayRefused (`status` 404) where there is no such model, GatewayError.
        """
        path = "/invocations" if name is None else f"/models/{_checked(name)}/invocations"
        answer = self._connections.ask("POST", path, forms.body(rows, columns, params), _JSON)
        if answer.status != 200:
            raise failure(answer.status, answer.body, self.url, rows=True)
        found = self._decoded(answer)
        if forms.is_conversation(rows):
            return found
        if not isinstance(found, dict) or "predictions" not in found:
            raise GatewayError(f"{self.url} answered without predictions; check that a Legion gateway is there")
        return found["predictions"]

    def stream(
        self,
        rows: Any,
        name: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Generator[Any, None, None]:
        """The pieces of one answer, each when the model has made it, for one row or one conversation.

        The arguments are those of `predict`. Closing the generator ends the model's. Raises InputError where the
        model refuses the request or fails before its first piece, UsageError where it does not answer in pieces,
        GatewayError, with the reason, where the rest does not come.
        """
        path = "/invocations" if name is None else f"/models/{_checked(name)}/invocations"
        body = b'{"stream":true,' + forms.body(rows, columns, params)[1:]
        with self._connections.follow(path, body, _JSON) as response:
            if response.status != 200:
                raise failure(response.status, response.read(), self.url, rows=True)
            if response.headers.get_content_type() != "text/event-stream":
                raise UsageError("this model does not answer in pieces; use predict")
            yield from events.pieces(response, self.url)

    def deployments(self) -> list[View]:
        """Every deployment of the gateway. Raises GatewayRefused (`status` 401 or 403) without the right token."""
        found = self._admin("GET", "/admin/deployments")
        return list(found["deployments"])

    def deployment(self, name: str) -> View:
        """One deployment: `state` (starting, ready, refused, stopping), `declaration`, `paths`, `variants`.

        Raises GatewayRefused, with `status` 404 where there is none.
        """
        return self._admin("GET", _path(name))

    def deploy(self, declaration: Mapping[str, Any]) -> View:
        """Hand in a declaration (its `name`, and `model` or `variants`); it replaces the one of that name.

        Returns at once: what served before answers until the new one is ready; `wait` follows the work.
        Raises RefusedError with every fault of the declaration.
        """
        name = declaration.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError("the deployment has no name of letters, digits, - and _; give it one of at most 63")
        try:
            body = msgspec.json.encode(dict(declaration))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UsageError(f"the declaration cannot be written as JSON ({error}); use text and numbers") from None
        return self._admin("PUT", _path(name), body)

    def delete(self, name: str) -> View:
        """End a deployment when it has answered what it has taken in; returns the last of it."""
        return self._admin("DELETE", _path(name), repeatable=False)

    def rollback(self, name: str, variant: str | None = None) -> View:
        """Back to the release before, at once where it is kept warm; of one variant, or of the first.

        Raises GatewayRefused, with `status` 409 where there is nothing to go back to.
        """
        body = None if variant is None else msgspec.json.encode({"variant": variant})
        return self._admin("POST", f"{_path(name)}/rollback", body, repeatable=False)

    def wait(self, name: str, timeout: float = 600.0, say: Callable[[str], object] | None = None) -> View:
        """Follow a deployment until nothing of it is starting any more, and return it.

        `say` is told what is going on, a line at a time. Raises RefusedError with the reason where a version
        was not taken (what served before goes on), GatewayError after `timeout` seconds.
        """
        end = time.monotonic() + timeout
        pause, told = _FIRST_LOOK, ""
        while True:
            view = self.deployment(name)
            for line in _going_on(view):
                if say is not None and line not in told.splitlines():
                    say(line)
            told = "\n".join(_going_on(view))
            if view["state"] == "ready":
                return view
            if view["state"] != "starting":
                raise RefusedError(_why_not(view))
            if time.monotonic() > end:
                now = told.replace("\n", "; ") or "nothing is said of it"
                raise GatewayError(f"{name} is not ready after {timeout:g} s ({now}); look at it again later")
            time.sleep(pause)
            pause = min(2 * pause, _LOOK)

    def _admin(self, method: str, path: str, body: bytes | None = None, *, repeatable: bool = True) -> View:
        headers = dict(_JSON) if body is not None else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        answer = self._connections.ask(method, path, body, headers, repeatable=repeatable)
        if answer.status not in (200, 202):
            raise failure(answer.status, answer.body, self.url)
        found = self._decoded(answer)
        if not isinstance(found, dict):
            raise GatewayError(f"{self.url} answered something else than a deployment; check that a gateway is there")
        return found

    def _decoded(self, answer: Answer) -> Any:
        try:
            return msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, RecursionError):
            raise GatewayError(f"{self.url} answered no JSON; check that a Legion gateway is there") from None


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no deployment's name; it has letters, digits, - and _ only")
    return name


def _path(name: str) -> str:
    return f"/admin/deployments/{_checked(name)}"


def _going_on(view: View) -> list[str]:
    lines = []
    for variant in view["variants"]:
        if variant["starting"]:
            lines.append(f"{variant['name']}: {variant['starting']}")
        if variant["registry"]:
            lines.append(f"{variant['name']}: {variant['registry']}")
    return lines


def _why_not(view: View) -> str:
    refused = [variant for variant in view["variants"] if variant["refused"]]
    if not refused:
        return f"{view['name']} is {view['state']}; deploy it again"
    reasons = "; ".join(f"{variant['name']}: {variant['refused']['reason']}" for variant in refused)
    stays = " and what served before goes on" if all(variant["serving"] for variant in refused) else ""
    return f"{view['name']} was not taken{stays}: {reasons}"
