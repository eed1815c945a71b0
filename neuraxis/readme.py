"""The generated tables of the README: `python -m neuraxis.readme README.md` writes them between their marks."""

from __future__ import annotations

import sys
from pathlib import Path

from neuraxis.commands import methods_table, outputs_table


def filled(text: str) -> str:
    """`text` with every generated part made anew."""
    for name, table in (("outputs", outputs_table()), ("methods", methods_table())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = text.split(begin, 1)
        text = before + begin + table + "\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text()))
