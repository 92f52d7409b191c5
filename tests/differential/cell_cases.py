"""Every scalar type in every form with every value, one cell at a time."""

# ruff: noqa: UP031 - the bodies are full of braces

from __future__ import annotations

from collections.abc import Iterator

from scoring_case import CSV, Case
from scoring_models import SCALARS

# One cell, as JSON text: JSON values Python cannot write are wanted too.
VALUES = {
    "zero": "0",
    "one": "1",
    "three": "3",
    "minus": "-7",
    "31-bits": str(2**31 - 1),
    "32-bits": str(2**31),
    "53-bits": str(2**53 + 1),
    "63-bits": str(2**63 - 1),
    "64-bits": str(2**63),
    "65-bits": str(2**64),
    "minus-64-bits": str(-(2**63) - 1),
    "300-digits": "1" + "0" * 300,
    "400-digits": "1" + "0" * 400,
    "5000-digits": "1" * 5000,
    "whole-float": "1.0",
    "exponent": "1e3",
    "fraction": "1.5",
    "tenth": "0.1",
    "tiny": "1e-400",
    "negative-zero": "-0.0",
    "float-max": "1.7976931348623157e308",
    "float32-overflow": "1e39",
    "overflow": "1e999",
    "nan": "NaN",
    "infinity": "Infinity",
    "minus-infinity": "-Infinity",
    "null": "null",
    "true": "true",
    "false": "false",
    "text-integer": '"3"',
    "text-number": '"1.5"',
    "text-padded": '" 3 "',
    "text-underscore": '"1_000"',
    "text-nan": '"nan"',
    "text-true": '"true"',
    "text-empty": '""',
    "text": '"red"',
    "text-accents": '"r\u00e9d \\u2028 \\ud83d\\ude00 \\u0000 \\n"',
    "text-surrogate": '"\\ud800"',
    "base64": '"AAEC"',
    "base64-lines": '"AAEC\\nAAEC\\n"',
    "base64-short": '"AAE"',
    "base64-junk": '"!!!!"',
    "day": '"2024-05-06"',
    "moment": '"2024-05-06T07:08:09"',
    "moment-space": '"2024-05-06 07:08:09.123456"',
    "moment-nano": '"2024-05-06T07:08:09.123456789"',
    "moment-utc": '"2024-05-06T07:08:09Z"',
    "moment-offset": '"2024-05-06T07:08:09+02:00"',
    "day-american": '"5/6/2024"',
    "day-early": '"1066-10-14"',
    "day-late": '"99999-01-01"',
    "day-impossible": '"2024-02-30"',
    "list": "[1.5]",
    "list-empty": "[]",
    "object": '{"x": 1}',
    "object-empty": "{}",
}
# A cell that the type takes everywhere.
PLAIN = {
    "double": "0.25",
    "float": "0.25",
    "long": "5",
    "integer": "5",
    "boolean": "true",
    "string": '"plain"',
    "binary": '"AAEC"',
    "datetime": '"2020-01-01T00:00:00"',
}
CSV_VALUES = {
    "integer": "3",
    "plus": "+3",
    "padded": " 3 ",
    "leading-zero": "007",
    "whole-float": "1.0",
    "fraction": "1.5",
    "point": ".5",
    "point-after": "5.",
    "exponent": "1E3",
    "tenth": "0.1",
    "long-fraction": "0.1000000000000000055511151231257827",
    "17-digits": "0.30000000000000004",
    "overflow": "1e999",
    "tiny": "1e-400",
    "53-bits": str(2**53 + 1),
    "64-bits": str(2**63),
    "5000-digits": "1" * 5000,
    "missing": "",
    "quoted-missing": '""',
    "na": "NA",
    "nan": "nan",
    "quoted-na": '"NA"',
    "null": "null",
    "none": "None",
    "na-padded": " NA ",
    "infinity": "inf",
    "infinity-long": "-Infinity",
    "true": "true",
    "True": "True",
    "one-quoted": '"1"',
    "text": "red",
    "text-quoted": '"a, ""b""\n c"',
    "text-padded": " red ",
    "text-underscore": "1_000",
    "text-accents": "réd",
    "thousands": '"1,000"',
    "hexadecimal": "0x10",
    "arabic": "٣",
    "day": "2024-05-06",
    "moment": "2024-05-06T07:08:09",
    "moment-utc": "2024-05-06T07:08:09Z",
    "base64": "AAEC",
    "apostrophes": "'3'",
}
CSV_PLAIN = {kind: text.strip('"') for kind, text in PLAIN.items()}


def _json_forms(value: str, plain: str) -> Iterator[tuple[str, str]]:
    yield "split", '{"dataframe_split": {"columns": ["a"], "data": [[%s]]}}' % value
    yield "split-second", '{"dataframe_split": {"columns": ["a"], "data": [[%s], [%s]]}}' % (plain, value)
    yield "split-optional", '{"dataframe_split": {"columns": ["b", "a"], "data": [[%s, %s]]}}' % (value, plain)
    yield "records", '{"dataframe_records": [{"a": %s}]}' % value
    yield "records-optional", '{"dataframe_records": [{"a": %s}, {"b": %s, "a": %s}]}' % (plain, value, plain)
    yield "instances", '{"instances": [{"a": %s}]}' % value
    yield "inputs-columns", '{"inputs": {"a": [%s, %s]}}' % (plain, value)
    yield "inputs-rows", '{"inputs": [{"a": %s}]}' % value
    yield "inputs-scalars", '{"inputs": {"a": %s}}' % value


def cell_cases() -> Iterator[Case]:
    """Every type in every form with every value."""
    for kind in SCALARS:
        model, plain, csv_plain = f"{kind}_columns", PLAIN[kind], CSV_PLAIN[kind]
        for label, value in VALUES.items():
            for form, text in _json_forms(value, plain):
                yield Case(f"{model}/{form}/{label}", text.encode("utf-8", "surrogatepass"))
        for label, value in CSV_VALUES.items():
            yield Case(f"{model}/csv/{label}", f"a\n{csv_plain}\n{value}\n".encode(), CSV)
            yield Case(f"{model}/csv-optional/{label}", f"b,a\n{value},{csv_plain}\n".encode(), CSV)
            yield Case(f"{model}/csv-alone/{label}", f"a\n{value}\n".encode(), CSV)
