"""`neuraxis fetch`: brings models and templates that are not part of the package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from neuraxis import resources
from neuraxis.arguments import Parser
from neuraxis.errors import NeuraxisError, OutputError, UsageError


def fetch_command(argv: Sequence[str]) -> int:
    """`neuraxis fetch NAME|all`: downloads, checks and unpacks; with --list, says what there is."""
    parser = Parser(
        prog="neuraxis fetch",
        description="Fetches models and templates. Their sha256 is recorded at the first fetch and checked ever after.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch, or: all (all that can be run)")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="folder to put it into; default: $NEURAXIS_RESOURCES or the user's data folder",
    )
    parser.add_argument(
        "--from",
        dest="archives",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="the archive, got by other means",
    )
    parser.add_argument("--list", action="store_true", help="list what can be fetched, and what is there")
    given = parser.parse_args(argv)
    known = resources.known()
    if given.list or not given.names:
        print(listing())
        return 0
    names = [n for n, one in known.items() if one.urls and one.runs] if given.names == ["all"] else given.names
    for name in names:
        if name not in known:
            raise UsageError(f"There is no resource {name!r}.", f"There are {', '.join(known)}.")
    if given.archives and len(names) > 1:
        raise UsageError("--from brings one resource.", "Name the one that the file holds.")
    failed = []
    for name in names:
        try:
            resources.fetch(name, given.to, print, given.archives)
        except OSError as error:
            raise OutputError(f"{name} cannot be written: {error}.", "Choose another folder with --to.") from error
        except ValueError as error:
            if len(names) == 1:
                raise NeuraxisError(f"{error}.") from error
            print(f"neuraxis: {error}.", file=sys.stderr)
            failed.append(name)
    if given.to and given.to != resources.folder():
        print(f"Set NEURAXIS_RESOURCES={given.to} so that runs find it.")
    if failed:
        raise NeuraxisError(f"{len(failed)} of {len(names)} were not fetched: {', '.join(failed)}.")
    return 0


def listing() -> str:
    """What can be fetched, one line each."""
    here = resources.installed()
    lines = [f"Folder: {resources.folder()}"]
    for name, one in resources.known().items():
        state = "installed" if name in here else "no address known" if not one.urls else "-"
        remark = "" if one.runs else f"; kind {one.kind}: no engine here yet"
        lines.append(f"  {name:<26} {state:<18} {one.title}{remark}{f'; {one.licence}' if one.licence else ''}")
    return "\n".join(lines)
