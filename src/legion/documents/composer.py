"""PyYAML's composer with bounds: it notes what is not allowed and goes on, so that all faults are found at once."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from legion.documents.faults import Faults

try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:

    class _Parser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):  # type: ignore[no-redef]
        """For a PyYAML that was built without libyaml; ten times slower."""

        def __init__(self, text: str) -> None:
            yaml.reader.Reader.__init__(self, text)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)


PREFIX = "tag:yaml.org,2002:"
NULL = PREFIX + "null"
MERGE = PREFIX + "merge"
_TAGS = frozenset(
    PREFIX + name
    for name in ("binary", "bool", "float", "int", "map", "null", "omap", "pairs", "seq", "set", "str", "timestamp")
)


class Rules(msgspec.Struct, frozen=True):
    """What a document may hold: levels of nesting, values (an alias's count each time), aliases, YAML's own tags."""

    depth: int = 16
    values: int = 20_000
    aliases: bool = False
    tags: bool = False


class Composer(yaml.composer.Composer, _Parser, yaml.resolver.Resolver):
    """Gives the root node of one document, without what the rules forbid."""

    def __init__(self, text: str, rules: Rules, faults: Faults) -> None:
        _Parser.__init__(self, text)
        yaml.composer.Composer.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        self._rules = rules
        self._faults = faults
        self._depth = 0
        self._count = 0
        # A node is here once it is whole, so that no alias is inside what it stands for.
        self._anchored: dict[str, tuple[yaml.Node, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One value; called by PyYAML for each."""
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self.get_event()
            return self._alias(event)
        anchor, event.anchor = event.anchor, None
        if anchor is not None and not self._rules.aliases:
            self._note(event, f"the anchor &{anchor} is not read; remove it")
        if event.tag is not None and not (self._rules.tags and event.tag in _TAGS):
            self._note(event, f"the tag {event.tag} is not read; remove it")
            event.tag = None
            if isinstance(event, yaml.ScalarEvent):
                event.implicit = (False, True)
        before = self._count
        self._add(1, event)
        self._depth += 1
        if self._depth > self._rules.depth:
            raise _error(f"more than {self._rules.depth} levels", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor is not None and node is not None:
            self._anchored[anchor] = node, self._count - before
        return node

    def _alias(self, event: Any) -> yaml.Node:
        found = self._anchored.get(event.anchor) if self._rules.aliases else None
        if found is not None:
            self._add(found[1], event)
            return found[0]
        if self._rules.aliases:
            self._note(event, f"the alias *{event.anchor} stands for nothing that is whole before it")
        else:
            self._note(event, f"the alias *{event.anchor} is not read; write the value out")
        return yaml.ScalarNode("", "", style="'")

    def _add(self, count: int, event: Any) -> None:
        self._count += count
        if self._count > self._rules.values:
            raise _error(f"more than {self._rules.values} values", event)

    def _note(self, event: Any, message: str) -> None:
        self._faults.add(line(event.start_mark), message)


def compose(data: bytes, rules: Rules, faults: Faults) -> yaml.Node | None:
    """The document's root; None where it is empty or cannot be read at all, which is one fault then."""
    try:
        return Composer(data.decode("utf-8-sig"), rules, faults).get_single_node()
    except UnicodeDecodeError:
        faults.add("(file)", "is not UTF-8; save it as UTF-8")
    except yaml.MarkedYAMLError as error:
        # libyaml takes the end of the last line for another one.
        last = error.problem_mark is not None and error.problem_mark.line > data.count(b"\n")
        place = "(end)" if last else line(error.problem_mark)
        faults.add(place, f"is no YAML that is read here: {error.problem}")
    except yaml.YAMLError:
        faults.add("(file)", "holds characters that YAML does not allow; remove them")
    return None


def line(mark: Any) -> str:
    """Where a mark is, for people."""
    return f"line {mark.line + 1}" if mark else "(file)"


def _error(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, problem, event.start_mark)
