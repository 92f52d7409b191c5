"""The tags that Legion writes in the registry. docs/registry.md lists them for users."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from legion.artifact.archive import Artifact
from legion.artifact.manifest import as_tree
from legion.environment.spec import read_spec
from legion.errors import EnvironmentRefused, UsageError
from legion.registry import content

# On a model version.
DIGEST = "legion.digest"
CONTENT = "legion.content"
VERSION = "legion.version"
MANIFEST = "legion.manifest"
TOOLCHAIN = "legion.toolchain"
ENVIRONMENT = "legion.environment"
GOLDEN = "legion.golden"
REFUSED = "legion.refused"
# On a registered model; the alias, or the version, follows.
PREVIOUS = "legion.previous."
FORCED = "legion.forced."

NO_GOLDEN = "none"
# MLflow's own bound for a tag's value on a logged model, the lower of the two.
_LONGEST = 8000


def passed(rows: int) -> str:
    """The golden state of a version that gave all its golden answers; `rows` counts them."""
    return f"passed {rows}"


def failed(reason: str) -> str:
    """The golden state of a version that did not."""
    return f"failed: {reason}"[:_LONGEST]


def has_passed(golden: str | None) -> bool:
    """Whether a golden state says that the check was run and passed."""
    return golden is not None and golden.split(" ")[0] == "passed"


def describe(artifact: Artifact, tree: Path, golden: str | None) -> dict[str, str]:
    """The tags of a version made from `artifact`, which is unpacked at `tree`.

    A manifest that is too long for a tag is left out, and so is an environment that cannot be read (java, or an
    image's): neither is needed to serve the version. Raises UsageError for a golden state that is none.
    """
    manifest = artifact.manifest
    tags = {
        DIGEST: artifact.digest,
        CONTENT: content.hash_of(tree),
        VERSION: manifest.model.version,
        TOOLCHAIN: f"{manifest.toolchain.name} {manifest.toolchain.version}",
    }
    described = msgspec.json.encode(as_tree(manifest)).decode()
    if len(described) <= _LONGEST:
        tags[MANIFEST] = described
    if manifest.binaries.type == "python" and manifest.binaries.dependencies == "conda":
        with contextlib.suppress(EnvironmentRefused):
            tags[ENVIRONMENT] = read_spec(tree, manifest.binaries.conda_path).hash
    if golden is not None:
        tags[GOLDEN] = checked_golden(golden)
    return tags


def checked_golden(golden: str) -> str:
    """A golden state that may be written. Raises UsageError for any other text."""
    if golden == NO_GOLDEN or golden.startswith("failed: ") or golden.removeprefix("passed ").isdigit():
        return golden[:_LONGEST]
    raise UsageError(f"{golden!r} is no golden state; give 'passed <rows>', 'none' or 'failed: <reason>'")
