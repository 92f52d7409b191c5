"""The golden check: a worker in the model's own environment gives the recorded answers, or the model is refused."""

from __future__ import annotations

from pathlib import Path

from legion.artifact import golden
from legion.artifact.archive import Artifact, unpacked
from legion.environment import java
from legion.environment.interpreter import is_made
from legion.environment.spec import read_spec
from legion.provision.resolve import Resolved, Say, resolve
from legion.registry import tags
from legion.replica import ask


def check(text: str, *, env: str, cache: Path, say: Say, digest: str | None = None) -> str:
    """Start the model that `text` means and let it prove itself: `passed <rows>`, or `none` without golden answers.

    A plain MLflow model is packed for it, which records its answers by the reference path. Raises VerificationError
    where the answers differ, WorkerError where the model does not load, and what `resolve` raises.
    """
    return _checked(resolve(text, env=env, cache=cache, say=say, digest=digest), say)


def check_artifact(artifact: Artifact, *, env: str, cache: Path, say: Say) -> str:
    """The same for an artifact; nothing is started where it has no golden answers."""
    if not _has_golden(artifact):
        return tags.NO_GOLDEN
    return _checked(resolve(str(artifact.path.absolute()), env=env, cache=cache, say=say), say)


def can_check(artifact: Artifact, *, env: str, cache: Path) -> bool:
    """Whether a check needs nothing that is not here: no golden answers, or their environment is made already.

    Raises EnvironmentRefused where the artifact's environment cannot be.
    """
    if not _has_golden(artifact) or env == "local":
        return True
    binaries = artifact.manifest.binaries
    if binaries.type == "java" and binaries.dependencies == "conda":
        return env == "auto" and java.available()
    if binaries.type != "python" or binaries.dependencies != "conda":
        return False
    spec = read_spec(unpacked(artifact, cache), binaries.conda_path)
    return is_made(spec, env, cache=cache)


def _has_golden(artifact: Artifact) -> bool:
    return any(member.name == golden.FILE_NAME for member in artifact.members)


def _checked(found: Resolved, say: Say) -> str:
    if found.plan.golden is None:
        return tags.NO_GOLDEN
    cases = golden.load(Path(found.plan.golden)).cases
    if not cases:
        return tags.NO_GOLDEN
    say("checking the golden answers")
    report, _ = ask(found.plan, found.python, [])
    # Models that read whole requests count no rows.
    return tags.passed(report.golden_rows or len(cases))
