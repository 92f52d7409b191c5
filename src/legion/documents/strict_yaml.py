"""YAML without its traps: every scalar is the text that was written.

`1.10` is not 1.1, `no` is not false and `1:30` is not ninety. What has two meanings, or can grow, is a fault:
keys that are there twice, anchors and aliases, tags, merge keys, several documents.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from legion.documents.composer import MERGE, NULL, Rules, compose, line
from legion.documents.faults import Faults, child

_RULES = Rules()


class Plain(str):
    """Text that was written without quotes."""

    __slots__ = ()


def read(text: bytes) -> tuple[Any, Faults]:
    """The document as dicts, lists, text and None, and all that is wrong with it.

    Text without quotes is `Plain`. A document that cannot be read at all is None and one fault.
    """
    faults = Faults()
    node = compose(text, _RULES, faults)
    return (None if node is None else _value(node, "", faults)), faults


def _value(node: yaml.Node, path: str, faults: Faults) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{place}]", faults) for place, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        if node.tag == NULL:
            return None
        return node.value if node.style else Plain(node.value)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = line(key_node.start_mark)
        if (
            not isinstance(key_node, yaml.ScalarNode)
            or key_node.tag in (NULL, MERGE)
            or not key_node.value.isprintable()
        ):
            faults.add(place, "a key must be plain text")
            continue
        key = child(path, key_node.value)
        if key_node.value in found:
            faults.add(key, f"is there twice ({place}); remove one")
        found[key_node.value] = _value(value_node, key, faults)
    return found


def typed(value: Any) -> Any:
    """The value of a field that only passes through: a plain scalar is a number or a boolean where it is
    written just as JSON writes that value, and stays text otherwise: so writing it again gives the same.
    """
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    if not isinstance(value, Plain):
        return value
    try:
        found = msgspec.json.decode(value.encode())
    except msgspec.DecodeError:
        return str(value)
    return found if msgspec.json.encode(found).decode() == value else str(value)


class _Dumper(yaml.SafeDumper):
    """Quotes all text that some reader takes for a number or a boolean; never writes anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML 1.2 reads 1e5 and 0o17 as numbers, older parsers y and n as booleans; PyYAML quotes none of these.
    style = None if len(text) > 1 and text[0].isalpha() else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def write(tree: dict[str, Any]) -> bytes:
    """The tree as a YAML document, keys in their order."""
    text: str = yaml.dump(
        tree, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=10_000
    )
    return text.encode()
