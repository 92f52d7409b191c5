"""What a command of the command line takes, the function of the Python API takes too, under the same name."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import pytest

import legion
from legion.api import gateway, stack
from legion.api.serve_settings import ServeSettings, as_options
from legion.api.stack_settings import StackSettings
from legion.cli.main import cli

ROOT = Path(__file__).parents[2]


class Pair(NamedTuple):
    """A command's function, the least that the command is called with, and what only one of the two takes."""

    function: Callable[..., Any]
    least: tuple[str, ...] = ()
    command_only: frozenset[str] = frozenset()
    python_only: frozenset[str] = frozenset()
    other_defaults: frozenset[str] = frozenset()


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Python has rows in memory, models as a mapping, a reason instead of a flag, and processes that are waited for.
PAIRS = {
    "train": Pair(legion.train, ("p",), python_only=names("output_to_stderr")),
    "pack": Pair(legion.pack, ("m",)),
    "inspect": Pair(legion.inspect, ("a",)),
    "verify": Pair(legion.verify, ("a",)),
    "unpack": Pair(legion.unpack, ("a", "f")),
    "register": Pair(legion.register, ("a", "--name", "n")),
    "up": Pair(legion.up, (), python_only=names("ready_timeout"), other_defaults=names("port gateway_port")),
    "models list": Pair(legion.models.list),
    "models show": Pair(legion.models.show, ("n",)),
    "models promote": Pair(legion.promote, ("n", "1"), command_only=names("reason"), other_defaults=names("force")),
    "models rollback": Pair(legion.models.rollback, ("n",)),
    "models pull": Pair(legion.models.pull, ("models:/n/1",)),
    "models delete": Pair(legion.models.delete, ("n/1",), names("target yes"), names("name version")),
    "serve": Pair(
        legion.serve, (), names("models more manager"), names("model ready_timeout"), other_defaults=names("port")
    ),
    "predict": Pair(
        legion.predict, ("m", "-i", "r"), python_only=names("columns params"), other_defaults=names("output")
    ),
    "deploy local": Pair(legion.deploy, ("d.yaml",), names("file"), names("declaration")),
    "deploy list": Pair(legion.deployments.list),
    "deploy show": Pair(legion.deployments.show, ("n",)),
    "deploy delete": Pair(legion.deployments.delete, ("n",)),
    "deploy rollback": Pair(legion.deployments.rollback, ("n",)),
    "cache show": Pair(legion.cache.show),
    "cache prune": Pair(legion.cache.prune),
    "doctor": Pair(legion.doctor),
}


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, by what is typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


FOUND = dict(commands(cli))


def taken(name: str, command: click.Command) -> dict[str, Any]:
    """What the command takes when it is called with the least; a flag `no_x` is the opposite of `x`."""
    context = command.make_context(name, list(PAIRS[name].least))
    given = {key: value for key, value in context.params.items() if key != "as_json"}
    return {key.removeprefix("no_"): not value if key.startswith("no_") else value for key, value in given.items()}


def test_every_command_has_its_function() -> None:
    assert set(FOUND) == set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_a_command_and_its_function_take_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_BACKEND_STORE_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION", raising=False)
    pair, options = PAIRS[name], taken(name, FOUND[name])
    parameters = dict(inspect.signature(pair.function).parameters)
    # How far long work is, is shown by the one and handed in to the other.
    parameters.pop("progress", None)
    assert set(options) - pair.command_only == set(parameters) - pair.python_only
    for key, parameter in parameters.items():
        if key in options and parameter.default is not parameter.empty and key not in pair.other_defaults:
            assert (options[key] or None) == (parameter.default or None), key


@pytest.mark.parametrize(
    ("settings", "run", "name"), [(ServeSettings, gateway.run, "serve"), (StackSettings, stack.run, "up")]
)
def test_the_settings_of_a_server_are_its_commands_options(
    settings: type[msgspec.Struct], run: Callable[..., None], name: str
) -> None:
    options = taken(name, FOUND[name])
    made = settings(**{key: value for key, value in options.items() if key not in PAIRS[name].command_only})
    assert made == settings()
    assert inspect.signature(run).parameters["wished"].default == settings()


def test_a_server_that_python_starts_gets_its_settings_by_the_command_line() -> None:
    wished = ServeSettings(
        host="::1",
        port=0,
        grpc_port=0,
        workers=3,
        env="local",
        follow=True,
        keep_warm=0.0,
        max_body=1,
        queue=7,
        timeout=0.5,
        start_timeout=2.0,
        drain=1.0,
        memory="1GiB",
        admin=True,
        state=Path("s"),
    )
    assert all(getattr(wished, field) != getattr(ServeSettings(), field) for field in ServeSettings.__struct_fields__)
    context = FOUND["serve"].make_context("serve", as_options(wished))
    assert ServeSettings(**{field: context.params[field] for field in ServeSettings.__struct_fields__}) == wished


def test_the_contract_names_every_package_that_the_command_line_may_not_import() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [
        one for one in contracts if "legion.cli" in one.get("source_modules", ()) and "Every use" in one["name"]
    ]
    source = ROOT / "src" / "legion"
    there = {
        f"legion.{path.stem}" for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    allowed = {f"legion.{name}" for name in ("__init__", "api", "settings", "errors", "cli", "mlflow_deployments")}
    assert set(contract["forbidden_modules"]) == there - allowed
