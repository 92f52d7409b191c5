"""Rows that a declared object type checks, and the order in which their values become a vector."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

from legion.errors import WorkerError
from legion.interface.gppi.object_type import ObjectType
from legion.interface.table import Table
from legion.signature import Field


class TypedRows:
    """`fields` are the columns that a request brings: those of `order` first, in that order.

    `order` may name a field as JSON has it or as Python has it; without it the type's own order counts. Raises
    WorkerError where it names one that the type lacks.
    """

    def __init__(self, declared: ObjectType, order: Optional[Sequence[str]] = None) -> None:
        self._type = declared
        attributes = declared.attributes()
        columns = {field.name: field for field in declared.columns()}
        written = {attribute: name for name, attribute in attributes.items()}
        names = [written.get(name, name) for name in (attributes if order is None else order)]
        unknown = next((name for name in names if name not in columns), None)
        if unknown is not None:
            raise WorkerError(f"columns_order() names {unknown!r}, which the type of info() lacks; correct one of them")
        self.vector: Tuple[Field, ...] = tuple(columns[name] for name in names)
        self._names = tuple(attributes[name] for name in names)
        self.fields = self.vector + tuple(field for name, field in columns.items() if name not in names)

    def read(self, table: Table) -> Table:
        """The checked rows, defaults filled in, in the order of the vector. Raises InputError naming row and field."""
        rows = table.rows if table.block is None else table.block.tolist()
        names = table.names or tuple(str(field.name) for field in self.fields)
        checked = self._type.read([dict(zip(names, row)) for row in rows or ()])
        values: List[Sequence[Any]] = [[_value(item, name) for name in self._names] for item in checked]
        return Table(tuple(str(field.name) for field in self.vector), table.n, rows=values)


def _value(item: Any, name: str) -> Any:
    return item[name] if isinstance(item, dict) else getattr(item, name)
