"""The cords of a cohort in PAM50: everybody's maps there, and their mean, standard deviation and number, slice by slice of the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.artifacts.cord_template import REFERENCE, SPACE
from neuraxis.bids import tables
from neuraxis.bids.derivatives import name_of, write_atomically
from neuraxis.bids.nifti import image_bytes, read_image, read_warp
from neuraxis.cohort_processes import content, derivative, digest_of, sidecar
from neuraxis.cord.template.warps import brought
from neuraxis.errors import NeuraxisError
from neuraxis.report.cord_maps import maps
from neuraxis.volume import Array, Grid, Volume

MAPS = ("mtr", "mtsat", "mt_t1", "fa", "md", "ad", "rd", "tsnr", "r2star", "t2star")
"""What is averaged over participants."""

_KNOWN = 0.5
"""Share of the values around a place that have to be known for it to have one."""

_SHOWN_PERCENTILES = (2, 98)
"""Of the mean in the cord: the ends of the scale of its picture."""


@dataclass
class _Sum:
    """Running mean and sum of squares (Welford 1962) of volumes on parts of one grid, so that no stack is held."""

    origin: Array
    steps: Array
    shape: tuple[int, int]
    people: list[str] = field(default_factory=list)
    number: Array = field(default_factory=lambda: np.zeros((0, 0, 0), np.int32))
    mean: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))
    squares: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))
    first: int = 0

    def add(self, values: Array, known: Array, first: int) -> None:
        """Values and where they are known, (X, Y, slices), from slice `first` of the template on."""
        self._reach(first, first + values.shape[2])
        here = np.s_[:, :, first - self.first : first - self.first + values.shape[2]]
        self.number[here] += known
        away = np.where(known, values - self.mean[here], 0.0)
        self.mean[here] += away / np.maximum(self.number[here], 1)
        self.squares[here] += away * np.where(known, values - self.mean[here], 0.0)

    def _reach(self, low: int, high: int) -> None:
        """Room for the slices from `low` to `high`."""
        if not self.mean.shape[2]:
            self.first = low
        before, behind = max(self.first - low, 0), max(high - self.first - self.mean.shape[2], 0)
        for name in ("number", "mean", "squares"):
            old = getattr(self, name)
            old = old if old.shape[2] else np.zeros((*self.shape, 0), old.dtype)
            setattr(self, name, np.pad(old, ((0, 0), (0, 0), (before, behind))))
        self.first -= before

    @property
    def grid(self) -> Grid:
        matrix = np.eye(4)
        matrix[:3, :3] = self.steps
        matrix[:3, 3] = self.origin + self.steps[:, 2] * self.first
        return Grid.of(self.mean.shape, matrix)

    def spread(self) -> Array:
        """Standard deviation over participants; 0 where fewer than two are known."""
        return np.where(self.number > 1, np.sqrt(self.squares / np.maximum(self.number - 1, 1)), 0.0)


@dataclass(frozen=True)
class InTemplate:
    """What the page tells: pictures, and for every map who is in the mean; who is left out, and why."""

    pictures: tuple[dict[str, str], ...]
    rows: tuple[dict[str, Any], ...]
    left_out: tuple[tuple[str, str], ...]


def make(out: Path, records: Sequence[Mapping[str, Any]]) -> InTemplate | None:
    """Brings the maps of all units that are registered to PAM50 into it, and writes their means; None where there is none.

    A participant with several images of a kind counts once, with their mean. What is not trusted to lie on the template is left out.
    """
    sums: dict[str, _Sum] = {}
    left: list[tuple[str, str]] = []
    for person in sorted({str(record["participant"]) for record in records}):
        mine: dict[str, _Sum] = {}
        for record in (one for one in records if str(one["participant"]) == person):
            files = {name: out / paths[0] for name, paths in record.get("files", {}).items() if paths}
            files |= {name: out / path for name, path in record.get("given", {}).items() if name == "cord"}
            there = [name for name in MAPS if name in files and files[name].is_file()]
            if not there or "warp_to_pam50" not in files:
                continue
            wanted = [*there, *(["cord"] if "cord" in files else [])]
            try:
                doubt = _doubt(files)
                if not doubt:
                    warp = read_warp(files["warp_to_pam50"])
                    images = {name: read_image(files[name], ARTIFACTS[name]) for name in wanted}
            except NeuraxisError as error:
                doubt = str(error)
            if doubt:
                left.append((str(record["unit"]), doubt))
                for name in wanted:  # what a former run brought there
                    for path in (_there(files[name]), sidecar(_there(files[name]))):
                        path.unlink(missing_ok=True)
                continue
            for name, image in images.items():
                values, known = _brought(image, warp, name)
                _keep(files[name], files["warp_to_pam50"], values, warp.grid, name)
                _added(mine, name, warp.grid, values, known)
        for name, one in mine.items():
            if (one.number > 0).any():
                _added(sums, name, one.grid, one.mean, one.number > 0).people.append(f"sub-{person}")
    for stale in sorted((out / f"tpl-{SPACE}").glob(f"**/tpl-{SPACE}_*")):
        stale.unlink()
    if not any(name in sums for name in MAPS):
        return InTemplate((), (), tuple(left)) if left else None
    return _written(out, sums, left)


def _doubt(files: Mapping[str, Path]) -> str:
    """Why a unit is not trusted to lie on the template."""
    try:
        found = tables.read(files["pam50_agreement"], ARTIFACTS["pam50_agreement"])
    except (KeyError, NeuraxisError):
        found = None
    if found is None or not len(found):
        return "nothing tells how well it lies on PAM50"
    return "" if found["trusted"][0] == 1 else str(found["why"][0]) or "it is not trusted to lie on PAM50"


def _brought(image: Volume, warp: Volume, name: str) -> tuple[Array, Array]:
    """A map in the template, and where it is known; the zeros of a computed map are what is not known."""
    data = np.asarray(image.data, np.float32)
    there = np.ones(data.shape, np.float32) if name == "cord" else (data != 0).astype(np.float32)
    share = brought(Volume(there, image.grid), warp)
    known = share > _KNOWN
    values = np.where(known, brought(Volume(data, image.grid), warp) / np.maximum(share, _KNOWN), 0.0)
    return values, known


def _there(path: Path) -> Path:
    """Where a map in the template lies: beside the one in the image, whose space its description tells."""
    words = path.name.removesuffix(".nii.gz").split("_")
    entities = dict(word.split("-", 1) for word in words[:-1] if "-" in word)
    own = {"desc": entities["space"]} if "space" in entities and "desc" not in entities else {}
    return path.with_name(name_of(entities | own | {"space": SPACE}, words[-1], ".nii.gz"))


def _keep(path: Path, warp: Path, values: Array, grid: Grid, name: str) -> None:
    """A participant's map in the template."""
    artifact = ARTIFACTS[name]
    text = {"Description": f"{artifact.title} in {SPACE}.", "Units": artifact.unit, **dict(REFERENCE)}
    image = image_bytes(Volume(values.astype(np.float32), grid))
    derivative(_there(path), image, text, digest_of(content(path), content(warp)))


def _added(sums: dict[str, _Sum], name: str, grid: Grid, values: Array, known: Array) -> _Sum:
    """`values` on `grid`, a part of the template's, taken into the sum of `name`."""
    if name not in sums:
        steps = grid.matrix[:3, :3]
        low = round(float(grid.matrix[2, 3] / steps[2, 2]))
        sums[name] = _Sum(grid.matrix[:3, 3] - steps[:, 2] * low, steps, grid.shape[:2])
    total = sums[name]
    first = round(float((grid.matrix[2, 3] - total.origin[2]) / total.steps[2, 2]))
    total.add(values, known, first)
    return total


def _written(out: Path, sums: Mapping[str, _Sum], left: Sequence[tuple[str, str]]) -> InTemplate:
    """Files, pictures, and what is told."""
    folder = out / f"tpl-{SPACE}"
    pictures, rows = [], []
    for name, total in sums.items():
        file = ARTIFACTS[name].file
        assert file is not None
        own = {key: value for key, value in file.entities if value and key != "desc"}
        key = digest_of(name, total.people)
        for kind, data, meaning in (
            ("mean", total.mean, "Mean over {} participants of the {}."),
            ("sd", total.spread(), "Standard deviation over {} participants of the {}."),
            ("number", total.number, "Number of participants, of {}, with a {}."),
        ):
            text = {
                "Description": meaning.format(len(total.people), ARTIFACTS[name].title.lower()),
                "Units": "1" if kind == "number" else ARTIFACTS[name].unit,
            }
            path = folder / name_of({"tpl": SPACE, **own, "desc": kind}, file.suffix, ".nii.gz")
            derivative(path, image_bytes(Volume(np.asarray(data, np.float32), total.grid)), text, key)
        if name not in MAPS:
            continue
        artifact = ARTIFACTS[name]
        rows.append({"map": artifact.title, "unit": artifact.unit, "participants": len(total.people), "slices": total.mean.shape[2]})
        pictures.append(_picture(out, folder, name, total, sums.get("cord")))
    return InTemplate(tuple(pictures), tuple(rows), tuple(left))


def _picture(out: Path, folder: Path, name: str, total: _Sum, cord: _Sum | None) -> dict[str, str]:
    """Mean and standard deviation of a map in axial slices of the template."""
    outline = None
    if cord is not None:
        whole = np.zeros(total.mean.shape, np.float32)
        low, high = max(cord.first, total.first), min(cord.first + cord.mean.shape[2], total.first + total.mean.shape[2])
        if high > low:
            whole[:, :, low - total.first : high - total.first] = cord.mean[:, :, low - cord.first : high - cord.first]
        outline = Volume(whole, total.grid)
    inside = (total.number > 0) if outline is None else (outline.data > 0.5) & (total.number > 0)
    low_, high_ = np.percentile(total.mean[inside] if inside.any() else total.mean, _SHOWN_PERCENTILES)
    limits = (min(0.0, float(low_)), float(high_) if high_ > 0 else 1.0)
    shown = {"mean": Volume(total.mean.astype(np.float32), total.grid)}
    if len(total.people) > 1:
        shown["SD"] = Volume(total.spread().astype(np.float32), total.grid)
    png = maps(shown, Volume(inside.astype(np.float32), total.grid), outline, None, limits, ARTIFACTS[name].unit, field_mm=24.0)
    path = folder / "figures" / f"tpl-{SPACE}_{name.replace('_', '')}.png"
    write_atomically(path, png)
    title = ARTIFACTS[name].title
    many = len(total.people) > 1
    caption = f"{title} in {SPACE}: " + (f"mean and standard deviation of {len(total.people)} participants" if many else "one participant")
    caption += ". Axial slices, the head on the left, numbered from the lowest that is known; the outline is the mean cord."
    return {"file": str(path.relative_to(out)), "caption": caption}
