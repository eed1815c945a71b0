"""The generated tables of the README: `python -m neuraxis.readme README.md` writes them between their marks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from neuraxis.commands import methods_table, outputs_table


def filled(text: str) -> str:
    """`text` with every generated part made anew."""
    for name, table in (("outputs", outputs_table()), ("methods", methods_table())):
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text()))
