"""`legion pack`: a model as one portable file."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from legion.cli import progress
from legion.cli.settings import cache_folder
from legion.reference import parse as parse_reference
from legion.toolchain.export import Exported, Wish
from legion.toolchain.packing import make_artifact


@click.command()
@click.argument("source")
@click.option("--name", help="The artifact's name; else the model's own.")
@click.option("--version", help="Its version, such as 1.0.0-rc1; else one from the model's id.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file, or a folder for NAME-VERSION.zip.")
@click.option("--env", default="auto", show_default=True, help="Where the model is tried: auto, local, uv or conda.")
@click.option("--golden", type=click.Path(path_type=Path), help="Example requests for a JAR or a GPPI folder, as JSON.")
@click.option("--jvm-option", multiple=True, help="For a JAR: an option such as -Xmx512m; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def pack(
    source: str,
    name: str | None,
    version: str | None,
    output: Path | None,
    env: str,
    golden: Path | None,
    jvm_option: tuple[str, ...],
    as_json: bool,
) -> None:
    """Pack SOURCE into one file.

    SOURCE is a folder (an MLflow model, or a model with its own legion.model.yaml), a model's JAR, runs:/ID/PATH or
    models:/NAME@ALIAS.
    """
    made = make_artifact(
        parse_reference(source),
        Wish(name, version, output, env),
        cache=cache_folder(),
        say=progress.say,
        packing=lambda total: progress.bar("packing", total),
        examples=golden,
        options=jvm_option,
    )
    if as_json:
        click.echo(msgspec.json.encode(describe(made)))
        return
    show(made)
    click.echo(f"next: legion serve {made.path}")


def describe(made: Exported) -> dict[str, object]:
    """What was made, as `--json` prints it; `size` is in bytes."""
    model = made.manifest.model
    return {
        "path": str(made.path),
        "digest": made.digest,
        "size": made.path.stat().st_size,
        "name": model.name,
        "version": model.version,
    }


def show(made: Exported) -> None:
    """What was made, for people."""
    model = made.manifest.model
    click.echo(f"packed {model.name} {model.version} into {made.path} ({_size(made.path.stat().st_size)})")
    click.echo(f"digest {made.digest}")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
