"""YAML as PyYAML writes it and its safe loader reads it, for files that others wrote: bounded, every fault at once.

Plain scalars are null, booleans, numbers or text by YAML 1.1; a date stays the text that was written. An alias stands
for its value, as PyYAML writes one for what a tree holds twice, and counts as often as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import yaml

from legion.documents.composer import MERGE, NULL, PREFIX, Rules, compose, line
from legion.documents.faults import Faults, child

_RULES = Rules(depth=64, aliases=True, tags=True)
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_READ: dict[str, Callable[[yaml.ScalarNode], Any]] = {
    PREFIX + "bool": _CONSTRUCTOR.construct_yaml_bool,
    PREFIX + "int": _CONSTRUCTOR.construct_yaml_int,
    PREFIX + "float": _CONSTRUCTOR.construct_yaml_float,
    NULL: lambda node: None,
}


def read(content: bytes, fields: Container[str]) -> tuple[Any, Faults]:
    """The document as dicts, lists, text, numbers, booleans and None, and all that is wrong with it.

    Of a mapping at its root only `fields` are read; what else it holds is no matter. A document that cannot be read at
    all is None and one fault.
    """
    faults = Faults()
    node = compose(content, _RULES, faults)
    if isinstance(node, yaml.MappingNode):
        node.value = [(key, value) for key, value in node.value if _named(key) in fields]
    return (None if node is None else _value(node, "", faults)), faults


def _named(key: yaml.Node) -> str:
    return key.value if isinstance(key, yaml.ScalarNode) else ""


def _value(node: yaml.Node, path: str, faults: Faults) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{place}]", faults) for place, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, path, faults)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == MERGE or not key_node.value.isprintable():
            faults.add(line(key_node.start_mark), "a key must be plain text")
            continue
        place = child(path, key_node.value)
        if key_node.value in found:
            faults.add(place, f"is there twice ({line(key_node.start_mark)}); remove one")
        found[key_node.value] = _value(value_node, place, faults)
    return found


def _scalar(node: yaml.ScalarNode, path: str, faults: Faults) -> Any:
    read = _READ.get(node.tag)
    try:
        value = node.value if read is None else read(node)
        if isinstance(value, str):
            # Half of a pair that stands for one character; nothing can be written with it.
            value.encode()
    except (ValueError, KeyError):
        faults.add(path, f"cannot be read ({line(node.start_mark)}); write it as text in quotes")
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        faults.add(path, "is a whole number of more than 64 bits; write it as text in quotes")
        return None
    return value
