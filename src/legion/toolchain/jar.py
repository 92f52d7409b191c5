"""A model in a JAR as an artifact: the JAR, a manifest, and the golden answers that running it gave."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path

from legion.artifact import jvm_options
from legion.artifact import manifest as manifests
from legion.artifact.manifest import Binaries, Manifest, Model, Toolchain
from legion.artifact.plan import plan_for
from legion.environment import java
from legion.errors import ArchiveError
from legion.replica import ask
from legion.signature import Signature
from legion.toolchain.examples import Request, example_requests
from legion.toolchain.export import Exported, Packing, Say, Wish, destination, portable_name, write
from legion.toolchain.recording import read_examples, record

_TIMEOUT = 300.0
_MANIFEST = "META-INF/MANIFEST.MF"
_LONGEST_MANIFEST = 1 << 16


def make_from_jar(
    jar: Path,
    wish: Wish,
    *,
    examples: Path | None,
    options: tuple[str, ...],
    say: Say,
    packing: Packing | None = None,
) -> Exported:
    """Pack the JAR; `examples` holds the golden requests, else they are drawn from what the model says of itself.

    `options` go to the Java virtual machine. Raises ArchiveError for a file that is no JAR, UsageError for examples
    that cannot be read or that the model refuses, ManifestError, MissingExtraError, WorkerError where the model does
    not load.
    """
    python = java.interpreter(wish.env)
    requests = None if examples is None else read_examples(examples)
    manifest = _manifest(jar, wish, options)
    with tempfile.TemporaryDirectory(prefix="legion-jar-") as scratch:
        tree = Path(scratch)
        shutil.copyfile(jar, tree / manifest.model.entrypoint)
        (tree / manifests.FILE_NAME).write_bytes(manifests.render(manifest))
        plan = plan_for(tree, manifest, reference=True)
        if requests is None:
            report, _ = ask(plan, python, [], timeout=_TIMEOUT)
            requests = _told(report.signature) if report.signature.inputs else []
        if not requests:
            say("the model does not say what it takes, so the artifact holds no golden answers; give --golden FILE")
        count = record(tree, plan, python, requests, examples, say)
        out = destination(wish.out, manifest)
        return Exported(out, write(tree, manifest, out, packing), manifest, count)


def _told(signature: Signature) -> list[Request]:
    """The model's own example, where every column has one, and rows drawn from the columns' types."""
    drawn = example_requests(Path("/nonexistent"), signature)
    if any(field.example is None for field in signature.inputs):
        return drawn
    names = [field.name for field in signature.inputs]
    row = [field.example for field in signature.inputs]
    return [{"dataframe_split": {"columns": names, "data": [row]}}, *drawn]


def _manifest(jar: Path, wish: Wish, options: tuple[str, ...]) -> Manifest:
    # One that cannot be in the manifest is told before anything is run.
    further = {"jvm_options": list(jvm_options.parse(options, "--jvm-option"))} if options else {}
    version = wish.version or f"1.0.0-{_suffix(jar)}"
    name = wish.name or portable_name(jar.stem)
    return Manifest(
        model=Model(name=name, version=version, entrypoint=f"{portable_name(jar.stem)}.jar"),
        toolchain=Toolchain("java", _built_by(jar)),
        binaries=Binaries(type="java", further=further),
    )


def _suffix(jar: Path) -> str:
    with jar.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


def _built_by(jar: Path) -> str:
    """The version of the Java that made the JAR, by its own manifest. Raises ArchiveError where it is no JAR."""
    try:
        with zipfile.ZipFile(jar) as archive, archive.open(_MANIFEST) as file:
            text = file.read(_LONGEST_MANIFEST).decode("utf-8", "replace")
    except KeyError:
        return "unknown"
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"{jar} is no JAR ({error}); give the file that jar or your build tool made") from None
    lines = (line.partition(":") for line in text.splitlines())
    fields = {key.strip().lower(): value.strip() for key, _, value in lines}
    found = (fields.get("build-jdk") or fields.get("created-by") or "unknown").split()
    return found[0] if found and found[0].replace(".", "").replace("_", "").isalnum() else "unknown"
