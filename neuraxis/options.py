"""How the app is run: one frozen dataclass; the command line, the config file and the Boutiques descriptor are derived from it.

Order of authority: signature < preset < `--config` < flags.
"""

from __future__ import annotations

import argparse
import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from neuraxis.engine import Family
from neuraxis.errors import UsageError
from neuraxis.pipelines import PIPELINES

LEVELS = ("participant", "group")

GROUP_COLUMN = "group"
"""Where participants.tsv says who belongs together, if nobody tells another column."""


def _option(help: str, *flags: str, default: Any = None, science: bool = False, **how: Any) -> Any:
    """A field with its flags and help; `science` options can change results and stand in `run.toml`."""
    content = {"flags": flags, "help": help, "how": how, "science": science}
    if isinstance(default, (tuple, dict)):
        return field(default_factory=lambda: default, metadata=content)
    return field(default=default, metadata=content)


def _labels(help: str, *flags: str) -> Any:
    return _option(
        f"{help}; several may follow, or a text file with one per line. Default: all.",
        *flags,
        default=(),
        nargs="+",
        action="extend",
        metavar="LABEL",
    )


def presets() -> dict[str, Any]:
    """Preset name -> its help, methods and knobs."""
    return tomllib.loads(resources.files("neuraxis").joinpath("data/presets.toml").read_text())


@dataclass(frozen=True)
class Options:
    """The user's options. See `neuraxis --help` for what each means."""

    bids_dir: Path = Path()
    output_dir: Path = Path()
    levels: tuple[str, ...] = ("participant",)
    participant_label: tuple[str, ...] = _labels(
        "Participants, with or without sub-",
        "--participant-label",
        "--participant_label",
        "--participant-labels",
        "--participant_labels",
    )
    session_label: tuple[str, ...] = _labels(
        "Sessions, with or without ses-", "--session-label", "--session_label", "--session-id", "--session_id"
    )
    run_label: tuple[str, ...] = _labels("Runs", "--run-label", "--run_label", "--run-id", "--run_id")
    acquisition_label: tuple[str, ...] = _labels("Acquisitions (acq-)", "--acq", "--acquisition-label", "--acq-id")
    reconstruction_label: tuple[str, ...] = _labels(
        "Reconstructions (rec-)", "--rec", "--reconstruction-label", "--rec-id"
    )
    bids_filter_file: Path | None = _option(
        "JSON file of entity filters, as for fMRIPrep; the key `gre` is for this app.",
        "--bids-filter-file",
        "--bids_filter_file",
        metavar="FILE",
    )
    cord: bool = _option(
        "Every anatomical image shows the spinal cord: measure it, and make no susceptibility maps. Default: bodypart- in the "
        "name, BodyPart in the sidecar or the field of view tell where to look for it.",
        "--cord",
        default=False,
        action="store_true",
        science=True,
    )
    brain: bool = _option(
        "No image shows the spinal cord: do not look for it.",
        "--brain",
        default=False,
        action="store_true",
        science=True,
    )
    phase_sign: str = _option(
        "positive: the phase is larger where the field is stronger; negative: the scanner stores it the other way round. The "
        "report says when the maps look turned round. Default: positive.",
        "--phase-sign",
        default="positive",
        choices=("positive", "negative"),
        science=True,
    )
    oblique: str = _option(
        "What becomes of a grid that is tilted against the main field. rotate: the images stay as they are, and the dipole kernel "
        "is turned; resample: the complex images are brought onto a grid along the scanner's axes first, and all results lie "
        "there. Default: rotate.",
        "--oblique",
        default="rotate",
        choices=("rotate", "resample"),
        science=True,
    )
    coil_smoothing: float = _option(
        "Standard deviation in mm of the Gaussian over which the phase offset of each coil of uncombined images (coil-) is "
        "averaged, above 0; less for small objects. Default: 7.",
        "--coil-smoothing",
        default=7.0,
        type=float,
        metavar="MM",
        science=True,
    )
    atlas: str = _option(
        "Labels in MNI152NLin2009cAsym, a NIfTI file with its table of names (index, name) beside it: the regions of the brain are these, "
        "in place of those of the package's atlas.",
        "--atlas",
        default="",
        metavar="FILE",
        science=True,
    )
    group_column: str = _option(
        "Column of participants.tsv that tells which group a participant belongs to; the level group compares the regions of the "
        "brain between groups. Default: group.",
        "--group-column",
        default=GROUP_COLUMN,
        metavar="NAME",
    )
    group_template: bool = _option(
        "Level group: build a template of all participants from their magnitude and susceptibility, bring everybody's maps into it, "
        "and the regions of the atlas.",
        "--group-template",
        default=False,
        action="store_true",
    )
    skip_bids_validation: bool = _option(
        "Do not run the BIDS validator on the input.",
        "--skip-bids-validation",
        "--skip_bids_validation",
        "--skip-bids-validator",
        "--skip_bids_validator",
        default=False,
        action="store_true",
    )
    bids_database_dir: Path | None = _option(
        "Folder of a pybids database of the input, made before.",
        "--bids-database-dir",
        "--bids_database_dir",
        metavar="DIR",
    )
    derivatives: tuple[str, ...] = _option(
        "Folders of derivatives, or name=folder: a mask or map found there replaces the step that would make it. "
        "derivatives/labels of the input is always looked at.",
        "-d",
        "--derivatives",
        default=(),
        nargs="+",
        action="extend",
        metavar="[NAME=]DIR",
    )
    preset: str = _option("Settings chosen together: {presets}.", "--preset", default="default", science=True)
    outputs: tuple[str, ...] = _option(
        "What to make, by name (see `neuraxis outputs`). Default: every result that the data allow. What is asked for by "
        "name and cannot be made is an error.",
        "--outputs",
        default=(),
        nargs="+",
        action="extend",
        metavar="NAME",
        science=True,
    )
    methods: dict[str, str] = field(default_factory=dict)
    knobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: Path | None = _option(
        "Settings of a former run (its run.toml); flags go before it.", "--config", "--config-file", metavar="FILE.toml"
    )
    work_dir: Path | None = _option(
        "Folder for intermediate files; removed unit by unit when all went well. Default: OUTPUT_DIR/work.",
        "-w",
        "--work-dir",
        "--work_dir",
        metavar="DIR",
    )
    keep_work: bool = _option("Keep the intermediate files.", "--keep-work", default=False, action="store_true")
    nprocs: int | None = _option(
        "Processor cores to use in all. Default: those that this process may use (cgroup, SLURM, affinity).",
        "--nprocs",
        "--nthreads",
        "--n_cpus",
        "--n-cpus",
        type=int,
        metavar="N",
    )
    omp_nthreads: int | None = _option(
        "Threads of one unit of work. Default: the cores, shared by the units that fit into memory.",
        "--omp-nthreads",
        "--omp_nthreads",
        type=int,
        metavar="N",
    )
    mem: str | None = _option(
        "Memory to use in all: 16G, 16000M or a number of MB. Default: 90 %% of what is free.",
        "--mem",
        "--mem-mb",
        "--mem_mb",
        metavar="SIZE",
    )
    mem_gb: float | None = _option("The same, in GB.", "--mem-gb", "--mem_gb", type=float, metavar="GB")
    device: str = _option(
        "Where the numbers are computed: auto (a GPU if there is one), cpu, cuda or cuda:N.", "--device", default="auto"
    )
    use_gpu: bool = _option("The same as --device cuda.", "--use-gpu", "--use_gpu", default=False, action="store_true")
    force: bool = _option("Compute everything anew.", "--force", default=False, action="store_true")
    dry_run: bool = _option(
        "Print the plan (units, steps, what is skipped and why, files) and stop.",
        "--dry-run",
        "--dry_run",
        default=False,
        action="store_true",
    )
    reports_only: bool = _option(
        "Only write the report pages and references again, from the records of former runs.",
        "--reports-only",
        default=False,
        action="store_true",
    )
    stop_on_first_crash: bool = _option(
        "Start nothing new after the first failure.", "--stop-on-first-crash", default=False, action="store_true"
    )
    notrack: bool = _option(argparse.SUPPRESS, "--notrack", default=False, action="store_true")
    debug: bool = _option(
        "Show the traceback of an error that stops the app.", "--debug", default=False, action="store_true"
    )


def families() -> dict[str, Family]:
    """Every family of every pipeline, by name."""
    return {family.name: family for pipeline in PIPELINES for family in pipeline.families}


def make(values: Mapping[str, Any]) -> Options:
    """Options from plain values, checked: every method and knob exists, every knob's value has its type."""
    converted: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    known = {one.name for one in dataclasses.fields(Options)}
    for name in converted:
        if name not in known:
            raise UsageError(f"There is no setting {name!r}.", "See `neuraxis --help`.")
    options = Options(**converted)
    if options.use_gpu and options.device == "auto":
        options = dataclasses.replace(options, device="cuda")
    if options.atlas:
        options = dataclasses.replace(options, atlas=str(Path(options.atlas).resolve()))
    if options.phase_sign not in ("positive", "negative"):
        raise UsageError(f"phase_sign is positive or negative, not {options.phase_sign!r}.")
    if options.oblique not in ("rotate", "resample"):
        raise UsageError(f"oblique is rotate or resample, not {options.oblique!r}.")
    if not options.coil_smoothing > 0:
        raise UsageError(f"--coil-smoothing must be above 0 mm, not {options.coil_smoothing}.")
    if options.cord and options.brain:
        raise UsageError("--cord and --brain exclude each other.", "Leave both out to have each image judged by itself.")
    everything = families()
    for family, method in options.methods.items():
        if family not in everything:
            raise UsageError(f"There is no family {family!r}.", f"Families: {', '.join(everything)}.")
        everything[family].method(method)
    for path, settings in options.knobs.items():
        family, _, method = path.partition(".")
        if family not in everything:
            raise UsageError(f"There is no family {family!r}.", f"Families: {', '.join(everything)}.")
        try:
            everything[family].method(method).set(settings)
        except ValueError as error:
            raise UsageError(f"{family}: {error}.", "See `neuraxis methods`.") from error
    return options


def read_config(path: Path) -> dict[str, Any]:
    """Settings of a `run.toml`; knobs come back as "family.method" -> values."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not a TOML file: {error}.") from error
    content.pop("neuraxis", None)
    science = {one.name for one in dataclasses.fields(Options) if one.metadata.get("science")} | {"methods", "knobs"}
    for name in content:
        if name not in science:
            raise UsageError(
                f"{path} sets {name!r}, which is not a setting of the science.",
                f"It may set {', '.join(sorted(science))}.",
            )
    nested = content.get("knobs", {})
    content["knobs"] = {
        f"{family}.{method}": values for family, methods in nested.items() for method, values in methods.items()
    }
    return content


def to_toml(options: Options) -> str:
    """The science of a run as a config file that gives the same results: chosen methods, and the knobs of every family."""
    import tomli_w

    from neuraxis import __version__

    content: dict[str, Any] = {"neuraxis": __version__, "preset": options.preset}
    if options.outputs:
        content["outputs"] = list(options.outputs)
    content |= {name: True for name in ("cord", "brain") if getattr(options, name)}
    usual = Options()
    read_as = ("phase_sign", "oblique", "coil_smoothing", "atlas")
    content |= {n: getattr(options, n) for n in read_as if getattr(options, n) != getattr(usual, n)}
    if options.methods:
        content["methods"] = dict(options.methods)
    content["knobs"] = {}
    for name, family in families().items():
        chosen = family.method(options.methods.get(name))
        for method in family.methods:  # knobs of another method were set for data that do not allow the chosen one
            given = options.knobs.get(f"{name}.{method.name}", {})
            values = {k: v for k, v in method.set(given).items() if v is not None}
            if values and (method is chosen or given):
                content["knobs"].setdefault(name, {})[method.name] = values
    return tomli_w.dumps(content)


def memory_mb(options: Options) -> float | None:
    """The memory that the user allows; MB."""
    if options.mem_gb is not None:
        return options.mem_gb * 1024
    if options.mem is None:
        return None
    text = options.mem.strip().upper().removesuffix("B").removesuffix("I")
    factor = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}.get(text[-1:], 0)
    try:
        return float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        raise UsageError(f"--mem {options.mem!r} is not a size.", "For example 16G or 16000.") from None
