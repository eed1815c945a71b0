"""The image files of participants: from their folders, or from a pybids database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from neuraxis.errors import MissingInput, UsageError

DATATYPES = ("anat", "swi")
"""Folders that hold gradient-echo images; swi is of BEP004."""

SERIES = ("dwi", "func")
"""Folders that hold volumes over time."""

_NAME = re.compile(r"((?:[A-Za-z0-9]+-[A-Za-z0-9+]+_)+)([A-Za-z0-9]+)(\.nii|\.nii\.gz)")


def parse_name(name: str) -> tuple[dict[str, str], str, str] | None:
    """Entities, suffix and extension of the name of an image; None when it is not a BIDS name."""
    match = _NAME.fullmatch(name)
    if not match:
        return None
    pairs = [pair.split("-", 1) for pair in match[1].rstrip("_").split("_")]
    entities = dict(pairs)
    return (entities, match[2], match[3]) if len(entities) == len(pairs) else None


def layout(bids_dir: Path, labels: Iterable[str], database: Path | None = None) -> dict[str, list[Path]]:
    """The files of participants in a pybids database made before; empty without one: then the folders are read."""
    return _indexed(Path(bids_dir), labels, database) if database else {}


def listed(bids_dir: Path, participant: str, datatypes: Iterable[str] = (*DATATYPES, *SERIES)) -> Iterator[Path]:
    """The files in folders of a participant and of its sessions. Broken links too: the error must name them."""
    base = bids_dir / f"sub-{participant}"
    try:
        with os.scandir(base) as entries:
            sessions = [Path(entry.path) for entry in entries if entry.name.startswith("ses-") and entry.is_dir()]
    except OSError as error:
        raise MissingInput(f"{base} cannot be read: {error.strerror}.", "Check its rights.") from error
    homes = [base, *sessions]
    for home in homes:
        for datatype in datatypes:
            try:
                yield from (home / datatype / name for name in os.listdir(home / datatype))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise MissingInput(
                    f"{home / datatype} cannot be read: {error.strerror}.", "Check its rights."
                ) from error


@dataclass(frozen=True)
class Folder:
    """The files of a participant from its folder, read when they are first asked for and then kept: every pipeline asks."""

    bids_dir: Path
    participant: str

    def __iter__(self) -> Iterator[Path]:
        return iter(self._files)

    @cached_property
    def _files(self) -> list[Path]:
        return list(listed(self.bids_dir, self.participant))


def _indexed(bids_dir: Path, labels: Iterable[str], database: Path) -> dict[str, list[Path]]:
    """The same files of participants, from a pybids database."""
    hint = "Make it with `pybids layout BIDS_DIR DATABASE_DIR --no-validate`, or leave the option out."
    if not (database / "layout_index.sqlite").is_file():
        raise UsageError(f"{database} holds no pybids database (layout_index.sqlite).", hint)
    from bids import BIDSLayout  # takes half a second: only who has a database pays

    found: dict[str, list[Path]] = {label: [] for label in labels}
    base = os.path.abspath(bids_dir)
    try:
        known = BIDSLayout(bids_dir, database_path=database, validate=False).get(
            subject=list(found), extension=[".nii", ".nii.gz"], return_type="filename"
        )
    except Exception as error:  # pybids and SQLAlchemy each have their own
        raise UsageError(f"The pybids database in {database} cannot be used: {error}.", hint) from error
    for text in known:
        below = Path(os.path.relpath(text, base))
        if below.parts[0] == "..":
            raise UsageError(f"The pybids database in {database} is of another data set: it holds {text}.", hint)
        label = below.parts[0].removeprefix("sub-")
        if label in found and below.parent.name in (*DATATYPES, *SERIES):
            found[label].append(bids_dir / below)
    return found
