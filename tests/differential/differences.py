"""Where Legion answers otherwise than MLflow's server, on purpose: each with its reason and its cases.

docs/differences.md lists the same names; a test holds the two together. A case is `model/form/what`, and a
pattern is one of fnmatch's.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product
from typing import NamedTuple

STRICTER, KINDER, OTHER = "stricter", "kinder", "other"


class Difference(NamedTuple):
    """`direction`: Legion refuses what MLflow answers, answers what it refuses, or answers something else."""

    name: str
    direction: str
    cases: tuple[str, ...]

    def covers(self, direction: str, case: str) -> bool:
        """Whether this is the reason for that case."""
        return self.direction == direction and any(fnmatchcase(case, pattern) for pattern in self.cases)


def _across(models: str, forms: str, labels: str) -> tuple[str, ...]:
    return tuple("/".join(parts) for parts in product(models.split(), forms.split(), labels.split()))


_TABLE = "split split-second split-optional records records-optional"
_ARRAY = "instances inputs-columns inputs-rows inputs-scalars"
_JSON = f"{_TABLE} {_ARRAY}"
_CSV = "csv csv-optional csv-alone"
_FLOATS = "double_columns float_columns"
_WHOLES = "long_columns integer_columns"
_NUMBER_TEXTS = "text-integer text-padded text-underscore"
_NUMBERS = (
    "zero one three minus 31-bits 32-bits 53-bits 63-bits 64-bits 65-bits minus-64-bits 300-digits 400-digits"
    " whole-float exponent fraction tenth tiny negative-zero float-max float32-overflow overflow infinity"
    " minus-infinity"
)
_NOT_BITS = (
    "three minus 31-bits 32-bits 53-bits 63-bits 64-bits 65-bits minus-64-bits 300-digits 400-digits exponent"
    " fraction tenth float-max float32-overflow overflow infinity minus-infinity"
)
_WITH_POINT = (
    "whole-float exponent fraction tenth tiny negative-zero float-max float32-overflow overflow infinity minus-infinity"
)

DIFFERENCES = (
    Difference(
        "text-for-number",
        STRICTER,
        (
            *_across(_FLOATS, _JSON, f"{_NUMBER_TEXTS} text-number text-nan"),
            *_across(_WHOLES, "split split-second split-optional records instances inputs-*", _NUMBER_TEXTS),
            "linear/estimator-*/text",
        ),
    ),
    Difference(
        "boolean-for-number",
        STRICTER,
        (
            *_across(_FLOATS, _JSON, "true false"),
            *_across(_WHOLES, "split split-second split-optional records instances inputs-*", "true false"),
            *_across(f"{_FLOATS} {_WHOLES}", "csv-optional csv-alone", "true True"),
            *_across("datetime_columns", _ARRAY, "true false"),
        ),
    ),
    Difference(
        "fraction-for-integer",
        STRICTER,
        (
            *_across(_WHOLES, "split split-second split-optional records instances inputs-*", "fraction tenth"),
            "one_long/one/flat-floats",
            "mixed/mixed/swapped",
        ),
    ),
    Difference(
        "integer-overflow",
        STRICTER,
        (
            *_across("integer_columns", "split split-second split-optional records", "32-bits 53-bits 63-bits"),
            *_across(_WHOLES, "split split-second split-optional records", "64-bits float-max float32-overflow"),
        ),
    ),
    Difference(
        "truth-of-anything",
        STRICTER,
        (
            *_across("boolean_columns", _JSON, _NOT_BITS),
            *_across("boolean_columns", _JSON, "null nan text* base64* day* moment* object*"),
            *_across("boolean_columns", f"{_TABLE} instances inputs-rows inputs-scalars", "list*"),
            *_across("boolean_columns", "csv-*", "one-quoted"),
            *_across("boolean_columns", "records-optional", "zero one true false whole-float tiny negative-zero"),
            *_across("boolean_columns", "csv-*", "whole-float tiny"),
        ),
    ),
    Difference(
        "number-for-text",
        STRICTER,
        (
            *_across("string_columns", _JSON, f"{_NUMBERS} true false object*"),
            *_across("string_columns", f"{_TABLE} instances inputs-rows inputs-scalars", "list*"),
            *_across("one_text unnamed_text", "one", "flat flat-floats flat-mixed flat-null nested instances-*"),
            *_across("one_text", "one", "column column-scalar rows"),
            *_across("unnamed_text", "one", "scalar split-bare*"),
            *_across("one_text unnamed_text", "one", "split-flat"),
            "unnamed_mixed/mixed/number-text",
        ),
    ),
    Difference(
        "text-of-anything-for-binary",
        STRICTER,
        (
            *_across("binary_columns", _ARRAY, f"{_NUMBERS} null nan true false object*"),
            *_across("binary_columns", "instances inputs-rows inputs-scalars", "list*"),
        ),
    ),
    Difference(
        "fraction-for-datetime",
        STRICTER,
        _across("datetime_columns", "split split-optional records records-optional", _WITH_POINT),
    ),
    Difference(
        "datetime-out-of-range",
        STRICTER,
        (
            *_across("datetime_columns", _ARRAY, "day-early day-late text-integer"),
            # Of 2^63 nanoseconds MLflow makes a missing value.
            "datetime_columns/records-optional/64-bits",
        ),
    ),
    Difference(
        "list-for-a-value",
        STRICTER,
        (
            *_across("double_columns", "instances inputs-rows", "list-empty"),
            *_across(_WHOLES, "inputs-scalars", "list"),
            "one_text/one/*nested*",
            "unnamed_*/one/nested*",
        ),
    ),
    Difference(
        "unknown-column",
        STRICTER,
        (
            *_across("pair unnamed", "structure", "extra-column records-extra* prompt-inside"),
            *_across("pair", "structure", "instances-extra inputs-extra"),
            *_across("pair unnamed", "csv", "extra-column nameless-column index-column trailing-comma"),
            "unnamed/csv/json",
            "unnamed_mixed/mixed/wide",
        ),
    ),
    Difference(
        "duplicate-column",
        STRICTER,
        ("pair/csv/duplicate-column", "unnamed/csv/duplicate-column"),
    ),
    Difference(
        "ragged-rows",
        STRICTER,
        (
            *_across("pair unnamed", "structure", "short-row records-missing-once"),
            *_across("pair unnamed", "csv", "short-row trailing-commas"),
            "pair/csv/long-rows",
        ),
    ),
    Difference(
        "columns-of-different-length",
        STRICTER,
        ("pair/structure/inputs-mixed", "pair/structure/inputs-mixed-long"),
    ),
    Difference(
        "rows-that-are-no-lists",
        STRICTER,
        (
            *_across("pair unnamed", "structure", "null-data object-data record-data"),
            "unnamed/structure/null-column",
            "unnamed_*/one/records-flat",
            "unnamed_text/one/rows*",
        ),
    ),
    Difference(
        "params-not-an-object",
        STRICTER,
        (
            *_across("pair unnamed", "structure", "params-list params-text"),
            *_across("one_double", "params-*", "list text"),
        ),
    ),
    Difference(
        "malformed-csv",
        STRICTER,
        ("pair/csv/quote-after", "unnamed/csv/quote-after"),
    ),
    Difference(
        "columns-left-out",
        KINDER,
        (
            *_across("pair", "structure", "no-columns null-columns only-data-empty"),
            "one_*/one/split-bare*",
            "mixed/mixed/no-columns",
        ),
    ),
    Difference("columns-left-out-of-optional", OTHER, ("optional_only/optional/no-columns",)),
    Difference(
        "fields-beside-the-table",
        KINDER,
        _across("pair unnamed", "structure", "messages-beside input-beside"),
    ),
    Difference(
        "content-type",
        KINDER,
        _across("pair", "type-json", "none empty charset-quoted charset-short upper"),
    ),
    Difference(
        "unnamed-columns-of-several-types",
        KINDER,
        ("unnamed_mixed/mixed/inputs", "unnamed_mixed/mixed/instances"),
    ),
    Difference(
        "gaps-in-instances",
        KINDER,
        ("optional_only/optional/instances-uneven",),
    ),
    Difference(
        "datetime-in-csv",
        KINDER,
        (
            *_across("datetime_columns", _CSV, "moment na nan none null quoted-missing quoted-na"),
            *_across("datetime_columns", "csv-optional csv-alone", "day"),
            *_across("datetime_columns", "csv csv-optional", "missing"),
        ),
    ),
    Difference("text-dtype-in-csv", OTHER, ("string_columns/csv*/*",)),
    Difference(
        "text-dtype-of-no-rows",
        OTHER,
        ("string_columns/inputs-scalars/list-empty", "one_text/one/empty-*"),
    ),
    Difference(
        "missing-text",
        OTHER,
        _across("string_columns", _ARRAY, "null nan"),
    ),
    Difference("binary-in-csv", OTHER, ("binary_columns/csv*/*",)),
    Difference("binary-in-csv-refused", STRICTER, ("binary_columns/csv*/*",)),
    Difference("binary-type", OTHER, ("binary_columns/inputs-rows/*", "binary_columns/inputs-scalars/*")),
    Difference("index", OTHER, ("index/split/index", "index/split/index-text")),
    Difference(
        "missing-datetime-in-answers",
        OTHER,
        ("answers_frame_of_timestamps/split/two-rows", "answers_list_of_datetimes/split/two-rows"),
    ),
)
