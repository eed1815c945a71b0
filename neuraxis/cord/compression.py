"""How far the cord is compressed: ratios to the cord above and below, and the risk at each cervical disc."""

from __future__ import annotations

import math

import numpy as np

from neuraxis.cord.normative import healthy_mean
from neuraxis.cord.vertebrae import PAM50_SLICE_MM, disc_name, vertebra_name
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

METRICS = ("diameter_AP", "diameter_AP_ellipse", "area", "diameter_RL", "eccentricity", "solidity")
"""Metrics whose ratio is formed; diameter_AP gives the maximum spinal cord compression (MSCC)."""

_DISCS = (4, 5, 6, 7)
"""C3/C4 to C6/C7: the discs for which the model of compression was fitted."""

_CONSTANT, _RATIO, _AREA, _SOLIDITY, _TORSION, _C6_C7 = 57.501, -0.273, -0.102, -0.408, 2.168, -2.729
"""Logistic model of Horakova 2022, as in the Spinal Cord Toolbox: per %, mm2, %, degree, and for disc C6/C7."""

_POSSIBLE, _YES = 0.345, 0.451
"""Probabilities from which compression is possible, and above which it is called (Horakova 2022)."""

_REACH = 3
"""Slices on each side over which torsion is measured."""


def compression_ratios(
    shape: Table,
    centerline: Table,
    compression: Volume,
    shape_pam50: Table | None = None,
    sex: str | None = None,
    age: float | None = None,
    *,
    distance: float = 10.0,
    extent: float = 20.0,
) -> Table:
    """Maximum spinal cord compression and its kin, in percent of the cord above and below.

    For each compressed slice (or run of them) and each metric

        ratio = 100 * (1 - value / ((above + below) / 2))

    where above is the mean over `extent` mm of cord that begin `distance` mm above the highest compression, and below the
    same below the lowest one, so that several compressions share references which none of them touches; mm are measured
    along the centerline. Where the image or the cord ends before, the part that there is is taken; with nothing on one side
    the other stands alone; with nothing on both there is no ratio, and `why` says so. 0 is no compression, 100 is no cord
    left; a negative ratio is a cord that is thicker there.

    ratio_pam50 is the same on the slices of PAM50, where vertebrae have one height in all people. In
    ratio_pam50_normalised each value is first divided by the mean of healthy adults at that slice, which takes out that a
    healthy cord too is thicker at C4 than at C2 or C7.

    Parameters
    ----------
    shape
        Shape per slice; mm, mm2 or no unit.
    centerline
        Slices and arc length; mm.
    compression
        Any voxel that is not zero marks its slice as compressed; (X, Y, Z), any orientation. Neighbouring slices are one
        compression, whose value is their mean.
    shape_pam50
        Shape per PAM50 slice; without it there is neither of the two further ratios.
    sex
        "M" or "F"; for the healthy adults. Anything else counts as unknown.
    age
        Years; for the healthy adults.
    distance
        Cord between compression and reference; mm, at least 0. Larger keeps clear of the slope of the compression.
    extent
        Length of each reference; mm, above 0. Larger is steadier and reaches further along the cord.

    Returns
    -------
    One row per compression and metric: slice, level, name, metric, value, reference_above, reference_below, ratio (%),
    ratio_pam50 (%), ratio_pam50_normalised (%), stratum (of the healthy adults), why (what is missing or short). Empty where nothing
    is marked.

    Raises
    ------
    ValueError: distance or extent is outside its range.

    References
    ----------
    Miyanji 2007, doi:10.1148/radiol.2433060583
    Valosek 2024, doi:10.1162/imag_a_00075
    """
    if not 0 <= distance < math.inf:
        raise ValueError(f"distance must be at least 0 mm, not {distance}")
    if not 0 < extent < math.inf:
        raise ValueError(f"extent must be above 0 mm, not {extent}")
    marked = np.flatnonzero((np.nan_to_num(compression.oriented("LAS").data) != 0).any(axis=(0, 1)))
    runs = np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1) if len(marked) else []
    places = _references(centerline["slice"], centerline["arc_mm"], marked, distance, extent)
    short = _short(centerline, places, extent)
    template, unknown = _onto_template(shape_pam50, runs)
    every = np.concatenate(template) if template else np.empty(0, int)
    sides = _template_references(every, distance, extent)
    rows: list[dict[str, object]] = []
    for run, there in zip(runs, template or [np.empty(0, int)] * len(runs), strict=True):
        level = _at(shape, "level", run)
        level = float(np.rint(level)) if np.isfinite(level) else math.nan
        for metric in (name for name in METRICS if name in shape):
            value = _at(shape, metric, run)
            above, below = (_at(shape, metric, place) for place in places)
            why = [*_why(value, above, below, run), *short]
            row = {
                "slice": int(run[(len(run) - 1) // 2]),
                "level": level,
                "name": vertebra_name(int(level)) if np.isfinite(level) and level >= 1 else "",
                "metric": metric,
                "value": value,
                "reference_above": above,
                "reference_below": below,
                "ratio": compression_ratio(value, above, below),
                "ratio_pam50": math.nan,
                "ratio_pam50_normalised": math.nan,
                "stratum": "",
            }
            if shape_pam50 is not None and metric in shape_pam50 and len(there):
                found = shape_pam50[metric]
                healthy, row["stratum"] = healthy_mean(shape_pam50["slice"], metric, sex, age)
                for name, values in (("ratio_pam50", found), ("ratio_pam50_normalised", found / healthy)):
                    table = Table({"slice": shape_pam50["slice"], metric: values})
                    row[name] = compression_ratio(*(_at(table, metric, z) for z in (there, *sides)))
            elif unknown:
                why.append(unknown)
            row["why"] = "; ".join(why)
            rows.append(row)
    names = (
        "slice", "level", "name", "metric", "value", "reference_above", "reference_below",
        "ratio", "ratio_pam50", "ratio_pam50_normalised", "stratum", "why",
    )  # fmt: skip
    return Table.of({name: np.array([row[name] for row in rows]) for name in names})


def compression_ratio(value: float, above: float, below: float) -> float:
    """100 * (1 - value / mean of the two references); the one that is there where one is missing, NaN without any."""
    there = [one for one in (above, below) if math.isfinite(one)]
    if not there or not math.isfinite(value) or sum(there) == 0:
        return math.nan
    return 100 * (1 - value / (sum(there) / len(there)))


def compression_risk(shape: Table, discs: Volume, *, slices: int = 0) -> Table:
    """Probability that the cord is compressed at the cervical discs C3/C4 to C6/C7.

    The logistic model of Horakova 2022 on the shape of the slice at the disc:

        p = 1 / (1 + exp(-(57.501 - 0.273 CR - 0.102 CSA - 0.408 S + 2.168 T - 2.729 [disc is C6/C7])))

    with compression ratio CR = 100 * diameter_AP / diameter_RL (%), area CSA (mm2), solidity S (%) and torsion T (degrees):
    the mean of the 6 absolute changes of orientation from slice to slice over the 3 slices above and below. p above 0.451
    is called "yes", 0.345 to 0.451 "possible", below it "no".

    Torsion needs 3 slices with a cord on either side. At the ends of the cord its term is left out, as in the Spinal Cord
    Toolbox; that lowers p (by 2.168 per degree of torsion in the exponent; about 1 degree is usual), and `why` says so.
    The model was fitted to shapes measured by that program on 3 T images; torsion is a change per slice, so that slices of
    another thickness shift p. It screens, it does not diagnose.

    Parameters
    ----------
    shape
        Shape per slice: area (mm2), diameter_AP and diameter_RL (mm), solidity (0..1), orientation (degrees).
    discs
        Disc labels, one voxel each (4 is C3/C4); (X, Y, Z), any orientation, zero elsewhere.
    slices
        Further slices to look at above and below each disc; whole number, at least 0. Each gets a row of its own.

    Returns
    -------
    One row per disc and slice: disc, name, slice, compression_ratio (%), area (mm2), solidity (%), torsion (degrees),
    probability (0..1), category (yes, possible, no; empty where the shape is missing), why.

    Raises
    ------
    ValueError: slices is negative.

    References
    ----------
    Horakova 2022, doi:10.21037/qims-21-782
    """
    if slices < 0:
        raise ValueError(f"slices must be at least 0, not {slices}")
    labels = np.nan_to_num(discs.oriented("LAS").data)
    rows: list[tuple[object, ...]] = []
    for disc in _DISCS:
        heights = np.flatnonzero((labels == disc).any(axis=(0, 1)))
        if len(heights) == 0:
            continue
        middle = round(float(heights.mean()))
        for z in range(middle - slices, middle + slices + 1):
            ratio = 100 * _at(shape, "diameter_AP", [z]) / _at(shape, "diameter_RL", [z])
            area, solidity = _at(shape, "area", [z]), 100 * _at(shape, "solidity", [z])
            torsion = _torsion(shape, z)
            score = _CONSTANT + _RATIO * ratio + _AREA * area + _SOLIDITY * solidity + _C6_C7 * (disc == 7)
            why = []
            if not math.isfinite(score):
                why.append(f"the cord has no shape in slice {z}")
            elif math.isfinite(torsion):
                score += _TORSION * torsion
            else:
                why.append(f"no torsion: fewer than {_REACH} slices above or below; the probability is too low")
            p = 1 / (1 + math.exp(-score)) if math.isfinite(score) else math.nan
            category = "" if math.isnan(p) else "yes" if p > _YES else "possible" if p >= _POSSIBLE else "no"
            rows.append((disc, disc_name(disc), z, ratio, area, solidity, torsion, p, category, "; ".join(why)))
    names = (
        "disc", "name", "slice", "compression_ratio", "area", "solidity", "torsion", "probability", "category", "why",
    )  # fmt: skip
    return Table.of({name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})


def _at(table: Table, metric: str, slices: Array | list[int]) -> float:
    """Mean of a metric over the slices where it is known; NaN where it is in none."""
    values = table[metric][np.isin(table["slice"], slices)]
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan


def _torsion(shape: Table, z: int) -> float:
    """Mean absolute change of orientation from slice to slice, z - 3 to z + 3; degrees, NaN where one is missing."""
    turns = [_at(shape, "orientation", [one]) for one in range(z - _REACH, z + _REACH + 1)]
    changes = np.abs(np.diff(turns))
    return float(np.minimum(changes, 180 - changes).mean())  # an axis turned by 180 degrees is the same axis


def _references(slices: Array, arc: Array, marked: Array, distance: float, extent: float) -> tuple[Array, Array]:
    """Slices of the references above the highest and below the lowest mark; each without its uppermost slice (SCT's)."""
    inside = marked[np.isin(marked, slices)]
    if len(inside) == 0:
        return np.empty(0, int), np.empty(0, int)
    half = (arc[-1] - arc[0]) / max(len(arc) - 1, 1) / 2
    pairs = []
    for at, way in ((arc[slices == inside[-1]][0], 1), (arc[slices == inside[0]][0], -1)):
        low, high = sorted((at + way * distance, at + way * (distance + extent)))
        first = int(np.argmin(np.abs(arc - low))) if low > arc[0] - half else 0
        end = int(np.argmin(np.abs(arc - high))) if high < arc[-1] + half else len(arc)
        outside = low > arc[-1] + half or high < arc[0] - half
        pairs.append(slices[first:end] if not outside else np.empty(0, int))
    return pairs[0], pairs[1]


def _onto_template(shape_pam50: Table | None, runs: list[Array]) -> tuple[list[Array], str]:
    """PAM50 slices of each run of compressed slices, and why there are none."""
    if shape_pam50 is None or len(shape_pam50) == 0:
        return [], "no vertebral levels, so no PAM50"
    nearest = np.rint(shape_pam50["slice_image"])
    return [shape_pam50["slice"][np.isin(nearest, run)] for run in runs], "the slice has no vertebral level"


def _template_references(marked: Array, distance: float, extent: float) -> tuple[Array, Array]:
    """The references above and below in PAM50; each without its uppermost slice."""
    if len(marked) == 0:
        return np.empty(0, int), np.empty(0, int)
    near, far = round(distance / PAM50_SLICE_MM), round((distance + extent) / PAM50_SLICE_MM)
    high, low = int(marked.max()), int(marked.min())
    return np.arange(high + near, high + far), np.arange(low - far, low - near)


def _short(centerline: Table, places: tuple[Array, Array], extent: float) -> list[str]:
    """Which references hold less than three quarters of the cord that they should."""
    step = np.ptp(centerline["arc_mm"]) / max(len(centerline) - 1, 1)
    lengths = {name: len(place) * step for name, place in zip(("above", "below"), places, strict=True)}
    return [f"reference {name} is {mm:.0f} mm long" for name, mm in lengths.items() if 0 < mm < 0.75 * extent]


def _why(value: float, above: float, below: float, run: Array) -> list[str]:
    missing = [name for name, one in (("above", above), ("below", below)) if not math.isfinite(one)]
    if not math.isfinite(value):
        return [f"the cord has no shape in slice {int(run[0])}"]
    if len(missing) == 2:
        return ["no reference: no cord above or below at that distance"]
    return [f"no reference {missing[0]}"] if missing else []
