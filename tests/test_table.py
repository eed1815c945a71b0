"""Values as they stand in TSV files."""

from __future__ import annotations

import math

import pytest

from neuraxis.table import Table, cell


@pytest.mark.parametrize(
    ("value", "wide", "narrow"),
    [
        (math.pi, "3.141593", "3.14159"),
        (12345678.0, "12345678", "1.23457e+07"),
        (-2.0, "-2", "-2"),
        (7, "7", "7"),
        (math.nan, "n/a", "n/a"),
        (-math.inf, "n/a", "n/a"),
        (None, "n/a", "n/a"),
        ("", "n/a", "n/a"),
        (" a\tb\nc ", "a b c", "a b c"),
    ],
)
def test_a_cell_is_one_line_with_so_many_digits(value, wide, narrow):
    assert cell(value) == wide and cell(value, 6, whole=False) == narrow


def test_rows_and_columns_are_one():
    rows = [{"a": 1, "b": "x", "c": None}, {"a": 2, "b": "y", "c": 0.5}]
    table = Table.of_rows(rows)
    assert table["a"].tolist() == [1, 2] and table["b"].tolist() == ["x", "y"] and math.isnan(table["c"][0]) and table["c"][1] == 0.5
    assert [row["b"] for row in Table.of_rows(list(table.rows())).rows()] == ["x", "y"]
    assert len(Table.of_rows([])) == 0
