"""`legion inspect`, `legion verify` and `legion unpack`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from legion.artifact import archive, golden
from legion.artifact.manifest import as_tree
from legion.cli import progress
from legion.errors import RefusedError

_ARTIFACT = click.argument("artifact", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def _row(label: str, value: str) -> None:
    click.echo(f"{label:<13} {value}")


def _files(artifact: archive.Artifact) -> str:
    return f"{len(artifact.members):,} files, {artifact.size:,} bytes"


@click.command()
@_ARTIFACT
@_JSON
def inspect(artifact: Path, as_json: bool) -> None:
    """Show what ARTIFACT says of itself. Nothing is unpacked or run."""
    opened = archive.open_artifact(artifact)
    manifest = opened.manifest
    if as_json:
        _print_json(
            {
                "path": str(opened.path),
                "digest": opened.digest,
                "manifest": as_tree(manifest),
                "members": opened.members,
            }
        )
        return
    _row("model", f"{manifest.model.name} {manifest.model.version}")
    _row("digest", opened.digest)
    _row("type", f"{manifest.binaries.type}, dependencies by {manifest.binaries.dependencies}")
    _row("environment", manifest.binaries.conda_path or "none")
    _row("entry point", f"{manifest.model.entrypoint} in {manifest.model.work_dir}")
    _row("made by", f"{manifest.toolchain.name} {manifest.toolchain.version}")
    for key, value in manifest.output.items():
        _row(key, value if isinstance(value, str) else msgspec.json.encode(value).decode())
    _row("content", _files(opened))
    for member in opened.members:
        click.echo(f"{member.size:>15,}  {member.name}")


def _check(artifact: Path) -> archive.Artifact:
    opened = archive.open_artifact(artifact)
    with progress.bar("verifying", opened.size) as advance:
        archive.verify(opened, advance=advance)
    if any(member.name == golden.FILE_NAME for member in opened.members):
        golden.parse(opened.read(golden.FILE_NAME))
    return opened


@click.command()
@_ARTIFACT
@_JSON
def verify(artifact: Path, as_json: bool) -> None:
    """Check that ARTIFACT is whole and safe: every record, every byte's checksum, the manifest.

    Exit code 0 if it is, 1 if it is not.
    """
    try:
        opened = _check(artifact)
    except RefusedError as error:
        if as_json:
            _print_json({"path": str(artifact), "ok": False, "error": str(error)})
        raise
    if as_json:
        _print_json({"path": str(artifact), "ok": True, "digest": opened.digest, "members": len(opened.members)})
        return
    click.echo(f"{artifact} is whole: {_files(opened)}, {opened.digest}")


@click.command()
@_ARTIFACT
@click.argument("folder", type=click.Path(path_type=Path))
def unpack(artifact: Path, folder: Path) -> None:
    """Unpack ARTIFACT into FOLDER, which must be new or empty. It is there whole or not at all."""
    opened = archive.open_artifact(artifact)
    with progress.bar("unpacking", opened.size) as advance:
        archive.unpack(opened, folder, advance=advance)
    click.echo(f"{folder}: {_files(opened)}")
