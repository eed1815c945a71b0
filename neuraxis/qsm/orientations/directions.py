"""Where the main field points in the head, orientation by orientation, and how well that determines the susceptibility."""

from __future__ import annotations

import math

import numpy as np

from neuraxis.table import Table
from neuraxis.volume import Array, Grid

_DISTINCT = 3.0
"""Directions that lie closer than this to one another are one orientation; degrees."""

_PLACES = 4000
"""Directions on the half sphere at which the worst-conditioned one is looked for: about 2 degrees apart."""


def field_directions(head_positions: Table, number: int, grid: Grid) -> Array:
    """Unit vectors of the main field along the voxel axes of `grid`; (O, 3), from a table of `number` rows in its world.

    Raises
    ------
    ValueError: the table has another number of rows, or a direction has no length.
    """
    if len(head_positions) != number:
        raise ValueError(f"there are {number} fields, and {len(head_positions)} head positions")
    world = np.stack([head_positions[f"b0_{axis}"] for axis in "xyz"], axis=-1)
    found = world @ (grid.matrix[:3, :3] / np.array(grid.voxel_size))
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    if not (length > 0).all():
        raise ValueError("a direction of the main field has no length")
    return found / length


def distinct(directions: Array) -> int:
    """How many of the directions differ, whichever way along its axis each points."""
    kept: list[Array] = []
    for one in directions:
        if all(abs(float(one @ other)) < math.cos(math.radians(_DISTINCT)) for other in kept):
            kept.append(one)
    return len(kept)


def worst_frequency(directions: Array) -> float:
    """sqrt(sum_i D_i(k)^2) at the frequency k where it is smallest: 1 / this is how much noise grows there.

    A single dipole kernel is zero on a cone of 54.7 degrees around the main field, and two such cones always meet.
    """
    step = np.arange(_PLACES) + 0.5
    height, turn = step / _PLACES, step * math.pi * (1 + 5**0.5)  # a spiral that covers the half sphere evenly
    flat = np.sqrt(1 - height**2)
    places = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=-1)
    return float(np.sqrt((((places @ directions.T) ** 2 - 1 / 3) ** 2).sum(axis=1).min()))


def products(directions: Array) -> Array:
    """b b' of each direction as (O, 6): xx, yy, zz, and the root of 2 times xy, xz, yz.

    With tensors written like that, b' T b is their scalar product.
    """
    x, y, z = directions.T
    root = math.sqrt(2)
    return np.stack([x * x, y * y, z * z, root * x * y, root * x * z, root * y * z], axis=-1)


def worst_tensor(directions: Array) -> float:
    """The smallest singular value of the map from tensors to the fields of all orientations.

    That map is a product: fields = B L_k tensor, with the rows b b' in B, and with singular values of L_k from 1/6 to 2/3.
    """
    values = np.linalg.svd(products(directions), compute_uv=False)
    return float(values[-1]) / 6 if len(directions) >= 6 else 0.0
