"""A model's folder is the same after it was imported from."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def test_modules_of_the_folder_leave_no_bytecode_and_others_do(tmp_path: Path) -> None:
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    (model / "package").mkdir(parents=True)
    elsewhere.mkdir()
    (model / "first.py").write_text("from package.inner import value\nimport outer\n")
    (model / "package" / "__init__.py").write_text("")
    (model / "package" / "inner.py").write_text("value = 42\n")
    (elsewhere / "outer.py").write_text("")
    script = f"""
        import sys
        from pathlib import Path
        sys.dont_write_bytecode = False
        from legion.worker.read_only import import_without_writing
        import_without_writing(Path({str(model)!r}))
        sys.path[:0] = [{str(model)!r}, {str(elsewhere)!r}]
        import first
        print(first.value, first.__file__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["42", str(model / "first.py")]
    assert not list(model.rglob("__pycache__"))
    assert list(elsewhere.rglob("*.pyc"))
