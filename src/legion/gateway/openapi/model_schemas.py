"""What one model's requests and answers look like, by its signature and by the types that it declares."""

from __future__ import annotations

from typing import Any

from legion.client.rows import is_conversation
from legion.gateway.openapi import json_schema, signature_schema
from legion.gateway.openapi.json_schema import Schema
from legion.signature import SCALARS, Signature
from legion.wire import INPUT_SCHEMA, OUTPUT_SCHEMA, Report

# The forms of MLflow's protocol that hold objects.
_OBJECT_FORMS = ("dataframe_records", "instances", "inputs")


class Bodies:
    """Schemas and an example for one model; the schemas that it brings go into `parts`, the document's components.

    `rows` says whether the model takes rows of columns, `objects` whether it takes objects; a model that takes neither
    has a signature of tensors or of anything.
    """

    def __init__(self, name: str, report: Report, example: dict[str, Any] | None, parts: dict[str, Any]) -> None:
        self.signature = report.signature
        self.objects = report.mode == "objects"
        kind = self.signature.kind
        self.rows = not self.objects and (kind == "columns" or (kind == "opaque" and report.mode == "matrix"))
        fields = self.signature.inputs
        columns = all(field.type in (*SCALARS, "any") for field in fields)
        self.names = [str(field.name) for field in fields] if fields and columns and self.signature.named else None
        said = report.openapi or {}
        self._parts = parts
        self._record = self._brought(f"{name}-Input", said.get(INPUT_SCHEMA)) or self._declared()
        self._answer = self._brought(f"{name}-Output", said.get(OUTPUT_SCHEMA))
        self.example = self._example() if example is None else example
        # MLflow's scoring server reads and answers these without a form around them.
        self.conversation = report.mode == "whole" and is_conversation(self.example)
        self.streams = report.streams

    def _brought(self, name: str, found: Any) -> Schema | None:
        return json_schema.added(self._parts, name, found) if isinstance(found, dict) else None

    def _declared(self) -> Schema:
        """One row as an object, by the signature."""
        if self.names is None:
            return {"type": "object"}
        # Objects are not held against the signature.
        record = signature_schema.record(self.signature.inputs)
        return {**record, "additionalProperties": True} if self.objects else record

    def _example(self) -> dict[str, Any] | None:
        if self.objects:
            return {"dataframe_records": [json_schema.sample(self._record, self._parts)]}
        if not self.rows or (self.signature.inputs and not signature_schema.has_examples(self.signature)):
            return None
        split: dict[str, Any] = {"data": [signature_schema.example_row(self.signature) or [0.5]]}
        if self.names is not None:
            made_up = json_schema.sample(self._record, self._parts) if "$ref" in self._record else {}
            row = [made_up.get(name, value) for name, value in zip(self.names, split["data"][0], strict=True)]
            split = {"columns": self.names, "data": [row]}
        return {"dataframe_split": split}

    def invocations(self) -> Schema:
        """The body of MLflow's protocol: exactly one of the four forms, each typed as far as the model types it."""
        if self.conversation:
            record = signature_schema.record(self.signature.inputs)
            properties = record["properties"] | self._stream()
            return {**record, "properties": properties, "additionalProperties": True}
        if self.objects or self.rows:
            forms = self._forms()
        elif self.signature.kind == "tensor" and not self.signature.named:
            array = signature_schema.tensor(self.signature.inputs[0])
            forms = {"instances": array, "inputs": array}
        elif self.signature.kind == "tensor":
            arrays = {str(f.name): signature_schema.tensor(f) for f in self.signature.inputs}
            forms = {"inputs": {"type": "object", "properties": arrays, "required": list(arrays)}}
        else:
            return {"type": "object"}
        params = _params(self.signature) | self._stream()
        return {
            "oneOf": [
                {"type": "object", "properties": {name: form, **params}, "required": [name]}
                for name, form in forms.items()
            ]
        }

    def _stream(self) -> Schema:
        words = "Whether the answer comes in pieces, as server-sent events."
        return {"stream": {"type": "boolean", "default": False, "description": words}} if self.streams else {}

    def _forms(self) -> dict[str, Schema]:
        listed: Schema = {"type": "array", "items": self._record}
        forms = {"dataframe_split": self._split(), **dict.fromkeys(_OBJECT_FORMS, listed)}
        if self.objects:
            return forms
        if self.names is not None:
            columns = {
                str(f.name): {"type": "array", "items": signature_schema.anything(f)} for f in self.signature.inputs
            }
            by_column = {"type": "object", "properties": columns, "additionalProperties": False}
            return forms | {"inputs": {"anyOf": [listed, by_column]}}
        # Without names rows are lists; without a signature they are what they like.
        either = {"type": "array"} if self.signature.inputs else {"type": ["array", "object"]}
        return forms | {"instances": {"type": "array"}, "inputs": either}

    def _split(self) -> Schema:
        if not self.objects and self.signature.inputs and (self.names is not None or self.signature.kind == "columns"):
            return signature_schema.split(self.signature)
        columns = {"type": "array", "items": {"type": "string"}}
        rows = {"type": "array", "items": {"type": "array"}}
        required = ["columns", "data"] if self.objects else ["data"]
        return {"type": "object", "properties": {"columns": columns, "data": rows}, "required": required}

    def answer(self) -> Schema:
        """The answer of MLflow's protocol."""
        if self.conversation:
            outputs = self.signature.outputs
            if len(outputs) == 1 and outputs[0].name is None:
                return signature_schema.anything(outputs[0])
            return {**signature_schema.record(outputs), "additionalProperties": True}
        return {"type": "object", "properties": {"predictions": self.predictions()}, "required": ["predictions"]}

    def predictions(self) -> Schema:
        """The list under `predictions`, and the answer of Legion's REST to objects."""
        if self._answer is not None:
            return {"type": "array", "items": self._answer}
        return {"type": "array"} if self.objects else signature_schema.answers(self.signature)

    def legion(self) -> tuple[Schema, Any]:
        """The body of Legion's REST and an example of it (None for none)."""
        sample = self.example or {}
        split = sample.get("dataframe_split")
        if not self.objects:
            example = None if split is None else {key: split[key] for key in ("columns", "data") if key in split}
            return self._split(), example
        objects = next((sample[form] for form in _OBJECT_FORMS if form in sample), None)
        if objects is None and split is not None:
            objects = [dict(zip(split["columns"], row, strict=False)) for row in split["data"]]
        return {"type": "array", "items": self._record}, objects


def _params(signature: Signature) -> Schema:
    if not signature.params:
        return {}
    kinds = {"string": "string", "boolean": "boolean", "long": "integer", "integer": "integer"}
    properties = {}
    for param in signature.params:
        kind = kinds.get(param.type, "number") if param.shape is None else "array"
        properties[param.name] = {"type": kind, "default": param.default}
    return {"params": {"type": "object", "properties": properties}}
