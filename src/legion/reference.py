"""A model reference: text in, a value out. Nothing is opened here.

models:/wine@champion · models:/wine/3 · models:/wine/Production · models:/m-<id>
runs:/<run id>/<path> · s3://bucket/key · path/to/wine.zip · path/to/folder
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from legion.errors import ModelReferenceError

Scheme = Literal["path", "models", "runs", "store"]
_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[A-Za-z0-9_\-]+)|/(?P<version>[A-Za-z0-9_\-.]+))?")
_RUN = re.compile(r"runs:/(?P<run>[0-9a-f]{32})/(?P<path>[A-Za-z0-9_\-./ ]+)")
_STORES = ("s3://", "gs://", "abfss://", "wasbs://", "hdfs://", "mlflow-artifacts:/")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f;#?$`|<>\"'\\%{}]")


class Reference(msgspec.Struct, frozen=True):
    """`text` is what the user wrote; `name`, `alias` and `version` are set for models:/ only."""

    scheme: Scheme
    text: str
    name: str | None = None
    alias: str | None = None
    version: str | None = None

    @property
    def path(self) -> Path:
        """The local path (only where the scheme is `path`)."""
        return Path(self.text).expanduser()


def parse(text: str) -> Reference:
    """Read a reference. Raises ModelReferenceError with the forms that are understood."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.\-]+):", text)
    if scheme is None:
        if not text or "\x00" in text:
            raise ModelReferenceError("the model reference is empty; give a path, models:/NAME@ALIAS or runs:/ID/PATH")
        return Reference("path", text)
    if _FORBIDDEN.search(text) or ".." in text.split("/"):
        raise ModelReferenceError(
            f"{text!r} holds characters that no reference has; write it plainly, such as models:/wine@champion"
        )
    if match := _MODEL.fullmatch(text):
        name, alias, version = match["name"], match["alias"], match["version"]
        if alias or version or name.startswith("m-"):
            return Reference("models", text, name, alias, version)
        raise ModelReferenceError(f"{text!r} names no version; add /latest, a number, a stage, or @ALIAS")
    if _RUN.fullmatch(text):
        return Reference("runs", text)
    if text.startswith(_STORES):
        return Reference("store", text)
    raise ModelReferenceError(
        f"{text!r} is no model reference; use a path, models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID/PATH"
    )
