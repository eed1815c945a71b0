"""What a network from image to image was trained on, and the way of an image into its frame and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.numerics import nets, onnx_graph
from neuraxis.numerics.upright import covering, upright_grid
from neuraxis.units import hz_per_ppm, radians_per_ppm_second
from neuraxis.volume import Array, Grid, Volume

_SAME_SIZE = 0.05
"""Voxels whose edges differ by less than this share are not resampled."""

_SAME_DIRECTION = 2.0
"""Nor is a grid whose main field is tilted by less than this; degrees."""


@dataclass(frozen=True)
class Training:
    """What a network takes and gives: input = (field - input_mean) / input_sd, chi = output_mean + output_sd * output.

    Parameters
    ----------
    file
        Name of the ONNX graph, beside the description.
    voxel_size
        Of the training images; mm. Others are resampled. Nothing: any voxels.
    axial
        Whether the main field ran along the third axis: an oblique image is then turned, and turned back.
    orientation
        Where the voxel axes of the training images came from, in the letters of the Spinal Cord Toolbox ("LPI" is RAS).
    unit
        Of the field that it takes: "ppm" of B0, "Hz" (at `field_strength`) or "rad" (at `field_strength` and `echo_time`).
    field_strength, echo_time
        Of the training images; T, s. Only for a field in Hz or rad.
    input_mean, input_sd, output_mean, output_sd
        Normalisation; in `unit`, and in ppm. Outside the mask the network sees zeros.
    mask_input
        Whether the mask (0, 1) is a second input or channel.
    multiple
        What the number of voxels along each axis must be a multiple of; at least 1.
    tile, halo
        Edge of a tile and depth of its untrusted rim; voxels. A tile of 0: the whole image at once.
    """

    file: str
    voxel_size: tuple[float, ...] = ()
    axial: bool = True
    orientation: str = "LPI"
    unit: str = "ppm"
    field_strength: float = 0.0
    echo_time: float = 0.0
    input_mean: float = 0.0
    input_sd: float = 1.0
    output_mean: float = 0.0
    output_sd: float = 1.0
    mask_input: bool = False
    multiple: int = 1
    tile: int = 0
    halo: int = 16

    @staticmethod
    def of(row: Mapping[str, Any], whose: str) -> Training:
        """The description in a table of `data/resources.toml`, or in a file of one's own. ValueError names what is wrong."""
        known = {one.name: one for one in fields(Training)}
        for name, value in row.items():
            if name not in known:
                raise ValueError(f"{whose}: a network has no {name!r}; it has {', '.join(known)}")
            kind = {"str": str, "bool": bool, "int": int, "float": (int, float)}.get(
                str(known[name].type), list | tuple
            )
            if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):  # type: ignore[arg-type]
                raise ValueError(f"{whose}: {name} cannot be {value!r}")
        if not row.get("file"):
            raise ValueError(f"{whose} names no file")
        one = Training(**{**row, "voxel_size": tuple(float(n) for n in row.get("voxel_size", ()))})
        size, numbers = one.voxel_size, (one.input_mean, one.input_sd, one.output_mean, one.output_sd)
        axes = nets.axes(one.orientation)
        for right, what in (
            (len(size) in (0, 3) and all(0 < n < math.inf for n in size), f"voxel_size {list(size)}"),
            (one.unit in ("ppm", "Hz", "rad"), f"unit {one.unit!r}"),
            (one.unit == "ppm" or 0 < one.field_strength < math.inf, f"field_strength {one.field_strength}"),
            (one.unit != "rad" or 0 < one.echo_time < math.inf, f"echo_time {one.echo_time}"),
            (all(map(math.isfinite, numbers)) and one.input_sd and one.output_sd, f"normalisation {numbers}"),
            (one.multiple >= 1, f"multiple {one.multiple}"),
            (one.tile >= 0 and one.halo >= 0, f"tile {one.tile} with halo {one.halo}"),
            (not one.axial or axes[2] in "SI", f"orientation {one.orientation!r} of an axial network"),
        ):
            if not right:
                raise ValueError(f"{whose}: the {what} cannot be")
        return one

    @property
    def per_ppm(self) -> float:
        """The field of 1 ppm in `unit`."""
        if self.unit == "ppm":
            return 1.0
        return (
            hz_per_ppm(self.field_strength)
            if self.unit == "Hz"
            else radians_per_ppm_second(self.field_strength) * self.echo_time
        )


def predict(
    field: Volume,
    mask: Volume,
    about: Training,
    folder: Path,
    device: str,
    tile: int | None = None,
    halo: int | None = None,
) -> Array:
    """What the network makes of a field inside a mask, in ppm and on its grid: float32, (X, Y, Z), zero outside the mask.

    In the box of the mask, in the orientation of the training; resampled by cubic splines where the voxels or the direction
    of the main field are others than there.

    Parameters
    ----------
    field
        Field; ppm of B0, (X, Y, Z), finite.
    mask
        Where the field is known; bool, at least one voxel, on the same grid.
    about, folder
        The network, and where its file lies.
    device
        "cpu" or "cuda".
    tile, halo
        In place of those of the network.
    """
    graph = onnx_graph.load(folder / about.file, device)
    if graph.images != 1 + about.mask_input:
        raise ValueError(f"{about.file} takes {graph.images} image(s), its description says {1 + about.mask_input}")
    tile, halo = about.tile if tile is None else tile, about.halo if halo is None else halo

    def network(values: Array, inside: Array, grid: Grid) -> Array:
        images = [values, inside.astype(np.float32)][: graph.images]
        return onnx_graph.run(graph, images, inside, multiple=about.multiple, tile=tile, halo=halo)

    return in_frame(field, mask, about, halo, network)


def in_frame(
    field: Volume, mask: Volume, about: Training, margin: int, network: Callable[[Array, Array, Grid], Array]
) -> Array:
    """What `network` makes of a field in the frame of the training, in ppm and on the field's own grid: see `predict`.

    Parameters
    ----------
    margin
        Zeros around the box of the mask; voxels, at least 0.
    network
        From the normalised field, where it is known (bool) and the grid of both, to an image of that grid.
    """
    codes = nets.axes(about.orientation)
    upright, inside = field.oriented(codes), mask.oriented(codes)
    box = _box(inside.data)
    near = _part(upright.grid, box)
    values, known = np.where(inside.data[box], upright.data[box], np.float32(0)), inside.data[box]
    frame = _frame(near, about, codes)
    there, support = (values, known) if frame is None else _resampled(values, known, near, frame)
    ready = np.pad(
        (there * np.float32(about.per_ppm) - np.float32(about.input_mean)) / np.float32(about.input_sd) * support,
        margin,
    )  # as the network saw it: zeros around the mask
    around = np.pad(support, margin)
    x, y, z = (slice(-margin, n - margin) for n in ready.shape)
    found = network(ready, around, _part(near if frame is None else frame, (x, y, z)))
    chi = found[tuple(slice(margin, margin + n) for n in support.shape)] * np.float32(about.output_sd) + np.float32(
        about.output_mean
    )
    chi *= support
    if not np.isfinite(chi).all():
        raise ValueError(f"{about.file} gives values that are not finite")
    if frame is not None:
        chi = _resampled(chi, support, frame, near)[0] * known
    whole = np.zeros(upright.grid.shape, np.float32)
    whole[box] = chi
    return np.array(Volume(whole, upright.grid).onto(field.grid).data, np.float32, order="C")


def _box(mask: Array) -> tuple[slice, slice, slice]:
    found = []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if inside.size == 0:
            raise ValueError("the mask is empty")
        found.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return found[0], found[1], found[2]


def _part(grid: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """The grid of a box of voxels."""
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [one.start for one in box]
    return Grid.of([one.stop - one.start for one in box], matrix)


def _frame(grid: Grid, about: Training, codes: str) -> Grid | None:
    """The network's own grid over the field of view of `grid`, or None where `grid` will do."""
    tilt = math.degrees(math.acos(min(abs(grid.b0_direction[2]), 1.0)))
    straight = not about.axial or tilt <= _SAME_DIRECTION
    size = np.array(about.voxel_size or grid.voxel_size)
    if straight and (np.abs(size / grid.voxel_size - 1) <= _SAME_SIZE).all():
        return None
    if straight:
        return covering(grid, size, grid.matrix[:3, :3] / grid.voxel_size)
    if not about.voxel_size:
        size[:] = min(grid.voxel_size)  # no direction is left in which the voxels could be longer
    return upright_grid(grid, size, codes)


def _resampled(values: Array, mask: Array, grid: Grid, target: Grid) -> tuple[Array, Array]:
    """Values inside a mask on another grid, by cubic splines, and the mask there.

    Beyond the mask the values are first continued by a local mean, so that the spline sees no edge; where the new voxels are
    larger, they are smoothed to them.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    step = np.linalg.solve(grid.matrix, target.matrix)  # voxels of `target` in voxels of `grid`
    share = gaussian_filter(mask.astype(np.float32), 1.5, mode="constant", truncate=3)
    mean = gaussian_filter(np.where(mask, values, np.float32(0)), 1.5, mode="constant", truncate=3)
    filled = np.where(mask, values, mean / np.maximum(share, np.float32(1e-3)))
    wide = np.linalg.norm(step[:3, :3], axis=1)
    filled = gaussian_filter(filled, np.sqrt(np.maximum(wide**2 - 1, 0)) / 2.355, mode="nearest")  # a voxel's FWHM
    moved = affine_transform(
        filled, step[:3, :3], step[:3, 3], target.shape, order=3, mode="nearest", output=np.float32
    )
    inside = (
        affine_transform(mask.astype(np.float32), step[:3, :3], step[:3, 3], target.shape, order=1, mode="constant")
        >= 0.5
    )
    return np.where(inside, moved, np.float32(0)), inside
