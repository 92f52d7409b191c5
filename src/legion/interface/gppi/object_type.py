"""The type that a module declares for its objects: mostly a pydantic model.

pydantic 2 and 1 differ in names only, as far as this is concerned: `model_validate`, `model_json_schema`,
`model_dump` and `model_fields` were `parse_obj`, `schema`, `dict` and `__fields__`. Neither is imported here: the
module brings its own, and a declared type that is no pydantic model is checked where pydantic 2 is there to do it.
"""

from __future__ import annotations

import collections.abc
import inspect
import json
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from legion.errors import InputError
from legion.signature import Field

_LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
_UNTYPED = (None, dict, list, object, Any, inspect.Parameter.empty)
_COLUMNS = {"number": "double", "integer": "long", "boolean": "boolean", "string": "string"}

Schema = Dict[str, Any]


class ObjectType:
    """Checks, describes and writes objects of one declared type."""

    def __init__(self, declared: Any) -> None:
        self._declared = declared
        self._validate: Any
        self._validate_json: Any = None
        self._adapter: Any = None
        if hasattr(declared, "model_validate"):
            self._validate, self._validate_json = declared.model_validate, declared.model_validate_json
        elif hasattr(declared, "parse_obj"):
            # pydantic 1
            self._validate = declared.parse_obj
        else:
            self._adapter = sys.modules["pydantic"].TypeAdapter(declared)
            self._validate, self._validate_json = self._adapter.validate_python, self._adapter.validate_json

    def read(self, objects: Sequence[Any]) -> List[Any]:
        """The request's objects as instances. Raises InputError naming the row and the path of the field."""
        return [self._read(row, item) for row, item in enumerate(objects)]

    def _read(self, row: int, item: Any) -> Any:
        try:
            return self._validate(item)
        except ValueError as error:
            path, text = _fault(error)
        if self._validate_json is not None:
            # A strict type takes a date or bytes as text from JSON, and from JSON only.
            try:
                return self._validate_json(json.dumps(item))
            except TypeError:
                pass
            except ValueError as error:
                again = _fault(error)
                path, text = (path, text) if again[0] is None else again
        where = f"row {row}" if path is None else f"row {row}, field {path!r}"
        raise InputError(f"{where}: {text}", row=row, column=path)

    def write(self, answers: Sequence[Any], *, plain: bool) -> List[Any]:
        """The model's answers, checked and as dicts; with `plain` of what JSON holds only.

        Raises ValueError naming the answer and the field that does not fit the declared type.
        """
        return [self._write(number, answer, plain) for number, answer in enumerate(answers)]

    def _write(self, number: int, answer: Any, plain: bool) -> Any:
        try:
            value = self._validate(answer)
        except ValueError as error:
            path, text = _fault(error)
            where = f"answer {number}" if path is None else f"answer {number}, field {path!r}"
            raise ValueError(f"the model's {where} does not fit the type it declares: {text}") from None
        mode = "json" if plain else "python"
        if self._adapter is not None:
            return self._adapter.dump_python(value, mode=mode, by_alias=True)
        if hasattr(value, "model_dump"):
            return value.model_dump(mode=mode, by_alias=True)
        # pydantic 1
        return json.loads(value.json(by_alias=True)) if plain else value.dict(by_alias=True)

    def schema(self, mode: str = "validation") -> Schema:
        """The JSON Schema of one object: `validation` is of what is read, `serialization` of what is written."""
        if self._adapter is not None:
            return dict(self._adapter.json_schema(mode=mode))
        if hasattr(self._declared, "model_json_schema"):
            return dict(self._declared.model_json_schema(mode=mode))
        # pydantic 1
        return dict(self._declared.schema())

    def told(self, mode: str = "validation") -> Optional[Schema]:
        """As `schema`; None for a type that can be checked and not described, such as one that holds arrays."""
        try:
            return self.schema(mode)
        except Exception:  # pydantic 1 and 2 each have errors of their own for it
            return None

    def columns(self) -> Tuple[Field, ...]:
        """The fields as columns, of type `any` where a column's type does not say the same."""
        schema = self.schema()
        required = schema.get("required", ())
        return tuple(
            Field(name, _column(spec), name in required, example=_example(spec))
            for name, spec in schema.get("properties", {}).items()
        )

    def attributes(self) -> Dict[str, str]:
        """The name in JSON of each field → its name in Python; they differ where there are aliases."""
        names = list(self.schema().get("properties", {}))
        fields = getattr(self._declared, "model_fields", None) or getattr(self._declared, "__fields__", None) or {}
        return dict(zip(names, fields)) if len(fields) == len(names) else {name: name for name in names}


def is_model(declared: Any) -> bool:
    """Whether this is a pydantic model's class, or a list of them."""
    one = _one(declared)
    return inspect.isclass(one) and (hasattr(one, "model_validate") or hasattr(one, "parse_obj"))


def of(declared: Any) -> Optional[ObjectType]:
    """The type of one object where one is declared (`List[Wine]` and `Wine` say the same), else None."""
    one = _one(declared)
    if is_model(one):
        return ObjectType(one)
    arguments = getattr(one, "__args__", None) or (Any,)
    anything = getattr(one, "__origin__", None) in (dict, list) and (arguments[-1] is Any)
    checks = hasattr(sys.modules.get("pydantic"), "TypeAdapter")
    if anything or not checks or any(one is nothing for nothing in _UNTYPED):
        return None
    return ObjectType(one)


def _one(declared: Any) -> Any:
    arguments = getattr(declared, "__args__", None)
    return arguments[0] if arguments and getattr(declared, "__origin__", None) in _LISTS else declared


def _column(spec: Schema) -> str:
    choices = [choice for choice in spec.get("anyOf", ()) if choice.get("type") != "null"]
    nullable = len(choices) < len(spec.get("anyOf", ()))
    inner = choices[0] if len(choices) == 1 else spec
    kind = _COLUMNS.get(str(inner.get("type")), "any")
    # A number that is missing is NaN; nothing of the kind exists for the others.
    return "any" if nullable and kind != "double" else kind


def _example(spec: Schema) -> Any:
    examples = spec.get("examples")
    return examples[0] if isinstance(examples, list) and examples else spec.get("example", spec.get("default"))


def _fault(error: ValueError) -> Tuple[Optional[str], str]:
    """The path of the first field at fault, None where it is the whole object, and what is wrong with it."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return None, str(error)
    faults = errors()
    path = ".".join(str(part) for part in faults[0]["loc"] if part != "__root__")
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return path or None, f"{faults[0]['msg']}{more}"
