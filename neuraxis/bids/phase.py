"""Stored phase -> radians: which convention a file follows, decided on what it says and on what it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neuraxis.volume import Array

FULL_CIRCLES = (
    ("radians, -pi to pi", -math.pi, math.pi),
    ("radians, 0 to 2 pi", 0.0, 2 * math.pi),
    ("Siemens integers, 0 to 4095", 0.0, 4096.0),
    ("Siemens integers, -4096 to 4095", -4096.0, 4096.0),
    ("12-bit integers, -2048 to 2047", -2048.0, 2048.0),
    ("milliradians, -3142 to 3142", -1000 * math.pi, 1000 * math.pi),
    ("degrees, -180 to 180", -180.0, 180.0),
    ("degrees, 0 to 360", 0.0, 360.0),
    ("16-bit integers, 0 to 65535", 0.0, 65536.0),
    ("16-bit integers, -32768 to 32767", -32768.0, 32768.0),
)
"""Known ways of storing phase: the two ends of the circle. Scanners put the zero of phase in the middle of an integer range."""

_MOD_CIRCLE = ("radians, 0 to 2 pi", "degrees, 0 to 360")
"""Ranges that start at the zero of phase."""

_REACHED = 0.04
"""A range reaches an end of the circle when the gap is at most this part of the circle."""

_BEYOND = 2e-3
"""Rounding may carry values beyond the circle by this part of it."""

_OVERSHOOT = 0.1
"""Interpolation may carry values beyond the circle by this part of pi, in a few voxels."""

_FEW_VALUES = 16
_WRAPS = 1e-4
"""Wrapped phase over a full circle has at least this part of neighbours that jump by more than half of it."""

_RADIANS = ("rad", "radian", "radians")
_UNSAID = ("", "arbitrary", "a.u.", "au", "arb", "none", "1", "n/a")
_ASK = 'Convert it to radians and say "Units": "rad" in its sidecar.'


class NotPhase(ValueError):
    """The values are no wrapped phase; `args` are a clause that goes on from the file's name, and a hint."""


def phase_to_radians(values: Array, sidecar: Mapping[str, Any], stored: Array | None = None) -> tuple[Array, str]:
    """Turns stored phase of a unit to radians in -pi..pi.

    Rule: 1. `Units: rad` is believed when the values lie on one circle; beyond it they are refused. 2. Otherwise the range over all
    echoes must fill a circle of a known convention (FULL_CIRCLES) from end to end. 3. Otherwise a symmetric range with hard ends
    and wraps, -a..a, is a full circle on an arbitrary scale. 4. Anything else is refused: a scale is never guessed from part
    of a circle. Values that are no phase (few different ones, like a magnitude, no wraps) are refused before.

    Parameters
    ----------
    values
        Phase of all echoes jointly, after the slope of the header; (E, X, Y, Z), float32. Overwritten by the result.
    sidecar
        Metadata of the images: `Units`.
    stored
        The numbers before the slope of the header, where one slope holds for all echoes; tried when `values` fit no convention.

    Returns
    -------
    Phase in radians, and one sentence on what was decided.

    Raises
    ------
    NotPhase: the values cannot be phase, or their scale cannot be told.
    """
    low, high = float(values.min()), float(values.max())
    seen = f"its values run from {low:.6g} to {high:.6g}"
    units = str(sidecar.get("Units") or "").strip().lower()
    if low == high:
        raise NotPhase(f"holds one value only ({low:.6g})", "Is it the right image?")
    sample = _sample(values)
    different = len(np.unique(sample))
    if different <= _FEW_VALUES and values.size > 10 * _FEW_VALUES:
        raise NotPhase(f"holds only {different} different values, so it is not phase", "Is it a mask or a label image?")
    if units in _RADIANS:
        return _declared(values, low, high, sample, seen)
    if units not in _UNSAID and not units.startswith("deg") and units not in ("mrad", "°"):
        raise NotPhase(f"has Units {sidecar['Units']!r}, so it is not phase", _ASK)
    for name, begin, end in FULL_CIRCLES:
        if _fills(low, high, begin, end):
            _refuse_magnitude(sample, begin, end, seen)
            return _turn(values, name, begin, end), f"Phase: {name}; {seen}."
    inside = math.pi * (1 + _OVERSHOOT)
    if -inside <= low < -0.96 * math.pi and 0.96 * math.pi < high <= inside and _overshoots(sample):
        return _wrap(values), f"Phase: radians that overshoot by interpolation, wrapped to -pi..pi; {seen}."
    if _arbitrary(sample, low, high):
        end = max(-low, high)
        text = f"Phase: arbitrary scale, -{end:.6g}..{end:.6g} taken as -pi..pi; {seen}."
        return _turn(values, "arbitrary", -end, end), text
    if stored is not None:
        begin_end = (float(stored.min()), float(stored.max()))
        for name, begin, end in FULL_CIRCLES:
            if _fills(*begin_end, begin, end):
                _refuse_magnitude(_sample(stored), begin, end, seen)
                np.copyto(values, stored)
                return _turn(
                    values, name, begin, end
                ), f"Phase: {name} before the slope of the header; {seen} after it."
    if low >= 0:
        raise NotPhase(f"does not look like phase: {seen}", f"Is it a magnitude? {_ASK}")
    if high - low > 2 * math.pi * 1.05 and _jumps(sample, (high - low) / 2) < _WRAPS:
        raise NotPhase(f"looks unwrapped: {seen} without a wrap", "Give the wrapped phase as the scanner stores it.")
    raise NotPhase(f"has a scale that cannot be told: {seen}, which is no full circle that is known", _ASK)


def _declared(values: Array, low: float, high: float, sample: Array, seen: str) -> tuple[Array, str]:
    """Phase whose sidecar says radians."""
    slack = 2 * math.pi * _BEYOND
    if -math.pi - slack <= low and high <= math.pi + slack:
        part = "" if high - low > 1.9 * math.pi else " They fill only part of a circle."
        return _wrap(values), f"Phase: radians, as the sidecar says; {seen}.{part}"
    if -slack <= low and high <= 2 * math.pi + slack:
        return _wrap(values), f"Phase: radians of 0 to 2 pi, as the sidecar says, wrapped to -pi..pi; {seen}."
    if max(-low, high) <= math.pi * (1 + _OVERSHOOT) and _overshoots(sample):
        return _wrap(values), f"Phase: radians that overshoot by interpolation, wrapped to -pi..pi; {seen}."
    if any(_fills(low, high, begin, end) for _, begin, end in FULL_CIRCLES[2:]):
        raise NotPhase(
            f"has Units rad, but {seen}, as a scanner stores integers",
            'Say "Units": "arbitrary" in its sidecar, or convert it.',
        )
    raise NotPhase(f"looks unwrapped: it has Units rad, and {seen}", "Give the wrapped phase as the scanner stores it.")


def _fills(low: float, high: float, begin: float, end: float) -> bool:
    """Whether a range fills the circle begin..end from end to end, and nothing lies beyond."""
    circle = end - begin
    return (
        begin - _BEYOND * circle <= low <= begin + _REACHED * circle
        and end - _REACHED * circle <= high <= end + _BEYOND * circle
    )


def _arbitrary(sample: Array, low: float, high: float) -> bool:
    """Whether a range is symmetric, has values right up to both ends, and wraps: a circle on an unknown scale."""
    end = max(-low, high)
    if abs(low + high) > 1.5e-3 * (high - low):
        return False
    used = sample[sample != 0]
    if min((used < -0.98 * end).mean(), (used > 0.98 * end).mean()) < 2e-4:
        return False
    return _jumps(sample, end) >= _WRAPS


def _overshoots(sample: Array) -> bool:
    """Whether few voxels lie beyond pi, and there are wraps: interpolation, not unwrapping."""
    return bool((np.abs(sample) > math.pi).mean() < 0.02) and _jumps(sample, math.pi) >= _WRAPS


def _refuse_magnitude(sample: Array, begin: float, end: float, seen: str) -> None:
    """Values at the two ends of a circle are neighbours, so about as frequent; those of a magnitude or a CT image are not."""
    scaled = (sample[sample != 0] - begin) / (end - begin)
    if scaled.size < 1000:
        return
    first, last = float((scaled < 0.1).mean()), float((scaled > 0.9).mean())
    if max(first, last) > 0.05 and min(first, last) < max(first, last) / 100:
        raise NotPhase(f"does not look like phase: {seen}, nearly all at one end", f"Is it a magnitude? {_ASK}")


def _jumps(sample: Array, half: float) -> float:
    """Part of the neighbours along x or y that differ by more than `half` a circle; exact zeros are background and do not count."""
    if sample.ndim < 4:
        return 0.0
    count = total = 0
    for axis in (1, 2):
        one = np.take(sample, range(sample.shape[axis] - 1), axis)
        two = np.take(sample, range(1, sample.shape[axis]), axis)
        valid = (one != 0) & (two != 0)
        count += int((np.abs(one - two)[valid] > half).sum())
        total += int(valid.sum())
    return count / total if total else 0.0


def _sample(values: Array) -> Array:
    """Every few slices: about two million voxels are enough to judge by. Neighbours in a slice stay neighbours."""
    return values[..., :: max(1, values.size // 2_000_000)]


def _turn(values: Array, name: str, begin: float, end: float) -> Array:
    """Maps a full circle begin..end to radians, in place."""
    zero = begin if name in _MOD_CIRCLE else (begin + end) / 2
    values -= np.float32(zero)
    values *= np.float32(2 * math.pi / (end - begin))
    return _wrap(values)


def _wrap(values: Array) -> Array:
    """Into -pi..pi, in place; what is inside already keeps its bits."""
    limit = np.float32(math.pi)
    for one in values:  # echo by echo, to spare memory
        if one.max() <= limit and one.min() >= -limit:
            continue
        outside = np.abs(one) > limit
        angle = one[outside].astype(np.float64)
        one[outside] = np.clip(angle - 2 * math.pi * np.round(angle / (2 * math.pi)), -limit, limit)
    return values
