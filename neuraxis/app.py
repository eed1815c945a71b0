"""Which units, which pipeline, on which executor; the one module that knows everybody."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuraxis import __version__, executor
from neuraxis.bids import dataset, images, validation
from neuraxis.bids.derivatives import read_json, write_json
from neuraxis.bids.given_atlas import read_atlas
from neuraxis.cohort import check_column, write_group
from neuraxis.errors import LeftOut, MissingInput, NeuraxisError, NothingSelected, OutputError, UsageError
from neuraxis.kinds import KINDS, kind_of
from neuraxis.options import Options, memory_mb, to_toml
from neuraxis.summary import write_dataset_files, write_participant_page
from neuraxis.unit import Task, check_outputs, prepare, run_unit, spared, targets
from neuraxis.watcher import tell


def run(options: Options, argv: Sequence[str]) -> int:
    """Runs the app; returns the exit code. Raises only what stops everything."""
    start = time.time()
    bids = options.bids_dir
    if not bids.is_dir():
        raise MissingInput(f"There is no folder {bids}.", "Name the folder of a BIDS data set.")
    out = options.output_dir.resolve()
    if out == bids.resolve():
        raise UsageError("The output folder is the input data set.", "Name another: the input is only read.")
    if "group" in options.levels:
        check_column(bids, options.group_column)
    if options.atlas:
        read_atlas(Path(options.atlas))  # what is wrong with it is said once, before anything is computed
    labels = dataset.choose_participants(bids, options.participant_label) if "participant" in options.levels else []
    code = 0
    if options.reports_only:
        _say("writing the report pages again")
    elif "participant" in options.levels:
        if not options.skip_bids_validation and not options.dry_run:
            for text in validation.validate(bids, labels, _work(options)):
                _say(text)
        code = _participants(options, labels, argv)
    if options.dry_run:
        return code
    records = read_records(out)
    if options.reports_only:
        for label in sorted({record["participant"] for record in records}):
            write_participant_page(out, label, records, to_toml(options))
    try:
        if "group" in options.levels:
            if not records:
                raise NothingSelected(f"{out} holds no results of participants.", "Run the level participant first.")
            write_group(options, records)
            _say(f"group: {len(records)} unit(s), {out / 'group.html'}")
    finally:
        write_dataset_files(out, bids, records, to_toml(options))
    _tidy(_work(options))
    _say(f"finished in {time.time() - start:.0f} s, exit code {code}; results in {out}")
    return code


def read_records(out: Path) -> list[dict[str, Any]]:
    """The records of all units in an output folder."""
    found = [read_json(path) for path in sorted((out / "logs").glob("sub-*.json"))]
    return [record for record in found if "unit" in record]


def _work(options: Options) -> Path:
    return (options.work_dir or options.output_dir / "work").resolve()


def _say(text: str) -> None:
    tell(f"neuraxis: {text}")


def _participants(options: Options, labels: Sequence[str], argv: Sequence[str]) -> int:
    filters = dataset.Filters.of(
        session=options.session_label,
        run=options.run_label,
        acquisition=options.acquisition_label,
        rec=options.reconstruction_label,
        filter_file=options.bids_filter_file,
    )
    check_outputs(options)  # a name that does not exist stops the run before it begins
    device = choose_device(options.device)
    index = dataset.layout(options.bids_dir, labels, options.bids_database_dir)
    tasks: list[Task] = []
    codes: list[int] = []
    left: dict[str, list[str]] = {}
    for label in labels:
        files: Mapping[str, Iterable[Path]] = index or {label: dataset.Folder(options.bids_dir, label)}
        problems: dict[str, tuple[str, NeuraxisError]] = {}
        for kind in KINDS:
            if not targets(kind.pipeline, options):
                continue  # what was asked for by name is another pipeline's
            units, found = kind.find(options, label, filters, files)
            for name, error in found:
                if isinstance(error, LeftOut):
                    left.setdefault(error.sentence(), []).append(name)
                else:
                    problems[name] = kind.pipeline.name, error
            tasks += [Task(unit, options, device, tuple(argv), _work(options)) for unit in units]
        codes += [_failed(options, label, name, error, argv, page) for name, (page, error) in problems.items()]
    for text, names in left.items():  # once for all that it holds of
        _say(f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''} left out: {text}")
    if not tasks and not codes:
        raise NothingSelected(
            f"Nothing of {', '.join('sub-' + one for one in labels)} is selected: no {', no '.join(k.nothing for k in KINDS)}.",
            "Look at the files in anat/, at the filters, and at --cord and --brain.",
        )
    jobs = []
    for task in tasks:
        try:
            if spared(task, tasks):
                continue
            shape = images.shape_of(task.unit)  # headers only: the worker reads and hashes what it works on
            if options.dry_run:
                print(prepare(task).text())
            else:
                before = tuple(other.name for other in task.unit.before)
                jobs.append(executor.Job(task.unit.name, _expected_memory(task, shape), task, before))
        except NeuraxisError as error:
            codes.append(_failed(options, task.unit.participant, task.unit.name, error, argv, task.unit.pipeline))
    if options.dry_run:
        return _overall(codes, len(codes) + len(tasks))
    _claim(options)
    codes += _execute(options, jobs, argv)
    return _overall(codes, len(codes))


def _execute(options: Options, jobs: list[executor.Job], argv: Sequence[str]) -> list[int]:
    out = options.output_dir.resolve()
    n_cores = options.nprocs or executor.cores()
    memory = memory_mb(options) or 0.9 * executor.free_memory_mb()
    at_once, threads = executor.share(jobs, n_cores, memory, options.omp_nthreads)
    if jobs:
        _say(f"{len(jobs)} unit(s), {at_once} at once with {threads} thread(s) each, {memory / 1024:.1f} GB in all")
    codes = []
    for job, result in executor.run_jobs(
        jobs,
        run_unit,
        n_cores=n_cores,
        memory_mb=memory,
        threads=options.omp_nthreads,
        stop_on_first=options.stop_on_first_crash,
    ):
        if isinstance(result, NeuraxisError):
            unit = job.payload.unit
            codes.append(_failed(options, unit.participant, job.name, result, argv, unit.pipeline))
            continue
        codes.append(result["exit_code"])
        write_participant_page(out, job.payload.unit.participant, read_records(out), to_toml(options))
    return codes


def _failed(
    options: Options, participant: str, unit: str, error: NeuraxisError, argv: Sequence[str], pipeline: str
) -> int:
    """Tells of a unit that could not run at all, on the screen and in its record."""
    _say(f"{unit}: {error.sentence()}")
    if not options.dry_run:
        _claim(options)
        out = options.output_dir.resolve()
        write_json(
            out / "logs" / f"{unit}.json",
            {
                "unit": unit,
                "participant": participant,
                "pipeline": pipeline,
                "status": "failed",
                "error": str(error),
                "hint": error.hint,
                "exit_code": error.exit_code,
                "version": __version__,
                "command": " ".join(["neuraxis", *argv]),
                "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
                "seconds": 0,
                "steps": [],
            },
        )
        write_participant_page(out, participant, read_records(out), to_toml(options))
    return error.exit_code


def _overall(codes: Sequence[int], units: int) -> int:
    """0 when all went well; the common code when every failure has the same; else 1."""
    bad = {code for code in codes if code}
    return bad.pop() if len(bad) == 1 else int(bool(bad))


def choose_device(wanted: str) -> str:
    """auto, cpu, cuda or cuda:N -> the device of a run; UsageError when it is not there."""
    if wanted == "cpu":
        return "cpu"
    if wanted != "auto" and wanted.split(":")[0] != "cuda":
        raise UsageError(f"--device {wanted!r} is not known.", "Use auto, cpu, cuda or cuda:N.")
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():
        found = False  # spares the import of torch on a machine without a GPU
    else:
        import torch

        found = torch.cuda.is_available()
    if not found and wanted != "auto":
        raise UsageError(
            f"--device {wanted}: there is no GPU here.",
            "Is it passed through (--gpus all, --nv)? Or use --device auto.",
        )
    return ("cuda" if wanted == "auto" else wanted) if found else "cpu"


def _expected_memory(task: Task, shape: tuple[int, ...]) -> float:
    rest, per_voxel, per_echo = kind_of(task.unit).pipeline.memory
    x, y, z, echoes = shape
    return rest + x * y * z * (per_voxel + per_echo * echoes) / 2**20


def _claim(options: Options) -> None:
    """Makes output and work folder, and tells libraries to keep their caches there."""
    work = _work(options)
    try:
        for folder in (options.output_dir / "logs", work):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{error.filename} cannot be made: {error.strerror}.", "Choose a folder that you may write to."
        ) from error
    os.environ.setdefault("MPLCONFIGDIR", str(work / "cache"))
    ready = os.environ.get("NUMBA_CACHE_DIR", "")
    if not os.access(ready or Path(__file__).parent, os.W_OK):
        if ready and not (work / "cache/numba").exists():
            shutil.copytree(ready, work / "cache/numba", copy_function=shutil.copyfile, dirs_exist_ok=True)
        os.environ["NUMBA_CACHE_DIR"] = str(work / "cache/numba")


def _tidy(work: Path) -> None:
    """Removes caches, and the work folder when nothing else is left in it."""
    shutil.rmtree(work / "cache", ignore_errors=True)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()
