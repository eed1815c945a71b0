"""The template of a cohort on disk: which images it is made of, its processes, its files and its pictures."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis import __version__, executor
from neuraxis.bids.derivatives import read_json, write_json
from neuraxis.bids.images import grid_of_file
from neuraxis.brain import group_template
from neuraxis.brain.group_mean import Head, Laid, Template
from neuraxis.cohort_folder import Folder
from neuraxis.cohort_processes import (
    LABEL,
    READ,
    Member,
    bring,
    content,
    digest_of,
    held,
    lay,
    prepare,
    read_head,
    read_laid,
    read_progress,
    save_progress,
    save_template,
    sidecar,
)
from neuraxis.errors import DataError, NeuraxisError, NothingSelected
from neuraxis.options import Options, memory_mb
from neuraxis.pipelines import QSM
from neuraxis.table import Table
from neuraxis.volume import Array
from neuraxis.watcher import tell

MORE = ("chi", "t1w_aligned")
"""What the template is made of beside the magnitude, where everybody has it."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What the template's making leaves for the page."""

    pictures: tuple[dict[str, str], ...]
    rounds: Table
    heads: Table


def make(options: Options, records: Sequence[Mapping[str, Any]]) -> Found:
    """Builds the template of the cohort, and brings everybody's maps into it.

    Raises
    ------
    NothingSelected: fewer than two participants have a magnitude and a mask.
    DataError: heads do not lie on each other.
    """
    out = options.output_dir.resolve()
    work = (options.work_dir or options.output_dir / "work").resolve() / LABEL
    members = _members(out, records)
    builders = [one for one in members if one.first]
    if len(builders) < 2:
        raise NothingSelected(
            f"{len(builders)} participant(s) with a magnitude and a mask in {out}: a template needs two.",
            "Run the level participant for more of them.",
        )
    channels = ("combined_magnitude", *(name for name in MORE if all(name in one.files for one in builders)))
    if "chi" not in channels:
        _say("not every participant has a susceptibility map: the template is made without it")
    voxel = _voxel(out, builders)
    key = digest_of(__version__, voxel, channels, [(one.name, one.key) for one in members])
    made = _summary_of(out)
    if not options.force and read_json(made).get("Key") == key and (there := former(out)):
        _say("the template is there already")
        return there
    for stale in _inside(out, read_json(made).get("Files", ())):
        for path in (out / stale, sidecar(out / stale)):
            path.unlink(missing_ok=True)
    made.unlink(missing_ok=True)
    try:
        builder = _Builder(options, out, work, members, channels, voxel, key)
        summary = builder.run()
    except ValueError as error:
        raise DataError(f"The template cannot be made: {error}.", "Look at the pages of the participants and at their masks.") from error
    write_json(made, summary)
    if not options.keep_work:
        shutil.rmtree(work, ignore_errors=True)
    found = _told(summary)
    if missing := left_out(records, found.heads):
        _say(f"warning: made without {', '.join(missing)}: see the page")
    return found


def former(out: Path) -> Found | None:
    """The template that a former run left; None where it is not whole."""
    summary = read_json(_summary_of(out))
    files = summary.get("Files", [])
    if not files or len(_inside(out, files)) < len(files) or not all((out / one).exists() for one in files):
        return None
    return _told(summary)


def left_out(records: Sequence[Mapping[str, Any]], heads: Table) -> list[str]:
    """Gradient echoes of the cohort that are not in the template."""
    there = set(heads["image"].tolist())
    return sorted({str(one["unit"]) for one in records if one.get("pipeline") == QSM.name} - there)


def _summary_of(out: Path) -> Path:
    return out / f"tpl-{LABEL}" / f"tpl-{LABEL}_template.json"


def _inside(out: Path, files: Iterable[str]) -> list[str]:
    """Those that lie in the output folder."""
    return [one for one in files if (out / one).resolve().is_relative_to(out.resolve())]


def _say(text: str) -> None:
    tell(f"neuraxis: template: {text}")


def _members(out: Path, records: Sequence[Mapping[str, Any]]) -> list[Member]:
    """Every image with a magnitude and a mask; the first of each participant speaks for it."""
    found: list[Member] = []
    seen: set[str] = set()
    for record in sorted(records, key=lambda one: str(one.get("unit"))):
        lies = record.get("given", {}) | {name: paths[0] for name, paths in record.get("files", {}).items() if paths}
        files = {name: path for name, path in lies.items() if name in READ and (out / path).exists()}
        if record.get("pipeline") != QSM.name or not {"combined_magnitude", "mask"} <= set(files):
            continue
        keys = [(name, content(out / files[name])) for name in sorted(files)]
        participant = str(record["participant"])
        found.append(Member(str(record["unit"]), participant, files, digest_of(keys), participant not in seen))
        seen.add(participant)
    return found


def _voxel(out: Path, builders: Sequence[Member]) -> float:
    """Median edge of the participants' voxels, at least 1 mm."""
    edges = [abs(np.linalg.det(grid_of_file(out / one.files["mask"]).matrix[:3, :3])) ** (1 / 3) for one in builders]
    return round(max(1.0, float(np.median(edges))), 3)


class _Builder:
    """One making of the template: the processes of every round, and what they leave in the work folder."""

    def __init__(
        self, options: Options, out: Path, work: Path, members: Sequence[Member], channels: Sequence[str], voxel: float, key: str
    ) -> None:
        self.options, self.out, self.work, self.members = options, out, work, list(members)
        self.channels, self.voxel, self.key = tuple(channels), voxel, key
        self.folder = Folder(out, key)

    def run(self) -> dict[str, Any]:
        """Everything, in order; what the page needs to know of it."""
        self.work.mkdir(parents=True, exist_ok=True)
        builders = [one for one in self.members if one.first]
        _say(f"{len(builders)} participants, {len(self.members)} images, voxels of {self.voxel:g} mm, from {' and '.join(self.channels)}")
        well = self._jobs(
            "prepared", prepare, {one.name: (self.out, self._head(one), one, self.channels, self.voxel) for one in self.members}
        )
        self.members = [one for one in self.members if one.name in well]
        builders = [one for one in builders if one.name in well]
        if len(builders) < 2:
            raise ValueError("fewer than two participants are left")
        affines = {one.name: np.asarray(held(self._head(one))["affine"]) for one in self.members}
        sized = dict(zip(affines, group_template.common_size(list(affines.values())), strict=True))
        stretch = max(1.0, 1.05 * max(_size(affines[name] @ np.linalg.inv(sized[name])) for name in affines))
        grid = group_template.template_grid(self.voxel, stretch)
        template, rounds, last = group_template.build(
            {one.name: sized[one.name] for one in builders}, self._load, self._lay_all, grid, told=_say,
            progress=read_progress(self.work / "progress.npz", self.key), keep=self._keep,
        )  # fmt: skip
        _say("everybody's maps are brought into it")
        name_in = {one.name for one in builders}
        heads = self._finish(template, {name: last.get(name, start) for name, start in sized.items()}, name_in)
        self.folder.maps(template, [one for one in self.members if one.first], self.work)
        pictures = self.folder.atlas(template)
        for name, table in (("template_rounds", rounds), ("template_heads", heads)):
            self.folder.table(name, table)
        doubtful = [row["image"] for row in heads.rows() if row["trusted"] != 1]
        if doubtful:
            _say(f"warning: {', '.join(doubtful)} does not lie well on the template: look at it before its maps there are used")
        return {
            "Key": self.key, "Files": self.folder.written, "Pictures": pictures,
            "Rounds": list(rounds.rows()), "Heads": list(heads.rows()),
        }  # fmt: skip

    def _keep(self, progress: group_template.Progress) -> None:
        save_progress(self.work / "progress.npz", progress, self.key)

    def _head(self, member: Member) -> Path:
        return self.work / f"{member.name}_head.npz"

    def _load(self, name: str) -> Head:
        return read_head(self.work / f"{name}_head.npz")

    def _jobs(self, what: str, function: Any, payloads: Mapping[str, Any]) -> list[str]:
        """Runs a function for every image, several at once, one thread each: so every machine makes the same bits.

        Names of those for which it ended well; the others are told of.
        """
        options = self.options
        memory = memory_mb(options) or 0.9 * executor.free_memory_mb()
        jobs = [executor.Job(name, _memory(self.voxel, len(self.channels)), payload) for name, payload in payloads.items()]
        well = set()
        for job, result in executor.run_jobs(
            jobs, function, n_cores=options.nprocs or executor.cores(), memory_mb=memory, threads=1, stop_on_first=options.stop_on_first_crash
        ):
            if not isinstance(result, NeuraxisError):
                well.add(job.name)
            elif options.stop_on_first_crash:
                raise DataError(f"{job.name} could not be {what}: {result}", result.hint)
            else:
                _say(f"warning: {job.name} could not be {what} and is left out: {result}")
        return [name for name in payloads if name in well]

    def _lay_all(self, template: Template, number: int, starts: Mapping[str, Array]) -> Iterator[tuple[str, Laid]]:
        file = self.work / f"round-{number}.npz"
        digest = save_template(file, template)
        payloads = {
            name: (self.work / f"{name}_head.npz", file, self.work / f"{name}_round-{number}.npz", start, digest, number)
            for name, start in starts.items()
        }
        for name in self._jobs("registered", lay, payloads):
            yield name, read_laid(self._load(name), self.work / f"{name}_round-{number}.npz")
        for path in self.work.glob(f"*round-{number - 1}.npz"):
            path.unlink()

    def _finish(self, template: Template, starts: Mapping[str, Array], builders: set[str]) -> Table:
        file = self.work / "round-final.npz"
        digest = save_template(file, template)
        well = self._jobs("brought into the template", bring, {
            one.name: (self.out, one, self.work / f"{one.name}_head.npz", file, self.work / f"{one.name}_round-final.npz",
                       starts[one.name], digest, self.key)
            for one in self.members
        })  # fmt: skip
        self.members = [one for one in self.members if one.name in well]
        if not self.members:
            raise ValueError("no image could be brought into it")
        rows = []
        for one in self.members:
            for path in (self.out / path for path in held(self.work / f"{one.name}_brought.npz")["files"].tolist()):
                self.folder.note(path)
            laid = held(self.work / f"{one.name}_round-final.npz")
            session = one.entities.get("ses")
            rows.append({
                "participant_id": f"sub-{one.participant}", "session_id": f"ses-{session}" if session else "", "image": one.name,
                "in_mean": int(one.name in builders and laid["overlap"] >= group_template.LEAST_OVERLAP), "overlap": float(laid["overlap"]),
                "similarity": float(laid["similarity"]), "trusted": int(laid["overlap"] >= group_template.LEAST_OVERLAP),
            })  # fmt: skip
        return Table.of_rows(rows)


def _size(stretch: Array) -> float:
    """The largest factor by which an affine map stretches."""
    return float(np.linalg.svd(stretch[:3, :3], compute_uv=False).max())


def _memory(voxel: float, channels: int) -> float:
    """MiB that a process and its greedy need together; measured with two channels: 3200 at 1 mm, 1280 at 2 mm."""
    return 1000 + (1600 + 350 * channels) / voxel**3


def _told(summary: Mapping[str, Any]) -> Found:
    return Found(tuple(summary["Pictures"]), Table.of_rows(summary["Rounds"]), Table.of_rows(summary["Heads"]))
