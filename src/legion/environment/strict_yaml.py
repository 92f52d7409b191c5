"""YAML as environment files need it: every scalar stays the text that was written.

`python: 3.10` must not become the number 3.1, so nothing is resolved to a number, a date or a boolean.
Aliases, tags and repeated keys are refused: each lets a file mean something else than what it shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from legion.errors import EnvironmentRefused

MAX_BYTES = 1 << 20
_MAX_DEPTH = 20


class _TextLoader(yaml.BaseLoader):
    """Scalars as text, plain mappings and lists only."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.events.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="holds an anchor or an alias", problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"holds the tag {event.tag}", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="is nested too deeply", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="has a key that is no text", problem_mark=key.start_mark)
            if key.value in seen:
                problem = f"has the key {key.value!r} twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_text(path: Path, name: str) -> str:
    """The text of a small file. `name` is how messages call it. Raises EnvironmentRefused."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EnvironmentRefused(f"{name} cannot be read ({error.strerror}); put it back and try again") from error
    if len(content) > MAX_BYTES:
        raise EnvironmentRefused(f"{name} is larger than 1 MiB; an environment file lists packages and nothing else")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EnvironmentRefused(f"{name} is not UTF-8 text; save it as UTF-8") from error


def read_mapping(path: Path, name: str) -> dict[str, Any]:
    """A YAML file whose root is a mapping, every scalar as text. Raises EnvironmentRefused with the line."""
    try:
        # A SafeLoader by descent: BaseLoader constructs nothing but text, lists and dictionaries.
        document = yaml.load(read_text(path, name), Loader=_TextLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}" if mark else ""
        raise EnvironmentRefused(f"{name}{where} {error.problem}; write it as plain YAML") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise EnvironmentRefused(f"{name} is no YAML; write it as plain YAML") from error
    if document in (None, ""):
        return {}
    if not isinstance(document, dict):
        raise EnvironmentRefused(f"{name} is no mapping of keys to values; write it as conda.yaml or python_env.yaml")
    return document
