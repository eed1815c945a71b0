"""Which map of the transmitted field (B1) belongs to an acquisition, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from neuraxis.bids.dataset import Unit, natural
from neuraxis.bids.files import listed, parse_name
from neuraxis.bids.images import check_values, read_volume
from neuraxis.bids.sidecar import metadata
from neuraxis.errors import DataError, NeuraxisError
from neuraxis.volume import Volume

NO_B1 = "there is no B1 map (fmap/*_TB1map)"

_SUFFIX = "TB1map"

_UNITS = {"": 1.0, "arbitrary": 1.0, "1": 1.0, "percent": 0.01, "%": 0.01}
"""Units of a B1 map -> what makes it relative to the nominal flip angle."""

_MEDIAN = (0.2, 3.0)
"""No B1 map relative to nominal has a median outside these: it is in percent, or in degrees."""


def b1_of(unit: Unit, images: Collection[Path]) -> tuple[Path | None, str]:
    """The B1 map in fmap/ for an acquisition of these `images`; None, and why, where there is none that can be used.

    What IntendedFor names any of the images goes first, then what has no IntendedFor. Of several that are left it is the one with the
    acq- and run- of the unit, or else the one whose acq- and run- do not contradict it. None is taken where that leaves several.
    """
    try:
        path, why = _chosen(unit, images)
        if path:
            relative(path, unit.root)
    except NeuraxisError as error:
        return None, f"the B1 map is left out: {error.sentence().rstrip('.')}"
    return path, why


def _chosen(unit: Unit, images: Collection[Path]) -> tuple[Path | None, str]:
    found = {}
    for path in listed(unit.root, unit.participant, ("fmap",)):
        parsed = parse_name(path.name)
        if parsed and parsed[1] == _SUFFIX and parsed[0].get("sub") == unit.participant and parsed[0].get("ses") == unit.session:
            found[path] = parsed[0]
    if not found:
        return None, NO_B1
    there = sorted(found, key=lambda path: natural(path.name))
    targets = {path: _intended(path, unit) for path in there}
    own = {os.path.normpath(path) for path in images}
    left = [path for path in there if targets[path] & own] or [path for path in there if not targets[path]]
    names = ", ".join(path.name for path in left or there)
    if not left:
        return None, f"the B1 map is left out: by IntendedFor {names} is for other images"
    if len(left) == 1:
        return left[0], ""
    wanted = _told(dict(unit.entities))
    for fits in (lambda a, b: a == b, lambda a, b: a in ("", b)):
        fitting = [path for path in left if all(fits(a, b) for a, b in zip(_told(found[path]), wanted, strict=True))]
        if len(fitting) == 1:
            return fitting[0], ""
    return None, f"the B1 map is left out: neither IntendedFor nor acq- and run- tell which of {names} it is"


def _told(entities: dict[str, str]) -> tuple[str, str]:
    """acq- and run- of a name; an index may have leading zeros."""
    return entities.get("acq", ""), entities.get("run", "").lstrip("0")


def _intended(path: Path, unit: Unit) -> set[str]:
    """The files that IntendedFor of an image names: URIs of this data set (bids::), or paths below the participant's folder."""
    said = metadata(path, unit.root).get("IntendedFor")
    found = set()
    for text in [said] if isinstance(said, str) else said if isinstance(said, list) else []:
        if str(text).startswith("bids::"):
            found.add(os.path.normpath(unit.root / str(text).removeprefix("bids::")))
        else:  # a URI of another data set is no file of this one
            found.add(os.path.normpath(unit.root / f"sub-{unit.participant}" / str(text)))
    return found


def relative(path: Path, root: Path) -> tuple[Volume, list[str]]:
    """A B1 map relative to the nominal flip angle, by the Units of its sidecar; and what was decided."""
    unit = str(metadata(path, root).get("Units", ""))
    if unit.lower() not in _UNITS:
        raise DataError(f"{path} has Units {unit!r}, and a factor of the nominal flip angle is needed.", "Convert it: 1 is nominal, or percent.")
    values, grid, _ = read_volume(path)
    data = np.ascontiguousarray(values, np.float32) * np.float32(_UNITS[unit.lower()])
    check_values(path, "", data)
    middle = float(np.median(data[data > 0])) if (data > 0).any() else 0.0
    if not _MEDIAN[0] <= middle <= _MEDIAN[1]:
        raise DataError(
            f"{path} has a median of {middle:.4g} in Units {unit or 'not given'}, which is no factor of the nominal flip angle.",
            "Say its Units in its sidecar (percent), or convert it.",
        )
    return Volume(data, grid), [f"B1: {path.name}, median {middle:.3g} of nominal."]
