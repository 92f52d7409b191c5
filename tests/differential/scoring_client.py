"""A client of a scoring server that keeps its connection."""

from __future__ import annotations

import http.client
from typing import NamedTuple

from scoring_case import Case


class Answer(NamedTuple):
    """A status and a body."""

    status: int
    body: bytes

    @property
    def refused(self) -> bool:
        """Whether there is no prediction in it; MLflow refuses some requests with 500."""
        return self.status >= 400


class Client:
    """One connection that is opened again when the server closed it: MLflow's does after a crash."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def post(self, path: str, case: Case) -> Answer:
        """Send a case's body."""
        headers = {} if case.content_type is None else {"content-type": case.content_type}
        for last in (False, True):
            try:
                self._connection.request("POST", path, case.body, headers)
                response = self._connection.getresponse()
                return Answer(response.status, response.read())
            except (ConnectionError, http.client.HTTPException):
                self._connection.close()
                if last:
                    raise
        raise AssertionError
