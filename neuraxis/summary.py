"""What is written over many units: dataset files, references and participant pages."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from neuraxis import __version__, references
from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids.derivatives import read_json, write_atomically, write_json
from neuraxis.report import page
from neuraxis.table import cell

BIDS_VERSION = "1.11.1"
IGNORED = (
    "*.html",
    "run.toml",
    "references.txt",
    "references.bib",
    "methods.md",
    "group_*",
    "tpl-*",
    "*_morph.*",
    "*_centerline.*",
    "*_xfm.*",
    "*_stats.*",
    "*_timeseries.*",
    "*_dwimap.*",
    "*_boldmap.*",
    "*_dwiref.*",
    "*_boldref.*",
    "*.bval",
    "*.bvec",
    "*_trust.*",
    "*_R2primemap.*",
    "*_desc-noise_fieldmap.*",
    "*_orientations.*",
    # images whose suffix asks for entities that they lost (the echo of a combined MEGRE)
    "*_desc-flat_*",
    "*_desc-smooth_*",
    "*_desc-straight_*",
    "*_space-PAM50_*",
    "*_desc-mtoff_*",
    "*_desc-mtt1w_*",
    # entities that BIDS knows for raw images and not for derivatives of them
    "*_dir-*",
    "*_flip-*",
    "*_inv-*",
    "*_mt-*",
    "**/fmap/*_ce-*",
    "**/fmap/*_rec-*",
    "work",
    "sub-*/figures",
    "logs",
)


def software(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Name -> version of what the numbers of these steps are computed with."""
    found = {"Neuraxis": __version__, "Python": platform.python_version()}
    for name in ("numpy", "scipy", "torch", "numba", "nibabel", *references.software_of(steps)):
        found[name] = metadata.version(name)
    return found


GROUP_RECORD = Path("logs", "group.json")
"""Which steps were taken over the cohort."""


def write_dataset_files(out: Path, bids: Path, records: list[dict[str, Any]], settings: str) -> None:
    """dataset_description.json, README.md, .bidsignore, run.toml, references and methods, status of all units."""
    write_json(out / "dataset_description.json", description(out, bids))
    write_atomically(out / ".bidsignore", "\n".join(IGNORED) + "\n")
    write_atomically(out / "README.md", _readme())
    write_atomically(out / "run.toml", settings)
    steps = [*ran(records), *read_json(out / GROUP_RECORD).get("steps", ())]
    uses, programs = references.uses(steps), software(steps)
    write_atomically(out / "references.txt", references.references_txt(uses, programs))
    write_atomically(out / "references.bib", references.bib(uses, programs))
    write_atomically(out / "methods.md", references.methods_paragraph(steps, programs) + "\n")
    rows = [
        [r["unit"], r["status"], r.get("exit_code", 0), str(r.get("seconds", "")), r.get("error", "")] for r in records
    ]
    lines = [["unit", "status", "exit_code", "seconds", "error"], *rows]
    write_atomically(out / "logs" / "status.tsv", "".join("\t".join(cell(v) for v in line) + "\n" for line in lines))


def ran(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that really ran in any of the records, each method once, in order."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        for step in record["steps"]:
            if step["status"] in ("computed", "cached"):
                found.setdefault(step["method"], step)
    return list(found.values())


def description(out: Path, bids: Path) -> dict[str, Any]:
    """dataset_description.json of the output."""
    raw = read_json(bids / "dataset_description.json")
    generated: dict[str, Any] = {"Name": "Neuraxis", "Version": __version__}
    for variable, kind in (
        ("NEURAXIS_DOCKER_TAG", "docker"),
        ("APPTAINER_CONTAINER", "apptainer"),
        ("SINGULARITY_CONTAINER", "apptainer"),
    ):
        if os.environ.get(variable):
            generated["Container"] = {"Type": kind, "Tag": os.path.basename(os.environ[variable])}
            break
    source: dict[str, Any] = {"URL": os.path.relpath(bids.resolve(), out)}
    if raw.get("DatasetDOI"):
        source["DOI"] = raw["DatasetDOI"]
    return {
        "Name": f"Neuraxis results of {raw.get('Name', bids.resolve().name)}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": raw.get("License", "n/a"),
        "GeneratedBy": [generated],
        "SourceDatasets": [source],
        "DatasetLinks": {"raw": os.path.relpath(bids.resolve(), out)},
    }


def _readme() -> str:
    rows = "\n".join(
        f"- `{a.file.suffix}` {dict(a.file.entities).get('desc', '')}: {a.title.lower()}, {a.meaning}"
        for a in ARTIFACTS.values()
        if a.file and a.keep in ("always", "made")
    )
    return (
        f"# Results of Neuraxis {__version__}\n\nOpen `sub-*.html` for a participant and `group.html` for all of them. `references.txt` lists "
        f"what to cite, `methods.md` says what was done, and `run.toml` repeats it (`--config run.toml`).\n\n{rows}\n"
    )


def write_participant_page(out: Path, label: str, records: list[dict[str, Any]], settings: str) -> None:
    """`sub-XX.html`, from the records of its units."""
    mine = []
    for record in (one for one in records if one["participant"] == label):
        steps = ran([record])
        texts = {
            "methods_text": references.methods_paragraph(steps, software(steps)),
            "references_text": references.references_txt(references.uses(steps), software(steps)),
        }
        mine.append({**record, **texts})
    write_atomically(out / f"sub-{label}.html", page.participant_page(mine, out, settings=settings))
