"""What can be chosen about a simulated neck, by how much participants differ, and how each contrast is acquired."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neuraxis.simulate.cord_anatomy import HEIGHT, Spine

ECHO_TIMES = {
    "T1w": (0.0032,), "T2w": (0.120,), "T2starw": (0.014,), "MEGRE": (0.005, 0.010, 0.015, 0.020),
    "MTS": (0.0035,) * 3, "MTR": (0.0035,) * 2,
}  # fmt: skip
"""Contrast -> echo time of each of its images; s. MTS: with the saturation pulse, without it, and T1-weighted; MTR: with and without."""

REPETITION_TIME = {
    "T1w": (2.0,), "T2w": (3.0,), "T2starw": (0.6,), "MEGRE": (0.6,) * 4, "MTS": (0.035, 0.035, 0.015), "MTR": (0.035,) * 2,
}  # fmt: skip
"""Contrast -> repetition time of each of its images; s."""

FLIP_ANGLE = {"T1w": (9.0,), "T2starw": (30.0,), "MEGRE": (30.0,) * 4, "MTS": (9.0, 9.0, 15.0), "MTR": (9.0,) * 2}
"""Contrast -> flip angle of each of its images; degrees."""

SATURATED = {"MTS": (True, False, False), "MTR": (True, False)}
"""Contrast -> in which of its images magnetisation transfer takes signal away."""

INVERSION_TIME = 1.0
"""Of T1w; s. Protocol of Cohen-Adad 2021, doi:10.1038/s41596-021-00588-0, in round figures."""


@dataclass(frozen=True)
class CordOptions:
    """One participant's neck, and how it is scanned.

    Parameters
    ----------
    contrasts
        Images to make: T1w, T2w, T2starw, MEGRE, MTS, MTR.
    small
        Few voxels, for quick tests: T1w and T2w of 1 mm from the PMJ to T2, the others 60 mm along the neck.
    scale
        Size of the person: lengths along the cord, vertebrae, canal; above 0, 1 is PAM50's.
    area
        Area of the cord, relative to PAM50's; above 0.
    atrophy
        Share of that area that is lost; 0 <= atrophy < 1.
    lordosis
        Bend of the neck; 0 is straight, 1 usual.
    canal
        Width and depth of the canal, relative to usual.
    sway
        Largest sideways lean of the cord; degrees.
    compression_level
        The disc below this vertebra presses on the cord (5: C5/C6); 2 to 12, None is none.
    compression_depth
        Share of the cord's depth that is lost there; 0 to 0.8.
    lesion
        Whether a bright lesion lies in the left back column behind C4.
    obliquity
        How the head lies in the scanner: turns about its axes (right, front, up); degrees.
    shift
        The same, moved; mm.
    motion
        Largest in-plane shift of a slice between the images of MTS and MTR; mm, at least 0.
    snr
        White matter over the noise of the real part; above 0, inf is no noise.
    bias
        Strength of the coils' fall-off to the front and to both ends; 0 is none.
    seed
        Seed of the noise.
    """

    contrasts: tuple[str, ...] = ("T2w", "T2starw")
    small: bool = True
    scale: float = 1.0
    area: float = 1.0
    atrophy: float = 0.0
    lordosis: float = 1.0
    canal: float = 1.0
    sway: float = 1.5
    compression_level: int | None = None
    compression_depth: float = 0.45
    lesion: bool = False
    obliquity: tuple[float, float, float] = (1.5, -2.0, 2.5)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    motion: float = 0.0
    snr: float = 20.0
    bias: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.contrasts) - set(ECHO_TIMES)
        if unknown:
            raise ValueError(f"contrasts must be of {', '.join(ECHO_TIMES)}, not {', '.join(sorted(unknown))}")
        for name in ("scale", "area", "canal", "snr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not self.motion >= 0:
            raise ValueError(f"motion must be at least 0 mm, not {self.motion}")
        if not 0 <= self.atrophy < 1:
            raise ValueError(f"atrophy must be at least 0 and below 1, not {self.atrophy}")
        if not 0 <= self.compression_depth <= 0.8:
            raise ValueError(f"compression_depth must lie in 0..0.8, not {self.compression_depth}")
        if self.compression_level is not None and not 2 <= self.compression_level <= 12:
            raise ValueError(f"compression_level must lie in 2..12 (C2..T5), not {self.compression_level}")

    @property
    def spine(self) -> Spine:
        """The cord that these options describe."""
        squeezed = None if self.compression_level is None else HEIGHT[self.compression_level + 1]
        return Spine(
            scale=self.scale, area=self.area * (1 - self.atrophy), lordosis=self.lordosis, canal=self.canal, sway=self.sway,
            compression_height=squeezed, compression_depth=self.compression_depth,
        )  # fmt: skip


def participant(options: CordOptions, number: int) -> tuple[CordOptions, float, str]:
    """The options of participant `number`, with age in years and sex; the first is as the options say."""
    rng = np.random.default_rng([options.seed, number, 17])
    age, sex = float(rng.integers(20, 81)), str(rng.choice(["F", "M"]))
    if number == 1:
        return replace(options, seed=int(rng.integers(2**31))), 45.0, sex
    turns, moves = rng.normal(0, 2.0, (2, 3))
    varied = replace(
        options,
        scale=options.scale * float(rng.normal(1.02 if sex == "M" else 0.97, 0.03)),
        area=options.area * float(np.clip(rng.normal(1.0, 0.07), 0.8, 1.2)) * (1 - 0.001 * (age - 45)),
        lordosis=options.lordosis * float(rng.uniform(0.6, 1.25)),
        canal=options.canal * float(rng.normal(1.0, 0.04)),
        sway=float(rng.uniform(-2.5, 2.5)),
        obliquity=(float(turns[0]), float(turns[1]), float(turns[2])),
        shift=(float(moves[0]), float(moves[1]), float(moves[2])),
        seed=int(rng.integers(2**31)),
    )
    return varied, age, sex
