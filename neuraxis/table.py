"""Table: named columns of one length, the value behind every TSV file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuraxis.volume import Array


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one length; numbers are float64 or int64 (NaN is "n/a" in the file), all else is text.

    What a column means and its unit stand in the artifact's row of the glossary.
    """

    columns: dict[str, Array]

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Table:
        """A table of anything numpy can read; whole numbers stay whole, None becomes NaN."""
        made = {name: _column(values) for name, values in columns.items()}
        if len({len(values) for values in made.values()}) > 1:
            raise ValueError(f"columns of several lengths: { {name: len(v) for name, v in made.items()} }")
        return cls(made)

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Table:
        """A table of rows, with the columns of the first; empty without rows."""
        return cls.of({name: [row[name] for row in rows] for name in (rows[0] if rows else ())})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dictionary per row, of plain Python values."""
        for number in range(len(self)):
            yield {name: values[number].item() for name, values in self.columns.items()}

    def where(self, chosen: Array) -> Table:
        """The rows that a mask or an index array chooses."""
        return Table({name: values[chosen] for name, values in self.columns.items()})


def cell(value: Any, digits: int = 7, *, whole: bool = True) -> str:
    """A value as it stands in a TSV file: n/a for none, `digits` significant ones, no tab or line break.

    With `whole`, whole numbers up to 1e15 keep all their digits.
    """
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if whole and value.is_integer() and abs(value) < 1e15 else f"{value:.{digits}g}"
    return "n/a" if value is None or isinstance(value, float) else " ".join(str(value).split()) or "n/a"


def _column(values: Any) -> Array:
    found = (
        np.asarray([np.nan if value is None else value for value in values])
        if not isinstance(values, np.ndarray)
        else values
    )
    if found.ndim != 1:
        raise ValueError(f"a column has one dimension, not {found.ndim}")
    if found.dtype == bool or np.issubdtype(found.dtype, np.integer):
        return found.astype(np.int64)
    if np.issubdtype(found.dtype, np.floating):
        return found.astype(np.float64)
    return found.astype(str)
