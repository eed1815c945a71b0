"""Physical constants and unit changes, each named once, with its source."""

from __future__ import annotations

import math

GYROMAGNETIC_RATIO_HZ_PER_T = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi; Hz/T. CODATA 2018, doi:10.1103/RevModPhys.93.025010"""

PPM = 1e-6

R2PRIME_PER_PPM_TESLA = 137 / 3
"""Relaxation R2' that one ppm of susceptibility in a voxel makes, per tesla; 1/s/ppm/T.

137 1/s/ppm at 3 T, measured in the deep nuclei of healthy adults: Shin 2021, doi:10.1016/j.neuroimage.2021.118371. Proportional to
the field, as static dephasing is: Yablonskiy 1994, doi:10.1002/mrm.1910320610 (whose randomly placed spheres give 323 at 3 T).
"""


def larmor_frequency(field_strength: float) -> float:
    """Proton frequency in Hz at `field_strength` in T."""
    return GYROMAGNETIC_RATIO_HZ_PER_T * field_strength


def hz_per_ppm(field_strength: float) -> float:
    """Hz in one ppm of B0 at `field_strength` in T (about 127.7 at 3 T)."""
    return larmor_frequency(field_strength) * PPM


def radians_per_ppm_second(field_strength: float) -> float:
    """Phase in rad that a field of 1 ppm of B0 makes in one second at `field_strength` in T."""
    return 2 * math.pi * hz_per_ppm(field_strength)
