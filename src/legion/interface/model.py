"""What every model looks like to the worker, whatever made it."""

from __future__ import annotations

from typing import Any, Dict, Generator, Optional, Protocol, Tuple, runtime_checkable

from legion.interface.table import Table
from legion.signature import Signature


class Model(Protocol):
    """A loaded model.

    `mode` is `matrix` (rows of scalars), `objects` (dicts) or `whole` (it reads request bodies itself,
    through `invoke`). `path` says which way predictions take: `reference`, `native`, `lowered`, `gppi`, `gjpi`.
    With `checks_objects` it holds its objects against a type of its own.
    """

    signature: Signature
    mode: str
    path: str
    checks_objects: bool

    def predict(self, table: Table, params: Optional[Dict[str, Any]]) -> Any:
        """Predict the table's rows; the result is whatever the model returns.

        Raises InputError where the model's own reading of the input refuses it, and any other
        exception where the model fails.
        """

    def invoke(self, body: bytes, content_type: Optional[str]) -> Tuple[int, bytes, str]:
        """Answer a whole request of MLflow's scoring protocol: status, body, content type."""

    def describe(self) -> Optional[Dict[str, Any]]:
        """The model's own OpenAPI document, or its objects' schemas (wire.INPUT_SCHEMA, OUTPUT_SCHEMA), or both."""

    def encode(self, value: Any) -> Optional[bytes]:
        """The value as JSON by the model's own serializer, or None where it has none."""


@runtime_checkable
class StreamingModel(Protocol):
    """A model that can give its answer in pieces."""

    def stream(self, body: bytes) -> Generator[Any, None, None]:
        """The pieces of the answer to a whole JSON request of MLflow's scoring protocol, as they come.

        Raises InputError where the request is refused, at the latest for the first piece.
        """
