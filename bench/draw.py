"""Write a big file: draw.py wine ROWS FILE.csv, or draw.py weights MEGABYTES FILE.npy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "wine"))
from wine_data import COLUMNS, draw

_BLOCK = 250_000  # rows in memory at a time


def wine(rows: int, path: Path) -> None:
    """CSV with a header; the same first rows whatever their number."""
    with path.open("w", encoding="utf-8") as file:
        for number, first in enumerate(range(0, rows, _BLOCK)):
            block = draw(number, _BLOCK)[COLUMNS].head(rows - first)
            block.to_csv(file, index=False, header=first == 0)


def weights(megabytes: int, path: Path) -> None:
    """float64 values rounded to 32-bit floats: like weights that were trained in single precision."""
    values = np.random.default_rng(0).standard_normal(megabytes * 1_000_000 // 8, dtype=np.float32)
    np.save(path, values.astype(np.float64))


if __name__ == "__main__":
    what, size, into = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    part = into.with_name(f"part-{into.name}")
    (wine if what == "wine" else weights)(size, part)
    part.replace(into)
