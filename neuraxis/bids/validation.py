"""The BIDS validator on the input: top-level files and the chosen participants."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from neuraxis.errors import InvalidDataset

SHOWN = 3
_LEFT_OUT = {"derivatives", "sourcedata", "code"}


def validate(bids_dir: Path, labels: Sequence[str], work: Path) -> list[str]:
    """Validates; raises InvalidDataset with the first errors. Gives back what is worth telling."""
    if not (bids_dir / "dataset_description.json").is_file():
        raise InvalidDataset(f"{bids_dir} has no dataset_description.json.", "Is it a BIDS data set? --skip-bids-validation goes on all the same.")
    command = Path(sys.executable).with_name("bids-validator-deno")
    found = str(command) if command.exists() else shutil.which("bids-validator-deno")
    if found is None:
        return ["the BIDS validator is not installed; the input was not validated"]
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="validation-") as folder:
        chosen = {f"sub-{label}" for label in labels}
        for entry in bids_dir.iterdir():
            if entry.name.startswith("sub-") and entry.name not in chosen or entry.name in _LEFT_OUT or entry.resolve() == work.parent.resolve():
                continue
            (Path(folder) / entry.name).symlink_to(entry.resolve())
        done = subprocess.run([found, "--ignoreNiftiHeaders", "--ignoreWarnings", "--format", "json", folder], capture_output=True, text=True)
    try:
        issues = json.loads(done.stdout)["issues"]["issues"]
    except (ValueError, KeyError):
        return [f"the BIDS validator gave no answer (exit {done.returncode}); the input was not validated"]
    errors = [one for one in issues if one.get("severity") == "error" and not _about_absent_participants(one)]
    if errors:
        texts = [f"{one['code']} {one.get('location', '')}".strip() for one in errors[:SHOWN]]
        more = f" and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        raise InvalidDataset(f"{bids_dir} is not valid BIDS: {'; '.join(texts)}{more}.", "Mend it, or use --skip-bids-validation.")
    return []


def _about_absent_participants(issue: dict[str, str]) -> bool:
    """Only the chosen participants are shown to the validator: that participants.tsv lists others is no error."""
    return issue.get("code", "") in ("PARTICIPANT_ID_MISMATCH", "TSV_PARTICIPANT_NOT_FOUND")
