"""Every error Legion raises on purpose.

    LegionError
    ├── UsageError                what was asked for cannot be meant            (exit code 2)
    │   ├── ModelReferenceError        a model reference that cannot be read
    │   └── MissingExtraError     an optional part of Legion is not installed
    ├── RefusedError              the answer is no                              (exit code 1)
    │   ├── ManifestError         a manifest with faults, all of them at once
    │   ├── ArchiveError          a file that is no artifact, or an unsafe one
    │   ├── VerificationError     a digest or a golden answer that does not match
    │   ├── EnvironmentRefused    requirements that may not or cannot be installed
    │   ├── InputError            a request that the model's signature refuses
    │   └── GatewayRefused        a gateway whose answer is no
    └── OutsideError              something outside Legion failed               (exit code 3)
        ├── EnvironmentBuildError
        ├── TrainingError
        ├── RegistryError
        ├── GatewayError          a gateway that cannot be reached, or failed
        └── WorkerError           a model's process could not start, or ended

The message is one sentence that says what to do. No HTTP and no command line in here: each border
maps these to its own terms once.
"""

from __future__ import annotations

from typing import Collection, NamedTuple, Optional


class LegionError(Exception):
    """Root of the tree; `str(error)` is the sentence for the user."""


class UsageError(LegionError):
    """What was asked for cannot be meant."""


class ModelReferenceError(UsageError):
    """A model reference that cannot be read."""


class MissingExtraError(UsageError):
    """An optional part of Legion is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional part: run pip install 'legion-ml[{extra}]'")
        self.extra = extra


class RefusedError(LegionError):
    """The answer is no."""


class Fault(NamedTuple):
    """One thing wrong in a file: the field's path (`model.version`) and what is wrong with it."""

    path: str
    message: str


class ManifestError(RefusedError):
    """A manifest, or another file of a model, with faults: `faults` holds all of them, or a first few where they
    are many, and then their number."""

    def __init__(self, source: str, faults: Collection[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        lines = "".join(f"\n  {fault.path}: {fault.message}" for fault in self.faults)
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{source} has {count}; correct it and pack again:{lines}")


class ArchiveError(RefusedError):
    """A file that is no artifact, or an unsafe one; `member` names the entry at fault, if one is."""

    def __init__(self, message: str, member: Optional[str] = None) -> None:
        super().__init__(message)
        self.member = member


class VerificationError(RefusedError):
    """A digest or a golden answer that does not match."""


class EnvironmentRefused(RefusedError):
    """Requirements that may not or cannot be installed."""


class InputError(RefusedError):
    """A request that the model's signature refuses. Rows count from 0.

    `kind` is `"syntax"` where the body cannot be read, `"signature"` where it was read and does not fit,
    `"media-type"` where the content type is not one that is read here.
    """

    def __init__(
        self,
        message: str,
        *,
        row: Optional[int] = None,
        column: Optional[str] = None,
        kind: str = "signature",
    ) -> None:
        super().__init__(message)
        self.row = row
        self.column = column
        self.kind = kind


class GatewayRefused(RefusedError):
    """A gateway's answer is no; `status` is the HTTP status (401, 403, 404, 409 …)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OutsideError(LegionError):
    """Something outside Legion failed."""


class EnvironmentBuildError(OutsideError):
    """A model's environment could not be made."""


class TrainingError(OutsideError):
    """A training run failed, or left no model."""


class RegistryError(OutsideError):
    """The registry or its store did not answer as it should."""


class GatewayError(OutsideError):
    """A gateway cannot be reached, or failed; `status` is what it answered, None where it did not answer.

    429, 503 and 504 pass: the same call may be made again later.
    """

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status


class WorkerError(OutsideError):
    """A model's process could not start, or ended."""
