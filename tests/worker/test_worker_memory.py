"""A worker is small again after a large batch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MIB = 1024 * 1024

# Texts that lie between others that stay, as a batch's do: freed, they leave holes that the allocator keeps.
HOLES = """
import json
from pathlib import Path
from legion.worker.memory import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

texts = [bytes(3000) for _ in range(40_000)]
staying = texts[::400]
full = resident()
del texts
freed = resident()
give_back()
print(json.dumps([full, freed, resident()]))
"""

# What a body costs while it is read is a multiple of it, whichever way it is read.
BATCHES = """
import json, sys, types
from pathlib import Path
from legion import wire
from legion.interface.gppi.module import Gppi
from legion.signature import Field, Signature
from legion.worker.batch import Answerer
from legion.worker.memory import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

kind = "long" if sys.argv[1] == "names" else "double"
module = types.ModuleType("entrypoint")
module.init = lambda: "matrix"
module.predict_on_matrix = lambda input_matrix, provided_columns_names: [[1.0]]
model = Answerer(Gppi(module, Signature((Field("a", kind), Field("b", kind)))), merges=False)
size = 4 * 1024 * 1024
KINDS = {
    "blanks": lambda n: (wire.MLFLOW, b'{"dataframe_split":{"data":[[1,' + b" \\n" * (n // 2) + b"2]]}}", None),
    "names": lambda n: (
        wire.MLFLOW, b'{"dataframe_split":{"columns":["a",' + b" " * n + b'"b"],"data":[[1,2]]}}', None),
    "cells": lambda n: (wire.MLFLOW, b'{"dataframe_split":{"data":[[1,"x"]' + b",[1,2]" * (n // 6) + b"]}}", None),
    "csv": lambda n: (wire.MLFLOW, b"a,b\\n" + b"1,\\n" * (n // 3), "text/csv"),
}

def ask(kind, n):
    model.answer([wire.Call(*KINDS[kind](n))])

ask(sys.argv[1], size // 8)
give_back()
before = resident()
for turn in range(3):
    ask(sys.argv[1], size + turn)
give_back()
print(json.dumps([before, resident()]))
"""
KINDS = ("blanks", "names", "cells", "csv")


def levels(script: str, *arguments: str) -> list[int]:
    """What the script measures, in bytes."""
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=True, text=True)
    found: list[int] = json.loads(run.stdout)
    return found


def test_freed_memory_is_given_back() -> None:
    full, freed, given = levels(HOLES)
    assert freed > full - 30 * MIB, "the allocator keeps what is freed"
    assert given < full - 90 * MIB


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_does_not_keep_its_peak(kind: str) -> None:
    before, after = levels(BATCHES, kind)
    assert after < before + 8 * MIB
