"""A command's help comes at once: what only its work needs is not loaded for it."""

from __future__ import annotations

import subprocess
import sys

from legion.cli.main import COMMANDS

HEAVY = {"asyncio", "grpc", "isal", "mlflow", "numpy", "pandas", "rich", "starlette", "uvicorn", "yaml"}
# What the command line is made of; the settings of servers hold the defaults of their options.
LIGHT = {
    "legion",
    "legion.api",
    "legion.api.progress",
    "legion.api.serve_settings",
    "legion.api.sizes",
    "legion.api.stack_settings",
    "legion.disk",
    "legion.disk.sizes",
    "legion.errors",
    "legion.logs",
    "legion.settings",
}


def test_the_commands_are_loaded_without_what_they_do() -> None:
    modules = sorted({where.partition(":")[0] for where, _ in COMMANDS.values()})
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & HEAVY
    ours = {name for name in loaded if name.partition(".")[0] == "legion" and not name.startswith("legion.cli")}
    assert ours <= LIGHT


def test_the_list_of_commands_loads_none_of_them() -> None:
    code = (
        "import sys; sys.argv = ['legion', '--help']; from legion.cli.main import cli; "
        "cli.main(standalone_mode=False); print(*[name for name in sys.modules if name.startswith('legion')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) == {"legion", "legion.cli", "legion.cli.main", "legion.errors"}
