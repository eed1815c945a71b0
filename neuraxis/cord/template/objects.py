"""What lies in PAM50, brought to the image, and the image brought to PAM50: each resampled once."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.cord.straight_frame import Sampler, centres
from neuraxis.cord.template.warps import brought
from neuraxis.cord.warps import leads
from neuraxis.volume import Array, Grid, Volume


def template_shares(
    warp_from_pam50: Volume, pam50_cord: Volume, pam50_white: Volume, pam50_gray: Volume, pam50_fluid: Volume
) -> tuple[Volume, Volume, Volume, Volume]:
    """The template's cord, white matter, grey matter and fluid in the image.

    Parameters
    ----------
    warp_from_pam50
        Displacement on the image's grid, to the template; RAS+ mm, (X, Y, Z, 3).
    pam50_cord
        The template's cord; 0 to 1, on its grid.
    pam50_white
        Its white matter; 0 to 1.
    pam50_gray
        Its grey matter; 0 to 1.
    pam50_fluid
        Its fluid; 0 to 1.

    Returns
    -------
    Cord, white matter, grey matter, fluid; by linear interpolation, 0 to 1, (X, Y, Z), 0 away from the cord.

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    cord, white, gray, fluid = (
        Volume(brought(one, warp_from_pam50), warp_from_pam50.grid) for one in (pam50_cord, pam50_white, pam50_gray, pam50_fluid)
    )
    return cord, white, gray, fluid


def template_levels(warp_from_pam50: Volume, pam50_levels: Volume, pam50_spinal_levels: Volume) -> tuple[Volume, Volume]:
    """The template's vertebral and spinal levels in the image: in each voxel the label at its place.

    Parameters
    ----------
    warp_from_pam50
        Displacement on the image's grid, to the template; RAS+ mm, (X, Y, Z, 3).
    pam50_levels
        Vertebral levels painted on the template's cord; whole numbers, on its grid.
    pam50_spinal_levels
        Spinal levels painted on it; whole numbers.

    Returns
    -------
    Vertebral levels and spinal levels; int16, (X, Y, Z), 0 is none.

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    vertebral, spinal = (
        Volume(brought(one, warp_from_pam50, 0).astype(np.int16), warp_from_pam50.grid) for one in (pam50_levels, pam50_spinal_levels)
    )
    return vertebral, spinal


def template_points(
    image: Volume, warp_to_pam50: Volume, pam50_discs: Volume, pam50_spinal_points: Volume
) -> tuple[Volume, Volume]:
    """The template's points in the image: each stays one voxel, the one that holds its place.

    Parameters
    ----------
    image
        Image, of which only the grid is used.
    warp_to_pam50
        Displacement on the template's grid, to the image; RAS+ mm, (X, Y, Z, 3).
    pam50_discs
        Discs, at the middle of the template's cord; 3 is C2/C3.
    pam50_spinal_points
        Middles of the spinal levels; 8 is C8, 9 is T1.

    Returns
    -------
    Discs and middles of the spinal levels; int16, (X, Y, Z). Those outside the image or the registered part of the cord are left out.

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    discs, spinal = (_points(image.grid, warp_to_pam50, one) for one in (pam50_discs, pam50_spinal_points))
    return discs, spinal


def tract_atlas(warp_from_pam50: Volume, pam50_tracts: Volume) -> Volume | None:
    """The template's tracts in the image.

    Parameters
    ----------
    warp_from_pam50
        Displacement on the image's grid, to the template; RAS+ mm, (X, Y, Z, 3).
    pam50_tracts
        Share of each region in the template's voxels; 0 to 1, on its grid, (X, Y, Z, R).

    Returns
    -------
    Share of the voxel in each region, by linear interpolation; 0 to 1, (X, Y, Z, R). In every slice on those voxels of the image that
    lie around the cord: the grid is a part of the image's. None, with a warning, where no tract lies in the registered part.

    References
    ----------
    Levy 2015, doi:10.1016/j.neuroimage.2015.06.040
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    known = np.argwhere(leads(warp_from_pam50.data))
    box = tuple(slice(int(low), int(high) + 1) for low, high in zip(known.min(axis=0), known.max(axis=0), strict=True))
    field = _part(warp_from_pam50, box)
    inside = leads(field.data)
    points = centres(field.grid)[inside.ravel()] + field.data[inside]
    inverse = np.linalg.inv(pam50_tracts.grid.matrix)
    slices = (points @ inverse[:3, :3].T + inverse[:3, 3])[:, 2]
    low, high = max(int(slices.min()) - 1, 0), int(slices.max()) + 2
    near = _part(pam50_tracts, (slice(None), slice(None), slice(low, high)))
    found = np.zeros((*field.grid.shape, pam50_tracts.data.shape[3]), np.float32)
    for region in range(found.shape[3]):
        found[inside, region] = Sampler(Volume(near.data[..., region], near.grid), 1)(points)[0]
    some = np.argwhere(found.any(axis=3))
    if not len(some):
        warnings.warn("no tract of the template lies in the registered part of the image", stacklevel=2)
        return None
    box = tuple(slice(int(low), int(high) + 1) for low, high in zip(some.min(axis=0), some.max(axis=0), strict=True))
    part = _part(Volume(found, field.grid), box)
    return _all_slices(part, warp_from_pam50.grid)


def image_pam50(image: Volume, warp_to_pam50: Volume) -> Volume:
    """The image in the template's space.

    Parameters
    ----------
    image
        Image; (X, Y, Z).
    warp_to_pam50
        Displacement on the template's grid, to the image; RAS+ mm, (X, Y, Z, 3).

    Returns
    -------
    Image on the template's voxels around the registered part of the cord, by cubic splines; 0 where the image has no values.

    References
    ----------
    De Leener 2018, doi:10.1016/j.neuroimage.2017.10.041
    """
    return Volume(brought(image, warp_to_pam50, 3), warp_to_pam50.grid)


def _all_slices(part: Volume, grid: Grid) -> Volume:
    """A part of an image with zeros in the slices that it lacks, so that slices keep their numbers."""
    from nibabel.orientations import io_orientation

    along = int(np.flatnonzero(io_orientation(grid.matrix)[:, 0] == 2)[0])
    first = int(part.grid.within(grid)[along])
    room = [(0, 0)] * part.data.ndim
    room[along] = (first, grid.shape[along] - first - part.grid.shape[along])
    matrix = part.grid.matrix.copy()
    matrix[:3, 3] -= matrix[:3, along] * first
    data = np.pad(part.data, room)
    return Volume(data, Grid.of(data.shape, matrix))


def _points(grid: Grid, warp: Volume, points: Volume) -> Volume:
    matrix = points.grid.matrix
    inverse, back = np.linalg.inv(warp.grid.matrix), np.linalg.inv(grid.matrix)
    labels = np.zeros(grid.shape, np.int16)
    for voxel in np.argwhere(points.data > 0):
        place = matrix[:3, :3] @ voxel + matrix[:3, 3]
        at = np.rint(inverse[:3, :3] @ place + inverse[:3, 3]).astype(int)
        if not _within(at, warp.grid) or not leads(warp.data[tuple(at)]):
            continue
        found = place + warp.data[tuple(at)]
        at = np.rint(back[:3, :3] @ found + back[:3, 3]).astype(int)
        if _within(at, grid):
            labels[tuple(at)] = points.data[tuple(voxel)]
    return Volume(labels, grid)


def _within(voxel: Array, grid: Grid) -> bool:
    return bool((voxel >= 0).all() and (voxel < np.array(grid.shape)).all())


def _part(volume: Volume, box: tuple[slice, ...]) -> Volume:
    """The part of a volume in a box of voxels."""
    data = volume.data[box]
    matrix = volume.grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ np.array([one.start or 0 for one in box], float)
    return Volume(data, Grid.of(data.shape, matrix))
