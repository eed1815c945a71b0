"""What can be chosen about a simulated data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Phantom:
    """A simulated data set: one head per participant, scanned by a multi-echo gradient echo sequence.

    The head is the ICBM152 2009a average brain with deep nuclei, veins, skull, muscle and air, at the size of a usual
    adult. It stays where it is in the scanner, whatever the grid: an oblique grid sees the same object and field.

    Parameters
    ----------
    shape
        Number of voxels along each axis (right, anterior, superior); at least 8.
    voxel_size
        Edge lengths of a voxel; mm, above 0.
    echo_times
        Echo times; s, rising, above 0.
    field_strength
        Main field; T, above 0.
    repetition_time
        Time between excitations; s, longer than the last echo time.
    flip_angle
        Flip angle of the excitation; degrees, 0 to 90.
    obliquity
        Angle by which the grid is turned away from the axes of the scanner, about an axis between left-right and
        back-front; degrees.
    snr
        Peak signal-to-noise ratio: largest magnitude of the first echo over the noise of its real part; above 0,
        "inf" is no noise.
    seed
        Seed of all that is random: the same seed, the same bytes; at least 0.
    participants
        Number of participants, who differ in size, head position, age and iron; at least 1.
    sessions
        Number of sessions per participant, who moves between them; at least 1.
    orientations
        Number of head positions in a session, each an acquisition of its own (acq-orientation1 and so on), at least 1: the first
        straight, the others tilted against the main field, each towards another side. COSMOS needs 3, tensors 6.
    tilt
        Angle of those tilts; degrees, 0 to 90.
    calcification
        Whether a calcification of -3.3 ppm lies in the right frontal white matter.
    phase_offset
        Whether the phase holds a smooth offset of -pi to pi that does not depend on the echo time.
    fine
        Largest edge of a voxel of the simulation; mm, above 0. Larger voxels are simulated finer and averaged
        as the scanner does, signal by signal, so that the field in a voxel dephases it. The whole head is always
        simulated: 1 mm takes about 2 GB, 0.5 mm eight times that.
    t1w_size
        Edge of the isotropic voxels of a T1-weighted image; mm, 0 for no such image.
    phase_storage
        "radians" stores the phase as it is, "siemens" as integers 0..4095.
    """

    shape: tuple[int, int, int] = (88, 104, 96)
    voxel_size: tuple[float, float, float] = (2.0, 2.0, 2.0)
    echo_times: tuple[float, ...] = (0.006, 0.012, 0.018, 0.024)
    field_strength: float = 3.0
    repetition_time: float = 0.05
    flip_angle: float = 15.0
    obliquity: float = 0.0
    snr: float = 100.0
    seed: int = 42
    participants: int = 1
    sessions: int = 1
    orientations: int = 1
    tilt: float = 25.0
    calcification: bool = False
    phase_offset: bool = True
    fine: float = 1.0
    t1w_size: float = 1.5
    phase_storage: Literal["radians", "siemens"] = "radians"

    def __post_init__(self) -> None:
        def need(truth: bool, what: str, seen: object) -> None:
            if not truth:
                raise ValueError(f"{what}, not {seen}")

        need(len(self.shape) == 3 and min(self.shape) >= 8, "shape must be three numbers of at least 8", self.shape)
        need(
            len(self.voxel_size) == 3 and min(self.voxel_size) > 0, "voxel_size must be three lengths", self.voxel_size
        )
        times = self.echo_times
        rising = all(a < b for a, b in zip(times, times[1:], strict=False))
        need(len(times) > 0 and times[0] > 0 and rising, "echo_times must be positive and rising", times)
        need(self.repetition_time > times[-1], "repetition_time must be above the last echo time", self.repetition_time)
        need(0 < self.flip_angle <= 90, "flip_angle must lie in 0..90 degrees", self.flip_angle)
        for name in ("field_strength", "snr", "fine"):
            need(getattr(self, name) > 0, f"{name} must be above 0", getattr(self, name))
        for name in ("participants", "sessions", "orientations"):
            need(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        need(0 <= self.tilt <= 90, "tilt must lie in 0..90 degrees", self.tilt)
        need(self.seed >= 0, "seed must be at least 0", self.seed)
        need(self.t1w_size >= 0, "t1w_size must be at least 0", self.t1w_size)
        kinds = ("radians", "siemens")
        need(self.phase_storage in kinds, f"phase_storage must be one of {kinds}", self.phase_storage)
