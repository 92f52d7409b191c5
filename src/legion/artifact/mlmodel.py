"""MLmodel, the file in which MLflow describes a model: bounded, no trust, every fault at once.

Legion reads its flavors, its signature, where it came from and where its example lies. What else MLflow keeps in the
file, a user's metadata for instance, is passed over. https://mlflow.org/docs/latest/ml/model
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from legion.documents import typed_yaml
from legion.documents.fields import Fields, mapping, text
from legion.errors import ArchiveError, Fault, ManifestError
from legion.signature import Signature, from_mlflow

FILE_NAME = "MLmodel"
# Nearly all of a large one is its signature: some sixty bytes a column.
MAX_BYTES = 16 * 1024 * 1024
_SIDES = ("inputs", "outputs", "params")
_FIELDS = (
    "flavors",
    "signature",
    "is_signature_from_type_hint",
    "run_id",
    "model_id",
    "mlflow_version",
    "saved_input_example_info",
)


class MLmodel(msgspec.Struct, frozen=True):
    """`serving_example` is the path of the saved example request, from the model's folder, None where MLflow wrote
    none."""

    flavors: dict[str, dict[str, Any]]
    signature: Signature = Signature()
    run_id: str | None = None
    model_id: str | None = None
    mlflow_version: str | None = None
    serving_example: str | None = None


def read_mlmodel(folder: Path) -> MLmodel:
    """The MLmodel file in `folder`. Raises ArchiveError where there is none, ManifestError with every fault."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ArchiveError(f"MLmodel cannot be read ({error.strerror}); log the model again", FILE_NAME) from None
    return parse(content)


def parse(content: bytes) -> MLmodel:
    """The file's content. Raises ManifestError with every fault and its field's path."""
    if len(content) > MAX_BYTES:
        raise ManifestError(
            FILE_NAME, [Fault("(file)", f"is larger than {MAX_BYTES >> 20} MiB; log a smaller signature")]
        )
    tree, faults = typed_yaml.read(content, _FIELDS)
    found = None
    if isinstance(tree, dict):
        found = _read(Fields(tree, "", faults))
    elif not faults:
        faults.add("(file)", "must be a mapping with flavors")
    if faults or found is None:
        raise ManifestError(FILE_NAME, faults)
    return found


def _read(root: Fields) -> MLmodel:
    return MLmodel(
        flavors=_flavors(root),
        signature=_signature(root),
        run_id=root.optional("run_id", _word, None),
        model_id=root.optional("model_id", _word, None),
        mlflow_version=root.optional("mlflow_version", _word, None),
        serving_example=root.section("saved_input_example_info").optional("serving_input_path", text, None),
    )


def _flavors(root: Fields) -> dict[str, dict[str, Any]]:
    found = root.required("flavors", mapping, {})
    section = Fields(found, "flavors", root.faults)
    # MLflow writes mappings only, and a flavor without fields as {}.
    return {name: section.required(name, mapping, {}) for name in found}


def _signature(root: Fields) -> Signature:
    section = root.section("signature")
    hints = root.optional("is_signature_from_type_hint", bool, False)
    sides = {side: section.optional(side, _side(side), None) for side in _SIDES}
    inputs, outputs, params = (Signature() if side is None else side for side in sides.values())
    return Signature(inputs.inputs, outputs.outputs, params.params, hints)


def _side(side: str) -> Any:
    def read(value: Any) -> Signature:
        try:
            found = from_mlflow({side: text(value)})
            # What a worker can be told: names that are text, dimensions that are numbers, no number beyond 64 bits.
            msgspec.msgpack.encode(msgspec.convert(msgspec.to_builtins(found), Signature))
        except KeyError as error:
            raise ValueError(f"is JSON in which a field lacks {error}; log the model again") from None
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a signature in JSON ({error}); log the model again") from None
        return found

    return read


def _word(value: Any) -> str:
    """An id or a version; one that YAML takes for a number is told as text again."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError("must be text")
