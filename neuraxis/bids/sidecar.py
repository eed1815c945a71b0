"""JSON sidecars with BIDS inheritance, and what they and the numbers say: echo times in s, field in T, phase in rad."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuraxis.bids.dataset import Unit
from neuraxis.errors import DataError, MissingInput
from neuraxis.volume import Array

MOST_PLAUSIBLE_ECHO_TIME = 1.0
"""An EchoTime above this (s) is surely in ms."""


def metadata(image: Path, bids_dir: Path) -> dict[str, Any]:
    """The metadata of an image: sidecars that apply to it, from the data set's root down; the lower one wins."""
    folders = [bids_dir, *(bids_dir / part for part in _downwards(image.parent.relative_to(bids_dir)))]
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    *pairs, suffix = stem.split("_")
    found: dict[str, Any] = {}
    for folder in folders:
        applying = [path for path in folder.glob(f"*{suffix}.json") if _applies(path, set(pairs), suffix)]
        for path in sorted(applying, key=lambda one: len(one.name)):
            found.update(_read(path))
    return found


def _downwards(relative: Path) -> list[Path]:
    return [Path(*relative.parts[: n + 1]) for n in range(len(relative.parts))]


def _applies(path: Path, pairs: set[str], suffix: str) -> bool:
    *own, own_suffix = path.name.removesuffix(".json").split("_")
    return own_suffix == suffix and set(own) <= pairs


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingInput(f"{path} is a link to nothing.", "Fetch its content (datalad get).") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a JSON file: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} does not hold a JSON object.")
    return found


@dataclass(frozen=True)
class Acquisition:
    """What the sidecars of a unit say: echo times in s, field strength in T (None when no phase needs it)."""

    echo_times: tuple[float, ...]
    field_strength: float | None
    units: str = ""


def acquisition(unit: Unit) -> Acquisition:
    """Echo times and field strength of a unit, checked over all its files; never guessed."""
    times: dict[str, list[float]] = {}
    strengths: dict[float, Path] = {}
    units = ""
    for part, paths in unit.files:
        times[part] = []
        for path in paths:
            found = metadata(path, unit.bids_dir)
            shown = path.relative_to(unit.bids_dir)
            if not found:
                raise MissingInput(f"{shown} has no sidecar.", "Add a JSON file with EchoTime (s) and MagneticFieldStrength (T).")
            times[part].append(_number(found, "EchoTime", "s", shown))
            if unit.has_phase:
                strengths[_number(found, "MagneticFieldStrength", "T", shown)] = shown
            if part == "phase":
                units = str(found.get("Units", units))
    first, *others = times.values()
    rows = dict(zip(times, times.values(), strict=True))
    for time, path in zip(first, unit.files[0][1], strict=True):
        if time > MOST_PLAUSIBLE_ECHO_TIME:
            raise DataError(f"{path.relative_to(unit.bids_dir)} has an EchoTime of {time:g} s, which must be in ms.", "BIDS wants seconds.")
    if any(b <= a for a, b in zip(first, first[1:], strict=False)):
        raise DataError(f"{unit.name}: the echo times {first} s do not rise with the echo.", "Mend EchoTime in the sidecars.")
    if any(not np.allclose(one, first, rtol=1e-4) for one in others):
        raise DataError(f"{unit.name}: the parts of an echo differ in EchoTime: {rows}.", "Mend EchoTime in the sidecars.")
    if len(strengths) > 1 and max(strengths) - min(strengths) > 1e-3 * max(strengths):
        raise DataError(f"{unit.name}: MagneticFieldStrength differs: {', '.join(f'{v:g} T in {p}' for v, p in strengths.items())}.")
    return Acquisition(tuple(first), next(iter(strengths), None), units)


def _number(found: dict[str, Any], name: str, unit: str, path: Path) -> float:
    if name not in found:
        raise MissingInput(f"The sidecar of {path} has no {name}.", f"Add it, in {unit}: it is never guessed.")
    value = found[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise DataError(f"{name} of {path} is {value!r}, which is not a positive number in {unit}.")
    return float(value)


SLACK = 1.02
"""Radians may overshoot pi by this: scanners interpolate and round."""
_FEW_VALUES = 16


def phase_to_radians(values: Array, units: str, shown: str) -> tuple[Array, str]:
    """Phase of all echoes of a unit in rad, -pi..pi, and how it was read.

    Radians are taken as they are; any other range that is a full circle, from 0 or symmetric about 0, is scaled: a power
    of two less or more one step (Siemens 0..4095, -4096..4094) by its power, any other by its largest value.

    Parameters
    ----------
    values
        Stored phase after the header's slope and intercept, all echoes; (X, Y, Z, E).
    units
        `Units` of the sidecar, or "".
    shown
        Name of the image, for messages.

    Raises
    ------
    DataError: constant, few-valued, one-sided or unwrapped values: no phase.
    """
    low, high = float(values.min()), float(values.max())
    sample = np.unique(values.reshape(-1)[:: max(1, values.size // 200_000)])
    if low == high or sample.size < _FEW_VALUES:
        raise DataError(f"{shown} is not phase: it holds {sample.size} different value(s) from {low:g} to {high:g}.", "Is it the right file?")
    largest, pi = max(-low, high), math.pi
    if units.lower() in ("rad", "radian", "radians") or (low < -0.8 * pi and high > 0.8 * pi and largest <= pi * SLACK):
        if largest > 2 * pi * SLACK or (low < -pi * SLACK):
            raise DataError(f"{shown} reaches from {low:g} to {high:g} rad: it looks unwrapped.", "Give the wrapped phase of the scanner.")
        if high > pi * SLACK:
            return np.where(values > pi, values - 2 * pi, values).astype(np.float32), f"Phase is in radians from 0 to 2 pi ({low:.3g} to {high:.3g})."
        return np.clip(values, -pi, pi).astype(np.float32), f"Phase is in radians ({low:.3g} to {high:.3g})."
    if low >= 0:
        if high <= 2 * pi * SLACK and high > 1.9 * pi:
            return np.where(values > pi, values - 2 * pi, values).astype(np.float32), f"Phase is in radians from 0 to 2 pi ({low:.3g} to {high:.3g})."
        period = _period(high)
        if period is None or low > 0.1 * period:
            raise DataError(f"{shown} reaches from {low:g} to {high:g}: a one-sided range that is no full circle is not phase.",
                            "Is it a magnitude image? Else set Units to rad, or store the full range.")  # fmt: skip
        scaled = (values * np.float32(2 * pi / period) - np.float32(pi)).astype(np.float32)
        return scaled, f"Phase was stored from {low:g} to {high:g}; {period:g} steps were read as a full circle, the middle as 0."
    if abs(low + high) > 0.1 * largest:
        raise DataError(f"{shown} reaches from {low:g} to {high:g}, which is not symmetric about 0: it is not wrapped phase.",
                        "Set Units to rad if it is, or store the full range.")  # fmt: skip
    half = 2.0 ** round(math.log2(largest)) if largest > 100 and abs(math.log2(largest) - round(math.log2(largest))) < 0.003 else largest
    return np.clip(values * np.float32(pi / half), -pi, pi).astype(np.float32), (
        f"Phase was stored from {low:g} to {high:g}; {half:g} was read as pi.")  # fmt: skip


def _period(high: float) -> float | None:
    """The number of steps of a circle that starts at 0 and is seen up to `high`: the next power of two when near it."""
    power = 2.0 ** math.ceil(math.log2(high + 1e-9)) if high > 1 else 0.0
    return power if power >= 256 and high > 0.97 * power else None
