"""The magnetisation transfer saturation, with T1, from three spoiled gradient echoes."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.numerics.registration import resampled
from neuraxis.table import Table
from neuraxis.volume import Array, Volume

_WIDE_ANGLE = np.radians(25.0)
"""Above it the small-angle form of the Ernst equation is off by more than some percent."""

_KNOWN = 0.99
"""B1 is known where the voxels that it is interpolated from have this share of the weight, or more, with a value; the rest is rounding."""

_PLAUSIBLE = (0.3, 2.0)
"""Flip angle over its nominal value in a body, up to 7 T; what lies outside is noise, or no such map."""


def b1_on_image(b1_map: Volume, image: Volume, cord: Volume) -> Volume:
    """Transmitted field on the MT-on image, interpolated linearly at the places that the scanner gives.

    It is smooth, and usually taken with larger voxels. It is known where all voxels around a place hold a value above zero: zero stands
    for "not known" and is never mixed in, so the map ends up to one of its voxels before its border. Elsewhere the result is zero.

    Parameters
    ----------
    b1_map
        Flip angle over its nominal value; > 0 where it is known, (X, Y, Z), on its own grid.
    image
        MT-on image; (X, Y, Z).
    cord
        The cord, on the grid of the image; 0 to 1, (X, Y, Z).

    Returns
    -------
    The same on the grid of the image; (X, Y, Z), zero where it is not known.

    Raises
    ------
    ValueError: the map is known in less than half of the cord, or is below 0.3 or above 2 in more than half of that.
    """
    there = b1_map.data > 0
    values = Volume(np.where(there, b1_map.data, 0), b1_map.grid)
    total, weight = (resampled(one, image.grid, np.eye(4), order=1) for one in (values, Volume(there, b1_map.grid)))
    known = weight > _KNOWN
    placed = np.where(known, total / np.where(known, weight, 1), 0).astype(np.float32)
    inside = cord.data > 0.5
    covered = float(known[inside].mean()) if inside.any() else 1.0
    if covered < 0.5:
        raise ValueError(f"the B1 map covers {100 * covered:.0f} % of the cord: it was taken at another place, or is too small")
    if covered < 1:
        warnings.warn(f"the B1 map covers {100 * covered:.0f} % of the cord: nothing that needs it is made elsewhere", stacklevel=2)
    seen = placed[inside & known]
    odd = float(((seen < _PLAUSIBLE[0]) | (seen > _PLAUSIBLE[1])).mean()) if seen.size else 0.0
    if odd:
        text = f"B1 is below {_PLAUSIBLE[0]:g} or above {_PLAUSIBLE[1]:g} of its nominal value in {100 * odd:.2g} % of the cord"
        if odd > 0.5:
            raise ValueError(f"{text} (median {np.median(seen):.3g}): no such field is in a body")
        warnings.warn(f"{text}: look at the map", stacklevel=2)
    return Volume(placed, image.grid)


def mtsat(
    image: Array,
    mt_off_aligned: Array,
    t1w_on_mt: Array,
    mt_protocol: Table,
    b1: Array | None = None,
    *,
    b1_dependence: float = 0.4,
    least_r1: float = 0.01,
    largest: float = 100.0,
) -> tuple[Array, Array]:
    """Magnetisation transfer saturation (MTsat) and T1, by the small-angle form of the Ernst equation.

    With signals S, flip angles a (rad) and repetition times TR of the MT-off (p), T1-weighted (t) and MT-on image (m):

        R1 = (a_t S_t / TR_t - a_p S_p / TR_p) / (2 (S_p / a_p - S_t / a_t))
        A = S_p S_t (TR_p a_t / a_p - TR_t a_p / a_t) / (S_t TR_p a_t - S_p TR_t a_p)
        MTsat = TR_m R1 (a_m A / S_m - 1) - a_m^2 / 2

    MTsat is the share of the magnetisation that one pulse takes; unlike MTR it does not depend on T1 and hardly on the coils.
    With a map of the transmitted field B1, relative to nominal,

        T1 = 1 / (R1 B1^2)
        MTsat -> MTsat (1 - c) / (1 - c B1)

    The second is empirical, for MTsat of the nominal angles: in these a_m A and TR R1 carry B1 in such a way that MTsat already
    is divided by B1^2. So R1 and A are not corrected before it.

    Parameters
    ----------
    image
        MT-on image (MTw); (X, Y, Z).
    mt_off_aligned
        MT-off image (PDw), laid on it; (X, Y, Z).
    t1w_on_mt
        T1-weighted image, laid on it; (X, Y, Z).
    mt_protocol
        Rows mt_on, mt_off and t1w: repetition_time in s and flip_angle in rad.
    b1
        Flip angle over its nominal value; (X, Y, Z), zero where it is not known.
    b1_dependence
        c above: how much MTsat depends on B1 beyond its square; 0 <= c < 1.
    least_r1
        A smaller R1 counts as none: T1 is zero there; 1/s, > 0.
    largest
        Where MTsat is beyond it, to either side, it is set to zero; percent, > 0.

    Returns
    -------
    MTsat in percent and T1 in s, each (X, Y, Z); zero where they are not known.

    Raises
    ------
    ValueError: a knob is out of range, or the protocol does not tell the T1-weighted image from the MT-off image.

    References
    ----------
    Helms 2008, doi:10.1002/mrm.21732
    Helms 2010 (erratum), doi:10.1002/mrm.22607
    Helms 2008 (rational approximation), doi:10.1002/mrm.21542
    Weiskopf 2013, doi:10.3389/fnins.2013.00095
    """
    if not 0 <= b1_dependence < 1:
        raise ValueError(f"b1_dependence must be at least 0 and below 1, not {b1_dependence}")
    if not (least_r1 > 0 and largest > 0):
        raise ValueError(f"least_r1 and largest must be above 0, not {least_r1} and {largest}")
    times = dict(zip(mt_protocol["image"].tolist(), mt_protocol["repetition_time"].tolist(), strict=True))
    angles = dict(zip(mt_protocol["image"].tolist(), mt_protocol["flip_angle"].tolist(), strict=True))
    (tr_m, tr_p, tr_t), (a_m, a_p, a_t) = ([of[name] for name in ("mt_on", "mt_off", "t1w")] for of in (times, angles))
    if not a_t**2 / tr_t > a_p**2 / tr_p:
        raise ValueError("by flip angle and repetition time the T1-weighted image has no more T1 weighting than the MT-off image")
    if max(angles.values()) > _WIDE_ANGLE:
        text = f"a flip angle of {np.degrees(max(angles.values())):.0f} degrees is not small: MTsat and T1 are off by some percent"
        warnings.warn(text, stacklevel=2)
    s_m, s_p, s_t = (np.asarray(one, np.float64) for one in (image, mt_off_aligned, t1w_on_mt))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rate = 0.5 * (a_t * s_t / tr_t - a_p * s_p / tr_p) / (s_p / a_p - s_t / a_t)
        amplitude = s_p * s_t * (tr_p * a_t / a_p - tr_t * a_p / a_t) / (tr_p * a_t * s_t - tr_t * a_p * s_p)
        known = np.isfinite(rate) & (rate >= least_r1)
        saturation = 100 * (tr_m * rate * (a_m * amplitude / s_m - 1) - a_m**2 / 2)
        time = 1 / rate
        if b1 is not None:
            field = np.asarray(b1, np.float64)
            known &= (field > 0) & (b1_dependence * field < 1)
            saturation *= (1 - b1_dependence) / (1 - b1_dependence * field)
            time /= field**2
    fine = known & np.isfinite(saturation) & (np.abs(saturation) <= largest)
    return np.where(fine, saturation, 0).astype(np.float32), np.where(known, time, 0).astype(np.float32)
