"""How well a cord and the template's lie on each other after the registration, in both spaces."""

from __future__ import annotations

import numpy as np

from neuraxis.cord.template.sections import Shares
from neuraxis.cord.template.warps import brought
from neuraxis.cord.vertebrae import PAM50_SLICE_MM
from neuraxis.cord.warps import leads
from neuraxis.numerics.metrics import dice
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_INVERSE_MM = 0.5
"""Largest mean distance to the start after there and back; mm."""


def agreement(
    cord: Volume, pam50_cord: Volume, from_template: Volume, to_template: Volume, landmarks: int, heights: Array | None, least: float
) -> Table:
    """One row: overlap in the image and in the template, and how far a place of the cord is off after there and back, by the fields alone.

    `heights`: those of the image's own slices, if they are the sections. Between thick slices nobody knows where the cord is: there
    the template's slices at these heights are compared alone.
    """
    mask = cord.data > 0.5
    mapped = leads(from_template.data)
    laid = brought(pam50_cord, from_template) > 0.5
    in_image = dice(laid, mask & mapped) if (mask & mapped).any() else 0.0
    start = np.argwhere(mask & mapped)
    apart = _there_and_back(from_template, to_template, start)
    first = int(to_template.grid.within(pam50_cord.grid)[2])
    known = np.arange(to_template.grid.shape[2])
    if heights is not None:
        known = np.intersect1d(known, np.rint(heights / PAM50_SLICE_MM).astype(int) - first)
    found = brought(Volume(mask.astype(np.float32), cord.grid), to_template) > 0.5
    in_template = dice(found[:, :, known], pam50_cord.data[:, :, first + known] > 0.5)
    mean, most = (float(apart.mean()), float(apart.max())) if len(apart) else (np.inf, np.inf)
    reasons = []
    if min(in_image, in_template) < least:
        reasons.append(f"the cord and the template's overlap by {min(in_image, in_template):.2f} (Dice), less than {least:g}")
    if mean > _INVERSE_MM:
        reasons.append(f"there and back ends {mean:.2g} mm off")
    return Table.of(
        {
            "dice_image": np.array([in_image]),
            "dice_template": np.array([in_template]),
            "inverse_mean": np.array([mean]),
            "inverse_most": np.array([most]),
            "landmarks": np.array([landmarks]),
            "sections": np.array(["across" if heights is None else "slices"]),
            "trusted": np.array([int(not reasons)]),
            "why": np.array(["; ".join(reasons)]),
        }
    )


def _there_and_back(from_template: Volume, to_template: Volume, voxels: Array) -> Array:
    """Distances of voxels (N, 3) from where the two fields, one after the other, bring them; mm. Those that leave the fields are left out."""
    matrix = from_template.grid.matrix
    points = voxels @ matrix[:3, :3].T + matrix[:3, 3]
    there = points + from_template.data[tuple(voxels.T)]
    back = np.stack([Shares(Volume(to_template.data[..., n], to_template.grid))(there) for n in range(3)], axis=-1)
    inverse = np.linalg.inv(to_template.grid.matrix)
    at = there @ inverse[:3, :3].T + inverse[:3, 3]
    inside = np.all((at >= 0) & (at <= np.array(to_template.grid.shape) - 1), axis=1) & leads(back)
    return np.asarray(np.linalg.norm(there + back - points, axis=1)[inside])
