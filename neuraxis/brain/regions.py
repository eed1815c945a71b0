"""The merged label table: which regions there are, with their number on either side, and what other programs call them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neuraxis.table import Table


@dataclass(frozen=True)
class Structure:
    """A structure of the brain: number of its left and right half; one and the same where it lies in the middle.

    Numbers below 100 are those of FreeSurfer's aseg.
    """

    name: str
    short: str
    left: int
    right: int

    @property
    def paired(self) -> bool:
        return self.left != self.right


STRUCTURES = (
    Structure("caudate", "Ca", 11, 50),
    Structure("putamen", "Pu", 12, 51),
    Structure("globus pallidus externus", "GPe", 201, 202),
    Structure("globus pallidus internus", "GPi", 203, 204),
    Structure("nucleus accumbens", "NAc", 26, 58),
    Structure("red nucleus", "RN", 205, 206),
    Structure("substantia nigra pars compacta", "SNc", 207, 208),
    Structure("substantia nigra pars reticulata", "SNr", 209, 210),
    Structure("subthalamic nucleus", "STN", 211, 212),
    Structure("dentate nucleus", "DN", 213, 214),
    Structure("thalamus", "Th", 10, 49),
    Structure("hippocampus", "Hip", 17, 53),
    Structure("amygdala", "Amy", 18, 54),
    Structure("ventral diencephalon", "VDC", 28, 60),
    Structure("lateral ventricle", "LV", 4, 43),
    Structure("inferior lateral ventricle", "ILV", 5, 44),
    Structure("cerebral cortex", "Ctx", 3, 42),
    Structure("cerebral white matter", "WM", 2, 41),
    Structure("cerebellar cortex", "CbC", 8, 47),
    Structure("cerebellar white matter", "CbW", 7, 46),
    Structure("third ventricle", "V3", 14, 14),
    Structure("fourth ventricle", "V4", 15, 15),
    Structure("brain stem", "BS", 16, 16),
    Structure("cerebrospinal fluid", "CSF", 24, 24),
    # of other programs' segmentations alone
    Structure("globus pallidus", "GP", 13, 52),
    Structure("substantia nigra", "SN", 27, 59),
)

LEFT_OF = {one.right: one.left for one in STRUCTURES}
"""Number of a right half, or of what lies in the middle -> number of the left half."""

FLUIDS = ("lateral ventricle", "inferior lateral ventricle", "third ventricle", "fourth ventricle", "cerebrospinal fluid")
"""Structures that are filled with cerebrospinal fluid."""

NUCLEI = STRUCTURES[:10]
"""Those whose probabilities are told one by one: the deep nuclei that the atlas of the package has."""

SIDE_WORDS = {"L": "left ", "R": "right "}
"""What stands before the name of one half."""


def sides() -> dict[int, tuple[str, str]]:
    """Number -> hemisphere (L, R, or B in the middle) and name of the structure."""
    found: dict[int, tuple[str, str]] = {}
    for one in STRUCTURES:
        found |= {one.left: ("L", one.name), one.right: ("R", one.name)} if one.paired else {one.left: ("B", one.name)}
    return found


_SIDED = re.compile(r"(?i)(?:ctx-)?(left|right|lh|rh|[lr])[-_ ]+(.+)|(.+?)[-_ ]+(left|right|lh|rh|[lr])")


def told(names: Table | None) -> dict[int, tuple[str, str]]:
    """Number -> hemisphere and name: of a given table (index, name), left and right where a name begins or ends with it; else ours."""
    if names is None:
        return sides()
    found = {}
    for number, text in zip(names["index"].tolist(), names["name"].tolist(), strict=True):
        match = _SIDED.fullmatch(str(text).strip())
        side, words = ((match[1] or match[4])[0].upper(), match[2] or match[3]) if match else ("B", str(text).strip())
        found[int(number)] = (side, words)
    return found


def structures(names: Table | None) -> tuple[Structure, ...]:
    """The structures of a given table (index, name), left and right as one; without a table ours."""
    if names is None:
        return STRUCTURES
    found: dict[str, dict[str, int]] = {}
    for number, (side, words) in told(names).items():
        found.setdefault(words, {}).setdefault(side, number)
    return tuple(
        Structure(words, "", of.get("L", next(iter(of.values()))), of.get("R", next(iter(of.values())))) for words, of in found.items()
    )


def name_of(number: int, names: Table | None = None) -> str:
    """What a label is called, as "left caudate", or as a given table (index, name) has it; an unknown one by its number."""
    if names is not None:
        return dict(zip(names["index"].tolist(), map(str, names["name"].tolist()), strict=True)).get(number, f"region {number}")
    side, name = sides().get(number, ("", f"region {number}"))
    return SIDE_WORDS.get(side, "") + name
