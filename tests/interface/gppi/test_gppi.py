"""GPPI, generation 2: every function a module may define, and every shape its answers may have."""

from __future__ import annotations

import datetime
import json
import sys
import textwrap
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from legion import replica, wire
from legion.errors import InputError, WorkerError
from legion.interface.gppi.module import Gppi
from legion.interface.table import Table
from legion.signature import Field, Signature
from legion.worker.batch import Answerer

DOUBLES = Signature((Field("a", "double"), Field("b", "double")))


def model(source: str, signature: Signature = Signature()) -> Gppi:
    """The module that this source makes, as a model."""
    module = types.ModuleType("entrypoint")
    exec(compile(textwrap.dedent(source), "entrypoint.py", "exec", dont_inherit=True), module.__dict__)
    return Gppi(module, signature)


def matrix_model(answer: Any, signature: Signature = DOUBLES) -> Gppi:
    """A matrix model that gives this answer, or what this function makes of its two arguments."""
    module = types.ModuleType("entrypoint")

    def predict(input_matrix: Any, provided_columns_names: Any = None) -> Any:
        return answer(input_matrix, provided_columns_names) if callable(answer) else answer

    module.__dict__.update(init=lambda: "matrix", predict_on_matrix=predict)
    return Gppi(module, signature)


def ask(gppi: Gppi, protocol: int, body: Any) -> tuple[int, Any]:
    """Status and document of one request."""
    reply = Answerer(gppi, merges=False).answer([wire.Call(protocol, json.dumps(body).encode())])[0]
    return reply.status, json.loads(reply.body)


def answers(answer: Any) -> tuple[Any, Any]:
    """What both protocols make of a model's answer for two rows."""
    gppi = matrix_model(answer)
    split = {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}
    return ask(gppi, wire.MLFLOW, {"dataframe_split": split}), ask(gppi, wire.LEGION, split)


MATRICES = {
    "array": np.array([[1.0], [2.0]]),
    "lists": [[1.0], [2.0]],
    "tuples": ((1.0,), (2.0,)),
    "sparse": scipy.sparse.csr_matrix([[1.0], [2.0]]),
    "numpy scalars": [[np.float32(1)], [np.float64(2)]],
}


@pytest.mark.parametrize("answer", MATRICES.values(), ids=MATRICES)
def test_every_kind_of_matrix_is_the_same_answer(answer: Any) -> None:
    mlflow, legion = answers(answer)
    assert mlflow == (200, {"predictions": [[1.0], [2.0]]})
    assert legion == (200, {"prediction": [[1.0], [2.0]], "columns": ["result"]})


@pytest.mark.parametrize(
    "answer",
    [[1.0, 2.0], (1.0, 2.0), np.array([1.0, 2.0]), pd.Series([1.0, 2.0])],
    ids=["list", "tuple", "array", "series"],
)
def test_a_flat_answer_is_one_value_a_row(answer: Any) -> None:
    mlflow, legion = answers(answer)
    assert mlflow == (200, {"predictions": [1.0, 2.0]})
    assert legion == (200, {"prediction": [[1.0], [2.0]], "columns": ["result"]})


NAMED = {
    "pair": ([[1.0, "x"], [2.0, "y"]], ["n", "s"]),
    "pair of arrays": (np.array([[1.0, "x"], [2.0, "y"]], dtype=object), ("n", "s")),
    "frame": pd.DataFrame({"n": [1.0, 2.0], "s": ["x", "y"]}),
    "pair of a frame": (pd.DataFrame([[1.0, "x"], [2.0, "y"]]), ["n", "s"]),
}


@pytest.mark.parametrize("answer", NAMED.values(), ids=NAMED)
def test_named_columns_reach_both_protocols(answer: Any) -> None:
    mlflow, legion = answers(answer)
    assert mlflow == (200, {"predictions": [{"n": 1.0, "s": "x"}, {"n": 2.0, "s": "y"}]})
    assert legion == (200, {"prediction": [[1.0, "x"], [2.0, "y"]], "columns": ["n", "s"]})


def test_a_series_gives_its_name() -> None:
    assert answers(pd.Series([1, 2], name="label"))[1] == (200, {"prediction": [[1], [2]], "columns": ["label"]})


def test_missing_values_and_dates_are_json() -> None:
    (_, mlflow), _ = answers([[float("nan"), datetime.date(2024, 5, 6)], [float("inf"), pd.NaT]])
    assert mlflow == {"predictions": [[None, "2024-05-06"], [None, None]]}


def test_two_rows_of_text_are_no_pair() -> None:
    assert answers((("x", "y"), ("a", "b")))[0] == (200, {"predictions": [["x", "y"], ["a", "b"]]})


@pytest.mark.parametrize("answer", [[[1.0]], [[1.0]] * 3, 5.0, ([[1.0, 2.0]] * 2, ["one"]), [object(), object()], None])
def test_an_answer_that_does_not_fit_is_refused(answer: Any) -> None:
    (status, mlflow), (legion_status, legion) = answers(answer)
    assert (status, legion_status) == (400, 400)
    assert mlflow["message"].startswith("the model")
    assert legion["message"].startswith("Exception during prediction: ")


def test_the_matrix_and_its_column_names() -> None:
    given = []

    def predict(matrix: np.ndarray, names: list[str] | None) -> Any:
        given.append((matrix, names))
        return [0] * len(matrix)

    gppi = matrix_model(predict)
    ask(gppi, wire.LEGION, {"columns": ["b", "a"], "data": [[1, None], [3, 4.5]]})
    matrix, names = given.pop()
    assert (str(matrix.dtype), names) == ("float64", ["a", "b"])
    np.testing.assert_array_equal(matrix, [[np.nan, 1], [4.5, 3]])
    # The same type, whatever values a request brings.
    ask(gppi, wire.LEGION, {"data": [[1, 2]]})
    assert given.pop()[0].dtype == "float64"
    ask(gppi, wire.LEGION, {"data": []})
    assert given.pop()[0].shape == (0, 2)


def test_types_of_a_matrix() -> None:
    def dtype(rows: list[Sequence[Any]], *kinds: str) -> str:
        fields = tuple(Field(str(i), kind) for i, kind in enumerate(kinds))
        seen: list[np.ndarray] = []

        def predict(matrix: np.ndarray, _: Any) -> list[int]:
            seen.append(matrix)
            return [0] * len(matrix)

        gppi = matrix_model(predict, Signature(fields))
        gppi.predict(Table(None, len(rows), rows=rows), None)
        assert seen[0].shape == (len(rows), len(rows[0]))
        return str(seen[0].dtype)

    assert dtype([[1, 2]], "long", "long") == "int64"
    assert dtype([[1, 2]], "integer", "integer") == "int32"
    assert dtype([[1.0, 2]], "float", "double") == "float64"
    assert dtype([[True]], "boolean") == "bool"
    assert dtype([[1.0, "x"]], "double", "string") == "object"
    assert dtype([[1, 2.5]]) == "float64"
    assert dtype([["a", "b"]]).startswith("<U")
    assert dtype([["a", None]]) == "object"
    assert dtype([[[1], [2]]]) == "object"


OBJECTS = """
    from typing import List, Optional
    from pydantic import BaseModel

    class Wine(BaseModel):
        name: str
        alcohol: float
        year: Optional[int] = None

    class Score(BaseModel):
        score: float

    def init(): return "objects"
    def get_object_input_type(): return List[Wine]
    def get_object_output_type(): return List[Score]
    def predict_on_objects(objects):
        assert all(isinstance(one, Wine) for one in objects)
        return [Score(score=one.alcohol / 2) for one in objects]
"""


def test_objects_are_validated_and_typed() -> None:
    gppi = model(OBJECTS)
    assert ask(gppi, wire.LEGION, [{"name": "a", "alcohol": 12}]) == (200, [{"score": 6.0}])
    records = {"dataframe_records": [{"name": "a", "alcohol": 12}]}
    assert ask(gppi, wire.MLFLOW, records) == (200, {"predictions": [{"score": 6.0}]})
    status, refusal = ask(gppi, wire.LEGION, [{"name": "a", "alcohol": 12}, {"name": "b", "alcohol": "much"}])
    assert (status, refusal["row"], refusal["column"]) == (422, 1, "alcohol")
    assert "alcohol" in refusal["message"]
    said = gppi.describe()
    assert said is not None
    assert said["x-legion-input"]["required"] == ["name", "alcohol"]
    assert set(said["x-legion-output"]["properties"]) == {"score"}


def test_objects_without_a_type_are_dicts() -> None:
    gppi = model("""
        def init(): return "objects"
        def predict_on_objects(objects): return [{"n": len(one), "is_dict": type(one) is dict} for one in objects]
    """)
    assert ask(gppi, wire.LEGION, [{"x": 1}, {}]) == (200, [{"n": 1, "is_dict": True}, {"n": 0, "is_dict": True}])
    wrong: Any
    for wrong in ({"x": 1}, [1], "x", None, [[1]]):
        assert ask(gppi, wire.LEGION, wrong)[0] == 422
    split = {"dataframe_split": {"columns": ["x", "y"], "data": [[1, 2]]}}
    assert ask(gppi, wire.MLFLOW, split)[1] == {"predictions": [{"n": 2, "is_dict": True}]}
    for wrong in ({"columns": ["x"], "data": 5}, {"columns": [[]], "data": [[1]]}, {"columns": ["x"], "data": [5]}):
        assert ask(gppi, wire.MLFLOW, {"dataframe_split": wrong})[0] == 400


SERIALIZER = """
    import decimal, json

    class Encoder(json.JSONEncoder):
        def default(self, value):
            return str(value) if isinstance(value, decimal.Decimal) else super().default(value)

    def init(): return "matrix"
    def predict_on_matrix(input_matrix, provided_columns_names=None):
        return [[decimal.Decimal("1.50"), float("nan")] for _ in input_matrix]
    def get_output_json_serializer(): return Encoder
"""


def test_the_module_s_own_serializer_writes_the_answer() -> None:
    assert ask(model(SERIALIZER), wire.LEGION, {"data": [[1]]}) == (
        200,
        {"prediction": [["1.50", None]], "columns": ["result_0", "result_1"]},
    )
    without = SERIALIZER.replace("def get_output_json_serializer", "def unused")
    status, refusal = ask(model(without), wire.LEGION, {"data": [[1]]})
    assert (status, "Decimal" in refusal["message"]) == (400, True)


def test_a_serializer_need_not_know_arrays() -> None:
    gppi = model(
        SERIALIZER.replace('[[decimal.Decimal("1.50"), float("nan")] for _ in input_matrix]', "input_matrix * 2")
    )
    assert ask(gppi, wire.LEGION, {"data": [[1.5]]})[1]["prediction"] == [[3.0]]


def test_get_info_as_a_pair_of_lists_is_the_signature() -> None:
    gppi = model("""
        def init(): return "matrix"
        def predict_on_matrix(input_matrix, provided_columns_names=None): return input_matrix
        def get_info():
            return (
                [{"name": "a", "type": "number", "example": 1.5, "required": True},
                 {"name": "n", "type": "int64", "required": False},
                 {"name": "s", "type": "string"}],
                [{"name": "y", "type": "float"}],
            )
    """)
    assert gppi.signature.inputs == (
        Field("a", "double", example=1.5),
        Field("n", "long", required=False),
        Field("s", "string"),
    )
    assert gppi.signature.outputs == (Field("y", "double"),)
    assert gppi.describe() is None
    status, refusal = ask(gppi, wire.LEGION, {"columns": ["a", "s", "z"], "data": [[1, "x", 2]]})
    assert (status, refusal["message"]) == (
        422,
        "unknown columns: 'z'; send the columns of the model's signature",
    )


@pytest.mark.parametrize("name", ["get_info", "info"])
def test_get_info_as_openapi_describes_the_model(name: str) -> None:
    document = {"openapi": "3.0.0", "paths": {}}
    gppi = model(f"""
        def init(): return "matrix"
        def predict_on_matrix(input_matrix, provided_columns_names=None): return input_matrix
        def {name}(): return {document!r}
    """)
    assert gppi.describe() == document
    assert gppi.signature == Signature()


@pytest.mark.parametrize("info", ["None", "([], [])", "'text'", "[1]", "([{'name': 'a', 'type': 'matrix'}], [])", "5"])
def test_other_infos_say_nothing(info: str) -> None:
    gppi = model(f"""
        def init(): return "matrix"
        def predict_on_matrix(input_matrix, provided_columns_names=None): return input_matrix
        def get_info(): return {info}
    """)
    assert (gppi.describe(), gppi.signature) == (None, Signature())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def init(): return None", "let it return 'matrix' or 'objects'"),
        ("def init(): return 'tensor'", "let it return 'matrix' or 'objects'"),
        ("def init(): return 'matrix'", "define predict_on_matrix()"),
        ("def init(): return 'objects'\ndef predict_on_matrix(m): return m", "define predict_on_objects()"),
    ],
)
def test_a_module_that_is_no_gppi_says_what_to_do(source: str, message: str) -> None:
    with pytest.raises(WorkerError, match="init") as caught:
        model(source)
    assert message in str(caught.value)


def plan(folder: Path, source: str, **more: Any) -> wire.Plan:
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "entry.py").write_text(textwrap.dedent(source))
    return wire.Plan("probe", "1", str(folder), "gppi", workdir="model", entrypoint="entry", **more)


PLACES = """
    import os, pathlib, neighbour
    PLACE = os.environ["MODEL_LOCATION"]

    def init(): return "objects"
    def predict_on_objects(objects):
        return [{"place": PLACE, "folder": pathlib.Path.cwd().name, "weights": pathlib.Path(PLACE).read_text(),
                 "neighbour": neighbour.VALUE}]
"""


@pytest.mark.parametrize("entrypoint", ["entry", "entry.py"])
def test_the_working_directory_and_model_location(tmp_path: Path, entrypoint: str) -> None:
    made = plan(tmp_path, PLACES, model_location="weights.txt")
    (tmp_path / "model" / "weights.txt").write_text("heavy")
    (tmp_path / "model" / "neighbour.py").write_text("VALUE = 3")
    made = wire.Plan(**{**{f: getattr(made, f) for f in made.__struct_fields__}, "entrypoint": entrypoint})
    report, replies = replica.ask(made, Path(sys.executable), [wire.Call(wire.LEGION, b"[{}]")])
    assert (report.mode, report.path) == ("objects", "gppi")
    assert json.loads(replies[0].body) == [
        {"place": "weights.txt", "folder": "model", "weights": "heavy", "neighbour": 3}
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        ("x = 1", "has no init"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def init(): raise OSError('no weights')", "no weights"),
    ],
)
def test_a_module_that_does_not_load_ends_in_one_sentence(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        replica.ask(plan(tmp_path, source), Path(sys.executable), [])


def test_a_missing_entrypoint_names_it(tmp_path: Path) -> None:
    made = plan(tmp_path, "x = 1")
    (tmp_path / "model" / "entry.py").unlink()
    with pytest.raises(WorkerError, match=r"'entry' is not in model; correct model\.entrypoint"):
        replica.ask(made, Path(sys.executable), [])


TYPES = {
    "list of models": "List[Wine]",
    "built-in list": "list[Wine]",
    "sequence": "Sequence[Wine]",
    "model": "Wine",
    "dataclass": "Plain",
    "list of dataclasses": "List[Plain]",
    "typed dict": "Typed",
    "dict of numbers": "Dict[str, float]",
    "pydantic 1": "Old",
    "list of pydantic 1": "List[Old]",
}


@pytest.mark.parametrize("declared", TYPES.values(), ids=TYPES)
def test_every_way_to_declare_an_input_type(declared: str) -> None:
    gppi = model(f"""
        import dataclasses, warnings
        from typing import Dict, List, Sequence
        from typing_extensions import TypedDict
        from pydantic import BaseModel
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pydantic import v1

        class Wine(BaseModel):
            alcohol: float

        class Old(v1.BaseModel):
            alcohol: float

        @dataclasses.dataclass
        class Plain:
            alcohol: float

        class Typed(TypedDict):
            alcohol: float

        def init(): return "objects"
        def get_object_input_type(): return {declared}
        def predict_on_objects(objects):
            return [{{"y": (one["alcohol"] if isinstance(one, dict) else one.alcohol) * 2}} for one in objects]
    """)
    assert ask(gppi, wire.LEGION, [{"alcohol": 6}]) == (200, [{"y": 12.0}])
    status, refusal = ask(gppi, wire.LEGION, [{"alcohol": 6}, {"alcohol": "much"}])
    assert (status, refusal["row"], refusal["column"]) == (422, 1, "alcohol")
    assert (gppi.describe() or {})["x-legion-input"]["type"] == "object"


@pytest.mark.parametrize("declared", ["dict", "Dict", "List", "List[Dict]", "List[Dict[str, Any]]", "Any", "None"])
def test_a_type_that_says_nothing_leaves_the_objects_as_they_are(declared: str) -> None:
    gppi = model(f"""
        import pydantic
        from typing import Any, Dict, List
        def init(): return "objects"
        def get_object_input_type(): return {declared}
        def get_object_output_type(): return {declared}
        def predict_on_objects(objects): return objects
    """)
    assert ask(gppi, wire.LEGION, [{"x": [1, {}]}]) == (200, [{"x": [1, {}]}])
    assert gppi.describe() is None


def test_the_path_of_a_field_inside_an_object() -> None:
    gppi = model("""
        from typing import List
        from pydantic import BaseModel, model_validator
        class Part(BaseModel):
            weight: float
        class Whole(BaseModel):
            parts: List[Part]
            @model_validator(mode="after")
            def check(self):
                if not self.parts: raise ValueError("no parts")
                return self
        def init(): return "objects"
        def get_object_input_type(): return Whole
        def predict_on_objects(objects): return [len(one.parts) for one in objects]
    """)
    status, refusal = ask(gppi, wire.LEGION, [{"parts": [{"weight": 1}, {"weight": "x"}, {}]}])
    assert (status, refusal["column"]) == (422, "parts.1.weight")
    assert refusal["message"].startswith("row 0, field 'parts.1.weight': ")
    assert refusal["message"].endswith("(and 1 more)")
    status, refusal = ask(gppi, wire.LEGION, [{"parts": []}])
    assert (status, refusal["row"], refusal["column"]) == (422, 0, None)
    assert refusal["message"] == "row 0: Value error, no parts"
    assert ask(gppi, wire.LEGION, [{"parts": [{"weight": 1}]}]) == (200, [1])


def test_a_strict_type_reads_what_json_has_no_type_for() -> None:
    gppi = model("""
        import datetime
        from pydantic import BaseModel, ConfigDict
        class Day(BaseModel):
            model_config = ConfigDict(strict=True)
            day: datetime.date
            n: int
        def init(): return "objects"
        def get_object_input_type(): return Day
        def predict_on_objects(objects): return [one.day.year for one in objects]
    """)
    assert ask(gppi, wire.LEGION, [{"day": "2020-02-03", "n": 1}]) == (200, [2020])
    status, refusal = ask(gppi, wire.LEGION, [{"day": "2020-02-03", "n": "1"}])
    assert (status, refusal["column"]) == (422, "n")


def test_a_type_that_cannot_be_described_still_checks() -> None:
    gppi = model("""
        import numpy as np
        from pydantic import BaseModel, ConfigDict, field_validator
        class Point(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            at: np.ndarray
            @field_validator("at", mode="before")
            def read(cls, value): return np.asarray(value, dtype=float)
        def init(): return "objects"
        def get_object_input_type(): return Point
        def predict_on_objects(objects): return [one.at.sum() for one in objects]
    """)
    assert gppi.describe() is None
    assert ask(gppi, wire.LEGION, [{"at": [1, 2.5]}]) == (200, [3.5])
    assert ask(gppi, wire.LEGION, [{"at": ["x"]}])[1]["column"] == "at"


OUTPUT = """
    import uuid
    from pydantic import BaseModel, Field
    class Score(BaseModel):
        value: float = Field(serialization_alias="the value")
        id: uuid.UUID = uuid.UUID(int=1)
    def init(): return "objects"
    def get_object_output_type(): return Score
    def predict_on_objects(objects): return [ANSWER for one in objects]
"""


def test_the_output_type_checks_and_writes_the_answer() -> None:
    expected = [{"the value": 1.5, "id": "00000000-0000-0000-0000-000000000001"}]
    for answer in ("Score(value=1.5)", '{"value": 1.5}', '{"value": "1.5", "other": 3}'):
        assert ask(model(OUTPUT.replace("ANSWER", answer)), wire.LEGION, [{}]) == (200, expected)
    status, refusal = ask(model(OUTPUT.replace("ANSWER", '{"value": "much"}')), wire.LEGION, [{}])
    assert status == 400
    assert refusal["message"].startswith(
        "Exception during prediction: the model's answer 0, field 'value' does not fit the type it declares: "
    )
    assert set((model(OUTPUT).describe() or {})["x-legion-output"]["properties"]) == {"the value", "id"}


@pytest.mark.parametrize(
    "answer",
    ["frame", "frame.to_dict('records')", "tuple(frame.to_dict('records'))", "([[1, 'x'], [2, 'y']], ['n', 's'])"],
)
def test_objects_mode_takes_any_table_for_an_answer(answer: str) -> None:
    gppi = model(f"""
        import pandas as pd
        frame = pd.DataFrame({{"n": [1, 2], "s": ["x", "y"]}})
        def init(): return "objects"
        def predict_on_objects(objects): return {answer}
    """)
    assert ask(gppi, wire.LEGION, [{}, {}]) == (200, [{"n": 1, "s": "x"}, {"n": 2, "s": "y"}])
    status, refusal = ask(gppi, wire.LEGION, [{}])
    assert (status, refusal["message"]) == (400, "Exception during prediction: the model gave 2 answers for 1 rows")


SIDES = {
    "lists": '([{"name": "a", "type": "number"}], [{"name": "y", "type": "number"}])',
    "a list of lists": '[[{"name": "a", "type": "number"}], [{"name": "y", "type": "number"}]]',
    "tuples": '(({"name": "a", "type": "Number"},), ({"name": "y", "type": "float"},))',
    "named tuples": "([Column('a', 'double', True, None)], [Column('y', 'double', True, None)])",
    "models": "(A, Y)",
}


@pytest.mark.parametrize("name", ["get_info", "info"])
@pytest.mark.parametrize("info", SIDES.values(), ids=SIDES)
def test_both_sides_in_every_shape(info: str, name: str) -> None:
    gppi = model(f"""
        from collections import namedtuple
        from pydantic import BaseModel
        Column = namedtuple("Column", "name type required example")
        class A(BaseModel):
            a: float
        class Y(BaseModel):
            y: float
        def init(): return "matrix"
        def predict_on_matrix(input_matrix, provided_columns_names=None): return input_matrix * 2
        def {name}(): return {info}
    """)
    assert (gppi.signature.inputs, gppi.signature.outputs) == ((Field("a", "double"),), (Field("y", "double"),))
    assert ask(gppi, wire.LEGION, {"data": [[1.5]]}) == (200, {"prediction": [[3.0]], "columns": ["y"]})
    status, refusal = ask(gppi, wire.LEGION, {"columns": ["b"], "data": [[1]]})
    assert (status, refusal["column"]) == (422, "a")


def test_a_document_and_a_type_are_both_told() -> None:
    gppi = model(OBJECTS + "    def info(): return {'openapi': '3.1.0', 'paths': {}}")
    assert set(gppi.describe() or {}) == {"openapi", "paths", "x-legion-input", "x-legion-output"}


ANSWERS = {
    "frame of dates": (
        pd.DataFrame({"d": pd.to_datetime(["2020-01-02", "NaT"])}),
        [{"d": "2020-01-02T00:00:00"}, {"d": None}],
    ),
    "series of dates": (pd.Series(pd.to_datetime(["2020-01-02", "NaT"])), ["2020-01-02T00:00:00", None]),
    "array of dates": (np.array(["2020-01-02", "NaT"], "datetime64[ns]"), ["2020-01-02T00:00:00", None]),
    "array with fields": (
        np.array([(1, "x"), (2, "y")], [("n", int), ("s", "U1")]),
        [{"n": 1, "s": "x"}, {"n": 2, "s": "y"}],
    ),
    "masked": (np.ma.array([1, 2], mask=[False, True]), [1, None]),
    "categories": (pd.Series(["x", "y"], dtype="category"), ["x", "y"]),
    "nullable": (pd.Series([1, None], dtype="Int64"), [1, None]),
    "sparse array": (scipy.sparse.coo_array([[0, 1.0], [0, 0]]), [[0.0, 1.0], [0.0, 0.0]]),
    "whole numbers beside others": (
        pd.DataFrame({"n": [1, 2], "x": [0.5, 1.5]}),
        [{"n": 1, "x": 0.5}, {"n": 2, "x": 1.5}],
    ),
    "nested": ([[[1, 2], {"x": (1,)}], [[], None]], [[[1, 2], {"x": [1]}], [[], None]]),
    "three dimensions": (np.arange(8).reshape(2, 2, 2), [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]),
    "objects": ([{"y": 1}, {"y": 2, "z": 3}], [{"y": 1}, {"y": 2, "z": 3}]),
    "text": (["x", "y"], ["x", "y"]),
    "array of text": (np.array(["x", "y"]), ["x", "y"]),
}


@pytest.mark.parametrize(("answer", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_every_kind_of_answer(answer: Any, expected: Any) -> None:
    mlflow, legion = answers(answer)
    assert mlflow == (200, {"predictions": expected})
    assert legion[0] == 200
    for row, item in zip(legion[1]["prediction"], expected, strict=True):
        if isinstance(item, dict):
            assert {k: v for k, v in zip(legion[1]["columns"], row, strict=True) if v is not None or k in item} == item


@pytest.mark.parametrize("answer", [5.0, "text", np.float32(5), np.array(5.0), {"y": 5}])
def test_one_answer_for_one_row(answer: Any) -> None:
    body = {"data": [[1, 2]]}
    status, legion = ask(matrix_model(answer), wire.LEGION, body)
    value = next(iter(answer.values())) if isinstance(answer, dict) else answer
    assert (status, legion["prediction"]) == (200, [[value]])
    assert ask(matrix_model(answer), wire.LEGION, {"data": [[1, 2], [3, 4]]})[0] == 400


def test_columns_of_one_name_are_refused() -> None:
    for answer in (
        ([[1, 2], [3, 4]], ["a", "a"]),
        pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]),
    ):
        (status, mlflow), _ = answers(answer)
        assert (status, "the column 'a' twice" in mlflow["message"]) == (400, True)


def test_the_module_s_own_processes_find_its_neighbours(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        """
        import subprocess, sys
        def init(): return "objects"
        def predict_on_objects(objects):
            return [subprocess.run([sys.executable, "-c", "import neighbour; print(neighbour.VALUE)"],
                                   capture_output=True, text=True, cwd="/").stdout]
        """,
    )
    (tmp_path / "model" / "neighbour.py").write_text("VALUE = 3")
    _, replies = replica.ask(made, Path(sys.executable), [wire.Call(wire.LEGION, b"[{}]")])
    assert json.loads(replies[0].body) == ["3\n"]


def test_input_errors_of_objects_name_the_field() -> None:
    with pytest.raises(InputError) as caught:
        model(OBJECTS).predict(Table(None, 1, objects=[{"name": "x"}]), None)
    assert (caught.value.row, caught.value.column) == (0, "alcohol")
