"""Reads the images of a unit whose coils are not combined, and combines them, one coil in memory at a time."""

from __future__ import annotations

import numpy as np

from neuraxis.bids.dataset import Unit
from neuraxis.bids.images import Loaded, check_grid, load_gre
from neuraxis.bids.sidecar import acquisition
from neuraxis.errors import DataError, MissingInput
from neuraxis.qsm.offset.coils import combine_coils
from neuraxis.volume import Array, Grid, Volume


def load_coils(unit: Unit) -> Loaded:
    """The combined images of all coils of a unit.

    Magnitudes alone are combined as their root sum of squares.

    Raises
    ------
    DataError: one echo only, coils on different grids, or phase in different conventions.
    MissingInput: phase without magnitude.
    """
    parameters, first = acquisition(unit), unit.coils[0].paths()[0]
    times = np.asarray(parameters.echo_times, float)
    if unit.has_phase and not unit.has_magnitude:
        raise MissingInput(f"{first} has no part-mag image beside it.", "Coils are combined by phase and magnitude.")
    if unit.has_phase and len(times) < 2:
        raise DataError(
            f"{first} is of one coil and of one echo: the phase of coils is combined by two echoes.",
            "Give the images that the scanner combined.",
        )
    grid: Grid | None = None
    notes: list[str] = []

    def read(number: int) -> tuple[Array, Array | None]:
        nonlocal grid
        coil = unit.coils[number]
        found = load_gre(coil)
        assert found.magnitude is not None
        grid = grid or found.magnitude.grid
        check_grid(coil.paths()[0], found.magnitude.grid, first, grid)
        if not notes:
            notes.extend(found.notes)
        elif found.notes and _convention(found.notes) != _convention(notes):
            raise DataError(
                f"{coil.paths()[0]} stores phase in another way than {first.name} ({_convention(found.notes)}, {_convention(notes)}).",
                "Convert all coils alike.",
            )
        magnitude = np.moveaxis(found.magnitude.data, -1, 0)
        return magnitude, None if found.phase is None else np.moveaxis(found.phase.data, -1, 0)

    def both(number: int) -> tuple[Array, Array]:
        magnitude, phase = read(number)
        assert phase is not None
        return magnitude, phase

    magnitude, phase = read(0)
    here = grid
    assert here is not None
    if phase is None:
        np.square(magnitude, out=magnitude)
        for number in range(1, len(unit.coils)):
            magnitude += np.square(read(number)[0])
        combined: tuple[Array, Array | None] = np.sqrt(magnitude, out=magnitude), None
        how = "as their root sum of squares"
    else:
        del magnitude, phase
        combined = combine_coils(both, len(unit.coils), times, here, smoothing=unit.coil_smoothing)
        how = f"by MCPC-3D-S (doi:10.1002/mrm.26963), offsets smoothed over {unit.coil_smoothing:g} mm"
    notes.append(f"Coils: {len(unit.coils)} coils combined {how}.")
    volumes = [None if stack is None else Volume(np.moveaxis(stack, 0, -1), here) for stack in combined]
    return Loaded(volumes[1], volumes[0], times, parameters.field_strength, tuple(notes), unit.paths())


def _convention(notes: list[str] | tuple[str, ...]) -> str:
    """How the phase is stored, without the range that was seen."""
    return notes[0].removeprefix("Phase: ").split(";")[0]
