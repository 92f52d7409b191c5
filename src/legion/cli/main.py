"""The command line: one table of commands, each loaded when it is used, and one place where errors are printed."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from legion import __version__
from legion.errors import LegionError, OutsideError, RefusedError, UsageError

# Command → where it is and its line in the help: `legion --help` imports none of them.
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("legion.cli.train:train", "Run an MLflow Project and pack the model it logs."),
    "pack": ("legion.cli.pack:pack", "Pack a model into one portable file."),
    "inspect": ("legion.cli.artifact:inspect", "Show an artifact's description."),
    "verify": ("legion.cli.artifact:verify", "Check that an artifact is complete and safe."),
    "unpack": ("legion.cli.artifact:unpack", "Unpack an artifact into a folder."),
    "register": ("legion.cli.register:register", "Register an artifact, without creating a run."),
    "up": ("legion.cli.up:up", "Start MLflow's server and a gateway together."),
    "models": ("legion.cli.models:models", "List, show, promote, roll back, pull and delete registered models."),
    "serve": ("legion.cli.serve:serve", "Serve one or several models over HTTP."),
    "predict": ("legion.cli.predict:predict", "Predict a file: csv, jsonl, parquet or arrow."),
    "deploy": ("legion.cli.deploy:deploy", "Deploy models to a running gateway, and manage its deployments."),
    "cache": ("legion.cli.cache:cache", "Show what is in the cache, or free space."),
    "doctor": ("legion.cli.doctor:doctor", "Check this machine: what is missing, and what it would enable."),
}

EXIT_CODES: tuple[tuple[type[LegionError], int], ...] = (
    (RefusedError, 1),
    (UsageError, 2),
    (OutsideError, 3),
)


# As a shell reports a program that SIGPIPE ended.
EXIT_READER_GONE = 141


class ReaderGone(Exception):
    """The reader of the output has closed it, as `head` does. click would turn BrokenPipeError into a plain failure."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click does; raises ReaderGone."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            raise ReaderGone from None

    def invoke(self, ctx: click.Context) -> Any:
        """As click does; raises ReaderGone."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="legion")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """From an MLflow project to a served prediction.

    Exit codes: 0 success, 1 refused, 2 invalid usage, 3 something outside Legion failed.
    """


def exit_code(error: LegionError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 3)


def main() -> None:
    """Entry point of the `legion` command."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except LegionError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"legion: {error}", err=True)
        sys.exit(exit_code(error))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Abort:
        click.echo("legion: stopped", err=True)
        sys.exit(130)
    except ReaderGone:
        # What is still in buffers has nowhere to go; flushing it at exit must not fail again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.exit(EXIT_READER_GONE)


if __name__ == "__main__":
    main()
