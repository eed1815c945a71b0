"""Synthetic axial slices of the spinal cord, any contrast, with their exact partial-volume labels.

Shapes come from the PAM50 label maps alone, intensities from chance (after SynthSeg, doi:10.1016/j.media.2023.102789):
no measured image is used. All slices of a batch are made together with torch.

Arrays are (slice, A-P, R-L): the second index grows to the front, the third to the left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import appearance
import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from draws import Draws
from scipy import ndimage

STEP = 0.5  # mm, of PAM50 in plane
CLASSES = ("canal", "cord", "gray_matter")


@dataclass(frozen=True)
class View:
    """What a model sees, and how its slices are drawn."""

    step: float  # mm, in plane
    size: int = 96  # pixels
    off: float = 8.0  # mm, of the cord from the middle of the crop at most
    bends: float = 1.0  # factor on the bends
    share: tuple[float, ...] = (1.0, 2.0, 3.0)  # of the classes in the cross-entropy: the small ones would be lost
    often: dict[str, float] = field(default_factory=dict)  # contrasts, where not as usual


# The second looks closer, where the first has found the cord, and at the contrasts that show grey matter.
VIEWS = {
    "cord": View(0.5),
    "graymatter": View(
        0.25,
        off=2.5,
        bends=0.3,
        share=(0.5, 1.0, 5.0),
        often={"any": 0.15, "T2w": 0.05, "T1w": 0.08, "T2*w": 0.47, "MT": 0.2, "DWI": 0.05},
    ),
}


@dataclass(frozen=True)
class Fields:
    """What PAM50 says of each axial level, (Z, A-P, R-L): distances in mm (negative inside) and soft labels."""

    cord: torch.Tensor
    canal: torch.Tensor
    spine: torch.Tensor
    gray_matter: torch.Tensor  # distance, three times as fine in plane
    dorsal: torch.Tensor  # dorsal columns
    centre: torch.Tensor  # (Z, 2) of the cord, pixel
    weight: torch.Tensor  # (Z,) how often a level is drawn

    def at(self, z: torch.Tensor, names: tuple[str, ...]) -> torch.Tensor:
        return torch.stack([getattr(self, name)[z] for name in names], 1).float()


def signed_distance(mask: np.ndarray, smooth: float) -> np.ndarray:
    """In-plane distance to the border in mm of a stack (Z, Y, X), negative inside, without the steps of the voxels.

    `smooth`: SD along Z, in planes.
    """
    out = np.empty(mask.shape, np.float32)
    for k, plane in enumerate(mask):
        if plane.any():
            out[k] = ndimage.distance_transform_edt(~plane) - ndimage.distance_transform_edt(plane)
        else:
            out[k] = 60.0
    out -= 0.5 * np.sign(out)  # distances run between voxel centres, the border lies half way
    return ndimage.gaussian_filter(out, (smooth, 1.0, 1.0)) * STEP


FINE = 3  # pixels of the grey matter's distance per pixel of PAM50
AROUND = 24  # pixels of PAM50 that it reaches from the cord's centre


def fine_distance(soft: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Distance to the border of the grey matter in mm around the cord's centre, fine enough for the horns' tips."""
    out = np.full((len(soft), 2 * AROUND * FINE + 1, 2 * AROUND * FINE + 1), 20, np.float32)
    axis = np.arange(-AROUND * FINE, AROUND * FINE + 1) / FINE
    for k, (plane, (y, x)) in enumerate(zip(soft, centres, strict=True)):
        if plane.max() > 0.5:
            where = np.stack(np.meshgrid(y + axis, x + axis, indexing="ij"))
            mask = ndimage.map_coordinates(plane.astype(np.float32), where, order=1) > 0.4
            apart = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
            out[k] = ndimage.gaussian_filter(apart - 0.5 * np.sign(apart), 1.0) * STEP / FINE
    return out


def read_fields(folder: Path, every: int = 2) -> Fields:
    """Reads the PAM50 folder (with `template` and `atlas`); keeps one of `every` axial levels."""

    def stack(path: Path) -> np.ndarray:
        image: Any = nib.load(path)
        if nib.aff2axcodes(image.affine) != ("L", "A", "S"):
            raise ValueError(f"{path} must be stored LAS, not {nib.aff2axcodes(image.affine)}")
        return np.asarray(image.dataobj).transpose(2, 1, 0)

    template = {name: stack(folder / "template" / f"PAM50_{name}.nii.gz") for name in ("cord", "csf", "gm", "spine")}
    cord, csf = template["cord"] > 0, template["csf"] > 0
    levels = np.flatnonzero(csf.any((1, 2)))[::every]
    dorsal = np.sum([stack(folder / "atlas" / f"PAM50_atlas_{k:02d}.nii.gz")[levels] for k in range(4)], 0)
    middle = np.array(cord.shape[1:]) / 2 - 0.5
    centres = np.array([np.argwhere(plane).mean(0) if plane.any() else middle for plane in cord[levels]])
    # the neck is measured most: it is drawn as often as all below; below the cord one slice in thirty
    height = levels / cord.shape[0]
    weight = np.where(height > 0.68, 1.0, 0.45) * np.where(cord[levels].any((1, 2)), 1.0, 0.3)
    arrays = (
        signed_distance(cord[levels], 1 / every),
        signed_distance((cord | csf)[levels], 1 / every),
        signed_distance(template["spine"][levels] > 0, 1 / every),
        fine_distance(template["gm"][levels], centres),
        dorsal,
    )
    maps = [torch.from_numpy(np.ascontiguousarray(a)).half() for a in arrays]
    tensors = [*maps, torch.from_numpy(centres).float(), torch.from_numpy(weight).float()]
    return Fields(**dict(zip(Fields.__annotations__, tensors, strict=True)))


def coverage(distance: torch.Tensor) -> torch.Tensor:
    """Part of each pixel that lies inside (distance < 0); any slope of the distance will do."""
    padded = F.pad(distance[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    slope = (down.square() + right.square()).sqrt().clamp_min(0.08)
    return (0.5 - distance / slope).clamp(0, 1)


class CordSlices:
    """An endless source of batches; the same seed gives the same slices."""

    def __init__(self, fields: Fields, view: View, seed: int = 0):
        self.fields, self.view, self.size = fields, view, view.size
        self.draw = Draws(seed, view.size, view.step)
        half = (view.size - 1) / 2
        axis = (torch.arange(view.size) - half) * view.step
        self.ahead, self.left = torch.meshgrid(axis, axis, indexing="ij")  # mm from the middle of the crop

    def batch(self, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images (n, 1, A-P, R-L), labels (n, 3, A-P, R-L) of canal, cord, gray matter, loss weights (n, 3)."""
        shapes = self.shapes(n)
        image, contrast = appearance.paint(self.draw, shapes, self.view.often)
        labels = torch.stack([shapes["canal"], shapes["cord"], shapes["gray_matter"]], 1)
        both = self.oblique(torch.cat([image[:, None], labels], 1))
        image, resolution, noise = appearance.acquire(self.draw, both[:, 0])
        canal, cord, gray = both[:, 1:].clamp(0, 1).unbind(1)
        cord = torch.minimum(cord, canal)
        labels = torch.stack([canal, cord, torch.minimum(gray, cord)], 1)
        # grey matter that cannot be seen is learned with a small weight: enough for a modest guess
        clear = contrast / (0.01 + noise)
        seen = ((clear / 1.5).clamp(0.1, 1) * (1.5 - resolution).clamp(0.3, 1)).flatten()
        weight = torch.stack([torch.ones(n), torch.ones(n), seen], 1)
        return image[:, None], labels, weight

    def shapes(self, n: int) -> dict[str, torch.Tensor]:
        """Coverage of each tissue that has a place, and the frames to paint the others in."""
        draw, fields = self.draw, self.fields
        z = torch.multinomial(fields.weight, n, replacement=True, generator=draw.generator)
        # the middle of the crop follows a rough path, off by a few mm
        off = draw.uniform(n, 0, self.view.off) * draw.uniform(n, 0, 1)
        way = draw.uniform(n, 0, 2 * np.pi)
        ahead, left = self.ahead + off * way.sin(), self.left + off * way.cos()
        ahead, left = self.turn(n, ahead, left)
        bend = [sum(draw.smooth(n, cells) * draw.uniform(n, 0, amp * self.view.bends) for cells, amp in BENDS) for _ in "yx"]
        ahead, left = ahead + bend[0], left + bend[1]
        ahead, left = self.indent(n, ahead, left)

        canal, spine = self.sample(z, ahead, left, ("canal", "spine")).unbind(1)
        # the cord lies anywhere in the canal, and has a size and flatness of its own
        room = draw.uniform(n, 0, 1.8) * draw.uniform(n, 0, 1)
        way = draw.uniform(n, 0, 2 * np.pi)
        flat = torch.where(draw.chance(n, 0.25), draw.uniform(n, 0.5, 1), draw.uniform(n, 0.88, 1.15))
        own = draw.uniform(n, 0.8, 1.2)
        y, x = (ahead + room * way.sin()) / (own * flat), (left + room * way.cos()) / (own / flat.sqrt())
        cord, dorsal = self.sample(z, y, x, ("cord", "dorsal")).unbind(1)
        gm = self.gray_matter(z, y, x)

        cord = coverage(cord)
        # the sac: from hugging the cord to wide
        canal_distance = canal - torch.where(draw.chance(n, 0.2), draw.uniform(n, -3, 0), draw.uniform(n, -0.8, 1.8))
        canal = torch.maximum(coverage(canal_distance), cord)
        gm = gm * cord
        return {
            "canal": canal,
            "cord": cord,
            "gray_matter": gm,
            "dorsal": dorsal.clamp(0, 1) * cord,
            "canal_distance": canal_distance,
            "spine_distance": spine,
            "ahead": ahead,
            "left": left,
            "cord_ahead": y,
            "cord_left": x,
        }

    def gray_matter(self, z: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Coverage of grey matter: larger or smaller, its horns longer or shorter, thinner or thicker than PAM50's.

        The template's horns are those of a mean: shorter and thicker than the horns of one cord.
        """
        draw = self.draw
        grow = draw.uniform(n := len(z), 0.84, 1.14)
        tall = grow * draw.uniform(n, 0.92, 1.3)
        waver = [draw.smooth(n, 12) * draw.uniform(n, 0, 0.3) for _ in "yx"]
        thin = draw.uniform(n, -0.05, 0.25) + draw.smooth(n, 9) * draw.uniform(n, 0, 0.08)
        at = torch.stack([x / grow + waver[1], y / tall + waver[0]], -1) / (AROUND * STEP)
        apart = F.grid_sample(self.fields.at(z, ("gray_matter",)), at, padding_mode="border", align_corners=True)[:, 0]
        return coverage(apart + thin)

    def turn(self, n: int, ahead: torch.Tensor, left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotation up to 20 degrees, scale 0.7 to 1.4, unequal scales, mirror."""
        draw = self.draw
        angle = draw.normal(n) * np.deg2rad(8)
        angle = angle.clamp(-0.35, 0.35)
        scale = torch.exp(draw.normal(n) * 0.15).clamp(0.7, 1.4)
        ratio = torch.exp(draw.normal(n) * 0.08)
        mirror = torch.where(draw.chance(n, 0.5), 1.0, -1.0)
        y = (angle.cos() * ahead - angle.sin() * left) / (scale * ratio)
        x = (angle.sin() * ahead + angle.cos() * left) / (scale / ratio) * mirror
        return y, x

    def indent(self, n: int, ahead: torch.Tensor, left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A bulge (disc, bone, ligament) that presses into canal and cord, mostly from the front."""
        draw = self.draw
        depth = torch.where(draw.chance(n, 0.3), draw.uniform(n, 0.5, 4), 0.0)
        way = draw.normal(n) * 0.6 + torch.where(draw.chance(n, 0.75), np.pi / 2, -np.pi / 2)
        away, width = draw.uniform(n, 3, 7), draw.uniform(n, 1.5, 5)
        near = torch.exp(-((ahead - away * way.sin()) ** 2 + (left - away * way.cos()) ** 2) / (2 * width**2))
        return ahead + depth * near * way.sin(), left + depth * near * way.cos()

    def sample(self, z: torch.Tensor, ahead: torch.Tensor, left: torch.Tensor, names: tuple[str, ...]) -> torch.Tensor:
        """Fields at mm from the cord's centre at level z, (n, names, A-P, R-L)."""
        planes = self.fields.at(z, names)
        centre = self.fields.centre[z]
        rows, columns = planes.shape[2:]
        y = (ahead / STEP + centre[:, 0, None, None]) * 2 / (rows - 1) - 1
        x = (left / STEP + centre[:, 1, None, None]) * 2 / (columns - 1) - 1
        return F.grid_sample(planes, torch.stack([x, y], -1), padding_mode="border", align_corners=True)

    def oblique(self, stack: torch.Tensor) -> torch.Tensor:
        """A thick slice across a slanted cord: mean along a line of length thickness x tan(angle)."""
        n, draw = len(stack), self.draw
        length = torch.where(draw.chance(n, 0.6), draw.uniform(n, 0, 0.6), draw.uniform(n, 0, 2.5))
        length = torch.where(draw.chance(n, 0.07), draw.uniform(n, 2.5, 6), length) / self.view.step
        way = draw.normal(n) * 0.5 + np.pi / 2
        ky, kx = torch.fft.fftfreq(self.size)[:, None], torch.fft.rfftfreq(self.size)[None]
        line = torch.sinc(length * (way.sin() * ky + way.cos() * kx))
        return torch.fft.irfft2(torch.fft.rfft2(stack) * line[:, None], s=stack.shape[2:])


BENDS = ((4, 1.6), (7, 1.0), (13, 0.35))  # cells across the crop, largest displacement (SD) in mm
