"""The acquisitions of several head orientations on the grid of the first."""

from __future__ import annotations

import math
import warnings

import lazy_loader as lazy
import numpy as np

from neuraxis.numerics.registration import continued, correlation, resampled, rigid
from neuraxis.table import Table
from neuraxis.volume import Array, Volume, Volumes

scipy = lazy.load("scipy")

_AROUND = 8.0
"""The registration looks this far beyond the mask of the first, which may be eroded; mm."""


def rigid_registration(
    combined_magnitude: Volumes,
    local_field: Volumes,
    local_mask: Volumes,
    field_noise: Volumes,
    *,
    least_correlation: float = 0.6,
) -> tuple[Volume, Volume, Volume, Volume, Table]:
    """Rigid registration of the orientations, and one interpolation.

    The magnitude of each orientation is registered to that of the first, which is not touched: turns in steps of 15 degrees about the
    centres of the masks, then gradient descent, both by correlation in and near the mask of the first. Fields are interpolated by cubic
    splines from the values inside their mask, continued beyond it by the nearest ones; noise and masks linearly, a mask being where
    at least half of a voxel is known. With the motion x_i = R_i x + t_i from the first orientation, its main field b points along
    R_i' b in the head as it lay there.

    Parameters
    ----------
    combined_magnitude
        Magnitude of each orientation; at least 0, (X, Y, Z) each, on its own grid.
    local_field
        Local field of each; ppm of B0, on the grid of its magnitude, positive where the field is stronger.
    local_mask
        Where each is known; bool, at least one voxel.
    field_noise
        Standard deviation of each field; ppm, above 0 in the mask.
    least_correlation
        Correlation of a registered magnitude with the first below which there is a warning; -1 to 1.

    Returns
    -------
    Magnitudes; (X, Y, Z, O) on the grid of the first. Local fields; ppm, (X, Y, Z, O), zero outside the masks. Masks; bool,
    (X, Y, Z, O). Noise; ppm, (X, Y, Z, O), zero outside the masks. A table of the head's positions, one row per orientation.

    Raises
    ------
    ValueError: there is one orientation only, the images of one do not lie on one grid, a mask is empty, a registered mask
    does not meet the first, or the knob is outside its range.

    References
    ----------
    Lowekamp 2013, doi:10.3389/fninf.2013.00045
    """
    if not -1 <= least_correlation <= 1:
        raise ValueError(f"least_correlation must lie in -1..1, not {least_correlation}")
    number = len(combined_magnitude)
    if number < 2:
        raise ValueError("there is one orientation only")
    for one, images in enumerate(zip(combined_magnitude, local_field, local_mask, field_noise, strict=True), start=1):
        if not all(other.grid.same_as(images[0].grid) for other in images[1:]):
            raise ValueError(f"the images of orientation {one} do not lie on one grid")
        if not images[2].data.any():
            raise ValueError(f"the mask of orientation {one} is empty")
    first, grid = combined_magnitude[0], combined_magnitude[0].grid
    inside = np.asarray(local_mask[0].data, bool)
    shape = (*grid.shape, number)
    magnitudes, fields, noises = (np.zeros(shape, np.float32) for _ in range(3))
    masks = np.zeros(shape, bool)
    around = scipy.ndimage.distance_transform_edt(~inside, sampling=grid.voxel_size) <= _AROUND
    rows = []
    for one, (magnitude, field, mask, noise) in enumerate(
        zip(combined_magnitude, local_field, local_mask, field_noise, strict=True)
    ):
        known = np.asarray(mask.data, bool)
        motion = np.eye(4)
        if one == 0:
            magnitudes[..., 0], masks[..., 0] = magnitude.data, known
            fields[known, 0], noises[known, 0] = field.data[known], noise.data[known]
        else:
            motion = rigid(first, magnitude, around, known)
            magnitudes[..., one] = resampled(magnitude, grid, motion).clip(min=0)
            here = resampled(Volume(known, mask.grid), grid, motion) >= 0.5
            if not (here & inside).any():
                raise ValueError(f"orientation {one + 1} does not meet the first after the registration")
            masks[..., one] = here
            fields[here, one] = resampled(continued(field, known), grid, motion, order=3, outside=None)[here]
            noises[here, one] = resampled(continued(noise, known), grid, motion, outside=None)[here]
        both = inside & masks[..., one]
        rows.append(_position(motion, one + 1, correlation(first.data[both], magnitudes[both, one])))
        if rows[-1]["correlation"] < least_correlation:
            warnings.warn(
                f"the magnitude of orientation {one + 1} correlates with that of the first by {rows[-1]['correlation']:.2f} only: "
                f"look whether it is well registered",
                RuntimeWarning,
                stacklevel=2,
            )
    table = Table.of_rows(rows)
    return Volume(magnitudes, grid), Volume(fields, grid), Volume(masks, grid), Volume(noises, grid), table


def _position(motion: Array, number: int, agreement: float) -> dict[str, float]:
    """The row of an orientation, from the motion that takes a place in the first to the same place of the head in it."""
    from scipy.spatial.transform import Rotation

    field = motion[:3, :3].T @ (0.0, 0.0, 1.0)
    turn = np.degrees(Rotation.from_matrix(motion[:3, :3]).as_rotvec())
    found: dict[str, float] = {"orientation": number, "tilt": math.degrees(math.acos(min(abs(field[2]), 1.0)))}
    found |= {f"b0_{axis}": float(value) for axis, value in zip("xyz", field, strict=True)}
    found |= {f"turn_{axis}": float(value) for axis, value in zip("xyz", turn, strict=True)}
    found |= {f"shift_{axis}": float(value) for axis, value in zip("xyz", motion[:3, 3], strict=True)}
    return found | {"correlation": agreement}
