"""Derivatives: names, sidecars, saving and loading. The derivative is the cache.

The key of an artifact stands in its JSON sidecar. Files are written under a temporary name in the same folder, synced
and renamed, the sidecar last: a killed run leaves no half file, and no key without its data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lazy_loader as lazy
import numpy as np

from neuraxis import __version__
from neuraxis.artifacts import ARTIFACTS, Artifact
from neuraxis.bids import tables
from neuraxis.bids.gradients import as_rows
from neuraxis.bids.nifti import change_unit, echo_by_echo, image_bytes, read_image, read_warp, warp_bytes
from neuraxis.engine import PlannedStep
from neuraxis.errors import OutputError
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

nibabel = lazy.load("nibabel")

ORDER = (
    "tpl sub ses sample task tracksys acq nuc voi ce trc stain rec dir run mod echo flip inv mt part proc hemi space split "
    "recording chunk atlas seg scale model param stat res den label from to mode desc"
).split()
"""The order of entities in a BIDS name (BIDS 1.11.1, appendix "Entities")."""

_TEMPORARY = ".writing-"


def name_of(entities: Mapping[str, str], suffix: str, extension: str) -> str:
    """A BIDS file name, its entities in the order of the specification."""
    known = sorted(entities, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return "_".join([f"{name}-{entities[name]}" for name in known] + [suffix]) + extension


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes `path` so that it is there whole or not at all, also after a power cut."""
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{path} cannot be written: {error.strerror}.", "Check rights and free space.") from error


def write_json(path: Path, content: Any) -> None:
    """A JSON file, written atomically."""
    write_atomically(path, json.dumps(content, indent=2, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of our own writing; empty when it is not there or not whole."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass
class UnitStore:
    """Where the artifacts of one unit are kept: results in the output folder, all else in the work folder."""

    out: Path
    work: Path
    entities: dict[str, str]
    label: str
    field_strength: float | None
    echo_times: tuple[float, ...]
    echoes: tuple[str, ...]
    suffix: str
    source: str
    sources: tuple[str, ...]
    shared: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    """Where the derivatives of a series lie that those of an anatomical image have in anat/."""
    beside: tuple[Path, ...] = ()
    """Files that stand beside the source, and beside a series that is made of it."""
    asked: frozenset[str] = frozenset()
    force: bool = False
    fresh: set[str] = field(default_factory=set)
    region_names: Table | None = None
    """What regions are called that have not our numbers."""

    def paths(self, name: str) -> list[Path]:
        """The files of an artifact: its derivatives, or nothing when it stays in the work folder."""
        artifact = ARTIFACTS[name]
        if artifact.file is None or not (artifact.keep in ("always", "made") or name in self.asked):
            return []
        told = {name: value or self.suffix for name, value in artifact.file.entities}
        entities = {**self.entities, **told}
        if "from" in told:
            entities.pop("space", None)
        if self.label:
            entities["desc"] = entities.get("desc", "") + self.label
        folder = self.out / f"sub-{entities['sub']}"
        if "ses" in entities:
            folder /= f"ses-{entities['ses']}"
        echoes = [{"echo": label} for label in self.echoes] if artifact.file.per_echo and self.echoes else [{}]
        told_suffix = artifact.file.suffix
        suffix = self.suffix + told_suffix.removeprefix("+") if told_suffix[:1] in ("", "+") else told_suffix
        extension = ".tsv" if artifact.kind == "table" else ".nii.gz"
        place = self.folder if self.folder and artifact.file.folder == "anat" else artifact.file.folder
        return [folder / place / name_of({**entities, **one}, suffix, extension) for one in echoes]

    def _sidecar(self, path: Path) -> Path:
        return path.with_name(path.name.removesuffix(".nii.gz").removesuffix(".tsv") + ".json")

    def has(self, name: str, key: str) -> bool:
        """Whether the artifact is there under this key."""
        if self.force and name not in self.fresh:
            return False
        paths = self.paths(name)
        if not paths:
            file = self.work / f"{name}.npz"
            return file.exists() and read_json(self.work / f"{name}.json").get("Key") == key
        return all(p.exists() and read_json(self._sidecar(p)).get("Neuraxis", {}).get("Key") == key for p in paths)

    def load(self, name: str) -> Any:
        """The artifact, in the app's unit."""
        paths = self.paths(name)
        if not paths:
            with np.load(self.work / f"{name}.npz", allow_pickle=False) as held:
                if ARTIFACTS[name].kind == "table":
                    return Table({column: held[column] for column in held.files})
                data = held["data"]
                return Volume(echo_by_echo(data), Grid.of(data.shape, held["affine"]))
        if ARTIFACTS[name].kind == "table":
            return tables.read(paths[0], ARTIFACTS[name])
        if ARTIFACTS[name].kind == "warp":
            return read_warp(paths[0])
        parts = [read_image(path, ARTIFACTS[name], self.field_strength) for path in paths]
        if not ARTIFACTS[name].file.per_echo:  # type: ignore[union-attr]
            return parts[0]
        return Volume(np.moveaxis(np.stack([p.data for p in parts]), 0, -1), parts[0].grid)

    def save(self, name: str, value: Any, key: str, by: PlannedStep) -> Any:
        """Keeps the artifact, and gives it back as `load` would."""
        self.fresh.add(name)
        artifact, file = ARTIFACTS[name], ARTIFACTS[name].file
        paths = self.paths(name)
        if isinstance(value, Table):
            return self._save_table(artifact, paths, value, key, by)
        value = Volume(echo_by_echo(value.data), value.grid)
        if not paths:
            self._save_work(name, key, data=value.data, affine=value.grid.matrix)
            return value
        assert file is not None
        stored = (
            value.data
            if value.data.dtype.kind in "bi"
            else change_unit(
                np.asarray(value.data, np.float32), artifact.unit, file.unit, self.field_strength, paths[0]
            )
        )
        parts = np.moveaxis(stored, -1, 0) if file.per_echo else [stored]
        for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
            sidecar = self._sidecar(path)
            with contextlib.suppress(FileNotFoundError):
                sidecar.unlink()
            content = (warp_bytes if artifact.kind == "warp" else image_bytes)(Volume(part, value.grid))
            text = self.metadata(artifact, key, by, number if file.per_echo else None)
            for other in self.beside if file.beside else ():
                write_atomically(sidecar.with_suffix(other.suffix), as_rows(other))
            for twin in (*self._twins(path, file.twins), path):  # the sidecar that `has` looks at comes last of all
                write_atomically(twin, content)
                if artifact.kind == "labels" and artifact.names:
                    write_atomically(self._sidecar(twin).with_suffix(".tsv"), tables.label_table(artifact.names, part, self.region_names))
                write_json(self._sidecar(twin), text)
        back = (
            stored
            if stored.dtype.kind in "bi"
            else change_unit(stored, file.unit, artifact.unit, self.field_strength, "")
        )
        return Volume(back, value.grid)

    def _twins(self, path: Path, others: Iterable[str]) -> list[Path]:
        first = dict(ARTIFACTS["combined_magnitude"].file.entities)["desc"]  # type: ignore[union-attr]
        return [path.with_name(path.name.replace(f"_desc-{first}", f"_desc-{other}")) for other in others]

    def _save_table(self, artifact: Artifact, paths: list[Path], value: Table, key: str, by: PlannedStep) -> Table:
        if not paths:
            self._save_work(artifact.name, key, **value.columns)
            return value
        (path,) = paths
        sidecar = self._sidecar(path)
        with contextlib.suppress(FileNotFoundError):
            sidecar.unlink()
        who = {"participant_id": f"sub-{self.entities['sub']}", "image": self.source}
        if "ses" in self.entities:
            who["session_id"] = f"ses-{self.entities['ses']}"
        if artifact.over_time:
            text, meaning = tables.plain_text(value), tables.plain_dictionary(value, artifact)
        else:
            text, meaning = tables.text(value, artifact, who), tables.dictionary(value, artifact)
        write_atomically(path, text)
        write_json(sidecar, self.metadata(artifact, key, by, None) | meaning)
        return tables.read(path, artifact)

    def _save_work(self, name: str, key: str, **arrays: Any) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        sidecar = self.work / f"{name}.json"
        with contextlib.suppress(FileNotFoundError):
            sidecar.unlink()
        temporary = self.work / f"{_TEMPORARY}{os.getpid()}-{name}.npz"
        np.savez(temporary, **arrays)
        os.replace(temporary, self.work / f"{name}.npz")
        write_json(sidecar, {"Key": key})

    def metadata(self, artifact: Artifact, key: str, by: PlannedStep, echo: int | None) -> dict[str, Any]:
        """The JSON sidecar of a derivative."""
        file = artifact.file
        assert file is not None
        text: dict[str, Any] = {"Description": f"{artifact.title}: {artifact.meaning}."}
        if file.unit:
            text["Units"] = file.unit
        if artifact.kind == "map" and artifact.names:
            text["LabelMap"] = tables.label_map(artifact.names)
        text.update(dict(file.metadata))
        text.update(self.shared)
        if self.field_strength is not None:
            text["MagneticFieldStrength"] = self.field_strength
        if echo is not None:
            text["EchoTime"] = self.echo_times[echo]
        text |= {
            "Sources": [f"bids:raw:{source}" for source in self.sources],
            "EstimationAlgorithm": by.method.summary,
            "EstimationReference": ", ".join(f"https://doi.org/{doi}" for doi in by.method.dois),
            "GeneratedBy": [{"Name": "Neuraxis", "Version": __version__}],
            "Neuraxis": {"Method": by.method.path, "Knobs": by.knobs, "Key": key},
        }
        return text

    def clear(self, *, keep_work: bool = False) -> None:
        """Removes temporary files that a killed run left, and the work folder of the unit unless it is kept."""
        stem = name_of(self.entities, "", "")
        base = self.out / f"sub-{self.entities['sub']}"
        for stale in base.rglob(f"{_TEMPORARY}*{stem}*"):
            stale.unlink(missing_ok=True)
        if not keep_work and self.work.is_dir():
            for file in self.work.iterdir():
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.work.rmdir()

    def find_given(self, folders: Iterable[Path], names: Iterable[str]) -> dict[str, Path]:
        """Those of the artifacts `names` that lie in other derivative folders, under our name or one that is usual elsewhere."""
        found: dict[str, Path] = {}
        wanted = [name for name in names if (file := ARTIFACTS[name].file) and not file.derived and not file.per_echo]
        for folder in folders:
            for name in wanted:
                file = ARTIFACTS[name].file
                if name in found or file is None or ARTIFACTS[name].kind == "table":
                    continue
                own = dataclasses.replace(self, out=folder, asked=frozenset({name}))
                paths = [path for one in (name, *file.also) for path in own.paths(one)]
                paths += [paths[0].with_name(f"{self.source}{ending}.nii.gz") for ending in file.given]
                paths += [paths[0].with_name(name_of(self.entities, "", "") + f"{ending[1:]}.nii.gz") for ending in file.bare]
                plain = [path.with_name(path.name.removesuffix(".gz")) for path in paths]
                match = next((p for p in (*paths, *plain) if p.exists()), None)
                if match:
                    found[name] = match
        return found
