"""GJPI: a model in a JAR, the mirror of GPPI 2. The interface is java/LegionModel.java; docs/gjpi.md describes it.

A batch crosses into Java as one double[] and comes back as one.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from legion.errors import InputError, WorkerError
from legion.interface.gppi.description import extended
from legion.interface.java import description, jvm
from legion.interface.java.jvm import JavaMachine
from legion.interface.java.values import JavaValues
from legion.interface.table import Table
from legion.signature import Field, Signature
from legion.wire import Plan

INTERFACE = "legion.gjpi.LegionModel"
SERVICES = f"META-INF/services/{INTERFACE}"
# From here on a double does not tell a whole number from the next.
_WHOLE = 2**53

_logger = logging.getLogger("legion.worker")


class Gjpi:
    """A Java object that implements the interface, as a model. `mode` is what its `init` returned."""

    path = "gjpi"
    checks_objects = True

    def __init__(self, machine: JavaMachine, model: Any, signature: Signature) -> None:
        self._machine = machine
        self._model = model
        self._matrix = machine.type_named(f"{INTERFACE}$Matrix")
        self._values = JavaValues(machine)
        mode = self._asked("init", model.init)
        if mode not in ("matrix", "objects"):
            raise WorkerError(f'init() of the Java model returned {mode!r}; let it return "matrix" or "objects"')
        self.mode: str = mode
        self._described = description.read(self._asked("getInfo", model.getInfo), mode)
        self.signature = self._described.signature if self._described.signature.inputs else signature
        self._longs = [i for i, field in enumerate(self.signature.inputs) if field.type == "long"]
        self._outputs = self._described.signature.outputs

    def predict(self, table: Table, params: Optional[Dict[str, Any]]) -> Any:
        """Call the model. Raises RuntimeError with the message of what it throws."""
        try:
            if self.mode == "objects":
                return self._predict_objects(table.objects or [])
            return self._predict_matrix(table)
        except self._machine.failure as error:
            _logger.warning("the Java model threw %s", str(error.stacktrace()).strip())
            raise RuntimeError(_message(error)) from None

    def _predict_matrix(self, table: Table) -> List[Any]:
        block = self._block(table)
        machine = self._machine
        answer = self._model.predictOnMatrix(
            self._matrix(machine.doubles(block.reshape(-1)), table.n, machine.strings(table.names))
        )
        if answer is None or answer.values is None:
            raise ValueError("the model gave no matrix")
        if answer.rows != table.n:
            raise ValueError(f"the model gave {answer.rows} answers for {table.n} rows")
        names = None if answer.columns is None else [str(name) for name in answer.columns]
        return _rows(np.array(answer.values), table.n, names, self._outputs)

    def _predict_objects(self, objects: List[Any]) -> List[Any]:
        if self.signature.inputs:
            description.check(objects, self.signature.inputs)
        answer = self._values.to_python(self._model.predictOnObjects(self._values.to_java(objects)))
        if not isinstance(answer, list):
            raise ValueError("the model gave no list of objects")
        if len(answer) != len(objects):
            raise ValueError(f"the model gave {len(answer)} answers for {len(objects)} objects")
        return answer

    def _block(self, table: Table) -> np.ndarray[Any, Any]:
        """The rows as doubles, NaN where a value is missing. Raises InputError for what no double can hold."""
        if table.block is None and not self.signature.inputs:
            _check_numbers(table.rows or [])
        block = np.ascontiguousarray(table.matrix(np.float64))
        if self._longs and table.n:
            # NaN is compared with nothing.
            wide = np.argwhere(np.abs(block[:, self._longs]) >= _WHOLE)
            if len(wide):
                row, column = int(wide[0][0]), self.signature.inputs[self._longs[int(wide[0][1])]].name
                raise InputError(f"row {row}, column {column!r}: {_TOO_WIDE}", row=row, column=column)
        return block

    def invoke(self, body: bytes, content_type: Optional[str]) -> Tuple[int, bytes, str]:
        """Never asked for: a Java model takes rows or objects."""
        raise NotImplementedError

    def describe(self) -> Optional[Dict[str, Any]]:
        """The OpenAPI document that getInfo() gives, or the JSON Schemas of the objects that it declares."""
        if self.mode == "matrix":
            return self._described.document
        sides = (description.schema(fields) for fields in (self.signature.inputs, self._outputs))
        return extended(self._described.document, *sides)

    def encode(self, value: Any) -> Optional[bytes]:
        """A Java model's answers are plain values."""
        return None

    def _asked(self, name: str, function: Callable[[], Any]) -> Optional[str]:
        try:
            text = function()
        except self._machine.failure as error:
            _logger.warning("%s() of the Java model threw %s", name, str(error.stacktrace()).strip())
            raise WorkerError(
                f"{name}() of the Java model threw {type(error).__name__}: {_message(error)}; see the log above"
            ) from None
        return None if text is None else str(text)


def load(plan: Plan) -> Gjpi:
    """Start Java on the JAR, in its working directory. Raises WorkerError or UsageError with what to correct."""
    workdir = Path(plan.folder, plan.workdir).resolve()
    if not (workdir / plan.entrypoint).is_file():
        raise WorkerError(f"the JAR {plan.entrypoint!r} is not in {plan.workdir}; correct model.entrypoint")
    os.environ["MODEL_LOCATION"] = plan.model_location
    os.chdir(workdir)
    machine = jvm.start([plan.entrypoint], plan.jvm_options, os.environ)
    try:
        return Gjpi(machine, _implementation(machine, plan.entrypoint), plan.signature)
    except machine.failure as error:
        kind = type(error).__name__.rsplit(".", 1)[-1]
        newer = "; compile it with --release, or run a newer Java" if kind == "UnsupportedClassVersionError" else ""
        raise WorkerError(
            f"{plan.entrypoint} does not load in Java {machine.version} ({kind}: {_message(error)}){newer}"
        ) from None


def _implementation(machine: JavaMachine, jar: str) -> Any:
    """The one object that the JAR offers. Raises WorkerError."""
    try:
        interface = machine.type_named(INTERFACE)
    except LookupError:
        raise WorkerError(f"{jar} does not hold {INTERFACE}; compile LegionModel.java into it") from None
    services = machine.type_named("java.util.ServiceLoader").load(interface)
    found = list(services)
    if len(found) != 1:
        raise WorkerError(f"{jar} names {len(found)} classes in {SERVICES}; name the one that implements the interface")
    return found[0]


def _rows(
    values: np.ndarray[Any, Any], n: int, names: Optional[Sequence[str]], outputs: Tuple[Field, ...]
) -> List[Any]:
    """The answer's rows: as dicts where the columns have names, as scalars where there is one column without.

    Raises ValueError where values, names and declared outputs do not fit each other.
    """
    if not n:
        return []
    if not len(values) or len(values) % n:
        raise ValueError(f"the model gave {len(values)} values for {n} rows")
    matrix = values.reshape(n, -1)
    width = matrix.shape[1]
    if names is not None and len(names) != width:
        raise ValueError(f"the model gave {len(names)} column names for {width} columns")
    if outputs and len(outputs) != width:
        raise ValueError(f"the model gave {width} columns, and its getInfo() declares {len(outputs)}")
    if all(field.type in ("double", "float") for field in outputs):
        rows: List[Any] = matrix.tolist()
    else:
        rows = list(zip(*(_typed(matrix[:, i], field) for i, field in enumerate(outputs))))
    if names is not None:
        return [dict(zip(names, row)) for row in rows]
    return [row[0] for row in rows] if width == 1 else [list(row) for row in rows]


def _typed(column: np.ndarray[Any, Any], field: Field) -> List[Any]:
    """A column of answers as its declared type, None for NaN."""
    cells: List[Any] = column.tolist()
    if field.type in ("double", "float"):
        return cells
    kind = bool if field.type == "boolean" else int
    given = column[~np.isnan(column)]
    fits = np.isin(given, (0, 1)) if kind is bool else np.isfinite(given) & (given == np.rint(given))
    if not fits.all():
        raise ValueError(f"the model gave {given[~fits][0]} for {field.name!r}, which getInfo() declares {field.type}")
    return [None if cell != cell else kind(cell) for cell in cells]


_TOO_WIDE = "a matrix of a Java model holds whole numbers below 2^53 only"


def _check_numbers(rows: Sequence[Sequence[Any]]) -> None:
    for number, row in enumerate(rows):
        for value in row:
            if type(value) not in (float, int, bool, type(None)):
                raise InputError(f"row {number}: this model takes numbers, got {type(value).__name__}", row=number)
            if type(value) is int and not -_WHOLE < value < _WHOLE:
                raise InputError(f"row {number}: {_TOO_WIDE}", row=number)


def _message(error: Any) -> str:
    """What Java's exception says, or its class where it says nothing."""
    text = error.getMessage()
    return type(error).__name__.rsplit(".", 1)[-1] if text is None else str(text)
