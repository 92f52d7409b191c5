"""Objects across the border between Python and Java: JSON's values on one side, Java's collections on the other."""

from __future__ import annotations

from typing import Any, Dict, List

from legion.interface.java.jvm import JavaMachine

_LONG = 2**63


class JavaValues:
    """Turns values into Java's and back."""

    def __init__(self, machine: JavaMachine) -> None:
        named = machine.type_named
        self._array = machine.array
        self._list, self._map = named("java.util.ArrayList"), named("java.util.LinkedHashMap")
        self._big = named("java.math.BigInteger")
        self._maps, self._collections = named("java.util.Map"), named("java.util.Collection")
        # In this order: what JPype makes of a Boolean is an int to Python, too.
        self._scalars = (
            (named("java.lang.String"), str),
            (named("java.lang.Character"), str),
            (named("java.lang.Boolean"), bool),
            (named("java.math.BigInteger"), lambda value: int(str(value))),
            (named("java.math.BigDecimal"), lambda value: float(str(value))),
            (named("java.lang.Double"), float),
            (named("java.lang.Float"), float),
            (named("java.lang.Number"), lambda value: int(value.longValue())),
            # The elements of arrays: primitives, which are Python's own by inheritance.
            (machine.boolean, bool),
            (str, str),
            (float, float),
            (int, int),
        )

    def to_java(self, value: Any) -> Any:
        """Dicts, lists and scalars as Map, List, Long (BigInteger), Double, Boolean, String and null."""
        if isinstance(value, dict):
            mapping = self._map()
            for key, item in value.items():
                mapping.put(key, self.to_java(item))
            return mapping
        if isinstance(value, list):
            items = self._list(len(value))
            for item in value:
                items.add(self.to_java(item))
            return items
        if type(value) is int and not -_LONG <= value < _LONG:
            return self._big(str(value))
        return value

    def to_python(self, value: Any) -> Any:
        """The same way back. Raises TypeError naming the class that JSON cannot hold."""
        if value is None or type(value) in (str, int, float, bool):
            return value
        if isinstance(value, self._maps):
            found: Dict[str, Any] = {}
            for entry in value.entrySet():
                found[str(entry.getKey())] = self.to_python(entry.getValue())
            return found
        if isinstance(value, (self._collections, self._array)):
            items: List[Any] = [self.to_python(item) for item in value]
            return items
        for kind, convert in self._scalars:
            if isinstance(value, kind):
                return convert(value)
        name = value.getClass().getName() if hasattr(value, "getClass") else type(value).__name__
        raise TypeError(f"the model returned a {name}, which JSON cannot hold")
