"""`binaries.jvm_options`: what a Java model may ask of its virtual machine."""

from __future__ import annotations

import re
from typing import Any

from legion.artifact.manifest import FILE_NAME
from legion.errors import Fault, ManifestError

FIELD = "binaries.jvm_options"
# By name: among a JVM's options are some that run a shell's line (-XX:OnError) or another program's code (-javaagent).
_KNOWN = tuple(
    re.compile(pattern)
    for pattern in (
        r"-Xm[sx]\d{1,9}[kKmMgG]?",
        r"-Xss\d{1,9}[kKmMgG]?",
        r"-XX:(Max|Initial|Min)RAMPercentage=\d{1,3}(\.\d{1,3})?",
        r"-XX:(MaxMetaspaceSize|ReservedCodeCacheSize|MaxDirectMemorySize)=\d{1,9}[kKmMgG]?",
        r"-XX:ActiveProcessorCount=\d{1,4}",
        r"-XX:\+Use(Serial|Parallel|G1|Z|Shenandoah)GC",
        r"-XX:TieredStopAtLevel=[0-4]",
        r"-D[A-Za-z][A-Za-z0-9_.-]{0,127}(=[\w.,:/@+ -]{0,500})?",
        r"--add-modules=[A-Za-z0-9_.,-]{1,500}",
        r"--add-(opens|exports)=[A-Za-z0-9_./]{1,250}=[A-Za-z0-9_.,-]{1,250}",
        r"--enable-native-access=[A-Za-z0-9_.,-]{1,500}",
        r"--enable-preview",
        r"-ea",
    )
)
# They would change what Legion itself gives to the machine.
_OWN = ("-Djava.class.path", "-Djava.system.class.loader", "-Djpype.")


def parse(value: Any, source: str = FILE_NAME) -> tuple[str, ...]:
    """The options as a list of texts; none where the field is missing. Raises ManifestError."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(option, str) for option in value):
        raise ManifestError(source, [Fault(FIELD, "must be a list of texts, such as ['-Xmx512m']")])
    wrong = next((option for option in value if not _allowed(option)), None)
    if wrong is not None:
        known = "-Xmx, -Xms, -Xss, -D, -ea, --add-modules, --add-opens, memory and collector options of -XX"
        raise ManifestError(source, [Fault(FIELD, f"{wrong[:80]!r} is refused; allowed are {known}")])
    return tuple(value)


def _allowed(option: str) -> bool:
    return not option.startswith(_OWN) and any(pattern.fullmatch(option) for pattern in _KNOWN)
