"""The JSON encoder class that a module brings for its answers."""

from __future__ import annotations

import json
from typing import Any, Optional

import numpy as np

from legion.interface import result


class Serializer:
    """Writes answers by the module's class, which need not know arrays, dates and pydantic models.

    `encoder` is a class for `json.dumps(cls=…)`. What it raises TypeError for is written as everywhere else.
    """

    def __init__(self, encoder: Any) -> None:
        class Extended(encoder):  # type: ignore[misc]
            def default(self, value: Any) -> Any:
                try:
                    return super().default(value)
                except TypeError:
                    return value.model_dump() if hasattr(value, "model_dump") else result.plain(value)

        self._encoder = Extended

    def plain(self, rows: Any) -> Any:
        """The rows as the class writes them; read back, so that NaN and the like become valid JSON later on.

        Raises TypeError for a value that nobody knows how to write.
        """
        return json.loads(json.dumps(rows.tolist() if isinstance(rows, np.ndarray) else rows, cls=self._encoder))


def of(encoder: Optional[Any]) -> Optional[Serializer]:
    """The serializer of a class; None where there is none."""
    return None if encoder is None else Serializer(encoder)
