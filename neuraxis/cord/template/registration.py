"""Registration of a cord to PAM50: along it by landmarks, across it section by section."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Literal

from neuraxis.cord.template.agreement import agreement
from neuraxis.cord.template.fitting import STEPS, Fit
from neuraxis.cord.template.sections import Axis, Sections
from neuraxis.cord.template.warps import Way
from neuraxis.table import Table
from neuraxis.volume import Volume

_THICK = 3.0
"""Slices more than this many times as thick as their pixels are wide are taken as they are."""

_STEP_MM = 1.0
"""Distance of the sections that are cut anew; mm of the template."""


def to_pam50(
    cord: Volume,
    centerline: Table,
    landmarks: Table,
    pam50_cord: Volume,
    image: Volume | None = None,
    gray_matter: Volume | None = None,
    pam50_gray: Volume | None = None,
    pam50_white: Volume | None = None,
    *,
    steps: str = "centre rotation columns",
    sections: Literal["auto", "across", "slices"] = "auto",
    centre_smoothing: float = 2.0,
    rotation_smoothing: float = 15.0,
    outline_smoothing: float = 3.0,
    width: float = 35.0,
    least_dice: float = 0.9,
) -> tuple[Volume | None, Volume | None, Table | None]:
    """Registration to the PAM50 template.

    Along the cord, landmarks give heights in the template, with lengths between them linear in arc length. Across it, the cord is cut
    into sections, each beside the template's at its height h, and the steps follow one another:

        image(C(s) + a e1 + b e2) = template(c(h) + u, v),   (a, b) = shift(turn(stretch(u, v)))

    centre: the centres of mass are laid onto each other. rotation: the left-right axes of the outlines; image_rotation: the axis of
    symmetry of the image. radial: every direction is stretched so that one outline becomes the other; columns: the width, then every
    column, which is better for cords that are pressed flat. gray: the grey matter is brought onto the template's by a smooth deformation;
    tissue: the image itself, as far as grey and white matter differ in it. All is smoothed along the cord, put together once, and has an
    inverse. Sections that lack a part of the cord, or where it touches the edge of the view, take the map of those beside them.

    Parameters
    ----------
    cord
        Cord; 0 to 1, (X, Y, Z), any orientation.
    centerline
        Centerline of the cord; columns x_mm, y_mm, z_mm in RAS+ mm, one row per slice from below upwards.
    landmarks
        Places x, y, z (RAS+ mm) and their height in PAM50 (mm); one moves the cord along itself, two or more also stretch it.
    pam50_cord
        Cord of the template, on its grid.
    image
        Image of the cord, for image_rotation and tissue; (X, Y, Z).
    gray_matter
        Grey matter of the image, for gray; 0 to 1, (X, Y, Z).
    pam50_gray
        Grey matter of the template, for gray and tissue; 0 to 1, on its grid.
    pam50_white
        White matter of the template, for tissue; 0 to 1, on its grid.
    steps
        What is done across the cord, in order: centre, rotation or image_rotation, radial or columns, gray or tissue.
    sections
        across cuts the cord anew every mm; slices takes the image's own slices as they are; auto takes these where they are more than
        three times as thick as their pixels are wide.
    centre_smoothing
        Standard deviation along the cord with which centres are smoothed; mm, at least 0.
    rotation_smoothing
        The same of turns; mm, at least 0.
    outline_smoothing
        The same of outlines; mm, at least 0.
    width
        Width of the region around the cord that is mapped; mm, 20 to 35: the template reaches no farther.
    least_dice
        Overlap of the cord with the template's, in either space, below which the result is not trusted; 0 to 1.

    Returns
    -------
    Displacement on the image's grid, to the template: it brings what lies in the template into the image; RAS+ mm, (X, Y, Z, 3).
    Displacement on the template's grid, to the image: it brings the image into the template; RAS+ mm, (X, Y, Z, 3).
    How well the two agree; one row. None, with a warning, where there is no landmark, landmarks do not follow each other as in the
    template, the centerline has one slice or does not run upwards, or less than two whole sections of the cord lie within the template.

    Raises
    ------
    ValueError: a knob is out of range, or a step is unknown or lacks what it needs.

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    Vercauteren 2009, doi:10.1016/j.neuroimage.2008.10.040
    """
    wanted = _steps(steps)
    if not 20 <= width <= 35:
        raise ValueError(f"width must be 20 to 35 mm, not {width}")
    if not 0 <= least_dice <= 1:
        raise ValueError(f"least_dice must be 0 to 1, not {least_dice}")
    smoothing = (centre_smoothing, rotation_smoothing, outline_smoothing)
    if not min(smoothing) >= 0:
        raise ValueError(f"what is smoothed along the cord must have a standard deviation of at least 0 mm, not {min(smoothing)}")
    if sections not in ("auto", "across", "slices"):
        raise ValueError(f"sections must be auto, across or slices, not {sections}")
    size = cord.oriented("LAS").grid.voxel_size
    across = sections == "across" or (sections == "auto" and size[2] <= _THICK * min(size[:2]))
    axis = Axis.of(pam50_cord)
    try:
        cut = Sections.of(centerline, cord.grid, landmarks, axis, across, _STEP_MM)
    except ValueError as error:
        warnings.warn(f"not registered to PAM50: {error}", stacklevel=2)
        return None, None, None
    fit = Fit(cut, axis, cord, pam50_cord, smoothing, image, gray_matter, (pam50_gray, pam50_white))
    shown = fit.shown()
    if shown.sum() < 2:
        warnings.warn("not registered to PAM50: less than two sections show the cord as a whole", stacklevel=2)
        return None, None, None
    if not shown.all():
        hidden = f"{(~shown).sum()} of {len(shown)} sections lack a part of the cord or touch the edge of the view"
        warnings.warn(f"registration to PAM50: {hidden}; they go on from those beside them", stacklevel=2)
        cut = cut.kept(shown)
        fit = replace(fit, cut=cut)
    way = Way(cut, axis, fit.chain(wanted))
    beyond = _STEP_MM / 2 if across else size[2] / 2
    from_template, to_template = way.to_template(cord.grid, width, beyond), way.to_body(pam50_cord.grid, width, beyond)
    table = agreement(cord, pam50_cord, from_template, to_template, len(landmarks), None if across else cut.heights, least_dice)
    if not table["trusted"][0]:
        warnings.warn(f"registration to PAM50: {table['why'][0]}", stacklevel=2)
    return from_template, to_template, table


def _steps(text: str) -> tuple[str, ...]:
    found = tuple(text.replace(",", " ").split())
    for one in found:
        if one not in STEPS:
            raise ValueError(f"steps has no {one!r}: choose from {', '.join(STEPS)}")
    return found
