"""The regions of the PAM50 atlas: numbers, names, what is combined of them, and the clusters that are alike.

A region's number is its place on the last axis of the atlas; left ones are even, right ones odd (De Leener 2018,
doi:10.1016/j.neuroimage.2017.10.041; Levy 2015, doi:10.1016/j.neuroimage.2015.06.040).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuraxis.volume import Array, Volume

WHITE_TRACTS = (
    "fasciculus gracilis", "fasciculus cuneatus", "lateral corticospinal tract", "ventral spinocerebellar tract",
    "rubrospinal tract", "lateral reticulospinal tract", "spinal lemniscus (spinothalamic and spinoreticular tracts)",
    "spino-olivary tract", "ventrolateral reticulospinal tract", "lateral vestibulospinal tract", "ventral reticulospinal tract",
    "ventral corticospinal tract", "tectospinal tract", "medial reticulospinal tract", "medial longitudinal fasciculus",
)  # fmt: skip
GRAY_ZONES = ("dorsal horn", "intermediate zone", "ventral horn")

REGIONS = (
    *(f"WM {side} {name}" for name in WHITE_TRACTS for side in ("left", "right")),
    *(f"GM {side} {name}" for name in GRAY_ZONES for side in ("left", "right")),
    "CSF contour",
)
"""Name of every region, in the order of the atlas."""

COMBINED = {
    50: ("spinal cord", range(36)),
    51: ("white matter", range(30)),
    52: ("gray matter", range(30, 36)),
    53: ("dorsal columns", range(4)),
    54: ("lateral funiculi", range(4, 14)),
    55: ("ventral funiculi", range(14, 30)),
}
"""Number -> name and the regions of which it is the sum."""

CLUSTERS = (range(30), range(30, 36), range(36, 37))
"""Regions whose values are alike: white matter, grey matter, fluid."""

NUMBERS = (*range(len(REGIONS)), *COMBINED)
"""Numbers of all that is measured: the regions, then what is combined."""

_TOLERANCE = 1e-3
"""Weights may pass 1 by this much: interpolation rounds."""


def region_name(number: int, regions: int = len(REGIONS)) -> str:
    """Name of a region, or of a combined one, of an atlas with so many `regions`; "region 3" where it is not PAM50's."""
    if regions != len(REGIONS):
        return f"region {number}"
    return COMBINED[number][0] if number in COMBINED else REGIONS[number]


def members() -> Array:
    """1 where a region (row) belongs to what is measured (column, in the order of NUMBERS); (37, 43)."""
    found = np.eye(len(REGIONS), len(NUMBERS))
    for column, (_, regions) in enumerate(COMBINED.values(), len(REGIONS)):
        found[list(regions), column] = 1
    return found


def check_atlas(tract_atlas: Volume, others: Mapping[str, Volume | None]) -> None:
    """ValueError unless it has four axes, weights from 0 to 1, and lies on the grid of the others, by name."""
    weights = tract_atlas.data
    if weights.ndim != 4:
        raise ValueError(f"an atlas has four axes (X, Y, Z, region), not {weights.ndim}")
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0 or weights.max(initial=0) > 1 + _TOLERANCE:
        raise ValueError("the weights of an atlas are numbers from 0 to 1")
    for name, other in others.items():
        if other is not None and not other.grid.same_as(tract_atlas.grid):
            raise ValueError(f"tract_atlas and {name} lie on different grids")
