"""The folder of the template of a cohort: what lies in it, under which names, and its pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.artifacts import ARTIFACTS, View
from neuraxis.artifacts.brain import SPACE
from neuraxis.bids import tables
from neuraxis.bids.derivatives import name_of, write_atomically, write_json
from neuraxis.bids.nifti import image_bytes, read_image, warp_bytes
from neuraxis.brain.group_mean import Template, summaries
from neuraxis.brain.head import onto_template
from neuraxis.brain.labels import from_template
from neuraxis.brain.template_registration import warps
from neuraxis.cohort_processes import BRIGHT, LABEL, MAPS, Member, derivative, sidecar
from neuraxis.report.template import within_sentence
from neuraxis.table import Table
from neuraxis.volume import Volume

_KINDS = {
    "mean": "Mean {} of {} participants.",
    "median": "Median {} of {} participants.",
    "sd": "Standard deviation of the {} over {} participants.",
    "number": "Number of participants whose {} is known, of {}.",
}

_PICTURES: tuple[tuple[str, str, View | None], ...] = (
    ("combined_magnitude", "mean", View()), ("chi", "mean", None), ("chi", "sd", View(low=0)), ("r2star", "mean", None),
    ("t1w_aligned", "mean", View()),
)  # fmt: skip


class Folder:
    """Writes the template's files, and remembers their names."""

    def __init__(self, out: Path, key: str) -> None:
        self.out, self.key, self.participants = out, key, 0
        self.written: list[str] = []
        """Relative to the output folder."""

    def table(self, name: str, table: Table) -> None:
        """A table of the glossary, and its data dictionary."""
        path = self._path({"desc": name.removeprefix("template_")}, "table", ".tsv")
        write_atomically(path, tables.plain_text(table))
        write_json(sidecar(path), tables.plain_dictionary(table, ARTIFACTS[name]))
        self.note(path)

    def maps(self, template: Template, builders: Sequence[Member], work: Path) -> None:
        """Mean, median and standard deviation of every map over the participants, from what the processes left in `work`."""
        grid = template.mask.grid
        self.participants = len(builders)
        for name in MAPS:
            mine = [one for one in builders if name in one.files]
            if len(mine) < 2:
                continue
            stack = np.lib.format.open_memmap(work / "stack.npy", "w+", np.float32, (len(mine), *grid.shape))
            known = np.lib.format.open_memmap(work / "known.npy", "w+", np.uint8, (len(mine), *grid.shape))
            for number, one in enumerate(mine):
                with np.load(work / f"{one.name}_{name}.npz", allow_pickle=False) as one_map:
                    stack[number], known[number] = one_map["data"], one_map["known"]
            for kind, data in summaries(stack, known).items():
                unit = "1" if kind == "number" else ARTIFACTS[name].unit
                meaning = _KINDS[kind].format(within_sentence(ARTIFACTS[name].title), len(mine))
                self._write(self._map_path(name, kind), image_bytes(Volume(data, grid)), {"Description": meaning, "Units": unit})
            del stack, known
        self._write(self._path({"desc": "brain"}, "mask"), image_bytes(Volume(template.brain, grid)), {
            "Description": "Brain of the template: where half of the participants have brain.", "Type": "Brain"})  # fmt: skip

    def _map_path(self, name: str, kind: str) -> Path:
        """Where the mean (or another kind) of a map lies; what the map is called itself stands before it, but for plain images."""
        file = ARTIFACTS[name].file
        assert file is not None
        own = "" if name in BRIGHT else dict(file.entities).get("desc", "")
        return self._path({"desc": own + kind}, file.suffix)

    def _path(self, entities: Mapping[str, str], suffix: str, extension: str = ".nii.gz") -> Path:
        return self.out / f"tpl-{LABEL}" / name_of({"tpl": LABEL, **entities}, suffix, extension)

    def _write(self, path: Path, content: bytes, text: dict[str, Any]) -> None:
        derivative(path, content, text, self.key)
        self.note(path)

    def note(self, path: Path) -> None:
        self.written.append(str(path.relative_to(self.out)))

    def atlas(self, template: Template) -> list[dict[str, str]]:
        """Its place in MNI152, the regions of the atlas carried over, and the pictures."""
        from neuraxis.report.figures import draw
        from neuraxis.report.regions import regions_picture

        brain = Volume(template.brain, template.mask.grid)
        found, agreement = onto_template(template.channels, brain, iterations=(100, 50, 10), smoothing=(2.0, 0.7))
        from_mni, to_mni, overlap = warps(found, brain, agreement, 0.85)
        for (a, b), warp in (((SPACE, LABEL), from_mni), ((LABEL, SPACE), to_mni)):
            meaning = f"Displacement that brings images of {a} to {b}; ITK, mm."
            self._write(self._path({"from": a, "to": b, "mode": "image"}, "xfm"), warp_bytes(warp), {"Description": meaning})
        regions, chance, trust = from_template(from_mni, brain, overlap)
        for value, suffix in ((regions, "dseg"), (chance, "probseg")):
            self._write(self._path({"seg": "regions"}, suffix), image_bytes(value), {
                "Description": "Regions of the atlas, by the template's registration to MNI152.",
                "Trusted": bool(trust["trusted"].all())})  # fmt: skip
        names = self._path({"seg": "regions"}, "dseg", ".tsv")
        write_atomically(names, tables.label_table("regions", regions.data))
        self.note(names)
        told = []
        for name, kind, view in _PICTURES:
            path = self._map_path(name, kind)
            if path.exists():
                title = _KINDS[kind].format(within_sentence(ARTIFACTS[name].title), self.participants)
                picture = draw(
                    dataclasses.replace(ARTIFACTS[name], title=title.rstrip("."), view=view or ARTIFACTS[name].view),
                    read_image(path, ARTIFACTS[name]), region=brain,
                )  # fmt: skip
                told.append(self._picture(f"{name}{kind}", picture, title))
        picture, over = regions_picture(template.channels[0], regions)
        one = self._picture("regions", picture, "Regions of the atlas on the mean magnitude.")
        if over is not None:
            one["over"] = self._picture("regions_over", over, "")["file"]
        return [*told, one]

    def _picture(self, name: str, content: bytes, caption: str) -> dict[str, str]:
        path = self.out / f"tpl-{LABEL}" / "figures" / f"tpl-{LABEL}_{name.replace('_', '', 1)}.png"
        write_atomically(path, content)
        self.note(path)
        return {"file": str(path.relative_to(self.out)), "caption": caption}
