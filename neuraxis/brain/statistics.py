"""Figures of every map in every region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from neuraxis.brain.regions import told
from neuraxis.table import Table
from neuraxis.volume import Array, Grid


def region_statistics(
    regions: Array,
    grid: Grid,
    chi: Array | None = None,
    r2star: Array | None = None,
    t2star: Array | None = None,
    chi_para: Array | None = None,
    chi_dia: Array | None = None,
    chi_mask: Array | None = None,
    mask: Array | None = None,
    phase_quality: Array | None = None,
    region_probability: Array | None = None,
    region_names: Table | None = None,
    region_trust: Table | None = None,
    brain_lesion: Array | None = None,
    *,
    least_voxels: int = 20,
    least_known: float = 0.8,
    least_quality: float = 0.3,
    most_lesion: float = 0.05,
) -> Table:
    """Mean, spread and range of every map in every region, of both halves and of both together.

    A voxel counts where the map is known: susceptibility in its mask, relaxation in the mask of the brain. No voxel is dropped because
    it is zero. weighted_mean = sum p v / sum p with the probability p of the label.

    Parameters
    ----------
    regions
        Labels; whole numbers, (X, Y, Z).
    grid
        Grid of the maps; gives the volume of a voxel.
    chi
        Susceptibility; ppm, (X, Y, Z).
    r2star
        R2*; 1/s, (X, Y, Z).
    t2star
        T2*; s, (X, Y, Z).
    chi_para
        Paramagnetic susceptibility; ppm, (X, Y, Z).
    chi_dia
        Diamagnetic susceptibility; ppm, (X, Y, Z).
    chi_mask
        Where the susceptibility is known; bool, (X, Y, Z). Without it, in the brain.
    mask
        The brain; bool, (X, Y, Z).
    phase_quality
        0 to 1, (X, Y, Z).
    region_probability
        Probability of the label of each voxel; 0 to 1, (X, Y, Z).
    region_names
        index, name: what given labels are called.
    region_trust
        Whether the registrations that made the labels can be trusted, and why not.
    brain_lesion
        Lesions; bool, (X, Y, Z). Their voxels stay in the figures, which are not trusted where there are many.
    least_voxels
        A region with fewer known voxels is not trusted; at least 1.
    least_known
        A region of which a smaller share is known is not trusted; 0 to 1.
    least_quality
        A susceptibility whose region has a smaller median phase quality is not trusted; 0 to 1.
    most_lesion
        A region of which a larger share lies in a lesion is not trusted; 0 to 1.

    Returns
    -------
    One row per map and region: index, region, hemisphere (L, R, LR for both, B in the middle), map, unit, voxels and volume of the
    region, known (share of it), mean, sd, median, percentiles 5 and 95, minimum, maximum, weighted_mean, trusted and why not.

    Raises
    ------
    ValueError: a knob is outside its range, or there is neither a label nor a map.

    References
    ----------
    Langkammer 2012, doi:10.1016/j.neuroimage.2012.05.049
    """
    if least_voxels < 1 or not all(0 <= one <= 1 for one in (least_known, least_quality, most_lesion)):
        raise ValueError("least_voxels must be at least 1, least_known, least_quality and most_lesion 0 to 1")
    given = {"chi": chi, "r2star": r2star, "t2star": t2star, "chi_para": chi_para, "chi_dia": chi_dia}
    maps = {name: np.asarray(one) for name, one in given.items() if one is not None}
    if not maps:
        raise ValueError("there is no map")
    inside = np.ones(regions.shape, bool) if mask is None else np.asarray(mask, bool)
    known = {name: inside for name in maps}
    if chi_mask is not None:
        known |= {name: np.asarray(chi_mask, bool) for name in maps if name.startswith("chi")}
    doubts = [] if region_trust is None else [str(one) for one in region_trust["why"] if str(one)]
    rows = []
    for index, name, side, where in _regions(regions, region_names):
        ill = 0.0 if brain_lesion is None else float(np.mean(np.asarray(brain_lesion, bool)[where]))
        for title, values in maps.items():
            seen = tuple(axis[known[title][where]] for axis in where)
            share = len(seen[0]) / len(where[0])
            row: dict[str, Any] = {"index": index, "region": name, "hemisphere": side, "map": title, "unit": _UNITS[title]}
            row |= {"voxels": len(where[0]), "volume": len(where[0]) * grid.voxel_volume, "known": share}
            row |= _figures(values[seen].astype(float), None if region_probability is None else np.asarray(region_probability)[seen])
            why = list(doubts)
            if ill > most_lesion:
                why.append(f"{100 * ill:.0f} % of it in a lesion")
            if len(seen[0]) < least_voxels:
                why.append("few voxels")
            if share < least_known:
                why.append("cut by the mask")
            if title.startswith("chi") and phase_quality is not None and len(seen[0]):
                if float(np.median(np.asarray(phase_quality)[seen])) < least_quality:
                    why.append("in unreliable phase")
            rows.append(row | {"trusted": int(not why), "why": "; ".join(why)})
    if not rows:
        raise ValueError("there is no label")
    return Table.of_rows(rows)


_UNITS = {"chi": "ppm", "r2star": "1/s", "t2star": "s", "chi_para": "ppm", "chi_dia": "ppm"}


def _regions(labels: Array, names: Table | None) -> Iterator[tuple[int, str, str, tuple[Array, ...]]]:
    """Number, name, hemisphere and voxels of every label; where left and right are there, both together under the left one's number."""
    order = np.argsort(labels, axis=None, kind="stable")
    values, first = np.unique(labels.ravel()[order], return_index=True)
    groups = dict(zip(values.tolist(), np.split(order, first[1:]), strict=True))
    meanings = told(names)
    halves: dict[str, list[int]] = {}
    for number in sorted(one for one in groups if one):
        side, name = meanings.get(number, ("B", f"region {number}"))
        halves.setdefault(name, []).append(number)
        yield number, name, side, np.unravel_index(np.sort(groups[number]), labels.shape)
    for name, both in halves.items():
        if len(both) == 2:
            every = np.sort(np.concatenate([groups[one] for one in both]))
            yield both[0], name, "LR", np.unravel_index(every, labels.shape)


def _figures(values: Array, chance: Array | None) -> dict[str, float]:
    if not values.size:
        names = ("mean", "sd", "median", "p5", "p95", "minimum", "maximum", "weighted_mean")
        return dict.fromkeys(names, float("nan"))
    weight = np.ones(len(values)) if chance is None else chance.astype(float)
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        "median": float(middle),
        "p5": float(low),
        "p95": float(high),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "weighted_mean": float((values * weight).sum() / weight.sum()) if weight.sum() > 0 else float("nan"),
    }
