"""Which deployment answers at which path, and in which protocol."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from legion.gateway.deployments.deployment import Deployment
from legion.gateway.protocols.protocol import Protocol
from legion.gateway.protocols.table import PROTOCOLS

Scope = MutableMapping[str, Any]
Route = tuple[Deployment, Protocol]


class Routes:
    """The paths of predictions; rebuilt when a deployment is mounted or unmounted, looked up for every request."""

    def __init__(self) -> None:
        self._deployments: list[Deployment] = []
        self._routes: dict[str, Route] = {}

    def mount(self, deployment: Deployment) -> None:
        """Answer under the deployment's name; one that is alone answers at the root as well."""
        self._deployments.append(deployment)
        self._rebuild()

    def unmount(self, deployment: Deployment) -> None:
        """Take no more requests for it."""
        self._deployments.remove(deployment)
        self._rebuild()

    def _rebuild(self) -> None:
        routes = {}
        for deployment in self._deployments:
            for protocol in PROTOCOLS:
                route = deployment, protocol
                routes[protocol.path.format(name=deployment.name)] = route
                if protocol.path_alone is not None and len(self._deployments) == 1:
                    routes[protocol.path_alone] = route
        self._routes = routes

    def find(self, scope: Scope) -> Route | None:
        """The deployment that this request is a prediction of, and the protocol it speaks."""
        if scope["method"] != "POST":
            return None
        path = scope["path"]
        return self._routes.get(path) or self._find_version(path)

    def _find_version(self, path: str) -> Route | None:
        """The same for a path that names a version; rare, and which versions there are changes with every swap."""
        for protocol in PROTOCOLS:
            named = protocol.path_of_version and protocol.path_of_version.fullmatch(path)
            if named:
                route = self._routes.get(protocol.path.format(name=named["name"]))
                return route if route is not None and route[0].has(named["version"]) else None
        return None
