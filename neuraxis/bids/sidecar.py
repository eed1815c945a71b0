"""JSON sidecars: BIDS inheritance, and the acquisition parameters in s and T."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuraxis.bids.dataset import Unit
from neuraxis.bids.files import parse_name
from neuraxis.errors import DataError, MissingInput

_SAME_ECHO_S = 1e-5
"""Echo times of magnitude and phase of one echo may differ by rounding."""

_SAME_FIELD_T = 1e-2
_STRONGEST_FIELD_T = 25.0
"""Above any magnet for imaging; a larger number is in another unit (MHz, gauss)."""

_LONGEST_REPETITION_S = 30.0
_LARGEST_ANGLE_DEG = 180.0

_BESIDE_NAME = re.compile(r"((?:[A-Za-z0-9]+-[A-Za-z0-9+]+_)*)([A-Za-z0-9]+)\.[a-z]+")


@dataclass(frozen=True)
class Acquisition:
    """Parameters of a unit: echo times in s, rising; field strength in T, None where only magnitudes are there and none is given."""

    echo_times: tuple[float, ...]
    field_strength: float | None


def read_sidecar(path: Path) -> dict[str, Any]:
    """A JSON sidecar as it stands."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise MissingInput(f"{path} is a link to content that is not here.", f"Get it: datalad get {path}") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.", "Save it again as UTF-8."
        ) from None
    except OSError as error:
        raise MissingInput(f"{path} cannot be read: {error.strerror}.", "Check its rights.") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.", "Mend it.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} does not hold a JSON object.", 'It should look like {"EchoTime": 0.005, ...}.')
    return content


def sidecars(image: Path, root: Path, extension: str = ".json") -> list[Path]:
    """The sidecars, or other files beside it of an `extension`, that apply to an image by the inheritance principle, the strongest last.

    A sidecar applies when it lies in the folder of the image or above, has the same suffix, and the image has all its entities.
    Lower folders are stronger; in one folder, more entities are.
    """
    parsed = parse_name(image.name)
    if parsed is None:
        return []
    entities, suffix, _ = parsed
    below = image.parent.relative_to(root).parts
    found: list[Path] = []
    for depth in range(len(below) + 1):
        folder = root.joinpath(*below[:depth])
        level = []
        for path in folder.glob(f"*{suffix}{extension}"):
            match = _BESIDE_NAME.fullmatch(path.name)
            if match and match[2] == suffix:
                pairs = [pair.split("-", 1) for pair in match[1].rstrip("_").split("_") if pair]
                if all(entities.get(key) == value for key, value in pairs):
                    level.append((len(pairs), path.name, path))
        found += [path for _, _, path in sorted(level)]
    return found


def metadata(image: Path, root: Path) -> dict[str, Any]:
    """All metadata of an image, inherited ones too."""
    merged: dict[str, Any] = {}
    for path in sidecars(image, root):
        merged.update(read_sidecar(path))
    return merged


def acquisition(unit: Unit) -> Acquisition:
    """Echo times and field strength of a unit, checked over all its images."""
    if unit.coils:
        return _of_coils(unit)
    times: tuple[float, ...] = ()
    source: Sequence[Path] = ()
    strengths: list[tuple[Path, float]] = []
    for paths in unit.parts().values():
        contents = [metadata(path, unit.root) for path in paths]
        found = tuple(_echo_time(path, content) for path, content in zip(paths, contents, strict=True))
        if not times:
            times, source = found, paths
            _check_rising(times, paths)
        for one, two, first, path in zip(times, found, source, paths, strict=True):
            if abs(one - two) > _SAME_ECHO_S:
                raise DataError(
                    f"{path} has EchoTime {two:g} s and {first.name}, the same echo, {one:g} s.",
                    "Correct the sidecars.",
                )
        for path, content in zip(paths, contents, strict=True):
            strength = field_strength(path, content, needed=unit.has_phase)
            if strength is not None:
                strengths.append((path, strength))
    for path, strength in strengths:
        if abs(strength - strengths[0][1]) > _SAME_FIELD_T:
            raise DataError(
                f"{path} has MagneticFieldStrength {strength:g} T and {strengths[0][0].name} {strengths[0][1]:g} T.",
                "Correct the sidecars.",
            )
    return Acquisition(times, strengths[0][1] if strengths else None)


def _of_coils(unit: Unit) -> Acquisition:
    """The parameters that all coils have."""
    first, *others = (acquisition(coil) for coil in unit.coils)
    for coil, other in zip(unit.coils[1:], others, strict=True):
        path = coil.paths()[0]
        if max(abs(a - b) for a, b in zip(first.echo_times, other.echo_times, strict=True)) > _SAME_ECHO_S:
            raise DataError(f"{path} has other echo times than {unit.paths()[0].name}.", "Correct the sidecars.")
        if abs((other.field_strength or 0) - (first.field_strength or 0)) > _SAME_FIELD_T:
            raise DataError(f"{path} has another MagneticFieldStrength than {unit.paths()[0].name}.", "Correct the sidecars.")
    return first


def _echo_time(path: Path, content: dict[str, Any]) -> float:
    if "EchoTime" not in content:
        raise MissingInput(
            f"{path} has no EchoTime in its sidecar.",
            "Add EchoTime in seconds to the JSON file beside it (or above it).",
        )
    value = _number(path, "EchoTime", content["EchoTime"], "one number in seconds; BIDS wants one file per echo")
    if value > 1:
        raise DataError(
            f"{path} has EchoTime {value:g} s, which can only be in milliseconds.",
            "BIDS wants seconds: divide it by 1000.",
        )
    return value


def field_strength(path: Path, content: dict[str, Any], *, needed: bool = False) -> float | None:
    """MagneticFieldStrength in T; None where it is not needed and not there."""
    if content.get("MagneticFieldStrength") is None:
        if not needed:
            return None
        raise MissingInput(
            f"{path} has no MagneticFieldStrength in its sidecar.",
            "Add MagneticFieldStrength in tesla to the JSON file beside it (or above it).",
        )
    value = _number(path, "MagneticFieldStrength", content["MagneticFieldStrength"], "one number in tesla")
    if value > _STRONGEST_FIELD_T:
        raise DataError(
            f"{path} has MagneticFieldStrength {value:g}, which is not in tesla.", "BIDS wants tesla, for example 3."
        )
    return value


def repetition_time(path: Path, content: dict[str, Any]) -> float:
    """Time from one excitation to the next, s: RepetitionTimeExcitation, else RepetitionTime."""
    name = "RepetitionTimeExcitation" if "RepetitionTimeExcitation" in content else "RepetitionTime"
    if name not in content:
        raise MissingInput(
            f"{path} has no {name} in its sidecar.", "Add RepetitionTime in seconds to the JSON file beside it (or above it)."
        )
    value = _number(path, name, content[name], "one number in seconds")
    if value > _LONGEST_REPETITION_S:
        raise DataError(f"{path} has {name} {value:g} s, which can only be in milliseconds.", "BIDS wants seconds: divide it by 1000.")
    return value


def flip_angle(path: Path, content: dict[str, Any]) -> float:
    """FlipAngle of one excitation, in rad."""
    if "FlipAngle" not in content:
        raise MissingInput(
            f"{path} has no FlipAngle in its sidecar.", "Add FlipAngle in degrees to the JSON file beside it (or above it)."
        )
    value = _number(path, "FlipAngle", content["FlipAngle"], "one number in degrees")
    if value > _LARGEST_ANGLE_DEG:
        raise DataError(f"{path} has FlipAngle {value:g}, which is no angle of an excitation.", "BIDS wants degrees, for example 9.")
    return math.radians(value)


def _number(path: Path, name: str, value: Any, want: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{path} has {name} {_short(value)}, not {want}.", "Correct its sidecar.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number <= 0:
        raise DataError(f"{path} has {name} {_short(value)}, which is not a positive number.", "Correct its sidecar.")
    return number


def _check_rising(times: Sequence[float], paths: Sequence[Path]) -> None:
    for number in range(1, len(times)):
        if times[number] <= times[number - 1]:
            raise DataError(
                f"{paths[number]} has EchoTime {times[number]:g} s, not later than {times[number - 1]:g} s of {paths[number - 1].name}.",
                "Echo times must rise with the echo entity: correct sidecars or names.",
            )


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
