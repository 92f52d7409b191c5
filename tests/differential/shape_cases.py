"""One column, mixed columns, optional columns, tensors, nested types, type hints and parameters."""

# ruff: noqa: UP031 - the bodies are full of braces

from __future__ import annotations

from collections.abc import Iterator

from body_cases import STRUCTURE
from scoring_case import Case

# What models with few columns get, beside what STRUCTURE asks of every one of them.
ONE_COLUMN = {
    "flat": '{"inputs": [1, 2]}',
    "flat-floats": '{"inputs": [1.5, 2.5]}',
    "flat-texts": '{"inputs": ["red", "white"]}',
    "flat-mixed": '{"inputs": ["red", 1]}',
    "flat-null": '{"inputs": [1, null]}',
    "flat-moments": '{"inputs": ["2024-05-06", "2024-05-07"]}',
    "nested": '{"inputs": [[1], [2]]}',
    "nested-wide": '{"inputs": [[1, 2], [3, 4]]}',
    "nested-texts": '{"inputs": [["red"], ["white"]]}',
    "scalar": '{"inputs": 1}',
    "scalar-text": '{"inputs": "red"}',
    "column": '{"inputs": {"a": [1, 2]}}',
    "column-texts": '{"inputs": {"a": ["red", "white"]}}',
    "column-text": '{"inputs": {"a": "red"}}',
    "column-scalar": '{"inputs": {"a": 1}}',
    "column-nested": '{"inputs": {"a": [[1], [2]]}}',
    "rows": '{"inputs": [{"a": 1}, {"a": 2}]}',
    "rows-texts": '{"inputs": [{"a": "red"}]}',
    "instances-flat": '{"instances": [1, 2]}',
    "instances-texts": '{"instances": ["red", "white"]}',
    "instances-nested": '{"instances": [[1], [2]]}',
    "instances-rows": '{"instances": [{"a": 1}, {"a": 2}]}',
    "instances-column": '{"instances": {"a": [1, 2]}}',
    "instances-scalar": '{"instances": 1}',
    "split-flat": '{"dataframe_split": {"columns": ["a"], "data": [1, 2]}}',
    "split-flat-texts": '{"dataframe_split": {"columns": ["a"], "data": ["red", "white"]}}',
    "split-bare": '{"dataframe_split": {"data": [[1], [2]]}}',
    "split-bare-flat": '{"dataframe_split": {"data": [1, 2]}}',
    "records-flat": '{"dataframe_records": [1, 2]}',
    "empty-list": '{"inputs": []}',
    "empty-instances": '{"instances": []}',
    "empty-column": '{"inputs": {"a": []}}',
}
MIXED = {
    "split": '{"dataframe_split": {"columns": ["double", "long", "string", "boolean"],'
    ' "data": [[1, 2, "x", true], [1.5, 3, "y", false]]}}',
    "reordered": '{"dataframe_split": {"columns": ["boolean", "string", "long", "double"],'
    ' "data": [[true, "x", 2, 1]]}}',
    "no-columns": '{"dataframe_split": {"data": [[1, 2, "x", true]]}}',
    "records": '{"dataframe_records": [{"double": 1, "long": 2, "string": "x", "boolean": true}]}',
    "instances": '{"instances": [{"double": 1, "long": 2, "string": "x", "boolean": true}]}',
    "inputs-columns": '{"inputs": {"double": [1], "long": [2], "string": ["x"], "boolean": [true]}}',
    "inputs-scalars": '{"inputs": {"double": 1, "long": 2, "string": "x", "boolean": true}}',
    "inputs-lists": '{"inputs": [[1, 2, "x", true]]}',
    "integral-float": '{"dataframe_split": {"columns": ["double", "long", "string", "boolean"],'
    ' "data": [[1, 2.0, "x", true]]}}',
    "boolean-number": '{"dataframe_split": {"columns": ["double", "long", "string", "boolean"],'
    ' "data": [[1, 2, "x", 1]]}}',
    "null-text": '{"dataframe_split": {"columns": ["double", "long", "string", "boolean"],'
    ' "data": [[null, 2, null, true]]}}',
    "swapped": '{"dataframe_split": {"columns": ["long", "double", "string", "boolean"],'
    ' "data": [[1.5, 2, "x", true]]}}',
    "columns-of-objects": '{"dataframe_records": [{"double": 1, "long": {}, "string": "x", "boolean": true}]}',
}
UNNAMED_MIXED = {
    "split": '{"dataframe_split": {"data": [[1, "x"], [2, "y"]]}}',
    "split-names": '{"dataframe_split": {"columns": ["p", "q"], "data": [[1, "x"]]}}',
    "inputs": '{"inputs": [[1, "x"]]}',
    "instances": '{"instances": [[1, "x"]]}',
    "records": '{"dataframe_records": [{"p": 1, "q": "x"}]}',
    "swapped": '{"dataframe_split": {"data": [["x", 1]]}}',
    "wide": '{"dataframe_split": {"data": [[1, "x", 5]]}}',
    "narrow": '{"dataframe_split": {"data": [[1]]}}',
    "number-text": '{"dataframe_split": {"data": [[1, 2]]}}',
}
OPTIONAL = {
    "both": '{"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"]]}}',
    "first": '{"dataframe_split": {"columns": ["a"], "data": [[1]]}}',
    "second": '{"dataframe_split": {"columns": ["b"], "data": [["x"]]}}',
    "nulls": '{"dataframe_split": {"columns": ["a", "b"], "data": [[null, null]]}}',
    "neither": '{"dataframe_split": {"columns": [], "data": [[]]}}',
    "no-columns": '{"dataframe_split": {"data": [[1, "x"]]}}',
    "records": '{"dataframe_records": [{"a": 1}, {"b": "x"}]}',
    "records-empty": '{"dataframe_records": [{}]}',
    "instances": '{"instances": [{"a": 1, "b": "x"}]}',
    "instances-first": '{"instances": [{"a": 1}, {"a": 2}]}',
    "instances-uneven": '{"instances": [{"a": 1}, {"a": 2, "b": "x"}]}',
    "inputs": '{"inputs": {"a": [1, 2]}}',
}
TENSORS = {
    "rows": '{"inputs": [[1, 2], [3, 4]]}',
    "floats": '{"inputs": [[1.5, 2], [3, 4]]}',
    "instances": '{"instances": [[1, 2], [3, 4]]}',
    "flat": '{"inputs": [1, 2]}',
    "wide": '{"inputs": [[1, 2, 3]]}',
    "ragged": '{"inputs": [[1, 2], [3]]}',
    "deep": '{"inputs": [[[1, 2]]]}',
    "null": '{"inputs": [[1, null]]}',
    "text": '{"inputs": [["1", "x"]]}',
    "huge": '{"inputs": [[1e39, 1e999]]}',
    "big-integer": '{"inputs": [[%d, 1]]}' % 2**64,
    "negative": '{"inputs": [[-1, 256]]}',
    "true": '{"inputs": [[true, false]]}',
    "empty": '{"inputs": []}',
    "scalar": '{"inputs": 1}',
    "named": '{"inputs": {"t": [[1, 2], [3, 4]]}}',
    "named-instances": '{"instances": [{"t": [1, 2]}, {"t": [3, 4]}]}',
    "two": '{"inputs": {"t": [[1, 2]], "u": [1]}}',
    "two-instances": '{"instances": [{"t": [1, 2], "u": 1}, {"t": [3, 4], "u": 2}]}',
    "two-swapped": '{"inputs": {"u": [1], "t": [[1, 2]]}}',
    "two-missing": '{"inputs": {"u": [1]}}',
    "two-extra": '{"inputs": {"t": [[1, 2]], "u": [1], "v": [1]}}',
    "two-uneven": '{"inputs": {"t": [[1, 2], [3, 4]], "u": [1]}}',
    "image": '{"inputs": {"image": [[[1, 2], [3, 4]]]}}',
    "image-overflow": '{"inputs": {"image": [[[1, 2], [3, 300]]]}}',
    "split": '{"dataframe_split": {"columns": ["t"], "data": [[[1, 2]], [[3, 4]]]}}',
    "split-flat": '{"dataframe_split": {"data": [[1, 2], [3, 4]]}}',
    "split-empty": '{"dataframe_split": {"columns": ["t"], "data": []}}',
    "records": '{"dataframe_records": [{"t": [1, 2], "u": 1}]}',
    "params": '{"inputs": [[1, 2]], "params": {"x": 1}}',
}
NESTED = {
    "array": '{"dataframe_split": {"columns": ["a", "n"], "data": [[[1, 2.5], 3]]}}',
    "array-empty": '{"dataframe_split": {"columns": ["a", "n"], "data": [[[], 3]]}}',
    "array-null": '{"dataframe_split": {"columns": ["a", "n"], "data": [[null, 3]]}}',
    "array-text": '{"dataframe_split": {"columns": ["a", "n"], "data": [[["x"], 3]]}}',
    "array-instances": '{"instances": [{"a": [1, 2.5], "n": 3}]}',
    "array-inputs": '{"inputs": {"a": [1, 2.5], "n": 3}}',
    "array-rows": '{"inputs": [{"a": [1, 2.5], "n": 3}]}',
    "object": '{"dataframe_records": [{"o": {"x": 1.5, "y": "z"}}]}',
    "object-optional": '{"dataframe_records": [{"o": {"x": 1.5}}]}',
    "object-missing": '{"dataframe_records": [{"o": {"y": "z"}}]}',
    "object-extra": '{"dataframe_records": [{"o": {"x": 1.5, "w": 1}}]}',
    "object-inputs": '{"inputs": {"o": {"x": 1.5, "y": "z"}}}',
    "object-instances": '{"instances": [{"o": {"x": 1.5}}]}',
    "map": '{"dataframe_records": [{"m": {"p": 1, "q": 2}}]}',
    "map-wrong": '{"dataframe_records": [{"m": {"p": "x"}}]}',
    "map-inputs": '{"inputs": [{"m": {"p": 1}}]}',
    "any": '{"dataframe_records": [{"z": {"anything": [1, null, "x"]}}, {"z": 5}]}',
    "any-inputs": '{"inputs": {"z": [1, "x"]}}',
    "any-missing": '{"dataframe_records": [{}]}',
}
HINTED = {
    "numbers": '{"inputs": [1, 2.5]}',
    "numbers-empty": '{"inputs": []}',
    "numbers-text": '{"inputs": ["1.5"]}',
    "numbers-wrong": '{"inputs": ["x"]}',
    "numbers-null": '{"inputs": null}',
    "numbers-params": '{"inputs": [1], "params": {"p": 1}}',
    "objects": '{"inputs": [{"name": "a", "alcohol": 12.5}]}',
    "objects-full": '{"inputs": [{"name": "a", "alcohol": 12, "year": 1999}]}',
    "objects-missing": '{"inputs": [{"name": "a"}]}',
    "objects-extra": '{"inputs": [{"name": "a", "alcohol": 12, "colour": "red"}]}',
    "objects-wrong": '{"inputs": [{"name": "a", "alcohol": "much"}]}',
    "split": '{"dataframe_split": {"columns": ["name", "alcohol"], "data": [["a", 12.5]]}}',
    "records": '{"dataframe_records": [{"name": "a", "alcohol": 12.5}]}',
    "instances": '{"instances": [1, 2]}',
}
PARAMS = {
    "none": "{}",
    "absent": None,
    "null": "null",
    "rate": '{"rate": 2}',
    "rate-float": '{"rate": 2.5}',
    "rate-text": '{"rate": "2.5"}',
    "rate-true": '{"rate": true}',
    "rate-null": '{"rate": null}',
    "rate-nan": '{"rate": NaN}',
    "count": '{"count": 7}',
    "count-float": '{"count": 7.0}',
    "count-big": '{"count": %d}' % 2**40,
    "label": '{"label": "x"}',
    "label-number": '{"label": 1}',
    "flag": '{"flag": true}',
    "flag-number": '{"flag": 1}',
    "many": '{"many": [3, 4]}',
    "many-floats": '{"many": [3.5]}',
    "many-scalar": '{"many": 3}',
    "many-empty": '{"many": []}',
    "unknown": '{"unknown": 1}',
    "all": '{"rate": 1.5, "count": 2, "label": "l", "flag": true, "many": [9]}',
    "list": "[1]",
    "text": '"rate"',
    "object-value": '{"rate": {"x": 1}}',
    "duplicate": '{"rate": 1, "rate": 2}',
}


def shape_cases() -> Iterator[Case]:
    for models, form, bodies in (
        (("one_double", "one_text", "one_long", "one_datetime", "unnamed_one", "unnamed_text"), "one", ONE_COLUMN),
        (("mixed",), "mixed", MIXED),
        (("unnamed_mixed",), "mixed", UNNAMED_MIXED),
        (("optional_only",), "optional", OPTIONAL),
        (("tensor", "tensor_named", "tensors", "tensor_images", "no_signature"), "tensor", TENSORS),
        (("arrays", "objects", "maps", "anything", "no_signature"), "nested", NESTED),
        (("hinted_numbers", "hinted_objects"), "hinted", HINTED),
    ):
        for model in models:
            for label, text in bodies.items():
                yield Case(f"{model}/{form}/{label}", text.encode())
    for model in ("params", "params_only", "one_double", "no_signature"):
        for label, params in PARAMS.items():
            tail = "" if params is None else f', "params": {params}'
            for form, data in (
                ("split", '"dataframe_split": {"columns": ["a"], "data": [[1]]}'),
                ("records", '"dataframe_records": [{"a": 1}]'),
            ):
                yield Case(f"{model}/params-{form}/{label}", ("{%s%s}" % (data, tail)).encode())
    for label in ("index", "index-text", "index-null", "split"):
        text = STRUCTURE[label].replace('"a", "b"', '"a"').replace("[1, 2.5], [3, 4]", "[1], [3]")
        yield Case(f"index/split/{label}", text.encode())
