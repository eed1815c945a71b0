"""The command line, derived from Options and from the pipelines: argv -> Options."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from neuraxis import __version__
from neuraxis.errors import AnalysisLevelError, UsageError, exit_codes
from neuraxis.options import LEVELS, Options, families, make, presets, read_config


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors end with the exit code of the BIDS execution specification."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[0].upper()}{message[1:]}.", f"See `{self.prog} --help`.")


def parser(prog: str = "neuraxis") -> Parser:
    """The command line, derived from Options and from the pipelines."""
    found = Parser(
        prog=prog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        description=_DESCRIPTION,
        epilog=_EPILOG.format(codes=", ".join(map(str, exit_codes()))),
    )
    found.add_argument("bids_dir", type=Path, help="The input: a BIDS data set. It is only read.")
    found.add_argument(
        "output_dir", type=Path, help="The output: a BIDS derivative data set, made when it is not there."
    )
    found.add_argument("levels", nargs="+", metavar="{participant,group}", help="What to do; both may be given.")
    for one in dataclasses.fields(Options):
        if one.metadata:
            how = dict(one.metadata["how"])
            text = one.metadata["help"].replace(
                "{presets}", "; ".join(f"{n}: {p['help']}" for n, p in presets().items())
            )
            if one.name.endswith(("_dir", "_file")) or one.name == "config":
                how["type"] = Path
            if one.name == "preset":
                how["choices"] = list(presets())
            found.add_argument(*one.metadata["flags"], dest=one.name, help=text, **how)
    group = found.add_argument_group(
        "methods", "One flag per family; `neuraxis methods` says what each is and lists its knobs."
    )
    for family in families().values():
        if len(family.methods) > 1:
            group.add_argument(
                f"--{family.name.replace('_', '-')}",
                dest=f"family_{family.name}",
                choices=[m.name for m in family.methods],
                help=f"{family.title}. Default: {family.methods[0].name}, or as the preset says.",
            )
    group.add_argument(
        "--set",
        dest="knob",
        nargs="+",
        action="extend",
        metavar="FAMILY.METHOD.KNOB=VALUE",
        help="Set a knob of a method, e.g. inversion.rts.delta=0.12.",
    )
    found.add_argument("--version", action="version", version=f"Neuraxis {__version__}")
    found.add_argument(
        "--bids-exec-spec", action="store_true", help="Print the Boutiques descriptor of this app and stop."
    )
    return found


def parse(argv: Sequence[str]) -> Options:
    """argv -> Options; UsageError says what is wrong."""
    given = vars(parser().parse_args(argv))
    for level in given["levels"]:
        if level not in LEVELS:
            raise AnalysisLevelError(f"The analysis level {level!r} is not known.", "Use participant, group or both.")
    flags = {
        name: value
        for name, value in given.items()
        if not name.startswith("family_") and name not in ("knob", "bids_exec_spec")
    }
    flags["methods"] = {
        name.removeprefix("family_"): value for name, value in given.items() if name.startswith("family_")
    }
    flags["knobs"] = _knobs(given.get("knob", ()))
    saved = read_config(given["config"]) if "config" in given else {}
    preset = presets().get(flags.get("preset", saved.get("preset", "default")))
    if preset is None:
        raise UsageError(f"There is no preset {saved.get('preset')!r}.", f"Choose one of {', '.join(presets())}.")
    merged: dict[str, Any] = {**saved, **flags}
    for table in ("methods", "knobs"):
        merged[table] = _merge(preset.get(table, {}), saved.get(table, {}), flags[table])
    return make(merged)


def _knobs(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        parts = path.split(".")
        if not equals or len(parts) != 3:
            raise UsageError(
                f"--set {text!r} is not FAMILY.METHOD.KNOB=VALUE.", "For example inversion.rts.delta=0.12."
            )
        found.setdefault(".".join(parts[:2]), {})[parts[2]] = value
    return found


def _merge(*tables: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, Mapping) else value
    return merged


_DESCRIPTION = """\
Quantitative MRI from BIDS to maps, tables and reports.

  neuraxis BIDS_DIR OUTPUT_DIR participant         brain: susceptibility, R2*, T2* and S0 maps of every participant;
                                                   cord: segmentation, levels and shape in every image that shows it
  neuraxis BIDS_DIR OUTPUT_DIR participant group   the same, then one table and one page over all of them
"""

_EPILOG = """\
other commands:
  neuraxis demo DIR          two simulated participants, and a run on them
  neuraxis simulate DIR      write a head phantom with known susceptibility as a BIDS data set; with --cord a neck
  neuraxis tool METHOD       run one method on NIfTI files
  neuraxis methods           every method with its knobs
  neuraxis outputs           every output with its unit and file name
  neuraxis fetch NAME        models and templates of others, by name; --list shows them

A second run computes only what is missing or changed. Exit codes: {codes}
"""
