"""Names, numbers and places of vertebrae and discs, in the conventions of the Spinal Cord Toolbox and in PAM50.

Vertebrae C1..C7 are 1..7, T1..T12 8..19, L1..L5 20..24, S1.. 25..; disc n is the disc above vertebra n (3 is C2/C3) and its
label lies at the posterior tip of the disc. Spinal levels (roots) C2..C8 are 2..8, T1 is 9: not the vertebral numbers.
"""

from __future__ import annotations

PMG, PMJ, CONUS = 49, 50, 60
"""Labels of the pontomedullary groove and junction, and of the tip of the conus medullaris."""

PAM50_SLICE_MM = 0.5
"""Slice thickness of the PAM50 template; mm (De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041)."""

PAM50_LEVELS = {
    1: (939, 984), 2: (908, 938), 3: (871, 907), 4: (834, 870), 5: (801, 833), 6: (770, 800), 7: (736, 769),
    8: (693, 735), 9: (647, 692), 10: (601, 646), 11: (552, 600), 12: (501, 551), 13: (450, 500), 14: (397, 449),
    15: (343, 396), 16: (290, 342), 17: (232, 289), 18: (169, 231), 19: (106, 168), 20: (40, 105),
}  # fmt: skip
"""Vertebral level -> first and last slice of PAM50 (0 is the lowest)."""

PAM50_DISCS = {
    1: 985, 2: 939, 3: 908, 4: 871, 5: 834, 6: 801, 7: 770, 8: 736, 9: 693, 10: 647, 11: 601, 12: 552, 13: 501, 14: 450,
    15: 397, 16: 343, 17: 290, 18: 232, 19: 169, 20: 106, 21: 39, 60: 40,
}  # fmt: skip
"""Disc label -> slice of PAM50."""


PAM50_PMJ = 1028
"""Slice of PAM50, carried on upwards, of the pontomedullary junction in its T2w as it comes with SCT's testing data, +-3."""


def vertebra_name(level: int) -> str:
    """C1..C7, T1..T12, L1..L5, S1..; ValueError for numbers below 1."""
    if level < 1:
        raise ValueError(f"there is no vertebra {level}")
    for letter, first, last in (("C", 1, 7), ("T", 8, 19), ("L", 20, 24)):
        if level <= last:
            return f"{letter}{level - first + 1}"
    return f"S{level - 24}"


def disc_name(disc: int) -> str:
    """C2/C3 for 3; the top of C1 for 1; "conus", "PMJ" and "PMG" for the special labels."""
    special = {PMG: "PMG", PMJ: "PMJ", CONUS: "conus", 1: "C1 top"}
    return special.get(disc) or f"{vertebra_name(disc - 1)}/{vertebra_name(disc)}"


def spinal_level_name(level: int) -> str:
    """C1..C8, T1..T12, L1..L5, S1..: the roots' own numbers (8 is C8, 9 is T1)."""
    if level < 1:
        raise ValueError(f"there is no spinal level {level}")
    return f"C{level}" if level <= 8 else vertebra_name(level - 1)
