"""Which deployment answers at which path, and in which protocol."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from legion import wire
from legion.gateway.deployments.deployment import Deployment

Scope = MutableMapping[str, Any]
Route = tuple[Deployment, int]

_PATHS = (("/invocations", wire.MLFLOW), ("/api/model/invoke", wire.LEGION))
_INFER = re.compile(r"/v2/models/([A-Za-z0-9_-]{1,63})/versions/([A-Za-z0-9._-]{1,140})/infer")


class Routes:
    """The paths of predictions; rebuilt when a deployment is mounted or unmounted, looked up for every request."""

    def __init__(self) -> None:
        self._deployments: list[Deployment] = []
        self._routes: dict[str, Route] = {}

    def mount(self, deployment: Deployment) -> None:
        """Answer under /models/{name}; a deployment that is alone answers at the root as well."""
        self._deployments.append(deployment)
        self._rebuild()

    def unmount(self, deployment: Deployment) -> None:
        """Take no more requests for it."""
        self._deployments.remove(deployment)
        self._rebuild()

    def _rebuild(self) -> None:
        routes = {}
        for deployment in self._deployments:
            for path, protocol in _PATHS:
                routes[f"/models/{deployment.name}{path}"] = (deployment, protocol)
                if len(self._deployments) == 1:
                    routes[path] = (deployment, protocol)
            routes[f"/v2/models/{deployment.name}/infer"] = (deployment, wire.OPEN_INFERENCE)
        self._routes = routes

    def find(self, scope: Scope) -> Route | None:
        """The deployment that this request is a prediction of, and the protocol it speaks."""
        if scope["method"] != "POST":
            return None
        path = scope["path"]
        route = self._routes.get(path)
        if route is None and path.startswith("/v2/"):
            # A version by name is rare, and which there are changes with every swap.
            found = _INFER.fullmatch(path)
            route = self._routes.get(f"/v2/models/{found[1]}/infer") if found else None
            if route is not None and found is not None and not route[0].has(found[2]):
                return None
        return route
