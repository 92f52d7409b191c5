"""Tables of one model: cut into rows, put together again, and which of them may be."""

from __future__ import annotations

import numpy as np

from legion.interface.table import Table, alike, concatenate

NAMES = ("a", "b")


def test_rows_blocks_and_objects_come_apart_and_together() -> None:
    rows = Table(NAMES, 2, rows=[(1.0, 2.0), (3.0, 4.0)])
    assert concatenate(rows.pieces()).rows == rows.rows
    block = Table(NAMES, 2, block=np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(concatenate(block.pieces()).block, block.block)
    objects = Table(None, 2, objects=[{"a": 1}, {"b": 2}])
    assert concatenate(objects.pieces()).objects == objects.objects


def test_nobody_s_numbers_are_narrowed_to_another_s() -> None:
    narrow = Table(NAMES, 1, block=np.array([[1, 2]], dtype="float32"))
    wide = Table(NAMES, 1, block=np.array([[0.1, 1e300]]))
    rows = Table(NAMES, 1, rows=[(0.1, None)])
    for order in ([narrow, wide, rows], [rows, narrow, wide], [narrow, rows, wide]):
        merged = concatenate(order).block
        assert merged is not None
        at = order.index(wide)
        assert merged[at].tolist() == [0.1, 1e300]
        assert merged[order.index(rows)][0] == 0.1
        assert np.isnan(merged[order.index(rows)][1])


def test_only_like_is_put_with_like() -> None:
    rows = Table(NAMES, 1, rows=[(1.0, 2.0)])
    assert alike(rows, Table(NAMES, 1, block=np.zeros((1, 2))))
    assert not alike(rows, Table(("b", "a"), 1, rows=[(1.0, 2.0)]))
    assert not alike(rows, Table(NAMES, 1, objects=[{}]))
    assert not alike(rows, Table(NAMES, 1, rows=[(1.0, None)], mergeable=False))
