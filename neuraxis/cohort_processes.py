"""What the processes do that build the template of a cohort: prepare a head, register it, bring its maps into the template."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis import __version__
from neuraxis.artifacts import ARTIFACTS
from neuraxis.bids.derivatives import name_of, read_json, write_atomically, write_json
from neuraxis.bids.nifti import image_bytes, read_image, warp_bytes
from neuraxis.brain import group_mean, group_template
from neuraxis.brain.head import working_grid
from neuraxis.numerics.deformation import Deformation, places_of
from neuraxis.volume import Array, Grid, Volume

LABEL = "group"
"""The label of the template in file names: tpl-group, space-group."""

MAPS = ("combined_magnitude", "chi", "r2star", "chi_para", "chi_dia", "t1w_aligned")
"""What is brought into the template."""

_ONE_SUPPORT = {"chi": ("chi",), **dict.fromkeys(("chi_para", "chi_dia"), ("chi_para", "chi_dia"))}
"""Maps that are zero where they are not known, and which of them are known in the same places."""

BRIGHT = ("combined_magnitude", "t1w_aligned")
"""Those of arbitrary brightness: divided by their median in the brain."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One image of the cohort: its name, its files (absolute, or relative to the output folder), and whether it speaks for its participant."""

    name: str
    participant: str
    files: Mapping[str, str]
    key: str
    first: bool

    @property
    def entities(self) -> dict[str, str]:
        """Entities of its name."""
        return dict(word.split("-", 1) for word in self.name.split("_") if "-" in word)

    @property
    def suffix(self) -> str:
        return self.name.rsplit("_", 1)[-1]

    @property
    def folder(self) -> Path:
        """Where the session's results lie, relative to the output folder."""
        session = self.entities.get("ses")
        return Path(f"sub-{self.participant}") / f"ses-{session}" if session else Path(f"sub-{self.participant}")


READ = (*MAPS, "mask")


def content(path: Path) -> str:
    """What tells one content of a file from another: the key of a derivative of ours, else its bytes."""
    own = read_json(sidecar(path)).get("Neuraxis", {}).get("Key")
    return str(own) if own else hashlib.sha256(path.read_bytes()).hexdigest()


def sidecar(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz").removesuffix(".tsv") + ".json")


def digest_of(*what: Any) -> str:
    return hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()


def held(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as held:
        return dict(held)


def keep(path: Path, **arrays: Any) -> None:
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    np.savez(temporary, **arrays)
    os.replace(temporary if temporary.exists() else temporary.with_name(temporary.name + ".npz"), path)


def has(path: Path, key: str) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError), np.load(path, allow_pickle=False) as held:
        return str(held["key"]) == key
    return False


def read_head(path: Path) -> group_mean.Head:
    arrays = held(path)
    grid = Grid.of(arrays["mask"].shape, arrays["matrix"])
    return group_mean.Head(tuple(Volume(one, grid) for one in arrays["channels"]), Volume(arrays["mask"].astype(np.float32), grid))


def save_template(path: Path, template: group_mean.Template) -> str:
    """Writes a template for the processes; its digest."""
    stack = np.stack([np.asarray(one.data) for one in template.channels])
    keep(path, channels=stack, mask=template.mask.data, matrix=template.mask.grid.matrix)
    return hashlib.sha256(stack.tobytes() + np.asarray(template.mask.data).tobytes()).hexdigest()


def read_template(path: Path) -> group_mean.Template:
    arrays = held(path)
    grid = Grid.of(arrays["mask"].shape, arrays["matrix"])
    return group_mean.Template(tuple(Volume(one, grid) for one in arrays["channels"]), Volume(arrays["mask"], grid))


def save_progress(path: Path, progress: group_template.Progress, key: str) -> None:
    """Writes how far the template has come, whole or not at all."""
    template, names = progress.template, sorted(progress.affines)
    keep(path, key=key, channels=np.stack([np.asarray(one.data) for one in template.channels]), mask=template.mask.data,
         matrix=template.mask.grid.matrix, names=np.array(names), affines=np.stack([progress.affines[one] for one in names]),
         rows=np.array(json.dumps(progress.rows)))  # fmt: skip


def read_progress(path: Path, key: str) -> group_template.Progress | None:
    """How far a former run came with the same images; None where there is none."""
    if not has(path, key):
        return None
    arrays = held(path)
    affines = dict(zip(arrays["names"].tolist(), arrays["affines"], strict=True))
    return group_template.Progress(read_template(path), affines, tuple(json.loads(str(arrays["rows"]))))


def read_laid(head: group_mean.Head, path: Path) -> group_mean.Laid:
    arrays = held(path)
    found = Deformation(arrays["affine"], Volume(arrays["displacement"], Grid.of(arrays["displacement"].shape, arrays["matrix"])))
    return group_mean.Laid(head, found, float(arrays["overlap"]), float(arrays["similarity"]))


def _even(out: Path, member: Member) -> tuple[Volume, Volume]:
    """The magnitude without the receive field, and the brain."""
    import torch

    from neuraxis.qsm.homogeneity.box import box

    magnitude = read_image(out / member.files["combined_magnitude"], ARTIFACTS["combined_magnitude"])
    mask = read_image(out / member.files["mask"], ARTIFACTS["mask"])
    data = box(torch.from_numpy(np.array(magnitude.data, np.float32))[..., None], magnitude.grid)[..., 0]
    return Volume(data.numpy(), magnitude.grid), Volume(np.asarray(mask.data) > 0.5, mask.grid)


def _known(maps: Mapping[str, Volume], name: str, mask: Volume) -> Volume:
    """Where a map counts: in the brain, and susceptibility where it, or one of its two parts, is not zero: inversions give up the rim."""
    there = [maps[one] for one in _ONE_SUPPORT.get(name, ()) if one in maps]
    if not there:
        return mask
    grid = there[0].grid
    return Volume(np.any([one.data != 0 for one in there], axis=0) & (mask.onto(grid).data > 0), grid)


def _level(name: str, volume: Volume, mask: Volume) -> Volume:
    """With a median of 1 in the brain, where the brightness is arbitrary."""
    if name not in BRIGHT:
        return volume
    level = float(np.median(volume.data[np.asarray(mask.data)]))
    if not level > 0:
        raise ValueError(f"{ARTIFACTS[name].title} is zero in most of the brain")
    return Volume(volume.data / level, volume.grid)


def prepare(payload: tuple[Path, Path, Member, Sequence[str], float], threads: int) -> Any:
    out, path, member, channels, voxel = payload
    key = digest_of(member.key, channels, voxel, __version__)
    if has(path, key):
        return "there"
    magnitude, mask = _even(out, member)
    more = [_level(name, read_image(out / member.files[name], ARTIFACTS[name]), mask) for name in channels[1:]]
    head = group_mean.Head.of(magnitude, mask, *more, voxel=voxel)
    keep(path, key=key, channels=np.stack([one.data for one in head.channels]), mask=head.mask.data > 0.5,
          matrix=head.mask.grid.matrix, affine=group_template.onto_mni(head))  # fmt: skip
    return "made"


def lay(payload: tuple[Path, Path, Path, Array, str, int], threads: int) -> Any:
    head_path, template_path, path, start, digest, number = payload
    fine = group_template.iterations_in(number)
    key = digest_of(digest, str(held(head_path)["key"]), np.asarray(start).tolist(), fine)
    if has(path, key):
        return "there"
    head, template = read_head(head_path), read_template(template_path)
    found = group_template.lay(head, template, np.asarray(start), iterations=fine, threads=threads)
    overlap, likeness = group_mean.judged(group_mean.Laid(head, found), template)
    keep(path, key=key, affine=found.affine, displacement=found.displacement.data, matrix=found.displacement.grid.matrix,
          overlap=overlap, similarity=likeness)  # fmt: skip
    return "made"


def bring(payload: tuple[Path, Member, Path, Path, Path, Array, str, str], threads: int) -> Any:
    out, member, head_path, template_path, path, start, digest, whole_key = payload
    lay((head_path, template_path, path, start, digest, group_template.EARLY + 1), threads)
    template, laid = read_template(template_path), read_laid(read_head(head_path), path)
    grid, written, own = template.mask.grid, [], member.entities
    there = laid.map.there(places_of(grid))
    magnitude, mask = _even(out, member)
    maps = {one: read_image(out / member.files[one], ARTIFACTS[one]) for one in MAPS if one in member.files}
    maps["combined_magnitude"] = magnitude
    for name, volume in maps.items():
        data, inside = group_mean.measured_at(_level(name, volume, mask), _known(maps, name, mask), there)
        keep(path.with_name(f"{member.name}_{name}.npz"), data=data, known=inside)
        row = ARTIFACTS[name].file
        assert row is not None
        file = out / member.folder / row.folder / name_of({**own, **dict(row.entities), "space": LABEL}, row.suffix, ".nii.gz")
        former = read_json(sidecar(out / member.files[name]))
        text = {n: v for n, v in former.items() if n in ("Units", "MagneticFieldStrength", "SkullStripped")} | {
            "Description": f"{ARTIFACTS[name].title} in the template of the group.", "SpatialReference": f"tpl-{LABEL}"}  # fmt: skip
        derivative(file, image_bytes(Volume(data, grid)), text, whole_key)
        written.append(str(file.relative_to(out)))
    ends = ((member.suffix, LABEL, laid.map.warp(laid.map.displacement.grid)),
            (LABEL, member.suffix, laid.map.warp(working_grid(mask, 2.0), inverse=True)))  # fmt: skip
    for a, b, warp in ends:
        file = out / member.folder / "anat" / name_of({**own, "from": a, "to": b, "mode": "image"}, "xfm", ".nii.gz")
        derivative(file, warp_bytes(warp), {"Description": f"Displacement that brings images of {a} to {b}; ITK, mm."}, whole_key)
        written.append(str(file.relative_to(out)))
    keep(path.with_name(f"{member.name}_brought.npz"), files=np.array(written))
    return "made"


def derivative(path: Path, content: bytes, text: Mapping[str, Any], key: str) -> None:
    write_atomically(path, content)
    write_json(sidecar(path), {**text, "GeneratedBy": [{"Name": "Neuraxis", "Version": __version__}], "Neuraxis": {"Key": key}})
