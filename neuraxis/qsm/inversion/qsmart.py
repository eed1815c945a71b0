"""Two maps from the total field, one made without the vessels, joined."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_field
from neuraxis.numerics.filters import gaussian_mean
from neuraxis.numerics.fourier import mask_box, paste
from neuraxis.numerics.morphology import without_rim
from neuraxis.numerics.vesselness import dark_vesselness
from neuraxis.qsm.background.spatially_dependent import local_part, proximity
from neuraxis.qsm.background.spherical_mean import without_mean
from neuraxis.qsm.inversion.ilsqr import ilsqr
from neuraxis.qsm.inversion.nonlinear_data import check_knobs
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")

_SENSITIVITY = 8.0
"""The magnitude is divided by its mean over this distance, against the sensitivity of the coils; mm. The sphere of the paper."""

_SCALES = (1.0, 2.0)
"""Scales at which tubes are looked for; mm. A tube of radius r is seen best at about r."""

_CONTRAST = 0.1
"""Size of the Hessian, in shares of the magnitude, of a vessel that is well seen."""


def qsmart(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    combined_magnitude: Tensor | None = None,
    *,
    proximity_width: float = 10.0,
    width: float = 6.0,
    edge_width: float = 1.0,
    vessel_width: float = 2.0,
    vesselness: float = 0.4,
    iterations: int = 20,
    rim: float = 3.0,
) -> Tensor:
    """Two stages, with and without the vessels, from the total field (QSMART).

    Strong, thin sources make streaks in the tissue around them. So the map is made twice: of all of the mask, and of what is
    no vessel. Vessels come from the first, everything else from the second:

        near = G * M  (times 1 - G_vessel_width * V in the second stage; G of proximity_width)
        local = field - (G_sigma * field) / (G_sigma * M),   sigma = edge_width (width / edge_width)^(2 near - 1)
        chi_1, chi_2: iLSQR of local over M and over M without V
        chi = chi_2 + V (chi_1 - offset),   with the offset for which ||local_1 - D chi|| is least

    V are the dark tubes of the magnitude (Frangi). A high pass, like SDF: what varies slowly is lost, so that regions of some
    centimetres come out too weak. Departures from the paper: those of SDF and of iLSQR; the magnitude is divided by its
    mean around instead of a bottom-hat filter, the tubes are sought in mm, and the rim, where SDF leaves a background, is
    taken off.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    combined_magnitude
        Magnitude, in which vessels are dark; any unit, (X, Y, Z). Without it no vessel is known, and there is one stage.
    proximity_width
        Standard deviation of the Gaussian that measures how near the edge is; mm, above 0. Larger is narrower farther in.
    width
        Standard deviation of the Gaussian in the depth; mm, at least edge_width. Larger takes less of the local field.
    edge_width
        The same at the edge and in vessels; mm, above 0. Larger leaves more of the background there.
    vessel_width
        Standard deviation of the Gaussian that measures how near a vessel is, in the second stage; mm, above 0.
    vesselness
        Least vesselness of a vessel; 0 to below 1. Larger finds fewer.
    iterations
        Most iterations of the first map of iLSQR; at least 1. More are sharper, with more streaks to remove.
    rim
        Depth of the rim that is taken off; mm, at least 0. Smaller keeps more of the mask, and a background in it.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask without its rim.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or nothing of it is deeper than the rim.

    References
    ----------
    Yaghmaie 2021, doi:10.1016/j.neuroimage.2020.117701
    Li 2015, doi:10.1016/j.neuroimage.2014.12.043
    Frangi 1998, doi:10.1007/BFb0056195
    """
    check_knobs(
        above_zero={"proximity_width": proximity_width, "edge_width": edge_width, "vessel_width": vessel_width},
        at_least_zero={"rim": rim},
        counts={"iterations": iterations},
    )
    if not edge_width <= width < math.inf:
        raise ValueError(f"width must be at least edge_width ({edge_width} mm), not {width}")
    if not 0 <= vesselness < 1:
        raise ValueError(f"vesselness must be at least 0 and below 1, not {vesselness}")
    box = mask_box(field_mask)
    mask, size = field_mask[box], grid.voxel_size
    kept = without_rim(field_mask, rim, size)
    field = without_mean(total_field, mask, box)
    near = proximity(mask, proximity_width, size)
    local = local_part(field, mask, near, size, edge_width=edge_width, width=width).mul_(kept[box])
    chi = ilsqr(paste(local, box, grid.shape), kept, grid, iterations=iterations)
    if combined_magnitude is None:
        return chi
    vessels = _vessels(combined_magnitude[box], mask, size, vesselness) & kept[box]
    tissue = kept[box] & ~vessels
    if not bool(vessels.any()) or not bool(tissue.any()):
        return chi
    near.mul_(1 - proximity(vessels, vessel_width, size)).mul_(~vessels)
    second = local_part(field, mask, near, size, edge_width=edge_width, width=width).mul_(tissue)
    rest = ilsqr(paste(second, box, grid.shape), paste(tissue, box, grid.shape), grid, iterations=iterations)
    joined = torch.where(vessels, chi[box], rest[box])
    joined[vessels] -= _offset(local, joined, vessels, kept[box], grid)
    return paste(joined, box, grid.shape)


def _vessels(magnitude: Tensor, mask: Tensor, voxel_size: tuple[float, float, float], least: float) -> Tensor:
    """Where the magnitude, brought to 1, has dark tubes; bool."""
    inside = torch.where(mask, magnitude, 0.0)
    around = gaussian_mean(inside, _SENSITIVITY, voxel_size, mask)
    inside = torch.where(mask & (around > 0), inside / around.clamp_min(1e-30), 0.0)
    return dark_vesselness(inside, mask, voxel_size, _SCALES, _CONTRAST) > least


def _offset(local: Tensor, chi: Tensor, vessels: Tensor, mask: Tensor, grid: Grid) -> float:
    """What is to be taken off the vessels so that the field of `chi` comes nearest to the local one in the mask."""
    one = dipole_field(vessels.float(), grid.voxel_size, grid.b0_direction)[mask]
    rest = dipole_field(chi, grid.voxel_size, grid.b0_direction)[mask] - local[mask]
    return float(torch.dot(one, rest) / torch.dot(one, one).clamp_min(1e-30))
