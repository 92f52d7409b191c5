"""conda packages chosen and put into a folder by rattler. Imported only where rattler is there."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rattler import (
    ChannelPriority,
    Client,
    Gateway,
    InstallerReporter,
    MatchSpec,
    RepoDataRecord,
    VirtualPackage,
    VirtualPackageOverrides,
    exceptions,
    install,
    solve,
)

from legion.disk import durable
from legion.documents.redaction import redacted
from legion.environment.channels import addresses
from legion.environment.discovery import OLDEST
from legion.environment.uv_command import Say
from legion.errors import EnvironmentBuildError, EnvironmentRefused

EXPLICIT = "legion-conda-explicit.txt"
_SOLVING = timedelta(minutes=15)
_LONGEST = 600
_CHOOSING = (exceptions.SolverError,)
_READING = (exceptions.GatewayError, exceptions.FetchRepoDataError, exceptions.IoError, exceptions.InvalidChannelError)
_INSTALLING = (
    exceptions.InstallerError,
    exceptions.LinkError,
    exceptions.ExtractError,
    exceptions.TransactionError,
    exceptions.IoError,
)


def install_packages(
    wanted: Sequence[str], channels: Sequence[str], folder: Path, *, cache: Path, say: Say
) -> tuple[str, ...]:
    """Choose what satisfies `wanted` and put it into `folder`; returns `name=version=build` of each package.

    `channels` are URLs, the most important first; a package is taken from the first that has it at all, as conda
    does in strict priority. Downloads are kept in `cache`. The list of what was installed is in `folder` under
    EXPLICIT. No script of a package is run. Raises EnvironmentRefused for a requirement that is none,
    EnvironmentBuildError where the packages cannot be had.
    """
    specs = [_match_spec(text) for text in wanted]
    records = asyncio.run(_installed(specs, channels, folder, cache, say))
    _write_explicit(records, folder)
    _forget_credentials(folder)
    return tuple(sorted(map(_named, records)))


def _match_spec(text: str) -> MatchSpec:
    """One of conda's requirements, its channel as an address. Raises EnvironmentRefused."""
    channel, separator, rest = text.rpartition("::")
    if separator:
        found = addresses(channel)
        if not found:
            raise EnvironmentRefused(
                f"{text} names no channel; write the package's name alone in the model's conda.yaml"
            )
        rest = f"{found[0]}::{rest}"
    try:
        return MatchSpec(rest)
    except exceptions.InvalidMatchSpecError as error:
        raise EnvironmentRefused(
            f"{redacted(text)} is no requirement of conda ({_line(error)}); correct the model's conda.yaml"
        ) from None


def _name_alone(spec: MatchSpec) -> MatchSpec:
    """The requirement without its version and build; with its channel, if it names one."""
    name = spec.name.as_package_name()
    if name is None:
        raise EnvironmentRefused(f"{spec} is a pattern; name the package in the model's conda.yaml")
    return MatchSpec(name.normalized if spec.channel is None else f"{spec.channel.base_url}::{name.normalized}")


async def _installed(
    specs: list[MatchSpec], channels: Sequence[str], folder: Path, cache: Path, say: Say
) -> list[RepoDataRecord]:
    further = [found.base_url for spec in specs if (found := spec.channel) is not None]
    client = Client.default_client()
    say(f"conda: choosing packages from {', '.join(map(redacted, channels))}")
    # rattler looks at no record that a requirement rules out, so with its version a package would be taken from a
    # later channel than the first that has it: the name is required, and the rest holds as a constraint.
    named = [_name_alone(spec) for spec in specs]
    try:
        records = await solve(
            list(dict.fromkeys([*channels, *further])),
            named,
            gateway=Gateway(cache_dir=cache / "repodata", client=client),
            # What the machine itself has (glibc, CUDA's driver), unless CONDA_OVERRIDE_… says otherwise.
            virtual_packages=VirtualPackage.detect(VirtualPackageOverrides.from_env()),
            channel_priority=ChannelPriority.Strict,
            constraints=[*specs, MatchSpec(f"python >={OLDEST}")],
            timeout=_SOLVING,
        )
    except _CHOOSING as error:
        raise EnvironmentBuildError(
            f"conda's packages cannot be chosen: {_line(error)}; correct the packages or the channels in the "
            f"model's conda.yaml"
        ) from None
    except _READING as error:
        raise EnvironmentBuildError(
            f"a conda channel cannot be read: {_line(error)}; check the channels in the model's conda.yaml and "
            f"your access to them"
        ) from None
    say(f"conda: {len(records)} package{'' if len(records) == 1 else 's'} chosen")
    _check_local(records)
    try:
        await install(
            records,
            target_prefix=folder,
            cache_dir=cache / "packages",
            client=client,
            # They would run with this user's rights before anybody asked the model anything.
            execute_link_scripts=False,
            reporter=_Progress(asyncio.get_running_loop(), say),  # type: ignore[abstract]
        )
    except _INSTALLING as error:
        raise EnvironmentBuildError(
            f"conda's packages cannot be installed: {_line(error)}; try again, and if it stays so, ask whoever "
            f"keeps the channel"
        ) from None
    return records


def _check_local(records: Sequence[RepoDataRecord]) -> None:
    """Hold the packages of local channels against the hashes in their index; rattler does it for the others."""
    for record in records:
        address = urlsplit(record.url)
        if address.scheme != "file" or record.sha256 is None:
            continue
        with Path(url2pathname(address.path)).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        if found != record.sha256:
            raise EnvironmentBuildError(
                f"conda's packages cannot be installed: {record.file_name} is not the file that its channel's index "
                f"names; ask whoever keeps the channel"
            )


class _Progress(InstallerReporter):
    """Says which packages are fetched and when all are in place; those that the cache holds are not mentioned.

    rattler calls from threads of its own, so each line is handed to `loop`, where `say` is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Say) -> None:
        super().__init__()
        self._loop = loop
        self._say = say
        self._names: list[str] = []

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        """A package is looked for in the cache; the token is its place in the list of names."""
        self._names.append(package_name)
        return len(self._names) - 1

    def on_download_start(self, cache_entry: int) -> int:
        """It was not there."""
        self._loop.call_soon_threadsafe(self._say, f"conda: fetching {self._names[cache_entry]}")
        return cache_entry

    def on_transaction_complete(self) -> None:
        """All packages are in place."""
        self._loop.call_soon_threadsafe(self._say, "conda: packages installed")


def _line(error: Exception) -> str:
    """What a library said, as one line without credentials and drawing."""
    text = redacted(" ".join(re.sub(r"[│├└─╰▶×]", " ", str(error)).split())).rstrip(".;:")
    text = text.removeprefix("Cannot solve the request because of: ").replace(" Caused by:", ":")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _named(record: RepoDataRecord) -> str:
    return f"{record.name.normalized}={record.version}={record.build}"


def _write_explicit(records: Sequence[RepoDataRecord], folder: Path) -> None:
    """The list of what was installed, in the explicit format that conda reads: URLs with their hashes."""
    subdir = next((record.subdir for record in records if record.subdir != "noarch"), "noarch")
    lines = ["# conda create --file reads this list", f"# platform: {subdir}", "@EXPLICIT"]
    for record in sorted(records, key=_named):
        digest = f"sha256:{record.sha256.hex()}" if record.sha256 else record.md5.hex() if record.md5 else ""
        lines.append(redacted(record.url) + (f"#{digest}" if digest else ""))
    with durable.new_file(folder / EXPLICIT) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def _forget_credentials(folder: Path) -> None:
    """Take tokens and passwords of channels out of what the installer noted about each package."""
    for path in (folder / "conda-meta").iterdir():
        if not path.is_file():
            continue
        noted = path.read_text(encoding="utf-8", errors="surrogateescape")
        if (clean := redacted(noted)) != noted:
            with durable.new_file(path) as file:
                file.write(clean.encode("utf-8", errors="surrogateescape"))
