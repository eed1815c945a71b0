"""The small commands beside the app: simulate, tool, methods, outputs. All derived from signatures and the glossary."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import subprocess
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.arguments import Parser
from neuraxis.artifacts import ARTIFACTS, Artifact
from neuraxis.bids import tables
from neuraxis.bids.derivatives import name_of, write_atomically, write_json
from neuraxis.bids.nifti import image_bytes, read_image, read_warp, warp_bytes
from neuraxis.engine import Pipeline, PlannedStep, Step, call
from neuraxis.errors import MissingInput, UsageError
from neuraxis.options import families
from neuraxis.pipelines import CORD_ANAT, CORD_BOLD, CORD_DWI, CORD_MT, PIPELINES, TOOLS
from neuraxis.signature import Knob, Method, entries, sections
from neuraxis.table import Table
from neuraxis.volume import Volume


def steps() -> dict[str, Step]:
    """Dotted path of every method -> the step that it makes."""
    every = [*TOOLS, *(step for pipeline in PIPELINES for step in pipeline.steps)]
    return {method.path: step for step in every for method in step.by.methods}


def methods(argv: Sequence[str]) -> None:
    """`neuraxis methods [NAME]`: every method with its knobs; with --markdown, the README's table."""
    parser = Parser(
        prog="neuraxis methods", description="Lists the methods of every family, with their knobs and papers."
    )
    parser.add_argument("name", nargs="?", help="show only the families and methods whose name holds this")
    parser.add_argument("--markdown", action="store_true", help="a table for the README")
    given = parser.parse_args(argv)
    if given.markdown:
        print(methods_table())
        return
    for family in families().values():
        for method in family.methods:
            if given.name and given.name not in f"{family.name}.{method.name}":
                continue
            default = " (default)" if method is family.methods[0] and len(family.methods) > 1 else ""
            print(f"{family.name}.{method.name}{default}\n    {method.summary}")
            for knob in method.knobs:
                print(f"      {knob.name}={_plain(knob.default)}\n          {knob.help}")
            print("".join(f"      doi:{doi}\n" for doi in method.dois))


def methods_table() -> str:
    """Every family and method as a Markdown table."""
    lines = ["| family | method | what it does | knobs and defaults | papers |", "|---|---|---|---|---|"]
    for family in families().values():
        for method in family.methods:
            knobs = ", ".join(f"`{knob.name}={_plain(knob.default)}`" for knob in method.knobs)
            papers = ", ".join(f"[{doi}](https://doi.org/{doi})" for doi in method.dois)
            name = f"**{method.name}**" if method is family.methods[0] else method.name
            lines.append(f"| {family.name} | {name} | {method.summary} | {knobs} | {papers} |")
    return "\n".join(lines)


def outputs(argv: Sequence[str]) -> None:
    """`neuraxis outputs`: every output with its unit and file name."""
    parser = Parser(prog="neuraxis outputs", description="Lists the files that a run writes.")
    parser.add_argument("--markdown", action="store_true", help="a table for the README")
    given = parser.parse_args(argv)
    if given.markdown:
        print(outputs_table())
        return
    for pipeline, artifact in made():
        if artifact.file:
            asked = {"always": "", "made": " (when a result is made of it)"}.get(
                artifact.keep, f" (with --outputs {artifact.name})"
            )
            said = f"{artifact.title}: {artifact.meaning}; {artifact.file.unit or '1'}{asked}"
            print(f"{artifact.name:<20} {_file_name(artifact, pipeline)}\n{'':<20} {said}")


def outputs_table() -> str:
    """Every output as a Markdown table."""
    lines = ["| name | file | what | unit in the file | written |", "|---|---|---|---|---|"]
    for pipeline, artifact in made():
        if artifact.file:
            written = {"always": "always", "made": "on the way to a result"}.get(artifact.keep, f"`--outputs {artifact.name}`")
            lines.append(
                f"| {artifact.name} | `{_file_name(artifact, pipeline)}` | {artifact.title}: {artifact.meaning} | {artifact.file.unit} | {written} |"
            )
    return "\n".join(lines)


def made() -> list[tuple[Pipeline, Artifact]]:
    """What the pipelines make, in order, each with the first pipeline that makes it."""
    found: dict[str, tuple[Pipeline, Artifact]] = {}
    for pipeline in PIPELINES:
        for name in pipeline.makes:
            found.setdefault(name, (pipeline, ARTIFACTS[name]))
    return list(found.values())


_EXAMPLE: dict[str, tuple[str, str, dict[str, str]]] = {
    CORD_ANAT.name: ("T2w", "anat", {"space": "T2w"}),
    CORD_MT.name: ("MTS", "anat", {"space": "MTS"}),
    CORD_DWI.name: ("dwi", "dwi", {}),
    CORD_BOLD.name: ("bold", "func", {"task": "rest"}),
}
"""Suffix, folder and entities of what a pipeline works on, for examples of names."""


def _file_name(artifact: Artifact, pipeline: Pipeline) -> str:
    file = artifact.file
    assert file is not None
    source, folder, entities = _EXAMPLE.get(pipeline.name, ("MEGRE", "anat", {}))
    told = {key: value or source for key, value in file.entities}
    entities = {key: value for key, value in entities.items() if key != "space" or "from" not in told}
    entities = entities | ({"echo": "1"} if file.per_echo else {}) | told
    extension = ".tsv" if artifact.kind == "table" else ".nii.gz"
    suffix = source + file.suffix.removeprefix("+") if file.suffix[:1] in ("", "+") else file.suffix
    place = folder if file.folder == "anat" else file.folder
    return f"sub-01/{place}/" + name_of({"sub": "01", **entities}, suffix, extension)


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def tool(argv: Sequence[str]) -> None:
    """`neuraxis tool FAMILY_PATH.METHOD ...`: one method on NIfTI files."""
    known = steps()
    if not argv or argv[0] not in known:
        names = "\n  ".join(known)
        if argv and argv[0] not in ("-h", "--help"):
            raise UsageError(f"There is no method {argv[0]!r}.", f"Methods:\n  {names}")
        print(
            f"usage: neuraxis tool METHOD [options] -o OUTPUT ...\n\nmethods:\n  {names}\n\n`neuraxis tool METHOD --help` says what each needs."
        )
        return
    step = known[argv[0]]
    method = next(m for m in step.by.methods if m.path == argv[0])
    given = tool_parser(method, step).parse_args(argv[1:])
    strength = given.field_strength[0] if isinstance(given.field_strength, list) else given.field_strength
    values = {
        need.name: _tool_input(need.name, getattr(given, need.name), strength, apart=need.kind == "Volumes")
        for need in method.needs
        if need.kind != "Grid" and getattr(given, need.name) is not None
    }
    knobs = {knob.name: getattr(given, knob.name) for knob in method.knobs if getattr(given, knob.name) is not None}
    try:
        settings = method.set(knobs)
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    if len(given.output) != len(step.makes):
        raise UsageError(f"{method.path} makes {', '.join(step.makes)}: name {len(step.makes)} file(s) behind -o.")
    from neuraxis.app import choose_device

    one = PlannedStep(step, method, settings, "run")
    made, warned = call(one, values, choose_device(given.device))
    for text in warned:
        print(f"warning: {text}")
    for name, path in zip(step.makes, given.output, strict=True):
        value, artifact = made[name], ARTIFACTS[name]
        told: dict[str, Any] = {"Description": artifact.title, "Neuraxis": {"Method": method.path, "Knobs": settings}}
        if isinstance(value, Volume):
            packed = (
                warp_bytes(value)
                if artifact.kind == "warp"
                else image_bytes(value, compressed=path.name.endswith(".gz"))
            )
            write_atomically(path, packed)
            told = {"Units": artifact.unit, **told}
        elif isinstance(value, Table):
            write_atomically(path, tables.text(value, artifact, {}))
            told |= tables.dictionary(value, artifact)
        else:
            told = {"Value": value, "Units": artifact.unit, **told}
        plain = path.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".tsv").removesuffix(".json")
        write_json(path.with_name(plain + ".json"), told)


def tool_parser(method: Method, step: Step) -> Parser:
    """The command line of one method, from its signature."""
    parser = Parser(
        prog=f"neuraxis tool {method.path}",
        description=method.text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for need in method.needs:
        if need.kind == "Grid":
            continue
        artifact = ARTIFACTS[need.name]
        kind, word = {"number": (float, "NUMBER"), "numbers": (float, "NUMBER"), "text": (str, "TEXT")}.get(
            artifact.kind, (Path, "FILE")
        )
        how: dict[str, Any] = {"type": kind, "nargs": "+", "metavar": word}
        parser.add_argument(
            f"--{need.name.replace('_', '-')}",
            required=not need.optional,
            help=f"{need.help} [{artifact.unit}]".replace("%", "%%"),
            **how,
        )
    for knob in method.knobs:
        how = {"nargs": "+"} if typing.get_origin(knob.type) is tuple else {}
        needed = knob.default is inspect.Parameter.empty
        text = knob.help if needed else f"{knob.help} Default: {_plain(knob.default)}"
        parser.add_argument(f"--{knob.name.replace('_', '-')}", help=text.replace("%", "%%"), required=needed, **how)
    if "field_strength" not in {need.name for need in method.needs}:
        parser.add_argument("--field-strength", type=float, metavar="T", help="lets field maps in Hz be read as ppm")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "-o", "--output", nargs="+", type=Path, required=True, metavar="FILE", help=f"where {', '.join(step.makes)} go"
    )
    return parser


def _tool_input(name: str, given: list[Any], field_strength: float | None, *, apart: bool = False) -> Any:
    artifact = ARTIFACTS[name]
    if artifact.kind == "number":
        return float(given[0])
    if artifact.kind == "text":
        return str(given[0])
    if artifact.kind == "numbers":
        return np.array(given, dtype=float)
    for path in given:
        if not path.is_file():
            raise MissingInput(f"There is no file {path}.")
    if artifact.kind == "table":
        return tables.read(given[0], artifact)
    if artifact.kind == "warp":
        return read_warp(given[0])
    parts = [read_image(path, artifact, field_strength) for path in given]
    if apart:
        return tuple(parts)
    if len(parts) == 1:
        many = "E)" in artifact.shape and parts[0].data.ndim == 3
        return Volume(parts[0].data[..., None], parts[0].grid) if many else parts[0]
    return Volume(np.moveaxis(np.stack([part.data for part in parts]), 0, -1), parts[0].grid)


def demo(argv: Sequence[str]) -> int:
    """`neuraxis demo DIR`: two simulated participants, and a run of both levels on them."""
    parser = Parser(
        prog="neuraxis demo", description="Simulates two participants in DIR/bids and runs the app on them."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write")
    folder = parser.parse_args(argv).folder
    # in a process of its own, so that its memory is free again for the run
    words = [sys.executable, "-m", "neuraxis", "simulate", str(folder / "bids"), "--participants", "2"]
    subprocess.run(words, check=True)
    from neuraxis.app import run
    from neuraxis.arguments import parse

    words = [str(folder / "bids"), str(folder / "out"), "participant", "group"]
    code = run(parse(words), words)
    print(
        f"The report of the group:  {folder / 'out' / 'group.html'}\nA participant's report:   {folder / 'out' / 'sub-01.html'}"
    )
    return code


def simulate(argv: Sequence[str]) -> None:
    """`neuraxis simulate DIR`: a head phantom, or with --cord a neck with its spinal cord, as a BIDS data set."""
    from neuraxis.simulate import Phantom
    from neuraxis.simulate import simulate as write
    from neuraxis.simulate.cord_dataset import simulate_cord

    if "--cord" in argv:
        method = Method.of(simulate_cord)
        knobs = [Knob("participants", 2, int, method.needs[1].help), *method.knobs]
        text = "Writes simulated necks with a known spinal cord as a valid BIDS data set, the truth as derivatives."
    else:
        helps = entries(sections(Phantom.__doc__).get("Parameters", ""))
        hints = typing.get_type_hints(Phantom)
        knobs = [Knob(f.name, f.default, hints[f.name], helps.get(f.name, "")) for f in dataclasses.fields(Phantom)]
        text = "Writes a head phantom with known susceptibility as a valid BIDS data set, the truth as derivatives."
    parser = Parser(prog="neuraxis simulate", description=text)
    parser.add_argument("bids_dir", type=Path, help="folder to write")
    parser.add_argument("--cord", action="store_true", help="necks with a spinal cord instead of heads")
    for knob in knobs:
        how: dict[str, Any] = {"nargs": "+"} if typing.get_origin(knob.type) is tuple else {}
        if knob.type is bool:
            how = {"nargs": "?", "const": "true"}
        parser.add_argument(
            f"--{knob.name.replace('_', '-')}",
            dest=knob.name,
            help=f"{knob.help} Default: {_plain(knob.default)}".replace("%", "%%"),
            **how,
        )
    given = parser.parse_args(argv)
    try:
        values = {
            knob.name: knob.read(getattr(given, knob.name)) for knob in knobs if getattr(given, knob.name) is not None
        }
        if given.cord:
            simulate_cord(given.bids_dir, values.pop("participants", 2), **values)
        else:
            write(given.bids_dir, Phantom(**values))
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    print(f"{given.bids_dir} written")
