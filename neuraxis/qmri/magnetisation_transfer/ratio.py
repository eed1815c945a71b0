"""The magnetisation transfer ratio."""

from __future__ import annotations

import warnings

import numpy as np

from neuraxis.volume import Array


def mtr(image: Array, mt_off_aligned: Array, cord: Array | None = None, *, largest: float = 100.0) -> Array:
    """Magnetisation transfer ratio (MTR).

    The share of the signal that saturation takes:

        MTR = 100 (off - on) / off

    Negative where the MT-on image is the brighter one, as noise makes it in air.

    Parameters
    ----------
    image
        MT-on image; (X, Y, Z).
    mt_off_aligned
        MT-off image, laid on the MT-on image; (X, Y, Z).
    cord
        The cord, in which both are compared; 0 to 1, (X, Y, Z).
    largest
        Values beyond it, to both sides, are set to it; percent, > 0.

    Returns
    -------
    MTR; percent, (X, Y, Z), -largest to largest, zero where the MT-off image is not above zero.

    Raises
    ------
    ValueError: the knob is out of range, or the MT-off image is zero everywhere.

    References
    ----------
    Henkelman 2001, doi:10.1002/nbm.683
    """
    if not largest > 0:
        raise ValueError(f"largest must be above 0 percent, not {largest}")
    off = np.asarray(mt_off_aligned, np.float64)
    known = off > 0
    if not known.any():
        raise ValueError("the MT-off image is nowhere above zero: there is nothing to divide by")
    ratio = np.where(known, 100 * (off - image) / np.where(known, off, 1), 0.0)
    inside = np.asarray(cord) > 0.5 if cord is not None else np.zeros(off.shape, bool)
    if inside.any():
        lost = float((inside & ~known).sum() / inside.sum())
        if lost:
            warnings.warn(f"the MT-off image is zero in {100 * lost:.2g} % of the cord: MTR is zero there", stacklevel=2)
        middle = float(np.median(ratio[inside]))
        if middle < 0:
            warnings.warn(
                f"the MT-on image is brighter than the MT-off image in the cord (median MTR {middle:.1f} %): are the two exchanged?",
                stacklevel=2,
            )
    return np.clip(ratio, -largest, largest).astype(np.float32)
