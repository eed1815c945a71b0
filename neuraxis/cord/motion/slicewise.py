"""Slice-wise motion correction of diffusion and functional series of the cord."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.cord.motion.outliers import filled, lost, outlying
from neuraxis.cord.motion.quality import WINDOW, quality
from neuraxis.cord.motion.volumes import check_axial, classes
from neuraxis.numerics.slice_shifts import beyond, shifted, slice_shifts
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_NAMED = 10
"""Most volumes that a warning names."""

_SLOWLY = 0.6
"""What lies between the means of two contrasts (eddy currents, fluid) changes less from slice to slice than the cord moves."""

_SETTLED = 1.0
"""A slice that a round moved by more along an axis may not have been at the right place before; mm, as far as the search's steps."""

_WIDE = 2.0
"""Slices that were just flagged are searched for so much further: two that are within reach of the middle may be twice as far apart."""

_MOST = 3
"""No more than so many times the rounds that were asked for."""


def slicewise(
    series: Volume,
    motion_weights: Volume,
    volumes: Table | None = None,
    denoised: Volume | None = None,
    *,
    rounds: int = 2,
    group: int = 1,
    smoothness: float = 0.5,
    reach: float = 4.0,
    deviates: float = 6.0,
) -> tuple[Volume, Table, Table]:
    """Slice-wise motion correction, regularised along the cord, on a mean that is refined over rounds.

    The cord moves in the axial plane, otherwise at each vertebra and at each moment (breathing, swallowing), so every slice of
    every volume gets its own shift (see `numerics.slice_shifts`): across contrasts, held to its neighbours' by as much as it
    does not show its own. Volumes that look alike are laid on their own robust mean, which is made again from the
    corrected ones in every round. A volume that is searched for is laid on the mean of the others as they lie by then: where slices
    moved by millimetres, each at its own time, the mean holds faint copies of every one of them, and a volume would find its own.
    Volumes with a slice that a round moved by more than 1 mm, or that was just flagged, are searched for again in the next.
    A slice's shifts are such that their mean over time is 0.
    The mean of b = 0 is then laid on the mean of the diffusion-weighted ones, slice by slice, and its
    shifts are added to theirs. What the two means lie apart by may change from slice to slice as a contrast does (slowly), and as
    means of so few places do: by the variance over time of what neighbouring slices moved apart, over the number of volumes.
    Every slice is interpolated once, from the data as they were (cubic splines, in plane).
    Slices that lost signal, have too much of it (a spike, a first volume before the steady state) or are unlike the mean are flagged,
    the signal judged among volumes with about the same b-value: their shifts come from the slices beside them, or from the volumes
    before and after where half of the volume is lost, and their numbers stay in the data.
    Only translations are applied, so directions of diffusion gradients (b-vectors) stay as they are.

    Parameters
    ----------
    series
        Volumes over time, with axial slices; any unit, (X, Y, Z, T).
    motion_weights
        Where motion is looked for: soft weights around the cord; (X, Y, Z), 0 or more.
    volumes
        Which volumes are diffusion-weighted; columns weighted and b_value (s/mm2), one row per volume. Without it all look alike.
    denoised
        The series with less noise, taken in its place where it is there.
    rounds
        How many times the mean is made; at least 1. Rounds that search for a volume again come on top, up to three times as many in all.
    group
        So many consecutive volumes that look alike are averaged and moved together; at least 1. More for very noisy data.
    smoothness
        Scale of the difference between the shifts of neighbouring slices; mm, > 0. Smaller for noisier data.
    reach
        Shifts up to this are searched for; mm, > 0.
    deviates
        A slice is flagged when its signal or its likeness to the mean lies so many robust standard deviations off; > 0.

    Returns
    -------
    The corrected series; the shifts, one row per volume and slice, in mm to the right and to the front; and the motion before
    and after, one row per kind of volume.

    Raises
    ------
    ValueError: one volume only, slices that are not axial, or a knob outside its range.

    References
    ----------
    Mohammadi 2013, doi:10.1016/j.neuroimage.2012.12.058
    De Leener 2017, doi:10.1016/j.neuroimage.2016.10.009
    """
    if rounds < 1 or group < 1 or deviates <= 0:
        raise ValueError("rounds and group must be at least 1, and deviates greater than 0")
    upright = (series if denoised is None else denoised).oriented("RAS")
    size = upright.grid.voxel_size
    check_axial(size)
    data = np.asarray(upright.data, np.float32)
    number = data.shape[3]
    if number < 2:
        raise ValueError("the series has one volume: there is no motion to correct")
    weights = np.asarray(motion_weights.oriented("RAS").data, np.float32)
    kinds = classes(volumes, number)
    shifts, far = np.zeros((number, data.shape[2], 2)), np.zeros((number, data.shape[2]), bool)
    outlier = far.T.copy()
    targets: dict[str, Array] = {}
    for kind, chosen in kinds.items():
        b_values = None if volumes is None else volumes["b_value"][chosen]
        found, targets[kind], bad, far[chosen] = _alike(data[..., chosen], weights, size, rounds, group, smoothness, reach, deviates, b_values)
        shifts[chosen], outlier[:, chosen] = found, bad
    if len(kinds) > 1:
        slowly = float(np.hypot(_SLOWLY * smoothness, _scattered(shifts, outlier, kinds, group)))
        between = slice_shifts(targets["b0"], targets["diffusion"], weights, size, smoothness=slowly, reach=reach)
        shifts[kinds["b0"]] += between
        far[kinds["b0"]] |= beyond(between, reach)
        targets["b0"] = shifted(targets["b0"], between, size)
    corrected = np.stack([shifted(data[..., t], shifts[t], size) for t in range(number)], -1)
    _warn_of(far, reach)
    made = Volume(corrected, upright.grid).onto(series.grid)
    table = Table.of({
        "volume": np.repeat(np.arange(number), data.shape[2]), "slice": np.tile(np.arange(data.shape[2]), number),
        "x": -shifts[..., 0].ravel(), "y": -shifts[..., 1].ravel(), "outlier": outlier.T.ravel(),
    })  # fmt: skip
    return made, table, quality(data, corrected, weights, size, kinds, targets, shifts, outlier)


def _alike(
    data: Array, weights: Array, size: tuple[float, float, float], rounds: int, group: int, smoothness: float, reach: float,
    deviates: float, b_values: Array | None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Shifts (T, Z, 2) of volumes that look alike, their mean after it, which slices are outliers (Z, T), and which went too far (T, Z)."""
    number = data.shape[3]
    groups = np.array_split(np.arange(number), _groups(number, group))
    shifts, outlier = np.zeros((number, data.shape[2], 2)), np.zeros((data.shape[2], number), bool)
    if number == 1:
        return shifts, data[..., 0], outlier, outlier.T
    corrected, far, searching, suspect, refined = data.copy(), outlier.T, np.ones(number, bool), np.zeros(number, bool), 0
    for _ in range(_MOST * rounds):
        before, flagged, target, others = shifts.copy(), outlier, robust_mean(corrected, outlier), _Others(corrected, outlier)
        for members in groups:
            search, wide = searching[members].any(), _WIDE if suspect[members].any() else 1.0
            shifts[members] = slice_shifts(
                data[..., members].mean(-1), others.without(members) if search else target, weights, size,
                smoothness=smoothness, reach=wide * reach, window=WINDOW, alike=True, start=None if search else shifts[members[0]],
            )  # fmt: skip
            for t in members:
                others.put(t, shifted(data[..., t], shifts[t], size))
        outlier = outlying(others.data, robust_mean(others.data, outlier), weights, deviates, b_values)
        kept = _kept(outlier)
        shifts -= np.einsum("tzi,zt->zi", shifts, kept) / kept.sum(1)[:, None]
        far = beyond(shifts, reach)
        corrected = np.stack([shifted(data[..., t], shifts[t], size) for t in range(number)], -1)
        refined = 0 if searching.any() else refined + 1
        suspect = (outlier & ~flagged).any(0) & ~lost(outlier)
        searching = suspect | ((np.abs(shifts - before).max(-1).T > _SETTLED) & ~outlier).any(0) & ~lost(outlier)
        if refined >= rounds - 1 and not searching.any():
            break
    return filled(shifts, outlier), robust_mean(corrected, outlier), outlier, far


class _Others:
    """The mean of volumes that move one after another, without those that are to be laid on it."""

    def __init__(self, data: Array, outlier: Array) -> None:
        self.data, self.kept = data, _kept(outlier)
        self.total = np.einsum("xyzt,zt->xyz", data, self.kept)

    def without(self, members: Array) -> Array:
        """Mean of the others; of all in a slice in which no other counts."""
        own = self.kept[:, members]
        number, left = self.kept.sum(1), self.kept.sum(1) - own.sum(1)
        rest = self.total - np.einsum("xyzt,zt->xyz", self.data[..., members], own)
        return np.where(left > 0, rest / np.maximum(left, 1), self.total / number).astype(np.float32)

    def put(self, volume: int, made: Array) -> None:
        """The volume lies as `made` from now on."""
        self.total += self.kept[:, volume] * (made - self.data[..., volume])
        self.data[..., volume] = made


def _scattered(shifts: Array, outlier: Array, kinds: dict[str, Array], group: int) -> float:
    """Standard deviation by which the means of two kinds of volumes lie apart otherwise in one slice than in the next; mm.

    Each mean lies where its few volumes lay on average. How much the jumps between neighbouring slices of the shifts (T, Z, 2) vary
    over time tells how far off that is: one variance for both kinds, since one of them may have a single volume.
    """
    known = ~(outlier | lost(outlier)).T
    both = (known[:, 1:] & known[:, :-1])[..., None]
    jumps, square, freedom, share = np.diff(shifts, axis=1), 0.0, 0, 0.0
    for chosen in kinds.values():
        weight, jump = both[chosen], jumps[chosen]
        mean = (weight * jump).sum(0) / np.maximum(weight.sum(0), 1)
        square += float((weight * (jump - mean) ** 2).sum())
        freedom += 2 * int(np.maximum(weight.sum(0) - 1, 0).sum())
        share += 1 / _groups(len(chosen), group)
    return float(np.sqrt(share * square / max(freedom, 1)))


def _groups(number: int, group: int) -> int:
    """Into how many groups of about `group` so many volumes are split."""
    return max(1, round(number / group))


def _warn_of(far: Array, reach: float) -> None:
    """Which slices (T, Z) were shifted by more than was searched for."""
    if far.any():
        named = []
        for t in np.flatnonzero(far.any(1)):
            named.append(f"volume {t} " + ("throughout" if far[t].all() else f"in slice {', '.join(map(str, np.flatnonzero(far[t])))}"))
        more = f" and {len(named) - _NAMED} more volumes" if len(named) > _NAMED else ""
        warnings.warn(
            f"moved by more than reach={reach:g} mm: {'; '.join(named[:_NAMED])}{more} (numbers from 0, the lowest): "
            f"look at the pictures, or search further", stacklevel=3,
        )  # fmt: skip


def robust_mean(data: Array, outlier: Array) -> Array:
    """Mean over time of (X, Y, Z, T) without outlying slices (Z, T); a slice that is always outlying keeps all."""
    weight = _kept(outlier).astype(np.float32)
    return np.einsum("xyzt,zt->xyz", data, weight) / weight.sum(1)


def _kept(outlier: Array) -> Array:
    """Weight of every slice and volume (Z, T) in a mean: 0 for outliers, but a slice that is always outlying keeps all."""
    return np.where(outlier.all(1, keepdims=True), 1.0, ~outlier)
