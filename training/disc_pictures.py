"""Synthetic sagittal pictures of the spine, straightened along the cord, any contrast, with their numbered discs.

Shapes come from the PAM50 label maps alone, intensities from chance (after SynthSeg, doi:10.1016/j.media.2023.102789):
no measured image is used. All pictures of a batch are made together with torch.

Arrays are (picture, along the cord upwards, to the front).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import disc_appearance
import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from draws import Draws
from scipy import ndimage

COLUMNS, BACK = 32, 28.0  # columns of 2 mm from 28 mm behind the cord's centre; made at 1 mm
BODY, C2, FIRST, LAST = 1, 2, 3, 24  # classes; 3 (C2/C3) to 24 (L4/L5) are the discs themselves
STEP = 0.5  # mm, of PAM50
HEAD, LUMBAR, PERIOD = 170, 201, 67  # rows of the canvas above PAM50; below it, where L1 is repeated; height of L1
ROOT = 9.0  # mm in front of the cord's centre, where heights are told


@dataclass(frozen=True)
class Shapes:
    """What PAM50 says of its sagittal planes: (planes, rows, columns) of 0.5 mm, rows upwards, columns to the front."""

    body: torch.Tensor  # bone in front of the canal, averaged over different planes
    spinous: torch.Tensor  # bone behind it
    others: torch.Tensor  # (4, rows, columns): discs, canal, cord, inner part of the discs
    ids: torch.Tensor  # (2, rows, columns): number of the vertebra; of the disc
    place: dict[int, float]  # row of each disc
    half: dict[int, float]  # half its height, rows
    middle: float  # column of the cord's centre
    lowest_c1: float  # row of the upper end of C1

    @staticmethod
    def read(folder: Path) -> Shapes:
        """Reads the PAM50 folder (with `template`)."""

        def stack(name: str) -> np.ndarray:
            image: Any = nib.load(folder / "template" / f"PAM50_{name}.nii.gz")
            if nib.aff2axcodes(image.affine) != ("L", "A", "S"):
                raise ValueError(f"PAM50_{name} must be stored LAS, not {nib.aff2axcodes(image.affine)}")
            return np.asarray(image.dataobj)

        spine, cord, fluid = stack("spine") > 0, stack("cord") > 0, stack("csf") > 0
        marks = stack("label_disc")
        where = np.argwhere((marks > 0) & (marks <= 21))
        discs = {int(marks[tuple(at)]): int(at[2]) for at in where}
        middle = spine.shape[0] // 2
        canal = (cord | fluid)[middle - 4 : middle + 5].any(0)
        ahead = _in_front(canal)
        body = (spine[middle - 6 : middle + 7].mean(0) > 0.5) & ahead
        disc, half = _discs(body, ahead, discs)
        level = _levels(body, discs)

        def grown(plane: np.ndarray) -> np.ndarray:
            """(columns, rows) -> (rows, columns) with L1 again and again below, and room for the head above."""
            rows = np.arange(-LUMBAR, plane.shape[1])
            rows = np.where(rows < discs[21] + 1, discs[21] + 1 + (rows - discs[21] - 1) % PERIOD, rows)
            return np.concatenate([plane.T[rows], np.zeros((HEAD, len(plane)), plane.dtype)])

        planes = [(0, 1), (0, 3), (0, 5), (0, 8), (-3, 3), (3, 3), (-5, 3), (5, 3), (0, 11)]  # to the left, half width
        bones = np.stack([grown(spine[middle + o - h : middle + o + h + 1].mean(0)) for o, h in planes])
        front, canal, inside, disc, level = (
            grown(one.astype(np.float32)) for one in (ahead, canal, cord[middle - 3 : middle + 4].mean(0), disc, level)
        )
        rows = np.arange(len(disc)) - LUMBAR
        lumbar = 21 + np.rint((discs[21] - rows) / PERIOD)
        disc = np.where((disc > 0) & (rows < discs[21] + 31)[:, None], lumbar[:, None], disc)
        disc[disc > LAST] = 0
        canal[: LUMBAR + 130] = canal[LUMBAR + 130]  # that of PAM50 ends above the sacrum
        top = len(disc) - HEAD - 1
        for one in (canal, inside, front):
            one[top + 1 :] = one[top]
        inner = ndimage.binary_erosion(disc > 0, np.ones((3, 9))).astype(np.float32)
        soft = [ndimage.gaussian_filter(one.astype(np.float32), 0.6) for one in (disc > 0, canal, inside)]
        blurred = [
            ndimage.gaussian_filter(one.astype(np.float32), 0.6) for one in (*(bones * front), *(bones * (1 - front)))
        ]
        lower = {n: float(LUMBAR + discs[21] - (n - 21) * PERIOD) for n in range(22, LAST + 1)}
        return Shapes(
            torch.from_numpy(np.stack(blurred[: len(planes)])).float(),
            torch.from_numpy(np.stack(blurred[len(planes) :])).float(),
            torch.from_numpy(np.stack([*soft, ndimage.gaussian_filter(inner, (1, 4))])).float(),
            torch.from_numpy(np.stack([level, disc])).float(),
            {n: float(z + LUMBAR) for n, z in discs.items()} | lower,
            half | dict.fromkeys(range(22, LAST + 1), half[20]),
            float(spine.shape[1] // 2),
            float(LUMBAR + discs[1]),
        )


def _in_front(canal: np.ndarray) -> np.ndarray:
    """Of a plane (columns, rows): in front of the canal, whose edge is carried on where it ends."""
    there = np.flatnonzero(canal.any(0))
    edge = np.interp(np.arange(canal.shape[1]), there, [np.flatnonzero(canal[:, z]).max() for z in there])
    return np.arange(len(canal))[:, None] > edge[None] - 1


def _discs(body: np.ndarray, ahead: np.ndarray, places: dict[int, int]) -> tuple[np.ndarray, dict[int, float]]:
    """Number of the disc between two bodies at each point, and half the height of each."""
    found, half = np.zeros(body.shape, np.int64), {1: 0.0, 2: 0.0}
    for number in sorted(set(places) - {1, 2}):
        z, heights = places[number], []
        for column in np.flatnonzero(ahead[:, z]):
            up = np.flatnonzero(body[column, z : z + 20])
            down = np.flatnonzero(body[column, max(z - 20, 0) : z + 1][::-1])
            down = up if number == 21 else down  # the template has no L2
            if len(up) and len(down) and up[0] > 0 and down[0] > 0:
                found[column, max(z - down[0] + 1, 0) : z + up[0]] = number
                heights.append((up[0] + down[0]) / 2)
        half[number] = float(np.median(heights)) if heights else 4.5
    return found, half


def _levels(body: np.ndarray, places: dict[int, int]) -> np.ndarray:
    """Number of the vertebra at each point; the dens is part of C2, the arch in front of it is C1."""
    level = np.zeros(body.shape, np.int64)
    for number in range(3, 22):
        low, high = places.get(number + 1, 0), places[number]
        level[:, low:high] = np.where(body[:, low:high], number, 0)
    start = places[3]
    parts, _ = ndimage.label(body[:, start - 3 :])
    dens = np.bincount(parts[parts > 0], minlength=2).argmax()
    level[:, start:] = np.where(parts == dens, 2, np.where(parts > 0, 1, 0))[:, 3:]
    return level


class DiscPictures:
    """Endless batches from one seed; pictures of `rows` mm."""

    def __init__(self, shapes: Shapes, seed: int, rows: int = 192):
        self.shapes, self.rows = shapes, rows
        self.along = Draws(seed, rows, 1.0)
        self.across = Draws(seed, 2 * COLUMNS, 1.0)
        self.across.generator = self.along.generator
        self.front = torch.arange(2 * COLUMNS).float() - BACK

    def smooth(self, n: int, rows: int, columns: int) -> torch.Tensor:
        """Smooth noise of about unit variance with so many knots."""
        return self.along.weights(rows) @ self.along.normal(n, rows, columns) @ self.across.weights(columns).T

    def wave(self, n: int, rows: int) -> torch.Tensor:
        return self.along.weights(rows) @ self.along.normal(n, rows, 1)

    @torch.no_grad()
    def batch(self, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures (n, 1, rows, COLUMNS), classes (n, rows, COLUMNS) and whether the image reaches there."""
        rows, columns = self.places(n)
        plane = int(self.along.integers(1, len(self.shapes.body)))  # one for the batch: maps are not copied
        maps = torch.stack([self.shapes.body[plane], self.shapes.spinous[plane], *self.shapes.others])
        drawn = dict(
            zip(("body", "spinous", "disc", "canal", "cord", "inner"), self.at(maps, rows, columns), strict=True)
        )
        level, number = self.at(self.shapes.ids, rows, columns, "nearest").long()
        head = (rows - self.shapes.lowest_c1) * STEP  # mm above C1
        dens_base = (rows - self.shapes.place[3] - 22) * STEP
        image = disc_appearance.paint(
            self, drawn | {"level": level, "number": number, "head": head, "dens_base": dens_base}
        )
        image, seen = disc_appearance.acquire(self, image)
        labels = torch.where(level == 2, C2, torch.where(level > 2, BODY, 0)) * (drawn["body"] > 0.5)
        labels = torch.where((number > 0) & (drawn["body"] <= 0.5), number, labels)
        pair = (COLUMNS, 2)
        return image.unflatten(2, pair).mean(3)[:, None], labels[..., ::2].contiguous(), seen[..., ::2].contiguous()

    def at(self, maps: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
        """(k, n, rows, columns) of the canvas (k, ...)."""
        size = maps.shape
        grid = torch.stack([2 * columns / (size[2] - 1) - 1, 2 * rows / (size[1] - 1) - 1], -1)
        maps = maps[None].expand(len(rows), *size)
        return F.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=True).transpose(0, 1)

    def places(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Where on the canvas each point lies: a person of some size, some disc somewhere in the view, bent and tilted."""
        draw, front, cells = self.along, self.front, self.rows
        size = torch.exp(0.13 * draw.normal(n))
        canvas, person, places = self.person(n, size[:, 0, 0])
        numbers = sorted(self.shapes.place)
        often = torch.tensor([3.0 if q >= 15 else 2.0 if q >= 11 else 1.0 for q in range(len(numbers))]).flip(0)
        pick = torch.multinomial(often, n, replacement=True, generator=draw.generator)
        start = places.gather(1, pick[:, None]) - draw.uniform(n, 0.1, 0.9)[:, 0] * self.rows
        tilt = 0.12 * self.wave(n, max(cells // 24, 3)) + 0.08 * draw.normal(n)
        mm = torch.arange(self.rows).float()[None, :, None] + start[:, :, None] + tilt * (front - ROOT)
        mm = mm + 0.6 * self.smooth(n, cells // 10, 8) * draw.uniform(n, 0, 1)
        flat = mm.reshape(n, -1).contiguous()
        k = torch.searchsorted(person, flat).clamp(1, person.shape[1] - 1)
        low, high = person.gather(1, k - 1), person.gather(1, k)
        rows = canvas[k - 1] + (canvas[k] - canvas[k - 1]) * (flat - low) / (high - low).clamp_min(1e-3)
        depth = size * torch.exp(0.09 * draw.normal(n))
        ahead = (front + draw.normal(n) + 0.9 * self.wave(n, max(cells // 30, 3))) / depth
        ahead = ahead + 0.6 * self.smooth(n, cells // 10, 8) * draw.uniform(n, 0, 1)
        return rows.reshape(mm.shape), self.shapes.middle + ahead / STEP

    def person(self, n: int, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows of the canvas, where they lie in each person (mm), and the discs' places there from C1 downwards."""
        draw, shapes = self.along, self.shapes
        normal = lambda *shape: torch.randn(*shape, generator=draw.generator)  # noqa: E731
        heights = 0.8 * torch.exp(0.2 * normal(n))
        trunk = torch.exp(0.05 * normal(n, 1) * torch.linspace(-1, 1, len(shapes.place)))
        canvas, at = [0.0], [torch.zeros(n)]
        places = []
        for q, number in enumerate(sorted(shapes.place, reverse=True)):  # from the lowest
            vertebra = size * torch.exp(0.07 * normal(n)) * trunk[:, q]
            thick = size * (heights * torch.exp(0.25 * normal(n))).clamp(0.35, 1.6)
            half = shapes.half[number]
            low = max(shapes.place[number] - half, canvas[-1] + 0.5)
            at.append(at[-1] + (low - canvas[-1]) * STEP * vertebra)
            canvas.append(low)
            places.append(at[-1] + half * STEP * thick)
            if half:
                at.append(at[-1] + 2 * half * STEP * thick)
                canvas.append(shapes.place[number] + half)
        end = float(shapes.body.shape[1] - 1)
        at.append(at[-1] + (end - canvas[-1]) * STEP * size)
        return torch.tensor([*canvas, end]), torch.stack(at, 1).contiguous(), torch.stack(places[::-1], 1)
