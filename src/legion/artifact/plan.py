"""From an unpacked artifact, or a plain MLflow model folder, to the plan its worker gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legion.artifact import jvm_options
from legion.artifact.manifest import Manifest
from legion.artifact.mlmodel import read_mlmodel
from legion.errors import ArchiveError
from legion.signature import Signature
from legion.wire import Plan

GOLDEN = "legion.golden.json"
# What a worker may compute a linear model from without loading it.
LINEAR = "legion.linear.json"


def plan_for(folder: Path, manifest: Manifest, *, reference: bool = False) -> Plan:
    """The plan for an artifact unpacked at `folder`; with `reference` no shortcut is taken.

    Raises ArchiveError where the manifest points at what is not there, ManifestError for an MLmodel file with faults
    and for options of a Java virtual machine that are not allowed.
    """
    workdir = folder / manifest.model.work_dir
    if not workdir.is_dir():
        raise ArchiveError(
            f"model.workDir is {manifest.model.work_dir!r} and the artifact has no such folder; correct it"
        )
    flavors: dict[str, Any] = {}
    signature = Signature()
    is_java = manifest.binaries.type == "java"
    interface = "pyfunc" if manifest.toolchain.further.get("interface") == "pyfunc" else "gppi"
    interface = "gjpi" if is_java else interface
    if interface == "pyfunc":
        described = read_mlmodel(workdir)
        flavors, signature = described.flavors, described.signature
    golden = GOLDEN if (folder / GOLDEN).is_file() else None
    linear = folder / LINEAR
    return Plan(
        name=manifest.model.name,
        version=manifest.model.version,
        folder=str(workdir if interface == "pyfunc" else folder),
        interface=interface,
        workdir=manifest.model.work_dir,
        entrypoint=manifest.model.entrypoint,
        signature=signature,
        flavors=flavors,
        golden=None if golden is None else str(folder / golden),
        reference=reference,
        linear=str(linear) if interface == "pyfunc" and linear.is_file() else None,
        jvm_options=jvm_options.parse(manifest.binaries.further.get("jvm_options")) if is_java else (),
    )
