"""YAML without its traps: every scalar is the text that was written.

`1.10` is not 1.1, `no` is not false and `1:30` is not ninety. What has two meanings, or can grow, is a fault:
keys that are there twice, anchors and aliases, tags, merge keys, several documents.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from legion.errors import Fault

_DEPTH = 16
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


class Plain(str):
    """Text that was written without quotes."""

    __slots__ = ()


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}" if mark else "(file)"


class _Composer(yaml.SafeLoader):
    """PyYAML's composer that notes what is not allowed and goes on, so that all faults are found at once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.faults: list[Fault] = []
        self._depth = 0

    def _note(self, event: Any, message: str) -> None:
        self.faults.append(Fault(_line(event.start_mark), message))

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            self._note(event, f"the alias *{event.anchor} is not read; write the value out")
            return yaml.ScalarNode("", "", style="'")
        if event.anchor is not None:
            self._note(event, f"the anchor &{event.anchor} is not read; remove it")
            event.anchor = None
        if event.tag is not None:
            self._note(event, f"the tag {event.tag} is not read; remove it")
            event.tag = None
            if isinstance(event, yaml.ScalarEvent):
                event.implicit = (False, True)
        self._depth += 1
        if self._depth > _DEPTH:
            raise yaml.composer.ComposerError(None, None, f"more than {_DEPTH} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _value(node: yaml.Node, path: str, faults: list[Fault]) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{place}]", faults) for place, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        if node.tag == _NULL:
            return None
        return Plain(node.value) if node.style is None else node.value
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = _line(key_node.start_mark)
        if (
            not isinstance(key_node, yaml.ScalarNode)
            or key_node.tag in (_NULL, _MERGE)
            or not key_node.value.isprintable()
        ):
            faults.append(Fault(place, "a key must be plain text"))
            continue
        key = f"{path}.{key_node.value}" if path else key_node.value
        if key_node.value in found:
            faults.append(Fault(key, f"is there twice ({place}); remove one"))
        found[key_node.value] = _value(value_node, key, faults)
    return found


def read(text: bytes) -> tuple[Any, list[Fault]]:
    """The document as dicts, lists, text and None, and all that is wrong with it.

    Text without quotes is `Plain`. A document that cannot be read at all is None and one fault.
    """
    try:
        composer = _Composer(text.decode("utf-8-sig"))
        node = composer.get_single_node()
    except UnicodeDecodeError:
        return None, [Fault("(file)", "is not UTF-8; save it as UTF-8")]
    except yaml.MarkedYAMLError as error:
        return None, [Fault(_line(error.problem_mark), f"is no YAML that is read here: {error.problem}")]
    except yaml.YAMLError:
        return None, [Fault("(file)", "holds characters that YAML does not allow; remove them")]
    faults = composer.faults
    return (None if node is None else _value(node, "", faults)), faults


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
