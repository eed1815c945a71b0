"""What a neck is made of, drawn around a cord in its own coordinates: vertebrae, discs, muscles, fat, airway, brainstem."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neuraxis.simulate.cord_anatomy import (
    HEIGHT,
    PMJ_HEIGHT,
    Place,
    Spine,
    canal_outside,
    cord_outside,
    ellipse,
    gray_outside,
    lesion_outside,
)
from neuraxis.volume import Array


class Tissue(NamedTuple):
    """m0 relative to water; t1, t2, t2star at 3 T in s; mtr: share of the signal that saturation takes."""

    m0: float
    t1: float
    t2: float
    t2star: float
    mtr: float


TISSUES = {
    "air": Tissue(0.0, 1.0, 0.05, 0.01, 0.0),
    "white": Tissue(0.70, 0.86, 0.073, 0.040, 0.46),
    "gray": Tissue(0.82, 0.97, 0.076, 0.045, 0.40),
    "csf": Tissue(1.0, 4.3, 1.5, 0.30, 0.05),
    "lesion": Tissue(0.85, 1.20, 0.110, 0.060, 0.30),
    "marrow": Tissue(0.70, 0.59, 0.070, 0.012, 0.20),
    "bone": Tissue(0.12, 0.40, 0.010, 0.002, 0.0),
    "ligament": Tissue(0.45, 0.90, 0.022, 0.010, 0.25),
    "nucleus": Tissue(0.90, 1.40, 0.105, 0.050, 0.15),
    "muscle": Tissue(0.80, 0.95, 0.032, 0.024, 0.45),
    "fat": Tissue(0.85, 0.38, 0.068, 0.030, 0.02),
    "blood": Tissue(0.85, 1.65, 0.150, 0.050, 0.15),
}
"""Cord: Smith 2008, doi:10.1002/mrm.21596; muscle and fat, T1 of marrow: de Bazelaire 2004,
doi:10.1148/radiol.2303021331 (3 T). T2 of marrow (as bright as in a turbo spin echo),
proton densities, T2* and saturation are plausible, not measured."""

# height: front, back and half width of the skin around the cord; mm
_SKIN = np.array([
    (HEIGHT[13], 85, -62, 165), (HEIGHT[10], 78, -60, 160), (HEIGHT[9], 70, -58, 140), (HEIGHT[8], 64, -56, 100),
    (HEIGHT[7], 60, -53, 72), (HEIGHT[5], 58, -50, 62), (HEIGHT[3], 62, -50, 64), (HEIGHT[2], 80, -54, 68),
    (HEIGHT[1], 98, -64, 72), (PMJ_HEIGHT, 104, -78, 76), (PMJ_HEIGHT + 60, 106, -92, 78),
], float)  # fmt: skip

# disc: front to back length and half width of the vertebral body below it, reach of its spinous process; mm
_BODY = np.array([(2, 14, 9.0, 37), (3, 15, 9.5, 29), (4, 15, 10, 28), (5, 15.5, 10.5, 30), (6, 16, 11.5, 35),
                  (7, 16.5, 12.5, 44), (8, 17.5, 14, 47), (9, 18.5, 14, 47), (13, 21, 14, 45)], float)  # fmt: skip

_DISCS = np.array([HEIGHT[n] for n in range(14, 0, -1)])
"""Heights of the discs from T6/T7 up to the top of C1: rising, for a search."""

_SLOPE = 0.45
"""How far a spinous process falls per millimetre to the back."""


class Canvas:
    """Signals of N points in C images; what is painted covers what was there by its share of the point."""

    def __init__(self, signals: dict[str, Array], number: int, edge: float) -> None:
        self.signals, self.edge = signals, edge
        self.image = np.empty((number, len(signals["air"])), np.float32)
        self.image[:] = signals["air"]

    def paint(self, tissue: str, outside: Array, most: float = 1.0) -> None:
        """A tissue where `outside` (distance from its surface, mm) is negative, with an edge of one fine voxel."""
        at = np.flatnonzero(outside < 0.5 * self.edge)
        share = (np.clip(0.5 - outside[at] / self.edge, 0, 1) * most)[:, None].astype(np.float32)
        self.image[at] += share * (self.signals[tissue] - self.image[at])


def neck(
    spine: Spine, at: Place, edge: float, signals: dict[str, Array], *, lesion: bool, canal_only: bool = False
) -> Array:
    """Signals (N, C) of points, from the signal of each tissue (C,).

    `edge` is the edge of a fine voxel, mm; `canal_only` says that all points lie at the dural sac, where no muscle is.
    """
    u, v, height, _ = at
    canvas = Canvas(signals, len(u), edge)
    canal = canal_outside(at)
    if canal_only:
        canvas.image[:] = signals["ligament"]
    else:
        _soft_tissue(canvas, u, v, height)
    near = np.flatnonzero((np.abs(u) < 34) & (v > -60) & (v < 46))
    part = Canvas(signals, len(near), edge)
    part.image = canvas.image[near]
    _vertebrae(part, spine, u[near], v[near], height[near], canal[near])
    canvas.image[near] = part.image
    _brain(canvas, u, v, height)
    canvas.paint("csf", canal)
    canvas.paint("white", np.maximum(cord_outside(at), height - PMJ_HEIGHT))
    near = np.flatnonzero((canal < 0) & (height < HEIGHT[1] + 5))
    part = Canvas(signals, len(near), edge)
    part.image, inner = canvas.image[near], at.part(near)
    part.paint("gray", np.maximum(gray_outside(inner), inner.height - HEIGHT[1] - 4))
    if lesion:
        part.paint("lesion", lesion_outside(inner))
    canvas.image[near] = part.image
    _pons(canvas, u, v, height)
    return canvas.image


def _soft_tissue(canvas: Canvas, u: Array, v: Array, height: Array) -> None:
    """Skin, fat under it, muscles with fat between them, jaw and airway."""
    front, back, half = (np.interp(height, _SKIN[:, 0], _SKIN[:, n]) for n in (1, 2, 3))
    skin = ellipse(u, v - (front + back) / 2, 2 * half, front - back)
    jaw = (np.sqrt((u / 44) ** 2 + ((v - 66) / 40) ** 2 + ((height - 462) / 30) ** 2) - 1) * 34
    skin = np.minimum(skin, jaw)
    canvas.paint("ligament", skin)
    canvas.paint("fat", skin + 1.5)
    thick = 5 + 6 * np.clip((-10 - v) / 30, 0, 1) * np.clip((HEIGHT[4] - height) / 40, 0, 1)
    canvas.paint("muscle", skin + thick)
    inside = skin + thick + 1
    ring = np.hypot(u * 0.9, v + 6)
    for radius in (24.0, 35.0, 45.0):  # the layers of the neck's muscles
        sheet = np.abs(ring - radius - 2 * np.sin(u / 9) - 1.5 * np.sin(height / 11)) - 0.7
        canvas.paint("fat", np.maximum(np.maximum(sheet, v + 4), inside), 0.8)
    canvas.paint("fat", np.maximum(np.maximum(np.abs(u) - 1.0, v + 14), inside), 0.8)
    streak = np.sin(0.55 * v + 0.09 * height + 1.7 * np.sin(u / 6 + height / 31)) + np.sin(
        0.13 * height - 0.35 * v + u / 4
    )
    canvas.paint("fat", np.maximum(np.maximum((1.72 - streak) * 4, v + 8), inside), 0.5)
    # great vessels and airway; the airway lies further in front below the larynx
    canvas.paint("blood", ellipse(np.abs(u) - 26, v - 26, 7, 7))
    canvas.paint("blood", ellipse(np.abs(u) - 32, v - 20, 11, 8))
    below = np.clip((HEIGHT[4] - height) / 30, 0, 1)
    middle, deep, wide = 34 + 6 * below, 9 + 7 * below, 22 - 5 * below
    canvas.paint("ligament", ellipse(u, v - middle, wide + 4, deep + 4), 0.8)
    canvas.paint("air", np.maximum(ellipse(u, v - middle, wide, deep), height - PMJ_HEIGHT - 8))
    tongue = (np.sqrt((u / 24) ** 2 + ((v - 66) / 20) ** 2 + ((height - 468) / 18) ** 2) - 1) * 18
    canvas.paint("fat", np.maximum(tongue, np.sin(v / 2.2 + height / 5) * 2), 0.35)


def _vertebrae(canvas: Canvas, spine: Spine, u: Array, v: Array, height: Array, canal: Array) -> None:
    """Bodies, discs, dens, atlas, arches, spinous processes, ligaments and the fat around the dura."""
    deep, half, reach = _rows(height, (1, 2, 3))
    back = np.interp(height, _DISCS, spine.canal_front(_DISCS)) + 1.3
    above = np.searchsorted(_DISCS, height).clip(1, len(_DISCS) - 1)
    low, high = _DISCS[above - 1], _DISCS[above]
    apart = high - low
    thin = 0.26 * np.minimum(apart, 18.5)
    to_disc = np.minimum(height - low, high - height)
    waist = 1.2 * np.sin(np.pi * np.clip((height - low) / apart, 0, 1))
    # bodies stand between the discs, from C2 downwards; the dens stands on the body of C2
    ahead = v - back
    box = rounded(
        np.abs(u) - half + waist + 0.03 * ahead**2 * (ahead > 0), np.abs(ahead - deep / 2) - deep / 2 + waist / 2
    )
    top = HEIGHT[2] - 1
    body = np.maximum(np.maximum(box, thin / 2 - np.where(height > HEIGHT[3] + 4, 9, to_disc)), height - top)
    dens = np.maximum(ellipse(u, v - back - 5.5, 11, 11), np.maximum(height - HEIGHT[1] + 3.5, HEIGHT[3] + 4 - height))
    canvas.paint("ligament", np.maximum(np.maximum(box - 1.2, height - top - 22), HEIGHT[13] - height))
    body = np.minimum(body, dens)
    canvas.paint("bone", body)
    canvas.paint("marrow", body + 0.8)
    disc = np.maximum(np.maximum(box + 0.3, to_disc - thin / 2), height - HEIGHT[3] - 4)
    canvas.paint("ligament", disc)
    lens = np.sqrt(
        (u / (half - 4)) ** 2 + ((v - back - deep / 2) / (deep / 2 - 3)) ** 2 + (to_disc / (thin / 2 - 0.4)) ** 2
    )
    canvas.paint("nucleus", np.maximum((lens - 1) * 2, height - HEIGHT[3] - 4), 0.7)
    # arches: around the back of the canal; higher up they are the atlas
    rows = np.clip((height + _SLOPE * (-v - 8) * (v < -8)), _DISCS[0], HEIGHT[2])
    at = np.searchsorted(_DISCS, rows).clip(1, len(_DISCS) - 2)
    middle = (_DISCS[at - 1] + _DISCS[at]) / 2 - 2.5
    tall = 0.30 * (_DISCS[at] - _DISCS[at - 1])
    beside = np.abs(rows - middle) - tall
    canvas.paint("ligament", np.maximum(np.maximum(canal - 4.5, v - 1), height - HEIGHT[1]))
    canvas.paint("fat", np.maximum(np.maximum(canal - 2.2, v + 1), height - HEIGHT[1]))
    arch = np.maximum(np.maximum(np.abs(canal - 4.6) - 2.6, v + 1), beside)
    reach = np.interp(middle, _DISCS, _rows(_DISCS, (3,))[0])
    spike = rounded(np.maximum(np.abs(u) - 2.8, v + 10), rounded(-v - reach, np.abs(rows - middle) - 4.5))
    pillar = np.maximum(ellipse(np.abs(u) - half - 6, v + 1, 11, 13), np.abs(rows - middle) - tall - 3)
    bones = np.maximum(np.minimum(np.minimum(arch, spike), pillar), height - HEIGHT[2] + 2)
    around, centre = np.hypot(u / 1.25, v - 4), (HEIGHT[1] + HEIGHT[2]) / 2
    ring = np.hypot(around - 16.5, (height - centre) / 1.4) - 3.4 - 3.0 * np.clip(np.abs(u) / 16 - 0.6, 0, 0.6)
    bones = np.minimum(bones, ring)
    canvas.paint("bone", bones)
    canvas.paint("marrow", bones + 0.9)
    canvas.paint("blood", np.maximum(ellipse(np.abs(u) - half - 5, v - 9, 4, 4), height - HEIGHT[1]))
    canvas.paint("ligament", np.maximum(np.abs(canal) - 0.5, height - HEIGHT[1] - 4))


def rounded(a: Array, b: Array, radius: float = 2.0) -> Array:
    """Distance from what two surfaces have in common, with a round edge."""
    a, b = a + radius, b + radius
    return np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - radius


def _rows(height: Array, columns: tuple[int, ...]) -> list[Array]:
    """Columns of the table of bodies at heights."""
    places = np.array([HEIGHT[int(n)] for n in _BODY[:, 0]])[::-1]
    return [np.interp(height, places, _BODY[::-1, column]) for column in columns]


def _brain(canvas: Canvas, u: Array, v: Array, height: Array) -> None:
    """Back of the skull, clivus, cerebellum and the fluid around them."""
    if not (height > HEIGHT[1]).any():
        return
    fossa = (np.sqrt((u / 56) ** 2 + ((v + 13) / 44) ** 2 + ((height - 548) / 48) ** 2) - 1) * 46
    clivus = (v - 10) * 0.94 - (height - 499) * 0.34  # distance in front of the line from the basion upwards
    fossa = np.maximum(fossa, clivus)
    bone = np.maximum(np.minimum(fossa - 7, np.maximum(np.abs(clivus - 5) - 5, np.abs(u) - 14)), HEIGHT[1] + 5 - height)
    bone = np.maximum(bone, clivus - 10)
    canvas.paint("bone", bone)
    canvas.paint("marrow", np.maximum(bone + 1.5, -np.abs(fossa - 3.5) + 2.2 - 4.4 * (clivus > 0)))
    canvas.paint("csf", fossa)
    folds = np.sin(1.4 * np.hypot(v + 14, height - 530) + np.sin(u / 6)) * 1.2
    lobes = np.maximum(
        np.maximum(fossa + 3 - 2.5 * (np.abs(u) < 2), v + 12 - 0.1 * np.abs(u)), PMJ_HEIGHT - 12 - height
    )
    canvas.paint("gray", lobes)
    canvas.paint("white", np.maximum(lobes + 3.5 + folds, np.abs(height - 532) - 16))


def _pons(canvas: Canvas, u: Array, v: Array, height: Array) -> None:
    """The pons with its sharp lower edge in front, the midbrain and the fourth ventricle."""
    if not (height > PMJ_HEIGHT - 12).any():
        return
    pons = (np.sqrt((u / 17) ** 2 + ((v - 4.5) / 12.5) ** 2 + ((height - PMJ_HEIGHT - 13) / 13.5) ** 2) - 1) * 13
    stem = np.maximum(ellipse(u, v + 0.5, 16, 12.5), PMJ_HEIGHT - 1 - height)
    canvas.paint("white", np.minimum(pons, stem))
    canvas.paint(
        "csf", (np.sqrt((u / 6) ** 2 + ((v + 9.5) / 3.4) ** 2 + ((height - PMJ_HEIGHT - 9) / 13) ** 2) - 1) * 4
    )
