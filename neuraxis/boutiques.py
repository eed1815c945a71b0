"""The Boutiques descriptor, derived from Options and the pipelines; `neuraxis --bids-exec-spec` prints it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from neuraxis import __version__
from neuraxis.errors import exit_codes
from neuraxis.options import LEVELS, Options, families, presets

_LEFT_TO_THE_SHELL = {"notrack", "debug", "mem_gb", "use_gpu"}
_EXECUTION_SPEC = {
    "bids_dir": "InputDataset",
    "output_dir_name": "OutputLocation",
    "analysis_level": "AnalysisLevel",
    "participant_label": "SubjectLabel",
    "session_label": "SessionLabel",
    "run_label": "RunIndex",
    "acquisition_label": "AcquisitionLabel",
    "reconstruction_label": "ReconstructionLabel",
}
"""Our input ids (those that CBRAIN knows) -> the ids of the BIDS execution specification."""


def _key(name: str) -> str:
    return f"[{name.upper()}]"


def _entry(name: str, title: str, help: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": title, "description": help, "type": kind, "value-key": _key(name), **more}


def _inputs() -> list[dict[str, Any]]:
    found = [
        _entry("bids_dir", "BIDS data set", "The input: a BIDS data set.", "File"),
        _entry("output_dir_name", "Output folder", "The output, a BIDS derivative data set.", "String", optional=True)
        | {"value-key": "[OUTPUT_DIR]"},
        _entry(
            "output_dir", "Existing output folder", "An output folder that is there already.", "File", optional=True
        ),
        _entry("analysis_level", "Analysis level", "What to do.", "String") | {"value-choices": list(LEVELS)},
    ]
    for one in dataclasses.fields(Options):
        if not one.metadata or one.name in _LEFT_TO_THE_SHELL:
            continue
        how, title = one.metadata["how"], one.name.replace("_", " ").capitalize()
        help = one.metadata["help"].replace("{presets}", ", ".join(presets())).replace("%%", "%")
        more: dict[str, Any] = {"optional": True, "command-line-flag": one.metadata["flags"][0]}
        kind = "String"
        if how.get("action") == "store_true":
            kind = "Flag"
        elif how.get("type") is int:
            kind, more["integer"], more["minimum"] = "Number", True, 1
        elif one.name.endswith(("_dir", "_file")) or one.name == "config":
            kind = "File" if one.name != "work_dir" else "String"
        elif how.get("type") is float:
            kind = "Number"
        if how.get("choices"):
            more["value-choices"] = list(how["choices"])
        if how.get("nargs"):
            more["list"] = True
        if one.name == "preset":
            more["value-choices"] = list(presets())
        found.append(_entry(one.name, title, help, kind, **more))
    for family in families().values():
        if len(family.methods) > 1:
            found.append(
                _entry(
                    family.name,
                    family.title,
                    f"{family.title}. Default: {family.methods[0].name}, or as the preset says.",
                    "String",
                    optional=True,
                    **{
                        "command-line-flag": f"--{family.name.replace('_', '-')}",
                        "value-choices": [m.name for m in family.methods],
                    },
                )
            )
    found.append(
        _entry(
            "set",
            "Knobs",
            "Set knobs of methods: FAMILY.METHOD.KNOB=VALUE.",
            "String",
            optional=True,
            list=True,
            **{"command-line-flag": "--set"},
        )
    )
    return found


def descriptor() -> dict[str, Any]:
    """The descriptor as a dictionary; passes `bosh validate --bids`."""
    inputs = _inputs()
    keys = list(dict.fromkeys(one["value-key"] for one in inputs))
    first = ["[BIDS_DIR]", "[OUTPUT_DIR]", "[ANALYSIS_LEVEL]", "[PARTICIPANT_LABEL]", "[SESSION_LABEL]"]
    rest = [key for key in keys if key not in first]
    return {
        "name": "neuraxis",
        "author": "Neuraxis authors",
        "description": "Quantitative MRI of the whole neuraxis from BIDS: susceptibility maps (QSM), R2*, T2* and S0 maps, report and references.",
        "tool-version": __version__,
        "schema-version": "0.5",
        "container-image": {"type": "docker", "image": f"neuraxis/neuraxis:{__version__}", "index": "docker://"},
        "command-line": f"mkdir -p [OUTPUT_DIR]; neuraxis {' '.join(first + rest)}",
        "inputs": inputs,
        "groups": [
            {
                "id": "output_directory",
                "name": "Output folder",
                "members": ["output_dir_name", "output_dir"],
                "mutually-exclusive": True,
                "one-is-required": True,
            }
        ],
        "output-files": [
            {
                "id": "output_dir_out",
                "name": "Results",
                "path-template": "[OUTPUT_DIR]",
                "description": "A BIDS derivative data set with one HTML page per participant.",
            }
        ],
        "error-codes": [{"code": code, "description": meaning} for code, meaning in exit_codes().items()],
        "suggested-resources": {"cpu-cores": 4, "ram": 8, "walltime-estimate": 600},
        "tags": {"domain": ["neuroinformatics", "mri"]},
        "custom": {
            "BIDSAppSpecVersion": "0.1.0",
            "BIDSApplicationVersion": __version__,
            "BIDSAppSpec": _EXECUTION_SPEC,
        },
    }


def descriptor_text() -> str:
    """boutiques.json."""
    return json.dumps(descriptor(), indent=2) + "\n"
