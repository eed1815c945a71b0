"""Runs the BIDS validator on what is about to be used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuraxis.bids.sidecar import read_sidecar
from neuraxis.errors import InvalidDataset, NeuraxisError, OutputError

_SKIP = "Mend the data set, or use --skip-bids-validation."
_MOST_CODES = 5
_PATIENCE_S = 600.0

_OF_THE_PART = ("SYMLINK_BROKEN", "PARTICIPANT_ID_MISMATCH", "SUBJECT_FOLDERS", "NO_SUBJECT_FOLDERS")
"""Errors that come from looking at some participants only, or from content that is not downloaded; reading tells of the latter."""


def validate(bids_dir: Path, participants: Sequence[str], work_dir: Path) -> list[str]:
    """Validates the top-level files and the chosen participants; returns warnings, each one sentence.

    Raises
    ------
    InvalidDataset: there is no usable dataset_description.json, or the validator finds errors.
    """
    _check_description(bids_dir)
    program = find_validator()
    if program is None:
        return ["The BIDS validator (bids-validator-deno) is not installed: the input was not validated."]
    made = not work_dir.exists()
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="validate-", dir=work_dir))
    except OSError as error:
        raise OutputError(f"{work_dir} cannot be written: {error.strerror}.", "Choose another work folder.") from error
    try:
        _link(bids_dir.resolve(), participants, folder)
        return _run(program, folder, bids_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made and not any(work_dir.iterdir()):
            work_dir.rmdir()


def find_validator() -> str | None:
    """The validator of this Python environment, or the one on PATH."""
    beside = Path(sys.executable).parent / "bids-validator-deno"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("bids-validator-deno")


def _check_description(bids_dir: Path) -> None:
    path = bids_dir / "dataset_description.json"
    if not path.exists() and not path.is_symlink():
        raise InvalidDataset(
            f"{path} is not there, so {bids_dir} is not a BIDS data set.", "Add it, with Name and BIDSVersion."
        )
    try:
        content = read_sidecar(path)
    except NeuraxisError as error:
        raise InvalidDataset(str(error), error.hint) from error
    for name in ("Name", "BIDSVersion"):
        if not isinstance(content.get(name), str):
            raise InvalidDataset(f"{path} has no {name}.", f"Add it. {_SKIP}")


def _link(bids_dir: Path, participants: Sequence[str], folder: Path) -> None:
    """A data set of links: what lies at the top, and the chosen participants alone."""
    wanted = {f"sub-{label}" for label in participants}
    with os.scandir(bids_dir) as entries:
        found = [
            entry for entry in entries if entry.name in wanted or not entry.name.startswith("sub-") and entry.is_file()
        ]
    for entry in found:
        if entry.name == "participants.tsv":
            _some_rows(Path(entry.path), wanted, folder / entry.name)
        else:
            (folder / entry.name).symlink_to(entry.path)


def _some_rows(table: Path, wanted: set[str], copy: Path) -> None:
    """participants.tsv with the rows of the chosen participants: the validator compares it with the folders."""
    try:
        lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
        column = lines[0].rstrip("\r\n").split("\t").index("participant_id")
        kept = [line for line in lines[1:] if line.rstrip("\r\n").split("\t")[column : column + 1][0] in wanted]
    except UnicodeDecodeError as error:  # the validator itself crashes on it
        raise InvalidDataset(f"{table} is not UTF-8 text: {error.reason} at byte {error.start}.", _SKIP) from error
    except (OSError, ValueError, IndexError):
        copy.symlink_to(table)  # let the validator say what is wrong with it
        return
    copy.write_text("".join([lines[0], *kept]), encoding="utf-8")


def _run(program: str, folder: Path, bids_dir: Path) -> list[str]:
    command = [program, str(folder), "--ignoreNiftiHeaders", "--ignoreWarnings", "--format", "json"]
    settings = {**os.environ, "DENO_DIR": str(folder.parent / f"{folder.name}-cache"), "NO_COLOR": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, env=settings, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return [f"The BIDS validator did not end within {_PATIENCE_S:.0f} s: the input was not validated."]
    except OSError as error:
        return [f"The BIDS validator ({program}) cannot be started ({error.strerror}): the input was not validated."]
    finally:
        shutil.rmtree(settings["DENO_DIR"], ignore_errors=True)
    try:
        issues = json.loads(done.stdout)["issues"]["issues"]
        errors = [one for one in issues if one.get("severity") == "error" and one.get("code") not in _OF_THE_PART]
    except (ValueError, KeyError, TypeError, AttributeError):
        said = " ".join(done.stderr.decode(errors="replace").split()).split(" at ")[0][:200]
        return [f"The BIDS validator failed (exit code {done.returncode}): the input was not validated. {said}".strip()]
    if errors:
        raise InvalidDataset(_summary(errors, bids_dir), _SKIP)
    return []


def _summary(errors: Sequence[dict[str, Any]], bids_dir: Path) -> str:
    """How many errors, and for the first codes how often and in which file."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in errors:
        code = str(one.get("code", "?"))
        groups.setdefault(f"{code} ({one['subCode']})" if one.get("subCode") else code, []).append(one)
    told = []
    for code, group in list(groups.items())[:_MOST_CODES]:
        where = str(group[0].get("location") or "").lstrip("/")
        others = f" and {len(group) - 1} more" if len(group) > 1 else ""
        told.append(f"{code} in {where}{others}" if where else code)
    more = f"; and {len(groups) - _MOST_CODES} more kinds" if len(groups) > _MOST_CODES else ""
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return f"The BIDS validator finds {count} in {bids_dir}: {'; '.join(told)}{more}."
