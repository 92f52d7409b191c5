"""`legion inspect`, `legion verify` and `legion unpack`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from legion import api
from legion.cli import options
from legion.cli.json_output import print_json
from legion.cli.progress import TERMINAL
from legion.errors import RefusedError

_ARTIFACT = click.argument("artifact", type=click.Path(path_type=Path))


@click.command()
@_ARTIFACT
@options.as_json
def inspect(artifact: Path, as_json: bool) -> None:
    """Show the description of ARTIFACT. Nothing is unpacked or run."""
    opened = api.artifacts.inspect(artifact)
    if as_json:
        print_json(
            {
                "path": opened.path,
                "digest": opened.digest,
                "manifest": api.artifacts.manifest_of(opened),
                "members": opened.members,
            }
        )
        return
    manifest = opened.manifest
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


@click.command()
@_ARTIFACT
@options.as_json
def verify(artifact: Path, as_json: bool) -> None:
    """Check that ARTIFACT is complete and safe: every record, every byte's checksum, the manifest.

    Exit code 0 if it is, 1 if it is not.
    """
    try:
        opened = api.artifacts.verify(artifact, progress=TERMINAL)
    except RefusedError as error:
        if as_json:
            print_json({"path": artifact, "ok": False, "error": str(error)})
        raise
    if as_json:
        print_json({"path": artifact, "ok": True, "digest": opened.digest, "members": len(opened.members)})
        return
    click.echo(f"{artifact} is complete: {_files(opened)}, {opened.digest}")


@click.command()
@_ARTIFACT
@click.argument("folder", type=click.Path(path_type=Path))
def unpack(artifact: Path, folder: Path) -> None:
    """Unpack ARTIFACT into FOLDER, which must be new or empty. Either all of it is written or nothing."""
    click.echo(f"{folder}: {_files(api.artifacts.unpack(artifact, folder, progress=TERMINAL))}")


def _row(label: str, value: str) -> None:
    click.echo(f"{label:<13} {value}")


def _files(artifact: api.artifacts.Artifact) -> str:
    return f"{len(artifact.members):,} files, {artifact.size:,} bytes"
