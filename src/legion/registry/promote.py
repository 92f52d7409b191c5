"""Promotion: an alias or a stage moves to a version whose golden check has passed."""

from __future__ import annotations

import datetime
import os
import platform
import pwd

import msgspec

from legion.errors import RefusedError, UsageError
from legion.registry import aliases, stages, tags
from legion.registry.client import answering, connect
from legion.registry.contention import patiently
from legion.registry.store import RegisteredVersion, check_names, registered
from legion.registry.versions import checked_number


class Moved(msgspec.Struct, frozen=True):
    """What was moved: exactly one of `alias` and `stage` is set. `before` is the version that an alias pointed to,
    None where it is new or a stage; `forced` is the record where the check was passed over."""

    version: RegisteredVersion
    alias: str | None = None
    stage: str | None = None
    before: str | None = None
    forced: str | None = None


def promote(
    name: str,
    version: str,
    *,
    alias: str | None = None,
    stage: str | None = None,
    forced: str | None = None,
    tracking_uri: str | None = None,
) -> Moved:
    """Point `alias` at a version, or put it into `stage` (which the version in Staging or Production before leaves).

    `forced` is the reason to pass over the golden check; it is recorded with who and when. Raises RefusedError for a
    version that has not passed, UsageError unless one of alias and stage is given, RegistryError.
    """
    if (alias is None) == (stage is None):
        raise UsageError("a version is promoted to an alias or to a stage; give one of --alias and --stage")
    check_names(name, alias, stage)
    number = checked_number(version)
    client = connect(tracking_uri)
    with answering(f"{name} version {number} could not be promoted"):
        found = registered(client.get_model_version(name, number))
        record = None
        if not tags.has_passed(found.golden):
            if forced is None:
                raise RefusedError(f"{name} version {number} {_lacks(found.golden)}")
            record = _record(forced)
            patiently(lambda: client.set_registered_model_tag(name, tags.FORCED + number, record))
        before = None
        if alias is not None:
            before = aliases.move(client, name, alias, number)
        elif stage is not None:
            stages.move(client, name, stage, number)
        now = registered(client.get_model_version(name, number))
    return Moved(now, alias, stage, None if before == number else before, record)


def _lacks(golden: str | None) -> str:
    if golden is None:
        return "has not been checked against its golden answers; check it first, or force it with a reason"
    if golden == tags.NO_GOLDEN:
        return (
            "has no golden answers to check; log the model with an input example and register it again, or force it "
            "with a reason"
        )
    return f"has not passed its golden check ({golden}); correct the model, or force it with a reason"


def _record(reason: str) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        who = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # Containers run under numbers without names.
        who = str(os.getuid())
    return f"{who}@{platform.node()}, {now}: {reason}"[:2000]
