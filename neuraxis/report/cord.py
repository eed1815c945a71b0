"""The pictures of the spinal cord: which one shows what, and its caption."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from neuraxis.artifacts import ARTIFACTS
from neuraxis.cord.tracts import COMBINED
from neuraxis.cord.vertebrae import spinal_level_name, vertebra_name
from neuraxis.report.cord_lesion import lesion_view
from neuraxis.report.cord_maps import maps
from neuraxis.report.cord_motion import chart, film
from neuraxis.report.cord_motion import said as motion_said
from neuraxis.report.cord_sagittal import distrust, sagittal
from neuraxis.report.cord_slices import Scale, mosaic, upright
from neuraxis.report.curves import STEEP, curves, normative_curve, shown
from neuraxis.report.plots import finite
from neuraxis.report.tracts import tract_picture
from neuraxis.table import Table
from neuraxis.volume import Grid, Volume

FIELD_MM = {"canal": 45.0, "tissues": 45.0}
"""Edge of a patch where 30 mm would cut off what is shown; mm."""

_TISSUES = ("cord", "canal", "gray_matter")
_HEALTHY = ("area", "diameter_AP_ellipse", "diameter_RL", "eccentricity", "solidity")


_PARTS = (53, 54, 55, 52)
"""Of the atlas, by their numbers there: the funiculi and the grey matter."""


class Picture(NamedTuple):
    """What is added to the file name, the PNG, what it shows in words, and the PNG that lies over it (None: nothing)."""

    ending: str
    png: bytes
    caption: str
    over: bytes | None
    flicker: bool = False
    """Whether both are shown in turn."""


def draw_cord(kind: str, name: str, seen: Mapping[str, Any]) -> list[Picture]:
    """The pictures of an artifact of the cord.

    Parameters
    ----------
    kind
        Of its view: mosaic, sagittal, curves, normative, lesions, template, tracts, cordmap, flicker, before, motion, ratio or within.
    name
        The artifact.
    seen
        What is there so far, by name; what is missing is left out of the picture.

    Returns
    -------
    None, one or more; none where the picture would have nothing to stand on.
    """
    draw = {
        "mosaic": _mosaic,
        "sagittal": _sagittal,
        "curves": _curves,
        "normative": _normative,
        "lesions": _lesions,
        "template": _template,
        "tracts": _tracts,
        "cordmap": _map,
        "flicker": _flicker,
        "before": _before,
        "motion": _motion,
        "ratio": _ratio,
        "within": _within,
    }.get(kind)
    if draw is None:
        raise ValueError(f"there is no view {kind!r} of the cord")
    return draw(name, seen) if seen.get(name) is not None else []


def _said(name: str) -> str:
    one = ARTIFACTS.get(name)
    return f"{one.title}: {one.meaning}." if one else f"{name.replace('_', ' ').capitalize()}."


def _cord(seen: Mapping[str, Any]) -> Volume | None:
    found = seen.get("cord")
    return found if found is not None else seen.get("cord_mask")


def _mosaic(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    if seen.get("image") is None:
        return []
    overlays: dict[str, Volume] = {}
    cord = _cord(seen)
    if cord is not None and name not in ("cord", "cord_mask", "tissues"):
        overlays["cord"] = cord
    if name == "tissues":
        value = seen[name]
        overlays |= {
            one: Volume(value.data[..., n], value.grid) for n, one in enumerate(_TISSUES) if n < value.data.shape[3]
        }
        cord = cord if cord is not None else overlays.get("cord")
    else:
        overlays["cord" if name == "cord_mask" else name] = seen[name]
    path = seen.get("centerline")
    if path is None and (cord is None or not np.any(np.asarray(cord.data) > 0)):
        path = seen.get("cord_path")
    png, over = mosaic(
        seen["image"], cord, overlays, path, levels=seen.get("levels"), field_mm=FIELD_MM.get(name, 30.0)
    )
    text = f"{_said(name)} Axial slices around the cord, from the top down; outlines where the value passes one half."
    return [Picture("", png, text, over)]


def _template(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    """The template's outlines on the image: cord and tissues, or the parts of the atlas."""
    value, cord = seen[name], _cord(seen)
    if seen.get("image") is None or cord is None:
        return []
    image: Volume = seen["image"]
    if name == "tract_atlas":
        overlays = {
            title: _on(Volume(value.data[..., list(members)].sum(axis=3), value.grid), image.grid)
            for title, members in (COMBINED[number] for number in _PARTS)
        }
        text = f"{_said(name)} Parts of the atlas where they pass one half."
    else:
        overlays = {"cord": cord} | {one: seen[one] for one in ("template_cord", "template_gray") if seen.get(one) is not None}
        table = seen.get("pam50_agreement")
        text = f"{_said(name)} The image's own outline, and the template's cord and grey matter."
        if table is not None:
            text += (
                f" Overlap of the cord {table['dice_image'][0]:.3f} in the image and {table['dice_template'][0]:.3f} in the template"
                f" (Dice); there and back ends {table['inverse_mean'][0]:.2g} mm off on average."
            )
            if not table["trusted"][0]:
                text += f" Not trusted: {table['why'][0]}."
    png, over = mosaic(image, cord, overlays, seen.get("centerline"), levels=seen.get("levels"), field_mm=24.0)
    return [Picture("", png, text, over)]


def _on(part: Volume, grid: Grid) -> Volume:
    """A part of an image on the whole of it."""
    whole = np.zeros(grid.shape, part.data.dtype)
    whole[tuple(slice(at, at + n) for at, n in zip(part.grid.within(grid), part.grid.shape, strict=True))] = part.data
    return Volume(whole, grid)


def _around(seen: Mapping[str, Any]) -> dict[str, Any]:
    """What tells where the cord is, for a mosaic without outlines of its own."""
    cord = _cord(seen)
    overlays = {} if cord is None else {"cord": cord}
    return {"cord": cord, "overlays": overlays, "path": seen.get("centerline"), "levels": seen.get("levels")}


_MEDIANS = {"white matter": "white_matter", "grey matter": "gray_matter", "the cord": "cord"}
_SIGNS = {"percent": "%", "1": ""}


def _map(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    row, values = ARTIFACTS[name], seen[name]
    assert row.view is not None and row.view.low is not None and row.view.high is not None
    unit = _SIGNS.get(row.unit, row.unit)
    png, over = mosaic(values, scale=Scale(row.view.low, row.view.high, unit), **_around(seen))
    medians: list[str] = []
    for word, part in _MEDIANS.items():
        inside = np.asarray(seen[part].data) > 0.5 if seen.get(part) is not None else np.zeros(())
        if inside.any() and (word != "the cord" or not medians):
            medians.append(f"{np.median(np.asarray(values.data)[inside]):.3g} in {word}")
    text = f"{_said(name)} Axial slices around the cord, from the top down, all in one scale."
    if medians:
        text += f" Median{f' ({unit})' if unit else ''}: {', '.join(medians)}."
    return [Picture("", png, text, over)]


def _flicker(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    row, image = ARTIFACTS[name], seen.get("image")
    assert row.view is not None
    before = seen.get(row.view.on)
    found = []
    for ending, moving, word in (("_before", before, "as it was taken"), ("", seen[name], "after its slices were moved")):
        if image is None or moving is None:
            continue
        who = ARTIFACTS[row.view.on].title
        png, over = mosaic(image, other=moving, names=("MT-on image", f"{who}, {word}"), **_around(seen))
        text = f"{who}, {word}, in turn with the MT-on image: what jumps does not lie on it. The outline is the cord of the MT-on image."
        found.append(Picture(ending, png, text, over, flicker=True))
    return found


def _sagittal(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    if seen.get("image") is None:
        return []
    spinal = name == "spinal_levels"
    levels = seen.get(name if spinal else "levels")
    table = None if spinal else seen.get("level_table")
    judged = name in ("levels", "level_table", "pmj", "level_points") or table is not None
    path = seen.get("centerline")
    png, over = sagittal(
        seen["image"], _cord(seen), seen.get("discs"), levels, table, seen.get("pmj"),
        path if path is not None else seen.get("cord_path"), compression=seen.get("compression"),
        named=spinal_level_name if spinal else vertebra_name, warn=judged and not spinal,
    )  # fmt: skip
    text = (
        f"{_said(name)} The cord from the side, every row taken where the cord runs; {_labelled(seen, levels, spinal)}."
    )
    if judged and not spinal:
        text += f" {distrust(table, _any(levels), _any(seen.get('discs')))}"
    return [Picture("", png, text.strip(), over)]


def _any(volume: Volume | None) -> bool:
    return volume is not None and bool(np.any(volume.data))


def _labelled(seen: Mapping[str, Any], levels: Volume | None, spinal: bool) -> str:
    said = []
    if _any(levels):
        assert levels is not None
        numbers = sorted({round(float(v)) for v in np.unique(levels.data) if v > 0})
        named = spinal_level_name if spinal else vertebra_name
        said.append(f"levels {named(numbers[0])} to {named(numbers[-1])}")
    if _any(seen.get("discs")):
        number = len(np.unique(seen["discs"].data)) - 1
        said.append(f"{number} disc{'s' if number > 1 else ''}")
    if _any(seen.get("pmj")):
        said.append("the pontomedullary junction")
    return "with " + ", ".join(said) if said else "without labels"


def _curves(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    table: Table = seen[name]
    remark, wished = "", []
    if "structure" in table:
        if "why" in table:
            remark = "".join(f" Left out: {text}." for text in dict.fromkeys(table["why"].tolist()) if text)
            table = table.where(table["trusted"] == 1)
        table = _by_structure(table)
        wished = [name for name in table.columns if name.endswith(" area")] + ["ascor"]
    if not len(table):
        return []
    compressed = (
        sorted({int(z) for z in np.argwhere(upright(seen["compression"]) != 0)[:, 2]})
        if _any(seen.get("compression"))
        else []
    )
    number = len(table)
    doubted = int((np.asarray(table["trusted"]) == 0).sum()) if "trusted" in table else 0
    text = f"{_said(name)} Along the cord, the head on the left; {number} slice{'s' if number > 1 else ''}"
    text += f", {doubted} of them not trusted (grey and hollow)." if doubted else "."
    text += remark
    if compressed:
        text += " The dashed upright line marks the compression."
    angles = [finite(table, metric) for metric in shown(table, wished) if metric.startswith("angle")]
    if any(np.nanmax(np.abs(one)) > STEEP for one in angles):
        text += f" The dashed lines at {STEEP:g}° bound the tilt at which a section can be trusted."
    return [Picture("", curves(table, wished, compressed=compressed), text, None)]


def _by_structure(table: Table) -> Table:
    """One row per slice, with the areas of the structures side by side."""
    slices = np.unique(table["slice"])
    columns: dict[str, Any] = {"slice": slices, "level": np.full(len(slices), np.nan)}
    for structure in dict.fromkeys(table["structure"].tolist()):
        part = table.where(table["structure"] == structure)
        at = np.searchsorted(slices, part["slice"])
        for source, target in (("area", f"{structure.replace('_', ' ')} area"), ("ascor", "ascor"), ("level", "level")):
            if source in part:
                column = columns.setdefault(target, np.full(len(slices), np.nan))
                values = np.asarray(part[source], float)
                column[at] = np.where(np.isfinite(values), values, column[at])
    return Table.of(columns)


def _normative(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    from neuraxis.cord.normative import healthy_band

    shape = seen.get("shape_pam50")
    if shape is None or not len(shape):
        return []
    table: Table = seen[name]
    metrics = list(dict.fromkeys(table["metric"].tolist())) if "metric" in table and len(table) else list(_HEALTHY)
    bands: dict[str, Table] = {}
    with warnings.catch_warnings():  # what there is to be warned of, the step has said
        warnings.simplefilter("ignore")
        for metric in metrics:
            try:
                bands[metric] = healthy_band(metric, seen.get("sex"), seen.get("age"))
            except ValueError:
                continue
    slices = np.asarray(shape["slice"])
    people = [int(n) for band in bands.values() for n in np.asarray(band["n"])[np.isin(band["slice"], slices)]]
    strata = list(dict.fromkeys(table["stratum"].tolist())) if "stratum" in table else []
    who = f" ({', '.join(strata)})" if strata else ""
    text = (
        f"{_said(name)} The participant (amber; pink beyond two SD) in the mean ± 1 and ± 2 SD of healthy adults{who}"
    )
    text += (
        f", {min(people)} to {max(people)} people per slice"
        if people and min(people) < max(people)
        else f", {people[0]} people"
        if people
        else ""
    )
    return [Picture("", normative_curve(shape, bands), text + ".", None)]


def _lesions(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    cord = _cord(seen)
    if seen.get("image") is None or cord is None:
        return []
    png, over = lesion_view(seen["image"], cord, seen[name], seen.get("lesions"), levels=seen.get("levels"))
    text = f"{_said(name)} The largest from the side, in the middle of the cord, with the narrowest tissue in front and behind."
    whole = mosaic(
        seen["image"], cord, {"cord": cord, "lesion": seen[name]}, seen.get("centerline"), levels=seen.get("levels")
    )
    around = f"{_said(name)} Axial slices around the cord, from the top down."
    return [Picture("", png, text, over), Picture("_axial", whole[0], around, whole[1])]


def _tracts(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    png = tract_picture(seen[name])
    text = f"{_said(name)} The whole cord: map (maximum a posteriori) with the standard deviation over the voxels; the left side "
    text += "round, the right side square, what is not trusted grey and hollow."
    return [] if png is None else [Picture("", png, text, None)]


def _before(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    series, weights, motion = (seen.get(one) for one in ("series", "motion_weights", "motion"))
    if series is None or weights is None or motion is None:
        return []
    text = f"{_said(name)} The slice that moved most, one volume after the other (it moves): before on the left, after on the right."
    return [Picture("", film(series, seen[name], weights, motion, seen.get("volumes")), text, None)]


def _motion(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    text = f"{_said(name)} {motion_said(seen.get('motion_quality'), seen[name])}"
    return [Picture("", chart(seen[name]), text, None)]


def _ratio(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    weights, before = seen.get("motion_weights"), seen.get("tsnr_before")
    if weights is None or before is None:
        return []
    high = float(np.percentile(seen[name].data[weights.data > 0.5], 98)) or 1.0
    png = maps({"before": before, "after": seen[name]}, weights, _cord(seen), seen.get("centerline"), (0.0, high), "tSNR")
    return [Picture("", png, f"{_said(name)} Before (above) and after (below), on one scale; from the top down.", None)]


def _within(name: str, seen: Mapping[str, Any]) -> list[Picture]:
    cord, artifact = _cord(seen), ARTIFACTS[name]
    if cord is None or artifact.view is None:
        return []
    scale = 1e3 if artifact.unit == "mm2/s" else 1.0
    shown = Volume(seen[name].data * np.float32(scale), seen[name].grid)
    limits = (scale * (artifact.view.low or 0.0), scale * (artifact.view.high or 1.0))
    unit = "10⁻³ mm²/s" if scale > 1 else name.upper()
    png = maps({"": shown}, None, cord, seen.get("centerline"), limits, unit)
    return [Picture("", png, f"{_said(name)} Axial slices with the outline of the cord, from the top down.", None)]
